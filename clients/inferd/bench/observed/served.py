"""The server's own account of a window: ModelStatistics before and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inferd.client.metadata import Duration, ModelStatistics


@dataclass(frozen=True, slots=True)
class Served:
    """What the server did between two looks; times are means per request, in seconds.

    `batch` is rows per execution of the model, None where it counts no executions.
    """

    requests: int
    failed: int
    rows: int
    batch: float | None
    queue: float
    compute_input: float
    compute_infer: float
    compute_output: float


def served(before: Sequence[ModelStatistics], after: Sequence[ModelStatistics]) -> Served | None:
    """The difference, over all versions of the model; None where nothing was served.

    A version that counts less than before was loaded anew meanwhile: it began at nothing.
    """
    known = {(each.name, each.version): each for each in before}
    pairs = [(known.get((each.name, each.version)), each) for each in after]
    pairs = [
        (None if old and old.inference_count > new.inference_count else old, new)
        for old, new in pairs
    ]

    def count(of: Callable[[ModelStatistics], int]) -> int:
        return sum(of(new) - (of(old) if old else 0) for old, new in pairs)

    requests = count(lambda each: each.success.count)
    if requests <= 0:
        return None

    def mean(of: Callable[[ModelStatistics], Duration]) -> float:
        taken = sum(of(new).seconds - (of(old).seconds if old else 0.0) for old, new in pairs)
        return max(0.0, taken) / requests

    rows = count(lambda each: each.inference_count)
    executions = count(lambda each: each.execution_count)
    return Served(
        requests=requests,
        failed=count(lambda each: each.fail.count),
        rows=rows,
        batch=rows / executions if executions > 0 else None,
        queue=mean(lambda each: each.queue),
        compute_input=mean(lambda each: each.compute_input),
        compute_infer=mean(lambda each: each.compute_infer),
        compute_output=mean(lambda each: each.compute_output),
    )
