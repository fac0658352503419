"""Checking files before a run: what each is, and everything that is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from .demand import read_demand
from .errors import CoverageError, Finding, InputError, IntakeWarning
from .facilities import is_ledger, read_facilities
from .intake import IntakeReport, finding, intake_report
from .layers import read_layer
from .prepared import is_prepared
from .roads import read_roads
from .schema import canonical_name
from .units import read_units

__all__ = ["ROLES", "check_files", "file_role", "reported"]

ROLES = ("units", "demand", "facilities", "roads")
_NETWORKS = (".graphml", ".graphml.gz", ".pbf", ".osm", ".osm.gz", ".osm.bz2")
_RASTERS = frozenset([".tif", ".tiff"])


def check_files(
    files: Iterable[str | Path],
    *,
    role: str | None = None,
    kind: str | None = None,
    datum: Any = None,
) -> IntakeReport:
    """Read files as a run would, and tell everything noticed, whatever is wrong with any of them.

    Parameters
    ----------
    files : iterable of path
        Units, demand points, facilities and roads, in any order. Where units are among them, the
        others are checked against these.
    role : {"units", "demand", "facilities", "roads"}, optional
        What all of them are; by default each is told by its content, see `file_role`.
    kind, datum
        As for `read_facilities`.

    Returns
    -------
    IntakeReport
        The findings of all files, errors included: nothing is raised for a bad file.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> report = fc.check_files([county.facilities, county.units])
    >>> [(row["file"], row["accepted"]) for row in report.rows]
    [('luanping_units.gpkg', 213), ('luanping_facilities.xlsx', 1840)]
    """
    if role is not None and role not in ROLES:
        raise InputError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
    paths = [Path(each) for each in files]
    told = {path: reported(partial(_role, path, role), path.name) for path in paths}
    reports = [report for _, report in told.values()]
    roles = {path: found for path, (found, _) in told.items() if found is not None}
    units: gpd.GeoDataFrame | None = None
    for path in sorted(roles, key=lambda each: ROLES.index(roles[each])):
        if roles[path] == "demand" and units is None:
            reports.append(IntakeReport((finding("file.needs_units", file=path.name),)))
            continue
        readers: dict[str, Callable[[], Any]] = {
            "units": partial(read_units, path),
            "demand": partial(read_demand, path, units),
            "facilities": partial(read_facilities, path, kind=kind, datum=datum, units=units),
            "roads": partial(read_roads, path),
        }
        table, report = reported(readers[roles[path]], path.name)
        reports.append(report)
        if roles[path] == "units" and units is None:
            units = table
    return IntakeReport.joined(reports)


def _role(path: Path, role: str | None) -> str:
    return role or file_role(path)


def reported(read: Callable[[], Any], file: str) -> tuple[Any, IntakeReport]:
    """Call a reader; an error becomes a report.

    Parameters
    ----------
    read : callable
        Without arguments.
    file : str
        For an error that lists no faults of its own.

    Returns
    -------
    result
        What `read` gave, or None where it raised a `CoverageError`.
    report : IntakeReport
        What was noticed, or what was wrong.
    """
    try:
        with warnings.catch_warnings():  # what they say is in the report
            warnings.simplefilter("ignore", IntakeWarning)
            table = read()
    except CoverageError as fault:
        faults: tuple[Finding, ...] = getattr(fault, "findings", ())
        if not any(each.severity == "error" for each in faults):
            faults = (finding("file.unusable", file=file, reason=str(fault)), *faults)
        return None, IntakeReport(faults)
    return table, IntakeReport(()) if isinstance(table, str) else intake_report(table)


def file_role(path: Path) -> str:
    """Tell what a file is for a run.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    {"units", "demand", "facilities", "roads"}
        By its ending (tables of cells hold facilities, rasters demand, OSM and GraphML roads), or
        by its features: lines are roads, polygons with codes units and without footprints, points
        with residents demand and others facilities.

    Raises
    ------
    MissingInputError, InputError
        Where the file is not there or cannot be read.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> [file_role(path) for path in (county.demand, county.roads, county.facilities)]
    ['demand', 'roads', 'facilities']
    """
    if path.suffix.lower() in _RASTERS:
        return "demand"
    if path.name.lower().endswith(_NETWORKS):
        return "roads"
    if is_ledger(path):
        return "facilities"
    if path.suffix.lower() == ".parquet" and path.is_file() and is_prepared(path):
        return "roads"
    words: set[str | None] = set()

    def choose(names: Sequence[str]) -> Sequence[str]:
        words.update(canonical_name(name) for name in names)
        return ()

    shapes = np.asarray(read_layer(path, choose=choose).geometry.array)
    kinds = set(shapely.get_dimensions(shapes[~shapely.is_missing(shapes)]).tolist())
    if kinds == {1}:
        return "roads"
    if kinds == {2}:
        return "units" if "unit_code" in words else "demand"
    return "demand" if "residents" in words and "kind" not in words else "facilities"
