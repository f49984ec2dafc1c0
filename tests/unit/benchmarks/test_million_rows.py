"""The look through a job's output finds what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import million_rows
import numpy as np
import pytest

ROWS = 40


def look(folder: Path, numbers: list[int], change: int | None = None) -> bool:
    """What is said of an output with these rows; the answer at `change` is another row's."""
    million_rows._write_rows(folder / "rows.npy", ROWS)
    given = np.load(folder / "rows.npy")
    answers = million_rows.FACTOR * given[np.array(numbers) - 1]
    if change is not None:
        answers[change] += 1
    np.savez(folder / "answers.npz", row=np.array(numbers), output=answers)
    return million_rows._look_through(folder / "answers.npz", ROWS)


@pytest.mark.parametrize(
    ("numbers", "change", "said"),
    [
        ([1, *range(3, ROWS + 1)], None, "1 missing, 0 doubled"),
        ([1, 1, *range(2, ROWS + 1)], None, "0 missing, 1 doubled"),
        ([2, 1, *range(3, ROWS + 1)], None, "1 out of order, 2 with another answer"),
        (list(range(1, ROWS + 1)), 7, "0 out of order, 1 with another answer"),
    ],
)
def test_one_bad_row_is_enough(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numbers: list[int],
    change: int | None,
    said: str,
) -> None:
    """Missing, doubled, out of order or with the answer of another one."""
    assert not look(tmp_path, numbers, change)
    assert said in capsys.readouterr().out


def test_a_good_output_is_good(tmp_path: Path) -> None:
    """Each row once, in order, with its answer; and one that is not there is not good."""
    assert not million_rows._look_through(tmp_path / "answers.npz", ROWS)
    assert look(tmp_path, list(range(1, ROWS + 1)))
