"""A report and its projects as an Excel workbook for the county's ledgers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.chart import LineChart, Reference
from openpyxl.styles import Alignment
from openpyxl.worksheet.table import Table
from openpyxl.worksheet.worksheet import Worksheet

from .assessment import CoverageReport
from .errors import Finding
from .files import file_sha256, write_beside
from .intake import SEVERITIES, IntakeReport, finding, intake_report
from .projects import annual_tasks, project_summary
from .shortfalls import SERVICE
from .terms import label, labels
from .worksheets import (
    COUNT,
    DASH,
    FIRST_ROW,
    GREEN,
    SHARE,
    TENTHS,
    Placed,
    finish,
    header_words,
    number_format,
    ratio,
    save_book,
    start_sheet,
    sum_of,
    sum_where,
    write_heading,
    write_list,
    write_table,
    write_text,
    write_total,
    write_totals,
)

__all__ = ["write_workbook"]


def write_workbook(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    path: str | Path,
    *,
    lang: str = "zh",
    tasks: gpd.GeoDataFrame | None = None,
    frontier: pd.DataFrame | None = None,
    files: Mapping[str, str | Path] | None = None,
) -> Path:
    """Write the workbook that goes round at the county meeting.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    projects : GeoDataFrame
        From `propose_projects`.
    path : str or pathlib.Path
        Where to write, ending in ``.xlsx``; an older file there is replaced when the new one is
        complete.
    lang : {"zh", "en"}
        Language of sheets and headers.
    tasks : GeoDataFrame, optional
        From `annual_tasks`; by default its equal steps.
    frontier : DataFrame, optional
        From `cost_frontier`: shown as a table and a line chart on the first sheet.
    files : mapping of str to path, optional
        The files all rests on, by what they are (``units``, ``facilities``, …): named with their
        SHA-256 on the last sheet.

    Returns
    -------
    pathlib.Path
        The file written. Its sheets: 概览, 覆盖率, 单元明细, 缺口清单, 项目库, 年度任务,
        设施台账核对, 口径与来源.

    Notes
    -----
    Percentages are exact numbers shown with one decimal. What is not known is "—", and so is a
    total over it; what only the county can say (who is responsible, what it costs where no `costs`
    were given) is left blank, and its total is "—" until all is filled in. Totals are formulas
    without stored results: Excel and LibreOffice compute them on opening, while programs that read
    stored results see nothing there.

    Examples
    --------
    >>> import tempfile
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = fc.write_workbook(report, fc.propose_projects(report, roads), folder + "/a.xlsx")
    >>> path.name
    'a.xlsx'
    """
    target = Path(path)
    tasks = annual_tasks(projects, report) if tasks is None else tasks
    book = Workbook()
    book.remove(book.active)
    title, stamp = report.plan.name(lang), report.stamp or label("workbook", "internal", lang)
    sheets = {
        key: start_sheet(book, name, title=title, stamp=stamp, lang=lang)
        for key, name in labels("sheet", lang).items()
    }
    pool = _project_table(report, projects, tasks, lang)
    rates = _rates(sheets["rates"], report, lang)
    write_list(sheets["units"], _unit_table(report, report.verdicts), lang)
    write_list(sheets["gaps"], _unit_table(report, report.gaps), lang)
    _projects(sheets["projects"], pool, lang)
    dated = _tasks(sheets["tasks"], _task_table(pool, tasks, lang), lang)
    write_list(sheets["intake"], _intake_table(report, lang), lang)
    _method(sheets["method"], report, files or {}, lang)
    row = _overview(sheets["overview"], report, projects, lang)
    row = _years(sheets["overview"], dated, tasks, _covered_now(rates, report), lang, row=row)
    if frontier is not None:
        row = _frontier(sheets["overview"], frontier, lang, row=row)
    finish(sheets["overview"], "1:2", freeze="A3", last=f"L{row}")
    book.properties.title = title
    book.properties.description = report.stamp
    return write_beside(target, partial(save_book, book))


# -- coverage --------------------------------------------------------------------------------------


def _verdict(met: Any) -> str:
    return "cannot_tell" if met is None or met is pd.NA else "met" if met else "not_met"


def _verdicts_of(rates: pd.DataFrame) -> pd.DataFrame:
    """Add whether each rate meets its target, judged on counts before rounding."""
    met = [
        None if np.isnan(row.target) or row.measure != "units" else row.missing <= 0
        for row in rates.itertuples()
    ]
    return rates.assign(verdict=[_verdict(value) for value in met])


def _rates(sheet: Worksheet, report: CoverageReport, lang: str) -> Placed:
    """Write the rates by basis and setting, then by township; each table with its own filter."""
    row = write_heading(sheet, FIRST_ROW - 1, "by_setting", lang)
    rates = _verdicts_of(report.rates)
    square_km = rates["measure"] == "area"  # kept in m², shown in km²
    amounts = [name for name in rates if name in {"uncovered", "unknown", "total"}]
    amounts += [name for name in rates if str(name).startswith("covered")]
    rates.loc[square_km, amounts] = rates.loc[square_km, amounts] / 1e6
    own = [TENTHS if area else COUNT for area in square_km]
    placed = write_table(sheet, rates, lang, row=row, formats=dict.fromkeys(amounts, own))
    row = write_heading(sheet, placed.last + 2, "by_township", lang)
    towns = _townships(sheet, report, lang, row=row)
    for name, table in (("rates", placed), ("townships", towns)):
        if table.last >= table.first:
            sheet.add_table(Table(displayName=name, ref=table.ref))
    finish(sheet, "1:2", freeze="A3")
    return placed


def _townships(sheet: Worksheet, report: CoverageReport, lang: str, *, row: int) -> Placed:
    """Write the township table; the total of each kind is a formula over its townships."""
    table = report.townships
    ledger = [name for name in table if str(name).startswith("ledger_")]
    # Missing on the ledger basis is where no unit is asked for it: there is no unknown there.
    filled = (
        table[ledger]
        .astype(object)
        .where(table[ledger].notna(), label("workbook", "not_asked", lang))
    )
    placed = write_table(sheet, table.assign(**filled.to_dict("series")), lang, row=row)
    counts = [name for name in table.columns[3:] if not str(name).endswith("share")]
    first = placed.first
    for line in (placed.first + np.flatnonzero(table["township_code"] == "")).tolist():
        formulas = {name: sum_of(placed.cells(name, first, line - 1), lang) for name in counts}
        for share, part, whole in (
            ("ledger_share", "ledger_covered", [name for name in ledger if name in counts]),
            ("reachable_share", "reachable_covered", ["units"]),
            ("people_share", "people_covered", ["people"]),
        ):
            names = (placed.cell(name, line) for name in whole)
            formulas[share] = ratio(placed.cell(part, line), names)
        kind = placed.sheet[placed.cell("kind", line)].value
        write_total(placed, line, kind, formulas)
        write_text(sheet[placed.cell("township", line)], label("workbook", "total", lang))
        first = line + 1
    return placed


def _unit_table(report: CoverageReport, verdicts: pd.DataFrame) -> pd.DataFrame:
    names = report.facilities.set_index("facility_id")["name"]
    over = (verdicts["minutes"] - verdicts["limit_minutes"]).clip(lower=0)
    late = (verdicts["reachable_state"] == "uncovered") & over.notna()
    late &= verdicts["reachable_reason"].isin(["", "too_far"])
    table = verdicts.assign(
        unit_name=verdicts["name"],
        facility=verdicts["facility_id"].map(names),
        beyond_minutes=over.astype(object).where(late, ""),
    ).sort_values("unit_code", kind="stable")
    columns = [
        "unit_code",
        "unit_name",
        "township",
        "setting",
        "residents",
        "kind",
        "ledger_state",
        "ledger_reason",
        "reachable_state",
        "reachable_reason",
        "minutes",
        "limit_minutes",
        "beyond_minutes",
        "mode",
        "facility",
        "people_covered",
        "people_uncovered",
        "people_unknown",
        "people_share",
    ]
    return table[columns]


# -- projects and tasks ----------------------------------------------------------------------------

_BLANK = ("funding", "responsible", "supporting", "progress", "land", "remarks")  # the county's own
_SUMMED = (
    "added_floor_area_m2",
    "beneficiary_households",
    "beneficiaries",
    "cost",
    "units_gained",
)


_BUILDS = ("new_build", "extension", "rent_purchase")
_NARROW = 24  # so that the many columns of a project fit a page


def _known(value: Any) -> bool:
    return not pd.isna(value) and value != ""


def _host(row: Any, facilities: Mapping[str, str], units: Mapping[str, str], lang: str) -> str:
    """Name the facility a project works on or shares."""
    if _known(row.host_facility_id):
        return str(facilities.get(row.host_facility_id, row.host_facility_id))
    words = labels("project_content", lang)
    if _known(row.host_unit_code):
        return words["host_new"].format(unit=units.get(row.host_unit_code, row.host_unit_code))
    return words["host_near" if row.nature == "sharing" else "host_own"]


def _content(row: Any, host: str, lang: str) -> str:
    """Say what is to be done, and how large it is to be."""
    words = labels("project_content", lang)
    text = words.get(row.nature, label("nature", row.nature, lang)).format(host=host)
    added, planned = row.short_floor_area_m2, row.planned_floor_area_m2
    builds = row.nature in _BUILDS
    if builds and added > 0 and added != planned:
        text += words["added"].format(area=f"{added:,.0f}")
    if builds and planned > 0:
        text += words["planned"].format(area=f"{planned:,.0f}")
    if row.short_activity_area_m2 > 0:
        text += words["activity"].format(area=f"{row.short_activity_area_m2:,.0f}")
    return text


def _words_of(row: Any, report: CoverageReport, lang: str) -> dict[str, str]:
    """Give the columns of a project that are words: title, site, content, villages served."""
    units = dict(zip(report.units["unit_code"], report.units["name"], strict=True))
    facilities = dict(zip(report.facilities["facility_id"], report.facilities["name"], strict=True))
    host, titles = _host(row, facilities, units, lang), labels("project_title", lang)
    there = _known(row.host_facility_id) or _known(row.host_unit_code)
    served = row.serves.split(";") if _known(row.serves) else [row.unit_code]
    return {
        "title": titles.get(row.nature, titles["any"]).format(
            unit=row.name, nature=label("nature", row.nature, lang)
        ),
        "site": host if there else row.name,
        "content": _content(row, host, lang),
        "serves": label("workbook", "list", lang).join(
            str(units.get(code, code)) for code in served if _known(code)
        ),
    }


def _project_table(
    report: CoverageReport, projects: gpd.GeoDataFrame, tasks: gpd.GeoDataFrame, lang: str
) -> pd.DataFrame:
    """Give the project pool (项目库) with blank columns for what only the county knows."""
    rows = list(projects.drop(columns="geometry").itertuples(index=False))
    columns = ["title", "site", "content", "serves"]
    words = pd.DataFrame(
        [_words_of(row, report, lang) for row in rows], columns=columns, index=projects.index
    )
    places = [
        DASH if point is None or point.is_empty else f"{point.x:.5f},{point.y:.5f}"
        for point in projects.geometry.to_crs("EPSG:4326")
    ]
    year = projects["number"].map(dict(zip(tasks["number"], tasks["year"], strict=True)))
    # A road link is no floor, and the people it serves are counted in their villages' rows.
    own = projects["unit_code"].notna()
    none = label("workbook", "not_asked", lang)
    table = projects.drop(columns=["geometry", "serves"]).assign(
        **words.to_dict("series"),
        **dict.fromkeys(_BLANK, ""),
        added_floor_area_m2=projects["short_floor_area_m2"].astype(object).where(own, none),
        beneficiary_households=projects["households"].astype(object).where(own, none),
        beneficiaries=projects["residents"].astype(object).where(own, none),
        cost=projects["cost"].astype(object).where(projects["cost"].notna(), ""),
        years=year.astype(object).where(year.notna(), ""),
        coordinates=places,
    )
    columns = [
        "number",
        "title",
        "project",
        "township",
        "site",
        "nature",
        "content",
        "added_floor_area_m2",
        "serves",
        "beneficiary_households",
        "beneficiaries",
        "cost",
        "funding",
        "responsible",
        "supporting",
        "years",
        "progress",
        "land",
        "coordinates",
        "units_gained",
        "cumulative_share",
        "remarks",
        "unit_code",
        "reasons",
        "in_quota",
        "host_facility_id",
    ]
    return pd.DataFrame(table)[columns]


def _projects(sheet: Worksheet, pool: pd.DataFrame, lang: str) -> None:
    """Write the project pool, its total, and the total of what is to be done."""
    placed = write_list(sheet, pool, lang, widest=_NARROW)
    if pool.empty:
        return
    write_totals(placed, placed.last + 1, _SUMMED, lang)
    yes = f'"{label("workbook", "yes", lang)}"'
    due = {name: sum_where(placed.cells(name), placed.cells("in_quota"), yes) for name in _SUMMED}
    write_total(placed, placed.last + 2, label("workbook", "due", lang), due)
    # The columns after the remarks are keys to the other sheets, and are not printed.
    last = placed.cell("remarks", placed.last + 2)
    finish(sheet, f"1:{FIRST_ROW}", freeze="C5", last=last)


def _task_table(pool: pd.DataFrame, tasks: gpd.GeoDataFrame, lang: str) -> pd.DataFrame:
    """Give the projects that are due in the order of their years."""
    year = tasks["year"].astype(object)
    year = year.where(year.notna(), label("workbook", "undated", lang))
    chosen = pool.set_index("number", drop=False).reindex(tasks["number"].to_numpy())
    columns = [
        "year",
        "number",
        "title",
        "township",
        "nature",
        "content",
        "serves",
        "beneficiary_households",
        "beneficiaries",
        "added_floor_area_m2",
        "cost",
        "units_gained",
        "responsible",
        "completion",
        "remarks",
    ]
    return chosen.assign(year=year.to_numpy(), completion="")[columns]


def _tasks(sheet: Worksheet, table: pd.DataFrame, lang: str) -> Placed:
    """Write the yearly tasks and their total."""
    placed = write_list(sheet, table, lang, freeze="D5", widest=_NARROW)
    if len(table):
        write_totals(placed, placed.last + 1, _SUMMED, lang)
        finish(sheet, f"1:{FIRST_ROW}", freeze="D5")
    return placed


# -- the first sheet -------------------------------------------------------------------------------


def _in_language(lacking: str, lang: str) -> str:
    """Of data named in both languages keep one."""
    parts = [part.split(" / ") for part in lacking.split("；")]
    return "；".join(part[lang == "en"] if len(part) == 2 else " / ".join(part) for part in parts)  # noqa: PLR2004


def _overview(
    sheet: Worksheet, report: CoverageReport, projects: gpd.GeoDataFrame, lang: str
) -> int:
    """Write indicators, headline rates and the sum of the projects; give the next free row."""
    row = _indicators(sheet, report, lang, row=FIRST_ROW - 1)
    kind = report.plan.kinds[0]
    headline = report.rates[(report.rates["kind"] == kind) & (report.rates["measure"] != "area")]
    columns = ["setting", "basis", "measure", "covered", "uncovered", "unknown", "total"]
    columns += ["share", "target", "missing", "verdict"]
    row = write_heading(sheet, row, "headline", lang, kind=label("kind", kind, lang))
    row = write_table(sheet, _verdicts_of(headline)[columns], lang, row=row).last + 2
    summary = project_summary(projects, report).rename(
        columns={"people": "beneficiaries", "households": "beneficiary_households"}
    )
    summary.insert(0, "number", range(1, len(summary) + 1))
    row = write_heading(sheet, row, "summary", lang)
    placed = write_table(sheet, summary, lang, row=row)
    write_totals(placed, placed.last + 1, summary.columns[2:-1], lang)
    return placed.last + 3


def _indicators(sheet: Worksheet, report: CoverageReport, lang: str, *, row: int) -> int:
    """Write the plan's indicators and promises against their targets."""
    tables = [table for table in (report.indicators, report.promises) if len(table)]
    if not tables:
        return row
    found = pd.concat(tables, ignore_index=True)
    found = found.assign(
        indicator=found[f"name_{lang}"],
        verdict=[_verdict(met) for met in found["met"]],
        missing_data=[_in_language(lacking, lang) for lacking in found["missing_data"]],
    )
    formats = {"share": SHARE, "m²": '0.0" ㎡"'}
    own = [formats.get(unit, TENTHS) for unit in found["unit"]]
    columns = ["number", "indicator", "baseline", "value", "target", "verdict", "missing_data"]
    row = write_heading(sheet, row, "indicators", lang)
    by_row = dict.fromkeys(["baseline", "value", "target"], own)
    placed = write_table(sheet, found[columns], lang, row=row, formats=by_row)
    sheet.column_dimensions[placed.letters["missing_data"]].width = 14  # it may run on to the right
    for (cell,) in sheet[placed.cells("missing_data").split("!")[1]]:
        cell.alignment = Alignment(wrap_text=False)
    return placed.last + 2


def _covered_now(rates: Placed, report: CoverageReport) -> tuple[str, str] | None:
    """Give the cells that say how many villages are covered on the ledger, of how many."""
    table = report.rates.reset_index(drop=True)
    own = (table["kind"] == SERVICE) & (table["setting"] == "rural")
    own &= (table["basis"] == "ledger") & (table["measure"] == "units")
    if not own.any():
        return None
    row = rates.first + int(np.argmax(own))
    covered, total = (rates.cells(name, row, row).split(":")[0] for name in ("covered", "total"))
    return covered, total


def _years(
    sheet: Worksheet,
    dated: Placed,
    tasks: gpd.GeoDataFrame,
    now: tuple[str, str] | None,
    lang: str,
    *,
    row: int,
) -> int:
    """Write what is to be done in each year, as formulas over the list of tasks."""
    if tasks.empty:
        return row
    undated = label("workbook", "undated", lang)
    groups = tasks["nature"].groupby(tasks["year"].astype(object).fillna(undated), sort=False)
    table = pd.DataFrame(
        [{"year": year, "works": _counted(natures, lang)} for year, natures in groups]
    ).assign(**dict.fromkeys(["tasks", *_SUMMED, "cumulative_share"], ""))
    row = write_heading(sheet, row, "yearly", lang)
    placed = write_table(sheet, table, lang, row=row)
    years = dated.cells("year")
    for line, year in enumerate(table["year"], start=placed.first):
        key = placed.cell("year", line)
        formulas = {name: sum_where(dated.cells(name), years, key) for name in _SUMMED}
        formulas["tasks"] = f"=COUNTIF({years},{key})"
        if now and year != undated:
            gained = placed.cells("units_gained", placed.first, line).split("!")[1]
            formulas["cumulative_share"] = f"=({now[0]}+SUM({gained}))/{now[1]}"
        for name, formula in formulas.items():
            cell = sheet[placed.cell(name, line)]
            cell.value, cell.number_format = formula, number_format(name)
            cell.alignment = Alignment(horizontal="right")
    write_totals(placed, placed.last + 1, ["tasks", *_SUMMED], lang)
    return placed.last + 3


def _counted(natures: pd.Series, lang: str) -> str:
    """Say how many projects of each nature there are."""
    words = label("workbook", "count_of", lang)
    return label("workbook", "list", lang).join(
        words.format(nature=label("nature", nature, lang), count=count)
        for nature, count in natures.value_counts(sort=False).items()
    )


def _frontier(sheet: Worksheet, frontier: pd.DataFrame, lang: str, *, row: int) -> int:
    """Write what each budget buys, and draw the share covered against it."""
    row = write_heading(sheet, row, "frontier", lang)
    # Without unit costs a budget is a number of works.
    works = bool((frontier["cost"] == frontier["works"]).all())
    budget = "budget_works" if works else "budget"
    table = frontier.rename(columns={"budget": budget, "cost": "spent", "works": "work_count"})
    columns = [budget, "spent", "work_count", "units_gained", "people_gained", "share"]
    table = table.assign(number=range(1, len(table) + 1))[["number", *columns]]
    placed = write_table(sheet, table.drop(columns="spent") if works else table, lang, row=row)
    _chart(placed, budget, lang)
    return placed.last + 2 + _CHART_ROWS


_CHART_ROWS = 20


def _chart(placed: Placed, budget: str, lang: str) -> None:
    """Draw a line chart below a table, in colours that print."""
    sheet, order = placed.sheet, list(placed.letters)
    share, across = order.index("share") + 1, order.index(budget) + 1
    chart = LineChart()
    chart.add_data(
        Reference(sheet, min_col=share, min_row=placed.first - 1, max_row=placed.last),
        titles_from_data=True,
    )
    chart.set_categories(
        Reference(sheet, min_col=across, min_row=placed.first, max_row=placed.last)
    )
    chart.title = label("workbook", "frontier", lang)
    chart.x_axis.title, chart.y_axis.title = header_words(budget, lang), header_words("share", lang)
    chart.x_axis.number_format, chart.y_axis.number_format = "#,##0", "0%"
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.legend = None
    line = chart.series[0]
    line.graphicalProperties.line.solidFill, line.smooth = GREEN, False
    line.marker.symbol = "circle"
    chart.width, chart.height = 22, 9
    sheet.add_chart(chart, f"A{placed.last + 2}")


# -- intake and method -----------------------------------------------------------------------------


def _intake_table(report: CoverageReport, lang: str) -> pd.DataFrame:
    read = intake_report(report.units, report.demand, report.facilities, report.roads)
    found = [*read.findings, *_unreachable(report)]
    found.sort(key=lambda each: SEVERITIES.index(each.severity))
    table = IntakeReport(tuple(found)).in_language(lang).drop(columns="code")
    if table.empty:
        nothing = {"severity": "note", "rule": label("intake", "nothing", lang)}
        table = pd.DataFrame([nothing], columns=table.columns)
    return table.rename(columns={"value": "found_value"})


def _unreachable(report: CoverageReport) -> Iterator[Finding]:
    """Name the facilities in use that no road leads to: often their coordinates are wrong."""
    limit_m = report.access.options["leg_limit_m"]
    lost = report.facilities[
        (report.facilities["status"] == "in_use")
        & report.facilities["road_flag"].isin(["off_network", "island"])
    ]
    for row in lost.itertuples():
        yield finding(
            f"place.{row.road_flag}",
            field=str(row.facility_id),
            value=str(row.name),
            limit=f"{limit_m:g}",
        )


def _method(
    sheet: Worksheet, report: CoverageReport, files: Mapping[str, str | Path], lang: str
) -> None:
    """Write definitions, standards with their sources, modes, parameters and input files."""
    row = FIRST_ROW - 1
    tables = {
        "definitions": _definitions(report, lang),
        "standards": _standards(report, lang),
        "modes": _modes(report, lang),
        "parameters": _parameters(report, lang),
    }
    if files:
        tables["files"] = _files(files, lang)
    for key, table in tables.items():
        placed = write_table(sheet, table, lang, row=write_heading(sheet, row, key, lang))
        row = placed.last + 2
    finish(sheet, "1:2", freeze="A3")


def _files(files: Mapping[str, str | Path], lang: str) -> pd.DataFrame:
    rows = [
        (label("input", name, lang), "", Path(path).name, "", file_sha256(Path(path)))
        for name, path in files.items()
    ]
    return pd.DataFrame(rows, columns=["item", "_", "file", "__", "sha256"])


def _definitions(report: CoverageReport, lang: str) -> pd.DataFrame:
    words = {label("method", key, lang): text for key, text in labels("definition", lang).items()}
    plan = report.plan
    rows = [(label("workbook", "plan", lang), plan.name(lang), plan.source)]
    rows += [(item, text, "") for item, text in words.items()]
    table = pd.DataFrame(rows, columns=["item", "definition", "source"])
    return table.reindex(columns=["item", "_", "definition", "__", "source"], fill_value="")


def _standards(report: CoverageReport, lang: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "kind": standard.kind,
                "setting": standard.setting,
                "definition": standard.in_words(lang),
                "target": standard.target_share,
                "source": standard.source,
                "verified": standard.verified,
            }
            for standard in report.plan.standards
        ]
    )


def _modes(report: CoverageReport, lang: str) -> pd.DataFrame:
    used = {a.mode for standard in report.plan.standards for a in standard.alternatives}
    modes = [report.plan.modes[name] for name in sorted(used)]
    speed, between = label("workbook", "speed", lang), label("workbook", "list", lang)
    return pd.DataFrame(
        {
            "mode": [mode.name for mode in modes],
            "_": "",
            "definition": [
                between.join(
                    [
                        speed.format(speed=f"{mode.speed_kph:g}"),
                        *(f"{road} {kph:g}" for road, kph in mode.speeds_kph.items()),
                    ]
                )
                for mode in modes
            ],
            "__": "",
            "source": [mode.source for mode in modes],
        }
    )


def _parameters(report: CoverageReport, lang: str) -> pd.DataFrame:
    options = report.access.options
    values = [
        label("parameter", "by_standard" if value is None else value, lang)
        if value is None or isinstance(value, str)
        else value
        for value in options.values()
    ]
    return pd.DataFrame(
        {"parameter": list(options), "_": "", "parameter_value": values}, dtype=object
    )
