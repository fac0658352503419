"""Verdicts and rates: `assess` beside the searches it rests on, for one county and for many units.

Prints medians of paired runs in one process and their ratio: seconds of `assess` ÷ seconds of
`travel_times`. Units are squares, with demand points at random in them, 12 kinds of facility and a
standard for each, in town and country.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from pathlib import Path

import geopandas as gpd
import networks
import numpy as np
import pandas as pd
import shapely

import facility_coverage as fc

KINDS = (
    "comprehensive_service",
    "clinic",
    "culture_centre",
    "fitness_ground",
    "day_care",
    "police_room",
    "emergency_shelter",
    "school",
    "kindergarten",
    "pharmacy",
    "supermarket",
    "parcel",
)


def county(units: int, points: int, nodes: int) -> tuple[gpd.GeoDataFrame, ...]:
    """Make a seeded county: units, demand points, facilities, roads."""
    rng = np.random.default_rng(networks.SEED)
    roads = networks.road_network(networks.planar(nodes))
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    side = int(np.ceil(np.sqrt(units)))
    step_x, step_y = (high_x - low_x) / side, (high_y - low_y) / side
    column, row = np.arange(units) % side, np.arange(units) // side
    boxes = shapely.box(
        low_x + column * step_x,
        low_y + row * step_y,
        low_x + (column + 1) * step_x,
        low_y + (row + 1) * step_y,
    )
    table = gpd.GeoDataFrame(
        {
            "unit_code": pd.array(
                [f"13{n // 900:04d}{100 + n % 900 // 30:03d}{200 + n % 30}" for n in range(units)],
                dtype="string",
            ),
            "name": [f"第{n}村" for n in range(units)],
            "township": [f"第{n // 30}镇" for n in range(units)],
            "setting": np.where(rng.random(units) < 0.07, "urban", "rural"),
            "residents": rng.integers(200, 3000, units),
            "households": rng.integers(80, 1000, units),
            "elderly": rng.integers(20, 200, units),
        },
        geometry=boxes,
        crs=networks.CRS,
    )
    table = fc.read_units(table)
    owner = rng.integers(0, units, points)
    x = low_x + (column[owner] + rng.random(points)) * step_x
    y = low_y + (row[owner] + rng.random(points)) * step_y
    demand = gpd.GeoDataFrame(
        {
            "unit_code": table["unit_code"].to_numpy()[owner],
            "residents": rng.integers(5, 300, points),
            "elderly": rng.integers(1, 50, points),
        },
        geometry=gpd.points_from_xy(x, y),
        crs=networks.CRS,
    )
    count = int(units * 0.7)
    parts = []
    for kind in KINDS:
        kept = rng.choice(units, count, replace=False)
        parts.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "unit_code": table["unit_code"].to_numpy()[kept],
                    "floor_area_m2": rng.integers(80, 700, count).astype(float),
                    "hours_per_day": rng.choice([6.0, 8.0, 10.0], count),
                    "status": rng.choice(["in_use"] * 9 + ["closed"], count),
                    "x": low_x + (column[kept] + rng.random(count)) * step_x,
                    "y": low_y + (row[kept] + rng.random(count)) * step_y,
                }
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    facilities = gpd.GeoDataFrame(
        rows.drop(columns=["x", "y"]).assign(
            facility_id=[f"F{n}" for n in range(len(rows))],
            name=[f"F{n}" for n in range(len(rows))],
        ),
        geometry=gpd.points_from_xy(rows["x"], rows["y"]),
        crs=networks.CRS,
    )
    return table, fc.read_demand(demand, table), fc.read_facilities(facilities), roads


def plan() -> fc.Plan:
    """Twelve kinds, each with a rule for the country and one for the town."""
    rural = (fc.Alternative("walk", 20.0), fc.Alternative("ebike", 15.0))
    standards = tuple(
        fc.Standard(kind, setting, alternatives, min_floor_area_m2=200.0, on_ledger=True)
        for kind in KINDS
        for setting, alternatives in (("rural", rural), ("urban", (fc.Alternative("walk", 15.0),)))
    )
    return fc.Plan("benchmark", "基准", "benchmark", "", 2020, 2025, standards, groups=())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=213)
    parser.add_argument("--points", type=int, default=2_000)
    parser.add_argument("--nodes", type=int, default=30_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    units, demand, facilities, roads = county(given.units, given.points, given.nodes)
    rules = plan()
    searched, assessed = [], []
    for _ in range(given.runs):
        gc.collect()
        start = time.perf_counter()
        access = fc.travel_times(units, facilities, roads, rules, demand=demand)
        middle = time.perf_counter()
        fc.assess(units, facilities, access, rules)
        searched.append(middle - start)
        assessed.append(time.perf_counter() - middle)
    figures = {
        "units": given.units,
        "points": given.points,
        "standards": len(rules.standards),
        "travel_times_s": statistics.median(searched),
        "assess_s": statistics.median(assessed),
        "ratio_assess_to_travel_times": statistics.median(
            b / a for a, b in zip(searched, assessed, strict=True)
        ),
    }
    for name, value in figures.items():
        print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value:,}")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
