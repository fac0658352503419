"""Reading plans: a TOML file → standards, indicators and promises, or all that is wrong with it.

The plans shipped stand in ``presets/``; a planner copies one, edits it and loads it by its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from .errors import MissingInputError, PlanError
from .modes import MODES, Mode
from .standards import (
    DIRECTIONS,
    FORMULAS,
    MEASURES,
    POPULATIONS,
    SETTINGS,
    Alternative,
    Group,
    Indicator,
    Plan,
    ProjectRules,
    Standard,
)
from .terms import labels
from .tomlfile import (
    Fault,
    Place,
    Rule,
    a_count,
    a_flag,
    a_number,
    a_share,
    a_size,
    a_table,
    a_text,
    faults_text,
    one_of,
    parse_toml,
    read_toml_text,
    some_names,
    some_tables,
    table_faults,
)

__all__ = ["load_plan", "plan_names", "plan_template"]

_FOLDER = "facility_coverage.presets"
_PREFIX, _SUFFIX = "plan-", ".toml"
_TEMPLATE = "new-plan.toml"
_HOURS_A_DAY = 24
_FASTEST_KPH = 400

_Table = Mapping[str, Any]


def load_plan(plan: str | Path) -> Plan:
    """Load a plan by the name of a shipped preset or by the path of a TOML file.

    Parameters
    ----------
    plan : str or pathlib.Path
        ``"luanping-2025"``, ``"circle-15"``, ``"living-circles"``, or a path ending in ``.toml``.

    Returns
    -------
    Plan
        Its standards, indicators, promises and project rules.

    Raises
    ------
    PlanError
        Where the file says something that cannot be used. All its faults are told at once, each
        with the file, the line, the place, the value and the cure.
    MissingInputError
        Where there is no such preset or file.

    Examples
    --------
    >>> plan = load_plan("luanping-2025")
    >>> rural = plan.standard("comprehensive_service", "rural")
    >>> rural.target_share, rural.words
    (0.8, 'walk ≤ 20 min or ebike ≤ 15 min or motor ≤ 15 min')
    """
    name = str(plan)
    path = Path(plan) if isinstance(plan, Path) or name.endswith(_SUFFIX) else _preset(name)
    text = read_toml_text(path, error=PlanError)
    table = parse_toml(text, path, error=PlanError)
    faults = list(_plan_faults(table))
    if faults:
        raise PlanError(faults_text(path, text, faults))
    return _plan(table)


def plan_names() -> tuple[str, ...]:
    """Give the names of the plans shipped."""
    return tuple(
        sorted(
            entry.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
            for entry in files(_FOLDER).iterdir()
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)
        )
    )


def plan_template(name: str | None = None) -> str:
    """Give the text to begin a plan of one's own with.

    Parameters
    ----------
    name : str, optional
        A plan shipped; without one it is a short plan that explains every key.
    """
    path = Path(str(files(_FOLDER) / _TEMPLATE)) if name is None else _preset(name)
    return read_toml_text(path, error=PlanError)


def _preset(name: str) -> Path:
    if name not in plan_names():
        raise MissingInputError(
            f"no shipped plan is called {name!r}: there are {', '.join(plan_names())}; "
            "for your own give the path of a .toml file"
        )
    return Path(str(files(_FOLDER) / f"{_PREFIX}{name}{_SUFFIX}"))


# -- what each key must be -------------------------------------------------------------------------


def _hours(value: Any) -> str:
    right = not a_size(value) and value <= _HOURS_A_DAY
    return "" if right else f"must be hours a day, over 0 and at most {_HOURS_A_DAY}"


def _speed(value: Any) -> str:
    right = not a_size(value) and value < _FASTEST_KPH
    return "" if right else f"must be a speed in km/h, over 0 and under {_FASTEST_KPH}"


def _speeds(value: Any) -> str:
    right = isinstance(value, Mapping) and not any(_speed(each) for each in value.values())
    return "" if right else "must give a speed in km/h for each road class, e.g. { tertiary = 25 }"


def _ways(value: Any) -> str:
    right = value and not some_tables(value)
    return "" if right else 'must be a list of ways to pass, e.g. [{ mode = "walk", minutes = 15 }]'


_PLAN: Mapping[str, Rule] = {
    "plan_id": a_text,
    "name_zh": a_text,
    "name_en": a_text,
    "source": a_text,
    "baseline_year": a_count,
    "target_year": a_count,
    "expected_units": a_table,
    "modes": a_table,
    "groups": some_tables,
    "standards": some_tables,
    "indicators": some_tables,
    "promises": some_tables,
    "project_rules": a_table,
}
_PLAN_NEEDS = ("plan_id", "name_zh", "name_en", "baseline_year", "target_year", "standards")
_EXPECTED_UNITS: Mapping[str, Rule] = {"village": a_count, "community": a_count}
_MODE: Mapping[str, Rule] = {
    "like": one_of(MODES),
    "speed_kph": _speed,
    "leg_speed_kph": _speed,
    "speeds_kph": _speeds,
    "source": a_text,
}
_ALTERNATIVE: Mapping[str, Rule] = {
    "mode": a_text,
    "minutes": a_size,
    "metres": a_size,
    "measure": one_of(MEASURES),
}
_STANDARD: Mapping[str, Rule] = {
    "kind": a_text,
    "setting": one_of(SETTINGS),
    "alternatives": _ways,
    "kinds": some_names,
    "further_kinds": some_names,
    "population": one_of(POPULATIONS),
    "direction": one_of(DIRECTIONS),
    "min_floor_area_m2": a_size,
    "min_hours_per_day": _hours,
    "capacity_m2_per_100_households": a_size,
    "unit_share": a_share,
    "on_ledger": a_flag,
    "target_share": a_share,
    "source": a_text,
    "verified": a_flag,
}
_GROUP: Mapping[str, Rule] = {
    "population": one_of(each for each in POPULATIONS if each != "residents"),
    "mode": a_text,
}
_INDICATOR: Mapping[str, Rule] = {
    "number": a_count,
    "name_zh": a_text,
    "name_en": a_text,
    "formula": one_of(FORMULAS),
    "unit": a_text,
    "baseline": a_number,
    "target": a_size,
    "kind": a_text,
    "setting": one_of(SETTINGS),
    "column": a_text,
    "strict": a_flag,
    "source": a_text,
}
_INDICATOR_NEEDS = ("number", "name_zh", "name_en", "formula", "unit")
_FORMULA_NEEDS: Mapping[str, tuple[str, ...]] = {
    "ledger_share": ("kind", "setting"),
    "reachable_share": ("kind", "setting"),
    "people_share": ("kind", "setting"),
    "flag_share": ("setting", "column"),
    "number_per_10000": ("setting", "column"),
    "floor_area_per_100_households": ("kind", "setting"),
    "activity_area_share": ("kind", "setting"),
    "new_community_area_share": ("setting",),
}
_OF_A_STANDARD = frozenset({"ledger_share", "reachable_share", "people_share"})
_PROJECT_RULES: Mapping[str, Rule] = {
    "deadline": a_count,
    "village_floor_area_m2": a_size,
    "floor_area_per_100_households_m2": a_size,
    "activity_share": a_share,
    "new_urban_floor_area_m2": a_size,
    "estate_built_until": a_count,
}


# -- what is wrong ---------------------------------------------------------------------------------


def _plan_faults(table: _Table) -> Iterator[Fault]:
    yield from table_faults(table, _PLAN, required=_PLAN_NEEDS)
    if table.get("standards") == []:
        yield Fault(("standards",), "standards is empty: give at least one [[standards]] block")
    for key, rules in (("expected_units", _EXPECTED_UNITS), ("project_rules", _PROJECT_RULES)):
        yield from table_faults(_table_of(table, key), rules, place=(key,), where=key)
    years: list[Any] = [table.get(key) for key in ("baseline_year", "target_year")]
    if all(isinstance(year, int) for year in years) and years[0] > years[1]:
        yield Fault(
            ("target_year",),
            f"target_year must not lie before baseline_year ({years[0]}), not {years[1]}",
        )
    modes = _table_of(table, "modes")
    yield from _mode_faults(modes)
    standards = _blocks(table, "standards")
    for number, standard in enumerate(standards):
        yield from _standard_faults(standard, number, modes)
    yield from _repeated_standards(standards)
    yield from _group_faults(_blocks(table, "groups"), modes)
    for key in ("indicators", "promises"):
        for number, indicator in enumerate(_blocks(table, key)):
            place, where = (key, number), f"{key}[{number}]"
            yield from _indicator_faults(indicator, standards, place=place, where=where)
    yield from _repeated_numbers(table)


def _table_of(table: _Table, key: str) -> _Table:
    """Give a table of the file; an empty one where it is no table, which is told elsewhere."""
    found = table.get(key, {})
    return found if isinstance(found, Mapping) else {}


def _blocks(table: _Table, key: str) -> list[_Table]:
    found = table.get(key, [])
    return [] if some_tables(found) else found


def _is(value: Any, rule: Rule) -> bool:
    return not rule(value)


def _mode_faults(modes: _Table) -> Iterator[Fault]:
    for name, entry in modes.items():
        place, where = ("modes", name), f"modes.{name}"
        needed = () if name in MODES else ("like",)
        found = table_faults(entry, _MODE, required=needed, place=place, where=where)
        yield from found
        if not found:
            try:
                _mode(name, entry)
            except ValueError as fault:
                yield Fault(place, f"{where}: {fault}")


def _mode_rule(modes: _Table) -> Rule:
    known = tuple(dict.fromkeys([*MODES, *modes]))
    return one_of(known, cure=" (describe others under [modes.…])")


def _standard_faults(entry: _Table, number: int, modes: _Table) -> Iterator[Fault]:
    place: Place = ("standards", number)
    where = f"standards[{number}]"
    if _is(entry.get("kind"), a_text):
        where = f"{where} ({entry['kind']})"
    needed = ("kind", "setting", "alternatives")
    found = table_faults(entry, _STANDARD, required=needed, place=place, where=where)
    for index, alternative in enumerate(_blocks(entry, "alternatives")):
        spot, words = (*place, "alternatives", index), f"{where}: alternatives[{index}]"
        found += _alternative_faults(alternative, modes, place=spot, where=words)
    yield from found
    if not found:
        try:
            _standard(entry)
        except PlanError as fault:
            yield Fault(_named(str(fault), entry, place), f"{where}: {fault}")
    further: Any = entry.get("further_kinds")
    required = entry.get("kinds", [entry.get("kind")])
    if _is(further, some_names) and isinstance(required, list):
        for kind in further:
            if kind in required:
                yield Fault(
                    (*place, "further_kinds"),
                    f"{where}: further_kinds must not name {kind}, which must be reached anyway; "
                    "leave it out of one of the two lists",
                )
    if entry.get("verified") is True and "source" not in entry:
        yield Fault(
            (*place, "verified"),
            f"{where}: verified says that the values were read at their source: give source, or "
            "leave verified out",
        )


def _alternative_faults(entry: _Table, modes: _Table, *, place: Place, where: str) -> list[Fault]:
    rules = {**_ALTERNATIVE, "mode": _mode_rule(modes)}
    found = table_faults(entry, rules, required=("mode",), place=place, where=where)
    if not found:
        try:
            _alternative(entry)
        except PlanError as fault:
            found = [Fault(place, f"{where}: {fault}")]
    return found


def _named(words: str, entry: _Table, place: Place) -> Place:
    """Give the place of the key that words speak of; the longest, for `kind` is in many."""
    spoken = [key for key in entry if key in words]
    return (*place, max(spoken, key=len)) if spoken else place


def _repeated_standards(standards: list[_Table]) -> Iterator[Fault]:
    first: dict[tuple[Any, Any], int] = {}
    settings: dict[Any, set[Any]] = {}
    for number, entry in enumerate(standards):
        kind, setting = entry.get("kind"), entry.get("setting")
        if not (_is(kind, a_text) and _is(setting, a_text)):
            continue
        where = f"standards[{number}] ({kind})"
        before = settings.setdefault(kind, set())
        if (kind, setting) in first:
            yield Fault(
                ("standards", number, "setting"),
                f"{where}: two standards for {kind} in {setting} units, the other is "
                f"standards[{first[kind, setting]}]; keep one (several ways to pass go into its "
                "alternatives)",
            )
        elif before and (setting == "resettlement" or "resettlement" in before):
            yield Fault(
                ("standards", number, "kind"),
                f'{where}: a standard for "resettlement" is counted by itself and needs a kind of '
                f"its own, not {kind!r} as another has; name it otherwise and give the facilities "
                f"as kinds = [{kind!r}]",
            )
        first.setdefault((kind, setting), number)
        before.add(setting)


def _group_faults(groups: list[_Table], modes: _Table) -> Iterator[Fault]:
    seen: set[Any] = set()
    rules = {**_GROUP, "mode": _mode_rule(modes)}
    for number, entry in enumerate(groups):
        place, where = ("groups", number), f"groups[{number}]"
        found = table_faults(
            entry, rules, required=("population", "mode"), place=place, where=where
        )
        yield from found
        if found:
            continue
        population, mode = entry["population"], entry["mode"]
        if population in seen:
            yield Fault(
                (*place, "population"),
                f"{where}: population {population!r} has a group already; keep one",
            )
        seen.add(population)
        like = _like(mode, modes.get(mode, {}))
        if like in MODES and not MODES[like].on_foot:
            yield Fault(
                (*place, "mode"),
                f"{where}: mode must be a way of walking (walk, elderly_walk or one like them), "
                f"not {mode!r}",
            )


def _indicator_faults(
    entry: _Table, standards: list[_Table], *, place: Place, where: str
) -> Iterator[Fault]:
    found = table_faults(entry, _INDICATOR, required=_INDICATOR_NEEDS, place=place, where=where)
    yield from found
    formula: Any = entry.get("formula")
    if not _is(formula, _INDICATOR["formula"]):
        return
    needs = _FORMULA_NEEDS[formula]
    for key in needs:
        if key not in entry:
            yield Fault(
                place,
                f"{where}: {key} is missing; {formula} is taken over {' and '.join(needs)}",
            )
    for key in ("kind", "setting", "column"):
        if key in entry and key not in needs:
            yield Fault((*place, key), f"{where}: {key} means nothing to {formula}; leave it out")
    if formula.endswith("_share"):
        yield from _share_faults(entry, place=place, where=where)
    if not found and all(key in entry for key in needs) and "kind" in needs:
        yield from _kind_faults(entry, standards, place=place, where=where)


def _repeated_numbers(table: _Table) -> Iterator[Fault]:
    seen: dict[int, str] = {}
    for key in ("indicators", "promises"):
        for number, indicator in enumerate(_blocks(table, key)):
            own: Any = indicator.get("number")
            if a_count(own):
                continue
            where = f"{key}[{number}]"
            if own in seen:
                yield Fault(
                    (key, number, "number"),
                    f"{where}: number {own} is that of {seen[own]} too; number promises on from "
                    "the indicators",
                )
            seen.setdefault(own, where)


def _share_faults(entry: _Table, *, place: Place, where: str) -> Iterator[Fault]:
    """Say what is wrong with an indicator whose value is a share."""
    formula = entry["formula"]
    if _is(entry.get("unit"), a_text) and entry["unit"] != "share":
        yield Fault(
            (*place, "unit"),
            f'{where}: unit must be "share" for {formula}, not {entry["unit"]!r}',
        )
    for key in ("baseline", "target"):
        value: Any = entry.get(key)
        if _is(value, a_number) and value > 1:
            yield Fault(
                (*place, key),
                f"{where}: {key} is a share, at most 1 (80 % is 0.8), not {value!r}",
            )


def _kind_faults(
    entry: _Table, standards: list[_Table], *, place: Place, where: str
) -> Iterator[Fault]:
    """Say what the plan lacks for an indicator of a kind."""
    kind, setting, formula = entry["kind"], entry["setting"], entry["formula"]
    own = {str(each.get("setting")): each for each in standards if each.get("kind") == kind}
    if formula not in _OF_A_STANDARD:
        if kind not in labels("kind") and kind not in _facility_kinds(standards):
            yield Fault(
                (*place, "kind"),
                f"{where}: kind must be one that facilities have, not {kind!r}; add it to "
                "[[standards]] or correct it",
            )
        return
    for each in ("rural", "urban") if setting == "all" else (setting,):
        standard = own.get(each) or (own.get("all") if each != "resettlement" else None)
        if standard is None:
            yield Fault(
                (*place, "kind"),
                f"{where}: there is no standard for {kind} in {each} units, which {formula} needs; "
                "add one to [[standards]] or correct kind and setting",
            )
        elif formula == "ledger_share" and standard.get("on_ledger") is not True:
            yield Fault(
                (*place, "formula"),
                f"{where}: the standard for {kind} in {each} units is not on the ledger, which "
                "ledger_share counts; set its on_ledger = true or take reachable_share",
            )


def _facility_kinds(standards: list[_Table]) -> set[Any]:
    lists = (
        each.get(key, [each.get("kind")])
        for each in standards
        for key in ("kinds", "further_kinds")
    )
    return {kind for kinds in lists if _is(kinds, some_names) for kind in kinds}


# -- what it says ----------------------------------------------------------------------------------


def _plan(table: _Table) -> Plan:
    """Make the plan of a file that has no faults."""
    given: dict[str, Any] = {
        key: table[key] for key in ("plan_id", "name_zh", "name_en", "baseline_year", "target_year")
    }
    if "groups" in table:
        given["groups"] = tuple(Group(**entry) for entry in table["groups"])
    return Plan(
        **given,
        source=table.get("source", ""),
        standards=tuple(_standard(entry) for entry in table["standards"]),
        indicators=tuple(Indicator(**entry) for entry in table.get("indicators", [])),
        promises=tuple(Indicator(**entry) for entry in table.get("promises", [])),
        project_rules=ProjectRules(**table.get("project_rules", {})),
        modes={**MODES, **{name: _mode(name, e) for name, e in table.get("modes", {}).items()}},
        expected_units=dict(table.get("expected_units", {})),
    )


def _like(name: str, entry: Any) -> str:
    """Give the mode another is described after."""
    return str(entry.get("like", name)) if isinstance(entry, Mapping) else name


def _mode(name: str, entry: _Table) -> Mode:
    changes = {key: value for key, value in entry.items() if key != "like"}
    return replace(MODES[_like(name, entry)], name=name, **changes)


def _standard(entry: _Table) -> Standard:
    lists = {key: tuple(entry[key]) for key in ("kinds", "further_kinds") if key in entry}
    alternatives = tuple(_alternative(each) for each in entry["alternatives"])
    return Standard(**{**entry, **lists, "alternatives": alternatives})


def _alternative(entry: _Table) -> Alternative:
    limits = {key: float(entry[key]) for key in ("minutes", "metres") if key in entry}
    return Alternative(**{**entry, **limits})
