"""Tables of a PostGIS database, read by URL; passwords stay out of every message."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import geopandas as gpd

from .errors import InputError, MissingDependencyError, MissingInputError

__all__ = ["is_database_url", "read_table"]

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_CONNECT_SECONDS = 10


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
    try:
        import psycopg  # noqa: F401, PLC0415 - an optional dependency
        import sqlalchemy as sa  # noqa: PLC0415 - an optional dependency
    except ImportError as fault:
        raise MissingDependencyError(
            "reading PostGIS needs SQLAlchemy and psycopg: pip install 'facility-coverage[postgis]'"
        ) from fault
    try:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise InputError(
            "not a database URL; write postgresql://user:password@host:port/database, "
            "special characters of the password as %40 and the like"
        ) from None
    wait = {} if "connect_timeout" in address.query else {"connect_timeout": _CONNECT_SECONDS}
    engine = sa.create_engine(address, poolclass=sa.pool.NullPool, connect_args=wait)
    try:
        with engine.connect() as connection:
            return _read(connection, str(address.database or address.username or ""), table, choose)
    except (sa.exc.SQLAlchemyError, UnicodeError) as fault:
        # The driver's own words only: SQLAlchemy's add the statement and its parameters.
        reason = " ".join(str(getattr(fault, "orig", None) or type(fault).__name__).split())
        for secret in (address.password, address.query.get("password")):
            reason = reason.replace(str(secret), "…") if secret else reason
        raise InputError(
            f"database {address.database or ''}: cannot be read ({reason}); check the address, "
            "the user's rights and that PostGIS is installed"
        ) from None
    finally:
        engine.dispose()


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
