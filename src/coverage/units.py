"""Reading villages and communities: a polygon layer → a checked table of units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from .errors import Finding, InputError
from .schema import found_at, numbers, read_layer, rename_columns, with_findings

__all__ = ["read_units"]

_COUNTS = (
    "residents",
    "registered",
    "households",
    "elderly",
    "children",
    "old_estate_households",
    "old_estate_built",
)
_FLAGS = ("resettlement", "hollow_village", "merger_class")
_TEXTS = ("township", "township_code", "data_note")
_COLUMNS = ("unit_code", "name", "unit_kind", "setting", *_TEXTS, *_COUNTS, *_FLAGS)
_KINDS = {
    "village": "village",
    "行政村": "village",
    "村": "village",
    "村委会": "village",
    "community": "community",
    "社区": "community",
    "居委会": "community",
}
_SETTINGS = {
    "rural": "rural",
    "农村": "rural",
    "乡村": "rural",
    "urban": "urban",
    "城市": "urban",
    "城镇": "urban",
}
_YES = frozenset({"1", "1.0", "true", "yes", "y", "是", "√"})


def read_units(
    source: str | Path | gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> gpd.GeoDataFrame:
    """Read villages and communities.

    Parameters
    ----------
    source : path or GeoDataFrame
        Polygons with a code and a name each. Chinese and English headers are recognised.
    layer : str, optional
        Which layer of the file, where there are several.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}`` for headers that are not recognised.

    Returns
    -------
    GeoDataFrame
        One row a unit, index 0 … n-1, in the CRS of the file: `unit_code`, `name`, `township`,
        `township_code`, `unit_kind` (village | community), `setting` (rural | urban),
        `residents`, `registered`, `households`, `elderly`, `children` (nullable integers: missing
        is unknown, never 0), `resettlement`, `hollow_village`, `merger_class` (bool),
        `old_estate_households`, `old_estate_built`, `data_note`, geometry.
        ``intake_report(units)`` tells what was noticed.

    Raises
    ------
    InputError
        With every fault at once: file, row, field, value, rule and cure.
    MissingInputError, NoCrsError
        Where there is no such file or layer, or no CRS.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> units = fc.read_units(fc.sample_county().units)
    >>> units["unit_kind"].value_counts().to_dict(), int(units["residents"].sum())
    ({'village': 199, 'community': 14}, 287986)
    """
    if isinstance(source, gpd.GeoDataFrame):
        if source.crs is None:
            read = InputError("units: the table has no CRS; set one with .set_crs")
            raise read
        frame, file = source.reset_index(drop=True), "units"
    else:
        path = Path(source)
        frame, file = read_layer(path, layer=layer), path.name
    headers = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
    frame = rename_columns(frame, columns, known=(*_COLUMNS, "unit_name"), file=file)
    if "name" not in frame and "unit_name" in frame:
        frame = frame.rename(columns={"unit_name": "name"})
    places = [{"file": file, "row": row} for row in range(1, len(frame) + 1)]
    faults: list[Finding] = []
    findings: list[Finding] = []
    faults += [
        Finding(
            "error",
            f"units need a column {name}",
            f"name it: columns={{{name!r}: '…'}}; the file has {headers}",
            file,
            field=name,
        )
        for name in ("unit_code", "name")
        if name not in frame
    ]
    if faults:
        raise InputError(f"{file}: columns are missing", faults)

    table: dict[str, Any] = {"unit_code": _codes(frame["unit_code"], places, faults)}
    table["name"] = frame["name"].astype("string").str.strip()
    for name in _TEXTS:
        table[name] = (
            frame[name].astype("string")
            if name in frame
            else pd.array([pd.NA] * len(frame), "string")
        )
    table["unit_kind"] = _words(
        frame, "unit_kind", _KINDS, _kind_by_name(table["name"]), places, faults
    )
    by_kind = pd.Series(np.where(table["unit_kind"] == "community", "urban", "rural"))
    table["setting"] = _words(frame, "setting", _SETTINGS, by_kind, places, faults)
    for name in _COUNTS:
        if name in frame:
            counts = numbers(frame[name], field=name, places=places, faults=faults)
            table[name] = counts.round().astype("Int64")
        else:
            table[name] = pd.array([pd.NA] * len(frame), "Int64")
    for name in _FLAGS:
        text = frame[name].astype(str).str.strip().str.lower() if name in frame else None
        table[name] = text.isin(_YES) if text is not None else np.zeros(len(frame), dtype=bool)
    _check_geometry(frame, places, faults, findings)
    if faults:
        raise InputError(f"{file}: {len(faults)} faults in the units", faults)
    missing = int(pd.isna(table["residents"]).sum())
    if missing:
        findings.append(
            Finding(
                "warning",
                "residents weigh every rate by people",
                f"{missing} units have no number of residents: their people count as unknown",
                file,
                field="residents",
            )
        )
    units = gpd.GeoDataFrame(table, geometry=np.asarray(frame.geometry.array), crs=frame.crs)
    return with_findings(units, findings)


def _codes(values: pd.Series, places: list[dict[str, Any]], faults: list[Finding]) -> pd.Series:
    """Read codes as text; each must be there and stand once."""
    whole = pd.api.types.is_integer_dtype(values)
    if pd.api.types.is_float_dtype(values):
        present = values.dropna()
        whole = bool((present == present.round()).all() and (present.abs() < 2**53).all())
        values = values.astype("Int64") if whole else values
    codes = values.astype("string").str.strip()
    faults += found_at(
        (codes.isna() | (codes == "")),
        places,
        rule="every unit needs a code",
        cure="fill it in",
        field="unit_code",
    )
    repeated = codes.duplicated(keep=False) & codes.notna()
    for position in np.flatnonzero(repeated.to_numpy(dtype=bool)):
        others = [
            p["row"]
            for i, p in enumerate(places)
            if codes.iloc[i] == codes.iloc[position] and i != position
        ]
        faults.append(
            Finding(
                "error",
                "a code stands for one unit",
                f"also in row {', '.join(map(str, others))}: correct the code or merge the parts",
                field="unit_code",
                value=str(codes.iloc[position]),
                **places[position],
            )
        )
    return codes


def _kind_by_name(names: pd.Series) -> pd.Series:
    urban = names.str.contains("社区|居委会|居民委员会", regex=True).fillna(value=False)
    return pd.Series(np.where(urban, "community", "village"))


def _words(
    frame: gpd.GeoDataFrame,
    field: str,
    words: Mapping[str, str],
    default: pd.Series,
    places: list[dict[str, Any]],
    faults: list[Finding],
) -> pd.Series:
    """Read a column of fixed words; where it is absent or blank the default stands."""
    if field not in frame:
        return default
    text = frame[field].astype("string").str.strip().str.lower()
    found = text.map(dict(words))
    faults += found_at(
        (text.notna() & found.isna()),
        places,
        rule=f"must be one of {', '.join(words)}",
        cure="correct it, or leave the column out",
        field=field,
        values=text.to_numpy(dtype=object),
    )
    return found.where(found.notna(), default)


def _check_geometry(
    frame: gpd.GeoDataFrame,
    places: list[dict[str, Any]],
    faults: list[Finding],
    findings: list[Finding],
) -> None:
    shapes = np.asarray(frame.geometry.array)
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    wrong = ~empty & ~np.isin(shapely.get_type_id(shapes), (3, 6))
    faults += found_at(
        empty, places, rule="every unit needs a boundary", cure="draw it", field="geometry"
    )
    faults += found_at(
        wrong,
        places,
        rule="boundaries are polygons",
        cure="give the polygon layer",
        field="geometry",
        values=[getattr(shape, "geom_type", "") for shape in shapes],
    )
    invalid = ~empty & ~wrong & ~shapely.is_valid(shapes)
    for position in np.flatnonzero(invalid):
        faults.append(
            Finding(
                "error",
                "boundaries must not cross themselves",
                "mend the ring (e.g. with make_valid) where the file was made: "
                + shapely.is_valid_reason(shapes[position]),
                field="geometry",
                **places[position],
            )
        )
    if not faults and not shapely.coverage_is_valid(shapes):
        findings.append(
            Finding(
                "warning",
                "boundaries should neither overlap nor leave gaps",
                "used as they are; areas of neighbours may count twice or not at all",
                places[0]["file"],
                field="geometry",
            )
        )
