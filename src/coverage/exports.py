"""Pages as pictures and PDF, by a browser of the Chromium family on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, MissingDependencyError, OutputError
from .files import write_beside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .page import OfflineMap

__all__ = ["export_pdf", "export_png", "find_browser"]

PAPERS = ("A4", "A3")

_BROWSER_VARIABLE = "FACILITY_COVERAGE_BROWSER"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "brave-browser",
)
_PLACES = {
    "win32": (
        r"Google\Chrome\Application\chrome.exe",
        r"Microsoft\Edge\Application\msedge.exe",
    ),
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ),
}
_SECONDS = 120
_DRAWN_MS = 4_000  # of the page's own clock, which runs as fast as the page is drawn
# Nothing is fetched, nothing is kept, and the machine's own profile is left alone.
_ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--virtual-time-budget={_DRAWN_MS}",
)


def find_browser() -> Path:
    """Find a browser of the Chromium family.

    Returns
    -------
    pathlib.Path
        The one named by the environment variable ``FACILITY_COVERAGE_BROWSER``, else Chromium,
        Chrome, Edge or Brave where they are usually installed.

    Raises
    ------
    MissingDependencyError
        Where there is none.
    """
    for place in _candidates():
        if place.is_file():
            return place
    raise MissingDependencyError(
        "pictures and PDF need a browser on this machine: install Chromium, Chrome or Edge, or "
        f"name one in the environment variable {_BROWSER_VARIABLE}; without one use "
        "coverage_picture"
    )


def _candidates() -> Iterable[Path]:
    named = os.environ.get(_BROWSER_VARIABLE)
    if named:
        yield Path(named)
        return
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            yield Path(found)
    roots = [os.environ.get(name, "") for name in ("PROGRAMFILES", "PROGRAMFILES(X86)")]
    for place in _PLACES.get(sys.platform, ()):
        yield from (Path(root, place) for root in ([""] if place.startswith("/") else roots))


def export_png(
    page: OfflineMap | str | Path,
    path: str | Path,
    *,
    width: int = 1600,
    height: int = 1000,
    scale: float = 2.0,
) -> Path:
    """Save a map or page as a picture.

    Parameters
    ----------
    page : OfflineMap, str or pathlib.Path
        A map, or an HTML file.
    path : str or pathlib.Path
        Where to write; ends in ``.png``.
    width, height : int
        Of the window, in pixels of the page.
    scale : float
        Pixels of the picture for one of the page.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    MissingDependencyError
        Where there is no browser (see `find_browser`).
    OutputError
        Where the browser gives no picture; it says why.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> fc.export_png("map.html", "map.jpg")
    Traceback (most recent call last):
    facility_coverage.errors.InputError: a picture is written as .png, not 'map.jpg'
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"a picture is written as .png, not {str(path)!r}")
    options = (f"--window-size={width},{height}", f"--force-device-scale-factor={scale:g}")
    return _printed(page, path, "--screenshot=", options, paper="A4")


def export_pdf(page: OfflineMap | str | Path, path: str | Path, *, paper: str = "A4") -> Path:
    """Save a map or page as a PDF, as its print view has it.

    Parameters
    ----------
    page : OfflineMap, str or pathlib.Path
        A map (printed across, on one sheet) or an HTML file.
    path : str or pathlib.Path
        Where to write; ends in ``.pdf``.
    paper : {"A4", "A3"}
        The sheet a map is laid out for.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        For another paper or ending.
    MissingDependencyError
        Where there is no browser (see `find_browser`).
    OutputError
        Where the browser gives no PDF; it says why.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> fc.export_pdf("map.html", "map.pdf", paper="B5")
    Traceback (most recent call last):
    facility_coverage.errors.InputError: paper must be one of A4, A3, not 'B5'
    """
    if paper not in PAPERS:
        raise InputError(f"paper must be one of {', '.join(PAPERS)}, not {paper!r}")
    if Path(path).suffix.lower() != ".pdf":
        raise InputError(f"a PDF is written as .pdf, not {str(path)!r}")
    return _printed(page, path, "--print-to-pdf=", ("--no-pdf-header-footer",), paper=paper)


def _printed(
    page: OfflineMap | str | Path,
    path: str | Path,
    option: str,
    options: tuple[str, ...],
    *,
    paper: str,
) -> Path:
    """Let a browser open a page and write what it shows."""
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="facility-coverage-") as folder:
        source = Path(folder, "page.html")
        if isinstance(page, str | Path):
            if not Path(page).is_file():
                raise InputError(f"there is no page {str(page)!r} to print")
            source.write_bytes(Path(page).read_bytes())
        else:
            page.save(str(source))
        if paper != PAPERS[0]:
            _lay_out_for(source, paper)
        made = Path(folder, "made").with_suffix(Path(path).suffix.lower())
        # A browser's own sandbox cannot start as root; what it opens is a page of our own.
        root = ("--no-sandbox",) if getattr(os, "geteuid", lambda: 1)() == 0 else ()
        command = [str(browser), *_ARGUMENTS, *root, *options, f"--user-data-dir={folder}/profile"]
        try:
            told = subprocess.run(
                [*command, f"{option}{made}", source.as_uri()],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise OutputError(f"{browser} did not print {path}: {fault}") from fault
        if not made.is_file() or not made.stat().st_size:
            said = "\n".join(told.stderr.strip().splitlines()[-3:])
            raise OutputError(f"{browser} did not print {path} (exit {told.returncode}): {said}")
        return write_beside(Path(path), lambda name: shutil.copyfile(made, name))


def _lay_out_for(source: Path, paper: str) -> None:
    """Make a page print on another sheet: its style, and the size its map is laid out for."""
    text = source.read_text("utf-8")
    style = f"<style>@page {{ size: {paper} landscape; }}</style></head>"
    text = text.replace("</head>", style, 1)
    source.write_text(
        text.replace('class="fc-page"', f'class="fc-page" data-paper="{paper}"'), "utf-8"
    )
