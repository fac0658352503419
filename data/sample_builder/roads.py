"""A road network routed through the valleys, from expressway to footpath.

Roads are least-cost paths over the terrain that favour roads already built, so that they follow
valleys, share their courses and cross at passes. Streets of the county town and of the township
seats are drawn as warped grids, and an expressway passes over everything on bridges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import shapely
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from .common import FloatArray, Grid, IntArray, Sources, stream, to_metric

if TYPE_CHECKING:
    from .hamlets import Sites
    from .partition import Partition
    from .terrain import Terrain

# OSM highway classes from the highest; a stretch used by several roads keeps the highest.
RANKS = (
    "motorway", "motorway_link", "trunk", "primary", "secondary", "tertiary", "unclassified",
    "residential", "track", "footway", "path",
)  # fmt: skip
MAXSPEED = {"motorway": "100", "motorway_link": "60", "trunk": "80", "primary": "80",
            "secondary": "60", "tertiary": "40"}  # fmt: skip
SURFACE = {"track": "gravel", "path": "ground", "footway": "paving_stones"}

REUSE_DISCOUNT = 0.3  # cost of following a road already built, against building a new one
GRADE_EFFORT = 16.0
RUGGED_EFFORT = 14.0
VALLEY_PULL = 0.03  # how much better a valley floor is than a slope, in units of ruggedness
FIRST_NODE_ID = 1_000_000_001
FIRST_WAY_ID = 500_000_001

# National and provincial roads: class, ref, name, and the places they pass (lon, lat). The numbers
# are not verified; the courses between them come from the synthetic terrain.
HIGHWAYS: tuple[tuple[str, str, str, tuple[tuple[float, float], ...]], ...] = (
    ("trunk", "G101", "京沈线", (
        (117.15, 40.62), (117.15, 40.70), (117.24, 40.80), (117.33, 40.938), (117.56, 40.97),
        (117.70, 40.94), (117.87, 40.92))),
    ("trunk", "G112", "高碑店环线", (
        (116.97, 40.985), (117.01, 40.90), (117.10, 40.90), (117.20, 40.925), (117.33, 40.938))),
    ("primary", "S257", "大兰线", (
        (117.33, 40.938), (117.40, 41.00), (117.50, 41.08), (117.47, 41.18), (117.49, 41.30))),
    ("primary", "S354", "红半线", (
        (117.60, 40.985), (117.61, 41.11), (117.72, 41.11), (117.74, 41.27))),
    ("primary", "S309", "虎丰线", (
        (117.01, 40.87), (116.90, 40.90), (116.76, 40.93), (116.63, 40.99))),
    ("primary", "S253", "滦古线", (
        (117.33, 40.938), (117.45, 40.84), (117.40, 40.76), (117.40, 40.64))),
    ("primary", "S255", "付长线", (
        (117.45, 40.84), (117.64, 40.87), (117.70, 40.94))),
    ("primary", "S352", "巴虎线", (
        (117.14, 40.71), (117.05, 40.81), (117.01, 40.87))),
)  # fmt: skip
EXPRESSWAY = ("G45", "大广高速", (
    (117.17, 40.61), (117.22, 40.70), (117.33, 40.80), (117.43, 40.87), (117.53, 40.94),
    (117.66, 40.965), (117.86, 40.875)))  # fmt: skip
CARRIAGEWAY_OFFSET_M = 13.0
INTERCHANGES = 4
TUNNEL_COVER_M = 45.0
VILLAGE_LINKS = 45
FOOTPATHS = 60
ISLANDS = 5
PARKS = 24
ROAD_BEND_M = 55.0
VILLAGES_ON_TOWNSHIP_ROAD = 2

TOWN_STREET_NAMES = (
    "中兴路", "新建路", "北山大街", "滦河街", "桥东街", "桥西街", "安匠街", "兴洲路", "迎宾路",
    "文化路", "学府街", "西山街", "牤牛河路", "安康街", "福宁路", "新城街", "石门路", "民族街",
)  # fmt: skip


@dataclass(frozen=True)
class Tags:
    """What a stretch of road carries."""

    highway: str
    name: str | None = None
    ref: str | None = None
    oneway: bool = False
    bridge: bool = False
    tunnel: bool = False
    layer: int = 0

    @property
    def rank(self) -> int:
        """Position in the hierarchy, 0 the highest."""
        return RANKS.index(self.highway)


@dataclass
class Network:
    """Nodes in metres and the stretches between them, while under construction."""

    xy: FloatArray
    edges: dict[tuple[int, int], Tags] = field(default_factory=dict)

    def lay(self, nodes: list[int], tags: Tags) -> None:
        """Lay a road along a chain of nodes; the higher class wins on shared stretches."""
        for a, b in pairwise(nodes):
            key = (a, b) if (b, a) not in self.edges else (b, a)
            if a != b and (key not in self.edges or tags.rank < self.edges[key].rank):
                self.edges[key] = tags

    def add(self, xy: FloatArray) -> IntArray:
        """Add nodes and return their numbers."""
        first = len(self.xy)
        self.xy = np.vstack([self.xy, xy])
        return np.arange(first, first + len(xy))

    def used(self) -> IntArray:
        """Numbers of the nodes that some stretch ends at, in order."""
        return np.unique(np.array(list(self.edges), dtype=np.int64))

    def graph(self) -> nx.Graph:
        """Undirected graph of the stretches."""
        graph = nx.Graph()
        graph.add_nodes_from(self.used().tolist())
        graph.add_edges_from((a, b, {"tags": tags}) for (a, b), tags in self.edges.items())
        return graph

    def lines(self, keys: list[tuple[int, int]]) -> list[shapely.LineString]:
        """Straight lines of the given stretches."""
        return list(shapely.linestrings(self.xy[np.array(keys)]))


class _Router:
    """Least-cost paths over the terrain that favour the roads already built."""

    def __init__(self, terrain: Terrain) -> None:
        self.grid = terrain.grid
        start, end, length = self.grid.moves
        # Sorted by start and then end, the moves are the rows of a sparse matrix as they stand.
        keys = start * self.grid.size + end
        order = np.argsort(keys, kind="stable")
        start, end, length, self.keys = start[order], end[order], length[order], keys[order]
        grade = np.abs(terrain.elevation[end] - terrain.elevation[start]) / length
        off_valley = VALLEY_PULL * (2.1 - np.log10(terrain.drained_km2 + 1)).clip(0.0)
        rugged = terrain.ruggedness + off_valley
        whim = np.exp(0.15 * stream("routing").standard_normal(self.grid.size))
        effort = 1.0 + GRADE_EFFORT * grade + RUGGED_EFFORT * 0.5 * (rugged[start] + rugged[end])
        effort *= 0.5 * (whim[start] + whim[end])
        self.cost = np.round(length * effort, 3)
        self.built = np.zeros(len(self.cost), dtype=bool)
        rows = np.searchsorted(start, np.arange(self.grid.size + 1))
        size = (self.grid.size, self.grid.size)
        self.graph = sparse.csr_matrix((self.cost, end, rows), shape=size, copy=False)
        self.network = Network(self.grid.xy)

    def cell(self, lonlat: tuple[float, float]) -> int:
        """Flattest cell near a place."""
        centre = to_metric(np.array([lonlat]))
        return int(self.grid.index(centre)[0])

    def _cheapen(self, path: list[int]) -> None:
        a, b = np.array(path[:-1]), np.array(path[1:])
        for one, other in ((a, b), (b, a)):
            moves = np.searchsorted(self.keys, one * self.grid.size + other)
            fresh = moves[~self.built[moves]]
            self.graph.data[fresh] *= REUSE_DISCOUNT
            self.built[moves] = True

    def trees(
        self, sources: IntArray, targets: IntArray, *, limit: float = np.inf
    ) -> list[list[int]]:
        """Return the cheapest path from any source to each target (empty where there is none)."""
        _, before, _ = csgraph.dijkstra(
            self.graph,
            indices=np.unique(sources),
            min_only=True,
            return_predecessors=True,
            limit=limit,
        )
        paths = []
        for target in targets.tolist():
            path = [target]
            while before[path[-1]] >= 0:
                path.append(int(before[path[-1]]))
            paths.append(path if len(path) > 1 else [])
        return paths

    def lay(self, path: list[int], tags: Tags) -> None:
        """Build a road and make it cheap to follow."""
        if path:
            self.network.lay(path, tags)
            self._cheapen(path)


def _route_all(
    sources: Sources, terrain: Terrain, partition: Partition, sites: Sites
) -> tuple[Network, list[int]]:
    """Route the mountain roads; returns the network on grid cells and the expressway's course."""
    router = _Router(terrain)
    expressway: list[int] = []
    places = [router.cell(place) for place in EXPRESSWAY[2]]
    for a, b in pairwise(places):
        path = router.trees(np.array([a]), np.array([b]))[0][::-1]
        expressway += path if not expressway else path[1:]
    for highway, ref, name, stops in HIGHWAYS:
        cells = [router.cell(stop) for stop in stops]
        for a, b in pairwise(cells):
            path = router.trees(np.array([a]), np.array([b]))[0]
            router.lay(path, Tags(highway, name, ref))
    seats = terrain.grid.index(partition.units[["seat_x", "seat_y"]].to_numpy())
    codes = partition.units["township_code"].to_numpy()
    names = dict(zip(sources.townships["code"], sources.townships["name"], strict=True))
    township_seats = {code: int(seats[sites.township_seat[code]]) for code in names}
    seat_cells = np.array(list(township_seats.values()))
    for number, (code, cell) in enumerate(township_seats.items()):
        nearest = np.argsort(np.hypot(*(router.grid.xy[seat_cells] - router.grid.xy[cell]).T))[1:4]
        trunk = router.trees(router.network.used(), np.array([cell]))[0]
        router.lay(trunk, Tags("secondary", f"{names[code]}县道", f"X{501 + number}"))
        for other, path in zip(
            nearest, router.trees(np.array([cell]), seat_cells[nearest]), strict=True
        ):
            pair = f"{names[code][:2]}{names[list(names)[other]][:2]}线"
            highway = "secondary" if other == nearest[0] else "tertiary"
            router.lay(path, Tags(highway, pair, f"X{600 + 20 * number + int(other)}"))
    _village_roads(router, seats)
    _link_villages(router, seats, codes)
    for path, kind in zip(
        router.trees(router.network.used(), sites.road_cells), sites.road_kinds, strict=True
    ):
        router.lay(path, Tags(kind))
    _footpaths(router, sites)
    return router.network, expressway


def _village_roads(router: _Router, seats: IntArray) -> None:
    """Join every seat to the network; a stretch that serves several villages is a township road."""
    paths = router.trees(router.network.used(), seats)
    served: dict[tuple[int, int], int] = {}
    for path in paths:
        for stretch in pairwise(path):
            served[stretch] = served.get(stretch, 0) + 1
    for path in paths:
        for a, b in pairwise(path):
            shared = served[(a, b)] >= VILLAGES_ON_TOWNSHIP_ROAD
            router.lay([a, b], Tags("tertiary" if shared else "unclassified"))


def _link_villages(router: _Router, seats: IntArray, codes: np.ndarray) -> None:
    """Join neighbouring seats over passes where the way round is long."""
    xy = router.grid.xy[seats]
    pairs = cKDTree(xy).query_pairs(5500.0, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    graph = router.network.graph()
    for a, b in graph.edges:
        graph[a][b]["length"] = float(np.hypot(*(router.grid.xy[a] - router.grid.xy[b])))
    detours = []
    reach = {
        int(first): nx.single_source_dijkstra_path_length(
            graph, int(seats[first]), cutoff=25_000, weight="length"
        )
        for first in np.unique(pairs[:, 0])
    }
    for first, second in pairs.tolist():
        way = reach[first].get(int(seats[second]), 25_000.0)
        detours.append(way / float(np.hypot(*(xy[first] - xy[second]))))
    for number in np.argsort(-np.array(detours), kind="stable")[:VILLAGE_LINKS]:
        a, b = pairs[number]
        path = router.trees(seats[[a]], seats[[b]], limit=60_000.0)[0]
        same = codes[a] == codes[b]
        router.lay(path, Tags("unclassified" if same else "track"))


def _footpaths(router: _Router, sites: Sites) -> None:
    """Lay footpaths from hamlets over the hills to others nearby."""
    rng = stream("footpaths")
    xy = router.grid.xy[sites.road_cells]
    pairs = cKDTree(xy).query_pairs(2600.0, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    for number in rng.permutation(len(pairs))[:FOOTPATHS].tolist():
        a, b = sites.road_cells[pairs[number]]
        path = router.trees(np.array([a]), np.array([b]), limit=12_000.0)[0]
        router.lay(path, Tags("path"))


def _soften(network: Network, grid: Grid) -> None:
    """Move the nodes off the grid, halve the stretches and round the bends."""
    rng = stream("bends")
    used = network.used()
    network.xy = network.xy.copy()
    network.xy[used] += rng.uniform(-0.22, 0.22, (len(used), 2)) * grid.cell
    _relax(network, rounds=3)
    keys = list(network.edges)
    ends = network.xy[np.array(keys)]
    halves = network.add(ends.mean(axis=1) + rng.uniform(-0.06, 0.06, (len(keys), 2)) * grid.cell)
    tags = list(network.edges.values())
    network.edges = {}
    for (a, b), middle, tag in zip(keys, halves.tolist(), tags, strict=True):
        network.lay([a, middle, b], tag)
    _relax(network, rounds=2)
    for axis in (0, 1):  # a smooth displacement bends the straights without crossing roads
        field = ndimage.gaussian_filter(rng.standard_normal((grid.rows, grid.cols)), 2.2)
        network.xy[:, axis] += ROAD_BEND_M * grid.sample((field / field.std()).ravel(), network.xy)
    network.xy = np.round(network.xy, 2)


def _relax(network: Network, *, rounds: int) -> None:
    """Pull every node towards the middle of its neighbours; junctions and dead ends less."""
    used = network.used()
    ends = np.array(list(network.edges))
    degree = np.bincount(ends.ravel(), minlength=len(network.xy))[used][:, None]
    pull = np.select([degree == 1, degree == 2], [0.0, 0.5], 0.2)
    for _ in range(rounds):
        total = np.zeros_like(network.xy)
        np.add.at(total, ends[:, 0], network.xy[ends[:, 1]])
        np.add.at(total, ends[:, 1], network.xy[ends[:, 0]])
        network.xy[used] += pull * (total[used] / degree - network.xy[used])


def _warped_grid(
    centre: FloatArray, angle: float, u: FloatArray, v: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Corners of a street grid, shape (len(u), len(v), 2): turned, bent and jittered."""
    uu, vv = np.meshgrid(u, v, indexing="ij")
    reach = max(float(np.abs(u).max()), float(np.abs(v).max()), 1.0)
    bend = 0.08 * reach * np.sin(1.7 * uu / reach + 0.6)
    flat = np.stack([uu + 0.05 * vv * np.sin(uu / reach * 2), vv + bend], axis=-1)
    flat += rng.normal(0.0, 6.0, flat.shape)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(flat @ turn.T + centre)


def _spacing(rng: np.random.Generator, reach: float, low: float, high: float) -> FloatArray:
    """Positions from -reach to reach at irregular block lengths."""
    steps = rng.uniform(low, high, int(2 * reach / low) + 1)
    at = np.cumsum(steps) - reach
    return at[at <= reach]


def _lay_streets(
    network: Network,
    corners: FloatArray,
    keep: np.ndarray,
    rng: np.random.Generator,
    *,
    arterial: int,
    names: tuple[str, ...] = (),
    oneway_every: int = 0,
) -> IntArray:
    """Lay the streets of a grid between kept corners; returns their numbers (-1: not kept)."""
    numbers = np.full(keep.shape, -1)
    numbers[keep] = network.add(np.round(corners[keep], 2))
    lines = [(("u", i), numbers[i, :]) for i in range(keep.shape[0])]
    lines += [(("v", j), numbers[:, j]) for j in range(keep.shape[1])]
    for count, ((axis, line), nodes) in enumerate(lines):
        main = bool(arterial) and line % arterial == arterial // 2
        oneway = bool(oneway_every) and not main and count % oneway_every == 1
        name = names[count // 2 % len(names)] if names and (main or count % 2 == 0) else None
        highway = "tertiary" if main else "residential"
        order = nodes if (line + (axis == "u")) % 2 else nodes[::-1]
        for a, b in pairwise(order.tolist()):
            gap = not main and rng.random() < 0.10
            if a >= 0 and b >= 0 and not gap:
                network.lay([a, b], Tags(highway, name, oneway=oneway))
    return numbers


def _park_paths(network: Network, corners: IntArray, rng: np.random.Generator) -> None:
    """Lay footways across some blocks of the town, as through parks and estates."""
    blocks = [
        (row, col)
        for row in range(corners.shape[0] - 1)
        for col in range(corners.shape[1] - 1)
        if np.all(corners[row : row + 2, col : col + 2] >= 0)
    ]
    for number in rng.permutation(len(blocks))[:PARKS].tolist():
        row, col = blocks[number]
        a, b = int(corners[row, col]), int(corners[row + 1, col + 1])
        middle = network.xy[[a, b]].mean(axis=0) + rng.uniform(-12.0, 12.0, 2)
        network.lay([a, int(network.add(np.round([middle], 2))[0]), b], Tags("footway"))


def _town_streets(network: Network, terrain: Terrain, partition: Partition, sites: Sites) -> None:
    """Draw the streets of the county town, of 小城子社区 and of the township seats."""
    rng = stream("streets")
    mountain = network.used()
    town = shapely.union_all([partition.polygons[unit] for unit in sites.town_units])
    town = shapely.transform(town, to_metric).buffer(-60.0)
    seats = partition.units[["seat_x", "seat_y"]].to_numpy()
    centre = shapely.get_coordinates(town.centroid)[0]
    corners = _warped_grid(
        centre, 0.25, _spacing(rng, 2600.0, 95.0, 150.0), _spacing(rng, 2600.0, 80.0, 130.0), rng
    )
    rugged = terrain.grid.sample(terrain.ruggedness, corners.reshape(-1, 2))
    flat = corners.reshape(-1, 2)
    keep = shapely.contains_xy(town, flat[:, 0], flat[:, 1]) & (rugged < 0.105)
    keep |= np.min(np.hypot(*(flat[:, None] - seats[sites.town_units]).T), axis=0) < 330.0
    keep &= shapely.contains_xy(town, flat[:, 0], flat[:, 1])
    town_grid = _lay_streets(
        network, corners, keep.reshape(corners.shape[:2]), rng,
        arterial=5, names=TOWN_STREET_NAMES, oneway_every=5,
    )  # fmt: skip
    _park_paths(network, town_grid, rng)
    streets = [town_grid.ravel()]
    for unit in sites.small_towns:
        reach = float(rng.uniform(230.0, 420.0))
        corners = _warped_grid(
            seats[unit], float(rng.uniform(0, np.pi)), _spacing(rng, reach, 100.0, 150.0),
            _spacing(rng, 0.6 * reach, 90.0, 130.0), rng,
        )  # fmt: skip
        whole = np.ones(corners.shape[:2], dtype=bool)
        streets.append(_lay_streets(network, corners, whole, rng, arterial=0).ravel())
    nodes = np.concatenate(streets)
    _clear_for_streets(network, mountain, nodes[nodes >= 0])


def _clear_for_streets(network: Network, mountain: IntArray, streets: IntArray) -> None:
    """Drop village roads where streets now stand; through roads stay."""
    near, _ = cKDTree(network.xy[streets]).query(network.xy[mountain])
    swallowed = set(mountain[near < 110.0].tolist())
    for (a, b), tags in list(network.edges.items()):
        if tags.rank > RANKS.index("tertiary") and a in swallowed and b in swallowed:
            del network.edges[(a, b)]


def _planarise(network: Network) -> None:
    """Put a shared vertex wherever two roads cross."""
    for _ in range(6):
        keys = list(network.edges)
        lines = np.array(network.lines(keys))
        first, second = shapely.STRtree(lines).query(lines, predicate="intersects")
        upper = first < second
        cuts: dict[int, list[int]] = {}
        for one, other in zip(first[upper].tolist(), second[upper].tolist(), strict=True):
            if set(keys[one]) & set(keys[other]):
                continue
            point = lines[one].intersection(lines[other])
            if point.geom_type != "Point":
                continue
            at = np.round(np.array([[point.x, point.y]]), 2)
            ends = [*keys[one], *keys[other]]
            away = np.hypot(*(network.xy[ends] - at).T)
            node = ends[int(np.argmin(away))] if away.min() < 4.0 else int(network.add(at)[0])
            for line in (one, other):
                if node not in keys[line]:
                    cuts.setdefault(line, []).append(node)
        if not cuts:
            return
        for line, nodes in cuts.items():
            a, b = keys[line]
            tags = network.edges.pop((a, b))
            along = np.hypot(*(network.xy[nodes] - network.xy[a]).T)
            chain = [a, *(nodes[number] for number in np.argsort(along, kind="stable")), b]
            network.lay(list(dict.fromkeys(chain)), tags)
    raise RuntimeError("roads still cross without a shared vertex")


def _connect(network: Network, wanted: FloatArray) -> None:
    """Join stray pieces to the main network by a short street; drop the ones nobody needs."""
    graph = network.graph()
    pieces = sorted(nx.connected_components(graph), key=lambda piece: (-len(piece), min(piece)))
    main = np.array(sorted(pieces[0]))
    tree = cKDTree(network.xy[main])
    people = cKDTree(wanted)
    for piece in pieces[1:]:
        nodes = np.array(sorted(piece))
        away, nearest = tree.query(network.xy[nodes])
        best = int(np.argmin(away))
        served = people.query(network.xy[nodes])[0].min() < 300.0
        if served or len(nodes) > 12:
            network.lay([int(nodes[best]), int(main[nearest[best]])], Tags("unclassified"))
        else:
            for a, b in graph.subgraph(piece).edges:
                network.edges.pop((a, b), None)
                network.edges.pop((b, a), None)


def _expressway(network: Network, terrain: Terrain, course: list[int]) -> None:
    """Lay the two carriageways and a few interchanges over the finished network."""
    ref, name, _ = EXPRESSWAY
    line = ndimage.gaussian_filter1d(terrain.grid.xy[course], 7.0, axis=0, mode="nearest")
    along = np.r_[0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))]
    at = np.linspace(0.0, along[-1], int(along[-1] / 160.0))
    line = np.column_stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)])
    heading = np.gradient(line, axis=0)
    normal = np.column_stack([heading[:, 1], -heading[:, 0]]) / np.hypot(*heading.T)[:, None]
    ground = terrain.grid.sample(terrain.elevation, line)
    buried = ground - ndimage.gaussian_filter1d(ground, 9.0) > TUNNEL_COVER_M
    others = np.array(network.lines(list(network.edges)))
    tree = shapely.STRtree(others)
    right = np.round(line + CARRIAGEWAY_OFFSET_M * normal, 2)
    left = np.round(line - CARRIAGEWAY_OFFSET_M * normal, 2)[::-1]
    tags = Tags("motorway", name, ref, oneway=True)
    for xy, cover in ((right, buried), (left, buried[::-1])):
        nodes = network.add(xy).tolist()
        spans = shapely.linestrings(np.stack([xy[:-1], xy[1:]], axis=1))
        crossing = np.zeros(len(spans), dtype=bool)
        crossing[tree.query(spans, predicate="intersects")[0]] = True
        for number, (a, b) in enumerate(pairwise(nodes)):
            hidden = bool(cover[number] or cover[number + 1])
            over = bool(crossing[number]) and not hidden
            network.edges[(a, b)] = replace(
                tags, bridge=over, tunnel=hidden, layer=-1 if hidden else int(over)
            )
    size = len(line)
    first = len(network.xy) - 2 * size
    pairs = [(first + k, first + 2 * size - 1 - k) for k in range(size)]
    _interchanges(network, pairs, tree, others)


def _interchanges(
    network: Network, pairs: list[tuple[int, int]], tree: shapely.STRtree, others: np.ndarray
) -> None:
    """Join both carriageways to a main road nearby, at a few places far apart."""
    keys = list(network.edges)[: len(others)]
    main = sorted(
        {n for key in keys if network.edges[key].rank <= RANKS.index("tertiary") for n in key}
    )
    roads = cKDTree(network.xy[main])
    chosen: list[FloatArray] = []
    options = []
    for one, other in pairs[25:-25]:
        away, nearest = roads.query(network.xy[one])
        options.append((abs(float(away) - 320.0), one, other, main[int(nearest)]))
    for _, one, other, junction in sorted(options):
        place = network.xy[one]
        if any(np.hypot(*(place - seen)) < 9_000.0 for seen in chosen):
            continue
        near, far = sorted(
            (one, other),
            key=lambda node: float(np.hypot(*(network.xy[node] - network.xy[junction]))),
        )
        ramps = [shapely.LineString(network.xy[[junction, node]]) for node in (near, far)]
        hits = tree.query(ramps, predicate="intersects")[1]
        if any(junction not in keys[hit] for hit in hits.tolist()):
            continue
        touching = [key for key in network.edges if near in key or far in key]
        if any(network.edges[key].layer for key in touching):
            continue
        network.edges[(junction, near)] = Tags("motorway_link", "互通匝道")
        # The far ramp passes over the near carriageway, to the node after ``far``.
        across = network.xy[near] - network.xy[far]
        outer = network.xy[near] + 1.5 * across
        ahead = network.xy[junction] - outer
        start = int(network.add(np.round([outer + 25.0 * ahead / np.hypot(*ahead)], 2))[0])
        target = next(key[key[0] == far] for key in touching if far in key)
        network.edges[(junction, start)] = Tags("motorway_link", "互通匝道")
        network.edges[(start, target)] = Tags("motorway_link", "互通匝道", bridge=True, layer=1)
        chosen.append(place)
        if len(chosen) == INTERCHANGES:
            return


def _wash_out(network: Network, ends: FloatArray, barred: FloatArray) -> list[int]:
    """Cut a few valley roads, so that their far ends become islands; returns a node of each."""
    graph = network.graph()
    used = network.used()
    tree = cKDTree(network.xy[used])
    keep_off = cKDTree(barred)
    chosen: list[int] = []
    for end in ends:
        away, nearest = tree.query(end)
        leaf = int(used[nearest])
        if away > 150.0 or graph.degree[leaf] != 1:
            continue
        chain = [leaf]
        while len(chain) < 11 and graph.degree[chain[-1]] <= 2:
            ahead = [node for node in graph[chain[-1]] if node not in chain]
            if not ahead:
                break
            chain.append(ahead[0])
        if len(chain) < 8 or keep_off.query(network.xy[chain])[0].min() < 500.0:
            continue
        if any(np.hypot(*(network.xy[leaf] - network.xy[other])) < 8_000 for other in chosen):
            continue
        for a, b in zip(chain[-4:-1], chain[-3:], strict=True):
            if graph.degree[a] <= 2:
                network.edges.pop((a, b), None)
                network.edges.pop((b, a), None)
        chosen.append(leaf)
        if len(chosen) == ISLANDS:
            break
    return chosen


def build_roads(sources: Sources, terrain: Terrain, partition: Partition, sites: Sites) -> Network:
    """Build the whole network."""
    network, course = _route_all(sources, terrain, partition, sites)
    _soften(network, terrain.grid)
    _town_streets(network, terrain, partition, sites)
    _planarise(network)
    seats = partition.units[["seat_x", "seat_y"]].to_numpy()
    _connect(network, np.vstack([seats, terrain.grid.xy[sites.road_cells]]))
    _planarise(network)
    _wash_out(network, terrain.grid.xy[sites.road_cells[::-1]], seats)
    _expressway(network, terrain, course)
    used = network.used()
    number = np.full(len(network.xy), -1)
    number[used] = np.arange(len(used))
    edges = {
        (int(number[a]), int(number[b])): tags
        for (a, b), tags in sorted(network.edges.items(), key=lambda item: item[0])
    }
    return Network(network.xy[used], edges)


def ways(network: Network) -> list[tuple[list[int], Tags]]:
    """Chain the stretches with the same tags into ways, as they would stand in OpenStreetMap."""
    groups: dict[Tags, nx.Graph] = {}
    for (a, b), tags in network.edges.items():
        groups.setdefault(tags, nx.Graph()).add_edge(a, b)
    found = []
    for tags, graph in groups.items():
        ends = sorted(node for node in graph if graph.degree[node] != 2)
        for start in [*ends, *sorted(graph)]:
            for first in sorted(graph[start]) if start in graph else []:
                if not graph.has_edge(start, first):
                    continue
                chain = [start, first]
                graph.remove_edge(start, first)
                joint = set(ends)
                while chain[-1] not in joint and graph.degree[chain[-1]] == 1:
                    ahead = next(iter(graph[chain[-1]]))
                    graph.remove_edge(chain[-1], ahead)
                    chain.append(ahead)
                if tags.oneway and (chain[0], chain[1]) not in network.edges:
                    chain.reverse()
                found.append((chain, tags))
    return sorted(found, key=lambda way: (way[1].rank, way[0]))
