"""The datums Chinese coordinates come in, and the way from each to WGS-84.

GCJ-02 is WGS-84 with an obfuscating offset of some 500 m, BD-09 a further one on top. The forward
formulas are the ones published with map services' conversion tools; they are inverted here by
fixed-point iteration, since no closed inverse exists.
"""

from __future__ import annotations

import re

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from .errors import InputError

__all__ = ["DATUMS", "declared_datum", "to_wgs84"]

DATUMS = ("wgs84", "cgcs2000", "gcj02", "bd09")

# Krasovsky 1940, the ellipsoid the published GCJ-02 formulas use.
_KRASOVSKY_A = 6378245.0
_KRASOVSKY_E2 = 0.00669342162296594323
_BD_X_PI = np.pi * 3000.0 / 180.0
_ITERATIONS = 8

_DECLARED = (
    ("bd09", r"BD-?09|百度"),
    ("gcj02", r"GCJ-?02|火星|高德"),
    ("cgcs2000", r"CGCS-?2000|国家2000|2000国家|4490"),
    ("wgs84", r"WGS-?84|GPS|4326"),
)

Floats = NDArray[np.float64]


def declared_datum(text: str) -> str | None:
    """Give the datum a header or title declares, or None.

    Examples
    --------
    >>> [declared_datum(text) for text in ("经度（CGCS2000）", "百度坐标", "经度")]
    ['cgcs2000', 'bd09', None]
    """
    for datum, pattern in _DECLARED:
        if re.search(pattern, text, flags=re.IGNORECASE):
            return datum
    return None


def to_wgs84(points: gpd.GeoSeries, *, datum: str) -> gpd.GeoSeries:
    """Convert longitudes and latitudes to WGS-84.

    Parameters
    ----------
    points : GeoSeries of Point
        Longitudes and latitudes in degrees; its CRS, if any, must be geographic.
    datum : {"wgs84", "cgcs2000", "gcj02", "bd09"}
        What the coordinates are in. CGCS2000 differs from WGS-84 by centimetres and is taken as it
        is. Points outside China carry no offset and are left untouched.

    Returns
    -------
    GeoSeries
        EPSG:4326, index by index.

    Raises
    ------
    InputError
        Where the datum is unknown or the coordinates are not degrees.

    Examples
    --------
    >>> import geopandas as gpd
    >>> gcj = gpd.GeoSeries.from_xy([120.00567568], [40.00130479])
    >>> point = to_wgs84(gcj, datum="gcj02").iloc[0]
    >>> round(point.x, 6), round(point.y, 6)
    (120.0, 40.0)
    """
    if datum not in DATUMS:
        raise InputError(f"datum must be one of {', '.join(DATUMS)}, not {datum!r}")
    if points.crs is not None and not points.crs.is_geographic:
        raise InputError(
            f"{datum} coordinates are degrees, but the points are in {points.crs.to_string()}"
        )
    lon, lat = points.x.to_numpy(float), points.y.to_numpy(float)
    if datum == "bd09":
        lon, lat = _bd09_to_gcj02(lon, lat)
    if datum in {"gcj02", "bd09"}:
        lon, lat = _gcj02_to_wgs84(lon, lat)
    return gpd.GeoSeries.from_xy(lon, lat, index=points.index, crs="EPSG:4326")


def _in_china(lon: Floats, lat: Floats) -> NDArray[np.bool_]:
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
    inside = _in_china(lon, lat)
    return np.where(inside, lon + d_lon, lon), np.where(inside, lat + d_lat, lat)


def _gcj02_to_wgs84(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    guess_lon, guess_lat = lon.copy(), lat.copy()
    for _ in range(_ITERATIONS):
        there_lon, there_lat = _wgs84_to_gcj02(guess_lon, guess_lat)
        guess_lon += lon - there_lon
        guess_lat += lat - there_lat
    return guess_lon, guess_lat


def _bd09_to_gcj02(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    guess_lon, guess_lat = lon - 0.0065, lat - 0.006
    for _ in range(_ITERATIONS):
        radius = np.hypot(guess_lon, guess_lat) + 0.00002 * np.sin(guess_lat * _BD_X_PI)
        angle = np.arctan2(guess_lat, guess_lon) + 0.000003 * np.cos(guess_lon * _BD_X_PI)
        guess_lon += lon - (radius * np.cos(angle) + 0.0065)
        guess_lat += lat - (radius * np.sin(angle) + 0.006)
    inside = _in_china(lon, lat)
    return np.where(inside, guess_lon, lon), np.where(inside, guess_lat, lat)
