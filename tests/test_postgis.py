"""PostGIS: a real server of this test's own, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import geopandas as gpd
import pandas as pd
import pyproj
import pytest

import facility_coverage as fc
from facility_coverage.errors import InputError, MissingInputError, OutputError

PASSWORD = "s3cret/of:the@planner"  # noqa: S105 - of a server that lives for one test


def binaries():
    found = [Path(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    on_path = shutil.which("initdb")
    for folder in [*found, *([Path(on_path).resolve().parent] if on_path else [])]:
        share = Path(f"/usr/share/postgresql/{folder.parent.name}/extension/postgis.control")
        if (folder / "initdb").exists() and share.exists():
            return folder
    return None


@pytest.fixture(scope="module")
def postgis():
    """Give the URL of an empty database with PostGIS, as its owner."""
    folder = binaries()
    required = os.environ.get("FACILITY_COVERAGE_REQUIRE_POSTGIS") == "1"
    if not required:
        pytest.importorskip("psycopg")
        pytest.importorskip("sqlalchemy")
        if folder is None:
            pytest.skip("PostgreSQL with PostGIS is not installed")
    assert folder is not None, "PostgreSQL with PostGIS is required here and not installed"
    home = Path(tempfile.mkdtemp(prefix="pg"))
    # PostgreSQL refuses to run as root.
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(home, "nobody", "nogroup")
    secret = home / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def run(program, *options):
        command = [str(folder / program), *map(str, options)]
        subprocess.run(command, check=True, capture_output=True, cwd=home, timeout=60, **who)

    run("initdb", "-N", "-D", home / "data", "-U", "planner", "-E", "UTF8", "--no-locale",
        "-A", "scram-sha-256", f"--pwfile={secret}")  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings_ = (
        f"-k {home} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off "
        "-c synchronous_commit=off -c shared_buffers=16MB -c max_connections=10"
    )
    run("pg_ctl", "-D", home / "data", "-w", "-o", settings_, "-l", home / "log", "start")
    try:
        yield f"postgresql://planner:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", home / "data", "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def database(postgis):
    import psycopg  # noqa: PLC0415 - optional

    with psycopg.connect(postgis, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
        connection.execute('CREATE SCHEMA "县 ""路"""')
        connection.execute(
            'CREATE TABLE "县 ""路"""."Roads" (id int PRIMARY KEY, "等级" text, "class 2" text, '
            "geom geometry(LineString, 4490))"
        )
        # Out of order, so that rows are seen to be numbered by the key.
        connection.execute(
            'INSERT INTO "县 ""路"""."Roads" VALUES '
            "(2, '村道', 'x', ST_GeomFromText('LINESTRING(117.005 39.995, 117.005 40.005)', 4490)),"
            "(1, '县道', 'y', ST_GeomFromText('LINESTRING(117.0 40.0, 117.01 40.0)', 4490))"
        )
    return postgis


def test_roads_from_postgis(database):
    network = fc.read_roads(database)
    assert network.edges["highway"].tolist() == ["secondary"] * 2 + ["unclassified"] * 2
    assert network.edges["length_m"].sum() == pytest.approx(854 + 1110, rel=0.01)
    assert "name" not in network.edges
    assert PASSWORD not in repr(network)
    for name in ("Roads", '县 "路".Roads'):
        assert len(fc.read_roads(database, layer=name)) == 4
    other = fc.read_roads(database, columns={"highway": "class 2"})
    assert set(other.edges["highway"]) == {"x", "y"}


def test_postgis_faults_are_named_without_the_password(database, postgis):
    import psycopg  # noqa: PLC0415 - optional

    with pytest.raises(MissingInputError, match=r"no table 'roads'.*did you mean 'Roads'"):
        fc.read_roads(database, layer="roads")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE second (highway text, geom geometry(LineString))")
        with pytest.raises(
            InputError, match=r"several tables.*public.second.*layer='schema.table'"
        ):
            fc.read_roads(database)
        with pytest.raises(InputError, match="empty"):
            fc.read_roads(database, layer="public.second")
        connection.execute("INSERT INTO second VALUES ('x', 'LINESTRING(0 0, 1 1)')")
        with pytest.raises(InputError, match="coordinate reference system"):
            fc.read_roads(database, layer="second")
        connection.execute("DROP TABLE second")
    wrong = postgis.replace("planner:", "planner:wrong")
    for url in (
        wrong,
        f"{postgis}?password=wrong{quote(PASSWORD, safe='')}",
        f"{postgis}&password=wrong{quote(PASSWORD, safe='')}",
        f"postgresql://planner:{PASSWORD}@[/nowhere",
        f"postgresql://planner:{quote(PASSWORD, safe='')}@/postgres?host=/nowhere",
    ):
        with pytest.raises(InputError) as caught:
            fc.read_roads(url)
        shown = str(caught.value)
        assert PASSWORD not in shown
        assert quote(PASSWORD, safe="") not in shown
        assert "s3cret" not in shown
        assert caught.value.__suppress_context__


def test_postgis_names_are_no_statements(database):
    import psycopg  # noqa: PLC0415 - optional
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415

    evil = """x"; DROP TABLE victim; --' """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE victim (id int)")
        table, column = Identifier(evil), Identifier(f"class{evil}")
        connection.execute(
            SQL("CREATE TABLE {} ({} text, geom geometry(LineString, 4490))").format(table, column)
        )
        insert = SQL("INSERT INTO {} VALUES ('primary', ST_GeomFromText(%s, 4490))").format(table)
        connection.execute(insert, ["LINESTRING(117 40, 117.01 40)"])
        try:
            for layer in (evil, f"public.{evil}"):
                columns = {"highway": f"class{evil}"}
                assert len(fc.read_roads(database, layer=layer, columns=columns)) == 1
            with pytest.raises(MissingInputError, match="no table"):
                fc.read_roads(database, layer="Roads; DROP TABLE victim")
            assert connection.execute("SELECT count(*) FROM victim").fetchone() == (0,)
        finally:
            connection.execute(SQL("DROP TABLE victim, {}").format(table))


def test_postgis_without_its_packages(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(ImportError, match=r"facility-coverage\[postgis\]") as caught:
        fc.read_roads("postgresql://planner:s3cret@localhost/county")
    assert "s3cret" not in str(caught.value)


def test_units_from_postgis(database):
    import psycopg  # noqa: PLC0415 - optional

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            'CREATE TABLE "村界" ("区划代码" text PRIMARY KEY, "村名" text, "常住人口" text, '
            "geom geometry(Polygon, 4490))"
        )
        connection.execute(
            "INSERT INTO \"村界\" VALUES ('130824100201', '甲村', '800', "
            "ST_MakeEnvelope(117, 40, 117.01, 40.01, 4490)), ('130824100202', '乙村', '约700人', "
            "ST_MakeEnvelope(117.01, 40, 117.02, 40.01, 4490))"
        )
        try:
            units = fc.read_units(database, layer="村界")
        finally:
            connection.execute('DROP TABLE "村界"')
    assert units["residents"].tolist() == [800, 700]
    assert units.crs.to_epsg() == 4490
    told = fc.intake_report(units).table
    assert told.loc[told["code"] == "number.approximate", "file"].tolist() == ["村界"]


@pytest.fixture(scope="module")
def sample():
    county, plan = fc.sample_county(), fc.load_plan("luanping-2025")
    units = fc.read_units(county.units)
    facilities = fc.read_facilities(county.facilities, units=units)
    roads = fc.read_roads(county.roads)
    report = fc.assess(units, facilities, fc.travel_times(units, facilities, roads, plan), plan)
    return report, fc.propose_projects(report, roads)


SCHEMA = "成果_2025"


def test_a_report_is_written(database, sample):
    """Read back with psycopg alone, which knows nothing of what wrote it."""
    import psycopg  # noqa: PLC0415 - optional
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415

    report, projects = sample
    names = fc.write_postgis(report, projects, database, schema=SCHEMA)
    tables = {
        "units": report.units,
        "demand": report.demand,
        "facilities": report.facilities,
        "verdicts": report.verdicts,
        "rates": report.rates,
        "projects": projects,
    }
    assert names == tuple(f"{SCHEMA}.{name}" for name in tables)
    with psycopg.connect(database, autocommit=True) as connection:

        def ask(question, name, *columns):
            words = SQL(question).format(*map(Identifier, columns), table=Identifier(SCHEMA, name))
            return connection.execute(words).fetchall()

        for name, table in tables.items():
            assert ask("SELECT count(*) FROM {table}", name) == [(len(table),)]
            for column in table.columns.drop("geometry", errors="ignore"):
                known = int((table[column].notna() & (table[column] != "")).sum())
                count = "SELECT count(nullif({}::text, '')) FROM {table}"
                assert ask(count, name, column) == [(known,)], (name, column)
        told = "SELECT obj_description(to_regclass(quote_ident(%s) || '.units'))"
        ((comment,),) = connection.execute(told, [SCHEMA]).fetchall()
        assert comment.startswith(f"{report.stamp}; {report.plan.name_zh}; ")
        covered = "SELECT sum(covered) FROM {table} WHERE kind = 'comprehensive_service'"
        rates = report.rates.query("kind == 'comprehensive_service'")
        assert ask(covered, "rates") == [(pytest.approx(rates["covered"].sum()),)]
        keys = connection.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND connamespace = "
            "to_regnamespace(quote_ident(%s))",
            [SCHEMA],
        ).fetchone()
        assert keys[0] >= 4
    units = fc.read_units(database, layer=f"{SCHEMA}.units")
    ours = report.units.set_index("unit_code").loc[units["unit_code"]]
    assert units.crs == report.units.crs
    assert (
        gpd.GeoSeries(units.geometry.to_numpy())
        .geom_equals_exact(gpd.GeoSeries(ours.geometry.to_numpy()), 0)
        .all()
    )
    pd.testing.assert_series_equal(
        units["residents"], ours["residents"].reset_index(drop=True), check_dtype=False
    )


def test_what_is_there_stays_unless_it_is_to_be_replaced(database, sample):
    import psycopg  # noqa: PLC0415 - optional
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415

    report, projects = sample
    fc.write_postgis(report, projects, database, schema="again")
    with pytest.raises(OutputError, match=r"again has demand, .*replace=True.*another schema="):
        fc.write_postgis(report, projects.head(1), database, schema="again")
    with psycopg.connect(database, autocommit=True) as connection:

        def count(table):
            counted = SQL("SELECT count(*) FROM {}").format(Identifier("again", table))
            return connection.execute(counted).fetchone()[0]

        assert count("projects") == len(projects)
        fc.write_postgis(report, projects.head(1), database, schema="again", replace=True)
        assert (count("projects"), count("units")) == (1, len(report.units))
        fc.write_postgis(report, projects.head(0), database, schema="again", replace=True)
        assert count("projects") == 0
        # Somebody's view rests on the last table: nothing of a new result is left either.
        connection.execute("CREATE VIEW again.mine AS SELECT * FROM again.projects")
        fewer = replace(report, units=report.units.head(5))
        with pytest.raises(OutputError, match=r"cannot be written.*depend") as caught:
            fc.write_postgis(fewer, projects, database, schema="again", replace=True)
        assert PASSWORD not in str(caught.value)
        assert count("units") == len(report.units)


def test_what_cannot_be_written_is_said(database, sample, postgis):
    report, projects = sample
    grid = pyproj.CRS("+proj=tmerc +lon_0=117.3 +x_0=500000 +ellps=GRS80 +units=m")
    odd = replace(report, units=report.units.to_crs(grid))
    with pytest.raises(OutputError, match=r"units: its CRS .* has no EPSG code"):
        fc.write_postgis(odd, projects, database, schema="odd")
    nowhere = report.units.assign(geometry=gpd.GeoSeries([None] * 213, crs=4326))
    with pytest.raises(OutputError, match="units: no row has a place"):
        fc.write_postgis(replace(report, units=nowhere), projects, database, schema="odd")
    for schema in ("", "县" * 30, "a b", 'a"; DROP SCHEMA public; --'):
        with pytest.raises(OutputError, match="letters, digits and underscores, 63 bytes"):
            fc.write_postgis(report, projects, database, schema=schema)
    with pytest.raises(OutputError, match="projects: column 'a\"b'"):
        fc.write_postgis(report, projects.assign(**{'a"b': 1}), database, schema="odd")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        fc.write_postgis(report, projects, postgis.replace("planner:", "planner:wrong"))
    assert PASSWORD not in str(caught.value)


def test_writing_without_geoalchemy(database, sample, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "geoalchemy2", None)
    with pytest.raises(ImportError, match=r"facility-coverage\[postgis\]"):
        fc.write_postgis(*sample, database, schema="without")
