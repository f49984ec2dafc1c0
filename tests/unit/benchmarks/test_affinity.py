"""Two cores are told to be threads of one physical core or not, or nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from affinity import siblings


@pytest.mark.parametrize(
    ("text", "kin"), [("0-1\n", True), ("0,1\n", True), ("0\n", False), ("0,2\n", False)]
)
def test_the_kernels_list_is_read(tmp_path: Path, text: str, kin: bool) -> None:  # noqa: FBT001
    """The kernel writes ranges as well as single cores."""
    file = tmp_path / "cpu0" / "topology" / "thread_siblings_list"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert siblings(0, 1, tmp_path) is kin


def test_a_machine_that_tells_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    """Containers may hide the topology."""
    assert siblings(0, 1, tmp_path) is None
