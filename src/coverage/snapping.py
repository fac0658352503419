"""Joining points to roads: at the nearest point of an edge, the walk to it measured."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .errors import NoCrsError
from .modes import MODES, Mode
from .network import ModeNetwork, RoadNetwork

__all__ = ["Snaps", "barrier_shapes", "join_points", "snap", "snap_table"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Shapes = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Snaps:
    """Points joined to the nearest point of an edge, index by index.

    Attributes
    ----------
    edge : ndarray of int
        The edge each point joins, -1 where it joins none.
    fraction : ndarray of float
        Where along the edge, 0 at `u` and 1 at `v`.
    leg_m : ndarray of float
        Straight distance from the point to the road in metres, also where it is too far to join.
    component : ndarray of int
        The connected piece of road it joins, -1 where none.
    flag : ndarray of object
        ``""``, ``"off_network"`` (farther from any road than the limit, or only across a barrier),
        ``"island"`` (joined to a piece of road cut off from the main network) or ``"joined_main"``
        (nearest to an island, but the main network is within the limit and was taken).
    """

    edge: Integers
    fraction: Floats
    leg_m: Floats
    component: Integers
    flag: NDArray[np.object_]

    def scattered(self, positions: NDArray[np.integer], count: int) -> Snaps:
        """Give snaps of a longer table: these at their positions, ``"no_place"`` at the others."""
        whole = Snaps(
            np.full(count, -1, dtype=np.int64),
            np.full(count, np.nan),
            np.full(count, np.nan),
            np.full(count, -1, dtype=np.int64),
            np.full(count, "no_place", dtype=object),
        )
        for name in self.__dataclass_fields__:
            getattr(whole, name)[positions] = getattr(self, name)
        return whole

    def take(self, positions: NDArray[np.integer] | slice) -> Snaps:
        """Give the snaps of some points."""
        return Snaps(
            self.edge[positions],
            self.fraction[positions],
            self.leg_m[positions],
            self.component[positions],
            self.flag[positions],
        )


def snap(
    points: Shapes,
    roads: RoadNetwork,
    mode: Mode,
    *,
    leg_limit_m: float = 500.0,
    barriers: Shapes | None = None,
) -> Snaps:
    """Join points to the nearest point of an edge the mode may use.

    Parameters
    ----------
    points : ndarray of shapely.Point
        In the CRS of `roads`.
    roads : RoadNetwork
        The roads.
    mode : Mode
        Which roads may be used.
    leg_limit_m : float
        Points farther than this from any such road join none (``off_network``).
    barriers : ndarray of shapely geometries, optional
        Lines or areas, in the CRS of `roads`, that the straight way from a point to the road may
        not cross (a river, a railway). A point whose nearest road lies beyond one joins the next
        nearest within the limit.

    Returns
    -------
    Snaps
        Index by index with `points`. Where several edges are equally near, their shapes, then
        their minutes, then the ids of their nodes decide, so that the order of rows never does.

    Notes
    -----
    A point nearest to an island (a piece of road cut off from the main network) joins the main
    network instead where that is within `leg_limit_m` too; it is flagged ``joined_main``.

    Points are sent to the spatial index in the order of a Hilbert curve, so that neighbours find
    its branches in the processor's cache: twice as fast.
    """
    net = roads.for_mode(mode)
    where = net.roads
    edge, leg_m = _nearest(roads, net, where.tree, where.usable, points, leg_limit_m, barriers)
    flag = np.full(len(points), "", dtype=object)
    flag[edge < 0] = "off_network"

    on_island = np.flatnonzero((edge >= 0) & (where.edge_component[edge] != where.main_component))
    if on_island.size:
        flag[on_island] = "island"
        main_edge, main_leg = _nearest(
            roads, net, where.main_tree, where.main_usable, points[on_island], leg_limit_m, barriers
        )
        joins = main_edge >= 0
        edge[on_island[joins]] = main_edge[joins]
        leg_m[on_island[joins]] = main_leg[joins]
        flag[on_island[joins]] = "joined_main"

    joined = edge >= 0
    fraction = np.full(len(points), np.nan)
    lines = np.asarray(roads.edges.geometry.array)[edge[joined]]
    fraction[joined] = shapely.line_locate_point(lines, points[joined], normalized=True)
    # A line of no length has no fraction along it.
    fraction[joined & np.isnan(fraction)] = 0.0
    component = np.where(joined, where.edge_component[edge], -1)
    return Snaps(edge, fraction, leg_m, component, flag)


def _nearest(
    roads: RoadNetwork,
    net: ModeNetwork,
    tree: shapely.STRtree,
    edges: Integers,
    points: Shapes,
    limit_m: float,
    barriers: Shapes | None,
) -> tuple[Integers, Floats]:
    """Give the nearest of some edges within a limit (-1 if none) and its distance.

    `tree` holds the geometries of `edges`, in that order.
    """
    found = np.full(len(points), -1, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    if len(edges) == 0 or len(points) == 0:
        return found, distance
    order = _along_hilbert_curve(points)
    (which, item), near = tree.query_nearest(
        points[order], max_distance=limit_m, return_distance=True
    )
    _keep_nearest(roads, net, order[which], edges[item], near, found=found, distance=distance)
    # How far the others are is worth knowing, though they do not join.
    far = np.flatnonzero(found < 0)
    if far.size:
        (which, _), near = tree.query_nearest(points[far], return_distance=True, all_matches=False)
        distance[far[which]] = near
    if barriers is not None and len(barriers):
        blocked = _behind(tree, edges, points, barriers, found)
        found[blocked], distance[blocked] = -1, np.inf
        which, item, near = _in_sight(tree, points[blocked], limit_m, barriers)
        _keep_nearest(roads, net, blocked[which], edges[item], near, found=found, distance=distance)
    return found, distance


def _along_hilbert_curve(points: Shapes) -> Integers:
    if len(points) < 1000:  # noqa: PLR2004 - few points fit any cache
        return np.arange(len(points))
    return np.argsort(gpd.GeoSeries(points).hilbert_distance().to_numpy(), kind="stable")


def _keep_nearest(
    roads: RoadNetwork,
    net: ModeNetwork,
    which: Integers,
    edge: Integers,
    near: Floats,
    *,
    found: Integers,
    distance: Floats,
) -> None:
    """Write each point's nearest candidate into `found` and `distance`; break ties by shape."""
    count = np.bincount(which, minlength=len(found))
    tied = np.flatnonzero(count[which] > 1)
    alone = np.flatnonzero(count[which] == 1)
    found[which[alone]] = edge[alone]
    distance[which[alone]] = near[alone]
    if tied.size == 0:
        return
    candidate = edge[tied]
    shapes, place = np.unique(candidate, return_inverse=True)
    lines = np.asarray(roads.edges.geometry.array)[shapes]
    shape_rank = pd.factorize(shapely.to_wkb(lines), sort=True)[0][place]
    node_id = roads.nodes["node_id"].to_numpy()
    ranked = tied[
        np.lexsort(
            (
                candidate,
                node_id[net.v[candidate]].astype(str),
                node_id[net.u[candidate]].astype(str),
                net.backward_minutes[candidate],
                net.forward_minutes[candidate],
                shape_rank,
                near[tied],
                which[tied],
            )
        )
    ]
    first = ranked[np.r_[True, which[ranked][1:] != which[ranked][:-1]]]
    found[which[first]] = edge[first]
    distance[which[first]] = near[first]


def _behind(
    tree: shapely.STRtree, edges: Integers, points: Shapes, barriers: Shapes, found: Integers
) -> Integers:
    """Tell which points' straight way to the edge they found crosses a barrier."""
    joined = np.flatnonzero(found >= 0)
    # `edges` ascends, and the tree holds their geometries.
    lines = tree.geometries[np.searchsorted(edges, found[joined])]
    legs = shapely.shortest_line(points[joined], lines)
    return joined[np.unique(shapely.STRtree(barriers).query(legs, predicate="intersects")[0])]


def _in_sight(
    tree: shapely.STRtree, points: Shapes, limit_m: float, barriers: Shapes
) -> tuple[Integers, Integers, Floats]:
    """Give (point, line of the tree, metres) of the nearest lines no barrier stands before."""
    which, item = tree.query(points, predicate="dwithin", distance=limit_m)
    legs = shapely.shortest_line(points[which], tree.geometries[item])
    crossing = np.zeros(which.size, dtype=bool)
    crossing[shapely.STRtree(barriers).query(legs, predicate="intersects")[0]] = True
    which, item, near = which[~crossing], item[~crossing], shapely.length(legs[~crossing])
    least = np.full(len(points), np.inf)
    np.minimum.at(least, which, near)
    best = near == least[which]
    return which[best], item[best], near[best]


def barrier_shapes(
    barriers: gpd.GeoDataFrame | gpd.GeoSeries | None, roads: RoadNetwork
) -> Shapes | None:
    """Give a layer of barriers as geometries in the CRS of the roads.

    Raises
    ------
    NoCrsError
        Where the layer does not say its CRS.
    """
    if barriers is None:
        return None
    if barriers.crs is None:
        raise NoCrsError("the barriers have no CRS; set one with .set_crs")
    shapes = np.asarray(barriers.geometry.to_crs(roads.crs).array, dtype=object)
    return shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]


def snap_table(snaps: Snaps, points: gpd.GeoSeries, roads: RoadNetwork) -> gpd.GeoDataFrame:
    """Show how points join the roads: the audit of a snap.

    Parameters
    ----------
    snaps : Snaps
        As `snap` gives them.
    points : GeoSeries of Point
        The same points, in any CRS.
    roads : RoadNetwork
        The roads they were joined to.

    Returns
    -------
    GeoDataFrame
        With the index of `points`: `leg_m`, `edge` (row in ``roads.edges``, missing where none),
        `fraction` (0 at u, 1 at v), `highway`, `road` (its name, where the roads have names),
        `component` (the connected piece of road, missing where none), `flag` (see `Snaps`) and
        geometry (the leg, a LineString from the point to the road; missing where none), in the CRS
        of `points`.
    """
    joined = snaps.edge >= 0
    edge = np.where(joined, snaps.edge, 0)
    lines = np.asarray(roads.edges.geometry.array)[snaps.edge[joined]]
    doors = np.asarray(points.to_crs(roads.crs).array, dtype=object)[joined]
    legs = np.full(len(points), None, dtype=object)
    ends = shapely.line_interpolate_point(lines, snaps.fraction[joined], normalized=True)
    ends = np.where(shapely.is_empty(ends), shapely.get_point(lines, 0), ends)
    coords = np.stack([shapely.get_coordinates(doors), shapely.get_coordinates(ends)], axis=1)
    legs[joined] = shapely.linestrings(coords) if len(doors) else doors
    names = roads.edges["name"] if "name" in roads.edges else pd.Series(None, roads.edges.index)
    table = pd.DataFrame(
        {
            "leg_m": snaps.leg_m,
            "edge": pd.array(snaps.edge, dtype="Int64"),
            "fraction": snaps.fraction,
            "highway": roads.edges["highway"].to_numpy(dtype=object)[edge],
            "road": names.to_numpy(dtype=object)[edge],
            "component": pd.array(snaps.component, dtype="Int64"),
            "flag": snaps.flag,
        },
        index=points.index,
    )
    table.loc[~joined, ["edge", "highway", "road", "component"]] = None
    shapes = gpd.GeoSeries(legs, index=points.index, crs=roads.crs)
    return gpd.GeoDataFrame(table, geometry=shapes.to_crs(points.crs))


def join_points(
    points: gpd.GeoSeries,
    roads: RoadNetwork,
    *,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    barriers: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
) -> gpd.GeoDataFrame:
    """Join points to the nearest road a mode may use, and show how.

    Parameters
    ----------
    points : GeoSeries of Point
        In any CRS.
    roads : RoadNetwork
        The roads.
    mode : str or Mode
        Which roads may be used.
    leg_limit_m : float
        Points farther than this from any such road join none (``off_network``).
    barriers : GeoDataFrame or GeoSeries, optional
        Lines or areas that the straight way to the road may not cross.

    Returns
    -------
    GeoDataFrame
        The audit table of `facility_coverage.snapping.snap_table`, with the index of `points`.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> facilities = fc.read_facilities(county.facilities)
    >>> placed = facilities.geometry[facilities.geometry.notna()]
    >>> joined = fc.join_points(placed, fc.read_roads(county.roads))
    >>> joined.index.equals(placed.index), joined.columns[:3].tolist()
    (True, ['leg_m', 'edge', 'fraction'])
    """
    chosen = MODES[mode] if isinstance(mode, str) else mode
    if points.crs is None:
        raise NoCrsError("the points have no CRS; set one with .set_crs")
    shapes = np.asarray(points.to_crs(roads.crs).array, dtype=object)
    walls = barrier_shapes(barriers, roads)
    snaps = snap(shapes, roads, chosen, leg_limit_m=leg_limit_m, barriers=walls)
    return snap_table(snaps, points, roads)
