"""What is noticed while files are read: the catalogue of rules, a log a table, and the report."""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import Finding, InputError, IntakeWarning
from .files import write_beside
from .terms import label

__all__ = [
    "PRIVATE",
    "SEVERITIES",
    "IntakeLog",
    "IntakeReport",
    "finding",
    "intake_report",
    "row_ranges",
    "shown",
    "with_findings",
]

_LISTED = 1000  # rows of one rule that are listed one by one; the rest stand in one line as ranges
_SHOWN_RULES = 40  # lines of a report in a notebook
_WIDEST = 60  # characters of a column
_VALUE_LENGTH, _TEXT_LENGTH = 80, 600
_REST = r"^\+([0-9,]+): [0-9]"
_CODES = frozenset(["unit_code", "township_code", "facility_id"])
SEVERITIES = ("error", "warning", "note")
_COLUMNS = [
    "severity",
    "file",
    "sheet",
    "row",
    "field",
    "value",
    "effect",
    "rule",
    "cure",
    "code",
]
# Numbers of identity cards and mobile telephones never stand in a report.
PRIVATE = re.compile(r"(?<![0-9])(?:[1-9][0-9]{16}[0-9Xx]|1[3-9][0-9]{9})(?![0-9])")


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Give every rule by its code: severity, effect, and rule and cure in both languages.

    Examples
    --------
    >>> catalogue()["code.repeated"]["severity"]
    'error'
    """
    rules: dict[str, dict[str, Any]] = {}
    for entry in sorted(files("facility_coverage.presets").iterdir(), key=lambda path: path.name):
        if entry.name.endswith("findings.toml"):
            rules.update(tomllib.loads(entry.read_text(encoding="utf-8")))
    return rules


def finding(
    code: str,
    /,
    *,
    file: str = "",
    sheet: str = "",
    row: int | None = None,
    field: str = "",
    value: Any = "",
    **words: Any,
) -> Finding:
    """Give one finding from the catalogue.

    Parameters
    ----------
    code : str
        The rule's name in the catalogue (``presets/*findings.toml``).
    file, sheet, row, field, value
        As for `Finding`. Numbers of identity cards and mobile telephones in `value` are masked.
    **words
        What stands in braces in the rule's texts.

    Examples
    --------
    >>> print(finding("code.repeated", file="units.gpkg", row=3, rows="7"))
    units.gpkg, row 3: a code stands for one unit → also in row 7: correct the code, or merge the parts
    """  # noqa: E501 - the finding is one line
    rule = catalogue()[code]
    words = {name: shown(word, most=_TEXT_LENGTH) for name, word in words.items()}

    def text(part: str, lang: str) -> str:
        return str(rule[part][lang]).format_map(words)

    return Finding(
        rule["severity"],
        text("rule", "en"),
        text("cure", "en"),
        file,
        sheet,
        row,
        field,
        # A code short of a digit looks like a telephone.
        shown(value, private=field not in _CODES),
        code,
        rule["effect"],
        text("rule", "zh"),
        text("cure", "zh"),
    )


def shown(value: Any, *, most: int = _VALUE_LENGTH, private: bool = True) -> str:
    """Give a value as a line of text that may stand in a report."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = " ".join(str(value).split())
    if private:
        text = PRIVATE.sub(lambda found: found[0][:3] + "…", text)
    return text if len(text) <= most else text[: most - 1] + "…"


def row_ranges(rows: Iterable[int], *, most: int = 12) -> str:
    """Give row numbers as ranges.

    Examples
    --------
    >>> row_ranges([5, 3, 4, 9]), row_ranges(range(1, 40, 2), most=3)
    ('3-5, 9', '1, 3, 5, …')
    """
    ordered = np.unique(np.fromiter(rows, dtype=np.int64))
    if ordered.size == 0:
        return ""
    starts = np.flatnonzero(np.r_[True, np.diff(ordered) != 1])
    ends = np.r_[starts[1:], ordered.size] - 1
    parts = [
        str(ordered[start]) if start == end else f"{ordered[start]}-{ordered[end]}"
        for start, end in zip(starts[:most], ends[:most], strict=True)
    ]
    return ", ".join([*parts, "…"] if starts.size > most else parts)


def _by_row(word: Any) -> bool:
    return callable(word) or (
        isinstance(word, Sequence | np.ndarray | pd.Series) and not isinstance(word, str)
    )


def _picked(values: Any, positions: NDArray[np.intp]) -> Sequence[Any]:
    """Give the values at positions; a function is asked for just these."""
    if callable(values):
        return list(values(positions))
    if isinstance(values, pd.Series):
        return values.iloc[positions].tolist()
    return np.asarray(values, dtype=object)[positions].tolist()


class IntakeLog:
    """Collects what is noticed about the rows of one file while a table is made of them.

    Parameters
    ----------
    file : str
        Name of the file, for messages.
    rows : array of int
        By row of the table, the row number a person sees in the file.
    sheets : array of str, optional
        By row, its sheet.

    Attributes
    ----------
    set_aside : array of bool
        By row, whether it may not be used.
    ignored : array of bool
        By row, whether it is no data at all (a note, a total): nothing further is said of it.
    findings : list of Finding
        What was noticed so far.
    """

    def __init__(
        self, file: str, rows: NDArray[np.int64], sheets: Sequence[str] | NDArray[Any] | None = None
    ) -> None:
        self.file = file
        self.rows = np.asarray(rows)
        self.sheets = np.full(self.rows.size, "", object) if sheets is None else np.asarray(sheets)
        self.set_aside = np.zeros(self.rows.size, dtype=bool)
        self.ignored = np.zeros(self.rows.size, dtype=bool)
        self.findings: list[Finding] = []
        self._unknown = 0
        self._said: set[tuple[str, str]] = set()

    @classmethod
    def of(cls, frame: pd.DataFrame, file: str) -> IntakeLog:
        """Start a log for a frame whose rows are numbered from 1, with what its reader found."""
        log = cls(file, np.arange(1, len(frame) + 1))
        log.findings += intake_report(frame).findings
        return log

    def first_said(self, code: str, words: Sequence[str]) -> list[str]:
        """Give those words that this rule has not been told of before, and keep them."""
        new = [word for word in words if (code, word) not in self._said]
        self._said.update((code, word) for word in new)
        return new

    def whole(
        self, code: str, /, *, sheet: str = "", field: str = "", value: Any = "", **words: Any
    ) -> None:
        """Note something about the file, or a sheet of it, as a whole."""
        self.findings.append(
            finding(code, file=self.file, sheet=sheet, field=field, value=value, **words)
        )

    def at(
        self,
        code: str,
        wrong: Any,
        /,
        *,
        field: str = "",
        values: Any = None,
        ignored: bool = False,
        **words: Any,
    ) -> NDArray[np.intp]:
        """Note something about every row where `wrong` holds.

        Parameters
        ----------
        code : str
            The rule's name in the catalogue; where its effect is ``set_aside`` the rows are.
        wrong : array-like of bool, or array of int
            By row, or the rows' positions.
        field : str
            The column.
        values : sequence or callable, optional
            By row, the value to show; or a function that gives those at the positions it is given.
        ignored : bool
            Whether these rows are none of the table, so that nothing further is said of them.
        **words
            What stands in braces in the rule's texts: one word for all, or as `values`.

        Returns
        -------
        array of int
            The positions noted.
        """
        mask = np.asarray(wrong)
        if mask.dtype == object:
            mask = np.asarray(pd.array(mask, dtype="boolean").fillna(value=False), dtype=bool)
        positions = np.flatnonzero(mask) if mask.dtype == bool else mask.astype(np.intp)
        positions = positions[~self.ignored[positions]]
        if positions.size == 0:
            return positions
        effect = catalogue()[code]["effect"]
        if ignored:
            self.ignored[positions] = True
        elif effect == "set_aside":
            self.set_aside[positions] = True
        self._unknown += positions.size if effect == "unknown" else 0
        listed, rest = positions[:_LISTED], positions[_LISTED:]
        told_values = [""] * listed.size if values is None else _picked(values, listed)
        told = {name: _picked(word, listed) for name, word in words.items() if _by_row(word)}
        for number, position in enumerate(listed.tolist()):
            self.findings.append(
                finding(
                    code,
                    file=self.file,
                    sheet=str(self.sheets[position]),
                    row=int(self.rows[position]),
                    field=field,
                    value=told_values[number],
                    **{name: told[name][number] if name in told else words[name] for name in words},
                )
            )
        if rest.size:
            ranges = f"+{rest.size:,}: {row_ranges(self.rows[rest], most=8)}"  # as _REST has it
            plain: dict[str, Any] = {
                name: "…" if name in told else word for name, word in words.items()
            }
            self.findings.append(finding(code, file=self.file, field=field, value=ranges, **plain))
        return positions

    def part(self, sheet: str, rows: slice) -> IntakeLog:
        """Give a log for some rows in a row, which tells this one.

        Parameters
        ----------
        sheet : str
            Their sheet, for what is said of it as a whole.
        rows : slice
            Their positions.
        """
        return _Part(self, sheet, rows)

    def finish(self, table: gpd.GeoDataFrame, *, strict: bool = False) -> gpd.GeoDataFrame:
        """Give the table without the rows set aside, with the report attached.

        Parameters
        ----------
        table : GeoDataFrame
            One row a row of the log.
        strict : bool
            Raise where anything of severity ``error`` was found.

        Raises
        ------
        InputError
            Where `strict` and there are errors, or no row can be used.

        Warns
        -----
        IntakeWarning
            Where rows were set aside or values left unknown.
        """
        errors = [each for each in self.findings if each.severity == "error"]
        no_data = int(self.ignored.sum())
        rows = len(table) - no_data
        aside = int((self.set_aside & ~self.ignored).sum())
        if rows == 0:
            raise InputError(f"{self.file}: there is no row of data in it", self.findings)
        if errors and (strict or aside == rows):
            raise InputError(
                f"{self.file}: {len(errors)} faults; {aside} of {rows} rows cannot be used", errors
            )
        if aside or self._unknown:
            warnings.warn(
                f"{self.file}: {aside} of {rows} rows were set aside and {self._unknown} values "
                "left unknown; intake_report(…) lists them",
                IntakeWarning,
                stacklevel=3,
            )
        used = ~(self.set_aside | self.ignored)
        kept = table if used.all() else table[used].reset_index(drop=True)
        counts = {
            "file": self.file,
            "read": len(table),
            "accepted": len(kept),
            "set_aside": aside,
            "no_data": no_data,
        }
        return with_findings(kept, self.findings, rows=[counts])


class _Part(IntakeLog):
    """The log of one sheet among several."""

    def __init__(self, log: IntakeLog, sheet: str, rows: slice) -> None:
        super().__init__(log.file, log.rows[rows], log.sheets[rows])
        self._log, self._sheet, self._start = log, sheet, rows.start
        self.set_aside, self.ignored = log.set_aside[rows], log.ignored[rows]  # views
        self.findings = log.findings

    def whole(
        self, code: str, /, *, sheet: str = "", field: str = "", value: Any = "", **words: Any
    ) -> None:
        self._log.whole(code, sheet=sheet or self._sheet, field=field, value=value, **words)

    def at(
        self,
        code: str,
        wrong: Any,
        /,
        *,
        field: str = "",
        values: Any = None,
        ignored: bool = False,
        **words: Any,
    ) -> NDArray[np.intp]:
        def moved(told: Any) -> Any:
            return (lambda rows: _picked(told, rows - self._start)) if _by_row(told) else told

        mask = np.asarray(wrong)
        local = mask if mask.dtype.kind == "i" else np.flatnonzero(mask)
        return self._log.at(
            code,
            local + self._start,
            field=field,
            values=moved(values),
            ignored=ignored,
            **{name: moved(word) for name, word in words.items()},
        )


@dataclass(frozen=True)
class IntakeReport:
    """What was noticed and done while files were read; shows itself in a notebook.

    Parameters
    ----------
    findings : tuple of Finding
        Everything noticed, in the order of reading.
    rows : tuple of dict
        By file: `file`, `read`, `accepted`, `set_aside`, and `no_data`, the notes and totals among
        them; read = accepted + set_aside + no_data. Of roads also the `crs` they were read in.
    """

    findings: tuple[Finding, ...]
    rows: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def joined(cls, reports: Iterable[IntakeReport]) -> IntakeReport:
        """Give several reports as one."""
        reports = tuple(reports)
        return cls(
            tuple(each for report in reports for each in report.findings),
            tuple(each for report in reports for each in report.rows),
        )

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is to be corrected in the files."""
        return tuple(each for each in self.findings if each.severity == "error")

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """By severity and the rule's name, how many rows (or files) it was noticed of."""
        table = self.table
        table["code"] = table["code"].where(table["code"] != "", table["rule"])
        found: dict[str, dict[str, int]] = {}
        for (severity, code), part in table.groupby(["severity", "code"]):
            found.setdefault(severity, {})[code] = _counted(part)
        return found

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding: severity, file, sheet, row, field, value, effect, rule, cure, code."""
        return self.in_language("en")

    def in_language(self, lang: str) -> pd.DataFrame:
        """Give the table with rules and cures in Chinese (``"zh"``) or English (``"en"``)."""
        names = [field.name for field in fields(Finding)]
        frame = pd.DataFrame([vars(each) for each in self.findings], columns=names)
        if lang == "zh":
            for name in ("rule", "cure"):
                frame[name] = frame[f"{name}_zh"].where(frame[f"{name}_zh"] != "", frame[name])
        return frame[_COLUMNS].astype({"row": "Int64"})

    def summary(self, lang: str = "zh") -> pd.DataFrame:
        """Give one row a rule: severity, file, field, count, where, value, effect, rule, cure.

        Parameters
        ----------
        lang : {"zh", "en"}
            Language of rules and cures.

        Returns
        -------
        DataFrame
            Errors first. `where` are the sheets and ranges of row numbers; `value`, `rule` and
            `cure` are those of the first row.
        """
        table = self.in_language(lang)
        # What is said of a whole file or sheet differs in its words, not in its rows.
        table["words"] = table["cure"].where(table["row"].isna() & ~_is_rest(table["value"]), "")
        table["key"] = table["code"].where(table["code"] != "", table["rule"])
        lines = []
        for _, part in table.groupby(["severity", "file", "field", "key", "words"], sort=False):
            first = part.iloc[0]
            lines.append(
                {
                    **{name: first[name] for name in ("severity", "file", "field")},
                    "count": _counted(part),
                    "where": _where(part),
                    **{name: first[name] for name in ("value", "effect", "rule", "cure")},
                }
            )
        columns = ["severity", "file", "field", "count", "where", "value", "effect", "rule", "cure"]
        rules = pd.DataFrame(lines, columns=columns)
        order = rules["severity"].map(SEVERITIES.index).sort_values(kind="stable").index
        return rules.loc[order].reset_index(drop=True)

    def save(self, path: str | Path, *, lang: str = "zh") -> Path:
        """Write the report as an Excel workbook: a line a rule, and a line a finding.

        Parameters
        ----------
        path : str or pathlib.Path
            Ending in ``.xlsx``.
        lang : {"zh", "en"}
            Language of headers, rules and cures.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        sheets = {
            label("intake", "by_rule", lang): self.summary(lang),
            label("intake", "by_row", lang): self.in_language(lang).drop(columns="code"),
            label("intake", "counts", lang): pd.DataFrame(
                self.rows, columns=["file", "read", "accepted", "set_aside", "no_data"]
            ),
        }

        def write(name: str) -> None:
            with pd.ExcelWriter(name, engine="openpyxl") as book:
                for title, table in sheets.items():
                    _worded(table, lang).to_excel(book, sheet_name=title, index=False)
                    _format(book.sheets[title])

        return write_beside(Path(path), write)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        """Give the report as text, in English."""
        return self.text("en")

    def text(self, lang: str = "zh") -> str:
        """Give two lines a rule: where it is broken, and rule and cure.

        Parameters
        ----------
        lang : {"zh", "en"}
            Language of the text.
        """
        lines = [
            f"{row['file']}: "
            + "  ".join(
                f"{label('column', name, lang)} {row[name]:,}"
                for name in ("read", "accepted", "set_aside", "no_data")
                if row[name] or name in {"read", "accepted"}
            )
            for row in self.rows
        ]
        for row in _worded(self.summary(lang), lang, headers=False).itertuples():
            count = f"×{row.count:,}" if row.count > 1 else ""
            value = f"“{row.value}”" if row.value else ""
            place = " · ".join(
                each for each in (row.file, row.where, row.field, value, count) if each
            )
            lines += [f"[{row.severity}] {place}", f"    {row.rule} → {row.cure}"]
        if not self.findings:
            lines.append(label("intake", "nothing", lang))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        counts = "；".join(
            f"{escape(str(row['file']))}：{row['read']:,} 行 rows，"
            f"{row['accepted']:,} 采用 accepted"
            + (f"，{row['set_aside']:,} 未采用 set aside" if row["set_aside"] else "")
            for row in self.rows
        )
        head = f"<p>{counts}</p>" if counts else ""
        if not self.findings:
            return f"{head}<p>{label('intake', 'nothing')} / {label('intake', 'nothing', 'en')}</p>"
        table = _worded(self.summary("zh"), "zh")
        body = table.head(_SHOWN_RULES).to_html(index=False, na_rep="")
        rest = len(table) - _SHOWN_RULES
        more = f"<p>… +{rest}（.summary()）</p>" if rest > 0 else ""
        return f"{head}{body}{more}"


def _is_rest(values: pd.Series) -> pd.Series:
    """Say which lines stand for the rows beyond those listed one by one."""
    return values.str.match(_REST)


def _counted(part: pd.DataFrame) -> int:
    """Count the rows, or files, some findings stand for."""
    rest = _is_rest(part["value"])
    further = part.loc[rest, "value"].str.extract(_REST)[0].str.replace(",", "")
    return int((~rest).sum()) + sum(map(int, further))


def _where(part: pd.DataFrame) -> str:
    """Give the sheets and rows of some findings."""
    places = []
    for sheet, own in part.groupby("sheet", sort=False):
        rows = row_ranges(own["row"].dropna())
        further = ", …" if _is_rest(own["value"]).any() else ""
        places.append(" ".join(each for each in (str(sheet), rows + further) if each))
    return "; ".join(each for each in places if each)


def _worded(table: pd.DataFrame, lang: str, *, headers: bool = True) -> pd.DataFrame:
    """Give a table of findings with fixed words, and headers, in a language."""
    worded = table.copy()
    for name, group in (("severity", "severity"), ("effect", "effect"), ("field", "column")):
        if name in worded:
            worded[name] = [label(group, word, lang) if word else "" for word in worded[name]]
    if not headers:
        return worded
    names = {"value": "found_value"}
    return worded.rename(columns=lambda name: label("column", names.get(name, name), lang))


def _format(sheet: Any) -> None:
    """Freeze the header, set widths, and keep text that begins with = as text."""
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions
    for column in sheet.columns:
        texts = [str(cell.value or "") for cell in column]
        longest = max(len(text) + sum(not c.isascii() for c in text) for text in texts)
        sheet.column_dimensions[column[0].column_letter].width = min(_WIDEST, longest + 2)
        for cell in column:
            if isinstance(cell.value, str):
                cell.data_type = "s"
                cell.quotePrefix = cell.value.startswith(("=", "+", "-", "@"))


def intake_report(*tables: Any) -> IntakeReport:
    """Give what was noticed about one or several things that were read.

    Parameters
    ----------
    *tables : DataFrame, GeoDataFrame or RoadNetwork
        As `read_units`, `read_demand`, `read_facilities` or `read_roads` returned them.

    Returns
    -------
    IntakeReport
        Their findings; empty where there were none.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> units = fc.read_units(fc.sample_county().units)
    >>> fc.intake_report(units).rows[0]["accepted"]
    213
    """
    found: list[Finding] = []
    rows: list[Mapping[str, Any]] = []
    for table in tables:
        if hasattr(table, "findings"):
            found += [Finding(**entry) for entry in table.findings]
            rows += table.rows
            continue
        kept = json.loads(table.attrs.get("intake", "{}"))
        found += [Finding(**entry) for entry in kept.get("findings", ())]
        rows += kept.get("rows", ())
    return IntakeReport(tuple(found), tuple(rows))


def with_findings(
    table: gpd.GeoDataFrame,
    findings: Iterable[Finding],
    *,
    rows: Sequence[Mapping[str, Any]] = (),
) -> gpd.GeoDataFrame:
    """Give the table with its findings kept as plain, storable metadata."""
    # One text: pandas copies a table's attributes, deeply, with every operation.
    table.attrs["intake"] = json.dumps(
        {"findings": [vars(each) for each in findings], "rows": list(rows)}, ensure_ascii=False
    )
    return table
