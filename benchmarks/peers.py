"""The same questions put to the libraries planners use today, each at its best.

What a peer can prepare beforehand it may prepare outside the clock, as the library may; where a
peer has several ways, the fastest that gives the answer is taken. Nothing here uses the library's
search, except `whole_line`, which is the library's own side of the longest comparison.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import geopandas as gpd
import networks
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PACKAGES = (
    "facility-coverage",
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "pyogrio",
    "networkx",
    "osmnx",
    "pandana",
    "cityseer",
    "osmium",
)
_PANDANA_SCALE = 1000.0  # it keeps impedances as thousandths of their unit


def installed(package: str) -> str | None:
    """Give a package's version, or None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what compiled peers print themselves out of the table."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


# ---------------------------------------------------------------- nearest facility of 12 kinds


def reversed_matrix(directed: pd.DataFrame, nodes: int) -> csr_array:
    """Give the network as CSR from each edge's end to its start, the cheapest of parallel ones."""
    best = directed.sort_values(["v", "u", "minutes"]).drop_duplicates(["v", "u"])
    indptr = np.zeros(nodes + 1, dtype=np.int32)
    np.cumsum(np.bincount(best["v"], minlength=nodes), out=indptr[1:])
    heads = best["u"].to_numpy(np.int32)
    return csr_array((best["minutes"].to_numpy(), heads, indptr), shape=(nodes, nodes))


def scipy_nearest(matrix: csr_array, sources: list[Integers]) -> list[Floats]:
    """Bare SciPy: minutes from every node to the nearest source, one search a kind."""
    return [dijkstra(matrix, indices=nodes, min_only=True) for nodes in sources]


def networkx_graph(directed: pd.DataFrame) -> Any:
    """Give the reversed `DiGraph` of the cheapest edges, quicker to search than a multigraph."""
    import networkx as nx  # noqa: PLC0415

    best = directed.sort_values("minutes").drop_duplicates(["u", "v"])
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(
        zip(best["v"].tolist(), best["u"].tolist(), best["minutes"].tolist(), strict=True),
        weight="minutes",
    )
    return graph


def networkx_multigraph(graph: Any, minutes: Floats) -> Any:
    """Give an OSMnx-convention graph reversed, with the minutes of each street on its edges."""
    for _, _, data in graph.edges(data=True):
        data["minutes"] = float(minutes[data["osmid"]])
    return graph.reverse()


def networkx_nearest(
    graph: Any, sources: list[Integers]
) -> list[tuple[dict[int, float], dict[int, list[int]]]]:
    """Minutes to the nearest source and the path, whose first node says which source it is."""
    import networkx as nx  # noqa: PLC0415

    return [
        nx.multi_source_dijkstra(graph, set(nodes.tolist()), weight="minutes") for nodes in sources
    ]


def networkx_lengths(graph: Any, sources: list[Integers]) -> list[dict[int, float]]:
    """Minutes to the nearest source without saying which it is."""
    import networkx as nx  # noqa: PLC0415

    return [
        nx.multi_source_dijkstra_path_length(graph, set(nodes.tolist()), weight="minutes")
        for nodes in sources
    ]


def pandana_network(nodes: pd.DataFrame, directed: pd.DataFrame) -> Any:
    """Build pandana's network (its contraction hierarchy) with minutes as impedance."""
    import pandana  # noqa: PLC0415

    weights = pd.DataFrame({"minutes": directed["minutes"] * _PANDANA_SCALE})
    with quiet():
        return pandana.Network(
            nodes["x"], nodes["y"], directed["u"], directed["v"], weights, twoway=False
        )


def pandana_pois(network: Any, asked: networks.Questions, horizon_minutes: float) -> None:
    """Tell pandana where the facilities of each kind stand."""
    for kind in range(networks.KINDS):
        here = asked.sites[asked.site_kind == kind]
        network.set_pois(str(kind), horizon_minutes * _PANDANA_SCALE, 1, here.x, here.y)


def pandana_precompute(network: Any, minutes: float) -> None:
    """Let pandana find every node's neighbours within some minutes beforehand."""
    with quiet():
        network.precompute(minutes * _PANDANA_SCALE)


def pandana_nearest(network: Any, kinds: list[int], horizon_minutes: float) -> list[pd.DataFrame]:
    """Every node's nearest facility of each kind with its identity, minutes in column 1."""
    return [
        network.nearest_pois(horizon_minutes * _PANDANA_SCALE, str(kind), include_poi_ids=True)
        for kind in kinds
    ]


def pandana_minutes(found: pd.DataFrame) -> Floats:
    """Give the minutes of one answer of `pandana_nearest`."""
    return found[1].to_numpy() / _PANDANA_SCALE


def cityseer_structure(streets: networks.Streets, live: Integers) -> tuple[gpd.GeoDataFrame, Any]:
    """Build cityseer's network for walkers; it answers for the nodes in `live`."""
    import networkx as nx  # noqa: PLC0415
    from cityseer.tools import io  # noqa: PLC0415

    logging.disable(logging.INFO)  # importing cityseer makes every library report its steps
    asked = set(live.tolist())
    graph = nx.MultiGraph(crs=streets.edges.crs)
    graph.add_nodes_from(
        (str(node), {"x": x, "y": y, "live": node in asked})
        for node, (x, y) in enumerate(streets.nodes[["x", "y"]].to_numpy().tolist())
    )
    ends = streets.edges[["u", "v"]].to_numpy().tolist()
    for (u, v), line in zip(ends, streets.edges.geometry.array, strict=True):
        graph.add_edge(str(u), str(v), geom=line)
    with quiet():
        nodes, _, structure = io.network_structure_from_nx(graph)
    return nodes, structure


def cityseer_nearest(
    nodes: gpd.GeoDataFrame, structure: Any, asked: networks.Questions, horizon_m: int
) -> gpd.GeoDataFrame:
    """Metres to the nearest facility of all kinds in one call, one decay function only."""
    from cityseer.metrics import layers  # noqa: PLC0415

    labels = np.array([f"k{kind:02d}" for kind in range(networks.KINDS)])
    table = gpd.GeoDataFrame({"kind": labels[asked.site_kind]}, geometry=asked.sites)
    with quiet():
        return layers.compute_accessibilities(
            table, "kind", labels.tolist(), nodes, structure, distances=[horizon_m], decay_fn="1"
        )


def cityseer_metres(found: gpd.GeoDataFrame, kind: int, horizon_m: int) -> pd.Series:
    """Give the metres of one kind by node number, NaN beyond the horizon."""
    column = found[f"cc_k{kind:02d}_nearest_max_{horizon_m}"]
    return pd.Series(column.to_numpy(float), index=found.index.astype(int))


# ---------------------------------------------------------------- OSMnx: snapping, reach, polygons


def osmnx_snap(graph: Any, xy: Floats) -> tuple[NDArray[Any], Floats]:
    """Give the nearest edge of each point and its distance."""
    import osmnx  # noqa: PLC0415

    return osmnx.distance.nearest_edges(graph, xy[:, 0], xy[:, 1], return_dist=True)


def ego_graphs(graph: Any, nodes: list[int], radius_m: float) -> list[Any]:
    """Give the part of a graph within a radius of each node."""
    import networkx as nx  # noqa: PLC0415

    return [nx.ego_graph(graph, node, radius=radius_m, distance="length") for node in nodes]


def ego_polygons(graph: Any, nodes: list[int], radius_m: float, width_m: float) -> list[Any]:
    """Follow the usual isochrone recipe: ego graph, its edges buffered one by one, dissolved."""
    import osmnx  # noqa: PLC0415

    shapes = []
    for part in ego_graphs(graph, nodes, radius_m):
        edges = osmnx.convert.graph_to_gdfs(part, nodes=False)
        shapes.append(edges.buffer(width_m).union_all())
    return shapes


def osmnx_read(path: Path) -> Any:
    """Build OSMnx's graph from a GeoPackage of streets and junctions."""
    import osmnx  # noqa: PLC0415

    nodes = gpd.read_file(path, layer="junctions", use_arrow=True).set_index("osmid")
    there = gpd.read_file(path, layer="roads", use_arrow=True)
    two_way = there[~there["oneway"]]
    back = two_way.rename(columns={"u": "v", "v": "u"})
    back = back.assign(geometry=shapely.reverse(two_way.geometry.array))
    edges = pd.concat([there, back], ignore_index=True)
    edges["key"] = edges.groupby(["u", "v"]).cumcount()
    return osmnx.convert.graph_from_gdfs(nodes, edges.set_index(["u", "v", "key"]))


# ---------------------------------------------------------------- the whole line on an extract


def write_xml(pbf: Path, xml: Path) -> None:
    """Write an extract as the XML that OSMnx reads: its roads and their nodes."""
    import osmium  # noqa: PLC0415

    with osmium.SimpleWriter(str(xml), overwrite=True) as writer:
        kept: set[int] = set()
        ways = osmium.FileProcessor(str(pbf), osmium.osm.WAY).with_filter(
            osmium.filter.KeyFilter("highway")
        )
        for way in ways:
            kept.update(node.ref for node in way.nodes)
        for item in osmium.FileProcessor(str(pbf), osmium.osm.NODE | osmium.osm.WAY):
            if (item.is_node() and item.id in kept) or (item.is_way() and "highway" in item.tags):
                writer.add(item)


def whole_line(folder: Path, out: Path) -> None:
    """From an OSM extract to a saved map of circles by the library."""
    import facility_coverage as fc  # noqa: PLC0415

    frame = gpd.read_file(folder / "boundaries.geojson").query("lvl == '8'")
    setting = np.where(frame["km2"] < 10, "rural", "urban")
    units = fc.read_units(frame.assign(unit_code=frame["name"], setting=setting))
    pbf = folder / "liechtenstein.osm.pbf"
    facilities, roads = fc.read_facilities(pbf), fc.read_roads(pbf)
    plan = fc.load_plan("circle-15")
    report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    circles = fc.isochrones(facilities, roads, minutes=(15,))
    kind = next(iter(circles["kind"]))
    fc.coverage_map(report, circles=circles, kind=kind).save(out)


def whole_line_osmnx(xml: Path, places: Path, out: Path) -> None:
    """From an OSM extract to a saved map of circles by the usual OSMnx recipe.

    It draws a 15-minute walk around every facility; it knows nobody's minutes, gives no verdicts.
    """
    import folium  # noqa: PLC0415
    import osmnx  # noqa: PLC0415

    graph = osmnx.project_graph(osmnx.graph_from_xml(xml))
    crs = graph.graph["crs"]
    facilities = gpd.read_file(places).to_crs(crs)
    graph = osmnx.convert.to_undirected(graph)
    nodes = osmnx.distance.nearest_nodes(graph, facilities.geometry.x, facilities.geometry.y)
    shapes = ego_polygons(graph, list(nodes), 1000.0, 50.0)
    circles = gpd.GeoDataFrame({"kind": facilities["kind"].to_numpy()}, geometry=shapes, crs=crs)
    merged = circles.dissolve("kind").to_crs("EPSG:4326")
    west, south, east, north = merged.total_bounds
    page = folium.Map(location=[(south + north) / 2, (west + east) / 2], zoom_start=11)
    for kind, row in merged.groupby(level=0):
        folium.GeoJson(row, name=str(kind)).add_to(page)
    folium.LayerControl().add_to(page)
    page.save(str(out))
