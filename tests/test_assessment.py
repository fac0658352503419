"""Verdicts and rates: a hand-worked county, the sample recomputed, and what always holds."""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from openpyxl import load_workbook

import facility_coverage as fc
from facility_coverage.standards import Alternative, Standard

CRS = "EPSG:32650"
KM = 1000.0


@pytest.fixture(scope="module")
def tiny_plan():
    rural = Standard(
        "comprehensive_service",
        "rural",
        (Alternative("walk", 20.0), Alternative("motor", 15.0)),
        kinds=("comprehensive_service",),
        min_floor_area_m2=200.0,
        min_hours_per_day=8.0,
        on_ledger=True,
        target_share=0.8,
    )
    urban = dataclasses.replace(
        rural,
        setting="urban",
        alternatives=(Alternative("walk", 15.0),),
        min_floor_area_m2=None,
        target_share=1.0,
    )
    plan = fc.load_plan("luanping-2025")
    return dataclasses.replace(plan, standards=(rural, urban))


@pytest.fixture(scope="module")
def tiny():
    """Ten units in a row, 20 km apart, each on a village street; one long road joins most of them.

    Homes stand at the middle of each unit's street; facilities as the table of rows below says.
    """
    names = [
        "own",
        "small",
        "hours",
        "closed",
        "shares",
        "too far",
        "blank",
        "none",
        "island",
        "off road",
    ]
    count = len(names)
    units = gpd.GeoDataFrame(
        {
            "unit_code": [f"1308241002{n:02d}" for n in range(count)],
            "name": names,
            "unit_kind": ["village"] * 9 + ["community"],
            "residents": [100.0] * count,
            "households": [30] * count,
        },
        geometry=[
            shapely.box(n * 20 * KM, -5 * KM, (n + 1) * 20 * KM, 5 * KM) for n in range(count)
        ],
        crs=CRS,
    )
    middle = [(n + 0.5) * 20 * KM for n in range(count)]
    road = [(middle[0] - 100, 0), *((x, 0) for x in middle[:8]), (middle[7] + 100, 0)]
    lines = gpd.GeoDataFrame(
        {"highway": ["primary", "residential", "residential"]},
        geometry=[
            shapely.LineString(road),
            shapely.LineString([(middle[8] - 500, 0), (middle[8] + 500, 0)]),
            shapely.LineString([(middle[9] - 500, 0), (middle[9] + 500, 0)]),
        ],
        crs=CRS,
    )
    rows = [
        # facility_id, unit, x, floor area, hours, status, served_by
        ("A", 0, middle[0], 250, 8, "in_use", None),
        ("B", 1, middle[1], 120, 8, "in_use", None),
        ("C", 2, middle[2], 250, 4, "in_use", None),
        ("D", 3, middle[3], 250, 8, "closed", None),
        ("E", 4, None, None, None, "shared", "H"),
        ("F", 5, None, None, None, "shared", "A"),
        ("G", 6, middle[6], None, 8, "in_use", None),
        ("H", 5, middle[4] + 5 * KM, 250, 8, "in_use", None),  # kept by "too far", near "shares"
        ("J", 9, middle[9], 300, 8, "in_use", None),
    ]
    ids, unit, x, area, hours, status, host = zip(*rows, strict=True)
    facilities = gpd.GeoDataFrame(
        {
            "facility_id": ids,
            "name": ids,
            "kind": "comprehensive_service",
            "unit_code": [units["unit_code"][n] for n in unit],
            "floor_area_m2": area,
            "hours_per_day": hours,
            "status": [
                "在用" if s == "in_use" else "停用" if s == "closed" else "共享" for s in status
            ],
            "served_by": host,
        },
        geometry=[None if place is None else shapely.Point(place, 0) for place in x],
        crs=CRS,
    )
    homes = [shapely.Point(place, 0) for place in middle]
    homes[9] = shapely.Point(middle[9], 900)  # 900 m from the street
    demand = gpd.GeoDataFrame(
        {"unit_code": units["unit_code"], "residents": units["residents"]}, geometry=homes, crs=CRS
    )
    units = fc.read_units(units)
    facilities = fc.read_facilities(facilities)
    demand = fc.read_demand(demand, units)
    return units, facilities, demand, lines


@pytest.fixture(scope="module")
def tiny_report(tiny, tiny_plan, tmp_path_factory):
    units, facilities, demand, lines = tiny
    path = tmp_path_factory.mktemp("tiny") / "roads.gpkg"
    lines.to_file(path)
    roads = fc.read_roads(path)
    access = fc.travel_times(units, facilities, roads, tiny_plan, demand=demand)
    return fc.assess(units, facilities, access, tiny_plan)


def test_the_hand_worked_county(tiny_report):
    # At 50 km/h 5 km take 6 min: 15 km 18, 20 km 24, 25 km 30, 35 km 42, 40 km 48, 55 km 66 min.
    expected = pd.DataFrame(
        [
            ("own", "covered", "", "covered", "", 0.0),
            # A facility stands at the door, but does not qualify; the nearest that does is far.
            ("small", "uncovered", "too_small", "uncovered", "too_small", 24.0),
            ("hours", "uncovered", "short_hours", "uncovered", "short_hours", 48.0),
            ("closed", "uncovered", "closed", "uncovered", "closed", 30.0),
            ("shares", "covered", "", "covered", "", 6.0),
            ("too far", "covered", "", "uncovered", "too_far", 18.0),
            # Its own facility has no floor area on record: it may or may not qualify.
            ("blank", "unknown", "no_data", "unknown", "no_data", 42.0),
            ("none", "uncovered", "no_facility", "uncovered", "too_far", 66.0),
            ("island", "uncovered", "no_facility", "unknown", "island", np.nan),
            ("off road", "covered", "", "unknown", "off_network", np.nan),
        ],
        columns=[
            "name",
            "ledger_state",
            "ledger_reason",
            "reachable_state",
            "reachable_reason",
            "minutes",
        ],
    )
    found = tiny_report.verdicts[expected.columns.tolist()]
    pd.testing.assert_frame_equal(
        found.astype({"name": object}),
        expected.astype({"name": object}),
        check_dtype=False,
        atol=1e-6,
    )


def test_an_agreement_counts_only_within_reach(tiny_report, tiny, tiny_plan):
    units, facilities, demand, _ = tiny
    alone = facilities[facilities["facility_id"] != "H"].reset_index(drop=True)
    access = fc.travel_times(units, alone, tiny_report.roads, tiny_plan, demand=demand)
    verdicts = fc.assess(units, alone, access, tiny_plan).verdicts.set_index("name")
    # F names A, 100 km away; E names H, which is gone.
    assert verdicts.loc["too far", ["ledger_state", "ledger_reason"]].tolist() == [
        "uncovered",
        "agreement_too_far",
    ]
    assert verdicts.loc["shares", ["ledger_state", "ledger_reason"]].tolist() == [
        "unknown",
        "no_data",
    ]


def test_the_official_flag_is_used_unchanged(tiny, tiny_plan, tiny_report):
    units, facilities, demand, _ = tiny
    flag = pd.array([pd.NA] * len(facilities), "boolean")
    flag[0], flag[1] = False, True
    flagged = facilities.assign(official_covered=flag)
    access = fc.travel_times(units, flagged, tiny_report.roads, tiny_plan, demand=demand)
    verdicts = fc.assess(units, flagged, access, tiny_plan).verdicts.set_index("name")
    assert verdicts.loc[["own", "small"], "ledger_state"].tolist() == ["uncovered", "covered"]


def test_rates_of_the_hand_worked_county(tiny_report):
    rates = tiny_report.rates.set_index(["setting", "basis", "measure"])
    columns = ["covered", "uncovered", "unknown", "total", "missing"]
    # 80 % of nine villages is eight.
    assert rates.loc[("rural", "ledger", "units"), columns].tolist() == [3, 5, 1, 9, 5]
    assert rates.loc[("rural", "reachable", "units"), columns].tolist() == [2, 5, 2, 9, 6]
    assert rates.loc[("urban", "reachable", "units"), columns].tolist() == [0, 0, 1, 1, 1]
    assert rates.loc[("rural", "reachable", "people"), columns[:4]].tolist() == [200, 500, 200, 900]
    area = rates.loc[("rural", "reachable", "area")]
    assert area["total"] == pytest.approx(9 * 200e6)


def test_unknown_residents_are_not_zero(tiny, tiny_plan, tiny_report):
    units, facilities, demand, _ = tiny
    some = demand.copy()
    some.loc[0, "residents"] = np.nan
    access = fc.travel_times(units, facilities, tiny_report.roads, tiny_plan, demand=some)
    report = fc.assess(units, facilities, access, tiny_plan)
    row = report.verdicts.iloc[0]
    assert row["reachable_state"] == "covered"  # by its demand points
    assert np.isnan(row["people_covered"])
    people = report.rates.query(
        "setting == 'rural' and basis == 'reachable' and measure == 'people'"
    )
    assert people[["covered", "share"]].isna().all(axis=None)


# --- the sample, recomputed by an independent few lines ----------------------------------------


def test_the_baseline_of_the_plan(report):
    rates = report.rates.query(
        "kind == 'comprehensive_service' and basis == 'ledger' and measure == 'units'"
    )
    assert rates[["covered", "total", "missing"]].to_numpy().tolist() == [
        [120, 199, 40],
        [14, 14, 0],
    ]
    values = report.indicators.set_index("number")
    assert values.loc[1, "value"] == pytest.approx(120 / 199)
    assert values.loc[1, "met"] is np.False_ or not values.loc[1, "met"]
    assert values.loc[4, "value"] == pytest.approx(22.0)
    assert values.loc[[3, 6, 7], "value"].isna().all()
    assert (values.loc[[3, 6, 7], "missing_data"] != "").all()


def test_rates_are_the_sums_of_verdicts(report):
    for row in report.rates.itertuples():
        group = report.verdicts[
            (report.verdicts["kind"] == row.kind) & (report.verdicts["setting"] == row.setting)
        ]
        assert row.covered + row.uncovered + row.unknown == pytest.approx(row.total)
        if row.measure == "units":
            flagged = int((report.units["resettlement"] | report.units["hollow_village"]).sum())
            assert row.total == {"rural": 199, "urban": 14, "resettlement": flagged}[row.setting]
            assert row.covered == (group[f"{row.basis}_state"] == "covered").sum()
        elif row.measure == "area":
            own = report.units.set_index("unit_code").loc[group["unit_code"]]
            assert row.total == pytest.approx(own.to_crs(report.roads.crs).area.sum())
    people = (
        report.rates.query("basis == 'reachable' and measure == 'people'")
        .groupby("kind")["total"]
        .sum()
    )
    flagged = report.units["resettlement"] | report.units["hollow_village"]
    assert people.pop("resettlement_service") == report.units.loc[flagged, "residents"].sum()
    assert people.pop("day_care") == report.units["elderly"].sum()
    assert np.allclose(people, 287_986)


def test_demand_verdicts_recomputed_from_the_plain_table(report, access):
    """Rural comprehensive service: walk 20 or e-bike 15 or motor 15, by pandas alone."""
    limits = {"walk": 20, "ebike": 15, "motor": 15}
    table = access.table.query("kind == 'comprehensive_service' and min_floor_area_m2 == 200")
    wide = table.pivot_table(index="demand_id", columns="mode", values="minutes", dropna=False)
    passed = pd.concat([wide[mode] <= limit for mode, limit in limits.items()], axis=1).any(axis=1)
    rural = report.units.loc[report.units["setting"] == "rural", "unit_code"]
    judged = report.demand_verdicts.query("kind == 'comprehensive_service'").set_index("demand_id")
    judged = judged[judged["unit_code"].isin(rural)]
    assert (passed.loc[judged.index] == (judged["state"] == "covered")).all()
    share = judged[judged["state"] == "covered"].groupby("unit_code")["residents"].sum()
    whole = judged.groupby("unit_code")["residents"].sum()
    covered = (share.reindex(whole.index).fillna(0) >= whole / 2).sum()
    row = report.rates.query(
        "kind == 'comprehensive_service' and setting == 'rural' "
        "and basis == 'reachable' and measure == 'units'"
    ).iloc[0]
    assert row["covered"] == covered


def test_a_composite_circle_needs_every_trade(report, access, plan):
    standard = plan.standard("convenience_circle", "urban")
    wide = access.table.query("mode == 'walk'").pivot_table(
        index="demand_id", columns="kind", values="minutes", dropna=False
    )
    passed = (wide[list(standard.kinds)] <= 15).all(axis=1)
    urban = report.units.loc[report.units["setting"] == "urban", "unit_code"]
    judged = report.demand_verdicts.query("kind == 'convenience_circle'").set_index("demand_id")
    judged = judged[judged["unit_code"].isin(urban)]
    assert 0 < passed.loc[judged.index].sum() < len(judged)
    assert (passed.loc[judged.index] == (judged["state"] == "covered")).all()


def test_one_more_facility_never_lowers_a_rate(report, units, facilities, roads, plan, demand):
    gap = report.verdicts.query(
        "kind == 'comprehensive_service' and reachable_state == 'uncovered'"
    ).iloc[0]
    home = demand[demand["unit_code"] == gap["unit_code"]].iloc[[0]]
    new = facilities.iloc[[0]].assign(
        facility_id="NEW",
        unit_code=gap["unit_code"],
        floor_area_m2=300.0,
        hours_per_day=8.0,
        status="in_use",
    )
    new = new.set_geometry(home.geometry.to_crs(facilities.crs).to_numpy())
    more = pd.concat([facilities, new], ignore_index=True)
    access = fc.travel_times(units, more, roads, plan, demand=demand)
    after = fc.assess(units, more, access, plan)
    gain = after.rates["covered"] - report.rates["covered"]
    assert (gain >= -1e-6).all()
    kind = report.rates["kind"] == "comprehensive_service"
    assert (
        gain[kind & (report.rates["setting"] == "rural") & (report.rates["measure"] == "units")]
        >= 1
    ).all()


def test_facilities_beyond_the_border_are_marked_and_count(report):
    outside = report.facilities[report.facilities["outside"]]
    assert len(outside) > 0
    assert outside["unit_code"].isna().all()
    assert report.demand_verdicts["facility_id"].isin(outside["facility_id"]).any()


def test_the_report_shows_itself_and_its_stamp(report):
    html = report._repr_html_()
    assert "示例数据，非测绘成果" in html
    assert "60.3%" in html


def test_people_are_assumed_only_where_nobody_says(units, facilities, roads, plan):
    access = fc.travel_times(units, facilities, roads, plan)
    assert set(access.demand["source"]) == {"assumed"}
    assert access.demand["residents"].sum() == pytest.approx(287_986)
    assert set(access.demand["unit_code"]) == set(units["unit_code"])
    inside = gpd.sjoin(access.demand, units[["unit_code", "geometry"]], predicate="intersects")
    assert (inside["unit_code_left"] == inside["unit_code_right"]).mean() > 0.999


def test_a_facility_far_from_any_road_is_said_so(units, facilities, roads, plan, demand, tmp_path):
    own = facilities.index[facilities["kind"] == "comprehensive_service"][0]
    far = facilities.copy()
    low_x, low_y, _, _ = roads.edges.to_crs(facilities.crs).total_bounds
    far.loc[own, "geometry"] = shapely.Point(low_x - 0.2, low_y - 0.2)
    access = fc.travel_times(units, far, roads, plan, demand=demand)
    report = fc.assess(units, far, access, plan)
    assert report.facilities.loc[own, "road_flag"] == "off_network"
    assert not (report.demand_verdicts["facility_id"] == far.loc[own, "facility_id"]).any()
    path = fc.write_workbook(report, fc.propose_projects(report, roads), tmp_path / "a.xlsx")
    told = list(load_workbook(path)["设施台账核对"].iter_rows(values_only=True))
    assert any("设施500米内没有道路" in str(row) for row in told)


def test_a_unit_without_a_boundary_counts_and_cannot_be_told(units, facilities, roads, plan):
    lost = units["unit_code"].iloc[20]
    shapes = units.geometry.where(units["unit_code"] != lost, None)
    bare = units.set_geometry(shapes)
    access = fc.travel_times(bare, facilities, roads, plan)
    report = fc.assess(bare, facilities, access, plan)
    own = report.verdicts[report.verdicts["unit_code"] == lost]
    asked = own[own["reachable_state"] != "not_applicable"]
    assert set(asked["reachable_state"]) == {"unknown"}
    assert set(asked["reachable_reason"]) == {"no_data"}
    assert (asked["people_unknown"] == asked["people"]).all()
    counted = asked.set_index("kind")["people"]
    assert counted["clinic"] == units["residents"].iloc[20]
    assert counted["day_care"] == units["elderly"].iloc[20]
    rate = report.rates.query(
        "kind == 'clinic' and setting == 'rural' and basis == 'reachable' and measure == 'people'"
    )
    rural = units.loc[units["setting"] == "rural", "residents"].sum()
    assert rate["total"].item() == pytest.approx(rural)
