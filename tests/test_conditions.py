"""Closures and slopes, against shapely, networkx and hand-worked tables."""

from __future__ import annotations

import builtins
import itertools
import math

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

import facility_coverage as fc
from facility_coverage.conditions import add_elevation, close_roads
from facility_coverage.errors import (
    InputError,
    MissingDependencyError,
    MissingInputError,
    NoCrsError,
)
from facility_coverage.network import RoadNetwork

CRS = "EPSG:32650"
EAST, NORTH = 500_000.0, 4_500_000.0


def network(lines, *, nodes=None, ids=None, crs=CRS, **columns):
    """Make a network of lines; ends at the same place are the same node."""
    lines = [shapely.LineString(line) for line in lines]
    ends = [(line.coords[0], line.coords[-1]) for line in lines]
    places = nodes or list(dict.fromkeys(end for pair in ends for end in pair))
    table = {
        "u": [places.index(start) for start, _ in ends],
        "v": [places.index(end) for _, end in ends],
        "length_m": [line.length for line in lines],
        "oneway": False,
        "highway": "tertiary",
        **columns,
    }
    return RoadNetwork(
        gpd.GeoDataFrame(table, geometry=lines, crs=crs),
        pd.DataFrame(
            {
                "node_id": ids or list(range(len(places))),
                "x": [x for x, _ in places],
                "y": [y for _, y in places],
            }
        ),
        source="made",
    )


def closures(*shapes, crs=CRS, index=None):
    return gpd.GeoSeries(list(shapes), crs=crs, index=index)


def open_graph(roads):
    """Give the open pieces as an undirected networkx graph, by node position."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(len(roads.nodes)))
    for row in roads.edges.itertuples():
        if getattr(row, "access", None) != "no":
            graph.add_edge(row.u, row.v)
    return graph


def table(roads, *columns):
    # pandas 3 makes a column of words and None a column of words and NaN.
    cells = pd.DataFrame(roads.edges[list(columns)]).astype(object)
    return list(cells.where(cells.notna(), None).itertuples(index=False, name=None))


# Closing


def test_a_polygon_cuts_a_road_into_two_dead_ends():
    roads = network(
        [[(0, 0), (60, 0), (100, 0)]],
        name="S257",
        oneway=True,
        foot="yes",
        slope_forward=1.2,
        slope_backward=0.9,
        climb_m=8.0,
    )
    roads.edges["length_m"] = 200.0  # as given, twice what is drawn
    after = close_roads(roads, closures(shapely.box(30, -9, 50, 9), index=["landslide"]))
    assert table(after, "u", "v", "length_m", "access", "foot", "closed_by", "climb_m") == [
        (0, 2, 60.0, None, "yes", None, 2.4),
        (2, 3, 40.0, "no", None, "landslide", 1.6),
        (3, 1, 100.0, None, "yes", None, 4.0),
    ]
    assert [line.wkt for line in after.edges.geometry] == [
        "LINESTRING (0 0, 30 0)",
        "LINESTRING (30 0, 50 0)",
        "LINESTRING (50 0, 60 0, 100 0)",
    ]
    assert (
        table(after, "name", "oneway", "highway", "slope_forward", "slope_backward")
        == [("S257", True, "tertiary", 1.2, 0.9)] * 3
    )
    assert after.nodes[["x", "y"]].to_numpy()[2:].tolist() == [[30, 0], [50, 0]]
    assert after.nodes["node_id"].tolist() == [0, 1, -1, -2]
    assert after.edges.index.tolist() == [0, 1, 2]
    assert after.nodes.index.tolist() == [0, 1, 2, 3]
    assert after.findings[-1] == {
        "severity": "note",
        "rule": "closed roads carry nobody",
        "cure": "1 edges closed over 40 m",
        "file": "made",
        "sheet": "",
        "row": 1,
        "field": "closures",
        "value": "landslide",
        "code": "closures.closed",
        "effect": "changed",
        "rule_zh": "封闭路段不能通行",
        "cure_zh": "涉及1条路段，封闭40米",
    }


def test_a_line_or_point_closes_what_is_within_its_width():
    roads = network([[(0, 0), (100, 0)], [(0, 200), (100, 200)]])
    bridge = shapely.LineString([(50, -3), (50, 3)])
    after = close_roads(roads, closures(bridge, shapely.Point(20, 204)), width_m=5)
    shut = after.edges[after.edges["access"] == "no"]
    assert shut["length_m"].tolist() == pytest.approx([10, 6], abs=0.01)
    assert shut["closed_by"].tolist() == [0, 1]
    wide = close_roads(roads, closures(bridge), width_m=12)
    assert wide.edges["length_m"].tolist() == pytest.approx([38, 24, 38, 100], abs=0.01)


def test_nobody_passes_and_both_sides_stay():
    roads = network([[(0, 0), (100, 0)], [(100, 0), (200, 0)]])
    after = close_roads(roads, closures(shapely.Point(100, 0)))
    graph = open_graph(after)
    assert not nx.has_path(graph, 0, 2)
    homes = gpd.GeoSeries([shapely.Point(80, 3), shapely.Point(120, 3)], crs=CRS)
    mode = after.for_mode(fc.MODES["walk"])
    usable = after.edges.iloc[mode.roads.usable]
    assert usable["length_m"].tolist() == pytest.approx([95, 95], abs=0.01)
    for home, side in zip(homes, (0, 2), strict=True):
        nearest = usable.iloc[usable.distance(home).argmin()]
        assert nx.has_path(graph, nearest["u"], side)


def test_every_mode_keeps_off_closed_pieces():
    keys = ("access", "foot", "bicycle", "vehicle", "motor_vehicle")
    roads = network([[(0, 0), (100, 0)]], **dict.fromkeys(keys, "yes"))
    after = close_roads(roads, closures(shapely.box(40, -1, 60, 1)))
    for mode in fc.MODES.values():
        assert after.for_mode(mode).roads.usable.tolist() == [0, 2], mode.name


def test_a_closure_away_from_roads_changes_nothing_and_is_named():
    roads = network([[(0, 0), (100, 0)]])
    place = closures(
        shapely.Point(50, 60),
        shapely.box(100, 0, 120, 20),
        None,
        shapely.Polygon(),
        index=[*"abcd"],
    )
    after = close_roads(roads, place)
    pd.testing.assert_frame_equal(after.edges, roads.edges)
    pd.testing.assert_frame_equal(after.nodes, roads.nodes)
    found = pd.DataFrame(after.findings)
    assert found["severity"].tolist() == ["warning"] * 4
    assert found["value"].tolist() == ["a", "b", "c", "d"]
    assert [text.split(";")[0] for text in found["cure"]] == [
        "closed nothing: the nearest is 60.0 m away",
        "closed nothing: the nearest is 0.0 m away",
        "closed nothing: it has no geometry",
        "closed nothing: it has no geometry",
    ]
    assert len(close_roads(roads, closures()).edges) == 1


def test_a_closure_in_another_crs_is_transformed_and_that_is_said():
    roads = network([[(EAST, NORTH), (EAST + 100, NORTH)]])
    area = closures(shapely.box(EAST + 30, NORTH - 9, EAST + 50, NORTH + 9))
    after = close_roads(roads, area.to_crs(4490))
    assert after.edges["length_m"].tolist() == pytest.approx([30, 20, 50], abs=1e-3)
    assert "EPSG:4490 to EPSG:32650" in after.findings[0]["cure"]
    # Longitudes taken for metres, and metres taken for degrees, lie somewhere else altogether.
    for wrong in (
        area.to_crs(4326).set_crs(CRS, allow_override=True),
        area.set_crs(4326, allow_override=True),
    ):
        lost = close_roads(roads, wrong)
        assert lost.findings[-1]["severity"] == "warning"
        assert len(lost.edges) == 1


def test_overlapping_closures_close_once_and_each_says_what_it_lies_on():
    roads = network([[(0, 0), (100, 0)]])
    layer = closures(
        shapely.box(20, -1, 50, 1), shapely.box(40, -1, 70, 1), shapely.box(30, -1, 35, 1)
    )
    after = close_roads(roads, layer)
    assert table(after, "length_m", "closed_by") == [(20, None), (30, 0), (20, 1), (30, None)]
    assert [found["cure"] for found in after.findings] == [
        "1 edges closed over 30 m",
        "1 edges closed over 30 m",
        "1 edges closed over 5 m",
    ]
    # Parts of one closure that overlap count once.
    pair = shapely.GeometryCollection([shapely.Point(50, 0), shapely.Point(55, 0)])
    twice = close_roads(roads, closures(pair), width_m=10)
    assert table(twice, "closed_by") == [(None,), (0,), (None,)]
    assert twice.findings[-1]["cure"] == "1 edges closed over 25 m"
    twice = close_roads(roads, closures(pair), width_m=70)
    assert twice.findings[-1]["cure"] == "1 edges closed over 100 m"
    again = close_roads(after, closures(shapely.box(10, -1, 60, 1), index=["later"]))
    assert table(again, "length_m", "closed_by") == [
        (10, None),
        (10, "later"),
        (30, 0),
        (10, 1),
        (10, 1),
        (30, None),
    ]
    assert again.nodes["node_id"].is_unique
    assert again.nodes["node_id"].min() == -5


def test_loops_crossing_themselves_and_edges_of_no_length():
    loop = [(0, 0), (100, 0), (100, 100), (0, 100), (0, 0)]
    eight = [(200, 0), (300, 100), (300, 0), (200, 100)]
    dot = [(400, 0), (400, 0)]
    roads = network([loop, eight, dot])
    layer = closures(
        shapely.box(90, 40, 110, 60), shapely.box(240, 40, 260, 60), shapely.box(399, -1, 401, 1)
    )
    after = close_roads(roads, layer)
    shut = after.edges[after.edges["access"] == "no"]
    assert shut["length_m"].tolist() == pytest.approx([20, 20 * 2**0.5, 20 * 2**0.5, 0])
    assert len(after.edges) == 3 + 5 + 1
    assert after.edges["length_m"].sum() == pytest.approx(roads.edges["length_m"].sum())
    # Closed at its own node, the loop is a dead end on either side of it.
    at_node = close_roads(roads, closures(shapely.Point(0, 0)), width_m=5)
    assert (at_node.edges["access"] == "no").tolist() == [True, False, True, False, False]
    # Away from the dot, the dot stays.
    assert (close_roads(roads, layer.iloc[:2]).edges["access"] == "no").tolist()[-1] is False


def test_node_ids_that_are_words_stay_unique():
    roads = network([[(0, 0), (100, 0)]], ids=["cut-7", "b"])
    after = close_roads(roads, closures(shapely.box(30, -9, 50, 9)))
    assert after.nodes["node_id"].tolist() == ["cut-7", "b", "cut-8", "cut-9"]
    assert set(after.graph.nodes) == set(after.nodes["node_id"])


def test_what_cannot_close_roads_is_refused():
    roads = network([[(0, 0), (100, 0)]])
    with pytest.raises(NoCrsError, match="closures have no CRS"):
        close_roads(roads, closures(shapely.Point(0, 0), crs=None))
    bow = shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])
    with pytest.raises(InputError, match="Self-intersection") as caught:
        close_roads(roads, closures(shapely.Point(0, 0), bow, bow))
    assert [found.row for found in caught.value.findings] == [2, 3]
    assert [found.value for found in caught.value.findings] == ["4.5 4.5"] * 2
    assert caught.value.findings[0].rule_zh == "封闭范围1：边界自相交"
    for width in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match="width_m"):
            close_roads(roads, closures(shapely.Point(0, 0)), width_m=width)


whole = st.integers(0, 12).map(lambda n: 10.0 * n)
place = st.tuples(whole, whole)
line = st.lists(place, min_size=2, max_size=5)
shape = st.one_of(
    st.tuples(place, st.integers(1, 40), st.integers(1, 40)).map(
        lambda b: shapely.box(*b[0], b[0][0] + b[1], b[0][1] + b[2])
    ),
    line.filter(lambda ends: len(set(ends)) > 1).map(shapely.LineString),
    place.map(shapely.Point),
    st.lists(place, min_size=1, max_size=3).map(shapely.MultiPoint),
    st.tuples(place, line.filter(lambda ends: len(set(ends)) > 1)).map(
        lambda pair: shapely.GeometryCollection(
            [shapely.Point(pair[0]).buffer(7), shapely.LineString(pair[1])]
        )
    ),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(line, min_size=1, max_size=6),
    st.lists(shape, min_size=0, max_size=4),
    st.sampled_from([1.0, 5.0, 13.0]),
)
def test_closing_agrees_with_shapely(lines, shapes, width_m):
    roads = network(lines, name=[f"road {n}" for n in range(len(lines))], oneway=True)
    before = roads.edges.copy()
    after = close_roads(roads, closures(*shapes), width_m=width_m)
    edges = after.edges
    area = shapely.union_all(
        [
            part if part.geom_type == "Polygon" else part.buffer(width_m, quad_segs=32)
            for shape in shapes
            for part in getattr(shape, "geoms", [shape])
        ]
    )
    pd.testing.assert_frame_equal(roads.edges, before)
    assert len(after.findings) == len(shapes)

    shut = (edges["access"] == "no") if "access" in edges else pd.Series(False, index=edges.index)
    assert shut.equals(edges["closed_by"].notna() if "closed_by" in edges else shut)
    for number, drawn in enumerate(roads.edges.geometry):
        mine = edges[edges["name"] == f"road {number}"]
        # A piece is a chain from u to v, drawn as the edge was.
        assert mine["u"].iloc[0] == before["u"][number]
        assert mine["v"].iloc[-1] == before["v"][number]
        assert mine["v"].tolist()[:-1] == mine["u"].tolist()[1:]
        chain = np.concatenate([np.array(piece.coords) for piece in mine.geometry])
        assert chain[0].tolist() == list(drawn.coords[0])
        assert chain[-1].tolist() == list(drawn.coords[-1])
        assert mine["length_m"].sum() == pytest.approx(before["length_m"][number])
        # Each segment by itself, since shapely's overlay nodes lines that cross themselves.
        ends = np.array(drawn.coords)
        steps = shapely.linestrings(np.stack([ends[:-1], ends[1:]], axis=1))
        steps = steps[shapely.length(steps) > 0]
        inside = shapely.length(shapely.intersection(steps, area)).sum() if len(steps) else 0
        assert mine.loc[shut[mine.index], "length_m"].sum() == pytest.approx(inside, abs=5e-3)
        left = shapely.difference(drawn, area)
        kept = mine.loc[~shut[mine.index], "geometry"].union_all()
        assert shapely.hausdorff_distance(left, kept) < 5e-3 or left.length + kept.length < 5e-3
    ends = after.nodes[["x", "y"]].to_numpy()
    for end, at in (("u", 0), ("v", -1)):
        drawn = np.array([shape.coords[at] for shape in edges.geometry])
        assert np.allclose(ends[edges[end]], drawn, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(line, min_size=2, max_size=6), st.lists(shape, min_size=1, max_size=3))
def test_no_path_leads_through_a_closure(lines, shapes):
    roads = network(lines)
    after = close_roads(roads, closures(*shapes), width_m=5.0)
    # The same question asked of the lines alone: pieces of each, chained where they touch.
    graph = nx.Graph()
    area = shapely.union_all(
        [
            part if part.geom_type == "Polygon" else part.buffer(5.0, quad_segs=32)
            for shape in shapes
            for part in getattr(shape, "geoms", [shape])
        ]
    )
    graph.add_nodes_from(range(len(roads.nodes)))
    for number, row in enumerate(roads.edges.itertuples()):
        at = row.u
        ends = np.array(row.geometry.coords)
        if row.geometry.length == 0:
            if not area.intersects(shapely.Point(ends[0])):
                graph.add_edge(row.u, row.v)
            continue
        for step, (one, two) in enumerate(itertools.pairwise(ends)):
            then = row.v if step == len(ends) - 2 else ("bend", number, step)
            if shapely.intersection(shapely.LineString([one, two]), area).length < 1e-3:
                graph.add_edge(at, then)
            at = then
    expected = nx.Graph(graph)
    found = open_graph(after)
    for one in range(len(roads.nodes)):
        for two in range(one):
            assert nx.has_path(found, one, two) == nx.has_path(expected, one, two)


def test_a_flood_of_many_corners_and_holes(monkeypatch):
    around = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    reach = 400 + 30 * np.sin(40 * around)
    shore = np.column_stack([500 + reach * np.cos(around), 500 + reach * np.sin(around)])
    dry = shapely.union_all([shapely.Point(400 + 50 * n, 480).buffer(17) for n in range(6)])
    flood = shapely.difference(shapely.Polygon(shore), dry)
    streets = [[(0, 60 * n), (480, 60 * n + 3), (1000, 60 * n)] for n in range(16)]
    roads = network(streets, name=list(range(16)))
    after = close_roads(roads, closures(flood))
    shut = after.edges[after.edges["access"] == "no"]
    under = shapely.intersection(np.asarray(roads.edges.geometry.array), flood)
    found = shut.groupby("name")["length_m"].sum().reindex(range(16), fill_value=0)
    assert found.tolist() == pytest.approx(shapely.length(under).tolist(), abs=1e-6)
    # Halving a large area is only for speed, and leaves no seams.
    monkeypatch.setattr("facility_coverage.conditions._MOST_VERTICES", 10**9)
    plain = close_roads(roads, closures(flood))
    assert plain.edges["u"].tolist() == after.edges["u"].tolist()
    assert plain.edges["length_m"].tolist() == pytest.approx(after.edges["length_m"].tolist())


def test_a_county_loses_a_valley(roads):
    middle = roads.edges.union_all().centroid
    after = close_roads(roads, gpd.GeoSeries([middle.buffer(4_000)], crs=roads.crs))
    shut = after.edges["closed_by"].notna()
    inside = roads.edges.clip(middle.buffer(4_000)).length.sum()
    assert after.edges.loc[shut].length.sum() == pytest.approx(inside, abs=0.1)
    assert after.edges["length_m"].sum() == pytest.approx(roads.edges["length_m"].sum())
    assert len(after.graph.edges) > 0


# Slopes


def from_origin(west, north, width, height):
    return Affine(width, 0, west, 0, -height, north)


def minutes_on(slope):
    return math.exp(3.5 * abs(slope + 0.05)) / math.exp(3.5 * 0.05)


@pytest.mark.parametrize(
    ("degrees", "kph"), [(0, 5.04), (5, 3.71), (10, 2.72), (-2.8624, 6.0), (-10, 3.86)]
)
def test_speeds_are_tobler_s(degrees, kph):
    roads = network([[(0, 0), (100, 0)]])
    rise = 100 * math.tan(math.radians(degrees))
    sloped = add_elevation(roads, [500, 500 + rise]).edges.iloc[0]
    assert 6 * math.exp(-3.5 * 0.05) / sloped["slope_forward"] == pytest.approx(kph, abs=0.005)
    back = add_elevation(roads, [500 + rise, 500]).edges.iloc[0]
    assert back["slope_backward"] == sloped["slope_forward"]
    assert back["slope_forward"] == sloped["slope_backward"]


def test_node_elevations_by_hand():
    roads = network([[(0, 0), (100, 0)], [(100, 0), (300, 0)], [(300, 0), (300, 0)]], ids=[*"abc"])
    given = pd.Series({"c": 90.0, "a": 100.0, "b": 110.0, "elsewhere": 3.0})
    after = add_elevation(roads, given)
    assert after.nodes["elevation_m"].tolist() == [100, 110, 90]
    assert after.edges["slope_forward"].tolist() == pytest.approx(
        [math.exp(0.35), math.exp(0), 1.0]  # |0.10 + 0.05| - 0.05, |-0.10 + 0.05| - 0.05
    )
    assert after.edges["slope_backward"].tolist() == pytest.approx(
        [math.exp(0), math.exp(0.35), 1.0]
    )
    assert after.edges["climb_m"].tolist() == pytest.approx([10, 0, 0])
    assert after.edges["elevation_known"].tolist() == [True, True, True]
    assert after.findings == ()
    assert "slope_forward" not in roads.edges
    assert "elevation_m" not in roads.nodes
    walk = after.for_mode(fc.MODES["walk"])
    assert walk.forward_minutes[0] == pytest.approx(0.1 / 4 * 60 * (math.exp(0.35) + 1) / 2)


def test_unknown_elevations_count_as_flat_and_are_said():
    roads = network([[(0, 0), (100, 0)], [(100, 0), (200, 0)]])
    after = add_elevation(roads, pd.Series({0: 5.0, 1: 10.0}))
    assert after.edges["elevation_known"].tolist() == [True, False]
    assert after.edges["slope_forward"].tolist() == [pytest.approx(minutes_on(0.05)), 1.0]
    assert after.edges["climb_m"].tolist() == [
        pytest.approx(5),
        pytest.approx(math.nan, nan_ok=True),
    ]
    assert after.findings[-1]["severity"] == "warning"
    assert after.findings[-1]["cure"].startswith("1 of 2 edges")
    void = add_elevation(roads, np.array([5.0, 10.0, -32768.0]))
    assert void.edges["elevation_known"].tolist() == [True, False]
    assert "1 nodes outside it count as unknown" in void.findings[0]["cure"]


def test_slopes_no_road_has_are_capped_and_said():
    roads = network([[(0, 0), (100, 0)], [(100, 0), (200, 0)]])
    after = add_elevation(roads, [0.0, 500.0, 510.0])
    assert after.edges["slope_forward"].tolist() == pytest.approx([minutes_on(1), minutes_on(0.1)])
    assert after.edges["slope_backward"][0] == pytest.approx(minutes_on(-1))
    assert after.findings[-1]["rule"] == "roads are no steeper than 100%"
    assert after.findings[-1]["cure"].startswith("1 edges are steeper")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ([1.0, 2.0, 3.0], "3 elevations for 2 nodes"),
        (pd.Series([1.0, 2.0], index=["0", "1"]), "no elevation is for a node"),
        (pd.Series([1.0, 2.0], index=[0, 0]), "given twice"),
        (pd.Series(["12", "high"]), "node 1 has no number"),
    ],
)
def test_elevations_that_do_not_fit_the_nodes_are_refused(source, text):
    with pytest.raises(InputError, match=text):
        add_elevation(network([[(0, 0), (100, 0)]]), source)
    with pytest.raises(InputError, match="step_m is for a raster"):
        add_elevation(network([[(0, 0), (100, 0)]]), [1, 2], step_m=30)


def write_raster(path, level, transform, crs, **profile):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=level.shape[0],
        width=level.shape[1],
        count=1,
        dtype=level.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as raster:
        raster.write(level, 1)
    return path


def plane(east=0.10, north=0.0, cells=60, size=20.0, base=300.0):
    """Give a raster of a plane, its north-west corner 200 m west and north of the roads' corner."""
    x = (np.arange(cells) + 0.5) * size - 200
    y = 200 - (np.arange(cells) + 0.5) * size
    level = base + east * x[None, :] + north * y[:, None]
    return level, from_origin(EAST - 200, NORTH + 200, size, size)


@pytest.fixture
def cross():
    """An L: 400 m east, 300 m south, then back along the first edge."""
    corner = (EAST + 400, NORTH)
    return network(
        [
            [(EAST, NORTH), corner],
            [corner, (EAST + 400, NORTH - 300)],
            [corner, (EAST, NORTH)],
            [(EAST + 400, NORTH - 300), (EAST + 400, NORTH - 300)],
        ]
    )


def test_a_plane_has_the_same_slope_everywhere(cross, tmp_path):
    level, transform = plane(east=0.10, north=0.04)
    after = add_elevation(cross, write_raster(tmp_path / "dem.tif", level, transform, CRS))
    slopes = [0.10, -0.04, -0.10, 0]
    edges = after.edges
    assert edges["slope_forward"].tolist() == pytest.approx([minutes_on(s) for s in slopes])
    assert edges["slope_backward"].tolist() == pytest.approx([minutes_on(-s) for s in slopes])
    assert edges["climb_m"].tolist() == pytest.approx([40, 0, 0, 0])
    assert after.nodes["elevation_m"].tolist() == pytest.approx([300, 340, 328])
    assert edges["elevation_known"].all()
    assert "20.0 m cells, read every 30.0 m" in after.findings[-1]["cure"]
    # The run is the length as given: a surveyed road twice as long is half as steep.
    longer = RoadNetwork(cross.edges.assign(length_m=2 * cross.edges["length_m"]), cross.nodes)
    half = add_elevation(longer, tmp_path / "dem.tif").edges
    assert half["slope_forward"].tolist()[:3] == pytest.approx(
        [minutes_on(s / 2) for s in slopes[:3]]
    )


def test_a_raster_in_degrees_gives_the_same(cross, tmp_path):
    # Heights that depend on the longitude alone: east is up by a known slope at this latitude.
    size = 0.0002
    here = gpd.GeoSeries([shapely.Point(EAST, NORTH)], crs=CRS).to_crs(4326).iloc[0]
    columns = np.arange(80)
    level = np.tile(300 + 2.0 * columns, (80, 1))
    transform = from_origin(here.x - 0.003, here.y + 0.006, size, size)
    path = write_raster(tmp_path / "dem.tif", level, transform, "EPSG:4326")
    after = add_elevation(cross, path)
    ends = gpd.GeoSeries.from_xy(after.nodes["x"], after.nodes["y"], crs=CRS).to_crs(4326)
    expected = 300 + 2.0 * ((ends.x - (here.x - 0.003)) / size - 0.5)
    assert after.nodes["elevation_m"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    slope = (expected[1] - expected[0]) / 400
    assert after.edges["slope_forward"][0] == pytest.approx(minutes_on(slope), rel=1e-4)
    assert 0.1 < slope < 0.13
    assert "22.2 m cells" in after.findings[-1]["cure"]


def test_a_hill_between_level_ends_is_climbed(tmp_path):
    roads = network([[(EAST, NORTH), (EAST + 200, NORTH), (EAST + 400, NORTH)]])
    x = (np.arange(60) + 0.5) * 20 - 200
    level = np.tile(300 - 0.2 * np.abs(x - 200), (20, 1))
    path = write_raster(
        tmp_path / "hill.tif", level, from_origin(EAST - 200, NORTH + 200, 20, 20), CRS
    )
    after = add_elevation(roads, path, step_m=100.0)
    both = (minutes_on(0.2) + minutes_on(-0.2)) / 2
    # Cell centres lie beside the top, which interpolation cuts off by 2 m.
    assert after.edges["climb_m"][0] == pytest.approx(38)
    assert after.edges["slope_forward"][0] == pytest.approx(both, rel=0.04)
    assert after.edges["slope_backward"][0] == pytest.approx(after.edges["slope_forward"][0])
    one = add_elevation(roads, path, step_m=1000.0)
    assert one.edges["slope_forward"].tolist() == [1.0]


def test_bridges_and_tunnels_run_straight(tmp_path):
    x = (np.arange(60) + 0.5) * 20 - 200
    ground = np.tile(np.where((x > 0) & (x < 400), 100.0, 300.0), (20, 1))
    path = write_raster(
        tmp_path / "gorge.tif", ground, from_origin(EAST - 200, NORTH + 200, 20, 20), CRS
    )
    stations = [-100, -40, 150, 250, 440, 500]
    places = [(EAST + s, NORTH) for s in stations]
    lines = list(itertools.pairwise(places))
    over = add_elevation(network(lines, bridge=[None, "viaduct", "yes", "yes", "no"]), path)
    assert over.nodes["elevation_m"].tolist() == pytest.approx([300] * 6)
    assert over.edges["slope_forward"].tolist() == pytest.approx([1.0] * 5)
    under = add_elevation(network(lines, tunnel=[False, True, True, True, False]), path)
    assert under.edges["slope_forward"].tolist() == pytest.approx([1.0] * 5)
    down = add_elevation(network(lines), path)
    assert down.nodes["elevation_m"].tolist()[2:4] == pytest.approx([100, 100])
    assert down.edges["slope_forward"][1] > 2
    # A bridge between known ends that are not level: nodes on it divide it by length.
    tilted = ground.copy()
    tilted[:, x > 400] = 358
    write_raster(tmp_path / "tilted.tif", tilted, from_origin(EAST - 200, NORTH + 200, 20, 20), CRS)
    over = add_elevation(
        network(lines, bridge=[None, "yes", "yes", "yes", None]), tmp_path / "tilted.tif"
    )
    rise = 58 / 480
    assert over.nodes["elevation_m"].tolist()[1:5] == pytest.approx(
        [300, 300 + 190 * rise, 300 + 290 * rise, 358]
    )
    assert over.edges["slope_forward"].tolist()[1:4] == pytest.approx([minutes_on(rise)] * 3)


@pytest.mark.parametrize("nodata", [-9999.0, math.nan, "undeclared"])
def test_holes_in_the_raster_are_unknown_ground(cross, tmp_path, nodata):
    level, transform = plane()
    value = -9999.0 if nodata == "undeclared" else nodata
    level[:18, 18:22] = value  # 160 … 240 m east, down to 160 m south of the first road
    declared = {} if nodata == "undeclared" else {"nodata": nodata}
    path = write_raster(tmp_path / "dem.tif", level, transform, CRS, **declared)
    after = add_elevation(cross, path, step_m=50.0)
    edges = after.edges
    assert edges["elevation_known"].tolist() == [False, True, False, True]
    # The place 200 m along lies in the hole, those at 150 and 250 m on the last sound cells.
    up = minutes_on(0.10)
    assert edges["slope_forward"][0] == pytest.approx((6 * up + 2) / 8)
    assert np.isnan(edges["climb_m"][0])
    assert any("2 of 4 edges" in found["cure"] for found in after.findings)
    assert (nodata == "undeclared") == any("undeclared" in f["cure"] for f in after.findings)


def test_a_raster_that_covers_part_of_the_roads(cross, tmp_path):
    level, transform = plane()
    path = write_raster(tmp_path / "dem.tif", level[:, :20].copy(), transform, CRS)
    edges = add_elevation(cross, path).edges
    assert edges["elevation_known"].tolist() == [False, False, False, False]
    assert 1 < edges["slope_forward"][0] < minutes_on(0.10)
    assert edges["slope_forward"][1] == 1.0


def test_scaled_rotated_and_in_feet(cross, tmp_path):
    level, transform = plane(base=0.0)
    packed = np.round(level * 100).astype(np.int16)
    path = write_raster(tmp_path / "packed.tif", packed, transform, CRS)
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (0.01,), (300.0,)
    plain = add_elevation(cross, path)
    assert plain.nodes["elevation_m"].tolist() == pytest.approx([300, 340, 340], abs=0.02)

    feet = write_raster(tmp_path / "feet.tif", (level + 300) / 0.3048, transform, CRS)
    with rasterio.open(feet, "r+") as raster:
        raster.units = ("ft",)
    after = add_elevation(cross, feet)
    assert after.nodes["elevation_m"].tolist() == pytest.approx([300, 340, 340])
    assert any(found["cure"] == "converted from ft" for found in after.findings)

    # The same plane on a grid turned by 30 degrees.
    cos, sin = 20 * math.cos(math.radians(30)), 20 * math.sin(math.radians(30))
    turned = Affine(cos, sin, EAST - 300, -sin, cos, NORTH - 300)
    column, row = np.meshgrid(np.arange(70) + 0.5, np.arange(70) + 0.5)
    x = turned.a * column + turned.b * row + turned.c
    path = write_raster(tmp_path / "turned.tif", 300 + 0.1 * (x - EAST), turned, CRS)
    after = add_elevation(cross, path)
    assert after.nodes["elevation_m"].tolist() == pytest.approx([300, 340, 340])
    assert "20.0 m cells" in after.findings[-1]["cure"]


def test_tiles_meet_without_a_seam(cross, tmp_path, monkeypatch):
    level, transform = plane(east=0.07, north=-0.03)
    path = write_raster(tmp_path / "dem.tif", level, transform, CRS)
    expected = add_elevation(cross, path)
    monkeypatch.setattr("facility_coverage.conditions._TILE", 3)
    after = add_elevation(cross, path)
    pd.testing.assert_frame_equal(after.edges, expected.edges)


def test_rasters_that_cannot_be_used_are_refused(cross, tmp_path, monkeypatch):
    level, transform = plane()
    with pytest.raises(MissingInputError, match="no such file"):
        add_elevation(cross, tmp_path / "nowhere.tif")
    (tmp_path / "text.tif").write_text("not a raster")
    with pytest.raises(InputError, match="not a raster that GDAL can read"):
        add_elevation(cross, str(tmp_path / "text.tif"))
    bare = write_raster(tmp_path / "bare.tif", level, transform, None)
    with pytest.raises(NoCrsError, match="the raster has no CRS"):
        add_elevation(cross, bare)
    good = write_raster(tmp_path / "good.tif", level, transform, CRS)
    with pytest.raises(InputError, match="there is no band 2; it has 1"):
        add_elevation(cross, good, band=2)
    with pytest.raises(InputError, match="step_m must be a length"):
        add_elevation(cross, good, step_m=0)
    with rasterio.open(good, "r+") as raster:
        raster.units = ("furlong",)
    with pytest.raises(InputError, match="furlong"):
        add_elevation(cross, good)
    away = write_raster(tmp_path / "away.tif", level, from_origin(0, 0, 20, 20), CRS)
    with pytest.raises(InputError, match="does not cover") as caught:
        add_elevation(cross, away)
    assert "x 0.0000 … 1,200.0000" in str(caught.value)
    assert "x 500,000.0000 … 500,400.0000" in str(caught.value)

    real = builtins.__import__

    def no_rasterio(name, *args, **kwargs):
        if name == "rasterio":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_rasterio)
    with pytest.raises(MissingDependencyError, match=r"facility-coverage\[elevation\]"):
        add_elevation(cross, good)


@settings(max_examples=40, deadline=None)
@given(st.lists(line, min_size=1, max_size=6), st.data())
def test_reversing_an_edge_swaps_its_factors(lines, data):
    roads = network(lines)
    count = len(roads.nodes)
    height = st.floats(-50, 200) | st.just(math.nan)
    levels = data.draw(st.lists(height, min_size=count, max_size=count))
    after = add_elevation(roads, levels).edges
    turned = roads.edges.rename(columns={"u": "v", "v": "u"})
    turned["geometry"] = turned.geometry.reverse()
    back = add_elevation(RoadNetwork(turned, roads.nodes), levels).edges
    assert back["slope_forward"].tolist() == after["slope_backward"].tolist()
    assert back["slope_backward"].tolist() == after["slope_forward"].tolist()
    for row in after.itertuples():
        rise = levels[row.v] - levels[row.u]
        if math.isnan(rise) or row.length_m == 0:
            assert row.slope_forward == 1.0
        else:
            slope = min(max(rise / row.length_m, -1), 1)
            assert row.slope_forward == pytest.approx(minutes_on(slope))
            assert row.climb_m == pytest.approx(max(slope, 0) * row.length_m)


def test_closed_pieces_inherit_slopes(cross):
    sloped = add_elevation(cross, [300.0, 340.0, 340.0])
    after = close_roads(sloped, closures(shapely.box(EAST + 90, NORTH - 9, EAST + 110, NORTH + 9)))
    first = after.edges.iloc[:3]
    assert first["slope_forward"].tolist() == pytest.approx([minutes_on(0.1)] * 3)
    assert first["climb_m"].tolist() == pytest.approx([9, 2, 29])
    assert after.nodes["elevation_m"].isna().tolist() == [False] * 3 + [True] * 4
