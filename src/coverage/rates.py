"""Verdicts counted: rates on both bases, and the plan's indicators."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd

from .standards import Indicator, Plan, units_needed
from .terms import label
from .verdicts import ROUNDING, STATES

__all__ = ["indicator_table", "rate_table"]

_LEDGER_KIND = "comprehensive_service"


def rate_table(verdicts: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Count units, people and area by kind, setting and basis; counts decide before rounding."""
    rows = []
    for (kind, setting), group in verdicts.groupby(["kind", "setting"], sort=False):
        standard = plan.standard(kind, setting)
        if standard is None:
            continue
        sums: dict[tuple[str, str], list[float]] = {}
        bases = ["ledger", "reachable"] if standard.on_ledger else ["reachable"]
        for basis in bases:
            state = group[f"{basis}_state"]
            sums[basis, "units"] = [float((state == name).sum()) for name in STATES]
        if standard.on_ledger:
            people = group["residents"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
            sums["ledger", "people"] = [
                float(people[(group["ledger_state"] == name).to_numpy()].sum()) for name in STATES
            ]
        sums["reachable", "people"] = [
            float(group[f"people_{name}"].sum(skipna=False)) for name in STATES
        ]
        sums["reachable", "area"] = [float(group[f"area_{name}_m2"].sum()) for name in STATES]
        for (basis, measure), (covered, uncovered, unknown) in sums.items():
            total = covered + uncovered + unknown
            # The plan promises units, not people: only they have a target.
            target = standard.target_share if measure == "units" else None
            missing = (
                max(0.0, units_needed(target, int(total)) - covered)
                if target is not None
                else np.nan
            )
            share = covered / total if total else np.nan
            rows.append(
                (
                    kind,
                    setting,
                    basis,
                    measure,
                    covered,
                    uncovered,
                    unknown,
                    total,
                    share,
                    np.nan if target is None else target,
                    missing,
                )
            )
    columns = [
        "kind",
        "setting",
        "basis",
        "measure",
        "covered",
        "uncovered",
        "unknown",
        "total",
        "share",
        "target",
        "missing",
    ]
    table = pd.DataFrame(rows, columns=columns)
    order = {kind: i for i, kind in enumerate(plan.kinds)}
    keys = [table["kind"].map(order), table["setting"], table["basis"]]
    return table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)


def indicator_table(
    plan: Plan, rates: pd.DataFrame, units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Compute the plan's indicators; what cannot be computed is missing and says why."""
    rows = []
    for indicator in plan.indicators:
        value, met, lacking = _indicator(indicator, rates, units, facilities)
        rows.append(
            {
                "number": indicator.number,
                "name_zh": indicator.name_zh,
                "name_en": indicator.name_en,
                "baseline": indicator.baseline,
                "target": indicator.target,
                "value": value,
                "unit": indicator.unit,
                "met": met,
                "missing_data": lacking,
                "source": indicator.source,
            }
        )
    columns = [
        "number",
        "name_zh",
        "name_en",
        "baseline",
        "target",
        "value",
        "unit",
        "met",
        "missing_data",
        "source",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"met": "boolean", "baseline": float, "target": float, "value": float})


_LACKING = {
    "new_community_area_share": "新建社区商业和服务面积 / floor areas of new communities",
    "terminal_share": "政务自助终端台账 / list of self-service terminals",
    "workers_per_10000": "社区工作者人数 / number of community workers",
}


def _indicator(
    indicator: Indicator,
    rates: pd.DataFrame,
    units: gpd.GeoDataFrame,
    facilities: gpd.GeoDataFrame,
) -> tuple[float | None, bool | None, str]:
    """Give value, whether the target is met, and what data are missing."""
    if indicator.formula in _LACKING:
        return None, None, _LACKING[indicator.formula]
    if indicator.formula.startswith("ledger_share_"):
        setting = indicator.formula.removeprefix("ledger_share_")
        query = (
            (rates["kind"] == _LEDGER_KIND)
            & (rates["setting"] == setting)
            & (rates["basis"] == "ledger")
            & (rates["measure"] == "units")
        )
        if not query.any():
            return None, None, f"{label('kind', _LEDGER_KIND)}台账 / its ledger"
        row = rates[query].iloc[0]
        met: bool | None = None
        if indicator.target is not None:
            needed = units_needed(indicator.target, int(row["total"]))
            if row["covered"] >= needed:
                met = True
            elif row["covered"] + row["unknown"] < needed:
                met = False
        return float(row["share"]), met, ""
    urban = units[units["setting"] == "urban"]
    kept = facilities[
        (facilities["kind"] == _LEDGER_KIND)
        & (facilities["status"] == "in_use")
        & facilities["unit_code"].isin(urban["unit_code"])
    ]
    lacking = []
    if len(urban) == 0 or len(kept) == 0:
        lacking.append("城市社区综合服务设施台账 / ledger of urban facilities")
    if kept["floor_area_m2"].isna().any():
        lacking.append(f"{int(kept['floor_area_m2'].isna().sum())} 处设施的建筑面积 / floor areas")
    by_households = indicator.formula == "floor_area_per_100_households"
    if by_households and urban["households"].isna().any():
        lacking.append("城市社区户数 / households of urban units")
    if not by_households and kept["activity_area_m2"].isna().any():
        lacking.append("活动区域面积 / activity areas")
    if lacking:
        return None, None, "；".join(lacking)
    area = float(kept["floor_area_m2"].sum())
    value = (
        100 * area / float(urban["households"].sum())
        if by_households
        else float(kept["activity_area_m2"].sum()) / area
    )
    return value, None if indicator.target is None else value >= indicator.target - ROUNDING, ""
