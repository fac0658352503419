"""`RoadNetwork`: roads as arrays, compiled once for each mode of travel.

The arrays are what is searched; the OSMnx-convention ``networkx.MultiDiGraph`` is built when
somebody asks for `RoadNetwork.graph`. An edge here is one physical piece of road between two
nodes, drawn from `u` to `v`; where `oneway` is true, vehicles may only go that way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
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
from .modes import MINUTES_PER_METRE_AT_1_KPH

if TYPE_CHECKING:
    import networkx as nx

    from .modes import Mode

__all__ = ["ModeNetwork", "RoadNetwork", "row_counts"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_EDGE_COLUMNS = ("u", "v", "length_m", "oneway", "highway")


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
    xy : ndarray of float, shape (n_nodes, 2)
        Where the nodes are.
    delay_minutes : ndarray of float, shape (n_nodes,)
        Minutes lost on arriving at each node from a road (see `Mode.junction_delay_s`).
    matrix : scipy.sparse.csr_array, shape (n_nodes, n_nodes)
        ``matrix[a, b]`` is the cheapest single edge from a to b in minutes (of parallel edges the
        cheapest counts), the delay at b included. Explicit zeros are edges.
    reverse_matrix : scipy.sparse.csr_array
        Its transpose, searched from facilities to find the way *to* them.
    roads : UsableRoads
        Where the mode may go: the same for all modes that may use the same roads.
    """

    mode: Mode
    u: Integers
    v: Integers
    xy: Floats
    forward_minutes: Floats
    backward_minutes: Floats
    delay_minutes: Floats
    matrix: csr_array
    reverse_matrix: csr_array
    roads: UsableRoads

    @cached_property
    def incident(self) -> csr_array:
        """Which edges each node ends: ``incident.indices`` holds usable edges, row by node."""
        usable = self.roads.usable
        node = np.concatenate([self.u[usable], self.v[usable]])
        order = np.argsort(node, kind="stable")
        edge = np.concatenate([usable, usable])[order]
        indptr = np.zeros(self.matrix.shape[0] + 1, dtype=np.int64)
        np.cumsum(np.bincount(node, minlength=indptr.size - 1), out=indptr[1:])
        return csr_array(
            (np.ones(edge.size, dtype=np.int8), edge, indptr),
            shape=(indptr.size - 1, self.u.size),
        )


@dataclass(frozen=True, eq=False)
class UsableRoads:
    """The roads that some modes may use.

    Attributes
    ----------
    usable : ndarray of int
        The edges.
    tree : shapely.STRtree
        Their geometries, in the order of `usable`.
    component : ndarray of int, shape (n_nodes,)
        Which connected piece each node belongs to, one-way signs ignored.
    edge_component : ndarray of int, shape (n_edges,)
        The same by edge, -1 where the edge may not be used.
    main_component : int
        The piece with most road length.
    """

    usable: Integers
    tree: shapely.STRtree
    component: Integers
    edge_component: Integers
    main_component: int

    @cached_property
    def on_island(self) -> NDArray[np.bool_]:
        """Which edges do not belong to the main component."""
        return self.edge_component != self.main_component

    @cached_property
    def main_usable(self) -> Integers:
        """The usable edges of the main component."""
        return self.usable[self.edge_component[self.usable] == self.main_component]

    @cached_property
    def main_tree(self) -> shapely.STRtree:
        """The geometries of the main component's edges, in the order of `main_usable`."""
        return shapely.STRtree(
            self.tree.geometries[self.edge_component[self.usable] == self.main_component]
        )


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Roads ready to be searched.

    Make one with `facility_coverage.read_roads` or `RoadNetwork.from_graph`.

    Parameters
    ----------
    edges : geopandas.GeoDataFrame
        One row a physical edge: `u`, `v` (positions in `nodes`), `length_m`, `oneway` (bool: only
        from u to v for vehicles), `highway`, geometry (LineString from u to v) in a metric CRS.
        Where they are there, `speed_kph`, `access`, `foot`, `bicycle`, `vehicle`,
        `motor_vehicle`, `oneway_bicycle`, `slope_forward` and `slope_backward` count as `Mode`
        says; further columns (`name`, `bridge`, `layer`, …) are kept. The index is 0 … n-1.
    nodes : pandas.DataFrame
        One row a node: `node_id`, `x`, `y` in the same CRS. The index is 0 … n-1.
    source : str
        Where it was read from.
    findings : tuple of dict
        What was noticed and done on reading.
    rows : tuple of dict
        How many lines, ways or directed edges its source holds, as in `IntakeReport`, and their
        `crs`; empty where it was made in memory.

    Notes
    -----
    The compiled arrays of each mode are kept with the network, so one network answers any number
    of questions; it is safe to use from several threads.
    """

    edges: gpd.GeoDataFrame
    nodes: pd.DataFrame
    source: str = ""
    findings: tuple[dict[str, Any], ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    _graph: nx.MultiDiGraph | None = field(default=None, repr=False)
    _compiled: dict[object, ModeNetwork] = field(default_factory=dict, repr=False, init=False)
    _usable: dict[object, UsableRoads] = field(default_factory=dict, repr=False, init=False)
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
        _refuse_numbers(self.edges, "length_m", zero_allowed=True)
        for column in ("slope_forward", "slope_backward"):
            if column in self.edges:
                _refuse_numbers(self.edges, column, zero_allowed=False)

    def __getstate__(self) -> dict[str, Any]:
        names = ("edges", "nodes", "source", "findings", "rows", "_graph")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_compiled": {}, "_usable": {}, "_lock": Lock()}.items():
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
                if mode.roads_key not in self._usable:
                    self._usable[mode.roads_key] = _usable_roads(self, mode)
                self._compiled[mode.key] = _compile(self, mode, self._usable[mode.roads_key])
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

    def with_edges(
        self,
        edges: gpd.GeoDataFrame,
        nodes: pd.DataFrame | None = None,
        *,
        findings: tuple[dict[str, Any], ...] | None = None,
    ) -> RoadNetwork:
        """Give a network of other edges (and nodes) that is known to come from the same source.

        Parameters
        ----------
        edges : geopandas.GeoDataFrame
            As for the class.
        nodes : pandas.DataFrame, optional
            By default the same.
        findings : tuple of dict, optional
            By default the same.

        Returns
        -------
        RoadNetwork
            With the `source` and `rows` of this one.
        """
        return RoadNetwork(
            edges,
            self.nodes if nodes is None else nodes,
            source=self.source,
            findings=self.findings if findings is None else findings,
            rows=self.rows,
        )

    def save(self, path: str | Path) -> Path:
        """Write the prepared network, to be opened again by `facility_coverage.read_roads`.

        Parameters
        ----------
        path : str or pathlib.Path
            Where to write; ends in ``.parquet``.

        Returns
        -------
        pathlib.Path
            The path: a GeoParquet file with one row an edge, which QGIS opens too. Nodes at which
            no edge ends are not in it, and columns of mixed types are stored as text.

        Raises
        ------
        MissingDependencyError
            Where pyarrow (the extra ``parquet``) is not installed.
        InputError
            Where the name does not end in ``.parquet``.

        Examples
        --------
        >>> import tempfile
        >>> import facility_coverage as fc
        >>> roads = fc.read_roads(fc.sample_county().roads)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = fc.read_roads(roads.save(folder + "/roads.parquet"))
        >>> len(again) == len(roads), again.source == roads.source
        (True, True)
        """
        from .prepared import save_network  # noqa: PLC0415 - pyarrow only when asked for

        return save_network(self, path)

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


def row_counts(
    source: str, read: int, accepted: int, crs: pyproj.CRS
) -> tuple[dict[str, Any], ...]:
    """Give the `rows` of a network: how many lines of its source there are and became roads."""
    counts = {"read": read, "accepted": accepted, "set_aside": read - accepted, "no_data": 0}
    return ({"file": source, **counts, "crs": crs.to_string()},)


def _refuse_numbers(edges: gpd.GeoDataFrame, column: str, *, zero_allowed: bool) -> None:
    """Raise where a column of numbers cannot be travelled, naming the edges."""
    value = edges[column].to_numpy(dtype=float)
    bad = np.flatnonzero(~(np.isfinite(value) & ((value >= 0) if zero_allowed else (value > 0))))
    if bad.size:
        osmid = edges["osmid"].to_numpy(dtype=object) if "osmid" in edges else None
        shown = ", ".join(
            f"edge {i}{'' if osmid is None else f' (osmid {osmid[i]})'}: {value[i]!s}"
            for i in bad[:5]
        )
        least = "≥ 0" if zero_allowed else "> 0"
        raise NetworkError(
            f"{bad.size} edges have a {column} that is not a finite number {least}: {shown}"
        )


# What OSM's access keys say (https://wiki.openstreetmap.org/wiki/Key:access); other values, such as
# "permit", leave the question to the next key and the class.
_OPEN = frozenset({"yes", "designated", "permissive", "destination", "customers", "public"})
_SHUT = frozenset(
    {"no", "private", "agricultural", "forestry", "delivery", "military", "emergency"}
)
_NEVER_OPEN = frozenset({"construction", "proposed"})


def _by_value(column: pd.Series, values: frozenset[str]) -> NDArray[np.bool_]:
    """Tell where a column of few distinct values holds one of some."""
    codes, distinct = pd.factorize(column)
    return np.append(np.array([value in values for value in distinct], dtype=bool), False)[codes]


def _may_use(edges: gpd.GeoDataFrame, mode: Mode) -> NDArray[np.bool_]:
    """Tell by edge whether the mode may use it: by its access keys, else by its class."""
    may = ~_by_value(edges["highway"], mode.closed_to)
    for key in reversed(mode.access_keys):
        if key in edges and edges[key].notna().any():
            may |= _by_value(edges[key], _OPEN)
            may &= ~_by_value(edges[key], _SHUT)
    return may & ~_by_value(edges["highway"], _NEVER_OPEN)


def _speed_by_edge(edges: gpd.GeoDataFrame, mode: Mode) -> Floats:
    """Give km/h by edge."""
    codes, classes = pd.factorize(edges["highway"])
    speeds = np.array([mode.speeds_kph.get(name, mode.speed_kph) for name in classes])
    # factorize gives -1 for a missing class: an unclassified road, at the mode's own speed.
    speed = np.append(speeds, mode.speed_kph)[codes]
    if mode.stated_speed and "speed_kph" in edges:
        stated = edges["speed_kph"].to_numpy(dtype=float)
        speed = np.where(stated > 0, stated, speed)
    return speed


def _usable_roads(roads: RoadNetwork, mode: Mode) -> UsableRoads:
    edges, n_nodes = roads.edges, len(roads.nodes)
    may = _may_use(edges, mode)
    usable = np.flatnonzero(may)
    if usable.size == 0:
        raise NetworkError(
            f"{roads.source or 'the road network'}: no road is open to mode {mode.name!r}; "
            f"its classes are {', '.join(map(str, pd.unique(edges['highway'])))}"
        )
    u, v = edges["u"].to_numpy(np.int64), edges["v"].to_numpy(np.int64)
    ones = np.ones(usable.size, dtype=np.int8)
    links = coo_array((ones, (u[usable], v[usable])), shape=(n_nodes, n_nodes)).tocsr()
    _, component = connected_components(links, directed=False)
    component = component.astype(np.int64)
    length_by_component = np.bincount(
        component[u[usable]], weights=edges["length_m"].to_numpy(float)[usable]
    )
    geometry = edges.geometry.array
    return UsableRoads(
        usable=usable,
        tree=shapely.STRtree(geometry if usable.size == len(edges) else geometry[usable]),
        component=component,
        edge_component=np.where(may, component[u], -1),
        main_component=int(np.argmax(length_by_component)),
    )


def _compile(roads: RoadNetwork, mode: Mode, where: UsableRoads) -> ModeNetwork:
    edges, n_nodes = roads.edges, len(roads.nodes)
    u, v = edges["u"].to_numpy(np.int64), edges["v"].to_numpy(np.int64)
    minutes = np.full(len(edges), np.inf)
    minutes[where.usable] = (
        edges["length_m"].to_numpy(float) * MINUTES_PER_METRE_AT_1_KPH / _speed_by_edge(edges, mode)
    )[where.usable]
    forward, backward = minutes, minutes.copy()
    if mode.slope and "slope_forward" in edges:
        up, down = edges["slope_forward"].to_numpy(float), edges["slope_backward"].to_numpy(float)
        if mode.slope == "tobler_mean":
            up = down = (up + down) / 2
        forward, backward = forward * up, backward * down
    if mode.obeys_one_way:
        one_way = edges["oneway"].to_numpy(bool).copy()
        for key in mode.one_way_keys:
            if key in edges:
                one_way &= ~_by_value(edges[key], frozenset({"no"}))
        backward[one_way] = np.inf
    delay = np.zeros(n_nodes)
    if mode.junction_delay_s:
        ends = np.bincount(np.concatenate([u[where.usable], v[where.usable]]), minlength=n_nodes)
        delay[ends >= 3] = mode.junction_delay_s / 60  # noqa: PLR2004 - two ends are one road
    matrix = _cheapest_csr(
        np.concatenate([u, v]),
        np.concatenate([v, u]),
        np.concatenate([forward + delay[v], backward + delay[u]]),
        n_nodes,
    )
    return ModeNetwork(
        mode=mode,
        u=u,
        v=v,
        xy=roads.nodes[["x", "y"]].to_numpy(dtype=float),
        forward_minutes=forward,
        backward_minutes=backward,
        delay_minutes=delay,
        matrix=matrix,
        reverse_matrix=matrix.T.tocsr(),
        roads=where,
    )


def _cheapest_csr(tail: Integers, head: Integers, minutes: Floats, n_nodes: int) -> csr_array:
    """Compile directed edges to CSR, keeping the cheapest of parallel ones.

    SciPy's own converters add parallel edges up, which would make a double road twice as slow.
    """
    kept = np.flatnonzero(np.isfinite(minutes))
    pair, minutes = tail[kept] * n_nodes + head[kept], minutes[kept]
    order = np.argsort(pair, kind="stable")
    pair, minutes = pair[order], minutes[order]
    first = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
    if first.size < pair.size:
        minutes, pair = np.minimum.reduceat(minutes, first), pair[first]
    indptr = np.zeros(n_nodes + 1, dtype=np.int32)
    np.cumsum(np.bincount(pair // n_nodes, minlength=n_nodes), out=indptr[1:])
    return csr_array((minutes, (pair % n_nodes).astype(np.int32), indptr), shape=(n_nodes, n_nodes))
