"""Maps in a browser: bytes of the file, first paint, ready, and a redraw.

Prints medians for the sample county with all layers and for the same with 50,000 facilities,
opened in a local Chromium that is cut off from the network. Needs playwright (extra ``test``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

import facility_coverage as fc

SEED = 20250715
KIND = "comprehensive_service"


def sample() -> dict:
    """Assess the sample county before and after its projects."""
    county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    roads, demand = fc.read_roads(county.roads), fc.read_demand(county.demand, units)
    access = fc.travel_times(units, facilities, roads, plan, demand=demand)
    report = fc.assess(units, facilities, access, plan)
    projects = fc.propose_projects(report, roads)
    return {
        "report": report,
        "projects": projects,
        "after": fc.apply_projects(report, projects, roads),
        "circles": fc.isochrones(facilities, roads, kind=KIND),
    }


def crowded(report: fc.CoverageReport, count: int) -> fc.CoverageReport:
    """Scatter many facilities over the county, for drawing alone: nothing is assessed anew."""
    rng = np.random.default_rng(SEED)
    known = report.facilities
    west, south, east, north = report.units.to_crs(known.crs).total_bounds
    places = gpd.points_from_xy(rng.uniform(west, east, count), rng.uniform(south, north, count))
    more = known.iloc[rng.integers(0, len(known), count)].reset_index(drop=True)
    more = more.set_geometry(gpd.GeoSeries(places, crs=known.crs)).assign(
        facility_id=[f"X{number}" for number in range(count)],
        name=[f"{number}号便利店" for number in range(count)],
        kind=KIND,
        status="in_use",
    )
    both = pd.concat([known, more], ignore_index=True)
    return replace(report, facilities=both)


def opened(browser: Browser, path: Path) -> dict:
    """Open a map once and tell how long it took."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    context.set_offline(True)
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector('[data-ready="true"]')
    ready = time.perf_counter() - begin
    paint = page.evaluate("performance.getEntriesByType('paint')[0].startTime")
    redraw = page.evaluate(
        "() => { const from = performance.now();"
        " facilityCoverage.map.setZoom(12, {animate: false});"
        " return performance.now() - from; }"
    )
    context.close()
    return {"first_paint_ms": paint, "ready_ms": 1000 * ready, "redraw_ms": redraw}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--facilities", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    made, results = sample(), {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as session:
        browser = session.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, report in (
            ("sample", made["report"]),
            (f"{arguments.facilities} facilities", crowded(made["report"], arguments.facilities)),
        ):
            path = Path(folder, "map.html")
            begin = time.perf_counter()
            fc.coverage_map(report, **{key: made[key] for key in made if key != "report"}).save(
                str(path)
            )
            row = {
                "megabytes": path.stat().st_size / 1e6,
                "write_ms": 1000 * (time.perf_counter() - begin),
            }
            runs = [opened(browser, path) for _ in range(arguments.runs)]
            row |= {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            results[name] = {key: round(value, 2) for key, value in row.items()}
        browser.close()
    print(json.dumps(results, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
