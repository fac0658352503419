"""A made-up report of the size of a county, with every column the map may be given."""

from __future__ import annotations

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

CRS = "EPSG:4548"
CENTRE = (527_790.0, 4_533_963.0)
KINDS = (
    "comprehensive_service",
    "fitness_ground",
    "day_care",
    "clinic",
    "culture_centre",
    "emergency_shelter",
    "convenience_store",
    "pharmacy",
    "convenience_circle",
)
STAMP = "示例数据 illustrative sample, not survey data"
_REASONS = ("too_far", "no_facility", "too_small", "off_network")
_SURNAMES = "张王李赵刘陈杨周吴郑孙马胡林何高梁宋唐许"
_ENDINGS = ("家店", "营", "沟门", "台子", "窝铺", "子沟", "梁", "庄")


def _county(rng: np.random.Generator) -> shapely.Polygon:
    angle = np.linspace(0, 2 * np.pi, 121)[:-1]
    radius = 29_000 + 4_500 * np.sin(3 * angle + 1) + 2_500 * np.cos(5 * angle)
    radius += rng.normal(0, 500, angle.size)
    return shapely.Polygon(
        np.column_stack(
            [CENTRE[0] + radius * np.cos(angle), CENTRE[1] + 0.92 * radius * np.sin(angle)]
        )
    )


def _points_in(shape: shapely.Polygon, count: int, rng: np.random.Generator) -> np.ndarray:
    west, south, east, north = shape.bounds
    found: list[np.ndarray] = []
    while sum(map(len, found)) < count:
        trial = rng.uniform((west, south), (east, north), size=(count * 2, 2))
        found.append(trial[shapely.contains_xy(shape, trial[:, 0], trial[:, 1])])
    return np.concatenate(found)[:count]


def _relax(points: np.ndarray, shape: shapely.Polygon) -> np.ndarray:
    """Spread the points, so that the cells look like villages and not like splinters."""
    for _ in range(3):
        points = shapely.get_coordinates(shapely.centroid(_cells(points, shape)))
    return points


def _cells(points: np.ndarray, shape: shapely.Polygon) -> np.ndarray:
    parts = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=shape))
    tree = shapely.STRtree(parts)
    at = tree.query(shapely.points(points), predicate="within")
    order = np.empty(len(points), dtype=int)
    order[at[0]] = at[1]
    return shapely.intersection(parts[order], shape)


def _wiggle(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, steps: int) -> np.ndarray:
    along = np.linspace(0, 1, steps)
    across = np.array([a[1] - b[1], b[0] - a[0]])
    sway = np.cumsum(rng.normal(0, 0.035, steps))
    sway -= along * sway[-1]
    return a + along[:, None] * (b - a) + sway[:, None] * across


def _name(index: int) -> str:
    return _SURNAMES[index % 20] + _ENDINGS[index // 20 % 8] + ("" if index < 160 else "二") + "村"


def fake_report(*, n_units: int = 213, n_hamlets: int = 1000, seed: int = 7) -> SimpleNamespace:
    """Make the report; `n_units` 213 gives about 20,000 road vertices and 1,700 facilities."""
    rng = np.random.default_rng(seed)
    county = _county(rng)
    seats = _relax(_points_in(county, n_units, rng), county)
    towns = _relax(_points_in(county, max(2, n_units // 11), rng), county)
    town_of = np.argmin(((seats[:, None] - towns[None]) ** 2).sum(axis=2), axis=1)
    codes = [f"130824{100 + town:03d}{index:03d}" for index, town in enumerate(town_of)]
    community = np.arange(n_units) < max(1, n_units // 15)
    units = gpd.GeoDataFrame(
        {
            "unit_code": codes,
            "name": [
                f"{_SURNAMES[i % 20]}桥社区" if community[i] else _name(i) for i in range(n_units)
            ],
            "township": [f"{_SURNAMES[t % 20]}家营镇" for t in town_of],
            "township_code": [f"130824{100 + t:03d}" for t in town_of],
            "unit_kind": np.where(community, "community", "village"),
            "setting": np.where(community, "urban", "rural"),
            "residents": pd.array(rng.integers(200, 3000, n_units), dtype="Int64"),
            "households": pd.array(rng.integers(80, 1000, n_units), dtype="Int64"),
            "data_note": STAMP,
        },
        geometry=_cells(seats, county),
        crs=CRS,
    )
    units.loc[3, "residents"] = pd.NA

    near = rng.integers(0, n_units, n_hamlets)
    spots = seats[near] + rng.normal(0, 900, (n_hamlets, 2))
    demand = gpd.GeoDataFrame(
        {
            "demand_id": [f"d{i}" for i in range(n_hamlets)],
            "unit_code": [codes[i] for i in near],
            "name": [f"{_SURNAMES[i % 20]}{_ENDINGS[i % 8]}{i}" for i in range(n_hamlets)],
            "residents": pd.array(rng.integers(10, 400, n_hamlets), dtype="Int64"),
            "role": "people",
        },
        geometry=gpd.points_from_xy(*spots.T),
        crs=CRS,
    )
    facilities = _facilities(codes, seats, rng)
    roads = _roads(seats, towns, rng)
    verdicts = _verdicts(units, facilities, rng)
    demand_verdicts = pd.concat(
        [
            pd.DataFrame(
                {
                    "demand_id": demand["demand_id"],
                    "unit_code": demand["unit_code"],
                    "kind": kind,
                    "minutes": np.where(
                        rng.random(n_hamlets) < 0.04, np.nan, rng.gamma(3, 6, n_hamlets)
                    ),
                    "mode": "walk",
                    "facility_id": None,
                    "residents": demand["residents"],
                }
            )
            for kind in KINDS
        ],
        ignore_index=True,
    )
    minutes = demand_verdicts["minutes"]
    demand_verdicts["state"] = np.select(
        [minutes.isna(), minutes <= 20], ["unknown", "covered"], "uncovered"
    )
    demand_verdicts["reason"] = demand_verdicts["state"].map(
        {"unknown": "off_network", "covered": "", "uncovered": "too_far"}
    )
    return SimpleNamespace(
        plan=SimpleNamespace(
            plan_id="sample",
            name_zh="滦平县城乡社区服务体系建设“十四五”规划",
            name_en="Luanping County plan for community services, 2021-2025",
        ),
        units=units,
        demand=demand,
        facilities=facilities,
        roads=roads,
        verdicts=verdicts,
        demand_verdicts=demand_verdicts,
        rates=_rates(verdicts),
        indicators=pd.DataFrame(),
        gaps=verdicts[verdicts["ledger_state"] != "covered"],
        stamp=STAMP,
    )


def _facilities(codes: list[str], seats: np.ndarray, rng: np.random.Generator) -> gpd.GeoDataFrame:
    rows = []
    for kind in KINDS[:-1]:
        for index, code in enumerate(codes):
            if rng.random() < 0.02:
                continue
            where = seats[index] + rng.normal(0, 500, 2)
            status = rng.choice(["in_use", "in_use", "in_use", "in_use", "closed", "planned"])
            rows.append((kind, code, status, where, False))
        for _ in range(4):
            angle = rng.uniform(0, 2 * np.pi)
            where = np.array(CENTRE) + 35_500 * np.array([np.cos(angle), 0.92 * np.sin(angle)])
            rows.append((kind, None, "in_use", where, True))
    rows.extend(("comprehensive_service", code, "shared", None, False) for code in codes[5::9])
    return gpd.GeoDataFrame(
        {
            "facility_id": [f"f{i}" for i in range(len(rows))],
            "name": [f"{row[0][:4]} 第{i}号服务点" for i, row in enumerate(rows)],
            "kind": [row[0] for row in rows],
            "unit_code": [row[1] for row in rows],
            "status": [row[2] for row in rows],
            "outside": [row[4] for row in rows],
            "floor_area_m2": [float(rng.integers(60, 700)) for _ in rows],
            "hours_per_day": [8.0 for _ in rows],
        },
        geometry=[None if row[3] is None else shapely.Point(row[3]) for row in rows],
        crs=CRS,
    )


def _roads(seats: np.ndarray, towns: np.ndarray, rng: np.random.Generator) -> SimpleNamespace:
    lines, classes = [], []

    def join(points: np.ndarray, names: list[str], steps: int) -> None:
        triangles = shapely.get_parts(
            shapely.delaunay_triangles(shapely.MultiPoint(points), only_edges=True)
        )
        for edge in shapely.get_parts(triangles):
            a, b = shapely.get_coordinates(edge)
            if np.hypot(*(a - b)) < 15_000:
                lines.append(shapely.LineString(_wiggle(a, b, rng, steps)))
                classes.append(names[rng.integers(len(names))])

    join(towns, ["primary", "secondary", "secondary", "trunk"], 40)
    join(seats, ["tertiary", "unclassified", "unclassified", "residential", "track"], 28)
    edges = gpd.GeoDataFrame(
        {
            "u": np.arange(len(lines)),
            "v": np.arange(len(lines)) + 1,
            "length_m": shapely.length(np.array(lines)),
            "highway": classes,
            "name": None,
            "oneway": False,
        },
        geometry=lines,
        crs=CRS,
    )
    return SimpleNamespace(edges=edges, crs=edges.crs)


def _verdicts(
    units: gpd.GeoDataFrame, facilities: gpd.GeoDataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    tables = []
    for kind in KINDS:
        own = facilities[(facilities["kind"] == kind) & facilities["unit_code"].notna()]
        kept = own[own["status"] != "shared"].drop_duplicates("unit_code")
        by_unit = kept.set_index("unit_code")["facility_id"]
        shares = own[own["status"] == "shared"].set_index("unit_code")["facility_id"]
        seats = shapely.get_coordinates(shapely.centroid(units.geometry.array))
        x, y = (seats[:, 0] - CENTRE[0]) / 9000, (seats[:, 1] - CENTRE[1]) / 9000
        minutes = 16 + 6 * np.sin(x + KINDS.index(kind)) * np.cos(y) + rng.normal(0, 3.5, len(x))
        minutes = np.where(rng.random(len(x)) < 0.03, np.nan, np.maximum(minutes, 1.2))
        limit = np.where(units["setting"] == "rural", 20.0, 15.0)
        state = np.select(
            [np.isnan(minutes), minutes <= limit], ["unknown", "covered"], "uncovered"
        )
        ledger = rng.choice(["covered", "covered", "covered", "uncovered"], len(x))
        share = np.where(state == "covered", rng.uniform(0.5, 1, len(x)), 0.2)
        tables.append(
            pd.DataFrame(
                {
                    "unit_code": units["unit_code"],
                    "name": units["name"],
                    "township": units["township"],
                    "setting": units["setting"],
                    "residents": units["residents"],
                    "kind": kind,
                    "ledger_state": ledger,
                    "ledger_reason": np.where(
                        ledger == "covered", "", rng.choice(_REASONS[1:3], len(x))
                    ),
                    "ledger_facility_id": [
                        shares.get(code, by_unit.get(code)) if verdict == "covered" else None
                        for code, verdict in zip(units["unit_code"], ledger, strict=True)
                    ],
                    "reachable_state": state,
                    "reachable_reason": pd.Series(state).map(
                        {"covered": "", "uncovered": "too_far", "unknown": "off_network"}
                    ),
                    "minutes": minutes,
                    "mode": np.where(np.isnan(minutes), None, "walk"),
                    "facility_id": [by_unit.get(code) for code in units["unit_code"]],
                    "people_covered": 0,
                    "people_uncovered": 0,
                    "people_unknown": 0,
                    "people_share": share,
                    "limit_minutes": limit,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _rates(verdicts: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (kind, setting), group in verdicts.groupby(["kind", "setting"], sort=False):
        for basis in ("ledger", "reachable"):
            state = group[f"{basis}_state"]
            for measure in ("units", "people"):
                weight = (
                    pd.Series(1.0, group.index)
                    if measure == "units"
                    else group["residents"].astype("Float64").fillna(0).astype(float)
                )
                covered = float(weight[state == "covered"].sum())
                total = float(weight.sum())
                target = 0.8 if measure == "units" and basis == "ledger" else np.nan
                rows.append(
                    {
                        "kind": kind,
                        "setting": setting,
                        "basis": basis,
                        "measure": measure,
                        "covered": covered,
                        "uncovered": float(weight[state == "uncovered"].sum()),
                        "unknown": float(weight[state == "unknown"].sum()),
                        "total": total,
                        "share": covered / total,
                        "target": target,
                        "missing": max(0.0, np.ceil(target * total) - covered),
                    }
                )
    return pd.DataFrame(rows)


def fake_projects(report: SimpleNamespace, *, count: int = 45) -> gpd.GeoDataFrame:
    """Make projects for units the ledger does not cover."""
    rows = report.verdicts[
        (report.verdicts["kind"] == KINDS[0]) & (report.verdicts["ledger_state"] == "uncovered")
    ].head(count)
    units = report.units.set_index("unit_code").loc[rows["unit_code"]]
    size = len(rows)
    return gpd.GeoDataFrame(
        {
            "number": range(1, size + 1),
            "project": "village",
            "unit_code": rows["unit_code"].to_numpy(),
            "name": units["name"].to_numpy(),
            "township": units["township"].to_numpy(),
            "setting": units["setting"].to_numpy(),
            "nature": [("new_build", "sharing", "extension")[i % 3] for i in range(size)],
            "reasons": "no_facility",
            "short_floor_area_m2": 200.0,
            "short_activity_area_m2": np.nan,
            "residents": units["residents"].to_numpy(),
            "households": units["households"].to_numpy(),
            "deadline": 2025,
            "in_quota": [i < size * 0.8 for i in range(size)],
            "rank": range(1, size + 1),
            "host_facility_id": None,
        },
        geometry=shapely.point_on_surface(units.geometry.array),
        crs=report.units.crs,
    )


def fake_circles(report: SimpleNamespace) -> gpd.GeoDataFrame:
    """Make merged isochrones of two kinds."""
    rows = []
    for kind in KINDS[:2]:
        chosen = report.facilities[report.facilities["kind"] == kind].dropna(subset=["geometry"])
        for minutes in (5, 10, 15):
            area = chosen.geometry.buffer(minutes * 65).union_all()
            rows.append((kind, None, "walk", float(minutes), area.area, area))
    return gpd.GeoDataFrame(
        rows,
        columns=["kind", "facility_id", "mode", "minutes", "area_m2", "geometry"],
        geometry="geometry",
        crs=report.units.crs,
    )
