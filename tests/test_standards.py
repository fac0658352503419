"""Plans and standards: presets load, wrong files are refused with the place and the cure."""

from __future__ import annotations

import pytest

import facility_coverage as fc
from facility_coverage.errors import MissingInputError, PlanError
from facility_coverage.standards import units_needed

GOOD = """
plan_id = "mine"
name_zh = "我的规划"
name_en = "Mine"
baseline_year = 2020
target_year = 2025

[[standards]]
kind = "clinic"
setting = "rural"
alternatives = [{ mode = "walk", minutes = 20 }]
"""


def test_luanping_promises_are_the_plans_own(plan):
    assert len(plan.indicators) == 7
    rural, urban = plan.indicators[:2]
    assert (rural.baseline, rural.target, urban.baseline, urban.target) == (0.6, 0.8, 1.0, 1.0)
    assert [(i.baseline, i.target) for i in plan.indicators[2:]] == [
        (None, 0.1),
        (22, 30),
        (None, 0.6),
        (None, 1.0),
        (None, 18),
    ]
    assert plan.expected_units == {"village": 199, "community": 14}
    fitness = plan.standard("fitness_ground", "urban")
    assert {(a.mode, a.minutes) for a in fitness.alternatives} == {("walk", 15), ("bicycle", 15)}
    assert plan.standard("convenience_circle", "urban").limit_minutes == 15
    assert all(standard.source for standard in plan.standards)


@pytest.mark.parametrize("name", ["luanping-2025", "circle-15"])
def test_every_kind_and_mode_of_a_preset_has_words(name):
    plan = fc.load_plan(name)
    for standard in plan.standards:
        for kind in (standard.kind, *standard.kinds):
            assert fc.label("kind", kind) != kind, kind
        for alternative in standard.alternatives:
            assert fc.label("mode", alternative.mode) != alternative.mode


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
    ("change", "message"),
    [
        (("kind =", "knid ="), r"unknown key 'knid'; did you mean 'kind'\?"),
        (('"rural"', '"village"'), "setting must be one of rural, urban, not 'village'"),
        (('"walk"', '"helicopter"'), "unknown mode 'helicopter'; known: walk"),
        (("minutes = 20", "minutes = -1"), "minutes must be positive"),
        (("minutes = 20", 'minutes = "20"'), "'minutes' must be int or float, not '20'"),
        (("baseline_year = 2020", ""), "'baseline_year' is missing"),
        (('setting = "rural"', 'setting = "rural"\ntarget_share = 80'), "80 % is 0.8"),
        (("plan_id", "plan_id =="), "not valid TOML.*line 2"),
        (
            ("[[standards]]", "[modes.walk]\nspeed_kph = 0\n[[standards]]"),
            "speed_kph must be a speed",
        ),
    ],
)
def test_a_wrong_plan_names_the_place_and_the_cure(tmp_path, change, message):
    file = tmp_path / "plan.toml"
    file.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(PlanError, match=message):
        fc.load_plan(file)


def test_two_standards_for_one_kind_are_refused(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(GOOD + GOOD[GOOD.index("[[standards]]") :], encoding="utf-8")
    with pytest.raises(PlanError, match="two standards for clinic in rural"):
        fc.load_plan(file)


def test_speeds_can_be_edited(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(GOOD + "\n[modes.walk]\nspeed_kph = 3.5\n", encoding="utf-8")
    plan = fc.load_plan(file)
    assert plan.modes["walk"].speed_kph == 3.5
    assert fc.MODES["walk"].speed_kph == 4.0


def test_a_plan_that_is_not_there():
    with pytest.raises(MissingInputError, match="there are circle-15, luanping-2025"):
        fc.load_plan("luanping")
    with pytest.raises(MissingInputError, match="no such file"):
        fc.load_plan("nowhere.toml")
