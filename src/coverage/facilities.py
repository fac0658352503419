"""Reading facilities: an Excel ledger, a CSV, a point layer or an OSM extract → a checked table."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .coordinates import COORDINATE_COLUMNS, read_places
from .datums import canonical_datum, declared_datum
from .errors import InputError, MissingInputError
from .identity import log_codes, log_matches, match_units, read_codes
from .intake import PRIVATE, IntakeLog
from .layers import check_crs, read_layer
from .postgis import is_database_url
from .quantities import is_blank, read_flags, read_numbers, read_text, read_words
from .schema import canonical_name, rename_columns
from .sheets import EXCEL, TEXT, Sheet, read_sheets
from .terms import facility_kinds

__all__ = ["is_ledger", "read_facilities"]

_DIMENSIONS = {
    "floor_area_m2": "area",
    "activity_area_m2": "area",
    "hours_per_day": "hours",
    "built_year": "year",
}
_COUNTED = frozenset(
    ["floor_area_m2", "activity_area_m2", "residents", "registered", "households", "elderly"]
)
_VERBATIM = frozenset(["facility_id", "unit_code", "served_by"])
_TEXTS = ("township", "tenure", "served_by", "data_note")
_COLUMNS = (
    "facility_id",
    "name",
    "kind",
    "status",
    "official_covered",
    "unit_code",
    "unit_name",
    *COORDINATE_COLUMNS,
    *_TEXTS,
    *_DIMENSIONS,
)
_LONG_NUMBER = "[0-9]{11}"  # what can be a person's number at all
_STAMPS = ("示例数据", "illustrative sample")
_STATUS = {
    **dict.fromkeys(
        ["在用", "正常", "使用", "使用中", "运行", "运行中", "投用", "已投用", "开放", "正常使用"],
        "in_use",
    ),
    **dict.fromkeys(
        ["停用", "关闭", "闲置", "废弃", "撤销", "已停用", "已关闭", "未使用", "拆除"], "closed"
    ),
    **dict.fromkeys(["在建", "规划", "拟建", "待建", "筹建", "未投用"], "planned"),
    "共享": "shared",
    **{word: word for word in ("in_use", "closed", "planned", "shared", "unknown")},
}
_TOTAL_TOLERANCE = 1e-3  # what rounding of each row may add up to
_SAME_PLACE_M = 25.0  # nearer than the two ends of a small building
_OWN_UNIT_M = 1000.0  # farther from its village a facility is at the wrong place, or another's
_FAR_OUTSIDE_M = 30_000.0  # as far as one drives in half an hour; no neighbour's facility counts


def read_facilities(
    source: str | Path | gpd.GeoDataFrame,
    *,
    kind: str | None = None,
    datum: Any = None,
    columns: Mapping[str, str] | None = None,
    layer: str | None = None,
    units: gpd.GeoDataFrame | None = None,
    neighbours: gpd.GeoDataFrame | None = None,
    aliases: Mapping[str, str] | None = None,
    strict: bool = False,
) -> gpd.GeoDataFrame:
    """Read facilities from a ledger or a layer.

    Parameters
    ----------
    source : path, URL or GeoDataFrame
        An Excel ledger (``.xlsx``, ``.xls``: one sheet a kind, or a column 设施类型/业态; titles
        above the header, merged cells, notes and totals are understood), separated text (UTF-8 or
        GB18030), any point layer or PostGIS table, or an OSM extract (``.pbf``, extra ``pbf``).
    kind : str, optional
        The kind of every row, where no column or sheet name says it.
    datum : str, int or pyproj.CRS, optional
        What a ledger's coordinates are in: ``"wgs84"``, ``"cgcs2000"``, ``"gcj02"``, ``"bd09"``,
        ``"xian80"``, ``"beijing54"``, an EPSG code. Required unless a header or a title of the
        sheet declares it (e.g. ``经度（CGCS2000）``): an undeclared GCJ-02 is 500 m off.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}`` for headers that are not recognised.
    layer : str, optional
        Which layer of a vector file, where there are several.
    units : GeoDataFrame, optional
        As `read_units` gives them. With these, villages are recognised by name where the ledger
        has no code, and places are checked: far beyond the county, or far from their own village.
    neighbours : GeoDataFrame, optional
        Outlines of the counties around, for the same check.
    aliases : mapping of str to str, optional
        ``{name in the ledger: unit code}`` for names `match_units` cannot tell.
    strict : bool
        Raise on any error, instead of setting the row aside or leaving the value unknown.

    Returns
    -------
    GeoDataFrame
        One row a ledger row that can be used, index 0 … n-1: `facility_id`, `name`, `kind`,
        `unit_code` (of the unit that keeps it), `township`, `floor_area_m2`, `activity_area_m2`,
        `hours_per_day` (missing is unknown), `status` (in_use | closed | planned | shared |
        unknown), `tenure`, `served_by` (the host's `facility_id` on a row that only records sharing
        by agreement), `built_year`, `official_covered`, `data_note`, geometry (Point or missing).
        Ledgers give EPSG:4326, layers keep their CRS. ``intake_report(facilities)`` tells what was
        noticed; every row of the file is in the table or in the report.

    Raises
    ------
    InputError
        Where the file as a whole, or none of its rows, can be used; with `strict` wherever there
        is an error. Lists every fault: file, sheet, row, field, value, rule and cure.
    MissingInputError, NoCrsError
        Where there is no such file, or no CRS.

    Warns
    -----
    IntakeWarning
        Where rows were set aside or values left unknown.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> facilities = fc.read_facilities(fc.sample_county().facilities)
    >>> sorted(facilities.loc[facilities["kind"] == "comprehensive_service", "status"].unique())
    ['closed', 'in_use', 'shared']
    """
    if datum is not None:
        canonical_datum(datum)  # raises, naming what is known
    if kind is not None and kind not in facility_kinds():
        raise InputError(f"kind must be one of {', '.join(facility_kinds())}, not {kind!r}")
    if is_ledger(source):
        frame, log = _from_ledger(
            Path(str(source)), kind=kind, datum=datum, columns=columns, units=units
        )
    else:
        frame, log = _from_layer(source, columns=columns, layer=layer)
    return _checked(
        frame, log, kind=kind, units=units, neighbours=neighbours, aliases=aliases, strict=strict
    )


def is_ledger(source: Any) -> bool:
    """Say whether a source is a table of cells rather than a layer of features.

    Examples
    --------
    >>> is_ledger("ledger.xls"), is_ledger("villages.gpkg")
    (True, False)
    """
    return (
        isinstance(source, str | Path)
        and not is_database_url(source)
        and Path(source).suffix.lower() in EXCEL | TEXT
    )


# -- sources ---------------------------------------------------------------------------------------


def _from_layer(
    source: str | Path | gpd.GeoDataFrame,
    *,
    columns: Mapping[str, str] | None,
    layer: str | None,
) -> tuple[gpd.GeoDataFrame, IntakeLog]:
    """Read features; their geometry is where they are."""
    if isinstance(source, gpd.GeoDataFrame):
        if source.crs is None:
            raise InputError("facilities: the table has no CRS; set one with .set_crs")
        frame, file = source.reset_index(drop=True), "facilities"
        frame.attrs.clear()
    elif is_database_url(source):
        frame, file = read_layer(source, layer=layer), layer or "PostGIS"
    elif Path(source).name.lower().endswith((".pbf", ".osm", ".osm.gz", ".osm.bz2")):
        from .osm import read_osm_places  # noqa: PLC0415 - an optional dependency

        preset = files("facility_coverage.presets").joinpath("osm-kinds.toml").read_text("utf-8")
        frame, noticed = read_osm_places(Path(source), tomllib.loads(preset))
        log = IntakeLog.of(frame, Path(source).name)
        log.findings += noticed
        return frame, log
    else:
        frame, file = read_layer(source, layer=layer), Path(source).name
    log = IntakeLog.of(frame, file)
    if frame.geometry.name != "geometry":
        frame = frame.rename_geometry("geometry")
    frame = rename_columns(frame, columns, known=_COLUMNS, file=file, log=log)
    wrong = check_crs(frame, log)
    if wrong.any():
        frame = frame.set_geometry(frame.geometry.where(~wrong, None))
    return frame, log


def _from_ledger(
    path: Path,
    *,
    kind: str | None,
    datum: Any,
    columns: Mapping[str, str] | None,
    units: gpd.GeoDataFrame | None,
) -> tuple[gpd.GeoDataFrame, IntakeLog]:
    """Read the sheets of a ledger; the coordinates in them say where facilities are."""
    if not path.is_file():
        read_layer(path)  # raises, naming what is beside it
    own = {original: canonical for canonical, original in (columns or {}).items()}

    def meaning(header: Any) -> str | None:
        word = own.get(str(header).strip()) or canonical_name(header)
        return word if word in _COLUMNS or word in _COUNTED else None

    sheets = read_sheets(path, meaning=meaning, counted=_COUNTED, verbatim=_VERBATIM)
    tables = [sheet for sheet in sheets if len(sheet.table)]
    rows = [sheet.rows for sheet in tables]
    names = [np.full(len(sheet.table), sheet.name, dtype=object) for sheet in tables]
    log = IntakeLog(
        path.name,
        np.concatenate(rows) if rows else np.empty(0, np.int64),
        np.concatenate(names) if names else None,
    )
    for sheet in sheets:
        if not sheet.table.columns.size and sheet.above:
            log.whole("sheet.no_header", sheet=sheet.name)
    if not tables:
        raise InputError(f"{path.name}: there is no facility in it", log.findings)
    around = _around(units)
    parts, start = [], 0
    for sheet in tables:
        positions = np.arange(start, start + len(sheet.table))
        parts.append(_read_sheet(sheet, positions, log, kind, datum, columns, around))
        start += len(sheet.table)
    frame = pd.concat(parts, ignore_index=True)
    return gpd.GeoDataFrame(frame, geometry="geometry", crs="EPSG:4326"), log


def _around(units: gpd.GeoDataFrame | None) -> tuple[float, float, float, float] | None:
    if units is None:
        return None
    west, south, east, north = units.geometry.to_crs("EPSG:4326").total_bounds
    return float(west), float(south), float(east), float(north)


def _read_sheet(
    sheet: Sheet,
    positions: NDArray[np.int64],
    log: IntakeLog,
    kind: str | None,
    datum: Any,
    columns: Mapping[str, str] | None,
    around: tuple[float, float, float, float] | None,
) -> pd.DataFrame:
    """Give one sheet with canonical columns, its kind and its places."""
    for code, words in sheet.notes:
        log.whole(code, sheet=sheet.name, words=words)
    log.at("sheet.too_wide", positions[sheet.aside == "too_wide"])
    for what in ("note", "heading", "header_again", "numbering"):
        log.at(f"sheet.{what}", positions[sheet.aside == what], ignored=True)
    own = {c: o for c, o in (columns or {}).items() if o in sheet.table or len(sheet.table) == 0}
    headers = ", ".join(map(str, sheet.table.columns))
    table = rename_columns(
        sheet.table, own or columns, known=_COLUMNS, file=log.file, log=log, sheet=sheet.name
    )
    if "name" not in table and "unit_name" in table:
        table["name"] = table["unit_name"]
    placed = next(
        (
            pair
            for pair in (("longitude", "latitude"), ("x", "y"), ("coordinates",))
            if set(pair) <= set(table.columns)
        ),
        None,
    )
    lone = [name for name in COORDINATE_COLUMNS if name in table]
    absent = [] if "name" in table else ["name"]
    if placed is None and lone:
        other = {"longitude": "latitude", "latitude": "longitude", "x": "y", "y": "x"}
        absent.append(other[lone[0]])
    elif placed is None and not {"unit_code", "unit_name", "served_by"} & set(table.columns):
        absent += ["longitude", "latitude"]
    for name in absent:
        log.whole("sheet.no_column", sheet=sheet.name, field=name, name=name, headers=headers)
    told = datum if datum is not None else declared_datum(" ".join([*sheet.above, headers]))
    if placed is not None and told is None and not absent:
        log.whole("coordinate.no_datum", sheet=sheet.name, field=placed[0])
    refused = bool(absent) or (placed is not None and told is None)
    if refused:
        log.set_aside[positions] = True
    if "kind" not in table:
        table["kind"] = _kind_of_sheet(sheet.name) or kind
    _check_totals(table, sheet.aside, positions, log)
    log.at("sheet.sum", positions[sheet.aside == "sum"], ignored=True)
    stamped = [text for text in sheet.above if any(stamp in text for stamp in _STAMPS)]
    if "data_note" not in table and stamped:
        table["data_note"] = stamped[0]
    table["geometry"] = np.full(len(table), None, dtype=object)
    if placed is not None and not refused:
        part = log.part(sheet.name, slice(positions[0], positions[-1] + 1))
        table["geometry"] = read_places(table, datum=told, log=part, around=around)
    return table


def _check_totals(
    table: pd.DataFrame, aside: NDArray[Any], positions: NDArray[np.int64], log: IntakeLog
) -> None:
    """Compare totals with the sum of the rows they stand for."""
    sums = np.flatnonzero(aside == "sum")
    if not sums.size:
        return
    words = table.astype("string").fillna("").agg("".join, axis=1)
    partial = words.iloc[sums].str.contains("小\\s*计", regex=True).to_numpy()
    for name in (column for column in table.columns if column in _COUNTED):
        numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
        start = 0
        for row, is_partial in zip(sums.tolist(), partial.tolist(), strict=True):
            own = np.arange(start if is_partial else 0, row)
            own = own[(aside[own] == "")]
            start = row + 1
            if np.isnan(numbers[row]) or not own.size or np.isnan(numbers[own]).any():
                continue
            added = float(numbers[own].sum())
            if abs(added - numbers[row]) > _TOTAL_TOLERANCE * max(added, 1.0):
                at = {"field": name, "told": f"{numbers[row]:,g}", "added": f"{added:,g}"}
                log.at("sheet.total_differs", positions[[row]], **at)


# -- the kind of a facility ------------------------------------------------------------------------


@cache
def _kind_words() -> dict[str, str]:
    """Give the words ledgers use for each kind."""
    preset = files("facility_coverage.presets").joinpath("kind-words.toml").read_text("utf-8")
    words = {word: kind for kind, them in tomllib.loads(preset)["words"].items() for word in them}
    return {
        **words,
        **{label: kind for kind, label in facility_kinds().items()},
        **{label: kind for kind, label in facility_kinds("en").items()},
        **{kind: kind for kind in facility_kinds()},
    }


def _kind_of(text: Any) -> str | None:
    """Give the kind a cell's words stand for."""
    return _kind_words().get(str(text).strip())


def _kind_of_sheet(name: str) -> str | None:
    """Give the kind the name of a sheet speaks of: 卫生室台账2023 is of clinics."""
    exact = _kind_of(name)
    if exact is not None:
        return exact
    spoken = {kind for word, kind in _kind_words().items() if len(word) > 1 and word in name}
    return spoken.pop() if len(spoken) == 1 else None


# -- from columns to the checked table -------------------------------------------------------------


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name] if name in frame else pd.Series(pd.NA, index=frame.index, dtype="string")


def _checked(
    frame: gpd.GeoDataFrame,
    log: IntakeLog,
    *,
    kind: str | None,
    units: gpd.GeoDataFrame | None,
    neighbours: gpd.GeoDataFrame | None,
    aliases: Mapping[str, str] | None,
    strict: bool,
) -> gpd.GeoDataFrame:
    """Give the canonical table of the rows that can be used."""
    if len(frame) == 0:
        raise MissingInputError(f"{log.file}: there is no facility in it")
    if "kind" not in frame and kind is None:
        raise InputError(
            f"{log.file}: no column says the kind of facility; give kind='clinic' or "
            "columns={'kind': '…'}"
        )
    table: dict[str, Any] = {
        "facility_id": _identities(frame, log),
        "name": _without_persons(read_text(_column(frame, "name")), "name", log),
        "kind": _kinds(_column(frame, "kind"), kind, log),
        "unit_code": _units_of(frame, log, units, aliases),
        **{name: read_text(_column(frame, name)) for name in _TEXTS},
    }
    table["data_note"] = _without_persons(table["data_note"], "data_note", log)
    for name, dimension in _DIMENSIONS.items():
        values = frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
        table[name] = read_numbers(values, dimension=dimension, field=name, log=log)
    table["status"] = _statuses(_column(frame, "status"), table["served_by"], log)
    official = _column(frame, "official_covered")
    table["official_covered"] = read_flags(official, field="official_covered", log=log)
    table["geometry"] = _points(frame, log)
    facilities = gpd.GeoDataFrame(table, geometry="geometry", crs=frame.crs)
    _check_values(facilities, log)
    _check_places(facilities, log, units, neighbours)
    return log.finish(facilities, strict=strict)


def _identities(frame: pd.DataFrame, log: IntakeLog) -> pd.Series:
    """Give every row an identity of its own; doubles and blanks get one, with a report."""
    if "facility_id" not in frame:
        log.whole("facility.numbered", field="facility_id")
        return _numbered(frame.index)
    ids = read_text(frame["facility_id"])
    used = ~log.ignored
    blank = ids.isna()
    if blank.any():
        invented = _numbered(frame.index)
        log.at("facility.no_number", blank, field="facility_id", number=invented)
        ids = ids.where(~blank, invented)
    again = ids.duplicated() & used
    if again.any():
        new = ids + "#" + ids.groupby(ids).cumcount().astype("string")
        first = ids.map(pd.Series(log.rows, index=ids).groupby(level=0).first())
        told = {"field": "facility_id", "values": ids, "other": first, "number": new}
        log.at("facility.number_again", again, **told)
        ids = ids.where(~again, new)
    return ids


def _numbered(index: pd.Index) -> pd.Series:
    number = pd.Series(np.arange(1, len(index) + 1), index=index).astype("string")
    return "F" + number.str.zfill(5)


def _without_persons(texts: pd.Series, field: str, log: IntakeLog) -> pd.Series:
    """Take numbers of identity cards and telephones out of a text."""
    named = texts.str.contains(_LONG_NUMBER, regex=True).fillna(value=False)
    if named.any():
        named &= texts.str.contains(PRIVATE.pattern, regex=True).fillna(value=False)
    if not named.any():
        return texts
    log.at("personal.number", named, field=field)
    cleaned = texts.str.replace(PRIVATE.pattern, "", regex=True).str.strip()
    return texts.where(~named, cleaned)


def _kinds(values: pd.Series, kind: str | None, log: IntakeLog) -> pd.Series:
    number, words = pd.factorize(values)
    kinds = pd.array([*map(_kind_of, words), None], dtype="string")
    found = pd.Series(kinds[number], index=values.index)
    if kind is not None:
        found = found.where(values.notna(), kind)
    known = "、".join(facility_kinds().values())
    log.at("facility.kind", found.isna(), field="kind", values=values, words=known)
    return found


def _units_of(
    frame: pd.DataFrame,
    log: IntakeLog,
    units: gpd.GeoDataFrame | None,
    aliases: Mapping[str, str] | None,
) -> pd.Series:
    """Give the code of the unit that keeps each facility, by code or by name."""
    values = _column(frame, "unit_code")
    reference = None if units is None else units["unit_code"].tolist()
    codes = pd.Series(pd.NA, index=frame.index, dtype="string")
    if "unit_code" in frame:
        read = read_codes(values, reference=reference)
        codes = read["code"]
        log_codes(read, values, log, "unit_code")
    if units is None or not {"unit_code", "unit_name"} & set(frame.columns):
        return codes
    asked = pd.DataFrame(
        {
            "unit_code": codes,
            "unit_name": read_text(_column(frame, "unit_name")),
            "township": read_text(_column(frame, "township")),
        }
    )
    matched = match_units(asked, units, aliases=aliases)
    log_matches(matched, asked, log)
    # A code that is there stands, though no unit has it: the facility may be another county's.
    return codes.where(codes.notna(), matched["unit_code"])


def _statuses(values: pd.Series, served_by: pd.Series, log: IntakeLog) -> pd.Series:
    """Give in_use, closed, planned, shared or unknown."""
    found = read_words(values, _STATUS, field="status", log=log)
    blank = is_blank(values)
    if (untold := blank & ~log.ignored).any():
        log.whole("facility.no_status", field="status", count=int(untold.sum()))
    found = found.mask(found.isna() & ~blank, "unknown")
    shared = found.isna() & served_by.notna()
    return found.mask(shared, "shared").fillna("in_use").astype(str)


def _points(frame: gpd.GeoDataFrame, log: IntakeLog) -> NDArray[np.object_]:
    """Give a point or nothing for every row; outlines are taken at their middle."""
    shapes = np.asarray(frame.geometry.array).copy()
    absent = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    x, y = shapely.get_x(shapes), shapely.get_y(shapes)
    point = shapely.get_type_id(shapes) == 0
    absent |= point & ~(np.isfinite(x) & np.isfinite(y))
    shapes[absent] = None
    areas = ~absent & ~point
    if areas.any():
        metric = frame.geometry[areas].to_crs(frame.estimate_utm_crs()).centroid.to_crs(frame.crs)
        shapes[areas] = np.asarray(metric.array)
        log.at("facility.outline", areas, field="geometry")
    return shapes


# -- checks ----------------------------------------------------------------------------------------


def _check_values(facilities: gpd.GeoDataFrame, log: IntakeLog) -> None:
    names = facilities["name"]
    nowhere = facilities.geometry.isna() & (facilities["status"] != "shared")
    log.at("facility.no_place", nowhere, field="geometry", values=names)
    log.at("facility.closed", facilities["status"] == "closed", field="status", values=names)
    hosts = facilities["served_by"]
    if hosts.notna().any():
        unknown = hosts.notna() & ~hosts.isin(facilities["facility_id"])
        log.at("facility.unknown_host", unknown, field="served_by", values=hosts)
    area, active = facilities["floor_area_m2"], facilities["activity_area_m2"]
    told = {"field": "activity_area_m2", "values": active, "area": area}
    log.at("facility.activity_area", active > area, **told)


def _check_places(
    facilities: gpd.GeoDataFrame,
    log: IntakeLog,
    units: gpd.GeoDataFrame | None,
    neighbours: gpd.GeoDataFrame | None,
) -> None:
    """Report doubles, places beyond the county, and places far from the village that keeps them."""
    used = ~(log.set_aside | log.ignored)
    shapes = np.asarray(facilities.geometry.array)
    placed = np.flatnonzero(~shapely.is_missing(shapes) & used)
    if not placed.size:
        return
    x, y = shapely.get_coordinates(shapes[placed]).T
    metric = _metric_crs(x, y, facilities.crs)
    way = pyproj.Transformer.from_crs(facilities.crs, metric, always_xy=True)
    xy = np.column_stack(way.transform(x, y))
    _check_doubles(facilities, placed, xy, log)
    if units is None:
        return
    points = shapely.points(xy)
    county = units.geometry[units.geometry.notna()].to_crs(metric)
    tree = shapely.STRtree(np.asarray(county.array))
    which, _ = tree.query(points, predicate="intersects")
    outside = np.ones(placed.size, dtype=bool)
    outside[which] = False
    far = np.flatnonzero(outside)
    if far.size:
        (at, _), apart = tree.query_nearest(points[far], return_distance=True, all_matches=False)
        beyond_m = np.zeros(len(facilities))
        beyond_m[placed[far[at]]] = apart
        near = beyond_m[placed[far]] <= _FAR_OUTSIDE_M
        if neighbours is not None:
            around = shapely.STRtree(np.asarray(neighbours.geometry.to_crs(metric).array))
            near = np.zeros(far.size, dtype=bool)
            near[around.query(points[far], predicate="intersects")[0]] = True
        told = {
            "field": "geometry",
            "values": facilities["name"],
            "km": lambda rows: [f"{each / 1000:.1f}" for each in beyond_m[rows]],
        }
        log.at("place.outside", placed[far[near]], **told)
        log.at("place.far", placed[far[~near]], **told)
    _check_own_unit(facilities, placed, points, county, units, log)


def _metric_crs(x: NDArray[np.float64], y: NDArray[np.float64], crs: pyproj.CRS) -> pyproj.CRS:
    """Give a CRS in metres for points: their own, or the UTM zone of the middle of their bounds."""
    if not crs.is_geographic and crs.axis_info[0].unit_name in {"metre", "meter"}:
        return crs
    corners = gpd.GeoSeries.from_xy([x.min(), x.max()], [y.min(), y.max()], crs=crs)
    return corners.estimate_utm_crs()


def _check_doubles(
    facilities: gpd.GeoDataFrame, placed: NDArray[np.int64], xy: NDArray[Any], log: IntakeLog
) -> None:
    """Report facilities of one kind at one place."""
    using = (facilities["status"] == "in_use").to_numpy()[placed]
    placed, xy = placed[using], xy[using]
    kind, _ = pd.factorize(facilities["kind"].iloc[placed])
    first_of = np.full(placed.size, -1)
    for number in range(kind.max(initial=-1) + 1):
        own = np.flatnonzero(kind == number)
        first_of[own] = _first_near(xy[own], own)
    double = np.flatnonzero(first_of >= 0)
    row = np.full(len(facilities), -1)
    row[placed[double]] = log.rows[placed[first_of[double]]]
    told = {"field": "geometry", "values": facilities["name"], "other": row}
    log.at("facility.double", placed[double], **told)


def _first_near(xy: NDArray[np.float64], names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the name of the first earlier point within `_SAME_PLACE_M` of each, or -1."""
    # Points at the very same spot are one for the search: of many, the pairs would be too many.
    spots = np.round(xy, 1)
    spot, _ = pd.factorize(spots[:, 0] + 1j * spots[:, 1])
    leaders = np.flatnonzero(~pd.Series(spot).duplicated().to_numpy())
    first = np.where(np.isin(np.arange(len(xy)), leaders), len(xy), leaders[spot])
    pairs = cKDTree(xy[leaders]).query_pairs(_SAME_PLACE_M, output_type="ndarray")
    if len(pairs):
        pairs = np.sort(pairs, axis=1)
        np.minimum.at(first, leaders[pairs[:, 1]], leaders[pairs[:, 0]])
    return np.where(first < len(xy), names[np.minimum(first, len(xy) - 1)], -1)


def _check_own_unit(
    facilities: gpd.GeoDataFrame,
    placed: NDArray[np.int64],
    points: NDArray[Any],
    county: gpd.GeoSeries,
    units: gpd.GeoDataFrame,
    log: IntakeLog,
) -> None:
    """Report facilities that lie far from the village that keeps them."""
    position = pd.Series(np.arange(len(county)), index=units["unit_code"].loc[county.index])
    position = position[~position.index.duplicated()]
    own = facilities["unit_code"].iloc[placed].map(position).to_numpy(dtype=float, na_value=np.nan)
    kept = np.flatnonzero(~np.isnan(own))
    if not kept.size:
        return
    apart_m = np.zeros(len(facilities))
    apart_m[placed[kept]] = shapely.distance(
        points[kept], np.asarray(county.array)[own[kept].astype(int)]
    )
    log.at(
        "place.other_unit",
        apart_m > _OWN_UNIT_M,
        field="unit_code",
        values=facilities["name"],
        km=lambda rows: [f"{each / 1000:.1f}" for each in apart_m[rows]],
    )
