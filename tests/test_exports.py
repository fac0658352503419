"""Maps as pictures and PDF, by a browser; and what is said without one."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

import facility_coverage as fc
from facility_coverage import maps
from facility_coverage.errors import InputError, MissingDependencyError, OutputError
from facility_coverage.exports import find_browser

from ._fake_report import fake_projects, fake_report

image = pytest.importorskip("matplotlib.image")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("FACILITY_COVERAGE_REQUIRE_BROWSER"),
    reason="no chromium on this machine",
)
COVERED, GAP, PAPER = (134, 196, 153), (215, 48, 39), (243, 239, 228)


@pytest.fixture(scope="module")
def chart():
    report = fake_report()
    return maps.coverage_map(report, projects=fake_projects(report), theme="gaps")


def share_like(picture, colour, *, within=12):
    """Give which share of a picture's pixels is near a colour."""
    rgb = picture[..., :3] * (255 if picture.dtype.kind == "f" else 1)
    return float((np.abs(rgb - np.array(colour)).max(axis=-1) <= within).mean())


@needs_browser
@pytest.mark.browser
def test_a_map_becomes_a_picture(chart, tmp_path):
    path = fc.export_png(chart, tmp_path / "map.png", width=1200, height=800, scale=1.5)
    picture = image.imread(path)
    assert picture.shape[:2] == (1200, 1800)
    assert share_like(picture, PAPER) > 0.1
    assert share_like(picture, GAP, within=40) > 0.001
    assert [each.name for each in tmp_path.iterdir()] == ["map.png"]


@needs_browser
@pytest.mark.browser
@pytest.mark.parametrize(("paper", "width_pt", "height_pt"), [("A4", 842, 595), ("A3", 1191, 842)])
def test_a_map_prints_on_one_sheet_with_its_fills(chart, tmp_path, paper, width_pt, height_pt):
    required = os.environ.get("FACILITY_COVERAGE_REQUIRE_BROWSER")
    if shutil.which("pdftoppm") is None and not required:
        pytest.skip("no pdftoppm to look at the sheet with")
    path = fc.export_pdf(chart, tmp_path / "map.pdf", paper=paper)
    told = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    assert int(facts["Pages"]) == 1
    size = [float(word) for word in facts["Page size"].split() if word[0].isdigit()]
    assert size == pytest.approx([width_pt, height_pt], abs=1)
    subprocess.run(
        ["pdftoppm", "-r", "40", "-singlefile", "-png", path, tmp_path / "sheet"], check=True
    )
    picture = image.imread(tmp_path / "sheet.png")
    assert share_like(picture, PAPER) > 0.2  # the ground under the canvas
    assert share_like(picture, GAP, within=60) > 0.005  # and the units


def test_without_a_browser_the_way_out_is_said(chart, tmp_path, monkeypatch):
    monkeypatch.setenv("FACILITY_COVERAGE_BROWSER", str(tmp_path / "none"))
    with pytest.raises(MissingDependencyError, match="FACILITY_COVERAGE_BROWSER"):
        fc.export_png(chart, tmp_path / "map.png")
    monkeypatch.setenv("FACILITY_COVERAGE_BROWSER", str(tmp_path / "named"))
    (tmp_path / "named").write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    (tmp_path / "named").chmod(0o755)
    assert find_browser() == tmp_path / "named"
    with pytest.raises(OutputError, match=r"exit 3\): it is broken"):
        fc.export_pdf(chart, tmp_path / "map.pdf")
    with pytest.raises(InputError, match="there is no page"):
        fc.export_pdf(tmp_path / "no.html", tmp_path / "map.pdf")
    assert [each.name for each in tmp_path.iterdir()] == ["named"]
