"""Who is meant: the codes and names by which tables of a county speak of villages and communities.

What is certain is used, what is likely goes to a list for review, and nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from .errors import InputError
from .intake import IntakeLog, finding

__all__ = [
    "code_setting",
    "log_codes",
    "log_matches",
    "match_units",
    "numerals",
    "read_codes",
    "township_stem",
    "unit_stem",
]

# --- Codes -------------------------------------------------------------------------------------

_UNIT_DIGITS = 12  # of a village's or community's code
_TOWNSHIP_DIGITS = 9
_COUNTY_DIGITS = 6
_LAND_DIGITS = 19  # land surveys write the unit's twelve digits and seven zeros
_EXACT = 2**53  # floating-point numbers are whole below it

# Blanks, invisible characters, apostrophes and the ="…" of spreadsheets' text exports.
_NOISE = re.compile(
    "[\\s\u0000-\u001f\u007f-\u00a0\u00ad\u0301\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ufeff\ufffc'’‘`´\"“”=]+"
)
_EDGE = " \t\r\n\u00a0\u200b\u200c\u200d\u2060\u3000\ufeff"
_DECIMAL = re.compile(r"([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0*)?")
_SCIENTIFIC = re.compile(r"([0-9])(?:\.([0-9]*))?[Ee](\+?)0?([0-9]{1,2})")
_NOTHING = frozenset({"无", "暂无", "不详", "待定", "nan", "none", "null", "<na>", "n/a", "#n/a"})


@dataclass(frozen=True)
class _Written:
    """A code as it was written: trimmed, tidied, and what that took."""

    trimmed: str
    tidy: str
    change: str = ""
    problem: str = ""  # certain whatever the system of codes


def read_codes(values: pd.Series, *, reference: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the codes of units as text, and tell which of them are damaged.

    Parameters
    ----------
    values : Series
        Codes as a file gives them: text, numbers, or both. Missing and blank ones stay missing.
    reference : sequence of str, optional
        The codes there are. What stands in it is right as it is; and a code of eleven digits is
        completed where exactly one code of it arises by inserting a digit.

    Returns
    -------
    DataFrame
        Index as in `values`, three columns of text: `code`, missing where it is not certain;
        `change`, what was done: ``""``, ``"cleaned"`` (blanks, apostrophes, invisible or
        full-width characters), ``"decimal"`` (a decimal point, thousands separators or an
        exponent that keeps every digit), ``"land_code"`` (the seven zeros of a land survey's code
        cut off) or ``"digit"`` (a digit inserted); and `problem`: ``""``, ``"scientific"``,
        ``"digits_lost"``, ``"township_code"``, ``"short"``, ``"long"``, ``"not_a_unit"`` (a county
        or township: the last three digits are 000), ``"not_digits"`` (kept as it stands).

    Notes
    -----
    Where fewer than half of the codes are (or were, before a spreadsheet damaged them) twelve
    digits, the codes are of another system: they are kept as trimmed text and nothing is said of
    them, save that digits lost to scientific notation or beyond 2⁵³ are lost in any system. A whole
    number is its digits, without a change. Repeated codes are the caller's to find.

    Examples
    --------
    >>> read_codes(pd.Series([130824100203.0, "１３０８２４１００２０４", "1.30824E+11"]))
               code   change     problem
    0  130824100203
    1  130824100204  cleaned
    2          <NA>           scientific
    >>> read_codes(pd.Series(["7001", "FL-01"]))["code"].tolist()
    ['7001', 'FL-01']
    """
    present = np.flatnonzero(values.notna().to_numpy(dtype=bool))
    cells = _cells(values.iloc[present])
    codes = np.full(len(values), None, dtype=object)
    changes = np.full(len(values), "", dtype=object)
    problems = np.full(len(values), "", dtype=object)
    codes[present] = cells
    clean = _are_unit_codes(cells)
    if not clean.all():
        odd = present[~clean]
        which, distinct = pd.factorize(codes[odd])
        written = [_written(cell) for cell in distinct]
        known = frozenset(map(str, reference if reference is not None else ()))
        of_twelve = any(len(code) == _UNIT_DIGITS and code.isdigit() for code in known)
        counts = np.bincount(which, minlength=len(written))
        there = [each.trimmed != "" for each in written]
        twelve = [_is_of_twelve(each, known=of_twelve) for each in written]
        enough = 2 * (clean.sum() + counts[twelve].sum()) >= clean.sum() + counts[there].sum()
        if enough:
            missing = _completed((each.tidy for each in written), known)
            read = [_judge(each, known, missing) for each in written]
        else:
            read = [_kept(each) for each in written]
        table = np.array(read, dtype=object).reshape(-1, 3)[which]
        codes[odd], changes[odd], problems[odd] = table.T
    columns = {"code": codes, "change": changes, "problem": problems}
    return pd.DataFrame(
        {name: pd.array(column, dtype="string") for name, column in columns.items()},
        index=values.index,
    )


def _cells(values: pd.Series) -> NDArray[Any]:
    """Give present values as text where that loses nothing, and else as they are."""
    if pd.api.types.is_integer_dtype(values.dtype):
        numbers: list[Any] = values.tolist()
        cells = [str(number) if abs(number) < _EXACT else number for number in numbers]
    elif pd.api.types.is_float_dtype(values.dtype):
        numbers = values.tolist()
        cells = [
            str(int(number)) if abs(number) < _EXACT and number.is_integer() else number
            for number in numbers
        ]
    else:
        cells = values.tolist()
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def _are_unit_codes(cells: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which cells are text of twelve digits that do not end in 000."""
    which, distinct = pd.factorize(cells)
    plain = [
        isinstance(cell, str)
        and len(cell) == _UNIT_DIGITS
        and cell.isascii()
        and cell.isdigit()
        and not cell.endswith("000")
        for cell in distinct
    ]
    return np.array(plain, dtype=bool)[which]


def _written(cell: object) -> _Written:
    """Tidy one cell, before anything is known of the system of codes."""
    if isinstance(cell, int | float | np.number) and cell is not True and cell is not False:
        number = float(cell)
        if np.isfinite(number) and abs(number) >= _EXACT:
            return _Written(str(cell), "", problem="digits_lost")
        text = str(int(number)) if np.isfinite(number) and number.is_integer() else str(cell)
        return _Written(text, text)
    text = str(cell)
    trimmed = text.strip(_EDGE)
    tidy = _NOISE.sub("", unicodedata.normalize("NFKC", text))
    if not any(map(str.isalnum, tidy)):
        return _Written("", "")
    change = "cleaned" if tidy != text else ""
    scientific = _SCIENTIFIC.fullmatch(tidy)
    if scientific:
        first, after, sign, exponent = scientific.groups()
        decimals, places = (after or "").rstrip("0"), int(exponent)
        if len(after or "") >= places and len(decimals) <= places:
            return _Written(trimmed, first + (after or "")[:places], "decimal")
        damaged = sign or places == _UNIT_DIGITS - 1
        return _Written(trimmed, tidy, change, "scientific" if damaged else "")
    decimal = _DECIMAL.fullmatch(tidy)
    if decimal and decimal[0] != decimal[1].replace(",", ""):
        return _Written(trimmed, decimal[1].replace(",", ""), "decimal")
    if len(tidy) == _LAND_DIGITS and tidy.isdigit() and tidy.endswith("0000000"):
        return _Written(trimmed, tidy[:_UNIT_DIGITS], "land_code")
    return _Written(trimmed, tidy, change)


def _is_of_twelve(written: _Written, *, known: bool) -> bool:
    """Tell whether a code is of the system with twelve digits; with `known`, one near it counts."""
    if written.problem == "scientific":
        return True
    if not (written.tidy.isascii() and written.tidy.isdigit()):
        return known and written.problem == "digits_lost"
    return len(written.tidy) == _UNIT_DIGITS or (known and len(written.tidy) >= _TOWNSHIP_DIGITS)


def _completed(texts: Iterable[str], known: Iterable[str]) -> dict[str, set[str]]:
    """Give, by text of eleven digits, the known codes that arise by inserting a digit."""
    found: dict[str, set[str]] = {
        text: set() for text in texts if len(text) == _UNIT_DIGITS - 1 and text.isdigit()
    }
    if found:
        for code in known:
            if len(code) == _UNIT_DIGITS:
                for place in range(_UNIT_DIGITS):
                    without = code[:place] + code[place + 1 :]
                    if without in found:
                        found[without].add(code)
    return found


def _judge(
    written: _Written, known: frozenset[str], completed: Mapping[str, set[str]]
) -> tuple[str | None, str, str]:
    """Give code, change and problem of a code in the system with twelve digits."""
    text = written.tidy
    if written.trimmed in known:
        return written.trimmed, written.change if text == written.trimmed else "", ""
    if written.problem:
        return None, "", written.problem
    if text in known:
        return text, written.change, ""
    if not text or text.lower() in _NOTHING:
        return None, "", ""
    if not (text.isascii() and text.isdigit()):
        return written.trimmed, "", "not_digits"
    if len(text) == _UNIT_DIGITS and not text.endswith("000"):
        return text, written.change, ""
    if len(text) in (_UNIT_DIGITS, _COUNTY_DIGITS):
        return None, "", "not_a_unit"
    if len(text) == _TOWNSHIP_DIGITS:
        return None, "", "township_code"
    if len(text) > _UNIT_DIGITS:
        return None, "", "long"
    only = completed.get(text, set())
    return (next(iter(only)), "digit", "") if len(only) == 1 else (None, "", "short")


def _kept(written: _Written) -> tuple[str | None, str, str]:
    """Give code, change and problem of a code of another system."""
    if written.problem:
        return None, "", written.problem
    return written.trimmed or None, "", ""


def code_setting(codes: pd.Series) -> pd.DataFrame:
    """Tell from twelve-digit codes what kind of township and of committee they stand for.

    Parameters
    ----------
    codes : Series of str
        As `read_codes` gives them.

    Returns
    -------
    DataFrame
        Index as in `codes`: `township_class` (digits 7-9: 001-099 ``"subdistrict"`` 街道, 100-199
        ``"town"`` 镇, 200-399 ``"township"`` 乡) and `unit_class` (digits 10-12: 001-199
        ``"community"`` 居委会, 200-399 ``"village"`` 村委会); missing for any other code.

    Notes
    -----
    Verified on the list of Luanping county: all 14 residents' committees have 001-013, one of them
    in a town, and all 199 village committees 201-220; its townships are one 001, thirteen 100-112
    and six 200-210. The ends of the ranges are the statistical coding rules' and occur in none of
    them. The class of a code is not the status of a unit: keep both.

    Examples
    --------
    >>> code_setting(pd.Series(["130824001001", "130824210203", "7001"]))
      township_class unit_class
    0    subdistrict  community
    1       township    village
    2           <NA>       <NA>
    """
    text = codes.astype("string")
    plain = text.str.fullmatch("[0-9]{12}").fillna(value=False).to_numpy(dtype=bool)
    whole = text.where(plain, "0" * _UNIT_DIGITS)
    township = whole.str[_COUNTY_DIGITS:_TOWNSHIP_DIGITS].astype("int64").to_numpy()
    unit = whole.str[_TOWNSHIP_DIGITS:].astype("int64").to_numpy()
    classes = {
        "township_class": _class(
            township, {"subdistrict": (1, 99), "town": (100, 199), "township": (200, 399)}
        ),
        "unit_class": _class(unit, {"community": (1, 199), "village": (200, 399)}),
    }
    return pd.DataFrame(classes, index=codes.index)


def _class(numbers: NDArray[np.int64], ranges: Mapping[str, tuple[int, int]]) -> Any:
    names = np.full(numbers.size, None, dtype=object)
    for name, (first, last) in ranges.items():
        names[(numbers >= first) & (numbers <= last)] = name
    return pd.array(names, dtype="string")


def log_codes(result: pd.DataFrame, values: pd.Series, log: IntakeLog, field: str) -> None:
    """Write what `read_codes` found into a log.

    Parameters
    ----------
    result : DataFrame
        As `read_codes` returned it.
    values : Series
        The codes as they stand in the file; both have one row a row of the log.
    log : IntakeLog
        Where the findings go.
    field : str
        The column's name.

    Examples
    --------
    >>> log = IntakeLog("ledger.xlsx", np.array([2, 3]))
    >>> codes = pd.Series(["130824100203", "130824100"])
    >>> log_codes(read_codes(codes), codes, log, "unit_code")
    >>> [(found.row, found.code) for found in log.findings]
    [(3, 'code.township')]
    """
    problem, change = (result[name].to_numpy(dtype=object) for name in ("problem", "change"))
    for slug in sorted({*problem} - {""}):
        code = "code.township" if slug == "township_code" else f"code.{slug}"
        log.at(code, problem == slug, field=field, values=values)
    log.at("code.repaired", change != "", field=field, values=values, code=result["code"])


# --- Names -------------------------------------------------------------------------------------

_COMMITTEE = re.compile(
    r"(?:(?P<village>村民委员会|村委会|村民委|村委)|(?P<community>居民委员会|居委会|居委))$"
)
_UNIT_WORD = re.compile(r"(?:(?P<village>行政村|村+)|(?P<community>社区))$")
_PEOPLES = (
    "阿昌|白|保安|布朗|布依|朝鲜|达斡尔|傣|德昂|东乡|侗|独龙|俄罗斯|鄂伦春|鄂温克|高山|仡佬|哈尼|哈萨克|赫哲|回|基诺|京|"
    "景颇|柯尔克孜|拉祜|黎|傈僳|珞巴|满|毛南|门巴|蒙古|苗|仫佬|纳西|怒|普米|羌|撒拉|畲|水|塔吉克|塔塔尔|土家|土|佤|"
    "维吾尔|乌孜别克|锡伯|瑶|彝|裕固|藏|壮"
)
_TOWNSHIP_WORD = re.compile(
    rf"(?:街道办事处|街道办|街道|办事处|(?:(?:{_PEOPLES})族)*(?:各族|民族)?[乡镇])$"
)
_GOVERNMENT = re.compile(r"人民政府$")
_ABOVE = frozenset("省市县区旗盟州")  # ends of the names of what lies above a township

_ROMAN = {char: str(int(unicodedata.numeric(char))) for char in map(chr, range(0x2160, 0x2180))}
_DIGITS = {**{char: value for value, char in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2,
           "壹": 1, "贰": 2, "叁": 3, "肆": 4, "柒": 7, "捌": 8, "玖": 9}  # fmt: skip
_TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_SCORES = {"廿": 20, "卅": 30}
_LATIN = {"I": 1, "V": 5, "X": 10}
_NUMERAL = re.compile(
    rf"[0-9]+|[{''.join((*_DIGITS, *_TENS, *_SCORES))}]+"
    r"|(?<![A-Za-z])(?:X{0,3}(?:IX|IV|VI{0,3}|I{1,3}))(?![A-Za-z])"
)


def _plain(name: object) -> str:
    """Give a name without blanks and in plain characters."""
    text = "".join(_ROMAN.get(char, char) for char in str(name))
    return _NOISE.sub("", unicodedata.normalize("NFKC", text))


def _number(run: str) -> int | None:
    """Give the number a run of numerals stands for; None where it is none (张百湾)."""
    if run.isdigit() and run.isascii():
        return int(run)
    if run[0] in _LATIN:
        values = [_LATIN[char] for char in run]
        return sum(
            -value if value < max(values[place:]) else value for place, value in enumerate(values)
        )
    if not any(char in _DIGITS or char in _SCORES or char in "十拾" for char in run):
        return None
    total = digit = 0
    for char in run:
        if char in _DIGITS:
            digit = 10 * digit + _DIGITS[char]
        else:
            total += _SCORES.get(char) or (digit or 1) * _TENS[char]
            digit = 0
    return total + digit


def numerals(name: str) -> tuple[int, ...]:
    """Give the numbers in a name, however they are written.

    Parameters
    ----------
    name : str
        A name. 百 and 千 by themselves are no number (张百湾), nor are 伍 and 陆, often
        surnames.

    Returns
    -------
    tuple of int
        In the order of the name.

    Examples
    --------
    >>> numerals("一村"), numerals("1村"), numerals("Ⅰ村"), numerals("二村")
    ((1,), (1,), (1,), (2,))
    >>> numerals("十八盘"), numerals("梁西三道沟"), numerals("张百湾")
    ((18,), (3,), ())
    """
    found = (_number(run) for run in _NUMERAL.findall(_plain(name)))
    return tuple(number for number in found if number is not None)


def _cut(text: str, suffix: re.Pattern[str]) -> str:
    found = suffix.search(text)
    return text[: found.start()] if found and found.start() else text


def _unit_parts(name: str) -> tuple[str, str]:
    """Give the stem of a plain name, and ``"village"``, ``"community"`` or ``""``."""
    stem, kind = name, ""
    for suffix in (_COMMITTEE, _UNIT_WORD):
        found = suffix.search(stem)
        if found and found.start():
            stem, kind = stem[: found.start()], kind or str(found.lastgroup)
    return stem, kind


def unit_stem(name: str) -> str:
    """Give the name of a village or community without the words for what it is.

    Parameters
    ----------
    name : str
        As a table writes it.

    Returns
    -------
    str
        In plain characters, without blanks and without 村民委员会, 村委会, 居民委员会, 居委会,
        社区, 行政村 or 村 at its end; numerals stay, and something always stays.

    Examples
    --------
    >>> unit_stem("桥东社区居民委员会"), unit_stem(" 兴 洲 村"), unit_stem("一村村委会")
    ('桥东', '兴洲', '一')
    >>> unit_stem("村")
    '村'
    """
    return _unit_parts(_plain(name))[0]


def township_stem(name: str) -> str:
    """Give the name of a township without the words for what it is.

    Parameters
    ----------
    name : str
        As a table writes it.

    Returns
    -------
    str
        In plain characters, without 街道办事处, 街道, 镇, 乡, 满族乡 and the like, or 人民政府
        at its end; something always stays.

    Examples
    --------
    >>> township_stem("平坊满族乡"), township_stem("滦平镇人民政府"), township_stem("中兴路街道")
    ('平坊', '滦平', '中兴路')
    """
    return _cut(_cut(_plain(name), _GOVERNMENT), _TOWNSHIP_WORD)


def _key(stem: str) -> tuple[str, tuple[int, ...]]:
    """Give what two stems share that differ in the writing of numerals only."""
    return (
        _NUMERAL.sub(lambda run: run[0] if _number(run[0]) is None else "#", stem).casefold(),
        numerals(stem),
    )


# --- Matching ----------------------------------------------------------------------------------

_ELSEWHERE = 10.0  # taken off the score of a unit in another township than the table names
_OTHER_KIND = 5.0  # … and of a village where the table names a community, or the reverse
_SHOWN = 3  # candidates
_BLOCK = 2_000_000  # pairs scored at a time
# Names are compared with two characters behind them, as they stand in tables, so that one character
# miswritten in a name of two reaches 75 and two in a name of three do not.
_TAIL = "村委"

_Key = tuple[str, tuple[int, ...]]
_AliasKey = tuple[_Key, str]


@dataclass(frozen=True)
class _Answer:
    """What a name stands for: one unit, several, or none."""

    how: str
    units: tuple[int, ...] = ()


_NONE = _Answer("none")


@dataclass(frozen=True)
class _Register:
    """The units by every way in which a table may name them; units are positions."""

    codes: NDArray[Any]
    names: NDArray[Any]
    shown: tuple[str, ...]
    kinds: tuple[str, ...]
    keys: tuple[_Key, ...]
    townships: NDArray[np.intp]  # by unit; -1 where unknown
    by_name: Mapping[str, list[int]]
    by_key: Mapping[_Key, list[int]]
    township_by_name: Mapping[str, frozenset[int]]
    township_by_stem: Mapping[str, frozenset[int]]
    prefix: re.Pattern[str] | None  # a township's full name, with or without what lies above it

    def township(self, text: str) -> tuple[frozenset[int] | None, bool]:
        """Give the townships a text may stand for, and whether it is written as in the units."""
        if not text or not self.township_by_name:
            return None, True
        exact = self.township_by_name.get(text)
        if exact is not None:
            return exact, True
        found = self.township_by_stem.get(township_stem(text))
        if found is None and self.prefix is not None:
            above = self.prefix.match(_cut(text, _GOVERNMENT))
            if above and not above["rest"]:
                found = self.township_by_name[above["township"]]
        return found or frozenset(), False

    def named(self, text: str, towns: frozenset[int] | None, *, as_written: bool) -> _Answer:
        """Give the units of some townships that a plain name certainly stands for."""
        same = self._within(self.by_name.get(text, ()), towns)
        if same:
            how = "exact" if as_written else "stem"
            return _Answer(how if len(same) == 1 else "ambiguous", same)
        stem, kind = _unit_parts(text)
        found = self._of_kind(self._within(self.by_key.get(_key(stem), ()), towns), kind)
        if found:
            return _Answer("stem" if len(found) == 1 else "ambiguous", found)
        return _NONE

    def after_township(self, text: str, towns: frozenset[int] | None) -> _Answer:
        """Give the units a name stands for that begins with its township: 大屯镇兴洲村."""
        above = self.prefix.match(text) if self.prefix is not None else None
        if above is None or not above["rest"]:
            return _NONE
        named = self.township_by_name[above["township"]]
        if towns is not None and not named & towns:
            return _NONE
        return self.named(above["rest"], named, as_written=False)

    def _within(self, units: Iterable[int], towns: frozenset[int] | None) -> tuple[int, ...]:
        return tuple(unit for unit in units if towns is None or int(self.townships[unit]) in towns)

    def _of_kind(self, units: tuple[int, ...], kind: str) -> tuple[int, ...]:
        return tuple(unit for unit in units if not kind or self.kinds[unit] in ("", kind))


def match_units(
    table: pd.DataFrame,
    units: pd.DataFrame,
    *,
    aliases: Mapping[str, str] | None = None,
    review_score: float = 75,
) -> pd.DataFrame:
    """Tell which village or community every row of a table means, by its code or its name.

    Parameters
    ----------
    table : DataFrame
        With `unit_code`, or `unit_name` (in its absence `name`), or both, and if it has it
        `township`.
    units : DataFrame
        With `unit_code`, `name` and `township`; `unit_kind` is used where a name does not tell it.
    aliases : mapping of str to str, optional
        ``{name in the table: code or name of the unit}``, for names by which no unit, or several,
        would be found; not where the table names another township than the unit's.
    review_score : float
        From which likeness (0-100) on a unit is proposed for review.

    Returns
    -------
    DataFrame
        Index as in `table`:

        - `unit_code`: the unit's code; missing unless it is certain.
        - `how`: ``code``; ``exact`` (township and name as in `units`; or the name, where the
          table gives no township and one unit has it); ``stem`` (the same but for words like
          村民委员会, the writing of numerals or of the township); ``alias``; ``conflict`` (the code
          is one unit's, the name another's: the code stands); ``ambiguous`` (several units have
          the name); ``review`` (one or several are like it); ``none``.
        - `matched_name`: the name of the unit `unit_code` stands for, as in `units`.
        - `candidate_code`, `candidate_name`, `score`: the best proposal of a review, or the unit
          that the name of a conflict means, with its likeness.
        - `candidates`: up to three as text: township, name and code.

    Raises
    ------
    InputError
        Where a table lacks its columns, or an alias stands for no unit or for several.

    Notes
    -----
    A village and a community of one name are two units: 石门村 is never 石门社区. Units whose
    numerals differ (一村, 二村) are never proposed for each other. Likeness is the share of
    characters two stems have in common (normalised InDel distance [1]_), less 10 for a unit of
    another township than the table names and 5 for one of the other kind; it never decides.

    References
    ----------
    .. [1] https://rapidfuzz.github.io/RapidFuzz/Usage/fuzz.html

    Examples
    --------
    >>> units = pd.DataFrame({
    ...     "unit_code": ["130824001009", "130824209209", "130824108206"],
    ...     "name": ["石门社区居民委员会", "石门村民委员会", "兴洲村民委员会"],
    ...     "township": ["中兴路街道", "马营子满族乡", "大屯镇"],
    ... })
    >>> table = pd.DataFrame({"unit_name": ["石门村", "石门", "兴州村"]})
    >>> found = match_units(table, units)
    >>> found["how"].tolist(), found["unit_code"].iloc[0], int(found["unit_code"].isna().sum())
    (['stem', 'ambiguous', 'review'], '130824209209', 2)
    >>> found["candidates"].iloc[1]
    '中兴路街道石门社区（130824001009）；马营子满族乡石门村（130824209209）'
    >>> found["candidates"].iloc[2], float(found["score"].iloc[2])
    ('大屯镇兴洲村（130824108206）', 75.0)
    """
    _check_columns(table, units)
    register = _register(units)
    meant = _aliases(aliases or {}, register)
    names = _texts(table, "unit_name" if "unit_name" in table else "name")
    pair, pairs = _pairs(_texts(table, "township"), names)
    towns = [register.township(township) for township, _ in pairs]
    answers = [
        _resolve(name, within, as_written, register, meant)
        for (_, name), (within, as_written) in zip(pairs, towns, strict=True)
    ]
    open_pairs = [
        place for place, answer in enumerate(answers) if answer.how == "none" and pairs[place][1]
    ]
    reviews = _reviews(
        [pairs[place][1] for place in open_pairs],
        [towns[place][0] for place in open_pairs],
        register,
        review_score,
    )
    by_pair = [_row(answer, register) for answer in answers]
    for place, review in zip(open_pairs, reviews, strict=True):
        if review:
            by_pair[place] = _review_row(review, register)
    lines = _lines(by_pair)[pair]
    if "unit_code" in table:
        _apply_codes(
            lines, pair, pairs, answers, _code_positions(table["unit_code"], register), register
        )
    return _result(lines, table.index)


_RESULT = ("unit_code", "how", "matched_name", "candidate_code", "candidate_name", "score",
           "candidates")  # fmt: skip
_Row = tuple[str | None, str, str | None, str | None, str | None, float, str]


def _check_columns(table: pd.DataFrame, units: pd.DataFrame) -> None:
    for title, frame, wanted in (
        ("units", units, ({"unit_code"}, {"name"})),
        ("table", table, ({"unit_name", "name", "unit_code"},)),
    ):
        for names in wanted:
            if not names & {*frame.columns}:
                raise InputError(
                    f"match_units: {title} needs a column {' or '.join(sorted(names))}; "
                    f"it has {', '.join(map(str, frame.columns))}"
                )


def _texts(table: pd.DataFrame, column: str) -> NDArray[Any]:
    """Give a column as plain text, blank where it is missing or not there."""
    if column not in table:
        return np.full(len(table), "", dtype=object)
    which, distinct = pd.factorize(table[column])
    plain = (_plain(text) for text in distinct)
    texts = np.array(
        [*(text if any(map(str.isalnum, text)) else "" for text in plain), ""], dtype=object
    )
    return texts[which]  # missing is -1, the last


def _pairs(
    townships: NDArray[Any], names: NDArray[Any]
) -> tuple[NDArray[np.intp], list[tuple[str, str]]]:
    """Give the distinct pairs of township and name, and by row which of them it has."""
    township, all_townships = pd.factorize(townships)
    name, all_names = pd.factorize(names)
    pair, distinct = pd.factorize(township.astype(np.int64) * max(1, len(all_names)) + name)
    first, second = np.divmod(np.asarray(distinct, dtype=np.int64), max(1, len(all_names)))
    return pair, list(zip(all_townships[first], all_names[second], strict=True))


def _register(units: pd.DataFrame) -> _Register:
    codes = _text_codes(units["unit_code"]).to_numpy(dtype=object, na_value="")
    names = units["name"].astype("string").str.strip().to_numpy(dtype=object, na_value="")
    plain = _texts(units, "name")
    parts = [_unit_parts(name) for name in plain]
    told = (
        units["unit_kind"].astype("string").to_numpy(dtype=object, na_value="")
        if "unit_kind" in units
        else np.full(len(units), "", dtype=object)
    )
    kinds = tuple(kind or str(other) for (_, kind), other in zip(parts, told, strict=True))
    township_names = _texts(units, "township")
    townships, all_townships = pd.factorize(
        np.array([name or None for name in township_names], dtype=object)
    )
    by_name: dict[str, list[int]] = defaultdict(list)
    by_key: dict[_Key, list[int]] = defaultdict(list)
    keys = tuple(_key(stem) for stem, _ in parts)
    for unit in np.argsort(codes, kind="stable").tolist():
        if plain[unit] and codes[unit]:
            by_name[plain[unit]].append(unit)
            by_key[keys[unit]].append(unit)
    by_stem: dict[str, set[int]] = defaultdict(set)
    for place, township in enumerate(all_townships):
        by_stem[township_stem(township)].add(place)
    longest_first = sorted(all_townships, key=lambda name: (-len(name), name))
    whole = [name for name in longest_first if township_stem(name) != name]
    prefix = (
        re.compile(
            rf"(?:.*?[{''.join(sorted(_ABOVE))}])?(?P<township>{'|'.join(map(re.escape, whole))})"
            r"(?P<rest>.*)"
        )
        if whole
        else None
    )
    word = {"village": "村", "community": "社区"}
    shown = tuple(
        f"{township}{stem}{word.get(kind, '')}（{code}）"
        for township, (stem, kind), code in zip(township_names, parts, codes, strict=True)
    )
    return _Register(
        codes=codes,
        names=names,
        shown=shown,
        kinds=kinds,
        keys=keys,
        townships=townships,
        by_name=by_name,
        by_key=by_key,
        township_by_name={name: frozenset([place]) for place, name in enumerate(all_townships)},
        township_by_stem={stem: frozenset(places) for stem, places in by_stem.items()},
        prefix=prefix,
    )


def _text_codes(values: pd.Series) -> pd.Series:
    """Give codes as text, damaged ones as they stand."""
    read = read_codes(values)["code"]
    return read.fillna(values.astype("string").str.strip()) if read.isna().any() else read


def _aliases(aliases: Mapping[str, str], register: _Register) -> dict[str | _AliasKey, int]:
    """Give the unit an alias stands for, by its plain name, and by its stem and kind."""
    of_code = {code: unit for unit, code in enumerate(register.codes)}
    meant: dict[str | _AliasKey, int] = {}
    faults = []
    for name, target in aliases.items():
        text = _plain(target)
        unit = of_code.get(text)
        if unit is None:
            answer = register.named(text, None, as_written=True)
            if answer.how == "none":
                answer = register.after_township(text, None)
            unit = answer.units[0] if len(answer.units) == 1 else None
        if unit is None:
            faults.append(finding("alias.unknown_unit", field="aliases", value=name, target=target))
            continue
        meant[_plain(name)] = unit
        meant.setdefault(_alias_key(_plain(name)), unit)
    if faults:
        raise InputError(f"match_units: {len(faults)} aliases cannot be used", faults)
    return meant


def _alias_key(name: str) -> _AliasKey:
    stem, kind = _unit_parts(name)
    return _key(stem), kind


def _resolve(
    name: str,
    towns: frozenset[int] | None,
    as_written: bool,  # noqa: FBT001 - of the township
    register: _Register,
    meant: Mapping[str | _AliasKey, int],
) -> _Answer:
    """Give what a name stands for with certainty."""
    if not name:
        return _NONE
    answer = register.named(name, towns, as_written=as_written)
    if answer.how == "none":
        answer = register.after_township(name, towns)
    if answer.how in ("none", "ambiguous"):
        unit = meant.get(name, meant.get(_alias_key(name)))
        # An unknown township says nothing against an alias; a known one may.
        if unit is not None and (not towns or int(register.townships[unit]) in towns):
            return _Answer("alias", (unit,))
    return answer


def _reviews(
    names: Sequence[str],
    towns: Sequence[frozenset[int] | None],
    register: _Register,
    review_score: float,
) -> list[list[tuple[float, int]]]:
    """Give by name the units most like it with their scores, the best first."""
    found: list[list[tuple[float, int]]] = [[] for _ in names]
    parts = [_unit_parts(name) for name in names]
    keys = [_key(stem) for stem, _ in parts]
    asked: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, (_, numbers) in enumerate(keys):
        asked[numbers].append(place)
    offered: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for here in sorted(range(len(register.keys)), key=lambda unit: register.codes[unit]):
        if register.codes[here] and register.keys[here][0]:
            offered[register.keys[here][1]].append(here)
    of_township = np.arange(-1, int(register.townships.max(initial=-1)) + 1)
    for numbers, places in asked.items():
        choices = np.array(offered.get(numbers, ()), dtype=np.intp)
        if not choices.size:
            continue
        texts = [register.keys[unit][0] + _TAIL for unit in choices]
        kinds = np.array([register.kinds[unit] for unit in choices], dtype=object)
        step = max(1, _BLOCK // choices.size)
        for start in range(0, len(places), step):
            block = places[start : start + step]
            scores = process.cdist(
                [keys[place][0] + _TAIL for place in block],
                texts,
                scorer=fuzz.ratio,
                score_cutoff=review_score,
                dtype=np.float32,
            )
            rows, columns = np.nonzero(scores)
            likeness = scores[rows, columns].astype(float)
            inside = np.array(
                [np.ones(of_township.size, bool) if within is None
                 else np.isin(of_township, list(within))
                 for within in (towns[place] for place in block)]
            )  # fmt: skip
            likeness -= _ELSEWHERE * ~inside[rows, register.townships[choices[columns]] + 1]
            wanted = np.array([parts[place][1] for place in block], dtype=object)[rows]
            offered_kind = kinds[columns]
            likeness -= _OTHER_KIND * (
                (wanted != "") & (offered_kind != "") & (wanted != offered_kind)
            )
            enough = likeness >= review_score
            rows, columns, likeness = rows[enough], columns[enough], likeness[enough]
            # Choices stand in the order of their codes: so do equals.
            for entry in np.lexsort((columns, -likeness, rows)).tolist():
                best = found[block[rows[entry]]]
                if len(best) < _SHOWN:
                    best.append((float(likeness[entry]), int(choices[columns[entry]])))
    return found


def _listed(units: Iterable[int], register: _Register) -> str:
    return "；".join(register.shown[unit] for unit in [*units][:_SHOWN])


def _row(answer: _Answer, register: _Register) -> _Row:
    """Give the row of a result for what a name stands for."""
    if answer.how == "none":
        return None, "none", None, None, None, np.nan, ""
    if answer.how == "ambiguous":
        return None, "ambiguous", None, None, None, 100.0, _listed(answer.units, register)
    unit = answer.units[0]
    return register.codes[unit], answer.how, register.names[unit], None, None, np.nan, ""


def _review_row(review: Sequence[tuple[float, int]], register: _Register) -> _Row:
    score, unit = review[0]
    listed = _listed((each for _, each in review), register)
    return None, "review", None, register.codes[unit], register.names[unit], round(score, 1), listed


def _code_row(unit: int, others: Sequence[int], register: _Register) -> _Row:
    """Give the row for a unit's code where its name stands for `others`, if it does."""
    code, name = register.codes[unit], register.names[unit]
    if not others:
        return code, "code", name, None, None, np.nan, ""
    other = others[0] if len(others) == 1 else None
    return (
        code,
        "conflict",
        name,
        None if other is None else register.codes[other],
        None if other is None else register.names[other],
        100.0,
        _listed(others, register),
    )


def _lines(rows: Sequence[_Row]) -> NDArray[Any]:
    lines = np.empty((len(rows), len(_RESULT)), dtype=object)
    for place, row in enumerate(rows):
        lines[place] = row
    return lines


def _code_positions(values: pd.Series, register: _Register) -> NDArray[np.int64]:
    """Give by row the unit its code stands for; -1 where it stands for none."""
    of_code = pd.Series(np.arange(register.codes.size), index=register.codes)
    of_code = of_code[(of_code.index != "") & ~of_code.index.duplicated()]
    found = _text_codes(values).map(of_code)
    return found.astype("Float64").fillna(-1).to_numpy(dtype=np.int64)


def _apply_codes(
    lines: NDArray[Any],
    pair: NDArray[np.intp],
    pairs: Sequence[tuple[str, str]],
    answers: Sequence[_Answer],
    positions: NDArray[np.int64],
    register: _Register,
) -> None:
    """Let the code stand in every row that has one of a unit, and compare the name with it."""
    rows = np.flatnonzero(positions >= 0)
    count = max(1, register.codes.size)
    which, distinct = pd.factorize(pair[rows].astype(np.int64) * count + positions[rows])
    told = [
        _code_row(unit, _others(unit, pairs[place][1], answers[place], register), register)
        for place, unit in (divmod(int(each), count) for each in distinct)
    ]
    if told:
        lines[rows] = _lines(told)[which]


def _others(unit: int, name: str, answer: _Answer, register: _Register) -> tuple[int, ...]:
    """Give the units a name clearly stands for, unless the code's unit is one of them."""
    meant = answer.units
    if not meant and name:
        meant = register.named(name, None, as_written=True).units
    return () if unit in meant else meant


def _result(lines: NDArray[Any], index: pd.Index) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, column in zip(_RESULT, lines.T, strict=True):
        columns[name] = (
            column.astype(float) if name == "score" else pd.array(column, dtype="string")
        )
    return pd.DataFrame(columns, index=index)


def log_matches(matches: pd.DataFrame, table: pd.DataFrame, log: IntakeLog) -> None:
    """Write what `match_units` found into a log.

    Parameters
    ----------
    matches : DataFrame
        As `match_units` returned it.
    table : DataFrame
        What was matched; both have one row a row of the log. Rows that give neither a code nor a
        name are not spoken of.
    log : IntakeLog
        Where the findings go.

    Examples
    --------
    >>> units = pd.DataFrame({"unit_code": ["130824108206"], "name": ["兴洲村民委员会"]})
    >>> table = pd.DataFrame({"unit_name": ["兴州村"]})
    >>> log = IntakeLog("ledger.xlsx", np.array([2]))
    >>> log_matches(match_units(table, units), table, log)
    >>> print(log.findings[0])
    ledger.xlsx, row 2, field unit_name, value '兴州村': no unit has this name, but some are like it
    → not matched: is it one of 兴洲村（130824108206）?
    """
    how = matches["how"].to_numpy(dtype=object)
    if "unit_code" in table:
        codes = table["unit_code"]
        given = (codes.notna() & (codes.astype("string").str.strip() != "")).fillna(value=False)
        unknown = given.to_numpy(dtype=bool) & ~np.isin(how, ("code", "conflict"))
        log.at("code.unknown_unit", unknown, field="unit_code", values=codes)
    field = "unit_name" if "unit_name" in table else "name"
    if field not in table:
        return
    names = table[field]
    told = {"field": field, "values": names}
    log.at(
        "name.matched",
        np.isin(how, ("stem", "alias")),
        name=matches["matched_name"],
        code=matches["unit_code"],
        **told,
    )
    for slug in ("review", "ambiguous"):
        log.at(f"name.{slug}", how == slug, candidates=matches["candidates"], **told)
    named = names.notna().to_numpy(dtype=bool) & (_texts(table, field) != "")
    log.at("name.unmatched", (how == "none") & named, **told)
    log.at("name.conflict", how == "conflict", other=matches["candidates"], **told)
