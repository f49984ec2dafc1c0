"""The nearest valid name for one that is not, for messages to people."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 64
"""Characters of an unknown name that are compared; it may come from anywhere."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that names the nearest of `known`; empty if none is near."""
    close = get_close_matches(name[:_LONGEST], list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
