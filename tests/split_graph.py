"""An oracle for travel times: networkx on a graph that is physically split at every snap.

Written apart from the library: its own joining by brute force, its own splitting, networkx's own
Dijkstra. Slow on purpose.
"""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import shapely

LEG_DETOUR = 1.3


def join(points, edges, minutes, one_way, limit_m):
    """Give (edge, fraction, leg_m) of the nearest usable edge by brute force, or None.

    Equally near edges are told apart by their shape, then the minutes along them.
    """
    lines = np.asarray(edges.geometry.array)
    joined = []
    for point in points:
        distances = shapely.distance(point, lines)
        distances[~np.isfinite(minutes)] = np.inf
        best = min(
            np.flatnonzero(distances == distances.min()),
            key=lambda edge: (lines[edge].wkb, minutes[edge], one_way[edge], edge),
        )
        if distances[best] > limit_m:
            joined.append(None)
            continue
        line = lines[best]
        fraction = line.project(point) / line.length if line.length > 0 else 0.0
        joined.append((best, fraction, float(distances[best])))
    return joined


def split_graph(edges, minutes, one_way, snaps):
    """Build a DiGraph in minutes with a node ("at", i) at the place where snap i joins."""
    graph = nx.MultiDiGraph()
    by_edge = {}
    for number, snap in enumerate(snaps):
        if snap is not None:
            by_edge.setdefault(snap[0], []).append((snap[1], ("at", number)))
    for index, (u, v) in enumerate(zip(edges["u"], edges["v"], strict=True)):
        if not math.isfinite(minutes[index]):
            continue
        stops = [(0.0, int(u)), *sorted(by_edge.get(index, [])), (1.0, int(v))]
        for (a, start), (b, end) in itertools.pairwise(stops):
            graph.add_edge(start, end, minutes=(b - a) * minutes[index])
            if not one_way[index]:
                graph.add_edge(end, start, minutes=(b - a) * minutes[index])
            # Places at the same spot of a one-way street are the same place.
            elif a == b:
                graph.add_edge(end, start, minutes=0.0)
    return graph


OPEN = {"yes", "designated", "permissive", "destination", "customers", "public"}
SHUT = {"no", "private", "agricultural", "forestry", "delivery", "military", "emergency"}


def may_use(row, mode):
    """Tell whether a mode may use an edge: the most particular key that is stated decides."""
    if row["highway"] in {"construction", "proposed"}:
        return False
    for key in mode.access_keys:
        if row.get(key) in OPEN:
            return True
        if row.get(key) in SHUT:
            return False
    return row["highway"] not in mode.closed_to


def one_way_for(row, mode):
    """Tell whether an edge is one-way for a mode."""
    lifted = any(row.get(key) == "no" for key in mode.one_way_keys)
    return row["oneway"] and mode.obeys_one_way and not lifted


def nearest_minutes(roads, mode, homes, sites, *, limit_m=500.0, to_facility=True):
    """Give every home's minutes to its nearest site, NaN where there is none."""
    edges = roads.edges
    rows = edges.drop(columns="geometry").to_dict("records")
    speed = [mode.speeds_kph.get(row["highway"], mode.speed_kph) for row in rows]
    minutes = np.array(
        [
            row["length_m"] / 1000 / kph * 60 if may_use(row, mode) else math.inf
            for row, kph in zip(rows, speed, strict=True)
        ]
    )
    one_way = np.array([one_way_for(row, mode) for row in rows])
    snaps = join([*homes, *sites], edges, minutes, one_way, limit_m)
    graph = split_graph(edges, minutes, one_way, snaps)
    if to_facility:
        graph = graph.reverse()
    leg_rate = LEG_DETOUR / (mode.leg_speed_kph * 1000 / 60)
    count = len(homes)
    for number, snap in enumerate(snaps):
        if snap is not None:
            door, at = ("door", number), ("at", number)
            leg = snap[2] * leg_rate
            # Doors are dead ends: nobody passes through a house.
            edge = (door, at) if number >= count else (at, door)
            graph.add_edge(*edge, minutes=leg)
    starts = [("door", n) for n in range(count, len(snaps)) if snaps[n] is not None]
    if not starts:
        return np.full(count, np.nan)
    found = nx.multi_source_dijkstra_path_length(graph, starts, weight="minutes")
    return np.array([found.get(("door", n), np.nan) for n in range(count)])
