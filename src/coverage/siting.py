"""Choosing sites: most coverage for a budget, least cost for a quota; exact, with its bound.

Rows are what is to be served (villages, demand points), columns the candidates that serve them, in
a sparse matrix. Nothing here knows of maps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csc_array, csr_array

from .covering import (
    ROUNDING,
    Answer,
    Problem,
    Relaxation,
    first_of,
    greedy,
    improved,
    least_cost,
    most_gain,
    numbers,
    thinned,
)
from .errors import InfeasibleError, InputError

__all__ = [
    "MOST_NODES",
    "MOST_SECONDS",
    "Siting",
    "greedy_coverage",
    "least_cost_cover",
    "max_coverage",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_TOLERANCE = 1e-6  # HiGHS' own
_OPTIMAL, _OUT_OF_TIME, _INFEASIBLE = 0, 1, 2  # scipy's status of a programme
_LARGE = 20_000  # entries of reach, beyond which the problem is narrowed before it is solved
_PROMISING = (2, 4)  # times as many candidates as are chosen, to look for a better answer among
MOST_NODES = 500  # of the branch-and-bound tree; counties need 1 to 200
MOST_SECONDS = 600.0
_TIE_GAP = 0.05  # how far from the least of a tie an answer may be


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
    method : {"milp", "exchange", "greedy"}
        How it was found.
    limit : {"", "nodes", "seconds"}
        What ended the search before the gap asked for was proven. Where it was seconds, the answer
        may be another on another day.
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
    limit: str = ""


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
    nodes: int = MOST_NODES,
    seconds: float = MOST_SECONDS,
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
    nodes : int
        Of the branch-and-bound tree, after which the best answer found is taken.
    seconds : float
        The same: a safeguard, as answers that end at it depend on the computer.

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
    solved by HiGHS from the lazy greedy answer on. A large one is relaxed first (Lagrange): that
    bounds what can be served and settles most candidates; exchanges improve the answer, then
    HiGHS chooses among the promising candidates, and at last among all that are not settled.

    Examples
    --------
    >>> reach = csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> found = max_coverage(reach, [10, 20, 25], count=1)
    >>> found.chosen.tolist(), found.weight, found.gap
    ([0], 30.0, 0.0)
    """
    if budget is None and count is None:
        raise InputError("give a budget= or a count=: without either all would be chosen")
    problem = Problem.of(
        reach,
        weight,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
        budget=budget,
        count=count,
    )
    if any(amounts[problem.locked].sum() > most + ROUNDING for amounts, most in problem.limits):
        raise InfeasibleError("what is locked takes more than the budget or the count allows")
    answer, most = greedy(problem)
    known = [_siting(problem, answer, "greedy")]
    relaxed = None
    if problem.row.size > _LARGE:
        relaxed = most_gain(problem, known[0].weight)
        most = min(most, relaxed.bound)
        if not problem.tight.any():
            known.append(_siting(problem, improved(problem, relaxed.chosen), "exchange"))
    nothing = np.zeros(problem.weight.size), np.zeros(problem.cost.size)
    kept = [
        _Sum(amounts, nothing[0], -np.inf, limit + ROUNDING) for amounts, limit in problem.limits
    ]
    task = _Task(problem, _Sum(nothing[1], -problem.weight), kept, lambda each: -each.weight)
    effort = _Effort(max_gap, nodes, time.monotonic() + seconds)
    found, least, limit = _searched(task, known, -most, relaxed, effort)
    best = known[0] if found is None else found
    return _proven(best, best.weight, max(-least, best.weight), limit)


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
    tie: ArrayLike | None = None,
    max_gap: float = 0.0,
    nodes: int = MOST_NODES,
    seconds: float = MOST_SECONDS,
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
    cost, locked, forbidden, exclusive, capacity, load, max_gap, nodes, seconds
        As for `max_coverage`.
    tie : array-like of float, shape (m,), optional
        Of answers that cost the same, one whose chosen candidates have the least of this in all is
        sought: within 5 % of it.

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
    A partial set covering problem, as a mixed-integer programme solved by HiGHS; a large one is
    relaxed and narrowed first, as in `max_coverage`.

    Examples
    --------
    >>> reach = csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]))
    >>> least_cost_cover(reach, needed=2, cost=[3.0, 1.0, 1.0]).chosen.tolist()
    [1, 2]
    >>> least_cost_cover(reach, needed=2).chosen.tolist()
    [0]
    """
    problem = Problem.of(
        reach,
        row_value,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
    )
    ties = None if tie is None else numbers("tie", tie, problem.cost.size, 0.0)
    answer = thinned(problem, problem.locked, needed)
    known = [_siting(problem, answer, "greedy")] if _serves(problem, answer, needed) else []
    least, relaxed = 0.0, None
    if known and problem.row.size > _LARGE:
        relaxed = least_cost(problem, needed, known[0].cost)
        least = relaxed.bound
        answer = thinned(problem, relaxed.chosen, needed)
        if _serves(problem, answer, needed):
            known.append(_siting(problem, answer, "exchange"))
    nothing = np.zeros(problem.weight.size), np.zeros(problem.cost.size)
    quota = _Sum(nothing[1], problem.weight, needed - ROUNDING, np.inf)
    task = _Task(problem, _Sum(problem.cost, nothing[0]), [quota], lambda each: each.cost)
    effort = _Effort(max_gap, nodes, time.monotonic() + seconds)
    best, least, limit = _searched(task, known, least, relaxed, effort)
    if best is not None:
        if ties is not None and not limit:
            best, limit = _untied(task, quota, best, relaxed, ties, effort)
        return _proven(best, best.cost, min(least, best.cost), limit)
    if np.isinf(least):
        raise _infeasible(reach, problem, needed, nodes=nodes, seconds=seconds)
    raise InfeasibleError(
        f"no answer within {nodes} nodes and {seconds:g} s: give more nodes= or seconds="
    )


def _untied(
    task: _Task,
    quota: _Sum,
    best: Siting,
    relaxed: Relaxation | None,
    tie: Floats,
    effort: _Effort,
) -> tuple[Siting, str]:
    """Give an answer that costs no more than the best and has about the least of a tie."""
    problem, nothing = task.problem, np.zeros(task.problem.weight.size)
    if relaxed is not None:
        has, lacks = relaxed.settled(problem, best.cost)
        problem = problem.within(locked=has, forbidden=lacks)
    no_more = _Sum(problem.cost, nothing, -np.inf, best.cost + ROUNDING * max(best.cost, 1.0))
    tied = _Task(
        problem, _Sum(tie, nothing), [quota, no_more], lambda each: float(tie[each.chosen].sum())
    )
    found, _, limit = _searched(tied, [best], 0.0, None, effort._replace(max_gap=_TIE_GAP))
    assert found is not None  # noqa: S101 - the best is known
    return found, "seconds" if limit == "seconds" else ""


def _infeasible(
    reach: csr_array, problem: Problem, needed: float, *, nodes: int, seconds: float
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
        nodes=nodes,
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


class _Effort(NamedTuple):
    """How near the optimum an answer must be, and what ends the search for it."""

    max_gap: float
    nodes: int
    ends: float

    @property
    def seconds(self) -> float:
        """What is left until the end."""
        return max(self.ends - time.monotonic(), 0.0)


class _Task(NamedTuple):
    """What is to be made the least, within which sums, and what an answer makes of it."""

    problem: Problem
    aim: _Sum
    sums: Sequence[_Sum]
    value: Callable[[Siting], float]


def _searched(
    task: _Task,
    known: Sequence[Siting],
    least: float,
    relaxed: Relaxation | None,
    effort: _Effort,
) -> tuple[Siting | None, float, str]:
    """Solve a task, given answers that are known and what it is at `least`.

    Gives the best answer, None where there is none, what the task is at least (infinite where
    nothing does what is asked), and what ended the search before its time.
    """
    best, limit = min(known, key=task.value, default=None), ""
    for problem, whole in _parts(task, best, relaxed):
        if best is not None and _apart(task.value(best), least) <= effort.max_gap:
            break
        seconds = effort.seconds if whole else effort.seconds / 3
        found = _solved(task, problem, effort, seconds=seconds)
        limit = "seconds" if "seconds" in (limit, found.limit) else found.limit
        if found.answer is not None and (
            best is None or task.value(found.answer) <= task.value(best)
        ):
            best = found.answer
        if whole:  # what is left out of it is no better than the best
            least = max(least, min(found.least, np.inf if best is None else task.value(best)))
    proven = best is not None and _apart(task.value(best), least) <= effort.max_gap
    # A proven answer may be one of several: which one it is, a search cut short may have decided.
    return best, least, "" if proven and limit != "seconds" else limit


def _parts(
    task: _Task, best: Siting | None, relaxed: Relaxation | None
) -> Iterator[tuple[Problem, bool]]:
    """Give what is to be solved: the promising candidates, then all that is not settled."""
    if best is None or relaxed is None:
        yield task.problem, True
        return
    has, lacks = relaxed.settled(task.problem, abs(task.value(best)))
    size = task.problem.cost.size
    used = np.isin(np.arange(size), best.chosen)
    order = np.argsort(np.where(lacks & ~used, np.inf, -relaxed.reduced), kind="stable")
    rank = np.empty(size, dtype=np.int64)
    rank[order] = np.arange(size)
    for times in _PROMISING:
        hopeless = lacks | (rank >= times * max(int(used.sum()), 1))
        yield task.problem.within(locked=has, forbidden=hopeless & ~used & ~has), False
    yield task.problem.within(locked=has, forbidden=lacks), True


class _Found(NamedTuple):
    """An answer, None where none was found, what the aim is at least, and what ended the search."""

    answer: Siting | None
    least: float
    limit: str = ""


def _solved(task: _Task, problem: Problem, effort: _Effort, *, seconds: float) -> _Found:
    """Make the aim of a task the least with the candidates a problem leaves open."""
    m, tight = problem.cost.size, bool(problem.tight.any())
    if m == 0:
        nobody = Answer(np.zeros(0, dtype=np.int64), np.full(problem.weight.size, -1))
        possible = all(each.low <= 0 <= each.high for each in task.sums)
        return _Found(_siting(problem, nobody, "milp"), 0.0) if possible else _Found(None, np.inf)
    # Who serves a row matters only where room is short: else one variable for rows alike will do.
    serving = list(_served_with_room(problem) if tight else _served(problem))
    others = serving[0].A.shape[1] - m
    limits = [*serving, *_groups(problem, others)]
    for each in task.sums:
        values = csr_array(np.r_[each.candidates, _by_variable(problem, each.rows)][None])
        limits.append(LinearConstraint(values, each.low, each.high))
    whole = problem.tight[problem.candidate] if tight else np.zeros(others, dtype=bool)
    result = milp(
        np.r_[task.aim.candidates, _by_variable(problem, task.aim.rows)],
        constraints=limits,
        bounds=Bounds(
            np.r_[problem.locked.astype(float), np.zeros(others)],
            np.r_[(~problem.forbidden).astype(float), np.ones(others)],
        ),
        integrality=np.r_[np.ones(m), whole],
        options={
            "mip_rel_gap": effort.max_gap,
            "node_limit": effort.nodes,
            "time_limit": seconds,
        },
    )
    if result.status == _INFEASIBLE:
        return _Found(None, np.inf)
    least = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    # SciPy has no status of its own for a limit of nodes.
    limit = {_OPTIMAL: "", _OUT_OF_TIME: "seconds"}.get(result.status, "nodes")
    if result.x is None:
        return _Found(None, least, limit)
    chosen = result.x[:m] > 1 / 2
    answer = (
        _with_room(problem, chosen, result.x[m:])
        if tight
        else first_of(problem, np.flatnonzero(chosen))
    )
    return _Found(_siting(problem, answer, "milp"), least, limit)


def _matrix(values: Floats, rows: Integers, columns: Integers, shape: tuple[int, int]) -> csc_array:
    return csc_array(coo_array((values, (rows, columns)), shape=shape))


def _by_variable(problem: Problem, rows: Floats) -> Floats:
    """Give numbers of rows to the variables that say that rows are served."""
    if problem.tight.any():
        return rows[problem.row]
    there = problem.alike >= 0
    return np.bincount(problem.alike[there], weights=rows[there]).astype(float)


def _served(problem: Problem) -> Iterator[LinearConstraint]:
    """Say that rows are served by what is chosen."""
    m, size = problem.cost.size, int(problem.alike.max(initial=-1)) + 1
    served = np.flatnonzero(problem.alike >= 0)
    labels, first = np.unique(problem.alike[served], return_index=True)
    stands = np.zeros(problem.weight.size, dtype=bool)
    stands[served[first]] = True
    entry = np.flatnonzero(stands[problem.row])
    values = np.r_[-np.ones(entry.size), np.ones(size)]
    rows = np.r_[problem.alike[problem.row[entry]], labels]
    columns = np.r_[problem.candidate[entry], m + labels]
    yield LinearConstraint(_matrix(values, rows, columns, (size, m + size)), -np.inf, 0.0)


def _served_with_room(problem: Problem) -> Iterator[LinearConstraint]:
    """Say that a row is served by what is chosen, once, and by one that has room for it."""
    n, m, k = problem.weight.size, problem.cost.size, problem.row.size
    ones, entry, tight = np.ones(k), np.arange(k), problem.tight
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


def _groups(problem: Problem, others: int) -> Iterator[LinearConstraint]:
    """Say that of a group at most one is chosen."""
    labelled = np.flatnonzero(problem.exclusive >= 0)
    if labelled.size:
        labels, group = np.unique(problem.exclusive[labelled], return_inverse=True)
        shape = (labels.size, problem.cost.size + others)
        alone = _matrix(np.ones(labelled.size), group, labelled, shape)
        yield LinearConstraint(alone, -np.inf, 1.0)


def _with_room(problem: Problem, chosen: Flags, part: Floats) -> Answer:
    """Put an answer together; `part` is how much of its row each entry serves."""
    assigned = np.full(problem.weight.size, -1, dtype=np.int64)
    part = np.where(chosen[problem.candidate], part, 0.0)
    # Two candidates that have room may halve a row between them: the larger part takes it all.
    order = np.lexsort((-problem.candidate, part))
    order = order[part[order] > _TOLERANCE]
    assigned[problem.row[order]] = problem.candidate[order]
    return Answer(np.flatnonzero(chosen), assigned)


def _serves(problem: Problem, answer: Answer, needed: float) -> bool:
    return bool(problem.weight[answer.assigned >= 0].sum() >= needed - ROUNDING)


def _siting(problem: Problem, answer: Answer, method: str) -> Siting:
    """Tell what an answer serves and costs."""
    chosen, assigned = answer
    there = assigned >= 0
    gains = np.bincount(assigned[there], problem.weight[there], minlength=problem.cost.size)
    gain = gains.astype(float)[chosen]
    used = np.isin(chosen, assigned[there]) | problem.locked[chosen]
    chosen, gain = chosen[used], gain[used]
    cost = problem.cost[chosen]
    order = np.lexsort((chosen, -gain / np.maximum(cost, ROUNDING)))
    weight = float(problem.weight[there].sum())
    return Siting(
        chosen[order], assigned, gain[order], weight, float(cost.sum()), weight, weight, 0.0, method
    )


def _apart(value: float, bound: float) -> float:
    """Give the relative distance of an answer from its bound; rounding is none."""
    gap = abs(value - bound) / max(abs(value), ROUNDING)
    return gap if gap > ROUNDING else 0.0


def _proven(siting: Siting, objective: float, bound: float, limit: str = "") -> Siting:
    gap = _apart(objective, bound)
    return replace(siting, objective=objective, bound=bound, gap=gap, limit=limit)


def greedy_coverage(
    reach: csr_array,
    weight: ArrayLike,
    *,
    cost: ArrayLike | None = None,
    budget: float | None = None,
    count: int | None = None,
    needed: float | None = None,
    row_value: ArrayLike | None = None,
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
    needed : float, optional
        How much is enough: rows, or their value.
    row_value : array-like of float, shape (n,), optional
        What each row counts for towards what is needed; 1 by default.

    Returns
    -------
    Siting
        With the bound that follows: no other choice serves more than what is served and the
        largest gains still to be had for the same budget, whatever was chosen before. Where room
        is short that bound does not hold, and all the weight there is stands for it.

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
    problem = Problem.of(
        reach,
        weight,
        cost,
        locked=locked,
        forbidden=forbidden,
        exclusive=exclusive,
        capacity=capacity,
        load=load,
        budget=budget,
        count=count,
    )
    value = np.ones(problem.weight.size) if row_value is None else np.asarray(row_value, float)
    answer, bound = greedy(problem, needed=np.inf if needed is None else needed, counted=value)
    found = _siting(problem, answer, "greedy")
    return _proven(found, found.weight, bound)
