"""An oracle for travel times: networkx on a graph that is physically split at every snap.

Written apart from the library: its own joining by brute force, its own prices, its own splitting,
networkx's own Dijkstra. Slow on purpose.

A place is ``(edge, fraction, leg_m)``, or None where a point joins no road.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import networkx as nx
import numpy as np
import shapely

LEG_DETOUR = 1.3

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


def speed_on(row, mode):
    """Give a mode's speed on an edge in km/h."""
    stated = row.get("speed_kph")
    if mode.stated_speed and stated is not None and stated > 0:
        return stated
    return mode.speeds_kph.get(row["highway"], mode.speed_kph)


class Prices(NamedTuple):
    """Minutes along each edge both ways (infinite where not allowed), and lost at each node."""

    there: list[float]
    back: list[float]
    delay: dict[int, float]


def prices(roads, mode):
    """Price every edge and node for a mode, one by one."""
    there, back, ends = [], [], {}
    for row in roads.edges.drop(columns="geometry").to_dict("records"):
        if not may_use(row, mode):
            there.append(math.inf)
            back.append(math.inf)
            continue
        flat = row["length_m"] / 1000 / speed_on(row, mode) * 60
        up = row.get("slope_forward", 1.0) if mode.slope else 1.0
        down = row.get("slope_backward", 1.0) if mode.slope else 1.0
        if mode.slope == "tobler_mean":
            up = down = (up + down) / 2
        there.append(flat * up)
        back.append(math.inf if one_way_for(row, mode) else flat * down)
        for node in (row["u"], row["v"]):
            ends[node] = ends.get(node, 0) + 1
    delay = {node: mode.junction_delay_s / 60 for node, count in ends.items() if count > 2}
    return Prices(there, back, delay)


def join(points, roads, mode, limit_m=500.0):
    """Give each point's place by brute force: the main network where it is within the limit.

    Equally near edges are told apart by their shape, the minutes along them, and the ids of their
    ends.
    """
    there, back, _ = prices(roads, mode)
    lines = np.asarray(roads.edges.geometry.array)
    usable = np.isfinite(there)
    edges = roads.edges[usable]
    names = roads.nodes["node_id"].astype(str).to_numpy()
    ids = list(zip(names[roads.edges["u"]], names[roads.edges["v"]], strict=True))
    links = nx.Graph(zip(edges["u"], edges["v"], strict=True))
    piece_of = {node: min(piece) for piece in nx.connected_components(links) for node in piece}
    metres = {}
    for u, length in zip(edges["u"], edges["length_m"], strict=True):
        metres[piece_of[u]] = metres.get(piece_of[u], 0.0) + length
    main = min(metres, key=lambda piece: (-metres[piece], piece))
    on_main = usable & np.array([piece_of.get(u) == main for u in roads.edges["u"]])
    places = []
    for point in points:
        distances = shapely.distance(point, lines)
        place = None
        for among in (on_main, usable):
            near = np.where(among, distances, np.inf)
            if near.min() <= limit_m:
                best = min(
                    np.flatnonzero(near == near.min()),
                    key=lambda edge: (lines[edge].wkb, there[edge], back[edge], ids[edge], edge),
                )
                line = lines[best]
                fraction = line.project(point) / line.length if line.length > 0 else 0.0
                place = (int(best), fraction, float(near[best]))
                break
        places.append(place)
    return places


def split_graph(roads, mode, places):
    """Build a graph in minutes with a node ("at", i) where place i is."""
    there, back, delay = prices(roads, mode)
    graph = nx.MultiDiGraph()
    by_edge = {}
    for number, place in enumerate(places):
        if place is not None:
            by_edge.setdefault(place[0], []).append((place[1], ("at", number)))
    for index, (u, v) in enumerate(zip(roads.edges["u"], roads.edges["v"], strict=True)):
        if not math.isfinite(there[index]):
            continue
        stops = [(0.0, int(u)), *sorted(by_edge.get(index, [])), (1.0, int(v))]
        for (a, start), (b, end) in itertools.pairwise(stops):
            graph.add_edge(start, end, minutes=(b - a) * there[index] + delay.get(end, 0.0))
            if math.isfinite(back[index]):
                graph.add_edge(end, start, minutes=(b - a) * back[index] + delay.get(start, 0.0))
            # Places at the same spot of a one-way street are the same place.
            elif a == b:
                graph.add_edge(end, start, minutes=delay.get(start, 0.0))
    return graph


def trip_minutes(roads, mode, origins, destinations):
    """Give the minutes from every place to every other, infinite where there is no way."""
    places = [*origins, *destinations]
    graph = split_graph(roads, mode, places)
    rate = LEG_DETOUR / (mode.leg_speed_kph * 1000 / 60)
    count = len(origins)
    # Doors are dead ends: nobody passes through a house.
    for number, place in enumerate(places):
        if place is not None:
            door, at = ("door", number), ("at", number)
            ends = (door, at) if number < count else (at, door)
            graph.add_edge(*ends, minutes=place[2] * rate)
    result = np.full((count, len(destinations)), np.inf)
    backwards = len(destinations) < count
    if backwards:
        graph = graph.reverse()
    for number in range(count, len(places)) if backwards else range(count):
        if places[number] is None:
            continue
        found = nx.single_source_dijkstra_path_length(graph, ("door", number), weight="minutes")
        if backwards:
            result[:, number - count] = [found.get(("door", i), np.inf) for i in range(count)]
        else:
            result[number] = [found.get(("door", i), np.inf) for i in range(count, len(places))]
    return result


def all_minutes(roads, mode, homes, sites, *, limit_m=500.0, to_facility=True):
    """Give the minutes of every home (row) to or from every site (column)."""
    home_places, site_places = (join(points, roads, mode, limit_m) for points in (homes, sites))
    if to_facility:
        return trip_minutes(roads, mode, home_places, site_places)
    return trip_minutes(roads, mode, site_places, home_places).T


def nearest_minutes(roads, mode, homes, sites, *, limit_m=500.0, to_facility=True):
    """Give every home's minutes to its nearest site, NaN where there is none."""
    least = all_minutes(roads, mode, homes, sites, limit_m=limit_m, to_facility=to_facility).min(
        axis=1, initial=np.inf
    )
    return np.where(np.isfinite(least), least, np.nan)
