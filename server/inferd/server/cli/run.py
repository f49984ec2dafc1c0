"""`inferd run`: a file of rows through a model, into another file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from inferd.client import InferenceError, Model, connect
from inferd.client.bulk.bar import Rate
from inferd.client.inputs import UsageError
from inferd.server.cli.output import FAILED, MISUSED, complain, show
from inferd.server.cli.rows.columns import InputColumns, match_columns
from inferd.server.cli.rows.job import FileJob, JobFailed
from inferd.server.cli.rows.journal import Journal
from inferd.server.cli.rows.sink import check_sink, write_output
from inferd.server.cli.rows.source import Source, open_source

_INTERRUPTED = 130

_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def run(
    model: str,
    /,
    *,
    input: Annotated[Path, Parameter(name=("--input", "-i"), metavar="FILE")],  # noqa: A002  # the option's name
    output: Annotated[Path, Parameter(name=("--output", "-o"), metavar="FILE")],
    address: str = "127.0.0.1:8001",
    column: Annotated[
        tuple[str, ...],
        Parameter(metavar="INPUT=COLUMNS", negative=(), json_list=False, show_default=False),
    ] = (),
    version: int | None = None,
    in_flight: int = 16,
    patience: float = 300.0,
    restart: _Flag = False,
) -> int:
    """Answer a file of rows: as many as there are, beside other requests, which go first.

    For example

    - inferd run digits --input images.npy --output answers.parquet
    - inferd run breast-cancer --input patients.csv --column 'features=*' --output answers.csv
    - inferd run recommend --input pairs.jsonl --output scores.jsonl --address models:8001

    What is stopped, by Ctrl-C or a crash of this program, the server or the machine, goes on with
    the same command. Rows that cannot be answered are kept in OUTPUT.rejected.jsonl with their line and
    the reason; the exit code is 1 then.

    Args:
        model: Name of the model. It must take batches.
        input: File of rows: .parquet, .csv, .jsonl, .npy or .npz. An input is the column of its name, or
            one column for each of its elements, named NAME.0, NAME.1 and so on.
        output: File to be made: .parquet, .csv, .jsonl, .npy or .npz, with a column for each output and
            `row`, the number of the input's row from 1 (not in .npy).
        address: HOST:PORT of the server.
        column: INPUT=COLUMN where the names differ, once per input; INPUT=A,B,C for one column per
            element, INPUT=* for all columns of the file.
        version: Version of the model; without it the server picks one, and the job stays with it.
        in_flight: Chunks of up to 1,024 rows under way at once.
        patience: Seconds without any answer after which the job is stopped.
        restart: Begin anew: throw away what a stopped job has left, and an output that is there.
    """
    try:
        if in_flight < 1 or not patience > 0:
            raise UsageError("--in-flight and --patience: expected more than 0")
        check_sink(output)
        if output.exists() and not restart:
            raise UsageError(f"--output {output} is there already; --restart replaces it")
        source = open_source(input)
        given = _columns(column)
        with connect(address) as client:
            served = client.model(model, version)
            signature = served.metadata().signature
            check_sink(output, signature.outputs)
            inputs = match_columns(signature, model, source.columns, given)
            journal = _journal(output, input, model, version, inputs, restart=restart)
            return _run(served, source, inputs, journal, output, in_flight, patience)
    except (InferenceError, JobFailed) as error:
        return complain("run", str(error), FAILED)
    except ValueError as error:  # a bad address, file or column
        return complain("run", str(error), MISUSED)


def _run(  # noqa: PLR0917  # what a job is made of
    served: Model,
    source: Source,
    inputs: Sequence[InputColumns],
    journal: Journal,
    output: Path,
    in_flight: int,
    patience: float,
) -> int:
    began, before = monotonic(), journal.state.next_row
    try:
        with _bar() as bar:
            task = bar.add_task(served.name, total=source.total, completed=before)
            job = FileJob(
                served,
                source,
                inputs,
                journal,
                in_flight=in_flight,
                patience=patience,
                advanced=lambda rows: bar.advance(task, rows),
            )
            job.run()
    except KeyboardInterrupt:
        complain("run", _stopped(journal.state.next_row), _INTERRUPTED)
        return _INTERRUPTED
    except (InferenceError, JobFailed) as error:
        raise JobFailed(f"{error}; {_stopped(journal.state.next_row)}") from error
    state = journal.state
    write_output(output, journal)
    rejected = output.with_name(output.name + ".rejected.jsonl")
    rejected.unlink(missing_ok=True)
    if state.rejected:
        journal.close()
        journal.rejects.replace(rejected)
    journal.remove()
    seconds = monotonic() - began
    done = state.next_row - before
    show(
        [f"{state.answered:,} rows answered into {output}, {done / max(seconds, 1e-9):,.0f} rows/s"]
    )
    if state.rejected:
        text = f"{state.rejected:,} rows have no answer: see {rejected}"
        return complain("run", text, FAILED)
    return 0


def _stopped(rows: int) -> str:
    return f"stopped after {rows:,} rows; the same command goes on from there"


def _journal(  # what makes a job the same
    output: Path,
    given: Path,
    model: str,
    version: int | None,
    inputs: Sequence[InputColumns],
    *,
    restart: bool,
) -> Journal:
    about = given.stat()
    job: dict[str, Any] = {
        "input": str(given.resolve()),
        "bytes": about.st_size,
        "changed": about.st_mtime_ns,
        "model": model,
        "version": version,
        "columns": {each.spec.name: list(each.columns) for each in inputs},
    }
    return Journal(output, job, restart=restart)


def _columns(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, columns = text.partition("=")
        if not equals or not name or not columns or name in found:
            raise UsageError(f"--column {text}: expected INPUT=COLUMN[,COLUMN...], once per input")
        found[name] = columns.split(",")
    return found


def _bar() -> Progress:
    """On a terminal alone; the rows per second and the time that remains."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        Rate(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
    )
