"""The briefing for the county meeting: one page of HTML with its pictures, and PDF on request."""

from __future__ import annotations

import datetime as dt
import html
import io
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .errors import InputError, MissingDependencyError
from .exports import export_pdf
from .files import write_beside
from .maps import source_line
from .pictures import INK, PROJECT, coverage_figure, picture_font, save_figure
from .projects import annual_tasks, project_summary
from .terms import label, labels

if TYPE_CHECKING:
    import geopandas as gpd

    from .assessment import CoverageReport

__all__ = ["write_briefing"]

_MOST_PROJECTS = 30
_MOST_TOWNSHIPS = 8
_SETTINGS = ("rural", "urban")
_INKS = ("#1d5c8a", "#b5541c", "#2f7d4f", PROJECT)
_DASHES = ("-", "--", "-.", ":")


def write_briefing(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    path: str | Path,
    *,
    tasks: gpd.GeoDataFrame | None = None,
    frontier: pd.DataFrame | None = None,
    after: CoverageReport | None = None,
    kind: str | None = None,
    lang: str = "zh",
    title: str | None = None,
    made_on: dt.date | None = None,
) -> Path:
    """Write a briefing in plain language: figures against targets, maps, projects, method, limits.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    projects : GeoDataFrame
        From `propose_projects`.
    path : str or pathlib.Path
        Where to write: ``.html``, which opens with no network, or ``.pdf``, by a browser of this
        machine (see `export_pdf`).
    tasks : GeoDataFrame, optional
        From `annual_tasks`; by default in equal steps.
    frontier : DataFrame, optional
        From `cost_frontier`, to be drawn.
    after : CoverageReport, optional
        From `apply_projects`, to be told of.
    kind : str, optional
        The facility kind it is about; by default the plan's first.
    lang : {"zh", "en"}
        Language of everything but the names.
    title : str, optional
        Heading.
    made_on : datetime.date, optional
        Date printed; by default today.

    Returns
    -------
    pathlib.Path
        The file written. Without a font with Chinese characters its pictures are left out, and it
        says so.

    Raises
    ------
    InputError
        For a kind that was not assessed, or another ending.
    MissingDependencyError
        For a PDF where there is no browser.

    Examples
    --------
    >>> import tempfile
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> projects = fc.propose_projects(report, roads)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = fc.write_briefing(report, projects, folder + "/briefing.html").read_text("utf-8")
    >>> "120/199" in page
    True
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".pdf"):
        raise InputError(f"a briefing ends in .html or .pdf, not {target.name!r}")
    kind = report.plan.kinds[0] if kind is None else kind
    if kind not in set(report.verdicts["kind"]):
        raise InputError(f"kind={kind!r} was not assessed")
    tasks = annual_tasks(projects, report) if tasks is None else tasks
    words = labels("briefing", lang)
    parts = [
        _head(report, words, lang, title, made_on),
        _standing(report, words, kind, lang),
        _maps(report, projects, words, kind, lang),
        _plans(report, projects, tasks, frontier, after, words, kind, lang),
        _method(report, words, kind, lang),
    ]
    text = _page("\n".join(parts), title or words["title"], lang)
    if target.suffix.lower() == ".html":
        return write_beside(target, lambda name: Path(name).write_text(text, encoding="utf-8"))
    beside = target.with_suffix(".html.part")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        return export_pdf(beside, target)
    finally:
        beside.unlink(missing_ok=True)


# --- markup --------------------------------------------------------------------------------------


def _page(body: str, title: str, lang: str) -> str:
    style = files("facility_coverage.web").joinpath("briefing.css").read_text(encoding="utf-8")
    language = "zh-CN" if lang == "zh" else "en"
    return f"""<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{style}
</style>
</head>
<body>
<main class="fc-brief" lang="{language}">
{body}
</main>
</body>
</html>
"""


def _paragraph(text: str, name: str = "") -> str:
    text = text[:1].upper() + text[1:]
    return f'<p class="{name}">{html.escape(text)}</p>' if name else f"<p>{html.escape(text)}</p>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> str:
    """Write a table; columns named by `numbers` stand to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="fc-number">{html.escape(cell)}</{tag}>'
            if place in numbers
            else f"<{tag}>{html.escape(cell)}</{tag}>"
            for place, cell in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="fc-scroll"><table><thead><tr>{cells("th", headers)}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _figure(figure: Figure, caption: str) -> str:
    """Write a figure as vector drawing; the same report gives the same bytes."""
    buffer = io.StringIO()
    save_figure(figure, buffer, suffix=".svg", bbox_inches="tight")
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    return f"<figure>{drawn}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _whole(value: Any) -> str:
    return "—" if value is None or pd.isna(value) else f"{float(value):,.0f}"


def _percent(value: Any) -> str:
    return "—" if value is None or pd.isna(value) else f"{float(value):.1%}"


# --- parts ---------------------------------------------------------------------------------------


def _head(
    report: CoverageReport,
    words: dict[str, str],
    lang: str,
    title: str | None,
    made_on: dt.date | None,
) -> str:
    date = (made_on or dt.date.today()).isoformat()  # noqa: DTZ011 - the reader's own day
    place = f"{report.plan.name(lang)} · {words['made_on'].format(date=date)}"
    stamp = report.stamp or label("map", "default_stamp", lang)
    heading = f"<h1>{html.escape(title or words['title'])}</h1>"
    return heading + _paragraph(place, "fc-place") + _paragraph(stamp, "fc-stamp")


def _goal(row: Any, words: dict[str, str]) -> tuple[str, str]:
    """Say how far a rate is from its target, and give the verdict."""
    if pd.isna(row.target):
        return words["goal_none"], "cannot_tell"
    target = _percent(row.target)
    if pd.isna(row.missing):
        return words["goal_unknown"].format(target=target), "cannot_tell"
    if row.missing <= 0:
        return words["goal_met"].format(target=target), "met"
    return words["goal_missing"].format(target=target, missing=_whole(row.missing)), "not_met"


def _rate(report: CoverageReport, kind: str, setting: str, basis: str, measure: str) -> Any:
    wanted = {"kind": kind, "setting": setting, "basis": basis, "measure": measure}
    rates = report.rates
    found = rates[np.logical_and.reduce([rates[name] == value for name, value in wanted.items()])]
    return None if found.empty else next(found.itertuples())


def _standing(report: CoverageReport, words: dict[str, str], kind: str, lang: str) -> str:
    cards, told = [], []
    for setting in _SETTINGS:
        for basis in ("ledger", "reachable"):
            row = _rate(report, kind, setting, basis, "units")
            if row is None or not row.total:
                continue
            named = {
                "setting": label("setting", setting, lang),
                "kind": label("kind", kind, lang),
                "basis": label("basis", basis, lang),
            }
            goal, verdict = _goal(row, words)
            cards.append(
                f'<div class="fc-figure-card" data-verdict="{verdict}">'
                f"<span>{html.escape(named['setting'])} · {html.escape(named['basis'])}</span>"
                f"<b>{_percent(row.share)}</b>"
                f"<span>{_whole(row.covered)}/{_whole(row.total)} · {html.escape(goal)}</span>"
                "</div>"
            )
            line = words["share_line"].format(
                **named,
                share=_percent(row.share),
                covered=_whole(row.covered),
                total=_whole(row.total),
                goal=goal,
            )
            if row.unknown:
                line += " " * (lang == "en") + words["unknown_line"].format(
                    count=_whole(row.unknown)
                )
            told.append(_paragraph(line))
        people = _rate(report, kind, setting, "reachable", "people")
        if people is not None and people.total:
            told.append(
                _paragraph(
                    words["people_line"].format(
                        setting=label("setting", setting, lang),
                        share=_percent(people.share),
                        covered=_whole(people.covered),
                        total=_whole(people.total),
                    )
                )
            )
    return "\n".join(
        [
            f"<h2>{html.escape(words['headline'])}</h2>",
            f'<div class="fc-cards">{"".join(cards)}</div>',
            *told,
            _indicators(report, words, lang),
        ]
    )


def _indicators(report: CoverageReport, words: dict[str, str], lang: str) -> str:
    if report.indicators.empty:
        return ""

    def shown(value: Any, unit: str) -> str:
        if pd.isna(value):
            return "—"
        return _percent(value) if unit == "share" else f"{float(value):,.1f}"

    rows = []
    for row in report.indicators.itertuples():
        met = "cannot_tell" if pd.isna(row.met) else "met" if row.met else "not_met"
        name = str(getattr(row, f"name_{lang}"))
        verdict = label("verdict", met, lang)
        figures = [shown(value, row.unit) for value in (row.baseline, row.value, row.target)]
        rows.append([str(row.number), name, *figures, verdict])
    columns = ("number", "indicator", "baseline", "value", "target", "verdict")
    headers = [label("column", name, lang) for name in columns]
    return f"<h3>{html.escape(words['indicators'])}</h3>" + _table(headers, rows, (2, 3, 4))


def _maps(
    report: CoverageReport, projects: gpd.GeoDataFrame, words: dict[str, str], kind: str, lang: str
) -> str:
    parts = [f"<h2>{html.escape(words['maps'])}</h2>"]
    named = label("kind", kind, lang)
    try:
        for basis, due in (("reachable", None), ("ledger", projects)):
            figure = coverage_figure(report, projects=due, kind=kind, basis=basis, lang=lang)
            parts.append(_figure(figure, words[f"map_{basis}"].format(kind=named)))
        parts.append(_figure(_curve(report, words, kind, lang), words["curve"]))
    except MissingDependencyError as fault:
        parts.append(_paragraph(words["no_pictures"].format(reason=fault)))
    gaps = report.townships[report.townships["kind"] == kind]
    gaps = gaps[gaps["township_code"] != ""]  # without the row of totals
    gaps = gaps.assign(gaps=gaps["reachable_uncovered"] + gaps["ledger_uncovered"])
    gaps = gaps[gaps["gaps"] > 0].sort_values("gaps", ascending=False, kind="stable")
    columns = ("township", "units", "ledger_uncovered", "reachable_uncovered", "people_uncovered")
    rows = [
        [str(row.township), *(_whole(getattr(row, name)) for name in columns[1:])]
        for row in gaps.head(_MOST_TOWNSHIPS).itertuples()
    ]
    if rows:
        headers = [label("column", name, lang) for name in columns]
        parts.append(f"<h3>{html.escape(words['townships'])}</h3>")
        parts.append(_table(headers, rows, (1, 2, 3, 4)))
    return "\n".join(parts)


def _chart(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", color="#e4dfd2", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _curve(report: CoverageReport, words: dict[str, str], kind: str, lang: str) -> Figure:
    font = picture_font()
    figure, axes = _chart(8.2, 3.4)
    curve = report.curve(kinds=[kind], minutes=range(46))
    curve = curve[curve["measure"] == "time"]
    drawn = list(dict.fromkeys(curve["mode"]))[: len(_INKS)]
    for setting, rows in curve.groupby("setting", sort=True):
        for mode, line in rows.groupby("mode", sort=False):
            if mode not in drawn:
                continue
            axes.plot(
                line["minutes"],
                line["share"],
                color=_INKS[drawn.index(mode)],
                linestyle=_DASHES[_SETTINGS.index(setting) if setting in _SETTINGS else 2],
                linewidth=1.9,
                label=f"{label('setting', setting, lang)} · {label('mode', mode, lang)}",
            )
    for limit in sorted(set(curve["limit_minutes"].dropna())):
        axes.axvline(limit, color="#857e6d", linestyle=":", linewidth=1.2)
    axes.set_xlim(0, 45)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{words['curve_x']} ({words['curve_limit']})", family=font)
    axes.set_ylabel(words["curve_y"], family=font)
    axes.legend(prop={"family": font, "size": 9}, frameon=False, loc="lower right")
    return figure


def _frontier(frontier: pd.DataFrame, words: dict[str, str], *, costed: bool) -> Figure:
    font = picture_font()
    figure, axes = _chart(8.2, 3.0)
    x = frontier["cost"] if costed else frontier["works"]
    axes.plot(x, frontier["share"], color=INK, marker="o", markersize=5, linewidth=1.7)
    for value, row in zip(x, frontier.itertuples(), strict=True):
        words_at = f"{row.share:.1%}"
        axes.annotate(
            words_at, (value, row.share), (0, 7), textcoords="offset points", ha="center", size=8
        )
    axes.margins(x=0.05, y=0.2)
    axes.set_xlabel(words["frontier_cost" if costed else "frontier_works"], family=font)
    axes.set_ylabel(words["frontier_share"], family=font)
    return figure


def _plans(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    tasks: gpd.GeoDataFrame,
    frontier: pd.DataFrame | None,
    after: CoverageReport | None,
    words: dict[str, str],
    kind: str,
    lang: str,
) -> str:
    due = projects[projects["in_quota"].to_numpy(dtype=bool)]
    natures = due["nature"].value_counts()
    costed = bool(projects["cost"].notna().any())
    parts = [
        f"<h2>{html.escape(words['projects'])}</h2>",
        _paragraph(
            words["projects_line"].format(
                units=int(projects["unit_code"].notna().sum()),
                due=len(due),
                **{name: int(natures.get(name, 0)) for name in _natures_told()},
            )
        ),
    ]
    if after is not None:
        for setting in _SETTINGS:
            row = _rate(after, kind, setting, "ledger", "units")
            if row is not None and row.total:
                line = words["after_line"].format(
                    setting=label("setting", setting, lang),
                    kind=label("kind", kind, lang),
                    covered=_whole(row.covered),
                    total=_whole(row.total),
                    share=_percent(row.share),
                )
                parts.append(_paragraph(line))
    if not costed:
        parts.append(_paragraph(words["no_costs"]))
    parts += [_summary(report, projects, lang), _project_list(due, words, lang, costed=costed)]
    if frontier is not None and len(frontier):
        try:
            parts.append(_figure(_frontier(frontier, words, costed=costed), words["frontier"]))
        except MissingDependencyError as fault:
            parts.append(_paragraph(words["no_pictures"].format(reason=fault)))
    parts.append(_years(tasks, words, costed=costed))
    return "\n".join(parts)


def _natures_told() -> tuple[str, ...]:
    return ("new_build", "extension", "sharing")


def _summary(report: CoverageReport, projects: gpd.GeoDataFrame, lang: str) -> str:
    columns = ("project", "units_needed", "quota", "short_floor_area_m2", "people", "deadline")
    rows = [
        [
            label("project", row.project, lang),
            *(_whole(getattr(row, name)) for name in columns[1:-1]),
            str(row.deadline),
        ]
        for row in project_summary(projects, report).itertuples()
    ]
    return _table([label("column", name, lang) for name in columns], rows, (1, 2, 3, 4, 5))


def _project_list(due: gpd.GeoDataFrame, words: dict[str, str], lang: str, *, costed: bool) -> str:
    columns = ["number", "unit_name", "township", "project", "nature", "residents"]
    rows = [
        [
            _whole(row.number),
            str(row.name),
            "—" if pd.isna(row.township) else str(row.township),
            label("project", row.project, lang).split(" ")[0],
            label("nature", row.nature, lang),
            _whole(row.residents),
            *([f"{row.cost:,.1f}" if pd.notna(row.cost) else "—"] if costed else []),
        ]
        for row in due.head(_MOST_PROJECTS).itertuples(index=False)
    ]
    headers = [label("column", name, lang) for name in columns]
    parts = [
        f"<h3>{html.escape(words['project_list'])}</h3>",
        _table([*headers, *([words["cost"]] if costed else [])], rows, (0, 5, 6)),
    ]
    if len(due) > _MOST_PROJECTS:
        parts.append(_paragraph(words["more"].format(count=len(due) - _MOST_PROJECTS)))
    return "\n".join(parts)


def _years(tasks: gpd.GeoDataFrame, words: dict[str, str], *, costed: bool) -> str:
    years = tasks["year"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    rows = []
    for year in [*sorted(set(years[~np.isnan(years)])), np.nan]:
        mine = tasks[np.isnan(years) if np.isnan(year) else years == year]
        if len(mine) == 0:
            continue
        row = [words["undated"] if np.isnan(year) else f"{year:.0f}", str(len(mine))]
        # A sum with an unknown cost is not known.
        total = mine["cost"].sum(skipna=False)
        rows.append([*row, *([f"{total:,.1f}" if pd.notna(total) else "—"] if costed else [])])
    headers = [words["year"], words["count"], *([words["cost"]] if costed else [])]
    return f"<h3>{html.escape(words['tasks'])}</h3>" + _table(headers, rows, (1, 2))


def _method(report: CoverageReport, words: dict[str, str], kind: str, lang: str) -> str:
    defined = [
        f"<li><b>{html.escape(label('method', key, lang))}</b> {html.escape(text)}</li>"
        for key, text in labels("definition", lang).items()
    ]
    rules = [
        f"<li>{html.escape(label('setting', standard.setting, lang))}: "
        f"{html.escape(standard.in_words(lang))} — {html.escape(standard.source or '—')}</li>"
        for standard in report.plan.standards
        if standard.kind == kind
    ]
    limits = [
        f"<li>{html.escape(words[name])}</li>"
        for name in ("limit_data", "limit_minutes", "limit_projects", "limit_border")
    ]
    source = source_line(report, labels("map", lang))
    return "\n".join(
        [
            f"<h2>{html.escape(words['method'])}</h2>",
            f"<ul>{''.join(defined)}</ul>",
            f"<h3>{html.escape(words['rule'])}</h3><ul>{''.join(rules)}</ul>",
            f"<h3>{html.escape(words['limits'])}</h3><ul>{''.join(limits)}</ul>",
            _paragraph(f"{words['sources']}{label('map', 'colon', lang)}{source}"),
        ]
    )
