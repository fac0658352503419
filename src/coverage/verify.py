"""Running a county again, to say that its outputs are what they were, or what differs."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from .county import County, read_county, run_county, sample_as_county
from .errors import ConfigError, MissingInputError
from .files import file_sha256

__all__ = ["verify"]

_COLUMNS = ["what", "name", "was", "now"]


def verify(
    folder: str | Path,
    *,
    county: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run a county again and compare with what stands in its folder of outputs.

    Parameters
    ----------
    folder : str or pathlib.Path
        Outputs of an earlier run, with their ``manifest.json``.
    county : str or pathlib.Path, optional
        The county's TOML file; by default where the manifest says it was.
    progress : callable, optional
        As for `run_county`.

    Returns
    -------
    DataFrame
        One row a difference; empty where all is the same. `what` is ``"output changed"`` (the file
        in the folder is no longer what was written), ``"input changed"``, ``"package changed"``,
        ``"result differs"`` (running again gives another file) or ``"setting differs"``; `name`,
        `was` and `now` say of what. Inputs, packages and settings that changed explain results that
        differ.

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
    again = _county(folder, manifest, county)
    with tempfile.TemporaryDirectory(prefix="facility-coverage-") as place:
        made_on = dt.date.fromisoformat(manifest["made_on"])
        now_at = Path(place, "again")
        run_county(replace(again, out=now_at), progress=progress, made_on=made_on)
        now = _manifest(now_at)
    rows = [
        *(
            ("output changed", each["file"], each["sha256"], found)
            for each in manifest["outputs"].values()
            if (found := _hash_of(folder / each["file"])) != each["sha256"]
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
        dt.date.fromisoformat(found["made_on"])
        _hashes(found["inputs"])
        _hashes(found["outputs"])
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"{path}: this is no manifest of a run: {fault!r}") from fault
    return dict(found)


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
    return {name: json.dumps(value, ensure_ascii=False) for name, value in parts.items()}


def _differences(
    what: str, was: Mapping[str, str], now: Mapping[str, str]
) -> list[tuple[str, str, str, str]]:
    return [
        (what, name, str(was.get(name, "missing")), str(now.get(name, "missing")))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
