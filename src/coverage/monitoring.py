"""Yearly monitoring (监测评估): coverage year by year beside the path from baseline to target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

import pandas as pd

from .assessment import CoverageReport
from .errors import InputError
from .scenarios import refuse_strangers
from .standards import Indicator, Plan

__all__ = ["monitor"]

_BASES = ("ledger", "reachable")


def monitor(
    reports: Mapping[int, CoverageReport], *, kind: str = "comprehensive_service"
) -> pd.DataFrame:
    """Follow coverage year by year along the path from a plan's baseline to its target.

    Parameters
    ----------
    reports : mapping of int to CoverageReport
        By year, within the plan's; of the same county. The plan of the latest one counts.
    kind : str
        Which kind of facility.

    Returns
    -------
    DataFrame
        One row a setting × basis × year, from the plan's baseline year to its target year:
        `year, kind, setting, basis, covered, unknown, total, share, path_share, path_units,
        ahead_units` (covered less `path_units`), `met` (whether the path is kept; missing where
        units that cannot be told decide). Years without a report have a path and no figures.

    Raises
    ------
    InputError
        Where there is no report, a year lies outside the plan, the reports are of different
        counties or of plans with other years, or the plan sets no standard for the kind.

    Notes
    -----
    The path is a straight line of shares from the baseline to the target, in exact fractions,
    and each year's share is counted in whole units as targets are: rounded up, so that 80 % of
    199 villages is 160. The baseline is the plan's where an indicator states one for the kind and
    setting on that basis, else the share in the first report, from its year on: before it there
    is no path. Where the baseline is above the target, the target is the path. A year's path is
    counted over its report's units; without a report, over those of the last one before it, or
    of the first. Where the plan has no target there is no path.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> table = fc.monitor({2020: fc.assess(units, facilities, access, plan)})
    >>> villages = table.query("setting == 'rural' and basis == 'ledger'")
    >>> villages["path_units"].tolist()
    [120.0, 128.0, 136.0, 144.0, 152.0, 160.0]
    >>> villages[["covered", "ahead_units"]].iloc[0].tolist(), bool(villages["met"].iloc[0])
    ([120.0, 0.0], True)
    """
    plan = _plan_of(reports, kind)
    figures = {
        year: report.rates[(report.rates["kind"] == kind) & (report.rates["measure"] == "units")]
        for year, report in sorted(reports.items())
    }
    series = dict.fromkeys(
        key
        for basis in _BASES
        for table in figures.values()
        for key in table.loc[table["basis"] == basis, ["setting", "basis"]].itertuples(
            index=False, name=None
        )
    )
    rows = [
        row
        for setting, basis in sorted(series, key=lambda key: key[0] != "rural")
        for row in _followed(plan, kind, setting, basis, figures)
    ]
    columns = ["covered", "unknown", "total", "share", "path_share", "path_units", "ahead_units"]
    table = pd.DataFrame(rows, columns=["year", "kind", "setting", "basis", *columns, "met"])
    return table.astype({"year": int, "met": "boolean", **dict.fromkeys(columns, float)})


def _plan_of(reports: Mapping[int, CoverageReport], kind: str) -> Plan:
    """Give the plan that counts, or say why the reports cannot be followed."""
    if not reports:
        raise InputError("there is no report to follow: give {year: report}")
    plan = reports[max(reports)].plan
    first, last = plan.baseline_year, plan.target_year
    outside = [year for year in reports if not first <= year <= last]
    if outside:
        raise InputError(
            f"the plan runs from {first} to {last}, and there are reports of "
            f"{', '.join(map(str, sorted(outside)))}: leave them out, or give the plan's years"
        )
    others = {(each.plan.baseline_year, each.plan.target_year) for each in reports.values()} - {
        (first, last)
    }
    if others:
        years = "; ".join(f"{a}-{b}" for a, b in sorted(others))
        raise InputError(
            f"the reports are of plans with other years ({years} beside {first}-{last}): assess "
            "all of them against one plan"
        )
    refuse_strangers(dict(sorted(reports.items())))
    if kind not in plan.kinds:
        raise InputError(
            f"the plan sets no standard for {kind!r}; it does for {', '.join(plan.kinds)}"
        )
    return plan


def _followed(
    plan: Plan, kind: str, setting: str, basis: str, figures: Mapping[int, pd.DataFrame]
) -> Iterator[tuple[object, ...]]:
    """Give the rows of one setting and basis."""
    counts = {}
    for year, table in figures.items():
        mine = table[(table["setting"] == setting) & (table["basis"] == basis)]
        for row in mine.itertuples():
            counts[year] = (float(row.covered), float(row.unknown), int(row.total))
    path = _Path.of(plan, kind, setting, basis, counts)
    for year in range(plan.baseline_year, plan.target_year + 1):
        covered, unknown, total = counts.get(year, (math.nan, math.nan, None))
        of = counts[max((y for y in counts if y <= year), default=min(counts))][2]
        share = path.share(year)
        units = math.nan if share is None else float(math.ceil(share * of))
        met = None
        if covered >= units:
            met = True
        elif covered + unknown < units:
            met = False
        yield (
            year,
            kind,
            setting,
            basis,
            covered,
            unknown,
            math.nan if total is None else total,
            covered / total if total else math.nan,
            math.nan if share is None else float(share),
            units,
            covered - units,
            met,
        )


class _Path(NamedTuple):
    """A straight line of shares between two years."""

    first: int
    last: int
    start: Fraction | None
    end: Fraction | None

    @classmethod
    def of(
        cls,
        plan: Plan,
        kind: str,
        setting: str,
        basis: str,
        counts: Mapping[int, tuple[float, float, int]],
    ) -> _Path:
        stated = _stated(plan, kind, setting, f"{basis}_share")
        standard = plan.standard(kind, setting)
        promised = standard.target_share if standard else None
        if stated and stated.target is not None:
            promised = stated.target
        # As decimals, as a plan writes them: 0.8 is not exactly four fifths as a float.
        end = None if promised is None else Fraction(str(promised))
        first, last = plan.baseline_year, plan.target_year
        if stated and stated.baseline is not None:
            start: Fraction | None = Fraction(str(stated.baseline))
        else:
            first = min(counts)
            covered, _, total = counts[first]
            start = Fraction(int(covered), total) if total else None
        if start is not None and end is not None:
            start = min(start, end)  # what is promised already is to be kept
        return cls(first, last, start, end)

    def share(self, year: int) -> Fraction | None:
        if self.start is None or self.end is None or year < self.first:
            return None
        if year == self.last:
            return self.end
        return self.start + (self.end - self.start) * Fraction(
            year - self.first, self.last - self.first
        )


def _stated(plan: Plan, kind: str, setting: str, formula: str) -> Indicator | None:
    """Give the plan's indicator of a rate, if it has one."""
    for one in plan.indicators:
        if (one.kind, one.setting, one.formula) == (kind, setting, formula):
            return one
    return None
