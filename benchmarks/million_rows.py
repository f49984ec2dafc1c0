"""Whether a bulk job survives its server: a file through `inferd run`, the server killed on the way.

Starts a server, kills all of it with SIGKILL and starts it anew, as often as asked for, and looks at every
row of the output. Prints what it found and the peak memory of client and server; 1 if a row is missing,
doubled, out of order or wrong. `.venv/bin/python benchmarks/million_rows.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import psutil
import torch
from torch.export import Dim, export, save

INFERD = str(Path(sys.executable).with_name("inferd"))
WIDTH = 4
FACTOR = 2.0
MODEL = "scale"
LOOK = 0.02
"""Seconds between looks at memory and progress."""


class Scale(torch.nn.Module):
    """Multiplies: each answer tells which row it belongs to."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, 4] -> [batch, 4]."""
        return x * FACTOR


@dataclass
class Memory:
    """Most bytes that processes of each kind had of their own, files they map left out."""

    first: dict[str, int] = field(default_factory=dict)
    """Until a tenth of the rows was answered."""
    peak: dict[str, int] = field(default_factory=dict)

    def look(self, kind: str, process: psutil.Process, *, early: bool) -> None:
        """Note what a process has now, if it lives."""
        with suppress(OSError):
            text = Path(f"/proc/{process.pid}/status").read_text()
            status = dict(line.split(":", 1) for line in text.splitlines())
            kinds = [status[name].split()[0] for name in ("RssAnon", "RssShmem") if name in status]
            nbytes = 1024 * sum(int(each) for each in kinds)
            self.peak[kind] = max(self.peak.get(kind, 0), nbytes)
            if early:
                self.first[kind] = self.peak[kind]


class Served:
    """The server, however often it is killed."""

    def __init__(self, folder: Path) -> None:
        self.kills = 0
        self.address = "127.0.0.1:0"
        self._folder = folder
        self._start()

    def kill_and_start(self) -> None:
        """As the kernel's out-of-memory killer would, and as whoever looks after it would."""
        tree = self.tree()
        self._process.kill()
        self._process.wait()
        _, living = psutil.wait_procs(tree, timeout=30)
        assert not living, f"still there: {living}"
        self.kills += 1
        self._start()

    def tree(self) -> list[psutil.Process]:
        """Every process of it."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def stop(self) -> None:
        """End it well."""
        self._process.terminate()
        self._process.wait()

    def _start(self) -> None:
        ready = self._folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [INFERD, "serve", str(self._folder / "repository"), "--grpc", self.address]
        command += ["--http", "off", "--ready-file", str(ready)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not ready.exists():
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended with {self._process.returncode}")
            time.sleep(LOOK)
        self.address = json.loads(ready.read_text())["grpc"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and print what came of it; 0 if every row is there once, in order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model(folder / "repository" / MODEL / "1")
        _write_rows(folder / "rows.npy", options.rows)
        served = Served(folder)
        memory = Memory()
        began = time.monotonic()
        try:
            code = _run(folder, served, memory, options.rows, options.kills)
        finally:
            served.stop()
        seconds = time.monotonic() - began
        good = code == 0 and served.kills == options.kills
        good &= _look_through(folder / "answers.npz", options.rows)
    print(f"kills     {served.kills}")
    print(f"seconds   {seconds:.1f}   ({options.rows / seconds:,.0f} rows/s, restarts included)")
    for kind, peak in memory.peak.items():
        early = memory.first.get(kind, 0) / 2**20
        print(
            f"memory    {kind:10} {peak / 2**20:7.1f} MiB at most, {early:.1f} in the first tenth"
        )
    print(
        "complete, in order, nothing doubled" if good else f"FAILED (inferd run ended with {code})"
    )
    return 0 if good else 1


def _run(folder: Path, served: Served, memory: Memory, rows: int, kills: int) -> int:
    """The job, and the server's deaths at equal distances; the job's exit code."""
    output = folder / "answers.npz"
    command = [INFERD, "run", MODEL, "--input", str(folder / "rows.npy"), "--output", str(output)]
    client = subprocess.Popen([*command, "--address", served.address], stdout=subprocess.DEVNULL)
    process, tree, looks = psutil.Process(client.pid), served.tree(), 0
    while client.poll() is None:
        done = _answered(folder)
        if served.kills < kills and done >= rows * (served.kills + 1) / (kills + 1):
            print(f"killed    at {done:,} rows", flush=True)
            served.kill_and_start()
            looks = 0
        if looks % 50 == 0:  # workers come after the server is ready
            tree = served.tree()
        looks += 1
        memory.look("client", process, early=done < rows / 10)
        for each in tree:
            memory.look(_kind(each), each, early=done < rows / 10)
        time.sleep(LOOK)
    return client.returncode


def _answered(folder: Path) -> int:
    """Rows whose answers the job has written."""
    try:
        return (folder / "answers.npz.partial" / "rows.bin").stat().st_size // 8
    except FileNotFoundError:
        return 0


def _kind(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        line = process.cmdline()
        if "inferd.server.gateway" in line:
            return "gateway"
        if "inferd.worker" in line:
            return "worker"
    return "supervisor"


def _look_through(output: Path, rows: int) -> bool:
    """Whether each row has its answer once and in its place."""
    if not output.exists():
        print("rows      none: there is no output")
        return False
    with ZipFile(output) as archive:
        archive.extractall(output.parent)
    numbers = np.load(output.parent / "row.npy", mmap_mode="r")
    answers = np.load(output.parent / "output.npy", mmap_mode="r")
    expected = np.load(output.parent / "rows.npy", mmap_mode="r")
    doubled = len(numbers) - len(np.unique(numbers))
    missing = rows - len(np.intersect1d(numbers, np.arange(1, rows + 1)))
    swapped = int((np.diff(numbers) <= 0).sum())
    wrong = rows
    if len(answers) == rows:
        wrong = int((answers != FACTOR * expected).any(axis=1).sum())
    print(f"rows      {len(numbers):,} of {rows:,}: {missing:,} missing, {doubled:,} doubled")
    print(f"order     {swapped:,} out of order, {wrong:,} with another answer than theirs")
    return not (doubled or missing or swapped or wrong)


def _write_model(target: Path) -> None:
    target.mkdir(parents=True)
    batch = Dim("batch", min=1, max=256)
    program = export(Scale(), (torch.ones(2, WIDTH),), dynamic_shapes={"x": {0: batch}})
    save(program, target / "model.pt2")


def _write_rows(path: Path, rows: int) -> None:
    """Rows of which no two are alike: whole numbers that float32 holds exactly."""
    numbers = np.arange(rows, dtype=np.int64)[:, None]
    values = np.concatenate([numbers & 0xFFFFF, numbers >> 20, numbers % 7, numbers % 11], axis=1)
    np.save(path, values.astype(np.float32))


if __name__ == "__main__":
    sys.exit(main())
