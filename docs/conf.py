"""How Sphinx builds these pages: offline, from docstrings, presets and notebooks as stored."""

# ruff: noqa: INP001 - Sphinx imports this file by its path
from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import facility_coverage as fc
from facility_coverage.terms import labels

HERE = Path(__file__).parent

project = "facility-coverage"
author = "the facility-coverage authors"
copyright = "the facility-coverage authors, BSD-3-Clause"  # noqa: A001 - Sphinx names it so
version = release = fc.__version__
language = "zh_CN"
html_search_language = "en"  # that for Chinese needs a further package; phrases are found

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["_build"]
default_role = "code"

add_module_names = False
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings name the types, with units
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are shown as they are stored
nb_ipywidgets_js = {}  # nothing is loaded from a network

html_math_renderer = "mathml"  # see `setup`: browsers draw it, with no script

html_theme = "furo"
html_title = f"facility-coverage {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def _both(*words: str) -> str:
    """Give terms, each by group and key, in Chinese and, beneath, English."""
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return "<br>".join(
        comma.join(fc.label(*pair, lang=lang) for pair in pairs)
        for lang, comma in (("zh", "，"), ("en", ", "))
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    lines = [list(header)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _way(way: fc.Alternative) -> str:
    """Give one way to pass a standard, e.g. ``步行 walking 20 min``."""
    if way.minutes is not None:
        limit = f"{way.minutes:g} min"
    else:
        measure = "直线 straight" if way.measure == "straight" else "沿路 by road"
        limit = f"{way.metres:g} m {measure}"
    return f"{fc.label('mode', way.mode)} {fc.label('mode', way.mode, lang='en')} {limit}"


def _asks(standard: fc.Standard) -> str:
    """Give what else a standard asks: size, hours, its target."""
    asked = {
        "≥ {:g} m²": standard.min_floor_area_m2,
        "≥ {:g} h/d": standard.min_hours_per_day,
        "≥ {:g} m²/100 户 households": standard.capacity_m2_per_100_households,
    }
    words = [words.format(value) for words, value in asked.items() if value is not None]
    if standard.target_share is not None:
        words.append(f"目标 target {standard.target_share:.0%}")
    return "<br>".join(words) or "—"


def standards_table(name: str) -> str:
    """Write the standards of a plan shipped, each with its source."""
    header = ("设施 facility", "任一 any of", "另须 also", "来源 source")
    rows = (
        (
            _both("kind", standard.kind, "setting", standard.setting),
            "<br>".join(_way(way) for way in standard.alternatives),
            _asks(standard),
            f"{standard.source}<br>核对 read: {'是 yes' if standard.verified else '否 no'}",
        )
        for standard in fc.load_plan(name).standards
    )
    return _table(header, rows)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "—"
    return f"{value:.0%}" if unit == "share" else f"{value:g} {unit}"


def indicators_table(name: str) -> str:
    """Write the indicators and promises of a plan shipped, each with its source."""
    plan = fc.load_plan(name)
    header = ("号 no.", "指标 indicator", "基础值 baseline", "目标 target", "来源 source")
    rows = (
        (
            str(line.number),
            f"{line.name_zh}<br>{line.name_en}",
            _figure(line.baseline, line.unit),
            _figure(line.target, line.unit),
            line.source,
        )
        for line in (*plan.indicators, *plan.promises)
    )
    return _table(header, rows)


def modes_table() -> str:
    """Write the modes of travel, their speeds and sources."""
    header = ("出行方式 mode", "km/h", "其中 by road class", "来源 source")
    rows = (
        (
            f"`{name}` {fc.label('mode', name)}",
            f"{mode.speed_kph:g}",
            "，".join(f"{road} {speed:g}" for road, speed in mode.speeds_kph.items()) or "—",
            mode.source,
        )
        for name, mode in fc.MODES.items()
    )
    return _table(header, rows)


def definitions_table() -> str:
    """Write the definitions that stand on every workbook."""
    header = ("术语 term", "定义 definition")
    rows = (
        (_both("method", key), _both("definition", key))
        for key in ("ledger", "reachable", "unknown", "met")
    )
    return _table(header, rows)


def terms_table(group: str) -> str:
    """Write one group of the catalogue of terms."""
    rows = ((f"`{key}`", words, labels(group, "en")[key]) for key, words in labels(group).items())
    return _table(("名称 name", "中文", "English"), rows)


TABLES = {
    "standards": standards_table,
    "indicators": indicators_table,
    "modes": modes_table,
    "definitions": definitions_table,
    "terms": terms_table,
}


def fill_tables(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Put tables where a page asks for them: ``<!-- table: standards luanping-2025 -->``."""
    source[0] = re.sub(
        r"^<!-- table: (\w+) ?(\S*) -->$",
        lambda found: TABLES[found[1]](*found[2].split()),
        source[0],
        flags=re.MULTILINE,
    )


def add_overview(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a list of its names at the head of each page of the reference."""
    names = re.findall(r"^\.\. auto\w+:: (\w+)$", source[0], flags=re.MULTILINE)
    if docname.startswith("api/") and names:
        module = ".. currentmodule:: facility_coverage\n"
        overview = "\n   ".join([".. autosummary::", "", *names])
        source[0] = source[0].replace(module, f"{module}\n{overview}\n")


def copy_notebooks(_app: Sphinx) -> None:
    """Copy the notebooks where Sphinx looks; they are not run."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)  # one since renamed would stay
    shutil.copytree(HERE.parent / "notebooks", target, ignore=shutil.ignore_patterns(".*"))


def link_names(*event: Any) -> None:
    """Link the public names that stand in docstrings, and number their references.

    Other words in backticks are code. References become a list: two docstrings on one page may
    both have a first one, and not every one is cited.
    """
    _, _, name, _, _, lines = event
    for number, given in enumerate(lines):
        line = re.sub(r"^\.\. \[(\d+)\] ", r"\1. ", given)
        line = re.sub(r"\[(\d+)\]_", r"[\1]", line)
        lines[number] = re.sub(
            r"(?<![`:])`(\w+)`(?!`)",
            lambda found: (
                f":py:obj:`{found[1]} <facility_coverage.{found[1]}>`"
                if found[1] in fc.__all__ and found[1] != name.rpartition(".")[2]
                else found[0]
            ),
            line,
        )


def skip_fields(*event: Any) -> bool:
    """Leave out the fields of a dataclass: the class's docstring has them."""
    _, what, _, member, skip, _ = event
    shown = inspect.isroutine(member) or isinstance(member, property | cached_property)
    return skip or (what == "class" and not shown)


def write_mathml(writer: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML."""
    writer.body.append(
        latex2mathml.tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the steps above."""
    app.add_html_math_renderer("mathml", (write_mathml, None), (write_mathml, None))
    app.connect("builder-inited", copy_notebooks)
    app.connect("source-read", fill_tables)
    app.connect("source-read", add_overview)
    app.connect("autodoc-process-docstring", link_names, priority=900)
    app.connect("autodoc-skip-member", skip_fields)
