"""Roads from Overpass: the same as from an extract, asked once, and never by surprise."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import osmnx
import pandas as pd
import pyproj
import pytest
import shapely
from scipy.sparse.csgraph import dijkstra

import facility_coverage as fc
from facility_coverage.download import DownloadError, download_roads, farthest_reach
from facility_coverage.errors import CoverageError, InputError, NoCrsError
from facility_coverage.osm import read_osm_ways, read_overpass_ways

from .overpass_stand_in import DATE, StandIn, serve

BOX = (24.939, 60.167, 24.946, 60.172)
# Crooked, with a bay, so that stretches leave it and come back.
POLYGON = shapely.Polygon(
    [
        (24.9375, 60.1665),
        (24.9480, 60.1660),
        (24.9470, 60.1740),
        (24.9430, 60.1685),
        (24.9390, 60.1745),
    ]
)


@pytest.fixture(scope="module")
def server(helsinki_pbf):
    with serve(StandIn(helsinki_pbf)) as stand_in:
        yield stand_in


@pytest.fixture
def overpass(server, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server.reset()
    return server


@pytest.fixture
def download(overpass, tmp_path):
    def ask(area, **options):
        return download_roads(
            area,
            **{
                "cache": tmp_path / "osm",
                "overpass_url": f"{overpass.url}/api",
                "nominatim_url": f"{overpass.url}/",
                "wait_s": 0.01,
                "timeout_s": 20,
            }
            | options,
        )

    return ask


def stretches(roads):
    """Give every stretch between two vertices: its class, and its line in degrees."""
    coords, edge = shapely.get_coordinates(
        np.asarray(roads.edges.to_crs("EPSG:4326").geometry.array), return_index=True
    )
    same = edge[1:] == edge[:-1]
    ends = np.stack([coords[:-1], coords[1:]], axis=1)[same]
    return pd.DataFrame(
        {
            "highway": roads.edges["highway"].to_numpy()[edge[:-1][same]],
            "line": shapely.linestrings(ends),
            "metres": pyproj.Geod(ellps="WGS84").inv(*ends[:, 0].T, *ends[:, 1].T)[2],
        }
    )


def metres_by_class(roads, area=None):
    table = stretches(roads)
    if area is not None:
        table = table[shapely.intersects(area, table["line"].to_numpy())]
    return table.groupby("highway")["metres"].sum()


def same_metres(left, right):
    pd.testing.assert_series_equal(left, right, rtol=1e-6, atol=0.5)


def test_polygon_has_the_roads_of_the_extract(download, helsinki_pbf):
    expected = metres_by_class(fc.read_roads(helsinki_pbf), POLYGON)
    roads = download(POLYGON, buffer_m=0)
    assert len(expected) > 10
    assert expected.sum() > 20_000
    same_metres(metres_by_class(roads), expected)
    assert roads.crs.to_epsg() == 32635
    (counts,) = roads.rows
    assert counts["accepted"] == roads.edges["osmid"].nunique()
    assert counts["accepted"] <= counts["read"] < fc.read_roads(helsinki_pbf).rows[0]["read"]


def test_tags_nodes_and_direction_are_those_of_the_extract(download, helsinki_pbf):
    whole = fc.read_roads(helsinki_pbf)
    # All of the extract: nothing is clipped, so that every edge must be there, in its direction.
    west, south, east, north = whole.edges.to_crs(4326).total_bounds
    roads = download((west - 0.01, south - 0.01, east + 0.01, north + 0.01), buffer_m=0)
    tables = []
    for network in (whole, roads):
        node = network.nodes["node_id"].to_numpy()
        table = pd.DataFrame(network.edges.drop(columns="geometry"))
        table = table.assign(u=node[table["u"]], v=node[table["v"]])
        order = [name for name in table if name in whole.edges]
        tables.append(table[order].sort_values(["osmid", "u", "v", "length_m"], ignore_index=True))
    assert len(tables[0]) == len(whole.edges) > 4_000
    assert {"access", "foot", "bicycle", "oneway_bicycle", "maxspeed"} <= set(tables[0])
    pd.testing.assert_frame_equal(*tables, check_dtype=False)
    rules = [f["rule"] for f in roads.findings]
    assert "ways closed to the public carry nobody" in rules
    assert "gates and other barriers may be closed" in rules


@pytest.mark.slow
def test_every_kind_of_area_gives_the_same_roads(download, overpass):
    box = shapely.box(*BOX)
    overpass.places["Kluuvi"] = box
    units = gpd.GeoDataFrame(
        {"name": ["west", "east"]},
        geometry=[shapely.box(BOX[0], BOX[1], 24.942, BOX[3]), shapely.box(24.942, *BOX[1:])],
        crs="EPSG:4326",
    )
    expected = metres_by_class(download(box, buffer_m=0))
    for area in (BOX, list(BOX), np.array(BOX), units, units.geometry, "Kluuvi"):
        same_metres(metres_by_class(download(area, buffer_m=0)), expected)
    # Its sides are straight in the table's own CRS, so they bend by centimetres in degrees.
    projected = download(units.to_crs("EPSG:4549"), buffer_m=0)
    assert metres_by_class(projected).sum() == pytest.approx(expected.sum(), rel=1e-3)
    parts = shapely.MultiPolygon(
        [shapely.box(*BOX[:2], 24.9405, 60.1685), shapely.box(24.943, 60.17, *BOX[2:])]
    )
    whole = download(BOX, buffer_m=2_000)
    same_metres(
        metres_by_class(download(parts, buffer_m=0)),
        metres_by_class(whole, parts),
    )


def test_a_place_is_named_and_kept(download, overpass):
    overpass.places["Kluuvi"] = shapely.box(*BOX)
    roads = download(" Kluuvi ", buffer_m=10)
    note = next(f for f in roads.findings if "Nominatim" in f["rule"])
    assert (note["value"], note["cure"]) == ("Kluuvi", "found as Kluuvi, Helsinki, Suomi")
    download("Kluuvi", buffer_m=0)
    assert overpass.count("/search") == 1
    with pytest.raises(InputError, match="no area is known by the name 'Atlantis'"):
        download("Atlantis", buffer_m=0)
    overpass.places["Asema"] = shapely.Point(24.94, 60.17)
    with pytest.raises(InputError, match="no area is known by the name 'Asema'"):
        download("Asema", buffer_m=0)


def test_within_reach_minutes_are_those_of_the_whole_extract(download, helsinki_pbf):
    walk = fc.MODES["walk"]
    minutes = 6
    plan = fc.load_plan("circle-15")
    urban = replace(plan.standards[0], alternatives=(fc.Alternative(mode="walk", minutes=minutes),))
    whole = fc.read_roads(helsinki_pbf)
    cut = download(BOX, plan=replace(plan, standards=(urban,)))
    only = download(BOX, buffer_m=0)
    rng = np.random.default_rng(20)
    homes = np.array(
        [
            node
            for node, x, y in stored_nodes(whole)
            if BOX[0] <= x <= BOX[2] and BOX[1] <= y <= BOX[3]
        ]
    )
    facilities = rng.choice(whole.nodes["node_id"], 12, replace=False)

    def nearest(network):
        compiled = network.for_mode(walk)
        at = pd.Series(network.nodes.index, index=network.nodes["node_id"])
        found = [at[f] for f in facilities if f in at]
        times = dijkstra(compiled.reverse_matrix, indices=found, min_only=True)
        return pd.Series(times, index=network.nodes["node_id"]).reindex(homes).to_numpy()

    expected, widened, bare = nearest(whole), nearest(cut), nearest(only)
    near = expected <= minutes
    assert near.sum() > 100
    np.testing.assert_allclose(widened[near], expected[near], rtol=1e-9)
    assert len(whole.edges) > len(cut.edges) > len(only.edges)
    # Without what lies beyond the border, some would look as if nothing was near.
    assert (np.nan_to_num(bare[near], nan=np.inf) > expected[near] + 1e-6).any()


def stored_nodes(network):
    to_degrees = pyproj.Transformer.from_crs(network.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(network.nodes["x"].to_numpy(), network.nodes["y"].to_numpy())
    return zip(network.nodes["node_id"], lon, lat, strict=True)


def test_the_buffer_is_in_metres_and_said(download, overpass):
    for metres in (0, 250):
        roads = download(shapely.Point(24.9425, 60.1695).buffer(0.002), buffer_m=metres)
        note = next(f for f in roads.findings if f["field"] == "buffer_m")
        assert note["value"] == str(metres)
        assert f"其外{metres}米" in note["cure_zh"]
    polys = [
        question["data"].split("poly:'")[1].split("'")[0].split()
        for path, question in overpass.asked
        if path.endswith("/interpreter")
    ]
    widths = []
    for poly in polys:
        lon = np.array(poly[1::2], dtype=float)
        widths.append(pyproj.Geod(ellps="WGS84").inv(lon.min(), 60.1695, lon.max(), 60.1695)[2])
    assert widths[1] - widths[0] == pytest.approx(500, abs=2)


def test_farthest_reach():
    plan = fc.load_plan("luanping-2025")
    assert farthest_reach(plan) == 30 * 80_000 / 60

    def reach(*alternatives, **changes):
        standard = replace(plan.standards[0], alternatives=alternatives)
        return farthest_reach(replace(plan, standards=(standard,), **changes))

    walk = fc.Alternative(mode="walk", minutes=15)
    assert reach(walk) == 1000
    assert reach(walk, fc.Alternative(mode="ebike", minutes=10)) == 3000
    assert reach(walk, SimpleNamespace(mode="walk", minutes=None, metres=1500.0)) == 1500
    # Who drives slower than people walk is still carried by the walk to the road.
    slow = {**plan.modes, "walk": replace(plan.modes["walk"], speed_kph=2.0, leg_speed_kph=5.0)}
    assert reach(walk, modes=slow) == 1250
    downhill = {**plan.modes, "walk": replace(plan.modes["walk"], slope="tobler")}
    assert reach(walk, modes=downhill) == pytest.approx(1191.2, abs=0.1)
    with pytest.raises(ValueError, match="no standard"):
        farthest_reach(replace(plan, standards=()))


def test_asked_once(download, overpass, tmp_path, monkeypatch):
    first = download(BOX, buffer_m=100)
    assert overpass.count("/interpreter") == 1
    assert overpass.count("/status") == 0
    monkeypatch.setattr(socket, "getaddrinfo", None)  # not even a name is looked up
    again = download(BOX, buffer_m=100)
    assert len(overpass.asked) == 1
    pd.testing.assert_frame_equal(again.edges, first.edges)
    assert again.source == first.source
    assert "© OpenStreetMap contributors" in first.source
    assert DATE in first.source
    assert not list((tmp_path / "osm").glob(".*"))


def test_settings_are_given_back(download, overpass, monkeypatch):
    seen = []
    monkeypatch.setattr(osmnx.settings, "requests_kwargs", {"hooks": {"response": seen_by(seen)}})
    before = {
        name: value for name, value in vars(osmnx.settings).items() if not name.startswith("__")
    }
    resolve = socket.getaddrinfo
    download(BOX, buffer_m=0)
    overpass.troubles.extend([400])
    with pytest.raises(DownloadError):
        download(BOX, buffer_m=50)
    after = {name: vars(osmnx.settings)[name] for name in before}
    assert after == before
    assert socket.getaddrinfo is resolve
    assert seen == [200, 400]


def seen_by(seen):
    return lambda response, **_: seen.append(response.status_code)


@pytest.mark.parametrize("trouble", [429, 500, 504, "drop", "cut", "portal", "out of time"])
def test_asked_again_where_that_helps(download, overpass, trouble):
    overpass.troubles.extend([trouble, trouble])
    roads = download(BOX, buffer_m=0)
    assert len(roads) > 500
    assert overpass.count("/interpreter") == 3
    # Overpass counts slots: after "too many requests" it is asked when one is free.
    assert overpass.count("/status") == (2 if trouble == 429 else 0)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (429, "429"),
        (504, "504"),
        ("drop", "ConnectionError"),
        ("cut", "ChunkedEncodingError|ConnectionError|IncompleteRead"),
        ("portal", "InsufficientResponseError"),
        ("out of time", "Query timed out"),
    ],
)
def test_gives_up_with_what_to_do(download, overpass, tmp_path, trouble, words):
    overpass.troubles.extend([trouble] * 9)
    with pytest.raises(DownloadError, match=words) as caught:
        download(BOX, buffer_m=0, retries=2)
    assert overpass.count("/interpreter") == 3
    assert caught.value.url == f"{overpass.url}/api"
    assert f"{overpass.url}/api could not be asked" in str(caught.value)
    assert "3 attempts" in str(caught.value)
    assert "read_roads" in str(caught.value)
    assert isinstance(caught.value, CoverageError)
    assert not list((tmp_path / "osm").glob("*"))
    # What failed leaves nothing that would pass for an answer.
    overpass.reset()
    assert len(download(BOX, buffer_m=0)) > 500


def test_a_refused_question_is_not_repeated(download, overpass):
    overpass.troubles.extend([400] * 9)
    with pytest.raises(DownloadError, match=r"400 .*1 attempt\)"):
        download(BOX, buffer_m=0)
    assert overpass.count("/interpreter") == 1


def test_no_server_there(download, overpass):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(DownloadError, match=f"{nobody}/api could not be asked: Connect"):
            download(BOX, buffer_m=0, overpass_url=f"{nobody}/api", retries=1)
        with pytest.raises(DownloadError, match=r"InvalidSchema|MissingSchema"):
            download(BOX, buffer_m=0, overpass_url="overpass", retries=1)
    assert time.monotonic() - started < 5
    assert not overpass.asked


def test_large_areas_are_asked_in_parts(download, overpass, monkeypatch, tmp_path):
    whole = download(BOX, buffer_m=0)
    monkeypatch.setattr(osmnx.settings, "max_query_area_size", 400_000)
    overpass.reset()
    overpass.troubles.extend([None, 504, "drop"])
    parts = download(BOX, buffer_m=0, cache=tmp_path / "other")
    asked = [query["data"] for path, query in overpass.asked if path.endswith("/interpreter")]
    assert len(set(asked)) > 3
    assert len(asked) == len(set(asked)) + 2  # what was answered is not asked again
    pd.testing.assert_frame_equal(
        *(
            roads.edges.sort_values(["osmid", "length_m"], ignore_index=True).drop(
                columns=["u", "v"]
            )
            for roads in (whole, parts)
        )
    )


def test_threads_share_one_server_and_one_cache(download):
    found = []

    def ask(metres):
        found.append(download(BOX, buffer_m=metres))

    threads = [Thread(target=ask, args=(metres,)) for metres in (0, 0, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert sorted(len(roads) for roads in found)[2] >= len(download(BOX, buffer_m=0))


@pytest.mark.parametrize(
    ("area", "options", "error", "words"),
    [
        (BOX, {"buffer_m": None}, ValueError, "Give the plan"),
        (BOX, {"buffer_m": -1}, ValueError, "buffer_m"),
        (BOX, {"buffer_m": float("nan")}, ValueError, "buffer_m"),
        (BOX, {"retries": -1}, ValueError, "retries"),
        ((60.1, 24.9, 60.0, 25.0), {}, InputError, "west < east"),
        ((24.9, 60.1, 25.0), {}, InputError, "an area is the name"),
        (None, {}, InputError, "an area is the name"),
        ("  ", {}, InputError, "empty name"),
        (shapely.Polygon(), {}, InputError, "empty"),
        (shapely.Point(24.9, 60.1), {}, InputError, "drawn as polygons"),
        (shapely.box(385_000, 6_670_000, 386_000, 6_671_000), {}, InputError, "not degrees"),
        (
            shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]),
            {},
            InputError,
            "Self-intersection",
        ),
        (gpd.GeoSeries([shapely.box(*BOX)]), {}, NoCrsError, "no CRS"),
        (gpd.GeoSeries([], crs="EPSG:4326"), {}, InputError, "empty"),
        ((25.5, 60.1, 25.6, 60.2), {}, InputError, "no road"),
    ],
)
def test_what_is_no_area_is_refused(download, area, options, error, words):
    with pytest.raises(error, match=words):
        download(area, **{"buffer_m": 0} | options)


def test_a_damaged_answer_is_named(download, tmp_path):
    download(BOX, buffer_m=0)
    (kept,) = (tmp_path / "osm").glob("area-*/*.json")
    kept.write_text(kept.read_text()[:1000])
    with pytest.raises(InputError, match=r"not an answer of Overpass .* delete the folder"):
        download(BOX, buffer_m=0)


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_CACHE_HOME", ""),
        ("linux", None, ".cache"),
        ("darwin", None, "Library/Caches"),
        ("win32", "LOCALAPPDATA", ""),
    ],
)
def test_where_it_is_kept(download, tmp_path, monkeypatch, platform, variable, folder):
    monkeypatch.setattr("facility_coverage.download.sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    download(BOX, buffer_m=0, cache=None)
    assert list((tmp_path / folder / "facility-coverage" / "osm").glob("area-*/*.json"))


def test_overpass_answers_are_read_as_extracts(server, helsinki_pbf):
    """The two readers, without a server in between."""
    answer = {"elements": [*server.ways, *server.nodes.values()]}
    again = json.loads(json.dumps(answer))
    from_file = read_osm_ways(helsinki_pbf)
    from_json = read_overpass_ways([answer, again], "twice")
    for left, right in zip(from_file[:3], from_json[:3], strict=True):
        np.testing.assert_array_equal(left, right)
    pd.testing.assert_frame_equal(from_file[3], from_json[3])
