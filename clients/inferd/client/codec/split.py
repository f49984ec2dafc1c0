"""A request larger than the server's messages, sent as several along the batch and joined again."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inferd.client.codec.arguments import Arguments, read_arguments
from inferd.client.codec.calls import Call
from inferd.client.codec.infer import Options, request_call
from inferd.client.codec.timings import join_timings
from inferd.client.codec.values import Value, is_torch
from inferd.client.errors import InferenceError, Overloaded, ServerUnavailable
from inferd.client.metadata import ModelMetadata
from inferd.client.prediction import Answer, Prediction, Timings

_REFUSED = re.compile(r"larger than max \(\d+ vs\. (\d+)\)")  # gRPC's words on either side
_ORDERED = "sequence_id"
"""Parameter of requests that are a step of something: several of them are several steps."""

_LENGTHS = 16
"""Bytes that shape and length of a tensor take more than those of an empty one, at most."""


def message_limit(error: InferenceError) -> int | None:
    """The bytes that the server takes at most, where a request was refused for its size."""
    found = _REFUSED.search(error.message) if isinstance(error, Overloaded) else None
    return int(found[1]) if found else None


def split(
    metadata: ModelMetadata,
    version: str,
    positional: Sequence[object],
    named: Mapping[str, object],
    options: Options,
    *,
    size: int,
    limit: int,
) -> Iterator[Call[Prediction]]:
    """The calls that together ask what one of `size` bytes would: none is larger than `limit`.

    Raises `Overloaded` where that cannot be: the model does not batch, or a row alone is too large.
    """
    arguments = read_arguments(metadata.name, metadata.signature, positional, named)
    rows = _rows(metadata, arguments, options)
    if rows < 2:
        raise _too_large(metadata, size, limit, rows)
    step = _step(metadata, version, arguments, options, rows=rows, size=size, limit=limit)
    waiting = [(at, min(at + step, rows)) for at in range(0, rows, step)][::-1]
    while waiting:
        start, stop = waiting.pop()
        call = request_call(metadata, version, _part(arguments, start, stop), options)
        if len(call.request) <= limit:
            yield call
        elif stop - start == 1:
            raise _too_large(metadata, len(call.request), limit, 1)
        else:  # rows of text are not all as long as their mean
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]


def join(parts: Sequence[Prediction]) -> Prediction:
    """One prediction of the answers to all parts, in their order; times are their sums.

    Raises `ServerUnavailable` where the model's version changed on the way.
    """
    first = parts[0]
    versions = sorted({part.version for part in parts})
    if len(versions) > 1:
        raise ServerUnavailable(
            f"versions {' and '.join(versions)} of '{first.model}' each answered a part of a large "
            "request: the model was replaced meanwhile; send it again",
            reason="VERSION_CHANGED",
        )
    timings = [part.timings for part in parts]
    return Prediction(
        model=first.model,
        version=first.version,
        id=first.id,
        outputs=Answer(
            {name: _joined([part.outputs[name] for part in parts]) for name in first.outputs}
        ),
        datatypes=first.datatypes,
        parameters={key: value for part in parts for key, value in part.parameters.items()},
        timings=Timings(
            sum(each.prepare for each in timings),
            sum(each.call for each in timings),
            sum(each.read for each in timings),
            join_timings([each.server for each in timings]),
        ),
    )


def _rows(metadata: ModelMetadata, arguments: Arguments, options: Options) -> int:
    """How many rows the request has; 0 where it cannot be split into them."""
    shapes = [value.shape for value in arguments.values.values()]
    ordered = _ORDERED in (options.parameters or {})
    if metadata.signature.max_batch_size == 0 or ordered or not all(shapes) or not shapes:
        return 0
    return shapes[0][0]


def _step(
    metadata: ModelMetadata,
    version: str,
    arguments: Arguments,
    options: Options,
    *,
    rows: int,
    size: int,
    limit: int,
) -> int:
    """Rows of each part: as few parts as need be if rows are equally large, all much the same."""
    bare = request_call(metadata, version, _part(arguments, 0, 0), options)
    head = len(bare.request) + _LENGTHS * len(arguments.values)
    most = max(1, rows * (limit - head) // max(1, size - head))
    return math.ceil(rows / math.ceil(rows / most))


def _part(arguments: Arguments, start: int, stop: int) -> Arguments:
    values = {
        name: Value(value.datatype, value.array[start:stop])
        for name, value in arguments.values.items()
    }
    return Arguments(values, arguments.as_torch)


def _joined(arrays: Sequence[Any]) -> Any:
    if is_torch(arrays[0]):
        return sys.modules["torch"].cat(list(arrays))
    return np.concatenate(arrays)


def _too_large(metadata: ModelMetadata, size: int, limit: int, rows: int) -> Overloaded:
    cannot = "one row of it is that large" if rows == 1 else "it cannot be split into rows"
    if metadata.signature.max_batch_size == 0:
        cannot = "the model does not batch, so it cannot be split"
    return Overloaded(
        f"the request for '{metadata.name}' has {size:,} bytes, the server takes {limit:,} in one "
        f"message, and {cannot}; send less, or raise the server's max_message_bytes",
        reason="REQUEST_TOO_LARGE",
    )
