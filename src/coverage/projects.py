"""Verdicts → the three shortfall projects of 专栏3: who must be served, how, and how many by when.

(a) ``village``: village facilities; (b) ``resettlement``: resettlement and hollow-village
communities; (c) ``old_estate``: old town estates. One project a unit, in the order b, c, a.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from .assessment import CoverageReport
from .network import RoadNetwork
from .snapping import snap
from .standards import Standard, units_needed

__all__ = ["project_summary", "propose_projects"]

_KIND = "comprehensive_service"
_COLUMNS = (
    "number",
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
    "deadline",
    "in_quota",
    "rank",
    "host_facility_id",
)


def propose_projects(report: CoverageReport, roads: RoadNetwork) -> gpd.GeoDataFrame:
    """List the units each shortfall project must serve, how, and which are needed by the deadline.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    roads : RoadNetwork
        The roads: a new building goes where one leads, if the unit has such a settlement.

    Returns
    -------
    GeoDataFrame
        One row a project, sorted and numbered from 1, in the units' CRS: `project` (village |
        resettlement | old_estate), `unit_code`, `name`, `township`, `setting`, `nature`
        (new_build | extension | sharing | rent_purchase | internal_refit | operation | verify),
        `reasons`, `short_floor_area_m2`, `short_activity_area_m2` (missing is unknown),
        `residents`, `households`, `deadline`, `in_quota` (needed for the target), `rank` within
        its project, `host_facility_id` (the facility to extend or share), geometry: where it is
        to be, the unit's largest settlement for a new building.

    Notes
    -----
    Without costs, units are ranked by how many residents a project serves. The quota counts whole
    units: 80 % of 199 villages is 160, so 120 covered ones leave 40 to do. Villages of the
    relocation or merger class get no new building; they are listed for sharing. The quota is
    counted over all villages, so that projects (b) in villages count towards it.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> projects = fc.propose_projects(report, roads)
    >>> sorted(projects["project"].unique())
    ['old_estate', 'resettlement', 'village']
    """
    facts = _facts(report)
    rows = [_project(fact, report) for fact in facts.itertuples()]
    found = pd.DataFrame([row for row in rows if row is not None])
    if found.empty:
        return gpd.GeoDataFrame(
            {name: [] for name in (*_COLUMNS, "geometry")}, crs=report.units.crs
        )
    found["in_quota"] = _in_quota(found, facts, report)
    order = {"resettlement": 0, "old_estate": 1, "village": 2}
    people = found["residents"].astype("Float64").fillna(-1)
    found = found.assign(_order=found["project"].map(order), _people=people).sort_values(
        ["_order", "in_quota", "_people", "unit_code"],
        ascending=[True, False, False, True],
        kind="stable",
    )
    found["rank"] = found.groupby("project").cumcount() + 1
    found["number"] = np.arange(1, len(found) + 1)
    found["geometry"] = _sites(found, report, roads)
    table = found[[*_COLUMNS, "geometry"]].reset_index(drop=True)
    return gpd.GeoDataFrame(table, geometry="geometry", crs=report.units.crs)


def project_summary(projects: gpd.GeoDataFrame, report: CoverageReport) -> pd.DataFrame:
    """Sum up the three projects: units to serve, units still missing to the target, m², people.

    Parameters
    ----------
    projects : GeoDataFrame
        From `propose_projects`.
    report : CoverageReport
        The report they were proposed from.

    Returns
    -------
    DataFrame
        One row a project: `project`, `units_needed` (units that fail), `quota` (of them due by
        the deadline), `short_floor_area_m2`, `short_activity_area_m2`, `people`, `households`,
        `deadline`. Sums over unknown quantities are missing.
    """
    rows = []
    for name in ("village", "resettlement", "old_estate"):
        mine = projects[projects["project"] == name]
        rows.append(
            {
                "project": name,
                "units_needed": len(mine),
                "quota": int(mine["in_quota"].sum()),
                "short_floor_area_m2": mine["short_floor_area_m2"].sum(skipna=False),
                "short_activity_area_m2": mine["short_activity_area_m2"].sum(skipna=False),
                "people": mine["residents"].astype("Float64").sum(skipna=False),
                "households": mine["households"].astype("Float64").sum(skipna=False),
                "deadline": report.plan.project_rules.deadline,
            }
        )
    return pd.DataFrame(rows)


def _facts(report: CoverageReport) -> pd.DataFrame:
    """Join each unit's attributes, verdict and the facility space it owns."""
    verdict = report.verdicts[report.verdicts["kind"] == _KIND].set_index("unit_code")
    columns = [
        "ledger_state",
        "ledger_reason",
        "reachable_state",
        "ledger_facility_id",
        "facility_id",
        "minutes",
    ]
    own = report.facilities[
        (report.facilities["kind"] == _KIND) & (report.facilities["status"] == "in_use")
    ].groupby("unit_code")
    units = pd.DataFrame(report.units.drop(columns="geometry")).set_index("unit_code", drop=False)
    # A unit without a facility of its own has no space; one whose size is blank is unknown.
    space = pd.DataFrame(
        {
            "own_m2": own["floor_area_m2"].agg(lambda values: values.sum(skipna=False)),
            "own_activity_m2": own["activity_area_m2"].agg(lambda values: values.sum(skipna=False)),
        }
    ).reindex(units.index)
    bare = ~units.index.isin(list(own.groups))
    space.loc[bare] = 0.0
    return units.join(verdict[columns]).join(space)


def _project(fact: Any, report: CoverageReport) -> dict[str, Any] | None:
    """Give the one project a unit needs, or None."""
    if fact.resettlement or fact.hollow_village:
        name = "resettlement"
    elif fact.unit_kind == "community":
        name = "old_estate" if _has_old_estate(fact, report) else ""
    else:
        name = "village"
    if not name:
        return None
    proposal = {"village": _village, "resettlement": _resettlement, "old_estate": _old_estate}[
        name
    ](fact, report)
    if proposal is None:
        return None
    return {
        "project": name,
        "unit_code": fact.unit_code,
        "name": fact.name,
        "township": fact.township,
        "setting": fact.setting,
        "residents": fact.residents,
        "households": fact.households,
        "deadline": report.plan.project_rules.deadline,
        "host_facility_id": None,
        "short_activity_area_m2": 0.0,
        **proposal,
    }


def _has_old_estate(fact: Any, report: CoverageReport) -> bool:
    built = fact.old_estate_built
    return not pd.isna(built) and int(built) <= report.plan.project_rules.estate_built_until


def _space_due(fact: Any, report: CoverageReport, least_m2: float) -> float:
    """Give the m² a unit should have: the least size, or 30 m² for every 100 households if more."""
    if pd.isna(fact.households):
        return np.nan
    per_household = report.plan.project_rules.floor_area_per_100_households_m2 / 100
    return max(least_m2, per_household * float(fact.households))


def _village(fact: Any, report: CoverageReport) -> dict[str, Any] | None:
    if fact.ledger_state in ("covered", "not_applicable"):
        return None
    due = _space_due(fact, report, report.plan.project_rules.village_floor_area_m2)
    short = max(0.0, due - fact.own_m2) if not np.isnan(due) else np.nan
    base = {"reasons": fact.ledger_reason}
    if fact.ledger_reason == "short_hours":
        return base | {
            "nature": "operation",
            "short_floor_area_m2": 0.0,
            "host_facility_id": fact.ledger_facility_id,
        }
    if fact.ledger_state == "unknown":
        return base | {
            "nature": "verify",
            "short_floor_area_m2": np.nan,
            "host_facility_id": fact.ledger_facility_id,
        }
    near = fact.reachable_state == "covered" and _has_room(fact, report)
    if fact.ledger_reason == "too_small" and not fact.merger_class:
        return base | {
            "nature": "extension",
            "short_floor_area_m2": short,
            "host_facility_id": fact.ledger_facility_id,
        }
    if near or fact.merger_class:
        return base | {
            "nature": "sharing",
            "short_floor_area_m2": 0.0,
            "host_facility_id": fact.facility_id if fact.reachable_state == "covered" else None,
        }
    nature = "extension" if fact.ledger_reason == "closed" else "new_build"
    return base | {"nature": nature, "short_floor_area_m2": short}


def _has_room(fact: Any, report: CoverageReport) -> bool:
    """Tell whether the reached facility has space left for this unit's households too."""
    host = report.facilities[report.facilities["facility_id"] == fact.facility_id]
    if host.empty or pd.isna(fact.households):
        return False
    home = report.units[report.units["unit_code"] == host["unit_code"].iloc[0]]
    area = host["floor_area_m2"].iloc[0]
    if home.empty or pd.isna(area) or pd.isna(home["households"].iloc[0]):
        return False
    households = float(fact.households) + float(home["households"].iloc[0])
    per_household = report.plan.project_rules.floor_area_per_100_households_m2 / 100
    return bool(area >= per_household * households)


def _resettlement(fact: Any, report: CoverageReport) -> dict[str, Any] | None:
    due = _space_due(fact, report, 0.0)
    short = max(0.0, due - fact.own_m2) if not np.isnan(due) else np.nan
    if fact.ledger_state == "covered" and not short > 0:
        return None
    reasons = fact.ledger_reason or ("no_data" if np.isnan(short) else "too_small")
    if fact.ledger_reason == "short_hours" and short == 0:
        nature = "operation"
    elif fact.own_m2 > 0 or fact.ledger_state == "covered" or fact.ledger_reason == "too_small":
        nature = "extension"
    else:
        nature = "new_build"
        if not np.isnan(short):
            short = max(short, report.plan.project_rules.village_floor_area_m2)
    return {
        "nature": nature,
        "reasons": reasons,
        "short_floor_area_m2": short,
        "host_facility_id": fact.ledger_facility_id if nature != "new_build" else None,
    }


def _old_estate(fact: Any, report: CoverageReport) -> dict[str, Any] | None:
    rules = report.plan.project_rules
    due = _space_due(fact, report, 0.0)
    short = max(0.0, due - fact.own_m2) if not np.isnan(due) else np.nan
    short_activity = max(0.0, rules.activity_share * fact.own_m2 - fact.own_activity_m2)
    far = fact.reachable_state != "covered"
    if not (far or short > 0 or short_activity > 0 or np.isnan(short)):
        return None
    if far:
        nature, reason = "rent_purchase", "too_far"
    elif short > 0:
        nature, reason = "extension", "too_small"
    elif np.isnan(short):
        nature, reason = "verify", "no_data"
    else:
        nature, reason = "internal_refit", "too_small"
    return {
        "nature": nature,
        "reasons": reason,
        "short_floor_area_m2": short,
        "short_activity_area_m2": short_activity,
        "host_facility_id": fact.ledger_facility_id,
    }


def _in_quota(found: pd.DataFrame, facts: pd.DataFrame, report: CoverageReport) -> pd.Series:
    """Mark what the targets need: all of (b) and (c), of (a) only the number missing."""
    chosen = found["project"].isin(["resettlement", "old_estate"])
    standard: Standard | None = report.plan.standard(_KIND, "rural")
    if standard is None or standard.target_share is None:
        return chosen | True
    rural = facts[facts["setting"] == "rural"]
    missing = units_needed(standard.target_share, len(rural)) - int(
        (rural["ledger_state"] == "covered").sum()
    )
    helped = found["unit_code"].isin(rural.index[rural["ledger_state"] != "covered"])
    missing -= int((chosen & helped).sum())
    villages = found[found["project"] == "village"]
    # Without costs: most residents first; a merger-class village only when nothing else is left.
    merger = facts["merger_class"].reindex(villages["unit_code"]).to_numpy(dtype=bool)
    people = villages["residents"].astype("Float64").fillna(-1)
    ranked = villages.assign(_merger=merger, _people=people).sort_values(
        ["_merger", "_people", "unit_code"], ascending=[True, False, True], kind="stable"
    )
    return chosen | found.index.isin(ranked.index[: max(0, missing)])


def _sites(found: pd.DataFrame, report: CoverageReport, roads: RoadNetwork) -> gpd.GeoSeries:
    """Give where each project is: at the facility it works on, else in the largest settlement.

    Of a unit's settlements those that a road joins go before those that none does.
    """
    placed = report.facilities[report.facilities.geometry.notna()].set_index("facility_id")
    at_facility = placed.geometry.to_crs(report.units.crs)
    homes = np.asarray(report.demand.geometry.to_crs(roads.crs).array)
    flag = snap(homes, roads, report.plan.modes["walk"]).flag
    demand = report.demand.to_crs(report.units.crs).assign(
        joined=np.isin(flag.astype(str), ["", "joined_main"])
    )
    largest = (
        demand.sort_values(
            ["unit_code", "joined", "residents", "demand_id"], ascending=[True, False, False, True]
        )
        .drop_duplicates("unit_code")
        .set_index("unit_code")
        .geometry
    )
    own_work = found["nature"].isin(["extension", "operation", "internal_refit", "verify"])
    sites = [
        at_facility[host] if works and host in at_facility.index else largest.get(code)
        for code, host, works in zip(
            found["unit_code"], found["host_facility_id"], own_work, strict=True
        )
    ]
    return gpd.GeoSeries(sites, index=found.index, crs=report.units.crs)
