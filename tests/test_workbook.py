"""The workbook, reopened and compared with the report."""

from __future__ import annotations

import dataclasses

import pytest
from openpyxl import load_workbook

import facility_coverage as fc

SHEETS = ["概览", "覆盖率", "单元明细", "缺口清单", "项目库", "设施台账核对", "口径与来源"]


@pytest.fixture(scope="module")
def book(report, projects, tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "a.xlsx"
    return load_workbook(fc.write_workbook(report, projects, path))


def rows(sheet):
    table = list(sheet.iter_rows(min_row=4, values_only=True))
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_sheets_and_the_stamp_on_each(book):
    assert book.sheetnames == SHEETS
    for sheet in book:
        assert "示例数据，非测绘成果" in sheet["A2"].value


def test_rates_are_exact_and_judged_before_rounding(book, report):
    written = rows(book["覆盖率"])
    assert len(written) == len(report.rates)
    first = written[0]
    assert (first["已覆盖"], first["合计"], first["尚缺"], first["判定"]) == (
        120,
        199,
        40,
        "未达标",
    )
    assert first["覆盖率"] == 120 / 199  # exact; shown with one decimal
    cell = book["覆盖率"].cell(5, 9)
    assert (cell.value, cell.number_format) == (120 / 199, "0.0%")


def test_projects_and_gaps_are_complete(book, report, projects):
    pool = rows(book["项目库"])
    assert [row["区划代码"] for row in pool] == projects["unit_code"].tolist()
    assert {row["建设性质"] for row in pool} <= {
        "新建",
        "改扩建",
        "共享",
        "租赁购买",
        "内部改造",
        "运营提升",
        "核实数据",
    }
    assert sum(row["列入2025年任务"] == "是" for row in pool) == projects["in_quota"].sum()
    assert len(rows(book["缺口清单"])) == len(report.gaps)
    assert len(rows(book["单元明细"])) == len(report.verdicts)
    # No row of the sample was set aside and no value left unknown.
    intake = rows(book["设施台账核对"])
    assert {row["级别"] for row in intake} <= {"提醒", "说明"}
    assert {row["影响"] for row in intake} <= {"原样采用", "换算后采用", "—"}
    assert "geometry" not in {row["字段"] for row in intake}
    assert [row["级别"] for row in intake] == sorted(row["级别"] for row in intake)  # 提醒 first
    assert len(intake) == len(
        fc.intake_report(report.units, report.demand, report.facilities, report.roads)
    )
    # Counts no one knows are dashes, never 0.
    unknown = [row["缺口面积（㎡）"] for row in pool if row["建设性质"] == "核实数据"]
    assert set(unknown) == {"—"}


def test_indicators_that_cannot_be_computed_say_what_is_missing(book):
    table = list(book["概览"].iter_rows(min_row=5, max_row=11, values_only=True))
    assert [row[3] for row in table][:2] == [120 / 199, 1.0]
    assert table[0][5] == "未达标"
    assert table[2][3] == "—"
    assert "floor area of new communities" in table[2][6]


def test_names_are_text_whatever_they_begin_with(report, projects, tmp_path):
    units = report.units.copy()
    units.loc[0, "name"] = '=HYPERLINK("http://x","y")'
    verdicts = report.verdicts.copy()
    verdicts.loc[verdicts["unit_code"] == units["unit_code"][0], "name"] = units.loc[0, "name"]
    changed = dataclasses.replace(report, units=units, verdicts=verdicts)
    sheet = load_workbook(fc.write_workbook(changed, projects, tmp_path / "a.xlsx"))["单元明细"]
    cell = next(
        cell for (cell,) in sheet.iter_rows(min_col=2, max_col=2) if str(cell.value).startswith("=")
    )
    assert cell.data_type == "s"


def test_english_and_no_half_files(report, projects, tmp_path):
    path = fc.write_workbook(report, projects, tmp_path / "new" / "a.xlsx", lang="en")
    assert load_workbook(path).sheetnames[0] == "Overview"
    assert [p.name for p in path.parent.iterdir()] == ["a.xlsx"]
