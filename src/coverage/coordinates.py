"""Coordinates as county ledgers hold them: degrees in every common writing, or metres of a grid.

Read column-wise: plain numbers cost nothing, other texts are looked at once each. What is not
certain is missing, with the reason; longitude and latitude change places only with a report.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray

from .datums import DatumWarning, ballpark, canonical_datum, grid_zone_crs, to_wgs84, zones_within
from .errors import InputError
from .intake import IntakeLog, shown
from .quantities import is_blank

__all__ = ["COORDINATE_COLUMNS", "parse_angle", "read_places", "split_pair"]

COORDINATE_COLUMNS = ("longitude", "latitude", "coordinates", "x", "y")

_MARKS = str.maketrans(
    {
        **dict.fromkeys("°º˚度", "°"),
        **dict.fromkeys("′'’‘´`＇分ʹ", "'"),
        **dict.fromkeys('″"”“＂秒ʺ〃', '"'),
        **dict.fromkeys("−–—－", "-"),
    }
)
_LETTERS = {"东经": "E", "西经": "W", "北纬": "N", "南纬": "S", "经度": "E", "纬度": "N"}
_AXIS_WORDS = re.compile(rf"({'|'.join(_LETTERS)})\s*[:：=]?")
_DECIMAL = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)°?")
_DMS = re.compile(
    r"(-?)(\d{1,3})\s*[°:\-\s]\s*(\d{1,2})\s*(?:[':\-\s]\s*(\d{1,2}(?:\.\d*)?)?\s*\"?|(\.\d+)\s*'?)?"
)
_DOTTED = re.compile(r"(-?)(\d{1,3})\.(\d{1,2})\.(\d{1,2}(?:\.\d*)?)()")
_PREFIXED = re.compile(r"([NSEW][^NSEW]+)\s*([NSEW][^NSEW]+)")
_SUFFIXED = re.compile(r"([^NSEW]+[NSEW])\s*([^NSEW]+[NSEW])")
# Longitudes and latitudes of China have no value in common, so swapped ones give themselves away.
_CHINA_LON, _CHINA_LAT = (73.0, 136.0), (3.0, 54.5)
# Northings of China, and eastings of the national grid without and with a zone's number.
_NORTHINGS, _EASTINGS, _NUMBERED = (3e5, 6.2e6), (1e5, 9e5), (13.1e6, 45.9e6)
_ZONE_DIGITS = 1e6
_COARSE_DECIMALS = 2  # a hundredth of a degree is a kilometre
_ROUNDING = 1e-9
_LON, _LAT = 180.0, 90.0
_LEAST_METRES = 1000.0
_GRIDS = ("cgcs2000", "xian80", "beijing54")
_WGS84 = "EPSG:4326"
_AS_THEY_ARE = ("wgs84", "cgcs2000")  # in degrees centimetres apart

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def parse_angle(text: Any) -> tuple[float, str, str]:
    """Read one longitude, latitude or length in metres.

    Parameters
    ----------
    text : str or number
        ``117.333``, ``117°19′59″``, ``117度19分59秒``, ``117.19.59``, ``E117 19 59``,
        ``东经117°19.98′``, full-width digits; metres are plain numbers.

    Returns
    -------
    value : float
        Degrees (or metres); NaN where it cannot be read for certain.
    axis : {"lon", "lat", ""}
        Which of the two the text itself says it is.
    problem : {"", "unreadable", "sixty"}
        ``"sixty"`` where minutes or seconds reach 60.

    Examples
    --------
    >>> parse_angle("E117°19′59″"), parse_angle("北纬４０度５６分３０秒")
    ((117.33305555555556, 'lon', ''), (40.94166666666667, 'lat', ''))
    >>> parse_angle("117.19.59")[0], parse_angle("117°61′")[2]
    (117.33305555555556, 'sixty')
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float | np.number):
        return np.nan, "", "unreadable"
    folded = _folded(str(text))
    sign, axis = 1.0, ""
    found = re.fullmatch(r"([NSEW])?\s*([^NSEW]*?)\s*([NSEW])?", folded)
    if found and bool(found[1]) != bool(found[3]):
        letter = found[1] or found[3]
        axis = "lon" if letter in "EW" else "lat"
        sign = -1.0 if letter in "SW" else 1.0
        folded = found[2]
    if plain := _DECIMAL.fullmatch(folded):
        value = float(plain[1])
        return (sign * value, axis, "") if np.isfinite(value) else (np.nan, axis, "unreadable")
    parts = _DOTTED.fullmatch(folded) or _DMS.fullmatch(folded)
    if not parts:
        return np.nan, axis, "unreadable"
    minus, degrees, minutes, seconds, fraction = parts.groups()
    minute, second = float(minutes + (fraction or "")), float(seconds or 0.0)
    if minute >= 60.0 or second >= 60.0:  # noqa: PLR2004 - minutes and seconds
        return np.nan, axis, "sixty"
    if not seconds and not axis and not re.search("[°']", folded):
        return np.nan, axis, "unreadable"  # 117 30 may be anything
    value = (float(degrees) * 3600.0 + minute * 60.0 + second) / 3600.0
    return sign * (-value if minus else value), axis, ""


def _folded(text: str) -> str:
    """Give a text with one sort of mark each for degrees, minutes and seconds, in capitals."""
    text = _AXIS_WORDS.sub(lambda word: _LETTERS[word[1]], text)
    text = unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_MARKS)
    return re.sub(r"\s+", " ", text.replace("''", '"').upper()).strip()


def split_pair(text: Any) -> tuple[str, str] | None:
    r"""Split a cell that holds both coordinates, or give None where it cannot be done for certain.

    Examples
    --------
    >>> split_pair("117.33，40.94"), split_pair("N40°56′30″ E117°19′59″"), split_pair("117.33")
    (('117.33', '40.94'), ('N40°56\'30"', 'E117°19\'59"'), None)
    """
    if not isinstance(text, str):
        return None
    folded = _folded(text)
    folded = re.sub(r"^POINT\s*", "", folded).strip("()[]{}【】 ,;")
    parts = [part.strip() for part in re.split(r"[,;、/|]+", folded)]
    if len(parts) == 1:
        for pattern in (_PREFIXED, _SUFFIXED):
            if found := pattern.fullmatch(folded):
                return found[1].strip(), found[2].strip()
        words = folded.split(" ")
        half = len(words) // 2
        if len(words) in {2, 4, 6}:
            parts = [" ".join(words[:half]), " ".join(words[half:])]
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None  # noqa: PLR2004 - a pair


def read_places(
    table: pd.DataFrame,
    *,
    datum: Any,
    log: IntakeLog,
    around: Sequence[float] | None = None,
) -> NDArray[np.object_]:
    """Read the coordinates of a table as points in WGS-84.

    Parameters
    ----------
    table : DataFrame
        With columns `longitude` and `latitude`, or `x` and `y`, or `coordinates` (both in one
        cell). Degrees or metres are told apart row by row, by their size.
    datum : str, int or pyproj.CRS
        As `to_wgs84` takes it. Metres with a datum that has a grid (CGCS2000, Xian 1980, Beijing
        1954) carry their zone's number; without one the zone is that of `around`.
    log : IntakeLog
        Told of every row without a certain place.
    around : sequence of four floats, optional
        West, south, east and north of the county in degrees (WGS-84): settles the grid's zone
        where the eastings carry no number, and swapped coordinates outside China.

    Returns
    -------
    array of Point or None
        By row.
    """
    cells = _cells(table, log)
    blanks = is_blank(cells.first).to_numpy(), is_blank(cells.second).to_numpy()
    x, x_axis, x_problem = _angles(cells.first)
    y, y_axis, y_problem = _angles(cells.second)
    for code in ("unreadable", "sixty"):
        wrong = ((x_problem == code) & ~blanks[0]) | ((y_problem == code) & ~blanks[1])
        cells.note(f"coordinate.{code}", wrong)
    cells.note("coordinate.one_missing", blanks[0] != blanks[1])
    zero = (x == 0) | (y == 0)
    cells.note("coordinate.zero", zero)
    given = ~(zero | blanks[0] | blanks[1] | np.isnan(x) | np.isnan(y))
    x, y = np.where(given, x, np.nan), np.where(given, y, np.nan)
    turned = _turned(x, y, (x_axis == "lat") | (y_axis == "lon"), cells, around)
    x, y = np.where(turned, y, x), np.where(turned, x, y)
    return _placed(x, y, datum, cells, around)


@dataclass(frozen=True, eq=False)
class _Cells:
    """The two columns of coordinates, and where to say what is wrong with them."""

    first: pd.Series
    second: pd.Series
    field: str
    paired: pd.Series | None
    log: IntakeLog

    def note(self, code: str, wrong: Any, **words: Any) -> None:
        self.log.at(code, wrong, field=self.field, values=self._texts, **words)

    def _texts(self, rows: NDArray[np.intp]) -> list[str]:
        if self.paired is not None:
            return [str(value) for value in self.paired.iloc[rows]]
        pairs = zip(self.first.iloc[rows], self.second.iloc[rows], strict=True)
        return [", ".join(shown(value) or "—" for value in pair) for pair in pairs]


def _cells(table: pd.DataFrame, log: IntakeLog) -> _Cells:
    for names in (("longitude", "latitude"), ("x", "y")):
        if set(names) <= set(table.columns):
            return _Cells(table[names[0]], table[names[1]], names[0], None, log)
    whole = table["coordinates"].astype(object)
    codes, distinct = pd.factorize(whole)
    pairs = [split_pair(cell) for cell in distinct]
    halves = [
        pd.Series(
            np.array([*(pair[side] if pair else None for pair in pairs), None], object)[codes],
            index=table.index,
            dtype=object,
        )
        for side in (0, 1)
    ]
    cells = _Cells(halves[0], halves[1], "coordinates", whole, log)
    cells.note("coordinate.unreadable", (halves[0].isna() & ~is_blank(whole)).to_numpy())
    return cells


def _angles(values: pd.Series) -> tuple[Floats, NDArray[np.object_], NDArray[np.object_]]:
    """Read a column: numbers, which axis each says it is, and what is wrong with it."""
    count = len(values)
    axis, problem = np.full(count, "", object), np.full(count, "", object)
    if values.dtype == object and values.map(lambda value: isinstance(value, bool)).any():
        number = np.full(count, np.nan)
    else:
        numeric = pd.to_numeric(values, errors="coerce")
        number = numeric.astype("Float64").to_numpy(dtype=float, na_value=np.nan).copy()
        number[~np.isfinite(number)] = np.nan
    rest = np.flatnonzero(np.isnan(number) & values.notna().to_numpy())
    if rest.size:
        codes, distinct = pd.factorize(values.iloc[rest].astype(object))
        told = [parse_angle(value) for value in distinct]
        number[rest] = np.array([value for value, _, _ in told], dtype=float)[codes]
        axis[rest] = np.array([each for _, each, _ in told], dtype=object)[codes]
        problem[rest] = np.array([wrong for _, _, wrong in told], dtype=object)[codes]
    return number, axis, problem


def _turned(
    x: Floats, y: Floats, said: Mask, cells: _Cells, around: Sequence[float] | None
) -> Mask:
    """Say by row whether latitude or northing stands first, and report it.

    Parameters
    ----------
    x, y : array of float
        The first and the second column.
    said : array of bool
        Whether the text itself says so (N40.9, 北纬).
    cells, around
        As in `read_places`.
    """
    degrees = (np.abs(x) <= _LON) & (np.abs(y) <= _LON)
    swapped = said | (degrees & (np.abs(y) > _LAT) & (np.abs(x) <= _LAT))
    swapped |= degrees & _within(x, _CHINA_LAT) & _within(y, _CHINA_LON)
    if around is not None:
        west, south, east, north = around
        wide = max(east - west, north - south)
        there = _within(y, (west, east)) & _within(x, (south, north))
        near = _within(x, (west - wide, east + wide)) & _within(y, (south - wide, north + wide))
        swapped |= degrees & there & ~near
    eastings = _within(y, _EASTINGS) | _within(y, _NUMBERED)
    first_is_easting = _within(x, _EASTINGS) & ~_within(y, _NUMBERED)
    grid = _within(x, _NORTHINGS) & eastings & ~first_is_easting
    swapped &= ~grid
    code = "coordinate.swapped" if cells.paired is None else "coordinate.pair_order"
    cells.note(code, swapped)
    cells.note("coordinate.axes", grid)
    return swapped | grid


def _within(values: Floats, span: Sequence[float]) -> Mask:
    return np.asarray((values >= span[0]) & (values <= span[1]))


def _placed(
    x: Floats, y: Floats, datum: Any, cells: _Cells, around: Sequence[float] | None
) -> NDArray[np.object_]:
    """Convert what can be converted; the rest is reported."""
    points = np.full(x.size, None, dtype=object)
    known = canonical_datum(datum)
    given = ~(np.isnan(x) | np.isnan(y))
    degrees = given & (np.abs(x) <= _LON) & (np.abs(y) <= _LAT)
    metres = given & (np.abs(x) > _LEAST_METRES) & (np.abs(y) > _LEAST_METRES)
    cells.note("coordinate.range", given & ~degrees & ~metres)
    if isinstance(known, pyproj.CRS) and not known.is_geographic:
        cells.note("coordinate.degrees_in_grid", degrees, datum=known.to_string())
        _convert(points, x, y, metres, known, cells)
    else:
        _convert(points, x, y, degrees, known, cells)
        if known in _GRIDS:
            _convert_grid(points, x, y, metres, str(known), cells, around)
        else:
            name = known if isinstance(known, str) else known.name
            cells.note("coordinate.metres_not_degrees", metres, datum=name)
        cells.note("coordinate.coarse", degrees & _coarse(x) & _coarse(y))
    if ballpark(known, bounds=None if around is None else tuple(around)):  # type: ignore[arg-type]
        cells.log.whole("crs.ballpark", field=cells.field, value=str(datum))
    return points


def _coarse(values: Floats) -> Mask:
    scaled = values * 10**_COARSE_DECIMALS
    return np.asarray(np.abs(scaled - np.round(scaled)) < _ROUNDING)


def _convert(
    points: NDArray[np.object_], x: Floats, y: Floats, rows: Mask, datum: Any, cells: _Cells
) -> None:
    """Convert rows in one datum into `points`, in place."""
    if not rows.any():
        return
    if datum in _AS_THEY_ARE:
        points[rows] = shapely.points(x[rows], y[rows])
        return
    with warnings.catch_warnings():  # said in the report, for the whole
        warnings.simplefilter("ignore", DatumWarning)
        try:
            there = np.asarray(to_wgs84(gpd.GeoSeries.from_xy(x[rows], y[rows]), datum=datum).array)
        except InputError as fault:
            cells.note("coordinate.not_in_datum", rows, reason=str(fault))
            return
    lost = ~np.isfinite(shapely.get_x(there)) | ~np.isfinite(shapely.get_y(there))
    there[lost] = None
    points[rows] = there
    cells.note("coordinate.range", np.flatnonzero(rows)[lost])


def _convert_grid(
    points: NDArray[np.object_],
    x: Floats,
    y: Floats,
    rows: Mask,
    datum: str,
    cells: _Cells,
    around: Sequence[float] | None,
) -> None:
    """Convert metres of the national grid, zone by zone."""
    prefix = np.where(rows, x // _ZONE_DIGITS, -1)
    for zone in np.unique(prefix[rows]):
        own = rows & (prefix == zone)
        possible = grid_zone_crs(x[own], y[own], datum=datum)
        if len(possible) > 1 and around is not None:
            # Zones of 3 and of 6 degrees around one meridian give the same places.
            codes = {each.epsg(datum) for each in zones_within(around)}
            near = [crs for crs in possible if crs.to_epsg() in codes]
            possible = tuple(crs for crs in near if _fits(x[own], y[own], crs, around)) or possible
            if len(possible) == 1:
                cells.note("coordinate.zone_inferred", own, zone=possible[0].name)
        if len(possible) == 1:
            _convert(points, x, y, own, possible[0], cells)
        else:
            cells.note("coordinate.zone_unknown" if possible else "coordinate.range", own)


def _fits(x: Floats, y: Floats, crs: pyproj.CRS, around: Sequence[float]) -> bool:
    """Say whether most points lie in the county's bounds in that CRS."""
    lon, lat = pyproj.Transformer.from_crs(crs, _WGS84, always_xy=True).transform(x, y)
    west, south, east, north = around
    inside = _within(lon, (west, east)) & _within(lat, (south, north))
    return bool(2 * np.count_nonzero(inside) > inside.size)
