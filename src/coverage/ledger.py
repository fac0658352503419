"""The ledger basis (台账口径): what units have, or by written agreement share."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .standards import Plan, Standard
from .travel import TravelTimes, minutes_to_facility
from .verdicts import ROUNDING, Weights

__all__ = ["ledger_verdicts"]

# From best to worst: of a unit's rows the best decides, and of failing ones the nearest to passing
# tells what the unit lacks.
_OUTCOMES = (
    ("covered", ""),
    ("unknown", "no_data"),
    ("uncovered", "short_hours"),
    ("uncovered", "too_small"),
    ("uncovered", "agreement_too_far"),
    ("uncovered", "closed"),
    ("uncovered", "no_facility"),
)
_COVERED, _NO_DATA, _SHORT_HOURS, _TOO_SMALL, _TOO_FAR, _CLOSED, _NO_FACILITY = range(
    len(_OUTCOMES)
)


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
        return _table(members, "not_applicable", "", -1)
    position = pd.Series(members, index=units["unit_code"].to_numpy()[members])
    keeper = facilities["unit_code"].map(position).to_numpy(dtype=float, na_value=np.nan)
    rows = np.flatnonzero(facilities["kind"].isin(standard.kinds).to_numpy() & ~np.isnan(keeper))
    owner = keeper[rows].astype(np.int64)

    quality = _quality(standard, facilities)
    outcome, facility = quality[rows], rows.copy()
    row_of = pd.Series(np.arange(len(facilities)), index=facilities["facility_id"].to_numpy())
    hosts = facilities["served_by"].map(row_of).to_numpy(dtype=float, na_value=np.nan)
    for number in np.flatnonzero((facilities["status"] == "shared").to_numpy()[rows]):
        host = hosts[rows[number]]
        facility[number] = -1 if np.isnan(host) else int(host)
        homes = np.flatnonzero(home_unit == owner[number])
        outcome[number] = (
            _NO_DATA  # the agreement names nobody we know
            if np.isnan(host)
            else _agreement(
                standard, access, plan, int(host), quality, homes, weights.weight[homes]
            )
        )
    official = facilities["official_covered"].to_numpy(dtype=float, na_value=np.nan)[rows]
    flagged = pd.Series(official).groupby(owner).max()
    by_flag = pd.Series(owner).map(flagged).to_numpy(dtype=float)
    outcome = np.where(np.isnan(by_flag), outcome, np.where(by_flag > 0, _COVERED, _NO_FACILITY))

    order = np.lexsort((rows, outcome, owner))
    first = order[np.r_[True, owner[order][1:] != owner[order][:-1]]] if order.size else order
    best = pd.DataFrame(
        {"outcome": outcome[first], "facility": facility[first]}, index=owner[first]
    ).reindex(members)
    code = best["outcome"].fillna(_NO_FACILITY).to_numpy(dtype=np.int64)
    named = np.where(code == _NO_FACILITY, -1, best["facility"].fillna(-1)).astype(np.int64)
    state, reason = np.array(_OUTCOMES, dtype=object)[code].T
    return _table(members, state, reason, named)


def _table(
    members: NDArray[np.int64], state: object, reason: object, facility: object
) -> pd.DataFrame:
    return pd.DataFrame(
        {"ledger_state": state, "ledger_reason": reason, "ledger_facility": facility}, index=members
    )


def _quality(standard: Standard, facilities: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Judge every facility against a standard's size and hours, whose-ever it is."""
    outcome = np.full(len(facilities), _COVERED)
    tests = (
        (standard.min_hours_per_day, "hours_per_day", _SHORT_HOURS),
        (standard.min_floor_area_m2, "floor_area_m2", _TOO_SMALL),
    )
    for least, column, fault in tests:
        if least is not None:
            value = facilities[column].to_numpy(dtype=float)
            # A known fault tells more than an unknown value.
            outcome[np.isnan(value) & (outcome == _COVERED)] = _NO_DATA
            outcome[value < least] = fault
    outcome[(facilities["status"] != "in_use").to_numpy()] = _CLOSED
    return outcome


def _agreement(
    standard: Standard,
    access: TravelTimes,
    plan: Plan,
    host: int,
    quality: NDArray[np.int64],
    homes: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> int:
    """Judge a sharing agreement: the host qualifies and most residents get there in time."""
    if quality[host] != _COVERED:
        return int(quality[host])
    if access.facilities.geometry.iloc[host] is None or homes.size == 0:
        return _NO_DATA
    reached = np.zeros(homes.size, dtype=bool)
    told = np.zeros(homes.size, dtype=bool)
    for alternative in standard.alternatives:
        minutes = minutes_to_facility(
            access,
            plan,
            host,
            homes,
            mode=alternative.mode,
            limit_minutes=alternative.minutes + ROUNDING,
        )
        reached |= minutes <= alternative.minutes + ROUNDING
        told |= ~np.isnan(minutes)
    needed = standard.unit_share * weight.sum() - ROUNDING
    if weight[reached].sum() >= needed:
        return _COVERED
    return _NO_DATA if weight[reached | ~told].sum() >= needed else _TOO_FAR
