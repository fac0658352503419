"""The county after its projects: built, shared, linked, and assessed anew."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd

from .assessment import CoverageReport
from .errors import InputError
from .links import link_roads
from .network import RoadNetwork
from .scenarios import reassess
from .shortfalls import SERVICE

__all__ = ["apply_projects"]

_BUILT = ("new_build", "rent_purchase")
_MENDED = ("extension", "operation", "internal_refit")


def apply_projects(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    roads: RoadNetwork,
    *,
    links: gpd.GeoDataFrame | None = None,
) -> CoverageReport:
    """Give the report of the county once its projects are done.

    Parameters
    ----------
    report : CoverageReport
        The report they were proposed from.
    projects : GeoDataFrame
        From `propose_projects`; those marked `in_quota` are carried out. Leave rows out, or change
        `in_quota`, to see what some of them do.
    roads : RoadNetwork
        The roads.
    links : GeoDataFrame, optional
        The road links that were among the candidates; those that projects name are built.

    Returns
    -------
    CoverageReport
        Travel times are searched anew and all is judged again; nothing is taken from the siting.
        `compare` with the earlier report tells what each unit gained and by which project.

    Raises
    ------
    InputError
        Where a project names a facility or a link that is not there.

    Notes
    -----
    A new building is facility ``P-<unit code>``, in use, of the planned floor area, open as long as
    the plan asks; an extension or better operation changes the facility it names; sharing adds an
    agreement with the host. Units with a project lose their official flag (是否覆盖): it is of the
    time before, and the rule decides anew.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads, people = fc.read_roads(county.roads), fc.read_demand(county.demand, units)
    >>> access = fc.travel_times(units, facilities, roads, plan, demand=people)
    >>> before = fc.assess(units, facilities, access, plan)
    >>> after = fc.apply_projects(before, fc.propose_projects(before, roads), roads)
    >>> after.rates.query("kind == 'comprehensive_service' and basis == 'ledger' and "
    ...     "measure == 'units'")["missing"].tolist()
    [0.0, 0.0]
    """
    done = projects[projects["in_quota"].to_numpy(dtype=bool)]
    facilities = report.access.facilities.copy()
    least = report.plan.standard(SERVICE, "rural")
    hours = (least.min_hours_per_day if least else None) or np.nan
    known = pd.Index(facilities["facility_id"])
    mended = done[done["nature"].isin(_MENDED) & done["host_facility_id"].notna()]
    row = known.get_indexer(mended["host_facility_id"])
    if (row < 0).any():
        missing = ", ".join(map(str, mended["host_facility_id"].to_numpy()[row < 0][:5]))
        raise InputError(f"projects name facilities that are not there: {missing}")
    for at, project in zip(facilities.index[row], mended.itertuples(), strict=True):
        was = facilities.loc[at]
        area = [was["floor_area_m2"], project.planned_floor_area_m2]
        facilities.loc[at, "status"] = "in_use"
        facilities.loc[at, "floor_area_m2"] = np.fmax(*area)
        facilities.loc[at, "hours_per_day"] = np.fmax(was["hours_per_day"], hours)
        facilities.loc[at, "activity_area_m2"] = (
            was["activity_area_m2"] + project.short_activity_area_m2
        )
    flagged = facilities["unit_code"].isin(done["unit_code"]) & (facilities["kind"] == SERVICE)
    facilities.loc[flagged.fillna(value=False), "official_covered"] = pd.NA
    added = pd.concat([_buildings(done, hours), _agreements(done)], ignore_index=True)
    if len(added):
        new = gpd.GeoDataFrame(added, geometry="geometry", crs=projects.crs).to_crs(facilities.crs)
        new = new.reindex(columns=facilities.columns)
        dtypes = {name: facilities[name].dtype for name in facilities if name != "geometry"}
        facilities = pd.concat([facilities, new.astype(dtypes)], ignore_index=True)
    named = done.loc[done["nature"] == "road_link", "name"]
    return reassess(report, facilities=facilities, roads=_with_links(roads, links, named))


def _buildings(done: pd.DataFrame, hours: float) -> pd.DataFrame:
    built = done[done["nature"].isin(_BUILT)]
    return pd.DataFrame(
        {
            "facility_id": [f"P-{code}" for code in built["unit_code"]],
            "name": [f"{name}（规划）" for name in built["name"]],
            "kind": SERVICE,
            "unit_code": built["unit_code"].to_numpy(dtype=object),
            "status": "in_use",
            "floor_area_m2": built["planned_floor_area_m2"].to_numpy(dtype=float),
            "hours_per_day": hours,
            "geometry": built.geometry.to_numpy(),
        }
    )


def _agreements(done: pd.DataFrame) -> pd.DataFrame:
    shared = done[done["nature"] == "sharing"]
    new = [None if pd.isna(code) else f"P-{code}" for code in shared["host_unit_code"]]
    host = [
        known if pd.isna(planned) else planned
        for known, planned in zip(shared["host_facility_id"], new, strict=True)
    ]
    return pd.DataFrame(
        {
            "facility_id": [f"S-{code}" for code in shared["unit_code"]],
            "name": [f"{name}（共享）" for name in shared["name"]],
            "kind": SERVICE,
            "unit_code": shared["unit_code"].to_numpy(dtype=object),
            "status": "shared",
            "served_by": host,
            "geometry": None,
        }
    )


def _with_links(
    roads: RoadNetwork, links: gpd.GeoDataFrame | None, named: pd.Series
) -> RoadNetwork:
    if named.empty:
        return roads
    index = [] if links is None else links.index.astype(str)
    chosen = np.isin(index, named.astype(str))
    if links is None or chosen.sum() < len(named):
        raise InputError(
            "projects name road links that are not given: pass links= as to propose_projects"
        )
    return link_roads(roads, links[chosen])
