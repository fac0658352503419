"""The command: ``facility-coverage demo``, ``facility-coverage run county.toml``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CoverageError

if TYPE_CHECKING:
    from .county import County, CountyRun

_STEP_WORDS = {
    "units": ("读取村和社区", "villages and communities"),
    "demand": ("读取自然村", "where people live"),
    "facilities": ("读取设施台账", "facilities"),
    "roads": ("读取道路", "roads"),
    "travel_times": ("计算出行时间", "travel times"),
    "assess": ("评估覆盖", "verdicts and rates"),
    "projects": ("补短板工程", "shortfall projects"),
    "isochrones": ("绘制等时圈", "isochrones"),
    "map": ("绘制地图", "map"),
    "workbook": ("写入工作簿", "workbook"),
    "manifest": ("写入清单", "manifest"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code: 0 done, 1 refused (with the reason), 2 misused."""
    parser = argparse.ArgumentParser(
        prog="facility-coverage",
        description="Who reaches which public facility in fifteen minutes, and what to build next.",
    )
    parser.add_argument("--version", action="version", version=version("facility-coverage"))
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run the shipped sample county")
    demo.add_argument(
        "--out", type=Path, default=Path("facility-coverage-demo"), help="folder to write to"
    )
    demo.add_argument("--lang", choices=["zh", "en"], default="zh", help="language of the outputs")
    run = commands.add_parser("run", help="run a county from its TOML file")
    run.add_argument("county", type=Path, help="the county's TOML file")
    run.add_argument(
        "--out", type=Path, default=None, help="folder to write to, instead of the file's"
    )
    run.add_argument(
        "--lang", choices=["zh", "en"], default=None, help="language, instead of the file's"
    )
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a console in another encoding must not stop a run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        _run(_county(given))
    except CoverageError as fault:
        print(f"facility-coverage: {fault}", file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"facility-coverage: cannot read or write: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("facility-coverage: stopped; no half-written file was left", file=sys.stderr)
        return 130
    return 0


def _county(given: argparse.Namespace) -> County:
    from .county import read_county, sample_as_county  # noqa: PLC0415 - --help need not wait for it

    if given.command == "demo":
        return sample_as_county(out=given.out, lang=given.lang)
    county = read_county(given.county)
    changes = {
        name: value for name in ("out", "lang") if (value := getattr(given, name)) is not None
    }
    return replace(county, **changes)


def _run(county: County) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from .county import STEPS, run_county  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(highlight=False, width=140)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=len(STEPS))

        def progress(step: str) -> None:
            words = _STEP_WORDS[step][county.lang == "en"]
            bar.update(task, description=words, completed=STEPS.index(step))

        done = run_county(county, progress=progress)
    _print_summary(console, county, done)


def _print_summary(console: object, county: County, done: CountyRun) -> None:
    """Print rates against targets, the projects and the paths written."""
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from .projects import project_summary  # noqa: PLC0415
    from .terms import label  # noqa: PLC0415

    lang, report = county.lang, done.report
    table = Table(title=escape(f"{county.name}　{report.stamp}"), box=SIMPLE, title_style="bold")
    for name in ("kind", "setting", "basis", "covered", "total", "share", "target", "verdict"):
        right = name in {"covered", "total", "share", "target"}
        table.add_column(
            label("column", name, lang), justify="right" if right else "left", no_wrap=right
        )
    table.add_column(label("column", "missing", lang), justify="right", no_wrap=True)
    shown = report.rates[report.rates["measure"] == "units"]
    if shown["target"].notna().any():
        shown = shown[shown["target"].notna()]
    for row in shown.itertuples():
        judged = row.target == row.target
        verdict = ("met" if row.missing <= 0 else "not_met") if judged else "cannot_tell"
        table.add_row(
            label("kind", row.kind, lang),
            label("setting", row.setting, lang),
            label("basis", row.basis, lang),
            f"{row.covered:,.0f}",
            f"{row.total:,.0f}",
            f"{row.share:.1%}" if row.share == row.share else "—",
            f"{row.target:.0%}" if judged else "—",
            label("verdict", verdict, lang),
            f"{row.missing:,.0f}" if judged else "—",
        )
    console.print(table)  # type: ignore[attr-defined]
    for row in project_summary(done.projects, report).itertuples():
        colon, comma = ("：", "，") if lang == "zh" else (": ", ", ")
        words = comma.join(
            f"{label('column', name, lang)} {getattr(row, name)}"
            for name in ("units_needed", "quota")
        )
        words = f"{label('project', row.project, lang)}{colon}{words}"
        console.print(escape(words))  # type: ignore[attr-defined]
    for path in done.outputs.values():
        console.print(f"→ {escape(str(path))}", soft_wrap=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
