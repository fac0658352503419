"""Every notebook runs from top to bottom with the network cut off, and is committed clean."""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIRST = FOLDER / "01-first-map.ipynb"
SECONDS = 120
KERNEL = "the-python-of-these-tests"

# Runs before the first cell. An audit hook sees every way Python has to the network and cannot be
# taken off again; what is tried is remembered, for a library may swallow the error.
CUT_OFF = """
import socket as _socket, sys as _sys

_reached_for = []

def _stay_home(event, args):
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host and host not in ("localhost", "::1") and not host.startswith("127."):
        _reached_for.append(host)
        raise ConnectionRefusedError(f"a notebook reached for the network: {host}")

_sys.addaudithook(_stay_home)
for _reach in (
    lambda: _socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: _socket.getaddrinfo("example.org", 443),
):
    try:
        _reach()
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("the network is not cut off")
assert _reached_for == ["192.0.2.1", "example.org"], _reached_for
_reached_for.clear()
"""
STAYED_HOME = "assert not _reached_for, _reached_for"
# Libraries in C (GDAL, PROJ) ask no audit hook; they obey these.
NO_WAY_OUT = {
    **dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GDAL_HTTP_PROXY"),
        "http://127.0.0.1:9",
    ),
    "PROJ_NETWORK": "OFF",
}


def _read(path):
    with path.open(encoding="utf-8") as file:
        return nbformat.read(file, as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Give a function that runs a notebook once, in the Python that runs these tests."""
    home = tmp_path_factory.mktemp("jupyter")
    spec = home / "kernels" / KERNEL
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": KERNEL, "language": "python"}),
        encoding="utf-8",
    )
    done = {}

    def run(path):
        if path not in done:
            notebook = _read(path)
            first = nbformat.v4.new_code_cell(CUT_OFF)
            last = nbformat.v4.new_code_cell(STAYED_HOME)
            notebook.cells = [first, *notebook.cells, last]
            client = nbclient.NotebookClient(
                notebook,
                timeout=SECONDS,
                kernel_name=KERNEL,
                resources={"metadata": {"path": str(path.parent)}},
            )
            client.execute()
            notebook.cells = notebook.cells[1:-1]
            done[path] = notebook
        return done[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(home))
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        for name, value in NO_WAY_OUT.items():
            patch.setenv(name, value)
        yield run


def _shown(notebook, cell_id, mime):
    (cell,) = [cell for cell in _code(notebook) if cell.id == cell_id]
    return "".join(output.data[mime] for output in cell.outputs if mime in output.get("data", {}))


def test_the_first_notebook_is_there():
    assert FIRST in NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_clean(path):
    notebook = _read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in _code(notebook):
        assert cell.outputs == [], f"cell {cell.id} has outputs: clear them before committing"
        assert cell.execution_count is None, f"cell {cell.id} was numbered by a run"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_says_it_is_a_sample_in_both_languages(path):
    top = _read(path).cells[0].source
    assert "示例数据，非测绘成果" in top
    assert "illustrative sample, not survey data" in top


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_offline_from_top_to_bottom(path, executed):
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    notebook = executed(path)
    after = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert after == before, "a notebook writes nothing beside itself"
    for cell in _code(notebook):
        assert cell.execution_count is not None, f"cell {cell.id} was not run"
        for output in cell.outputs:
            assert output.output_type != "error", f"cell {cell.id}: {output}"
            assert output.get("name") != "stderr", f"cell {cell.id} warns: {output.text}"


@pytest.mark.slow
class TestFirstMap:
    def test_rates_show_the_official_rate(self, executed):
        table = _shown(executed(FIRST), "rates", "text/html")
        assert "60.3%" in table
        assert "80.0%" in table

    def test_160_villages_meet_the_target_and_159_do_not(self, executed):
        table = _shown(executed(FIRST), "whole", "text/html")
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
        assert cells == ["159", "79.90%", "False", "160", "80.40%", "True"]

    def test_the_map_names_the_county_and_carries_the_stamp(self, executed):
        page = html.unescape(_shown(executed(FIRST), "map", "text/html"))
        assert "滦平县" in page
        assert "示例数据，非测绘成果" in page

    def test_the_map_loads_nothing(self, executed):
        page = html.unescape(_shown(executed(FIRST), "map", "text/html"))
        assert "<script" in page  # Leaflet stands in the page itself
        assert not re.findall(r"<script[^>]*\ssrc\s*=", page)
        assert not re.findall(r"<link[^>]*\shref\s*=\s*[\"']?(?!data:)[^>]*>", page)
        assert not re.findall(r"\ssrc\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>", page)
        assert not re.findall(r"url\(\s*[\"']?\s*(?:https?:)?//", page)
        assert not re.findall(r"@import\b", page)

    def test_the_map_and_the_workbook_are_written(self, executed):
        notebook = executed(FIRST)
        assert "luanping.html" in _shown(notebook, "save", "text/plain")
        assert "项目库" in _shown(notebook, "workbook", "text/plain")

    @pytest.mark.parametrize("cell", ["roads", "plan", "access", "assess", "intake"])
    def test_objects_show_themselves(self, executed, cell):
        assert _shown(executed(FIRST), cell, "text/html")
