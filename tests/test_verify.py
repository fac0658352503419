"""A run leaves a trail, and running again tells what differs from it."""

from __future__ import annotations

import json

import geopandas as gpd
import pytest
import shapely

import facility_coverage as fc
from facility_coverage.__main__ import main
from facility_coverage.errors import ConfigError, MissingInputError

CRS = "EPSG:32650"
EAST, NORTH = 600_000.0, 4_500_000.0
TOML = """
name = "三村"
plan = "luanping-2025"
[files]
units = "units.gpkg"
facilities = "facilities.gpkg"
roads = "roads.gpkg"
[outputs]
folder = "out"
"""


def place(x, y=0.0):
    return shapely.Point(EAST + x, NORTH + y)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three villages along a street, the first with a facility; run once."""
    folder = tmp_path_factory.mktemp("county")
    codes = ["130824100201", "130824100202", "130824100203"]
    gpd.GeoDataFrame(
        {
            "unit_code": codes,
            "name": ["甲村", "乙村", "丙村"],
            "residents": [100, 200, 300],
            "households": [40, 80, 120],
        },
        geometry=[place(1000 * n).buffer(500, cap_style="square") for n in range(3)],
        crs=CRS,
    ).to_file(folder / "units.gpkg")
    gpd.GeoDataFrame(
        {
            "facility_id": ["A"],
            "name": ["甲站"],
            "kind": ["comprehensive_service"],
            "unit_code": codes[:1],
            "status": ["在用"],
            "floor_area_m2": [300.0],
            "hours_per_day": [8.0],
        },
        geometry=[place(0)],
        crs=CRS,
    ).to_file(folder / "facilities.gpkg")
    gpd.GeoDataFrame(
        {"highway": ["residential"]},
        geometry=[shapely.LineString([place(-400), place(2400)])],
        crs=CRS,
    ).to_file(folder / "roads.gpkg")
    (folder / "county.toml").write_text(TOML, encoding="utf-8")
    assert main(["run", str(folder / "county.toml")]) == 0
    return folder


def test_the_trail_tells_what_went_in_and_by_what_it_was_judged(made):
    manifest = json.loads((made / "out" / "manifest.json").read_text("utf-8"))
    assert set(manifest["inputs"]) == {"units", "facilities", "roads"}
    assert manifest["county_file"] == "../county.toml"
    assert manifest["rows"]["units"] == 3
    rules = {each["kind"]: each for each in manifest["plan"]["standards"]}
    assert "min" in rules["comprehensive_service"]["rule"]
    assert rules["comprehensive_service"]["source"]
    assert {"geopandas", "matplotlib", "pyproj", "python"} <= set(manifest["packages"])
    assert [(each["from"], each["to"]) for each in manifest["operations"]] == [(CRS, "EPSG:4326")]
    assert "proj=utm zone=50" in manifest["operations"][0]["operation"]
    assert {*manifest["crs"].values()} == {CRS}
    assert manifest["seed"] is None
    read = {name: each["read"] for name, each in manifest["rows_read"].items()}
    assert read == {"units": 3, "facilities": 1, "roads": 1}
    table = fc.intake_report(fc.read_units(made / "units.gpkg")).table
    told = {code: count for part in manifest["findings"].values() for code, count in part.items()}
    assert {code: told[code] for code in table["code"]} == table["code"].value_counts().to_dict()
    assert manifest["options"]["circle_minutes"] == [5.0, 10.0, 15.0]
    assert set(manifest["outputs"]) == {"map", "workbook", "briefing"}
    assert {"travel_times", "after", "briefing"} <= set(manifest["seconds"])


def test_running_again_gives_the_same_bytes(made, capsys):
    assert main(["verify", str(made / "out")]) == 0
    assert "一致" in capsys.readouterr().out


def test_what_differs_is_said(made, tmp_path, capsys):
    for path in made.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "out").mkdir()
    for path in (made / "out").iterdir():
        (tmp_path / "out" / path.name).write_bytes(path.read_bytes())
    ledger = gpd.read_file(tmp_path / "facilities.gpkg").assign(floor_area_m2=100.0)
    ledger.to_file(tmp_path / "facilities.gpkg")
    (tmp_path / "out" / "map.html").write_text("not the map", encoding="utf-8")
    text = TOML + "[travel]\nleg_limit_m = 400\n"
    (tmp_path / "county.toml").write_text(text, encoding="utf-8")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    manifest["packages"]["shapely"] = "1.8"
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = fc.verify(tmp_path / "out")
    named = set(zip(found["what"], found["name"], strict=True))
    assert named == {
        ("output changed", "map.html"),
        ("input changed", "facilities.gpkg"),
        ("package changed", "shapely"),
        ("setting differs", "leg_limit_m"),
        ("result differs", "map.html"),
        ("result differs", "coverage.xlsx"),
        ("result differs", "briefing.html"),
    }
    setting = found.set_index("name").loc["leg_limit_m"]
    assert (setting["was"], setting["now"]) == ("500.0", "400")
    (tmp_path / "county.toml").rename(tmp_path / "moved.toml")
    with pytest.raises(MissingInputError, match="name it with county="):
        fc.verify(tmp_path / "out")
    options = ["--county", str(tmp_path / "moved.toml")]
    assert main(["verify", str(tmp_path / "out"), *options]) == 1
    assert "input changed: facilities.gpkg" in capsys.readouterr().out


def test_all_files_of_a_layer_and_the_plan_are_watched(made, tmp_path):
    """The table of a Shapefile lies beside it; two inputs may be called the same."""
    gpd.read_file(made / "units.gpkg").to_file(tmp_path / "units.shp", encoding="UTF-8")
    for name in ("facilities", "roads"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.gpkg").write_bytes((made / f"{name}.gpkg").read_bytes())
    assert main(["new-plan", "--out", str(tmp_path / "plan.toml"), "--from", "luanping-2025"]) == 0
    text = TOML.replace("units.gpkg", "units.shp").replace("luanping-2025", "plan.toml")
    for name in ("facilities", "roads"):
        text = text.replace(f"{name}.gpkg", f"{name}/a.gpkg")
    (tmp_path / "county.toml").write_text(text, encoding="utf-8")
    fc.run_county(fc.read_county(tmp_path / "county.toml"))
    assert fc.verify(tmp_path / "out").empty
    for name in ("units.dbf", "plan.toml", "roads/a.gpkg"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"\n")
    found = fc.verify(tmp_path / "out")
    changed = found.loc[found["what"] == "input changed", "name"]
    assert changed.tolist() == ["units.dbf", "a.gpkg (roads)", "plan.toml"]


@pytest.mark.parametrize("text", ["{", "[]", '{"made_on": "2025-01-01"}', '{"made_on": 5}'])
def test_a_wrong_manifest_is_named(tmp_path, text, capsys):
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="this is no manifest of a run"):
        fc.verify(tmp_path)
    assert main(["verify", str(tmp_path / "nowhere")]) == 1
    assert "there is no manifest.json" in capsys.readouterr().err
