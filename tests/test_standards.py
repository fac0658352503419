"""Standards as data: limits, who comes first, which standard holds for a unit, whole units."""

from __future__ import annotations

import pytest

import facility_coverage as fc
from facility_coverage.errors import PlanError
from facility_coverage.standards import MODES, Group, Standard, Way, units_needed


@pytest.mark.parametrize(
    ("share", "total", "needed"),
    [
        (0.8, 199, 160),
        (0.6, 200, 120),
        (0.6, 199, 120),
        (1.0, 14, 14),
        (0.799, 199, 160),
        (0.5, 0, 0),
    ],
)
def test_shares_are_counted_in_whole_units(share, total, needed):
    assert units_needed(share, total) == needed


@pytest.mark.parametrize(
    ("share", "total", "needed"), [(0.6, 200, 121), (0.8, 199, 160), (0.3, 10, 4)]
)
def test_more_than_a_share_is_one_unit_more_where_it_is_whole(share, total, needed):
    assert units_needed(share, total, strict=True) == needed


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"minutes": 15.0, "metres": 300.0},
        {"metres": 300.0},
        {"minutes": 15.0, "measure": "straight"},
        {"minutes": 15.0, "measure": "network"},
        {"minutes": 0.0},
        {"minutes": float("nan")},
        {"metres": float("inf"), "measure": "straight"},
        {"minutes": 15.0, "measure": "crow"},
    ],
)
def test_limits_that_mean_nothing_are_refused(given):
    with pytest.raises(PlanError):
        fc.Alternative("walk", **given)


def test_metres_are_minutes_at_the_modes_speed():
    radius = fc.Alternative("elderly_walk", metres=300.0, measure="straight")
    assert radius.limit_minutes(MODES) == pytest.approx(300 / 1000 / 3 * 60)


def test_each_alternative_needs_a_way_of_its_own():
    room = Standard(
        "police_room", "all", (fc.Alternative("motor", 30.0),), direction="from_facility"
    )
    assert room.way(room.alternatives[0]) == Way("motor", "time", "from_facility")
    assert room.required_kinds == ("police_room",)


def test_who_comes_first_passes_on_foot_where_one_can():
    ways = (
        fc.Alternative("walk", 20.0),
        fc.Alternative("ebike", 15.0),
        fc.Alternative("walk", metres=300.0, measure="straight"),
    )
    elderly = Group("elderly", "elderly_walk")
    held = elderly.standard(Standard("clinic", "rural", ways), MODES)
    assert held.population == "elderly"
    assert [(a.mode, a.minutes, a.metres) for a in held.alternatives] == [
        ("elderly_walk", 20.0, None),
        ("walk", None, 300.0),
    ]
    by_motor = Standard("police_room", "rural", (fc.Alternative("motor", 30.0),))
    assert elderly.standard(by_motor, MODES).alternatives == by_motor.alternatives


def test_a_standard_for_all_holds_where_none_is_set_for_the_setting():
    way = (fc.Alternative("walk", 15.0),)
    rural, every = Standard("clinic", "rural", way), Standard("clinic", "all", way)
    moved = Standard("moved_clinic", "resettlement", way)
    plan = fc.Plan("p", "规划", "plan", "", 2020, 2025, (rural, every, moved))
    assert plan.standard("clinic", "rural") is rural
    assert plan.standard("clinic", "urban") is every
    assert plan.standard("clinic", "resettlement") is None
    assert plan.standard("moved_clinic", "resettlement") is moved
    assert plan.standard("moved_clinic", "rural") is None
    assert plan.kinds == ("clinic", "moved_clinic")
