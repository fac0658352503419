"""Opening a raster, or saying what is wrong with it; rasterio is an optional dependency."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError, MissingDependencyError, MissingInputError, NoCrsError
from .limits import MOST_BLOCK, allowed, check_archive, check_file

__all__ = ["open_raster"]

# Drivers that open what a file names instead of reading the file.
_REFER = frozenset(
    ["EEDAI", "GTI", "HTTP", "PLMOSAIC", "STACIT", "STACTA", "VRT", "WCS", "WMS", "WMTS"]
)
_BYTES = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "float32": 4}


@contextmanager
def open_raster(path: Path, *, band: int | None, holds: str) -> Iterator[tuple[Any, int]]:
    """Open a raster and settle which band is read.

    Parameters
    ----------
    path : pathlib.Path
        Any raster GDAL reads.
    band : int, optional
        From 1; needed only where there are several.
    holds : str
        What its cells hold, for messages: ``"elevation"``, ``"population"``.

    Yields
    ------
    raster : rasterio.DatasetReader
        Open, with a CRS.
    band : int
        Which band is read.

    Raises
    ------
    MissingDependencyError, MissingInputError, NoCrsError
        Where rasterio is not installed, there is no such file, or it has no CRS.
    InputError
        Where it is no raster, is damaged, has no such band, or several and none was named.
    """
    try:
        import rasterio  # noqa: PLC0415 - an optional dependency
    except ImportError as fault:
        raise MissingDependencyError(
            f"reading {holds} rasters needs rasterio: pip install 'facility-coverage[elevation]'"
        ) from fault
    if not path.exists():  # nor is it an address for GDAL to ask a server by
        raise MissingInputError(f"{path}: there is no such file")
    check_file(path)
    if path.is_file():
        check_archive(path)
    with warnings.catch_warnings():
        # Said below, as an error.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            raster = rasterio.open(path)
        except rasterio.errors.RasterioIOError as fault:
            raise InputError(f"{path}: not a raster that GDAL can read ({fault})") from None
    with raster:
        if raster.crs is None:
            raise NoCrsError(
                f"{path}: the raster has no CRS; write it into the file, e.g. with "
                "gdal_edit.py -a_srs EPSG:4490"
            )
        if band is None and raster.count > 1:
            raise InputError(
                f"{path}: holds {raster.count} bands; say which holds the {holds}, e.g. layer='1'"
            )
        if raster.driver in _REFER:
            raise InputError(
                f"{path}: refers to other files or servers ({raster.driver}); give one"
            )
        chosen = 1 if band is None else band
        if chosen not in raster.indexes:
            raise InputError(f"{path}: there is no band {chosen}; it has {raster.count}")
        height, width = raster.block_shapes[chosen - 1]
        # Blocks are read whole, whatever part of them is wanted.
        block = height * width * _BYTES.get(raster.dtypes[chosen - 1], 8)
        if block > allowed(MOST_BLOCK):
            raise InputError(
                f"{path}: is stored in blocks of {width:,} × {height:,} cells; store it in tiles, "
                "e.g. with gdal_translate -co TILED=YES"
            )
        try:
            yield raster, chosen
        except rasterio.errors.RasterioIOError as fault:
            raise InputError(f"{path}: the raster is damaged ({fault})") from None
