"""The catalogue of findings: whole, in both languages, and the same as what the code says."""

from __future__ import annotations

import ast
from pathlib import Path
from string import Formatter

import pytest

import facility_coverage as fc
from facility_coverage.errors import Finding, InputError
from facility_coverage.intake import catalogue

SOURCE = Path(fc.__file__).parent
LANGUAGES = ("zh", "en")


def words(text):
    """Give the words in braces, and with a language's ending as one."""
    names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    return {name.removesuffix("_zh").removesuffix("_en") for name in names}, names


@pytest.mark.parametrize("code", sorted(catalogue()))
def test_every_rule_is_whole_in_both_languages(code):
    rule = catalogue()[code]
    assert rule["severity"] in {"error", "warning", "note"}
    assert rule["effect"] in {"set_aside", "no_data", "unknown", "changed", "kept"}
    used = {}
    for lang in LANGUAGES:
        assert rule["rule"][lang].strip()
        assert rule["cure"][lang].strip()
        used[lang], exact = words(rule["rule"][lang] + rule["cure"][lang])
        other = "en" if lang == "zh" else "zh"
        assert not {name for name in exact if name.endswith(f"_{other}")}
    assert used["zh"] == used["en"]


def said_codes():
    """Give what is passed as a code, as (file, text, whether only its beginning is known)."""
    for path in sorted(SOURCE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            by_name = isinstance(called, ast.Name) and called.id == "finding"
            method = isinstance(called, ast.Attribute) and called.attr in {"at", "whole", "note"}
            if not (by_name or method):
                continue
            code = node.args[0]
            for choice in (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,):
                if isinstance(choice, ast.Constant) and isinstance(choice.value, str):
                    yield path.name, choice.value, False
                elif isinstance(choice, ast.JoinedStr) and isinstance(
                    choice.values[0], ast.Constant
                ):
                    yield path.name, choice.values[0].value, True


def test_every_code_that_is_said_is_in_the_catalogue():
    said = list(said_codes())
    assert len(said) > 50
    for file, text, begins in said:
        known = (
            any(code.startswith(text) for code in catalogue()) if begins else text in catalogue()
        )
        assert known, f"{file} says {text}"


def test_every_rule_of_the_catalogue_is_said():
    nodes = [
        node
        for path in SOURCE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    whole = {node.value for node in nodes if isinstance(node, ast.Constant)}
    # Some are put together, of a group and what is wrong in it.
    firsts = [node.values[0] for node in nodes if isinstance(node, ast.JoinedStr) and node.values]
    begins = tuple(
        each.value for each in firsts if isinstance(each, ast.Constant) and "." in each.value
    )
    unsaid = [code for code in catalogue() if code not in whole and not code.startswith(begins)]
    assert not unsaid


def test_findings_stored_without_codes_still_open(tmp_path):
    roads = fc.read_roads(fc.sample_county().roads)
    old = {"severity": "note", "rule": "a rule", "cure": "a cure", "file": "old", "sheet": ""}
    old |= {"row": 3, "field": "", "value": ""}
    stored = type(roads)(roads.edges, roads.nodes, source="old", findings=(old,))
    again = fc.read_roads(stored.save(tmp_path / "old.parquet"))
    report = fc.intake_report(again)
    assert report.summary("zh")["rule"].tolist() == ["a rule"]
    assert "a rule → a cure" in report.text("zh")


def test_many_rows_that_break_one_rule_are_one_line():
    one = Finding("error", "a: rule", "a cure", "f.csv", field="kind", row=7, value="x")
    many = [Finding("error", "the kind", "say it", "f.csv", field="kind", row=n) for n in range(9)]
    told = str(InputError("10 faults", [*many, one]))
    assert "f.csv, field kind, rows 0, 1, 2, 3, 4, … (9 in all): the kind → say it" in told
    assert "f.csv, row 7, field kind, value 'x': a: rule → a cure" in told
    assert len(told.splitlines()) == 3
    different = [Finding("error", f"rule {n}", "c", "f.csv", row=n) for n in range(30)]
    told = str(InputError("30 faults", different))
    assert len(told.splitlines()) == 22
    assert told.endswith("… and 10 more (see .findings)")
