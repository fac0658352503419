"""A province's files cut into its counties', each with what lies around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .errors import Finding, InputError
from .facilities import read_facilities
from .files import write_beside
from .network import RoadNetwork
from .roads import read_roads

__all__ = ["a_fault", "code_faults", "partition_facilities", "partition_roads", "write_table"]

_CODE = re.compile(r"[0-9A-Za-z_-]{1,32}")


def partition_roads(
    roads: Any, counties: gpd.GeoDataFrame, out: str | Path, *, buffer_m: float = 15_000.0
) -> pd.DataFrame:
    """Cut a province's roads into one prepared network a county, its surroundings included.

    Parameters
    ----------
    roads : path, networkx.MultiDiGraph or RoadNetwork
        Anything `read_roads` reads.
    counties : GeoDataFrame
        `county_code` and outline of each county.
    out : path
        The folder for ``CODE.parquet`` of each.
    buffer_m : float
        How far beyond the outline roads are kept; edges that lie there in part are kept whole.

    Returns
    -------
    DataFrame
        `county_code`, `roads` (path), `edges`, and `edges_cut_off`: edges in the county that only
        roads beyond the buffer join to its main network. Above 0 they count as an island: ask for
        a wider buffer.

    Notes
    -----
    The verdicts are those of a joint run where the buffer is at least as wide as the plan reaches:
    the fastest speed of a mode × the largest limit of its standards (`download.farthest_reach`
    gives it: 15 minutes at 50 km/h are 12.5 km, 30 minutes at 80 km/h 40 km), plus the way between
    point and road (`leg_limit_m`, 500 m). Minutes beyond the limits may differ.
    """
    network = read_roads(roads)
    edges, lines = network.edges, np.asarray(network.edges.geometry.array)
    ends = edges["u"].to_numpy(np.int64), edges["v"].to_numpy(np.int64)
    metres, whole = edges["length_m"].to_numpy(float), _pieces(*ends)
    tree, rows = shapely.STRtree(lines), []
    outlines = _outlines(counties, network.crs)
    near = {c: np.sort(tree.query(o, "dwithin", buffer_m)) for c, o in outlines.items()}
    _refuse_empty(near, "road")
    for code, at in near.items():
        cut = edges.iloc[at].reset_index(drop=True)
        path = RoadNetwork(cut, network.nodes, network.source, network.findings).save(
            Path(out) / f"{code}.parquet"
        )
        piece = _pieces(*(end[at] for end in ends))
        main = piece == np.argmax(np.bincount(piece, weights=metres[at]))
        inside = np.isin(at, tree.query(outlines[code], "intersects"))
        joined = whole[at] == whole[at][main][0]
        rows.append((code, path, len(at), int((inside & joined & ~main).sum())))
    return pd.DataFrame(rows, columns=["county_code", "roads", "edges", "edges_cut_off"])


def partition_facilities(
    facilities: Any,
    counties: gpd.GeoDataFrame,
    out: str | Path,
    *,
    buffer_m: float = 15_000.0,
    **reading: Any,
) -> pd.DataFrame:
    """Cut a province's facilities into one GeoParquet a county, its neighbours' included.

    Parameters
    ----------
    facilities : path or GeoDataFrame
        Anything `read_facilities` reads.
    counties, out, buffer_m
        As for `partition_roads`; use the same buffer.
    **reading
        Options of `read_facilities`, e.g. ``datum=``; with ``units=`` of the whole province
        villages are recognised by name.

    Returns
    -------
    DataFrame
        `county_code`, `facilities` (path), `rows`, `rows_outside` (beyond the outline).

    Notes
    -----
    Kept are the facilities within the buffer, those of the county's own units wherever they are (or
    whether they are anywhere), and the hosts these share. A unit is the county's where its code
    begins with the county's, or, with ``units=``, where it lies. Beyond the county's units they
    count as outside (县外), as in any run.
    """
    table = read_facilities(facilities, **reading)
    frame = table.to_crs(table.estimate_utm_crs()) if table.crs.is_geographic else table
    shapes = np.asarray(frame.geometry.array)
    codes, rows, kept = table["unit_code"].fillna("").astype(str), [], {}
    outlines = _outlines(counties, frame.crs)
    own = _units_of(outlines, reading.get("units"), frame.crs)
    for code, outline in outlines.items():
        mine = shapely.dwithin(shapes, outline, buffer_m)
        mine |= codes.str.startswith(code).to_numpy() | codes.isin(own[code]).to_numpy()
        kept[code] = mine | table["facility_id"].isin(table["served_by"][mine].dropna()).to_numpy()
    _refuse_empty({code: np.flatnonzero(mine) for code, mine in kept.items()}, "facility")
    for code, mine in kept.items():
        path = write_table(table[mine], Path(out) / f"{code}.parquet")
        away = shapely.distance(shapes[mine], outlines[code]) > 0
        rows.append((code, path, int(mine.sum()), int(away.sum())))
    return pd.DataFrame(rows, columns=["county_code", "facilities", "rows", "rows_outside"])


def _units_of(
    outlines: Mapping[str, Any], units: gpd.GeoDataFrame | None, crs: Any
) -> dict[str, list[str]]:
    """Give the codes of the units that lie in each county."""
    if units is None:
        return {code: [] for code in outlines}
    places = np.asarray(units.geometry.to_crs(crs).representative_point().array)
    codes = units["unit_code"].to_numpy(dtype=object)
    return {code: codes[shapely.within(places, each)].tolist() for code, each in outlines.items()}


def _pieces(u: np.ndarray[Any, Any], v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell by edge which connected piece it belongs to."""
    used, ends = np.unique(np.concatenate([u, v]), return_inverse=True)
    ends, ones = ends.astype(np.int32), np.ones(len(u), np.int8)
    links = coo_array((ones, (ends[: len(u)], ends[len(u) :])), shape=(len(used),) * 2)
    return connected_components(links.tocsr(), directed=False)[1][ends[: len(u)]]


def _outlines(counties: gpd.GeoDataFrame, crs: Any) -> dict[str, Any]:
    """Give the outline of every county by its code, in order."""
    if "county_code" not in counties or counties.crs is None:
        raise InputError("counties need a column county_code, and a CRS")
    codes = counties["county_code"].astype(str).tolist()
    shapes = shapely.make_valid(np.asarray(counties.geometry.to_crs(crs).array))
    faults = code_faults(codes, "counties")
    faults += [
        Finding("error", "a county has an outline", "give it one", "counties", row=row, value=code)
        for row, (code, none) in enumerate(zip(codes, shapely.is_missing(shapes), strict=True), 1)
        if none
    ]
    if faults:
        raise InputError("counties: outlines cannot be used", faults)
    return dict(sorted(zip(codes, shapes, strict=True)))


def _refuse_empty(kept: Mapping[str, np.ndarray[Any, Any]], what: str) -> None:
    empty = [code for code, rows in kept.items() if not len(rows)]
    if empty:
        raise InputError(f"no {what} lies in or near {', '.join(empty)}: are the CRS right?")


def a_fault(file: str, rule: str = "there is a county", value: str = "", cure: str = "") -> Finding:
    """Give a fault of a list of counties."""
    return Finding("error", rule, cure or "mend the file", file, value=value)


def code_faults(codes: Sequence[str], file: str) -> list[Finding]:
    """Find codes that are none, or not the county's own; they name files and folders."""
    wrong = [each for each in codes if not _CODE.fullmatch(each)]
    again = sorted({each for each in codes if codes.count(each) > 1})
    return [
        *(a_fault(file, "a county's code is letters and digits", each) for each in wrong),
        *(a_fault(file, "a county's code is there once", each) for each in again),
    ]


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write a table whose columns have the same types whatever is in them."""
    words = [c for c, kind in table.dtypes.items() if str(kind) in {"object", "str", "string"}]
    table = table.astype(dict.fromkeys(words, "string"))
    table.attrs = {}
    return write_beside(path, lambda name: table.to_parquet(name, index=False, compression="zstd"))
