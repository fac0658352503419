"""Reading tables as offices keep them: Excel workbooks and separated text.

Above the header stand titles, below the rows notes and sums; cells are merged, sheets hidden. What
is no row of the table is told apart and reported, never dropped in silence.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from openpyxl.utils import column_index_from_string, get_column_letter

from .errors import InputError
from .intake import row_ranges

__all__ = ["EXCEL", "TEXT", "Sheet", "read_sheets"]

EXCEL = frozenset([".xlsx", ".xlsm", ".xls", ".xlsb", ".ods", ".et"])
TEXT = frozenset([".csv", ".txt", ".tsv"])

_HEADER_ROWS = 30  # a header stands among the first rows, below titles and notes
_FEWEST_HEADERS = 2
_SPARE_COLUMNS = 6  # for cells beyond the last header, which must not be lost
_SNIFFED = 1 << 16  # characters
_SEPARATORS = ("\t", ",", ";", "|", "，")
# A stray cell at the far corner of a sheet would take a terabyte; no ledger is that large.
_MOST_CELLS = 30_000_000
_MOST_UNPACKED = 2_000_000_000
_LEADING_COLUMNS = 4  # where words such as 合计 stand
_NOTE_CELLS = 2
_CELL_COLUMN = re.compile(rb' r="([A-Z]{1,3})[0-9]')
_CELL_ROW = re.compile(rb'<row [^>]*?r="([0-9]{1,7})"')
_SUM = r"\s*(?:其中)?(?:合\s*计|总\s*计|小\s*计|共\s*计|累\s*计)(?:\s*$|[（(:：\d])"
_NOTE = (
    r"\s*[（(]?(?:注|备注|说明|填表|制表|审核|复核|单位负责人|填报|联系人|日期|数据来源|资料来源|"
    r"[Nn]otes?|[Ss]ources?)[^:：]{0,6}[:：.、]"
)
_HEADING = r"\s*[（(]?[一二三四五六七八九十]+[)）、.．]"

Meaning = Callable[[Any], str | None]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table of a workbook or text file.

    Parameters
    ----------
    name : str
        Of the sheet; empty for text files.
    table : DataFrame
        The rows, with the headers as they stand in the file as columns, index 0 … n-1.
    rows : array of int
        By row of `table`, the row number a person sees.
    above : tuple of str
        The texts above the header: titles, units, datum.
    aside : array of str
        By row of `table`: ``""`` for a row of the table, else what it is: ``"sum"``, ``"note"``,
        ``"heading"``, ``"header_again"``, ``"numbering"``, ``"too_wide"``.
    notes : tuple of (str, str)
        What was noticed about the sheet as a whole: a rule's code and the words for it.
    """

    name: str
    table: pd.DataFrame
    rows: np.ndarray[Any, np.dtype[np.int64]]
    above: tuple[str, ...]
    aside: np.ndarray[Any, Any]
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class _Cells:
    """Raw cells, blanks missing; of merged ranges the first row, last row and column."""

    name: str
    cells: pd.DataFrame
    merged: tuple[tuple[int, int, int], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    text: bool = False


def read_sheets(path: Path, *, meaning: Meaning, counted: Collection[str] = ()) -> list[Sheet]:
    """Read every sheet of a workbook, or a text file as one.

    Parameters
    ----------
    path : pathlib.Path
        ``.xlsx``, ``.xls`` and their kin, or separated text in UTF-8, UTF-16 or GB18030.
    meaning : callable
        Given a header, the canonical column it stands for or None; finds the row of headers.
    counted : collection of str
        Canonical columns that are added up: a number merged over several rows stands in the first
        only. Other merged cells are repeated in every row.

    Returns
    -------
    list of Sheet
        In the order of the workbook. A sheet without headers has a table without columns.

    Raises
    ------
    InputError
        Where the file is no workbook or text, is locked by a password, or is too large.
    """
    excel = path.suffix.lower() in EXCEL
    raw = _workbook(path) if excel else [_text(path, meaning)]
    return [_sheet(each, meaning, counted) for each in raw]


# -- workbooks -------------------------------------------------------------------------------------


def _workbook(path: Path) -> list[_Cells]:
    import python_calamine as calamine  # noqa: PLC0415 - only workbooks need it

    _refuse_far_cells(path)
    sheets = []
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        for about in book.sheets_metadata:
            if about.typ == calamine.SheetTypeEnum.WorkSheet:
                hidden = about.visible != calamine.SheetVisibleEnum.Visible
                notes = (("sheet.hidden", about.name),) if hidden else ()
                sheets.append(_cells(book.get_sheet_by_name(about.name), path, notes))
    except calamine.PasswordError:
        raise InputError(f"{path}: is locked by a password; save it without one") from None
    except InputError:
        raise
    except BaseException as fault:
        # The reader is compiled: what it did not foresee arrives as a PanicException.
        if isinstance(fault, Exception) or type(fault).__name__ == "PanicException":
            raise InputError(f"{path}: not an Excel workbook that can be read ({fault})") from None
        raise
    return sheets


def _refuse_far_cells(path: Path) -> None:
    """Refuse a workbook whose sheets unpack to too much, or span too many cells.

    The reader lays a sheet out densely: a single stray cell at the far corner would end the
    process. So the addresses of the cells are looked at first.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                if re.search(r"worksheets/[^/]+\.(xml|bin)$", part.filename):
                    with archive.open(part) as file:
                        _refuse_span(file, f"{path}: {part.filename}")
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as fault:
        raise InputError(f"{path}: not an Excel workbook that can be read ({fault})") from None
    except (EOFError, ValueError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"{path}: not an Excel workbook that can be read ({fault})") from None


def _refuse_span(file: IO[bytes], place: str) -> None:
    rows = columns = unpacked = 0
    tail = b""
    while piece := file.read(1 << 22):
        unpacked += len(piece)
        if unpacked > _MOST_UNPACKED:
            raise InputError(
                f"{place} unpacks to more than {_MOST_UNPACKED // 10**9} GB; a ledger is not "
                "that large"
            )
        text = tail + piece
        tail = text[-32:]
        for letters in set(_CELL_COLUMN.findall(text)):
            columns = max(columns, column_index_from_string(letters.decode()))
        numbers = _CELL_ROW.findall(text)
        rows = max(rows, max(map(int, numbers), default=0))
    if rows * columns > _MOST_CELLS:
        raise InputError(
            f"{place} spans {rows:,} rows × {columns:,} columns; is there a stray cell far from "
            "the table? Delete the rows and columns beyond it"
        )


def _cells(sheet: Any, path: Path, notes: tuple[tuple[str, str], ...]) -> _Cells:
    if sheet.total_height * sheet.total_width > _MOST_CELLS:
        raise InputError(
            f"{path}: sheet {sheet.name!r} spans {sheet.total_height:,} rows × "
            f"{sheet.total_width:,} columns; delete the empty ones beyond the table"
        )
    rows = sheet.to_python(skip_empty_area=False)
    width = max((len(row) for row in rows), default=0)
    cells = np.full((len(rows), width), None, dtype=object)
    for number, row in enumerate(rows):
        cells[number, : len(row)] = row
    cells[cells == ""] = None
    merged = tuple(
        (top, min(bottom, len(rows) - 1), left)
        for (top, left), (bottom, _) in sheet.merged_cell_ranges or ()
        if bottom > top and left < width and top < len(rows)
    )
    return _Cells(sheet.name, pd.DataFrame(cells, dtype=object), merged, notes)


# -- separated text --------------------------------------------------------------------------------


def _decode(path: Path) -> tuple[str, str]:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        candidates: tuple[str, ...] = ("utf-16",)
    else:
        candidates = ("utf-8-sig", "gb18030")
    for encoding in candidates:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, encoding
    raise InputError(f"{path}: neither UTF-8 nor GB18030 text; save it as UTF-8")


def _text(path: Path, meaning: Meaning) -> _Cells:
    text, encoding = _decode(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    separator = _separator(text[:_SNIFFED], meaning)
    shown = "tab" if separator == "\t" else separator
    notes = [("text.read", f"{encoding.removesuffix('-sig').upper()} {shown}")]
    cells, broken = _parse(text, separator, path)
    if broken:
        notes.append(("text.quotes", ""))
    return _Cells("", cells, notes=tuple(notes), text=True)


def _separator(start: str, meaning: Meaning) -> str:
    """Give the separator that finds most headers; of equals that with most cells."""

    def quality(separator: str) -> tuple[int, int]:
        lines = start.splitlines()[:_HEADER_ROWS]
        try:
            rows = list(csv.reader(lines, delimiter=separator))
        except csv.Error:
            return 0, 0
        return max((_recognised(row, meaning) for row in rows), default=0), sum(map(len, rows))

    return max(_SEPARATORS, key=quality)


def _parse(text: str, separator: str, path: Path) -> tuple[pd.DataFrame, bool]:
    """Give the cells of separated text, and whether its quotes had to be taken as they stand."""
    width = 1 + max((line.count(separator) for line in text[:_SNIFFED].splitlines()), default=0)
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        for names in (width + _SPARE_COLUMNS, None):
            if names is None:  # a row wider than any: count them all
                names = 1 + max(line.count(separator) for line in text.splitlines())  # noqa: PLW2901
            try:
                frame = pd.read_csv(
                    io.StringIO(text),
                    sep=separator,
                    header=None,
                    names=range(names),
                    dtype=str,
                    keep_default_na=False,
                    na_values=[""],
                    skip_blank_lines=False,
                    index_col=False,
                    quoting=quoting,
                    low_memory=False,
                )
            except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, ValueError):
                continue
            if quoting == csv.QUOTE_MINIMAL and _swallowed(frame, separator):
                break
            return frame, quoting == csv.QUOTE_NONE
    raise InputError(f"{path}: not a table of comma- or tab-separated values")


def _swallowed(frame: pd.DataFrame, separator: str) -> bool:
    """Say whether a quote that is never closed took whole rows into one cell."""
    for column in frame.columns:
        lines = frame[column].dropna()
        lines = lines[lines.str.contains("\n", regex=False)]
        if any(sum(separator in line for line in cell.splitlines()) > 1 for cell in lines):
            return True
    return False


# -- what is what on a sheet -----------------------------------------------------------------------


def _recognised(row: Sequence[Any], meaning: Meaning) -> int:
    """Give how many different columns are named in a row."""
    words = {meaning(value) for value in row if isinstance(value, str)}
    return len(words - {None})


def _header_row(cells: pd.DataFrame, meaning: Meaning) -> int | None:
    """Give the row with most recognised headers among the first, of equals the first."""
    scores = [
        _recognised(row, meaning)
        for row in cells.head(_HEADER_ROWS).itertuples(index=False, name=None)
    ]
    if not scores or max(scores) < _FEWEST_HEADERS:
        return None
    return scores.index(max(scores))


def _headers(cells: pd.DataFrame, row: int) -> list[str]:
    """Give the headers, each once; a column with cells but no header is called by its letter."""
    names: list[str] = []
    for column in range(cells.shape[1]):
        value = cells.iloc[row, column]
        name = "" if pd.isna(value) else " ".join(str(value).split())
        if not name:
            name = f"({get_column_letter(column + 1)})"
        while name in names:
            name += "_2"
        names.append(name)
    return names


def _sheet(raw: _Cells, meaning: Meaning, counted: Collection[str]) -> Sheet:
    """Find the table on a sheet."""
    head = raw.cells.head(_HEADER_ROWS + 1).copy()
    for first, last, column in raw.merged:  # a header of two rows
        head.iloc[first : last + 1, column] = raw.cells.iloc[first, column]
    header = _header_row(head, meaning)
    top = raw.cells.iloc[: _HEADER_ROWS if header is None else header]
    above = tuple(dict.fromkeys(v for v in top.to_numpy().ravel() if isinstance(v, str)))
    if header is None:
        nothing = np.empty(0, np.int64)
        return Sheet(raw.name, pd.DataFrame(), nothing, above, nothing.astype(object), raw.notes)
    names = _headers(head, header)
    body = raw.cells.iloc[header + 1 :].set_axis(names, axis=1)
    notes = [*raw.notes, *_fill_merged(body, raw.merged, names, meaning, counted)]
    present = body.notna().to_numpy()
    kept = present.any(axis=1)
    body, present = body[kept], present[kept]
    headed = head.iloc[header].notna().to_numpy()
    aside = _apart(body, present, head.iloc[header], headed, text=raw.text)
    used = headed | (present.any(axis=0) if not raw.text else False)
    return Sheet(
        raw.name,
        body.loc[:, used].reset_index(drop=True),
        body.index.to_numpy() + 1,
        above,
        aside,
        tuple(notes),
    )


def _fill_merged(
    body: pd.DataFrame,
    merged: Sequence[tuple[int, int, int]],
    names: Sequence[str],
    meaning: Meaning,
    counted: Collection[str],
) -> list[tuple[str, str]]:
    """Repeat a cell merged over several rows in each, in place, but for what is added up."""
    filled = 0
    notes = []
    for top, bottom, column in merged:
        rows = [row for row in range(top, bottom + 1) if row in body.index]
        value = body.loc[rows[0], names[column]] if rows else None
        if len(rows) < 2 or pd.isna(value):  # noqa: PLR2004 - several rows
            continue
        if meaning(names[column]) in counted:
            places = f"{names[column]} {row_ranges(row + 1 for row in rows)}"
            notes.append(("sheet.merged_number", places))
            continue
        body.loc[rows, names[column]] = value
        filled += len(rows) - 1
    return [*notes, ("sheet.merged", str(filled))] if filled else notes


def _apart(
    body: pd.DataFrame,
    present: Mask,
    header: pd.Series,
    headed: Mask,
    *,
    text: bool,
) -> np.ndarray[Any, Any]:
    """Say by row what is none of the table: sums, notes, headings, headers again, numbering."""
    aside = np.full(len(body), "", dtype=object)
    count = present.sum(axis=1)
    leading = [
        body.iloc[:, column].where(lambda cells: cells.map(_is_text)).astype("string")
        if body.iloc[:, column].dtype == object
        else body.iloc[:, column].astype("string")
        for column in range(min(_LEADING_COLUMNS, body.shape[1]))
    ]
    first = pd.Series(pd.NA, index=body.index, dtype="string")
    for cells in reversed(leading):
        first = cells.where(cells.notna(), first)

    def matches(cells: pd.Series, pattern: str) -> Mask:
        return np.asarray(cells.str.match(pattern).fillna(value=False), dtype=bool)

    aside[(count == 1) & matches(first, _HEADING)] = "heading"
    aside[(count <= _NOTE_CELLS) & matches(first, _NOTE)] = "note"
    sums = matches(first, _SUM)
    for cells in leading[1:]:
        sums = sums | matches(cells, _SUM)
    aside[sums] = "sum"
    again = np.zeros(len(body), dtype=np.int64)
    for column in np.flatnonzero(headed):
        again += np.asarray(body.iloc[:, column] == header.iloc[column], dtype=bool)
    aside[again > headed.sum() // 2] = "header_again"
    if len(body):
        told = [str(value).strip("()（）").removesuffix(".0") for value in body.iloc[0].dropna()]
        if len(told) > _NOTE_CELLS and told == [str(n) for n in range(1, len(told) + 1)]:
            aside[0] = "numbering"
    # One text alone below the last full row of a wide table is a remark.
    if headed.sum() > _NOTE_CELLS:
        for row in range(len(body) - 1, -1, -1):
            if not aside[row] and count[row] > 1:
                break
            if not aside[row] and first.iloc[row] is not pd.NA:
                aside[row] = "note"
    if text:
        beyond = np.arange(body.shape[1]) > np.flatnonzero(headed).max()
        aside[(present & beyond).any(axis=1)] = "too_wide"
    return aside


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
