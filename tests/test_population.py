"""Where people live, by hamlets, buildings and rasters: against hand-worked numbers and pandas."""

from __future__ import annotations

import builtins
import math
import re
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

import facility_coverage as fc
from facility_coverage import population
from facility_coverage.errors import (
    InputError,
    IntakeWarning,
    MissingDependencyError,
    MissingInputError,
    NoCrsError,
)
from facility_coverage.intake import catalogue, intake_report

CRS = "EPSG:32650"
EAST, NORTH = 500_000.0, 4_500_000.0
WEST_UNIT = shapely.box(EAST, NORTH, EAST + 200, NORTH + 400)
EAST_UNIT = shapely.box(EAST + 200, NORTH, EAST + 400, NORTH + 400)


def units_of(shapes=(WEST_UNIT, EAST_UNIT), *, crs=CRS, **changes):
    """Two villages side by side, 200 m wide and 400 m high; or others."""
    n = len(shapes)
    table = {
        "unit_code": [f"13082410020{i}" for i in range(1, n + 1)],
        "name": list("甲乙丙丁戊己"[:n]),
        "residents": [100, 60, 40, 30, 20, 10][:n],
        "elderly": [20, 6, 4, 3, 2, 1][:n],
        "children": [10, 12, 4, 3, 2, 1][:n],
        **changes,
    }
    numbers = dict.fromkeys(("residents", "elderly", "children"), "Int64")
    return gpd.GeoDataFrame(table, geometry=list(shapes), crs=crs).astype(numbers)


def write_raster(path, cells, *, crs=CRS, transform=None, **options):
    """Write cells of 100 m from the north-west corner of the two villages."""
    cells = np.asarray(cells, dtype=options.pop("dtype", "float32"))
    layers = cells if cells.ndim == 3 else cells[None]
    transform = transform or from_origin(EAST, NORTH + 400, 100, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(layers),
            height=layers.shape[1],
            width=layers.shape[2],
            dtype=layers.dtype,
            crs=crs,
            transform=transform,
            **options,
        ) as raster:
            raster.write(layers)
    return path


def from_origin(west, north, width, height):
    return Affine(width, 0, west, 0, -height, north)


def centre_of(transform, row, column):
    x, y = column + 0.5, row + 0.5
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def codes(table):
    return intake_report(table).table["code"].tolist()


def told(table, code):
    """Give the findings of one rule."""
    return [each for each in intake_report(table).findings if each.code == code]


def sums(demand, units, column="residents"):
    """By unit, in their order."""
    total = demand.groupby("unit_code")[column].sum(min_count=1)
    return total.reindex(units["unit_code"]).to_numpy(dtype=float)


# --- rasters ---

FOUR = [
    [1, 0, 0, 5],
    [0, 3, -9, 0],
    [0, 0, np.nan, -1],
    [-9, 0, 10, 0],
]


def test_the_hand_worked_raster(tmp_path):
    # West: 1 and 3 people are scaled to 100 residents; east: 5 and 10 to 60.
    path = write_raster(tmp_path / "people.tif", FOUR, nodata=-9)
    demand = fc.read_demand(path, units_of())
    assert demand["residents"].tolist() == pytest.approx([25, 75, 20, 40], abs=1e-9)
    assert demand["elderly"].tolist() == pytest.approx([5, 15, 2, 4], abs=1e-9)
    assert demand["children"].tolist() == pytest.approx([2.5, 7.5, 4, 8], abs=1e-9)
    west, south = demand.geometry.x - EAST, demand.geometry.y - NORTH
    assert list(zip(west, south, strict=True)) == [(50, 350), (150, 250), (350, 350), (250, 50)]
    assert demand["unit_code"].tolist() == ["130824100201"] * 2 + ["130824100202"] * 2
    assert demand["demand_id"].tolist() == [
        "130824100201-R000001",
        "130824100201-R000002",
        "130824100202-R000001",
        "130824100202-R000002",
    ]
    assert set(demand["source"]) == {"raster"}
    assert set(demand["role"]) == {"people"}
    assert demand.index.tolist() == [0, 1, 2, 3]
    assert demand.crs == CRS


def test_cells_that_hold_nobody_are_counted(tmp_path):
    path = write_raster(tmp_path / "people.tif", FOUR, nodata=-9)
    demand = fc.read_demand(path, units_of())
    found = {f.code: (f.severity, f.value) for f in intake_report(demand).findings}
    assert found["demand.raster_nodata"] == ("note", "2")
    assert found["demand.raster_negative"] == ("warning", "1")
    assert found["demand.raster_invalid"] == ("warning", "1")
    (found_zh,) = (f.rule_zh for f in told(demand, "demand.raster_negative"))
    assert found_zh == "栅格人数不能为负"
    # Without the declaration the two cells of -9 are just negative.
    path = write_raster(tmp_path / "undeclared.tif", FOUR)
    again = fc.read_demand(path, units_of())
    assert told(again, "demand.raster_negative")[0].value == "3"
    assert "demand.raster_nodata" not in codes(again)
    pd.testing.assert_frame_equal(demand, again)
    boundless = np.where(np.isnan(FOUR), np.inf, FOUR)
    third = fc.read_demand(write_raster(tmp_path / "inf.tif", boundless, nodata=-9), units_of())
    assert told(third, "demand.raster_invalid")[0].value == "1"
    pd.testing.assert_frame_equal(demand, third)


def test_a_unit_far_from_the_raster_is_reported_with_its_factor(tmp_path):
    path = write_raster(tmp_path / "people.tif", [[40, 0, 50, 0]])
    demand = fc.read_demand(path, units_of())  # 100 / 40 = 2.5; 60 / 50 = 1.2
    (scale,) = told(demand, "demand.raster_scale")
    assert scale.value == "甲（130824100201）"
    assert "raster 40, unit 100; scaled by 2.50" in scale.cure
    assert "栅格40人，常住100人，已按2.50倍换算" in scale.cure_zh


def test_where_residents_are_not_known_the_rasters_stand(tmp_path):
    path = write_raster(tmp_path / "people.tif", FOUR, nodata=-9)
    demand = fc.read_demand(path, units_of(residents=[None, 60], elderly=[20, None]))
    assert demand["residents"].tolist() == pytest.approx([1, 3, 20, 40])
    np.testing.assert_allclose(demand["elderly"], [5, 15, np.nan, np.nan])
    (numbers,) = told(demand, "demand.raster_numbers")
    assert numbers.value == "甲（130824100201）"
    assert numbers.cure.startswith("4 people by the raster")


def test_a_unit_without_a_populated_cell_keeps_its_people(tmp_path):
    cells = np.array(FOUR)
    cells[:, 2:] = 0
    demand = fc.read_demand(write_raster(tmp_path / "people.tif", cells, nodata=-9), units_of())
    assert demand["source"].tolist() == ["raster", "raster", "assumed"]
    last = demand.iloc[-1]
    assert EAST_UNIT.contains(last.geometry)
    assert last[["residents", "elderly", "children"]].tolist() == [60, 6, 12]
    assert last["demand_id"] == "130824100202-A0001"
    (absent,) = told(demand, "demand.no_point")
    assert absent.value == "乙（130824100202）"
    assert "(60)" in absent.cure


def test_a_raster_in_another_crs(tmp_path):
    # Cells of 0.001°; the units in metres. Every cell by brute force, one at a time.
    units = units_of()
    box = shapely.bounds(units.to_crs(4490).union_all())
    rng = np.random.default_rng(5)
    cells = rng.integers(0, 4, (30, 40)).astype("float32")
    transform = from_origin(box[0] - 0.001, box[3] + 0.001, 0.0003, 0.0003)
    path = write_raster(tmp_path / "degrees.tif", cells, crs="EPSG:4490", transform=transform)
    rows = [
        (centre_of(transform, row, column), cells[row, column])
        for row in range(30)
        for column in range(40)
        if cells[row, column] > 0
    ]
    centres = gpd.GeoSeries([shapely.Point(at) for at, _ in rows], crs=4490).to_crs(CRS)
    expected = []
    for unit in units.itertuples():
        inside = [
            (centre, people)
            for centre, (_, people) in zip(centres, rows, strict=True)
            if unit.geometry.intersects(centre)
        ]
        total = sum(people for _, people in inside)
        expected += [(c.x, c.y, unit.residents * people / total) for c, people in inside]
    demand = fc.read_demand(path, units)
    assert demand.crs == CRS
    assert len(expected) > 60
    found = np.column_stack([demand.geometry.x, demand.geometry.y, demand["residents"]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tiled", [True, False])
def test_reading_in_parts_is_reading_at_once(tmp_path, monkeypatch, tiled):
    rng = np.random.default_rng(1)
    cells = rng.integers(-1, 3, (70, 90)).astype("float32")
    transform = from_origin(EAST - 33, NORTH + 433, 7, 7)
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
    path = write_raster(tmp_path / "people.tif", cells, transform=transform, **options)
    once = population.read_cells(path, units_of())
    monkeypatch.setattr(population, "_CHUNK", 300)
    monkeypatch.setattr(population, "_SIDE", 32)
    read = []
    populated = population._populated

    def noted(raster, band, window):
        (top, bottom), (left, right) = window
        read.append((bottom - top) * (right - left))
        return populated(raster, band, window)

    monkeypatch.setattr(population, "_populated", noted)
    parts = population.read_cells(path, units_of())
    assert len(read) > 10
    assert max(read) <= 32 * 16
    for name in ("x", "y", "owner", "people"):
        np.testing.assert_array_equal(getattr(once, name), getattr(parts, name))
    for name in ("nodata", "negative", "invalid"):
        assert getattr(once, name) == getattr(parts, name)
    # 200 m and 400 m at 7 m: all cells are looked at, and none outside the rectangle around.
    assert sum(read) == pytest.approx((400 / 7 + 5) * (400 / 7 + 5), rel=0.05)


def test_a_turned_raster_with_scale_and_a_band(tmp_path):
    side = 50 * math.sqrt(0.5)  # cells of 50 m, turned by 45°
    turned = Affine(side, -side, EAST + 200, side, side, NORTH - 100)
    cells = np.zeros((2, 8, 8), dtype="int16")
    cells[1, 3, 4] = 20
    path = write_raster(tmp_path / "turned.tif", cells, transform=turned, dtype="int16")
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1.0, 0.5)
    cells_in = population.read_cells(path, units_of(), band=2)
    assert (cells_in.x[0], cells_in.y[0]) == pytest.approx(centre_of(turned, 3, 4))
    assert cells_in.people.tolist() == [10.0]
    with pytest.raises(InputError, match="holds 2 bands; say which"):
        fc.read_demand(path, units_of())
    with pytest.raises(InputError, match="no band 3; it has 2"):
        fc.read_demand(path, units_of(), layer="3")
    with pytest.raises(InputError, match="number of a raster's band, not 'people'"):
        fc.read_demand(path, units_of(), layer="people")
    with pytest.raises(InputError, match="a raster has no columns"):
        fc.read_demand(path, units_of(), columns={"residents": "人口"})
    assert len(fc.read_demand(path, units_of(), layer="2")) == 2


def test_rasters_that_cannot_be_used(tmp_path):
    units = units_of()
    with pytest.raises(MissingInputError, match="no such file"):
        fc.read_demand(tmp_path / "none.tif", units)
    (tmp_path / "text.tif").write_text("people")
    with pytest.raises(InputError, match="not a raster that GDAL can read"):
        fc.read_demand(tmp_path / "text.tif", units)
    bare = write_raster(tmp_path / "bare.tif", FOUR, crs=None)
    with pytest.raises(NoCrsError, match=r"no CRS; write it into the file.*gdal_edit"):
        fc.read_demand(bare, units)
    away = from_origin(EAST + 5000, NORTH, 100, 100)
    elsewhere = write_raster(tmp_path / "away.tif", FOUR, transform=away)
    with pytest.raises(InputError, match=r"does not cover the units.*x 505,000.*of this county"):
        fc.read_demand(elsewhere, units)
    empty = write_raster(tmp_path / "empty.tif", np.zeros((4, 4)))
    with pytest.raises(InputError, match="no cell with people lies in a unit"):
        fc.read_demand(empty, units)


def test_a_damaged_raster(tmp_path):
    path = write_raster(tmp_path / "people.tif", np.ones((400, 400)), compress="deflate",
                        transform=from_origin(EAST, NORTH + 400, 1, 1))  # fmt: skip
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(InputError, match=r"damaged|not a raster"):
        fc.read_demand(path, units_of())


def test_rasterio_is_named_where_it_is_missing(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "people.tif", FOUR)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "rasterio":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'facility-coverage\[elevation\]'"
    ):
        fc.read_demand(path, units_of())


# --- shares and places ---


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.floats(1e-6, 1e9)),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.none() | st.integers(0, 10**7), min_size=4, max_size=4),
)
def test_what_is_shared_out_sums_to_the_units(points, residents):
    owner = np.array([unit for unit, _ in points])
    units = pd.DataFrame(dict.fromkeys(population.GROUPS, residents)).astype("Float64")
    shares = population.share_out(owner, [weight for _, weight in points], units)
    for name in population.GROUPS:
        for unit, people in enumerate(residents):
            mine = shares[name][owner == unit]
            if people is None:
                assert np.isnan(mine).all()
            elif mine.size:
                assert mine.sum() == pytest.approx(people, rel=1e-12, abs=1e-9)
                assert (mine >= 0).all()
    assert np.isnan(shares["residents"][owner < 0]).all()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.floats(-5, 200, width=32), min_size=16, max_size=16).filter(lambda c: max(c) > 0),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_whatever_the_cells_the_units_keep_their_people(tmp_path, cells, residents):
    path = write_raster(tmp_path / "people.tif", np.reshape(cells, (4, 4)))
    units = units_of(residents=list(residents))
    demand = fc.read_demand(path, units)
    np.testing.assert_allclose(sums(demand, units), residents, rtol=1e-12, atol=1e-9)
    assert set(demand["unit_code"]) == set(units["unit_code"])
    assert demand["demand_id"].is_unique


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_units_of_places_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    shapes = [shapely.Point(*rng.integers(0, 6, 2)).buffer(rng.integers(1, 4)) for _ in range(3)]
    shapes += [shapely.box(0, 0, 3, 3), shapely.box(3, 0, 6, 3)]  # with a border between
    units = gpd.GeoDataFrame(geometry=shapes)
    x, y = rng.integers(-1, 8, (2, 40)) * rng.choice([1.0, 0.5])
    x[0] = np.nan
    expected = [
        next((i for i, s in enumerate(shapes) if s.intersects(shapely.Point(at))), -1)
        if not np.isnan(at[0])
        else -1
        for at in zip(x, y, strict=True)
    ]
    assert population.unit_at(x, y, units).tolist() == expected


# --- buildings ---


def buildings_of(**columns):
    """Two buildings in the west (100 m² and 400 m²), two in the east (200 m² each)."""
    at = [(10, 10, 10, 10), (50, 50, 20, 20), (250, 10, 10, 20), (300, 10, 20, 10)]
    shapes = [
        shapely.box(EAST + x, NORTH + y, EAST + x + wide, NORTH + y + high)
        for x, y, wide, high in at
    ]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=CRS)


def test_buildings_by_area_and_storeys(tmp_path):
    # West: 100 m² × 6 and 400 m² × 1, 60 % and 40 % of 100 people; east: 200 × 2 and 200 × 4 of 60.
    path = tmp_path / "buildings.gpkg"
    buildings_of(层数=[6, 1, 2, 4]).to_file(path)
    demand = fc.read_demand(path, units_of())
    assert demand["residents"].tolist() == pytest.approx([60, 40, 20, 40], rel=1e-9)
    assert demand["elderly"].tolist() == pytest.approx([12, 8, 2, 4], rel=1e-9)
    assert set(demand["source"]) == {"footprints"}
    assert demand["demand_id"].tolist() == ["B000001", "B000002", "B000003", "B000004"]
    assert demand.geometry.x.tolist() == pytest.approx([EAST + x for x in (15, 60, 255, 310)])
    assert told(demand, "demand.shared_out")[0].value == "4"


def test_storeys_that_are_not_known_are_one_and_said():
    none = fc.read_demand(buildings_of(), units_of())
    assert none["residents"].tolist() == pytest.approx([20, 80, 30, 30], rel=1e-9)
    assert "demand.storeys_none" in codes(none)
    some = fc.read_demand(buildings_of(storeys=[6, None, 0, 900]), units_of())
    assert some["residents"].tolist() == pytest.approx([60, 40, 30, 30], rel=1e-9)
    assert told(some, "demand.storeys_missing")[0].value == "1"
    assert [(f.row, f.value) for f in told(some, "demand.storeys")] == [(3, "0"), (4, "900")]


def test_buildings_by_pandas(units):
    rng = np.random.default_rng(2)
    # Squares of 5 to 30 m on the ground, in degrees, some beyond the county.
    west, south, east, north = units.total_bounds
    x, y = rng.uniform(west, east, 600), rng.uniform(south, north, 600)
    metres = gpd.GeoSeries(gpd.points_from_xy(x, y), crs=units.crs).to_crs(CRS)
    half = rng.uniform(2.5, 15, 600)
    shapes = metres.buffer(half, cap_style="square")
    storeys = rng.integers(1, 7, 600)
    frame = gpd.GeoDataFrame({"楼层": storeys}, geometry=shapes, crs=CRS).to_crs(units.crs)
    with pytest.warns(IntakeWarning, match="rows were set aside"):
        demand = fc.read_demand(frame, units)
    table = gpd.sjoin(
        gpd.GeoDataFrame({"weight": (2 * half) ** 2 * storeys}, geometry=metres).to_crs(units.crs),
        units[["unit_code", "residents", "geometry"]],
        predicate="intersects",
    ).sort_index()
    table = table[~table.index.duplicated()]
    part = table["weight"] / table.groupby("unit_code")["weight"].transform("sum")
    read = demand[demand["source"] == "footprints"]
    assert len(read) == len(table) < 600
    assert read["unit_code"].tolist() == table["unit_code"].tolist()
    # Areas by projection and by hand differ by the projection's scale, alike within a unit.
    np.testing.assert_allclose(
        read["residents"], part * table["residents"].astype(float), rtol=1e-4
    )
    np.testing.assert_allclose(sums(demand, units), units["residents"].astype(float), atol=1e-9)
    assert set(demand.loc[demand["source"] == "assumed", "unit_code"]) == set(
        units["unit_code"]
    ) - set(table["unit_code"])


def test_residents_of_buildings_are_used_as_given():
    frame = buildings_of(人口=[30, 75, "", 20], 层数=[9, 1, 1, 1], unit_code=["130824100201"] * 4)
    demand = fc.read_demand(frame, units_of())
    np.testing.assert_array_equal(demand["residents"], [30, 75, np.nan, 20, 60])
    assert demand["source"].tolist() == ["footprints"] * 4 + ["assumed"]
    assert demand["elderly"].isna().tolist() == [True] * 4 + [False]
    assert [f.row for f in told(demand, "demand.residents_unknown")] == [3]
    # The east's two buildings count for the west by their code, and lie elsewhere.
    assert [f.row for f in told(demand, "demand.elsewhere")] == [3, 4]


def test_buildings_that_are_none():
    frame = buildings_of()
    ring = [
        (EAST + 50, NORTH),
        (EAST + 70, NORTH + 20),
        (EAST + 70, NORTH),
        (EAST + 50, NORTH + 20),
    ]
    line = shapely.LineString([(EAST, NORTH), (EAST + 1, NORTH)])
    shapes = [*frame.geometry[:2], shapely.Polygon(ring), line, None, shapely.Polygon()]
    mixed = gpd.GeoDataFrame(geometry=shapes, crs=CRS)
    with pytest.warns(IntakeWarning, match="3 of 6 rows were set aside"):
        demand = fc.read_demand(mixed, units_of())
    assert [(f.row, f.value) for f in told(demand, "demand.building")] == [
        (4, "LineString"),
        (5, ""),
        (6, "Polygon"),
    ]
    assert [f.row for f in told(demand, "demand.building_crossed")] == [3]
    # The bow tie's two triangles of 100 m² each: 100 + 400 + 200 m² share 100 people.
    assert demand["residents"].tolist() == pytest.approx([100 / 7, 400 / 7, 200 / 7, 60])
    assert shapely.make_valid(shapes[2]).contains(demand.geometry[2])


def test_buildings_of_a_unit_whose_residents_are_not_known():
    demand = fc.read_demand(buildings_of(), units_of(residents=[None, 60]))
    assert demand["residents"].isna().tolist() == [True, True, False, False]
    assert [f.value for f in told(demand, "demand.unit_unknown")] == ["甲（130824100201）"]


# --- hamlets ---


def hamlets_of(at=((50, 50), (150, 50), (250, 50), (350, 50)), **columns):
    points = [at_ if at_ is None else shapely.Point(EAST + at_[0], NORTH + at_[1]) for at_ in at]
    table = {"人口": [70.0, 30.0, 20.0, 40.0][: len(points)], **columns}
    return gpd.GeoDataFrame(table, geometry=points, crs=CRS)


def test_hamlets_in_the_order_of_the_file():
    demand = fc.read_demand(hamlets_of(自然村名称=["a", "b", "c", "d"]).iloc[::-1], units_of())
    assert demand["residents"].tolist() == [40, 20, 30, 70]
    assert demand["name"].tolist() == ["d", "c", "b", "a"]
    assert set(demand["source"]) == {"surveyed"}
    assert not [f for f in intake_report(demand).findings if f.severity != "note"]


def test_one_bad_hamlet_hides_no_other_and_stops_none():
    frame = hamlets_of(
        [(50, 50), (60, 50), (70, 50), (80, 50), None, (250, 50), (999, 50), (260, 50)],
        区划代码=[
            "130824100201",
            "130824100201",
            "130824100201",
            "130824100299",
            "130824100201",
            None,
            "130825100201",
            "130824100202",
        ],
        人口=[70, "七十", "-5", 10, 10, 30, 10, 30],
    )
    frame.geometry = [
        *frame.geometry[:7],
        shapely.MultiPoint([(EAST + 260, NORTH + 50), (EAST, NORTH)]),
    ]
    with pytest.warns(IntakeWarning, match="demand: 4 of 8 rows were set aside and 2 values"):
        demand = fc.read_demand(frame, units_of())
    found = {(f.row, f.code) for f in intake_report(demand).findings if f.severity != "note"}
    assert found == {
        (2, "number.unreadable"),
        (3, "number.negative"),
        (4, "demand.unit_code"),
        (5, "demand.geometry"),
        (6, "demand.unit_code_blank"),
        (7, "demand.outside"),
        (8, "demand.geometry"),
        (2, "demand.residents_unknown"),
        (3, "demand.residents_unknown"),
        (None, "demand.sum"),
    }
    assert "it lies in 甲（130824100201）" in told(demand, "demand.unit_code")[0].cure
    np.testing.assert_array_equal(demand["residents"], [70, np.nan, np.nan, 30])
    assert demand["unit_code"].str[-1].tolist() == ["1", "1", "1", "2"]
    with pytest.raises(InputError, match="belongs to a unit that exists") as caught:
        fc.read_demand(frame, units_of(), strict=True)
    assert {f.row for f in caught.value.findings} == {2, 3, 4, 5, 8}
    assert {f.severity for f in caught.value.findings} == {"error"}
    (counts,) = intake_report(demand).rows
    assert {"file": "demand", "read": 8, "accepted": 4, "set_aside": 4}.items() <= counts.items()


def test_hamlets_by_place_and_beyond():
    with pytest.warns(IntakeWarning, match="1 of 4 rows"):
        demand = fc.read_demand(
            hamlets_of([(50, 50), (200, 50), (250, 50), (401, 50)]), units_of(residents=[100, 20])
        )
    assert demand["unit_code"].str[-1].tolist() == ["1", "1", "2"]  # the border is the first's
    assert [f.row for f in told(demand, "demand.outside")] == [4]
    with pytest.raises(InputError, match="none of 4 rows can be used") as caught:
        fc.read_demand(hamlets_of([(900, y) for y in range(4)]), units_of())
    assert len(caught.value.findings) == 4


def test_a_hamlet_outside_the_unit_of_its_code_counts_by_its_code():
    code = ["130824100201", "130824100202", "130824100202", "130824100202"]
    frame = hamlets_of([(50, 50), (150, 50), (200, 50), (450, 50)], unit_code=code)
    demand = fc.read_demand(frame, units_of(residents=[70, 90]))
    assert demand["unit_code"].tolist() == code
    elsewhere = told(demand, "demand.elsewhere")
    assert [f.row for f in elsewhere] == [2, 4]  # the third lies on the border of both
    assert "甲（130824100201）" in elsewhere[0].cure
    assert "—" in elsewhere[1].cure


def test_codes_that_became_numbers():
    frame = hamlets_of(代码=[130824100201.0, np.nan, 130824100202.0, 130824100202.0])
    demand = fc.read_demand(frame, units_of())
    assert demand["unit_code"].str[-1].tolist() == ["1", "1", "2", "2"]
    assert [f.row for f in told(demand, "demand.unit_code_blank")] == [2]


def test_damaged_codes_are_set_aside_and_told_where_they_lie():
    codes_ = ["130824100201", "13082410020 1", "1.308E+11", "130824100"]
    frame = hamlets_of(代码=codes_)
    with pytest.warns(IntakeWarning, match="2 of 4 rows"):
        demand = fc.read_demand(frame, units_of())
    assert demand["source"].tolist() == ["surveyed", "surveyed", "assumed"]
    found = {(f.row, f.code) for f in intake_report(demand).findings if f.row}
    assert found == {
        (2, "code.repaired"),
        (3, "code.scientific"),
        (3, "demand.unit_code"),
        (4, "code.township"),
        (4, "demand.unit_code"),
    }
    assert {f.value for f in told(demand, "demand.unit_code")} == {"1.308E+11", "130824100"}
    assert all("乙（130824100202）" in f.cure for f in told(demand, "demand.unit_code"))


def test_a_digit_that_is_missing_is_told_by_the_units():
    frame = hamlets_of(代码=["130824100201"] * 3 + ["13082410202"])
    demand = fc.read_demand(frame, units_of(residents=[120, 40]))
    assert demand["unit_code"].str[-1].tolist() == ["1", "1", "1", "2"]
    assert [f.row for f in told(demand, "code.repaired")] == [4]


def test_identifiers_stand_once():
    frame = hamlets_of(demand_id=["a", "a", None, "a-2"])
    demand = fc.read_demand(frame, units_of())
    assert demand["demand_id"].tolist() == ["a", "a-3", "D000003", "a-2"]
    (repeated,) = told(demand, "demand.id_repeated")
    assert (repeated.row, repeated.value, repeated.severity) == (2, "a", "warning")
    assert "a-3" in repeated.cure


@pytest.mark.parametrize(
    ("unit", "reported"),
    [(100, False), (84, False), (83, True), (124, False), (126, True), (0, True), (None, False)],
)
def test_sums_that_differ_by_a_fifth_are_reported(unit, reported):
    # 100 people at the west's hamlets: 84 × 1.2 = 100.8, 83 × 1.2 = 99.6; 125 × 0.8 = 100.
    demand = fc.read_demand(hamlets_of(), units_of(residents=[unit, 60]))
    assert sums(demand, units_of()).tolist() == [100, 60]
    found = told(demand, "demand.sum")
    assert bool(found) == reported
    if reported:
        assert found[0].value == "甲（130824100201）"
        assert f"the points have 100, the unit {unit}" in found[0].cure


def test_a_sum_with_unknown_parts_can_only_be_too_much():
    few = hamlets_of(人口=[10.0, None, 20.0, 40.0])
    assert not told(fc.read_demand(few, units_of()), "demand.sum")
    many = hamlets_of(人口=[130.0, None, 20.0, 40.0])
    assert len(told(fc.read_demand(many, units_of()), "demand.sum")) == 1


def test_no_village_silently_has_nobody():
    third = shapely.box(EAST + 400, NORTH, EAST + 600, NORTH + 400)
    fourth = shapely.box(EAST + 600, NORTH, EAST + 700, NORTH + 400)
    units = units_of([WEST_UNIT, EAST_UNIT, third, fourth], residents=[100, 60, 40, None])
    demand = fc.read_demand(hamlets_of(), units)
    assert demand["source"].tolist() == ["surveyed"] * 4 + ["assumed"] * 2
    np.testing.assert_array_equal(sums(demand, units), [100, 60, 40, np.nan])
    assert third.contains(demand.geometry.iloc[4])
    assert [f.value for f in told(demand, "demand.no_point")] == [
        "丙（130824100203）",
        "丁（130824100204）",
    ]
    assert "(?)" in told(demand, "demand.no_point")[1].cure
    assert not told(demand, "demand.sum")  # said once, as the lack of a point
    assert demand.index.tolist() == list(range(6))
    # Written and read again the assumed points are still assumed.
    again = fc.read_demand(demand, units)
    pd.testing.assert_frame_equal(again, demand)


def test_points_alone_and_layers_without_crs():
    with pytest.raises(InputError, match=r"columns=\{'residents': '…'\}; the file has n$"):
        fc.read_demand(hamlets_of().drop(columns="人口").assign(n=1), units_of())
    with pytest.raises(NoCrsError, match="set_crs"):
        fc.read_demand(hamlets_of().set_crs(None, allow_override=True), units_of())
    degrees = hamlets_of().set_crs(4326, allow_override=True)
    with pytest.raises(InputError, match="none of 4 rows"):
        fc.read_demand(degrees, units_of())


def test_hamlets_in_another_crs():
    frame = hamlets_of(代码=["130824100201"] * 2 + ["130824100202"] * 2)
    demand = fc.read_demand(frame.to_crs(4490), units_of())
    assert demand.crs == CRS
    assert shapely.dwithin(demand.geometry.array, frame.geometry.array, 1e-3).all()


@pytest.mark.parametrize(("crs", "code"), [(4490, "metres_in_degrees"), (CRS, "degrees_in_metres")])
def test_what_its_crs_has_no_place_for_is_set_aside_whatever_its_code(crs, code):
    frame = hamlets_of(代码=["130824100201"] * 2 + ["130824100202"] * 2)
    other = frame.to_crs(4490 if crs == CRS else CRS)
    mixed = frame.to_crs(crs)
    mixed.geometry = [other.geometry[0], *mixed.geometry[1:]]
    with pytest.warns(IntakeWarning, match="1 of 4 rows"):
        demand = fc.read_demand(mixed, units_of())
    assert demand["residents"].tolist() == [30, 20, 40]
    assert [f.row for f in told(demand, f"geometry.{code}")] == [1]


def test_single_points_of_a_layer_of_multipoints():
    frame = hamlets_of()
    frame.geometry = [shapely.MultiPoint([point]) for point in frame.geometry]
    demand = fc.read_demand(frame, units_of())
    assert set(demand.geom_type) == {"Point"}
    assert sums(demand, units_of()).tolist() == [100, 60]


def test_spread_and_read_demand_are_alike(units, roads, demand):
    spread = fc.spread_demand(units, roads)
    pd.testing.assert_series_equal(spread.dtypes, demand.dtypes)
    for name in population.GROUPS:
        np.testing.assert_allclose(sums(spread, units, name), units[name].astype(float), atol=1e-9)


def test_every_rule_is_in_both_languages():
    rules = {code: rule for code, rule in catalogue().items() if code.startswith("demand.")}
    assert len(rules) > 20
    for code, rule in rules.items():
        for part in ("rule", "cure"):
            assert all(rule[part][lang] for lang in ("zh", "en")), code
            fields = [set(re.findall(r"{(\w+)}", rule[part][la])) for la in ("zh", "en")]
            assert fields[0] == fields[1], code
