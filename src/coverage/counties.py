"""Which files each county of a province has, and what a run of them will take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio

from .county import County, read_county
from .errors import ConfigError, CoverageError, Finding, InputError
from .files import layer_files, path_from
from .partition import a_fault, code_faults
from .plans import load_plan

__all__ = ["CountyInputs", "counties_of", "preflight", "read_counties", "where_inputs_are"]

FILES = ("units", "facilities", "roads", "demand")
_NEEDED = ("county_code", "name", "units", "facilities", "roads", "plan")
# Of one county: at least, for 1,000 road edges, for 1,000 units. Measured as `preflight` says.
_SECONDS, _MEGABYTES = (0.51, 0.028, 3.8), (397.0, 1.1, 105.0)


@dataclass(frozen=True)
class CountyInputs:
    """The files of one county; `settings` says how they are read, as a county's TOML does."""

    county_code: str
    name: str
    units: Path
    facilities: Path
    roads: Path
    plan: str | Path
    demand: Path | None = None
    settings: County | None = None

    @property
    def county(self) -> County:
        """The county as `run_county` takes it."""
        own = {name: getattr(self, name) for name in ("name", "plan", *FILES)}
        return County(**own) if self.settings is None else replace(self.settings, **own)

    @property
    def files(self) -> dict[str, Path]:
        """All files that are read, by name; the plan too, where it is none of the shipped."""
        own = {"plan": Path(self.plan)} if str(self.plan).endswith(".toml") else {}
        return {**self.county.files, **own}


def read_counties(path: str | Path) -> tuple[CountyInputs, ...]:
    """Read which files each county has.

    Parameters
    ----------
    path : path
        A folder of county files (see `read_county`), each called by its county's code
        (``130824.toml``); or a table (CSV or Parquet) with the columns `county_code`, `name`,
        `units`, `facilities`, `roads`, `plan` and, optionally, `demand`. Paths are relative to it.

    Returns
    -------
    tuple of CountyInputs
        In the order of their codes.

    Raises
    ------
    InputError
        Naming all faults at once: codes, files that are not there, plans that cannot be read.
    """
    path = Path(path).absolute()
    found, faults = _from_folder(path) if path.is_dir() else _from_table(path)
    faults += code_faults([each.county_code for each in found], path.name)
    faults += [fault for each in found for fault in _missing_files(each)]
    faults += _plan_faults(found)
    if faults or not found:
        raise InputError(f"{path}: the counties cannot be run", faults or [a_fault(path.name)])
    return tuple(sorted(found, key=lambda each: each.county_code))


def _from_folder(path: Path) -> tuple[list[CountyInputs], list[Finding]]:
    found, faults = [], {}
    for file in sorted(path.glob("*.toml")):
        try:
            county = read_county(file)
        except CoverageError as fault:
            faults[file] = a_fault(file.name, "a county file can be read", cure=str(fault))
            continue
        own = {name: getattr(county, name) for name in ("name", "plan", *FILES)}
        found.append(CountyInputs(file.stem, settings=county, **own))
    plans = {Path(each.plan) for each in found}  # a plan may lie among the counties that use it
    return found, [fault for file, fault in faults.items() if file not in plans]


def _from_table(path: Path) -> tuple[list[CountyInputs], list[Finding]]:
    if path.suffix.lower() == ".parquet":
        table = pd.read_parquet(path)
    else:
        try:
            table = pd.read_csv(path, dtype="string", encoding="utf-8-sig")
        except UnicodeDecodeError:
            table = pd.read_csv(path, dtype="string", encoding="gb18030")
    absent = [name for name in _NEEDED if name not in table]
    if absent:
        return [], [a_fault(path.name, f"the table has a column {name}") for name in absent]
    found, faults = [], []
    for row, cells in enumerate(table.to_dict("records"), start=2):
        words = {key: str(cell).strip() for key, cell in cells.items() if not pd.isna(cell)}
        empty = [name for name in _NEEDED if not words.get(name)]
        faults += [replace(a_fault(path.name, f"{name} is given"), row=row) for name in empty]
        if not empty:
            own: dict[str, Any] = {
                name: path.parent / words[name] for name in FILES if words.get(name)
            }
            own["plan"] = words["plan"]
            if words["plan"].endswith(".toml"):
                own["plan"] = path.parent / words["plan"]
            found.append(CountyInputs(words["county_code"], words["name"], **own))
    return found, faults


def _missing_files(county: CountyInputs) -> list[Finding]:
    return [
        replace(a_fault(path.name, "the file is there", county.county_code, str(path)), field=name)
        for name, path in county.files.items()
        if not path.exists()
    ]


def _plan_faults(counties: Iterable[CountyInputs]) -> list[Finding]:
    faults = []
    for plan in sorted({str(each.plan) for each in counties}):
        try:
            load_plan(plan)
        except FileNotFoundError as fault:
            if not plan.endswith(".toml"):  # else it is among the missing files
                faults.append(a_fault(plan, "the plan is known", cure=str(fault)))
        except CoverageError as fault:
            faults.append(a_fault(Path(plan).name, "the plan can be read", cure=str(fault)))
    return faults


def where_inputs_are(county: CountyInputs, out: Path) -> dict[str, Any]:
    """Say where a county's inputs are, so that `counties_of` finds them again."""
    settings = county.settings
    return {
        "county_code": county.county_code,
        "name": county.name,
        "files": {
            name: path_from(out, path)
            for name in FILES
            if (path := getattr(county, name)) is not None
        },
        "plan": path_from(out, county.plan) if isinstance(county.plan, Path) else county.plan,
        "settings": settings is not None,
        "county_file": path_from(out, settings.source) if settings and settings.source else None,
    }


def counties_of(out: Path, manifest: Mapping[str, Any]) -> tuple[CountyInputs, ...]:
    """Give the counties of a run from its manifest."""
    found = []
    for each in manifest["counties"]:
        settings = None
        if each["settings"]:
            if each["county_file"] is None:
                raise ConfigError(
                    f"{out}: the settings of {each['county_code']} were made in memory; give the "
                    "counties again with county="
                )
            settings = read_county(out / each["county_file"])
        plan = each["plan"]
        found.append(
            CountyInputs(
                each["county_code"],
                each["name"],
                **{name: out / path for name, path in each["files"].items()},
                plan=out / plan if plan.endswith(".toml") else plan,
                settings=settings,
            )
        )
    return tuple(found)


def preflight(counties: Iterable[CountyInputs]) -> pd.DataFrame:
    """Tell what a run will take, without reading the files.

    Parameters
    ----------
    counties : iterable of CountyInputs
        From `read_counties`.

    Returns
    -------
    DataFrame
        One row a county: `county_code, name, bytes, units, road_edges, seconds` (projects
        included), `megabytes` (the peak of a worker), `problem`. Counts come from the headers of
        the files; missing where they do not tell.

    Notes
    -----
    0.51 s + 0.028 s for 1,000 edges + 3.8 s for 1,000 units, and 397 MB + 1.1 MB + 105 MB:
    fitted by ``benchmarks/province.py --fit`` to six counties of 4,000 to 281,000 edges and 40 to
    900 units with 5 points each, one at a time in a fresh worker, on one shared core of a server
    of 2026 (plan ``luanping-2025``, prepared roads); there within 15 %, elsewhere expect half to
    three times that.
    """
    rows = []
    for each in counties:
        missing = [str(path) for path in each.files.values() if not path.exists()]
        size = sum(_bytes(path) for path in each.files.values())
        units, edges = (_count(each.county, name) for name in ("units", "roads"))
        by = np.array([1.0, edges / 1000, units / 1000])
        seconds, megabytes = (float(by @ np.array(line)) for line in (_SECONDS, _MEGABYTES))
        problem = f"there is no {', '.join(missing)}" if missing else ""
        rows.append((each.county_code, each.name, size, units, edges, seconds, megabytes, problem))
    names = ["county_code", "name", "bytes", "units", "road_edges", "seconds"]
    return pd.DataFrame(rows, columns=[*names, "megabytes", "problem"])


def _bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in layer_files(path)) if path.exists() else 0


def _count(county: County, name: str) -> float:
    """Give how many features a layer has, by its header."""
    path: Path = getattr(county, name)
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            from pyarrow import parquet  # noqa: PLC0415 - an optional dependency

            return float(parquet.read_metadata(path).num_rows)
        return float(pyogrio.read_info(path, layer=county.layers.get(name))["features"])
    except (OSError, ValueError, RuntimeError):  # no layer of features: a graph or an extract
        return float("nan")
