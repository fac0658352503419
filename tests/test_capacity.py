"""Loads and supply per person: worked by hand, recomputed apart, and against PySAL's access."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from access import Access, weights
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.capacity import facility_loads, two_step_floating_catchment
from facility_coverage.standards import Alternative, Standard

from .split_graph import join, prices, trip_minutes
from .towns import CRS, network, points, towns

CODES = ["130824100201", "130824100202", "130824100203"]
NUMBERS = [
    "floor_area_m2",
    "households_reached",
    "people_reached",
    "m2_per_100_households_reached",
    "households_on_ledger",
    "units_on_ledger",
    "m2_per_100_households",
    "due_m2",
]
NAN = np.nan


# --- three villages on one road, 2 km each --------------------------------------------------------


@pytest.fixture(scope="module")
def road():
    nodes = [(x * 1000, 0) for x in range(7)]
    return network([(n, n + 1, False, "residential") for n in range(6)], nodes)


@pytest.fixture(scope="module")
def villages():
    """Two facilities: A of the first village, shared by the second; B of the third."""
    units = gpd.GeoDataFrame(
        {
            "unit_code": CODES,
            "name": ["甲村", "乙村", "丙村"],
            "unit_kind": "village",
            "residents": [600, 500, 240],
            "households": [200, 250, 100],
        },
        geometry=[shapely.box(n * 2000, -1000, n * 2000 + 2000, 1000) for n in range(3)],
        crs=CRS,
    )
    units = fc.read_units(units)
    homes = gpd.GeoDataFrame(
        {
            "unit_code": [CODES[n] for n in (0, 0, 1, 1, 2)],
            "residents": [450.0, 150.0, 300.0, 200.0, 240.0],
        },
        geometry=points((500, 0), (1500, 0), (2500, 0), (3900, 0), (5000, 0)).array,
        crs=CRS,
    )
    facilities = gpd.GeoDataFrame(
        {
            "facility_id": ["A", "B", "C"],
            "name": ["甲站", "丙站", "乙站"],
            "kind": "comprehensive_service",
            "unit_code": [CODES[0], CODES[2], CODES[1]],
            "floor_area_m2": [120.0, 200.0, NAN],
            "hours_per_day": [8.0, 8.0, NAN],
            "status": ["在用", "在用", "共享"],
            "served_by": [None, None, "A"],
        },
        geometry=[shapely.Point(500, 0), shapely.Point(5000, 0), None],
        crs=CRS,
    )
    return units, fc.read_facilities(facilities), fc.read_demand(homes, units)


def walking(setting="rural", **changes):
    """Give a standard: 20 minutes on foot."""
    kind = changes.pop("kind", "comprehensive_service")
    return Standard(kind, setting, (Alternative("walk", 20.0),), on_ledger=True, **changes)


def loads(tables, road, *standards, kind=None):
    units, facilities, demand = tables
    standards = standards or (walking(),)
    plan = replace(
        fc.load_plan("luanping-2025"), standards=standards, indicators=(), promises=(), groups=()
    )
    access = fc.travel_times(units, facilities, road, plan, demand=demand)
    return facility_loads(fc.assess(units, facilities, access, plan), kind=kind)


def changed(tables, where, *values):
    """Change cells of the tables: ``(row, column, value)`` of the table at `where`."""
    tables = [table.copy() for table in tables]
    for row, column, value in values:
        tables[where].loc[row, column] = value
    return tables


def test_the_hand_worked_villages(villages, road):
    # At 4 km/h 20 min are 1333 m: A is reached from 500 and 1500 m, B from 3900 and 5000 m. Of the
    # first village's 200 households three quarters live at 500 m, of the second's 250 two fifths at
    # 3900 m. On the ledger A is the first's and the second's, B the third's; due are 0.3 m² each.
    expected = pd.DataFrame(
        [
            ["A", 120.0, 200.0, 600.0, 60.0, 450.0, 2, 120 / 4.5, 135.0],
            ["B", 200.0, 200.0, 440.0, 100.0, 100.0, 1, 200.0, 30.0],
        ],
        columns=["facility_id", *NUMBERS],
    )
    found = loads(villages, road)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    assert found["over_capacity"].tolist() == [True, False]
    assert found["over_capacity"].dtype == "boolean"
    assert found["unit_code"].tolist() == [CODES[0], CODES[2]]
    assert found["name"].tolist() == ["甲站", "丙站"]


def test_due_is_by_the_standard_of_each_unit(villages, road):
    tables = changed(villages, 0, (2, "setting", "urban"))
    tables = changed(tables, 1, (2, "served_by", "B"))
    rules = walking(capacity_m2_per_100_households=40.0), walking("urban")
    both = loads(tables, road, *rules)
    # Of the rural 250 households 100 m², of the urban 100 the plan's 30 m² for every 100.
    assert both["due_m2"].tolist() == pytest.approx([80.0, 130.0])
    of_kind = changed(tables, 1, *((row, "kind", "clinic") for row in range(3)))
    clinic = loads(of_kind, road, *(replace(rule, kind="clinic") for rule in rules))
    assert clinic["due_m2"].tolist() == pytest.approx([80.0, 100.0])  # no promise of clinics
    alone = loads(of_kind, road, walking("rural", kind="clinic"))
    assert alone["due_m2"].isna().all()
    assert alone["over_capacity"].isna().all()


def test_a_building_is_over_capacity_only_beyond_its_area(villages, road):
    exact = changed(villages, 1, (0, "floor_area_m2", 135.0))
    assert loads(exact, road)["over_capacity"].tolist() == [False, False]
    short = changed(villages, 1, (0, "floor_area_m2", 134.9))
    assert loads(short, road)["over_capacity"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("table", "cells", "row", "missing", "over"),
    [
        # nobody has counted the second village's households
        (
            0,
            [(1, "households", pd.NA)],
            0,
            {"households_on_ledger", "m2_per_100_households", "due_m2"},
            pd.NA,
        ),
        (
            0,
            [(1, "households", pd.NA)],
            1,
            {"households_reached", "m2_per_100_households_reached"},
            False,
        ),
        # nobody has measured A
        (
            1,
            [(0, "floor_area_m2", NAN)],
            0,
            {"floor_area_m2", "m2_per_100_households", "m2_per_100_households_reached"},
            pd.NA,
        ),
        # A is somewhere: who reaches it nobody can tell, but whose it is
        (
            1,
            [(0, "geometry", None)],
            0,
            {"households_reached", "people_reached", "m2_per_100_households_reached"},
            True,
        ),
        # A is 2 km from any road
        (
            1,
            [(0, "geometry", shapely.Point(500, 2000))],
            0,
            {"households_reached", "people_reached", "m2_per_100_households_reached"},
            True,
        ),
        # A may be closed
        (
            1,
            [(0, "status", "unknown")],
            0,
            {"households_reached", "people_reached", "m2_per_100_households_reached"},
            pd.NA,
        ),
        # B is kept by somebody else, who has households of his own
        (
            1,
            [(1, "unit_code", "130824999999")],
            1,
            {"households_on_ledger", "m2_per_100_households", "due_m2"},
            pd.NA,
        ),
        # nobody has counted who lives where in the first village
        (
            2,
            [(1, "residents", NAN)],
            0,
            {"households_reached", "people_reached", "m2_per_100_households_reached"},
            True,
        ),
    ],
)
def test_what_is_not_known_is_missing_never_0(villages, road, table, cells, row, missing, over):
    found = loads(changed(villages, table, *cells), road).iloc[row]
    assert {name for name in NUMBERS if pd.isna(found[name])} == missing
    assert found["over_capacity"] is over or found["over_capacity"] == over


def test_one_that_does_not_qualify_reaches_nobody(villages, road):
    rule = walking(min_floor_area_m2=150.0)
    small = loads(villages, road, rule).iloc[0]
    assert small["households_reached"] == small["people_reached"] == 0
    assert np.isnan(small["m2_per_100_households_reached"])
    assert small["over_capacity"]
    unmeasured = loads(changed(villages, 1, (0, "floor_area_m2", NAN)), road, rule).iloc[0]
    assert np.isnan(unmeasured["households_reached"])


def test_closed_buildings_bear_no_load(villages, road):
    closed = changed(villages, 1, (0, "status", "closed"))
    assert loads(closed, road)["facility_id"].tolist() == ["B"]
    planned = changed(villages, 1, (1, "status", "planned"))
    assert loads(planned, road)["facility_id"].tolist() == ["A"]


def test_an_agreement_counts_once_and_only_with_somebody_we_know(villages, road):
    units, facilities, demand = villages
    twice = pd.concat([facilities, facilities.iloc[[2]].assign(facility_id="D")], ignore_index=True)
    pd.testing.assert_frame_equal(
        loads((units, twice, demand), road), loads(villages, road), check_dtype=False
    )
    nobody = loads(changed(villages, 1, (2, "served_by", "Z")), road)
    assert nobody["units_on_ledger"].tolist() == [1, 1]
    stranger = loads(changed(villages, 1, (2, "unit_code", "130824999999")), road)
    assert stranger["units_on_ledger"].tolist() == [1, 1]


def test_a_clinic_in_the_service_station(villages, road):
    """The second village's clinic is in A, which is no clinic of the first."""
    tables = changed(villages, 1, (2, "kind", "clinic"))
    found = loads(tables, road, walking(), walking(kind="clinic"))
    assert found[["kind", "facility_id"]].to_numpy().tolist() == [
        ["comprehensive_service", "A"],
        ["comprehensive_service", "B"],
        ["clinic", "A"],
    ]
    assert found["households_on_ledger"].tolist() == [200, 100, 250]
    assert found["units_on_ledger"].tolist() == [1, 1, 1]


def test_a_host_kept_beyond_the_county(villages, road):
    """Its own households are not known; whom its keeper sends to it for a clinic, are."""
    tables = changed(villages, 1, (0, "unit_code", "130824999999"))
    host = loads(tables, road).iloc[0]
    assert host["units_on_ledger"] == 1
    assert host[["households_on_ledger", "m2_per_100_households", "due_m2"]].isna().all()
    assert pd.isna(host["over_capacity"])
    tables = changed(tables, 1, (2, "kind", "clinic"))
    clinic = loads(tables, road, walking(), walking(kind="clinic"), kind="clinic").iloc[0]
    assert clinic["households_on_ledger"] == 250


def test_a_straight_line_needs_no_road(villages, road):
    radius = replace(
        walking(), alternatives=(Alternative("walk", metres=3000.0, measure="straight"),)
    )
    far = changed(villages, 1, (0, "geometry", shapely.Point(500, 2000)))
    # 2000 and 2236 m from the first village's hamlets, 2828 m from the second's nearer one, which
    # is 2500 m from B: that is nearer.
    assert loads(far, road, radius)["households_reached"].tolist() == [200, 350]
    lost = changed(villages, 1, (0, "geometry", None))
    found = loads(lost, road, radius)["households_reached"]
    assert found.isna().tolist() == [True, False]


def test_rows_are_sorted_whatever_the_order_of_the_ledger(villages, road):
    units, facilities, demand = villages
    backwards = facilities.iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(loads((units, backwards, demand), road), loads(villages, road))


def test_one_that_is_only_reached_has_a_row(villages, road):
    units, facilities, demand = villages
    own = facilities.copy()
    own.loc[1, "unit_code"] = pd.NA  # nobody's on the ledger, but reached
    found = loads((units, own, demand), road)
    assert found["facility_id"].tolist() == ["A", "B"]
    assert found["units_on_ledger"].tolist() == [2, 0]
    own.loc[1, "geometry"] = shapely.Point(500, 400)  # farther than A from everybody
    assert loads((units, own, demand), road)["facility_id"].tolist() == ["A"]


def test_resettlement_is_counted_by_itself_but_needs_room_for_all(villages, road):
    tables = changed(villages, 0, (1, "resettlement", True))
    rule = walking("resettlement", kind="resettled", kinds=("comprehensive_service",))
    found = loads(tables, road, walking(), rule, kind="resettled")
    # The second village shares A, and its second hamlet reaches B.
    assert found["facility_id"].tolist() == ["A", "B"]
    assert found["households_reached"].tolist() == [0, 100]
    assert found["households_on_ledger"].tolist() == [450, 100]
    assert found["due_m2"].tolist() == [135, 30]


def test_kinds_that_are_none(report, villages, road):
    with pytest.raises(fc.InputError, match="'bakery'"):
        facility_loads(report, kind="bakery")
    with pytest.raises(fc.InputError, match="circle of several kinds"):
        facility_loads(report, kind="convenience_circle")
    circle = walking(kind="circle", kinds=("comprehensive_service", "clinic"))
    empty = loads(villages, road, circle)
    assert empty.empty
    assert empty.columns.tolist() == loads(villages, road).columns.tolist()


# --- the sample, recomputed by pandas alone -------------------------------------------------------


def test_the_sample_recomputed(report, plan):
    found = facility_loads(report)
    units = report.units.drop(columns="geometry").set_index("unit_code")
    homes = report.demand_verdicts.merge(report.demand[["demand_id", "elderly"]], on="demand_id")
    whole = homes.drop_duplicates("demand_id").groupby("unit_code")["residents"].sum()
    share = homes["residents"] / homes["unit_code"].map(whole)
    homes["households"] = homes["unit_code"].map(units["households"]).astype(float) * share
    reached = (
        homes[homes["state"] == "covered"].groupby(["kind", "facility_id"]).sum(numeric_only=True)
    )
    facilities = report.facilities.drop(columns="geometry")
    area = facilities.set_index("facility_id")["floor_area_m2"]
    asked = found["kind"].unique().tolist()
    assert asked == [kind for kind in plan.kinds if kind != "convenience_circle"]
    for kind, rows in found.groupby("kind"):
        slug = "comprehensive_service" if kind == "resettlement_service" else kind
        ledger = facilities[facilities["kind"] == slug].copy()
        ledger["at"] = ledger["facility_id"].where(
            ledger["status"] != "shared", ledger["served_by"]
        )
        ledger = ledger.dropna(subset="unit_code").drop_duplicates(["at", "unit_code"])
        ledger["households"] = ledger["unit_code"].map(units["households"]).astype(float)
        standing = facilities.loc[facilities["status"] == "in_use", "facility_id"]
        mine = ledger
        if kind == "resettlement_service":
            flagged = units.index[units["resettlement"] | units["hollow_village"]]
            mine = ledger[ledger["unit_code"].isin(flagged)]
        ids = set(mine["at"]) & set(standing) | set(reached.loc[kind].index)
        assert rows["facility_id"].tolist() == sorted(ids)
        at = rows.set_index("facility_id")
        sums = ledger.groupby("at")["households"].agg(["sum", "size"]).reindex(at.index)
        foreign = facilities.set_index("facility_id")["unit_code"].reindex(at.index).isna()
        households = sums["sum"].mask(foreign.to_numpy(dtype=bool))
        people = "elderly" if kind == "day_care" else "residents"
        for name, expected in (
            ("households_on_ledger", households),
            ("units_on_ledger", sums["size"].fillna(0)),
            ("m2_per_100_households", area.reindex(at.index) / households * 100),
            ("households_reached", reached.loc[kind, "households"].reindex(at.index).fillna(0)),
            ("people_reached", reached.loc[kind, people].reindex(at.index).fillna(0)),
        ):
            # Of rural ones whose area is not on record one cannot tell who is served.
            known = ~at["households_reached"].isna() | (not name.endswith("_reached"))
            np.testing.assert_allclose(
                at.loc[known, name].to_numpy(), expected[known].to_numpy(dtype=float), err_msg=name
            )
        unsure = at.index[at["households_reached"].isna()]
        assert area.reindex(unsure).isna().all()
        if slug == "comprehensive_service":
            over = (0.3 * households > area.reindex(at.index)).astype("boolean")
            over[(households.isna() | area.reindex(at.index).isna()).to_numpy()] = pd.NA
            assert at["over_capacity"].tolist() == over.tolist()
        else:
            assert at["over_capacity"].isna().all()
            assert at["due_m2"].isna().all()


def test_people_reached_add_up_to_the_rates(report):
    found = facility_loads(report).groupby("kind")["people_reached"].sum()
    rates = report.rates.query("basis == 'reachable' and measure == 'people'")
    expected = rates.groupby("kind")["covered"].sum()
    pd.testing.assert_series_equal(found, expected[found.index], check_names=False)


def test_town_loads_add_up_to_the_indicator(report):
    """每百户居民拥有社区综合服务设施面积: Σ area ÷ Σ households, not the mean of ratios."""
    town = report.units.loc[report.units["setting"] == "urban", "unit_code"]
    found = facility_loads(report, kind="comprehensive_service")
    found = found[found["unit_code"].isin(town)]
    ratio = 100 * found["floor_area_m2"].sum() / found["households_on_ledger"].sum()
    assert ratio == pytest.approx(report.indicators.set_index("number").loc[4, "value"])


def test_loads_are_what_capacity_is_judged_by(report, units, facilities, access, plan):
    """Somebody is turned away where, and only where, more come than there is room for."""
    per_100 = 20.0
    tight = replace(
        plan,
        standards=tuple(
            replace(one, capacity_m2_per_100_households=per_100)
            if one.kind == "comprehensive_service"
            else one
            for one in plan.standards
        ),
    )
    after = fc.assess(units, facilities, access, tight)
    kind = "comprehensive_service"
    found = facility_loads(after, kind=kind)
    columns = ["facility_id", "households_reached", "people_reached", "households_on_ledger"]
    pd.testing.assert_frame_equal(found[columns], facility_loads(report, kind=kind)[columns])
    known = found.dropna(subset=["households_reached", "floor_area_m2"])
    short = known[known["households_reached"] * per_100 / 100 > known["floor_area_m2"]]
    turned = after.demand_verdicts.query("kind == @kind and reason == 'over_capacity'")
    assert 0 < len(short) < len(known)
    assert set(turned["facility_id"]) == set(short["facility_id"])
    assert (short["m2_per_100_households_reached"] < per_100).all()
    np.testing.assert_allclose(found["due_m2"], found["households_on_ledger"] * per_100 / 100)


def test_every_column_has_words(report):
    for name in [*facility_loads(report).columns, "supply_per_person"]:
        for lang in ("zh", "en"):
            assert fc.label("column", name, lang) != name or (name, lang) == ("name", "en")


# --- supply per person ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places():
    """Three villages and two facilities; then one too far, one on an island, one off the road."""
    nodes = [(x * 1000, 0) for x in range(10)] + [(0, 5000), (1000, 5000)]
    rows = [(n, n + 1, False, "residential") for n in range(9)]
    roads = network([*rows, (10, 11, False, "residential")], nodes)
    homes = gpd.GeoDataFrame(
        {"residents": [100.0, 200.0, 50.0, 70.0, 80.0, 90.0]},
        index=list("abcdef"),
        geometry=points((0, 0), (1000, 0), (2500, 0), (9000, 0), (500, 5000), (4000, 2000)).array,
        crs=CRS,
    )
    facilities = gpd.GeoDataFrame(
        {"floor_area_m2": [300.0, 100.0]},
        index=[7, 3],
        geometry=points((500, 0), (2000, 0)).array,
        crs=CRS,
    )
    return homes, facilities, roads


def test_the_hand_worked_catchments(places):
    # At 4 km/h: the first facility is 7.5 min from a and b, the second 15 from b and 7.5 from c.
    # 300 m² ÷ 300 people, 100 ÷ 250; halved beyond 10 min, 100 ÷ (100 + 50).
    homes, _, _ = places
    plain = two_step_floating_catchment(*places, minutes=15)
    assert plain.name == "supply_per_person"
    assert plain.index.equals(homes.index)
    np.testing.assert_allclose(plain, [1.0, 1.4, 0.4, 0.0, NAN, NAN])
    enhanced = two_step_floating_catchment(*places, steps={15: 0.5, 10: 1.0})
    np.testing.assert_allclose(enhanced, [1.0, 4 / 3, 2 / 3, 0.0, NAN, NAN])
    small = two_step_floating_catchment(*places, minutes=14.9)
    np.testing.assert_allclose(small, [1.0, 1.0, 2.0, 0.0, NAN, NAN])


def test_the_limit_itself_is_within_it():
    """A kilometre at 4 km/h is 15 minutes, also where its floats sum up to a little more."""
    roads = network(
        [(0, 1, False, "residential"), (1, 2, False, "residential")], [(0, 0), (700, 0), (1500, 0)]
    )
    homes = gpd.GeoDataFrame({"residents": [10.0]}, geometry=points((483, 0)).array, crs=CRS)
    site = gpd.GeoDataFrame({"floor_area_m2": [50.0]}, geometry=points((1483, 0)).array, crs=CRS)
    steps = {15: 1.0, 20: 0.5}
    for options in ({"minutes": 15}, {"steps": steps}):
        assert two_step_floating_catchment(homes, site, roads, **options).tolist() == [5.0]
    many = pd.concat([homes.assign(residents=0.0), homes.set_geometry(points((1483, 0)).array)])
    found = two_step_floating_catchment(many, site, roads, steps=steps)
    np.testing.assert_allclose(found, [5.0, 5.0])


def test_unknown_supply_or_people_are_unknown_for_whom_it_reaches(places):
    homes, facilities, roads = places
    blank = facilities.assign(floor_area_m2=[300.0, NAN])
    found = two_step_floating_catchment(homes, blank, roads)
    np.testing.assert_allclose(found, [1.0, NAN, NAN, 0.0, NAN, NAN])
    uncounted = homes.assign(residents=pd.array([100, 200, None, 70, 80, 90], "Int64"))
    found = two_step_floating_catchment(uncounted, facilities, roads)
    np.testing.assert_allclose(found, [1.0, NAN, NAN, 0.0, NAN, NAN])
    # What has no weight says nothing, known or not.
    found = two_step_floating_catchment(uncounted, blank, roads, steps={8: 1.0, 15: 0.0})
    np.testing.assert_allclose(found, [1.0, 1.0, NAN, 0.0, NAN, NAN])


def test_a_facility_nobody_lives_near_adds_nothing(places):
    homes, facilities, roads = places
    empty = homes.assign(residents=[100.0, 200.0, 0.0, 70.0, 80.0, 90.0])
    found = two_step_floating_catchment(empty, facilities, roads, minutes=10)
    np.testing.assert_allclose(found, [1.0, 1.0, 0.0, 0.0, NAN, NAN])


def test_only_what_is_in_use_supplies(places):
    homes, facilities, roads = places
    more = pd.concat([facilities, facilities, facilities.iloc[[0]]])
    more = more.assign(status=["in_use", "in_use", "closed", "planned", "shared"])
    more.iloc[-1, more.columns.get_loc("geometry")] = None
    expected = two_step_floating_catchment(*places)
    pd.testing.assert_series_equal(two_step_floating_catchment(homes, more, roads), expected)
    perhaps = facilities.assign(status=["in_use", "unknown"])
    found = two_step_floating_catchment(homes, perhaps, roads)
    np.testing.assert_allclose(found, [1.0, NAN, NAN, 0.0, NAN, NAN])
    assert perhaps["floor_area_m2"].tolist() == [300.0, 100.0]  # the table stays as it was
    none = two_step_floating_catchment(homes, facilities[:0], roads)
    assert (none == 0).all()


def test_options_reach_the_search(places):
    homes, facilities, roads = places
    far = two_step_floating_catchment(homes, facilities, roads, leg_limit_m=2500.0)
    assert far["f"] == 0  # joins the road, but it is more than 15 min to it
    wall = gpd.GeoSeries([shapely.Point(2500, 0)], crs=CRS)
    shut = two_step_floating_catchment(homes, facilities, roads, barriers=wall)
    np.testing.assert_allclose(shut, [1.0, 1.5, NAN, 0.0, NAN, NAN])
    by_bicycle = two_step_floating_catchment(homes, facilities, roads, mode="bicycle")
    assert by_bicycle[["a", "b", "c"]].tolist() == pytest.approx([400 / 350] * 3)
    homes = homes.assign(elderly=homes["residents"] / 10)
    tenfold = two_step_floating_catchment(homes, facilities, roads, population="elderly")
    np.testing.assert_allclose(tenfold, 10 * two_step_floating_catchment(*places))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"supply": "beds"}, r"facilities have no column 'beds'.*supply=.*floor_area_m2"),
        ({"population": "elderly"}, r"demand points have no column 'elderly'.*population="),
        ({"supply": "name"}, "'name' of the facilities is not of numbers"),
        ({"supply": "debt"}, "-1 at index 3"),
        ({"minutes": 0}, "minutes must be positive"),
        ({"minutes": NAN}, "minutes must be positive"),
        ({"steps": {}}, "at least one zone"),
        ({"steps": {10: 1.0, -5: 1.0}}, "steps must be positive minutes, not -5"),
        ({"steps": {10: -1.0}}, "0 or more.*not -1"),
        ({"steps": {10: 0.0}}, "not all 0"),
        ({"mode": "broom"}, "broom"),
        ({"leg_limit_m": 0}, "leg_limit_m"),
        ({"leg_detour": 0.5}, "leg_detour"),
    ],
)
def test_what_means_nothing_is_refused(places, options, said):
    homes, facilities, roads = places
    facilities = facilities.assign(name=["x", "y"], debt=[1.0, -1.0])
    with pytest.raises(fc.InputError, match=said):
        two_step_floating_catchment(homes, facilities, roads, **options)


def test_layers_without_a_crs_or_a_place_are_refused(places):
    homes, facilities, roads = places
    with pytest.raises(fc.errors.NoCrsError, match="CRS"):
        two_step_floating_catchment(homes.set_crs(None, allow_override=True), facilities, roads)
    lost = facilities.copy()
    lost.loc[3, "geometry"] = None
    with pytest.raises(fc.InputError, match="nothing at index"):
        two_step_floating_catchment(homes, lost, roads)


KNOWN = st.integers(0, 500)
AMOUNTS = st.sampled_from([KNOWN, KNOWN | st.none()])


def pieces(roads, mode, places):
    """Give the connected piece of road each place is on, None where it joins none."""
    there, _, _ = prices(roads, mode)
    edges = roads.edges[np.isfinite(there)]
    links = nx.Graph(zip(edges["u"], edges["v"], strict=True))
    piece_of = {node: min(piece) for piece in nx.connected_components(links) for node in piece}
    return [None if place is None else piece_of[roads.edges["u"][place[0]]] for place in places]


@settings(max_examples=60, deadline=None)
@given(towns(), st.sampled_from([{6: 1.0}, {15: 1.0}, {5: 1.0, 12: 0.68, 20: 0.22}]), st.data())
def test_equal_to_sums_over_all_pairs_and_supply_is_conserved(town, steps, data):
    roads, homes, sites = town
    mode = fc.MODES["walk"]
    people, offered = (
        data.draw(st.lists(data.draw(AMOUNTS), min_size=len(xy), max_size=len(xy)))
        for xy in (homes, sites)
    )
    demand, facilities = (
        gpd.GeoDataFrame({name: pd.array(values, "Float64")}, geometry=points(*xy).array, crs=CRS)
        for name, values, xy in (("residents", people, homes), ("floor_area_m2", offered, sites))
    )
    at_home, at_site = (join(list(points(*xy)), roads, mode) for xy in (homes, sites))
    minutes = trip_minutes(roads, mode, at_home, at_site)
    assume(all(np.abs(minutes - bound).min() > 1e-6 for bound in steps))
    weight = np.array(
        [[next((w for b, w in steps.items() if t <= b), 0.0) for t in row] for row in minutes]
    )
    number = [NAN if value is None else value for value in people]
    ratio, supplied = [], 0.0
    for j, supply in enumerate(offered):
        total = sum(number[i] * w for i, w in enumerate(weight[:, j]) if w)
        ratio.append(0.0 if total == 0 else (NAN if supply is None else supply) / total)
        supplied += 0.0 if total == 0 else NAN if supply is None else supply
    expected = np.array(
        [sum(ratio[j] * w for j, w in enumerate(row) if w) for row in weight], float
    )
    on, of_sites = pieces(roads, mode, at_home), set(pieces(roads, mode, at_site))
    for i, piece in enumerate(on):
        if piece is None or piece not in of_sites:
            expected[i] = NAN
    found = two_step_floating_catchment(demand, facilities, roads, minutes=6, steps=steps)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    if None not in people and None not in offered:
        assert np.nansum(found * number) == pytest.approx(supplied)


@pytest.mark.parametrize(
    "steps", [None, {10: 1.0, 20: 0.68, 30: 0.22}], ids=["two_stage", "enhanced"]
)
def test_equal_to_pysal_access(demand, facilities, roads, steps):
    clinics = facilities.query("kind == 'clinic' and status == 'in_use'").assign(
        beds=lambda table: 1.0 + np.arange(len(table)) % 7
    )
    found = two_step_floating_catchment(
        demand, clinics, roads, supply="beds", mode="bicycle", minutes=15, steps=steps
    )
    limit = max(steps) if steps else 15
    cost = fc.cost_matrix(demand, clinics, roads, limit_minutes=limit, mode="bicycle").tocoo()
    home, site = demand["demand_id"].to_numpy(), clinics["facility_id"].to_numpy()
    pysal = Access(
        demand_df=pd.DataFrame(
            {"residents": demand["residents"].to_numpy()}, pd.Index(home, name="home")
        ),
        demand_value="residents",
        supply_df=pd.DataFrame({"beds": clinics["beds"].to_numpy()}, pd.Index(site, name="site")),
        supply_value="beds",
        cost_df=pd.DataFrame({"home": home[cost.row], "site": site[cost.col], "min": cost.data}),
        cost_origin="home",
        cost_dest="site",
        cost_name="min",
    )
    if steps:
        table = pysal.enhanced_two_stage_fca(weight_fn=weights.step_fn(steps))
    else:
        table = pysal.two_stage_fca(max_cost=15)
    (column,) = table.columns
    # PySAL says nothing of those who reach nothing.
    expected = table[column].reindex(home).fillna(0.0).to_numpy()
    told = found.notna().to_numpy()
    assert told.mean() > 0.9
    assert (expected > 0).sum() > 500
    assert not expected[~told].any()
    np.testing.assert_allclose(found[told], expected[told])
