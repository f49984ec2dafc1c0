"""A worker after pinning: load, warm up, report, serve. The first module that imports torch."""

from __future__ import annotations

import gc
import os
import time

import torch

from inferd.core.link.messages import FromWorker, Loaded, LoadingFailed, LoadModel, ToWorker
from inferd.core.link.sockets import MessageSocket
from inferd.core.telemetry import logs
from inferd.wire.errors import LoadFailed
from inferd.worker.devices import acquire
from inferd.worker.faults import brief
from inferd.worker.loader import load_model
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.loop import Loop
from inferd.worker.runner.cpu import CpuRunner
from inferd.worker.runner.cuda import CudaRunner, DeviceLost
from inferd.worker.runner.execution import Runner
from inferd.worker.runner.generator import GeneratorRunner
from inferd.worker.runner.memory import reporting
from inferd.worker.warming.curve import preferred_batch_size
from inferd.worker.warming.warm_up import warm_up

_log = logs.get_logger(__name__)

STOPPED = 0
NOT_LOADED = 1
DEVICE_LOST = 75
"""Exit status when only a new process can use the device again."""


def run(control: MessageSocket[FromWorker, ToWorker], order: LoadModel, started: float) -> int:
    """Load the model as ordered and serve it; the exit status of the process.

    `started` is the monotonic time when the work on the order began.

    Raises `PeerGone` when the supervisor is gone.
    """
    # Entered once: entering it for every batch costs more than a small model.
    with torch.inference_mode():
        try:
            model, runner, preferred = _make_ready(order)
        except LoadFailed as failed:
            # The supervisor tells the operator, once, with the version beside it.
            _log.debug("the model did not load", model=order.source.name, why=failed.message)
            control.send(LoadingFailed(failed.message))
            return NOT_LOADED
        except Exception as error:
            _log.exception("the model did not load", model=order.source.name)
            control.send(LoadingFailed(f"loading failed: {brief(error)}"))
            return NOT_LOADED
        # What is there now stays: the collector need never look at it again.
        gc.collect()
        gc.freeze()
        seconds = time.monotonic() - started
        control.send(
            Loaded(
                model.signature,
                model.platform,
                model.takes_parameters,
                seconds,
                preferred,
                decoupled=model.generate is not None,
            )
        )
        _log.debug("the model is ready", model=model.name, seconds=round(seconds, 3))
        try:
            with reporting(control.send, order.pinning.device):
                Loop(control, runner).run()
        except DeviceLost:
            _log.exception("the device is lost; the worker ends", model=model.name)
            # Ending in order would touch the broken context once more for everything on it.
            os._exit(DEVICE_LOST)
    return STOPPED


def _make_ready(order: LoadModel) -> tuple[LoadedModel, Runner, int]:
    """The model, what runs it, and how many rows are best run at once (0: not known)."""
    device = acquire(order.pinning)
    # Weights are made as ordinary tensors: own code may still want to change them in place.
    with torch.inference_mode(mode=False), torch.no_grad():
        model = load_model(order.source, device)
    runner: Runner
    if model.generate is not None:
        runner = GeneratorRunner(model, device)
    else:
        runner = CudaRunner(model, device) if device.type == "cuda" else CpuRunner(model)
    preferred = 0
    if order.warm_up and warm_up(model, device) and model.signature.max_batch_size > 1:
        preferred = preferred_batch_size(model, device)
    return model, runner, preferred
