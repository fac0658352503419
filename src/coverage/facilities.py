"""Reading facilities: an Excel ledger, a CSV, a point layer or an OSM extract → a checked table."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from .datums import DATUMS, declared_datum, to_wgs84
from .errors import Finding, InputError, MissingInputError
from .schema import canonical_name, found_at, numbers, read_layer, rename_columns, with_findings
from .terms import labels

__all__ = ["read_facilities"]

_NUMBERS = ("floor_area_m2", "activity_area_m2", "hours_per_day", "built_year")
_TEXTS = ("unit_code", "township", "tenure", "served_by", "data_note")
_COLUMNS = (
    "facility_id",
    "name",
    "kind",
    "status",
    "official_covered",
    "longitude",
    "latitude",
    *_TEXTS,
    *_NUMBERS,
)
_HEADER_ROWS = 12  # a header stands among the first rows, below titles and notes
_STATUS = {
    "在用": "in_use",
    "正常": "in_use",
    "使用": "in_use",
    "in_use": "in_use",
    "停用": "closed",
    "关闭": "closed",
    "closed": "closed",
    "在建": "planned",
    "规划": "planned",
    "planned": "planned",
    "共享": "shared",
    "shared": "shared",
}
_SHEET_KINDS = {
    "综合服务设施": "comprehensive_service",
    "健身场地": "fitness_ground",
    "日间照料": "day_care",
    "卫生室": "clinic",
    "文化中心": "culture_centre",
    "文明实践站": "civilization_station",
    "警务室": "police_room",
    "避难场所": "emergency_shelter",
    "菜市场": "market",
    "早餐店": "breakfast",
}
_STAMPS = ("示例数据", "illustrative sample")


def read_facilities(
    source: str | Path | gpd.GeoDataFrame,
    *,
    kind: str | None = None,
    datum: str | None = None,
    columns: Mapping[str, str] | None = None,
    layer: str | None = None,
) -> gpd.GeoDataFrame:
    """Read facilities from a ledger or a layer.

    Parameters
    ----------
    source : path or GeoDataFrame
        An Excel ledger (``.xlsx``: one sheet a kind, or a column 设施类型/业态; titles above the
        header are understood), a CSV, any point layer, or an OSM extract (``.pbf``, extra ``pbf``).
    kind : str, optional
        The kind of every row, where no column or sheet name says it.
    datum : {"wgs84", "cgcs2000", "gcj02", "bd09"}, optional
        What a ledger's longitudes and latitudes are in; required unless a header or a title of the
        sheet declares it (e.g. ``经度（CGCS2000）``): an undeclared GCJ-02 is 500 m off.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}`` for headers that are not recognised.
    layer : str, optional
        Which layer of a vector file, where there are several.

    Returns
    -------
    GeoDataFrame
        One row a ledger row, index 0 … n-1: `facility_id`, `name`, `kind`, `unit_code` (of the
        unit that keeps it), `township`, `floor_area_m2`, `activity_area_m2`, `hours_per_day`
        (missing is unknown), `status` (in_use | closed | planned | shared), `tenure`, `served_by`
        (the host's `facility_id` on a row that only records sharing by agreement), `built_year`,
        `official_covered`, `data_note`, geometry (Point or missing). Ledgers give EPSG:4326,
        layers keep their CRS. ``intake_report(facilities)`` tells what was noticed.

    Raises
    ------
    InputError
        With every fault at once: file, sheet, row, field, value, rule and cure.
    MissingInputError, NoCrsError
        Where there is no such file, or no CRS.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> facilities = fc.read_facilities(fc.sample_county().facilities)
    >>> sorted(facilities.loc[facilities["kind"] == "comprehensive_service", "status"].unique())
    ['closed', 'in_use', 'shared']
    """
    if datum is not None and datum not in DATUMS:
        raise InputError(f"datum must be one of {', '.join(DATUMS)}, not {datum!r}")
    if isinstance(source, gpd.GeoDataFrame):
        frame, places = _with_places(source.reset_index(drop=True), "facilities")
        if frame.crs is None:
            raise InputError("facilities: the table has no CRS; set one with .set_crs")
        return _checked(frame, places, kind=kind, file="facilities")
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in {".xlsx", ".xlsm", ".csv", ".txt"}:
        if not path.is_file():
            read_layer(path)  # raises, naming what is beside it
        frame, places = _read_ledger(path, kind=kind, datum=datum, columns=columns)
    elif path.name.lower().endswith((".pbf", ".osm", ".osm.gz", ".osm.bz2")):
        from .osm import read_osm_places  # noqa: PLC0415 - an optional dependency

        preset = files("facility_coverage.presets").joinpath("osm-kinds.toml").read_text("utf-8")
        read, noticed = read_osm_places(path, tomllib.loads(preset))
        frame, places = _with_places(read, path.name)
        return _checked(frame, places, kind=kind, file=path.name, noticed=noticed)
    else:
        read = read_layer(path, layer=layer)
        frame, places = _with_places(
            rename_columns(read, columns, known=_COLUMNS, file=path.name), path.name
        )
    return _checked(frame, places, kind=kind, file=path.name)


def _with_places(
    frame: gpd.GeoDataFrame, file: str
) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    return frame, [{"file": file, "row": row} for row in range(1, len(frame) + 1)]


def _sheets(path: Path) -> dict[str, pd.DataFrame]:
    """Give every sheet as raw cells; a CSV is one sheet without a name."""
    if path.suffix.lower() in {".csv", ".txt"}:
        for encoding in ("utf-8-sig", "gb18030"):
            try:
                text = pd.read_csv(
                    path, header=None, dtype=object, sep=None, engine="python", encoding=encoding
                )
            except UnicodeDecodeError:
                continue
            except (pd.errors.ParserError, pd.errors.EmptyDataError) as fault:
                raise InputError(
                    f"{path}: not a table of comma- or tab-separated values ({fault})"
                ) from None
            return {"": text}
        raise InputError(f"{path}: neither UTF-8 nor GB18030 text; save it as UTF-8")
    try:
        return pd.read_excel(path, sheet_name=None, header=None, dtype=object, engine="openpyxl")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as fault:
        raise InputError(
            f"{path}: not an Excel workbook (.xlsx) that can be read ({fault})"
        ) from None


def _header_row(cells: pd.DataFrame) -> int | None:
    """Give the row with most recognised headers among the first ones, or None."""
    scores = [
        sum(canonical_name(value) is not None for value in row if isinstance(value, str))
        for row in cells.head(_HEADER_ROWS).itertuples(index=False)
    ]
    return int(np.argmax(scores)) if scores and max(scores) >= 2 else None  # noqa: PLR2004


def _kind_of(text: Any) -> str | None:
    """Give the kind a sheet's or row's words stand for."""
    word = str(text).strip()
    by_label = {label: slug for slug, label in labels("kind").items()}
    known = set(by_label.values())
    return _SHEET_KINDS.get(word) or by_label.get(word) or (word if word in known else None)


def _read_ledger(
    path: Path, *, kind: str | None, datum: str | None, columns: Mapping[str, str] | None
) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    tables, places, faults = [], [], []
    for sheet, cells in _sheets(path).items():
        header = _header_row(cells)
        if header is None:
            faults.append(
                Finding(
                    "error",
                    "a sheet needs a row of headers (设施名称, 经度, 纬度, …)",
                    "add one, or remove the sheet",
                    path.name,
                    sheet,
                )
            )
            continue
        names = [str(value).strip() for value in cells.iloc[header]]
        body = cells.iloc[header + 1 :].set_axis(names, axis=1)
        body = body[body.notna().any(axis=1)]
        above = " ".join(
            str(v) for v in cells.iloc[:header].to_numpy().ravel() if isinstance(v, str)
        )
        table = pd.DataFrame(
            rename_columns(
                gpd.GeoDataFrame(body), columns, known=(*_COLUMNS, "unit_name"), file=path.name
            )
        )
        told = datum or declared_datum(" ".join([above, *names]))
        absent = [name for name in ("name", "longitude", "latitude") if name not in table]
        faults += [
            Finding(
                "error",
                f"a ledger needs a column {name}",
                f"name it: columns={{{name!r}: '…'}}; the sheet has {', '.join(names)}",
                path.name,
                sheet,
                field=name,
            )
            for name in absent
        ]
        if told is None and not absent:
            faults.append(
                Finding(
                    "error",
                    "coordinates need a datum: GCJ-02 or BD-09 taken for WGS-84 is 500-1,400 m off",
                    "say it with datum='cgcs2000' (or 'wgs84', 'gcj02', 'bd09'), or in the header",
                    path.name,
                    sheet,
                    field="longitude",
                )
            )
        if absent or told is None:
            continue
        rows = [
            {"file": path.name, "sheet": sheet, "row": int(number) + 1} for number in table.index
        ]
        if "kind" not in table:
            table["kind"] = _kind_of(sheet) or kind
        if "data_note" not in table and any(stamp in above for stamp in _STAMPS):
            table["data_note"] = next(
                str(v)
                for v in cells.iloc[:header].to_numpy().ravel()
                if any(s in str(v) for s in _STAMPS)
            )
        table["geometry"] = _points(table, told, rows, faults)
        tables.append(table.reset_index(drop=True))
        places += rows
    if faults:
        raise InputError(f"{path.name}: {len(faults)} faults in the ledger", faults)
    if not places:
        raise InputError(f"{path.name}: there is no facility in it")
    joined = pd.concat(tables, ignore_index=True)
    return gpd.GeoDataFrame(joined, geometry="geometry", crs="EPSG:4326"), places


def _points(
    table: pd.DataFrame, datum: str, rows: list[dict[str, Any]], faults: list[Finding]
) -> np.ndarray:
    """Give WGS-84 points from a ledger's longitudes and latitudes; blank stays missing."""
    lon = numbers(table["longitude"], field="longitude", places=rows, faults=faults)
    lat = numbers(table["latitude"], field="latitude", places=rows, faults=faults)
    for values, other, field, most in (
        (lon, lat, "longitude", 180.0),
        (lat, lon, "latitude", 90.0),
    ):
        faults += found_at(
            (values > most),
            rows,
            rule=f"a {field} in degrees is at most {most:g}",
            cure="are longitude and latitude swapped, or are these metres?",
            field=field,
            values=values.to_numpy(dtype=object),
        )
        faults += found_at(
            (values.isna() & other.notna()),
            rows,
            rule="a place needs both coordinates",
            cure="fill in the other one",
            field=field,
        )
    known = (lon.notna() & lat.notna()).to_numpy()
    points = np.full(len(table), None, dtype=object)
    converted = to_wgs84(gpd.GeoSeries.from_xy(lon[known], lat[known]), datum=datum)
    points[known] = np.asarray(converted.array)
    return points


def _checked(
    frame: gpd.GeoDataFrame,
    places: list[dict[str, Any]],
    *,
    kind: str | None,
    file: str,
    noticed: Sequence[Finding] = (),
) -> gpd.GeoDataFrame:
    """Give the canonical table, or every fault at once."""
    faults: list[Finding] = []
    findings: list[Finding] = [*noticed]
    count = len(frame)
    if count == 0:
        raise MissingInputError(f"{file}: there is no facility in it")
    table: dict[str, Any] = {}
    table["facility_id"] = _identities(frame, places, faults, findings, file)
    table["name"] = (
        frame["name"].astype("string").str.strip()
        if "name" in frame
        else pd.array([pd.NA] * count, "string")
    )
    table["kind"] = _kinds(frame, kind, places, faults)
    for name in _TEXTS:
        column = (
            frame[name].astype("string").str.strip()
            if name in frame
            else pd.Series([pd.NA] * count, dtype="string")
        )
        table[name] = column.where(column != "", pd.NA)
    for name in _NUMBERS:
        table[name] = (
            numbers(frame[name], field=name, places=places, faults=faults)
            if name in frame
            else np.full(count, np.nan)
        )
    table["status"] = _statuses(frame, table["served_by"], places, faults, findings, file)
    table["official_covered"] = _official(frame, places, faults)
    if faults:
        raise InputError(f"{file}: {len(faults)} faults in the facilities", faults)

    shapes = np.asarray(frame.geometry.array).copy()
    absent = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    shapes[absent] = None
    areas = ~absent & (shapely.get_type_id(shapes) != 0)
    if areas.any():
        metric = frame.geometry.to_crs(frame.estimate_utm_crs()).centroid.to_crs(frame.crs)
        shapes[areas] = np.asarray(metric.array)[areas]
        findings.append(
            Finding(
                "note",
                "a facility is a point",
                f"{int(areas.sum())} outlines were taken at their middle",
                file,
                field="geometry",
            )
        )
    nowhere = absent & (table["status"] != "shared").to_numpy()
    findings += found_at(
        nowhere,
        places,
        rule="a facility without coordinates cannot be reached",
        cure="counts on the ledger basis only; fill in its coordinates",
        field="longitude",
        values=table["name"].to_numpy(dtype=object),
        severity="warning",
    )
    hosts = set(table["facility_id"])
    for position in np.flatnonzero(table["served_by"].notna().to_numpy()):
        host = table["served_by"].iloc[position]
        if host not in hosts:
            findings.append(
                Finding(
                    "warning",
                    "served_by must name a facility of this ledger",
                    "the agreement counts as data missing; correct the number",
                    field="served_by",
                    value=str(host),
                    **places[position],
                )
            )
    return with_findings(gpd.GeoDataFrame(table, geometry=shapes, crs=frame.crs), findings)


def _identities(
    frame: gpd.GeoDataFrame,
    places: list[dict[str, Any]],
    faults: list[Finding],
    findings: list[Finding],
    file: str,
) -> pd.Series:
    if "facility_id" not in frame:
        findings.append(
            Finding(
                "note",
                "facilities need an identity",
                "numbered F00001 … in the order of the file",
                file,
            )
        )
        return pd.Series([f"F{number:05d}" for number in range(1, len(frame) + 1)], dtype="string")
    ids = frame["facility_id"].astype("string").str.strip()
    faults += found_at(
        (ids.isna() | (ids == "")),
        places,
        rule="every facility needs a number",
        cure="fill it in",
        field="facility_id",
    )
    faults += found_at(
        (ids.duplicated(keep=False) & ids.notna()),
        places,
        rule="a facility's number stands once",
        cure="number it anew, or remove the double",
        field="facility_id",
        values=ids.to_numpy(dtype=object),
    )
    return ids


def _kinds(
    frame: gpd.GeoDataFrame, kind: str | None, places: list[dict[str, Any]], faults: list[Finding]
) -> pd.Series:
    if "kind" not in frame:
        if kind is None:
            raise InputError(
                f"{places[0]['file']}: no column says the kind of facility; give kind='clinic' or "
                "columns={'kind': '…'}"
            )
        return pd.Series([kind] * len(frame))
    words = pd.unique(frame["kind"].dropna())
    found = frame["kind"].map({word: _kind_of(word) for word in words})
    if kind is not None:
        found = found.where(frame["kind"].notna(), kind)
    faults += found_at(
        found.isna(),
        places,
        rule="the kind must be known: " + "、".join(labels("kind").values()),
        cure="use one of these words or its English slug",
        field="kind",
        values=frame["kind"].to_numpy(dtype=object),
    )
    return found


def _statuses(
    frame: gpd.GeoDataFrame,
    served_by: pd.Series,
    places: list[dict[str, Any]],
    faults: list[Finding],
    findings: list[Finding],
    file: str,
) -> pd.Series:
    if "status" not in frame:
        findings.append(
            Finding(
                "note",
                "nothing says which facilities are in use",
                "all are taken to be in use",
                file,
                field="status",
            )
        )
        return pd.Series(np.where(served_by.notna(), "shared", "in_use"))
    text = frame["status"].astype("string").str.strip()
    found = text.map(_STATUS)
    faults += found_at(
        (found.isna() & text.notna()),
        places,
        rule=f"status must be one of {', '.join(_STATUS)}",
        cure="correct it",
        field="status",
        values=text.to_numpy(dtype=object),
    )
    blank = int(text.isna().sum())
    if blank:
        findings.append(
            Finding(
                "note",
                "a blank status says nothing",
                f"{blank} facilities are taken to be in use",
                file,
                field="status",
            )
        )
    return found.where(text.notna(), "in_use").astype(str)


def _official(
    frame: gpd.GeoDataFrame, places: list[dict[str, Any]], faults: list[Finding]
) -> pd.Series:
    """Read the official 是否覆盖 flag, where the ledger carries one."""
    if "official_covered" not in frame:
        return pd.Series([pd.NA] * len(frame), dtype="boolean")
    text = frame["official_covered"].astype("string").str.strip().str.lower()
    words = {
        "是": True,
        "否": False,
        "1": True,
        "0": False,
        "true": True,
        "false": False,
        "yes": True,
        "no": False,
    }
    found = text.map(words).astype("boolean")
    faults += found_at(
        (found.isna() & text.notna()),
        places,
        rule="must be 是 or 否",
        cure="correct it, or leave it blank",
        field="official_covered",
        values=text.to_numpy(dtype=object),
    )
    return found
