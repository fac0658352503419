"""Reading tables as offices keep them: Excel workbooks and separated text.

Above the header stand titles, below the rows notes and sums; cells are merged, sheets hidden. What
is no row of the table is told apart and reported, never dropped in silence.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from openpyxl.utils import column_index_from_string, get_column_letter

from .errors import InputError
from .intake import row_ranges
from .limits import (
    MOST_CELLS,
    MOST_TEXT,
    Meter,
    allowed,
    check_file,
    members,
    pieces,
    refuse_doctype,
)

__all__ = ["EXCEL", "TEXT", "Sheet", "read_sheets"]

EXCEL = frozenset([".xlsx", ".xlsm", ".xls", ".xlsb", ".ods", ".et"])
TEXT = frozenset([".csv", ".txt", ".tsv"])

_HEADER_ROWS = 30  # a header stands among the first rows, below titles and notes
_FEWEST_HEADERS = 2
_MOST_COLUMNS = 16_384  # as in Excel
_TAB = "\t"
_SNIFFED = 1 << 16  # characters
_SEPARATORS = (_TAB, ",", ";", "|", "，")
_LEADING = 4  # where words such as 合计 stand
_NOTE_CELLS = 2
# Addresses beyond column Z or row 9,999; hostile files have letters and digits without end.
_FAR_COLUMN = re.compile(rb"""=\s*["']([A-Za-z]{2,})[0-9]""")
_FAR_ROW = re.compile(rb"""=\s*["'][A-Za-z]*([0-9]{5,})["']""")
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
_NEAR_COLUMNS, _NEAR_ROWS = 26, 9_999
_MOST_LETTERS, _MOST_DIGITS = 3, 7  # of an address in Excel
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
    """The cells of a sheet, blanks missing.

    `head` are the first rows, `header` is the position of the headers among them, `body` what
    stands below, indexed by position; `merged` are first row, last row and column of each range.
    """

    name: str
    head: pd.DataFrame
    header: int | None
    body: pd.DataFrame
    merged: tuple[tuple[int, int, int], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    text: bool = False


def read_sheets(
    path: Path,
    *,
    meaning: Meaning,
    counted: Collection[str] = (),
    verbatim: Collection[str] = (),
) -> list[Sheet]:
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
    verbatim : collection of str
        Canonical columns whose texts are kept to the letter, such as codes that begin with 0; in
        text files the others are read as numbers where all of them are.

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
    raw = _workbook(path, meaning) if excel else [_text(path, meaning, verbatim)]
    return [_sheet(each, meaning, counted) for each in raw]


# -- workbooks -------------------------------------------------------------------------------------


def _workbook(path: Path, meaning: Meaning) -> list[_Cells]:
    import python_calamine as calamine  # noqa: PLC0415 - only workbooks need it

    _refuse_far_cells(path)
    sheets = []
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        for about in book.sheets_metadata:
            if about.typ == calamine.SheetTypeEnum.WorkSheet:
                hidden = about.visible != calamine.SheetVisibleEnum.Visible
                notes = (("sheet.hidden", about.name),) if hidden else ()
                sheets.append(_cells(book.get_sheet_by_name(about.name), path, meaning, notes))
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
    """Refuse a workbook that unpacks to too much, names entities, or spans too many cells.

    The reader lays a sheet out densely: a single stray cell at the far corner would end the
    process. So the addresses of the cells are looked at first.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            meter = Meter(path)
            for part in members(archive, path):
                with archive.open(part) as file:
                    _refuse_span(pieces(file, meter), f"{path}: {part.filename}")
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError) as fault:
        raise InputError(f"{path}: not an Excel workbook that can be read ({fault})") from None
    except (EOFError, ValueError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"{path}: not an Excel workbook that can be read ({fault})") from None


def _refuse_span(parts: Iterable[bytes], place: str) -> None:
    sheet = re.search(r"worksheets/[^/]+\.(xml|bin)$", place) is not None
    rows, columns, count = _NEAR_ROWS, _NEAR_COLUMNS, 0
    tail = b""
    for number, piece in enumerate(parts):
        if number == 0:
            refuse_doctype(io.BytesIO(piece), place)
        if not sheet:
            continue
        text = tail + piece
        tail = text[-64:]
        count += len(_CELL.findall(piece))  # cells without an address are counted on
        for letters in set(_FAR_COLUMN.findall(text)):
            far = len(letters) > _MOST_LETTERS
            columns = max(columns, MOST_CELLS if far else _column_number(letters))
        for digits in set(_FAR_ROW.findall(text)):
            rows = max(rows, MOST_CELLS if len(digits) > _MOST_DIGITS else int(digits))
    if max(rows * columns, count) > allowed(MOST_CELLS):
        raise InputError(
            f"{place} spans up to {rows:,} rows × {columns:,} columns; is there a stray cell far "
            "from the table? Delete the rows and columns beyond it"
        )


def _column_number(letters: bytes) -> int:
    return int(column_index_from_string(letters.decode().upper()))


def _cells(sheet: Any, path: Path, meaning: Meaning, notes: tuple[tuple[str, str], ...]) -> _Cells:
    if sheet.total_height * sheet.total_width > allowed(MOST_CELLS):
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
    head = cells[: _HEADER_ROWS + 1].copy()
    for first, last, column in merged:  # a header of two rows
        head[first : last + 1, column] = cells[first, column]
    header = _header_row(head, meaning)
    body = pd.DataFrame(cells, dtype=object).iloc[len(cells) if header is None else header + 1 :]
    return _Cells(sheet.name, pd.DataFrame(head, dtype=object), header, body, merged, notes)


# -- separated text --------------------------------------------------------------------------------


def _decoded(path: Path) -> tuple[bytes, str, str]:
    """Give a text file as UTF-8, as text, and the encoding it was in."""
    check_file(path, most=MOST_TEXT)
    data = path.read_bytes()
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8")):
        if not data.startswith(mark):
            continue
        plain = data.removeprefix(b"\xef\xbb\xbf")
        for each in (encoding, "gb18030"):
            try:
                text = plain.decode(each)
            except UnicodeDecodeError:
                continue
            if "\0" in text:
                break
            return plain if each == "utf-8" else text.encode("utf-8"), text, each
        break
    raise InputError(f"{path}: neither UTF-8 nor GB18030 text; save it as UTF-8")


def _text(path: Path, meaning: Meaning, verbatim: Collection[str]) -> _Cells:
    data, text, encoding = _decoded(path)
    if not text or text.isspace():
        raise InputError(f"{path}: the file is empty")
    start = text[:_SNIFFED]
    if max(start.partition("\n")[0].count(each) for each in _SEPARATORS) > _MOST_COLUMNS:
        raise InputError(f"{path}: has more than {_MOST_COLUMNS:,} columns; delete the empty ones")
    separator = _separator(start, meaning)
    notes = [("text.read", f"{encoding.upper()} {'tab' if separator == _TAB else separator}")]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        head, ends = _first_rows(start, separator, quoting)
        header = _header_row(head.to_numpy(dtype=object), meaning)
        body: pd.DataFrame | None = pd.DataFrame(columns=head.columns)
        if header is not None:
            names = [meaning(value) for value in head.iloc[header]]
            exact = [column for column, name in enumerate(names) if name in verbatim]
            below = data[len(start[: ends[header]].encode("utf-8")) :]
            body = _below(path, below, separator, quoting, width=head.shape[1], exact=exact)
        if body is not None:
            first = 0 if header is None else header + 1
            body.index = pd.RangeIndex(first, first + len(body))
            return _Cells("", head, header, body, notes=tuple(notes), text=True)
        notes.append(("text.quotes", ""))
    raise InputError(f"{path}: not a table of comma- or tab-separated values")


def _first_rows(start: str, separator: str, quoting: Any) -> tuple[pd.DataFrame, list[int]]:
    """Give the first rows, and how many characters there are up to the end of each."""
    rows: list[list[str | None]] = []
    ends: list[int] = []
    lines = list(io.StringIO(start, newline=""))
    lengths = np.cumsum([len(line) for line in lines])
    reader = csv.reader(lines, delimiter=separator, quoting=quoting)
    try:
        for row in reader:
            rows.append([cell or None for cell in row])
            ends.append(int(lengths[reader.line_num - 1]))
            if len(rows) > _HEADER_ROWS:
                break
    except csv.Error:
        pass  # a cell too long for a header; what stands above it was read
    width = max((len(row) for row in rows), default=1)
    return pd.DataFrame([row + [None] * (width - len(row)) for row in rows], dtype=object), ends


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


def _below(
    path: Path, data: bytes, separator: str, quoting: int, *, width: int, exact: Sequence[int]
) -> pd.DataFrame | None:
    """Give the rows below the headers, or None where the quotation marks do not pair."""
    if not data or data.isspace():
        return pd.DataFrame(columns=range(width))
    for columns in (width, None):
        if columns is None:  # a row wider than the first ones: count them all
            mark = separator.encode("utf-8")
            columns = 1 + max(line.count(mark) for line in data.splitlines())  # noqa: PLW2901
        rows = 1 + data.count(b"\n")
        if columns * rows > allowed(MOST_CELLS):
            raise InputError(
                f"{path}: spans {rows:,} rows × {columns:,} columns; delete the separators beyond "
                "the last column"
            )
        try:
            with warnings.catch_warnings():
                # Cells beyond the last column would be cut off with a mere warning.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    io.BytesIO(data),
                    sep=separator,
                    header=None,
                    names=range(columns),
                    dtype=dict.fromkeys(exact, "string"),
                    keep_default_na=False,
                    na_values=[""],
                    skip_blank_lines=False,
                    index_col=False,
                    quoting=quoting,
                    low_memory=False,
                )
        except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, OverflowError):
            continue
        quoted = quoting != csv.QUOTE_NONE and b'"' in data
        closed = not (quoted and _swallowed(frame, separator))
        return frame if closed else None
    return None


def _swallowed(frame: pd.DataFrame, separator: str) -> bool:
    """Say whether a quote that is never closed took whole rows into one cell."""
    for column in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[column]):
            continue
        lines = frame[column].dropna().astype("string")
        lines = lines[lines.str.contains("\n", regex=False)]
        if any(sum(separator in line for line in cell.splitlines()) > 1 for cell in lines):
            return True
    return False


# -- what is what on a sheet -----------------------------------------------------------------------


def _recognised(row: Sequence[Any], meaning: Meaning) -> int:
    """Give how many different columns are named in a row."""
    words = {meaning(value) for value in row if isinstance(value, str)}
    return len(words - {None})


def _header_row(cells: np.ndarray[Any, Any], meaning: Meaning) -> int | None:
    """Give the row with most recognised headers among the first, of equals the first."""
    scores = [_recognised(row, meaning) for row in cells[:_HEADER_ROWS]]
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
    head, header = raw.head, raw.header
    top = head.iloc[: _HEADER_ROWS if header is None else header]
    above = tuple(dict.fromkeys(v for v in top.to_numpy().ravel() if isinstance(v, str)))
    if header is None:
        nothing = np.empty(0, np.int64)
        return Sheet(raw.name, pd.DataFrame(), nothing, above, nothing.astype(object), raw.notes)
    head = head.reindex(columns=raw.body.columns)
    names = _headers(head, header)
    body = raw.body.set_axis(names, axis=1)
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
    texts = [_texts(body.iloc[:, column]) for column in range(min(_LEADING, body.shape[1]))]
    # Remarks and headings fill a cell or two; of these rows the first text tells.
    few = np.flatnonzero(count <= _NOTE_CELLS)
    first = pd.Series(pd.NA, index=few, dtype="string")
    for column in reversed(texts):
        own = column.iloc[few].set_axis(few)
        first = own.where(own.notna(), first)
    alone = count[few] == 1
    aside[few[alone & _matching(first, _HEADING)]] = "heading"
    aside[few[_matching(first, _NOTE)]] = "note"
    for column in texts:
        hinted = np.flatnonzero(column.str.contains("计", regex=False).fillna(value=False))
        aside[hinted[_matching(column.iloc[hinted], _SUM)]] = "sum"
    again = np.zeros(len(body), dtype=np.int64)
    for column in np.flatnonzero(headed):
        same = body.iloc[:, column] == header.iloc[column]
        again += same.to_numpy(dtype=bool, na_value=False)
    aside[again > headed.sum() // 2] = "header_again"
    if len(body):
        told = [str(value).strip("()（）").removesuffix(".0") for value in body.iloc[0].dropna()]
        if len(told) > _NOTE_CELLS and told == [str(n) for n in range(1, len(told) + 1)]:
            aside[0] = "numbering"
    # One text alone below the last full row of a wide table is a remark.
    if headed.sum() > _NOTE_CELLS:
        for row in range(len(body) - 1, -1, -1):
            if not aside[row]:
                if count[row] > 1:
                    break
                if first[row] is not pd.NA:
                    aside[row] = "note"
    if text:
        beyond = np.arange(body.shape[1]) > np.flatnonzero(headed).max()
        aside[(present & beyond).any(axis=1)] = "too_wide"
    return aside


def _texts(cells: pd.Series) -> pd.Series:
    """Give the texts of a column; numbers and dates among them are missing."""
    if pd.api.types.is_numeric_dtype(cells):
        return pd.Series(pd.NA, index=cells.index, dtype="string")
    if pd.api.types.infer_dtype(cells) not in {"string", "empty"}:
        cells = cells.where(cells.map(_is_text))
    return cells.astype("string")


def _matching(texts: pd.Series, pattern: str) -> Mask:
    return np.asarray(texts.str.match(pattern).fillna(value=False), dtype=bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
