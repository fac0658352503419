"""Every example in the docstrings runs, on the package as it is installed.

Not by ``pytest --doctest-modules src``: that would import the folder as a package named
``coverage`` and shadow coverage.py.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import facility_coverage

MODULES = [
    importlib.import_module(f"facility_coverage.{info.name}")
    for info in pkgutil.iter_modules(facility_coverage.__path__)
    if info.name not in {"__main__", "data"}
]
# Whole lines of the library, which other tests run too.
SLOW = {"sensitivity", "reassess", "cost_frontier", "annual_tasks", "write_briefing", "compare"}


def _is_slow(example):
    return example.name.rsplit(".", 1)[-1] in SLOW


EXAMPLES = [
    pytest.param(example, id=example.name, marks=[pytest.mark.slow] if _is_slow(example) else [])
    for module in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(module)
    if example.examples
]
SAMPLE = set(vars(facility_coverage.sample_county()).values())
READ: dict = {}


def test_the_public_functions_have_examples():
    named = {param.id.rsplit(".", 1)[-1] for param in EXAMPLES}
    functions = {
        name
        for name in facility_coverage.__all__
        if name[0].islower()
        and name not in {"check_county", "run_county", "nearest_facility", "spread_demand"}
    }
    assert functions - named <= {"intake_report", "project_summary"}


@pytest.fixture(autouse=True)
def sample_read_once(monkeypatch):
    """Most examples begin by reading the sample's files: they are read once for all."""

    def once(read):
        def reader(*given, **options):
            if len(given) > 1 or options or given[0] not in SAMPLE:
                return read(*given, **options)
            kept = READ.setdefault((read.__name__, given[0]), None)
            if kept is None:
                kept = READ[read.__name__, given[0]] = read(*given)
            return kept.copy() if hasattr(kept, "copy") else kept

        return reader

    for name in ("read_units", "read_facilities", "read_roads"):
        monkeypatch.setattr(facility_coverage, name, once(getattr(facility_coverage, name)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
