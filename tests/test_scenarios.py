"""What changed between two reports, and by what: worked by hand, and on the sample."""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import facility_coverage as fc
from facility_coverage.standards import Alternative, Standard

CRS = "EPSG:32650"
KM = 1000.0
STEP = 20 * KM  # 24 minutes at 50 km/h: farther than anybody may go
NAMES = [
    "new",
    "shut",
    "grown",
    "longer",
    "moved",
    "known",
    "agrees",
    "host",
    "cut",
    "people",
    "flag",
    "same",
]
AT = {name: (number + 0.5) * STEP for number, name in enumerate(NAMES)}
CODE = {name: f"1308241002{number:02d}" for number, name in enumerate(NAMES)}
RURAL = Standard(
    "comprehensive_service",
    "rural",
    (Alternative("walk", 20.0), Alternative("motor", 15.0)),
    min_floor_area_m2=200.0,
    min_hours_per_day=8.0,
    on_ledger=True,
    target_share=0.8,
)
COLUMNS = ["facility_id", "unit", "x", "y", "area", "hours", "status", "served_by", "flag"]
BEFORE = [
    ("shut-1", "shut", AT["shut"], 0, 250, 8, "在用", None, None),
    ("grown-1", "grown", AT["grown"], 0, 120, 8, "在用", None, None),
    ("longer-1", "longer", AT["longer"], 0, 250, 4, "在用", None, None),
    ("moved-1", "moved", AT["moved"], 0, 250, 8, "在用", None, None),
    ("known-1", "known", AT["known"], 0, None, 8, "在用", None, None),
    # Five kilometres, six minutes from "agrees"; fifteen, eighteen minutes, from its own "host".
    ("host-1", "host", AT["agrees"] + 5 * KM, 0, 250, 8, "在用", None, None),
    ("cut-1", "cut", AT["cut"], 4 * KM, 250, 8, "在用", None, None),
    ("people-1", "people", AT["people"], 0, 250, 8, "在用", None, None),
    ("flag-1", "flag", AT["flag"], 0, 120, 8, "在用", None, "否"),
    ("same-1", "same", AT["same"], 0, 250, 8, "在用", None, None),
]
AFTER = {
    "new-1": ("new-1", "new", AT["new"], 0, 250, 8, "在用", None, None),
    "shut-1": ("shut-1", "shut", AT["shut"], 0, 250, 8, "停用", None, None),
    "grown-1": ("grown-1", "grown", AT["grown"], 0, 250, 8, "在用", None, None),
    "longer-1": ("longer-1", "longer", AT["longer"], 0, 250, 8, "在用", None, None),
    # Fifteen kilometres to the west are eighteen minutes from home, nine from nobody else.
    "moved-1": ("moved-1", "moved", AT["moved"] - 5 * KM, 9 * KM, 250, 8, "在用", None, None),
    "known-1": ("known-1", "known", AT["known"], 0, 250, 8, "在用", None, None),
    "agrees-1": ("agrees-1", "agrees", None, None, None, None, "共享", "host-1", None),
    "flag-1": ("flag-1", "flag", AT["flag"], 0, 120, 8, "在用", None, "是"),
}


def ledger(rows):
    table = pd.DataFrame(rows, columns=COLUMNS)
    geometry = [
        None if pd.isna(x) else shapely.Point(x, y)
        for x, y in zip(table["x"], table["y"], strict=True)
    ]
    return fc.read_facilities(
        gpd.GeoDataFrame(
            {
                "facility_id": table["facility_id"],
                "name": table["facility_id"] + " station",
                "kind": "comprehensive_service",
                "unit_code": table["unit"].map(CODE),
                "floor_area_m2": table["area"],
                "hours_per_day": table["hours"],
                "status": table["status"],
                "served_by": table["served_by"],
                "official_covered": table["flag"],
            },
            geometry=geometry,
            crs=CRS,
        )
    )


def with_changes(*changed):
    """Give the ledger with some facilities as they are after, new ones last."""
    kept = [AFTER[row[0]] if row[0] in changed else row for row in BEFORE]
    known = {row[0] for row in BEFORE}
    return ledger([*kept, *(AFTER[each] for each in changed if each not in known)])


@pytest.fixture(scope="module")
def tiny_units():
    return fc.read_units(
        gpd.GeoDataFrame(
            {
                "unit_code": list(CODE.values()),
                "name": NAMES,
                "unit_kind": "village",
                "residents": 100.0,
                "households": 30,
            },
            geometry=[shapely.box(x - STEP / 2, -KM, x + STEP / 2, 10 * KM) for x in AT.values()],
            crs=CRS,
        )
    )


@pytest.fixture(scope="module")
def tiny_demand(tiny_units):
    homes = [shapely.Point(x, 0) for x in AT.values()]
    return fc.read_demand(
        gpd.GeoDataFrame(
            {"unit_code": list(CODE.values()), "residents": 100.0}, geometry=homes, crs=CRS
        ),
        tiny_units,
    )


@pytest.fixture(scope="module")
def tiny_roads(tmp_path_factory):
    """One long road, and two lanes that leave it northward: in "cut" and in "moved"."""
    main = [(x, 0) for x in (-100, *sorted([*AT.values(), AT["moved"] - 5 * KM]), 12 * STEP + 100)]
    lanes = [[(x, 0), (x, 10 * KM)] for x in (AT["cut"], AT["moved"] - 5 * KM)]
    lines = gpd.GeoDataFrame(
        {
            "highway": ["primary", "primary", "primary"],
            "name": ["Long Road", "North Lane", "Hill Lane"],
        },
        geometry=[shapely.LineString(each) for each in (main, *lanes)],
        crs=CRS,
    )
    path = tmp_path_factory.mktemp("scenarios") / "roads.gpkg"
    lines.to_file(path)
    return fc.read_roads(path)


@pytest.fixture(scope="module")
def tiny(tiny_units, tiny_demand, tiny_roads):
    plan = dataclasses.replace(
        fc.load_plan("luanping-2025"), standards=(RURAL,), indicators=(), promises=()
    )

    def report(facilities=None, *, standards=(RURAL,), **changed):
        given = {"units": tiny_units, "roads": tiny_roads, "demand": tiny_demand, **changed}
        table = ledger(BEFORE) if facilities is None else facilities
        judged = dataclasses.replace(plan, standards=tuple(standards))
        access = fc.travel_times(
            given["units"],
            table,
            given["roads"],
            judged,
            demand=given["demand"],
            area_spacing_m=5 * KM,
        )
        return fc.assess(given["units"], table, access, judged)

    return report


@pytest.fixture(scope="module")
def tiny_before(tiny):
    return tiny()


@pytest.fixture(scope="module")
def cut_roads(tiny_roads):
    slide = gpd.GeoSeries([shapely.Point(AT["cut"], 2 * KM).buffer(50)], crs=CRS)
    return fc.close_roads(tiny_roads, slide)


def more_people(demand, name, residents):
    return demand.assign(
        residents=demand["residents"].mask(demand["unit_code"] == CODE[name], residents)
    )


SHOWN = ["name", "basis", "change", "people_gained", "cause", "cause_facility_id", "detail"]


def plain(table):
    """Give rows as tuples, None where a value is missing."""
    return [
        tuple(None if pd.isna(value) else value for value in row)
        for row in table.itertuples(index=False)
    ]


def shown(comparison):
    order = {name: number for number, name in enumerate(NAMES)}
    return sorted(plain(comparison.units[SHOWN]), key=lambda row: (order[row[0]], row[1]))


# --- the hand-worked county ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_after(tiny, cut_roads, tiny_demand):
    return tiny(
        with_changes(*AFTER), roads=cut_roads, demand=more_people(tiny_demand, "people", 150.0)
    )


GROWN, LONGER = "floor_area_m2: 120.0 → 250.0", "hours_per_day: 4.0 → 8.0"
KNOWN, FLAG = "floor_area_m2: — → 250.0", "official_covered: False → True"
HAND_WORKED = [
    ("new", "ledger", "gained", 100.0, "facility", "new-1", "opened"),
    ("new", "reachable", "gained", 100.0, "facility", "new-1", "opened"),
    ("shut", "ledger", "lost", -100.0, "facility", "shut-1", "closed"),
    ("shut", "reachable", "lost", -100.0, "facility", "shut-1", "closed"),
    ("grown", "ledger", "gained", 100.0, "facility", "grown-1", GROWN),
    ("grown", "reachable", "gained", 100.0, "facility", "grown-1", GROWN),
    ("longer", "ledger", "gained", 100.0, "facility", "longer-1", LONGER),
    ("longer", "reachable", "gained", 100.0, "facility", "longer-1", LONGER),
    ("moved", "reachable", "lost", -100.0, "facility", "moved-1", "moved"),
    ("known", "ledger", "gained", 100.0, "facility", "known-1", KNOWN),
    ("known", "reachable", "gained", 100.0, "facility", "known-1", KNOWN),
    ("agrees", "ledger", "gained", 100.0, "facility", "host-1", "agrees-1: opened"),
    ("cut", "reachable", "lost", -100.0, "road", None, "North Lane closed"),
    ("people", "ledger", "more_people", 50.0, "people", None, ""),
    ("people", "reachable", "more_people", 50.0, "people", None, ""),
    ("flag", "ledger", "gained", 100.0, "facility", "flag-1", FLAG),
]


def test_every_cause_in_the_hand_worked_county(tiny_before, tiny_after):
    found = fc.compare(tiny_before, tiny_after)
    assert shown(found) == HAND_WORKED
    states = found.units.set_index(["name", "basis"])[["before", "after"]]
    assert states.loc[("known", "reachable")].tolist() == ["unknown", "covered"]
    assert states.loc[("people", "reachable")].tolist() == ["covered", "covered"]


def test_rates_stand_beside_each_other(tiny_before, tiny_after):
    rates = fc.compare(tiny_before, tiny_after).rates.set_index(["basis", "measure"])
    on_ledger, reachable = rates.loc[("ledger", "units")], rates.loc[("reachable", "units")]
    names = ["covered_before", "covered_after", "total_before", "total_after", "target"]
    assert on_ledger[names].tolist() == [6, 11, 12, 12, 0.8]
    assert on_ledger["change_share_points"] == pytest.approx(100 * 5 / 12)
    # Four fifths of twelve are ten.
    assert on_ledger[["missing_before", "missing_after"]].tolist() == [4, 0]
    assert on_ledger[["met_before", "met_after"]].tolist() == [False, True]
    assert reachable[["covered_before", "covered_after"]].tolist() == [6, 7]


def test_facilities_are_told(tiny_before, tiny_after):
    found = fc.compare(tiny_before, tiny_after).facilities
    rows = sorted(plain(found[["facility_id", "change", "column", "before", "after"]]), key=str)
    assert rows == [
        ("agrees-1", "opened", None, None, None),
        ("flag-1", "changed", "official_covered", False, True),
        ("grown-1", "changed", "floor_area_m2", 120, 250),
        ("known-1", "changed", "floor_area_m2", None, 250),
        ("longer-1", "changed", "hours_per_day", 4, 8),
        (
            "moved-1",
            "moved",
            "geometry",
            f"{AT['moved']:.0f}, 0",
            f"{AT['moved'] - 5 * KM:.0f}, 9000",
        ),
        ("new-1", "opened", None, None, None),
        ("shut-1", "closed", "status", "in_use", "closed"),
    ]


def test_swapping_the_reports_swaps_gained_and_lost(tiny_before, tiny_after):
    there, back = (
        fc.compare(*reports).units.set_index(["name", "basis"])
        for reports in ((tiny_before, tiny_after), (tiny_after, tiny_before))
    )
    back = back.loc[there.index]
    assert (there["before"] == back["after"]).all()
    assert np.allclose(there["people_gained"], -back["people_gained"], equal_nan=True)
    opposite = {"gained": "lost", "lost": "gained", "more_people": "fewer_people"}
    known = there.index.get_level_values(0) != "known"
    assert (there["change"].map(opposite) == back["change"])[known].all()
    assert (there["cause"] == back["cause"]).all()


def test_nothing_changes_between_a_report_and_itself(tiny_before, tiny):
    for other in (tiny_before, tiny()):
        found = fc.compare(tiny_before, other)
        assert found.units.empty
        assert found.facilities.empty
        assert list(found.units.columns) == list(fc.compare(other, tiny_before).units.columns)
        assert (found.rates["change_share_points"] == 0).all()
        assert found.summary("en") == "Coverage has not changed."


# --- rules --------------------------------------------------------------------------------------


def loosened(**changes):
    return dataclasses.replace(RURAL, **changes)


TWENTY = (Alternative("walk", 20.0), Alternative("motor", 20.0))


@pytest.mark.parametrize(
    ("standard", "expected"),
    [
        # "host" is eighteen minutes from its own facility.
        (loosened(alternatives=TWENTY), [("host", "reachable", "gained")]),
        (
            loosened(min_floor_area_m2=100.0),
            # On the ledger the flag says no.
            [
                ("grown", "ledger", "gained"),
                ("grown", "reachable", "gained"),
                ("flag", "reachable", "gained"),
            ],
        ),
        (
            loosened(alternatives=TWENTY, min_hours_per_day=4.0),
            [
                ("longer", "ledger", "gained"),
                ("longer", "reachable", "gained"),
                ("host", "reachable", "gained"),
            ],
        ),
    ],
)
def test_a_rule_is_named_as_the_cause(tiny, tiny_before, standard, expected):
    found = fc.compare(tiny_before, tiny(standards=[standard]))
    assert [row[:3] for row in shown(found)] == expected
    assert set(found.units["cause"]) == {"rule"}
    assert np.allclose(found.units["people_gained_by_rule"], found.units["people_gained"])


def test_the_rule_is_told_before_and_after(tiny, tiny_before):
    found = fc.compare(tiny_before, tiny(standards=[loosened(min_floor_area_m2=100.0)])).units
    assert set(found["detail"]) == {"min_floor_area_m2: 200.0 → 100.0"}


def test_of_two_inputs_the_one_that_changes_the_state_last_is_the_cause(tiny, tiny_before):
    # "grown" grew, and would count by the laxer rule anyway; facilities take their place first.
    # "new" has a facility of 150 m², which counts by the laxer rule alone.
    small = ("new-1", "new", AT["new"], 0, 150, 8, "在用", None, None)
    rows = [AFTER["grown-1"] if row[0] == "grown-1" else row for row in BEFORE]
    lax = [loosened(min_floor_area_m2=100.0)]
    found = fc.compare(tiny_before, tiny(ledger([*rows, small]), standards=lax))
    causes = found.units.set_index(["name", "basis"])["cause"]
    for basis in ("ledger", "reachable"):
        assert causes["grown", basis] == "facility"
        assert causes["new", basis] == "rule"
    parts = found.units.filter(like="people_gained_by_").sum(axis=1)
    assert np.allclose(parts, found.units["people_gained"])


def test_speeds_are_rules(tiny_units, tiny_demand, tiny_roads, tiny_before):
    plan = tiny_before.plan
    fast = dataclasses.replace(
        plan.modes["motor"], speeds_kph={**plan.modes["motor"].speeds_kph, "primary": 70.0}
    )
    faster = dataclasses.replace(plan, modes={**plan.modes, "motor": fast})
    table = ledger(BEFORE)
    access = fc.travel_times(
        tiny_units, table, tiny_roads, faster, demand=tiny_demand, area_spacing_m=5 * KM
    )
    found = fc.compare(tiny_before, fc.assess(tiny_units, table, access, faster))
    # Fifteen kilometres at 70 km/h take 12.9 minutes.
    assert shown(found) == [
        ("host", "reachable", "gained", 100.0, "rule", None, "motor: other speeds or roads")
    ]


# --- agreements, roads, people --------------------------------------------------------------------


def test_agreements_end_and_hosts_close(tiny):
    shared = with_changes("agrees-1")
    before = tiny(shared)
    alone = tiny(shared[shared["facility_id"] != "agrees-1"].reset_index(drop=True))
    assert shown(fc.compare(before, alone)) == [
        ("agrees", "ledger", "lost", -100.0, "facility", "host-1", "agrees-1: closed")
    ]
    status = shared["status"].mask(shared["facility_id"] == "host-1", "closed")
    closed = fc.compare(before, tiny(shared.assign(status=status)))
    assert shown(closed) == [
        ("agrees", "ledger", "lost", -100.0, "facility", "host-1", "closed"),
        ("agrees", "reachable", "lost", -100.0, "facility", "host-1", "closed"),
        ("host", "ledger", "lost", -100.0, "facility", "host-1", "closed"),
    ]


def test_a_road_cuts_off_an_agreement(tiny, tiny_roads):
    shared = with_changes("agrees-1")
    slide = gpd.GeoSeries([shapely.Point(AT["agrees"] + 2 * KM, 0).buffer(50)], crs=CRS)
    found = fc.compare(tiny(shared), tiny(shared, roads=fc.close_roads(tiny_roads, slide)))
    assert ("agrees", "ledger") in {row[:2] for row in shown(found)}
    assert set(found.units["cause"]) == {"road"}
    assert set(found.units["detail"]) == {"Long Road closed"}


def test_homes_that_move_or_appear_are_people(tiny, tiny_before, tiny_demand):
    place = tiny_demand.geometry.copy()
    row = tiny_demand.index[tiny_demand["unit_code"] == CODE["same"]][0]
    # Homes sixteen kilometres off their station, with nothing else nearer: 19.2 minutes.
    spot = gpd.GeoSeries([shapely.Point(AT["same"] - 16 * KM, 0)], crs=CRS).to_crs(place.crs)
    place[row] = spot.iloc[0]
    moved = fc.compare(tiny_before, tiny(demand=tiny_demand.set_geometry(place)))
    assert ("same", "reachable", "lost", -100.0, "people", None, "") in shown(moved)


def test_unknown_people_are_not_zero(tiny, tiny_before, tiny_demand):
    found = fc.compare(tiny_before, tiny(demand=more_people(tiny_demand, "same", np.nan))).units
    assert found[["name", "basis", "change", "cause"]].to_numpy().tolist() == [
        ["same", basis, "people_unknown", "people"] for basis in ("ledger", "reachable")
    ]
    assert found["people_gained"].isna().all()


def test_units_that_come_and_go(tiny, tiny_before, tiny_units, tiny_demand):
    kept = (tiny_units["unit_code"] != CODE["same"]).to_numpy()
    fewer = tiny(
        units=tiny_units[kept].reset_index(drop=True),
        demand=tiny_demand[kept].reset_index(drop=True),
    )
    gone, come = fc.compare(tiny_before, fewer).units, fc.compare(fewer, tiny_before).units
    assert gone["change"].tolist() == ["no_longer_counted"] * 2
    assert gone["after"].tolist() == ["absent"] * 2
    assert gone["people_gained"].tolist() == [-100.0] * 2
    assert come["change"].tolist() == ["now_counted"] * 2
    assert set(come["cause"]) == set(gone["cause"]) == {"people"}


def test_kinds_of_one_plan_only_are_named_and_not_compared(tiny, tiny_before):
    clinic = dataclasses.replace(RURAL, kind="clinic", target_share=None)
    found = fc.compare(tiny_before, tiny(standards=[RURAL, clinic]))
    assert (found.kinds, found.kinds_of_one_only) == (("comprehensive_service",), ("clinic",))
    assert set(found.rates["kind"]) == {"comprehensive_service"}
    assert found.units.empty
    with pytest.raises(fc.InputError, match="no kind in common: before comprehensive_service"):
        fc.compare(tiny_before, tiny(standards=[clinic]))


def test_different_counties_are_refused(tiny, tiny_before, tiny_units, tiny_demand):
    other = {old: f"2{old[1:]}" for old in CODE.values()}
    elsewhere = tiny(
        units=tiny_units.assign(unit_code=tiny_units["unit_code"].map(other)),
        demand=tiny_demand.assign(unit_code=tiny_demand["unit_code"].map(other)),
    )
    with pytest.raises(fc.InputError, match=r"different counties.*130824.*230824"):
        fc.compare(tiny_before, elsewhere)
    with pytest.raises(fc.InputError, match="different counties"):
        fc.monitor({2020: tiny_before, 2021: elsewhere})


def test_a_comparison_shows_itself(tiny_before, tiny_after):
    found = fc.compare(tiny_before, tiny_after)
    assert repr(found).startswith("<Comparison: 16 changes of 10 units")
    html = found._repr_html_()
    for word in ("新增覆盖", "North Lane", "6/12 (50.0%) → 11/12 (91.7%)"):
        assert word in html
    english = found.summary("en")
    assert "6/12 (50.0%) → 11/12 (91.7%)" in english
    assert "nan" not in english + html.lower()


# --- the sample county --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def again(units, facilities, roads, plan, demand):
    """Assess the sample anew with some of its inputs changed."""

    def report(**changed):
        given = {"facilities": facilities, "roads": roads, "plan": plan, **changed}
        access = fc.travel_times(
            units, given["facilities"], given["roads"], given["plan"], demand=demand
        )
        return fc.assess(units, given["facilities"], access, given["plan"])

    return report


def changed_rows(before, after):
    """Give the unit × kind × basis that changed, by pandas alone."""
    both = before.verdicts.merge(after.verdicts, on=["kind", "unit_code"], suffixes=("_b", "_a"))
    found = set()
    for basis in ("ledger", "reachable"):
        changed = both[f"{basis}_state_b"] != both[f"{basis}_state_a"]
        if basis == "reachable":
            same = np.isclose(both["people_covered_b"], both["people_covered_a"], equal_nan=True)
            changed |= ~same
        rows = both.loc[changed, ["kind", "unit_code"]].itertuples(index=False)
        found |= {(*row, basis) for row in rows}
    return found


def check_sums(comparison):
    """People gained by units are the difference of the rates by people."""
    rates = comparison.rates.query("measure == 'people'")
    sums = comparison.units.groupby(["kind", "setting", "basis"])["people_gained"].sum()
    for row in rates.itertuples():
        expected = row.covered_after - row.covered_before
        found = sums.get((row.kind, row.setting, row.basis), 0.0)
        assert found == pytest.approx(expected, abs=1e-6), row


@pytest.fixture(scope="module")
def changed_inputs(report, facilities, roads, demand, plan):
    """One village station more, a shared one closed, a road cut that one drives, a laxer rule."""
    gap = report.verdicts.query(
        "kind == 'comprehensive_service' and setting == 'rural' and "
        "ledger_state == 'uncovered' and reachable_state == 'uncovered'"
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
    shared = report.verdicts.query("kind == 'comprehensive_service' and shared").iloc[0]
    shut = facilities["facility_id"] == shared["ledger_facility_id"]
    driven = report.demand_verdicts.query(
        "kind == 'comprehensive_service' and state == 'covered' and mode == 'motor'"
    )
    last = driven.loc[driven["minutes"].idxmax()]
    trip = fc.route(
        demand.geometry[demand["demand_id"] == last["demand_id"]],
        facilities.geometry[facilities["facility_id"] == last["facility_id"]],
        roads,
        mode="motor",
    )
    legs = trip.legs[(trip.legs["part"] == "road") & trip.legs["name"].notna()]
    edge = roads.edges.loc[[int(legs.loc[legs["length_m"].idxmax(), "edge"])]]
    old = plan.standard("comprehensive_service", "rural")
    longer = tuple(
        dataclasses.replace(each, minutes=each.minutes * 1.5) for each in old.alternatives
    )
    laxer = dataclasses.replace(old, alternatives=longer)
    standards = tuple(laxer if each is old else each for each in plan.standards)
    return {
        "opened": {"facilities": pd.concat([facilities, new], ignore_index=True)},
        "closed": {
            "facilities": facilities.assign(status=facilities["status"].mask(shut, "closed"))
        },
        "road": {"roads": fc.close_roads(roads, edge.interpolate(0.5, normalized=True).buffer(20))},
        "rule": {"plan": dataclasses.replace(plan, standards=standards)},
    }


@pytest.mark.parametrize("name", ["opened", "closed", "road", "rule"])
def test_one_change_of_the_sample(report, again, changed_inputs, name):
    after = again(**changed_inputs[name])
    found = fc.compare(report, after)
    told = found.units[["kind", "unit_code", "basis"]].itertuples(index=False, name=None)
    assert set(told) == changed_rows(report, after)
    assert len(found.units) > 0
    check_sums(found)
    assert set(found.units["cause"]) == {name if name in ("road", "rule") else "facility"}
    if name == "opened":
        assert set(found.units["cause_facility_id"]) == {"NEW"}
    if name in ("opened", "closed"):
        assert set(found.units["detail"]) == {name}


def test_two_changes_are_told_apart(report, again, changed_inputs):
    after = again(**changed_inputs["opened"], **changed_inputs["rule"])
    found = fc.compare(report, after)
    check_sums(found)
    assert set(found.units["cause"]) == {"facility", "rule"}
    alone = fc.compare(report, again(**changed_inputs["opened"])).units
    by_facility = found.units[found.units["cause"] == "facility"]
    assert set(by_facility["unit_code"]) <= set(alone["unit_code"])
    parts = found.units.filter(like="people_gained_by_").sum(axis=1)
    assert np.allclose(parts, found.units["people_gained"])
