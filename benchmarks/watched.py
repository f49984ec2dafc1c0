"""What watching costs, told within one server: its gateway is switched between watched and not.

Two starts of the same server differ by several percent, for as long as they run: more than watching costs.
Here one server with `--trace-sampling 0.01 --access-log 0.01`, on one core, is under load all the time, and
every third of a second another of three ways is taken by its requests, in random order: `off` and `again`
past whatever watches, `on` as without this benchmark. CPU time of the threads that answer, and of the worker,
is told apart by these phases. What is left for later (exporting spans, writing lines, the supervisor) is borne
by the watched requests alone; there is a scrape for each five seconds of `on`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from affinity import two_cores
from contenders.collector import collector
from contenders.contender import Conditions, ContenderError
from contenders.peer_file import BENCHMARKS
from contenders.scraper import Scraper
from contenders.served import ServedTurn
from contenders.server import Launch, Server
from export_models import repository
from load import H2load
from scenarios import SCENARIOS
from switching.costs import STATES, Costs, Phase, costs
from switching.gateway import order
from wires.exchange import oip

EXAMPLES = """\
examples:
  .venv/bin/python benchmarks/watched.py
  .venv/bin/python benchmarks/watched.py --scenario mlp-32 --rounds 300
"""

_START_LIMIT = 180.0
_ENDLESS = 1_000_000_000
_LOOK = 0.5
_SCRAPE_PERIOD = 5.0
_STALL_LIMIT = 60.0
_SHARE = "0.01"
_QUICK = tuple(name for name in SCENARIOS if name.startswith(("linear", "mlp")))
"""A fraction of a second has to hold many requests."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", choices=_QUICK, default="linear-64")
    parser.add_argument("--rounds", type=int, default=200, help="with each of the three ways once")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each phase")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or not given.seconds > 0:
        parser.error("--rounds must be 1 at least, and --seconds more than 0")
    with tempfile.TemporaryDirectory() as folder:
        phases = _measured(given.scenario, given.rounds, given.seconds, Path(folder))
    print(_told(given.scenario, costs(phases)))
    return 0


def _measured(name: str, rounds: int, seconds: float, folder: Path) -> list[Phase]:
    scenario, cores, file = SCENARIOS[name], two_cores(), folder / "phases"
    scraper = Scraper(_SCRAPE_PERIOD * len(STATES))
    conditions = Conditions(
        load=H2load(folder),
        seconds=1.0,
        warm=None,
        server_cpu=cores[0] if cores else None,
        load_cpu=cores[1] if cores else None,
    )
    with collector() as endpoint:

        def launch(server: Server) -> Launch:
            scraper.ops[name] = f"127.0.0.1:{server.ports['port2']}"
            model = repository([scenario.model]) / scenario.model
            serve = [sys.executable, "-m", "switching.serve", "serve", str(model)]
            serve += ["--grpc", server.address, "--http", "off", "--ops", scraper.ops[name]]
            serve += ["--tracing", "otlp", "--trace-sampling", _SHARE, "--access-log", _SHARE]
            environment = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                **order(file, rounds, seconds),
            }
            return Launch([*serve, "--log-level", "warning"], environment, BENCHMARKS)

        turn = ServedTurn(
            name, scenario, oip(scenario), launch, conditions, start_limit=_START_LIMIT
        )
        try:
            turn.prepare()
            with turn.awake():
                load = turn.begin(_ENDLESS)
                try:
                    with scraper.at_work(name):
                        return _awaited(file, rounds * len(STATES))
                finally:
                    load.kill()
        finally:
            turn.close()


def _awaited(file: Path, count: int) -> list[Phase]:
    """So many phases, as they come. Raises `ContenderError` where they cease to."""
    told, since = 0, time.monotonic()
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [Phase(**json.loads(line)) for line in lines]
        if len(lines) > told:
            told, since = len(lines), time.monotonic()
            print(f"\r{told} of {count} phases", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - since > _STALL_LIMIT:
            raise ContenderError(f"no phase for {_STALL_LIMIT:.0f} s, after {told} of {count}")
        time.sleep(_LOOK)


def _told(scenario: str, found: Costs) -> str:
    return f"""
{scenario}, microseconds of CPU time per request; means and standard errors over the rounds
unwatched            {found.unwatched:.2f} (again - off: {found.noise})
watched, gateway     + {found.gateway}
         worker      + {found.worker}
         afterwards  + {found.afterwards:.2f}
         in all      + {found.added}
rows in a batch      {found.rows_off:.1f} unwatched, {found.rows_on:.1f} watched
throughput of the core, watched ÷ unwatched: {found.ratio.mean:.3f} ± {found.ratio.error:.3f}"""


if __name__ == "__main__":
    sys.exit(main())
