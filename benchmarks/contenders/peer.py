"""A contender out of `peers/`: another project's server in an environment of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from scenarios import Scenario
from wires.exchange import Exchange, oip, own, raw

from contenders.contender import Conditions, Turn
from contenders.environment import Environment
from contenders.peer_file import PeerFile
from contenders.served import ServedTurn
from contenders.server import Launch, Server


class Peer:
    """What `peer.toml` describes, as a contender."""

    def __init__(self, file: PeerFile) -> None:
        self.name = file.name
        self.title = file.title
        self.summary = file.summary
        self.settings = file.settings
        self.scenarios = file.workloads
        self._file = file
        self._environment = Environment(file)

    def missing(self) -> str | None:
        """See `Contender`."""
        return self._environment.missing()

    def version(self) -> str:
        """See `Contender`."""
        return f"{self._file.package} {self._environment.version()}"

    def turns(self, scenario: Scenario, conditions: Conditions) -> Sequence[Turn]:
        """See `Contender`."""

        def launch(server: Server) -> Launch:
            facts = {
                **server.ports,
                "scratch": server.folder,
                "model": scenario.model,
                "max_batch": scenario.max_batch,
                "rows": scenario.rows,
                "callers": scenario.callers,
            }
            fill = self._environment.fill
            command = [fill(each, **facts) for each in self._file.command]
            return Launch(
                command,
                {name: fill(value, **facts) for name, value in self._file.environment.items()},
            )

        return [
            ServedTurn(
                self.name,
                scenario,
                self._exchange(scenario),
                launch,
                conditions,
                warm=self._file.warm,
                start_limit=self._file.start_limit,
                pause=self._file.pause,
            )
        ]

    def _exchange(self, scenario: Scenario) -> Exchange:
        wire = self._file.wire
        transport = cast("Literal['grpc', 'http']", wire.transport)
        path = wire.path.format(model=scenario.model)
        if wire.format == "oip":
            plain = oip(
                scenario,
                model=wire.model.format(model=scenario.model),
                input_name=wire.input,
                output_name=wire.output,
                path=path,
            )
        elif wire.format == "raw":
            plain = raw(scenario, transport, path)
        else:
            plain = own(scenario, transport, path, self._file.folder / "wire.py")
        headers = [_header(each) for each in wire.headers]
        if transport == "http":
            headers.append(("content-type", wire.content_type))
        return Exchange(transport, path, tuple(headers), plain.body, plain.decode, wire.sizes_vary)


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()
