"""Planned roads: worked by hand, and what always holds."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import facility_coverage as fc

from .towns import CRS, network, points, towns

# Two streets of a kilometre, 200 m apart; four corners.
NODES = [(0, 0), (1000, 0), (0, 200), (1000, 200)]
STREETS = [(0, 1, False, "residential"), (2, 3, False, "residential")]


def links(*lines, **columns):
    return gpd.GeoDataFrame(columns, geometry=[shapely.LineString(each) for each in lines], crs=CRS)


def minutes(roads, home, site):
    found = fc.nearest_facility(points(home), points(site), roads, leg_limit_m=1.0)
    return found["minutes"].iloc[0]


def test_a_gap_closed_by_a_bridge():
    roads = network(STREETS, NODES)
    assert np.isnan(minutes(roads, (100, 0), (400, 200)))
    # The bridge ends ten metres short of the second street, and is drawn on to it.
    linked = fc.link_roads(roads, links([(500, 0), (500, 190)], name=["new bridge"]))
    assert len(linked) == 5
    assert linked.edges["link"].dropna().tolist() == ["0"]
    # 400 m along the first street, 200 m over the bridge, 100 m back: at 4 km/h 10.5 minutes.
    assert minutes(linked, (100, 0), (400, 200)) == pytest.approx(10.5, rel=5e-3)
    assert minutes(linked, (100, 0), (900, 0)) == pytest.approx(12.0)
    assert len(roads) == 2


def test_one_street_is_cut_in_three_places():
    roads = network(STREETS, NODES)
    three = links(*([(x, 0), (x, 200)] for x in (700, 200, 500)))
    linked = fc.link_roads(roads, three)
    assert len(linked) == 2 * 4 + 3
    streets = linked.edges[linked.edges["link"].isna()]
    assert streets["length_m"].sum() == pytest.approx(roads.edges["length_m"].sum())
    assert sorted(streets["length_m"].round(6)) == [200, 200, 200, 200, 300, 300, 300, 300]
    assert minutes(linked, (0, 0), (0, 200)) == pytest.approx(9.0, rel=5e-3)  # by way of 200


def test_links_join_at_nodes_and_make_chains_but_not_where_they_cross():
    roads = network(STREETS, NODES)
    corner = fc.link_roads(roads, links([(0, 0), (0, 200)]))
    assert (len(corner), len(corner.nodes)) == (3, 4)
    chain = fc.link_roads(roads, links([(500, 0), (500, 100)], [(500, 100), (500, 200)]))
    assert minutes(chain, (500, 0), (500, 200)) == pytest.approx(3.0, rel=5e-3)
    over = fc.link_roads(
        network([*STREETS, (4, 5, False, "residential")], [*NODES, (300, 100), (700, 100)]),
        links([(500, 0), (500, 200)]),
    )
    assert np.isnan(minutes(over, (350, 100), (500, 0)))


def test_what_the_link_says_counts():
    roads = network(STREETS, NODES)
    one_way = fc.link_roads(
        roads, links([(500, 0), (500, 200)], oneway=[True], highway=["primary"])
    )
    there, back = (
        fc.nearest_facility(points(a), points(b), one_way, mode="motor")["reason"].iloc[0]
        for a, b in (((500, 0), (500, 200)), ((500, 200), (500, 0)))
    )
    assert (there, back) == ("", "one_way")
    assert one_way.edges["highway"].tolist()[-1] == "primary"


def test_links_that_lead_nowhere_are_refused_all_at_once():
    roads = network(STREETS, NODES)
    with pytest.raises(fc.InputError, match="2 of 3 links cannot be added") as told:
        fc.link_roads(
            roads,
            links([(500, 0), (500, 100)], [(500, 0), (500, 200)], [(0, 900), (0, 990)]),
        )
    assert [each.row for each in told.value.findings] == [1, 3]
    with pytest.raises(fc.InputError, match="a link is a line"):
        fc.link_roads(roads, gpd.GeoSeries([shapely.Point(0, 0)], crs=CRS))
    with pytest.raises(fc.InputError, match="have no CRS"):
        fc.link_roads(roads, gpd.GeoSeries([shapely.LineString([(0, 0), (0, 200)])]))
    assert fc.link_roads(roads, links()) is roads


@settings(max_examples=40, deadline=None)
@given(towns(), st.integers(0, 8), st.integers(0, 8))
def test_a_link_shortens_trips_or_leaves_them(town, one, other):
    roads, homes, sites = town
    used = np.unique(roads.edges[["u", "v"]])
    nodes = roads.nodes[["x", "y"]].to_numpy()[used]
    a, b = nodes[one % len(nodes)], nodes[other % len(nodes)]
    if np.hypot(*(a - b)) < 1:
        return
    linked = fc.link_roads(roads, links([tuple(a), tuple(b)]), tolerance_m=1.0)
    ways = [
        [
            fc.join_points(points(*each), every)["edge"].astype(str).tolist()
            for each in (homes, sites)
        ]
        for every in (roads, linked)
    ]
    if ways[0] != ways[1]:  # a point that is nearer to the link joins that
        return
    before, after = (
        fc.nearest_facility(points(*homes), points(*sites), every)["minutes"].fillna(np.inf)
        for every in (roads, linked)
    )
    assert (after <= before + 1e-6).all()


def test_links_are_suggested_to_islands_and_between_dead_ends():
    plan = fc.load_plan("circle-15")
    walk = plan.modes["walk"]
    # A long street, a short one 200 m from it, and a street round to a dead end facing its start.
    nodes = [(0, 0), (3000, 0), (1000, 200), (1400, 260), (3000, 900), (100, 900), (100, 100)]
    streets = [
        (0, 1, False, "residential"),
        (2, 3, False, "residential"),
        (1, 4, False, "residential"),
        (4, 5, False, "residential"),
        (5, 6, False, "residential"),
    ]
    roads = network(streets, nodes)
    links = fc.suggest_links(roads, walk)
    assert links["reason"].tolist() == ["island", "dead_ends"]
    assert links["length_m"].tolist() == pytest.approx([200, np.hypot(100, 100)])
    assert np.isnan(links["way_round_m"][0])
    assert links["way_round_m"][1] == pytest.approx(3000 + 900 + 2900 + 800, rel=1e-3)
    joined = fc.link_roads(roads, links)
    assert minutes(joined, (1400, 260), (0, 0)) < np.inf
    assert fc.suggest_links(joined, walk).empty
    assert fc.suggest_links(roads, walk, max_length_m=150)["reason"].tolist() == ["dead_ends"]
    assert fc.suggest_links(roads, walk, detour=60)["reason"].tolist() == ["island"]
    with pytest.raises(fc.InputError, match="max_length_m= must be a number above 0"):
        fc.suggest_links(roads, walk, max_length_m=0)
