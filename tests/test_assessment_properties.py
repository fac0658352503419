"""What always holds of verdicts and rates, on counties made by hypothesis."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.standards import Alternative, Standard

from .split_graph import nearest_minutes
from .towns import CRS, towns

STATES = ["covered", "uncovered", "unknown"]
PLAN = fc.Plan(
    plan_id="test",
    name_zh="测试",
    name_en="test",
    source="",
    baseline_year=2020,
    target_year=2025,
    standards=(
        Standard(
            "clinic",
            "rural",
            (Alternative("walk", 8.0), Alternative("motor", 3.0)),
            min_floor_area_m2=200.0,
            min_hours_per_day=8.0,
            on_ledger=True,
            target_share=0.8,
        ),
        Standard(
            "clinic",
            "urban",
            (Alternative("walk", metres=500.0, measure="network"),),
            on_ledger=True,
            target_share=1.0,
        ),
        Standard(
            "circle",
            "all",
            (Alternative("walk", 10.0), Alternative("walk", metres=400.0, measure="straight")),
            kinds=("clinic", "pharmacy"),
            further_kinds=("market",),
            population="elderly",
        ),
        Standard("pharmacy", "resettlement", (Alternative("bicycle", 4.0),), on_ledger=True),
    ),
)
KINDS = ["clinic", "pharmacy", "market"]
CODES = [f"13082410020{n}" for n in range(3)]


@st.composite
def counties(draw):
    """Three units in a row, homes in them, facilities in and around them, one row a note."""
    roads, homes, sites = draw(towns())
    units = gpd.GeoDataFrame(
        {
            "unit_code": CODES,
            "name": ["甲村", "乙村", "丙社区"],
            "setting": ["rural", draw(st.sampled_from(["rural", "urban"])), "urban"],
            "resettlement": draw(st.lists(st.booleans(), min_size=3, max_size=3)),
            "residents": [100, 200, 300],
            "elderly": [20, None, 60],
            "households": [30, 60, 90],
        },
        # The town reaches to 1,900 m: what lies beyond 1,500 m is outside.
        geometry=[shapely.box(x, -100, x + 500, 2000) for x in (0, 500, 1000)],
        crs=CRS,
    )
    units["geometry"] = units.geometry.translate(-0.5, 0)
    inside = [xy for xy in homes if 180 < xy[0] < 1499] or [(307.317, 307.733)]
    sites = [xy for xy in sites if xy[0] > 180] or [(407.317, 307.733)]  # no degrees
    demand = gpd.GeoDataFrame(
        {
            "residents": draw(
                st.lists(st.integers(0, 50), min_size=len(inside), max_size=len(inside))
            )
        },
        geometry=gpd.points_from_xy(*zip(*inside, strict=True)),
        crs=CRS,
    )
    rows = [
        {
            "facility_id": f"F{number}",
            "kind": draw(st.sampled_from(KINDS)),
            "unit_code": draw(st.sampled_from([*CODES, None])),
            "floor_area_m2": draw(st.sampled_from([100.0, 250.0, 400.0, None])),
            "hours_per_day": draw(st.sampled_from([4.0, 8.0, None])),
            "status": draw(st.sampled_from(["in_use", "in_use", "closed", "planned", "unknown"])),
            "served_by": None,
            "geometry": shapely.Point(xy),
        }
        for number, xy in enumerate([*sites, *sites[:2]])
    ]
    rows.extend(
        {
            "facility_id": f"S{number}",
            "kind": "clinic",
            "unit_code": draw(st.sampled_from(CODES)),
            "floor_area_m2": None,
            "hours_per_day": None,
            "status": "shared",
            "served_by": draw(st.sampled_from(["F0", "F1", "nobody"])),
            "geometry": None,
        }
        for number in range(draw(st.integers(0, 2)))
    )
    facilities = gpd.GeoDataFrame(rows, geometry="geometry", crs=CRS)
    return roads, units, facilities.assign(name=facilities["facility_id"]), demand


def assessed(county, plan=PLAN, **changed):
    """Read and assess a county; `changed` tables go instead of its own."""
    roads, units, facilities, demand = county
    units = fc.read_units(changed.get("units", units))
    facilities = fc.read_facilities(changed.get("facilities", facilities))
    demand = fc.read_demand(changed.get("demand", demand), units)
    access = fc.travel_times(units, facilities, roads, plan, demand=demand, area_spacing_m=100.0)
    return fc.assess(units, facilities, access, plan)


# Shrinking asks for thousands of counties: it is left out.
few = settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
pytestmark = pytest.mark.filterwarnings("ignore::facility_coverage.IntakeWarning")


def oracle_states(report, standard):
    """Judge the demand points of a standard by loops over networkx' minutes, facility by facility.

    Gives None where no facility that qualifies can be reached at all: why not is another matter.
    """
    facilities, roads = report.facilities, report.roads
    placed = facilities[facilities.geometry.notna()]

    def fits(row, kind, *, perhaps):
        if row.kind != kind or row.status not in (["in_use", "unknown"] if perhaps else ["in_use"]):
            return False
        return all(
            least is None or value >= least or (perhaps and value != value)  # noqa: PLR0124
            for value, least in (
                (row.floor_area_m2, standard.min_floor_area_m2),
                (row.hours_per_day, standard.min_hours_per_day),
            )
        )

    homes = report.demand.to_crs(roads.crs)
    values = {
        (alternative, row.facility_id): homes.distance(row.geometry).to_numpy()
        if alternative.measure == "straight"
        else nearest_minutes(
            roads,
            fc.MODES[alternative.mode],
            list(homes.geometry),
            [row.geometry],
            to_facility=True,
        )
        for alternative in standard.alternatives
        for row in placed.itertuples()
        if row.kind in standard.required_kinds
    }
    found = {}
    for number, demand_id in enumerate(homes["demand_id"]):
        kinds = []
        for kind in standard.required_kinds:
            state, reached = "uncovered", False
            for alternative in standard.alternatives:
                limit = alternative.minutes or alternative.metres * 0.06 / 4.0
                limit = alternative.metres if alternative.measure == "straight" else limit
                for row in placed[placed["kind"] == kind].itertuples():
                    value = values[alternative, row.facility_id][number]
                    if value <= limit + 1e-9 and fits(row, kind, perhaps=False):
                        state = "covered"
                    elif value <= limit + 1e-9 and fits(row, kind, perhaps=True):
                        state = "unknown" if state == "uncovered" else state
                    reached |= bool(np.isfinite(value)) and fits(row, kind, perhaps=False)
            kinds.append(state if state != "uncovered" or reached else None)
        if "uncovered" in kinds:
            found[demand_id] = "uncovered"
        elif None in kinds:
            found[demand_id] = None
        else:
            found[demand_id] = "unknown" if "unknown" in kinds else "covered"
    return found


@few
@given(counties())
def test_points_are_judged_as_loops_over_networkx_do(county):
    report = assessed(county)
    for found in report.point_verdicts:
        expected = oracle_states(report, found.standard)
        table = report.demand_verdicts.query("kind == @found.standard.kind")
        ids = report.demand["demand_id"].iloc[found.points]
        for row in table[table["demand_id"].isin(ids)].itertuples():
            if expected[row.demand_id] is None:
                assert row.state in ("uncovered", "unknown")
            else:
                assert row.state == expected[row.demand_id], (row, found.standard.words)


@few
@given(counties())
def test_the_three_states_are_the_whole(county):
    report = assessed(county)
    rates = report.rates
    known = rates["total"].notna()
    np.testing.assert_allclose(rates.loc[known, STATES].sum(axis=1), rates.loc[known, "total"])
    for left in ("outside", "sharing"):
        fewer = rates[f"covered_without_{left}"]
        assert (fewer.isna() | (fewer <= rates["covered"] + 1e-9)).all()
    units = rates[rates["measure"] == "units"]
    flagged = int((report.units["resettlement"] | report.units["hollow_village"]).sum())
    sizes = {**report.units["setting"].value_counts(), "resettlement": flagged}
    assert (units["total"] == units["setting"].map(sizes)).all()
    # Townships and points sum to the same.
    total = report.townships.query("township == 'total'").set_index("kind")
    by_kind = units[units["basis"] == "reachable"].groupby("kind")[STATES].sum()
    for state in STATES:
        assert (total[f"reachable_{state}"] == by_kind[state].reindex(total.index)).all()
    shares = report.group_rates["share"].dropna()
    assert shares.between(0, 1 + 1e-9).all()


def people_known(rates):
    return rates["covered"].fillna(0.0)


@few
@given(counties(), st.sampled_from(KINDS), st.integers(0, 1400), st.integers(0, 1900))
def test_one_more_facility_never_lowers_a_rate(county, kind, x, y):
    before = assessed(county)
    facilities = county[2]
    new = gpd.GeoDataFrame(
        [
            {
                "facility_id": "NEW",
                "name": "NEW",
                "kind": kind,
                "unit_code": CODES[x // 500],
                "floor_area_m2": 500.0,
                "hours_per_day": 10.0,
                "status": "in_use",
                "served_by": None,
                "geometry": shapely.Point(x + 0.41, y + 0.43),
            }
        ],
        geometry="geometry",
        crs=CRS,
    )
    more = gpd.GeoDataFrame(
        pd.concat([facilities.astype(object), new.astype(object)], ignore_index=True),
        geometry="geometry",
        crs=CRS,
    )
    after = assessed(county, facilities=more)
    for column in ("covered", "covered_without_outside", "covered_without_sharing"):
        assert (after.rates[column].fillna(0) >= before.rates[column].fillna(0) - 1e-6).all(), (
            column
        )


@few
@given(counties(), st.sampled_from([0.5, 0.8]), st.sampled_from([None, 300.0]))
def test_a_stricter_standard_never_raises_a_rate(county, factor, least):
    strict = []
    for standard in PLAN.standards:
        alternatives = tuple(
            replace(
                each,
                minutes=each.minutes and each.minutes * factor,
                metres=each.metres and each.metres * factor,
            )
            for each in standard.alternatives
        )
        size = least or standard.min_floor_area_m2
        strict.append(replace(standard, alternatives=alternatives, min_floor_area_m2=size))
    plain = assessed(county).rates
    harder = assessed(county, replace(PLAN, standards=tuple(strict))).rates
    assert (people_known(harder) <= people_known(plain) + 1e-6).all()


@few
@given(counties(), st.randoms(use_true_random=False))
def test_rates_do_not_depend_on_the_order_of_rows(county, random):
    def shuffled(table):
        order = list(range(len(table)))
        random.shuffle(order)
        return table.iloc[order].reset_index(drop=True)

    _, units, facilities, demand = county
    plain = assessed(county)
    mixed = assessed(
        county,
        units=shuffled(units),
        facilities=shuffled(facilities),
        demand=shuffled(demand),
    )
    pd.testing.assert_frame_equal(plain.rates, mixed.rates, check_exact=False, atol=1e-6)
    pd.testing.assert_frame_equal(plain.townships, mixed.townships, check_exact=False, atol=1e-6)


@few
@given(counties(), st.sampled_from([30.0, 400.0, 3000.0]))
def test_capacity_never_raises_a_rate(county, due):
    limited = tuple(
        replace(each, capacity_m2_per_100_households=due) if each.kind == "clinic" else each
        for each in PLAN.standards
    )
    plain = assessed(county)
    full = assessed(county, replace(PLAN, standards=limited))
    assert (people_known(full.rates) <= people_known(plain.rates) + 1e-6).all()
    judged = full.demand_verdicts.query("reason == 'over_capacity'")
    assert (judged["state"] == "uncovered").all()
