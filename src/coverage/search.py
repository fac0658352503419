"""Searches over compiled roads: minutes between sites and points that join edges anywhere.

Everything public that speaks of minutes is built on the two searches here: one from many sites at
once to whichever is nearest (`SiteSearch`), and one from each site within a limit
(`site_searches`). Both run SciPy's compiled Dijkstra on arrays; ``engine="networkx"`` asks networkx
the same question, slowly, on a graph of its own.

"Sites" are what is searched from, "points" what is answered for. With direction ``to_facility``
people travel from the points to the sites, and the search runs on the reversed roads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import geopandas as gpd
import networkx as nx
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from .errors import InputError
from .modes import MINUTES_PER_METRE_AT_1_KPH
from .network import ModeNetwork
from .snapping import Snaps

__all__ = [
    "DIRECTIONS",
    "ENGINES",
    "Nearest",
    "Pairs",
    "Parts",
    "SiteBatch",
    "SiteSearch",
    "StraightSearch",
    "Trips",
    "pair_minutes",
    "reached_parts",
    "site_searches",
    "with_sites",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DIRECTIONS = ("to_facility", "from_facility")
ENGINES = ("scipy", "networkx")
# A search within a limit is run for so many neighbouring sites on the part of the network that any
# of them reaches: SciPy's Dijkstra pays for every node it is given, reached or not.
_SITES_AT_ONCE = 8
_DENSE_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Trips:
    """How trips are made: over which compiled roads, which way, and the price of legs.

    Parameters
    ----------
    net : ModeNetwork
        The compiled roads.
    leg_detour : float
        How much longer the walk between a point and the road is than the straight line.
    direction : {"to_facility", "from_facility"}
        Which way people travel.
    engine : {"scipy", "networkx"}
        Who runs the shortest paths.

    Raises
    ------
    InputError
        Where an option is not one of those, or the detour is below 1.
    """

    net: ModeNetwork
    leg_detour: float = 1.3
    direction: str = "to_facility"
    engine: str = "scipy"

    def __post_init__(self) -> None:
        """Refuse options that mean nothing."""
        for what, value, known in (
            ("direction", self.direction, DIRECTIONS),
            ("engine", self.engine, ENGINES),
        ):
            if value not in known:
                raise InputError(f"{what} must be {' or '.join(map(repr, known))}, not {value!r}")
        if not 1 <= self.leg_detour < np.inf:
            raise InputError(
                f"leg_detour must be at least 1, for no walk is shorter than the straight line; "
                f"not {self.leg_detour!r}"
            )

    @property
    def to_facility(self) -> bool:
        """Whether people travel to the sites."""
        return self.direction == "to_facility"

    @property
    def leg_rate(self) -> float:
        """Minutes for each straight metre between a point and the road."""
        return MINUTES_PER_METRE_AT_1_KPH * self.leg_detour / self.net.mode.leg_speed_kph

    @property
    def matrix(self) -> csr_array:
        """The network in the direction of the search, which starts at the sites."""
        return self.net.reverse_matrix if self.to_facility else self.net.matrix

    @cached_property
    def digraph(self) -> nx.MultiDiGraph:
        """The network in the direction of the search, as networkx wants it."""
        net = self.net
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(range(net.matrix.shape[0]))
        for tail, head, minutes in (
            (net.u, net.v, net.forward_minutes + net.delay_minutes[net.v]),
            (net.v, net.u, net.backward_minutes + net.delay_minutes[net.u]),
        ):
            ends = (head, tail) if self.to_facility else (tail, head)
            kept = np.isfinite(minutes)
            columns = (array[kept].tolist() for array in (*ends, minutes))
            graph.add_weighted_edges_from(zip(*columns, strict=True), weight="minutes")
        return graph

    def ends(self, edge: Integers, fraction: Floats, *, outward: bool) -> tuple[Floats, Floats]:
        """Give minutes between places on edges and their edges' ends u and v.

        `outward` is the way from the place to the ends (where a junction's delay is paid),
        otherwise from the ends to the place.
        """
        net = self.net
        forward, backward = net.forward_minutes[edge], net.backward_minutes[edge]
        to_u, to_v = (backward, forward) if outward else (forward, backward)
        # Nothing along an edge that may not be used is infinite, but nothing to go is nothing.
        with np.errstate(invalid="ignore"):
            at_u = np.where(fraction == 0, 0.0, fraction * to_u)
            at_v = np.where(fraction == 1, 0.0, (1 - fraction) * to_v)
        if outward:
            at_u, at_v = (
                at_u + net.delay_minutes[net.u[edge]],
                at_v + net.delay_minutes[net.v[edge]],
            )
        return at_u, at_v

    def along(self, edge: Integers, point: Floats, site: Floats) -> Floats:
        """Give minutes between a point and a site on the same edge, along it, in the direction."""
        way = site - point if self.to_facility else point - site
        forward, backward = self.net.forward_minutes[edge], self.net.backward_minutes[edge]
        with np.errstate(invalid="ignore"):
            return np.where(way == 0, 0.0, np.where(way > 0, way * forward, -way * backward))

    def links(self, sites: Snaps) -> tuple[Integers, Floats]:
        """Give, by site, the two nodes its edge ends at and the minutes to them, leg included."""
        at_u, at_v = self.ends(sites.edge, sites.fraction, outward=not self.to_facility)
        head = np.column_stack([self.net.u[sites.edge], self.net.v[sites.edge]])
        return head, np.column_stack([at_u, at_v]) + (sites.leg_m * self.leg_rate)[:, None]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest facility of each point, index by index.

    Attributes
    ----------
    minutes : ndarray of float
        Door to door; NaN where none can be reached.
    facility : ndarray of int
        Position in the table of facilities, -1 where none.
    reason : ndarray of object
        Why none: ``""``, ``"no_facility_of_kind"``, ``"off_network"``, ``"island"``,
        ``"one_way"``, ``"beyond_limit"``.
    """

    minutes: Floats
    facility: Integers
    reason: NDArray[np.object_]


def with_sites(matrix: csr_array, head: Integers, link: Floats) -> csr_array:
    """Give the network with one more node for each site, linked to the ends of its edge."""
    n, k = matrix.shape[0], head.shape[0]
    open_ = np.isfinite(link)
    indptr = np.concatenate([matrix.indptr, matrix.indptr[-1] + np.cumsum(open_.sum(axis=1))])
    return csr_array(
        (
            np.concatenate([matrix.data, link[open_]]),
            np.concatenate([matrix.indices, head[open_].astype(np.int32)]),
            indptr.astype(np.int32),
        ),
        shape=(n + k, n + k),
    )


def _networkx_with_sites(trips: Trips, head: Integers, link: Floats) -> nx.MultiDiGraph:
    graph = trips.digraph.copy()
    for number, (nodes, minutes) in enumerate(zip(head.tolist(), link.tolist(), strict=True)):
        graph.add_node(("site", number))
        for node, one in zip(nodes, minutes, strict=True):
            if np.isfinite(one):
                graph.add_edge(("site", number), node, minutes=one)
    return graph


@dataclass(frozen=True, eq=False)
class SiteSearch:
    """One search from many sites at once: every node's minutes to the nearest of them.

    Parameters
    ----------
    trips : Trips
        How people travel.
    sites : Snaps
        Where facilities join the road.
    chosen : ndarray of bool
        Which of them are searched for.
    limit_minutes : float
        How far to search.

    Attributes
    ----------
    site : ndarray of int
        The chosen sites that join a road; of several at one spot the first.
    node_minutes : ndarray of float, shape (n_nodes,)
        Minutes between each node and the nearest site's door; infinite where there is none.
    node_site : ndarray of int, shape (n_nodes,)
        That site, -1 where none.
    """

    trips: Trips
    sites: Snaps
    chosen: NDArray[np.bool_]
    limit_minutes: float = np.inf
    site: Integers = field(init=False)
    node_minutes: Floats = field(init=False, repr=False)
    node_site: Integers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Run the search."""
        site = np.flatnonzero(self.chosen & (self.sites.edge >= 0))
        # Which of equal sources a search comes from is chance: the table's order shall decide.
        site = site[_first_at_each_spot(self.sites.take(site))]
        object.__setattr__(self, "site", site)
        run = _nearest_by_networkx if self.trips.engine == "networkx" else _nearest_by_scipy
        minutes, number = run(self.trips, self.sites.take(site), self.limit_minutes)
        object.__setattr__(self, "node_minutes", minutes)
        object.__setattr__(self, "node_site", np.append(site, -1)[number])

    def nearest(self, points: Snaps) -> Nearest:
        """Give each point's nearest chosen site, legs and partial edges priced."""
        trips, net = self.trips, self.trips.net
        count = points.edge.size
        minutes = np.full(count, np.inf)
        site = np.full(count, -1, dtype=np.int64)
        joined = np.flatnonzero(points.edge >= 0)
        edge, fraction = points.edge[joined], points.fraction[joined]
        at_u, at_v = trips.ends(edge, fraction, outward=trips.to_facility)
        via_u = at_u + self.node_minutes[net.u[edge]]
        via_v = at_v + self.node_minutes[net.v[edge]]
        end = np.where(via_u <= via_v, net.u[edge], net.v[edge])
        leg = points.leg_m[joined] * trips.leg_rate
        minutes[joined], site[joined] = np.minimum(via_u, via_v) + leg, self.node_site[end]
        self._along_same_edge(points, joined, leg, minutes, site)

        reached = minutes <= self.limit_minutes if self.limit_minutes < np.inf else minutes < np.inf
        site[~reached] = -1
        reason = np.full(count, "", dtype=object)
        reason[~reached] = self._why_not(points.take(np.flatnonzero(~reached)))
        return Nearest(np.where(reached, minutes, np.nan), site, reason)

    def next_nearest(self, points: Snaps, first: Nearest) -> Nearest:
        """Give each point's nearest chosen site other than its nearest.

        Parameters
        ----------
        points : Snaps
            The points.
        first : Nearest
            What `nearest` found for them.

        Returns
        -------
        Nearest
            Index by index with `points`. Where there is none, `reason` says why no site other
            than the nearest is reached.

        Notes
        -----
        The nodes whose nearest site is the same are its realm; the realms are the network Voronoi
        diagram (Erwig 2000; Okabe & Sugihara 2012), which one search from all sites at once finds.
        With the second nearest it is the diagram of order 2, which one more search finds:

        Follow the fastest way from a node to a site other than its nearest. Either it stays in the
        node's realm to the end, where that site stands in the realm of another; or it enters the
        realm by an edge from a neighbouring one, and then no site beyond is nearer than the
        neighbour's own. So the second search starts at those edges, with the minutes of the node
        across, and at the sites that are not the nearest of the ends of their own edge; it never
        leaves a realm. Together that costs two Dijkstra runs, whatever the number of sites.

        References
        ----------
        Erwig, M. (2000). The graph Voronoi diagram with applications. *Networks* 36(3), 156–163.

        Okabe, A. & Sugihara, K. (2012). *Spatial Analysis along Networks: Statistical and
        Computational Methods*. Wiley.
        """
        trips, net = self.trips, self.trips.net
        count = points.edge.size
        joined = np.flatnonzero(points.edge >= 0)
        edge = points.edge[joined]
        at_u, at_v = trips.ends(edge, points.fraction[joined], outward=trips.to_facility)
        leg = points.leg_m[joined] * trips.leg_rate
        taken = first.facility[joined]
        best = np.full(joined.size, np.inf)
        site = np.full(joined.size, -1, dtype=np.int64)

        def offer(minutes: Floats, other: Integers, who: Integers | slice = slice(None)) -> None:
            better = (minutes < best[who]) & (other != taken[who])
            best[who] = np.where(better, minutes, best[who])
            site[who] = np.where(better, other, site[who])

        second_minutes, second_site = self._second
        for minutes, sites in (
            (self.node_minutes, self.node_site),
            (second_minutes, second_site),
        ):
            offer(at_u + minutes[net.u[edge]] + leg, sites[net.u[edge]])
            offer(at_v + minutes[net.v[edge]] + leg, sites[net.v[edge]])
        who, other, total = self._direct(points, joined, leg)
        kept = other != taken[who]
        who, other, total = who[kept], other[kept], total[kept]
        ranked = np.lexsort((other, total, who))
        nearest = ranked[np.r_[True, np.diff(who[ranked]) != 0][: ranked.size]]
        offer(total[nearest], other[nearest], who[nearest])
        # What stands at the same spot is as near as the nearest.
        twin = self._twins()[taken]
        offer(np.where(twin >= 0, first.minutes[joined], np.inf), twin)

        minutes = np.full(count, np.nan)
        facility = np.full(count, -1, dtype=np.int64)
        reason = np.full(count, "", dtype=object)
        found = (best <= self.limit_minutes) & (best < np.inf)
        minutes[joined[found]], facility[joined[found]] = best[found], site[found]
        lost = np.flatnonzero(facility < 0)
        reason[lost] = self._why_no_other(points.take(lost), first.facility[lost])
        return Nearest(minutes, facility, reason)

    def _why_no_other(self, lost: Snaps, taken: Integers) -> NDArray[np.object_]:
        """Give the reason why points reach no chosen site but the one that is taken."""
        reason = self._why_not(lost)
        sites = self.sites.component[self.chosen & (self.sites.edge >= 0)]
        pieces, count = np.unique(sites, return_counts=True)
        # The site that is taken stands on the same piece of road as the point.
        here = taken >= 0
        reason[here & np.isin(lost.component, pieces[count == 1])] = "island"
        reason[here & (sites.size == 1)] = "off_network"  # the others lie too far from any road
        reason[here & (np.count_nonzero(self.chosen) == 1)] = "no_facility_of_kind"
        return reason

    def _twins(self) -> Integers:
        """Give by site the next chosen one at the same spot, -1 where none (also at -1)."""
        joined = np.flatnonzero(self.chosen & (self.sites.edge >= 0))
        at = self.sites.take(joined)
        order = np.lexsort((at.leg_m, at.fraction, at.edge))
        twin = np.full(self.sites.edge.size + 1, -1, dtype=np.int64)
        keys = (at.leg_m, at.fraction, at.edge)
        same = np.logical_and.reduce([np.diff(key[order]) == 0 for key in keys])
        twin[joined[order[:-1][same]]] = joined[order[1:][same]]
        return twin

    @cached_property
    def _second(self) -> tuple[Floats, Integers]:
        """Every node's minutes to the nearest site other than its nearest, and that site."""
        matrix, n = self.trips.matrix, self.node_minutes.size
        sites = self.sites.take(self.site)
        tail = np.repeat(np.arange(n), np.diff(matrix.indptr))
        head, realm = matrix.indices, self.node_site
        crosses = (realm[tail] != realm[head]) & (realm[tail] >= 0)
        ends, links = self.trips.links(sites)
        beaten = (realm[ends] != self.site[:, None]) & np.isfinite(links)
        node = np.concatenate([head[crosses], ends[beaten]])
        minutes = np.concatenate(
            [self.node_minutes[tail[crosses]] + matrix.data[crosses], links[beaten]]
        )
        origin = np.concatenate(
            [realm[tail[crosses]], np.broadcast_to(self.site[:, None], ends.shape)[beaten]]
        )
        order = np.lexsort((origin, minutes, node))
        first = order[np.r_[True, np.diff(node[order]) != 0][: order.size]]
        first = first[np.argsort(origin[first], kind="stable")]
        node, minutes, origin = node[first], minutes[first], origin[first]

        within = ~crosses
        counts = np.bincount(tail[within], minlength=n)
        gates = np.unique(origin)
        per_gate = np.bincount(np.searchsorted(gates, origin), minlength=gates.size)
        graph = csr_array(
            (
                np.concatenate([matrix.data[within], minutes]),
                np.concatenate([head[within], node]).astype(np.int32),
                np.concatenate([[0], np.cumsum(np.r_[counts, per_gate])]).astype(np.int32),
            ),
            shape=(n + gates.size, n + gates.size),
        )
        if gates.size == 0:
            return np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
        found, _, source = dijkstra(
            graph,
            indices=np.arange(n, n + gates.size),
            min_only=True,
            return_predecessors=True,
            limit=self.limit_minutes,
        )
        number = np.where(source[:n] >= n, source[:n] - n, -1)
        return found[:n], np.append(gates, -1)[number]

    def _direct(
        self, points: Snaps, joined: Integers, leg: Floats
    ) -> tuple[Integers, Integers, Floats]:
        """Pair points with the sites on their own edge: which, and the minutes along it."""
        who, other = _on_same_edge(points.edge[joined], self.sites.edge, self.site)
        point = joined[who]
        along = self.trips.along(
            points.edge[point], points.fraction[point], self.sites.fraction[other]
        )
        return who, other, along + leg[who] + self.sites.leg_m[other] * self.trips.leg_rate

    def _along_same_edge(
        self, points: Snaps, joined: Integers, leg: Floats, minutes: Floats, site: Integers
    ) -> None:
        """Improve the minutes of points that share an edge with a site, going along that edge."""
        who, other, total = self._direct(points, joined, leg)
        if who.size == 0:
            return
        ranked = np.lexsort((other, total, who))
        first = ranked[np.r_[True, who[ranked][1:] != who[ranked][:-1]]]
        target = joined[who[first]]
        better = total[first] < minutes[target]
        minutes[target[better]] = total[first][better]
        site[target[better]] = other[first][better]

    def _why_not(self, lost: Snaps) -> NDArray[np.object_]:
        """Give the reason why points reach no chosen site."""
        reason = np.full(lost.edge.size, "island", dtype=object)
        pieces = np.unique(self.sites.component[self.site])
        # The road leads there, but too far, or not in the direction that is allowed.
        led = np.isin(lost.component, pieces) & (lost.component >= 0)
        reason[led] = "one_way" if self.limit_minutes == np.inf else "beyond_limit"
        reason[lost.edge < 0] = "off_network"
        if self.site.size == 0:
            reason[:] = "off_network"  # every facility lies too far from any road
        if not self.chosen.any():
            reason[:] = "no_facility_of_kind"
        return reason


@dataclass(frozen=True, eq=False)
class StraightSearch:
    """Distances as the crow flies, in minutes at a speed.

    Parameters
    ----------
    sites : ndarray of float, shape (n, 2)
        Coordinates in a metric CRS; NaN where there is no place.
    chosen : ndarray of bool
        Which of them are searched for.
    speed_kph : float
        Turns metres into minutes.
    limit_minutes : float
        How far to search.
    """

    sites: Floats
    chosen: NDArray[np.bool_]
    speed_kph: float
    limit_minutes: float = np.inf

    def nearest(self, points: Floats) -> Nearest:
        """Give the nearest chosen site of each point, given by its coordinates."""
        return self._ranked(points, 0)

    def next_nearest(self, points: Floats, first: Nearest) -> Nearest:
        """Give each point's nearest chosen site other than its nearest, `first`."""
        del first  # both are asked of the index in the same order
        return self._ranked(points, 1)

    def _ranked(self, points: Floats, rank: int) -> Nearest:
        site = np.flatnonzero(self.chosen & ~np.isnan(self.sites).any(axis=1))
        placed = ~np.isnan(points).any(axis=1)
        minutes = np.full(len(points), np.nan)
        facility = np.full(len(points), -1, dtype=np.int64)
        reason = np.full(len(points), "no_facility_of_kind", dtype=object)
        reason[~placed] = "no_data"
        if site.size and placed.any():
            metres, number = _two_nearest(self.sites[site], points[placed])
            metres, number = metres[:, rank], number[:, rank]
            found = metres * MINUTES_PER_METRE_AT_1_KPH / self.speed_kph
            there = np.isfinite(metres)
            within = there & (found <= self.limit_minutes)
            minutes[placed] = np.where(within, found, np.nan)
            facility[placed] = np.append(site, -1)[np.where(within, number, -1)]
            reason[placed] = np.where(within, "", np.where(there, "beyond_limit", reason[placed]))
        return Nearest(minutes, facility, reason)


def _two_nearest(sites: Floats, points: Floats) -> tuple[Floats, Integers]:
    """Give the metres to each point's two nearest sites and their numbers, shape (n_points, 2).

    Of equally near sites those count that stand first in the table. Where there is but one site,
    the second is infinitely far and has the number after the last.
    """
    tree, count = cKDTree(sites), len(sites)
    metres, number = np.full((len(points), 2), np.inf), np.full((len(points), 2), count)
    asked, k = np.arange(len(points)), 3
    while asked.size:
        far, which = tree.query(points[asked], k=np.arange(1, k + 1))
        order = np.lexsort((which, far), axis=1)[:, :2]
        metres[asked] = np.take_along_axis(far, order, axis=1)
        number[asked] = np.take_along_axis(which, order, axis=1)
        # As long as the last is as near as the second, others may be that stand before it.
        asked = asked[(far[:, -1] == metres[asked, 1]) & (k < count)]
        k *= 2
    return metres, number


def _first_at_each_spot(sites: Snaps) -> Integers:
    """Give the positions of sites before which none is at the same spot, ascending."""
    keys = (sites.leg_m, sites.fraction, sites.edge)
    order = np.lexsort(keys)  # stable: equal ones stay in the order of the table
    differs = np.zeros(max(order.size - 1, 0), dtype=bool)
    for key in keys:
        differs |= np.diff(key[order]) != 0
    return np.sort(order[np.r_[True, differs][: order.size]])


def _on_same_edge(
    point_edge: Integers, site_edge: Integers, site: Integers
) -> tuple[Integers, Integers]:
    """Pair every point with every site that joins the same edge."""
    order = site[np.argsort(site_edge[site], kind="stable")]
    ranked = site_edge[order]
    low = np.searchsorted(ranked, point_edge, side="left")
    count = np.searchsorted(ranked, point_edge, side="right") - low
    who = np.repeat(np.arange(point_edge.size), count)
    step = np.arange(who.size) - np.repeat(np.cumsum(count) - count, count)
    return who, order[low[who] + step]


def _nearest_by_scipy(trips: Trips, sites: Snaps, limit: float) -> tuple[Floats, Integers]:
    """Give minutes by node and the number of the nearest site, -1 where none."""
    matrix = trips.matrix
    n, k = matrix.shape[0], sites.edge.size
    if k == 0:
        return np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
    minutes, _, origin = dijkstra(
        with_sites(matrix, *trips.links(sites)),
        indices=np.arange(n, n + k),
        min_only=True,
        return_predecessors=True,
        limit=limit,
    )
    return minutes[:n], np.where(origin[:n] >= n, origin[:n] - n, -1).astype(np.int64)


def _nearest_by_networkx(trips: Trips, sites: Snaps, limit: float) -> tuple[Floats, Integers]:
    n, k = trips.matrix.shape[0], sites.edge.size
    minutes, number = np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
    if k == 0:
        return minutes, number
    found, paths = nx.multi_source_dijkstra(
        _networkx_with_sites(trips, *trips.links(sites)),
        {("site", i) for i in range(k)},
        cutoff=None if limit == np.inf else limit,
        weight="minutes",
    )
    for node, value in found.items():
        if not isinstance(node, tuple):
            minutes[node], number[node] = value, paths[node][0][1]
    return minutes, number


@dataclass(frozen=True, eq=False)
class SiteBatch:
    """Minutes between each of a few sites and each of the nodes that any of them reaches.

    Attributes
    ----------
    site : ndarray of int, shape (k,)
        Positions in the table of snaps.
    node : ndarray of int, shape (m,)
        Nodes, ascending.
    minutes : ndarray of float, shape (k, m)
        From the site's door, leg included; infinite beyond the limit.
    """

    site: Integers
    node: Integers
    minutes: Floats


def site_searches(
    trips: Trips, sites: Snaps, *, limit_minutes: float = np.inf
) -> Iterator[SiteBatch]:
    """Search from each site by itself, within a limit, a batch of neighbours at a time.

    Parameters
    ----------
    trips : Trips
        How people travel.
    sites : Snaps
        Where the sites join the road; those that join none are passed over.
    limit_minutes : float
        How far to search.

    Yields
    ------
    SiteBatch
        Every site that joins a road comes once, neighbours together.

    Notes
    -----
    One search from all sites of a batch at once finds the nodes any of them reaches; the searches
    from each run on those alone. So a batch costs what it reaches, not the size of the network.
    """
    joined = np.flatnonzero(sites.edge >= 0)
    if joined.size == 0:
        return
    if trips.engine == "networkx":
        yield from _site_searches_by_networkx(trips, sites, joined, limit_minutes)
        return
    net, matrix = trips.net, trips.matrix
    n = matrix.shape[0]
    at_once = _SITES_AT_ONCE if limit_minutes < np.inf else max(1, _DENSE_VALUES_AT_ONCE // n)
    if joined.size > at_once:
        joined = joined[_along_hilbert_curve(net.xy[net.u[sites.edge[joined]]])]
    everywhere = np.arange(n)
    for start in range(0, joined.size, at_once):
        batch = joined[start : start + at_once]
        head, link = trips.links(sites.take(batch))
        node, part = everywhere, matrix
        if limit_minutes < np.inf:
            reached = dijkstra(
                with_sites(matrix, head, link),
                indices=np.arange(n, n + batch.size),
                min_only=True,
                limit=limit_minutes,
            )[:n]
            node = np.flatnonzero(reached < np.inf)
            part, position = _part_of(matrix, node)
            head = position[head]
            link = np.where(head >= 0, link, np.inf)
        minutes = dijkstra(
            with_sites(part, head, link),
            indices=np.arange(node.size, node.size + batch.size),
            limit=limit_minutes,
        )
        yield SiteBatch(batch, node, minutes[:, : node.size])


def _along_hilbert_curve(xy: Floats) -> Integers:
    places = gpd.GeoSeries(shapely.points(xy))
    return np.argsort(places.hilbert_distance().to_numpy(), kind="stable")


def _part_of(matrix: csr_array, node: Integers) -> tuple[csr_array, Integers]:
    """Give the rows and columns of some nodes, and every node's position among them or -1."""
    position = np.full(matrix.shape[0], -1, dtype=np.int64)
    position[node] = np.arange(node.size)
    start, stop = matrix.indptr[node].astype(np.int64), matrix.indptr[node + 1].astype(np.int64)
    count = stop - start
    row = np.repeat(np.arange(node.size), count)
    gather = np.arange(row.size) + np.repeat(start - (np.cumsum(count) - count), count)
    column = position[matrix.indices[gather]]
    kept = np.flatnonzero(column >= 0)
    indptr = np.zeros(node.size + 1, dtype=np.int32)
    np.cumsum(np.bincount(row[kept], minlength=node.size), out=indptr[1:])
    data = (matrix.data[gather[kept]], column[kept].astype(np.int32), indptr)
    return csr_array(data, shape=(node.size, node.size)), position


def _site_searches_by_networkx(
    trips: Trips, sites: Snaps, joined: Integers, limit: float
) -> Iterator[SiteBatch]:
    graph = _networkx_with_sites(trips, *trips.links(sites.take(joined)))
    for number, site in enumerate(joined.tolist()):
        found = nx.single_source_dijkstra_path_length(
            graph,
            ("site", number),
            cutoff=None if limit == np.inf else limit,
            weight="minutes",
        )
        nodes = sorted(node for node in found if not isinstance(node, tuple))
        minutes = np.array([[found[node] for node in nodes]], dtype=float)
        yield SiteBatch(np.array([site]), np.array(nodes, dtype=np.int64), minutes)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Minutes between sites and points, where within the limit.

    Attributes
    ----------
    site, point : ndarray of int
        Positions in their tables of snaps; no pair comes twice.
    minutes : ndarray of float
        Door to door.
    """

    site: Integers
    point: Integers
    minutes: Floats


def pair_minutes(
    trips: Trips, sites: Snaps, points: Snaps, *, limit_minutes: float = np.inf
) -> Pairs:
    """Give the minutes between every site and every point within a limit.

    Parameters
    ----------
    trips : Trips
        How people travel.
    sites, points : Snaps
        Where they join the road.
    limit_minutes : float
        Pairs farther apart are left out, as are those that are not connected.

    Returns
    -------
    Pairs
        Sorted by point, then minutes, then site.
    """
    net = trips.net
    joined = np.flatnonzero(points.edge >= 0)
    edge = points.edge[joined]
    at_u, at_v = trips.ends(edge, points.fraction[joined], outward=trips.to_facility)
    leg = points.leg_m[joined] * trips.leg_rate
    position = np.full(net.matrix.shape[0], -1, dtype=np.int64)
    # Where the nodes of the last batch stood is undone after it: no array of all nodes each time.
    found: list[tuple[Integers, Integers, Floats]] = []
    for batch in site_searches(trips, sites, limit_minutes=limit_minutes):
        position[batch.node] = np.arange(batch.node.size)
        end_u, end_v = position[net.u[edge]], position[net.v[edge]]
        position[batch.node] = -1
        touched = (end_u >= 0) | (end_v >= 0) | np.isin(edge, sites.edge[batch.site])
        near = np.flatnonzero(touched)
        # Position -1, no node of this batch, reads the column of infinities at the end.
        minutes = np.column_stack([batch.minutes, np.full(batch.site.size, np.inf)])
        total = np.minimum(
            minutes[:, end_u[near]] + at_u[near], minutes[:, end_v[near]] + at_v[near]
        )
        who, number = _on_same_edge(edge[near], sites.edge[batch.site], np.arange(batch.site.size))
        if who.size:
            site, point = batch.site[number], near[who]
            along = trips.along(edge[point], points.fraction[joined[point]], sites.fraction[site])
            direct = along + sites.leg_m[site] * trips.leg_rate
            total[number, who] = np.minimum(total[number, who], direct)
        total += leg[near]
        row, column = np.nonzero((total <= limit_minutes) & (total < np.inf))
        found.append((batch.site[row], joined[near[column]], total[row, column]))
    if not found:
        nothing = np.empty(0, dtype=np.int64)
        return Pairs(nothing, nothing, np.empty(0))
    site, point, minutes = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((site, minutes, point))
    return Pairs(site[order], point[order], minutes[order])


@dataclass(frozen=True, eq=False)
class Parts:
    """Edges and parts of edges that sites reach within a limit.

    Attributes
    ----------
    site, edge : ndarray of int
        Which site reaches which edge.
    start, end : ndarray of float
        The part reached, as fractions of the edge from u; 0 and 1 where all of it.
    """

    site: Integers
    edge: Integers
    start: Floats
    end: Floats


def reached_parts(trips: Trips, sites: Snaps, batch: SiteBatch, limit_minutes: float) -> Parts:
    """Give what each site of a batch reaches, cut exactly at the limit on each edge.

    A place on the road is reached where the trip between it and the site's door, without a leg of
    its own, takes at most the limit.

    Parameters
    ----------
    trips : Trips
        How people travel.
    sites : Snaps
        Where the sites join the road.
    batch : SiteBatch
        As `site_searches` gives it, for this limit or a longer one.
    limit_minutes : float
        The limit.

    Returns
    -------
    Parts
        At most three parts of an edge for each site: from either end, and around the site itself.
        Overlapping ones are joined.
    """
    net, incident = trips.net, trips.net.incident
    position = np.full(net.matrix.shape[0], -1, dtype=np.int64)
    position[batch.node] = np.arange(batch.node.size)
    first, last = incident.indptr[batch.node], incident.indptr[batch.node + 1]
    count = last - first
    gather = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
    seen = np.zeros(net.u.size, dtype=bool)
    seen[incident.indices[gather]] = True
    edge = np.flatnonzero(seen)
    minutes = np.column_stack([batch.minutes, np.full(batch.site.size, np.inf)])
    left_u = limit_minutes - minutes[:, position[net.u[edge]]]
    left_v = limit_minutes - minutes[:, position[net.v[edge]]]
    per_u, per_v = _pace(trips, edge)
    if trips.to_facility:
        left_u = left_u - net.delay_minutes[net.u[edge]]
        left_v = left_v - net.delay_minutes[net.v[edge]]
    from_u, from_v = _share(left_u, per_u), 1 - _share(left_v, per_v)
    whole = from_u >= from_v
    at_u, at_v = ~whole & (from_u > 0), ~whole & (from_v < 1)
    parts = [_around_sites(trips, sites, batch.site, limit_minutes)]
    for reached, low, high in ((whole, 0.0, 1.0), (at_u, 0.0, from_u), (at_v, from_v, 1.0)):
        row, place = np.nonzero(reached)
        start, end = (np.broadcast_to(at, reached.shape)[row, place] for at in (low, high))
        parts.append((row, edge[place], start, end))
    row, edge, start, end = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Only on a site's own edge can parts overlap.
    own = edge == sites.edge[batch.site][row]
    site, rest = batch.site[row], ~own
    merged = _joined(site[own], edge[own], start[own], end[own])
    return Parts(
        np.concatenate([merged.site, site[rest]]),
        np.concatenate([merged.edge, edge[rest]]),
        np.concatenate([merged.start, start[rest]]),
        np.concatenate([merged.end, end[rest]]),
    )


def _pace(trips: Trips, edge: Integers) -> tuple[Floats, Floats]:
    """Give minutes for the whole edge, in the direction of the trip, by way of u and of v."""
    forward, backward = trips.net.forward_minutes[edge], trips.net.backward_minutes[edge]
    return (backward, forward) if trips.to_facility else (forward, backward)


def _share(left: Floats, minutes: Floats) -> Floats:
    """Give the share of edges covered in the minutes left, in [0, 1]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(minutes > 0, left / minutes, np.where(left >= 0, 1.0, 0.0))
    return np.clip(share, 0.0, 1.0)


def _around_sites(
    trips: Trips, sites: Snaps, site: Integers, limit: float
) -> tuple[Integers, Integers, Floats, Floats]:
    edge, fraction = sites.edge[site], sites.fraction[site]
    left = limit - sites.leg_m[site] * trips.leg_rate
    per_u, per_v = _pace(trips, edge)
    # Towards u the trip is one by way of v, and the other way round.
    start, end = (
        np.maximum(fraction - _share(left, per_v), 0.0),
        np.minimum(fraction + _share(left, per_u), 1.0),
    )
    row = np.flatnonzero((left >= 0) & (end > start))
    return row, edge[row], start[row], end[row]


def _joined(site: Integers, edge: Integers, start: Floats, end: Floats) -> Parts:
    """Join parts of the same edge reached by the same site where they overlap or touch."""
    order = np.lexsort((start, edge, site))
    site, edge, start, end = site[order], edge[order], start[order], end[order]
    # At most three parts an edge: what overlaps the one before it is joined to it, twice.
    for _ in range(2):
        same = (site[1:] == site[:-1]) & (edge[1:] == edge[:-1]) & (start[1:] <= end[:-1])
        if not same.any():
            break
        follower = np.flatnonzero(same & ~np.r_[False, same[:-1]]) + 1
        end[follower - 1] = np.maximum(end[follower - 1], end[follower])
        kept = np.ones(site.size, dtype=bool)
        kept[follower] = False
        site, edge, start, end = site[kept], edge[kept], start[kept], end[kept]
    return Parts(site, edge, start, end)
