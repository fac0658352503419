"""What was found of one unit: how its points were judged, the routes, the ledger, the obstacles.

Every figure here is the report's own: the trips are taken over the joins and searches that judged,
so that a route's minutes are the verdict's minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .assessment import CoverageReport
from .journeys import Route, no_route, route_between, straight_route
from .ledger import Ledger, ledger_rows, outcome_words, qualities
from .modes import MINUTES_PER_METRE_AT_1_KPH
from .search import Nearest
from .standards import Standard, Way
from .travel import Pool, Question, Searches, TravelTimes, agreed_minutes, next_nearest, pools_of
from .verdicts import (
    REASONS,
    ROUNDING,
    STATES,
    Judged,
    People,
    UnitVerdicts,
    judge_points,
    judge_units,
)

__all__ = ["ExplainedRoute", "Loss", "UnitFacts", "equals", "gather", "text_of"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_STATE_WORDS = np.array(STATES, dtype=object)
_REASON_WORDS = np.array(REASONS, dtype=object)

_POINTS = (
    "demand_id", "name", "residents", "people", "kind", "state", "reason", "minutes",
    "limit_minutes", "mode", "measure", "facility_id", "facility", "next_facility_id",
    "next_facility", "next_minutes", "leg_m", "flag", "geometry",
)  # fmt: skip
_WAYS = ("mode", "measure", "minutes", "limit_minutes", "facility_id", "facility", "reason")
_STEPS = ("part", "name", "highway", "length_m", "minutes", "speed_kph")
_TRADES = (
    "kind", "required", "state", "reason", "minutes", "limit_minutes", "mode", "measure",
    "facility_id", "facility", "people_share", "decided",
)  # fmt: skip
_AGREEMENT = ("minutes", "limit_minutes", "mode", "measure", "people_share")
_LEDGER = (
    "facility_id", "name", "kind", "status", "floor_area_m2", "hours_per_day", "host_id",
    "host", "host_unit", "official_covered", *_AGREEMENT, "state", "reason",
)  # fmt: skip
_OBSTACLES = ("facility_id", "reason", "minutes", "mode", "measure", "people", "weight")


class UnitFacts(NamedTuple):
    """What a unit is: `population` names the people the standard counts, `people` how many."""

    unit_code: str
    name: str
    township: str
    unit_kind: str
    setting: str
    population: str
    people: float


@dataclass(frozen=True, eq=False)
class ExplainedRoute:
    """One way from or to a demand point.

    Attributes
    ----------
    purpose : {"nearest", "on_foot", "next_nearest"}
        To the nearest qualifying facility by the way that decided; on foot; to the next nearest.
    demand_id : str
        The demand point.
    facility_id, facility : str or None
        Where the way leads (where help comes from, if the standard asks for that direction).
    way : Way
        Mode, measure and direction.
    limit_minutes : float
        Of the alternative that decided; NaN on foot where the standard does not ask for walking.
    route : Route
        As `facility_coverage.route` gives it, in the direction of travel, in the demand points'
        CRS. Where the measure is ``"straight"`` its one leg is the straight line.
    steps : DataFrame
        The same in a handful of rows, consecutive edges of one name and class together: `part`,
        `name`, `highway`, `length_m`, `minutes`, `speed_kph` (of legs at the walked length, which
        is the straight one times the detour).
    """

    purpose: str
    demand_id: str
    facility_id: str | None
    facility: str | None
    way: Way
    limit_minutes: float
    route: Route
    steps: pd.DataFrame

    @property
    def minutes(self) -> float:
        """Door to door; NaN where there is no way."""
        return self.route.minutes

    @property
    def road_m(self) -> float:
        """Metres along roads."""
        return self.route.road_m

    @property
    def leg_m(self) -> float:
        """Straight metres between the doors and the road, both ends."""
        return self.route.leg_m

    @property
    def reason(self) -> str:
        """Why there is no way; empty where there is one."""
        return self.route.reason

    def __repr__(self) -> str:
        """Say where it leads and how far it is."""
        return f"<{self.purpose} to {self.facility} by {self.way.mode}: {self.route!r}>"


class Loss(NamedTuple):
    """What the unit's verdict would be if one facility closed, the others as they are.

    From `next_facility_id` on it is the typical point's trip then: by the first alternative that
    passes, else to its next nearest by the way that had decided.
    """

    facility_id: str
    state: str
    people_covered: float
    people_share: float
    next_facility_id: str | None
    minutes: float
    limit_minutes: float
    mode: str
    measure: str


def text_of(value: Any) -> str:
    """Give a value as text, one that is missing as none."""
    return "" if pd.isna(value) else str(value)


def equals(column: pd.Series, value: Any) -> Flags:
    """Tell where a column holds a value; where it holds nothing it does not."""
    return (column == value).fillna(value=False).to_numpy(dtype=bool)


def gather(report: CoverageReport, at: int, verdict: pd.Series) -> dict[str, Any]:
    """Find what there is to say of a unit and a kind.

    Parameters
    ----------
    report : CoverageReport
        What was judged.
    at : int
        Position of the unit in its table.
    verdict : Series
        The unit's row of `CoverageReport.verdicts` for the kind.

    Returns
    -------
    dict
        From `unit` on the attributes of `facility_coverage.Explanation`. Where the plan sets no
        standard for the unit, its points and empty tables.
    """
    row, standard = report.units.iloc[at], None
    if verdict["reachable_state"] != "not_applicable":
        standard = report.plan.standard(verdict["kind"], verdict["setting"])
    people = row["residents"] if standard is None else verdict["people"]
    unit = UnitFacts(
        unit_code=text_of(row["unit_code"]),
        name=text_of(row["name"]) or text_of(row["unit_code"]),
        township=text_of(row["township"]),
        unit_kind=text_of(row["unit_kind"]),
        setting=text_of(row["setting"]),
        population="residents" if standard is None else standard.population,
        people=math.nan if pd.isna(people) else float(people),
    )
    if standard is None:
        demand = report.demand[equals(report.demand["unit_code"], row["unit_code"])]
        known = {"people": demand["residents"], "state": "not_applicable", "reason": "", "flag": ""}
        tables = {"ways": _WAYS, "trades": _TRADES, "ledger": _LEDGER, "obstacles": _OBSTACLES}
        return {
            **{name: pd.DataFrame(columns=list(columns)) for name, columns in tables.items()},
            "points": demand.reindex(columns=list(_POINTS)).assign(**known),
            **dict.fromkeys(("standard", "typical", "loss")),
            "unit": unit,
            "routes": (),
        }
    case = _case(report, standard, at, verdict["setting"])
    points = _points(case)
    return {
        "unit": unit,
        "standard": standard,
        "points": points,
        "typical": None if case.typical < 0 else str(points["demand_id"].iloc[case.typical]),
        "ways": _ways(case),
        "routes": tuple(_routes(case)),
        "trades": _trades(case),
        "ledger": _ledger(case),
        "obstacles": _obstacles(case),
        "loss": _loss(case, verdict, points),
    }


@dataclass(frozen=True, eq=False)
class _Case:
    """A unit's demand points and how they were judged."""

    report: CoverageReport
    standard: Standard
    at: int
    home_unit: Integers  # by demand point, the position of its unit
    homes: Integers  # positions of the unit's own
    judged: Judged
    trades: tuple[Judged, ...]  # by kind the standard names, required ones first
    decided: Integers  # by home, which of them decided
    people: People
    following: dict[Question, Nearest] = field(default_factory=dict)  # what is known of it

    @property
    def access(self) -> TravelTimes:
        return self.report.access

    @property
    def pools(self) -> list[Pool]:
        return pools_of(self.standard)

    @property
    def pool(self) -> Pool:
        """The kind that decided at the typical point."""
        return self.pools[self.decided[self.typical]]

    @property
    def ways(self) -> list[tuple[Way, float]]:
        """The standard's alternatives, each with its limit in minutes."""
        return [
            (self.access.way(self.standard, one), one.limit_minutes(self.access.searches.modes))
            for one in self.standard.alternatives
        ]

    @cached_property
    def typical(self) -> int:
        """Position in `homes` of the point by which half of the unit is there, -1 if none."""
        return int(self.judge(self.judged).point[0])

    @property
    def home(self) -> int:
        """The typical point's position among all demand points."""
        return int(self.homes[self.typical])

    def judge(self, judged: Judged) -> UnitVerdicts:
        """Judge the unit by verdicts on its points."""
        owner, members = np.zeros(self.homes.size, dtype=np.int64), np.array([self.at])
        return judge_units(self.standard, judged, owner, self.people, self.homes, members)

    def next_nearest(self, pool: Pool, way: Way) -> Nearest:
        """Give every demand point's nearest facility but one."""
        if (pool, way) not in self.following:
            self.following[pool, way] = next_nearest(self.access, pool, way)
        return self.following[pool, way]

    def nearest_without(self, facility: int, pool: Pool, way: Way) -> Nearest:
        """Search anew for the unit's points as if a facility were closed: reasons change too."""
        searches, known = self.access.searches, self.access.nearest[pool, way]
        chosen = searches.members(pool).copy()
        chosen[facility] = False
        found = searches.answer(searches.search(chosen, way), way, self.homes)
        minutes, place, reason = known.minutes.copy(), known.facility.copy(), known.reason.copy()
        minutes[self.homes], place[self.homes] = found.minutes, found.facility
        reason[self.homes] = found.reason
        return Nearest(minutes, place, reason)

    def judge_by(self, nearest: dict[Question, Nearest]) -> Judged:
        """Judge the unit's points by other trips than the report's."""
        return judge_points(self.standard, replace(self.access, nearest=nearest), self.homes)

    def named(self, positions: Integers) -> tuple[list[Any], list[Any]]:
        """Give ids and names of facilities by position, None for -1."""
        table = self.report.facilities
        ids, names = (
            np.array([*table[column], None], dtype=object)[positions].tolist()
            for column in ("facility_id", "name")
        )
        return ids, [text_of(name) or key for key, name in zip(ids, names, strict=True)]

    def table(self, judged: Judged) -> pd.DataFrame:
        """Say of each point what was found: its state and why, and the trip that decided."""
        ways = [*((way.mode, way.measure) for way, _ in self.ways), (None, None)]
        modes, measures = np.array(ways, dtype=object).T
        chosen = np.where(np.isnan(judged.minutes), -1, judged.alternative)
        ids, names = self.named(judged.facility)
        return pd.DataFrame(
            {
                "state": _STATE_WORDS[judged.state],
                "reason": _REASON_WORDS[judged.reason],
                "minutes": judged.minutes,
                "limit_minutes": judged.limit_minutes,
                "mode": modes[chosen],
                "measure": measures[chosen],
                "facility_id": ids,
                "facility": names,
            },
            index=self.access.demand.index[self.homes],
        )


def _case(report: CoverageReport, standard: Standard, at: int, setting: str) -> _Case:
    codes = pd.Index(report.units["unit_code"].to_numpy(dtype=object))
    asked = report.access.demand["unit_code"].to_numpy(dtype=object)
    home_unit = codes.get_indexer(asked).astype(np.int64)
    found = next(
        one for one in report.point_verdicts if one.standard == standard and one.setting == setting
    )
    rows = np.flatnonzero(home_unit[found.points] == at)
    homes, fields = found.points[rows], Judged.__dataclass_fields__
    judged = Judged(*(getattr(found.judged, name)[rows] for name in fields))
    trades: tuple[Judged, ...] = (judged,)
    if len(pools_of(standard)) > 1:
        alone = replace(standard, kinds=(), further_kinds=())
        trades = tuple(
            judge_points(replace(alone, kind=pool.kind), report.access, homes)
            for pool in pools_of(standard)
        )
    # The kind that decided is the first of which the same was found.
    same = [
        (one.state == judged.state) & (one.facility == judged.facility)
        for one in trades[: len(standard.required_kinds)]
    ]
    decided = np.argmax(same, axis=0)
    return _Case(report, standard, at, home_unit, homes, judged, trades, decided, found.people)


def _points(case: _Case) -> gpd.GeoDataFrame:
    """Give the demand points with what was found, and where each would go next."""
    access, judged, homes = case.access, case.judged, case.homes
    n = homes.size
    following, next_minutes = np.full(n, -1), np.full(n, np.nan)
    leg_m, flag = np.full(n, np.nan), np.full(n, "", dtype=object)
    chosen = np.column_stack([case.decided, judged.alternative])
    for trade, number in np.unique(chosen, axis=0).tolist():
        way, _ = case.ways[number]
        here = (chosen == (trade, number)).all(axis=1)
        found, at = case.next_nearest(case.pools[trade], way), homes[here]
        following[here], next_minutes[here] = found.facility[at], found.minutes[at]
        if way.measure != "straight":
            joins = access.searches.joins[way.mode].homes
            leg_m[here], flag[here] = joins.leg_m[at], joins.flag[at]
    next_ids, next_names = case.named(following)
    kinds = np.array([pool.kind for pool in case.pools], dtype=object)
    return access.demand.iloc[homes].assign(
        people=case.people.count[homes],
        kind=kinds[case.decided],
        next_facility_id=next_ids,
        next_facility=next_names,
        next_minutes=next_minutes,
        leg_m=leg_m,
        flag=flag,
        **case.table(judged),
    )[list(_POINTS)]


def _ways(case: _Case) -> pd.DataFrame:
    """Give every alternative's trip from the typical point to the kind that decided."""
    rows: list[tuple[Any, ...]] = []
    for way, limit in case.ways if case.typical >= 0 else ():
        found, home = case.access.nearest[case.pool, way], case.home
        ids, names = case.named(found.facility[[home]])
        minutes, reason = float(found.minutes[home]), found.reason[home]
        rows.append((way.mode, way.measure, minutes, limit, ids[0], names[0], reason))
    return pd.DataFrame(rows, columns=list(_WAYS))


def _routes(case: _Case) -> Iterator[ExplainedRoute]:
    """Give the ways from the typical point: to the nearest, on foot, to the next nearest."""
    if case.typical < 0:
        return
    nearest, pool, home = case.access.nearest, case.pool, case.home
    way, limit = case.ways[int(case.judged.alternative[case.typical])]
    site = int(nearest[pool, way].facility[home])
    yield _explained(case, "nearest", site, way, limit)
    foot, foot_limit = _on_foot(case, way)
    if foot is not None:
        there = nearest.get((pool, foot))
        on_foot = site if there is None else int(there.facility[home])
        yield _explained(case, "on_foot", on_foot, foot, foot_limit)
    following = int(case.next_nearest(pool, way).facility[home])
    yield _explained(case, "next_nearest", following, way, limit)


def _on_foot(case: _Case, decided: Way) -> tuple[Way | None, float]:
    """Give how people walk: as the standard asks, else as its population or anybody does."""
    modes = case.access.searches.modes
    if modes[decided.mode].on_foot and decided.measure == "time":
        return None, math.nan
    for way, limit in case.ways:
        if modes[way.mode].on_foot and way.measure == "time":
            return way, limit
    groups = case.report.plan.groups
    own = [each.mode for each in groups if each.population == case.standard.population]
    walking = [name for name in (*own, "walk", *modes) if name in modes and modes[name].on_foot]
    return (decided._replace(mode=walking[0], measure="time") if walking else None), math.nan


def _explained(case: _Case, purpose: str, site: int, way: Way, limit: float) -> ExplainedRoute:
    searches, demand, home = case.access.searches, case.access.demand, case.home
    if site >= 0:
        route = _between(searches, way, home, site, demand.crs)
    else:
        found = case.access.nearest.get((case.pool, way))
        known = found is not None and purpose != "next_nearest"
        reason = str(found.reason[home]) if found is not None and known else "no_facility_of_kind"
        route = no_route(reason, searches.roads, demand.crs)
    ids, names = case.named(np.array([site]))
    steps = _steps(route.legs, float(searches.options["leg_detour"]))
    at = str(demand["demand_id"].iloc[home])
    return ExplainedRoute(purpose, at, ids[0], names[0], way, limit, route, steps)


def _between(searches: Searches, way: Way, home: int, site: int, crs: Any) -> Route:
    """Find the way between a demand point and a facility as the searches joined them."""
    doors = [searches.xy.homes[[home]], searches.xy.sites[[site]]]
    if way.measure == "straight":
        return straight_route(doors, searches.modes[way.mode], searches.roads, crs)
    joins = searches.joins[way.mode]
    start, end = joins.homes.take(np.array([home])), joins.sites.take(np.array([site]))
    if way.direction == "from_facility":
        doors, start, end = doors[::-1], end, start
    # From one end to the other is a trip "to" the other, whoever lives there.
    trips = searches.trips(way._replace(direction="to_facility"))
    return route_between(trips, start, end, doors, searches.roads, crs)


def _steps(legs: gpd.GeoDataFrame, detour: float) -> pd.DataFrame:
    """Put consecutive legs of one name and class together; those of no length are left out."""
    table = legs[(legs["length_m"] > 0) | (legs["minutes"] > 0)].reset_index(drop=True)
    if table.empty:
        return pd.DataFrame(columns=list(_STEPS))
    same = ["part", "name", "highway"]
    keys = [tuple(map(text_of, key)) for key in table[same].to_numpy(dtype=object)]
    starts = np.array([i == 0 or keys[i] != keys[i - 1] for i in range(len(keys))])
    first = pd.DataFrame(table.loc[starts, same]).reset_index(drop=True)
    sums = table.groupby(np.cumsum(starts))[["length_m", "minutes"]].sum().reset_index(drop=True)
    walked = sums["length_m"] * np.where(first["part"] == "leg", detour, 1.0)
    speed = walked * MINUTES_PER_METRE_AT_1_KPH / sums["minutes"].where(sums["minutes"] > 0)
    return pd.concat([first, sums, speed.rename("speed_kph")], axis=1)


def _trades(case: _Case) -> pd.DataFrame:
    """Give a row a kind of a composite circle, from the typical point."""
    rows: list[dict[Any, Any]] = []
    if len(case.trades) > 1 and case.typical >= 0:
        rows = [
            {
                "kind": pool.kind,
                "required": number < len(case.standard.required_kinds),
                "people_share": float(case.judge(one).share[0]),
                "decided": bool(number == case.decided[case.typical]),
                **case.table(one).iloc[case.typical],
            }
            for number, (pool, one) in enumerate(zip(case.pools, case.trades, strict=True))
        ]
    return pd.DataFrame(rows, columns=list(_TRADES))


def _ledger(case: _Case) -> pd.DataFrame:
    """Give what the ledger says of the unit, row by row, each judged by the rule alone."""
    units, table = case.report.units, case.report.facilities.reset_index(drop=True)
    rows = ledger_rows(
        case.standard,
        Ledger.of(units, table),
        case.access,
        np.array([case.at]),
        case.people,
        case.home_unit,
    )
    names = ["facility_id", "name", "kind", "status", "official_covered"]
    own = pd.DataFrame(table.loc[rows.row, names]).reset_index(drop=True)
    subject = table.reindex(rows.facility).reset_index(drop=True)  # of nobody nothing is known
    host = np.where(own["status"] == "shared", rows.facility, -1)
    trips = [_agreement(case, one) if one >= 0 else {} for one in host.tolist()]
    unit_names = dict(zip(units["unit_code"], units["name"], strict=True))
    host_units = [
        (text_of(unit_names.get(code)) or None) if one >= 0 else None
        for code, one in zip(subject["unit_code"], host.tolist(), strict=True)
    ]
    ids, host_names = case.named(host)
    state, reason = outcome_words(rows.outcome)
    return own.assign(
        name=[text_of(name) or None for name in own["name"]],
        host_id=ids,
        host=host_names,
        host_unit=host_units,
        state=state,
        reason=reason,
        **subject[["floor_area_m2", "hours_per_day"]],
        **pd.DataFrame(trips, index=own.index).reindex(columns=list(_AGREEMENT)),
    )[list(_LEDGER)]


def _agreement(case: _Case, host: int) -> dict[Any, Any]:
    """Give the typical point's trip to a host, and the share of people that gets there."""
    n, nearest = len(case.access.demand), dict[Question, Nearest]()
    hosts = np.full(case.homes.size, host)
    for way, _ in case.ways:
        found = Nearest(np.full(n, np.nan), np.full(n, host), np.full(n, "", dtype=object))
        found.minutes[case.homes] = agreed_minutes(
            case.access, hosts, case.homes, way, limit_minutes=math.inf
        )
        nearest |= dict.fromkeys([(pool, way) for pool in case.pools], found)
    judged = case.judge_by(nearest)
    trip = case.table(judged).iloc[case.typical] if case.typical >= 0 else {}
    return {**trip, "people_share": float(case.judge(judged).share[0])}


def _obstacles(case: _Case) -> pd.DataFrame:
    """Give the facilities that would cover points, were they to qualify or their data known."""
    judged, access = case.judged, case.access
    reason, rows = _REASON_WORDS[judged.reason], []
    uncovered = (judged.state != STATES.index("covered")) & (reason != "over_capacity")
    for i in np.flatnonzero(uncovered).tolist():
        quality, home = "perhaps" if reason[i] == "no_data" else "any", case.homes[i]
        pool = case.pools[case.decided[i]]._replace(quality=quality)
        for way, limit in case.ways:
            found = access.nearest.get((pool, way))
            if found is not None and found.minutes[home] <= limit + ROUNDING:
                trip = (found.minutes[home], way.mode, way.measure)
                people = (case.people.count[home], case.people.weight[home])
                rows.append((int(found.facility[home]), *trip, *people))
                break
    state, lacks = outcome_words(qualities(case.standard, access.searches.columns))
    ids = case.report.facilities["facility_id"].to_numpy(dtype=object)
    table, lines = pd.DataFrame(rows, columns=["place", *_OBSTACLES[2:]]), []
    for place, group in table.groupby("place", sort=False):
        if state[place] != "covered":  # else what is not known is how much room there is
            trip = group.loc[group["minutes"].idxmin(), ["minutes", "mode", "measure"]]
            people = group[["people", "weight"]].sum(skipna=False)
            lines.append((ids[place], lacks[place], *trip, *people))
    return pd.DataFrame(lines, columns=list(_OBSTACLES))


def _loss(case: _Case, verdict: pd.Series, points: gpd.GeoDataFrame) -> Loss | None:
    """Judge the unit anew without the typical point's facility."""
    t = case.typical
    if t < 0 or verdict["reachable_state"] != "covered" or case.judged.facility[t] < 0:
        return None
    lost, nearest = int(case.judged.facility[t]), dict(case.access.nearest)
    for way, _ in case.ways:
        for pool in (case.pool, case.pool._replace(quality="perhaps")):
            if (pool, way) in nearest:
                nearest[pool, way] = case.nearest_without(lost, pool, way)
    judged = case.judge_by(nearest)
    unit, then = case.judge(judged), case.table(judged).iloc[t]
    if then["state"] != "covered":
        following = {"facility_id": "next_facility_id", "minutes": "next_minutes"}
        names = ["next_facility_id", "next_minutes", "limit_minutes", "mode", "measure"]
        then = points.iloc[t][names].rename({new: old for old, new in following.items()})
    return Loss(
        str(case.report.facilities["facility_id"].iloc[lost]),
        str(_STATE_WORDS[unit.state[0]]),
        float(unit.covered[0]),
        float(unit.share[0]),
        *then[["facility_id", "minutes", "limit_minutes", "mode", "measure"]],
    )
