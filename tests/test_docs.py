"""The documentation names what there is, all of it, and its links lead somewhere.

Nothing is built here; ``sphinx-build -W docs build/docs`` does that.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import facility_coverage as fc
from facility_coverage import batch
from facility_coverage.__main__ import main
from facility_coverage.plans import plan_names
from facility_coverage.terms import labels

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("api/*.md"), *DOCS.glob("api/*.rst")])
WRITTEN = {path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in PAGES}


def found(pattern):
    """Give what a pattern finds, as (page, match)."""
    return [
        (page, match)
        for page, text in WRITTEN.items()
        for match in re.findall(pattern, text, flags=re.MULTILINE)
    ]


def anchors(text):
    """Give what a link to a page can point at: its labels and its headings."""
    headings = re.findall(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for words in headings}
    return slugs | set(re.findall(r"^\((\S+)\)=$", text, flags=re.MULTILINE))


def test_the_reference_has_every_public_name_once():
    named = found(r"^\.\. auto(?:function|class|exception|data):: (\w+)$")
    of_batch = [name for page, name in named if Path(page).name == "province.rst"]
    assert sorted(of_batch) == sorted(batch.__all__)
    others = [name for page, name in named if Path(page).name != "province.rst"]
    assert sorted(others) == sorted(fc.__all__)


def test_links_lead_somewhere():
    links = found(r"\]\(([^)\s]+)\)")
    assert len(links) > 5
    for page, link in links:
        target, _, anchor = link.partition("#")
        path = (DOCS / page).parent / target if target else DOCS / page
        assert path.is_file(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), f"{page}: {link}"


def test_every_page_stands_in_a_table_of_contents():
    listed = set()
    for page, block in found(r"^```\{toctree\}\n((?:.+\n|\n)*?)```$"):
        entries = [line for line in block.splitlines() if line and not line.startswith(":")]
        listed |= {(Path(page).parent / entry).as_posix() for entry in entries}
    stems = {Path(page).with_suffix("").as_posix() for page in WRITTEN}
    assert listed - {"notebooks/*"} == stems - {"index"}


def test_every_name_mentioned_exists():
    names = {(page, name) for page, name in found(r"\bfc\.(\w+)") if name != "名称"}
    assert names
    assert [(page, name) for page, name in names if name not in fc.__all__] == []


def test_every_report_attribute_mentioned_exists():
    names = {name for _, name in found(r"\breport\.(\w+)")}
    known = set(dir(fc.CoverageReport)) | set(fc.CoverageReport.__dataclass_fields__)
    assert names
    assert names <= known


def test_every_command_mentioned_exists(capsys):
    lines = found(r"^facility-coverage (\S+)(.*)$")
    assert lines
    for page, (command, rest) in lines:
        with pytest.raises(SystemExit) as told:
            main([command, "--help"])
        assert told.value.code == 0, f"{page}: {command}"
        helped = capsys.readouterr().out
        for option in re.findall(r"--[\w-]+", rest.partition("#")[0]):
            assert option in helped, f"{page}: {command} {option}"


def test_plans_and_tables_asked_for_exist():
    plans = {name for _, name in found(r"load_plan\(\"([\w-]+)\"\)")}
    assert plans <= set(plan_names())
    code = (DOCS / "conf.py").read_text("utf-8")
    made = re.findall(r"^    \"(\w+)\": \w+_table,$", code, flags=re.MULTILINE)
    tables = found(r"^<!-- table: (\w+) ?(\S*) -->$")
    assert len(tables) > 5
    for page, (table, of) in tables:
        assert table in made, page
        assert not of or (labels(of) if table == "terms" else of in plan_names()), f"{page}: {of}"


def test_the_county_file_of_the_tutorial_is_read(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", WRITTEN["tutorial.md"], flags=re.DOTALL)
    for name in tomllib.loads(text)["files"].values():
        (tmp_path / name).touch()
    (tmp_path / "county.toml").write_text(text, "utf-8")
    county = fc.read_county(tmp_path / "county.toml")
    assert fc.load_plan(county.plan).plan_id == "luanping-2025"


def test_the_sample_is_said_to_be_illustrative():
    for page in ("index.md", "tutorial.md"):
        assert "示例数据，非测绘成果" in WRITTEN[page]
        assert "illustrative sample, not survey data" in " ".join(WRITTEN[page].split())
