"""Tables on worksheets: text that stays text, number formats, colours, totals as formulas."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.formatting.rule import CellIsRule, FormulaRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.page import PageMargins
from openpyxl.worksheet.worksheet import Worksheet

from .terms import label, labels

__all__ = [
    "COUNT",
    "DASH",
    "FIRST_ROW",
    "GREEN",
    "SHARE",
    "TENTHS",
    "Placed",
    "finish",
    "header_words",
    "number_format",
    "ratio",
    "save_book",
    "start_sheet",
    "sum_of",
    "sum_where",
    "write_heading",
    "write_list",
    "write_table",
    "write_text",
    "write_total",
    "write_totals",
]

_SAVED_AT = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*(</dcterms:)")
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first a ZIP archive knows
_HEADER_FILL = PatternFill("solid", fgColor="DCE6EE")
_TOTAL_FILL = PatternFill("solid", fgColor="F2F5F8")
_THIN = Border(bottom=Side(style="thin", color="B8C4CE"))
_ABOVE = Border(top=Side(style="thin", color="5B6B78"))
# As on the map. Cells take a tint behind and a shade for the words, which print well in grey.
GREEN, _AMBER, _RED, _GREY = "1A9850", "F2B134", "D73027", "8B8F94"
_COLOURS = {
    "state": {"covered": GREEN, "uncovered": _RED, "unknown": _GREY},
    "verdict": {"met": GREEN, "not_met": _RED},
    "severity": {"error": _RED, "warning": _AMBER, "note": _GREY},
}
_NEAR_MINUTES = 5  # so far over the limit a verdict is amber, not red
SHARE, COUNT, TENTHS, WHOLE = "0.0%", "#,##0", "#,##0.0", "0"
_TENTHS_COLUMNS = {"cost", "budget", "spent", "minutes", "beyond_minutes"}
_GENERAL_COLUMNS = {"parameter_value", "count"}
_WHOLE_COLUMNS = {"limit_minutes", "number", "row", "year", "years", "deadline", "budget_works"}
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
    "parameter": "parameter",
}
DASH = "—"
_WIDEST, _NARROWEST = 48, 8
_LINE_POINTS = 17
_MIDDLE = Alignment(vertical="center")
_CENTRE = Alignment(horizontal="center", vertical="center")
_WRAPPED = Alignment(wrap_text=True, vertical="center")
_HEADED = Alignment(wrap_text=True, horizontal="center", vertical="center")
FIRST_ROW = 4


def _bold(**more: Any) -> Font:
    return Font(name="Calibri", bold=True, **{"size": 11, **more})


def start_sheet(book: Workbook, name: str, *, title: str, stamp: str, lang: str) -> Worksheet:
    """Start a sheet with its title and the stamp of the data above everything."""
    sheet = book.create_sheet(name)
    write_text(sheet.cell(1, 1), f"{title} · {name}").font = _bold(size=14)
    write_text(sheet.cell(2, 1), stamp).font = _bold(color="B02418")
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_margins = PageMargins(
        left=0.4, right=0.4, top=0.4, bottom=0.6, header=0.2, footer=0.3
    )
    sheet.oddFooter.center.text = label("workbook", "page", lang)
    return sheet


def finish(sheet: Worksheet, titles: str, *, freeze: str, last: str = "") -> None:
    """Freeze the header, repeat it on every page, make rows high enough, and print up to `last`."""
    sheet.freeze_panes = freeze
    sheet.print_title_rows = titles
    sheet.print_area = f"A1:{last or sheet.dimensions.split(':')[-1]}"
    widths = [
        sheet.column_dimensions[get_column_letter(c + 1)].width for c in range(sheet.max_column)
    ]
    for row, cells in enumerate(sheet.iter_rows(), start=1):
        lines = [
            math.ceil((_width(cell.value) + 1) / (width - 1))
            for cell, width in zip(cells, widths, strict=True)
            if isinstance(cell.value, str) and cell.alignment.wrap_text
        ]
        if max(lines, default=1) > 1:
            sheet.row_dimensions[row].height = _LINE_POINTS * max(lines)


def write_text(cell: Any, value: Any) -> Any:
    """Write text as text: a name that begins with ``=`` is no formula."""
    if isinstance(value, str):
        cell.value = value = ILLEGAL_CHARACTERS_RE.sub("", value)
        cell.data_type = "s"
        if value.startswith(("=", "+", "-", "@")):
            cell.quotePrefix = True
    else:
        cell.value = value
    return cell


def _shown(value: Any, name: str, lang: str) -> Any:
    """Give what a cell holds: a number, words, or a dash where nothing is known."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return DASH
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return label("workbook", "yes" if value else "no", lang)
    group = _TERM_COLUMNS.get(name)
    return label(group, value, lang) if group else value


def number_format(name: str) -> str:
    """Give how a column's numbers are shown: shares, tenths, years and ranks, else whole counts."""
    if name == "target" or name.endswith("share") or name.startswith("share"):
        return SHARE
    if name in _GENERAL_COLUMNS:
        return "General"
    return TENTHS if name in _TENTHS_COLUMNS else WHOLE if name in _WHOLE_COLUMNS else COUNT


def header_words(name: str, lang: str) -> str:
    """Give the words above a column."""
    return labels("workbook_column", lang).get(name) or label("column", name, lang)


def _width(value: Any) -> int:
    """Give how many half-width characters a value takes."""
    text = f"{value:,.1f}" if isinstance(value, float) else str(value)
    return sum(2 if ord(character) > 0x2E80 else 1 for character in text)  # noqa: PLR2004 - CJK begins there


def _header_width(header: str) -> int:
    """Give the width a header needs when it is broken over up to three lines."""
    longest = max((_width(word) for word in header.split() if word.isascii()), default=0)
    return max(longest, -(-_width(header) // 3)) + 4  # room for the filter's button


class Placed(NamedTuple):
    """A table on its sheet."""

    sheet: Worksheet
    letters: dict[str, str]
    first: int
    last: int

    def cell(self, name: str, row: int) -> str:
        """Give one cell."""
        return f"{self.letters[name]}{row}"

    def cells(self, name: str, first: int | None = None, last: int | None = None) -> str:
        """Give a column's cells, as another sheet names them too."""
        letter = self.letters[name]
        first, last = first or self.first, last or self.last
        return f"'{self.sheet.title}'!${letter}${first}:${letter}${last}"

    @property
    def ref(self) -> str:
        """All of it, header included."""
        return f"A{self.first - 1}:{get_column_letter(len(self.letters))}{self.last}"


def _dress(cell: Any, form: str, aligned: Alignment, known: dict[tuple[str, int], Any]) -> None:
    """Give a cell its format, alignment and line; a known style is copied, which is far faster."""
    key = form, id(aligned)
    if key in known:
        cell._style = copy(known[key])  # noqa: SLF001
        return
    cell.number_format, cell.alignment, cell.border = form, aligned, _THIN
    known[key] = copy(cell._style)  # noqa: SLF001


def write_table(
    sheet: Worksheet,
    table: pd.DataFrame,
    lang: str,
    *,
    row: int = FIRST_ROW,
    formats: Mapping[str, Iterable[str]] | None = None,
    widest: int = _WIDEST,
) -> Placed:
    """Write a table with headers, number formats, widths and colours.

    A name that begins with ``_`` is a gap; `formats` gives those that differ from row to row; text
    wider than `widest` is wrapped.
    """
    nothing = (DASH, label("workbook", "not_asked", lang))
    letters: dict[str, str] = {}
    dressed: dict[tuple[str, int], Any] = {}
    for column, name in enumerate(map(str, table.columns), start=1):
        letters[name] = get_column_letter(column)
        head = "" if name.startswith("_") else header_words(name, lang)
        cell = write_text(sheet.cell(row, column), head)
        cell.font, cell.fill, cell.border = _bold(), _HEADER_FILL, _THIN
        cell.alignment = _HEADED
        own = iter((formats or {}).get(name, ()))
        longest = _header_width(head)
        for line, value in enumerate(table[name].tolist(), start=row + 1):
            shown = _shown(value, name, lang)
            cell = sheet.cell(line, column)
            form, aligned = next(own, None) or number_format(name), _MIDDLE
            if not isinstance(shown, int | float):
                form = "General"
                wide = _width(shown) + 2 > widest
                aligned = _CENTRE if shown in nothing else _WRAPPED if wide else _MIDDLE
            _dress(cell, form, aligned, dressed)
            write_text(cell, shown)
            longest = max(longest, _width(shown) + 2)
        width = max(_NARROWEST, min(widest, longest))
        before = sheet.column_dimensions.get(letters[name])
        sheet.column_dimensions[letters[name]].width = max(width, before.width if before else 0)
    placed = Placed(sheet, letters, row + 1, row + len(table))
    if len(table):
        _colour(placed, lang)
    return placed


def _fitted(colour: str, towards: int, share: float) -> str:
    """Mix a colour with white (255) or black (0)."""
    parts = (int(colour[start : start + 2], 16) for start in (0, 2, 4))
    return "".join(f"{round(part + (towards - part) * share):02X}" for part in parts)


def _look(colour: str) -> dict[str, Any]:
    return {
        "fill": PatternFill("solid", bgColor=_fitted(colour, 255, 0.75)),
        "font": Font(color=_fitted(colour, 0, 0.55)),
    }


def _colour(placed: Placed, lang: str) -> None:
    """Colour the cells that state a verdict by their words; amber where little is missing."""
    rules = placed.sheet.conditional_formatting
    for name, letter in placed.letters.items():
        where = f"{letter}{placed.first}:{letter}{placed.last}"
        if name == "reachable_state" and "beyond_minutes" in placed.letters:
            beyond = f"${placed.cell('beyond_minutes', placed.first)}"
            near = f"AND(ISNUMBER({beyond}),{beyond}<={_NEAR_MINUTES})"
            rules.add(where, FormulaRule(formula=[near], stopIfTrue=True, **_look(_AMBER)))
        group = _TERM_COLUMNS.get(name, "")
        for key, colour in _COLOURS.get(group, {}).items():
            words = f'"{label(group, key, lang)}"'
            rules.add(where, CellIsRule(operator="equal", formula=[words], **_look(colour)))


def sum_of(cells: str, lang: str) -> str:
    """Add up cells of which each is a number or does not apply; else the sum is not known."""
    none = label("workbook", "not_asked", lang)
    return (
        f'=IF(COUNT({cells})+COUNTIF({cells},"{none}")<ROWS({cells}),"{DASH}",'
        f'IF(COUNT({cells})=0,"{none}",SUM({cells})))'
    )


def sum_where(cells: str, keys: str, key: str) -> str:
    """Add up the cells beside a key; where one of them is no number the sum is not known."""
    return (
        f"=IF(SUMPRODUCT(({keys}={key})*ISNUMBER({cells}))<COUNTIF({keys},{key}),"
        f'"{DASH}",SUMIF({keys},{key},{cells}))'
    )


def ratio(part: str, whole: Iterable[str]) -> str:
    """Divide, or pass on the words that stand where a number would."""
    return f'=IF(ISNUMBER({part}),IFERROR({part}/({"+".join(whole)}),"{DASH}"),{part})'


def write_total(placed: Placed, row: int, words: str, formulas: Mapping[str, str]) -> None:
    """Write a row of totals: formulas by the name of their column."""
    for letter in placed.letters.values():
        cell = placed.sheet[f"{letter}{row}"]
        cell.font, cell.fill, cell.border = _bold(), _TOTAL_FILL, _ABOVE
    for name, formula in formulas.items():
        cell = placed.sheet[placed.cell(name, row)]
        cell.value, cell.number_format = formula, number_format(name)
        cell.alignment = Alignment(horizontal="right", vertical="center")
    cell = write_text(placed.sheet[f"A{row}"], words)
    cell.alignment = Alignment(horizontal="left", vertical="center")


def write_totals(placed: Placed, row: int, names: Iterable[str], lang: str) -> None:
    """Write the sums of columns under a table."""
    sums = {name: sum_of(placed.cells(name), lang) for name in names}
    write_total(placed, row, label("workbook", "total", lang), sums)


def write_heading(sheet: Worksheet, row: int, key: str, lang: str, **words: str) -> int:
    """Name the table that follows, and give its first row."""
    text = label("workbook", key, lang).format(**words)
    write_text(sheet.cell(row, 1), text).font = _bold(size=12)
    return row + 1


def write_list(
    sheet: Worksheet, table: pd.DataFrame, lang: str, *, freeze: str = "C5", widest: int = _WIDEST
) -> Placed:
    """Write a sheet that is one table: frozen header and names, filter."""
    placed = write_table(sheet, table, lang, widest=widest)
    sheet.auto_filter.ref = placed.ref
    finish(sheet, f"1:{FIRST_ROW}", freeze=freeze)
    return placed


def save_book(book: Workbook, path: str) -> None:
    """Save a workbook without the time of saving: the same report gives the same bytes.

    Parameters
    ----------
    book : openpyxl.Workbook
        The workbook.
    path : str
        Where to write.
    """
    buffer = io.BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(path, "w") as kept:
        for entry in made.infolist():
            content = made.read(entry)
            if entry.filename == "docProps/core.xml":
                content = _SAVED_AT.sub(rb"\g<1>1980-01-01T00:00:00Z\g<2>", content)
            named = zipfile.ZipInfo(entry.filename, date_time=_NO_TIME)
            kept.writestr(named, content, compress_type=zipfile.ZIP_DEFLATED)
