"""What authors of a `model.py` subclass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
import torch

from inferd.worker.runner.trace import current

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = torch.Tensor | Array
"""A tensor. Those of datatype BYTES are numpy arrays of `bytes` objects, all others torch tensors."""

Answer: TypeAlias = Value | Mapping[str, Value]
"""What `predict` returns: the only output, or every output by its name."""


def current_traceparent() -> str | None:
    """The W3C trace context of the batch that is being computed; None where it is not traced.

    For model code with spans of its own: they belong below this one. OpenTelemetry takes it as
    `TraceContextTextMapPropagator().extract({"traceparent": current_traceparent()})`.
    """
    return current.traceparent


@dataclass(slots=True)
class Sequence:
    """The sequence that a request belongs to, for a model with [sequences] in its model.toml.

    `state` is the model's to fill: empty at the `start`, there again at the next request of the same
    sequence, gone after the `end`, or when no request came for the idle timeout. Keep copies of
    tensors in it. `id` is the caller's.
    """

    id: int | str
    start: bool
    end: bool
    state: dict[str, Any] = field(default_factory=dict)


class Model:
    """A model in its author's own code; `model.py` defines exactly one subclass.

    One object lives in one worker process and is called from one thread, one batch at a time, under
    `torch.inference_mode`. Inputs lie in memory that is used again after the call: keep a copy
    (`tensor.clone()`), never the tensor itself. Where the model batches, the rows of several
    callers come together in the first dimension, and each output needs one row for each of them.

    Where `predict` is a generator function, the model is *decoupled*: it is called by
    ModelStreamInfer alone, one request at a time, and every answer that it yields goes out at once.
    Many such generators take turns in the one thread, a step each, so keep what belongs to a request
    in local variables. Their inputs stay as they are until the generator has ended. One that nobody
    listens to any more is closed: GeneratorExit is raised at its `yield`, so `finally` and `with`
    do their work. Do not let a `with` of torch (autocast, no_grad) reach over a `yield`: it would
    hold for the other generators' steps as well.
    """

    device: torch.device
    """Where the model runs; tensors of `predict` lie there."""

    folder: Path
    """The folder of this version: `model.py` and whatever stands beside it."""

    predict: Callable[..., Answer] | Callable[..., Generator[Answer, None, Answer | None]]
    """To be defined as a method: `predict(self, **tensors) -> Answer`.

    Its parameters are named like the inputs of the model; an optional input that the caller left
    out is not passed. With a parameter `parameters`, it gets those of the request: a mapping of names
    to booleans, numbers and texts. With [sequences] in model.toml it has a parameter `sequence`, a
    `Sequence`, and is called with the rows of one request at a time.

    As a generator function it yields answers, none to many, and may return the last of them: only
    then can that one be marked as the last.
    """

    def load(self, device: torch.device) -> None:
        """Make ready to predict on `device`; called once, before anything else."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Every tensor of the *.safetensors files beside `model.py`, on the model's device.

        Raises `FileNotFoundError` if there are none, `ValueError` if two of them share a name.
        """
        from safetensors.torch import load_file

        files = sorted(self.folder.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError("there is no *.safetensors file beside model.py")
        found: dict[str, torch.Tensor] = {}
        for file in files:
            tensors = load_file(file, device=str(self.device))
            if twice := sorted(found.keys() & tensors.keys()):
                raise ValueError(f"tensor '{twice[0]}' stands in {file.name} and in another file")
            found.update(tensors)
        return found
