"""Numbers, years, opening hours and yes-or-no as county staff write them.

Every reader here works on a column at once: what is plainly a number costs nothing, and only the
other texts, each once, are looked at one by one. What cannot be read for certain is missing, with
the name of the problem; nothing is guessed.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .intake import IntakeLog

__all__ = ["is_blank", "read_flags", "read_numbers", "read_text", "read_words"]

_BLANK_WORDS = ("无", "暂无", "不详", "未知", "未填", "空")
_BLANK_MARKS = ("n/a", "na", "#n/a", "nan", "null", "none", "<na>")
_BLANK = frozenset([*_BLANK_WORDS, *_BLANK_MARKS, "", "-", "—", "——", "–", "/", "\\", "?"])
_LONGEST_BLANK = 12
_INVISIBLE = "[\u200b-\u200f\ufeff\x00-\x1f]"
_MU_M2 = 2000.0 / 3.0  # 1 亩 = 1/15 hectare (国务院 1959, 统一计量制度)
_UNITS: Mapping[str, Mapping[str, float]] = {
    "area": {
        "": 1.0,
        **dict.fromkeys(["平", "平米", "平方", "平方米", "sqm"], 1.0),
        "亩": _MU_M2,
        "公顷": 1e4,
        "ha": 1e4,
        **dict.fromkeys(["万平方米", "万平米", "万平"], 1e4),
    },
    "count": {
        "": 1.0,
        **dict.fromkeys(["人", "口", "户", "个", "名", "家", "间", "层", "处", "人次"], 1.0),
        **dict.fromkeys(["万", "万人", "万户"], 1e4),
    },
    "hours": {"": 1.0, **dict.fromkeys(["h", "小时", "个小时", "时", "hours", "hour"], 1.0)},
    "year": {"": 1.0, "年": 1.0, "年建": 1.0, "年建成": 1.0},
    "number": {"": 1.0},
}
_NUMBER = r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|[+-]?\.[0-9]+"
_QUANTITY = re.compile(
    rf"^(约|大约|近|共|计|合)?({_NUMBER})(余|多)?([^0-9]*?)(左右|上下|余|多|以上|\+)?$"
)
_RANGE = re.compile(rf"^({_NUMBER})[^0-9.]*[-~—–至到]({_NUMBER})[^0-9]*$")
_TIME = r"([01]?[0-9]|2[0-4])"
_CLOCK = re.compile(
    rf"{_TIME}(?:[:点时]([0-5][0-9])?分?)?[-~—–至到]+{_TIME}(?:[:点时]([0-5][0-9])?分?)"
)
_AROUND_CLOCK = re.compile(r"(?:每天|每日|周一至周五|周一至周日|[,，;；、和及()])*")
_DATE_TEXT = re.compile(
    r"^((?:19|20)[0-9]{2})[年./-][0-9]{1,2}(?:[月./-][0-9]{1,2}日?|月)?(?: .*)?$"
)
_EXCEL_EPOCH = dt.date(1899, 12, 30)
_SERIALS = (18264, 73051)  # Excel's numbers of 1950-01-01 and 2100-01-01
# What a value can be at all; beyond it the number is a slip.
_POSSIBLE = {"hours": (0.0, 24.0), "year": (1850.0, 2100.0)}
_LOST = ("unreadable", "negative", "range", "date_in_number", "impossible")
_NOTED = ("", *_LOST, "unit", "approximate", "date")
_YES = frozenset(["1", "1.0", "true", "yes", "y", "t", "是", "√", "✓", "有", "对"])
_NO = frozenset(["0", "0.0", "false", "no", "n", "f", "否", "×", "✗", "无", "没有", "不是"])


def _folded(value: Any) -> str:
    """Give a text in half-width characters, lower case and without spaces."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", str(value))).lower()


def read_text(values: pd.Series) -> pd.Series:
    """Read a column as text: trimmed, invisible characters gone, blanks missing.

    Whole floats lose their ``.0``, which spreadsheets add to numbers typed into a text column.

    Examples
    --------
    >>> read_text(pd.Series([" 甲村 ", "", None, 7.0], dtype=object)).tolist()
    ['甲村', <NA>, <NA>, '7']
    """
    if values.isna().all():
        return pd.Series(pd.NA, index=values.index, dtype="string")
    if pd.api.types.is_float_dtype(values) and not values.dropna().mod(1).any():
        values = values.astype("Int64")
    elif values.dtype == object and pd.api.types.infer_dtype(values) != "string":
        values = values.map(
            lambda v: int(v) if isinstance(v, float) and v.is_integer() and abs(v) < 2**53 else v
        )
    text = values.astype("string")
    if text.str.contains(_INVISIBLE, regex=True).any():
        text = text.str.replace(_INVISIBLE, "", regex=True)
    text = text.str.strip()
    return text.mask((text == "").fillna(value=False), pd.NA)


def is_blank(values: pd.Series) -> pd.Series:
    """Say by row whether a value says nothing: empty, a dash, 无, 不详, N/A.

    Examples
    --------
    >>> is_blank(pd.Series(["—", "0", None, "暂无"])).tolist()
    [True, False, True, True]
    """
    blank = values.isna()
    if pd.api.types.is_numeric_dtype(values):
        return blank
    # What says nothing is short, though spaces may make it longer.
    short = values.astype("string").str.len() <= _LONGEST_BLANK
    asked = (short.fillna(value=False) & ~blank).to_numpy(dtype=bool)
    blank = blank.to_numpy(dtype=bool).copy()
    blank[asked] = _by_text(values[asked], lambda text: _folded(text) in _BLANK).astype(bool)
    return pd.Series(blank, index=values.index)


def _by_text(values: pd.Series, told: Callable[[Any], Any]) -> pd.Series:
    """Map a column through its distinct values, each asked once."""
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    answers = np.empty(len(distinct) + 1, dtype=object)
    answers[:-1] = [told(value) for value in distinct]
    answers[-1] = told("")
    return pd.Series(answers[codes], index=values.index, dtype=object)


def read_numbers(
    values: pd.Series, *, dimension: str, field: str, log: IntakeLog, negative: bool = False
) -> pd.Series:
    """Read a column as numbers in the dimension's unit (m², people, hours a day, year).

    Parameters
    ----------
    values : Series
        As read: numbers, or texts such as ``约200平``, ``0.5亩``, ``１２０户``, ``8:00-17:00``.
    dimension : {"area", "count", "hours", "year", "number"}
        What is counted; settles which units may stand behind the number.
    field : str
        The canonical column, for the report.
    log : IntakeLog
        Told of every value that could not be read, or not as it stands.
    negative : bool
        Whether numbers below zero make sense.

    Returns
    -------
    Series of float
        Index as given; missing where blank or not certain.

    Examples
    --------
    >>> log = IntakeLog("ledger.xlsx", np.arange(2, 7))
    >>> column = pd.Series(["约200平", "0.5亩", "1,200", "200-300", "—"])
    >>> read_numbers(column, dimension="area", field="floor_area_m2", log=log).round(1).tolist()
    [200.0, 333.3, 1200.0, nan, nan]
    >>> [(found.row, found.code) for found in log.findings]
    [(5, 'number.range'), (3, 'number.unit'), (2, 'number.approximate')]
    """
    number, noted = _numbers(values, dimension)
    if dimension == "year":
        serial = np.flatnonzero((number >= _SERIALS[0]) & (number <= _SERIALS[1]))
        number[serial] = [_day(days).year for days in number[serial]]
        noted[serial] = _NOTED.index("date")
    with np.errstate(invalid="ignore"):
        if not negative:
            noted[number < 0] = _NOTED.index("negative")
        low, high = _POSSIBLE.get(dimension, (-np.inf, np.inf))
        beyond = ((number < low) | (number > high)) & (number != 0)
    noted[beyond & (noted != _NOTED.index("negative"))] = _NOTED.index("impossible")
    number[np.isin(noted, [_NOTED.index(each) for each in _LOST])] = np.nan

    def serials(rows: NDArray[np.intp]) -> list[Any]:
        return [_serial(value) for value in values.iloc[rows]]

    for slug in (*_LOST, "unit", "approximate", "date"):
        log.at(
            f"number.{slug}",
            noted == _NOTED.index(slug),
            field=field,
            values=lambda rows: values.iloc[rows],
            number=serials if slug == "date_in_number" else lambda rows: number[rows].round(1),
        )
    return pd.Series(number, index=values.index)


def _numbers(values: pd.Series, dimension: str) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Give numbers, and of each what is to be noted, as a position in `_NOTED`."""
    odd_types = bool | dt.date | dt.time | dt.timedelta
    if values.dtype == object and values.map(lambda value: isinstance(value, odd_types)).any():
        number = np.full(len(values), np.nan)
    else:
        numeric = pd.to_numeric(values, errors="coerce")
        number = numeric.to_numpy(dtype=float, na_value=np.nan).copy()
    number[~np.isfinite(number)] = np.nan
    noted = np.zeros(len(values), dtype=np.int8)
    rest = np.flatnonzero(np.isnan(number) & values.notna().to_numpy())
    if rest.size:
        told = _by_text(values.iloc[rest], lambda value: _quantity(value, dimension))
        number[rest] = [each for each, _ in told]
        noted[rest] = [_NOTED.index(what) for _, what in told]
    return number, noted


def _day(days: float) -> dt.date:
    return _EXCEL_EPOCH + dt.timedelta(days=int(days))


def _serial(value: Any) -> int | str:
    """Give the number behind a date, as Excel counts days."""
    if not isinstance(value, dt.date):
        return ""
    return ((value.date() if isinstance(value, dt.datetime) else value) - _EXCEL_EPOCH).days


def _quantity(value: Any, dimension: str) -> tuple[float, str]:
    """Give the number a value stands for, and what is to be noted of it."""
    if isinstance(value, bool | dt.time | dt.timedelta):
        return np.nan, "unreadable"
    if isinstance(value, int | float):
        return (float(value), "") if np.isfinite(value) else (np.nan, "unreadable")
    if isinstance(value, dt.date):
        return (float(value.year), "date") if dimension == "year" else (np.nan, "date_in_number")
    text = re.sub(r"m\^?2", "平米", _folded(value))
    if text in _BLANK:
        return np.nan, ""
    if dimension == "hours" and (hours := _opening(text)) is not None:
        return hours, "unit"
    if dimension == "year" and (date := _DATE_TEXT.match(text)):
        return float(date[1]), "date"
    found = _QUANTITY.match(text)
    if not found:
        return np.nan, "range" if _RANGE.match(text) else "unreadable"
    before, digits, more, unit, after = found.groups()
    factor = _UNITS[dimension].get(unit.strip("()"))
    number = float(digits.replace(",", ""))
    if factor is None or not np.isfinite(number):
        return np.nan, "unreadable"
    rough = bool(more or after) or before in {"约", "大约", "近"}
    return number * factor, "approximate" if rough else "unit" if factor != 1.0 else ""


def _opening(text: str) -> float | None:
    """Give hours a day from opening times, or None where they are none."""
    if text in {"全天", "24小时", "全天候", "全日", "24h"}:
        return 24.0
    spans = list(_CLOCK.finditer(text))
    rest = _CLOCK.sub("", text)
    if not spans or not re.fullmatch(
        r"(?:上午|下午|每天|每日|周一至周五|周一至周日|[,，;；、和及()])*", rest
    ):
        return None
    hours = 0.0
    for span in spans:
        start = int(span[1]) + int(span[2] or 0) / 60
        end = int(span[3]) + int(span[4] or 0) / 60
        if end <= start:
            return None
        hours += end - start
    return hours


def read_words(
    values: pd.Series, words: Mapping[str, str], *, field: str, log: IntakeLog
) -> pd.Series:
    """Read a column of fixed words; blank and unknown words are missing, the latter reported.

    Parameters
    ----------
    values : Series
        As read.
    words : mapping of str to str
        ``{word: what it stands for}``, compared in half-width lower case.
    field : str
        The canonical column.
    log : IntakeLog
        Told of words that are not among them.
    """
    by_word = {_folded(word): meant for word, meant in words.items()}
    blank = is_blank(values)
    meant = _by_text(values, lambda value: by_word.get(_folded(value))).where(~blank, None)
    log.at(
        "word.unknown",
        (meant.isna() & ~blank).to_numpy(),
        field=field,
        values=values,
        words="、".join(dict.fromkeys(words)),
    )
    return meant.astype("string")


def read_flags(values: pd.Series, *, field: str, log: IntakeLog) -> pd.Series:
    """Read a column of 是 and 否; missing where blank or neither, the latter reported.

    Examples
    --------
    >>> log = IntakeLog("units.gpkg", np.arange(1, 5))
    >>> read_flags(pd.Series(["是", "0", "", "大概"]), field="hollow_village", log=log).tolist()
    [True, False, <NA>, <NA>]
    >>> log.findings[0].value
    '大概'
    """

    def meant(value: Any) -> Any:
        text = _folded(value)
        return True if text in _YES else False if text in _NO else pd.NA

    if values.isna().all():
        return pd.Series(pd.NA, index=values.index, dtype="boolean")
    flags = _by_text(values, meant).where(values.notna(), pd.NA)
    wrong = flags.isna() & ~is_blank(values)
    log.at("flag.unknown", wrong.to_numpy(), field=field, values=values)
    return flags.astype("boolean")
