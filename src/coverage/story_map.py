"""One unit's story as a map and as a page: text, map and tables in one file without network."""

from __future__ import annotations

import datetime as dt
import html
import math
from collections.abc import Mapping
from importlib.resources import files
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import folium
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .evidence import ExplainedRoute, equals, text_of
from .maps import WGS84, road_class, source_line
from .page import LANGUAGE_TAGS, LegendMap, OfflineMap
from .story import Words, facts, road_name, stamp, summary_words, tell
from .terms import labels
from .travel import pools_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .explain import Explanation

__all__ = ["draw", "fragment", "page"]

_INK, _UNIT_LINE, _WHITE = "#1b2733", "#11181f", "#ffffff"
# Colours and shapes, for black and white paper too: fill, shape.
_LOOKS = {
    "covered": ("#1A9850", '<circle cx="9" cy="9" r="6.5"/>'),
    "uncovered": ("#D73027", '<path d="M9 1.5L16.5 9L9 16.5L1.5 9Z"/>'),
    "unknown": ("#8b8f94", '<rect x="3" y="3" width="12" height="12"/>'),
    "not_applicable": ("#66717c", '<circle cx="9" cy="9" r="4"/>'),
}
_TRIANGLE = '<path d="M9 2L16.5 15.5L1.5 15.5Z"/>'
# Colour, width and dashes; on foot the way is often the same: it lies on the other.
_ROUTE_LOOKS: Mapping[str, tuple[str, float, str | None]] = {
    "next_nearest": ("#6a1b8a", 3, "2 6"),
    "nearest": ("#1d5c8a", 6, None),
    "on_foot": ("#e07b00", 2.5, "7 5"),
}
_ROAD_LOOKS = {
    "path": ("#c9c3b4", 0.7),
    "local": ("#c2bbaa", 1.0),
    "tertiary": ("#b3ab98", 1.5),
    "secondary": ("#cdb98a", 2.2),
    "primary": ("#e0b36a", 2.8),
    "trunk": ("#e39a5c", 3.2),
}
_OUTLINE = (_UNIT_LINE, 2.2, "6 4")
_MARGIN = 0.12
_LEAST_MARGIN_M = 250.0
_SIMPLER_M = 4.0
_WIDTH_TO_HEIGHT, _HEIGHT_TO_WIDTH = 3.4, 0.9


def draw(story: Explanation, words: Words) -> OfflineMap:
    """Draw the unit, its demand points, the facilities around and the routes.

    Parameters
    ----------
    story : Explanation
        What to draw.
    words : Words
        The words about it.
    """
    metric, around = story.report.roads.crs, _facilities_around(story)
    west, south, east, north = box = _box(story, around)
    seen = around.cx[west:east, south:north]
    degrees = gpd.GeoSeries([shapely.box(*box)], crs=metric).to_crs(WGS84).total_bounds.tolist()
    payload = {
        "title": words("map_title"),
        "subtitle": summary_words(story, words).strip(),
        "stamp": stamp(story, words),
        "source": source_line(story.report, labels("map", words.lang)),
        "date": dt.date.today().isoformat(),  # noqa: DTZ011 - the reader's own day
        "legend": _legend(story, seen["fit"], words),
    }
    chart = LegendMap(payload, lang=words.lang, bounds=degrees)
    chart.options["attributionControl"] = False
    _draw_roads(chart, story, box)
    _draw_unit(chart, story)
    for purpose in _ROUTE_LOOKS:
        for route in story.routes:
            if route.purpose == purpose and not route.reason:
                _draw_route(chart, story, route, words)
    sides = _sides(story, around)
    _draw_facilities(chart, story, seen.to_crs(WGS84), sides, words)
    _draw_points(chart, story, sides, words)
    # Room for the legend at the left, and for names at the right.
    room = {"padding_top_left": (210, 24), "padding_bottom_right": (90, 24)}
    chart.fit_bounds([degrees[1::-1], degrees[:1:-1]], **room)
    return chart


def _facilities_around(story: Explanation) -> gpd.GeoDataFrame:
    """Give the placed facilities of the kinds asked for, and whether each qualifies."""
    report, standard, trades = story.report, story.standard, story.trades
    pools = [] if standard is None else pools_of(standard)
    fit = np.zeros(len(report.facilities), dtype=bool)
    for pool in pools:
        fit |= report.access.searches.members(pool)
    kinds: Sequence[str] = (story.kind,) if standard is None else standard.required_kinds
    if len(trades):  # of a circle of many kinds the one that decides, and the nearest others
        kinds = trades.loc[trades["decided"], "kind"].tolist()
    table = report.facilities.to_crs(report.roads.crs).assign(fit=fit)
    chosen = table["kind"].isin(kinds) & ~equals(table["status"], "shared")
    chosen |= table["facility_id"].isin(trades["facility_id"].dropna())
    return table[chosen & table.geometry.notna()]


def _box(story: Explanation, around: gpd.GeoDataFrame) -> tuple[float, float, float, float]:
    """Give what the map shows, in the CRS of the roads: the unit, its points and the routes."""
    units, metric = story.report.units, story.report.roads.crs
    ways = [one.route.geometry for one in story.routes if not one.reason]
    layers = (
        units.geometry[equals(units["unit_code"], story.unit.unit_code)],
        story.points.geometry,
        gpd.GeoSeries(ways, crs=story.points.crs),
        around.geometry[around["facility_id"].isin([one.facility_id for one in story.routes])],
    )
    shapes = [np.asarray(layer.to_crs(metric).array, dtype=object) for layer in layers]
    west, south, east, north = shapely.total_bounds(np.concatenate(shapes)).tolist()
    margin = max(_LEAST_MARGIN_M, _MARGIN * max(east - west, north - south))
    return west - margin, south - margin, east + margin, north + margin


def _locations(shapes: Sequence[Any], crs: Any) -> list[list[list[float]]]:
    """Give lines as folium wants them: latitude and longitude, to about a metre."""
    lines = gpd.GeoSeries(list(shapes), crs=crs).to_crs(WGS84)
    return [
        np.round(shapely.get_coordinates(line)[:, ::-1], 5).tolist()
        for line in lines
        if line is not None and not line.is_empty
    ]


def _under(shape: folium.PolyLine | folium.Polygon, chart: OfflineMap) -> None:
    """Put on the map what is only to be looked at: pointing at it goes to what lies below."""
    shape.options["interactive"] = False
    shape.add_to(chart)


def _draw_roads(
    chart: OfflineMap, story: Explanation, box: tuple[float, float, float, float]
) -> None:
    """Draw the roads, on to the edges of a page that is wider or higher than what it shows."""
    edges = story.report.roads.edges
    width, height = box[2] - box[0], box[3] - box[1]
    aside = max(0.0, _WIDTH_TO_HEIGHT * height - width) / 2
    above = max(0.0, _HEIGHT_TO_WIDTH * width - height) / 2
    whole = shapely.box(*np.add(box, (-aside, -above, aside, above)))
    near = np.sort(edges.sindex.query(whole, predicate="intersects"))
    kinds = np.array([road_class(edges["highway"].iloc[i]) for i in near.tolist()], dtype=object)
    shapes = shapely.simplify(np.asarray(edges.geometry.array)[near], _SIMPLER_M)
    for kind, (colour, weight) in _ROAD_LOOKS.items():
        lines = _locations(shapes[kinds == kind].tolist(), edges.crs)
        if lines:
            _under(folium.PolyLine(lines, color=colour, weight=weight, opacity=1.0), chart)


def _draw_unit(chart: OfflineMap, story: Explanation) -> None:
    """Draw the unit's outline."""
    units = story.report.units
    outline = units[equals(units["unit_code"], story.unit.unit_code)].geometry
    look = {**_line(_OUTLINE), "fill_opacity": 0.05}
    for part in shapely.get_parts(outline.array):
        if part.geom_type == "Polygon":
            rings = _locations([part.exterior, *part.interiors], units.crs)
            _under(folium.Polygon(rings, fill=True, fill_color=_INK, **look), chart)


def _line(look: tuple[str, float, str | None]) -> dict[str, Any]:
    return dict(zip(("color", "weight", "dash_array"), look, strict=True))


def _draw_route(chart: OfflineMap, story: Explanation, route: ExplainedRoute, words: Words) -> None:
    """Draw a route, and what it is for whoever points at it."""
    line, look = _locations([route.route.geometry], story.points.crs), _ROUTE_LOOKS[route.purpose]
    told = [*_route_words(story, route, words), words.measured("minutes", route.minutes)]
    if route.purpose != "on_foot":
        _under(folium.PolyLine(line, color=_WHITE, weight=look[1] + 3, opacity=0.8), chart)
    hint = folium.Tooltip(_markup(words("comma").join(told)))
    folium.PolyLine(line, tooltip=hint, opacity=1.0, **_line(look)).add_to(chart)


def _route_words(story: Explanation, route: ExplainedRoute, words: Words) -> list[str]:
    """Say what a route is: its purpose, where it leads and how."""
    purpose = words.term("explain_route", route.purpose)
    facility = words.facility(story, route.facility_id)
    return [purpose, facility, words.by(route.way.mode, route.way.measure)]


def _markup(text: str) -> str:
    """Write a name as markup that neither the page, nor its script, nor its template can read.

    Examples
    --------
    >>> _markup("<b>${{ 1 }}`")
    '&#60;b&#62;&#36;&#123;&#123; 1 &#125;&#125;&#96;'
    """
    return "".join(f"&#{ord(each)};" if each in "<>&\"'`$\\{}%" else each for each in text)


def _mark(fill: str, shape: str, *, size: int = 18, ring: str = _WHITE) -> str:
    return (
        f'<svg width="{size}" height="{size}" viewBox="0 0 18 18" aria-hidden="true">'
        f'<g fill="{fill}" stroke="{ring}" stroke-width="1.6">{shape}</g></svg>'
    )


def _facility_mark(*, fit: bool) -> str:
    return _mark(_INK, _TRIANGLE) if fit else _mark(_WHITE, _TRIANGLE, ring="#66717c")


def _put(
    chart: OfflineMap, place: Any, mark: str, told: str, *, size: int = 18, side: str | None = None
) -> None:
    """Put a mark on the map, with words that show on pointing at it; at a side, always."""
    options: dict[str, Any] = {}
    if side is not None:
        aside = {"left": (-size // 2, 0), "right": (size // 2, 0), "bottom": (0, size // 2)}
        offset = aside.get(side, (0, -size // 2))
        options = {"permanent": True, "direction": side, "offset": offset}
    icon = folium.DivIcon(html=mark, icon_size=(size, size), icon_anchor=(size // 2, size // 2))
    hint = folium.Tooltip(_markup(told), sticky=False, **options)
    folium.Marker([round(place.y, 5), round(place.x, 5)], icon=icon, tooltip=hint).add_to(chart)


def _sides(story: Explanation, around: gpd.GeoDataFrame) -> dict[str, str]:
    """Tell on which side of each labelled place its name has room: away from the others."""
    shown = dict.fromkeys(one.facility_id for one in story.routes)
    places = around.set_index("facility_id").geometry
    labelled = places[[key for key in shown if key in places.index]].to_dict()
    if story.typical is not None:
        at = story.points.geometry[equals(story.points["demand_id"], story.typical)]
        labelled[story.typical] = at.to_crs(around.crs).iloc[0]
    order = sorted(labelled, key=lambda key: (labelled[key].x, key))
    middle = np.mean([place.y for place in labelled.values()]) if labelled else 0.0
    sides = {key: "top" if labelled[key].y >= middle else "bottom" for key in order}
    if order:
        sides[order[0]] = "left"
        sides[order[-1]] = "right"
    return sides


def _draw_facilities(
    chart: OfflineMap,
    story: Explanation,
    seen: gpd.GeoDataFrame,
    sides: Mapping[str, str],
    words: Words,
) -> None:
    """Draw the facilities, those of the routes with their names."""
    # A composite circle has many facilities: those of the routes last, so that they stay on top.
    last = seen["facility_id"].isin(list(sides))
    for row in seen.assign(last=last).sort_values("last", kind="stable").to_dict("records"):
        told, side = [text_of(row["name"]) or row["facility_id"]], sides.get(row["facility_id"])
        if side is None:
            told += [words.term("kind", row["kind"]), words.term("status", row["status"])]
            told += [] if story.standard is None else facts(row, story.standard, words)
        mark = _facility_mark(fit=bool(row["fit"]))
        _put(chart, row["geometry"], mark, words("comma").join(told), side=side)


def _draw_points(
    chart: OfflineMap, story: Explanation, sides: Mapping[str, str], words: Words
) -> None:
    """Draw the demand points, the typical one larger and with its name."""
    points = story.points[~(story.points.geometry.isna() | story.points.geometry.is_empty)]
    for row in points.to_crs(WGS84).to_dict("records"):
        told, look = [text_of(row["name"]) or str(row["demand_id"])], _LOOKS[row["state"]]
        if story.typical is not None and row["demand_id"] == story.typical:
            mark, side = _mark(*look, size=26, ring=_UNIT_LINE), sides[story.typical]
            _put(chart, row["geometry"], mark, told[0], size=26, side=side)
            continue
        told.append(words.state(row["state"], row["reason"]))
        if not math.isnan(row["minutes"]):
            told.append(words("trip_bare", **words.trip(row)))
        _put(chart, row["geometry"], _mark(*look), words("comma").join(told))


def _legend(story: Explanation, fit: pd.Series, words: Words) -> str:
    """Give the legend as markup: only what the map shows."""
    states = set(story.points["state"])
    rows = [
        (_mark(*look), words.term("state", state))
        for state, look in _LOOKS.items()
        if state in states
    ]
    if story.typical is not None:
        look = _LOOKS[story.typical_point["state"]]
        rows.append((_mark(*look, ring=_UNIT_LINE), words("map_typical")))
    for key, good in (("map_fit", True), ("map_unfit", False)):
        if (fit == good).any():
            rows.append((_facility_mark(fit=good), words(key)))
    for one in story.routes:
        if not one.reason:
            purpose, _, mode = _route_words(story, one, words)
            told = purpose if purpose == mode else words("because", state=purpose, reason=mode)
            minutes = words.measured("minutes", one.minutes)
            rows.append((_line_mark(*_ROUTE_LOOKS[one.purpose]), f"{told} {minutes}"))
    rows.append((_line_mark(*_OUTLINE), words("map_outline")))
    rows.append((_line_mark(*_ROAD_LOOKS["tertiary"]), words("map_roads")))
    return "".join(
        f'<div class="fc-legend-row">{mark}<span>{html.escape(told)}</span></div>'
        for mark, told in rows
    )


def _line_mark(color: str, weight: float, dash_array: str | None = None) -> str:
    dash = f' stroke-dasharray="{dash_array}"' if dash_array else ""
    return (
        '<svg width="26" height="14" viewBox="0 0 26 14" aria-hidden="true">'
        f'<path d="M1 7H25" stroke="{color}" stroke-width="{weight}"{dash}/></svg>'
    )


def page(story: Explanation, words: Words) -> str:
    """Give the whole page: text, map and tables in one file."""
    return (
        f'<!doctype html>\n<html lang="{LANGUAGE_TAGS[words.lang]}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(words('title'))}</title>"
        "<style>body { margin: 0; background: #f3efe4; }</style></head>\n"
        f"<body>{fragment(story, words, map_height_px=560)}</body>\n</html>\n"
    )


def fragment(story: Explanation, words: Words, *, map_height_px: int) -> str:
    """Give what the page holds, to stand in a notebook too."""
    title, place, told = tell(story, words)
    looks = ["fc-told fc-first", *["fc-told"] * (len(told) - 2), "fc-told fc-stamp"]
    first, *rest = (
        f'<p class="{look}"><b>{html.escape(head)}</b>{html.escape(body)}</p>'
        for look, (head, body) in zip(looks, told, strict=True)
    )
    chart = html.escape(draw(story, words).get_root().render())
    heading = html.escape(words("map_title"))
    style = files("facility_coverage.web").joinpath("story.css").read_text(encoding="utf-8")
    return (
        f"<style>\n{style}</style>\n"
        f'<article class="fc-story" lang="{LANGUAGE_TAGS[words.lang]}">'
        f'<h1>{html.escape(title)}</h1><p class="fc-place">{html.escape(place)}</p>{first}'
        f'<iframe title="{heading}" style="height:{map_height_px}px" srcdoc="{chart}"></iframe>'
        f"{''.join(rest)}{_tables(story, words)}</article>"
    )


def _tables(story: Explanation, words: Words) -> str:
    """Give the demand points, the kinds of a circle, and the routes step by step."""
    parts = []
    verdict = ("state", "reason", "minutes", "limit_minutes", "mode", "facility")
    if len(story.points) and story.standard is not None:
        points = pd.DataFrame(story.points.drop(columns="geometry"))
        points["name"] = points["name"].fillna(points["demand_id"])
        marked = equals(points["demand_id"], story.typical)
        columns: tuple[str, ...] = (
            "name",
            "people",
            *verdict,
            "next_facility",
            "next_minutes",
            "leg_m",
            "flag",
        )
        parts = ["head_points", _table(points, columns, words, marked=marked)]
    if len(story.trades):
        columns = ("kind", "required", *verdict, "people_share", "decided")
        marked = equals(story.trades["decided"], value=True)
        parts += ["head_trades", _table(story.trades, columns, words, marked=marked)]
    if story.routes:
        parts += ["head_routes", *(_route_table(story, one, words) for one in story.routes)]
    return "".join(
        f"<h2>{html.escape(words(part))}</h2>" if part.startswith("head_") else part
        for part in parts
    )


def _cell(name: str, value: Any, words: Words) -> str:
    """Write a value as its column wants it."""
    if name in {"state", "mode", "kind"}:
        return words.term(name, value)
    if name in {"reason", "flag"}:
        return words.reason(text_of(value))
    if name in {"required", "decided"}:
        return words("yes") if value else words("no") if name == "required" else ""
    if name == "people_share":
        return words.share(value)
    if isinstance(value, float):
        return words.number(value, 0 if name in {"people", "leg_m", "length_m"} else 1)
    return text_of(value)


def _table(
    frame: pd.DataFrame,
    columns: Sequence[str],
    words: Words,
    *,
    caption: str = "",
    marked: Sequence[bool] | NDArray[np.bool_] = (),
) -> str:
    """Write columns of a table as markup; those that say nothing in any row are left out."""
    missing, cells = words("missing"), dict[str, list[str]]()
    for name in columns:
        texts = [_cell(name, value, words) or missing for value in frame[name]]
        if set(texts) != {missing}:
            cells[words.term("explain_column", name)] = texts
    head = "".join(f"<th>{html.escape(name)}</th>" for name in cells)
    body = "".join(
        ('<tr class="fc-typical">' if mark else "<tr>")
        + "".join(f"<td>{html.escape(text)}</td>" for text in row)
        + "</tr>"
        for row, mark in zip_longest(zip(*cells.values(), strict=True), marked)
    )
    return (
        f'<div class="fc-scroll"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _route_table(story: Explanation, one: ExplainedRoute, words: Words) -> str:
    """Write a route step by step, or say why there is none."""
    told = _route_words(story, one, words)
    if one.reason:
        told.append(words.reason(one.reason))
        return f"<p>{html.escape(words('comma').join(told))}</p>"
    trip = {"minutes": one.minutes, "limit_minutes": one.limit_minutes, **one.way._asdict()}
    told += [text for key, text in words.trip(trip).items() if key == "judged"]
    detour = words.number(float(story.report.access.options["leg_detour"]))
    names = {
        "leg": words.term("explain_column", "leg").format(detour=detour),
        "straight": words.term("way_measure", "straight"),
    }
    steps = one.steps.assign(
        step=[
            names.get(row["part"]) or road_name(row, words) for row in one.steps.to_dict("records")
        ]
    ).to_dict("records")
    total: dict[str, object] = {"length_m": one.road_m + one.leg_m, "minutes": one.minutes}
    total["step"] = words.term("explain_column", "total")
    columns = ("step", "length_m", "speed_kph", "minutes")
    frame = pd.DataFrame([*steps, total], columns=columns)
    return _table(frame, columns, words, caption=words("comma").join(dict.fromkeys(told)))
