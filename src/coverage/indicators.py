"""A plan's indicators and promises, computed where the data are there, and said so where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd

from .standards import Indicator, units_needed
from .terms import label
from .verdicts import ROUNDING

__all__ = ["indicator_table"]


class _Tables(NamedTuple):
    rates: pd.DataFrame
    units: gpd.GeoDataFrame
    facilities: gpd.GeoDataFrame


class _Value(NamedTuple):
    """A value; of a share also its counts, which decide; or what is lacking, in both languages."""

    value: float | None = None
    covered: float | None = None
    unknown: float = 0.0
    total: float | None = None
    lacking: str = ""


def indicator_table(
    indicators: Iterable[Indicator],
    rates: pd.DataFrame,
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
) -> pd.DataFrame:
    """Compute indicators; what cannot be computed is missing and says which data it needs.

    Parameters
    ----------
    indicators : iterable of Indicator
        A plan's indicators or promises.
    rates : DataFrame
        As in `CoverageReport.rates`.
    units, facilities : GeoDataFrame
        As the readers give them.

    Returns
    -------
    DataFrame
        As in `CoverageReport.indicators`.
    """
    tables = _Tables(rates, units, facilities)
    rows = []
    for indicator in indicators:
        found = _FORMULAS[indicator.formula](indicator, tables)
        rows.append(
            {
                "number": indicator.number,
                "name_zh": indicator.name_zh,
                "name_en": indicator.name_en,
                "baseline": indicator.baseline,
                "target": indicator.target,
                "value": found.value,
                "unit": indicator.unit,
                "covered": found.covered,
                "total": found.total,
                "met": _met(indicator, found),
                "missing_data": found.lacking,
                "formula": indicator.formula,
                "source": indicator.source,
            }
        )
    table = pd.DataFrame(
        rows,
        columns=[
            "number",
            "name_zh",
            "name_en",
            "baseline",
            "target",
            "value",
            "unit",
            "covered",
            "total",
            "met",
            "missing_data",
            "formula",
            "source",
        ],
    )
    numbers = ["baseline", "target", "value", "covered", "total"]
    return table.astype({"met": "boolean", **dict.fromkeys(numbers, float)})


def _met(indicator: Indicator, found: _Value) -> bool | None:
    """Tell whether the target is met, from counts where there are any; None where one cannot."""
    if indicator.target is None or found.value is None:
        return None
    if found.covered is None or found.total is None:
        if indicator.strict:
            return found.value > indicator.target + ROUNDING
        return found.value >= indicator.target - ROUNDING
    needed = units_needed(indicator.target, int(found.total), strict=indicator.strict)
    if found.covered >= needed:
        return True
    return None if found.covered + found.unknown >= needed else False


def _share_of(basis: str, measure: str) -> Callable[[Indicator, _Tables], _Value]:
    """Give the formula that reads a rate."""

    def formula(indicator: Indicator, tables: _Tables) -> _Value:
        rates = tables.rates
        chosen = rates[
            (rates["kind"] == indicator.kind)
            & (rates["basis"] == basis)
            & (rates["measure"] == measure)
        ]
        if indicator.setting != "all":
            chosen = chosen[chosen["setting"] == indicator.setting]
        sums = chosen[["covered", "uncovered", "unknown"]].sum(skipna=False)
        total = float(sums.sum())
        if chosen.empty or np.isnan(total) or total == 0:
            kind, setting = label("kind", indicator.kind), label("setting", indicator.setting)
            return _Value(lacking=f"{setting}{kind}的判定 / verdicts on {indicator.kind}")
        covered = float(sums["covered"])
        if measure == "people":
            return _Value(covered / total)
        return _Value(covered / total, covered, float(sums["unknown"]), total)

    return formula


def _units_of(indicator: Indicator, tables: _Tables) -> gpd.GeoDataFrame:
    units = tables.units
    if indicator.setting == "resettlement":
        return units[units["resettlement"] | units["hollow_village"]]
    return units if indicator.setting == "all" else units[units["setting"] == indicator.setting]


def _column(units: gpd.GeoDataFrame, column: str) -> pd.Series:
    """Give a column of numbers, all missing where the table has none."""
    if column not in units:
        return pd.Series(np.nan, index=units.index)
    return units[column].astype("Float64").astype(float)


def _lacking(units: gpd.GeoDataFrame, *columns: str) -> str:
    """Say which columns are not known, and of how many units where of some only."""
    told = []
    for column in columns:
        missing = int(_column(units, column).isna().sum())
        zh, en = (label("column", column, lang) for lang in ("zh", "en"))
        if missing == len(units):
            told.append(f"{zh} / {en}")
        elif missing:
            told.append(f"{missing} 个单元的{zh} / {en} of {missing} units")
    return "；".join(told)


def _flag_share(indicator: Indicator, tables: _Tables) -> _Value:
    units = _units_of(indicator, tables)
    flags = _column(units, indicator.column)
    if flags.isna().all():
        return _Value(lacking=_lacking(units, indicator.column))
    covered, total = float((flags > 0).sum()), float(len(units))
    return _Value(
        covered / total,
        covered,
        float(flags.isna().sum()),
        total,
        _lacking(units, indicator.column),
    )


def _number_per_10000(indicator: Indicator, tables: _Tables) -> _Value:
    units = _units_of(indicator, tables)
    lacking = _lacking(units, indicator.column, "residents")
    people = float(_column(units, "residents").sum())
    if lacking or people == 0:
        return _Value(lacking=lacking)
    return _Value(float(_column(units, indicator.column).sum()) / people * 10_000)


def _new_community_area_share(indicator: Indicator, tables: _Tables) -> _Value:
    units = _units_of(indicator, tables)
    service = _column(units, "new_service_area_m2")
    building = _column(units, "new_building_area_m2")
    new = units[(service.notna() | building.notna()).to_numpy()]
    if new.empty:
        return _Value(lacking=_lacking(units, "new_service_area_m2", "new_building_area_m2"))
    lacking = _lacking(new, "new_service_area_m2", "new_building_area_m2")
    total = float(building.sum())
    if lacking or total == 0:
        return _Value(lacking=lacking)
    return _Value(float(service.sum()) / total)


def _kept(indicator: Indicator, tables: _Tables) -> pd.DataFrame:
    """Give the facilities in use that units of the setting keep."""
    facilities = tables.facilities
    return facilities[
        (facilities["kind"] == indicator.kind)
        & (facilities["status"] == "in_use")
        & facilities["unit_code"].isin(_units_of(indicator, tables)["unit_code"])
    ]


def _area_lacking(kept: pd.DataFrame, *columns: str) -> list[str]:
    if kept.empty:
        return ["设施台账 / the ledger of facilities"]
    return [
        f"{missing} 处设施的{label('column', column)} / "
        f"{label('column', column, 'en')} of {missing} facilities"
        for column in columns
        if (missing := int(kept[column].isna().sum()))
    ]


def _floor_area_per_100_households(indicator: Indicator, tables: _Tables) -> _Value:
    units, kept = _units_of(indicator, tables), _kept(indicator, tables)
    lacking = "；".join([*_area_lacking(kept, "floor_area_m2"), _lacking(units, "households")])
    households = float(_column(units, "households").sum())
    if lacking.strip("；") or households == 0:
        return _Value(lacking=lacking.strip("；"))
    return _Value(100 * float(kept["floor_area_m2"].sum()) / households)


def _activity_area_share(indicator: Indicator, tables: _Tables) -> _Value:
    kept = _kept(indicator, tables)
    lacking = "；".join(_area_lacking(kept, "floor_area_m2", "activity_area_m2"))
    area = float(kept["floor_area_m2"].sum())
    if lacking or area == 0:
        return _Value(lacking=lacking)
    return _Value(float(kept["activity_area_m2"].sum()) / area)


_FORMULAS: dict[str, Callable[[Indicator, _Tables], _Value]] = {
    "ledger_share": _share_of("ledger", "units"),
    "reachable_share": _share_of("reachable", "units"),
    "people_share": _share_of("reachable", "people"),
    "flag_share": _flag_share,
    "number_per_10000": _number_per_10000,
    "floor_area_per_100_households": _floor_area_per_100_households,
    "activity_area_share": _activity_area_share,
    "new_community_area_share": _new_community_area_share,
}
