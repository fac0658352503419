"""Questions about points: which facilities are nearest, what is reached, and by which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, TypeAlias

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from .errors import InputError, NoCrsError
from .linework import substrings
from .modes import MINUTES_PER_METRE_AT_1_KPH, Mode, mode_named
from .network import RoadNetwork
from .search import (
    Pairs,
    Parts,
    SiteSearch,
    Trips,
    pair_minutes,
    reached_parts,
    site_searches,
    with_sites,
)
from .snapping import Snaps, barrier_shapes, snap

__all__ = [
    "Reach",
    "Route",
    "cost_matrix",
    "nearest",
    "nearest_facility",
    "no_route",
    "reach",
    "route",
    "route_between",
    "straight_route",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Points: TypeAlias = gpd.GeoSeries | gpd.GeoDataFrame
Barriers: TypeAlias = gpd.GeoDataFrame | gpd.GeoSeries | None

_FIRST_LIMIT_MINUTES = 15.0


def _joined(
    points: Points,
    what: str,
    roads: RoadNetwork,
    mode: Mode,
    leg_limit_m: float,
    barriers: Barriers,
) -> Snaps:
    if points.crs is None:
        raise NoCrsError(f"the {what} have no CRS; set one with .set_crs")
    if not leg_limit_m > 0:
        raise InputError(f"leg_limit_m must be above 0, not {leg_limit_m!r}")
    shapes = np.asarray(points.geometry.to_crs(roads.crs).array, dtype=object)
    wrong = np.flatnonzero(shapely.get_type_id(shapes) != 0)
    if wrong.size:
        kind = getattr(shapes[wrong[0]], "geom_type", "nothing")
        raise InputError(
            f"the {what} must be points: {wrong.size} are not, the first is {kind} at index "
            f"{points.index[wrong[0]]!r}; take .representative_point() of areas, and leave out "
            "what has no place"
        )
    empty = np.flatnonzero(shapely.is_empty(shapes))
    if empty.size:
        raise InputError(
            f"the {what} must have a place: the point at index {points.index[empty[0]]!r} is empty"
        )
    return snap(
        shapes, roads, mode, leg_limit_m=leg_limit_m, barriers=barrier_shapes(barriers, roads)
    )


def nearest_facility(
    points: Points,
    facilities: Points,
    roads: RoadNetwork,
    *,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
    barriers: Barriers = None,
    engine: str = "scipy",
) -> pd.DataFrame:
    """Find each point's nearest facility by travel time.

    Parameters
    ----------
    points, facilities : GeoSeries or GeoDataFrame of Point
        In any CRS.
    roads : RoadNetwork
        The roads.
    mode : str or Mode
        How people travel.
    leg_limit_m, leg_detour, direction, barriers
        As for `travel_times`.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths: SciPy's compiled Dijkstra, or networkx, slowly, as a check.

    Returns
    -------
    DataFrame
        `minutes` (NaN where none), `facility` (index label in `facilities`, missing where none)
        and `reason`, with the index of `points`.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not of points, or an option is out of range.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> facilities = fc.read_facilities(county.facilities).query("kind == 'school'")
    >>> homes = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> found = fc.nearest_facility(homes, facilities, fc.read_roads(county.roads), mode="ebike")
    >>> found.columns.tolist(), found.index.equals(homes.index)
    (['minutes', 'facility', 'reason'], True)
    """
    mode = mode_named(mode)
    homes = _joined(points, "points", roads, mode, leg_limit_m, barriers)
    sites = _joined(facilities, "facilities", roads, mode, leg_limit_m, barriers)
    trips = Trips(roads.for_mode(mode), leg_detour, direction, engine)
    found = SiteSearch(trips, sites, np.ones(len(facilities), dtype=bool)).nearest(homes)
    return pd.DataFrame(
        {
            "minutes": found.minutes,
            "facility": _labels(facilities, found.facility),
            "reason": found.reason,
        },
        index=points.index,
    )


def _check_limit(limit_minutes: float) -> None:
    if not limit_minutes > 0:
        raise InputError(f"limit_minutes must be above 0, not {limit_minutes!r}")


def _labels(table: Points, positions: Integers) -> NDArray[np.object_]:
    """Give index labels by position, None for -1."""
    return np.array([*table.index, None], dtype=object)[positions]


def nearest(
    points: Points,
    facilities: Points,
    roads: RoadNetwork,
    *,
    k: int = 3,
    mode: str | Mode = "walk",
    limit_minutes: float = np.inf,
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
    barriers: Barriers = None,
    engine: str = "scipy",
) -> pd.DataFrame:
    """Find the k nearest facilities of each point: the nearest, and those that back it up.

    Parameters
    ----------
    points, facilities : GeoSeries or GeoDataFrame of Point
        In any CRS.
    roads : RoadNetwork
        The roads.
    k : int
        How many facilities to find.
    mode : str or Mode
        How people travel.
    limit_minutes : float
        Facilities farther than this are left out.
    leg_limit_m, leg_detour, direction, barriers
        As for `travel_times`.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths (see `nearest_facility`).

    Returns
    -------
    DataFrame
        One row a point and rank, in the order of `points`: `point` (index label), `rank` (1 is the
        nearest), `facility` (index label), `minutes`. A point that reaches fewer than k facilities
        has fewer rows; of equally near facilities the one that stands first in the table comes
        first.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not of points, or an option is out of range.

    Notes
    -----
    Each facility is searched from by itself within a limit; the limit is doubled until every point
    has found k facilities or all it can reach.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> care = fc.read_facilities(county.facilities).query("kind == 'day_care'")
    >>> homes = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> backup = fc.nearest(homes[:2], care, fc.read_roads(county.roads), k=2, mode="motor")
    >>> backup["rank"].tolist(), backup.groupby("point")["minutes"].is_monotonic_increasing.all()
    ([1, 2, 1, 2], np.True_)
    """
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k must be a whole number of at least 1, not {k!r}")
    _check_limit(limit_minutes)
    mode = mode_named(mode)
    homes = _joined(points, "points", roads, mode, leg_limit_m, barriers)
    sites = _joined(facilities, "facilities", roads, mode, leg_limit_m, barriers)
    trips = Trips(roads.for_mode(mode), leg_detour, direction, engine)
    pairs = _k_nearest(trips, sites, homes, k, limit_minutes)
    rank = _rank(pairs.point)
    return pd.DataFrame(
        {
            "point": points.index.to_numpy()[pairs.point],
            "rank": rank + 1,
            "facility": facilities.index.to_numpy()[pairs.site],
            "minutes": pairs.minutes,
        }
    )


def _rank(group: Integers) -> Integers:
    """Count 0, 1, 2, … within each run of equal values."""
    first = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if group.size else group
    length = np.diff(np.r_[first, group.size])
    return np.arange(group.size) - np.repeat(first, length)


def _k_nearest(trips: Trips, sites: Snaps, homes: Snaps, k: int, farthest: float) -> Pairs:
    found: list[Pairs] = []
    asking = np.flatnonzero(homes.edge >= 0)
    limit = min(_FIRST_LIMIT_MINUTES, farthest)
    while asking.size:
        pairs = pair_minutes(trips, sites, homes.take(asking), limit_minutes=limit)
        count = np.bincount(pairs.point, minlength=asking.size)
        done = count >= k
        if limit >= farthest or limit == np.inf:
            done[:] = True
        kept = done[pairs.point] & (_rank(pairs.point) < k)
        found.append(Pairs(pairs.site[kept], asking[pairs.point[kept]], pairs.minutes[kept]))
        asking = asking[~done]
        # A dozen doublings is a week's walk: what is not found by then is asked without a limit.
        limit = min(limit * 2 if limit < _FIRST_LIMIT_MINUTES * 16 else np.inf, farthest)
    if not found:
        return Pairs(asking, asking, np.empty(0))
    point = np.concatenate([one.point for one in found])
    order = np.argsort(point, kind="stable")
    site = np.concatenate([one.site for one in found])
    minutes = np.concatenate([one.minutes for one in found])
    return Pairs(site[order], point[order], minutes[order])


def cost_matrix(
    origins: Points,
    destinations: Points,
    roads: RoadNetwork,
    *,
    limit_minutes: float,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    barriers: Barriers = None,
    engine: str = "scipy",
) -> csr_array:
    """Give the minutes from every origin to every destination within a limit.

    Parameters
    ----------
    origins, destinations : GeoSeries or GeoDataFrame of Point
        In any CRS. Trips go from origins to destinations.
    roads : RoadNetwork
        The roads.
    limit_minutes : float
        Pairs farther apart are left out.
    mode : str or Mode
        How people travel.
    leg_limit_m, leg_detour, barriers
        As for `travel_times`.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths (see `nearest_facility`).

    Returns
    -------
    scipy.sparse.csr_array, shape (n_origins, n_destinations)
        Minutes door to door. What is not stored is farther than the limit or cannot be reached:
        never read it as 0. A stored 0 is a trip of no length.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not of points, or an option is out of range.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> care = fc.read_facilities(county.facilities).query("kind == 'day_care'")
    >>> homes = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> roads = fc.read_roads(county.roads)
    >>> minutes = fc.cost_matrix(homes, care, roads, limit_minutes=15, mode="walk")
    >>> minutes.shape == (len(homes), len(care)), bool(minutes.data.max() <= 15)
    (True, True)
    """
    _check_limit(limit_minutes)
    mode = mode_named(mode)
    starts = _joined(origins, "origins", roads, mode, leg_limit_m, barriers)
    ends = _joined(destinations, "destinations", roads, mode, leg_limit_m, barriers)
    net = roads.for_mode(mode)
    shape = (len(origins), len(destinations))
    # Searches start where there are fewer points.
    if len(destinations) <= len(origins):
        trips = Trips(net, leg_detour, "to_facility", engine)
        pairs = pair_minutes(trips, ends, starts, limit_minutes=limit_minutes)
        row, column = pairs.point, pairs.site
    else:
        trips = Trips(net, leg_detour, "from_facility", engine)
        pairs = pair_minutes(trips, starts, ends, limit_minutes=limit_minutes)
        row, column = pairs.site, pairs.point
    order = np.lexsort((column, row))
    indptr = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=shape[0]), out=indptr[1:])
    return csr_array((pairs.minutes[order], column[order], indptr), shape=shape)


@dataclass(frozen=True, eq=False)
class Reach:
    """The roads from which facilities are reached within a limit.

    Attributes
    ----------
    facilities : pandas.Index
        Labels of the facilities searched from.
    roads : RoadNetwork
        The roads.
    minutes : float
        The limit.
    facility, edge : ndarray of int
        By part: position in `facilities`, row in ``roads.edges``.
    start, end : ndarray of float
        By part: which fractions of the edge are reached, 0 at u and 1 at v.
    node_facility, node : ndarray of int
        By facility and reached node: position in `facilities`, row in ``roads.nodes``.
    node_minutes : ndarray of float
        The minutes between them, the facility's leg included.
    """

    facilities: pd.Index
    roads: RoadNetwork
    minutes: float
    facility: Integers
    edge: Integers
    start: Floats
    end: Floats
    node_facility: Integers
    node: Integers
    node_minutes: Floats

    def __repr__(self) -> str:
        """Say how much is reached."""
        return (
            f"<Reach: {self.facility.size:,} edges or parts of edges within {self.minutes:g} min "
            f"of {len(self.facilities):,} facilities>"
        )

    @cached_property
    def parts(self) -> gpd.GeoDataFrame:
        """One row a part: `facility`, `edge`, `start`, `end`, `length_m`, `highway`, geometry.

        The geometry is cut exactly at the limit, in the CRS of the roads.
        """
        edges = self.roads.edges
        return gpd.GeoDataFrame(
            {
                "facility": self.facilities.to_numpy()[self.facility],
                "edge": self.edge,
                "start": self.start,
                "end": self.end,
                "length_m": edges["length_m"].to_numpy()[self.edge] * (self.end - self.start),
                "highway": edges["highway"].to_numpy(dtype=object)[self.edge],
            },
            geometry=substrings(np.asarray(edges.geometry.array)[self.edge], self.start, self.end),
            crs=edges.crs,
        )

    @cached_property
    def graph(self) -> nx.MultiDiGraph:
        """The part of ``roads.graph`` between reached nodes, as `networkx.ego_graph` would give.

        A copy; its nodes have `minutes`, the least to any of the facilities. Edges are reached
        whole only where `parts` says so.
        """
        least = np.full(len(self.roads.nodes), np.inf)
        np.minimum.at(least, self.node, self.node_minutes)
        reached = np.flatnonzero(least < np.inf)
        ids = self.roads.nodes["node_id"].to_numpy(dtype=object)[reached]
        graph = self.roads.graph.subgraph(ids.tolist()).copy()
        values = dict(zip(ids.tolist(), least[reached].tolist(), strict=True))
        nx.set_node_attributes(graph, values, "minutes")
        return graph

    def _repr_html_(self) -> str:
        km = (self.roads.edges["length_m"].to_numpy()[self.edge] * (self.end - self.start)) / 1000
        table = pd.DataFrame({"facility": self.facilities.to_numpy()[self.facility], "km": km})
        summed = table.groupby("facility", sort=False).agg(parts=("km", "size"), km=("km", "sum"))
        return f"<p>{escape(repr(self)[1:-1])}</p>{summed.round(1).head(20).to_html()}"


def reach(
    facilities: Points,
    roads: RoadNetwork | nx.MultiDiGraph,
    *,
    minutes: float,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
    barriers: Barriers = None,
    engine: str = "scipy",
) -> Reach:
    """Find the edges and parts of edges that reach each facility within some minutes.

    Parameters
    ----------
    facilities : GeoSeries or GeoDataFrame of Point
        In any CRS; each is searched from by itself.
    roads : RoadNetwork or networkx.MultiDiGraph
        The roads.
    minutes : float
        The limit. A place on the road counts where the trip from there takes at most so long, the
        facility's leg included.
    mode : str or Mode
        How people travel.
    leg_limit_m, leg_detour, direction, barriers
        As for `travel_times`.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths (see `nearest_facility`).

    Returns
    -------
    Reach
        Its `parts` are lines cut exactly at the limit; its `graph` is a networkx graph.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not of points, or an option is out of range.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> care = fc.read_facilities(county.facilities).query("kind == 'day_care'")
    >>> reached = fc.reach(care[:1], fc.read_roads(county.roads), minutes=15)
    >>> bool((reached.parts["end"] > reached.parts["start"]).all())
    True
    >>> max(reached.graph.nodes[node]["minutes"] for node in reached.graph) <= 15
    True
    """
    if not 0 < minutes < np.inf:
        raise InputError(f"minutes must be a positive number, not {minutes!r}")
    if isinstance(roads, nx.MultiDiGraph):
        roads = RoadNetwork.from_graph(roads)
    mode = mode_named(mode)
    sites = _joined(facilities, "facilities", roads, mode, leg_limit_m, barriers)
    trips = Trips(roads.for_mode(mode), leg_detour, direction, engine)
    parts: list[Parts] = []
    nodes: list[tuple[Integers, Integers, Floats]] = []
    for batch in site_searches(trips, sites, limit_minutes=minutes):
        parts.append(reached_parts(trips, sites, batch, minutes))
        row, column = np.nonzero(batch.minutes <= minutes)
        nodes.append((batch.site[row], batch.node[column], batch.minutes[row, column]))
    none = np.empty(0, dtype=np.int64)
    names = ("site", "edge", "start", "end")
    facility, edge, start, end = (
        np.concatenate([none, *(getattr(part, name) for part in parts)]) for name in names
    )
    node_facility, node, node_minutes = (
        (np.concatenate([none, *columns]) for columns in zip(*nodes, strict=True))
        if nodes
        else (none, none, np.empty(0))
    )
    order = np.argsort(facility, kind="stable")
    by_facility = np.argsort(node_facility, kind="stable")
    return Reach(
        facilities=facilities.index,
        roads=roads,
        minutes=float(minutes),
        facility=facility[order].astype(np.int64, copy=False),
        edge=edge[order].astype(np.int64, copy=False),
        start=start[order],
        end=end[order],
        node_facility=node_facility[by_facility].astype(np.int64, copy=False),
        node=node[by_facility].astype(np.int64, copy=False),
        node_minutes=node_minutes[by_facility],
    )


@dataclass(frozen=True, eq=False)
class Route:
    """One trip, leg by leg.

    Attributes
    ----------
    minutes : float
        Door to door; NaN where there is no way.
    road_m, leg_m : float
        Metres along roads, and straight metres between the doors and the road (both ends).
    geometry : shapely.LineString or None
        From door to door, in the CRS of the origin.
    legs : GeoDataFrame
        One row a leg, in order: `part` (``"leg"`` to or from the road, ``"road"``), `edge` (row in
        ``roads.edges``), `name`, `highway`, `length_m`, `minutes`, geometry.
    reason : str
        Why there is no way (see `nearest_facility`); empty where there is one.
    """

    minutes: float
    road_m: float
    leg_m: float
    geometry: Any
    legs: gpd.GeoDataFrame
    reason: str = ""

    def __getitem__(self, name: str) -> Any:
        """Give an attribute by name, as a table's row would."""
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __repr__(self) -> str:
        """Say how far it is."""
        if self.reason:
            return f"<Route: no way ({self.reason})>"
        return (
            f"<Route: {self.minutes:.1f} min, {self.road_m:,.0f} m by road, "
            f"{self.leg_m:,.0f} m off it>"
        )

    def _repr_html_(self) -> str:
        table = self.legs.drop(columns="geometry").round({"length_m": 0, "minutes": 1})
        return f"<p>{escape(repr(self)[1:-1])}</p>{table.to_html(index=False, na_rep='')}"


def route(
    origin: Points,
    destination: Points,
    roads: RoadNetwork | nx.MultiDiGraph,
    *,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    barriers: Barriers = None,
) -> Route:
    """Find the fastest way from one point to another, leg by leg.

    Parameters
    ----------
    origin, destination : GeoSeries or GeoDataFrame of one Point
        In any CRS.
    roads : RoadNetwork or networkx.MultiDiGraph
        The roads.
    mode : str or Mode
        How one travels.
    leg_limit_m, leg_detour, barriers
        As for `travel_times`.

    Returns
    -------
    Route
        `minutes`, `road_m`, `leg_m`, `geometry`, `legs`, and the `reason` where there is no way.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not one point, or an option is out of range.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> homes = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> trip = fc.route(
    ...     homes.geometry[:1], homes.geometry[1:2], fc.read_roads(county.roads), mode="ebike"
    ... )
    >>> bool(abs(trip.legs["minutes"].sum() - trip.minutes) < 1e-9), trip.legs["part"].iloc[0]
    (True, 'leg')
    """
    if isinstance(roads, nx.MultiDiGraph):
        roads = RoadNetwork.from_graph(roads)
    for what, points in (("origin", origin), ("destination", destination)):
        if len(points) != 1:
            raise InputError(f"the {what} must be one point, not {len(points)}")
    mode = mode_named(mode)
    start = _joined(origin, "origin", roads, mode, leg_limit_m, barriers)
    end = _joined(destination, "destination", roads, mode, leg_limit_m, barriers)
    doors = [
        shapely.get_coordinates(points.geometry.to_crs(roads.crs).iloc[0])
        for points in (origin, destination)
    ]
    trips = Trips(roads.for_mode(mode), leg_detour)
    return route_between(trips, start, end, doors, roads, origin.crs)


def route_between(
    trips: Trips, start: Snaps, end: Snaps, doors: Sequence[Floats], roads: RoadNetwork, crs: Any
) -> Route:
    """Find the fastest way between two points that have joined the roads, leg by leg.

    Parameters
    ----------
    trips : Trips
        How one travels, `to_facility`: `end` stands for the facility.
    start, end : Snaps
        How the one point and the other join the roads: one row each.
    doors : sequence of two ndarrays of float, shape (1, 2)
        Where the points are, in the CRS of the roads.
    roads : RoadNetwork
        The roads that `trips` are compiled from.
    crs : any
        The CRS of the answer.

    Returns
    -------
    Route
        As `route` gives it.
    """
    found = SiteSearch(trips, end, np.ones(1, dtype=bool)).nearest(start)
    if found.reason[0]:
        return no_route(str(found.reason[0]), roads, crs)
    on_road = _road_rows(trips, roads, _pieces(trips, start, end))
    if on_road:
        inner = [shapely.get_coordinates(row["geometry"]) for row in on_road]
        entry, leaving = inner[0][:1], inner[-1][-1:]
    else:
        line = np.asarray(roads.edges.geometry.array)[start.edge]
        place = shapely.line_interpolate_point(line, start.fraction, normalized=True)[0]
        spot = shapely.get_point(line, 0)[0] if place.is_empty else place
        entry = leaving = shapely.get_coordinates(spot)
    rows = [
        _leg_row(start, trips, np.concatenate([doors[0], entry])),
        *on_road,
        _leg_row(end, trips, np.concatenate([leaving, doors[1]])),
    ]
    xy = np.concatenate([shapely.get_coordinates(row["geometry"]) for row in rows])
    distinct = np.r_[True, (np.diff(xy, axis=0) != 0).any(axis=1)]
    xy = xy[distinct] if distinct.sum() > 1 else xy[:2]
    return Route(
        minutes=float(found.minutes[0]),
        road_m=float(sum(row["length_m"] for row in on_road)),
        leg_m=float(start.leg_m[0] + end.leg_m[0]),
        geometry=gpd.GeoSeries([shapely.LineString(xy)], crs=roads.crs).to_crs(crs).iloc[0],
        legs=_legs(rows, roads, crs),
    )


def straight_route(doors: Sequence[Floats], mode: Mode, roads: RoadNetwork, crs: Any) -> Route:
    """Give the way as the crow flies: one leg, part ``"straight"``, at the mode's own speed.

    Parameters
    ----------
    doors, roads, crs
        As for `route_between`.
    mode : Mode
        How one travels.
    """
    line = shapely.LineString(np.concatenate(doors))
    minutes = line.length * MINUTES_PER_METRE_AT_1_KPH / mode.speed_kph
    row = _off_road("straight", line.length, minutes, line)
    legs = _legs([row], roads, crs)
    return Route(minutes, 0.0, line.length, legs.geometry.iloc[0], legs)


def no_route(reason: str, roads: RoadNetwork, crs: Any) -> Route:
    """Give a route that says why there is none."""
    return Route(float("nan"), float("nan"), float("nan"), None, _legs([], roads, crs), reason)


def _pieces(trips: Trips, start: Snaps, end: Snaps) -> list[tuple[int, float, float]]:
    """Give (edge, from fraction, to fraction) along the fastest way between two snaps."""
    net = trips.net
    n = net.matrix.shape[0]
    head, link = trips.links(end)
    minutes, before = dijkstra(
        with_sites(trips.matrix, head, link), indices=n, return_predecessors=True
    )
    out_u, out_v = trips.ends(start.edge, start.fraction, outward=True)
    ways = [out_u[0] + minutes[net.u[start.edge[0]]], out_v[0] + minutes[net.v[start.edge[0]]]]
    first, f = int(start.edge[0]), float(start.fraction[0])
    last, g = int(end.edge[0]), float(end.fraction[0])
    if first == last:
        direct = trips.along(start.edge, start.fraction, end.fraction)[0]
        if direct + end.leg_m[0] * trips.leg_rate <= min(ways):
            return [(first, f, g)]
    at_u = ways[0] <= ways[1]
    node = int(net.u[first] if at_u else net.v[first])
    pieces = [(first, f, 0.0 if at_u else 1.0)]
    while before[node] != n:
        following = int(before[node])
        pieces.append(_cheapest_edge(trips, node, following))
        node = following
    into_u, into_v = trips.ends(end.edge, end.fraction, outward=False)
    options = [
        (into, at)
        for into, at, where in ((into_u[0], 0.0, net.u[last]), (into_v[0], 1.0, net.v[last]))
        if where == node
    ]
    pieces.append((last, min(options)[1], g))
    return pieces


def _cheapest_edge(trips: Trips, tail: int, head: int) -> tuple[int, float, float]:
    """Give the cheapest edge from one node to another, and the direction it is travelled in."""
    net, incident = trips.net, trips.net.incident
    edges = incident.indices[incident.indptr[tail] : incident.indptr[tail + 1]]
    options = [
        (minutes[edge], int(edge), *ends)
        for minutes, a, b, ends in (
            (net.forward_minutes, net.u, net.v, (0.0, 1.0)),
            (net.backward_minutes, net.v, net.u, (1.0, 0.0)),
        )
        for edge in edges
        if a[edge] == tail and b[edge] == head
    ]
    return min(options)[1:]


def _road_rows(
    trips: Trips, roads: RoadNetwork, pieces: Sequence[tuple[int, float, float]]
) -> list[dict[str, Any]]:
    """Give a row a piece; what no metre is travelled on counts towards the piece beside it."""
    net = trips.net
    edge = np.array([piece[0] for piece in pieces])
    start, end = np.array([piece[1:] for piece in pieces], dtype=float).T
    share = np.abs(end - start)
    pace = np.where(end > start, net.forward_minutes[edge], net.backward_minutes[edge])
    minutes = share * np.where(share > 0, pace, 0.0)
    # A junction is passed at the end of all but the last.
    minutes[:-1] += net.delay_minutes[np.where(end == 1, net.v[edge], net.u[edge])][:-1]
    travelled = share > 0
    if not travelled.any():
        # From a junction to the same junction there is at most the wait.
        travelled[0] = minutes.any()
    kept = np.flatnonzero(travelled)
    if kept.size == 0:
        return []
    owner = np.clip(np.searchsorted(kept, np.arange(edge.size)), 0, kept.size - 1)
    minutes = np.bincount(owner, weights=minutes)
    edge, start, end, share = edge[kept], start[kept], end[kept], share[kept]
    shapes = substrings(
        np.asarray(roads.edges.geometry.array)[edge], np.minimum(start, end), np.maximum(start, end)
    )
    rows = roads.edges.iloc[edge]
    return [
        {
            "part": "road",
            "edge": int(edge[number]),
            "name": rows["name"].iloc[number] if "name" in rows else None,
            "highway": rows["highway"].iloc[number],
            "length_m": float(rows["length_m"].iloc[number] * share[number]),
            "minutes": float(minutes[number]),
            "geometry": shape.reverse() if end[number] < start[number] else shape,
        }
        for number, shape in enumerate(shapes)
    ]


def _leg_row(end: Snaps, trips: Trips, xy: Floats) -> dict[str, Any]:
    leg_m = float(end.leg_m[0])
    return _off_road("leg", leg_m, leg_m * trips.leg_rate, shapely.LineString(xy))


def _off_road(part: str, length_m: float, minutes: float, line: Any) -> dict[str, Any]:
    return {
        "part": part,
        "edge": None,
        "name": None,
        "highway": None,
        "length_m": length_m,
        "minutes": minutes,
        "geometry": line,
    }


def _legs(rows: list[dict[str, Any]], roads: RoadNetwork, crs: Any) -> gpd.GeoDataFrame:
    columns = ["part", "edge", "name", "highway", "length_m", "minutes", "geometry"]
    frame = gpd.GeoDataFrame(rows, columns=columns, geometry="geometry", crs=roads.crs)
    return frame.astype({"edge": "Int64"}).to_crs(crs)
