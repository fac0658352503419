"""What hangs on one facility or bridge: against closing each and assessing the county anew."""

from __future__ import annotations

import warnings
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import facility_coverage as fc
from facility_coverage.errors import InputError
from facility_coverage.fragility import bridge_fragility, fragility, marked_bridges
from facility_coverage.standards import Alternative, Standard
from facility_coverage.terms import labels

from . import split_graph
from .towns import CRS, network, towns

CLINIC, SCHOOL, CARE, POLICE = "clinic", "school", "day_care", "police_room"
KINDS = [CLINIC, SCHOOL, "market", CARE, POLICE, "fitness_ground"]


@pytest.fixture(scope="module")
def town_plan(plan):
    """Every rule a standard can have, with limits that fit a town of two kilometres."""
    walk, motor = (
        lambda minutes, mode=mode: Alternative(mode, minutes) for mode in ("walk", "motor")
    )
    standards = (
        Standard(CLINIC, "rural", (walk(9.0), motor(2.5))),
        Standard(CLINIC, "urban", (walk(9.0),), unit_share=0.7),
        Standard(SCHOOL, "all", (walk(20.0), Alternative("bicycle", 4.0)), (SCHOOL, "market")),
        Standard(CARE, "all", (walk(12.0), motor(2.5)), capacity_m2_per_100_households=30.0),
        Standard(POLICE, "all", (motor(3.0),), direction="from_facility", population="elderly"),
        Standard(
            "fitness_ground",
            "all",
            (walk(2.0), Alternative("walk", metres=500.0, measure="straight"),
             Alternative("walk", metres=700.0, measure="network")),
        ),
    )  # fmt: skip
    return replace(plan, standards=standards, groups=(), indicators=(), promises=())


# Small coordinates in metres would be taken for degrees.
EAST, NORTH = 400_000.0, 4_500_000.0


def put_on_the_map(roads):
    """Give the same roads where the projection has its middle."""
    edges = roads.edges.set_geometry(roads.edges.geometry.translate(EAST, NORTH))
    nodes = roads.nodes.assign(x=roads.nodes["x"] + EAST, y=roads.nodes["y"] + NORTH)
    return fc.RoadNetwork(edges, nodes)


def place(xy):
    return shapely.Point(xy[0] + EAST, xy[1] + NORTH)


def county_of(roads, homes, sites, *, kinds, residents, area=60.0):
    """Give units (west and east), facilities and demand points of a town."""
    units = gpd.GeoDataFrame(
        {
            "unit_code": ["W", "E"],
            "name": ["west", "east"],
            "setting": ["rural", "urban"],
            "households": [40, 70],
        },
        geometry=[
            shapely.box(EAST + low, NORTH - 2500, EAST + high, NORTH + 2500)
            for low, high in ((-500, 950), (950, 2500))
        ],
        crs=roads.crs,
    )
    units = fc.read_units(units)
    demand = demand_of(["W" if x < 950 else "E" for x, _ in homes], homes, residents)
    facilities = facilities_of(sites, kinds, area)
    return units, facilities, fc.read_demand(demand, units)


def facilities_of(sites, kinds, area=60.0):
    names = [f"F{number}" for number in range(len(sites))]
    table = {"facility_id": names, "name": names, "kind": kinds, "status": "在用"}
    return fc.read_facilities(
        gpd.GeoDataFrame(
            {**table, "floor_area_m2": area, "hours_per_day": 8.0},
            geometry=[place(xy) for xy in sites],
            crs=CRS,
        )
    )


def demand_of(unit_code, homes, residents):
    elderly = [each / 4 for each in residents]
    return gpd.GeoDataFrame(
        {"unit_code": unit_code, "residents": residents, "elderly": elderly},
        geometry=[place(xy) for xy in homes],
        crs=CRS,
    )


def assessed(units, facilities, demand, roads, plan, **options):
    with warnings.catch_warnings():
        access = fc.travel_times(
            units, facilities, roads, plan, demand=demand, area_spacing_m=3000.0, **options
        )
        return fc.assess(units, facilities, access, plan)


def without_facility(report, facility_id):
    """Assess the county again with one facility closed."""
    facilities = report.access.facilities
    gone = facilities["facility_id"] == facility_id
    closed = facilities.assign(status=facilities["status"].mask(gone, "closed"))
    return assessed(
        report.units, closed, report.demand, report.roads, report.plan,
        leg_limit_m=report.access.options["leg_limit_m"],
    )  # fmt: skip


def states(report):
    """Give who is covered, by kind and demand point, and whom each stands for."""
    table = report.demand_verdicts
    group = {each.kind: each.population for each in report.plan.standards}
    home = pd.Index(report.demand["demand_id"]).get_indexer(table["demand_id"])
    people = np.zeros(len(table))
    for kind, population in group.items():
        count = report.demand[population].to_numpy(dtype=float, na_value=np.nan)
        people = np.where(table["kind"] == kind, count[home], people)
    return table.assign(covered=table["state"] == "covered", people=people)


def expected_fragility(report):
    """Close each facility in turn and compare, in plain pandas."""
    before = states(report)
    unit_before = report.verdicts.set_index(["kind", "unit_code"])["reachable_state"]
    sole = np.zeros(len(before), dtype=bool)
    flipped = {}
    for facility_id in report.facilities["facility_id"]:
        again = without_facility(report, facility_id)
        after = states(again)
        lost = (before["covered"] & ~after["covered"]).to_numpy()
        sole |= lost
        unit_after = again.verdicts.set_index(["kind", "unit_code"])["reachable_state"]
        people = before[lost].groupby(["kind", "unit_code"])["people"].sum()
        for key in unit_before.index[(unit_before == "covered") & (unit_after != "covered")]:
            flipped.setdefault(key, {})[facility_id] = people.get(key, 0.0)
    alone = before[sole].groupby(["kind", "unit_code"])["people"].sum()
    return alone, flipped


def check_fragility(report, table):
    alone, flipped = expected_fragility(report)
    verdicts = report.verdicts.set_index(["kind", "unit_code"])
    applies = verdicts["reachable_state"] != "not_applicable"
    assert len(table) == applies.sum()
    for row in table.itertuples():
        key = (row.kind, row.unit_code)
        assert row.state == verdicts.loc[key, "reachable_state"]
        # Nobody has counted the people of a unit without demand points.
        unknown = np.isnan(verdicts.loc[key, "people_covered"])
        people = np.nan if unknown else alone.get(key, 0.0)
        assert row.people_sole == pytest.approx(people, nan_ok=True)
        if row.state != "covered":
            assert pd.isna(row.flips)
            assert pd.isna(row.fragile_facility_id)
            continue
        which = flipped.get(key, {})
        assert row.flips == bool(which)
        if which:
            assert row.fragile_facility_id in which
            people = np.nan if unknown else max(which.values())
            assert row.people_lost == pytest.approx(people, nan_ok=True)
            assert unknown or which[row.fragile_facility_id] == pytest.approx(people)
        else:
            assert pd.isna(row.fragile_facility_id)
            assert np.isnan(row.people_lost)


@st.composite
def small_counties(draw):
    roads, homes, sites = draw(towns())
    roads = put_on_the_map(roads)
    sites = [*sites, *homes[:3], sites[0]]
    kinds = [draw(st.sampled_from(KINDS)) for _ in sites]
    residents = [draw(st.sampled_from([0.0, 10.0, 25.0, 40.0])) for _ in homes]
    area = draw(st.sampled_from([6.0, 20.0, 60.0]))
    return roads, *county_of(roads, homes, sites, kinds=kinds, residents=residents, area=area)


@settings(max_examples=7, deadline=None)
@given(small_counties())
def test_equal_to_closing_each_facility_and_assessing_again(town_plan, town):
    roads, units, facilities, demand = town
    report = assessed(units, facilities, demand, roads, town_plan)
    check_fragility(report, fragility(report))


def test_the_sample_is_the_same_with_those_facilities_closed(report, plan):
    """Close some facilities that units hang on, and some that they do not."""
    kinds = ["comprehensive_service", "convenience_circle", "police_room"]
    some = replace(
        plan,
        standards=tuple(each for each in plan.standards if each.kind in kinds),
        groups=(),
        indicators=(),
        promises=(),
    )
    table = fragility(report, kinds=kinds)
    assert table["kind"].drop_duplicates().tolist() == kinds
    covered = table[table["state"] == "covered"]
    hanging, standing = covered[covered["flips"]], covered[~covered["flips"]]
    assert min(len(hanging), len(standing)) > 60
    before = report.verdicts.set_index(["kind", "unit_code"])
    picked = [*hanging.itertuples()][5::60], [*standing.itertuples()][9::90]
    for rows, flips in zip(picked, (True, False), strict=True):
        for row in rows:
            closed = row.fragile_facility_id if flips else row.facility_id
            gone = report.facilities["facility_id"] == closed
            facilities = report.access.facilities.assign(
                status=report.access.facilities["status"].mask(gone, "closed")
            )
            again = assessed(report.units, facilities, report.demand, report.roads, some)
            after = again.verdicts.set_index(["kind", "unit_code"])
            key = (row.kind, row.unit_code)
            assert (after.loc[key, "reachable_state"] != "covered") == flips
            lost = before.loc[key, "people_covered"] - after.loc[key, "people_covered"]
            assert lost <= row.people_sole + 1e-6
            if flips:
                assert lost == pytest.approx(row.people_lost)
                assert row.next_facility_id != row.facility_id


def test_what_must_always_hold(report):
    table = fragility(report)
    verdicts = report.verdicts[report.verdicts["reachable_state"] != "not_applicable"]
    rows = verdicts.reset_index(drop=True)
    for name, other in (("state", "reachable_state"), ("minutes", "minutes"), ("kind", "kind"),
                        ("facility_id", "facility_id"), ("unit_code", "unit_code")):  # fmt: skip
        pd.testing.assert_series_equal(table[name], rows[other], check_names=False)
    assert (table["people_sole"] <= rows["people_covered"] + 1e-6).all()
    assert (table["people_sole"] >= 0).all()
    there = table["next_minutes"].notna()
    assert (table["next_minutes"] >= table["minutes"])[there].all()
    assert (table["next_facility_id"] != table["facility_id"])[there].all()
    assert table["next_facility_id"].isna().equals(~there)
    assert table["flips"].isna().equals(table["state"] != "covered")
    flips = table["flips"].fillna(value=False).astype(bool)
    assert table["people_lost"].notna().equals(flips)
    assert table["fragile_facility_id"].notna().equals(flips)
    assert (table["people_lost"] <= table["people_sole"] + 1e-6)[flips].all()


# -- hand-worked -----------------------------------------------------------------------------------

# A street along a valley, 15 minutes a kilometre on foot, a clinic at 0, 2 and 4 km, and a bridge:
#   F0 0 ──── 1 km ──── 1 ──── 1 km ──── 2 F1 ══ bridge 0.4 km ══ 3 ──────── 1.6 km ──────── 4 F2
STREET = [(0, 0), (1000, 0), (2000, 0), (2400, 0), (4000, 0)]
PIECES = [(k, k + 1, False, "residential") for k in range(4)]
NAMED = {"bridge": ["no", None, "yes", None], "name": [None, "西街", "小河桥", None]}


def valley(plan, pieces=PIECES, nodes=STREET, *, homes=None, sites=None, rule=None, **columns):
    """By default three homes in the west (10, 20, 30 people) and two in the east (50, 40)."""
    options = {name: columns.pop(name) for name in ("engine", "area") if name in columns}
    roads = put_on_the_map(network(pieces, nodes, **columns))
    units = gpd.GeoDataFrame(
        {"unit_code": ["W", "E"], "name": ["west", "east"], "setting": "rural", "households": 50},
        geometry=[
            shapely.box(EAST + low, NORTH - 500, EAST + high, NORTH + 500)
            for low, high in ((-500, 2200), (2200, 4500))
        ],
        crs=CRS,
    )
    units = fc.read_units(units)
    homes = homes or {(100, 0): 10, (900, 0): 20, (1800, 0): 30, (2500, 0): 50, (3900, 0): 40}
    sites = sites or [(0, 0), (2000, 0), (4000, 0)]
    codes = ["W" if x < 2200 else "E" for x, _ in homes]
    demand = demand_of(codes, [*homes], [float(each) for each in homes.values()])
    demand = fc.read_demand(demand, units)
    facilities = facilities_of(sites, CLINIC, options.pop("area", 60.0))
    rule = rule or Standard(CLINIC, "all", (Alternative("walk", 15.0),))
    plan = replace(plan, standards=(rule,), groups=(), indicators=(), promises=())
    return assessed(units, facilities, demand, roads, plan, **options)


@pytest.fixture(scope="module")
def street(plan):
    return valley(plan, **NAMED)


def test_hand_worked_facilities(street):
    # Minutes to F0, F1, F2 from the homes at
    #   0.1 km: 1.5, 28.5, …;  0.9 km: 13.5, 16.5, …;  1.8 km: 27.0, 3.0, …;
    #   2.5 km: …, 7.5, 22.5;  3.9 km: …, 28.5, 1.5.
    # Everyone has one within 15 minutes, nobody two. In the west F0 and F1 have 30 of 60 each: half
    # is enough. In the east F1 has 50 of 90 and F2 40, less than half.
    table = fragility(street).set_index("unit_code")
    assert table["state"].tolist() == ["covered", "covered"]
    # Half of the west gets there in 3 minutes (10 people in 1.5), half of the east in 7.5.
    assert table["facility_id"].tolist() == ["F1", "F1"]
    assert table["minutes"].tolist() == pytest.approx([3.0, 7.5])
    assert table["next_facility_id"].tolist() == ["F0", "F2"]
    assert table["next_minutes"].tolist() == pytest.approx([27.0, 22.5])
    assert table["people_sole"].tolist() == [60, 90]
    assert table["flips"].tolist() == [False, True]
    assert table.loc["E", ["fragile_facility_id", "people_lost"]].tolist() == ["F1", 50]
    assert table.loc["W", ["fragile_facility_id", "people_lost"]].isna().all()


def test_of_several_facilities_the_one_most_people_depend_on(plan):
    rule = Standard(CLINIC, "all", (Alternative("walk", 15.0),), unit_share=0.9)
    table = fragility(valley(plan, rule=rule)).set_index("unit_code")
    # Now every facility makes its unit cease to be covered; in the west both have 30 people.
    assert table["fragile_facility_id"].tolist() == ["F0", "F1"]
    assert table["people_lost"].tolist() == [30, 50]
    table = fragility(valley(plan, rule=rule, sites=[(4000, 0), (2000, 0), (0, 0)]))
    assert table["fragile_facility_id"].tolist() == ["F1", "F1"]


def test_hand_worked_capacity(plan):
    # 25 households at 0.1 km, 15 at 0.4 and 10 at 0.9 go to F0, which has room for 25. If it
    # closed, those at 0.9 km would go to F1, 11 minutes away, and be covered, as none are now.
    rule = Standard(
        CLINIC, "all", (Alternative("walk", 16.6),), capacity_m2_per_100_households=30.0,
        unit_share=0.2,
    )  # fmt: skip
    homes = {(100, 0): 50, (400, 0): 30, (900, 0): 20}
    report = valley(plan, homes=homes, sites=[(0, 0), (2000, 0)], rule=rule, area=7.5)
    assert report.demand_verdicts["reason"].iloc[:3].tolist() == [
        "", "over_capacity", "over_capacity",
    ]  # fmt: skip
    west = fragility(report).set_index("unit_code").loc["W"]
    assert west[["people_sole", "facility_id", "next_facility_id"]].tolist() == [50, "F0", "F1"]
    # Half of them is lost, a fifth is gained: the unit is still covered by its share of 0.2.
    assert not west["flips"]
    strict = valley(plan, homes=homes, sites=[(0, 0), (2000, 0)], area=7.5,
                    rule=replace(rule, unit_share=0.3))  # fmt: skip
    assert fragility(strict).set_index("unit_code").loc["W", "flips"]
    # Without the first kilometre they join what follows: 20 people, 1.95 + 15 minutes, too far.
    lost = bridge_fragility(report, edges=[0]).set_index("unit_code").loc["W"]
    assert lost[["people_lost", "flips"]].tolist() == [50, True]


def test_hand_worked_bridge(street):
    # Without the bridge the home at 2.5 km has only F2, 22.5 minutes away.
    table = bridge_fragility(street)
    row = table.iloc[0]
    assert len(table) == 1
    assert row[["kind", "bridge", "edges", "road"]].tolist() == [CLINIC, 1, "2", "小河桥"]
    assert row[["unit_code", "state", "people_lost"]].tolist() == ["E", "covered", 50]
    assert row["flips"]
    assert row["geometry"].equals(street.roads.edges.geometry[2])
    assert table.crs == street.roads.crs
    assert table.attrs["note"].startswith("bridges taken away, one at a time: 1;")
    assert "1 座" in table.attrs["note_zh"]


def test_hand_worked_edges_that_homes_and_facilities_join(street):
    table = bridge_fragility(street, edges=[0, 1, 3, (1, 2)])
    rows = table[["bridge", "edges", "unit_code", "people_lost", "flips"]].to_numpy().tolist()
    assert rows == [
        # The home at 0.1 km and F0 are 1 km from any other road. That at 0.9 km walks 100 m to the
        # next, 1.95 minutes with the detour, and has 15 more to F1.
        [1, "0", "W", 30, False],
        # Without edge 1 the home at 1.8 km joins the bridge, 3.9 minutes from F1: nothing is lost.
        # Without edge 3 the home at 3.9 km has no road; that at 2.5 km has 7.95 minutes to F1.
        [3, "3", "E", 40, False],
        # The home at 1.8 km has no road; F1 joins edge 3 over 400 m, 7.8 + 1.5 minutes from 2.5 km.
        [4, "1, 2", "W", 30, False],
    ]


def test_a_parallel_carriageway_or_a_track_beside_it_stands_in(plan):
    beside = [*PIECES, (2, 3, False, "residential", [(2200, 150)])]
    report = valley(plan, beside)
    assert bridge_fragility(report, edges=[2]).empty  # 500 m instead of 400
    assert bridge_fragility(report, edges=[4]).empty
    assert bridge_fragility(report, edges=[(2, 4)])["people_lost"].tolist() == [50]
    # A detour of 1,240 m makes 20 minutes of the trip.
    report = valley(plan, [*PIECES, (2, 3, False, "residential", [(2200, 600)])])
    assert bridge_fragility(report, edges=[2])["people_lost"].tolist() == [50]


def test_along_ones_own_road_no_bridge_is_crossed(plan):
    rule = Standard(CLINIC, "all", (Alternative("walk", 8.0),))
    # F0 is 7.65 minutes away over the bridge, F1 7.8 along the home's own road; round by the end of
    # that road it would be 10.8.
    homes = {(2500, 0): 50}
    here = valley(plan, homes=homes, sites=[(1990, 0), (3020, 0)], rule=rule)
    assert here.demand_verdicts["facility_id"].iloc[-1] == "F0"
    assert bridge_fragility(here, edges=[2]).empty
    assert fragility(here).set_index("unit_code").loc["E", "people_sole"] == 0
    away = valley(plan, homes=homes, sites=[(1990, 0), (3050, 0)], rule=rule)
    assert bridge_fragility(away, edges=[2])["people_lost"].tolist() == [50]


@pytest.mark.parametrize(
    ("mode", "limit", "x", "lost"),
    [
        # The home walks 190 m to the street beside the bridge (3.705 minutes), then goes along it
        # 520 m to F1: 7.8 minutes on foot; round by its nearer end it would be 980 m.
        ("walk", 11.6, 2750, []),
        ("walk", 11.6, 2790, [50]),
        # By car 0.624 minutes; the lane drawn where the main road is would take longer.
        ("motor", 4.4, 2750, []),
        ("motor", 4.3, 2750, [50]),
    ],
)
def test_a_home_on_the_bridge_joins_the_street_beside_it(plan, mode, limit, x, lost):
    street = [(5, 6, False, "residential"), (5, 6, False, "primary"), (6, 4, False, "primary")]
    nodes = [*STREET, (2000, 300), (4000, 300)]
    rule = Standard(CLINIC, "all", (Alternative(mode, limit),))
    sites = [(1990, 0), (x, 300)]
    report = valley(
        plan, [*PIECES, *street], nodes, homes={(2230, 110): 50}, sites=sites, rule=rule
    )
    assert report.demand_verdicts["facility_id"].iloc[-1] == "F0"
    assert bridge_fragility(report, edges=[2])["people_lost"].tolist() == lost


def test_networkx_finds_the_same(street, plan):
    slow = valley(plan, **NAMED, engine="networkx")
    edges = [0, 1, 2, 3, (0, 2), (1, 2)]
    for ask, options in ((fragility, {}), (bridge_fragility, {"edges": edges})):
        pd.testing.assert_frame_equal(ask(slow, **options), ask(street, **options))


# -- bridges against networkx ----------------------------------------------------------------------


def places_without(shapes, roads, mode, gone):
    """Join points by brute force, and those on what is gone to the nearest edge that is not."""
    places = split_graph.join(shapes, roads, mode)
    there, back, _ = split_graph.prices(roads, mode)
    lines = np.asarray(roads.edges.geometry.array)
    usable = np.isfinite(there)
    whole = split_graph.nx.Graph(
        zip(roads.edges["u"][usable], roads.edges["v"][usable], strict=True)
    )
    pieces = [*split_graph.nx.connected_components(whole)]
    metres = [
        roads.edges["length_m"][usable & roads.edges["u"].isin(piece)].sum() for piece in pieces
    ]
    longest = min(range(len(pieces)), key=lambda k: (-metres[k], min(pieces[k])))
    on_main = usable & roads.edges["u"].isin(pieces[longest]).to_numpy()
    open_ = ~np.isin(np.arange(len(lines)), gone)
    for number, point in enumerate(shapes):
        if places[number] is None or places[number][0] not in gone:
            continue
        places[number] = None
        distances = shapely.distance(point, lines)
        for among in (on_main & open_, usable & open_):
            near = np.where(among, distances, np.inf)
            if near.min() <= 500:
                best = min(
                    np.flatnonzero(near == near.min()),
                    key=lambda edge: (lines[edge].wkb, there[edge], back[edge], edge),
                )
                line = lines[best]
                fraction = line.project(point) / line.length if line.length > 0 else 0.0
                places[number] = (int(best), fraction, float(near[best]))
                break
    return places


def minutes_without(report, way_mode, direction, gone):
    """Give minutes between homes and facilities, shape (homes, facilities), by networkx."""
    roads = report.roads
    tables = (report.demand.geometry, report.access.facilities.geometry)
    homes, sites = (places_without(list(each), roads, way_mode, gone) for each in tables)
    edges = roads.edges.assign(highway=roads.edges["highway"].mask(
        roads.edges.index.isin(gone), "construction"))  # fmt: skip
    closed = fc.RoadNetwork(edges, roads.nodes)
    if direction == "to_facility":
        return split_graph.trip_minutes(closed, way_mode, homes, sites)
    return split_graph.trip_minutes(closed, way_mode, sites, homes).T


def judged_without(report, gone):
    """Give who is covered without some edges, by kind: plain rules on networkx's minutes."""
    plan, facilities, demand = report.plan, report.access.facilities, report.demand
    setting = report.units.set_index("unit_code")["setting"]
    setting = setting[demand["unit_code"]].to_numpy()
    kinds = facilities["kind"].to_numpy()
    known = {}

    def minutes(standard, one):
        mode = plan.modes[one.mode]
        if one.measure == "straight":
            home, site = (each.geometry.get_coordinates().to_numpy() for each in
                          (demand, facilities))  # fmt: skip
            metres = np.hypot(*(home[:, None] - site[None]).transpose(2, 0, 1))
            return metres * 0.06 / mode.speed_kph
        if one.measure == "network":
            mode = replace(mode, leg_speed_kph=mode.speed_kph, speeds_kph={})
        key = (mode.key, standard.direction)
        if key not in known:
            known[key] = minutes_without(report, mode, standard.direction, gone)
        return known[key]

    covered = {}
    margin = np.inf
    for standard in plan.standards:
        applies = np.isin(setting, [standard.setting] if standard.setting != "all" else setting)
        passes = np.ones(len(demand), dtype=bool)
        for kind in standard.required_kinds:
            by_kind, chosen = [], np.full((2, len(demand)), np.inf)
            for one in standard.alternatives:
                table = np.where(kinds == kind, minutes(standard, one), np.inf)
                limit = one.limit_minutes(plan.modes)
                margin = min(margin, abs(table[np.isfinite(table)] - limit).min(initial=np.inf))
                by_kind.append(table.min(axis=1, initial=np.inf) <= limit)
                first = by_kind[-1] & np.isinf(chosen[0])
                chosen[:, first] = table.argmin(axis=1)[first], table.min(axis=1)[first]
            passes &= np.any(by_kind, axis=0)
            if standard.capacity_m2_per_100_households is not None:
                passes &= has_room(standard, report, passes, *chosen)
        covered.setdefault(standard.kind, np.zeros(len(demand), dtype=bool))[applies] = passes[
            applies
        ]
    return covered, margin


def has_room(standard, report, passes, facility, minutes):
    """Fill the facilities with households, nearest first."""
    demand, units = report.demand, report.units.set_index("unit_code")
    residents = demand["residents"].astype(float)
    total = residents.groupby(demand["unit_code"]).transform(lambda each: each.sum(skipna=False))
    with np.errstate(all="ignore"):
        households = units["households"].astype(float)[demand["unit_code"]].to_numpy() * (
            residents / total
        )
    need = (households * standard.capacity_m2_per_100_households / 100).to_numpy()
    room = report.access.facilities["floor_area_m2"].astype(float).to_numpy()
    fits = np.zeros(len(demand), dtype=bool)
    for one in np.unique(facility[passes]).astype(int):
        used = 0.0
        here = np.flatnonzero(passes & (facility == one))
        for home in here[np.lexsort((here, minutes[here]))]:
            used += need[home]  # what is not known makes all that follows unknown
            fits[home] = used <= room[one] * (1 + 1e-9)
    return fits


def expected_losses(report, gone, before):
    """Give {(kind, unit): (people lost, whether it ceases to be covered)}, and the margin."""
    after, margin = judged_without(report, gone)
    group = {each.kind: each.population for each in report.plan.standards}
    rules = {(each.kind, each.setting): each.unit_share for each in report.plan.standards}
    found = {}
    for kind in before:
        people = report.demand[group[kind]].to_numpy(dtype=float, na_value=np.nan)
        for unit in report.units.itertuples():
            here = (report.demand["unit_code"] == unit.unit_code).to_numpy()
            share = rules.get((kind, unit.setting), rules.get((kind, "all")))
            count = people[here]
            known = not np.isnan(count).any()
            weight = count if known and count.sum() > 0 else np.ones(count.size)
            was, now = before[kind][here], after[kind][here]
            needed = share * weight.sum() - 1e-9
            flips = weight[was].sum() >= needed > weight[now].sum()
            lost = count[was & ~now].sum() if known or not (was & ~now).any() else np.nan
            if lost != 0 or flips:
                found[kind, unit.unit_code] = (lost, flips)
    return found, margin


def check_bridges(report, table, groups):
    before, margin = judged_without(report, [])
    for kind, covered in before.items():
        table_of_kind = report.demand_verdicts[report.demand_verdicts["kind"] == kind]
        mine = table_of_kind.set_index("demand_id")["state"]
        mine = (mine == "covered").reindex(report.demand["demand_id"]).to_numpy()
        np.testing.assert_array_equal(mine, covered)
    verdicts = report.verdicts.set_index(["kind", "unit_code"])["reachable_state"]
    for number, gone in enumerate(groups, start=1):
        expected, least = expected_losses(report, [*gone], before)
        assume(min(margin, least) > 1e-6)
        rows = table[table["bridge"] == number].set_index(["kind", "unit_code"])
        assert set(rows.index) == set(expected)
        for key, (lost, flips) in expected.items():
            row = rows.loc[key]
            assert row["people_lost"] == pytest.approx(lost, nan_ok=True)
            if verdicts[key] == "covered":
                assert row["flips"] == flips
            else:
                assert pd.isna(row["flips"])


@settings(max_examples=7, deadline=None)
@given(small_counties(), st.data())
def test_bridges_equal_networkx_on_the_roads_without_them(town_plan, town, data):
    roads, units, facilities, demand = town
    report = assessed(units, facilities, demand, roads, town_plan)
    edge = st.integers(0, len(roads.edges) - 1)
    groups = [(data.draw(edge),) for _ in range(3)]
    groups.append(
        tuple(data.draw(st.sets(edge, min_size=2, max_size=4))) if len(roads) > 2 else (0,)
    )
    check_bridges(report, bridge_fragility(report, edges=groups), groups)


# -- bridges against closing the roads and assessing the county anew -------------------------------


def same_joins(report, again, gone):
    """Tell whether homes and facilities that do not join on what is gone join where they did."""
    lines, others = (np.asarray(each.roads.edges.geometry.array) for each in (report, again))
    for mode, joins in report.access.searches.joins.items():
        for before, after in zip(joins, again.access.searches.joins[mode], strict=True):
            stays = (before.edge >= 0) & ~np.isin(before.edge, gone)
            if (after.edge[stays] < 0).any():
                return False
            one = shapely.line_interpolate_point(
                lines[before.edge[stays]], before.fraction[stays], normalized=True
            )
            two = shapely.line_interpolate_point(
                others[after.edge[stays]], after.fraction[stays], normalized=True
            )
            if not (shapely.distance(one, two) < 1e-6).all():
                return False
    return True


def check_from_scratch(report, table, number, again):
    """Compare one bridge's rows with the verdicts on the roads without it."""
    keys = ["kind", "unit_code"]
    before, after = (each.verdicts.set_index(keys) for each in (report, again))
    was, now = states(report), states(again)
    lost = was[was["covered"] & ~now["covered"]].groupby(keys)["people"].sum()
    flips = (before["reachable_state"] == "covered") & (after["reachable_state"] != "covered")
    rows = table[table["bridge"] == number].set_index(keys)
    assert set(rows.index) == set(lost.index[lost > 0]) | set(flips.index[flips])
    for key, row in rows.iterrows():
        assert row["people_lost"] == pytest.approx(lost.loc[key])
        if row["state"] == "covered":
            assert row["flips"] == flips.loc[key]
    return len(rows)


@pytest.fixture(scope="module")
def two_banks(plan):
    """A town of blocks of 200 m on both sides of a river with three bridges, one of two edges."""
    nodes = [(200.0 * column, 200.0 * row) for row in range(12) for column in range(8)]
    number = {xy: at for at, xy in enumerate(nodes)}
    rows, bridge = [], []

    def road(a, b, marked=None, highway="residential"):
        rows.append((number[a], number[b], len(rows) % 7 == 0, highway))
        bridge.append(marked)

    for x, y in nodes:
        if x < 1400:
            road((x, y), (x + 200.0, y))
        if y < 2200 and y != 1000:
            road((x, y), (x, y + 200.0), None, "secondary" if x == 600 else "residential")
    for x, marked in ((200.0, "yes"), (600.0, "viaduct"), (1200.0, "是")):
        if x == 200:  # in two pieces, with a pier
            number[200.0, 1100.0] = len(nodes)
            nodes.append((200.0, 1100.0))
            road((x, 1000.0), (x, 1100.0), marked)
            road((x, 1100.0), (x, 1200.0), marked)
        else:
            road((x, 1000.0), (x, 1200.0), marked, "secondary")
    roads = put_on_the_map(network(rows, nodes, bridge=bridge))
    rng = np.random.default_rng(4)
    homes = [
        tuple(xy) for xy in rng.uniform((0, 0), (1400, 2200), (60, 2)) if abs(xy[1] - 1100) > 70
    ]
    sites = [tuple(xy) for xy in rng.uniform((0, 0), (1400, 900), (14, 2))]
    kinds = [KINDS[at % 6] for at in range(14)]
    town = county_of(
        roads, homes, sites, kinds=kinds, residents=rng.integers(1, 40, len(homes)).tolist()
    )
    walk, motor = (
        lambda minutes, mode=mode: Alternative(mode, minutes) for mode in ("walk", "motor")
    )
    standards = (
        Standard(CLINIC, "rural", (walk(16.0), motor(3.0)), unit_share=0.6),
        Standard(CLINIC, "urban", (walk(20.0),), unit_share=0.6),
        Standard(SCHOOL, "all", (walk(22.0), motor(4.0)), (SCHOOL, "market")),
        Standard(CARE, "all", (walk(25.0),), capacity_m2_per_100_households=30.0),
        Standard(POLICE, "all", (motor(4.0),), direction="from_facility", unit_share=0.8),
    )
    plan = replace(plan, standards=standards, groups=(), indicators=(), promises=())
    return assessed(*town, roads, plan, leg_limit_m=150.0)


def test_two_banks_from_scratch(two_banks):
    bridges = marked_bridges(two_banks.roads)
    assert [len(each) for each in bridges] == [2, 1, 1]
    random = np.random.default_rng(0).choice(len(two_banks.roads), 6, replace=False).tolist()
    both_others = (*bridges[0], *bridges[1])
    singles = [(edge,) for edge in random]
    groups = [*bridges, *singles, both_others, (*both_others, *bridges[2])]
    table = bridge_fragility(two_banks, edges=groups)
    by_itself = bridge_fragility(two_banks)
    pd.testing.assert_frame_equal(by_itself, table[table["bridge"] <= 3].reset_index(drop=True))
    compared = found = 0
    for number, gone in enumerate(groups, start=1):
        edges = two_banks.roads.edges.assign(access=None)
        edges.loc[[*gone], "access"] = "no"
        again = assessed(
            two_banks.units,
            two_banks.access.facilities,
            two_banks.demand,
            fc.RoadNetwork(edges, two_banks.roads.nodes),
            two_banks.plan,
            leg_limit_m=150.0,
        )
        if same_joins(two_banks, again, gone):
            found += check_from_scratch(two_banks, table, number, again)
            compared += 1
    assert compared == len(groups)
    assert found > 15
    assert table["flips"].any()
    # Across the river there is nothing: without all three bridges nobody is covered there.
    last = table[table["bridge"] == len(groups)]
    y = two_banks.demand.geometry.y - NORTH
    verdicts = two_banks.demand_verdicts
    beyond = verdicts["demand_id"].isin(two_banks.demand.loc[y > 1100, "demand_id"])
    lost = verdicts.loc[beyond & (verdicts["state"] == "covered"), "residents"].sum()
    assert last["people_lost"].sum() >= lost > 0


def test_helsinki_with_bridges_closed(helsinki_pbf, plan):
    roads = fc.read_roads(helsinki_pbf)
    bridges = marked_bridges(roads)
    assert len(bridges) == 5
    low_x, low_y, high_x, high_y = roads.edges.total_bounds
    rng = np.random.default_rng(2)
    middle = (low_x + high_x) / 2
    units = fc.read_units(
        gpd.GeoDataFrame(
            {"unit_code": ["W", "E"], "name": ["west", "east"], "setting": "urban"},
            geometry=[
                shapely.box(low_x, low_y, middle, high_y),
                shapely.box(middle, low_y, high_x, high_y),
            ],
            crs=roads.crs,
        )
    )
    # Homes beside the bridges too.
    near = np.concatenate([roads.edges.geometry[one[0]].coords for one in bridges])
    xy = np.concatenate(
        [
            rng.uniform((low_x, low_y), (high_x, high_y), (500, 2)),
            near + rng.normal(0, 60, near.shape),
        ]
    )
    inside = (xy >= (low_x, low_y)).all(axis=1) & (xy <= (high_x, high_y)).all(axis=1)
    xy = xy[inside]
    demand = gpd.GeoDataFrame(
        {
            "unit_code": np.where(xy[:, 0] < middle, "W", "E"),
            "residents": rng.integers(1, 50, len(xy)).astype(float),
        },
        geometry=gpd.points_from_xy(*xy.T),
        crs=roads.crs,
    )
    demand = fc.read_demand(demand, units)
    facilities = fc.read_facilities(helsinki_pbf)
    standards = (
        Standard("breakfast", "urban", (Alternative("walk", 2.0),)),
        Standard("pharmacy", "urban", (Alternative("walk", 6.0), Alternative("motor", 2.0))),
        Standard("market", "urban", (Alternative("bicycle", 4.0),), direction="from_facility"),
    )
    plan = replace(plan, standards=standards, groups=(), indicators=(), promises=())
    report = assessed(units, facilities, demand, roads, plan)
    busy = roads.edges.index[roads.edges["highway"].isin(["primary", "secondary"])][::40].tolist()
    table = bridge_fragility(report, edges=[*bridges, *busy])
    compared = found = 0
    for number, gone in enumerate([*bridges, *((edge,) for edge in busy)], start=1):
        lines = roads.edges.geometry.loc[[*gone]]
        closed = fc.close_roads(roads, lines, width_m=2e-4)
        again = assessed(units, facilities, demand, closed, plan)
        if same_joins(report, again, gone):
            found += check_from_scratch(report, table, number, again)
            compared += 1
    assert compared >= 5
    assert found > 3


# -- what is refused, and what is said where there is nothing to say -------------------------------


def test_marked_bridges():
    roads = network(PIECES, STREET)
    assert marked_bridges(roads) == []
    for values, expected in (
        (["yes", "no", True, False], [(0,), (2,)]),
        (["viaduct", "是", None, "1"], [(0, 1), (3,)]),
        ([np.nan, "", "否", "None"], []),
        ([1.0, 0.0, 1.0, 1.0], [(0,), (2, 3)]),
        ([["yes", "viaduct"], None, "NO", " "], [(0,)]),
    ):
        column = pd.Series(values, dtype=object)
        assert marked_bridges(network(PIECES, STREET, bridge=column)) == expected


def test_no_marked_bridge_is_not_all_well(street, plan):
    for columns in ({}, {"bridge": ["no", None, np.nan, ""]}):
        report = valley(plan, **columns)
        with pytest.warns(UserWarning, match="no road is marked as a bridge.*give edges="):
            table = bridge_fragility(report)
        assert table.empty
        assert table.crs == report.roads.crs
        assert "give edges=" in table.attrs["note"]
        assert "没有标为桥梁" in table.attrs["note_zh"]
        expected = bridge_fragility(street)
        assert table.columns.tolist() == expected.columns.tolist()
        assert table.dtypes["flips"] == "boolean"


def test_edges_can_be_labels_groups_or_a_mask(street):
    mask = street.roads.edges["bridge"] == "yes"
    tables = [
        bridge_fragility(street, edges=edges)
        for edges in (None, [2], np.array([2]), pd.Index([2]), [(2,)], [[2]], mask,
                      mask.to_numpy(), mask.tolist(), iter([2]))
    ]  # fmt: skip
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


@pytest.mark.parametrize(
    ("ask", "options", "message"),
    [
        (fragility, {"kinds": ["dragon"]}, r"kinds of the plan, not \['dragon'\]; it has clinic"),
        (fragility, {"kinds": "clinic"}, "must be a list of kinds of the plan, not 'clinic'"),
        (fragility, {"kinds": []}, "must be a list of kinds"),
        (bridge_fragility, {"kinds": ["dragon"]}, "it has clinic"),
        (bridge_fragility, {"edges": [2, 77, (1, 99)]}, "the roads have no edge 77, 99: edges are"),
        (bridge_fragility, {"edges": ["小河桥"]}, "no edge '小河桥'"),
        (bridge_fragility, {"edges": []}, "edges is empty"),
        (bridge_fragility, {"edges": [()]}, "no edge"),
        (bridge_fragility, {"edges": [True, False]}, "a mask of 2 for 4 edges"),
    ],
)
def test_what_means_nothing_is_refused(street, ask, options, message):
    with pytest.raises(InputError, match=message):
        ask(street, **options)


def test_a_kind_of_which_there_is_no_unit_or_no_facility(street, plan):
    standards = (
        Standard(CLINIC, "urban", (Alternative("walk", 15.0),)),  # both units are rural
        Standard("market", "rural", (Alternative("walk", 15.0),)),  # there is none
        Standard(CARE, "rural", (Alternative("walk", 15.0),), capacity_m2_per_100_households=30.0),
    )
    plan = replace(plan, standards=standards, groups=(), indicators=(), promises=())
    report = assessed(street.units, street.access.facilities, street.demand, street.roads, plan)
    table = fragility(report)
    assert table["kind"].tolist() == ["market", "market", CARE, CARE]
    assert table["people_sole"].tolist() == [0.0] * 4
    assert table[["facility_id", "next_facility_id", "next_minutes", "flips"]].isna().all(axis=None)
    assert bridge_fragility(report).empty


def test_people_who_are_not_counted_are_unknown_not_none(street):
    demand = street.demand.assign(residents=[10.0, np.nan, 30.0, 50.0, 40.0])
    report = assessed(street.units, street.access.facilities, demand, street.roads, street.plan)
    table = fragility(report).set_index("unit_code")
    assert table["people_sole"].isna().tolist() == [True, False]
    assert table.loc["W", "state"] == "covered"
    # Points count alike then: without F0 one of three is left, without F1 two.
    assert table.loc["W", "fragile_facility_id"] == "F0"
    assert table.loc["W", "flips"]
    assert np.isnan(table.loc["W", "people_lost"])
    rows = bridge_fragility(report, edges=[0, (1, 2)]).query("unit_code == 'W'")
    assert rows["people_lost"].isna().tolist() == [True, True]
    assert rows["flips"].tolist() == [True, False]
    # A third is enough: nobody can tell how many lose their cover, but somebody does.
    (rule,) = street.plan.standards
    lenient = replace(street.plan, standards=(replace(rule, unit_share=0.3),))
    report = assessed(street.units, street.access.facilities, demand, street.roads, lenient)
    rows = bridge_fragility(report, edges=[0])
    assert rows["people_lost"].isna().tolist() == [True]
    assert rows["flips"].tolist() == [False]


def test_homes_on_a_bridge_have_no_road_where_there_were_barriers(street):
    wall = gpd.GeoSeries([shapely.LineString([place((0, 300)), place((4000, 300))])], crs=CRS)
    with_wall = assessed(
        street.units, street.access.facilities, street.demand, street.roads, street.plan,
        barriers=wall,
    )  # fmt: skip
    # What lies behind it is not known any more: F1, 1.95 + 15 minutes off, and the next road.
    assert bridge_fragility(street, edges=[1]).empty
    assert bridge_fragility(with_wall, edges=[1])["people_lost"].tolist() == [30]


def test_every_column_has_words_in_both_languages(street):
    for lang in ("zh", "en"):
        known = labels("column", lang)
        for table in (fragility(street), bridge_fragility(street)):
            assert set(table.columns) <= set(known)
