"""How far results hang on their assumptions: the share covered by minutes, speeds and legs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .assessment import CoverageReport, PointVerdicts, assess
from .errors import InputError
from .standards import Alternative, Plan
from .terms import label
from .travel import pools_of, with_leg_detour
from .verdicts import CANNOT_TELL, ROUNDING, reason_codes

__all__ = ["Sensitivity", "coverage_curve", "sensitivity"]

Floats = NDArray[np.float64]

_KEY = ["kind", "setting", "basis", "measure"]


def coverage_curve(
    report: CoverageReport,
    *,
    kinds: Sequence[str] | None = None,
    minutes: Sequence[float] = tuple(range(61)),
) -> pd.DataFrame:
    """Give the share of people who are there within so many minutes, by each way of travelling.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    kinds : sequence of str, optional
        Which kinds; all of the plan where not given.
    minutes : sequence of float
        The minutes to ask for.

    Returns
    -------
    DataFrame
        One row a kind × setting × alternative of its standard × minutes: `kind, setting, mode,
        measure, minutes, covered, unknown, total, share` of people, and `limit_minutes` of the
        standard. Of a composite circle all required kinds must be reached. Where `measure` is not
        ``"time"``, minutes are metres at the mode's speed on the level.

    Raises
    ------
    InputError
        For a kind the plan does not have.

    Notes
    -----
    At the limit of a standard with one alternative the share is that of ``report.rates`` by
    people, and 1 less the share of any minutes is who is farther. Capacity is left aside.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> report = fc.assess(units, facilities, access, plan)
    >>> curve = report.curve(kinds=["clinic"], minutes=[5, 15, 30])
    >>> bool(curve.groupby(["setting", "mode"])["share"].is_monotonic_increasing.all())
    True
    """
    chosen = _known_kinds(report.plan, kinds)
    asked = np.asarray(list(minutes), dtype=float)
    parts = [
        _curve_of(report, found, alternative, asked)
        for found in report.point_verdicts
        if found.standard.kind in chosen
        for alternative in found.standard.alternatives
    ]
    return pd.concat(parts, ignore_index=True)


def _known_kinds(plan: Plan, kinds: Sequence[str] | None) -> tuple[str, ...]:
    if kinds is None:
        return plan.kinds
    unknown = [kind for kind in kinds if kind not in plan.kinds]
    if unknown:
        raise InputError(
            f"the plan has no standard for {', '.join(map(repr, unknown))}: it has "
            f"{', '.join(plan.kinds)}"
        )
    return tuple(kinds)


def _curve_of(
    report: CoverageReport, found: PointVerdicts, alternative: Alternative, asked: Floats
) -> pd.DataFrame:
    access, standard = report.access, found.standard
    way = access.way(standard, alternative)
    slowest = np.zeros(found.points.size)
    unknown = np.zeros(found.points.size, dtype=bool)
    for pool in pools_of(standard)[: len(standard.required_kinds)]:
        nearest = access.nearest[pool, way]
        slowest = np.fmax(slowest, np.nan_to_num(nearest.minutes[found.points], nan=np.inf))
        unknown |= CANNOT_TELL[reason_codes(nearest.reason)[found.points]]
    people = found.people.count[found.points]
    order = np.argsort(slowest, kind="stable")
    ranked, sums = slowest[order], np.r_[0.0, np.cumsum(people[order])]
    covered = sums[np.searchsorted(ranked, asked + ROUNDING, side="right")]
    total = float(people.sum())
    return pd.DataFrame(
        {
            "kind": standard.kind,
            "setting": found.setting,
            "mode": alternative.mode,
            "measure": alternative.measure,
            "minutes": asked,
            "covered": covered,
            "unknown": float(people[unknown].sum()),
            "total": total,
            "share": covered / total if total else np.nan,
            "limit_minutes": alternative.limit_minutes(report.plan.modes),
        }
    )


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How rates and units change when speeds or legs do.

    Attributes
    ----------
    rates : DataFrame
        One row a figure: `kind, setting, basis, measure, share`, the band `share_low` to
        `share_high` over all cases, `covered, covered_low, covered_high`, and `target` with
        `met_low`, `met_high`: whether it is met at either end (missing where there is none).
    units : DataFrame
        The units whose verdict flips in some case: `kind, unit_code, name, township, setting,
        basis, case, before, after`.
    cases : DataFrame
        One row a case × figure: `case`, `speed_factor`, `leg_factor` and the columns of
        ``report.rates``.
    """

    rates: pd.DataFrame
    units: pd.DataFrame
    cases: pd.DataFrame

    def __repr__(self) -> str:
        """Say how many units flip."""
        names = ", ".join(self.cases["case"].unique())
        return f"<Sensitivity: {len(self.units)} flips of units in the cases {names}>"

    def _repr_html_(self) -> str:
        shown = self.rates[self.rates["measure"] != "area"]
        table = shown.assign(
            **{name: shown[name].map(lambda key, group=name: label(group, key)) for name in _KEY}
        ).rename(columns=lambda name: label("column", name))
        percent = [label("column", name) for name in ("share", "share_low", "share_high", "target")]
        styled = table.style.hide(axis="index").format(precision=0, na_rep="—")
        styled = styled.format("{:.1%}", subset=percent, na_rep="—")
        return f"<p>{escape(repr(self)[1:-1])}</p>{styled.to_html()}"


def sensitivity(report: CoverageReport, *, speed: float = 0.2, leg: float = 0.3) -> Sensitivity:
    """Assess again with all speeds higher and lower, and with longer and shorter legs.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    speed : float
        By which share speeds may be wrong, e.g. 0.2: 80 % and 120 % of each.
    leg : float
        By which share the way between a door and the road may be (its `leg_detour`; no way is
        shorter than the straight line).

    Returns
    -------
    Sensitivity
        The band on each rate, and the units that flip. One assumption is changed at a time.

    Raises
    ------
    InputError
        Where a share is not from 0 to below 1.

    Notes
    -----
    At a speed c times as high every trip takes 1/c of its minutes, so the limits are multiplied by
    c instead, which is exact (delays at junctions scale along). Limits in metres do not change.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> band = fc.assess(units, facilities, access, plan).sensitivity(speed=0.2, leg=0.3).rates
    >>> bool((band["share_low"] <= band["share_high"]).all())
    True
    """
    for name, value in (("speed", speed), ("leg", leg)):
        if not 0 <= value < 1:
            raise InputError(f"{name} is a share from 0 to below 1 (20 % is 0.2), not {value!r}")
    cases = [
        _Case(f"speed {sign}{speed:.0%}", speed_factor=1 + change)
        for sign, change in _signed(speed)
    ]
    cases += [_Case(f"leg {sign}{leg:.0%}", leg_factor=1 + change) for sign, change in _signed(leg)]
    reports = [(case, _assessed(report, case)) for case in cases]
    figures = [
        changed.rates.assign(
            case=case.name, speed_factor=case.speed_factor, leg_factor=case.leg_factor
        )
        for case, changed in reports
    ]
    return Sensitivity(
        rates=_band(report, [changed for _, changed in reports]),
        units=pd.concat([_flips(report, case, changed) for case, changed in reports]).reset_index(
            drop=True
        ),
        cases=pd.concat(figures, ignore_index=True),
    )


def _signed(share: float) -> Iterator[tuple[str, float]]:
    if share > 0:
        yield "−", -share
        yield "+", share


@dataclass(frozen=True)
class _Case:
    name: str
    speed_factor: float = 1.0
    leg_factor: float = 1.0


def _assessed(report: CoverageReport, case: _Case) -> CoverageReport:
    plan, access = report.plan, report.access
    if case.leg_factor != 1:
        detour = max(1.0, access.options["leg_detour"] * case.leg_factor)
        access = with_leg_detour(access, plan, detour)
    if case.speed_factor != 1:
        plan = replace(
            plan,
            standards=tuple(
                replace(
                    standard,
                    alternatives=tuple(
                        each
                        if each.minutes is None
                        else replace(each, minutes=each.minutes * case.speed_factor)
                        for each in standard.alternatives
                    ),
                )
                for standard in plan.standards
            ),
        )
    return assess(report.units, report.facilities, access, plan)


def _band(report: CoverageReport, reports: Sequence[CoverageReport]) -> pd.DataFrame:
    every = pd.concat([each.rates for each in (report, *reports)])
    grouped = every.groupby(_KEY, sort=False)
    table = report.rates[[*_KEY, "share", "covered", "target"]].set_index(_KEY)
    for name in ("share", "covered"):
        table[f"{name}_low"], table[f"{name}_high"] = grouped[name].min(), grouped[name].max()
    missing = every.assign(met=every["missing"] <= 0).groupby(_KEY, sort=False)["met"]
    promised = table["target"].notna()
    table["met_low"] = missing.min().reindex(table.index).astype("boolean").where(promised)
    table["met_high"] = missing.max().reindex(table.index).astype("boolean").where(promised)
    order = [
        "share",
        "share_low",
        "share_high",
        "covered",
        "covered_low",
        "covered_high",
        "target",
        "met_low",
        "met_high",
    ]
    return table[order].reset_index()


def _flips(report: CoverageReport, case: _Case, changed: CoverageReport) -> pd.DataFrame:
    parts = []
    names = ["kind", "unit_code", "name", "township", "setting"]
    for basis in ("ledger", "reachable"):
        before, after = (each.verdicts[f"{basis}_state"] for each in (report, changed))
        rows = (before != after).to_numpy()
        parts.append(
            report.verdicts.loc[rows, names].assign(
                basis=basis, case=case.name, before=before[rows], after=after[rows]
            )
        )
    return pd.concat(parts)
