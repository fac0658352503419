"""Rates, townships, indicators, groups, curves, bands: by hand, and by a few lines of pandas."""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import facility_coverage as fc
from facility_coverage.indicators import indicator_table
from facility_coverage.standards import Alternative, Indicator, Standard

CRS = "EPSG:32650"
STATES = ["covered", "uncovered", "unknown"]


# --- a street of six units, every figure worked by hand ---
#
#   metres  500       1500      2500      3500      4500      5500
#   units   甲        乙        丙        丁        戊        己 (an island)
#   people  100       100       100       100       unknown   100
#           X 250 m²            Y 120 m²  Z closed  W, size unknown     V 6500, beyond the border
#
# 15 minutes on foot are 1,000 m.


@pytest.fixture(scope="module")
def street():
    units = fc.read_units(
        gpd.GeoDataFrame(
            {
                "unit_code": [f"1308241{n // 3:02d}20{n}" for n in range(6)],
                "name": ["甲村", "乙村", "丙村", "丁村", "戊社区", "己村"],
                "township": ["东镇"] * 3 + ["西镇"] * 3,
                "residents": [100, 100, 100, 100, None, 100],
                "elderly": [40, 10, 0, 20, 5, None],
                "households": [30, 30, 30, 30, 30, 30],
                "hollow_village": ["是", "否", "否", "是", "否", "否"],
                "five_g": ["是", "是", None, "否", "是", "是"],
                "community_workers": [None, None, None, None, 3, None],
            },
            geometry=[shapely.box(1000 * n, -400, 1000 * n + 1000, 400) for n in range(6)],
            crs=CRS,
        )
    )
    demand = fc.read_demand(
        gpd.GeoDataFrame(
            {"unit_code": units["unit_code"], "residents": units["residents"]},
            geometry=gpd.points_from_xy([500, 1500, 2500, 3500, 4500, 5500], [0] * 6),
            crs=CRS,
        ),
        units,
    )
    rows = [
        # id, kind, unit, x, floor area, status, served_by
        ("X", "clinic", 0, 600, 250, "在用", None),
        ("Y", "clinic", 2, 2500, 120, "在用", None),
        ("Z", "clinic", 3, 3500, 250, "停用", None),
        ("W", "clinic", 4, 4600, None, "在用", None),
        ("V", "clinic", None, 6500, 250, "在用", None),
        ("S1", "clinic", 1, None, None, "共享", "X"),
        ("S2", "clinic", 5, None, None, "共享", "V"),
        ("P", "pharmacy", None, 500, 50, "在用", None),
    ]
    names = ["facility_id", "kind", "unit", "x", "floor_area_m2", "status", "served_by"]
    table = pd.DataFrame(rows, columns=names)
    codes = np.array([*units["unit_code"], None], dtype=object)
    facilities = fc.read_facilities(
        gpd.GeoDataFrame(
            table.assign(
                name=table["facility_id"],
                unit_code=codes[table["unit"].fillna(-1).astype(int)],
            ).drop(columns=["unit", "x"]),
            geometry=[None if pd.isna(x) else shapely.Point(x, 0) for x in table["x"]],
            crs=CRS,
        )
    )
    edges = gpd.GeoDataFrame(
        {
            "u": [0, 2],
            "v": [1, 3],
            "length_m": [4900.0, 1400.0],
            "oneway": [False, False],
            "highway": ["residential"] * 2,
        },
        geometry=[
            shapely.LineString([(0, 0), (4900, 0)]),
            shapely.LineString([(5400, 0), (6800, 0)]),
        ],
        crs=CRS,
    )
    nodes = pd.DataFrame({"node_id": range(4), "x": [0.0, 4900.0, 5400.0, 6800.0], "y": [0.0] * 4})
    return units, demand, facilities, fc.RoadNetwork(edges, nodes)


WALK = (Alternative("walk", 15.0),)
CLINIC = Standard("clinic", "all", WALK, min_floor_area_m2=200.0, on_ledger=True, target_share=0.5)


def plan_of(*standards, **fields):
    return fc.Plan("street", "街", "street", "", 2020, 2025, standards, **fields)


def assessed(street, plan):
    units, demand, facilities, roads = street
    access = fc.travel_times(units, facilities, roads, plan, demand=demand, area_spacing_m=100.0)
    return fc.assess(units, facilities, access, plan)


@pytest.fixture(scope="module")
def report(street):
    return assessed(street, plan_of(CLINIC))


def test_verdicts_of_the_street(report):
    found = report.verdicts.set_index("name")
    columns = ["ledger_state", "ledger_reason", "reachable_state", "reachable_reason", "minutes"]
    expected = {
        # 100 m to X, 1.5 min.
        "甲村": ("covered", "", "covered", "", 1.5),
        # 900 m; shares X by agreement.
        "乙村": ("covered", "", "covered", "", 13.5),
        # Y at the door is too small; X is 1,900 m away.
        "丙村": ("uncovered", "too_small", "uncovered", "too_small", 28.5),
        # Z at the door is closed, but Y, Z, W: W of unknown size is 1,100 m away, too far.
        "丁村": ("uncovered", "closed", "uncovered", "closed", 43.5),
        # W is 100 m away, and may be large enough.
        "戊社区": ("unknown", "no_data", "unknown", "no_data", 58.5),
        # V is 1,000 m away along the island: 15 minutes, beyond the border; shared by agreement.
        "己村": ("covered", "", "covered", "", 15.0),
    }
    for name, row in expected.items():
        state = found.loc[name, columns].tolist()
        assert state[:4] == list(row[:4]), name
        assert state[4] == pytest.approx(row[4]), name
    assert found["shared"].tolist() == [False, True, False, False, False, False]
    assert found["reachable_state_inside"].tolist()[-1] == "unknown"  # an island without V
    assert found["ledger_state_unshared"].tolist() == [
        "covered",
        "uncovered",
        "uncovered",
        "uncovered",
        "unknown",
        "uncovered",
    ]
    assert found["ledger_state_inside"].tolist()[-1] == "uncovered"


def test_rates_of_the_street(report):
    rates = report.rates.set_index(["setting", "basis", "measure"])
    columns = [*STATES, "total", "target", "missing"]
    # Half of five villages is three whole ones.
    assert rates.loc[("rural", "ledger", "units"), columns].tolist() == [3, 2, 0, 5, 0.5, 0]
    assert rates.loc[("rural", "reachable", "units"), columns].tolist() == [3, 2, 0, 5, 0.5, 0]
    assert rates.loc[("urban", "ledger", "units"), columns].tolist() == [0, 0, 1, 1, 0.5, 1]
    without = ["covered_without_outside", "covered_without_sharing"]
    assert rates.loc[("rural", "ledger", "units"), without].tolist() == [2, 1]
    reachable = rates.loc[("rural", "reachable", "units"), without]
    assert reachable.iloc[0] == 2
    assert np.isnan(reachable.iloc[1])
    assert rates.loc[("rural", "reachable", "people"), STATES].tolist() == [300, 200, 0]
    # Residents of 戊社区 are not known: neither are the people of its setting, and that is not 0.
    assert rates.loc[("urban", "reachable", "people"), STATES].isna().all()
    area = rates.loc[("rural", "reachable", "area")]
    assert area[STATES].sum() == pytest.approx(5 * 800_000)
    assert area["covered_without_outside"] < area["covered"]


def test_townships_in_the_order_of_codes_with_a_total(report):
    table = report.townships
    assert table["township"].tolist() == ["东镇", "西镇", "total"]
    assert table["township_code"].tolist() == ["130824100", "130824101", ""]
    columns = ["units", "ledger_covered", "ledger_unknown", "reachable_covered"]
    assert table[columns].to_numpy().tolist() == [[3, 2, 0, 2], [3, 1, 1, 1], [6, 3, 1, 3]]
    assert table["ledger_share"].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    assert table["people_covered"].tolist()[0] == 200
    assert table["people_covered"].isna().tolist() == [False, True, True]


def test_the_bases_disagree_only_where_they_do(street, report):
    assert report.disagreements.empty
    _, _, facilities, _ = street
    units, demand, _, roads = street
    # The agreement of 乙村 ends; 甲村 keeps a clinic 2 km off.
    changed = facilities[facilities["facility_id"] != "S1"].reset_index(drop=True)
    changed.loc[changed["facility_id"] == "X", "geometry"] = shapely.Point(1600, 0)
    access = fc.travel_times(units, changed, roads, report.plan, demand=demand)
    table = fc.assess(units, changed, access, report.plan).disagreements
    assert table[["name", "disagreement"]].to_numpy().tolist() == [
        ["甲村", "paper_only"],
        ["乙村", "reach_only"],
        ["丙村", "reach_only"],
    ]
    driven = plan_of(dataclasses.replace(CLINIC, alternatives=(*WALK, Alternative("ebike", 15.0))))
    access = fc.travel_times(units, changed, roads, driven, demand=demand)
    table = fc.assess(units, changed, access, driven).disagreements.set_index("name")
    assert table.loc["甲村", "disagreement"] == "paper_not_on_foot"


# --- rules of standards ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alternative", "covered"),
    [
        # From their homes to X: 100, 900, 1,900, 2,900, 3,900 m.
        (Alternative("walk", 13.5), ["甲村", "乙村"]),
        (Alternative("walk", 13.4), ["甲村"]),
        (Alternative("walk", metres=900.0, measure="network"), ["甲村", "乙村"]),
        (Alternative("walk", metres=899.0, measure="network"), ["甲村"]),
        (Alternative("walk", metres=900.0, measure="straight"), ["甲村", "乙村"]),
        (Alternative("ebike", metres=899.0, measure="straight"), ["甲村"]),
    ],
)
def test_minutes_metres_by_road_and_straight(street, alternative, covered):
    standard = dataclasses.replace(CLINIC, alternatives=(alternative,))
    found = assessed(street, plan_of(standard)).verdicts
    inside = found[found["name"] != "己村"]
    assert inside.loc[inside["reachable_state"] == "covered", "name"].tolist() == covered
    metres = found["minutes"] * fc.MODES[alternative.mode].speed_kph / 0.06
    assert metres.iloc[0] == pytest.approx(100)
    assert found["measure"].iloc[0] == alternative.measure


def test_the_straight_line_needs_no_road(street):
    standard = dataclasses.replace(
        CLINIC, alternatives=(Alternative("walk", metres=2_000.0, measure="straight"),)
    )
    found = assessed(street, plan_of(standard)).verdicts.set_index("name")
    # V is 2,000 m from 戊社区, across the gap between the streets.
    assert found.loc["戊社区", ["reachable_state", "facility_id"]].tolist() == ["covered", "V"]


def test_people_of_the_standards_population_count(street):
    found = assessed(street, plan_of(dataclasses.replace(CLINIC, population="elderly")))
    people = found.verdicts.set_index("name")["people_covered"]
    assert people[["甲村", "乙村"]].tolist() == [40, 10]
    assert np.isnan(people["己村"])  # nobody has counted them
    assert found.verdicts.set_index("name").loc["丙村", "people"] == 0


def test_resettlement_is_counted_by_itself(street):
    special = Standard(
        "special", "resettlement", WALK, kinds=("clinic",), on_ledger=True, target_share=1.0
    )
    found = assessed(street, plan_of(CLINIC, special))
    units = found.rates.query("kind == 'special' and measure == 'units' and basis == 'ledger'")
    assert units[["setting", "covered", "total", "missing"]].to_numpy().tolist() == [
        ["resettlement", 1.0, 2.0, 1.0]  # 甲村; 丁村's is closed, and size is not asked
    ]
    rural = found.rates.query("kind == 'clinic' and setting == 'rural' and measure == 'units'")
    assert (rural["total"] == 5).all()


def test_a_circle_is_scored_and_covered_only_when_whole(street):
    circle = Standard(
        "circle", "all", WALK, kinds=("clinic", "pharmacy"), further_kinds=("market",)
    )
    found = assessed(street, plan_of(circle)).verdicts.set_index("name")
    # A pharmacy stands at 甲村, 1,000 m from 乙村; 丙村 has a clinic, 1,000 m from 丁村; no market.
    assert found["kinds_reached"].tolist()[:4] == [2, 2, 1, 1]
    assert set(found["kinds_asked"]) == {3}
    assert found["reachable_state"].tolist()[:4] == ["covered", "covered", "uncovered", "uncovered"]


def test_a_facility_covers_as_many_households_as_it_has_room_for(street):
    # X has 250 m²: at 500 m² for 100 households that is room for 50, and 甲村 has 30.
    limited = dataclasses.replace(CLINIC, capacity_m2_per_100_households=500.0)
    found = assessed(street, plan_of(limited)).verdicts.set_index("name")
    assert found.loc["甲村", "reachable_state"] == "covered"
    assert found.loc["乙村", ["reachable_state", "reachable_reason"]].tolist() == [
        "uncovered",
        "over_capacity",
    ]
    roomy = dataclasses.replace(CLINIC, capacity_m2_per_100_households=250.0 / 0.6)
    found = assessed(street, plan_of(roomy)).verdicts.set_index("name")
    assert found.loc["乙村", "reachable_state"] == "covered"


def test_help_that_comes_goes_the_other_way(street):
    units, demand, facilities, roads = street
    facilities = facilities[facilities["facility_id"] == "X"].reset_index(drop=True)
    oneway = fc.RoadNetwork(roads.edges.assign(oneway=True), roads.nodes)  # eastwards only
    going = dataclasses.replace(CLINIC, alternatives=(Alternative("motor", 15.0),))
    coming = dataclasses.replace(going, direction="from_facility")
    reasons = []
    for standard in (going, coming):
        plan = plan_of(standard)
        access = fc.travel_times(units, facilities, oneway, plan, demand=demand)
        found = fc.assess(units, facilities, access, plan).verdicts.set_index("name")
        reasons.append(found.loc[["甲村", "乙村"], ["reachable_state", "reachable_reason"]])
    assert reasons[0].to_numpy().tolist() == [["covered", ""], ["uncovered", "one_way"]]
    assert reasons[1].to_numpy().tolist() == [["uncovered", "one_way"], ["covered", ""]]


def test_nothing_of_a_kind_and_only_a_closed_one(street):
    units, demand, facilities, roads = street
    plan = plan_of(CLINIC, Standard("market", "all", WALK))
    shut = facilities.assign(status="closed")
    access = fc.travel_times(units, shut, roads, plan, demand=demand)
    found = fc.assess(units, shut, access, plan).verdicts.set_index(["kind", "name"])
    assert found.loc[("market", "甲村"), "reachable_reason"] == "no_facility_of_kind"
    assert found.loc[("clinic", "甲村"), "reachable_reason"] == "closed"


def test_a_status_nobody_can_read_cannot_be_told(street):
    units, demand, facilities, roads = street
    unread = facilities.assign(
        status=facilities["status"].mask(facilities["facility_id"] == "X", "unknown")
    )
    plan = plan_of(CLINIC)
    access = fc.travel_times(units, unread, roads, plan, demand=demand)
    found = fc.assess(units, unread, access, plan).verdicts.set_index("name")
    columns = ["ledger_state", "ledger_reason", "reachable_state", "reachable_reason"]
    assert found.loc["甲村", columns].tolist() == ["unknown", "no_data"] * 2


# --- indicators -----------------------------------------------------------------------------------


def indicator(formula, **fields):
    return Indicator(1, "指标", "indicator", formula, "share", **fields)


RURAL = {"kind": "clinic", "setting": "rural"}


@pytest.mark.parametrize(
    ("line", "value", "met", "lacking"),
    [
        (indicator("ledger_share", target=0.6, **RURAL), 0.6, True, ""),
        (indicator("ledger_share", target=0.6, strict=True, **RURAL), 0.6, False, ""),
        # 61 % of five is four.
        (indicator("ledger_share", target=0.61, **RURAL), 0.6, False, ""),
        # 戊社区 may be covered or not: four of six, or three.
        (indicator("ledger_share", kind="clinic", setting="all", target=0.6), 0.5, None, ""),
        (indicator("ledger_share", kind="clinic", setting="all", target=0.9), 0.5, False, ""),
        (indicator("people_share", **RURAL), 0.6, None, ""),
        (
            indicator("flag_share", column="five_g", setting="rural", target=0.8),
            0.6,
            None,
            "5G of 1 units",
        ),
        (indicator("flag_share", column="five_g", setting="urban", target=1.0), 1.0, True, ""),
        (indicator("flag_share", column="broadband", setting="all"), None, None, "broadband"),
        (
            indicator("number_per_10000", column="community_workers", setting="urban"),
            None,
            None,
            "residents",
        ),
        (indicator("new_community_area_share", setting="urban"), None, None, "floor area of new"),
        # X and Y keep 370 m² for five villages of 30 households.
        (indicator("floor_area_per_100_households", **RURAL), 100 * 370 / 150, None, ""),
        (indicator("activity_area_share", **RURAL), None, None, "activity area"),
    ],
)
def test_indicators(report, line, value, met, lacking):
    row = indicator_table([line], report.rates, report.units, report.facilities).iloc[0]
    assert np.isnan(row["value"]) if value is None else row["value"] == pytest.approx(value)
    assert (row["met"] is pd.NA) if met is None else row["met"] == met
    assert lacking in row["missing_data"]


def test_workers_and_new_communities_are_computed_where_the_data_are(report):
    units = report.units.assign(
        residents=100.0,
        new_service_area_m2=[np.nan, 300.0, np.nan, 500.0, np.nan, np.nan],
        new_building_area_m2=[np.nan, 2000.0, np.nan, 6000.0, np.nan, np.nan],
    )
    lines = [
        indicator("number_per_10000", column="community_workers", setting="urban", target=18),
        indicator("new_community_area_share", setting="rural", target=0.1),
        indicator("new_community_area_share", setting="rural", target=0.1, strict=True),
    ]
    table = indicator_table(lines, report.rates, units, report.facilities)
    assert table["value"].tolist() == pytest.approx([300.0, 0.1, 0.1])
    assert table["met"].tolist() == [True, True, False]


# --- the sample, by a few lines of pandas ---------------------------------------------------------


@pytest.fixture(scope="module")
def sample_report(units, facilities, access, plan):
    return fc.assess(units, facilities, access, plan)


def test_the_elderly_walk_slower_and_do_not_drive(sample_report, access):
    points = access.demand.set_index("demand_id")
    for setting, limit in (("rural", 20), ("urban", 15)):
        own = sample_report.units.loc[sample_report.units["setting"] == setting, "unit_code"]
        table = access.table.query("kind == 'clinic' and mode == 'elderly_walk'").set_index(
            "demand_id"
        )
        table = table[table["unit_code"].isin(own)]
        elderly = points.loc[table.index, "elderly"].astype(float)
        row = sample_report.group_rates.query(
            "kind == 'clinic' and setting == @setting and group == 'elderly'"
        ).iloc[0]
        assert row["covered"] == pytest.approx(elderly[table["minutes"] <= limit].sum())
        assert row["total"] == elderly.sum()
    groups = sample_report.group_rates
    assert groups.loc[groups["group"] == "disabled", STATES].isna().all(axis=None)


def test_townships_are_the_sums_of_verdicts(sample_report):
    verdicts = sample_report.verdicts.query("kind == 'clinic'")
    expected = verdicts.assign(code=verdicts["unit_code"].astype(str).str[:9]).pivot_table(
        index="code", columns="reachable_state", values="kind", aggfunc="size", fill_value=0
    )
    table = sample_report.townships.query("kind == 'clinic'")
    assert table["township_code"].tolist()[:-1] == sorted(expected.index)
    assert table["reachable_covered"].tolist()[:-1] == expected["covered"].tolist()
    assert table["units"].iloc[-1] == 213
    assert table["township"].iloc[-1] == "total"


def test_the_curve_meets_the_rate_at_the_limit(sample_report):
    curve = sample_report.curve(minutes=[5, 10, 15, 20])
    rates = sample_report.rates.query("basis == 'reachable' and measure == 'people'")
    rates = rates.set_index(["kind", "setting"])
    single = {
        (standard.kind, setting): standard
        for standard in sample_report.plan.standards
        for setting in (standard.setting,)
        if len(standard.alternatives) == 1
    }
    assert len(single) >= 5
    for key, standard in single.items():
        limit = standard.alternatives[0].minutes
        rows = curve[(curve["kind"] == key[0]) & (curve["setting"] == key[1])]
        if limit in {5, 10, 15, 20}:
            at = rows[rows["minutes"] == limit].iloc[0]
            assert at["covered"] == pytest.approx(rates.loc[key, "covered"]), key
            assert at["total"] == pytest.approx(rates.loc[key, "total"])
    rising = curve.groupby(["kind", "setting", "mode"])["covered"]
    assert rising.apply(lambda values: values.is_monotonic_increasing).all()
    with pytest.raises(fc.InputError, match="no standard for 'cinema'"):
        sample_report.curve(kinds=["cinema"])


def test_other_speeds_are_what_a_plan_of_other_speeds_finds(street):
    plan = plan_of(dataclasses.replace(CLINIC, alternatives=(*WALK, Alternative("motor", 2.0))))
    band = assessed(street, plan).sensitivity(speed=0.25, leg=0.0)
    # At 3 km/h the 1,000 m of 己村 take 20 minutes, and at 13.5 km/h 乙村 still drives its 900 m in
    # 4; on foot they take 18.
    walked = assessed(street, plan_of(CLINIC)).sensitivity(speed=0.25, leg=0.0).units
    assert walked[["name", "basis", "case", "after"]].to_numpy().tolist() == [
        ["乙村", "ledger", "speed −25%", "uncovered"],
        ["己村", "ledger", "speed −25%", "uncovered"],
        ["乙村", "reachable", "speed −25%", "uncovered"],
        ["己村", "reachable", "speed −25%", "uncovered"],
        ["丁村", "reachable", "speed +25%", "unknown"],  # W is within 1,250 m
    ]
    for factor, name in ((0.75, "speed −25%"), (1.25, "speed +25%")):
        modes = {
            key: dataclasses.replace(
                mode,
                speed_kph=mode.speed_kph * factor,
                leg_speed_kph=mode.leg_speed_kph * factor,
                speeds_kph={road: speed * factor for road, speed in mode.speeds_kph.items()},
            )
            for key, mode in fc.MODES.items()
        }
        expected = assessed(street, dataclasses.replace(plan, modes=modes)).rates
        found = band.cases[band.cases["case"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[expected.columns], expected, check_exact=False)


def test_the_band_holds_the_rate(sample_report):
    band = sample_report.sensitivity(speed=0.2, leg=0.3)
    rates = band.rates.dropna(subset=["share"])
    assert (rates["share_low"] <= rates["share"]).all()
    assert (rates["share"] <= rates["share_high"]).all()
    detour = 1.3 * 1.3
    access = fc.travel_times(
        sample_report.units,
        sample_report.access.facilities,
        sample_report.roads,
        sample_report.plan,
        demand=sample_report.demand,
        leg_detour=detour,
    )
    again = fc.assess(sample_report.units, access.facilities, access, sample_report.plan).rates
    found = band.cases[band.cases["case"] == "leg +30%"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[again.columns], again)
    assert set(band.units["case"]) <= set(band.cases["case"])
    with pytest.raises(fc.InputError, match=r"20 % is 0\.2"):
        sample_report.sensitivity(speed=20)
