"""Ways of travelling: how fast, on which roads, and whether one-way signs bind.

The speeds are this library's editable defaults, not standards. Their evidence: GB 50180's circles
(300 m in 5 min, 500 m in 10, 800-1,000 m in 15) imply 3.0-4.0 km/h on foot; Shanghai's 1 km in
15 min is 4.0; ages beyond that walk 3.2 and less; e-bikes are capped at 25 km/h by law and
average less (the law makes them bicycles, so bicycle rules bind them); the road classes follow the
design speeds of class II, III and IV roads (60-80, 30-40, 20-30 km/h) less the delays of mountain
roads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .errors import InputError

__all__ = ["MINUTES_PER_METRE_AT_1_KPH", "MODES", "SLOPE_RULES", "Mode", "mode_named"]

MINUTES_PER_METRE_AT_1_KPH = 60.0 / 1000.0
SLOPE_RULES = ("", "tobler", "tobler_mean")

_NOT_ON_FOOT = frozenset({"motorway", "motorway_link", "raceway", "construction", "proposed"})
_NOT_BY_BICYCLE = _NOT_ON_FOOT | {"steps", "corridor", "platform"}
_NOT_BY_MOTOR = _NOT_BY_BICYCLE - {"motorway", "motorway_link"} | {
    "bridleway",
    "cycleway",
    "footway",
    "path",
    "pedestrian",
}

_MOTOR_SPEEDS_KPH: Mapping[str, float] = MappingProxyType(
    {
        "motorway": 80.0,
        "motorway_link": 50.0,
        "trunk": 50.0,
        "trunk_link": 50.0,
        "primary": 50.0,
        "primary_link": 50.0,
        "secondary": 35.0,
        "secondary_link": 35.0,
        "tertiary": 25.0,
        "tertiary_link": 25.0,
        "track": 12.0,
    }
)


@dataclass(frozen=True)
class Mode:
    """A way of travelling.

    Parameters
    ----------
    name : str
        Slug: ``"walk"``, ``"elderly_walk"``, ``"bicycle"``, ``"ebike"``, ``"motor"``, or your own.
    speed_kph : float
        Speed on every road class that `speeds_kph` does not name, in km/h.
    leg_speed_kph : float
        Speed of the walk between a point and the road, in km/h: nobody drives across a yard.
    speeds_kph : mapping of str to float
        Speeds by OSM ``highway`` class, in km/h.
    closed_to : frozenset of str
        ``highway`` classes the mode may not use.
    obeys_one_way : bool
        Whether one-way streets bind it (they do not bind walkers).
    access_keys : tuple of str
        Columns of the roads that say who may use them, the most particular first, as OSM's keys
        of that name: the first that is stated decides, before `closed_to`.
    one_way_keys : tuple of str
        Columns that may lift a one-way rule for this mode (``oneway_bicycle`` = ``no``).
    stated_speed : bool
        Whether the speed a road states (`speed_kph` of the edge) goes before the speed of its
        class.
    slope : {"", "tobler", "tobler_mean"}
        Whether slopes count, where the roads have them (see `facility_coverage.add_elevation`):
        not; by Tobler's function in the direction of travel; or by the mean of both directions,
        for who climbs to a facility comes down again.
    junction_delay_s : float
        Seconds lost at each junction passed (a node where three or more edges meet).
    source : str
        Where the speed comes from.
    """

    name: str
    speed_kph: float
    leg_speed_kph: float = 4.0
    speeds_kph: Mapping[str, float] = field(default_factory=dict)
    closed_to: frozenset[str] = frozenset()
    obeys_one_way: bool = False
    access_keys: tuple[str, ...] = ("access",)
    one_way_keys: tuple[str, ...] = ()
    stated_speed: bool = False
    slope: str = ""
    junction_delay_s: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse speeds that are not positive numbers, and rules that are not known."""
        for what, speed in (
            ("speed_kph", self.speed_kph),
            ("leg_speed_kph", self.leg_speed_kph),
            *((f"speeds_kph[{name}]", speed) for name, speed in self.speeds_kph.items()),
        ):
            if not 0 < speed < 400:  # noqa: PLR2004 - faster than any road vehicle
                raise ValueError(f"mode {self.name}: {what} must be a speed in km/h, not {speed!r}")
        if self.slope not in SLOPE_RULES:
            raise ValueError(
                f"mode {self.name}: slope must be one of {SLOPE_RULES}, not {self.slope!r}"
            )
        if not 0 <= self.junction_delay_s < 600:  # noqa: PLR2004 - ten minutes is no crossing
            raise ValueError(
                f"mode {self.name}: junction_delay_s must be seconds from 0 to 600, not "
                f"{self.junction_delay_s!r}"
            )

    @property
    def on_foot(self) -> bool:
        """Whether it is a way of walking: it asks who may walk."""
        return "foot" in self.access_keys

    @property
    def key(self) -> tuple[object, ...]:
        """All that decides minutes, as a hashable key (mappings do not hash)."""
        return (
            self.speed_kph,
            self.leg_speed_kph,
            tuple(sorted(self.speeds_kph.items())),
            self.closed_to,
            self.obeys_one_way,
            self.access_keys,
            self.one_way_keys,
            self.stated_speed,
            self.slope,
            self.junction_delay_s,
        )

    @property
    def roads_key(self) -> tuple[object, ...]:
        """All that decides which roads may be used: modes that share it join them alike."""
        return (self.closed_to, self.access_keys)


_WALK_SOURCE = "GB 50180-2018 circles, 3.0-4.0 km/h; Shanghai 1 km / 15 min"

MODES: Mapping[str, Mode] = MappingProxyType(
    {
        mode.name: mode
        for mode in (
            Mode(
                "walk",
                4.0,
                closed_to=_NOT_ON_FOOT,
                access_keys=("foot", "access"),
                slope="tobler_mean",
                source=_WALK_SOURCE,
            ),
            Mode(
                "elderly_walk",
                3.0,
                leg_speed_kph=3.0,
                closed_to=_NOT_ON_FOOT,
                access_keys=("foot", "access"),
                slope="tobler_mean",
                source="library default; all-age circles of 800-1,100 m are too long for elderly",
            ),
            Mode(
                "bicycle",
                12.0,
                closed_to=_NOT_BY_BICYCLE,
                obeys_one_way=True,
                access_keys=("bicycle", "vehicle", "access"),
                one_way_keys=("oneway_bicycle",),
                source="library default",
            ),
            Mode(
                "ebike",
                18.0,
                closed_to=_NOT_BY_BICYCLE,
                obeys_one_way=True,
                access_keys=("bicycle", "vehicle", "access"),
                one_way_keys=("oneway_bicycle",),
                source="library default, under the legal cap of 25 km/h",
            ),
            Mode(
                "motor",
                18.0,
                speeds_kph=_MOTOR_SPEEDS_KPH,
                closed_to=_NOT_BY_MOTOR,
                obeys_one_way=True,
                access_keys=("motor_vehicle", "vehicle", "access"),
                stated_speed=True,
                source="library default after the design speeds of class II-IV roads",
            ),
        )
    }
)


def mode_named(mode: str | Mode) -> Mode:
    """Give a mode by its name; one that is given itself is passed on.

    Parameters
    ----------
    mode : str or Mode
        A name in `MODES`, or a mode.

    Returns
    -------
    Mode
        The mode.

    Raises
    ------
    InputError
        Where no mode has that name; the message lists those there are.

    Examples
    --------
    >>> mode_named("walk").speed_kph
    4.0
    """
    if isinstance(mode, Mode):
        return mode
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; known: {', '.join(MODES)}, or give a Mode")
    return MODES[mode]
