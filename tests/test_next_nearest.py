"""The nearest facility but one, and agreed trips, against brute force over all pairs."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.search import SiteSearch, StraightSearch, Trips, pair_minutes
from facility_coverage.snapping import snap
from facility_coverage.standards import Way
from facility_coverage.travel import (
    Joins,
    Places,
    Searches,
    TravelTimes,
    agreed_minutes,
    next_nearest,
)

from .split_graph import all_minutes
from .towns import NODES, ROADS, network, points, tagged_towns, towns, travel_modes

DIRECTIONS = st.sampled_from(["to_facility", "from_facility"])


def joined(xy, roads, mode):
    return snap(np.asarray(points(*xy).array), roads, mode)


def both(roads, mode, homes, sites, *, direction="to_facility", chosen=None, **options):
    """Give the nearest and the next nearest site of every home."""
    chosen = np.ones(len(sites), dtype=bool) if chosen is None else np.asarray(chosen)
    engine = options.pop("engine", "scipy")
    trips = Trips(roads.for_mode(mode), direction=direction, engine=engine)
    search = SiteSearch(trips, joined(sites, roads, mode), chosen, **options)
    at = joined(homes, roads, mode)
    first = search.nearest(at)
    return first, search.next_nearest(at, first)


def brute_force(roads, mode, homes, sites, direction):
    """Give all minutes, homes by sites, by networkx on a graph split at every place."""
    home, site = points(*homes), points(*sites)
    to_facility = direction == "to_facility"
    return all_minutes(roads, mode, list(home), list(site), to_facility=to_facility)


def check(first, second, minutes):
    """Check both against all minutes, shape (homes, sites)."""
    for home, row in enumerate(minutes):
        nearest = first.facility[home]
        others = row.copy()
        if nearest >= 0:
            assert row[nearest] == pytest.approx(row.min(), abs=1e-6)
            others[nearest] = np.inf
        least = others.min(initial=np.inf)
        if nearest < 0 or least == np.inf:
            assert np.isnan(second.minutes[home])
            assert second.facility[home] == -1
            assert second.reason[home] != ""
            continue
        assert second.minutes[home] == pytest.approx(least, abs=1e-6)
        assert second.facility[home] != nearest
        # It is the one that is so far, not only as far as one that is.
        assert row[second.facility[home]] == pytest.approx(least, abs=1e-6)
        assert second.minutes[home] >= first.minutes[home] - 1e-9
        assert second.reason[home] == ""


@settings(max_examples=100, deadline=None)
@given(tagged_towns(), travel_modes(), DIRECTIONS, st.data())
def test_equal_to_networkx_on_a_split_graph(town, mode, direction, data):
    roads, homes, sites = town
    # Two and three at one spot, some at homes; islands, one-ways, edges of no length are there.
    sites = [*sites, sites[0], homes[0], homes[-1], sites[0]]
    chosen = np.array([data.draw(st.booleans()) for _ in sites])
    minutes = brute_force(roads, mode, homes, sites, direction)
    minutes[:, ~chosen] = np.inf
    found = both(roads, mode, homes, sites, direction=direction, chosen=chosen)
    check(*found, minutes)


@settings(max_examples=50, deadline=None)
@given(towns(), travel_modes(), DIRECTIONS, st.integers(1, 9))
def test_equal_to_the_minutes_of_all_pairs(town, mode, direction, count):
    roads, homes, sites = town
    sites = [*sites, *homes[:count], sites[0]]
    trips = Trips(roads.for_mode(mode), direction=direction)
    pairs = pair_minutes(trips, joined(sites, roads, mode), joined(homes, roads, mode))
    minutes = np.full((len(homes), len(sites)), np.inf)
    minutes[pairs.point, pairs.site] = pairs.minutes
    for engine in ("scipy", "networkx"):
        check(*both(roads, mode, homes, sites, direction=direction, engine=engine), minutes)


@settings(max_examples=50, deadline=None)
@given(towns(), travel_modes(), DIRECTIONS, st.sampled_from([3.0, 9.0, 20.0]))
def test_what_is_beyond_the_limit_is_missing_and_says_so(town, mode, direction, limit):
    roads, homes, sites = town
    sites = [*sites, homes[0], homes[0]]
    minutes = brute_force(roads, mode, homes, sites, direction)
    assume((abs(minutes[np.isfinite(minutes)] - limit) > 1e-6).all())
    first, second = both(roads, mode, homes, sites, direction=direction, limit_minutes=limit)
    check(first, second, np.where(minutes <= limit, minutes, np.inf))
    farther = np.sort(minutes, axis=1)[:, 1]
    beyond = np.isfinite(farther) & (farther > limit)
    assert set(second.reason[beyond]) <= {"beyond_limit"}


@settings(max_examples=40, deadline=None)
@given(towns(), st.sampled_from(["walk", "bicycle"]), st.randoms(use_true_random=False))
def test_row_order_changes_no_minutes(town, mode_name, random):
    roads, homes, sites = town
    mode, sites = fc.MODES[mode_name], [*sites, homes[0], sites[0]]
    _, plain = both(roads, mode, homes, sites)
    order = list(range(len(roads.edges)))
    random.shuffle(order)
    mixed = fc.RoadNetwork(roads.edges.iloc[order].reset_index(drop=True), roads.nodes)
    random.shuffle(sites)
    _, again = both(mixed, mode, homes, sites)
    np.testing.assert_allclose(again.minutes, plain.minutes, atol=1e-9)


@pytest.mark.parametrize(
    ("home", "mode", "direction", "first", "second"),
    [
        # a at 500 m, b in the one-way street, c at node 4, d at b's door. On foot, 15 min a km.
        ((1000, 0), "walk", "to_facility", ("b", 3.75), ("d", 3.75)),
        ((100, 0), "walk", "to_facility", ("a", 6.0), ("b", 17.25)),
        # By bicycle, 5 min a km: c lies 600 m on, b by the whole round (2,450 m), a 2,700 m.
        ((2000, 0), "bicycle", "to_facility", ("c", 3.0), ("b", 12.25)),
        ((2000, 0), "bicycle", "from_facility", ("c", 3.0), ("b", 3.75)),
        # On b's own edge, 100 m beyond it: against the traffic the round is the way.
        ((1350, 0), "bicycle", "to_facility", ("c", 6.25), ("b", 15.5)),
        ((1350, 0), "walk", "to_facility", ("b", 1.5), ("d", 1.5)),
    ],
)
def test_hand_worked_five_nodes(home, mode, direction, first, second):
    names = ["a", "b", "c", "d"]
    sites = [(500, 0), (1250, 0), (2000, -600), (1250, 0)]
    found = both(network(ROADS, NODES), fc.MODES[mode], [home], sites, direction=direction)
    for one, (name, minutes) in zip(found, (first, second), strict=True):
        assert names[one.facility[0]] == name
        assert one.minutes[0] == pytest.approx(minutes, abs=1e-9)


def test_a_single_site_has_no_next_and_why_is_told():
    roads = network([*ROADS, (5, 6, False, "residential")], [*NODES, (5000, 0), (5200, 0)])
    homes = [(100, 0), (5100, 0), (500, 900)]
    walk = fc.MODES["walk"]
    first, second = both(roads, walk, homes, [(1500, 0)])
    assert first.reason.tolist() == ["", "island", "off_network"]
    assert second.reason.tolist() == ["no_facility_of_kind", "island", "off_network"]
    assert np.isnan(second.minutes).all()
    assert (second.facility == -1).all()
    # The other one is far from any road, or on the island.
    _, second = both(roads, walk, homes, [(1500, 0), (1500, 9000)])
    assert second.reason.tolist() == ["off_network", "island", "off_network"]
    _, second = both(roads, walk, homes, [(1500, 0), (5180, 0)])
    assert second.reason.tolist() == ["island", "island", "off_network"]
    # Out of the trap, a one-way street, no way leads to the second.
    trap = network([(0, 1, False, "residential"), (1, 2, True, "residential")], NODES[:3])
    first, second = both(trap, fc.MODES["bicycle"], [(1800, 0)], [(0, 0), (1900, 0)])
    assert (first.facility[0], second.reason[0]) == (1, "one_way")
    # Nobody to choose from.
    first, second = both(roads, walk, homes, [(1500, 0)], chosen=[False])
    assert second.reason.tolist() == first.reason.tolist() == ["no_facility_of_kind"] * 3


lattice = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
        st.just((np.nan, np.nan)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(lattice, lattice, st.data(), st.sampled_from([np.inf, 0.07]))
def test_as_the_crow_flies(homes, sites, data, limit):
    homes, sites = np.array(homes, dtype=float), np.array(sites, dtype=float)
    chosen = np.array([data.draw(st.booleans()) for _ in sites])
    search = StraightSearch(sites, chosen, 4.0, limit)
    first = search.nearest(homes)
    second = search.next_nearest(homes, first)
    for home, xy in enumerate(homes):
        metres = np.hypot(*(sites - xy).T)
        minutes = np.where(chosen & ~np.isnan(metres), metres * 60 / 4000, np.inf)
        ranked = np.argsort(minutes, kind="stable")  # of equal ones the first in the table
        for rank, one in ((0, first), (1, second)):
            there = rank < len(sites) and minutes[ranked[rank]] <= min(limit, 1e6)
            assert one.facility[home] == (ranked[rank] if there else -1)
            expected = minutes[ranked[rank]] if there else np.nan
            assert one.minutes[home] == pytest.approx(expected, abs=1e-12, nan_ok=True)
            assert (one.reason[home] == "") == there


def test_where_many_sites_are_equally_near_the_first_two_in_the_table_count():
    ring = np.array([(3, 4), (4, 3), (-3, 4), (0, 5), (5, 0), (0, -5), (0, 9)] * 3, dtype=float)
    for turn in range(7):
        search = StraightSearch(np.roll(ring, turn, axis=0), np.ones(21, dtype=bool), 4.0)
        near = np.flatnonzero(np.hypot(*search.sites.T) == 5)[:2].tolist()
        first = search.nearest(np.zeros((1, 2)))
        second = search.next_nearest(np.zeros((1, 2)), first)
        assert [first.facility[0], second.facility[0]] == near


def of_the_sample(access):
    """Give the questions of the sample that a few kinds ask."""
    kinds = {"comprehensive_service", "fitness_ground", "police_room", "market"}
    return [(p, w) for p, w in access.nearest if p.kind in kinds and p.quality == "certain"]


def test_on_the_sample_equal_to_the_two_nearest(access, roads, plan):
    asked = [(pool, way) for pool, way in of_the_sample(access) if not pool.inside]
    assert len(asked) > 10
    places = access.facilities.geometry
    for pool, way in asked:
        members = np.flatnonzero(access.searches.members(pool))
        found = fc.nearest(
            access.demand.geometry,
            places.iloc[members],
            roads,
            k=2,
            mode=plan.modes[way.mode],
            direction=way.direction,
        )
        expected = (
            found[found["rank"] == 2].set_index("point")["minutes"].reindex(access.demand.index)
        )
        second = next_nearest(access, pool, way)
        np.testing.assert_allclose(second.minutes, expected, atol=1e-6)
        assert expected.notna().sum() > 900
        there = second.facility >= 0
        assert (second.facility != access.nearest[pool, way].facility)[there].all()


def test_on_the_sample_equal_to_a_search_without_the_nearest(access):
    pool, way = next(iter(of_the_sample(access)))
    first, second = access.nearest[pool, way], next_nearest(access, pool, way)
    members = access.searches.members(pool)
    for facility in np.unique(first.facility)[::9]:
        closed = members.copy()
        closed[facility] = False
        here = np.flatnonzero(first.facility == facility)
        search = access.searches.search(closed, way)
        expected = access.searches.answer(search, way, here)
        np.testing.assert_allclose(second.minutes[here], expected.minutes, atol=1e-9)


# -- agreed trips ----------------------------------------------------------------------------------


def times_of(roads, homes, sites, modes, direction="to_facility"):
    """Give travel times that know where places are, and nothing more."""
    home, site = points(*homes), points(*sites)
    tables = [np.asarray(each.array) for each in (home, home[:0], site)]
    searches = Searches(
        facilities=gpd.GeoDataFrame(geometry=site),
        outside=np.zeros(len(sites), dtype=bool),
        roads=roads,
        modes=modes,
        xy=Places(*(np.array([(p.x, p.y) for p in each]).reshape(-1, 2) for each in tables)),
        joins={
            name: Joins(*(snap(each, roads, mode) for each in tables))
            for name, mode in modes.items()
        },
        options={"leg_detour": 1.3, "engine": "scipy", "direction": direction},
    )
    return TravelTimes(gpd.GeoDataFrame(geometry=home), None, searches, {}, {})


@settings(max_examples=50, deadline=None)
@given(tagged_towns(), travel_modes(), DIRECTIONS, st.sampled_from([6.0, 18.0, np.inf]), st.data())
def test_agreed_trips_against_brute_force(town, mode, direction, limit, data):
    roads, homes, sites = town
    sites = [*sites, homes[0], sites[0]]
    minutes = brute_force(roads, mode, homes, sites, direction)
    assume((abs(minutes[np.isfinite(minutes)] - limit) > 1e-6).all())
    pair = st.tuples(st.integers(0, len(sites) - 1), st.integers(0, len(homes) - 1))
    facility, home = np.array(data.draw(st.lists(pair, min_size=1, max_size=9))).T
    access = times_of(roads, homes, sites, {"by": mode})
    way = Way("by", direction=direction)
    found = agreed_minutes(access, facility, home, way, limit_minutes=limit)
    expected = minutes[home, facility]
    near = expected <= min(limit, 1e9)
    np.testing.assert_allclose(found[near], expected[near], atol=1e-6)
    assert not (found[~near] < np.inf).any()
    # Unknown where no road leads there, far where one does.
    joins = access.searches.joins["by"]
    led = joins.sites.component[facility] == joins.homes.component[home]
    led &= joins.sites.edge[facility] >= 0
    np.testing.assert_array_equal(np.isnan(found), ~near & ~led)


def test_agreed_trips_as_the_crow_flies():
    places = [(0, 0), (300, 400), (3000, 0)]
    access = times_of(network(ROADS, NODES), [(0, 0)], places, {"walk": fc.MODES["walk"]})
    access.searches.xy.sites[2] = np.nan
    ask = np.array([0, 1, 2])
    way = Way("walk", "straight")
    found = agreed_minutes(access, ask, np.zeros(3, dtype=int), way, limit_minutes=9.0)
    np.testing.assert_allclose(found, [0.0, 7.5, np.nan])  # 500 m at 4 km/h
    found = agreed_minutes(access, ask, np.zeros(3, dtype=int), way, limit_minutes=7.0)
    np.testing.assert_allclose(found, [0.0, np.inf, np.nan])


def test_agreed_trips_of_the_sample_against_routes(access, roads, plan):
    rng = np.random.default_rng(5)
    homes = rng.integers(0, len(access.demand), 12)
    places = np.flatnonzero(access.facilities.geometry.notna().to_numpy())
    hosts = rng.choice(places, 12)
    hosts[6:] = hosts[:6]  # the same host for two homes
    for mode in ("walk", "motor"):
        found = agreed_minutes(access, hosts, homes, Way(mode), limit_minutes=np.inf)
        for minutes, host, home in zip(found, hosts, homes, strict=True):
            trip = fc.route(
                access.demand.geometry.iloc[[home]],
                access.facilities.geometry.iloc[[host]],
                roads,
                mode=replace(plan.modes[mode]),
            )
            assert minutes == pytest.approx(trip.minutes, abs=1e-6, nan_ok=True)
    nothing = np.empty(0, dtype=np.int64)
    assert agreed_minutes(access, nothing, nothing, Way("walk"), limit_minutes=9).size == 0
