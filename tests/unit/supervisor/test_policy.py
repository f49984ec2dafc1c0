"""Which versions are served."""

from __future__ import annotations

import pytest

from inferd.core.settings import Versions
from inferd.server.supervisor.versions.policy import selected


@pytest.mark.parametrize(
    ("versions", "expected"),
    [("latest", (10,)), ("all", (1, 2, 10)), ((1,), (1,)), ((10, 2, 10), (2, 10))],
)
def test_versions_are_selected(versions: Versions, expected: tuple[int, ...]) -> None:
    """The latest is the largest number; named ones come once and in order."""
    assert selected([2, 10, 1], versions) == expected


def test_nothing_comes_of_nothing() -> None:
    """A model without versions has none to serve."""
    assert selected([], "latest") == selected([], "all") == ()


def test_a_version_that_is_not_there_is_told() -> None:
    """With what is there."""
    with pytest.raises(ValueError, match="version 3, 7 is asked for and not there; there: 1, 2"):
        selected([1, 2], (1, 3, 7))
