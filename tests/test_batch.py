"""Many counties on Dask: as runs of their own, as a joint run at the borders, resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from pandas.testing import assert_frame_equal

import facility_coverage as fc
from facility_coverage import batch
from facility_coverage.errors import ConfigError, InputError

from .towns import CRS, network

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::facility_coverage.errors.IntakeWarning")
LOOPBACK = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
PLAN = """
plan_id = "test"
name_zh = "规划"
name_en = "plan"
source = "test"
baseline_year = 2020
target_year = 2025

[[standards]]
kind = "comprehensive_service"
setting = "all"
alternatives = [{ mode = "walk", minutes = 20 }]
min_floor_area_m2 = 200
on_ledger = true
target_share = 0.8
source = "test"

[[standards]]
kind = "clinic"
setting = "all"
alternatives = [{ mode = "walk", minutes = 15 }]
source = "test"

[project_rules]
deadline = 2025
village_floor_area_m2 = 200
floor_area_per_100_households_m2 = 30
activity_share = 0.6
new_urban_floor_area_m2 = 500
estate_built_until = 2000
"""
BROKEN_NAME = '{{ 7 * 7 }}</script><img src="x">县'


@pytest.fixture(scope="module")
def bench():
    """The generator of the benchmark: scripts beside each other, not a package."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import province  # noqa: PLC0415

        yield province
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def province(bench, tmp_path_factory):
    """Three counties of 6 × 17 km and 2.5 km around: farther than one walks in 20 minutes."""
    folder = tmp_path_factory.mktemp("province")
    plan = folder / "plan.toml"
    plan.write_text(PLAN, encoding="utf-8")
    return bench.build(folder, counties=3, nodes=4_800, units=60, buffer_m=2_500, plan=str(plan))


@pytest.fixture(scope="module")
def client():
    with distributed.Client(processes=False, n_workers=1, **LOOPBACK) as one:
        yield one


@pytest.fixture(scope="module")
def run(province, client, tmp_path_factory):
    return batch.run_province(province.inputs, tmp_path_factory.mktemp("run"), client=client)


def whole(inputs, table):
    """Give a county's table as it is to stand in the province's."""
    return table.assign(county_code=inputs.county_code, county_name=inputs.name)


def files_of(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in {"log.json", "manifest.json"}
    }


def test_a_county_is_as_in_a_run_of_its_own(bench, province, run):
    assert run.computed == tuple(each.county_code for each in province.inputs)
    assert len(run.failures) == 0
    for inputs in province.inputs[:1]:
        report = bench.alone(inputs)
        projects = fc.propose_projects(report, report.roads)
        own = {"verdicts": report.verdicts, "rates": report.rates, "projects": projects}
        for what, found in own.items():
            table = batch.read_province(run.out, what)
            table = table[table["county_code"] == inputs.county_code].reset_index(drop=True)
            left, right = (pd.DataFrame(each) for each in (table, whole(inputs, found)))
            if what == "projects":
                moved = gpd.GeoSeries(right.pop("geometry").to_numpy(), crs=report.units.crs)
                there = gpd.GeoSeries(left.pop("geometry").to_numpy(), crs="EPSG:4326")
                there = there.to_crs(moved.crs)
                assert there.geom_equals_exact(moved, 1e-3).all()
            words = [name for name in left if str(left[name].dtype) == "string"]
            right = right[left.columns].astype(dict.fromkeys(words, "string"))
            left.attrs = right.attrs = {}
            assert_frame_equal(left, right)


def test_a_county_leaves_its_trail(province, run):
    inputs = province.inputs[0]
    done = json.loads((run.out / "done" / f"{inputs.county_code}.json").read_text("utf-8"))
    assert (
        done["rows_read"]["units"]["read"]
        == len(fc.read_units(inputs.units))
        == done["rows"]["units"]
    )
    assert done["rows_read"]["roads"]["read"] == len(fc.read_roads(inputs.roads))
    assert done["operations"][0]["from"] == done["crs"]["measured_in"]
    assert done["run"]["inputs"]["roads"]["sha256"]


def test_at_the_border_it_is_as_in_a_joint_run(bench, province, run):
    found = bench.compare(province, run.out)
    assert found["rows_of_pair"] > 80
    assert found["rows_unlike_own_run"] == 0
    assert found["rows_unlike_joint_run"] == 0
    assert found["minutes_unlike_joint_run"] == 0
    verdicts = batch.read_province(run.out, "verdicts")
    owner = province.facilities.set_index("facility_id")["unit_code"].str[:6]
    served = owner.reindex(verdicts["facility_id"]).to_numpy()
    assert (pd.notna(served) & (served != verdicts["county_code"].to_numpy())).any()


def test_without_the_surroundings_it_is_not(bench, province, client, tmp_path):
    cut = batch.partition_roads(province.roads, province.outlines, tmp_path / "cut", buffer_m=0)
    inputs = [replace(each, roads=cut["roads"][n]) for n, each in enumerate(province.inputs[:2])]
    out = tmp_path / "out"
    run = batch.run_province(inputs, out, client=client, projects=False)
    assert len(run.failures) == 0
    joint = bench.joint(province, [each.county_code for each in inputs])
    verdicts = batch.read_province(out, "verdicts")
    assert bench.differing(verdicts, joint, bench.COMPARED) > 0


def test_a_broken_county_is_told_and_stops_no_other(province, client, tmp_path):
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"no table")
    broken = replace(province.inputs[1], facilities=bad, name=BROKEN_NAME)
    told = []
    run = batch.run_province(
        [province.inputs[0], broken],
        tmp_path / "out",
        client=client,
        projects=False,
        progress=lambda *each: told.append(each),
    )
    code = broken.county_code
    assert run.computed == (province.inputs[0].county_code,)
    assert run.failures[["county_code", "step", "error"]].to_numpy().tolist() == [
        [code, "facilities", "InputError"]
    ]
    assert "bad.parquet" in run.failures["message"].iloc[0]
    assert json.loads((run.out / "failures.json").read_text("utf-8"))[0]["county_code"] == code
    assert sorted(each[1:] for each in told) == [("computed", 1, 2), ("failed", 2, 2)]
    table = batch.ranking(run.out)
    assert table["state"].tolist() == ["done", "failed"]
    assert table["rank"].isna().tolist() == [False, True]
    page = batch.province_map(run.out, outlines=province.outlines).get_root().render()
    assert "{{ 7 * 7 }}&lt;/script&gt;" in page
    assert '<img src="x">' not in page
    assert 'src="http' not in page
    assert 'href="http' not in page.replace('href="https://leafletjs.com"', "")
    with pytest.raises(InputError, match="no county has projects"):
        batch.read_province(run.out, "projects")


def test_resuming_computes_only_what_changed(province, client, tmp_path):
    units = tmp_path / "units.parquet"
    units.write_bytes(province.inputs[0].units.read_bytes())
    inputs = [replace(province.inputs[0], units=units), province.inputs[1]]
    codes = [each.county_code for each in inputs]

    def again(**options):
        asked = {"client": client, "projects": False, **options}
        run = batch.run_province(inputs, tmp_path / "out", **asked)
        assert sorted(run.computed + run.kept) == codes
        return list(run.computed)

    assert again() == codes
    assert again() == []
    table = gpd.read_parquet(units)
    table.assign(residents=table["residents"] + 1).to_parquet(units)
    assert again() == codes[:1]
    part = tmp_path / "out" / "rates" / f"county={codes[1]}" / "part.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    assert again() == codes[1:]
    inputs[1] = replace(inputs[1], settings=replace(inputs[1].county, travel_options={}))
    assert again() == []
    options = {"leg_limit_m": 300.0}
    inputs[1] = replace(inputs[1], settings=replace(inputs[1].county, travel_options=options))
    assert again() == codes[1:]
    del inputs[0], codes[0]
    assert again() == []
    assert again(resume=False) == codes


def test_an_interrupted_run_can_be_resumed(province, client, tmp_path):
    def interrupt(*_told):
        raise KeyboardInterrupt

    asked = {"client": client, "projects": False}
    inputs = province.inputs[:2]
    with pytest.raises(KeyboardInterrupt):
        batch.run_province(inputs, tmp_path, progress=interrupt, **asked)
    assert len(batch.ranking(tmp_path).query("state == 'not run'")) >= 1
    run = batch.run_province(inputs, tmp_path, **asked)
    assert len(run.kept) >= 1
    assert len(run.kept) + len(run.computed) == 2
    assert batch.ranking(tmp_path)["state"].eq("done").all()


def test_two_runs_give_the_same_bytes(province, client, run, tmp_path):
    batch.run_province(province.inputs[::-1], tmp_path / "again", client=client)
    files = files_of(run.out)
    assert len(files) == 3 * 5 + 2
    assert files_of(tmp_path / "again") == files


def test_a_province_is_verified(province, client, tmp_path):
    """What differs is said, by county, and why; what is the same is not."""
    units = tmp_path / "units.parquet"
    units.write_bytes(province.inputs[0].units.read_bytes())
    out, inputs = tmp_path / "out", (replace(province.inputs[0], units=units), province.inputs[1])
    batch.run_province(inputs, out, client=client, projects=False)
    told = []
    assert fc.verify(out, client=client, progress=told.append).empty
    codes = [each.county_code for each in inputs]
    assert sorted(told) == codes
    table = gpd.read_parquet(units)
    table.assign(residents=table["residents"] + 1).to_parquet(units)
    part = out / "rates" / f"county={codes[1]}" / "part.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    found = fc.verify(out, client=client)
    assert {*found[["what", "name"]].itertuples(index=False, name=None)} == {
        ("output changed", f"{codes[1]}: rates"),
        ("input changed", f"{codes[0]}: units"),
        ("result differs", f"{codes[0]}: units"),
        ("result differs", f"{codes[0]}: verdicts"),
    }
    units.write_bytes(b"no table")
    found = fc.verify(out, client=client).set_index(["what", "name"])
    row = found.loc[("result differs", codes[0])]
    assert row["was"] == "missing"
    assert "units.parquet" in row["now"]
    memory = [replace(each, settings=each.county) for each in inputs[1:]]
    batch.run_province(memory, out, client=client, projects=False)
    with pytest.raises(ConfigError, match=f"settings of {codes[1]} were made in memory"):
        fc.verify(out, client=client)
    assert fc.verify(out, county=memory, client=client).empty
    (out / "manifest.json").write_text('{"counties": [{}], "propose_projects": true}', "utf-8")
    with pytest.raises(ConfigError, match=r"manifest\.json is none of a run"):
        fc.verify(out, client=client)


def test_a_quota_that_cannot_be_met_leaves_the_verdicts(province, client, tmp_path):
    inputs = province.inputs[0]
    settings = replace(inputs.county, project_options={"quota": 10_000})
    inputs = replace(inputs, settings=settings)
    for state in ("computed", "kept"):
        run = batch.run_province([inputs], tmp_path, client=client)
        assert getattr(run, state) == (inputs.county_code,)
        assert run.failures[["step", "error"]].to_numpy().tolist() == [
            ["projects", "InfeasibleError"]
        ]
    assert len(batch.read_province(tmp_path, "verdicts")) > 0


def test_a_siting_without_a_proof_is_told(province, run, client, tmp_path, monkeypatch):
    assert run.unproven == ()
    propose = batch.county_projects

    def at_the_limit(*given, **options):
        table = propose(*given, **options)
        table.attrs["siting"] |= {"gap": 0.19, "limit": "nodes"}
        return table

    monkeypatch.setattr(batch, "county_projects", at_the_limit)
    inputs = province.inputs[:1]
    for _ in range(2):  # computed, then kept
        assert batch.run_province(inputs, tmp_path, client=client).unproven == ("130121",)


def test_counties_of_a_folder_and_of_a_table(province, tmp_path):
    one = province.inputs[0]
    text = f"""
        name = "县"
        plan = "plan.toml"
        [files]
        units = "{one.units}"
        facilities = "{one.facilities}"
        roads = "{one.roads}"
        [travel]
        leg_limit_m = 300
    """
    (tmp_path / "130102.toml").write_text(text, encoding="utf-8")
    (tmp_path / "plan.toml").write_text(fc.plans.plan_template("circle-15"), encoding="utf-8")
    (found,) = batch.read_counties(tmp_path)
    assert (found.county_code, found.name, found.demand) == ("130102", "县", None)
    assert found.county.travel_options == {"leg_limit_m": 300}
    assert found.files["plan"] == tmp_path / "plan.toml"
    table = batch.read_counties(one.units.parents[1] / "counties.csv")
    assert table == province.inputs


def test_all_faults_of_a_list_come_at_once(province, tmp_path):
    one = province.inputs[0]
    row = {name: getattr(one, name) for name in ("county_code", "name", "units", "facilities")}
    row |= {"roads": one.roads, "plan": one.plan}
    rows = [row, row, row | {"county_code": "../x"}, row | {"county_code": "1", "units": "no.gpkg"}]
    rows += [row | {"county_code": "2", "plan": "no-plan"}, row | {"county_code": "3", "name": ""}]
    pd.DataFrame(rows).to_csv(tmp_path / "counties.csv", index=False, encoding="gb18030")
    with pytest.raises(InputError) as caught:
        batch.read_counties(tmp_path / "counties.csv")
    words = str(caught.value)
    for told in ("there once", "letters and digits", "no.gpkg", "no-plan", "name is given"):
        assert told in words
    assert len(caught.value.findings) == 5
    pd.DataFrame(rows).drop(columns=["roads", "plan"]).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(InputError, match=r"column roads(.|\n)*column plan"):
        batch.read_counties(tmp_path / "few.csv")


def test_preflight_reads_headers_only(province):
    inputs = [province.inputs[0], replace(province.inputs[1], units=Path("/no/such.gpkg"))]
    table = batch.preflight(inputs)
    roads = fc.read_roads(inputs[0].roads)
    assert table["road_edges"].iloc[0] == len(roads)
    assert table["units"].iloc[0] == len(gpd.read_parquet(inputs[0].units))
    assert table["bytes"].iloc[0] == sum(p.stat().st_size for p in inputs[0].files.values())
    assert table["seconds"].iloc[0] > 0
    assert table["megabytes"].iloc[0] > 100
    assert table["problem"].str.contains("such.gpkg").tolist() == [False, True]


def test_edges_that_only_far_roads_join_are_told(tmp_path):
    # A county of two streets, joined by a bow that leaves it by 5 km.
    nodes = [(0, 0), (1000, 0), (1000, 500), (0, 500), (6000, 0), (6000, 500)]
    rows = [(0, 1), (2, 3), (1, 4), (4, 5), (5, 2)]
    roads = network([(u, v, False, "residential") for u, v in rows], nodes)
    box = shapely.box(-10, -10, 1010, 510)
    county = gpd.GeoDataFrame({"county_code": ["1"]}, geometry=[box], crs=CRS)
    for buffer_m, edges, off in ((100.0, 4, 2), (6000.0, 5, 0)):
        cut = batch.partition_roads(roads, county, tmp_path, buffer_m=buffer_m)
        assert cut[["edges", "edges_cut_off"]].iloc[0].tolist() == [edges, off]
        assert len(fc.read_roads(cut["roads"].iloc[0])) == edges
    moved = county.set_geometry(county.translate(1e6))
    with pytest.raises(InputError, match="no road lies in or near 1"):
        batch.partition_roads(roads, moved, tmp_path, buffer_m=1.0)


def test_facilities_without_a_place_stay_with_their_county(tmp_path):
    own, other = "130102100201", "130103100201"
    rows = [  # number, unit, status, host, place
        ("inside", own, "in_use", None, (500, 500)),
        ("near", other, "in_use", None, (1500, 500)),
        ("far", other, "in_use", None, (9000, 500)),
        ("nowhere", own, "in_use", None, None),
        ("sharing", own, "shared", "host", None),
        ("host", other, "in_use", None, (9000, 900)),
    ]
    table = gpd.GeoDataFrame(
        [row[:4] for row in rows],
        columns=["facility_id", "unit_code", "status", "served_by"],
        geometry=[shapely.Point(*row[4]) if row[4] else None for row in rows],
        crs=CRS,
    ).assign(kind="clinic", name="卫生室")
    box = shapely.box(0, 0, 1000, 1000)
    county = gpd.GeoDataFrame({"county_code": ["130102"]}, geometry=[box], crs=CRS)
    cut = batch.partition_facilities(table, county, tmp_path, buffer_m=1000.0)
    kept = fc.read_facilities(cut["facilities"].iloc[0])
    assert kept["facility_id"].tolist() == ["inside", "near", "nowhere", "sharing", "host"]
    assert kept["status"].tolist() == ["in_use", "in_use", "in_use", "shared", "in_use"]
    assert cut["rows_outside"].tolist() == [2]


@pytest.mark.slow
def test_dead_workers_lose_nothing_and_a_killer_is_found(province, tmp_path):
    killer = replace(province.inputs[1], name="killer")
    inputs = [province.inputs[0], killer, province.inputs[2]]

    class Poison(distributed.WorkerPlugin):
        def setup(self, worker):  # noqa: ARG002
            read = batch.assess_county

            def deadly(county, *rest):
                if county.name == "killer":
                    os._exit(1)
                return read(county, *rest)

            batch.assess_county = deadly

    killed = []
    with (
        dask.config.set(batch._DASK),
        distributed.LocalCluster(n_workers=2, host="127.0.0.1", **LOOPBACK) as cluster,
        distributed.Client(cluster) as client,
    ):

        def kill(*_told):
            if not killed:
                pids = client.run(os.getpid).values()
                killed.extend(pids)
                os.kill(killed[0], signal.SIGKILL)

        run = batch.run_province(province.inputs, tmp_path / "a", client=client, progress=kill)
        assert killed
        assert len(run.failures) == 0
        assert len(run.computed) == 3
        client.register_plugin(Poison())
        run = batch.run_province(inputs, tmp_path / "b", client=client)
    assert run.computed == (inputs[0].county_code, inputs[2].county_code)
    assert run.failures[["county_code", "step", "error"]].to_numpy().tolist() == [
        [killer.county_code, "worker", "KilledWorker"]
    ]


@pytest.mark.slow
def test_the_default_cluster_is_closed_and_gives_the_same(province, run, tmp_path):
    alike = batch.run_province(province.inputs, tmp_path)
    assert len(alike.computed) == 3
    assert files_of(tmp_path) == files_of(run.out)
    log = json.loads((tmp_path / "log.json").read_text("utf-8"))
    assert all(each["seconds"] > 0 for each in log.values())
    assert not multiprocessing.active_children()
