"""The coverage map in a real browser with the network cut off."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import folium
import pandas as pd
import pytest

import facility_coverage as fc
from facility_coverage import maps

from ._fake_report import fake_circles, fake_projects, fake_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>alert(1)</script>"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("FACILITY_COVERAGE_REQUIRE_BROWSER"),
        reason="no chromium on this machine",
    ),
    # playwright leaves a closed event loop's transports to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def fake():
    made = fake_report()
    made.units.loc[60, "name"] = EVIL
    made.verdicts.loc[made.verdicts["unit_code"] == made.units["unit_code"][60], "minutes"] = 12.3
    made.verdicts.loc[
        made.verdicts["unit_code"] == made.units["unit_code"][61], ["minutes", "mode"]
    ] = [float("nan"), None]
    return made


def a_gap(fake):
    rows = fake.verdicts.query("kind == 'comprehensive_service' and reachable_state == 'uncovered'")
    return rows["unit_code"].iloc[0]


def later(fake):
    """Give the same county with one gap closed by a new building, and all else as it was."""
    code = a_gap(fake)
    verdicts, facilities, rates = fake.verdicts.copy(), fake.facilities.copy(), fake.rates.copy()
    at = (verdicts["unit_code"] == code) & (verdicts["kind"] == "comprehensive_service")
    facilities.loc[len(facilities)] = facilities.iloc[0]
    facilities.loc[len(facilities) - 1, ["facility_id", "name"]] = ["P-1", "新建站（规划）"]
    for name, value in {
        "ledger_state": "covered",
        "reachable_state": "covered",
        "reachable_reason": "",
        "ledger_facility_id": "P-1",
        "facility_id": "P-1",
        "minutes": 4.2,
    }.items():
        verdicts.loc[at, name] = value
    rates.loc[rates["kind"] == "comprehensive_service", "share"] = 0.987
    return SimpleNamespace(
        **{**vars(fake), "verdicts": verdicts, "facilities": facilities, "rates": rates}
    )


@pytest.fixture(scope="module")
def county_map(fake, tmp_path_factory):
    target = tmp_path_factory.mktemp("map") / "county.html"
    circles = fake_circles(fake)
    circles, by_bike = circles.assign(mode="walk"), circles.assign(mode="ebike")
    chart = maps.coverage_map(
        fake,
        circles=pd.concat([circles, by_bike]),
        projects=fake_projects(fake),
        after=later(fake),
    )
    folium.Marker([41.0, 117.3], popup="mine", icon=folium.Icon(color="red")).add_to(chart)
    folium.Marker([40.95, 117.35], popup="plain").add_to(chart)
    folium.LayerControl().add_to(chart)
    chart.save(str(target))
    return target


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as session:
        opened = session.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Open a file at a size; afterwards nothing was asked of the network, nothing complained."""
    asked, complaints, contexts = [], [], []

    def opener(target, width=1366, height=768, ready='[data-ready="true"]'):
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        context.set_offline(True)
        own = target.as_uri()

        def gate(route):
            if route.request.url.split("#")[0] == own:
                route.continue_()
            else:
                asked.append(route.request.url)
                route.abort()

        context.route("**/*", gate)
        page = context.new_page()
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("data:", own, "blob:"))
                else asked.append(request.url)
            ),
        )
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type in {"error", "warning"}
                # the tests' own reading of pixels
                and "willReadFrequently" not in message.text
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(own)
        page.wait_for_selector(ready)
        return page

    yield opener
    for context in contexts:
        context.close()
    assert asked == []
    assert complaints == []


def drawn(page):
    return page.evaluate("facilityCoverage.drawn()")


def inked_pixels(page):
    return page.evaluate(
        """() => {
            const canvas = facilityCoverage.canvas();
            const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 3; i < all.data.length; i += 4) if (all.data[i] > 0) count += 1;
            return count;
        }"""
    )


def test_everything_is_drawn_offline(open_page, county_map):
    page = open_page(county_map)
    found = drawn(page)
    assert found["units"] == 213
    assert found["roads"] > 300
    assert found["facilities"] > 200
    assert found["hamlets"] > 900
    assert found["projects"] == 0
    assert found["circles"] == 3
    page.get_by_role("radio", name="规划布局").check()
    assert drawn(page)["projects"] > 20
    assert drawn(page)["circles"] == 0
    page.get_by_role("radio", name="现状覆盖").check()
    assert inked_pixels(page) > 50_000
    assert page.locator("path.fc-unit[data-state]").count() == 213
    assert page.evaluate("performance.getEntriesByType('paint')[0].startTime") < 1500


def test_legend_counts_are_the_states(open_page, county_map):
    page = open_page(county_map)
    for basis in ("reachable", "ledger"):
        page.evaluate("basis => facilityCoverage.setBasis(basis)", basis)
        rows = page.locator(".fc-legend-row[data-state]")
        total = 0
        for index in range(rows.count()):
            row = rows.nth(index)
            count = int(row.locator(".fc-legend-count").inner_text())
            state = row.get_attribute("data-state")
            assert page.locator(f'path.fc-unit[data-state="{state}"]').count() == count
            total += count
        assert total == 213


def test_clicking_a_unit_opens_its_card(open_page, county_map, fake):
    page = open_page(county_map)
    for layer in ("facilities", "projects", "demand"):
        page.evaluate("layer => facilityCoverage.setLayer(layer, false)", layer)
    unit = fake.units.iloc[60]
    at = page.evaluate("code => facilityCoverage.unitPoint(code)", unit["unit_code"])
    box = page.locator(".folium-map").bounding_box()
    page.mouse.move(box["x"] + at["x"], box["y"] + at["y"])
    assert EVIL in page.locator(".fc-tip").inner_text()
    page.mouse.click(box["x"] + at["x"], box["y"] + at["y"])
    card = page.locator(".fc-card")
    assert card.locator("h2").inner_text() == EVIL
    assert card.locator("script").count() == 0
    assert unit["unit_code"] in card.inner_text()
    assert unit["township"] in card.inner_text()
    assert "12.3 分钟" in card.locator(".fc-current .fc-minutes").inner_text()
    assert card.locator(".fc-kindrow[data-kind]").count() == 9
    card.locator(".fc-close").click()
    assert card.is_hidden()


@pytest.fixture(scope="module")
def sample_map(report, projects, facilities, roads, tmp_path_factory):
    """The demo's map, made from the report the tests share."""
    target = tmp_path_factory.mktemp("sample") / "map.html"
    circles = fc.isochrones(facilities, roads, kind="comprehensive_service")
    fc.coverage_map(report, circles=circles, projects=projects).save(str(target))
    return target


def test_the_sample_opens_offline_and_its_cards_tell_the_verdicts(open_page, sample_map, report):
    page = open_page(sample_map)
    counts = drawn(page)
    assert counts["units"] == 213
    assert counts["roads"] > 0
    assert counts["facilities"] > 100
    assert "示例数据，非测绘成果" in page.inner_text("body")
    verdicts = report.verdicts.query("kind == 'comprehensive_service'").set_index("unit_code")
    states = verdicts["reachable_state"]
    chosen = [states.index[states == state][0] for state in ("covered", "uncovered", "unknown")]
    for code in [*chosen, *verdicts.index[[40, 150]]]:
        page.evaluate("code => facilityCoverage.selectUnit(code)", code)
        card = page.locator(".fc-card")
        row = verdicts.loc[code]
        assert card.locator("h2").inner_text() == row["name"]
        told = card.locator(".fc-current").inner_text()
        minutes = "—" if row["minutes"] != row["minutes"] else f"{row['minutes']:.1f} 分钟"
        assert minutes in told
        assert fc.label("state", row["ledger_state"]) in told


def test_missing_minutes_print_a_dash(open_page, county_map, fake):
    page = open_page(county_map)
    page.evaluate("code => facilityCoverage.selectUnit(code)", fake.units["unit_code"][61])
    words = page.locator(".fc-current .fc-minutes").inner_text()
    assert words.startswith("—")
    assert "NaN" not in page.locator(".fc-card").inner_text()


def test_layers_can_be_switched(open_page, county_map):
    page = open_page(county_map)
    before = inked_pixels(page)
    page.locator('[data-layer="roads"]').uncheck()
    assert drawn(page)["roads"] == 0
    assert inked_pixels(page) < before
    page.locator('[data-layer="roads"]').check()
    assert inked_pixels(page) == before
    page.locator('[data-layer="units"]').uncheck()
    assert page.locator("path.fc-unit").first.get_attribute("fill-opacity") == "0"


def test_kind_and_basis_selectors(open_page, county_map):
    page = open_page(county_map)
    page.locator("select.fc-kind").select_option("clinic")
    assert page.locator(".fc-page").get_attribute("data-kind") == "clinic"
    page.get_by_role("radio", name="台账口径").check()
    assert page.locator(".fc-page").get_attribute("data-basis") == "ledger"
    assert "卫生室（站）" in page.locator(".fc-shown").inner_text()
    assert "台账口径" in page.locator(".fc-shown").inner_text()


def test_each_map_shows_what_it_is_about(open_page, county_map):
    page = open_page(county_map)
    opacity = {}
    for theme, words in (("coverage", "现状覆盖"), ("gaps", "缺口分布"), ("layout", "规划布局")):
        page.get_by_role("radio", name=words).check()
        assert words in page.locator(".fc-shown").inner_text()
        opacity[theme] = {
            state: float(
                page.locator(f'path.fc-unit[data-state="{state}"]').first.get_attribute(
                    "fill-opacity"
                )
            )
            for state in ("covered", "uncovered")
        }
        legend = page.locator(".fc-legend").inner_text()
        assert ("新建" in legend) == (theme == "layout")
        assert ("等时圈" in legend) == (theme == "coverage")
    assert opacity["gaps"]["covered"] < opacity["coverage"]["covered"] / 2
    assert opacity["gaps"]["uncovered"] > opacity["coverage"]["uncovered"]
    assert opacity["layout"]["uncovered"] < opacity["coverage"]["uncovered"]


def test_before_and_after_and_the_curtain_between(open_page, county_map, fake):
    page = open_page(county_map)
    code = a_gap(fake)
    page.evaluate("code => facilityCoverage.selectUnit(code)", code)
    share = page.locator(".fc-rate-share").first
    assert share.inner_text() != "98.7%"
    page.get_by_role("radio", name="项目完成后").check()
    assert share.inner_text() == "98.7%"
    told = page.locator(".fc-current .fc-minutes").inner_text()
    assert "4.2 分钟" in told
    assert "新建站（规划）" in told
    unit = page.locator(f'path.fc-unit[data-code="{code}"]')
    assert unit.get_attribute("data-state") == "covered"

    page.get_by_role("radio", name="左右对比").check()
    assert unit.count() == 2
    assert [unit.nth(n).get_attribute("data-state") == "covered" for n in (0, 1)] == [False, True]
    arrow = page.locator(".fc-legend-count").first.inner_text().split(" → ")
    assert int(arrow[1]) == int(arrow[0]) + 1
    slider = page.get_by_role("slider")
    slider.focus()
    edges = []
    for key in ("Home", "End"):
        page.keyboard.press(key)
        edges.append(page.locator(".fc-curtain-line").evaluate("line => line.style.left"))
    assert edges == ["0%", "100%"]
    # What lies right of the curtain is of the later county, left of it of the present one.
    at = page.evaluate("code => facilityCoverage.unitPoint(code)", code)
    box = page.locator(".folium-map").bounding_box()
    for part, layer in ((0.001, 1), (0.999, 0)):
        page.evaluate("part => facilityCoverage.setCurtain(part)", part)
        hit = page.evaluate(
            "at => document.elementFromPoint(at[0], at[1])",
            [box["x"] + at["x"], box["y"] + at["y"]],
        )
        assert hit is not None
        found = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y).closest('.leaflet-pane').className",
            [box["x"] + at["x"], box["y"] + at["y"]],
        )
        assert ("after" in found) == bool(layer)
    page.get_by_role("radio", name="现状", exact=True).check()
    assert slider.is_hidden()


def test_isochrones_of_one_mode_at_a_time(open_page, county_map):
    page = open_page(county_map)
    choice = page.locator("select.fc-mode")
    assert drawn(page)["circles"] == 3
    assert "步行" in page.locator(".fc-legend").inner_text()
    choice.select_option("ebike")
    assert drawn(page)["circles"] == 3
    assert "电动自行车" in page.locator(".fc-legend").inner_text()


def test_search_knows_pinyin(open_page, county_map, fake):
    page = open_page(county_map)
    unit = next(index for index, name in enumerate(fake.units["name"]) if name.startswith("王家店"))
    for spelling in ("wjd", "wangjiad"):
        page.locator(".fc-search").fill(spelling)
        rows = page.locator(".fc-found button span").all_inner_texts()
        assert any(row.startswith("王家店") for row in rows), (spelling, unit)


def test_every_control_is_reached_by_keyboard(open_page, county_map):
    page = open_page(county_map)
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => { const e = document.activeElement;"
                " return [e.name, e.id, e.dataset.layer, e.className].join(' '); }"
            )
        )
    words = " ".join(map(str, reached))
    for part in ("fc-search", "_kind", "_theme", "_basis", "_time", "fc-panel-toggle", "roads"):
        assert part in words, part


# The contrast of text against the nearest opaque ground behind it, by WCAG 2.2's formula.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const low = [];
  const walker = document.createTreeWalker(
    document.querySelector(".fc-page"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (!node.textContent.trim() || !holder.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(holder.tagName)) continue;
    let ground = holder, colour = [255, 255, 255];
    for (; ground; ground = ground.parentElement) {
      const found = parse(getComputedStyle(ground).backgroundColor);
      if (found.length < 4 || found[3] > 0.8) { colour = found; break; }
    }
    const ink = light(parse(getComputedStyle(holder).color));
    const pair = [ink, light(colour)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) low.push(node.textContent.trim() + " " + ratio.toFixed(2));
  }
  return low;
}"""


def test_text_stands_out_and_nothing_scrolls_sideways(open_page, county_map, fake):
    page = open_page(county_map, 1366, 768)
    page.evaluate("code => facilityCoverage.selectUnit(code)", fake.units["unit_code"][61])
    assert page.evaluate(CONTRAST) == []
    for part in (".fc-panel", "html"):
        wide = page.locator(part).evaluate("e => e.scrollWidth - e.clientWidth")
        assert wide <= 0, part


def test_search_finds_by_keyboard(open_page, county_map, fake):
    page = open_page(county_map)
    name = fake.units["name"][100]
    page.locator(".fc-search").fill(name)
    assert page.locator(".fc-found button").count() >= 1
    page.keyboard.press("Enter")
    assert page.locator(".fc-card h2").inner_text() == name
    page.locator(".fc-search").fill("没有这个村")
    assert page.locator(".fc-found .fc-none").is_visible()


@pytest.mark.slow
def test_names_on_the_map_do_not_touch(open_page, county_map):
    page = open_page(county_map)
    for zoom in (10, 12, 14):
        page.evaluate("zoom => facilityCoverage.map.setZoom(zoom, {animate: false})", zoom)
        boxes = [label["box"] for label in drawn(page)["labels"]]
        assert boxes
        for index, a in enumerate(boxes):
            for b in boxes[index + 1 :]:
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (900, 500)])
def test_panels_do_not_overlap(open_page, county_map, size):
    page = open_page(county_map, *size)
    names = (
        ".fc-head",
        ".fc-foot",
        ".fc-panel",
        ".fc-legend",
        ".leaflet-control-zoom",
        ".fc-north",
        ".leaflet-control-scale",
    )
    boxes = {name: page.locator(name).bounding_box() for name in names}
    for name, box in boxes.items():
        assert box["x"] >= 0, name
        assert box["y"] >= 0, name
        assert box["x"] + box["width"] <= size[0] + 0.5, name
        assert box["y"] + box["height"] <= size[1] + 0.5, name
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            p, q = boxes[a], boxes[b]
            apart = (
                p["x"] + p["width"] <= q["x"] + 0.5
                or q["x"] + q["width"] <= p["x"] + 0.5
                or p["y"] + p["height"] <= q["y"] + 0.5
                or q["y"] + q["height"] <= p["y"] + 0.5
            )
            assert apart, (a, b)
    assert page.locator(".fc-stamp").is_visible()
    assert page.locator(".fc-title").is_visible()


def test_panel_folds_and_opens(open_page, county_map):
    page = open_page(county_map)
    wide = page.locator(".folium-map").bounding_box()["width"]
    page.locator(".fc-panel-toggle").click()
    assert page.locator(".fc-panel").is_hidden()
    assert page.locator(".folium-map").bounding_box()["width"] > wide
    page.locator(".fc-panel-toggle").click()
    assert page.locator(".fc-panel").is_visible()


def test_a_users_own_markers_work(open_page, county_map):
    page = open_page(county_map)
    assert page.locator("img.leaflet-marker-icon").count() == 1
    assert page.locator("img.leaflet-marker-icon").get_attribute("src").startswith("data:image/png")
    assert page.locator(".fc-pin").count() == 1
    page.locator("img.leaflet-marker-icon").dispatch_event("click")
    assert "plain" in page.locator(".leaflet-popup-content").inner_text()
    assert page.locator(".leaflet-control-attribution").inner_text() == "Leaflet"
    assert page.locator(".leaflet-control-attribution a").count() == 0


def test_paper_keeps_title_legend_and_stamp(open_page, county_map):
    page = open_page(county_map)
    page.emulate_media(media="print")
    for name in (".fc-title", ".fc-legend", ".fc-stamp", ".fc-north"):
        assert page.locator(name).is_visible(), name
    for name in (".fc-panel", ".leaflet-control-zoom", ".fc-panel-toggle"):
        assert page.locator(name).is_hidden(), name


def test_english_page(open_page, fake, tmp_path):
    target = tmp_path / "en.html"
    maps.coverage_map(fake, lang="en", kind="clinic", basis="ledger").save(str(target))
    page = open_page(target)
    assert "ledger basis" in page.locator(".fc-shown").inner_text()
    legend = page.locator(".fc-legend").inner_text()
    assert "not covered (gap)" in legend
    assert not any("\u4e00" <= character <= "\u9fff" for character in legend)


def test_the_briefing_opens_offline_and_prints_on_pages(open_page, report, projects, tmp_path):
    target = fc.write_briefing(report, projects, tmp_path / "briefing.html")
    page = open_page(target, 1366, 768, ready=".fc-brief")
    assert page.locator("figure svg").count() == 3
    assert "60.3%" in page.locator(".fc-figure-card").first.inner_text()
    assert page.evaluate(CONTRAST.replace(".fc-page", ".fc-brief")) == []
    assert page.locator("html").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.emulate_media(media="print")
    for figure in page.locator("figure").all():  # whole on a sheet of A4 upright
        box = figure.bounding_box()
        assert box["height"] < 1.35 * box["width"]
    page.set_viewport_size({"width": 420, "height": 800})
    page.emulate_media(media="screen")
    assert page.locator("html").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
