"""How far a run is: a moving bar on a terminal, one line per step elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from inferd.bench.plan import Plan, Step
from inferd.bench.result import StepResult


class RunProgress:
    """A `Watcher` that writes to `stream`; a context manager."""

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        self._plan = plan
        self._stream = stream
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if stream.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[counts]}"),
                TimeRemainingColumn(),
                console=Console(file=stream),
                transient=True,
                refresh_per_second=4,
            )

    def step_begins(self, at: int, step: Step, processes: int) -> None:
        """See `Watcher.step_begins`."""
        if self._bar is not None:
            shared = f", {processes} client processes" if processes > 1 else ""
            text = f"step {at + 1} of {len(self._plan.steps)}: {step.label}{shared}"
            self._bar.update(self._task, description=text, completed=at, counts="")

    def counted(self, answered: int, failed: int) -> None:
        """See `Watcher.counted`."""
        if self._bar is not None:
            errors = f", {failed:,} failed" if failed else ""
            self._bar.update(self._task, counts=f"{answered:,} answered{errors}")

    def step_ends(self, at: int, result: StepResult) -> None:
        """See `Watcher.step_ends`."""
        if self._bar is not None:
            self._bar.update(self._task, completed=at + 1)
            return
        p99 = "-" if result.latency_ms is None else f"{result.latency_ms.p99:.2f} ms"
        unit = "" if result.rate else " callers" if result.concurrency != 1 else " caller"
        self._stream.write(
            f"step {at + 1} of {len(self._plan.steps)}: {result.label}{unit}: "
            f"{result.throughput:,.0f} requests/s, p99 {p99}, {result.failed} errors\n"
        )
        self._stream.flush()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("connecting", total=len(self._plan.steps), counts="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
