"""A province by Dask: seconds, memory and scaling, a killed worker, a broken county, the borders.

Counties are rectangles on one seeded road network (junctions 250 m apart, as on a province's
roads), with units, demand points and facilities of every kind the plan asks for. All is cut by
`partition_roads` and `partition_facilities` and run by `run_province` with one worker, then two;
once more with a worker killed midway and one county's file broken. Some counties are compared with
runs of their own, and two neighbours with a joint run. ``--fit`` measures what `preflight` states.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import networks
import numpy as np
import pandas as pd
import shapely
from distributed import Client, LocalCluster

import facility_coverage as fc
from facility_coverage import batch

PLAN = "luanping-2025"
SPACING_M = 250.0
BUFFER_M = 15_000.0
POINTS_A_UNIT = 5
FACILITY_SHARE = 0.75
SIZES = ((3_000, 40), (20_000, 300), (60_000, 300), (60_000, 900), (200_000, 300), (200_000, 900))
STEPS = ("units", "demand", "facilities", "roads", "travel_times", "assess", "projects")
# What a county's run and a joint run may tell differently: who is inside, and minutes too long.
COMPARED = ("ledger_state", "reachable_state", "people_covered", "area_covered_m2")


@dataclass(frozen=True)
class Province:
    """A province's tables, and its counties' files."""

    outlines: gpd.GeoDataFrame
    units: gpd.GeoDataFrame
    demand: gpd.GeoDataFrame
    facilities: gpd.GeoDataFrame
    roads: fc.RoadNetwork
    inputs: tuple[batch.CountyInputs, ...]


def tiles(box: tuple[float, ...], count: int) -> list[tuple[float, ...]]:
    """Cut a box into as many that are about square."""
    low_x, low_y, high_x, high_y = box
    across = (high_x - low_x) / (high_y - low_y)
    rows = min(count, max(1, round(np.sqrt(count / across))))
    found = []
    for row, own in enumerate(np.array_split(np.arange(count), rows)):
        bottom, top = (low_y + (high_y - low_y) * k / rows for k in (row, row + 1))
        edges = np.linspace(low_x, high_x, len(own) + 1)
        found += [(a, bottom, b, top) for a, b in pairwise(edges)]
    return found


def streets(nodes: int) -> fc.RoadNetwork:
    """Give the common roads."""
    arrays = networks.planar_arrays(nodes)
    scale = SPACING_M / networks.SPACING_M
    for name in ("x", "y", "bend"):
        low = arrays[name].min() if name != "bend" else 0.0
        arrays[name] = low + (arrays[name] - low) * scale
    return networks.road_network(networks.streets_from_arrays(arrays, name="province"))


def tables(
    roads: fc.RoadNetwork, counties: int, units: int, plan: fc.Plan
) -> tuple[gpd.GeoDataFrame, ...]:
    """Give outlines, units, demand points and facilities."""
    rng = np.random.default_rng(networks.SEED)
    boxes = tiles(tuple(roads.edges.total_bounds), counties)
    codes = [f"13{1 + n // 60:02d}{21 + n % 60:02d}" for n in range(counties)]
    outlines = gpd.GeoDataFrame(
        {"county_code": codes}, geometry=[shapely.box(*each) for each in boxes], crs=networks.CRS
    )
    share = rng.uniform(0.5, 1.5, counties)
    counts = np.maximum(2, np.round(units * share / share.sum())).astype(int)
    rows = []
    for code, box, count in zip(codes, boxes, counts, strict=True):
        for n, place in enumerate(tiles(box, count)):
            urban = rng.random() < 0.07
            number = f"{code}{100 + n // 30:03d}{(1 if urban else 200) + n % 30:03d}"
            name = f"第{n}{'社区' if urban else '村'}"
            rows.append((number, name, f"第{n // 30}镇", "urban" if urban else "rural", place))
    table = pd.DataFrame(rows, columns=["unit_code", "name", "township", "setting", "place"])
    low = np.array(table.pop("place").tolist())
    for name, least, most in (("residents", 200, 3000), ("households", 80, 900)):
        table[name] = rng.integers(least, most, len(table))
    table["elderly"] = table["residents"] // 5
    table["data_note"] = "示例数据"
    units_ = gpd.GeoDataFrame(table, geometry=shapely.box(*low.T), crs=networks.CRS)

    def within(owner: np.ndarray) -> np.ndarray:
        at = low[owner, :2] + rng.random((len(owner), 2)) * (low[owner, 2:] - low[owner, :2])
        return shapely.points(at)

    owner = np.repeat(np.arange(len(table)), POINTS_A_UNIT)
    demand = gpd.GeoDataFrame(
        {
            "unit_code": table["unit_code"].to_numpy()[owner],
            "demand_id": [f"H{n}" for n in range(len(owner))],
            "residents": rng.integers(5, 300, len(owner)),
        },
        geometry=within(owner),
        crs=networks.CRS,
    )
    kinds = sorted({kind for standard in plan.standards for kind in standard.required_kinds})
    parts = []
    for kind in kinds:
        size = max(1, int(len(table) * (FACILITY_SHARE if kind != "police_room" else 0.1)))
        kept = np.sort(rng.choice(len(table), size, replace=False))
        part = {
            "kind": kind,
            "unit_code": table["unit_code"].to_numpy()[kept],
            "floor_area_m2": rng.integers(250, 900, len(kept)).astype(float),
            "hours_per_day": rng.choice([6.0, 8.0, 8.0, 10.0, 10.0], len(kept)),
            "status": rng.choice(["in_use"] * 9 + ["closed"], len(kept)),
        }
        parts.append(gpd.GeoDataFrame(part, geometry=within(kept), crs=networks.CRS))
    facilities = pd.concat(parts, ignore_index=True)
    names = [f"F{n}" for n in range(len(facilities))]
    return outlines, units_, demand, facilities.assign(facility_id=names, name=names)


def build(
    folder: Path,
    *,
    counties: int,
    nodes: int,
    units: int,
    buffer_m: float = BUFFER_M,
    plan: str = PLAN,
) -> Province:
    """Write a seeded province, cut into counties."""
    roads = streets(nodes)
    outlines, villages, hamlets, facilities = tables(roads, counties, units, fc.load_plan(plan))
    cut = batch.partition_roads(roads, outlines, folder / "roads", buffer_m=buffer_m)
    kept = batch.partition_facilities(
        facilities, outlines, folder / "facilities", buffer_m=buffer_m
    )
    rows = []
    for n, code in enumerate(outlines["county_code"]):
        for what, table in (("units", villages), ("demand", hamlets)):
            mine = table[table["unit_code"].str.startswith(code)]
            (folder / what).mkdir(parents=True, exist_ok=True)
            mine.to_parquet(folder / what / f"{code}.parquet")
        files = {what: f"{what}/{code}.parquet" for what in ("units", "demand")}
        files |= {"roads": str(cut["roads"][n]), "facilities": str(kept["facilities"][n])}
        rows.append({"county_code": code, "name": f"第{n}县", "plan": plan, **files})
    pd.DataFrame(rows).to_csv(folder / "counties.csv", index=False)
    inputs = batch.read_counties(folder / "counties.csv")
    return Province(outlines, villages, hamlets, facilities, roads, inputs)


def hashes(out: Path) -> dict[str, str]:
    """Give what each file of results holds, but the log."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "log.json")
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def timed(inputs: tuple[batch.CountyInputs, ...], out: Path, workers: int) -> dict[str, float]:
    """Run a province with some workers."""
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:
        run = batch.run_province(inputs, out, client=client)
    if len(run.failures):
        print(run.failures.to_string())
    log = json.loads((out / "log.json").read_text("utf-8")).values()
    return {
        "counties": len(run.computed),
        "unproven": len(run.unproven),
        "seconds": run.seconds,
        "task_seconds": sum(each["seconds"] for each in log),
        "peak_mb": max(each["peak_mb"] for each in log),
        "steps": {s: round(sum(each["steps"].get(s, 0.0) for each in log), 1) for s in STEPS},
    }


def with_faults(
    inputs: tuple[batch.CountyInputs, ...], out: Path, folder: Path
) -> dict[str, object]:
    """Run with a worker killed midway and one county's facilities broken."""
    broken = folder / "broken.parquet"
    broken.write_bytes(b"no table")
    victim = inputs[len(inputs) // 3]
    inputs = tuple(replace(c, facilities=broken) if c is victim else c for c in inputs)
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    killed = []

    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())

        def kill(_code: str, _state: str, over: int, total: int) -> None:
            if not killed and over >= total // 2:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        run = batch.run_province(inputs, out, client=client, progress=kill)
    return {
        "killed": len(killed),
        "computed": len(run.computed),
        "failed": run.failures[["county_code", "step", "error"]].to_numpy().tolist(),
        "broken": victim.county_code,
    }


def alone(inputs: batch.CountyInputs) -> fc.CoverageReport:
    """Assess one county by the library's own calls."""
    plan = fc.load_plan(inputs.plan)
    units = fc.read_units(inputs.units, plan=plan)
    demand = fc.read_demand(inputs.demand, units)
    facilities = fc.read_facilities(inputs.facilities, units=units)
    roads = fc.read_roads(inputs.roads)
    access = fc.travel_times(units, facilities, roads, plan, demand=demand)
    return fc.assess(units, facilities, access, plan)


def joint(province: Province, codes: list[str]) -> pd.DataFrame:
    """Assess several counties in one run over all roads and facilities."""
    plan = fc.load_plan(province.inputs[0].plan)
    own = province.units["unit_code"].str[:6].isin(codes)
    units = fc.read_units(province.units[own])
    mine = province.demand["unit_code"].isin(units["unit_code"])
    demand = fc.read_demand(province.demand[mine], units)
    facilities = fc.read_facilities(province.facilities)
    access = fc.travel_times(units, facilities, province.roads, plan, demand=demand)
    return fc.assess(units, facilities, access, plan).verdicts


def differing(ours: pd.DataFrame, theirs: pd.DataFrame, columns: tuple[str, ...]) -> int:
    """Count rows of verdicts that differ."""
    keys = ["unit_code", "kind"]
    both = [each.set_index(keys).sort_index()[list(columns)] for each in (ours, theirs)]
    if both[0].index.tolist() != both[1].index.tolist():  # of whatever type
        return max(map(len, both))
    wrong = np.zeros(len(both[0]), dtype=bool)
    for name in columns:
        a, b = (each[name] for each in both)
        if pd.api.types.is_float_dtype(a):
            wrong |= ~np.isclose(a.astype(float), b.astype(float), equal_nan=True)
        else:
            words = (each.astype("string").fillna("").to_numpy(dtype=object) for each in (a, b))
            wrong |= np.not_equal(*words).astype(bool)
    return int(wrong.sum())


def compare(province: Province, out: Path) -> dict[str, int]:
    """Compare counties with runs of their own, and two neighbours with a joint run."""
    verdicts = batch.read_province(out, "verdicts")
    chosen = province.inputs[:: max(1, len(province.inputs) // 3)][:3]
    columns = (*COMPARED, "minutes", "facility_id", "reachable_state_inside")
    single = sum(
        differing(
            verdicts[verdicts["county_code"] == each.county_code], alone(each).verdicts, columns
        )
        for each in chosen
    )
    pair = province.outlines["county_code"].tolist()[:2]
    together = joint(province, pair)
    ours = verdicts[verdicts["county_code"].isin(pair)]
    near = ours["minutes"].le(ours["limit_minutes"])
    keys = pd.MultiIndex.from_frame(ours.loc[near, ["unit_code", "kind"]])
    within = together.set_index(["unit_code", "kind"]).loc[keys].reset_index()
    return {
        "counties_compared": len(chosen),
        "rows_unlike_own_run": single,
        "rows_of_pair": len(ours),
        "rows_unlike_joint_run": differing(ours, together, COMPARED),
        "minutes_unlike_joint_run": differing(ours[near], within, ("minutes", "facility_id")),
    }


def fit(folder: Path) -> dict[str, list[float]]:
    """Fit seconds and peak megabytes of one county to its edges and units."""
    rows = []
    for nodes, units in SIZES:
        place = folder / f"{nodes}-{units}"
        province = build(place, counties=1, nodes=nodes, units=units)
        took = timed(province.inputs, place / "out", 1)
        edges = len(province.roads)
        rows.append((1.0, edges / 1000, units / 1000, took["task_seconds"], took["peak_mb"]))
        siting = took["steps"]["projects"]
        print(
            f"{edges:,} edges, {units} units: {rows[-1][3]:.2f} s ({siting} s of it projects), "
            f"{rows[-1][4]:.0f} MB"
        )
    table = np.array(rows)
    found = {}
    for name, column in (("seconds", 3), ("megabytes", 4)):
        # Of small and large ones alike, how many times too much or too little.
        share = table[:, :3] / table[:, [column]]
        line, *_ = np.linalg.lstsq(share, np.ones(len(table)), rcond=None)
        off = share @ line
        found[name] = line.round(3).tolist()
        print(f"{name}: {found[name]}, fitted ÷ measured {off.min():.2f} to {off.max():.2f}")
    return found


def measure(folder: Path, *, counties: int, nodes: int, units: int) -> dict[str, object]:
    """Build, run, break and compare."""
    start = time.perf_counter()
    province = build(folder, counties=counties, nodes=nodes, units=units)
    figures: dict[str, object] = {
        "counties": counties,
        "nodes": len(province.roads.nodes),
        "edges": len(province.roads),
        "units": len(province.units),
        "build_s": time.perf_counter() - start,
        "build_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "edges_a_county": int(batch.preflight(province.inputs)["road_edges"].median()),
        "preflight_s": float(batch.preflight(province.inputs)["seconds"].sum()),
    }
    for workers in (1, 2):
        figures[f"workers_{workers}"] = timed(province.inputs, folder / f"out{workers}", workers)
    once, twice = (figures[f"workers_{workers}"]["seconds"] for workers in (1, 2))
    figures["speedup"] = once / twice
    figures["same_bytes"] = hashes(folder / "out1") == hashes(folder / "out2")
    start = time.perf_counter()
    kept = batch.run_province(province.inputs, folder / "out1").kept
    figures["resume"] = {"kept": len(kept), "seconds": time.perf_counter() - start}
    figures["faults"] = with_faults(province.inputs, folder / "out3", folder)
    figures["compared"] = compare(province, folder / "out1")
    batch.province_map(folder / "out3", outlines=province.outlines).save(folder / "map.html")
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counties", type=int, default=167)
    parser.add_argument("--nodes", type=int, default=3_000_000)
    parser.add_argument("--units", type=int, default=50_000)
    parser.add_argument("--quick", action="store_true", help="six small counties")
    parser.add_argument("--fit", action="store_true", help="measure the coefficients of preflight")
    parser.add_argument("--folder", type=Path, help="kept; by default a temporary one")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = {name: getattr(given, name) for name in ("counties", "nodes", "units")}
    if given.quick:
        sizes = {"counties": 6, "nodes": 12_000, "units": 120}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        figures = fit(folder) if given.fit else measure(folder, **sizes)
    for name, value in figures.items():
        print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value}")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
