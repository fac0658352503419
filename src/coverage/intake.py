"""What is noticed while files are read: the catalogue of rules, a log a table, and the report."""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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

__all__ = ["IntakeLog", "IntakeReport", "finding", "intake_report", "row_ranges", "with_findings"]

_LISTED = 1000  # rows of one rule that are listed one by one; the rest stand in one line as ranges
_SHOWN_RULES = 40  # lines of a report in a notebook
_VALUE_LENGTH = 80
_SEVERITIES = ("error", "warning", "note")
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
_PRIVATE = re.compile(r"(?<![0-9])(?:[1-9][0-9]{16}[0-9Xx]|1[3-9][0-9]{9})(?![0-9])")


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
    words = {name: _shown(word) for name, word in words.items()}

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
        _shown(value),
        code,
        rule["effect"],
        text("rule", "zh"),
        text("cure", "zh"),
    )


def _shown(value: Any) -> str:
    """Give a value as a line of text that may stand in a report."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = " ".join(str(value).split())
    text = _PRIVATE.sub(lambda found: found[0][:3] + "…", text)
    return text if len(text) <= _VALUE_LENGTH else text[: _VALUE_LENGTH - 1] + "…"


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
        self.findings: list[Finding] = []
        self._unknown = 0

    @classmethod
    def of(cls, frame: pd.DataFrame, file: str) -> IntakeLog:
        """Start a log for a frame whose rows are numbered from 1, with what its reader found."""
        log = cls(file, np.arange(1, len(frame) + 1))
        log.findings += intake_report(frame).findings
        return log

    def whole(self, code: str, *, field: str = "", value: Any = "", **words: Any) -> None:
        """Note something about the file as a whole."""
        words.setdefault("sheet", "")
        sheet = words.pop("sheet")
        self.findings.append(
            finding(code, file=self.file, sheet=sheet, field=field, value=value, **words)
        )

    def at(
        self,
        code: str,
        wrong: Any,
        *,
        field: str = "",
        values: Any = None,
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
        values : sequence, optional
            By row, the value to show.
        **words
            What stands in braces in the rule's texts: one word for all, or a sequence by row.

        Returns
        -------
        array of int
            The positions noted.
        """
        mask = np.asarray(wrong)
        if mask.dtype != np.intp:
            wrong = (
                pd.array(mask, dtype="boolean").fillna(value=False)
                if mask.dtype == object
                else mask
            )
            mask = np.flatnonzero(np.asarray(wrong, dtype=bool))
        if mask.size == 0:
            return mask
        effect = catalogue()[code]["effect"]
        if effect == "set_aside":
            self.set_aside[mask] = True
        self._unknown += mask.size if effect == "unknown" else 0
        by_row = {name: isinstance(word, Sequence | np.ndarray | pd.Series) and not isinstance(word, str)
                  for name, word in words.items()}  # fmt: skip
        listed = mask[:_LISTED]
        values = None if values is None else np.asarray(values, dtype=object)
        for position in listed.tolist():
            told = {
                name: np.asarray(word, dtype=object)[position] if by_row[name] else word
                for name, word in words.items()
            }
            self.findings.append(
                finding(
                    code,
                    file=self.file,
                    sheet=str(self.sheets[position]),
                    row=int(self.rows[position]),
                    field=field,
                    value="" if values is None else values[position],
                    **told,
                )
            )
        if mask.size > listed.size:
            rest = mask[_LISTED:]
            told = {name: "…" if by_row[name] else word for name, word in words.items()}
            told_rows = f"+{rest.size:,}: {row_ranges(self.rows[rest], most=8)}"
            self.findings.append(
                finding(code, file=self.file, field=field, value=told_rows, **told)
            )
        return mask

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
            Where `strict` and there are errors, or no row is left.

        Warns
        -----
        IntakeWarning
            Where rows were set aside or values left unknown.
        """
        errors = [each for each in self.findings if each.severity == "error"]
        aside = int(self.set_aside.sum())
        if errors and (strict or aside == len(table)):
            raise InputError(
                f"{self.file}: {len(errors)} faults; {aside} of {len(table)} rows cannot be used",
                errors,
            )
        if aside or self._unknown:
            warnings.warn(
                f"{self.file}: {aside} of {len(table)} rows were set aside and {self._unknown} "
                "values left unknown; intake_report(…) lists them",
                IntakeWarning,
                stacklevel=3,
            )
        kept = table[~self.set_aside].reset_index(drop=True) if aside else table
        counts = {"file": self.file, "read": len(table), "accepted": len(kept), "set_aside": aside}
        return with_findings(kept, self.findings, rows=[counts])


@dataclass(frozen=True)
class IntakeReport:
    """What was noticed and done while files were read; shows itself in a notebook.

    Parameters
    ----------
    findings : tuple of Finding
        Everything noticed, in the order of reading.
    rows : tuple of dict
        By file: `file`, `read`, `accepted`, `set_aside`; read = accepted + set_aside.
    """

    findings: tuple[Finding, ...]
    rows: tuple[Mapping[str, Any], ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding: severity, file, sheet, row, field, value, effect, rule, cure, code."""
        return self.in_language("en")

    def in_language(self, lang: str) -> pd.DataFrame:
        """Give the table with rules and cures in Chinese (``"zh"``) or English (``"en"``)."""
        frame = pd.DataFrame(
            [asdict(each) for each in self.findings], columns=[*Finding.__annotations__]
        )
        if lang == "zh":
            for name in ("rule", "cure"):
                frame[name] = frame[f"{name}_zh"].where(frame[f"{name}_zh"] != "", frame[name])
        return frame[_COLUMNS].astype({"row": "Int64"})

    def summary(self, lang: str = "zh") -> pd.DataFrame:
        """Give one row a rule: severity, file, sheet, field, count, rows, value, effect, rule, cure.

        Parameters
        ----------
        lang : {"zh", "en"}
            Language of rules and cures.

        Returns
        -------
        DataFrame
            Errors first. `rows` are ranges of row numbers, `value` and `cure` those of the first.
        """
        table = self.in_language(lang)
        keys = ["severity", "file", "sheet", "field", "code", "rule", "effect"]
        lines = []
        for key, part in table.groupby(keys, sort=False, dropna=False):
            more = part.loc[part["row"].isna(), "value"].str.extract(r"^\+([0-9,]+):")[0].dropna()
            further = int(more.str.replace(",", "").astype(int).sum()) if len(more) else 0
            rows = part["row"].dropna()
            lines.append(
                {
                    **dict(zip(keys, key, strict=True)),
                    "count": (len(rows) or len(part)) + further,
                    "rows": row_ranges(rows) + (", …" if further else ""),
                    "value": part["value"].iloc[0],
                    "cure": part["cure"].iloc[0],
                }
            )
        columns = [
            "severity",
            "file",
            "sheet",
            "field",
            "count",
            "rows",
            "value",
            "effect",
            "rule",
            "cure",
        ]
        shown = pd.DataFrame(lines, columns=[*columns, "code"])
        order = shown["severity"].map(_SEVERITIES.index)
        return shown.loc[order.sort_values(kind="stable").index, columns].reset_index(drop=True)

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
                self.rows, columns=["file", "read", "accepted", "set_aside"]
            ),
        }

        def write(name: str) -> None:
            with pd.ExcelWriter(name, engine="openpyxl") as book:
                for title, table in sheets.items():
                    worded = _worded(table, lang)
                    worded.to_excel(book, sheet_name=title, index=False)
                    _format(book.sheets[title], worded)

        return write_beside(Path(path), write)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        """Give one line a rule, in English."""
        lines = [
            f"{row.severity}: {', '.join(part for part in (row.file, row.sheet, row.field) if part)}"
            f"{f' ({row.count}×)' if row.count > 1 else ''}"
            f"{f', row {row.rows}' if row.rows else ''}: {row.rule} → {row.cure}"
            for row in self.summary("en").itertuples()
        ]
        return "\n".join(lines) or label("intake", "nothing", "en")

    def _repr_html_(self) -> str:
        counts = "；".join(
            f"{escape(str(each['file']))}：{each['read']:,} 行 rows，{each['accepted']:,} 采用 accepted"
            + (f"，{each['set_aside']:,} 未采用 set aside" if each["set_aside"] else "")
            for each in self.rows
        )
        head = f"<p>{counts}</p>" if counts else ""
        if not self.findings:
            return f"{head}<p>{label('intake', 'nothing')} / {label('intake', 'nothing', 'en')}</p>"
        table = _worded(self.summary("zh"), "zh")
        body = table.head(_SHOWN_RULES).to_html(index=False, na_rep="")
        rest = len(table) - _SHOWN_RULES
        more = f"<p>… +{rest}（.summary()）</p>" if rest > 0 else ""
        return f"{head}{body}{more}"


def _worded(table: pd.DataFrame, lang: str) -> pd.DataFrame:
    """Give a table of findings with headers and fixed words in a language."""
    worded = table.copy()
    for name in ("severity", "effect"):
        if name in worded:
            worded[name] = [label(name, word, lang) if word else "" for word in worded[name]]
    if "field" in worded:
        worded["field"] = [label("column", word, lang) if word else "" for word in worded["field"]]
    return worded.rename(
        columns=lambda name: label("column", "found_value" if name == "value" else name, lang)
    )


def _format(sheet: Any, table: pd.DataFrame) -> None:
    """Freeze the header, set widths, and keep text that begins with = as text."""
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions
    for column, name in zip(sheet.columns, table.columns, strict=True):
        longest = max(
            sum(2 if ord(c) > 0x2E80 else 1 for c in str(cell.value or "")) for cell in column
        )  # noqa: PLR2004 - CJK begins there
        sheet.column_dimensions[column[0].column_letter].width = min(
            60,
            longest + 2,
        )
        for cell in column:
            if isinstance(cell.value, str):
                cell.data_type = "s"
                cell.quotePrefix = cell.value.startswith(("=", "+", "-", "@"))
        del name


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
        {"findings": [asdict(each) for each in findings], "rows": list(rows)}, ensure_ascii=False
    )
    return table
