"""Road layers as counties have them: noding, loose ends, levels, classes, speeds, PostGIS."""

from __future__ import annotations

import re
from random import Random

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage import roads as roads_module
from facility_coverage.noding import node_lines, vertex_keys

GAUSS_KRUGER = "EPSG:4527"  # zone 39: eastings of 39 million, where a double resolves 7 nm
ORIGIN = np.array([39_500_000.0, 4_530_000.0])


def layer(tmp_path, lines, *, crs=GAUSS_KRUGER, name="roads.gpkg", origin=ORIGIN, **columns):
    """Write lines, given around an origin, and give the path."""
    shapes = [shapely.LineString(np.asarray(line, dtype=float) + origin) for line in lines]
    table = {"highway": "residential", **columns}
    path = tmp_path / name
    gpd.GeoDataFrame(table, geometry=shapes, crs=crs, index=range(len(lines))).to_file(path)
    return path


def pieces(network):
    """Give which edges hang together, as sets of row positions."""
    graph = nx.Graph()
    graph.add_edges_from(zip(network.edges["u"], network.edges["v"], strict=True))
    return nx.number_connected_components(graph)


def findings(network, words):
    return [f for f in network.findings if words in f["rule"]]


CROSS = ([(0, 0), (100, 0)], [(50, -50), (50, 50)])


@pytest.mark.parametrize(
    ("columns", "edges"),
    [
        ({}, 4),
        ({"bridge": ["yes", None]}, 2),
        ({"bridge": ["no", "F"]}, 4),
        ({"bridge": [True, False]}, 2),
        ({"bridge": ["是", "是"]}, 4),  # both at level 1
        ({"tunnel": ["yes", None]}, 2),
        ({"tunnel": ["building_passage", None]}, 4),
        ({"layer": [1, 0]}, 2),
        ({"layer": [1.0, None], "bridge": [None, "yes"]}, 4),  # a bridge without a layer is at 1
        ({"layer": [0, 0], "bridge": ["yes", None]}, 2),
        ({"layer": ["-1", "-1"], "tunnel": ["yes", "no"]}, 4),
        ({"highway": ["motorway", "residential"]}, 2),
        ({"highway": ["高速公路", "高速公路"]}, 4),
        ({"highway": ["在建", "村道"]}, 1),
    ],
)
def test_crossings_meet_at_grade_only(tmp_path, columns, edges):
    network = fc.read_roads(layer(tmp_path, CROSS, **columns))
    assert len(network) == edges
    met = findings(network, "cross or touch at grade")
    apart = findings(network, "cross without meeting")
    assert (len(met), len(apart)) == {4: (1, 0), 2: (0, 1), 1: (0, 0)}[edges]
    for finding in met:
        assert finding["value"] == "(39500050.000, 4530000.000)"
        other = 3 - finding["row"]
        assert finding["cure"].startswith(f"joined there with row {other};")
        assert f"与第{other}行相接" in finding["cure_zh"]
    for finding in apart:
        assert finding["cure"].startswith("1 places kept apart")
        for cure in (finding["cure"], finding["cure_zh"]):
            assert re.search(r"(1 × 2|2 × 1) \(39500050\.000, 4530000\.000\)$", cure)


def test_drawn_as_it_is_kept(tmp_path):
    network = fc.read_roads(layer(tmp_path, CROSS), crossings="keep")
    assert (len(network), network.findings) == (2, ())
    with pytest.raises(ValueError, match="'join' or 'keep'"):
        fc.read_roads(layer(tmp_path, CROSS), crossings="yes")
    with pytest.raises(ValueError, match="metres"):
        fc.read_roads(layer(tmp_path, CROSS), snap_tolerance_m=-1)


def test_a_bridge_meets_roads_at_its_ends(tmp_path):
    # West road, bridge, east road; one passes under the bridge; one under it has a vertex there.
    lines = [
        [(0, 0), (100, 0)],
        [(100, 0), (150, 0), (200, 0)],
        [(200, -80), (200, 0), (200, 80)],  # the bridge ends at a vertex inside this road
        [(130, -50), (130, 50)],
        [(150, -50), (150, 0), (150, 50)],
    ]
    path = layer(tmp_path, lines, bridge=[None, "yes", None, None, None])
    network = fc.read_roads(path)
    assert pieces(network) == 3
    assert len(network) == 6
    assert pieces(fc.read_roads(path, crossings="keep")) == 2  # the shared vertex is a join there


def test_a_bridge_that_ends_beside_no_vertex_is_named_and_left(tmp_path):
    lines = [[(0, 0), (100, 0)], [(50, 0), (50, 60)]]
    network = fc.read_roads(layer(tmp_path, lines, bridge=["no", "yes"]))
    assert len(network) == 2
    (apart,) = findings(network, "cross without meeting")
    assert "Rows and places: 2 × 1 (" in apart["cure"]
    assert not findings(network, "at grade")


def test_motorways_are_met_by_ends_only(tmp_path):
    lines = [
        [(0, 0), (300, 0)],
        [(100, 0), (100, 60)],  # a toll gate's road
        [(200, -60), (200, 0), (200, 60)],  # a village road with a vertex under the motorway
    ]
    path = layer(tmp_path, lines, highway=["motorway", "县道", "村道"])
    network = fc.read_roads(path)
    assert (len(network), pieces(network)) == (4, 2)
    (apart,) = findings(network, "cross without meeting")
    assert apart["cure"].endswith(": 3 × 1 (39500200.000, 4530000.000)")


def test_gaps_are_closed_within_the_tolerance(tmp_path):
    lines = [
        [(0, 0), (300, 0)],
        [(100, 60), (100, 0.8)],  # ends 0.8 m short of a road
        [(300.5, 0), (400, 0)],  # starts 0.5 m after another's end
        [(200, 60), (200, 1.5)],  # too far
        [(250, 60), (250, -0.7)],  # crosses, with a stub of 0.7 m
    ]
    path = layer(tmp_path, lines)
    network = fc.read_roads(path)
    gaps = findings(network, "loose end")
    assert [(f["row"], f["value"], f["cure"].split(";")[0]) for f in gaps] == [
        (1, "(39500300.500, 4530000.000)", "drawn 0.50 m on to row 3"),
        (2, "(39500100.000, 4530000.000)", "drawn 0.80 m on to row 1"),
    ]
    assert {f["severity"] for f in gaps} == {"warning"}
    assert pieces(network) == 2
    drawn = sum(shapely.LineString(line).length for line in lines)
    assert network.edges["length_m"].sum() == pytest.approx(drawn + 0.8 + 0.5, abs=1e-6)
    assert pieces(fc.read_roads(path, snap_tolerance_m=2)) == 1
    assert pieces(fc.read_roads(path, snap_tolerance_m=0)) == 4


def test_tolerance_is_in_metres_where_coordinates_are_degrees(tmp_path):
    degree = np.array([1 / 85_000, 1 / 111_000])  # about 40° N
    lines = [np.array(line) * degree for line in ([(0, 0), (300, 0)], [(100, 60), (100, 0.9)])]
    path = layer(tmp_path, lines, crs="EPSG:4490", origin=np.array([117.3, 40.0]))
    assert pieces(fc.read_roads(path)) == 1
    assert pieces(fc.read_roads(path, snap_tolerance_m=0.8)) == 2
    assert findings(fc.read_roads(path), "loose")[0]["value"] == "(117.3011765, 40.0000000)"


def test_a_loose_end_does_not_climb_a_bridge_but_ends_meet(tmp_path):
    lines = [[(0, 0), (100, 0)], [(50, 60), (50, 0.5)], [(100.5, 0), (200, 0)]]
    network = fc.read_roads(layer(tmp_path, lines, bridge=["yes", None, None]))
    assert [f["row"] for f in findings(network, "loose")] == [1]
    assert pieces(network) == 2


def test_twenty_places_are_named_and_the_rest_counted(tmp_path):
    lines = [[(0, 0), (1000, 0)], *([(10 * x, -5), (10 * x, 5)] for x in range(1, 31))]
    roads = fc.read_roads(layer(tmp_path, lines))
    met = findings(roads, "at grade")
    assert len(met) == 21
    assert met[-1]["cure"].endswith("(and 10 more rows)")
    assert met[-1]["cure_zh"].endswith("（另有10行）")
    assert met[-1]["value"].startswith("+10: ")
    (line,) = fc.intake_report(roads).summary("zh").to_dict("records")
    assert (line["count"], line["effect"]) == (30, "changed")
    assert line["rule"] == "平面相交或相接的道路互通"


def test_lists_of_places_are_told_in_full_or_counted(tmp_path):
    lines = [[(0, 0), (1000, 0)], *([(10 * x, -5), (10 * x, 5)] for x in range(1, 31))]
    layers = ["1", *["0"] * 30]
    (apart,) = findings(fc.read_roads(layer(tmp_path, lines, layer=layers)), "without meeting")
    for cure in (apart["cure"], apart["cure_zh"]):
        told, further = cure.split(", … +")
        assert told.count(" × ") + int(further) == 30
        assert told.endswith(".000)")
    words = [f"第{x}类" for x in range(31)]
    (odd,) = findings(fc.read_roads(layer(tmp_path, lines, highway=words)), "known Chinese word")
    assert odd["cure"].split(":")[0].endswith("第19类 (1), … +11")


def test_copies_are_kept_and_named(tmp_path):
    lines = [[(0, 0), (50, 9), (100, 0)], [(7, 7), (9, 9)], [(100, 0), (50, 9), (0, 0)]]
    network = fc.read_roads(layer(tmp_path, lines))
    assert len(network) == 5  # they share the vertex where they bend
    (twice,) = findings(network, "drawn once")
    assert twice["cure"].endswith("of each pair of rows: 1 = 3")


def test_overlaps_are_noded_at_their_ends():
    coords = np.array([[0, 0], [10, 0], [4, 0], [14, 0]], dtype=float)
    noded = node_lines(coords, np.array([0, 0, 1, 1]))
    assert noded.coords[:, 0].tolist() == [0, 4, 10, 4, 10, 14]
    assert noded.key.tolist() == [0, 1, 2, 1, 2, 3]


def test_shapes_with_heights_and_several_parts(tmp_path):
    shape = shapely.MultiLineString([[(0, 0, 5), (100, 0, 6)], [(50, -50, 1), (50, 50, 2)]])
    frame = gpd.GeoDataFrame({"highway": ["service"]}, geometry=[shape], crs="EPSG:32650")
    frame.to_file(tmp_path / "z.gpkg")
    network = fc.read_roads(tmp_path / "z.gpkg")
    assert len(network) == 4
    assert not network.edges.geometry.has_z.any()


# Against shapely: segments on a small grid meet in every degenerate way there is.
POINT = st.tuples(st.integers(0, 7), st.integers(0, 7))
LINE = st.lists(POINT, min_size=2, max_size=4).filter(lambda path: len(set(path)) > 1)


def flat(paths):
    coords = np.array([point for path in paths for point in path], dtype=float)
    return coords, np.repeat(np.arange(len(paths)), [len(path) for path in paths])


def components(n, pairs):
    graph = nx.Graph(pairs)
    graph.add_nodes_from(range(n))
    return {frozenset(part) for part in nx.connected_components(graph)}


def met(line, key):
    """Give the pairs of lines that share a key."""
    table = pd.DataFrame({"line": line, "key": key}).drop_duplicates()
    both = table.merge(table, on="key")
    return set(zip(both["line_x"], both["line_y"], strict=True))


@given(st.lists(LINE, min_size=1, max_size=7))
@settings(max_examples=150, deadline=None)
def test_noding_agrees_with_shapely(paths):
    coords, line = flat(paths)
    shapes = shapely.linestrings(coords, indices=line)
    noded = node_lines(coords, line)
    touching = {
        (a, b)
        for a in range(len(paths))
        for b in range(len(paths))
        if shapes[a].intersects(shapes[b])
    }
    assert met(noded.line, noded.key) == touching

    union = shapely.unary_union(shapes)
    start = np.flatnonzero(noded.line[1:] == noded.line[:-1])
    ends = np.sort(np.stack([noded.key[start], noded.key[start + 1]]), axis=0)
    once = ~pd.DataFrame(ends.T).duplicated().to_numpy()
    steps = np.hypot(*(noded.coords[start + 1] - noded.coords[start])[once].T)
    assert steps.sum() == pytest.approx(union.length, rel=1e-9)
    whole = np.hypot(*np.diff(noded.coords, axis=0)[noded.line[1:] == noded.line[:-1]].T).sum()
    assert whole == pytest.approx(shapely.length(shapes).sum(), rel=1e-9)
    # Every vertex of shapely's noding is one of ours, and a second pass finds nothing to do.
    theirs = shapely.points(shapely.get_coordinates(shapely.node(union)))
    assert shapely.distance(theirs, shapely.multipoints(noded.coords)).max() < 1e-9
    assert len(node_lines(noded.coords, noded.line).joins) == 0


@given(st.lists(st.tuples(POINT, POINT, st.integers(-1, 1)), min_size=1, max_size=7))
@settings(max_examples=150, deadline=None)
def test_levels_meet_only_at_ends_they_share(drawn):
    drawn = [(a, b, level) for a, b, level in drawn if a != b]
    if not drawn:
        return
    coords, line = flat([(a, b) for a, b, _ in drawn])
    shapes = shapely.linestrings(coords, indices=line)
    noded = node_lines(coords, line, level=np.array([level for *_, level in drawn]))
    expected = {
        (i, j)
        for i, (a, b, level) in enumerate(drawn)
        for j, (c, d, other) in enumerate(drawn)
        if ({a, b} & {c, d}) or (level == other and shapes[i].intersects(shapes[j]))
    }
    assert components(len(drawn), met(noded.line, noded.key)) == components(len(drawn), expected)


@given(st.lists(LINE, min_size=2, max_size=6), st.randoms())
@settings(max_examples=60, deadline=None)
# The end of the second is equally far from the first and the third.
@example([[(2, 0), (4, 4)], [(3, 0), (4, 3)], [(3, 3), (5, 4)]], Random(3))  # noqa: S311
def test_the_order_of_rows_changes_nothing(paths, random):
    order = list(range(len(paths)))
    random.shuffle(order)
    found = []
    for turn in (range(len(paths)), order):
        coords, line = flat([paths[i] for i in turn])
        noded = node_lines(coords, line, snap_tolerance_m=0.9)
        found.append({frozenset((turn[a], turn[b])) for a, b in met(noded.line, noded.key)})
    assert found[0] == found[1]


def test_equal_places_have_equal_keys():
    coords = np.random.default_rng(7).integers(0, 12, (500, 2)) / 7 + ORIGIN
    expected = pd.DataFrame(coords).groupby([0, 1], sort=False).ngroup().to_numpy()
    assert vertex_keys(coords).tolist() == expected.tolist()


def test_classes_in_chinese_and_in_no_language(tmp_path):
    lines = [[(0, 10 * y), (100, 10 * y)] for y in range(8)]
    words = [
        "国道",
        "机耕路",
        "residential",
        "四级公路",
        "第九类",
        " Primary ",
        None,
        "['service']",
    ]
    path = layer(tmp_path, lines, highway=None)
    frame = gpd.read_file(path).drop(columns="highway").assign(道路等级=words)
    frame.to_file(tmp_path / "words.gpkg")
    network = fc.read_roads(tmp_path / "words.gpkg")
    given_classes = network.edges["highway"].tolist()
    assert given_classes[:6] == ["trunk", "track", "residential", "tertiary", "第九类", "primary"]
    assert pd.isna(given_classes[6])
    assert given_classes[7] == "service"
    (strange,) = findings(network, "a known Chinese word")
    assert strange["severity"] == "warning"
    assert strange["cure"].startswith("第九类 (1): open at the mode's own speed")
    assert strange["cure_zh"].endswith("请用 classes={'…': 'tertiary'} 指明等级")
    assert "国道 → trunk (1)" in findings(network, "are read as")[0]["cure"]
    assert findings(network, "a road has a class")[0]["cure"].startswith("1 roads have none")
    again = fc.read_roads(tmp_path / "words.gpkg", classes={"第九类": "path"})
    assert again.edges["highway"].tolist()[4] == "path"
    assert not findings(again, "a known Chinese word")


def test_every_class_in_the_table_is_openstreetmaps():
    words, known = roads_module._class_words()
    assert set(words.values()) <= known


def test_speeds_and_levels_that_are_none(tmp_path):
    lines = [[(0, 10 * y), (100, 10 * y)] for y in range(6)]
    path = layer(
        tmp_path,
        lines,
        车速=["40", "abc", "0", "-5", "", None],
        layer=["1", "up", None, "0", "2.5", ""],
    )
    network = fc.read_roads(path)
    speeds = network.edges["speed_kph"]
    assert speeds.tolist()[0] == 40.0
    assert speeds.isna().tolist() == [False, True, True, True, True, True]
    bad = [(f["row"], f["value"]) for f in network.findings if f["field"] == "speed_kph"]
    assert bad == [(2, "abc"), (3, "0"), (4, "-5")]
    assert all(f["cure"].startswith("taken as not stated") for f in network.findings)
    assert [f["row"] for f in network.findings if f["field"] == "layer"] == [2, 5]


def test_who_may_use_a_road_is_carried_to_the_edges(tmp_path):
    path = layer(
        tmp_path,
        CROSS,
        access=["private", None],
        foot=["yes", "否"],
        机动车通行=["禁止通行", "是"],
        maxspeed=["40", None],
        oneway=["-1", "no"],
        oneway_bicycle=["yes", None],
        surface=["asphalt", "asphalt"],
    )
    network = fc.read_roads(path, columns={"bicycle": "foot"})
    edges = network.edges.drop_duplicates("access")
    assert edges["access"].iloc[0] == "private"
    assert edges["bicycle"].tolist() == ["yes", "no"]
    assert edges["motor_vehicle"].tolist() == ["no", "yes"]
    assert edges["maxspeed"].iloc[0] == "40"
    assert edges["oneway"].tolist() == [True, False]
    assert edges["oneway_bicycle"].iloc[0] == "-1"  # the edge is turned round, and so is this
    assert "surface" not in edges


def test_one_way_as_geofabrik_says_it(tmp_path):
    lines = [[(0, 10 * y), (100, 10 * y)] for y in range(4)]
    network = fc.read_roads(layer(tmp_path, lines, oneway=["B", "F", "T", "hm"]))
    assert network.edges["oneway"].tolist() == [False, True, True, False]
    assert network.edges.geometry.iloc[2].coords[0][0] == ORIGIN[0] + 100
    (odd,) = findings(network, "oneway is")
    assert odd["cure"].startswith("hm (1): taken as open both ways")


def test_stated_lengths_are_compared(tmp_path):
    path = layer(tmp_path, CROSS, length_m=[100.0, 300.0])
    (off,) = findings(fc.read_roads(path), "stated length")
    assert off["cure"].endswith(": 2: 300 / 100.0")
    parts = shapely.MultiLineString([[(0, 0), (100, 0)], [(0, 9), (100, 9)]])
    frame = gpd.GeoDataFrame(
        {"highway": ["service"] * 2, "length_m": [200.0, 100.0]},
        geometry=[parts, shapely.transform(parts, lambda xy: xy + 500)],
        crs=GAUSS_KRUGER,
    )
    frame.to_file(tmp_path / "parts.gpkg")
    (off,) = findings(fc.read_roads(tmp_path / "parts.gpkg"), "stated length")
    assert off["cure"].endswith(": 2: 100 / 200.0")


@pytest.mark.parametrize("name", ["a.shp", "a.geojson", "a.parquet"])
def test_any_file_of_lines_is_the_same_network(tmp_path, name):
    origin = np.array([117.0, 40.0])
    lines = [np.array(line) * 1e-5 for line in CROSS]
    columns = {"bridge": ["no", "no"], "other": [1, 2], "geom_note": ["a", "b"]}
    path = layer(tmp_path, lines, crs="EPSG:4326", origin=origin, **columns)
    frame = gpd.read_file(path)
    if name.endswith("parquet"):
        frame.rename_geometry("shape").to_parquet(tmp_path / name)
    else:
        frame.to_file(tmp_path / name)
    one, two = fc.read_roads(path), fc.read_roads(tmp_path / name)
    assert len(one) == len(two) == 4
    assert list(one.edges.columns) == list(two.edges.columns)
    np.testing.assert_allclose(one.edges["length_m"], two.edges["length_m"], rtol=1e-6)


def test_without_arrow_it_is_the_same(tmp_path, monkeypatch):
    path = layer(tmp_path, CROSS, bridge=["yes", None], layer=[None, 1], name="b.gpkg")
    fast = fc.read_roads(path)
    monkeypatch.setattr("facility_coverage.layers.find_spec", lambda _: None)
    slow = fc.read_roads(path)
    pd.testing.assert_frame_equal(
        fast.edges.drop(columns="geometry"), slow.edges.drop(columns="geometry")
    )


def test_what_is_noticed_of_a_road_layer_is_told(tmp_path):
    line = shapely.LineString([(39527000, 4533000), (39528000, 4533000)])
    path = tmp_path / "a.shp"
    frame = gpd.GeoDataFrame({"highway": ["村道"]}, geometry=[line], crs="EPSG:2415")
    frame.to_file(path, encoding="GBK")
    path.with_suffix(".cpg").unlink()
    roads = fc.read_roads(path, crs="EPSG:32650")
    assert roads.edges["highway"].tolist() == ["unclassified"]
    told = fc.intake_report(roads).table["code"].tolist()
    assert told[:2] == ["layer.encoding", "crs.ballpark"]


def test_rows_of_a_road_layer_are_counted(tmp_path):
    """Two parts of a row are one row; a road that is not built, and an empty one, are set aside."""
    lines = [
        shapely.MultiLineString([[(0, 0), (100, 0)], [(0, 9), (100, 9)]]),
        shapely.LineString([(50, -50), (50, 50)]),
        shapely.LineString([(0, 70), (100, 70)]),
        None,
    ]
    frame = gpd.GeoDataFrame(
        {"highway": ["service", "service", "construction", "service"]},
        geometry=gpd.GeoSeries(lines, crs=GAUSS_KRUGER).translate(*ORIGIN),
    )
    frame.to_file(tmp_path / "a.gpkg")
    counts = {
        "file": "a.gpkg",
        "read": 4,
        "accepted": 2,
        "set_aside": 2,
        "no_data": 0,
        "crs": GAUSS_KRUGER,
    }
    for crossings in ("join", "keep"):
        roads = fc.read_roads(tmp_path / "a.gpkg", crossings=crossings)
        assert fc.intake_report(roads).rows == (counts,)
    area = shapely.box(*np.r_[ORIGIN + 20, ORIGIN + 40])
    closures = gpd.GeoDataFrame({"note": ["a"]}, geometry=[area], crs=GAUSS_KRUGER)
    changed = fc.close_roads(roads, closures)
    assert fc.read_roads(changed.save(tmp_path / "b.parquet")).rows == (counts,)
