"""Plans: presets say what their sources say; wrong files are refused with line, place and cure."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import facility_coverage as fc
from facility_coverage import plans, standards
from facility_coverage.__main__ import main
from facility_coverage.errors import MissingInputError, PlanError
from facility_coverage.terms import labels
from facility_coverage.tomlfile import key_lines, line_of

from .conftest import SHARED

FOLDER = Path(str(files("facility_coverage.presets")))
PRESETS = ("circle-15", "living-circles", "luanping-2025")
TEMPLATE = FOLDER / "new-plan.toml"

GOOD = """\
plan_id = "mine"
name_zh = "我的规划"
name_en = "Mine"
baseline_year = 2020
target_year = 2025

[[standards]]
kind = "clinic"
setting = "rural"
alternatives = [
  { mode = "walk", minutes = 20 },
  { mode = "walk", metres = 500, measure = "straight" },
]
on_ledger = true
source = "a paper"

[[indicators]]
number = 1
name_zh = "村卫生室覆盖率"
name_en = "villages with a clinic"
formula = "ledger_share"
kind = "clinic"
setting = "rural"
unit = "share"
target = 0.9
"""
STANDARD = GOOD[GOOD.index("[[standards]]") : GOOD.index("[[indicators]]")]
INDICATOR = GOOD[GOOD.index("[[indicators]]") :]


def written(folder, text):
    file = folder / "plan.toml"
    file.write_text(text, encoding="utf-8")
    return file


# -- what the presets say --------------------------------------------------------------------------


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
    assert [i.number for i in (*plan.indicators, *plan.promises)] == list(range(1, 22))
    assert plan.expected_units == {"village": 199, "community": 14}
    fitness = plan.standard("fitness_ground", "urban")
    assert {(a.mode, a.minutes) for a in fitness.alternatives} == {("walk", 15), ("bicycle", 15)}
    assert plan.standard("convenience_circle", "urban").alternatives[0].minutes == 15
    assert plan.standard("day_care", "urban").population == "elderly"
    assert plan.standard("day_care", "rural").population == "elderly"
    assert plan.standard("police_room", "rural").direction == "from_facility"
    moved = plan.standard("resettlement_service", "resettlement")
    assert (moved.kinds, moved.words) == (("comprehensive_service",), "walk ≤ 15 min")
    assert (moved.on_ledger, moved.target_share, moved.min_hours_per_day) == (True, 1.0, 8)
    assert [(group.population, group.mode) for group in plan.groups] == [
        ("elderly", "elderly_walk"),
        ("children", "walk"),
        ("disabled", "elderly_walk"),
    ]


def test_luanping_formulas(plan):
    assert [(i.formula, i.kind, i.setting, i.column) for i in plan.indicators] == [
        ("ledger_share", "comprehensive_service", "rural", ""),
        ("ledger_share", "comprehensive_service", "urban", ""),
        ("new_community_area_share", "", "urban", ""),
        ("floor_area_per_100_households", "comprehensive_service", "urban", ""),
        ("activity_area_share", "comprehensive_service", "urban", ""),
        ("flag_share", "", "urban", "self_service_terminal"),
        ("number_per_10000", "", "urban", "community_workers"),
    ]


# Written down from the plan's text, not from the preset: section, what, of whom, how much.
PROMISED = [
    ("专栏2-2", "ledger_share", "day_care", "urban", 1.0),
    ("专栏2-4", "flag_share", "disabled_association", "all", 1.0),
    ("专栏2-8", "ledger_share", "culture_centre", "rural", None),
    ("专栏2-8", "ledger_share", "culture_centre", "urban", None),
    ("专栏2-9", "ledger_share", "fitness_ground", "rural", 1.0),
    ("专栏2-9", "reachable_share", "fitness_ground", "urban", 1.0),
    ("专栏2-13", "flag_share", "disaster_informant", "all", 1.0),
    ("专栏2-15", "ledger_share", "civilization_station", "rural", 1.0),
    ("专栏2-15", "ledger_share", "civilization_station", "urban", 1.0),
    ("专栏4-1", "flag_share", "broadband", "rural", 1.0),
    ("专栏4-1", "flag_share", "five_g", "rural", 0.8),
    ("三(二)3", "flag_share", "legal_adviser", "all", 1.0),
    ("三(三)3", "ledger_share", "resettlement_service", "resettlement", 1.0),
    ("三(四)1", "flag_share", "agency_service", "all", 1.0),
]


def test_luanping_keeps_every_promise_of_the_plan(plan):
    assert sorted(
        (i.source.split()[0], i.formula, i.kind or i.column, i.setting, i.target or 0)
        for i in plan.promises
    ) == sorted((*promise, share or 0) for *promise, share in PROMISED)
    assert {i.column: i.baseline for i in plan.promises if i.baseline is not None} == {
        "legal_adviser": 1.0
    }


def test_what_luanping_quotes_stands_in_the_plan(plan):
    text = SHARED / "luanping-plan.txt"
    if not text.is_file():
        pytest.skip(f"the plan's text is not at {text}")
    said = re.sub(r"\s", "", text.read_text("utf-8"))
    quoted = re.compile(r"“((?:[^“”]|“[^”]*”)*)”")
    quotes = [q for i in (*plan.indicators, *plan.promises) for q in quoted.findall(i.source)]
    assert len(quotes) >= len(plan.promises)
    for quote in quotes:
        assert re.sub(r"\s", "", quote) in said, quote


def radius(plan, kind, setting="urban"):
    return [(a.metres, a.measure) for a in plan.standard(kind, setting).alternatives]


def test_living_circles_are_the_guides_own():
    plan = fc.load_plan("living-circles")
    for kind, metres in {
        "comprehensive_service": 300,
        "day_care": 300,
        "clinic": 300,
        "kindergarten": 300,
        "primary_school": 500,
        "culture_centre": 500,
        "market": 500,
        "junior_school": 1000,
        "health_centre": 1000,
    }.items():
        assert radius(plan, kind) == [(metres, "straight")], kind
    for minutes in (5, 10, 15):
        circle = plan.standard(f"circle_{minutes}_minutes", "urban")
        assert circle.words == f"walk ≤ {minutes} min"
        assert set(circle.kinds) <= set(plan.kinds)
        assert all(
            radius(plan, k)[0][0] <= {5: 300, 10: 500, 15: 1000}[minutes] for k in circle.kinds
        )
    assert plan.standard("day_care", "urban").min_floor_area_m2 == 350
    assert plan.standard("clinic", "rural").min_floor_area_m2 == 60
    assert plan.standard("comprehensive_service", "rural").words == (
        "walk ≤ 20 min or walk ≤ 3000 m straight"
    )
    assert plan.standard("fitness_ground", "urban").words == "walk ≤ 15 min or bicycle ≤ 15 min"
    assert plan.standard("township_centre", "rural").words == "motor ≤ 30 min"
    assert plan.standard("emergency_shelter", "rural") is plan.standard(
        "emergency_shelter", "urban"
    )
    assert not any(standard.target_share for standard in plan.standards)
    for standard in plan.standards:
        unread = re.search("not read at the source|library default", standard.source)
        assert standard.verified is (unread is None), standard.source


def test_the_plain_circle_is_15_minutes_in_town_and_the_rural_rule_outside():
    plan = fc.load_plan("circle-15")
    assert {(s.setting, s.words) for s in plan.standards} == {
        ("urban", "walk ≤ 15 min"),
        ("rural", "walk ≤ 20 min or ebike ≤ 15 min or motor ≤ 15 min"),
    }
    assert not plan.indicators
    assert not plan.promises


@pytest.mark.parametrize("name", [*PRESETS, TEMPLATE])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_kind_and_mode_of_a_preset_has_words(name, lang):
    plan = fc.load_plan(name)
    kinds = {i.kind for i in (*plan.indicators, *plan.promises)} - {""}
    modes = {group.mode for group in plan.groups}
    for standard in plan.standards:
        kinds.update((standard.kind, *standard.kinds, *standard.further_kinds))
        modes.update(alternative.mode for alternative in standard.alternatives)
    for kind in kinds:
        assert kind in labels("kind", lang), kind
    for mode in modes:
        assert mode in labels("mode", lang), mode


@pytest.mark.parametrize("name", [*PRESETS, TEMPLATE])
def test_every_value_of_a_preset_has_a_source(name):
    plan = fc.load_plan(name)
    assert plan.source
    for entry in (*plan.standards, *plan.indicators, *plan.promises):
        assert entry.source, entry


def test_words_for_kinds_are_not_shared():
    # Ledgers are read by these words: two kinds of one name could not be told apart.
    words = list(tomllib.loads((FOLDER / "kind-words.toml").read_text("utf-8"))["words"].values())
    taken = {word for them in words for word in them}
    new = [fc.label("kind", kind) for kind in new_kinds()]
    assert len(set(new)) == len(new)
    assert not taken & set(new)


def new_kinds():
    """Give the kinds of the living circles that the other presets do not have."""
    used = {
        kind
        for name in PRESETS
        for standard in fc.load_plan(name).standards
        for kind in (standard.kind, *standard.required_kinds)
    }
    return sorted(used - tomllib.loads((FOLDER / "osm-kinds.toml").read_text("utf-8")).keys())


# -- the template and the command ------------------------------------------------------------------


def test_the_template_loads_and_explains_every_key():
    plan = fc.load_plan(TEMPLATE)
    assert plan.modes["farm_vehicle"].speeds_kph["track"] == 8
    assert {i.formula for i in (*plan.indicators, *plan.promises)} == set(standards.FORMULAS)
    table = tomllib.loads(TEMPLATE.read_text("utf-8"))
    for key, rules in (
        ("standards", plans._STANDARD),
        ("indicators", plans._INDICATOR),
        ("groups", plans._GROUP),
    ):
        assert {name for entry in table[key] for name in entry} | {"column"} >= set(rules), key
    assert set(table) == set(plans._PLAN)
    assert set(table["project_rules"]) == set(plans._PROJECT_RULES)
    assert {key for mode in table["modes"].values() for key in mode} == set(plans._MODE)
    text = TEMPLATE.read_text("utf-8")
    for word in (*standards.SETTINGS, *standards.MEASURES[1:], *standards.POPULATIONS):
        assert word in text, word
    assert "new" not in plans.plan_names()


def test_the_template_states_the_defaults_it_speaks_of():
    plan, bare = fc.load_plan(TEMPLATE), standards.ProjectRules()
    assert plan.project_rules == bare
    assert plan.groups == fc.Plan.__dataclass_fields__["groups"].default
    assert plan.modes["walk"].speed_kph == fc.MODES["walk"].speed_kph


@pytest.mark.parametrize("name", [None, *PRESETS])
def test_new_plan_writes_a_file_that_loads(tmp_path, capsys, name):
    out = tmp_path / "mine" / "plan.toml"
    given = ["new-plan", "--out", str(out), *([] if name is None else ["--from", name])]
    assert main(given) == 0
    assert capsys.readouterr().out == f"→ {out}\n"
    source = TEMPLATE if name is None else FOLDER / f"plan-{name}.toml"
    assert out.read_text("utf-8") == source.read_text("utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["plan.toml"]
    assert fc.load_plan(out) == fc.load_plan(source)


def test_new_plan_is_plan_toml_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plan"]) == 0
    assert fc.load_plan("plan.toml").plan_id == "my-county-2025"


def test_new_plan_overwrites_nothing(tmp_path, capsys):
    out = tmp_path / "plan.toml"
    out.write_text("mine", encoding="utf-8")
    assert main(["new-plan", "--out", str(out)]) == 1
    assert "is not overwritten; give another name with --out" in capsys.readouterr().err
    assert out.read_text("utf-8") == "mine"


def test_new_plan_refuses_names_that_could_not_be_loaded(tmp_path, capsys):
    out = tmp_path / "plan.txt"
    assert main(["new-plan", "--out", str(out)]) == 1
    assert "ends in .toml" in capsys.readouterr().err
    assert not out.exists()


def test_new_plan_from_a_plan_that_is_not_there(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["new-plan", "--from", "luanping"])
    assert "living-circles" in capsys.readouterr().err


# -- reading ---------------------------------------------------------------------------------------


def test_what_is_left_out_has_its_default(tmp_path):
    plan = fc.load_plan(written(tmp_path, GOOD))
    standard = plan.standards[0]
    assert standard == standards.Standard(
        "clinic",
        "rural",
        (
            fc.Alternative("walk", 20.0),
            fc.Alternative("walk", metres=500.0, measure="straight"),
        ),
        on_ledger=True,
        source="a paper",
    )
    assert plan.groups == standards.Plan.__dataclass_fields__["groups"].default
    assert plan.project_rules == standards.ProjectRules()
    assert plan.promises == ()
    assert plan.modes == fc.MODES


def test_every_key_is_read(tmp_path):
    text = GOOD.replace(
        'source = "a paper"',
        'kinds = ["clinic", "pharmacy"]\nfurther_kinds = ["parcel"]\npopulation = "children"\n'
        'direction = "from_facility"\nmin_floor_area_m2 = 60\nmin_hours_per_day = 24\n'
        "unit_share = 1\ntarget_share = 0.8\n"
        'source = "a paper"\nverified = true',
    )
    text += (
        'strict = true\nbaseline = 0\nsource = "a table"\n'
        '[[groups]]\npopulation = "disabled"\nmode = "slow"\n'
        '[modes.slow]\nlike = "elderly_walk"\nspeed_kph = 2\n'
        "[project_rules]\ndeadline = 2030\nactivity_share = 0.5\n"
    )
    plan = fc.load_plan(written(tmp_path, text))
    standard, indicator = plan.standards[0], plan.indicators[0]
    read = {f.name: getattr(standard, f.name) for f in dataclasses.fields(standard)}
    del read["alternatives"]
    assert read == {
        "kind": "clinic",
        "setting": "rural",
        "kinds": ("clinic", "pharmacy"),
        "further_kinds": ("parcel",),
        "population": "children",
        "direction": "from_facility",
        "min_floor_area_m2": 60,
        "min_hours_per_day": 24,
        "capacity_m2_per_100_households": None,
        "unit_share": 1,
        "on_ledger": True,
        "target_share": 0.8,
        "source": "a paper",
        "verified": True,
    }
    assert (indicator.strict, indicator.baseline, indicator.source) == (True, 0, "a table")
    assert plan.groups == (fc.Group("disabled", "slow"),)
    assert plan.modes["slow"].speed_kph == 2
    assert (plan.project_rules.deadline, plan.project_rules.activity_share) == (2030, 0.5)


def test_the_loader_knows_every_field():
    for rules, cls in (
        (plans._STANDARD, standards.Standard),
        (plans._ALTERNATIVE, standards.Alternative),
        (plans._INDICATOR, standards.Indicator),
        (plans._GROUP, standards.Group),
        (plans._PROJECT_RULES, standards.ProjectRules),
        (plans._PLAN, standards.Plan),
    ):
        assert set(rules) == {field.name for field in dataclasses.fields(cls)}, cls
    assert set(plans._FORMULA_NEEDS) == set(standards.FORMULAS)


def test_no_groups_is_no_groups(tmp_path):
    plan = fc.load_plan(written(tmp_path, "groups = []\n" + GOOD))
    assert plan.groups == ()


def test_speeds_can_be_edited(tmp_path):
    plan = fc.load_plan(written(tmp_path, GOOD + "\n[modes.walk]\nspeed_kph = 3.5\n"))
    assert plan.modes["walk"].speed_kph == 3.5
    assert fc.MODES["walk"].speed_kph == 4.0


def test_one_for_all_stands_beside_one_for_a_setting(tmp_path):
    both = GOOD + STANDARD.replace('"rural"', '"all"')
    assert len(fc.load_plan(written(tmp_path, both)).standards) == 2


def test_an_indicator_for_all_needs_a_standard_for_either(tmp_path):
    every = INDICATOR.replace('"rural"', '"all"').replace("number = 1", "number = 2")
    urban = STANDARD.replace('"rural"', '"urban"')
    with pytest.raises(PlanError, match="no standard for clinic in urban units"):
        fc.load_plan(written(tmp_path, GOOD + every))
    assert len(fc.load_plan(written(tmp_path, GOOD + urban + every)).indicators) == 2


def test_a_plan_that_is_not_there():
    with pytest.raises(
        MissingInputError, match="there are circle-15, living-circles, luanping-2025"
    ):
        fc.load_plan("luanping")
    with pytest.raises(MissingInputError, match="no such file"):
        fc.load_plan("nowhere.toml")


# -- what is refused -------------------------------------------------------------------------------

HEAD = GOOD.splitlines().index("[[standards]]") + 1
TABLE = GOOD.splitlines().index("[[indicators]]") + 1
END = len(GOOD.splitlines())

# What is changed in a good plan, the line of the fault, and what is said of it.
WRONG = [
    # the plan
    (("baseline_year = 2020\n", ""), 1, "baseline_year is missing; it must be a whole number"),
    (("2020", '"2020"'), 4, "baseline_year must be a whole number, without quotes, not '2020'"),
    (("2020", "true"), 4, "baseline_year must be a whole number, not true"),
    (("2020", "2026"), 5, "target_year must not lie before baseline_year (2026), not 2025"),
    (('"Mine"', '""'), 3, "name_en must be words in quotes, with no blank before or after them"),
    (('"Mine"', "3"), 3, "name_en must be words in quotes, with no blank before or after them"),
    (("name_en", "nmae_en"), 3, "unknown key 'nmae_en'; did you mean 'name_en'?"),
    ((STANDARD, "standards = []\n"), 7, "standards is empty: give at least one [[standards]]"),
    (("[[standards]]", "[standards]"), HEAD, "standards must be a list of tables, one block under"),
    (("plan_id", "expected_units = 3\nplan_id"), 1, "expected_units must be a table of keys and"),
    (
        ("plan_id", "expected_units = { villages = 199 }\nplan_id"),
        1,
        "expected_units: unknown key 'villages'; did you mean 'village'?",
    ),
    (
        ("plan_id", "expected_units = { village = 199.5 }\nplan_id"),
        1,
        "expected_units: village must be a whole number, not 199.5",
    ),
    # a standard
    (("kind =", "knid ="), HEAD + 1, "unknown key 'knid'; did you mean 'kind'?"),
    (('kind = "clinic"\nsetting', "setting"), HEAD, "standards[0]: kind is missing; it must be"),
    (
        ('"rural"', '"village"'),
        HEAD + 2,
        (
            "standards[0] (clinic): setting must be one of rural, urban, all, resettlement, "
            "not 'village'"
        ),
    ),
    (
        ('"walk", minutes', '"helicopter", minutes'),
        HEAD + 4,
        (
            "(clinic): alternatives[0]: mode must be one of walk, elderly_walk, bicycle, ebike, "
            "motor (describe others under [modes.…]), not 'helicopter'"
        ),
    ),
    (
        ("minutes = 20", "minutes = -1"),
        HEAD + 4,
        "alternatives[0]: minutes must be a number over 0, not -1",
    ),
    (
        ("minutes = 20", 'minutes = "20"'),
        HEAD + 4,
        "minutes must be a number over 0, without quotes, not '20'",
    ),
    (("minutes = 20", "minutes = true"), HEAD + 4, "minutes must be a number over 0, not true"),
    (("minutes = 20", "minutes = nan"), HEAD + 4, "minutes must be a number over 0, not nan"),
    (("metres = 500", "metres = inf"), HEAD + 5, "metres must be a number over 0, not inf"),
    (
        ("minutes = 20", "metres = 20"),
        HEAD + 4,
        "alternatives[0]: an alternative measured by time has minutes",
    ),
    (
        ("metres = 500", "minutes = 5"),
        HEAD + 5,
        "alternatives[1]: an alternative measured by straight has metres",
    ),
    (
        ('"straight"', '"crow"'),
        HEAD + 5,
        "measure must be one of time, network, straight, not 'crow'",
    ),
    (
        ('mode = "walk", metres', "metres"),
        HEAD + 5,
        "alternatives[1]: mode is missing; it must be one of walk",
    ),
    (("metres = 500", "meters = 500"), HEAD + 5, "unknown key 'meters'; did you mean 'metres'?"),
    (
        (
            STANDARD[STANDARD.index("alternatives") : STANDARD.index("on_ledger")],
            "alternatives = []\n",
        ),
        HEAD + 3,
        "alternatives must be a list of ways to pass, e.g. [{ mode",
    ),
    (
        (
            STANDARD[STANDARD.index("alternatives") : STANDARD.index("on_ledger")],
            'alternatives = ["walk"]\n',
        ),
        HEAD + 3,
        "alternatives must be a list of ways to pass, e.g. [{ mode",
    ),
    (
        ("on_ledger = true", "on_ledger = true\ntarget_share = 80"),
        HEAD + 8,
        "target_share must be a share over 0 and at most 1 (80 % is 0.8), not 80",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nunit_share = 0"),
        HEAD + 8,
        "unit_share must be a share over 0 and at most 1 (80 % is 0.8), not 0",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nunit_share = true"),
        HEAD + 8,
        "unit_share must be a share over 0 and at most 1 (80 % is 0.8), not true",
    ),
    (
        ("on_ledger = true", 'on_ledger = "true"'),
        HEAD + 7,
        "on_ledger must be true or false, without quotes, not 'true'",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nverified = 1"),
        HEAD + 8,
        "verified must be true or false, not 1",
    ),
    (
        ('source = "a paper"', "verified = true"),
        HEAD + 8,
        "verified says that the values were read at their source: give source",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nmin_hours_per_day = 25"),
        HEAD + 8,
        "min_hours_per_day must be hours a day, over 0 and at most 24, not 25",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nmin_floor_area_m2 = 0"),
        HEAD + 8,
        "min_floor_area_m2 must be a number over 0, not 0",
    ),
    (
        ("on_ledger = true", "on_ledger = true\ncapacity_m2_per_100_households = '30'"),
        HEAD + 8,
        "capacity_m2_per_100_households must be a number over 0, without quotes, not '30'",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\npopulation = "old"'),
        HEAD + 8,
        "population must be one of residents, elderly, children, disabled, not 'old'",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\ndirection = "back"'),
        HEAD + 8,
        "direction must be one of to_facility, from_facility, not 'back'",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\nkinds = "clinic"'),
        HEAD + 8,
        """kinds must be a list of names, e.g. ["pharmacy", "parcel"], not 'clinic'""",
    ),
    (
        ("on_ledger = true", "on_ledger = true\nkinds = []"),
        HEAD + 8,
        "kinds must be a list of names",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\nkinds = ["clinic", 3]'),
        HEAD + 8,
        "kinds must be a list of names",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\nkinds = ["a", "b", "a"]'),
        HEAD + 8,
        "kinds must name a once, not",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\nfurther_kinds = ["clinic"]'),
        HEAD + 8,
        "further_kinds must not name clinic, which must be reached anyway",
    ),
    (
        ("on_ledger = true", 'on_ledger = true\nkinds = ["a", "b"]\nfurther_kinds = ["b"]'),
        HEAD + 9,
        "further_kinds must not name b, which must be reached anyway",
    ),
    (
        ("[[indicators]]", STANDARD + "[[indicators]]"),
        TABLE + 2,
        (
            "standards[1] (clinic): two standards for clinic in rural units, the other is "
            "standards[0]; keep one"
        ),
    ),
    (
        ("[[indicators]]", STANDARD.replace('"rural"', '"resettlement"') + "[[indicators]]"),
        TABLE + 1,
        (
            'standards[1] (clinic): a standard for "resettlement" is counted by itself and needs a '
            "kind of its own, not 'clinic'"
        ),
    ),
    (
        ("[[standards]]", STANDARD.replace('"rural"', '"resettlement"') + "[[standards]]"),
        TABLE + 1,
        'standards[1] (clinic): a standard for "resettlement" is counted by itself',
    ),
    (
        (
            "on_ledger = true",
            'on_ledger = true\nkinds = ["a", "b"]\ncapacity_m2_per_100_households = 30',
        ),
        HEAD + 9,
        "standards[0] (clinic): capacity_m2_per_100_households is for one kind",
    ),
    # an indicator
    (
        ("number = 1", "number = 1.5"),
        TABLE + 1,
        "indicators[0]: number must be a whole number, not 1.5",
    ),
    (
        ('"ledger_share"', '"ledger_shares"'),
        TABLE + 4,
        "formula must be one of ledger_share, reachable_share, people_share, flag_share",
    ),
    (
        ('formula = "ledger_share"\n', ""),
        TABLE,
        "formula is missing; it must be one of ledger_share",
    ),
    (('unit = "share"\n', ""), TABLE, "unit is missing; it must be words in quotes"),
    (
        ('unit = "share"', 'unit = "%"'),
        TABLE + 7,
        "unit must be \"share\" for ledger_share, not '%'",
    ),
    (("target = 0.9", "target = 90"), END, "target is a share, at most 1 (80 % is 0.8), not 90"),
    (("target = 0.9", "target = 0"), END, "target must be a number over 0, not 0"),
    (
        ("target = 0.9", "baseline = 60"),
        END,
        "baseline is a share, at most 1 (80 % is 0.8), not 60",
    ),
    (("target = 0.9", "baseline = -0.1"), END, "baseline must be a number from 0 up, not -0.1"),
    (
        ("target = 0.9", 'baseline = "—"'),
        END,
        "baseline must be a number from 0 up, without quotes, not '—'",
    ),
    (
        ("target = 0.9", 'strict = "no"'),
        END,
        "strict must be true or false, without quotes, not 'no'",
    ),
    (
        ("target = 0.9", 'column = "clinic"'),
        END,
        "column means nothing to ledger_share; leave it out",
    ),
    (
        ('kind = "clinic"\nsetting = "rural"\nunit', 'setting = "rural"\nunit'),
        TABLE,
        "kind is missing; ledger_share is taken over kind and setting",
    ),
    (
        ('setting = "rural"\nunit', "unit"),
        TABLE,
        "setting is missing; ledger_share is taken over kind and setting",
    ),
    (
        ('setting = "rural"\nunit', 'setting = "urban"\nunit'),
        TABLE + 5,
        "there is no standard for clinic in urban units, which ledger_share needs; add one",
    ),
    (
        ('kind = "clinic"\nsetting = "rural"\nunit', 'kind = "clinics"\nsetting = "rural"\nunit'),
        TABLE + 5,
        "there is no standard for clinics in rural units",
    ),
    (
        ("on_ledger = true\n", ""),
        TABLE + 3,
        (
            "the standard for clinic in rural units is not on the ledger, which ledger_share "
            "counts; set its on_ledger = true or take reachable_share"
        ),
    ),
    (
        ('"ledger_share"\nkind = "clinic"\n', '"flag_share"\n'),
        TABLE,
        "column is missing; flag_share is taken over setting and column",
    ),
    (
        ('"ledger_share"\nkind', '"flag_share"\ncolumn = "x"\nkind'),
        TABLE + 6,
        "kind means nothing to flag_share; leave it out",
    ),
    (
        ('"ledger_share"\nkind = "clinic"', '"activity_area_share"\nkind = "clinics"'),
        TABLE + 5,
        "kind must be one that facilities have, not 'clinics'",
    ),
    (
        ("[[indicators]]", INDICATOR.replace("indicators", "promises") + "[[indicators]]"),
        TABLE + 1,
        "promises[0]: number 1 is that of indicators[0] too; number promises on",
    ),
    # groups, modes, project rules
    (
        ("[[indicators]]", '[[groups]]\npopulation = "elderly"\n[[indicators]]'),
        TABLE,
        "groups[0]: mode is missing; it must be one of walk",
    ),
    (
        ("[[indicators]]", '[[groups]]\nmode = "walk"\npopulation = "residents"\n[[indicators]]'),
        TABLE + 2,
        "groups[0]: population must be one of elderly, children, disabled, not 'residents'",
    ),
    (
        ("[[indicators]]", '[[groups]]\npopulation = "elderly"\nmode = "motor"\n[[indicators]]'),
        TABLE + 2,
        (
            "groups[0]: mode must be a way of walking (walk, elderly_walk or one like them), "
            "not 'motor'"
        ),
    ),
    (
        (
            "[[indicators]]",
            '[[groups]]\npopulation = "elderly"\nmode = "walk"\n' * 2 + "[[indicators]]",
        ),
        TABLE + 4,
        "groups[1]: population 'elderly' has a group already; keep one",
    ),
    (
        ("[[indicators]]", "[modes.walk]\nspeed_kph = 0\n[[indicators]]"),
        TABLE + 1,
        "modes.walk: speed_kph must be a speed in km/h, over 0 and under 400, not 0",
    ),
    (
        ("[[indicators]]", "[modes.walk]\nspeed_kph = 400\n[[indicators]]"),
        TABLE + 1,
        "modes.walk: speed_kph must be a speed in km/h, over 0 and under 400, not 400",
    ),
    (
        ("[[indicators]]", "[modes.motor]\nspeeds_kph = { track = '9' }\n[[indicators]]"),
        TABLE + 1,
        "modes.motor: speeds_kph must give a speed in km/h for each road class",
    ),
    (
        ("[[indicators]]", "[modes.cart]\nspeed_kph = 9\n[[indicators]]"),
        TABLE,
        "modes.cart: like is missing; it must be one of walk, elderly_walk",
    ),
    (
        ("[[indicators]]", "[modes.cart]\nlike = 'horse'\n[[indicators]]"),
        TABLE + 1,
        "modes.cart: like must be one of walk, elderly_walk, bicycle, ebike, motor, not 'horse'",
    ),
    (
        ("[[indicators]]", "[modes]\nwalk = 4\n[[indicators]]"),
        TABLE + 1,
        "modes.walk: must be a table of keys and values, not 4",
    ),
    (
        ("[[indicators]]", "[project_rules]\ndeadline = '2025'\n[[indicators]]"),
        TABLE + 1,
        "project_rules: deadline must be a whole number, without quotes, not '2025'",
    ),
    (
        ("[[indicators]]", "[project_rules]\nactivity_share = 60\n[[indicators]]"),
        TABLE + 1,
        "project_rules: activity_share must be a share over 0 and at most 1 (80 % is 0.8), not 60",
    ),
    (
        ("[[indicators]]", "[project_rules]\nfloor_area = 30\n[[indicators]]"),
        TABLE + 1,
        "project_rules: unknown key 'floor_area'; did you mean",
    ),
]


@pytest.mark.parametrize(("change", "line", "words"), WRONG)
def test_a_wrong_plan_names_the_line_the_place_and_the_cure(tmp_path, change, line, words):
    assert change[0] in GOOD
    file = written(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(PlanError) as told:
        fc.load_plan(file)
    first = next(each for each in str(told.value).splitlines() if ", line " in each)
    assert first.startswith(f"{file}, line {line}: ")
    assert words in first


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path):
    text = GOOD.replace("2025", '"2025"').replace('"rural"', '"village"').replace("0.9", "90")
    file = written(tmp_path, text + "colour = 1\n")
    with pytest.raises(PlanError) as told:
        fc.load_plan(file)
    head, *lines = str(told.value).splitlines()
    assert head == f"{file}: 5 faults"
    numbers = [int(re.search(r", line (\d+): ", line)[1]) for line in lines]
    assert numbers == sorted(numbers)
    assert numbers == [5, HEAD + 2, TABLE + 6, END, END + 1]


@pytest.mark.parametrize(
    "value", ["3", '"x"', "true", "[1]", "[[]]", "{ a = 1 }", "1979-05-27", "[{}]"]
)
@pytest.mark.parametrize(
    "key",
    [
        "plan_id",
        "baseline_year",
        "expected_units",
        "kind",
        "setting",
        "alternatives",
        "number",
        "formula",
        "unit",
        "mode",
        "target",
        "kinds",
        "further_kinds",
        "population",
    ],
)
def test_whatever_a_value_is_the_plan_loads_or_is_refused(tmp_path, key, value):
    lines = GOOD.replace(
        "on_ledger", 'population = "elderly"\nkinds = ["a"]\nfurther_kinds = ["b"]\non_ledger'
    ).splitlines()
    lines += ["[[groups]]", 'population = "elderly"', 'mode = "walk"']
    if key == "expected_units":
        lines.insert(0, "expected_units = 3")
    text = "\n".join(
        f"{key} = {value}" if line.startswith(f"{key} =") and line[-1] != "[" else line
        for line in lines
    )
    if key == "alternatives":
        text = re.sub(
            r"alternatives = \[\n.*?\n\]", f"alternatives = {value}", text, flags=re.DOTALL
        )
    assert f"{key} = {value}" in text
    try:
        fc.load_plan(written(tmp_path, text))
    except PlanError as fault:
        assert ", line " in str(fault)  # noqa: PT017 - either is right


def test_a_file_that_is_no_toml_keeps_the_parsers_line(tmp_path):
    with pytest.raises(PlanError, match=r"plan\.toml: not valid TOML.*line 1"):
        fc.load_plan(written(tmp_path, GOOD.replace("plan_id", "plan_id =")))


def test_a_file_in_another_encoding_says_so(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_bytes(GOOD.encode("gb18030"))
    with pytest.raises(PlanError, match=r"not UTF-8 text.*save it as UTF-8"):
        fc.load_plan(file)


def test_a_byte_order_mark_and_windows_line_ends_move_no_line(tmp_path):
    file = tmp_path / "plan.toml"
    text = GOOD.replace('"rural"', '"village"', 1).replace("\n", "\r\n")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    with pytest.raises(PlanError, match=f"line {HEAD + 2}: standards"):
        fc.load_plan(file)


# -- lines -----------------------------------------------------------------------------------------

TRICKY = '''\
# [[standards]] in a remark
title = "[[standards]] # no remark" # a remark
text = """
[[standards]]
kind = "no key" \\"""
"""
raw = \'\'\'
[modes.walk]
\'\'\'
[ modes . "a.b" ]
speed = 1979-05-27T07:32:00Z
[[ standards ]]
kind = 'one'
site."x y".z = 0.5
[[standards]]
kind = "two"
ways = [
  [1, 2], # ] not the end
  [
    { mode = "walk" },
    { mode = "}", also = [
      "]" ] } ],
]
[standards.more]
deep = true
[[standards.parts]]
a = 1
[[standards.parts]]
b = -inf
[[standards]]
kind = "three"
[[standards.parts]]
c = +1e3
'''


@pytest.mark.parametrize(
    ("place", "key", "line"),
    [
        ((), "title", 2),
        ((), "text", 3),
        ((), "nothing", 1),
        (("modes",), None, 10),
        (("modes", "a.b"), None, 10),
        (("modes", "a.b"), "speed", 11),
        (("standards",), None, 12),
        (("standards", 0), None, 12),
        (("standards", 0), "kind", 13),
        (("standards", 0, "site", "x y"), "z", 14),
        (("standards", 1), "kind", 16),
        (("standards", 1, "ways", 0), None, 18),
        (("standards", 1, "ways", 1, 0), "mode", 20),
        (("standards", 1, "ways", 1, 1), "also", 21),
        (("standards", 1, "ways", 1, 1, "also"), None, 21),
        (("standards", 1, "more"), "deep", 25),
        (("standards", 1, "parts", 1), "b", 29),
        (("standards", 2, "parts", 0), "c", 33),
        (("standards", 2), "missing", 30),
        (("standards", 7), "kind", 12),
    ],
)
def test_lines_are_found(place, key, line):
    assert line_of(TRICKY, place, key) == line


def places(value, place=()):
    """Give every place in what the standard library's parser read."""
    yield place
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*place, key))


@pytest.mark.parametrize(
    "text", [TRICKY, GOOD, *(path.read_text("utf-8") for path in sorted(FOLDER.glob("*.toml")))]
)
def test_every_place_has_a_line_that_names_it(text):
    lines, rows = key_lines(text), text.splitlines()
    assert set(places(tomllib.loads(text))) == set(lines)
    for place, line in lines.items():
        if place and isinstance(place[-1], str):
            assert place[-1] in rows[line - 1]
