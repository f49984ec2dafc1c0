"""A batch of more rows than one execution takes: the model runs on some of them after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from inferd.core.link.messages import RunBatch, SequenceStep
from inferd.wire.errors import OutputInvalid
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.model import Value
from inferd.worker.runner.outputs import OutputCheck
from inferd.worker.runner.sequences import SequenceStates
from inferd.worker.runner.trace import current


class Steps:
    """Runs a model on batches and sees to it that each answer fits the signature."""

    def __init__(self, model: LoadedModel, states: SequenceStates | None = None) -> None:
        self._run = model.execute
        self._stateful = model.in_sequence
        self._states = states if states is not None else SequenceStates()
        self._check = OutputCheck(model.name, model.signature).check

    def run(self, batch: RunBatch, inputs: Sequence[Value | None]) -> Sequence[Value]:
        """The outputs of a batch whose inputs are on the device.

        Raises whatever the model raises, and `OutputInvalid` for an answer that does not fit.
        """
        current.ids = batch.trace
        if batch.step:
            return self._in_steps(batch, inputs)
        if batch.sequence is not None:
            values = self._in_sequence(batch, batch.sequence, inputs)
        else:
            values = self._run(inputs, batch.parameters)
        self._check(values, tuple([None if slot is None else slot.shape for slot in batch.inputs]))
        return values

    def _in_sequence(
        self, batch: RunBatch, step: SequenceStep, inputs: Sequence[Value | None]
    ) -> Sequence[Value]:
        if self._stateful is None:
            raise LookupError("a sequence for a model without state")
        with self._states.step(step) as sequence:
            return self._stateful(inputs, batch.parameters, sequence)

    def _in_steps(self, batch: RunBatch, inputs: Sequence[Value | None]) -> Sequence[Value]:
        rows = next(slot.shape[0] for slot in batch.inputs if slot is not None)
        answers = []
        for start in range(0, rows, batch.step):
            some = [
                None if value is None else value[start : start + batch.step] for value in inputs
            ]
            values = self._run(some, batch.parameters)
            shapes = tuple([None if value is None else tuple(value.shape) for value in some])
            self._check(values, shapes)
            # The model may write its next answer to the same memory.
            answers.append([_copy(value) for value in values])
        return [_joined(column) for column in zip(*answers, strict=True)]


def _copy(value: Value) -> Value:
    return value.clone() if isinstance(value, torch.Tensor) else value.copy()


def _joined(values: tuple[Value, ...]) -> Value:
    shape, dtype = values[0].shape[1:], values[0].dtype
    if any(each.shape[1:] != shape or each.dtype != dtype for each in values):
        raise OutputInvalid("the model gave rows of different shapes for one request")
    tensors = [each for each in values if isinstance(each, torch.Tensor)]
    if tensors:
        return torch.cat(tensors)
    return np.concatenate([each for each in values if isinstance(each, np.ndarray)])
