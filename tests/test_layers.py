"""Imports point one way: a module imports only from lines above its own."""

from __future__ import annotations

import ast
from pathlib import Path

import facility_coverage

SOURCE = Path(facility_coverage.__file__).parent
LAYERS = [
    {"errors"},
    {"limits"},
    {
        "covering",
        "datums",
        "files",
        "linework",
        "modes",
        "noding",
        "postgis",
        "rasters",
        "terms",
        "tomlfile",
    },
    {"intake", "siting", "page", "worksheets"},
    {"boundaries", "exports", "identity", "layers", "quantities"},
    {"coordinates", "schema", "sheets", "standards", "graphs"},
    {"network", "osm", "sample", "units", "facilities", "population", "plans"},
    {"snapping", "prepared", "conditions"},
    {"roads", "demand", "search", "datum_detection", "links"},
    {"travel", "journeys", "download", "checking", "partition"},
    {"isochrones", "verdicts"},
    {"ledger", "rates", "indicators"},
    {"assessment"},
    {"sensitivity", "shortfalls", "capacity", "fragility", "scenarios", "evidence"},
    {"candidates", "monitoring", "works"},
    {"projects"},
    {"maps", "workbook"},
    {"pictures", "province"},
    {"briefing"},
    {"story"},
    {"story_map"},
    {"explain"},
    {"county"},
    {"counties"},
    {"batch"},
    {"verify"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def runtime_imports(path):
    """Give the sibling modules a file imports when it runs (type checking aside)."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    # An import inside a function runs when it is called, and may look down: graphs know networks.
    for node in tree.body:
        for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
            if (
                isinstance(inner, ast.ImportFrom)
                and inner.level == 1
                and id(inner) not in typing_only
            ):
                yield inner.module


def test_every_module_has_a_layer():
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert modules == set(LEVEL)


def test_imports_point_one_way():
    for path in SOURCE.glob("*.py"):
        if path.stem == "__init__":
            continue
        for module in runtime_imports(path):
            assert LEVEL[module] < LEVEL[path.stem], f"{path.stem} imports {module}"


def test_everything_exported_is_there_and_documented():
    for name in facility_coverage.__all__:
        value = getattr(facility_coverage, name)
        assert name == "MODES" or (value.__doc__ or "").strip(), name
