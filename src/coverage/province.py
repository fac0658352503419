"""A province's results: tables of all counties, their ranking, a map."""

from __future__ import annotations

import datetime as dt
import html
import json
from pathlib import Path
from typing import Any

import folium
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from .errors import InputError
from .page import LegendMap
from .terms import label

__all__ = ["DATA_SETS", "part_path", "province_map", "ranking", "read_json", "read_province"]

DATA_SETS = ("units", "verdicts", "rates", "projects")
_BASES = ("ledger", "reachable")
_SHADES = ((0.0, "#f7d9c4"), (0.2, "#f3e2a9"), (0.4, "#cfe3a4"), (0.6, "#8cc59a"), (0.8, "#3f8f7b"))
_NO_RESULT = "#9a9a9a"
_WORDS = {
    "zh": {"none": "无结果", "unknown": "无法判断", "target": "目标", "failed": "未完成的县"},
    "en": {"none": "no result", "unknown": "cannot tell", "target": "target", "failed": "not done"},
}


def part_path(out: Path, what: str, code: str) -> Path:
    """Give where a county's part of a data set stands."""
    return out / what / f"county={code}" / "part.parquet"


def read_json(path: Path, otherwise: Any) -> Any:
    """Read a file, or give something else where there is none."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else otherwise


def read_province(out: str | Path, what: str) -> Any:
    """Read one data set of all counties that are complete.

    Parameters
    ----------
    out : path
        The folder of `run_province`.
    what : {"units", "verdicts", "rates", "projects"}
        Units with their outlines, and projects, in WGS-84 degrees; verdicts by `unit_code`.

    Returns
    -------
    GeoDataFrame or DataFrame
        With `county_code` and `county_name` first.
    """
    if what not in DATA_SETS:
        raise InputError(f"what must be one of {', '.join(DATA_SETS)}, not {what!r}")
    folder, read = Path(out), pd.read_parquet if what in ("verdicts", "rates") else gpd.read_parquet
    listed = read_json(folder / "counties.json", [])
    done = [each for each in listed if (folder / "done" / f"{each['county_code']}.json").is_file()]
    paths = [part_path(folder, what, each["county_code"]) for each in done]
    tables = [read(path, partitioning=None) for path in paths if path.is_file()]
    if not tables:
        raise InputError(f"{folder}: no county has {what} yet")
    return pd.concat([each for each in tables if len(each)] or tables[:1], ignore_index=True)


def ranking(
    out: str | Path, *, kind: str = "comprehensive_service", setting: str = "rural"
) -> pd.DataFrame:
    """Rank counties by the share of units covered, on both bases.

    Parameters
    ----------
    out : path
        The folder of `run_province`.
    kind, setting : str
        Which standard.

    Returns
    -------
    DataFrame
        One row a county: `rank` (by `ledger_share`, equals alike), `county_code`, `name`, and of
        each basis `…_covered`, `…_unknown`, `…_total`, `…_share`, `…_share_at_most` (were all
        unknown covered), `…_target`, `…_missing` (units to the target); `state` (done, failed, not
        run) and `failure`. Counties without a result come last, with no rank.
    """
    folder, rates = Path(out), read_province(out, "rates")
    rates = rates[(rates["kind"] == kind) & (rates["setting"] == setting)]
    rates = rates[rates["measure"] == "units"].set_index("county_code")
    table = pd.DataFrame(read_json(folder / "counties.json", [])).set_index("county_code")
    for basis in _BASES:
        own = rates[rates["basis"] == basis].reindex(table.index)
        for name in ("covered", "unknown", "total", "share", "target", "missing"):
            table[f"{basis}_{name}"] = own[name]
        table[f"{basis}_share_at_most"] = (own["covered"] + own["unknown"]) / own["total"]
    failed = {each["county_code"]: each for each in read_json(folder / "failures.json", [])}
    done = [(folder / "done" / f"{code}.json").is_file() for code in table.index]
    lost = np.where(table.index.isin(list(failed)), "failed", "not run")
    table["state"] = np.where(done, "done", lost)
    table["failure"] = [failed[c]["message"] if c in failed else "" for c in table.index]
    table.insert(0, "rank", table["ledger_share"].rank(ascending=False, method="min"))
    return table.sort_values(["rank", "reachable_share"], ascending=[True, False]).reset_index()


def province_map(
    out: str | Path,
    *,
    kind: str = "comprehensive_service",
    setting: str = "rural",
    basis: str = "ledger",
    outlines: gpd.GeoDataFrame | None = None,
    lang: str = "zh",
    drawn_on: dt.date | None = None,
) -> LegendMap:
    """Draw counties by the share of units covered; the page opens with no network.

    Parameters
    ----------
    out : path
        The folder of `run_province`.
    kind, setting : str
        Which standard.
    basis : {"ledger", "reachable"}
        Which share is coloured; a click or a touch shows both.
    outlines : GeoDataFrame, optional
        `county_code` and outline of each county; by default their units joined. With them counties
        without a result are drawn too; they are listed in any case.
    lang : {"zh", "en"}
        Language of everything but the names.
    drawn_on : datetime.date, optional
        Date printed; by default today.

    Returns
    -------
    LegendMap
        A `folium.Map`; ``.save("province.html")`` writes it.
    """
    if basis not in _BASES:
        raise InputError(f"basis must be 'ledger' or 'reachable', not {basis!r}")
    table, units = ranking(out, kind=kind, setting=setting), read_province(out, "units")
    shapes = _joined(units) if outlines is None else outlines.to_crs(units.crs)
    shapes = shapes.assign(county_code=shapes["county_code"].astype(str))
    shapes = shapes[["county_code", "geometry"]].merge(table, on="county_code")
    words = _WORDS[lang]
    shown = gpd.GeoDataFrame({"name": shapes["name"].map(html.escape)}, geometry=shapes.geometry)
    for each in _BASES:
        shown[each] = [_cell(row, each, words) for row in shapes.to_dict("records")]
    shown["colour"] = shapes[f"{basis}_share"].map(_shade, na_action=None)
    aliases = [label("column", "name", lang), *(label("basis", b, lang) for b in _BASES)]
    stamps = [each for each in _stamps(out) if each] or [label("map", "default_stamp", lang)]
    payload = {
        "title": f"{label('kind', kind, lang)} · {label('map', 'rates', lang)}",
        "subtitle": f"{label('setting', setting, lang)} · {label('basis', basis, lang)}",
        "stamp": "；".join(stamps),
        "source": label("map", "source_default", lang),
        "date": (drawn_on or dt.date.today()).isoformat(),  # noqa: DTZ011 - the reader's own day
        "legend": _legend(table, words),
    }
    west, south, east, north = bounds = shown.total_bounds.tolist()
    chart = LegendMap(payload, lang=lang, bounds=bounds)
    chart.options["attributionControl"] = False
    folium.GeoJson(
        shown.set_crs(units.crs, allow_override=True).to_json(),
        style_function=lambda each: {
            "fillColor": each["properties"]["colour"],
            "fillOpacity": 0.85,
            "color": "#5c574c",
            "weight": 0.8,
        },
        tooltip=folium.GeoJsonTooltip(["name", *_BASES], aliases=aliases),
    ).add_to(chart)
    chart.fit_bounds([[south, west], [north, east]])
    return chart


def _joined(units: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Give each county the outline of its units."""
    placed = units[units.geometry.notna()]
    outline = {
        code: shapely.simplify(shapely.union_all(shapely.make_valid(rows.to_numpy())), 1e-3)
        for code, rows in placed.geometry.groupby(placed["county_code"])
    }
    codes = pd.Series(list(outline), dtype="string")
    return gpd.GeoDataFrame({"county_code": codes}, geometry=[*outline.values()], crs=units.crs)


def _cell(row: dict[Any, Any], basis: str, words: dict[str, str]) -> str:
    """Say how a county stands on a basis, unknowns and target beside."""
    if pd.isna(row[f"{basis}_share"]):
        return words["none"]
    text = f"{row[f'{basis}_covered']:g} / {row[f'{basis}_total']:g} ({row[f'{basis}_share']:.1%})"
    text += f" · {words['unknown']} {row[f'{basis}_unknown']:g}"
    target = row[f"{basis}_target"]
    return text if pd.isna(target) else f"{text} · {words['target']} {target:.0%}"


def _shade(share: float) -> str:
    fitting = [colour for least, colour in _SHADES if share >= least]
    return fitting[-1] if fitting else _NO_RESULT


def _stamps(out: str | Path) -> list[str]:
    """Give what the counties' data say about themselves."""
    files = sorted((Path(out) / "done").glob("*.json"))
    return list(dict.fromkeys(read_json(file, {}).get("stamp", "") for file in files))


def _legend(table: pd.DataFrame, words: dict[str, str]) -> str:
    """Give the legend as markup: shades, and counties without a result."""
    ends = [f"{least:.0%}" for least, _ in _SHADES[1:]] + ["100%"]
    keys = [
        (colour, f"{least:.0%} – {end}") for (least, colour), end in zip(_SHADES, ends, strict=True)
    ]
    rows = "".join(
        f'<div class="fc-legend-row"><span class="fc-swatch" style="background:{colour};'
        f'border:1px solid #5c574c"></span>{text}</div>'
        for colour, text in [*keys, (_NO_RESULT, words["none"])]
    )
    lost = table.loc[table["state"] != "done", "name"]
    listed = f"{words['failed']} ({len(lost)}): {html.escape('、'.join(lost))}"
    return rows + (f'<div class="fc-legend-part">{listed}</div>' if len(lost) else "")
