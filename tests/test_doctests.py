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
EXAMPLES = [
    pytest.param(example, id=example.name)
    for module in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(module)
    if example.examples
]


def test_the_public_functions_have_examples():
    named = {param.id.rsplit(".", 1)[-1] for param in EXAMPLES}
    functions = {
        name
        for name in facility_coverage.__all__
        if name[0].islower()
        and name not in {"check_county", "run_county", "nearest_facility", "spread_demand"}
    }
    assert functions - named <= {"intake_report", "project_summary"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
