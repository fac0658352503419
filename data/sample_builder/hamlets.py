"""Where people live: the seat and the hamlets (自然村) of every unit, and how many live there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from scipy.spatial import cKDTree

from .common import (
    FloatArray,
    IntArray,
    Sources,
    stream,
    to_lonlat,
    to_metric,
)
from .partition import ESTATE_COMMUNITY, SUBDISTRICT, name_stem

if TYPE_CHECKING:
    from .partition import Partition
    from .roads import Network
    from .terrain import Terrain

KM2_A_HAMLET = 3.4
CLEAR_OF_BORDER_M = 250.0  # no hamlet site is nearer to its unit's border
HAMLETS_A_VILLAGE = (2, 8)
POINTS_A_COMMUNITY = (4, 8)
SIDE_VALLEY_SHARE = 0.13  # hamlets 200-450 m from a road
SIDE_VALLEY_M = (200.0, 450.0)
REMOTE_HAMLETS = 7  # hamlets that no road comes near
REMOTE_M = (650.0, 1500.0)
HAMLET_NAMES = (
    "上沟", "二道沟", "南台", "北台", "东山根", "西沟里", "小梁前", "大石头",
    "河南", "河东", "河西", "杨树底下", "榆树沟", "梨树沟", "杏树洼", "松树台",
    "桦皮沟", "头道营", "下洼", "上洼", "后沟", "前沟", "庙沟", "石洞沟",
    "窑沟", "黑山嘴", "碾盘沟", "磨盘山", "老虎沟", "狼窝沟", "鹰窝梁", "北梁",
    "南梁", "三间房", "四合院", "七家", "九间房", "小营", "大营", "孙家沟",
    "李家沟", "张家营", "王家店", "刘家湾", "赵家沟", "高台子", "平台子", "转山子",
    "水泉沟", "苇子沟",
)  # fmt: skip
COUNTY_RESIDENTS = 287_986  # sixth national census, 2010
URBAN_SHARE = 0.25
URBAN_HOUSEHOLDS = 24_000  # a multiple of 50, so that 22 m² per 100 households is a whole area
RURAL_HOUSEHOLD = 2.9  # persons
RESETTLEMENTS = 8
RESETTLEMENT_COMMUNITIES = ("祥源", "鑫城")  # sited in two of the newer communities
HOLLOW_VILLAGES = 5
MERGER_VILLAGES = 9
OLD_ESTATES = {  # community: year its oldest estate was built
    "桥东": 1985, "桥西": 1988, "北大街": 1982, "新建路": 1992, "东街": 1978, "中街": 1980,
    "南瓦房": 1996, "安匠屯": 2000, "石门": 2004,
}  # fmt: skip
QUARTER_NAMES = ("一片区", "二片区", "三片区", "四片区", "五片区", "六片区", "七片区", "八片区")


@dataclass(frozen=True)
class Sites:
    """Places that roads must reach, chosen before there are roads.

    Attributes
    ----------
    township_seat
        Row number of the unit that is the seat of each township code.
    town_units, small_towns
        Row numbers of the communities of the county town, and of the units with a few streets.
    road_cells, road_units, road_kinds
        Grid cell, unit row and road class of each hamlet on a road.
    """

    township_seat: dict[str, int]
    town_units: list[int]
    small_towns: list[int]
    road_cells: IntArray
    road_units: IntArray
    road_kinds: list[str]


def choose_sites(sources: Sources, terrain: Terrain, partition: Partition) -> Sites:
    """Choose the cells of the hamlets that lie on roads."""
    rng = stream("sites")
    units = sources.units
    names = dict(zip(sources.townships["code"], sources.townships["name"], strict=True))
    township_seat = {}
    for code, name in names.items():
        own = units.index[units["streetCode"] == code]
        match = own[units.loc[own, "name"] == f"{name_stem(name)}村民委员会"]
        township_seat[code] = int(match[0] if len(match) else own[0])
    cells, owners, kinds = [], [], []
    xy = terrain.grid.xy
    by_unit = np.argsort(partition.labels, kind="stable")
    edges = np.searchsorted(partition.labels[by_unit], np.arange(len(units) + 1))
    for unit in range(len(units)):
        if units.loc[unit, "kind"] == "居委会":
            continue
        own = by_unit[edges[unit] : edges[unit + 1]]
        inner = shapely.transform(partition.polygons[unit], to_metric).buffer(-CLEAR_OF_BORDER_M)
        own = np.sort(own[shapely.contains_xy(inner, xy[own, 0], xy[own, 1])])
        seat = partition.units.loc[unit, ["seat_x", "seat_y"]].to_numpy(dtype=float)
        wanted = int(partition.units.loc[unit, "area_km2"] / KM2_A_HAMLET + rng.uniform(0.2, 1.8))
        wanted = int(np.clip(wanted, *HAMLETS_A_VILLAGE)) - 1
        liking = np.log(terrain.drained_km2[own] + 0.05) - 22 * terrain.ruggedness[own]
        liking += rng.gumbel(0.0, 0.8, len(own))
        chosen: list[int] = []
        for cell in own[np.argsort(-liking, kind="stable")].tolist():
            if len(chosen) == wanted:
                break
            taken = np.vstack([seat, xy[chosen]]) if chosen else seat[None, :]
            if np.min(np.hypot(*(taken - xy[cell]).T)) > 650.0:
                chosen.append(cell)
        cells += chosen
        owners += [unit] * len(chosen)
        kinds += rng.choice(["unclassified", "track"], len(chosen), p=[0.85, 0.15]).tolist()
    town = units.index[units["streetCode"] == SUBDISTRICT].tolist()
    estate = units.index[units["code"] == ESTATE_COMMUNITY].tolist()
    return Sites(
        township_seat=township_seat,
        town_units=town,
        small_towns=[*(township_seat[c] for c in names if c != SUBDISTRICT), *estate],
        road_cells=np.array(cells),
        road_units=np.array(owners),
        road_kinds=kinds,
    )


@dataclass(frozen=True)
class Settlement:
    """The units' population and the points where it lives."""

    units: pd.DataFrame
    hamlets: pd.DataFrame


def share_out(total: int, weights: FloatArray | IntArray) -> IntArray:
    """Split a whole number in proportion to weights, by largest remainders."""
    exact = total * np.asarray(weights, dtype=float) / np.sum(weights)
    whole = np.floor(exact).astype(int)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def _pick(rng: np.random.Generator, pool: list[int], count: int) -> list[int]:
    return sorted(rng.choice(pool, count, replace=False).tolist())


def populate_units(sources: Sources, partition: Partition, sites: Sites) -> pd.DataFrame:
    """Invent the population of every unit; only the county total is a census figure."""
    rng = stream("people")
    raw = sources.units
    townships = dict(zip(sources.townships["code"], sources.townships["name"], strict=True))
    urban = (raw["kind"] == "居委会").to_numpy()
    rural_rows = np.flatnonzero(~urban).tolist()
    seats = set(sites.township_seat.values())
    plain = [row for row in rural_rows if row not in seats]
    hollow = _pick(rng, plain, HOLLOW_VILLAGES)
    merger = _pick(rng, [row for row in plain if row not in hollow], MERGER_VILLAGES)
    settled = _pick(
        rng,
        [row for row in rural_rows if row not in hollow and row not in merger],
        RESETTLEMENTS - len(RESETTLEMENT_COMMUNITIES),
    )
    flags = {name: np.isin(np.arange(len(raw)), rows) for name, rows in (
        ("hollow", hollow), ("merger", merger), ("settled", settled)
    )}  # fmt: skip
    flags["settled"] |= raw["name"].str.startswith(RESETTLEMENT_COMMUNITIES).to_numpy()
    flags["seat"] = np.isin(np.arange(len(raw)), sorted(seats)) & ~urban
    size = np.exp(0.4 * rng.standard_normal(len(raw)))
    size *= np.where(urban, 1.0, partition.units["area_km2"].to_numpy() ** 0.3)
    for flag, factor in (("hollow", 0.3), ("merger", 0.35), ("seat", 2.4), ("settled", 1.3)):
        size[flags[flag] & ~urban] *= factor
    size[raw["code"] == ESTATE_COMMUNITY] *= 0.5
    residents, households = np.zeros(len(raw), int), np.zeros(len(raw), int)
    town_people = round(URBAN_SHARE * COUNTY_RESIDENTS)
    residents[urban] = share_out(town_people, size[urban])
    residents[~urban] = share_out(COUNTY_RESIDENTS - town_people, size[~urban])
    spread = np.exp(0.06 * rng.standard_normal(len(raw)))
    households[urban] = share_out(URBAN_HOUSEHOLDS, (residents * spread)[urban])
    households[~urban] = np.rint((residents / RURAL_HOUSEHOLD * spread)[~urban]).astype(int)
    old = np.where(urban, rng.uniform(0.15, 0.18, len(raw)), rng.uniform(0.22, 0.30, len(raw)))
    old = np.where(flags["hollow"] | flags["merger"], old + 0.12, old)
    young = np.where(urban, rng.uniform(0.15, 0.19, len(raw)), rng.uniform(0.10, 0.15, len(raw)))
    young = np.where(flags["hollow"], 0.06, young)
    ratio = np.where(urban, rng.uniform(0.80, 0.95, len(raw)), rng.uniform(1.05, 1.28, len(raw)))
    ratio = np.where(flags["hollow"], rng.uniform(2.2, 3.2, len(raw)), ratio)
    ratio = np.where(flags["settled"], rng.uniform(0.70, 0.85, len(raw)), ratio)
    built = raw["name"].str.split("社区").str[0].map(OLD_ESTATES).where(urban)
    estate = households * rng.uniform(0.10, 0.45, len(raw))
    return pd.DataFrame(
        {
            "unit_code": raw["code"],
            "name": raw["name"].str.replace("居民委员会", "").str.replace("村民委员会", "村"),
            "township": raw["streetCode"].map(townships),
            "township_code": raw["streetCode"],
            "unit_kind": np.where(urban, "community", "village"),
            "setting": np.where(urban, "urban", "rural"),
            "residents": residents,
            "registered": np.rint(residents * ratio).astype(int),
            "households": households,
            "elderly": np.rint(residents * old).astype(int),
            "children": np.rint(residents * young).astype(int),
            "resettlement": flags["settled"],
            "hollow_village": flags["hollow"],
            "merger_class": flags["merger"],
            "old_estate_households": pd.array(
                np.where(built.isna(), 0, np.rint(estate)).astype(int), dtype="Int64"
            ),
            "old_estate_built": built.astype("Int64"),
        }
    ).assign(old_estate_households=lambda t: t["old_estate_households"].mask(built.isna()))


class _Ground:
    """Looks up roads and unit polygons in metres."""

    def __init__(self, network: Network, partition: Partition) -> None:
        usable = [key for key, tags in network.edges.items() if "motorway" not in tags.highway]
        self.roads = shapely.STRtree(network.lines(usable))
        self.nodes = network.xy[np.unique(np.array(usable))]
        self.tree = cKDTree(self.nodes)
        self.polygons = shapely.transform(np.array(partition.polygons), to_metric)
        shapely.prepare(self.polygons)

    def from_road(self, xy: FloatArray) -> FloatArray:
        """Distance of points from the nearest road that has no limited access."""
        points = shapely.points(xy)
        pairs, away = self.roads.query_nearest(points, return_distance=True, all_matches=False)
        distance = np.empty(len(xy))
        distance[pairs[0]] = away
        return distance

    def inside(self, unit: int, xy: FloatArray) -> np.ndarray:
        """Which points lie in the unit, clear of its border."""
        return np.asarray(shapely.contains_xy(self.polygons[unit], xy[:, 0], xy[:, 1]))

    def beside_road(
        self, unit: int, xy: FloatArray, rng: np.random.Generator, low: float, high: float
    ) -> FloatArray:
        """Return a point of the unit a little off the road nearest to ``xy``."""
        near = self.tree.query(xy, k=200)[1]
        for node in self.nodes[near]:
            turn = rng.uniform(0, 2 * np.pi, 8)
            away = rng.uniform(low, high, 8)
            tries = node + away[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
            gap = self.from_road(tries)
            good = self.inside(unit, tries) & (gap >= 0.7 * low) & (gap <= high)
            if good.any():
                return np.asarray(tries[np.argmax(good)])
        raise ValueError(f"no road in or near unit {unit}")


def _off_road_sites(
    terrain: Terrain, partition: Partition, ground: _Ground
) -> tuple[dict[int, IntArray], dict[int, IntArray]]:
    """Cells of every village up a side valley, and cells far from any road, the best first."""
    cells = np.flatnonzero(partition.inside)
    away = ground.from_road(terrain.grid.xy[cells])
    side: dict[int, IntArray] = {}
    remote: dict[int, IntArray] = {}
    for (low, high), found in ((SIDE_VALLEY_M, side), (REMOTE_M, remote)):
        fit = cells[(away > low + 15) & (away < high - 15)]
        fit = fit[np.argsort(-terrain.drained_km2[fit], kind="stable")]
        for unit in np.unique(partition.labels[fit]).tolist():
            own = fit[partition.labels[fit] == unit]
            found[unit] = own[ground.inside(unit, terrain.grid.xy[own])]
    return side, remote


def _hamlet_points(
    terrain: Terrain, partition: Partition, network: Network, sites: Sites, urban: np.ndarray
) -> list[list[FloatArray]]:
    """Points of every unit, the seat first."""
    rng = stream("hamlets")
    ground = _Ground(network, partition)
    seats = partition.units[["seat_x", "seat_y"]].to_numpy()
    side, remote = _off_road_sites(terrain, partition, ground)
    xy = terrain.grid.xy
    points = [
        [ground.beside_road(unit, seats[unit], rng, 15.0, 60.0)] for unit in range(len(urban))
    ]
    for cell, unit in zip(sites.road_cells.tolist(), sites.road_units.tolist(), strict=True):
        if rng.random() < SIDE_VALLEY_SHARE and len(side.get(unit, ())):
            options = xy[side[unit][:12]]
            points[unit].append(options[int(rng.integers(len(options)))])
        else:
            points[unit].append(ground.beside_road(unit, xy[cell], rng, 15.0, 70.0))
    for unit in np.flatnonzero(urban).tolist():
        box = ground.polygons[unit].bounds
        wanted = int(rng.integers(POINTS_A_COMMUNITY[0], POINTS_A_COMMUNITY[1] + 1))
        tries = rng.uniform(box[:2], box[2:], (900, 2))
        tries = tries[ground.inside(unit, tries)]
        gap = ground.from_road(tries)
        for point in tries[(gap > 8.0) & (gap < 90.0)]:
            if len(points[unit]) < wanted and (
                np.min(np.hypot(*(np.array(points[unit]) - point).T)) > 130.0
            ):
                points[unit].append(point)
    rooms = [
        unit for unit in sorted(remote)
        if not urban[unit] and len(remote[unit]) and len(points[unit]) < HAMLETS_A_VILLAGE[1]
    ]  # fmt: skip
    for unit in _pick(rng, rooms, REMOTE_HAMLETS):
        points[unit].append(xy[remote[unit][0]])
    return points


def settle(
    sources: Sources, terrain: Terrain, partition: Partition, network: Network, sites: Sites
) -> Settlement:
    """Give every unit its people and place them in its hamlets."""
    units = populate_units(sources, partition, sites)
    urban = (units["setting"] == "urban").to_numpy()
    points = _hamlet_points(terrain, partition, network, sites, urban)
    rng = stream("hamlet people")
    rows = []
    for number, unit in enumerate(units.itertuples(index=False)):
        lonlat = to_lonlat(np.array(points[number]))
        count = len(lonlat)
        weights = rng.uniform(0.5, 1.5, count)
        if not urban[number]:
            weights[0] += 0.55 * count
        people = share_out(unit.residents, weights)
        split = {
            group: share_out(getattr(unit, group), people) for group in ("elderly", "children")
        }
        stem = unit.name.removesuffix("村")
        if urban[number]:
            names = [f"{stem}{quarter}" for quarter in QUARTER_NAMES[:count]]
        else:
            pool = [name for name in HAMLET_NAMES if name != stem]
            names = [stem, *rng.choice(pool, count - 1, replace=False).tolist()]
        rows += [
            {
                "demand_id": f"{unit.unit_code}-{k + 1:02d}",
                "unit_code": unit.unit_code,
                "name": names[k],
                "residents": int(people[k]),
                "elderly": int(split["elderly"][k]),
                "children": int(split["children"][k]),
                "role": "people",
                "source": "surveyed",
                "lon": lonlat[k, 0],
                "lat": lonlat[k, 1],
            }
            for k in range(count)
        ]
    return Settlement(units=units, hamlets=pd.DataFrame(rows))
