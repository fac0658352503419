"""Running a county again, to say that its outputs are what they were, or what differs."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from .county import County, read_county, run_county, sample_as_county
from .errors import ConfigError, MissingInputError
from .files import file_sha256
from .province import part_path, read_json

__all__ = ["verify"]

_COLUMNS = ["what", "name", "was", "now"]


def verify(
    folder: str | Path,
    *,
    county: str | Path | Iterable[Any] | None = None,
    client: Any = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run a county, or a province, again and compare with what stands in its folder of outputs.

    Parameters
    ----------
    folder : str or pathlib.Path
        Outputs of an earlier run, with their ``manifest.json``.
    county : path, optional
        The county's TOML file; of a province what `facility_coverage.batch.read_counties` takes, or
        gave. By default where the manifest says they were.
    client : dask.distributed.Client, optional
        Where a province runs, as for `facility_coverage.batch.run_province`.
    progress : callable, optional
        Told the name of each step, as by `run_county`; of a province the code of each county.

    Returns
    -------
    DataFrame
        One row a difference; empty where all is the same. `what` is ``"output changed"`` (the file
        in the folder is no longer what was written), ``"input changed"``, ``"package changed"``,
        ``"result differs"`` (running again gives another file) or ``"setting differs"``; `name`,
        `was` and `now` say of what. Inputs, packages and settings that changed explain results that
        differ. Of a province every `name` begins with the county's code.

    Raises
    ------
    MissingInputError
        Where there is no manifest, or no county file.
    ConfigError
        Where the manifest cannot be read.

    Notes
    -----
    On one set of versions the same inputs give the same bytes; the date printed is that of the
    earlier run.

    Examples
    --------
    >>> import tempfile
    >>> import facility_coverage as fc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     try:
    ...         fc.verify(folder)
    ...     except fc.CoverageError as fault:
    ...         print("no manifest.json" in str(fault))
    True
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    if "counties" in manifest:
        return _verify_province(folder, manifest, county, client=client, progress=progress)
    if county is not None and not isinstance(county, str | Path):
        raise ConfigError(f"{folder}: this is the run of one county; give its file with county=")
    again = _county(folder, manifest, county)
    with tempfile.TemporaryDirectory(prefix="facility-coverage-") as place:
        made_on = dt.date.fromisoformat(manifest["made_on"])
        now_at = Path(place, "again")
        run_county(replace(again, out=now_at), progress=progress, made_on=made_on)
        now = _manifest(now_at)
    rows = [
        *_differences(
            "output changed",
            _hashes(manifest["outputs"]),
            {
                each["file"]: _hash_of(folder / each["file"])
                for each in manifest["outputs"].values()
            },
        ),
        *_differences("input changed", _hashes(manifest["inputs"]), _hashes(now["inputs"])),
        *_differences("package changed", manifest["packages"], now["packages"]),
        *_differences("setting differs", _settings(manifest), _settings(now)),
        *_differences("result differs", _hashes(manifest["outputs"]), _hashes(now["outputs"])),
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise MissingInputError(
            f"{folder}: there is no manifest.json; give a folder a run wrote to"
        )
    try:
        found = json.loads(path.read_text("utf-8"))
        if "counties" in found:
            return {**found, "propose_projects": bool(found["propose_projects"])}
        dt.date.fromisoformat(found["made_on"])
        _hashes(found["inputs"])
        _hashes(found["outputs"])
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"{path}: this is no manifest of a run: {fault!r}") from fault
    return dict(found)


def _verify_province(
    folder: Path, manifest: Mapping[str, Any], given: Any, *, client: Any, progress: Any
) -> pd.DataFrame:
    """Run all counties again and compare what is said of each when it is complete."""
    from .batch import run_province  # noqa: PLC0415 - an extra
    from .counties import counties_of, read_counties  # noqa: PLC0415

    try:
        counties = counties_of(folder, manifest) if given is None else given
    except (KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"{folder}: manifest.json is none of a run: {fault!r}") from fault
    counties = read_counties(counties) if isinstance(counties, str | Path) else tuple(counties)
    with tempfile.TemporaryDirectory(prefix="facility-coverage-") as place:
        run_province(
            counties,
            place,
            client=client,
            projects=manifest["propose_projects"],
            resume=False,
            progress=None if progress is None else lambda code, *_: progress(code),
        )
        again = Path(place)
        rows = _differences("result differs", _failures(folder), _failures(again))
        for each in manifest["counties"]:
            rows += _county_differences(each["county_code"], folder, again)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _failures(out: Path) -> dict[str, str]:
    """Give what stopped a county, by its code."""
    return {each["county_code"]: each["message"] for each in read_json(out / "failures.json", [])}


def _county_differences(code: str, out: Path, again: Path) -> list[tuple[str, str, str, str]]:
    """Compare what two runs say of a county, and its files with what the first said."""
    was, now = (read_json(folder / "done" / f"{code}.json", None) for folder in (out, again))
    if was is None or now is None:  # it failed, which is said
        return []
    parts, here = (
        {what: each["sha256"] for what, each in done["parts"].items()} for done in (was, now)
    )
    there = {what: _hash_of(part_path(out, what, code)) for what in parts}
    old, new = was["run"], now["run"]
    rows = [
        *_differences("output changed", parts, there),
        *_differences("input changed", _texts(old["inputs"]), _texts(new["inputs"])),
        *_differences("package changed", old["packages"], new["packages"]),
        *_differences("setting differs", _texts(old["options"]), _texts(new["options"])),
        *_differences("result differs", parts, here),
    ]
    return [(what, f"{code}: {name}", before, after) for what, name, before, after in rows]


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _county(folder: Path, manifest: Mapping[str, Any], given: str | Path | None) -> County:
    lang = str(manifest.get("lang", "zh"))
    if given is not None:
        return replace(read_county(given), lang=lang)
    named = manifest.get("county_file")
    if named is None:
        return sample_as_county(out=folder, lang=lang)
    path = Path(folder, named).resolve()
    if not path.is_file():
        raise MissingInputError(
            f"{path}: the county file of this run is not there; name it with county= (--county)"
        )
    return replace(read_county(path), lang=lang)


def _hash_of(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "missing"


def _hashes(files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    named = Counter(each["file"] for each in files.values())
    return {
        each["file"] if named[each["file"]] == 1 else f"{each['file']} ({name})": each["sha256"]
        for name, each in files.items()
    }


def _settings(manifest: Mapping[str, Any]) -> dict[str, str]:
    parts = {name: manifest.get(name) for name in ("plan", "crs", "operations")}
    parts |= manifest.get("options", {})
    return _texts(parts)


def _differences(
    what: str, was: Mapping[str, str], now: Mapping[str, str]
) -> list[tuple[str, str, str, str]]:
    return [
        (what, name, str(was.get(name, "missing")), str(now.get(name, "missing")))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
