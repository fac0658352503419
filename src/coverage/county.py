"""The whole line for one county: from the files a TOML names to map, workbook and briefing."""

from __future__ import annotations

import datetime as dt
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import pyproj

from .assessment import CoverageReport, assess
from .briefing import write_briefing
from .checking import reported
from .conditions import add_elevation, close_roads
from .demand import read_demand
from .errors import ConfigError
from .facilities import read_facilities
from .files import file_sha256, layer_files, path_from, write_beside
from .intake import IntakeReport, finding, intake_report
from .isochrones import isochrones
from .layers import read_layer
from .maps import coverage_map
from .network import RoadNetwork
from .plans import load_plan
from .projects import annual_tasks, propose_projects
from .roads import read_roads
from .sample import sample_county
from .standards import Plan
from .terms import labels
from .tomlfile import check_keys, read_toml, require
from .travel import travel_times
from .units import read_units
from .workbook import write_workbook
from .works import apply_projects

__all__ = [
    "Clock",
    "County",
    "CountyRun",
    "Inputs",
    "assess_county",
    "audit_trail",
    "check_county",
    "county_projects",
    "read_county",
    "read_inputs",
    "run_county",
    "sample_as_county",
]

STEPS = (
    "units",
    "demand",
    "facilities",
    "roads",
    "travel_times",
    "assess",
    "projects",
    "after",
    "isochrones",
    "map",
    "workbook",
    "briefing",
    "manifest",
)
_LON_LAT = "EPSG:4326"
_NUMBER = (int, float)
_ROAD_OPTIONS = {"classes": dict, "crossings": str, "snap_tolerance_m": _NUMBER}
_PROJECT_OPTIONS = {
    "budget": _NUMBER,
    "quota": int,
    "objective": str,
    "spare_minutes": _NUMBER,
    "max_gap": _NUMBER,
    "nodes": int,
    "seconds": _NUMBER,
    "locked": list,
    "forbidden": list,
    "costs": dict,
    "annual_budgets": dict,
}
_TRAVEL_OPTIONS = {"leg_limit_m": _NUMBER, "leg_detour": _NUMBER, "direction": str}
_FILES = ("units", "demand", "facilities", "roads", "neighbours")
_CONDITIONS = ("closures", "barriers", "elevation", "sites", "links")
_PACKAGES = (
    "facility-coverage",
    "geopandas",
    "shapely",
    "pyproj",
    "scipy",
    "matplotlib",
    "openpyxl",
    "networkx",
    "osmnx",
    "folium",
    "numpy",
    "pandas",
)


@dataclass(frozen=True)
class County:
    """What one county's run needs: files, how to read them, the plan and the circles to draw.

    Make one with `read_county`.
    """

    name: str
    units: Path
    facilities: Path
    roads: Path
    plan: str | Path
    demand: Path | None = None
    neighbours: Path | None = None
    closures: Path | None = None
    barriers: Path | None = None
    elevation: Path | None = None
    sites: Path | None = None
    links: Path | None = None
    datum: str | None = None
    kind: str | None = None
    strict: bool = False
    repair: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    crs: str | None = None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    road_options: Mapping[str, Any] = field(default_factory=dict)
    travel_options: Mapping[str, Any] = field(default_factory=dict)
    project_options: Mapping[str, Any] = field(default_factory=dict)
    annual_budgets: Mapping[int, float] | None = None
    circle_kind: str | None = None
    circle_mode: str = "walk"
    circle_minutes: tuple[float, ...] = (5.0, 10.0, 15.0)
    out: Path = Path("facility-coverage")
    lang: str = "zh"
    source: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The input files that are set, by name."""
        given = {name: getattr(self, name) for name in (*_FILES, *_CONDITIONS)}
        return {name: path for name, path in given.items() if path is not None}

    @property
    def options(self) -> dict[str, Any]:
        """What is asked for beside name, files, plan, language and outputs."""
        others = {"name", "plan", "out", "lang", "source", *_FILES, *_CONDITIONS}
        return {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in others
        }


@dataclass(frozen=True, eq=False)
class CountyRun:
    """What a run found and wrote."""

    report: CoverageReport
    projects: gpd.GeoDataFrame
    tasks: gpd.GeoDataFrame
    after: CoverageReport
    circles: gpd.GeoDataFrame
    intake: IntakeReport
    outputs: Mapping[str, Path]
    seconds: Mapping[str, float]


def sample_as_county(*, out: Path, lang: str = "zh") -> County:
    """Give the sample county as a `County` ready to run."""
    sample = sample_county()
    return County(
        name="滦平县（示例数据）" if lang == "zh" else "Luanping County (illustrative sample)",
        units=sample.units,
        demand=sample.demand,
        neighbours=sample.neighbours,
        facilities=sample.facilities,
        roads=sample.roads,
        plan="luanping-2025",
        out=out,
        lang=lang,
    )


def read_county(path: str | Path) -> County:
    """Read a county file (TOML).

    Parameters
    ----------
    path : str or pathlib.Path
        The file. Paths in it are relative to its own folder.

    Returns
    -------
    County
        Ready for `run_county`.

    Raises
    ------
    ConfigError
        For unknown keys (naming the nearest right one), missing keys and wrong types.
    MissingInputError
        Where the file itself is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> text = '''
    ... name = "My county"
    ... plan = "circle-15"
    ... [files]
    ... units = "villages.gpkg"
    ... facilities = "ledger.xlsx"
    ... roads = "roads.gpkg"
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "county.toml")
    ...     _ = file.write_text(text)
    ...     county = read_county(file)
    >>> county.name, county.units.name, county.demand is None
    ('My county', 'villages.gpkg', True)
    """
    path = Path(path)
    table = read_toml(path, error=ConfigError)
    where = str(path)
    check_keys(
        table,
        [
            "name",
            "plan",
            "datum",
            "kind",
            "strict",
            "repair",
            "aliases",
            "crs",
            "lang",
            "files",
            "layers",
            "columns",
            "roads",
            "travel",
            "projects",
            "circles",
            "outputs",
        ],
        where=where,
        error=ConfigError,
    )
    files = require(table, "files", dict, where=where, error=ConfigError)
    check_keys(files, [*_FILES, *_CONDITIONS], where=f"{where}: [files]", error=ConfigError)
    columns, layers = table.get("columns", {}), table.get("layers", {})
    check_keys(columns, _FILES, where=f"{where}: [columns]", error=ConfigError)
    check_keys(layers, _FILES, where=f"{where}: [layers]", error=ConfigError)
    circles, outputs = table.get("circles", {}), table.get("outputs", {})
    check_keys(circles, ["kind", "mode", "minutes"], where=f"{where}: [circles]", error=ConfigError)
    check_keys(outputs, ["folder"], where=f"{where}: [outputs]", error=ConfigError)
    roads = _options(table, "roads", _ROAD_OPTIONS, where=where)
    travel = _options(table, "travel", _TRAVEL_OPTIONS, where=where)
    projects = dict(_options(table, "projects", _PROJECT_OPTIONS, where=where))
    budgets = _annual_budgets(projects.pop("annual_budgets", None), where=where)
    if "costs" in projects:
        projects["costs"] = _costs(projects["costs"], where=where)
    lang = table.get("lang", "zh")
    if lang not in {"zh", "en"}:
        raise ConfigError(f"{where}: lang must be 'zh' or 'en', not {lang!r}")
    folder = path.resolve().parent

    def file(name: str) -> Path:
        text = require(files, name, str, where=f"{where}: [files]", error=ConfigError)
        return folder / str(text)

    def maybe(name: str) -> Path | None:
        return file(name) if name in files else None

    def flag(name: str) -> bool:
        given = {name: False, **table}
        return bool(require(given, name, bool, where=where, error=ConfigError))

    plan = require(table, "plan", str, where=where, error=ConfigError)
    minutes = tuple(circles.get("minutes", (5, 10, 15)))
    return County(
        name=require(table, "name", str, where=where, error=ConfigError),
        units=file("units"),
        demand=maybe("demand"),
        neighbours=maybe("neighbours"),
        closures=maybe("closures"),
        barriers=maybe("barriers"),
        elevation=maybe("elevation"),
        sites=maybe("sites"),
        links=maybe("links"),
        facilities=file("facilities"),
        roads=file("roads"),
        plan=folder / plan if plan.endswith(".toml") else plan,
        datum=table.get("datum"),
        kind=table.get("kind"),
        strict=flag("strict"),
        repair=flag("repair"),
        aliases=table.get("aliases", {}),
        crs=table.get("crs"),
        columns=columns,
        layers=layers,
        road_options=roads,
        travel_options=travel,
        project_options=projects,
        annual_budgets=budgets,
        circle_kind=circles.get("kind"),
        circle_mode=circles.get("mode", "walk"),
        circle_minutes=tuple(float(m) for m in minutes),
        out=folder / outputs.get("folder", "facility-coverage"),
        lang=lang,
        source=path.resolve(),
    )


class Inputs(NamedTuple):
    """What a county's files hold."""

    units: gpd.GeoDataFrame
    demand: gpd.GeoDataFrame | None
    facilities: gpd.GeoDataFrame
    roads: RoadNetwork
    neighbours: gpd.GeoDataFrame | None
    barriers: gpd.GeoDataFrame | None
    sites: gpd.GeoDataFrame | None
    links: gpd.GeoDataFrame | None


def run_county(
    county: County,
    *,
    progress: Callable[[str], None] | None = None,
    made_on: dt.date | None = None,
) -> CountyRun:
    """Run the whole line for one county and write its map, workbook, briefing and manifest.

    Parameters
    ----------
    county : County
        From `read_county`.
    progress : callable, optional
        Told the name of each step (one of `STEPS`) as it begins.
    made_on : datetime.date, optional
        The date printed; by default today.

    Returns
    -------
    CountyRun
        The report, the projects and their years, the report of the county after them, the circles,
        the files written and the seconds of each step.

    Raises
    ------
    CoverageError
        Where an input or the plan cannot be used. Outputs are written whole or not at all.
    """
    clock = Clock(progress)
    made_on = made_on or dt.date.today()  # noqa: DTZ011 - the reader's own day
    plan = load_plan(county.plan)
    for what, named, known in (
        ("kind", county.circle_kind, plan.kinds),
        ("mode", county.circle_mode, plan.modes),
    ):
        if named is not None and named not in known:
            raise ConfigError(
                f"{county.name}: [circles]: the plan knows no {what} {named!r}; "
                f"it knows {', '.join(known)}"
            )
    given, report, intake = assess_county(county, plan, clock)
    clock.begin("projects")
    projects = county_projects(county, given, report)
    tasks = annual_tasks(projects, report, budgets=county.annual_budgets)
    clock.begin("after")
    after = apply_projects(report, projects, given.roads, links=given.links)
    clock.begin("isochrones")
    kind, mode = county.circle_kind or plan.kinds[0], plan.modes[county.circle_mode]
    times = county.circle_minutes
    circles = isochrones(
        report.facilities,
        given.roads,
        kind=kind,
        mode=mode,
        minutes=times,
        barriers=given.barriers,
        **county.travel_options,
    )
    clock.begin("map")
    drawn = coverage_map(
        report,
        circles=circles,
        projects=projects,
        after=after,
        kind=kind,
        lang=county.lang,
        title=county.name,
        context=given.neighbours,
        drawn_on=made_on,
    )
    outputs = {"map": write_beside(county.out / "map.html", drawn.save)}
    clock.begin("workbook")
    outputs["workbook"] = write_workbook(
        report,
        projects,
        county.out / "coverage.xlsx",
        lang=county.lang,
        tasks=tasks,
        files=county.files,
    )
    clock.begin("briefing")
    outputs["briefing"] = write_briefing(
        report,
        projects,
        county.out / "briefing.html",
        tasks=tasks,
        after=after,
        lang=county.lang,
        made_on=made_on,
    )
    clock.begin("manifest")
    manifest = {
        **_manifest(county, report, projects, audit_trail(given, report, intake), outputs),
        "made_on": made_on.isoformat(),
        "seconds": clock.seconds,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2)
    outputs["manifest"] = write_beside(
        county.out / "manifest.json", lambda name: Path(name).write_text(text, "utf-8")
    )
    return CountyRun(report, projects, tasks, after, circles, intake, outputs, clock.seconds)


def assess_county(
    county: County, plan: Plan, clock: Clock
) -> tuple[Inputs, CoverageReport, IntakeReport]:
    """Read a county's files and assess it; also tell what was noticed on reading."""
    given = read_inputs(county, plan, clock)
    people = () if given.demand is None else (given.demand,)
    intake = intake_report(given.units, *people, given.facilities, given.roads)
    clock.begin("travel_times")
    access = travel_times(
        given.units,
        given.facilities,
        given.roads,
        plan,
        demand=given.demand,
        barriers=given.barriers,
        **county.travel_options,
    )
    clock.begin("assess")
    return given, assess(given.units, given.facilities, access, plan), intake


def county_projects(county: County, given: Inputs, report: CoverageReport) -> gpd.GeoDataFrame:
    """Propose a county's projects as its file asks."""
    return propose_projects(
        report,
        given.roads,
        candidates=given.sites,
        links=given.links,
        **county.project_options,
    )


class Clock:
    """Tells of each step as it begins, and keeps how long the earlier ones took."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._step = ""
        self._since = time.perf_counter()

    def begin(self, step: str) -> None:
        """Begin a step."""
        now = time.perf_counter()
        if self._step:
            self.seconds[self._step] = round(now - self._since, 3)
        self._step, self._since = step, now
        if self._progress is not None:
            self._progress(step)


def read_inputs(county: County, plan: Plan, clock: Clock) -> Inputs:
    """Read all a county's files."""

    def layer(path: Path | None) -> gpd.GeoDataFrame | None:
        return None if path is None else read_layer(path)

    clock.begin("units")
    units = _read_units(county, plan)
    clock.begin("demand")
    demand = None if county.demand is None else _read_demand(county, units)
    clock.begin("facilities")
    neighbours = layer(county.neighbours)
    facilities = _read_facilities(county, units, neighbours)
    clock.begin("roads")
    roads = _read_roads(county)
    if county.closures is not None:
        roads = close_roads(roads, read_layer(county.closures))
    if county.elevation is not None:
        roads = add_elevation(roads, county.elevation)
    others = [layer(path) for path in (county.barriers, county.sites, county.links)]
    return Inputs(units, demand, facilities, roads, neighbours, *others)


def check_county(county: County) -> IntakeReport:
    """Read a county's files as a run would, and tell everything noticed.

    Parameters
    ----------
    county : County
        From `read_county`.

    Returns
    -------
    IntakeReport
        Of units, demand, facilities and roads; a file that cannot be used is an error in it.
    """
    plan = load_plan(county.plan)
    units, report = reported(partial(_read_units, county, plan), county.units.name)
    reports = [report]
    if county.demand is not None and units is not None:
        reports.append(reported(partial(_read_demand, county, units), county.demand.name)[1])
    elif county.demand is not None:
        reports.append(IntakeReport((finding("file.needs_units", file=county.demand.name),)))
    read = partial(_read_facilities, county, units, None)
    reports.append(reported(read, county.facilities.name)[1])
    reports.append(reported(partial(_read_roads, county), county.roads.name)[1])
    return IntakeReport.joined(reports)


def _read_units(county: County, plan: Plan) -> gpd.GeoDataFrame:
    return read_units(
        county.units,
        layer=county.layers.get("units"),
        columns=county.columns.get("units"),
        plan=plan,
        repair=county.repair,
        strict=county.strict,
    )


def _read_demand(county: County, units: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if county.demand is None:
        raise ConfigError(f"{county.name}: there is no file of demand points")
    return read_demand(
        county.demand,
        units,
        layer=county.layers.get("demand"),
        columns=county.columns.get("demand"),
        strict=county.strict,
    )


def _read_facilities(
    county: County, units: gpd.GeoDataFrame | None, neighbours: gpd.GeoDataFrame | None
) -> gpd.GeoDataFrame:
    return read_facilities(
        county.facilities,
        kind=county.kind,
        datum=county.datum,
        layer=county.layers.get("facilities"),
        columns=county.columns.get("facilities"),
        units=units,
        neighbours=neighbours,
        aliases=county.aliases,
        strict=county.strict,
    )


def _read_roads(county: County) -> RoadNetwork:
    return read_roads(
        county.roads,
        crs=county.crs,
        layer=county.layers.get("roads"),
        columns=county.columns.get("roads"),
        **county.road_options,
    )


def _options(
    table: Mapping[str, Any], name: str, known: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Give a table of options, each known and of its type."""
    options: dict[str, Any] = table.get(name, {})
    where = f"{where}: [{name}]"
    check_keys(options, known, where=where, error=ConfigError)
    for key in options:
        require(options, key, known[key], where=where, error=ConfigError)
    return options


def _costs(table: Mapping[str, Any], *, where: str) -> dict[str, tuple[float, float]]:
    """Give unit costs: a fixed one and one by m², in 10,000 yuan."""
    where = f"{where}: [projects.costs]"
    check_keys(table, labels("nature", "en"), where=where, error=ConfigError)
    costs = {}
    for nature, given in table.items():
        pair = given if isinstance(given, list) else [given]
        if len(pair) != 2 or not all(  # noqa: PLR2004 - a pair
            isinstance(each, _NUMBER) and not isinstance(each, bool) and each >= 0 for each in pair
        ):
            raise ConfigError(
                f"{where}: {nature} must be [fixed cost, cost per m²] in 10,000 yuan, "
                f"e.g. [5, 0.25], not {given!r}"
            )
        costs[nature] = (float(pair[0]), float(pair[1]))
    return costs


def _annual_budgets(table: Mapping[str, Any] | None, *, where: str) -> dict[int, float] | None:
    """Give what may be spent in each year."""
    if table is None:
        return None
    where = f"{where}: [projects.annual_budgets]"
    budgets = {}
    for year in table:
        if not year.isdigit():
            raise ConfigError(f"{where}: {year!r} is no year; write e.g. 2023 = 120")
        budgets[int(year)] = float(require(table, year, _NUMBER, where=where, error=ConfigError))
    return budgets


def audit_trail(given: Inputs, report: CoverageReport, intake: IntakeReport) -> dict[str, Any]:
    """Say what was read, what was noticed of it, and how it was brought to one place.

    Parameters
    ----------
    given, report, intake
        As `assess_county` gives them.

    Returns
    -------
    dict
        Plain values: `rows` of each table that was worked with; `rows_read` of the files (read,
        accepted, set aside, no data); `findings` by severity and rule; `crs` of each table as it
        was read; `operations`, those of PROJ that took coordinates from one CRS to another; and
        `seed`, which is null: nothing is drawn at random.
    """
    tables = {
        "units": report.units,
        "demand": report.demand,
        "facilities": report.facilities,
        **{
            name: table
            for name in ("neighbours", "barriers", "sites", "links")
            if (table := getattr(given, name)) is not None
        },
    }
    crs = {name: table.crs.to_string() for name, table in tables.items()}
    metric = report.roads.crs.to_string()
    crs["roads"] = given.roads.rows[0]["crs"] if given.roads.rows else metric
    return {
        "rows": {
            **{name: len(table) for name, table in tables.items()},
            "road_edges": len(report.roads),
            "road_nodes": len(report.roads.nodes),
        },
        "rows_read": {
            name: dict(row)
            for name in ("units", "demand", "facilities", "roads")
            if (table := getattr(given, name)) is not None
            for row in intake_report(table).rows
        },
        "findings": intake.counts,
        "crs": {**crs, "measured_in": metric},
        "operations": _operations(report.roads, crs),
        "seed": None,
    }


def _operations(roads: RoadNetwork, crs: Mapping[str, str]) -> list[dict[str, str]]:
    """Give what PROJ does to take places to where they are measured, find their unit, are drawn."""
    metric, units = roads.crs.to_string(), crs["units"]
    changes = [(here, there) for there in (metric, units) for here in crs.values()]
    changes += [(units, _LON_LAT), (metric, _LON_LAT)]
    west, south, east, north = roads.edges.total_bounds
    middle = (west + east) / 2, (south + north) / 2
    told = []
    for here, there in dict.fromkeys(changes):
        if here != there:
            start = pyproj.Transformer.from_crs(metric, here, always_xy=True).transform(*middle)
            change = pyproj.Transformer.from_crs(here, there, always_xy=True)
            change.transform(*start)
            used = change.get_last_used_operation()  # there may be several, by place
            operation = f"{used.description}: {used.definition}"
            told.append({"from": here, "to": there, "operation": operation})
    return told


def _manifest(
    county: County,
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    trail: Mapping[str, Any],
    outputs: Mapping[str, Path],
) -> dict[str, Any]:
    """Say what went in, what it was judged by, and what came out."""
    inputs = {**county.files, **({"plan": county.plan} if isinstance(county.plan, Path) else {})}
    return {
        "county": county.name,
        "county_file": None if county.source is None else path_from(county.out, county.source),
        "lang": county.lang,
        "stamp": report.stamp,
        "plan": {
            "plan_id": report.plan.plan_id,
            "name": report.plan.name_zh,
            "source": report.plan.source,
            "standards": [
                {
                    "kind": standard.kind,
                    "setting": standard.setting,
                    "rule": standard.in_words("en"),
                    "target": standard.target_share,
                    "source": standard.source,
                }
                for standard in report.plan.standards
            ],
        },
        "inputs": {
            # A layer may consist of several files, such as a Shapefile.
            name if each == path else f"{name} ({each.relative_to(path.parent)})": {
                "file": each.name,
                "sha256": file_sha256(each),
            }
            for name, path in inputs.items()
            for each in layer_files(path)
        },
        **trail,
        "rows": {**trail["rows"], "projects": len(projects)},
        "options": {
            **{name: each for name, each in county.options.items() if name != "travel_options"},
            **report.access.options,  # those of travel, as they were used
        },
        "packages": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "outputs": {
            name: {"file": path.name, "sha256": file_sha256(path)} for name, path in outputs.items()
        },
    }
