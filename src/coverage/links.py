"""Planned roads, a bridge or a gap closed, added to a network before it is searched."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from .conditions import new_node_ids
from .errors import Finding, InputError, NoCrsError
from .linework import substrings
from .modes import Mode
from .network import RoadNetwork

__all__ = ["link_roads", "suggest_links"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Shapes = NDArray[np.object_]

_SAME_PLACE_M = 1e-3
_LINE = 1  # shapely's number of the type
_SHARED_OUT = ("length_m", "climb_m")
_AT_ONCE = 200  # dead ends searched from at once: rows as long as the network has nodes


def link_roads(
    roads: RoadNetwork,
    links: gpd.GeoDataFrame | gpd.GeoSeries,
    *,
    highway: str = "unclassified",
    tolerance_m: float = 50.0,
) -> RoadNetwork:
    """Add planned roads to a network.

    Parameters
    ----------
    roads : RoadNetwork
        Stays as it is.
    links : GeoDataFrame or GeoSeries of LineString
        In any CRS, one row a link. Columns the edges have (`highway`, `name`, `oneway`, …) are
        taken over.
    highway : str
        The class of links that state none.
    tolerance_m : float
        How far, in metres, an end of a link may lie from the road it joins.

    Returns
    -------
    RoadNetwork
        The edges, those that links join split there, and after them one for each link, whose label
        in the index is in column `link`. Ends are drawn on to the road they join; `length_m` is
        that of the line drawn on, on the ellipsoid.

    Raises
    ------
    NoCrsError, InputError
        Where the links have no CRS, or some are no lines or end near neither a road nor another
        link; all are listed.

    Notes
    -----
    Links join roads at their ends alone: what they cross they pass over. Ends of links within 1 mm
    of one another are one place, so that links make a chain.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> ends = roads.edges.geometry.iloc[[0, 50]].interpolate(0.5, normalized=True)
    >>> bridge = gpd.GeoSeries([shapely.LineString(ends.tolist())], crs=roads.crs)
    >>> linked = fc.link_roads(roads, bridge)
    >>> len(linked) - len(roads), int(linked.edges["link"].notna().sum())
    (3, 1)
    """
    if links.crs is None:
        raise NoCrsError("the links have no CRS; set one with .set_crs")
    if not 0 < tolerance_m < np.inf:
        raise InputError(f"tolerance_m must be a length in metres above 0, not {tolerance_m!r}")
    if len(links) == 0:
        return roads
    lines = np.asarray(links.geometry.to_crs(roads.crs).array, dtype=object)
    no_line: NDArray[np.bool_] = np.asarray(shapely.get_type_id(lines) != _LINE)
    _refuse(links, no_line, "a link is a line", "draw it as one")
    short: NDArray[np.bool_] = np.asarray(shapely.length(lines) <= _SAME_PLACE_M)
    _refuse(links, short, "a link leads somewhere", "draw it on")
    ends = np.stack([shapely.get_point(lines, 0), shapely.get_point(lines, -1)], axis=1)
    xy, spot = np.unique(
        np.round(shapely.get_coordinates(ends) / _SAME_PLACE_M), axis=0, return_inverse=True
    )
    xy, spot = xy * _SAME_PLACE_M, spot.reshape(-1, 2)
    edge, away, fraction = _nearest(roads, xy, tolerance_m)
    shared = np.bincount(spot.ravel(), minlength=len(xy)) > 1
    lost = (edge < 0) & ~shared
    _refuse(
        links,
        lost[spot[:, 0]] | lost[spot[:, 1]],
        f"an end of a link lies within {tolerance_m:g} m of a road, or is another link's",
        "draw it on to the road, or give a larger tolerance_m=",
    )
    node, cuts, nodes = _places(roads, xy, edge, away, fraction)
    edges = _split(roads, cuts)
    return roads.with_edges(_with_links(edges, nodes, links, lines, node[spot], highway), nodes)


def _refuse(
    links: gpd.GeoDataFrame | gpd.GeoSeries, wrong: NDArray[np.bool_], rule: str, cure: str
) -> None:
    if wrong.any():
        rows = np.flatnonzero(wrong)
        raise InputError(
            f"{rows.size} of {len(links)} links cannot be added",
            [Finding("error", rule, cure, "links", row=int(row) + 1) for row in rows],
        )


def _nearest(roads: RoadNetwork, xy: Floats, tolerance_m: float) -> tuple[Integers, Floats, Floats]:
    """Give the edge each place joins (-1 where none is near), the fraction along it, in metres."""
    lines = np.asarray(roads.edges.geometry.array)
    points = shapely.points(xy)
    place, near = shapely.STRtree(lines).query_nearest(points, max_distance=tolerance_m)
    order = np.lexsort((near, place))
    first = order[np.r_[True, np.diff(place[order]) != 0][: order.size]]
    edge = np.full(len(xy), -1, dtype=np.int64)
    edge[place[first]] = near[first]
    joined = np.flatnonzero(edge >= 0)
    fraction = np.full(len(xy), np.nan)
    fraction[joined] = shapely.line_locate_point(
        lines[edge[joined]], points[joined], normalized=True
    )
    length = np.where(edge >= 0, shapely.length(lines)[edge], np.nan)
    return edge, length, np.nan_to_num(fraction)


def _places(
    roads: RoadNetwork, xy: Floats, edge: Integers, length: Floats, fraction: Floats
) -> tuple[Integers, pd.DataFrame, pd.DataFrame]:
    """Give the node of each place, where edges are to be cut, and the table of nodes."""
    u, v = (roads.edges[name].to_numpy(dtype=np.int64)[edge] for name in ("u", "v"))
    at_u, at_v = fraction * length <= _SAME_PLACE_M, (1 - fraction) * length <= _SAME_PLACE_M
    new = (edge < 0) | ~(at_u | at_v)
    node = np.where(at_u, u, v)
    node[new] = len(roads.nodes) + np.arange(int(new.sum()))
    cut = np.flatnonzero(new & (edge >= 0))
    cuts = pd.DataFrame({"edge": edge[cut], "fraction": fraction[cut], "node": node[cut]})
    at = xy.copy()
    lines = np.asarray(roads.edges.geometry.array)[edge[cut]]
    spots = shapely.line_interpolate_point(lines, fraction[cut], normalized=True)
    at[cut] = shapely.get_coordinates(spots)
    ids = new_node_ids(roads.nodes["node_id"], int(new.sum()))
    added = pd.DataFrame({"node_id": ids, "x": at[new, 0], "y": at[new, 1]})
    nodes = pd.concat([roads.nodes, added], ignore_index=True)
    return node, cuts.sort_values(["edge", "fraction"], kind="stable"), nodes


def _split(roads: RoadNetwork, cuts: pd.DataFrame) -> gpd.GeoDataFrame:
    """Cut edges where links join them; what is not cut comes first, in its order."""
    edges = roads.edges.assign(link=None) if "link" not in roads.edges else roads.edges
    if cuts.empty:
        return edges
    cut_edges = np.unique(cuts["edge"])
    piece = np.sort(np.concatenate([cut_edges, cuts["edge"].to_numpy()]))
    first = np.r_[True, piece[1:] != piece[:-1]]
    start, end = np.zeros(piece.size), np.ones(piece.size)
    tail = edges["u"].to_numpy(dtype=np.int64)[piece]
    head = edges["v"].to_numpy(dtype=np.int64)[piece]
    later = np.flatnonzero(~first)  # each but the first piece begins at a cut
    start[later], tail[later] = cuts["fraction"], cuts["node"]
    end[later - 1], head[later - 1] = cuts["fraction"], cuts["node"]
    pieces = edges.iloc[piece].assign(u=tail, v=head)
    for name in _SHARED_OUT:
        if name in pieces:
            pieces[name] = pieces[name].to_numpy(dtype=float) * (end - start)
    lines = np.asarray(edges.geometry.array)[piece]
    pieces = pieces.set_geometry(
        gpd.GeoSeries(substrings(lines, start, end), index=pieces.index, crs=edges.crs)
    )
    whole = edges.drop(index=edges.index[cut_edges])
    return pd.concat([whole, pieces], ignore_index=True)


def _with_links(
    edges: gpd.GeoDataFrame,
    nodes: pd.DataFrame,
    links: gpd.GeoDataFrame | gpd.GeoSeries,
    lines: Shapes,
    node: Integers,
    highway: str,
) -> gpd.GeoDataFrame:
    """Append the links, drawn on to the nodes they join."""
    at = nodes[["x", "y"]].to_numpy(dtype=float)
    drawn = np.empty(len(lines), dtype=object)
    for number, line in enumerate(lines):
        inner = shapely.get_coordinates(line)
        drawn[number] = shapely.LineString([at[node[number, 0]], *inner, at[node[number, 1]]])
    shapes = gpd.GeoSeries(drawn, crs=edges.crs)
    geod = edges.crs.get_geod()
    told = pd.DataFrame(index=np.arange(len(lines)))
    if isinstance(links, gpd.GeoDataFrame):
        shared = [c for c in links.columns if c in edges and c not in {"u", "v", "geometry"}]
        told = pd.DataFrame(links[shared]).reset_index(drop=True)
    stated = told["highway"] if "highway" in told else pd.Series(None, told.index, dtype=object)
    table = told.assign(
        u=node[:, 0],
        v=node[:, 1],
        length_m=[geod.geometry_length(line) for line in shapes.to_crs("EPSG:4326")],
        oneway=told["oneway"].astype(bool) if "oneway" in told else False,
        highway=stated.where(stated.notna(), highway),
        link=[str(key) for key in links.index],
    )
    for name in ("slope_forward", "slope_backward"):
        if name in edges:  # level, until elevations are added
            table[name] = table[name].fillna(1.0) if name in table else 1.0
    added = gpd.GeoDataFrame(table, geometry=shapes.to_numpy(), crs=edges.crs)
    added = added.reindex(columns=edges.columns)
    both = pd.concat([edges.astype({"link": object}), added.astype({"link": object})])
    return gpd.GeoDataFrame(both, crs=edges.crs).reset_index(drop=True)


def suggest_links(
    roads: RoadNetwork, mode: Mode, *, max_length_m: float = 1_000.0, detour: float = 5.0
) -> gpd.GeoDataFrame:
    """Suggest road links: pieces cut off from the main network, and dead ends that face each other.

    Parameters
    ----------
    roads : RoadNetwork
        The roads.
    mode : Mode
        Whose roads count.
    max_length_m : float
        The longest link, in metres, as the crow flies.
    detour : float
        How many times as long as the link the way by road must be, where there is one.

    Returns
    -------
    GeoDataFrame of LineString
        Straight links in the roads' CRS, for `link_roads` and ``propose_projects(links=)``:
        `reason` (``"island"`` or ``"dead_ends"``), `length_m`, `way_round_m` (by road; missing
        where there is none), islands with the most road first, then what saves most. What lies
        between the ends (a river, a ridge, a wall) is not known: each is to be looked at.

    Raises
    ------
    InputError
        For lengths that are none.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> plan, roads = fc.load_plan("luanping-2025"), fc.read_roads(fc.sample_county().roads)
    >>> links = fc.suggest_links(roads, plan.modes["walk"], max_length_m=500)
    >>> bool((links["length_m"] <= 500).all())
    True
    """
    for name, value in (("max_length_m", max_length_m), ("detour", detour)):
        if not 0 < value < np.inf:
            raise InputError(f"{name}= must be a number above 0, not {value!r}")
    parts = [
        _to_islands(roads, mode, max_length_m),
        _between_dead_ends(roads, mode, max_length_m, detour),
    ]
    table = pd.concat(parts, ignore_index=True)
    return gpd.GeoDataFrame(table, geometry="geometry", crs=roads.crs)


def _suggested(reason: str, lines: Shapes, way_round_m: Floats, order: Floats) -> pd.DataFrame:
    """Make a table of links, the largest of `order` first."""
    table = pd.DataFrame(
        {
            "reason": reason,
            "length_m": shapely.length(lines),
            "way_round_m": way_round_m,
            "geometry": lines,
        }
    )
    return table.iloc[np.argsort(-order, kind="stable")]


def _to_islands(roads: RoadNetwork, mode: Mode, max_length_m: float) -> pd.DataFrame:
    """Join each piece of road to the main network where they are nearest."""
    where = roads.for_mode(mode).roads
    edges = where.usable[where.on_island[where.usable]]
    lines = np.asarray(roads.edges.geometry.array)
    if edges.size == 0:
        return _suggested("island", lines[:0], np.zeros(0), np.zeros(0))
    near, main = where.main_tree.query_nearest(lines[edges], max_distance=max_length_m)
    links = shapely.shortest_line(lines[edges[near]], where.main_tree.geometries[main])
    found = pd.DataFrame(
        {"island": where.edge_component[edges[near]], "length_m": shapely.length(links)}
    )
    # Roads that touch without a junction are no gap: reading them says so.
    found = found[found["length_m"] > _SAME_PLACE_M]
    first = found.sort_values("length_m", kind="stable").drop_duplicates("island")
    road_m = pd.Series(roads.edges["length_m"].to_numpy(dtype=float)[edges])
    road_m = road_m.groupby(where.edge_component[edges]).sum()
    none = np.full(len(first), np.nan)
    order = road_m.reindex(first["island"]).to_numpy(dtype=float)
    return _suggested("island", links[first.index.to_numpy()], none, order)


def _between_dead_ends(
    roads: RoadNetwork, mode: Mode, max_length_m: float, detour: float
) -> pd.DataFrame:
    """Join dead ends of one piece of road to the nearest that is far by road."""
    net = roads.for_mode(mode)
    usable, size = net.roads.usable, len(net.xy)
    u, v = net.u[usable], net.v[usable]
    degree = np.bincount(np.concatenate([u, v]), minlength=size)
    dead = np.flatnonzero(degree == 1)
    if dead.size == 0:
        return _suggested("dead_ends", np.empty(0, dtype=object), np.zeros(0), np.zeros(0))
    pairs = KDTree(net.xy[dead]).query_pairs(max_length_m, output_type="ndarray")
    start, end = dead[pairs[:, 0]], dead[pairs[:, 1]]
    same = net.roads.component[start] == net.roads.component[end]
    start, end = start[same], end[same]
    apart = np.hypot(*(net.xy[start] - net.xy[end]).T)
    length = roads.edges["length_m"].to_numpy(dtype=float)[usable]
    graph = coo_array((length, (u, v)), shape=(size, size)).tocsr()
    sources, row = np.unique(start, return_inverse=True)
    way = np.full(start.size, np.inf)
    for first in range(0, sources.size, _AT_ONCE):
        rows = dijkstra(graph, directed=False, indices=sources[first : first + _AT_ONCE])
        mine = np.flatnonzero((row >= first) & (row < first + _AT_ONCE))
        way[mine] = rows[row[mine] - first, end[mine]]
    far = np.flatnonzero((way >= detour * apart) & (apart > _SAME_PLACE_M))
    order = far[np.lexsort((end[far], start[far], apart[far]))]
    taken: set[int] = set()
    kept = []
    for pair in order.tolist():  # a dead end is joined once, to the nearest
        ends = {int(start[pair]), int(end[pair])}
        if not ends & taken:
            taken |= ends
            kept.append(pair)
    lines = shapely.linestrings(np.stack([net.xy[start[kept]], net.xy[end[kept]]], axis=1))
    return _suggested("dead_ends", lines, way[kept], way[kept] - apart[kept])
