"""A real Prometheus, which scrapes with the files that `inferd deploy` writes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Self, TypeVar

from inferd.server.deploy.files import deploy_files
from inferd.server.deploy.targets import Targets
from support.http import ask

_T = TypeVar("_T")
_PATIENCE = 30.0
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One series and its latest value."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Runs in `folder` on a free port of the loopback address for as long as the context lasts."""

    def __init__(self, folder: Path, targets: Targets) -> None:
        for path, text in deploy_files("prometheus", targets).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus' / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._address = ""

    def __enter__(self) -> Self:
        try:
            self._address = self.wait(self._listens, "to listen")
            self.wait(self._ready, "to be ready")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._end()

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of the answer of its API."""
        body = urllib.parse.urlencode(parameters).encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = json.loads(ask(self._address, f"/api/v1/{path}", body or None, kind).body)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr: str) -> list[Sample]:
        """What the expression gives now; numbers only, for a quotient of nothing is no data."""
        result = self.ask("query", query=expr)["result"]
        samples = [Sample(each["metric"], float(each["value"][1])) for each in result]
        return [each for each in samples if not math.isnan(each.value)]

    def wait(self, look: Callable[[], _T], what: str, seconds: float = _PATIENCE) -> _T:
        """What `look` finds as soon as that is something; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
            Event().wait(_PAUSE)  # its API has nothing that would tell
        return found

    def _listens(self) -> str:
        found = re.search(r'msg="Listening on" address=(\S+)', self._log.read_text())
        return found[1] if found else ""

    def _ready(self) -> bool:
        return ask(self._address, "/-/ready").status == 200

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE)
