"""The facility ledger: nine sheets as a county bureau keeps them, true to the plan's baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
import shapely
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from .common import FloatArray, IntArray, stream, to_lonlat, to_metric
from .hamlets import Settlement, share_out

if TYPE_CHECKING:
    from .partition import Partition
    from .roads import Network

SHEETS = ("综合服务设施", "便民网点", "健身场地", "日间照料", "卫生室", "文化中心", "文明实践站",
          "警务室", "避难场所")  # fmt: skip
PREFIX = dict(zip(SHEETS, ("ZH", "BM", "JS", "RJ", "WS", "WH", "WM", "JW", "BN"), strict=True))
TRADES = ("便利店", "超市", "菜市场", "早餐店", "药店", "理发店", "维修点", "家政服务点", "快递点")
# Outlets of each trade: mean number in a community, number in a township seat, odds in a village.
TOWN_OUTLETS = dict(zip(TRADES, (4, 1, 1, 3, 2, 3, 1, 1, 2), strict=True))
SEAT_OUTLETS = dict(zip(TRADES, (3, 1, 1, 2, 1, 1, 1, 0, 2), strict=True))
VILLAGE_ODDS = (0.8, 0.06, 0.01, 0.05, 0.08, 0.07, 0.06, 0.01, 0.55)
VILLAGE_OUTLETS = dict(zip(TRADES, VILLAGE_ODDS, strict=True))
SIZE_OF = {"超市": 8, "菜市场": 8}  # floor area in multiples of a small shop's
TRADE_SHEET = "便民网点"
CENTRE_SHEET = "综合服务设施"
COLUMNS = ("设施编号", "设施名称", "乡镇", "村（社区）", "区划代码", "业态", "经度", "纬度",
           "建筑面积（㎡）", "活动区域面积（㎡）", "每日开放时长（小时）", "使用状态", "产权",
           "共享设施编号", "建成年份", "备注")  # fmt: skip

# The plan's baseline: 120 of 199 villages covered, and 22 m² per 100 urban households.
OWN_VILLAGES = 98
SHARING_VILLAGES = 22
SHORTFALLS = {"none": 30, "small": 26, "short_hours": 10, "closed": 7, "blank": 3, "far": 3}
AREA_PER_100_HOUSEHOLDS = 22
SURE_OWN_VILLAGES = 96
SHARING_LIMIT_MIN = 10.0  # well inside the rural threshold of 15 minutes by motor
FAR_MIN = 45.0
COVERED_FLOOR_M2 = 200

# Motor speeds in km/h on the classes that people of the county may use.
SPEED_KMH = {"trunk": 50, "primary": 50, "secondary": 35, "tertiary": 25, "unclassified": 18,
             "residential": 18, "track": 12}  # fmt: skip

# Sheet: number of villages with one, number in each community, floor area range, name suffix.
OTHER_KINDS: dict[str, tuple[int, int, tuple[int, int], str]] = {
    "健身场地": (140, 3, (150, 900), "健身广场"),
    "日间照料": (40, 1, (120, 480), "日间照料中心"),
    "卫生室": (170, 1, (60, 180), "卫生室"),
    "文化中心": (142, 1, (80, 300), "综合性文化服务中心"),
    "文明实践站": (185, 1, (60, 160), "新时代文明实践站"),
    "警务室": (50, 1, (15, 45), "警务室"),
    "避难场所": (55, 1, (800, 6000), "应急避难场所"),
}
COMMUNITIES_WITH_DAY_CARE = 12
OUTSIDE = (("卫生室", 3), (TRADE_SHEET, 4), ("健身场地", 1), (CENTRE_SHEET, 2))
TENURES = ("自有", "租赁", "共建共享")
STREET_OFFSET_M = (20.0, 150.0)


def motor_minutes(network: Network, points: FloatArray) -> FloatArray:
    """Minutes by motor between points (metres), each entering at its nearest road node."""
    rows, cols, minutes = [], [], []
    for (a, b), tags in network.edges.items():
        speed = SPEED_KMH.get(tags.highway)
        if speed is None:
            continue
        time = float(np.hypot(*(network.xy[a] - network.xy[b]))) / (speed * 1000 / 60)
        rows += [a] if tags.oneway else [a, b]
        cols += [b] if tags.oneway else [b, a]
        minutes += [time] if tags.oneway else [time, time]
    size = len(network.xy)
    graph = sparse.csr_matrix((minutes, (rows, cols)), shape=(size, size))
    drivable = np.unique(rows)
    nodes = drivable[cKDTree(network.xy[drivable]).query(points)[1]]
    return np.asarray(csgraph.dijkstra(graph, indices=nodes)[:, nodes])


class _Places:
    """Finds sites for facilities: near a hamlet, in the unit, a little off a road."""

    def __init__(self, network: Network, partition: Partition, settlement: Settlement) -> None:
        lonlat = settlement.hamlets[["lon", "lat"]].to_numpy()
        self.points = to_metric(lonlat)
        self.rows = settlement.hamlets.groupby("unit_code").indices
        self.first = {code: int(rows[0]) for code, rows in self.rows.items()}
        graph = network.graph()
        drop = [
            n for a, b, t in graph.edges(data="tags") if "motorway" in t.highway for n in (a, b)
        ]
        main = max(nx.connected_components(graph), key=len) - set(drop)
        self.nodes = network.xy[np.array(sorted(main))]
        self.tree = cKDTree(self.nodes)
        keys = [key for key, tags in network.edges.items() if "motorway" not in tags.highway]
        self.roads = shapely.STRtree(network.lines(keys))
        self.polygons = dict(
            zip(
                settlement.units["unit_code"],
                shapely.transform(np.array(partition.polygons), to_metric),
                strict=True,
            )
        )

    def near(self, code: str, rng: np.random.Generator, *, spread: bool = False) -> FloatArray:
        """Return lon/lat near the seat of a unit, or near any of its points if ``spread``."""
        row = int(rng.choice(self.rows[code])) if spread else self.first[code]
        centre = self.points[row]
        for node in self.nodes[self.tree.query(centre, k=60)[1]]:
            point = self.beside(node, rng)
            if point is not None and self.polygons[code].contains(shapely.Point(point)):
                return np.asarray(np.round(to_lonlat(point[None, :])[0], 6))
        return np.asarray(np.round(to_lonlat(centre[None, :])[0], 6))

    def beside(self, node: FloatArray, rng: np.random.Generator) -> FloatArray | None:
        """Return a point 20-150 m off the road at ``node``, or nothing where streets crowd."""
        for _ in range(12):
            turn, away = rng.uniform(0, 2 * np.pi), rng.triangular(22.0, 30.0, 120.0)
            point = node + away * np.array([np.cos(turn), np.sin(turn)])
            _, gap = self.roads.query_nearest(
                shapely.Point(point), return_distance=True, all_matches=False
            )
            if STREET_OFFSET_M[0] <= gap[0] <= STREET_OFFSET_M[1]:
                return np.asarray(point)
        return None

    def outside(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Return lon/lat of sites by roads just beyond the county."""
        county = shapely.union_all(list(self.polygons.values()))
        gap = shapely.distance(county, shapely.points(self.nodes))
        nodes = self.nodes[(gap > 250.0) & (gap < 2500.0)]
        found: list[FloatArray] = []
        for node in nodes[rng.permutation(len(nodes))]:
            point = self.beside(node, rng)
            if point is None or county.contains(shapely.Point(point)):
                continue
            if all(np.hypot(*(point - other)) > 400 for other in found):
                found.append(point)
            if len(found) == count:
                break
        return np.asarray(np.round(to_lonlat(np.array(found)), 6))


def plan_centres(
    network: Network, settlement: Settlement, places: _Places
) -> tuple[dict[str, str], dict[str, str]]:
    """Decide the state of every village's comprehensive service facility.

    Returns
    -------
    state
        own, shared, far, none, small, short_hours, closed or blank, by unit code.
    host
        The unit whose facility a sharing village uses.
    """
    rng = stream("centres")
    units = settlement.units
    villages = units[units["setting"] == "rural"]
    codes = villages["unit_code"].tolist()
    hamlets = settlement.hamlets[settlement.hamlets["unit_code"].isin(codes)]
    minutes = motor_minutes(network, places.points[hamlets.index.to_numpy()])
    spot = hamlets.reset_index().groupby("unit_code").indices
    seat = {code: int(rows[0]) for code, rows in spot.items()}
    people = hamlets["residents"].to_numpy()

    def typical(code: str, host: str) -> float:
        """Minutes within which 60 % of the village and its seat reach the host's seat."""
        rows = spot[code]
        times = minutes[rows, seat[host]]
        order = np.argsort(times, kind="stable")
        share = np.cumsum(people[rows][order]) / people[rows].sum()
        return float(max(times[order][np.argmax(share >= 0.6)], minutes[seat[code], seat[host]]))

    liking = np.log(villages["residents"].to_numpy()) + rng.gumbel(0.0, 0.5, len(codes))
    liking -= 3.0 * villages["merger_class"].to_numpy()
    order = [codes[k] for k in np.argsort(-liking, kind="stable")]
    sure = order[:SURE_OWN_VILLAGES]  # hosts are chosen among these, and the sharers near them
    nearest = {code: min((typical(code, own), own) for own in sure) for code in order[len(sure) :]}
    sharing = sorted(nearest, key=lambda code: nearest[code])[:SHARING_VILLAGES]
    if nearest[sharing[-1]][0] > SHARING_LIMIT_MIN:
        raise ValueError("too few villages near a facility to share")
    host = {code: nearest[code][1] for code in sharing}
    rest = [code for code in order if code not in host]
    state = dict.fromkeys(rest[:OWN_VILLAGES], "own") | dict.fromkeys(sharing, "shared")
    rest = [code for code in rest if code not in state]
    for code in rest[: SHORTFALLS["far"]]:
        options = sorted((minutes[seat[code], seat[own]], own) for own in sure)
        state[code] = "far"
        host[code] = next(own for time, own in options if FAR_MIN < time < np.inf)
    rest = [code for code in rest if code not in state]
    kinds = [kind for kind, count in SHORTFALLS.items() if kind not in {"far", "none"}
             for _ in range(count)]  # fmt: skip
    for code, kind in zip(rest, rng.permutation(kinds).tolist(), strict=False):
        state[code] = kind
    return {code: state.get(code, "none") for code in codes}, host


def _row(unit: Any, name: str, lonlat: FloatArray | None, **values: object) -> dict[str, object]:
    base: dict[str, object] = dict.fromkeys(COLUMNS)
    base |= {
        "设施名称": name,
        "乡镇": unit.township,
        "村（社区）": unit.name,
        "区划代码": unit.unit_code,
        "使用状态": "在用",
        "产权": "自有",
    }
    if lonlat is not None:
        base |= {"经度": float(lonlat[0]), "纬度": float(lonlat[1])}
    return base | values


def centre_rows(
    network: Network, settlement: Settlement, places: _Places
) -> list[dict[str, object]]:
    """Rows of the comprehensive service facilities."""
    state, host = plan_centres(network, settlement, places)
    rng = stream("centre rows")
    urban = settlement.units[settlement.units["setting"] == "urban"]
    total = int(urban["households"].sum()) * AREA_PER_100_HOUSEHOLDS // 100
    floor = 210 + share_out(total - 210 * len(urban), rng.uniform(0.2, 1.8, len(urban)))
    town_floor = dict(zip(urban["unit_code"], floor.tolist(), strict=True))
    rows = []
    for unit in settlement.units.itertuples(index=False):
        code = unit.unit_code
        kind = "town" if code in town_floor else state[code]
        if kind == "none":
            continue
        suffix = "党群服务中心" if rng.random() < 0.5 else "综合服务站"
        area = town_floor.get(code, int(rng.integers(COVERED_FLOOR_M2, 420)))
        values: dict[str, object] = {
            "每日开放时长（小时）": int(rng.choice([8, 8, 8, 9, 10])),
            "产权": str(rng.choice(TENURES, p=[0.8, 0.15, 0.05])),
            "建成年份": int(rng.integers(2004, 2021)),
        }
        if kind in {"shared", "far"}:
            rows.append(
                _row(unit, f"{unit.name}综合服务站", None, 使用状态="共享", 产权="共建共享",
                     备注=host[code])
            )  # fmt: skip
            continue
        if kind == "small":
            area = int(rng.integers(60, 181))
        if kind == "short_hours":
            values["每日开放时长（小时）"] = int(rng.integers(4, 7))
        if kind == "closed":
            values |= {"使用状态": "停用", "每日开放时长（小时）": 0}
        low, high = (0.45, 0.72) if kind == "town" else (0.42, 0.70)
        values |= {
            "建筑面积（㎡）": None if kind == "blank" else area,
            "活动区域面积（㎡）": None if kind == "blank" else round(area * rng.uniform(low, high)),
        }
        rows.append(_row(unit, f"{unit.name}{suffix}", places.near(code, rng), **values))
    return rows


def other_rows(sheet: str, settlement: Settlement, places: _Places) -> list[dict[str, object]]:
    """Rows of one of the simpler kinds."""
    rng = stream(sheet)
    villages, each, (low, high), suffix = OTHER_KINDS[sheet]
    units = settlement.units
    rural = units.index[units["setting"] == "rural"].to_numpy()
    keen = np.log(units.loc[rural, "residents"].to_numpy()) + rng.gumbel(0.0, 0.6, len(rural))
    chosen = set(rural[np.argsort(-keen, kind="stable")[:villages]].tolist())
    town = units.index[units["setting"] == "urban"].tolist()
    chosen |= set(town[:COMMUNITIES_WITH_DAY_CARE] if sheet == "日间照料" else town)
    open_air = sheet in {"健身场地", "避难场所"}
    rows = []
    for number in sorted(chosen):
        unit = next(units.iloc[[number]].itertuples(index=False))
        count = each if unit.setting == "urban" else 1
        for k in range(count):
            area = int(rng.integers(low, high + 1))
            label = f"{unit.name}{suffix}" if count == 1 else f"{unit.name}第{k + 1}{suffix}"
            status = str(rng.choice(["在用", "停用", "在建"], p=[0.94, 0.04, 0.02]))
            rows.append(
                _row(
                    unit, label, places.near(unit.unit_code, rng, spread=k > 0),
                    **{
                        "建筑面积（㎡）": None if open_air else area,
                        "活动区域面积（㎡）": area if open_air else round(area * 0.6),
                        "每日开放时长（小时）": 24 if open_air else int(rng.choice([6, 8, 8, 10])),
                        "使用状态": status,
                        "建成年份": int(rng.integers(2006, 2022)),
                    },
                )
            )  # fmt: skip
    return rows


def trade_rows(
    settlement: Settlement, places: _Places, township_seats: set[str]
) -> list[dict[str, object]]:
    """Rows of the convenience outlets: dense in town, sparse in the villages."""
    rng = stream("trades")
    rows = []
    for unit in settlement.units.itertuples(index=False):
        if unit.setting == "urban":
            counts = {trade: int(rng.poisson(mean)) for trade, mean in TOWN_OUTLETS.items()}
        elif unit.unit_code in township_seats:
            counts = SEAT_OUTLETS
        else:
            counts = {trade: int(rng.random() < odds) for trade, odds in VILLAGE_OUTLETS.items()}
        for trade, count in counts.items():
            for k in range(count):
                number = f"{k + 1}号" if count > 1 else ""
                rows.append(
                    _row(
                        unit, f"{unit.name}{number}{trade}",
                        places.near(unit.unit_code, rng, spread=unit.setting == "urban" or k > 0),
                        **{
                            "业态": trade,
                            "建筑面积（㎡）": int(rng.integers(20, 140)) * SIZE_OF.get(trade, 1),
                            "每日开放时长（小时）": int(rng.integers(8, 15)),
                            "产权": str(rng.choice(["自有", "租赁"])),
                            "建成年份": int(rng.integers(2005, 2023)),
                        },
                    )
                )  # fmt: skip
    return rows


def _outside_rows(places: _Places) -> dict[str, list[dict[str, object]]]:
    """Facilities beyond the border, which the ledger lists because border villages use them."""
    rng = stream("outside")
    spots = iter(places.outside(rng, sum(count for _, count in OUTSIDE)))
    found: dict[str, list[dict[str, object]]] = {}
    for sheet, count in OUTSIDE:
        for k, lonlat in zip(range(count), spots, strict=False):
            row: dict[str, object] = dict.fromkeys(COLUMNS)
            row |= {
                "设施名称": f"县外{sheet}{k + 1}",
                "业态": "便利店" if sheet == TRADE_SHEET else None,
                "经度": float(lonlat[0]),
                "纬度": float(lonlat[1]),
                "建筑面积（㎡）": int(rng.integers(210, 400)),
                "活动区域面积（㎡）": int(rng.integers(120, 200)),
                "每日开放时长（小时）": 8,
                "使用状态": "在用",
                "备注": "县外",
            }
            found.setdefault(sheet, []).append(row)
    return found


def build_ledger(
    network: Network, partition: Partition, settlement: Settlement, seats: IntArray
) -> dict[str, pd.DataFrame]:
    """Build every sheet of the ledger."""
    places = _Places(network, partition, settlement)
    township_seats = set(settlement.units["unit_code"].iloc[seats])
    outside = _outside_rows(places)
    ledger = {}
    for sheet in SHEETS:
        if sheet == CENTRE_SHEET:
            rows = centre_rows(network, settlement, places)
        elif sheet == TRADE_SHEET:
            rows = trade_rows(settlement, places, township_seats)
        else:
            rows = other_rows(sheet, settlement, places)
        rows += outside.get(sheet, [])
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table["设施编号"] = [f"{PREFIX[sheet]}-{k:04d}" for k in range(1, len(table) + 1)]
        if sheet == CENTRE_SHEET:
            own = table[table["使用状态"] == "在用"].dropna(subset="区划代码")
            id_of = dict(zip(own["区划代码"], own["设施编号"], strict=True))
            shared = table["使用状态"] == "共享"
            table.loc[shared, "共享设施编号"] = table.loc[shared, "备注"].map(id_of)
            table.loc[shared, "备注"] = "联村共享，有书面协议"
        table.insert(0, "序号", np.arange(1, len(table) + 1))
        ledger[sheet] = table if sheet == TRADE_SHEET else table.drop(columns="业态")
    return ledger
