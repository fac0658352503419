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


def nearest_minutes(roads, mode, homes, sites, *, limit_m=500.0, to_facility=True):
    """Give every home's minutes to its nearest site, NaN where there is none."""
    edges = roads.edges
    speed = np.array(
        [
            0.0 if name in mode.closed_to else mode.speeds_kph.get(name, mode.speed_kph)
            for name in edges["highway"]
        ]
    )
    minutes = np.array(
        [
            length / 1000 / kph * 60 if kph > 0 else math.inf
            for length, kph in zip(edges["length_m"], speed, strict=True)
        ]
    )
    one_way = edges["oneway"].to_numpy(bool) & mode.obeys_one_way
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
