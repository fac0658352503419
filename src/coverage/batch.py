"""Many counties, each on a worker of its own: a province, by Dask.

Nothing here schedules: each county is one task of a ``dask.distributed.Client``, which may be your
own. Imported by itself (``from facility_coverage import batch``; the extra ``batch``).
"""

from __future__ import annotations

import gc
import json
import platform
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from .counties import FILES, CountyInputs, preflight, read_counties, where_inputs_are
from .county import Clock, assess_county, audit_trail, county_projects
from .errors import InfeasibleError, InputError, IntakeWarning, MissingDependencyError
from .files import file_sha256, layer_files, write_beside
from .partition import code_faults, partition_facilities, partition_roads, write_table
from .plans import load_plan, plan_template
from .province import DATA_SETS, part_path, province_map, ranking, read_json, read_province

__all__ = [
    "CountyInputs",
    "ProvinceRun",
    "partition_facilities",
    "partition_roads",
    "preflight",
    "province_map",
    "ranking",
    "read_counties",
    "read_province",
    "run_province",
]

_PACKAGES = (
    "facility-coverage",
    "geopandas",
    "numpy",
    "pandas",
    "pyarrow",
    "pyproj",
    "scipy",
    "shapely",
)
_LON_LAT = "EPSG:4326"
_FAILURE = ("county_code", "name", "step", "error", "message")
# Two deaths of its worker, and two more alone: then it is the county that kills.
_DASK = {"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.worker-saturation": 1}


@dataclass(frozen=True, eq=False)
class ProvinceRun:
    """What `run_province` did: codes of counties computed and kept, and a table of failures.

    `unproven` are those whose siting ended at a limit before its optimum was proven. Where that was
    its limit of seconds (``siting.limit`` in their done file), their projects may be others on
    another day.
    """

    out: Path
    computed: tuple[str, ...]
    kept: tuple[str, ...]
    unproven: tuple[str, ...]
    failures: pd.DataFrame
    seconds: float


def run_province(
    counties: Iterable[CountyInputs],
    out: str | Path,
    *,
    client: Any = None,
    projects: bool = True,
    resume: bool = True,
    progress: Callable[[str, str, int, int], None] | None = None,
) -> ProvinceRun:
    """Assess many counties, each by itself, and write what is found.

    Parameters
    ----------
    counties : iterable of CountyInputs
        From `read_counties`.
    out : path
        The folder: ``units``, ``verdicts``, ``rates`` and ``projects`` (see `read_province`), each
        with ``county=CODE/part.parquet``; ``done/CODE.json`` of every county that is complete, with
        its inputs' and parts' hashes, rows, findings, options and versions; ``failures.json``;
        ``log.json`` with seconds and memory; at the end ``manifest.json``, by which
        `facility_coverage.verify` runs all again.
    client : dask.distributed.Client, optional
        Where to run; its workers see the same files. By default a cluster of processes on this
        computer, one thread each, reached by loopback only and closed afterwards: a script needs
        ``if __name__ == "__main__":`` around it.
    projects : bool
        Propose projects too.
    resume : bool
        Keep the counties done before with the same inputs, options and package versions.
    progress : callable, optional
        Told code, state (``"computed"``, ``"kept"``, ``"failed"``), how many are over, of how many.

    Returns
    -------
    ProvinceRun
        A county that fails stops no other: `failures` has its code, step, error and message. One
        whose quota of projects cannot be met has verdicts and rates, and is listed too.

    Notes
    -----
    A worker holds one county at a time. Where it dies Dask runs the county elsewhere; one that
    kills workers again and again is tried once more alone, and becomes a failure. Ctrl-C leaves a
    folder to resume (tasks begun on your own client run to their end). Files are the same byte for
    byte each time, but ``log.json``, ``manifest.json`` (where the inputs are, seen from the folder)
    and where a siting ended at its limit of seconds (`unproven`), a safeguard far beyond what
    counties need.
    """
    start, folder = time.perf_counter(), Path(out).absolute()
    todo = sorted(map(_absolute, counties), key=lambda each: each.county_code)
    faults = code_faults([each.county_code for each in todo], "counties")
    if faults:
        raise InputError("the counties cannot be run", faults)
    listed = [{"county_code": each.county_code, "name": each.name} for each in todo]
    _write_json(listed, folder / "counties.json")
    for name in ("failures.json", "manifest.json"):
        (folder / name).unlink(missing_ok=True)
    whole = [where_inputs_are(each, folder) for each in todo]
    outcomes: dict[str, dict[str, Any]] = {}

    def tell(outcome: dict[str, Any]) -> None:
        outcomes[outcome["county_code"]] = outcome
        if progress is not None:
            progress(outcome["county_code"], outcome["state"], len(outcomes), len(listed))

    try:
        for each in tuple(todo):
            done = _is_done(each, folder, projects=projects) if resume else None
            if done is None:
                _discard(folder, each.county_code)
            else:
                todo.remove(each)
                tell(_outcome(each, "kept", failure=done["failure"]))
        if todo:
            with _client_of(client, len(todo)) as at:
                for outcome in _outcomes(at, todo, folder, projects=projects):
                    tell(outcome)
    finally:
        failures = _write_log(folder, outcomes)
    manifest = {"counties": whole, "propose_projects": projects, "packages": _versions()}
    _write_json(manifest, folder / "manifest.json")
    by = {
        state: tuple(sorted(c for c, each in outcomes.items() if each["state"] == state))
        for state in ("computed", "kept")
    }
    by["unproven"] = tuple(code for code in sorted(outcomes) if _is_unproven(folder, code))
    return ProvinceRun(folder, **by, failures=failures, seconds=time.perf_counter() - start)


def _is_unproven(out: Path, code: str) -> bool:
    """Say whether a county's siting ended at a limit."""
    siting = read_json(out / "done" / f"{code}.json", {}).get("siting")
    return bool(siting and siting["limit"])


def _absolute(county: CountyInputs) -> CountyInputs:
    """Give the inputs as a worker elsewhere finds them."""
    there: dict[str, Any] = {name: Path(getattr(county, name)).absolute() for name in FILES[:3]}
    if county.demand is not None:
        there["demand"] = Path(county.demand).absolute()
    if str(county.plan).endswith(".toml"):
        there["plan"] = Path(county.plan).absolute()
    return replace(county, **there)


@contextmanager
def _client_of(client: Any, counties: int) -> Iterator[Any]:
    if client is not None:
        yield client
        return
    try:
        import dask  # noqa: PLC0415 - an optional dependency
        from dask.system import CPU_COUNT  # noqa: PLC0415
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError as fault:
        raise MissingDependencyError(
            "many counties need Dask: pip install 'facility-coverage[batch]'"
        ) from fault
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(_DASK),
        LocalCluster(n_workers=min(CPU_COUNT, counties), **options) as cluster,
        Client(cluster) as own,
    ):
        yield own


def _outcomes(
    client: Any, counties: Sequence[CountyInputs], out: Path, *, projects: bool, alone: bool = False
) -> Iterator[dict[str, Any]]:
    """Submit a task a county, and give what became of each as it is over."""
    from distributed import KilledWorker, as_completed  # noqa: PLC0415

    killed = []
    tasks = {client.submit(_run, each, out, projects, pure=False): each for each in counties}
    try:
        for task in as_completed(tuple(tasks)):
            county = tasks.pop(task)
            if task.status == "finished":
                yield task.result()
                continue
            fault = task.exception() if task.status == "error" else RuntimeError(task.status)
            if isinstance(fault, KilledWorker) and not alone:
                killed.append(county)  # or its neighbour on the worker did it
            else:
                yield _outcome(county, "failed", failure=_failure(county, "worker", fault))
    finally:
        client.cancel(list(tasks))
    for county in killed:
        yield from _outcomes(client, [county], out, projects=projects, alone=True)


def _run(county: CountyInputs, out: Path, projects: bool) -> dict[str, Any]:  # noqa: FBT001
    """Run one county on a worker; whatever is wrong with it is an outcome too."""
    start, steps = time.perf_counter(), ["inputs"]
    clock = Clock(steps.append)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IntakeWarning)  # counted in the county's done file
            failure = _compute(county, out, clock, projects=projects)
        outcome = _outcome(county, "computed", failure=failure)
    except Exception as fault:  # noqa: BLE001 - no county stops another
        outcome = _outcome(county, "failed", failure=_failure(county, steps[-1], fault))
    gc.collect()
    took = {"seconds": round(time.perf_counter() - start, 3), "peak_mb": _peak_mb()}
    return {**outcome, **took, "steps": clock.seconds}


def _compute(
    inputs: CountyInputs, out: Path, clock: Clock, *, projects: bool
) -> dict[str, str] | None:
    """Assess a county and write its parts; the last of all says that it is complete."""
    code, county = inputs.county_code, inputs.county
    done = _is_done(inputs, out, projects=projects)
    if done is not None:  # by a worker that died before it could say so
        return done["failure"]
    _discard(out, code)
    run = _identity(inputs, projects=projects)
    plan = load_plan(county.plan)
    given, report, intake = assess_county(county, plan, clock)
    tables = {"units": report.units, "verdicts": report.verdicts, "rates": report.rates}
    failure, siting = None, None
    if projects:
        clock.begin("projects")
        try:
            table = county_projects(county, given, report)
            tables["projects"], siting = table, table.attrs["siting"]
        except InfeasibleError as fault:
            failure = _failure(inputs, "projects", fault)
    clock.begin("write")
    parts = {}
    for what, table in tables.items():
        part = write_table(_labelled(table, inputs), part_path(out, what, code))
        parts[what] = {"rows": len(table), "sha256": file_sha256(part)}
    done = {
        "run": run,
        "stamp": report.stamp,
        **audit_trail(given, report, intake),
        "siting": siting,
        "failure": failure,
        "parts": parts,
    }
    _write_json(done, out / "done" / f"{code}.json")
    return failure


def _labelled(table: pd.DataFrame, county: CountyInputs) -> pd.DataFrame:
    """Give a county's table as part of a province's: whose it is, in degrees."""
    if isinstance(table, gpd.GeoDataFrame):
        table = table.to_crs(_LON_LAT)
    own = {"county_code": county.county_code, "county_name": county.name}
    return table.assign(**own)[[*own, *table.columns]]


def _write_json(value: Any, path: Path) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    write_beside(path, lambda name: Path(name).write_text(text, "utf-8"))


def _discard(out: Path, code: str) -> None:
    """Take away what an earlier run left of a county; first what says that it is complete."""
    (out / "done" / f"{code}.json").unlink(missing_ok=True)
    for what in DATA_SETS:
        shutil.rmtree(part_path(out, what, code).parent, ignore_errors=True)


def _identity(county: CountyInputs, *, projects: bool) -> dict[str, Any]:
    """Say all that decides what comes out for a county."""
    inputs = {
        name: {"file": path.name, "sha256": [file_sha256(each) for each in layer_files(path)]}
        for name, path in county.files.items()
    }
    if "plan" not in inputs:
        text = plan_template(str(county.plan)).encode()
        inputs["plan"] = {"file": str(county.plan), "sha256": [sha256(text).hexdigest()]}
    circles = {"circle_kind", "circle_mode", "circle_minutes"}  # not drawn here
    asked = county.county.options.items()
    options = {name: each for name, each in asked if name not in circles}
    identity = {
        "county_code": county.county_code,
        "inputs": inputs,
        "options": {"name": county.name, **options, "propose_projects": projects},
        "packages": _versions(),
    }
    return json.loads(json.dumps(identity, default=str))


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _is_done(county: CountyInputs, out: Path, *, projects: bool) -> dict[str, Any] | None:
    """Give a county's done file where it is of these inputs, and all its parts are there."""
    try:
        done = json.loads((out / "done" / f"{county.county_code}.json").read_text("utf-8"))
        whole = all(
            file_sha256(part_path(out, what, county.county_code)) == part["sha256"]
            for what, part in done["parts"].items()
        )
        return done if whole and done["run"] == _identity(county, projects=projects) else None
    except (OSError, ValueError, KeyError):
        return None


def _outcome(county: CountyInputs, state: str, *, failure: Mapping[str, str] | None) -> Any:
    return {"county_code": county.county_code, "state": state, "failure": failure}


def _failure(county: CountyInputs, step: str, fault: Any) -> dict[str, str]:
    told = (county.county_code, county.name, step, type(fault).__name__, str(fault))
    return dict(zip(_FAILURE, told, strict=True))


def _peak_mb() -> float | None:
    """Give the most memory this process has held, where the system tells (Linux)."""
    status = Path("/proc/self/status")
    held = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return round(int(held[1]) / 1024, 1) if held else None


def _write_log(out: Path, outcomes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Write what failed, and what each county took (of those kept: what it took then)."""
    failures = [outcomes[code]["failure"] for code in sorted(outcomes)]
    failures = [each for each in failures if each is not None]
    _write_json(failures, out / "failures.json")
    log = read_json(out / "log.json", {})
    for code, each in sorted(outcomes.items()):
        if each["state"] != "kept":
            log[code] = {name: each.get(name) for name in ("state", "seconds", "peak_mb", "steps")}
    _write_json(log, out / "log.json")
    return pd.DataFrame(failures, columns=list(_FAILURE))
