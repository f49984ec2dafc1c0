"""What serving costs beside the bare model on a GPU: images per second of ResNet-50, served and in a loop.

The bare model runs in a process of its own, on batches of 64, twice: `resident` on rows that are on the device and
answers that stay there, `copied` with rows from pinned memory and answers back to it, in sequence on one
stream. `inferd serve` is called by several h2load processes for images one by one. All take turns. One more
server exports traces for one sample: they say how much of the copying is hidden behind computing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from contenders.contender import ContenderError
from load import LoadError
from on_gpu.bare import BareModel
from on_gpu.overlap import Steps, hidden_share
from on_gpu.resnet import DATATYPES, MAX_BATCH, Task, exported
from on_gpu.served import STAGES, Demand, Served, ServedSample, Setting
from on_gpu.spans import Collected, kept, steps_of
from results.spread import Spread, ratios
from wires.call import Floats, WrongAnswer

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/gpu.py --json gpu.json
  .venv/bin/python benchmarks/gpu.py --input fp32 --gateways 1 4 --rounds 2
  .venv/bin/python benchmarks/gpu.py --device cpu --depth 1 1 1 1 --image 32 --gateways 1 2 \\
      --callers 32 --loads 2 --connections 4 --seconds 0.5 --batch 16   # a try without a GPU
"""

WAYS = ("resident", "copied")

_BARE_SHARE = 0.5
"""Of a sample's seconds: a loop says the same every time."""

_EXPORT_LIMIT, _EXPORT_PAUSE = 10.0, 1.5
"""Seconds until the last spans have come, and between two looks: they leave within one of their request."""


@dataclass(slots=True)
class Figures:
    """All that was measured, round by round."""

    bare: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    served: dict[int, list[ServedSample]] = field(default_factory=dict)
    traced: list[Steps] = field(default_factory=list)


class Progress:
    """Says on stderr what is done, as it goes: who is cut short has what was measured until then."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One line."""
        print(f"[{self.seconds:5.1f} s] {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in turns and print; 1 where something could not be measured."""
    given = _parse(arguments)
    # Servers are ended whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    task = Task(tuple(given.depth), given.image, given.input)
    code = 0
    with ExitStack() as stack:
        measurement = Measurement(task, given, stack)
        try:
            measurement.run()
        except (ContenderError, LoadError, WrongAnswer) as error:
            print(f"not all was measured: {error}", file=sys.stderr, flush=True)
            code = 1
        finally:
            # Before the servers are ended, which takes its time.
            _tell(task, given, measurement.figures)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu for a try without a GPU")
    parser.add_argument("--input", choices=sorted(DATATYPES), default="uint8", help="of an image")
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--callers", type=int, default=256, help="in all")
    parser.add_argument("--loads", type=int, default=4, help="processes of h2load")
    parser.add_argument("--connections", type=int, default=16, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="per sample; half for the loops")
    parser.add_argument(
        "--budget", type=float, default=95.0, help="seconds after which no round begins"
    )
    parser.add_argument("--batch", type=int, default=MAX_BATCH, help="of the bare model")
    parser.add_argument("--depth", type=int, nargs=4, default=Task().depth, help="blocks by stage")
    parser.add_argument("--image", type=int, default=Task().image, help="pixels on a side")
    parser.add_argument("--no-traces", action="store_true", help="leave out the traced sample")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    given = parser.parse_args(arguments)
    if given.device != "cpu" and not torch.cuda.is_available():
        parser.error(
            f"torch {torch.__version__} finds no usable CUDA device; check the driver, or give "
            "--device cpu with a small --depth and --image to try the benchmark without one"
        )
    if given.callers % (given.loads * given.connections):
        parser.error("--callers must be a multiple of --loads times --connections")
    if not 1 <= given.batch <= MAX_BATCH:
        parser.error(f"--batch must be from 1 to {MAX_BATCH}")
    return given


class Measurement:
    """Starts everything, and lets all take turns; `figures` has what was measured, at any time."""

    def __init__(self, task: Task, given: argparse.Namespace, stack: ExitStack) -> None:
        """What is started ends with `stack`."""
        self.figures = Figures()
        self._task = task
        self._given = given
        self._stack = stack
        self._progress = Progress()

    def run(self) -> None:
        """All rounds. Raises `ContenderError`, `LoadError` and `WrongAnswer`."""
        given, say = self._given, self._progress.say
        bare = BareModel(self._task, given.device, given.batch)
        self._stack.callback(bare.close)
        model = exported(self._task)
        say(f"{self._task.name} exported")
        bare.load(model)
        expected = bare.answer()
        say("the bare model is warm")
        demand = Demand(given.callers, given.loads, given.connections)
        setting = Setting(self._task, model, given.device, demand)
        # One after another: each finds out at its start how long batches of every size take.
        servers = {
            each: self._started(Served(setting, each), expected, f"{each} gateways")
            for each in given.gateways
        }
        for number in range(given.rounds):
            if number and self._progress.seconds > given.budget:
                say(f"{number} rounds and no more: --budget is spent")
                break
            self._round(number, bare, servers)
            if not number and not given.no_traces:
                collected = self._stack.enter_context(kept())
                traced = Served(setting, max(given.gateways), collected.endpoint)
                self._traced(self._started(traced, expected, "traced"), collected)

    def _started(self, server: Served, expected: Floats, name: str) -> Served:
        self._stack.callback(server.close)
        server.start(expected)
        self._progress.say(f"{name}: started")
        return server

    def _round(self, number: int, bare: BareModel, servers: dict[int, Served]) -> None:
        """Every one of them once; another one goes first each time."""
        seconds, say = self._given.seconds, self._progress.say
        turns: list[str | int] = [*WAYS, *servers]
        first = number % len(turns)
        for turn in turns[first:] + turns[:first]:
            if isinstance(turn, str):
                rate = bare.images_per_second(turn, seconds * _BARE_SHARE)
                self.figures.bare[turn].append(rate)
                say(f"round {number}: bare, {turn}: {rate:,.0f} images/s")
            else:
                sample = servers[turn].sample(seconds)
                self.figures.served.setdefault(turn, []).append(sample)
                say(f"round {number}: {turn} gateways: {_sample_told(sample)}")

    def _traced(self, server: Served, collected: Collected) -> None:
        """One sample's batches. Those of the warm-up are left out."""
        began = time.time_ns()
        sample = server.sample(self._given.seconds)
        self._progress.say(f"traced: {_sample_told(sample)}")
        server.resume()
        # Spans leave some time after their request: until none has come for a while.
        give_up, known = time.monotonic() + _EXPORT_LIMIT, -1
        while len(collected.exports) != known and time.monotonic() < give_up:
            known = len(collected.exports)
            time.sleep(_EXPORT_PAUSE)
        server.close()
        steps = steps_of(collected.spans())
        self.figures.traced = [each for each in steps if each.copy_in[0] >= began]
        self._progress.say(_hidden(self.figures.traced))


def _sample_told(sample: ServedSample) -> str:
    told = f"{sample.images_per_second:,.0f} images/s, p50 {sample.p50_ms:.1f} ms, p99 {sample.p99_ms:.1f} ms"
    if sample.batch is not None and sample.stage_ms is not None:
        stages = ", ".join(f"{each} {sample.stage_ms[each]:.2f}" for each in STAGES)
        told += f", batches of {sample.batch:.1f}, ms per batch: {stages}"
    cores = ", ".join(f"{role} {each:.1f}" for role, each in sample.cores.items())
    return f"{told}, cores: {cores}"


def _hidden(traced: list[Steps]) -> str:
    if not traced:
        return "no batch was traced: nothing is known of what is hidden"
    means = ", ".join(
        f"{name.replace('_', ' ')} {fmean([end - begin for begin, end in spans]) / 1e6:.3f}"
        for name in ("copy_in", "compute", "copy_out")
        if (spans := [getattr(each, name) for each in traced])
    )
    return (
        f"traced: {len(traced)} batches, mean ms: {means}; "
        f"{hidden_share(traced):.1%} of the time of copies is hidden behind another batch's computing"
    )


def _tell(task: Task, given: argparse.Namespace, figures: Figures) -> None:
    """Print what there is, and write it."""
    device = _device(given.device)
    print(f"{task.name} on {device}, torch {torch.__version__}, {os.cpu_count()} cores")
    print(f"{given.callers} callers, {given.loads} generators, {given.seconds:g} s per sample")
    print("images/s: median [least .. most] of the rounds", flush=True)
    for way, rates in figures.bare.items():
        if rates:
            print(f"  bare, {way:9} {Spread.of(rates).text()}")
    for gateways, samples in figures.served.items():
        rates = [each.images_per_second for each in samples]
        print(f"  {gateways} gateways     {Spread.of(rates).text()}")
        for way, bare in figures.bare.items():
            both = min(len(rates), len(bare))
            if (among := ratios(rates[:both], bare[:both])) is not None:
                print(f"    of bare, {way:9} {among.text(3)}")
        print(f"    last: {_sample_told(samples[-1])}")
    if not given.no_traces:
        print(_hidden(figures.traced), flush=True)
    if given.json is not None:
        told: dict[str, Any] = {
            "device": device,
            "torch": torch.__version__,
            "cores": os.cpu_count(),
            "task": asdict(task),
            "settings": {name: str(value) for name, value in vars(given).items()},
            "hidden_share": hidden_share(figures.traced) if figures.traced else None,
            **asdict(figures),
        }
        given.json.write_text(json.dumps(told, indent=1) + "\n")


def _device(name: str) -> str:
    return name if name == "cpu" else f"{name} ({torch.cuda.get_device_name(name)})"


if __name__ == "__main__":
    sys.exit(main())
