"""What watching costs: the same server watched and not, in turns.

`off` serves without traces, access log and operations port, and `again` the same once more: how far it is from `off` is
the machine's noise. `metrics` is scraped every five seconds, `traces` exports
one request in a hundred to a collector, `log` writes a line for one in a hundred, `on` has all of them
(and traces what it logs). The server's
processes share one core, the exporting threads and the scrape among them, if not `--unpinned`. `--before PROGRAM` adds another `inferd`, such
as that of an older commit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from math import nan, sqrt
from pathlib import Path
from statistics import fmean, median, stdev

from affinity import two_cores
from contenders.collector import collector
from contenders.contender import Conditions, Sample
from contenders.ours import ROLES
from contenders.scraper import Scraper
from contenders.served import ServedTurn
from contenders.server import Launch, Server
from contenders.slices import Spent, in_slices
from export_models import repository
from load import H2load
from scenarios import SCENARIOS, Scenario
from wires.exchange import oip

from inferd.client import connect

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/telemetry.py --scenario linear-64 --scenario mlp-32
  .venv/bin/python benchmarks/telemetry.py --scenario linear-64 --variant again --variant on --starts 8
  .venv/bin/python benchmarks/telemetry.py --scenario linear-64 --variant on --starts 8 --seconds 10 --slice 0.2
  .venv/bin/python benchmarks/telemetry.py --before ../older/.venv/bin/inferd
"""

_INFERD = str(Path(sys.executable).with_name("inferd"))
_START_LIMIT = 180.0
_WARM_UP = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in turns and print medians and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--starts", type=int, default=3, help="how often all servers are started")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each in one start")
    parser.add_argument("--seconds", type=float, default=5.0, help="per sample")
    parser.add_argument("--variant", action="append", help="beside `off`; all if not given")
    parser.add_argument("--before", metavar="PROGRAM", help="another inferd to compare with")
    parser.add_argument(
        "--slice",
        type=float,
        metavar="SECONDS",
        help="take turns of so long, and --seconds in all in each start: "
        "means and standard errors of CPU time and time that passed, beside the mean of the unwatched ones, and no p99",
    )
    parser.add_argument(
        "--unpinned",
        action="store_true",
        help="let the system place processes: on a machine with cores for all of them, "
        "how much less is answered by one that is watched",
    )
    given = parser.parse_args(arguments)
    cores = None if given.unpinned else two_cores()
    with tempfile.TemporaryDirectory() as folder, collector() as endpoint:
        conditions = Conditions(
            load=H2load(Path(folder)),
            seconds=given.seconds,
            warm=None,
            server_cpu=cores[0] if cores else None,
            load_cpu=cores[1] if cores else None,
        )
        for name in given.scenario or ["linear-64", "mlp-32"]:
            variants = _variants(endpoint, given.before, scraper := Scraper())
            if unknown := set(given.variant or ()) - set(variants):
                parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(variants)}")
            asked = {"off", *(given.variant or variants)}
            variants = {name: each for name, each in variants.items() if name in asked}
            compare = _compare if given.slice is None else _compare_in_slices
            compare(SCENARIOS[name], conditions, given, variants, scraper)
    return 0


def _variants(endpoint: str, before: str | None, scraper: Scraper) -> dict[str, Options]:
    variants = {
        "off": _off,
        "again": _off,
        "metrics": _scraped(scraper),
        "traces": _traced(endpoint),
        "log": _logged,
        "on": _everything(endpoint, scraper),
    }
    if before is not None:
        variants["before"] = _older(before)
    return variants


def _compare(
    scenario: Scenario,
    conditions: Conditions,
    given: argparse.Namespace,
    variants: dict[str, Options],
    scraper: Scraper,
) -> None:
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    # Started anew some times: what one start has by chance is not in all samples.
    for start in range(given.starts):
        with _prepared(scenario, conditions, variants, start) as turns:
            for number in range(given.rounds):
                names = list(turns)
                # Another one goes first each time: none has the quieter half of every round.
                first = (start + number) % len(names)
                for name in names[first:] + names[:first]:
                    with scraper.at_work(name) if name in scraper.ops else ExitStack():
                        samples[name].append(turns[name].sample())
    _show(scenario.name, samples, scraper.seconds)


def _compare_in_slices(
    scenario: Scenario,
    conditions: Conditions,
    given: argparse.Namespace,
    variants: dict[str, Options],
    scraper: Scraper,
) -> None:
    def beside(name: str) -> AbstractContextManager[object]:
        return scraper.at_work(name) if name in scraper.ops else nullcontext()

    taken: dict[str, list[Spent]] = {name: [] for name in variants}
    for start in range(given.starts):
        warm = replace(conditions, seconds=_WARM_UP)
        with _prepared(scenario, warm, variants, start) as turns:
            runs = {name: turn.sliced(given.seconds) for name, turn in turns.items()}
            for name, spent in in_slices(runs, given.slice, beside).items():
                taken[name].append(spent)
                of = ", ".join(f"{role} {each:.1f}" for role, each in spent.of.items())
                rows = _rows_per_batch(turns[name], scenario.model)
                line = (
                    f"start {start}: {name:7} CPU {spent.cpu_us:.1f} us ({of}), "
                    f"passed {spent.passed_us:.1f} us; {rows:.1f} rows in a batch"
                )
                print(line, file=sys.stderr, flush=True)
    # Two starts of the same server differ: both unwatched ones together are the better measure.
    unwatched = [taken[name] for name in ("off", "again") if name in taken]
    for name, each in taken.items():
        for figure in ("cpu_us", "passed_us"):
            told = [getattr(one, figure) for one in each]
            basis = [
                fmean([getattr(one, figure) for one in start])
                for start in zip(*unwatched, strict=True)
            ]
            ratios = [one / other for one, other in zip(told, basis, strict=True)]
            error = stdev(ratios) / sqrt(len(ratios)) if len(ratios) > 1 else nan
            print(
                f"{scenario.name:10} {name:7} {figure:9} {fmean(told):6.1f} "
                f"({fmean(ratios):.3f} ± {error:.3f})",
                flush=True,
            )


@contextmanager
def _prepared(
    scenario: Scenario, conditions: Conditions, variants: dict[str, Options], start: int
) -> Iterator[dict[str, ServedTurn]]:
    """All of them started and paused, until the context ends; another one first at each `start`."""
    first = start % len(variants)
    names = [*variants][first:] + [*variants][:first]
    turns = {name: _turn(name, scenario, conditions, variants[name]) for name in names}
    with ExitStack() as stack:
        for turn in turns.values():
            stack.callback(turn.close)
            turn.prepare()
        yield turns


def _rows_per_batch(turn: ServedTurn, model: str) -> float:
    """The mean since it was started. CPU time hangs on it, and it may settle elsewhere in each start."""
    with turn.awake() as address, connect(address) as client:
        (told,) = client.model(model).statistics()
    return told.inference_count / told.execution_count


def _ratios(figure: str, taken: Sequence[object], off: Sequence[object]) -> list[float]:
    return [
        getattr(one, figure) / getattr(other, figure) for one, other in zip(taken, off, strict=True)
    ]


def _show(scenario: str, samples: dict[str, list[Sample]], scrapes: Sequence[float]) -> None:
    for name, taken in samples.items():
        ratios = {
            figure: _ratios(figure, taken, samples["off"])
            for figure in ("requests_per_second", "server_cpu_us", "p99_us")
        }
        told = "  ".join(
            f"{figure} {median([getattr(each, figure) for each in taken]):9.1f} "
            f"({median(among):.3f} [{min(among):.2f} .. {max(among):.2f}])"
            for figure, among in ratios.items()
        )
        print(f"{scenario:10} {name:7} {told}", flush=True)
    if scrapes:
        print(f"{scenario:10} scrapes {len(scrapes)}, median {median(scrapes) * 1e3:.1f} ms")


Options = Callable[[Server], tuple[str, list[str], dict[str, str]]]
"""The program, more arguments of it, and its environment."""


def _turn(name: str, scenario: Scenario, conditions: Conditions, options: Options) -> ServedTurn:
    def launch(server: Server) -> Launch:
        program, more, environment = options(server)
        model = repository([scenario.model]) / scenario.model
        serve = [program, "serve", str(model), "--grpc", server.address, "--http", "off"]
        return Launch([*serve, "--log-level", "warning", *more], environment)

    return ServedTurn(
        name, scenario, oip(scenario), launch, conditions, start_limit=_START_LIMIT, roles=ROLES
    )


def _off(_: Server) -> tuple[str, list[str], dict[str, str]]:
    return _INFERD, ["--ops", "off"], {}


def _older(program: str) -> Options:
    return lambda _: (program, [], {})


def _scraped(scraper: Scraper, name: str = "metrics") -> Options:
    def options(server: Server) -> tuple[str, list[str], dict[str, str]]:
        scraper.ops[name] = f"127.0.0.1:{server.ports['port2']}"
        return _INFERD, ["--ops", scraper.ops[name]], {}

    return options


def _traced(endpoint: str) -> Options:
    more = ["--ops", "off", "--tracing", "otlp", "--trace-sampling", "0.01"]
    return lambda _: (_INFERD, more, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})


def _logged(_: Server) -> tuple[str, list[str], dict[str, str]]:
    return _INFERD, ["--ops", "off", "--access-log", "0.01"], {}


def _everything(endpoint: str, scraper: Scraper) -> Options:
    def options(server: Server) -> tuple[str, list[str], dict[str, str]]:
        _, scraped, _ = _scraped(scraper, "on")(server)
        _, traced, environment = _traced(endpoint)(server)
        return _INFERD, [*scraped, *traced[2:], "--access-log", "0.01"], environment

    return options


if __name__ == "__main__":
    sys.exit(main())
