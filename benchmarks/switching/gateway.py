"""The gateway of inferd, and a thread in it that switches what its door does with requests.

Which file to write and for how long stands in the environment, as `order` makes it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from inferd.server.gateway.__main__ import main

_APP = "inferd.server.gateway.app"
_FILE, _ROUNDS, _SECONDS = "SWITCHING_FILE", "SWITCHING_ROUNDS", "SWITCHING_SECONDS"


def order(file: Path, rounds: int, seconds: float) -> Mapping[str, str]:
    """The environment of a server whose gateway writes its phases to `file`, a line of JSON for each."""
    return {_FILE: str(file), _ROUNDS: str(rounds), _SECONDS: str(seconds)}


class _Hook(MetaPathFinder):
    """gRPC, and all that imports it, may be imported only later: by the gateway itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, and once it is executed its gateway begins to switch when it runs."""
        if name != _APP:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            run = module.Gateway.run

            def switched(gateway: object) -> None:
                from switching.phases import Phases  # noqa: PLC0415  # imports what imports gRPC

                environment = os.environ
                seconds, rounds = float(environment[_SECONDS]), int(environment[_ROUNDS])
                Phases(gateway, Path(environment[_FILE]), rounds, seconds).start()
                run(gateway)

            module.Gateway.run = switched

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _Hook())
    sys.exit(main())
