"""The command: ``demo``, ``run county.toml``, ``check FILE…``, ``verify DIR``, ``new-plan``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CoverageError, IntakeWarning
from .files import write_beside
from .plans import plan_names, plan_template

if TYPE_CHECKING:
    from rich.console import Console

    from .county import County, CountyRun

_LONGEST_SHOWN = 40
ROLES = ("units", "demand", "facilities", "roads")

_STEP_WORDS = {
    "units": ("读取村和社区", "villages and communities"),
    "demand": ("读取自然村", "where people live"),
    "facilities": ("读取设施台账", "facilities"),
    "roads": ("读取道路", "roads"),
    "travel_times": ("计算出行时间", "travel times"),
    "assess": ("评估覆盖", "verdicts and rates"),
    "projects": ("补短板工程", "shortfall projects"),
    "after": ("项目完成后", "the county after them"),
    "isochrones": ("绘制等时圈", "isochrones"),
    "map": ("绘制地图", "map"),
    "workbook": ("写入工作簿", "workbook"),
    "briefing": ("编写简报", "briefing"),
    "manifest": ("写入清单", "manifest"),
}

_NEW_PLAN = """Write a plan file that explains every key, or with --from a copy of a plan shipped.
Edit it, then name it in the county file (plan = "plan.toml"). No file is overwritten."""


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
    check = commands.add_parser(
        "check", help="read files as a run would and list what is wrong with them"
    )
    check.add_argument(
        "files", type=Path, nargs="+", help="units, facilities, roads, …; or a county's TOML file"
    )
    check.add_argument("--as", dest="role", choices=ROLES, help="what the files are")
    check.add_argument("--kind", help="the kind of the facilities, e.g. clinic")
    check.add_argument("--datum", help="of coordinates: cgcs2000, gcj02, bd09, EPSG:4548, …")
    check.add_argument("--out", type=Path, help="also write the report as an Excel workbook")
    check.add_argument("--lang", choices=["zh", "en"], default="zh", help="language of the report")
    again = commands.add_parser(
        "verify", help="run a county or a province again and say what differs from its outputs"
    )
    again.add_argument("folder", type=Path, help="outputs of an earlier run")
    again.add_argument(
        "--county", type=Path, help="the county's TOML file, or the province's table, if moved"
    )
    new = commands.add_parser(
        "new-plan", help="write a plan file to begin with", description=_NEW_PLAN
    )
    new.add_argument("--out", type=Path, default=Path("plan.toml"), help="file to write")
    new.add_argument(
        "--from", dest="preset", choices=plan_names(), help="copy a plan shipped, not the template"
    )
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a console in another encoding must not stop a run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        if given.command == "check":
            return _check(given)
        if given.command == "verify":
            return _verify(given)
        if given.command == "new-plan":
            return _new_plan(given)
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


def _check(given: argparse.Namespace) -> int:
    """Print, and on request write, what is wrong with files; give 1 where there are errors."""
    from .checking import check_files  # noqa: PLC0415 - --help need not wait for it
    from .county import check_county, read_county  # noqa: PLC0415
    from .intake import IntakeReport  # noqa: PLC0415

    counties = [path for path in given.files if path.suffix.lower() == ".toml"]
    files = [path for path in given.files if path not in counties]
    reports = [check_county(read_county(path)) for path in counties]
    if files:
        reports.append(check_files(files, role=given.role, kind=given.kind, datum=given.datum))
    report = IntakeReport.joined(reports)
    print(report.text(given.lang))
    if given.out is not None:
        print(f"→ {report.save(given.out, lang=given.lang)}")
    return 1 if report.errors else 0


def _verify(given: argparse.Namespace) -> int:
    """Run again and print what differs; give 1 where something does."""
    from .verify import verify  # noqa: PLC0415 - --help need not wait for it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntakeWarning)
        found = verify(given.folder, county=given.county)
    for row in found.itertuples():
        print(f"{row.what}: {row.name}: {_short(row.was)} → {_short(row.now)}")
    if found.empty:
        print(f"{given.folder}: 一致 / the same")
    return 1 if len(found) else 0


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…"


def _new_plan(given: argparse.Namespace) -> int:
    """Write a plan to begin with; an older file stays as it is."""
    out: Path = given.out
    if out.suffix != ".toml":
        raise CoverageError(f"{out}: the name of a plan file ends in .toml")
    if out.exists():
        raise CoverageError(
            f"{out}: there is such a file already, and it is not overwritten; "
            "give another name with --out, or move it away"
        )
    text = plan_template(given.preset)
    write_beside(out, lambda name: Path(name).write_text(text, encoding="utf-8"))
    print(f"→ {out}")
    return 0


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(highlight=False, width=140)


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

    console = _console()
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

        with warnings.catch_warnings():  # the summary says it
            warnings.simplefilter("ignore", IntakeWarning)
            done = run_county(county, progress=progress)
    _print_summary(console, county, done)


def _print_summary(console: Console, county: County, done: CountyRun) -> None:
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
    console.print(table)
    for row in project_summary(done.projects, report).itertuples():
        colon, comma = ("：", "，") if lang == "zh" else (": ", ", ")
        words = comma.join(
            f"{label('column', name, lang)} {getattr(row, name)}"
            for name in ("units_needed", "quota")
        )
        words = f"{label('project', row.project, lang)}{colon}{words}"
        console.print(escape(words))
    aside = sum(row["set_aside"] for row in done.intake.rows)
    errors, found = len(done.intake.errors), len(done.intake)
    told = {
        "zh": f"数据核对：错误 {errors} 条，未采用 {aside} 行，共 {found} 条（见“设施台账核对”表）",
        "en": f"intake: {errors} errors, {aside} rows set aside, {found} findings (sheet Intake)",
    }
    console.print(escape(told[lang]))
    for path in done.outputs.values():
        console.print(f"→ {escape(str(path))}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
