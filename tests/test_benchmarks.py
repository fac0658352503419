"""The benchmarks run at a tiny size, ask every contender the same, and notice where they differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import shapely
from scipy.sparse.csgraph import connected_components

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """The benchmarks are scripts beside each other, not a package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import engine  # noqa: PLC0415
        import networks  # noqa: PLC0415
        import peers  # noqa: PLC0415

        yield engine, networks, peers
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def streets(modules):
    return modules[1].planar(900)


def test_planar_networks_are_seeded(modules, streets):
    again = modules[1].planar(900)
    assert again.edges.equals(streets.edges)
    assert again.nodes.equals(streets.nodes)
    assert not modules[1].planar(900, seed=1).nodes.equals(streets.nodes)


def test_planar_networks_look_like_streets(streets):
    edges, lines = streets.edges, streets.edges.geometry.array
    assert streets.directed_edges / len(streets.nodes) == pytest.approx(2.6, abs=0.01)
    assert edges["oneway"].mean() == pytest.approx(0.15, abs=0.01)
    assert (shapely.get_num_coordinates(lines) > 2).mean() == pytest.approx(0.3, abs=0.05)
    assert edges["highway"].nunique() == 5
    assert shapely.STRtree(lines).query(lines, predicate="crosses").size == 0
    ends = streets.nodes[["x", "y"]].to_numpy()
    np.testing.assert_array_equal(
        shapely.get_coordinates(shapely.get_point(lines, 0)), ends[edges["u"]]
    )
    np.testing.assert_array_equal(
        shapely.get_coordinates(shapely.get_point(lines, -1)), ends[edges["v"]]
    )


def test_every_junction_is_reached_both_ways(modules, streets):
    _, networks, peers = modules
    directed = networks.directed(streets, streets.edges["length_m"].to_numpy())
    matrix = peers.reversed_matrix(directed, len(streets.nodes))
    pieces, _ = connected_components(matrix, directed=True, connection="strong")
    assert pieces == 1


def test_graph_has_a_directed_edge_for_each_allowed_direction(modules, streets):
    networks = modules[1]
    graph = networks.multidigraph(streets)
    assert graph.number_of_edges() == streets.directed_edges
    both = networks.multidigraph(streets, both_ways=True)
    assert both.number_of_edges() == 2 * len(streets.edges)
    assert graph.size("length") == pytest.approx(
        (streets.edges["length_m"] * (2 - streets.edges["oneway"])).sum()
    )


def test_bare_scipy_is_asked_what_networkx_is(modules, streets):
    engine, _, peers = modules
    case = engine.make_case(streets, engine.fc.MODES["motor"], runs=1, budget_s=1.0)
    graph = peers.networkx_graph(case.directed)
    assert graph.number_of_edges() == case.matrix.nnz
    for found, sources in zip(case.node_minutes, case.sources, strict=True):
        minutes = nx.multi_source_dijkstra_path_length(
            graph, set(sources.tolist()), weight="minutes"
        )
        np.testing.assert_allclose(found, [minutes[node] for node in range(case.nodes)], rtol=1e-12)


def test_different_answers_stop_the_run(modules):
    engine = modules[0]
    engine.compare("same", [1.0, np.nan, np.inf], [1.0 + 1e-9, np.nan, np.inf], 1e-6)
    for wanted in ([1.0, 2.1], [1.0, np.nan], [1.0, np.inf], [1.0]):
        with pytest.raises(engine.DisagreementError, match="minutes"):
            engine.compare("minutes", [1.0, 2.0], wanted, 1e-6)


def test_a_wrong_engine_is_noticed(modules, streets, monkeypatch):
    engine = modules[0]
    case = engine.make_case(streets, engine.fc.MODES["motor"], runs=1, budget_s=1.0)
    right = engine.nearest_ours

    def wrong(ready, *limit):
        found = right(ready, *limit)
        found[3].minutes[7] += 1e-4
        return found

    monkeypatch.setattr(engine, "nearest_ours", wrong)
    with pytest.raises(engine.DisagreementError, match="kind 3: 1 of"):
        next(engine.nearest_rows(case))


def test_ratios_are_of_neighbouring_runs(modules):
    assert modules[0].ratio([2.0, 40.0, 3.0], [1.0, 10.0, 1.0]) == 3.0


@pytest.mark.slow
def test_runs_alternate_and_stop_at_the_budget(modules):
    engine, order = modules[0], []
    contenders = {
        name: engine.Contender(lambda name=name: name, order.append) for name in ("a", "b")
    }
    times = engine.interleaved(contenders, runs=3, budget_s=60.0)
    assert order == ["a", "b"] * 3
    assert {name: len(spent) for name, spent in times.items()} == {"a": 3, "b": 3}
    assert len(engine.interleaved(contenders, runs=3, budget_s=0.0)["a"]) == 1


def test_missing_peers_are_named(modules, streets, monkeypatch):
    engine, _, peers = modules
    monkeypatch.setattr(peers, "installed", lambda _: None)
    case = engine.make_case(streets, engine.fc.MODES["motor"], runs=1, budget_s=1.0)
    rows = {row.key: row.value for row in engine.nearest_rows(case)}
    assert rows["ratio_pandana"] == rows["ratio_cityseer"] == engine.NOT_INSTALLED
    assert rows["ratio_networkx"] > 0
    assert engine.machine()["packages"]["pandana"] == engine.NOT_INSTALLED


def run_engine(out, *options):
    """Run the command at a tiny size and give what it printed and wrote."""
    command = [sys.executable, str(BENCHMARKS / "engine.py"), "--nodes", "400", "--runs", "1"]
    done = subprocess.run(
        [*command, *options, "--json", str(out)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text("utf-8"))


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(modules, tmp_path):
    engine, networks, _ = modules
    groups = ["nearest", "cold", "snap", "read", "reach"]
    printed, figures = run_engine(tmp_path / "engine.json", "--only", *groups)
    assert "bare SciPy" in printed
    for key in (
        "ratio_scipy",
        "ratio_networkx",
        "ratio_pandana",
        "ratio_pandana_precomputed",
        "ratio_cityseer",
        "ratio_cold",
        "ratio_snap_osmnx",
        "ratio_read_osmnx",
        "ratio_reach_ego",
    ):
        value = figures[key]
        assert value == engine.NOT_INSTALLED or value > 0, key
    assert {row["group"] for row in figures["rows"]} == set(groups)
    assert all(row["met"] is None for row in figures["rows"])  # nothing is promised at this size
    assert figures["machine"]["cores"] >= 1
    assert figures["machine"]["packages"]["scipy"]
    assert figures["network"]["seed"] == networks.SEED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("polygons", "ratio_roads_polygon"),
        ("reopen", "reopen_seconds"),
        ("memory", "peak_memory_mb"),
    ],
)
def test_the_command_runs_the_other_groups(group, key, tmp_path):
    assert run_engine(tmp_path / "engine.json", "--only", group)[1][key] > 0


@pytest.mark.slow
def test_siting_is_measured_beside_spopt(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "siting.py"), "--quick"]
    out = tmp_path / "siting.json"
    done = subprocess.run(
        [*command, "--json", str(out)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text("utf-8"))
    assert figures["beside_spopt"][0]["gap"] == 0
    assert figures["large"][0]["gap"] <= 0.01
    assert figures["large"][0]["served"] >= figures["large"][0]["greedy_served"]
