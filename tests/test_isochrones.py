"""Isochrones: the picture of the minutes, within one cell."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

import facility_coverage as fc

CELL_M = 50.0


@pytest.fixture(scope="module")
def circles(facilities, roads):
    return fc.isochrones(facilities, roads, kind="day_care", minutes=(5, 10, 15), cell_m=CELL_M)


def test_bands_nest_and_carry_their_columns(circles, facilities, roads):
    assert circles["minutes"].tolist() == [5, 10, 15]
    assert circles.crs == facilities.crs
    assert set(circles["kind"]) == {"day_care"}
    shapes = circles.to_crs(roads.crs).geometry
    assert shapes.is_valid.all()
    np.testing.assert_allclose(shapes.area, circles["area_m2"], rtol=1e-3)
    for inner, outer in ((0, 1), (1, 2)):
        assert shapes.iloc[inner].difference(shapes.iloc[outer]).area < 1.0
    assert any(len(part.interiors) for part in shapes.explode())  # holes are kept


def test_no_verdict_contradicts_the_polygon_beyond_one_cell(circles, facilities, roads):
    sites = facilities[
        (facilities["kind"] == "day_care")
        & (facilities["status"] == "in_use")
        & facilities.geometry.notna()
    ]
    shape = circles[circles["minutes"] == 15].to_crs(roads.crs).geometry.iloc[0]
    rng = np.random.default_rng(20)
    centres = shapely.get_coordinates(np.asarray(sites.geometry.to_crs(roads.crs).array))
    xy = centres[rng.integers(0, len(centres), 6000)] + rng.uniform(-1500, 1500, (6000, 2))
    homes = gpd.GeoSeries.from_xy(*xy.T, crs=roads.crs)
    minutes = fc.nearest_facility(homes, sites.geometry, roads)["minutes"].fillna(np.inf).to_numpy()
    inside = shapely.contains(shape, np.asarray(homes.array))
    reached = minutes <= 15
    assert 0.1 < reached.mean() < 0.9
    recall = (inside & reached).sum() / reached.sum()
    precision = (inside & reached).sum() / inside.sum()
    assert recall > 0.96
    assert precision > 0.96
    # Where they differ, a point within one cell is told otherwise.
    odd = np.flatnonzero(inside != reached)
    edge = shapely.distance(shape.boundary, np.asarray(homes.array)[odd])
    assert (edge <= 1.5 * CELL_M).mean() > 0.97


def test_one_area_a_facility(facilities, roads):
    some = facilities[facilities["kind"] == "day_care"].iloc[:3]
    each = fc.isochrones(some, roads, minutes=(10,), merged=False)
    assert set(each["facility_id"]) <= set(some["facility_id"])
    merged = fc.isochrones(some, roads, minutes=(10,))
    union = each.to_crs(roads.crs).union_all()
    whole = merged.to_crs(roads.crs).geometry.iloc[0]
    assert union.symmetric_difference(whole).area < 0.02 * whole.area


def test_an_osmnx_graph_goes_straight_in(helsinki_pbf):
    roads = fc.read_roads(helsinki_pbf)
    middle = gpd.GeoSeries.from_xy(
        *roads.edges.total_bounds.reshape(2, 2).mean(axis=0)[:, None], crs=roads.crs
    )
    points = gpd.GeoDataFrame(geometry=middle)
    by_network = fc.isochrones(points, roads, minutes=(5,))
    by_graph = fc.isochrones(points, roads.graph, minutes=(5,))
    assert by_network["area_m2"].iloc[0] == pytest.approx(by_graph["area_m2"].iloc[0], rel=0.02)
    # 5 min at 4 km/h reach 333 m: a disc of 0.35 km² at most.
    assert 0.05e6 < by_network["area_m2"].iloc[0] < np.pi * 333**2


def test_none_in_use_gives_an_empty_table(facilities, roads):
    closed = facilities[facilities["status"] == "closed"]
    assert fc.isochrones(closed, roads).empty
    assert fc.isochrones(closed, roads).crs == facilities.crs


def test_wrong_minutes_and_missing_crs(facilities, roads):
    with pytest.raises(ValueError, match="minutes must be positive"):
        fc.isochrones(facilities, roads, minutes=(0, 5))
    bare = facilities.set_crs(None, allow_override=True)
    with pytest.raises(ValueError, match="no CRS"):
        fc.isochrones(bare, roads)
