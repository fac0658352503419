"""Isochrones: the area from which a facility is reached within so many minutes.

Two pictures of one search. `"field"` is the picture of `travel_times`, not a second opinion: each
cell of a fine grid asks what a home in its middle would be told (nearest road, the leg to it, the
minutes from there), and the field of minutes is contoured at the limits. `"roads"` is the roads
that are reached, cut exactly at the limit, with a margin on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import contourpy
import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from .errors import InputError, NoCrsError
from .linework import substrings
from .modes import Mode, mode_named
from .network import ModeNetwork, RoadNetwork
from .search import SiteBatch, SiteSearch, Trips, reached_parts, site_searches
from .snapping import Snaps, barrier_shapes, snap

__all__ = ["isochrones"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Shapes = NDArray[np.object_]

METHODS = ("field", "roads")
_COLUMNS = ["kind", "facility_id", "mode", "minutes", "area_m2", "geometry"]
# Ground far from all that is reached is left out of the grid, in blocks of so many cells a side.
_BLOCK_CELLS = 16
_CELLS_AT_ONCE = 1_000_000
# Sides of a quarter circle: the area is .997 of that with true circles.
_QUARTER_SIDES = 4


def isochrones(
    facilities: gpd.GeoDataFrame | gpd.GeoSeries,
    roads: RoadNetwork | nx.MultiDiGraph,
    *,
    mode: str | Mode = "walk",
    minutes: float | Sequence[float] = (5, 10, 15),
    kind: str | None = None,
    merged: bool = True,
    method: str = "field",
    cell_m: float = 25.0,
    width_m: float = 50.0,
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
    barriers: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
) -> gpd.GeoDataFrame:
    """Draw the areas that reach a facility within given minutes.

    Parameters
    ----------
    facilities : GeoDataFrame or GeoSeries of Point
        As `read_facilities` gives them, or any points, in any CRS; those in use and with a place
        are taken.
    roads : RoadNetwork or networkx.MultiDiGraph
        The roads; an OSMnx graph goes straight in. It is compiled at every call: for many calls
        make a `RoadNetwork` of it once.
    mode : str or Mode
        How people travel.
    minutes : float or sequence of float
        The limits of the bands.
    kind : str, optional
        Only facilities of this kind. By default each kind gives bands of its own.
    merged : bool
        One area for all facilities of a kind (True) or one for each facility (False).
    method : {"field", "roads"}
        ``"field"``: where people may live and be told that they reach a facility in time.
        ``"roads"``: the roads from which one reaches it in time, and `width_m` to both sides.
    cell_m : float
        Width of the grid of ``"field"``, in metres. The polygon agrees with `travel_times` to
        within one cell.
    width_m : float
        How far ``"roads"`` reaches to both sides of a road, in metres.
    leg_limit_m, leg_detour, direction, barriers
        As for `travel_times`.

    Returns
    -------
    GeoDataFrame
        One row a band: `kind`, `facility_id` (missing when merged), `mode`, `minutes`, `area_m2`
        (measured in the roads' CRS), geometry (Polygon or MultiPolygon, holes kept) in the CRS of
        `facilities`. The area within 10 minutes includes that within 5. Bands nobody reaches are
        left out.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS, facilities are not points, or an option is unknown or out of
        range.

    Notes
    -----
    ``"field"``: minutes at the middle of each cell are those of a point there: it joins the
    nearest road, the leg is walked, the rest is the shortest path. Which road is nearest is looked
    up by a Euclidean distance transform (Maurer, Qi and Raghavan 2003) of the roads drawn on the
    grid; the distance to it is then exact. Marching squares (`contourpy`) interpolate the limit
    between cells. Where minutes jump from one cell to the next (across a river without a bridge)
    the limit is drawn half way. Of random homes near roads at least .96 of those within the limit
    lie in the polygon, and at least .96 of those in the polygon are within the limit.

    ``"roads"``: each reached edge or part of an edge is buffered by itself and the buffers are
    united, circles being drawn with 16 sides: intersection over union with the exact buffer is at
    least .995. It is no answer to who lives within the limit, as legs cost nothing in it.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> facilities = fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> circles = fc.isochrones(facilities, roads, kind="day_care", minutes=(5, 15))
    >>> circles["minutes"].tolist(), bool(circles["area_m2"].is_monotonic_increasing)
    ([5.0, 15.0], True)
    >>> strips = fc.isochrones(facilities, roads, kind="day_care", minutes=15, method="roads")
    >>> bool(strips["area_m2"].iloc[0] < circles["area_m2"].iloc[-1])
    True
    """
    limits = _limits(minutes)
    if method not in METHODS:
        raise InputError(f"method must be {' or '.join(map(repr, METHODS))}, not {method!r}")
    for name, value in (("cell_m", cell_m), ("width_m", width_m), ("leg_limit_m", leg_limit_m)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be metres above 0, not {value!r}")
    mode = mode_named(mode)
    chosen = _chosen(facilities, kind)
    if isinstance(roads, nx.MultiDiGraph):
        roads = RoadNetwork.from_graph(roads)
    trips = Trips(roads.for_mode(mode), leg_detour, direction)
    walls = barrier_shapes(barriers, roads)
    points = np.asarray(chosen.geometry.to_crs(roads.crs).array, dtype=object)
    sites = snap(points, roads, mode, leg_limit_m=leg_limit_m, barriers=walls)
    kinds = chosen["kind"] if "kind" in chosen else pd.Series(None, chosen.index, dtype=object)
    ids = chosen.get("facility_id", chosen.index)
    if merged:
        group, names = pd.factorize(kinds, use_na_sentinel=False)
        labels = [(name, None) for name in names]
    else:
        group = np.arange(len(chosen))
        labels = list(zip(kinds, ids, strict=True))

    drawing: _Field | _Strips = (
        _Field(roads, mode, trips, sites, cell_m, leg_limit_m, walls)
        if method == "field"
        else _Strips(trips, sites, np.asarray(roads.edges.geometry.array), width_m)
    )
    farthest = limits[-1] + drawing.slack_minutes
    searches = _searches(trips, sites, group, farthest, merged=merged)
    # GEOS and NumPy let go of the interpreter while they draw.
    with ThreadPoolExecutor() as pool:
        drawn = list(
            pool.map(lambda search: (search[0], drawing.bands(search[1], limits)), searches)
        )
    drawn.sort(key=itemgetter(0))
    rows = [
        (*labels[number], mode.name, limit, shape.area, shape)
        for number, bands in drawn
        for limit, shape in zip(limits, bands, strict=True)
        if not shape.is_empty
    ]
    table = gpd.GeoDataFrame(rows, columns=_COLUMNS, geometry="geometry", crs=roads.crs)
    return table.to_crs(facilities.crs)


def _limits(minutes: float | Sequence[float]) -> list[float]:
    try:
        limits = np.unique(np.asarray(minutes, dtype=float))
    except (TypeError, ValueError):
        limits = np.empty(0)
    if limits.size == 0 or not ((limits > 0) & (limits < np.inf)).all():
        raise InputError(f"minutes must be positive numbers, not {minutes!r}")
    return [float(limit) for limit in limits]


def _chosen(facilities: gpd.GeoDataFrame | gpd.GeoSeries, kind: str | None) -> gpd.GeoDataFrame:
    """Give the facilities to draw: in use, with a place, of the kind that is asked for."""
    if isinstance(facilities, gpd.GeoSeries):
        facilities = gpd.GeoDataFrame(geometry=facilities)
    if facilities.crs is None:
        raise NoCrsError("the facilities have no CRS; set one with .set_crs")
    taken = facilities.geometry.notna()
    if "status" in facilities:
        taken &= facilities["status"] == "in_use"
    if kind is not None:
        if "kind" not in facilities:
            raise InputError(f"there is no column `kind` to choose kind={kind!r} by")
        taken &= facilities["kind"] == kind
    chosen = facilities[taken]
    wrong = np.flatnonzero((chosen.geom_type != "Point") | chosen.geometry.is_empty)
    if wrong.size:
        first = chosen.geometry.iloc[wrong[0]]
        raise InputError(
            f"facilities must be points: {wrong.size} are not, the first is "
            f"{'an empty ' * first.is_empty}{first.geom_type} at index {chosen.index[wrong[0]]!r}; "
            "take .representative_point() of areas"
        )
    return chosen


class _Reached(NamedTuple):
    """What one search found: the sites it started from and every node's minutes to them."""

    site: Integers
    node: Integers
    minutes: Floats


def _searches(
    trips: Trips, sites: Snaps, group: Integers, limit: float, *, merged: bool
) -> Iterator[tuple[int, _Reached]]:
    """Search from each group of sites (merged) or each site; those off the network are missing."""
    if not merged:
        for batch in site_searches(trips, sites, limit_minutes=limit):
            for site, minutes in zip(batch.site, batch.minutes, strict=True):
                near = np.flatnonzero(minutes < np.inf)
                yield int(site), _Reached(np.array([site]), batch.node[near], minutes[near])
        return
    for number in range(group.max(initial=-1) + 1):
        search = SiteSearch(trips, sites, group == number, limit)
        if search.site.size:
            node = np.flatnonzero(search.node_minutes < np.inf)
            yield number, _Reached(search.site, node, search.node_minutes[node])


def _ranges(start: Integers, count: Integers) -> Integers:
    """Give start, start + 1, … so many of each, one after the other."""
    return np.arange(count.sum()) + np.repeat(start - (np.cumsum(count) - count), count)


# ---------------------------------------------------------------- reached roads with a margin


@dataclass(frozen=True, eq=False)
class _Strips:
    """Draws reached roads and a margin on both sides."""

    trips: Trips
    sites: Snaps
    lines: Shapes
    width_m: float

    slack_minutes = 0.0

    def bands(self, reached: _Reached, limits: Sequence[float]) -> list[Any]:
        """Give one polygon a limit; each is the one before and what is reached beyond it."""
        area = np.empty(0, dtype=object)
        drawn = np.zeros(len(self.lines), dtype=bool)
        bands = []
        for limit in limits:
            edge, start, end = self._parts(reached, limit)
            whole = (start == 0) & (end == 1)
            new = ~(whole & drawn[edge])
            pieces = substrings(self.lines[edge[new]], start[new], end[new])
            drawn[edge[whole]] = True
            buffers = shapely.buffer(pieces, self.width_m, quad_segs=_QUARTER_SIDES)
            bands.append(shapely.union_all(np.append(area, buffers)))
            area = np.array(bands[-1:], dtype=object)
        return bands

    def _parts(self, reached: _Reached, limit: float) -> tuple[Integers, Floats, Floats]:
        """Give reached edges, from where to where; the same place may come twice."""
        none = np.empty(0, dtype=np.int64)
        batches = (
            SiteBatch(reached.site[:1], reached.node, reached.minutes[None]),
            # What the other sites reach of their own edges, without passing a node.
            SiteBatch(reached.site[1:], none, np.empty((reached.site.size - 1, 0))),
        )
        parts = [reached_parts(self.trips, self.sites, batch, limit) for batch in batches]
        edge, start, end = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("edge", "start", "end")
        )
        return edge, start, end


# ---------------------------------------------------------------- the field of minutes


class _Window(NamedTuple):
    """A part of the grid: its first cell (column, row), its size, and which cells are asked."""

    low: Integers
    asked: Flags


@dataclass(frozen=True, eq=False)
class _Field:
    """Draws where a home would be told that it is within the limit."""

    roads: RoadNetwork
    mode: Mode
    trips: Trips
    sites: Snaps
    cell_m: float
    leg_limit_m: float
    walls: Shapes | None

    @property
    def slack_minutes(self) -> float:
        """How far beyond the limit minutes are asked, to interpolate it: a cell's width on foot."""
        return self.cell_m * self.trips.leg_rate

    def bands(self, reached: _Reached, limits: Sequence[float]) -> list[Any]:
        """Give one polygon a limit."""
        net = self.trips.net
        node_minutes = np.full(net.matrix.shape[0], np.inf)
        node_minutes[reached.node] = reached.minutes
        first, last = net.incident.indptr[reached.node], net.incident.indptr[reached.node + 1]
        edge = np.unique(
            np.concatenate(
                [net.incident.indices[_ranges(first, last - first)], self.sites.edge[reached.site]]
            )
        )
        shapes: list[list[Shapes]] = [[] for _ in limits]
        for window in self._windows(reached, node_minutes, edge, limits[-1]):
            field, x, y = self._minutes(window, reached, node_minutes, edge)
            for limit, found in zip(limits, shapes, strict=True):
                found.append(_below(field, x, y, limit, self.slack_minutes))
        nothing = np.empty(0, dtype=object)
        return [_as_one(np.concatenate([nothing, *found])) for found in shapes]

    def _windows(
        self, reached: _Reached, node_minutes: Floats, edge: Integers, limit: float
    ) -> Iterator[_Window]:
        """Cut out the parts of the grid that may be within the limit, each far from the next.

        A cell may be, where an edge is nearer than the minutes left at it allow. As an edge that
        is nearer still may stand in its light, twice the distance is cut out.
        """
        net, sites = self.trips.net, self.sites
        minutes = np.minimum(node_minutes[net.u[edge]], node_minutes[net.v[edge]])
        own = np.searchsorted(edge, sites.edge[reached.site])
        np.minimum.at(minutes, own, sites.leg_m[reached.site] * self.trips.leg_rate)
        left = (limit + self.slack_minutes - minutes) / self.trips.leg_rate
        edge, left = edge[left >= 0], left[left >= 0]
        if edge.size == 0:
            return
        margin = 2 * (np.minimum(left, self.leg_limit_m) + self.cell_m)[:, None]
        bounds = shapely.bounds(np.asarray(self.roads.edges.geometry.array)[edge])
        block_m = _BLOCK_CELLS * self.cell_m
        low = np.floor((bounds[:, :2] - margin) / block_m).astype(np.int64)
        high = np.floor((bounds[:, 2:] + margin) / block_m).astype(np.int64) + 1
        origin = low.min(axis=0)
        (c0, r0), (c1, r1) = (low - origin).T, (high - origin).T
        # Boxes are counted by their corners: sums along rows and columns fill them in.
        covers = np.zeros((r1.max() + 1, c1.max() + 1), dtype=np.int64)
        for r, c, sign in ((r0, c0, 1), (r1, c1, 1), (r0, c1, -1), (r1, c0, -1)):
            np.add.at(covers, (r, c), sign)
        covered = covers.cumsum(axis=0).cumsum(axis=1) > 0
        label, _ = ndimage.label(covered, structure=np.ones((3, 3)))
        for number, (rows, columns) in enumerate(ndimage.find_objects(label), 1):
            blocks = label[rows, columns] == number
            asked = blocks.repeat(_BLOCK_CELLS, axis=0).repeat(_BLOCK_CELLS, axis=1)
            corner = origin + np.array([columns.start, rows.start])
            yield _Window(corner * _BLOCK_CELLS, asked)

    def _minutes(
        self, window: _Window, reached: _Reached, node_minutes: Floats, edge: Integers
    ) -> tuple[Floats, Floats, Floats]:
        """Give the minutes of homes in the middle of cells, and the middles' x and y.

        Only homes that join a reached edge have any.
        """
        cell, shape = self.cell_m, window.asked.shape
        x, y = (
            (start + np.arange(count) + 0.5) * cell
            for start, count in zip(window.low, shape[::-1], strict=True)
        )
        near = _NearRoads.in_window(self.roads, self.trips.net, window, cell)
        field = np.full(shape, np.inf)
        # A wall may send a home on to another road than the nearest.
        may_join = True if self.walls is not None and len(self.walls) else near.may_join(edge)
        asked = np.flatnonzero(window.asked & may_join)
        for start in range(0, asked.size, _CELLS_AT_ONCE):
            part = asked[start : start + _CELLS_AT_ONCE]
            row, column = np.divmod(part, shape[1])
            snaps = self._snapped(near, np.column_stack([x[column], y[row]]), row, column)
            joined = np.flatnonzero(snaps.edge >= 0)
            field.flat[part[joined]] = self._minutes_at(snaps.take(joined), reached, node_minutes)
        return field, x, y

    def _snapped(self, near: _NearRoads, xy: Floats, row: Integers, column: Integers) -> Snaps:
        """Join the middles of cells to roads, as `snap` does."""
        where = self.trips.net.roads
        edge, fraction, leg_m, foot = near.nearest(xy, near.segment[row, column])
        island = np.flatnonzero(near.on_island[edge])
        if island.size and near.main_segment is not None:
            main = near.nearest(xy[island], near.main_segment[row[island], column[island]])
            joins = main[2] <= self.leg_limit_m
            for mine, other in zip((edge, fraction, leg_m, foot), main, strict=True):
                mine[island[joins]] = other[joins]
        edge[leg_m > self.leg_limit_m] = -1
        if self.walls is not None and len(self.walls):
            joined = np.flatnonzero(edge >= 0)
            legs = shapely.linestrings(np.stack([xy[joined], foot[joined]], axis=1))
            crossing = shapely.STRtree(self.walls).query(legs, predicate="intersects")[0]
            behind = joined[np.unique(crossing)]
            exact = snap(
                shapely.points(xy[behind]),
                self.roads,
                self.mode,
                leg_limit_m=self.leg_limit_m,
                barriers=self.walls,
            )
            edge[behind], fraction[behind], leg_m[behind] = exact.edge, exact.fraction, exact.leg_m
        component = np.where(edge >= 0, where.edge_component[edge], -1)
        return Snaps(edge, fraction, leg_m, component, np.full(edge.size, "", dtype=object))

    def _minutes_at(self, points: Snaps, reached: _Reached, node_minutes: Floats) -> Floats:
        """Give the minutes between points and the nearest site of a search."""
        trips, net, sites = self.trips, self.trips.net, self.sites
        edge = points.edge
        at_u, at_v = trips.ends(edge, points.fraction, outward=trips.to_facility)
        minutes = np.minimum(at_u + node_minutes[net.u[edge]], at_v + node_minutes[net.v[edge]])
        # Along an edge they share with a site they need not pass its ends.
        order = reached.site[np.argsort(sites.edge[reached.site], kind="stable")]
        first = np.searchsorted(sites.edge[order], edge, side="left")
        count = np.searchsorted(sites.edge[order], edge, side="right") - first
        point, site = np.repeat(np.arange(edge.size), count), order[_ranges(first, count)]
        along = trips.along(edge[point], points.fraction[point], sites.fraction[site])
        np.minimum.at(minutes, point, along + sites.leg_m[site] * trips.leg_rate)
        return minutes + points.leg_m * trips.leg_rate


@dataclass(frozen=True, eq=False)
class _NearRoads:
    """The straight segments of roads in a window, and which of them is nearest to each cell.

    Nearest is judged from cell to cell, so that of two roads whose distances differ by a fraction
    of a cell the other may be taken; the distance to it is exact.
    """

    edge: Integers
    start: Floats
    vector: Floats
    fraction: Floats
    on_island: Flags
    segment: Integers
    main_segment: Integers | None

    @classmethod
    def in_window(
        cls, roads: RoadNetwork, net: ModeNetwork, window: _Window, cell_m: float
    ) -> _NearRoads:
        """Draw the usable roads of a window on its cells."""
        size = np.array(window.asked.shape[::-1])
        box = shapely.box(*(window.low * cell_m), *((window.low + size) * cell_m))
        edge = net.roads.usable[np.sort(net.roads.tree.query(box))]
        xy, which = shapely.get_coordinates(
            np.asarray(roads.edges.geometry.array)[edge], return_index=True
        )
        inner = np.flatnonzero(which[1:] == which[:-1])
        start, vector = xy[inner], xy[inner + 1] - xy[inner]
        length, which = np.hypot(*vector.T), which[inner]
        run = np.cumsum(length)
        total = np.bincount(which, weights=length, minlength=edge.size)
        before = (np.cumsum(total) - total)[which]
        with np.errstate(invalid="ignore"):
            fraction = np.column_stack([run - length - before, run - before]) / total[which, None]
        fraction = np.clip(np.nan_to_num(fraction), 0.0, 1.0)
        on_island = net.roads.on_island
        # Points along the segments, at least two a cell; of those in a cell the one nearest to its
        # middle stands for it: it is written last.
        count = np.ceil(2 * length / cell_m).astype(np.int64) + 1
        segment = np.repeat(np.arange(inner.size), count)
        share = (_ranges(np.zeros_like(count), count) + 0.5) / count[segment]
        place = (start[segment] + share[:, None] * vector[segment]) / cell_m - window.low
        at = np.floor(place).astype(np.int64)
        inside = ((at >= 0) & (at < size)).all(axis=1)
        segment, at, off = segment[inside], at[inside], np.abs(place - at - 0.5).sum(axis=1)[inside]
        # To a thousandth of a cell, as short integers are sorted in no time.
        order = np.argsort((off * -1000).astype(np.int16), kind="stable")
        segment, at = segment[order], at[order]
        main = ~on_island[edge[which[segment]]]
        nearest = _spread(window.asked.shape, at, segment)
        nearest_main = None
        if not main.all() and main.any():
            nearest_main = _spread(window.asked.shape, at[main], segment[main])
        return cls(edge[which], start, vector, fraction, on_island, nearest, nearest_main)

    def may_join(self, edge: Integers) -> Flags:
        """Tell which cells may join one of some edges."""
        wanted = np.isin(self.edge, edge)
        if self.main_segment is None:
            return wanted[self.segment]
        return wanted[self.segment] | wanted[self.main_segment]

    def nearest(self, xy: Floats, segment: Integers) -> tuple[Integers, Floats, Floats, Floats]:
        """Give edge, fraction, metres and place of the point of a segment nearest to each point."""
        start, vector = self.start[segment], self.vector[segment]
        square = np.einsum("ij,ij->i", vector, vector)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.einsum("ij,ij->i", xy - start, vector) / square
        share = np.clip(np.nan_to_num(share), 0.0, 1.0)
        foot = start + share[:, None] * vector
        low, high = self.fraction[segment].T
        return self.edge[segment], low + share * (high - low), np.hypot(*(xy - foot).T), foot


def _spread(shape: tuple[int, ...], at: Integers, value: Integers) -> Integers:
    """Give every cell the value of the nearest cell that has one."""
    cells = np.full(shape, -1, dtype=np.int64)
    cells[at[:, 1], at[:, 0]] = value
    row, column = ndimage.distance_transform_edt(
        cells < 0, return_distances=False, return_indices=True
    )
    return cells[row, column]


def _below(field: Floats, x: Floats, y: Floats, limit: float, slack: float) -> Shapes:
    """Give the areas where the field is at most the limit.

    Further from the limit than minutes can change from one cell to the next all values are one:
    so where they jump the limit is drawn half way, and what is within one limit is within the next.
    """
    side = np.clip((field - limit) / slack, -1.0, 1.0)
    contours = contourpy.contour_generator(
        x, y, side, fill_type=contourpy.FillType.ChunkCombinedOffsetOffset
    )
    (xy,), (rings,), (polygons,) = contours.filled(-2.0, 0.0)
    if xy is None:
        return np.empty(0, dtype=object)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, xy, (rings, polygons))


def _as_one(shapes: Shapes) -> Any:
    """Give areas that do not overlap as one Polygon or MultiPolygon."""
    shapes = shapes[shapely.area(shapes) > 0]
    if len(shapes) == 1 and shapes[0].is_valid:
        return shapes[0]
    whole = shapely.multipolygons(shapes)
    # Areas that meet at the corner of a cell touch themselves or each other there.
    return whole if whole.is_valid else shapely.union_all(shapely.make_valid(shapes))
