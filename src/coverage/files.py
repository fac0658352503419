"""Writing files whole: beside the target first, renamed when complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["write_beside"]


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
    """
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
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
