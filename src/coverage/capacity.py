"""Room against people: what each facility has to serve, and supply per person (2SFCA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .assessment import CoverageReport
from .errors import InputError
from .journeys import cost_matrix, nearest_facility
from .modes import Mode
from .network import RoadNetwork
from .standards import Plan, Standard
from .travel import pools_of
from .verdicts import ROUNDING

__all__ = ["facility_loads", "two_step_floating_catchment"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_COMPREHENSIVE = "comprehensive_service"
_NOT_IN_USE = ("closed", "planned", "shared")  # what is shared is counted at its host
_CANNOT_TELL = ("off_network", "island")
_COLUMNS = (
    "kind",
    "facility_id",
    "name",
    "unit_code",
    "floor_area_m2",
    "households_reached",
    "people_reached",
    "m2_per_100_households_reached",
    "households_on_ledger",
    "units_on_ledger",
    "m2_per_100_households",
    "due_m2",
    "over_capacity",
)


def facility_loads(report: CoverageReport, *, kind: str | None = None) -> pd.DataFrame:
    """Set the households each facility serves against its floor area, on both bases.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    kind : str, optional
        One of the plan's kinds; without it all. A circle of several kinds (便民生活圈) is no
        facility and bears no load.

    Returns
    -------
    DataFrame
        One row a facility × kind that a unit keeps or shares, or that people reach, sorted by kind
        in the plan's order, then `facility_id`: `kind`, `facility_id`, `name`, `unit_code` (of the
        unit that keeps it), `floor_area_m2`;

        - reachability basis (可达口径): `households_reached` and `people_reached` (the standard's
          population) of the demand points that get there within the standard and have no nearer
          one; `m2_per_100_households_reached`;
        - ledger basis (台账口径): `households_on_ledger` of the `units_on_ledger` that keep it or
          share it by agreement; `m2_per_100_households` of these, `due_m2` (what they are due) and
          `over_capacity` (whether that is more than there is; missing where one cannot tell).

    Raises
    ------
    InputError
        Where the plan has no such kind, or it is a circle of several.

    Notes
    -----
    Due is the standard's `capacity_m2_per_100_households`; for the comprehensive service, where the
    standard sets none, the plan's promise (每百户居民拥有设施面积). Households are due by the
    standard of their own unit; where no standard says anything `due_m2` is missing.

    On the ledger a unit counts with all its households at each facility it keeps or shares: the
    host of three villages needs room for all three. An agreement counts as it is written, however
    far it is. Of a facility kept by nobody in ``report.units`` the households are not known.

    Those who get there in time count as reached also where `assess` found no room for them. A
    unit's households are shared out among its demand points as its residents are. A facility known
    not to qualify reaches 0; where it cannot be told, or it has no place or no road, the figure is
    missing. Closed and planned buildings bear no load and have no row.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.capacity import facility_loads
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> loads = facility_loads(fc.assess(units, facilities, access, plan))
    >>> hosts = loads[(loads["kind"] == "comprehensive_service") & (loads["units_on_ledger"] > 1)]
    >>> bool((hosts["due_m2"] / hosts["households_on_ledger"]).round(9).eq(0.3).all())
    True
    """
    kinds = _kinds_of_facility(report.plan, kind)
    parts = [_loads_of(each, report) for each in kinds]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_COLUMNS))


def _kinds_of_facility(plan: Plan, kind: str | None) -> list[str]:
    """Give the plan's kinds that are kinds of facility, not circles of several."""
    if kind is not None and kind not in plan.kinds:
        raise InputError(f"kind must be one of the plan's ({', '.join(plan.kinds)}), not {kind!r}")
    found = dict.fromkeys(one.kind for one in plan.standards if _is_single(one))
    if kind is None:
        return list(found)
    if kind not in found:
        raise InputError(
            f"{kind!r} is a circle of several kinds and has no floor area of its own; ask for one "
            f"of {', '.join(found)}"
        )
    return [kind]


def _is_single(standard: Standard) -> bool:
    return len(standard.required_kinds) == 1


def _loads_of(kind: str, report: CoverageReport) -> pd.DataFrame:
    """Give the loads of one kind's facilities."""
    facilities = report.facilities
    n = len(facilities)
    asked = _asked(kind, report)
    area = facilities["floor_area_m2"].to_numpy(dtype=float)
    status = facilities["status"].to_numpy(dtype=object)

    reached = _reached(kind, report)
    ledger = _on_ledger([standard.required_kinds[0] for standard, _ in asked], report)
    of_unit = _numbers(report.units, "households")[ledger.unit]
    households = _sums(ledger.facility, of_unit, n)
    households[ledger.kept_elsewhere | (ledger.units == 0)] = np.nan
    rate = _due_per_household(asked, report)[ledger.unit]
    # As in `keep_to_capacity`, nothing is asked for those of whom no standard speaks.
    due = _sums(ledger.facility, of_unit * np.nan_to_num(rate), n)
    ruled = _sums(ledger.facility, ~np.isnan(rate), n) > 0
    due[~ruled | np.isnan(households)] = np.nan
    cannot_tell = np.isnan(due) | np.isnan(area) | (status == "unknown")

    spoken_of = np.logical_or.reduce([members for _, members in asked])[ledger.unit]
    has_row = reached.points > 0
    has_row[ledger.facility[spoken_of]] = True
    row = np.flatnonzero(has_row & ~np.isin(status, _NOT_IN_USE))
    table = pd.DataFrame(
        {
            "kind": kind,
            **{name: facilities[name].array for name in ("facility_id", "name", "unit_code")},
            "floor_area_m2": area,
            "households_reached": reached.households,
            "people_reached": reached.people,
            "m2_per_100_households_reached": _m2_per_100(area, reached.households),
            "households_on_ledger": households,
            "units_on_ledger": ledger.units,
            "m2_per_100_households": _m2_per_100(area, households),
            "due_m2": due,
            "over_capacity": pd.arrays.BooleanArray(due > area * (1 + ROUNDING), cannot_tell),
        },
        columns=list(_COLUMNS),
    )
    return table.iloc[row].sort_values("facility_id", kind="stable")


def _asked(kind: str, report: CoverageReport) -> list[tuple[Standard, Flags]]:
    """Give the standards of a kind, each with the units it speaks of."""
    plan, units = report.plan, report.units
    resettlement = plan.standard(kind, "resettlement")
    if resettlement is not None:
        flagged = units["resettlement"] | units["hollow_village"]
        return [(resettlement, flagged.to_numpy(dtype=bool))]
    return [
        (standard, (units["setting"] == setting).to_numpy(dtype=bool))
        for setting in ("rural", "urban")
        if (standard := plan.standard(kind, setting)) is not None and _is_single(standard)
    ]


def _due_per_household(asked: Sequence[tuple[Standard, Flags]], report: CoverageReport) -> Floats:
    """Give the m² due to a household, by unit; NaN where no standard says anything."""
    promised = report.plan.project_rules.floor_area_per_100_households_m2
    due = np.full(len(report.units), np.nan)
    for standard, members in asked:
        per_100 = standard.capacity_m2_per_100_households
        if per_100 is None and standard.required_kinds == (_COMPREHENSIVE,):
            per_100 = promised
        if per_100 is not None:
            # Whoever shares the building of a resettlement community needs as much of it.
            due[members | (standard.setting == "resettlement")] = per_100 / 100
    return due


class _Ledger(NamedTuple):
    """Who keeps or by agreement shares which facility: each pair of positions once."""

    unit: Integers
    facility: Integers
    units: Integers  # by facility, how many
    kept_elsewhere: Flags  # by facility, whether none of our units keeps it


def _on_ledger(kinds: Sequence[str], report: CoverageReport) -> _Ledger:
    """Read the ledger's rows of some kinds, those that only record sharing at their host."""
    facilities, n = report.facilities, len(report.facilities)
    keeper, host = (
        pd.Index(table[key].to_numpy(dtype=object)).get_indexer(
            facilities[names].to_numpy(dtype=object)
        )
        for table, key, names in (
            (report.units, "unit_code", "unit_code"),
            (facilities, "facility_id", "served_by"),
        )
    )
    shared = (facilities["status"] == "shared").to_numpy(dtype=bool)
    of_kind = facilities["kind"].isin(kinds).to_numpy(dtype=bool)
    place = np.where(shared, host, np.arange(n))
    told = of_kind & (keeper >= 0) & (place >= 0)
    unit, facility = np.unique([keeper[told], place[told]], axis=1)
    return _Ledger(unit, facility, np.bincount(facility, minlength=n), of_kind & (keeper < 0))


class _Reached(NamedTuple):
    """Who gets to each facility in time, having no nearer one; NaN where one cannot tell."""

    points: Integers
    households: Floats
    people: Floats


def _reached(kind: str, report: CoverageReport) -> _Reached:
    """Sum up the demand points by the facility their verdict names."""
    n = len(report.facilities)
    codes = pd.Index(report.units["unit_code"].to_numpy(dtype=object))
    home_unit = codes.get_indexer(report.demand["unit_code"].to_numpy(dtype=object))
    of_point = _households_at(report, home_unit)
    points = np.zeros(n, dtype=np.int64)
    households, people = np.zeros(n), np.zeros(n)
    for verdicts in report.point_verdicts:
        standard, judged = verdicts.standard, verdicts.judged
        if standard.kind != kind or not _is_single(standard):
            continue
        # Those turned away for lack of room are no longer covered, but they come.
        there = (judged.facility >= 0) & (judged.minutes <= judged.limit_minutes * (1 + ROUNDING))
        facility, at = judged.facility[there], verdicts.points[there]
        points += np.bincount(facility, minlength=n)
        households += _sums(facility, of_point[at], n)
        people += _sums(facility, verdicts.people.count[at], n)
        doubtful = _doubtful(standard, report)
        households[doubtful] = people[doubtful] = np.nan
    return _Reached(points, households, people)


def _households_at(report: CoverageReport, home_unit: Integers) -> Floats:
    """Share each unit's households out among its demand points, as its residents are."""
    residents = _numbers(report.demand, "residents")
    whole = _sums(home_unit, residents, len(report.units))
    households = _numbers(report.units, "households")
    with np.errstate(invalid="ignore", divide="ignore"):
        return households[home_unit] * residents / whole[home_unit]


def _doubtful(standard: Standard, report: CoverageReport) -> Flags:
    """Tell of which facilities one cannot tell who reaches them: quality, place or road unknown."""
    searches = report.access.searches
    (pool,) = pools_of(standard)[:1]
    certain = searches.members(pool)
    perhaps = searches.members(pool._replace(quality="perhaps"))
    ways = [report.access.way(standard, each) for each in standard.alternatives]
    by_road = [way.mode for way in ways if way.measure != "straight"]
    lost = np.zeros(len(report.facilities), dtype=bool)
    if len(by_road) == len(ways):
        lost = np.logical_and.reduce([searches.joins[mode].sites.edge < 0 for mode in by_road])
    lost |= report.facilities.geometry.isna().to_numpy()
    return (perhaps & ~certain) | lost


def _sums(owner: Integers, values: NDArray[Any], n_owners: int) -> Floats:
    """Give sums by owner; NaN where one of its values is."""
    return np.bincount(owner, weights=values, minlength=n_owners).astype(float)


def _m2_per_100(area_m2: Floats, households: Floats) -> Floats:
    """Give the m² for every 100 households; NaN where there are none."""
    return 100 * area_m2 / np.where(households > 0, households, np.nan)


def _numbers(table: pd.DataFrame, column: str) -> Floats:
    return table[column].astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def two_step_floating_catchment(
    demand: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
    roads: RoadNetwork,
    *,
    supply: str = "floor_area_m2",
    population: str = "residents",
    minutes: float = 15.0,
    mode: str | Mode = "walk",
    steps: Mapping[float, float] | None = None,
    leg_limit_m: float = 500.0,
    leg_detour: float = 1.3,
    barriers: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
) -> pd.Series:
    r"""Give the supply each person can get at, shared with all others who can (2SFCA).

    Parameters
    ----------
    demand : GeoDataFrame of Point
        Where people live, in any CRS.
    facilities : GeoDataFrame of Point
        The facilities of one kind, in any CRS. Where there is a column `status`, what is closed,
        planned or only a note of sharing is left out.
    roads : RoadNetwork
        The roads.
    supply : str
        The column of `facilities` that says how much each offers.
    population : str
        The column of `demand` that counts people.
    minutes : float
        The catchment: who is farther gets nothing. Not used where `steps` are given.
    mode : str or Mode
        How people travel.
    steps : mapping of float to float, optional
        Weights by zone of travel time, e.g. ``{10: 1.0, 20: 0.68, 30: 0.22}``: 1 up to 10 minutes,
        0.68 beyond that up to 20, … (E2SFCA). The last step bounds the catchment.
    leg_limit_m, leg_detour, barriers
        As for `travel_times`.

    Returns
    -------
    Series of float
        `supply_per_person`, in units of `supply`, with the index of `demand`. 0 where no facility
        is within the catchment; missing where the data do not tell: the point joins no road, or
        one that leads to no facility; or a facility it reaches has an unknown supply, an unknown
        status or somebody uncounted in its catchment.

    Raises
    ------
    NoCrsError, InputError
        Where a layer has no CRS or is not of points, a column is not there or is not of numbers,
        or an option is out of range.

    Notes
    -----
    First each facility's supply is divided by the people in its catchment,
    :math:`R_j = S_j / \sum_i P_i w(t_{ij})`; then each place adds up what it reaches,
    :math:`A_i = \sum_j R_j w(t_{ij})`. So :math:`\sum_i A_i P_i` is the supply of all facilities
    that somebody lives near. One with nobody in its catchment adds nothing. People at points that
    join no road compete for nothing.

    References
    ----------
    Luo, W. & Wang, F. (2003). Measures of spatial accessibility to health care in a GIS
    environment. Environment and Planning B 30, 865-884 (2SFCA).
    Luo, W. & Qi, Y. (2009). An enhanced two-step floating catchment area (E2SFCA) method for
    measuring spatial accessibility to primary care physicians. Health & Place 15, 1100-1107.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.capacity import two_step_floating_catchment
    >>> county = fc.sample_county()
    >>> homes = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> care = fc.read_facilities(county.facilities).query("kind == 'day_care'")
    >>> m2 = two_step_floating_catchment(
    ...     homes, care, fc.read_roads(county.roads), population="elderly", minutes=20
    ... )
    >>> m2.name, m2.index.equals(homes.index), bool((m2.dropna() >= 0).all())
    ('supply_per_person', True, True)
    """
    bounds, weights = _zones(minutes, steps)
    people = _amounts(demand, population, "demand points", "population")
    if "status" in facilities:
        facilities = facilities[~facilities["status"].isin(_NOT_IN_USE)]
    offered = _amounts(facilities, supply, "facilities", "supply")
    if "status" in facilities:
        offered = np.where(facilities["status"] == "unknown", np.nan, offered)
    trips: dict[str, Any] = {
        "mode": mode,
        "leg_limit_m": leg_limit_m,
        "leg_detour": leg_detour,
        "barriers": barriers,
    }
    cost = cost_matrix(demand, facilities, roads, limit_minutes=bounds[-1], **trips)
    reaches = np.diff(cost.indptr) > 0
    catchment = csr_array(
        (weights[np.searchsorted(bounds, cost.data)], cost.indices, cost.indptr), shape=cost.shape
    )
    catchment.eliminate_zeros()  # what has no weight cannot make anything unknown
    competing = catchment.T @ people
    with np.errstate(invalid="ignore", divide="ignore"):
        per_person = np.where(competing == 0, 0.0, offered / competing)
    found = catchment @ per_person
    alone = np.flatnonzero(~reaches)
    if alone.size:
        why = nearest_facility(demand.geometry.iloc[alone], facilities, roads, **trips)["reason"]
        found[alone[why.isin(_CANNOT_TELL).to_numpy(dtype=bool)]] = np.nan
    return pd.Series(found, index=demand.index, name="supply_per_person")


def _zones(minutes: float, steps: Mapping[float, float] | None) -> tuple[Floats, Floats]:
    """Give the upper bounds of the zones, rising, and their weights."""
    named = "minutes" if steps is None else "steps"
    pairs = sorted(({minutes: 1.0} if steps is None else steps).items())
    if not pairs:
        raise InputError("steps must have at least one zone, e.g. {10: 1.0, 20: 0.68, 30: 0.22}")
    bounds, weights = np.array(pairs, dtype=float).T
    wrong = bounds[~((bounds > 0) & (bounds < np.inf))]
    if wrong.size:
        raise InputError(f"{named} must be positive minutes, not {wrong[0]:g}")
    wrong = weights[~((weights >= 0) & (weights < np.inf))]
    if wrong.size or not weights.any():
        told = f"{wrong[0]:g}" if wrong.size else "all 0"
        raise InputError(f"the weights of steps must be 0 or more, and one above 0, not {told}")
    # Minutes are sums of floats: 15 min is within 15 min.
    return bounds + ROUNDING, weights


def _amounts(table: gpd.GeoDataFrame, column: str, what: str, option: str) -> Floats:
    """Give a column of amounts; NaN where not known."""
    if column not in table:
        others = ", ".join(table.select_dtypes("number").columns) or "none"
        raise InputError(
            f"the {what} have no column {column!r}; name one of theirs with {option}= (of numbers: "
            f"{others})"
        )
    try:
        values = _numbers(table, column)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {column!r} of the {what} is not of numbers") from error
    wrong = np.flatnonzero((values < 0) | np.isinf(values))
    if wrong.size:
        where = table.index[wrong[:1]].tolist()[0]
        raise InputError(
            f"column {column!r} of the {what} has {values[wrong[0]]:g} at index {where!r}; amounts "
            "are 0 or more, and missing where not known"
        )
    return values
