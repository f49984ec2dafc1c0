"""How long batches of each size take, and up to which size they are worth forming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter

import torch

from inferd.core.telemetry.logs import get_logger
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.model import Value
from inferd.worker.warming.samples import sample_inputs
from inferd.worker.warming.warm_up import ladder

_log = get_logger(__name__)

_RUNS = 3
_PATIENCE = 0.1
"""Seconds spent on one size before its third run is left out."""

_WORTH = 0.9
"""Of the best throughput; what is above differs by less than measuring at start-up can tell."""


def preferred_batch_size(
    model: LoadedModel, device: torch.device, now: Callable[[], float] = perf_counter
) -> int:
    """The rows that batches of this model are best limited to; 0 where that cannot be told.

    The model has been warmed up. Under inference mode; `now` is in seconds. Nothing that the model
    raises here is held against it.
    """
    try:
        curve = _measure(model, device, now)
    except Exception as error:
        _log.warning("batch sizes could not be timed", model=model.name, exc_info=error)
        return 0
    if not curve:
        return 0
    chosen, largest = largest_worthwhile(curve), max(curve)
    if chosen < largest:
        _log.info(
            "larger batches are slower per row: requests are put together up to this size",
            model=model.name,
            rows=chosen,
            max_batch_size=largest,
        )
    return chosen


def _measure(
    model: LoadedModel, device: torch.device, now: Callable[[], float]
) -> dict[int, float]:
    """Seconds of the quickest run at each size; nothing where inputs cannot be made up."""
    curve: dict[int, float] = {}
    for rows in ladder(model.signature.max_batch_size):
        inputs = sample_inputs(model.signature, model.usual_sizes, device, rows)
        if inputs is None:
            return {}
        curve[rows] = _quickest(partial(_run, model, inputs, device), now)
    return curve


def largest_worthwhile(curve: Mapping[int, float]) -> int:
    """The largest batch, of seconds by size, with a throughput close to the best one's.

    A convolutional network on a CPU, say, is slower per row in batches of 32 than of 8: what
    does not fit into its caches any more.
    """
    best = max(rows / seconds for rows, seconds in curve.items())
    return max(rows for rows, seconds in curve.items() if rows / seconds >= _WORTH * best)


def _run(model: LoadedModel, inputs: list[Value], device: torch.device) -> None:
    model.execute(inputs, None)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _quickest(run: Callable[[], None], now: Callable[[], float]) -> float:
    begun = last = now()
    quickest = float("inf")
    for done in range(1, _RUNS + 1):
        run()
        ended = now()
        quickest = min(quickest, ended - last)
        last = ended
        if done > 1 and ended - begun > _PATIENCE:
            break
    return max(quickest, 1e-9)
