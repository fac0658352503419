"""Where to build, in which order and at what cost: the project pool (项目库) of 专栏3.

With which projects villages meet the quota is a question of siting: one building, or one agreement
with a facility that has room, may serve several villages.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .assessment import CoverageReport
from .candidates import WORKS, Candidates, site_candidates
from .errors import InfeasibleError, InputError
from .network import RoadNetwork
from .shortfalls import PROJECTS, SERVICE, shortfalls, village_quota
from .siting import (
    MOST_NODES,
    MOST_SECONDS,
    Siting,
    greedy_coverage,
    least_cost_cover,
    max_coverage,
)

__all__ = ["OBJECTIVES", "annual_tasks", "cost_frontier", "project_summary", "propose_projects"]

Floats = NDArray[np.float64]

OBJECTIVES = ("fewest_sites", "least_cost", "most_people", "equity", "best_value")
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
    "planned_floor_area_m2",
    "residents",
    "households",
    "elderly",
    "deadline",
    "in_quota",
    "rank",
    "host_facility_id",
    "host_unit_code",
    "serves",
    "units_gained",
    "people_gained",
    "cumulative_units",
    "cumulative_people",
    "cumulative_share",
    "cost",
    "cumulative_cost",
)


def propose_projects(
    report: CoverageReport,
    roads: RoadNetwork,
    *,
    candidates: gpd.GeoDataFrame | None = None,
    links: gpd.GeoDataFrame | None = None,
    costs: Mapping[str, tuple[float, float]] | None = None,
    budget: float | None = None,
    quota: int | None = None,
    objective: str | None = None,
    locked: Collection[str] = (),
    forbidden: Collection[str] = (),
    spare_minutes: float = 0.0,
    max_gap: float = 0.0,
    nodes: int = MOST_NODES,
    seconds: float = MOST_SECONDS,
) -> gpd.GeoDataFrame:
    """Propose what to build, extend, share and mend, for whom, in which order and at what cost.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    roads : RoadNetwork
        The roads.
    candidates : GeoDataFrame of Point, optional
        Sites for new buildings, with columns `cost` and `planned_floor_area_m2` where known.
        Without them every settlement a road joins is one.
    links : GeoDataFrame of LineString, optional
        Road links that compete with buildings, with a column `cost` where known.
    costs : mapping of str to (float, float), optional
        By nature (``"new_build"``, ``"extension"``, ``"sharing"``, …), the fixed cost and the cost
        of each m² added, in 10,000 yuan. There is no default: unit costs differ twelvefold between
        published plans.
    budget : float, optional
        What village projects may cost in all, in 10,000 yuan; without `costs` how many works.
    quota : int, optional
        How many villages must be newly covered; by default what the plan's target lacks.
    objective : {"fewest_sites", "least_cost", "most_people", "equity", "best_value"}, optional
        Least works, or least cost, for the quota; most people, or most elderly, for the budget; or
        one after the other what gains most people for its cost, until the quota is met or the
        budget is spent. By default most people with a budget, else least cost with costs, else
        fewest sites.
    locked, forbidden : collection of str
        Candidates (see `site_candidates`), or units whose own works must, or must not, be done.
    spare_minutes : float
        How much within the limit a village must reach what it is to share: with 0 slower roads may
        undo agreements that only just hold.
    max_gap : float
        How far from the proven optimum the answer may be, e.g. 0.01.
    nodes : int
        Of the solver's tree, after which the best answer found is taken, its gap stated.
    seconds : float
        The same: a safeguard, as an answer that ends at it may be another on another day.

    Returns
    -------
    GeoDataFrame
        One row a unit that fails (and a road link that is built), sorted and numbered from 1, in
        the units' CRS: `project` (resettlement | old_estate | village), `unit_code, name,
        township, setting`, `nature` (new_build | extension | sharing | rent_purchase |
        internal_refit | operation | verify | road_link), `reasons`, `short_floor_area_m2`,
        `short_activity_area_m2`, `planned_floor_area_m2` (missing is unknown), `residents,
        households, elderly`, `deadline`, `in_quota` (to be done), `rank` within its project,
        `host_facility_id` (to extend or share), `host_unit_code` (whose new building is shared),
        `serves` (codes of all villages a work serves), `units_gained`, `people_gained` (villages
        newly covered on the ledger, and their residents), `cumulative_units, cumulative_people,
        cumulative_share` (of all villages, with those covered already), `cost`,
        `cumulative_cost`; geometry: where it is to be. ``attrs["siting"]`` says how it was chosen.

    Raises
    ------
    InfeasibleError
        Where the quota cannot be met; it names the villages nobody can serve.
    InputError
        For an unknown objective or candidate, costs that lack a nature, a budget for a quota.

    Notes
    -----
    All resettlement and old-estate projects are due, and villages that count as urban. Of the rural
    ones the siting chooses. A
    candidate serves its own village, and any other from which enough people reach it within the
    standard, by agreement, as long as it has room: floor area ÷ 30 m² for every 100 households. The
    optimum is exact, by mixed-integer programming (HiGHS); of answers that cost the same, or need
    as many works, it is within 5 % of the fewest projects, those that more people reach first.
    Without costs a new building, an extension or a road link counts as one work; agreements and
    longer hours as none. Villages of the merger class build nothing.

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
    >>> bool(projects["cumulative_units"].max() >= 40)
    True
    """
    objective = _objective(objective, costs, budget, quota)
    short = shortfalls(report)
    found = site_candidates(
        report,
        roads,
        short,
        sites=candidates,
        links=links,
        costs=costs,
        spare_minutes=spare_minutes,
    )
    quota = village_quota(report, short) if quota is None else quota
    siting = _solve(
        found,
        objective,
        quota=quota,
        budget=budget,
        costed=costs is not None,
        locked=_chosen(found, locked, "locked"),
        forbidden=_chosen(found, forbidden, "forbidden"),
        effort={"max_gap": max_gap, "nodes": nodes, "seconds": seconds},
    )
    siting = _with_agreed(siting, found, report)
    rows = _with_siting(short, found, siting, report)
    table = _ordered(_with_rules(rows, report, costs), report)
    table.attrs["siting"] = {
        "objective": objective,
        "quota": quota,
        "works": int(found.table["nature"].iloc[siting.chosen].isin(WORKS).sum()),
        "value": siting.objective,
        "bound": siting.bound,
        "gap": siting.gap,
        "method": siting.method,
        "limit": siting.limit,
        "ranked_by": "cost" if costs is not None else "people",
    }
    return table


def _objective(
    objective: str | None,
    costs: object,
    budget: float | None,
    quota: int | None,
) -> str:
    if objective is None:
        objective = (
            "most_people" if budget is not None else "least_cost" if costs else "fewest_sites"
        )
    if objective not in OBJECTIVES:
        raise InputError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    if objective == "best_value":
        if costs is None:
            raise InputError("objective 'best_value' weighs people against costs: give costs=")
        if budget is not None and quota is not None:
            raise InputError("objective 'best_value' meets a quota= or spends a budget=, not both")
        return objective
    spends = objective in ("most_people", "equity")
    if spends and budget is None:
        raise InputError(f"objective {objective!r} spends a budget: give budget=")
    if not spends and budget is not None:
        raise InputError(f"objective {objective!r} meets a quota: leave budget= out")
    if spends and quota is not None:
        raise InputError(f"objective {objective!r} spends a budget: leave quota= out")
    if objective == "least_cost" and costs is None:
        raise InputError("objective 'least_cost' needs costs=; without them 'fewest_sites'")
    return objective


def _chosen(found: Candidates, names: Collection[str], what: str) -> NDArray[np.bool_]:
    """Tell which candidates are named, by their own name or by their unit's."""
    table = found.table
    chosen = table["candidate"].isin(names) | table["unit_code"].isin(names)
    known = set(table["candidate"]) | set(table["unit_code"].dropna())
    strangers = [name for name in names if name not in known]
    if strangers:
        raise InputError(
            f"{what}= names no candidate: {', '.join(map(str, strangers[:5]))}; "
            "see site_candidates(report, roads, shortfalls(report)).table"
        )
    return chosen.to_numpy(dtype=bool)


def _solve(
    found: Candidates,
    objective: str,
    *,
    quota: int,
    budget: float | None,
    costed: bool,
    locked: NDArray[np.bool_],
    forbidden: NDArray[np.bool_],
    effort: Mapping[str, Any],
) -> Siting:
    table, villages = found.table, found.villages
    people = np.nan_to_num(villages["residents"].to_numpy(dtype=float))
    elderly = np.nan_to_num(villages["elderly"].to_numpy(dtype=float))
    works = table["nature"].isin(WORKS).to_numpy(dtype=float)
    cost = table["cost"].to_numpy(dtype=float) if costed else works
    usable = ~np.isnan(cost)
    cost = np.where(usable, cost, 0.0)
    labels, _ = pd.factorize(table["unit_code"].where(table["nature"] != "sharing"))
    room = table["room_households"].to_numpy(dtype=float)
    options = {
        "locked": locked,
        "forbidden": forbidden | ~usable,
        "exclusive": labels,
        # Unknown room is room for the village's own households, which are not known either.
        "capacity": np.where(np.isnan(room), np.inf, room),
        "load": np.nan_to_num(villages["households"].to_numpy(dtype=float)),
    }
    if objective == "best_value":
        return _best_value(found, cost, people, quota=quota, budget=budget, **options)
    if objective in ("most_people", "equity"):
        weight = elderly if objective == "equity" else people
        return max_coverage(found.reach, weight, cost=cost, budget=budget, **options, **effort)
    reached = np.asarray(found.reach.T @ people, dtype=float)
    options["tie"] = 1 - reached / max(reached.max(initial=0.0), 1.0)
    try:
        return least_cost_cover(found.reach, needed=max(0, quota), cost=cost, **options, **effort)
    except InfeasibleError as fault:
        raise _named(fault, villages, quota) from None


def _best_value(
    found: Candidates,
    cost: Floats,
    people: Floats,
    *,
    quota: int,
    budget: float | None,
    **options: Any,
) -> Siting:
    """Take what gains most people for its cost, one after the other."""
    siting = greedy_coverage(
        found.reach,
        people,
        cost=cost,
        budget=budget,
        needed=None if budget is not None else max(0, quota),
        **options,
    )
    served = int((siting.assigned >= 0).sum())
    if budget is None and served < quota:
        fault = InfeasibleError("", reachable=served, unreached=_without(found))
        raise _named(fault, found.villages, quota)
    return replace(siting, bound=np.nan, gap=np.nan)


def _without(found: Candidates) -> list[int]:
    """Give the villages that nothing serves."""
    return np.flatnonzero(np.diff(found.reach.indptr) == 0).tolist()


def _named(fault: InfeasibleError, villages: pd.DataFrame, quota: int) -> InfeasibleError:
    """Say which villages nothing can serve, and how far the nearest facility is for each."""
    names = [
        f"{row.name}（{row.unit_code}, "
        + ("no facility by road" if np.isnan(row.minutes_beyond) else _beyond(row.minutes_beyond))
        + "）"
        for row in villages.iloc[list(fault.unreached)].itertuples(index=False)
    ]
    return InfeasibleError(
        f"the quota of {quota} villages cannot be met: at most {fault.reachable:g} can be served. "
        f"Nothing serves {', '.join(names) or 'all of them at once'}; give candidates= or links= "
        "there, forbid less, or ask for a smaller quota=",
        reachable=fault.reachable,
        unreached=fault.unreached,
    )


def _beyond(minutes: float) -> str:
    return f"{minutes:.1f} min too far" if minutes > 0 else "near enough, but not by this measure"


def _with_agreed(siting: Siting, found: Candidates, report: CoverageReport) -> Siting:
    """Count villages that share a facility already, once what is chosen makes it qualify."""
    facilities = report.facilities
    shared = facilities[(facilities["kind"] == SERVICE) & (facilities["status"] == "shared")]
    host = dict(zip(shared["unit_code"], shared["served_by"], strict=True))
    table, reach = found.table, found.reach.tocsc()
    assigned = siting.assigned.copy()
    for candidate in siting.chosen.tolist():
        mended = table["host_facility_id"].iloc[candidate]
        for row in reach.indices[reach.indptr[candidate] : reach.indptr[candidate + 1]]:
            if assigned[row] < 0 and host.get(found.villages["unit_code"].iloc[row]) == mended:
                assigned[row] = candidate
    return replace(siting, assigned=assigned)


class _Served(NamedTuple):
    """What the siting says of a village."""

    nature: str
    candidate: int
    host_facility_id: object
    host_unit_code: object


def _with_siting(
    short: pd.DataFrame, found: Candidates, siting: Siting, report: CoverageReport
) -> gpd.GeoDataFrame:
    """Join what was chosen to the units that fail."""
    table = found.table
    codes = found.villages["unit_code"].to_numpy(dtype=object)
    served: dict[str, _Served] = {}
    works: dict[str, int] = {}
    for candidate in siting.chosen.tolist():
        own = table["unit_code"].iloc[candidate]
        if not pd.isna(own):
            works[own] = candidate
    for code, candidate in zip(codes, siting.assigned.tolist(), strict=True):
        if candidate >= 0:
            row = table.iloc[candidate]
            own = row["unit_code"] == code
            built = row["nature"] == "new_build" and not own
            served[code] = _Served(
                str(row["nature"]) if own else "sharing",
                candidate,
                None if built else _host(row, found, str(code)),
                row["unit_code"] if built else None,
            )
    rows = short.copy()
    rows["in_quota"] = _by_rule(rows)
    for name in ("host_unit_code", "serves"):
        rows[name] = None
    rows["planned_floor_area_m2"] = np.nan
    rows["cost"] = np.nan
    rows["_order"] = np.inf
    place = _places(rows, report)
    order = {candidate: number for number, candidate in enumerate(siting.chosen.tolist())}
    by_candidate: dict[int, list[str]] = {}
    for code, said in served.items():
        by_candidate.setdefault(said.candidate, []).append(code)
    at = {code: number for number, code in enumerate(rows["unit_code"])}
    paid: set[int] = set()
    free = 0.0 if table["cost"].notna().any() else np.nan  # nothing, where costs are known at all
    for code in dict.fromkeys([*works, *served]):
        number = at[code]
        candidate = works.get(code, served[code].candidate if code in served else -1)
        row, one = table.iloc[candidate], served.get(code)
        is_work = code in works
        index = rows.index[number]
        rows.loc[index, "nature"] = row["nature"] if is_work else "sharing"
        rows.loc[index, "in_quota"] = True
        rows.loc[index, "host_facility_id"] = (
            row["host_facility_id"] if is_work else one.host_facility_id if one else None
        )
        rows.loc[index, "host_unit_code"] = None if is_work or one is None else one.host_unit_code
        rows.loc[index, "_order"] = order[candidate] + (0.0 if is_work else 0.5)
        rows.loc[index, "short_floor_area_m2"] = row["added_floor_area_m2"] if is_work else 0.0
        if is_work:
            rows.loc[index, "planned_floor_area_m2"] = row["planned_floor_area_m2"]
            rows.loc[index, "serves"] = ";".join(sorted(by_candidate.get(candidate, [])))
            rows.loc[index, "cost"] = row["cost"]
            place[number] = row["geometry"]
        elif row["nature"] == "sharing":
            # One agreement with a host, whoever joins it.
            rows.loc[index, "cost"] = row["cost"] if candidate not in paid else free
            paid.add(candidate)
        else:
            rows.loc[index, "cost"] = free
    rows = gpd.GeoDataFrame(rows, geometry=place, crs=report.units.crs)
    return _with_links(rows, found, siting, by_candidate, order)


def _by_rule(rows: pd.DataFrame) -> pd.Series:
    """Tell which units are due whatever the siting says: all but rural villages."""
    return (rows["project"] != "village") | (rows["setting"] != "rural")


def _host(candidate: pd.Series, found: Candidates, code: str) -> object:
    """Give the facility a unit shares: the candidate's, or one at the other end of a link."""
    if candidate["nature"] == "road_link":
        return found.link_hosts[candidate["candidate"]][code]
    return candidate["host_facility_id"]


def _with_rules(
    rows: gpd.GeoDataFrame,
    report: CoverageReport,
    costs: Mapping[str, tuple[float, float]] | None,
) -> gpd.GeoDataFrame:
    """Give size and cost to the projects that are due by rule, not by siting."""
    ruled = _by_rule(rows).to_numpy()
    area = report.facilities.set_index("facility_id")["floor_area_m2"]
    has = area.reindex(rows["host_facility_id"]).fillna(0.0).to_numpy(dtype=float)
    short = rows["short_floor_area_m2"].to_numpy(dtype=float)
    grows = rows["nature"].isin(["new_build", "extension", "rent_purchase"]).to_numpy() & ruled
    builds = (rows["nature"] == "extension").to_numpy()
    planned = np.where(grows, short + np.where(builds, has, 0.0), rows["planned_floor_area_m2"])
    rows = rows.assign(planned_floor_area_m2=planned)
    if costs is None:
        return rows
    lacking = sorted(set(rows.loc[ruled & (rows["nature"] != "verify"), "nature"]) - set(costs))
    if lacking:
        raise InputError(
            f"costs= says nothing of {', '.join(lacking)}: give (fixed, per m²) in 10,000 yuan for "
            "each, (0, 0) where it costs nothing"
        )
    priced = [costs.get(nature, (np.nan, np.nan)) for nature in rows["nature"]]
    fixed, per_m2 = np.array(priced, dtype=float).reshape(-1, 2).T
    return rows.assign(cost=np.where(ruled, fixed + per_m2 * short, rows["cost"]))


def _with_links(
    rows: gpd.GeoDataFrame,
    found: Candidates,
    siting: Siting,
    by_candidate: Mapping[int, Sequence[str]],
    order: Mapping[int, int],
) -> gpd.GeoDataFrame:
    """Add a row for each road link that is built."""
    chosen = [c for c in siting.chosen.tolist() if found.table["nature"].iloc[c] == "road_link"]
    if not chosen:
        return rows
    table = found.table.iloc[chosen]
    added = gpd.GeoDataFrame(
        {
            "project": "village",
            "name": [name.removeprefix("road_link:") for name in table["candidate"]],
            "setting": "rural",
            "nature": "road_link",
            "reasons": "too_far",
            "in_quota": True,
            "serves": [";".join(sorted(by_candidate.get(c, []))) for c in chosen],
            "cost": table["cost"].to_numpy(),
            "deadline": rows["deadline"].iloc[0],
            "_order": [float(order[c]) for c in chosen],
        },
        geometry=table.geometry.to_numpy(),
        crs=rows.crs,
    )
    return gpd.GeoDataFrame(
        pd.concat([rows, added], ignore_index=True), geometry="geometry", crs=rows.crs
    )


def _places(rows: pd.DataFrame, report: CoverageReport) -> NDArray[np.object_]:
    """Give where each project is: at the facility it works on, else in the largest settlement."""
    placed = report.facilities[report.facilities.geometry.notna()].set_index("facility_id")
    at_facility = placed.geometry.to_crs(report.units.crs).to_dict()
    demand = report.demand.to_crs(report.units.crs)
    largest = (
        demand.sort_values(["residents", "demand_id"], ascending=[False, True], kind="stable")
        .drop_duplicates("unit_code")
        .set_index("unit_code")
        .geometry.to_dict()
    )
    own = rows["nature"].isin(["extension", "operation", "internal_refit", "verify"])
    places = np.empty(len(rows), dtype=object)
    for number, (code, host, works) in enumerate(
        zip(rows["unit_code"], rows["host_facility_id"], own, strict=True)
    ):
        places[number] = at_facility.get(host, largest.get(code)) if works else largest.get(code)
    return places


def _ordered(rows: gpd.GeoDataFrame, report: CoverageReport) -> gpd.GeoDataFrame:
    """Put the projects in order: b, c, a; those due first, as the siting has them; then people."""
    states = report.verdicts[report.verdicts["kind"] == SERVICE].set_index("unit_code")
    ledger = states["ledger_state"].reindex(rows["unit_code"]).to_numpy(dtype=object)
    gains = rows["in_quota"].to_numpy(dtype=bool) & (rows["setting"] == "rural").to_numpy()
    gains &= (ledger != "covered") & rows["unit_code"].notna().to_numpy()
    people = rows["residents"].to_numpy(dtype=float)
    rows = rows.assign(
        units_gained=gains.astype(float),
        people_gained=np.where(gains, people, 0.0),
        _project=rows["project"].map({name: number for number, name in enumerate(PROJECTS)}),
        in_quota=rows["in_quota"].astype(bool),
        _due=~rows["in_quota"].astype(bool),
        _people=-np.nan_to_num(people, nan=-1.0),
    ).sort_values(["_project", "_due", "_order", "_people", "unit_code"], kind="stable")
    rows["rank"] = rows.groupby("project").cumcount() + 1
    rows["number"] = np.arange(1, len(rows) + 1)
    for name, column in (
        ("cumulative_units", "units_gained"),
        ("cumulative_people", "people_gained"),
        ("cumulative_cost", "cost"),
    ):
        value = rows[column].where(rows["in_quota"].astype(bool), 0.0)
        # A sum with an unknown cost is not known.
        rows[name] = value.cumsum(skipna=False)
    rural = states[states["setting"] == "rural"]
    covered = float((rural["ledger_state"] == "covered").sum())
    rows["cumulative_share"] = (covered + rows["cumulative_units"]) / max(len(rural), 1)
    table = rows[[*_COLUMNS, "geometry"]].reset_index(drop=True)
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
        mine = projects[(projects["project"] == name) & projects["unit_code"].notna()]
        rows.append(
            {
                "project": name,
                "units_needed": len(mine),
                "quota": int(mine["in_quota"].sum()),
                "short_floor_area_m2": mine["short_floor_area_m2"].sum(skipna=False),
                "short_activity_area_m2": mine["short_activity_area_m2"].sum(skipna=False),
                "people": mine["residents"].sum(skipna=False),
                "households": mine["households"].sum(skipna=False),
                "deadline": report.plan.project_rules.deadline,
            }
        )
    return pd.DataFrame(rows)


def cost_frontier(
    report: CoverageReport,
    roads: RoadNetwork,
    *,
    costs: Mapping[str, tuple[float, float]] | None = None,
    budgets: Sequence[float] | None = None,
    candidates: gpd.GeoDataFrame | None = None,
    links: gpd.GeoDataFrame | None = None,
    max_gap: float = 0.0,
    nodes: int = MOST_NODES,
    seconds: float = MOST_SECONDS,
) -> pd.DataFrame:
    """Give what village projects achieve at most for each budget: cost against coverage.

    Parameters
    ----------
    report, roads, costs, candidates, links, max_gap, nodes, seconds
        As for `propose_projects`.
    budgets : sequence of float, optional
        In 10,000 yuan; without `costs`, numbers of works. By default eight steps up to what serves
        every village that can be served.

    Returns
    -------
    DataFrame
        One row a budget: `budget`, `cost` (spent), `works`, `units_gained`, `people_gained`,
        `share` (of all villages, with those covered already), `gap` (to the proven optimum by
        people).

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> frontier = fc.cost_frontier(report, roads, budgets=[0, 5, 10])
    >>> bool(frontier["people_gained"].is_monotonic_increasing)
    True
    """
    short = shortfalls(report)
    found = site_candidates(report, roads, short, sites=candidates, links=links, costs=costs)
    nobody = np.zeros(len(found.table), dtype=bool)

    def solve(budget: float) -> Siting:
        return _solve(
            found,
            "most_people",
            quota=0,
            budget=budget,
            costed=costs is not None,
            locked=nobody,
            forbidden=nobody,
            effort={"max_gap": max_gap, "nodes": nodes, "seconds": seconds},
        )

    if budgets is None:
        most = solve(float(np.nansum(found.table["cost"])) if costs else float(len(found.table)))
        budgets = np.linspace(0.0, most.cost, 9).tolist()
        if costs is None:
            budgets = sorted({float(math.ceil(each)) for each in budgets})
    verdicts = report.verdicts[report.verdicts["kind"] == SERVICE]
    rural = verdicts[verdicts["setting"] == "rural"]
    covered = int((rural["ledger_state"] == "covered").sum())
    people = found.villages["residents"].to_numpy(dtype=float)
    rows = []
    for budget in budgets:
        siting = solve(float(budget))
        served = siting.assigned >= 0
        rows.append(
            {
                "budget": float(budget),
                "cost": siting.cost,
                "works": int(found.table["nature"].iloc[siting.chosen].isin(WORKS).sum()),
                "units_gained": int(served.sum()),
                "people_gained": float(people[served].sum()),
                "share": (covered + int(served.sum())) / max(len(rural), 1),
                "gap": siting.gap,
            }
        )
    return pd.DataFrame(rows)


def annual_tasks(
    projects: gpd.GeoDataFrame,
    report: CoverageReport,
    *,
    budgets: Mapping[int, float] | None = None,
) -> gpd.GeoDataFrame:
    """Give each project that is due its year (年度任务清单).

    Parameters
    ----------
    projects : GeoDataFrame
        From `propose_projects`.
    report : CoverageReport
        The report they were proposed from; its plan gives the years.
    budgets : mapping of int to float, optional
        What may be spent in each year, in 10,000 yuan; what is left over is kept for the next.
        Without them projects are spread over the years in equal steps of whole units.

    Returns
    -------
    GeoDataFrame
        The projects that are due, with `year` first, sorted by year and number. A project that no
        year can pay for, or whose cost is not known, has none.

    Raises
    ------
    InputError
        For a year outside the plan's, or a budget that is no amount.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> tasks = fc.annual_tasks(fc.propose_projects(report, roads), report)
    >>> int(tasks["year"].min()), int(tasks["year"].max())
    (2021, 2025)
    """
    first, last = report.plan.baseline_year + 1, report.plan.target_year
    due = projects[projects["in_quota"].to_numpy(dtype=bool)]
    if budgets is None:
        years = list(range(first, last + 1))
        # In equal steps, counted in whole units: by the end of year k of n, ⌈k × total ÷ n⌉.
        ends = [math.ceil(Fraction(k + 1, len(years)) * len(due)) for k in range(len(years))]
        step = np.searchsorted(ends, np.arange(len(due)), side="right")
        return due.assign(year=pd.array(step + first, dtype="Int64"))[["year", *projects.columns]]
    wrong = [year for year in budgets if not first <= year <= last]
    if wrong:
        raise InputError(f"budgets= speaks of {wrong}; the plan's years are {first} to {last}")
    for year, amount in budgets.items():
        if not amount >= 0:
            raise InputError(f"the budget of {year} must be an amount, not {amount!r}")
    paying = sorted(budgets)
    left = np.cumsum([float(budgets[year]) for year in paying])
    planned: list[object] = []
    for cost in due["cost"].to_numpy(dtype=float):
        # The first year by whose end the money is there; what is spent is gone for all later ones.
        can = np.flatnonzero(left >= cost - 1e-9)
        can = can[[bool((left[k:] >= cost - 1e-9).all()) for k in can]] if can.size else can
        if can.size == 0:
            planned.append(pd.NA)
            continue
        left[can[0] :] -= cost
        planned.append(paying[can[0]])
    table = due.assign(year=pd.array(planned, dtype="Int64"))
    return table.sort_values(["year", "number"], kind="stable")[["year", *projects.columns]]
