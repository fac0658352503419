"""Reading villages and communities: a polygon layer → a checked table of units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from .boundaries import log_boundaries, log_repairs, repair_boundaries
from .errors import Finding, InputError
from .identity import code_setting, log_codes, read_codes
from .intake import IntakeLog
from .layers import check_crs, read_layer
from .postgis import is_database_url
from .quantities import read_flags, read_numbers, read_text, read_words
from .schema import rename_columns
from .standards import Plan

__all__ = ["read_units"]

_COUNTS = {
    "residents": "count",
    "registered": "count",
    "households": "count",
    "elderly": "count",
    "children": "count",
    "old_estate_households": "count",
    "old_estate_built": "year",
}
_FLAGS = ("resettlement", "hollow_village", "merger_class")
_TEXTS = ("township", "township_code", "data_note")
# What indicators and promises of a plan are counted from; in the table where the file has them.
_FURTHER_NUMBERS = {
    "disabled": "count",
    "community_workers": "count",
    "new_service_area_m2": "area",
    "new_building_area_m2": "area",
}
_FURTHER_FLAGS = (
    "self_service_terminal",
    "legal_adviser",
    "disabled_association",
    "disaster_informant",
    "agency_service",
    "broadband",
    "five_g",
)
_COLUMNS = (
    "unit_code",
    "name",
    "unit_kind",
    "setting",
    *_TEXTS,
    *_COUNTS,
    *_FLAGS,
    *_FURTHER_NUMBERS,
    *_FURTHER_FLAGS,
)
_KINDS = {
    **dict.fromkeys(["village", "行政村", "村", "村委会", "村民委员会"], "village"),
    **dict.fromkeys(["community", "社区", "居委会", "居民委员会", "城市社区"], "community"),
}
_SETTINGS = {
    **dict.fromkeys(["rural", "农村", "乡村"], "rural"),
    **dict.fromkeys(["urban", "城市", "城镇"], "urban"),
}
_MOST_PER_HOUSEHOLD = 10.0  # more people to a household than anywhere on average


def read_units(
    source: str | Path | gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    columns: Mapping[str, str] | None = None,
    plan: Plan | None = None,
    repair: bool = False,
    strict: bool = False,
) -> gpd.GeoDataFrame:
    """Read villages and communities.

    Parameters
    ----------
    source : path, URL or GeoDataFrame
        Polygons with a code and a name each. Chinese and English headers are recognised, also as
        Shapefiles cut them.
    layer : str, optional
        Which layer of the file, where there are several.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}`` for headers that are not recognised.
    plan : Plan, optional
        To compare the number of villages and communities with the plan's.
    repair : bool
        Mend rings that cross themselves, overlaps, slivers and narrow gaps, as
        `repair_boundaries` does; each change is reported.
    strict : bool
        Raise on any error, instead of setting the row aside or leaving the value unknown.

    Returns
    -------
    GeoDataFrame
        One row a unit, index 0 … n-1, in the CRS of the file: `unit_code`, `name`, `township`,
        `township_code`, `unit_kind` (village | community), `setting` (rural | urban),
        `residents`, `registered`, `households`, `elderly`, `children` (nullable integers: missing
        is unknown, never 0), `resettlement`, `hollow_village`, `merger_class` (bool),
        `old_estate_households`, `old_estate_built`, `data_note`, geometry (missing where the file
        has none that can be used: the unit is counted, and cannot be told). Where the file has
        them, also what indicators and promises are counted from: `disabled`, `community_workers`,
        `new_service_area_m2`, `new_building_area_m2` (of new communities: commercial and service
        floor area, all floor area), and `self_service_terminal`, `legal_adviser`,
        `disabled_association`, `disaster_informant`, `agency_service`, `broadband`, `five_g`
        (nullable booleans).
        ``intake_report(units)`` tells what was noticed.

    Raises
    ------
    InputError
        Where the file as a whole, or none of its rows, can be used; with `strict` wherever there
        is an error. Lists every fault: file, row, field, value, rule and cure.
    MissingInputError, NoCrsError
        Where there is no such file or layer, or no CRS.

    Warns
    -----
    IntakeWarning
        Where rows were set aside or values left unknown.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> units = fc.read_units(fc.sample_county().units)
    >>> units["unit_kind"].value_counts().to_dict(), int(units["residents"].sum())
    ({'village': 199, 'community': 14}, 287986)
    """
    if isinstance(source, gpd.GeoDataFrame):
        if source.crs is None:
            raise InputError("units: the table has no CRS; set one with .set_crs")
        frame, file = source.reset_index(drop=True), "units"
        frame.attrs.clear()
    else:
        frame = read_layer(source, layer=layer)
        file = (layer or "PostGIS") if is_database_url(source) else Path(source).name
    if frame.geometry.name != "geometry":
        frame = frame.rename_geometry("geometry")
    log = IntakeLog.of(frame, file)
    headers = ", ".join(str(c) for c in frame.columns if c != "geometry")
    known = (*_COLUMNS, "unit_name")
    frame = rename_columns(frame, columns, known=known, file=file, log=log)
    if "name" not in frame and "unit_name" in frame:
        frame = frame.rename(columns={"unit_name": "name"})
    absent = [name for name in ("unit_code", "name") if name not in frame]
    if absent:
        raise InputError(
            f"{file}: columns are missing",
            [
                Finding(
                    "error",
                    f"units need a column {name}",
                    f"name it: columns={{{name!r}: '…'}}; the file has {headers}",
                    file,
                    field=name,
                )
                for name in absent
            ],
        )
    units = gpd.GeoDataFrame(
        _attributes(frame, log), geometry=_boundaries(frame, log), crs=frame.crs
    )
    if repair:
        units, changes = repair_boundaries(units)
        log_repairs(changes, log, units)
    log_boundaries(units, log)
    shapes = np.asarray(units.geometry.array)
    crossing = ~shapely.is_missing(shapes) & ~shapely.is_valid(shapes)
    if crossing.any():
        units = units.set_geometry(units.geometry.where(~crossing, None))
    if plan is not None:
        _check_number(units[~log.set_aside], plan, log)
    return log.finish(units, strict=strict)


def _attributes(frame: gpd.GeoDataFrame, log: IntakeLog) -> dict[str, Any]:
    """Give the canonical columns but the boundary."""

    def column(name: str) -> pd.Series:
        return frame[name] if name in frame else pd.Series(pd.NA, frame.index, dtype=object)

    table: dict[str, Any] = {"unit_code": _codes(frame["unit_code"], log)}
    table["name"] = read_text(frame["name"])
    log.at("unit.no_name", table["name"].isna(), field="name", values=table["unit_code"])
    table |= {name: read_text(column(name)) for name in _TEXTS}
    table["unit_kind"] = read_words(column("unit_kind"), _KINDS, field="unit_kind", log=log)
    table["unit_kind"] = table["unit_kind"].fillna(_kind_by_name(table["name"], table["unit_code"]))
    table["setting"] = read_words(column("setting"), _SETTINGS, field="setting", log=log)
    by_kind = np.where(table["unit_kind"] == "community", "urban", "rural")
    table["setting"] = table["setting"].fillna(pd.Series(by_kind, index=frame.index))
    for name, dimension in _COUNTS.items():
        counts = read_numbers(column(name), dimension=dimension, field=name, log=log)
        table[name] = counts.round().astype("Int64")
    for name in _FLAGS:
        flags = read_flags(column(name), field=name, log=log)
        table[name] = flags.fillna(value=False).astype(bool)
    for name, dimension in _FURTHER_NUMBERS.items():
        if name in frame:
            numbers = read_numbers(frame[name], dimension=dimension, field=name, log=log)
            table[name] = numbers.astype(float)
    for name in _FURTHER_FLAGS:
        if name in frame:  # blank is not known, not no
            table[name] = read_flags(frame[name], field=name, log=log)
    _check_counts(table, log)
    missing = int(table["residents"].isna().sum())
    if missing:
        log.whole("unit.no_residents", field="residents", count=missing)
    return table


def _codes(values: pd.Series, log: IntakeLog) -> pd.Series:
    """Give every unit its code; what has none gets one for now, what stands twice counts once."""
    read = read_codes(values)
    log_codes(read, values, log, "unit_code")
    codes = read["code"]
    invented = pd.Series([f"no-code-{row}" for row in log.rows], index=codes.index, dtype="string")
    log.at("code.missing", codes.isna(), field="unit_code", values=values, code=invented)
    codes = codes.fillna(invented)
    again = codes.duplicated().to_numpy()
    if again.any():
        first = pd.Series(log.rows, index=codes).groupby(level=0).first()
        log.at("code.repeated", again, field="unit_code", values=codes, rows=codes.map(first))
    return codes


def _kind_by_name(names: pd.Series, codes: pd.Series) -> pd.Series:
    """Tell villages from communities by their names, and where these do not say, by their codes."""
    urban = names.str.contains("社区|居委会|居民委员会", regex=True).fillna(value=False)
    told = urban | names.str.contains("村", regex=False).fillna(value=False)
    by_code = code_setting(codes)["unit_class"] == "community"
    community = urban | (~told & by_code.fillna(value=False))
    return pd.Series(np.where(community, "community", "village"), index=names.index)


def _check_counts(table: Mapping[str, Any], log: IntakeLog) -> None:
    """Report numbers of one unit that cannot all be right."""
    residents, households = table["residents"], table["households"]
    for name in ("elderly", "children", "disabled"):
        if name not in table:
            continue
        told = {"field": name, "values": table[name], "residents": residents}
        more = (table[name] > residents).fillna(value=False)
        log.at("unit.more_than_residents", more, **told)
    odd = (households > residents) | (residents > _MOST_PER_HOUSEHOLD * households)
    odd = (odd & (residents > 0)).fillna(value=False)
    log.at("unit.household_size", odd, field="households", values=households, residents=residents)


def _boundaries(frame: gpd.GeoDataFrame, log: IntakeLog) -> np.ndarray[Any, Any]:
    """Give polygons, and nothing where the file has none."""
    shapes = np.asarray(frame.geometry.array).copy()
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    log.at("unit.no_boundary", empty, field="geometry")
    wrong = ~empty & ~np.isin(shapely.get_type_id(shapes), (3, 6))
    kinds = [getattr(shape, "geom_type", "") for shape in shapes]
    log.at("unit.not_a_polygon", wrong, field="geometry", values=kinds)
    if (empty | wrong).all():
        raise InputError(
            f"{log.file}: no unit has a boundary; give the polygon layer", log.findings
        )
    beyond = check_crs(frame, log)
    if (empty | wrong | beyond).all():
        raise InputError(f"{log.file}: the boundaries cannot be in the stated CRS", log.findings)
    shapes[empty | wrong | beyond] = None
    return shapes


def _check_number(units: gpd.GeoDataFrame, plan: Plan, log: IntakeLog) -> None:
    """Compare the numbers of villages and communities with the plan's."""
    counted = units["unit_kind"].value_counts()
    for kind, expected in plan.expected_units.items():
        found = int(counted.get(kind, 0))
        if found != expected:
            log.whole("unit.number", field="unit_kind", value=found, expected=expected, kind=kind)
