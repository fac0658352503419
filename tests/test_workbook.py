"""The workbook, reopened and compared with the report; formulas as LibreOffice has them."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

import facility_coverage as fc
from facility_coverage.terms import label, labels

SHEETS = [
    "概览",
    "覆盖率",
    "单元明细",
    "缺口清单",
    "项目库",
    "年度任务",
    "设施台账核对",
    "口径与来源",
]
POOL = [
    "序号",
    "项目名称",
    "所属工程",
    "乡镇",
    "建设地点",
    "建设性质",
    "建设内容及规模",
    "新增建筑面积（㎡）",
    "服务村（社区）",
    "受益户数",
    "受益人口",
    "总投资（万元）",
    "资金来源",
    "责任单位",
    "配合单位",
    "建设年限（期限）",
    "前期进展",
    "用地落实",
    "坐标（经度,纬度）",
    "新增覆盖村",
    "累计覆盖率",
    "备注",
]
FRONTIER = pd.DataFrame(
    {
        "budget": [0.0, 60.0, 120.5],
        "cost": [0.0, 55.5, 118.0],
        "works": [0, 6, 11],
        "units_gained": [0, 20, 31],
        "people_gained": [0.0, 21000.0, 30500.0],
        "share": [120 / 199, 140 / 199, 151 / 199],
        "gap": [0.0, 0.0, 0.0],
    }
)
SUMMED = {
    "新增建筑面积（㎡）": "short_floor_area_m2",
    "受益户数": "households",
    "受益人口": "residents",
    "总投资（万元）": "cost",
    "新增覆盖村": "units_gained",
}


@pytest.fixture(scope="module")
def costed(projects):
    """The pool with a cost for whatever is due: 3.25 and its number in tenths."""
    cost = (3.25 + projects["number"] / 10).where(projects["in_quota"])
    return projects.assign(cost=cost)


@pytest.fixture(scope="module")
def path(report, costed, tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "a.xlsx"
    return fc.write_workbook(report, costed, path, frontier=FRONTIER)


@pytest.fixture(scope="module")
def book(path):
    return load_workbook(path)


@pytest.fixture(scope="module")
def recomputed(path):
    """The same workbook as LibreOffice computes it."""
    office = shutil.which("soffice")
    if office is None:
        if os.environ.get("FACILITY_COVERAGE_REQUIRE_OFFICE") == "1":
            pytest.fail("FACILITY_COVERAGE_REQUIRE_OFFICE=1, but there is no soffice")
        pytest.skip("LibreOffice (soffice) is not installed: formulas are not recomputed")
    out = path.parent / "recomputed"
    profile = f"-env:UserInstallation={(path.parent / 'profile').as_uri()}"
    command = [office, "--headless", profile, "--convert-to", "xlsx", "--outdir", out, path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return load_workbook(out / path.name, data_only=True, read_only=True)


def below(sheet, heading=None):
    """Give the table under a heading (or the sheet's only one) as dicts, totals included."""
    lines = list(sheet.iter_rows(values_only=True))
    start = 3 if heading is None else [line[0] for line in lines].index(heading) + 1
    names = [name for name in lines[start] if name]
    table = []
    for line in lines[start + 1 :]:
        if line[0] is None:
            break
        table.append(dict(zip(names, line[: len(names)], strict=True)))
    return table


def header_of(name):
    return labels("workbook_column").get(name) or label("column", name)


def shown(value):
    """Give what a cell must hold for a value of a table: 16 digits, as openpyxl writes them."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "—"
    return pytest.approx(value, rel=1e-15) if isinstance(value, float) else value


def test_sheets_are_ready_to_print_and_filter(book):
    assert book.sheetnames == SHEETS
    for sheet in book:
        assert "示例数据，非测绘成果" in sheet["A2"].value
        assert sheet.freeze_panes is not None
        assert (sheet.page_setup.orientation, sheet.page_setup.paperSize) == ("landscape", 9)
        assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (1, 0)
        assert sheet.print_area.startswith(f"'{sheet.title}'!$A$1:")
        assert sheet.print_title_rows in {"$1:$2", "$1:$4"}
    assert book["单元明细"].auto_filter.ref == f"A4:S{book['单元明细'].max_row}"
    assert book["项目库"].auto_filter.ref == f"A4:Z{book['项目库'].max_row - 2}"  # no totals
    for table in book["覆盖率"].tables.values():
        head = [cell.value for cell in book["覆盖率"][table.ref][0]]
        assert len(set(head)) == len(head)  # Excel refuses a table whose columns share a name


def test_rates_are_exact_cell_by_cell(book, report):
    written = below(book["覆盖率"], "按口径和城乡")
    assert len(written) == len(report.rates)
    names = {header_of(name): name for name in report.rates}
    for line, row in zip(written, report.rates.to_dict("records"), strict=True):
        for header, name in names.items():
            area = row["measure"] == "area" and re.match("covered|unc|unk|total", name)
            value = row[name] / 1e6 if area else row[name]
            value = label(name, value) if isinstance(value, str) else shown(value)
            assert line[header] == value, (header, row)
    assert written[0]["判定"] == "未达标"
    cell = book["覆盖率"].cell(5, 9)
    assert (cell.value, cell.number_format) == (120 / 199, "0.0%")
    assert book["覆盖率"].cell(6, 5).number_format == "#,##0"


def test_townships_have_their_rows_and_formulas_for_totals(book, report):
    written = below(book["覆盖率"], "按乡镇（街道）")
    assert len(written) == len(report.townships)
    for line, row in zip(written, report.townships.to_dict("records"), strict=True):
        assert line["设施类型"] == label("kind", row["kind"])
        if row["township"] == "total":
            assert line["乡镇"] == "合计"
            counts = [line[header_of(name)] for name in report.townships.columns[3:]]
            assert all(str(value).startswith("=") for value in counts)
            continue
        for name in report.townships.columns[3:]:
            value = row[name]
            asked = not (name.startswith("ledger") and np.isnan(value))
            expected = shown(value) if asked else "不适用"
            assert line[header_of(name)] == expected, (name, row)


def test_units_and_gaps_cell_by_cell(book, report):
    for sheet, table in (("单元明细", report.verdicts), ("缺口清单", report.gaps)):
        written = below(book[sheet])
        ordered = table.sort_values("unit_code", kind="stable")
        assert [line["区划代码"] for line in written] == ordered["unit_code"].tolist()
        for header, name in (
            ("台账判定", "ledger_state"),
            ("可达判定", "reachable_state"),
            ("可达原因", "reachable_reason"),
        ):
            group = name.split("_")[1]
            expected = [label(group, value) for value in ordered[name]]
            assert [line[header] or "" for line in written] == expected
        for name in ("minutes", "people_covered", "people_unknown", "people_share"):
            header = header_of(name)
            assert [line[header] for line in written] == [shown(v) for v in ordered[name].tolist()]


def test_verdicts_a_little_over_the_limit_are_amber_and_say_so(book, report):
    table = report.verdicts
    over = table["minutes"] - table["limit_minutes"]
    late = (table["reachable_state"] == "uncovered") & table["reachable_reason"].isin(
        ["", "too_far"]
    )
    told = [line["超时（分钟）"] for line in below(book["单元明细"])]
    told = [value for value in told if isinstance(value, float | int)]
    assert sorted(told) == pytest.approx(sorted(over[late & over.notna()].clip(lower=0)))
    rules = {
        rule.formula[0]: rule.dxf.fill.bgColor.rgb[-6:]
        for area in book["单元明细"].conditional_formatting
        if str(area.sqref).startswith("I5")
        for rule in area.rules
    }
    assert set(rules) == {
        "AND(ISNUMBER($M5),$M5<=5)",
        '"已覆盖"',
        '"未覆盖"',
        '"无法判定"',
    }
    assert len(set(rules.values())) == 4


def test_the_pool_has_the_columns_a_county_expects(book, report, costed):
    sheet = book["项目库"]
    pool = below(sheet)[:-2]
    assert [cell.value for cell in sheet[4]][: len(POOL)] == POOL
    assert sheet.print_area.split("$")[3] == "V"  # keys to the right of the remarks stay off paper
    assert [line["区划代码"] for line in pool] == costed["unit_code"].tolist()
    names = dict(zip(report.units["unit_code"], report.units["name"], strict=True))
    hosts = dict(zip(report.facilities["facility_id"], report.facilities["name"], strict=True))
    years = fc.annual_tasks(costed, report).set_index("number")["year"]
    for line, row in zip(pool, costed.itertuples(), strict=True):
        assert line["建设性质"] == label("nature", row.nature)
        assert (line["受益户数"], line["受益人口"]) == (row.households, row.residents)
        assert line["新增建筑面积（㎡）"] == shown(row.short_floor_area_m2)
        assert line["总投资（万元）"] == (None if np.isnan(row.cost) else row.cost)
        assert line["累计覆盖率"] == row.cumulative_share
        assert line["列入任务"] == ("是" if row.in_quota else "否")
        assert line["建设年限（期限）"] == (years.get(row.number) if row.in_quota else None)
        served = row.serves.split(";") if isinstance(row.serves, str) else [row.unit_code]
        assert line["服务村（社区）"] == "、".join(names[code] for code in served)
        if isinstance(row.host_facility_id, str):
            assert line["建设地点"] == hosts[row.host_facility_id]
            if row.nature in {"extension", "sharing", "operation"}:
                assert hosts[row.host_facility_id] in line["建设内容及规模"]
        if row.nature == "extension" and row.planned_floor_area_m2 > 0:
            assert f"{row.planned_floor_area_m2:,.0f} ㎡" in line["建设内容及规模"]
        for county in ("资金来源", "责任单位", "配合单位", "前期进展", "用地落实", "备注"):
            assert line[county] is None  # blank: only the county knows
    cost, area = (sheet.cell(5, POOL.index(name) + 1) for name in ("总投资（万元）", POOL[7]))
    assert (cost.number_format, area.number_format) == ("#,##0.0", "#,##0")
    # An area no one knows is a dash, never 0.
    unknown = [line["新增建筑面积（㎡）"] for line in pool if line["建设性质"] == "核实数据"]
    assert set(unknown) == {"—"}


def test_tasks_follow_their_years(book, report, costed):
    tasks = fc.annual_tasks(costed, report)
    written = below(book["年度任务"])[:-1]
    assert [line["年份"] for line in written] == tasks["year"].tolist()
    assert [line["序号"] for line in written] == tasks["number"].tolist()
    assert [line["受益人口"] for line in written] == tasks["residents"].tolist()
    yearly = below(book["概览"], "年度任务分解")
    assert [line["年份"] for line in yearly] == [2021, 2022, 2023, 2024, 2025, "合计"]


def test_intake_is_told_complete(book, report):
    intake = below(book["设施台账核对"])
    # No row of the sample was set aside and no value left unknown.
    assert {line["级别"] for line in intake} <= {"提醒", "说明"}
    assert {line["影响"] for line in intake} <= {"原样采用", "换算后采用", "—"}
    assert "geometry" not in {line["字段"] for line in intake}
    assert [line["级别"] for line in intake] == sorted(line["级别"] for line in intake)
    assert len(intake) == len(
        fc.intake_report(report.units, report.demand, report.facilities, report.roads)
    )


def test_indicators_that_cannot_be_computed_say_what_is_missing(book, report):
    table = below(book["概览"], "指标与承诺")
    assert len(table) == len(report.indicators) + len(report.promises)
    assert [line["现状值"] for line in table][:2] == [120 / 199, 1.0]
    assert table[0]["判定"] == "未达标"
    assert table[2]["现状值"] == "—"
    assert "新建社区总建筑面积" in table[2]["缺什么数据"]
    assert "floor area" not in table[2]["缺什么数据"]


def test_the_frontier_is_a_table_and_a_native_line_chart(book):
    table = below(book["概览"], "投入与覆盖率")
    assert [line["预算（万元）"] for line in table] == FRONTIER["budget"].tolist()
    assert [line["覆盖率"] for line in table] == FRONTIER["share"].tolist()
    (chart,) = book["概览"]._charts
    (series,) = chart.series
    cells = book["概览"][series.val.numRef.f.split("!")[1].replace("$", "")]
    assert [cell.value for (cell,) in cells] == FRONTIER["share"].tolist()


def total_of(values):
    """Add up; what is not known makes the sum unknown."""
    return "—" if values.isna().any() else pytest.approx(values.sum())


def test_totals_recompute_to_independent_sums(recomputed, report, costed):
    everything = {
        value
        for sheet in recomputed
        for line in sheet.iter_rows(values_only=True)
        for value in line
        if isinstance(value, str)
    }
    assert not [value for value in everything if value.startswith(("#", "Err:"))]
    *_, total, due = below(recomputed["项目库"])
    chosen = costed[costed["in_quota"]]
    for header, name in SUMMED.items():
        assert total[header] == total_of(costed[name])
        assert due[header] == total_of(chosen[name])
    assert total["总投资（万元）"] == "—"  # of what is not due no cost is known
    assert due["总投资（万元）"] == pytest.approx(chosen["cost"].sum())
    tasks = fc.annual_tasks(costed, report)
    assert below(recomputed["年度任务"])[-1]["受益人口"] == tasks["residents"].sum()
    verdicts = report.verdicts[report.verdicts["kind"] == "comprehensive_service"]
    rural = verdicts[verdicts["setting"] == "rural"]
    covered = (rural["ledger_state"] == "covered").sum()
    yearly = below(recomputed["概览"], "年度任务分解")
    for year, line in zip(sorted(tasks["year"].unique()), yearly, strict=False):
        own = tasks[tasks["year"] == year]
        assert line["项目数"] == len(own)
        for header, name in SUMMED.items():
            assert line[header] == total_of(own[name])
        gained = tasks.loc[tasks["year"] <= year, "units_gained"].sum()
        assert line["累计覆盖率"] == pytest.approx((covered + gained) / len(rural))
    assert yearly[-1]["总投资（万元）"] == total_of(tasks["cost"])
    summary = below(recomputed["概览"], "三项工程")[-1]
    assert summary["受益人口"] == costed["residents"].sum()
    assert summary["缺口面积（㎡）"] == "—"  # not a silent partial sum


def test_township_totals_recompute_to_the_report(recomputed, report):
    written = below(recomputed["覆盖率"], "按乡镇（街道）")
    for line, row in zip(written, report.townships.to_dict("records"), strict=True):
        for name in report.townships.columns[3:]:
            value = row[name]
            nothing = "不适用" if name.startswith("ledger") else "—"
            expected = nothing if np.isnan(value) else pytest.approx(value)
            assert line[header_of(name)] == expected, (name, row)


def test_people_no_one_has_counted_make_the_total_unknown(report, projects, tmp_path):
    verdicts = report.verdicts.copy()
    verdicts.loc[verdicts["unit_code"] == "130824001001", ["people", "people_covered"]] = np.nan
    changed = dataclasses.replace(report, verdicts=verdicts.head(426))
    few = projects.head(3).assign(residents=[1.0, np.nan, 2.0])
    book = load_workbook(fc.write_workbook(changed, few, tmp_path / "a.xlsx"))
    assert below(book["覆盖率"], "按乡镇（街道）")[0]["人口"] == "—"
    assert below(book["项目库"])[1]["受益人口"] == "—"
    total = below(book["项目库"])[-2]["受益人口"]
    cells = "'项目库'!$K$5:$K$7"
    assert total == (
        f'=IF(COUNT({cells})+COUNTIF({cells},"不适用")<ROWS({cells}),"—",'
        f'IF(COUNT({cells})=0,"不适用",SUM({cells})))'
    )


def test_names_are_text_whatever_they_begin_with(report, projects, tmp_path):
    names = ['=HYPERLINK("http://x","y")', "+1+1", "-2", "@SUM(A1)", "bell\x07"]
    few = projects.head(5).copy()
    few["name"] = names
    few["township"] = names
    few["host_facility_id"] = names
    verdicts = report.verdicts.head(5).assign(name=names)
    changed = dataclasses.replace(report, verdicts=verdicts)
    book = load_workbook(fc.write_workbook(changed, few, tmp_path / "a.xlsx"))
    for sheet, letter in (("单元明细", "B"), ("项目库", "D"), ("项目库", "E"), ("年度任务", "D")):
        cells = [book[sheet][f"{letter}{row}"] for row in range(5, 10)]
        assert sorted(c.value for c in cells) == sorted([*names[:4], "bell"])
        assert {cell.data_type for cell in cells} == {"s"}
        assert sum(bool(cell.quotePrefix) for cell in cells) == 4


def test_english_without_a_word_of_chinese_in_headers(report, projects, tmp_path):
    few = projects.head(0)
    path = tmp_path / "new" / "a.xlsx"
    small = dataclasses.replace(report, verdicts=report.verdicts.head(20))
    works = FRONTIER.assign(cost=FRONTIER["works"], budget=FRONTIER["works"])
    book = load_workbook(fc.write_workbook(small, few, path, lang="en", frontier=works))
    assert book.sheetnames == list(labels("sheet", "en").values())
    for sheet in book.sheetnames[2:7]:
        headers = [cell.value for cell in book[sheet][4]]
        assert all(text.isascii() or "m²" in text for text in headers), headers
        assert not {text for text in headers if "_" in text}  # every column has its words
    assert book["Projects"].max_row == 4
    assert [line["works allowed"] for line in below(book["Overview"], "What a budget buys")] == [
        0,
        6,
        11,
    ]
    assert [each.name for each in path.parent.iterdir()] == ["a.xlsx"]  # no half files


def test_words_are_there_in_both_languages():
    for group in ("sheet", "workbook", "workbook_column", "project_content", "parameter"):
        assert set(labels(group, "zh")) == set(labels(group, "en"))
        assert all(labels(group, "zh").values())
