"""What the server says a request took: asked for by a parameter, told by parameters."""

from __future__ import annotations

from collections.abc import Sequence

from inferd.client.prediction import ParameterValue, ServerTimings

TIMINGS = "inferd_timings"
"""Asks for them."""

_MICROSECONDS = ("inferd_queue_us", "inferd_input_us", "inferd_compute_us", "inferd_output_us")
_PLACE = ("inferd_batch_size", "inferd_instance", "inferd_device")


def take_timings(parameters: dict[str, ParameterValue]) -> ServerTimings | None:
    """The timings among an answer's parameters, taken out of them; None where there are none."""
    if not all(name in parameters for name in (*_MICROSECONDS, *_PLACE)):
        return None
    queue, into, compute, out = [int(parameters.pop(name)) / 1e6 for name in _MICROSECONDS]
    rows, instance, device = [parameters.pop(name) for name in _PLACE]
    return ServerTimings(queue, into, compute, out, int(rows), int(instance), str(device))


def join_timings(parts: Sequence[ServerTimings | None]) -> ServerTimings | None:
    """Those of a request that was sent in parts; None unless every part has them."""
    known = [each for each in parts if each is not None]
    if not known or len(known) < len(parts):
        return None
    return ServerTimings(
        sum(each.queue for each in known),
        sum(each.input for each in known),
        sum(each.compute for each in known),
        sum(each.output for each in known),
        max(each.batch_size for each in known),
        known[-1].instance,
        known[-1].device,
    )
