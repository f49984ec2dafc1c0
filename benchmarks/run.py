"""Measure inferd beside its peers, side by side in one run.

Scenario by scenario every contender serves the same model; its answers are checked against the bare
model; then the load goes from one to the next, round after round, while the others are paused.
Unless --unpinned is given, each server's processes share one core and the load generator has another.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from affinity import two_cores
from comparison import Comparison
from contenders.catalogue import ONLY_IF_NAMED, all_contenders
from contenders.contender import Conditions, Contender
from contenders.ours import SUBJECT
from contenders.peer_file import PeerFileError
from load import H2load, LoadError
from results.figures import aligned, table
from results.record import Record, record
from results.targets import targets
from scenarios import SCENARIOS, Scenario

EXAMPLES = """\
examples:
  make bench                                             everything that is installed, three rounds
  make bench ARGS="--rounds 5 --seconds 5 --output bench.json"
  make bench ARGS="--scenario mlp-32 --contender inferd --contender triton"
  make bench ARGS="--unpinned --seconds 1 --rounds 1"
  make bench ARGS="--unpinned --contender inferd --contender inferd-2 --scenario linear-64"
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    rounds: int
    seconds: float
    scenarios: tuple[Scenario, ...]
    contenders: tuple[Contender, ...]
    chosen: tuple[str, ...]  # the words that chose scenarios and contenders, to tell them again
    pin: bool
    warm: float | None
    output: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every contender was measured."""
    signal.signal(signal.SIGTERM, _end)
    try:
        options = parse(arguments)
    except PeerFileError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="inferd-bench-") as folder:
        try:
            content = _measure(options, Path(folder))
        except LoadError as error:
            print(error, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted: nothing is reported", file=sys.stderr)
            return 130
    _print(content)
    if options.output is not None:
        options.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return 1 if content["missing"] else 0


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line; ends the process where it makes no sense."""
    known = all_contenders()
    parser = _parser(known)
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds must be at least 1 and --seconds above 0")
    if not given.unpinned and two_cores() is None:
        parser.error(
            "this process may use one core only, but the servers and the load each need one of "
            "their own; give it two, or take --unpinned"
        )
    scenarios = given.scenario or list(SCENARIOS)
    contenders = given.contender or [name for name in known if name not in ONLY_IF_NAMED]
    named = {"--scenario": given.scenario, "--contender": given.contender}
    chosen = [f"{option} {name}" for option, names in named.items() for name in names or ()]
    return Options(
        rounds=given.rounds,
        seconds=given.seconds,
        scenarios=tuple(SCENARIOS[name] for name in SCENARIOS if name in scenarios),
        contenders=tuple(known[name] for name in known if name in contenders),
        chosen=tuple(chosen),
        pin=not given.unpinned,
        warm=given.warm,
        output=given.output,
    )


def _parser(known: Mapping[str, Contender]) -> argparse.ArgumentParser:
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
        choices=known,
        metavar="NAME",
        help=f"one of {', '.join(known)}; may be given several times (default: all "
        f"but {', '.join(sorted(ONLY_IF_NAMED))})",
    )
    parser.add_argument("--unpinned", action="store_true", help="let the system place processes")
    parser.add_argument(
        "--warm",
        type=float,
        metavar="SECONDS",
        help="load before the first round, for those that need it, as TorchServe does "
        "(default: what each asks for)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write every round as JSON")
    return parser


def _measure(options: Options, folder: Path) -> Record:
    load = H2load(folder)
    cores = two_cores() if options.pin else None
    conditions = Conditions(
        load=load,
        seconds=options.seconds,
        warm=options.warm,
        server_cpu=cores[0] if cores else None,
        load_cpu=cores[1] if cores else None,
    )
    results = Comparison(conditions, options.rounds, _say).run(
        options.contenders, options.scenarios
    )
    settings: dict[str, object] = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "pinned": options.pin,
        "warm": options.warm,
        "chosen": options.chosen,
        "load": load.name,
    }
    return record(results, options.contenders, settings)


def _print(content: Record) -> None:
    facts, settings = content["machine"], content["settings"]
    pinning = "servers on one core, load on another" if settings["pinned"] else "not pinned"
    print(f"\n{facts['processor']}, {facts['cores']} cores; Python {facts['python']}; {pinning}")
    print(f"{settings['load']}; {settings['rounds']} rounds of about {settings['seconds']:g} s")
    print("median [least .. most] of the rounds; ratios are taken round by round")
    for name, scenario in content["scenarios"].items():
        if scenario["rounds"]:
            print(f"\n{scenario['title']}\n{aligned(table(content, name, SUBJECT))}")
    print()
    for target in targets():
        found = target.verdict(content)
        if found is not None:
            spread, good = found
            word = "met" if good else "MISSED"
            print(f"{word:6}  {target.text}: {spread.text(2)}, wanted {target.wanted}")
    for name, why in content["missing"].items():
        print(f"{name} was not measured: {why}")


def _listed() -> str:
    return "; ".join(f"{each.name} ({each.title})" for each in SCENARIOS.values())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _end(_: int, __: object) -> NoReturn:
    raise KeyboardInterrupt  # the servers are stopped on the way out


if __name__ == "__main__":
    sys.exit(main())
