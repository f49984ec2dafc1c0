"""Which of a model's versions are served."""

from __future__ import annotations

from collections.abc import Collection

from inferd.core.settings import Versions


def selected(known: Collection[int], versions: Versions) -> tuple[int, ...]:
    """The versions to serve of those that are known, in ascending order.

    Raises `ValueError` if a version asked for by number is not known.
    """
    ordered = tuple(sorted(known))
    if versions == "all":
        return ordered
    if versions == "latest":
        return ordered[-1:]
    asked = sorted(set(versions))
    missing = [str(version) for version in asked if version not in known]
    if missing:
        there = ", ".join(str(version) for version in ordered) or "none"
        raise ValueError(f"version {', '.join(missing)} is asked for and not there; there: {there}")
    return tuple(asked)
