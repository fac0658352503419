"""Standards and plans: what counts as covered, and what was promised, each with its source.

A plan is a TOML file. The ones shipped stand in ``presets/``; a planner copies one, edits it and
loads it by path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

from .errors import MissingInputError, PlanError
from .modes import MODES, Mode
from .tomlfile import check_keys, read_toml, require

__all__ = ["Alternative", "Indicator", "Plan", "Standard", "load_plan", "units_needed"]

SETTINGS = ("rural", "urban")
_FORMULAS = (
    "ledger_share_rural",
    "ledger_share_urban",
    "new_community_area_share",
    "floor_area_per_100_households",
    "activity_area_share",
    "terminal_share",
    "workers_per_10000",
)


@dataclass(frozen=True)
class Alternative:
    """One way to pass a standard: by this mode, within these minutes."""

    mode: str
    minutes: float


@dataclass(frozen=True)
class Standard:
    """What it takes for a person to be covered by a kind of facility.

    Parameters
    ----------
    kind : str
        The name results carry: a kind of facility, or of a composite circle.
    setting : {"rural", "urban"}
        Which units it applies to.
    alternatives : tuple of Alternative
        A person is covered if any one of them holds.
    kinds : tuple of str
        The kinds of facility that must *all* be reached; ``(kind,)`` unless composite.
    min_floor_area_m2, min_hours_per_day : float or None
        A facility counts only from this size and these opening hours on. A facility whose size or
        hours are not known can neither prove nor disprove coverage.
    unit_share : float
        The share of a unit's residents that must be covered for the unit to count.
    on_ledger : bool
        Whether the official indicator counts units that have (or share) such a facility.
    target_share : float or None
        The share of units promised, in [0, 1].
    source : str
        Where the values come from.
    verified : bool
        Whether the values were read at that source.
    """

    kind: str
    setting: str
    alternatives: tuple[Alternative, ...]
    kinds: tuple[str, ...] = ()
    min_floor_area_m2: float | None = None
    min_hours_per_day: float | None = None
    unit_share: float = 0.5
    on_ledger: bool = False
    target_share: float | None = None
    source: str = ""
    verified: bool = False

    @property
    def limit_minutes(self) -> float:
        """The longest time any alternative allows, in minutes."""
        return max(alternative.minutes for alternative in self.alternatives)


@dataclass(frozen=True)
class Indicator:
    """One line of a plan's indicator table.

    `formula` names how it is computed (see `facility_coverage.assess`); `baseline` and `target`
    are shares in [0, 1] or numbers in `unit`, None where the plan gives none.
    """

    number: int
    name_zh: str
    name_en: str
    formula: str
    unit: str
    baseline: float | None
    target: float | None
    source: str = ""


@dataclass(frozen=True)
class ProjectRules:
    """Parameters of the three shortfall projects (专栏3).

    Parameters
    ----------
    deadline : int
        The year by which they are due.
    village_floor_area_m2 : float
        Least floor area of a village facility.
    floor_area_per_100_households_m2 : float
        The promised floor area for every 100 households.
    activity_share : float
        The promised share of activity area in floor area.
    new_urban_floor_area_m2 : float
        Least floor area of a newly built urban facility.
    estate_built_until : int
        Estates built up to this year count as old.
    """

    deadline: int = 2025
    village_floor_area_m2: float = 200.0
    floor_area_per_100_households_m2: float = 30.0
    activity_share: float = 0.6
    new_urban_floor_area_m2: float = 500.0
    estate_built_until: int = 2000


@dataclass(frozen=True)
class Plan:
    """Standards, indicators and promises of one county's plan."""

    plan_id: str
    name_zh: str
    name_en: str
    source: str
    baseline_year: int
    target_year: int
    standards: tuple[Standard, ...]
    indicators: tuple[Indicator, ...] = ()
    project_rules: ProjectRules = ProjectRules()
    modes: Mapping[str, Mode] = field(default_factory=lambda: MODES)
    expected_units: Mapping[str, int] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds the plan sets standards for, in its own order."""
        return tuple(dict.fromkeys(standard.kind for standard in self.standards))

    def name(self, lang: str = "zh") -> str:
        """Give the plan's name in Chinese or English."""
        return self.name_zh if lang == "zh" else self.name_en

    def standard(self, kind: str, setting: str) -> Standard | None:
        """Give the standard for a kind and setting, or None where the plan sets none."""
        for standard in self.standards:
            if (standard.kind, standard.setting) == (kind, setting):
                return standard
        return None

    def _repr_html_(self) -> str:
        import pandas as pd  # noqa: PLC0415 - only a notebook asks for it

        rows = [
            {
                "kind": standard.kind,
                "setting": standard.setting,
                "pass": " or ".join(f"{a.mode} ≤ {a.minutes:g} min" for a in standard.alternatives),
                "target": standard.target_share,
                "source": standard.source,
                "verified": standard.verified,
            }
            for standard in self.standards
        ]
        caption = f"{self.name_zh} / {self.name_en}"
        return str(pd.DataFrame(rows).style.set_caption(caption).hide(axis="index").to_html())


def units_needed(share: float, total: int) -> int:
    """Count the whole units that meet a share: 80 % of 199 villages is 160, not 159.

    Parameters
    ----------
    share : float
        The promised share, in [0, 1].
    total : int
        How many units there are.

    Examples
    --------
    >>> units_needed(0.8, 199), units_needed(0.6, 200), units_needed(1.0, 14)
    (160, 120, 14)
    """
    # 0.6 × 200 is 120.00000000000001 in floats for some shares: count in exact decimals.
    return math.ceil(Fraction(str(share)) * total)


def load_plan(plan: str | Path) -> Plan:
    """Load a plan by the name of a shipped preset or by the path of a TOML file.

    Parameters
    ----------
    plan : str or pathlib.Path
        ``"luanping-2025"``, ``"circle-15"``, or a path ending in ``.toml``.

    Returns
    -------
    Plan
        Its standards, indicators and project rules.

    Raises
    ------
    PlanError
        Where the file says something that cannot be used; it names the place and the cure.
    MissingInputError
        Where there is no such preset or file.

    Examples
    --------
    >>> plan = load_plan("luanping-2025")
    >>> rural = plan.standard("comprehensive_service", "rural")
    >>> rural.target_share, [(a.mode, a.minutes) for a in rural.alternatives]
    (0.8, [('walk', 20.0), ('ebike', 15.0), ('motor', 15.0)])
    """
    name = str(plan)
    if isinstance(plan, Path) or name.endswith(".toml"):
        path = Path(plan)
    else:
        folder = files("facility_coverage.presets")
        path = Path(str(folder / f"plan-{name}.toml"))
        if not path.is_file():
            known = sorted(
                entry.name.removeprefix("plan-").removesuffix(".toml")
                for entry in folder.iterdir()
                if entry.name.startswith("plan-")
            )
            raise MissingInputError(
                f"no shipped plan is called {name!r}: there are {', '.join(known)}; "
                "for your own give the path of a .toml file"
            )
    return _plan_from(read_toml(path, error=PlanError), where=str(path))


def _plan_from(table: dict[str, Any], *, where: str) -> Plan:
    check_keys(
        table,
        [
            "plan_id",
            "name_zh",
            "name_en",
            "source",
            "baseline_year",
            "target_year",
            "expected_units",
            "modes",
            "standards",
            "indicators",
            "project_rules",
        ],
        where=where,
        error=PlanError,
    )
    modes = _modes_from(table.get("modes", {}), where=where)
    standards = tuple(
        _standard_from(entry, modes, where=f"{where}: standards[{index}]")
        for index, entry in enumerate(
            require(table, "standards", list, where=where, error=PlanError)
        )
    )
    seen: set[tuple[str, str]] = set()
    for standard in standards:
        if (standard.kind, standard.setting) in seen:
            raise PlanError(
                f"{where}: two standards for {standard.kind} in {standard.setting} units; keep one "
                "(several ways to pass go into its 'alternatives')"
            )
        seen.add((standard.kind, standard.setting))
    rules = table.get("project_rules", {})
    check_keys(
        rules, ProjectRules.__dataclass_fields__, where=f"{where}: project_rules", error=PlanError
    )
    return Plan(
        plan_id=require(table, "plan_id", str, where=where, error=PlanError),
        name_zh=require(table, "name_zh", str, where=where, error=PlanError),
        name_en=require(table, "name_en", str, where=where, error=PlanError),
        source=table.get("source", ""),
        baseline_year=require(table, "baseline_year", int, where=where, error=PlanError),
        target_year=require(table, "target_year", int, where=where, error=PlanError),
        standards=standards,
        indicators=tuple(
            _indicator_from(entry, where=f"{where}: indicators[{index}]")
            for index, entry in enumerate(table.get("indicators", []))
        ),
        project_rules=ProjectRules(**rules),
        modes=modes,
        expected_units=dict(table.get("expected_units", {})),
    )


def _modes_from(table: dict[str, Any], *, where: str) -> Mapping[str, Mode]:
    modes = dict(MODES)
    for name, entry in table.items():
        place = f"{where}: modes.{name}"
        check_keys(
            entry,
            ["like", "speed_kph", "leg_speed_kph", "speeds_kph", "source"],
            where=place,
            error=PlanError,
        )
        like = entry.get("like", name)
        if like not in MODES:
            raise PlanError(f"{place}: 'like' must name one of {', '.join(MODES)}, not {like!r}")
        changes = {key: value for key, value in entry.items() if key != "like"}
        try:
            modes[name] = replace(MODES[like], name=name, **changes)
        except (TypeError, ValueError) as fault:
            raise PlanError(f"{place}: {fault}") from None
    return modes


def _standard_from(entry: dict[str, Any], modes: Mapping[str, Mode], *, where: str) -> Standard:
    check_keys(entry, Standard.__dataclass_fields__, where=where, error=PlanError)
    kind = require(entry, "kind", str, where=where, error=PlanError)
    where = f"{where} ({kind})"
    setting = require(entry, "setting", str, where=where, error=PlanError)
    if setting not in SETTINGS:
        raise PlanError(f"{where}: setting must be one of {', '.join(SETTINGS)}, not {setting!r}")
    alternatives = []
    for alternative in require(entry, "alternatives", list, where=where, error=PlanError):
        check_keys(alternative, ["mode", "minutes"], where=where, error=PlanError)
        mode = require(alternative, "mode", str, where=where, error=PlanError)
        if mode not in modes:
            raise PlanError(f"{where}: unknown mode {mode!r}; known: {', '.join(modes)}")
        minutes = float(require(alternative, "minutes", (int, float), where=where, error=PlanError))
        if not 0 < minutes < math.inf:
            raise PlanError(f"{where}: minutes must be positive, not {minutes!r}")
        alternatives.append(Alternative(mode, minutes))
    if not alternatives:
        raise PlanError(f"{where}: give at least one alternative, e.g. {{mode='walk', minutes=15}}")
    for key in ("unit_share", "target_share"):
        share = entry.get(key)
        if share is not None and not 0 < share <= 1:
            raise PlanError(
                f"{where}: {key} is a share between 0 and 1, not {share!r} (80 % is 0.8)"
            )
    rest = {k: v for k, v in entry.items() if k not in {"kind", "setting", "alternatives", "kinds"}}
    return Standard(
        kind=kind,
        setting=setting,
        alternatives=tuple(alternatives),
        kinds=tuple(entry.get("kinds", (kind,))),
        **rest,
    )


def _indicator_from(entry: dict[str, Any], *, where: str) -> Indicator:
    check_keys(entry, Indicator.__dataclass_fields__, where=where, error=PlanError)
    formula = require(entry, "formula", str, where=where, error=PlanError)
    if formula not in _FORMULAS:
        raise PlanError(f"{where}: unknown formula {formula!r}; known: {', '.join(_FORMULAS)}")
    try:
        return Indicator(**{"baseline": None, "target": None, **entry})
    except TypeError as fault:
        raise PlanError(f"{where}: {fault}") from None
