"""Telling from roads and units which datum a table's coordinates are in, and whether it is one.

Facilities stand at roads. Converted from the datum they are in, most points lie within tens of
metres of one; converted from another, they lie wherever an offset of some hundred metres happens to
put them. What "wherever" means here is measured, not assumed: the same points are shifted by
offsets of that length to all sides, and the distances found there are the null hypothesis.
Where the roads cannot decide, nothing is decided.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import ArrayLike, NDArray

from .datums import DatumWarning, canonical_datum, to_wgs84
from .errors import Finding, InputError, NoCrsError
from .intake import finding, row_ranges
from .network import RoadNetwork
from .terms import label

__all__ = ["DatumEvidence", "MixedDatumError", "detect_datum"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Offsets of GCJ-02 and of BD-09 in the east of China, in metres, and their azimuths in degrees.
_PLACEBOS = tuple(
    (length_m, azimuth + turn)
    for length_m, turn in ((550.0, 0.0), (1350.0, 15.0))
    for azimuth in range(0, 360, 30)
)
# Positions nearer to each other than this are the same to roads; a placebo within the second of a
# candidate may lie at the same road, and is none.
_APART_M = 150.0
_CLEAR_OF_M = 300.0
# Points in one cell are one place: three rooms of one building are no three proofs.
_CELL_M = 50.0
_AT_ROAD_M = 50.0
# Where any place is nearer to a road than this on average, being near says nothing.
_OPEN_M = 60.0
_SCALE_M = (10.0, 80.0)  # how far from the road facilities stand on average
_SHRINK = 4.0  # placebos' worth of the general mean in a point's own
# Of rightly placed facilities, the share in the unit of their code, and in any: the others lie
# across a border or bear a wrong code, or lie beyond the county.
_IN_OWN_UNIT = 0.97
_IN_ANY_UNIT = 0.90
_ROUNDS = 200  # of estimating shares, which settle long before

_FEWEST = 5.0  # places
# Scores are natural logarithms. A datum is told if it makes the points a thousand times as likely
# as any other, and twenty times as likely as the best of the placebos does.
_CLEAR = 7.0
_ABOVE_CHANCE = 3.0
# Roads tell nothing where the typical distance is more than this part of what it is anywhere, or
# where another candidate puts almost as many points at roads.
_HALF = 0.5
_RIVAL = 0.8
# Two datums are told if the second makes the points likelier by this, and by so much more than a
# placebo does in its place; from `_MIXED_PERHAPS` on a single one is not told.
_MIXED_SHARE = 0.10
_MIXED_FEWEST = 2.5  # places, as estimated
_MIXED_CLEAR = 5.0
_MIXED_ABOVE = 2.0
_MIXED_PERHAPS = 2.5
_LIKELIER, _SURE = 0.5, 0.9


@dataclass(frozen=True, eq=False)
class DatumEvidence:
    """What roads and units say about the datum of a table's coordinates.

    Attributes
    ----------
    datum : str or None
        The datum the coordinates fit, None where that cannot be told. "wgs84" stands for CGCS2000
        too: the two are centimetres apart.
    table : DataFrame
        One row a candidate: `datum`, `share_of_points` (estimated share of the points that are in
        it), `median_road_m` (metres to the nearest road), `share_within_50_m` (of a road),
        `share_in_units`, `share_in_own_unit`, and `score` (natural logarithm of how many times
        likelier the points are in it than anywhere); missing where there are no roads, units or
        codes.
    advice, advice_zh : str
        What to do, in a sentence.
    point_datum : Series of str
        With the index of the points: which datum each fits, missing where it cannot be told.
    chance_score : float
        The best score that any of the placebo offsets reached.
    """

    datum: str | None
    table: pd.DataFrame
    advice: str
    advice_zh: str
    point_datum: pd.Series
    chance_score: float

    def _repr_html_(self) -> str:
        shown = self.table.round(
            {
                "share_of_points": 3,
                "median_road_m": 1,
                "share_within_50_m": 3,
                "share_in_units": 3,
                "share_in_own_unit": 3,
                "score": 1,
            }
        ).rename(columns=lambda name: label("column", name))
        told = f"<p>{escape(self.advice_zh)}</p><p>{escape(self.advice)}</p>"
        return told + shown.to_html(index=False, na_rep="—")


class MixedDatumError(InputError):
    """The rows of one table are in different datums.

    Attributes
    ----------
    evidence : DatumEvidence
        Its `point_datum` tells which row is in which.
    """

    def __init__(self, message: str, findings: Sequence[Finding], evidence: DatumEvidence) -> None:
        super().__init__(message, findings)
        self.evidence = evidence


def detect_datum(
    points: gpd.GeoSeries,
    roads: RoadNetwork | gpd.GeoDataFrame | None = None,
    *,
    units: gpd.GeoDataFrame | None = None,
    unit_codes: ArrayLike | pd.Series | None = None,
    candidates: Sequence[str] = ("wgs84", "gcj02", "bd09"),
) -> DatumEvidence:
    """Tell which datum longitudes and latitudes are in, by how they fit roads and units.

    Parameters
    ----------
    points : GeoSeries of Point
        Longitudes and latitudes in degrees as the file has them; without a CRS or with any
        geographic one, which is not believed. Missing points say nothing.
    roads : RoadNetwork or GeoDataFrame of lines, optional
        The roads of the same county. What is told is the datum relative to theirs: they must be in
        WGS-84 or CGCS2000 (or a projection of these), not drawn after a shifted map.
    units : GeoDataFrame of polygons, optional
        The villages and communities, in any CRS.
    unit_codes : array-like, optional
        By point, the code of the unit it belongs to (`unit_code` in `units`), missing where
        unknown.
    candidates : sequence of str
        The datums that come into question, as `canonical_datum` takes them, in degrees.

    Returns
    -------
    DatumEvidence
        With `datum` None where there are fewer than five places, where no candidate fits clearly
        better than random offsets do, or where two fit about equally.

    Raises
    ------
    MixedDatumError
        Where at least a tenth of the points, and at three places or more, are in another datum than
        the others. It names the rows.
    InputError, NoCrsError
        Where there are neither roads nor units, these have no CRS, points are not in degrees, or
        two candidates are the same.

    Notes
    -----
    The distances to the nearest road are taken as drawn from a mixture: of each candidate, in which
    a point's distance falls off exponentially from the road (its scale is estimated between 10 and
    80 m), and of none, in which the distance is as at offsets of 550 and 1,350 m to twelve sides
    (in proportion to each point's own mean, since roads are denser in towns). Shares are estimated
    by expectation maximisation (Dempster, Laird and Rubin 1977). Lying in the right unit counts as
    an independent observation, against how often the offsets lie there. Points within one cell of
    50 m count once together, and where an average place is nearer than 60 m to a road, or where the
    typical distance is not halved by the best candidate, roads count nothing. A datum is told only
    if its likelihood is a thousand times that of any other, and twenty times that of the best
    offset. Points that stand alike in a strictly regular net of streets can still deceive it.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.datums import from_wgs84
    >>> county = fc.sample_county()
    >>> facilities = fc.read_facilities(county.facilities)
    >>> clinics = facilities.geometry[facilities["kind"] == "clinic"]
    >>> detect_datum(from_wgs84(clinics, datum="gcj02"), fc.read_roads(county.roads)).datum
    'gcj02'
    """
    names = _names(candidates)
    if roads is None and units is None:
        raise InputError("nothing to compare with: give roads, or units, or both")
    if unit_codes is not None and (units is None or "unit_code" not in units):
        raise InputError("unit_codes need units with a column unit_code")
    if points.crs is not None and not points.crs.is_geographic:
        raise InputError(
            f"a datum is told of longitudes and latitudes, but the points are in "
            f"{points.crs.to_string()}"
        )
    shapes = np.asarray(points.array, dtype=object)
    there = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    there = there[np.isfinite(shapely.get_coordinates(shapes[there])).all(axis=1)]
    given = gpd.GeoSeries(shapes[there])
    if not there.size:
        empty = np.empty((0, len(names)))
        return _told(
            points.index, there, names, _Fit.nothing(len(names)), _Seen(empty, empty, empty)
        )
    lines = roads.edges.geometry if isinstance(roads, RoadNetwork) else _layer(roads, "roads")
    crs = _metric_crs(lines, given)
    xy = np.stack([_converted(given, datum, crs) for datum in candidates], axis=1)
    placebo = _placebos(xy)
    both = np.concatenate([xy, placebo], axis=1)
    seen = _Seen(
        _road_m(both, lines, crs),
        _in_units(both, units, crs),
        _in_own_unit(both, units, unit_codes, there, crs),
    )
    fit = _fitted(both, len(names), seen)
    if not _roads_tell(fit, seen):
        seen = replace(seen, roads_count=False)
        fit = _fitted(both, len(names), seen)
    return _told(points.index, there, names, fit, seen)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was observed by point and position: first the candidates, then the placebos.

    NaN where nothing was: no roads, no units, no code, or a placebo that is a candidate.
    """

    road_m: Floats
    in_units: Floats
    in_own: Floats
    roads_count: bool = True  # as evidence


@dataclass(frozen=True, eq=False)
class _Fit:
    """The estimated mixture."""

    places: float  # how many there are
    weight: Floats  # by point: what it counts as evidence
    share: Floats  # by candidate
    chance: float  # share of none
    posterior: Floats  # by point and candidate
    score: Floats  # by candidate
    placebo_score: Floats
    gain: Floats  # by candidate: of adding it to the best
    placebo_gain: Floats
    apart_m: Floats  # by pair of candidates: median distance

    @classmethod
    def nothing(cls, count: int) -> _Fit:
        """Give the fit of no points."""
        none, by = np.empty(0), np.zeros(count)
        return cls(
            0.0, none, by, 1.0, np.empty((0, count)), by, none, by, none, np.zeros((count, count))
        )


def _names(candidates: Sequence[str]) -> list[str]:
    known = [(canonical_datum(each), str(each)) for each in candidates]
    names = [datum if isinstance(datum, str) else given for datum, given in known]
    told = ["wgs84" if name == "cgcs2000" else name for name in names]
    if len(told) == 0 or len(set(told)) < len(told):
        raise InputError(
            f"candidates must be different datums, not {', '.join(names) or 'none'} (wgs84 and "
            "cgcs2000 are centimetres apart: name one)"
        )
    return names


def _layer(layer: gpd.GeoDataFrame | None, name: str) -> gpd.GeoSeries | None:
    if layer is None:
        return None
    if layer.crs is None:
        raise NoCrsError(f"the {name} have no CRS; set one with .set_crs")
    return layer.geometry


def _metric_crs(lines: gpd.GeoSeries | None, points: gpd.GeoSeries) -> pyproj.CRS:
    if lines is not None and lines.crs.is_projected:
        return lines.crs
    return points.set_crs(4326).estimate_utm_crs()


def _converted(points: gpd.GeoSeries, datum: str, crs: pyproj.CRS) -> Floats:
    with warnings.catch_warnings():
        # A candidate is only tried; whoever converts by it is warned then.
        warnings.simplefilter("ignore", DatumWarning)
        lonlat = to_wgs84(points, datum=datum)
    return shapely.get_coordinates(np.asarray(lonlat.to_crs(crs).array, dtype=object))


def _placebos(xy: Floats) -> Floats:
    """Give positions off the first candidate's to all sides, NaN where they meet a candidate's."""
    length, azimuth = np.array(_PLACEBOS).T
    angle = np.radians(azimuth)
    offset = np.column_stack([length * np.sin(angle), length * np.cos(angle)])
    placebo = xy[:, :1, :] + offset[None, :, :]
    near = np.linalg.norm(placebo[:, :, None, :] - xy[:, None, :, :], axis=3).min(axis=2)
    placebo[near < _CLEAR_OF_M] = np.nan
    return placebo


def _each(xy: Floats) -> tuple[NDArray[np.object_], Flags]:
    """Give all positions as points, and which of them there are."""
    flat = xy.reshape(-1, 2)
    known = ~np.isnan(flat[:, 0])
    return np.asarray(shapely.points(flat[known]), dtype=object), known


def _spread(found: Any, known: Flags, shape: tuple[int, ...]) -> Floats:
    values = np.full(known.size, np.nan)
    values[known] = found
    return values.reshape(shape)


def _road_m(xy: Floats, lines: gpd.GeoSeries | None, crs: pyproj.CRS) -> Floats:
    if lines is None:
        return np.full(xy.shape[:2], np.nan)
    shapes = np.asarray(lines.to_crs(crs).array, dtype=object)
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if not shapes.size:
        raise InputError("there is no road in the roads")
    places, known = _each(xy)
    order = np.argsort(gpd.GeoSeries(places).hilbert_distance().to_numpy(), kind="stable")
    near = np.empty(places.size)
    near[order] = shapely.STRtree(shapes).query_nearest(
        places[order], return_distance=True, all_matches=False
    )[1]
    return _spread(near, known, xy.shape[:2])


def _in_units(xy: Floats, units: gpd.GeoDataFrame | None, crs: pyproj.CRS) -> Floats:
    areas = _layer(units, "units")
    if areas is None:
        return np.full(xy.shape[:2], np.nan)
    places, known = _each(xy)
    inside = np.zeros(places.size)
    tree = shapely.STRtree(np.asarray(areas.to_crs(crs).array, dtype=object))
    inside[tree.query(places, predicate="intersects")[0]] = 1.0
    return _spread(inside, known, xy.shape[:2])


def _in_own_unit(
    xy: Floats,
    units: gpd.GeoDataFrame | None,
    unit_codes: ArrayLike | pd.Series | None,
    there: NDArray[np.intp],
    crs: pyproj.CRS,
) -> Floats:
    inside = np.full(xy.shape[:2], np.nan)
    if units is None or unit_codes is None:
        return inside
    codes = pd.Series(np.asarray(unit_codes, dtype=object))
    if there.size and len(codes) <= there.max():
        raise InputError("there must be a unit code, or a missing value, for each point")
    areas = np.asarray(units.geometry.to_crs(crs).array, dtype=object)
    shapely.prepare(areas)
    unit = units["unit_code"].astype("string").reset_index(drop=True)
    row_of = pd.Series(unit.index, index=unit)[
        ~unit.duplicated().to_numpy() & unit.notna().to_numpy()
    ]
    row = row_of.reindex(codes.iloc[there].astype("string")).to_numpy(dtype=float)
    told = np.flatnonzero(~np.isnan(row))
    own = areas[row[told].astype(int)]
    held = shapely.intersects_xy(own[:, None], xy[told, :, 0], xy[told, :, 1]).astype(float)
    held[np.isnan(xy[told, :, 0])] = np.nan
    inside[told] = held
    return inside


def _fitted(both: Floats, count: int, seen: _Seen) -> _Fit:
    """Estimate which share of the points is in which candidate."""
    xy, there = both[:, :count], ~np.isnan(both[:, :, 0])
    _, place, size = np.unique(
        np.floor(xy[:, 0] / _CELL_M), axis=0, return_inverse=True, return_counts=True
    )
    weight = 1.0 / size[place.ravel()]
    by_units = _unit_ratio(seen, count)
    near = _Nearness.of(seen.road_m if seen.roads_count else seen.road_m * np.nan, count)

    tried = near.first(count)
    share, chance, scale_m = np.full(count, 1.0 / (count + 1)), 1.0 / (count + 1), 40.0
    for _ in range(_ROUNDS):
        posterior = _posterior(tried.ratio(scale_m) * by_units[:, :count], share, chance)
        share, chance = _shares(weight, posterior)
        scale_m = tried.scale_m(weight[:, None] * posterior, scale_m)
    ratio = near.ratio(scale_m) * by_units
    posterior = _posterior(ratio[:, :count], share, chance)

    # A placebo that meets a candidate at most points is none.
    used = np.flatnonzero(there[:, count:].mean(axis=0) > _HALF) + count
    score = _score(weight, ratio)
    best = ratio[:, [int(np.argmax(score[:count]))]]
    gain = _score(weight, ratio, best) - score[:count].max()
    apart = np.linalg.norm(xy[:, :, None, :] - xy[:, None, :, :], axis=3)
    return _Fit(
        float(weight.sum()),
        weight * (near.tells | (by_units != 1.0).any(axis=1)),
        share,
        chance,
        posterior,
        score[:count],
        score[used],
        gain[:count],
        gain[used],
        np.median(apart, axis=0),
    )


def _roads_tell(fit: _Fit, seen: _Seen) -> bool:
    """Tell whether the roads set the best candidate off from any place by more than a little.

    Many points make a small difference sure; but in a regular net of streets, where points stand
    alike, small differences mean nothing.
    """
    count = len(fit.score)
    if np.isnan(seen.road_m[:, :count]).any():
        return False
    best = np.median(seen.road_m[:, int(np.argmax(fit.score))])
    return bool(best <= _HALF * np.nanmedian(seen.road_m[:, count:]))


def _rivals(best: int, other: int, seen: _Seen) -> bool:
    """Tell whether two candidates both put the points at roads, and no unit's code decides."""
    if not seen.roads_count or not np.isnan(seen.in_own).all():
        return False
    at_road = (seen.road_m <= _AT_ROAD_M).mean(axis=0)
    return bool(at_road[other] >= _RIVAL * at_road[best])


@dataclass(frozen=True, eq=False)
class _Nearness:
    """Distances to roads, and what they would be anywhere."""

    road_m: Floats
    chance_density: Floats  # per metre
    tells: Flags  # by point: whether being near to a road is worth anything there

    @classmethod
    def of(cls, road_m: Floats, count: int) -> _Nearness:
        """Take the placebos, behind the candidates' `count` columns, as the null."""
        placebo = road_m[:, count:]
        known = ~np.isnan(placebo)
        if not known.any():
            return cls(road_m, np.ones_like(road_m), np.zeros(len(road_m), dtype=bool))
        general_m = placebo[known].mean()
        total = np.where(known, placebo, 0.0).sum(axis=1)
        mean_m = (total + _SHRINK * general_m) / (known.sum(axis=1) + _SHRINK)
        tells = mean_m >= _OPEN_M
        # In proportion to each point's own mean, all placebos together give one distribution:
        # a histogram of bins that hold equally many.
        relative = (placebo / mean_m[:, None])[known]
        bins = int(np.clip(np.sqrt(relative.size) / 4.0, 4, 12))
        edge = np.quantile(relative, np.linspace(0.0, 1.0, bins + 1))
        edge[0] = 0.0
        edge = np.maximum.accumulate(edge + 1e-9 * np.arange(bins + 1))
        density = 1.0 / (bins * np.diff(edge))
        place = np.searchsorted(edge[1:-1], np.nan_to_num(road_m / mean_m[:, None]))
        return cls(road_m, density[place] / mean_m[:, None], tells)

    def first(self, count: int) -> _Nearness:
        """Give the first columns: the candidates'."""
        return _Nearness(self.road_m[:, :count], self.chance_density[:, :count], self.tells)

    def ratio(self, scale_m: float) -> Floats:
        """Give how many times likelier each distance is at a road than anywhere."""
        at_road = np.exp(-self.road_m / scale_m) / scale_m
        told = self.tells[:, None] & ~np.isnan(self.road_m)
        return np.where(told, at_road / self.chance_density, 1.0)

    def scale_m(self, weight: Floats, before: float) -> float:
        """Give the mean distance of the points at roads, by point and candidate how surely."""
        weight = np.where(self.tells[:, None] & ~np.isnan(self.road_m), weight, 0.0)
        total = weight.sum()
        if total <= 0:
            return before
        return float(np.clip((weight * np.nan_to_num(self.road_m)).sum() / total, *_SCALE_M))


def _unit_ratio(seen: _Seen, count: int) -> Floats:
    """Give how many times likelier lying in the unit, or not, is in the right datum."""
    own: Flags = np.asarray(~np.isnan(seen.in_own).all(axis=1))
    inside = np.where(own[:, None], seen.in_own, seen.in_units)
    right = np.where(own, _IN_OWN_UNIT, _IN_ANY_UNIT)[:, None]
    placebo = inside[:, count:]
    known = (~np.isnan(placebo)).sum(axis=1)
    wrong = ((np.nansum(placebo, axis=1) + 1.0) / (known + 2.0))[:, None]
    ratio = np.where(inside > 0, right / wrong, (1.0 - right) / (1.0 - wrong))
    return np.where(np.isnan(inside), 1.0, ratio)


def _posterior(ratio: Floats, share: Floats, chance: float) -> Floats:
    """Give by point how surely it is in which candidate."""
    joint = share * ratio
    return joint / (chance + joint.sum(axis=1, keepdims=True))


def _shares(weight: Floats, posterior: Floats) -> tuple[Floats, float]:
    """Give the shares of the candidates and of none; half a point of none is always there."""
    held = (weight[:, None] * posterior).sum(axis=0)
    total = weight.sum() + 0.5
    return held / total, float(1.0 - held.sum() / total)


def _score(weight: Floats, ratio: Floats, beside: Floats | None = None) -> Floats:
    """Give by position the logarithm of the likelihood of a mixture of it, `beside` and none."""
    other = np.zeros((len(ratio), 1)) if beside is None else beside
    total = weight.sum() + 0.5
    here = np.full(ratio.shape[1], 0.4)
    there = np.full(ratio.shape[1], 0.4 if beside is not None else 0.0)
    for _ in range(_ROUNDS // 4):
        likelihood = (1.0 - here - there) + here * ratio + there * other
        here, there = (
            (weight[:, None] * here * ratio / likelihood).sum(axis=0) / total,
            (weight[:, None] * there * other / likelihood).sum(axis=0) / total,
        )
    likelihood = (1.0 - here - there) + here * ratio + there * other
    return (weight[:, None] * np.log(likelihood)).sum(axis=0)


def _told(
    index: pd.Index, there: NDArray[np.intp], names: list[str], fit: _Fit, seen: _Seen
) -> DatumEvidence:
    """Decide, or say why not."""
    best = int(np.argmax(fit.score))
    chance_score = float(fit.placebo_score.max(initial=0.0))
    sure = np.where(
        fit.posterior.max(axis=1, initial=0.0) >= _SURE, fit.posterior.argmax(axis=1), -1
    )
    stray = np.unique(sure[(sure >= 0) & (sure != best)])
    table = _table(names, fit, seen)

    def evidence(code: str, chosen: str | None, /, **words: Any) -> DatumEvidence:
        told = finding(code, **words)
        by_point = pd.Series(pd.array([pd.NA] * len(index), dtype="string"), index=index)
        if chosen is not None or code == "datum.mixed":
            known = sure >= 0
            by_point.iloc[there[known]] = np.asarray(names, dtype=object)[sure[known]]
        return DatumEvidence(
            chosen,
            table,
            f"{told.rule[0].upper()}{told.rule[1:]}: {told.cure}.",
            f"{told.rule_zh}：{told.cure_zh}。",
            by_point,
            chance_score,
        )

    if fit.places < _FEWEST:
        return evidence("datum.few", None, count=round(fit.places))
    if fit.weight.sum() < _FEWEST:
        return evidence("datum.no_fit", None, datum=names[best])
    by_chance = float(fit.placebo_gain.max(initial=0.0))
    second = _mixed_with(best, fit, max(by_chance + _MIXED_ABOVE, _MIXED_CLEAR))
    if second:
        likelier = np.where(fit.posterior.max(axis=1) > _LIKELIER, fit.posterior.argmax(axis=1), -1)
        held = {names[each]: np.flatnonzero(likelier == each) for each in (best, *second)}
        findings = [
            finding(
                "datum.mixed",
                datum=name,
                count=f"{rows.size:,}",
                field=_rows_word(index),
                value=_rows(index, there[rows]),
            )
            for name, rows in held.items()
        ]
        unsure = len(there) - sum(rows.size for rows in held.values())
        raise MixedDatumError(
            f"the points are in different datums: {', '.join(held)}"
            + (f" ({unsure:,} points cannot be told)" if unsure else ""),
            findings,
            evidence("datum.mixed", None, datum=", ".join(held), count=f"{len(there) - unsure:,}"),
        )
    if fit.score[best] < max(chance_score + _ABOVE_CHANCE, _CLEAR):
        return evidence("datum.no_fit", None, datum=names[best])
    perhaps = _mixed_with(best, fit, _MIXED_PERHAPS)
    if perhaps:
        return evidence(
            "datum.perhaps_mixed",
            None,
            datum=names[best],
            other=names[perhaps[0]],
            rows=_rows(index, there[fit.posterior.argmax(axis=1) == perhaps[0]]),
        )
    rest = [each for each in np.argsort(-fit.score) if each != best]
    for other in rest:
        if fit.apart_m[best, other] < _APART_M:
            return evidence(
                "datum.near",
                None,
                datum=names[best],
                other=names[other],
                metres=round(float(fit.apart_m[best, other])),
            )
        if fit.score[best] - fit.score[other] < _CLEAR or _rivals(best, other, seen):
            return evidence("datum.alike", None, datum=names[best], other=names[other])
    words = {"datum": names[best], "share": f"{fit.share[best]:.0%}", "count": f"{len(there):,}"}
    if not stray.size:
        return evidence("datum.fits", names[best], **words)
    strays = "; ".join(
        f"{names[each]}: {_rows(index, there[np.flatnonzero(sure == each)])}" for each in stray
    )
    return evidence("datum.strays", names[best], strays=strays, **words)


def _mixed_with(best: int, fit: _Fit, least: float) -> list[int]:
    """Give the candidates a substantial share of the points is in, besides the best."""
    held = (fit.weight[:, None] * fit.posterior).sum(axis=0)
    return [
        each
        for each in range(len(fit.share))
        if each != best
        and fit.apart_m[best, each] >= _APART_M
        and min(fit.share[each], fit.share[best]) >= _MIXED_SHARE
        and held[each] >= _MIXED_FEWEST
        and fit.gain[each] >= least
    ]


def _rows_word(index: pd.Index) -> str:
    return "index" if pd.api.types.is_integer_dtype(index.dtype) else "position"


def _rows(index: pd.Index, positions: NDArray[np.intp]) -> str:
    """Give rows by their labels where these are numbers, else by position from 0."""
    numbered = _rows_word(index) == "index"
    return row_ranges(index[positions] if numbered else positions)


def _table(names: list[str], fit: _Fit, seen: _Seen) -> pd.DataFrame:
    count = len(names)

    def mean(values: Floats) -> Floats:
        known = (~np.isnan(values)).sum(axis=0)
        return np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)

    road_m = seen.road_m[:, :count]
    roads = road_m.size > 0 and not np.isnan(road_m).any()
    return pd.DataFrame(
        {
            "datum": names,
            "share_of_points": fit.share,
            "median_road_m": np.median(road_m, axis=0) if roads else np.full(count, np.nan),
            "share_within_50_m": (road_m <= _AT_ROAD_M).mean(axis=0)
            if roads
            else np.full(count, np.nan),
            "share_in_units": mean(seen.in_units[:, :count]),
            "share_in_own_unit": mean(seen.in_own[:, :count]),
            "score": fit.score,
        }
    )
