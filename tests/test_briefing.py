"""The briefing: its figures are the report's, it opens by itself; pictures without a browser."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import facility_coverage as fc
from facility_coverage import pictures
from facility_coverage.errors import InputError, MissingDependencyError

image = pytest.importorskip("matplotlib.image")
SERVICE = "comprehensive_service"
DAY = dt.date(2025, 6, 1)


@pytest.fixture(scope="module")
def page(report, projects, tmp_path_factory):
    path = tmp_path_factory.mktemp("briefing") / "briefing.html"
    return fc.write_briefing(report, projects, path, made_on=DAY).read_text("utf-8")


def words_of(page):
    """Give the text a reader sees, without drawings."""
    bare = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", bare))


def test_its_figures_are_the_reports(page, report, projects):
    told = words_of(page)
    rates = report.rates[(report.rates["kind"] == SERVICE) & (report.rates["measure"] == "units")]
    for row in rates.itertuples():
        assert f"{row.share:.1%}（{row.covered:,.0f}/{row.total:,.0f}）" in told
        if row.missing > 0:
            assert f"尚缺 {row.missing:,.0f} 个" in told
    due = projects[projects["in_quota"]]
    assert f"列入任务 {len(due)} 个" in told
    assert f"共享 {(due['nature'] == 'sharing').sum()} 个" in told
    assert f"另有 {len(due) - 30} 项" in told
    years = re.findall(r"(202[1-5]) +(\d+) ", re.sub(r"\s+", " ", told.split("年度任务")[1]))
    tasks = fc.annual_tasks(projects, report)
    assert {int(year): int(count) for year, count in years} == dict(
        tasks.groupby("year").size().items()
    )
    for row in due.head(30).itertuples():
        assert row.name in told
    assert report.stamp in told
    assert "2025-06-01" in told
    assert "未提供造价" in told
    assert "total" not in told


def test_it_opens_by_itself_and_is_the_same_each_time(page, report, projects, tmp_path):
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page.replace("xlink:href", "href"))
    assert "@import" not in page
    assert page.count("<svg") == 3
    again = fc.write_briefing(report, projects, tmp_path / "b.html", made_on=DAY)
    same = re.compile(r"(id=\"|#|url\(#)[a-z]*[0-9a-f]{8,}")  # matplotlib names its parts at random
    assert same.sub("", again.read_text("utf-8")) == same.sub("", page)


def test_a_name_is_text(report, projects, tmp_path):
    evil = "<script>alert(1)</script>"
    named = projects.assign(name=evil)
    page = fc.write_briefing(report, named, tmp_path / "b.html", title=evil).read_text("utf-8")
    assert "<script" not in page
    assert page.count(html.escape(evil)) > 10


def test_costs_the_frontier_and_the_county_after(report, projects, tmp_path):
    costed = projects.assign(cost=10.0)
    costed.loc[costed.index[-1], "cost"] = np.nan
    rates = report.rates.copy()
    at = (rates["kind"] == SERVICE) & (rates["setting"] == "rural") & (rates["basis"] == "ledger")
    rates.loc[at & (rates["measure"] == "units"), ["covered", "share"]] = [162.0, 162 / 199]
    table = pd.DataFrame({"cost": [0.0, 50.0], "works": [0, 3], "share": [0.6, 0.8]})
    path = fc.write_briefing(
        report,
        costed,
        tmp_path / "b.html",
        frontier=table,
        after=SimpleNamespace(rates=rates),
        tasks=fc.annual_tasks(costed, report),
    )
    told = words_of(path.read_text("utf-8"))
    assert "台账覆盖 162/199（81.4%）" in told
    assert "投入与覆盖率" in told
    assert "未提供造价" not in told
    assert path.read_text("utf-8").count("<svg") == 4


def test_in_english_no_chinese_but_names(report, projects, tmp_path):
    page = fc.write_briefing(report, projects, tmp_path / "b.html", lang="en").read_text("utf-8")
    told = words_of(page).replace(report.stamp, "")
    assert "60.3% covered (120 of 199); 40 short of the target of 80.0%" in told
    sentences = re.findall(r"[^.]*covered \(.*?\.", told)
    assert sentences
    assert not any("\u4e00" <= character <= "\u9fff" for character in "".join(sentences))


def test_without_a_font_it_says_so(report, projects, tmp_path, monkeypatch):
    pictures.picture_font.cache_clear()
    monkeypatch.setattr(
        pictures.font_manager, "fontManager", SimpleNamespace(ttflist=[SimpleNamespace(name="x")])
    )
    try:
        page = fc.write_briefing(report, projects, tmp_path / "b.html").read_text("utf-8")
        with pytest.raises(MissingDependencyError, match="install Noto Sans CJK"):
            fc.coverage_picture(report, tmp_path / "a.png")
    finally:
        pictures.picture_font.cache_clear()
    assert "图件未生成" in page
    assert "fonts-noto-cjk" in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r, p, f: fc.write_briefing(r, p, f / "a.docx"), "ends in .html or .pdf"),
        (lambda r, p, f: fc.write_briefing(r, p, f / "a.html", kind="zoo"), "was not assessed"),
        (lambda r, _, f: fc.coverage_picture(r, f / "a.bmp"), "a picture ends in"),
        (lambda r, _, f: fc.coverage_picture(r, f / "a.png", kind="zoo"), "kind must be one of"),
        (lambda r, _, f: fc.coverage_picture(r, f / "a.png", basis="x"), "basis must be"),
    ],
)
def test_wrong_choices_are_named(report, projects, tmp_path, call, message):
    with pytest.raises(InputError, match=message):
        call(report, projects, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_pictures_states_are_the_maps(report):
    for basis in ("reachable", "ledger"):
        states = pictures.shown_states(report, SERVICE, basis)
        verdicts = report.verdicts[report.verdicts["kind"] == SERVICE].set_index("unit_code")
        stored = verdicts.loc[report.units["unit_code"], f"{basis}_state"].to_numpy()
        drawn_as = {"shared": "covered", "near": "uncovered"}
        assert [drawn_as.get(state, state) for state in states] == stored.tolist()
        chart = fc.coverage_map(report, basis=basis)
        payload = chart._payload
        at = [kind["id"] for kind in payload["kinds"]].index(SERVICE)
        known = [state["id"] for state in payload["states"]]
        assert [known[code] for code in payload["verdicts"][at][basis]] == states.tolist()


def test_a_picture_shows_what_it_says(report, projects, tmp_path):
    path = fc.coverage_picture(report, tmp_path / "map.png", projects=projects, dpi=60)
    picture = image.imread(path)[..., :3] * 255

    def share(colour):
        return float((np.abs(picture - np.array(colour)).max(axis=-1) <= 12).mean())

    assert share((140, 203, 167)) > 0.1  # covered
    assert share((230, 132, 126)) > 0.01  # gaps
    assert share((106, 27, 138)) > 0  # projects
    nobody = dataclasses.replace(report, verdicts=report.verdicts.assign(reachable_state="unknown"))
    fc.coverage_picture(nobody, tmp_path / "none.png", dpi=60)
    picture = image.imread(tmp_path / "none.png")[..., :3] * 255
    assert share((140, 203, 167)) < 0.001
