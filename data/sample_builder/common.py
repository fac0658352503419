"""Constants, the raster grid and coordinate helpers shared by the generator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
from pyproj import Transformer
from scipy import ndimage, sparse

if TYPE_CHECKING:
    from pathlib import Path

    from shapely import Polygon

FloatArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
IntArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
BoolArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

SEED = 20220048  # 滦政办〔2022〕48号, the plan the sample illustrates
STAMP = "示例数据，非测绘成果 / illustrative sample, not survey data"
GEOGRAPHIC_CRS = "EPSG:4326"
METRIC_CRS = "EPSG:4548"  # CGCS2000 / 3-degree Gauss-Kruger CM 117E, the county's own zone
COORDINATE_DECIMALS = 7  # 1e-7 degrees is about one centimetre

CELL_M = 150.0  # spacing of the routing grid, and so of road vertices in the mountains
MARGIN_M = 9_000.0  # how far the terrain (and so the roads) reach into the neighbours

COUNTY_NAME = "滦平县"
TOWN_CENTRE = (117.33, 40.94)  # lon, lat of the county town

EIGHT_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))

_TO_METRIC = Transformer.from_crs(GEOGRAPHIC_CRS, METRIC_CRS, always_xy=True)
_TO_GEOGRAPHIC = Transformer.from_crs(METRIC_CRS, GEOGRAPHIC_CRS, always_xy=True)


def to_metric(lonlat: FloatArray) -> FloatArray:
    """Project an (n, 2) array of lon/lat degrees to metres."""
    return np.column_stack(_TO_METRIC.transform(lonlat[:, 0], lonlat[:, 1]))


def to_lonlat(xy: FloatArray) -> FloatArray:
    """Unproject an (n, 2) array of metres to lon/lat degrees, rounded to a centimetre."""
    degrees = np.column_stack(_TO_GEOGRAPHIC.transform(xy[:, 0], xy[:, 1]))
    return np.round(degrees, COORDINATE_DECIMALS)


def stream(name: str) -> np.random.Generator:
    """Return the random stream of one step, independent of how much the other steps draw."""
    return np.random.default_rng([SEED, *name.encode()])


@dataclass(frozen=True)
class Sources:
    """The real tables the sample starts from."""

    units: pd.DataFrame
    townships: pd.DataFrame
    boxes: pd.DataFrame
    outlines: gpd.GeoDataFrame

    @property
    def county(self) -> Polygon:
        """Outline of the county, EPSG:4326."""
        rows = self.outlines[self.outlines["name"] == COUNTY_NAME]
        return rows.geometry.explode(index_parts=False).iloc[0]


def read_sources(folder: Path) -> Sources:
    """Read the unit list, the townships, their boxes and the county outlines."""
    return Sources(
        units=pd.read_csv(folder / "units.csv", dtype=str),
        townships=pd.read_csv(folder / "townships.csv", dtype=str),
        boxes=pd.read_csv(folder / "township_bboxes.csv"),
        outlines=gpd.read_file(folder / "county_outlines.geojson").set_crs(
            GEOGRAPHIC_CRS, allow_override=True
        ),
    )


@dataclass(frozen=True)
class Grid:
    """A regular grid of cell centres in the metric CRS; row 0 is the southernmost."""

    x0: float
    y0: float
    cell: float
    rows: int
    cols: int

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.rows * self.cols

    @cached_property
    def xy(self) -> FloatArray:
        """Centres of all cells in row-major order, shape (size, 2)."""
        row, col = np.divmod(np.arange(self.size), self.cols)
        return np.column_stack([self.x0 + col * self.cell, self.y0 + row * self.cell])

    def rowcol(self, xy: FloatArray) -> FloatArray:
        """Fractional row and column of points, shape (2, n)."""
        return np.vstack([(xy[:, 1] - self.y0) / self.cell, (xy[:, 0] - self.x0) / self.cell])

    def index(self, xy: FloatArray) -> IntArray:
        """Flat index of the cell nearest to each point (points outside go to the rim)."""
        row, col = np.rint(self.rowcol(xy)).astype(int)
        cell = np.clip(row, 0, self.rows - 1) * self.cols + np.clip(col, 0, self.cols - 1)
        return np.asarray(cell)

    def sample(self, values: FloatArray, xy: FloatArray) -> FloatArray:
        """Interpolate a flat raster bilinearly at points."""
        surface = values.reshape(self.rows, self.cols)
        found = ndimage.map_coordinates(surface, self.rowcol(xy), order=1, mode="nearest")
        return np.asarray(found)

    def smooth(self, values: FloatArray, sigma_cells: float) -> FloatArray:
        """Blur a flat raster with a Gaussian of the given width."""
        surface = values.reshape(self.rows, self.cols).astype(float)
        return np.asarray(ndimage.gaussian_filter(surface, sigma_cells, mode="nearest").ravel())

    @cached_property
    def moves(self) -> tuple[IntArray, IntArray, FloatArray]:
        """All moves between neighbouring cells: from, to, and length in metres."""
        index = np.arange(self.size).reshape(self.rows, self.cols)
        starts, ends, lengths = [], [], []
        for dr, dc in EIGHT_NEIGHBOURS:
            here = index[max(0, -dr) : self.rows - max(0, dr), max(0, -dc) : self.cols - max(0, dc)]
            starts.append(here.ravel())
            ends.append(here.ravel() + dr * self.cols + dc)
            lengths.append(np.full(here.size, self.cell * float(np.hypot(dr, dc))))
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(lengths)

    def cost_graph(self, cost: FloatArray, keep: BoolArray | None = None) -> sparse.csr_matrix:
        """Build the graph of moves; ``cost`` is one number a move, ``keep`` drops moves."""
        start, end, _ = self.moves
        if keep is not None:
            start, end, cost = start[keep], end[keep], cost[keep]
        return sparse.csr_matrix((cost, (start, end)), shape=(self.size, self.size))


def grid_over(bounds: tuple[float, float, float, float], *, cell: float, margin: float) -> Grid:
    """Lay a grid over lon/lat ``bounds`` with a margin in metres."""
    west, south, east, north = bounds
    corners = np.array([[west, south], [west, north], [east, south], [east, north]])
    xy = to_metric(corners)
    low, high = xy.min(axis=0) - margin, xy.max(axis=0) + margin
    x0, y0 = np.floor(low / cell) * cell
    cols, rows = (np.ceil((high - (x0, y0)) / cell).astype(int) + 1).tolist()
    return Grid(x0=float(x0), y0=float(y0), cell=cell, rows=rows, cols=cols)
