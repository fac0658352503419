"""One unit's story: hand-worked, against the report and fresh assessments, and as it is shown."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from dataclasses import replace
from functools import cache
from html import unescape
from importlib.resources import files
from itertools import pairwise
from string import Formatter

import folium
import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.errors import InputError
from facility_coverage.explain import explain
from facility_coverage.standards import Alternative, Standard
from facility_coverage.verdicts import REASONS

from .towns import CRS, network, tagged_towns, travel_modes

EVIL = "<script>alert(1)</script>{{ 7 * 7 }}{% raw %}${alert(2)}`\\'\""
RURAL = Standard(
    "clinic",
    "rural",
    (Alternative("walk", 20.0), Alternative("ebike", 15.0)),
    min_floor_area_m2=200.0,
    min_hours_per_day=8.0,
    on_ledger=True,
    source="hand",
)


@cache
def bare_plan():
    return replace(fc.load_plan("luanping-2025"), groups=(), indicators=(), promises=())


def assessed(roads, homes, sites, *standards, barriers=None, direction=None, modes=None, **columns):
    """Assess one village of some homes [(x, y, residents, name), …] and some facilities."""
    everywhere = shapely.box(*shapely.total_bounds(roads.edges.geometry.array)).buffer(3000)
    east = shapely.box(*everywhere.bounds).bounds[2]
    other = shapely.box(east, -9000, east + 500, -8500)
    units = fc.read_units(
        gpd.GeoDataFrame(
            {
                "unit_code": ["130824100201", "130824100202"],
                "name": [columns.pop("unit_name", "东沟村"), "西沟村"],
                "township": ["甲镇", "乙镇"],
                "unit_kind": ["village", "village"],
                "residents": [sum(home[2] for home in homes), 10],
                "households": [columns.pop("households", 100), 5],
            },
            geometry=[everywhere.envelope, other],
            crs=CRS,
        )
    )
    demand = fc.read_demand(
        gpd.GeoDataFrame(
            {
                "unit_code": "130824100201",
                "name": [home[3] for home in homes],
                "residents": [home[2] for home in homes],
            },
            geometry=[shapely.Point(*home[:2]) for home in homes],
            crs=CRS,
        ),
        units,
    )
    demand = demand[demand["unit_code"] == "130824100201"]  # nobody is known to live in the other
    table = {"kind": "clinic", "unit_code": "130824100202", "floor_area_m2": 250.0}
    table |= {"hours_per_day": 8.0, "status": "in_use"}
    ids = [f"F{i}" for i in range(len(sites))]
    table |= {"facility_id": ids, "name": [f"卫生室{i}" for i in range(len(sites))], **columns}
    placed = [None if site is None else shapely.Point(*site) for site in sites]
    facilities = fc.read_facilities(gpd.GeoDataFrame(table, geometry=placed, crs=CRS))
    plan = replace(bare_plan(), standards=standards)
    if modes is not None:
        plan = replace(plan, modes={**plan.modes, **modes})
    options = {"barriers": barriers, "direction": direction}
    access = fc.travel_times(units, facilities, roads, plan, demand=demand, **options)
    return fc.assess(units, facilities, access, plan)


# --- hand-worked ---------------------------------------------------------------------------------

# One village road of 10 km. On foot a kilometre is 15 min, by e-bike 10/3 min. At 2 km lives 甲,
# 300 people; at 5 km, 80 m off the road (a leg of 1.56 min), 乙, 200 people. The clinic at 0 km
# qualifies, as does the one at -2.7 km; the village's own, at 2 km, has 150 m² of the 200 asked.
STREET = network([(0, 1, False, "residential")], [(-4000, 900), (6000, 900)])
HOMES = [(2000, 900, 300, "甲"), (5000, 980, 200, "乙")]
SITES = [(0, 900), (-2700, 900), (2000, 900)]
OWN = {
    "unit_code": ["130824100202", "130824100202", "130824100201"],
    "floor_area_m2": [250.0, 300.0, 150.0],
    "official_covered": [None, None, "是"],
}


@pytest.fixture(scope="module")
def street():
    return assessed(STREET, HOMES, SITES, RURAL, **OWN)


@pytest.fixture(scope="module")
def story(street):
    return explain(street, "东沟村")


def test_the_hand_worked_figures(story):
    assert (story.unit.people, story.kind, story.standard) == (500, "clinic", RURAL)
    assert story.verdict["reachable_state"] == "covered"
    rows = story.points.set_index("name")
    assert rows["minutes"].tolist() == pytest.approx([20 / 3, 50 / 3 + 1.56])
    assert rows["next_minutes"].tolist() == pytest.approx([47 / 3, 77 / 3 + 1.56])
    assert rows["leg_m"].tolist() == pytest.approx([0, 80])
    assert rows[["state", "reason", "facility", "next_facility"]].to_numpy().tolist() == [
        ["covered", "", "卫生室0", "卫生室1"],
        ["uncovered", "too_small", "卫生室0", "卫生室1"],
    ]
    assert story.typical == story.points["demand_id"].iloc[0]
    assert story.ways["minutes"].tolist() == pytest.approx([30, 20 / 3])
    nearest, on_foot, following = story.routes
    assert (nearest.way.mode, on_foot.way.mode, following.way.mode) == ("ebike", "walk", "ebike")
    assert [one.minutes for one in story.routes] == pytest.approx([20 / 3, 30, 47 / 3])
    assert [one.road_m for one in story.routes] == pytest.approx([2000, 2000, 4700])
    assert nearest.steps[["length_m", "minutes", "speed_kph"]].to_numpy()[0] == pytest.approx(
        [2000, 20 / 3, 18]
    )
    assert (story.loss.facility_id, story.loss.state, story.loss.people_share) == (
        "F0", "uncovered", 0.0,
    )  # fmt: skip
    assert story.obstacles[["facility_id", "reason", "people"]].to_numpy().tolist() == [
        ["F2", "too_small", 200.0]
    ]
    # 3 km by e-bike and the leg: 10 + 1.56 min.
    assert story.obstacles["minutes"].tolist() == pytest.approx([11.56])
    assert story.ledger[["facility_id", "state", "reason"]].to_numpy().tolist() == [
        ["F2", "uncovered", "too_small"]
    ]


@pytest.mark.parametrize(
    ("lang", "sentences"),
    [
        (
            "zh",
            [
                "台账口径已覆盖，可达口径（按路网上的时间或距离）已覆盖",
                "在用，建筑面积 150 ㎡，比要求的 200 ㎡ 少 50 ㎡，每天开放 8 小时，不合格",
                "“是否覆盖”一栏填“是”，台账口径照此计为已覆盖；但按规则核定（核定口径）应为未覆盖（设施面积不够）",
                "步行 30 分钟，超出 20 分钟的界限 10 分钟；电动自行车 6.7 分钟，未超 15 分钟",
                "够得着 300 人（60%），够不着 200 人，无法判定 0 人",
                "还有 8.3 分钟的余量",
                "“卫生室0”停用，代表居民点改去“卫生室1”，电动自行车 15.7 分钟",
                "电动自行车 15.7 分钟，超出 15 分钟的界限 0.7 分钟",
                "本村将变为未覆盖，够得着的降到 0%",
                "步行不超过20分钟，或电动自行车不超过15分钟；面积不低于200㎡；每日开放不少于8小时",
                "若步行到“卫生室0”：30 分钟，沿路 2 公里",
                "依据：hand（尚未与原文核对）",
                "内部工作用图，不作划界依据",
            ],
        ),
        (
            "en",
            [
                "covered on the ledger basis, covered on the reachability basis",
                "floor area 150 m², 50 m² short of 200 m², open 8 h a day, it does not qualify",
                "by the rule alone the verdict would be: not covered (the facility is too small)",
                "walking 30 min, 10 min more than the 20 min allowed; e-bike 6.7 min, within",
                "300 get there (60%), 200 do not; not known: 0",
                "this village would become not covered, with 0% in reach",
                "Source: hand (not read at the source)",
            ],
        ),
    ],
)
def test_the_text_tells_the_figures(story, lang, sentences):
    text = story.text(lang)
    for sentence in sentences:
        assert sentence in text


def test_what_would_change_an_uncovered_verdict():
    # 乙 alone: 250 of 500 must get there, 0 do; its own clinic would do, were it large enough.
    report = assessed(STREET, [HOMES[1]], SITES, RURAL, **{**OWN, "official_covered": None})
    text = explain(report, "东沟村").text()
    assert "还差 100 人够得着（现 0%，须 50%）" in text
    assert "须缩短 3.2 分钟" in text  # 50/3 + 1.56 - 15
    assert "“卫生室2”（电动自行车 11.6 分钟，建筑面积 150 ㎡，比要求的 200 ㎡ 少 50 ㎡" in text
    assert "够得着的可达 100%，本村可改判为已覆盖" in text
    larger = {**OWN, "floor_area_m2": [250.0, 300.0, 200.0], "official_covered": None}
    assert (
        explain(assessed(STREET, [HOMES[1]], SITES, RURAL, **larger), "东沟村").verdict[
            "people_share"
        ]
        == 1.0
    )


def test_an_unknown_size_is_a_gap_and_not_a_verdict():
    unknown = {**OWN, "floor_area_m2": [250.0, 300.0, None], "official_covered": None}
    found = explain(assessed(STREET, [HOMES[1]], SITES, RURAL, **unknown), "东沟村")
    assert found.verdict["reachable_state"] == found.verdict["ledger_state"] == "unknown"
    text = found.text()
    assert "建筑面积未填（要求不少于 200 ㎡）" in text
    assert "“卫生室2”没有填建筑面积" in text
    assert "够得着而资料不全的设施：“卫生室2”" in text


def test_an_agreement_is_told_with_its_way():
    shared = {
        "unit_code": ["130824100202", "130824100202", "130824100201"],
        "status": ["in_use", "in_use", "shared"],
        "served_by": [None, None, "F1"],
    }
    found = explain(assessed(STREET, HOMES, [*SITES[:2], None], RURAL, **shared), "东沟村")
    row = found.ledger.iloc[0]
    assert (row["host_id"], row["host_unit"], row["reason"]) == (
        "F1",
        "西沟村",
        "agreement_too_far",
    )
    assert row["minutes"] == pytest.approx(47 / 3)
    assert found.verdict["ledger_rule_reason"] == "agreement_too_far"
    told = "协议共享“西沟村”的“卫生室1”，建筑面积 250 ㎡，每天开放 8 小时，从代表居民点电动自行车"
    assert f"{told} 15.7 分钟，超出 15 分钟的界限 0.7 分钟" in found.text()
    # To the clinic at 0 km 甲 gets in time, 乙 does not: 300 of 500 people.
    shared["served_by"] = [None, None, "F0"]
    row = explain(
        assessed(STREET, HOMES, [*SITES[:2], None], RURAL, **shared), "东沟村"
    ).ledger.iloc[0]
    assert (row["state"], row["people_share"]) == ("covered", pytest.approx(0.6))


def test_a_full_facility_is_told():
    # 100 households share 500 m: 甲's 60 need 150 m² of 250, the 40 of 乙 another 100 at 3 km.
    near = [(2000, 900, 300, "甲"), (2500, 900, 200, "乙")]
    capacity = replace(RURAL, capacity_m2_per_100_households=500.0, min_floor_area_m2=None)
    report = assessed(STREET, near, [(1900, 900)], capacity, households=100)
    found = explain(report, "东沟村")
    assert found.points["reason"].tolist() == ["over_capacity", "over_capacity"]
    assert found.obstacles.empty
    assert "“卫生室0”的面积只够离它更近的人用" in found.text()


@pytest.mark.parametrize(
    ("measure", "metres", "words"),
    [("network", 4000.0, "步行沿路距离不超过4000米"), ("straight", 1500.0, "直线距离不超过1500米")],
)
def test_a_rule_in_metres_is_told_in_metres(measure, metres, words):
    rule = replace(RURAL, alternatives=(Alternative("walk", metres=metres, measure=measure),))
    found = explain(assessed(STREET, HOMES, [(1000, 900), (-2700, 900)], rule), "东沟村")
    text = found.text()
    assert words in text
    assert {"network": "步行沿路 1 公里", "straight": "直线距离 1 公里"}[measure] in text
    assert found.routes[0].minutes == pytest.approx(15)
    assert found.routes[0].minutes == pytest.approx(found.verdict["minutes"])
    on_foot = [one for one in found.routes if one.purpose == "on_foot"]
    assert [one.minutes for one in on_foot] == pytest.approx([15])


def test_help_that_comes_goes_the_other_way():
    # A one-way street from the clinic to the home: help comes straight, people go round.
    ring = network(
        [(0, 1, True, "residential"), (1, 2, True, "residential"), (2, 0, True, "residential")],
        [(1000, 0), (2000, 0), (1500, 3000)],
    )
    rule = replace(RURAL, alternatives=(Alternative("motor", 30.0),), direction="from_facility")
    home, site = [(2000, 0, 10, "甲")], [(1000, 0)]
    came = explain(assessed(ring, home, site, rule), "东沟村")
    assert came.routes[0].road_m == pytest.approx(1000)
    assert came.routes[0].minutes == pytest.approx(came.verdict["minutes"])
    xy = shapely.get_coordinates(came.routes[0].route.geometry)
    assert (xy[0] == [1000, 0]).all()
    assert (xy[-1] == [2000, 0]).all()
    assert "上门服务" in came.text()
    went = explain(assessed(ring, home, site, replace(rule, direction="to_facility")), "东沟村")
    assert went.routes[0].road_m == pytest.approx(2 * np.hypot(500, 3000))


def test_a_barrier_turns_the_route_too():
    roads = network(
        [(0, 1, False, "residential"), (2, 3, False, "residential"), (0, 2, False, "residential")],
        [(0, 0), (3000, 0), (0, 400), (3000, 400)],
    )
    river = gpd.GeoSeries([shapely.LineString([(500, 100), (3500, 100)])], crs=CRS)
    home, site = [(2000, 150, 10, "甲")], [(1000, 0)]
    free, barred = (
        explain(assessed(roads, home, site, RURAL, barriers=each), "东沟村")
        for each in (None, river)
    )
    assert free.routes[0].leg_m == pytest.approx(150)
    assert barred.routes[0].leg_m == pytest.approx(250)
    assert barred.routes[0].road_m == pytest.approx(2000 + 400 + 1000)
    assert barred.routes[0].minutes == pytest.approx(barred.verdict["minutes"])


def test_a_point_off_the_roads_is_a_gap():
    found = explain(assessed(STREET, [(2000, 1800, 10, "甲")], SITES[:1], RURAL), "东沟村")
    assert found.points["reason"].tolist() == ["off_network"]
    assert [one.reason for one in found.routes[:1]] == ["off_network"]
    assert "“甲”接不上路网" in found.text()
    assert np.isnan(found.routes[0].minutes)


def test_a_unit_without_homes_is_told_too(street):
    found = explain(street, "西沟村")
    assert found.points.empty
    assert (found.typical, found.routes, found.loss) == (None, (), None)
    assert "没有居民点数据，算不出路程" in found.text()
    assert "<article" in found._repr_html_()


def test_just_under_half_is_not_told_as_half():
    homes = [(5000, 980, 5003, "乙"), (2000, 900, 4997, "甲")]
    found = explain(assessed(STREET, homes, SITES[:2], RURAL), "东沟村")
    assert found.verdict["reachable_state"] == "uncovered"
    assert "还差 3 人够得着（现 49.9%，须 50%）" in found.text()


def test_the_loss_of_the_only_facility_is_no_gap_of_data():
    """By car the home lies off the network, which cannot be told; with no clinic at all it can."""
    roads = network(
        [(0, 1, False, "residential"), (1, 2, False, "footway")], [(0, 0), (1000, 0), (2000, 0)]
    )
    rule = replace(RURAL, alternatives=(Alternative("motor", 6.0), Alternative("walk", 15.0)))
    homes, sites = [(1900, 30, 5, "h0")], [(1800, 30)]
    report = assessed(roads, homes, sites, rule)
    assert report.verdicts["reachable_state"].iloc[0] == "covered"
    assert set(report.access.table["reason"]) == {"", "off_network"}
    again = assessed(roads, homes, sites, rule, status=["closed"]).verdicts
    found = explain(report, "130824100201")
    assert found.loss.state == again["reachable_state"].iloc[0] == "uncovered"


# --- what always holds ---------------------------------------------------------------------------

SITE_STATE = st.sampled_from(
    [(250.0, "in_use"), (250.0, "in_use"), (90.0, "in_use"), (None, "in_use")]
)


@settings(max_examples=15, deadline=None)
@given(tagged_towns(), travel_modes(), st.sampled_from(["to_facility", "from_facility"]), st.data())
def test_routes_take_the_minutes_of_the_verdict(town, mode, direction, data):
    roads, homes, sites = town
    assume(all(x > 181 or y > 91 for x, y in (*homes, *sites)))  # else they look like degrees
    kinds = [data.draw(SITE_STATE) for _ in sites]
    people = [data.draw(st.integers(1, 50)) for _ in homes]
    rule = replace(
        RURAL,
        alternatives=(Alternative("own", 6.0), Alternative("walk", 9.0)),
        direction=direction,
    )
    columns = {
        "floor_area_m2": [area for area, _ in kinds],
        "status": [status for _, status in kinds],
    }
    rows = [
        (*home, count, f"h{i}") for i, (home, count) in enumerate(zip(homes, people, strict=True))
    ]
    river = None
    if data.draw(st.booleans()):
        river = gpd.GeoSeries([shapely.LineString([(0, 410.3), (1900, 433.1)])], crs=CRS)
    setting = {"barriers": river, "modes": {"own": replace(mode, name="own")}}
    report = assessed(roads, rows, sites, rule, **setting, **columns)
    found = explain(report, "130824100201", lang="en")
    nearest, following = found.routes[0], found.routes[-1]
    at = found.points.set_index("demand_id").loc[found.typical]
    for one, minutes in ((nearest, found.verdict["minutes"]), (following, at["next_minutes"])):
        assert one.minutes == pytest.approx(minutes, abs=1e-6, nan_ok=True)
        assert bool(one.reason) == bool(np.isnan(minutes))
        if not one.reason:
            assert one.route.legs["minutes"].sum() == pytest.approx(minutes, abs=1e-6)
            assert one.steps["minutes"].sum() == pytest.approx(minutes, abs=1e-6)
            assert one.road_m + one.leg_m == pytest.approx(one.steps["length_m"].sum())
            doors = [at.geometry, sites[int(one.facility_id[1:])]]
            doors = [
                np.ravel(shapely.get_coordinates(door)) if hasattr(door, "x") else door
                for door in doors
            ]
            xy = shapely.get_coordinates(one.route.geometry)
            ends = doors if direction == "to_facility" else doors[::-1]
            assert np.allclose(xy[[0, -1]], ends, atol=1e-3)
            same = nearest.steps[["part", "name", "highway"]].astype("string").fillna("")
            assert all(a != b for a, b in pairwise(same.to_numpy().tolist()))
    assert "nan" not in found.text()
    # What the facility's closing would do is what an assessment without it says.
    if found.loss is None:
        assert (
            found.verdict["reachable_state"] != "covered"
            or not found.points["minutes"].notna().any()
        )
        return
    columns["status"][int(found.loss.facility_id[1:])] = "closed"
    again = assessed(roads, rows, sites, rule, **setting, **columns).verdicts.iloc[0]
    assert (found.loss.state, found.loss.people_covered) == (
        again["reachable_state"],
        again["people_covered"],
    )


def weighted_median(rows):
    """Give the row by which half of the people are there, one by one."""
    rows, reached = sorted(rows, key=lambda row: np.nan_to_num(row[1], nan=np.inf)), 0.0
    half = sum(row[2] for row in rows) / 2
    for row in rows:
        reached += row[2]
        if reached >= half:
            return row
    raise AssertionError


PICKED = [
    ("comprehensive_service", "rural", "reachable_reason == 'too_small'"),
    ("comprehensive_service", "rural", "reachable_state == 'unknown'"),
    ("comprehensive_service", "rural", "shared"),
    ("comprehensive_service", "urban", "reachable_state == 'covered'"),
    ("clinic", "rural", "reachable_reason == 'closed'"),
    ("convenience_circle", "urban", "reachable_state == 'uncovered'"),
    ("convenience_circle", "rural", "reachable_state == 'covered'"),
    ("day_care", "urban", "ledger_state == 'uncovered'"),
    ("police_room", "rural", "reachable_state == 'uncovered'"),
    ("resettlement_service", "resettlement", "ledger_state == 'uncovered'"),
]


@pytest.fixture(scope="module")
def stories(report):
    told = []
    for kind, setting_name, query in PICKED:
        rows = report.verdicts.query(
            f"kind == '{kind}' and setting == '{setting_name}' and {query}"
        )
        told += [explain(report, code, kind=kind) for code in rows["unit_code"].iloc[[0, -1]]]
    return told


def test_the_sample_against_the_report(stories, report):
    verdicts = report.demand_verdicts
    order = {"covered": 0, "unknown": 1, "uncovered": 2}
    for found in stories:
        verdict = found.verdict
        same = verdicts["unit_code"].eq(found.unit.unit_code) & verdicts["kind"].eq(found.kind)
        rows = verdicts[same]
        assert found.points["demand_id"].tolist() == rows["demand_id"].tolist()
        for name in ("state", "reason", "facility_id", "mode"):
            assert found.points[name].fillna("").tolist() == rows[name].fillna("").tolist()
        columns = ["demand_id", "minutes", "people"]
        middle = weighted_median(found.points[columns].to_numpy(dtype=object).tolist())
        assert (middle[0], middle[1]) == (found.typical, pytest.approx(verdict["minutes"]))
        assert found.routes[0].minutes == pytest.approx(verdict["minutes"], abs=1e-6)
        assert found.routes[0].facility_id == verdict["facility_id"]
        if found.standard.on_ledger:
            best = min((order[state] for state in found.ledger["state"]), default=2)
            assert best == order[verdict["ledger_rule_state"]]
            if verdict["ledger_rule_reason"] not in {"", "no_facility"}:
                assert verdict["ledger_rule_reason"] in set(found.ledger["reason"])


def test_a_composite_circle_kind_by_kind(stories, plan):
    circles = [one for one in stories if one.kind == "convenience_circle"]
    assert circles
    for found in circles:
        trades, at = found.trades, found.points.set_index("demand_id").loc[found.typical]
        asked = trades[trades["required"]]
        assert asked["kind"].tolist() == list(found.standard.required_kinds)
        decided = trades[trades["decided"]]
        assert len(decided) == 1
        assert decided["minutes"].iloc[0] == at["minutes"] == asked["minutes"].max()
        # Each by itself is what a plan of that kind alone would say.
        kind = str(asked["kind"].iloc[0])
        alone = replace(found.standard, kind=kind, kinds=(), further_kinds=())
        own = replace(plan, standards=(alone,))
        report = found.report
        again = fc.assess(report.units, report.access.facilities, report.access, own).verdicts
        row = again[again["unit_code"] == found.unit.unit_code].iloc[0]
        assert asked["people_share"].iloc[0] == pytest.approx(row["people_share"])


# --- what is shown -------------------------------------------------------------------------------

OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=|@import|url\([\s\"']*(?:https?:|//)"
)


def apart(markup):
    """Give a page without the map in its frame, and that map's own page."""
    frame = re.search(r"srcdoc=\"([^\"]*)\"", markup)
    return [markup] if frame is None else [markup.replace(frame[1], ""), unescape(frame[1])]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_pages_and_maps_ask_no_network(stories, lang, tmp_path):
    for found in stories[::7]:
        chart = found.map(lang)
        assert isinstance(chart, folium.Map)
        page = found.save(tmp_path / "story.html", lang).read_text(encoding="utf-8")
        for markup in (chart.get_root().render(), page, found._repr_html_()):
            for part in apart(markup):
                assert not OUTSIDE.search(part)
        assert "内部工作用图，不作划界依据" in page or lang == "en"
        assert found.report.stamp in page


def test_names_are_never_markup():
    names = [EVIL, EVIL, EVIL]
    homes = [(*home[:3], EVIL) for home in HOMES]
    report = assessed(STREET, homes, SITES, RURAL, **{**OWN, "name": names, "unit_name": EVIL})
    found = explain(report, "130824100201")
    assert found.unit.name == EVIL
    for page in (*apart(found._repr_html_()), found.map().get_root().render()):
        assert "<script>alert" not in page
        for script in re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL):
            assert "${alert" not in script
            assert "49{" not in script
    assert EVIL in found.text()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_word_is_missing(stories, lang):
    for found in stories:
        text = found.text(lang)
        assert not re.search(r"\bnan\b|\bNone\b|<NA>|[a-z]+_[a-z]+|[{}]|\. \.|。。", text)
    rural = replace(RURAL, kind="clinic")
    report = assessed(STREET, [(*HOMES[0][:3], "A"), (*HOMES[1][:3], "B")], SITES, rural, **OWN)
    report.units["name"], report.units["township"] = ["East", "West"], ["T", "T"]
    report.facilities["name"] = ["C0", "C1", "C2"]
    if lang == "en":
        assert not re.search(r"[\u4e00-\u9fff，。（）]", explain(report, "East").text("en"))


def test_both_languages_say_the_same_things():
    terms = tomllib.loads(
        (files("facility_coverage.presets") / "explain_terms.toml").read_text(encoding="utf-8")
    )
    for group in terms.values():
        for key, words in group.items():
            assert set(words) == {"zh", "en"}, key
            assert all(words.values()), key
            blanks = [
                {name for _, name, _, _ in Formatter().parse(words[lang])} for lang in ("zh", "en")
            ]
            # English need not repeat a name that its sentence does not use.
            assert blanks[0] - {None} == blanks[1] - {None}, key
    flags = {"joined_main", "no_place"}
    ledger = {"no_facility", "agreement_too_far"}
    assert set(terms["explain_reason"]) >= (set(REASONS) | flags | ledger) - {""}


def test_a_kind_the_plan_does_not_ask_of_the_unit(report):
    rows = report.verdicts.query("kind == 'resettlement_service'")
    code = rows[rows["reachable_state"] == "not_applicable"]["unit_code"].iloc[0]
    found = explain(report, code, kind="resettlement_service")
    assert found.standard is None
    assert found.routes == ()
    assert set(found.points["state"]) == {"not_applicable"}
    assert "不作判定" in found.text()
    assert "nothing is judged" in found.text("en")
    assert found.rule() == ""
    assert "<article" in found._repr_html_()


def test_what_is_not_there_is_refused(report, units):
    name = str(units["name"].iloc[20])
    with pytest.raises(InputError, match=name):
        explain(report, name[:-1] + "庄")
    with pytest.raises(InputError, match="comprehensive_service"):
        explain(report, name, kind="library")
    with pytest.raises(ValueError, match="lang"):
        explain(report, name, lang="fr")
    twins = replace(report, units=report.units.assign(name="一村"))
    with pytest.raises(InputError, match=str(units["unit_code"].iloc[3])) as fault:
        explain(twins, "一村")
    assert str(units["township"].iloc[3]) in str(fault.value)
    assert explain(twins, str(units["unit_code"].iloc[3])).unit.name == "一村"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.browser
@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("FACILITY_COVERAGE_REQUIRE_BROWSER"),
    reason="no chromium on this machine",
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_in_a_browser_without_network(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    report = assessed(STREET, HOMES, SITES, RURAL, **{**OWN, "unit_name": EVIL})
    target = explain(report, "130824100201").save(tmp_path / "story.html")
    asked, complaints = [], []
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1100, "height": 900})
        context.set_offline(True)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(target.as_uri())
        frame = page.frame_locator("iframe")
        frame.locator(".leaflet-marker-icon").first.wait_for()
        assert frame.locator(".leaflet-marker-icon").count() == len(HOMES) + len(SITES)
        # Three routes can be pointed at; the street, the outline and two casings cannot.
        assert frame.locator("path.leaflet-interactive").count() == 3
        assert EVIL in page.locator("h1").inner_text()
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert complaints == []
