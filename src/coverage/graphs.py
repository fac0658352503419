"""Between an OSMnx-convention ``networkx.MultiDiGraph`` and the arrays of a `RoadNetwork`."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter, methodcaller
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray

from .errors import NetworkError, NoCrsError

if TYPE_CHECKING:
    from .network import RoadNetwork

__all__ = ["build_graph", "metric_crs", "network_parts"]

_KEPT = (
    "osmid",
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "maxspeed",
    "surface",
    "access",
    "foot",
    "bicycle",
    "vehicle",
    "motor_vehicle",
    "oneway_bicycle",
    "speed_kph",
)
# What OpenStreetMap spells otherwise.
_OSM_NAMES = {"oneway_bicycle": "oneway:bicycle"}


def metric_crs(crs: pyproj.CRS, bounds: tuple[float, float, float, float]) -> pyproj.CRS:
    """Choose the CRS to measure in: the layer's own if in metres, else the UTM zone of its middle.

    Parameters
    ----------
    crs : pyproj.CRS
        The layer's CRS.
    bounds : tuple of float
        Its minx, miny, maxx, maxy in that CRS.
    """
    if crs.is_projected and crs.axis_info[0].unit_conversion_factor == 1.0:
        return crs
    minx, miny, maxx, maxy = bounds
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    longitude, latitude = to_degrees((minx + maxx) / 2, (miny + maxy) / 2)
    zone = int((longitude + 180) // 6) % 60 + 1
    return pyproj.CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def network_parts(
    graph: nx.MultiDiGraph, *, crs: Any = None
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Give the edges and nodes of a `RoadNetwork` from a graph (see `RoadNetwork.from_graph`)."""
    if "crs" not in graph.graph:
        raise NoCrsError(
            "the graph has no CRS: set graph.graph['crs'], e.g. to 'epsg:4326' for lon/lat"
        )
    if not any(graph.adj.values()):
        raise NetworkError("the graph has no edge")
    source_crs = pyproj.CRS.from_user_input(graph.graph["crs"])
    node_ids = list(graph)
    try:
        x, y = (np.array([xy[at] for _, xy in graph.nodes(data=True)], float) for at in "xy")
    except KeyError as fault:
        raise NetworkError(f"a node of the graph has no {fault}; nodes need x and y") from None
    target = pyproj.CRS.from_user_input(crs) if crs is not None else None
    target = target or metric_crs(source_crs, (x.min(), y.min(), x.max(), y.max()))
    transform = pyproj.Transformer.from_crs(source_crs, target, always_xy=True).transform

    streets = _streets(graph, {node: i for i, node in enumerate(node_ids)})
    node_x, node_y = transform(x, y)
    geometry = _lines(streets, np.column_stack([node_x, node_y]), transform)
    edges = gpd.GeoDataFrame(streets.drop(columns="geometry"), geometry=geometry, crs=target)
    nodes = pd.DataFrame({"node_id": node_ids, "x": node_x, "y": node_y})
    return edges, nodes


def _streets(graph: nx.MultiDiGraph, position: dict[Any, int]) -> pd.DataFrame:
    """Give one row a street: its two directions are one, a lone direction is one-way."""
    # Tens of thousands of small dicts: everything here is a loop in C.
    neighbours = [heads for _, heads in graph.adjacency()]
    parallel = [keyed for heads in neighbours for keyed in heads.values()]
    edges = list(chain.from_iterable(map(dict.values, parallel)))
    count = np.fromiter(map(len, parallel), dtype=np.int64, count=len(parallel))
    heads = map(position.__getitem__, chain.from_iterable(neighbours))
    head = np.repeat(np.fromiter(heads, dtype=np.int64, count=len(parallel)), count)
    degree = np.fromiter(map(len, neighbours), dtype=np.int64, count=len(neighbours))
    tail = np.repeat(np.repeat(np.arange(len(neighbours)), degree), count)
    length = _lengths(graph, edges)
    osmid = _column(edges, "osmid")
    turned = _column(edges, "reversed")
    against = np.fromiter((value is True for value in turned), bool, count=len(edges))
    back = (tail > head) | ((tail == head) & against)
    kept, one_way = _paired(tail, head, length, pd.factorize(osmid)[0], back)

    streets = list(map(edges.__getitem__, kept.tolist()))
    columns: dict[str, Any] = {
        "u": tail[kept],
        "v": head[kept],
        "length_m": length[kept],
        "highway": _column(streets, "highway", first_of_list=True),
        "geometry": _column(streets, "geometry"),
        "osmid": osmid[kept],
        "oneway": one_way,
    }
    present = set(chain.from_iterable(streets))
    for name in _KEPT[1:]:
        stored = _OSM_NAMES.get(name, name)
        if stored in present:
            columns[name] = _column(streets, stored)
    if "speed_kph" in columns:
        columns["speed_kph"] = pd.to_numeric(columns["speed_kph"], errors="coerce").astype(float)
    return pd.DataFrame(columns)


def _column(
    edges: list[dict[str, Any]], name: str, *, first_of_list: bool = False
) -> NDArray[np.object_]:
    """Give one attribute of edges, None where an edge lacks it.

    OSMnx lists the values of merged ways: they are joined to one text, or the first is taken (the
    class the street begins with).
    """
    try:
        values = list(map(itemgetter(name), edges))
    except KeyError:
        values = list(map(methodcaller("get", name), edges))
    if list in set(map(type, values)):
        values = [
            value
            if not isinstance(value, list)
            else value[0]
            if first_of_list
            else "; ".join(map(str, value))
            for value in values
        ]
    return np.fromiter(values, dtype=object, count=len(values))


def _lengths(graph: nx.MultiDiGraph, edges: list[dict[str, Any]]) -> NDArray[np.float64]:
    try:
        return np.array([edge["length"] for edge in edges], dtype=float)
    except KeyError:
        lacking = next(
            ends for *ends, data in graph.edges(keys=True, data=True) if "length" not in data
        )
        raise NetworkError(
            f"edge ({', '.join(map(str, lacking))}) has no length; "
            "osmnx.distance.add_edge_lengths adds it"
        ) from None


def _paired(
    tail: NDArray[np.int64],
    head: NDArray[np.int64],
    length: NDArray[np.float64],
    osmid: NDArray[np.int64],
    back: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give the directed edges that stand for a street each, and which streets are one-way.

    Two edges are one street where they join the same nodes, one there and one back, with the same
    OSM id and length (in centimetres).
    """
    low, high = np.minimum(tail, head), np.maximum(tail, head)
    key = [np.round(length * 100), osmid, low * (high.max() + 1) + high]
    order = np.lexsort((back, *key))
    change = np.zeros(order.size, dtype=bool)
    for column in key:
        change[1:] |= column[order][1:] != column[order][:-1]
    group = np.cumsum(change)
    change[1:] |= back[order][1:] != back[order][:-1]
    change[0] = True
    start = np.flatnonzero(change)
    turn = np.arange(order.size) - np.repeat(start, np.diff(np.r_[start, order.size]))
    # Of a group's edges there, the first belongs to the first of its edges back, and so on.
    again = np.lexsort((back[order], turn, group))
    order, group, turn = order[again], group[again], turn[again]
    first = np.r_[True, (group[1:] != group[:-1]) | (turn[1:] != turn[:-1])]
    size = np.diff(np.r_[np.flatnonzero(first), order.size])
    kept, one_way = order[first], size == 1
    rank = np.argsort(kept)
    return kept[rank], one_way[rank]


def _lines(streets: pd.DataFrame, xy: np.ndarray, transform: Any) -> np.ndarray:
    shapes = streets["geometry"].to_numpy(dtype=object)
    bent = ~shapely.is_missing(shapes)
    lines = np.empty(len(streets), dtype=object)
    u, v = (streets[end].to_numpy()[~bent] for end in ("u", "v"))
    lines[~bent] = shapely.linestrings(np.stack([xy[u], xy[v]], axis=1))
    coords, which = shapely.get_coordinates(shapes[bent], return_index=True)
    lines[bent] = shapely.linestrings(
        np.column_stack(transform(coords[:, 0], coords[:, 1])), indices=which
    )
    return lines


def build_graph(roads: RoadNetwork) -> nx.MultiDiGraph:
    """Build the OSMnx-convention graph of a network (see `RoadNetwork.graph`)."""
    graph = nx.MultiDiGraph(crs="epsg:4326", simplified=True, name=roads.source)
    transform = pyproj.Transformer.from_crs(roads.crs, "EPSG:4326", always_xy=True).transform
    lon, lat = transform(roads.nodes["x"].to_numpy(), roads.nodes["y"].to_numpy())
    ids = roads.nodes["node_id"].tolist()
    graph.add_nodes_from(
        (node, {"x": x, "y": y}) for node, x, y in zip(ids, lon.tolist(), lat.tolist(), strict=True)
    )
    shapes = shapely.transform(
        np.asarray(roads.edges.geometry.array), lambda xy: np.column_stack(transform(*xy.T))
    )
    bends = shapely.get_num_coordinates(shapes) > 2  # noqa: PLR2004 - two points are straight
    columns = [name for name in (*_KEPT, "highway") if name in roads.edges]
    records = roads.edges[columns].rename(columns=_OSM_NAMES).to_dict("records")
    table = zip(
        roads.edges["u"].tolist(),
        roads.edges["v"].tolist(),
        roads.edges["length_m"].tolist(),
        roads.edges["oneway"].tolist(),
        records,
        shapes,
        bends,
        strict=True,
    )
    for u, v, length, one_way, record, shape, bent in table:
        data = {key: value for key, value in record.items() if not pd.isna(value)}
        data |= {"length": length, "oneway": one_way, "reversed": False}
        if bent:
            data["geometry"] = shape
        graph.add_edge(ids[u], ids[v], **data)
        if not one_way:
            back = data | {"reversed": True}
            if bent:
                back["geometry"] = shape.reverse()
            graph.add_edge(ids[v], ids[u], **back)
    return graph
