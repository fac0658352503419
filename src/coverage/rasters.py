"""Opening a raster, or saying what is wrong with it; rasterio is an optional dependency."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError, MissingDependencyError, MissingInputError, NoCrsError

__all__ = ["open_raster"]


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
    with warnings.catch_warnings():
        # Said below, as an error.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            raster = rasterio.open(path)
        except rasterio.errors.RasterioIOError as fault:
            if not path.exists():
                raise MissingInputError(f"{path}: there is no such file") from None
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
        chosen = 1 if band is None else band
        if chosen not in raster.indexes:
            raise InputError(f"{path}: there is no band {chosen}; it has {raster.count}")
        try:
            yield raster, chosen
        except rasterio.errors.RasterioIOError as fault:
            raise InputError(f"{path}: the raster is damaged ({fault})") from None
