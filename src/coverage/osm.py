"""OpenStreetMap extracts read by pyosmium: ways as arrays, tagged places as rows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
from numpy.typing import NDArray

from .errors import Finding, InputError, MissingDependencyError, MissingInputError

__all__ = ["read_osm_places", "read_osm_ways"]

_WAY_TAGS = (
    "highway",
    "oneway",
    "name",
    "ref",
    "bridge",
    "tunnel",
    "layer",
    "junction",
    "access",
    "foot",
)
_NO_ENTRY = frozenset({"no", "private"})
_OPEN_ON_FOOT = frozenset({"yes", "designated", "permissive"})


def _processor(path: Path, *keys: str) -> Any:
    try:
        import osmium  # noqa: PLC0415 - an optional dependency
    except ImportError as fault:
        raise MissingDependencyError(
            "reading OpenStreetMap extracts needs pyosmium: pip install 'facility-coverage[pbf]'"
        ) from fault
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no such file")
    return (
        osmium.FileProcessor(str(path)).with_locations().with_filter(osmium.filter.KeyFilter(*keys))
    )


def read_osm_ways(
    path: Path,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    pd.DataFrame,
    pyproj.CRS,
    tuple[Any, ...],
]:
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
        Tags by way. Roundabouts and motorways are one-way, as the OSM wiki defines.
    crs : pyproj.CRS
        EPSG:4326.
    findings : tuple of dict
        How many ways closed to the public were left out.
    """
    lon: list[float] = []
    lat: list[float] = []
    refs: list[int] = []
    counts: list[int] = []
    rows: list[tuple[Any, ...]] = []
    closed = incomplete = 0
    try:
        for way in _processor(path, "highway"):
            if not way.is_way():
                continue
            tags = way.tags
            if tags.get("area") == "yes":
                continue
            if tags.get("access") in _NO_ENTRY and tags.get("foot") not in _OPEN_ON_FOOT:
                closed += 1
                continue
            points = [(n.ref, n.location) for n in way.nodes]
            present = [(ref, place) for ref, place in points if place.valid()]
            incomplete += len(present) < len(points)
            if len(present) < 2:  # noqa: PLR2004 - a line has two ends
                continue
            counts.append(len(present))
            for ref, place in present:
                refs.append(ref)
                lon.append(place.lon)
                lat.append(place.lat)
            rows.append((way.id, *(tags.get(name) for name in _WAY_TAGS)))
    except RuntimeError as fault:
        raise InputError(f"{path}: not a readable OSM file ({fault})") from None
    if not rows:
        raise InputError(f"{path}: there is no road (way with a highway tag) in it")
    ways = pd.DataFrame(rows, columns=["osmid", *_WAY_TAGS])
    implied = ways["oneway"].isna() & (
        ways["junction"].isin(["roundabout", "circular"]) | (ways["highway"] == "motorway")
    )
    ways.loc[implied, "oneway"] = "yes"
    findings = [
        Finding("note", rule, f"{count} {what}", path.name, field=field)
        for count, rule, what, field in (
            (closed, "ways closed to the public carry nobody", "ways left out", "access"),
            (
                incomplete,
                "the extract cuts ways at its edge",
                "ways end at the last known node",
                "",
            ),
        )
        if count
    ]
    return (
        np.column_stack([lon, lat]),
        np.repeat(np.arange(len(counts)), counts),
        np.asarray(refs, dtype=np.int64),
        ways,
        pyproj.CRS("EPSG:4326"),
        tuple(asdict(finding) for finding in findings),
    )


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
    for item in _processor(path, *sorted({key for key, _ in by_tag})):
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
