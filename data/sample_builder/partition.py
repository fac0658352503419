"""Division of the real county outline into townships and units along ridges.

Cells of the routing grid are dealt to townships and then to units by the cost of walking there
over the terrain, so that borders follow ridges. The borders are then smoothed into lines and cut
against the outline; their ends are moved to points that lie on it *exactly*, so that the polygons
together equal the outline without any gap, overlap or sliver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from .common import (
    TOWN_CENTRE,
    BoolArray,
    FloatArray,
    Grid,
    IntArray,
    Sources,
    stream,
    to_lonlat,
    to_metric,
)

if TYPE_CHECKING:
    from .terrain import Terrain

SUBDISTRICT = "130824001"  # 中兴路街道, the county town
TOWN_AREA_KM2 = 14.5
VILLAGE_AREA_KM2 = 15.0  # 2,993 km² over 199 villages
ESTATE_COMMUNITY = "130824108001"  # 小城子社区, a community among the villages of 大屯镇
ESTATE_RADIUS_M = 850.0

# Two townships have no published box; theirs is drawn round the part of the county left over.
DRAWN_BOXES: dict[str, tuple[float, float, float, float]] = {
    "130824102": (117.545, 41.03, 117.705, 41.215),  # 红旗镇
    "130824107": (117.555, 40.78, 117.785, 40.955),  # 付营子镇
}
OFF_VALLEY_M = 8_000.0  # a township centre is in a valley if there is one this near
BALANCING_ROUNDS = 60
BOX_SLACK_M = 1_500.0  # a border may bulge this far beyond its box to follow a ridge ...
BOX_SOFTNESS_M = 900.0  # ... at a cost that grows by e over this distance
UNIT_AREA_SPREAD = 0.35  # lognormal
SEAT_MIN_DRAINED_KM2 = 1.2
SEAT_MAX_RUGGEDNESS = 0.15
BORDER_SMOOTHING_ROUNDS = 9
BORDER_WIGGLE_M = 45.0
BORDER_TOLERANCE_M = 9.0
MAX_POINTS_A_SIDE = 64


@dataclass(frozen=True)
class Partition:
    """The divided county.

    Attributes
    ----------
    units
        One row a unit: unit_code, township_code, area_km2, seat_x, seat_y (metres).
    polygons
        Lon/lat polygons, in the order of ``units``.
    labels
        Row number in ``units`` of each grid cell, also beyond the border (the nearest unit's).
    inside
        Which grid cells lie in the county.
    """

    units: pd.DataFrame
    polygons: list[shapely.Polygon]
    labels: IntArray
    inside: BoolArray


def name_stem(township: str) -> str:
    """Return a township's name without its kind: 安纯沟门满族乡 and 安纯沟门镇 share a stem."""
    for suffix in ("满族乡", "街道", "镇", "乡"):
        if township.endswith(suffix):
            return township.removesuffix(suffix)
    return township


def township_boxes(sources: Sources) -> dict[str, list[shapely.Polygon]]:
    """Return the published boxes of each township code; 涝洼乡 was merged into 两间房镇."""
    code_of = {name_stem(row["name"]): row.code for _, row in sources.townships.iterrows()}
    code_of["涝洼"] = code_of["两间房"]
    boxes: dict[str, list[shapely.Polygon]] = {}
    for _, row in sources.boxes.iterrows():
        code = code_of[name_stem(row["name"])]
        boxes.setdefault(code, []).append(shapely.box(row.minx, row.miny, row.maxx, row.maxy))
    return boxes


@dataclass(frozen=True)
class _Area:
    """The graph of walking between the cells of a part of the grid."""

    cells: IntArray
    start: IntArray
    end: IntArray
    cost: FloatArray

    def restrict(self, mask: BoolArray) -> _Area:
        """Keep the cells where ``mask`` (one flag a cell of this area) is true."""
        number = np.cumsum(mask) - 1
        keep = mask[self.start] & mask[self.end]
        return _Area(
            self.cells[mask], number[self.start[keep]], number[self.end[keep]], self.cost[keep]
        )

    @property
    def graph(self) -> sparse.csr_matrix:
        size = len(self.cells)
        return sparse.csr_matrix((self.cost, (self.start, self.end)), shape=(size, size))

    def distance(self, cell: int) -> FloatArray:
        """Cost from one grid cell to every cell of the area."""
        at = int(np.flatnonzero(self.cells == cell)[0])
        return np.asarray(csgraph.dijkstra(self.graph, indices=at))


def walking_area(terrain: Terrain, mask: BoolArray) -> _Area:
    """Graph of the masked cells; crossing a ridge is dear, following a valley cheap."""
    start, end, length = terrain.grid.moves
    effort = (0.03 + terrain.drained_km2) ** -0.6
    climb = np.abs(terrain.elevation[end] - terrain.elevation[start])
    cost = length * 0.5 * (effort[start] + effort[end]).clip(0.15, 6.0) + 4.0 * climb
    whole = _Area(np.arange(terrain.grid.size), start, end, np.round(cost, 3))
    return whole.restrict(mask)


def _keep_connected(grid: Grid, labels: IntArray, groups: IntArray) -> IntArray:
    """Give stray pieces of a label to a neighbour, in the same group where there is one."""
    raster = labels.reshape(grid.rows, grid.cols).copy()
    slices = ndimage.find_objects(raster + 1)
    for label, window in enumerate(slices):
        if window is None:
            continue
        pieces, count = ndimage.label(raster[window] == label)
        if count > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            stray = (pieces > 0) & (pieces != 1 + int(np.argmax(sizes)))
            raster[window][stray] = -2
    group_of = groups.reshape(grid.rows, grid.cols)
    while np.any(raster == -2):
        before = int(np.sum(raster == -2))
        for same_group in (True, False):
            for row, col in np.argwhere(raster == -2):
                options = []
                for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    r, c = row + dr, col + dc
                    if 0 <= r < grid.rows and 0 <= c < grid.cols and raster[r, c] >= 0:
                        same = group_of[r, c] == group_of[row, col]
                        if same or not same_group:
                            options.append(int(raster[r, c]))
                if options:
                    raster[row, col] = max(options, key=options.count)
            if int(np.sum(raster == -2)) < before:
                break
        else:
            raster[raster == -2] = -1
    return raster.ravel()


def _drawn_or_published(code: str, published: dict[str, list[shapely.Polygon]]) -> shapely.Polygon:
    if code in DRAWN_BOXES:
        return shapely.box(*DRAWN_BOXES[code])
    return shapely.union_all(published[code])


def _beyond(box: shapely.Polygon, xy: FloatArray) -> FloatArray:
    """Distance in metres of points beyond the edge of a lon/lat box; negative inside it."""
    edge = shapely.transform(shapely.segmentize(box, 0.01), to_metric)
    points = shapely.points(xy)
    away = shapely.distance(edge.exterior, points)
    return np.asarray(np.where(shapely.contains_xy(edge, xy[:, 0], xy[:, 1]), -away, away))


def _town_mask(terrain: Terrain, area: _Area, centre: int) -> BoolArray:
    """Cells of the county town: the cheapest to reach from its centre."""
    away = np.hypot(*(terrain.grid.xy[area.cells] - terrain.grid.xy[centre]).T)
    cost = area.distance(centre) * 0.5 + away * 1.2 + 9000.0 * terrain.ruggedness[area.cells]
    wanted = round(TOWN_AREA_KM2 * 1e6 / terrain.grid.cell**2)
    return np.asarray(cost <= np.partition(cost, wanted)[wanted])


def township_labels(
    sources: Sources, terrain: Terrain, area: _Area
) -> tuple[IntArray, dict[str, int]]:
    """Deal the cells of the county to the townships.

    Returns
    -------
    labels
        Row number in ``sources.townships`` of each cell of ``area``.
    centres
        Grid cell of each township's centre.
    """
    published = township_boxes(sources)
    codes = sources.townships["code"].tolist()
    lonlat = to_lonlat(terrain.grid.xy[area.cells])
    xy = terrain.grid.xy[area.cells]
    villages = sources.units["streetCode"].value_counts()
    distances = np.full((len(codes), len(area.cells)), np.inf)
    targets = np.ones(len(codes))
    centres: dict[str, int] = {}
    valley = (terrain.drained_km2[area.cells] > 6.0) & (
        terrain.ruggedness[area.cells] < SEAT_MAX_RUGGEDNESS
    )
    town = int(terrain.grid.index(to_metric(np.array([TOWN_CENTRE])))[0])
    for row, code in enumerate(codes):
        if code == SUBDISTRICT:
            continue
        shape = _drawn_or_published(code, published)
        inside = shapely.contains_xy(shape, lonlat[:, 0], lonlat[:, 1])
        beyond = _beyond(shape, xy)
        middle = to_metric(np.array([[shape.centroid.x, shape.centroid.y]]))[0]
        away = np.hypot(*(xy - middle).T)
        away += np.where(valley, 0.0, OFF_VALLEY_M)
        centre = int(area.cells[np.argmin(np.where(inside, away, np.inf))])
        centres[code] = centre
        near = beyond < BOX_SLACK_M
        part = area.restrict(near)
        wall = np.exp((beyond[near] + BOX_SLACK_M).clip(min=0.0) / BOX_SOFTNESS_M)
        distances[row, near] = part.distance(centre) * wall
        # A township fills about half its bounding box.
        half_box = 0.5 * float(np.sum(inside)) * (terrain.grid.cell / 1000.0) ** 2
        targets[row] = math.sqrt(VILLAGE_AREA_KM2 * villages[code] * half_box)
    weights = np.ones(len(codes))
    targets *= len(area.cells) / targets.sum()
    labels: IntArray = np.argmin(distances, axis=0)
    for _ in range(BALANCING_ROUNDS):
        counts = np.bincount(labels, minlength=len(codes)).clip(1)
        weights *= (counts / targets) ** 0.15
        weights /= weights.mean()
        labels = np.asarray(np.argmin(distances * weights[:, None], axis=0))
    labels[np.all(np.isinf(distances), axis=0)] = -1
    centres[SUBDISTRICT] = town
    labels[_town_mask(terrain, area, town)] = codes.index(SUBDISTRICT)
    full: IntArray = np.full(terrain.grid.size, -1)
    full[area.cells] = np.where(labels < 0, -2, labels)
    full = _keep_connected(terrain.grid, full, np.zeros(terrain.grid.size, dtype=int))
    return full[area.cells], centres


def _spread_seats(
    candidates: FloatArray, count: int, rng: np.random.Generator, first: FloatArray | None
) -> IntArray:
    """Choose well-spread candidates: each new seat is the best of a random handful."""
    if first is None:
        first = candidates[rng.integers(len(candidates))]
    chosen = [int(np.argmin(np.hypot(*(candidates - first).T)))]
    nearest = np.hypot(*(candidates - candidates[chosen[0]]).T)
    while len(chosen) < count:
        handful = rng.integers(len(candidates), size=150)
        best = int(handful[np.argmax(nearest[handful])])
        chosen.append(best)
        nearest = np.minimum(nearest, np.hypot(*(candidates - candidates[best]).T))
    return np.array(chosen)


def _divide(
    terrain: Terrain,
    part: _Area,
    count: int,
    rng: np.random.Generator,
    *,
    centre: int,
    min_drained: float,
) -> tuple[IntArray, IntArray]:
    """Divide an area among ``count`` seats; the first seat is the one nearest ``centre``."""
    xy = terrain.grid.xy
    drained, rugged = terrain.drained_km2[part.cells], terrain.ruggedness[part.cells]
    usable = (drained > min_drained) & (rugged < SEAT_MAX_RUGGEDNESS)
    if usable.sum() < 4 * count:
        usable = drained >= np.partition(drained, -8 * count)[-8 * count]
    candidates = part.cells[usable]
    seats = candidates[_spread_seats(xy[candidates], count, rng, xy[centre])]
    apart = 0.4 * terrain.grid.cell * math.sqrt(len(part.cells) / count)
    for _ in range(5):
        label = _balanced(part, seats, np.ones(count))
        for number in range(count):
            own = xy[part.cells[label == number]]
            others = np.delete(xy[seats], number, axis=0)
            gap = cKDTree(others).query(xy[candidates])[0] if count > 1 else apart
            middle = 0.7 * own.mean(axis=0) + 0.3 * xy[seats[number]]
            away = np.hypot(*(xy[candidates] - middle).T)
            seats[number] = candidates[np.argmin(np.where(gap >= apart, away, np.inf))]
    seats = seats[np.argsort(np.hypot(*(xy[seats] - xy[centre]).T), kind="stable")]
    return _balanced(part, seats, np.exp(UNIT_AREA_SPREAD * rng.standard_normal(count))), seats


def _balanced(part: _Area, seats: IntArray, shares: FloatArray) -> IntArray:
    """Deal the cells of an area to seats, in about the given shares of the area."""
    distances = np.array([part.distance(int(seat)) for seat in seats])
    unreached = np.all(np.isinf(distances), axis=0)
    targets = shares / shares.sum() * float(np.sum(~unreached))
    # Additive handicaps keep every unit connected along the paths from its seat.
    handicap = np.zeros(len(seats))
    between = distances[:, np.searchsorted(part.cells, seats)]
    step = 0.04 * float(np.median(between))
    label = np.argmin(distances, axis=0)
    for _ in range(BALANCING_ROUNDS):
        counts = np.bincount(label[~unreached], minlength=len(seats))
        handicap += step * (counts / targets - 1.0).clip(-1.0, 1.0)
        handicap -= handicap.min()
        for number in np.argsort(handicap, kind="stable"):
            rivals = handicap + between[:, number]
            rivals[number] = np.inf
            handicap[number] = min(handicap[number], 0.6 * float(rivals.min()))
        label = np.argmin(distances + handicap[:, None], axis=0)
    label[unreached] = -2
    return np.asarray(label)


def unit_order(rows: pd.DataFrame, stem: str) -> list[int]:
    """Order of a township's units: the one that bears its name (else the first) is its seat."""
    names = rows["name"].str.removesuffix("村民委员会").tolist()
    seat = names.index(stem) if stem in names else 0
    return [seat, *(number for number in range(len(names)) if number != seat)]


def unit_labels(sources: Sources, terrain: Terrain, county: BoolArray) -> tuple[IntArray, IntArray]:
    """Deal the cells of the county to the units.

    Returns
    -------
    labels
        Row number in ``sources.units`` of each grid cell, -1 beyond the county.
    seats
        Grid cell of each unit's seat.
    """
    rng = stream("units")
    area = walking_area(terrain, county)
    townships, centres = township_labels(sources, terrain, area)
    labels = np.full(terrain.grid.size, -1)
    seats = np.zeros(len(sources.units), dtype=int)
    for row, (code, name) in enumerate(
        zip(sources.townships["code"], sources.townships["name"], strict=True)
    ):
        part = area.restrict(townships == row)
        own = sources.units[
            (sources.units["streetCode"] == code) & (sources.units["code"] != ESTATE_COMMUNITY)
        ]
        urban = code == SUBDISTRICT
        label, seat = _divide(
            terrain, part, len(own), rng, centre=centres[code],
            min_drained=0.02 if urban else SEAT_MIN_DRAINED_KM2,
        )  # fmt: skip
        numbers = own.index.to_numpy()[unit_order(own, name_stem(name))]
        labels[part.cells] = np.where(label >= 0, numbers[label], -2)
        seats[numbers] = seat
    estate = int(np.flatnonzero(sources.units["code"] == ESTATE_COMMUNITY)[0])
    host = sources.units["name"].eq("大屯村民委员会") & sources.units["streetCode"].eq("130824108")
    host_seat = seats[int(np.flatnonzero(host)[0])]
    offset = terrain.grid.xy[host_seat] + (ESTATE_RADIUS_M * 0.9, ESTATE_RADIUS_M * 0.35)
    seats[estate] = int(terrain.grid.index(offset[None, :])[0])
    near = np.hypot(*(terrain.grid.xy - terrain.grid.xy[seats[estate]]).T) < ESTATE_RADIUS_M
    near &= labels == int(np.flatnonzero(host)[0])
    near[host_seat] = False
    labels[near] = estate
    full_townships = np.full(terrain.grid.size, -1)
    full_townships[area.cells] = townships
    return _keep_connected(terrain.grid, labels, full_townships), seats


def border_lines(grid: Grid, labels: IntArray) -> list[shapely.LineString]:
    """Trace the borders between labels as smooth lon/lat lines, one an arc between junctions."""
    rng = stream("borders")
    raster = labels.reshape(grid.rows, grid.cols)
    width = grid.cols + 1  # corners of cells; corner (r, c) is the south-west one of cell (r, c)
    r, c = np.nonzero(raster[1:, :] != raster[:-1, :])
    level = np.column_stack([(r + 1) * width + c, (r + 1) * width + c + 1])
    r, c = np.nonzero(raster[:, 1:] != raster[:, :-1])
    upright = np.column_stack([r * width + c + 1, (r + 1) * width + c + 1])
    edges = np.vstack([level, upright])
    corners, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    row, col = np.divmod(corners, width)
    xy = np.column_stack([grid.x0 + (col - 0.5) * grid.cell, grid.y0 + (row - 0.5) * grid.cell])
    degree = np.bincount(ends.ravel())[:, None]
    for _ in range(BORDER_SMOOTHING_ROUNDS):
        total = np.zeros_like(xy)
        np.add.at(total, ends[:, 0], xy[ends[:, 1]])
        np.add.at(total, ends[:, 1], xy[ends[:, 0]])
        xy = 0.5 * xy + 0.5 * total / degree
    for axis in (0, 1):  # a smooth displacement keeps the lines from crossing
        field = ndimage.gaussian_filter(rng.standard_normal((grid.rows, grid.cols)), 1.6)
        xy[:, axis] += BORDER_WIGGLE_M * grid.sample((field / field.std()).ravel(), xy)
    segments = shapely.linestrings(np.round(xy, 3)[ends])
    merged = shapely.line_merge(shapely.multilinestrings(segments))
    arcs = shapely.simplify(shapely.get_parts(merged), BORDER_TOLERANCE_M)
    return [shapely.LineString(to_lonlat(shapely.get_coordinates(arc))) for arc in arcs]


def exact_points(ring: FloatArray) -> FloatArray:
    """Return the points of a ring that double precision can represent exactly.

    These are its vertices and the few points between them at which both coordinates are doubles:
    a border that ends there meets the ring without moving it by even the last bit.
    """
    scale = np.array([2**46, 2**47])  # doubles between 64 and 128 (lon), 32 and 64 (lat)
    points = [ring[0]]
    for a, b in pairwise(ring):
        start = [int(value) for value in a * scale]
        step = [int(value) - first for value, first in zip(b * scale, start, strict=True)]
        parts = math.gcd(*step)
        pieces = min(parts, MAX_POINTS_A_SIDE)
        for piece in range(1, pieces):
            share = piece * parts // pieces
            moved = [s + d // parts * share for s, d in zip(start, step, strict=True)]
            points.append(np.array(moved) / scale)
        points.append(b)
    return np.array(points)


def _fasten(arc: shapely.LineString, ring: shapely.LinearRing, exact: cKDTree) -> FloatArray:
    """Move the ends of an arc that lie on the ring to its nearest exact points."""
    coords = shapely.get_coordinates(arc)
    for end in (0, -1):
        if ring.distance(shapely.Point(coords[end])) > 1e-9:
            continue
        away, nearest = exact.query(coords[end])
        target = exact.data[nearest]
        order = coords if end == -1 else coords[::-1]
        body = order[:-1]
        keep = np.hypot(*(body - order[-1]).T) > 0.6 * away
        keep[0] = True
        order = np.vstack([body[keep], target])
        coords = order if end == -1 else order[::-1]
    return np.asarray(coords)


def cut_polygons(
    grid: Grid, labels: IntArray, outline: shapely.Polygon, count: int
) -> list[shapely.Polygon]:
    """Cut the outline along the borders into one polygon a label."""
    ring = outline.exterior
    exact = cKDTree(exact_points(shapely.get_coordinates(ring)))
    clipped = shapely.get_parts(
        shapely.line_merge(
            shapely.intersection(shapely.multilinestrings(border_lines(grid, labels)), outline)
        )
    )
    arcs = [shapely.LineString(_fasten(arc, ring, exact)) for arc in clipped]
    lines = shapely.union_all([*arcs, shapely.LineString(ring.coords)])
    faces = [
        face
        for face in shapely.get_parts(shapely.polygonize([lines]))
        if outline.contains(face.representative_point())
    ]
    inner = np.array([face.representative_point().coords[0] for face in faces])
    owner = labels[grid.index(to_metric(inner))]
    return _merge_faces(faces, owner, count)


def _merge_faces(
    faces: list[shapely.Polygon], owner: IntArray, count: int
) -> list[shapely.Polygon]:
    """Join faces by owner; a piece away from its owner's largest goes to its main neighbour."""
    owner = owner.copy()
    tree = shapely.STRtree(faces)
    first, second = tree.query(faces, predicate="touches")
    shared = shapely.length(shapely.intersection(np.array(faces)[first], np.array(faces)[second]))
    for _ in range(10):
        same = (owner[first] == owner[second]) & (shared > 0)
        size = len(faces)
        links = sparse.csr_matrix((np.ones(same.sum()), (first[same], second[same])), (size, size))
        _, piece = csgraph.connected_components(links, directed=False)
        areas = np.bincount(piece, weights=shapely.area(faces))
        largest = {int(unit): 0.0 for unit in owner}
        for face in range(size):
            unit = int(owner[face])
            largest[unit] = max(largest[unit], float(areas[piece[face]]))
        stray = [face for face in range(size) if areas[piece[face]] < largest[int(owner[face])]]
        if not stray:
            break
        for face in stray:
            border = np.bincount(
                owner[second[first == face]], weights=shared[first == face], minlength=count
            )
            border[owner[face]] = 0.0
            owner[face] = int(np.argmax(border))
    return [
        shapely.union_all([face for face, unit in zip(faces, owner, strict=True) if unit == number])
        for number in range(count)
    ]


def _move_inside(grid: Grid, polygon: shapely.Polygon, seat: int) -> int:
    """Return the cell nearest to a seat that is clear of the border of its polygon."""
    inner = polygon.buffer(-0.12 * math.sqrt(polygon.area))
    west, south, east, north = inner.bounds
    xy = grid.xy
    within = (xy[:, 0] >= west) & (xy[:, 0] <= east) & (xy[:, 1] >= south) & (xy[:, 1] <= north)
    cells = np.flatnonzero(within)
    cells = cells[shapely.contains_xy(inner, xy[cells, 0], xy[cells, 1])]
    return int(cells[np.argmin(np.hypot(*(xy[cells] - xy[seat]).T))])


def divide_county(sources: Sources, terrain: Terrain) -> Partition:
    """Divide the county outline into its units."""
    grid = terrain.grid
    outline = shapely.Polygon(sources.county.exterior)
    lonlat = to_lonlat(grid.xy)
    inside = shapely.contains_xy(outline, lonlat[:, 0], lonlat[:, 1])
    labels, seats = unit_labels(sources, terrain, inside)
    unset = (labels < 0).reshape(grid.rows, grid.cols)
    nearest = ndimage.distance_transform_edt(unset, return_distances=False, return_indices=True)
    filled = labels.reshape(grid.rows, grid.cols)[tuple(nearest)].ravel()
    polygons = cut_polygons(grid, filled, outline, len(sources.units))
    metric = shapely.transform(np.array(polygons), to_metric)
    seats = np.array(
        [_move_inside(grid, polygon, seat) for polygon, seat in zip(metric, seats, strict=True)]
    )
    units = pd.DataFrame(
        {
            "unit_code": sources.units["code"],
            "township_code": sources.units["streetCode"],
            "area_km2": shapely.area(metric) / 1e6,
            "seat_x": grid.xy[seats, 0],
            "seat_y": grid.xy[seats, 1],
        }
    )
    return Partition(units=units, polygons=polygons, labels=filled, inside=inside)


def box_shares(sources: Sources, partition: Partition) -> dict[str, float]:
    """Share of each township's area that lies in its published box, by township code."""
    shares = {}
    for code, boxes in township_boxes(sources).items():
        own = shapely.union_all(
            [
                polygon
                for polygon, township in zip(
                    partition.polygons, partition.units["township_code"], strict=True
                )
                if township == code
            ]
        )
        shares[code] = own.intersection(shapely.union_all(boxes)).area / own.area
    return shares
