"""Minutes against standards → verdicts, reasons and rates, on two bases that are never mixed.

Ledger basis (台账口径): a unit counts if it has, or by agreement shares, a qualifying facility, as
the official indicator counts. Reachability basis (可达口径): people count who get there in time
over the road network. Every verdict has three states: covered, uncovered, cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .indicators import indicator_table
from .ledger import Ledger, LedgerVerdicts, ledger_verdicts
from .network import RoadNetwork
from .rates import disagreement_table, rate_table, township_table
from .standards import Plan, Standard
from .terms import label
from .travel import TravelTimes, pools_of
from .verdicts import (
    REASONS,
    STATES,
    Judged,
    People,
    judge_points,
    judge_units,
    keep_to_capacity,
    people_at,
    sum_by_state,
)

if TYPE_CHECKING:
    from .explain import Explanation
    from .sensitivity import Sensitivity

__all__ = ["CoverageReport", "PointVerdicts", "assess"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

_STATE_WORDS = np.array([*STATES, "not_applicable"], dtype=object)
_REASON_WORDS = np.array(REASONS, dtype=object)
_NOT_APPLICABLE = len(STATES)


class PointVerdicts(NamedTuple):
    """What was found for the demand points that a standard applies to."""

    standard: Standard
    setting: str
    points: Integers  # positions in the table of demand points
    people: People  # of the standard's population, at all demand points
    judged: Judged


@dataclass(frozen=True, eq=False)
class CoverageReport:
    """What was found, as tables; it shows its headline figures in a notebook.

    Attributes
    ----------
    plan : Plan
        The plan assessed against.
    units, facilities, demand : GeoDataFrame
        The inputs; `facilities` with a column `outside` (beyond every unit: 县外) and `road_flag`
        (how it joins the roads: ``"off_network"`` and ``"island"`` can hardly be reached).
    verdicts : DataFrame
        One row a unit × kind: `ledger_state`, `ledger_reason`, `ledger_facility_id`,
        `reachable_state`, `reachable_reason`, `minutes` (half of the unit's people get there
        within them), `limit_minutes` (of that `mode`), `mode`, `measure`, `facility_id`, `people`
        (the standard's population), `people_covered`, `people_uncovered`, `people_unknown`,
        `people_share`, `people_on_foot` (covered without a vehicle; `on_foot_state` of the unit),
        `kinds_reached` of `kinds_asked` (the score of a composite circle: kinds that half of the
        unit's people reach), `area_covered_m2`, …. States are covered | uncovered | unknown |
        not_applicable. Where the ledger carries an official flag, `ledger_state` is that flag and
        `ledger_rule_state` what the rule alone says (核定口径). `…_inside` leaves out facilities
        beyond the border, `ledger_state_unshared` agreements to share.
    rates : DataFrame
        Tidy, one row a figure: `kind, setting, basis, measure, covered, uncovered, unknown,
        total, share, target, missing`, and `covered_without_outside`, `share_without_outside`,
        `covered_without_sharing`, `share_without_sharing`. Units and people are counts, area is
        m². The plan's targets are promises of units: other measures have none.
    indicators, promises : DataFrame
        The plan's indicators and promises: `number, name_zh, name_en, baseline, target, value,
        unit, covered, total, met, missing_data, formula, source`. What cannot be computed is
        missing and says which data it needs.
    access : TravelTimes
        The minutes it rests on.
    point_verdicts : tuple of PointVerdicts
        Verdicts on demand points as arrays; `demand_verdicts` shows them as a table.
    """

    plan: Plan
    units: gpd.GeoDataFrame
    facilities: gpd.GeoDataFrame
    demand: gpd.GeoDataFrame
    verdicts: pd.DataFrame
    rates: pd.DataFrame
    indicators: pd.DataFrame
    promises: pd.DataFrame
    access: TravelTimes
    point_verdicts: tuple[PointVerdicts, ...]

    @property
    def roads(self) -> RoadNetwork:
        """The roads."""
        return self.access.roads

    @cached_property
    def demand_verdicts(self) -> pd.DataFrame:
        """One row a demand point × kind: `minutes`, `limit_minutes`, `mode`, `facility_id`, ….

        Also `state`, `reason`, `on_foot` (whether walking passes) and `residents`. The first
        alternative that passes decides, else the one nearest to passing.
        """
        ids = np.array([*self.facilities["facility_id"], None], dtype=object)
        names = ("demand_id", "unit_code", "residents")
        columns = {name: self.demand[name].to_numpy(dtype=object) for name in names}
        parts = []
        for standard, _, points, _, judged in self.point_verdicts:
            modes = np.array([*(each.mode for each in standard.alternatives), None], dtype=object)
            parts.append(
                pd.DataFrame(
                    {
                        "demand_id": columns["demand_id"][points],
                        "unit_code": columns["unit_code"][points],
                        "kind": standard.kind,
                        "residents": columns["residents"][points].astype(float),
                        "minutes": judged.minutes,
                        "limit_minutes": judged.limit_minutes,
                        "mode": modes[np.where(np.isnan(judged.minutes), -1, judged.alternative)],
                        "facility_id": ids[judged.facility],
                        "state": _STATE_WORDS[judged.state],
                        "reason": _REASON_WORDS[judged.reason],
                        "on_foot": judged.on_foot,
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    @property
    def gaps(self) -> pd.DataFrame:
        """The unit × kind rows that are not covered on a basis that applies, reason beside them."""
        open_ = ["uncovered", "unknown"]
        rows = self.verdicts["ledger_state"].isin(open_) | self.verdicts["reachable_state"].isin(
            open_
        )
        return self.verdicts[rows].reset_index(drop=True)

    @cached_property
    def townships(self) -> pd.DataFrame:
        """One row a kind × township in the order of their codes, and ``"total"`` last.

        `kind, township_code, township, units, ledger_covered, …, reachable_covered, …,
        ledger_share, reachable_share, people, people_covered, …, people_share`.
        """
        return township_table(self.verdicts, self.units)

    @cached_property
    def disagreements(self) -> pd.DataFrame:
        """The units covered on one basis and not on the other.

        `disagreement` is ``"paper_only"`` (the ledger counts it, but half of its people do not
        get there in time), ``"paper_not_on_foot"`` (they do by vehicle alone) or
        ``"reach_only"`` (they get there, but nothing is recorded).
        """
        return disagreement_table(self.verdicts)

    @cached_property
    def group_rates(self) -> pd.DataFrame:
        """Rates among those who come first: the elderly, children, the disabled.

        One row a kind × setting × group: `kind, setting, group, mode, covered, uncovered, unknown,
        total, share` of people. They walk by the group's own `mode` and are not taken to drive,
        but where a standard can only be passed by vehicle. Missing where nobody has counted them.
        """
        return pd.DataFrame(
            _group_rates(self),
            columns=["kind", "setting", "group", "mode", *STATES, "total", "share"],
        )

    def curve(
        self,
        *,
        kinds: Sequence[str] | None = None,
        minutes: Sequence[float] = tuple(range(61)),
    ) -> pd.DataFrame:
        """Give the share of people covered against minutes (see `coverage_curve`)."""
        from .sensitivity import coverage_curve  # noqa: PLC0415 - it is built on reports

        return coverage_curve(self, kinds=kinds, minutes=minutes)

    def sensitivity(self, *, speed: float = 0.2, leg: float = 0.3) -> Sensitivity:
        """Assess again with other speeds and legs (see `facility_coverage.sensitivity`)."""
        from .sensitivity import sensitivity  # noqa: PLC0415

        return sensitivity(self, speed=speed, leg=leg)

    def fragility(self, *, kinds: Sequence[str] | None = None) -> pd.DataFrame:
        """Tell which units hang on one facility (see `facility_coverage.fragility`)."""
        from .fragility import fragility  # noqa: PLC0415

        return fragility(self, kinds=kinds)

    def explain(self, unit: str, *, kind: str | None = None, lang: str = "zh") -> Explanation:
        """Tell one unit's story: routes, rules, facilities (see `facility_coverage.explain`)."""
        from .explain import explain  # noqa: PLC0415

        return explain(self, unit, kind=kind, lang=lang)

    @property
    def stamp(self) -> str:
        """What the data say about themselves, e.g. that they are an illustrative sample."""
        notes: dict[str, None] = {}
        for table in (self.units, self.facilities, self.demand):
            if "data_note" in table:
                notes |= dict.fromkeys(table["data_note"].dropna().unique())
        return "；".join(notes)

    def __repr__(self) -> str:
        """Say what was assessed."""
        return (
            f"<CoverageReport: {len(self.units)} units, {len(self.facilities)} facilities, "
            f"{len(self.plan.kinds)} kinds, plan {self.plan.plan_id}>"
        )

    def _repr_html_(self) -> str:
        stamp = f"<p><b>{escape(self.stamp)}</b></p>" if self.stamp else ""
        columns = [name for name in self.rates if "_without_" not in name]
        shown = self.rates.loc[self.rates["measure"] != "area", columns]
        table = shown.assign(
            **{
                name: shown[name].map(lambda key, group=name: label(group, key))
                for name in ("kind", "setting", "basis", "measure")
            }
        ).rename(columns=lambda name: label("column", name))
        styled = table.style.hide(axis="index").format(precision=0, na_rep="—")
        percent = [label("column", "share"), label("column", "target")]
        styled = styled.format("{:.1%}", subset=percent, na_rep="—")
        return f"<h4>{escape(self.plan.name_zh)}</h4>{stamp}{styled.to_html()}"


def assess(
    units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame, access: TravelTimes, plan: Plan
) -> CoverageReport:
    """Judge every unit and demand point against every standard of the plan.

    Parameters
    ----------
    units, facilities : GeoDataFrame
        As the readers give them; the same that `travel_times` was given.
    access : TravelTimes
        From `travel_times`.
    plan : Plan
        From `load_plan`.

    Returns
    -------
    CoverageReport
        Verdicts, rates and indicators.

    Notes
    -----
    A demand point is covered if one of the standard's alternatives holds; of a composite circle
    every kind must be. A unit is covered if at least `unit_share` of its residents are (of its
    demand points, where those are not known), *cannot tell* if those for whom the data do not
    tell could make it so, else uncovered.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> rates = fc.assess(units, facilities, access, plan).rates
    >>> rates.query("kind == 'comprehensive_service' and basis == 'ledger' and measure == 'units'")[
    ...     ["setting", "covered", "total", "missing"]].to_numpy().tolist()
    [['rural', 120.0, 199.0, 40.0], ['urban', 14.0, 14.0, 0.0]]
    """
    if access.facilities is not facilities and not access.facilities["facility_id"].equals(
        facilities["facility_id"]
    ):
        raise InputError("the travel times are of other facilities; pass the same table to both")
    marked = facilities.assign(outside=access.searches.outside, road_flag=_road_flag(access, plan))
    county = _County.of(units, access)
    tables, points = [], []
    for kind in plan.kinds:
        table, found = _judge(kind, plan, county)
        tables.append(table)
        points.extend(found)
    verdicts = _verdict_table(tables, units, marked)
    rates = rate_table(verdicts, plan)
    return CoverageReport(
        plan=plan,
        units=units,
        facilities=marked,
        demand=access.demand,
        verdicts=verdicts,
        rates=rates,
        indicators=indicator_table(plan.indicators, rates, units, marked),
        promises=indicator_table(plan.promises, rates, units, marked),
        access=access,
        point_verdicts=tuple(points),
    )


@dataclass(frozen=True, eq=False)
class _County:
    """Units and points, and who belongs to whom."""

    units: gpd.GeoDataFrame
    access: TravelTimes
    ledger: Ledger
    home_unit: Integers
    land_unit: Integers

    @classmethod
    def of(cls, units: gpd.GeoDataFrame, access: TravelTimes) -> _County:
        codes = pd.Index(units["unit_code"].to_numpy(dtype=object))
        home, land = (
            codes.get_indexer(table["unit_code"].to_numpy(dtype=object))
            for table in (access.demand, access.area)
        )
        if (home < 0).any():
            raise InputError("demand points name units that are not there: read both anew")
        ledger = Ledger.of(units, access.facilities)
        return cls(units, access, ledger, home.astype(np.int64), land.astype(np.int64))

    def members(self, setting: str) -> Integers:
        """Give the positions of the units a setting speaks of."""
        if setting == "resettlement":
            flagged = self.units["resettlement"] | self.units["hollow_village"]
            return np.flatnonzero(flagged.to_numpy(dtype=bool))
        return np.flatnonzero((self.units["setting"] == setting).to_numpy(dtype=bool))

    def serves_from_outside(self, standard: Standard) -> bool:
        """Tell whether a facility beyond the border is anybody's nearest."""
        pools = set(pools_of(standard))
        return any(
            pool.inside and pool._replace(quality="certain", inside=False) in pools
            for pool, _ in self.access.nearest
        )

    def people(self, population: str) -> People:
        """Count a group of people."""
        return people_at(self.access.demand, self.units, self.home_unit, population)

    def households(self) -> Floats:
        """Share each unit's households out among its demand points, as its residents are."""
        numbers = [
            self.units["households"].to_numpy(dtype=float, na_value=np.nan),
            self.access.demand["residents"].to_numpy(dtype=float),
        ]
        whole = np.bincount(self.home_unit, weights=numbers[1], minlength=len(self.units))
        with np.errstate(invalid="ignore", divide="ignore"):
            return numbers[0][self.home_unit] * numbers[1] / whole[self.home_unit]


class _Part(NamedTuple):
    """A standard and whom it applies to."""

    standard: Standard
    setting: str
    members: Integers
    homes: Integers
    owner: Integers  # by home, the position of its unit in `members`


def _parts(kind: str, plan: Plan, county: _County) -> Iterator[_Part]:
    settings = ["resettlement"] if plan.standard(kind, "resettlement") else ["rural", "urban"]
    for setting in settings:
        standard = plan.standard(kind, setting)
        if standard is not None:
            members = county.members(setting)
            local = np.full(len(county.units), -1, dtype=np.int64)
            local[members] = np.arange(members.size)
            owner = local[county.home_unit]
            homes = np.flatnonzero(owner >= 0)
            yield _Part(standard, setting, members, homes, owner[homes])


def _judge(
    kind: str, plan: Plan, county: _County
) -> tuple[dict[str, NDArray[np.generic]], list[PointVerdicts]]:
    """Judge every unit and demand point by one kind's standards."""
    parts = list(_parts(kind, plan, county))
    table = _empty_columns(kind, county.units)
    judged = _judge_homes(parts, county, inside=False)
    # Most kinds have no facility beyond the border: then nothing changes without those.
    beyond = any(county.serves_from_outside(part.standard) for part in parts)
    inner = _judge_homes(parts, county, inside=True) if beyond else judged
    points = [
        PointVerdicts(
            part.standard, part.setting, part.homes, county.people(part.standard.population), one
        )
        for part, one in zip(parts, judged, strict=True)
    ]
    for part, found, inside in zip(parts, points, inner, strict=True):
        _fill(table, part, found, inside, county)
    return table, points


def _judge_homes(parts: Sequence[_Part], county: _County, *, inside: bool) -> list[Judged]:
    judged = [
        judge_points(part.standard, county.access, part.homes, inside=inside) for part in parts
    ]
    if all(part.standard.capacity_m2_per_100_households is None for part in parts):
        return judged
    area = county.access.facilities["floor_area_m2"].to_numpy(dtype=float)
    rows = [(part.standard, one, part.homes) for part, one in zip(parts, judged, strict=True)]
    return keep_to_capacity(rows, county.households(), area)


_CODES = ("reachable_state", "reachable_state_inside", "on_foot_state")
_NUMBERS = (
    "minutes",
    "limit_minutes",
    "people",
    *(f"people_{state}" for state in STATES),
    "people_share",
    "people_on_foot",
    "people_covered_inside",
    "kinds_reached",
    "kinds_asked",
    *(f"area_{state}_m2" for state in STATES),
    "area_covered_inside_m2",
)
_WORDS = ("mode", "measure")
_LEDGER_STATES = (
    "ledger_state",
    "ledger_rule_state",
    "ledger_state_unshared",
    "ledger_state_inside",
)


def _empty_columns(kind: str, units: gpd.GeoDataFrame) -> dict[str, NDArray[np.generic]]:
    """Give the columns of one kind's verdicts, as for units that no standard speaks of."""
    n = len(units)
    return {
        "kind": np.full(n, kind, dtype=object),
        "setting": units["setting"].to_numpy(dtype=object).copy(),
        **{name: np.full(n, _NOT_APPLICABLE, dtype=np.int8) for name in _CODES},
        **{name: np.full(n, "not_applicable", dtype=object) for name in _LEDGER_STATES},
        **{
            name: np.full(n, "", dtype=object)
            for name in ("reachable_reason", "ledger_reason", "ledger_rule_reason")
        },
        **{name: np.full(n, np.nan) for name in _NUMBERS},
        **{name: np.full(n, None, dtype=object) for name in _WORDS},
        **{name: np.full(n, -1, dtype=np.int64) for name in ("facility", "ledger_facility")},
    }


def _fill(
    table: dict[str, NDArray[np.generic]],
    part: _Part,
    verdicts: PointVerdicts,
    inner: Judged,
    county: _County,
) -> None:
    """Write the verdicts on the units of one part into the columns."""
    standard, at = part.standard, part.members
    people, judged = verdicts.people, verdicts.judged
    found = judge_units(standard, judged, part.owner, people, part.homes, at)
    modes = county.access.searches.modes
    walked = any(modes[alternative.mode].on_foot for alternative in standard.alternatives)
    inside = (
        found
        if inner is judged
        else judge_units(standard, inner, part.owner, people, part.homes, at)
    )
    columns = {
        "reachable_state": found.state,
        "reachable_state_inside": inside.state,
        "reachable_reason": _REASON_WORDS[found.reason],
        "on_foot_state": found.on_foot_state if walked else _NOT_APPLICABLE,
        "people": people.total[at],
        **{f"people_{state}": getattr(found, state) for state in STATES},
        "people_share": found.share,
        "people_on_foot": found.on_foot,
        "people_covered_inside": inside.covered,
        **_score(part, judged, people),
        **_typical(standard, judged, found.point),
        **_area(part, county),
    }
    if standard.on_ledger:
        ledger = ledger_verdicts(
            standard, county.ledger, county.access, at, people, county.home_unit
        )
        columns |= _ledger_columns(ledger)
    for name, values in columns.items():
        table[name][at] = values
    table["setting"][at] = part.setting


def _ledger_columns(ledger: LedgerVerdicts) -> dict[str, NDArray[np.generic]]:
    return {
        "ledger_state": ledger.state,
        "ledger_reason": ledger.reason,
        "ledger_facility": ledger.facility,
        "ledger_rule_state": ledger.rule_state,
        "ledger_rule_reason": ledger.rule_reason,
        "ledger_state_unshared": ledger.state_unshared,
        "ledger_state_inside": ledger.state_inside,
    }


def _typical(standard: Standard, judged: Judged, point: Integers) -> dict[str, NDArray[np.generic]]:
    """Give the trip by which half of each unit is there."""
    there = point >= 0
    at = point[there]
    ways = np.array(
        [*((each.mode, each.measure) for each in standard.alternatives), (None, None)], dtype=object
    ).T
    minutes, limit = np.full(point.size, np.nan), np.full(point.size, np.nan)
    facility = np.full(point.size, -1, dtype=np.int64)
    words = np.full((2, point.size), None, dtype=object)
    minutes[there], limit[there] = judged.minutes[at], judged.limit_minutes[at]
    facility[there] = judged.facility[at]
    chosen = np.where(np.isnan(judged.minutes[at]), -1, judged.alternative[at])
    words[:, there] = ways[:, chosen]
    return {
        "minutes": minutes,
        "limit_minutes": limit,
        "facility": facility,
        "mode": words[0],
        "measure": words[1],
    }


def _score(part: _Part, judged: Judged, people: People) -> dict[str, Floats]:
    """Give how many kinds at least the unit's share of people reach, and of how many."""
    asked = len(part.standard.required_kinds) + len(part.standard.further_kinds)
    weight = people.weight[part.homes]
    total = np.bincount(part.owner, weights=weight, minlength=part.members.size)
    reached = np.full(part.members.size, -1.0)
    for count in range(asked + 1):
        there = np.bincount(
            part.owner,
            weights=np.where(judged.kinds_reached >= count, weight, 0.0),
            minlength=part.members.size,
        )
        reached[there >= part.standard.unit_share * total - 1e-9] = count
    reached[total == 0] = np.nan
    return {"kinds_reached": reached, "kinds_asked": np.full(part.members.size, float(asked))}


def _area(part: _Part, county: _County) -> dict[str, Floats]:
    n = part.members.size
    local = np.full(len(county.units), -1, dtype=np.int64)
    local[part.members] = np.arange(n)
    owner = local[county.land_unit]
    land = np.flatnonzero(owner >= 0)
    area = county.access.area["area_m2"].to_numpy(dtype=float)[land]

    def sums(*, inside: bool) -> Floats:
        judged = judge_points(part.standard, county.access, land, area=True, inside=inside)
        return sum_by_state(judged.state, owner[land], area, n)

    whole = sums(inside=False)
    inner = sums(inside=True) if county.serves_from_outside(part.standard) else whole
    return {
        **{f"area_{state}_m2": whole[:, code] for code, state in enumerate(STATES)},
        "area_covered_inside_m2": inner[:, 0],
    }


def _road_flag(access: TravelTimes, plan: Plan) -> Objects:
    """Give one flag a facility: that of walkers, who may use most roads, if they are asked for."""
    joins = access.searches.joins
    on_foot = [mode for mode in joins if plan.modes[mode].on_foot]
    return joins[on_foot[0] if on_foot else next(iter(joins))].sites.flag


def _verdict_table(
    tables: Sequence[dict[str, NDArray[np.generic]]],
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
) -> pd.DataFrame:
    """Give the verdicts their names: one row a unit × kind, kinds in the plan's order."""
    ids = np.array([*facilities["facility_id"], None], dtype=object)
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    position = np.tile(np.arange(len(units)), len(tables))
    names = units[["unit_code", "name", "township"]].iloc[position].reset_index(drop=True)
    numbers = units[["residents", "households"]].iloc[position].reset_index(drop=True)
    rest = {
        name: _STATE_WORDS[values] if name in _CODES else values
        for name, values in columns.items()
        if name not in {"setting", "facility", "ledger_facility"}
    }
    first = [
        "kind",
        "ledger_state",
        "ledger_reason",
        "reachable_state",
        "reachable_reason",
        "minutes",
        "limit_minutes",
        "mode",
        "measure",
    ]
    order = [*first, *(name for name in rest if name not in first)]
    table = pd.concat(
        [
            names,
            pd.DataFrame({"setting": columns["setting"]}),
            numbers,
            pd.DataFrame({name: rest[name] for name in order}),
        ],
        axis=1,
    )
    for column in ("facility", "ledger_facility"):
        table[f"{column}_id"] = ids[columns[column]]
    table["shared"] = _is_shared(columns, table, facilities)
    return table


def _is_shared(
    columns: dict[str, NDArray[np.generic]], table: pd.DataFrame, facilities: gpd.GeoDataFrame
) -> NDArray[np.bool_]:
    """Tell which units are covered on the ledger by another unit's facility."""
    keeper = facilities["unit_code"].fillna("").to_numpy(dtype=object)
    host = np.append(keeper, "")[columns["ledger_facility"]]
    own = table["unit_code"].to_numpy(dtype=object)
    return (columns["ledger_state"] == "covered") & (host != "") & (host != own)


def _group_rates(report: CoverageReport) -> Iterator[tuple[object, ...]]:
    county = _County.of(report.units, report.access)
    modes = report.plan.modes
    for kind in report.plan.kinds:
        for part in _parts(kind, report.plan, county):
            for group in report.plan.groups:
                standard = replace(
                    group.standard(part.standard, modes), capacity_m2_per_100_households=None
                )
                people = county.people(group.population)
                judged = judge_points(standard, report.access, part.homes)
                found = judge_units(standard, judged, part.owner, people, part.homes, part.members)
                sums = [float(getattr(found, state).sum()) for state in STATES]
                total = float(sum(sums))
                share = sums[0] / total if total else np.nan
                mode = standard.alternatives[0].mode
                yield kind, part.setting, group.population, mode, *sums, total, share
