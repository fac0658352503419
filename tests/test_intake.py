"""Readers: canonical tables from good files, every fault at once from bad ones."""

from __future__ import annotations

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from openpyxl import Workbook

import facility_coverage as fc
from facility_coverage.errors import (
    CoverageError,
    InputError,
    IntakeWarning,
    MissingInputError,
    NetworkError,
    NoCrsError,
)
from facility_coverage.intake import IntakeLog, IntakeReport

SQUARES = [shapely.box(x, 0, x + 1, 1) for x in range(3)]


def unit_frame(**changes):
    table = {
        "区划代码": ["130824100201", "130824100202", "130824001001"],
        "村名": ["甲村", "乙村", "丙社区"],
        "乡镇": ["滦平镇", "滦平镇", "中兴路街道"],
        "常住人口": [800, None, 3000],
        **changes,
    }
    return gpd.GeoDataFrame(table, geometry=SQUARES, crs="EPSG:4490")


def test_units_from_chinese_headers(tmp_path):
    path = tmp_path / "units.gpkg"
    unit_frame().to_file(path)
    units = fc.read_units(path)
    assert units["name"].tolist() == ["甲村", "乙村", "丙社区"]
    assert units["unit_kind"].tolist() == ["village", "village", "community"]
    assert units["setting"].tolist() == ["rural", "rural", "urban"]
    assert units["residents"].isna().tolist() == [False, True, False]  # unknown is not 0
    assert units.crs.to_epsg() == 4490
    assert "1 units have no number of residents" in str(fc.intake_report(units))


def test_every_fault_of_a_unit_layer_at_once():
    frame = unit_frame(
        区划代码=["130824100201", "130824100201", ""],
        常住人口=["八百", "-5", "3000"],
        城乡=["农村", "郊区", "城市"],
    )
    expected = {
        (2, "unit_code", "130824100201", "set_aside"),
        (3, "unit_code", "", "changed"),
        (1, "residents", "八百", "unknown"),
        (2, "residents", "-5", "unknown"),
        (2, "setting", "郊区", "unknown"),
    }
    with pytest.raises(InputError) as caught:
        fc.read_units(frame, strict=True)
    found = caught.value.findings
    assert {(f.row, f.field, f.value, f.effect) for f in found} == expected
    assert "a code stands for one unit → also in row 1" in str(caught.value)
    assert all(f.file and f.rule and f.cure and f.rule_zh and f.cure_zh for f in found)

    # Without strict the good rows go on, and nothing bad becomes a number.
    with pytest.warns(IntakeWarning, match="1 of 3 rows were set aside and 3 values left unknown"):
        units = fc.read_units(frame)
    assert units["unit_code"].tolist() == ["130824100201", "no-code-3"]
    assert units["residents"].tolist() == [pd.NA, 3000]
    report = fc.intake_report(units)
    assert {(f.row, f.field, f.value, f.effect) for f in report.errors} == expected
    (rows,) = report.rows
    assert rows == {"file": "units", "read": 3, "accepted": 2, "set_aside": 1, "no_data": 0}


def test_codes_read_as_numbers_stay_whole():
    frame = unit_frame(区划代码=[130824100201.0, 130824100202.0, 130824001001.0])
    assert fc.read_units(frame)["unit_code"].tolist()[0] == "130824100201"


def test_missing_columns_are_named():
    with pytest.raises(InputError, match=r"units need a column unit_code.*村名"):
        fc.read_units(unit_frame().drop(columns="区划代码"))
    with pytest.raises(InputError, match=r"did you mean '区划代码'"):
        fc.read_units(unit_frame(), columns={"unit_code": "区划代吗"})


def test_boundaries_that_cross_themselves_or_overlap():
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    frame = unit_frame().set_geometry(gpd.GeoSeries([bow, *SQUARES[1:]], crs="EPSG:4490"))
    with pytest.raises(InputError, match=r"row 1.*does not cross itself.*Self-intersection"):
        fc.read_units(frame, strict=True)
    with pytest.warns(IntakeWarning):
        units = fc.read_units(frame)
    assert units.geometry.isna().tolist() == [True, False, False]  # counted, and cannot be told
    mended = fc.read_units(frame, repair=True)
    assert mended.geometry.is_valid.all()
    assert "boundary.repaired" in set(fc.intake_report(mended).table["code"])
    frame = unit_frame().set_geometry(
        gpd.GeoSeries([shapely.box(0, 0, 1.5, 1), *SQUARES[1:]], crs="EPSG:4490")
    )
    assert "boundaries do not overlap" in str(fc.intake_report(fc.read_units(frame)))


@pytest.mark.parametrize("reader", [fc.read_units, fc.read_facilities, fc.read_roads])
def test_files_that_are_not_there_not_readable_empty_or_without_crs(tmp_path, reader):
    (tmp_path / "villages.gpkg").write_bytes(b"")
    with pytest.raises(MissingInputError, match=r"no such file; did you mean 'villages.gpkg'"):
        reader(tmp_path / "vilages.gpkg")
    broken = tmp_path / "broken.gpkg"
    broken.write_bytes(b"this is no GeoPackage")
    with pytest.raises(InputError, match=r"broken.gpkg: cannot be read"):
        reader(broken)
    empty = tmp_path / "empty.gpkg"
    unit_frame().iloc[:0].to_file(empty)
    with pytest.raises(InputError, match="layer is empty"):
        reader(empty)
    bare = tmp_path / "bare.shp"
    gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(0, 0)], crs=4326).to_file(bare)
    bare.with_suffix(".prj").unlink()
    with pytest.raises(NoCrsError, match="does not say its coordinate reference system"):
        reader(bare)


def ledger(path, rows, *, title="台账　坐标系：CGCS2000", sheet="卫生室", headers=None):
    book = Workbook()
    page = book.active
    page.title = sheet
    page.append([title])
    page.append(
        headers
        or [
            "序号",
            "设施编号",
            "设施名称",
            "区划代码",
            "经度",
            "纬度",
            "建筑面积（㎡）",
            "使用状态",
        ]
    )
    for row in rows:
        page.append(row)
    book.save(path)
    return path


ROW = [1, "W-1", "甲卫生室", "130824100201", 117.3, 40.9, 80, "在用"]


def test_a_ledger_as_a_bureau_keeps_it(tmp_path):
    rows = [ROW, [2, "W-2", "乙卫生室", "130824100202", 117.4, 40.95, None, "停用"]]
    table = fc.read_facilities(ledger(tmp_path / "a.xlsx", rows))
    assert table["kind"].tolist() == ["clinic", "clinic"]
    assert table["status"].tolist() == ["in_use", "closed"]
    assert table["floor_area_m2"].isna().tolist() == [False, True]
    assert table.geometry.x.tolist() == [117.3, 117.4]


def test_coordinates_without_a_datum_are_refused(tmp_path):
    path = ledger(tmp_path / "a.xlsx", [ROW], title="台账")
    with pytest.raises(InputError, match="coordinates need a datum"):
        fc.read_facilities(path)
    plain = fc.read_facilities(path, datum="wgs84").geometry.iloc[0]
    shifted = fc.read_facilities(path, datum="gcj02").geometry.iloc[0]
    metres = gpd.GeoSeries([plain, shifted], crs=4326).to_crs(32650)
    assert 500 < metres.iloc[0].distance(metres.iloc[1]) < 640


def test_every_fault_of_a_ledger_at_once(tmp_path):
    rows = [
        ROW,
        [2, "W-1", "乙", "130824100202", 117.42345, 40.92345, "两间房", "在用"],
        [3, "W-3", "丙", "130824100203", 117.52345, None, 80, "坏了"],
        [4, "W-4", "丁", "130824100204", 117.42345, 40.62345, 80, "在用"],
    ]
    path = ledger(tmp_path / "a.xlsx", rows)
    expected = {
        ("卫生室", 4, "facility_id", "W-1", "changed"),
        ("卫生室", 4, "floor_area_m2", "两间房", "unknown"),
        ("卫生室", 5, "longitude", "117.52345, —", "unknown"),
        ("卫生室", 5, "status", "坏了", "unknown"),
    }
    with pytest.raises(InputError) as caught:
        fc.read_facilities(path, strict=True)
    found = {(f.sheet, f.row, f.field, f.value, f.effect) for f in caught.value.findings}
    assert found == expected
    with pytest.warns(IntakeWarning, match="0 of 4 rows were set aside and 3 values left unknown"):
        table = fc.read_facilities(path)
    assert table["facility_id"].tolist() == ["W-1", "W-1#1", "W-3", "W-4"]
    assert table["status"].tolist() == ["in_use", "in_use", "unknown", "in_use"]
    assert table["floor_area_m2"].isna().tolist() == [False, True, False, False]
    assert table.geometry.isna().tolist() == [False, False, True, False]


def test_unknown_kinds_and_sheets_without_headers(tmp_path):
    with pytest.raises(InputError, match="the kind must be known"):
        fc.read_facilities(ledger(tmp_path / "a.xlsx", [ROW], sheet="Sheet1"))
    assert fc.read_facilities(tmp_path / "a.xlsx", kind="clinic")["kind"].tolist() == ["clinic"]
    with pytest.raises(InputError, match="a sheet needs a row of headers"):
        fc.read_facilities(ledger(tmp_path / "b.xlsx", [], headers=["这里", "没有"]))
    (tmp_path / "c.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(InputError, match="not an Excel workbook"):
        fc.read_facilities(tmp_path / "c.xlsx")
    with pytest.raises(InputError, match=r"kind must be one of .*clinic.*, not 'clinik'"):
        fc.read_facilities(tmp_path / "a.xlsx", kind="clinik")


def test_a_facility_without_a_place_is_kept_and_reported(tmp_path):
    rows = [ROW, [2, "W-2", "乙", "130824100202", None, None, 80, "在用"]]
    table = fc.read_facilities(ledger(tmp_path / "a.xlsx", rows))
    assert len(table) == 2
    assert table.geometry.isna().tolist() == [False, True]
    assert "counts on the ledger basis only" in str(fc.intake_report(table))


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8-sig", ","), ("gb18030", "\t")])
def test_csv_in_the_encodings_of_county_offices(tmp_path, encoding, separator):
    text = "\n".join(
        separator.join(row)
        for row in [
            ["设施名称", "经度（WGS84）", "纬度", "业态"],
            ["药店甲", "117.3", "40.9", "药店"],
            ["快递乙", "117.4", "40.9", "快递点"],
        ]
    )
    path = tmp_path / "a.csv"
    path.write_text(text, encoding=encoding)
    table = fc.read_facilities(path)
    assert table["kind"].tolist() == ["pharmacy", "parcel"]
    assert table["facility_id"].tolist() == ["F00001", "F00002"]


def test_demand_belongs_to_units(units):
    spot = units.geometry.representative_point()
    frame = gpd.GeoDataFrame(
        {"人口": [10.0, 20.0]}, geometry=spot.iloc[:2].to_numpy(), crs=units.crs
    )
    read = fc.read_demand(frame, units)
    surveyed = read[read["source"] == "surveyed"]
    assert surveyed["unit_code"].tolist() == units["unit_code"].tolist()[:2]
    # The other units' people are not lost: each keeps them at one assumed point.
    assert read["residents"].sum() == units["residents"].iloc[2:].sum() + 30
    frame = frame.assign(unit_code=["999", units["unit_code"].iloc[1]])
    with pytest.raises(InputError, match="belongs to a unit that exists"):
        fc.read_demand(frame, units, strict=True)


def test_roads_in_any_form_are_the_same_roads(county, roads, facilities, demand):
    graph = fc.read_roads(county.roads_graph)
    assert isinstance(graph.graph, nx.MultiDiGraph)
    # OSMnx measures on a sphere, this package on the ellipsoid: up to 0.3 % apart, 0.06 % here.
    assert graph.edges["length_m"].sum() == pytest.approx(roads.edges["length_m"].sum(), rel=1e-3)
    sites = facilities.geometry[(facilities["kind"] == "clinic") & facilities.geometry.notna()]
    for mode in ("walk", "motor"):
        one = fc.nearest_facility(demand.geometry, sites, roads, mode=mode)
        two = fc.nearest_facility(demand.geometry, sites, graph, mode=mode)
        np.testing.assert_allclose(one["minutes"], two["minutes"], rtol=3e-3)
        assert (one["facility"] == two["facility"]).mean() > 0.98
        assert one["minutes"].notna().sum() > 900


def test_roads_that_are_no_roads(tmp_path):
    points = gpd.GeoDataFrame({"highway": ["x"]}, geometry=[shapely.Point(0, 0)], crs=4326)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(InputError, match="give the layer of road lines"):
        fc.read_roads(tmp_path / "points.gpkg")
    line = gpd.GeoDataFrame(
        {"width": [3]}, geometry=[shapely.LineString([(0, 0), (1, 1)])], crs=4326
    )
    line.to_file(tmp_path / "lines.gpkg")
    with pytest.raises(InputError, match=r"columns=\{'highway': '…'\}; the file has width"):
        fc.read_roads(tmp_path / "lines.gpkg")
    with pytest.raises(NoCrsError, match="graph has no CRS"):
        fc.read_roads(nx.MultiDiGraph())
    with pytest.raises(NetworkError, match="has no edge"):
        fc.read_roads(nx.MultiDiGraph(crs="epsg:4326"))
    (tmp_path / "a.graphml").write_text("<graphml>")
    with pytest.raises(InputError, match="not a GraphML file"):
        fc.read_roads(tmp_path / "a.graphml")
    (tmp_path / "a.osm.pbf").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable OSM file"):
        fc.read_roads(tmp_path / "a.osm.pbf")


def test_one_way_roads_drawn_against_the_traffic(tmp_path):
    lines = [shapely.LineString([(0, 0), (1000, 0)]), shapely.LineString([(1000, 0), (2000, 0)])]
    frame = gpd.GeoDataFrame(
        {"highway": "residential", "oneway": ["-1", "no"]}, geometry=lines, crs="EPSG:32650"
    )
    frame.to_file(tmp_path / "a.gpkg")
    roads = fc.read_roads(tmp_path / "a.gpkg")
    assert roads.edges["oneway"].tolist() == [True, False]
    ends = gpd.GeoSeries.from_xy([0, 2000], [0, 0], crs=32650)
    there = fc.nearest_facility(ends[:1], ends[1:], roads, mode="bicycle")
    back = fc.nearest_facility(ends[1:], ends[:1], roads, mode="bicycle")
    assert there["reason"].tolist() == ["one_way"]
    assert back["minutes"].tolist() == pytest.approx([10.0])


def test_bridges_cross_without_meeting(tmp_path):
    lines = [
        shapely.LineString([(0, 0), (1000, 0), (2000, 0)]),
        shapely.LineString([(500, -500), (500, 500)]),
        shapely.LineString([(1000, -500), (1000, 0), (1000, 500)]),
    ]
    gpd.GeoDataFrame(
        {"highway": "residential"}, geometry=lines, crs="EPSG:32650", index=range(3)
    ).to_file(tmp_path / "a.gpkg")
    assert len(fc.read_roads(tmp_path / "a.gpkg")) == 7  # all at grade: the second is cut too
    roads = fc.read_roads(tmp_path / "a.gpkg", crossings="keep")
    assert len(roads) == 5  # two of the first, the second whole, two of the third
    assert roads.for_mode(fc.MODES["walk"]).roads.component.max() == 1


def test_errors_are_of_one_family():
    with pytest.raises(CoverageError):
        fc.read_units("nowhere.gpkg")
    with pytest.raises(FileNotFoundError):
        fc.read_units("nowhere.gpkg")
    with pytest.raises(ValueError, match="no CRS"):
        fc.read_units(unit_frame().set_crs(None, allow_override=True))


def test_findings_survive_being_stored(tmp_path):
    path = tmp_path / "a.parquet"
    fc.read_units(unit_frame()).to_parquet(path)
    again = fc.read_units(path)
    assert again["residents"].isna().tolist() == [False, True, False]
    assert [f.code for f in fc.intake_report(again).findings] == ["unit.no_residents"]
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as GeoParquet"):
        fc.read_units(path)


def test_tables_with_findings_can_be_joined(facilities):
    assert isinstance(pd.concat([facilities, facilities]), pd.DataFrame)


def test_counts_are_of_rows_and_of_whole_files():
    """A rule told of 1,002 rows (the last two in one line), of a row elsewhere, and of a file."""
    log = IntakeLog("a.csv", np.arange(1, 1003))
    log.at("code.missing", np.ones(1002, dtype=bool), field="unit_code", code="x")
    other = IntakeLog("b.csv", np.arange(1, 3))
    other.at("code.missing", np.array([False, True]), field="unit_code", code="x")
    other.whole("code.missing", field="unit_code", code="x")
    report = IntakeReport((*log.findings, *other.findings))
    severity = report.table["severity"].iloc[0]
    assert report.counts == {severity: {"code.missing": 1002 + 1 + 1}}
    assert report.summary()["count"].tolist() == [1002, 1, 1]
