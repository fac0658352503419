"""A ledger of 200,000 rows: read and checked, beside pandas reading the same file bare.

Prints the medians of paired runs in one process, their ratio, and the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

import facility_coverage as fc


def write_ledger(path: Path, rows: int) -> None:
    """Write a ledger as a county would export it."""
    rng = np.random.default_rng(1)
    kinds = ["卫生室", "药店", "便利店", "超市", "健身场地"]
    pd.DataFrame(
        {
            "设施编号": [f"W-{number:06d}" for number in range(rows)],
            "设施名称": [f"第{number}卫生室" for number in range(rows)],
            "设施类型": rng.choice(kinds, rows),
            "乡镇": rng.choice(["滦平镇", "虎什哈镇"], rows),
            "区划代码": (130824100200 + rng.integers(1, 99, rows)).astype(str),
            "经度": rng.uniform(116.7, 117.7, rows).round(6),
            "纬度": rng.uniform(40.7, 41.2, rows).round(6),
            "建筑面积": rng.integers(50, 500, rows),
            "每日开放时长": 8,
            "使用状态": "在用",
            "备注": "",
        }
    ).to_csv(path, index=False)


def bare(path: Path) -> None:
    """Read the columns, and make points."""
    table = pd.read_csv(path)
    gpd.GeoSeries.from_xy(table["经度"], table["纬度"], crs=4326)


def ours(path: Path) -> None:
    """Read, check and report."""
    fc.read_facilities(path, datum="wgs84")


def seconds(read: Callable[[Path], None], path: Path) -> float:
    """Time one call."""
    start = time.perf_counter()
    read(path)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.csv")
        write_ledger(path, given.rows)
        bare(path)
        ours(path)
        pairs = [(seconds(bare, path), seconds(ours, path)) for _ in range(given.runs)]
    print(f"bare pandas  {statistics.median(a for a, _ in pairs):.3f} s")
    print(f"read, check  {statistics.median(b for _, b in pairs):.3f} s")
    print(f"ratio        {statistics.median(b / a for a, b in pairs):.1f}")
    print(f"peak memory  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
