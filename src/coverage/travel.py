"""Minutes from where people live to the nearest facility of each kind, over the road network.

One multi-source Dijkstra search a kind and way of travelling, by SciPy's compiled code on arrays.
Facilities and homes join the road at the nearest point of an edge; the walk to it is priced; a
facility and a home on the same edge are reached along it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .demand import area_points, spread_demand
from .errors import InputError
from .modes import MINUTES_PER_METRE_AT_1_KPH, Mode
from .network import RoadNetwork
from .search import (
    Nearest,
    SiteSearch,
    StraightSearch,
    Trips,
    pair_minutes,
)
from .snapping import Snaps, barrier_shapes, snap, snap_table
from .standards import Alternative, Plan, Standard, Way

__all__ = [
    "Pool",
    "Question",
    "Searches",
    "TravelTimes",
    "agreed_minutes",
    "next_nearest",
    "pools_of",
    "travel_times",
    "with_leg_detour",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]


class Pool(NamedTuple):
    """Which facilities one search looks for.

    `quality` is one of

    - ``"certain"``: those known to be in use, large and long enough open;
    - ``"perhaps"``: also those for which one of these is not known;
    - ``"any"``: also those known not to qualify, to tell why nobody is served.

    `inside` leaves out those beyond the county's border (县外).
    """

    kind: str
    min_floor_area_m2: float | None
    min_hours_per_day: float | None
    quality: str = "certain"
    inside: bool = False


Question = tuple[Pool, Way]


class Joins(NamedTuple):
    """How points join the roads that some modes may use, index by index with their tables."""

    homes: Snaps
    land: Snaps
    sites: Snaps


class Places(NamedTuple):
    """Coordinates in the CRS of the roads, index by index with their tables; NaN where no place."""

    homes: Floats
    land: Floats
    sites: Floats


class FacilityColumns(NamedTuple):
    """What decides whether a facility qualifies, index by index with the facilities."""

    kind: Objects
    status: Objects
    floor_area_m2: Floats
    hours_per_day: Floats
    placed: NDArray[np.bool_]

    @classmethod
    def of(cls, facilities: gpd.GeoDataFrame) -> FacilityColumns:
        """Take them from the table."""
        return cls(
            facilities["kind"].to_numpy(dtype=object),
            facilities["status"].to_numpy(dtype=object),
            facilities["floor_area_m2"].to_numpy(dtype=float),
            facilities["hours_per_day"].to_numpy(dtype=float),
            facilities.geometry.notna().to_numpy(),
        )


@dataclass(frozen=True, eq=False)
class Searches:
    """All that a search for facilities needs.

    Attributes
    ----------
    facilities : GeoDataFrame
        The facilities searched for.
    outside : ndarray of bool
        Which of them lie beyond every unit (县外).
    roads : RoadNetwork
        The roads searched.
    modes : mapping of str to Mode
        The modes searched by.
    xy : Places
        Where demand points, area points and facilities are.
    joins : mapping of str to Joins
        By mode, how they join the roads.
    options : mapping
        The options of `travel_times`.
    barriers : ndarray of geometries or None
        What no way between a point and the road crosses, in the CRS of the roads.
    """

    facilities: gpd.GeoDataFrame
    outside: NDArray[np.bool_]
    roads: RoadNetwork
    modes: Mapping[str, Mode]
    xy: Places
    joins: Mapping[str, Joins]
    options: Mapping[str, Any]
    barriers: Objects | None = None

    @cached_property
    def columns(self) -> FacilityColumns:
        """What decides whether a facility qualifies, as plain arrays."""
        return FacilityColumns.of(self.facilities)

    def members(self, pool: Pool) -> NDArray[np.bool_]:
        """Tell which facilities belong to a pool: they must have a place.

        One that is only planned, or only a note of sharing, belongs to none.
        """
        columns = self.columns
        member = columns.placed & (columns.kind == pool.kind)
        if pool.inside:
            member &= ~self.outside
        if pool.quality == "any":
            return member & ~np.isin(columns.status, ["planned", "shared"])
        perhaps = pool.quality == "perhaps"
        member &= np.isin(columns.status, ["in_use", "unknown"] if perhaps else ["in_use"])
        for value, least in (
            (columns.floor_area_m2, pool.min_floor_area_m2),
            (columns.hours_per_day, pool.min_hours_per_day),
        ):
            if least is not None:
                member &= (value >= least) | (np.isnan(value) if perhaps else False)
        return member

    def trips(self, way: Way) -> Trips:
        """Give how trips over the roads are made."""
        mode = self.modes[way.mode]
        if way.measure == "network":
            mode = _on_the_level(mode)
        detour, engine = self.options["leg_detour"], self.options["engine"]
        return Trips(self.roads.for_mode(mode), detour, way.direction, engine)

    def search(
        self, chosen: NDArray[np.bool_], way: Way, *, limit_minutes: float = np.inf
    ) -> SiteSearch | StraightSearch:
        """Search from the chosen facilities."""
        if way.measure == "straight":
            speed_kph = self.modes[way.mode].speed_kph
            return StraightSearch(self.xy.sites, chosen, speed_kph, limit_minutes)
        return SiteSearch(self.trips(way), self.joins[way.mode].sites, chosen, limit_minutes)

    def answer(
        self,
        search: SiteSearch | StraightSearch,
        way: Way,
        points: Integers | slice = slice(None),
        *,
        table: str = "homes",
    ) -> Nearest:
        """Give what a search found for some points of a table."""
        if isinstance(search, StraightSearch):
            return search.nearest(getattr(self.xy, table)[points])
        return search.nearest(getattr(self.joins[way.mode], table).take(points))

    def answers(
        self, pool: Pool, way: Way, *, land: bool
    ) -> Iterator[tuple[Pool, Nearest, Nearest | None]]:
        """Search for a pool, and for those beside it that would be answered otherwise."""
        known: list[NDArray[np.bool_]] = []
        for quality in ("certain", "perhaps", "any"):
            chosen = self.members(pool._replace(quality=quality))
            if any((chosen == one).all() for one in known):
                continue
            known.append(chosen)
            with_land = land and quality != "any"
            found = self._both(chosen, way, land=with_land)
            yield (pool._replace(quality=quality), *found)
            served = np.concatenate([one.facility for one in found if one is not None])
            if quality != "any" and self.outside[served[served >= 0]].any():
                found = self._both(chosen & ~self.outside, way, land=with_land)
                yield (pool._replace(quality=quality, inside=True), *found)

    def _both(
        self, chosen: NDArray[np.bool_], way: Way, *, land: bool
    ) -> tuple[Nearest, Nearest | None]:
        search = self.search(chosen, way)
        homes = self.answer(search, way)
        return homes, self.answer(search, way, table="land") if land else None


@dataclass(frozen=True, eq=False)
class TravelTimes:
    """Minutes from every demand point to its nearest facility, by pool and way.

    Attributes
    ----------
    demand : GeoDataFrame
        The demand points, as `read_demand` gives them.
    area : GeoDataFrame
        Grid points that stand for area (`unit_code`, `area_m2`).
    searches : Searches
        What was searched, and how.
    nearest, area_nearest : mapping of (Pool, Way) to Nearest
        Results by pool and way, index by index with `demand` and `area`. Pools that would give the
        same as a plainer one were not searched for.
    """

    demand: gpd.GeoDataFrame
    area: gpd.GeoDataFrame
    searches: Searches
    nearest: Mapping[Question, Nearest]
    area_nearest: Mapping[Question, Nearest]

    @property
    def facilities(self) -> gpd.GeoDataFrame:
        """The facilities searched for."""
        return self.searches.facilities

    @property
    def roads(self) -> RoadNetwork:
        """The roads searched."""
        return self.searches.roads

    @property
    def options(self) -> Mapping[str, Any]:
        """The options the minutes were computed with."""
        return self.searches.options

    @property
    def snaps(self) -> dict[str, Snaps]:
        """By mode, how each demand point joins the road."""
        return {mode: joins.homes for mode, joins in self.searches.joins.items()}

    def way(self, standard: Standard, alternative: Alternative) -> Way:
        """Give the way an alternative of a standard was searched by."""
        return _way(standard, alternative, self.options["direction"])

    @property
    def table(self) -> pd.DataFrame:
        """One row a demand point × kind × way: minutes, facility_id, reason, tidy.

        Where a plan asks for different sizes of one kind in town and country, `min_floor_area_m2`
        tells the rows apart. Where `measure` is not ``"time"`` the minutes are those of the metres
        at the mode's speed on the level.
        """
        ids = np.array([*self.facilities["facility_id"], None], dtype=object)
        found = [
            (pool, way, one)
            for (pool, way), one in self.nearest.items()
            if pool.quality == "certain" and not pool.inside
        ]
        times, count = len(found), len(self.demand)
        least = [
            np.nan if pool.min_floor_area_m2 is None else pool.min_floor_area_m2
            for pool, _, _ in found
        ]
        return pd.DataFrame(
            {
                "demand_id": np.tile(self.demand["demand_id"].to_numpy(dtype=object), times),
                "unit_code": np.tile(self.demand["unit_code"].to_numpy(dtype=object), times),
                "kind": np.repeat(np.array([pool.kind for pool, _, _ in found], object), count),
                "min_floor_area_m2": np.repeat(np.array(least, dtype=float), count),
                **{
                    name: np.repeat(np.array([getattr(way, name) for _, way, _ in found]), count)
                    for name in Way._fields
                },
                "minutes": np.concatenate([one.minutes for _, _, one in found]),
                "facility_id": ids[np.concatenate([one.facility for _, _, one in found])],
                "reason": np.concatenate([one.reason for _, _, one in found]),
            }
        )

    def snap_table(self, mode: str) -> gpd.GeoDataFrame:
        """Show how every demand point joins the roads in a mode.

        Parameters
        ----------
        mode : str
            One of the plan's modes.

        Returns
        -------
        GeoDataFrame
            One row a demand point, with the index of `demand`: `demand_id`, `leg_m`, `edge`,
            `fraction`, `highway`, `road`, `component`, `flag` and the leg as geometry (see
            `facility_coverage.join_points`).
        """
        if mode not in self.searches.joins:
            raise InputError(
                f"mode {mode!r} was not searched; {', '.join(self.searches.joins)} were"
            )
        table = snap_table(self.searches.joins[mode].homes, self.demand.geometry, self.roads)
        table.insert(0, "demand_id", self.demand["demand_id"].to_numpy())
        return table

    def __repr__(self) -> str:
        """Say what was searched."""
        kinds = {pool.kind for pool, _ in self.nearest}
        return (
            f"<TravelTimes: {len(self.demand):,} demand points, "
            f"{len(self.facilities):,} facilities of {len(kinds)} kinds, "
            f"modes {', '.join(sorted(self.searches.joins))}>"
        )

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - only a notebook asks for it

        summary = self.table.groupby(["kind", "mode"])["minutes"].describe()[
            ["50%", "max", "count"]
        ]
        summary.columns = ["median minutes", "farthest", "points that reach one"]
        return f"<p>{escape(repr(self)[1:-1])}</p>{summary.round(1).to_html()}"


def pools_of(standard: Standard) -> list[Pool]:
    """Give the pools a standard asks for, one for each kind it needs, then for further ones."""
    kinds = (*standard.required_kinds, *standard.further_kinds)
    return [Pool(kind, standard.min_floor_area_m2, standard.min_hours_per_day) for kind in kinds]


def _way(standard: Standard, alternative: Alternative, direction: str | None) -> Way:
    way = standard.way(alternative)
    return way if direction is None else way._replace(direction=direction)


def _on_the_level(mode: Mode) -> Mode:
    """Give the mode whose minutes are its metres at its own speed: no class, slope or junction."""
    return replace(
        mode,
        leg_speed_kph=mode.speed_kph,
        speeds_kph={},
        stated_speed=False,
        slope="",
        junction_delay_s=0.0,
    )


def travel_times(
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
    roads: RoadNetwork,
    plan: Plan,
    *,
    demand: gpd.GeoDataFrame | None = None,
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    area_spacing_m: float = 500.0,
    direction: str | None = None,
    barriers: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
    engine: str = "scipy",
) -> TravelTimes:
    """Find every demand point's nearest facility of every kind the plan asks for.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.
    facilities : GeoDataFrame
        As `read_facilities` gives them, in any CRS.
    roads : RoadNetwork
        As `read_roads` gives it. Roads beyond the county's border count.
    plan : Plan
        Its standards say which kinds, modes and least sizes are searched for.
    demand : GeoDataFrame, optional
        Where people live, as `read_demand` gives it. Without it people are assumed to live evenly
        along each unit's roads, and the results say so (`source` = ``"assumed"``).
    leg_limit_m : float
        A point farther than this from any usable road is ``off_network``: cannot tell.
    leg_detour : float
        How much longer the walk from a point to the road is than the straight line.
    area_spacing_m : float
        Width of the grid that measures covered area.
    direction : {"to_facility", "from_facility"}, optional
        Which way people travel, instead of what each standard says; it matters on one-way streets
        and slopes.
    barriers : GeoDataFrame or GeoSeries, optional
        Lines or areas (a river, a railway) that the straight way between a point and the road may
        not cross, in any CRS. Roads themselves cross them: `close_roads` closes roads.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths: SciPy's compiled Dijkstra, or networkx, slowly, as a check.

    Returns
    -------
    TravelTimes
        Minutes door to door with the facility's identity, and a reason where there is none.

    Raises
    ------
    InputError
        Where a table lacks its CRS or an option is out of range.

    Notes
    -----
    Facilities beyond the units count; they are searched without them too where it matters. Where
    size, hours or status of some are not known, or some do not qualify, those are searched for
    too, so that the verdict can say "cannot tell", or why.

    Each search is one multi-source run of ``scipy.sparse.csgraph.dijkstra`` from the facilities
    over the reversed network, the facilities being extra nodes with one link to each end of the
    edge they lie on.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> access.table.columns[:3].tolist()
    ['demand_id', 'unit_code', 'kind']
    """
    if not leg_limit_m > 0:
        raise InputError(f"leg_limit_m must be above 0, not {leg_limit_m!r}")
    if facilities.crs is None:
        raise InputError("the facilities have no CRS; set one with .set_crs")
    if demand is None:
        demand = spread_demand(units, roads)
    area = area_points(units, roads.crs, spacing_m=area_spacing_m)
    tables = (demand, area, facilities)
    shapes = [np.asarray(table.geometry.to_crs(roads.crs).array) for table in tables]
    walls = barrier_shapes(barriers, roads)
    asked = _questions(plan, direction)
    modes = {way.mode: plan.modes[way.mode] for _, way in asked}
    searches = Searches(
        facilities=facilities,
        outside=_outside(facilities, units),
        roads=roads,
        modes=modes,
        xy=Places(*(shapely.get_coordinates(shapely.force_2d(_points(each))) for each in shapes)),
        joins=_join(shapes, roads, modes, leg_limit_m, walls),
        options={
            "leg_limit_m": leg_limit_m,
            "leg_detour": leg_detour,
            "area_spacing_m": area_spacing_m,
            "direction": direction,
            "engine": engine,
            "barriers": barriers is not None,
        },
        barriers=walls,
    )
    return _travelled(demand, area, searches, asked)


def with_leg_detour(access: TravelTimes, plan: Plan, leg_detour: float) -> TravelTimes:
    """Give the travel times for another price of the way between points and the road.

    Parameters
    ----------
    access : TravelTimes
        From `travel_times`; points join the roads where they did.
    plan : Plan
        The plan they were computed for.
    leg_detour : float
        How much longer that way is than the straight line.
    """
    searches = replace(access.searches, options={**access.options, "leg_detour": leg_detour})
    asked = _questions(plan, access.options["direction"])
    return _travelled(access.demand, access.area, searches, asked)


def _travelled(
    demand: gpd.GeoDataFrame,
    area: gpd.GeoDataFrame,
    searches: Searches,
    asked: Mapping[Question, bool],
) -> TravelTimes:
    """Search for all that is asked."""
    nearest: dict[Question, Nearest] = {}
    area_nearest: dict[Question, Nearest] = {}
    for pool, way in sorted(asked, key=str):
        for one, homes, land in searches.answers(pool, way, land=asked[pool, way]):
            nearest[one, way] = homes
            if land is not None:
                area_nearest[one, way] = land
    return TravelTimes(demand, area, searches, nearest, area_nearest)


def _questions(plan: Plan, direction: str | None) -> dict[Question, bool]:
    """Give what is to be searched for, and whether for area too."""
    asked: dict[Question, bool] = {}
    for standard in plan.standards:
        as_asked = [group.standard(standard, plan.modes) for group in plan.groups]
        for each, area in (*((one, False) for one in as_asked), (standard, True)):
            for pool in pools_of(each):
                for alternative in each.alternatives:
                    question = (pool, _way(each, alternative, direction))
                    asked[question] = area or asked.get(question, False)
    return asked


def _outside(facilities: gpd.GeoDataFrame, units: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Tell which facilities lie beyond every unit (县外)."""
    shapes = np.asarray(facilities.geometry.to_crs(units.crs).array)
    inside, _ = shapely.STRtree(units.geometry.array).query(shapes, predicate="intersects")
    outside = ~shapely.is_missing(shapes)
    outside[inside] = False
    return outside


def _points(shapes: Objects) -> Objects:
    """Give the points, one without coordinates where there is none."""
    nowhere = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    return np.where(nowhere, shapely.points(np.nan, np.nan), shapes)


def _join(
    shapes: list[Objects],
    roads: RoadNetwork,
    modes: Mapping[str, Mode],
    leg_limit_m: float,
    barriers: Objects | None,
) -> dict[str, Joins]:
    """Join the points of all tables to the roads, by mode."""
    known: dict[object, Joins] = {}
    for mode in modes.values():
        if mode.roads_key not in known:  # modes that use the same roads join them alike
            known[mode.roads_key] = Joins(
                *(_snap(each, roads, mode, leg_limit_m, barriers) for each in shapes)
            )
    return {name: known[mode.roads_key] for name, mode in modes.items()}


def _snap(
    shapes: Objects, roads: RoadNetwork, mode: Mode, leg_limit_m: float, barriers: Objects | None
) -> Snaps:
    """Join points to the roads; what has no place joins none."""
    placed = np.flatnonzero(~shapely.is_missing(shapes))
    snaps = snap(shapes[placed], roads, mode, leg_limit_m=leg_limit_m, barriers=barriers)
    if placed.size == len(shapes):
        return snaps
    return snaps.scattered(placed, len(shapes))


def agreed_minutes(
    access: TravelTimes, facility: Integers, home: Integers, way: Way, *, limit_minutes: float
) -> Floats:
    """Give the minutes of given trips: from each home to a facility of its own.

    Parameters
    ----------
    access : TravelTimes
        Its roads, demand points and options are used.
    facility, home : ndarray of int, shape (n,)
        Positions in ``access.facilities`` and ``access.demand``: one trip each.
    way : Way
        How people travel.
    limit_minutes : float
        How far to search; the answer up to here is exact.

    Returns
    -------
    ndarray of float, shape (n,)
        Door to door; infinite where it is farther than the limit, NaN where the data do not tell.
    """
    searches = access.searches
    if way.measure == "straight":
        metres = np.hypot(*(searches.xy.homes[home] - searches.xy.sites[facility]).T)
        straight = metres * MINUTES_PER_METRE_AT_1_KPH / searches.modes[way.mode].speed_kph
        return np.where(straight > limit_minutes, np.inf, straight)
    joins = searches.joins[way.mode]
    sites, site = np.unique(facility, return_inverse=True)
    points, point = np.unique(home, return_inverse=True)
    at_site, at_point = joins.sites.take(sites), joins.homes.take(points)
    found = pair_minutes(searches.trips(way), at_site, at_point, limit_minutes=limit_minutes)
    order = np.lexsort((found.site, found.point))
    key = (found.point * sites.size + found.site)[order]
    asked = point * sites.size + site
    place = np.minimum(np.searchsorted(key, asked), max(key.size - 1, 0))
    there = key[place] == asked if key.size else np.zeros(asked.size, dtype=bool)
    minutes = found.minutes[order][place] if key.size else np.empty(asked.size)
    # A road leads there, but it is too long, or one-way: far, not unknown.
    led = (at_site.component[site] == at_point.component[point]) & (at_site.edge[site] >= 0)
    return np.where(there, minutes, np.where(led, np.inf, np.nan))


def next_nearest(access: TravelTimes, pool: Pool, way: Way) -> Nearest:
    """Find, for every demand point, the nearest facility of a pool other than its nearest.

    Parameters
    ----------
    access : TravelTimes
        From `travel_times`.
    pool, way : Pool, Way
        What was searched for, and how.

    Returns
    -------
    Nearest
        Where one would go if the nearest closed; index by index with the demand points.
    """
    searches = access.searches
    search = searches.search(searches.members(pool), way)
    first = access.nearest[pool, way]
    if isinstance(search, StraightSearch):
        return search.next_nearest(searches.xy.homes, first)
    return search.next_nearest(searches.joins[way.mode].homes, first)
