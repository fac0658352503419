"""The ledger basis (台账口径): what units have, or by written agreement share."""

from __future__ import annotations

from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .standards import Standard
from .travel import FacilityColumns, TravelTimes, agreed_minutes
from .verdicts import ROUNDING, People

__all__ = [
    "Ledger",
    "LedgerRows",
    "LedgerVerdicts",
    "ledger_rows",
    "ledger_verdicts",
    "outcome_words",
    "qualities",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

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
_STATES, _REASONS = (np.array(words, dtype=object) for words in zip(*_OUTCOMES, strict=True))


class LedgerVerdicts(NamedTuple):
    """Verdicts on units, index by index.

    Attributes
    ----------
    state, reason : ndarray of object
        The ledger's: where it carries an official flag (是否覆盖), that flag unchanged.
    facility : ndarray of int
        Position of the facility that decided, -1 where none.
    rule_state, rule_reason : ndarray of object
        By the rule alone (核定口径), whatever the flag says.
    state_unshared, state_inside : ndarray of object
        Without agreements to share; without facilities beyond the border.
    """

    state: Objects
    reason: Objects
    facility: Integers
    rule_state: Objects
    rule_reason: Objects
    state_unshared: Objects
    state_inside: Objects


class Ledger(NamedTuple):
    """The ledger's links as positions, index by index with the facilities.

    Attributes
    ----------
    keeper : ndarray of int
        The unit that keeps each, -1 where none is named.
    host : ndarray of int
        On a note of sharing, the facility that is shared; -1 where nobody we know.
    flag : ndarray of float
        What the official flag says of the keeper: 1 covered, 0 not, NaN where it does not say.
    """

    keeper: Integers
    host: Integers
    flag: Floats

    @classmethod
    def of(cls, units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame) -> Ledger:
        """Find them by codes and ids."""
        return cls(
            _positions(facilities["unit_code"], units["unit_code"]),
            _positions(facilities["served_by"], facilities["facility_id"]),
            facilities["official_covered"].to_numpy(dtype=float, na_value=np.nan),
        )


def _positions(values: pd.Series, among: pd.Series) -> Integers:
    """Give where values stand, -1 where they do not."""
    index = pd.Index(among.to_numpy(dtype=object))
    return index.get_indexer(values.to_numpy(dtype=object)).astype(np.int64)


class LedgerRows(NamedTuple):
    """The ledger's rows that speak of some units, index by index.

    Attributes
    ----------
    row : ndarray of int
        Position in the table of facilities.
    owner : ndarray of int
        Position of the row's unit among those asked about.
    outcome : ndarray of int
        What the rule alone says of it (see `outcome_words`).
    facility : ndarray of int
        Of an agreement the facility that is shared, -1 where nobody we know; else the row itself.
    flag : ndarray of float
        The official flag: 1 covered, 0 not, NaN where the ledger does not say.
    """

    row: Integers
    owner: Integers
    outcome: Integers
    facility: Integers
    flag: Floats

    def of(self, kept: NDArray[np.bool_]) -> LedgerRows:
        """Keep some rows."""
        return LedgerRows._make(column[kept] for column in self)


def outcome_words(outcome: Integers) -> tuple[Objects, Objects]:
    """Give states and reasons, index by index.

    Examples
    --------
    >>> [words.tolist() for words in outcome_words(np.array([0, 3]))]
    [['covered', 'uncovered'], ['', 'too_small']]
    """
    return _STATES[outcome], _REASONS[outcome]


def ledger_verdicts(
    standard: Standard,
    ledger: Ledger,
    access: TravelTimes,
    members: Integers,
    people: People,
    home_unit: Integers,
) -> LedgerVerdicts:
    """Judge units as the official indicator does: what they have, or share by agreement.

    Parameters
    ----------
    standard : Standard
        Its least size and hours, and the time an agreement may cost.
    ledger : Ledger
        Who keeps and who shares what.
    access : TravelTimes
        The facilities, and the way to one that is shared.
    members : ndarray of int
        Positions of the units to judge.
    people : People
        By demand point.
    home_unit : ndarray of int
        By demand point, the position of its unit.

    Returns
    -------
    LedgerVerdicts
        Index by index with `members`.
    """
    rows = ledger_rows(standard, ledger, access, members, people, home_unit)
    decided, facility = _best(_by_flag(rows), members.size)
    rule, _ = _best(rows, members.size)
    beyond = (rows.facility >= 0) & access.searches.outside[rows.facility]
    shared = access.searches.columns.status[rows.row] == "shared"
    unshared, _ = _best(_by_flag(rows.of(~shared)), members.size)
    inside, _ = _best(_by_flag(rows.of(~beyond)), members.size)
    return LedgerVerdicts(
        *outcome_words(decided), facility, *outcome_words(rule), _STATES[unshared], _STATES[inside]
    )


def ledger_rows(
    standard: Standard,
    ledger: Ledger,
    access: TravelTimes,
    members: Integers,
    people: People,
    home_unit: Integers,
) -> LedgerRows:
    """Judge what the ledger says of units row by row; the parameters are `ledger_verdicts`'."""
    columns = access.searches.columns
    local = np.full(max(int(ledger.keeper.max(initial=0)), int(members.max(initial=0))) + 1, -1)
    local[members] = np.arange(members.size)
    keeper = np.where(ledger.keeper >= 0, local[ledger.keeper], -1)
    row = np.flatnonzero(np.isin(columns.kind, standard.required_kinds) & (keeper >= 0))
    owner = keeper[row]
    quality = qualities(standard, columns)
    outcome, facility = quality[row], row.copy()
    shared = columns.status[row] == "shared"
    if shared.any():
        facility[shared] = ledger.host[row[shared]]
        outcome[shared] = _agreements(
            standard, access, facility[shared], members[owner[shared]], quality, people, home_unit
        )
    return LedgerRows(row, owner, outcome, facility, ledger.flag[row])


def _by_flag(rows: LedgerRows) -> LedgerRows:
    """Let the official flag decide for units that have one on any row."""
    flagged = pd.Series(rows.flag).groupby(rows.owner).transform("max").to_numpy(dtype=float)
    by_flag = np.where(flagged > 0, _COVERED, _NO_FACILITY)
    return rows._replace(outcome=np.where(np.isnan(flagged), rows.outcome, by_flag))


def _best(rows: LedgerRows, n: int) -> tuple[Integers, Integers]:
    """Give each unit's best outcome and the facility that has it."""
    order = np.lexsort((rows.row, rows.outcome, rows.owner))
    owner = rows.owner[order]
    first = order[np.r_[True, owner[1:] != owner[:-1]][: order.size]]
    outcome = np.full(n, _NO_FACILITY)
    facility = np.full(n, -1, dtype=np.int64)
    outcome[rows.owner[first]] = rows.outcome[first]
    facility[rows.owner[first]] = rows.facility[first]
    facility[outcome == _NO_FACILITY] = -1
    return outcome, facility


def qualities(standard: Standard, columns: FacilityColumns) -> Integers:
    """Judge every facility against a standard's size and hours, whose-ever it is.

    The outcomes are those of `outcome_words`.
    """
    outcome = np.where(columns.status == "unknown", _NO_DATA, _COVERED)
    for least, value, fault in (
        (standard.min_hours_per_day, columns.hours_per_day, _SHORT_HOURS),
        (standard.min_floor_area_m2, columns.floor_area_m2, _TOO_SMALL),
    ):
        if least is not None:
            # A known fault tells more than an unknown value.
            outcome[np.isnan(value) & (outcome == _COVERED)] = _NO_DATA
            outcome[value < least] = fault
    outcome[~np.isin(columns.status, ["in_use", "unknown"])] = _CLOSED
    return outcome


def _agreements(
    standard: Standard,
    access: TravelTimes,
    host: Integers,
    unit: Integers,
    quality: Integers,
    people: People,
    home_unit: Integers,
) -> Integers:
    """Judge agreements to share: the host qualifies and most people get there in time."""
    outcome = np.where(host >= 0, quality[host], _NO_DATA)  # it may name nobody we know
    asked = np.flatnonzero(outcome == _COVERED)
    by_unit = np.argsort(home_unit, kind="stable")
    ends = np.searchsorted(home_unit[by_unit], [unit[asked], unit[asked] + 1])
    count = ends[1] - ends[0]
    agreement = np.repeat(np.arange(asked.size), count)
    offset = np.arange(agreement.size) - np.repeat(np.cumsum(count) - count, count)
    home = by_unit[np.repeat(ends[0], count) + offset]
    reached = np.zeros(home.size, dtype=bool)
    told = np.zeros(home.size, dtype=bool)
    for alternative in standard.alternatives:
        limit = alternative.limit_minutes(access.searches.modes) + ROUNDING
        way = access.way(standard, alternative)
        minutes = agreed_minutes(access, host[asked][agreement], home, way, limit_minutes=limit)
        reached |= minutes <= limit
        told |= ~np.isnan(minutes)
    weight = people.weight[home]

    def weighed(rows: NDArray[np.bool_]) -> Floats:
        sums = np.bincount(agreement[rows], weights=weight[rows], minlength=asked.size)
        return sums.astype(float)

    total = np.bincount(agreement, weights=weight, minlength=asked.size)
    needed = standard.unit_share * total - ROUNDING
    outcome[asked] = np.where(
        (weighed(reached) >= needed) & (total > 0),
        _COVERED,
        np.where((weighed(reached | ~told) >= needed) | (total == 0), _NO_DATA, _TOO_FAR),
    )
    return outcome
