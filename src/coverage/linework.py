"""Cutting many lines at once."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["substrings"]

Floats = NDArray[np.float64]


def substrings(lines: NDArray[np.object_], start: Floats, end: Floats) -> NDArray[np.object_]:
    """Give the part of each line between two fractions of its length.

    Parameters
    ----------
    lines : ndarray of shapely.LineString
        In any CRS.
    start, end : ndarray of float
        Fractions in [0, 1] of each line's length, `start` ≤ `end`.

    Returns
    -------
    ndarray of shapely.LineString
        Index by index; its first and last points are interpolated on the line. A part of no length
        has two equal points.

    Examples
    --------
    >>> import numpy as np, shapely
    >>> line = shapely.LineString([(0, 0), (10, 0), (10, 10)])
    >>> substrings(np.array([line]), np.array([0.25]), np.array([1.0]))[0].wkt
    'LINESTRING (5 0, 10 0, 10 10)'
    """
    lines = np.asarray(lines, dtype=object)
    result = lines.copy()
    cut = np.flatnonzero((start > 0) | (end < 1))
    if cut.size == 0:
        return result
    lines, start, end = lines[cut], start[cut], end[cut]
    xy, which = shapely.get_coordinates(lines, return_index=True)
    step = np.r_[0.0, np.hypot(*np.diff(xy, axis=0).T)]
    step[np.r_[True, which[1:] != which[:-1]]] = 0.0
    run = np.cumsum(step)
    first = np.flatnonzero(np.r_[True, which[1:] != which[:-1]])
    along = run - run[first][which]
    total = along[np.r_[first[1:], len(which)] - 1]
    low, high = start * total, end * total
    inside = np.flatnonzero((along > low[which]) & (along < high[which]))
    ends = [shapely.line_interpolate_point(lines, at) for at in (low, high)]
    count = len(lines)
    owner = np.concatenate([np.arange(count), which[inside], np.arange(count)])
    rank = np.repeat([0, 1, 2], [count, inside.size, count])
    points = np.concatenate(
        [shapely.get_coordinates(ends[0]), xy[inside], shapely.get_coordinates(ends[1])]
    )
    order = np.lexsort((rank, owner))  # stable: vertices keep their order within a line
    result[cut] = shapely.linestrings(points[order], indices=owner[order])
    return result
