"""Choosing sites: equal to trying everything, and to spopt; bounds that hold; wrong input."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree
from spopt.locate import LSCP, MCLP

import facility_coverage as fc
from facility_coverage import siting
from facility_coverage.covering import Problem, least_cost, most_gain
from facility_coverage.siting import greedy_coverage, least_cost_cover, max_coverage

# Small problems go to the solver at once, large ones are relaxed and narrowed first.
either_way = pytest.mark.parametrize("large", [-1, 20_000], ids=["narrowed", "at_once"])


@st.composite
def problems(draw):
    """Up to seven candidates and nine rows, with costs, bans, exclusive groups and little room."""
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    reach = rng.random((n, m)) < draw(st.sampled_from([0.2, 0.4, 0.7]))
    forbidden = rng.random(m) < 0.15
    locked = (rng.random(m) < 0.15) & ~forbidden
    exclusive = np.where(rng.random(m) < 0.5, rng.integers(0, 2, m), -1)
    for label in (0, 1):  # of a group at most one can be locked
        inside = np.flatnonzero(locked & (exclusive == label))
        locked[inside[1:]] = False
    return {
        "reach": csr_array(reach),
        "weight": rng.integers(0, 9, n).astype(float),
        "cost": rng.integers(1, 9, m).astype(float),
        "locked": locked,
        "forbidden": forbidden,
        "exclusive": exclusive,
        "capacity": np.where(rng.random(m) < draw(st.sampled_from([0.0, 0.6])), 3.0, np.inf),
        "load": rng.integers(0, 4, n).astype(float),
    }


def choices(problem):
    """Give every choice that is allowed."""
    size = problem["cost"].size
    for picked in itertools.product([False, True], repeat=size):
        chosen = np.array(picked)
        labels = problem["exclusive"][chosen & (problem["exclusive"] >= 0)]
        if (
            (chosen >= problem["locked"]).all()
            and not (chosen & problem["forbidden"]).any()
            and np.unique(labels).size == labels.size
        ):
            yield chosen


def most_served(problem, chosen, value):
    """Give the most value the chosen can serve, trying every assignment where room is short."""
    reach = problem["reach"].toarray().astype(bool) & chosen
    load, best = problem["load"], 0.0

    def serve(row, room, served):
        nonlocal best
        best = max(best, served)
        if row == reach.shape[0] or served + value[row:].sum() <= best:
            return
        for candidate in np.flatnonzero(reach[row]):
            if load[row] <= room[candidate]:
                left = room.copy()
                left[candidate] -= load[row]
                serve(row + 1, left, served + value[row])
        serve(row + 1, room, served)

    serve(0, problem["capacity"].copy(), 0.0)
    return best


def split(problem, *leave):
    rest = {name: value for name, value in problem.items() if name not in {"reach", *leave}}
    return problem["reach"], rest


def check(problem, found):
    """What is said of an answer is so."""
    reach = problem["reach"].toarray().astype(bool)
    there = found.assigned >= 0
    assert reach[np.flatnonzero(there), found.assigned[there]].all()
    assert set(found.assigned[there]) <= set(found.chosen)
    load = np.bincount(found.assigned[there], problem["load"][there], problem["cost"].size)
    assert (load <= problem["capacity"] + 1e-6).all()
    assert found.cost == pytest.approx(problem["cost"][found.chosen].sum())


@either_way
@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(0, 20))
def test_most_coverage_is_what_trying_everything_finds(large, problem, budget):
    reach, rest = split(problem)
    possible = [c for c in choices(problem) if problem["cost"][c].sum() <= budget]
    if not possible:
        with pytest.raises(fc.InfeasibleError):
            max_coverage(reach, **rest, budget=budget)
        return
    best = max(most_served(problem, chosen, problem["weight"]) for chosen in possible)
    with mock.patch.object(siting, "_LARGE", large):
        found = max_coverage(reach, **rest, budget=budget)
    check(problem, found)
    assert found.weight == pytest.approx(best)
    assert found.gap == pytest.approx(0.0, abs=1e-6)
    assert found.cost <= budget + 1e-6
    greedy = greedy_coverage(reach, **rest, budget=budget)
    check(problem, greedy)
    assert greedy.weight <= best + 1e-6
    if np.isinf(problem["capacity"]).all():
        assert greedy.bound >= best - 1e-6


@either_way
@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(0, 9))
def test_the_cheapest_cover_is_what_trying_everything_finds(large, problem, needed):
    reach, rest = split(problem, "weight")
    ones = np.ones(reach.shape[0])
    costs = [
        problem["cost"][chosen].sum()
        for chosen in choices(problem)
        if most_served(problem, chosen, ones) >= needed
    ]
    if not costs:
        with pytest.raises(fc.InfeasibleError, match="at most") as told:
            least_cost_cover(reach, **rest, needed=needed)
        most = max(most_served(problem, chosen, ones) for chosen in choices(problem))
        assert told.value.reachable == most
        return
    with mock.patch.object(siting, "_LARGE", large):
        found = least_cost_cover(reach, **rest, needed=needed)
    check(problem, found)
    assert (found.assigned >= 0).sum() >= needed
    assert found.cost == pytest.approx(min(costs))


@either_way
@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(1, 9))
def test_of_equally_cheap_covers_one_has_about_the_least_of_the_tie(large, problem, needed):
    reach, rest = split(problem, "weight")
    rest["cost"] = np.minimum(rest["cost"], 2.0)  # many are equal
    ones, tie = np.ones(reach.shape[0]), problem["cost"] / 9
    spent = [
        (rest["cost"][chosen].sum(), tie[chosen].sum())
        for chosen in choices(problem)
        if most_served(problem, chosen, ones) >= needed
    ]
    if not spent:
        return
    with mock.patch.object(siting, "_LARGE", large):
        found = least_cost_cover(reach, **rest, needed=needed, tie=tie)
    check({**problem, **rest}, found)
    assert (found.assigned >= 0).sum() >= needed
    assert found.cost == pytest.approx(min(spent)[0])
    assert tie[found.chosen].sum() <= min(spent)[1] * 1.0527 + 1e-6


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 4))
def test_greedy_is_within_its_guarantee(problem, count):
    reach, weight = problem["reach"], problem["weight"]
    best = max_coverage(reach, weight, count=count).weight
    greedy = greedy_coverage(reach, weight, count=count)
    assert greedy.weight >= (1 - 1 / np.e) * best - 1e-9
    assert greedy.bound >= best - 1e-6
    assert len(greedy.chosen) <= count


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 20), st.integers(1, 9))
def test_no_answer_is_better_than_the_relaxed_one(problem, budget, needed):
    given = {name: value for name, value in problem.items() if name != "reach"}
    posed = Problem.of(problem["reach"], **given, budget=budget, count=None)
    served = {
        tuple(chosen): most_served(problem, chosen, problem["weight"])
        for chosen in choices(problem)
    }
    spent = {chosen: problem["cost"][list(chosen)].sum() for chosen in served}
    inside = {chosen: gain for chosen, gain in served.items() if spent[chosen] <= budget}
    if inside:
        known = min(inside.values())
        relaxed = most_gain(posed, known)
        assert relaxed.bound >= max(inside.values()) - 1e-6
        has, lacks = relaxed.settled(posed, known)
        for chosen in (c for c, gain in inside.items() if gain > known + 1e-6):
            assert (np.array(chosen) >= has).all()
            assert not (np.array(chosen) & lacks).any()
    enough = [spent[chosen] for chosen, gain in served.items() if gain >= needed]
    if enough:
        relaxed = least_cost(posed, needed, max(enough))
        assert relaxed.bound <= min(enough) + 1e-6
        has, lacks = relaxed.settled(posed, max(enough))
        for chosen, gain in served.items():
            if gain >= needed and spent[chosen] < max(enough) - 1e-6:
                assert (np.array(chosen) >= has).all()
                assert not (np.array(chosen) & lacks).any()


def test_a_large_problem_is_solved_to_a_proven_gap():
    rng = np.random.default_rng(20250715)
    homes, sites = rng.random((5_000, 2)), rng.random((500, 2))
    near = cKDTree(homes).query_ball_point(sites, 0.06)
    site = np.repeat(np.arange(500), [len(rows) for rows in near])
    reach = coo_array((np.ones(site.size), (np.concatenate(near).astype(int), site)), (5_000, 500))
    weight, cost = rng.integers(1, 100, 5_000).astype(float), rng.integers(20, 99, 500)
    found = max_coverage(reach.tocsr(), weight, cost=cost, budget=2_000, max_gap=0.01)
    assert found.gap <= 0.01
    assert found.cost <= 2_000
    served = reach.tocsr()[:, found.chosen].sum(axis=1) > 0
    assert found.weight == weight[served].sum()
    greedy = greedy_coverage(reach.tocsr(), weight, cost=cost, budget=2_000)
    assert greedy.weight <= found.weight <= found.bound <= greedy.bound
    cheap = least_cost_cover(
        reach.tocsr(), row_value=weight, cost=cost, needed=found.weight, max_gap=0.01
    )
    assert cheap.gap <= 0.01
    assert cheap.cost <= 2_000 * 1.01


@pytest.fixture(scope="module")
def hard():
    """A problem with little room, whose optimum takes the solver a tree to prove."""
    rng = np.random.default_rng(20250715)
    homes, sites = rng.random((64, 2)), rng.random((32, 2))
    near = cKDTree(homes).query_ball_point(sites, 0.25)
    site = np.repeat(np.arange(32), [len(rows) for rows in near])
    reach = coo_array((np.ones(site.size), (np.concatenate(near).astype(int), site)), (64, 32))
    given = {"load": rng.integers(10, 90, 64), "capacity": rng.integers(100, 300, 32)}
    return reach.tocsr(), {"cost": rng.integers(20, 99, 32), "needed": 48, **given}


def test_a_search_cut_short_by_nodes_says_so_and_ends_the_same_each_time(hard):
    reach, given = hard
    whole = least_cost_cover(reach, **given, max_gap=0.005, nodes=100_000)
    short = [least_cost_cover(reach, **given, nodes=1) for _ in range(2)]
    assert (whole.limit, short[0].limit) == ("", "nodes")
    assert whole.gap <= 0.005 < short[0].gap
    assert short[0].bound <= whole.objective <= short[0].objective
    assert short[0].chosen.tolist() == short[1].chosen.tolist()
    assert short[0].assigned.tolist() == short[1].assigned.tolist()
    assert short[0].bound == short[1].bound


def test_a_search_cut_short_by_seconds_says_so(hard):
    reach, given = hard
    found = least_cost_cover(reach, **given, seconds=1e-3)
    assert found.limit == "seconds"
    assert found.gap > 0


@pytest.fixture(scope="module")
def medium():
    rng = np.random.default_rng(20250715)
    homes, sites = rng.random((300, 2)), rng.random((60, 2))
    apart = np.hypot(*(homes[:, None] - sites[None]).T).T
    return apart, rng.integers(1, 100, 300).astype(float)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the solver behind it
def test_equal_to_spopt(medium):
    apart, weight = medium
    reach = csr_array(apart <= 0.15)
    solver = pulp.PULP_CBC_CMD(msg=False)
    theirs = MCLP.from_cost_matrix(apart, weight, 0.15, p_facilities=8).solve(solver)
    ours = max_coverage(reach, weight, count=8)
    assert ours.weight == pytest.approx(theirs.problem.objective.value())
    cover = LSCP.from_cost_matrix(apart, 0.25).solve(solver)
    all_of_them = least_cost_cover(csr_array(apart <= 0.25), needed=300)
    assert all_of_them.cost == pytest.approx(cover.problem.objective.value())


@pytest.mark.parametrize(
    ("tie", "message"), [([1.0], "tie must have 2 values"), ([1.0, np.nan], "tie must be numbers")]
)
def test_a_wrong_tie(tie, message):
    with pytest.raises(fc.InputError, match=message):
        least_cost_cover(csr_array(np.eye(2, dtype=bool)), needed=1, tie=tie)


def test_nothing_to_choose_from():
    nobody = csr_array(np.zeros((3, 0), dtype=bool))
    assert max_coverage(nobody, [1, 2, 3], count=1).weight == 0
    with pytest.raises(fc.InfeasibleError, match="at most 0 of the 1 needed"):
        least_cost_cover(nobody, needed=1)
    assert least_cost_cover(nobody, needed=0).cost == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": [1.0, np.nan], "count": 1}, "weight must be numbers"),
        ({"weight": [1.0], "count": 1}, "weight must have 2 values"),
        ({"weight": [1.0, 1.0], "count": 1, "cost": [-1.0, 1.0]}, "cost must be numbers"),
        ({"weight": [1.0, 1.0]}, "give a budget= or a count="),
        (
            {"weight": [1.0, 1.0], "count": 1, "locked": [True, False], "forbidden": [True, False]},
            "locked and forbidden at once",
        ),
    ],
)
def test_wrong_input(options, message):
    reach = csr_array(np.eye(2, dtype=bool))
    with pytest.raises(fc.InputError, match=message):
        max_coverage(reach, options.pop("weight"), **options)
