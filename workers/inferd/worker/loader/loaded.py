"""A model in memory, whatever it was loaded from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from inferd.core.link.messages import ParameterValue
from inferd.wire.signature import Signature
from inferd.worker.model import Value

Parameters: TypeAlias = Mapping[str, ParameterValue] | None

Execute: TypeAlias = Callable[[Sequence[Value | None], Parameters], Sequence[Value]]
"""Inputs in the signature's order, on the device, None for those left out; outputs likewise."""

Answers: TypeAlias = Generator[Sequence[Value], None, Sequence[Value] | None]
"""One answer after another, each like `Execute`'s; what it returns is the last one, None for none."""

Generate: TypeAlias = Callable[[Sequence[Value | None], Parameters], Answers]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device.

    `platform` is `pytorch_export` or `pytorch_code`. `takes_parameters` tells whether `execute` looks
    at the request's parameters. `execute` raises whatever the model raises, and `OutputInvalid` for an
    answer that is not made of tensors with the right names. `usual_sizes` are sensible sizes of free
    dimensions by symbol, as far as they are known. A model with `generate` answers a request any
    number of times: then `execute` gives the first of its answers.
    """

    name: str
    platform: str
    signature: Signature
    takes_parameters: bool
    execute: Execute
    usual_sizes: Mapping[str, int] = field(default_factory=dict)
    generate: Generate | None = None
