"""Verdicts counted: rates on both bases, by township, and where the two bases disagree."""

from __future__ import annotations

from collections.abc import Iterable

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .standards import Plan, Standard, units_needed
from .verdicts import STATES

__all__ = ["disagreement_table", "rate_table", "township_codes", "township_table"]

Floats = NDArray[np.float64]

_NUMBERS = ("covered", "uncovered", "unknown", "total", "share", "target", "missing")
_WITHOUT = ("outside", "sharing")
_TOWNSHIP_DIGITS, _CODE_DIGITS = 9, 12


def rate_table(verdicts: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Count units, people and area by kind, setting and basis; counts decide before rounding.

    Parameters
    ----------
    verdicts : DataFrame
        As in `CoverageReport.verdicts`.
    plan : Plan
        Its targets.

    Returns
    -------
    DataFrame
        As in `CoverageReport.rates`.
    """
    rows: list[tuple[object, ...]] = []
    for (kind, setting), group in verdicts.groupby(["kind", "setting"], sort=False):
        standard = plan.standard(kind, setting)
        if standard is not None:
            rows.extend(_rates_of(standard, setting, group))
    columns = ["kind", "setting", "basis", "measure", *_NUMBERS]
    columns += [f"{what}_without_{left}" for left in _WITHOUT for what in ("covered", "share")]
    table = pd.DataFrame(rows, columns=columns)
    order = {kind: i for i, kind in enumerate(plan.kinds)}
    keys = [table["kind"].map(order), table["setting"], table["basis"]]
    return table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)


def _rates_of(
    standard: Standard, setting: str, group: pd.DataFrame
) -> Iterable[tuple[object, ...]]:
    def counts(state: str, weight: Floats | None = None) -> list[float]:
        values = group[state].to_numpy(dtype=object)
        ones = np.ones(len(group)) if weight is None else weight
        return [float(ones[values == name].sum()) for name in STATES]

    def total(column: str) -> float:
        return float(group[column].to_numpy(dtype=float).sum())

    people = group["people"].to_numpy(dtype=float)
    figures: list[tuple[str, str, list[float], float, float]] = []
    if standard.on_ledger:
        for measure, weight in (("units", None), ("people", people)):
            figures.append(
                (
                    "ledger",
                    measure,
                    counts("ledger_state", weight),
                    counts("ledger_state_inside", weight)[0],
                    counts("ledger_state_unshared", weight)[0],
                )
            )
    # Whoever gets there in time is served, by agreement or not: sharing says nothing here.
    figures += [
        (
            "reachable",
            "units",
            counts("reachable_state"),
            counts("reachable_state_inside")[0],
            np.nan,
        ),
        (
            "reachable",
            "people",
            [total(f"people_{name}") for name in STATES],
            total("people_covered_inside"),
            np.nan,
        ),
        (
            "reachable",
            "area",
            [total(f"area_{name}_m2") for name in STATES],
            total("area_covered_inside_m2"),
            np.nan,
        ),
    ]
    for basis, measure, states, inside, unshared in figures:
        whole = sum(states)
        # The plan promises units, not people: only they have a target.
        target = standard.target_share if measure == "units" else None
        missing = np.nan
        if target is not None:
            missing = max(0.0, units_needed(target, int(whole)) - states[0])
        shares = [covered / whole if whole else np.nan for covered in (states[0], inside, unshared)]
        yield (
            standard.kind,
            setting,
            basis,
            measure,
            *states,
            whole,
            shares[0],
            np.nan if target is None else target,
            missing,
            inside,
            shares[1],
            unshared,
            shares[2],
        )


def township_codes(units: gpd.GeoDataFrame) -> pd.Series:
    """Give each unit's township code: its own column, or the first nine digits of its code.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.

    Returns
    -------
    Series of str
        Index by index; the township's name where there is no code.
    """
    code = units["unit_code"].astype("string")
    coded = code.str.fullmatch(rf"\d{{{_CODE_DIGITS}}}").fillna(value=False)
    given = units["township_code"].astype("string") if "township_code" in units else None
    cut = code.str[:_TOWNSHIP_DIGITS].where(coded)
    found = cut if given is None else given.fillna(cut)
    return found.fillna(units["township"].astype("string")).fillna("").astype(object)


def township_table(verdicts: pd.DataFrame, units: gpd.GeoDataFrame) -> pd.DataFrame:
    """Count by township, in the order of their codes, with a total row for each kind.

    Parameters
    ----------
    verdicts : DataFrame
        As in `CoverageReport.verdicts`.
    units : GeoDataFrame
        As `read_units` gives them.

    Returns
    -------
    DataFrame
        As in `CoverageReport.townships`.
    """
    code = pd.Series(township_codes(units).to_numpy(), index=units["unit_code"].to_numpy())
    asked = verdicts[verdicts["reachable_state"] != "not_applicable"]
    table = pd.DataFrame(
        {
            "kind": asked["kind"],
            "township_code": asked["unit_code"].map(code),
            "township": asked["township"],
            "units": 1,
            **{
                f"{basis}_{name}": (asked[f"{basis}_state"] == name).astype(np.int64)
                for basis in ("ledger", "reachable")
                for name in STATES
            },
            "people": asked["people"],
            **{f"people_{name}": asked[f"people_{name}"] for name in STATES},
        }
    )
    numbers = [name for name in table.columns if name not in {"kind", "township_code", "township"}]

    def summed(by: list[str]) -> pd.DataFrame:
        # Of people not known to be counted there is no sum: unknown is not 0.
        grouped = table.groupby(by, sort=False)
        return grouped.agg(
            township=("township", "first"),
            **{name: (name, lambda values: values.sum(skipna=False)) for name in numbers},
        ).reset_index()

    each = summed(["kind", "township_code"])
    whole = summed(["kind"]).assign(township_code="", township="total")
    order = {kind: number for number, kind in enumerate(dict.fromkeys(verdicts["kind"]))}
    both = pd.concat([each, whole], ignore_index=True)
    both = both.assign(_kind=both["kind"].map(order), _last=both["township_code"] == "")
    both = both.sort_values(["_kind", "_last", "township_code"], kind="stable")
    judged = both["ledger_covered"] + both["ledger_uncovered"] + both["ledger_unknown"]
    both["ledger_share"] = both["ledger_covered"] / judged.where(judged > 0)
    both["reachable_share"] = both["reachable_covered"] / both["units"]
    both["people_share"] = both["people_covered"] / both["people"].where(both["people"] > 0)
    for state in STATES:  # where the ledger is not asked there is nothing to count
        both[f"ledger_{state}"] = both[f"ledger_{state}"].where(judged > 0)
    columns = ["kind", "township_code", "township", *numbers]
    columns[-4:-4] = ["ledger_share", "reachable_share"]
    return both[[*columns, "people_share"]].reset_index(drop=True)


def disagreement_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Give the units that are covered on one basis and not on the other.

    Parameters
    ----------
    verdicts : DataFrame
        As in `CoverageReport.verdicts`.

    Returns
    -------
    DataFrame
        As in `CoverageReport.disagreements`.
    """
    ledger, reachable = verdicts["ledger_state"], verdicts["reachable_state"]
    paper = ledger == "covered"
    driven = (reachable == "covered") & verdicts["on_foot_state"].isin(["uncovered", "unknown"])
    unrecorded = (reachable == "covered") & ~paper & (ledger != "not_applicable")
    disagreement = np.select(
        [paper & (reachable != "covered"), paper & driven, unrecorded],
        ["paper_only", "paper_not_on_foot", "reach_only"],
        default="",
    )
    table = verdicts[disagreement != ""].copy()
    table.insert(0, "disagreement", disagreement[disagreement != ""])
    columns = [
        "kind",
        "disagreement",
        "unit_code",
        "name",
        "township",
        "setting",
        "people",
        "ledger_state",
        "ledger_reason",
        "ledger_facility_id",
        "reachable_state",
        "reachable_reason",
        "people_share",
        "people_on_foot",
        "on_foot_state",
        "minutes",
        "limit_minutes",
        "mode",
        "facility_id",
    ]
    return table[columns].reset_index(drop=True)
