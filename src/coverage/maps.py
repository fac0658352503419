"""The coverage map: one HTML file that opens with no network at all.

The county's own roads are the base map, so there are no tiles.
"""

from __future__ import annotations

import datetime as dt
import html
import math
from itertools import islice, product
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import folium
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pypinyin import Style, lazy_pinyin, pinyin

from .errors import InputError, NoCrsError
from .page import OfflineMap
from .terms import LANGUAGES, label, labels

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from .assessment import CoverageReport

__all__ = ["coverage_map", "road_class", "shown_states", "source_line"]

WGS84 = "EPSG:4326"

_DEGREE_STEPS = 1e5  # coordinates are kept to 5 decimals: about one metre
_BORDER_TOLERANCE_M = 12.0
_ROAD_TOLERANCE_M = 8.0
_CIRCLE_TOLERANCE_M = 15.0
_LABEL_TOLERANCE_M = 100.0
_NEAR_MINUTES = 5.0  # a verdict at most this far over its limit is shown amber, not red
_RING_POINTS = 3
_READINGS = 6  # of a name with characters that are read in several ways

# What a unit or hamlet is shown as; the page stores the position in this list, not the word.
_STATES = ("covered", "shared", "near", "uncovered", "unknown", "not_applicable")
_BASES = ("ledger", "reachable")
_THEMES = ("coverage", "gaps", "layout")
_STATUSES = ("in_use", "closed", "planned", "shared")

_ROAD_CLASSES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "bridleway",
        "corridor",
        "cycleway",
        "footway",
        "path",
        "pedestrian",
        "steps",
        "track",
    ),
    "local": (),  # every class not named here
    "tertiary": ("tertiary",),
    "secondary": ("secondary",),
    "primary": ("primary",),
    "trunk": ("motorway", "trunk"),
}


def coverage_map(
    report: CoverageReport,
    *,
    circles: gpd.GeoDataFrame | None = None,
    projects: gpd.GeoDataFrame | None = None,
    kind: str = "comprehensive_service",
    lang: str = "zh",
    title: str | None = None,
    subtitle: str | None = None,
    basis: str = "reachable",
    theme: str = "coverage",
    after: CoverageReport | None = None,
    basemap: str | None = None,
    token: str | None = None,
    context: gpd.GeoDataFrame | None = None,
    source: str | None = None,
    review_number: str = "",
    drawn_on: dt.date | None = None,
) -> OfflineMap:
    """Draw a coverage report as a map in one self-contained HTML file.

    Parameters
    ----------
    report : CoverageReport
        The report; it is not changed.
    circles : GeoDataFrame, optional
        Isochrones, as `isochrones` gives them. Those of one kind, mode and time are merged.
    projects : GeoDataFrame, optional
        Projects, as `propose_projects` gives them.
    kind : str
        The facility kind shown first; the reader of the map can choose another.
    lang : {"zh", "en"}
        Language of everything but the names.
    title : str, optional
        Heading of the map; by default the words "Community facility coverage".
    subtitle : str, optional
        Line under it; by default the plan's name. The kind, the basis and the date follow it.
    basis : {"reachable", "ledger"}
        The basis shown first; the reader of the map can choose the other.
    theme : {"coverage", "gaps", "layout"}
        What is shown first: 现状覆盖 (coverage), 缺口分布 (gaps) or 规划布局 (planned layout); the
        reader of the map can choose another.
    after : CoverageReport, optional
        The report of the same units once projects are done (see `apply_projects`): the reader can
        choose it, or draw a curtain between the two.
    basemap : str, optional
        Tiles under the map, which the reader's machine then asks the network for: ``"osm"``,
        ``"tianditu"`` (with a `token`) or a template like ``"https://…/{z}/{x}/{y}.png"``. Without
        it the file opens with no network.
    token : str, optional
        The key of tianditu.gov.cn. It stands readable in the file.
    context : GeoDataFrame, optional
        Outlines of the neighbouring counties, with a column ``name`` if they are to be labelled.
    source : str, optional
        What to print as the source. By default it names the kinds of data, OpenStreetMap where
        roads or facilities come from it, and says where people's homes are assumed.
    review_number : str
        The map-review number (审图号), if the map has one.
    drawn_on : datetime.date, optional
        Date printed on the map; by default today.

    Returns
    -------
    OfflineMap
        A `folium.Map`. ``.save(path)`` writes the file; in a notebook it shows itself.

    Raises
    ------
    ValueError
        `kind`, `lang`, `basis` or `theme` is none of those known.
    InputError
        `after` is of other units, or `basemap` is in another datum (GCJ-02, BD-09), unknown, or
        lacks its token.
    NoCrsError
        A table does not say which coordinate reference system it is in.
    MissingDependencyError
        The package that carries Leaflet is not installed.

    Notes
    -----
    Borders are simplified together (`shapely.coverage_simplify`), so neighbours keep a common
    border; coordinates are EPSG:4326, kept to 5 decimals, about one metre. The verdicts come from
    the report's minutes and never from the drawn shapes.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> chart = fc.coverage_map(fc.assess(units, facilities, access, plan), lang="en")
    >>> "illustrative sample" in chart.get_root().render()
    True
    """
    kinds = list(dict.fromkeys(report.verdicts["kind"]))
    _check_choice("kind", kind, kinds)
    _check_choice("lang", lang, LANGUAGES)
    _check_choice("basis", basis, _BASES)
    _check_choice("theme", theme, _THEMES)
    tiles = None if basemap is None else _tiles(basemap, token)
    metric = report.roads.crs
    if metric is None:
        raise NoCrsError("the road network does not say which coordinate reference system it is in")

    units = _to_crs(report.units, metric, what="units")
    shapes = _simplified_coverage(units.geometry)
    grid = _Grid(_geographic(shapes, metric))
    unit_at = _positions(report.units["unit_code"])
    facility_at = _positions(report.facilities["facility_id"])
    text = labels("map", lang)

    plan_name = getattr(report.plan, f"name_{lang}", "") or ""
    payload = {
        "lang": lang,
        "title": text["title"] if title is None else title,
        "subtitle": plan_name if subtitle is None else subtitle,
        "stamp": report.stamp or text["default_stamp"],
        "source": source_line(report, text) if source is None else source,
        "review_number": review_number,
        "date": (drawn_on or dt.date.today()).isoformat(),  # noqa: DTZ011 - the reader's own day
        "start": {"kind": kinds.index(kind), "basis": basis, "theme": theme},
        "origin": grid.origin,
        "bounds": grid.bounds,
        "text": text,
        "states": [{"id": key, "label": label("map_state", key, lang)} for key in _STATES],
        "themes": [{"id": key, "label": label("theme", key, lang)} for key in _THEMES],
        "bases": [{"id": key, "label": label("basis", key, lang)} for key in _BASES],
        "kinds": [{"id": key, "label": label("kind", key, lang)} for key in kinds],
        "words": {
            group: labels(group, lang)
            for group in (
                "reason",
                "mode",
                "setting",
                "unit_kind",
                "measure",
                "status",
                "project",
                "nature",
                "kind",
            )
        },
        "units": _unit_columns(units, shapes, grid),
        "townships": _township_columns(units, shapes, grid),
        "county": grid.polygons(shapely.union_all(_geographic(shapes, metric))),
        "context": _context_columns(context, grid, metric),
        "roads": _road_lines(report.roads, grid),
        "verdicts": _verdict_columns(report, kinds, unit_at, facility_at),
        "after": None
        if after is None
        else _after_columns(report, after, kinds, unit_at, facility_at),
        "rates": _rate_rows(report.rates),
        "facilities": _facility_columns(report.facilities, grid, unit_at, metric),
        "demand": {
            **_demand_columns(report.demand, grid, unit_at, metric),
            "verdicts": _demand_verdicts(report, report.demand, kinds),
        },
        "projects": _project_columns(projects, grid, unit_at, report.facilities, metric),
        "circles": _circle_bands(circles, grid, metric),
    }
    chart = OfflineMap(payload, lang=lang, bounds=grid.bounds)
    for layer in tiles or ():
        layer.add_to(chart)
    return chart


def _check_choice(name: str, value: str, known: Iterable[str]) -> None:
    choices = list(known)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


_TIANDITU = "https://t{s}.tianditu.gov.cn/DataServer?T={layer}_w&x={{x}}&y={{y}}&l={{z}}&tk={token}"
_SHIFTED_TILES = {  # hosts whose tiles are in a shifted datum
    "autonavi": "GCJ-02",
    "amap.com": "GCJ-02",
    "gaode": "GCJ-02",
    "google.cn": "GCJ-02",
    "gtimg.com": "GCJ-02",
    "map.qq.com": "GCJ-02",
    "bdimg.com": "BD-09",
    "baidu.com": "BD-09",
}


def _tiles(basemap: str, token: str | None) -> list[folium.TileLayer]:
    """Give the tiles a caller asks for; what would lie hundreds of metres off is refused."""
    for host, datum in _SHIFTED_TILES.items():
        if host in basemap:
            raise InputError(
                f"basemap={basemap!r}: these tiles are in {datum}, some 500 m off this map, which "
                "is in WGS-84 (CGCS2000); use 'tianditu' or 'osm'"
            )
    if basemap == "osm":
        return [
            folium.TileLayer(
                "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
                attr="© OpenStreetMap contributors",
                max_zoom=19,
            )
        ]
    if basemap == "tianditu":
        if not token:
            raise InputError("basemap='tianditu' needs token=: the key its site gives you")
        names = [_TIANDITU.format(s=0, layer=name, token=quote(token)) for name in ("vec", "cva")]
        return [folium.TileLayer(name, attr="天地图", max_zoom=18) for name in names]
    if "{z}" in basemap and basemap.startswith(("https://", "http://")):
        return [folium.TileLayer(basemap, attr=html.escape(urlsplit(basemap).netloc))]
    raise InputError(
        f"basemap= must be 'osm', 'tianditu' or a template with {{z}}/{{x}}/{{y}}, not {basemap!r}"
    )


# --- geometry ------------------------------------------------------------------------------------


def _to_crs(table: gpd.GeoDataFrame, crs: Any, *, what: str) -> gpd.GeoDataFrame:
    if table.crs is None:
        raise NoCrsError(f"the {what} do not say which coordinate reference system they are in")
    return table.to_crs(crs)


def _geographic(shapes: Any, crs: Any) -> Any:
    return np.asarray(gpd.GeoSeries(shapes, crs=crs).to_crs(WGS84).array)


def _simplified_coverage(shapes: gpd.GeoSeries) -> Any:
    """Simplify all borders together, so that neighbours keep one common border."""
    simple = np.array(shapes.array, dtype=object)
    there = ~(shapely.is_missing(simple) | shapely.is_empty(simple))
    if there.any():
        simple[there] = shapely.make_valid(
            shapely.coverage_simplify(simple[there], _BORDER_TOLERANCE_M)
        )
    return simple


class _Grid:
    """Whole steps of 1e-5 degree from the county's south-west corner.

    A line becomes one flat list: the first point, then the step to each next point. That is a
    third of the size of decimal pairs, and the page decodes it with two additions a point.
    """

    def __init__(self, geographic: Any) -> None:
        west, south, east, north = shapely.total_bounds(geographic)
        if not math.isfinite(west):
            raise ValueError("the units have no geometry to draw")
        self.bounds = [round(float(value), 5) for value in (west, south, east, north)]
        self.origin = [round(float(west) * _DEGREE_STEPS), round(float(south) * _DEGREE_STEPS)]

    def line(self, coordinates: Any) -> list[int]:
        """Encode a line's (n, 2) coordinates in degrees."""
        steps = np.rint(np.asarray(coordinates)[:, :2] * _DEGREE_STEPS).astype(np.int64)
        steps -= self.origin
        moves = np.diff(steps, axis=0)
        moves = moves[(moves != 0).any(axis=1)]
        encoded: list[int] = np.concatenate([steps[:1], moves]).ravel().tolist()
        return encoded

    def polygons(self, shape: Any) -> list[list[list[int]]]:
        """Encode the polygons of a shape: polygons, rings, moves; other parts are left out."""
        polygons = []
        for part in shapely.get_parts(shape):
            if part is None or part.geom_type != "Polygon" or part.is_empty:
                continue
            rings = [self.line(shapely.get_coordinates(ring)[:-1]) for ring in _rings(part)]
            rings = [ring for ring in rings if len(ring) >= 2 * _RING_POINTS]
            if rings:
                polygons.append(rings)
        return polygons

    def points(self, points: Any) -> tuple[list[int | None], list[int | None]]:
        """Encode points as two columns; a missing point is None in both."""
        x, y = shapely.get_x(points), shapely.get_y(points)
        return (
            [self._step(value, self.origin[0]) for value in x],
            [self._step(value, self.origin[1]) for value in y],
        )

    @staticmethod
    def _step(degrees: float, origin: int) -> int | None:
        return round(float(degrees) * _DEGREE_STEPS) - origin if math.isfinite(degrees) else None


def _rings(polygon: Any) -> list[Any]:
    return [polygon.exterior, *polygon.interiors]


def _label_points(shapes: Any, crs: Any) -> Any:
    """Find where a name has most room: the centre of the largest circle inside each shape."""
    centres = np.full(len(shapes), None, dtype=object)
    for index, shape in enumerate(shapes):
        if shape is None or shape.is_empty or shape.area == 0:
            continue
        radius = shapely.maximum_inscribed_circle(shape, tolerance=_LABEL_TOLERANCE_M)
        centres[index] = shapely.get_point(radius, 0)
    return _geographic(centres, crs)


# --- tables as columns ---------------------------------------------------------------------------


def _positions(keys: pd.Series) -> dict[Hashable, int]:
    return {key: index for index, key in enumerate(keys) if not _missing(key)}


def _missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and math.isnan(value))
    )


def _text_of(value: Any) -> str:
    return "" if _missing(value) else str(value)


def _number(value: Any, digits: int | None = None) -> float | int | None:
    """Give a plain number, or None where there is none: JSON knows neither NaN nor infinity."""
    if _missing(value) or not math.isfinite(float(value)):
        return None
    number = float(value)
    if digits is not None:
        number = round(number, digits)
    return int(number) if number.is_integer() else number


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    """Give a column as a list; one the table does not have is all None."""
    return table[name].tolist() if name in table.columns else [None] * len(table)


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    return [_text_of(value) for value in _column(table, name)]


def _numbers(table: pd.DataFrame, name: str, digits: int | None = None) -> list[float | int | None]:
    return [_number(value, digits) for value in _column(table, name)]


def _flags(table: pd.DataFrame, name: str) -> list[int]:
    return [int(not _missing(value) and bool(value)) for value in _column(table, name)]


def _lookup(table: pd.DataFrame, name: str, positions: Mapping[Hashable, int]) -> list[int]:
    return [-1 if _missing(value) else positions.get(value, -1) for value in _column(table, name)]


def _encoded(values: Sequence[str]) -> dict[str, list[Any]]:
    """Store words once: the distinct ones, and for each row the place of its word."""
    distinct = list(dict.fromkeys(values))
    place = {word: index for index, word in enumerate(distinct)}
    return {"words": distinct, "at": [place[value] for value in values]}


def _unit_columns(units: gpd.GeoDataFrame, shapes: Any, grid: _Grid) -> dict[str, Any]:
    x, y = grid.points(_label_points(shapes, units.crs))
    return {
        "code": _texts(units, "unit_code"),
        "name": _texts(units, "name"),
        "pinyin": [_pinyin(name) for name in _texts(units, "name")],
        "township": _encoded(_texts(units, "township")),
        "unit_kind": _encoded(_texts(units, "unit_kind")),
        "setting": _encoded(_texts(units, "setting")),
        "residents": _numbers(units, "residents"),
        "x": x,
        "y": y,
        "shape": [grid.polygons(shape) for shape in _geographic(shapes, units.crs)],
    }


def _pinyin(name: str) -> str:
    """Give the spellings a name is looked for by: in full, and its initials in every reading.

    Examples
    --------
    >>> _pinyin("长山峪村")
    'zhangshanyucun csyc zsyc'
    """
    letters = [sorted(set(each)) for each in pinyin(name, style=Style.FIRST_LETTER, heteronym=True)]
    readings = islice(product(*letters), _READINGS)
    initials = dict.fromkeys("".join(reading) for reading in readings)
    return " ".join(["".join(lazy_pinyin(name)), *initials]).lower().strip()


def _township_columns(units: gpd.GeoDataFrame, shapes: Any, grid: _Grid) -> dict[str, Any]:
    by = "township_code" if "township_code" in units.columns else "township"
    names, outlines = [], []
    for _, rows in units.reset_index(drop=True).groupby(by, sort=True, dropna=True):
        names.append(_text_of(rows["township"].iloc[0]))
        outlines.append(shapely.union_all(shapes[rows.index.to_numpy()]))
    merged = np.array(outlines, dtype=object)
    x, y = grid.points(_label_points(merged, units.crs))
    return {
        "name": names,
        "pinyin": [_pinyin(name) for name in names],
        "x": x,
        "y": y,
        "size": [round(float(area) / 1e6, 2) for area in shapely.area(merged)],
        "shape": [grid.polygons(shape) for shape in _geographic(merged, units.crs)],
    }


def _context_columns(
    context: gpd.GeoDataFrame | None, grid: _Grid, crs: Any
) -> dict[str, Any] | None:
    if context is None or context.empty:
        return None
    metric = _to_crs(context, crs, what="neighbouring outlines")
    shapes = _simplified_coverage(metric.geometry)
    x, y = grid.points(_label_points(shapes, crs))
    return {
        "name": _texts(context, "name"),
        "x": x,
        "y": y,
        "shape": [grid.polygons(shape) for shape in _geographic(shapes, crs)],
    }


def road_class(highway: Any) -> str:
    """Give the class a road is drawn as; of several tags the first decides.

    Parameters
    ----------
    highway : str or sequence of str
        OpenStreetMap's tag; a missing one is a local road.

    Examples
    --------
    >>> road_class("motorway_link"), road_class(["track", "service"]), road_class(None)
    ('trunk', 'path', 'local')
    """
    if isinstance(highway, (list, tuple, set)):
        highway = next(iter(highway), "")
    name = _text_of(highway).removesuffix("_link")
    return next((key for key, members in _ROAD_CLASSES.items() if name in members), "local")


def _road_lines(roads: Any, grid: _Grid) -> list[dict[str, Any]]:
    """Merge the roads of each class into long lines, least important class first."""
    edges = _to_crs(roads.edges, roads.crs, what="roads")
    # Both directions of a street are one line on paper.
    lines = shapely.normalize(np.asarray(edges.geometry.array))
    frame = pd.DataFrame(
        {"line": lines, "wkb": shapely.to_wkb(lines), "highway": edges["highway"].to_numpy()}
    ).dropna(subset=["wkb"])
    frame = frame.drop_duplicates("wkb")
    frame["class"] = [road_class(value) for value in frame["highway"]]
    drawn = []
    for name in _ROAD_CLASSES:
        chosen = frame.loc[frame["class"] == name, "line"].to_numpy()
        if not len(chosen):
            continue
        merged = shapely.line_merge(shapely.multilinestrings(shapely.get_parts(chosen)))
        merged = shapely.simplify(shapely.get_parts(merged), _ROAD_TOLERANCE_M)
        paths = [
            grid.line(shapely.get_coordinates(line)) for line in _geographic(merged, roads.crs)
        ]
        drawn.append({"class": name, "lines": [path for path in paths if len(path) > 2]})  # noqa: PLR2004 - more than one point
    return drawn


def _shown_reachable(state: str, reason: str, minutes: Any, limit: Any) -> int:
    over = _number(minutes), _number(limit)
    if (
        state == "uncovered"
        and reason in ("", "too_far")
        and over[0] is not None
        and over[1] is not None
        and over[0] <= over[1] + _NEAR_MINUTES
    ):
        state = "near"
    return _STATES.index(state if state in _STATES else "unknown")


def shown_states(report: CoverageReport, kind: str, basis: str) -> NDArray[np.object_]:
    """Give each unit's state as it is drawn: what is shared, or hardly late, is told apart.

    Parameters
    ----------
    report : CoverageReport
        Its verdicts.
    kind : str
        A facility kind.
    basis : {"ledger", "reachable"}
        The basis.

    Returns
    -------
    ndarray of str
        In the order of ``report.units``; ``"unknown"`` where there is no verdict.
    """
    rows = report.verdicts[report.verdicts["kind"] == kind].drop_duplicates("unit_code")
    rows = rows.set_index("unit_code").reindex(report.units["unit_code"])
    state = rows[f"{basis}_state"].fillna("unknown").to_numpy(dtype=object)
    state = np.where(np.isin(state, _STATES), state, "unknown")
    if basis == "ledger":
        known = report.facilities.drop_duplicates("facility_id").set_index("facility_id")
        used = known[["status", "unit_code"]].reindex(rows["ledger_facility_id"]).astype(object)
        keeper = used["unit_code"].fillna("").to_numpy(dtype=object)
        elsewhere = (keeper != "") & (keeper != rows.index.to_numpy(dtype=object))
        shared = elsewhere | (used["status"] == "shared").to_numpy(dtype=bool)
        return np.where((state == "covered") & shared, "shared", state)
    over = (rows["minutes"] - rows["limit_minutes"]).to_numpy(dtype=float)
    near = (over <= _NEAR_MINUTES) & rows["reachable_reason"].fillna("").isin(["", "too_far"])
    return np.where((state == "uncovered") & near, "near", state)


def _verdict_columns(
    report: CoverageReport,
    kinds: Sequence[str],
    unit_at: Mapping[Hashable, int],
    facility_at: Mapping[Hashable, int],
) -> list[dict[str, Any]]:
    """Give for each kind its verdicts as columns in the order of the units."""
    size = len(report.units)
    columns = []
    for kind in kinds:
        rows = report.verdicts[report.verdicts["kind"] == kind]
        rows = rows.drop_duplicates("unit_code").set_index("unit_code")
        rows = rows.reindex(report.units["unit_code"]).reset_index()
        ledger, reachable = (
            [_STATES.index(state) for state in shown_states(report, kind, basis)]
            for basis in _BASES
        )
        columns.append(
            {
                "ledger": ledger,
                "reachable": reachable,
                "ledger_reason": _encoded(_texts(rows, "ledger_reason")),
                "reachable_reason": _encoded(_texts(rows, "reachable_reason")),
                "ledger_facility": _lookup(rows, "ledger_facility_id", facility_at),
                "facility": _lookup(rows, "facility_id", facility_at),
                "minutes": _numbers(rows, "minutes", 1),
                "limit": _numbers(rows, "limit_minutes", 1),
                "mode": _encoded(_texts(rows, "mode")),
                "share": _numbers(rows, "people_share", 3),
            }
        )
        if len(ledger) != size or len(unit_at) != size:
            raise ValueError("the report's units do not have distinct unit codes")
    return columns


def _after_columns(
    report: CoverageReport,
    after: CoverageReport,
    kinds: Sequence[str],
    unit_at: Mapping[Hashable, int],
    facility_at: Mapping[Hashable, int],
) -> dict[str, Any]:
    """Give the verdicts of a later report of the same units; its new facilities by name."""
    if list(after.units["unit_code"]) != list(report.units["unit_code"]):
        raise InputError("after= must be a report of the same units in the same order")
    verdicts = _verdict_columns(after, kinds, unit_at, facility_at)
    names = dict(zip(after.facilities["facility_id"], after.facilities["name"], strict=True))
    for kind, columns in zip(kinds, verdicts, strict=True):
        rows = after.verdicts[after.verdicts["kind"] == kind].drop_duplicates("unit_code")
        rows = rows.set_index("unit_code").reindex(report.units["unit_code"])
        place = rows["facility_id"].where(rows["facility_id"].notna(), rows["ledger_facility_id"])
        columns["place"] = _encoded([_text_of(names.get(key)) for key in place])
    return {
        "verdicts": verdicts,
        "rates": _rate_rows(after.rates),
        "demand": _demand_verdicts(after, report.demand, kinds),
    }


def _rate_rows(rates: pd.DataFrame) -> list[dict[str, Any]]:
    words = ("kind", "setting", "basis", "measure")
    numbers = ("covered", "uncovered", "unknown", "total", "share", "target", "missing")
    columns = {name: _texts(rates, name) for name in words} | {
        name: _numbers(rates, name) for name in numbers
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _facility_columns(
    facilities: gpd.GeoDataFrame, grid: _Grid, unit_at: Mapping[Hashable, int], metric: Any
) -> dict[str, Any]:
    placed = _to_crs(facilities, WGS84, what="facilities") if len(facilities) else facilities
    x, y = grid.points(_as_points(placed.geometry.array, metric))
    return {
        "name": _texts(facilities, "name"),
        "kind": _encoded(_texts(facilities, "kind")),
        "status": _encoded(_texts(facilities, "status")),
        "unit": _lookup(facilities, "unit_code", unit_at),
        "outside": _flags(facilities, "outside"),
        "area": _numbers(facilities, "floor_area_m2", 0),
        "hours": _numbers(facilities, "hours_per_day", 1),
        "x": x,
        "y": y,
    }


def _as_points(shapes: Any, _metric: Any) -> Any:
    """Give each shape's point; a facility kept as an outline stands at a point inside it."""
    array = np.asarray(shapes, dtype=object)
    odd = ~shapely.is_missing(array) & (shapely.get_type_id(array) != 0)
    array = array.copy()
    array[odd] = shapely.point_on_surface(array[odd])
    return array


def _places(demand: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Leave out grid cells that only measure area: no reader looks for them."""
    return demand[demand["role"].to_numpy() != "area"] if "role" in demand.columns else demand


def _demand_columns(
    demand: gpd.GeoDataFrame, grid: _Grid, unit_at: Mapping[Hashable, int], metric: Any
) -> dict[str, Any]:
    demand = _places(demand)
    placed = _to_crs(demand, WGS84, what="demand points") if len(demand) else demand
    x, y = grid.points(_as_points(placed.geometry.array, metric))
    return {
        "name": _texts(demand, "name"),
        "unit": _lookup(demand, "unit_code", unit_at),
        "residents": _numbers(demand, "residents"),
        "x": x,
        "y": y,
    }


def _demand_verdicts(
    report: CoverageReport, demand: gpd.GeoDataFrame, kinds: Sequence[str]
) -> list[dict[str, Any]]:
    """Give for each kind the state and minutes of the demand points."""
    demand = _places(demand)
    limits = {
        (code, kind): limit
        for code, kind, limit in zip(
            report.verdicts["unit_code"],
            report.verdicts["kind"],
            report.verdicts["limit_minutes"],
            strict=True,
        )
    }
    verdicts = []
    for kind in kinds:
        rows = report.demand_verdicts[report.demand_verdicts["kind"] == kind]
        rows = rows.drop_duplicates("demand_id").set_index("demand_id")
        rows = rows.reindex(demand["demand_id"])
        shown = [
            _shown_reachable(state, _text_of(reason), minutes, limits.get((code, kind)))
            for state, reason, minutes, code in zip(
                rows["state"], rows["reason"], rows["minutes"], demand["unit_code"], strict=True
            )
        ]
        verdicts.append(
            {"state": "".join(map(str, shown)), "minutes": _numbers(rows, "minutes", 1)}
        )
    return verdicts


def _project_columns(
    projects: gpd.GeoDataFrame | None,
    grid: _Grid,
    unit_at: Mapping[Hashable, int],
    facilities: gpd.GeoDataFrame,
    metric: Any,
) -> dict[str, Any] | None:
    if projects is None or projects.empty:
        return None
    placed = _to_crs(projects, WGS84, what="projects")
    x, y = grid.points(_as_points(placed.geometry.array, metric))
    host_names = dict(zip(facilities["facility_id"], facilities["name"], strict=True))
    return {
        "number": _numbers(projects, "number"),
        "name": _texts(projects, "name"),
        "project": _encoded(_texts(projects, "project")),
        "nature": _encoded(_texts(projects, "nature")),
        "unit": _lookup(projects, "unit_code", unit_at),
        "reasons": [_reason_keys(value) for value in _column(projects, "reasons")],
        "floor": _numbers(projects, "short_floor_area_m2", 0),
        "activity": _numbers(projects, "short_activity_area_m2", 0),
        "residents": _numbers(projects, "residents"),
        "households": _numbers(projects, "households"),
        "deadline": _numbers(projects, "deadline"),
        "in_quota": _flags(projects, "in_quota"),
        "rank": _numbers(projects, "rank"),
        "line": [
            grid.line(shapely.get_coordinates(shape))
            if isinstance(shape, shapely.LineString)
            else None
            for shape in placed.geometry
        ],
        "host": [
            _text_of(host_names.get(value, value)) if not _missing(value) else ""
            for value in _column(projects, "host_facility_id")
        ],
        "x": x,
        "y": y,
    }


def _reason_keys(value: Any) -> list[str]:
    if isinstance(value, (list, tuple, set)):
        return [str(item) for item in value]
    pieces = _text_of(value).replace(";", ",").replace("、", ",").split(",")
    return [piece.strip() for piece in pieces if piece.strip()]


def _circle_bands(circles: gpd.GeoDataFrame | None, grid: _Grid, crs: Any) -> list[dict[str, Any]]:
    """Merge the isochrones of each kind, mode and time, the longest time first."""
    if circles is None or circles.empty:
        return []
    metric = _to_crs(circles, crs, what="isochrones")
    keys = [name for name in ("kind", "mode", "minutes") if name in metric.columns]
    bands = []
    for key, rows in metric.groupby(keys, dropna=False, sort=False):
        shapes = rows.geometry.to_numpy()
        merged = shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
        merged = shapely.simplify(merged, _CIRCLE_TOLERANCE_M)
        found = dict(zip(keys, key, strict=True))
        bands.append(
            {
                "kind": _text_of(found.get("kind")),
                "mode": _text_of(found.get("mode")),
                "minutes": _number(found.get("minutes")),
                "shape": grid.polygons(_geographic([merged], crs)[0]),
            }
        )
    return sorted(bands, key=lambda band: -(band["minutes"] or 0))


def source_line(report: CoverageReport, text: Mapping[str, str]) -> str:
    """Say what the map rests on: OpenStreetMap asks to be named, assumptions must be.

    Parameters
    ----------
    report : CoverageReport
        Its roads and demand points say where they come from.
    text : mapping of str to str
        The words of the map (`labels` of ``"map"``).
    """
    parts = [text["source_default"]]
    if ".osm" in str(getattr(report.roads, "source", "")).lower():
        parts.append(text["source_osm"])
    if "source" in report.demand and (report.demand["source"] == "assumed").any():
        parts.append(text["source_assumed"])
    return text["source_separator"].join(parts)
