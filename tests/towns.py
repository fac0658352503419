"""Small road networks for the tests: written by hand as tables, or made by hypothesis."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import pandas as pd
import shapely
from hypothesis import strategies as st

import facility_coverage as fc

CRS = "EPSG:32650"

# Five nodes:   0 ──1000m── 1 ──1000m one-way→── 2
#                           │ 600 m              │ 600 m
#                           3 ──1000 m────────── 4
NODES = [(0, 0), (1000, 0), (2000, 0), (1000, -600), (2000, -600)]
ROADS = [
    (0, 1, False, "residential"),
    (1, 2, True, "residential"),
    (1, 3, False, "residential"),
    (3, 4, False, "residential"),
    (2, 4, False, "residential"),
]


def network(rows, nodes, **columns):
    """Make a network from (u, v, oneway, highway[, bends]) rows and node coordinates in metres.

    Further columns of the edges are given by name.
    """
    lines = [
        shapely.LineString([nodes[u], *(rest[0] if rest else []), nodes[v]])
        for u, v, _, _, *rest in rows
    ]
    edges = gpd.GeoDataFrame(
        {
            "u": [row[0] for row in rows],
            "v": [row[1] for row in rows],
            "length_m": [line.length for line in lines],
            "oneway": [row[2] for row in rows],
            "highway": [row[3] for row in rows],
            **columns,
        },
        geometry=lines,
        crs=CRS,
    )
    table = pd.DataFrame(
        {"node_id": range(len(nodes)), "x": [n[0] for n in nodes], "y": [n[1] for n in nodes]}
    )
    return fc.RoadNetwork(edges, table)


def points(*xy):
    """Make points from coordinates in metres."""
    return gpd.GeoSeries.from_xy([x for x, _ in xy], [y for _, y in xy], crs=CRS)


@st.composite
def towns(draw):
    """Small networks with one-ways, parallel edges, self-loops, islands and edges of no length."""
    count = draw(st.integers(2, 9))
    place = st.integers(0, 12).map(lambda k: k * 150.0)
    nodes = [(draw(place), draw(place)) for _ in range(count)]
    ends = st.integers(0, count - 1)
    rows = []
    for _ in range(draw(st.integers(1, 16))):
        u, v = draw(ends), draw(ends)
        bend = draw(st.booleans()) or u == v
        bends = [[(draw(place) + 20.0, draw(place) + 35.0)]] if bend else []
        highway = draw(st.sampled_from(["residential", "primary", "footway", "motorway"]))
        rows.append((u, v, draw(st.booleans()), highway, *bends))
    rows.append((0, 1, False, "residential"))
    # Off the lattice of 75 m, so that no two roads are equally near to a point.
    spot = st.tuples(st.integers(0, 1900), st.integers(0, 1900)).map(
        lambda xy: (xy[0] + 0.317, xy[1] + 0.733)
    )
    homes = draw(st.lists(spot, min_size=1, max_size=6))
    sites = draw(st.lists(spot, min_size=1, max_size=4))
    on_a_node = draw(st.booleans())
    return network(rows, nodes), [*homes, nodes[0]] if on_a_node else homes, sites


@st.composite
def tagged_towns(draw):
    """The same, where edges also say who may use them, how fast, and how steep they are."""
    roads, homes, sites = draw(towns())

    def column(*values):
        size = len(roads.edges)
        return draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))

    edges = roads.edges.assign(
        access=column(None, None, "private", "yes"),
        foot=column(None, None, None, "no", "designated"),
        oneway_bicycle=column(None, "no"),
        motor_vehicle=column(None, None, "no", "permit"),
        speed_kph=column(float("nan"), 0.0, 40.0),
        slope_forward=column(1.0, 1.4, 0.9),
        slope_backward=column(1.0, 1.1, 2.0),
    )
    # One street is open to everybody.
    open_to_all = {"access": "yes", "foot": None, "motor_vehicle": None}
    for name, value in open_to_all.items():
        edges.loc[len(edges) - 1, name] = value
    return fc.RoadNetwork(edges, roads.nodes), homes, sites


@st.composite
def travel_modes(draw):
    """Ways of travelling, with and without slopes and delays at junctions."""
    mode = fc.MODES[draw(st.sampled_from(["walk", "bicycle", "motor"]))]
    return replace(
        mode,
        slope=draw(st.sampled_from(["", "tobler", "tobler_mean"])),
        junction_delay_s=draw(st.sampled_from([0.0, 20.0])),
    )
