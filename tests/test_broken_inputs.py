"""Every case of ``tests/broken``: written as the file it names, read, and the report compared."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tomllib
import warnings
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
import xlwt
from openpyxl import Workbook

import facility_coverage as fc
from facility_coverage.errors import InputError, IntakeWarning

FOLDER = Path(__file__).parent / "broken"
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(path.read_text("utf-8"))["case"]
]


def cell(text):
    """Read a cell of a case: a number, ``'text``, ``@date`` or words."""
    text = text.strip()
    if text.startswith("'"):
        return text[1:]
    if text.startswith("@"):
        return dt.date.fromisoformat(text[1:])
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text or None


def rows_of(case):
    lines = [line for line in case["table"].splitlines() if line.strip()]
    width = lines[0].count("|") + 1
    rows = [[cell(text) for text in line.split("|")][:width] for line in lines]
    return [row + [None] * (width - len(row)) for row in rows]


def shape(text):
    if pd.isna(text):
        return None
    if text.startswith("box"):
        west, south, east, north = (float(each) / 100 for each in text.split()[1:])
        return shapely.box(117 + west, 40.9 + south, 117 + east, 40.9 + north)
    return shapely.from_wkt(text)


def layer_of(case):
    header, *rows = rows_of(case)
    table = pd.DataFrame(rows, columns=header)
    shapes = gpd.GeoSeries(
        [shape(text) for text in table.pop("geometry")], crs=case.get("crs", 4490)
    )
    return gpd.GeoDataFrame(table, geometry=shapes)


def county_units(which):
    table = {
        "unit_code": ["130824100201", "130824100202", "130824100203"],
        "name": ["东一村", "东二村", "西沟村"],
        "township": ["滦平镇"] * 3,
        "residents": [100, 100, 100],
    }
    if which == "two-townships":
        table["unit_code"] = ["130824100201", "130824101201", "130824101202"]
        table["name"] = ["大屯村", "大屯村", "西沟村"]
        table["township"] = ["滦平镇", "巴克什营镇", "巴克什营镇"]
    squares = [shapely.box(x, 40.93, x + 0.02, 40.95) for x in (117.32, 117.34, 117.36)]
    return fc.read_units(gpd.GeoDataFrame(table, geometry=squares, crs=4326))


def text_file(path, rows, *, separator=",", encoding="utf-8"):
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerows(rows)
    path.write_text(stream.getvalue(), encoding=encoding)
    return path


def workbook(path, case, rows):
    book = Workbook()
    sheet = book.active
    sheet.title = case.get("sheet", "卫生室")
    if "title" in case:
        sheet.append([case["title"]])
    for row in rows:
        sheet.append(row)
    if case["as"] == "xlsx-sheets":
        hidden = book.create_sheet("健身场地")
        hidden.sheet_state = "hidden"
        for row in rows:
            hidden.append(row)
        book.create_sheet("说明").append(["本表由各乡镇填报"])
        book.create_sheet("Sheet4")
    book.save(path)
    return path


def old_workbook(path, case, rows):
    book = xlwt.Workbook()
    sheet = book.add_sheet("卫生室")
    merged = {(top - 1, column): bottom - 1 for top, bottom, column in case["merged"]}
    under = {
        (row, column)
        for (top, column), bottom in merged.items()
        for row in range(top + 1, bottom + 1)
    }
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if (number, column) in merged:
                sheet.write_merge(number, merged[number, column], column, column, value)
            elif value is not None and (number, column) not in under:
                sheet.write(number, column, value)
    book.save(str(path))
    return path


def shapefile(folder, case):
    encoding = "UTF-8" if case["as"] == "shp-utf8" else "GBK"
    path = folder / "a.shp"
    frame = layer_of(case)
    if encoding == "UTF-8":
        frame = frame.assign(居民活动区域面积=1)  # ten bytes are three characters and a third
    headers = [name for name in frame.columns if name != "geometry"]
    plain = {name: f"F{number:09d}" for number, name in enumerate(headers)}
    frame.rename(columns=plain).to_file(path, encoding=encoding)
    table = path.with_suffix(".dbf")
    data = table.read_bytes()
    for name, placeholder in plain.items():
        cut = name.encode(encoding)[:10].ljust(10, b"\0")  # as programs that write shapefiles do
        data = data.replace(placeholder.encode(), cut, 1)
    table.write_bytes(data)
    path.with_suffix(".cpg").unlink()
    if case["as"] == "shp-wrong-cpg":
        path.with_suffix(".cpg").write_text("UTF-8")
    return path


def read(case, folder):
    form = case["as"]
    if form == "units" or form.startswith("shp"):
        source = layer_of(case) if form == "units" else shapefile(folder, case)
        plan = fc.load_plan("luanping-2025") if case.get("plan") else None
        return fc.read_units(source, plan=plan, repair=case.get("repair", False))
    if form == "csv-raw":
        path = folder / "a.csv"
        path.write_text(case["table"], encoding="utf-8")
    elif form.startswith("csv"):
        separator, encoding = {
            "csv": (",", "utf-8"),
            "csv-gb18030": ("\t", "gb18030"),
            "csv-bom": (";", "utf-8-sig"),
        }[form]
        path = text_file(folder / "a.csv", rows_of(case), separator=separator, encoding=encoding)
    elif form == "xls":
        path = old_workbook(folder / "a.xls", case, rows_of(case))
    else:
        path = workbook(folder / "a.xlsx", case, rows_of(case))
    units = county_units(case["units"]) if "units" in case else None
    kind = None if "设施类型" in case["table"] else "clinic"
    return fc.read_facilities(path, kind=kind, datum=case.get("datum"), units=units)


def lines_of(report, *, notes):
    """Give a report as the cases write it."""
    return [
        (f.severity, "*" if f.row is None else str(f.row), f.field, f.value, f.effect, f.code)
        for f in report
        if notes or f.row is not None or f.severity != "note"
    ]


def expected_lines(case):
    lines = [line for line in case["report"].splitlines() if line.strip()]
    return [tuple(part.strip() for part in line.split("|")) for line in lines]


def test_there_are_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::facility_coverage.errors.IntakeWarning")
def test_report(case, tmp_path):
    notes = case.get("notes", False)
    if case["accepted"] == 0:
        with pytest.raises(InputError) as caught:
            read(case, tmp_path)
        assert lines_of(caught.value.findings, notes=notes) == expected_lines(case)
        return
    table = read(case, tmp_path)
    report = fc.intake_report(table)
    assert lines_of(report.findings, notes=notes) == expected_lines(case)
    assert all(f.rule_zh and f.cure_zh and f.rule and f.cure for f in report.findings)
    (counts,) = report.rows
    assert counts["read"] == counts["accepted"] + counts["set_aside"] + counts["no_data"]
    assert len(table) == counts["accepted"] == case["accepted"]
    if "places" in case:
        told = [tuple(map(float, line.split())) for line in case["places"].strip().splitlines()]
        found = list(zip(table.geometry.x, table.geometry.y, strict=True))
        assert found == [pytest.approx(place, abs=2e-6) for place in told]
    if "column" in case:
        name, values = case["column"]
        found = [
            "—" if pd.isna(value) else f"{value:.5g}" if isinstance(value, float) else str(value)
            for value in table[name]
        ]
        assert found == values.split()


@pytest.mark.parametrize("case", CASES)
def test_strict_refuses_what_has_errors(case, tmp_path, monkeypatch):
    reader = (
        "read_units" if case["as"] == "units" or case["as"].startswith("shp") else "read_facilities"
    )
    original = getattr(fc, reader)
    monkeypatch.setattr(fc, reader, lambda *a, **k: original(*a, **{**k, "strict": True}))
    if any(line[0] == "error" for line in expected_lines(case)):
        with pytest.raises(InputError) as caught:
            read(case, tmp_path)
        assert "error" in {f.severity for f in caught.value.findings}
    else:
        with warnings.catch_warnings():  # values may be unknown without an error: names to review
            warnings.simplefilter("ignore", IntakeWarning)
            read(case, tmp_path)
