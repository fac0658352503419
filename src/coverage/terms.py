"""One catalogue of terms, Chinese and English, for everything a planner sees."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["LANGUAGES", "facility_kinds", "label", "labels"]

LANGUAGES = ("zh", "en")


@cache
def _catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    merged: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in sorted(files("facility_coverage.presets").iterdir(), key=lambda path: path.name):
        if entry.name.endswith("terms.toml"):
            for group, terms in tomllib.loads(entry.read_text(encoding="utf-8")).items():
                merged.setdefault(group, {}).update(terms)
    return merged


def _check_language(lang: str) -> None:
    if lang not in LANGUAGES:
        raise ValueError(f"lang must be one of {', '.join(LANGUAGES)}, not {lang!r}")


def label(group: str, key: Any, lang: str = "zh") -> str:
    """Give the words for a key, or the key itself where the catalogue has none.

    Parameters
    ----------
    group : str
        The group of terms: ``"kind"``, ``"state"``, ``"reason"``, ``"mode"``, ….
    key : str
        The English slug used in tables. A missing value gives ``"—"``.
    lang : {"zh", "en"}
        Language of the words.

    Examples
    --------
    >>> label("kind", "clinic"), label("kind", "clinic", lang="en")
    ('卫生室（站）', 'clinic')
    """
    _check_language(lang)
    if key is None or key != key or key == "":  # noqa: PLR0124 - NaN is the one value unlike itself
        return "—" if group != "reason" else ""
    return str(_catalogue().get(group, {}).get(str(key), {}).get(lang, key))


def labels(group: str, lang: str = "zh") -> dict[str, str]:
    """Give a whole group as ``{key: words}``.

    Examples
    --------
    >>> labels("state", lang="en")["unknown"]
    'cannot tell'
    """
    _check_language(lang)
    return {key: words[lang] for key, words in _catalogue().get(group, {}).items()}


def facility_kinds(lang: str = "zh") -> dict[str, str]:
    """Give the kinds a facility can be of as ``{key: words}``: no circles of several kinds.

    Examples
    --------
    >>> "clinic" in facility_kinds(), "convenience_circle" in facility_kinds()
    (True, False)
    """
    _check_language(lang)
    return {
        key: words[lang]
        for key, words in _catalogue()["kind"].items()
        if words.get("facility", True)
    }
