"""Measure ModelInfer of inferd on the echo model beside other servers, side by side in one run.

Every contender is started once; its answers are checked against the input; then the load goes
from one to the next, round after round. Unless --unpinned is given, each server's processes
share one core and the load generator has another.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from choice import LOADS, choose_load
from comparison import Comparison
from drivers.contenders import CONTENDERS, SUBJECT
from drivers.driver import DriverError
from load import LoadError
from report import machine, record, tables
from scenarios import SCENARIOS

EXAMPLES = """\
examples:
  make bench                                             everything, three rounds
  make bench ARGS="--rounds 5 --seconds 5 --output bench.json"
  .venv/bin/python benchmarks/run.py --scenario small-64 --contender inferd --contender threaded
  .venv/bin/python benchmarks/run.py --unpinned --seconds 1
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    rounds: int
    seconds: float
    scenarios: tuple[str, ...]
    contenders: tuple[str, ...]
    load: str
    pin: bool
    output: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every contender was measured."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="inferd-bench-") as folder:
        try:
            load = choose_load(Path(folder), options.load)
            comparison = Comparison(
                load, rounds=options.rounds, seconds=options.seconds, pin=options.pin, say=_say
            )
        except (LoadError, DriverError) as error:
            print(error, file=sys.stderr)
            return 2
        try:
            results = comparison.run(
                [CONTENDERS[name]() for name in options.contenders],
                [SCENARIOS[name] for name in options.scenarios],
            )
        except KeyboardInterrupt:
            print("interrupted: nothing is reported", file=sys.stderr)
            return 130
    facts = machine()
    pinning = "servers on one core, load on another" if options.pin else "not pinned"
    print(f"\n{facts['processor']}, {facts['cores']} cores; Python {facts['python']}; {pinning}")
    print(f"load: {load.name}; {options.rounds} rounds of about {options.seconds:g} s")
    print("median [least .. most] of the rounds; ratios are taken round by round\n")
    print(tables(results, subject=SUBJECT))
    if options.output is not None:
        settings: dict[str, object] = {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "pinned": options.pin,
            "load": load.name,
        }
        content = record(results, subject=SUBJECT, settings=settings)
        options.output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 1 if results.missing else 0


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line; ends the process where it makes no sense."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{EXAMPLES}\nscenarios: {_listed()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="samples of each (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="about how long one sample takes (default: 3)"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        choices=SCENARIOS,
        metavar="NAME",
        help=f"one of {', '.join(SCENARIOS)}; may be given several times (default: all)",
    )
    parser.add_argument(
        "--contender",
        action="append",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"one of {', '.join(CONTENDERS)}; may be given several times (default: all)",
    )
    parser.add_argument(
        "--load",
        choices=LOADS,
        default="auto",
        help="the load generator; auto (default) is h2load where it is installed",
    )
    parser.add_argument("--unpinned", action="store_true", help="let the system place processes")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write every round as JSON")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds must be at least 1 and --seconds above 0")
    return Options(
        rounds=given.rounds,
        seconds=given.seconds,
        scenarios=tuple(dict.fromkeys(given.scenario or SCENARIOS)),
        contenders=tuple(dict.fromkeys(given.contender or CONTENDERS)),
        load=given.load,
        pin=not given.unpinned,
        output=given.output,
    )


def _listed() -> str:
    return "; ".join(f"{each.name} ({each.title})" for each in SCENARIOS.values())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _end(_: int, __: object) -> NoReturn:
    raise KeyboardInterrupt  # the servers are stopped on the way out


if __name__ == "__main__":
    sys.exit(main())
