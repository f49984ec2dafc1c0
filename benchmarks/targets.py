"""What inferd is to reach beside the others in one run, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contenders.bare import bare_name
from contenders.ours import SUBJECT
from record import Record, rounds
from spread import Spread, ratios

PYTHON_PEERS = ("pytriton", "mlserver", "kserve", "litserve", "rayserve", "bentoml")

Measure = Callable[[Record], Spread | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the list. `measure` gives the figure, None where it was not measured."""

    text: str
    measure: Measure
    bound: float
    at_least: bool = True

    def verdict(self, content: Record) -> tuple[Spread, bool] | None:
        """The figure, and whether its median is on the right side; None where there is none."""
        spread = self.measure(content)
        if spread is None:
            return None
        good = spread.median >= self.bound if self.at_least else spread.median <= self.bound
        return spread, good


def targets() -> Iterator[Target]:
    """All that can be told from a run pinned to one core."""
    yield _faster("linear, 64 callers ÷ Triton", "linear-64", "triton", 1.3)
    yield _faster("MLP, 32 callers ÷ Triton", "mlp-32", "triton", 1.15)
    yield _faster("MLP, 32 callers ÷ TorchServe, warm", "mlp-32", "torchserve", 1.3)
    yield _faster("MLP, 8 callers ÷ Triton", "mlp-8", "triton", 1.1)
    yield Target(
        "MLP, one caller: p50 ÷ Triton's",
        _against("mlp-1", "triton", "p50_us"),
        0.95,
        at_least=False,
    )
    for peer in PYTHON_PEERS:
        yield _faster(f"MLP, 32 callers ÷ {peer}", "mlp-32", peer, 2.5)
    yield Target(
        "linear, 64 callers: CPU µs per request beyond the prototype's",
        _more_cpu("linear-64", "prototype"),
        12.0,
        at_least=False,
    )
    yield _faster("CNN, 8 callers ÷ bare model, batches of 8", "cnn-8", bare_name(8), 0.97)
    yield Target("CNN, 8 callers: p99 ÷ p50", _tail("cnn-8"), 1.3, at_least=False)
    yield _faster("identity of 16 MiB ÷ Triton", "identity-1", "triton", 1.2)
    yield _faster("bulk ÷ bare model, batches of 32", "bulk-1024", bare_name(32), 0.9)


def _faster(text: str, scenario: str, other: str, bound: float) -> Target:
    return Target(text, _against(scenario, other, "rows_per_second"), bound)


def _against(scenario: str, other: str, figure: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        ours = rounds(content, scenario, SUBJECT, figure)
        theirs = rounds(content, scenario, other, figure)
        return None if ours is None or theirs is None else ratios(ours, theirs)

    return measure


def _more_cpu(scenario: str, other: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        ours = rounds(content, scenario, SUBJECT, "server_cpu_us")
        theirs = rounds(content, scenario, other, "server_cpu_us")
        if ours is None or theirs is None:
            return None
        return Spread.of([a - b for a, b in zip(ours, theirs, strict=True)])

    return measure


def _tail(scenario: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        p99 = rounds(content, scenario, SUBJECT, "p99_us")
        p50 = rounds(content, scenario, SUBJECT, "p50_us")
        return None if p99 is None or p50 is None else ratios(p99, p50)

    return measure
