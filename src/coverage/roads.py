"""Reading roads: a graph, GraphML, an OSM extract or a layer of lines → `RoadNetwork`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray

from .errors import Finding, InputError, MissingDependencyError
from .graphs import metric_crs
from .intake import finding, intake_report, row_ranges, shown
from .layers import not_exact, read_layer
from .limits import unpacked
from .network import RoadNetwork, row_counts
from .noding import Noded, duplicate_lines, node_lines, vertex_keys
from .postgis import is_database_url
from .prepared import is_prepared, open_network
from .schema import canonical_name, rename_columns

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["read_roads"]

_ACCESS = ("access", "foot", "bicycle", "vehicle", "motor_vehicle")
_ROAD_COLUMNS = (
    "highway",
    "oneway",
    "oneway_bicycle",
    "speed_kph",
    "maxspeed",
    *_ACCESS,
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "osmid",
    "length_m",
)
_ONE_WAY = frozenset({"yes", "true", "1", "t", "y", "是", "单行", "单向"})
_ONE_WAY_BACKWARD = frozenset({"-1", "reverse", "反向"})
_NOT_BUILT = frozenset({"construction", "proposed", "planned", "abandoned", "razed", "no"})
_NO = frozenset({"", "no", "false", "0", "f", "n", "none", "nan", "否", "无"})
# Ways through a house stand on the ground.
_NO_TUNNEL = _NO | {"building_passage"}
_ACCESS_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("是", "可", "允许", "可通行", "开放"), "yes"),
    **dict.fromkeys(("否", "禁", "禁止", "禁行", "禁止通行", "不可通行"), "no"),
    **dict.fromkeys(("内部", "内部道路", "私有"), "private"),
}
_MOTORWAYS = ("motorway", "motorway_link")
_FASTEST_KPH = 200.0
# Places of one kind that are named one by one; the rest are counted.
_NAMED_PLACES = 20
# Letters of such a list, so that it goes uncut into a finding.
_LIST_LENGTH = 560
# A stated length this far from the drawn one is worth a look.
_LENGTH_SHARE = 0.05


def read_roads(
    source: str | Path | nx.MultiDiGraph | RoadNetwork,
    *,
    crs: Any = None,
    columns: Mapping[str, str] | None = None,
    layer: str | None = None,
    classes: Mapping[str, str] | None = None,
    crossings: Literal["join", "keep"] = "join",
    snap_tolerance_m: float = 1.0,
) -> RoadNetwork:
    """Read roads from a graph, a file or a database.

    Parameters
    ----------
    source : path, str, networkx.MultiDiGraph or RoadNetwork
        An OSMnx-convention graph; a GraphML file (``.graphml``, ``.graphml.gz``) as OSMnx saves it;
        an OpenStreetMap extract (``.pbf``, ``.osm``, needs the extra ``pbf``); or a layer of lines:
        GeoPackage, Shapefile, GeoJSON, GeoParquet, or a PostGIS table by the URL of its database
        (``postgresql://user@host/database``, needs the extra ``postgis``); or what
        `RoadNetwork.save` wrote, which opens at once.
    crs : optional
        The metric CRS to work in; by default the source's own if in metres, else the UTM zone of
        its middle.
    columns : mapping of str to str, optional
        For a layer of lines: ``{canonical: name in the layer}``, where the layer's own names are
        not understood. Canonical are

        - ``highway``: class, OpenStreetMap's or Chinese (国道, 县道, 四级公路, 机耕路, …);
        - ``oneway``: yes, no, or -1 for against the drawing;
        - ``speed_kph``: speed of motor traffic on that road, km/h;
        - ``bridge``, ``tunnel``: yes or no, and ``layer``: whole number, 0 on the ground;
        - ``access``, ``foot``, ``bicycle``, ``vehicle``, ``motor_vehicle``, ``oneway_bicycle``,
          ``maxspeed``: as OpenStreetMap uses them;
        - ``name``, ``ref``, ``osmid``; and ``length_m``, which is only compared with the drawn
          length: what is searched is always the drawn one.
    layer : str, optional
        Which layer of the file, or table of the database (``"schema.table"``), to read, where
        there are several.
    classes : mapping of str to str, optional
        For a layer of lines: ``{word in the layer: OpenStreetMap highway class}``, before the
        table in ``presets/road-classes.toml``. Words in neither stay as they are and are open at
        the mode's own speed.
    crossings : {"join", "keep"}
        For a layer of lines. ``"join"``: lines that cross or touch meet there, unless their level
        differs; ``"keep"``: lines meet only where they share a vertex, whatever their level.
    snap_tolerance_m : float
        For a layer of lines with ``crossings="join"``: loose ends are drawn on to an end of
        another line within this distance, else to the nearest point of another line of their
        level; 0 leaves them. By default 1 m, the drawing accuracy of a 1:10,000 survey
        (0.1 mm) and less than half a lane: centre lines so close are one carriageway.

    Returns
    -------
    RoadNetwork
        Lines are split where they meet. Lengths of geographic coordinates are geodesic. What was
        joined, and where, is in its `findings`; after 20 places of a kind the rest are counted.

    Raises
    ------
    MissingInputError, NoCrsError, InputError, NetworkError, MissingDependencyError
        With the file, the row, the rule and the cure.

    Notes
    -----
    A road's level is its ``layer``; a bridge without one (or with 0) is at 1, a tunnel at -1.
    Roads of different level meet only at a vertex that both have as drawn and that is an end of
    one of them, as where a bridge begins. Motorways are crossed by nothing at grade (JTG B01-2014,
    3.0.2: access is controlled in full); ends that lie on them meet them. Shapes are taken in two
    dimensions. OpenStreetMap extracts and graphs are noded by definition and are left alone.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> roads.crs.to_epsg(), roads.graph.graph["crs"]
    (32650, 'epsg:4326')
    """
    if isinstance(source, RoadNetwork):
        return source
    if not isinstance(source, str | Path):
        return RoadNetwork.from_graph(source, crs=crs)
    if crossings not in {"join", "keep"}:
        raise ValueError(f"crossings must be 'join' or 'keep', not {crossings!r}")
    if not 0 <= snap_tolerance_m < np.inf:
        raise ValueError(f"snap_tolerance_m must be metres ≥ 0, not {snap_tolerance_m!r}")
    if not is_database_url(source):
        path = Path(source)
        name = path.name.lower()
        if name.endswith((".graphml", ".graphml.gz")):
            return _read_graphml(path, crs=crs)
        if name.endswith((".pbf", ".osm", ".osm.gz", ".osm.bz2")):
            from .osm import read_osm_ways  # noqa: PLC0415 - an optional dependency

            return network_from_ways(*read_osm_ways(path), crs=crs, source=path.name)
        if name.endswith((".parquet", ".geoparquet")) and path.is_file() and is_prepared(path):
            return _open_prepared(path, crs=crs)
    lines, findings, file, read = _read_lines(source, columns=columns, layer=layer, classes=classes)
    return _from_lines(
        lines,
        findings,
        file,
        read,
        crs=crs,
        tolerance_m=snap_tolerance_m if crossings == "join" else None,
    )


def _open_prepared(path: Path, *, crs: Any) -> RoadNetwork:
    roads = open_network(path)
    if crs is not None and pyproj.CRS.from_user_input(crs) != roads.crs:
        raise InputError(
            f"{path}: these roads were prepared in {roads.crs.to_string()}; for another CRS read "
            "them from their source with crs=…"
        )
    return roads


def _read_graphml(path: Path, *, crs: Any) -> RoadNetwork:
    if not path.exists():
        read_layer(path)  # raises, naming what is beside it
    try:
        import osmnx  # noqa: PLC0415 - two seconds that other sources need not pay
    except ImportError as fault:  # pragma: no cover - osmnx is a runtime dependency
        raise MissingDependencyError("reading GraphML needs osmnx") from fault
    try:
        with unpacked(path) as plain:
            graph = osmnx.load_graphml(plain, edge_dtypes={"geometry": _line_text})
    except (SyntaxError, ValueError, KeyError, RecursionError, MemoryError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(
            f"{path}: not a GraphML file as osmnx.save_graphml writes it ({fault})"
        ) from None
    network = RoadNetwork.from_graph(graph, crs=crs)
    number = graph.number_of_edges()
    rows = row_counts(path.name, number, number, pyproj.CRS(graph.graph["crs"]))
    return RoadNetwork(network.edges, network.nodes, source=path.name, rows=rows, _graph=graph)


def _line_text(text: Any) -> str:
    """Let pass the text of a line; collections within collections would end the process."""
    if not re.match(r"\s*(multi)?linestring", str(text), re.IGNORECASE):
        raise ValueError(f"the geometry of an edge is {str(text)[:40]!r}, not a LINESTRING")
    return str(text)


def _read_lines(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None,
    layer: str | None,
    classes: Mapping[str, str] | None,
) -> tuple[gpd.GeoDataFrame, list[Finding], str, int]:
    """Give road lines with canonical values, what was found, the file, and its rows' number."""
    mapped = dict(columns or {})

    def choose(names: Sequence[str]) -> Sequence[str] | None:
        meant = {n: n if n in _ROAD_COLUMNS else canonical_name(n) for n in names}
        wanted = [n for n in names if meant[n] in _ROAD_COLUMNS or n in mapped.values()]
        classed = "highway" in mapped or "highway" in meant.values()
        # With names that do not fit, everything is read, so that the message can name it.
        return wanted if classed and set(mapped.values()) <= set(names) else None

    if is_database_url(source):
        place = file = layer or "PostGIS"
    else:
        place, file = str(source), Path(source).name
    read = read_layer(source, layer=layer, choose=choose)
    if read.geometry.name != "geometry":
        read = read.rename_geometry("geometry")
    lines = rename_columns(read, columns, known=_ROAD_COLUMNS, file=file)
    shapes = np.asarray(lines.geometry.array)
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    kinds = shapely.get_type_id(shapes)
    wrong = ~empty & ~np.isin(kinds, (1, 2, 5))
    if wrong.any():
        types = [shape.geom_type for shape in shapes[wrong][:_NAMED_PLACES]]
        told = _at_rows("roads.not_lines", _rows(wrong), file, field="geometry", values=types)
        raise InputError(f"{place}: roads must be lines", told)
    if "highway" not in lines:
        names = ", ".join(c for c in lines.columns if c != "geometry")
        raise InputError(
            f"{place}: no column says which class a road is",
            [finding("roads.no_class_column", file=file, field="highway", names=names)],
        )
    lines = lines[[*(c for c in _ROAD_COLUMNS if c in lines), "geometry"]].copy()
    lines["row"] = np.arange(1, len(lines) + 1)
    findings = [*intake_report(read).findings]
    if not_exact(read.geometry):
        findings.append(finding("crs.ballpark", file=file, field="geometry", value=read.crs.name))
    findings += _at_rows("roads.no_line", _rows(empty), file)
    if empty.any():
        lines, kinds = lines[~empty].reset_index(drop=True), kinds[~empty]
    if len(lines) == 0:
        raise InputError(f"{place}: there is no road in it", findings)
    findings += _clean_values(lines, classes or {}, file)
    if (kinds == 5).any():  # noqa: PLR2004 - shapely's number for MultiLineString
        lines = lines.explode(ignore_index=True)
    return lines, findings, file, len(read)


def _rows(wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the row numbers a person sees where something holds."""
    return np.flatnonzero(wrong) + 1


def _at_rows(
    code: str,
    rows: NDArray[np.int64],
    file: str,
    *,
    field: str = "",
    values: Sequence[Any] = (),
    words: Mapping[str, Any] | None = None,
    by_row: Mapping[str, Sequence[Any]] | None = None,
) -> list[Finding]:
    """Give a finding for each of the first rows, and one for the rest.

    Parameters
    ----------
    values : sequence
        What to show of each of the first rows.
    words, by_row : mapping
        The words of the rule: the same for all, and for each of the first rows.
    """
    words, by_row = dict(words or {}), by_row or {}
    told = [
        finding(
            code,
            file=file,
            row=row,
            field=field,
            value=values[at] if len(values) else "",
            **words,
            **{name: each[at] for name, each in by_row.items()},
        )
        for at, row in enumerate(rows[:_NAMED_PLACES].tolist())
    ]
    rest = rows[_NAMED_PLACES:]
    if rest.size:
        # Written as the report counts it.
        ranges = f"+{rest.size:,}: {row_ranges(rest, most=8)}"
        words |= dict.fromkeys(by_row, "…")
        further = finding(code, file=file, field=field, value=ranges, **words)
        more = finding("roads.more_rows", more=f"{rest.size:,}")
        told.append(
            replace(
                further,
                cure=f"{further.cure} {more.cure}",
                cure_zh=f"{further.cure_zh}{more.cure_zh}",
            )
        )
    return told


@cache
def _class_words() -> tuple[Mapping[str, str], frozenset[str]]:
    """Give the words for road classes, and OpenStreetMap's own."""
    preset = files("facility_coverage.presets").joinpath("road-classes.toml").read_text("utf-8")
    table = tomllib.loads(preset)
    return table["classes"], frozenset(table["highway"]["known"])


def _clean_values(lines: gpd.GeoDataFrame, classes: Mapping[str, str], file: str) -> list[Finding]:
    """Bring class, access, speed and level to their canonical values, in place."""
    findings = _clean_classes(lines, classes, file)
    for name in _ACCESS:
        if name in lines:
            codes, words = pd.factorize(lines[name])
            meant = [_ACCESS_WORDS.get(str(word).strip(), word) for word in words]
            lines[name] = np.array([*meant, None], dtype=object)[codes]
    if "speed_kph" in lines:
        stated = lines["speed_kph"]
        speed, blank = _as_numbers(stated)
        bad = ~blank & ~((speed > 0) & (speed <= _FASTEST_KPH))
        findings += _at_rows(
            "roads.speed",
            _rows(bad),
            file,
            field="speed_kph",
            values=stated[bad].head(_NAMED_PLACES).tolist(),
            words={"fastest": _FASTEST_KPH},
        )
        lines["speed_kph"] = np.where(bad, np.nan, speed)
    if "layer" in lines:
        given = lines["layer"]
        level, blank = _as_numbers(given)
        bad = ~blank & ~(np.isfinite(level) & (level == np.round(level)))
        findings += _at_rows(
            "roads.level",
            _rows(bad),
            file,
            field="layer",
            values=given[bad].head(_NAMED_PLACES).tolist(),
        )
        lines["layer"] = np.where(bad, np.nan, level)
    return findings


def _as_numbers(values: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give numbers, NaN where there is none, and where nothing was written."""
    number = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    blank = values.isna().to_numpy(copy=True)
    odd = np.flatnonzero(np.isnan(number) & ~blank)
    blank[odd] = values.iloc[odd].astype(str).str.strip().isin(["", "—", "-", "/", "无"]).to_numpy()
    return number, blank


def _clean_classes(lines: gpd.GeoDataFrame, classes: Mapping[str, str], file: str) -> list[Finding]:
    words, known = _class_words()
    codes, given = pd.factorize(lines["highway"])
    count = np.bincount(codes[codes >= 0], minlength=len(given))
    meant: list[Any] = []
    read_as: list[str] = []
    strange: list[str] = []
    for word, number in zip(given.tolist(), count.tolist(), strict=True):
        text = str(word).strip()
        # Graphs and merged layers may list several classes: "['residential', 'service']".
        options = [text, text.lower(), *re.split(r"[\[\]'\";,、\s]+", text.lower())]
        found = next(
            (
                table.get(option)
                for option in options
                for table in (classes, words, dict.fromkeys(known & {option}, option))
                if option in table
            ),
            None,
        )
        meant.append(found or text or None)
        if not text or text == found:
            continue
        if found is None:
            strange.append(f"{text} ({number})")
        else:
            read_as.append(f"{text} → {found} ({number})")
    lines["highway"] = np.array([*meant, None], dtype=object)[codes]
    missing = int(lines["highway"].isna().sum())
    told = []
    if read_as:
        told.append(finding("roads.class_read", file=file, field="highway", words=_listed(read_as)))
    if strange:
        listed = _listed(strange)
        told.append(finding("roads.class_unknown", file=file, field="highway", words=listed))
    if missing:
        told.append(finding("roads.no_class", file=file, field="highway", count=missing))
    return told


def _listed(values: Sequence[str], number: int | None = None) -> str:
    """Give the first of some values, and how many more there are.

    Parameters
    ----------
    number : int, optional
        How many there are, where `values` are only the first.
    """
    number = len(values) if number is None else number
    texts, length = [], 0
    for value in values[:_NAMED_PLACES]:
        text = shown(value)
        length += len(text) + 2
        if length > _LIST_LENGTH:
            break
        texts.append(text)
    more = [f"… +{number - len(texts):,}"] if number > len(texts) else []
    return ", ".join([*texts, *more])


def _from_lines(
    lines: gpd.GeoDataFrame,
    findings: list[Finding],
    file: str,
    read: int,
    *,
    crs: Any,
    tolerance_m: float | None,
) -> RoadNetwork:
    """Make a network of lines, noded with a tolerance or, where it is None, as they are drawn."""
    coords, which = shapely.get_coordinates(np.asarray(lines.geometry.array), return_index=True)
    line = which.astype(np.int64)
    ways, row = pd.DataFrame(lines.drop(columns="geometry")), lines["row"].to_numpy()
    if tolerance_m is None:
        key = vertex_keys(coords)
        same = duplicate_lines(line, key)
    else:
        # What is not built meets nothing.
        built = ~ways["highway"].isin(_NOT_BUILT).to_numpy()
        if not built.any():
            raise InputError(f"{file}: there is no built road in it")
        kept = built[line]
        ways_kept, rows_kept = ways[built].reset_index(drop=True), row[built]
        if not built.all():
            findings.append(_left_out(built, file))
            coords, line = coords[kept], (np.cumsum(built) - 1)[line[kept]]
        ways, row = ways_kept, rows_kept
        same = duplicate_lines(line, vertex_keys(coords))
        noded = node_lines(
            coords,
            line,
            level=_levels(ways),
            controlled=ways["highway"].isin(_MOTORWAYS).to_numpy(),
            snap_tolerance_m=tolerance_m,
            metres_per_unit=_metres_per_unit(lines.crs, coords),
        )
        coords, line, key = noded.coords, noded.line, noded.key
        findings += _noding_findings(noded, row, file, lines.crs)
    findings += _duplicate_findings(same, row, file)
    return network_from_ways(
        coords,
        line,
        key,
        ways,
        lines.crs,
        tuple(asdict(each) for each in findings),
        read,
        crs=crs,
        source=file,
    )


def _levels(ways: pd.DataFrame) -> NDArray[np.int64]:
    """Give the height order of each way."""
    level = np.zeros(len(ways))
    if "layer" in ways:
        level = np.nan_to_num(ways["layer"].to_numpy(dtype=float))
    for name, no, usual in (("tunnel", _NO_TUNNEL, -1), ("bridge", _NO, 1)):
        if name in ways:
            level[_says_yes(ways[name], no) & (level == 0)] = usual
    return level.astype(np.int64)


def _says_yes(values: pd.Series, no: frozenset[str]) -> NDArray[np.bool_]:
    codes, words = pd.factorize(values)
    return np.array([*(_word(word) not in no for word in words), False])[codes]


def _word(value: Any) -> str:
    """Give a value as a lower-case word; 1.0, a whole number that had blanks beside it, as 1."""
    text = str(value).strip().lower()
    return text.removesuffix(".0")


def _metres_per_unit(crs: pyproj.CRS, coords: NDArray[np.float64]) -> tuple[float, float]:
    """Give the metres of one unit along x and y, in the middle of the layer."""
    if not crs.is_geographic:
        unit = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
        return unit, unit
    x, y = (coords.min(axis=0) + coords.max(axis=0)) / 2
    step, geod = 1e-4, crs.get_geod()
    east = geod.inv(x, y, x + step, y)[2] / step
    north = geod.inv(x, y - step / 2, x, y + step / 2)[2] / step
    return max(float(east), 1e-3), float(north)


def _noding_findings(
    noded: Noded, row: NDArray[np.int64], file: str, crs: pyproj.CRS
) -> list[Finding]:
    """Say what was joined and what was not, with rows and places."""
    digits = 7 if crs.is_geographic else 3

    def places(table: pd.DataFrame) -> list[str]:
        first = table.head(_NAMED_PLACES)
        return [f"({x:.{digits}f}, {y:.{digits}f})" for x, y in zip(first.x, first.y, strict=True)]

    def rows(table: pd.DataFrame, name: str) -> NDArray[np.int64]:
        return row[table[name].to_numpy(dtype=np.int64)]

    findings = []
    is_gap = noded.joins["rule"] == "gap"
    for code, table in (
        ("roads.joined", noded.joins[~is_gap]),
        ("roads.gap_closed", noded.joins[is_gap]),
    ):
        gaps = [f"{gap:.2f}" for gap in table["gap_m"].head(_NAMED_PLACES)]
        findings += _at_rows(
            code,
            rows(table, "line"),
            file,
            field="geometry",
            values=places(table),
            by_row={"other": rows(table, "other").tolist(), "gap": gaps},
        )
    apart = noded.apart
    if len(apart):
        # Nothing was changed there: one finding that shows where to look.
        pairs = zip(rows(apart, "line"), rows(apart, "other"), places(apart), strict=False)
        listed = [f"{one} × {other} {place}" for one, other, place in pairs]
        findings.append(
            finding(
                "roads.apart",
                file=file,
                field="geometry",
                count=f"{len(apart):,}",
                places=_listed(listed, len(apart)),
            )
        )
    return findings


def _duplicate_findings(
    same: NDArray[np.int64], row: NDArray[np.int64], file: str
) -> list[Finding]:
    copies = np.flatnonzero(same >= 0)
    if copies.size == 0:
        return []
    pairs = [f"{row[same[each]]} = {row[each]}" for each in copies[:_NAMED_PLACES].tolist()]
    listed = _listed(pairs, copies.size)
    return [finding("roads.drawn_twice", file=file, field="geometry", pairs=listed)]


def _length_findings(
    ways: pd.DataFrame, drawn_m: NDArray[np.float64], source: str
) -> list[Finding]:
    """Compare stated with drawn lengths, by way."""
    if "length_m" not in ways:
        return []
    stated, _ = _as_numbers(ways["length_m"])
    row = ways["row"].to_numpy() if "row" in ways else np.arange(1, len(ways) + 1)
    drawn_m = np.bincount(row, weights=drawn_m).astype(float)[row]  # all parts of a row
    far = np.abs(stated - drawn_m) > _LENGTH_SHARE * np.maximum(stated, drawn_m)
    off = np.flatnonzero(far & ~pd.Series(row).duplicated().to_numpy())
    if off.size == 0:
        return []
    rows = [f"{row[at]}: {stated[at]:g} / {drawn_m[at]:.1f}" for at in off[:_NAMED_PLACES].tolist()]
    return [
        finding(
            "roads.length_differs",
            file=source,
            field="length_m",
            share=f"{_LENGTH_SHARE:.0%}",
            rows=_listed(rows, off.size),
        )
    ]


def _left_out(built: NDArray[np.bool_], source: str) -> Finding:
    count = int((~built).sum())
    return finding("roads.not_built", file=source, field="highway", count=count)


def _direction(
    ways: pd.DataFrame, source: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[Finding]]:
    """Give by way: vehicles only one way; that way is against the drawing; odd values."""
    if "oneway" not in ways:
        none = np.zeros(len(ways), dtype=bool)
        return none, none, []
    codes, given = pd.factorize(ways["oneway"])
    words = [_word(word) for word in given]
    # Geofabrik's layers say B (both), F (forward) and T (against the drawing).
    forward, against = ({"f"}, {"t"}) if "b" in words else (_ONE_WAY, _ONE_WAY_BACKWARD)
    backward = np.array([*(word in against for word in words), False])[codes]
    one_way = np.array([*(word in forward for word in words), False])[codes] | backward
    count = np.bincount(codes[codes >= 0], minlength=len(given))
    strange = [
        f"{word} ({number})"
        for word, number in zip(words, count.tolist(), strict=True)
        if word not in {*forward, *against, *_NO, "b", "双向", "reversible", "alternating"}
    ]
    if not strange:
        return one_way, backward, []
    odd = finding("roads.oneway", file=source, field="oneway", words=_listed(strange))
    return one_way, backward, [odd]


def network_from_ways(
    coords: NDArray[np.float64],
    way: NDArray[np.int64],
    key: NDArray[np.int64],
    ways: pd.DataFrame,
    source_crs: pyproj.CRS,
    findings: tuple[dict[str, Any], ...],
    read: int,
    *,
    crs: Any,
    source: str,
) -> RoadNetwork:
    """Split ways at shared vertices and compile them.

    Parameters
    ----------
    coords : ndarray of float, shape (n_vertices, 2)
        Vertices of all ways, one way after the other, in `source_crs`.
    way : ndarray of int, shape (n_vertices,)
        Which way each vertex belongs to, ascending.
    key : ndarray of int, shape (n_vertices,)
        What identifies a vertex: ways meet where they share a key.
    ways : pandas.DataFrame
        Attributes of each way; ways of one `row` (else `osmid`) are parts of one.
    source_crs : pyproj.CRS
        Of the vertices.
    findings : tuple of dict
        What was noticed so far.
    read : int
        How many lines or ways the source holds.
    crs : optional
        The metric CRS to work in.
    source : str
        Name of the source.
    """
    built = ~ways["highway"].isin(_NOT_BUILT).to_numpy()
    if not built.all():
        findings = (*findings, asdict(_left_out(built, source)))
        kept = built[way]
        coords, key = coords[kept], key[kept]
        way = (np.cumsum(built) - 1)[way[kept]]
        ways = ways[built].reset_index(drop=True)
    if len(way) == 0:
        raise InputError(f"{source}: there is no road in it")

    starts = np.flatnonzero(np.r_[True, way[1:] != way[:-1]])
    ends = np.r_[starts[1:] - 1, len(way) - 1]
    vertex, vertex_ids = pd.factorize(key)
    is_node = np.bincount(vertex)[vertex] > 1
    is_node[starts] = True
    is_node[ends] = True
    cuts = np.flatnonzero(is_node)
    same_way = way[cuts[1:]] == way[cuts[:-1]]
    first, last = cuts[:-1][same_way], cuts[1:][same_way]

    xy, target = _in_metres(coords, source_crs, crs)

    # One gather for all pieces: vertices first[i] … last[i], ends shared by neighbours.
    count = last - first + 1
    piece = np.repeat(np.arange(count.size), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    gather = first[piece] + offset
    lines = shapely.linestrings(xy[gather], indices=piece)
    step = _step_lengths(coords, xy, source_crs)
    length = np.add.reduceat(
        np.r_[step, 0.0][gather] * (gather < last[piece]), np.cumsum(count) - count
    )

    drawn_m = np.bincount(way[first], weights=length, minlength=len(ways)).astype(float)
    findings = (
        *findings,
        *(asdict(each) for each in _length_findings(ways, drawn_m, source)),
    )

    used, where, node = np.unique(vertex[cuts], return_index=True, return_inverse=True)
    node_at = np.full(len(way), -1, dtype=np.int64)
    node_at[cuts] = node
    nodes = pd.DataFrame(
        {"node_id": vertex_ids[used], "x": xy[cuts[where], 0], "y": xy[cuts[where], 1]}
    )

    one_way, backward, odd = _direction(ways, source)
    findings = (*findings, *(asdict(each) for each in odd))
    of_way = way[first]
    flip = backward[of_way]
    u, v = node_at[first], node_at[last]
    lines[flip] = shapely.reverse(lines[flip])
    kept = [c for c in ways if c in _ROAD_COLUMNS and c not in {"oneway", "length_m"}]
    attributes = ways[kept].take(of_way).reset_index(drop=True)
    if "oneway_bicycle" in attributes and flip.any():
        # It speaks of the way as drawn, too.
        turned = attributes["oneway_bicycle"].replace({"yes": "-1", "-1": "yes"})
        attributes["oneway_bicycle"] = attributes["oneway_bicycle"].where(~flip, turned)
    edges = gpd.GeoDataFrame(
        {
            "u": np.where(flip, v, u),
            "v": np.where(flip, u, v),
            "length_m": length,
            "oneway": one_way[of_way],
            **{name: attributes[name] for name in attributes},
        },
        geometry=lines,
        crs=target,
    )
    accepted = ways["row" if "row" in ways else "osmid"].nunique()
    rows = row_counts(source, read, accepted, source_crs)
    return RoadNetwork(edges, nodes, source=source, findings=findings, rows=rows)


def _in_metres(
    coords: NDArray[np.float64], source_crs: pyproj.CRS, crs: Any
) -> tuple[NDArray[np.float64], pyproj.CRS]:
    """Give vertices in the metric CRS that was asked for, or that fits them best."""
    if crs is not None:
        target = pyproj.CRS.from_user_input(crs)
    else:
        low, high = coords.min(axis=0), coords.max(axis=0)
        target = metric_crs(source_crs, (low[0], low[1], high[0], high[1]))
    if target == source_crs:
        return coords, target
    transform = pyproj.Transformer.from_crs(source_crs, target, always_xy=True).transform
    return np.column_stack(transform(coords[:, 0], coords[:, 1])), target


def _step_lengths(
    coords: NDArray[np.float64], xy: NDArray[np.float64], crs: pyproj.CRS
) -> NDArray[np.float64]:
    """Give metres from each vertex to the next: geodesic for degrees, planar for metres."""
    if crs.is_geographic:
        geod = crs.get_geod()
        _, _, step = geod.inv(coords[:-1, 0], coords[:-1, 1], coords[1:, 0], coords[1:, 1])
        return np.asarray(step)
    return np.asarray(np.hypot(*np.diff(xy, axis=0).T))
