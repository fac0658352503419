"""The ledger basis (台账口径): what units have, or by written agreement share."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .standards import Plan, Standard
from .travel import TravelTimes, minutes_to_facility
from .verdicts import ROUNDING, Weights

__all__ = ["ledger_verdicts"]


def ledger_verdicts(
    standard: Standard,
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
    access: TravelTimes,
    plan: Plan,
    members: NDArray[np.int64],
    weights: Weights,
    home_unit: NDArray[np.int64],
) -> pd.DataFrame:
    """Judge units as the official indicator does: what they have, or share by agreement.

    Parameters
    ----------
    standard : Standard
        Its least size and hours, and the time an agreement may cost.
    units, facilities : GeoDataFrame
        As the readers give them.
    access, plan
        For the way to a facility that is shared.
    members : ndarray of int
        Positions in `units` of those to judge.
    weights : Weights
        How much each demand point counts.
    home_unit : ndarray of int
        By demand point, the position of its unit.

    Returns
    -------
    DataFrame
        `ledger_state`, `ledger_reason` and `ledger_facility` (position, -1 where none), indexed
        by `members`. Where the ledger carries an official flag it is used unchanged.
    """
    if not standard.on_ledger:
        return pd.DataFrame(
            {"ledger_state": "not_applicable", "ledger_reason": "", "ledger_facility": -1},
            index=members,
        )
    kept = facilities[facilities["kind"].isin(standard.kinds)]
    by_unit = dict(iter(kept.groupby("unit_code")))
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
        results.append(
            min(candidates, key=lambda verdict: (order[verdict[0]], _NEARNESS[verdict[1]]))
        )
    return pd.DataFrame(
        results, columns=["ledger_state", "ledger_reason", "ledger_facility"], index=members
    )


# Of several failing rows, the one nearest to passing tells what the unit lacks.
_NEARNESS = {
    "": 0,
    "no_data": 1,
    "short_hours": 2,
    "too_small": 3,
    "agreement_too_far": 4,
    "closed": 5,
    "no_facility": 6,
}


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
    weights: Weights,
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
        reached |= minutes <= alternative.minutes + ROUNDING
        told |= ~np.isnan(minutes)
    needed = standard.unit_share * weight.sum() - ROUNDING
    if weight[reached].sum() >= needed:
        return "covered", "", host
    if weight[reached | ~told].sum() >= needed:
        return "unknown", "no_data", host
    return "uncovered", "agreement_too_far", host
