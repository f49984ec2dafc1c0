"""inferd, and the servers of `servers/` that are written for the comparison."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from export_models import repository
from scenarios import SCENARIOS, Scenario
from wires.exchange import oip

from contenders.contender import Conditions, Turn
from contenders.memory import kept_memory
from contenders.peer_file import BENCHMARKS
from contenders.served import ServedTurn
from contenders.server import Launch, Server

SUBJECT = "inferd"
"""Whom the others are compared with."""

TWO_GATEWAYS = "inferd-2"
"""The same with two gateways."""

_START_LIMIT = 180.0
"""inferd tries every size of batch before it is ready, and the CNN takes its time on a busy core."""

ROLES = {"supervisor": "serve", "gateway": "inferd.server.gateway", "worker": "inferd.worker"}
"""What each process of inferd has on its command line."""

_WITHIN_A_BATCH = tuple(
    name for name, each in SCENARIOS.items() if each.rows <= max(1, each.max_batch)
)
"""What a server can do that does not split requests."""


class Inferd:
    """`inferd serve` of the exported model, with the settings it has by itself."""

    scenarios = tuple(SCENARIOS)

    def __init__(self, name: str, summary: str, settings: str, options: Sequence[str] = ()) -> None:
        """`options` are more arguments of `inferd serve`."""
        self.name = self.title = name
        self.summary = summary
        self.settings = settings
        self._options = tuple(options)

    def missing(self) -> str | None:
        """See `Contender`."""
        return None

    def version(self) -> str:
        """See `Contender`."""
        return importlib.metadata.version("inferd")

    def turns(self, scenario: Scenario, conditions: Conditions) -> Sequence[Turn]:
        """See `Contender`."""

        def launch(server: Server) -> Launch:
            program = str(Path(sys.executable).with_name("inferd"))
            model = repository([scenario.model]) / scenario.model
            serve = [program, "serve", str(model), "--grpc", server.address, "--http", "off"]
            serve += ["--ops", "127.0.0.1:0"]
            return Launch([*serve, "--log-level", "warning", *self._options])

        return [
            ServedTurn(
                self.name,
                scenario,
                oip(scenario),
                launch,
                conditions,
                start_limit=_START_LIMIT,
                roles=ROLES,
            )
        ]


class Own:
    """A module of `servers/`: takes a model, a largest batch and a port."""

    def __init__(
        self,
        name: str,
        module: str,
        summary: str,
        settings: str,
        *,
        scenarios: Sequence[str] = _WITHIN_A_BATCH,
        echo: bool = False,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        """`echo`: it answers with its input, without a model; `roles` as in `ProcessTree`."""
        self.name = self.title = name
        self.summary = summary
        self.settings = settings
        self.scenarios = tuple(scenarios)
        self._module = module
        self._echo = echo
        self._roles = roles or {}

    def missing(self) -> str | None:
        """See `Contender`."""
        return None

    def version(self) -> str:
        """See `Contender`: of grpcio, on which they all stand."""
        return f"grpcio {importlib.metadata.version('grpcio')}"

    def turns(self, scenario: Scenario, conditions: Conditions) -> Sequence[Turn]:
        """See `Contender`."""

        def launch(server: Server) -> Launch:
            options = {
                "model": "echo" if self._echo else scenario.model,
                "max-batch": scenario.max_batch,
                "port": server.ports["port"],
                "parent": os.getpid(),
            }
            arguments = [f"--{name}={value}" for name, value in options.items()]
            command = [sys.executable, "-m", self._module, *arguments]
            return Launch(command, kept_memory(), BENCHMARKS)

        return [
            ServedTurn(
                self.name,
                scenario,
                oip(scenario),
                launch,
                conditions,
                start_limit=_START_LIMIT,
                echo=self._echo,
                roles=self._roles,
            )
        ]
