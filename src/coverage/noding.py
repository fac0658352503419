"""Noding: lines that cross or touch at grade are given a common vertex there.

Everything works on flat arrays: the vertices of all lines, one line after the other, and which
line each belongs to. Two lines meet where they have a vertex with the same `key`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

__all__ = ["Noded", "duplicate_lines", "node_lines", "vertex_keys"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Segments looked at together: few enough for tight boxes, enough to keep the search tree small.
_SPAN = 8
# Pairs looked at in one go, which bounds memory.
_CHUNK = 200_000
# A line that already meets another within so many tolerances of its end is a stub beyond the
# junction, not a gap before it.
_STUB_TOLERANCES = 10.0

_JOIN_COLUMNS = ("rule", "line", "other", "x", "y", "gap_m")


@dataclass(frozen=True)
class Noded:
    """Lines with a vertex wherever they meet.

    Attributes
    ----------
    coords : ndarray of float, shape (n_vertices, 2)
        Vertices of all lines, in the units given. Those given are all kept, bit for bit.
    line : ndarray of int, shape (n_vertices,)
        Which line each vertex belongs to, ascending.
    key : ndarray of int, shape (n_vertices,)
        Lines meet where they share a key.
    joins : pandas.DataFrame
        What was added, one row a place: `rule` (``"crossing"``, ``"touch"``: a vertex of `line`
        lies on `other`, or ``"gap"``: an end of `line` was drawn on to `other`), `line`, `other`,
        `x`, `y` (in the units given), `gap_m`.
    apart : pandas.DataFrame
        Where lines cross or touch and were not joined, because one passes over the other: `line`,
        `other`, `x`, `y`.
    """

    coords: Floats
    line: Integers
    key: Integers
    joins: pd.DataFrame
    apart: pd.DataFrame


@dataclass(frozen=True)
class _Drawing:
    """Vertices, and which of them stood in the lines as drawn."""

    coords: Floats
    line: Integers
    drawn: Flags


@dataclass(frozen=True)
class _Spans:
    """Segments of the lines, and a search tree over runs of up to `_SPAN` of them."""

    start: Integers  # vertex each segment starts at; the next vertex is its end
    low: Floats
    high: Floats
    first: Integers  # first segment of each span
    count: Integers
    corners: Floats  # by span its lowest and highest corner, shape (n, 2, 2)
    tree: shapely.STRtree


def vertex_keys(coords: Floats) -> Integers:
    """Give equal coordinates, and only those, equal numbers.

    Parameters
    ----------
    coords : ndarray of float, shape (n, 2)
        Any coordinates.

    Returns
    -------
    ndarray of int, shape (n,)
        0 … k-1 in order of first appearance.

    Examples
    --------
    >>> vertex_keys(np.array([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0]]))
    array([0, 1, 0])
    """
    # Adding zero makes -0.0 and 0.0 the same bits.
    bits = np.ascontiguousarray(coords + 0.0).view(np.uint64).reshape(-1, 2)
    mixed = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed = (mixed + bits[:, 1]) * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    key, distinct = pd.factorize(mixed)
    sample = np.zeros(len(distinct), dtype=np.int64)
    sample[key] = np.arange(len(key))
    if not np.array_equal(bits[sample[key]], bits):  # two places mixed to one number: 1 in 10⁷
        key = pd.DataFrame(bits).groupby([0, 1], sort=False).ngroup().to_numpy()
    return np.asarray(key, dtype=np.int64)


def duplicate_lines(line: Integers, key: Integers) -> Integers:
    """Say of each line which earlier line has the same vertices, in either direction.

    Parameters
    ----------
    line, key : ndarray of int, shape (n_vertices,)
        Which line each vertex belongs to, ascending, and what identifies it.

    Returns
    -------
    ndarray of int, shape (n_lines,)
        The first line that is the same, -1 where the line is the first of its kind.

    Examples
    --------
    >>> duplicate_lines(np.array([0, 0, 1, 1, 2, 2]), np.array([7, 8, 8, 9, 8, 7]))
    array([-1, -1,  0])
    """
    start, stop = _ends(line)
    ends = np.sort(np.stack([key[start], key[stop]]), axis=0)
    sums = np.add.reduceat(key, start)
    alike = pd.DataFrame({"a": ends[0], "b": ends[1], "n": stop - start, "sum": sums})
    same = np.full(start.size, -1, dtype=np.int64)
    seen: dict[bytes, int] = {}
    for one in np.flatnonzero(alike.duplicated(keep=False)).tolist():
        path = key[start[one] : stop[one] + 1]
        shape = min(path.tobytes(), path[::-1].tobytes())
        same[one] = seen.get(shape, -1)
        seen.setdefault(shape, one)
    return same


def node_lines(
    coords: Floats,
    line: Integers,
    *,
    level: Integers | None = None,
    controlled: Flags | None = None,
    snap_tolerance_m: float = 0.0,
    metres_per_unit: tuple[float, float] = (1.0, 1.0),
) -> Noded:
    """Give lines a common vertex wherever they cross or touch at grade.

    Parameters
    ----------
    coords : ndarray of float, shape (n_vertices, 2)
        Vertices of all lines, one line after the other.
    line : ndarray of int, shape (n_vertices,)
        Which line each vertex belongs to: 0 … n_lines-1, ascending, each with two or more.
    level : ndarray of int, shape (n_lines,), optional
        Height order of each line. Lines of different level pass over each other: they meet only
        at a vertex that both have as drawn and that is an end of one of them.
    controlled : ndarray of bool, shape (n_lines,), optional
        Lines that others cross without meeting (motorways); ends that lie on them do meet them.
    snap_tolerance_m : float
        Loose ends are drawn on to another line's end within this distance in metres, else to the
        nearest point of another line of their level. 0 leaves them loose.
    metres_per_unit : tuple of float
        Metres for one unit of `coords` along x and along y.

    Returns
    -------
    Noded
        The lines with the vertices added.

    Notes
    -----
    Boxes of short runs of segments are paired by an STR tree, then segments are compared by the
    signs of cross products. A vertex within a few units in the last place of a segment is on it,
    and itself becomes the common vertex; a crossing is computed once and given to both, and
    crossings that rounding alone tells apart are one. Collinear overlaps get vertices at their
    ends.

    Examples
    --------
    >>> coords = np.array([[0.0, 0.0], [2.0, 2.0], [0.0, 2.0], [2.0, 0.0]])
    >>> noded = node_lines(coords, np.array([0, 0, 1, 1]))
    >>> noded.coords.tolist()
    [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]
    >>> noded.key
    array([0, 1, 2, 3, 1, 4])
    """
    n_lines = int(line[-1]) + 1
    level = np.zeros(n_lines, dtype=np.int64) if level is None else level
    controlled = np.zeros(n_lines, dtype=bool) if controlled is None else controlled
    drawing = _Drawing(coords, line, np.ones(len(line), dtype=bool))
    key = vertex_keys(coords)
    spans = _spans(coords, line)
    drawing, joins, apart = _join_crossings(drawing, spans, key, level, controlled)
    if len(joins):
        key = vertex_keys(drawing.coords)
    if snap_tolerance_m > 0:
        drawing, gaps = _join_loose_ends(
            drawing,
            key,
            *_lines_near_loose_ends(drawing, key, spans, line, snap_tolerance_m, metres_per_unit),
            level=level,
            controlled=controlled,
            tolerance_m=snap_tolerance_m,
            scale=np.asarray(metres_per_unit, dtype=float),
        )
        if len(gaps):
            joins = pd.concat([joins, gaps], ignore_index=True) if len(joins) else gaps
            key = vertex_keys(drawing.coords)
    return Noded(drawing.coords, drawing.line, _keys_by_level(drawing, key, level), joins, apart)


def _ends(line: Integers) -> tuple[Integers, Integers]:
    """Give the first and last vertex of each line."""
    start = np.flatnonzero(np.r_[True, line[1:] != line[:-1]])
    return start, np.r_[start[1:], len(line)] - 1


def _is_end(line: Integers) -> Flags:
    ends = np.zeros(len(line), dtype=bool)
    for each in _ends(line):
        ends[each] = True
    return ends


def _ranges(first: Integers, count: Integers) -> tuple[Integers, Integers]:
    """Give ``first[i] … first[i] + count[i] - 1`` for all i, and the i of each."""
    which = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    return (first - start)[which] + np.arange(len(which)), which


def _spans(coords: Floats, line: Integers) -> _Spans:
    moved = (coords[1:, 0] != coords[:-1, 0]) | (coords[1:, 1] != coords[:-1, 1])
    start = np.flatnonzero((line[1:] == line[:-1]) & moved)
    low = np.minimum(coords[start], coords[start + 1])
    high = np.maximum(coords[start], coords[start + 1])
    of_line = line[start]
    new_line = np.r_[True, of_line[1:] != of_line[:-1]][: start.size]
    begin = np.flatnonzero(new_line)
    rank = np.arange(start.size) - np.repeat(begin, np.diff(np.r_[begin, start.size]))
    first = np.flatnonzero(rank % _SPAN == 0)
    count = np.diff(np.r_[first, start.size])
    corners = np.empty((first.size, 2, 2))
    if first.size:
        corners[:, 0] = np.minimum.reduceat(low, first)
        corners[:, 1] = np.maximum.reduceat(high, first)
    # A diagonal has the box of its span and is the cheapest shape to put into the tree.
    tree = shapely.STRtree(shapely.linestrings(corners))
    return _Spans(start, low, high, first, count, corners, tree)


def _near_segments(coords: Floats, spans: _Spans) -> Iterator[tuple[Integers, Integers]]:
    """Give pairs of segments whose boxes meet, each pair once, in chunks."""
    step = coords[spans.start + 1] - coords[spans.start]
    boxes = spans.tree.geometries
    for begin in range(0, spans.first.size, _CHUNK // 4):
        piece = slice(begin, begin + _CHUNK // 4)
        one, two = spans.tree.query(boxes[piece])
        one = one + begin
        once = one < two
        one, two = one[once], two[once]
        for at in range(0, one.size, _CHUNK):
            yield _pairs_between(spans, one[at : at + _CHUNK], two[at : at + _CHUNK])
    if spans.first.size == 0:
        return
    # A run that goes steadily one way along x or y cannot meet itself.
    steady = (np.minimum.reduceat(step, spans.first) > 0).any(axis=1)
    steady |= (np.maximum.reduceat(step, spans.first) < 0).any(axis=1)
    winding = np.flatnonzero(~steady & (spans.count > 1))
    for at in range(0, winding.size, _CHUNK // _SPAN):
        own = winding[at : at + _CHUNK // _SPAN]
        one, two = _pairs_between(spans, own, own)
        yield one[one < two], two[one < two]


def _pairs_between(spans: _Spans, one: Integers, two: Integers) -> tuple[Integers, Integers]:
    """Give the pairs of segments, of span `one[i]` and span `two[i]`, whose boxes meet."""
    low = np.maximum(spans.corners[one, 0], spans.corners[two, 0])
    high = np.minimum(spans.corners[one, 1], spans.corners[two, 1])
    sides = []
    for span in (one, two):
        segment, pair = _ranges(spans.first[span], spans.count[span])
        inside = _boxes_meet(spans.low[segment], spans.high[segment], low[pair], high[pair])
        sides.append((segment[inside], pair[inside]))
    (segment_one, pair_one), (segment_two, pair_two) = sides
    count = np.bincount(pair_two, minlength=one.size)
    partner, mine = _ranges((np.cumsum(count) - count)[pair_one], count[pair_one])
    i, j = segment_one[mine], segment_two[partner]
    meet = _boxes_meet(spans.low[i], spans.high[i], spans.low[j], spans.high[j])
    return i[meet], j[meet]


def _boxes_meet(low: Floats, high: Floats, other_low: Floats, other_high: Floats) -> Flags:
    return np.asarray(
        (low[:, 0] <= other_high[:, 0])
        & (high[:, 0] >= other_low[:, 0])
        & (low[:, 1] <= other_high[:, 1])
        & (high[:, 1] >= other_low[:, 1])
    )


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def _meetings(
    coords: Floats, key: Integers, spans: _Spans, rounding: float
) -> tuple[Integers, Integers, Integers, Integers, Floats]:
    """Find where segments meet without a common vertex.

    Returns
    -------
    host, guest : ndarray of int
        Segments that a vertex lies on, and that vertex.
    one, two : ndarray of int
        Segments that cross inside both.
    at : ndarray of float, shape (n, 2)
        Where those cross.
    """
    none = np.empty(0, dtype=np.int64)
    touches: list[tuple[Integers, Integers]] = [(none, none)]
    crossings: list[tuple[Integers, Integers, Floats]] = [(none, none, np.empty((0, 2)))]
    for i, j in _near_segments(coords, spans):
        side: dict[tuple[int, int], Floats] = {}
        clear = np.ones(i.size, dtype=bool)
        for which, (host, other) in enumerate(((i, j), (j, i))):
            start = spans.start[host]
            origin, along = coords[start], coords[start + 1] - coords[start]
            length = np.hypot(along[:, 0], along[:, 1])
            for end in (0, 1):
                guest = spans.start[other] + end
                offset = coords[guest] - origin
                side[which, end] = _cross(along, offset)
                reach = along[:, 0] * offset[:, 0] + along[:, 1] * offset[:, 1]
                shared = (key[guest] == key[start]) | (key[guest] == key[start + 1])
                on = np.abs(side[which, end]) <= rounding * length
                on &= (reach >= -rounding * length) & (reach <= length * (length + rounding))
                clear &= ~(on | shared)
                on &= ~shared
                touches.append((host[on], guest[on]))
        across = clear & (side[0, 0] * side[0, 1] < 0) & (side[1, 0] * side[1, 1] < 0)
        # The ends of segment j stand on opposite sides of i: where does it pass through i?
        fraction = side[0, 0][across] / (side[0, 0][across] - side[0, 1][across])
        start = spans.start[j[across]]
        at = coords[start] + fraction[:, None] * (coords[start + 1] - coords[start])
        crossings.append((i[across], j[across], at))
    host, guest = (np.concatenate(part) for part in zip(*touches, strict=True))
    one, two, at = (np.concatenate(part) for part in zip(*crossings, strict=True))
    return host, guest, one, two, at


def _join_crossings(
    drawing: _Drawing, spans: _Spans, key: Integers, level: Integers, controlled: Flags
) -> tuple[_Drawing, pd.DataFrame, pd.DataFrame]:
    coords, line = drawing.coords, drawing.line
    joins = pd.DataFrame(columns=list(_JOIN_COLUMNS))
    apart = pd.DataFrame(columns=["line", "other", "x", "y"])
    if spans.start.size == 0:
        return drawing, joins, apart
    rounding = 16 * float(np.spacing(np.abs(coords).max()))
    host, guest, one, two, at = _meetings(coords, key, spans, rounding)
    if host.size + one.size == 0:
        return drawing, joins, apart

    of_segment = line[spans.start]
    a, b = line[guest], of_segment[host]
    touch = (level[a] == level[b]) & ((controlled[a] == controlled[b]) | _is_end(line)[guest])
    c, d = of_segment[one], of_segment[two]
    cross = (level[c] == level[d]) & (controlled[c] == controlled[d])
    apart = pd.DataFrame(
        {
            "line": np.r_[a[~touch], c[~cross]],
            "other": np.r_[b[~touch], d[~cross]],
            "x": np.r_[coords[guest[~touch], 0], at[~cross, 0]],
            "y": np.r_[coords[guest[~touch], 1], at[~cross, 1]],
        }
    ).drop_duplicates(ignore_index=True)

    host, guest, a, b = host[touch], guest[touch], a[touch], b[touch]
    one, two, at, c, d = one[cross], two[cross], at[cross], c[cross], d[cross]
    at = _one_place(at, coords[guest], 4 * rounding)
    segment = np.r_[host, one, two]
    place = np.concatenate([coords[guest], at, at])
    start = spans.start[segment]
    along = ((place - coords[start]) * (coords[start + 1] - coords[start])).sum(axis=1)
    joins = pd.DataFrame(
        {
            "rule": np.repeat(["touch", "crossing"], [a.size, c.size]),
            "line": np.r_[a, c],
            "other": np.r_[b, d],
            "x": place[: a.size + c.size, 0],
            "y": place[: a.size + c.size, 1],
            "gap_m": 0.0,
        }
    ).drop_duplicates(ignore_index=True)
    # Several lines through one place give it to the segment several times.
    added = pd.DataFrame({"at": start + 1, "along": along, "x": place[:, 0], "y": place[:, 1]})
    kept = ~added.duplicated(["at", "x", "y"]).to_numpy()
    joined = _insert(
        drawing,
        start[kept] + 1,
        of_segment[segment][kept],
        along[kept],
        place[kept],
        np.zeros(int(kept.sum()), dtype=bool),
    )
    return joined, joins, apart


def _one_place(at: Floats, drawn: Floats, distance: float) -> Floats:
    """Make crossings that lie within rounding of each other, or of a drawn vertex, one place."""
    if len(at) == 0:
        return at
    points = np.concatenate([drawn, at])
    number = vertex_keys(points)
    sample = np.zeros(number.max() + 1, dtype=np.int64)
    sample[number[::-1]] = np.arange(len(number))[::-1]  # drawn vertices stand before crossings
    near = KDTree(points[sample]).query_pairs(distance, output_type="ndarray")
    if len(near) == 0:
        return at
    links = coo_array((np.ones(len(near)), near.T), shape=(sample.size, sample.size))
    _, group = connected_components(links, directed=False)
    order = np.lexsort((points[sample, 1], points[sample, 0], sample >= len(drawn), group))
    leader = sample[order[np.r_[True, np.diff(group[order]) > 0]]]
    return np.asarray(points[leader[group[number[len(drawn) :]]]])


def _insert(
    drawing: _Drawing,
    position: Integers,
    of_line: Integers,
    along: Floats,
    place: Floats,
    drawn: Flags,
) -> _Drawing:
    """Put vertices in before `position`; several there in the order of line, then `along`."""
    order = np.lexsort((along, of_line, position))
    at = position[order]
    return _Drawing(
        np.insert(drawing.coords, at, place[order], axis=0),
        np.insert(drawing.line, at, of_line[order]),
        np.insert(drawing.drawn, at, drawn[order]),
    )


def _lines_near_loose_ends(
    drawing: _Drawing,
    key: Integers,
    spans: _Spans,
    line: Integers,
    tolerance_m: float,
    metres_per_unit: tuple[float, float],
) -> tuple[Integers, Integers]:
    """Give pairs of a vertex that is a loose end and another line that may be in its reach.

    `spans` are those of the lines as drawn (`line`): crossings added since lie on them.
    """
    ends = np.concatenate(_ends(drawing.line))
    loose = ends[np.bincount(key)[key[ends]] == 1]
    reach = tolerance_m / np.asarray(metres_per_unit, dtype=float)
    corner = drawing.coords[loose]
    boxes = shapely.linestrings(np.stack([corner - reach, corner + reach], axis=1))
    end, span = spans.tree.query(boxes)
    pairs = pd.DataFrame({"end": loose[end], "other": line[spans.start[spans.first[span]]]})
    pairs = pairs[pairs["other"] != drawing.line[pairs["end"]]].drop_duplicates()
    return pairs["end"].to_numpy(), pairs["other"].to_numpy()


def _join_loose_ends(
    drawing: _Drawing,
    key: Integers,
    end: Integers,
    other: Integers,
    *,
    level: Integers,
    controlled: Flags,
    tolerance_m: float,
    scale: Floats,
) -> tuple[_Drawing, pd.DataFrame]:
    coords, line = drawing.coords, drawing.line
    nothing = drawing, pd.DataFrame(columns=list(_JOIN_COLUMNS))
    if end.size == 0:
        return nothing
    start, stop = _ends(line)
    first, which = _ranges(start[other], (stop - start)[other])
    end = end[which]
    moved = (coords[first] != coords[first + 1]).any(axis=1)
    end, first = end[moved], first[moved]

    # Everything relative to the loose end and in metres: nothing is lost to large coordinates.
    p, q = (coords[first] - coords[end]) * scale, (coords[first + 1] - coords[end]) * scale
    step = q - p
    fraction = np.clip(-(p * step).sum(axis=1) / (step * step).sum(axis=1), 0.0, 1.0)
    distance = np.hypot(*(p + fraction[:, None] * step).T)
    same = (level[line[first]] == level[line[end]]) & (
        controlled[line[first]] == controlled[line[end]]
    )
    is_end = _is_end(line)
    inner = (fraction > 0) & (fraction < 1)
    onto = np.where(fraction > 0, first + 1, first)
    place = np.where(
        inner[:, None],
        coords[first] + fraction[:, None] * (coords[first + 1] - coords[first]),
        coords[onto],
    )
    options = [
        pd.DataFrame(
            {
                "end": end,
                "to_line": 1,
                "gap_m": distance,
                "x": place[:, 0],
                "y": place[:, 1],
                "before": np.where(inner, first + 1, -1),
                "along": fraction,
                "other": line[first],
                "to_key": np.where(inner, -1, key[onto]),
            }
        )[same & (distance <= tolerance_m)]
    ]
    for vertex, offset in ((first, p), (first + 1, q)):
        gap = np.hypot(offset[:, 0], offset[:, 1])
        options.append(
            pd.DataFrame(
                {
                    "end": end,
                    "to_line": 0,
                    "gap_m": gap,
                    "x": coords[vertex, 0],
                    "y": coords[vertex, 1],
                    "before": -1,
                    "along": 0.0,
                    "other": line[vertex],
                    "to_key": key[vertex],
                }
            )[is_end[vertex] & (gap <= tolerance_m)]
        )
    table = pd.concat(options, ignore_index=True)
    table = table[~_is_stub(table, drawing, key, tolerance_m, scale)]
    # Where a crossing was put on a line depends in its last digits on the order of the lines.
    table["micrometres"] = (table["gap_m"] * 1e6).round()
    table = table.sort_values(["end", "to_line", "micrometres", "x", "y", "other"])
    ranked, table = table, table.drop_duplicates("end")
    if len(table) == 0:
        return nothing
    # Of two loose ends that would each be drawn to the other, one is.
    own = pd.Series(key[table["end"]], index=table.index)
    back = table["to_key"].map(pd.Series(table["to_key"].to_numpy(), index=own.to_numpy()))
    here = coords[table["end"]]
    later = (here[:, 0] > table["x"]) | ((here[:, 0] == table["x"]) & (here[:, 1] > table["y"]))
    table = table[~((back == own) & later)]

    joins = pd.DataFrame(
        {
            "rule": "gap",
            "line": line[table["end"]],
            "other": table["other"].to_numpy(),
            "x": table["x"].to_numpy(),
            "y": table["y"].to_numpy(),
            "gap_m": table["gap_m"].to_numpy(),
        }
    )
    place = table[["x", "y"]].to_numpy()
    grown = table["end"].to_numpy()
    # Where lines run on top of each other, all that pass the place get it.
    rounding = 16 * float(np.spacing(np.abs(coords).max()))
    passing = ranked[ranked["before"] >= 0].merge(table[["end", "x", "y"]], on="end")
    passing = passing[
        (abs(passing["x_x"] - passing["x_y"]) <= rounding)
        & (abs(passing["y_x"] - passing["y_y"]) <= rounding)
    ].drop_duplicates(["before", "x_y", "y_y"])
    joined = _insert(
        drawing,
        np.r_[np.where(np.isin(grown, start), grown, grown + 1), passing["before"].to_numpy()],
        np.r_[line[grown], passing["other"].to_numpy()],
        np.r_[np.zeros(grown.size), passing["along"].to_numpy()],
        np.concatenate([place, passing[["x_y", "y_y"]].to_numpy()]),
        np.repeat([True, False], [grown.size, len(passing)]),
    )
    return joined, joins


def _is_stub(
    table: pd.DataFrame, drawing: _Drawing, key: Integers, tolerance_m: float, scale: Floats
) -> Flags:
    """Say which loose ends' lines already meet the other line close by."""
    coords, line = drawing.coords, drawing.line
    start, stop = _ends(line)
    end = table["end"].to_numpy()
    own = line[end]
    vertex, row = _ranges(start[own], stop[own] - start[own] + 1)
    gap = (coords[vertex] - coords[end[row]]) * scale
    near = np.hypot(gap[:, 0], gap[:, 1]) <= _STUB_TOLERANCES * tolerance_m
    vertex, row = vertex[near], row[near]
    shared = np.bincount(key)[key] > 1
    asked = np.zeros(len(start), dtype=bool)
    asked[table["other"]] = True
    there = shared & asked[line]
    vertex, row = vertex[shared[vertex]], row[shared[vertex]]
    pairs = line[there] * np.int64(len(key)) + key[there]
    wanted = table["other"].to_numpy()[row] * np.int64(len(key)) + key[vertex]
    stub = np.zeros(len(table), dtype=bool)
    stub[row[np.isin(wanted, pairs)]] = True
    return stub


def _keys_by_level(drawing: _Drawing, key: Integers, level: Integers) -> Integers:
    """Take vertices of different levels apart, but where a line as drawn ends at another's."""
    if level.min() == level.max():
        return key
    own = level[drawing.line]
    low, high = np.full(key.max() + 1, own.max()), np.full(key.max() + 1, own.min())
    np.minimum.at(low, key, own)
    np.maximum.at(high, key, own)
    mixed = np.flatnonzero((low < high)[key])
    if mixed.size == 0:
        return key
    table = pd.DataFrame(
        {
            "key": key[mixed],
            "level": own[mixed],
            "drawn": drawing.drawn[mixed],
            "end": (_is_end(drawing.line) & drawing.drawn)[mixed],
        }
    )
    ended = table.groupby("key")["end"].transform("any")
    drawn = table.groupby(["key", "level"])["drawn"].transform("any")
    joined = int(own.min()) - 1  # a level of its own for all that meet there
    table["level"] = table["level"].where(~(ended & drawn), joined)
    apart = key.copy()
    apart[mixed] = key.max() + 1 + table.groupby(["key", "level"], sort=False).ngroup()
    return apart
