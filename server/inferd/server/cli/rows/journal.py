"""Answers on disk as they come: what a crash leaves half-written is cut, and the job goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from inferd.client.inputs import UsageError
from inferd.wire.tensors import decode_bytes, encode_bytes

Array = npt.NDArray[Any]

_STATE = "state.json"
_SAVE_EVERY = 1.0
_READ_ROWS = 8192
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class State:
    """How far a job is: all that is needed to go on. Sizes of files in bytes, by name."""

    job: dict[str, Any]
    """What it is: another one is not continued here."""
    token: str = ""
    chunks: int = 0
    next_row: int = 0
    answered: int = 0
    rejected: int = 0
    outputs: list[tuple[str, str, list[int]]] = field(default_factory=list)
    """Name, dtype (`text` for bytes) and row shape of each output."""
    sizes: dict[str, int] = field(default_factory=dict)


class Journal:
    """A folder beside the output with a file per column. Its state never runs ahead of its files.

    Files are written and flushed before the state that counts them replaces the one before.
    """

    def __init__(self, output: Path, job: Mapping[str, Any], *, restart: bool = False) -> None:
        """Continue what lies there, or `restart`. Raises `UsageError` where that is another job."""
        self.folder = output.with_name(output.name + ".partial")
        if restart and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self._read(dict(job), output)
        self._outputs = self.state.outputs
        self._sizes = dict(self.state.sizes)
        self._answered, self._rejected = self.state.answered, self.state.rejected
        self._files: dict[str, BinaryIO] = {}
        self._saved = -inf  # what comes first is saved at once, and with it the job's token

    @property
    def rejects(self) -> Path:
        """The file of rows that have no answer."""
        return self.folder / "rejected.jsonl"

    def append(self, numbers: Sequence[int], outputs: Mapping[str, Array]) -> None:
        """Write the answers to these rows. Raises `UsageError` where they changed their shape."""
        described = [_describe(name, each) for name, each in outputs.items()]
        if self._outputs and described != self._outputs:
            raise UsageError(
                f"the model's answers changed from {self._outputs} to {described}; "
                "a file holds rows of one shape"
            )
        self._outputs = described
        self._write("rows.bin", np.asarray(numbers, "<i8").tobytes())
        for at, array in enumerate(outputs.values()):
            text = array.dtype.kind == "O"
            data = encode_bytes(list(array.reshape(-1))) if text else array.tobytes()
            self._write(f"output-{at}.bin", data)
        self._answered += len(numbers)

    def reject(self, number: int, line: int, error: str, values: Mapping[str, Any]) -> None:
        """Keep a row that has no answer."""
        document = {"row": number, "line": line, "error": error, "values": values}
        text = json.dumps(document, ensure_ascii=True, default=str)
        self._write("rejected.jsonl", text.encode() + b"\n")
        self._rejected += 1

    def advance(self, next_row: int, token: str, chunks: int) -> None:
        """All rows before `next_row` are done, and what was written until now belongs to them.

        Saves now and then.
        """
        self.state = replace(
            self.state,
            token=token,
            chunks=chunks,
            next_row=next_row,
            answered=self._answered,
            rejected=self._rejected,
            outputs=self._outputs,
            sizes=dict(self._sizes),
        )
        if monotonic() - self._saved >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Make the state and all that belongs to it last."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        temporary = self.folder / (_STATE + ".new")
        with temporary.open("w", encoding="utf-8") as out:
            json.dump(asdict(self.state), out)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self.folder / _STATE)
        self._saved = monotonic()

    def close(self) -> None:
        """Close the files; what was not saved is cut when the job goes on."""
        for each in self._files.values():
            each.close()
        self._files.clear()

    def blocks(self) -> Iterator[tuple[Array, dict[str, Array]]]:
        """The numbers of answered rows and their outputs, some thousands at a time."""
        self.close()
        state = self.state
        if not state.outputs:
            return
        paths = [self.folder / f"output-{at}.bin" for at in range(len(state.outputs))]
        files = [path.open("rb") for path in paths]
        try:
            files.append((self.folder / "rows.bin").open("rb"))
            while len(some := np.fromfile(files[-1], "<i8", _READ_ROWS)):
                yield (
                    some,
                    {
                        name: _read_rows(file, kind, (len(some), *shape))
                        for file, (name, kind, shape) in zip(files[:-1], state.outputs, strict=True)
                    },
                )
        finally:
            for file in files:
                file.close()

    def remove(self) -> None:
        """The job is done: nothing of this is needed any more."""
        self.close()
        shutil.rmtree(self.folder)

    def _read(self, job: dict[str, Any], output: Path) -> State:
        path = self.folder / _STATE
        if not path.exists():
            return State(json.loads(json.dumps(job)))
        try:
            known = State(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is broken ({error}); begin anew with --restart") from error
        known = replace(known, outputs=[(name, kind, shape) for name, kind, shape in known.outputs])
        if known.job != json.loads(json.dumps(job)):
            raise UsageError(
                f"{self.folder} holds a job that was stopped, but another one: its input, model or "
                f"columns were {known.job}; give {output} another name, or begin anew with --restart"
            )
        return known

    def _write(self, name: str, data: bytes) -> None:
        self._file(name).write(data)
        self._sizes[name] = self._sizes.get(name, 0) + len(data)

    def _file(self, name: str) -> BinaryIO:
        found = self._files.get(name)
        if found is None:
            path = self.folder / name
            path.touch()
            found = self._files[name] = path.open("r+b")
            # What lies behind was written after the state was saved the last time: half of it, maybe.
            found.truncate(self.state.sizes.get(name, 0))
            found.seek(0, os.SEEK_END)
        return found


def _describe(name: str, array: Array) -> tuple[str, str, list[int]]:
    kind = _TEXT if array.dtype.kind == "O" else array.dtype.newbyteorder("<").str
    return name, kind, list(array.shape[1:])


def _read_rows(file: BinaryIO, kind: str, shape: tuple[int, ...]) -> Array:
    count = int(np.prod(shape))
    if kind != _TEXT:
        return np.fromfile(file, np.dtype(kind), count).reshape(shape)
    found = np.empty(count, np.object_)
    for at in range(count):
        head = file.read(4)
        found[at] = decode_bytes(head + file.read(int.from_bytes(head, "little")), 1)[0]
    return found.reshape(shape)
