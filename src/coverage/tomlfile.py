"""Reading TOML files that people write by hand: faults name the file, the place and the cure."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import CoverageError, MissingInputError

__all__ = ["check_keys", "read_toml", "require"]


def read_toml(path: Path, *, error: type[CoverageError]) -> dict[str, Any]:
    """Read a TOML file, or say what is wrong with it and where.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    error : type
        Which error to raise where the file is not valid TOML in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingInputError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 text ({fault}); save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise error(f"{path}: not valid TOML: {fault}") from None


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
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise error(f"{where}: unknown key {key!r}; {hint}")


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
