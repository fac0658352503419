"""Prepared networks: saved, opened again, and the same."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

import facility_coverage as fc
from facility_coverage.errors import InputError


@pytest.fixture(scope="module")
def helsinki(helsinki_pbf):
    return fc.read_roads(helsinki_pbf)


def test_a_saved_network_opens_as_it_was(helsinki, tmp_path):
    again = fc.read_roads(helsinki.save(tmp_path / "roads.parquet"))
    assert again.crs == helsinki.crs
    assert again.source == helsinki.source
    assert list(again.findings) == list(helsinki.findings)
    left, right = (
        pd.DataFrame(roads.edges.drop(columns="geometry")).astype(object)
        for roads in (again, helsinki)
    )
    left, right = left.where(left.notna(), None), right.where(right.notna(), None)
    pd.testing.assert_frame_equal(left[right.columns], right)
    assert again.edges.geometry.geom_equals_exact(helsinki.edges.geometry, 0).all()
    pd.testing.assert_frame_equal(again.nodes[helsinki.nodes.columns], helsinki.nodes)


def test_the_answers_are_the_same(helsinki, tmp_path):
    again = fc.read_roads(helsinki.save(tmp_path / "roads.parquet"))
    low, high = np.split(helsinki.edges.total_bounds, 2)
    xy = np.random.default_rng(5).uniform(low, high, (200, 2))
    points = gpd.GeoSeries.from_xy(*xy.T, crs=helsinki.crs)
    for mode in ("walk", "motor"):
        one = fc.nearest_facility(points[:190], points[190:], helsinki, mode=mode)
        two = fc.nearest_facility(points[:190], points[190:], again, mode=mode)
        pd.testing.assert_frame_equal(one, two)


def test_any_gis_reads_the_file(helsinki, tmp_path):
    frame = gpd.read_parquet(helsinki.save(tmp_path / "roads.parquet"))
    assert frame.crs == helsinki.crs
    assert len(frame) == len(helsinki)
    assert frame.total_bounds == pytest.approx(helsinki.edges.total_bounds)


def test_isolated_nodes_and_mixed_columns_are_stored(tmp_path, helsinki):
    nodes = pd.concat([helsinki.nodes, helsinki.nodes[:1]], ignore_index=True)
    nodes["elevation_m"] = np.arange(len(nodes), dtype=float)
    nodes["node_id"] = [f"n{i}" if i % 2 else i for i in range(len(nodes))]
    edges = helsinki.edges.assign(u=len(nodes) - 1 - helsinki.edges["u"])
    edges["v"] = len(nodes) - 1 - edges["v"]
    roads = fc.RoadNetwork(edges, nodes[::-1].reset_index(drop=True))
    again = fc.read_roads(roads.save(tmp_path / "roads.parquet"))
    assert len(again.nodes) == len(helsinki.nodes)
    for end in ("u", "v"):
        one = roads.nodes.iloc[roads.edges[end]]
        two = again.nodes.iloc[again.edges[end]]
        assert two["elevation_m"].tolist() == one["elevation_m"].tolist()
        assert two["node_id"].tolist() == one["node_id"].astype(str).tolist()
        assert two["x"].tolist() == one["x"].tolist()


def test_what_is_not_a_prepared_network_is_refused(helsinki, tmp_path):
    with pytest.raises(InputError, match=r"ending in \.parquet"):
        helsinki.save(tmp_path / "roads.gpkg")
    path = helsinki.save(tmp_path / "roads.parquet")
    with pytest.raises(InputError, match="prepared in EPSG:32635"):
        fc.read_roads(path, crs="EPSG:3067")
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a Parquet file"):
        fc.read_roads(path)
