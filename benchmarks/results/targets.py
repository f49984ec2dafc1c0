"""What inferd is to reach beside the others in one run, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from contenders.bare import bare_name
from contenders.ours import SUBJECT, TWO_GATEWAYS

from results.record import Record, rounds
from results.spread import Spread, ratios

PYTHON_PEERS = ("pytriton", "mlserver", "kserve", "litserve", "rayserve", "bentoml")

Measure = Callable[[Record], Spread | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the list. `measure` gives the figure, None where it was not measured.

    `pinned` tells in which runs: those with the servers on one core, or those without.
    """

    text: str
    measure: Measure
    bound: float
    at_least: bool = True
    pinned: bool = True

    @property
    def wanted(self) -> str:
        """`≥ 1.3`."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def verdict(self, content: Record) -> tuple[Spread, bool] | None:
        """The figure, and whether its median is on the right side.

        None where there is none, or where the run is not of the kind that tells.
        """
        if content["settings"]["pinned"] != self.pinned:
            return None
        spread = self.measure(content)
        if spread is None:
            return None
        good = spread.median >= self.bound if self.at_least else spread.median <= self.bound
        return spread, good


def targets() -> Iterator[Target]:
    """All that can be told from a pinned run or from one that is not."""
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
        "linear, 64 callers: CPU µs per request of the gateway process beyond the prototype's "
        "gateway process",
        _more_cpu("linear-64", "prototype", "gateway"),
        12.0,
        at_least=False,
    )
    yield Target(
        "CNN, 8 callers ÷ bare model, batches of 4 or of 8, whichever is faster",
        _against_fastest("cnn-8", (bare_name(4), bare_name(8))),
        0.97,
    )
    yield Target("CNN, 8 callers: p99 ÷ p50", _tail("cnn-8"), 1.3, at_least=False)
    yield _faster("identity of 16 MiB ÷ Triton", "identity-1", "triton", 1.2)
    yield _faster(
        "bulk, 1,024 rows a request ÷ bare model, batches of 32", "bulk-1024", bare_name(32), 0.9
    )
    for role, most in (("gateway", 120.0), ("supervisor", 80.0)):
        yield Target(
            f"linear, 64 callers: peak RSS of the {role}, MB",
            _of_role("linear-64", SUBJECT, "role_peak_rss_mb", role),
            most,
            at_least=False,
        )
    yield Target(
        "linear, 64 callers, not pinned: two gateways ÷ one; load and servers shared the cores",
        _gateways("linear-64"),
        1.6,
        pinned=False,
    )


def _faster(text: str, scenario: str, other: str, bound: float) -> Target:
    return Target(text, _against(scenario, other, "rows_per_second"), bound)


def _against(scenario: str, other: str, figure: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        ours = rounds(content, scenario, SUBJECT, figure)
        theirs = rounds(content, scenario, other, figure)
        return None if ours is None or theirs is None else ratios(ours, theirs)

    return measure


def _against_fastest(scenario: str, others: tuple[str, ...]) -> Measure:
    """Against the one with the highest median; all must have been measured."""

    def measure(content: Record) -> Spread | None:
        ours = rounds(content, scenario, SUBJECT, "rows_per_second")
        theirs = [rounds(content, scenario, other, "rows_per_second") for other in others]
        known = [each for each in theirs if each is not None]
        if ours is None or len(known) < len(others):
            return None
        return ratios(ours, max(known, key=median))

    return measure


def _gateways(scenario: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        two = rounds(content, scenario, TWO_GATEWAYS, "rows_per_second")
        one = rounds(content, scenario, SUBJECT, "rows_per_second")
        return None if two is None or one is None else ratios(two, one)

    return measure


def _of_role(scenario: str, turn: str, figure: str, role: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        found = rounds(content, scenario, turn, figure, role)
        return None if found is None else Spread.of(found)

    return measure


def _more_cpu(scenario: str, other: str, role: str) -> Measure:
    def measure(content: Record) -> Spread | None:
        ours = rounds(content, scenario, SUBJECT, "role_cpu_us", role)
        theirs = rounds(content, scenario, other, "role_cpu_us", role)
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
