"""One table in every format gives the same units, and the same facilities."""

from __future__ import annotations

import zipfile

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import xlwt
from openpyxl import Workbook

import facility_coverage as fc
from facility_coverage.errors import InputError, IntakeWarning, MissingInputError

UNITS = gpd.GeoDataFrame(
    {
        "unit_code": ["130824100201", "130824100202"],
        "name": ["付家店村", "联通村"],
        "residents": [800, 700],
    },
    geometry=[shapely.box(117.3, 40.9, 117.32, 40.92), shapely.box(117.32, 40.9, 117.34, 40.92)],
    crs="EPSG:4490",
)
HEADERS = ["设施编号", "设施名称", "经度", "纬度", "建筑面积"]
ROWS = [["W-1", "甲", 117.33311, 40.94111, 80.0], ["W-2", "乙", 117.43311, 40.94211, None]]


def zipped(folder):
    path = folder / "a.shp"
    UNITS.to_file(path, encoding="GBK")
    archive = folder / "村界.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for part in folder.glob("a.*"):
            if part.suffix != ".cpg":
                target.write(part, f"数据/{part.name}")
    return archive


def written(folder, form):
    path = folder / f"units.{form}"
    if form == "zip":
        return zipped(folder)
    if form == "parquet":
        UNITS.to_parquet(path)
    else:
        driver = {"gdb": "OpenFileGDB"}.get(form)
        UNITS.astype({"residents": "int32"}).to_file(path, driver=driver, engine="pyogrio")
    return path


@pytest.mark.parametrize("form", ["gpkg", "shp", "geojson", "parquet", "gdb", "zip"])
def test_units_in_every_format(form, tmp_path):
    if form == "gdb" and "w" not in pyogrio.list_drivers().get("OpenFileGDB", ""):
        pytest.skip("this GDAL does not write FileGDB")
    units = fc.read_units(written(tmp_path, form))
    assert units[["unit_code", "name", "residents"]].to_numpy().tolist() == [
        ["130824100201", "付家店村", 800],
        ["130824100202", "联通村", 700],
    ]
    assert units.crs.to_epsg() == 4490
    apart = shapely.symmetric_difference(units.geometry.array, UNITS.geometry.array)
    assert shapely.area(apart).max() < 1e-9  # FileGDB rounds to its grid
    told = fc.intake_report(units).table["code"].tolist()
    assert told == (["layer.encoding"] if form == "zip" else [])


def workbook(path):
    book = Workbook()
    book.active.title = "卫生室"
    for row in (["坐标系：CGCS2000"], HEADERS, *ROWS):
        book.active.append(row)
    book.save(path)


def old_workbook(path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("卫生室")
    for number, row in enumerate((["坐标系：CGCS2000"], HEADERS, *ROWS)):
        for column, value in enumerate(row):
            if value is not None:
                sheet.write(number, column, value)
    book.save(str(path))


def text(path, *, encoding="utf-8", separator=","):
    pd.DataFrame(ROWS, columns=HEADERS).to_csv(path, sep=separator, index=False, encoding=encoding)


WRITERS = {
    "xlsx": workbook,
    "xls": old_workbook,
    "csv": text,
    "gb.csv": lambda path: text(path, encoding="gb18030"),
    "bom.csv": lambda path: text(path, encoding="utf-8-sig"),
    "tab.txt": lambda path: text(path, separator="\t"),
    "utf16.txt": lambda path: text(path, encoding="utf-16", separator="\t"),
    "old-mac.csv": lambda path: path.write_bytes(
        pd.DataFrame(ROWS, columns=HEADERS).to_csv(index=False).replace("\n", "\r").encode()
    ),
    "gpkg": lambda path: gpd.GeoDataFrame(
        pd.DataFrame(ROWS, columns=HEADERS),
        geometry=gpd.points_from_xy([117.33311, 117.43311], [40.94111, 40.94211]),
        crs=4490,
    ).to_file(path),
}


@pytest.mark.parametrize("form", WRITERS)
def test_facilities_in_every_format(form, tmp_path):
    path = tmp_path / f"a.{form}"
    WRITERS[form](path)
    facilities = fc.read_facilities(path, kind="clinic", datum="cgcs2000")
    assert facilities["facility_id"].tolist() == ["W-1", "W-2"]
    assert facilities["name"].tolist() == ["甲", "乙"]
    np.testing.assert_array_equal(facilities["floor_area_m2"], [80.0, np.nan])
    assert facilities.geometry.x.tolist() == [117.33311, 117.43311]


def test_codes_keep_their_leading_zeros(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("设施编号,设施名称,区划代码,经度,纬度\n007,甲,0071,117.33311,40.94111\n")
    facilities = fc.read_facilities(path, kind="clinic", datum="wgs84")
    assert facilities[["facility_id", "unit_code"]].to_numpy().tolist() == [["007", "0071"]]


def test_a_stray_cell_at_the_far_corner_is_refused(tmp_path):
    book = Workbook()
    for row in (["坐标系：WGS84"], HEADERS, *ROWS):
        book.active.append(row)
    book.active["XFD1048576"] = "x"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=r"1,048,576 rows × 16,384 columns; is there a stray cell"):
        fc.read_facilities(tmp_path / "a.xlsx", kind="clinic")


def test_archives_that_are_none(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(InputError, match="not a whole ZIP archive"):
        fc.read_units(tmp_path / "a.zip")
    with pytest.raises(MissingInputError, match=r"did you mean 'a.zip'"):
        fc.read_units(tmp_path / "b.zip")


def test_large_faults_are_listed_by_ranges(tmp_path):
    rows = [f"甲{number},117.33311,{'x' if number % 2 else 40.94111}" for number in range(5000)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["设施名称,经度,纬度", *rows]), encoding="utf-8")
    with pytest.warns(IntakeWarning, match="2500 values left unknown"):
        facilities = fc.read_facilities(path, kind="clinic", datum="wgs84")
    report = fc.intake_report(facilities)
    lines = report.table[report.table["code"] == "coordinate.unreadable"]
    assert len(lines) == 1001
    assert lines["value"].iloc[-1].startswith("+1,500: 2003, 2005,")
    summary = report.summary("en")
    (line,) = summary[summary["rule"].str.startswith("a coordinate")].to_dict("records")
    assert line["count"] == 2500
    assert line["where"].endswith("…")


def test_a_report_shows_itself_and_is_written_to_excel(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "设施名称,经度,纬度,建筑面积\n<b>甲</b>,117.33311,40.94111,=1+1\n", encoding="utf-8"
    )
    with pytest.warns(IntakeWarning):
        facilities = fc.read_facilities(path, kind="clinic", datum="wgs84")
    report = fc.intake_report(facilities)
    html = report._repr_html_()
    assert "应填数字" in html
    assert "1 行 rows" in html
    assert "must be a number → taken as unknown" in str(report)
    assert "应填数字 → 按未知处理" in report.text("zh")
    saved = pd.read_excel(report.save(tmp_path / "r.xlsx"), sheet_name=None, engine="openpyxl")
    assert list(saved) == ["按规则汇总", "逐条明细", "行数"]
    detail = saved["逐条明细"]
    assert "=1+1" in detail["原值"].tolist()  # text, not a formula
    assert len(detail) == len(report)
    assert saved["行数"].to_numpy().tolist() == [["a.csv", 1, 1, 0, 0]]
    english = pd.read_excel(report.save(tmp_path / "e.xlsx", lang="en"), engine="openpyxl")
    assert english.columns[0] == "severity"
    nothing = fc.intake_report(UNITS)
    assert len(nothing) == 0
    assert "未发现异常" in nothing._repr_html_()


def test_merged_cells_and_two_header_rows(tmp_path):
    book = Workbook()
    sheet = book.active
    sheet.title = "卫生室"
    for row in (
        ["滦平县卫生室台账（坐标系：WGS84）"],
        ["乡镇", "设施名称", "坐标", None, "建筑面积"],
        [None, None, "经度", "纬度", None],
        ["滦平镇", "甲", 117.33311, 40.94111, 200],
        [None, "乙", 117.34311, 40.94111, None],
        ["虎什哈镇", "丙", 117.35311, 40.94111, 60],
    ):
        sheet.append(row)
    for cells in ("A1:E1", "A2:A3", "B2:B3", "C2:D2", "E2:E3", "A4:A5", "E4:E5"):
        sheet.merge_cells(cells)
    book.save(tmp_path / "a.xlsx")
    facilities = fc.read_facilities(tmp_path / "a.xlsx")
    assert facilities["township"].tolist() == ["滦平镇", "滦平镇", "虎什哈镇"]
    np.testing.assert_array_equal(facilities["floor_area_m2"], [200.0, np.nan, 60.0])
    assert facilities.geometry.x.tolist() == [117.33311, 117.34311, 117.35311]
    told = fc.intake_report(facilities).table
    assert told[told["code"] == "sheet.merged_number"]["cure"].str.contains("建筑面积 4-5").all()
