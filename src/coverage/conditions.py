"""What changes a road network before it is searched: closures, and the slope of the ground."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, laplacian
from scipy.sparse.linalg import spsolve

from .errors import Finding, InputError, NoCrsError
from .intake import catalogue, finding
from .network import RoadNetwork
from .rasters import open_raster

__all__ = ["add_elevation", "close_roads", "new_node_ids"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Shapes = NDArray[np.object_]

# Shorter pieces come of rounding, where a closure's edge runs through a junction.
_LEAST_PIECE_M = 1e-3
# OSM's keys that could open a road again that `access` closes.
_ACCESS_KEYS = (
    "foot",
    "horse",
    "bicycle",
    "vehicle",
    "motor_vehicle",
    "motorcar",
    "motorcycle",
    "moped",
    "psv",
    "bus",
    "hgv",
)
_COLLECTION = 7  # shapely's type number
_MOST_VERTICES = 256
_MOST_HALVINGS = 32

# Rasters say little about shorter steps than this but their own noise.
_LEAST_STEP_M = 30.0
_TILE = 2048
_STEEPEST = 1.0
# From below the Dead Sea's shore to above Everest.
_LOWEST_M, _HIGHEST_M = -500.0, 9000.0
_METRES_PER_UNIT = {
    "m": 1.0,
    "metre": 1.0,
    "metres": 1.0,
    "meter": 1.0,
    "meters": 1.0,
    "ft": 0.3048,
    "foot": 0.3048,
    "feet": 0.3048,
    "us-ft": 1200 / 3937,
    "us survey foot": 1200 / 3937,
    "cm": 0.01,
    "dm": 0.1,
}
_ABSENT = frozenset({"", "no", "false", "0", "none", "nan", "否", "无"})


def close_roads(
    roads: RoadNetwork, closures: gpd.GeoDataFrame | gpd.GeoSeries, *, width_m: float = 5.0
) -> RoadNetwork:
    """Close roads where a layer of closures lies on them: a landslide, a lost bridge, winter.

    Parameters
    ----------
    roads : RoadNetwork
        Stays as it is.
    closures : GeoDataFrame or GeoSeries
        Polygons, lines or points in any CRS, one row a closure.
    width_m : float, default 5.0
        How near, in metres, a road must come to a line or point to be closed by it.

    Returns
    -------
    RoadNetwork
        The parts of edges inside a polygon, or within `width_m` of a line or point, are edges of
        their own that no mode may use: `access` is ``"no"``, every more particular key (`foot`,
        `bicycle`, …) is missing, and `closed_by` holds the label of the first closure in the
        index that closes them. The rest of a road stays open up to the cut, so homes on either
        side keep their side. Pieces keep the direction, the place in the order and the columns of
        their edge; `length_m` and `climb_m` are shared out by drawn length. New nodes stand at
        the cuts, with `node_id` -1, -2, … (below the lowest) where the ids are integers and
        ``"cut-0"``, ``"cut-1"``, … where they are not; other columns of `nodes` are missing
        there. `findings` says what each closure closed, and warns of those that meet no road.

    Raises
    ------
    NoCrsError
        Where the closures have no CRS.
    InputError
        Where a closure's geometry is invalid (all such rows are listed), or `width_m` is not a
        length.

    See Also
    --------
    add_elevation : Slopes; pieces of an edge inherit those of the whole, so add elevations
        after closing where the difference matters.

    Notes
    -----
    A closure is a closed set: a road along a polygon's border is closed, one that only touches it
    in a point is not. Pieces under a millimetre are taken for rounding.

    Examples
    --------
    A landslide 300 m across on the longest road of the sample county:

    >>> import facility_coverage as fc
    >>> from facility_coverage.conditions import close_roads
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> longest = roads.edges.loc[[roads.edges["length_m"].idxmax()]]
    >>> landslide = longest.interpolate(0.5, normalized=True).buffer(150)
    >>> after = close_roads(roads, landslide)
    >>> shut = after.edges["closed_by"].notna()
    >>> len(after.edges) - len(roads.edges), after.edges.loc[shut, "access"].unique().tolist()
    (2, ['no'])
    >>> after.findings[-1]["rule"]
    'closed roads carry nobody'
    """
    if not 0 < width_m < np.inf:
        raise InputError(f"width_m must be a length in metres above 0, not {width_m!r}")
    if closures.crs is None:
        raise NoCrsError(
            "the closures have no CRS: set the one they were drawn in, e.g. "
            "closures.set_crs('EPSG:4490')"
        )
    _refuse_invalid(closures)
    lines = np.asarray(roads.edges.geometry.array)
    shapes = np.asarray(closures.geometry.to_crs(roads.crs).array)
    tree = shapely.STRtree(lines)
    areas, of_area = _closed_areas(shapes, width_m)
    runs = _closed_runs(lines, tree, areas, of_area)
    pieces, hits = _pieces(runs, shapely.length(lines))
    findings = _what_was_closed(roads, closures, shapes, tree, hits)
    if (pieces["closure"] < 0).all():
        return roads.with_edges(roads.edges, findings=findings)
    return _cut(roads, lines, pieces, _labels(closures.index), findings)


def _labels(index: pd.Index) -> Shapes:
    """Give the labels as an array of objects, tuples of a MultiIndex included."""
    labels = np.empty(len(index), dtype=object)
    for row, label in enumerate(index.tolist()):
        labels[row] = label
    return labels


def _refuse_invalid(closures: gpd.GeoDataFrame | gpd.GeoSeries) -> None:
    shapes = np.asarray(closures.geometry.array)
    wrong = ~shapely.is_missing(shapes) & ~shapely.is_valid(shapes)
    if wrong.any():
        raise InputError(
            "closures need valid geometries",
            [
                finding(
                    "closures.invalid",
                    row=row + 1,
                    field="geometry",
                    label=closures.index[row],
                    **why_invalid(shapes[row]),
                )
                for row in np.flatnonzero(wrong).tolist()
            ],
        )


def why_invalid(shape: shapely.Geometry) -> dict[str, Any]:
    """Give the place and the reason, in both languages, of what is wrong with a drawing.

    Examples
    --------
    >>> why_invalid(shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)]))
    {'value': '4.5 4.5', 'reason_en': 'Self-intersection', 'reason_zh': '边界自相交'}
    """
    reason, _, place = str(shapely.is_valid_reason(shape)).partition("[")
    words = catalogue()["boundary.invalid"]["reasons"]
    return {
        "value": place.removesuffix("]"),
        "reason_en": reason,
        "reason_zh": words.get(reason, reason),
    }


def _closed_areas(shapes: Shapes, width_m: float) -> tuple[Shapes, Integers]:
    """Give the areas that closures close, and the position of the closure each belongs to."""
    parts, row = shapes, np.arange(len(shapes))
    while (shapely.get_type_id(parts) == _COLLECTION).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        row = row[inner]
    # A place its CRS cannot hold comes out infinite when transformed.
    sound = np.isfinite(shapely.bounds(parts)).all(axis=1)
    parts, row = parts[sound], row[sound]
    thin = shapely.get_dimensions(parts) < 2  # noqa: PLR2004 - points are 0, lines 1, areas 2
    areas = parts.copy()
    areas[thin] = shapely.buffer(parts[thin], width_m, quad_segs=32)
    return areas, row


def _measured(lines: Shapes) -> tuple[Floats, Integers, Floats]:
    """Give the vertices of lines, the line of each, and metres to it over all lines in a row."""
    coords, line = shapely.get_coordinates(lines, return_index=True)
    step = np.zeros(len(coords))
    step[1:] = np.hypot(*np.diff(coords, axis=0).T) * (line[1:] == line[:-1])
    return coords, line, np.cumsum(step)


def _closed_runs(
    lines: Shapes, tree: shapely.STRtree, areas: Shapes, of_area: Integers
) -> pd.DataFrame:
    """Find from where to where each edge is closed.

    Segment by segment, so that a line that crosses itself or closes on itself is no special case.

    Returns
    -------
    DataFrame
        `edge`, `closure` (positions), `start`, `end` (metres along the drawn line).
    """
    shapely.prepare(areas)
    area, edge = tree.query(areas, predicate="intersects")
    whole = shapely.covers(areas[area], lines[edge])
    runs = pd.DataFrame(
        {
            "edge": edge[whole],
            "closure": of_area[area[whole]],
            "start": 0.0,
            "end": shapely.length(lines[edge[whole]]),
        }
    )
    cut = np.unique(edge[~whole])
    coords, line, at = _measured(lines[cut])
    tail = np.flatnonzero((line[1:] == line[:-1]) & (at[1:] > at[:-1]))
    segments = shapely.linestrings(np.stack([coords[tail], coords[tail + 1]], axis=1))
    partial = np.unique(area[~whole])
    small, of_small = _subdivided(areas[partial], of_area[partial])
    part, segment = shapely.STRtree(segments).query(small, predicate="intersects")
    inside, which = shapely.get_parts(
        shapely.intersection(segments[segment], small[part]), return_index=True
    )
    corner, of_inside = shapely.get_coordinates(inside, return_index=True)
    start = tail[segment[which[of_inside]]]
    along = coords[start + 1] - coords[start]
    share = ((corner - coords[start]) * along).sum(axis=1) / (along * along).sum(axis=1)
    before = at[start] - at[np.searchsorted(line, line[start])]
    place = before + np.clip(share, 0, 1) * (at[start + 1] - at[start])
    pieces = pd.DataFrame(
        {
            "inside": of_inside,
            "edge": cut[line[start]],
            "closure": of_small[part[which[of_inside]]],
            "place": place,
        }
    )
    pieces = pieces.groupby(["edge", "closure", "inside"])["place"].agg(["min", "max"])
    pieces = pieces.reset_index().sort_values(["edge", "closure", "min"], ignore_index=True)
    # What goes on over a bend of the road is one run: pieces are found from pairs of runs.
    same = ["edge", "closure"]
    reached = pieces.groupby(same)["max"].cummax().groupby([pieces[name] for name in same]).shift()
    begins = ~(pieces["min"] <= reached + _LEAST_PIECE_M)
    joined = pieces.groupby(begins.cumsum()).agg(
        edge=("edge", "first"),
        closure=("closure", "first"),
        start=("min", "first"),
        end=("max", "max"),
    )
    tables = [table for table in (runs, joined) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else runs


def _subdivided(areas: Shapes, row: Integers) -> tuple[Shapes, Integers]:
    """Halve areas of many vertices until each is cheap to intersect with a short line."""
    for _ in range(_MOST_HALVINGS):
        large = shapely.get_num_coordinates(areas) > _MOST_VERTICES
        if not large.any():
            break
        west, south, east, north = shapely.bounds(areas[large]).T
        wide = east - west > north - south
        x, y = (west + east) / 2, (south + north) / 2
        boxes = np.concatenate(
            [
                shapely.box(west, south, np.where(wide, x, east), np.where(wide, north, y)),
                shapely.box(np.where(wide, x, west), np.where(wide, south, y), east, north),
            ]
        )
        halves, which = shapely.get_parts(
            shapely.intersection(np.tile(areas[large], 2), boxes), return_index=True
        )
        solid = shapely.get_dimensions(halves) == 2  # noqa: PLR2004 - areas have 2
        areas = np.concatenate([areas[~large], halves[solid]])
        row = np.concatenate([row[~large], np.tile(row[large], 2)[which[solid]]])
    return areas, row


def _pieces(runs: pd.DataFrame, length: Floats) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut edges into open and closed pieces.

    Returns
    -------
    pieces : DataFrame
        `edge`, `start`, `end`, `closure` (-1 where open), in order, for each edge met.
    hits : DataFrame
        `edge`, `closure`, `start`, `end`: what each closure closes, overlaps with others included.
    """
    met = np.unique(runs["edge"])
    cuts = pd.DataFrame(
        {
            "edge": np.r_[met, met, runs["edge"], runs["edge"]],
            "at": np.r_[np.zeros(met.size), length[met], runs["start"], runs["end"]],
        }
    )
    cuts["at"] = np.clip(cuts["at"], 0.0, length[cuts["edge"]])
    cuts = cuts.sort_values(["edge", "at"], ignore_index=True)
    apart = (cuts["edge"].diff() > 0) | (cuts["at"].diff() > _LEAST_PIECE_M)
    place = cuts.groupby(apart.cumsum())
    edge = place["edge"].first().to_numpy()
    low, high = place["at"].min().to_numpy(), place["at"].max().to_numpy()
    # The ends of the edge are kept to the bit.
    ends = high >= length[edge]
    at = np.where(ends, length[edge], low)
    begins = np.r_[True, np.diff(edge) > 0][: edge.size]
    short = begins & ends
    starts = np.flatnonzero(~ends | short)
    pieces = pd.DataFrame(
        {
            "edge": edge[starts],
            "start": np.where(begins, 0.0, at)[starts],
            "end": at[np.where(short, np.arange(edge.size), np.arange(edge.size) + 1)[starts]],
        }
    )
    hits = pieces.reset_index(names="piece").merge(
        runs.rename(columns={"start": "from", "end": "to"}), on="edge"
    )
    middle = (hits["start"] + hits["end"]) / 2
    hits = hits[(hits["from"] <= middle) & (middle <= hits["to"])]
    hits = hits.drop_duplicates(["piece", "closure"])
    closure = hits.groupby("piece")["closure"].min()
    pieces["closure"] = closure.reindex(pieces.index, fill_value=-1).astype(np.int64)
    # Neighbours closed by the same closure, or both open, are one piece.
    new = (pieces["edge"].diff() != 0) | (pieces["closure"].diff() != 0)
    joined = pieces.groupby(new.cumsum()).agg(
        edge=("edge", "first"),
        start=("start", "first"),
        end=("end", "last"),
        closure=("closure", "first"),
    )
    return joined.reset_index(drop=True), hits[["edge", "closure", "start", "end"]]


def _what_was_closed(
    roads: RoadNetwork,
    closures: gpd.GeoDataFrame | gpd.GeoSeries,
    shapes: Shapes,
    tree: shapely.STRtree,
    hits: pd.DataFrame,
) -> tuple[dict[str, Any], ...]:
    """Give the findings of the roads and one for every closure."""
    drawn = shapely.length(tree.geometries)
    metres = roads.edges["length_m"].to_numpy(float)
    edge = hits["edge"].to_numpy()
    share = np.ones(edge.size)
    np.divide(hits["end"] - hits["start"], drawn[edge], out=share, where=drawn[edge] > 0)
    row = hits["closure"].to_numpy()
    closed_m = np.bincount(row, weights=share * metres[edge], minlength=len(shapes))
    pairs = np.unique(np.column_stack([row, edge]), axis=0)
    n_edges = np.bincount(pairs[:, 0], minlength=len(shapes))

    sound = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    away = np.full(len(shapes), np.inf)
    asked = np.flatnonzero(sound & (n_edges == 0))
    if asked.size:
        (which, _), distance = tree.query_nearest(
            shapes[asked], return_distance=True, all_matches=False
        )
        away[asked[which]] = distance

    found = []
    if closures.crs != roads.crs:
        found.append(
            finding(
                "closures.transformed",
                file=roads.source,
                field="closures",
                given=closures.crs.to_string(),
                used=roads.crs.to_string(),
            )
        )
    for position, label in enumerate(closures.index.tolist()):
        shape = shapes[position]
        if n_edges[position]:
            code = "closures.closed"
        elif shapely.is_missing(shape) or shapely.is_empty(shape):
            code = "closures.no_geometry"
        else:
            code = "closures.off_road" if sound[position] else "closures.outside_crs"
        found.append(
            finding(
                code,
                file=roads.source,
                row=position + 1,
                field="closures",
                value=str(label),
                edges=f"{n_edges[position]:,}",
                metres=f"{closed_m[position]:,.0f}",
                away=f"{away[position]:,.1f}",
                crs=closures.crs.to_string(),
            )
        )
    return (*roads.findings, *(asdict(each) for each in found))


def _cut(
    roads: RoadNetwork,
    lines: Shapes,
    pieces: pd.DataFrame,
    labels: Shapes,
    findings: tuple[dict[str, Any], ...],
) -> RoadNetwork:
    """Put the pieces in the place of their edges, with a node at every cut."""
    count = np.ones(len(lines), dtype=np.int64)
    met, count_met = np.unique(pieces["edge"], return_counts=True)
    count[met] = count_met
    whole = np.repeat(np.arange(len(lines)), count)
    edges = roads.edges.iloc[whole].reset_index(drop=True)
    row = np.flatnonzero(np.isin(whole, pieces["edge"]))  # where each piece stands

    split = count[pieces["edge"]] > 1
    later = split & (pieces["edge"].diff() == 0).to_numpy()  # begins at a cut
    earlier = np.r_[later[1:], False]  # ends at one
    shapes, xy = _cut_lines(lines, pieces[split], later[split])
    geometry = lines[whole]
    geometry[row[split]] = shapes

    u, v = edges["u"].to_numpy(np.int64).copy(), edges["v"].to_numpy(np.int64).copy()
    u[row[later]] = v[row[earlier]] = len(roads.nodes) + np.arange(len(xy))
    drawn = shapely.length(lines)[pieces["edge"]]
    share = np.ones(len(pieces))
    np.divide(pieces["end"] - pieces["start"], drawn, out=share, where=split & (drawn > 0))
    changed: dict[str, Any] = {"u": u, "v": v}
    for name in ("length_m", "climb_m"):
        if name in edges:
            changed[name] = edges[name].to_numpy(float).copy()
            changed[name][row] *= share

    closure = pieces["closure"].to_numpy()
    shut = row[closure >= 0]
    for name in ("access", "closed_by", *_ACCESS_KEYS):
        if name in edges:
            changed[name] = np.array(edges[name], dtype=object)
        elif name in {"access", "closed_by"}:
            changed[name] = np.full(len(edges), None, dtype=object)
        else:
            continue
        if name == "closed_by":
            first = pd.isna(changed[name][shut])
            changed[name][shut[first]] = labels[closure[closure >= 0]][first]
        else:
            changed[name][shut] = "no" if name == "access" else None

    edges = edges.assign(**changed).set_geometry(gpd.GeoSeries(geometry, crs=roads.crs))
    new = pd.DataFrame(
        {"node_id": new_node_ids(roads.nodes["node_id"], len(xy)), "x": xy[:, 0], "y": xy[:, 1]}
    )
    nodes = pd.concat([roads.nodes, new], ignore_index=True) if len(new) else roads.nodes
    return roads.with_edges(edges, nodes, findings=findings)


def _cut_lines(lines: Shapes, pieces: pd.DataFrame, later: Flags) -> tuple[Shapes, Floats]:
    """Give the lines of pieces, all of lines that are cut, and where the cuts are.

    Parameters
    ----------
    pieces : DataFrame
        `edge`, `start`, `end`, by edge and in order along it.
    later : ndarray of bool
        By piece, whether it begins at a cut rather than at the beginning of its edge.
    """
    cut, of_piece = np.unique(pieces["edge"], return_inverse=True)
    if cut.size == 0:
        return np.empty(0, dtype=object), np.empty((0, 2))
    coords, line, at = _measured(lines[cut])
    first = np.searchsorted(line, np.arange(cut.size))
    place = at[first[of_piece[later]]] + pieces["start"].to_numpy()[later]
    xy = np.column_stack([np.interp(place, at, coords[:, axis]) for axis in (0, 1)])
    before = np.searchsorted(at, place, side="right")
    is_end = np.r_[True, np.diff(line) > 0] | np.r_[np.diff(line) > 0, True]
    coords = np.insert(coords, before, xy, axis=0)
    line = np.insert(line, before, of_piece[later])
    stops = np.flatnonzero(np.insert(is_end, before, np.ones(len(xy), dtype=bool)))
    start, stop = stops[:-1], stops[1:]
    same = line[start] == line[stop]
    start, stop = start[same], stop[same]
    size = stop - start + 1
    piece = np.repeat(np.arange(size.size), size)
    vertex = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + start[piece]
    return shapely.linestrings(coords[vertex], indices=piece), xy


def new_node_ids(ids: pd.Series, count: int) -> Any:
    """Name nodes as no other is named: integers below zero, as OSM editors do, else words."""
    if pd.api.types.is_signed_integer_dtype(ids):
        return min(int(ids.min()), 0) - 1 - np.arange(count)
    taken = ids.astype(str).str.extract(r"^cut-(\d{1,15})$")[0].dropna().astype(np.int64)
    start = int(taken.max()) + 1 if len(taken) else 0
    return np.array([f"cut-{number}" for number in range(start, start + count)], dtype=object)


def add_elevation(
    roads: RoadNetwork,
    source: str | Path | pd.Series | ArrayLike,
    *,
    band: int = 1,
    step_m: float | None = None,
) -> RoadNetwork:
    """Give roads their slope: from an elevation raster, or from elevations of their nodes.

    Parameters
    ----------
    roads : RoadNetwork
        Stays as it is.
    source : path, Series or array
        A raster with elevations (GeoTIFF or whatever GDAL reads; needs the extra ``elevation``);
        or elevations in metres by node: a Series whose index holds `node_id`, or an array in the
        order of `roads.nodes`. Missing values are unknown elevations.
    band : int, default 1
        Which band of the raster.
    step_m : float, optional
        Metres between the places where the raster is read along a road. By default the size of
        its cells, and at least 30 m. Longer steps smooth a noisy raster.

    Returns
    -------
    RoadNetwork
        `nodes` with `elevation_m`, and `edges` with

        - `slope_forward`, `slope_backward`: minutes from u to v and from v to u, divided by
          those on the flat;
        - `climb_m`: metres climbed from u to v (missing where not known);
        - `elevation_known`: whether the whole edge lies on known ground.

        Columns of these names are replaced. What lies on unknown ground counts as flat (1.0).

    Raises
    ------
    MissingDependencyError
        Where a raster is given and rasterio is not installed.
    MissingInputError, NoCrsError, InputError
        Where the raster is not there, cannot be read, says no CRS or does not cover the roads;
        where elevations of nodes do not fit the nodes.

    Notes
    -----
    By Tobler's hiking function, speed falls with ``exp(-3.5 |S + 0.05|)``, where S is the rise
    over the run in the direction travelled; scaled so that the flat is 1, minutes grow by
    ``exp(3.5 (|S + 0.05| - 0.05))``. They are least (0.84) at 5 % downhill. An edge has the mean
    of its equal steps, read bilinearly; a road is not taken to be flat because its ends are level.

    Bridges and tunnels (columns `bridge`, `tunnel`) run straight between their ends, not over the
    ground below; where several follow each other, the nodes between them lie on that line too.
    Slopes above 100 % count as 100 %, elevations outside -500 … 9,000 m as unknown. The surface
    of a raster is noisy: errors of 5 m between cells 30 m apart are slopes of 17 %, on a road
    that may be level.

    References
    ----------
    .. [1] Tobler, W. (1993). Three presentations on geographical analysis and modeling.
       NCGIA Technical Report 93-1.

    Examples
    --------
    The sample county, were it a plane that rises 5 m in 100 m to the east:

    >>> import facility_coverage as fc
    >>> from facility_coverage.conditions import add_elevation
    >>> roads = fc.read_roads(fc.sample_county().roads)
    >>> east_m = roads.nodes["x"] - roads.nodes["x"].min()
    >>> sloped = add_elevation(roads, 0.05 * east_m.to_numpy())
    >>> sloped.edges[["slope_forward", "slope_backward"]].min().round(2).tolist()
    [0.84, 0.84]
    """
    if not isinstance(source, str | Path):
        if step_m is not None:
            raise InputError("step_m is for a raster: elevations of nodes have one step an edge")
        elevation, notes = _node_elevations(roads, source)
        steps = np.ones(len(roads.edges), dtype=np.int64)
        return _with_slopes(roads, elevation, steps, np.empty(0), notes)
    if step_m is not None and not 0 < step_m < np.inf:
        raise InputError(f"step_m must be a length in metres above 0, not {step_m!r}")

    lines = np.asarray(roads.edges.geometry.array)
    structure = _is_structure(roads.edges)
    with _open_elevation(Path(source), band) as raster:
        cell_m = _cell_size(raster, roads)
        step_m = step_m or max(cell_m, _LEAST_STEP_M)
        steps = np.maximum(np.ceil(shapely.length(lines) / step_m), 1).astype(np.int64)
        steps[structure] = 1
        xy = np.concatenate([roads.nodes[["x", "y"]].to_numpy(float), _between(lines, steps)])
        elevation, notes = _sample(raster, xy, roads.crs, band=band, file=Path(source).name)
    notes = [
        finding(
            "elevation.raster",
            file=Path(source).name,
            field="elevation_m",
            cell=f"{cell_m:,.1f}",
            step=f"{step_m:,.1f}",
            count=f"{int(structure.sum()):,}",
        ),
        *notes,
    ]
    ground = elevation[: len(roads.nodes)]
    nodes = _node_elevations_on_structures(roads, structure, ground)
    return _with_slopes(roads, nodes, steps, elevation[len(nodes) :], notes)


def _is_structure(edges: gpd.GeoDataFrame) -> Flags:
    """Tell which edges are bridges or tunnels."""
    found = np.zeros(len(edges), dtype=bool)
    for name in ("bridge", "tunnel"):
        if name in edges:
            codes, words = pd.factorize(edges[name])
            said = [str(word).strip().lower() not in _ABSENT for word in words]
            found |= np.array([*said, False], dtype=bool)[codes]
    return found


def _between(lines: Shapes, steps: Integers) -> Floats:
    """Give the places that divide each line into equal steps, its ends left out."""
    coords, line, at = _measured(lines)
    first = np.searchsorted(line, np.arange(len(lines)))
    length = at[np.r_[first[1:], len(line)] - 1] - at[first]
    inner = steps - 1
    edge = np.repeat(np.arange(len(lines)), inner)
    number = np.arange(inner.sum()) - np.repeat(np.cumsum(inner) - inner, inner) + 1
    place = at[first[edge]] + length[edge] * number / steps[edge]
    return np.column_stack([np.interp(place, at, coords[:, axis]) for axis in (0, 1)])


def _node_elevations(
    roads: RoadNetwork, source: pd.Series | ArrayLike
) -> tuple[Floats, list[Finding]]:
    """Give elevations in the order of the nodes, NaN where unknown."""
    ids = roads.nodes["node_id"]
    if isinstance(source, pd.Series):
        if not source.index.is_unique:
            twice = source.index[source.index.duplicated()].unique()[:5].tolist()
            raise InputError(f"elevations are given twice for nodes {twice}; give each node once")
        common = source.index.isin(ids)
        if not common.any():
            raise InputError(
                f"no elevation is for a node of the roads: the index holds "
                f"{source.index[:3].tolist()}, node_id {ids[:3].tolist()}"
            )
        given = source.reindex(ids)
    else:
        given = pd.Series(source)
        if len(given) != len(ids):
            raise InputError(
                f"{len(given):,} elevations for {len(ids):,} nodes: give an array in the order of "
                "roads.nodes, or a Series whose index holds node_id"
            )
    number = pd.to_numeric(given, errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(np.isnan(number) & given.notna().to_numpy())
    if wrong.size:
        # By the row of what was given: numbers of nodes may look like telephones and be masked.
        rows = wrong
        if isinstance(source, pd.Series):
            rows = source.index.get_indexer(ids.iloc[wrong])
        raise InputError(
            "elevations must be numbers in metres",
            [
                finding(
                    "elevation.not_a_number",
                    row=row + 1,
                    field="elevation_m",
                    value=str(given.iloc[position]),
                    node=ids.iloc[position],
                )
                for row, position in zip(rows.tolist(), wrong.tolist(), strict=True)
            ],
        )
    number, count = _plausible(number)
    return number, _implausible("elevation.implausible_nodes", count, roads.source)


def _plausible(elevation: Floats) -> tuple[Floats, int]:
    """Make elevations that no road on earth has unknown, and count them."""
    wrong = (elevation < _LOWEST_M) | (elevation > _HIGHEST_M)
    return np.where(wrong, np.nan, elevation), int(wrong.sum())


def _implausible(code: str, count: int, file: str) -> list[Finding]:
    found = finding(
        code,
        file=file,
        field="elevation_m",
        low=f"{_LOWEST_M:,.0f}",
        high=f"{_HIGHEST_M:,.0f}",
        count=f"{count:,}",
    )
    return [found] if count else []


@contextmanager
def _open_elevation(path: Path, band: int) -> Iterator[Any]:
    with open_raster(path, band=band, holds="elevation") as (raster, _):
        unit = (raster.units[band - 1] or "m").strip().lower()
        if unit not in _METRES_PER_UNIT:
            raise InputError(f"{path}: elevations are in {unit!r}; give a raster in metres")
        yield raster


def _to_cells(raster: Any, xy: Floats, crs: pyproj.CRS) -> tuple[Floats, Floats]:
    """Give columns and rows of places, from the outer corner of the first cell."""
    target = pyproj.CRS.from_wkt(raster.crs.to_wkt())
    try:
        transform = pyproj.Transformer.from_crs(crs, target, always_xy=True).transform
    except pyproj.exceptions.ProjError as fault:
        raise InputError(
            f"{raster.name}: there is no way from the roads' CRS {crs.to_string()} to the "
            f"raster's ({fault})"
        ) from None
    x, y = transform(xy[:, 0], xy[:, 1])
    back = ~raster.transform
    return back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f


def _is_in(raster: Any, column: Floats, row: Floats) -> Flags:
    return np.asarray(
        (column >= 0) & (column <= raster.width) & (row >= 0) & (row <= raster.height)
    )


def _cell_size(raster: Any, roads: RoadNetwork) -> float:
    """Give the longer side of a cell in metres, amid the roads; refuse a raster elsewhere."""
    xy = roads.nodes[["x", "y"]].to_numpy(float)
    column, row = _to_cells(raster, xy, roads.crs)
    inside = np.flatnonzero(_is_in(raster, column, row))
    if inside.size == 0:
        crs = pyproj.CRS.from_wkt(raster.crs.to_wkt())
        low, high = xy.min(axis=0), xy.max(axis=0)
        there = pyproj.Transformer.from_crs(roads.crs, crs, always_xy=True).transform_bounds(
            *low, *high
        )
        raise InputError(
            f"{raster.name}: the raster does not cover the roads. In {crs.to_string()[:80]} it "
            f"spans {_extent(raster.bounds)}, the roads {_extent(there)}"
        )
    at = inside[inside.size // 2]
    corner = np.array([column[at], row[at]]) + np.array([[0, 0], [1, 0], [0, 1]])
    t = raster.transform
    x = t.a * corner[:, 0] + t.b * corner[:, 1] + t.c
    y = t.d * corner[:, 0] + t.e * corner[:, 1] + t.f
    back = pyproj.Transformer.from_crs(raster.crs.to_wkt(), roads.crs, always_xy=True).transform
    east, north = back(x, y)
    return float(np.hypot(east[1:] - east[0], north[1:] - north[0]).max())


def _extent(bounds: Any) -> str:
    west, south, east, north = bounds
    return f"x {west:,.4f} … {east:,.4f}, y {south:,.4f} … {north:,.4f}"


def _sample(
    raster: Any, xy: Floats, crs: pyproj.CRS, *, band: int, file: str
) -> tuple[Floats, list[Finding]]:
    """Read a raster bilinearly, tile by tile; NaN outside it and beside cells without data."""
    column, row = _to_cells(raster, xy, crs)
    inside = np.flatnonzero(_is_in(raster, column, row))
    # From cell centre to cell centre; the outer half of the outermost cells is level.
    column = np.clip(column[inside] - 0.5, 0, raster.width - 1)
    row = np.clip(row[inside] - 0.5, 0, raster.height - 1)
    across = -(-raster.width // _TILE)
    tile = (row // _TILE).astype(np.int64) * across + (column // _TILE).astype(np.int64)
    order = np.argsort(tile, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(tile[order])) + 1) if order.size else []
    unit = (raster.units[band - 1] or "m").strip().lower()
    scale = raster.scales[band - 1] * _METRES_PER_UNIT[unit]
    offset = raster.offsets[band - 1] * _METRES_PER_UNIT[unit]

    elevation = np.full(len(xy), np.nan)
    implausible = 0
    for group in groups:
        left, top = int(column[group].min()), int(row[group].min())
        right = min(int(column[group].max()) + 2, raster.width)
        bottom = min(int(row[group].max()) + 2, raster.height)
        cells = raster.read(band, window=((top, bottom), (left, right)), masked=True)
        level, count = _plausible(cells.astype(float).filled(np.nan) * scale + offset)
        implausible += count
        elevation[inside[group]] = _bilinear(level, row[group] - top, column[group] - left)
    notes = _implausible("elevation.implausible_cells", implausible, file)
    if _METRES_PER_UNIT[unit] != 1.0:
        notes.append(finding("elevation.unit", file=file, field="elevation_m", unit=unit))
    return elevation, notes


def _bilinear(level: Floats, row: Floats, column: Floats) -> Floats:
    """Interpolate; a cell that has no weight may be unknown."""
    total = np.zeros(row.size)
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - (row - top)) * np.abs(1 - right - (column - left))
            value = level[
                np.minimum(top + down, level.shape[0] - 1),
                np.minimum(left + right, level.shape[1] - 1),
            ]
            total += np.where(weight > 0, weight * value, 0.0)
    return total


def _node_elevations_on_structures(roads: RoadNetwork, structure: Flags, ground: Floats) -> Floats:
    """Lift nodes that only bridges and tunnels meet to the straight line between the ends.

    Where structures branch, the elevation of each node is the mean of its neighbours', the nearer
    the weightier (a discrete harmonic function: on a chain, the straight line).
    """
    u, v = roads.edges["u"].to_numpy(np.int64), roads.edges["v"].to_numpy(np.int64)
    grounded = np.zeros(len(ground), dtype=bool)
    grounded[u[~structure]] = grounded[v[~structure]] = True
    known = grounded & np.isfinite(ground)
    usable = ~grounded | known
    link = structure & (u != v) & (~grounded[u] | ~grounded[v]) & usable[u] & usable[v]
    if not link.any():
        return ground
    nearness = 1 / np.maximum(roads.edges["length_m"].to_numpy(float)[link], _LEAST_PIECE_M)
    graph = coo_array(
        (np.tile(nearness, 2), (np.r_[u[link], v[link]], np.r_[v[link], u[link]])),
        shape=(ground.size, ground.size),
    ).tocsr()
    _, part = connected_components(graph, directed=False)
    # A structure that nowhere meets the ground keeps the elevations below it.
    anchored = np.bincount(part, weights=known)[part] > 0
    lifted = np.flatnonzero(~grounded & anchored)
    if lifted.size == 0:
        return ground
    ends = np.flatnonzero(known)
    balance = laplacian(graph).tocsr()[lifted]
    elevation = ground.copy()
    elevation[lifted] = spsolve(balance[:, lifted].tocsc(), -(balance[:, ends] @ ground[ends]))
    return elevation


def _with_slopes(
    roads: RoadNetwork, nodes: Floats, steps: Integers, between: Floats, notes: list[Finding]
) -> RoadNetwork:
    """Give the network with the slopes of its edges.

    Parameters
    ----------
    nodes : ndarray of float, shape (n_nodes,)
        Elevations, NaN where unknown.
    steps : ndarray of int, shape (n_edges,)
        Into how many equal steps each edge is divided.
    between : ndarray of float, shape ((steps - 1).sum(),)
        Elevations where the steps meet, from u to v, edge by edge.
    """
    u, v = roads.edges["u"].to_numpy(np.int64), roads.edges["v"].to_numpy(np.int64)
    first = np.cumsum(steps + 1) - steps - 1
    last = first + steps
    profile = np.empty(int((steps + 1).sum()))
    inner = np.ones(profile.size, dtype=bool)
    inner[first] = inner[last] = False
    profile[first], profile[last], profile[inner] = nodes[u], nodes[v], between
    rise = np.delete(np.diff(profile), last[:-1])  # not from one edge's end to the next's start
    edge = np.repeat(np.arange(steps.size), steps)
    run = (roads.edges["length_m"].to_numpy(float) / steps)[edge]

    slope = np.where(np.isnan(rise), np.nan, 0.0)
    np.divide(rise, run, out=slope, where=run > 0)
    steep = np.abs(slope) > _STEEPEST
    slope = np.clip(slope, -_STEEPEST, _STEEPEST)
    climb = np.bincount(edge, weights=np.maximum(slope, 0) * run, minlength=steps.size)
    unknown = np.isnan(climb)
    edges = roads.edges.assign(
        slope_forward=_mean_by_edge(edge, _tobler(slope), steps),
        slope_backward=_mean_by_edge(edge, _tobler(-slope), steps),
        climb_m=climb,
        elevation_known=~unknown,
    )
    found = list(notes)
    if unknown.any():
        found.append(
            finding(
                "elevation.unknown",
                file=roads.source,
                field="elevation_known",
                count=f"{int(unknown.sum()):,}",
                edges=f"{unknown.size:,}",
            )
        )
    if steep.any():
        found.append(
            finding(
                "elevation.steep",
                file=roads.source,
                field="slope_forward",
                steepest=f"{_STEEPEST:.0%}",
                count=f"{np.unique(edge[steep]).size:,}",
            )
        )
    return roads.with_edges(
        edges,
        roads.nodes.assign(elevation_m=nodes),
        findings=(*roads.findings, *(asdict(each) for each in found)),
    )


def _tobler(slope: Floats) -> Floats:
    """Give minutes relative to the flat; 1 where the slope is unknown."""
    factor = np.exp(3.5 * (np.abs(slope + 0.05) - 0.05))
    return np.where(np.isnan(slope), 1.0, factor)


def _mean_by_edge(edge: Integers, value: Floats, steps: Integers) -> Floats:
    return np.asarray(np.bincount(edge, weights=value, minlength=steps.size) / steps)
