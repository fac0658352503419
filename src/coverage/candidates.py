"""What could be done for villages that lack a service facility, and whom each would serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from .assessment import CoverageReport
from .errors import InputError
from .links import link_roads
from .network import RoadNetwork
from .search import Trips, pair_minutes
from .shortfalls import SERVICE, room_in_facilities
from .snapping import snap
from .standards import Standard
from .travel import pools_of
from .verdicts import ROUNDING, people_at

__all__ = ["WORKS", "Candidates", "site_candidates"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

WORKS = ("new_build", "extension", "road_link")  # something is built
_OWN = ("new_build", "extension", "operation")  # for a unit of its own; at most one a unit
_COLUMNS = (
    "candidate",
    "nature",
    "unit_code",
    "host_facility_id",
    "planned_floor_area_m2",
    "added_floor_area_m2",
    "room_households",
    "cost",
)


class Candidates(NamedTuple):
    """Candidate projects, and which villages each would serve.

    Attributes
    ----------
    table : GeoDataFrame
        One row a candidate: `candidate` (its name), `nature` (new_build | extension | operation |
        sharing | road_link), `unit_code` (whose it is; missing for sharing and links),
        `host_facility_id`, `planned_floor_area_m2`, `added_floor_area_m2`, `room_households` (how
        many households it has room for; infinite where that is not asked), `cost` (missing without
        costs), and its place.
    villages : DataFrame
        The villages to serve: `unit_code`, `name`, `households`, `residents`, `elderly`,
        `minutes_beyond` (by how much the facility they reach now is beyond the limit; missing where
        they reach none).
    reach : csr_array of bool, shape (n_villages, n_candidates)
        Which candidate makes the ledger count which village: its own, or one that enough of its
        people reach in time, to be shared by agreement.
    link_hosts : mapping of str to mapping of str to str
        By road link and unit, the facility the unit could share by way of it.
    """

    table: gpd.GeoDataFrame
    villages: pd.DataFrame
    reach: csr_array
    link_hosts: Mapping[str, Mapping[str, str]]


def site_candidates(
    report: CoverageReport,
    roads: RoadNetwork,
    short: pd.DataFrame,
    *,
    sites: gpd.GeoDataFrame | None = None,
    links: gpd.GeoDataFrame | None = None,
    costs: Mapping[str, tuple[float, float]] | None = None,
    spare_minutes: float = 0.0,
) -> Candidates:
    """List what could be done for villages that fail, and whom each would serve.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    roads : RoadNetwork
        The roads.
    short : DataFrame
        From `shortfalls`.
    sites : GeoDataFrame of Point, optional
        Sites for new buildings, instead of the villages' settlements; with columns `cost` and
        `planned_floor_area_m2` where these are known.
    links : GeoDataFrame of LineString, optional
        Road links that could be built, with a column `cost` where known (see `link_roads`).
    costs : mapping of str to (float, float), optional
        By nature, the fixed cost and the cost of each m² added, in 10,000 yuan.
    spare_minutes : float
        How much within the limit a village must reach what it is to share, so that slower roads do
        not undo it.

    Returns
    -------
    Candidates
        New buildings at every settlement that a road joins (none in villages of the merger class),
        extensions and better operation of what there is, agreements with facilities that have
        room, and the links.

    Raises
    ------
    InputError
        Where costs lack a nature that is among the candidates, or a table has no CRS.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> found = fc.site_candidates(report, roads, fc.shortfalls(report))
    >>> sorted(found.table["nature"].unique())
    ['extension', 'new_build', 'operation', 'sharing']
    """
    if not 0 <= spare_minutes < np.inf:
        raise InputError(f"spare_minutes= must be minutes of at least 0, not {spare_minutes!r}")
    standard = _rule(report)
    # The quota is of rural units; what is not known is verified first.
    asked = (short["project"] == "village") & (short["setting"] == "rural")
    failing = short[asked & (short["nature"] != "verify")]
    villages = failing[["unit_code", "name", "households", "residents", "elderly"]].reset_index(
        drop=True
    )
    villages["minutes_beyond"] = _minutes_beyond(report, villages["unit_code"])
    parts = [
        _new_builds(report, roads, failing, sites),
        _own_facilities(report, failing),
        _agreements(report),
    ]
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    table = gpd.GeoDataFrame(table, geometry="geometry", crs=report.units.crs)
    reach = _reach(report, roads, standard, table.geometry, villages["unit_code"], spare_minutes)
    reach = _with_own(reach, table, villages)
    link_hosts: Mapping[str, Mapping[str, str]] = {}
    if links is not None:
        added, columns, link_hosts = _road_links(
            report, roads, standard, links, villages, spare_minutes
        )
        table = gpd.GeoDataFrame(
            pd.concat([table, added], ignore_index=True), geometry="geometry", crs=table.crs
        )
        reach = csr_array(np.hstack([reach.toarray(), columns])) if len(added) else reach
    table["cost"] = _costs(table, costs)
    return Candidates(table[[*_COLUMNS, "geometry"]], villages, reach, link_hosts)


def _rule(report: CoverageReport) -> Standard:
    standard = report.plan.standard(SERVICE, "rural")
    if standard is None:
        raise InputError(f"the plan has no standard for {SERVICE} in rural units")
    return standard


def _minutes_beyond(report: CoverageReport, codes: pd.Series) -> Floats:
    verdicts = report.verdicts[report.verdicts["kind"] == SERVICE].set_index("unit_code")
    verdicts = verdicts.reindex(codes)
    return (verdicts["minutes"] - verdicts["limit_minutes"]).to_numpy(dtype=float)


def _due(report: CoverageReport, failing: pd.DataFrame) -> pd.Series:
    """Give the m² each village is due, by its code; NaN where its households are not known."""
    rules = report.plan.project_rules
    wanted = failing["households"] * rules.floor_area_per_100_households_m2 / 100
    due = wanted.clip(lower=rules.village_floor_area_m2)
    return pd.Series(due.to_numpy(dtype=float), index=failing["unit_code"].to_numpy())


def _room(report: CoverageReport, area_m2: Floats) -> Floats:
    return area_m2 * 100 / report.plan.project_rules.floor_area_per_100_households_m2


def _new_builds(
    report: CoverageReport,
    roads: RoadNetwork,
    failing: pd.DataFrame,
    sites: gpd.GeoDataFrame | None,
) -> pd.DataFrame:
    merger = report.units.loc[report.units["merger_class"], "unit_code"]
    # Where a facility is only closed too long or too small it is that one that is mended.
    building = failing[
        ~failing["unit_code"].isin(merger) & failing["nature"].isin(["new_build", "sharing"])
    ]
    codes = building["unit_code"]
    if sites is None:
        settlements = report.demand.to_crs(report.units.crs)
        settlements = settlements[settlements["unit_code"].isin(codes)]
        shapes = np.asarray(settlements.geometry.to_crs(roads.crs).array)
        flag = snap(shapes, roads, report.plan.modes["walk"]).flag.astype(str)
        joined = pd.Series(np.isin(flag, ["", "joined_main"]), settlements.index)
        # A unit that no road joins builds all the same, in its largest settlement.
        bare = ~settlements["unit_code"].isin(settlements.loc[joined, "unit_code"])
        largest = settlements.sort_values("residents", ascending=False, kind="stable")
        largest = largest.drop_duplicates("unit_code").index
        places = settlements[joined | (bare & settlements.index.isin(largest))]
        names = places["demand_id"].to_numpy(dtype=object)
        given = pd.DataFrame(index=places.index)
    else:
        if sites.crs is None:
            raise InputError("the candidate sites have no CRS; set one with .set_crs")
        # Columns of the units may be there too: where a site lies is what counts.
        stated = sites[[name for name in ("cost", "planned_floor_area_m2") if name in sites]]
        places = gpd.sjoin(
            gpd.GeoDataFrame(stated, geometry=sites.geometry).to_crs(report.units.crs),
            report.units[["unit_code", "geometry"]],
            predicate="intersects",
            rsuffix="unit",
        ).drop_duplicates("geometry")
        places = places[places["unit_code"].isin(codes)]
        names = places.index.astype(str).to_numpy(dtype=object)
        given = places
    due = _due(report, building).reindex(places["unit_code"]).to_numpy(dtype=float)
    area = _given(given, "planned_floor_area_m2", due)
    return pd.DataFrame(
        {
            "candidate": [
                f"new_build:{code}:{name}"
                for code, name in zip(places["unit_code"], names, strict=True)
            ],
            "nature": "new_build",
            "unit_code": places["unit_code"].to_numpy(dtype=object),
            "host_facility_id": None,
            "planned_floor_area_m2": area,
            "added_floor_area_m2": area,
            "room_households": _room(report, area),
            "cost": _given(given, "cost", np.full(len(places), np.nan)),
            "geometry": places.geometry.to_numpy(),
        }
    )


def _given(table: pd.DataFrame, column: str, default: Floats) -> Floats:
    if column not in table:
        return default
    values = table[column].to_numpy(dtype=float)
    return np.where(np.isnan(values), default, values)


def _own_facilities(report: CoverageReport, failing: pd.DataFrame) -> pd.DataFrame:
    """Give the facilities of villages that could be made to qualify."""
    mended = failing[failing["nature"].isin(["extension", "operation"])]
    facilities = report.facilities.set_index("facility_id")
    host = facilities.reindex(mended["host_facility_id"])
    placed = host.geometry.notna().to_numpy()
    mended, host = mended[placed], host[placed]
    due = _due(report, mended).to_numpy()
    has = host["floor_area_m2"].to_numpy(dtype=float)
    extends = (mended["nature"] == "extension").to_numpy()
    area = np.where(extends, np.fmax(due, has), has)
    geometry = gpd.GeoSeries(host.geometry.to_numpy(), crs=report.facilities.crs)
    return pd.DataFrame(
        {
            "candidate": [
                f"{nature}:{code}:{key}"
                for nature, code, key in zip(
                    mended["nature"], mended["unit_code"], host.index, strict=True
                )
            ],
            "nature": mended["nature"].to_numpy(dtype=object),
            "unit_code": mended["unit_code"].to_numpy(dtype=object),
            "host_facility_id": host.index.to_numpy(dtype=object),
            "planned_floor_area_m2": area,
            "added_floor_area_m2": np.where(extends, area - np.nan_to_num(has), 0.0),
            "room_households": _room(report, area),
            "cost": np.nan,
            "geometry": geometry.to_crs(report.units.crs).to_numpy(),
        }
    )


def _hosts(report: CoverageReport) -> gpd.GeoDataFrame:
    """Give the facilities that qualify and have room, with how much."""
    pool = pools_of(_rule(report))[0]
    hosts = report.facilities[report.access.searches.members(pool)].to_crs(report.units.crs)
    room = room_in_facilities(report).reindex(hosts["facility_id"]).to_numpy(dtype=float)
    return hosts.assign(room_households=room)[room > 0]


def _agreements(report: CoverageReport) -> pd.DataFrame:
    hosts = _hosts(report)
    return pd.DataFrame(
        {
            "candidate": [f"sharing:{key}" for key in hosts["facility_id"]],
            "nature": "sharing",
            "unit_code": None,
            "host_facility_id": hosts["facility_id"].to_numpy(dtype=object),
            "planned_floor_area_m2": hosts["floor_area_m2"].to_numpy(dtype=float),
            "added_floor_area_m2": 0.0,
            "room_households": hosts["room_households"].to_numpy(dtype=float),
            "cost": np.nan,
            "geometry": hosts.geometry.to_numpy(),
        }
    )


def _reach(
    report: CoverageReport,
    roads: RoadNetwork,
    standard: Standard,
    places: gpd.GeoSeries,
    codes: pd.Series,
    spare_minutes: float,
) -> csr_array:
    """Tell from which villages enough people reach which places within the standard."""
    demand, options = report.demand, report.access.options
    home_unit = pd.Index(report.units["unit_code"].to_numpy(dtype=object)).get_indexer(
        demand["unit_code"].to_numpy(dtype=object)
    )
    weight = people_at(demand, report.units, home_unit.astype(np.int64), standard.population).weight
    row = pd.Index(codes.to_numpy(dtype=object)).get_indexer(
        demand["unit_code"].to_numpy(dtype=object)
    )
    mine = np.flatnonzero(row >= 0)
    homes, sites = (
        np.asarray(shapes.to_crs(roads.crs).array)
        for shapes in (demand.geometry.iloc[mine], places)
    )
    found: list[Integers] = []
    for alternative in standard.alternatives:
        mode = report.plan.modes[alternative.mode]
        limit = alternative.limit_minutes(report.plan.modes) + ROUNDING
        limit = max(limit - spare_minutes, 0.0)
        way = report.access.way(standard, alternative)
        if alternative.measure == "straight":
            apart = shapely.STRtree(homes).query(sites, "dwithin", distance=alternative.metres)
            found.append(apart[1] * len(sites) + apart[0])
            continue
        joined = [
            snap(shapes, roads, mode, leg_limit_m=options["leg_limit_m"])
            for shapes in (sites, homes)
        ]
        trips = report.access.searches.trips(way)
        trips = Trips(roads.for_mode(trips.net.mode), trips.leg_detour, way.direction, trips.engine)
        pairs = pair_minutes(trips, *joined, limit_minutes=limit)
        found.append(pairs.point * len(sites) + pairs.site)
    pair = np.unique(np.concatenate(found))
    point, site = np.divmod(pair, len(sites)) if len(sites) else (pair, pair)
    shape = (len(codes), len(sites))
    reached = coo_array((weight[mine][point], (row[mine][point], site)), shape=shape).tocsr()
    total = np.bincount(row[mine], weights=weight[mine], minlength=len(codes))
    needed = standard.unit_share * total - ROUNDING
    enough = reached.data >= np.repeat(needed, np.diff(reached.indptr))
    kept = csr_array((enough, reached.indices, reached.indptr), shape=shape)
    kept.eliminate_zeros()
    return kept


def _with_own(reach: csr_array, table: pd.DataFrame, villages: pd.DataFrame) -> csr_array:
    """Let every village be served by what it has itself, and unknown households by that alone."""
    own = pd.Index(villages["unit_code"].to_numpy(dtype=object)).get_indexer(
        table["unit_code"].to_numpy(dtype=object)
    )
    there = np.flatnonzero(own >= 0)
    known = villages["households"].notna().to_numpy()
    row, column = reach.nonzero()
    roomy = table["room_households"].notna().to_numpy()
    kept = known[row] & roomy[column]
    row, column = np.concatenate([row[kept], own[there]]), np.concatenate([column[kept], there])
    pair = np.unique(row * reach.shape[1] + column)
    ends = np.divmod(pair, reach.shape[1])
    return coo_array((np.ones(pair.size, dtype=bool), ends), shape=reach.shape).tocsr()


def _road_links(
    report: CoverageReport,
    roads: RoadNetwork,
    standard: Standard,
    links: gpd.GeoDataFrame,
    villages: pd.DataFrame,
    spare_minutes: float,
) -> tuple[gpd.GeoDataFrame, NDArray[np.bool_], dict[str, dict[str, str]]]:
    """Give the links, which villages each lets share a facility that has room, and which one."""
    hosts = _hosts(report)
    codes_of = villages["unit_code"]
    before = _reach(report, roads, standard, hosts.geometry, codes_of, spare_minutes).toarray()
    known = villages["households"].notna().to_numpy()
    columns, room = [], []
    names = hosts["facility_id"].to_numpy(dtype=object)
    codes = villages["unit_code"].to_numpy(dtype=object)
    shared: dict[str, dict[str, str]] = {}
    for position in range(len(links)):
        linked = link_roads(roads, links.iloc[[position]])
        after = _reach(report, linked, standard, hosts.geometry, codes_of, spare_minutes).toarray()
        opened = after & ~before.any(axis=1)[:, None] & known[:, None]
        columns.append(opened.any(axis=1))
        served = np.flatnonzero(opened.any(axis=1))
        host = names[opened[served].argmax(axis=1)] if served.size else names[:0]
        shared[f"road_link:{links.index[position]}"] = dict(zip(codes[served], host, strict=True))
        room.append(float(hosts["room_households"].to_numpy()[opened.any(axis=0)].sum()))
    table = gpd.GeoDataFrame(
        {
            "candidate": [f"road_link:{key}" for key in links.index],
            "nature": "road_link",
            "unit_code": None,
            "host_facility_id": None,
            "planned_floor_area_m2": np.nan,
            "added_floor_area_m2": 0.0,
            "room_households": room,
            "cost": _given(links, "cost", np.full(len(links), np.nan)),
        },
        geometry=links.geometry.to_crs(report.units.crs).to_numpy(),
        crs=report.units.crs,
    )
    empty = np.zeros((len(villages), 0), dtype=bool)
    return table, np.column_stack(columns) if columns else empty, shared


def _costs(table: pd.DataFrame, costs: Mapping[str, tuple[float, float]] | None) -> Floats:
    """Give the cost of each candidate: its own where stated, else by its nature; NaN without."""
    stated = table["cost"].to_numpy(dtype=float)
    if costs is None:
        return stated
    natures = table["nature"].to_numpy(dtype=object)
    lacking = sorted(set(natures[np.isnan(stated)]) - set(costs))
    if lacking:
        raise InputError(
            f"costs= says nothing of {', '.join(lacking)}: give (fixed, per m²) in 10,000 yuan for "
            "each, (0, 0) where it costs nothing"
        )
    added = table["added_floor_area_m2"].to_numpy(dtype=float)
    fixed, per_m2 = (
        np.array([costs.get(nature, (np.nan, np.nan))[part] for nature in natures], dtype=float)
        for part in (0, 1)
    )
    return np.where(np.isnan(stated), fixed + per_m2 * added, stated)
