"""One village's story: what was judged, by which rule, over which roads, what would change it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from .assessment import CoverageReport
from .errors import InputError
from .evidence import ExplainedRoute, Loss, UnitFacts, equals, gather, text_of
from .files import write_beside
from .page import OfflineMap
from .standards import Standard
from .story import Words, rule_words, tell
from .story_map import draw, fragment, page
from .terms import label

__all__ = ["ExplainedRoute", "Explanation", "Loss", "UnitFacts", "explain"]

_NEAR_NAMES = 5


@dataclass(frozen=True, eq=False)
class Explanation:
    """One unit's story for one kind of facility.

    Attributes
    ----------
    report : CoverageReport
        What it explains.
    lang : {"zh", "en"}
        Language of what is shown; `rule`, `text`, `map` and `save` can be asked for another.
    unit : UnitFacts
        Name, code, township, setting and people by the standard's population.
    kind : str
        The kind of facility, or of a composite circle.
    standard : Standard or None
        The rule that decided (`rule` says it in words); None where the plan has none for the unit.
    verdict : Series
        The unit's row of `CoverageReport.verdicts`.
    points : GeoDataFrame
        One row a demand point, with the index of the demand table: `demand_id`, `name`,
        `residents`, `people` (the standard's population), `kind` (of a composite circle the one
        that decided), `state`, `reason`, `minutes`, `limit_minutes`, `mode`, `measure`,
        `facility_id`, `facility`, `next_facility_id`, `next_facility`, `next_minutes` (by the same
        way), `leg_m` (to the road, in metres) and `flag` (how it joins the road), geometry.
    typical : str or None
        `demand_id` of the point by which half of the unit's people are there: the verdict's
        minutes are its minutes.
    ways : DataFrame
        One row an alternative of the standard, from the typical point: `mode`, `measure`,
        `minutes`, `limit_minutes`, `facility_id`, `reason`.
    routes : tuple of ExplainedRoute
        From the typical point (towards it, where help comes to the people).
    trades : DataFrame
        Of a composite circle one row a kind: `kind`, `required`, `state` (of the typical point),
        `reason`, `minutes`, `limit_minutes`, `mode`, `measure`, `facility_id`, `facility`,
        `people_share` (of the unit) and `decided`. Empty for a single kind.
    ledger : DataFrame
        The unit's own rows of the ledger: `facility_id`, `name`, `kind`, `status`,
        `floor_area_m2`, `hours_per_day` (of an agreement, the host's), `host_id`, `host`,
        `host_unit`, `official_covered`, `minutes`, `limit_minutes`, `mode` (of an agreement, from
        the typical point), `people_share` (in reach of the host), `state` and `reason` by the rule.
    obstacles : DataFrame
        Facilities in reach that do not qualify, or of which it cannot be told: `facility_id`,
        `reason`, `minutes`, `mode` (from the nearest point it fails), `people` (for whom it does).
    loss : Loss or None
        What closing the typical point's facility would do; None where the unit is not covered.
    """

    report: CoverageReport
    lang: str
    unit: UnitFacts
    kind: str
    standard: Standard | None
    verdict: pd.Series
    points: gpd.GeoDataFrame
    typical: str | None
    ways: pd.DataFrame
    routes: tuple[ExplainedRoute, ...]
    trades: pd.DataFrame
    ledger: pd.DataFrame
    obstacles: pd.DataFrame
    loss: Loss | None

    @property
    def typical_point(self) -> pd.Series:
        """The row of `points` of the typical point; there must be one."""
        return self.points[equals(self.points["demand_id"], self.typical)].iloc[0]

    def rule(self, lang: str | None = None) -> str:
        """Say in words which rule decided, and where it comes from."""
        if self.standard is None:
            return ""
        return rule_words(self, self.standard, self._words(lang))

    def text(self, lang: str | None = None) -> str:
        """Tell the story in plain sentences: short paragraphs, each with its heading."""
        words = self._words(lang)
        title, place, told = tell(self, words)
        paragraphs = [f"{head}{words('colon')}{body}" for head, body in told]
        return "\n\n".join([f"{title}\n{place}", *paragraphs])

    def map(self, lang: str | None = None) -> OfflineMap:
        """Draw the unit, its demand points, the facilities around and the routes.

        Returns
        -------
        folium.Map
            One that asks nothing of any network.
        """
        return draw(self, self._words(lang))

    def save(self, path: str | Path, lang: str | None = None) -> Path:
        """Write text, map and tables as one HTML page that opens with no network.

        Parameters
        ----------
        path : str or pathlib.Path
            Where to write; its folder is made if need be.
        lang : {"zh", "en"}, optional
            By default the explanation's own.

        Returns
        -------
        pathlib.Path
            The path. Where writing fails an older file stays as it was.
        """
        text = page(self, self._words(lang))
        return write_beside(Path(path), lambda name: Path(name).write_text(text, encoding="utf-8"))

    def _words(self, lang: str | None) -> Words:
        return Words.about(self, lang or self.lang)

    def __repr__(self) -> str:
        """Say whose story it is, and the verdict."""
        return (
            f"<Explanation: {self.unit.name} ({self.unit.unit_code}), {self.kind}: ledger "
            f"{self.verdict['ledger_state']}, reachable {self.verdict['reachable_state']}>"
        )

    def _repr_html_(self) -> str:
        return fragment(self, self._words(None), map_height_px=400)


def explain(
    report: CoverageReport, unit: str, *, kind: str | None = None, lang: str = "zh"
) -> Explanation:
    """Explain why a unit is judged as it is, for one kind of facility.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    unit : str
        A unit code, or a name as it stands in the units.
    kind : str, optional
        One of the plan's kinds; by default its first.
    lang : {"zh", "en"}
        Language of what is shown where none is asked for.

    Returns
    -------
    Explanation
        Facts, routes, tables, and a text, a map and a page made of them.

    Raises
    ------
    InputError
        Where no unit is so called (the message offers near names) or several are (it lists them),
        or the plan has no such kind.

    Notes
    -----
    The typical point is the weighted median of minutes, as in the verdict; the routes join the
    roads as the verdict's searches did, barriers and limits respected. The next nearest facility
    is `travel.next_nearest` for the same pool and way. What a facility's closing would do is judged
    anew, with the facility left out of the searches and the room of the others not counted.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> from facility_coverage.explain import explain
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> access = fc.travel_times(units, facilities, fc.read_roads(county.roads), plan)
    >>> story = explain(fc.assess(units, facilities, access, plan), "130824001001", lang="en")
    >>> story.unit.unit_kind, story.routes[0].purpose
    ('community', 'nearest')
    >>> bool(abs(story.routes[0].minutes - story.verdict["minutes"]) < 1e-6)
    True
    """
    label("state", "covered", lang)  # refuses a language that is not there
    kinds = report.plan.kinds
    kind = kinds[0] if kind is None else kind
    if kind not in kinds:
        raise InputError(f"the plan sets no standard for {kind!r}; kind is {', '.join(kinds)}")
    at = _position(report.units, unit)
    code, verdicts = report.units["unit_code"].iloc[at], report.verdicts
    mine = equals(verdicts["kind"], kind) & equals(verdicts["unit_code"], code)
    verdict = verdicts[mine].iloc[0]
    found = gather(report, at, verdict)
    return Explanation(report=report, lang=lang, kind=kind, verdict=verdict, **found)


def _position(units: gpd.GeoDataFrame, unit: str) -> int:
    """Find a unit by its code or its name."""
    asked = str(unit)
    codes, names = (
        units[column].astype("string").fillna("").to_numpy(dtype=object)
        for column in ("unit_code", "name")
    )
    found = np.flatnonzero(codes == asked)
    if found.size == 0:
        found = np.flatnonzero(names == asked)
    if found.size == 1:
        return int(found[0])
    if found.size:
        listed = "; ".join(
            f"{text_of(units['township'].iloc[i]) or '—'} {codes[i]}" for i in found.tolist()
        )
        raise InputError(f"{found.size} units are called {asked!r}: give the code ({listed})")
    near = difflib.get_close_matches(asked, [*names, *codes], n=_NEAR_NAMES, cutoff=0.5)
    hint = f"; near it are {', '.join(dict.fromkeys(near))}" if near else ""
    raise InputError(f"no unit has the code or the name {asked!r}{hint}")
