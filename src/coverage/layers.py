"""Reading a layer of features: vector files, GeoParquet, PostGIS tables.

Shapefiles do not reliably say how their texts are encoded: the ``.cpg`` beside them is lost, or
says UTF-8 over GBK. The texts themselves tell, so they are asked, and the report says so.
"""

from __future__ import annotations

import difflib
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import shapely

from .datums import ballpark
from .errors import Finding, InputError, MissingDependencyError, MissingInputError, NoCrsError
from .intake import IntakeLog, finding, with_findings
from .limits import (
    MOST_CELLS,
    Meter,
    allowed,
    check_archive,
    check_file,
    check_nesting,
    check_records,
    members,
    pieces,
)
from .postgis import is_database_url, read_table

__all__ = ["check_crs", "not_exact", "read_layer", "text_encoding"]

_PARQUET = frozenset([".parquet", ".geoparquet"])
_SAMPLED_RECORDS = 5000  # of a shapefile, to tell the encoding of its texts by
_SAMPLED_BYTES = 50_000_000
_IN_ARCHIVES = (".shp", ".gpkg", ".geojson", ".json", ".kml")
_RAW = "ISO-8859-1"  # keeps every byte, so that the right encoding can be applied afterwards
_UNREADABLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.GeometryError,
    shapely.errors.GEOSException,
    ValueError,  # UnicodeDecodeError among them
    OverflowError,
    MemoryError,
)
_PARQUET_CELLS = 100 * MOST_CELLS  # in columns, a cell takes a hundredth of what it does in a sheet
_GEOGRAPHIC_LIMITS = (180.0, 90.0)


def read_layer(
    path: Path | str,
    *,
    layer: str | None = None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None = None,
) -> gpd.GeoDataFrame:
    """Read one layer of a vector file or a PostGIS table, or say what is wrong with it.

    Parameters
    ----------
    path : pathlib.Path or str
        Any file GDAL reads (GeoPackage, Shapefile, FileGDB, GeoJSON, …; zipped too), GeoParquet,
        or the URL of a PostGIS database (``postgresql://user@host/database``).
    layer : str, optional
        Which layer, of a database which table (``"schema.table"``); needed only where there are
        several.
    choose : callable, optional
        Given the names of the columns, which to read (the geometry always is); None for all.

    Returns
    -------
    GeoDataFrame
        As it stands in the file, in its CRS. Texts of a Shapefile are read in the encoding their
        bytes are in, whatever a ``.cpg`` says; ``intake_report`` of the frame tells which.

    Raises
    ------
    MissingInputError
        Where the file or the layer does not exist; names what does.
    NoCrsError
        Where the layer does not state its CRS.
    InputError
        Where it cannot be read, holds nothing, or holds several layers and none was named.
    """
    if is_database_url(path):
        frame, place = read_table(str(path), layer, choose=choose)
        cure = "with UpdateGeometrySRID"
    else:
        path, cure = Path(path), "where the file was made (a .prj beside a Shapefile)"
        frame, place = _read_file(path, layer, choose), str(path)
    if len(frame) == 0:
        raise InputError(f"{place}: the layer is empty; give a file that holds features")
    if frame.crs is None:
        raise NoCrsError(
            f"{place}: the layer does not say its coordinate reference system; set it "
            f"{cure}, e.g. to EPSG:4490 for CGCS2000 lon/lat"
        )
    return frame


def check_crs(frame: gpd.GeoDataFrame, log: IntakeLog) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Note geometries that cannot be in the CRS the layer states, and a CRS with unknown datum.

    Parameters
    ----------
    frame : GeoDataFrame
        As read.
    log : IntakeLog
        Of its rows.

    Returns
    -------
    array of bool
        By row, whether the geometry lies where its CRS has no place: metres in a CRS of degrees,
        or degrees in one of metres.
    """
    bounds = frame.geometry.bounds.to_numpy()
    with np.errstate(invalid="ignore"):
        farthest = np.maximum(np.abs(bounds[:, :2]), np.abs(bounds[:, 2:]))
        in_degrees = (farthest <= _GEOGRAPHIC_LIMITS).all(axis=1)
    known = ~np.isnan(farthest).any(axis=1)
    geographic = bool(frame.crs.is_geographic)
    wrong = known & (~in_degrees if geographic else in_degrees)
    # A local grid may have its origin in the county: only a layer of both kinds is mixed.
    if not geographic and known.any() and (wrong == known).all() and farthest[known].max() < 1.0:
        wrong[:] = False
    shown = [
        "" if not each else f"{x:g}, {y:g}"
        for each, x, y in zip(wrong, bounds[:, 0], bounds[:, 1], strict=True)
    ]
    code = "geometry.metres_in_degrees" if geographic else "geometry.degrees_in_metres"
    log.at(code, wrong, field="geometry", values=shown, crs=frame.crs.to_string())
    if not_exact(frame.geometry[known & ~wrong]):
        log.whole("crs.ballpark", field="geometry", value=frame.crs.name)
    return wrong


def not_exact(shapes: gpd.GeoSeries) -> bool:
    """Say whether nobody has published how the shapes' CRS lies to WGS-84 where they are."""
    return ballpark(shapes.crs, bounds=_degrees(shapes.bounds.to_numpy(), shapes.crs))


def _degrees(
    bounds: np.ndarray[Any, np.dtype[np.float64]], crs: Any
) -> tuple[float, float, float, float] | None:
    """Give where geometries lie in degrees, roughly; None where that cannot be told."""
    if not len(bounds):
        return None
    box = (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
    if not crs.is_geographic:
        way = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        box = way.transform_bounds(*box)
    return tuple(float(each) for each in box) if np.isfinite(box).all() else None  # type: ignore[return-value]


def _read_file(
    path: Path,
    layer: str | None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None,
) -> gpd.GeoDataFrame:
    if not path.exists():
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise MissingInputError(f"{path}: there is no such file{hint}")
    check_file(path)
    if path.suffix.lower() in _PARQUET:
        return _read_parquet(path, choose)
    if path.suffix.lower() == ".zip" and not path.name.lower().endswith(".gdb.zip"):
        with _unpacked(path, layer) as (inside, inner):
            check_file(inside, place=str(path))
            return _read_with_gdal(inside, inner, choose, place=path)
    if path.is_file():
        check_archive(path)
    return _read_with_gdal(path, layer, choose, place=path)


@contextmanager
def _unpacked(path: Path, layer: str | None) -> Iterator[tuple[Path, str | None]]:
    """Unpack the layer of an archive, in whatever folder of it and under whatever name it is.

    Names in archives made on Chinese Windows are in GBK, which not every reader understands; so
    the parts are unpacked under names of our own.
    """
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            parts = {m.filename: m for m in members(archive, path)}
            meter = Meter(path, folder)
            found = [m for m in parts if PurePosixPath(m).suffix.lower() in _IN_ARCHIVES]
            if layer is not None and len(found) > 1:
                found = [m for m in found if PurePosixPath(m).stem == layer] or found
            if len(found) != 1:
                names = ", ".join(sorted(found)) or "none"
                raise InputError(
                    f"{path}: an archive holds one layer ({', '.join(_IN_ARCHIVES)}); found "
                    f"{names}: say which with layer=…, or pack it alone"
                )
            main = PurePosixPath(found[0])
            for name, member in parts.items():
                part = PurePosixPath(name)
                if (part.parent, part.stem) == (main.parent, main.stem):
                    target = Path(folder, f"layer{part.suffix.lower()}")
                    with archive.open(member) as packed, target.open("wb") as plain:
                        for piece in pieces(packed, meter):
                            plain.write(piece)
            inside = Path(folder, f"layer{main.suffix.lower()}")
            yield inside, None if main.suffix.lower() == ".shp" else layer
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as fault:
        raise InputError(f"{path}: not a whole ZIP archive ({fault}); pack it again") from None


def _read_parquet(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str] | None] | None
) -> gpd.GeoDataFrame:
    try:
        parquet = import_module("pyarrow.parquet")  # an optional dependency
        wanted = None
        schema = parquet.read_schema(path)
        if choose is not None:
            about = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
            geometry = about.get("primary_column", "geometry")
            chosen = choose([name for name in schema.names if name != geometry])
            wanted = None if chosen is None else [*chosen, geometry]
        _refuse_wide(parquet, path, len(schema.names) if wanted is None else len(wanted))
        frame = gpd.read_parquet(path, columns=wanted)
    except ImportError as fault:
        raise MissingDependencyError(
            "reading GeoParquet needs pyarrow: pip install 'facility-coverage[parquet]'"
        ) from fault
    except (ValueError, TypeError, KeyError, AttributeError, OSError, MemoryError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"{path}: cannot be read as GeoParquet ({fault})") from None
    frame.attrs.clear()  # what was noticed when it was written is another story
    return frame


def _refuse_wide(parquet: Any, path: Path, columns: int) -> None:
    """Refuse a Parquet file that unpacks to too much, and geometries that end the process."""
    with parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        # The same value a billion times takes a few bytes: rows count, not what they take packed.
        cells = sum(max(group.num_rows, 0) for group in groups) * columns
        if cells > allowed(_PARQUET_CELLS):
            raise InputError(f"{path}: claims {cells:,} cells; give the part of this county")
        about = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
        meter = Meter(path)
        binary = [
            name
            for name, told in about.get("columns", {}).items()
            if told.get("encoding") == "WKB" and name in file.schema_arrow.names
        ]
        for batch in file.iter_batches(columns=binary) if binary else ():
            meter.add(batch.nbytes)
            for column in batch.columns:
                check_nesting(column.to_pylist(), path)


def _read_with_gdal(
    path: Path,
    layer: str | None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None,
    *,
    place: Path,
) -> gpd.GeoDataFrame:
    """Read a layer GDAL knows; messages name `place`."""
    try:
        found = pyogrio.list_layers(path)
    except (pyogrio.errors.DataSourceError, UnicodeDecodeError) as fault:
        raise InputError(f"{place}: cannot be read as a vector file ({fault})") from None
    layers = [str(name) for name, _ in found]
    spatial = [str(name) for name, kind in found if kind is not None]
    if layer is not None and layer not in layers:
        raise MissingInputError(f"{place}: no layer {layer!r}; it has {', '.join(layers)}")
    if layer is None and len(spatial) > 1:
        raise InputError(f"{place}: holds the layers {', '.join(spatial)}; say which with layer=…")
    if not spatial:
        raise InputError(f"{place}: holds no layer with geometries")
    layer = layer or spatial[0]
    texts = _shapefile_texts(path, layer)
    encoding = None if texts is None else _RAW
    try:
        wanted = None
        info = pyogrio.read_info(path, layer=layer, encoding=encoding)
        check_records(path, int(info["features"]), place=place)
        if choose is not None:
            raw = [str(name) for name in info["fields"]]
            by_name = {_decoded(name, texts): name for name in raw}
            chosen = choose(list(by_name))
            wanted = None if chosen is None else [by_name[name] for name in chosen]
        # A third of the time, where pyarrow is installed.
        quick = choose is not None and encoding is None and find_spec("pyarrow") is not None
        if quick:  # geometries then come as they stand in the file, seen by nobody
            about, table = pyogrio.read_arrow(path, layer=layer, columns=[])
            check_nesting(table[about["geometry_name"] or "wkb_geometry"].to_pylist(), place)
        frame = pyogrio.read_dataframe(
            path, layer=layer, columns=wanted, encoding=encoding, use_arrow=quick
        )
    except _UNREADABLE as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"{place}: layer {layer!r} cannot be read ({fault})") from None
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f"{place}: layer {layer!r} has no geometries")
    return frame if texts is None else _with_texts(frame, texts, place.name)


@dataclass(frozen=True)
class _Texts:
    """How a shapefile's texts are encoded, and what its ``.cpg`` says."""

    encoding: str
    declared: str


def _decoded(text: Any, texts: _Texts | None) -> Any:
    """Apply the right encoding to text read byte by byte; what was cut midway loses its end."""
    if texts is None or not isinstance(text, str):
        return text
    return (
        text.encode(_RAW, errors="replace").decode(texts.encoding, errors="ignore").rstrip("\x00")
    )


def _with_texts(frame: gpd.GeoDataFrame, texts: _Texts, file: str) -> gpd.GeoDataFrame:
    frame = frame.rename(columns=lambda name: name if name == "geometry" else _decoded(name, texts))
    for name in frame.columns.drop("geometry"):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map({
                each: _decoded(each, texts) for each in frame[name].dropna().unique()
            })  # fmt: skip
    code = "layer.encoding_contradicted" if texts.declared else "layer.encoding"
    if texts.declared and _same_encoding(texts.declared, texts.encoding):
        return frame
    told: list[Finding] = [
        finding(code, file=file, value=texts.declared, encoding=texts.encoding.upper())
    ]
    return with_findings(frame, told)


def _same_encoding(declared: str, found: str) -> bool:
    family = {"gbk": "gb18030", "gb2312": "gb18030", "936": "gb18030", "cp936": "gb18030"}
    name = declared.strip().lower().replace("_", "-")
    name = family.get(name, {"utf8": "utf-8", "65001": "utf-8"}.get(name, name))
    return name == found


def _shapefile_texts(path: Path, layer: str) -> _Texts | None:
    """Tell the encoding of a shapefile's texts; None for other formats and plain ASCII."""
    parts = _shapefile_parts(path, layer)
    if parts is None:
        return None
    table, declared = parts
    encoding = text_encoding(_dbf_texts(table))
    return None if encoding is None else _Texts(encoding, declared)


def _shapefile_parts(path: Path, layer: str) -> tuple[bytes, str] | None:
    """Give the start of a shapefile's table and the text of its .cpg."""
    folder, stem = (path, layer) if path.is_dir() else (path.parent, path.stem)
    if not path.is_dir() and path.suffix.lower() not in {".shp", ".dbf"}:
        return None
    found = {p.suffix.lower(): p for p in folder.glob(f"{_literal(stem)}.*")}
    if ".dbf" not in found or ".shp" not in found:
        return None
    with found[".dbf"].open("rb") as file:
        table = file.read(_SAMPLED_BYTES)
    cpg_path = found.get(".cpg")
    return table, cpg_path.read_bytes()[:40].decode("ascii", "ignore").strip() if cpg_path else ""


def _literal(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _dbf_texts(table: bytes) -> Iterator[bytes]:
    """Give the names of fields and the texts in them, as bytes (dBASE III)."""
    head, field_length = 32, 32
    if len(table) < head:
        return
    records, header, width = struct.unpack_from("<IHH", table, 4)
    offset, spans = 1, []
    for start in range(head, min(header, len(table)) - field_length + 1, field_length):
        if table[start] == 0x0D:  # noqa: PLR2004 - the end of the list of fields
            break
        yield table[start : start + 11].split(b"\x00")[0]
        length = table[start + 16]
        if table[start + 11 : start + 12] == b"C":
            spans.append((offset, offset + length))
        offset += length
    stream = io.BytesIO(table)
    stream.seek(header)
    for _ in range(min(records, _SAMPLED_RECORDS)):
        record = stream.read(width) if width else b""
        if not record:
            return
        for start, end in spans:
            yield record[start:end].rstrip(b" \x00")


def text_encoding(texts: Iterator[bytes] | Sequence[bytes]) -> str | None:
    """Tell by their content whether texts are UTF-8 or GB18030 (GBK); None where all are ASCII.

    Parameters
    ----------
    texts : iterable of bytes
        Names and values; their last character may be cut midway, as fields of fixed width do.

    Returns
    -------
    {"utf-8", "gb18030", None}
        The encoding that leaves the fewest bytes unread; of two equal ones that which gives more
        of the characters Chinese texts are made of.

    Examples
    --------
    >>> text_encoding(["联通村".encode("gbk")]), text_encoding(["联通村".encode()]), text_encoding([b"a"])
    ('gb18030', 'utf-8', None)
    """  # noqa: E501 - the example is one line
    foreign = [text for text in texts if not text.isascii()]
    if not foreign:
        return None

    def quality(encoding: str, cut: int) -> tuple[int, int]:
        lost = common = 0
        for text in foreign:
            # What a cut leaves behind at the end is no fault.
            decoded = text.decode(encoding, errors="replace")
            tail = decoded[-cut:].count("\ufffd") if decoded.endswith("\ufffd") else 0
            lost += decoded.count("\ufffd") - tail
            common += sum("\u4e00" <= c <= "\u9fff" for c in decoded)
        return -lost, common

    return max(("utf-8", 3), ("gb18030", 1), key=lambda each: quality(*each))[0]
