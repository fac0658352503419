"""Roads downloaded from OpenStreetMap through OSMnx: asked once, kept on disk, read as arrays.

Nothing else in this package goes to the network. OSMnx finds the place, puts the question to
Overpass and divides large areas; its answers are read as extracts are, without building a graph.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import geopandas as gpd
import numpy as np
import pyproj
import shapely

from .conditions import why_invalid
from .errors import CoverageError, Finding, InputError, NoCrsError
from .files import write_beside
from .graphs import metric_crs
from .intake import finding
from .network import RoadNetwork
from .osm import OsmWays, read_overpass_ways
from .roads import network_from_ways
from .terms import LANGUAGES, label

if TYPE_CHECKING:
    from .standards import Plan

__all__ = ["DownloadError", "download_roads", "farthest_reach"]

_OVERPASS = "https://overpass-api.de/api"
_NOMINATIM = "https://nominatim.openstreetmap.org/"
_CREDIT = "© OpenStreetMap contributors (ODbL)"
# All that the reader of extracts looks at: OSMnx's own network types leave out platforms, which
# people walk on, and change from version to version.
_WAYS = '["highway"]["area"!~"yes"]'
_LON_LAT = pyproj.CRS("EPSG:4326")
_METRES_PER_MINUTE_AT_1_KPH = 1000.0 / 60.0
# Tobler's function is fastest downhill at 5 %, exp(3.5 × 0.05) times as fast as on the flat.
_DOWNHILL = math.exp(3.5 * 0.05)
# Servers say so when they are busy; other refusals stay what they are.
_BUSY = frozenset({429, 500, 502, 503, 504})
# OSMnx keeps its settings in a module: one download at a time may have them its way.
_OSMNX = Lock()

Answer = TypeVar("Answer")


class DownloadError(CoverageError, ConnectionError):
    """A server could not be asked, or did not answer with what was asked for."""

    def __init__(self, message: str, *, url: str) -> None:
        self.url = _public(url)
        super().__init__(message.replace(url, self.url))


class _RefusedError(Exception):
    """A server answered, but with a refusal."""

    def __init__(self, reason: str, *, again: bool) -> None:
        self.again = again
        super().__init__(reason)


def download_roads(
    area: str
    | Sequence[float]
    | shapely.Polygon
    | shapely.MultiPolygon
    | gpd.GeoDataFrame
    | gpd.GeoSeries,
    *,
    plan: Plan | None = None,
    buffer_m: float | None = None,
    crs: Any = None,
    cache: str | Path | None = None,
    overpass_url: str = _OVERPASS,
    nominatim_url: str = _NOMINATIM,
    retries: int = 3,
    wait_s: float = 5.0,
    timeout_s: float = 180.0,
) -> RoadNetwork:
    """Download the roads of an area and its surroundings from OpenStreetMap.

    Parameters
    ----------
    area : str, tuple, shapely geometry, GeoDataFrame or GeoSeries
        The name of a place as Nominatim knows it (``"滦平县, 承德市"``); a box
        ``(west, south, east, north)`` or a (Multi)Polygon, in degrees of WGS-84; or a table with
        its CRS, such as the units.
    plan : Plan, optional
        The area is widened by the farthest reach of its standards (see `farthest_reach`), since
        facilities and roads beyond the border count. A standard of 15 minutes by car reaches
        20 km on a motorway at 80 km/h; nothing caps that.
    buffer_m : float, optional
        Metres to widen the area by, instead of what the plan gives; 0 for the area alone. One of
        `plan` and `buffer_m` must be given.
    crs : optional
        The metric CRS to work in; by default the UTM zone of the area's middle.
    cache : path, optional
        Folder that keeps what was downloaded. By default ``facility-coverage/osm`` in the user's
        own: ``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on macOS, else
        ``$XDG_CACHE_HOME`` or ``~/.cache``. An area asked for again is read from there without
        a connection; to have newer data, delete its folder or name another.
    overpass_url, nominatim_url : str
        The servers, in case the county has its own. (Nominatim is asked for names of places only.)
    retries : int
        How often to ask again where a server is busy (429, 5xx), breaks off or cannot be reached.
    wait_s : float
        Seconds before the first new attempt; each further one waits twice as long. After a 429,
        OSMnx also waits for the slot that Overpass announces.
    timeout_s : float
        Seconds the server may work on a question, and may keep silent.

    Returns
    -------
    RoadNetwork
        All ways with a ``highway`` tag that anybody may use, split where they meet: every stretch
        between two OSM nodes that touches the widened area. `source` carries the credit that
        OpenStreetMap's licence asks for and the date of the data; `findings` say what was asked
        for and how far beyond the area.

    Raises
    ------
    ValueError
        Where neither `plan` nor `buffer_m` is given, or a number makes no sense.
    InputError, NoCrsError
        Where the area is no area, no such place is known, or there is no road in it.
    DownloadError
        Where a server still refuses after all attempts, with its url, what it said and what else
        to do.

    Notes
    -----
    The roads are those that `facility_coverage.read_roads` reads from an extract of the same area
    and date, and as there no graph is built before `RoadNetwork.graph` is asked for. OSMnx's own
    settings hold for what is not named here (`requests_kwargs` for proxies, `max_query_area_size`,
    `http_user_agent`, …) and are left as they were; so is ``socket.getaddrinfo``, which OSMnx
    patches. Several threads may call it at once; their questions go one after the other, as
    Overpass asks.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> box = (117.15, 40.85, 117.60, 41.10)
    >>> roads = fc.download_roads(box, plan=fc.load_plan("luanping-2025"))  # doctest: +SKIP

    How far beyond the border it asks is a choice, not a guess:

    >>> fc.download_roads(box)
    Traceback (most recent call last):
        ...
    ValueError: how far beyond the border do roads count? Give the plan, whose farthest reach is \
taken, or buffer_m in metres (0 for the area alone)
    """
    if plan is None and buffer_m is None:
        raise ValueError(
            "how far beyond the border do roads count? Give the plan, whose farthest reach is "
            "taken, or buffer_m in metres (0 for the area alone)"
        )
    if buffer_m is not None and not 0 <= buffer_m < math.inf:
        raise ValueError(f"buffer_m must be metres ≥ 0, not {buffer_m!r}")
    if retries < 0 or wait_s < 0 or timeout_s <= 0:
        raise ValueError("retries and wait_s must be ≥ 0 and timeout_s above 0")
    folder = Path(cache) if cache is not None else _cache_folder()
    findings: list[Finding] = []

    def ask(action: Callable[[], Answer], url: str, *, keep: Path | None = None) -> Answer:
        return _ask(
            action,
            url=url,
            retries=retries,
            wait_s=wait_s,
            timeout_s=timeout_s,
            keep=keep,
            servers={"overpass_url": overpass_url, "nominatim_url": nominatim_url},
        )

    if isinstance(area, str):
        name = area.strip()
        shape, found_as = _place(name, nominatim_url, folder, ask)
        findings.append(
            finding(
                "download.place",
                file=_public(nominatim_url),
                field="area",
                value=name,
                found=found_as,
            )
        )
    else:
        shape = _shape_of(area)
    code = "download.reach_asked"
    words: dict[str, Any] = {}
    if buffer_m is not None:
        reach_m = buffer_m
    else:
        reach_m, code, words = _reach(plan)
    wide = _widened(shape, reach_m)
    stored = _answers(wide, overpass_url, folder, ask)
    answers = [_read_answer(path) for path in sorted(stored.glob("*.json"))]
    dates = sorted(
        {str(answer.get("osm3s", {}).get("timestamp_osm_base", "")) for answer in answers}
    )
    date = next((date for date in dates if date), "")
    source = ", ".join(
        part
        for part in (
            f"OpenStreetMap by {_public(overpass_url)}",
            f"data of {date}" * bool(date),
            _CREDIT,
        )
        if part
    )
    coords, way, key, ways, source_crs, noticed, read = _touching(
        read_overpass_ways(answers, source), wide, source
    )
    findings.append(
        finding(
            code,
            file=_public(overpass_url),
            field="buffer_m",
            value=f"{reach_m:.0f}",
            reach=f"{reach_m:,.0f}",
            folder=stored,
            **words,
        )
    )
    return network_from_ways(
        coords,
        way,
        key,
        ways,
        source_crs,
        (*(asdict(each) for each in findings), *noticed),
        read,
        crs=crs,
        source=source,
    )


def farthest_reach(plan: Plan) -> float:
    """Give how far anybody can get within the standards of a plan, in metres as the crow flies.

    Parameters
    ----------
    plan : Plan
        Its standards' alternatives and its modes.

    Returns
    -------
    float
        The greatest of: the minutes of an alternative × the greatest speed of its mode on any
        class of road, or downhill; metres where an alternative is set in metres.

    Examples
    --------
    >>> from facility_coverage import load_plan
    >>> from facility_coverage.download import farthest_reach
    >>> farthest_reach(load_plan("luanping-2025"))  # 30 minutes at 80 km/h
    40000.0
    """
    return _reach(plan)[0]


def _reach(plan: Plan | None) -> tuple[float, str, dict[str, Any]]:
    """Give the farthest reach, and how it comes about: the rule that says it, and its words."""
    reaches: list[tuple[float, str, dict[str, Any]]] = []
    for standard in plan.standards if plan is not None else ():
        for alternative in standard.alternatives:
            mode = plan.modes[alternative.mode] if plan is not None else None
            metres = getattr(alternative, "metres", None)
            minutes = getattr(alternative, "minutes", None)
            words = {
                f"{group}_{lang}": label(group, key, lang)
                for lang in LANGUAGES
                for group, key in (
                    ("kind", standard.kind),
                    ("setting", standard.setting),
                    ("mode", alternative.mode),
                )
            }
            if metres is not None and math.isfinite(metres):
                told = words | {"metres": f"{metres:g}"}
                reaches.append((float(metres), "download.reach_metres", told))
            if mode is None or minutes is None or not math.isfinite(minutes):
                continue
            kph = max(mode.speed_kph, mode.leg_speed_kph, *mode.speeds_kph.values())
            if mode.slope == "tobler":
                kph *= _DOWNHILL
            reaches.append(
                (
                    round(kph * minutes * _METRES_PER_MINUTE_AT_1_KPH, 6),
                    "download.reach_minutes",
                    words | {"minutes": f"{minutes:g}", "kph": f"{kph:g}"},
                )
            )
    if not reaches:
        raise ValueError("the plan has no standard to tell how far roads count; give buffer_m")
    return max(reaches, key=lambda reach: reach[0])


def _cache_folder() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "facility-coverage" / "osm"


def _shape_of(area: Any) -> shapely.Geometry:
    """Give an area as a geometry in degrees of WGS-84."""
    if isinstance(area, gpd.GeoDataFrame | gpd.GeoSeries):
        table = area.geometry
        if table.crs is None:
            raise NoCrsError(
                "the area has no CRS: say which with .set_crs(…), e.g. 'EPSG:4490' for CGCS2000"
            )
        table = table[~(table.isna() | table.is_empty)].to_crs(_LON_LAT)
        _refuse_invalid(np.asarray(table.array), [f"row {label!r}" for label in table.index])
        shape = table.union_all()
    elif isinstance(area, shapely.Geometry):
        _refuse_invalid(np.array([area]), ["the area"])
        shape = area
    else:
        shape = _box(area)
    if shape.is_empty:
        raise InputError("the area is empty")
    west, south, east, north = shape.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):  # noqa: PLR2004
        raise InputError(
            f"the area's bounds ({west:g}, {south:g}, {east:g}, {north:g}) are not degrees of "
            "longitude and latitude; give projected shapes as a GeoSeries with its CRS"
        )
    return shape


def _refuse_invalid(shapes: Any, names: Sequence[str]) -> None:
    bad = np.flatnonzero(~shapely.is_valid(shapes))
    if bad.size:
        raise InputError(
            "the area is drawn wrong; repair it (shapely.make_valid) and look at the result",
            [
                finding(
                    "download.outline",
                    file=names[at],
                    field="geometry",
                    **why_invalid(shapes[at]),
                )
                for at in bad.tolist()
            ],
        )


def _box(area: Any) -> shapely.Geometry:
    try:
        west, south, east, north = (float(value) for value in area)
    except (TypeError, ValueError):
        raise InputError(
            "an area is the name of a place, a box (west, south, east, north) in degrees, a "
            f"shapely (Multi)Polygon in degrees, or a GeoDataFrame or GeoSeries, not {area!r}"
        ) from None
    if not (west < east and south < north):
        raise InputError(
            f"a box is (west, south, east, north) with west < east and south < north, not "
            f"({west:g}, {south:g}, {east:g}, {north:g})"
        )
    return shapely.box(west, south, east, north)


def _widened(shape: shapely.Geometry, reach_m: float) -> shapely.Geometry:
    """Buffer a shape in degrees by metres, measured in the UTM zone of its middle."""
    if reach_m > 0:
        there = metric_crs(_LON_LAT, shape.bounds)
        shape = (
            gpd.GeoSeries([shape], crs=_LON_LAT).to_crs(there).buffer(reach_m).to_crs(_LON_LAT)[0]
        )
    if shape.geom_type not in {"Polygon", "MultiPolygon"} or shape.area == 0:
        raise InputError(
            f"an area is drawn as polygons, not as {shape.geom_type}; around points and lines, "
            "give buffer_m"
        )
    return shape


def _place(
    name: str, url: str, folder: Path, ask: Callable[..., Any]
) -> tuple[shapely.Geometry, str]:
    """Give the outline of a place, and its full name, from the cache or from Nominatim."""
    if not name:
        raise InputError("the area is an empty name; give the name of a place, a box or a polygon")
    kept = folder / f"place-{_digest(url, name)}.json"
    if not kept.is_file():

        def geocode() -> Any:
            import osmnx  # noqa: PLC0415 - two seconds, only to download

            try:
                return osmnx.geocoder.geocode_to_gdf(name)
            except (TypeError, ValueError) as fault:
                # OSMnx: TypeError where what is found has no outline, and this where nothing is.
                if isinstance(fault, ValueError) and " 0 results" not in str(fault):
                    raise
                raise InputError(
                    f"{_public(url)}: no area is known by the name {name!r} ({fault}); write "
                    "it with its prefecture and province, or give the boundary as a polygon or a "
                    "table"
                ) from None

        found = ask(geocode, url).iloc[0]
        answer = {
            "display_name": str(found.get("display_name", name)),
            "geometry": json.loads(shapely.to_geojson(found.geometry)),
        }
        text = json.dumps(answer, ensure_ascii=False)
        write_beside(kept, lambda path: Path(path).write_text(text, encoding="utf-8"))
    answer = json.loads(kept.read_text("utf-8"))
    return shapely.from_geojson(json.dumps(answer["geometry"])), answer["display_name"]


def _answers(area: shapely.Geometry, url: str, folder: Path, ask: Callable[..., Any]) -> Path:
    """Give the folder with Overpass's answers for an area; it is there only when complete."""
    kept = folder / f"area-{_digest(url, shapely.to_wkt(area, rounding_precision=6))}"
    if kept.is_dir():
        return kept
    partial = folder / f".{kept.name}-{uuid4().hex}"
    partial.mkdir(parents=True)

    def download() -> None:
        import osmnx  # noqa: PLC0415 - two seconds, only to download

        try:
            osmnx.graph_from_polygon(area, custom_filter=_WAYS, retain_all=True)
        except InterruptedError:
            return  # OSMnx's word for: all of it is in the cache, as asked

    try:
        ask(download, url, keep=partial)
        try:
            partial.rename(kept)
        except OSError:
            if not kept.is_dir():  # unless someone else has just brought the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return kept


def _read_answer(path: Path) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise InputError(
            f"{path}: not an answer of Overpass ({fault}); delete the folder and ask again"
        ) from None
    return answer


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _ask(
    action: Callable[[], Answer],
    *,
    url: str,
    retries: int,
    wait_s: float,
    timeout_s: float,
    keep: Path | None,
    servers: dict[str, str],
) -> Answer:
    """Do what asks a server, again where that may help."""
    import requests  # noqa: PLC0415 - OSMnx brings it

    busy = False
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(wait_s * 2 ** (attempt - 1))
        settings: dict[str, Any] = {
            **servers,
            "use_cache": keep is not None,
            "cache_only_mode": keep is not None,
            "requests_timeout": timeout_s,
            # Only a server that says "too many requests" has slots to wait for.
            "overpass_rate_limit": busy,
            "overpass_settings": "[out:json][timeout:{timeout}]{maxsize}",
            # Without a connection it would ask a public name server by its number.
            "doh_url_template": None,
        }
        if keep is not None:
            settings["cache_folder"] = str(keep)
        try:
            with _osmnx_settings(settings):
                return action()
        except _RefusedError as fault:
            reason, again = str(fault), fault.again
            busy = "429" in reason
        except CoverageError:
            raise
        except requests.RequestException as fault:
            reason, again = _shown(fault), not isinstance(fault, ValueError)  # a wrong address
        except ValueError as fault:
            # OSMnx's errors for answers that are no JSON, or lack what belongs in them.
            reason, again = _shown(fault), True
        if not again:
            break
    raise DownloadError(
        f"{_public(url)} could not be asked: {reason} ({attempt + 1} "
        f"{'attempt' if attempt == 0 else 'attempts'}). Check the connection and the address, or "
        "try later; without a connection, give read_roads an extract (.osm.pbf) of the region "
        "brought on a disk",
        url=url,
    )


def _public(url: str) -> str:
    """Give an address without what may be secret: user, password, and what stands after ``?``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _shown(fault: Exception) -> str:
    text = " ".join(str(fault).split())
    # Addresses in it may hold a password or a key.
    text = re.sub(r"//[^/\s@]*@|\?[^\s'\")]+", lambda found: found[0][:2].strip("?") + "…", text)
    return f"{type(fault).__name__}: {text[:300]}{'…' if len(text) > 300 else ''}"  # noqa: PLR2004


@contextmanager
def _osmnx_settings(changes: dict[str, Any]) -> Iterator[None]:
    """Have OSMnx's settings for a while, and give everything it changes back."""
    with _OSMNX:
        import osmnx  # noqa: PLC0415 - two seconds, only to download

        settings = osmnx.settings
        own = settings.requests_kwargs
        hooks = own.get("hooks", {}).get("response", [])
        hooks = [*(hooks if isinstance(hooks, list | tuple) else [hooks]), _refuse]
        changes = changes | {
            "requests_kwargs": {**own, "hooks": {**own.get("hooks", {}), "response": hooks}}
        }
        before = {name: getattr(settings, name) for name in changes}
        resolve = socket.getaddrinfo
        try:
            for name, value in changes.items():
                setattr(settings, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(settings, name, value)
            socket.getaddrinfo = resolve


def _refuse(response: Any, *_: Any, **__: Any) -> None:
    """Stop at a refusal before OSMnx sees it: it would wait a minute and ask for ever.

    An answer with a remark is incomplete (Overpass ran out of time or memory), with status 200.
    """
    if response.url.split("?")[0].endswith("/status"):
        return
    if response.status_code >= 400:  # noqa: PLR2004 - HTTP's range of errors
        raise _RefusedError(
            f"it answered {response.status_code} {response.reason}",
            again=response.status_code in _BUSY,
        )
    if b'"remark"' in response.content[-2000:]:
        remark = response.json().get("remark", "")
        if remark:
            raise _RefusedError(f"it remarked: {remark}", again=True)


def _touching(parts: OsmWays, area: shapely.Geometry, name: str) -> OsmWays:
    """Keep the stretches between two nodes that touch an area; a way may become several.

    Ways that do not touch it are not counted as read.
    """
    coords, way, key, ways, crs, findings, read = parts
    shapely.prepare(area)
    inside = shapely.intersects_xy(area, coords[:, 0], coords[:, 1])
    joined = way[1:] == way[:-1]
    stretch = joined & (inside[1:] | inside[:-1])
    # Between two nodes outside, a stretch may still cross a corner of the area.
    outside = np.flatnonzero(joined & ~stretch)
    lines = np.stack([coords[outside], coords[outside + 1]], axis=1)
    stretch[outside] = shapely.intersects(area, shapely.linestrings(lines))
    kept = np.r_[stretch, False] | np.r_[False, stretch]
    if not kept.any():
        raise InputError(f"{name}: there is no road in the area")
    begins = (kept & ~np.r_[False, stretch])[kept]
    run = np.cumsum(begins) - 1
    of_run = way[kept][begins]
    elsewhere = len(ways) - np.unique(of_run).size
    return (
        coords[kept],
        run,
        key[kept],
        ways.take(of_run).reset_index(drop=True),
        crs,
        findings,
        read - elsewhere,
    )
