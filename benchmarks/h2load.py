"""nghttp2's h2load as the load generator: a few microseconds of CPU per request."""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load import LoadError, LoadResult, check_answers, run_generator
from scenarios import Scenario

from inferd.protos.services import INFERENCE_METHODS

_PATH: Final = INFERENCE_METHODS["ModelInfer"].path

_RATE = re.compile(r"finished in [^,]+, ([\d.]+) req/s")
_SUCCEEDED = re.compile(r"status codes: (\d+) 2xx")
_DATA = re.compile(r"\((\d+)\) data")

_FRAME = struct.Struct(">BI")
"""gRPC puts a flag and a length before each message."""

_MAX_HTTP2_FRAME = "1M"
"""Answers of 600 KB need not come in pieces of 16 KiB."""


class H2load:
    """Posts a prepared gRPC frame and counts the bytes that come back."""

    def __init__(self, program: str, folder: Path) -> None:
        """`program` is the path of h2load; `folder` is for the frames and logs."""
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        self.name = version.stdout.strip()
        self._program = program
        self._folder = folder

    def run(
        self, address: str, scenario: Scenario, *, requests: int, answer: int, cpu: int | None
    ) -> LoadResult:
        """See `Load.run`. An answer with an error is found out by its missing bytes."""
        frame, log = self._folder / f"{scenario.name}.frame", self._folder / "h2load.log"
        if not frame.exists():
            message = scenario.request()
            frame.write_bytes(_FRAME.pack(0, len(message)) + message)
        log.unlink(missing_ok=True)
        command = [
            self._program,
            f"--requests={requests}",
            f"--clients={scenario.connections}",
            f"--max-concurrent-streams={scenario.callers // scenario.connections}",
            f"--max-frame-size={_MAX_HTTP2_FRAME}",
            f"--data={frame}",
            f"--log-file={log}",
            "--header=content-type: application/grpc",
            "--header=te: trailers",
            f"http://{address}{_PATH}",
        ]
        summary = read_summary(run_generator(command, cpu))
        check_answers(
            requests,
            answered=summary.succeeded,
            received=summary.data_bytes,
            expected=requests * (_FRAME.size + answer),
        )
        return LoadResult(requests, summary.requests_per_second, read_log(log))


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures h2load prints. `data_bytes` are gRPC frames received, headers not counted."""

    succeeded: int
    requests_per_second: float
    data_bytes: int


def read_summary(output: str) -> Summary:
    """Read h2load's report. Raises `LoadError` where it is not of the known form."""
    rate, succeeded, data = (each.search(output) for each in (_RATE, _SUCCEEDED, _DATA))
    if rate is None or succeeded is None or data is None:
        raise LoadError(
            f"this is no report of h2load as version 1.52 writes it: {output[-2000:]!r}; "
            "take --load python"
        )
    return Summary(int(succeeded[1]), float(rate[1]), int(data[1]))


def read_log(path: Path) -> list[int]:
    """Microseconds of each request, ascending; failed ones are left out.

    A line is: start since the epoch, HTTP status, microseconds until the end of the answer.
    """
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return sorted(int(row[2]) for row in rows if row[1] == "200")
