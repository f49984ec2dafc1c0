"""The signatures of models on disk: each is loaded once, in a worker that then ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inferd.core.link.messages import (
    FromWorker,
    Loaded,
    LoadingFailed,
    LoadModel,
    MemoryReport,
    ModelSource,
    Pinning,
    ToWorker,
)
from inferd.core.settings import ModelOverride
from inferd.server.supervisor.replicas.process import ChildProcess, Exit, python
from inferd.server.supervisor.repository.scan import FoundModel, FoundVersion
from inferd.server.supervisor.repository.source import SourceRefused, source_of

AT_ONCE = 2
"""Workers that load at the same time."""

GRACE = 2.0
"""Seconds a worker may take to end."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One version of a model on disk: what it is once loaded, or why it cannot be served."""

    model: FoundModel
    found: FoundVersion
    loaded: Loaded | None = None
    problem: str | None = None


async def examine(
    models: Sequence[FoundModel], *, trust: bool, limit: float
) -> tuple[Examined, ...]:
    """Every version of the models, loaded on the CPU.

    Code that comes with a model runs only with `trust`. A version that takes longer than `limit`
    seconds to load has that as its problem.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(model: FoundModel, found: FoundVersion) -> Examined:
        if model.problem is not None:
            return Examined(model, found, problem=model.problem)
        try:
            source = await asyncio.to_thread(
                source_of, model, found, model.declaration, ModelOverride(trust=trust)
            )
        except SourceRefused as refused:
            return Examined(model, found, problem=str(refused))
        async with slots:
            outcome = await _load(source, limit)
        if isinstance(outcome, Loaded):
            return Examined(model, found, loaded=outcome)
        return Examined(model, found, problem=outcome)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(model, found)) for model, found in _versions(models)]
    return tuple(task.result() for task in tasks)


def _versions(models: Sequence[FoundModel]) -> Iterator[tuple[FoundModel, FoundVersion]]:
    for model in models:
        for found in model.versions:
            yield model, found


async def _load(source: ModelSource, limit: float) -> Loaded | str:
    """What the worker says of the model, or why there is none."""
    answer: asyncio.Future[Loaded | str] = asyncio.get_running_loop().create_future()

    def said(message: FromWorker) -> None:
        if not answer.done() and not isinstance(message, MemoryReport):
            answer.set_result(message.reason if isinstance(message, LoadingFailed) else message)

    def ended(how: Exit) -> None:
        if not answer.done():
            answer.set_result(f"the worker that loaded it died: {how}")

    worker: ChildProcess[ToWorker, FromWorker] = ChildProcess.spawn(
        python("inferd.worker", "--log-level", "error", "--log-format", "console"),
        FromWorker,
        on_message=said,
        on_exit=ended,
    )
    try:
        worker.send(LoadModel(source, Pinning("cpu"), warm_up=False))
        async with asyncio.timeout(limit):
            return await answer
    except TimeoutError:
        return f"it was not loaded within {limit:g} s; give it longer with --timeout"
    finally:
        worker.kill()
        await worker.wait_or_kill(GRACE)
