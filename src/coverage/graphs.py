"""Between an OSMnx-convention ``networkx.MultiDiGraph`` and the arrays of a `RoadNetwork`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pyproj
import shapely

from .errors import NetworkError, NoCrsError

if TYPE_CHECKING:
    from .network import RoadNetwork

__all__ = ["build_graph", "metric_crs", "network_parts"]

_KEPT = ("osmid", "name", "ref", "bridge", "tunnel", "layer", "maxspeed", "surface")


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
    box = gpd.GeoSeries([shapely.box(*bounds)], crs=crs)
    return box.estimate_utm_crs()


def network_parts(
    graph: nx.MultiDiGraph, *, crs: Any = None
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Give the edges and nodes of a `RoadNetwork` from a graph (see `RoadNetwork.from_graph`)."""
    if "crs" not in graph.graph:
        raise NoCrsError(
            "the graph has no CRS: set graph.graph['crs'], e.g. to 'epsg:4326' for lon/lat"
        )
    if graph.number_of_edges() == 0:
        raise NetworkError("the graph has no edge")
    source_crs = pyproj.CRS.from_user_input(graph.graph["crs"])
    node_ids = list(graph.nodes)
    try:
        x = np.array([data["x"] for _, data in graph.nodes(data=True)], dtype=float)
        y = np.array([data["y"] for _, data in graph.nodes(data=True)], dtype=float)
    except KeyError as fault:
        raise NetworkError(f"a node of the graph has no {fault}; nodes need x and y") from None
    target = pyproj.CRS.from_user_input(crs) if crs is not None else None
    target = target or metric_crs(source_crs, (x.min(), y.min(), x.max(), y.max()))
    transform = pyproj.Transformer.from_crs(source_crs, target, always_xy=True).transform

    directed = _directed_edges(graph, {node: i for i, node in enumerate(node_ids)})
    streets = _pair_directions(directed)
    node_x, node_y = transform(x, y)
    geometry = _lines(streets, np.column_stack([node_x, node_y]), transform)
    edges = gpd.GeoDataFrame(streets.drop(columns="geometry"), geometry=geometry, crs=target)
    nodes = pd.DataFrame({"node_id": node_ids, "x": node_x, "y": node_y})
    return edges, nodes


def _directed_edges(graph: nx.MultiDiGraph, position: dict[Any, int]) -> pd.DataFrame:
    rows = []
    for tail, head, key, data in graph.edges(keys=True, data=True):
        if "length" not in data:
            raise NetworkError(
                f"edge ({tail}, {head}, {key}) has no length; osmnx.distance.add_edge_lengths "
                "adds it"
            )
        highway = data.get("highway")
        rows.append(
            (
                position[tail],
                position[head],
                float(data["length"]),
                # OSMnx lists the classes of merged ways: the first is the one it begins with.
                highway[0] if isinstance(highway, list) else highway,
                bool(data.get("reversed", False) is True),
                data.get("geometry"),
                *(_plain(data.get(name)) for name in _KEPT),
            )
        )
    columns = ["u", "v", "length_m", "highway", "reversed", "geometry", *_KEPT]
    return pd.DataFrame(rows, columns=columns)


def _plain(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _pair_directions(directed: pd.DataFrame) -> pd.DataFrame:
    """Make one row of the two directions of a two-way street; a lone direction is one-way."""
    low, high = directed[["u", "v"]].min(axis=1), directed[["u", "v"]].max(axis=1)
    loops = directed["u"] == directed["v"]
    backward = (directed["u"] > directed["v"]) | (loops & directed["reversed"])
    key = [low, high, directed["osmid"].astype(str), directed["length_m"].round(2)]
    turn = directed.groupby([*key, backward.rename("back")], sort=False).cumcount()
    street = directed.groupby([*key, turn], sort=False, dropna=False).ngroup()
    size = street.map(street.value_counts())
    kept = directed.assign(oneway=size == 1, _street=street, _back=backward)
    kept = kept.sort_values(["_street", "_back"], kind="stable").drop_duplicates("_street")
    kept = kept.sort_index()
    return kept.drop(columns=["_street", "_back", "reversed"]).reset_index(drop=True)


def _lines(streets: pd.DataFrame, xy: np.ndarray, transform: Any) -> np.ndarray:
    ends = np.stack([xy[streets["u"]], xy[streets["v"]]], axis=1)
    lines = shapely.linestrings(ends)
    bent = streets["geometry"].notna().to_numpy()
    if bent.any():
        shapes = np.asarray(streets.loc[bent, "geometry"], dtype=object)
        coords, which = shapely.get_coordinates(shapes, return_index=True)
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
    records = roads.edges[columns].to_dict("records")
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
