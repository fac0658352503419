# ruff: noqa: INP001
"""List what is installed with the library, under which licence, and audit it.

``python .ci/dependencies.py`` prints names, versions and licences of the library's dependencies and
of theirs, compares the versions with ``advisories.toml``, and asks pip-audit where that is
installed. Its exit code is 1 where a fault is known. Packages that the service behind pip-audit
could not tell about are counted: without a network those are all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version

ROOT = "facility-coverage"
_LONG = 60  # characters: some packages give the whole text for the name


def licence(package: Distribution) -> str:
    """Give a package's licence, as briefly as it says it."""
    about = package.metadata
    told = about.get("License-Expression") or ""
    classed = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    stated = (about.get("License") or "").strip().partition("\n")[0]
    return (told or ", ".join(classed) or stated or "not stated")[:_LONG]


def installed(name: str) -> dict[str, Distribution]:
    """Give a package and all that it requires, as far as they are installed."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(key)
        except PackageNotFoundError:
            continue  # an extra that is not installed, or for another system
        waiting += [
            re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0] for line in found[key].requires or ()
        ]
    return found


def known(packages: Mapping[str, Distribution]) -> Iterator[str]:
    """Give faults that the list beside this file knows of."""
    listed = tomllib.loads(Path(__file__).with_name("advisories.toml").read_text("utf-8"))
    for each in listed["advisory"]:
        package = packages.get(each["package"])
        if package is not None and Version(package.version) < Version(each["fixed"]):
            yield f"{each['package']} {package.version}: {each['name']}, {each['source']}"
    sys.stdout.write(f"compared with {len(listed['advisory'])} advisories of {listed['as_of']}\n")


def audited() -> Iterator[str]:
    """Give faults that pip-audit knows of."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        answers = json.loads(told.stdout)["dependencies"]
    except ValueError:
        yield f"pip-audit did not answer: {told.stderr.strip()}"
        return
    for each in answers:
        for fault in each.get("vulns", ()):
            mended = ", ".join(fault["fix_versions"]) or "no version"
            yield f"{each['name']} {each['version']}: {fault['id']}, mended in {mended}"
    skipped = sum("skip_reason" in each for each in answers)
    sys.stdout.write(
        f"pip-audit was told about {len(answers) - skipped} of {len(answers)} packages\n"
    )


def main() -> int:
    """Print the list, then what is known against it."""
    packages = installed(ROOT)
    if not packages:
        sys.stderr.write(f"{ROOT} is not installed: python -m pip install .\n")
        return 1
    for name, package in sorted(packages.items()):
        sys.stdout.write(f"{name:<28} {package.version:<16} {licence(package)}\n")
    faults = [*known(packages)]
    if find_spec("pip_audit") is None:
        sys.stdout.write("not asked: python -m pip install pip-audit, and run this again\n")
    else:
        faults += audited()
    sys.stdout.flush()
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
