"""Time the whole line: the demo as a process, and a real OSM extract from file to verdicts.

Run ``python benchmarks/line.py [--extract FOLDER]``; FOLDER holds ``liechtenstein.osm.pbf`` and
``boundaries.geojson``. Prints medians of several runs, and the seconds of each step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np

import facility_coverage as fc

RUNS = 5


def demo_seconds() -> tuple[float, dict[str, float]]:
    """Run the demo as a planner does, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "facility_coverage", "demo", "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        spent = time.perf_counter() - start
        return spent, json.loads(Path(folder, "manifest.json").read_text("utf-8"))["seconds"]


def extract_seconds(folder: Path) -> float:
    """From an OSM extract to verdicts, in this process."""
    frame = gpd.read_file(folder / "boundaries.geojson").query("lvl == '8'")
    setting = np.where(frame["km2"] < 10, "rural", "urban")
    start = time.perf_counter()
    units = fc.read_units(frame.assign(unit_code=frame["name"], setting=setting))
    facilities = fc.read_facilities(folder / "liechtenstein.osm.pbf")
    roads = fc.read_roads(folder / "liechtenstein.osm.pbf")
    plan = fc.load_plan("circle-15")
    fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extract", type=Path, help="folder of the Liechtenstein extract")
    given = parser.parse_args()
    runs = [demo_seconds() for _ in range(RUNS)]
    print(f"demo, whole process: median {statistics.median(spent for spent, _ in runs):.1f} s")
    for step in runs[0][1]:
        print(f"  {step}: {statistics.median(steps[step] for _, steps in runs):.2f} s")
    if given.extract is not None:
        spent = statistics.median(extract_seconds(given.extract) for _ in range(RUNS))
        print(f"extract to verdicts: median {spent:.1f} s")


if __name__ == "__main__":
    main()
