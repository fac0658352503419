"""A mountain surface whose valleys drain to three rivers.

The surface is the steady state of river erosion: every cell drains to its lowest neighbour and the
slope along the way falls with the area drained (Flint's law, slope = k · area^-θ). Valleys, spurs
and passes then sit where they would in real mountains, and roads routed over them look natural.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import csgraph

from .common import (
    CELL_M,
    EIGHT_NEIGHBOURS,
    MARGIN_M,
    FloatArray,
    Grid,
    IntArray,
    grid_over,
    stream,
    to_metric,
)

COARSE_CELL_M = 300.0
EROSION_ROUNDS = 12
CONCAVITY = 0.45  # θ of Flint's law; 0.4-0.5 in most mountain rivers
STEEPNESS = 0.36  # k of Flint's law, chosen for 400-900 m between valley floor and ridge
RIVER_SLOPE = 0.0022  # fall of the main rivers, metres a metre
RIVER_MEANDER_M = 700.0
BEND_M = 650.0

# Rough courses (lon, lat, from the mouth upstream) of the three main valleys, with the height of
# the mouth in metres. The county has such valleys; these courses are drawn, not surveyed.
RIVERS: tuple[tuple[float, tuple[tuple[float, float], ...]], ...] = (
    (  # 潮河
        215.0,
        (
            (117.16, 40.55), (117.15, 40.66), (117.14, 40.71), (117.09, 40.78), (117.03, 40.83),
            (117.00, 40.87), (117.02, 40.94), (116.98, 41.06), (116.95, 41.40),
        ),
    ),
    (  # 滦河
        380.0,
        (
            (117.99, 40.92), (117.80, 40.95), (117.70, 40.94), (117.63, 40.98), (117.55, 41.03),
            (117.50, 41.09), (117.47, 41.17), (117.50, 41.25), (117.42, 41.40),
        ),
    ),
    (  # 兴洲河, joining the 滦河; the county town lies on it
        405.0,
        (
            (117.63, 40.98), (117.55, 40.975), (117.45, 40.965), (117.37, 40.945),
            (117.33, 40.938), (117.28, 40.925), (117.22, 40.93), (117.16, 40.95),
        ),
    ),
    (  # 伊逊河, joining the 滦河 from the north-east
        390.0,
        ((117.70, 40.94), (117.72, 41.02), (117.71, 41.10), (117.73, 41.19), (117.74, 41.40)),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Terrain:
    """Flat rasters over a grid.

    Attributes
    ----------
    grid
        The grid of the rasters.
    elevation
        Height in metres.
    drained_km2
        Area that drains through the cell: large in valley floors, small on ridges.
    ruggedness
        Steepest slope around the cell, metres a metre.
    """

    grid: Grid
    elevation: FloatArray
    drained_km2: FloatArray
    ruggedness: FloatArray


def octave_noise(
    shape: tuple[int, int], rng: np.random.Generator, *, scale: float, octaves: int
) -> FloatArray:
    """Sum smoothed white noise over octaves; ``scale`` is the width in cells of the widest."""
    total = np.zeros(shape)
    for octave in range(octaves):
        layer = ndimage.gaussian_filter(rng.standard_normal(shape), scale / 2**octave, mode="wrap")
        total += layer / layer.std() / 2**octave
    return total


def river_heights(grid: Grid) -> FloatArray:
    """Height of every river cell, NaN elsewhere."""
    rng = stream("rivers")
    heights = np.full(grid.size, np.nan)
    for mouth, course in RIVERS:
        corners = to_metric(np.array(course))
        along = np.r_[0.0, np.cumsum(np.hypot(*np.diff(corners, axis=0).T))]
        steps = np.arange(0.0, along[-1], grid.cell / 3)
        line = np.column_stack([np.interp(steps, along, corners[:, axis]) for axis in (0, 1)])
        wiggle = ndimage.gaussian_filter1d(
            rng.standard_normal((len(steps), 2)), 12.0, axis=0, mode="nearest"
        )
        line = ndimage.gaussian_filter1d(line, 14.0, axis=0, mode="nearest")
        line += RIVER_MEANDER_M * wiggle / wiggle.std() / 2
        inside = np.all((line >= (grid.x0, grid.y0)) & (line <= grid.xy[-1]), axis=1)
        cells = grid.index(line[inside])
        heights[cells] = np.fmin(heights[cells], mouth + RIVER_SLOPE * steps[inside])
    return heights


def lowest_neighbour(grid: Grid, elevation: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the cell each cell drains to, and the distance to it in metres."""
    surface = np.pad(
        elevation.reshape(grid.rows, grid.cols), 1, mode="constant", constant_values=np.inf
    )
    index = np.arange(grid.size).reshape(grid.rows, grid.cols)
    best = np.zeros((grid.rows, grid.cols))
    target, distance = index.copy(), np.zeros((grid.rows, grid.cols))
    centre = surface[1:-1, 1:-1]
    for dr, dc in EIGHT_NEIGHBOURS:
        length = grid.cell * float(np.hypot(dr, dc))
        other = surface[1 + dr : 1 + dr + grid.rows, 1 + dc : 1 + dc + grid.cols]
        fall = (centre - other) / length
        better = fall > best
        best[better] = fall[better]
        target[better] = (index + dr * grid.cols + dc)[better]
        distance[better] = length
    return target.ravel(), distance.ravel()


def erode(grid: Grid, base: FloatArray, hardness: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bring the surface to the steady state of river erosion above the river cells.

    Returns
    -------
    elevation, drained_km2
        Height in metres and drained area of every cell.
    """
    river = np.isfinite(base)
    start, end, length = grid.moves
    cost = length * np.exp(0.6 * (hardness[start] + hardness[end]))
    sources = np.flatnonzero(river)
    elevation, _, _ = csgraph.dijkstra(
        grid.cost_graph(cost), indices=sources, min_only=True, return_predecessors=True
    )
    elevation = np.where(river, base, elevation * 0.05 + np.nanmax(base))
    cell_km2 = (grid.cell / 1000.0) ** 2
    area = np.full(grid.size, cell_km2)
    for _ in range(EROSION_ROUNDS):
        target, distance = lowest_neighbour(grid, elevation)
        target = np.where(river, np.arange(grid.size), target)
        upward = np.argsort(elevation, kind="stable").tolist()
        to, far = target.tolist(), distance.tolist()
        drained = [cell_km2] * grid.size
        for cell in reversed(upward):
            if to[cell] != cell:
                drained[to[cell]] += drained[cell]
        area = np.array(drained)
        slope = (STEEPNESS * np.exp(0.25 * hardness) * (area / 1.0) ** -CONCAVITY).clip(max=0.75)
        rise = (slope * 0.28).tolist()
        level = np.where(river, base, 0.0).tolist()
        for cell in upward:
            if to[cell] != cell:
                level[cell] = level[to[cell]] + rise[cell] * far[cell]
        elevation = np.array(level)
    return elevation, area


def build_terrain(bounds: tuple[float, float, float, float]) -> Terrain:
    """Make the surface over lon/lat ``bounds`` and a margin around them."""
    coarse = grid_over(bounds, cell=COARSE_CELL_M, margin=MARGIN_M)
    rng = stream("terrain")
    hardness = octave_noise((coarse.rows, coarse.cols), rng, scale=18.0, octaves=5).ravel() * 0.7
    elevation, area = erode(coarse, river_heights(coarse), hardness)
    grid = grid_over(bounds, cell=CELL_M, margin=MARGIN_M)
    valley = coarse.smooth(np.log(area), 0.6)
    # Erosion on a grid prefers its eight directions; bending space hides them.
    bends = [ndimage.gaussian_filter(rng.standard_normal((grid.rows, grid.cols)), 13.0)
             for _ in range(2)]  # fmt: skip
    at = grid.xy + BEND_M * np.column_stack([(bend / bend.std()).ravel() for bend in bends])
    fine_noise = octave_noise((grid.rows, grid.cols), rng, scale=4.0, octaves=2).ravel()
    height = grid.smooth(coarse.sample(coarse.smooth(elevation, 0.7), at), 1.0)
    drained = np.exp(coarse.sample(valley, at))
    height = np.round(height + 3.0 * fine_noise, 2)  # rounding keeps the routes reproducible
    surface = height.reshape(grid.rows, grid.cols)
    slope = np.hypot(*np.gradient(surface, grid.cell)).ravel()
    return Terrain(
        grid=grid,
        elevation=height,
        drained_km2=np.asarray(np.round(drained, 4), dtype=float),
        ruggedness=np.round(grid.smooth(slope, 1.0), 4),
    )
