"""What is reached, and by which way: against an oracle, and hand-worked on five nodes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import geopandas as gpd
import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.errors import InputError
from facility_coverage.linework import substrings

from .split_graph import join, trip_minutes
from .towns import CRS, NODES, ROADS, network, points, tagged_towns, towns, travel_modes

DIRECTIONS = st.sampled_from(["to_facility", "from_facility"])
FRACTIONS = (0.0, 0.137, 0.318, 0.5, 0.731, 0.869, 1.0)
WALK = fc.MODES["walk"]


def parts_of(reached, facility):
    """Give {edge: [(start, end), …]} of one facility, sorted."""
    result = {}
    mine = reached.parts[reached.parts["facility"] == facility]
    for edge, start, end in mine.sort_values(["edge", "start"])[["edge", "start", "end"]].values:
        result.setdefault(int(edge), []).append((start, end))
    return result


# --- reach ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tagged_towns(), travel_modes(), DIRECTIONS, st.sampled_from([3.1, 9.7, 31.3]))
def test_a_place_is_reached_where_the_trip_takes_no_longer(town, mode, direction, limit):
    roads, _, sites = town
    reached = fc.reach(points(*sites), roads, minutes=limit, mode=mode, direction=direction)
    doors = join(points(*sites), roads, mode)
    places = [(edge, at, 0.0) for edge in range(len(roads)) for at in FRACTIONS]
    if direction == "to_facility":
        minutes = trip_minutes(roads, mode, places, doors).T
    else:
        minutes = trip_minutes(roads, mode, doors, places)
    for site, row in enumerate(minutes):
        parts = parts_of(reached, site)
        for (edge, at, _), value in zip(places, row, strict=True):
            # A node is reached by other edges too: inside an edge its own part must say so.
            if not 0 < at < 1:
                continue
            slack = min((max(a - at, at - b) for a, b in parts.get(edge, [])), default=1.0)
            if value < limit - 1e-6:
                assert slack <= 1e-6 or roads.edges["length_m"][edge] == 0
            elif value > limit + 1e-6:
                assert slack >= -1e-6
        for edge, spans in parts.items():
            assert all(0 <= a < b <= 1 for a, b in spans)
            # Parts of an edge are apart: nothing is counted twice.
            assert all(one[1] < two[0] for one, two in pairwise(spans))
            # Each cut lies exactly where the trip takes the limit.
            cuts = [(edge, at, 0.0) for span in spans for at in span if 0 < at < 1]
            one_door = [doors[site]]
            times = (
                trip_minutes(roads, mode, cuts, one_door)
                if direction == "to_facility"
                else trip_minutes(roads, mode, one_door, cuts)
            ).ravel()
            # Or at a facility on a one-way street, which is not reached from beyond it.
            at_door = [abs(at - doors[site][1]) < 1e-9 for _, at, _ in cuts]
            assert all(
                abs(value - limit) < 1e-6 or (ok and edge == doors[site][0])
                for value, ok in zip(times, at_door, strict=True)
            )


@settings(max_examples=60, deadline=None)
@given(tagged_towns(), travel_modes(), DIRECTIONS)
def test_a_longer_limit_never_shrinks_what_is_reached(town, mode, direction):
    roads, _, sites = town
    short, long = (
        fc.reach(points(*sites), roads, minutes=minutes, mode=mode, direction=direction)
        for minutes in (4, 11)
    )
    for site in range(len(sites)):
        wide = parts_of(long, site)
        for edge, spans in parts_of(short, site).items():
            for a, b in spans:
                assert any(c <= a + 1e-9 and b <= d + 1e-9 for c, d in wide[edge])
    assert set(zip(short.node_facility, short.node, strict=True)) <= set(
        zip(long.node_facility, long.node, strict=True)
    )


# Facilities on the five nodes' roads: at 1,200 m on the one-way street, and at 500 m.
@pytest.mark.parametrize(
    ("site", "mode", "direction", "minutes", "expected"),
    [
        # On foot 15 min a km, 9 min are 600 m: back to node 1 (200 m) and on both ways 400 m.
        ((1200, 0), "walk", "to_facility", 9, {0: (0.6, 1), 1: (0, 0.8), 2: (0, 2 / 3)}),
        # By bicycle 5 min a km, 4 min are 800 m, against the one-way's way: 200 m to node 1, then
        # 600 m of each street there, and all of the 600 m to node 3.
        ((1200, 0), "bicycle", "to_facility", 4, {0: (0.4, 1), 1: (0, 0.2), 2: (0, 1)}),
        # Away from it, with the one-way: 800 m to its end, no more.
        ((1200, 0), "bicycle", "from_facility", 4, {1: (0.2, 1)}),
        # … and 300 m round the corner with 5.5 min (1,100 m).
        ((1200, 0), "bicycle", "from_facility", 5.5, {1: (0.2, 1), 4: (0, 0.5)}),
        # A leg of 100 m is 1.95 min; the rest of 9.45 min is 500 m, which is just an edge's end.
        ((500, 100), "walk", "to_facility", 9.45, {0: (0, 1)}),
        # The leg alone is longer than the limit.
        ((500, 100), "walk", "to_facility", 1.9, {}),
        # No road within 500 m.
        ((500, 900), "walk", "to_facility", 60, {}),
    ],
)
def test_hand_worked_reach(site, mode, direction, minutes, expected):
    roads = network(ROADS, NODES)
    reached = fc.reach(points(site), roads, minutes=minutes, mode=mode, direction=direction)
    found = parts_of(reached, 0)
    assert sorted(found) == sorted(expected)
    for edge, span in expected.items():
        assert found[edge] == [pytest.approx(span, abs=1e-9)]
    metres = sum((end - start) * roads.edges["length_m"][e] for e, (start, end) in expected.items())
    assert reached.parts["length_m"].sum() == pytest.approx(metres)
    assert reached.parts.length.sum() == pytest.approx(metres)
    assert reached.parts.crs == roads.crs


def test_two_parts_of_one_street_are_reached_from_its_two_ends():
    # A ring of 2,600 m with the facility at its bottom: 1,200 m each way leave 200 m at the top.
    ring = [(0, 0), (600, 0), (600, 700), (0, 700)]
    rows = [(0, 1, False, "path"), (1, 2, False, "path"), (2, 3, False, "path"),
            (3, 0, False, "path")]  # fmt: skip
    reached = fc.reach(points((300, 0)), network(rows, ring), minutes=18)
    assert parts_of(reached, 0) == {
        0: [(0, 1)],
        1: [(0, 1)],
        2: [pytest.approx((0, 1 / 3)), pytest.approx((2 / 3, 1))],
        3: [(0, 1)],
    }
    top = reached.parts[reached.parts["edge"] == 2].geometry
    assert sorted(top.bounds.round(6).values.tolist()) == [
        [0, 700, 200, 700],
        [400, 700, 600, 700],
    ]


def test_reach_gives_the_nodes_of_ego_graph():
    roads = network(ROADS, NODES)
    site = points((1000, 0))
    for mode, direction in (("walk", "to_facility"), ("motor", "to_facility"),
                            ("motor", "from_facility")):  # fmt: skip
        graph = roads.graph.copy()
        kph = fc.MODES[mode].speed_kph
        for *_, data in graph.edges(data=True):
            data["minutes"] = data["length"] / 1000 / kph * 60
        if mode == "walk":  # one-way streets do not bind walkers
            graph = graph.to_undirected()
        elif direction == "to_facility":
            graph = graph.reverse()
        for minutes in (3, 5.4, 8.7, 16.2):
            mine = fc.reach(site, roads, minutes=minutes, mode=mode, direction=direction)
            theirs = nx.ego_graph(graph, 1, radius=minutes, distance="minutes")
            assert set(mine.graph) == set(theirs)
            assert isinstance(mine.graph, nx.MultiDiGraph)
            lengths = nx.single_source_dijkstra_path_length(graph, 1, weight="minutes")
            for node, value in mine.graph.nodes(data="minutes"):
                assert value == pytest.approx(lengths[node], abs=1e-9)
    assert "minutes" not in roads.graph.nodes[0]  # the network's own graph is not written to


def test_a_networkx_graph_goes_straight_in():
    roads = network(ROADS, NODES)
    site = points((1200, 0))
    mine = fc.reach(site, roads, minutes=9)
    again = fc.reach(site, roads.graph, minutes=9)
    assert again.parts["length_m"].sum() == pytest.approx(mine.parts["length_m"].sum(), rel=1e-3)
    trip = fc.route(site, points((0, 0)), roads.graph)
    assert trip.minutes == pytest.approx(18.0, rel=1e-3)


def test_many_facilities_at_once_are_each_reached_as_alone(helsinki_pbf):
    roads = fc.read_roads(helsinki_pbf)
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    xy = np.random.default_rng(5).uniform((low_x, low_y), (high_x, high_y), size=(40, 2))
    sites = gpd.GeoSeries.from_xy(*xy.T, crs=roads.crs)
    sites.index = [f"site {i}" for i in range(40)]
    together = fc.reach(sites, roads, minutes=6)
    assert together.parts["facility"].nunique() > 30
    order = {name: place for place, name in enumerate(sites.index)}
    assert together.parts["facility"].map(order).is_monotonic_increasing
    assert (np.diff(together.node_facility) >= 0).all()
    for place, name in enumerate(sites.index):
        alone = fc.reach(sites[[name]], roads, minutes=6)
        assert parts_of(alone, name) == parts_of(together, name)
        mine = together.node_facility == place
        found = dict(zip(together.node[mine], together.node_minutes[mine], strict=True))
        assert found == dict(zip(alone.node, alone.node_minutes, strict=True))


def test_reach_of_none_is_empty():
    roads = network(ROADS, NODES)
    for sites in (points(), points((0, 9000))):
        reached = fc.reach(sites, roads, minutes=5)
        assert len(reached.parts) == 0
        assert reached.parts.crs == roads.crs
        assert len(reached.graph) == 0
        assert "0 edges" in repr(reached)
        assert "<p>" in reached._repr_html_()


# --- routes --------------------------------------------------------------------------------


def check_route(trip, origin, destination, roads):
    """Check that a route's legs add up and join end to end, from door to door."""
    legs = trip.legs
    assert legs["minutes"].sum() == pytest.approx(trip.minutes, abs=1e-9)
    on_road = legs[legs["part"] == "road"]
    assert on_road["length_m"].sum() == pytest.approx(trip.road_m, abs=1e-9)
    assert legs["part"].tolist() == ["leg", *["road"] * len(on_road), "leg"]
    walked = legs.loc[legs["part"] == "leg", "length_m"]
    assert walked.sum() == pytest.approx(trip.leg_m, abs=1e-9)
    np.testing.assert_allclose(legs.length, legs["length_m"], atol=1e-6)
    xy = [shapely.get_coordinates(one) for one in legs.geometry]
    for one, two in pairwise(xy):
        np.testing.assert_allclose(one[-1], two[0], atol=1e-6)
    ends = shapely.get_coordinates(trip.geometry)[[0, -1]]
    np.testing.assert_allclose(
        ends, [shapely.get_coordinates(p.iloc[0])[0] for p in (origin, destination)], atol=1e-6
    )
    assert trip.geometry.length == pytest.approx(trip.road_m + trip.leg_m, abs=1e-6)
    assert on_road["highway"].tolist() == roads.edges["highway"].loc[on_road["edge"]].tolist()


AT_A_JUNCTION = (network([*ROADS, (1, 1, False, "path", [(1000, 70), (1050, 70)])], NODES),
                 [NODES[1], NODES[0]], [NODES[1], NODES[3]])  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.one_of(towns(), tagged_towns()), travel_modes())
@example(AT_A_JUNCTION, replace(fc.MODES["walk"], junction_delay_s=30))
@example(AT_A_JUNCTION, replace(fc.MODES["motor"], junction_delay_s=30))
def test_a_route_adds_up_to_the_minutes_of_the_search(town, mode):
    roads, homes, sites = town
    for home in homes[:2] + homes[-1:]:
        for site in sites[:1] + sites[-1:]:
            origin, destination = points(home), points(site)
            trip = fc.route(origin, destination, roads, mode=mode)
            told = fc.nearest_facility(origin, destination, roads, mode=mode).iloc[0]
            assert trip.reason == told["reason"]
            if trip.reason:
                assert np.isnan([trip.minutes, trip.road_m, trip.leg_m]).all()
                assert trip.geometry is None
                assert len(trip.legs) == 0
                assert trip.reason in repr(trip)
            else:
                assert trip.minutes == told["minutes"]
                check_route(trip, origin, destination, roads)


@pytest.mark.parametrize(
    ("origin", "destination", "mode", "minutes", "edges", "metres"),
    [
        # Along two streets; 15 min a km.
        ((500, 0), (1500, 0), "walk", 15.0, [0, 1], [500, 500]),
        # Against a one-way street, which does not bind walkers.
        ((1900, 0), (1100, 0), "walk", 12.0, [1], [800]),
        # By bicycle it does: round the block, back into the same street. 5 min a km.
        ((1700, 0), (1200, 0), "bicycle", 13.5, [1, 4, 3, 2, 1], [300, 600, 1000, 600, 200]),
        # With the traffic, 500 m of it.
        ((1200, 0), (1700, 0), "bicycle", 2.5, [1], [500]),
        # With legs of 100 and 50 m at 4 km/h and a detour of 1.3: 1.95 and 0.975 min.
        ((500, 100), (1500, 50), "walk", 17.925, [0, 1], [500, 500]),
        # From a corner to a corner.
        ((0, 0), (1000, -600), "walk", 24.0, [0, 2], [1000, 600]),
    ],
)
def test_hand_worked_routes(origin, destination, mode, minutes, edges, metres):
    roads = network(ROADS, NODES)
    trip = fc.route(points(origin), points(destination), roads, mode=mode)
    assert trip.minutes == pytest.approx(minutes)
    on_road = trip.legs[trip.legs["part"] == "road"]
    assert on_road["edge"].tolist() == edges
    assert on_road["length_m"].tolist() == pytest.approx(metres)
    check_route(trip, points(origin), points(destination), roads)


def test_a_trip_to_the_same_door():
    roads = network(ROADS, NODES)
    for spot in ((700, 0), (0, 0), (1000, 0)):
        trip = fc.route(points(spot), points(spot), roads)
        assert (trip.minutes, trip.road_m, trip.leg_m) == (0, 0, 0)
        assert trip.geometry.length == 0
        assert trip.legs["part"].tolist() == ["leg", "leg"]
    away = fc.route(points((700, 40)), points((700, 40)), roads)
    # One goes to the road and back, as anyone does who goes to a facility.
    assert away.minutes == pytest.approx(2 * 40 * 1.3 / (4000 / 60))
    check_route(away, points((700, 40)), points((700, 40)), roads)


def test_of_parallel_streets_the_route_takes_the_fastest():
    nodes = [(0, 0), (1000, 0), (1000, 0)]
    rows = [
        (0, 1, False, "residential", [(500, 800)]),
        (1, 0, False, "residential", [(500, 10)]),
        (0, 1, False, "footway"),
        (1, 2, False, "residential"),  # of no length
        (1, 1, False, "residential", [(1000, 60), (1060, 0)]),  # a loop
    ]
    roads = network(rows, nodes, name=["north", "middle", "south", "nothing", "loop"])
    # The ends lie on other streets: beyond a loop's far side, and on the edge of no length.
    for mode, way in (("walk", "south"), ("motor", "middle")):
        trip = fc.route(points((0, 0)), points((1060, 0)), roads, mode=mode)
        assert way in trip.legs["name"].tolist()
        check_route(trip, points((0, 0)), points((1060, 0)), roads)
    assert trip.legs["name"].dropna().tolist() == ["middle", "loop"]


def test_points_in_degrees_give_lines_in_degrees():
    roads = network(ROADS, NODES)
    ends = points((500, 100), (1500, 50)).to_crs("EPSG:4326")
    trip = fc.route(ends[:1], ends[1:], roads)
    assert trip.minutes == pytest.approx(17.925, abs=1e-6)
    assert trip.legs.crs == ends.crs
    ends_xy = shapely.get_coordinates(trip.geometry)[[0, -1]]
    np.testing.assert_allclose(ends_xy, shapely.get_coordinates(ends.array), atol=1e-9)
    again = gpd.GeoSeries([trip.geometry], crs=ends.crs).to_crs(CRS)
    assert again.length.iloc[0] == pytest.approx(1150, abs=1e-3)


@pytest.mark.parametrize(
    ("destination", "mode", "reason"),
    [((500, 900), "walk", "off_network"), ((5100, -3000), "walk", "island"),
     ((9000, 0), "bicycle", "one_way")],
)  # fmt: skip
def test_no_way_says_why(destination, mode, reason):
    nodes = [*NODES, (5000, -3000), (5200, -3000), (9000, 0)]
    rows = [*ROADS, (5, 6, False, "residential"), (7, 2, True, "residential")]
    trip = fc.route(points((100, 0)), points(destination), network(rows, nodes), mode=mode)
    assert trip.reason == reason
    assert np.isnan(trip.minutes)
    assert trip["reason"] == reason
    with pytest.raises(KeyError):
        trip["price"]


def test_a_route_is_between_two_points():
    roads = network(ROADS, NODES)
    with pytest.raises(InputError, match="destination must be one point, not 2"):
        fc.route(points((0, 0)), points((0, 0), (1, 1)), roads)
    areas = points((0, 0)).buffer(5)
    with pytest.raises(InputError, match=r"Polygon at index 0; take \.representative_point"):
        fc.route(areas, points((0, 0)), roads)
    with pytest.raises(InputError, match="no CRS"):
        fc.reach(gpd.GeoSeries([shapely.Point(0, 0)]), roads, minutes=5)


# --- cutting lines -------------------------------------------------------------------------


def test_parts_of_lines_are_those_shapely_cuts():
    rng = np.random.default_rng(3)
    lines, low, high = [], [], []
    for _ in range(400):
        xy = rng.integers(0, 6, size=(rng.integers(2, 8), 2)).astype(float)
        line = shapely.LineString(xy)
        if line.length == 0:
            continue
        a, b = sorted(rng.choice([0.0, 1.0, *rng.random(4)], size=2))
        lines.append(line)
        low.append(a)
        high.append(b)
    cut = substrings(np.array(lines, dtype=object), np.array(low), np.array(high))
    for line, a, b, mine in zip(lines, low, high, cut, strict=True):
        theirs = shapely.ops.substring(line, a, b, normalized=True)
        assert mine.length == pytest.approx((b - a) * line.length, abs=1e-9)
        assert mine.hausdorff_distance(theirs) < 1e-9
        np.testing.assert_allclose(
            shapely.get_coordinates(mine)[[0, -1]],
            shapely.get_coordinates(theirs)[[0, -1]],
            atol=1e-9,
        )


def test_lines_that_are_not_cut_stay_as_they_are():
    lines = np.array([shapely.LineString([(0, 0), (3, 0), (3, 3)]), shapely.LineString()])
    assert (substrings(lines, np.zeros(2), np.ones(2)) == lines).all()
    none = substrings(np.empty(0, dtype=object), np.empty(0), np.empty(0))
    assert len(none) == 0
