"""Prepared road networks on disk: one GeoParquet file that any GIS opens and this library reopens.

One row an edge, as `RoadNetwork.edges`; what is known of the nodes at its ends stands in columns
``u_…`` and ``v_…``; where the roads came from and what was found on reading stands in the file's
metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from .errors import CoverageError, InputError, MissingDependencyError
from .files import write_beside
from .limits import check_nesting
from .network import RoadNetwork, row_counts

__all__ = ["is_prepared", "open_network", "save_network"]

_KEY = b"facility_coverage"
_FORMAT = 2


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as fault:
        raise MissingDependencyError(
            "prepared roads need pyarrow: pip install 'facility-coverage[parquet]'"
        ) from fault
    return pa


def save_network(roads: RoadNetwork, path: str | Path) -> Path:
    """Write a network as GeoParquet (see `RoadNetwork.save`)."""
    pa = _pyarrow()
    path = Path(path)
    if path.suffix.lower() not in {".parquet", ".geoparquet"}:
        raise InputError(f"{path}: prepared roads are GeoParquet; give a name ending in .parquet")
    edges, nodes = roads.edges, roads.nodes
    u, v = edges["u"].to_numpy(), edges["v"].to_numpy()
    used, ends = np.unique(np.concatenate([u, v]), return_inverse=True)
    columns: dict[str, Any] = {"u": ends[: len(u)], "v": ends[len(u) :]}
    for name in edges.columns.drop(["u", "v", edges.geometry.name]):
        columns[str(name)] = _storable(pa, edges[name])
    for name in nodes.columns.drop(["x", "y"]):
        values = nodes[name].iloc[used]
        for end, position in (("u", columns["u"]), ("v", columns["v"])):
            columns[f"{end}_{name}"] = _storable(pa, values.iloc[position])
    lines = np.asarray(edges.geometry.array)
    columns["geometry"] = pa.array(shapely.to_wkb(lines), pa.binary())
    geo = {
        "version": "1.0.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["LineString"],
                "crs": roads.crs.to_json_dict(),
                "bbox": edges.total_bounds.tolist(),
            }
        },
    }
    ours = {
        "format": _FORMAT,
        "source": roads.source,
        "findings": list(roads.findings),
        "rows": list(roads.rows),
        "node_columns": [str(name) for name in nodes.columns.drop(["x", "y"])],
    }
    metadata = {b"geo": json.dumps(geo), _KEY: json.dumps(ours, ensure_ascii=False, default=str)}
    table = pa.table(columns).replace_schema_metadata(metadata)
    return write_beside(
        path, lambda beside: pa.parquet.write_table(table, beside, compression="zstd")
    )


def _storable(pa: Any, values: pd.Series) -> Any:
    """Give a column as Arrow takes it: of mixed types, as text."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(values.where(values.isna(), values.astype(str)), pa.string())


def is_prepared(path: Path) -> bool:
    """Tell whether a Parquet file is a network that `RoadNetwork.save` wrote."""
    pa = _pyarrow()
    try:
        metadata = pa.parquet.read_schema(path).metadata
    except pa.ArrowInvalid as fault:
        raise InputError(f"{path}: not a Parquet file ({fault})") from None
    return _KEY in (metadata or {})


def open_network(path: Path) -> RoadNetwork:
    """Open a network that `RoadNetwork.save` wrote."""
    pa = _pyarrow()
    try:
        return _opened(pa, path)
    except (pa.ArrowException, LookupError, TypeError, ValueError, MemoryError, OSError) as fault:
        if isinstance(fault, CoverageError):
            raise
        raise InputError(
            f"{path}: not as RoadNetwork.save wrote it ({fault}); prepare the roads again"
        ) from None


def _opened(pa: Any, path: Path) -> RoadNetwork:
    table = pa.parquet.read_table(path)
    ours = json.loads(table.schema.metadata[_KEY])
    if ours["format"] != _FORMAT:
        raise InputError(
            f"{path}: written as format {ours['format']}, and this version reads {_FORMAT}; "
            "prepare the roads again with RoadNetwork.save"
        )
    geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    check_nesting(table["geometry"].to_pylist(), path)
    lines = shapely.from_wkb(table["geometry"].to_numpy())
    frame = table.drop_columns(["geometry"]).to_pandas()
    u, v = frame["u"].to_numpy(), frame["v"].to_numpy()
    xy, which = shapely.get_coordinates(lines, return_index=True)
    first = np.flatnonzero(np.r_[True, which[1:] != which[:-1]])
    last = np.r_[first[1:], len(xy)] - 1
    count = int(max(u.max(), v.max())) + 1
    if count > 2 * len(u) or min(u.min(), v.min()) < 0:
        raise InputError(f"{path}: names nodes that no edge has; prepare the roads again")
    place = np.empty((count, 2))
    place[u], place[v] = xy[first], xy[last]
    where = np.empty(count, dtype=np.int64)
    where[u] = np.arange(len(u))
    where[v] = np.arange(len(u)) + len(u)
    nodes = {
        name: pd.concat([frame.pop(f"u_{name}"), frame.pop(f"v_{name}")], ignore_index=True)
        .iloc[where]
        .reset_index(drop=True)
        for name in ours["node_columns"]
    }
    crs = pyproj.CRS.from_json_dict(geo["crs"])
    return RoadNetwork(
        gpd.GeoDataFrame(frame, geometry=lines, crs=crs),
        pd.DataFrame({**nodes, "x": place[:, 0], "y": place[:, 1]}),
        source=ours["source"],
        findings=tuple(ours["findings"]),
        rows=tuple(ours["rows"]) or row_counts(path.name, len(u), len(u), crs),
    )
