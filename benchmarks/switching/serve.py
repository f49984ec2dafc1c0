"""`inferd` with a gateway that is switched: `python -m switching.serve serve MODEL ...`."""

from __future__ import annotations

from dataclasses import replace

from inferd.server.cli.main import main
from inferd.server.supervisor.app import Programs

_GATEWAYS = {"inferd.server.gateway": "switching.gateway"}


def _programs(log_level: str, log_format: str) -> Programs:
    own = _of_inferd(log_level, log_format)
    return replace(own, gateway=[_GATEWAYS.get(each, each) for each in own.gateway])


_of_inferd = Programs.of_inferd
Programs.of_inferd = staticmethod(_programs)  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
