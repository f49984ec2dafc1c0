"""The bare model in a loop on a device: `loop.py DEPTH IMAGE INPUT DEVICE BATCH PARENT`.

For each line on stdin it says a line of JSON: `load FILE` loads the program and warms up, `resident SECONDS` and
`copied SECONDS` loop that long, `answer` tells what the model makes of one row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import torch

from inferd.core.link.messages import ModelSource
from inferd.core.process import die_with_parent
from inferd.worker.loader.exported import load_exported
from on_gpu.resnet import CLASSES, DATATYPES, Task

_WARM_UP = 0.5
"""Seconds: convolutions are chosen, and memory is taken, in the first batches."""


class Mark(Protocol):
    """A place in what is queued on a device."""

    def synchronize(self) -> object:
        """Wait until the device has come to it."""


class Bare:
    """The program as a worker of inferd loads it, with nothing of a server around it."""

    def __init__(self, file: str, task: Task, device: torch.device, batch: int) -> None:
        if gpu := device.type == "cuda":
            torch.cuda.set_device(device)  # as a worker does
        source = ModelSource(task.name, 1, "exported", file)
        self._execute = load_exported(source, device).execute
        self._device = device
        _, dtype = DATATYPES[task.input]
        rows = torch.frombuffer(bytearray(task.values(batch)), dtype=dtype)
        rows = rows.view(batch, *task.row)
        # Two of each: one batch is queued while the one before is on its way.
        self._here = [rows.pin_memory() if gpu else rows.clone() for _ in range(2)]
        self._answers = [torch.empty(batch, CLASSES, pin_memory=gpu) for _ in range(2)]
        self._there = rows.to(device)
        self._turn = 0

    def resident(self) -> None:
        """Queue one batch of rows that are on the device; the answers stay there."""
        self._run(self._there)

    def copied(self) -> None:
        """Queue one batch of rows from pinned memory, and the answers back to pinned memory."""
        self._turn ^= 1
        rows = self._here[self._turn].to(self._device, non_blocking=True)
        self._answers[self._turn].copy_(self._run(rows), non_blocking=True)

    def answer(self) -> list[float]:
        """What becomes of the first row alone."""
        told: list[float] = self._run(self._there[:1])[0].cpu().tolist()
        return told

    def batches_per_second(self, queue: Callable[[], None], seconds: float) -> float:
        """One batch is always queued behind the one that runs: the device does not wait for Python."""
        done = 0
        began = now = perf_counter()
        queue()
        previous = self._mark()
        while now < began + seconds:
            queue()
            mark = self._mark()
            previous.synchronize()
            previous = mark
            done += 1
            now = perf_counter()
        previous.synchronize()
        return (done + 1) / (perf_counter() - began)

    def _run(self, rows: torch.Tensor) -> torch.Tensor:
        (answer,) = self._execute([rows], None)
        assert isinstance(answer, torch.Tensor)
        return answer

    def _mark(self) -> Mark:
        if self._device.type != "cuda":
            return _Passed()
        mark: Mark = torch.cuda.current_stream(self._device).record_event()
        return mark


class _Passed:
    """On a CPU nothing is queued."""

    def synchronize(self) -> None:
        """It has been."""


def main() -> None:
    """Loop as told until stdin ends."""
    depth, image, kind, device, batch, parent = sys.argv[1:]
    die_with_parent(int(parent))
    torch.set_num_threads(1)
    # Errors of the CUDA runtime go to stderr, as logs do; stdout has the answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = Task(tuple(map(int, depth.split(","))), int(image), kind)
    _, _, file = sys.stdin.readline().strip().partition(" ")
    with torch.inference_mode():
        bare = Bare(file, task, torch.device(device), int(batch))
        ways = {"resident": bare.resident, "copied": bare.copied}
        told: object = [bare.batches_per_second(way, _WARM_UP) for way in ways.values()]
        print(json.dumps({"told": told}), file=answers, flush=True)
        for line in sys.stdin:
            order, *seconds = line.split()
            if order == "answer":
                told = bare.answer()
            else:
                told = bare.batches_per_second(ways[order], float(seconds[0]))
            print(json.dumps({"told": told}), file=answers, flush=True)


if __name__ == "__main__":
    main()
