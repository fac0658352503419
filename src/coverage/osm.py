"""OpenStreetMap data as arrays: extracts read by pyosmium, answers of Overpass, tagged places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
from numpy.typing import NDArray

from .errors import Finding, InputError, MissingDependencyError, MissingInputError

__all__ = ["OsmWays", "read_osm_places", "read_osm_ways", "read_overpass_ways"]

# By who goes: the keys that may open a way whose `access` is closed.
_ACCESS = ("access", "foot", "bicycle", "vehicle", "motor_vehicle")
# OSM's keys, and what this package calls the one that is no Python name.
_WAY_TAGS = (
    "highway",
    "oneway",
    "oneway:bicycle",
    "maxspeed",
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "junction",
    *_ACCESS,
)
# Areas, by tag or by what their class means.
_AREAS = frozenset({"rest_area", "services"})
_NO_ENTRY = frozenset({"no", "private"})
_WKB_HEAD = 9  # byte order, type and number of points

OsmWays = tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    pd.DataFrame,
    pyproj.CRS,
    tuple[dict[str, Any], ...],
]


@dataclass
class _Seen:
    """What reading came across, to be said in findings."""

    closed: int = 0
    incomplete: int = 0
    gates: int = 0

    def findings(self, file: str) -> tuple[dict[str, Any], ...]:
        table = (
            (self.closed, "ways closed to the public carry nobody", "ways left out", "access"),
            (
                self.incomplete,
                "the extract cuts ways at its edge",
                "ways end at the last known node",
                "",
            ),
            (
                self.gates,
                "gates and other barriers may be closed",
                "closed ones on roads are taken as open; where nobody passes, give a closure",
                "barrier",
            ),
        )
        return tuple(
            asdict(Finding("note", rule, f"{count} {what}", file, field=field))
            for count, rule, what, field in table
            if count
        )


def _nobody_may(get: Callable[[str], str | None]) -> bool:
    """Tell whether a thing is closed by `access` and opened to nobody by a more particular key."""
    return get("access") in _NO_ENTRY and all(
        (value := get(key)) is None or value in _NO_ENTRY for key in _ACCESS[1:]
    )


def _osmium() -> Any:
    try:
        import osmium  # noqa: PLC0415 - an optional dependency
    except ImportError as fault:
        raise MissingDependencyError(
            "reading OpenStreetMap extracts needs pyosmium: pip install 'facility-coverage[pbf]'"
        ) from fault
    return osmium


def _processor(path: Path) -> Any:
    osmium = _osmium()
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no such file")
    return osmium.FileProcessor(str(path)).with_locations()


def read_osm_ways(path: Path) -> OsmWays:
    """Read the roads of an extract as flat arrays.

    Parameters
    ----------
    path : pathlib.Path
        An OSM PBF or XML file.

    Returns
    -------
    coords : ndarray, shape (n_vertices, 2)
        Longitudes and latitudes, one way after the other.
    way, key : ndarray of int, shape (n_vertices,)
        The way of each vertex, and the OSM id of its node.
    ways : pandas.DataFrame
        Tags by way, None where not tagged: `osmid`, `highway`, `oneway`, `oneway_bicycle`,
        `maxspeed`, `access`, `foot`, `bicycle`, `vehicle`, `motor_vehicle`, `name`, `ref`,
        `bridge`, `tunnel`, `layer`, `junction`. Roundabouts and motorways are one-way, as the OSM
        wiki defines. Areas (``area=yes``, rest areas and services) are no ways, and ways that
        nobody may use are left out: closed by `access`, and no key of foot, bicycle or vehicles
        says otherwise.
    crs : pyproj.CRS
        EPSG:4326.
    findings : tuple of dict
        How many ways closed to the public were left out, how many the extract cuts, and how many
        closed gates and other barriers stand on the roads.

    Raises
    ------
    MissingInputError, InputError, MissingDependencyError
        Where the file is not there, is no OSM file or has no road, or pyosmium is not installed.
    """
    osmium = _osmium()
    roads = osmium.filter.KeyFilter("highway")
    roads.enable_for(osmium.osm.WAY)
    barriers = osmium.filter.KeyFilter("barrier")
    barriers.enable_for(osmium.osm.NODE)
    wanted = (
        _processor(path)
        .with_filter(osmium.filter.EntityFilter(osmium.osm.NODE | osmium.osm.WAY))
        .with_filter(roads)
        .with_filter(barriers)
    )
    # pyosmium writes a line's coordinates in one call; node by node costs twice the whole reading.
    line_of, all_nodes = osmium.geom.WKBFactory().create_linestring, osmium.geom.use_nodes.ALL
    lines: list[bytes] = []
    refs: list[int] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    gates: list[int] = []
    seen = _Seen()
    try:
        for item in wanted:
            get = item.tags.get
            if item.is_node():
                if _nobody_may(get):
                    gates.append(item.id)
                continue
            if get("area") == "yes" or get("highway") in _AREAS:
                continue
            if _nobody_may(get):
                seen.closed += 1
                continue
            nodes = item.nodes
            if len(nodes) < 2:  # noqa: PLR2004 - a line has two ends
                seen.incomplete += 1
                continue
            try:
                line = bytes.fromhex(line_of(nodes, all_nodes))[_WKB_HEAD:]
                known = [node.ref for node in nodes]
            except osmium.InvalidLocationError:
                seen.incomplete += 1
                present = [(n.ref, n.lon, n.lat) for n in nodes if n.location.valid()]
                if len(present) < 2:  # noqa: PLR2004
                    continue
                line = np.array([place for _, *place in present], dtype="<f8").tobytes()
                known = [ref for ref, *_ in present]
            lines.append(line)
            refs += known
            counts.append(len(known))
            rows.append((item.id, *map(get, _WAY_TAGS)))
    except RuntimeError as fault:
        raise InputError(f"{path}: not a readable OSM file ({fault})") from None
    coords = np.frombuffer(b"".join(lines), dtype="<f8").astype(float).reshape(-1, 2)
    return _arrays(coords, refs, counts, rows, gates, seen, path.name)


def read_overpass_ways(answers: Iterable[Mapping[str, Any]], name: str) -> OsmWays:
    """Read the roads of Overpass answers as the same arrays as `read_osm_ways`.

    Parameters
    ----------
    answers : iterable of mapping
        JSON answers to ``(way[…](…);>;);out;``: `elements` that are nodes with `id`, `lon`, `lat`
        and ways with `id`, `nodes`, `tags`. What several answers hold is taken once.
    name : str
        What findings and errors call the source.

    Returns
    -------
    tuple
        See `read_osm_ways`.

    Raises
    ------
    InputError
        Where there is no road in the answers.
    """
    places: dict[int, tuple[float, float]] = {}
    found: dict[int, Mapping[str, Any]] = {}
    closed_nodes: set[int] = set()
    for answer in answers:
        for item in answer["elements"]:
            if item["type"] == "node":
                places[item["id"]] = (item["lon"], item["lat"])
                tags = item.get("tags")
                if tags and "barrier" in tags and _nobody_may(tags.get):
                    closed_nodes.add(item["id"])
            elif item["type"] == "way":
                found[item["id"]] = item
    refs: list[int] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    seen = _Seen()
    for number in sorted(found):
        item = found[number]
        get = item.get("tags", {}).get
        if get("area") == "yes" or get("highway") in {None, *_AREAS}:
            continue
        if _nobody_may(get):
            seen.closed += 1
            continue
        known = [ref for ref in item["nodes"] if ref in places]
        seen.incomplete += len(known) < max(len(item["nodes"]), 2)
        if len(known) < 2:  # noqa: PLR2004 - a line has two ends
            continue
        refs += known
        counts.append(len(known))
        rows.append((number, *map(get, _WAY_TAGS)))
    flat = chain.from_iterable(map(places.__getitem__, refs))
    coords = np.fromiter(flat, dtype=float, count=2 * len(refs)).reshape(-1, 2)
    return _arrays(coords, refs, counts, rows, sorted(closed_nodes), seen, name)


def _arrays(
    coords: NDArray[np.float64],
    refs: list[int],
    counts: list[int],
    rows: list[tuple[Any, ...]],
    gates: list[int],
    seen: _Seen,
    name: str,
) -> OsmWays:
    if not rows:
        raise InputError(f"{name}: there is no road (way with a highway tag) in it")
    ways = pd.DataFrame(rows, columns=["osmid", *(tag.replace(":", "_") for tag in _WAY_TAGS)])
    implied = ways["oneway"].isna() & (
        ways["junction"].isin(["roundabout", "circular"]) | (ways["highway"] == "motorway")
    )
    ways.loc[implied, "oneway"] = "yes"
    key = np.asarray(refs, dtype=np.int64)
    seen.gates = int(np.isin(np.asarray(gates, dtype=np.int64), key).sum())
    way = np.repeat(np.arange(len(counts)), counts)
    return coords, way, key, ways, pyproj.CRS("EPSG:4326"), seen.findings(name)


def read_osm_places(
    path: Path, kinds: dict[str, list[str]]
) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """Read tagged places (nodes, and ways and areas by the middle of their outline).

    Parameters
    ----------
    path : pathlib.Path
        An OSM PBF or XML file.
    kinds : dict of str to list of str
        By kind, the ``key=value`` tags that make a place of that kind, e.g.
        ``{"pharmacy": ["amenity=pharmacy"]}``.

    Returns
    -------
    places : geopandas.GeoDataFrame
        `facility_id` (``n123``, ``w123``), `name`, `kind`, geometry (Point), EPSG:4326. A place
        whose tags make it two kinds is two rows.
    findings : list of Finding
        How many places were left out because they are relations without an outline of their own.
    """
    by_tag: dict[tuple[str, str], list[str]] = {}
    for kind, tags in kinds.items():
        for tag in tags:
            key, _, value = tag.partition("=")
            by_tag.setdefault((key, value), []).append(kind)
    rows = []
    relations = 0
    tagged = _osmium().filter.KeyFilter(*sorted({key for key, _ in by_tag}))
    for item in _processor(path).with_filter(tagged):
        found = sorted({k for tag in item.tags for k in by_tag.get((tag.k, tag.v), [])})
        if not found:
            continue
        if item.is_node():
            place = (item.location.lon, item.location.lat)
        elif item.is_way():
            known = {(n.lon, n.lat) for n in item.nodes if n.location.valid()}
            if not known:
                continue
            place = tuple(np.mean(sorted(known), axis=0))
        else:
            relations += 1
            continue
        letter = "n" if item.is_node() else "w"
        rows += [
            (
                f"{letter}{item.id}" if len(found) == 1 else f"{letter}{item.id}-{kind}",
                item.tags.get("name"),
                kind,
                *place,
            )
            for kind in found
        ]
    table = pd.DataFrame(rows, columns=["facility_id", "name", "kind", "lon", "lat"])
    places = gpd.GeoDataFrame(
        table.drop(columns=["lon", "lat"]),
        geometry=gpd.points_from_xy(table["lon"], table["lat"]),
        crs="EPSG:4326",
    )
    note = Finding(
        "warning",
        "places drawn as relations are not read",
        f"{relations} places left out; add them from another source",
        path.name,
    )
    return places, [note] if relations else []
