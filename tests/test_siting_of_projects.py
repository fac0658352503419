"""Siting the village projects: a hand-worked valley, quotas checked after the fact, wrong input."""

from __future__ import annotations

import dataclasses
import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import facility_coverage as fc
from facility_coverage.errors import InfeasibleError
from facility_coverage.standards import Alternative, Standard

CRS = "EPSG:32650"
SERVICE = "comprehensive_service"

# Seven villages along a road, 1 km apart and walked in 15 minutes; one of them by itself:
#
#   甲 ── 乙 ── 丙 ── 丁 ── 戊     己 ── 庚           people 100, 200, 300, 400, 500; 600, 700
#   0     1     2     3     4      14    15 km         households 100 each, 己 300, 庚 unknown
#
# 甲 has a facility of 300 m²: room for 1,000 households. 庚's is closed. Minutes allowed: 15.
AT = dict(zip("甲乙丙丁戊己庚", (0, 1, 2, 3, 4, 14, 15), strict=True))
CODES = {name: f"13082410020{n}" for n, name in enumerate(AT)}
EAST, NORTH = 500_000.0, 4_500_000.0


def point(metres, north=0.0):
    return shapely.Point(EAST + metres, NORTH + north)


def line(*metres):
    return shapely.LineString(
        [point(*each) if isinstance(each, tuple) else point(each) for each in metres]
    )


@pytest.fixture(scope="module")
def valley():
    units = fc.read_units(
        gpd.GeoDataFrame(
            {
                "unit_code": list(CODES.values()),
                "name": [f"{name}村" for name in AT],
                "residents": [100, 200, 300, 400, 500, 600, 700],
                "elderly": [10, 90, 10, 10, 10, 10, 10],
                "households": [100, 100, 100, 100, 100, 300, None],
            },
            geometry=[point(1000 * x).buffer(500, cap_style="square") for x in AT.values()],
            crs=CRS,
        )
    )
    demand = fc.read_demand(
        gpd.GeoDataFrame(
            {"unit_code": units["unit_code"], "residents": units["residents"]},
            geometry=[point(1000 * x) for x in AT.values()],
            crs=CRS,
        ),
        units,
    )
    facilities = fc.read_facilities(
        gpd.GeoDataFrame(
            {
                "facility_id": ["A", "G"],
                "name": ["A", "G"],
                "kind": SERVICE,
                "unit_code": [CODES["甲"], CODES["庚"]],
                "floor_area_m2": [300.0, 250.0],
                "hours_per_day": [8.0, 8.0],
                "status": ["在用", "停用"],
            },
            geometry=[point(0), point(15_000)],
            crs=CRS,
        )
    )
    edges = gpd.GeoDataFrame(
        {
            "u": [0, 2],
            "v": [1, 3],
            "length_m": [4500.0, 1500.0],
            "oneway": [False, False],
            "highway": ["residential"] * 2,
        },
        geometry=[
            line(-200, 4_300),
            line(13_800, 15_300),
        ],
        crs=CRS,
    )
    nodes = pd.DataFrame(
        {"node_id": range(4), "x": [EAST + x for x in (-200, 4_300, 13_800, 15_300)], "y": NORTH}
    )
    return units, demand, facilities, fc.RoadNetwork(edges, nodes)


RURAL = Standard(
    SERVICE,
    "rural",
    (Alternative("walk", 15.0),),
    min_floor_area_m2=200.0,
    min_hours_per_day=8.0,
    on_ledger=True,
    target_share=5 / 7 - 1e-9,
)


@pytest.fixture(scope="module")
def assessed(valley):
    def report(*, target=0.71, **changes):
        units, demand, facilities, roads = valley
        units, facilities = changes.get("units", units), changes.get("facilities", facilities)
        plan = fc.Plan(
            "valley",
            "谷",
            "valley",
            "",
            2020,
            2025,
            (dataclasses.replace(RURAL, target_share=target),),
        )
        access = fc.travel_times(units, facilities, roads, plan, demand=demand)
        return fc.assess(units, facilities, access, plan)

    return report


def covered(report):
    states = report.verdicts.set_index("name")["ledger_state"]
    return {name[0] for name in states.index[states == "covered"]}


def due(projects):
    chosen = projects[projects["in_quota"]]
    return {name[0]: nature for name, nature in zip(chosen["name"], chosen["nature"], strict=True)}


def test_one_building_serves_its_neighbours(assessed, valley):
    report = assessed()
    assert covered(report) == {"甲"}
    roads = valley[3]
    # 71 % of seven is five: four more. 乙 shares A; a building in 丁 serves 丙, 丁 and 戊.
    projects = fc.propose_projects(report, roads)
    assert due(projects) == {"乙": "sharing", "丙": "sharing", "丁": "new_build", "戊": "sharing"}
    assert projects.attrs["siting"]["works"] == 1
    rows = projects.set_index("name")
    assert rows.loc["乙村", "host_facility_id"] == "A"
    assert rows.loc["丙村", "host_unit_code"] == CODES["丁"]
    assert rows.loc["丁村", "serves"] == ";".join(CODES[name] for name in "丙丁戊")
    assert rows.loc["丁村", "planned_floor_area_m2"] == 200
    after = fc.apply_projects(report, projects, roads)
    assert covered(after) == set("甲乙丙丁戊")
    assert projects["cumulative_units"].max() == 4
    assert projects["cumulative_people"].max() == 200 + 300 + 400 + 500
    assert projects["cumulative_share"].max() == pytest.approx(5 / 7)


def test_a_facility_without_room_is_shared_by_nobody(assessed, valley):
    units, _, facilities, roads = valley
    # A of 200 m² has room for 666 households; 甲's own 600 leave none for 乙's hundred.
    crowded = units.assign(households=units["households"].where(units["name"] != "甲村", 600))
    small = facilities.assign(
        floor_area_m2=facilities["floor_area_m2"].where(facilities["facility_id"] != "A", 200.0)
    )
    projects = fc.propose_projects(assessed(units=crowded, facilities=small), roads)
    assert projects.attrs["siting"]["works"] == 2
    assert (projects["host_facility_id"] != "A").all()
    # 200 m² have room for 666 households: three villages of a hundred, two of three hundred.
    full = units.assign(households=units["households"].fillna(0).clip(lower=300).astype("Int64"))
    rows = fc.propose_projects(assessed(units=full), roads)
    assert rows.attrs["siting"]["works"] == 2


def test_a_closed_facility_reopens_for_whom_no_one_else_can_serve(assessed, valley):
    # 97 % is all seven.
    projects = fc.propose_projects(assessed(target=0.97), valley[3])
    natures = due(projects)
    assert natures["庚"] == "extension"
    assert natures["己"] == "sharing"
    after = fc.apply_projects(assessed(target=0.97), projects, valley[3])
    assert covered(after) == set(AT) | {"庚"}


COSTS = {
    "new_build": (10.0, 0.1),
    "extension": (50.0, 0.0),
    "sharing": (1.0, 0.0),
    "operation": (1.0, 0.0),
}


def test_least_cost_is_what_trying_everything_finds(assessed, valley):
    report, roads = assessed(target=0.97), valley[3]
    found = fc.site_candidates(report, roads, fc.shortfalls(report), costs=COSTS)
    reach, cost = found.reach.toarray(), found.table["cost"].to_numpy()
    best = min(
        cost[list(chosen)].sum()
        for size in range(1, 6)
        for chosen in itertools.combinations(range(len(cost)), size)
        if reach[:, list(chosen)].any(axis=1).all()
    )
    projects = fc.propose_projects(report, roads, costs=COSTS)
    assert projects.loc[projects["in_quota"], "cost"].sum() == pytest.approx(best)
    assert projects["cumulative_cost"].max() == pytest.approx(best)


def test_a_budget_buys_most_people_or_most_elderly(assessed, valley):
    report, roads = assessed(), valley[3]
    # One work, and any agreements: the building at 丁 brings 1,200 people, that of 庚 1,300.
    most = fc.propose_projects(report, roads, budget=1)
    assert due(most) == {"乙": "sharing", "己": "sharing", "庚": "extension"}
    elderly = fc.propose_projects(report, roads, budget=1, objective="equity")
    assert "丁" in due(elderly)  # 90 by agreement, 30 by the building, 20 at 庚
    spent = fc.propose_projects(report, roads, costs=COSTS, budget=31)
    assert spent.loc[spent["in_quota"], "cost"].sum() <= 31
    frontier = fc.cost_frontier(report, roads, budgets=[0, 1, 2])
    assert frontier["people_gained"].tolist() == [200, 1500, 2700]
    assert frontier["works"].tolist() == [0, 1, 2]
    assert frontier["share"].tolist() == pytest.approx([2 / 7, 4 / 7, 1.0])


def test_best_value_takes_what_gains_most_for_its_cost(assessed, valley):
    report, roads = assessed(), valley[3]
    # By 10,000 yuan: 乙 shares A 200 people, a building at 丁 (30) 40, reopening 庚 (50) 26.
    for quota, names in ((1, "乙"), (2, "乙丙丁戊"), (5, "乙丙丁戊己庚")):
        projects = fc.propose_projects(
            report, roads, costs=COSTS, objective="best_value", quota=quota
        )
        assert set(due(projects)) == set(names)
        assert np.isnan(projects.attrs["siting"]["gap"])  # nothing is optimised
    projects = fc.propose_projects(report, roads, costs=COSTS, objective="best_value", budget=40)
    assert set(due(projects)) == set("乙丙丁戊")
    with pytest.raises(InfeasibleError, match="at most 6 can be served"):
        fc.propose_projects(report, roads, costs=COSTS, objective="best_value", quota=7)


def test_what_is_shared_is_reached_with_minutes_to_spare(assessed, valley):
    report, roads = assessed(), valley[3]
    # 乙 reaches A in 15.0 of 15 minutes: with one to spare nothing is near enough to share.
    projects = fc.propose_projects(report, roads, spare_minutes=1.0)
    assert len(due(projects)) == 4
    assert "sharing" not in due(projects).values()
    assert projects.attrs["siting"]["works"] == 4
    with pytest.raises(fc.InputError, match="spare_minutes= must be minutes"):
        fc.propose_projects(report, roads, spare_minutes=-1)


def test_what_is_locked_is_done_and_what_is_forbidden_is_not(assessed, valley):
    report, roads = assessed(), valley[3]
    locked = fc.propose_projects(report, roads, locked=[CODES["戊"]])
    assert due(locked)["戊"] == "new_build"
    banned = fc.propose_projects(report, roads, forbidden=[CODES["丁"]])
    assert due(banned).get("丁") != "new_build"
    with pytest.raises(fc.InputError, match=r"locked= names no candidate: nobody"):
        fc.propose_projects(report, roads, locked=["nobody"])


def test_sites_of_ones_own(assessed, valley):
    report, roads = assessed(), valley[3]
    sites = gpd.GeoDataFrame(
        {"cost": [7.0, 90.0], "planned_floor_area_m2": [500.0, 200.0]},
        geometry=[point(3_100), point(3_200)],
        crs=CRS,
        index=["school", "market"],
    )
    found = fc.site_candidates(report, roads, fc.shortfalls(report), sites=sites, costs=COSTS)
    built = found.table[found.table["nature"] == "new_build"]
    assert built["candidate"].tolist() == [
        f"new_build:{CODES['丁']}:school",
        f"new_build:{CODES['丁']}:market",
    ]
    assert built["cost"].tolist() == [7.0, 90.0]
    projects = fc.propose_projects(report, roads, candidates=sites, costs=COSTS)
    chosen = projects.set_index("name").loc["丁村"]
    assert (chosen["cost"], chosen["planned_floor_area_m2"]) == (7.0, 500.0)
    assert chosen.geometry.equals(point(3_100))


def test_a_road_link_competes_with_buildings(assessed, valley):
    report, roads = assessed(target=0.97), valley[3]
    # A bridge over the gap brings nobody within fifteen minutes; a short cut from 戊 to A does.
    cut = gpd.GeoDataFrame(
        {"name": ["short cut"], "cost": [1.0]},
        geometry=[line(4_000, (4_000, 1), (0, 1), 0)],
        crs=CRS,
        index=["cut"],
    )
    found = fc.site_candidates(report, roads, fc.shortfalls(report), links=cut)
    link = found.table["nature"] == "road_link"
    assert link.sum() == 1
    assert not found.reach[:, np.flatnonzero(link)].toarray().any()  # four kilometres are too far
    plain = fc.propose_projects(report, roads, links=cut)
    assert "road_link" not in set(plain["nature"])
    # 己 and 庚 are a kilometre from a second facility, across a gap of the road.
    units, demand, facilities, _ = valley
    other = facilities.assign(
        geometry=[point(0), point(15_000)],
        status=["in_use", "closed"],
    )
    near = pd.concat(
        [other, other.iloc[[0]].assign(facility_id="X", unit_code=None)], ignore_index=True
    )
    near.loc[2, "geometry"] = point(13_300)
    lane = gpd.GeoDataFrame(
        {"u": [4], "v": [5], "length_m": [300.0], "oneway": [False], "highway": ["residential"]},
        geometry=[line(13_000, 13_300)],
        crs=CRS,
    )
    joined = fc.RoadNetwork(
        pd.concat([roads.edges, lane], ignore_index=True),
        pd.concat(
            [
                roads.nodes,
                pd.DataFrame({"node_id": [4, 5], "x": [EAST + 13_000, EAST + 13_300], "y": NORTH}),
            ],
            ignore_index=True,
        ),
    )
    plan = dataclasses.replace(
        report.plan, standards=(dataclasses.replace(RURAL, target_share=0.85),)
    )
    access = fc.travel_times(units, near, joined, plan, demand=demand, leg_limit_m=100.0)
    before = fc.assess(units, near, access, plan)
    bridge = gpd.GeoDataFrame(geometry=[line(13_300, 13_800)], crs=CRS, index=["bridge"])
    projects = fc.propose_projects(
        before, joined, links=bridge, forbidden=[CODES["庚"], CODES["己"]]
    )
    assert "road_link" in set(projects["nature"])
    after = fc.apply_projects(before, projects, joined, links=bridge)
    assert "己" in covered(after)
    with pytest.raises(fc.InputError, match="pass links="):
        fc.apply_projects(before, projects, joined)


def test_a_quota_that_cannot_be_met_says_who_cannot_be_served(assessed, valley):
    report, roads = assessed(target=0.97), valley[3]
    # 己 is a kilometre from G, which is closed, and 14 km from A, to which no road leads.
    with pytest.raises(
        InfeasibleError, match=r"at most 4 can be served.*庚村（[0-9]+, no facility"
    ):
        fc.propose_projects(report, roads, forbidden=[CODES["庚"], CODES["己"]])
    # Only 乙 may build: 丁 is 3,000 m from A, at 4 km/h 45 minutes where 15 are allowed.
    with pytest.raises(InfeasibleError, match=r"丁村（[0-9]+, 30\.0 min too far）"):
        fc.propose_projects(
            report, roads, forbidden=[code for name, code in CODES.items() if name not in "甲乙"]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "cheapest"}, "objective must be one of"),
        ({"objective": "most_people"}, "give budget="),
        ({"objective": "least_cost"}, "needs costs="),
        ({"objective": "best_value"}, "give costs="),
        ({"objective": "best_value", "costs": COSTS, "budget": 1, "quota": 1}, "not both"),
        ({"objective": "fewest_sites", "budget": 5}, "leave budget= out"),
        ({"budget": 5, "quota": 3}, "leave quota= out"),
        ({"costs": {"new_build": (1.0, 0.0)}}, "says nothing of extension, sharing"),
    ],
)
def test_options_that_do_not_fit(assessed, valley, options, message):
    with pytest.raises(fc.InputError, match=message):
        fc.propose_projects(assessed(), valley[3], **options)


# --- years --------------------------------------------------------------------------------------


def test_years_in_equal_steps_and_by_budgets(assessed, valley):
    report, roads = assessed(target=0.97), valley[3]
    projects = fc.propose_projects(report, roads, costs=COSTS)
    tasks = fc.annual_tasks(projects, report)
    # Six projects over five years: by the end of the years 2, 3, 4, 5, 6.
    assert tasks["year"].tolist() == [2021, 2021, 2022, 2023, 2024, 2025]
    costs = projects.loc[projects["in_quota"], "cost"].tolist()
    paid = fc.annual_tasks(projects, report, budgets={2021: sum(costs) - 50, 2025: 50})
    assert paid.groupby("year")["cost"].sum().le([sum(costs) - 50, 50]).all()
    assert paid["year"].notna().all()
    poor = fc.annual_tasks(projects, report, budgets={2022: 1.0})
    assert (poor["year"].isna() == (poor["cost"] > 1)).all()
    with pytest.raises(fc.InputError, match="years are 2021 to 2025"):
        fc.annual_tasks(projects, report, budgets={2026: 1.0})


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample_meets_its_targets_when_all_is_done(report, projects, roads):
    after = fc.apply_projects(report, projects, roads)
    rates = after.rates.query("basis == 'ledger' and measure == 'units'")
    rates = rates.set_index(["kind", "setting"])
    assert rates.loc[(SERVICE, "rural"), ["total", "missing"]].tolist() == [199, 0]
    assert rates.loc[("resettlement_service", "resettlement"), "missing"] == 0
    # Whom the siting counts is who gains, no more and no fewer.
    gained = fc.compare(report, after).units.query("basis == 'ledger' and change == 'gained'")
    gained = gained[gained["kind"] == SERVICE]
    assert len(gained) == projects["cumulative_units"].max() >= 40
    assert set(gained["cause"]) == {"facility"}
    done = projects[projects["in_quota"] & (projects["units_gained"] > 0)]
    assert set(gained["unit_code"]) == set(done["unit_code"])
    assert gained["people_gained"].sum() == pytest.approx(projects["cumulative_people"].max())
    # A building for each of the forty would be eight times the works.
    assert projects.attrs["siting"]["works"] <= 5
    assert projects.attrs["siting"]["gap"] == 0


def test_half_of_the_projects_do_half(report, projects, roads):
    some = projects.assign(in_quota=projects["in_quota"] & (projects["project"] == "resettlement"))
    after = fc.apply_projects(report, some, roads)
    rates = after.rates.query("kind == @SERVICE and setting == 'rural' and measure == 'units'")
    gained = some.loc[some["in_quota"], "units_gained"].sum()
    assert rates.loc[rates["basis"] == "ledger", "covered"].item() == 120 + gained
