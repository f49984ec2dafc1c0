"""What a model answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

ParameterValue = bool | int | float | str


class Answer(Mapping[str, Any]):
    """A model's outputs by name, in the model's order: numpy arrays or torch tensors."""

    __slots__ = ("_outputs",)

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self._outputs = dict(outputs)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._outputs[name]
        except KeyError:
            near = get_close_matches(str(name), self._outputs, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(self._outputs)}"
            raise KeyError(f"the answer has no output '{name}'; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        described = (f"{name}: {each.dtype} {list(each.shape)}" for name, each in self.items())
        return f"Answer({', '.join(described)})"


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """What a request took on the server, in seconds, and where it was executed.

    It waited in the `queue`; its batch, with the rows of other callers, was brought to the device
    (`input`), computed, and brought back (`output`). `batch_size` is in rows; `instance` is the
    number of the worker. Of a request in several parts these are sums, of the largest batch.
    """

    queue: float
    input: float
    compute: float
    output: float
    batch_size: int
    instance: int
    device: str

    @property
    def total(self) -> float:
        """Queue and execution; what passes between them is not in it."""
        return self.queue + self.input + self.compute + self.output


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds on the caller's side: making the request, waiting for the answer, reading it.

    `server` is what the server says of it, where it was asked with `timings=True` and knows of that.
    """

    prepare: float
    call: float
    read: float
    server: ServerTimings | None = None

    @property
    def total(self) -> float:
        """All of it."""
        return self.prepare + self.call + self.read


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer and what came with it.

    `datatypes` are the protocol's names for the outputs: a BF16 output is float32 in numpy.
    """

    model: str
    version: str
    id: str
    outputs: Answer
    datatypes: Mapping[str, str]
    parameters: Mapping[str, ParameterValue]
    timings: Timings

    @property
    def value(self) -> Any:
        """The array of a model with one output; the `Answer` of one with several."""
        if len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        return self.outputs
