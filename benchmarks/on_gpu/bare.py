"""The process that has the bare model, seen from the one that measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from contenders.contender import ContenderError
from contenders.memory import kept_memory
from contenders.peer_file import BENCHMARKS
from wires.call import Floats

from on_gpu.resnet import Task

_LAST_WORDS_LIMIT = 10.0


class BareModel:
    """Started at once, of use after `load`. Between samples it waits and costs nothing."""

    def __init__(self, task: Task, device: str, batch: int) -> None:
        self._batch = batch
        depth = ",".join(map(str, task.depth))
        arguments = [depth, str(task.image), task.input, device, str(batch), str(os.getpid())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "on_gpu.loop", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=BENCHMARKS,
            env={**os.environ, **kept_memory()},
            process_group=0,  # Ctrl-C is ours to handle
        )

    def load(self, model: Path) -> None:
        """Load the program in this folder and warm up. Raises `ContenderError`, as everything here."""
        self._ask(f"load {model / '1' / 'model.pt2'}")

    def images_per_second(self, way: str, seconds: float) -> float:
        """`way` is `resident` or `copied`."""
        batches: float = self._ask(f"{way} {seconds}")
        return batches * self._batch

    def answer(self) -> Floats:
        """The answer to the task's first image."""
        return np.array(self._ask("answer"), np.float32)

    def close(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=_LAST_WORDS_LIMIT)  # no more to do: it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, order: str) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ContenderError(f"the bare model is gone: {error}") from error
        return self._read()["told"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError("the bare model's process ended; what it said is above")
        said: dict[str, Any] = json.loads(line)
        return said
