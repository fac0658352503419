"""Put the sample on disk: GeoPackages, a GraphML, an Excel ledger and a README of checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pyogrio
import shapely
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font

from .common import COUNTY_NAME, GEOGRAPHIC_CRS, STAMP, FloatArray, Sources, to_lonlat
from .roads import FIRST_NODE_ID, FIRST_WAY_ID, MAXSPEED, SURFACE, Network, Tags, ways

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .hamlets import Settlement
    from .partition import Partition
    from .terrain import Terrain

EARTH_RADIUS_M = 6_371_009.0  # the sphere OSMnx measures edges on
FIXED_DATE = "2024-01-01T00:00:00.000Z"  # written into files in place of the time of the run
SAMPLE_DATE = "2024-01-01"

UNITS = "boundaries/luanping_units.gpkg"
NEIGHBOURS = "boundaries/luanping_neighbours.gpkg"
HAMLETS = "demand/luanping_hamlets.gpkg"
ROADS = "roads/luanping_roads.gpkg"
GRAPHML = "roads/luanping_roads.graphml.gz"
LEDGER = "facilities/luanping_facilities.xlsx"
README = "boundaries/README.md"


def _write_layer(table: gpd.GeoDataFrame, path: Path, layer: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": FIXED_DATE})
    try:
        pyogrio.write_dataframe(table, path, layer=layer, driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def write_units(out: Path, partition: Partition, settlement: Settlement) -> None:
    """Write the units."""
    table = settlement.units.assign(data_note=STAMP)
    frame = gpd.GeoDataFrame(table, geometry=partition.polygons, crs=GEOGRAPHIC_CRS)
    _write_layer(frame, out / UNITS, "units")


def write_neighbours(out: Path, sources: Sources) -> None:
    """Write the outlines of the county's neighbours."""
    table = sources.outlines[sources.outlines["name"] != COUNTY_NAME]
    table = table[["name", "gb", "geometry"]].reset_index(drop=True)
    table.insert(2, "data_note", STAMP)
    _write_layer(table, out / NEIGHBOURS, "neighbours")


def write_hamlets(out: Path, settlement: Settlement) -> None:
    """Write the demand points."""
    table = settlement.hamlets.drop(columns=["lon", "lat"]).assign(data_note=STAMP)
    points = gpd.points_from_xy(settlement.hamlets["lon"], settlement.hamlets["lat"])
    _write_layer(
        gpd.GeoDataFrame(table, geometry=points, crs=GEOGRAPHIC_CRS), out / HAMLETS, "hamlets"
    )


def _tag_columns(tags: Tags) -> dict[str, str | int | None]:
    """OSM tags of a stretch, None where unset."""
    return {
        "highway": tags.highway,
        "name": tags.name,
        "ref": tags.ref,
        "bridge": "yes" if tags.bridge else None,
        "tunnel": "yes" if tags.tunnel else None,
        "layer": tags.layer,
        "maxspeed": MAXSPEED.get(tags.highway),
        "surface": SURFACE.get(tags.highway, "asphalt"),
    }


def great_circle_m(start: FloatArray, end: FloatArray) -> FloatArray:
    """Great-circle distance of lon/lat pairs in metres."""
    lon1, lat1, lon2, lat2 = np.radians([start[:, 0], start[:, 1], end[:, 0], end[:, 1]])
    chord = np.sin((lat2 - lat1) / 2) ** 2
    chord += np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(chord)))


def write_roads(out: Path, network: Network, terrain: Terrain) -> None:
    """Write the roads twice: as ways in a GeoPackage, and as a graph in GraphML."""
    lonlat = to_lonlat(network.xy)
    found = ways(network)
    rows = [
        {
            "osm_id": FIRST_WAY_ID + number,
            **_tag_columns(tags),
            "oneway": "yes" if tags.oneway else "no",
            "data_note": STAMP,
        }
        for number, (_, tags) in enumerate(found)
    ]
    order = ["osm_id", "highway", "name", "ref", "oneway", "bridge", "tunnel", "layer", "maxspeed",
             "surface", "data_note"]  # fmt: skip
    lines = [shapely.LineString(lonlat[chain]) for chain, _ in found]
    frame = gpd.GeoDataFrame(pd.DataFrame(rows)[order], geometry=lines, crs=GEOGRAPHIC_CRS)
    _write_layer(frame, out / ROADS, "roads")
    heights = terrain.grid.sample(terrain.elevation, network.xy)
    _write_graphml(out / GRAPHML, road_graph(found, lonlat, heights))


def road_graph(
    found: list[tuple[list[int], Tags]], lonlat: FloatArray, heights: FloatArray
) -> nx.MultiDiGraph:
    """Graph of the ways as OSMnx would give it before simplification; values are strings."""
    graph = nx.MultiDiGraph(
        crs="epsg:4326", simplified="False", name="滦平县示例路网 Luanping sample", data_note=STAMP
    )
    streets = np.zeros(len(lonlat), dtype=int)
    for chain, _ in found:
        np.add.at(streets, chain[:-1], 1)
        np.add.at(streets, chain[1:], 1)
    for number, (x, y) in enumerate(lonlat):
        graph.add_node(
            FIRST_NODE_ID + number,
            x=repr(float(x)),
            y=repr(float(y)),
            street_count=str(streets[number]),
            elevation=f"{heights[number]:.1f}",
        )
    for number, (chain, tags) in enumerate(found):
        lengths = great_circle_m(lonlat[chain[:-1]], lonlat[chain[1:]])
        common = {
            key: str(value)
            for key, value in _tag_columns(tags).items()
            if value is not None and value != 0
        }
        common |= {"osmid": str(FIRST_WAY_ID + number), "oneway": str(tags.oneway)}
        for a, b, length in zip(chain[:-1], chain[1:], lengths, strict=True):
            tail, head = FIRST_NODE_ID + a, FIRST_NODE_ID + b
            common["length"] = repr(float(length))
            graph.add_edge(tail, head, **common, reversed="False")
            if not tags.oneway:
                graph.add_edge(head, tail, **common, reversed="True")
    return graph


def _write_graphml(path: Path, graph: nx.MultiDiGraph) -> None:
    buffer = io.BytesIO()
    nx.write_graphml_xml(graph, buffer)
    path.write_bytes(gzip.compress(buffer.getvalue(), compresslevel=9, mtime=0))


def write_ledger(out: Path, ledger: Mapping[str, pd.DataFrame]) -> None:
    """Write the ledger, one sheet a kind: title, stamp, header, rows."""
    book = Workbook()
    book.remove(book.active)
    for name, table in ledger.items():
        sheet = book.create_sheet(name)
        sheet.append([f"滦平县{name}台账（示例）　坐标系：CGCS2000（经纬度，度）"])
        sheet.append([STAMP])
        sheet.append(list(table.columns))
        for row in table.astype(object).where(table.notna(), None).itertuples(index=False):
            sheet.append(list(row))
        width = len(table.columns)
        for line in (1, 2):
            sheet.merge_cells(start_row=line, start_column=1, end_row=line, end_column=width)
            sheet.cell(line, 1).alignment = Alignment(horizontal="center")
        sheet.cell(1, 1).font = Font(bold=True, size=14)
        for cell in sheet[3]:
            cell.font = Font(bold=True)
            sheet.column_dimensions[cell.column_letter].width = max(8, 2.2 * len(str(cell.value)))
        code = list(table.columns).index("区划代码") + 1
        for (cell,) in sheet.iter_rows(min_row=4, min_col=code, max_col=code):
            cell.number_format = "@"
        sheet.freeze_panes = "A4"
    buffer = io.BytesIO()
    book.save(buffer)
    path = out / LEDGER
    path.parent.mkdir(parents=True, exist_ok=True)
    _repack(buffer, path)


def _repack(buffer: io.BytesIO, path: Path) -> None:
    """Copy a workbook with fixed dates, so that the same content gives the same bytes."""
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                head, _, tail = content.decode().partition("<dcterms:created")
                content = (head + "</cp:coreProperties>" if tail else head).encode()
            info = zipfile.ZipInfo(name, date_time=(2024, 1, 1, 0, 0, 0))
            new.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
