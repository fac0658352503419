"""The same line on real OpenStreetMap extracts."""

from __future__ import annotations

import dataclasses
import re

import geopandas as gpd
import numpy as np
import osmium
import pytest
import shapely

import facility_coverage as fc


def run_line(units, pbf, tmp_path):
    plan = fc.load_plan("circle-15")
    facilities = fc.read_facilities(pbf)
    roads = fc.read_roads(pbf)
    access = fc.travel_times(units, facilities, roads, plan)
    report = fc.assess(units, facilities, access, plan)
    projects = fc.propose_projects(report, roads)
    circles = fc.isochrones(facilities, roads, kind="school")
    fc.coverage_map(report, circles=circles, projects=projects, kind="school", lang="en").save(
        tmp_path / "map.html"
    )
    fc.write_workbook(report, projects, tmp_path / "coverage.xlsx", lang="en")
    return report


def check(report, tmp_path):
    html = (tmp_path / "map.html").read_text("utf-8")
    assert not re.search(r"""<(script|link|img|iframe)\b[^>]*(src|href)\s*=""", html)
    assert "© OpenStreetMap contributors" in html
    assert "homes assumed evenly along the streets" in html
    rates = report.rates
    known = rates[rates["measure"] == "units"]
    assert (known["covered"] + known["uncovered"] + known["unknown"] == known["total"]).all()
    # Nobody says how many live there: people are unknown, not 0.
    assert rates.loc[rates["measure"] == "people", ["covered", "total"]].isna().all(axis=None)
    assert set(report.demand["source"]) == {"assumed"}
    times = report.demand_verdicts["minutes"]
    assert times.min() >= 0
    assert times.max() < 1000
    lost = report.demand_verdicts["minutes"].isna()
    assert (report.demand_verdicts.loc[lost, "reason"] != "").all()


def test_helsinki(helsinki_pbf, tmp_path):
    roads = fc.read_roads(helsinki_pbf)
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    middle_x = (low_x + high_x) / 2
    boxes = [
        shapely.box(low_x, low_y, middle_x, high_y),
        shapely.box(middle_x, low_y, high_x, high_y),
    ]
    units = fc.read_units(
        gpd.GeoDataFrame(
            {"unit_code": ["W", "E"], "name": ["west", "east"], "setting": "urban"},
            geometry=boxes,
            crs=roads.crs,
        )
    )
    report = run_line(units, helsinki_pbf, tmp_path)
    check(report, tmp_path)
    assert len(report.facilities) == 211
    assert report.rates.query("kind == 'supermarket' and measure == 'units'")["covered"].sum() >= 1


def test_osm_places_equal_an_independent_count(helsinki_pbf):
    class Count(osmium.SimpleHandler):
        found = 0

        def node(self, item):
            self.found += item.tags.get("amenity") == "pharmacy"

        way = node

    handler = Count()
    handler.apply_file(str(helsinki_pbf))
    facilities = fc.read_facilities(helsinki_pbf)
    assert (facilities["kind"] == "pharmacy").sum() == handler.found > 5


def test_liechtenstein(liechtenstein, tmp_path):
    frame = gpd.read_file(liechtenstein / "boundaries.geojson").query("lvl == '8'")
    frame = frame.assign(
        unit_code=frame["name"], setting=np.where(frame["km2"] < 10, "rural", "urban")
    )
    units = fc.read_units(frame)
    assert len(units) == 11
    report = run_line(units, liechtenstein / "liechtenstein.osm.pbf", tmp_path)
    check(report, tmp_path)
    assert 5_000 < len(report.roads.nodes) < 10_000
    flags = report.access.snaps["walk"].flag
    assert np.isin(flags.astype(str), ["", "joined_main"]).mean() > 0.99
    schools = report.rates.query(
        "kind == 'school' and setting == 'rural' and measure == 'units'"
    ).iloc[0]
    assert (schools["covered"], schools["total"]) == (5, 5)
    assert len(report.roads.edges) == pytest.approx(7_843, rel=0.01)


def test_liechtenstein_from_baseline_to_target(liechtenstein):
    """A plan for town halls there: 80 % of the rural municipalities, all of the others."""
    frame = gpd.read_file(liechtenstein / "boundaries.geojson").query("lvl == '8'")
    setting = np.where(frame["km2"] < 10, "rural", "urban")
    units = fc.read_units(frame.assign(unit_code=frame["name"], setting=setting))
    facilities = fc.read_facilities(liechtenstein / "liechtenstein.osm.pbf")
    roads = fc.read_roads(liechtenstein / "liechtenstein.osm.pbf")
    kept = gpd.sjoin(facilities[["geometry"]], units[["unit_code", "geometry"]].to_crs(4326))
    facilities["unit_code"] = kept["unit_code"][~kept.index.duplicated()].reindex(facilities.index)
    plan = fc.load_plan("circle-15")
    standards = tuple(
        dataclasses.replace(
            each, on_ledger=True, target_share={"rural": 0.8, "urban": 1.0}[each.setting]
        )
        if each.kind == "comprehensive_service"
        else each
        for each in plan.standards
    )
    plan = dataclasses.replace(plan, standards=standards)
    access = fc.travel_times(units, facilities, roads, plan)
    before = fc.assess(units, facilities, access, plan)
    projects = fc.propose_projects(before, roads)
    after = fc.apply_projects(before, projects, roads)

    def missing(report):
        rates = report.rates.query(
            "kind == 'comprehensive_service' and basis == 'ledger' and measure == 'units'"
        )
        return rates.set_index("setting")["missing"].to_dict()

    assert missing(before)["rural"] == 4  # 80 % of five
    assert missing(before)["urban"] > 0
    assert missing(after) == {"rural": 0, "urban": 0}
