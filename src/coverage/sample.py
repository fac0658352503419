"""The sample county that ships with the package: real names and codes, invented geography."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

__all__ = ["SampleCounty", "sample_county"]


@dataclass(frozen=True)
class SampleCounty:
    """Paths of the sample county's files.

    Attributes
    ----------
    units : pathlib.Path
        Villages and communities (GeoPackage).
    demand : pathlib.Path
        Hamlets and estates with their residents (GeoPackage).
    facilities : pathlib.Path
        The facility ledger (Excel).
    roads, roads_graph : pathlib.Path
        The same roads as lines (GeoPackage) and as an OSMnx graph (GraphML).
    neighbours : pathlib.Path
        Outlines of the neighbouring counties (GeoPackage).
    """

    units: Path
    demand: Path
    facilities: Path
    roads: Path
    roads_graph: Path
    neighbours: Path


def sample_county() -> SampleCounty:
    """Give the paths of the sample county shipped with the package.

    Returns
    -------
    SampleCounty
        示例数据，非测绘成果: names and codes of the 213 units of Luanping County are real, their
        outlines, roads, facilities and residents by unit are invented.

    Examples
    --------
    >>> sample_county().units.name
    'luanping_units.gpkg'
    """
    folder = Path(str(files("facility_coverage.data")))
    return SampleCounty(
        units=folder / "boundaries" / "luanping_units.gpkg",
        demand=folder / "demand" / "luanping_hamlets.gpkg",
        facilities=folder / "facilities" / "luanping_facilities.xlsx",
        roads=folder / "roads" / "luanping_roads.gpkg",
        roads_graph=folder / "roads" / "luanping_roads.graphml.gz",
        neighbours=folder / "boundaries" / "luanping_neighbours.gpkg",
    )
