"""A file of rows through a model: what is good is answered, what is bad is kept apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.client import (
    AnswerInvalid,
    BulkPosition,
    InferenceError,
    InvalidInput,
    Model,
    ModelNotReady,
    ServerFault,
    WorkerLost,
)
from inferd.server.cli.rows.columns import InputColumns, convert
from inferd.server.cli.rows.journal import Journal
from inferd.server.cli.rows.source import Block, Source

Array = npt.NDArray[Any]

CHUNK_BYTES = 256 << 10
MOST_ROWS = 1024

_ROWS_FAULT = (InvalidInput, ServerFault, WorkerLost, AnswerInvalid)
"""Errors that single rows may be to blame for: the others are found out one by one."""

_RESTART = 60.0
"""Seconds that a worker has to come back after a row that it died over."""


class JobFailed(Exception):
    """The job cannot go on: the message says why."""


@dataclass(slots=True)
class _Chunk:
    """A block on its way: its good rows are with the server, its bad ones are known."""

    block: Block
    values: dict[str, Array]
    good: list[int]
    bad: dict[int, str]


class FileJob:
    """Draws blocks from a source, maps the model over them, writes into the journal in their order."""

    def __init__(
        self,
        model: Model,
        source: Source,
        inputs: Sequence[InputColumns],
        journal: Journal,
        *,
        in_flight: int,
        patience: float,
        advanced: Callable[[int], None],
    ) -> None:
        """`advanced` hears of rows that are done."""
        self._model = model
        self._source = source
        self._inputs = inputs
        self._journal = journal
        self._in_flight = in_flight
        self._patience = patience
        self._advanced = advanced
        self._under_way: deque[_Chunk] = deque()

    def run(self) -> None:
        """Do what is left. Raises `JobFailed`, `InferenceError` or `UsageError`; all is saved then."""
        state = self._journal.state
        resume = BulkPosition(state.token, state.chunks) if state.token else None
        answers = self._model.map(
            self._chunks(state.next_row),
            in_flight=self._in_flight,
            errors="return",
            resume=resume,
            patience=self._patience,
        )
        try:
            for answer in answers:
                self._take(answer, answers.position)
            self._settle_unsent(answers.position)
        finally:
            answers.close()
            self._journal.save()

    def _chunks(self, first: int) -> Iterator[dict[str, Array]]:
        rows = MOST_ROWS
        for block in self._source.blocks(first, rows):
            values, good, bad = convert(block, self._inputs)
            if not good and block.rows == rows:
                at, why = next(iter(bad.items()))
                raise JobFailed(
                    f"none of {rows} rows from line {block.lines[0]} on can be read, which looks "
                    f"like a wrong column; line {block.lines[at]}: {why}"
                )
            for chunk in _cut(_Chunk(block, values, good, bad)):
                self._under_way.append(chunk)
                if chunk.good:
                    yield chunk.values

    def _take(self, answer: Any, position: BulkPosition) -> None:
        """The answer to the oldest chunk that was sent; those before it had no good row."""
        while not self._under_way[0].good:
            self._settle(self._under_way.popleft(), None, position)
        self._settle(self._under_way.popleft(), answer, position)

    def _settle_unsent(self, position: BulkPosition) -> None:
        while self._under_way:
            self._settle(self._under_way.popleft(), None, position)

    def _settle(self, chunk: _Chunk, answer: Any, position: BulkPosition) -> None:
        bad = dict(chunk.bad)
        if isinstance(answer, InferenceError):
            if not isinstance(answer, _ROWS_FAULT):
                raise answer
            self._find_out(chunk, chunk.good, chunk.values, bad, answer)
            if len(bad) == chunk.block.rows == MOST_ROWS and not self._journal.state.answered:
                raise JobFailed(
                    f"not one of the first {len(bad)} rows is answered: {answer.message}"
                )
        elif chunk.good:
            self._write(chunk, chunk.good, answer)
        block = chunk.block
        for at, why in sorted(bad.items()):
            self._journal.reject(block.first + at + 1, block.lines[at], why, block.row(at))
        self._journal.advance(block.first + block.rows, position.token, position.index)
        self._advanced(block.rows)

    def _find_out(  # some rows of a chunk and what they failed with
        self,
        chunk: _Chunk,
        good: list[int],
        values: dict[str, Array],
        bad: dict[int, str],
        error: InferenceError,
    ) -> None:
        """Ask for halves of rows that failed together, down to the ones to blame."""
        if len(good) == 1:
            bad[good[0]] = error.message
            return
        half = len(good) // 2
        parts = (slice(0, half), slice(half, None))
        halves = [{name: each[part] for name, each in values.items()} for part in parts]
        answers = self._ask_again(halves, error)
        for part, some, answer in zip(parts, halves, answers, strict=True):
            if not isinstance(answer, InferenceError):
                self._write(chunk, good[part], answer)
            elif isinstance(answer, _ROWS_FAULT):
                self._find_out(chunk, good[part], some, bad, answer)
            else:
                raise answer

    def _ask_again(self, halves: list[dict[str, Array]], error: InferenceError) -> list[Any]:
        """The answer to each half, or what it failed with. All others go first, as for the job.

        Not where a worker died: a bulk job would try that again, and others would lose theirs.
        """
        if isinstance(error, WorkerLost):
            return [self._call(each) for each in halves]
        return list(self._model.map(halves, errors="return", patience=self._patience))

    def _call(self, values: dict[str, Array]) -> Any:
        end = monotonic() + _RESTART
        while True:
            try:
                return self._model(values)
            except _ROWS_FAULT as error:
                return error
            except ModelNotReady as error:
                if monotonic() > end:
                    raise
                sleep(error.retry_after or 1.0)

    def _write(self, chunk: _Chunk, good: list[int], answer: Any) -> None:
        outputs = {"output": answer} if isinstance(answer, np.ndarray) else dict(answer)
        if isinstance(answer, np.ndarray):
            outputs = {self._model.metadata().outputs[0].name: answer}
        for name, array in outputs.items():
            if not array.ndim or len(array) != len(good):
                raise JobFailed(
                    f"output '{name}' has shape {list(array.shape)} for {len(good)} rows: it has no "
                    "row for each of them"
                )
        numbers = [chunk.block.first + at + 1 for at in good]
        self._journal.append(numbers, outputs)


def _cut(chunk: _Chunk) -> Iterator[_Chunk]:
    """A chunk in several where its rows are large."""
    nbytes = sum(each.nbytes for each in chunk.values.values())
    block = chunk.block
    if nbytes <= CHUNK_BYTES or block.rows == 1:
        yield chunk
        return
    step = max(1, block.rows * CHUNK_BYTES // nbytes)
    for at in range(0, block.rows, step):
        behind = min(at + step, block.rows)
        places = [n for n, each in enumerate(chunk.good) if at <= each < behind]
        part = Block(
            block.first + at,
            behind - at,
            {name: column[at:behind] for name, column in block.columns.items()},
            block.lines[at:behind],
        )
        span = slice(places[0], places[-1] + 1) if places else slice(0, 0)
        values = {name: each[span] for name, each in chunk.values.items()}
        good = [chunk.good[n] - at for n in places]
        bad = {each - at: why for each, why in chunk.bad.items() if at <= each < behind}
        yield _Chunk(part, values, good, bad)
