"""The first steps of a worker, all before torch is imported: parent, logs, orders, pinning."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence

from inferd.core import streams
from inferd.core.link.messages import FromWorker, LoadingFailed, LoadModel, Pinning, ToWorker
from inferd.core.link.sockets import MessageSocket, PeerGone, adopt
from inferd.core.process import die_with_parent
from inferd.core.telemetry import logs

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: Sequence[str]) -> int:
    """Run one worker until its supervisor lets it go; its exit status.

    0: told to stop, or the supervisor went away. 1: the model did not load, as was reported.
    """
    options = _options(argv)
    die_with_parent(options.parent)
    # Ctrl-C reaches the terminal's whole process group; the supervisor decides what ends when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = None
    if options.log_fd is not None:
        stream = streams.logs_at(options.log_fd)
        streams.print_by_line()
    logs.configure(options.log_level, options.log_format, process="worker", stream=stream)
    logs.log_uncaught()
    control: MessageSocket[FromWorker, ToWorker]
    control = MessageSocket(adopt(options.control_fd), ToWorker)
    try:
        order = control.receive()
        started = time.monotonic()
        if not isinstance(order, LoadModel):
            return 0
        try:
            pin(order.pinning)
        except ValueError as refused:
            control.send(LoadingFailed(str(refused)))
            return 1
        # What torch makes when it is imported stays: to look for garbage in it, again and again until
        # the model is there, took a tenth of the start.
        gc.disable()
        from inferd.worker import app  # imports torch, which reads its surroundings once

        gc.freeze()
        gc.enable()
        return app.run(control, order, started)
    except PeerGone:
        return 0


def pin(pinning: Pinning) -> None:
    """Bind this process to its cores, threads and device; only before torch is imported.

    A CUDA worker sees its one GPU as device 0, a CPU worker sees none. Raises `ValueError` for
    cores or a device that this process cannot have.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch is already imported: it has read its threads and devices")
    if pinning.cpus:
        _stay_on(pinning.cpus)
    for setting in _THREAD_SETTINGS:
        os.environ[setting] = str(pinning.threads)
    # CUDA would number the fastest GPU 0; the supervisor counts in NVML's order, that of the bus.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ["CUDA_VISIBLE_DEVICES"] = _visible_device(pinning.device)


def _stay_on(cpus: Sequence[int]) -> None:
    offered = os.sched_getaffinity(0)
    if missing := sorted(set(cpus) - offered):
        raise ValueError(
            f"CPU cores {_listed(missing)} are not to be had here; this process may use "
            f"{_listed(sorted(offered))}: correct `devices`"
        )
    os.sched_setaffinity(0, cpus)


def _visible_device(device: str) -> str:
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return ""
    if kind != "cuda" or not index.isdecimal():
        raise ValueError(f"device '{device}' is not known; expected 'cpu' or 'cuda:N'")
    # Where the operator already narrowed the choice, N counts among what is left.
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return index
    visible = [name.strip() for name in given.split(",") if name.strip()]
    if int(index) >= len(visible):
        raise ValueError(
            f"device '{device}' is not to be had: CUDA_VISIBLE_DEVICES names {len(visible)} GPUs"
        )
    return visible[int(index)]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m inferd.worker",
        description="One worker of `inferd serve`, which starts it; of no use by itself.",
    )
    parser.add_argument("--control-fd", type=int, required=True, metavar="N")
    parser.add_argument("--parent", type=int, required=True, metavar="PID")
    parser.add_argument("--log-fd", type=int, metavar="N")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="auto")
    return parser.parse_args(argv)
