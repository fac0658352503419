"""Faults of unit boundaries: measured and listed, and repaired only where somebody asks for it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .errors import InputError, NoCrsError
from .intake import IntakeLog, catalogue

__all__ = ["boundary_faults", "log_boundaries", "log_repairs", "repair_boundaries"]

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Shapes = NDArray[np.object_]

_FAULTS = ("invalid", "overlap", "gap", "sliver", "multipart", "hole")
_CHANGES = (
    "made_valid",
    "overlap_removed",
    "gap_filled",
    "part_received",
    "part_given",
    "part_dropped",
    "nodes_matched",
)
_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7  # shapely's type numbers
_NOBODY, _FROZEN = -1, -2  # owners of a face that is no unit's, or not to be touched
_ROUNDING_M2 = 0.01  # less land than this that changes hands comes of matching corners
_MOST_LOST = 0.5  # of a unit's area: who would lose more to smaller units is in error as a whole
_ROUNDING = 32 * float(np.finfo(float).eps)  # of a coordinate, by a few operations
_PLACE = re.compile(r"^(?P<reason>.*)\[(?P<x>\S+) (?P<y>\S+)\]$")
_HECTARE_M2, _SQUARE_KM_M2 = 1e4, 1e6


def boundary_faults(
    units: gpd.GeoDataFrame, *, sliver_width_m: float = 10.0, min_area_m2: float = 1.0
) -> gpd.GeoDataFrame:
    """List and measure what is wrong with the boundaries of villages and communities.

    Parameters
    ----------
    units : GeoDataFrame
        Polygons with a column `unit_code`, in any CRS; stays as it is. Rows whose geometry is
        missing, empty or no polygon have no faults here; a polygon without an area, or with a
        corner that is no number, is only ``"invalid"``.
    sliver_width_m : float, default 10.0
        A part of a unit narrower than this, in metres, is a sliver.
    min_area_m2 : float, default 1.0
        Overlaps, gaps and holes smaller than this, in square metres, are taken for rounding.

    Returns
    -------
    GeoDataFrame
        One row a fault, in the CRS of `units`, ordered by fault and unit:

        - `fault`: ``"invalid"`` (a ring crosses itself or the like), ``"overlap"`` (land of two
          units), ``"gap"`` (enclosed land of no unit, with several neighbours), ``"sliver"`` (a
          part of a unit, other than its largest, narrower than `sliver_width_m`),
          ``"multipart"`` (a unit in several parts), ``"hole"`` (a gap with one neighbour only).
        - `unit_code`: the unit; of an overlap the one that comes first; of a gap the neighbour with
          the longest border on it. `other_code`: the second unit of an overlap, else missing.
        - `area_m2`: of the geometry; missing for ``"invalid"``.
        - `width_m`: mean width, 2 × area ÷ perimeter: right for a strip, half the side of a
          square. Missing for ``"invalid"`` and ``"multipart"``.
        - `parts`: how many parts a ``"multipart"`` has (nullable integer), else missing.
        - `reason`: why a ring is ``"invalid"``, in GEOS's words, else missing.
        - `geometry`: the shared land (all of it, of two units), the gap or hole, the sliver, the
          parts beside the largest, or the point where an invalid ring goes wrong.

    Raises
    ------
    NoCrsError
        Where `units` have no CRS.
    InputError
        Where there is no column `unit_code`, an option is no length or area, or the coordinates
        do not fit the CRS.

    See Also
    --------
    repair_boundaries : Mends what can be mended without knowing the place.

    Notes
    -----
    Faults are found in the units' own coordinates and measured in metres: in their CRS, or in the
    UTM zone of their middle where that is in degrees, in another unit, or a Mercator map. Invalid
    rings are measured on copies made valid (GEOS's "structure" method), their faults of other kinds
    included.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> squares = [shapely.box(0, 0, 101, 100), shapely.box(100, 0, 200, 100)]
    >>> units = gpd.GeoDataFrame({"unit_code": ["1", "2"]}, geometry=squares, crs="EPSG:4548")
    >>> boundary_faults(units)[["fault", "unit_code", "other_code", "area_m2", "width_m"]].round(2)
         fault unit_code other_code  area_m2  width_m
    0  overlap         1          2    100.0     0.99
    """
    _check(units, sliver_width_m=sliver_width_m, min_area_m2=min_area_m2)
    found = _found(units, sliver_width_m=sliver_width_m, min_area_m2=min_area_m2)
    codes = _codes(units)
    columns = {
        "fault": pd.array(found["fault"], "string"),
        "unit_code": codes.take(found["first"].to_numpy(), allow_fill=True),
        "other_code": codes.take(found["second"].to_numpy(), allow_fill=True),
        **{name: found[name] for name in ("area_m2", "width_m", "parts", "reason")},
    }
    return gpd.GeoDataFrame(columns, geometry=found["geometry"].to_numpy(), crs=units.crs)


def repair_boundaries(
    units: gpd.GeoDataFrame, *, sliver_width_m: float = 10.0
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Mend the boundaries of villages and communities, and list every change.

    Parameters
    ----------
    units : GeoDataFrame
        Polygons with a column `unit_code`, in any CRS; stays as it is. Rows whose geometry is
        missing, empty, no polygon or without an area stay as they are.
    sliver_width_m : float, default 10.0
        Gaps, holes and parts narrower than this, in metres, are mended; see `boundary_faults`.

    Returns
    -------
    repaired : GeoDataFrame
        A copy: index, columns and CRS as they came in. Boundaries that needed nothing are the same,
        to the last digit; mended ones have no heights.
    changes : DataFrame
        One row a unit and kind of change, in the order of the units and with their index, so that
        the areas of a unit follow on one another: `unit_code`; `change`; `area_before_m2`,
        `area_after_m2`; `moved_m`, the mean width of the land that changed hands
        (2 × area ÷ perimeter), missing where none did. `change` is one of

        - ``"made_valid"``: a ring crossed itself. The area before is what its corners give.
        - ``"overlap_removed"``: land of several units stays with the smallest of them (of equal
          ones, the first), so that an enclave is not swallowed.
        - ``"gap_filled"``: a narrow gap or hole goes to the unit with the longest border on it.
        - ``"part_given"``, ``"part_received"``: so does a sliver, unless it touches no other unit:
        - ``"part_dropped"``.
        - ``"nodes_matched"``: corners were added where neighbours have theirs; the area
          is the same but for less than 0.01 m².

    Raises
    ------
    NoCrsError
        Where `units` have no CRS.
    InputError
        Where there is no column `unit_code`, the option is no length, or the coordinates do not fit
        the CRS.

    See Also
    --------
    boundary_faults : What there is to mend, and afterwards what is left.

    Notes
    -----
    Wide gaps and holes, and parts that are no slivers, are left: only somebody who knows the place
    can tell whether they are meant. A unit that would lose more than half of its area to smaller
    ones (drawn twice, or a township among its villages) keeps its boundary and its overlaps. But
    for such units no overlap, narrow gap or sliver is left.

    The borders of the units concerned and of their neighbours are cut at every crossing into faces;
    every face gets one owner, and a unit is the union of its faces, so neighbours have the same
    corners and ``shapely.coverage_is_valid`` holds as a rule. It is not promised where borders run
    within rounding of each other.

    Examples
    --------
    >>> import geopandas as gpd, shapely
    >>> squares = [shapely.box(0, 0, 101, 100), shapely.box(100, 0, 200, 100)]
    >>> units = gpd.GeoDataFrame({"unit_code": ["1", "2"]}, geometry=squares, crs="EPSG:4548")
    >>> repaired, changes = repair_boundaries(units)
    >>> repaired.area.tolist()
    [10000.0, 10000.0]
    >>> changes.round(2)
      unit_code           change  area_before_m2  area_after_m2  moved_m
    0         1  overlap_removed         10100.0        10000.0     0.99
    """
    _check(units, sliver_width_m=sliver_width_m)
    drawn = np.asarray(units.geometry.array, dtype=object)
    valid = _valid_copies(drawn)
    scale = _scale(units.crs, valid)
    mended, moves = valid.copy(), _no_moves()
    concerned = _concerned(drawn, valid, scale, sliver_width_m)
    if concerned.any():
        around = _around(valid, np.flatnonzero(concerned))
        mended[around], moves = _rebuilt(valid, around, scale, sliver_width_m)
    # What is the same but for the ring's start or a Multi- around one part stays as it was drawn.
    mended = _drawn_alike(mended, valid)
    # A ring without any area cannot be mended.
    invalid = ~shapely.is_valid(drawn) & ~shapely.is_missing(drawn) & ~_blank(valid)
    changed = invalid | _differ(mended, valid)
    result = drawn.copy()
    result[changed] = mended[changed]
    repaired = units.copy()
    repaired[units.geometry.name] = gpd.GeoSeries(result, index=units.index, crs=units.crs).array
    areas = [scale.areas(shapes) for shapes in (drawn, valid, result)]
    changes = _changes(np.flatnonzero(changed), invalid, areas, moves)
    table = changes.drop(columns="unit").set_axis(units.index.take(changes["unit"]))
    table.insert(0, "unit_code", _codes(units).take(changes["unit"]))
    return repaired, table


def log_boundaries(
    units: gpd.GeoDataFrame,
    log: IntakeLog,
    *,
    sliver_width_m: float = 10.0,
    min_area_m2: float = 1.0,
) -> None:
    """Note the faults of the boundaries, but for those of rows set aside.

    Parameters
    ----------
    units : GeoDataFrame
        One row a row of the log, with a CRS and a column `unit_code`, which may have gaps.
    log : IntakeLog
        Takes the findings: ``boundary.invalid``, ``.overlap``, ``.gap``, ``.sliver``,
        ``.multipart`` and ``.hole``.
    sliver_width_m, min_area_m2 : float
        As for `boundary_faults`.

    Raises
    ------
    NoCrsError, InputError
        As `boundary_faults` does.
    """
    _check(units, sliver_width_m=sliver_width_m, min_area_m2=min_area_m2)
    found = _found(units, sliver_width_m=sliver_width_m, min_area_m2=min_area_m2)
    first, second = found["first"].to_numpy(), found["second"].to_numpy()
    # Rows set aside are measured too, for their land is no gap.
    aside = log.set_aside[first] | ((second >= 0) & log.set_aside[second])
    found, second = found[~aside], second[~aside]
    zh = catalogue()["boundary.invalid"]["reasons"]
    codes = units["unit_code"].astype("string").to_numpy(dtype=object, na_value="")
    reason = found["reason"].fillna("").to_numpy(dtype=object)
    words = {
        "value": np.where(second >= 0, codes[second], ""),
        "other_row": np.where(second >= 0, log.rows[second], 0),
        "area_zh": _area_words(found["area_m2"], "zh"),
        "area_en": _area_words(found["area_m2"], "en"),
        "width": [f"{width:,.1f}" for width in found["width_m"]],
        "parts": found["parts"].fillna(0),
        "reason_en": reason,
        "reason_zh": [zh.get(each, each) for each in reason],
        "place": [_place(each) for each in found["geometry"]],
    }
    told = pd.DataFrame({"unit": found["first"], "fault": found["fault"], **words})
    for fault in _FAULTS:
        part = told[told["fault"] == fault]
        _note(log, f"boundary.{fault}", part["unit"], part.drop(columns=["unit", "fault"]))


def log_repairs(changes: pd.DataFrame, log: IntakeLog, units: gpd.GeoDataFrame) -> None:
    """Note what a repair changed, with areas before and after.

    Parameters
    ----------
    changes : DataFrame
        From `repair_boundaries`.
    log : IntakeLog
        Takes the findings ``boundary.repaired``.
    units : GeoDataFrame
        The units that were repaired: one row a row of the log, no label twice in the index.
    """
    words = catalogue()["boundary.repaired"]["changes"]
    by = (changes["area_after_m2"] - changes["area_before_m2"]).to_numpy(dtype=float)
    told: dict[str, Any] = {
        "value": changes["unit_code"].astype("string").to_numpy(dtype=object, na_value="")
    }
    for lang in ("zh", "en"):
        told[f"change_{lang}"] = [words[each][lang] for each in changes["change"]]
        for when in ("before", "after"):
            told[f"{when}_{lang}"] = _area_words(changes[f"area_{when}_m2"], lang)
        sizes = _area_words(np.abs(by), lang)
        told[f"by_{lang}"] = [
            f"{'+' if grows else '-'}{size}" for grows, size in zip(by >= 0, sizes, strict=True)
        ]
    positions = pd.Series(units.index.get_indexer(changes.index))
    _note(log, "boundary.repaired", positions, pd.DataFrame(told))


# --- what is measured, and in which coordinates ---------------------------------------------------


@dataclass(frozen=True)
class _Scale:
    """From the units' coordinates to metres."""

    crs: pyproj.CRS
    metric: pyproj.CRS

    def metres(self, shapes: Shapes) -> Shapes:
        if self.crs == self.metric:
            return shapes
        return np.asarray(gpd.GeoSeries(shapes, crs=self.crs).to_crs(self.metric).array, object)

    @cached_property
    def change(self) -> pyproj.Transformer:
        return pyproj.Transformer.from_crs(self.crs, self.metric, always_xy=True)

    def lengths(self, ends: Floats) -> Floats:
        """Give the metres between pairs of places, an array of n × 2 × 2."""
        if self.crs != self.metric:
            ends = np.stack(self.change.transform(ends[..., 0], ends[..., 1]), axis=-1)
        step = ends[:, 1] - ends[:, 0]
        return np.asarray(np.hypot(step[:, 0], step[:, 1]))

    def areas(self, shapes: Shapes) -> Floats:
        with np.errstate(invalid="ignore"):  # corners that are no numbers
            return np.nan_to_num(shapely.area(self.metres(shapes)))

    def areas_and_widths(self, shapes: Shapes) -> tuple[Floats, Floats]:
        metres = self.metres(shapes)
        area = shapely.area(metres)
        return area, _mean_width(area, shapely.length(metres))


def _sums(group: NDArray[Any], values: NDArray[Any], count: int) -> Floats:
    """Add up the values of each group 0 … count - 1."""
    return np.bincount(group, weights=values, minlength=count).astype(float)


def _mean_width(area: Floats, perimeter: Floats) -> Floats:
    return np.divide(2 * area, perimeter, out=np.zeros(area.shape), where=perimeter > 0)


def _check(units: gpd.GeoDataFrame, **options: float) -> None:
    for name, value in options.items():
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number of 0 or more, not {value!r}")
    if units.crs is None:
        raise NoCrsError("units: the table has no CRS; set one with .set_crs")
    if "unit_code" not in units:
        raise InputError("units: a column unit_code is needed to name the units")


def _codes(units: gpd.GeoDataFrame) -> Any:
    """Give the codes as an array that may miss some: text, or the numbers they are."""
    codes = units["unit_code"]
    numeric = pd.api.types.is_numeric_dtype(codes)
    return (codes.convert_dtypes() if numeric else codes.astype("string")).array


def _scale(crs: pyproj.CRS, shapes: Shapes) -> _Scale:
    operation = crs.coordinate_operation
    # A Mercator map's metres are no metres away from the equator.
    stretched = operation is not None and bool(
        re.search(r"^(Popular Visualisation|Mercator)", operation.method_name or "")
    )
    metres = all(axis.unit_conversion_factor == 1 for axis in crs.axis_info[:2])
    if (metres and not stretched) or _blank(shapes).all():
        return _Scale(crs, crs)
    try:
        return _Scale(crs, gpd.GeoSeries(shapes, crs=crs).estimate_utm_crs())
    except RuntimeError as error:
        raise InputError(
            f"units: coordinates about {_place(shapely.MultiPoint(_middle(shapes)))} do not fit "
            f"{crs.to_string()}; check the order of the axes and the CRS"
        ) from error


def _middle(shapes: Shapes) -> Floats:
    x0, y0, x1, y1 = shapely.total_bounds(shapes)
    return np.array([[(x0 + x1) / 2, (y0 + y1) / 2]])


def _valid_copies(drawn: Shapes) -> Shapes:
    """Give the polygons, flat and valid; missing where there is nothing to measure."""
    shapes = drawn.copy()
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    # Where a corner is no number nobody knows how the border runs.
    shapes[owner[~np.isfinite(xy).all(axis=1)]] = None
    shapes = shapely.force_2d(_polygonal(shapes))
    wrong = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    # By "structure" what a ring runs round twice stays land.
    shapes[wrong] = _polygonal(
        shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    )
    shapes[_blank(shapes)] = None
    return shapes


def _blank(shapes: Shapes) -> Flags:
    return shapely.is_missing(shapes) | shapely.is_empty(shapes)


def _polygonal(shapes: Shapes) -> Shapes:
    """Give the polygons of each geometry; missing where it has none."""
    kinds = shapely.get_type_id(shapes)
    result = shapes.copy()
    result[~np.isin(kinds, (_POLYGON, _MULTIPOLYGON))] = None
    for position in np.flatnonzero(kinds == _COLLECTION):
        parts = shapely.get_parts(shapely.get_parts(shapes[position]))
        parts = parts[shapely.get_type_id(parts) == _POLYGON]
        result[position] = shapely.multipolygons(parts) if parts.size else None
    return result


# --- finding faults -------------------------------------------------------------------------------


def _found(units: gpd.GeoDataFrame, *, sliver_width_m: float, min_area_m2: float) -> pd.DataFrame:
    """Give one row a fault, the units by position (`second` is -1 where there is none)."""
    drawn = np.asarray(units.geometry.array, dtype=object)
    valid = _valid_copies(drawn)
    scale = _scale(units.crs, valid)
    mismatched = _mismatched(valid)
    tables = [
        _invalid(drawn),
        _overlaps(valid, mismatched, scale, min_area_m2),
        _gaps_and_holes(valid, mismatched, scale, min_area_m2),
        _parts(valid, scale, sliver_width_m),
    ]
    found = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    order = np.lexsort((found["second"], found["first"], found["fault"].map(_FAULTS.index)))
    return found.iloc[order].reset_index(drop=True)


def _faults(
    fault: Any,
    first: Positions,
    geometry: Shapes,
    *,
    second: Any = -1,
    area_m2: Any = np.nan,
    width_m: Any = np.nan,
    parts: Any = None,
    reason: Any = None,
) -> pd.DataFrame:
    count = first.size
    by_row: Any = lambda value: np.broadcast_to(np.asarray(value), count)  # noqa: E731
    return pd.DataFrame(
        {
            "fault": by_row(fault).astype(object),
            "first": first.astype(np.intp),
            "second": by_row(second).astype(np.intp),
            "area_m2": by_row(area_m2).astype(float),
            "width_m": by_row(width_m).astype(float),
            "parts": pd.array([pd.NA] * count if parts is None else parts, "Int64"),
            "reason": pd.array([pd.NA] * count if reason is None else reason, "string"),
            "geometry": geometry.astype(object),
        }
    )


def _invalid(drawn: Shapes) -> pd.DataFrame:
    polygons = np.isin(shapely.get_type_id(drawn), (_POLYGON, _MULTIPOLYGON, _COLLECTION))
    wrong = np.flatnonzero(polygons & ~shapely.is_valid(drawn))
    told = [_PLACE.match(text) for text in shapely.is_valid_reason(drawn[wrong])]
    places = np.array(
        [[float(each["x"]), float(each["y"])] if each else [np.nan, np.nan] for each in told]
    ).reshape(-1, 2)
    known = np.isfinite(places).all(axis=1)
    points = np.full(wrong.size, None, dtype=object)
    points[known] = shapely.points(places[known])
    reasons = [each["reason"].strip() if each else "" for each in told]
    return _faults("invalid", wrong, points, reason=reasons)


def _overlaps(valid: Shapes, mismatched: Flags, scale: _Scale, min_area_m2: float) -> pd.DataFrame:
    first, second = _doubtful_pairs(valid, mismatched)
    pieces = _polygonal(shapely.intersection(valid[first], valid[second]))
    some = ~_blank(pieces)
    first, second, pieces = first[some], second[some], pieces[some]
    area, width = scale.areas_and_widths(pieces)
    keep = (area > 0) & (area >= min_area_m2)
    return _faults(
        "overlap",
        first[keep],
        pieces[keep],
        second=second[keep],
        area_m2=area[keep],
        width_m=width[keep],
    )


def _mismatched(valid: Shapes) -> Flags:
    """Tell which units have a border that is not the neighbour's, corner by corner."""
    mismatched = np.zeros(valid.size, dtype=bool)
    there = ~_blank(valid)  # what is missing would shift the answers
    mismatched[there] = ~shapely.is_empty(shapely.coverage_invalid_edges(valid[there]))
    return mismatched


def _doubtful_pairs(valid: Shapes, mismatched: Flags) -> tuple[Positions, Positions]:
    """Give the pairs that touch and may overlap: of such a pair one at least is mismatched."""
    doubtful = np.flatnonzero(mismatched)
    asked, met = shapely.STRtree(valid).query(valid[doubtful], predicate="intersects")
    pairs = np.sort(np.stack([doubtful[asked], met], axis=1), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _gaps_and_holes(
    valid: Shapes, mismatched: Flags, scale: _Scale, min_area_m2: float
) -> pd.DataFrame:
    gaps = _gaps(valid, mismatched)
    area, width = scale.areas_and_widths(gaps)
    keep = (area > 0) & (area >= min_area_m2)
    gaps, area, width = gaps[keep], area[keep], width[keep]
    gap, unit, border = _borders_on(gaps, valid, scale)
    order = np.lexsort((unit, -border, gap))
    longest = order[np.unique(gap[order], return_index=True)[1]]
    neighbours = np.bincount(gap, minlength=gaps.size)
    fault = np.where(neighbours == 1, "hole", "gap")
    return _faults(fault, unit[longest], gaps, area_m2=area, width_m=width)


def _gaps(valid: Shapes, mismatched: Flags) -> Shapes:
    """Give the enclosed pieces of land that belong to no unit."""
    if _blank(valid).all():
        return np.array([], dtype=object)
    # Units that fit their neighbours are joined corner by corner, which is many times faster.
    land = shapely.union(
        shapely.coverage_union_all(valid[~mismatched]), shapely.union_all(valid[mismatched])
    )
    x0, y0, x1, y1 = shapely.bounds(land)
    margin = max(x1 - x0, y1 - y0) / 10
    frame = shapely.box(x0 - margin, y0 - margin, x1 + margin, y1 + margin)
    rest = shapely.get_parts(shapely.difference(frame, land))
    return rest[shapely.bounds(rest)[:, 0] >= x0]  # without what lies outside


def _borders_on(gaps: Shapes, valid: Shapes, scale: _Scale) -> tuple[Positions, Positions, Floats]:
    """Give, by gap and unit, the length of the border between them in metres."""
    rim = _segments(gaps)
    length = scale.lengths(rim.ends)
    # The nearest unit, since rounding may put a gap's corner beside the border it lies on.
    middle = shapely.points(rim.ends.mean(axis=1))
    segment, unit = shapely.STRtree(valid).query_nearest(middle, all_matches=True)
    pair, inverse = np.unique(rim.owner[segment] * len(valid) + unit, return_inverse=True)
    border = _sums(inverse, length[segment], pair.size)
    return (pair // len(valid)).astype(np.intp), (pair % len(valid)).astype(np.intp), border


def _parts(valid: Shapes, scale: _Scale, sliver_width_m: float) -> pd.DataFrame:
    parts, owner = shapely.get_parts(valid, return_index=True)
    count = np.bincount(owner, minlength=valid.size)
    several = count[owner] > 1
    parts, owner = parts[several], owner[several]
    area, width = scale.areas_and_widths(parts)
    beside = ~_largest(area, owner)
    parts, owner, area, width = parts[beside], owner[beside], area[beside], width[beside]
    thin = width < sliver_width_m
    units, inverse = np.unique(owner, return_inverse=True)
    return pd.concat(
        [
            _faults("sliver", owner[thin], parts[thin], area_m2=area[thin], width_m=width[thin]),
            _faults(
                "multipart",
                units,
                shapely.multipolygons(parts, indices=inverse) if parts.size else parts,
                area_m2=_sums(inverse, area, units.size),
                parts=count[units],
            ),
        ]
    )


def _largest(area: Floats, owner: Positions) -> Flags:
    """Tell which part is its owner's largest, one an owner."""
    order = np.lexsort((-area, owner))
    largest = np.zeros(area.size, dtype=bool)
    largest[order[np.unique(owner[order], return_index=True)[1]]] = True
    return largest


# --- segments and faces ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segments:
    """The straight pieces of all rings; `key` is the same for the same ends, either way round."""

    ends: Floats
    owner: Positions
    key: NDArray[np.int64]


def _segments(shapes: Shapes) -> _Segments:
    rings, owner = shapely.get_rings(shapes, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    start = np.flatnonzero((ring[1:] == ring[:-1]) & (xy[1:] != xy[:-1]).any(axis=1))
    # Zero has two signs and one place.
    place = np.unique((xy + 0.0).view(np.complex128).ravel(), return_inverse=True)[1]
    a, b = place[start], place[start + 1]
    return _Segments(
        np.stack([xy[start], xy[start + 1]], axis=1),
        owner[ring[start]],
        np.minimum(a, b) * (len(xy) + 1) + np.maximum(a, b),
    )


def _faces_between(lines: Shapes) -> Shapes:
    """Cut lines at every crossing and give the faces they enclose."""
    return shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.union_all(lines))))


@dataclass(frozen=True)
class _Faces:
    """Faces that fill a piece of ground, and which of them border on which."""

    shapes: Shapes
    area: Floats
    perimeter: Floats
    outer: Flags
    left: Positions
    right: Positions
    border: Floats

    def components(self, owner: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give every face the number of its component: connected faces of one owner."""
        same = owner[self.left] == owner[self.right]
        count = owner.size
        links = (np.ones(int(same.sum()), bool), (self.left[same], self.right[same]))
        labels: NDArray[np.int64] = connected_components(
            coo_array(links, shape=(count, count)), directed=False
        )[1]
        return labels.astype(np.int64)


def _faces(shapes: Shapes, scale: _Scale) -> _Faces:
    rim = _segments(shapes)
    length = scale.lengths(rim.ends)
    order = np.argsort(rim.key, kind="stable")
    twin = np.flatnonzero(rim.key[order][1:] == rim.key[order][:-1])
    one, two = order[twin], order[twin + 1]
    outer = np.ones(rim.owner.size, dtype=bool)
    outer[one] = outer[two] = False
    pair, inverse = np.unique(rim.owner[one] * shapes.size + rim.owner[two], return_inverse=True)
    return _Faces(
        shapes,
        scale.areas(shapes),
        _sums(rim.owner, length, shapes.size),
        _sums(rim.owner, outer, shapes.size) > 0,
        pair // shapes.size,
        pair % shapes.size,
        _sums(inverse, length[one], pair.size),
    )


# --- mending --------------------------------------------------------------------------------------


def _concerned(drawn: Shapes, valid: Shapes, scale: _Scale, sliver_width_m: float) -> Flags:
    """Tell which units have something to mend or border on it."""
    mismatched = _mismatched(valid)
    concerned = mismatched | (~shapely.is_valid(drawn) & ~_blank(valid))
    gaps = _gaps(valid, mismatched)
    thin = scale.areas_and_widths(gaps)[1] < sliver_width_m
    concerned[_borders_on(gaps[thin], valid, scale)[1]] = True
    parts = _parts(valid, scale, sliver_width_m)
    concerned[parts["first"].to_numpy()[parts["fault"] == "sliver"]] = True
    return concerned


def _around(valid: Shapes, positions: Positions) -> Positions:
    """Give the units at `positions` and all that touch them."""
    return np.unique(shapely.STRtree(valid).query(valid[positions], predicate="intersects")[1])


def _rebuilt(
    valid: Shapes, around: Positions, scale: _Scale, sliver_width_m: float
) -> tuple[Shapes, pd.DataFrame]:
    """Give the units at `around` without overlaps, slivers and narrow gaps, and what moved."""
    faces = _faces(_faces_between(shapely.boundary(valid[around])), scale)
    owner, stubborn, moves = _one_owner(faces, valid, around, scale)
    owner, later = _without_slivers(faces, owner, sliver_width_m)
    own = np.flatnonzero(owner >= 0)
    own = own[np.argsort(owner[own], kind="stable")]
    units, start = np.unique(owner[own], return_index=True)
    shapes = valid.copy()
    for unit, group in zip(units, np.split(own, start[1:]), strict=True):
        if unit not in stubborn:
            pieces = faces.shapes[group]
            shapes[unit] = pieces[0] if len(pieces) == 1 else shapely.coverage_union_all(pieces)
    lean = _without_needless_corners(shapes[around], valid[around])
    return lean, pd.concat([moves, later], ignore_index=True)


def _without_needless_corners(shapes: Shapes, models: Shapes) -> Shapes:
    """Take out corners on a straight border where lines crossed it that are gone.

    Corners that a unit had from the first stay, as do those where three borders meet; so what goes
    goes from both sides of a border.
    """
    parts, unit = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    old, old_unit = shapely.get_coordinates(models, return_index=True)
    every = np.unique(
        (np.concatenate([xy, old]) + 0.0).view(np.complex128).ravel(), return_inverse=True
    )[1]
    place, old_place = every[: len(xy)], every[len(xy) :]
    count = int(every.max(initial=-1)) + 1
    owned = np.isin(unit[part[ring]] * count + place, old_unit * count + old_place)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    steps = np.r_[place[start] * count + place[start + 1], place[start + 1] * count + place[start]]
    steps = np.unique(steps)
    here, there = steps // count, steps % count
    needless = np.bincount(here, minlength=count) == 2  # noqa: PLR2004 - a border runs through
    needless[place[owned]] = False
    first = np.searchsorted(here, np.flatnonzero(needless))
    where = np.zeros((count, 2))
    where[place] = xy
    a, v, b = where[there[first]], where[here[first]], where[there[first + 1]]
    needless[needless] = _straight(a, v, b)
    keep = ~needless[place]
    # A ring begins and ends in the same place; it is closed again where that goes.
    closing = np.r_[ring[1:] != ring[:-1], True][: ring.size]
    keep &= ~closing
    left = np.bincount(ring[keep], minlength=rings.size)
    keep |= (left < 3)[ring] & ~closing  # noqa: PLR2004 - a triangle
    rings = shapely.linearrings(xy[keep], indices=ring[keep])
    parts = shapely.polygons(rings, indices=part)
    result = shapes.copy()
    alone = np.bincount(unit, minlength=shapes.size)[unit] == 1
    result[unit[alone]] = parts[alone]
    several, which = np.unique(unit[~alone], return_inverse=True)
    if several.size:
        result[several] = shapely.multipolygons(parts[~alone], indices=which)
    return result


def _straight(a: Floats, v: Floats, b: Floats) -> Flags:
    """Tell whether v lies between a and b, but for the rounding of coordinates of their size."""
    one, two, whole = a - v, b - v, b - a
    cross = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    reach = np.hypot(*whole.T) * np.abs(v).max(axis=1) * _ROUNDING
    return (cross <= reach) & ((one * two).sum(axis=1) < 0)


def _no_moves() -> pd.DataFrame:
    return _moves("overlap_removed", np.array([], np.intp), np.array([]), np.array([]))


def _moves(change: str, unit: Any, area: Floats, perimeter: Floats) -> pd.DataFrame:
    """Give pieces of land that `unit` got (`area` above zero) or gave away."""
    return pd.DataFrame({"unit": unit, "change": change, "area": area, "perimeter": perimeter})


def _one_owner(
    faces: _Faces, valid: Shapes, around: Positions, scale: _Scale
) -> tuple[NDArray[np.int64], frozenset[int], pd.DataFrame]:
    """Give every face to the smallest unit that covers it."""
    spots = shapely.point_on_surface(faces.shapes)
    face, unit = shapely.STRtree(valid[around]).query(spots, predicate="intersects")
    size = scale.areas(valid[around])
    order = np.lexsort((unit, size[unit], face))
    face, unit = face[order], unit[order]
    wins = np.r_[True, face[1:] != face[:-1]][: face.size]
    owner = np.full(faces.area.size, _NOBODY, dtype=np.int64)
    owner[face[wins]] = around[unit[wins]]
    lost = _sums(unit[~wins], faces.area[face[~wins]], around.size)
    stubborn = around[lost > _MOST_LOST * size]
    owner[np.isin(owner, stubborn)] = _FROZEN
    # What looks empty may hold units that are not concerned.
    others = np.delete(valid, around)
    nobodys = np.flatnonzero(owner == _NOBODY)
    held = shapely.STRtree(faces.shapes[nobodys]).query(
        shapely.point_on_surface(others), predicate="intersects"
    )[1]
    owner[nobodys[held]] = _FROZEN
    gone = ~wins & ~np.isin(around[unit], stubborn)
    moves = _moves(
        "overlap_removed",
        around[unit[gone]],
        -faces.area[face[gone]],
        faces.perimeter[face[gone]],
    )
    return owner, frozenset(stubborn.tolist()), moves


def _without_slivers(
    faces: _Faces, owner: NDArray[np.int64], sliver_width_m: float
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Give narrow gaps, then slivers, to the unit with the longest border on them.

    Round by round, as land that changes hands makes new neighbours. Every round joins or drops a
    part for good, so there is a last one.
    """
    owner, moves = owner.copy(), [_no_moves()]
    while True:
        part = faces.components(owner)
        count = int(part.max(initial=-1)) + 1
        inner = part[faces.left] == part[faces.right]
        area = _sums(part, faces.area, count)
        perimeter = _sums(part, faces.perimeter, count) - 2 * _sums(
            part[faces.left[inner]], faces.border[inner], count
        )
        of = np.full(count, _NOBODY, dtype=np.int64)
        of[part] = owner
        thin = _mean_width(area, perimeter) < sliver_width_m
        closed = _sums(part, faces.outer, count) == 0
        gaps = thin & closed & (of == _NOBODY)
        moving = gaps if gaps.any() else thin & (of >= 0) & ~_largest(area, of)
        if not moving.any():
            return owner, pd.concat(moves, ignore_index=True)
        what, to = _receivers(faces, part, of, moving)
        if what.size == 0:  # slivers beside no other unit; gaps beside none that may be touched
            what = np.flatnonzero(moving)
            to = np.full(what.size, _FROZEN if gaps.any() else _NOBODY)
        new = of.copy()
        new[what] = to
        owner = new[part]
        if gaps.any():
            got = what[to >= 0]
            moves.append(_moves("gap_filled", new[got], area[got], perimeter[got]))
        else:
            given = np.where(to >= 0, "part_given", "part_dropped")
            moves.append(_moves("", of[what], -area[what], perimeter[what]).assign(change=given))
            got = what[to >= 0]
            moves.append(_moves("part_received", new[got], area[got], perimeter[got]))


def _receivers(
    faces: _Faces, part: NDArray[np.int64], of: NDArray[np.int64], moving: Flags
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the moving parts that border on a unit's staying part, and the unit each goes to."""
    left = np.r_[part[faces.left], part[faces.right]]
    right = np.r_[part[faces.right], part[faces.left]]
    meets = moving[left] & ~moving[right] & (of[right] >= 0)
    base = int(of.max(initial=0)) + 1
    pair, inverse = np.unique(left[meets] * base + of[right[meets]], return_inverse=True)
    border = _sums(inverse, np.r_[faces.border, faces.border][meets], pair.size)
    what, to = pair // base, pair % base
    order = np.lexsort((to, -border, what))
    best = order[np.unique(what[order], return_index=True)[1]]
    return what[best], to[best]


def _drawn_alike(shapes: Shapes, model: Shapes) -> Shapes:
    """Wrap a polygon as a MultiPolygon where the model is one."""
    wrap = (shapely.get_type_id(model) == _MULTIPOLYGON) & (shapely.get_type_id(shapes) == _POLYGON)
    result = shapes.copy()
    result[wrap] = shapely.multipolygons(shapes[wrap], indices=np.arange(int(wrap.sum())))
    return result


def _differ(shapes: Shapes, others: Shapes) -> Flags:
    """Tell which geometries are not the same but for the start and direction of rings."""
    ask = np.flatnonzero(~shapely.is_missing(others))
    ask = ask[[one is not two for one, two in zip(shapes[ask], others[ask], strict=True)]]
    differ = np.zeros(len(shapes), dtype=bool)
    differ[ask] = ~shapely.equals_exact(
        shapely.normalize(shapes[ask]), shapely.normalize(others[ask]), tolerance=0.0
    )
    return differ


def _changes(
    changed: Positions, invalid: Flags, areas: Sequence[Floats], moves: pd.DataFrame
) -> pd.DataFrame:
    """Give one row a unit and kind of change, with the area before and after it."""
    drawn, valid, final = areas
    total = moves.assign(moved=moves["area"].abs())
    total = total.groupby(["unit", "change"], as_index=False)[["area", "moved", "perimeter"]].sum()
    total = total[total["moved"] >= _ROUNDING_M2]
    mended = np.flatnonzero(invalid)
    made = pd.DataFrame(
        {"unit": mended, "change": "made_valid", "area": valid[mended] - drawn[mended]}
    )
    alone = np.setdiff1d(changed, np.r_[mended, total["unit"].to_numpy(dtype=np.intp)])
    matched = pd.DataFrame({"unit": alone, "change": "nodes_matched", "area": 0.0})
    rows = pd.concat([part for part in (made, total, matched) if len(part)] or [made, total])
    rows = rows.reindex(columns=["unit", "change", "area", "moved", "perimeter"])
    order = np.lexsort((rows["change"].map(_CHANGES.index), rows["unit"]))
    rows = rows.iloc[order].reset_index(drop=True)
    unit = rows["unit"].to_numpy(dtype=np.intp)
    after = drawn[unit] + rows.groupby("unit")["area"].cumsum().to_numpy(dtype=float)
    last = np.r_[unit[1:] != unit[:-1], True][: unit.size]
    after[last] = final[unit[last]]  # with what is too little to list
    before = np.r_[0.0, after[:-1]][: unit.size]
    begins = np.r_[True, unit[1:] != unit[:-1]][: unit.size]
    before[begins] = drawn[unit[begins]]
    width = 2 * rows["moved"].astype(float) / rows["perimeter"].astype(float)
    return pd.DataFrame(
        {
            "unit": unit,
            "change": pd.array(rows["change"], "string"),
            "area_before_m2": before,
            "area_after_m2": after,
            "moved_m": width,
        }
    )


# --- in words -------------------------------------------------------------------------------------


def _area_words(areas: Any, lang: str) -> list[str]:
    """Give areas in square metres, hectares or square kilometres, whichever is easiest to read."""
    small, middle, large = ("㎡", "公顷", "平方公里") if lang == "zh" else (" m²", " ha", " km²")
    words = []
    for area in np.asarray(areas, dtype=float):
        if math.isnan(area):
            words.append("")
        elif area < _HECTARE_M2:
            words.append(f"{area:,.{0 if area >= 10 else 2}f}{small}")  # noqa: PLR2004 - digits
        elif area < _SQUARE_KM_M2:
            words.append(f"{area / _HECTARE_M2:,.1f}{middle}")
        else:
            words.append(f"{area / _SQUARE_KM_M2:,.2f}{large}")
    return words


def _place(spot: Any) -> str:
    """Give a point's coordinates; six decimals where they may be degrees."""
    if _blank(np.array([spot], dtype=object))[0]:
        return "—"
    x, y = shapely.get_coordinates(spot)[0]
    digits = 6 if max(abs(x), abs(y)) <= 360 else 1  # noqa: PLR2004 - a full circle
    return f"({x:.{digits}f}, {y:.{digits}f})"


def _note(log: IntakeLog, code: str, positions: pd.Series, words: pd.DataFrame) -> None:
    """Note one thing or several about each of some rows; `words` has what a finding says."""
    # A row of the log takes one finding a call: first ones first.
    turn = positions.groupby(positions).cumcount().to_numpy()
    for number in range(int(turn.max(initial=-1)) + 1):
        now = turn == number
        rows = positions.to_numpy(dtype=np.intp)[now]
        by_row = {
            name: _spread(log.rows.size, rows, words[name].to_numpy(dtype=object)[now])
            for name in words
        }
        values = by_row.pop("value")
        log.at(code, rows, field="geometry", values=values, **cast("dict[str, Any]", by_row))


def _spread(count: int, positions: Positions, values: Shapes) -> Shapes:
    spread = np.full(count, "", dtype=object)
    spread[positions] = values
    return spread
