"""A model in memory, whatever it was loaded from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from inferd.core.link.messages import ParameterValue
from inferd.wire.signature import Signature
from inferd.worker.model import Sequence as ModelSequence
from inferd.worker.model import Value

Parameters: TypeAlias = Mapping[str, ParameterValue] | None

Execute: TypeAlias = Callable[[Sequence[Value | None], Parameters], Sequence[Value]]
"""Inputs in the signature's order, on the device, None for those left out; outputs likewise."""

ExecuteInSequence: TypeAlias = Callable[
    [Sequence[Value | None], Parameters, ModelSequence], Sequence[Value]
]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device.

    `platform` is `pytorch_export` or `pytorch_code`. `takes_parameters` tells whether `execute` looks
    at the request's parameters. `execute` raises whatever the model raises, and `OutputInvalid` for an
    answer that is not made of tensors with the right names. `usual_sizes` are sensible sizes of free
    dimensions by symbol, as far as they are known. `in_sequence` executes one request of a sequence,
    None for a model without state.
    """

    name: str
    platform: str
    signature: Signature
    takes_parameters: bool
    execute: Execute
    usual_sizes: Mapping[str, int] = field(default_factory=dict)
    in_sequence: ExecuteInSequence | None = None
