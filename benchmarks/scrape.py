"""What a scrape of many models takes, and whether their callers notice it.

Starts a server with that many small models, calls each so that all its series exist, scrapes it again and again,
and lets callers run with and without a scrape every second, in turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from inferd.client import Client, connect

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/scrape.py
  .venv/bin/python benchmarks/scrape.py --models 5 --rounds 9
"""

_CODE = """
from inferd.worker.model import Model, Value


class Double(Model):
    def predict(self, x: Value) -> Value:
        return x * 2
"""
_TOML = """
max_batch_size = 16
[[input]]
name = "x"
datatype = "FP32"
shape = [-1, 4]
[[output]]
name = "y"
datatype = "FP32"
shape = [-1, 4]
"""
_ROW = np.ones((1, 4), np.float32)
_START_LIMIT = 600.0
_CALLERS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--scrapes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="per round")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"model-{number:02}" for number in range(given.models)]
        for name in names:
            (Path(folder) / "models" / name / "1").mkdir(parents=True)
            (Path(folder) / "models" / name / "1" / "model.py").write_text(_CODE)
            (Path(folder) / "models" / name / "model.toml").write_text(_TOML)
        with _served(Path(folder), names) as (grpc, ops), connect(grpc) as client:
            for name in names:
                for _ in range(5):
                    client.model(name)(_ROW)
            _scrapes(f"http://{ops}/metrics", given.scrapes)
            _callers(client, names[0], f"http://{ops}/metrics", given.rounds, given.seconds)
    return 0


def _scrapes(url: str, number: int) -> None:
    taken = []
    text = b""
    for _ in range(number):
        began = time.perf_counter()
        text = _read(url)
        taken.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.2)
    series = sum(1 for line in text.splitlines() if not line.startswith(b"#"))
    print(
        f"scrape: median {median(taken):.1f} ms, least {min(taken):.1f}, most {max(taken):.1f}; "
        f"{series} series, {len(text) / 1e3:.0f} KB"
    )


def _callers(client: Client, model: str, url: str, rounds: int, seconds: float) -> None:
    ratios = []
    for number in range(rounds):
        p99 = {}
        for scraped in (True, False) if number % 2 else (False, True):
            with _scraping(url) if scraped else _in_peace():
                p99[scraped] = _p99(client, model, seconds)
        ratios.append(p99[True] / p99[False])
        print(f"p99 ms: {p99[False]:.2f} alone, {p99[True]:.2f} scraped", flush=True)
    print(f"p99 scraped / alone: {median(ratios):.3f} [{min(ratios):.2f} .. {max(ratios):.2f}]")


def _p99(client: Client, model: str, seconds: float) -> float:
    """Milliseconds, of callers that each send again as soon as they have their answer."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def run() -> None:
        asked = client.model(model)
        while (began := time.perf_counter()) < until:
            asked(_ROW)
            taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=run) for _ in range(_CALLERS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sorted(taken)[len(taken) * 99 // 100] * 1e3


@contextmanager
def _scraping(url: str) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.wait(1.0):
            _read(url)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _in_peace() -> Iterator[None]:
    yield


def _read(url: str) -> bytes:
    # As Prometheus asks; from a program of its own it would not share this one's lock.
    request = urllib.request.Request(  # noqa: S310  # http, as it stands here
        url,
        headers={
            "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # see above
        text: bytes = answer.read()
        return text


@contextmanager
def _served(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A server of these models: its addresses for gRPC and operations."""
    program, ready = Path(sys.executable).with_name("inferd"), folder / "ready.json"
    command = [str(program), "serve", str(folder / "models"), "--ready-file", str(ready)]
    command += ["--grpc", "127.0.0.1:0", "--http", "off", "--ops", "127.0.0.1:0"]
    for name in names:
        command += ["--trust", name]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    ) as server:
        try:
            _wait(ready.exists, _START_LIMIT)
            addresses = json.loads(ready.read_text())
            yield addresses["grpc"], addresses["ops"]
        finally:
            server.terminate()


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"the server was not ready within {seconds:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
