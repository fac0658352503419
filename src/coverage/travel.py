"""Minutes from where people live to the nearest facility of each kind, over the road network.

One multi-source Dijkstra search a kind and mode, by SciPy's compiled code on arrays. Facilities and
homes join the road at the nearest point of an edge; the walk to it is priced; a facility and a home
on the same edge are reached along it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from .demand import area_points, spread_demand
from .errors import InputError
from .modes import MODES, Mode
from .network import ModeNetwork, RoadNetwork, Snaps, snap
from .standards import Plan, Standard

__all__ = [
    "Nearest",
    "Pool",
    "SiteSearch",
    "TravelTimes",
    "minutes_to_facility",
    "nearest_facility",
    "pool_members",
    "pools_of",
    "travel_times",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MINUTES_PER_METRE_AT_1_KPH = 0.06


class Pool(NamedTuple):
    """Which facilities one search looks for.

    `certain` facilities are known to qualify; where it is False, those whose size or hours are not
    known are looked for too.
    """

    kind: str
    min_floor_area_m2: float | None
    min_hours_per_day: float | None
    certain: bool


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest facility of each point, index by index.

    Attributes
    ----------
    minutes : ndarray of float
        Door to door; NaN where none can be reached.
    facility : ndarray of int
        Position in the table of facilities, -1 where none.
    reason : ndarray of object
        Why none: ``""``, ``"no_facility_of_kind"``, ``"off_network"``, ``"island"``, ``"one_way"``.
    """

    minutes: Floats
    facility: Integers
    reason: NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class TravelTimes:
    """Minutes from every demand point to its nearest facility, by pool and mode.

    Attributes
    ----------
    demand : GeoDataFrame
        The demand points, as `read_demand` gives them.
    area : GeoDataFrame
        Grid points that stand for area (`unit_code`, `area_m2`).
    facilities : GeoDataFrame
        The facilities searched for.
    roads : RoadNetwork
        The roads searched.
    nearest, area_nearest : mapping of (Pool, str) to Nearest
        Results by pool and mode, index by index with `demand` and `area`.
    snaps : mapping of str to Snaps
        By mode, how each demand point joins the road.
    facility_flags : mapping of str to ndarray
        By mode, the flag of each facility's join (see `Snaps`), ``"no_place"`` where it has none.
    options : mapping
        The options they were computed with.
    """

    demand: gpd.GeoDataFrame
    area: gpd.GeoDataFrame
    facilities: gpd.GeoDataFrame
    roads: RoadNetwork
    nearest: Mapping[tuple[Pool, str], Nearest]
    area_nearest: Mapping[tuple[Pool, str], Nearest]
    snaps: Mapping[str, Snaps]
    facility_flags: Mapping[str, NDArray[np.object_]]
    options: Mapping[str, Any]

    @property
    def table(self) -> pd.DataFrame:
        """One row a demand point × kind × mode: minutes, facility_id, reason, tidy.

        Where a plan asks for different sizes of one kind in town and country, `min_floor_area_m2`
        tells the rows apart.
        """
        ids = np.array([*self.facilities["facility_id"], None], dtype=object)
        found = [(pool, mode, one) for (pool, mode), one in self.nearest.items() if pool.certain]
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
                "mode": np.repeat(np.array([mode for _, mode, _ in found], object), count),
                "minutes": np.concatenate([one.minutes for _, _, one in found]),
                "facility_id": ids[np.concatenate([one.facility for _, _, one in found])],
                "reason": np.concatenate([one.reason for _, _, one in found]),
            }
        )

    def __repr__(self) -> str:
        """Say what was searched."""
        kinds = {pool.kind for pool, _ in self.nearest}
        return (
            f"<TravelTimes: {len(self.demand):,} demand points, "
            f"{len(self.facilities):,} facilities of {len(kinds)} kinds, "
            f"modes {', '.join(sorted(self.snaps))}>"
        )

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415 - only a notebook asks for it

        summary = self.table.groupby(["kind", "mode"])["minutes"].describe()[
            ["50%", "max", "count"]
        ]
        summary.columns = ["median minutes", "farthest", "points that reach one"]
        return f"<p>{escape(repr(self)[1:-1])}</p>{summary.round(1).to_html()}"


def pools_of(standard: Standard) -> list[Pool]:
    """Give the pools a standard asks for, one for each kind it needs."""
    return [
        Pool(kind, standard.min_floor_area_m2, standard.min_hours_per_day, certain=True)
        for kind in standard.kinds
    ]


def pool_members(facilities: gpd.GeoDataFrame, pool: Pool) -> NDArray[np.bool_]:
    """Tell which facilities belong to a pool.

    Parameters
    ----------
    facilities : GeoDataFrame
        As `read_facilities` gives them.
    pool : Pool
        Kind, least size and hours; and whether an unknown size or hours may pass.

    Returns
    -------
    ndarray of bool
        Index by index. A facility must be in use and have a place.
    """
    member = (facilities["kind"] == pool.kind) & (facilities["status"] == "in_use")
    member &= facilities.geometry.notna()
    for column, least in (
        ("floor_area_m2", pool.min_floor_area_m2),
        ("hours_per_day", pool.min_hours_per_day),
    ):
        if least is not None:
            enough = facilities[column] >= least
            member &= enough if pool.certain else enough | facilities[column].isna()
    return member.to_numpy(dtype=bool)


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
    direction: str = "to_facility",
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
    direction : {"to_facility", "from_facility"}
        Which way one-way streets are travelled.

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
    if direction not in {"to_facility", "from_facility"}:
        raise InputError(f"direction must be 'to_facility' or 'from_facility', not {direction!r}")
    if leg_limit_m <= 0 or leg_detour < 1:
        raise InputError("leg_limit_m must be above 0 and leg_detour at least 1")
    if facilities.crs is None:
        raise InputError("the facilities have no CRS; set one with .set_crs")
    if demand is None:
        demand = spread_demand(units, roads)
    area = area_points(units, roads.crs, spacing_m=area_spacing_m)
    homes = np.asarray(demand.geometry.to_crs(roads.crs).array)
    land = np.asarray(area.geometry.array)
    placed = facilities.geometry.notna().to_numpy()
    sites = np.asarray(facilities.geometry.to_crs(roads.crs).array)[placed]
    site_position = np.flatnonzero(placed)

    questions = {
        (pool, alternative.mode)
        for standard in plan.standards
        for pool in pools_of(standard)
        for alternative in standard.alternatives
    }
    doubtful = {
        (pool._replace(certain=False), mode)
        for pool, mode in questions
        if (
            pool_members(facilities, pool) != pool_members(facilities, pool._replace(certain=False))
        ).any()
    }
    by_mode: dict[str, list[Pool]] = {}
    for pool, mode in sorted(questions | doubtful, key=str):
        by_mode.setdefault(mode, []).append(pool)

    nearest: dict[tuple[Pool, str], Nearest] = {}
    area_nearest: dict[tuple[Pool, str], Nearest] = {}
    snaps: dict[str, Snaps] = {}
    facility_flags: dict[str, NDArray[np.object_]] = {}
    joined: dict[Any, tuple[Snaps, Snaps, Snaps]] = {}
    for name, pools in by_mode.items():
        travel = plan.modes[name]
        if travel.closed_to not in joined:  # modes that use the same roads join them alike
            joined[travel.closed_to] = tuple(
                snap(points, roads, travel, leg_limit_m=leg_limit_m)
                for points in (homes, land, sites)
            )  # type: ignore[assignment]
        home_snaps, land_snaps, site_snaps = joined[travel.closed_to]
        snaps[name] = home_snaps
        facility_flags[name] = np.full(len(facilities), "no_place", dtype=object)
        facility_flags[name][site_position] = site_snaps.flag
        for pool in pools:
            chosen = pool_members(facilities, pool)[placed]
            search = SiteSearch(roads.for_mode(travel), site_snaps, chosen, leg_detour, direction)
            for points, results in ((home_snaps, nearest), (land_snaps, area_nearest)):
                found = search.nearest(points)
                back = np.where(found.facility >= 0, site_position[found.facility], -1)
                results[(pool, name)] = Nearest(found.minutes, back, found.reason)
    return TravelTimes(
        demand=demand,
        area=area,
        facilities=facilities,
        roads=roads,
        nearest=nearest,
        area_nearest=area_nearest,
        snaps=snaps,
        facility_flags=facility_flags,
        options={
            "leg_limit_m": leg_limit_m,
            "leg_detour": leg_detour,
            "area_spacing_m": area_spacing_m,
            "direction": direction,
        },
    )


def nearest_facility(
    points: gpd.GeoSeries,
    facilities: gpd.GeoSeries,
    roads: RoadNetwork,
    *,
    mode: str | Mode = "walk",
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    direction: str = "to_facility",
) -> pd.DataFrame:
    """Find each point's nearest facility by travel time.

    Parameters
    ----------
    points, facilities : GeoSeries of Point
        In any CRS.
    roads : RoadNetwork
        The roads.
    mode : str or Mode
        How people travel.
    leg_limit_m, leg_detour, direction
        As for `travel_times`.

    Returns
    -------
    DataFrame
        `minutes` (NaN where none), `facility` (index label in `facilities`, missing where none)
        and `reason`, with the index of `points`.
    """
    mode = MODES[mode] if isinstance(mode, str) else mode
    homes = snap(np.asarray(points.to_crs(roads.crs).array), roads, mode, leg_limit_m=leg_limit_m)
    sites = snap(
        np.asarray(facilities.to_crs(roads.crs).array), roads, mode, leg_limit_m=leg_limit_m
    )
    everyone = np.ones(len(facilities), dtype=bool)
    found = SiteSearch(roads.for_mode(mode), sites, everyone, leg_detour, direction).nearest(homes)
    names = facilities.index.to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "minutes": found.minutes,
            "facility": np.where(found.facility >= 0, names[found.facility], None),
            "reason": found.reason,
        },
        index=points.index,
    )


class SiteSearch:
    """One multi-source search: minutes from every node to the nearest chosen site."""

    def __init__(
        self,
        net: ModeNetwork,
        sites: Snaps,
        chosen: NDArray[np.bool_],
        leg_detour: float,
        direction: str,
        limit_minutes: float = np.inf,
    ) -> None:
        self.net, self.sites, self.limit = net, sites, limit_minutes
        self.to_facility = direction == "to_facility"
        self.leg_rate = _MINUTES_PER_METRE_AT_1_KPH * leg_detour / net.mode.leg_speed_kph
        self.site = np.flatnonzero(chosen & (sites.edge >= 0))
        self.any_chosen = bool(chosen.any())
        self.node_minutes, self.node_site = self._run()

    def _ends(self, edge: Integers, fraction: Floats, *, outward: bool) -> tuple[Floats, Floats]:
        """Give minutes between points on edges and their edge's ends u and v.

        `outward` is the way from the point to the ends, otherwise from the ends to the point.
        """
        forward, backward = self.net.forward_minutes[edge], self.net.backward_minutes[edge]
        to_u, to_v = (backward, forward) if outward else (forward, backward)
        # Nothing along an edge that may not be used is infinite, but nothing to go is nothing.
        with np.errstate(invalid="ignore"):
            at_u = np.where(fraction == 0, 0.0, fraction * to_u)
            at_v = np.where(fraction == 1, 0.0, (1 - fraction) * to_v)
        return at_u, at_v

    def _run(self) -> tuple[Floats, Integers]:
        matrix = self.net.reverse_matrix if self.to_facility else self.net.matrix
        n, k = matrix.shape[0], self.site.size
        if k == 0:
            return np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
        edge, fraction = self.sites.edge[self.site], self.sites.fraction[self.site]
        leg = self.sites.leg_m[self.site] * self.leg_rate
        at_u, at_v = self._ends(edge, fraction, outward=not self.to_facility)
        # Each site is one more node with a link to each end of its edge.
        link = np.column_stack([at_u, at_v]) + leg[:, None]
        head = np.column_stack([self.net.u[edge], self.net.v[edge]])
        open_ = np.isfinite(link)
        indptr = np.concatenate(
            [matrix.indptr, matrix.indptr[-1] + np.cumsum(open_.sum(axis=1))]
        ).astype(np.int32)
        joined = csr_array(
            (
                np.concatenate([matrix.data, link[open_]]),
                np.concatenate([matrix.indices, head[open_].astype(np.int32)]),
                indptr,
            ),
            shape=(n + k, n + k),
        )
        minutes, _, origin = dijkstra(
            joined,
            indices=np.arange(n, n + k),
            min_only=True,
            return_predecessors=True,
            limit=self.limit,
        )
        source = np.where(origin[:n] >= n, origin[:n] - n, -1)
        return minutes[:n], np.where(source >= 0, self.site[source], -1)

    def nearest(self, points: Snaps) -> Nearest:
        """Give each point's nearest chosen site."""
        count = points.edge.size
        minutes = np.full(count, np.inf)
        site = np.full(count, -1, dtype=np.int64)
        joined = np.flatnonzero(points.edge >= 0)
        edge, fraction = points.edge[joined], points.fraction[joined]
        at_u, at_v = self._ends(edge, fraction, outward=self.to_facility)
        via_u = at_u + self.node_minutes[self.net.u[edge]]
        via_v = at_v + self.node_minutes[self.net.v[edge]]
        best = np.minimum(via_u, via_v)
        end = np.where(via_u <= via_v, self.net.u[edge], self.net.v[edge])
        leg = points.leg_m[joined] * self.leg_rate
        minutes[joined], site[joined] = best + leg, self.node_site[end]
        self._along_same_edge(points, joined, leg, minutes, site)

        reached = np.isfinite(minutes)
        site[~reached] = -1
        reason = np.full(count, "", dtype=object)
        reason[~reached] = self._why_not(points, ~reached)
        return Nearest(np.where(reached, minutes, np.nan), site, reason)

    def _along_same_edge(
        self, points: Snaps, joined: Integers, leg: Floats, minutes: Floats, site: Integers
    ) -> None:
        """Improve the minutes of points that share an edge with a site, going along that edge."""
        order = self.site[np.argsort(self.sites.edge[self.site], kind="stable")]
        site_edge = self.sites.edge[order]
        low = np.searchsorted(site_edge, points.edge[joined], side="left")
        high = np.searchsorted(site_edge, points.edge[joined], side="right")
        count = high - low
        if not count.any():
            return
        who = np.repeat(np.arange(joined.size), count)
        step = np.arange(who.size) - np.repeat(np.cumsum(count) - count, count)
        other = order[low[who] + step]
        edge = points.edge[joined[who]]
        way = self.sites.fraction[other] - points.fraction[joined[who]]
        way = way if self.to_facility else -way
        forward, backward = self.net.forward_minutes[edge], self.net.backward_minutes[edge]
        with np.errstate(invalid="ignore"):
            along = np.where(way == 0, 0.0, np.where(way > 0, way * forward, -way * backward))
        total = along + leg[who] + self.sites.leg_m[other] * self.leg_rate
        ranked = np.lexsort((other, total, who))
        first = ranked[np.r_[True, who[ranked][1:] != who[ranked][:-1]]]
        target = joined[who[first]]
        better = total[first] < minutes[target]
        minutes[target[better]] = total[first][better]
        site[target[better]] = other[first][better]

    def _why_not(self, points: Snaps, lost: NDArray[np.bool_]) -> NDArray[np.object_]:
        """Give the reason why points reach no chosen site."""
        reason = np.full(int(lost.sum()), "island", dtype=object)
        component = points.component[lost]
        pieces = np.unique(self.sites.component[self.site])
        # The road leads there, but not in the direction that is allowed.
        reason[np.isin(component, pieces) & (component >= 0)] = "one_way"
        reason[points.edge[lost] < 0] = "off_network"
        if self.site.size == 0:
            reason[:] = "off_network"  # every facility lies too far from any road
        if not self.any_chosen:
            reason[:] = "no_facility_of_kind"
        return reason


def minutes_to_facility(
    access: TravelTimes,
    plan: Plan,
    facility: int,
    homes: NDArray[np.int64],
    *,
    mode: str,
    limit_minutes: float,
) -> Floats:
    """Give minutes from some demand points to one given facility (not the nearest one).

    Parameters
    ----------
    access : TravelTimes
        Its roads, demand points and options are used.
    plan : Plan
        Defines the modes.
    facility : int
        Position in ``access.facilities``.
    homes : ndarray of int
        Positions in ``access.demand``.
    mode : str
        How people travel.
    limit_minutes : float
        How far to search; the answer up to here is exact.

    Returns
    -------
    ndarray of float
        Door to door; infinite where it is farther than the limit, NaN where the data do not tell.
    """
    roads, options = access.roads, access.options
    site = access.facilities.geometry.iloc[[facility]].to_crs(roads.crs)
    sites = snap(
        np.asarray(site.array), roads, plan.modes[mode], leg_limit_m=options["leg_limit_m"]
    )
    search = SiteSearch(
        roads.for_mode(plan.modes[mode]),
        sites,
        np.ones(1, dtype=bool),
        options["leg_detour"],
        options["direction"],
        limit_minutes,
    )
    joined = access.snaps[mode]
    some = Snaps(*(getattr(joined, name)[homes] for name in Snaps.__dataclass_fields__))
    found = search.nearest(some)
    # Reached by the road but not within the limit, or not along one-way streets: far, not unknown.
    far = np.isnan(found.minutes) & (found.reason == "one_way")
    return np.where(far, np.inf, found.minutes)
