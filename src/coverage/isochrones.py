"""Isochrones: the area from which a facility is reached within so many minutes.

The picture of `travel_times`, not a second opinion: each cell of a fine grid asks what a home in
its middle would be told (nearest road, the leg to it, the minutes from there), and the field of
minutes is contoured at the limits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import contourpy
import geopandas as gpd
import networkx as nx
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from .errors import InputError
from .modes import MODES, Mode
from .network import RoadNetwork
from .search import SiteSearch, Trips
from .snapping import Snaps, snap

__all__ = ["isochrones"]

Floats = NDArray[np.float64]
_BEYOND = 2.0  # what cells out of reach are given, times the widest limit


def isochrones(
    facilities: gpd.GeoDataFrame,
    roads: RoadNetwork | nx.MultiDiGraph,
    *,
    mode: str | Mode = "walk",
    minutes: Sequence[float] = (5, 10, 15),
    kind: str | None = None,
    merged: bool = True,
    cell_m: float = 50.0,
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
) -> gpd.GeoDataFrame:
    """Draw the areas that reach a facility within given minutes.

    Parameters
    ----------
    facilities : GeoDataFrame
        As `read_facilities` gives them, or any points; those in use and with a place are taken.
    roads : RoadNetwork or networkx.MultiDiGraph
        The roads; an OSMnx graph goes straight in.
    mode : str or Mode
        How people travel.
    minutes : sequence of float
        The limits of the bands.
    kind : str, optional
        Only facilities of this kind. By default each kind gives bands of its own.
    merged : bool
        One area for all facilities of a kind (True) or one for each facility (False).
    cell_m : float
        Width of the grid. The polygon agrees with `travel_times` to within one cell.
    leg_limit_m, leg_detour, direction
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
    InputError
        Where the facilities have no CRS or the minutes are not positive.

    Notes
    -----
    Minutes at the middle of each cell are those of a point there: it joins the nearest road, the
    leg is walked, the rest is the shortest path. `contourpy` interpolates the limit between cells.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> facilities = fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> circles = fc.isochrones(facilities, roads, kind="day_care", minutes=(5, 15))
    >>> circles["minutes"].tolist(), bool(circles["area_m2"].is_monotonic_increasing)
    ([5.0, 15.0], True)
    """
    if facilities.crs is None:
        raise InputError("the facilities have no CRS; set one with .set_crs")
    limits = sorted({float(limit) for limit in minutes})
    if not limits or limits[0] <= 0:
        raise InputError(f"minutes must be positive numbers, not {minutes!r}")
    if isinstance(roads, nx.MultiDiGraph):
        roads = RoadNetwork.from_graph(roads)
    mode = MODES[mode] if isinstance(mode, str) else mode
    taken = facilities.geometry.notna()
    if "status" in facilities:
        taken &= facilities["status"] == "in_use"
    if kind is not None:
        taken &= facilities["kind"] == kind
    chosen = facilities[taken]
    columns = ["kind", "facility_id", "mode", "minutes", "area_m2", "geometry"]
    if chosen.empty:
        return gpd.GeoDataFrame(
            {name: [] for name in columns}, geometry="geometry", crs=facilities.crs
        )

    points = np.asarray(chosen.geometry.to_crs(roads.crs).array)
    sites = snap(points, roads, mode, leg_limit_m=leg_limit_m)
    kinds = chosen["kind"].to_numpy(object) if "kind" in chosen else np.full(len(chosen), None)
    ids = chosen.get("facility_id", chosen.index).to_numpy(object)
    groups = (
        [(name, None, kinds == name) for name in dict.fromkeys(kinds)]
        if merged
        else [(kinds[i], ids[i], np.arange(len(chosen)) == i) for i in range(len(chosen))]
    )
    trips = Trips(roads.for_mode(mode), leg_detour, direction)
    road_points = _RoadPoints(roads, mode, cell_m, leg_limit_m)
    rows = []
    for group_kind, facility_id, members in groups:
        search = SiteSearch(trips, sites, members)
        for limit, shape in zip(limits, _bands(search, road_points, limits), strict=True):
            if not shape.is_empty:
                rows.append((group_kind, facility_id, mode.name, limit, shape.area, shape))
    table = gpd.GeoDataFrame(rows, columns=columns, geometry="geometry", crs=roads.crs)
    return table.to_crs(facilities.crs)


class _RoadPoints:
    """Usable roads as points half a cell apart, to find the road nearest to a cell."""

    def __init__(self, roads: RoadNetwork, mode: Mode, cell_m: float, leg_limit_m: float) -> None:
        self.roads, self.mode, self.cell_m, self.leg_limit_m = roads, mode, cell_m, leg_limit_m
        self.net = roads.for_mode(mode)
        self.lines = np.asarray(roads.edges.geometry.array)
        dense = shapely.segmentize(self.lines[self.net.roads.usable], cell_m / 2)
        self.xy, which = shapely.get_coordinates(dense, return_index=True)
        self.edge = self.net.roads.usable[which]
        self.tree = cKDTree(self.xy)

    def snap(self, xy: Floats) -> Snaps:
        """Join points to the nearest road as `facility_coverage.network.snap` does, but faster.

        Nearest is judged at points half a cell apart, so that of two roads whose distances differ
        by a fraction of a cell the other may be taken.
        """
        _, nearest = self.tree.query(xy, distance_upper_bound=self.leg_limit_m + self.cell_m)
        found = np.flatnonzero(nearest < len(self.edge))
        edge = np.full(len(xy), -1, dtype=np.int64)
        edge[found] = self.edge[nearest[found]]
        points = shapely.points(xy)
        fraction = np.full(len(xy), np.nan)
        leg_m = np.full(len(xy), np.inf)
        lines = self.lines[edge[found]]
        leg_m[found] = shapely.distance(points[found], lines)
        fraction[found] = shapely.line_locate_point(lines, points[found], normalized=True)
        edge[leg_m > self.leg_limit_m] = -1
        island = (edge >= 0) & (
            self.net.roads.edge_component[edge] != self.net.roads.main_component
        )
        if island.any():
            exact = snap(points[island], self.roads, self.mode, leg_limit_m=self.leg_limit_m)
            edge[island], fraction[island], leg_m[island] = exact.edge, exact.fraction, exact.leg_m
        component = np.where(edge >= 0, self.net.roads.edge_component[edge], -1)
        return Snaps(edge, np.nan_to_num(fraction), leg_m, component, np.full(len(xy), "", object))


def _bands(search: SiteSearch, roads: _RoadPoints, limits: Sequence[float]) -> list[Any]:
    """Give one polygon a limit from the field of minutes around the sites of a search."""
    net, cell, widest = search.trips.net, roads.cell_m, limits[-1]
    ends = np.minimum(search.node_minutes[net.u], search.node_minutes[net.v])
    reached = ends <= widest
    reached[search.sites.edge[search.site]] = True
    xy = roads.xy[reached[roads.edge]]
    if len(xy) == 0:
        return [shapely.MultiPolygon()] * len(limits)
    # Cells within the longest leg of a reached road; beyond them nothing can be within the limit.
    leg_m = min(roads.leg_limit_m, widest / search.trips.leg_rate)
    border = int(np.ceil(leg_m / cell)) + 2
    low = np.floor(xy.min(axis=0) / cell).astype(int) - border
    column, row = (np.floor(xy / cell).astype(int) - low).T
    road = np.zeros((row.max() + border + 1, column.max() + border + 1), dtype=bool)
    road[row, column] = True
    near = distance_transform_edt(~road) <= border - 1
    rows, columns = np.nonzero(near)
    x, y = (
        (low[0] + np.arange(road.shape[1]) + 0.5) * cell,
        (low[1] + np.arange(road.shape[0]) + 0.5) * cell,
    )
    times = search.nearest(roads.snap(np.column_stack([x[columns], y[rows]]))).minutes
    field = np.full(road.shape, _BEYOND * widest)
    field[rows, columns] = np.fmin(times, _BEYOND * widest)
    contours = contourpy.contour_generator(x, y, field, fill_type=contourpy.FillType.OuterOffset)
    return [_polygons(*contours.filled(-1.0, limit)) for limit in limits]


def _polygons(points: list[Floats], offsets: list[NDArray[np.uint32]]) -> Any:
    """Give contourpy's filled areas as one (Multi)Polygon with holes."""
    shapes = []
    for xy, starts in zip(points, offsets, strict=True):
        rings = [xy[a:b] for a, b in itertools.pairwise(starts)]
        shape = shapely.Polygon(rings[0], rings[1:])
        # Areas that meet at a saddle touch themselves in a point.
        shapes.append(shape if shape.is_valid else shape.buffer(0))
    return shapely.union_all(shapes) if len(shapes) != 1 else shapes[0]
