"""A report and its projects as an Excel workbook for the county's ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from .assessment import CoverageReport
from .errors import Finding
from .files import write_beside
from .intake import SEVERITIES, IntakeReport, finding, intake_report
from .projects import project_summary
from .terms import label, labels

__all__ = ["write_workbook"]

_HEADER_FILL = PatternFill("solid", fgColor="DCE6EE")
_THIN = Border(bottom=Side(style="thin", color="B8C4CE"))
_STATE_FILLS = {
    "covered": PatternFill("solid", bgColor="D5EED9"),
    "uncovered": PatternFill("solid", bgColor="F8D3CE"),
    "unknown": PatternFill("solid", bgColor="E4E4E4"),
}
_FORMATS = {
    "share": "0.0%",
    "target": "0.0%",
    "people_share": "0.0%",
    "minutes": "0.0",
    "limit_minutes": "0",
    "short_floor_area_m2": "#,##0",
    "short_activity_area_m2": "#,##0",
    "people": "#,##0",
    "residents": "#,##0",
    "households": "#,##0",
    "covered": "#,##0",
    "uncovered": "#,##0",
    "unknown": "#,##0",
    "total": "#,##0",
    "people_covered": "#,##0",
    "people_uncovered": "#,##0",
    "people_unknown": "#,##0",
}
_TERM_COLUMNS = {
    "kind": "kind",
    "setting": "setting",
    "basis": "basis",
    "measure": "measure",
    "ledger_state": "state",
    "reachable_state": "state",
    "ledger_reason": "reason",
    "reachable_reason": "reason",
    "mode": "mode",
    "project": "project",
    "nature": "nature",
    "reasons": "reason",
    "severity": "severity",
    "effect": "effect",
    "field": "column",
    "verdict": "verdict",
}
_TITLES = {
    "overview": ("概览", "Overview"),
    "rates": ("覆盖率", "Rates"),
    "units": ("单元明细", "Units"),
    "gaps": ("缺口清单", "Gaps"),
    "projects": ("项目库", "Projects"),
    "intake": ("设施台账核对", "Intake"),
    "method": ("口径与来源", "Method and sources"),
}
_WIDEST = 48


def write_workbook(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    path: str | Path,
    *,
    lang: str = "zh",
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

    Returns
    -------
    pathlib.Path
        The file written. Its sheets: 概览, 覆盖率, 单元明细, 缺口清单, 项目库, 设施台账核对,
        口径与来源. Percentages are exact numbers shown with one decimal; missing figures are "—".

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
    book = Workbook()
    book.remove(book.active)
    _overview(book, report, projects, lang)
    _table(book, "rates", _rates_table(report), report, lang)
    _table(book, "units", _unit_table(report, report.verdicts), report, lang)
    _table(book, "gaps", _unit_table(report, report.gaps), report, lang)
    _table(book, "projects", _project_table(projects), report, lang)
    _table(book, "intake", _intake_table(report, lang), report, lang)
    _method(book, report, lang)
    book.properties.title = report.plan.name(lang)
    book.properties.description = report.stamp
    return write_beside(target, book.save)


def _sheet(book: Workbook, key: str, report: CoverageReport, lang: str) -> Worksheet:
    """Start a sheet with its title and the stamp of the data above everything."""
    sheet = book.create_sheet(_TITLES[key][lang == "en"])
    _text(sheet.cell(1, 1), f"{report.plan.name(lang)} · {_TITLES[key][lang == 'en']}").font = Font(
        bold=True, size=14
    )
    stamp = report.stamp or ("内部工作用" if lang == "zh" else "for internal use")
    _text(sheet.cell(2, 1), stamp).font = Font(bold=True, color="B02418")
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    return sheet


def _text(cell: Any, value: Any) -> Any:
    """Write text as text: a name that begins with ``=`` is no formula."""
    cell.value = value
    if isinstance(value, str):
        cell.data_type = "s"
        cell.quotePrefix = value.startswith(("=", "+", "-", "@"))
    return cell


def _plain(value: Any) -> Any:
    """Give a value Excel can hold; what is missing is shown as a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "—"
    if isinstance(value, np.generic):
        return value.item()
    return value


def _rows(
    sheet: Worksheet,
    table: pd.DataFrame,
    lang: str,
    *,
    first_row: int,
    headers: dict[str, str] | None = None,
) -> None:
    """Write a table with headers, number formats and widths."""
    widths = []
    for column, name in enumerate(table.columns, start=1):
        header = (headers or {}).get(name) or label("column", name, lang)
        cell = _text(sheet.cell(first_row, column), header)
        cell.font, cell.fill, cell.border = Font(bold=True), _HEADER_FILL, _THIN
        cell.alignment = Alignment(wrap_text=True, vertical="center")
        group = _TERM_COLUMNS.get(str(name))
        longest = _width(header)
        for row, value in enumerate(table[name].tolist(), start=first_row + 1):
            shown = (
                label(group, _plain(value), lang)
                if group and _plain(value) != "—"
                else _plain(value)
            )
            if isinstance(shown, bool):
                shown = ("是" if shown else "否") if lang == "zh" else ("yes" if shown else "no")
            cell = _text(sheet.cell(row, column), shown)
            if isinstance(shown, int | float) and name in _FORMATS:
                cell.number_format = _FORMATS[str(name)]
            longest = max(longest, _width(shown))
        widths.append(min(_WIDEST, longest + 2))
    for column, width in enumerate(widths, start=1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = max(
            width, sheet.column_dimensions[letter].width or 0
        )


def _width(value: Any) -> int:
    """Give how many half-width characters a value takes."""
    text = f"{value:,.0f}" if isinstance(value, float) else str(value)
    return sum(2 if ord(character) > 0x2E80 else 1 for character in text)  # noqa: PLR2004 - CJK begins there


def _table(
    book: Workbook, key: str, table: pd.DataFrame, report: CoverageReport, lang: str
) -> None:
    """Write a sheet that is one table: frozen header, filter, colours by state."""
    sheet = _sheet(book, key, report, lang)
    for column in range(1, len(table.columns) + 1):  # titles above must not widen the first column
        sheet.column_dimensions[get_column_letter(column)].width = 8
    _rows(sheet, table, lang, first_row=4)
    last = f"{get_column_letter(len(table.columns))}{4 + len(table)}"
    sheet.auto_filter.ref = f"A4:{last}"
    sheet.freeze_panes = "A5"
    sheet.print_title_rows = "1:4"
    sheet.print_area = f"A1:{last}"
    for column, name in enumerate(table.columns, start=1):
        if _TERM_COLUMNS.get(str(name)) == "state" and len(table):
            letter = get_column_letter(column)
            for state, fill in _STATE_FILLS.items():
                words = label("state", state, lang)
                rule = CellIsRule(operator="equal", formula=[f'"{words}"'], fill=fill)
                sheet.conditional_formatting.add(f"{letter}5:{letter}{4 + len(table)}", rule)


def _verdict(met: Any) -> str:
    return "cannot_tell" if met is None or met is pd.NA else "met" if met else "not_met"


def _overview(
    book: Workbook, report: CoverageReport, projects: gpd.GeoDataFrame, lang: str
) -> None:
    sheet = _sheet(book, "overview", report, lang)
    indicators = report.indicators.assign(
        indicator=report.indicators[f"name_{lang}"],
        verdict=[_verdict(met) for met in report.indicators["met"]],
    )
    row = 4
    if len(indicators):
        columns = ["number", "indicator", "baseline", "value", "target", "verdict", "missing_data"]
        _rows(sheet, indicators[columns], lang, first_row=row)
        for offset, unit in enumerate(indicators["unit"], start=row + 1):
            for column in (3, 4, 5):
                cell = sheet.cell(offset, column)
                cell.number_format = (
                    "0.0%" if unit == "share" else '0.0" ㎡"' if unit == "m²" else "0"
                )
        row += len(indicators) + 3
    kind = report.plan.kinds[0]
    headline = report.rates[(report.rates["kind"] == kind) & (report.rates["measure"] != "area")]
    _rows(sheet, _verdicts_of(headline), lang, first_row=row)
    row += len(headline) + 3
    _rows(sheet, project_summary(projects, report), lang, first_row=row)
    sheet.column_dimensions["A"].width = 44 if lang == "en" else 30
    sheet.column_dimensions["B"].width = 46
    sheet.freeze_panes = "A4"


def _verdicts_of(rates: pd.DataFrame) -> pd.DataFrame:
    """Add whether each rate meets its target, judged on counts before rounding."""
    met = [
        None if np.isnan(row.target) or row.measure != "units" else row.missing <= 0
        for row in rates.itertuples()
    ]
    return rates.assign(verdict=[_verdict(value) for value in met])


def _rates_table(report: CoverageReport) -> pd.DataFrame:
    rates = _verdicts_of(report.rates)
    # Area is kept in m² and shown in km².
    square_km = rates["measure"] == "area"
    amounts = ["covered", "uncovered", "unknown", "total"]
    rates.loc[square_km, amounts] = (rates.loc[square_km, amounts] / 1e6).round(1)
    return rates


def _unit_table(report: CoverageReport, verdicts: pd.DataFrame) -> pd.DataFrame:
    names = report.facilities.set_index("facility_id")["name"]
    table = verdicts.assign(
        unit_name=verdicts["name"], facility=verdicts["facility_id"].map(names)
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
        "mode",
        "facility",
        "people_covered",
        "people_uncovered",
        "people_unknown",
        "people_share",
    ]
    return table[columns]


def _project_table(projects: gpd.GeoDataFrame) -> pd.DataFrame:
    """Give the project pool (项目库) with blank columns for what only the county knows."""
    points = projects.geometry.to_crs("EPSG:4326")
    places = [
        "—" if point is None or point.is_empty else f"{point.x:.5f},{point.y:.5f}"
        for point in points
    ]
    table = pd.DataFrame(projects.drop(columns="geometry")).rename(columns={"name": "unit_name"})
    table = table.assign(cost="", funding="", responsible="", coordinates=places, remarks="")
    columns = [
        "number",
        "unit_code",
        "unit_name",
        "project",
        "township",
        "setting",
        "nature",
        "reasons",
        "short_floor_area_m2",
        "short_activity_area_m2",
        "households",
        "residents",
        "cost",
        "funding",
        "responsible",
        "deadline",
        "in_quota",
        "rank",
        "host_facility_id",
        "coordinates",
        "remarks",
    ]
    return table[columns]


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


def _method(book: Workbook, report: CoverageReport, lang: str) -> None:
    sheet = _sheet(book, "method", report, lang)
    words = {label("method", key, lang): text for key, text in labels("definition", lang).items()}
    _rows(
        sheet,
        pd.DataFrame({"item": list(words), "definition": list(words.values())}),
        lang,
        first_row=4,
    )
    row = 4 + len(words) + 3
    standards = pd.DataFrame(
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
    _rows(sheet, standards, lang, first_row=row)
    row += len(standards) + 3
    used = {a.mode for standard in report.plan.standards for a in standard.alternatives}
    modes = pd.DataFrame(
        [
            {
                "mode": name,
                "definition": f"{report.plan.modes[name].speed_kph:g} km/h"
                + "".join(
                    f", {road} {speed:g}"
                    for road, speed in report.plan.modes[name].speeds_kph.items()
                ),
                "source": report.plan.modes[name].source,
            }
            for name in sorted(used)
        ]
    )
    _rows(sheet, modes, lang, first_row=row)
    row += len(modes) + 3
    options = pd.DataFrame(
        {
            "item": list(report.access.options),
            "value": [str(v) for v in report.access.options.values()],
        }
    )
    _rows(sheet, options, lang, first_row=row)
    sheet.column_dimensions["A"].width = 24
    sheet.column_dimensions["B"].width = 24
    sheet.column_dimensions["C"].width = 60
