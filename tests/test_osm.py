"""Reading OpenStreetMap: who may use a way, gates, cut ways, odd texts; against pyosmium itself."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import numpy as np
import osmium
import pandas as pd
import pytest

import facility_coverage as fc
from facility_coverage.errors import InputError, MissingInputError
from facility_coverage.osm import read_osm_ways, read_overpass_ways

KEYS = [
    "highway",
    "oneway",
    "oneway:bicycle",
    "maxspeed",
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "junction",
    "access",
    "foot",
    "bicycle",
    "vehicle",
    "motor_vehicle",
]


class Oracle(osmium.SimpleHandler):
    """Read way by way and node by node, and keep everything with a highway tag."""

    def __init__(self):
        super().__init__()
        self.ways, self.nodes, self.barriers = {}, {}, {}

    def node(self, item):
        if "barrier" in item.tags:
            self.barriers[item.id] = {tag.k: tag.v for tag in item.tags}

    def way(self, item):
        if "highway" in item.tags:
            self.ways[item.id] = {tag.k: tag.v for tag in item.tags}
            self.nodes[item.id] = [
                (n.ref, n.location.lon, n.location.lat) for n in item.nodes if n.location.valid()
            ]


def is_closed(tags):
    if tags.get("access") not in {"no", "private"}:
        return False
    particular = [tags.get(key) for key in ("foot", "bicycle", "vehicle", "motor_vehicle")]
    return all(value in {None, "no", "private"} for value in particular)


def check(path):
    oracle = Oracle()
    oracle.apply_file(str(path), locations=True)
    expected = {
        number: tags
        for number, tags in oracle.ways.items()
        if not is_closed(tags)
        and tags.get("area") != "yes"
        and tags["highway"] not in {"services", "rest_area"}
        and len(oracle.nodes[number]) > 1
    }
    coords, way, key, ways, crs, findings, read = read_osm_ways(path)
    assert ways["osmid"].tolist() == list(expected)
    for tag in KEYS:
        if tag != "oneway":
            given = [tags.get(tag) for tags in expected.values()]
            column = ways[tag.replace(":", "_")]
            assert [None if pd.isna(v) else v for v in column] == given, tag
    vertices = [vertex for number in expected for vertex in oracle.nodes[number]]
    np.testing.assert_array_equal(np.column_stack([key, coords]), np.array(vertices))
    counts = [len(oracle.nodes[number]) for number in expected]
    np.testing.assert_array_equal(way, np.repeat(np.arange(len(counts)), counts))
    assert crs.to_epsg() == 4326
    gates = [n for n, tags in oracle.barriers.items() if is_closed(tags) and n in set(key.tolist())]
    said = [f["cure"] for f in findings if f["field"] == "barrier"]
    assert (said[0].split()[0] if said else "0") == str(len(gates))
    areas = [
        tags.get("area") == "yes" or tags["highway"] in {"services", "rest_area"}
        for tags in oracle.ways.values()
    ]
    assert read == len(oracle.ways) - sum(areas)
    return ways


def test_helsinki_as_pyosmium_reads_it(helsinki_pbf):
    assert len(check(helsinki_pbf)) > 2_000


def test_liechtenstein_as_pyosmium_reads_it(liechtenstein):
    ways = check(liechtenstein / "liechtenstein.osm.pbf")
    opened = ways[ways["access"].isin(["no", "private"])]
    assert len(opened) > 0


def write(path, ways, *, nodes=range(1, 5), tagged=None, missing=()):
    """Write ways of nodes that stand 100 m apart, as an OSM XML file."""

    def tags_of(tags):
        return "".join(f"<tag k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in tags.items())

    lines = [
        f'<node id="{n}" version="1" lat="{60 + n / 1000}" lon="25.0">'
        f"{tags_of((tagged or {}).get(n, {}))}</node>"
        for n in nodes
        if n not in missing
    ]
    lines += [
        f'<way id="{100 + i}" version="1">'
        + "".join(f'<nd ref="{n}"/>' for n in refs)
        + f"{tags_of(tags)}</way>"
        for i, (refs, tags) in enumerate(ways)
    ]
    path.write_text(f'<osm version="0.6">{"".join(lines)}</osm>', encoding="utf-8")
    return path


def as_overpass(ways, *, nodes=range(1, 5), tagged=None, missing=()):
    return {
        "elements": [
            *(
                {"type": "node", "id": n, "lat": 60 + n / 1000, "lon": 25.0}
                | ({"tags": tagged[n]} if tagged and n in tagged else {})
                for n in nodes
                if n not in missing
            ),
            *(
                {"type": "way", "id": 100 + i, "nodes": list(refs), "tags": tags}
                for i, (refs, tags) in enumerate(ways)
            ),
        ]
    }


@pytest.fixture(params=["file", "overpass"])
def read(request, tmp_path):
    """Both readers: what is said here holds for either."""
    if request.param == "file":
        return lambda ways, **rest: read_osm_ways(write(tmp_path / "x.osm", ways, **rest))
    return lambda ways, **rest: read_overpass_ways([as_overpass(ways, **rest)], "x.osm")


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ({}, True),
        ({"access": "no"}, False),
        ({"access": "private"}, False),
        ({"access": "private", "foot": "private"}, False),
        ({"access": "no", "foot": "yes"}, True),
        ({"access": "private", "bicycle": "designated"}, True),
        ({"access": "private", "motor_vehicle": "permissive"}, True),
        ({"access": "no", "vehicle": "destination", "foot": "no"}, True),
        ({"access": "no", "bicycle": "no", "vehicle": "private"}, False),
        ({"access": "customers"}, True),
        ({"foot": "no"}, True),  # motor may
        ({"area": "yes"}, False),
        ({"highway": "services"}, False),
        ({"highway": "rest_area"}, False),
        ({"highway": "platform"}, True),
    ],
)
def test_ways_that_somebody_may_use(read, tags, kept):
    open_way = ((1, 2), {"highway": "residential"})
    *_, ways, _, findings, _ = read([open_way, ((2, 3), {"highway": "service"} | tags)])
    assert ways["osmid"].tolist() == [100, 101][: 1 + kept]
    closed = [f["cure"] for f in findings if f["field"] == "access"]
    assert closed == (["1 ways left out"] if not kept and "access" in tags else [])


def test_tags_become_columns(read):
    texts = {
        "name": "长安街, 100% = 50%20% @ “北”\n二号",
        "ref": "G 1;S 2",
        "maxspeed": "30 mph",
        "oneway": "yes",
        "oneway:bicycle": "no",
        "motor_vehicle": "agricultural",
        "layer": "-1",
    }
    *_, ways, _, _, _ = read(
        [((1, 2), {"highway": "service"} | texts), ((2, 3), {"highway": "path"})]
    )
    row = ways.iloc[0]
    assert {tag: row[tag.replace(":", "_")] for tag in texts} == texts
    assert ways.iloc[1].drop(["osmid", "highway"]).isna().all()


def test_implied_directions(read):
    *_, ways, _, _, _ = read(
        [
            ((1, 2), {"highway": "motorway"}),
            ((1, 2), {"highway": "motorway", "oneway": "no"}),
            ((1, 2), {"highway": "tertiary", "junction": "roundabout"}),
            ((1, 2), {"highway": "tertiary", "junction": "circular"}),
            ((1, 2), {"highway": "tertiary", "oneway": "-1"}),
            ((1, 2), {"highway": "tertiary"}),
        ]
    )
    oneway = ways["oneway"]
    assert oneway.where(oneway.notna(), "").tolist() == ["yes", "no", "yes", "yes", "-1", ""]


def test_closed_gates_on_roads_are_counted(read):
    locked = {"barrier": "gate", "access": "private"}
    tagged = {
        1: locked,
        2: {"barrier": "gate"},
        3: locked | {"foot": "yes"},
        4: locked,  # on no road
        5: {"access": "no"},  # no barrier
    }
    road = ((1, 2, 3, 5), {"highway": "service"})
    *_, findings, _ = read([road], nodes=range(1, 6), tagged=tagged)
    (gate,) = [f for f in findings if f["field"] == "barrier"]
    assert gate["cure"].startswith("1 ")


def test_cut_ways_end_at_the_last_known_node(read):
    coords, way, key, ways, _, findings, number = read(
        [
            ((1, 2, 3), {"highway": "service"}),
            ((3, 4, 2), {"highway": "path"}),
            ((4, 1), {"highway": "track"}),
            ((2, 3), {"highway": "steps"}),
        ],
        missing=[4],
    )
    assert ways["highway"].tolist() == ["service", "path", "steps"]
    assert (way.tolist(), key.tolist()) == ([0, 0, 0, 1, 1, 2, 2], [1, 2, 3, 3, 2, 2, 3])
    np.testing.assert_array_equal(coords, [[25.0, 60 + n / 1000] for n in key])
    (cut,) = [f for f in findings if "cuts ways" in f["rule"]]
    assert cut["cure"].startswith("2 ")
    assert number == 4


def test_no_road(read):
    for ways in ([], [((1, 2), {"building": "yes"})], [((1, 2), {"highway": "x", "access": "no"})]):
        with pytest.raises(InputError, match=r"x\.osm: there is no road"):
            read(ways)


def test_unreadable_files(tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.osm\.pbf: there is no such file"):
        read_osm_ways(tmp_path / "none.osm.pbf")
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError, match=r"broken\.osm\.pbf: not a readable OSM file"):
        read_osm_ways(broken)
    assert {each.name for each in tmp_path.iterdir()} == {"broken.osm.pbf"}


def test_modes_decide_by_the_tags(tmp_path):
    """A private road that walkers may use is a road for walkers only."""
    path = write(
        tmp_path / "x.osm",
        [
            ((1, 2), {"highway": "residential"}),
            ((2, 3), {"highway": "service", "access": "private", "foot": "yes"}),
            ((3, 4), {"highway": "residential", "foot": "no"}),
        ],
    )
    edges = fc.read_roads(path).edges
    roads = fc.read_roads(path)
    for mode, usable in (("walk", [100, 101]), ("motor", [100, 102])):
        compiled = roads.for_mode(fc.MODES[mode])
        assert sorted(edges["osmid"].iloc[compiled.roads.usable]) == usable
    assert isinstance(edges, pd.DataFrame)
