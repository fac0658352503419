"""Choosing sites beside spopt, and a province's worth of them to a proven gap.

Prints medians of paired runs in one process: seconds to build and solve a maximal covering problem
by spopt ÷ seconds of `max_coverage`, which must agree on what is served; then seconds and gap for a
large sparse problem. Homes gather around towns, sites are among them, weights are lognormal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import pulp
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from spopt.locate import MCLP

from facility_coverage.siting import greedy_coverage, max_coverage

SEED = 20250715
SIDE_KM = 100.0


def places(homes: int, sites: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make seeded homes around towns, sites among them, and the people of each home."""
    rng = np.random.default_rng(SEED)
    towns = rng.uniform(0, SIDE_KM, (max(homes // 250, 1), 2))
    at = towns[rng.integers(0, len(towns), homes)] + rng.normal(0, 1.5, (homes, 2))
    return at, at[rng.choice(homes, sites, replace=False)], np.ceil(rng.lognormal(3, 1, homes))


def reach_within(at: np.ndarray, sites: np.ndarray, radius_km: float) -> csr_array:
    """Tell which homes lie within a radius of which sites."""
    near = cKDTree(at).query_ball_point(sites, radius_km)
    site = np.repeat(np.arange(len(sites)), [len(rows) for rows in near])
    row = np.concatenate(near).astype(int)
    return coo_array((np.ones(row.size), (row, site)), (len(at), len(sites))).tocsr()


def beside_spopt(homes: int, sites: int, count: int, radius_km: float, repeats: int) -> dict:
    """Solve one problem by both, exactly."""
    at, site, people = places(homes, sites)
    apart = cdist(at, site)
    theirs, ours = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            model = MCLP.from_cost_matrix(apart, people, radius_km, p_facilities=count)
            built = time.perf_counter()
            model = model.solve(pulp.PULP_CBC_CMD(msg=False))
        theirs.append((built - begin, time.perf_counter() - built))
        begin = time.perf_counter()
        found = max_coverage(csr_array(apart <= radius_km), people, count=count)
        ours.append(time.perf_counter() - begin)
        if not np.isclose(found.weight, model.problem.objective.value()):
            raise SystemExit(f"{found.weight} is not {model.problem.objective.value()}")
    build, solve = (statistics.median(each[part] for each in theirs) for part in (0, 1))
    return {
        "homes": homes,
        "sites": sites,
        "count": count,
        "radius_km": radius_km,
        "served": found.weight,
        "gap": found.gap,
        "spopt_build_seconds": round(build, 2),
        "spopt_solve_seconds": round(solve, 2),
        "seconds": round(statistics.median(ours), 2),
        "ratio": round((build + solve) / statistics.median(ours), 1),
    }


def large(homes: int, sites: int, count: int, radius_km: float) -> dict:
    """Solve a problem no solver alone finishes, to one per cent."""
    at, site, people = places(homes, sites)
    reach = reach_within(at, site, radius_km)
    begin = time.perf_counter()
    greedy = greedy_coverage(reach, people, count=count)
    between = time.perf_counter()
    found = max_coverage(reach, people, count=count, max_gap=0.01, seconds=60)
    return {
        "homes": homes,
        "sites": sites,
        "entries": int(reach.nnz),
        "count": count,
        "served": found.weight,
        "gap": round(found.gap, 5),
        "method": found.method,
        "seconds": round(time.perf_counter() - between, 2),
        "greedy_served": greedy.weight,
        "greedy_gap": round(greedy.gap, 5),
        "greedy_seconds": round(between - begin, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        results = {
            "beside_spopt": [beside_spopt(400, 60, 5, 10.0, 1)],
            "large": [large(5_000, 500, 40, 2.0)],
        }
    else:
        results = {
            "beside_spopt": [
                beside_spopt(4_000, 600, 20, radius, arguments.repeats) for radius in (2.0, 8.0)
            ],
            "large": [large(50_000, 5_000, 200, radius) for radius in (1.0, 2.0, 3.0)],
        }
    print(json.dumps(results, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
