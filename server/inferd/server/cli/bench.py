"""`inferd bench`: how fast a server answers, under which load."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from inferd.bench.fleet.fleet import FleetError
from inferd.bench.output.progress import RunProgress
from inferd.bench.output.table import result_lines
from inferd.bench.payload import Wanted
from inferd.bench.plan import Plan, PlanError, default_timeout, processes_of, steps_of
from inferd.bench.result import Result, to_json
from inferd.bench.run import Run
from inferd.bench.subject import Sought, Subject, find_subject
from inferd.client import InferenceError, connect
from inferd.server.cli.output import FAILED, MISUSED, complain, show

_INTERRUPTED = 130

_Sweep = Annotated[str | None, Parameter(metavar="SWEEP", show_default=False)]
_Path = Annotated[Path | None, Parameter(metavar="FILE", show_default=False)]
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def bench(
    model: str,
    /,
    *,
    address: str = "127.0.0.1:8001",
    concurrency: _Sweep = None,
    rate: _Sweep = None,
    arrivals: Literal["poisson", "constant"] = "poisson",
    duration: float = 5.0,
    warm_up: float = 1.0,
    timeout: Annotated[float | None, Parameter(metavar="SECONDS", show_default=False)] = None,
    inputs: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--input", "-i"),
            metavar="[NAME=]VALUE",
            negative=(),
            json_list=False,
            show_default=False,
        ),
    ] = (),
    rows: Annotated[int | None, Parameter(show_default=False)] = None,
    shape: Annotated[
        tuple[str, ...],
        Parameter(metavar="NAME=SIZES", negative=(), json_list=False, show_default=False),
    ] = (),
    seed: int = 0,
    stream: _Flag = False,
    connections: int = 1,
    processes: str = "auto",
    version: int | None = None,
    server_pid: Annotated[int | None, Parameter(show_default=False)] = None,
    output: _Path = None,
    report: _Path = None,
) -> int:
    """Put a model of any Open Inference gRPC server under load and measure it.

    For example

    - inferd bench digits
    - inferd bench digits --concurrency 1:64 --duration 10
    - inferd bench digits --rate 200,500,1000 --report digits.html
    - inferd bench digits --input @models/digits/1/sample.json --output digits.json
    - inferd bench bert --address triton:8001 --shape tokens=1,128 --rows 8 --stream

    A SWEEP is a list (1,2,8) or a range: 1:32 doubles, 100:500:100 adds. Without one, 1 to 32
    callers are tried. At a rate, latency counts from when a request was due, so a stall is seen by
    all who would have called meanwhile; callers who wait for their answers send nothing meanwhile,
    so a stall is seen once by each.

    Args:
        model: Name of the model.
        address: HOST:PORT of the server.
        concurrency: Callers that each send their next request when they have an answer.
        rate: Requests per second that arrive whether or not earlier ones were answered.
        arrivals: Poisson, as of many independent callers, or evenly spaced.
        duration: Seconds that are measured of each step.
        warm_up: Seconds of load before them.
        timeout: How long a request may take (default: as long as a step, 30 at most).
        inputs: What to send, as `inferd predict` takes it; random values without it.
        rows: Random rows per request (default: 1).
        shape: Whole shape of a random input; free dimensions are 1 without it. Once per input.
        seed: Of random values and arrivals.
        stream: Send over ModelStreamInfer, one stream per connection.
        connections: Connections of each client process.
        processes: Client processes, or auto: more while one is too busy.
        version: Version of the model; without it the server picks one.
        server_pid: A process of this machine at the root of the server, for its CPU time and memory
            (default: found by the port).
        output: Write everything as JSON to this file.
        report: Write an HTML page with the latency-throughput curve to this file.
    """
    wanted = Wanted(texts=inputs, rows=rows, shapes=shape, seed=seed)
    sought = Sought(model, version, server_pid, stream)
    try:
        _check_files(output, report)
        plan = Plan(
            steps=steps_of(concurrency, rate),
            duration=duration,
            warm_up=warm_up,
            timeout=default_timeout(duration) if timeout is None else timeout,
            arrivals=arrivals,
            seed=seed,
            stream=stream,
            connections=connections,
            processes=processes_of(processes),
        )
        with connect(address, timeout=30.0, retries=False) as client:
            subject = find_subject(client, sought, wanted)
            result = asyncio.run(_conduct(plan, subject))
    except asyncio.CancelledError:
        return _INTERRUPTED
    except InferenceError as error:
        return complain("bench", error.message, FAILED)
    except FleetError as error:
        return complain("bench", str(error), FAILED)
    except ValueError as error:  # a bad address, value, sweep or plan
        return complain("bench", str(error), MISUSED)
    show(result_lines(result))
    _write(result, output, report)
    return _code(result)


async def _conduct(plan: Plan, subject: Subject) -> Result:
    """The result; the first Ctrl-C or SIGTERM ends it early, the second one at once.

    At once, too, the client processes are ended and their files removed.
    """
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    assert work is not None
    with RunProgress(plan, sys.stderr) as progress:
        run = Run(plan, subject, progress)

        def interrupt() -> None:
            if run.stopped and not work.cancelling():
                work.cancel()
            run.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        return await run.conduct()


def _check_files(output: Path | None, report: Path | None) -> None:
    """Minutes of load are not to be lost over a folder that is not there."""
    for option, file in (("--output", output), ("--report", report)):
        if file is not None and not file.absolute().parent.is_dir():
            raise PlanError(f"{option} {file}: there is no folder {file.absolute().parent}")
        if file is not None and file.is_dir():
            raise PlanError(f"{option} {file}: this is a folder; expected a file")
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if report is not None and missing:
        raise PlanError(
            f"--report needs {' and '.join(missing)}; install it with: pip install 'inferd[bench]'"
        )


def _write(result: Result, output: Path | None, report: Path | None) -> None:
    if output is not None:
        output.write_bytes(to_json(result))
    if report is not None:
        from inferd.bench.output.page import to_html

        report.write_text(to_html(result), encoding="utf-8")


def _code(result: Result) -> int:
    if result.interrupted:
        return _INTERRUPTED
    if not any(step.answered or step.failed for step in result.steps):
        message = "no request was due in the time measured; expected a longer --duration"
        return complain("bench", message, FAILED)
    if not result.answered:
        error = result.first_error
        assert error is not None
        words = f"all requests failed: {error.code}: {error.message}"
        return complain("bench", words, FAILED)
    return 0
