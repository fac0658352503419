"""Where people live: a unit's residents shared out over populated cells or over buildings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .rasters import open_raster

__all__ = [
    "GROUPS",
    "SOURCES",
    "PopulatedCells",
    "assumed_points",
    "demand_table",
    "middle_points",
    "people_of",
    "read_cells",
    "share_out",
    "unit_at",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Shapes = NDArray[np.object_]

GROUPS = ("residents", "elderly", "children")
# How a demand point is known, the best first.
SOURCES = ("surveyed", "footprints", "raster", "assumed")

_CHUNK = 1 << 22  # cells read at a time
_SIDE = 2048  # cells across a part of a tiled raster
_MARGIN = 2  # cells around the units: their edges are straight in their own CRS only


@dataclass(frozen=True, eq=False)
class PopulatedCells:
    """The cells of a population raster that hold people and whose centre lies in a unit.

    Parameters
    ----------
    x, y : ndarray of float, shape (n,)
        Centres, in the units' CRS.
    owner : ndarray of int, shape (n,)
        Positions of their units. Cells are ordered by unit, then from north to south and west to
        east as they lie in the raster.
    people : ndarray of float, shape (n,)
        What the raster says, above 0.
    nodata, negative, invalid : int
        How many cells in the rectangle around the units hold no data, a negative number, no number.
    """

    x: Floats
    y: Floats
    owner: Integers
    people: Floats
    nodata: int
    negative: int
    invalid: int


def unit_at(x: ArrayLike, y: ArrayLike, units: gpd.GeoDataFrame) -> Integers:
    """Tell which unit each place lies in.

    Parameters
    ----------
    x, y : array-like of float, shape (n,)
        Places, in the units' CRS.
    units : GeoDataFrame
        As `read_units` gives them.

    Returns
    -------
    ndarray of int, shape (n,)
        Positions of units; the first of them where borders are shared, -1 outside all.

    Examples
    --------
    >>> squares = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)])
    >>> unit_at([0.5, 1.0, 1.5, 9.0], [0.5, 0.5, 0.5, 0.5], squares)
    array([ 0,  0,  1, -1])
    """
    east, north = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    order = np.argsort(east, kind="stable")
    east, north = east[order], north[order]
    found = np.full(east.size, -1, dtype=np.int64)
    shapes = np.asarray(units.geometry.array)
    for position, (shape, box) in enumerate(zip(shapes, shapely.bounds(shapes), strict=True)):
        west, south, right, top = box
        first = np.searchsorted(east, west, side="left")
        last = np.searchsorted(east, right, side="right")
        near = (found[first:last] < 0) & (north[first:last] >= south) & (north[first:last] <= top)
        chosen = first + np.flatnonzero(near)
        if chosen.size:
            shapely.prepare(shape)
            found[chosen[shapely.intersects_xy(shape, east[chosen], north[chosen])]] = position
    back = np.empty_like(found)
    back[order] = found
    return back


def people_of(units: gpd.GeoDataFrame) -> dict[str, Floats]:
    """Give the people of each unit by group, NaN where not known.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.

    Returns
    -------
    dict of str to ndarray of float, shape (n_units,)
        `residents`, `elderly`, `children`.

    Examples
    --------
    >>> units = pd.DataFrame({"residents": [80, None], "elderly": [20, 5], "children": [9, 9]})
    >>> people_of(units)["residents"]
    array([80., nan])
    """
    return {
        name: units[name].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        for name in GROUPS
    }


def share_out(owner: Integers, weight: ArrayLike, units: gpd.GeoDataFrame) -> dict[str, Floats]:
    """Share each unit's people out among its points, in proportion to their weights.

    Parameters
    ----------
    owner : ndarray of int, shape (n,)
        By point, the position of its unit; -1 for none.
    weight : array-like of float, shape (n,)
        By point, above 0.
    units : GeoDataFrame
        As `read_units` gives them.

    Returns
    -------
    dict of str to ndarray of float, shape (n,)
        `residents`, `elderly`, `children`: fractions of people that sum to the unit's, NaN where
        the unit's are not known or the point is nobody's.

    Examples
    --------
    >>> units = pd.DataFrame({"residents": [80, None], "elderly": [20, 5], "children": [9, 9]})
    >>> share_out(np.array([0, 0, 1]), [1.0, 3.0, 1.0], units)["residents"]
    array([20., 60., nan])
    """
    taken = owner >= 0
    at = np.where(taken, owner, 0)
    weights = np.where(taken, np.asarray(weight, dtype=float), 0.0)
    total = np.bincount(at, weights=weights, minlength=len(units))[at]
    share = np.divide(weights, total, out=np.full(weights.size, np.nan), where=taken & (total > 0))
    return {name: people[at] * share for name, people in people_of(units).items()}


def middle_points(shapes: Shapes) -> Shapes:
    """Give a point inside each polygon: its centroid, or where that lies outside another one.

    Examples
    --------
    >>> u_shape = shapely.from_wkt("POLYGON ((0 0, 3 0, 3 3, 2 3, 2 1, 1 1, 1 3, 0 3, 0 0))")
    >>> points = middle_points(np.array([shapely.box(0, 0, 2, 2), u_shape]))
    >>> points[0].wkt, bool(u_shape.contains(points[1])), bool(u_shape.contains(u_shape.centroid))
    ('POINT (1 1)', True, False)
    """
    middles = np.asarray(shapely.centroid(shapes))
    outside = ~shapely.contains(shapes, middles)
    middles[outside] = shapely.point_on_surface(shapes[outside])
    return middles


def demand_table(
    codes: ArrayLike,
    people: Mapping[str, ArrayLike],
    points: Shapes,
    units: gpd.GeoDataFrame,
    *,
    ids: ArrayLike,
    source: str | NDArray[np.object_],
    names: ArrayLike | None = None,
) -> gpd.GeoDataFrame:
    """Put a table of demand points together.

    Parameters
    ----------
    codes, ids, names : array-like of str, shape (n,)
        The units' codes, the points' own and their names; names are missing where not given.
    people : mapping of str to array-like of float
        `residents`, `elderly`, `children`.
    points : ndarray of Point, shape (n,)
        In the units' CRS.
    units : GeoDataFrame
        As `read_units` gives them.
    source : str or array of str
        One of `SOURCES`, for all or by point.

    Returns
    -------
    GeoDataFrame
        As `read_demand` gives it.
    """
    named = [pd.NA] * len(points) if names is None else names
    return gpd.GeoDataFrame(
        {
            "demand_id": pd.array(ids, dtype="string"),
            "unit_code": pd.array(codes, dtype="string"),
            "name": pd.array(named, dtype="string"),
            **{name: np.asarray(people[name], dtype=float) for name in GROUPS},
            "role": "people",
            "source": source,
        },
        geometry=points,
        crs=units.crs,
    )


def assumed_points(units: gpd.GeoDataFrame, positions: Integers) -> gpd.GeoDataFrame:
    """Give one point inside the boundary of some units, where all their people are assumed to live.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.
    positions : ndarray of int
        Which of them.

    Returns
    -------
    GeoDataFrame
        As `read_demand`, with `source` = ``"assumed"``; people are missing where the unit's are.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> units = fc.read_units(fc.sample_county().units)
    >>> assumed_points(units, np.array([2]))[["demand_id", "residents", "source"]].values.tolist()
    [['130824001003-A0001', 5291.0, 'assumed']]
    """
    some = units.iloc[positions]
    codes = some["unit_code"].astype("string").to_numpy(dtype=object)
    return demand_table(
        codes,
        people_of(some),
        np.asarray(some.geometry.representative_point().array),
        units,
        ids=[f"{code}-A0001" for code in codes],
        source="assumed",
    )


def read_cells(
    path: str | Path, units: gpd.GeoDataFrame, *, band: int | None = None
) -> PopulatedCells:
    """Read the cells of a population raster that hold people and lie in a unit.

    The raster is read part by part, so that memory grows with the populated cells only.

    Parameters
    ----------
    path : path
        A raster GDAL reads, with people per cell and its CRS.
    units : GeoDataFrame
        As `read_units` gives them.
    band : int, optional
        Which band, from 1; needed only where there are several.

    Returns
    -------
    PopulatedCells
        With their centres in the units' CRS.

    Raises
    ------
    MissingDependencyError
        Where rasterio is not installed.
    MissingInputError, NoCrsError
        Where there is no such file, or it has no CRS.
    InputError
        Where it cannot be read, lies elsewhere, or has no people in any unit.

    Examples
    --------
    >>> import rasterio, tempfile
    >>> where = dict(crs="EPSG:32650", transform=rasterio.Affine(100, 0, 0, 0, -100, 200))
    >>> file = Path(tempfile.mkdtemp()) / "people.tif"
    >>> with rasterio.open(
    ...     file, "w", driver="GTiff", width=2, height=2, count=1, dtype="float32", **where
    ... ) as raster:
    ...     raster.write(np.array([[5, 0], [-9, 7]], "float32"), 1)
    >>> units = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 200, 200)], crs="EPSG:32650")
    >>> cells = read_cells(file, units)
    >>> cells.people, cells.x, cells.y, cells.negative
    (array([5., 7.]), array([ 50., 150.]), array([150.,  50.]), 1)
    """
    path = Path(path)
    with open_raster(path, band=band, holds="population") as (raster, chosen):
        there, back = _transformers(raster, units)
        box = _cells_around(raster, units, there)
        parts, rejected = [], np.zeros(3, dtype=np.int64)
        for window in _windows(box, raster.block_shapes[chosen - 1]):
            cells, counts = _populated(raster, chosen, window)
            rejected += counts
            parts.append(_in_units(raster, cells, units, back))
    x, y, owner, people, cell = (np.concatenate(each) for each in zip(*parts, strict=True))
    if people.size == 0:
        raise InputError(
            f"{path.name}: no cell with people lies in a unit ({rejected[0]:,} cells around them "
            "hold no data); give the raster of this county, with people per cell"
        )
    order = np.lexsort((cell, owner))
    nodata, negative, invalid = rejected.tolist()
    return PopulatedCells(
        x[order], y[order], owner[order], people[order], nodata, negative, invalid
    )


def _transformers(
    raster: Any, units: gpd.GeoDataFrame
) -> tuple[pyproj.Transformer, pyproj.Transformer]:
    """Give the ways from the units' CRS to the raster's, and back."""
    crs = pyproj.CRS.from_wkt(raster.crs.to_wkt())
    try:
        return (
            pyproj.Transformer.from_crs(units.crs, crs, always_xy=True),
            pyproj.Transformer.from_crs(crs, units.crs, always_xy=True),
        )
    except pyproj.exceptions.ProjError as fault:
        raise InputError(
            f"{raster.name}: there is no way from the units' CRS {units.crs.to_string()} to the "
            f"raster's ({fault})"
        ) from None


def _cells_around(
    raster: Any, units: gpd.GeoDataFrame, there: pyproj.Transformer
) -> tuple[int, int, int, int]:
    """Give the cells around the units: from and to which row, from and to which column."""
    west, south, east, north = there.transform_bounds(*units.total_bounds)
    x, y = np.array([west, west, east, east]), np.array([south, north, south, north])
    to_cell = ~raster.transform
    cell = np.array([to_cell.d * x + to_cell.e * y + to_cell.f,
                     to_cell.a * x + to_cell.b * y + to_cell.c])  # fmt: skip
    low, high = cell.min(axis=1), cell.max(axis=1)
    size = np.array([raster.height, raster.width])
    if not (np.isfinite(cell).all() and (high > 0).all() and (low < size).all()):
        raise InputError(
            f"{raster.name}: the raster does not cover the units. In its CRS it spans "
            f"{_extent(raster.bounds)}, the units {_extent((west, south, east, north))}; give the "
            "raster of this county, or correct its CRS"
        )
    first = np.clip(np.floor(low) - _MARGIN, 0, size).astype(int)
    last = np.clip(np.ceil(high) + _MARGIN, 0, size).astype(int)
    return int(first[0]), int(last[0]), int(first[1]), int(last[1])


def _extent(bounds: Any) -> str:
    west, south, east, north = bounds
    return f"x {west:,.4f} … {east:,.4f}, y {south:,.4f} … {north:,.4f}"


def _windows(
    box: tuple[int, int, int, int], block: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Give windows that fill the box, along the raster's blocks, of about `_CHUNK` cells at most.

    Examples
    --------
    >>> list(_windows((3, 5, 0, 4), (1, 4)))
    [((3, 5), (0, 4))]
    """
    top, bottom, left, right = box
    block_rows, block_columns = block
    across = max(block_columns, _SIDE // block_columns * block_columns)
    down = max(1, _CHUNK // min(across, right - left))
    down = max(down // block_rows * block_rows, min(down, block_rows))
    for low_row in range(top // block_rows * block_rows, bottom, down):
        for low_column in range(left // block_columns * block_columns, right, across):
            rows = max(low_row, top), min(low_row + down, bottom)
            columns = max(low_column, left), min(low_column + across, right)
            if rows[0] < rows[1] and columns[0] < columns[1]:
                yield rows, columns


def _populated(
    raster: Any, band: int, window: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[tuple[Integers, Integers, Floats], Integers]:
    """Give rows, columns and people of a window's populated cells, and how many are rejected.

    Rejected are cells without data, below 0 and without a number, in this order.
    """
    cells = raster.read(band, window=window)
    valid = raster.read_masks(band, window=window) > 0
    scale, offset = raster.scales[band - 1], raster.offsets[band - 1]
    if (scale, offset) != (1.0, 0.0):
        cells = cells * scale + offset
    known = valid & np.isfinite(cells)
    positive = known & (cells > 0)
    negative = np.count_nonzero(known & (cells < 0))
    counts = [valid.size - np.count_nonzero(valid), negative, np.count_nonzero(valid & ~known)]
    row, column = np.nonzero(positive)
    people = cells[row, column].astype(float)
    return (row + window[0][0], column + window[1][0], people), np.array(counts, dtype=np.int64)


def _in_units(
    raster: Any,
    cells: tuple[Integers, Integers, Floats],
    units: gpd.GeoDataFrame,
    back: pyproj.Transformer,
) -> tuple[Floats, Floats, Integers, Floats, Integers]:
    """Give centre, unit, people and number of the cells whose centre lies in a unit."""
    row, column, people = cells
    t = raster.transform
    across, down = column + 0.5, row + 0.5
    x, y = back.transform(
        t.a * across + t.b * down + t.c,
        t.d * across + t.e * down + t.f,
    )
    owner = unit_at(x, y, units)
    kept = owner >= 0
    number = row.astype(np.int64) * raster.width + column
    return x[kept], y[kept], owner[kept], people[kept], number[kept]
