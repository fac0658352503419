"""One village's story: what was judged, by which rule, over which roads, what would change it.

Every figure here is the report's own: the trips are taken over the joins and searches that judged,
so that a route's minutes are the verdict's minutes.
"""

from __future__ import annotations

import datetime as dt
import difflib
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import folium
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from branca.element import Figure
from folium.template import Template
from numpy.typing import NDArray

from .assessment import CoverageReport
from .errors import InputError
from .journeys import Route, _legs, _pieces, _road_rows, _walk_row
from .maps import WGS84, OfflineMap, Verbatim, page_head, road_class, source_line
from .modes import MINUTES_PER_METRE_AT_1_KPH, Mode
from .search import Nearest, SiteSearch
from .standards import Standard, Way
from .terms import label, labels
from .travel import Pool, Searches, TravelTimes, agreed_minutes, next_nearest, pools_of
from .verdicts import (
    REASONS,
    ROUNDING,
    STATES,
    Judged,
    People,
    UnitVerdicts,
    judge_points,
    judge_units,
    people_at,
)

__all__ = ["ExplainedRoute", "Explanation", "Loss", "UnitFacts", "explain"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_STATE_WORDS = np.array(STATES, dtype=object)
_REASON_WORDS = np.array(REASONS, dtype=object)
_COVERED, _, _UNKNOWN = range(len(STATES))
_HARDNESS = np.array([0, 2, 1])  # covered, uncovered, unknown: which kind of a circle decides
_NEAR_NAMES = 5
_KM = 1000.0
_MOST_STEPS = 8  # a longer way is told by classes of road alone


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


@dataclass(frozen=True, eq=False)
class Explanation:
    """One unit's story for one kind of facility.

    Attributes
    ----------
    report : CoverageReport
        What it explains.
    lang : {"zh", "en"}
        Language of what is shown where none is asked for.
    unit : UnitFacts
        Name, code, township, setting and people by the standard's population.
    kind : str
        The kind of facility, or of a composite circle.
    standard : Standard or None
        The rule that decided (`rule` says it in words); None where the plan has none for the unit.
    verdict : Series
        The unit's row of `CoverageReport.verdicts`.
    points : GeoDataFrame
        One row a demand point, with the index of the demand table: `demand_id`, `name`,
        `residents`, `people` (the standard's population), `kind` (of a composite circle the one
        that decided), `state`, `reason`, `minutes`, `limit_minutes`, `mode`, `measure`,
        `facility_id`, `facility`, `next_facility_id`, `next_facility`, `next_minutes` (by the same
        way), `leg_m` (to the road, in metres) and `flag` (how it joins the road), geometry.
    typical : str or None
        `demand_id` of the point by which half of the unit's people are there: the verdict's
        minutes are its minutes.
    ways : DataFrame
        One row an alternative of the standard, from the typical point: `mode`, `measure`,
        `minutes`, `limit_minutes`, `facility_id`, `reason`.
    routes : tuple of ExplainedRoute
        From the typical point (towards it, where help comes to the people).
    trades : DataFrame
        Of a composite circle one row a kind: `kind`, `required`, `state` (of the typical point),
        `reason`, `minutes`, `limit_minutes`, `mode`, `measure`, `facility_id`, `facility`,
        `people_share` (of the unit) and `decided`. Empty for a single kind.
    ledger : DataFrame
        The unit's own rows of the ledger: `facility_id`, `name`, `kind`, `status`,
        `floor_area_m2`, `hours_per_day` (of an agreement, the host's), `host_id`, `host`,
        `host_unit`, `official_covered`, `minutes`, `limit_minutes`, `mode` (of an agreement, from
        the typical point), `people_share` (in reach of the host), `state` and `reason` by the rule.
    obstacles : DataFrame
        Facilities in reach that do not qualify, or of which it cannot be told: `facility_id`,
        `reason`, `minutes`, `mode` (from the nearest point it fails), `people` (for whom it does).
    loss : Loss or None
        What closing the typical point's facility would do; None where the unit is not covered.
    """

    report: CoverageReport
    lang: str
    unit: UnitFacts
    kind: str
    standard: Standard | None
    verdict: pd.Series
    points: gpd.GeoDataFrame
    typical: str | None
    ways: pd.DataFrame
    routes: tuple[ExplainedRoute, ...]
    trades: pd.DataFrame
    ledger: pd.DataFrame
    obstacles: pd.DataFrame
    loss: Loss | None

    def rule(self, lang: str | None = None) -> str:
        """Say in words which rule decided, and where it comes from.

        Parameters
        ----------
        lang : {"zh", "en"}, optional
            By default the explanation's own.
        """
        return "" if self.standard is None else _rule_words(self, self._words(lang))

    def text(self, lang: str | None = None) -> str:
        """Tell the story in plain sentences: short paragraphs, each with its heading.

        Parameters
        ----------
        lang : {"zh", "en"}, optional
            By default the explanation's own.
        """
        words = self._words(lang)
        title, place, told = _story(self, words)
        paragraphs = [
            f"{title}\n{place}",
            *(f"{head}{words('colon')}{body}" for head, body in told),
        ]
        return "\n\n".join(paragraphs)

    def map(self, lang: str | None = None) -> OfflineMap:
        """Draw the unit, its demand points, the facilities around and the routes.

        Parameters
        ----------
        lang : {"zh", "en"}, optional
            By default the explanation's own.

        Returns
        -------
        folium.Map
            One that asks nothing of any network.
        """
        return _chart(self, self._words(lang))

    def save(self, path: str | Path, lang: str | None = None) -> Path:
        """Write text, map and tables as one HTML page that opens with no network.

        Parameters
        ----------
        path : str or pathlib.Path
            Where to write.
        lang : {"zh", "en"}, optional
            By default the explanation's own.

        Returns
        -------
        pathlib.Path
            The path.
        """
        words = self._words(lang)
        page, target = _page(self, words), Path(path)
        target.write_text(page, encoding="utf-8")
        return target

    def _words(self, lang: str | None) -> _Words:
        return _Words(lang or self.lang, self.report.access.searches.modes)

    def __repr__(self) -> str:
        """Say whose story it is, and the verdict."""
        return (
            f"<Explanation: {self.unit.name} ({self.unit.unit_code}), {self.kind}: ledger "
            f"{self.verdict['ledger_state']}, reachable {self.verdict['reachable_state']}>"
        )

    def _repr_html_(self) -> str:
        return _fragment(self, self._words(None), map_height_px=400)


def explain(
    report: CoverageReport, unit: str, *, kind: str | None = None, lang: str = "zh"
) -> Explanation:
    """Explain why a unit is judged as it is, for one kind of facility.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    unit : str
        A unit code, or a name as it stands in the units.
    kind : str, optional
        One of the plan's kinds; by default its first.
    lang : {"zh", "en"}
        Language of what is shown where none is asked for.

    Returns
    -------
    Explanation
        Facts, routes, tables, and a text, a map and a page made of them.

    Raises
    ------
    InputError
        Where no unit is so called (the message offers near names) or several are (it lists them),
        or the plan has no such kind.

    Notes
    -----
    The typical point is the weighted median of minutes, as in the verdict; the routes join the
    roads as the verdict's searches did, barriers and limits respected. The next nearest facility
    is `travel.next_nearest` for the same pool and way. What a facility's closing would do is judged
    anew, with the facility left out of the searches and the room of the others not counted.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.explain import explain
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> story = explain(fc.assess(units, facilities, access, plan), "130824001001", lang="en")
    >>> story.unit.unit_kind, story.routes[0].purpose
    ('community', 'nearest')
    >>> bool(abs(story.routes[0].minutes - story.verdict["minutes"]) < 1e-6)
    True
    """
    label("state", "covered", lang)  # refuses a language that is not there
    kinds = report.plan.kinds
    kind = kinds[0] if kind is None else kind
    if kind not in kinds:
        raise InputError(f"the plan sets no standard for {kind!r}; kind is {', '.join(kinds)}")
    at = _position(report.units, unit)
    row = report.units.iloc[at]
    verdicts = report.verdicts
    mine = _is(verdicts["kind"], kind) & _is(verdicts["unit_code"], row["unit_code"])
    verdict = verdicts[mine].iloc[0]
    judged_at_all = verdict["reachable_state"] != "not_applicable"
    standard = report.plan.standard(kind, verdict["setting"]) if judged_at_all else None
    facts = UnitFacts(
        unit_code=_text(row["unit_code"]),
        name=_text(row["name"]) or _text(row["unit_code"]),
        township=_text(row["township"]),
        unit_kind=_text(row["unit_kind"]),
        setting=_text(row["setting"]),
        population="residents" if standard is None else standard.population,
        people=_float(row["residents"] if standard is None else verdict["people"]),
    )
    if standard is None:
        points = _bare_points(report, row["unit_code"])
        tables = (pd.DataFrame(columns=list(names)) for names in (_WAYS, _TRADES, _LEDGER))
        ways, trades, ledger = tables
        obstacles = pd.DataFrame(columns=list(_OBSTACLES))
        return Explanation(
            report, lang, facts, kind, None, verdict, points, None, ways, (), trades, ledger,
            obstacles, None,
        )  # fmt: skip
    case = _case(report, standard, at, kind)
    points = _points(case)
    return Explanation(
        report=report,
        lang=lang,
        unit=facts,
        kind=kind,
        standard=standard,
        verdict=verdict,
        points=points,
        typical=case.typical_id,
        ways=_ways(case),
        routes=tuple(_routes(case)),
        trades=_trades(case),
        ledger=_ledger(case, row["unit_code"]),
        obstacles=_obstacles(case),
        loss=_loss(case, verdict, points),
    )


def _position(units: gpd.GeoDataFrame, unit: str) -> int:
    """Find a unit by its code or its name."""
    asked = str(unit)
    codes, names = (
        units[column].astype("string").fillna("").to_numpy(dtype=object)
        for column in ("unit_code", "name")
    )
    found = np.flatnonzero(codes == asked)
    if found.size == 0:
        found = np.flatnonzero(names == asked)
    if found.size == 1:
        return int(found[0])
    if found.size:
        listed = "; ".join(
            f"{_text(units['township'].iloc[i]) or '—'} {codes[i]}" for i in found.tolist()
        )
        raise InputError(f"{found.size} units are called {asked!r}: give the code ({listed})")
    near = difflib.get_close_matches(asked, [*names, *codes], n=_NEAR_NAMES, cutoff=0.5)
    hint = f"; near it are {', '.join(dict.fromkeys(near))}" if near else ""
    raise InputError(f"no unit has the code or the name {asked!r}{hint}")


def _is(column: pd.Series, value: Any) -> Flags:
    """Tell where a column holds a value; where it holds nothing it does not."""
    return (column == value).fillna(value=False).to_numpy(dtype=bool)


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _float(value: Any) -> float:
    return math.nan if pd.isna(value) else float(value)


# --- what was found ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Case:
    """A unit's demand points and how they were judged."""

    report: CoverageReport
    standard: Standard
    at: int
    kind: str
    homes: Integers  # positions among the demand points
    judged: Judged
    trades: tuple[Judged, ...]  # by kind the standard names, required ones first
    decided: Integers  # by home, which of them decided
    people: People
    typical: int  # position in `homes`, -1 where there is none

    @property
    def access(self) -> TravelTimes:
        return self.report.access

    @property
    def pools(self) -> list[Pool]:
        return pools_of(self.standard)

    @property
    def weight(self) -> Floats:
        return self.people.weight[self.homes]

    @property
    def count(self) -> Floats:
        return self.people.count[self.homes]

    @property
    def typical_id(self) -> str | None:
        if self.typical < 0:
            return None
        return str(self.access.demand["demand_id"].iloc[self.homes[self.typical]])

    def way(self, number: int) -> Way:
        return self.access.way(self.standard, self.standard.alternatives[number])

    def limit(self, number: int) -> float:
        return self.standard.alternatives[number].limit_minutes(self.access.searches.modes)

    def judge(self, judged: Judged) -> UnitVerdicts:
        """Judge the unit by verdicts on its points."""
        owner = np.zeros(self.homes.size, dtype=np.int64)
        members = np.array([self.at])
        return judge_units(self.standard, judged, owner, self.people, self.homes, members)


def _case(report: CoverageReport, standard: Standard, at: int, kind: str) -> _Case:
    access, demand = report.access, report.access.demand
    codes = pd.Index(report.units["unit_code"].to_numpy(dtype=object))
    home_unit = codes.get_indexer(demand["unit_code"].to_numpy(dtype=object)).astype(np.int64)
    homes = np.flatnonzero(home_unit == at)
    for one in report.point_verdicts:
        rows = np.flatnonzero(np.isin(one.points, homes))
        if one.standard.kind == kind and rows.size:
            homes, fields = one.points[rows], Judged.__dataclass_fields__
            judged = Judged(*(getattr(one.judged, name)[rows] for name in fields))
            break
    else:
        judged = judge_points(standard, access, homes)
    needed, pools = len(standard.required_kinds), pools_of(standard)
    trades: tuple[Judged, ...] = (judged,)
    if len(pools) > 1:
        trades = tuple(
            judge_points(
                replace(standard, kind=pool.kind, kinds=(), further_kinds=()), access, homes
            )
            for pool in pools
        )
    people = people_at(demand, report.units, home_unit, standard.population)
    case = _Case(
        report, standard, at, kind, homes, judged, trades, _hardest(trades[:needed]), people, -1
    )
    return replace(case, typical=int(case.judge(judged).point[0]))


def _hardest(trades: Sequence[Judged]) -> Integers:
    """Tell by point which kind decides: one out of reach, then one in doubt, then the slowest."""
    state = np.array([_HARDNESS[one.state] for one in trades])
    minutes = np.array([np.nan_to_num(one.minutes, nan=np.inf) for one in trades])
    worst = np.zeros(state.shape[1], dtype=np.int64)
    every = np.arange(worst.size)
    for number in range(1, len(trades)):
        harder = state[number] > state[worst, every]
        slower = (state[number] == state[worst, every]) & (minutes[number] > minutes[worst, every])
        worst[harder | slower] = number
    return worst


def _named(report: CoverageReport, positions: Integers) -> tuple[list[Any], list[Any]]:
    """Give ids and names of facilities by position, None for -1."""
    table = report.facilities[["facility_id", "name"]]
    ids, names = (
        np.array([*table[column], None], dtype=object)[positions].tolist() for column in table
    )
    return ids, [_text(name) or _text(key) or None for key, name in zip(ids, names, strict=True)]


_POINTS = (
    "demand_id", "name", "residents", "people", "kind", "state", "reason", "minutes",
    "limit_minutes", "mode", "measure", "facility_id", "facility", "next_facility_id",
    "next_facility", "next_minutes", "leg_m", "flag",
)  # fmt: skip


def _bare_points(report: CoverageReport, code: str) -> gpd.GeoDataFrame:
    """Give the points of a unit that no standard speaks of."""
    demand = report.demand[_is(report.demand["unit_code"], code)]
    numbers = ("minutes", "limit_minutes", "next_minutes", "leg_m")
    known = demand[["demand_id", "name", "residents", "geometry"]].assign(
        people=demand["residents"], state="not_applicable", reason="", flag=""
    )
    columns = {name: math.nan if name in numbers else None for name in _POINTS if name not in known}
    return known.assign(**columns)[[*_POINTS, "geometry"]]


def _points(case: _Case) -> gpd.GeoDataFrame:
    access, judged, homes = case.access, case.judged, case.homes
    n = homes.size
    following = Nearest(np.full(n, np.nan), np.full(n, -1), np.full(n, "", dtype=object))
    leg_m, flag = np.full(n, np.nan), np.full(n, "", dtype=object)
    for trade, number in sorted(
        set(zip(case.decided.tolist(), judged.alternative.tolist(), strict=True))
    ):
        way = case.way(number)
        here = np.flatnonzero((case.decided == trade) & (judged.alternative == number))
        found = next_nearest(access, case.pools[trade], way)
        following.minutes[here] = found.minutes[homes[here]]
        following.facility[here] = found.facility[homes[here]]
        if way.measure != "straight":
            joins = access.searches.joins[way.mode].homes
            leg_m[here], flag[here] = joins.leg_m[homes[here]], joins.flag[homes[here]]
    ways = [(each.mode, each.measure) for each in case.standard.alternatives]
    modes, measures = np.array(ways, dtype=object).T
    none = np.isnan(judged.minutes)
    ids, names = _named(case.report, judged.facility)
    next_ids, next_names = _named(case.report, following.facility)
    demand = access.demand.iloc[homes]
    kinds = np.array([pool.kind for pool in case.pools], dtype=object)
    return gpd.GeoDataFrame(
        {
            "demand_id": demand["demand_id"],
            "name": demand["name"],
            "residents": demand["residents"],
            "people": case.count,
            "kind": kinds[case.decided],
            "state": _STATE_WORDS[judged.state],
            "reason": _REASON_WORDS[judged.reason],
            "minutes": judged.minutes,
            "limit_minutes": judged.limit_minutes,
            "mode": np.where(none, None, modes[judged.alternative]),
            "measure": np.where(none, None, measures[judged.alternative]),
            "facility_id": ids,
            "facility": names,
            "next_facility_id": next_ids,
            "next_facility": next_names,
            "next_minutes": following.minutes,
            "leg_m": leg_m,
            "flag": flag,
        },
        index=demand.index,
        geometry=demand.geometry,
        crs=demand.crs,
    )


_WAYS = ("mode", "measure", "minutes", "limit_minutes", "facility_id", "facility", "reason")


def _ways(case: _Case) -> pd.DataFrame:
    """Give every alternative's trip from the typical point to the kind that decided."""
    rows = []
    if case.typical >= 0:
        home, pool = case.homes[case.typical], case.pools[case.decided[case.typical]]
        for number in range(len(case.standard.alternatives)):
            way = case.way(number)
            found = case.access.nearest[pool, way]
            ids, names = _named(case.report, found.facility[[home]])
            rows.append(
                (
                    way.mode,
                    way.measure,
                    float(found.minutes[home]),
                    case.limit(number),
                    ids[0],
                    names[0],
                    found.reason[home],
                )
            )
    return pd.DataFrame(rows, columns=list(_WAYS))


def _routes(case: _Case) -> Iterator[ExplainedRoute]:
    """Give the ways from the typical point: to the nearest, on foot, to the next nearest."""
    if case.typical < 0:
        return
    access, number = case.access, int(case.judged.alternative[case.typical])
    home, pool = int(case.homes[case.typical]), case.pools[case.decided[case.typical]]
    way, limit = case.way(number), case.limit(number)
    site = int(access.nearest[pool, way].facility[home])
    yield _explained(case, "nearest", home, site, pool, way, limit)
    foot, foot_limit = _on_foot(case, way)
    if foot is not None:
        there = access.nearest.get((pool, foot))
        on_foot = site if there is None else int(there.facility[home])
        yield _explained(case, "on_foot", home, on_foot, pool, foot, foot_limit)
    following = int(next_nearest(access, pool, way).facility[home])
    yield _explained(case, "next_nearest", home, following, pool, way, limit)


def _on_foot(case: _Case, decided: Way) -> tuple[Way | None, float]:
    """Give how people walk: as the standard asks, else as its population or anybody does."""
    modes = case.access.searches.modes
    if modes[decided.mode].on_foot and decided.measure == "time":
        return None, math.nan
    for number, alternative in enumerate(case.standard.alternatives):
        if modes[alternative.mode].on_foot and alternative.measure == "time":
            return case.way(number), case.limit(number)
    own = [
        each.mode for each in case.report.plan.groups if each.population == case.standard.population
    ]
    walking = [name for name in (*own, "walk", *modes) if name in modes and modes[name].on_foot]
    return (decided._replace(mode=walking[0], measure="time") if walking else None), math.nan


def _explained(
    case: _Case, purpose: str, home: int, site: int, pool: Pool, way: Way, limit: float
) -> ExplainedRoute:
    searches, demand = case.access.searches, case.access.demand
    if site >= 0:
        route = _way_between(searches, way, home, site, demand.crs)
    else:
        found = case.access.nearest.get((pool, way))
        reason = "no_facility_of_kind"
        if purpose != "next_nearest" and found is not None:
            reason = str(found.reason[home])
        route = _no_way(searches, demand.crs, reason)
    ids, names = _named(case.report, np.array([site]))
    detour = float(searches.options["leg_detour"])
    return ExplainedRoute(
        purpose,
        str(demand["demand_id"].iloc[home]),
        ids[0],
        names[0],
        way,
        limit,
        route,
        _steps(route.legs, detour),
    )


def _no_way(searches: Searches, crs: Any, reason: str) -> Route:
    return Route(math.nan, math.nan, math.nan, None, _legs([], searches.roads, crs), reason)


def _way_between(searches: Searches, way: Way, home: int, site: int, crs: Any) -> Route:
    """Find the way between a demand point and a facility as the searches joined them."""
    roads = searches.roads
    doors = [searches.xy.homes[[home]], searches.xy.sites[[site]]]
    if way.measure == "straight":
        line = shapely.LineString(np.concatenate(doors))
        minutes = line.length * MINUTES_PER_METRE_AT_1_KPH / searches.modes[way.mode].speed_kph
        row = {"part": "straight", "length_m": line.length, "minutes": minutes, "geometry": line}
        legs = _legs([{"edge": None, "name": None, "highway": None, **row}], roads, crs)
        return Route(minutes, 0.0, line.length, legs.geometry.iloc[0], legs)
    joins = searches.joins[way.mode]
    ends = [joins.homes.take(np.array([home])), joins.sites.take(np.array([site]))]
    if way.direction == "from_facility":
        doors, ends = doors[::-1], ends[::-1]
    # From one end to the other is a trip "to" the other, whoever lives there.
    trips = replace(searches.trips(way), direction="to_facility")
    start, end = ends
    found = SiteSearch(trips, end, np.ones(1, dtype=bool)).nearest(start)
    if found.reason[0]:
        return _no_way(searches, crs, str(found.reason[0]))
    on_road = _road_rows(trips, roads, _pieces(trips, start, end))
    if on_road:
        entry = shapely.get_coordinates(on_road[0]["geometry"])[:1]
        leaving = shapely.get_coordinates(on_road[-1]["geometry"])[-1:]
    else:
        edge = np.asarray(roads.edges.geometry.array)[start.edge]
        spot = shapely.line_interpolate_point(edge, start.fraction, normalized=True)[0]
        spot = shapely.get_point(edge, 0)[0] if spot.is_empty else spot
        entry = leaving = shapely.get_coordinates(spot)
    rows = [
        _walk_row(trips, float(start.leg_m[0]), np.concatenate([doors[0], entry])),
        *on_road,
        _walk_row(trips, float(end.leg_m[0]), np.concatenate([leaving, doors[1]])),
    ]
    xy = np.concatenate([shapely.get_coordinates(row["geometry"]) for row in rows])
    shape = gpd.GeoSeries([shapely.LineString(xy)], crs=roads.crs).to_crs(crs).iloc[0]
    return Route(
        minutes=float(found.minutes[0]),
        road_m=float(sum(row["length_m"] for row in on_road)),
        leg_m=float(start.leg_m[0] + end.leg_m[0]),
        geometry=shape,
        legs=_legs(rows, roads, crs),
    )


_STEPS = ("part", "name", "highway", "length_m", "minutes", "speed_kph")


def _steps(legs: gpd.GeoDataFrame, detour: float) -> pd.DataFrame:
    """Put consecutive legs of one name and class together; those of no length are left out."""
    table = pd.DataFrame(legs.drop(columns="geometry"))
    table = table[(table["length_m"] > 0) | (table["minutes"] > 0)].reset_index(drop=True)
    if table.empty:
        return pd.DataFrame(columns=list(_STEPS))
    same = ["part", "name", "highway"]
    keys = [tuple(map(_text, key)) for key in zip(*(table[name] for name in same), strict=True)]
    starts = np.array([i == 0 or keys[i] != keys[i - 1] for i in range(len(keys))])
    first = table.loc[starts, same].reset_index(drop=True)
    sums = table.groupby(np.cumsum(starts))[["length_m", "minutes"]].sum().reset_index(drop=True)
    walked = sums["length_m"] * np.where(first["part"] == "leg", detour, 1.0)
    speed = walked * MINUTES_PER_METRE_AT_1_KPH / sums["minutes"].where(sums["minutes"] > 0)
    return pd.concat([first, sums, speed.rename("speed_kph")], axis=1)


_TRADES = (
    "kind", "required", "state", "reason", "minutes", "limit_minutes", "mode", "measure",
    "facility_id", "facility", "people_share", "decided",
)  # fmt: skip


def _trades(case: _Case) -> pd.DataFrame:
    """Give a row a kind of a composite circle, from the typical point."""
    t, rows = case.typical, []
    if len(case.trades) > 1 and t >= 0:
        needed = len(case.standard.required_kinds)
        for number, (pool, one) in enumerate(zip(case.pools, case.trades, strict=True)):
            ids, names = _named(case.report, one.facility[[t]])
            known = not math.isnan(one.minutes[t])
            way = case.standard.alternatives[int(one.alternative[t])]
            rows.append(
                (
                    pool.kind,
                    number < needed,
                    _STATE_WORDS[one.state[t]],
                    _REASON_WORDS[one.reason[t]],
                    float(one.minutes[t]),
                    float(one.limit_minutes[t]),
                    way.mode if known else None,
                    way.measure if known else None,
                    ids[0],
                    names[0],
                    float(case.judge(one).share[0]),
                    number == case.decided[t],
                )
            )
    return pd.DataFrame(rows, columns=list(_TRADES))


_LEDGER = (
    "facility_id", "name", "kind", "status", "floor_area_m2", "hours_per_day", "host_id",
    "host", "host_unit", "official_covered", "minutes", "limit_minutes", "mode", "measure",
    "people_share", "state", "reason",
)  # fmt: skip


def _ledger(case: _Case, code: str) -> pd.DataFrame:
    """Give what the ledger says of the unit, row by row, each judged by the rule alone."""
    report, facilities = case.report, case.report.facilities
    asked = facilities["kind"].isin(case.standard.required_kinds).to_numpy(dtype=bool)
    ids = pd.Index(facilities["facility_id"].to_numpy(dtype=object))
    unit_names = dict(zip(report.units["unit_code"], report.units["name"], strict=True))
    rows = []
    for position in np.flatnonzero(asked & _is(facilities["unit_code"], code)).tolist():
        row = facilities.iloc[position]
        shared = row["status"] == "shared"
        host = int(ids.get_indexer([row["served_by"]])[0]) if shared else -1
        subject = facilities.iloc[host] if host >= 0 else row
        state, reason = _by_rule(case.standard, subject)
        trip: tuple[Any, ...] = (math.nan, math.nan, None, None, math.nan)
        if shared and host < 0:
            state, reason = "unknown", "no_data"
        elif shared:
            *trip_found, share, at_most = _agreement(case, host)
            trip = (*trip_found, share)
            needed = case.standard.unit_share - ROUNDING
            if state == "covered" and not share >= needed:
                far = at_most < needed
                state, reason = (
                    ("uncovered", "agreement_too_far") if far else ("unknown", "no_data")
                )
        known = not shared or host >= 0
        rows.append(
            (
                row["facility_id"],
                _text(row["name"]) or None,
                row["kind"],
                row["status"],
                _float(subject["floor_area_m2"]) if known else math.nan,
                _float(subject["hours_per_day"]) if known else math.nan,
                subject["facility_id"] if host >= 0 else None,
                (_text(subject["name"]) or subject["facility_id"]) if host >= 0 else None,
                _text(unit_names.get(subject["unit_code"])) or None if host >= 0 else None,
                row["official_covered"],
                *trip,
                state,
                reason,
            )
        )
    return pd.DataFrame(rows, columns=list(_LEDGER))


def _by_rule(standard: Standard, facility: pd.Series) -> tuple[str, str]:
    """Judge one facility by status, size and hours; a known fault tells more than a gap."""
    asked = [
        (_float(facility["floor_area_m2"]), standard.min_floor_area_m2, "too_small"),
        (_float(facility["hours_per_day"]), standard.min_hours_per_day, "short_hours"),
    ]
    asked = [one for one in asked if one[1] is not None]
    if facility["status"] not in {"in_use", "unknown"}:
        return "uncovered", "closed"
    for value, least, reason in asked:
        if least is not None and value < least:
            return "uncovered", reason
    if facility["status"] == "unknown" or any(math.isnan(value) for value, _, _ in asked):
        return "unknown", "no_data"
    return "covered", ""


def _agreement(case: _Case, host: int) -> tuple[float, float, str | None, str | None, float, float]:
    """Give the typical point's trip to a host, and the least and greatest share that gets there."""
    homes, t = case.homes, case.typical
    best: tuple[float, float, float, str | None, str | None]
    best = (math.inf, math.nan, math.nan, None, None)
    there, told = np.zeros(homes.size, dtype=bool), np.zeros(homes.size, dtype=bool)
    for number in range(len(case.standard.alternatives)):
        way, limit = case.way(number), case.limit(number)
        hosts = np.full(homes.size, host, dtype=np.int64)
        minutes = agreed_minutes(case.access, hosts, homes, way, limit_minutes=math.inf)
        there |= minutes <= limit + ROUNDING
        told |= ~np.isnan(minutes)
        # The first that passes, else the one nearest to passing.
        if t >= 0 and minutes[t] / limit < best[0] and best[0] > 1 + ROUNDING:
            best = (minutes[t] / limit, float(minutes[t]), limit, way.mode, way.measure)
    total = case.weight.sum()
    share, at_most = (
        float(case.weight[rows].sum() / total) if total > 0 else math.nan
        for rows in (there, there | ~told)
    )
    return (*best[1:], share, at_most)


_OBSTACLES = ("facility_id", "reason", "minutes", "mode", "measure", "people", "weight")


def _obstacles(case: _Case) -> pd.DataFrame:
    """Give the facilities that would cover points, were they to qualify or their data known."""
    judged, rows = case.judged, []
    reason = _REASON_WORDS[judged.reason]
    doubtful, full = reason == "no_data", reason == "over_capacity"
    for i in np.flatnonzero((judged.state != _COVERED) & ~full).tolist():
        pool = case.pools[case.decided[i]]
        quality = "perhaps" if doubtful[i] else "any"
        for number in range(len(case.standard.alternatives)):
            found = case.access.nearest.get((pool._replace(quality=quality), case.way(number)))
            home = case.homes[i]
            if found is not None and found.minutes[home] <= case.limit(number) + ROUNDING:
                way = case.way(number)
                place = int(found.facility[home])
                rows.append((place, found.minutes[home], way.mode, way.measure, i))
                break
    table = pd.DataFrame(rows, columns=["place", "minutes", "mode", "measure", "home"])
    lines = []
    for place, group in table.groupby("place", sort=False):
        nearest = group.loc[group["minutes"].idxmin()]
        facility = case.report.facilities.iloc[int(place)]
        state, lacks = _by_rule(case.standard, facility)
        if state == "covered":  # what is missing is how much room there is, not the facility's data
            continue
        at = group["home"].to_numpy(dtype=np.int64)
        lines.append(
            (
                facility["facility_id"],
                lacks,
                float(nearest["minutes"]),
                nearest["mode"],
                nearest["measure"],
                float(case.count[at].sum()),
                float(case.weight[at].sum()),
            )
        )
    return pd.DataFrame(lines, columns=list(_OBSTACLES))


def _loss(case: _Case, verdict: pd.Series, points: gpd.GeoDataFrame) -> Loss | None:
    """Judge the unit anew without the typical point's facility."""
    t = case.typical
    if t < 0 or verdict["reachable_state"] != "covered" or case.judged.facility[t] < 0:
        return None
    lost = int(case.judged.facility[t])
    access, searches = case.access, case.access.searches
    kind = case.pools[case.decided[t]].kind
    found: dict[tuple[Pool, Way], Nearest] = {}
    for number in range(len(case.standard.alternatives)):
        way, limit = case.way(number), case.limit(number)
        for pool in (p._replace(quality=q) for p in case.pools for q in ("certain", "perhaps")):
            known = access.nearest.get((pool, way))
            if pool.kind == kind:
                chosen = searches.members(pool).copy()
                chosen[lost] = False
                search = searches.search(chosen, way, limit_minutes=limit * (1 + 1e-6))
                found[pool, way] = searches.answer(search, way, case.homes)
            elif known is not None:
                found[pool, way] = Nearest(
                    known.minutes[case.homes], known.facility[case.homes], known.reason[case.homes]
                )
    here = replace(access, demand=access.demand.iloc[case.homes], nearest=found)
    judged = judge_points(case.standard, here, np.arange(case.homes.size))
    unit, typical = case.judge(judged), points.iloc[t]
    trip = ("next_facility_id", "next_minutes", "limit_minutes", "mode", "measure")
    then = tuple(typical[name] for name in trip)
    if judged.state[t] == _COVERED:
        ids, _ = _named(case.report, judged.facility[[t]])
        chosen_one = case.standard.alternatives[int(judged.alternative[t])]
        numbers = (float(judged.minutes[t]), float(judged.limit_minutes[t]))
        then = (ids[0], *numbers, chosen_one.mode, chosen_one.measure)
    return Loss(
        str(case.report.facilities["facility_id"].iloc[lost]),
        str(_STATE_WORDS[unit.state[0]]),
        float(unit.covered[0]),
        float(unit.share[0]),
        *then,
    )


# --- in words ------------------------------------------------------------------------------------


class _Words(NamedTuple):
    """The sentences of one language, and how it writes quantities."""

    lang: str
    modes: Mapping[str, Mode]

    def __call__(self, key: str, **values: str) -> str:
        return labels("explain", self.lang)[key].format(**values)

    def sentence(self, key: str, **values: str) -> str:
        """Give a whole sentence: it begins with a capital where the language has them."""
        text = self(key, **values)
        return text[:1].upper() + text[1:]

    def column(self, key: str) -> str:
        return labels("explain_column", self.lang)[key]

    def term(self, group: str, key: Any) -> str:
        return label(group, key, self.lang)

    def reason(self, key: str) -> str:
        return label("explain_reason", key, self.lang) if key else ""

    def quoted(self, name: Any) -> str:
        return self("quoted", name=_text(name)) if _text(name) else self("missing")

    def number(self, value: float) -> str:
        return f"{value:,.1f}".removesuffix(".0")

    def whole(self, value: float) -> str:
        return self("missing") if math.isnan(value) else f"{value:,.0f}"

    def share(self, value: float) -> str:
        """Give a share in per cent, never rounded up to a whole one: 49.96 % is not 50 %."""
        if math.isnan(value):
            return self("missing")
        tenths = round(value * 1000)
        tenths -= tenths % 10 == 0 and tenths > value * 1000 + ROUNDING
        return f"{tenths / 10:.1f}%".replace(".0%", "%")

    def area(self, value: float) -> str:
        return self("area", value=self.number(value))

    def length(self, metres: float) -> str:
        if round(metres) < _KM:
            return self("metres", value=f"{metres:,.0f}")
        return self("kilometres", value=self.number(metres / _KM))

    def metres(self, minutes: float, mode: str) -> float:
        """Give the metres that a standard by distance was turned into minutes from."""
        return minutes * self.modes[mode].speed_kph / MINUTES_PER_METRE_AT_1_KPH

    def amount(self, minutes: float, mode: str, measure: str) -> str:
        """Give a trip in what the standard counts: minutes or metres."""
        if measure == "time":
            return self("minutes", value=self.number(minutes))
        return self.length(self.metres(minutes, mode))

    def by(self, mode: str, measure: str) -> str:
        """Say how a trip is made and measured."""
        words = self.term("mode", mode)
        return words if measure == "time" else self(f"by_{measure}", mode=words)

    def gap(self, minutes: float, mode: str, measure: str) -> str:
        """Give a difference, which is never shown as nothing."""
        if measure == "time":
            small = minutes < 0.05  # noqa: PLR2004 - what one decimal cannot show
            return self("tiny") if small else self.amount(minutes, mode, measure)
        small = self.metres(minutes, mode) < 0.5  # noqa: PLR2004 - half a metre
        return self("tiny_metres") if small else self.amount(minutes, mode, measure)

    def against(self, minutes: float, limit: float, mode: str, measure: str) -> str:
        """Say whether a trip keeps within its limit, else by how much it does not."""
        allowed = self.amount(limit, mode, measure)
        if minutes <= limit * (1 + ROUNDING):
            return self("within", limit=allowed)
        return self("over", limit=allowed, over=self.gap(minutes - limit, mode, measure))

    def state(self, state: str, reason: str = "", *, reach: bool = False) -> str:
        """Give a verdict and its reason; of one by reach which facility the reason speaks of."""
        words = self.term("state", state)
        why = labels("explain_reach_reason", self.lang).get(reason) if reach else None
        return self("because", state=words, reason=why or self.reason(reason)) if reason else words

    def people(self, group: str, count: float) -> str:
        noun = self.term("group", group)
        if math.isnan(count):
            return self("people_missing", group=noun)
        return self("people", group=noun, count=self.whole(count))

    def listed(self, items: Sequence[str]) -> str:
        return self("list").join(items)


def _facility(story: Explanation, key: Any, words: _Words) -> str:
    """Give a facility's name in quotes, and whether it lies beyond the border."""
    table = story.report.facilities
    row = table[_is(table["facility_id"], key)]
    if row.empty:
        return words("missing")
    name = _text(row["name"].iloc[0]) or str(key)
    return words("outside" if bool(row["outside"].iloc[0]) else "quoted", name=name)


def _here(story: Explanation, words: _Words) -> str:
    kind = story.unit.unit_kind
    return words(f"here_{kind if kind in {'village', 'community'} else ''}")


def _setting(story: Explanation, words: _Words) -> str:
    return words.term("setting", story.verdict["setting"])


def _point(story: Explanation, words: _Words) -> str:
    row = _typical_row(story)
    return words.quoted(_text(row["name"]) or row["demand_id"])


def _typical_row(story: Explanation) -> pd.Series:
    return story.points[_is(story.points["demand_id"], story.typical)].iloc[0]


def _route_for(story: Explanation, purpose: str) -> ExplainedRoute | None:
    return next((one for one in story.routes if one.purpose == purpose), None)


def _story(story: Explanation, words: _Words) -> tuple[str, str, list[tuple[str, str]]]:
    """Give the title, the line under it, and paragraphs with their headings."""
    unit = story.unit
    title = words("title", unit=unit.name, kind=words.term("kind", story.kind))
    place = words(
        "place",
        township=unit.township or words("missing"),
        code=unit.unit_code,
        setting=_setting(story, words),
        people=words.people(unit.population, unit.people),
    )
    tellers = {"head_summary": _summary_words}
    if story.standard is not None:
        tellers |= {
            "head_ledger": _ledger_words,
            "head_road": _road_words,
            "head_trades": _trade_words,
            "head_people": _people_words,
            "head_change": _change_words,
            "head_rule": _rule_words,
            "head_gaps": _gap_words,
        }
    told = [(words(head), teller(story, words).strip()) for head, teller in tellers.items()]
    stamp = _stamp(story, words.lang)
    return (
        title,
        place,
        [*((head, body) for head, body in told if body), (words("head_note"), stamp)],
    )


def _stamp(story: Explanation, lang: str) -> str:
    """Give what the data say about themselves, and what the page is not."""
    default = label("map", "default_stamp", lang)
    own = story.report.stamp
    return label("map", "source_separator", lang).join([own, default] if own else [default])


def _summary_words(story: Explanation, words: _Words) -> str:
    kind, here, verdict = words.term("kind", story.kind), _here(story, words), story.verdict
    if story.standard is None:
        return words.sentence("summary_none", here=here, kind=kind, setting=_setting(story, words))
    reachable = words.state(verdict["reachable_state"], verdict["reachable_reason"], reach=True)
    if not story.standard.on_ledger:
        return words.sentence("summary_reachable", here=here, kind=kind, reachable=reachable)
    ledger = words.state(verdict["ledger_state"], verdict["ledger_reason"])
    if bool(verdict["shared"]):
        ledger = words("shared", state=ledger)
    return words.sentence("summary_both", here=here, kind=kind, ledger=ledger, reachable=reachable)


def _facts(floor_area_m2: float, hours: float, standard: Standard, words: _Words) -> list[str]:
    """Say how large and how long open a facility is, and what it lacks of what is asked."""
    told = []
    for value, least, name, amount in (
        (floor_area_m2, standard.min_floor_area_m2, "area", words.area),
        (
            hours,
            standard.min_hours_per_day,
            "hours",
            lambda v: words("hours", value=words.number(v)),
        ),
    ):
        given = "area_is" if name == "area" else "hours_are"
        if math.isnan(value):
            told += [words(f"{name}_missing", least=amount(least))] if least is not None else []
        elif least is not None and value < least:
            short = amount(least - value)
            told.append(
                words(f"{name}_short", value=amount(value), least=amount(least), short=short)
            )
        else:
            told.append(words(given, value=amount(value)))
    return told


def _ledger_words(story: Explanation, words: _Words) -> str:
    standard, here, verdict = story.standard, _here(story, words), story.verdict
    if standard is None or not standard.on_ledger:
        return ""
    if story.ledger.empty:
        told = words.sentence("ledger_nothing", here=here)
    else:
        rows = [_ledger_row(row, standard, words) for row in story.ledger.to_dict("records")]
        count = words("ledger_count", here=here, count=str(len(rows)))
        told = count[:1].upper() + count[1:] + words("semicolon").join(rows) + words("stop")
    flags = story.ledger["official_covered"].dropna()
    if flags.empty:
        return told
    flag = words("yes" if bool(flags.astype(bool).any()) else "no")
    if verdict["ledger_state"] == verdict["ledger_rule_state"]:
        return told + words.sentence("flag_agrees", flag=flag)
    rule = words.state(verdict["ledger_rule_state"], verdict["ledger_rule_reason"])
    ledger = words.term("state", verdict["ledger_state"])
    return told + words.sentence("flag_differs", flag=flag, ledger=ledger, rule=rule)


def _ledger_row(row: Mapping[str, Any], standard: Standard, words: _Words) -> str:
    shared = row["status"] == "shared"
    name = words.quoted(row["name"] or row["facility_id"])
    facts = []
    if shared and row["host"] is None:
        facts.append(words("agreement_unknown"))
    elif shared:
        unit = words.quoted(row["host_unit"]) if row["host_unit"] else words("another_unit")
        facts.append(words("agreement", host=words.quoted(row["host"]), host_unit=unit))
    else:
        facts.append(words.term("status", row["status"]))
    if not (shared and row["host"] is None):
        facts += _facts(row["floor_area_m2"], row["hours_per_day"], standard, words)
    if shared and row["host"] is not None:
        facts += _agreed_words(row, words)
    result = {"covered": "row_counts", "uncovered": "row_fails"}.get(row["state"], "row_unknown")
    facts.append(words(result))
    return words(
        "ledger_row", facility=name, facts=words("ledger_facts", facts=words("comma").join(facts))
    )


def _agreed_words(row: Mapping[str, Any], words: _Words) -> list[str]:
    if not math.isfinite(row["minutes"]):
        return [words("agreed_unknown")]
    trip = (row["minutes"], row["mode"], row["measure"])
    return [
        words(
            "agreed_trip",
            mode=words.by(row["mode"], row["measure"]),
            amount=words.amount(*trip),
            judged=words.against(row["minutes"], row["limit_minutes"], row["mode"], row["measure"]),
        ),
        words("agreed_share", share=words.share(row["people_share"])),
    ]


def _trip_words(story: Explanation, row: Mapping[str, Any], words: _Words, *, named: bool) -> str:
    mode = words.by(row["mode"], row["measure"])
    if math.isnan(row["minutes"]):
        return words("trip_none", mode=mode, reason=words.reason(row["reason"]))
    return words(
        "trip_to" if named else "trip",
        mode=mode,
        amount=words.amount(row["minutes"], row["mode"], row["measure"]),
        judged=words.against(row["minutes"], row["limit_minutes"], row["mode"], row["measure"]),
        facility=_facility(story, row["facility_id"], words),
    )


def _road_words(story: Explanation, words: _Words) -> str:
    here, unit = _here(story, words), story.unit
    if story.typical is None:
        return words.sentence("point_none", here=here)
    point, typical = _point(story, words), _typical_row(story)
    told = words.sentence(
        "point_alone" if len(story.points) == 1 else "point_typical",
        here=here,
        people=words.people(unit.population, unit.people),
        count=str(len(story.points)),
        point=point,
    )
    if len(story.trades):
        trade = words.term("kind", typical["kind"])
        told += words.sentence("trade_decides", point=point, trade=trade)
    rows = story.ways.to_dict("records")
    names = {row["facility_id"] for row in rows if not math.isnan(row["minutes"])}
    trips = words("semicolon").join(
        _trip_words(story, row, words, named=len(names) > 1) for row in rows
    )
    back = "_back" if story.routes[0].way.direction == "from_facility" else ""
    told += words.sentence(
        f"trip_{'all' if len(names) == 1 else 'each'}{back}",
        point=point,
        facility=_facility(story, next(iter(names), None), words),
        trips=trips,
    )
    state = words.state(typical["state"], typical["reason"], reach=True)
    told += words.sentence("point_state", setting=_setting(story, words), state=state)
    return told + _path_words(story, words)


def _path_words(story: Explanation, words: _Words) -> str:
    nearest, on_foot, told = story.routes[0], _route_for(story, "on_foot"), ""
    if not nearest.reason and nearest.way.measure == "straight":
        told += words.sentence("path_straight", metres=words.length(nearest.leg_m))
    elif not nearest.reason:
        told += words.sentence(
            "path",
            mode=words.term("mode", nearest.way.mode),
            steps=words("comma").join(_step_words(nearest.steps, words)),
            minutes=words("minutes", value=words.number(nearest.minutes)),
            road=words.length(nearest.road_m),
            leg=words.length(nearest.leg_m),
        )
    if on_foot is None:
        return told
    if on_foot.reason:
        return told + words.sentence("on_foot_none", reason=words.reason(on_foot.reason))
    return told + words.sentence(
        "on_foot",
        facility=_facility(story, on_foot.facility_id, words),
        amount=words("minutes", value=words.number(on_foot.minutes)),
        road=words.length(on_foot.road_m),
    )


def _road_name(step: Mapping[str, Any], words: _Words, *, name: str = "") -> str:
    kind = label("explain_road", road_class(step["highway"]), words.lang)
    return words("road_named", name=name, road_class=kind) if name else kind


def _step_words(steps: pd.DataFrame, words: _Words) -> list[str]:
    """Say along which roads the way goes; a way of many turns by its classes of road alone."""
    rows: list[Mapping[str, Any]] = steps.to_dict("records")
    if len(rows) > _MOST_STEPS:
        by_class: dict[str, float] = {}
        for row in rows:
            if row["part"] == "road":
                kind = _road_name(row, words)
                by_class[kind] = by_class.get(kind, 0.0) + row["length_m"]
        return [
            words("step_road", road=kind, length=words.length(metres))
            for kind, metres in by_class.items()
        ]
    told, last = [], len(rows) - 1
    length = 0.0
    for number, row in enumerate(rows):
        same = [_step_key(each, words) for each in rows[number : number + 2]]
        length += row["length_m"]
        if number < last and same[0] == same[1]:
            continue  # the classes differ, but not in words
        key, road, name = same[0]
        told.append(words(key, length=words.length(length), road=road, name=name))
        length = 0.0
    return told


def _step_key(row: Mapping[str, Any], words: _Words) -> tuple[str, str, str]:
    """Give how a step is told: which sentence, class and name of the road."""
    if row["part"] != "road":
        return "step_leg", "", ""
    name = _text(row["name"])
    return "step_named" if name else "step_road", _road_name(row, words), name


def _trade_words(story: Explanation, words: _Words) -> str:
    if story.trades.empty:
        return ""
    point = _point(story, words)
    rows: list[Mapping[str, Any]] = story.trades.to_dict("records")
    required = [row for row in rows if row["required"]]
    lacking = [row for row in required if row["state"] != "covered"]
    told = words.sentence(
        "trades_count",
        asked=str(len(required)),
        point=point,
        reached=str(len(required) - len(lacking)),
    )
    for key, chosen in (
        ("trades_lacking", lacking),
        ("trades_further", [row for row in rows if not row["required"]]),
    ):
        if chosen:
            listed = words.listed([_one_trade(row, words) for row in chosen])
            told += words.sentence(key, list=listed)
    return told


def _one_trade(row: Mapping[str, Any], words: _Words) -> str:
    trade = words.term("kind", row["kind"])
    if math.isnan(row["minutes"]):
        return words("trade_none", trade=trade, reason=words.reason(row["reason"]))
    return words(
        "trade",
        trade=trade,
        mode=words.by(row["mode"], row["measure"]),
        amount=words.amount(row["minutes"], row["mode"], row["measure"]),
        judged=words.against(row["minutes"], row["limit_minutes"], row["mode"], row["measure"]),
    )


def _people_words(story: Explanation, words: _Words) -> str:
    verdict, standard = story.verdict, story.standard
    if standard is None or story.points.empty:
        return ""
    covered, uncovered, unknown = (float(verdict[f"people_{state}"]) for state in STATES)
    share = float(verdict["people_share"])
    if math.isnan(covered + uncovered + unknown):
        told = words.sentence("points_split", share=words.share(share))
    else:
        told = words.sentence(
            "people_split",
            group=words.term("group", standard.population),
            covered=words.whole(covered),
            share=words.share(share),
            uncovered=words.whole(uncovered),
            unknown=words.whole(unknown),
        )
    return told + words.sentence(
        "people_judged",
        here=_here(story, words),
        needed=words.share(standard.unit_share),
        state=words.term("state", verdict["reachable_state"]),
    )


def _weights(story: Explanation) -> tuple[Floats, bool]:
    """Give what each point weighs in the unit: its people, or one where some are not known."""
    people = story.points["people"].to_numpy(dtype=float)
    by_people = not np.isnan(people).any() and people.sum() > 0
    return (people if by_people else np.ones(people.size)), by_people


def _change_words(story: Explanation, words: _Words) -> str:
    if story.standard is None or story.points.empty:
        return ""
    if story.verdict["reachable_state"] == "covered":
        return _loss_words(story, words) + _cure_words(story, words)
    weight, by_people = _weights(story)
    states = story.points["state"].to_numpy(dtype=object)
    covered, total = weight[states == "covered"].sum(), weight.sum()
    missing = math.ceil(story.standard.unit_share * total - covered - ROUNDING)
    told = words.sentence(
        "change_missing",
        missing=words(f"count_{'people' if by_people else 'points'}", count=f"{missing:,}"),
        share=words.share(covered / total),
        needed=words.share(story.standard.unit_share),
    )
    typical = _typical_row(story)
    if typical["state"] != "covered" and not math.isnan(typical["minutes"]):
        over = typical["minutes"] - typical["limit_minutes"]
        if typical["reason"] == "over_capacity":
            facility = _facility(story, typical["facility_id"], words)
            told += words.sentence("change_room", facility=facility)
        elif over > 0:
            told += words.sentence(
                "change_shorten",
                mode=words.by(typical["mode"], typical["measure"]),
                over=words.gap(over, typical["mode"], typical["measure"]),
            )
    return told + _obstacle_words(story, words, covered, total) + _cure_words(story, words)


def _cure_words(story: Explanation, words: _Words) -> str:
    """Say what the ledger would take to count the unit."""
    if story.standard is None or not story.standard.on_ledger:
        return ""
    if story.verdict["ledger_state"] == "covered":
        return ""
    typical = _typical_row(story)
    if typical["state"] != "covered":
        return words.sentence("change_ledger")
    facility = _facility(story, typical["facility_id"], words)
    return words.sentence("change_ledger_near", facility=facility)


def _obstacle_words(story: Explanation, words: _Words, covered: float, total: float) -> str:
    if story.standard is None or story.obstacles.empty:
        return ""
    told, doubt = "", story.obstacles["reason"] == "no_data"
    for key, rows in (
        ("change_unfit", story.obstacles[~doubt]),
        ("change_doubt", story.obstacles[doubt]),
    ):
        if len(rows):
            listed = [_one_obstacle(story, row, words) for row in rows.to_dict("records")]
            told += words.sentence(key, list=words.listed(listed))
    # A circle of several kinds needs more than the one that was hardest to reach.
    if len(story.trades):
        return told
    share = (covered + story.obstacles["weight"].sum()) / total
    enough = share >= story.standard.unit_share - ROUNDING
    return told + words.sentence(
        "change_fixed" if enough else "change_short",
        share=words.share(share),
        needed=words.share(story.standard.unit_share),
        here=_here(story, words),
        state=words.term("state", "covered"),
    )


def _one_obstacle(story: Explanation, row: Mapping[str, Any], words: _Words) -> str:
    table = story.report.facilities
    facility = table[_is(table["facility_id"], row["facility_id"])].iloc[0]
    facts = [
        words(
            "obstacle_trip",
            mode=words.by(row["mode"], row["measure"]),
            amount=words.amount(row["minutes"], row["mode"], row["measure"]),
        )
    ]
    if facility["status"] != "in_use":
        facts.append(words.term("status", facility["status"]))
    if story.standard is not None:
        size, hours = _float(facility["floor_area_m2"]), _float(facility["hours_per_day"])
        facts += _facts(size, hours, story.standard, words)
    named = _facility(story, row["facility_id"], words)
    return words("obstacle", facility=named, facts=words("comma").join(facts))


def _loss_words(story: Explanation, words: _Words) -> str:
    typical, loss, told = _typical_row(story), story.loss, ""
    if typical["state"] == "covered":
        spare = typical["limit_minutes"] - typical["minutes"]
        told = words.sentence(
            "spare",
            mode=words.by(typical["mode"], typical["measure"]),
            spare=words.gap(max(spare, 0.0), typical["mode"], typical["measure"]),
        )
    if loss is None or story.standard is None:
        return told
    facility = _facility(story, loss.facility_id, words)
    if math.isnan(loss.minutes):
        told += words.sentence("loss_none", facility=facility)
    else:
        told += words.sentence(
            "loss_next",
            facility=facility,
            next=_facility(story, loss.next_facility_id, words),
            mode=words.by(loss.mode, loss.measure),
            amount=words.amount(loss.minutes, loss.mode, loss.measure),
            judged=words.against(loss.minutes, loss.limit_minutes, loss.mode, loss.measure),
        )
    told += words(
        "loss_kept" if loss.state == "covered" else "loss_flips",
        here=_here(story, words),
        state=words.term("state", loss.state),
        share=words.share(loss.people_share),
    )
    if story.standard.capacity_m2_per_100_households is not None:
        told += words("loss_room")
    return told


def _rule_words(story: Explanation, words: _Words) -> str:
    standard, here = story.standard, _here(story, words)
    if standard is None:
        return ""
    limits = [
        words(
            f"limit_{each.measure}",
            mode=words.term("mode", each.mode),
            limit=words("minutes", value=words.number(each.minutes))
            if each.minutes is not None
            else words.length(each.metres or 0.0),
        )
        for each in standard.alternatives
    ]
    told = words.sentence(
        "rule_setting", setting=_setting(story, words), limits=words("or").join(limits)
    )
    if story.report.access.way(standard, standard.alternatives[0]).direction == "from_facility":
        told += words.sentence("rule_back")
    if len(standard.required_kinds) > 1:
        kinds = [words.term("kind", kind) for kind in standard.required_kinds]
        told += words.sentence("rule_all_kinds", list=words.listed(kinds))
    asked = [words("rule_in_use")]
    for least, key, amount in (
        (standard.min_floor_area_m2, "rule_area", words.area),
        (standard.min_hours_per_day, "rule_hours", lambda v: words("hours", value=words.number(v))),
        (standard.capacity_m2_per_100_households, "rule_room", words.area),
    ):
        if least is not None:
            asked.append(words(key, value=amount(least)))
    told += words.sentence("rule_facility", list=words.listed(asked))
    group = words.term("group", standard.population)
    share = words.share(standard.unit_share)
    told += words.sentence("rule_share", here=here, share=share, group=group)
    if standard.on_ledger:
        told += words.sentence("rule_ledger")
    return told + words.sentence(
        "rule_source",
        source=standard.source or words("no_source"),
        verified=words("verified" if standard.verified else "not_verified"),
    )


def _gap_words(story: Explanation, words: _Words) -> str:
    standard, points = story.standard, story.points
    if standard is None:
        return ""
    told, here = "", _here(story, words)
    if math.isnan(story.unit.people):
        group = words.term("group", standard.population)
        told += words.sentence("gap_unit_people", here=here, group=group)
    silent = int(points["people"].isna().sum())
    if silent:
        told += words.sentence("gap_people", count=str(silent))
    demand = story.report.demand
    mine = _is(demand["unit_code"], story.unit.unit_code)
    if "source" in demand and (demand.loc[mine, "source"] == "assumed").any():
        told += words.sentence("gap_assumed")
    for reason in ("off_network", "island"):
        lost = points[points["reason"] == reason]
        if len(lost):
            named = lost["name"].fillna(lost["demand_id"])
            told += words.sentence("gap_off", list=_some(named, words), reason=words.reason(reason))
    kept = story.ledger
    silent_hosts = kept["host"].fillna(kept["name"]).fillna(kept["facility_id"])
    facilities = story.report.facilities.set_index("facility_id")
    placeless = facilities.geometry.isna().reindex(kept["facility_id"]).to_numpy(dtype=bool)
    for key, rows in (
        ("gap_area", kept["floor_area_m2"].isna() & (standard.min_floor_area_m2 is not None)),
        ("gap_hours", kept["hours_per_day"].isna() & (standard.min_hours_per_day is not None)),
        ("gap_status", kept["status"] == "unknown"),
        ("gap_place", placeless & (kept["status"] != "shared")),
    ):
        if rows.any():
            told += words.sentence(key, list=_some(silent_hosts[rows], words))
    return told or words.sentence("gap_none")


def _some(names: pd.Series, words: _Words) -> str:
    quoted = [words.quoted(name) for name in names.tolist()]
    if len(quoted) <= _NEAR_NAMES:
        return words.listed(quoted)
    first = words.listed(quoted[:_NEAR_NAMES])
    return words("gap_more", list=first, count=str(len(quoted)))


# --- the map -------------------------------------------------------------------------------------

_INK = "#1b2733"
_UNIT_LINE = "#11181f"
# Colours and shapes, for black and white paper too: fill, shape.
_LOOKS = {
    "covered": ("#1A9850", '<circle cx="9" cy="9" r="6.5"/>'),
    "uncovered": ("#D73027", '<path d="M9 1.5L16.5 9L9 16.5L1.5 9Z"/>'),
    "unknown": ("#8b8f94", '<rect x="3" y="3" width="12" height="12"/>'),
    "not_applicable": ("#66717c", '<circle cx="9" cy="9" r="4"/>'),
}
_ROUTE_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "next_nearest": {"color": "#6a1b8a", "weight": 3, "dash_array": "2 6"},
    "nearest": {"color": "#1d5c8a", "weight": 6, "dash_array": None},
    "on_foot": {"color": "#e07b00", "weight": 2.5, "dash_array": "7 5"},
}
_ROAD_LOOKS = {
    "path": ("#c9c3b4", 0.7),
    "local": ("#c2bbaa", 1.0),
    "tertiary": ("#b3ab98", 1.5),
    "secondary": ("#cdb98a", 2.2),
    "primary": ("#e0b36a", 2.8),
    "trunk": ("#e39a5c", 3.2),
}
_MARGIN = 0.12
_LEAST_MARGIN_M = 250.0
_SIMPLER_M = 4.0
_WIDTH_TO_HEIGHT, _HEIGHT_TO_WIDTH = 3.4, 0.9
_TRIANGLE = '<path d="M9 2L16.5 15.5L1.5 15.5Z"/>'


class _StoryMap(OfflineMap):
    """An offline map of folium's own layers, with a title, a legend and the stamps around it."""

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            var {{ this.get_name() }} = L.map({{ this.get_name()|tojson }}, {
                center: {{ this.location|tojson }},
                ...{{ this.options|tojavascript }}
            });
            L.control.scale({imperial: false}).addTo({{ this.get_name() }});
        {% endmacro %}
        """
    )

    def render(self, **kwargs: Any) -> None:
        """Write the page's parts into the figure that holds the map."""
        figure = self.get_root()
        if not isinstance(figure, Figure):
            raise TypeError("the map can only be rendered inside a branca Figure")
        figure.title = html.escape(str(self._payload["title"]))
        figure.header.add_child(Verbatim(page_head()), name="facility_coverage_head")
        body = _map_body(self._payload, name=self.get_name(), lang=self._lang)
        figure.html.add_child(Verbatim(body), name=f"{self.get_name()}_page")
        super(OfflineMap, self).render(**kwargs)


def _map_body(payload: Mapping[str, Any], *, name: str, lang: str) -> str:
    text = labels("map", lang)
    safe = {key: html.escape(str(payload[key])) for key in ("title", "subtitle", "stamp", "source")}
    north = (
        '<svg width="24" height="32" viewBox="0 0 24 32" aria-hidden="true">'
        f'<path d="M12 1L20 31L12 25Z" fill="{_INK}"/>'
        f'<path d="M12 1L4 31L12 25Z" fill="#fff" stroke="{_INK}"/></svg>'
    )
    corner = "position:absolute;z-index:800"
    return f"""
<div class="fc-page" id="{name}_page" lang="{"zh-CN" if lang == "zh" else "en"}">
  <header class="fc-head"><h1 class="fc-title">{safe["title"]}</h1>
  <p class="fc-subtitle"><span>{safe["subtitle"]}</span></p></header>
  <div class="fc-main"><div class="fc-stage">
    <div class="folium-map" id="{name}"></div>
    <div class="fc-north" style="{corner};right:10px;top:10px">{north}{text["north"]}</div>
    <div class="fc-legend" style="{corner};left:10px;bottom:32px">{payload["legend"]}</div>
  </div></div>
  <footer class="fc-foot"><span class="fc-stamp">{safe["stamp"]}</span>
  <span class="fc-source">{text["source"]}{text["colon"]}{safe["source"]}</span>
  <span>{text["drawn_on"]}{text["colon"]}{payload["date"]}</span></footer>
</div>
"""


def _chart(story: Explanation, words: _Words) -> OfflineMap:
    report, metric = story.report, story.report.roads.crs
    around = _facilities_around(story)
    box = _box(story, around)
    degrees = gpd.GeoSeries([shapely.box(*box)], crs=metric).to_crs(WGS84).total_bounds
    payload = {
        "title": words("map_title", unit=story.unit.name, kind=words.term("kind", story.kind)),
        "subtitle": _summary_words(story, words).strip(),
        "stamp": _stamp(story, words.lang),
        "source": source_line(report, labels("map", words.lang)),
        "date": dt.date.today().isoformat(),  # noqa: DTZ011 - the reader's own day
        "legend": _legend(story, around.cx[box[0] : box[2], box[1] : box[3]]["fit"], words),
    }
    chart = _StoryMap(payload, lang=words.lang, bounds=[float(value) for value in degrees])
    chart.options["attributionControl"] = False
    _draw_roads(chart, story, box)
    _draw_unit(chart, story)
    for purpose, look in _ROUTE_LOOKS.items():
        route = _route_for(story, purpose)
        if route is not None and not route.reason:
            _draw_route(chart, story, route, look, words)
    _draw_facilities(chart, story, around, box, words)
    _draw_points(chart, story, words)
    west, south, east, north = (float(value) for value in degrees)
    # Room for the legend at the left, and for names at the right.
    room = {"padding_top_left": (210, 24), "padding_bottom_right": (90, 24)}
    chart.fit_bounds([[south, west], [north, east]], **room)
    return chart


def _facilities_around(story: Explanation) -> gpd.GeoDataFrame:
    """Give the placed facilities of the kinds asked for, and whether each qualifies."""
    report, standard = story.report, story.standard
    kinds = (story.kind,) if standard is None else standard.required_kinds
    if len(story.trades):  # of a circle of many kinds the one that decides, and the nearest others
        kinds = tuple(story.trades.loc[story.trades["decided"], "kind"])
    table = report.facilities.geometry.to_crs(report.roads.crs)
    fit = np.zeros(len(table), dtype=bool)
    for pool in [] if standard is None else pools_of(standard):
        fit |= report.access.searches.members(pool)
    chosen = report.facilities["kind"].isin(kinds).to_numpy(dtype=bool) & table.notna().to_numpy()
    chosen &= ~_is(report.facilities["status"], "shared")
    chosen |= report.facilities["facility_id"].isin(story.trades["facility_id"].dropna()).to_numpy()
    frame = report.facilities.assign(fit=fit, geometry=table)
    return frame[chosen].set_crs(report.roads.crs, allow_override=True)


def _box(story: Explanation, around: gpd.GeoDataFrame) -> tuple[float, float, float, float]:
    """Give what the map shows, in the CRS of the roads: the unit, its points and the routes."""
    report, metric = story.report, story.report.roads.crs
    unit = report.units[_is(report.units["unit_code"], story.unit.unit_code)].geometry.to_crs(
        metric
    )
    ways = [one.route.geometry for one in story.routes if not one.reason]
    routes = gpd.GeoSeries(ways, crs=story.points.crs).to_crs(metric)
    shown = {one.facility_id for one in story.routes}
    places = around.geometry[around["facility_id"].isin(shown)]
    layers = (unit, routes, places, story.points.geometry.to_crs(metric))
    bounds = np.array([layer.total_bounds for layer in layers if layer.notna().any()])
    west, south = np.nanmin(bounds[:, :2], axis=0)
    east, north = np.nanmax(bounds[:, 2:], axis=0)
    margin = max(_LEAST_MARGIN_M, _MARGIN * max(east - west, north - south))
    return west - margin, south - margin, east + margin, north + margin


def _locations(shapes: Sequence[Any], crs: Any) -> list[list[list[float]]]:
    """Give lines as folium wants them: latitude and longitude, to about a metre."""
    lines = gpd.GeoSeries(list(shapes), crs=crs).to_crs(WGS84)
    return [
        np.round(shapely.get_coordinates(line)[:, ::-1], 5).tolist()
        for line in lines
        if line is not None and not line.is_empty
    ]


def _under(shape: folium.PolyLine | folium.Polygon, chart: OfflineMap) -> None:
    """Put on the map what is only to be looked at: pointing at it goes to what lies below."""
    shape.options["interactive"] = False
    shape.add_to(chart)


def _draw_roads(
    chart: OfflineMap, story: Explanation, box: tuple[float, float, float, float]
) -> None:
    edges = story.report.roads.edges
    west, south, east, north = box
    # The roads go on to the edges of a page that is wider or higher than what it shows.
    aside = max(0.0, _WIDTH_TO_HEIGHT * (north - south) - (east - west)) / 2
    above = max(0.0, _HEIGHT_TO_WIDTH * (east - west) - (north - south)) / 2
    page = shapely.box(west - aside, south - above, east + aside, north + above)
    near = np.sort(edges.sindex.query(page, predicate="intersects"))
    kinds = np.array([road_class(edges["highway"].iloc[i]) for i in near.tolist()], dtype=object)
    shapes = shapely.simplify(np.asarray(edges.geometry.array)[near], _SIMPLER_M)
    for kind, (colour, weight) in _ROAD_LOOKS.items():
        lines = _locations(shapes[kinds == kind].tolist(), edges.crs)
        if lines:
            _under(folium.PolyLine(lines, color=colour, weight=weight, opacity=1.0), chart)


def _draw_unit(chart: OfflineMap, story: Explanation) -> None:
    units = story.report.units
    outline = units[_is(units["unit_code"], story.unit.unit_code)].geometry
    look = {"color": _UNIT_LINE, "weight": 2.2, "dash_array": "6 4", "fill_opacity": 0.05}
    for part in shapely.get_parts(outline.array):
        if part.geom_type == "Polygon":
            rings = _locations([part.exterior, *part.interiors], units.crs)
            _under(folium.Polygon(rings, fill=True, fill_color=_INK, **look), chart)


def _draw_route(
    chart: OfflineMap,
    story: Explanation,
    route: ExplainedRoute,
    look: Mapping[str, Any],
    words: _Words,
) -> None:
    line = _locations([route.route.geometry], story.points.crs)
    told = [
        label("explain_route", route.purpose, words.lang),
        _facility(story, route.facility_id, words),
        words.by(route.way.mode, route.way.measure),
        words("minutes", value=words.number(route.minutes)),
    ]
    if route.purpose != "on_foot":  # on foot the way is often the same: it lies on the other
        casing = {"color": "#ffffff", "weight": look["weight"] + 3, "opacity": 0.8}
        _under(folium.PolyLine(line, **casing), chart)
    hint = folium.Tooltip(_markup(words("comma").join(told)))
    folium.PolyLine(line, tooltip=hint, opacity=1.0, **look).add_to(chart)


def _markup(text: str) -> str:
    """Write a name as markup that neither the page, nor its script, nor its template can read.

    Examples
    --------
    >>> _markup("<b>${{ 1 }}`")
    '&#60;b&#62;&#36;&#123;&#123; 1 &#125;&#125;&#96;'
    """
    return "".join(f"&#{ord(each)};" if each in "<>&\"'`$\\{}%" else each for each in text)


def _mark(shape: str, fill: str, *, size: int = 18, ring: str = "#ffffff") -> str:
    return (
        f'<svg width="{size}" height="{size}" viewBox="0 0 18 18" aria-hidden="true">'
        f'<g fill="{fill}" stroke="{ring}" stroke-width="1.6">{shape}</g></svg>'
    )


def _facility_mark(*, fit: bool) -> str:
    return _mark(_TRIANGLE, _INK) if fit else _mark(_TRIANGLE, "#ffffff", ring="#66717c")


def _put(chart: OfflineMap, place: Any, mark: str, size: int, told: str, **options: Any) -> None:
    """Put a mark on the map, with words that show on pointing at it, or always."""
    aside = {"left": (-size // 2, 0), "right": (size // 2, 0), "bottom": (0, size // 2)}
    if "direction" in options:
        options["offset"] = aside.get(options["direction"], (0, -size // 2))
    icon = folium.DivIcon(html=mark, icon_size=(size, size), icon_anchor=(size // 2, size // 2))
    hint = folium.Tooltip(_markup(told), sticky=False, **options)
    folium.Marker([round(place.y, 5), round(place.x, 5)], icon=icon, tooltip=hint).add_to(chart)


def _sides(story: Explanation, around: gpd.GeoDataFrame) -> dict[str, str]:
    """Tell on which side of each labelled place its name has room: away from the others."""
    metric = story.report.roads.crs
    places = {}
    if story.typical is not None:
        row = _is(story.points["demand_id"], story.typical)
        places[story.typical] = story.points[row].geometry.to_crs(metric).iloc[0]
    shown = dict.fromkeys(one.facility_id for one in story.routes if one.facility_id is not None)
    for key in shown:
        at = around.geometry[_is(around["facility_id"], key)]
        if len(at):
            places[key] = at.iloc[0]
    order = sorted(places, key=lambda key: (places[key].x, key))
    sides = dict.fromkeys(order, "top")
    middle = np.mean([place.y for place in places.values()]) if places else 0.0
    for key in order[1:-1]:
        sides[key] = "top" if places[key].y >= middle else "bottom"
    if order:
        sides[order[0]], sides[order[-1]] = "left", "right"
    return sides


def _draw_facilities(
    chart: OfflineMap,
    story: Explanation,
    around: gpd.GeoDataFrame,
    box: tuple[float, float, float, float],
    words: _Words,
) -> None:
    west, south, east, north = box
    seen = around.cx[west:east, south:north].to_crs(WGS84)
    sides = _sides(story, around)
    # A composite circle has many facilities: those of the routes last, so that they stay on top.
    for row in (
        seen.assign(last=seen["facility_id"].isin(list(sides)))
        .sort_values("last", kind="stable")
        .itertuples()
    ):
        name = _text(row.name) or row.facility_id
        mark, side = _facility_mark(fit=bool(row.fit)), sides.get(row.facility_id)
        if side is not None:
            _put(chart, row.geometry, mark, 18, name, permanent=True, direction=side)
            continue
        facts = [name, words.term("kind", row.kind), words.term("status", row.status)]
        if story.standard is not None:
            size, hours = _float(row.floor_area_m2), _float(row.hours_per_day)
            facts += _facts(size, hours, story.standard, words)
        _put(chart, row.geometry, mark, 18, words("comma").join(facts))


def _draw_points(chart: OfflineMap, story: Explanation, words: _Words) -> None:
    if story.points.empty:
        return
    sides = _sides(story, _facilities_around(story))
    for row in story.points.to_crs(WGS84).to_dict("records"):
        if row["geometry"] is None or row["geometry"].is_empty:
            continue
        name = _text(row["name"]) or str(row["demand_id"])
        fill, shape = _LOOKS[row["state"]]
        if row["demand_id"] == story.typical:
            side = sides[row["demand_id"]]
            mark = _mark(shape, fill, size=26, ring=_UNIT_LINE)
            _put(chart, row["geometry"], mark, 26, name, permanent=True, direction=side)
            continue
        told = [name, words.state(row["state"], _text(row.get("reason")))]
        if not math.isnan(row.get("minutes", math.nan)):
            trip = (row["minutes"], row["mode"], row["measure"])
            told.append(f"{words.by(row['mode'], row['measure'])} {words.amount(*trip)}")
        _put(chart, row["geometry"], _mark(shape, fill), 18, words("comma").join(told))


def _legend(story: Explanation, fit: pd.Series, words: _Words) -> str:
    """Give the legend as markup: only what the map shows."""
    rows = []
    states = list(story.points["state"]) if len(story.points) else []
    for state, (fill, shape) in _LOOKS.items():
        if state in states:
            rows.append((_mark(shape, fill), words.term("state", state)))
    if story.typical is not None:
        fill, shape = _LOOKS[_typical_row(story)["state"]]
        rows.append((_mark(shape, fill, ring=_UNIT_LINE), words("map_typical")))
    for key, good in (("map_fit", True), ("map_unfit", False)):
        if (fit == good).any():
            rows.append((_facility_mark(fit=good), words(key)))
    for one in story.routes:
        if not one.reason:
            told = label("explain_route", one.purpose, words.lang)
            minutes = words("minutes", value=words.number(one.minutes))
            mode = words.by(one.way.mode, one.way.measure)
            told = told if told == mode else f"{told}{words('open')}{mode}{words('close')}"
            rows.append((_line_mark(**_ROUTE_LOOKS[one.purpose]), f"{told} {minutes}"))
    rows.append((_line_mark(_UNIT_LINE, 2.2, "6 4"), words("map_outline")))
    rows.append((_line_mark(*_ROAD_LOOKS["tertiary"]), words("map_roads")))
    return "".join(
        f'<div class="fc-legend-row">{mark}<span>{html.escape(told)}</span></div>'
        for mark, told in rows
    )


def _line_mark(color: str, weight: float, dash_array: str | None = None) -> str:
    dash = f' stroke-dasharray="{dash_array}"' if dash_array else ""
    return (
        '<svg width="26" height="14" viewBox="0 0 26 14" aria-hidden="true">'
        f'<path d="M1 7H25" stroke="{color}" stroke-width="{weight}"{dash}/></svg>'
    )


# --- the page ------------------------------------------------------------------------------------

_STYLE = """
.fc-story { max-width: 1040px; margin: 0 auto; color: #1b2733; background: #fffdf8;
  font: 15px/1.7 "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC",
  "Helvetica Neue", Arial, sans-serif; padding: 18px 26px 30px; }
.fc-story:lang(en) { font-family: "Helvetica Neue", Arial, "Noto Sans CJK SC", sans-serif; }
.fc-story h1 { margin: 0; font-size: 23px; line-height: 1.35; overflow-wrap: anywhere; }
.fc-story h2 { margin: 22px 0 6px; font-size: 16px; }
.fc-story .fc-place { margin: 2px 0 12px; color: #4d5762; font-size: 13px; }
.fc-story .fc-told { margin: 0 0 9px; overflow-wrap: anywhere; }
.fc-story .fc-told b { color: #1d5c8a; margin-right: .6em; }
.fc-story .fc-first { padding: 9px 13px; border-left: 4px solid #1d5c8a; background: #eef3f7; }
.fc-story .fc-stamp { color: #9b1c13; font-weight: 700; }
.fc-story iframe { display: block; width: 100%; border: 1px solid #d9d3c5; margin: 14px 0; }
.fc-story .fc-scroll { overflow-x: auto; }
.fc-story table { border-collapse: collapse; font-size: 13px; line-height: 1.45; margin: 0; }
.fc-story caption { text-align: left; padding: 4px 0; color: #4d5762; }
.fc-story th, .fc-story td { padding: 3px 9px; border-bottom: 1px solid #e4dfd2; text-align: left;
  font-variant-numeric: tabular-nums; vertical-align: top; word-break: keep-all; }
.fc-story th { border-bottom: 2px solid #1b2733; white-space: nowrap; background: #f6f2e6; }
.fc-story tr.fc-typical td { background: #eef3f7; font-weight: 700; }
@media print { .fc-story { padding: 0; } .fc-story iframe { break-inside: avoid; } }
"""


def _page(story: Explanation, words: _Words) -> str:
    """Give the whole page: text, map and tables in one file."""
    lang = "zh-CN" if words.lang == "zh" else "en"
    title = words("title", unit=story.unit.name, kind=words.term("kind", story.kind))
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        "<style>body { margin: 0; background: #f3efe4; }</style></head>\n"
        f"<body>{_fragment(story, words, map_height_px=560)}</body>\n</html>\n"
    )


def _fragment(story: Explanation, words: _Words, *, map_height_px: int) -> str:
    title, place, told = _story(story, words)
    paragraphs = []
    for number, (head, body) in enumerate(told):
        look = " fc-first" if number == 0 else " fc-stamp" if number == len(told) - 1 else ""
        paragraphs.append(
            f'<p class="fc-told{look}"><b>{html.escape(head)}</b>{html.escape(body)}</p>'
        )
    chart = html.escape(_chart(story, words).get_root().render())
    heading = html.escape(
        words("map_title", unit=story.unit.name, kind=words.term("kind", story.kind))
    )
    return (
        f"<style>{_STYLE}</style>\n"
        f'<article class="fc-story" lang="{"zh-CN" if words.lang == "zh" else "en"}">'
        f'<h1>{html.escape(title)}</h1><p class="fc-place">{html.escape(place)}</p>'
        f"{paragraphs[0]}"
        f'<iframe title="{heading}" style="height:{map_height_px}px" srcdoc="{chart}"></iframe>'
        f"{''.join(paragraphs[1:])}{_tables(story, words)}</article>"
    )


def _tables(story: Explanation, words: _Words) -> str:
    parts = []
    if len(story.points) and story.standard is not None:
        parts += [_heading("head_points", words), _point_table(story, words)]
    if len(story.trades):
        parts += [_heading("head_trades", words), _trade_table(story, words)]
    if story.routes:
        parts.append(_heading("head_routes", words))
        parts += [_route_table(story, one, words) for one in story.routes]
    if len(story.ledger):
        parts += [_heading("head_own", words), _ledger_table(story, words)]
    return "".join(parts)


def _heading(key: str, words: _Words) -> str:
    return f"<h2>{html.escape(words(key))}</h2>"


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    marked: int = -1,
) -> str:
    """Write a table of texts as markup; every text is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        ('<tr class="fc-typical">' if number == marked else "<tr>")
        + "".join(f"<td>{html.escape(text)}</td>" for text in row)
        + "</tr>"
        for number, row in enumerate(rows)
    )
    told = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="fc-scroll"><table>{told}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(name: str, value: Any, words: _Words) -> str:
    """Write a value as its column wants it."""
    if name in {"state", "mode", "status", "kind"}:
        return words.term(name, value)
    if name in {"reason", "flag"}:
        return words.reason(_text(value))
    if name == "decided" and not value:
        return ""
    if name in {"required", "official_covered", "decided"}:
        return "" if pd.isna(value) else words("yes" if value else "no")
    if name == "people_share":
        return words.share(value)
    if isinstance(value, float) and not math.isnan(value):
        return (
            words.whole(value) if name in {"people", "length_m", "leg_m"} else words.number(value)
        )
    return _text(value)


def _shown(frame: pd.DataFrame, columns: Sequence[str], words: _Words, *, marked: int = -1) -> str:
    """Write columns of a table as markup; those that say nothing in any row are left out."""
    cells = {
        name: [_cell(name, value, words) for value in frame[name].tolist()] for name in columns
    }
    told = {name: texts for name, texts in cells.items() if any(set(texts) - {words("missing")})}
    rows = [[text or words("missing") for text in row] for row in zip(*told.values(), strict=True)]
    return _table([words.column(name) for name in told], rows, marked=marked)


def _point_table(story: Explanation, words: _Words) -> str:
    columns = (
        "name", "people", "state", "reason", "minutes", "limit_minutes", "mode", "facility",
        "next_facility", "next_minutes", "leg_m", "flag",
    )  # fmt: skip
    points = pd.DataFrame(story.points.drop(columns="geometry"))
    points["name"] = points["name"].fillna(points["demand_id"])
    marked = points["demand_id"].tolist().index(story.typical) if story.typical else -1
    return _shown(points, columns, words, marked=marked)


def _trade_table(story: Explanation, words: _Words) -> str:
    columns = (
        "kind", "required", "state", "reason", "minutes", "limit_minutes", "mode", "facility",
        "people_share", "decided",
    )  # fmt: skip
    marked = story.trades["decided"].tolist().index(True)
    return _shown(story.trades, columns, words, marked=marked)


def _route_table(story: Explanation, one: ExplainedRoute, words: _Words) -> str:
    told = [
        label("explain_route", one.purpose, words.lang),
        _facility(story, one.facility_id, words),
        words.by(one.way.mode, one.way.measure),
    ]
    if one.reason:
        told.append(words.reason(one.reason))
        return f"<p>{html.escape(words('comma').join(told))}</p>"
    if not math.isnan(one.limit_minutes):
        told.append(words.against(one.minutes, one.limit_minutes, one.way.mode, one.way.measure))
    detour = words.number(float(story.report.access.options["leg_detour"]))
    rows = [
        [
            words.column("leg").format(detour=detour)
            if step["part"] == "leg"
            else words.term("way_measure", "straight")
            if step["part"] == "straight"
            else _road_name(step, words, name=_text(step["name"])),
            words.whole(step["length_m"]),
            words("missing") if math.isnan(step["speed_kph"]) else words.number(step["speed_kph"]),
            words.number(step["minutes"]),
        ]
        for step in one.steps.to_dict("records")
    ]
    total = [
        words.column("total"),
        words.whole(one.road_m + one.leg_m),
        "",
        words.number(one.minutes),
    ]
    columns = [words.column(name) for name in ("step", "length_m", "speed_kph", "minutes")]
    return _table(columns, [*rows, total], caption=words("comma").join(dict.fromkeys(told)))


def _ledger_table(story: Explanation, words: _Words) -> str:
    columns = (
        "facility_id", "name", "kind", "status", "floor_area_m2", "hours_per_day", "host",
        "host_unit", "minutes", "mode", "official_covered", "state", "reason",
    )  # fmt: skip
    return _shown(story.ledger, columns, words)
