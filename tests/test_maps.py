"""The coverage map's file: what it holds, and what it must never hold. No browser needed."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import folium
import numpy as np
import pandas as pd
import pytest
import shapely

from facility_coverage import maps, page
from facility_coverage.errors import InputError, MissingDependencyError, NoCrsError

from ._fake_report import KINDS, fake_circles, fake_projects, fake_report

EVIL = "<script>alert(1)</script>{{ 7 * 7 }}{% raw %}\u2028&'\""


@pytest.fixture(scope="module")
def report():
    return fake_report()


@pytest.fixture(scope="module")
def small():
    return fake_report(n_units=12, n_hamlets=30)


def page_of(chart: folium.Map) -> str:
    return chart.get_root().render()


def payload_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="[^"]*">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_loads_nothing_from_outside(small):
    page = page_of(maps.coverage_map(small, circles=fake_circles(small)))
    assert not re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=", page)
    assert not re.findall(r"@import", page)
    assert not re.findall(r"url\([\s\"']*(?:https?:|//|images/)", page)
    assert "sourceMappingURL" not in page
    assert not re.search(r"bootstrap|font-?awesome|cdn\.|jquery[-.\d]*(min)?\.js", page.lower())


def test_size_of_a_county(report, tmp_path):
    target = tmp_path / "map.html"
    chart = maps.coverage_map(report, circles=fake_circles(report), projects=fake_projects(report))
    chart.save(str(target))
    assert target.stat().st_size <= 5_000_000
    payload = payload_of(target.read_text(encoding="utf-8"))
    assert len(payload["units"]["shape"]) == 213
    assert len(payload["facilities"]["name"]) == len(report.facilities)
    assert len(payload["demand"]["verdicts"]) == len(KINDS)


def test_names_are_data_never_markup():
    report = fake_report(n_units=12, n_hamlets=30)
    report.units.loc[2, "name"] = EVIL
    report.units["township"] = EVIL
    report.facilities["name"] = EVIL
    report.stamp = EVIL
    page = page_of(maps.coverage_map(report, title=EVIL, subtitle=EVIL, source=EVIL))
    assert "<script>alert" not in page
    assert "\u2028" not in page.split('type="application/json"')[1].split("</script>")[0]
    payload = payload_of(page)
    assert payload["units"]["name"][2] == EVIL
    assert payload["title"] == EVIL


@pytest.mark.parametrize(("lang", "words"), [("zh", "可达口径"), ("en", "reachability basis")])
def test_both_languages(small, lang, words):
    payload = payload_of(page_of(maps.coverage_map(small, lang=lang)))
    assert words in [basis["label"] for basis in payload["bases"]]
    if lang == "en":
        for group in ("text", "states", "bases", "kinds", "words"):
            assert not re.search(r"[\u4e00-\u9fff]", json.dumps(payload[group], ensure_ascii=False))


def test_every_word_the_script_asks_for_exists(small):
    script = Path(maps.__file__).with_name("web").joinpath("map.js").read_text(encoding="utf-8")
    text = payload_of(page_of(maps.coverage_map(small)))["text"]
    asked = set(re.findall(r"\btext\.([a-z_]+)", script)) - {"length"}
    assert asked <= set(text)


def test_stamp_and_review_number_are_always_printed(small):
    bare = copy.copy(small)
    bare.stamp = ""
    assert "内部工作用图，不作划界依据" in page_of(maps.coverage_map(bare))
    page = page_of(
        maps.coverage_map(small, review_number="冀S(2026)1号", drawn_on=dt.date(2026, 1, 2))
    )
    assert small.stamp in page
    assert "冀S(2026)1号" in page
    assert payload_of(page)["date"] == "2026-01-02"


def test_without_circles_and_projects(small):
    payload = payload_of(page_of(maps.coverage_map(small)))
    assert payload["circles"] == []
    assert payload["projects"] is None
    empty = fake_projects(small).iloc[:0]
    assert payload_of(page_of(maps.coverage_map(small, projects=empty)))["projects"] is None


def test_missing_numbers_are_null(small):
    report = copy.copy(small)
    report.verdicts = small.verdicts.assign(minutes=np.nan, people_share=np.inf)
    payload = payload_of(page_of(maps.coverage_map(report)))
    assert set(payload["verdicts"][0]["minutes"]) == {None}
    assert set(payload["verdicts"][0]["share"]) == {None}
    assert payload["units"]["residents"][3] is None


def test_report_is_not_changed(small):
    tables = ("units", "demand", "facilities", "verdicts", "demand_verdicts", "rates")
    before = {name: getattr(small, name).copy(deep=True) for name in tables}
    edges = small.roads.edges.copy(deep=True)
    page_of(maps.coverage_map(small, circles=fake_circles(small), projects=fake_projects(small)))
    for name in tables:
        pd.testing.assert_frame_equal(
            pd.DataFrame(before[name]), pd.DataFrame(getattr(small, name))
        )
    pd.testing.assert_frame_equal(pd.DataFrame(edges), pd.DataFrame(small.roads.edges))


def test_shown_states(small):
    report = copy.copy(small)
    report.verdicts = small.verdicts.copy()
    rows = report.verdicts["kind"] == KINDS[0]
    codes = small.units["unit_code"].tolist()
    first = report.verdicts[rows].index

    def put(index, **values):
        for name, value in values.items():
            report.verdicts.loc[first[index], name] = value

    far = {"reachable_state": "uncovered", "reachable_reason": "too_far", "limit_minutes": 20.0}
    put(0, minutes=25.0, **far)
    put(1, minutes=25.01, **far)
    put(2, minutes=18.0, **{**far, "reachable_reason": "closed"})
    put(3, minutes=np.nan, reachable_state="unknown", reachable_reason="off_network")
    other = small.facilities[small.facilities["unit_code"] == codes[5]].iloc[0]
    put(4, ledger_state="covered", ledger_facility_id=other["facility_id"])
    put(5, ledger_state="covered", ledger_facility_id=other["facility_id"])
    payload = payload_of(page_of(maps.coverage_map(report)))
    states = [state["id"] for state in payload["states"]]
    shown = payload["verdicts"][0]
    reachable = [states[code] for code in shown["reachable"]]
    assert reachable[:4] == ["near", "uncovered", "uncovered", "unknown"]
    ledger = [states[code] for code in shown["ledger"]]
    assert ledger[4] == "shared"
    assert ledger[5] == ("shared" if other["status"] == "shared" else "covered")


def decoded(rings, origin):
    return [(np.cumsum(np.reshape(ring, (-1, 2)), axis=0) + origin) / 1e5 for ring in rings]


def test_borders_stay_common_and_in_place(small):
    payload = payload_of(page_of(maps.coverage_map(small)))
    shapes = [
        shapely.Polygon(decoded(unit[0], payload["origin"])[0])
        for unit in payload["units"]["shape"]
    ]
    true = small.units.geometry.to_crs("EPSG:4326").array
    for drawn, exact in zip(shapes, true, strict=True):
        assert drawn.intersection(exact).area / drawn.union(exact).area > 0.99
    county = shapely.union_all(shapes)
    gaps = sum(shapely.area(shapely.Polygon(ring)) for ring in getattr(county, "interiors", ()))
    assert gaps < 1e-6 * county.area


def test_sharing_rows_without_a_place_are_kept_but_not_placed(small):
    payload = payload_of(page_of(maps.coverage_map(small)))
    rows = small.facilities.reset_index(drop=True)
    for index in rows.index[rows["status"] == "shared"]:
        assert payload["facilities"]["x"][index] is None


def test_both_directions_of_a_street_are_drawn_once(small):
    report = copy.copy(small)
    edges = small.roads.edges
    back = edges.assign(geometry=shapely.reverse(edges.geometry.array))
    report.roads = copy.copy(small.roads)
    report.roads.edges = pd.concat([edges, back], ignore_index=True)
    once = payload_of(page_of(maps.coverage_map(small)))["roads"]
    assert payload_of(page_of(maps.coverage_map(report)))["roads"] == once


def test_user_layers_can_be_added_and_rendering_repeats(small):
    chart = maps.coverage_map(small)
    assert isinstance(chart, folium.Map)
    folium.Marker([41, 117.3], popup="hello").add_to(chart)
    assert page_of(chart) == page_of(chart)
    assert "L.marker(" in page_of(chart)
    frame = chart._repr_html_()
    assert frame.count("<iframe") == 1
    assert "srcdoc=" in frame


@pytest.mark.parametrize(
    "options", [{"kind": "no_such_kind"}, {"lang": "de"}, {"basis": "official"}]
)
def test_unknown_choices_are_named(small, options):
    (value,) = options.values()
    with pytest.raises(ValueError, match=value):
        maps.coverage_map(small, **options)


def test_a_table_without_crs_is_refused(small):
    circles = fake_circles(small).set_crs(None, allow_override=True)
    with pytest.raises(NoCrsError, match="isochrones"):
        maps.coverage_map(small, circles=circles)


def test_absent_leaflet_is_explained(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(page, "files", absent)
    with pytest.raises(MissingDependencyError, match="pip install django-js-lib-leaflet"):
        page._leaflet_folder()


def test_leaflet_comes_from_the_declared_package():
    assert metadata.version("django-js-lib-leaflet").startswith("1.9")


@pytest.mark.parametrize(
    ("basemap", "message"),
    [
        ("https://webrd01.is.autonavi.com/appmaptile?x={x}&y={y}&z={z}", "GCJ-02, some 500 m off"),
        ("https://maponline0.bdimg.com/tile/?x={x}&y={y}&z={z}", "BD-09"),
        ("tianditu", "needs token="),
        ("google", "must be 'osm', 'tianditu' or a template"),
    ],
)
def test_tiles_in_a_shifted_datum_or_unknown_are_refused(small, basemap, message):
    with pytest.raises(InputError, match=message):
        maps.coverage_map(small, basemap=basemap)


def test_tiles_come_only_on_request(small):
    plain = maps.coverage_map(small).get_root().render()
    assert "L.tileLayer" not in plain.split("facilityCoverage.start(")[-1]
    named = maps.coverage_map(small, basemap="tianditu", token="a&b")  # noqa: S106
    named = named.get_root().render()
    assert "tk=a%26b" in named
    assert "T=vec_w" in named
    assert "T=cva_w" in named
    own = maps.coverage_map(small, basemap="https://tiles.example.org/{z}/{x}/{y}.png")
    assert "https://tiles.example.org/" in own.get_root().render()


def test_the_later_report_is_of_the_same_units(small):
    other = SimpleNamespace(**{**vars(small), "units": small.units.iloc[1:]})
    with pytest.raises(InputError, match="the same units"):
        maps.coverage_map(small, after=other)


def test_a_name_is_found_by_every_reading():
    assert maps._pinyin("长山峪村").split() == ["zhangshanyucun", "csyc", "zsyc"]
    assert maps._pinyin("") == ""
    assert maps._pinyin("<b>A1").startswith("<b>a1")
