"""Who reaches which public facility in fifteen minutes, and what to build next.

Files → checked tables → minutes → verdicts → projects → one HTML map and one workbook.
"""

from __future__ import annotations

from importlib.metadata import version

from .assessment import CoverageReport, assess
from .boundaries import boundary_faults, repair_boundaries
from .briefing import write_briefing
from .candidates import Candidates, site_candidates
from .capacity import facility_loads, two_step_floating_catchment
from .checking import check_files
from .conditions import add_elevation, close_roads
from .county import County, check_county, read_county, run_county
from .datum_detection import DatumEvidence, detect_datum
from .datums import from_wgs84, to_wgs84
from .demand import read_demand, spread_demand
from .download import DownloadError, download_roads
from .errors import CoverageError, Finding, InfeasibleError, InputError, IntakeWarning
from .explain import Explanation, explain
from .exports import export_pdf, export_png
from .facilities import read_facilities
from .fragility import bridge_fragility, fragility
from .identity import match_units
from .intake import IntakeReport, intake_report
from .isochrones import isochrones
from .journeys import Reach, Route, cost_matrix, nearest, nearest_facility, reach, route
from .links import link_roads, suggest_links
from .maps import coverage_map
from .modes import MODES, Mode
from .monitoring import monitor
from .network import RoadNetwork
from .pictures import coverage_picture
from .plans import load_plan
from .postgis import write_postgis
from .projects import annual_tasks, cost_frontier, project_summary, propose_projects
from .roads import read_roads
from .sample import SampleCounty, sample_county
from .scenarios import Comparison, compare, reassess
from .sensitivity import Sensitivity, coverage_curve, sensitivity
from .shortfalls import shortfalls
from .snapping import join_points
from .standards import Alternative, Group, Indicator, Plan, Standard
from .terms import label
from .travel import TravelTimes, travel_times
from .units import read_units
from .verify import verify
from .workbook import write_workbook
from .works import apply_projects

__all__ = [
    "MODES",
    "Alternative",
    "Candidates",
    "Comparison",
    "County",
    "CoverageError",
    "CoverageReport",
    "DatumEvidence",
    "DownloadError",
    "Explanation",
    "Finding",
    "Group",
    "Indicator",
    "InfeasibleError",
    "InputError",
    "IntakeReport",
    "IntakeWarning",
    "Mode",
    "Plan",
    "Reach",
    "RoadNetwork",
    "Route",
    "SampleCounty",
    "Sensitivity",
    "Standard",
    "TravelTimes",
    "add_elevation",
    "annual_tasks",
    "apply_projects",
    "assess",
    "boundary_faults",
    "bridge_fragility",
    "check_county",
    "check_files",
    "close_roads",
    "compare",
    "cost_frontier",
    "cost_matrix",
    "coverage_curve",
    "coverage_map",
    "coverage_picture",
    "detect_datum",
    "download_roads",
    "explain",
    "export_pdf",
    "export_png",
    "facility_loads",
    "fragility",
    "from_wgs84",
    "intake_report",
    "isochrones",
    "join_points",
    "label",
    "link_roads",
    "load_plan",
    "match_units",
    "monitor",
    "nearest",
    "nearest_facility",
    "project_summary",
    "propose_projects",
    "reach",
    "read_county",
    "read_demand",
    "read_facilities",
    "read_roads",
    "read_units",
    "reassess",
    "repair_boundaries",
    "route",
    "run_county",
    "sample_county",
    "sensitivity",
    "shortfalls",
    "site_candidates",
    "spread_demand",
    "suggest_links",
    "to_wgs84",
    "travel_times",
    "two_step_floating_catchment",
    "verify",
    "write_briefing",
    "write_postgis",
    "write_workbook",
]

__version__ = version("facility-coverage")
