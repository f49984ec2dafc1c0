"""`inferd status`: one look at a running server."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from msgspec.structs import replace
from rich.console import Console

from inferd.core.telemetry.status import Status
from inferd.server.cli.output import FAILED, MISUSED, complain, show_json
from inferd.server.cli.watching.asking import DEFAULT, UNREACHABLE, Source, Unreachable
from inferd.server.cli.watching.problems import problems
from inferd.server.cli.watching.view import picture


def status(
    model: str | None = None,
    /,
    *,
    ops: Annotated[str, Parameter(metavar="HOST:PORT")] = DEFAULT,
    timeout: float = 5.0,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> int:
    """Show how a running server is and what it does: models, rates, times, queues, processes, GPUs.

    For example

    - inferd status
    - inferd status digits
    - inferd status --ops localhost:9002 --json

    Rates and times are over the last minute. errors are the server's own, not those of callers who ask
    wrongly; queue is what waits now, age how long the oldest has; batch is rows per execution; speed is the
    requests per second of one caller who waits for each answer; CPU is in percent of one core.

    The exit code is 0 if all is well, 1 if the server is not ready or something is wrong (lines that
    begin with !), 3 if no server answers.

    Args:
        model: Name of a model, for its versions alone.
        ops: The server's operations port.
        timeout: Seconds to wait for the answer.
        json: Print one line of JSON, with more than the tables: its fields are described in
            inferd.core.telemetry.status.
    """
    try:
        found = Source.parse(ops, timeout).ask()
    except ValueError as error:
        return complain("status", str(error), MISUSED)
    except Unreachable as error:
        return complain("status", str(error), UNREACHABLE)
    if model is not None:
        models = tuple(each for each in found.models if each.model == model)
        if not models:
            return complain("status", _no_model(model, found), FAILED)
        found = replace(found, models=models)
    if json:
        show_json(found)
    else:
        console = Console(file=sys.stdout, highlight=False)
        console.print(picture(found, console.width))
    return FAILED if any(problems(found)) else 0


def _no_model(model: str, found: Status) -> str:
    names = sorted({each.model for each in found.models})
    return f"the server has no model '{model}'; it has: {', '.join(names) or 'none'}"
