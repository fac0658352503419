"""Reading TOML files that people write by hand: faults name the file, the line and the cure.

`check_keys` and `require` raise at the first fault. `table_faults` gathers all there are, by a rule
for each key; `faults_text` then says for each on which line it is.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import CoverageError, MissingInputError
from .limits import MOST_TOML, check_file

__all__ = [
    "Fault",
    "Place",
    "Rule",
    "a_count",
    "a_flag",
    "a_number",
    "a_share",
    "a_size",
    "a_table",
    "a_text",
    "check_keys",
    "faults_text",
    "key_lines",
    "line_of",
    "one_of",
    "parse_toml",
    "read_toml",
    "read_toml_text",
    "require",
    "some_names",
    "some_tables",
    "table_faults",
]

Place = tuple[str | int, ...]
"""Where something stands in a file: ``("standards", 3, "alternatives", 0, "minutes")``."""

Rule = Callable[[Any], str]
"""Given a value, says what it must be; nothing where it is right."""

_LONGEST_SHOWN = 60


class Fault(NamedTuple):
    """One thing wrong in a file: where it stands, and what to do about it."""

    place: Place
    words: str


# -- reading ---------------------------------------------------------------------------------------


def read_toml_text(path: Path, *, error: type[CoverageError]) -> str:
    """Read the text of a TOML file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    error : type
        Which error to raise where it is not UTF-8.
    """
    try:
        check_file(path, most=MOST_TOML)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingInputError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 text ({fault}); save it as UTF-8") from None


def parse_toml(text: str, path: Path, *, error: type[CoverageError]) -> dict[str, Any]:
    """Parse the text of a TOML file, or say on which line it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise error(f"{path}: not valid TOML: {fault}") from None
    except RecursionError:
        raise error(f"{path}: lists within lists without end; write them out flat") from None


def read_toml(path: Path, *, error: type[CoverageError]) -> dict[str, Any]:
    """Read a TOML file, or say what is wrong with it and where.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    error : type
        Which error to raise where the file is not valid TOML in UTF-8.
    """
    return parse_toml(read_toml_text(path, error=error), path, error=error)


# -- checking --------------------------------------------------------------------------------------


def check_keys(
    table: Mapping[str, Any], allowed: Iterable[str], *, where: str, error: type[CoverageError]
) -> None:
    """Refuse keys that nobody reads, naming the nearest right one.

    Examples
    --------
    >>> from facility_coverage.errors import ConfigError
    >>> check_keys({"faciltiies": "a.xlsx"}, ["units", "facilities"], where="[files]",
    ...            error=ConfigError)
    Traceback (most recent call last):
    ...
    facility_coverage.errors.ConfigError: [files]: unknown key 'faciltiies'; did you mean 'facilities'?
    """  # noqa: E501 - the message is one line
    known = sorted(allowed)
    for key in table:
        if key not in known:
            raise error(f"{where}: unknown key {key!r}; {_hint(key, known)}")


def require(
    table: Mapping[str, Any],
    key: str,
    kind: type | tuple[type, ...],
    *,
    where: str,
    error: type[CoverageError],
) -> Any:
    """Give ``table[key]``, or say that it is missing or of the wrong type."""
    if key not in table:
        raise error(f"{where}: {key!r} is missing")
    value = table[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(each.__name__ for each in kinds)
        raise error(f"{where}: {key!r} must be {names}, not {value!r}")
    return value


def table_faults(
    table: Any,
    rules: Mapping[str, Rule],
    *,
    required: Collection[str] = (),
    place: Place = (),
    where: str = "",
) -> list[Fault]:
    """List all that is wrong with a table: unknown keys, missing ones, and values against a rule.

    Parameters
    ----------
    table : mapping
        The table.
    rules : mapping of str to Rule
        The keys it may have, and what each must be.
    required : collection of str
        The keys it must have.
    place : tuple
        Where the table stands in the file.
    where : str
        The same in words, for messages.

    Examples
    --------
    >>> rules = {"kind": a_text, "unit_share": a_share}
    >>> for fault in table_faults({"unit_share": 80}, rules, required=["kind"], where="[area]"):
    ...     print(fault.words)
    [area]: kind is missing; it must be words in quotes, with no blank before or after them
    [area]: unit_share must be a share over 0 and at most 1 (80 % is 0.8), not 80
    """
    lead = f"{where}: " if where else ""
    if not isinstance(table, Mapping):
        return [Fault(place, f"{lead}must be a table of keys and values, not {_shown(table)}")]
    unknown = {key: _hint(key, rules) for key in table if key not in rules}
    # A key that is misspelt is not missing as well.
    meant = {key for hint in unknown.values() for key in required if f"{key!r}?" in hint}
    return [
        *(
            Fault((*place, key), f"{lead}unknown key {key!r}; {hint}")
            for key, hint in unknown.items()
        ),
        *(
            Fault(place, f"{lead}{key} is missing; it {rules[key](None)}")
            for key in required
            if key not in table and key not in meant
        ),
        *(
            Fault((*place, key), f"{lead}{key} {must}, not {_shown(value)}")
            for key, value in table.items()
            if key in rules and (must := rules[key](value))
        ),
    ]


def _hint(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"


def _shown(value: Any) -> str:
    """Write a value as it stands in the file, or nearly so."""
    words = str(value).lower() if isinstance(value, bool) else repr(value)
    return words if len(words) <= _LONGEST_SHOWN else f"{words[:_LONGEST_SHOWN]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(words: str, value: Any) -> str:
    return f"{words}, without quotes" if isinstance(value, str) else words


def a_text(value: Any) -> str:
    """Ask for words."""
    right = isinstance(value, str) and value != "" and value == value.strip()
    return "" if right else "must be words in quotes, with no blank before or after them"


def a_flag(value: Any) -> str:
    """Ask for true or false."""
    return "" if isinstance(value, bool) else _number("must be true or false", value)


def a_count(value: Any) -> str:
    """Ask for a whole number, 0 or more."""
    right = isinstance(value, int) and _is_number(value) and value >= 0
    return "" if right else _number("must be a whole number", value)


def a_size(value: Any) -> str:
    """Ask for a number over 0."""
    right = _is_number(value) and 0 < value < math.inf
    return "" if right else _number("must be a number over 0", value)


def a_number(value: Any) -> str:
    """Ask for a number, 0 or more."""
    right = _is_number(value) and 0 <= value < math.inf
    return "" if right else _number("must be a number from 0 up", value)


def a_share(value: Any) -> str:
    """Ask for a share."""
    right = _is_number(value) and 0 < value <= 1
    return "" if right else _number("must be a share over 0 and at most 1 (80 % is 0.8)", value)


def one_of(options: Iterable[str], *, cure: str = "") -> Rule:
    """Ask for one of some words.

    Examples
    --------
    >>> one_of(["rural", "urban"])("village")
    'must be one of rural, urban'
    """
    known = tuple(options)
    words = f"must be one of {', '.join(known)}{cure}"
    return lambda value: "" if isinstance(value, str) and value in known else words


def some_names(value: Any) -> str:
    """Ask for a list of names, each once."""
    right = isinstance(value, list) and value and not any(a_text(each) for each in value)
    if not right:
        return 'must be a list of names, e.g. ["pharmacy", "parcel"]'
    repeated = sorted({each for each in value if value.count(each) > 1})
    return f"must name {', '.join(repeated)} once" if repeated else ""


def a_table(value: Any) -> str:
    """Ask for a table."""
    return "" if isinstance(value, Mapping) else "must be a table of keys and values"


def some_tables(value: Any) -> str:
    """Ask for a list of tables, as ``[[name]]`` blocks make it."""
    right = isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
    return "" if right else "must be a list of tables, one block under [[…]] for each"


# -- lines -----------------------------------------------------------------------------------------


def faults_text(path: Path, text: str, faults: Sequence[Fault]) -> str:
    r"""Write faults one a line, in the order of the file.

    Parameters
    ----------
    path : pathlib.Path
        The file, for its name.
    text : str
        Its text: valid TOML.
    faults : sequence of Fault
        At least one.

    Examples
    --------
    >>> faults = [Fault(("b",), "b must be 3, not 2")]
    >>> print(faults_text(Path("plan.toml"), "a = 1\nb = 2", faults))
    plan.toml, line 2: b must be 3, not 2
    """
    lines = key_lines(text)
    placed = sorted((_line(lines, fault.place), number) for number, fault in enumerate(faults))
    told = [f"{path}, line {line}: {faults[number].words}" for line, number in placed]
    return told[0] if len(told) == 1 else "\n".join([f"{path}: {len(told)} faults", *told])


def line_of(text: str, place: Place, key: str | None = None) -> int:
    """Give the line, from 1, on which a table or a key of it stands.

    Parameters
    ----------
    text : str
        Valid TOML.
    place : tuple
        The table: ``("modes", "walk")``; ``("standards", 3)`` for the fourth ``[[standards]]``;
        ``("standards", 3, "alternatives", 0)`` for a table in a list.
    key : str, optional
        A key of it. Where the table has no such key, the line is the table's.

    Examples
    --------
    >>> toml = '''
    ... [[standards]]
    ... kind = "clinic"
    ... alternatives = [
    ...     { mode = "walk", minutes = 20 },
    ...     { mode = "ebike", minutes = 15 },
    ... ]
    ... '''
    >>> line_of(toml, ("standards", 0)), line_of(toml, ("standards", 0), "kind")
    (2, 3)
    >>> line_of(toml, ("standards", 0, "alternatives", 1), "minutes")
    6
    >>> line_of(toml, ("standards", 0), "setting")
    2
    """
    return _line(key_lines(text), place if key is None else (*place, key))


def _line(lines: Mapping[Place, int], place: Place) -> int:
    while place not in lines:
        place = place[:-1]
    return lines[place]


_TOKEN = re.compile(
    r"""
      \#[^\n]*                          # a comment
    | \"{3}(?:\\.|[^\\])*?\"{3,5}       # strings: over several lines, then on one
    | '{3}.*?'{3,5}
    | "(?:\\.|[^"\\\n])*"
    | '[^'\n]*'
    | [\n\[\]{},=.]
    | [^\s\[\]{},=.\#"']+               # a bare key, a number, a date, true or false
    """,
    re.DOTALL | re.VERBOSE,
)
_ENDS = frozenset(",]}\n")

_Tokens = deque[tuple[int, str]]


def key_lines(text: str) -> dict[Place, int]:
    """Give the line, from 1, of every table and key.

    The parser of the standard library tells no lines; what it has accepted is easily read again for
    them.

    Parameters
    ----------
    text : str
        Valid TOML.

    Returns
    -------
    dict
        From places to lines; ``()`` is the whole file.
    """
    tokens = _tokens(text)
    lines: dict[Place, int] = {(): 1}
    latest: dict[Place, int] = {}
    here: Place = ()
    while tokens:
        if tokens[0][1] == "\n":
            tokens.popleft()
        elif tokens[0][1] == "[":
            here = _read_header(tokens, lines, latest)
        else:
            _read_pair(tokens, here, lines)
    return lines


def _tokens(text: str) -> _Tokens:
    tokens: _Tokens = deque()
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", start, match.start())
        start = match.start()
        if not match[0].startswith("#"):
            tokens.append((line, match[0]))
    return tokens


def _read_header(tokens: _Tokens, lines: dict[Place, int], latest: dict[Place, int]) -> Place:
    """Read ``[a.b]`` or ``[[a.b]]``; `latest` counts the tables of each list."""
    line, _ = tokens.popleft()
    many = tokens[0][1] == "["
    if many:
        tokens.popleft()
    parts = _read_key(tokens, "]")
    if many:
        tokens.popleft()
    place: Place = ()
    for number, part in enumerate(parts, start=1):
        place = (*place, part)
        lines.setdefault(place, line)
        if many and number == len(parts):
            latest[place] = latest.get(place, -1) + 1
        if place in latest:
            place = (*place, latest[place])
            lines.setdefault(place, line)
    return place


def _read_pair(tokens: _Tokens, place: Place, lines: dict[Place, int]) -> None:
    line = tokens[0][0]
    for part in _read_key(tokens, "="):
        place = (*place, part)
        lines.setdefault(place, line)
    _read_value(tokens, place, lines)


def _read_key(tokens: _Tokens, end: str) -> list[str]:
    parts = []
    while (part := tokens.popleft()[1]) != end:
        if part[0] in "\"'":
            parts.append(str(tomllib.loads(f"key = {part}")["key"]))
        elif part != ".":
            parts.append(part)
    return parts


def _read_value(tokens: _Tokens, place: Place, lines: dict[Place, int]) -> None:
    opening = tokens[0][1]
    if opening not in {"[", "{"}:
        while tokens and tokens[0][1] not in _ENDS:
            tokens.popleft()
        return
    tokens.popleft()
    index = 0
    while (token := tokens[0])[1] not in {"]", "}"}:
        if token[1] in {",", "\n"}:
            index += token[1] == ","
            tokens.popleft()
        elif opening == "{":
            _read_pair(tokens, place, lines)
        else:
            lines[(*place, index)] = token[0]
            _read_value(tokens, (*place, index), lines)
    tokens.popleft()
