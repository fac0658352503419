"""k nearest, cost matrices and engines, against networkx on a graph split at every place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.errors import InputError

from .split_graph import all_minutes
from .towns import NODES, ROADS, network, points, tagged_towns, towns, travel_modes

DEFAULT = "to_facility"
DIRECTIONS = st.sampled_from(["to_facility", "from_facility"])


def dense(matrix):
    """Give a sparse matrix with infinity where nothing is stored; a stored 0 stays 0."""
    full = np.full(matrix.shape, np.inf)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    full[row, matrix.indices] = matrix.data
    return full


def expected_minutes(roads, mode, homes, sites, direction):
    return all_minutes(
        roads, mode, list(points(*homes)), list(points(*sites)), to_facility=direction == DEFAULT
    )


def clear_of(minutes, limit):
    """Tell whether no trip takes so nearly the limit that rounding would decide."""
    return (abs(minutes[np.isfinite(minutes)] - limit) > 1e-6).all()


def check_nearest(found, minutes, k, limit):
    """Check a table of k nearest against brute force over all minutes, shape (points, sites)."""
    assert found.columns.tolist() == ["point", "rank", "facility", "minutes"]
    assert found["point"].is_monotonic_increasing
    by_point = dict(list(found.groupby("point")))
    for home, row in enumerate(minutes):
        reached = np.sort(row[np.isfinite(row) & (row <= limit)])[:k]
        mine = by_point.get(home, found[:0])
        np.testing.assert_allclose(mine["minutes"], reached, atol=1e-6)
        assert mine["rank"].tolist() == list(range(1, len(reached) + 1))
        assert mine["facility"].is_unique
        # Each facility is the one that is so far, not only as far as one that is.
        np.testing.assert_allclose(row[mine["facility"]], mine["minutes"], atol=1e-6)
        ranked = mine.sort_values(["minutes", "facility"])
        assert ranked.index.equals(mine.index)  # of equally near ones the first in the table


@settings(max_examples=60, deadline=None)
@given(
    tagged_towns(), travel_modes(), DIRECTIONS, st.integers(1, 8), st.sampled_from([4, 20, np.inf])
)
def test_k_nearest_against_brute_force(town, mode, direction, k, limit):
    roads, homes, sites = town
    sites = [*sites, sites[0], homes[0]]  # two facilities at one spot, one at a home
    minutes = expected_minutes(roads, mode, homes, sites, direction)
    assume(clear_of(minutes, limit))
    found = fc.nearest(
        points(*homes),
        points(*sites),
        roads,
        k=k,
        mode=mode,
        limit_minutes=limit,
        direction=direction,
    )
    check_nearest(found, minutes, k, limit)
    if limit == np.inf:
        best = fc.nearest_facility(
            points(*homes), points(*sites), roads, mode=mode, direction=direction
        )
        first = found[found["rank"] == 1].set_index("point")["minutes"].reindex(best.index)
        np.testing.assert_allclose(first, best["minutes"], atol=1e-9)


@pytest.mark.parametrize(
    ("home", "mode", "direction", "limit", "expected"),
    [
        # Facilities: a at 500 m, b in the one-way street, c at node 4, and d beside b's door.
        # On foot, 15 min a km: from node 1 it is 0.5, 0.25, 0.25 and 1.6 km.
        ((1000, 0), "walk", DEFAULT, np.inf, [("b", 3.75), ("d", 3.75), ("a", 7.5), ("c", 24.0)]),
        ((1000, 0), "walk", DEFAULT, 7.5, [("b", 3.75), ("d", 3.75), ("a", 7.5)]),
        ((1000, 0), "walk", DEFAULT, 7.4, [("b", 3.75), ("d", 3.75)]),
        # By bicycle, 5 min a km, from the far end of the one-way street round by 4 and 3.
        ((2000, 0), "bicycle", DEFAULT, np.inf, [("c", 3.0), ("b", 12.25), ("d", 12.25),
                                                 ("a", 13.5)]),
        # With the traffic: from the facilities to that home.
        ((2000, 0), "bicycle", "from_facility", np.inf, [("c", 3.0), ("b", 3.75), ("d", 3.75),
                                                         ("a", 7.5)]),
        # Same edge: b lies 100 m behind, so it is reached by the whole round, a before it.
        ((1350, 0), "bicycle", DEFAULT, np.inf, [("c", 6.25), ("b", 15.5), ("d", 15.5),
                                                 ("a", 16.75)]),
    ],
)  # fmt: skip
def test_hand_worked_k_nearest(home, mode, direction, limit, expected):
    facilities = points((500, 0), (1250, 0), (2000, -600), (1250, 0))
    facilities.index = pd.Index(["a", "b", "c", "d"])
    homes = points(home)
    homes.index = pd.Index(["village"])
    found = fc.nearest(
        homes,
        facilities,
        network(ROADS, NODES),
        k=9,
        mode=mode,
        direction=direction,
        limit_minutes=limit,
    )
    assert found["facility"].tolist() == [name for name, _ in expected]
    assert found["minutes"].tolist() == pytest.approx([minutes for _, minutes in expected])
    assert found["rank"].tolist() == list(range(1, len(expected) + 1))
    assert set(found["point"]) == {"village"}


def test_of_facilities_at_one_spot_the_first_in_the_table_is_nearest():
    roads = network(ROADS, NODES)
    spots = [(1250, 40), (300, 30)]
    for order in ([0, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1], [1] * 30 + [0] * 30):
        sites = points(*(spots[i] for i in order))
        homes = points((1990, 0), (10, 0), (1240, 5), (1000, -500))
        for engine in ("scipy", "networkx"):
            best = fc.nearest_facility(homes, sites, roads, engine=engine)
            again = fc.nearest(homes, sites, roads, k=1, engine=engine)
            first = [order.index(0), order.index(1), order.index(0), order.index(0)]
            assert best["facility"].tolist() == first
            assert again["facility"].tolist() == first


@pytest.mark.parametrize("engine", ["scipy", "networkx"])
def test_nobody_to_ask_for_and_nothing_to_find(engine):
    roads = network(ROADS, NODES)
    home, far, none = points((10, 0)), points((90_000, 0)), points()
    for homes, sites in ((home, far), (far, home), (home, none), (none, home)):
        found = fc.nearest(homes, sites, roads, engine=engine)
        assert found.columns.tolist() == ["point", "rank", "facility", "minutes"]
        assert found.empty
        matrix = fc.cost_matrix(homes, sites, roads, limit_minutes=np.inf, engine=engine)
        assert matrix.shape == (len(homes), len(sites))
        assert matrix.nnz == 0
        alone = fc.nearest_facility(homes, sites, roads, engine=engine)
        assert alone.index.equals(homes.index)
        assert alone["minutes"].isna().all()


@settings(max_examples=50, deadline=None)
@given(towns(), st.sampled_from(["walk", "bicycle", "motor"]), DIRECTIONS)
def test_engines_agree(town, mode, direction):
    roads, homes, sites = town
    homes, sites = points(*homes), points(*sites, sites[0])
    options = {"mode": mode, "direction": direction}
    ours, theirs = (
        {
            "nearest_facility": fc.nearest_facility(homes, sites, roads, engine=engine, **options),
            "nearest": fc.nearest(homes, sites, roads, k=2, engine=engine, **options),
            "parts": fc.reach(sites, roads, minutes=7.3, engine=engine, **options).parts,
        }
        for engine in ("scipy", "networkx")
    )
    for name, table in ours.items():
        numbers = table.select_dtypes("number").columns
        np.testing.assert_allclose(theirs[name][numbers], table[numbers], atol=1e-9, err_msg=name)
    assert ours["nearest_facility"]["reason"].equals(theirs["nearest_facility"]["reason"])
    assert ours["nearest"]["facility"].equals(theirs["nearest"]["facility"])
    assert ours["parts"]["facility"].equals(theirs["parts"]["facility"])
    one, two = (
        fc.cost_matrix(homes, sites, roads, limit_minutes=20, mode=mode, engine=engine)
        for engine in ("scipy", "networkx")
    )
    np.testing.assert_allclose(dense(one), dense(two), atol=1e-9)


def test_engines_agree_on_the_whole_line(units, facilities, roads, plan, demand, access):
    some = facilities[facilities["kind"].isin(["school", "day_care"])]
    ours, theirs = (
        fc.travel_times(
            units, some, roads, plan, demand=demand, area_spacing_m=2000, engine=engine
        ).table
        for engine in ("scipy", "networkx")
    )
    assert ours["minutes"].notna().any()
    pd.testing.assert_frame_equal(
        ours.drop(columns="facility_id"), theirs.drop(columns="facility_id"), atol=1e-9
    )
    assert access.options["engine"] == "scipy"


@settings(max_examples=70, deadline=None)
@given(tagged_towns(), travel_modes(), st.sampled_from([5, 25, np.inf]))
def test_cost_matrix_against_brute_force_from_either_side(town, mode, limit):
    roads, homes, sites = town
    few, many = points(*homes[:2]), points(*sites, *homes, sites[0])
    for origins, destinations in ((few, many), (many, few)):
        expected = all_minutes(roads, mode, list(origins), list(destinations))
        assume(clear_of(expected, limit))
        found = fc.cost_matrix(origins, destinations, roads, limit_minutes=limit, mode=mode)
        assert found.has_canonical_format
        np.testing.assert_allclose(
            dense(found), np.where(expected <= limit, expected, np.inf), atol=1e-6
        )


def test_what_cannot_be_reached_is_not_stored_and_no_trip_is_a_stored_zero():
    trap = network([(0, 1, False, "residential"), (1, 2, True, "residential")], NODES[:3])
    spots = points((0, 0), (1800, 0), (0, 5000))
    found = fc.cost_matrix(spots, spots, trap, limit_minutes=np.inf, mode="bicycle")
    # By bicycle 1,800 m to the second, no way back; the third lies off all roads.
    assert found.nnz == 3
    np.testing.assert_array_equal(found.indptr, [0, 2, 3, 3])
    np.testing.assert_array_equal(found.indices, [0, 1, 1])
    np.testing.assert_allclose(found.data, [0.0, 9.0, 0.0])


@settings(max_examples=60, deadline=None)
@given(tagged_towns(), travel_modes())
def test_no_detour_by_a_third_place_is_shorter(town, mode):
    roads, homes, sites = town
    spots = points(*homes, *sites)
    minutes = dense(fc.cost_matrix(spots, spots, roads, limit_minutes=np.inf, mode=mode))
    via = (minutes[:, :, None] + minutes[None, :, :]).min(axis=1)
    assert (minutes <= via + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(towns(), st.sampled_from(["walk", "bicycle", "motor"]))
def test_reversing_all_one_ways_and_the_direction_changes_nothing(town, mode):
    roads, homes, sites = town
    spots = points(*homes, *sites)
    turned = fc.RoadNetwork(
        roads.edges.assign(
            u=roads.edges["v"], v=roads.edges["u"], geometry=roads.edges.geometry.reverse()
        ),
        roads.nodes,
    )
    # Of equally near places another may be joined, for roads are drawn the other way.
    joined, again = (fc.join_points(spots, one, mode=mode) for one in (roads, turned))
    assume(joined["edge"].equals(again["edge"]))
    assume(np.allclose(joined["fraction"], 1 - again["fraction"], atol=1e-9, equal_nan=True))
    there, back = (
        dense(fc.cost_matrix(spots, spots, one, limit_minutes=np.inf, mode=mode))
        for one in (roads, turned)
    )
    np.testing.assert_allclose(back.T, there, atol=1e-9)
    if mode == "walk" or not roads.edges["oneway"].any():
        np.testing.assert_allclose(there.T, there, atol=1e-9)


@pytest.mark.parametrize(
    ("ask", "options", "message"),
    [
        (fc.nearest, {"k": 0}, "k must be a whole number of at least 1, not 0"),
        (fc.nearest, {"k": 2.5}, "k must be a whole number"),
        (fc.nearest, {"limit_minutes": -1}, "limit_minutes must be above 0"),
        (fc.nearest, {"limit_minutes": np.nan}, "limit_minutes must be above 0"),
        (fc.cost_matrix, {"limit_minutes": np.nan}, "limit_minutes must be above 0"),
        (fc.nearest, {"mode": "fly"}, "unknown mode 'fly'; known: walk"),
        (fc.nearest, {"direction": "up"}, "direction must be 'to_facility' or 'from_facility'"),
        (fc.nearest, {"engine": "magic"}, "engine must be 'scipy' or 'networkx'"),
        (fc.nearest, {"leg_detour": 0.5}, "leg_detour must be at least 1"),
        (fc.nearest, {"leg_limit_m": 0}, "leg_limit_m must be above 0"),
        (fc.reach, {"minutes": np.inf}, "minutes must be a positive number"),
    ],
)
def test_options_that_mean_nothing_are_refused(ask, options, message):
    roads, spot = network(ROADS, NODES), points((10, 0))
    layers = [spot] if ask is fc.reach else [spot, spot]
    with pytest.raises(InputError, match=message):
        ask(*layers, roads, **options)


def test_one_network_asked_by_many_threads():
    def ask(roads, mode):
        homes, sites = points((500, 100), (1500, -300), (1990, 0)), points((1200, 0), (0, 0))
        reached = fc.reach(sites, roads, minutes=9, mode=mode).parts
        found = fc.nearest(homes, sites, roads, mode=mode)["minutes"]
        return [*found, *reached["length_m"], *reached["edge"]]

    modes = [
        *fc.MODES.values(),
        *(replace(fc.MODES["walk"], name=str(kph), speed_kph=kph) for kph in (2.0, 3.5, 5.0)),
    ]
    alone = [ask(network(ROADS, NODES), mode) for mode in modes]
    for _ in range(5):
        fresh = network(ROADS, NODES)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda mode, roads=fresh: ask(roads, mode), modes)) == alone


@pytest.mark.slow
def test_liechtenstein_against_networkx(liechtenstein):
    roads = fc.read_roads(liechtenstein / "liechtenstein.osm.pbf")
    rng = np.random.default_rng(11)
    lines = roads.edges.geometry.array[rng.integers(0, len(roads), 55)]
    near = shapely.get_coordinates(lines.interpolate(rng.random(55), normalized=True))
    spots = gpd.GeoSeries.from_xy(*(near + rng.normal(0, 80, size=(55, 2))).T, crs=roads.crs)
    homes, sites = spots[:40], spots[40:].reset_index(drop=True)
    for name in ("walk", "motor"):
        expected = all_minutes(roads, fc.MODES[name], list(homes), list(sites))
        assert np.isfinite(expected).sum() > 100
        check_nearest(fc.nearest(homes, sites, roads, k=4, mode=name), expected, 4, np.inf)
        best = fc.nearest_facility(homes, sites, roads, mode=name)["minutes"]
        np.testing.assert_allclose(best.fillna(np.inf), expected.min(axis=1), atol=1e-6)
        found = fc.cost_matrix(homes, sites, roads, limit_minutes=np.inf, mode=name)
        np.testing.assert_allclose(dense(found), expected, atol=1e-6)
