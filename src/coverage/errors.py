"""Every error this package raises on purpose.

Each is a `CoverageError` and also the builtin a caller would expect (`ValueError`,
`FileNotFoundError`), so that both ``except CoverageError`` and ordinary handlers work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "ConfigError",
    "CoverageError",
    "Finding",
    "InfeasibleError",
    "InputError",
    "IntakeWarning",
    "MissingDependencyError",
    "MissingInputError",
    "NetworkError",
    "NoCrsError",
    "OutputError",
    "PlanError",
]

_SHOWN = 20  # lines of an error; all findings are in it
_MANY = 5  # rows that break one rule are told of together


@dataclass(frozen=True)
class Finding:
    """One thing noticed while reading or checking an input.

    Parameters
    ----------
    severity : str
        ``"error"`` (the file is to be corrected), ``"warning"`` (used, but look at it) or
        ``"note"`` (what was done, for the record).
    rule : str
        The rule in a sentence.
    cure : str
        What was done, or what the planner can do.
    file, sheet, row, field, value
        Where it is. `row` is the row number a person sees in the file (1 is the first line of a
        spreadsheet, 1 the first feature of a layer); None where the finding concerns the whole.
    code : str
        The rule's name in the catalogue, e.g. ``"code.repeated"``.
    effect : str
        What it means for the table: ``"set_aside"`` (the row is not in it), ``"no_data"`` (it was
        no row of data), ``"unknown"`` (the value is missing in it), ``"changed"`` (used, but not as
        it stands in the file), ``"kept"``.
    rule_zh, cure_zh : str
        The same in Chinese; empty where there is none.
    """

    severity: str
    rule: str
    cure: str
    file: str = ""
    sheet: str = ""
    row: int | None = None
    field: str = ""
    value: str = ""
    code: str = ""
    effect: str = ""
    rule_zh: str = ""
    cure_zh: str = ""

    def __str__(self) -> str:
        """Give the finding as one line."""
        place = [self.file]
        if self.sheet:
            place.append(f"sheet {self.sheet}")
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.field:
            place.append(f"field {self.field}")
        if self.value:
            place.append(f"value {self.value!r}")
        return f"{', '.join(p for p in place if p)}: {self.rule} → {self.cure}"


class CoverageError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(CoverageError, ValueError):
    """An input cannot be used; all its faults are listed at once in `findings`."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        lines = list(_lines(self.findings))
        shown = [f"  - {line}" for line, _ in lines[:_SHOWN]]
        rest = sum(count for _, count in lines[_SHOWN:])
        if rest:
            shown.append(f"  - … and {rest} more (see .findings)")
        super().__init__("\n".join([message, *shown]))


def _lines(findings: Sequence[Finding]) -> Iterator[tuple[str, int]]:
    """Give findings as lines, many rows that break one rule as one, with how many each tells of."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        key = (each.file, each.sheet, each.field, each.rule, each.cure)
        alike.setdefault(key, []).append(each)
    for group in alike.values():
        if len(group) < _MANY:
            yield from ((str(each), 1) for each in group)
            continue
        rows = ", ".join(str(each.row) for each in group[:_MANY] if each.row is not None)
        told = replace(group[0], row=None, value="")
        words = f"rows {rows}, … ({len(group)} in all)" if rows else f"{len(group)} times"
        place, rule = str(told).split(": ", 1)
        yield f"{place}, {words}: {rule}", len(group)


class IntakeWarning(UserWarning):
    """Rows of a file were set aside, or values left unknown; `intake_report` lists them."""


class NoCrsError(InputError):
    """A layer does not say which coordinate reference system it is in."""


class InfeasibleError(CoverageError, ValueError):
    """No choice of sites does what is asked.

    Parameters
    ----------
    message : str
        How near one can come.
    reachable : float
        The most that can be served.
    unreached : sequence of int
        Rows that no candidate serves.
    """

    def __init__(
        self, message: str, *, reachable: float = float("nan"), unreached: Sequence[int] = ()
    ) -> None:
        self.reachable = reachable
        self.unreached = tuple(unreached)
        super().__init__(message)


class MissingInputError(CoverageError, FileNotFoundError):
    """A file, layer or sheet that was named is not there."""


class NetworkError(CoverageError, ValueError):
    """A road network cannot be compiled or searched."""


class PlanError(CoverageError, ValueError):
    """A plan or standards file says something that cannot be used."""


class ConfigError(CoverageError, ValueError):
    """A county file (TOML) says something that cannot be used."""


class MissingDependencyError(CoverageError, ImportError):
    """An optional package that this step needs is not installed."""


class OutputError(CoverageError, OSError):
    """Something could not be written."""
