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

from .demand import area_points, spread_demand
from .errors import InputError
from .network import RoadNetwork
from .search import Nearest, SiteSearch, Trips
from .snapping import Snaps, barrier_shapes, snap, snap_table
from .standards import Plan, Standard

__all__ = [
    "Pool",
    "TravelTimes",
    "minutes_to_facility",
    "pool_members",
    "pools_of",
    "travel_times",
]

Floats = NDArray[np.float64]


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
    barriers : ndarray of geometries or None
        What legs may not cross, in the CRS of the roads.
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
    barriers: NDArray[np.object_] | None = None

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
        if mode not in self.snaps:
            raise InputError(f"mode {mode!r} was not searched; {', '.join(self.snaps)} were")
        table = snap_table(self.snaps[mode], self.demand.geometry, self.roads)
        table.insert(0, "demand_id", self.demand["demand_id"].to_numpy())
        return table

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
    direction : {"to_facility", "from_facility"}
        Which way people travel; it matters on one-way streets and slopes.
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
    homes = np.asarray(demand.geometry.to_crs(roads.crs).array)
    land = np.asarray(area.geometry.array)
    placed = facilities.geometry.notna().to_numpy()
    sites = np.asarray(facilities.geometry.to_crs(roads.crs).array)[placed]
    walls = barrier_shapes(barriers, roads)
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
    joined: dict[Any, tuple[Snaps, ...]] = {}
    for name, pools in by_mode.items():
        travel = plan.modes[name]
        if travel.roads_key not in joined:  # modes that use the same roads join them alike
            joined[travel.roads_key] = tuple(
                snap(points, roads, travel, leg_limit_m=leg_limit_m, barriers=walls)
                for points in (homes, land, sites)
            )
        home_snaps, land_snaps, site_snaps = joined[travel.roads_key]
        snaps[name] = home_snaps
        facility_flags[name] = np.full(len(facilities), "no_place", dtype=object)
        facility_flags[name][site_position] = site_snaps.flag
        trips = Trips(roads.for_mode(travel), leg_detour, direction, engine)
        for pool in pools:
            search = SiteSearch(trips, site_snaps, pool_members(facilities, pool)[placed])
            for points, results in ((home_snaps, nearest), (land_snaps, area_nearest)):
                found = search.nearest(points)
                back = np.append(site_position, -1)[found.facility]
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
            "engine": engine,
            "barriers": barriers is not None,
        },
        barriers=walls,
    )


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
    roads, options, travel = access.roads, access.options, plan.modes[mode]
    site = access.facilities.geometry.iloc[[facility]].to_crs(roads.crs)
    sites = snap(
        np.asarray(site.array),
        roads,
        travel,
        leg_limit_m=options["leg_limit_m"],
        barriers=access.barriers,
    )
    trips = Trips(
        roads.for_mode(travel), options["leg_detour"], options["direction"], options["engine"]
    )
    search = SiteSearch(trips, sites, np.ones(1, dtype=bool), limit_minutes)
    found = search.nearest(access.snaps[mode].take(homes))
    # A road leads there, but it is too long, or one-way: far, not unknown.
    far = np.isin(found.reason, ["beyond_limit", "one_way"])
    return np.where(far, np.inf, found.minutes)
