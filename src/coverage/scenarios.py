"""Two reports side by side: which units gained or lost coverage, and by what.

A scenario is a report of changed inputs: one facility more, a road closed, a rule loosened, next
year's ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .assessment import CoverageReport, assess
from .errors import InputError
from .network import RoadNetwork
from .standards import Plan, Standard
from .terms import label
from .travel import travel_times

__all__ = ["Comparison", "compare", "reassess", "refuse_strangers"]

Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

# In this order the later report's inputs take the place of the earlier one's.
CAUSES = ("people", "road", "facility", "rule")
_SAME_PEOPLE = 1e-6  # sums of fractions of people differ by rounding
_SAME_PLACE_M = 1.0  # nearer, two places differ by rounding
_NAMED_ROADS = 5
_KEY = ["kind", "unit_code"]
_RATE_KEY = ["kind", "setting", "basis", "measure"]
_FACILITY_COLUMNS = (
    "name",
    "kind",
    "unit_code",
    "status",
    "floor_area_m2",
    "activity_area_m2",
    "hours_per_day",
    "served_by",
    "official_covered",
)
_RULES = (
    "words",
    "required_kinds",
    "population",
    "direction",
    "min_floor_area_m2",
    "min_hours_per_day",
    "capacity_m2_per_100_households",
    "unit_share",
    "on_ledger",
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed between two reports, as tables; it shows its headline in a notebook.

    Attributes
    ----------
    before, after : CoverageReport
        What was compared.
    units : DataFrame
        One row a unit × kind × basis whose state or whose people covered changed: `kind,
        unit_code, name, township, setting, basis`; `before, after` (states; ``"absent"`` where
        that report has no such unit); `change`: ``"gained"`` (now covered), ``"lost"`` (no longer),
        ``"now_known"`` (not covered, and one could not tell), ``"now_unknown"``,
        ``"now_counted"``, ``"no_longer_counted"``, ``"more_people"``, ``"fewer_people"``,
        ``"people_unknown"`` (in one of the two); `people_gained`, and its parts by cause
        `people_gained_by_people`, `people_gained_by_road`, `people_gained_by_facility`,
        `people_gained_by_rule` (NaN where not known; on the ledger basis all people of a covered
        unit count); `cause`: ``"people"`` (units, residents, demand points), ``"road"`` (roads,
        barriers, options of the search), ``"facility"`` (agreements to share included) or
        ``"rule"`` (standards, speeds); `cause_facility_id`, the facility that decides where it is
        one; and `detail`: what became of it, which roads, or the rule before → after.
    rates : DataFrame
        One row a kind × setting × basis × measure: `covered_before, covered_after, total_before,
        total_after, share_before, share_after, change_share_points` (percentage points), `target`,
        `missing_before, missing_after, met_before, met_after` (whole units, by each report's own
        target; missing where units that cannot be told decide).
    facilities : DataFrame
        One row a facility × what changed: `facility_id, name, kind, unit_code, change` (opened |
        closed | moved | changed), `column`, `before`, `after`. One that is numbered anew is closed
        and opened.
    kinds : tuple of str
        The kinds both plans set standards for: those compared.
    kinds_of_one_only : tuple of str
        The others.
    """

    before: CoverageReport
    after: CoverageReport
    units: pd.DataFrame
    rates: pd.DataFrame
    facilities: pd.DataFrame
    kinds: tuple[str, ...]
    kinds_of_one_only: tuple[str, ...] = ()

    def summary(self, lang: str = "zh") -> str:
        """Say in a line for each rate of units what changed, and by what.

        Parameters
        ----------
        lang : {"zh", "en"}
            Language.
        """
        shown = self.rates[self.rates["measure"] == "units"]
        lines = [self._line(row, lang) for row in shown.itertuples()]
        return "\n".join(line for line in lines if line) or label("comparison", "nothing", lang)

    def _line(self, row: Any, lang: str) -> str:
        mine = self.units[
            (self.units["kind"] == row.kind)
            & (self.units["setting"] == row.setting)
            & (self.units["basis"] == row.basis)
        ]
        if mine.empty:
            return ""
        counts = [
            f"{label(group, key, lang)} {count}"
            for group in ("change", "cause")
            for key, count in mine[group].value_counts().items()
        ]
        words = (label(group, getattr(row, group), lang) for group in ("kind", "setting", "basis"))
        head = f"{' · '.join(words)}: {_of(row, 'before')} → {_of(row, 'after')}"
        return f"{head}; {', '.join(counts)}" if lang == "en" else f"{head}；{'，'.join(counts)}"

    def __repr__(self) -> str:
        """Say how much changed."""
        return (
            f"<Comparison: {len(self.units)} changes of {self.units['unit_code'].nunique()} units, "
            f"{self.facilities['facility_id'].nunique()} facilities changed>"
        )

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{escape(line)}</p>" for line in self.summary().splitlines())
        units = self.units.drop(columns=[f"people_gained_by_{cause}" for cause in CAUSES])
        for group in ("kind", "setting", "basis", "change", "cause"):
            units[group] = [label(group, key) for key in units[group]]
        for side in ("before", "after"):
            units[side] = [label("state", key) for key in units[side]]
        styled = units.rename(columns=lambda name: label("column", name)).style
        return told + str(styled.hide(axis="index").format(precision=0, na_rep="—").to_html())


def _of(row: Any, side: str) -> str:
    covered, total = getattr(row, f"covered_{side}"), getattr(row, f"total_{side}")
    if np.isnan(covered) or not total:
        return "—"
    return f"{covered:,.0f}/{total:,.0f} ({covered / total:.1%})"


def compare(before: CoverageReport, after: CoverageReport) -> Comparison:
    """Say which units gained or lost coverage between two reports, and by what.

    Parameters
    ----------
    before, after : CoverageReport
        From `assess`, of the same county: facilities, roads, plan, units or people may differ.

    Returns
    -------
    Comparison
        Changes by unit with their causes, rates beside each other, facilities that changed.

    Raises
    ------
    InputError
        Where the reports have no unit or no kind in common.

    Notes
    -----
    The later report's inputs take the place of the earlier one's one after the other: who lives
    where, roads, facilities, rules; and the county is assessed after each. The cause of a change
    of state is the input with which the state last changed, and of a change in people alone the
    one that changed most of them; the parts sum to the whole. Where two inputs are needed
    together (a road and a facility at its end), the later one in that order has the change.

    Units are matched by code, facilities by `facility_id`.

    Examples
    --------
    The first village station closes; its village loses it on the ledger:

    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads, people = fc.read_roads(county.roads), fc.read_demand(county.demand, units)
    >>> def report(facilities):
    ...     access = fc.travel_times(units, facilities, roads, plan, demand=people)
    ...     return fc.assess(units, facilities, access, plan)
    >>> before = report(facilities)
    >>> station = before.verdicts.query("setting == 'rural' and ledger_state == 'covered'").iloc[0]
    >>> shut = facilities["facility_id"] == station["ledger_facility_id"]
    >>> after = report(facilities.assign(status=facilities["status"].mask(shut, "closed")))
    >>> fc.compare(before, after).units.query("basis == 'ledger'")[
    ...     ["change", "cause", "detail"]].iloc[0].tolist()
    ['lost', 'facility', 'closed']
    """
    refuse_strangers({"before": before, "after": after})
    kinds = tuple(kind for kind in after.plan.kinds if kind in before.plan.kinds)
    if not kinds:
        raise InputError(
            f"the plans have no kind in common: before {', '.join(before.plan.kinds)}; after "
            f"{', '.join(after.plan.kinds)}. Assess both against plans that name the same kinds"
        )
    facilities = _facility_changes(before.access.facilities, after.access.facilities)
    steps = _steps(before, after)
    details = {"road": _changed_roads(before.roads, after.roads), "people": ""}
    units = pd.concat(
        [
            _unit_changes(basis, kinds, steps, facilities, details)
            for basis in ("ledger", "reachable")
        ]
    )
    order = {kind: number for number, kind in enumerate(kinds)}
    keys = (units["unit_code"], units["basis"], units["kind"].map(order))
    units = units.iloc[np.lexsort([key.to_numpy() for key in keys])]
    return Comparison(
        before=before,
        after=after,
        units=units.reset_index(drop=True),
        rates=_rates(before, after, kinds),
        facilities=facilities,
        kinds=kinds,
        kinds_of_one_only=tuple(
            dict.fromkeys(
                kind for kind in (*before.plan.kinds, *after.plan.kinds) if kind not in kinds
            )
        ),
    )


def refuse_strangers(reports: Mapping[Any, CoverageReport]) -> None:
    """Refuse reports of different counties: those that share no unit with the first.

    Raises
    ------
    InputError
        Naming a unit of each.
    """
    (first, one), *others = reports.items()
    known = set(one.units["unit_code"])
    for name, other in others:
        codes = other.units["unit_code"]
        if not known.intersection(codes):
            raise InputError(
                f"the reports are of different counties: {first} has units like "
                f"{one.units['unit_code'].iloc[0]}, {name} like {codes.iloc[0]}, and none in "
                "common. Assess the same units in both"
            )


def _steps(before: CoverageReport, after: CoverageReport) -> list[tuple[str, CoverageReport]]:
    """Give the reports on the way from one to the other, each with what took its place in it."""
    changed = [cause for cause in CAUSES if _differs(cause, before, after)]
    steps = [("", before)]
    for number, cause in enumerate(changed, start=1):
        mixed = after if number == len(changed) else _mixed(before, after, changed[:number])
        steps.append((cause, mixed))
    return steps


def _differs(cause: str, before: CoverageReport, after: CoverageReport) -> bool:
    if cause == "rule":
        return (before.plan.standards, dict(before.plan.modes)) != (
            after.plan.standards,
            dict(after.plan.modes),
        )
    if cause == "road":
        one, other = before.access.searches, after.access.searches
        walls = [[] if each.barriers is None else list(each.barriers) for each in (one, other)]
        return (
            not _same(one.roads.edges, other.roads.edges)
            or dict(one.options) != dict(other.options)
            or walls[0] != walls[1]
        )
    if cause == "facility":
        return not _same(before.access.facilities, after.access.facilities)
    return not (_same(before.units, after.units) and _same(before.demand, after.demand))


def _same(one: gpd.GeoDataFrame, other: gpd.GeoDataFrame) -> bool:
    """Tell whether two tables say the same in the columns they share."""
    if one is other:
        return True
    shared = [name for name in one.columns if name in other.columns]
    return len(one) == len(other) and bool(one[shared].equals(other[shared]))


def _mixed(before: CoverageReport, after: CoverageReport, taken: Sequence[str]) -> CoverageReport:
    """Assess the county with some of the later report's inputs."""
    source = {cause: after if cause in taken else before for cause in CAUSES}
    return reassess(
        source["road"],
        units=source["people"].units,
        demand=source["people"].demand,
        facilities=source["facility"].access.facilities,
        plan=source["rule"].plan,
    )


def reassess(
    report: CoverageReport,
    *,
    units: gpd.GeoDataFrame | None = None,
    demand: gpd.GeoDataFrame | None = None,
    facilities: gpd.GeoDataFrame | None = None,
    roads: RoadNetwork | None = None,
    plan: Plan | None = None,
) -> CoverageReport:
    """Search and assess a county again with some of its inputs changed.

    Parameters
    ----------
    report : CoverageReport
        Its inputs, options and barriers are used where no other are given.
    units, demand, facilities, roads, plan
        What takes their place.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> report = fc.assess(units, facilities, access, plan)
    >>> clinics = facilities.query("kind != 'clinic'").reset_index(drop=True)
    >>> after = fc.reassess(report, facilities=clinics)
    >>> after.verdicts.query("kind == 'clinic'")["reachable_reason"].unique().tolist()
    ['no_facility_of_kind']
    """
    searches = report.access.searches
    options = {name: value for name, value in searches.options.items() if name != "barriers"}
    barriers = searches.barriers
    units = report.units if units is None else units
    facilities = report.access.facilities if facilities is None else facilities
    plan = report.plan if plan is None else plan
    access = travel_times(
        units,
        facilities,
        searches.roads if roads is None else roads,
        plan,
        demand=report.demand if demand is None else demand,
        barriers=None if barriers is None else gpd.GeoSeries(barriers, crs=searches.roads.crs),
        **options,
    )
    return assess(units, facilities, access, plan)


def _unit_changes(
    basis: str,
    kinds: Sequence[str],
    steps: Sequence[tuple[str, CoverageReport]],
    facilities: pd.DataFrame,
    details: Mapping[str, str],
) -> pd.DataFrame:
    """Give the rows of one basis: units whose state or people covered changed."""
    tables = [_by_unit(report, basis, kinds) for _, report in steps]
    index = tables[-1].index.union(tables[0].index, sort=False)
    states = np.array([table["state"].reindex(index, fill_value="absent") for table in tables])
    people = np.array([table["covered"].reindex(index, fill_value=0.0) for table in tables])
    gained = people[-1] - people[0]
    moved = (states[0] != states[-1]) | (np.abs(gained) > _SAME_PEOPLE)
    moved |= np.isnan(people[0]) != np.isnan(people[-1])
    moved &= ~(np.isin(states[0], _UNCOUNTED) & np.isin(states[-1], _UNCOUNTED))
    index, states, people = index[moved], states[:, moved], people[:, moved]
    parts = np.diff(people, axis=0)
    causes = np.array([cause for cause, _ in steps[1:]] or [""], dtype=object)
    flips = np.diff(np.unique(states, return_inverse=True)[1].reshape(states.shape), axis=0) != 0
    weight = np.abs(np.nan_to_num(parts))
    if len(steps) == 1:
        step = np.zeros(0, dtype=np.int64)
    else:
        last = len(causes) - 1 - flips[::-1].argmax(axis=0)
        step = np.where(states[0] != states[-1], last, weight.argmax(axis=0))
    names = pd.concat([_names(report, kinds) for report in (steps[-1][1], steps[0][1])])
    names = names[~names.index.duplicated()].reindex(index)
    table = pd.DataFrame({"before": states[0], "after": states[-1]}, index=index)
    table["change"] = _change_words(states[0], states[-1], people[-1] - people[0])
    table["people_gained"] = people[-1] - people[0]
    for cause in CAUSES:
        mine = parts[causes == cause] if len(steps) > 1 else parts
        table[f"people_gained_by_{cause}"] = mine.sum(axis=0) if mine.size else 0.0
    table["cause"] = causes[step] if len(step) else pd.Series(dtype=object)
    table = names.join(table)
    table.insert(3, "basis", basis)
    told = [
        _told(row, basis, steps[number], steps[number + 1], facilities, details)
        for row, number in zip(table.reset_index().itertuples(), step.tolist(), strict=True)
    ]
    table["cause_facility_id"] = [each[0] for each in told]
    table["detail"] = [each[1] for each in told]
    return table.reset_index()


_UNCOUNTED = ("absent", "not_applicable")


def _by_unit(report: CoverageReport, basis: str, kinds: Sequence[str]) -> pd.DataFrame:
    verdicts = report.verdicts[report.verdicts["kind"].isin(kinds)]
    state = verdicts[f"{basis}_state"].to_numpy(dtype=object)
    if basis == "ledger":
        people = verdicts["people"].to_numpy(dtype=float)
        covered = np.where(state == "covered", people, 0.0)
    else:
        covered = verdicts["people_covered"].to_numpy(dtype=float)
        covered = np.where(state == "not_applicable", 0.0, covered)
    table = pd.DataFrame({"state": state, "covered": covered})
    return table.set_index(pd.MultiIndex.from_frame(verdicts[_KEY].astype(object)))


def _names(report: CoverageReport, kinds: Sequence[str]) -> pd.DataFrame:
    verdicts = report.verdicts[report.verdicts["kind"].isin(kinds)]
    return verdicts[["name", "township", "setting"]].set_index(
        pd.MultiIndex.from_frame(verdicts[_KEY].astype(object))
    )


def _change_words(before: Objects, after: Objects, gained: Floats) -> Objects:
    """Say what became of units."""
    return np.select(
        [
            np.isin(before, _UNCOUNTED),
            np.isin(after, _UNCOUNTED),
            (after == before) & np.isnan(gained),
            (after == "covered") & (before != "covered"),
            (before == "covered") & (after != "covered"),
            (before == "unknown") & (after == "uncovered"),
            (before == "uncovered") & (after == "unknown"),
            gained > 0,
            gained < 0,
        ],
        [
            "now_counted",
            "no_longer_counted",
            "people_unknown",
            "gained",
            "lost",
            "now_known",
            "now_unknown",
            "more_people",
            "fewer_people",
        ],
        default="",
    ).astype(object)


def _told(
    row: Any,
    basis: str,
    old: tuple[str, CoverageReport],
    new: tuple[str, CoverageReport],
    facilities: pd.DataFrame,
    details: Mapping[str, str],
) -> tuple[str | None, str]:
    """Give the facility that decides a change, and what became of it or of roads or rules."""
    if row.cause == "rule":
        standards = [report.plan.standard(row.kind, row.setting) for _, report in (old, new)]
        return None, _rule_changes(standards[0], standards[1], old[1].plan, new[1].plan)
    if row.cause != "facility":
        return None, details[row.cause]
    better, worse = (new, old) if row.people_gained_by_facility >= 0 else (old, new)
    if row.change in ("lost", "now_unknown"):
        better, worse = old, new
    facility = _deciding_facility(row, basis, better[1], worse[1])
    known = facilities[facilities["facility_id"] == facility]
    if not known.empty:
        return facility, "; ".join(_became(each) for each in known.itertuples())
    # What changed may be the unit's own row: its agreement to share that facility.
    own = facilities[facilities["unit_code"] == row.unit_code]
    own = own[own["kind"].isin(_kinds_of(row, better[1].plan))]
    return facility, "; ".join(f"{each.facility_id}: {_became(each)}" for each in own.itertuples())


def _kinds_of(row: Any, plan: Plan) -> tuple[str, ...]:
    standard = plan.standard(row.kind, row.setting)
    return standard.required_kinds if standard else (row.kind,)


def _became(change: Any) -> str:
    """Say what became of a facility."""
    if change.change != "changed":
        return str(change.change)
    values = ("—" if pd.isna(value) else str(value) for value in (change.before, change.after))
    return f"{change.column}: {' → '.join(values)}"


def _deciding_facility(
    row: Any, basis: str, better: CoverageReport, worse: CoverageReport
) -> str | None:
    """Give the facility that covers a unit in one report and not in the other."""
    if basis == "reachable":
        sides = [_points(report, row.kind, row.unit_code) for report in (better, worse)]
        lost = sides[1]["state"].reindex(sides[0].index) != "covered"
        served = sides[0][(sides[0]["state"] == "covered") & lost]
        if not served.empty:
            by_facility = served.groupby("facility_id")["residents"].sum()
            return str(by_facility.sort_values(ascending=False, kind="stable").index[0])
    verdicts = better.verdicts
    own = verdicts[(verdicts["kind"] == row.kind) & (verdicts["unit_code"] == row.unit_code)]
    found = own["ledger_facility_id" if basis == "ledger" else "facility_id"]
    return None if found.empty or found.isna().all() else str(found.iloc[0])


def _points(report: CoverageReport, kind: str, unit_code: str) -> pd.DataFrame:
    points = report.demand_verdicts
    chosen = (points["kind"] == kind) & (points["unit_code"] == unit_code)
    return points.loc[chosen].set_index("demand_id")[["state", "facility_id", "residents"]]


def _rule_changes(old: Standard | None, new: Standard | None, before: Plan, after: Plan) -> str:
    """Say what changed in a rule: field by field, before → after; else the speeds."""
    if old is None or new is None:
        return f"{old.words if old else '—'} → {new.words if new else '—'}"
    changes = [
        f"{getattr(old, name)} → {getattr(new, name)}"
        if name == "words"
        else f"{name}: {getattr(old, name)} → {getattr(new, name)}"
        for name in _RULES
        if getattr(old, name) != getattr(new, name)
    ]
    for alternative in new.alternatives:
        modes = before.modes.get(alternative.mode), after.modes[alternative.mode]
        if modes[0] is not None and modes[0] != modes[1]:
            changes.append(f"{alternative.mode}: other speeds or roads")
    return "; ".join(dict.fromkeys(changes))


def _changed_roads(before: RoadNetwork, after: RoadNetwork) -> str:
    """Name the roads that differ, where they are few."""
    if before.edges is after.edges:
        return ""
    shared = [name for name in before.edges if name in after.edges and name not in {"u", "v"}]
    tables = [
        pd.DataFrame(roads.edges[shared])
        .assign(geometry=roads.edges.geometry.to_wkb(hex=True))
        .astype(str)
        for roads in (before, after)
    ]
    keys = [pd.util.hash_pandas_object(table, index=False) for table in tables]
    apart = [
        roads.edges[~key.isin(other).to_numpy()]
        for roads, key, other in zip((before, after), keys, keys[::-1], strict=True)
    ]
    # A closed road is cut into pieces: those that are still open are not what changed.
    shut = [word for edges in apart for word in _road_words(edges, closed=True)]
    words = list(dict.fromkeys(shut or [word for edges in apart for word in _road_words(edges)]))
    named = "; ".join(words[:_NAMED_ROADS])
    return named if len(words) <= _NAMED_ROADS else f"{named}; … ({len(words)})"


def _road_words(edges: gpd.GeoDataFrame, *, closed: bool = False) -> list[str]:
    """Name roads, or give their class where they have no name."""
    nothing = pd.Series(None, index=edges.index, dtype=object)
    names = edges.get("name", nothing).astype(object).fillna(edges["highway"]).astype(str)
    if not closed:
        return names.tolist()
    return (names[edges.get("closed_by", nothing).notna()] + " closed").tolist()


def _facility_changes(before: gpd.GeoDataFrame, after: gpd.GeoDataFrame) -> pd.DataFrame:
    """Give what became of each facility."""
    old, new = (table.set_index("facility_id", drop=False) for table in (before, after))
    moved_to = new.geometry.to_crs(old.crs)
    rows: list[tuple[object, ...]] = []

    def add(table: gpd.GeoDataFrame, key: str, change: str, *what: object) -> None:
        row = table.loc[key]
        rows.append((key, row["name"], row["kind"], row["unit_code"], change, *what))

    for key in new.index.difference(old.index, sort=False):
        add(new, key, "opened", None, None, None)
    for key in old.index.difference(new.index, sort=False):
        add(old, key, "closed", None, None, None)
    both = old.index.intersection(new.index, sort=False)
    for name in _FACILITY_COLUMNS:
        was, now = (pd.Series(table.loc[both, name].to_numpy(object)) for table in (old, new))
        differs = ~((was == now).fillna(value=False).astype(bool) | (was.isna() & now.isna()))
        for at in np.flatnonzero(differs):
            change = {("status", "in_use"): "opened"}.get((name, now[at]), "changed")
            if name == "status" and was[at] == "in_use":
                change = "closed"
            add(new, both[at], change, name, was[at], now[at])
    metric = old.geometry.estimate_utm_crs() if len(old) and old.crs.is_geographic else old.crs
    places = (old.geometry.loc[both].to_crs(metric), moved_to.loc[both].to_crs(metric))
    absent = [each.isna().to_numpy() for each in places]
    metres = places[0].distance(places[1], align=False).to_numpy()
    for key in both[(absent[0] != absent[1]) | (metres > _SAME_PLACE_M)]:
        add(
            new, key, "moved", "geometry", *(_place(each[key]) for each in (old.geometry, moved_to))
        )
    columns = ["facility_id", "name", "kind", "unit_code", "change", "column", "before", "after"]
    return pd.DataFrame(rows, columns=columns)


def _place(point: Any) -> str | None:
    return None if point is None else f"{point.x:.6g}, {point.y:.6g}"


def _rates(before: CoverageReport, after: CoverageReport, kinds: Sequence[str]) -> pd.DataFrame:
    """Give the rates of both reports beside each other."""
    tables = [
        report.rates[report.rates["kind"].isin(kinds)].set_index(_RATE_KEY)
        for report in (before, after)
    ]
    index = tables[1].index.union(tables[0].index, sort=False)
    old, new = (table.reindex(index) for table in tables)
    table = pd.DataFrame(index=index)
    for name in ("covered", "total", "share", "missing"):
        table[f"{name}_before"], table[f"{name}_after"] = old[name], new[name]
    for side, rates in (("before", old), ("after", new)):
        open_ = (rates["missing"] > 0) & (rates["missing"] > rates["unknown"])
        told = rates["target"].notna() & ((rates["missing"] <= 0) | open_)
        table[f"met_{side}"] = (rates["missing"] <= 0).astype("boolean").where(told)
    table["change_share_points"] = 100 * (new["share"] - old["share"])
    table["target"] = new["target"].fillna(old["target"])
    order = [
        "covered_before",
        "covered_after",
        "total_before",
        "total_after",
        "share_before",
        "share_after",
        "change_share_points",
        "target",
        "missing_before",
        "missing_after",
        "met_before",
        "met_after",
    ]
    return table[order].reset_index()
