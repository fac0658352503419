"""Tables of a PostGIS database, read and written by URL; passwords stay out of every message."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd

from .errors import InputError, MissingDependencyError, MissingInputError, OutputError

if TYPE_CHECKING:
    from .assessment import CoverageReport

__all__ = ["is_database_url", "read_table", "write_postgis"]

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_CONNECT_SECONDS = 10
_KEYS = {
    "units": ["unit_code"],
    "demand": ["demand_id"],
    "facilities": ["facility_id", "kind"],
    "verdicts": ["unit_code", "kind"],
    "rates": ["kind", "setting", "basis", "measure"],
    "projects": ["number"],
}
_LONGEST_NAME = 63  # bytes, NAMEDATALEN - 1; PostgreSQL cuts longer ones


def is_database_url(source: Any) -> bool:
    """Say whether a source is the URL of a PostgreSQL database.

    Examples
    --------
    >>> is_database_url("postgresql://planner@localhost/county"), is_database_url("roads.gpkg")
    (True, False)
    """
    return isinstance(source, str) and source.partition("://")[0].lower() in _SCHEMES


def read_table(
    url: str,
    table: str | None,
    *,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None = None,
) -> tuple[gpd.GeoDataFrame, str]:
    """Read a table or view with geometries.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``; the password may stand in ``~/.pgpass``
        or ``PGPASSWORD`` instead.
    table : str, optional
        ``"schema.table"``, or ``"table"`` where the name is unique; needed only where there are
        several tables with geometries. With two columns of geometry the first is read.
    choose : callable, optional
        Given the names of the columns, which to read; None for all.

    Returns
    -------
    frame : geopandas.GeoDataFrame
        In the order of the primary key, where there is one; `frame.crs` from the table's SRID.
    name : str
        ``database:schema.table``, for messages.

    Raises
    ------
    MissingInputError
        Where there is no such table with geometries; names those there are.
    InputError
        Where the database cannot be reached or read, or several tables would fit.
    MissingDependencyError
        Where SQLAlchemy or psycopg is not installed.
    """
    with _connection(url, error=InputError, task="read") as (connection, database):
        return _read(connection, database, table, choose)


def write_postgis(
    report: CoverageReport,
    projects: gpd.GeoDataFrame,
    url: str,
    *,
    schema: str = "facility_coverage",
    replace: bool = False,
) -> tuple[str, ...]:
    """Write a report and its projects as tables of a PostGIS database.

    Parameters
    ----------
    report : CoverageReport
        From `assess`.
    projects : GeoDataFrame
        From `propose_projects`.
    url : str
        As for reading: ``postgresql://user:password@host:port/database``.
    schema : str
        Where they go; made if it is not there. Letters of any script, digits and underscores.
    replace : bool
        Take the place of tables of these names; by default they are refused and stay.

    Returns
    -------
    tuple of str
        The tables: ``units``, ``demand``, ``facilities``, ``verdicts``, ``rates``, ``projects``,
        each as ``schema.table``. Each has the report's columns, a primary key where rows tell
        apart, and a comment with the plan, its source and the report's stamp; those with places
        have geometries in their own CRS and a spatial index. What is not known is NULL.

    Raises
    ------
    OutputError
        Where the database cannot be reached or written, a table is there already, a CRS has no EPSG
        code, a table no place at all, or a name other characters. All tables are written in one
        transaction: all of them or none.
    MissingDependencyError
        Where SQLAlchemy, psycopg or GeoAlchemy2 is not installed.

    Examples
    --------
    >>> import facility_coverage as fc
    >>> county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    >>> units, facilities = fc.read_units(county.units), fc.read_facilities(county.facilities)
    >>> roads = fc.read_roads(county.roads)
    >>> report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    >>> projects = fc.propose_projects(report, roads)
    >>> try:
    ...     fc.write_postgis(report, projects, "county.gpkg")  # postgresql://planner@host/county
    ... except fc.CoverageError as fault:
    ...     print(fault)
    not a database URL; write postgresql://user:password@host:port/database, special characters of the password as %40 and the like
    """  # noqa: E501 - the error is one line
    tables = {
        **{name: getattr(report, name) for name in _KEYS if name != "projects"},
        "projects": projects,
    }
    _refuse_name(schema, "schema=")
    for name, table in tables.items():
        for column in table.columns:
            _refuse_name(column, f"{name}: column ")
        if not isinstance(table, gpd.GeoDataFrame):
            continue
        if len(table) and table.geometry.isna().all():
            raise OutputError(f"{name}: no row has a place; there is nothing to draw of it")
        if table.crs.to_epsg() is None:
            raise OutputError(
                f"{name}: its CRS ({table.crs.name}) has no EPSG code, by which PostGIS would know "
                "it; bring the inputs to one that has, e.g. units.to_crs(4490)"
            )
    plan = report.plan
    comment = "; ".join(each for each in (report.stamp, plan.name_zh, plan.source) if each)
    with _connection(url, error=OutputError, task="written") as (connection, database):
        _write(connection, database, tables, schema, comment, replace=replace)
    return tuple(f"{schema}.{name}" for name in tables)


def _refuse_name(name: Any, what: str) -> None:
    """Refuse a name that PostgreSQL would cut, or that geopandas before 1.1.2 does not quote."""
    text = str(name)
    if not re.fullmatch(r"\w+", text) or len(text.encode()) > _LONGEST_NAME:
        raise OutputError(
            f"{what}{text!r}: a name has letters, digits and underscores, {_LONGEST_NAME} bytes "
            "at most; give another"
        )


@contextmanager
def _connection(url: str, *, error: type[InputError | OutputError], task: str) -> Iterator[Any]:
    """Give a connection, in one transaction, and the database's name; name faults, no secrets."""
    try:
        import psycopg  # noqa: F401, PLC0415 - an optional dependency
        import sqlalchemy as sa  # noqa: PLC0415 - an optional dependency
    except ImportError as fault:
        raise MissingDependencyError(
            "PostGIS needs SQLAlchemy and psycopg: pip install 'facility-coverage[postgis]'"
        ) from fault
    try:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise error(
            "not a database URL; write postgresql://user:password@host:port/database, "
            "special characters of the password as %40 and the like"
        ) from None
    given = str(address.database or address.username or "")
    database = given.partition("&")[0]  # a query that lost its ? may hold the password
    wait = {} if "connect_timeout" in address.query else {"connect_timeout": _CONNECT_SECONDS}
    engine = sa.create_engine(address, poolclass=sa.pool.NullPool, connect_args=wait)
    try:
        with engine.begin() as connection:
            yield connection, database
    except (sa.exc.SQLAlchemyError, UnicodeError) as fault:
        # The driver's own words only: SQLAlchemy's add the statement and its parameters.
        reason = " ".join(str(getattr(fault, "orig", None) or type(fault).__name__).split())
        reason = reason.replace(given, database) if given else reason
        for secret in (address.password, address.query.get("password")):
            reason = reason.replace(str(secret), "…") if secret else reason
        raise error(
            f"database {database}: cannot be {task} ({reason}); check the address, "
            "the user's rights and that PostGIS is installed"
        ) from None
    finally:
        engine.dispose()


def _write(
    connection: Any,
    database: str,
    tables: Mapping[str, pd.DataFrame],
    schema: str,
    comment: str,
    *,
    replace: bool,
) -> None:
    import sqlalchemy as sa  # noqa: PLC0415 - checked by the caller

    there = set(tables) & set(sa.inspect(connection).get_table_names(schema=schema))
    if there and not replace:
        raise OutputError(
            f"database {database}: {schema} has {', '.join(sorted(there))} already; give "
            "replace=True to have them replaced, or another schema="
        )
    connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    for name, table in tables.items():
        options = {"schema": schema, "if_exists": "replace", "index": False}
        if isinstance(table, gpd.GeoDataFrame):
            try:
                table.to_postgis(name, connection, **options)
            except ImportError as fault:
                raise MissingDependencyError(
                    "writing PostGIS needs GeoAlchemy2: pip install 'facility-coverage[postgis]'"
                ) from fault
        else:
            table.to_sql(name, connection, **options)
        key = _KEYS[name]
        written = sa.Table(
            name, sa.MetaData(), *(sa.Column(each) for each in key), schema=schema, comment=comment
        )
        connection.execute(sa.schema.SetTableComment(written))
        if not table[key].isna().any(axis=None) and not table.duplicated(key).any():
            primary = sa.PrimaryKeyConstraint(*(written.c[each] for each in key))
            connection.execute(sa.schema.AddConstraint(primary))


def _read(
    connection: Any,
    database: str,
    table: str | None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None,
) -> tuple[gpd.GeoDataFrame, str]:
    import sqlalchemy as sa  # noqa: PLC0415 - checked by the caller

    schema, name, geometry = _find(
        database,
        table,
        connection.execute(
            sa.text(
                "SELECT f_table_schema, f_table_name, f_geometry_column FROM geometry_columns "
                "ORDER BY 1, 2, 3"
            )
        ).all(),
    )
    names = [
        str(row[0])
        for row in connection.execute(
            sa.text(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = :schema AND table_name = :name ORDER BY ordinal_position"
            ),
            {"schema": schema, "name": name},
        )
    ]
    quote = sa.sql.quoted_name
    source = sa.table(quote(name, quote=True), schema=quote(schema, quote=True))
    key = connection.execute(
        sa.text(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a "
            "ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
            "WHERE i.indisprimary AND i.indrelid = "
            "to_regclass(quote_ident(:schema) || '.' || quote_ident(:name)) "
            "ORDER BY array_position(i.indkey::int2[], a.attnum)"
        ),
        {"schema": schema, "name": name},
    ).scalars()
    chosen = choose(names) if choose is not None else None
    wanted = [n for n in (names if chosen is None else chosen) if n != geometry]
    query: Any = (
        sa.select(*(sa.column(quote(n, quote=True)) for n in [*wanted, geometry]))
        .select_from(source)
        .order_by(*(sa.column(quote(n, quote=True)) for n in key))
    )
    frame = gpd.read_postgis(query, connection, geom_col=geometry)
    if geometry != "geometry":
        frame = frame.rename_geometry("geometry")
    return frame, f"{database}:{schema}.{name}"


def _find(database: str, table: str | None, rows: Sequence[Sequence[str]]) -> tuple[str, str, str]:
    """Give schema, table and geometry column of the one table that is meant."""
    present: dict[tuple[str, str], str] = {}
    for schema, name, geometry in rows:
        present.setdefault((schema, name), geometry)
    shown = ", ".join(f"{schema}.{name}" for schema, name in present) or "none"
    fitting = [
        (schema, name)
        for schema, name in present
        if table is None or table in {name, f"{schema}.{name}"}
    ]
    if not fitting:
        near = difflib.get_close_matches(
            str(table), [n for schema, name in present for n in (name, f"{schema}.{name}")], n=1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise MissingInputError(
            f"database {database}: no table {table or ''!r} with geometries{hint} (it has {shown})"
        )
    if len(fitting) > 1:
        raise InputError(
            f"database {database}: several tables have geometries ({shown}); "
            "say which with layer='schema.table'"
        )
    return *fitting[0], present[fitting[0]]
