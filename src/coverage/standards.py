"""What counts as covered, and what was promised: standards, indicators and plans as data.

`facility_coverage.load_plan` reads them from a TOML file in which every value names its source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from .errors import PlanError
from .modes import MINUTES_PER_METRE_AT_1_KPH, MODES, Mode
from .terms import label

__all__ = [
    "DIRECTIONS",
    "FORMULAS",
    "MEASURES",
    "POPULATIONS",
    "SETTINGS",
    "Alternative",
    "Group",
    "Indicator",
    "Plan",
    "ProjectRules",
    "Standard",
    "Way",
    "units_needed",
]

SETTINGS = ("rural", "urban", "all", "resettlement")
DIRECTIONS = ("to_facility", "from_facility")
MEASURES = ("time", "network", "straight")
POPULATIONS = ("residents", "elderly", "children", "disabled")
FORMULAS = (
    "ledger_share",
    "reachable_share",
    "people_share",
    "flag_share",
    "number_per_10000",
    "floor_area_per_100_households",
    "activity_area_share",
    "new_community_area_share",
)


class Way(NamedTuple):
    """How a trip is made and measured: each way needs a search of its own."""

    mode: str
    measure: str = "time"
    direction: str = "to_facility"


@dataclass(frozen=True)
class Alternative:
    """One way to pass a standard: by this mode, within these minutes or metres.

    Parameters
    ----------
    mode : str
        How people travel.
    minutes : float or None
        The longest time, where `measure` is ``"time"``.
    metres : float or None
        The longest distance, where `measure` is one of the others.
    measure : {"time", "network", "straight"}
        Time over the roads; metres over the roads the mode may use, the way to the road included;
        or metres as the crow flies. A radius (服务半径) says which of the two it is.

    Raises
    ------
    PlanError
        Where minutes or metres do not fit the measure.

    Examples
    --------
    >>> Alternative("walk", 15.0).words, Alternative("walk", metres=300.0, measure="straight").words
    ('walk ≤ 15 min', 'walk ≤ 300 m straight')
    """

    mode: str
    minutes: float | None = None
    metres: float | None = None
    measure: str = "time"

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        if self.measure not in MEASURES:
            raise PlanError(f"measure must be one of {', '.join(MEASURES)}, not {self.measure!r}")
        wanted, other = ("minutes", "metres") if self.measure == "time" else ("metres", "minutes")
        value = getattr(self, wanted)
        if value is None or getattr(self, other) is not None:
            raise PlanError(
                f"an alternative measured by {self.measure} has {wanted} and no {other} "
                '(measure="time" goes by minutes, "network" and "straight" by metres)'
            )
        if not 0 < value < math.inf:
            raise PlanError(f"{wanted} must be positive, not {value!r}")

    def limit_minutes(self, modes: Mapping[str, Mode]) -> float:
        """Give the limit in minutes; metres at the mode's speed on the level.

        Parameters
        ----------
        modes : mapping of str to Mode
            The plan's.

        Examples
        --------
        >>> Alternative("walk", metres=300.0, measure="straight").limit_minutes(MODES)
        4.5
        """
        if self.minutes is not None:
            return self.minutes
        return float(self.metres or 0) * MINUTES_PER_METRE_AT_1_KPH / modes[self.mode].speed_kph

    @property
    def words(self) -> str:
        """The rule in a few words."""
        if self.minutes is not None:
            return f"{self.mode} ≤ {self.minutes:g} min"
        return f"{self.mode} ≤ {self.metres:g} m {self.measure}"

    def in_words(self, lang: str = "zh") -> str:
        """Give the rule as planners read it.

        Examples
        --------
        >>> Alternative("walk", metres=300.0, measure="straight").in_words()
        '步行直线距离不超过300米'
        """
        mode = label("mode", self.mode, lang)
        if self.minutes is not None:
            limit = f"{self.minutes:g}"
            return f"{mode}不超过{limit}分钟" if lang == "zh" else f"{mode} ≤ {limit} min"
        how = label("way_measure", self.measure, lang)
        if lang == "zh":
            return f"{mode}{how}不超过{self.metres:g}米"
        return f"{mode} ≤ {self.metres:g} m ({how})"


@dataclass(frozen=True)
class Standard:
    """What it takes for a person to be covered by a kind of facility.

    Parameters
    ----------
    kind : str
        The name results carry: a kind of facility, or of a composite circle.
    setting : {"rural", "urban", "all", "resettlement"}
        Which units it applies to. A standard for ``"all"`` applies where none is set for the unit's
        own setting. One for ``"resettlement"`` applies to resettlement and hollow-village units,
        rural or urban, and is counted by itself.
    alternatives : tuple of Alternative
        A person is covered if any one of them holds.
    kinds : tuple of str
        The kinds of facility that must *all* be reached; ``(kind,)`` unless composite.
    further_kinds : tuple of str
        Kinds that count in the score of a composite circle, and need not be reached.
    population : {"residents", "elderly", "children", "disabled"}
        Whom it is for: the people who are counted.
    direction : {"to_facility", "from_facility"}
        Whether people go there, or help comes to them.
    min_floor_area_m2, min_hours_per_day : float or None
        A facility counts only from this size and these opening hours on. A facility whose size or
        hours are not known can neither prove nor disprove coverage.
    capacity_m2_per_100_households : float or None
        Where set, a facility covers the households nearest to it, as many as its floor area is
        enough for; the rest are ``over_capacity``.
    unit_share : float
        The share of a unit's people that must be covered for the unit to count.
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
    further_kinds: tuple[str, ...] = ()
    population: str = "residents"
    direction: str = "to_facility"
    min_floor_area_m2: float | None = None
    min_hours_per_day: float | None = None
    capacity_m2_per_100_households: float | None = None
    unit_share: float = 0.5
    on_ledger: bool = False
    target_share: float | None = None
    source: str = ""
    verified: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning: room in a circle of several kinds."""
        if self.capacity_m2_per_100_households is not None and len(self.required_kinds) > 1:
            raise PlanError(
                "capacity_m2_per_100_households is for one kind of facility; "
                f"{', '.join(self.required_kinds)} each need a standard of their own"
            )

    @property
    def required_kinds(self) -> tuple[str, ...]:
        """The kinds that must all be reached."""
        return self.kinds or (self.kind,)

    def way(self, alternative: Alternative) -> Way:
        """Give the search an alternative needs."""
        return Way(alternative.mode, alternative.measure, self.direction)

    @property
    def words(self) -> str:
        """The rule in a few words."""
        return " or ".join(alternative.words for alternative in self.alternatives)

    def in_words(self, lang: str = "zh") -> str:
        """Give the rule as planners read it, with what a facility must have.

        Examples
        --------
        >>> alternatives = (Alternative("walk", 20.0), Alternative("ebike", 15.0))
        >>> Standard("clinic", "rural", alternatives, min_floor_area_m2=60.0).in_words()
        '步行不超过20分钟，或电动自行车不超过15分钟；面积不低于60㎡'
        """
        zh = lang == "zh"
        ways = [each.in_words(lang) for each in self.alternatives]
        parts = [("，或" if zh else " or ").join(ways)]
        if self.min_floor_area_m2 is not None:
            least = f"{self.min_floor_area_m2:g}"
            parts.append(f"面积不低于{least}㎡" if zh else f"at least {least} m²")
        if self.min_hours_per_day is not None:
            least = f"{self.min_hours_per_day:g}"
            parts.append(f"每日开放不少于{least}小时" if zh else f"open {least} h a day")
        return ("；" if zh else "; ").join(parts)


@dataclass(frozen=True)
class Group:
    """People who come first (老年人、未成年人、残疾人优先), and how they walk.

    Parameters
    ----------
    population : {"elderly", "children", "disabled"}
        The column that counts them.
    mode : str
        The mode they walk by. They are not taken to drive: where a standard can be passed on foot,
        it is by this mode alone that they pass it, within the same minutes.
    """

    population: str
    mode: str

    def standard(self, standard: Standard, modes: Mapping[str, Mode]) -> Standard:
        """Give a standard as it holds for them."""
        walking = [
            replace(alternative, mode=self.mode) if alternative.measure == "time" else alternative
            for alternative in standard.alternatives
            if modes[alternative.mode].on_foot
        ]
        return replace(
            standard,
            population=self.population,
            alternatives=tuple(dict.fromkeys(walking)) or standard.alternatives,
        )


@dataclass(frozen=True)
class Indicator:
    """One line of a plan's indicator table, or one of its promises.

    Parameters
    ----------
    number : int
        Its number in the plan's table; promises are numbered on.
    name_zh, name_en : str
        What it is called.
    formula : str
        How it is computed:

        - ``ledger_share``, ``reachable_share``: covered units ÷ units of `kind` and `setting`, on
          that basis; ``people_share``: people covered ÷ people;
        - ``flag_share``: units of the setting whose `column` is true ÷ units;
        - ``number_per_10000``: Σ `column` ÷ Σ residents × 10,000, over units of the setting;
        - ``floor_area_per_100_households``: 100 × Σ floor area ÷ Σ households;
          ``activity_area_share``: Σ activity area ÷ Σ floor area, both over the facilities of
          `kind` in use that units of the setting keep;
        - ``new_community_area_share``: Σ `new_service_area_m2` ÷ Σ `new_building_area_m2` over
          units of the setting that have a new community.
    unit : str
        Of its value: ``"share"``, ``"m²"``, ….
    baseline, target : float or None
        None where the plan gives none.
    kind, setting, column : str
        What the formula is taken over.
    strict : bool
        Whether the value must exceed the target; else reaching it is enough.
    source : str
        The section of the plan.
    """

    number: int
    name_zh: str
    name_en: str
    formula: str
    unit: str
    baseline: float | None = None
    target: float | None = None
    kind: str = ""
    setting: str = ""
    column: str = ""
    strict: bool = False
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


_GROUPS = (
    Group("elderly", "elderly_walk"),
    Group("children", "walk"),
    Group("disabled", "elderly_walk"),
)


@dataclass(frozen=True)
class Plan:
    """Standards, indicators and promises of one county's plan.

    Parameters
    ----------
    plan_id, name_zh, name_en, source : str
        What it is, and where it comes from.
    baseline_year, target_year : int
        The years of its baseline and of its targets.
    standards : tuple of Standard
        What counts as covered.
    indicators, promises : tuple of Indicator
        Its table of indicators, and what it promises elsewhere (full coverage and the like).
    project_rules : ProjectRules
        Parameters of the shortfall projects.
    groups : tuple of Group
        Who comes first; rates are given for each.
    modes : mapping of str to Mode
        How people travel.
    expected_units : mapping of str to int
        How many villages and communities the plan speaks of.
    """

    plan_id: str
    name_zh: str
    name_en: str
    source: str
    baseline_year: int
    target_year: int
    standards: tuple[Standard, ...]
    indicators: tuple[Indicator, ...] = ()
    promises: tuple[Indicator, ...] = ()
    project_rules: ProjectRules = ProjectRules()
    groups: tuple[Group, ...] = _GROUPS
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
        """Give the standard for a kind and setting, or None where the plan sets none.

        One for ``"all"`` holds for rural and urban units that have none of their own.
        """
        found = {each.setting: each for each in self.standards if each.kind == kind}
        return found.get(setting) or (None if setting == "resettlement" else found.get("all"))

    def _repr_html_(self) -> str:
        import pandas as pd  # noqa: PLC0415 - only a notebook asks for it

        rows = [
            {
                "kind": standard.kind,
                "setting": standard.setting,
                "pass": standard.words,
                "target": standard.target_share,
                "source": standard.source,
                "verified": standard.verified,
            }
            for standard in self.standards
        ]
        caption = f"{self.name_zh} / {self.name_en}"
        return str(pd.DataFrame(rows).style.set_caption(caption).hide(axis="index").to_html())


def units_needed(share: float, total: int, *, strict: bool = False) -> int:
    """Count the whole units that meet a share: 80 % of 199 villages is 160, not 159.

    Parameters
    ----------
    share : float
        The promised share, in [0, 1].
    total : int
        How many units there are.
    strict : bool
        Whether more than the share is promised.

    Examples
    --------
    >>> units_needed(0.8, 199), units_needed(0.6, 200), units_needed(1.0, 14)
    (160, 120, 14)
    >>> units_needed(0.6, 200, strict=True)
    121
    """
    # 0.6 × 200 is 120.00000000000001 in floats for some shares: count in exact decimals.
    exact = Fraction(str(share)) * total
    return math.floor(exact) + 1 if strict else math.ceil(exact)
