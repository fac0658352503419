"""Points and units judged against a standard: covered, uncovered or cannot tell, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .search import Nearest
from .standards import Standard, Way
from .travel import FacilityColumns, Pool, TravelTimes, pools_of

__all__ = [
    "CANNOT_TELL",
    "REASONS",
    "ROUNDING",
    "STATES",
    "Judged",
    "People",
    "UnitVerdicts",
    "judge_points",
    "judge_units",
    "keep_to_capacity",
    "people_at",
    "reason_codes",
    "sum_by_state",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

STATES = ("covered", "uncovered", "unknown")
COVERED, UNCOVERED, UNKNOWN = range(3)
ROUNDING = 1e-9  # minutes and shares are sums of floats
REASONS = (
    "",
    "too_far",
    "one_way",
    "beyond_limit",
    "no_facility_of_kind",
    "closed",
    "too_small",
    "short_hours",
    "over_capacity",
    "off_network",
    "island",
    "no_data",
)
CODE = {reason: code for code, reason in enumerate(REASONS)}
# These say that the data do not tell, not that the facility is out of reach.
CANNOT_TELL = np.array([reason in {"off_network", "island", "no_data"} for reason in REASONS])
_WORSE = np.array([0, 2, 1])  # covered, uncovered, unknown: what decides a composite circle


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts on points, index by index.

    Attributes
    ----------
    state : ndarray of int8
        Position in `STATES`.
    minutes : ndarray of float
        Of the alternative that decided: the first that passes, else the one nearest to passing.
    limit_minutes : ndarray of float
        Of that alternative.
    alternative : ndarray of int8
        Its position in the standard's.
    facility : ndarray of int
        Position of the facility, -1 where none is reached.
    reason : ndarray of int8
        Position in `REASONS`.
    on_foot : ndarray of bool
        Whether an alternative on foot passes.
    kinds_reached : ndarray of int16
        How many of the kinds of a composite circle are reached in time, further ones included.
    """

    state: NDArray[np.int8]
    minutes: Floats
    limit_minutes: Floats
    alternative: NDArray[np.int8]
    facility: Integers
    reason: NDArray[np.int8]
    on_foot: NDArray[np.bool_]
    kinds_reached: NDArray[np.int16]

    def where(self, takes: NDArray[np.bool_], other: Judged) -> Judged:
        """Give the other's verdict where told to."""
        return Judged(
            *(
                np.where(takes, getattr(other, name), getattr(self, name))
                for name in self.__dataclass_fields__
            )
        )


@dataclass(frozen=True, eq=False)
class People:
    """How many people each demand point stands for, and how much it weighs in its unit.

    Attributes
    ----------
    count : ndarray of float
        By demand point; NaN where not known.
    weight : ndarray of float
        By demand point: the count, or one each in units where some are not known. Never NaN.
    total : ndarray of float
        By unit: the people of all its points, or of the unit where it has none; NaN where not
        known.
    """

    count: Floats
    weight: Floats
    total: Floats


class UnitVerdicts(NamedTuple):
    """Verdicts on units, index by index.

    Attributes
    ----------
    state, on_foot_state : ndarray of int8
        Positions in `STATES`; the second on foot alone.
    reason : ndarray of int8
        Position in `REASONS`: what keeps most people from being covered.
    covered, uncovered, unknown, on_foot : ndarray of float
        People, the last covered without a vehicle; NaN where not known.
    share : ndarray of float
        Of the weight that is covered.
    point : ndarray of int
        Position among the judged points of the one by which half of the unit is there, -1.
    """

    state: NDArray[np.int8]
    reason: NDArray[np.int8]
    covered: Floats
    uncovered: Floats
    unknown: Floats
    share: Floats
    on_foot_state: NDArray[np.int8]
    on_foot: Floats
    point: Integers


def reason_codes(reasons: Objects) -> NDArray[np.int8]:
    """Give positions in `REASONS`.

    Examples
    --------
    >>> reason_codes(np.array(["", "too_far"], dtype=object))
    array([0, 1], dtype=int8)
    """
    codes, words = pd.factorize(reasons)
    return np.array([CODE[word] for word in words], dtype=np.int8)[codes]


def people_at(
    demand: gpd.GeoDataFrame, units: gpd.GeoDataFrame, home_unit: Integers, population: str
) -> People:
    """Count the people of a group at each demand point.

    Parameters
    ----------
    demand, units : GeoDataFrame
        As the readers give them.
    home_unit : ndarray of int
        By demand point, the position of its unit.
    population : str
        The column that counts them. Where the points of a unit do not say, but the unit does, its
        people are shared out as its residents are.
    """
    n_units = len(units)
    count = _numbers(demand, population)
    of_unit = _numbers(units, population)

    def sums(values: Floats | NDArray[np.bool_]) -> Floats:
        return np.bincount(home_unit, weights=values, minlength=n_units).astype(float)

    silent = sums(~np.isnan(count)) == 0
    if population != "residents" and silent.any():
        residents = _numbers(demand, "residents")
        whole = sums(residents)  # NaN where some are not known
        with np.errstate(invalid="ignore", divide="ignore"):
            part = of_unit[home_unit] * residents / whole[home_unit]
        count = np.where(silent[home_unit], part, count)
    known = sums(np.isnan(count)) == 0
    total = sums(np.nan_to_num(count))
    by_points = ~known | (total == 0)
    here = np.bincount(home_unit, minlength=n_units) > 0
    return People(
        count,
        np.where(by_points[home_unit], 1.0, count),
        np.where(here, np.where(known, total, np.nan), of_unit),
    )


def _numbers(table: pd.DataFrame, column: str) -> Floats:
    if column not in table:
        return np.full(len(table), np.nan)
    return table[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def judge_points(
    standard: Standard,
    access: TravelTimes,
    points: Integers,
    *,
    area: bool = False,
    inside: bool = False,
) -> Judged:
    """Judge points against a standard: every kind it needs, by the best alternative.

    Parameters
    ----------
    standard : Standard
        What is asked.
    access : TravelTimes
        The minutes.
    points : ndarray of int
        Positions in ``access.demand``, or in ``access.area``.
    area : bool
        Whether the points stand for area.
    inside : bool
        Whether facilities beyond the border are left out.

    Returns
    -------
    Judged
        Index by index with `points`. Of a composite circle the worst kind decides: one out of
        reach, then one in doubt, then the slowest.
    """
    pools = pools_of(standard)
    needed = len(standard.required_kinds)
    judged = [
        _judge_kind(standard, pool._replace(inside=inside), access, points, area=area)
        for pool in pools
    ]
    worst = judged[0]
    for one in judged[1:needed]:
        rank, other = _WORSE[worst.state], _WORSE[one.state]
        slower = np.nan_to_num(one.minutes, nan=np.inf) > np.nan_to_num(worst.minutes, nan=np.inf)
        worst = worst.where((other > rank) | ((other == rank) & slower), one)
    return replace(
        worst,
        on_foot=np.logical_and.reduce([one.on_foot for one in judged[:needed]]),
        kinds_reached=np.sum([one.state == COVERED for one in judged], axis=0, dtype=np.int16),
    )


def _found(access: TravelTimes, pool: Pool, way: Way, *, area: bool) -> Nearest | None:
    """Give what a search found; of one that was left out, what the plainer one did."""
    results = access.area_nearest if area else access.nearest
    return results.get((pool, way)) or results.get((pool._replace(inside=False), way))


def _judge_kind(
    standard: Standard, pool: Pool, access: TravelTimes, points: Integers, *, area: bool
) -> Judged:
    modes = access.searches.modes
    n = points.size
    best = np.full(n, np.inf)
    minutes = np.full(n, np.nan)
    limit = np.full(n, standard.alternatives[0].limit_minutes(modes))
    chosen = np.zeros(n, dtype=np.int8)
    facility = np.full(n, -1, dtype=np.int64)
    reason = np.zeros(n, dtype=np.int8)
    on_foot = np.zeros(n, dtype=bool)
    perhaps = np.zeros(n, dtype=bool)
    near = np.full(n, -1, dtype=np.int64)  # a facility in reach that does not qualify
    for number, alternative in enumerate(standard.alternatives):
        way, within = access.way(standard, alternative), alternative.limit_minutes(modes)
        found = _found(access, pool, way, area=area)
        if found is None:
            raise KeyError(f"{pool.kind} was not searched for by {way}")
        ratio = found.minutes[points] / within
        ratio[np.isnan(ratio)] = np.inf
        # The first alternative that passes decides (on foot, if that will do), else the nearest.
        better = (ratio < best) & (best > 1 + ROUNDING)
        best = np.where(better, ratio, best)
        minutes = np.where(better, found.minutes[points], minutes)
        limit = np.where(better, within, limit)
        chosen = np.where(better, np.int8(number), chosen)
        facility = np.where(better, found.facility[points], facility)
        reason = np.where(reason == 0, reason_codes(found.reason)[points], reason)
        if modes[alternative.mode].on_foot:
            on_foot |= ratio <= 1 + ROUNDING
        doubtful = _found(access, pool._replace(quality="perhaps"), way, area=area)
        if doubtful is not None:
            perhaps |= doubtful.minutes[points] <= within + ROUNDING
        unfit = _found(access, pool._replace(quality="any"), way, area=area)
        if unfit is not None:
            in_reach = (unfit.minutes[points] <= within + ROUNDING) & (near < 0)
            near = np.where(in_reach, unfit.facility[points], near)
    covered = best <= 1 + ROUNDING
    reason = np.where(np.isfinite(best), np.int8(CODE["too_far"]), reason)
    faulty = np.flatnonzero((near >= 0) & ~CANNOT_TELL[reason])
    if faulty.size:
        reason[faulty] = _faults(standard, access.searches.columns)[near[faulty]]
    reason = np.where(perhaps, np.int8(CODE["no_data"]), reason)
    reason = np.where(covered, np.int8(0), reason).astype(np.int8)
    state = np.where(covered, COVERED, np.where(CANNOT_TELL[reason], UNKNOWN, UNCOVERED))
    none = np.zeros(n, dtype=np.int16)
    return Judged(state.astype(np.int8), minutes, limit, chosen, facility, reason, on_foot, none)


def _faults(standard: Standard, columns: FacilityColumns) -> NDArray[np.int8]:
    """Give what keeps each facility from qualifying."""
    fault = np.full(columns.kind.size, CODE["too_far"], dtype=np.int8)
    for value, least, reason in (
        (columns.hours_per_day, standard.min_hours_per_day, "short_hours"),
        (columns.floor_area_m2, standard.min_floor_area_m2, "too_small"),
    ):
        if least is not None:
            fault[value < least] = CODE[reason]
    fault[columns.status == "closed"] = CODE["closed"]
    return fault


def keep_to_capacity(
    judged: Sequence[tuple[Standard, Judged, Integers]], households: Floats, floor_area_m2: Floats
) -> list[Judged]:
    """Let each facility cover only the households its floor area is enough for, nearest first.

    Parameters
    ----------
    judged : sequence of (Standard, Judged, ndarray of int)
        Of one kind in all settings: the verdicts and the positions of their demand points.
        Facilities are shared between settings.
    households : ndarray of float
        By demand point; NaN where not known.
    floor_area_m2 : ndarray of float
        By facility; NaN where not known.

    Returns
    -------
    list of Judged
        Points beyond the capacity of their nearest facility are uncovered, ``over_capacity``;
        those of which it cannot be told, unknown, ``no_data``.

    Notes
    -----
    Each household goes to its nearest qualifying facility, as in the standard; none is sent to the
    next one. A demand point is covered as a whole.
    """
    need = np.concatenate(
        [
            np.full(points.size, (standard.capacity_m2_per_100_households or 0.0) / 100)
            for standard, _, points in judged
        ]
    )
    points = np.concatenate([points for _, _, points in judged])
    minutes, facility, state = (
        np.concatenate([getattr(one, name) for _, one, _ in judged])
        for name in ("minutes", "facility", "state")
    )
    served = np.flatnonzero(state == COVERED)
    order = served[np.lexsort((points[served], minutes[served], facility[served]))]
    at = facility[order]
    # One unknown number makes all that follow it unknown, for its facility alone.
    used = need[order] * households[points[order]]
    used_up = pd.Series(used).groupby(at).cumsum().where(~np.isnan(used)).to_numpy(dtype=float)
    unsure = pd.Series(np.isnan(used)).groupby(at).cummax().to_numpy(dtype=bool)
    room = floor_area_m2[at]
    asked = need[order] > 0
    unknown = asked & (unsure | np.isnan(room))
    over = asked & ~unknown & (used_up > room * (1 + ROUNDING))
    new_state, new_reason = state.copy(), np.concatenate([one.reason for _, one, _ in judged])
    for rows, what, why in ((over, UNCOVERED, "over_capacity"), (unknown, UNKNOWN, "no_data")):
        new_state[order[rows]], new_reason[order[rows]] = what, CODE[why]
    cuts = np.cumsum([each.size for _, _, each in judged])[:-1]
    return [
        replace(one, state=now, reason=why, on_foot=one.on_foot & (now == COVERED))
        for (_, one, _), now, why in zip(
            judged, np.split(new_state, cuts), np.split(new_reason, cuts), strict=True
        )
    ]


def sum_by_state(
    state: NDArray[np.integer], owner: Integers, values: Floats, n_owners: int
) -> Floats:
    """Give sums by owner (rows) and state (columns).

    Examples
    --------
    >>> sum_by_state(np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([2.0, 3.0, 4.0]), 2)
    array([[2., 3., 0.],
           [4., 0., 0.]])
    """
    key = owner * len(STATES) + state
    table = np.bincount(key, weights=values, minlength=n_owners * len(STATES))
    return table.astype(float).reshape(n_owners, len(STATES))  # of nothing it counts in integers


def judge_units(
    standard: Standard,
    judged: Judged,
    owner: Integers,
    people: People,
    points: Integers,
    members: Integers,
) -> UnitVerdicts:
    """Judge units by their people: covered where at least `unit_share` of them are.

    Parameters
    ----------
    standard : Standard
        What is asked.
    judged : Judged
        Verdicts on points.
    owner : ndarray of int
        By point, the position of its unit in `members`.
    people : People
        Of all demand points.
    points : ndarray of int
        Positions of the judged points among them.
    members : ndarray of int
        Positions of the units to judge among all.

    Returns
    -------
    UnitVerdicts
        Index by index with `members`.
    """
    n, weight, count = members.size, people.weight[points], people.count[points]
    parts = sum_by_state(judged.state, owner, weight, n)
    amounts = sum_by_state(judged.state, owner, count, n)
    amounts[np.isnan(amounts).any(axis=1)] = np.nan
    # Where no point says where they live, a unit's people are unknown, not absent.
    nowhere = np.bincount(owner, minlength=n) == 0
    amounts[nowhere, UNKNOWN] = people.total[members[nowhere]]
    total = parts.sum(axis=1)
    needed = standard.unit_share * total - ROUNDING
    walking = np.bincount(owner, weights=np.where(judged.on_foot, weight, 0.0), minlength=n)
    state, on_foot_state = (
        np.where(
            there >= needed,
            COVERED,
            np.where(there + parts[:, UNKNOWN] >= needed, UNKNOWN, UNCOVERED),
        )
        for there in (parts[:, COVERED], walking)
    )
    for states in (state, on_foot_state):
        states[total == 0] = UNKNOWN  # nobody is known to live there
    kept_out = np.bincount(
        owner * len(REASONS) + judged.reason,
        weights=np.where(judged.state == COVERED, 0.0, weight),
        minlength=n * len(REASONS),
    ).reshape(n, len(REASONS))
    reason = kept_out.argmax(axis=1).astype(np.int8)
    reason[total == 0] = CODE["no_data"]
    reason[state == COVERED] = 0
    point = np.full(n, -1, dtype=np.int64)
    middle = _weighted_median(judged.minutes, owner, weight)
    point[owner[middle]] = middle
    with np.errstate(invalid="ignore"):
        share = parts[:, COVERED] / total
    on_foot = np.bincount(owner, weights=np.where(judged.on_foot, count, 0.0), minlength=n)
    return UnitVerdicts(
        state=state.astype(np.int8),
        reason=reason,
        covered=amounts[:, COVERED],
        uncovered=amounts[:, UNCOVERED],
        unknown=amounts[:, UNKNOWN],
        share=share,
        on_foot_state=on_foot_state.astype(np.int8),
        on_foot=np.where(np.isnan(amounts[:, COVERED]), np.nan, on_foot),
        point=point,
    )


def _weighted_median(minutes: Floats, owner: Integers, weight: Floats) -> Integers:
    """Give for each owner the position of the point by which half of its weight is reached."""
    if owner.size == 0:
        return owner
    order = np.lexsort((np.nan_to_num(minutes, nan=np.inf), owner))
    sums = np.cumsum(weight[order])
    owners = owner[order]
    changes = owners[1:] != owners[:-1]
    ends = sums[np.r_[changes, True]]
    starts = np.r_[0.0, ends[:-1]]
    group = np.cumsum(np.r_[False, changes])
    half = (starts + (ends - starts) / 2)[group]
    reached = sums >= half - ROUNDING
    first = reached & ~np.r_[False, reached[:-1] & ~changes]
    return order[first]
