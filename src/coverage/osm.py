"""OpenStreetMap data as arrays: extracts read by pyosmium, answers of Overpass, tagged places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
from numpy.typing import NDArray

from .errors import Finding, InputError, MissingDependencyError, MissingInputError
from .intake import finding
from .limits import Meter, unpacked

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
_OPL_ESCAPE = re.compile("%([0-9a-fA-F]+)%")
_OPL_LETTERS = bytes.maketrans(b"nxy,", b"    ")
_BLOCK_HEADER, _VARINT_BITS = 1 << 16, 63
_NOWHERE = 999  # no longitude

OsmWays = tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    pd.DataFrame,
    pyproj.CRS,
    tuple[dict[str, Any], ...],
    int,
]


@dataclass
class _Seen:
    """What reading came across, to be said in findings."""

    ways: int = 0
    closed: int = 0
    incomplete: int = 0
    gates: int = 0

    def findings(self, file: str) -> tuple[dict[str, Any], ...]:
        told = []
        if self.closed:
            told.append(
                finding("osm.closed_to_public", file=file, field="access", count=self.closed)
            )
        if self.incomplete:
            told.append(finding("osm.cut_at_edge", file=file, count=self.incomplete))
        if self.gates:
            told.append(finding("osm.gates", file=file, field="barrier", count=self.gates))
        return tuple(asdict(each) for each in told)


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


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no such file")


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
    read : int
        How many ways with a highway tag it holds; areas are none.

    Raises
    ------
    MissingInputError, InputError, MissingDependencyError
        Where the file is not there, is no OSM file or has no road, or pyosmium is not installed.
    """
    rows: list[tuple[Any, ...]] = []
    counts: list[int] = []
    places: list[str] = []
    gates: list[int] = []
    seen = _Seen()
    for line in _opl_lines(path):
        item, tags, nodes = line.split(" ", 2)
        number = int(item[1:])
        get = dict([tag.split("=") for tag in tags[1:].split(",")]).get
        if item[0] == "n":
            if _nobody_may(get):
                gates.append(number)
            continue
        if get("area") == "yes" or get("highway") in _AREAS:
            continue
        seen.ways += 1
        if _nobody_may(get):
            seen.closed += 1
            continue
        values = map(get, _WAY_TAGS)
        rows.append((number, *(_plain(v) if v and "%" in v else v for v in values)))
        counts.append(nodes.count("n"))
        if counts[-1]:
            places.append(nodes[1:])
    # "n1x9.5y47.1,n2xy": id, longitude and latitude, which are blank beyond the extract's edge.
    text = ",".join(places).replace("xy", f"x{_NOWHERE}y{_NOWHERE}").encode()
    vertices = np.fromstring(text.translate(_OPL_LETTERS), sep=" ").reshape(-1, 3)
    known = vertices[:, 1] < _NOWHERE
    way = np.repeat(np.arange(len(counts)), counts)
    present = np.bincount(way[known], minlength=len(counts))
    seen.incomplete = int((present < np.maximum(counts, 2)).sum())
    kept = present > 1
    vertices = vertices[known & kept[way]]
    return _arrays(
        vertices[:, 1:],
        vertices[:, 0].astype(np.int64),
        present[kept],
        [row for row, good in zip(rows, kept.tolist(), strict=True) if good],
        gates,
        seen,
        path.name,
    )


def _opl_lines(path: Path) -> list[str]:
    """Give the roads, with their nodes' places, and the barriers of a file as lines of OPL.

    pyosmium filters and writes them without a call of Python for each node, which would cost as
    much as all the rest. Format: https://osmcode.org/opl-file-format/
    """
    osmium = _osmium()
    _refuse_missing(path)
    places = osmium.NodeLocationsForWays(osmium.index.create_map("flex_mem"))
    places.ignore_errors()
    roads = osmium.filter.KeyFilter("highway")
    roads.enable_for(osmium.osm.WAY)
    barriers = osmium.filter.KeyFilter("barrier")
    barriers.enable_for(osmium.osm.NODE)
    kinds = osmium.filter.EntityFilter(osmium.osm.NODE | osmium.osm.WAY)
    with TemporaryDirectory() as folder, _plain_extract(path) as extract:
        lines = Path(folder) / "roads.opl"
        target = osmium.io.File(str(lines), "opl,locations_on_ways=true,add_metadata=false")
        try:
            with (
                closing(osmium.io.Reader(str(extract))) as reader,
                closing(osmium.SimpleWriter(target)) as writer,
            ):
                osmium.apply(reader, places, kinds, roads, barriers, writer)
        except RuntimeError as fault:
            raise InputError(f"{path}: not a readable OSM file ({fault})") from None
        return lines.read_text("utf-8").split("\n")[:-1]


@contextmanager
def _plain_extract(path: Path) -> Iterator[Path]:
    """Give an extract that is not packed, and whose blocks unpack to no more than is allowed."""
    with unpacked(path) as extract:
        if path.name.lower().endswith(".pbf"):
            _refuse_bomb(path)
        yield extract


def _refuse_bomb(path: Path) -> None:
    """Add up what the blocks of a PBF unpack to; one that says less than is true is not read."""
    meter = Meter(path)
    with path.open("rb") as file:
        while len(head := file.read(4)) == 4 and (size := int.from_bytes(head)) <= _BLOCK_HEADER:  # noqa: PLR2004
            block = file.read(_fields(file.read(size)).get(3, 0))
            meter.add(_fields(block).get(2, len(block)))


def _fields(message: bytes) -> dict[int, int]:
    """Give the numbers in a Protocol Buffers message, and of texts and bytes their lengths."""
    fields: dict[int, int] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while at < len(message):
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > _VARINT_BITS:  # noqa: PLR2004 - the last byte of a number
                break
        return value

    while at < len(message):
        key = number()
        fields[key >> 3] = number()
        if key & 7 == 2:  # noqa: PLR2004 - so many bytes follow
            at += fields[key >> 3]
    return fields


def _plain(text: str) -> str:
    """Give a text of OPL without its escapes (``%20%`` is a space)."""
    return _OPL_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


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
        seen.ways += 1
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
    return _arrays(
        coords, np.asarray(refs, dtype=np.int64), counts, rows, sorted(closed_nodes), seen, name
    )


def _arrays(
    coords: NDArray[np.float64],
    key: NDArray[np.int64],
    counts: NDArray[np.int64] | list[int],
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
    seen.gates = int(np.isin(np.asarray(gates, dtype=np.int64), key).sum())
    way = np.repeat(np.arange(len(counts)), counts)
    return coords, way, key, ways, pyproj.CRS("EPSG:4326"), seen.findings(name), seen.ways


def _tagged(path: Path, tagged: Any) -> Iterator[Any]:
    """Give the things of an extract that a filter lets pass, with their places."""
    with _plain_extract(path) as extract:
        try:
            yield from _osmium().FileProcessor(str(extract)).with_locations().with_filter(tagged)
        except RuntimeError as fault:
            raise InputError(f"{path}: not a readable OSM file ({fault})") from None


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
    osmium = _osmium()
    _refuse_missing(path)
    tagged = osmium.filter.KeyFilter(*sorted({key for key, _ in by_tag}))
    for item in _tagged(path, tagged):
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
    if not relations:
        return places, []
    return places, [finding("osm.relations", file=path.name, count=relations)]
