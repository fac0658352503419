"""Where people live: hamlet points read from a file, or spread along a unit's roads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .errors import Finding, InputError
from .modes import Mode
from .network import RoadNetwork
from .schema import found_at, numbers, read_layer, rename_columns, with_findings
from .snapping import snap

__all__ = ["area_points", "read_demand", "spread_demand"]

_GROUPS = ("residents", "elderly", "children")
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
_COLUMNS = ("demand_id", "unit_code", "name", "data_note", *_GROUPS)


def read_demand(
    source: str | Path | gpd.GeoDataFrame,
    units: gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> gpd.GeoDataFrame:
    """Read demand points: hamlets (自然村), estates or buildings with their residents.

    Parameters
    ----------
    source : path or GeoDataFrame
        Points with `residents`; `unit_code` says whose they are, and where it is absent the
        polygon they lie in does.
    units : GeoDataFrame
        As `read_units` gives them.
    layer, columns : optional
        As for `read_units`.

    Returns
    -------
    GeoDataFrame
        One row a point, index 0 … n-1, in the units' CRS: `demand_id`, `unit_code`, `name`,
        `residents`, `elderly`, `children` (missing is unknown), `role` = ``"people"``,
        `source` = ``"surveyed"``, geometry.

    Raises
    ------
    InputError
        With every fault at once.
    MissingInputError, NoCrsError
        Where there is no such file or layer, or no CRS.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county = fc.sample_county()
    >>> demand = fc.read_demand(county.demand, fc.read_units(county.units))
    >>> int(demand["residents"].sum())
    287986
    """
    if isinstance(source, gpd.GeoDataFrame):
        frame, file = source.reset_index(drop=True), "demand"
    else:
        path = Path(source)
        frame, file = read_layer(path, layer=layer), path.name
    headers = ", ".join(str(c) for c in frame.columns if c != frame.geometry.name)
    frame = rename_columns(frame, columns, known=_COLUMNS, file=file)
    places = [{"file": file, "row": row} for row in range(1, len(frame) + 1)]
    faults: list[Finding] = []
    findings: list[Finding] = []
    if "residents" not in frame:
        raise InputError(
            f"{file}: demand points need residents; name the column: columns={{'residents': '…'}}; "
            f"the file has {headers}"
        )
    points = frame.geometry.to_crs(units.crs)
    shapes = np.asarray(points.array)
    faults += found_at(
        shapely.is_missing(shapes) | (shapely.get_type_id(shapes) != 0),
        places,
        rule="people live at points",
        cure="give a point layer",
        field="geometry",
    )
    table: dict[str, Any] = {
        name: numbers(frame[name], field=name, places=places, faults=faults)
        if name in frame
        else np.full(len(frame), np.nan)
        for name in _GROUPS
    }
    if faults:
        raise InputError(f"{file}: {len(faults)} faults in the demand points", faults)
    if "unit_code" in frame:
        code = frame["unit_code"].astype("string").str.strip()
        stray = ~code.isin(units["unit_code"])
        faults += found_at(
            stray,
            places,
            rule="a demand point belongs to a unit that exists",
            cure="correct the code, or leave the column out to go by place",
            field="unit_code",
            values=code.to_numpy(dtype=object),
        )
        if faults:
            raise InputError(f"{file}: {len(faults)} demand points belong to no unit", faults)
    else:
        code = _unit_at(shapes, units)
        outside = int(code.isna().sum())
        if outside:
            findings.append(
                Finding(
                    "warning",
                    "people outside every unit count for none",
                    f"{outside} points left out",
                    file,
                )
            )
    identity = (
        frame["demand_id"].astype("string")
        if "demand_id" in frame
        else pd.Series([f"D{number:06d}" for number in range(1, len(frame) + 1)], dtype="string")
    )
    demand = gpd.GeoDataFrame(
        {
            "demand_id": identity,
            "unit_code": code,
            "name": frame["name"].astype("string")
            if "name" in frame
            else pd.array([pd.NA] * len(frame), "string"),
            **table,
            "role": "people",
            "source": "surveyed",
        },
        geometry=shapes,
        crs=units.crs,
    )
    return with_findings(demand[demand["unit_code"].notna()].reset_index(drop=True), findings)


def _unit_at(points: NDArray[np.object_], units: gpd.GeoDataFrame) -> pd.Series:
    """Give the code of the unit each point lies in; the first in order where borders are shared."""
    tree = shapely.STRtree(units.geometry.array)
    which, unit = tree.query(points, predicate="intersects")
    code = pd.Series([pd.NA] * len(points), dtype="string")
    order = np.lexsort((unit, which))[::-1]
    code.iloc[which[order]] = units["unit_code"].to_numpy()[unit[order]]
    return code


def _grid(
    units: gpd.GeoDataFrame, crs: Any, spacing_m: float
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Give points of a regular grid and the unit each lies in; every unit has at least one."""
    shapes = np.asarray(units.geometry.to_crs(crs).array)
    points, owner = [], []
    for position, shape in enumerate(shapes):
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
    share = 1.0 / np.bincount(owner)[owner]
    table = {
        name: units[name].astype("Float64").to_numpy(dtype=float, na_value=np.nan)[owner] * share
        for name in _GROUPS
    }
    number = pd.Series(owner).groupby(owner).cumcount() + 1
    codes = units["unit_code"].astype("string").to_numpy()[owner]
    return gpd.GeoDataFrame(
        {
            "demand_id": pd.Series(codes, dtype="string") + "-A" + number.astype(str).str.zfill(4),
            "unit_code": codes,
            "name": pd.array([pd.NA] * len(owner), "string"),
            **table,
            "role": "people",
            "source": "assumed",
        },
        geometry=gpd.GeoSeries(points, crs=roads.crs).to_crs(units.crs).array,
        crs=units.crs,
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
