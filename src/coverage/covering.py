"""Covering problems that are too large for a solver alone: good answers, and how good they are.

Rows are what is to be served, candidates what serves them. `greedy` and `improved` find answers,
`most_gain` and `least_cost` prove by Lagrangian relaxation how much better any other could be, and
which candidates no better answer can have.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

from .errors import InputError

__all__ = [
    "ROUNDING",
    "Answer",
    "Problem",
    "Relaxation",
    "first_of",
    "greedy",
    "improved",
    "least_cost",
    "most_gain",
    "numbers",
    "thinned",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

ROUNDING = 1e-9
_ROUNDS = 3_000  # of the subgradient method; it stops by itself after about half of them
_PATIENCE = 15  # rounds without a better bound before the step is shortened
_SHORTER = 2 / 3
_DEFLECTION = 0.95  # how much of the last direction is kept (Camerini, Fratta and Maffioli 1975)
_SHORTEST = 1e-3
_PAIRS = 2_000_000  # of an entering and a leaving candidate weighed at once


def numbers(name: str, values: ArrayLike | None, size: int, default: float) -> Floats:
    """Check that values are so many numbers of at least 0."""
    array = np.full(size, default) if values is None else np.asarray(values, dtype=float)
    if array.shape != (size,):
        raise InputError(f"{name} must have {size} values, not {array.shape}")
    if np.isnan(array).any() or (array < 0).any():
        raise InputError(f"{name} must be numbers of at least 0; NaN is no number")
    return array


@dataclass(frozen=True, eq=False)
class Problem:
    """What is asked, as checked arrays; one entry a row × candidate that serves it.

    Attributes
    ----------
    row, candidate : ndarray of int
        The entries, sorted by row.
    weight : ndarray of float
        By row, what serving it is worth.
    cost : ndarray of float
        By candidate.
    locked, forbidden : ndarray of bool
        By candidate.
    exclusive : ndarray of int
        By candidate, the label of which at most one is chosen; -1 where there is none.
    capacity, load : ndarray of float
        By candidate and by row.
    limits : tuple of (ndarray of float, float)
        Amounts by candidate, and what those of the chosen may not exceed.
    """

    row: Integers
    candidate: Integers
    weight: Floats
    cost: Floats
    locked: Flags
    forbidden: Flags
    exclusive: Integers
    capacity: Floats
    load: Floats
    limits: tuple[tuple[Floats, float], ...] = ()

    @classmethod
    def of(
        cls, reach: csr_array, weight: ArrayLike | None, cost: ArrayLike | None, **given: Any
    ) -> Problem:
        """Check what a caller gives."""
        n, m = reach.shape
        entries = coo_array(reach)
        served = entries.data.astype(bool)
        order = np.lexsort((entries.coords[1][served], entries.coords[0][served]))

        def flags(values: ArrayLike | None) -> Flags:
            return np.zeros(m, bool) if values is None else np.asarray(values, dtype=bool)

        exclusive = given["exclusive"]
        costs = numbers("cost", cost, m, 1.0)
        limits = ((costs, given.get("budget")), (np.ones(m), given.get("count")))
        problem = cls(
            entries.coords[0][served][order].astype(np.int64),
            entries.coords[1][served][order].astype(np.int64),
            numbers("weight", weight, n, 1.0),
            costs,
            flags(given["locked"]),
            flags(given["forbidden"]),
            np.full(m, -1) if exclusive is None else np.asarray(exclusive, dtype=np.int64),
            numbers("capacity", given["capacity"], m, np.inf),
            numbers("load", given["load"], n, 0.0),
            tuple((amounts, float(most)) for amounts, most in limits if most is not None),
        )
        both = np.flatnonzero(problem.locked & problem.forbidden)
        if both.size:
            raise InputError(f"candidates {both[:5].tolist()} are locked and forbidden at once")
        return problem

    def within(self, *, locked: Flags, forbidden: Flags) -> Problem:
        """Give the problem with more candidates locked and forbidden."""
        there = ~forbidden[self.candidate]
        row, candidate = self.row[there], self.candidate[there]
        return replace(self, row=row, candidate=candidate, locked=locked, forbidden=forbidden)

    @cached_property
    def tight(self) -> Flags:
        """By candidate, whether it has no room for all it could serve."""
        asked = np.bincount(self.candidate, weights=self.load[self.row], minlength=self.cost.size)
        return asked > self.capacity * (1 + ROUNDING)

    @cached_property
    def reach(self) -> csr_array:
        """Rows × candidates, 1 where one serves the other."""
        shape = (self.weight.size, self.cost.size)
        ones = np.ones(self.row.size)
        return coo_array((ones, (self.row, self.candidate)), shape=shape).tocsr()

    @cached_property
    def serves(self) -> csr_array:
        """Candidates × rows: `reach`, turned."""
        return self.reach.T.tocsr()

    @cached_property
    def alike(self) -> Integers:
        """By row, a label that rows served by the same candidates share; -1 where none serves."""
        ends, candidates = self.reach.indptr, self.reach.indices
        labels: dict[bytes, int] = {}
        alike = np.full(self.weight.size, -1, dtype=np.int64)
        for row in np.flatnonzero(np.diff(ends)).tolist():
            key = candidates[ends[row] : ends[row + 1]].tobytes()
            alike[row] = labels.setdefault(key, len(labels))
        return alike

    def rows_of(self, candidate: int) -> Integers:
        """Give the rows a candidate serves."""
        ends = self.serves.indptr
        return self.serves.indices[ends[candidate] : ends[candidate + 1]]

    def left_over(self, chosen: Flags) -> list[tuple[Floats, float]]:
        """Give the limits, less what the chosen take up."""
        return [(amounts, most - float(amounts[chosen].sum())) for amounts, most in self.limits]


class Answer(NamedTuple):
    """Candidates in the order they were chosen, and by row which of them serves it (-1: none)."""

    chosen: Integers
    assigned: Integers


class Relaxation(NamedTuple):
    """What any answer could be at best.

    Attributes
    ----------
    bound : float
        No answer serves more, or costs less.
    reduced : ndarray of float
        By candidate, what the bound gains if it is chosen against its will (< 0: it loses), or
        what it loses if it is left out.
    chosen : ndarray of bool
        What the relaxed problem would choose.
    """

    bound: float
    reduced: Floats
    chosen: Flags

    def settled(self, problem: Problem, known: float) -> tuple[Flags, Flags]:
        """Tell which candidates every better answer than `known` has, and which it cannot have."""
        slack = (abs(self.bound - known) + ROUNDING) * (1 + ROUNDING)
        free = ~problem.locked & ~problem.forbidden
        has = problem.locked | (free & (self.reduced > slack))
        return has, problem.forbidden | (free & (self.reduced < -slack))


def greedy(  # noqa: PLR0915 - one loop
    problem: Problem, *, needed: float = np.inf, counted: Floats | None = None
) -> tuple[Answer, float]:
    """Choose the largest gain for its cost, again and again, until so much is served.

    What is needed is counted in `counted` by row, in weight by default.

    The second number is what no choice within the limits can serve more than: what is served and
    the largest gains still to be had (Leskovec et al. 2007), the least over all steps; infinite
    where room is short, as who is served by whom could be changed.
    """
    price = np.maximum(problem.cost, ROUNDING)
    left, load = problem.weight.copy(), problem.load
    assigned = np.full(problem.weight.size, -1, dtype=np.int64)
    closed = problem.forbidden.copy()
    taken = np.zeros(problem.cost.size, dtype=bool)
    chosen: list[int] = []

    def gain(candidate: int) -> tuple[float, Integers]:
        rows = problem.rows_of(candidate)
        rows = rows[assigned[rows] < 0]
        room = problem.capacity[candidate] * (1 + ROUNDING)
        if load[rows].sum() > room:
            rows = rows[np.argsort(-left[rows], kind="stable")]
            rows = rows[np.cumsum(load[rows]) <= room]
        return float(left[rows].sum()), rows

    def take(candidate: int, rows: Integers) -> None:
        chosen.append(candidate)
        taken[candidate] = True
        assigned[rows] = candidate
        left[rows] = 0.0
        known[candidate] = 0.0
        label = problem.exclusive[candidate]
        closed[candidate] = True
        if label >= 0:
            closed[problem.exclusive == label] = True

    known = np.array([gain(candidate)[0] for candidate in range(problem.cost.size)])
    for candidate in np.flatnonzero(problem.locked).tolist():
        take(candidate, gain(candidate)[1])
    # Lazily (Minoux 1978): gains only fall, so a gain computed earlier is a bound.
    heap = [(-known[c] / price[c], c) for c in np.flatnonzero(~closed).tolist()]
    heapq.heapify(heap)
    counted = problem.weight if counted is None else counted
    bound = np.inf
    while heap:
        served = float(problem.weight[assigned >= 0].sum())
        bound = min(bound, served + _bought(problem, known, np.zeros_like(taken)).value)
        if counted[assigned >= 0].sum() >= needed - ROUNDING:
            break
        spare = problem.left_over(taken)
        while heap:
            _, candidate = heapq.heappop(heap)
            dear = any(amounts[candidate] > rest + ROUNDING for amounts, rest in spare)
            if closed[candidate] or dear:
                continue
            known[candidate], rows = gain(candidate)
            if known[candidate] <= 0:
                continue
            if heap and -known[candidate] / price[candidate] > heap[0][0] + ROUNDING:
                heapq.heappush(heap, (-known[candidate] / price[candidate], candidate))
                continue
            take(candidate, rows)
            break
    answer = Answer(np.array(chosen, dtype=np.int64), assigned)
    served = float(problem.weight[assigned >= 0].sum())
    bound = np.inf if problem.tight.any() else max(bound, served)
    return answer, min(bound, float(problem.weight.sum()))


def first_of(problem: Problem, chosen: Integers) -> Answer:
    """Let every row be served by the first of the chosen that can; for where room is not short."""
    assigned = np.full(problem.weight.size, -1, dtype=np.int64)
    for candidate in chosen[::-1].tolist():
        assigned[problem.rows_of(candidate)] = candidate
    return Answer(chosen, assigned)


class _Bought(NamedTuple):
    """What a limit buys of the worth of candidates, the last one in part."""

    value: float
    chosen: Flags
    reduced: Floats


def _bought(problem: Problem, worth: Floats, owned: Flags) -> _Bought:
    """Buy the most worth within each limit; the limit that binds most is what counts."""
    free = np.flatnonzero(~owned & ~problem.forbidden)
    buys = free[worth[free] > 0]
    everything = owned.copy()
    everything[buys] = True
    best = _Bought(float(worth[everything].sum()), everything, worth)
    for amounts, rest in problem.left_over(owned):
        order = buys[np.argsort(-worth[buys] / np.maximum(amounts[buys], ROUNDING), kind="stable")]
        spent = np.cumsum(amounts[order])
        whole = int(np.searchsorted(spent, rest + ROUNDING, side="right"))
        if whole == order.size:
            continue
        last = order[whole]
        rate = worth[last] / amounts[last]
        part = rest - (spent[whole - 1] if whole else 0.0)
        value = float(worth[owned].sum() + worth[order[:whole]].sum() + rate * part)
        if value < best.value:
            chosen = owned.copy()
            chosen[order[:whole]] = True
            best = _Bought(value, chosen, worth - rate * amounts)
    return best


def _moved(price: Floats, slack: Floats, distance: float, highest: Floats | float) -> Floats:
    """Move prices down a slope by Polyak's step, as far as they can go."""
    price = price - distance / max(float(slack @ slack), ROUNDING) * slack
    return np.clip(price, 0.0, highest)


def _stopped(slope: Floats, price: Floats, highest: Floats | float) -> Floats:
    """Leave out of a slope what would push prices beyond their ends."""
    slope[((price <= 0) & (slope > 0)) | ((price >= highest) & (slope < 0))] = 0.0
    return slope


def most_gain(problem: Problem, known: float) -> Relaxation:
    """Bound what can be served within the limits, given an answer that serves `known`.

    Lagrangian relaxation of the maximal covering problem (Galvão and ReVelle 1996) by the
    subgradient method: a row may be served unpaid for, at a price, and the prices that make this
    least attractive are sought. Labels and room are left out, which only raises the bound.
    """
    weight = problem.weight
    served_by = np.diff(problem.reach.indptr)
    price = weight / np.maximum(served_by, 1)
    best = Relaxation(np.inf, np.zeros(problem.cost.size), problem.locked.copy())
    at, slope, step, waited = price, np.zeros_like(price), 1.0, 0
    for _ in range(_ROUNDS):
        bought = _bought(problem, problem.serves @ price, problem.locked)
        bound = float((weight - price)[served_by > 0].sum()) + bought.value
        waited += 1
        if bound < best.bound - ROUNDING * abs(bound):
            best, at, waited = Relaxation(bound, bought.reduced, bought.chosen), price, 0
        if step < _SHORTEST or best.bound - known <= ROUNDING * max(abs(known), 1.0):
            break
        if waited >= _PATIENCE:
            step, waited, price, slope = step * _SHORTER, 0, at, np.zeros_like(slope)
            continue
        slack = problem.reach @ bought.chosen.astype(float) - 1.0
        slope = _stopped(_stopped(slack, price, weight) + _DEFLECTION * slope, price, weight)
        price = _moved(price, slope, step * (bound - known), weight)
    return best


def least_cost(problem: Problem, needed: float, known: float) -> Relaxation:
    """Bound what serving `needed` costs at least, given an answer that costs `known`.

    Lagrangian relaxation of the partial set covering problem by the subgradient method: rows that
    are counted but not served are paid for. Labels and room are left out.
    """
    value = problem.weight
    free = ~problem.locked & ~problem.forbidden
    counted = np.diff(problem.reach.indptr) > 0
    price = np.where(counted, value * known / max(needed, ROUNDING), 0.0)
    best = Relaxation(-np.inf, np.zeros(problem.cost.size), problem.locked.copy())
    at, slope, step, waited = price, np.zeros_like(price), 1.0, 0
    for _ in range(_ROUNDS):
        saved = problem.serves @ price - problem.cost
        chosen = problem.locked | (free & (saved > 0))
        claimed, paid = _claimed(value, price, counted, needed)
        bound = paid - float(saved[chosen].sum())
        waited += 1
        if bound > best.bound + ROUNDING * abs(bound):
            best, at, waited = Relaxation(bound, saved, chosen), price, 0
        if step < _SHORTEST or known - best.bound <= ROUNDING * max(abs(known), 1.0):
            break
        if waited >= _PATIENCE:
            step, waited, price, slope = step * _SHORTER, 0, at, np.zeros_like(slope)
            continue
        slack = problem.reach @ chosen.astype(float) - claimed
        slope = _stopped(_stopped(slack, price, np.inf) + _DEFLECTION * slope, price, np.inf)
        price = _moved(price, slope, step * (known - bound), np.inf)
    return best


def _claimed(value: Floats, price: Floats, counted: Flags, needed: float) -> tuple[Floats, float]:
    """Count the cheapest rows for a quota, the last one in part, and say what they cost."""
    rows = np.flatnonzero(counted & (value > 0))
    order = rows[np.argsort(price[rows] / value[rows], kind="stable")]
    before = np.cumsum(value[order]) - value[order]
    claimed = np.zeros(value.size)
    claimed[order] = np.clip((needed - before) / value[order], 0.0, 1.0)
    return claimed, float(price @ claimed)


def improved(problem: Problem, start: Flags) -> Answer:
    """Add candidates, or exchange one for another, as long as more is served.

    Takes the best exchange of all each time (Teitz and Bart 1968). For where room is not short.
    """
    chosen = _fitting(problem, start)
    weight = problem.weight
    count = problem.reach @ chosen.astype(float)
    while True:
        inside = np.flatnonzero(chosen & ~problem.locked)
        outside = np.flatnonzero(~chosen & ~problem.forbidden)
        gain = problem.serves[outside] @ np.where(count == 0, weight, 0.0)
        best = np.argsort(-gain, kind="stable")[: _PAIRS // (inside.size + 1)]
        outside, gain = outside[best], gain[best]
        if outside.size == 0:
            break
        once = np.where(count == 1, weight, 0.0)
        taken = problem.serves[inside]
        # What a leaving candidate alone serves is lost, but for what the entering one serves too.
        lost = taken @ once
        kept = (problem.serves[outside] @ (taken * once[None]).T.tocsr()).toarray()
        change = np.column_stack([gain, gain[:, None] - lost + kept])
        change[~_allowed(problem, chosen, outside, inside)] = -np.inf
        entering, leaving = divmod(int(change.argmax()), inside.size + 1)
        if change[entering, leaving] <= ROUNDING * max(float(weight.sum()), 1.0):
            break
        moves = [(outside[entering], 1), *([(inside[leaving - 1], -1)] if leaving else [])]
        for candidate, sign in moves:
            chosen[candidate] = sign > 0
            count[problem.rows_of(candidate)] += sign
    return first_of(problem, np.flatnonzero(chosen))


def _fitting(problem: Problem, start: Flags) -> Flags:
    """Give what is locked, and of the others those that fit the limits and labels."""
    chosen = problem.locked.copy()
    labels = set(problem.exclusive[chosen & (problem.exclusive >= 0)].tolist())
    limits = problem.left_over(chosen)
    spare = [rest for _, rest in limits]
    for candidate in np.flatnonzero(start & ~problem.locked & ~problem.forbidden).tolist():
        label = int(problem.exclusive[candidate])
        takes = [float(amounts[candidate]) for amounts, _ in limits]
        if label in labels or any(
            amount > rest + ROUNDING for amount, rest in zip(takes, spare, strict=True)
        ):
            continue
        chosen[candidate] = True
        if label >= 0:
            labels.add(label)
        spare = [rest - amount for amount, rest in zip(takes, spare, strict=True)]
    return chosen


def _allowed(problem: Problem, chosen: Flags, outside: Integers, inside: Integers) -> Flags:
    """Tell which candidate may enter for which that leaves; in the first column for none."""
    allowed = np.ones((outside.size, inside.size + 1), dtype=bool)
    for amounts, rest in problem.left_over(chosen):
        freed = np.r_[0.0, amounts[inside]]
        allowed &= amounts[outside][:, None] <= freed + rest + ROUNDING
    label = problem.exclusive[outside][:, None]
    held = np.isin(label, problem.exclusive[chosen])
    same = np.r_[-2, problem.exclusive[inside]] == label
    return allowed & ((label < 0) | ~held | same)


def thinned(problem: Problem, start: Flags, needed: float) -> Answer:
    """Complete an answer until so much is served, and leave out what it does not need."""
    locked = _fitting(replace(problem, limits=()), start)
    answer, _ = greedy(
        problem.within(locked=locked, forbidden=problem.forbidden & ~locked), needed=needed
    )
    if problem.tight.any():  # what one serves another may have no room for
        return answer
    chosen = np.isin(np.arange(problem.cost.size), answer.chosen)
    count = problem.reach @ chosen.astype(float)
    served = float(problem.weight[count > 0].sum())
    mine = np.flatnonzero(chosen & ~problem.locked)
    for candidate in mine[np.argsort(-problem.cost[mine], kind="stable")].tolist():  # dearest first
        rows = problem.rows_of(candidate)
        alone = float(problem.weight[rows[count[rows] == 1]].sum())
        if served - alone >= needed - ROUNDING:
            chosen[candidate] = False
            count[rows] -= 1
            served -= alone
    return first_of(problem, np.flatnonzero(chosen))
