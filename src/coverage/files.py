"""Writing files whole: beside the target first, renamed when complete; and telling them apart."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import CoverageError, OutputError

__all__ = ["file_sha256", "layer_files", "path_from", "write_beside"]

_CURES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some disk, or name a folder on another one"
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "name a folder you may write to, and close the file where it is open",
    ),
}


def write_beside(target: Path, write: Callable[[str], object]) -> Path:
    """Write a file under a temporary name beside the target and rename it when it is complete.

    Parameters
    ----------
    target : pathlib.Path
        Where the file is to stand; its folder is made if need be.
    write : callable
        Given a path (with the target's suffix), writes the file there.

    Returns
    -------
    pathlib.Path
        The target. Where writing fails nothing of it is left and an older file stays as it was.

    Raises
    ------
    OutputError
        Where the disk is full, or the folder cannot be written to.
    """
    try:
        return _write(target, write)
    except CoverageError:
        raise
    except OSError as fault:
        cure = _CURES.get(fault.errno or 0, "name another folder, and see that the disk is there")
        raise OutputError(
            f"{target}: cannot be written ({fault.strerror or fault}); {cure}. Nothing "
            "half-written was left"
        ) from fault


def _write(target: Path, write: Callable[[str], object]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        suffix=target.suffix, prefix=f".{target.stem}-", dir=target.parent
    )
    os.close(handle)
    try:
        write(name)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        with Path(name).open("rb+") as file:  # the name must not outlive what it names
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def file_sha256(path: Path) -> str:
    """Give a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def layer_files(path: Path) -> list[Path]:
    """Give the files a layer consists of."""
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    if path.suffix.lower() == ".shp":
        return sorted(each for each in path.parent.iterdir() if each.stem == path.stem)
    return [path]


def path_from(folder: Path, path: Path) -> str:
    """Give where a file is, seen from a folder; from its root where that is another drive."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()
