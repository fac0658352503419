"""The whole line from one TOML, and the command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from openpyxl import load_workbook

import facility_coverage as fc
from facility_coverage.__main__ import main
from facility_coverage.errors import ConfigError, MissingInputError

TOML = """
name = "滦平县"
plan = "luanping-2025"
lang = "en"

[files]
units = "units.gpkg"
demand = "hamlets.gpkg"
facilities = "ledger.xlsx"
roads = "roads.gpkg"

[circles]
kind = "day_care"
minutes = [10, 20]

[outputs]
folder = "out"
"""


@pytest.fixture
def folder(tmp_path, county):
    names = {
        "units.gpkg": county.units,
        "hamlets.gpkg": county.demand,
        "ledger.xlsx": county.facilities,
        "roads.gpkg": county.roads,
    }
    for name, path in names.items():
        shutil.copy(path, tmp_path / name)
    (tmp_path / "county.toml").write_text(TOML, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_run_writes_map_workbook_and_manifest(folder, capsys):
    assert main(["run", str(folder / "county.toml")]) == 0
    printed = capsys.readouterr().out
    assert "120" in printed
    assert "not met" in printed
    assert "map.html" in printed
    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "briefing.html",
        "coverage.xlsx",
        "manifest.json",
        "map.html",
    ]
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["rows"]["units"] == 213
    assert set(manifest["inputs"]) == {"units", "demand", "facilities", "roads"}
    assert "示例数据" in manifest["stamp"]


@pytest.mark.slow
def test_closed_roads_and_travel_options_of_a_county(folder, roads, report):
    middle = roads.edges.geometry.iloc[[int(np.argmax(roads.edges["highway"] == "secondary"))]]
    middle.centroid.buffer(3000).to_frame("geometry").to_file(folder / "flood.gpkg")
    text = TOML.replace(
        "[circles]", 'closures = "flood.gpkg"\n[travel]\nleg_limit_m = 50\n[circles]'
    )
    (folder / "county.toml").write_text(text, encoding="utf-8")
    run = fc.run_county(fc.read_county(folder / "county.toml"))
    assert len(run.report.roads) != len(report.roads)
    assert run.report.access.options["leg_limit_m"] == 50
    far = [(one.access.table["reason"] == "off_network").sum() for one in (report, run.report)]
    assert far[0] < far[1]
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert "closures" in manifest["inputs"]
    assert manifest["options"]["leg_limit_m"] == 50
    text = text.replace("leg_limit_m = 50", 'leg_limit_m = "50 m"')
    (folder / "county.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[travel\]: 'leg_limit_m' must be int or float"):
        fc.read_county(folder / "county.toml")


COSTS = """
[projects]
objective = "best_value"
quota = 20
[projects.costs]  # illustrative
new_build = [20, 0.25]
extension = [5, 0.15]
sharing = 1
operation = [2, 0]
internal_refit = [3, 0.05]
rent_purchase = [1, 0.1]
[projects.annual_budgets]
2021 = 300
2025 = 900
[circles]
"""


@pytest.mark.slow
def test_costs_budgets_and_sites_of_a_county(folder, units):
    sites = units.loc[units["setting"] == "rural", ["unit_code", "geometry"]].head(40)
    sites.set_geometry(sites.representative_point()).to_file(folder / "sites.gpkg")
    text = TOML.replace("[circles]", f'sites = "sites.gpkg"{COSTS}').replace(
        "sharing = 1\n", "sharing = [1, 0]\n"
    )
    (folder / "county.toml").write_text(text, encoding="utf-8")
    run = fc.run_county(fc.read_county(folder / "county.toml"))
    siting = run.projects.attrs["siting"]
    assert (siting["objective"], siting["quota"]) == ("best_value", 20)
    assert run.projects["cost"].notna().any()
    assert set(run.tasks["year"].dropna()) <= {2021, 2025}
    spent = run.tasks.groupby("year")["cost"].sum()
    assert spent[2021] <= 300
    assert spent.sum() <= 1_200
    new = run.projects[run.projects["nature"] == "new_build"]
    chosen = new[new["in_quota"] & (new["project"] == "village")]
    assert set(chosen["unit_code"]) <= set(sites["unit_code"])
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert "sites" in manifest["inputs"]
    assert manifest["options"]["project_options"]["costs"]["new_build"] == [20, 0.25]


@pytest.mark.slow
def test_demo_equals_the_ten_calls(tmp_path, report, capsys):
    assert main(["demo", "--out", str(tmp_path), "--lang", "zh"]) == 0
    printed = capsys.readouterr().out
    assert "未达标" in printed
    assert "示例数据" in printed
    sheet = load_workbook(tmp_path / "coverage.xlsx")["覆盖率"]
    table = list(sheet.iter_rows(min_row=5, values_only=True))
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    method = load_workbook(tmp_path / "coverage.xlsx")["口径与来源"]
    told = {cell for row in method.iter_rows(values_only=True) for cell in row}
    assert {each["sha256"] for each in manifest["inputs"].values()} <= told
    shares = [row[8] for row in table[: len(report.rates)]]
    assert shares == pytest.approx(report.rates["share"].tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("facilities =", "faciltiies ="),
            r"\[files\]: unknown key 'faciltiies'; did you mean 'facilities'",
        ),
        (('plan = "luanping-2025"', ""), "'plan' is missing"),
        (('lang = "en"', 'lang = "fr"'), "lang must be 'zh' or 'en'"),
        (
            ('kind = "day_care"', 'knd = "clinic"'),
            r"\[circles\]: unknown key 'knd'; did you mean 'kind'",
        ),
        (('kind = "day_care"', "minutes = 15"), "not valid TOML"),
        (('name = "滦平县"', "name = 5"), "'name' must be str, not 5"),
        (("[files]", "[files"), "not valid TOML"),
        (
            ("[circles]", COSTS),
            r"\[projects.costs\]: sharing must be \[fixed cost, cost per m²\]",
        ),
        (
            ("[circles]", "[projects.costs]\nnew_bild = [1, 1]\n[circles]"),
            r"\[projects.costs\]: unknown key 'new_bild'; did you mean 'new_build'",
        ),
        (
            ("[circles]", "[projects.annual_budgets]\nnext = 1\n[circles]"),
            r"\[projects.annual_budgets\]: 'next' is no year",
        ),
    ],
)
def test_a_wrong_county_file_names_the_key_and_the_nearest_right_one(
    folder, change, message, capsys
):
    file = folder / "county.toml"
    file.write_text(TOML.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        fc.read_county(file)
    assert main(["run", str(file)]) == 1
    assert "county.toml" in capsys.readouterr().err


def test_circles_of_a_kind_the_plan_does_not_know(folder, capsys):
    file = folder / "county.toml"
    file.write_text(TOML.replace('kind = "day_care"', 'kind = "cinema"'), encoding="utf-8")
    assert main(["run", str(file)]) == 1
    assert "knows no kind 'cinema'; it knows comprehensive_service" in capsys.readouterr().err


def test_a_missing_file_is_named(folder, capsys):
    (folder / "ledger.xlsx").rename(folder / "ledger2.xlsx")
    assert main(["run", str(folder / "county.toml")]) == 1
    assert "did you mean 'ledger2.xlsx'" in capsys.readouterr().err
    with pytest.raises(MissingInputError):
        fc.read_county(folder / "other.toml")


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_said_so(folder, capsys):
    (folder / "out").write_text("a file stands where the folder should")
    assert main(["run", str(folder / "county.toml")]) == 1
    assert "map.html: cannot be written" in capsys.readouterr().err


def test_check_tells_what_each_file_is_and_what_is_wrong(county, tmp_path, capsys):
    files = [county.facilities, county.units, county.demand, county.roads]
    roles = [fc.checking.file_role(path) for path in files]
    assert roles == ["facilities", "units", "demand", "roads"]
    assert main(["check", *map(str, files)]) == 0
    told = capsys.readouterr().out
    assert "luanping_units.gpkg: 读取行数 213  采用行数 213" in told
    assert "[错误]" not in told

    broken = tmp_path / "ledger.csv"
    broken.write_text(
        "设施名称,设施类型,经度,纬度\n甲,加油站,117.3,x\n乙,药店,117.33311,40.94111\n"
    )
    (tmp_path / "torn.gpkg").write_bytes(b"torn")
    names = [str(broken), str(tmp_path / "torn.gpkg"), str(tmp_path / "none.shp")]
    out = tmp_path / "report.xlsx"
    assert main(["check", *names, "--datum", "wgs84", "--lang", "en", "--out", str(out)]) == 1
    told = capsys.readouterr().out
    assert "[error] ledger.csv · 2 · facility kind · “加油站”" in told
    assert "[error] ledger.csv · 2 · longitude · “117.3, x”" in told
    assert "torn.gpkg" in told
    assert "none.shp" in told
    assert "rows read 2  rows accepted 1  rows set aside 1" in told
    assert out.is_file()
    # Demand points cannot be told without the units they belong to.
    assert main(["check", str(county.demand)]) == 1
    assert "请把村（社区）边界文件一并列入" in capsys.readouterr().out


def test_check_reads_a_county_as_a_run_would(county, tmp_path, capsys):
    (tmp_path / "county.toml").write_text(
        f"""
        name = "x"
        plan = "circle-15"
        strict = true
        [files]
        units = "{county.units}"
        demand = "{county.demand}"
        facilities = "{county.facilities}"
        roads = "{county.roads}"
        [columns.facilities]
        name = "没有这列"
        """,
        encoding="utf-8",
    )
    assert main(["check", str(tmp_path / "county.toml")]) == 1
    told = capsys.readouterr().out
    assert "luanping_units.gpkg: 读取行数 213" in told
    assert "columns= names a column that is not there" in told
