"""Files made to harm: each is refused with its name and a cure, soon and in little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import re
import sqlite3
import struct
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import facility_coverage as fc
from facility_coverage import layers, limits, sheets
from facility_coverage.download import DownloadError, _public, _shown
from facility_coverage.errors import ConfigError, InputError, MissingInputError, OutputError
from facility_coverage.files import write_beside
from facility_coverage.layers import read_layer
from facility_coverage.rasters import open_raster

SOURCE = Path(fc.__file__).parent
FORBIDDEN = (
    r"\b(import (pickle|marshal|shelve|dill|joblib)|read_pickle|to_pickle|np\.load|extractall|"
    r"unpack_archive)\b|(?<![\w.])(eval|exec)\("
)
POINT = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(117, 40)], crs="EPSG:4490")
COLLECTION = 7
DEEP = struct.pack("<BII", 1, COLLECTION, 1) * 100_000 + struct.pack("<BIdd", 1, 1, 117, 40)
LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>"""


@pytest.fixture
def small(monkeypatch):
    """Set limits that tiny bombs exceed."""
    monkeypatch.setattr(limits, "UNSUSPECTED", 100_000)
    monkeypatch.setattr(limits, "MOST_UNPACKED", 2_000_000)


def zipped(path, **parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("__", "."), data)
    return path


# -- archives --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_zip_of_zeros(tmp_path):
    for size, told in ((1_000_000, "250 times its size"), (3_000_000, "times its size")):
        bomb = zipped(tmp_path / "a.zip", a__shp=bytes(size))
        with pytest.raises(InputError, match=rf"a\.zip: unpacks to more than {told}|{told}"):
            read_layer(bomb)


@pytest.mark.usefixtures("small")
def test_zip_that_is_merely_large(tmp_path, monkeypatch):
    noise = np.random.default_rng(1).bytes(1_200_000)
    bomb = zipped(tmp_path / "a.zip", a__shp=noise, a__dbf=noise)
    with pytest.raises(InputError, match=r"2,000,000 bytes.*FACILITY_COVERAGE_LIMITS"):
        read_layer(bomb)
    monkeypatch.setenv("FACILITY_COVERAGE_LIMITS", "4")
    with pytest.raises(InputError, match="vector file"):
        read_layer(bomb)
    monkeypatch.setenv("FACILITY_COVERAGE_LIMITS", "much")
    with pytest.raises(ConfigError, match="FACILITY_COVERAGE_LIMITS must be a number above 0"):
        read_layer(bomb)


@pytest.mark.usefixtures("small")
def test_zip_whose_header_lies(tmp_path):
    bomb = zipped(tmp_path / "a.zip", a__shp=bytes(5_000_000))
    data = bytearray(bomb.read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size unpacked, said small
        start = data.rindex(mark)
        data[start + at : start + at + 4] = struct.pack("<I", 100)
    bomb.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.zip"):
        read_layer(bomb)


def test_zip_never_fills_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: os.terminal_size((0, 0)))
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="half of the free disk"):
        read_layer(zipped(tmp_path / "a.zip", a__shp=bytes(2000)))


@pytest.mark.parametrize(
    "name", ["../a.shp", "/etc/a.shp", "b/../../a.shp", "..\\a.shp", "C:/a.shp"]
)
def test_zip_names_that_lead_out(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match="leads out of the archive's folder"):
        read_layer(tmp_path / "a.zip")


def test_zip_with_a_link(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("a.shp")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        read_layer(tmp_path / "a.zip")


def test_zip_of_countless_files(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_ENTRIES", 50)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(51):
            archive.writestr(f"{number}.txt", b"")
    with pytest.raises(InputError, match="holds 51 files, more than 50"):
        read_layer(tmp_path / "a.zip")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["a.gdb.zip", "a.kmz", "a.shz"])
def test_archives_that_gdal_unpacks(tmp_path, name):
    with pytest.raises(InputError, match="times its size"):
        read_layer(zipped(tmp_path / name, doc__kml=bytes(1_500_000)))
    with pytest.raises(InputError, match="document type"):
        read_layer(zipped(tmp_path / name, doc__kml=LAUGHS + b"<kml/>"))


# -- workbooks -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("part", ["xl/sharedStrings.xml", "xl/worksheets/sheet1.xml", "x.bin"])
def test_workbook_bomb(tmp_path, part):
    bomb = zipped(tmp_path / "a.xlsx", **{part: b"<a>" + b" " * 1_500_000})
    with pytest.raises(InputError, match="times its size"):
        fc.read_facilities(bomb, kind="clinic")


@pytest.mark.parametrize("prolog", [LAUGHS, OUTSIDE])
def test_workbook_with_entities(tmp_path, prolog):
    bomb = zipped(tmp_path / "a.xlsx", **{"xl/sharedStrings.xml": prolog + b"<sst>&a;</sst>"})
    with pytest.raises(InputError, match="document type"):
        fc.read_facilities(bomb, kind="clinic")


def test_workbook_of_cells_without_addresses(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MOST_CELLS", 300_000)
    bomb = zipped(tmp_path / "a.xlsx", **{"xl/worksheets/sheet1.xml": b"<x>" + b"<c/>" * 310_000})
    with pytest.raises(InputError, match="Delete the rows and columns"):
        fc.read_facilities(bomb, kind="clinic")


def test_text_of_countless_columns(tmp_path):
    path = tmp_path / "a.csv"
    header = "设施名称,经度,纬度" + "," * 2_000 + "\n"
    path.write_text(header + "1\n" * 20_000, encoding="utf-8")
    with pytest.raises(InputError, match=r"20,001 rows × 2,003 columns"):
        fc.read_facilities(path, kind="clinic")
    path.write_text("," * 20_000)
    with pytest.raises(InputError, match="more than 16,384 columns"):
        fc.read_facilities(path, kind="clinic")


def test_text_too_large_to_read_at_once(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)  # sparse: no disk is used
    with pytest.raises(InputError, match="3,000,000,000 bytes, more than 2,000,000,000"):
        fc.read_facilities(path, kind="clinic")


# -- XML, OSM, GraphML -----------------------------------------------------------------------------


@pytest.mark.parametrize("prolog", [LAUGHS, OUTSIDE, LAUGHS.decode().encode("utf-16")])
@pytest.mark.parametrize("name", ["a.graphml", "a.osm", "a.gpx", "a.kml", "a.gml"])
def test_document_types_are_refused(tmp_path, name, prolog):
    path = tmp_path / name
    path.write_bytes(prolog + b"<x>&a;</x>")
    with pytest.raises(InputError, match=rf"{name}: declares a document type"):
        fc.read_roads(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_packed_roads(tmp_path, name, pack):
    for kind in ("osm", *(["graphml"] if name == "gz" else [])):
        path = tmp_path / f"a.{kind}.{name}"
        path.write_bytes(pack(b"<osm>" + b" " * 1_500_000))
        with pytest.raises(InputError, match="times its size"):
            fc.read_roads(path)
        path.write_bytes(pack(LAUGHS + b"<osm/>"))
        with pytest.raises(InputError, match="document type"):
            fc.read_roads(path)
        path.write_bytes(pack(b"<osm>" * 100)[:-9])
        with pytest.raises(InputError, match="cannot be unpacked"):
            fc.read_roads(path)


def test_xml_that_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_PROLOG", 100_000)
    (tmp_path / "a.kml").write_bytes(b"<!-- -->" * 30_000)
    with pytest.raises(InputError, match="no XML element"):
        read_layer(tmp_path / "a.kml")


@pytest.mark.usefixtures("small")
def test_extract_whose_blocks_swell(tmp_path):
    def message(*fields):
        return b"".join(
            bytes([number << 3 | 2, len(value)]) + value
            if isinstance(value, bytes)
            else bytes([number << 3]) + varint(value)
            for number, value in fields
        )

    def varint(value):
        told = b""
        while value > 0x7F:
            told, value = told + bytes([value & 0x7F | 0x80]), value >> 7
        return told + bytes([value])

    blob = message((2, 30_000_000), (3, b"packed"))
    head = message((1, b"OSMData"), (3, len(blob)))
    (tmp_path / "a.pbf").write_bytes(struct.pack(">I", len(head)) + head + blob)
    with pytest.raises(InputError, match="times its size"):
        fc.read_roads(tmp_path / "a.pbf")


GRAPH = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="c" for="graph" attr.name="crs" attr.type="string"/><key id="g" for="edge"
attr.name="geometry" attr.type="string"/><key id="n" for="edge" attr.name="name"
attr.type="string"/><graph edgedefault="directed"><data key="c">epsg:4326</data>
<node id="1"/><node id="2"/><edge source="1" target="2"><data key="{}">{}</data></edge>
</graph></graphml>"""


@pytest.mark.parametrize(
    ("key", "text"), [("g", "GEOMETRYCOLLECTION(" * 100_000), ("n", "[" + "-" * 100_000 + "1]")]
)
def test_graph_of_endless_depth(tmp_path, key, text):
    (tmp_path / "a.graphml").write_text(GRAPH.format(key, text))
    with pytest.raises(fc.CoverageError):
        fc.read_roads(tmp_path / "a.graphml")


# -- layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["properties", "geometry"])
def test_geojson_of_endless_depth(tmp_path, what):
    feature = {"type": "Feature", "properties": {}, "geometry": None, what: "deep"}
    text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    nested = '{"a":' + "[" * 200_000 + "]" * 200_000 + "}"
    (tmp_path / "a.geojson").write_text(text.replace('"deep"', nested))
    with pytest.raises(InputError, match=r"a\.geojson"):
        read_layer(tmp_path / "a.geojson")


def with_sql(path, *statements):
    with sqlite3.connect(path) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
            connection.execute(f'DROP TRIGGER "{name}"')
        for statement, *values in statements:
            connection.execute(statement, values)
    connection.close()


def test_geopackage_that_claims_ten_billion_rows(tmp_path):
    POINT.to_file(tmp_path / "a.gpkg")
    with_sql(tmp_path / "a.gpkg", ("UPDATE gpkg_ogr_contents SET feature_count = 1000000000",))
    with pytest.raises(InputError, match="claims 1,000,000,000 features"):
        read_layer(tmp_path / "a.gpkg")


@pytest.mark.parametrize(("part", "at"), [("dbf", 4), ("shx", 24), ("shp", 24)])
def test_shapefile_whose_header_claims_gigabytes(tmp_path, part, at):
    POINT.to_file(tmp_path / "a.shp", engine="pyogrio")
    path = tmp_path / f"a.{part}"
    data = bytearray(path.read_bytes())
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    try:  # the records that are there may be read; no more than these
        assert len(read_layer(tmp_path / "a.shp")) == 1
    except InputError as fault:
        assert "a.shp" in str(fault)  # noqa: PT017 - either is right


def test_geometries_of_endless_depth(tmp_path):
    POINT.to_file(tmp_path / "a.gpkg")
    head = sqlite3.connect(tmp_path / "a.gpkg").execute("SELECT geom FROM a").fetchone()[0]
    with_sql(tmp_path / "a.gpkg", ("UPDATE a SET geom = ?", head[:-21] + DEEP))
    with pytest.raises(InputError, match=r"a\.gpkg, row 1: .*collections within collections"):
        read_layer(tmp_path / "a.gpkg", choose=lambda names: names)


def parquet_of(path, **columns):
    import pyarrow as pa  # noqa: PLC0415 - optional
    import pyarrow.parquet as pq  # noqa: PLC0415

    about = {"encoding": "WKB", "geometry_types": [], "crs": None}
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": about}}
    table = pa.table(columns).replace_schema_metadata({b"geo": json.dumps(geo)})
    pq.write_table(table, path)
    return path


def test_geoparquet(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=r"a\.parquet, row 1: .*collections within collections"):
        read_layer(parquet_of(path, geometry=[DEEP]))
    plain = POINT.geometry[0].wkb
    monkeypatch.setattr(layers, "_PARQUET_CELLS", 100)
    with pytest.raises(InputError, match="claims 1,000 cells"):
        read_layer(parquet_of(path, geometry=[plain] * 1000))
    monkeypatch.setattr(layers, "_PARQUET_CELLS", 10**9)
    monkeypatch.setattr(limits, "UNSUSPECTED", 0)
    with pytest.raises(InputError, match="times its size"):
        read_layer(parquet_of(path, geometry=[plain] * 50_000))


@pytest.mark.parametrize("metadata", [b"{", b"[]", b"{}", b'{"columns": {"geometry": 3}}'])
def test_geoparquet_with_senseless_metadata(tmp_path, metadata):
    import pyarrow as pa  # noqa: PLC0415 - optional
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.table({"geometry": [b""]}).replace_schema_metadata({b"geo": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_layer(tmp_path / "a.parquet")


def test_prepared_roads_that_name_a_trillion_nodes(tmp_path):
    import pyarrow as pa  # noqa: PLC0415 - optional
    import pyarrow.parquet as pq  # noqa: PLC0415

    lines = gpd.GeoDataFrame(
        {"highway": ["primary"]}, geometry=[shapely.LineString([(0, 0), (9, 9)])], crs=32650
    )
    lines.to_file(tmp_path / "a.gpkg")
    path = fc.read_roads(tmp_path / "a.gpkg").save(tmp_path / "a.parquet")
    table = pq.read_table(path)
    far = table.set_column(table.schema.get_field_index("u"), "u", pa.array([10**12]))
    for broken, told in ((far, "names nodes that no edge has"), (table.drop_columns("v"), "wrote")):
        pq.write_table(broken, path)
        with pytest.raises(InputError, match=rf"{told}.*prepare the roads again"):
            fc.read_roads(path)


@pytest.mark.parametrize(
    "text",
    [
        "<OGRVRTDataSource><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTDataSource>",
        '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read /etc/passwd"}',
        "<OGRWFSDataSource><URL>http://127.0.0.1/</URL></OGRWFSDataSource>",
    ],
)
@pytest.mark.parametrize("pack", [False, True])
def test_files_that_refer_to_others(tmp_path, text, pack):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    if pack:
        path = zipped(tmp_path / "a.zip", a__geojson=text)
    with pytest.raises(InputError, match="refers to other files or servers"):
        read_layer(path)


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "a.gpkg")
    for path in (tmp_path / "a.csv", tmp_path / "a.gpkg"):
        with pytest.raises((InputError, MissingInputError), match="device or a pipe"):
            fc.read_facilities(path, kind="clinic")


# -- rasters, TOML ---------------------------------------------------------------------------------


def opened(path):
    with open_raster(path, band=None, holds="population") as (raster, _):
        return raster.count


def test_rasters(tmp_path, monkeypatch):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    where = {"crs": "EPSG:32650", "transform": rasterio.Affine(9, 0, 7, 0, -9, 7)}
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="float32", **where
    ) as raster:
        raster.write(np.ones((1, 64, 64), "float32"))
    assert opened(path) == 1
    monkeypatch.setattr("facility_coverage.rasters.MOST_BLOCK", 8_000)
    with pytest.raises(InputError, match="blocks of 64 × 32 cells"):
        opened(path)
    path.write_text(f"<VRTDataset><SourceFilename>{path}</SourceFilename></VRTDataset>")
    with pytest.raises(InputError, match="refers to other files"):
        opened(path)
    with pytest.raises(MissingInputError, match="no such file"):
        opened(Path("/vsicurl/http://127.0.0.1:1/a.tif"))


def test_toml_of_endless_depth_or_size(tmp_path):
    path = tmp_path / "county.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="lists within lists"):
        fc.read_county(path)
    with path.open("wb") as file:
        file.truncate(11_000_000)
    with pytest.raises(InputError, match="11,000,000 bytes"):
        fc.read_county(path)


# -- what never happens ----------------------------------------------------------------------------


def test_nothing_is_unpickled_or_executed():
    """No module names what runs a file's content: pickles, eval, unsafe loaders."""
    for path in SOURCE.glob("*.py"):
        assert not re.search(FORBIDDEN, path.read_text("utf-8")), path.name


def test_secrets_of_addresses_are_shown_nowhere(monkeypatch, caplog, capfd):
    asked = "https://me:s3cret@overpass.county.cn/api?key=s3cret"
    assert _public(asked) == "https://overpass.county.cn/api"
    fault = DownloadError(f"{asked} could not be asked", url=asked)
    told = ValueError(f"HTTPSConnectionPool: Max retries with url: /api?key=s3cret, {asked}")
    database = "postgresql://me:s3cret@127.0.0.1:1/county?password=s3cret&connect_timeout=1"
    said = [str(fault), repr(fault), fault.url, _shown(told)]
    units = POINT.assign(unit_code="130824100201", township="", residents=5, elderly=1, children=1)
    pytest.importorskip("psycopg")
    pytest.importorskip("sqlalchemy")
    caplog.set_level("DEBUG")
    for read in (
        fc.read_units,
        fc.read_roads,
        fc.read_facilities,
        lambda s: fc.read_demand(s, units),
    ):
        with pytest.raises(InputError) as caught:
            read(database)
        said += [str(caught.value), repr(caught.value), repr(caught.value.findings)]
    table = POINT.assign(residents=5, elderly=1, children=1)
    monkeypatch.setattr("facility_coverage.demand.read_layer", lambda *_, **__: table)
    demand = fc.read_demand("postgresql://me@host/county?password=s3cret", units)
    assert fc.intake_report(demand).rows[0]["file"] == "PostGIS"
    said += [repr(demand.attrs), demand.to_csv(), caplog.text, *capfd.readouterr()]
    assert "s3cret" not in "\n".join(said)


def test_names_of_tables_are_quoted():
    """The names a database gives are identifiers in the statement, never a part of it."""
    sa = pytest.importorskip("sqlalchemy")
    pytest.importorskip("psycopg")
    from facility_coverage.postgis import _read  # noqa: PLC0415 - optional

    evil = 'x"; DROP TABLE roads; --'
    said = []

    class Connection:
        def execute(self, statement, *_):
            text = str(statement)
            said.append(text)
            rows = [(evil, evil, "geom")] if "geometry_columns" in text else [(evil,)]
            return type("rows", (), {"all": lambda _: rows, "__iter__": lambda _: iter(rows),
                                     "scalars": lambda _: iter([evil])})()  # fmt: skip

    def read(query, *_, **__):
        said.append(str(query.compile(dialect=sa.dialects.postgresql.dialect())))
        return POINT.rename_geometry("geom")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facility_coverage.postgis.gpd.read_postgis", read)
        _read(Connection(), "county", f"{evil}.{evil}", None)
    quoted = '"x""; DROP TABLE roads; --"'
    assert f"FROM {quoted}.{quoted}" in said[-1].replace("\n", "")
    assert all(evil not in each for each in said[:-1])
    assert evil not in said[-1].replace(quoted, "")


def test_writing_says_what_to_do(tmp_path):
    def full(_):
        raise OSError(28, "No space left on device")

    target = tmp_path / "a" / "map.html"
    with pytest.raises(OutputError, match=r"map\.html: cannot be written \(No space left"):
        write_beside(target, full)
    assert list(target.parent.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name another folder"):
        write_beside(tmp_path / "file" / "map.html", full)


def test_archive_reading_stops_early():
    """What is counted is not kept: the first piece too many ends it."""
    meter = limits.Meter(Path(__file__))
    meter.packed = 1
    endless = type("zeros", (io.RawIOBase,), {"read": lambda _, size: bytes(size)})()
    with pytest.raises(InputError):
        for _ in limits.pieces(endless, meter):
            pass
    assert meter.real <= limits.UNSUSPECTED + (1 << 20)
    assert pd.notna(meter.room)
