"""Choosing sites: most coverage for a budget, least cost for a quota; exact, with its bound.

Rows are what is to be served (villages, demand points), columns the candidates that serve them, in
a sparse matrix. Nothing here knows of maps.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csc_array, csr_array

from .errors import InfeasibleError, InputError

__all__ = ["Siting", "greedy_coverage", "least_cost_cover", "max_coverage"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9
_TOLERANCE = 1e-6  # HiGHS' own
_INFEASIBLE = 2  # scipy's status of a programme without a solution


@dataclass(frozen=True, eq=False)
class Siting:
    """Which candidates were chosen, and what they serve.

    Attributes
    ----------
    chosen : ndarray of int
        Positions of candidates, the largest gain for its cost first.
    assigned : ndarray of int
        By row, the chosen candidate that serves it, -1 where none.
    gain : ndarray of float
        By chosen candidate, the weight of the rows it serves.
    weight, cost : float
        The weight served, and the cost, in all.
    objective, bound : float
        What was optimised (weight or cost), and the best it could be.
    gap : float
        Their relative distance: 0 where the optimum is proven.
    method : {"milp", "greedy"}
        How it was found.
    """

    chosen: Integers
    assigned: Integers
    gain: Floats
    weight: float
    cost: float
    objective: float
    bound: float
    gap: float
    method: str


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is asked, as checked arrays; one entry a row × candidate that serves it."""

    row: Integers
    candidate: Integers
    weight: Floats
    cost: Floats
    locked: Flags
    forbidden: Flags
    exclusive: Integers
    capacity: Floats
    load: Floats

    @classmethod
    def of(
        cls, reach: csr_array, weight: ArrayLike | None, cost: ArrayLike | None, **given: Any
    ) -> _Problem:
        n, m = reach.shape
        entries = coo_array(reach)
        served = entries.data.astype(bool)

        def numbers(name: str, values: ArrayLike | None, size: int, default: float) -> Floats:
            array = np.full(size, default) if values is None else np.asarray(values, dtype=float)
            if array.shape != (size,):
                raise InputError(f"{name} must have {size} values, not {array.shape}")
            if np.isnan(array).any() or (array < 0).any():
                raise InputError(f"{name} must be numbers of at least 0; NaN is no number")
            return array

        def flags(values: ArrayLike | None) -> Flags:
            return np.zeros(m, bool) if values is None else np.asarray(values, dtype=bool)

        exclusive = given["exclusive"]
        problem = cls(
            entries.coords[0][served].astype(np.int64),
            entries.coords[1][served].astype(np.int64),
            numbers("weight", weight, n, 1.0),
            numbers("cost", cost, m, 1.0),
            flags(given["locked"]),
            flags(given["forbidden"]),
            np.full(m, -1) if exclusive is None else np.asarray(exclusive, dtype=np.int64),
            numbers("capacity", given["capacity"], m, np.inf),
            numbers("load", given["load"], n, 0.0),
        )
        both = np.flatnonzero(problem.locked & problem.forbidden)
        if both.size:
            raise InputError(f"candidates {both[:5].tolist()} are locked and forbidden at once")
        return problem

    @property
    def tight(self) -> Flags:
        """By candidate, whether it has no room for all it could serve."""
        asked = np.bincount(self.candidate, weights=self.load[self.row], minlength=self.cost.size)
        return asked > self.capacity * (1 + _ROUNDING)


def max_coverage(
    reach: csr_array,
    weight: ArrayLike,
    *,
    cost: ArrayLike | None = None,
    budget: float | None = None,
    count: int | None = None,
    locked: ArrayLike | None = None,
    forbidden: ArrayLike | None = None,
    exclusive: ArrayLike | None = None,
    capacity: ArrayLike | None = None,
    load: ArrayLike | None = None,
    max_gap: float = 0.0,
    seconds: float = 60.0,
) -> Siting:
    """Serve the most weight for a budget, or with so many candidates.

    Parameters
    ----------
    reach : csr_array, shape (n, m)
        Which candidate (column) could serve which row.
    weight : array-like of float, shape (n,)
        What serving each row is worth.
    cost : array-like of float, shape (m,), optional
        1 each by default.
    budget : float, optional
        What the chosen ones may cost in all.
    count : int, optional
        How many may be chosen.
    locked, forbidden : array-like of bool, shape (m,), optional
        Candidates that must, or must not, be chosen.
    exclusive : array-like of int, shape (m,), optional
        Of candidates with the same label of 0 or more at most one is chosen.
    capacity : array-like of float, shape (m,), optional
        How much load each has room for. A row is served by one candidate, as a whole.
    load : array-like of float, shape (n,), optional
        What each row takes up.
    max_gap : float
        How far from the proven optimum the answer may be.
    seconds : float
        After which the best answer found is taken.

    Returns
    -------
    Siting
        What is chosen, and the proven gap.

    Raises
    ------
    InputError
        For arrays that do not fit, or neither a budget nor a count.
    InfeasibleError
        Where what is locked costs more than the budget.

    Notes
    -----
    The maximal covering location problem of Church and ReVelle (1974), as a mixed-integer programme
    solved by HiGHS; where that finds nothing better in time, the lazy greedy answer.

    Examples
    --------
    >>> reach = csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> found = max_coverage(reach, [10, 20, 25], count=1)
    >>> found.chosen.tolist(), found.weight, found.gap
    ([0], 30.0, 0.0)
    """
    if budget is None and count is None:
        raise InputError("give a budget= or a count=: without either all would be chosen")
    problem = _Problem.of(
        reach,
        weight,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
    )
    limits = [
        (problem.cost, np.inf if budget is None else budget),
        (np.ones(problem.cost.size), np.inf if count is None else count),
    ]
    for amounts, limit in limits:
        if amounts[problem.locked].sum() > limit + _ROUNDING:
            raise InfeasibleError("what is locked takes more than the budget or the count allows")
    nothing = np.zeros(problem.weight.size)
    kept = [
        _Sum(amounts, nothing, -np.inf, limit + _ROUNDING)
        for amounts, limit in limits
        if np.isfinite(limit)
    ]
    start = greedy_coverage(
        reach,
        weight,
        cost=cost,
        budget=budget,
        count=count,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
    )
    aim = _Sum(np.zeros(problem.cost.size), -problem.weight)
    found = _solved(problem, aim, kept, max_gap=max_gap, seconds=seconds)
    if found is None:
        return start
    exact, bound = found
    bound = min(-bound, start.bound)
    best = exact if exact is not None and exact.weight >= start.weight else start
    gap = max(0.0, bound - best.weight) / max(abs(best.weight), _ROUNDING)
    gap = gap if gap > _ROUNDING else 0.0
    return replace(best, objective=best.weight, bound=max(bound, best.weight), gap=gap)


def least_cost_cover(
    reach: csr_array,
    *,
    needed: float,
    row_value: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    locked: ArrayLike | None = None,
    forbidden: ArrayLike | None = None,
    exclusive: ArrayLike | None = None,
    capacity: ArrayLike | None = None,
    load: ArrayLike | None = None,
    max_gap: float = 0.0,
    seconds: float = 60.0,
) -> Siting:
    """Serve a quota at the least cost.

    Parameters
    ----------
    reach : csr_array, shape (n, m)
        Which candidate (column) could serve which row.
    needed : float
        How much must be served: rows, or their value.
    row_value : array-like of float, shape (n,), optional
        What each row counts for; 1 by default.
    cost, locked, forbidden, exclusive, capacity, load, max_gap, seconds
        As for `max_coverage`.

    Returns
    -------
    Siting
        What is chosen, and the proven gap.

    Raises
    ------
    InfeasibleError
        Where no choice serves so much; `reachable` is the most that can be served and
        `unreached` the rows that nothing serves.
    InputError
        For arrays that do not fit.

    Notes
    -----
    A partial set covering problem, as a mixed-integer programme solved by HiGHS.

    Examples
    --------
    >>> reach = csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> least_cost_cover(reach, needed=2, cost=[3.0, 1.0, 1.0]).chosen.tolist()
    [1, 2]
    >>> least_cost_cover(reach, needed=2).chosen.tolist()
    [0]
    """
    problem = _Problem.of(
        reach,
        row_value,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
    )
    aim = _Sum(problem.cost, np.zeros(problem.weight.size))
    quota = _Sum(np.zeros(problem.cost.size), problem.weight, needed - _ROUNDING, np.inf)
    found = _solved(problem, aim, [quota], max_gap=max_gap, seconds=seconds)
    if found is None:
        raise _infeasible(reach, problem, needed, seconds)
    exact, bound = found
    if exact is None:
        raise InfeasibleError(f"no answer within {seconds:g} s: give more seconds=, or a max_gap=")
    gap = max(0.0, exact.cost - bound) / max(exact.cost, _ROUNDING)
    return replace(exact, objective=exact.cost, bound=bound, gap=gap if gap > _ROUNDING else 0.0)


def _infeasible(
    reach: csr_array, problem: _Problem, needed: float, seconds: float
) -> InfeasibleError:
    """Say how much can be served at most, and which rows nothing serves."""
    open_ = ~problem.forbidden
    most = max_coverage(
        reach,
        problem.weight,
        cost=np.zeros(problem.cost.size),
        budget=1.0,
        locked=problem.locked,
        forbidden=problem.forbidden,
        exclusive=problem.exclusive,
        capacity=problem.capacity,
        load=problem.load,
        seconds=seconds,
    )
    served = np.zeros(problem.weight.size, dtype=bool)
    served[problem.row[open_[problem.candidate]]] = True
    return InfeasibleError(
        f"at most {most.weight:g} of the {needed:g} needed can be served: "
        f"{int((~served).sum())} rows are reached by no candidate",
        reachable=most.weight,
        unreached=np.flatnonzero(~served).tolist(),
    )


class _Sum(NamedTuple):
    """A sum over candidates that are chosen and rows that are served, and its limits."""

    candidates: Floats
    rows: Floats
    low: float = -np.inf
    high: float = np.inf


def _solved(
    problem: _Problem, aim: _Sum, sums: Sequence[_Sum], *, max_gap: float, seconds: float
) -> tuple[Siting | None, float] | None:
    """Make `aim` the least; None where nothing does what is asked.

    Gives the answer, None where none was found in time, and the bound of the aim.
    """
    m = problem.cost.size
    if m == 0:
        nobody = _answer(problem, np.zeros(0, dtype=np.int64), _nobody(problem), "milp")
        return (nobody, 0.0) if all(each.low <= 0 <= each.high for each in sums) else None
    tight = problem.tight
    # Who serves a row matters only where room is short: else one variable a row will do.
    owner = problem.row if tight.any() else np.arange(problem.weight.size)
    constraints = [*_serving(problem, tight), *_groups(problem, owner.size)]
    for each in sums:
        values = csr_array(np.r_[each.candidates, each.rows[owner]][None])
        constraints.append(LinearConstraint(values, each.low, each.high))
    result = milp(
        np.r_[aim.candidates, aim.rows[owner]],
        constraints=constraints,
        bounds=Bounds(
            np.r_[problem.locked.astype(float), np.zeros(owner.size)],
            np.r_[(~problem.forbidden).astype(float), np.ones(owner.size)],
        ),
        integrality=np.r_[
            np.ones(m), tight[problem.candidate] if tight.any() else np.zeros(owner.size)
        ],
        options={"mip_rel_gap": max_gap, "time_limit": seconds},
    )
    if result.status == _INFEASIBLE:
        return None
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is None:
        return None, bound
    part = result.x[m:] if tight.any() else result.x[m:][problem.row]
    return _siting(problem, result.x[:m] > 1 / 2, part), bound


def _matrix(values: Floats, rows: Integers, columns: Integers, shape: tuple[int, int]) -> csc_array:
    return csc_array(coo_array((values, (rows, columns)), shape=shape))


def _serving(problem: _Problem, tight: Flags) -> Iterator[LinearConstraint]:
    """Say that a row is served by what is chosen, once, and by one that has room for it."""
    n, m, k = problem.weight.size, problem.cost.size, problem.row.size
    ones, entry = np.ones(k), np.arange(k)
    if not tight.any():
        values = np.r_[-ones, np.ones(n)]
        rows = np.r_[problem.row, np.arange(n)]
        columns = np.r_[problem.candidate, m + np.arange(n)]
        yield LinearConstraint(_matrix(values, rows, columns, (n, m + n)), -np.inf, 0.0)
        return
    size = m + k
    values, columns = np.r_[ones, -ones], np.r_[m + entry, problem.candidate]
    yield LinearConstraint(_matrix(values, np.r_[entry, entry], columns, (k, size)), -np.inf, 0.0)
    yield LinearConstraint(_matrix(ones, problem.row, m + entry, (n, size)), -np.inf, 1.0)
    full = np.flatnonzero(tight)
    inside = np.flatnonzero(tight[problem.candidate])
    place = np.searchsorted(full, problem.candidate[inside])
    values = np.r_[problem.load[problem.row[inside]], -problem.capacity[full]]
    rows, columns = np.r_[place, np.arange(full.size)], np.r_[m + inside, full]
    yield LinearConstraint(_matrix(values, rows, columns, (full.size, size)), -np.inf, 0.0)


def _groups(problem: _Problem, others: int) -> Iterator[LinearConstraint]:
    """Say that of a group at most one is chosen."""
    labelled = np.flatnonzero(problem.exclusive >= 0)
    if labelled.size:
        labels, group = np.unique(problem.exclusive[labelled], return_inverse=True)
        shape = (labels.size, problem.cost.size + others)
        alone = _matrix(np.ones(labelled.size), group, labelled, shape)
        yield LinearConstraint(alone, -np.inf, 1.0)


def _nobody(problem: _Problem) -> Integers:
    return np.full(problem.weight.size, -1, dtype=np.int64)


def _siting(problem: _Problem, chosen: Flags, part: Floats) -> Siting:
    """Put an answer together; `part` is how much of its row each entry serves."""
    assigned = _nobody(problem)
    part = np.where(chosen[problem.candidate], part, 0.0)
    # Two candidates that have room may halve a row between them: the larger part takes it all.
    order = np.lexsort((-problem.candidate, part))
    order = order[part[order] > _TOLERANCE]
    assigned[problem.row[order]] = problem.candidate[order]
    return _answer(problem, np.flatnonzero(chosen), assigned, "milp")


def _answer(problem: _Problem, chosen: Integers, assigned: Integers, method: str) -> Siting:
    there = assigned >= 0
    gains = np.bincount(assigned[there], problem.weight[there], minlength=problem.cost.size)
    gain = gains.astype(float)[chosen]
    used = np.isin(chosen, assigned[there]) | problem.locked[chosen]
    chosen, gain = chosen[used], gain[used]
    cost = problem.cost[chosen]
    order = np.lexsort((chosen, -gain / np.maximum(cost, _ROUNDING)))
    weight = float(problem.weight[there].sum())
    return Siting(
        chosen[order], assigned, gain[order], weight, float(cost.sum()), weight, weight, 0.0, method
    )


def greedy_coverage(  # noqa: PLR0915 - one loop
    reach: csr_array,
    weight: ArrayLike,
    *,
    cost: ArrayLike | None = None,
    budget: float | None = None,
    count: int | None = None,
    locked: ArrayLike | None = None,
    forbidden: ArrayLike | None = None,
    exclusive: ArrayLike | None = None,
    capacity: ArrayLike | None = None,
    load: ArrayLike | None = None,
) -> Siting:
    """Choose the largest gain for its cost, again and again.

    Parameters
    ----------
    reach, weight, cost, budget, count, locked, forbidden, exclusive, capacity, load
        As for `max_coverage`.

    Returns
    -------
    Siting
        With the bound that follows: no other choice serves more than what is served and the
        largest gains still to be had for the same budget, whatever was chosen before.

    Notes
    -----
    Lazy greedy (Minoux 1978): gains only fall, so a gain computed earlier is a bound. With a count
    and no capacity it serves at least 1 - 1/e of the optimum (Nemhauser, Wolsey and Fisher 1978).
    The bound is the online one of Leskovec et al. (2007), the least over all steps.

    Examples
    --------
    >>> reach = csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> greedy_coverage(reach, [10, 20, 25], count=2).chosen.tolist()
    [0, 1]
    """
    problem = _Problem.of(
        reach,
        weight,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
    )
    m = problem.cost.size
    columns = csc_array(
        (np.ones(problem.row.size), (problem.row, problem.candidate)),
        shape=(problem.weight.size, m),
    )
    left = problem.weight.copy()
    assigned = np.full(problem.weight.size, -1, dtype=np.int64)
    money = np.inf if budget is None else float(budget)
    number = np.inf if count is None else float(count)
    whole = money, number
    price = np.maximum(problem.cost, _ROUNDING)
    closed = problem.forbidden.copy()
    chosen: list[int] = []
    bound = np.inf

    def gains(candidate: int) -> tuple[float, Integers]:
        rows = columns.indices[columns.indptr[candidate] : columns.indptr[candidate + 1]]
        rows = rows[assigned[rows] < 0]
        room = problem.capacity[candidate]
        if problem.load[rows].sum() > room * (1 + _ROUNDING):
            rows = rows[np.argsort(-left[rows], kind="stable")]
            rows = rows[np.cumsum(problem.load[rows]) <= room * (1 + _ROUNDING)]
        return float(left[rows].sum()), rows

    def take(candidate: int, rows: Integers) -> None:
        nonlocal money, number
        chosen.append(candidate)
        assigned[rows] = candidate
        left[rows] = 0.0
        money -= problem.cost[candidate]
        number -= 1
        label = problem.exclusive[candidate]
        closed[candidate] = True
        known[candidate] = 0.0
        if label >= 0:
            closed[problem.exclusive == label] = True

    known = np.array([gains(candidate)[0] for candidate in range(m)])
    for candidate in np.flatnonzero(problem.locked).tolist():
        take(candidate, gains(candidate)[1])
    heap = [(-known[c] / price[c], c) for c in range(m) if not closed[c]]
    heapq.heapify(heap)
    while heap:
        served = float(problem.weight[assigned >= 0].sum())
        bound = min(bound, served + _most(known, price, problem.forbidden, *whole))
        while heap:
            _, candidate = heapq.heappop(heap)
            if closed[candidate] or problem.cost[candidate] > money + _ROUNDING or number < 1:
                continue
            gain, rows = gains(candidate)
            known[candidate] = gain
            if gain <= 0:
                continue
            if heap and -gain / price[candidate] > heap[0][0] + _ROUNDING:
                heapq.heappush(heap, (-gain / price[candidate], candidate))
                continue
            take(candidate, rows)
            break
    answer = _answer(problem, np.array(chosen, dtype=np.int64), assigned, "greedy")
    if problem.tight.any():  # who is served by whom could be changed: nothing is proven
        bound = np.inf
    bound = min(max(bound, answer.weight), float(problem.weight.sum()))
    gap = (bound - answer.weight) / max(answer.weight, _ROUNDING)
    return replace(answer, bound=bound, gap=gap if gap > _ROUNDING else 0.0)


def _most(known: Floats, price: Floats, forbidden: Flags, money: float, number: float) -> float:
    """Give the largest gains that a whole budget could still buy, the last one in part."""
    gain, cost = known[~forbidden], price[~forbidden]
    if np.isfinite(number) and not np.isfinite(money):
        return float(np.sort(gain)[::-1][: int(number)].sum())
    order = np.argsort(-gain / cost)
    spent = np.cumsum(cost[order])
    whole = spent <= money
    total = float(gain[order][whole].sum())
    nxt = int(whole.sum())
    if nxt < order.size:
        before = spent[nxt - 1] if nxt else 0.0
        total += float(gain[order][nxt] * (money - before) / cost[order][nxt])
    return total
