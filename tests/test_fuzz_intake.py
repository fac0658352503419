"""Damaged files: a table or a `CoverageError`, never another exception, a hang or a silent loss.

Files are mutated from good ones by a seeded generator: bytes changed, cut, repeated, and tokens
put in that break parsers. A workbook is mutated inside its parts, so that the reader meets it.
"""

from __future__ import annotations

import faulthandler
import io
import math
import random
import warnings
import zipfile

import geopandas as gpd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

import facility_coverage as fc
from facility_coverage.coordinates import parse_angle, split_pair

SECONDS = 20  # a file that takes longer hangs
TOKENS = [
    b'"', b"'", b",", b"\t", b"\r\n", b"\n\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"1e999",
    b"-1", b"NaN", b"Infinity", b"130824100201", b"99999999999999999999", b"117.33311", b"40.94111",
    b"=1+1", b"null", b"[]", b"{}", b"[[[", b"]]]", b"<", b">", b"&amp;", b"&#0;", b't="d"',
    b'r="XFD1048576"', b"Polygon", b"Point",
    *(each.encode() for each in ("合计", "经度", "约200平", "设施名称,经度,纬度\n")),
]  # fmt: skip
ROWS = [
    [
        "设施编号",
        "设施名称",
        "设施类型",
        "区划代码",
        "村名",
        "经度",
        "纬度",
        "建筑面积",
        "开放时间",
    ],
    ["W-1", "甲", "卫生室", "130824100201", "东一村", 117.33311, 40.94111, "约200平", "8:00-17:00"],
    ["W-2", "乙", "药店", "130824100202", "东二村", "117°20′06″", "40°56′30″", 80, 8],
    ["W-3", "丙", "超市", 130824100203, "西沟村", 40.94111, 117.36311, "0.5亩", "全天"],
    ["W-3", "丁", "加油站", "1.30824E+11", "南沟", None, None, -3, 25],
    ["合计", None, None, None, None, None, None, 280, None],
]


def csv_seed():
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in ROWS]
    return "\n".join(["卫生室台账　坐标系：WGS84", *lines, "注：以实地为准"]).encode()


def workbook_seed():
    book = Workbook()
    book.active.title = "卫生室"
    book.active.append(["台账　坐标系：WGS84"])
    for row in ROWS:
        book.active.append(row)
    book.active.merge_cells("D3:D4")
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def geojson_seed():
    table = {
        "unit_code": ["130824100201", "130824100202", "130824100203"],
        "name": ["东一村", "东二村", "西沟村"],
        "residents": [100, None, 300],
    }
    squares = [shapely.box(x, 40.9, x + 0.02, 40.95) for x in (117.32, 117.34, 117.36)]
    return gpd.GeoDataFrame(table, geometry=squares, crs=4326).to_json().encode()


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([1, 1, 2, 8, 64]))
        way = rng.randrange(6)
        if way == 0 and data:
            data[start : start + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            data[start:start] = rng.choice(TOKENS)
        elif way == 2:
            del data[start:end]
        elif way == 3:
            data[start:start] = data[start:end] * rng.choice([1, 2, 50])
        elif way == 4:
            data[start:end] = rng.choice(TOKENS)
        else:
            del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def mutated_workbook(data, rng):
    if rng.random() < 0.2:
        return mutated(data, rng)
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        names = old.namelist()
        hit = rng.choice([name for name in names if name.startswith("xl/")])
        for name in names:
            part = old.read(name)
            new.writestr(name, mutated(part, rng) if name == hit else part)
    return result.getvalue()


FORMS = {
    "csv": (csv_seed, mutated, fc.read_facilities),
    "xlsx": (workbook_seed, mutated_workbook, fc.read_facilities),
    "geojson": (geojson_seed, mutated, fc.read_units),
}


def check(form, number, folder, seed):
    """Read one damaged file; a table must account for every row of it."""
    _, mutate, read = FORMS[form]
    path = folder / f"a.{form}"
    path.write_bytes(mutate(seed, random.Random(f"{form} {number}")))  # noqa: S311
    try:
        table = read(path)
    except fc.CoverageError:
        return "refused"
    report = fc.intake_report(table)
    (counts,) = report.rows
    assert counts["accepted"] == len(table)
    assert counts["read"] == counts["accepted"] + counts["set_aside"] + counts["no_data"]
    reasons = {f.row for f in report.findings if f.effect in {"set_aside", "no_data"}}
    if counts["set_aside"] + counts["no_data"] > 0:
        assert reasons
    if None not in reasons:  # no sheet as a whole
        assert len(reasons) >= counts["set_aside"] + counts["no_data"]
    assert report.summary("zh")["count"].sum() >= len(reasons)
    return "read"


def run(form, numbers, folder):
    seed = FORMS[form][0]()
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in numbers:
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                outcomes.append(check(form, number, folder, seed))
            except Exception as fault:
                fault.add_note(f"{form} file number {number}")
                raise
            finally:
                faulthandler.cancel_dump_traceback_later()
    return outcomes


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files(form, tmp_path):
    outcomes = run(form, range(60), tmp_path)
    # The damage must be such that readers get past the first bytes, and not all is harmless.
    assert outcomes.count("read") >= 3
    assert outcomes.count("refused") > 5


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_ten_thousand_damaged_files(form, tmp_path):
    assert len(run(form, range(1_000, 1_000 + 3_400), tmp_path)) == 3_400


@given(st.floats(-180, 180), st.sampled_from(["dms", "dm", "dotted", "letters", "wide"]))
@settings(max_examples=300, deadline=None)
def test_angles_read_back(angle, writing):
    seconds = round(abs(angle) * 3600, 2)
    degrees, rest = divmod(seconds, 3600)
    minutes, second = divmod(rest, 60)
    sign = "-" if angle < 0 else ""
    text = {
        "dms": f"{sign}{degrees:.0f}°{minutes:.0f}′{second:.2f}″",
        "dm": f"{sign}{degrees:.0f}°{minutes + second / 60:.9f}′",
        "dotted": f"{sign}{degrees:.0f}.{minutes:.0f}.{second:.2f}",
        "letters": f"{'西经' if sign else 'E'}{degrees:.0f}度{minutes:.0f}分{second:.2f}秒",
        "wide": f"{sign}{seconds / 3600:.9f}".translate(
            str.maketrans("0123456789.", "０１２３４５６７８９．")
        ),
    }[writing]
    if "60.00" in text or "60.000000000" in text:  # written by rounding up: refused, not guessed
        assert parse_angle(text)[2] == "sixty"
        return
    value, axis, problem = parse_angle(text)
    assert problem == ""
    assert value == pytest.approx(-seconds / 3600 if sign else seconds / 3600, abs=2e-9)
    assert axis == ("lon" if writing == "letters" else "")


@given(st.text(max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_an_angle_or_not(text):
    value, axis, problem = parse_angle(text)
    assert math.isnan(value) == (problem != "")
    assert axis in {"", "lon", "lat"}
    pair = split_pair(text)
    assert pair is None or len(pair) == 2
