"""One unit's story in words: plain sentences, Chinese or English, of what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from .evidence import equals, text_of
from .maps import road_class
from .modes import MINUTES_PER_METRE_AT_1_KPH, Mode
from .terms import label, labels
from .verdicts import ROUNDING, STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .explain import Explanation
    from .standards import Standard

__all__ = ["Words", "facts", "road_name", "rule_words", "stamp", "summary_words", "tell"]

_NEAR_NAMES = 5
_MOST_STEPS = 8  # a longer way is told by classes of road alone
_KM = 1000.0

Row = Mapping[Any, Any]


class Words(NamedTuple):
    """The sentences of one language about one unit, and how it writes quantities.

    Attributes
    ----------
    lang : {"zh", "en"}
        The language.
    modes : mapping of str to Mode
        By whose speeds minutes become metres again.
    known : mapping of str to str
        What any sentence may name: the unit, its kind, setting, people and typical point.
    """

    lang: str
    modes: Mapping[str, Mode]
    known: Mapping[str, str]

    @classmethod
    def about(cls, story: Explanation, lang: str) -> Words:
        """Give the words for an explanation."""
        bare, unit = cls(lang, story.report.access.searches.modes, {}), story.unit
        here = unit.unit_kind if unit.unit_kind in {"village", "community"} else ""
        counted = {
            "group": bare.term("group", unit.population),
            "count": bare.number(unit.people, 0),
        }
        known = {
            "unit": unit.name,
            "kind": bare.term("kind", story.kind),
            "here": bare(f"here_{here}"),
            "setting": bare.term("setting", story.verdict["setting"]),
            "group": counted["group"],
            "people": bare("people_missing" if math.isnan(unit.people) else "people", **counted),
        }
        if story.standard is not None:
            known["needed"] = bare.share(story.standard.unit_share)
            known["standard"] = story.standard.in_words(lang)
        if story.typical is not None:
            at = story.typical_point
            known["point"] = bare("quoted", name=text_of(at["name"]) or text_of(at["demand_id"]))
            known["trade"] = bare.term("kind", at["kind"])
        return cls(lang, bare.modes, known)

    def __call__(self, key: str, **values: str) -> str:
        """Fill in a phrase."""
        return labels("explain", self.lang)[key].format(**(dict(self.known) | values))

    def sentence(self, key: str, **values: str) -> str:
        """Give a whole sentence: it begins with a capital where the language has them."""
        text = self(key, **values)
        return text[:1].upper() + text[1:]

    def term(self, group: str, key: Any) -> str:
        """Give the word for a key of the catalogue."""
        return label(group, key, self.lang)

    def reason(self, key: str) -> str:
        """Give a reason in words; of none nothing."""
        return self.term("explain_reason", key) if key else ""

    def state(self, state: str, reason: str = "", *, reach: bool = False) -> str:
        """Give a verdict and its reason; of one by reach which facility the reason speaks of."""
        words = self.term("state", state)
        why = labels("explain_reach_reason", self.lang).get(reason) if reach else None
        return self("because", state=words, reason=why or self.reason(reason)) if reason else words

    def number(self, value: float, digits: int = 1) -> str:
        """Write a number to some decimals, a whole one without."""
        return self("missing") if math.isnan(value) else f"{value:,.{digits}f}".removesuffix(".0")

    def share(self, value: float) -> str:
        """Give a share in per cent, never rounded up to a whole one: 49.96 % is not 50 %."""
        if math.isnan(value):
            return self("missing")
        tenths = round(value * 1000)
        tenths -= tenths % 10 == 0 and tenths > value * 1000 + ROUNDING
        return f"{tenths / 10:.1f}%".replace(".0%", "%")

    def measured(self, unit: str, value: float) -> str:
        """Write a number with its unit: minutes, hours or area."""
        return self(unit, value=self.number(value))

    def length(self, metres: float) -> str:
        """Write a length, of a kilometre or more in kilometres."""
        if round(metres) < _KM:
            return self("metres", value=f"{metres:,.0f}")
        return self.measured("kilometres", metres / _KM)

    def amount(self, minutes: float, mode: str, measure: str, *, gap: bool = False) -> str:
        """Give a trip in what the standard counts, minutes or metres; a gap never as nothing."""
        metres = minutes * self.modes[mode].speed_kph / MINUTES_PER_METRE_AT_1_KPH
        shown, least, tiny = (
            (minutes, 0.05, "tiny") if measure == "time" else (metres, 0.5, "tiny_metres")
        )
        if gap and shown < least:
            return self(tiny)
        return self.measured("minutes", minutes) if measure == "time" else self.length(metres)

    def by(self, mode: str, measure: str) -> str:
        """Say how a trip is made and measured."""
        words = self.term("mode", mode)
        return words if measure == "time" else self(f"by_{measure}", mode=words)

    def trip(self, row: Row) -> dict[str, str]:
        """Say a trip: its mode, its amount, and whether it keeps its limit, else what it lacks."""
        minutes, limit = row["minutes"], row.get("limit_minutes", math.nan)
        mode, measure = row["mode"], row["measure"]
        if math.isnan(minutes):
            return {"mode": self.by(mode, measure) if mode else ""}
        told = {"mode": self.by(mode, measure), "amount": self.amount(minutes, mode, measure)}
        if not math.isnan(limit):
            gap = self.amount(abs(minutes - limit), mode, measure, gap=True)
            judged = "within" if minutes <= limit * (1 + ROUNDING) else "over"
            allowed = self.amount(limit, mode, measure)
            told |= {"gap": gap, "judged": self(judged, limit=allowed, gap=gap)}
        return told

    def quoted(self, names: Iterable[Any]) -> str:
        """List names in quotes, of many the first."""
        quoted = [self("quoted", name=text_of(name)) for name in names]
        listed = self("list").join(quoted[:_NEAR_NAMES])
        if len(quoted) <= _NEAR_NAMES:
            return listed
        return self("gap_more", list=listed, count=str(len(quoted)))

    def facility(self, story: Explanation, key: Any) -> str:
        """Give a facility's name in quotes, and whether it lies beyond the border."""
        table = story.report.facilities
        for row in table[equals(table["facility_id"], key)].to_dict("records"):
            name = text_of(row["name"]) or str(key)
            return self("outside" if bool(row["outside"]) else "quoted", name=name)
        return self("missing")


def tell(story: Explanation, words: Words) -> tuple[str, str, list[tuple[str, str]]]:
    """Tell the story.

    Returns
    -------
    title, place : str
        The heading, and the line under it.
    told : list of (str, str)
        Paragraphs, each with its heading; the verdict first, the stamp last.
    """
    unit = story.unit
    place = words("place", township=unit.township or words("missing"), code=unit.unit_code)
    told = [("head_summary", summary_words(story, words))]
    if story.standard is not None:
        told += [
            ("head_ledger", _ledger_words(story, story.standard, words)),
            ("head_road", _road_words(story, words)),
            ("head_trades", _trade_words(story, words)),
            ("head_people", _people_words(story, words)),
            ("head_change", _change_words(story, story.standard, words)),
            ("head_rule", rule_words(story, story.standard, words)),
            ("head_gaps", _gap_words(story, story.standard, words)),
        ]
    told.append(("head_note", stamp(story, words)))
    return words("title"), place, [(words(head), body.strip()) for head, body in told if body]


def stamp(story: Explanation, words: Words) -> str:
    """Give what the data say about themselves, and what the page is not."""
    default, own = words.term("map", "default_stamp"), story.report.stamp
    return words.term("map", "source_separator").join([own, default] if own else [default])


def summary_words(story: Explanation, words: Words) -> str:
    """Give the verdict on both bases."""
    verdict = story.verdict
    if story.standard is None:
        return words.sentence("summary_none")
    reachable = words.state(verdict["reachable_state"], verdict["reachable_reason"], reach=True)
    ledger = words.state(verdict["ledger_state"], verdict["ledger_reason"])
    ledger = words("shared", state=ledger) if bool(verdict["shared"]) else ledger
    key = "summary_both" if story.standard.on_ledger else "summary_reachable"
    return words.sentence(key, ledger=ledger, reachable=reachable)


def facts(row: Row, standard: Standard, words: Words) -> list[str]:
    """Say how large and how long open a facility is, and what it lacks of what is asked."""
    told = []
    for key, value, least in (
        ("area", row["floor_area_m2"], standard.min_floor_area_m2),
        ("hours", row["hours_per_day"], standard.min_hours_per_day),
    ):
        asked = {} if least is None else {"least": words.measured(key, least)}
        known = {} if pd.isna(value) else {"value": words.measured(key, value)}
        if known and least is not None and value < least:
            told.append(
                words(f"{key}_short", short=words.measured(key, least - value), **asked, **known)
            )
        elif known:
            told.append(words(f"{key}_is", **known))
        elif asked:
            told.append(words(f"{key}_missing", **asked))
    return told


def _ledger_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say what the ledger has of the unit, row by row, and whether its flag agrees."""
    if not standard.on_ledger:
        return ""
    told, verdict = words.sentence("ledger_nothing"), story.verdict
    if len(story.ledger):
        rows = [_ledger_row(row, standard, words) for row in story.ledger.to_dict("records")]
        told = words.sentence(
            "ledger_rows", count=str(len(rows)), rows=words("semicolon").join(rows)
        )
    flags = story.ledger["official_covered"].dropna()
    if flags.empty:
        return told
    agrees = verdict["ledger_state"] == verdict["ledger_rule_state"]
    return told + words.sentence(
        "flag_agrees" if agrees else "flag_differs",
        flag=words("yes" if bool(flags.astype(bool).any()) else "no"),
        ledger=words.term("state", verdict["ledger_state"]),
        rule=words.state(verdict["ledger_rule_state"], verdict["ledger_rule_reason"]),
    )


def _ledger_row(row: Row, standard: Standard, words: Words) -> str:
    """Say what one row of the ledger is and whether it counts."""
    told, shared = [words.term("status", row["status"])], row["status"] == "shared"
    if shared and row["host"] is None:
        told = [words("agreement_unknown")]
    else:
        if shared:
            unit = words.quoted([row["host_unit"]]) if row["host_unit"] else words("another_unit")
            told = [words("agreement", host=words.quoted([row["host"]]), host_unit=unit)]
        told += facts(row, standard, words)
        if shared and math.isfinite(row["minutes"]):
            told.append(words("agreed_trip", **words.trip(row)))
            told.append(words("agreed_share", share=words.share(row["people_share"])))
        elif shared:
            told.append(words("agreed_unknown"))
    told.append(words(f"row_{row['state']}"))
    name = words.quoted([row["name"] or row["facility_id"]])
    return words("ledger_row", facility=name, facts=words("comma").join(told))


def _road_words(story: Explanation, words: Words) -> str:
    """Say where the typical point lies, how far it is by each alternative, and by which way."""
    if story.typical is None:
        return words.sentence("point_none")
    count = len(story.points)
    told = words.sentence("point_alone" if count == 1 else "point_typical", count=str(count))
    told += words.sentence("trade_decides") if len(story.trades) else ""
    rows = story.ways.to_dict("records")
    names = {row["facility_id"] for row in rows if not math.isnan(row["minutes"])}
    trips = [_trip_words(story, row, words, named=len(names) > 1) for row in rows]
    back = "_back" if story.routes[0].way.direction == "from_facility" else ""
    told += words.sentence(
        f"trip_{'all' if len(names) == 1 else 'each'}{back}",
        facility=words.facility(story, next(iter(names), None)),
        trips=words("semicolon").join(trips),
    )
    state = words.state(story.typical_point["state"], story.typical_point["reason"], reach=True)
    return told + words.sentence("point_state", state=state) + _path_words(story, words)


def _trip_words(story: Explanation, row: Row, words: Words, *, named: bool) -> str:
    """Say one alternative's trip, or why there is none."""
    if math.isnan(row["minutes"]):
        return words("trip_none", reason=words.reason(row["reason"]), **words.trip(row))
    facility = words.facility(story, row["facility_id"])
    return words("trip_to" if named else "trip", facility=facility, **words.trip(row))


def _path_words(story: Explanation, words: Words) -> str:
    """Say along which roads the way to the nearest goes, and how far it is on foot."""
    nearest, told = story.routes[0], ""
    if not nearest.reason:
        told = words.sentence(
            "path_straight" if nearest.way.measure == "straight" else "path",
            mode=words.term("mode", nearest.way.mode),
            steps=words("comma").join(_step_words(nearest.steps, words)),
            minutes=words.measured("minutes", nearest.minutes),
            road=words.length(nearest.road_m),
            leg=words.length(nearest.leg_m),
        )
    for one in story.routes:
        if one.purpose == "on_foot" and one.reason:
            told += words.sentence("on_foot_none", reason=words.reason(one.reason))
        elif one.purpose == "on_foot":
            told += words.sentence(
                "on_foot",
                facility=words.facility(story, one.facility_id),
                amount=words.measured("minutes", one.minutes),
                road=words.length(one.road_m),
            )
    return told


def road_name(step: Row, words: Words, *, named: bool = True) -> str:
    """Give the class of a road, and its name if it has one."""
    kind, name = words.term("explain_road", road_class(step["highway"])), text_of(step["name"])
    return words("road_named", name=name, road_class=kind) if name and named else kind


def _step_words(steps: pd.DataFrame, words: Words) -> list[str]:
    """Say along which roads the way goes; a way of many turns by its classes of road alone."""
    rows, lengths = steps.to_dict("records"), dict[tuple[int, str, str], float]()
    many, run, last = len(rows) > _MOST_STEPS, 0, ("", "")
    for row in rows:
        named = bool(text_of(row["name"])) and not many
        road = ("step_named" if named else "step_road", road_name(row, words, named=named))
        step = road if row["part"] == "road" else ("step_leg", "")
        run += step != last and not many  # the classes may differ, and not in words
        last, key = step, (run, *step)
        lengths[key] = lengths.get(key, 0.0) + row["length_m"]
    return [
        words(key, road=road, length=words.length(length))
        for (_, key, road), length in lengths.items()
        if not (many and key == "step_leg")
    ]


def _trade_words(story: Explanation, words: Words) -> str:
    """Say which kinds of a circle are not reached, and which count without being asked for."""
    if story.trades.empty:
        return ""
    rows: list[Row] = story.trades.to_dict("records")
    required = [row for row in rows if row["required"]]
    lacking = [row for row in required if row["state"] != "covered"]
    asked, reached = str(len(required)), str(len(required) - len(lacking))
    told = words.sentence("trades_count", asked=asked, reached=reached)
    for key, chosen in (
        ("trades_lacking", lacking),
        ("trades_further", [row for row in rows if not row["required"]]),
    ):
        listed = []
        for row in chosen:
            none = "trade_none" if math.isnan(row["minutes"]) else "trade"
            named = {
                "trade": words.term("kind", row["kind"]),
                "reason": words.reason(row["reason"]),
            }
            listed.append(words(none, **(named | words.trip(row))))
        told += words.sentence(key, list=words("list").join(listed)) if listed else ""
    return told


def _people_words(story: Explanation, words: Words) -> str:
    """Say how many people get there, and what that makes of the unit."""
    verdict = story.verdict
    if story.points.empty:
        return ""
    counts = {state: words.number(verdict[f"people_{state}"], 0) for state in STATES}
    known = words("missing") not in counts.values()
    share, state = words.share(verdict["people_share"]), verdict["reachable_state"]
    told = words.sentence("people_split" if known else "points_split", share=share, **counts)
    return told + words.sentence("people_judged", state=words.term("state", state))


def _change_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say what would turn the verdict: how much is missing, or how much there is to spare."""
    verdict, points = story.verdict, story.points
    if points.empty:
        return ""
    if verdict["reachable_state"] == "covered":
        return _loss_words(story, standard, words) + _cure_words(story, standard, words)
    at, share = story.typical_point, float(verdict["people_share"])
    people = float(sum(verdict[f"people_{state}"] for state in STATES))
    total = people if people > 0 else len(points)
    missing = math.ceil((standard.unit_share - share) * total - ROUNDING)
    unit = "count_people" if people > 0 else "count_points"
    told = words.sentence(
        "change_missing", missing=words(unit, count=f"{missing:,}"), share=words.share(share)
    )
    if at["reason"] == "over_capacity":
        told += words.sentence("change_room", facility=words.facility(story, at["facility_id"]))
    elif at["state"] != "covered" and at["minutes"] > at["limit_minutes"]:
        told += words.sentence("change_shorten", **words.trip(at))
    obstacles = _obstacle_words(story, standard, words, share, total)
    return told + obstacles + _cure_words(story, standard, words)


def _cure_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say what the ledger would take to count the unit."""
    if not standard.on_ledger or story.verdict["ledger_state"] == "covered":
        return ""
    near = "_near" if story.typical_point["state"] == "covered" else ""
    facility = words.facility(story, story.typical_point["facility_id"])
    return words.sentence(f"change_ledger{near}", facility=facility)


def _obstacle_words(
    story: Explanation, standard: Standard, words: Words, share: float, total: float
) -> str:
    """Say which facilities in reach do not count, and what it would change if they did."""
    if story.obstacles.empty:
        return ""
    told, doubt = "", story.obstacles["reason"] == "no_data"
    table = story.report.facilities.set_index("facility_id")
    for key, rows in (
        ("change_unfit", story.obstacles[~doubt]),
        ("change_doubt", story.obstacles[doubt]),
    ):
        listed = []
        for row in rows.to_dict("records"):
            facility = table.loc[row["facility_id"]]
            status = facility["status"]
            lacks = [] if status == "in_use" else [words.term("status", status)]
            told_of = [
                words("trip_bare", **words.trip(row)),
                *lacks,
                *facts(facility, standard, words),
            ]
            name = words.facility(story, row["facility_id"])
            listed.append(words("obstacle", facility=name, facts=words("comma").join(told_of)))
        told += words.sentence(key, list=words("list").join(listed)) if listed else ""
    # A circle of several kinds needs more than the one that was hardest to reach.
    if len(story.trades):
        return told
    then = share + story.obstacles["weight"].sum() / total
    key = "change_fixed" if then >= standard.unit_share - ROUNDING else "change_short"
    covered = words.term("state", "covered")
    return told + words.sentence(key, share=words.share(then), state=covered)


def _loss_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say how much there is to spare, and what closing the facility would do."""
    at, loss, told = story.typical_point, story.loss, ""
    if at["state"] == "covered":
        told = words.sentence("spare", **words.trip(at))
    if loss is None:
        return told
    told += words.sentence(
        "loss_none" if math.isnan(loss.minutes) else "loss_next",
        facility=words.facility(story, loss.facility_id),
        next=words.facility(story, loss.next_facility_id),
        **words.trip(loss._asdict()),
    )
    told += words(
        "loss_kept" if loss.state == "covered" else "loss_flips",
        state=words.term("state", loss.state),
        share=words.share(loss.people_share),
    )
    room = standard.capacity_m2_per_100_households is not None
    return told + (words("loss_room") if room else "")


def rule_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say which rule decided, and where it comes from."""
    told = words.sentence("rule")
    if story.report.access.way(standard, standard.alternatives[0]).direction == "from_facility":
        told += words.sentence("rule_back")
    if len(standard.required_kinds) > 1:
        kinds = [words.term("kind", kind) for kind in standard.required_kinds]
        told += words.sentence("rule_all_kinds", list=words("list").join(kinds))
    if standard.capacity_m2_per_100_households is not None:
        room = words.measured("area", standard.capacity_m2_per_100_households)
        told += words.sentence("rule_room", value=room)
    told += words.sentence("rule_share")
    told += words.sentence("rule_ledger") if standard.on_ledger else ""
    verified = words("verified" if standard.verified else "not_verified")
    source = standard.source or words("no_source")
    return told + words.sentence("rule_source", source=source, verified=verified)


def _gap_words(story: Explanation, standard: Standard, words: Words) -> str:
    """Say which data are missing that bear on the verdict."""
    points, kept, report = story.points, story.ledger, story.report
    told = words.sentence("gap_unit_people") if math.isnan(story.unit.people) else ""
    silent = int(points["people"].isna().sum())
    told += words.sentence("gap_people", count=str(silent)) if silent else ""
    mine = equals(report.demand["unit_code"], story.unit.unit_code)
    if "source" in report.demand and (report.demand.loc[mine, "source"] == "assumed").any():
        told += words.sentence("gap_assumed")
    homes = points["name"].fillna(points["demand_id"])
    hosts = kept["host"].fillna(kept["name"]).fillna(kept["facility_id"])
    places = report.facilities.set_index("facility_id").geometry.reindex(kept["facility_id"])
    placeless = places.isna().to_numpy(dtype=bool) & (kept["status"] != "shared")
    area, hours = standard.min_floor_area_m2, standard.min_hours_per_day
    gaps: Sequence[tuple[str, pd.Series, str]] = (
        ("gap_off", homes[points["reason"] == "off_network"], "off_network"),
        ("gap_off", homes[points["reason"] == "island"], "island"),
        ("gap_area", hosts[kept["floor_area_m2"].isna() & (area is not None)], ""),
        ("gap_hours", hosts[kept["hours_per_day"].isna() & (hours is not None)], ""),
        ("gap_status", hosts[kept["status"] == "unknown"], ""),
        ("gap_place", hosts[placeless], ""),
    )
    for key, names, reason in gaps:
        if len(names):
            told += words.sentence(key, list=words.quoted(names), reason=words.reason(reason))
    return told or words.sentence("gap_none")
