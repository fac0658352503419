"""Travel times against networkx on a graph split at every snap, and what must always hold."""

from __future__ import annotations

import geopandas as gpd
import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.snapping import snap

from .split_graph import nearest_minutes
from .towns import NODES, ROADS, network, points, towns


@pytest.mark.parametrize(
    ("home", "site", "mode", "direction", "expected"),
    [
        # On foot at 4 km/h (15 min a km); both on the roads, so no legs.
        ((500, 0), (1500, 0), "walk", "to_facility", 15.0),
        # One-way streets do not bind walkers.
        ((2000, 0), (1250, 0), "walk", "to_facility", 11.25),
        # On the same edge: along it, not by way of its ends.
        ((200, 0), (700, 0), "walk", "to_facility", 7.5),
        # By bicycle at 12 km/h (5 min a km) along the one-way street: 1,500 m.
        ((500, 0), (2000, 0), "bicycle", "to_facility", 7.5),
        # Back against it: 600 + 1,000 + 600 + 500 m.
        ((2000, 0), (500, 0), "bicycle", "to_facility", 13.5),
        # The same trip told from the facility.
        ((500, 0), (2000, 0), "bicycle", "from_facility", 13.5),
        # Same one-way edge, with the traffic: 500 m …
        ((1200, 0), (1700, 0), "bicycle", "to_facility", 2.5),
        # … and against it: on to node 2 (300 m), 600 + 1,000 + 600 m round, then 200 m.
        ((1700, 0), (1200, 0), "bicycle", "to_facility", 13.5),
        # A leg of 100 m at 4 km/h with detour 1.3 is 1.95 min, at each end.
        ((500, 100), (1500, 100), "walk", "to_facility", 15.0 + 2 * 1.95),
        # Motor vehicles go 18 km/h on a residential street; legs are walked.
        ((500, 100), (0, 0), "motor", "to_facility", 500 / 300 + 1.95),
    ],
)
def test_hand_worked_five_nodes(home, site, mode, direction, expected):
    found = fc.nearest_facility(
        points(home), points(site), network(ROADS, NODES), mode=mode, direction=direction
    )
    assert found["minutes"].iloc[0] == pytest.approx(expected, abs=1e-9)


def test_parallel_edges_the_cheapest_counts():
    nodes = [(0, 0), (1000, 0)]
    rows = [(0, 1, False, "residential", [(500, 800)]), (0, 1, False, "residential", [(500, 10)])]
    found = fc.nearest_facility(points((0, 0)), points((1000, 0)), network(rows, nodes))
    assert found["minutes"].iloc[0] == pytest.approx(15.0, rel=1e-3)


def test_reasons_are_told_apart():
    nodes = [*NODES, (5000, 0), (5200, 0)]
    roads = network([*ROADS, (5, 6, False, "residential")], nodes)
    homes = points((100, 0), (5100, 0), (500, 900))
    found = fc.nearest_facility(homes, points((2000, 0)), roads)
    assert found["reason"].tolist() == ["", "island", "off_network"]
    assert found["minutes"].notna().tolist() == [True, False, False]
    assert found["facility"].tolist() == [0, None, None]
    # A street one can enter but not leave.
    trap = network([(0, 1, False, "residential"), (1, 2, True, "residential")], NODES[:3])
    found = fc.nearest_facility(points((1800, 0)), points((0, 0)), trap, mode="bicycle")
    assert found["reason"].tolist() == ["one_way"]
    assert np.isnan(found["minutes"].iloc[0])


def test_an_island_within_the_leg_limit_joins_the_main_network():
    nodes = [*NODES, (0, 300), (200, 300)]
    roads = network([*ROADS, (5, 6, False, "residential")], nodes)
    joined = snap(np.array([shapely.Point(100, 310)]), roads, fc.MODES["walk"])
    assert joined.flag.tolist() == ["joined_main"]
    assert joined.leg_m[0] == pytest.approx(310)
    strict = snap(np.array([shapely.Point(100, 310)]), roads, fc.MODES["walk"], leg_limit_m=200)
    assert strict.flag.tolist() == ["island"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_lengths_that_are_no_lengths_are_refused_by_name(bad):
    good = network(ROADS, NODES)
    edges = good.edges.copy()
    edges.loc[3, "length_m"] = bad
    with pytest.raises(ValueError, match="edge 3"):
        fc.RoadNetwork(edges, good.nodes)


@settings(max_examples=150, deadline=None)
@given(towns(), st.sampled_from(["walk", "bicycle", "motor"]), st.booleans())
def test_equal_to_networkx_on_a_split_graph(town, mode_name, to_facility):
    roads, homes, sites = town
    mode = fc.MODES[mode_name]
    home_points, site_points = points(*homes), points(*sites)
    found = fc.nearest_facility(
        home_points,
        site_points,
        roads,
        mode=mode,
        direction="to_facility" if to_facility else "from_facility",
    )
    expected = nearest_minutes(
        roads, mode, list(home_points), list(site_points), to_facility=to_facility
    )
    np.testing.assert_allclose(found["minutes"], expected, atol=1e-6)
    assert (found["reason"] == "").tolist() == np.isfinite(expected).tolist()


@settings(max_examples=60, deadline=None)
@given(towns(), st.sampled_from(["walk", "bicycle"]))
def test_one_more_facility_never_lengthens_a_trip(town, mode):
    roads, homes, sites = town
    some = fc.nearest_facility(points(*homes), points(*sites), roads, mode=mode)["minutes"]
    more = fc.nearest_facility(points(*homes), points(*sites, homes[0]), roads, mode=mode)[
        "minutes"
    ]
    assert (more.fillna(np.inf) <= some.fillna(np.inf) + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(towns(), st.randoms(use_true_random=False))
def test_row_order_and_node_numbers_change_nothing(town, random):
    roads, homes, sites = town
    order = list(range(len(roads.edges)))
    random.shuffle(order)
    label = list(range(len(roads.nodes)))
    random.shuffle(label)
    edges = roads.edges.iloc[order].reset_index(drop=True)
    edges["u"], edges["v"] = edges["u"].map(label.__getitem__), edges["v"].map(label.__getitem__)
    nodes = roads.nodes.iloc[np.argsort(label)].reset_index(drop=True)
    plain = fc.nearest_facility(points(*homes), points(*sites), roads)
    mixed = fc.nearest_facility(points(*homes), points(*sites), fc.RoadNetwork(edges, nodes))
    np.testing.assert_allclose(mixed["minutes"], plain["minutes"], atol=1e-9)


def test_helsinki_against_networkx(helsinki_pbf):
    roads = fc.read_roads(helsinki_pbf)
    rng = np.random.default_rng(7)
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    xy = rng.uniform((low_x, low_y), (high_x, high_y), size=(60, 2))
    homes, sites = (
        points(*xy[:45]).set_crs(roads.crs, allow_override=True),
        points(*xy[45:]).set_crs(roads.crs, allow_override=True),
    )
    for name in ("walk", "motor"):
        mode = fc.MODES[name]
        found = fc.nearest_facility(homes, sites, roads, mode=mode)
        expected = nearest_minutes(roads, mode, list(homes), list(sites))
        assert np.isfinite(expected).sum() > 20
        np.testing.assert_allclose(found["minutes"], expected, atol=1e-6)


def test_graph_round_trip_gives_the_same_times(helsinki_pbf):
    roads = fc.read_roads(helsinki_pbf)
    graph = roads.graph
    assert isinstance(graph, nx.MultiDiGraph)
    again = fc.RoadNetwork.from_graph(graph, crs=roads.crs)
    assert again.graph is graph
    assert len(again) == len(roads)
    assert again.edges["length_m"].sum() == pytest.approx(roads.edges["length_m"].sum())
    assert again.edges["oneway"].sum() == roads.edges["oneway"].sum()
    rng = np.random.default_rng(3)
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    xy = gpd.GeoSeries.from_xy(
        *rng.uniform((low_x, low_y), (high_x, high_y), size=(300, 2)).T, crs=roads.crs
    )
    for mode in ("walk", "motor"):
        one = fc.nearest_facility(xy[:280], xy[280:], roads, mode=mode)
        two = fc.nearest_facility(xy[:280], xy[280:], again, mode=mode)
        np.testing.assert_allclose(two["minutes"], one["minutes"], atol=1e-6)
