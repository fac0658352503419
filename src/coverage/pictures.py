"""Coverage as a picture for a slide or a page: drawn by matplotlib, no browser needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import shapely
from matplotlib import font_manager
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline

from .errors import InputError, MissingDependencyError
from .files import write_beside
from .maps import road_class, shown_states, source_line
from .terms import label, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .assessment import CoverageReport

__all__ = ["coverage_figure", "coverage_picture", "picture_font"]

# The colours of the map, and hatches that tell states apart in grey print.
LOOKS = {
    "covered": ("#8CCBA7", ""),
    "shared": ("#8DB9DE", "---"),
    "near": ("#F6CD7C", "..."),
    "uncovered": ("#E6847E", "////"),
    "unknown": ("#E4E4E0", "xxx"),
    "not_applicable": ("#F4F1E8", ""),
}
INK, RULE, PROJECT, STAMP = "#1b2733", "#d9d3c5", "#6a1b8a", "#9b1c13"
_ROADS = {"secondary": (0.5, "#7c705a"), "primary": (0.9, "#c8862e"), "trunk": (1.4, "#c05f1f")}
_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Heiti SC",
    "SimSun",
    "Songti SC",
    "Arial Unicode MS",
)
_STYLE = {"svg.hashsalt": "facility-coverage", "hatch.linewidth": 0.5}
_NATURE_MARKS = {"new_build": "s", "extension": "h", "sharing": "o", "operation": "^"}
_SUFFIXES = (".png", ".svg", ".pdf", ".jpg")


@cache
def picture_font() -> str:
    """Find a font with Chinese characters.

    Returns
    -------
    str
        Its name, for matplotlib.

    Raises
    ------
    MissingDependencyError
        Where none is installed.
    """
    installed = {font.name for font in font_manager.fontManager.ttflist}
    for name in _FONTS:
        if name in installed:
            return name
    raise MissingDependencyError(
        "pictures need a font with Chinese characters, and none was found: install Noto Sans CJK "
        "(Debian: fonts-noto-cjk) and delete matplotlib's font cache"
    )


def coverage_picture(
    report: CoverageReport,
    path: str | Path,
    *,
    projects: gpd.GeoDataFrame | None = None,
    kind: str = "comprehensive_service",
    basis: str = "reachable",
    lang: str = "zh",
    title: str | None = None,
    dpi: int = 200,
) -> Path:
    """Save a coverage report as a picture: A4 across, with legend, scale, north, source and stamp.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    path : str or pathlib.Path
        Where to write; ends in ``.png``, ``.svg``, ``.pdf`` or ``.jpg``.
    projects : GeoDataFrame, optional
        Projects that are due, as `propose_projects` gives them, to be drawn too.
    kind : str
        The facility kind shown.
    basis : {"reachable", "ledger"}
        The basis of the verdicts shown.
    lang : {"zh", "en"}
        Language of everything but the names.
    title : str, optional
        Heading; by default the words "Community facility coverage".
    dpi : int
        Dots per inch of a picture of pixels.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        For a kind, basis or ending that is not known.
    MissingDependencyError
        Where no font with Chinese characters is installed.

    Examples
    --------
    >>> import tempfile
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fc.coverage_picture(report, folder + "/map.svg", basis="ledger").name
    'map.svg'
    """
    target = Path(path)
    if target.suffix.lower() not in _SUFFIXES:
        raise InputError(f"a picture ends in {', '.join(_SUFFIXES)}, not {target.name!r}")
    figure = coverage_figure(
        report, projects=projects, kind=kind, basis=basis, lang=lang, title=title
    )
    suffix = target.suffix.lower()
    return write_beside(target, lambda name: save_figure(figure, name, suffix=suffix, dpi=dpi))


def save_figure(figure: Figure, to: Any, *, suffix: str, **options: Any) -> None:
    """Save a figure without date or random names: the same report gives the same bytes."""
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with mpl.rc_context(_STYLE):
        figure.savefig(to, format=suffix.strip("."), metadata=metadata.get(suffix), **options)


def coverage_figure(
    report: CoverageReport,
    *,
    projects: gpd.GeoDataFrame | None = None,
    kind: str = "comprehensive_service",
    basis: str = "reachable",
    lang: str = "zh",
    title: str | None = None,
) -> Figure:
    """Give the picture of `coverage_picture` as a matplotlib figure."""
    kinds = list(dict.fromkeys(report.verdicts["kind"]))
    if kind not in kinds:
        raise InputError(f"kind must be one of {', '.join(kinds)}, not {kind!r}")
    if basis not in ("reachable", "ledger"):
        raise InputError(f"basis must be 'reachable' or 'ledger', not {basis!r}")
    text, font = labels("map", lang), picture_font()
    figure = Figure(figsize=(11.69, 8.27), facecolor="white")
    axes = figure.add_axes((0.02, 0.055, 0.96, 0.855))
    with mpl.rc_context(_STYLE):  # newer matplotlib asks when a thing is made, older when saved
        handles = _draw_units(axes, report, kind, basis, lang)
    _draw_roads(axes, report)
    _draw_townships(axes, report, font)
    handles += _draw_facilities(axes, report, kind, text)
    if projects is not None:
        handles += _draw_projects(axes, report, projects, lang)
    _draw_scale(axes, font, text["north"])
    axes.set_aspect("equal")
    axes.margins(0.015)
    axes.set_axis_off()
    axes.legend(
        handles=handles,
        loc="lower left",
        title=text["legend"],
        prop={"family": font, "size": 9},
        title_fontproperties={"family": font, "size": 10, "weight": "bold"},
        framealpha=0.94,
        edgecolor=RULE,
    )
    shown = f"{label('kind', kind, lang)} · {label('basis', basis, lang)}"
    heading = text["title"] if title is None else title
    notes: tuple[tuple[str, float, float, dict[str, Any]], ...] = (
        (heading, 0.02, 0.955, {"size": 17, "weight": "bold"}),
        (f"{report.plan.name(lang)} · {shown}", 0.02, 0.925, {"size": 10, "color": "#4d5762"}),
        (report.stamp or text["default_stamp"], 0.02, 0.02, {"size": 9, "color": STAMP}),
    )
    for words, x, y, style in notes:
        figure.text(x, y, words, family=font, **style)
    source = f"{text['source']}{text['colon']}{source_line(report, text)}"
    figure.text(0.98, 0.02, source, family=font, size=8, ha="right", color="#4d5762")
    return figure


def _outline(shape: Any) -> Outline:
    """Give a polygon's rings as one path, holes and all."""
    rings = []
    for part in shapely.get_parts(shape):
        rings += [np.asarray(ring.coords) for ring in (part.exterior, *part.interiors)]
    codes = np.concatenate(
        [
            np.r_[Outline.MOVETO, np.full(len(ring) - 2, Outline.LINETO), Outline.CLOSEPOLY]
            for ring in rings
        ]
    )
    return Outline(np.concatenate(rings), codes)


def _draw_units(
    axes: Axes, report: CoverageReport, kind: str, basis: str, lang: str
) -> list[Patch | Line2D]:
    shapes = np.asarray(report.units.to_crs(report.roads.crs).geometry.array)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes = shapes.copy()
    shapes[there] = shapely.make_valid(shapely.coverage_simplify(shapes[there], 15.0))
    states = shown_states(report, kind, basis)
    handles: list[Patch | Line2D] = []
    for state, (colour, hatch) in LOOKS.items():
        mine = np.flatnonzero((states == state) & there)
        if mine.size == 0:
            continue
        style: dict[str, Any] = {
            "facecolor": colour,
            "edgecolor": "#6b675d",
            "linewidth": 0.4,
            "hatch": hatch,
        }
        outlines = [_outline(shapes[each]) for each in mine]
        axes.add_collection(PathCollection(outlines, **style))
        words = f"{label('map_state', state, lang)}  {int((states == state).sum())}"
        handles.append(Patch(label=words, **style))
    axes.autoscale_view()
    return handles


def _draw_roads(axes: Axes, report: CoverageReport) -> None:
    edges = report.roads.edges
    classes = np.array([road_class(value) for value in edges["highway"]])
    lines = shapely.simplify(np.asarray(edges.geometry.array), 20.0)
    for name, (width, colour) in _ROADS.items():
        mine = [np.asarray(line.coords) for line in lines[classes == name]]
        axes.add_collection(LineCollection(mine, linewidths=width, colors=colour, zorder=2))


def _draw_townships(axes: Axes, report: CoverageReport, font: str) -> None:
    units = report.units.to_crs(report.roads.crs)
    if "township" not in units:
        return
    for name, rows in units.groupby("township", sort=True):
        outline = shapely.union_all(rows.geometry.to_numpy())
        rings = [np.asarray(part.exterior.coords) for part in shapely.get_parts(outline)]
        axes.add_collection(LineCollection(rings, linewidths=0.9, colors="#403b52", zorder=3))
        widest = shapely.maximum_inscribed_circle(outline, tolerance=100.0)
        axes.annotate(
            str(name),
            widest.coords[0],
            ha="center",
            va="center",
            family=font,
            size=8.5,
            weight="bold",
            color="#2b2740",
            zorder=7,
            bbox={"facecolor": "white", "alpha": 0.72, "edgecolor": "none", "pad": 0.8},
        )


def _xy(points: gpd.GeoDataFrame, crs: Any) -> np.ndarray:
    placed = points[points.geometry.notna()].to_crs(crs)
    return shapely.get_coordinates(shapely.point_on_surface(placed.geometry.to_numpy()))


def _draw_facilities(
    axes: Axes, report: CoverageReport, kind: str, text: dict[str, str]
) -> list[Patch | Line2D]:
    mine = report.facilities[report.facilities["kind"] == kind]
    handles: list[Patch | Line2D] = []
    for status, words, face in (("in_use", "existing", INK), ("closed", "closed", "white")):
        at = _xy(mine[mine["status"] == status], report.roads.crs)
        if len(at):
            style: dict[str, Any] = {
                "marker": "s",
                "markersize": 3.4,
                "mfc": face,
                "mec": INK,
                "mew": 0.6,
            }
            axes.plot(*at.T, linestyle="", zorder=5, **style)
            handles.append(Line2D([], [], linestyle="", label=text[words], **style))
    return handles


def _draw_projects(
    axes: Axes, report: CoverageReport, projects: gpd.GeoDataFrame, lang: str
) -> list[Patch | Line2D]:
    due = projects[projects["in_quota"].to_numpy(dtype=bool)]
    handles: list[Patch | Line2D] = []
    for nature, rows in due.groupby("nature", sort=True):
        at = _xy(rows, report.roads.crs)
        marker = _NATURE_MARKS.get(str(nature), "D")
        style: dict[str, Any] = {
            "marker": marker,
            "markersize": 6,
            "mfc": "white",
            "mec": PROJECT,
            "mew": 1.4,
        }
        axes.plot(*at.T, linestyle="", zorder=6, **style)
        words = f"{label('nature', nature, lang)}  {len(rows)}"
        handles.append(Line2D([], [], linestyle="", label=words, **style))
    return handles


def _draw_scale(axes: Axes, font: str, north: str) -> None:
    """Draw a scale bar of a round length, and an arrow to the north of the roads' CRS."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    width = right - left
    length = max(
        step * 10**power
        for power in range(2, 6)
        for step in (1, 2, 5)
        if step * 10**power < width / 6
    )
    x, y = right - 1.1 * length, low + 0.03 * (high - low)
    axes.plot([x, x, x + length, x + length], [y + width / 150, y, y, y + width / 150], color=INK)
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"  # noqa: PLR2004
    axes.text(x + length / 2, y + width / 120, words, ha="center", size=9, color=INK)
    at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
    arrow = {"arrowstyle": "-|>,head_width=0.35,head_length=0.8", "color": INK, "linewidth": 1.4}
    axes.annotate("", (0.965, 0.985), (0.965, 0.905), arrowprops=arrow, **at)
    style: dict[str, Any] = {
        "ha": "center",
        "va": "top",
        "family": font,
        "size": 11,
        "weight": "bold",
    }
    axes.text(0.965, 0.9, north, transform=axes.transAxes, color=INK, **style)
