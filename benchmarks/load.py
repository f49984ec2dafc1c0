"""What sends the requests: nghttp2's h2load, one process per run; microseconds of CPU per request.

Closed loop: each caller sends again as soon as it has its answer.
"""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from affinity import pinned
from scenarios import Scenario
from wires.exchange import GRPC_FRAME, Exchange

_RATE = re.compile(r"finished in [^,]+, ([\d.]+) req/s")
_SUCCEEDED = re.compile(r"status codes: (\d+) 2xx")
_DATA = re.compile(r"\((\d+)\) data")

_MAX_HTTP2_FRAME = "1M"
"""Answers of 600 KB need not come in pieces of 16 KiB."""

_PATIENCE = 180.0
"""Seconds that one run of the generator may take; asked for are a few."""

_MAX_GROWTH = 8
"""A warm-up grows by this factor at most: one odd run must not make the next last minutes."""

_SIZE_TOLERANCE = 0.2
"""Of the bytes received where numbers come as text."""


class LoadError(RuntimeError):
    """The generator failed, or not every request was answered in full: the text says which."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What `requests` calls took. `latencies` in microseconds, ascending, one per request.

    `busy` is the share of its core that the generator used: near 1 it held the server back.
    """

    requests: int
    requests_per_second: float
    latencies: Sequence[int]
    busy: float

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.requests / self.requests_per_second


@dataclass(frozen=True, slots=True)
class Calls:
    """`requests` calls to a server, from core `cpu` (None: any).

    `answer` is the size in bytes of what each call must get.
    """

    address: str
    scenario: Scenario
    exchange: Exchange
    requests: int
    answer: int
    cpu: int | None


class H2load:
    """Posts a prepared request and counts the bytes that come back."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for requests and logs. Raises `LoadError` where h2load is not installed."""
        program = shutil.which("h2load")
        if program is None:
            raise LoadError(
                "h2load is not on the PATH; install it (Debian: apt-get install nghttp2-client)"
            )
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        self.name = version.stdout.strip()
        self._program = program
        self._folder = folder

    def run(self, calls: Calls) -> LoadResult:
        """Send them and wait for all answers.

        Raises `LoadError` unless every call got what it must; an error in a gRPC trailer is found
        out by its missing bytes.
        """
        log = self._folder / "h2load.log"
        log.unlink(missing_ok=True)
        before = _cpu_of_children()
        command = [*self._command(calls), f"--log-file={log}"]
        summary = _checked(_finish(_start(command, calls.cpu), _PATIENCE), calls)
        rate = summary.requests_per_second
        busy = (_cpu_of_children() - before) * rate / calls.requests
        return LoadResult(calls.requests, rate, read_log(log), busy)

    def begin(self, calls: Calls, log: Path | None = None) -> Load:
        """As `run`, but while the calls go on the generator may be paused; `log` is for `read_times`."""
        command = self._command(calls)
        if log is not None:
            log.unlink(missing_ok=True)
            command.append(f"--log-file={log}")
        process = _start(command, calls.cpu)
        return Load(process, lambda output: _checked(output, calls))

    def _command(self, calls: Calls) -> list[str]:
        scenario, exchange = calls.scenario, calls.exchange
        framed = exchange.transport == "grpc"
        # One of its own for each server: a generator that is paused reads on in its file later.
        body = self._folder / f"request-{calls.address}"
        body.write_bytes(_frame(exchange) + exchange.body)
        # HTTP/1.1 has one request at a time on a connection.
        clients = scenario.connections if framed else scenario.callers
        return [
            self._program,
            f"--requests={calls.requests}",
            f"--clients={clients}",
            f"--max-concurrent-streams={scenario.callers // clients}",
            f"--data={body}",
            *(f"--header={name}: {value}" for name, value in exchange.headers),
            *(_grpc_options() if framed else ("--h1",)),
            f"http://{calls.address}{exchange.path}",
        ]


class Load:
    """A run of the generator under way. It may be paused, together with the server."""

    def __init__(self, process: subprocess.Popen[str], check: Callable[[str], object]) -> None:
        """`check` raises `LoadError` for an output that is not what was asked for."""
        self._process = process
        self._check = check

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self, seconds: float) -> bool:
        """Wait for the last answer, so long at most; whether it has come. Raises `LoadError`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._check(_finish(self._process, seconds))
        return True

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures h2load prints. `data_bytes` are contents received, headers not counted."""

    succeeded: int
    requests_per_second: float
    data_bytes: int


def read_summary(output: str) -> Summary:
    """Read h2load's report. Raises `LoadError` where it is not of the known form."""
    rate, succeeded, data = (each.search(output) for each in (_RATE, _SUCCEEDED, _DATA))
    if rate is None or succeeded is None or data is None:
        raise LoadError(
            f"this is no report of h2load as version 1.52 writes it: {output[-2000:]!r}"
        )
    return Summary(int(succeeded[1]), float(rate[1]), int(data[1]))


def read_log(path: Path) -> list[int]:
    """Microseconds of each request, ascending; failed ones are left out.

    A line is: start since the epoch, HTTP status, microseconds until the end of the answer.
    """
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return sorted(int(row[2]) for row in rows if row[1] == "200")


def read_times(path: Path) -> list[tuple[int, int]]:
    """Begin and end of each request of the same log that was answered, in microseconds since the epoch."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return [(int(row[0]), int(row[0]) + int(row[2])) for row in rows if row[1] == "200"]


def check_answers(requests: int, summary: Summary, expected: int, *, about: bool) -> None:
    """Raise `LoadError` unless all requests were answered, with the bytes expected in all.

    `about` allows for numbers written as text.
    """
    slack = expected * _SIZE_TOLERANCE if about else 0
    if summary.succeeded != requests or abs(summary.data_bytes - expected) > slack:
        raise LoadError(
            f"{summary.succeeded} of {requests} requests were answered, with {summary.data_bytes} "
            f"bytes where {expected} were expected: the server refuses requests or answers them "
            "wrongly, so this run counts for nothing"
        )


def warm_up(run: Callable[[int], LoadResult], callers: int, seconds: float) -> float:
    """Run ever more requests until a run lasts about `seconds`; returns its requests per second."""
    requests = callers * 8
    while True:
        result = run(requests)
        if result.seconds >= seconds / 2:
            return result.requests_per_second
        guess = int(result.requests_per_second * seconds)
        requests = min(max(guess, 2 * requests), _MAX_GROWTH * requests)


def _grpc_options() -> tuple[str, ...]:
    return (
        f"--max-frame-size={_MAX_HTTP2_FRAME}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
    )


def _frame(exchange: Exchange) -> bytes:
    """What stands before each message."""
    framed = exchange.transport == "grpc"
    return GRPC_FRAME.pack(0, len(exchange.body)) if framed else b""


def _checked(output: str, calls: Calls) -> Summary:
    summary = read_summary(output)
    expected = calls.requests * (len(_frame(calls.exchange)) + calls.answer)
    check_answers(calls.requests, summary, expected, about=calls.exchange.sizes_vary)
    return summary


def _start(command: Sequence[str], cpu: int | None) -> subprocess.Popen[str]:
    with pinned(cpu):
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is ours to handle
        )


def _finish(process: subprocess.Popen[str], patience: float) -> str:
    """What the generator printed, when it has ended. Raises `LoadError`."""
    try:
        output, errors = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired as error:
        raise LoadError(
            f"the load generator was not done after {patience:.0f} s: the server does not "
            "answer, or --seconds asks for more than that"
        ) from error
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise LoadError(
            f"the load generator ended with code {process.returncode}: {(errors or output)[-2000:]}"
        )
    return output


def _cpu_of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
