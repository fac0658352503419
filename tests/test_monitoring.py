"""Yearly monitoring beside the target path: worked by hand."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import facility_coverage as fc

from .test_scenarios import (
    BEFORE,
    RURAL,
    ledger,
    tiny,
    tiny_before,
    tiny_demand,
    tiny_roads,
    tiny_units,
)

__all__ = ["tiny", "tiny_before", "tiny_demand", "tiny_roads", "tiny_units"]  # fixtures


def test_monitoring_by_hand(report):
    table = fc.monitor({2020: report})
    villages = table.query("setting == 'rural' and basis == 'ledger'")
    # From 60 % to 80 % of 199: 119.4, 127.36, 135.32, 143.28, 151.24 and 159.2, counted up.
    assert villages["year"].tolist() == [2020, 2021, 2022, 2023, 2024, 2025]
    assert villages["path_units"].tolist() == [120, 128, 136, 144, 152, 160]
    assert np.allclose(villages["path_share"], [0.6, 0.64, 0.68, 0.72, 0.76, 0.8])
    first = villages.iloc[0]
    assert first[["covered", "total", "ahead_units"]].tolist() == [120, 199, 0]
    assert first["share"] == pytest.approx(120 / 199)
    assert first["met"]
    assert (
        villages[["covered", "unknown", "total", "share", "ahead_units", "met"]][1:]
        .isna()
        .all(axis=None)
    )
    towns = table.query("setting == 'urban' and basis == 'ledger'")
    assert towns["path_units"].tolist() == [14] * 6
    # Where the plan states no baseline the first report is it: 154 of 199 villages.
    reached = table.query("setting == 'rural' and basis == 'reachable'")
    start = Fraction(int(reached["covered"].iloc[0]), 199)
    line = [start + (Fraction(4, 5) - start) * Fraction(year, 5) for year in range(6)]
    assert reached["path_units"].tolist() == [-int(-share * 199 // 1) for share in line]
    assert reached["path_units"].iloc[-1] == 160


def test_monitoring_years_apart(report, tiny_before):
    table = fc.monitor({2021: report, 2023: report}).query(
        "setting == 'rural' and basis == 'ledger'"
    )
    assert table["covered"].isna().tolist() == [True, False, True, False, True, True]
    assert table["ahead_units"].dropna().tolist() == [120 - 128, 120 - 144]
    # Three villages of unknown state do not close a gap of eight.
    assert table["met"].dropna().tolist() == [False, False]
    reached = fc.monitor({2021: report, 2023: report}).query(
        "setting == 'rural' and basis == 'reachable'"
    )
    assert reached["path_units"].isna().tolist() == [True, False, False, False, False, False]
    # Without an indicator the promise of the standard is the target: four fifths of twelve.
    own = fc.monitor({2020: tiny_before}).query("basis == 'ledger'")
    assert own["path_units"].tolist() == [6, 7, 8, 9, 9, 10]  # 6, 6.72, 7.44, 8.16, 8.88, 9.6
    assert own["met"].iloc[0]


def test_a_gap_that_the_unknown_may_close_cannot_be_told(tiny):
    table = ledger(BEFORE)
    share = dataclasses.replace(RURAL, target_share=0.58)
    indicator = fc.Indicator(
        1, "覆盖率", "share", "ledger_share", "share", 0.58, 0.58,
        kind="comprehensive_service", setting="rural",
    )  # fmt: skip
    before = tiny(table, standards=[share])
    before = dataclasses.replace(
        before, plan=dataclasses.replace(before.plan, indicators=(indicator,))
    )
    row = fc.monitor({2020: before}).query("basis == 'ledger'").iloc[0]
    assert row[["covered", "unknown", "path_units", "ahead_units"]].tolist() == [6, 1, 7, -1]
    assert pd.isna(row["met"])


@pytest.mark.parametrize(
    ("years", "kind", "message"),
    [
        ((), "comprehensive_service", "there is no report"),
        ((2019, 2020, 2026), "comprehensive_service", "from 2020 to 2025.*reports of 2019, 2026"),
        ((2020,), "school", "no standard for 'school'; it does for comprehensive_service"),
    ],
)
def test_what_cannot_be_monitored(report, years, kind, message):
    with pytest.raises(fc.InputError, match=message):
        fc.monitor(dict.fromkeys(years, report), kind=kind)


def test_reports_of_plans_with_other_years_are_refused(report):
    longer = dataclasses.replace(report, plan=dataclasses.replace(report.plan, target_year=2030))
    with pytest.raises(fc.InputError, match="other years"):
        fc.monitor({2020: report, 2022: longer})
