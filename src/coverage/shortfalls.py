"""What is missing for the three shortfall projects (专栏3): who fails, why, and by how much.

(a) ``village``: village facilities; (b) ``resettlement``: resettlement and hollow-village
communities; (c) ``old_estate``: old town estates. One project a unit, in the order b, c, a.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .assessment import CoverageReport
from .standards import Plan, units_needed

__all__ = ["PROJECTS", "SERVICE", "room_in_facilities", "shortfalls", "village_quota"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PROJECTS = ("resettlement", "old_estate", "village")
SERVICE = "comprehensive_service"
_RESETTLEMENT = "resettlement_service"
_COLUMNS = (
    "project",
    "unit_code",
    "name",
    "township",
    "setting",
    "nature",
    "reasons",
    "short_floor_area_m2",
    "short_activity_area_m2",
    "residents",
    "households",
    "elderly",
    "people_uncovered",
    "deadline",
    "host_facility_id",
)


def shortfalls(report: CoverageReport) -> pd.DataFrame:
    """List the units that fail, why, what each would need by the rules, and how much is missing.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.

    Returns
    -------
    DataFrame
        One row a unit, projects in the order b, c, a and units by code: `project` (resettlement |
        old_estate | village), `unit_code, name, township, setting`, `nature` (new_build |
        extension | sharing | rent_purchase | internal_refit | operation | verify), `reasons`,
        `short_floor_area_m2`, `short_activity_area_m2` (missing is unknown, never 0),
        `residents, households, elderly`, `people_uncovered` (who do not get there in time),
        `deadline`, `host_facility_id` (to extend, to share, or that cannot be told).

    Notes
    -----
    A village fails where the ledger does not count it. It is due 200 m², or 30 m² for every 100
    households where that is more. Short hours ask for better operation, an unknown size for
    verifying, a small facility for an extension; a village without one shares a facility within
    reach that has room, else it builds. Villages of the relocation or merger class get no new
    building. A resettlement community fails where it is not covered, or has less space than its
    households are due. A community with old estates fails where half of its residents do not get
    there in time, or floor or activity area are short. The plan's `project_rules` hold the numbers.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> short = fc.shortfalls(fc.assess(units, facilities, access, plan))
    >>> sorted(short["project"].unique())
    ['old_estate', 'resettlement', 'village']
    """
    facts = _facts(report)
    parts = [
        _resettlement(facts[facts["_project"] == "resettlement"], report.plan),
        _old_estates(facts[facts["_project"] == "old_estate"], report.plan),
        _villages(facts[facts["_project"] == "village"], report),
    ]
    table = pd.concat([part[part["nature"] != ""] for part in parts], ignore_index=True)
    table["deadline"] = report.plan.project_rules.deadline
    return table[list(_COLUMNS)]


def village_quota(report: CoverageReport, projects: pd.DataFrame) -> int:
    """Count how many villages must still be covered, beside those the other projects serve.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    projects : DataFrame
        With `project` and `unit_code`.

    Returns
    -------
    int
        Whole units: 80 % of 199 villages is 160, so 120 covered ones leave 40 to do, of which
        resettlement projects in uncovered villages do some. All of them where there is no target.
    """
    rates = report.rates
    row = rates[
        (rates["kind"] == SERVICE)
        & (rates["setting"] == "rural")
        & (rates["basis"] == "ledger")
        & (rates["measure"] == "units")
    ]
    rural = projects["setting"] == "rural"
    villages = projects[(projects["project"] == "village") & rural]
    if row.empty or row["target"].isna().all():
        return len(villages)
    needed = units_needed(float(row["target"].iloc[0]), int(row["total"].iloc[0]))
    missing = needed - int(row["covered"].iloc[0])
    states = _verdicts(report, SERVICE)["ledger_state"]
    other = projects.loc[(projects["project"] != "village") & rural, "unit_code"]
    helped = int((states.reindex(other) != "covered").sum())
    return min(max(0, missing - helped), len(villages))


def room_in_facilities(report: CoverageReport) -> pd.Series:
    """Count the households each facility has room for beside those it serves on the ledger.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.

    Returns
    -------
    Series of float
        By `facility_id` of the comprehensive service facilities in use; NaN where its area or a
        unit's households are not known.
    """
    facilities = report.facilities
    own = facilities[(facilities["kind"] == SERVICE) & (facilities["status"] == "in_use")]
    households = _numbers(report.units.set_index("unit_code")["households"])
    states = _verdicts(report, SERVICE)
    counted = states[states["ledger_state"] == "covered"]["ledger_facility_id"]
    served = pd.Series(households.reindex(counted.index).to_numpy(), index=counted.to_numpy())
    load = (
        served.groupby(level=0)
        .sum()
        .reindex(own["facility_id"])
        .fillna(0.0)
        .where(~own["facility_id"].isin(served[served.isna()].index).to_numpy())
    )
    area = own["floor_area_m2"].to_numpy(dtype=float)
    per_household = report.plan.project_rules.floor_area_per_100_households_m2 / 100
    return pd.Series(area / per_household - load.to_numpy(), index=own["facility_id"].to_numpy())


def _numbers(values: pd.Series) -> pd.Series:
    return values.astype("Float64").astype(float)


def _verdicts(report: CoverageReport, kind: str) -> pd.DataFrame:
    table = report.verdicts
    return table[table["kind"] == kind].set_index("unit_code")


def _facts(report: CoverageReport) -> pd.DataFrame:
    """Join each unit's attributes, verdict and the facility space it owns."""
    units = pd.DataFrame(report.units.drop(columns="geometry"))
    facts = units.set_index("unit_code", drop=False)
    columns = ["ledger_state", "ledger_reason", "reachable_state", "ledger_facility_id"]
    columns += ["facility_id", "people_uncovered"]
    facts = facts.join(_verdicts(report, SERVICE)[columns])
    special = (facts["resettlement"] | facts["hollow_village"]).to_numpy(dtype=bool)
    if _RESETTLEMENT in report.plan.kinds:  # the promise to them is counted by itself
        own = _verdicts(report, _RESETTLEMENT)[columns]
        facts.loc[special, columns] = own.loc[facts.index[special]].to_numpy()
    old = facts["old_estate_built"] <= report.plan.project_rules.estate_built_until
    community = (facts["unit_kind"] == "community").to_numpy(dtype=bool)
    facts["_project"] = np.select(
        [special, community & old.fillna(value=False).to_numpy(dtype=bool), ~community],
        PROJECTS,
        default="",
    )
    kept = report.facilities[
        (report.facilities["kind"] == SERVICE) & (report.facilities["status"] == "in_use")
    ].groupby("unit_code")
    for name, column in (("_m2", "floor_area_m2"), ("_activity_m2", "activity_area_m2")):
        # A unit without a facility of its own has no space; one whose size is blank is unknown.
        space = kept[column].agg(lambda values: values.sum(skipna=False))
        facts[name] = space.reindex(facts.index).astype(float)
        facts.loc[~facts.index.isin(list(kept.groups)), name] = 0.0
    for name in ("residents", "households", "elderly"):
        facts[name] = _numbers(facts[name])
    return facts.reset_index(drop=True).sort_values("unit_code", kind="stable")


def _due_m2(facts: pd.DataFrame, plan: Plan, least_m2: float) -> Floats:
    """Give the m² units should have: the least size, or 30 m² for every 100 households if more."""
    per_household = plan.project_rules.floor_area_per_100_households_m2 / 100
    households = facts["households"].to_numpy(dtype=float)
    return np.where(np.isnan(households), np.nan, np.maximum(least_m2, per_household * households))


def _short(due_m2: Floats, facts: pd.DataFrame) -> Floats:
    return np.maximum(due_m2 - facts["_m2"].to_numpy(dtype=float), 0.0)


def _with(
    facts: pd.DataFrame,
    project: str,
    nature: NDArray[np.object_],
    reasons: NDArray[np.object_],
    short_m2: Floats,
    host: NDArray[np.object_],
    short_activity_m2: Floats | float = 0.0,
) -> pd.DataFrame:
    return facts.assign(
        project=project,
        nature=nature,
        reasons=reasons,
        short_floor_area_m2=short_m2,
        short_activity_area_m2=short_activity_m2,
        host_facility_id=host,
    )


def _words(facts: pd.DataFrame, column: str) -> NDArray[np.object_]:
    return facts[column].to_numpy(dtype=object)


def _unless(without: Flags, values: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give the values, None where there is to be none."""
    kept = values.copy()
    kept[without] = None
    return kept


def _villages(facts: pd.DataFrame, report: CoverageReport) -> pd.DataFrame:
    plan = report.plan
    state, reason = _words(facts, "ledger_state"), _words(facts, "ledger_reason")
    due = _due_m2(facts, plan, plan.project_rules.village_floor_area_m2)
    merger = facts["merger_class"].to_numpy(dtype=bool)
    room = room_in_facilities(report).reindex(facts["facility_id"]).to_numpy(dtype=float)
    near = (_words(facts, "reachable_state") == "covered") & (
        room >= facts["households"].to_numpy(dtype=float)
    )
    cases = [
        np.isin(state, ["covered", "not_applicable"]),
        reason == "short_hours",
        state == "unknown",
        (reason == "too_small") & ~merger,
        near | merger,
        reason == "closed",
    ]
    natures = ["", "operation", "verify", "extension", "sharing", "extension"]
    nature = np.select(cases, natures, default="new_build").astype(object)
    short = np.select(
        [np.isin(nature, ["operation", "sharing"]), nature == "verify"],
        [0.0, np.nan],
        default=_short(due, facts),
    )
    reached = _words(facts, "reachable_state") == "covered"
    shared = _unless(~reached, _words(facts, "facility_id"))
    own = _unless(nature == "new_build", _words(facts, "ledger_facility_id"))
    host = np.where(nature == "sharing", shared, own)
    return _with(facts, "village", nature, reason, short, host)


def _resettlement(facts: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    covered = _words(facts, "ledger_state") == "covered"
    reason = _words(facts, "ledger_reason")
    short = _short(_due_m2(facts, plan, 0.0), facts)
    own = (facts["_m2"].to_numpy(dtype=float) > 0) | covered | (reason == "too_small")
    nature = np.select(
        [covered & ~(short > 0) & ~np.isnan(short), (reason == "short_hours") & (short == 0), own],
        ["", "operation", "extension"],
        default="new_build",
    ).astype(object)
    unknown = covered & np.isnan(short)
    nature[unknown] = "verify"
    builds = nature == "new_build"
    least = plan.project_rules.village_floor_area_m2
    short = np.where(builds & ~np.isnan(short), np.maximum(short, least), short)
    why = np.where(reason != "", reason, np.where(np.isnan(short), "no_data", "too_small"))
    host = _unless(builds, _words(facts, "ledger_facility_id"))
    return _with(facts, "resettlement", nature, why, short, host)


def _old_estates(facts: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    rules = plan.project_rules
    space = facts["_m2"].to_numpy(dtype=float)
    short = _short(_due_m2(facts, plan, 0.0), facts)
    activity = facts["_activity_m2"].to_numpy(dtype=float)
    short_activity = np.maximum(rules.activity_share * space - activity, 0.0)
    far = _words(facts, "reachable_state") != "covered"
    cases = [far, short > 0, np.isnan(short) | np.isnan(short_activity), short_activity > 0]
    nature = np.select(
        cases, ["rent_purchase", "extension", "verify", "internal_refit"], default=""
    )
    why = np.select(cases, ["too_far", "too_small", "no_data", "too_small"], default="")
    host = _words(facts, "ledger_facility_id")
    return _with(
        facts, "old_estate", nature.astype(object), why.astype(object), short, host, short_activity
    )


def places_of(report: CoverageReport) -> gpd.GeoSeries:
    """Give the place of each facility by its id, in the units' CRS."""
    placed = report.facilities[report.facilities.geometry.notna()].set_index("facility_id")
    return placed.geometry.to_crs(report.units.crs)
