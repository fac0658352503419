"""Faults of boundaries against areas worked by hand and plain geometry; repairs against both."""

from __future__ import annotations

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from facility_coverage.boundaries import (
    boundary_faults,
    log_boundaries,
    log_repairs,
    repair_boundaries,
)
from facility_coverage.errors import InputError, NoCrsError
from facility_coverage.intake import IntakeLog, catalogue

EAST, NORTH = 500_000, 4_500_000
BOW = shapely.Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])


def frame(*shapes, crs="EPSG:4548", **columns):
    moved = shapely.transform(
        np.array(shapes, dtype=object), lambda xy: xy + np.array([EAST, NORTH])
    )
    codes = [f"{number}" for number in range(1, len(shapes) + 1)]
    return gpd.GeoDataFrame({"unit_code": codes, **columns}, geometry=moved, crs=crs)


def box(x0, y0, x1, y1, *holes):
    return shapely.Polygon(shapely.box(x0, y0, x1, y1).exterior, [h.exterior for h in holes])


def both(one, two):
    return shapely.MultiPolygon([one, two])


def listed(units, **options):
    faults = boundary_faults(units, **options)
    return [
        (row.fault, row.unit_code, None if pd.isna(row.other_code) else row.other_code,
         None if pd.isna(row.area_m2) else round(row.area_m2, 3),
         None if pd.isna(row.width_m) else round(row.width_m, 3))
        for row in faults.itertuples()
    ]  # fmt: skip


# By hand: the width of a by b is a·b / (a + b).
LEFT, RIGHT = box(0, 0, 100, 100), box(100, 0, 200, 100)
RING = box(0, 0, 100, 100, box(40, 40, 60, 60))
CASES = {
    "none": ([LEFT, RIGHT], []),
    "apart": ([LEFT, box(300, 0, 400, 100)], []),
    "overlap": (
        [LEFT, box(98, 0, 200, 100)],
        [("overlap", "1", "2", 200.0, round(200 / 102, 3))],
    ),
    "twice": ([LEFT, LEFT], [("overlap", "1", "2", 10_000.0, 50.0)]),
    "enclave": ([LEFT, box(40, 40, 60, 60)], [("overlap", "1", "2", 400.0, 10.0)]),
    "overlap of three": (
        [LEFT, box(90, 0, 190, 100), box(90, 90, 190, 190)],
        [
            ("overlap", "1", "2", 1000.0, round(1000 / 110, 3)),
            ("overlap", "1", "3", 100.0, 5.0),
            ("overlap", "2", "3", 1000.0, round(1000 / 110, 3)),
        ],
    ),
    "rounding": ([LEFT, box(99.995, 0, 200, 100)], []),
    "hole": ([RING], [("hole", "1", None, 400.0, 10.0)]),
    "filled hole": ([RING, box(40, 40, 60, 60)], []),
    "half filled hole": ([RING, box(40, 40, 60, 50)], [("gap", "1", None, 200.0, 6.667)]),
    "island in a hole": ([RING, box(45, 45, 55, 55)], [("gap", "1", None, 300.0, 5.0)]),
    "gap": (
        [LEFT, box(103, 0, 200, 100), box(0, -50, 200, 0), box(0, 100, 200, 150)],
        [("gap", "1", None, 300.0, round(300 / 103, 3))],
    ),
    "gap open to the outside": ([LEFT, box(103, 0, 200, 100), box(0, -50, 200, 0)], []),
    "sliver": (
        [both(LEFT, box(200, 0, 204, 100))],
        [
            ("sliver", "1", None, 400.0, round(400 / 104, 3)),
            ("multipart", "1", None, 400.0, None),
        ],
    ),
    "exclave": (
        [both(box(200, 0, 220, 100), LEFT)],
        [("multipart", "1", None, 2000.0, None)],
    ),
    "thin as a whole": ([box(0, 0, 2, 100)], []),
    "bow": (
        [BOW],
        [("invalid", "1", None, None, None), ("multipart", "1", None, 2500.0, None)],
    ),
    "bow over a neighbour": (
        [BOW, box(90, 0, 200, 100)],
        [
            ("invalid", "1", None, None, None),
            ("overlap", "1", "2", 900.0, round(1800 / (100 + 80 + 20 * 2**0.5), 3)),
            ("multipart", "1", None, 2500.0, None),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_faults_worked_by_hand(case):
    shapes, expected = CASES[case]
    assert listed(frame(*shapes)) == expected


def test_limits():
    units = frame(LEFT, box(99.995, 0, 200, 100), both(box(300, 0, 400, 100), box(500, 0, 504, 9)))
    assert listed(units, min_area_m2=0.4)[0] == ("overlap", "1", "2", 0.5, 0.005)
    assert [row[0] for row in listed(units, sliver_width_m=2)] == ["multipart"]
    assert [row[0] for row in listed(units, sliver_width_m=3)] == ["sliver", "multipart"]


def test_the_table_of_faults():
    units = frame(box(98, 0, 200, 100), LEFT, BOW, both(box(300, 0, 400, 90), box(500, 0, 504, 9)))
    before = units.copy()
    faults = boundary_faults(units)
    assert faults.columns.tolist() == [
        "fault", "unit_code", "other_code", "area_m2", "width_m", "parts", "reason", "geometry",
    ]  # fmt: skip
    assert faults["fault"].tolist() == [
        "invalid", "overlap", "overlap", "overlap", "sliver", "multipart", "multipart",
    ]  # fmt: skip
    assert faults["parts"].dtype == "Int64"
    assert faults["parts"].dropna().tolist() == [2, 2]
    assert faults["reason"].dropna().tolist() == ["Self-intersection"]
    assert faults.crs == units.crs
    point, shared = faults.geometry.iloc[:2]
    assert point.equals(shapely.Point(EAST + 50, NORTH + 50))
    assert shared.equals(frame(box(98, 0, 100, 100)).geometry.iloc[0])
    assert faults.geometry.iloc[4].equals(frame(box(500, 0, 504, 9)).geometry.iloc[0])
    pd.testing.assert_frame_equal(units, before)
    nothing = boundary_faults(units.iloc[:0])
    assert nothing.dtypes.astype(str).to_dict() == faults.dtypes.astype(str).to_dict()
    assert nothing.crs == units.crs


def test_missing_empty_and_odd_geometry():
    flat = shapely.Polygon([(0, 0), (50, 0), (100, 0)])
    with np.errstate(invalid="ignore"):
        nowhere = shapely.polygons([[0, 500], [100, 500], [np.nan, 550], [100, 600], [0, 600]])
    mixed = shapely.GeometryCollection([box(99, 0, 200, 100), shapely.Point(0, 0)])
    units = frame(
        LEFT, None, shapely.Polygon(), flat, shapely.Point(5, 5), nowhere, mixed,
        shapely.LineString([(0, 0), (1, 1)]),
    )  # fmt: skip
    found = listed(units)
    repaired, changes = repair_boundaries(units)
    assert found == [
        ("invalid", "4", None, None, None),
        ("invalid", "6", None, None, None),
        ("overlap", "1", "7", 100.0, round(100 / 101, 3)),
    ]
    assert changes["unit_code"].tolist() == ["7"]
    assert repaired.geometry.iloc[1] is None
    for row in (2, 3, 4, 5, 7):
        assert repaired.geometry.iloc[row] is units.geometry.iloc[row]


@pytest.mark.parametrize("crs", ["EPSG:4490", "EPSG:4326", "EPSG:3857", "EPSG:2263"])
def test_measured_in_metres_in_any_crs(crs):
    shapes, _ = CASES["overlap"]
    if crs == "EPSG:2263":  # New York, in feet
        units = gpd.GeoDataFrame(
            {"unit_code": ["1", "2"]},
            geometry=shapely.transform(
                np.array(shapes, object), lambda xy: xy / 0.3048006 + [990_000, 200_000]
            ),
            crs=crs,
        )
    else:
        units = frame(*shapes, crs=32650).to_crs(crs)
    faults = boundary_faults(units)
    assert faults["fault"].tolist() == ["overlap"]
    np.testing.assert_allclose(faults["area_m2"], 200, rtol=2e-3)
    np.testing.assert_allclose(faults["width_m"], 200 / 102, rtol=2e-3)
    assert faults.crs == units.crs
    assert shapely.covered_by(faults.geometry.iloc[0], units.geometry.iloc[1].buffer(1e-6))
    repaired, changes = repair_boundaries(units)
    # Straight on one map is not straight on another: corners may have to be matched.
    changes = changes[changes["change"] != "nodes_matched"]
    assert changes["change"].tolist() == ["overlap_removed"]
    np.testing.assert_allclose(changes["moved_m"], 200 / 102, rtol=2e-3)
    np.testing.assert_allclose(changes["area_after_m2"], 10_000, rtol=2e-3)
    assert repaired.crs == units.crs
    assert boundary_faults(repaired).empty


def test_what_cannot_be_measured():
    units = frame(LEFT)
    for function in (boundary_faults, repair_boundaries):
        with pytest.raises(NoCrsError):
            function(gpd.GeoDataFrame({"unit_code": ["1"]}, geometry=[LEFT]))
        with pytest.raises(InputError, match="unit_code"):
            function(units.drop(columns="unit_code"))
        with pytest.raises(InputError, match="sliver_width_m must be"):
            function(units, sliver_width_m=-1)
        with pytest.raises(InputError, match="sliver_width_m must be"):
            function(units, sliver_width_m=float("nan"))
        swapped = gpd.GeoDataFrame(
            {"unit_code": ["1"]}, geometry=[shapely.box(41, 117, 41.1, 117.1)], crs=4490
        )
        with pytest.raises(InputError, match=r"about \(41\.050000, 117\.050000\) do not fit"):
            function(swapped)


def test_codes_of_any_kind():
    shapes, _ = CASES["overlap"]
    assert boundary_faults(frame(*shapes, unit_code=[7, 8]))["other_code"].tolist() == [8]
    faults = boundary_faults(frame(*shapes, unit_code=["7", None]))
    assert faults["other_code"].isna().tolist() == [True]


# --- repairs --------------------------------------------------------------------------------------


def mended(*shapes, **options):
    repaired, changes = repair_boundaries(frame(*shapes), **options)
    rows = [
        (row.unit_code, row.change, round(row.area_before_m2, 3), round(row.area_after_m2, 3))
        for row in changes.itertuples()
    ]
    return repaired, rows


def same(found, *shapes):
    for one, two in zip(found, frame(*shapes).geometry, strict=True):
        assert one.equals(two), (one, two)


def test_an_overlap_stays_with_the_smaller():
    repaired, rows = mended(LEFT, box(98, 0, 200, 100))
    same(repaired.geometry, LEFT, RIGHT)
    assert rows == [("2", "overlap_removed", 10_200.0, 10_000.0)]
    repaired, rows = mended(box(0, 0, 101, 100), box(100, 0, 201, 100))  # of equal ones the first
    same(repaired.geometry, box(0, 0, 101, 100), box(101, 0, 201, 100))
    assert rows == [("2", "overlap_removed", 10_100.0, 10_000.0)]


def test_an_enclave_is_cut_out():
    repaired, rows = mended(LEFT, box(40, 40, 60, 60))
    same(repaired.geometry, RING, box(40, 40, 60, 60))
    assert rows == [("1", "overlap_removed", 10_000.0, 9_600.0)]


@pytest.mark.parametrize("shapes", [[LEFT, LEFT], [box(0, 0, 200, 100), LEFT, RIGHT]])
def test_who_would_lose_most_is_left(shapes):
    repaired, rows = mended(*shapes)
    assert rows == []
    same(repaired.geometry, *shapes)
    assert "overlap" in boundary_faults(repaired)["fault"].tolist()


def test_a_narrow_gap_is_filled_and_a_wide_one_left():
    shapes = [LEFT, box(103, 0, 200, 100), box(0, -50, 200, 0), box(0, 100, 200, 150)]
    repaired, rows = mended(*shapes)
    assert rows[0] == ("1", "gap_filled", 10_000.0, 10_300.0)
    assert {row[1] for row in rows[1:]} == {"nodes_matched"}  # T-junctions above and below
    assert shapely.coverage_is_valid(repaired.geometry.to_numpy())
    assert boundary_faults(repaired).empty
    repaired, rows = mended(*shapes, sliver_width_m=2.9)
    assert [row[1] for row in rows if row[1] != "nodes_matched"] == []
    assert listed(repaired) == CASES["gap"][1]
    repaired, rows = mended(RING)
    assert rows == []
    repaired, rows = mended(RING, sliver_width_m=10.1)
    assert rows == [("1", "gap_filled", 9_600.0, 10_000.0)]
    same(repaired.geometry, LEFT)


def test_a_sliver_goes_to_its_neighbour():
    strip = both(LEFT, box(196, 0, 200, 100))
    repaired, rows = mended(strip, box(100, 0, 196, 100), box(200, 0, 300, 100))
    assert rows == [  # borders of the same length: the first
        ("1", "part_given", 10_400.0, 10_000.0),
        ("2", "part_received", 9_600.0, 10_000.0),
    ]
    same(repaired.geometry.iloc[1:], RIGHT, box(200, 0, 300, 100))
    assert boundary_faults(repaired).empty
    _, rows = mended(strip, box(100, 10, 196, 100), box(200, 0, 300, 100))
    assert ("3", "part_received", 10_000.0, 10_400.0) in rows  # the longer


def test_a_sliver_beside_nobody_is_dropped():
    repaired, rows = mended(both(LEFT, box(300, 0, 304, 100)), RIGHT)
    assert rows == [("1", "part_dropped", 10_400.0, 10_000.0)]
    same(repaired.geometry[1:], RIGHT)
    assert repaired.area.tolist() == [10_000.0, 10_000.0]
    assert repaired.geometry.iloc[0].geom_type == "MultiPolygon"  # as it was


def test_a_chain_of_slivers_ends_at_a_unit():
    shapes = [
        both(box(0, 0, 100, 100), box(304, 0, 308, 50)),
        both(box(200, 0, 300, 100), box(308, 0, 312, 50)),
        both(box(400, 0, 500, 100), box(300, 0, 304, 50)),
    ]
    repaired, rows = mended(*shapes)
    # The splinter of 3 is beside 2, then that of 1, and then 2 has its own.
    assert [row for row in rows if row[1] == "part_received"] == [
        ("2", "part_received", 10_200.0, 10_600.0)
    ]
    assert repaired.area.tolist() == [10_000.0, 10_600.0, 10_000.0]


def test_a_ring_that_crosses_itself():
    repaired, rows = mended(BOW, box(100, 0, 200, 100))
    assert rows[0] == ("1", "made_valid", 0.0, 5_000.0)
    assert repaired.is_valid.all()
    assert repaired.area.tolist() == [5_000.0, 10_000.0]
    # Run round twice it is still land.
    loop = shapely.Polygon(
        [(0, 0), (100, 0), (100, 100), (0, 100), (0, 0), (50, 0), (50, 50), (0, 50)]
    )
    repaired, rows = mended(loop)
    assert rows[0][1] == "made_valid"
    assert repaired.area.tolist() == [10_000.0]


def test_corners_are_matched():
    shapes = [box(0, 0, 200, 100), box(0, 100, 100, 200), box(100, 100, 200, 200)]
    repaired, rows = mended(*shapes)
    assert rows == [("1", "nodes_matched", 20_000.0, 20_000.0)]
    assert shapely.coverage_is_valid(repaired.geometry.to_numpy())
    assert shapely.get_num_coordinates(repaired.geometry.to_numpy()).tolist() == [6, 5, 5]


def test_what_needs_nothing_stays_to_the_last_digit():
    high = shapely.force_3d(box(300, 0, 400, 100), 250.0)
    units = frame(
        LEFT, box(98, 0, 200, 100), high, shapely.MultiPolygon([box(200, 0, 300, 100)]),
        None, shapely.Polygon(), name=list("abcdef"),
    ).set_index(pd.Index([9, 4, 7, 1, 3, 2]))  # fmt: skip
    units = units.rename_geometry("shape")
    units.attrs["intake"] = "{}"
    before = units.copy()
    repaired, changes = repair_boundaries(units)
    pd.testing.assert_frame_equal(units, before)
    assert repaired.columns.tolist() == units.columns.tolist()
    assert repaired.index.equals(units.index)
    assert repaired.crs == units.crs
    assert repaired.attrs == units.attrs
    assert repaired.geometry.name == "shape"
    assert changes.index.tolist() == [4]
    for label in (9, 7, 1, 2):
        assert repaired.geometry[label] is units.geometry[label]
    again, more = repair_boundaries(repaired)
    assert more.empty
    assert more.dtypes.astype(str).to_dict() == changes.dtypes.astype(str).to_dict()
    assert again.geometry.geom_equals(repaired.geometry).sum() == 5


def test_units_inside_what_is_repaired_are_no_gap():
    # The outermost ring of nine by nine is drawn too large; three by three in the middle are far.
    places = list(itertools.product(range(9), repeat=2))
    grown = [1 if {0, 8} & set(place) else 0 for place in places]
    shapes = [
        box(100 * x - by, 100 * y - by, 100 * (x + 1) + by, 100 * (y + 1) + by)
        for (x, y), by in zip(places, grown, strict=True)
    ]
    repaired, rows = mended(*shapes, sliver_width_m=1000)
    assert {row[1] for row in rows} <= {"overlap_removed", "nodes_matched"}
    assert repaired.area.iloc[40] == 10_000
    assert shapely.coverage_is_valid(repaired.geometry.to_numpy())


def test_a_gap_that_opens_when_a_sliver_goes_is_left():
    bay = box(0, 0, 50, 50).difference(box(10, 20, 40, 50))
    lid = box(10, 50, 40, 52).union(box(24, 52, 26, 300))  # it touches the bay at two corners
    repaired, rows = mended(both(box(500, 0, 600, 100), lid), bay)
    assert [row[:2] for row in rows] == [("1", "part_dropped")]
    same(repaired.geometry, box(500, 0, 600, 100), bay)


@st.composite
def jittered(draw):
    """Give a grid of squares of which every one is drawn a little wrong, and some quite wrong."""
    wide, high = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    jitter = draw(st.sampled_from([0.0, 0.3, 4.0, 12.0]))
    x, y = (each.ravel() for each in np.meshgrid(np.arange(wide), np.arange(high)))
    corners = np.stack(
        [np.stack([x + a, y + b], -1) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], 1
    )
    corners = corners * 200.0 + random.normal(0, jitter, corners.shape)
    shapes = shapely.polygons(corners)
    for unit in range(shapes.size):
        odd = random.random()
        if odd < draw(st.sampled_from([0.0, 0.15])):
            shapes[unit] = None
        elif odd < 0.3:  # a splinter somewhere
            at = random.uniform(0, 200 * max(wide, high), 2)
            splinter = shapely.box(*at, *(at + random.uniform([1, 20], [15, 80])))
            shapes[unit] = shapely.union(shapes[unit], splinter)
        elif odd < 0.4:  # corners in the wrong order
            shapes[unit] = shapely.polygons(corners[unit][[0, 2, 1, 3]])
    units = frame(*shapes)
    return units.to_crs(4490) if draw(st.sampled_from([False, False, False, True])) else units


def polygons(units):
    """Give valid copies in metres by a way of their own."""
    metric = units.to_crs(units.estimate_utm_crs()) if units.crs.is_geographic else units
    return [
        None
        if shape is None
        else shapely.make_valid(shape, method="structure", keep_collapsed=False)
        for shape in metric.geometry
    ]


@settings(max_examples=15, deadline=None)
@given(jittered())
def test_faults_are_those_of_plain_geometry(units):
    if units.geometry.isna().all():
        return
    faults = boundary_faults(units)
    valid = polygons(units)
    overlaps = {}
    for (i, one), (j, two) in itertools.combinations(enumerate(valid, start=1), 2):
        area = one.intersection(two).area if one is not None and two is not None else 0
        if area >= 1:
            overlaps[f"{i}", f"{j}"] = area
    found = faults[faults["fault"] == "overlap"]
    told = dict(
        zip(
            zip(found["unit_code"], found["other_code"], strict=True), found["area_m2"], strict=True
        )
    )
    near = {pair for pair, area in overlaps.items() if area < 1.01}
    assert set(told) | near == set(overlaps) | near
    assert all(
        told[pair] == pytest.approx(overlaps[pair], rel=1e-3, abs=0.1)
        for pair in set(told) & set(overlaps)
    )
    land = shapely.union_all([shape for shape in valid if shape is not None])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.node(land.boundary))))
    open_ = faces[~shapely.covers(land, shapely.point_on_surface(faces))]
    empty = faults.loc[faults["fault"].isin(["gap", "hole"]), "area_m2"].sum()
    assert empty == pytest.approx(shapely.area(open_).sum(), rel=1e-3, abs=3)
    parts = {
        f"{i}": shapely.get_num_geometries(s) for i, s in enumerate(valid, start=1) if s is not None
    }
    several = faults[faults["fault"] == "multipart"].set_index("unit_code")["parts"].to_dict()
    assert several == {code: count for code, count in parts.items() if count > 1}


@settings(max_examples=18, deadline=None)
@given(jittered(), st.sampled_from([0.0, 3.0, 10.0, 25.0]))
def test_a_repair_leaves_nothing_to_mend_and_lists_all(units, width):
    if units.geometry.isna().all():
        return
    repaired, changes = repair_boundaries(units, sliver_width_m=width)
    assert repaired.is_valid[units.geometry.notna()].all()
    metric = units.estimate_utm_crs() if units.crs.is_geographic else units.crs
    before, after = units.to_crs(metric).area.fillna(0), repaired.to_crs(metric).area.fillna(0)
    left = boundary_faults(repaired, sliver_width_m=width)
    assert not left["fault"].isin(["invalid", "overlap", "sliver"]).any()
    assert not (left["fault"].isin(["gap", "hole"]) & (left["width_m"] < width)).any()
    assert shapely.coverage_is_valid(repaired.geometry.dropna().to_numpy())
    assert repair_boundaries(repaired, sliver_width_m=width)[1].empty
    # The areas of a unit follow on one another from what it was to what it is.
    same_unit = changes.groupby(level=0)
    follows = same_unit["area_before_m2"].shift(-1)
    np.testing.assert_allclose(changes["area_after_m2"][follows.notna()], follows.dropna())
    np.testing.assert_allclose(
        same_unit["area_before_m2"].first(), before[same_unit.first().index], atol=1e-3
    )
    np.testing.assert_allclose(
        same_unit["area_after_m2"].last(), after[same_unit.last().index], atol=1e-3
    )
    untouched = ~units.index.isin(changes.index)
    assert all(
        one is two
        for one, two in zip(repaired.geometry[untouched], units.geometry[untouched], strict=True)
    )
    # No land is lost or won but by the changes that say so.
    delta = (changes["area_after_m2"] - changes["area_before_m2"]).groupby(changes["change"]).sum()
    land = [
        shapely.union_all([s for s in polygons(each) if s is not None]).area
        for each in (units, repaired)
    ]
    told = sum(
        delta.get(name, 0) for name in ("gap_filled", "part_given", "part_received", "part_dropped")
    )
    assert land[1] - land[0] == pytest.approx(told, abs=0.05 * len(units))


# --- findings -------------------------------------------------------------------------------------


def test_faults_in_the_log():
    shapes = [
        box(98, 0, 200, 100), LEFT, BOW, both(box(300, 0, 400, 100), box(500, 0, 504, 100)),
        box(600, 0, 900, 300, box(650, 50, 850, 250)), LEFT,
    ]  # fmt: skip
    units = frame(*shapes, unit_code=["a", "b", "c", "d", "e", None])
    log = IntakeLog("u.gpkg", np.arange(11, 17))
    log.set_aside[5] = True
    log_boundaries(units, log)
    found = [(each.code, each.row, each.value) for each in log.findings]
    assert found == [
        ("boundary.invalid", 13, ""),
        ("boundary.overlap", 11, "b"),
        ("boundary.overlap", 12, "c"),
        ("boundary.overlap", 11, "c"),
        ("boundary.sliver", 14, ""),
        ("boundary.multipart", 13, ""),
        ("boundary.multipart", 14, ""),
        ("boundary.hole", 15, ""),
    ]
    invalid, overlap = log.findings[:2]
    assert invalid.cure_zh == (
        f"边界自相交，位置({EAST + 50}.0, {NORTH + 50}.0)，边界未采用："
        "请在源文件中修正，或用repair=True修整"
    )
    assert invalid.severity == "error"
    assert invalid.effect == "unknown"
    assert overlap.cure_zh.startswith("与第12行重叠200㎡，平均宽2.0米")
    assert "shares 200 m², 2.0 m wide on average, with row 12" in overlap.cure
    assert log.findings[-1].cure_zh.startswith("空洞4.0公顷")
    assert log.findings[5].cure_zh.startswith("共2块，主块以外2,500㎡")
    assert "nan" not in " ".join(each.cure + each.cure_zh for each in log.findings)
    assert log.set_aside.sum() == 1


def test_repairs_in_the_log():
    units = frame(LEFT, box(98, 0, 20_098, 100))
    repaired, changes = repair_boundaries(units)
    log = IntakeLog("u.gpkg", np.arange(11, 13))
    log_repairs(changes, log, units)
    (only,) = log.findings
    assert (only.code, only.row, only.value) == ("boundary.repaired", 12, "2")
    assert (
        only.cure_zh == "重叠部分划归面积较小的一方：面积由2.00平方公里变为2.00平方公里（-200㎡）"
    )
    assert only.cure == (
        "an overlap was left to the smaller unit: 2.00 km² before, 2.00 km² after (-200 m²)"
    )
    assert only.effect == "changed"
    log_boundaries(repaired, log)
    assert len(log.findings) == 1


def test_the_catalogue_knows_every_fault_and_change():
    words = catalogue()["boundary.repaired"]["changes"]
    documented = {"made_valid", "overlap_removed", "gap_filled", "part_given", "part_received"}
    assert set(words) == documented | {"part_dropped", "nodes_matched"}
    assert all(set(each) == {"zh", "en"} for each in words.values())
