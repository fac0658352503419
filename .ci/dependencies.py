# ruff: noqa: INP001
"""List what is installed with the library, under which licence, and audit it where pip-audit is.

``python .ci/dependencies.py`` prints names, versions and licences of the library's dependencies and
of theirs; its exit code is pip-audit's, and 0 where that is not installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec

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


def main() -> int:
    """Print the list; audit it where that can be done."""
    packages = installed(ROOT)
    if not packages:
        sys.stderr.write(f"{ROOT} is not installed: python -m pip install .\n")
        return 1
    for name, package in sorted(packages.items()):
        sys.stdout.write(f"{name:<28} {package.version:<16} {licence(package)}\n")
    sys.stdout.flush()
    if find_spec("pip_audit") is None:
        sys.stderr.write("not audited: python -m pip install pip-audit, and run this again\n")
        return 0
    return subprocess.run([sys.executable, "-m", "pip_audit", "--local"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
