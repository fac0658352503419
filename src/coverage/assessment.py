"""Minutes against standards → verdicts, reasons and rates, on two bases that are never mixed.

Ledger basis (台账口径): a unit counts if it has, or by agreement shares, a qualifying facility, as
the official indicator counts. Reachability basis (可达口径): people count who get there in time
over the road network. Every verdict has three states: covered, uncovered, cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .network import RoadNetwork
from .standards import Indicator, Plan, Standard, units_needed
from .terms import label
from .travel import Nearest, Pool, TravelTimes, minutes_to_facility, pools_of

__all__ = ["CoverageReport", "assess"]

Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

_STATES = ("covered", "uncovered", "unknown")
# These say that the data do not tell, not that the facility is out of reach.
_CANNOT_TELL = frozenset({"off_network", "island", "no_data"})
_ROUNDING = 1e-9  # minutes and shares are sums of floats
_LEDGER_KIND = "comprehensive_service"


@dataclass(frozen=True, eq=False)
class CoverageReport:
    """What was found, as tables; it shows its headline figures in a notebook.

    Attributes
    ----------
    plan : Plan
        The plan assessed against.
    units, facilities, demand : GeoDataFrame
        The inputs, `facilities` with a column `outside` (beyond every unit: 县外).
    roads : RoadNetwork
        The roads.
    verdicts : DataFrame
        One row a unit × kind: `ledger_state`, `ledger_reason`, `ledger_facility_id`,
        `reachable_state`, `reachable_reason`, `minutes` (half of the unit's residents get there
        within them), `limit_minutes`, `mode`, `facility_id`, `people_covered`,
        `people_uncovered`, `people_unknown`, `people_share`, `area_covered_m2`, ….
        States are covered | uncovered | unknown | not_applicable.
    demand_verdicts : DataFrame
        One row a demand point × kind: `minutes`, `mode`, `facility_id`, `state`, `reason`.
    rates : DataFrame
        Tidy, one row a figure: `kind, setting, basis, measure, covered, uncovered, unknown,
        total, share, target, missing`. Units and people are counts, area is m².
    indicators : DataFrame
        The plan's indicators: `number, name_zh, name_en, baseline, target, value, unit, met,
        missing_data`. What cannot be computed is missing and says which data it needs.
    gaps : DataFrame
        The verdicts that are not covered on a basis that applies.
    access : TravelTimes
        The minutes it rests on.
    """

    plan: Plan
    units: gpd.GeoDataFrame
    facilities: gpd.GeoDataFrame
    demand: gpd.GeoDataFrame
    roads: RoadNetwork
    verdicts: pd.DataFrame
    demand_verdicts: pd.DataFrame
    rates: pd.DataFrame
    indicators: pd.DataFrame
    access: TravelTimes

    @property
    def gaps(self) -> pd.DataFrame:
        """The unit × kind rows that are not covered on a basis that applies, reason beside them."""
        open_ = ["uncovered", "unknown"]
        rows = self.verdicts["ledger_state"].isin(open_) | self.verdicts["reachable_state"].isin(open_)
        return self.verdicts[rows].reset_index(drop=True)

    @property
    def stamp(self) -> str:
        """What the data say about themselves, e.g. that they are an illustrative sample."""
        notes: dict[str, None] = {}
        for table in (self.units, self.facilities, self.demand):
            if "data_note" in table:
                notes |= dict.fromkeys(table["data_note"].dropna().unique())
        return "；".join(notes)

    def __repr__(self) -> str:
        """Say what was assessed."""
        return (
            f"<CoverageReport: {len(self.units)} units, {len(self.facilities)} facilities, "
            f"{len(self.plan.kinds)} kinds, plan {self.plan.plan_id}>"
        )

    def _repr_html_(self) -> str:
        stamp = f"<p><b>{escape(self.stamp)}</b></p>" if self.stamp else ""
        shown = self.rates[self.rates["measure"] != "area"]
        table = shown.assign(
            **{
                name: shown[name].map(lambda key, group=name: label(group, key))
                for name in ("kind", "setting", "basis", "measure")
            }
        ).rename(columns=lambda name: label("column", name))
        styled = table.style.hide(axis="index").format(precision=0, na_rep="—")
        percent = [label("column", "share"), label("column", "target")]
        styled = styled.format("{:.1%}", subset=percent, na_rep="—")
        return f"<h4>{escape(self.plan.name_zh)}</h4>{stamp}{styled.to_html()}"


def assess(
    units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame, access: TravelTimes, plan: Plan
) -> CoverageReport:
    """Judge every unit and demand point against every standard of the plan.

    Parameters
    ----------
    units, facilities : GeoDataFrame
        As the readers give them; the same that `travel_times` was given.
    access : TravelTimes
        From `travel_times`.
    plan : Plan
        From `load_plan`.

    Returns
    -------
    CoverageReport
        Verdicts, rates and indicators.

    Notes
    -----
    A demand point is covered if one of the standard's alternatives holds; of a composite circle
    every kind must be. A unit is covered if at least `unit_share` of its residents are (of its
    demand points, where residents are not known), *cannot tell* if those for whom the data do not
    tell could make it so, else uncovered.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> rates = fc.assess(units, facilities, access, plan).rates
    >>> rates.query("kind == 'comprehensive_service' and basis == 'ledger' and measure == 'units'")[
    ...     ["setting", "covered", "total", "missing"]].to_numpy().tolist()
    [['rural', 120.0, 199.0, 40.0], ['urban', 14.0, 14.0, 0.0]]
    """
    marked = facilities.assign(outside=_outside(facilities, units))
    position = pd.Series(np.arange(len(units)), index=units["unit_code"].to_numpy())
    home_unit = position[access.demand["unit_code"].to_numpy()].to_numpy()
    land_unit = position[access.area["unit_code"].to_numpy()].to_numpy()
    weights = _weights(access.demand, home_unit, len(units))

    verdicts, points = [], []
    for kind in plan.kinds:
        by_setting = []
        for setting in ("rural", "urban"):
            members = np.flatnonzero((units["setting"] == setting).to_numpy())
            standard = plan.standard(kind, setting)
            if standard is None:
                by_setting.append(_not_applicable(members, kind))
                continue
            homes = np.flatnonzero(np.isin(home_unit, members))
            land = np.flatnonzero(np.isin(land_unit, members))
            judged = _judge_points(standard, access, access.nearest, homes)
            judged_land = _judge_points(standard, access, access.area_nearest, land)
            points.append(_point_table(judged, access, homes, kind))
            reach = _judge_units(standard, judged, home_unit[homes], weights, homes, members)
            reach = reach.join(_area(judged_land, access, land, land_unit, members))
            ledger = _ledger(standard, units, marked, access, plan, members, weights, home_unit)
            by_setting.append(reach.join(ledger).assign(kind=kind))
        verdicts.append(pd.concat(by_setting).sort_index())
    table = _verdict_table(pd.concat(verdicts), units, marked)
    rates = _rates(table, plan)
    return CoverageReport(
        plan=plan,
        units=units,
        facilities=marked,
        demand=access.demand,
        roads=access.roads,
        verdicts=table,
        demand_verdicts=pd.concat(points, ignore_index=True),
        rates=rates,
        indicators=_indicators(plan, rates, units, marked),
        access=access,
    )


def _outside(facilities: gpd.GeoDataFrame, units: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Tell which facilities lie beyond every unit (县外)."""
    shapes = np.asarray(facilities.geometry.to_crs(units.crs).array)
    inside, _ = shapely.STRtree(units.geometry.array).query(shapes, predicate="intersects")
    outside = ~shapely.is_missing(shapes)
    outside[inside] = False
    return outside


@dataclass(frozen=True, eq=False)
class _Weights:
    """How much each demand point counts: its residents, or, where unknown, one point of many."""

    residents: Floats
    weight: Floats
    known: NDArray[np.bool_]  # by unit: the residents of all its points are known


def _weights(demand: gpd.GeoDataFrame, home_unit: NDArray[np.int64], n_units: int) -> _Weights:
    residents = demand["residents"].to_numpy(dtype=float)
    unknown = np.bincount(home_unit, weights=np.isnan(residents), minlength=n_units) > 0
    total = np.bincount(home_unit, weights=np.nan_to_num(residents), minlength=n_units)
    by_points = unknown | (total == 0)
    weight = np.where(by_points[home_unit], 1.0, residents)
    return _Weights(residents, weight, ~unknown)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Verdicts on points, index by index."""

    state: NDArray[np.int8]  # position in _STATES
    minutes: Floats
    mode: Objects
    facility: NDArray[np.int64]
    reason: Objects


def _judge_points(
    standard: Standard,
    access: TravelTimes,
    nearest: Any,
    points: NDArray[np.int64],
) -> _Judged:
    """Judge points against a standard: every kind it needs, by the best alternative."""
    worst: _Judged | None = None
    for pool in pools_of(standard):
        one = _judge_kind(standard, pool, nearest, points)
        if worst is None:
            worst = one
            continue
        # What decides a composite circle: a kind out of reach, then one in doubt, then the slowest.
        rank = np.array([0, 2, 1])  # covered, uncovered, unknown
        one_rank, worst_rank = rank[one.state], rank[worst.state]
        slower = np.nan_to_num(one.minutes, nan=np.inf) > np.nan_to_num(worst.minutes, nan=np.inf)
        takes = (one_rank > worst_rank) | ((one_rank == worst_rank) & slower)
        worst = _Judged(
            *(
                np.where(takes, getattr(one, name), getattr(worst, name))
                for name in _Judged.__dataclass_fields__
            )
        )
    if worst is None:  # pragma: no cover - a standard names at least one kind
        raise AssertionError("a standard without kinds")
    return worst


def _judge_kind(
    standard: Standard, pool: Pool, nearest: Any, points: NDArray[np.int64]
) -> _Judged:
    n = len(points)
    best = np.full(n, np.inf)
    minutes = np.full(n, np.nan)
    mode = np.full(n, None, dtype=object)
    facility = np.full(n, -1, dtype=np.int64)
    reason = np.full(n, "", dtype=object)
    perhaps = np.zeros(n, dtype=bool)
    for alternative in standard.alternatives:
        found: Nearest = nearest[(pool, alternative.mode)]
        ratio = np.nan_to_num(found.minutes[points], nan=np.inf) / alternative.minutes
        better = ratio < best
        best = np.where(better, ratio, best)
        minutes = np.where(better, found.minutes[points], minutes)
        mode = np.where(better, alternative.mode, mode)
        facility = np.where(better, found.facility[points], facility)
        reason = np.where(reason == "", found.reason[points], reason)
        doubtful = nearest.get((pool._replace(certain=False), alternative.mode))
        if doubtful is not None:
            perhaps |= doubtful.minutes[points] <= alternative.minutes + _ROUNDING
    covered = best <= 1 + _ROUNDING
    reason = np.where(np.isfinite(best), "too_far", reason)
    reason = np.where(perhaps, "no_data", reason)
    reason = np.where(covered, "", reason)
    unknown = ~covered & np.isin(reason.astype(str), sorted(_CANNOT_TELL))
    state = np.where(covered, 0, np.where(unknown, 2, 1)).astype(np.int8)
    return _Judged(state, minutes, mode, facility, reason)


def _point_table(
    judged: _Judged, access: TravelTimes, homes: NDArray[np.int64], kind: str
) -> pd.DataFrame:
    ids = access.facilities["facility_id"].to_numpy(dtype=object)
    demand = access.demand.iloc[homes]
    return pd.DataFrame(
        {
            "demand_id": demand["demand_id"].to_numpy(),
            "unit_code": demand["unit_code"].to_numpy(),
            "kind": kind,
            "residents": demand["residents"].to_numpy(dtype=float),
            "minutes": judged.minutes,
            "mode": judged.mode,
            "facility_id": np.where(judged.facility >= 0, ids[judged.facility], None),
            "state": np.array(_STATES, dtype=object)[judged.state],
            "reason": judged.reason,
        }
    )


def _sum_by_state(
    state: NDArray[np.int8], owner: NDArray[np.int64], values: Floats, members: NDArray[np.int64]
) -> Floats:
    """Give sums by member unit (rows) and state (columns)."""
    table = np.zeros((members.max(initial=-1) + 1, len(_STATES)))
    np.add.at(table, (owner, state), values)
    return table[members]


def _judge_units(
    standard: Standard,
    judged: _Judged,
    owner: NDArray[np.int64],
    weights: _Weights,
    homes: NDArray[np.int64],
    members: NDArray[np.int64],
) -> pd.DataFrame:
    weight = weights.weight[homes]
    parts = _sum_by_state(judged.state, owner, weight, members)
    people = _sum_by_state(judged.state, owner, weights.residents[homes], members)
    people[~weights.known[members]] = np.nan
    total = parts.sum(axis=1)
    needed = standard.unit_share * total - _ROUNDING
    state = np.where(
        parts[:, 0] >= needed, 0, np.where(parts[:, 0] + parts[:, 2] >= needed, 2, 1)
    )
    state[total == 0] = 2  # nobody is known to live there
    table = pd.DataFrame(
        {
            "reachable_state": np.array(_STATES, dtype=object)[state],
            "people_covered": people[:, 0],
            "people_uncovered": people[:, 1],
            "people_unknown": people[:, 2],
            "people_share": np.divide(
                parts[:, 0], total, out=np.full(len(members), np.nan), where=total > 0
            ),
            "limit_minutes": standard.limit_minutes,
        },
        index=members,
    )
    table["reachable_reason"] = _main_reason(judged, owner, weight, members, state)
    middle = _weighted_median(judged.minutes, owner, weight)
    typical = pd.DataFrame(
        {
            "minutes": judged.minutes[middle],
            "mode": judged.mode[middle],
            "facility": judged.facility[middle],
        },
        index=owner[middle],
    )
    return table.join(typical)


def _main_reason(
    judged: _Judged,
    owner: NDArray[np.int64],
    weight: Floats,
    members: NDArray[np.int64],
    state: NDArray[np.int64],
) -> Objects:
    """Give the reason that keeps most people of a unit from being covered."""
    open_ = judged.state != 0
    frame = pd.DataFrame(
        {"owner": owner[open_], "reason": judged.reason[open_], "weight": weight[open_]}
    )
    sums = frame.groupby(["owner", "reason"], sort=True)["weight"].sum().reset_index()
    first = sums.sort_values("weight", ascending=False, kind="stable").drop_duplicates("owner")
    reason = first.set_index("owner")["reason"].reindex(members).fillna("no_data").to_numpy(object)
    return np.where(state == 0, "", reason)


def _weighted_median(
    minutes: Floats, owner: NDArray[np.int64], weight: Floats
) -> NDArray[np.int64]:
    """Give for each owner the position of the point by which half of its weight is reached."""
    order = np.lexsort((np.nan_to_num(minutes, nan=np.inf), owner))
    sums = np.cumsum(weight[order])
    owners = owner[order]
    last = np.r_[owners[1:] != owners[:-1], True] if owners.size else np.zeros(0, dtype=bool)
    ends = sums[last]
    starts = np.r_[0.0, ends[:-1]]
    group = np.cumsum(np.r_[False, owners[1:] != owners[:-1]]) if owners.size else owners
    half = (starts + (ends - starts) / 2)[group]
    reached = sums >= half - _ROUNDING
    first = reached & ~np.r_[False, reached[:-1] & (group[1:] == group[:-1])] if owners.size else reached
    return order[first]


def _area(
    judged: _Judged,
    access: TravelTimes,
    land: NDArray[np.int64],
    land_unit: NDArray[np.int64],
    members: NDArray[np.int64],
) -> pd.DataFrame:
    area = access.area["area_m2"].to_numpy(dtype=float)[land]
    sums = _sum_by_state(judged.state, land_unit[land], area, members)
    return pd.DataFrame(
        sums, index=members, columns=[f"area_{state}_m2" for state in _STATES]
    )


def _not_applicable(members: NDArray[np.int64], kind: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": kind,
            "ledger_state": "not_applicable",
            "reachable_state": "not_applicable",
            "ledger_reason": "",
            "reachable_reason": "",
            "facility": -1,
            "ledger_facility": -1,
        },
        index=members,
    )


def _ledger(
    standard: Standard,
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
    access: TravelTimes,
    plan: Plan,
    members: NDArray[np.int64],
    weights: _Weights,
    home_unit: NDArray[np.int64],
) -> pd.DataFrame:
    """Judge units as the official indicator does: what they have, or share by agreement."""
    if not standard.on_ledger:
        return pd.DataFrame(
            {"ledger_state": "not_applicable", "ledger_reason": "", "ledger_facility": -1},
            index=members,
        )
    kept = facilities[facilities["kind"].isin(standard.kinds)]
    by_unit = {code: rows for code, rows in kept.groupby(kept["unit_code"])}
    row_of = pd.Series(np.arange(len(facilities)), index=facilities["facility_id"].to_numpy())
    results = []
    for member in members:
        rows = by_unit.get(units["unit_code"].iloc[member])
        if rows is None:
            results.append(("uncovered", "no_facility", -1))
            continue
        official = rows["official_covered"].dropna()
        if len(official):
            covered = bool(official.any())
            results.append(
                ("covered", "", row_of[rows["facility_id"].iloc[0]])
                if covered
                else ("uncovered", "no_facility", -1)
            )
            continue
        homes = np.flatnonzero(home_unit == member)
        candidates = [
            _own(standard, row, row_of)
            if row.status != "shared"
            else _agreed(standard, row, row_of, facilities, access, plan, homes, weights)
            for row in rows.itertuples()
        ]
        # The best that any row of the unit can show.
        order = {"covered": 0, "unknown": 1, "uncovered": 2}
        results.append(min(candidates, key=lambda verdict: (order[verdict[0]], _NEARNESS[verdict[1]])))
    return pd.DataFrame(
        results, columns=["ledger_state", "ledger_reason", "ledger_facility"], index=members
    )


# Of several failing rows, the one nearest to passing tells what the unit lacks.
_NEARNESS = {
    "": 0, "no_data": 1, "short_hours": 2, "too_small": 3, "agreement_too_far": 4, "closed": 5, "no_facility": 6,
}  # fmt: skip


def _qualifies(standard: Standard, row: Any) -> tuple[str, str]:
    """Give state and reason of one facility against a standard's size and hours."""
    if row.status != "in_use":
        return "uncovered", "closed"
    tests = (
        (standard.min_floor_area_m2, row.floor_area_m2, "too_small"),
        (standard.min_hours_per_day, row.hours_per_day, "short_hours"),
    )
    for least, value, reason in tests:
        if least is not None and value < least:
            return "uncovered", reason
    if any(least is not None and np.isnan(value) for least, value, _ in tests):
        return "unknown", "no_data"
    return "covered", ""


def _own(standard: Standard, row: Any, row_of: pd.Series) -> tuple[str, str, int]:
    state, reason = _qualifies(standard, row)
    return state, reason, int(row_of[row.facility_id])


def _agreed(
    standard: Standard,
    row: Any,
    row_of: pd.Series,
    facilities: gpd.GeoDataFrame,
    access: TravelTimes,
    plan: Plan,
    homes: NDArray[np.int64],
    weights: _Weights,
) -> tuple[str, str, int]:
    """Judge a sharing agreement: the host qualifies and most residents get there in time."""
    host = row_of.get(row.served_by) if isinstance(row.served_by, str) else None
    if host is None:
        return "unknown", "no_data", -1
    host = int(host)
    state, reason = _qualifies(standard, facilities.iloc[host])
    if state != "covered":
        return state, reason, host
    if facilities.geometry.iloc[host] is None or homes.size == 0:
        return "unknown", "no_data", host
    weight = weights.weight[homes]
    reached = np.zeros(homes.size, dtype=bool)
    told = np.zeros(homes.size, dtype=bool)
    for alternative in standard.alternatives:
        minutes = minutes_to_facility(access, plan, host, homes, mode=alternative.mode)
        reached |= minutes <= alternative.minutes + _ROUNDING
        told |= ~np.isnan(minutes)
    needed = standard.unit_share * weight.sum() - _ROUNDING
    if weight[reached].sum() >= needed:
        return "covered", "", host
    if weight[reached | ~told].sum() >= needed:
        return "unknown", "no_data", host
    return "uncovered", "agreement_too_far", host


def _verdict_table(
    stacked: pd.DataFrame, units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Give the verdicts their names: one row a unit × kind, kinds in the plan's order."""
    ids = np.append(facilities["facility_id"].to_numpy(dtype=object), None)
    position = stacked.index.to_numpy()
    names = units[["unit_code", "name", "township", "setting", "residents", "households"]]
    table = names.iloc[position].reset_index(drop=True)
    for column in (
        "kind", "ledger_state", "ledger_reason", "reachable_state", "reachable_reason", "minutes", "limit_minutes",
        "mode", "people_covered", "people_uncovered", "people_unknown", "people_share", "area_covered_m2",
        "area_uncovered_m2", "area_unknown_m2",
    ):  # fmt: skip
        table[column] = stacked[column].to_numpy() if column in stacked else np.nan
    for column in ("facility", "ledger_facility"):
        table[f"{column}_id"] = ids[stacked[column].fillna(-1).to_numpy(dtype=int)]
    table["shared"] = _is_shared(table, facilities)
    return table


def _is_shared(table: pd.DataFrame, facilities: gpd.GeoDataFrame) -> pd.Series:
    """Tell which units are covered on the ledger by another unit's facility."""
    keeper = facilities.set_index("facility_id")["unit_code"]
    host = table["ledger_facility_id"].map(keeper)
    return (table["ledger_state"] == "covered") & host.notna() & (host != table["unit_code"])


def _rates(verdicts: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Count units, people and area by kind, setting and basis; counts decide before rounding."""
    rows = []
    for (kind, setting), group in verdicts.groupby(["kind", "setting"], sort=False):
        standard = plan.standard(kind, setting)
        if standard is None:
            continue
        sums: dict[tuple[str, str], list[float]] = {}
        bases = ["ledger", "reachable"] if standard.on_ledger else ["reachable"]
        for basis in bases:
            state = group[f"{basis}_state"]
            sums[basis, "units"] = [float((state == name).sum()) for name in _STATES]
        if standard.on_ledger:
            people = group["residents"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
            sums["ledger", "people"] = [
                float(people[(group["ledger_state"] == name).to_numpy()].sum()) for name in _STATES
            ]
        sums["reachable", "people"] = [
            float(group[f"people_{name}"].sum(skipna=False)) for name in _STATES
        ]
        sums["reachable", "area"] = [float(group[f"area_{name}_m2"].sum()) for name in _STATES]
        for (basis, measure), (covered, uncovered, unknown) in sums.items():
            total = covered + uncovered + unknown
            target = standard.target_share
            missing = (
                max(0.0, units_needed(target, int(total)) - covered)
                if target is not None and measure == "units"
                else np.nan
            )
            share = covered / total if total else np.nan
            rows.append(
                (kind, setting, basis, measure, covered, uncovered, unknown, total, share,
                 np.nan if target is None else target, missing)
            )  # fmt: skip
    columns = [
        "kind", "setting", "basis", "measure", "covered", "uncovered", "unknown", "total", "share", "target", "missing",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    order = {kind: i for i, kind in enumerate(plan.kinds)}
    keys = [table["kind"].map(order), table["setting"], table["basis"]]
    return table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)


def _indicators(
    plan: Plan, rates: pd.DataFrame, units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame
) -> pd.DataFrame:
    rows = []
    for indicator in plan.indicators:
        value, met, lacking = _indicator(indicator, rates, units, facilities)
        rows.append(
            {
                "number": indicator.number,
                "name_zh": indicator.name_zh,
                "name_en": indicator.name_en,
                "baseline": indicator.baseline,
                "target": indicator.target,
                "value": value,
                "unit": indicator.unit,
                "met": met,
                "missing_data": lacking,
                "source": indicator.source,
            }
        )
    columns = [
        "number", "name_zh", "name_en", "baseline", "target", "value", "unit", "met", "missing_data", "source",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"met": "boolean", "baseline": float, "target": float, "value": float})


_LACKING = {
    "new_community_area_share": "新建社区总建筑面积、商业和综合服务面积 / floor areas of new communities",
    "terminal_share": "政务自助终端台账 / list of self-service terminals",
    "workers_per_10000": "社区工作者人数 / number of community workers",
}


def _indicator(
    indicator: Indicator,
    rates: pd.DataFrame,
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
) -> tuple[float | None, bool | None, str]:
    """Give value, whether the target is met, and what data are missing."""
    if indicator.formula in _LACKING:
        return None, None, _LACKING[indicator.formula]
    if indicator.formula.startswith("ledger_share_"):
        setting = indicator.formula.removeprefix("ledger_share_")
        query = (
            (rates["kind"] == _LEDGER_KIND)
            & (rates["setting"] == setting)
            & (rates["basis"] == "ledger")
            & (rates["measure"] == "units")
        )
        if not query.any():
            return None, None, f"{label('kind', _LEDGER_KIND)}台账 / its ledger"
        row = rates[query].iloc[0]
        met: bool | None = None
        if indicator.target is not None:
            needed = units_needed(indicator.target, int(row["total"]))
            if row["covered"] >= needed:
                met = True
            elif row["covered"] + row["unknown"] < needed:
                met = False
        return float(row["share"]), met, ""
    urban = units[units["setting"] == "urban"]
    kept = facilities[
        (facilities["kind"] == _LEDGER_KIND)
        & (facilities["status"] == "in_use")
        & facilities["unit_code"].isin(urban["unit_code"])
    ]
    lacking = []
    if len(urban) == 0 or len(kept) == 0:
        lacking.append("城市社区综合服务设施台账 / ledger of urban facilities")
    if kept["floor_area_m2"].isna().any():
        lacking.append(f"{int(kept['floor_area_m2'].isna().sum())} 处设施的建筑面积 / floor areas")
    by_households = indicator.formula == "floor_area_per_100_households"
    if by_households and urban["households"].isna().any():
        lacking.append("城市社区户数 / households of urban units")
    if not by_households and kept["activity_area_m2"].isna().any():
        lacking.append("活动区域面积 / activity areas")
    if lacking:
        return None, None, "；".join(lacking)
    area = float(kept["floor_area_m2"].sum())
    value = (
        100 * area / float(urban["households"].sum())
        if by_households
        else float(kept["activity_area_m2"].sum()) / area
    )
    return value, None if indicator.target is None else value >= indicator.target - _ROUNDING, ""
