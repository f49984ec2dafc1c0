"""How a job finds the rows to blame: which calls it makes for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from inferd.client import BulkPosition, InferenceError, Model, ServerFault, WorkerLost
from inferd.server.cli.rows.columns import match_columns
from inferd.server.cli.rows.job import FileJob
from inferd.server.cli.rows.journal import Journal
from inferd.server.cli.rows.source import open_source
from inferd.wire.signature import Axis, Signature, TensorSpec

Array = npt.NDArray[Any]

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (Axis("batch"),)),),
    (TensorSpec("y", "FP32", (Axis("batch"),)),),
    max_batch_size=8,
)


class Answers(Iterator[Any]):
    """What `Model.map` gives."""

    def __init__(self, answers: Iterator[Any]) -> None:
        self._answers = answers
        self.position = BulkPosition("token", 0)

    def __next__(self) -> Any:
        return next(self._answers)

    def close(self) -> None:
        """Nothing to close."""


class Picky:
    """A model that fails with `error` for negative rows; it counts calls of both kinds."""

    def __init__(self, error: type[InferenceError]) -> None:
        self._error = error
        self.called: list[int] = []
        self.mapped: list[int] = []

    def map(self, items: Iterable[Mapping[str, Array]], *, errors: str, **_: object) -> Answers:
        """As a bulk job answers."""
        assert errors == "return"

        def answers() -> Iterator[Any]:
            for item in items:
                self.mapped.append(len(item["x"]))
                try:
                    yield self._answer(item)
                except InferenceError as error:
                    yield error

        return Answers(answers())

    def __call__(self, item: Mapping[str, Array]) -> dict[str, Array]:
        """As an ordinary call answers."""
        self.called.append(len(item["x"]))
        return self._answer(item)

    def _answer(self, item: Mapping[str, Array]) -> dict[str, Array]:
        if (item["x"] < 0).any():
            raise self._error("a negative number")
        return {"y": 2 * item["x"]}


@pytest.mark.parametrize("kind", [ServerFault, WorkerLost])
def test_rows_to_blame_are_found_by_halves(tmp_path: Path, kind: type[InferenceError]) -> None:
    """As part of the job, so that other requests go first; by single calls where a worker dies of it."""
    given = np.arange(16, dtype=np.float32)
    given[[5, 6]] = -1
    np.savez(tmp_path / "rows.npz", x=given)
    source = open_source(tmp_path / "rows.npz")
    model = Picky(kind)
    journal = Journal(tmp_path / "answers.npz", {})
    FileJob(
        cast("Model", model),
        source,
        match_columns(SIGNATURE, "m", source.columns, {}),
        journal,
        in_flight=4,
        patience=1.0,
        advanced=lambda _: None,
    ).run()
    asked = [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]
    assert (model.mapped, model.called) == (
        ([16], asked) if kind is WorkerLost else ([16, *asked], [])
    )
    assert (journal.state.answered, journal.state.rejected) == (14, 2)
    (numbers, columns) = next(iter(journal.blocks()))
    good = [n for n in range(16) if n not in (5, 6)]
    assert numbers.tolist() == [n + 1 for n in good]
    assert columns["y"].tolist() == [2.0 * n for n in good]
