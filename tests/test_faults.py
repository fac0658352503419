"""Runs that are killed, stopped, or find no room: what stands under its name is whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import pytest
from openpyxl import load_workbook

import facility_coverage as fc

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
NAMES = {"map.html", "briefing.html", "coverage.xlsx", "manifest.json"}
TOWNSHIP = "130824207"  # the smallest
KILLS = [0, 1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 50))]
TOML = """
name = "A township"
plan = "circle-15"
[files]
units = "units.gpkg"
facilities = "facilities.gpkg"
roads = "roads.gpkg"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a county of one township, which runs in a second."""
    folder, sample = tmp_path_factory.mktemp("township"), fc.sample_county()
    units = gpd.read_file(sample.units)
    units = units[units["unit_code"].str.startswith(TOWNSHIP)]
    units.to_file(folder / "units.gpkg")
    roads = gpd.read_file(sample.roads, bbox=tuple(units.total_bounds))
    roads.to_file(folder / "roads.gpkg")
    kinds = fc.load_plan("circle-15").kinds
    places = gpd.GeoDataFrame(
        {"name": [f"{kind} 1" for kind in kinds], "kind": kinds},
        geometry=[units.representative_point().iloc[0]] * len(kinds),
        crs=units.crs,
    )
    places.to_file(folder / "facilities.gpkg")
    (folder / "county.toml").write_text(TOML, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """Give what takes an order and gives the answer, and how long a whole run takes."""
    command = [sys.executable, str(Path(__file__).parent / "fault_server.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:

        def order(what, **words):
            process.stdin.write(json.dumps({"what": what, **words}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        arguments = ["run", "county.toml", "--out", "warm"]
        done = order("warm", arguments=arguments, log="log")
        assert done["code"] == 0, done["said"]
        try:
            yield order
        finally:
            process.stdin.close()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def run(server, folder):
    def run(out, **words):
        arguments = ["run", str(folder / "county.toml"), "--out", str(out)]
        return server("run", arguments=arguments, log=str(folder / "log"), **words)

    return run


@pytest.fixture(scope="module")
def seconds(run, folder):
    """Give how long a whole run takes, and see that it is whole."""
    start = time.perf_counter()
    done = run(folder / "whole")
    assert done["code"] == 0, done["said"]
    assert whole(folder / "whole") == NAMES
    return time.perf_counter() - start


def whole(out):
    """See that what stands under its name is whole, and all else hidden; give the names."""
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    named = {name for name in there if not name.startswith(".")}
    assert named <= NAMES
    for name in named:
        path = out / name
        if path.suffix == ".html":
            assert path.read_text("utf-8").rstrip().endswith("</html>")
        elif path.suffix == ".json":
            assert json.loads(path.read_text("utf-8"))
        else:
            book = load_workbook(path, read_only=True)
            assert book.sheetnames
            book.close()
    return named


def hidden(out):
    return [path.name for path in out.rglob(".*")]


@pytest.mark.parametrize("number", KILLS)
def test_killed_at_any_moment(run, seconds, tmp_path, number):
    # Most of these moments are spent writing, or shortly before.
    moment = random.Random(number).uniform(0.3, 1.0) * seconds  # noqa: S311 - no secret
    killed = run(tmp_path / "out", end=signal.SIGKILL, after=moment)
    assert killed["code"] in {-signal.SIGKILL, 0}
    whole(tmp_path / "out")


@pytest.fixture(scope="module")
def demo(server, folder):
    """Give what runs the sample county, and how long a whole run takes."""

    def run(out, **words):
        return server(
            "run", arguments=["demo", "--out", str(out)], log=str(folder / "log"), **words
        )

    start = time.perf_counter()
    done = run(folder / "demo")
    assert done["code"] == 0, done["said"]
    assert whole(folder / "demo") == NAMES
    return run, time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("number", range(50))
def test_demo_killed_at_any_moment(demo, tmp_path, number):
    run, seconds = demo
    moment = random.Random(number).uniform(0.3, 1.0) * seconds  # noqa: S311 - no secret
    killed = run(tmp_path / "out", end=signal.SIGKILL, after=moment)
    assert killed["code"] in {-signal.SIGKILL, 0}
    whole(tmp_path / "out")


def test_interrupted(run, seconds, tmp_path):
    stopped = run(tmp_path / "out", end=signal.SIGINT, after=0.5 * seconds)
    assert stopped["code"] == 130, stopped["said"]
    assert "stopped; no half-written file was left" in stopped["said"]
    whole(tmp_path / "out")
    assert hidden(tmp_path) == []


def test_files_that_may_not_grow(run, tmp_path):
    refused = run(tmp_path / "out", most_bytes=30_000)
    assert refused["code"] == 1, refused["said"]
    assert "cannot be written (File too large); free some disk" in " ".join(refused["said"].split())
    whole(tmp_path / "out")
    assert hidden(tmp_path) == []


@pytest.fixture
def mounted(tmp_path):
    """Give a disk of 64 kB of this test's own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root mounts a disk")
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_and_one_that_is_read_only(run, mounted):
    refused = run(mounted / "out")
    assert refused["code"] == 1, refused["said"]
    said = " ".join(refused["said"].split())
    assert "cannot be written (No space left on device); free some disk" in said
    assert whole(mounted / "out") == set()
    assert hidden(mounted) == []
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    refused = run(mounted / "other")
    assert refused["code"] == 1, refused["said"]
    assert "name a folder you may write to" in " ".join(refused["said"].split())


@pytest.mark.slow
@pytest.mark.parametrize("times", [1000])
def test_memory_does_not_grow(server, folder, times):
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    used = server("soak", folder=str(folder), times=times)
    assert used["after"] <= 1.05 * used["before"], used


def test_one_network_from_eight_threads(server, folder):
    assert server("together", folder=str(folder), threads=8)["same"] == [True] * 8
