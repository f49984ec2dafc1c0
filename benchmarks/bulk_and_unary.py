"""What a bulk job costs unary callers: their latency without and with one, in turns.

Prints the ratio of the two 99th percentiles, as the median over rounds, for callers in a loop and
for a rate. Start it from the house: `.venv/bin/python benchmarks/bulk_and_unary.py`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.export import Dim, export, save

from inferd.client import connect

INFERD = str(Path(sys.executable).with_name("inferd"))
WIDTH = 256


class Mlp(torch.nn.Module):
    """Three layers: some tens of microseconds a row."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, 10),
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as on the wire
        """[batch, 256] -> [batch, 10]."""
        answer: torch.Tensor = self.layers(input)
        return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rate", type=int, default=200, help="requests per second, Poisson")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--bulk", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bulk:
        _send_bulk(options.bulk)
        return
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), options.hidden) as address:
        alone = _bulk_rate(address, options.seconds)
        print(f"bulk alone: {alone:,.0f} rows/s")
        for load in (["--concurrency", "4"], ["--rate", str(options.rate)]):
            _compare(address, load, options.rounds, options.seconds)


def _compare(address: str, load: list[str], rounds: int, seconds: float) -> None:
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        without = _bench(address, load, seconds)
        with _bulk(address):
            time.sleep(1.0)
            before = _bulk_rows(address)
            began = time.monotonic()
            beside = _bench(address, load, seconds)
            moved = _bulk_rows(address) - before - beside["answered"]
            rate = moved / (time.monotonic() - began)
        found.append(
            {
                **{f"{key} without": without[key] for key in ("p50", "p99")},
                **{f"{key} with": beside[key] for key in ("p50", "p99")},
                **{f"{key} ratio": beside[key] / without[key] for key in ("p50", "p99")},
                "calls ratio": beside["answered"] / without["answered"],
                "bulk rows/s": rate,
            }
        )
    print(" ".join(load))
    for key in found[0]:
        values = sorted(each[key] for each in found)
        print(f"  {key:12} {median(values):10.3f}   ({values[0]:.3f} to {values[-1]:.3f})")


def _bench(address: str, load: list[str], seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [INFERD, "bench", "mlp", "--address", address, *load, "--processes", "1"]
        command += ["--duration", str(seconds), "--warm-up", "0.5", "--output", str(output)]
        subprocess.run(command, check=True, capture_output=True)
        (step,) = json.loads(output.read_bytes())["steps"]
    latency: dict[str, float] = step["latency_ms"]
    return {"p50": latency["p50"], "p99": latency["p99"], "answered": step["answered"]}


@contextmanager
def _server(folder: Path, hidden: int) -> Iterator[str]:
    target = folder / "repository" / "mlp" / "1"
    target.mkdir(parents=True)
    torch.manual_seed(0)
    rows = Dim("batch", min=1, max=64)
    program = export(Mlp(hidden), (torch.ones(2, WIDTH),), dynamic_shapes={"input": {0: rows}})
    save(program, target / "model.pt2")
    ready = folder / "ready.json"
    command = [INFERD, "serve", str(folder / "repository"), "--grpc", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--ops", "off"]
    command += ["--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not ready.exists():
                time.sleep(0.1)
            address = json.loads(ready.read_text())["grpc"]
            with connect(address) as client:
                while not client.model("mlp").ready():
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()


@contextmanager
def _bulk(address: str) -> Iterator[None]:
    command = [sys.executable, __file__, "--bulk", address]
    with subprocess.Popen(command) as job:
        try:
            yield
        finally:
            job.kill()


def _bulk_rate(address: str, seconds: float) -> float:
    with _bulk(address):
        time.sleep(3.0)
        before, began = _bulk_rows(address), time.monotonic()
        time.sleep(seconds)
        return (_bulk_rows(address) - before) / (time.monotonic() - began)


def _bulk_rows(address: str) -> float:
    with connect(address) as client:
        (statistics,) = client.model("mlp").statistics()
    return float(statistics.inference_count)


def _send_bulk(address: str) -> None:
    chunk: Any = np.random.default_rng(0).standard_normal((256, WIDTH), np.float32)
    with connect(address) as client:
        for _ in client.model("mlp").map(itertools.repeat(chunk)):
            pass


if __name__ == "__main__":
    main()
