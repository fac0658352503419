"""`RoadNetwork`: roads as arrays, compiled once for each mode of travel, and points joined to them.

The arrays are what is searched; the OSMnx-convention ``networkx.MultiDiGraph`` is built when
somebody asks for `RoadNetwork.graph`. An edge here is one physical piece of road between two
nodes, drawn from `u` to `v`; where `oneway` is true, vehicles may only go that way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from .errors import NetworkError

if TYPE_CHECKING:
    import networkx as nx

    from .modes import Mode

__all__ = ["ModeNetwork", "RoadNetwork", "Snaps", "snap"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_EDGE_COLUMNS = ("u", "v", "length_m", "oneway", "highway")
_MINUTES_PER_METRE_AT_1_KPH = 60.0 / 1000.0


@dataclass(frozen=True, eq=False)
class ModeNetwork:
    """A road network as one mode of travel sees it.

    Attributes
    ----------
    mode : Mode
        The mode.
    u, v : ndarray of int, shape (n_edges,)
        The nodes at the ends of each edge.
    forward_minutes, backward_minutes : ndarray of float, shape (n_edges,)
        Minutes along each edge from `u` to `v` and from `v` to `u`; infinite where not allowed.
    matrix : scipy.sparse.csr_array, shape (n_nodes, n_nodes)
        ``matrix[a, b]`` is the cheapest single edge from a to b in minutes (of parallel edges the
        cheapest counts). Explicit zeros are edges.
    reverse_matrix : scipy.sparse.csr_array
        Its transpose, searched from facilities to find the way *to* them.
    component : ndarray of int, shape (n_nodes,)
        Which connected piece each node belongs to, one-way signs ignored.
    main_component : int
        The piece with most road length.
    usable : ndarray of int
        The edges the mode may use.
    tree : shapely.STRtree
        Their geometries, in the order of `usable`.
    """

    mode: Mode
    u: Integers
    v: Integers
    forward_minutes: Floats
    backward_minutes: Floats
    matrix: csr_array
    reverse_matrix: csr_array
    component: Integers
    edge_component: Integers
    main_component: int
    usable: Integers
    tree: shapely.STRtree

    @cached_property
    def main_usable(self) -> Integers:
        """The usable edges of the main component."""
        return self.usable[self.edge_component[self.usable] == self.main_component]


@dataclass(frozen=True, eq=False)
class Snaps:
    """Points joined to the nearest point of an edge, index by index.

    Attributes
    ----------
    edge : ndarray of int
        The edge each point joins, -1 where it joins none.
    fraction : ndarray of float
        Where along the edge, 0 at `u` and 1 at `v`.
    leg_m : ndarray of float
        Straight distance from the point to the road in metres, also where it is too far to join.
    component : ndarray of int
        The connected piece of road it joins, -1 where none.
    flag : ndarray of object
        ``""``, ``"off_network"`` (farther from any road than the limit), ``"island"`` (joined to a
        piece of road cut off from the main network) or ``"joined_main"`` (nearest to an island,
        but the main network is within the limit and was taken).
    """

    edge: Integers
    fraction: Floats
    leg_m: Floats
    component: Integers
    flag: NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Roads ready to be searched.

    Make one with `facility_coverage.read_roads` or `RoadNetwork.from_graph`.

    Parameters
    ----------
    edges : geopandas.GeoDataFrame
        One row a physical edge: `u`, `v` (positions in `nodes`), `length_m`, `oneway` (bool: only
        from u to v for vehicles), `highway`, geometry (LineString from u to v) in a metric CRS;
        further columns (`name`, `bridge`, `layer`, …) are kept. The index is 0 … n-1.
    nodes : pandas.DataFrame
        One row a node: `node_id`, `x`, `y` in the same CRS. The index is 0 … n-1.
    source : str
        Where it was read from.
    findings : tuple of dict
        What was noticed and done on reading.

    Notes
    -----
    The compiled arrays of each mode are kept with the network, so one network answers any number
    of questions; it is safe to use from several threads.
    """

    edges: gpd.GeoDataFrame
    nodes: pd.DataFrame
    source: str = ""
    findings: tuple[dict[str, Any], ...] = ()
    _graph: nx.MultiDiGraph | None = field(default=None, repr=False)
    _compiled: dict[object, ModeNetwork] = field(default_factory=dict, repr=False, init=False)
    _lock: Any = field(default_factory=Lock, repr=False, init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be searched, naming the edges."""
        missing = [name for name in _EDGE_COLUMNS if name not in self.edges]
        if missing:
            raise NetworkError(f"the table of edges lacks {', '.join(missing)}")
        if self.edges.crs is None or not self.edges.crs.is_projected:
            raise NetworkError("edges must be in a projected CRS in metres")
        if len(self.edges) == 0:
            raise NetworkError(f"{self.source or 'the road network'}: there is no road in it")
        length = self.edges["length_m"].to_numpy(dtype=float)
        bad = np.flatnonzero(~(np.isfinite(length) & (length >= 0)))
        if bad.size:
            shown = ", ".join(f"edge {i} ({length[i]!r})" for i in bad[:5])
            raise NetworkError(
                f"{bad.size} edges have a length that is not a finite number ≥ 0: {shown}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("edges", "nodes", "source", "findings", "_graph")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_compiled": {}, "_lock": Lock()}.items():
            object.__setattr__(self, name, value)

    @property
    def crs(self) -> pyproj.CRS:
        """The metric CRS everything is measured in."""
        return self.edges.crs

    def __len__(self) -> int:
        return len(self.edges)

    def __repr__(self) -> str:
        """Say how large the network is and where it came from."""
        km = self.edges["length_m"].sum() / 1000
        return (
            f"<RoadNetwork: {len(self.nodes):,} nodes, {len(self.edges):,} edges, {km:,.0f} km, "
            f"{self.crs.to_string()}, from {self.source or 'memory'}>"
        )

    def _repr_html_(self) -> str:
        by_class = (
            self.edges.groupby("highway")["length_m"].agg(["size", "sum"]).sort_values("sum")[::-1]
        )
        table = pd.DataFrame({"edges": by_class["size"], "km": (by_class["sum"] / 1000).round(1)})
        from html import escape  # noqa: PLC0415 - only a notebook asks for it

        return f"<p>{escape(repr(self)[1:-1])}</p>{table.to_html()}"

    def for_mode(self, mode: Mode) -> ModeNetwork:
        """Give the network compiled for a mode; it is compiled once and kept.

        Parameters
        ----------
        mode : Mode
            Speeds and permissions.

        Returns
        -------
        ModeNetwork
            Minutes by edge, search matrices, components and a spatial index.

        Raises
        ------
        NetworkError
            Where the mode may use no road at all.
        """
        with self._lock:
            if mode.key not in self._compiled:
                self._compiled[mode.key] = _compile(self, mode)
            return self._compiled[mode.key]

    @classmethod
    def from_graph(cls, graph: nx.MultiDiGraph, *, crs: Any = None) -> RoadNetwork:
        """Make a network from an OSMnx-convention graph.

        Parameters
        ----------
        graph : networkx.MultiDiGraph
            Nodes with `x` and `y`, edges with `length` in metres, `graph["crs"]` set, as
            ``osmnx.graph_from_place`` gives. It is kept, unchanged, as `graph`.
        crs : pyproj.CRS or str, optional
            The metric CRS to work in. By default the graph's own if projected, else the UTM zone
            of its middle.

        Returns
        -------
        RoadNetwork
            The two directions of a two-way street become one edge.

        Raises
        ------
        NoCrsError, NetworkError
            Where the graph has no CRS, no edge, or edges without a usable length.
        """
        from .graphs import network_parts  # noqa: PLC0415 - networkx only when asked for

        edges, nodes = network_parts(graph, crs=crs)
        return cls(edges, nodes, source="a networkx graph", _graph=graph)

    @cached_property
    def graph(self) -> nx.MultiDiGraph:
        """The network as an OSMnx-convention ``networkx.MultiDiGraph``.

        The graph it was made from, or one built on first use: nodes with `x`, `y` in EPSG:4326,
        a directed edge for each allowed direction with `osmid`, `length` (m), `highway`, `oneway`,
        `reversed` and, where the road bends, `geometry`.
        """
        if self._graph is not None:
            return self._graph
        from .graphs import build_graph  # noqa: PLC0415 - networkx only when asked for

        return build_graph(self)


def _speed_by_edge(highway: pd.Series, mode: Mode) -> Floats:
    """Give km/h by edge, 0 where the mode may not go."""
    codes, classes = pd.factorize(highway)
    speeds = np.array(
        [
            0.0 if name in mode.closed_to else mode.speeds_kph.get(name, mode.speed_kph)
            for name in classes
        ]
    )
    # factorize gives -1 for a missing class: an unclassified road, open at the mode's own speed.
    return np.append(speeds, mode.speed_kph)[codes]


def _compile(roads: RoadNetwork, mode: Mode) -> ModeNetwork:
    edges, n_nodes = roads.edges, len(roads.nodes)
    u, v = edges["u"].to_numpy(np.int64), edges["v"].to_numpy(np.int64)
    speed = _speed_by_edge(edges["highway"], mode)
    length_m = edges["length_m"].to_numpy(float)
    minutes = np.full(len(edges), np.inf)
    np.divide(length_m * _MINUTES_PER_METRE_AT_1_KPH, speed, out=minutes, where=speed > 0)
    one_way = edges["oneway"].to_numpy(bool) & mode.obeys_one_way
    backward = np.where(one_way, np.inf, minutes)
    usable = np.flatnonzero(np.isfinite(minutes))
    if usable.size == 0:
        raise NetworkError(
            f"{roads.source or 'the road network'}: no road is open to mode {mode.name!r}; "
            f"its classes are {', '.join(map(str, pd.unique(edges['highway'])))}"
        )
    matrix = _cheapest_csr(
        np.concatenate([u, v]), np.concatenate([v, u]), np.concatenate([minutes, backward]), n_nodes
    )
    ones = np.ones(usable.size, dtype=np.int8)
    links = coo_array((ones, (u[usable], v[usable])), shape=(n_nodes, n_nodes)).tocsr()
    _, component = connected_components(links, directed=False)
    component = component.astype(np.int64)
    edge_component = np.where(np.isfinite(minutes), component[u], -1)
    length_by_component = np.bincount(
        edge_component[usable], weights=edges["length_m"].to_numpy(float)[usable]
    )
    return ModeNetwork(
        mode=mode,
        u=u,
        v=v,
        forward_minutes=minutes,
        backward_minutes=backward,
        matrix=matrix,
        reverse_matrix=csr_array(matrix.T.tocsr()),
        component=component,
        edge_component=edge_component,
        main_component=int(np.argmax(length_by_component)),
        usable=usable,
        tree=shapely.STRtree(edges.geometry.array[usable]),
    )


def _cheapest_csr(tail: Integers, head: Integers, minutes: Floats, n_nodes: int) -> csr_array:
    """Compile directed edges to CSR, keeping the cheapest of parallel ones.

    SciPy's own converters add parallel edges up, which would make a double road twice as slow.
    """
    kept = np.isfinite(minutes)
    tail, head, minutes = tail[kept], head[kept], minutes[kept]
    order = np.lexsort((minutes, head, tail))
    tail, head, minutes = tail[order], head[order], minutes[order]
    first = np.ones(tail.size, dtype=bool)
    first[1:] = (tail[1:] != tail[:-1]) | (head[1:] != head[:-1])
    indptr = np.zeros(n_nodes + 1, dtype=np.int32)
    np.cumsum(np.bincount(tail[first], minlength=n_nodes), out=indptr[1:])
    return csr_array(
        (minutes[first], head[first].astype(np.int32), indptr), shape=(n_nodes, n_nodes)
    )


def snap(
    points: NDArray[np.object_],
    roads: RoadNetwork,
    mode: Mode,
    *,
    leg_limit_m: float = 500.0,
) -> Snaps:
    """Join points to the nearest point of an edge the mode may use.

    Parameters
    ----------
    points : ndarray of shapely.Point
        In the CRS of `roads`.
    roads : RoadNetwork
        The roads.
    mode : Mode
        Which roads may be used.
    leg_limit_m : float
        Points farther than this from any such road join none (``off_network``).

    Returns
    -------
    Snaps
        Index by index with `points`. Where several edges are equally near, their shapes and then
        their minutes decide, so that the order of rows never does.

    Notes
    -----
    A point nearest to an island (a piece of road cut off from the main network) joins the main
    network instead where that is within `leg_limit_m` too; it is flagged ``joined_main``.
    """
    net = roads.for_mode(mode)
    geometry = roads.edges.geometry.array
    edge, leg_m = _nearest(net, net.tree, net.usable, points, leg_limit_m)
    flag = np.full(len(points), "", dtype=object)
    flag[edge < 0] = "off_network"

    on_island = np.flatnonzero((edge >= 0) & (net.edge_component[edge] != net.main_component))
    if on_island.size:
        flag[on_island] = "island"
        main_tree = shapely.STRtree(geometry[net.main_usable])
        main_edge, main_leg = _nearest(
            net, main_tree, net.main_usable, points[on_island], leg_limit_m
        )
        joins = main_edge >= 0
        edge[on_island[joins]] = main_edge[joins]
        leg_m[on_island[joins]] = main_leg[joins]
        flag[on_island[joins]] = "joined_main"

    joined = edge >= 0
    fraction = np.full(len(points), np.nan)
    lines = np.asarray(geometry[edge[joined]])
    fraction[joined] = shapely.line_locate_point(lines, points[joined], normalized=True)
    # A line of no length has no fraction along it.
    fraction[joined & np.isnan(fraction)] = 0.0
    component = np.where(joined, net.edge_component[edge], -1)
    return Snaps(edge, fraction, leg_m, component, flag)


def _nearest(
    net: ModeNetwork,
    tree: shapely.STRtree,
    edges: Integers,
    points: NDArray[np.object_],
    limit_m: float,
) -> tuple[Integers, Floats]:
    """Give the nearest of some edges within a limit (-1 if none) and its distance.

    `tree` holds the geometries of `edges`, in that order.
    """
    found = np.full(len(points), -1, dtype=np.int64)
    distance = np.full(len(points), np.inf)
    if len(edges) == 0 or len(points) == 0:
        return found, distance
    (which, item), near = tree.query_nearest(points, max_distance=limit_m, return_distance=True)
    shape_rank = np.zeros(which.size, dtype=np.int64)
    count = np.bincount(which, minlength=len(points))
    tied = np.flatnonzero(count[which] > 1)
    if tied.size:
        shapes = shapely.to_wkb(tree.geometries[item[tied]])
        shape_rank[tied] = pd.factorize(shapes, sort=True)[0]
    edge = edges[item]
    order = np.lexsort(
        (edge, net.backward_minutes[edge], net.forward_minutes[edge], shape_rank, which)
    )
    which, edge, near = which[order], edge[order], near[order]
    first = np.ones(which.size, dtype=bool)
    first[1:] = which[1:] != which[:-1]
    found[which[first]] = edge[first]
    distance[which[first]] = near[first]
    # How far the others are is worth knowing, though they do not join.
    far = np.flatnonzero(found < 0)
    if far.size:
        (which, _), near = tree.query_nearest(points[far], return_distance=True, all_matches=False)
        distance[far[which]] = near
    return found, distance
