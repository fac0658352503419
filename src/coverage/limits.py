"""What a file may ask of this machine: the limits, all in one place, and the refusals.

What a header says is never believed: bytes are counted while they are unpacked. The limits are far
above any county's data; where real data need more, the environment variable
``FACILITY_COVERAGE_LIMITS`` multiplies all of them (``FACILITY_COVERAGE_LIMITS=4``).
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any
from xml.parsers import expat

from .errors import ConfigError, InputError

__all__ = [
    "Meter",
    "allowed",
    "check_archive",
    "check_file",
    "check_nesting",
    "check_records",
    "members",
    "pieces",
    "refuse_doctype",
    "unpacked",
]

MOST_ENTRIES = 10_000  # files in an archive
MOST_UNPACKED = 4_000_000_000  # bytes an archive unpacks to, all files together
MOST_RATIO = 250  # bytes unpacked for each byte packed, …
UNSUSPECTED = 50_000_000  # … beyond so many
# Of a sheet or separated text. A stray cell at the far corner would take a terabyte.
MOST_CELLS = 30_000_000
MOST_TEXT = 2_000_000_000  # bytes of separated text
MOST_TOML = 10_000_000  # bytes of a plan or county file
MOST_PROLOG = 1_000_000  # bytes of XML before its first element
MOST_NESTED = 256  # collections within one geometry
MOST_BLOCK = 500_000_000  # bytes of a raster's block, which is read at once

_RAISE = "; if it is what it should be, set FACILITY_COVERAGE_LIMITS=4 to allow four times as much"
_PIECE = 1 << 20
_START = 1 << 16
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
_OPEN: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open}
_PACKED = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2"}
# What opens other files, or asks servers, in place of being data.
_REFERS = re.compile(
    rb"<(?:OGRVRT|OGRWFS|VRTDataset|GDAL_?WMS|GDAL_?WMTS|GDALTileIndex|WCS_GDAL)\w*|gdal_streamed_alg",
    re.IGNORECASE,
)
# Headers of geometries that hold others, in WKB and its dialects: multi… and collections.
_NESTS = re.compile(
    rb"\x01(?:[\x04-\x07]\x00\x00[\x00\x20\x40\x60\x80\xa0\xc0\xe0]"
    rb"|[\xec-\xef]\x03\x00\x00|[\xd4-\xd7]\x07\x00\x00|[\xbc-\xbf]\x0b\x00\x00)"
    rb"|\x00(?:[\x00\x20\x40\x60\x80\xa0\xc0\xe0]\x00\x00[\x04-\x07]"
    rb"|\x00\x00\x03[\xec-\xef]|\x00\x00\x07[\xd4-\xd7]|\x00\x00\x0b[\xbc-\xbf])",
    re.DOTALL,
)


def allowed(limit: int) -> float:
    """Give a limit as ``FACILITY_COVERAGE_LIMITS`` has it."""
    text = os.environ.get("FACILITY_COVERAGE_LIMITS", "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ConfigError(f"FACILITY_COVERAGE_LIMITS must be a number above 0, not {text!r}")
    return limit * factor


class Meter:
    """Counts what a packed file really unpacks to, and stops it in time.

    Half of what is free in the `folder` it is unpacked to stays free.
    """

    def __init__(self, path: Path, folder: str | Path | None = None) -> None:
        self.path = path
        self.packed = path.stat().st_size
        self.real = 0
        self.room = shutil.disk_usage(folder).free // 2 if folder is not None else float("inf")

    def add(self, size: int) -> None:
        """Count bytes, or raise `InputError` where there are too many."""
        self.real += size
        if self.real > self.room:
            raise InputError(
                f"{self.path}: unpacks to more than half of the free disk ({self.room:,} bytes); "
                "free some, or set TMPDIR to a folder on another disk"
            )
        suspect = self.real > allowed(UNSUSPECTED)
        if suspect and self.real > allowed(MOST_RATIO) * self.packed:
            raise InputError(
                f"{self.path}: unpacks to more than {allowed(MOST_RATIO):,.0f} times its size, as "
                f"no data do; ask for the file anew{_RAISE}"
            )
        if self.real > allowed(MOST_UNPACKED):
            raise InputError(
                f"{self.path}: unpacks to more than {allowed(MOST_UNPACKED):,.0f} bytes; "
                f"leave out what is not needed{_RAISE}"
            )


def pieces(file: IO[bytes], meter: Meter) -> Iterator[bytes]:
    """Read an unpacking file piece by piece, each counted before it is given."""
    while piece := file.read(_PIECE):
        meter.add(len(piece))
        yield piece


def members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Give the files of an archive, or refuse one that reaches out of its folder or is endless."""
    listed = archive.infolist()
    if len(listed) > allowed(MOST_ENTRIES):
        raise InputError(
            f"{path}: holds {len(listed):,} files, more than {allowed(MOST_ENTRIES):,.0f}; pack "
            f"only what belongs to the layer{_RAISE}"
        )
    for member in listed:
        # The name as it was packed: reading an archive may have mended it.
        name = PurePosixPath((member.orig_filename or member.filename).replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match("[A-Za-z]:", str(name)):
            raise InputError(
                f"{path}: the name {member.filename!r} leads out of the archive's folder; pack the "
                "files anew, from their own folder"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(
                f"{path}: {member.filename!r} is a link to another file; pack the file itself"
            )
    return [member for member in listed if not member.is_dir()]


def check_archive(path: Path) -> None:
    """Unpack a packed file to nowhere, and refuse it where it is too much or hostile.

    For what a compiled reader unpacks by itself (``.gdb.zip``, ``.kmz``, ``.gml.gz``); other files
    pass unread.
    """
    with path.open("rb") as file:
        start = file.read(4)
    packing = next((kind for mark, kind in _PACKED.items() if start.startswith(mark)), "")
    meter = Meter(path)
    try:
        if packing == "zip":
            with zipfile.ZipFile(path) as archive:
                for member in members(archive, path):
                    with archive.open(member) as part:
                        _look_through(pieces(part, meter), f"{path}: {member.filename}")
        elif packing:
            with _OPEN[packing](path) as part:
                _look_through(pieces(part, meter), str(path))
    except _BROKEN as fault:
        raise InputError(f"{path}: not a whole archive ({fault}); pack it again") from None


def _look_through(parts: Iterable[bytes], place: str) -> None:
    for number, piece in enumerate(parts):
        if number == 0:
            _refuse_start(piece[:_START], place)
            refuse_doctype(io.BytesIO(piece), place)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a ``.gz`` or ``.bz2`` file into a temporary folder; give others as they are."""
    if path.suffix.lower() not in {".gz", ".bz2"}:
        check_file(path)
        yield path
        return
    with TemporaryDirectory() as folder:
        plain = Path(folder, f"plain{Path(path.stem).suffix}")
        try:
            with _OPEN[path.suffix.lower()[1:]](path) as packed, plain.open("wb") as target:
                meter = Meter(path, folder)
                for piece in pieces(packed, meter):
                    target.write(piece)
        except _BROKEN as fault:
            raise InputError(f"{path}: cannot be unpacked ({fault}); ask for it anew") from None
        check_file(plain, place=str(path))
        yield plain


def check_file(path: Path, *, place: str = "", most: int | None = None) -> None:
    """Refuse what is no plain file, refers to other files or servers, or declares XML entities.

    A folder (FileGDB) passes; `most` bytes are allowed, and messages call the file `place`.
    """
    place = place or str(path)
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        return
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{place}: is a device or a pipe; give a file")
    if most is not None and about.st_size > allowed(most):
        raise InputError(
            f"{place}: has {about.st_size:,} bytes, more than {allowed(most):,.0f}; give the file "
            f"of one county{_RAISE}"
        )
    with path.open("rb") as file:
        _refuse_start(file.read(_START), place)
        file.seek(0)
        refuse_doctype(file, place)


def _refuse_start(start: bytes, place: str) -> None:
    if found := _REFERS.search(start):
        word = found[0].decode("ascii", "replace")
        raise InputError(
            f"{place}: holds no data but refers to other files or servers ({word}); give the file "
            "it refers to"
        )


def refuse_doctype(file: IO[bytes], place: str) -> None:
    """Refuse XML with a document type: it may name other files, or entities without end."""
    start = file.read(_START)
    if not start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<"):
        return
    parser, read = expat.ParserCreate(), 0
    doctype = InputError(
        f"{place}: declares a document type (<!DOCTYPE …>), with which XML reads other files or "
        "grows without end; no map data need it: delete the declaration, or save the file anew"
    )
    parser.StartDoctypeDeclHandler = lambda *_: _raise(doctype)
    parser.StartElementHandler = lambda *_: _raise(StopIteration())
    try:
        while start:
            parser.Parse(start)
            read += len(start)
            if read > allowed(MOST_PROLOG):
                _raise(InputError(f"{place}: has no XML element in its first megabyte"))
            start = file.read(_START)
    except InputError:
        raise
    except (StopIteration, expat.ExpatError, ValueError, LookupError):
        return  # the root is reached; or the reader proper, the same parser, says what is wrong


def _raise(fault: Exception) -> None:
    raise fault


def check_records(path: Path, count: int, *, place: Path) -> None:
    """Refuse a file that claims more records than it has bytes, before they are made room for."""
    parts = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    real = sum(part.stat().st_size for part in [path, *parts] if part.is_file())
    # Of what is packed, the reader's own unpacking has been measured before.
    if path.suffix.lower() in {".zip", ".kmz", ".shz", ".gz"}:
        real *= MOST_RATIO
    if count > real:
        raise InputError(
            f"{place}: claims {count:,} features, and has {real:,} bytes; the file is damaged: "
            "ask for it anew"
        )


def check_nesting(shapes: Iterable[bytes | None], place: str | Path) -> None:
    """Refuse WKB of collections within collections, on which GEOS would end the process."""
    most = allowed(MOST_NESTED)
    for row, shape in enumerate(shapes, start=1):
        # A point, line or polygon holds no other geometry.
        if shape is None or not _NESTS.match(shape):
            continue
        if sum(1 for _ in _NESTS.finditer(shape)) > most:
            raise InputError(
                f"{place}, row {row}: a geometry of more than {most:,.0f} collections within "
                "collections; draw it as polygons, lines or points"
            )
