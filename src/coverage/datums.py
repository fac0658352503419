"""The datums Chinese coordinates come in, and the way from each to WGS-84 and back.

GCJ-02 is WGS-84 with an obfuscating offset of some 500 m, BD-09 a further one on top. The forward
formulas are the ones published with map services' conversion tools; they are inverted here by
fixed-point iteration, since no closed inverse exists. They stand here rather than in a dependency
because the packages found on PyPI convert one point a call (coord-convert, eviltransform and
prcoords in pure Python and without a release since 2019; geocoordinates-rs through a foreign
function a point), and a county's tables need arrays.

CGCS2000 is taken as WGS-84: the two agree to centimetres by definition, and the motion of the
plate since the year 2000 adds less than a metre. Xian 1980 and Beijing 1954 are converted by PROJ,
which knows no parameters for most of China and then shifts nothing, without an error: here that
warns.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj.exceptions import CRSError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from .errors import InputError

__all__ = [
    "DATUMS",
    "DatumWarning",
    "GridZone",
    "accuracy_m",
    "ballpark",
    "canonical_datum",
    "declared_datum",
    "from_wgs84",
    "grid_swapped",
    "grid_zone_crs",
    "to_wgs84",
    "zones_within",
]

DATUMS = ("wgs84", "cgcs2000", "gcj02", "bd09", "xian80", "beijing54")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Krasovsky 1940, the ellipsoid the published GCJ-02 formulas use.
_KRASOVSKY_A = 6378245.0
_KRASOVSKY_E2 = 0.00669342162296594323
_BD_X_PI = np.pi * 3000.0 / 180.0
# Each round leaves about a hundredth of the error of the one before. Measured all over China, from
# the 700 m (GCJ-02) to 1.5 km (BD-09) of the start: 12 m, 9 cm, 0.7 mm, 7 µm. A millimetre does.
_ITERATIONS = 3

_NAMES = {
    "wgs84": r"(wgs|世界)(19)?84|gps|epsg:4326",
    "cgcs2000": r"(cgcs|(中国)?(国家)?(大地)?)2000(国家)?|天地图|epsg:4490",
    "gcj02": r"gcj02|火星|高德|国测局|amap",
    "bd09": r"(bd|百度)(09)?(ll)?|baidu",
    "xian80": r"xian(19)?80|西安(19)?80|(19)?80(年)?西安|epsg:4610",
    "beijing54": r"beijing(19)?54|北京(19)?54|(19)?54(年)?北京|epsg:4214",
}
_DECLARED = (
    ("bd09", r"BD-?09|百度"),
    ("gcj02", r"GCJ-?02|火星|高德"),
    ("cgcs2000", r"CGCS-?2000|国家2000|2000国家|4490"),
    ("wgs84", r"WGS-?84|GPS|4326"),
    ("xian80", r"西安\s*(?:19)?80|(?:19)?80\s*年?西安|Xi.?an[\s_-]*(?:19)?80|4610"),
    ("beijing54", r"北京\s*(?:19)?54|(?:19)?54\s*年?北京|Beijing[\s_-]*(?:19)?54|4214"),
)
_OFFSET = ("gcj02", "bd09")  # map services' datums, which PROJ does not know
_WGS84 = 4326
_GEOGRAPHIC = {"cgcs2000": 4490, "xian80": 4610, "beijing54": 4214}
_REGISTERED = {"wgs84": _WGS84, **_GEOGRAPHIC}

# First EPSG codes of the Gauss-Kruger zones, from the westernmost eastwards: 3 degrees wide from
# zone 25 (75°E), 6 degrees wide from zone 13 (75°E); with the zone's number before the easting
# (False), and without (True: by central meridian).
_FIRST_CODE = {
    ("cgcs2000", 3, True): 4513,
    ("cgcs2000", 3, False): 4534,
    ("cgcs2000", 6, True): 4491,
    ("cgcs2000", 6, False): 4502,
    ("xian80", 3, True): 2349,
    ("xian80", 3, False): 2370,
    ("xian80", 6, True): 2327,
    ("xian80", 6, False): 2338,
    ("beijing54", 3, True): 2401,
    ("beijing54", 3, False): 2422,
    ("beijing54", 6, True): 21413,
    ("beijing54", 6, False): 21453,
}
_ZONES = {3: range(25, 46), 6: range(13, 24)}
_ZONE_DIGITS = 1_000_000.0
_FALSE_EASTING_M = 500_000.0
# An easting without its zone's number, and a northing of China (3.8 to 53.6 degrees), in metres.
_EASTING_M = (100_000.0, 900_000.0)
_NORTHING_M = (350_000.0, 6_000_000.0)
# Half of China's widest zone of 3 degrees, and some 50 km for what reaches over its border.
_NARROW_M = 220_000.0


class DatumWarning(UserWarning):
    """Coordinates were converted without the parameters of their datum, and may be far off."""


@dataclass(frozen=True)
class GridZone:
    """A zone of the national Gauss-Kruger grid.

    Parameters
    ----------
    width_degrees : {3, 6}
        How wide it is.
    number : int
        25 to 45 where it is 3 degrees wide, 13 to 23 where it is 6: the two digits that stand
        before an easting of eight.

    Examples
    --------
    >>> zone = GridZone(3, 39)
    >>> zone.central_meridian, zone.epsg(), zone.epsg(prefixed=True), zone.epsg("xian80")
    (117.0, 4548, 4527, 2384)
    """

    width_degrees: int
    number: int

    def __post_init__(self) -> None:
        """Refuse zones China does not have."""
        if self.width_degrees not in _ZONES or self.number not in _ZONES[self.width_degrees]:
            raise InputError(
                f"there is no zone {self.number} {self.width_degrees} degrees wide: China has "
                "zones 25-45 of 3 degrees and 13-23 of 6"
            )

    @property
    def central_meridian(self) -> float:
        """Degrees east."""
        return 3.0 * self.number if self.width_degrees == 3 else 6.0 * self.number - 3.0  # noqa: PLR2004 - the two widths

    def epsg(self, datum: str = "cgcs2000", *, prefixed: bool = False) -> int:
        """Give the EPSG code.

        Parameters
        ----------
        datum : {"cgcs2000", "xian80", "beijing54"}
            The datum.
        prefixed : bool
            Whether eastings begin with the zone's number (39 500 000 m rather than 500 000 m on
            the central meridian).

        Raises
        ------
        InputError
            Where the datum has no national grid.
        """
        if datum not in _GEOGRAPHIC:
            raise InputError(
                f"{datum} has no Gauss-Kruger grid; {', '.join(_GEOGRAPHIC)} have: give one"
            )
        first = _FIRST_CODE[datum, self.width_degrees, prefixed]
        return first + self.number - _ZONES[self.width_degrees].start


def canonical_datum(datum: Any) -> str | pyproj.CRS:
    """Give what a spelling of a datum stands for.

    Parameters
    ----------
    datum : str, int or pyproj.CRS
        A name in any usual spelling ("WGS-84", "国家2000", "火星坐标", "百度坐标", "西安80", …), an
        EPSG code (4548, "4548", "EPSG:4548") or anything else pyproj understands: a PROJ string
        with local parameters (``+towgs84=…``), WKT, a CRS.

    Returns
    -------
    str or pyproj.CRS
        One of `DATUMS` where it is one of these in longitudes and latitudes, else the CRS.

    Raises
    ------
    InputError
        Where it is neither. Names pyproj only resembles are not guessed at.

    Examples
    --------
    >>> [canonical_datum(name) for name in ("WGS-84", "国家2000", "火星坐标", 4610)]
    ['wgs84', 'cgcs2000', 'gcj02', 'xian80']
    >>> canonical_datum("4548").to_epsg()
    4548
    """
    if isinstance(datum, str):
        text = unicodedata.normalize("NFKC", datum).strip()
        text = f"EPSG:{text}" if re.fullmatch(r"\d{4,6}", text) else text
        bare = re.sub(r"[\s_()\-']", "", text.casefold())
        bare = re.sub(r"(大地)?坐标(系统?)?$", "", bare)
        for name, pattern in _NAMES.items():
            if re.fullmatch(pattern, bare):
                return name
    else:
        text = datum
    crs = _crs(text)
    if crs is None:
        raise InputError(
            f"no datum is known as {datum!r}: say {', '.join(DATUMS)}, an EPSG code such as "
            "'EPSG:4548', or a PROJ string with local parameters (+proj=… +towgs84=…)"
        )
    if not (crs.is_geographic or crs.is_projected):
        raise InputError(f"{crs.name} has no plan: give a geographic or projected CRS")
    code = None if crs.is_bound else crs.to_epsg(min_confidence=100)
    return next((name for name, own in _REGISTERED.items() if own == code), crs)


def _crs(datum: Any) -> pyproj.CRS | None:
    """Give the CRS, or None; pyproj's search by likeness ("beijing") counts only for full names."""
    if isinstance(datum, bool) or datum is None:
        return None
    try:
        crs = pyproj.CRS.from_user_input(datum)
    except (CRSError, TypeError, ValueError):
        return None
    coded = not isinstance(datum, str) or re.search(r"[:+\[{=]", datum)
    return crs if coded or crs.name.casefold() == datum.casefold() else None


def declared_datum(text: str) -> str | None:
    """Give the datum a header or title declares, or None.

    Parameters
    ----------
    text : str
        A header, a title, or several joined.

    Returns
    -------
    str or None
        One of `DATUMS`, or an EPSG code of a national grid as ``"EPSG:4548"``. None where none is
        declared, and where two are that differ (``由西安80转CGCS2000``): which one holds is not to
        be guessed.

    Examples
    --------
    >>> [declared_datum(text) for text in ("经度（CGCS2000）", "百度坐标", "西安80", "经度")]
    ['cgcs2000', 'bd09', 'xian80', None]
    >>> declared_datum("X坐标（EPSG：4548）"), declared_datum("由西安80转CGCS2000")
    ('EPSG:4548', None)
    """
    codes = re.findall(r"EPSG\s*[:：]?\s*(\d{4,5})", text, flags=re.IGNORECASE)
    grids = {int(code) for code in codes} & _grid_codes().keys()
    if grids:
        return f"EPSG:{grids.pop()}" if len(grids) == 1 else None
    told = [name for name, pattern in _DECLARED if re.search(pattern, text, flags=re.IGNORECASE)]
    if len({"wgs84" if name == "cgcs2000" else name for name in told}) != 1:
        return None
    return told[0]


@cache
def _grid_codes() -> dict[int, tuple[str, GridZone, bool]]:
    """Give by EPSG code the datum, the zone, and whether its number stands before eastings."""
    return {
        zone.epsg(datum, prefixed=prefixed): (datum, zone, prefixed)
        for (datum, width, prefixed) in _FIRST_CODE
        for zone in (GridZone(width, number) for number in _ZONES[width])
    }


def to_wgs84(points: gpd.GeoSeries, *, datum: Any) -> gpd.GeoSeries:
    """Convert coordinates to WGS-84.

    Parameters
    ----------
    points : GeoSeries of Point
        x is longitude or easting, y latitude or northing, whatever the order of the axes in the
        register. Longitudes and latitudes are in degrees, eastings and northings in the unit of
        the CRS. What CRS the series itself names, if any, must be of the same sort: `datum` says
        what holds.
    datum : str, int or pyproj.CRS
        What the coordinates are in, as `canonical_datum` takes it: one of "wgs84", "cgcs2000",
        "gcj02", "bd09", "xian80" and "beijing54" in longitudes and latitudes, an EPSG code, or a
        PROJ string. CGCS2000 is taken as WGS-84. For GCJ-02 and BD-09, points outside the box
        around China that the published formulas name carry no offset and are left untouched.

    Returns
    -------
    GeoSeries
        EPSG:4326, index by index; missing and empty points are missing. Heights are dropped.

    Raises
    ------
    InputError
        Where the datum is unknown, or the coordinates cannot be in it: degrees where metres are
        due or the reverse, eastings with the number of another zone or none, eastings and
        northings swapped. The message names the code that would fit. A stray row among good ones
        that is beyond 180 or 90 degrees is for the reader to report; offsets do not touch it.

    Warns
    -----
    DatumWarning
        Where PROJ knows no parameters (most of Xian 1980 and Beijing 1954) and nothing but the
        ellipsoid was changed: positions may be off by on the order of a hundred metres.

    Examples
    --------
    >>> import geopandas as gpd
    >>> gcj = gpd.GeoSeries.from_xy([120.00567568], [40.00130479])
    >>> point = to_wgs84(gcj, datum="gcj02").iloc[0]
    >>> round(point.x, 6), round(point.y, 6)
    (120.0, 40.0)
    >>> grid = gpd.GeoSeries.from_xy([527790.0], [4533963.0])
    >>> point = to_wgs84(grid, datum="EPSG:4548").iloc[0]
    >>> round(point.x, 3), round(point.y, 3)
    (117.33, 40.94)
    """
    known = canonical_datum(datum)
    x, y = _coordinates(points)
    _refuse_crs(points, known)
    _refuse_range(x, y, known)
    # A CRS is never compared with a name: pyproj would look for a CRS of that name, and slowly.
    name = known if isinstance(known, str) else None
    if name == "bd09":
        x, y = _inverted(_gcj02_to_bd09, x, y)
    if name in _OFFSET:
        x, y = _inverted(_wgs84_to_gcj02, x, y)
    elif name != "wgs84":
        x, y = _by_proj(x, y, _as_crs(known))
    return _points(x, y, points)


def from_wgs84(points: gpd.GeoSeries, *, datum: str) -> gpd.GeoSeries:
    """Convert WGS-84 to longitudes and latitudes as map services publish them.

    Parameters
    ----------
    points : GeoSeries of Point
        Longitudes and latitudes in degrees. A series in another CRS is brought to EPSG:4326; one
        without is taken to be in it.
    datum : {"wgs84", "cgcs2000", "gcj02", "bd09"}
        What to convert to, in any spelling `canonical_datum` takes.

    Returns
    -------
    GeoSeries
        Degrees, index by index, with no CRS where the datum is GCJ-02 or BD-09, since no register
        lists these; missing and empty points are missing. Heights are dropped.

    Raises
    ------
    InputError
        Where the datum is another one or the coordinates are not degrees.

    Notes
    -----
    The formulas are those published with map services' conversion tools. Going there and back with
    `to_wgs84` moves a point by less than two millimetres.

    Examples
    --------
    >>> import geopandas as gpd
    >>> gcj = from_wgs84(gpd.GeoSeries.from_xy([120.0], [40.0]), datum="gcj02").iloc[0]
    >>> round(gcj.x, 8), round(gcj.y, 8)
    (120.00567568, 40.00130479)
    """
    known = canonical_datum(datum)
    if not isinstance(known, str) or known not in {"wgs84", "cgcs2000", *_OFFSET}:
        raise InputError(
            f"this way leads to wgs84, cgcs2000, gcj02 and bd09, not to {datum!r}; use "
            "GeoSeries.to_crs for a CRS"
        )
    plain = points if points.crs is None else points.to_crs(_WGS84)
    x, y = _coordinates(plain)
    _refuse_range(x, y, "wgs84")
    if known in _OFFSET:
        inside = _in_china(x, y)
        lon, lat = _wgs84_to_gcj02(x, y)
        if known == "bd09":
            lon, lat = _gcj02_to_bd09(lon, lat)
        x, y = np.where(inside, lon, x), np.where(inside, lat, y)
    return _points(x, y, plain, crs=_REGISTERED.get(str(known)))


def accuracy_m(
    datum: Any, *, bounds: tuple[float, float, float, float] | None = None
) -> float | None:
    """Tell how well a datum's conversion to WGS-84 is known.

    Parameters
    ----------
    datum : str, int or pyproj.CRS
        As `canonical_datum` takes it.
    bounds : tuple of four floats, optional
        West, south, east and north in degrees: where the points are. By default wherever the CRS
        is used.

    Returns
    -------
    float or None
        Metres, as the EPSG register publishes them for the best conversion that holds all over
        `bounds`; 1 for CGCS2000 (centimetres, and the motion of the plate since 2000). None where
        nothing is published: for GCJ-02 and BD-09, for parameters given in a PROJ string, and
        wherever `ballpark` is true.

    Examples
    --------
    >>> accuracy_m("wgs84"), accuracy_m("EPSG:4548"), accuracy_m("xian80")
    (0.0, 1.0, None)
    >>> accuracy_m("beijing54", bounds=(108.0, 36.0, 109.0, 38.0))
    1.0
    """
    known = canonical_datum(datum)
    if isinstance(known, str) and (known == "wgs84" or known in _OFFSET):
        return 0.0 if known == "wgs84" else None
    crs = _as_crs(known)
    if _is_cgcs2000(crs):
        return 1.0
    best = [each.accuracy for each in _holding(crs, bounds) if each.accuracy >= 0]
    return min(best, default=None)


def ballpark(datum: Any, *, bounds: tuple[float, float, float, float] | None = None) -> bool:
    """Tell whether PROJ knows no parameters from a datum to WGS-84 and would shift nothing.

    Parameters
    ----------
    datum : str, int or pyproj.CRS
        As `canonical_datum` takes it.
    bounds : tuple of four floats, optional
        West, south, east and north in degrees: where the points are. By default wherever the CRS
        is used.

    Returns
    -------
    bool
        True where at least a part of `bounds` has nothing but a "ballpark" conversion. CGCS2000 is
        one to PROJ too, but rightly shifts nothing: False.

    Examples
    --------
    >>> ballpark("xian80"), ballpark("EPSG:4548")
    (True, False)
    >>> ballpark("+proj=longlat +ellps=krass +towgs84=15,-120,-50 +no_defs")
    False
    """
    known = canonical_datum(datum)
    if isinstance(known, str) and (known == "wgs84" or known in _OFFSET):
        return False
    crs = _as_crs(known)
    return not (_is_cgcs2000(crs) or _holding(crs, bounds))


def zones_within(bounds: Sequence[float]) -> tuple[GridZone, ...]:
    """Give the zones of the national grid that a county's bounds touch.

    Parameters
    ----------
    bounds : sequence of four floats
        West, south, east and north in degrees, as ``GeoSeries.total_bounds`` gives them.

    Returns
    -------
    tuple of GridZone
        Zones of 3 degrees before those of 6; among these, first the one that holds most of it.

    Raises
    ------
    InputError
        Where the bounds are not degrees.

    Examples
    --------
    >>> [(zone.width_degrees, zone.central_meridian) for zone in zones_within((116.6, 40.6, 117.8, 41.2))]
    [(3, 117.0), (6, 117.0)]
    """  # noqa: E501 - one example, one line
    west, south, east, north = (float(each) for each in bounds)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):  # noqa: PLR2004 - degrees
        raise InputError(f"bounds are west, south, east, north in degrees, not {tuple(bounds)}")
    found = []
    for width, numbers in _ZONES.items():
        for zone in (GridZone(width, number) for number in numbers):
            left, right = zone.central_meridian - width / 2, zone.central_meridian + width / 2
            if west <= right and east >= left:
                shared = min(east, right) - max(west, left)
                found.append((width, -shared, zone.number, zone))
    return tuple(zone for *_, zone in sorted(found, key=lambda each: each[:3]))


def grid_zone_crs(
    eastings: ArrayLike,
    northings: ArrayLike,
    *,
    datum: str = "cgcs2000",
    central_meridian: float | None = None,
) -> tuple[pyproj.CRS, ...]:
    """Give the CRS of the national grid that coordinates in metres can be in.

    Parameters
    ----------
    eastings, northings : array-like of float
        In metres; missing values say nothing. Eastings of eight digits begin with the number of
        their zone: 25 to 45 are zones of 3 degrees, 13 to 23 of 6.
    datum : {"cgcs2000", "xian80", "beijing54"}
        The datum.
    central_meridian : float, optional
        In degrees east, for eastings without a number.

    Returns
    -------
    tuple of pyproj.CRS
        One where the number or the central meridian decides; every one that is possible at these
        northings where nothing decides (`zones_within` tells which of them a county touches); none
        where these cannot be coordinates of the grid. A central meridian that zones of both widths
        have gives the zone of 3 degrees, unless the eastings reach beyond it: the coordinates are
        the same.

    Raises
    ------
    InputError
        Where the datum has no grid, or eastings of several zones, or with and without a number,
        stand in one table.

    Examples
    --------
    >>> [crs.to_epsg() for crs in grid_zone_crs([39527790.0], [4533963.0])]
    [4527]
    >>> [crs.to_epsg() for crs in grid_zone_crs([527790.0], [4533963.0], central_meridian=117)]
    [4548]
    >>> len(grid_zone_crs([527790.0], [4533963.0])), grid_zone_crs([117.3], [40.9])
    (19, ())
    """
    known = canonical_datum(datum)
    if not isinstance(known, str) or known not in _GEOGRAPHIC:
        raise InputError(f"{datum} has no Gauss-Kruger grid; say {', '.join(_GEOGRAPHIC)}")
    east, north = (np.asarray(each, dtype=float).ravel() for each in (eastings, northings))
    given = np.isfinite(east) & np.isfinite(north)
    east, north = east[given], north[given]
    prefix = np.unique(east // _ZONE_DIGITS).astype(int).tolist()
    offset = east % _ZONE_DIGITS
    if not (east.size and _all_within(offset, _EASTING_M) and _all_within(north, _NORTHING_M)):
        return ()
    zones = {number: width for width, numbers in _ZONES.items() for number in numbers}
    if any(number not in zones and number != 0 for number in prefix):
        return ()
    if len(prefix) > 1:
        raise InputError(
            "eastings begin with different zones' numbers "
            f"({', '.join(str(number or 'none') for number in prefix)}): convert the rows of each "
            "zone by themselves"
        )
    if prefix[0]:
        zone = GridZone(zones[prefix[0]], prefix[0])
        return (pyproj.CRS.from_epsg(zone.epsg(known, prefixed=True)),)
    reach = float(np.abs(offset - _FALSE_EASTING_M).max())
    return tuple(
        pyproj.CRS.from_epsg(zone.epsg(known))
        for zone in _unprefixed(reach, central_meridian)
        if _reaches(zone.epsg(known), north)
    )


def grid_swapped(eastings: ArrayLike, northings: ArrayLike) -> bool:
    """Tell whether eastings and northings of the national grid have changed places.

    Surveyors in China call the northing X and the easting Y, and so do many headers.

    Parameters
    ----------
    eastings, northings : array-like of float
        In metres; missing values say nothing.

    Returns
    -------
    bool
        True where all `eastings` can only be northings and the reverse. False also where nothing
        can be told: south of 8°N northings too have six digits.

    Examples
    --------
    >>> grid_swapped([4533963.0], [527790.0]), grid_swapped([527790.0], [4533963.0])
    (True, False)
    """
    east, north = (np.asarray(each, dtype=float).ravel() for each in (eastings, northings))
    given = np.isfinite(east) & np.isfinite(north)
    east, north = east[given], north[given]
    offset, prefix = north % _ZONE_DIGITS, north // _ZONE_DIGITS
    known = np.isin(prefix, [0, *_ZONES[3], *_ZONES[6]])
    return bool(
        east.size
        and known.all()
        and _all_within(offset, _EASTING_M)
        and _all_within(east, (_EASTING_M[1], _NORTHING_M[1]))
    )


def _unprefixed(reach_m: float, central_meridian: float | None) -> Iterator[GridZone]:
    """Give zones in which points that far from the central meridian can lie, 3 degrees first."""
    width = 3 if reach_m <= _NARROW_M else 6
    for zone in (GridZone(width, number) for number in _ZONES[width]):
        if central_meridian is None or zone.central_meridian == central_meridian:
            yield zone


def _reaches(code: int, northings: Floats) -> bool:
    """Tell whether a zone's part of China reaches as far north and south as the points."""
    area = pyproj.CRS.from_epsg(code).area_of_use
    # A degree along a meridian is 110.6 to 111.7 km; half a degree for what lies at the border.
    south, north = northings.min() / 111_700.0 - 0.5, northings.max() / 110_500.0 + 0.5
    return area is None or bool(north >= area.south and south <= area.north)


def _all_within(values: Floats, limits: tuple[float, float]) -> bool:
    return bool(((values >= limits[0]) & (values <= limits[1])).all())


def _coordinates(points: gpd.GeoSeries) -> tuple[Floats, Floats]:
    """Give x and y, NaN where a point is missing or empty."""
    shapes = np.asarray(points.array, dtype=object)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    wrong = np.flatnonzero(there & (shapely.get_type_id(shapes) != 0))
    if wrong.size:
        raise InputError(
            f"coordinates are converted point by point, but row {points.index[wrong[0]]} is a "
            f"{shapes[wrong[0]].geom_type}; take its centroid or its vertices"
        )
    x, y = np.full(len(shapes), np.nan), np.full(len(shapes), np.nan)
    x[there], y[there] = shapely.get_x(shapes[there]), shapely.get_y(shapes[there])
    return x, y


def _points(
    x: Floats, y: Floats, like: gpd.GeoSeries, *, crs: int | None = _WGS84
) -> gpd.GeoSeries:
    known = ~(np.isnan(x) | np.isnan(y))
    shapes = np.full(len(x), None, dtype=object)
    shapes[known] = shapely.points(x[known], y[known])
    return gpd.GeoSeries(shapes, index=like.index, crs=crs)


def _as_crs(known: str | pyproj.CRS) -> pyproj.CRS:
    return pyproj.CRS.from_epsg(_REGISTERED[known]) if isinstance(known, str) else known


def _is_cgcs2000(crs: pyproj.CRS) -> bool:
    """Tell whether a CRS rests on CGCS2000 and brings no parameters of its own."""
    base = None if crs.is_bound else crs.geodetic_crs
    return base is not None and base.to_2d().to_epsg() == _GEOGRAPHIC["cgcs2000"]


def _words(known: str | pyproj.CRS) -> str:
    if isinstance(known, str):
        return known
    code = known.to_epsg()
    return f"EPSG:{code} ({known.name})" if code else known.srs


def _refuse_crs(points: gpd.GeoSeries, known: str | pyproj.CRS) -> None:
    if points.crs is None:
        return
    degrees = isinstance(known, str) or known.is_geographic
    if degrees and not points.crs.is_geographic:
        raise InputError(
            f"{_words(known)} coordinates are degrees, but the points are in "
            f"{points.crs.to_string()}"
        )
    if not degrees and points.crs != known:
        raise InputError(
            f"the points say they are in {points.crs.to_string()}, not {_words(known)}: which one "
            "holds? Set it with .set_crs(…, allow_override=True), or give that as datum"
        )


def _refuse_range(x: Floats, y: Floats, known: str | pyproj.CRS) -> None:
    """Raise where coordinates cannot be in a datum, naming what they can be in."""
    given = ~(np.isnan(x) | np.isnan(y))
    x, y = x[given], y[given]
    if x.size == 0:
        return
    degrees = (np.abs(x) <= 180) & (np.abs(y) <= 90)  # noqa: PLR2004
    seen = f"x {x.min():,.10g} to {x.max():,.10g}, y {y.min():,.10g} to {y.max():,.10g}"
    if isinstance(known, str) or known.is_geographic:
        if 2 * np.count_nonzero(degrees) >= x.size:
            return
        base = known if isinstance(known, str) else {
            code: name for name, code in _GEOGRAPHIC.items()
        }.get(known.to_epsg())  # fmt: skip
        raise InputError(
            f"{_words(known)} coordinates are degrees, at most 180 and 90, but these are {seen}: "
            + _degrees_cure(x[~degrees], y[~degrees], base)
        )
    if degrees.all():
        raise InputError(
            f"{_words(known)} coordinates are metres, but these are degrees ({seen}): give the "
            "datum of longitudes and latitudes"
        )
    _refuse_zone(x, y, known, seen)


def _degrees_cure(x: Floats, y: Floats, datum: str | None) -> str:
    if bool(((np.abs(x) <= 90) & (np.abs(y) <= 180)).all()):  # noqa: PLR2004
        return "longitude is x and latitude y; have they changed places?"
    datum = datum if datum in _GEOGRAPHIC else "cgcs2000"
    if grid_swapped(x, y):
        return "these look like metres of the national grid, northing first; swap them and give its EPSG code"  # noqa: E501
    fits = _fitting(x, y, datum)
    return f"give their CRS, datum={fits}" if fits else "give the CRS they are in"


def _fitting(x: Floats, y: Floats, datum: str) -> str:
    """Give the codes that fit as words, or nothing."""
    try:
        codes = [crs.to_epsg() for crs in grid_zone_crs(x, y, datum=datum)]
    except InputError:
        return ""
    if len(codes) > 1:
        return f"'EPSG:{codes[0]}' … 'EPSG:{codes[-1]}' by the central meridian"
    return "".join(f"'EPSG:{code}'" for code in codes)


def _refuse_zone(x: Floats, y: Floats, known: pyproj.CRS, seen: str) -> None:
    """Raise where eastings do not have the zone's number a Gauss-Kruger CRS expects."""
    false_easting = _gauss_kruger_easting(known)
    if false_easting is None:
        return
    if grid_swapped(x, y):
        raise InputError(
            f"{_words(known)}: x is the easting and y the northing, but these are {seen}; in "
            "Chinese tables X often is the northing: swap them"
        )
    due = int(false_easting // _ZONE_DIGITS)
    found = np.unique(x // _ZONE_DIGITS).astype(int).tolist()
    if found == [due]:
        return
    code = known.to_epsg()
    datum, zone, _ = _grid_codes().get(code, (None, None, None)) if code else (None, None, None)
    told = "with" if due else "without"
    number = f" {due}" if due else ""
    cure = "correct them, or give the CRS they are in"
    if datum is not None and zone is not None:
        fits = _fitting(x, y, datum)
        if found == [0] and _all_within(x, _EASTING_M):
            cure = f"give datum='EPSG:{zone.epsg(datum)}', the same zone without its number"
        elif fits:
            cure = f"give datum={fits}"
        elif len(found) > 1:
            cure = "convert the rows of each zone by themselves"
    elif due == 0:
        cure = "take the zone's number off, or add it to +x_0"
    raise InputError(
        f"{_words(known)} has eastings {told} the zone's number{number}, but these are {seen}: "
        f"{cure}"
    )


def _gauss_kruger_easting(crs: pyproj.CRS) -> float | None:
    """Give the false easting of a Gauss-Kruger CRS whose zones are told by it, else None."""
    plan = crs.source_crs if crs.is_bound else crs
    operation = None if plan is None else plan.coordinate_operation
    if operation is None or operation.method_name != "Transverse Mercator":
        return None
    values = {each.name: each.value for each in operation.params}
    easting = values.get("False easting", 0.0)
    plain = (
        values.get("Scale factor at natural origin") == 1.0
        and values.get("Latitude of natural origin") == 0.0
        and values.get("False northing") == 0.0
        and easting % _ZONE_DIGITS == _FALSE_EASTING_M
    )
    return float(easting) if plain else None


def _by_proj(x: Floats, y: Floats, crs: pyproj.CRS) -> tuple[Floats, Floats]:
    """Convert by PROJ, each point by the most accurate operation that holds where it lies."""
    # A CRS with parameters of its own holds them for all its points.
    base = pyproj.CRS.from_epsg(_WGS84) if crs.is_bound else crs.geodetic_crs
    lon, lat = pyproj.Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
    todo = ~(np.isnan(x) | np.isnan(y))
    lost = np.flatnonzero(todo & ~(np.isfinite(lon) & np.isfinite(lat)))
    if lost.size:
        raise InputError(
            f"{_words(crs)}: {lost.size} points lie where it cannot be computed, the first at "
            f"x {x[lost[0]]:,.10g}, y {y[lost[0]]:,.10g}; are these coordinates in it?"
        )
    if crs.is_bound or _is_cgcs2000(crs):
        return lon, lat
    real, rough = _operations(base)
    for operation in real:
        here = todo & _in_area(operation, lon, lat)
        lon[here], lat[here] = operation.transform(lon[here], lat[here])
        todo &= ~here
    if todo.any():
        warnings.warn(
            f"{_words(crs)}: no parameters to WGS-84 are known for {int(todo.sum())} of "
            f"{len(x)} points, and nothing was shifted; positions may be off by on the order of a "
            "hundred metres. Local parameters can be given as a PROJ string with +towgs84=…",
            DatumWarning,
            stacklevel=3,
        )
        lon[todo], lat[todo] = rough[0].transform(lon[todo], lat[todo])
    return lon, lat


def _in_area(operation: pyproj.Transformer, lon: Floats, lat: Floats) -> Flags:
    area = operation.area_of_use
    if area is None:
        return np.ones(lon.shape, dtype=bool)
    # An area across the 180th meridian has its west east of its east.
    after, before = lon >= area.west, lon <= area.east
    across = (after & before) if area.west <= area.east else (after | before)
    return across & (lat >= area.south) & (lat <= area.north)


def _operations(
    crs: pyproj.CRS, bounds: tuple[float, float, float, float] | None = None
) -> tuple[list[pyproj.Transformer], list[pyproj.Transformer]]:
    """Give PROJ's operations to WGS-84, the most accurate first, and apart from them its ballparks.

    With `bounds`, only those that hold somewhere in them.
    """
    with warnings.catch_warnings():
        # It warns of grids it would like to have; what is used without them has its own accuracy.
        warnings.simplefilter("ignore", UserWarning)
        group = TransformerGroup(
            crs,
            _WGS84,
            always_xy=True,
            area_of_interest=None if bounds is None else AreaOfInterest(*bounds),
        )
    real = [each for each in group.transformers if "Ballpark" not in each.description]
    rough = [each for each in group.transformers if "Ballpark" in each.description]
    return sorted(real, key=lambda each: each.accuracy if each.accuracy >= 0 else np.inf), rough


def _holding(
    crs: pyproj.CRS, bounds: tuple[float, float, float, float] | None
) -> list[pyproj.Transformer]:
    """Give the operations that hold all over some bounds, or wherever the CRS is used."""
    area = bounds or (crs.area_of_use.bounds if crs.area_of_use else None)
    real = _operations(crs, area)[0]
    return [each for each in real if area is None or _holds_all_over(each, area)]


def _holds_all_over(
    operation: pyproj.Transformer, bounds: tuple[float, float, float, float]
) -> bool:
    west, south, east, north = bounds
    return bool(_in_area(operation, np.array([west, east]), np.array([south, north])).all())


def _in_china(lon: Floats, lat: Floats) -> Flags:
    # The box the published formulas are applied in.
    return np.asarray((lon > 72.004) & (lon < 137.8347) & (lat > 0.8293) & (lat < 55.8271))  # noqa: PLR2004


def _wgs84_to_gcj02(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    x, y = lon - 105.0, lat - 35.0
    root = np.sqrt(np.abs(x))
    waves = 20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += (
        2.0
        / 3.0
        * (
            waves
            + 20.0 * np.sin(y * np.pi)
            + 40.0 * np.sin(y / 3.0 * np.pi)
            + 160.0 * np.sin(y / 12.0 * np.pi)
            + 320.0 * np.sin(y * np.pi / 30.0)
        )
    )
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += (
        2.0
        / 3.0
        * (
            waves
            + 20.0 * np.sin(x * np.pi)
            + 40.0 * np.sin(x / 3.0 * np.pi)
            + 150.0 * np.sin(x / 12.0 * np.pi)
            + 300.0 * np.sin(x / 30.0 * np.pi)
        )
    )
    phi = np.radians(lat)
    magic = 1.0 - _KRASOVSKY_E2 * np.sin(phi) ** 2
    d_lat = np.degrees(north * magic**1.5 / (_KRASOVSKY_A * (1.0 - _KRASOVSKY_E2)))
    d_lon = np.degrees(east * np.sqrt(magic) / (_KRASOVSKY_A * np.cos(phi)))
    return lon + d_lon, lat + d_lat


def _gcj02_to_bd09(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _BD_X_PI)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _BD_X_PI)
    return radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006


def _inverted(
    forward: Callable[[Floats, Floats], tuple[Floats, Floats]], lon: Floats, lat: Floats
) -> tuple[Floats, Floats]:
    """Give what `forward` leads to `lon` and `lat` from; outside the box these themselves."""
    guess_lon, guess_lat = lon, lat
    for _ in range(_ITERATIONS):
        there_lon, there_lat = forward(guess_lon, guess_lat)
        guess_lon, guess_lat = guess_lon + (lon - there_lon), guess_lat + (lat - there_lat)
    inside = _in_china(lon, lat)
    return np.where(inside, guess_lon, lon), np.where(inside, guess_lat, lat)
