"""Where people live: read from hamlets, buildings or a population raster, or spread along roads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .errors import InputError, NoCrsError
from .identity import log_codes, read_codes
from .intake import IntakeLog
from .layers import check_crs, read_layer
from .modes import Mode
from .network import RoadNetwork
from .population import (
    GROUPS,
    SOURCES,
    PopulatedCells,
    assumed_points,
    demand_table,
    middle_points,
    people_of,
    read_cells,
    share_out,
    unit_at,
)
from .postgis import is_database_url
from .quantities import read_numbers, read_text
from .schema import rename_columns
from .snapping import snap

__all__ = ["area_points", "read_demand", "spread_demand"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

_RASTERS = frozenset([".tif", ".tiff"])
_COLUMNS = ("demand_id", "unit_code", "name", "data_note", "source", "storeys", *GROUPS)
_POINT, _MULTIPOINT, _POLYGONS = 0, 4, (3, 6)  # shapely's numbers of types
_FITTING_SUM = 0.2  # by how much the points' residents may differ from the unit's
_FITTING_SCALE = (0.5, 2.0)  # the unit's residents as a multiple of the raster's
_MOST_STOREYS = 150
# People live along streets and lanes, not along mountain paths, field tracks or motorways.
_SETTLED = Mode(
    "settled",
    4.0,
    closed_to=frozenset(
        [
            "bridleway",
            "construction",
            "cycleway",
            "footway",
            "motorway",
            "motorway_link",
            "path",
            "proposed",
            "raceway",
            "steps",
            "track",
            "trunk",
            "trunk_link",
        ]
    ),
)


def read_demand(
    source: str | Path | gpd.GeoDataFrame,
    units: gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
) -> gpd.GeoDataFrame:
    """Read where people live: hamlets (自然村), building footprints or a population raster.

    What is read is told by what there is: a GeoTIFF is a raster, a layer of polygons are buildings,
    a layer of points are hamlets.

    Parameters
    ----------
    source : path or GeoDataFrame
        Points with `residents`; or building footprints, with `residents` or `storeys` (层数) or
        neither; or a GeoTIFF of people per cell. `unit_code` says whose a point or building is,
        and where the column is absent the unit it lies in does.
    units : GeoDataFrame
        As `read_units` gives them.
    layer : str, optional
        Which layer of the file, or band of the raster, where there are several.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}`` for headers that are not recognised.
    strict : bool
        Raise where any row is faulty, rather than set it aside.

    Returns
    -------
    GeoDataFrame
        One row a point, index 0 … n-1, in the units' CRS: `demand_id` (stands once), `unit_code`,
        `name`, `residents`, `elderly`, `children` (people, in fractions where they are shared out;
        missing is unknown), `role` = ``"people"``, `source`, geometry (Point). In the order of the
        file; a raster's cells by unit, then from north-west to south-east. `source` is one of

        - ``"surveyed"``: a hamlet, with the residents the file gives it;
        - ``"footprints"``: a building, at its middle, with the residents the file gives it, or with
          its part of the unit's by footprint area × storeys (1 where not known);
        - ``"raster"``: the centre of a cell, with its part of the unit's people by the raster's, or
          with the raster's own number where the unit's residents are not known;
        - ``"assumed"``: a unit that has no point in the file, all its people at one point inside
          its boundary; at the end, in the order of the units.

        ``intake_report(demand)`` tells what was noticed.

    Raises
    ------
    InputError
        Where the file cannot be used at all; with `strict` where any row is faulty. Lists every
        fault with file, row, field, value, rule and cure.
    MissingInputError, NoCrsError
        Where there is no such file or layer, or no CRS.
    MissingDependencyError
        Where a raster is given and rasterio is not installed.

    Warns
    -----
    IntakeWarning
        Where rows were set aside or values left unknown.

    Notes
    -----
    Where residents are shared out, those of a unit's points sum to the unit's. Where the file gives
    them, they stand, and units whose own number differs by more than 20 % are reported.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> demand = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> int(demand["residents"].sum()), demand["source"].unique().tolist()
    (287986, ['surveyed'])
    """
    if isinstance(source, gpd.GeoDataFrame):
        if source.crs is None:
            raise NoCrsError("demand: the table has no CRS; set one with .set_crs")
        table, log = _from_features(source.reset_index(drop=True), units, columns, "demand")
    elif Path(source).suffix.lower() in _RASTERS:
        table, log = _from_raster(Path(source), units, layer, columns)
    else:
        # Not the address of a database, which may hold a password.
        name = (layer or "PostGIS") if is_database_url(source) else Path(source).name
        table, log = _from_features(read_layer(source, layer=layer), units, columns, name)
    if log.set_aside.all():
        raise InputError(
            f"{log.file}: none of {len(table)} rows can be used: is it the right layer, of this "
            "county, and is its CRS right?",
            [each for each in log.findings if each.effect != "kept"],
        )
    present = units["unit_code"].isin(table["unit_code"][~log.set_aside]) | units.geometry.isna()
    absent = np.flatnonzero(~present)
    _note_absent(absent, units, log)
    return _with_assumed(log.finish(table, strict=strict), units, absent)


def _from_features(
    frame: gpd.GeoDataFrame, units: gpd.GeoDataFrame, columns: Mapping[str, str] | None, file: str
) -> tuple[gpd.GeoDataFrame, IntakeLog]:
    """Make a table of hamlets or buildings, one row a feature, and log what was noticed."""
    log = IntakeLog.of(frame, file)
    headers = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
    frame = rename_columns(frame, columns, known=_COLUMNS, file=file, log=log)
    kinds = shapely.get_type_id(np.asarray(frame.geometry.array))
    buildings = np.isin(kinds, _POLYGONS).sum() > np.isin(kinds, (_POINT, _MULTIPOINT)).sum()
    if not buildings and "residents" not in frame:
        raise InputError(
            f"{file}: demand points need residents; name the column: columns={{'residents': '…'}}; "
            f"the file has {headers}"
        )
    log.set_aside |= check_crs(frame, log)
    shapes = _footprints(frame, log) if buildings else _points_of(frame, log)
    points = _in_crs_of(units, middle_points(shapes) if buildings else shapes, frame, log)
    owner = _owners(frame, points, units, log)
    if "residents" in frame:
        people = _given_people(frame, log)
        _note_sums(people["residents"], owner, units, log)
    else:
        area = gpd.GeoSeries(shapes, crs=frame.crs).to_crs(units.estimate_utm_crs()).area
        people = share_out(owner, area.to_numpy() * _storeys(frame, log), units)
        _note_buildings(owner, units, log)
    codes = units["unit_code"].astype("string").to_numpy(dtype=object)
    default = "footprints" if buildings else "surveyed"
    table = demand_table(
        np.append(codes, pd.NA)[owner],
        people,
        points,
        units,
        ids=_ids(frame, "B" if buildings else "D", log),
        source=_sources(frame, default),
        names=read_text(frame["name"]) if "name" in frame else None,
    )
    return table, log


def _points_of(frame: gpd.GeoDataFrame, log: IntakeLog) -> Objects:
    """Give the hamlets' points, missing where there is none."""
    shapes = np.asarray(frame.geometry.array)
    kinds = shapely.get_type_id(shapes)
    one = (kinds == _MULTIPOINT) & (shapely.get_num_geometries(shapes) == 1)
    points = np.where(one, shapely.get_geometry(shapes, 0), shapes)
    wrong = ((kinds != _POINT) & ~one) | shapely.is_missing(points) | shapely.is_empty(points)
    log.at("demand.geometry", wrong & ~log.set_aside, field="geometry", values=_type_names(shapes))
    return _without(points, wrong | log.set_aside)


def _footprints(frame: gpd.GeoDataFrame, log: IntakeLog) -> Objects:
    """Give the buildings' polygons, valid ones, missing where there is none."""
    shapes = np.asarray(frame.geometry.array)
    polygon = np.isin(shapely.get_type_id(shapes), _POLYGONS)
    crossed = polygon & ~shapely.is_valid(shapes) & ~log.set_aside
    log.at("demand.building_crossed", crossed, field="geometry")
    shapes = np.where(crossed, shapely.make_valid(_without(shapes, ~crossed)), shapes)
    wrong = ~polygon | ~(shapely.area(_without(shapes, ~polygon)) > 0)
    log.at("demand.building", wrong & ~log.set_aside, field="geometry", values=_type_names(shapes))
    return _without(shapes, wrong | log.set_aside)


def _without(shapes: Objects, wrong: NDArray[np.bool_]) -> Objects:
    """Give the shapes, missing where they are wrong."""
    kept = shapes.copy()
    kept[wrong] = None
    return kept


def _type_names(shapes: Objects) -> Objects:
    return np.array([getattr(shape, "geom_type", "") for shape in shapes], dtype=object)


def _in_crs_of(
    units: gpd.GeoDataFrame, points: Objects, frame: gpd.GeoDataFrame, log: IntakeLog
) -> Objects:
    """Bring points into the units' CRS."""
    moved = np.asarray(gpd.GeoSeries(points, crs=frame.crs).to_crs(units.crs).array)
    lost = ~np.isfinite(shapely.get_x(moved) + shapely.get_y(moved))
    log.at("demand.geometry", lost & ~log.set_aside, field="geometry", values=_type_names(points))
    return _without(moved, lost)


def _owners(
    frame: gpd.GeoDataFrame, points: Objects, units: gpd.GeoDataFrame, log: IntakeLog
) -> Integers:
    """Give the position of the unit each feature belongs to, -1 where it is set aside."""
    placed = ~shapely.is_missing(points)
    here = unit_at(shapely.get_x(points), shapely.get_y(points), units)
    place = np.append(_named(units), "")[here]
    if "unit_code" in frame:
        known = units["unit_code"].astype("string")
        read = read_codes(frame["unit_code"], reference=known.tolist())
        log_codes(read, frame["unit_code"], log, "unit_code")
        blank = (read["code"].isna() & (read["problem"] == "")).to_numpy(dtype=bool)
        told = pd.Index(known).get_indexer(read["code"].fillna(""))
        words = {"field": "unit_code", "values": frame["unit_code"]}
        log.at("demand.unit_code", (told < 0) & ~blank & (here >= 0), place=place, **words)
        log.at("demand.unit_code_blank", blank & (here >= 0), place=place, **words)
        log.at("demand.outside", (told < 0) & placed & (here < 0), **words)
        stray = np.flatnonzero((told >= 0) & placed & (told != here))
        own = np.asarray(units.geometry.array)[told[stray]]
        stray = stray[~shapely.intersects(own, points[stray])]  # unless on the border of both
        where = np.where(here < 0, "—", place)
        log.at("demand.elsewhere", stray.astype(np.intp), place=where, **words)
        owner = np.where(blank, here, told)
    else:
        log.at("demand.outside", placed & (here < 0), field="geometry")
        owner = here
    return np.where(log.set_aside, -1, owner)


def _named(units: gpd.GeoDataFrame) -> Objects:
    """Name each unit as a report does."""
    pairs = zip(units["name"], units["unit_code"], strict=True)
    return np.array([f"{name}（{code}）" for name, code in pairs], dtype=object)


def _given_people(frame: gpd.GeoDataFrame, log: IntakeLog) -> dict[str, Floats]:
    """Read the people the file gives, NaN where not known."""
    people = {
        name: read_numbers(frame[name], dimension="count", field=name, log=log).to_numpy(float)
        if name in frame
        else np.full(len(frame), np.nan)
        for name in GROUPS
    }
    blank = np.isnan(people["residents"]) & ~log.set_aside
    log.at("demand.residents_unknown", blank, field="residents", values=frame["residents"])
    return people


def _storeys(frame: gpd.GeoDataFrame, log: IntakeLog) -> Floats:
    """Read how many storeys buildings have, 1 where not known."""
    if "storeys" not in frame:
        log.whole("demand.storeys_none", field="storeys")
        return np.ones(len(frame))
    read = read_numbers(frame["storeys"], dimension="count", field="storeys", log=log).to_numpy(
        float
    )
    wrong = (read < 1) | (read > _MOST_STOREYS)
    log.at("demand.storeys", wrong, field="storeys", values=frame["storeys"])
    missing = int((np.isnan(read) & ~log.set_aside).sum())
    if missing:
        log.whole("demand.storeys_missing", field="storeys", value=missing)
    return np.where(wrong | np.isnan(read), 1.0, read)


def _sources(frame: gpd.GeoDataFrame, default: str) -> Objects:
    """Give how each point is known: what a table this package wrote says, else the default."""
    said = frame["source"].astype(object) if "source" in frame else pd.Series(default, frame.index)
    return said.where(said.isin(SOURCES), default).to_numpy(dtype=object)


def _ids(frame: gpd.GeoDataFrame, letter: str, log: IntakeLog) -> Objects:
    """Give identifiers that stand once among the rows that are used."""
    given = (
        read_text(frame["demand_id"]).to_numpy(dtype=object, na_value="")
        if "demand_id" in frame
        else np.full(len(frame), "", dtype=object)
    )
    numbered = np.array([f"{letter}{row:06d}" for row in log.rows], dtype=object)
    ids = np.where(given == "", numbered, given)
    renamed = _unique(ids, used=~log.set_aside)
    log.at("demand.id_repeated", renamed != ids, field="demand_id", values=ids, renamed=renamed)
    return renamed


def _unique(ids: Objects, *, used: NDArray[np.bool_]) -> Objects:
    """Append a number to identifiers that occurred in a row above.

    Examples
    --------
    >>> _unique(np.array(["a", "b", "a", "a-2", "a"], object), used=np.ones(5, bool)).tolist()
    ['a', 'b', 'a-3', 'a-2', 'a-4']
    """
    again = pd.Series(ids).where(used).duplicated().to_numpy() & used
    taken, count = set(ids.tolist()), dict[str, int]()
    found = ids.copy()
    for position in np.flatnonzero(again).tolist():
        known = ids[position]
        number = count.get(known, 2)
        while f"{known}-{number}" in taken:
            number += 1
        found[position] = f"{known}-{number}"
        taken.add(found[position])
        count[known] = number + 1
    return found


def _note_sums(residents: Floats, owner: Integers, units: gpd.GeoDataFrame, log: IntakeLog) -> None:
    """Report units whose residents are not the sum of their points'."""
    used = owner >= 0
    at, people = owner[used], residents[used]
    total = np.bincount(at, weights=np.nan_to_num(people), minlength=len(units))
    unknown = np.bincount(at, weights=np.isnan(people), minlength=len(units)) > 0
    expected = people_of(units)["residents"]
    apart = total - expected
    apart[unknown & (apart < 0)] = 0.0  # what is missing may be at the points not known
    apart[np.bincount(at, minlength=len(units)) == 0] = 0.0
    named = _named(units)
    for unit in np.flatnonzero(np.abs(apart) > _FITTING_SUM * expected).tolist():
        log.whole(
            "demand.sum",
            field="residents",
            value=named[unit],
            points=f"{total[unit]:,.0f}",
            residents=f"{expected[unit]:,.0f}",
        )


def _note_buildings(owner: Integers, units: gpd.GeoDataFrame, log: IntakeLog) -> None:
    """Report what the residents of buildings rest on."""
    count = np.bincount(owner[owner >= 0], minlength=len(units))
    log.whole("demand.shared_out", field="residents", value=int(count.sum()))
    named = _named(units)
    unknown = np.isnan(people_of(units)["residents"]) & (count > 0)
    for unit in np.flatnonzero(unknown).tolist():
        log.whole("demand.unit_unknown", field="residents", value=named[unit])


def _note_absent(absent: Integers, units: gpd.GeoDataFrame, log: IntakeLog) -> None:
    """Report units without any point."""
    people, named = people_of(units)["residents"], _named(units)
    for unit in absent.tolist():
        told = "?" if np.isnan(people[unit]) else f"{people[unit]:,.0f}"
        log.whole("demand.no_point", field="unit_code", value=named[unit], residents=told)


def _with_assumed(
    table: gpd.GeoDataFrame, units: gpd.GeoDataFrame, absent: Integers
) -> gpd.GeoDataFrame:
    """Add one point for each unit that has none."""
    if absent.size == 0:
        return table
    both = pd.concat([table, assumed_points(units, absent)], ignore_index=True)
    ids = both["demand_id"].to_numpy(dtype=object)
    both["demand_id"] = pd.array(_unique(ids, used=np.ones(len(ids), dtype=bool)), dtype="string")
    both.attrs = table.attrs
    return both


def _from_raster(
    path: Path, units: gpd.GeoDataFrame, layer: str | None, columns: Mapping[str, str] | None
) -> tuple[gpd.GeoDataFrame, IntakeLog]:
    """Make a table of populated cells, and log what was noticed."""
    if columns:
        raise InputError(f"{path.name}: a raster has no columns; leave columns= out")
    if layer is not None and not layer.isdecimal():
        raise InputError(f"{path.name}: layer= is the number of a raster's band, not {layer!r}")
    cells = read_cells(path, units, band=None if layer is None else int(layer))
    log = IntakeLog(path.name, np.arange(1, cells.people.size + 1))
    for what in ("nodata", "negative", "invalid"):
        count = getattr(cells, what)
        if count:
            log.whole(f"demand.raster_{what}", value=count)
    people = share_out(cells.owner, cells.people, units)
    people["residents"] = np.where(np.isnan(people["residents"]), cells.people, people["residents"])
    _note_scale(cells, units, log)
    codes = units["unit_code"].astype("string").to_numpy(dtype=object)[cells.owner]
    first = np.searchsorted(cells.owner, np.arange(len(units)))
    number = np.arange(cells.owner.size) - first[cells.owner] + 1
    ids = [f"{code}-R{each:06d}" for code, each in zip(codes, number.tolist(), strict=True)]
    points = shapely.points(cells.x, cells.y)
    return demand_table(codes, people, points, units, ids=ids, source="raster"), log


def _note_scale(cells: PopulatedCells, units: gpd.GeoDataFrame, log: IntakeLog) -> None:
    """Report units whose residents are far from the raster's, or are the raster's."""
    residents = people_of(units)["residents"]
    total = np.bincount(cells.owner, weights=cells.people, minlength=len(units))
    log.whole("demand.shared_out", field="residents", value=cells.people.size)
    named = _named(units)
    for unit in np.flatnonzero(total > 0).tolist():
        told = {"field": "residents", "value": named[unit], "raster": f"{total[unit]:,.0f}"}
        factor = residents[unit] / total[unit]
        if np.isnan(factor):
            log.whole("demand.raster_numbers", **told)
        elif not _FITTING_SCALE[0] <= factor <= _FITTING_SCALE[1]:
            log.whole(
                "demand.raster_scale",
                residents=f"{residents[unit]:,.0f}",
                factor=f"{factor:.2f}",
                **told,
            )


def _grid(
    units: gpd.GeoDataFrame, crs: Any, spacing_m: float
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Give points of a regular grid and the unit each lies in: one at least for every shape."""
    shapes = np.asarray(units.geometry.to_crs(crs).array)
    points: list[NDArray[np.object_]] = []
    owner = []
    for position in np.flatnonzero(~shapely.is_missing(shapes)).tolist():
        shape = shapes[position]
        low_x, low_y, high_x, high_y = np.array(shape.bounds) // spacing_m
        x, y = np.meshgrid(
            (np.arange(low_x, high_x + 1) + 0.5) * spacing_m,
            (np.arange(low_y, high_y + 1) + 0.5) * spacing_m,
        )
        shapely.prepare(shape)
        inside = shapely.contains_xy(shape, x.ravel(), y.ravel())
        found = shapely.points(x.ravel()[inside], y.ravel()[inside])
        if found.size == 0:
            found = np.array([shape.representative_point()])
        points.append(found)
        owner.append(np.full(found.size, position))
    return np.concatenate(points), np.concatenate(owner)


def spread_demand(
    units: gpd.GeoDataFrame, roads: RoadNetwork, *, spacing_m: float = 250.0
) -> gpd.GeoDataFrame:
    """Assume where people live when no demand points are known: evenly along the unit's roads.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.
    roads : RoadNetwork
        The roads.
    spacing_m : float
        Points of a grid this wide are kept where a street or lane (no path, track or motorway) is
        within half of it; a unit without any keeps one point inside its boundary.

    Returns
    -------
    GeoDataFrame
        As `read_demand`, with `source` = ``"assumed"``; a unit's residents are shared out evenly
        (fractions of people), or missing where the unit's are.
    """
    points, owner = _grid(units, roads.crs, spacing_m)
    near = snap(points, roads, _SETTLED, leg_limit_m=spacing_m / 2).edge >= 0
    bare = ~np.isin(np.arange(len(units)), owner[near])
    first = np.r_[True, owner[1:] != owner[:-1]]
    kept = near | (first & bare[owner])
    points, owner = points[kept], owner[kept]
    number = pd.Series(owner).groupby(owner).cumcount() + 1
    codes = units["unit_code"].astype("string").to_numpy(dtype=object)[owner]
    return demand_table(
        codes,
        share_out(owner, np.ones(owner.size), units),
        np.asarray(gpd.GeoSeries(points, crs=roads.crs).to_crs(units.crs).array),
        units,
        ids=[f"{code}-A{each:04d}" for code, each in zip(codes, number, strict=True)],
        source="assumed",
    )


def area_points(units: gpd.GeoDataFrame, crs: Any, *, spacing_m: float = 500.0) -> gpd.GeoDataFrame:
    """Give points that stand for the area of each unit: a regular grid, areas sum to the unit's.

    Parameters
    ----------
    units : GeoDataFrame
        As `read_units` gives them.
    crs : pyproj.CRS
        A metric CRS to measure in.
    spacing_m : float
        Width of the grid.

    Returns
    -------
    GeoDataFrame
        `unit_code`, `area_m2`, geometry (Point) in `crs`.
    """
    points, owner = _grid(units, crs, spacing_m)
    area = units.geometry.to_crs(crs).area.to_numpy()[owner] / np.bincount(owner)[owner]
    return gpd.GeoDataFrame(
        {"unit_code": units["unit_code"].to_numpy()[owner], "area_m2": area},
        geometry=points,
        crs=crs,
    )
