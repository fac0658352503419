"""Reading roads: a graph, GraphML, an OSM extract or a layer of lines → `RoadNetwork`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray

from .errors import Finding, InputError, MissingDependencyError
from .graphs import metric_crs
from .network import RoadNetwork
from .schema import found_at, read_layer, rename_columns

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["read_roads"]

_ROAD_COLUMNS = (
    "highway",
    "oneway",
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "osmid",
    "length_m",
)
_ONE_WAY = frozenset({"yes", "true", "1", "t", "y", "是", "单行"})
_ONE_WAY_BACKWARD = frozenset({"-1", "reverse", "反向"})
_NOT_BUILT = frozenset({"construction", "proposed", "planned", "abandoned", "razed", "no"})


def read_roads(
    source: str | Path | nx.MultiDiGraph | RoadNetwork,
    *,
    crs: Any = None,
    columns: Mapping[str, str] | None = None,
    layer: str | None = None,
) -> RoadNetwork:
    """Read roads from a graph or a file.

    Parameters
    ----------
    source : path, networkx.MultiDiGraph or RoadNetwork
        An OSMnx-convention graph; a GraphML file (``.graphml``, ``.graphml.gz``) as OSMnx saves it;
        an OpenStreetMap extract (``.pbf``, ``.osm``, needs the extra ``pbf``); or a layer of lines
        (GeoPackage, Shapefile, GeoJSON, GeoParquet) whose lines meet at shared vertices.
    crs : optional
        The metric CRS to work in; by default the source's own if in metres, else the UTM zone of
        its middle.
    columns : mapping of str to str, optional
        For a layer of lines: ``{canonical: name in the file}`` for ``highway``, ``oneway``,
        ``name``, ``bridge``, ``tunnel``, ``layer``, ``length_m``.
    layer : str, optional
        Which layer of the file to read, where there are several.

    Returns
    -------
    RoadNetwork
        Lines are split where they share a vertex; lines that cross without one (bridges) stay
        apart. Lengths of geographic coordinates are geodesic.

    Raises
    ------
    MissingInputError, NoCrsError, InputError, NetworkError
        With the file, the row, the rule and the cure.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> roads.crs.to_epsg(), roads.graph.graph["crs"]
    (32650, 'epsg:4326')
    """
    if isinstance(source, RoadNetwork):
        return source
    if not isinstance(source, str | Path):
        return RoadNetwork.from_graph(source, crs=crs)
    path = Path(source)
    name = path.name.lower()
    if name.endswith((".graphml", ".graphml.gz")):
        return _read_graphml(path, crs=crs)
    if name.endswith((".pbf", ".osm", ".osm.gz", ".osm.bz2")):
        from .osm import read_osm_ways  # noqa: PLC0415 - an optional dependency

        return _from_ways(*read_osm_ways(path), crs=crs, source=path.name)
    return _read_lines(path, crs=crs, columns=columns, layer=layer)


def _read_graphml(path: Path, *, crs: Any) -> RoadNetwork:
    if not path.exists():
        read_layer(path)  # raises, naming what is beside it
    try:
        import osmnx  # noqa: PLC0415 - two seconds that other sources need not pay
    except ImportError as fault:  # pragma: no cover - osmnx is a runtime dependency
        raise MissingDependencyError("reading GraphML needs osmnx") from fault
    try:
        graph = osmnx.load_graphml(path)
    except (SyntaxError, ValueError, KeyError) as fault:
        raise InputError(
            f"{path}: not a GraphML file as osmnx.save_graphml writes it ({fault})"
        ) from None
    network = RoadNetwork.from_graph(graph, crs=crs)
    return RoadNetwork(network.edges, network.nodes, source=path.name, _graph=graph)


def _read_lines(
    path: Path, *, crs: Any, columns: Mapping[str, str] | None, layer: str | None
) -> RoadNetwork:
    lines = rename_columns(
        read_layer(path, layer=layer), columns, known=_ROAD_COLUMNS, file=path.name
    )
    shapes = np.asarray(lines.geometry.array)
    places = [{"file": path.name, "row": row} for row in range(1, len(lines) + 1)]
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    findings = found_at(
        empty, places, rule="a road needs a line", cure="left out", severity="warning"
    )
    wrong = found_at(
        ~empty & ~np.isin(shapely.get_type_id(shapes), (1, 2, 5)),
        places,
        rule="roads are LineStrings or MultiLineStrings",
        cure="give the layer of road lines (layer=…)",
        field="geometry",
        values=[getattr(shape, "geom_type", "") for shape in shapes],
    )
    if wrong:
        raise InputError(f"{path}: roads must be lines", wrong)
    if "highway" not in lines:
        raise InputError(
            f"{path}: no column says which class a road is",
            [
                Finding(
                    "error",
                    "roads need a class (highway)",
                    "name it: columns={'highway': '…'}; the file has "
                    + ", ".join(c for c in lines.columns if c != "geometry"),
                    path.name,
                    field="highway",
                )
            ],
        )
    parts = lines[~empty].explode(ignore_index=True)
    coords, way = shapely.get_coordinates(np.asarray(parts.geometry.array), return_index=True)
    key = pd.DataFrame(coords).groupby([0, 1], sort=False).ngroup().to_numpy()
    return _from_ways(
        coords,
        way,
        key,
        parts.drop(columns="geometry"),
        lines.crs,
        tuple(asdict(finding) for finding in findings),
        crs=crs,
        source=path.name,
    )


def _direction(ways: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Give by way: vehicles only one way; that way is against the drawing."""
    if "oneway" not in ways:
        none = np.zeros(len(ways), dtype=bool)
        return none, none
    text = ways["oneway"].astype(str).str.strip().str.lower()
    backward = text.isin(_ONE_WAY_BACKWARD).to_numpy()
    return text.isin(_ONE_WAY).to_numpy() | backward, backward


def _from_ways(
    coords: NDArray[np.float64],
    way: NDArray[np.int64],
    key: NDArray[np.int64],
    ways: pd.DataFrame,
    source_crs: pyproj.CRS,
    findings: tuple[dict[str, Any], ...] = (),
    *,
    crs: Any,
    source: str,
) -> RoadNetwork:
    """Split ways at shared vertices and compile them.

    Parameters
    ----------
    coords : ndarray of float, shape (n_vertices, 2)
        Vertices of all ways, one way after the other, in `source_crs`.
    way : ndarray of int, shape (n_vertices,)
        Which way each vertex belongs to, ascending.
    key : ndarray of int, shape (n_vertices,)
        What identifies a vertex: ways meet where they share a key.
    ways : pandas.DataFrame
        Attributes of each way.
    """
    built = ~ways["highway"].isin(_NOT_BUILT).to_numpy()
    if not built.all():
        note = Finding(
            "note",
            "only built roads carry people",
            f"{int((~built).sum())} roads under construction or planned were left out",
            source,
            field="highway",
        )
        findings = (*findings, asdict(note))
        kept = built[way]
        coords, key = coords[kept], key[kept]
        way = (np.cumsum(built) - 1)[way[kept]]
        ways = ways[built].reset_index(drop=True)
    if len(way) == 0:
        raise InputError(f"{source}: there is no road in it")

    starts = np.flatnonzero(np.r_[True, way[1:] != way[:-1]])
    ends = np.r_[starts[1:] - 1, len(way) - 1]
    vertex, vertex_ids = pd.factorize(key)
    is_node = np.bincount(vertex)[vertex] > 1
    is_node[starts] = True
    is_node[ends] = True
    cuts = np.flatnonzero(is_node)
    same_way = way[cuts[1:]] == way[cuts[:-1]]
    first, last = cuts[:-1][same_way], cuts[1:][same_way]

    target = pyproj.CRS.from_user_input(crs) if crs is not None else None
    if target is None:
        low, high = coords.min(axis=0), coords.max(axis=0)
        target = metric_crs(source_crs, (low[0], low[1], high[0], high[1]))
    transform = pyproj.Transformer.from_crs(source_crs, target, always_xy=True).transform
    xy = np.column_stack(transform(coords[:, 0], coords[:, 1]))

    # One gather for all pieces: vertices first[i] … last[i], ends shared by neighbours.
    count = last - first + 1
    piece = np.repeat(np.arange(count.size), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    gather = first[piece] + offset
    lines = shapely.linestrings(xy[gather], indices=piece)
    step = _step_lengths(coords, xy, source_crs)
    length = np.add.reduceat(
        np.r_[step, 0.0][gather] * (gather < last[piece]), np.cumsum(count) - count
    )

    used, where, node = np.unique(vertex[cuts], return_index=True, return_inverse=True)
    node_at = np.full(len(way), -1, dtype=np.int64)
    node_at[cuts] = node
    nodes = pd.DataFrame(
        {"node_id": vertex_ids[used], "x": xy[cuts[where], 0], "y": xy[cuts[where], 1]}
    )

    one_way, backward = _direction(ways)
    of_way = way[first]
    flip = backward[of_way]
    u, v = node_at[first], node_at[last]
    lines[flip] = shapely.reverse(lines[flip])
    attributes = ways[[c for c in ways if c in _ROAD_COLUMNS and c not in {"oneway", "length_m"}]]
    edges = gpd.GeoDataFrame(
        {
            "u": np.where(flip, v, u),
            "v": np.where(flip, u, v),
            "length_m": length,
            "oneway": one_way[of_way],
            **{name: attributes[name].to_numpy()[of_way] for name in attributes},
        },
        geometry=lines,
        crs=target,
    )
    return RoadNetwork(edges, nodes, source=source, findings=findings)


def _step_lengths(
    coords: NDArray[np.float64], xy: NDArray[np.float64], crs: pyproj.CRS
) -> NDArray[np.float64]:
    """Give metres from each vertex to the next: geodesic for degrees, planar for metres."""
    if crs.is_geographic:
        geod = crs.get_geod()
        _, _, step = geod.inv(coords[:-1, 0], coords[:-1, 1], coords[1:, 0], coords[1:, 1])
        return np.asarray(step)
    return np.asarray(np.hypot(*np.diff(xy, axis=0).T))
