"""What hangs on one facility or on one bridge: whose cover is gone when that one is.

A coverage rate says who is covered today, not how easily they cease to be. Here each facility that
anyone relies on, and each bridge, is taken away by itself, and the units that are no longer covered
are told, with the people who lose their cover.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order, dijkstra

from .assessment import CoverageReport, PointVerdicts
from .errors import InputError
from .network import ModeNetwork, RoadNetwork
from .search import Nearest, SiteSearch, Trips, with_sites
from .snapping import Snaps
from .standards import Standard, Way
from .terms import label
from .travel import Question, Searches, TravelTimes, next_nearest, pools_of
from .verdicts import (
    ROUNDING,
    STATES,
    judge_points,
    judge_units,
    keep_to_capacity,
)

__all__ = ["bridge_fragility", "fragility", "marked_bridges"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Objects = NDArray[np.object_]

_COVERED = STATES.index("covered")
_UNIT_COLUMNS = ["unit_code", "name", "township", "setting"]
# What a column of roads says where there is no bridge; OSM writes nothing or "no".
_NO_BRIDGE = frozenset({"", "no", "n", "false", "f", "0", "0.0", "none", "nan", "<na>", "否", "无"})
# A search that goes this much beyond the limit finds all that passes.
_MARGIN = 1 + 10 * ROUNDING


def fragility(report: CoverageReport, *, kinds: Iterable[str] | None = None) -> pd.DataFrame:
    """Tell which units are covered by the grace of one facility.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    kinds : iterable of str, optional
        Which of the plan's kinds; all by default.

    Returns
    -------
    DataFrame
        One row a unit × kind that a standard applies to, on the reachability basis:

        - `kind`, `unit_code`, `name`, `township`, `setting`, `state` (``covered`` | ``uncovered``
          | ``unknown``);
        - `facility_id`, `minutes`: the typical trip, as in ``report.verdicts``: half of the unit's
          people are there within them;
        - `next_facility_id`, `next_minutes`: from that same point and by the same way, the nearest
          facility other than that; missing where there is none;
        - `people_sole`: people covered now who would not be if one certain facility closed: no
          other lets them pass by any alternative;
        - `fragile_facility_id`: the facility whose loss alone makes the unit cease to be covered,
          of several the one most people depend on; missing where there is none;
        - `people_lost`: people of the unit who lose their cover with it;
        - `flips`: whether there is such a facility; missing where the unit is not covered now.

        People are the standard's population; missing where they are not known.

    Raises
    ------
    InputError
        Where the plan has no such kind.

    See Also
    --------
    bridge_fragility : The same question of bridges.

    Notes
    -----
    For every point the nearest facility is known; `SiteSearch.next_nearest` finds the next in one
    more Dijkstra search a kind and way: together they are the network Voronoi diagram of order 2
    (Okabe & Sugihara 2012). A covered point depends on a facility if it is the nearest by every
    alternative that passes, and by none of them is the next within the limit. So the result is
    what `travel_times` and `assess` would find with that facility closed, for all facilities at
    once.

    Of a composite circle the facilities of every kind that must be reached are asked; a point may
    depend on several and counts once in `people_sole`. Where a standard has a capacity, each
    facility is taken away in turn and the rest is filled anew: who moves to the next one may push
    others out there.

    References
    ----------
    Okabe, A. & Sugihara, K. (2012). *Spatial Analysis along Networks: Statistical and
    Computational Methods*. Wiley.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.fragility import fragility
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> table = fragility(fc.assess(units, facilities, access, plan), kinds=["day_care"])
    >>> bool((table["next_minutes"] >= table["minutes"])[table["next_minutes"].notna()].all())
    True
    >>> bool(table.loc[table["state"] != "covered", "flips"].isna().all())
    True
    """
    access = report.access
    known: dict[Question, Nearest] = {}

    def following(question: Question) -> Nearest:
        if question not in known:
            known[question] = next_nearest(access, *question)
        return known[question]

    ids = np.array([*report.facilities["facility_id"], None], dtype=object)
    tables = []
    for parts in _by_kind(_parts(report, kinds)):
        table = _unit_rows(report, parts[0].standard.kind)
        unit = table.pop("unit").to_numpy()
        columns = _Columns.empty(len(report.units))
        if any(part.with_capacity for part in parts):
            losses = _losses_with_capacity(report, parts, following)
        else:
            losses = [_losses(part, access, following) for part in parts]
        for part, loss in zip(parts, losses, strict=True):
            _fill(columns, part, loss)
            _fill_next(columns, part, report, following)
        covered = (table["state"] == "covered").to_numpy()
        unknown = np.isnan(table.pop("people_covered").to_numpy(dtype=float))
        table["next_facility_id"] = ids[columns.next_facility[unit]]
        table["next_minutes"] = columns.next_minutes[unit]
        table["people_sole"] = np.where(unknown, np.nan, columns.people_sole[unit])
        table["fragile_facility_id"] = ids[columns.cause[unit]]
        table["people_lost"] = np.where(unknown, np.nan, columns.people_lost[unit])
        table["flips"] = pd.array(columns.cause[unit] >= 0, dtype="boolean")
        table.loc[~covered, "flips"] = pd.NA
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def bridge_fragility(
    report: CoverageReport,
    *,
    kinds: Iterable[str] | None = None,
    edges: Iterable[Any] | None = None,
) -> gpd.GeoDataFrame:
    """Tell which units cease to be covered when one bridge is gone.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    kinds : iterable of str, optional
        Which of the plan's kinds; all by default.
    edges : iterable, optional
        What to take away, one entry at a time: labels of ``report.roads.edges``, or groups of them
        that go together, e.g. ``[17, (203, 204)]``; or a boolean mask of edges. By default the
        `marked_bridges` of the roads: edges whose column `bridge` says so, those that touch
        together.

    Returns
    -------
    GeoDataFrame
        One row a kind × bridge × unit that loses something, in the CRS of the roads: `kind`;
        `bridge` (its number, from 1), `edges` (the labels, separated by commas), `road` (names or
        numbers of the road); `unit_code`, `name`, `township`, `setting`, `state` (now);
        `people_lost` (covered now, and not without the bridge; missing where not known); `flips`
        (whether the unit ceases to be covered; missing where it is not covered now); and the
        bridge's geometry.

        ``attrs["note"]`` and ``attrs["note_zh"]`` say how many bridges were tested. Where no road
        is marked as a bridge the table is empty, which does not mean that all is well: the note
        says so, and a ``UserWarning``.

    Raises
    ------
    InputError
        Where the plan has no such kind, or the roads no such edge, or `edges` is empty.

    See Also
    --------
    facility_coverage.close_roads : Closures of any shape; assess anew with the roads it gives.

    Notes
    -----
    A bridge is closed to all modes in both directions; parallel edges beside it stay open, and
    junctions at its ends keep their delay. Homes and facilities keep the place where they join the
    road, also where the loss cuts that road off from the main network. (`travel_times` over the
    roads that are left would let those within `leg_limit_m` of the main network join that instead,
    straight across the water, and the loss would not show.) Those that join on the bridge itself
    join the nearest other edge within `leg_limit_m`; where `travel_times` was given barriers, none.

    The shortest paths from all facilities of a kind form a forest. Only nodes beyond the bridge in
    it are reached otherwise, or not at all, once it is gone: their branch is searched again, from
    its neighbours outside, whose minutes stay. That is exact, and costs what hangs on the bridge,
    not the size of the network. Where facilities join on the bridge itself, or the standard has a
    capacity, the whole search is run again.

    Examples
    --------
    The sample's roads mark the bridges of its expressways; and its three longest edges:

    >>> import facility_coverage as fc
    >>> from facility_coverage.fragility import bridge_fragility
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> access = fc.travel_times(units, facilities, roads, plan)
    >>> report = fc.assess(units, facilities, access, plan)
    >>> table = bridge_fragility(report, kinds=["clinic"])
    >>> table.attrs["note"]
    'bridges taken away, one at a time: 48; those not listed cost nobody their cover'
    >>> longest = roads.edges["length_m"].nlargest(3).index
    >>> table = bridge_fragility(report, kinds=["clinic"], edges=longest)
    >>> bool(table["bridge"].isin([1, 2, 3]).all()), bool((table["people_lost"] > 0).all())
    (True, True)
    """
    roads = report.roads
    parts = _parts(report, kinds)
    bridges = _bridges(roads, edges)
    if not bridges:
        note = label("fragility", "no_bridges", lang="en")
        warnings.warn(note, UserWarning, stacklevel=2)
    closures = _Closures(report.access.searches, bridges)
    rows = [
        _rows_of_kind(report, group, _without(report, group, closures)) for group in _by_kind(parts)
    ]
    table = pd.concat(rows, ignore_index=True)
    frame = gpd.GeoDataFrame(
        _with_bridges(table, bridges, roads), geometry="geometry", crs=roads.crs
    )
    key = "tested" if bridges else "no_bridges"
    for name, lang in (("note", "en"), ("note_zh", "zh")):
        frame.attrs[name] = label("fragility", key, lang=lang).format(count=len(bridges))
    return frame


def marked_bridges(roads: RoadNetwork) -> list[tuple[int, ...]]:
    """Give the bridges of a network: connected runs of edges whose column `bridge` says so.

    Parameters
    ----------
    roads : RoadNetwork
        Its ``edges["bridge"]`` is read: ``"yes"``, ``"viaduct"``, True, 是, … but not ``"no"``,
        False, 0 or nothing.

    Returns
    -------
    list of tuple of int
        Labels of ``roads.edges``, a tuple a bridge, in their order. Empty where none is marked.

    Notes
    -----
    Edges of a bridge that share a node are one bridge; carriageways side by side that do not are
    two.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.fragility import marked_bridges
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> bridges = marked_bridges(roads)
    >>> len(bridges), bridges[0], roads.edges["name"].iloc[7]
    (48, (7,), '大广高速')
    """
    if "bridge" not in roads.edges:
        return []
    said = [str(value).strip().lower() not in _NO_BRIDGE for value in roads.edges["bridge"]]
    edge = np.flatnonzero(np.array(said, dtype=bool))
    u, v = (roads.edges[name].to_numpy(np.int64)[edge] for name in ("u", "v"))
    n = len(roads.nodes)
    _, piece = connected_components(coo_array((np.ones(edge.size), (u, v)), shape=(n, n)))
    runs: dict[int, list[int]] = {}
    for name, key in zip(roads.edges.index[edge].tolist(), piece[u].tolist(), strict=True):
        runs.setdefault(key, []).append(name)
    return [tuple(run) for run in runs.values()]


# -- what is asked, and what holds now -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Part:
    """A standard, the points it applies to, and what holds there now.

    `owner` is the position of each point's unit. By unit, `there` is the weight covered now and
    `needed` what it takes. `asks` are the questions and limits, by required kind and alternative.
    """

    verdicts: PointVerdicts
    covered: Flags
    owner: Integers
    count: Floats
    weight: Floats
    needed: Floats
    there: Floats
    asks: tuple[tuple[tuple[Question, float], ...], ...]

    @property
    def standard(self) -> Standard:
        return self.verdicts.standard

    @property
    def points(self) -> Integers:
        return self.verdicts.points

    @property
    def with_capacity(self) -> bool:
        return self.standard.capacity_m2_per_100_households is not None

    def passes(self, nearest: Mapping[Question, Nearest]) -> NDArray[np.bool_]:
        """Tell what passes, shape (n_kinds, n_alternatives, n_points)."""
        return np.array(
            [
                [_in_time(nearest[question].minutes[self.points], limit) for question, limit in row]
                for row in self.asks
            ]
        )


class _Loss(NamedTuple):
    """Which points of a part lose (or, rarely, gain) their cover by which cause."""

    point: Integers
    cause: Integers
    gained: Flags

    @classmethod
    def of(cls, before: Flags, after: Flags, cause: int) -> _Loss:
        point = np.flatnonzero(before != after)
        return cls(point, np.full(point.size, cause), after[point])

    @classmethod
    def joined(cls, losses: Sequence[_Loss]) -> _Loss:
        nothing = np.empty(0, dtype=np.int64)
        none = cls(nothing, nothing, np.empty(0, dtype=bool))
        return cls(*(np.concatenate(column) for column in zip(none, *losses, strict=True)))


def _in_time(minutes: Floats, limit: float) -> Flags:
    """Tell who gets there in time, as verdicts do; nobody where the minutes are missing."""
    in_time: Flags = minutes / limit <= 1 + ROUNDING
    return in_time


def _parts(report: CoverageReport, kinds: Iterable[str] | None) -> list[_Part]:
    asked = report.plan.kinds if kinds is None else tuple(kinds)
    strange = [kind for kind in asked if kind not in report.plan.kinds]
    if isinstance(kinds, str) or strange or not asked:
        raise InputError(
            f"kinds must be a list of kinds of the plan, not {kinds!r}; "
            f"it has {', '.join(report.plan.kinds)}"
        )
    home_unit, n_units = _home_unit(report), len(report.units)
    parts = []
    for found in report.point_verdicts:
        if found.standard.kind not in asked:
            continue
        owner, weight = home_unit[found.points], found.people.weight[found.points]
        covered = found.judged.state == _COVERED
        total = _sums(owner, weight, n_units)
        parts.append(
            _Part(
                verdicts=found,
                covered=covered,
                owner=owner,
                count=found.people.count[found.points],
                weight=weight,
                needed=found.standard.unit_share * total - ROUNDING,
                there=_sums(owner, weight * covered, n_units),
                asks=_asks(found.standard, report.access),
            )
        )
    return parts


def _asks(
    standard: Standard, access: TravelTimes
) -> tuple[tuple[tuple[Question, float], ...], ...]:
    """Give the questions of a standard and their limits, by required kind and alternative."""
    modes = access.searches.modes
    return tuple(
        tuple(
            ((pool, access.way(standard, one)), one.limit_minutes(modes))
            for one in standard.alternatives
        )
        for pool in pools_of(standard)[: len(standard.required_kinds)]
    )


def _home_unit(report: CoverageReport) -> Integers:
    codes = pd.Index(report.units["unit_code"].to_numpy(dtype=object))
    found = codes.get_indexer(report.access.demand["unit_code"].to_numpy(dtype=object))
    return found.astype(np.int64)


def _by_kind(parts: Sequence[_Part]) -> list[list[_Part]]:
    groups: dict[str, list[_Part]] = {}
    for part in parts:
        groups.setdefault(part.standard.kind, []).append(part)
    return list(groups.values())


def _unit_rows(report: CoverageReport, kind: str) -> pd.DataFrame:
    """Give one kind's units that a standard applies to, and the position of each (`unit`)."""
    verdicts = report.verdicts
    kept = (verdicts["kind"] == kind) & (verdicts["reachable_state"] != "not_applicable")
    columns = ["kind", *_UNIT_COLUMNS, "reachable_state", "facility_id", "minutes"]
    table = verdicts.loc[kept, [*columns, "people_covered"]].reset_index(drop=True)
    codes = pd.Index(report.units["unit_code"].to_numpy(dtype=object))
    table["unit"] = codes.get_indexer(table["unit_code"].to_numpy(dtype=object))
    return table.rename(columns={"reachable_state": "state"})


def _covered_again(
    report: CoverageReport, parts: Sequence[_Part], nearest: Mapping[Question, Nearest]
) -> list[Flags]:
    """Judge the points of a kind with a capacity anew, with other minutes for some questions."""
    access = replace(report.access, nearest={**report.access.nearest, **nearest})
    judged = keep_to_capacity(
        [(part.standard, judge_points(part.standard, access, part.points), part.points)
         for part in parts],
        _households(report),
        report.facilities["floor_area_m2"].to_numpy(dtype=float),
    )  # fmt: skip
    return [one.state == _COVERED for one in judged]


def _households(report: CoverageReport) -> Floats:
    """Share each unit's households out among its demand points, as its residents are."""
    home_unit = _home_unit(report)
    of_unit = report.units["households"].to_numpy(dtype=float, na_value=np.nan)
    residents = report.demand["residents"].to_numpy(dtype=float)
    whole = _sums(home_unit, residents, len(report.units))
    with np.errstate(invalid="ignore", divide="ignore"):
        return of_unit[home_unit] * residents / whole[home_unit]


def _sums(owner: Integers, values: Floats, n: int) -> Floats:
    """Give sums by owner."""
    return np.bincount(owner, weights=values, minlength=n).astype(float)  # of nothing an integer


class _UnitLosses(NamedTuple):
    """What units lose, one row a unit × cause that costs it something."""

    unit: Integers
    cause: Integers
    people: Floats
    weight: Floats
    flips: Flags


def _by_unit(part: _Part, loss: _Loss) -> _UnitLosses:
    owner = part.owner[loss.point]
    key, row = np.unique(np.column_stack([owner, loss.cause]), axis=0, return_inverse=True)
    unit, cause = key.T

    def summed(values: Floats, who: Flags) -> Floats:
        return _sums(row.ravel(), np.where(who, values, 0.0), len(key))

    count, weight = part.count[loss.point], part.weight[loss.point]
    lost, gained = summed(weight, ~loss.gained), summed(weight, loss.gained)
    before = part.there[unit]
    flips = (before >= part.needed[unit]) & (before - lost + gained < part.needed[unit])
    people = summed(count, ~loss.gained)
    return _UnitLosses(unit, cause, people, lost, flips)


# -- one facility less -----------------------------------------------------------------------------


class _Columns(NamedTuple):
    """Columns of `fragility`, by unit."""

    people_sole: Floats
    cause: Integers
    people_lost: Floats
    next_minutes: Floats
    next_facility: Integers

    @classmethod
    def empty(cls, n: int) -> _Columns:
        none = np.full(n, -1, dtype=np.int64)
        return cls(np.zeros(n), none, np.full(n, np.nan), np.full(n, np.nan), none.copy())


def _losses(part: _Part, access: TravelTimes, following: Any) -> _Loss:
    """Give the points that depend on one facility alone, and on which."""
    found = []
    first = part.passes(access.nearest)
    for row, passes in zip(part.asks, first, strict=True):
        nearest = [access.nearest[question].facility[part.points] for question, _ in row]
        # If there is such a facility, it is the nearest by the first alternative that passes.
        facility = np.choose(passes.argmax(axis=0), nearest)
        still = np.zeros(part.points.size, dtype=bool)
        for (question, limit), one, now in zip(row, nearest, passes, strict=True):
            after = _in_time(following(question).minutes[part.points], limit)
            still |= np.where(one == facility, after, now)
        point = np.flatnonzero(part.covered & ~still)
        found.append(_Loss(point, facility[point], np.zeros(point.size, dtype=bool)))
    return _Loss.joined(found)


def _losses_with_capacity(
    report: CoverageReport, parts: Sequence[_Part], following: Any
) -> list[_Loss]:
    """Take away each facility that anybody relies on, and fill the rest anew."""
    nearest = report.access.nearest
    questions = list({question: None for part in parts for row in part.asks for question, _ in row})
    used = [
        nearest[question].facility[part.points][passes]
        for part in parts
        for row, table in zip(part.asks, part.passes(nearest), strict=True)
        for (question, _), passes in zip(row, table, strict=True)
    ]
    found: list[list[_Loss]] = [[] for _ in parts]
    for facility in np.unique(np.concatenate(used)).tolist():
        changed = {}
        for question in questions:
            now, then = nearest[question], following(question)
            gone = now.facility == facility
            changed[question] = Nearest(
                np.where(gone, then.minutes, now.minutes),
                np.where(gone, then.facility, now.facility),
                np.where(gone, then.reason, now.reason),
            )
        after = _covered_again(report, parts, changed)
        for losses, part, covered in zip(found, parts, after, strict=True):
            losses.append(_Loss.of(part.covered, covered, facility))
    return [_Loss.joined(losses) for losses in found]


def _fill(columns: _Columns, part: _Part, loss: _Loss) -> None:
    """Write what units lose into the columns."""
    point = np.unique(loss.point[~loss.gained])
    columns.people_sole[:] += _sums(part.owner[point], part.count[point], columns.cause.size)
    lost = _by_unit(part, loss)
    # Of several the one most people depend on, then the first in the table, is written last.
    order = np.lexsort((-lost.cause, lost.weight))
    order = order[lost.flips[order]]
    columns.cause[lost.unit[order]] = lost.cause[order]
    columns.people_lost[lost.unit[order]] = lost.people[order]


def _fill_next(columns: _Columns, part: _Part, report: CoverageReport, following: Any) -> None:
    """Write where the typical trip of each unit would lead if its facility closed."""
    standard, _, points, people, judged = part.verdicts
    members, local = np.unique(part.owner, return_inverse=True)
    typical = judge_units(standard, judged, local, people, points, members).point
    kind_of = report.facilities["kind"].to_numpy(dtype=object)
    rows = {row[0][0][0].kind: row for row in part.asks}
    for unit, point in zip(members.tolist(), typical.tolist(), strict=True):
        facility = judged.facility[point]
        if point >= 0 and facility >= 0:
            question, _ = rows[kind_of[facility]][judged.alternative[point]]
            other, home = following(question), points[point]
            columns.next_minutes[unit] = other.minutes[home]
            columns.next_facility[unit] = other.facility[home]


# -- one bridge less -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Bridge:
    """Edges that go together: positions, and their labels as they were given."""

    number: int
    edge: Integers
    labels: tuple[Any, ...]


def _bridges(roads: RoadNetwork, edges: Iterable[Any] | None) -> list[_Bridge]:
    index = roads.edges.index
    groups = list(marked_bridges(roads) if edges is None else edges)
    if edges is not None and not groups:
        raise InputError("edges is empty: give labels of the roads' edges to take away")
    if groups and all(isinstance(each, bool | np.bool_) for each in groups):
        if len(groups) != len(index):
            raise InputError(
                f"edges is a mask of {len(groups)} for {len(index)} edges: give one value an edge, "
                "or labels"
            )
        groups = index[np.array(groups, dtype=bool)].tolist()
    found, strange = [], []
    for number, group in enumerate(groups, start=1):
        several = isinstance(group, Iterable) and not isinstance(group, str)
        labels = tuple(group) if several else (group,)
        edge = index.get_indexer(pd.Index(labels))
        strange += [one for one, at in zip(labels, edge, strict=True) if at < 0]
        found.append(_Bridge(number, np.unique(edge).astype(np.int64), labels))
    if strange or any(bridge.edge.size == 0 for bridge in found):
        named = ", ".join(map(repr, strange[:5])) + (", …" if len(strange) > 5 else "")  # noqa: PLR2004
        raise InputError(
            f"the roads have no edge {named or '()'}: edges are labels of report.roads.edges, or "
            "groups of them"
        )
    return found


def _without(report: CoverageReport, parts: Sequence[_Part], closures: _Closures) -> list[_Loss]:
    """Give, by part of one kind, who loses cover by the loss of which bridge."""
    access, bridges = report.access, closures.bridges
    capacity = any(part.with_capacity for part in parts)
    limits: dict[Question, float] = {}
    for part in parts:
        for question, limit in (ask for row in part.asks for ask in row):
            limits[question] = max(limit * _MARGIN, limits.get(question, 0.0))
    changes: list[dict[Question, _Change]] = [{} for _ in bridges]
    for question, limit in limits.items():
        if question[1].measure != "straight":  # no bridge leads there
            for number, change in closures.changes(question, limit, whole=capacity):
                changes[number][question] = change
    found: list[list[_Loss]] = [[] for _ in parts]
    passes = [part.passes(access.nearest) for part in parts]
    for bridge, touched in zip(bridges, changes, strict=True):
        if capacity and touched:
            nearest = {key: one.nearest for key, one in touched.items() if one.nearest is not None}
            after = _covered_again(report, parts, nearest)
            for losses, part, covered in zip(found, parts, after, strict=True):
                losses.append(_Loss.of(part.covered, covered, bridge.number))
        elif touched:
            for losses, part, before in zip(found, parts, passes, strict=True):
                losses.append(_lost_by(part, before, touched, bridge.number))
    return [_Loss.joined(losses) for losses in found]


def _lost_by(
    part: _Part, passes: NDArray[np.bool_], changes: Mapping[Question, _Change], cause: int
) -> _Loss:
    """Judge the points of a part whose minutes have changed."""
    asked = [question for row in part.asks for question, _ in row if question in changes]
    if not asked:
        return _Loss.joined([])
    # Points ascend, and not all homes are points of this part.
    home = np.unique(np.concatenate([changes[question].home for question in asked]))
    point = _positions(part.points, home)
    point = point[point >= 0]
    after = passes[:, :, point]
    for row, table in zip(part.asks, after, strict=True):
        for (question, limit), one in zip(row, table, strict=True):
            if question in changes:
                at = _positions(part.points[point], changes[question].home)
                one[at[at >= 0]] = _in_time(changes[question].minutes[at >= 0], limit)
    covered: Flags = np.logical_and.reduce(after.any(axis=1))
    loss = _Loss.of(part.covered[point], covered, cause)
    return loss._replace(point=point[loss.point])


def _positions(ascending: Integers, wanted: Integers) -> Integers:
    """Give where values stand in an ascending array, -1 where they do not."""
    at = np.searchsorted(ascending, wanted)
    at[at == ascending.size] = -1
    found = np.full(wanted.size, -1, dtype=np.int64)
    there = at >= 0
    there[there] = ascending[at[there]] == wanted[there]
    found[there] = at[there]
    return found


class _Change(NamedTuple):
    """Minutes of the homes that a loss touches; of all homes in `nearest` where it was asked."""

    home: Integers
    minutes: Floats
    nearest: Nearest | None = None


class _Steps(NamedTuple):
    """What single steps from node to node take without a bridge, where that is longer."""

    tail: Integers
    head: Integers
    minutes: Floats


class _Moved(NamedTuple):
    """Homes and facilities that join on a bridge, and where they join without it."""

    home: Integers
    homes: Snaps
    site: Integers
    sites: Snaps


@dataclass(frozen=True, eq=False)
class _Closures:
    """Bridges to be taken away one at a time, and what is known of that by mode."""

    searches: Searches
    bridges: Sequence[_Bridge]
    steps: dict[object, list[_Steps]] = field(default_factory=dict)
    moved: dict[str, list[_Moved]] = field(default_factory=dict)

    def changes(
        self, question: Question, limit: float, *, whole: bool
    ) -> Iterator[tuple[int, _Change]]:
        """Give the minutes to a pool that change, by position of the bridge."""
        pool, way = question
        trips, joins = self.searches.trips(way), self.searches.joins[way.mode]
        chosen = self.searches.members(pool)
        site = np.flatnonzero(chosen & (joins.sites.edge >= 0))
        if site.size == 0:
            return
        forest = _Forest.grown(trips, joins.sites, site, limit)
        along = _along_own_edge(trips, joins.homes, joins.sites, site)
        hanging = _Hanging.of(forest, joins.homes, along)
        for number, (bridge, step, moved) in enumerate(
            zip(self.bridges, self._steps(trips.net), self._moved(way), strict=True)
        ):
            nodes = forest.beyond(step)
            if chosen[moved.site].any() or (whole and (nodes.size or moved.home.size)):
                closed = _closed_trips(trips, bridge, step)
                sites = _replaced(joins.sites, moved.site, moved.sites)
                homes = _replaced(joins.homes, moved.home, moved.homes)
                nearest = SiteSearch(closed, sites, chosen, limit).nearest(homes)
                yield number, _Change(np.arange(homes.edge.size), nearest.minutes, nearest)
                continue
            home = np.setdiff1d(hanging.at(nodes), moved.home)
            if home.size or moved.home.size:
                node_minutes = forest.minutes_without(step, nodes)
                beside = _along_own_edge(trips, moved.homes, joins.sites, site)
                stay = _ways(trips, joins.homes.take(home), along[home], node_minutes)
                move = _ways(trips, moved.homes, beside, node_minutes)
                minutes = np.concatenate([stay.min(axis=0), move.min(axis=0)])
                yield number, _Change(np.concatenate([home, moved.home]), minutes)

    def _steps(self, net: ModeNetwork) -> list[_Steps]:
        """Give what each bridge changes in a mode's network."""
        key = net.mode.key
        if key not in self.steps:
            ends = np.minimum(net.u, net.v), np.maximum(net.u, net.v)
            pair = ends[0] * net.matrix.shape[0] + ends[1]
            order = np.argsort(pair, kind="stable")
            ranked = pair[order]
            self.steps[key] = []
            for bridge in self.bridges:
                pairs = np.unique(pair[bridge.edge])
                side_by_side = _ranges(*np.searchsorted(ranked, [pairs, pairs + 1]))[1]
                self.steps[key].append(_longer_steps(net, order[side_by_side], bridge.edge))
        return self.steps[key]

    def _moved(self, way: Way) -> list[_Moved]:
        """Give who joins on each bridge, and where else they can."""
        searches, joins = self.searches, self.searches.joins[way.mode]
        if way.mode not in self.moved:
            net = searches.roads.for_mode(searches.modes[way.mode])
            columns: list[list[Any]] = []
            for snaps, xy in ((joins.homes, searches.xy.homes), (joins.sites, searches.xy.sites)):
                order = np.argsort(snaps.edge, kind="stable")
                ranked = snaps.edge[order]
                who = [
                    np.sort(order[_ranges(*np.searchsorted(ranked, [each, each + 1]))[1]])
                    for each in (bridge.edge for bridge in self.bridges)
                ]
                columns.append(who)
                columns.append(
                    [
                        _joined_elsewhere(searches, net, xy[each], bridge.edge)
                        for each, bridge in zip(who, self.bridges, strict=True)
                    ]
                )
            self.moved[way.mode] = [_Moved(*row) for row in zip(*columns, strict=True)]
        return self.moved[way.mode]


def _longer_steps(net: ModeNetwork, edge: Integers, closed: Integers) -> _Steps:
    """Give the steps between the ends of some edges that take longer without the closed ones."""
    n = net.matrix.shape[0]
    u, v = net.u[edge], net.v[edge]
    minutes = np.concatenate(
        [
            net.forward_minutes[edge] + net.delay_minutes[v],
            net.backward_minutes[edge] + net.delay_minutes[u],
        ]
    )
    keys, row = np.unique(np.concatenate([u * n + v, v * n + u]), return_inverse=True)
    before, after = np.full((2, keys.size), np.inf)
    np.minimum.at(before, row, minutes)
    stays = np.tile(~np.isin(edge, closed), 2)
    np.minimum.at(after, row[stays], minutes[stays])
    longer = after > before
    return _Steps(keys[longer] // n, keys[longer] % n, after[longer])


def _joined_elsewhere(searches: Searches, net: ModeNetwork, xy: Floats, closed: Integers) -> Snaps:
    """Join points to the nearest edge that is not closed, as `snap` would.

    Where they may join the main network they do; what is the main network is judged with the
    closed edges in it.
    """
    points, count = shapely.points(xy), len(xy)
    found = Snaps(
        np.full(count, -1, dtype=np.int64),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, -1, dtype=np.int64),
        np.full(count, "off_network", dtype=object),
    )
    if count == 0 or searches.options.get("barriers"):
        return found
    where = net.roads
    limit_m = searches.options["leg_limit_m"]
    which, item = where.tree.query(points, predicate="dwithin", distance=limit_m)
    edge = where.usable[item]
    open_ = ~np.isin(edge, closed)
    which, edge = which[open_], edge[open_]
    lines = np.asarray(searches.roads.edges.geometry.array)[edge]
    leg_m = shapely.distance(points[which], lines)
    # Of equally near edges their shapes, then their minutes decide, as for all points.
    shape_rank = pd.factorize(shapely.to_wkb(lines), sort=True)[0]
    minutes = (net.backward_minutes[edge], net.forward_minutes[edge])
    island = where.edge_component[edge] != where.main_component
    order = np.lexsort((edge, *minutes, shape_rank, leg_m, island, which))
    first = order[np.r_[True, np.diff(which[order]) != 0][: order.size]]
    point, edge = which[first], edge[first]
    fraction = shapely.line_locate_point(lines[first], points[point], normalized=True)
    found.edge[point], found.leg_m[point] = edge, leg_m[first]
    found.fraction[point] = np.nan_to_num(fraction, nan=0.0)  # a line of no length has none
    found.component[point] = where.edge_component[edge]
    found.flag[point] = ""
    return found


def _replaced(snaps: Snaps, who: Integers, others: Snaps) -> Snaps:
    """Give snaps with those of some points replaced."""
    columns = {name: getattr(snaps, name).copy() for name in snaps.__dataclass_fields__}
    for name, column in columns.items():
        column[who] = getattr(others, name)
    return Snaps(**columns)


def _closed_trips(trips: Trips, bridge: _Bridge, steps: _Steps) -> Trips:
    """Give the same trips over the roads without a bridge."""
    net = trips.net
    n = net.matrix.shape[0]
    tail = np.repeat(np.arange(n), np.diff(net.matrix.indptr))
    key, minutes = tail * n + net.matrix.indices, net.matrix.data.copy()
    at = _positions(key, steps.tail * n + steps.head)
    minutes[at[at >= 0]] = steps.minutes[at >= 0]
    kept = np.isfinite(minutes)
    place = (tail[kept], net.matrix.indices[kept])
    matrix = coo_array((minutes[kept], place), shape=(n, n)).tocsr()
    forward, backward = net.forward_minutes.copy(), net.backward_minutes.copy()
    forward[bridge.edge] = backward[bridge.edge] = np.inf
    closed = replace(
        net,
        forward_minutes=forward,
        backward_minutes=backward,
        matrix=matrix,
        reverse_matrix=matrix.T.tocsr(),
    )
    return replace(trips, net=closed)


def _along_own_edge(trips: Trips, homes: Snaps, sites: Snaps, site: Integers) -> Floats:
    """Give each home's minutes to the nearest site on its own edge along it, its leg left out."""
    least = np.full(homes.edge.size, np.inf)
    there = np.flatnonzero(homes.edge >= 0)
    by_edge = site[np.argsort(sites.edge[site], kind="stable")]
    low, high = np.searchsorted(sites.edge[by_edge], [homes.edge[there], homes.edge[there] + 1])
    home, at = _ranges(low, high)
    if home.size:
        home, other = there[home], by_edge[at]
        along = trips.along(homes.edge[home], homes.fraction[home], sites.fraction[other])
        np.minimum.at(least, home, along + sites.leg_m[other] * trips.leg_rate)
    return least


def _ranges(low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """Give the numbers of all ranges from low up to high, one after another, and whose each is.

    Examples
    --------
    >>> [each.tolist() for each in _ranges(np.array([5, 0, 7]), np.array([8, 0, 8]))]
    [[0, 0, 0, 2], [5, 6, 7, 7]]
    """
    count = (high - low).astype(np.int64)
    whose = np.repeat(np.arange(count.size), count)
    return whose, np.arange(whose.size) + np.repeat(low - (np.cumsum(count) - count), count)


def _ways(trips: Trips, homes: Snaps, along: Floats, node_minutes: Floats) -> Floats:
    """Give minutes by way of either end of each home's edge and along it, shape (3, n)."""
    net = trips.net
    at_u, at_v = trips.ends(homes.edge, homes.fraction, outward=trips.to_facility)
    ways = np.array(
        [
            at_u + node_minutes[net.u[homes.edge]],
            at_v + node_minutes[net.v[homes.edge]],
            along,
        ]
    )
    ways += homes.leg_m * trips.leg_rate
    ways[:, homes.edge < 0] = np.inf
    return ways


@dataclass(frozen=True, eq=False)
class _Forest:
    """The shortest paths from all sites of a pool, as trees that grow from the sites.

    Attributes
    ----------
    minutes, before : ndarray, shape (n_nodes,)
        Of each node and of the way to it: the node before it, one beyond the last for a site.
    link : ndarray of float, shape (n_nodes,)
        The least minutes of a single link from a site's door.
    node : ndarray of int
        The nodes reached, each followed by all that are reached through it.
    start, end : ndarray of int, shape (n_nodes,)
        ``node[start[i]:end[i]]`` is node i and all beyond it.
    """

    trips: Trips
    limit: float
    minutes: Floats
    before: Integers
    link: Floats
    node: Integers
    start: Integers
    end: Integers

    @classmethod
    def grown(cls, trips: Trips, sites: Snaps, site: Integers, limit: float) -> _Forest:
        n, k = trips.matrix.shape[0], site.size
        head, link = trips.links(sites.take(site))
        minutes, before, _ = dijkstra(
            with_sites(trips.matrix, head, link),
            indices=np.arange(n, n + k),
            min_only=True,
            return_predecessors=True,
            limit=limit,
        )
        least = np.full(n, np.inf)
        np.minimum.at(least, head, link)
        order, end = _preorder(np.where(before[:n] < n, before[:n], -1), minutes[:n] < np.inf)
        start = np.full(n, -1, dtype=np.int64)
        start[order] = np.arange(order.size)
        ends = np.full(n, -1, dtype=np.int64)
        ends[order] = end
        return cls(
            trips, limit, minutes[:n], before[:n].astype(np.int64), least, order, start, ends
        )

    def beyond(self, steps: _Steps) -> Integers:
        """Give the nodes whose way leads over one of some steps, as the search goes."""
        tail, head = self._as_searched(steps)
        root = head[self.before[head] == tail]
        root = root[np.argsort(self.start[root])]
        branches, done = [], 0
        for start, end in zip(self.start[root].tolist(), self.end[root].tolist(), strict=True):
            if start >= done:  # else it is part of the branch before
                branches.append(self.node[start:end])
                done = end
        return np.concatenate([np.empty(0, dtype=np.int64), *branches])

    def minutes_without(self, steps: _Steps, nodes: Integers) -> Floats:
        """Give the minutes of all nodes where some steps take longer.

        Parameters
        ----------
        steps : _Steps
            The steps.
        nodes : ndarray of int
            The nodes `beyond` them; the minutes of the rest stay.
        """
        minutes = self.minutes.copy()
        if nodes.size == 0:
            return minutes
        local = np.full(minutes.size, -1, dtype=np.int64)
        local[nodes] = np.arange(nodes.size)
        net = self.trips.net
        into = net.matrix if self.trips.to_facility else net.reverse_matrix
        head, gather = _ranges(into.indptr[nodes], into.indptr[nodes + 1])
        tail, step = into.indices[gather], into.data[gather]
        for a, b, longer in zip(*self._as_searched(steps), steps.minutes, strict=True):
            step[(tail == a) & (nodes[head] == b)] = longer
        inside = local[tail] >= 0
        # Whoever comes from outside comes from a site, or from a node whose minutes stay.
        entry = self.link[nodes]
        np.minimum.at(entry, head[~inside], minutes[tail[~inside]] + step[~inside])
        within, enters = inside & np.isfinite(step), np.flatnonzero(np.isfinite(entry))
        source = np.full(enters.size, nodes.size)
        ends = (
            np.concatenate([local[tail[within]], source]),
            np.concatenate([head[within], enters]),
        )
        graph = coo_array(
            (np.concatenate([step[within], entry[enters]]), ends), shape=(nodes.size + 1,) * 2
        ).tocsr()
        minutes[nodes] = dijkstra(graph, indices=nodes.size, limit=self.limit)[:-1]
        return minutes

    def _as_searched(self, steps: _Steps) -> tuple[Integers, Integers]:
        return (steps.head, steps.tail) if self.trips.to_facility else (steps.tail, steps.head)


def _preorder(before: Integers, reached: Flags) -> tuple[Integers, Integers]:
    """Order the nodes of a forest so that each is followed by all that grow from it.

    Parameters
    ----------
    before : ndarray of int, shape (n,)
        The node each grows from, -1 where it is a root.
    reached : ndarray of bool, shape (n,)
        Which nodes are in the forest.

    Returns
    -------
    ndarray of int, ndarray of int
        The nodes in order, and for each the place after the last that grows from it.

    Examples
    --------
    >>> order, end = _preorder(np.array([-1, 0, 0, 2, -1]), np.ones(5, dtype=bool))
    >>> order.tolist(), end.tolist()
    ([0, 1, 2, 3, 4], [4, 2, 4, 4, 5])
    """
    n = before.size
    parent_of = np.where(before >= 0, before, n)  # one root for all
    child = np.flatnonzero(reached)
    child = child[np.argsort(parent_of[child], kind="stable")]
    indptr = np.zeros(n + 2, dtype=np.int32)
    np.cumsum(np.bincount(parent_of[child], minlength=n + 1), out=indptr[1:])
    columns = (np.ones(child.size), child.astype(np.int32), indptr)
    tree = csr_array(columns, shape=(n + 1, n + 1))
    order = depth_first_order(tree, n, return_predecessors=False).astype(np.int64)
    place = np.full(n + 1, -1, dtype=np.int64)
    place[order] = np.arange(order.size)
    # A branch ends where its parent's next begins; the last of them where the parent's own ends.
    parents = place[parent_of[order[1:]]]
    siblings = np.argsort(parents, kind="stable") + 1
    followed = np.diff(parents[siblings - 1]) == 0
    end, ends_with = np.full(order.size, order.size), np.r_[0, parents]
    end[siblings[:-1][followed]] = siblings[1:][followed]
    ends_with[siblings[:-1][followed]] = siblings[:-1][followed]
    while not np.array_equal(further := ends_with[ends_with], ends_with):
        ends_with = further
    return order[1:], end[ends_with][1:] - 1


@dataclass(frozen=True, eq=False)
class _Hanging:
    """Homes by the node through which they get there in time, in the order of a forest's nodes."""

    forest: _Forest
    home: Integers
    place: Integers

    @classmethod
    def of(cls, forest: _Forest, homes: Snaps, along: Floats) -> _Hanging:
        net = forest.trips.net
        ways = _ways(forest.trips, homes, along, forest.minutes)
        best = ways.argmin(axis=0)
        home = np.flatnonzero((ways.min(axis=0) <= forest.limit) & (best < 2))  # noqa: PLR2004
        edge = homes.edge[home]
        place = forest.start[np.where(best[home] == 0, net.u[edge], net.v[edge])]
        order = np.argsort(place, kind="stable")
        return cls(forest, home[order], place[order])

    def at(self, nodes: Integers) -> Integers:
        """Give the homes that hang on some branches' nodes."""
        places = self.forest.start[nodes]
        return self.home[_ranges(*np.searchsorted(self.place, [places, places + 1]))[1]]


# -- the table of bridges --------------------------------------------------------------------------


def _rows_of_kind(
    report: CoverageReport, parts: Sequence[_Part], losses: Sequence[_Loss]
) -> pd.DataFrame:
    """Give one kind's rows: what each unit loses by each bridge."""
    found = [_by_unit(part, loss) for part, loss in zip(parts, losses, strict=True)]
    unit, cause, people, _, flips = (np.concatenate(column) for column in zip(*found, strict=True))
    units = _unit_rows(report, parts[0].standard.kind).set_index("unit")
    kept = np.flatnonzero(flips | (people != 0))  # unknown is not 0
    kept = kept[np.lexsort((unit[kept], cause[kept]))]
    rows = units.loc[unit[kept]].reset_index(drop=True)
    unknown = rows.pop("people_covered").isna()
    rows["bridge"] = cause[kept]
    rows["people_lost"] = pd.Series(people[kept]).mask(unknown)
    rows["flips"] = pd.Series(flips[kept], dtype="boolean").mask(rows["state"] != "covered")
    return rows


def _with_bridges(
    table: pd.DataFrame, bridges: Sequence[_Bridge], roads: RoadNetwork
) -> pd.DataFrame:
    """Say of each row's bridge which edges it is, what road, and where."""
    lines = np.asarray(roads.edges.geometry.array)
    at = table["bridge"].to_numpy(dtype=np.int64) - 1
    edges = np.array([", ".join(map(str, one.labels)) for one in bridges], dtype=object)
    names = np.array([_road_names(roads, one.edge) for one in bridges], dtype=object)
    shapes = np.array(
        [shapely.line_merge(shapely.multilinestrings(lines[one.edge])) for one in bridges],
        dtype=object,
    )
    columns = ["kind", "bridge", "edges", "road", *_UNIT_COLUMNS, "state", "people_lost", "flips"]
    return table.assign(edges=edges[at], road=names[at])[columns].assign(geometry=shapes[at])


def _road_names(roads: RoadNetwork, edge: Integers) -> str | None:
    """Give the names of the road, or its numbers where it has no name."""
    for column in ("name", "ref"):
        if column in roads.edges:
            names = roads.edges[column].iloc[edge].dropna().astype(str)
            if len(names):
                return " / ".join(dict.fromkeys(names))
    return None
