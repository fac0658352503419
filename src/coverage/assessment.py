"""Minutes against standards → verdicts, reasons and rates, on two bases that are never mixed.

Ledger basis (台账口径): a unit counts if it has, or by agreement shares, a qualifying facility, as
the official indicator counts. Reachability basis (可达口径): people count who get there in time
over the road network. Every verdict has three states: covered, uncovered, cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .ledger import ledger_verdicts
from .network import RoadNetwork
from .rates import indicator_table, rate_table
from .search import Nearest
from .standards import Plan, Standard
from .terms import label
from .travel import Pool, TravelTimes, pools_of
from .verdicts import ROUNDING, STATES, Weights

__all__ = ["CoverageReport", "assess"]

Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

# These say that the data do not tell, not that the facility is out of reach.
_CANNOT_TELL = frozenset({"off_network", "island", "no_data"})


@dataclass(frozen=True, eq=False)
class CoverageReport:
    """What was found, as tables; it shows its headline figures in a notebook.

    Attributes
    ----------
    plan : Plan
        The plan assessed against.
    units, facilities, demand : GeoDataFrame
        The inputs; `facilities` with a column `outside` (beyond every unit: 县外) and `road_flag`
        (how it joins the roads: ``"off_network"`` and ``"island"`` can hardly be reached).
    roads : RoadNetwork
        The roads.
    verdicts : DataFrame
        One row a unit × kind: `ledger_state`, `ledger_reason`, `ledger_facility_id`,
        `reachable_state`, `reachable_reason`, `minutes` (half of the unit's residents get there
        within them), `limit_minutes` (of that `mode`), `mode`, `facility_id`, `people_covered`,
        `people_uncovered`, `people_unknown`, `people_share`, `area_covered_m2`, ….
        States are covered | uncovered | unknown | not_applicable.
    demand_verdicts : DataFrame
        One row a demand point × kind: `minutes`, `limit_minutes`, `mode`, `facility_id`, `state`,
        `reason`. The first alternative that passes decides, else the one nearest to passing.
    rates : DataFrame
        Tidy, one row a figure: `kind, setting, basis, measure, covered, uncovered, unknown,
        total, share, target, missing`. Units and people are counts, area is m². The plan's
        targets are promises of units: other measures have none.
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
        rows = self.verdicts["ledger_state"].isin(open_) | self.verdicts["reachable_state"].isin(
            open_
        )
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
    marked = facilities.assign(
        outside=_outside(facilities, units), road_flag=_road_flag(access.facility_flags)
    )
    position = pd.Series(np.arange(len(units)), index=units["unit_code"].to_numpy())
    home_unit = position[access.demand["unit_code"].to_numpy()].to_numpy()
    land_unit = position[access.area["unit_code"].to_numpy()].to_numpy()
    weights = _weights(access.demand, home_unit, len(units))
    residents = units["residents"].to_numpy(dtype=float, na_value=np.nan)

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
            judged = _judge_points(standard, access.nearest, homes)
            judged_land = _judge_points(standard, access.area_nearest, land)
            points.append(_point_table(judged, access, homes, kind))
            reach = _judge_units(
                standard, judged, home_unit[homes], weights, homes, members, residents[members]
            )
            reach = reach.join(_area(judged_land, access, land, land_unit, members))
            ledger = ledger_verdicts(
                standard, units, marked, access, plan, members, weights, home_unit
            )
            by_setting.append(reach.join(ledger).assign(kind=kind))
        verdicts.append(pd.concat(by_setting).sort_index())
    table = _verdict_table(pd.concat(verdicts), units, marked)
    rates = rate_table(table, plan)
    return CoverageReport(
        plan=plan,
        units=units,
        facilities=marked,
        demand=access.demand,
        roads=access.roads,
        verdicts=table,
        demand_verdicts=pd.concat(points, ignore_index=True),
        rates=rates,
        indicators=indicator_table(plan, rates, units, marked),
        access=access,
    )


def _outside(facilities: gpd.GeoDataFrame, units: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Tell which facilities lie beyond every unit (县外)."""
    shapes = np.asarray(facilities.geometry.to_crs(units.crs).array)
    inside, _ = shapely.STRtree(units.geometry.array).query(shapes, predicate="intersects")
    outside = ~shapely.is_missing(shapes)
    outside[inside] = False
    return outside


def _weights(demand: gpd.GeoDataFrame, home_unit: NDArray[np.int64], n_units: int) -> Weights:
    residents = demand["residents"].to_numpy(dtype=float)
    unknown = np.bincount(home_unit, weights=np.isnan(residents), minlength=n_units) > 0
    total = np.bincount(home_unit, weights=np.nan_to_num(residents), minlength=n_units)
    by_points = unknown | (total == 0)
    weight = np.where(by_points[home_unit], 1.0, residents)
    return Weights(residents, weight, ~unknown)


def _road_flag(flags: Mapping[str, Objects]) -> Objects:
    """Give one flag a facility: that of walkers, who may use most roads, if they are asked for."""
    return flags["walk"] if "walk" in flags else next(iter(flags.values()))


@dataclass(frozen=True, eq=False)
class _Judged:
    """Verdicts on points, index by index."""

    state: NDArray[np.int8]  # position in STATES
    minutes: Floats
    limit: Floats  # of the alternative that decided
    mode: Objects
    facility: NDArray[np.int64]
    reason: Objects


def _judge_points(standard: Standard, nearest: Any, points: NDArray[np.int64]) -> _Judged:
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


def _judge_kind(standard: Standard, pool: Pool, nearest: Any, points: NDArray[np.int64]) -> _Judged:
    n = len(points)
    best = np.full(n, np.inf)
    minutes = np.full(n, np.nan)
    limit = np.full(n, standard.limit_minutes)
    mode = np.full(n, None, dtype=object)
    facility = np.full(n, -1, dtype=np.int64)
    reason = np.full(n, "", dtype=object)
    perhaps = np.zeros(n, dtype=bool)
    for alternative in standard.alternatives:
        found: Nearest = nearest[(pool, alternative.mode)]
        ratio = np.nan_to_num(found.minutes[points], nan=np.inf) / alternative.minutes
        # The first alternative that passes decides (on foot, if that will do), else the nearest.
        better = (ratio < best) & (best > 1 + ROUNDING)
        best = np.where(better, ratio, best)
        minutes = np.where(better, found.minutes[points], minutes)
        limit = np.where(better, alternative.minutes, limit)
        mode = np.where(better, alternative.mode, mode)
        facility = np.where(better, found.facility[points], facility)
        reason = np.where(reason == "", found.reason[points], reason)
        doubtful = nearest.get((pool._replace(certain=False), alternative.mode))
        if doubtful is not None:
            perhaps |= doubtful.minutes[points] <= alternative.minutes + ROUNDING
    covered = best <= 1 + ROUNDING
    reason = np.where(np.isfinite(best), "too_far", reason)
    reason = np.where(perhaps, "no_data", reason)
    reason = np.where(covered, "", reason)
    unknown = ~covered & np.isin(reason.astype(str), sorted(_CANNOT_TELL))
    state = np.where(covered, 0, np.where(unknown, 2, 1)).astype(np.int8)
    return _Judged(state, minutes, limit, mode, facility, reason)


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
            "limit_minutes": judged.limit,
            "mode": judged.mode,
            "facility_id": np.where(judged.facility >= 0, ids[judged.facility], None),
            "state": np.array(STATES, dtype=object)[judged.state],
            "reason": judged.reason,
        }
    )


def _sum_by_state(
    state: NDArray[np.int8], owner: NDArray[np.int64], values: Floats, members: NDArray[np.int64]
) -> Floats:
    """Give sums by member unit (rows) and state (columns)."""
    table = np.zeros((members.max(initial=-1) + 1, len(STATES)))
    np.add.at(table, (owner, state), values)
    return table[members]


def _judge_units(
    standard: Standard,
    judged: _Judged,
    owner: NDArray[np.int64],
    weights: Weights,
    homes: NDArray[np.int64],
    members: NDArray[np.int64],
    residents: Floats,
) -> pd.DataFrame:
    weight = weights.weight[homes]
    parts = _sum_by_state(judged.state, owner, weight, members)
    people = _sum_by_state(judged.state, owner, weights.residents[homes], members)
    people[~weights.known[members]] = np.nan
    # Where no point says where they live, a unit's people are unknown, not absent.
    nowhere = ~np.isin(members, owner)
    people[nowhere, STATES.index("unknown")] = residents[nowhere]
    total = parts.sum(axis=1)
    needed = standard.unit_share * total - ROUNDING
    state = np.where(parts[:, 0] >= needed, 0, np.where(parts[:, 0] + parts[:, 2] >= needed, 2, 1))
    state[total == 0] = 2  # nobody is known to live there
    table = pd.DataFrame(
        {
            "reachable_state": np.array(STATES, dtype=object)[state],
            "people_covered": people[:, 0],
            "people_uncovered": people[:, 1],
            "people_unknown": people[:, 2],
            "people_share": np.divide(
                parts[:, 0], total, out=np.full(len(members), np.nan), where=total > 0
            ),
        },
        index=members,
    )
    table["reachable_reason"] = _main_reason(judged, owner, weight, members, state)
    middle = _weighted_median(judged.minutes, owner, weight)
    typical = pd.DataFrame(
        {
            "minutes": judged.minutes[middle],
            "limit_minutes": judged.limit[middle],
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
    reached = sums >= half - ROUNDING
    first = (
        reached & ~np.r_[False, reached[:-1] & (group[1:] == group[:-1])]
        if owners.size
        else reached
    )
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
    return pd.DataFrame(sums, index=members, columns=[f"area_{state}_m2" for state in STATES])


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


def _verdict_table(
    stacked: pd.DataFrame, units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Give the verdicts their names: one row a unit × kind, kinds in the plan's order."""
    ids = np.array([*facilities["facility_id"], None], dtype=object)
    position = stacked.index.to_numpy()
    names = units[["unit_code", "name", "township", "setting", "residents", "households"]]
    table = names.iloc[position].reset_index(drop=True)
    for column in (
        "kind",
        "ledger_state",
        "ledger_reason",
        "reachable_state",
        "reachable_reason",
        "minutes",
        "limit_minutes",
        "mode",
        "people_covered",
        "people_uncovered",
        "people_unknown",
        "people_share",
        "area_covered_m2",
        "area_uncovered_m2",
        "area_unknown_m2",
    ):
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
