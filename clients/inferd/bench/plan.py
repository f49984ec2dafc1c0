"""What a benchmark is to do: which load, how long, from how many processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ArrivalKind = Literal["poisson", "constant"]
Transport = Literal["auto", "core", "aio"]

DEFAULT_CONCURRENCIES = (1, 2, 4, 8, 16, 32)
MOST_STEPS = 100
_LONGEST_TIMEOUT = 30.0

MOST_PROCESSES = 64
MOST_CONNECTIONS = 1_000
MOST_CALLERS = 100_000
HIGHEST_RATE = 1_000_000
MOST_ARRIVALS = 50_000_000
"""What one machine can hold: an arrival of a schedule takes 8 bytes before it is sent."""


class PlanError(ValueError):
    """The plan cannot be carried out; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Closed:
    """So many callers, each sending its next request when it has its answer."""

    concurrency: int

    @property
    def label(self) -> str:
        """How people read it."""
        return f"{self.concurrency} caller{'s' * (self.concurrency != 1)}"


@dataclass(frozen=True, slots=True)
class Open:
    """Requests that arrive at this rate, per second, whether or not earlier ones were answered."""

    rate: float

    @property
    def label(self) -> str:
        """How people read it."""
        return f"{self.rate:g}/s"


Step = Closed | Open


@dataclass(frozen=True, slots=True)
class Plan:
    """All settings of a run; times in seconds.

    `processes` None starts with one and adds some where one is not enough. `connections` are per
    process. Raises `PlanError` for values that make no sense, or none together.
    """

    steps: tuple[Step, ...]
    duration: float = 5.0
    warm_up: float = 1.0
    timeout: float = 5.0
    arrivals: ArrivalKind = "poisson"
    seed: int = 0
    stream: bool = False
    connections: int = 1
    processes: int | None = None
    transport: Transport = "auto"

    def __post_init__(self) -> None:
        _more_than_zero("--duration", self.duration)
        _more_than_zero("--timeout", self.timeout)
        if not 0 <= self.warm_up < float("inf"):
            raise PlanError(f"--warm-up {self.warm_up:g}: expected 0 seconds or more")
        if self.timeout > self.duration:
            raise PlanError(
                f"--timeout {self.timeout:g} is longer than --duration {self.duration:g}: a request "
                "that hangs would not be seen; expected a shorter deadline or longer steps"
            )
        for step in self.steps:
            self._check(step)
        if self.seed < 0:
            raise PlanError(f"--seed {self.seed}: expected 0 or more")
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            raise PlanError(
                f"--connections {self.connections}: expected 1 to {MOST_CONNECTIONS:,} for each "
                "client process"
            )
        if self.processes is not None and not 1 <= self.processes <= MOST_PROCESSES:
            raise PlanError(
                f"--processes {self.processes}: expected 1 to {MOST_PROCESSES}, or auto"
            )

    def _check(self, step: Step) -> None:
        if isinstance(step, Closed):
            if not 1 <= step.concurrency <= MOST_CALLERS:
                raise PlanError(
                    f"--concurrency {step.concurrency}: expected 1 to {MOST_CALLERS:,} callers"
                )
            return
        if step.rate > HIGHEST_RATE:
            raise PlanError(
                f"--rate {step.rate:g}: expected at most {HIGHEST_RATE:,} requests per second"
            )
        if step.rate * self.duration < 1:
            raise PlanError(
                f"--rate {step.rate:g}: not one request is expected in --duration "
                f"{self.duration:g}; expected a higher rate or longer steps"
            )
        arrivals = step.rate * (self.warm_up + self.duration)
        if arrivals > MOST_ARRIVALS:
            raise PlanError(
                f"--rate {step.rate:g}: these are {arrivals:,.0f} requests in --warm-up "
                f"{self.warm_up:g} and --duration {self.duration:g}; expected at most "
                f"{MOST_ARRIVALS:,}: a lower rate or shorter steps"
            )


def steps_of(concurrency: str | None, rate: str | None) -> tuple[Step, ...]:
    """The steps of a sweep over callers or over rates; the usual callers where neither is given."""
    if concurrency is not None and rate is not None:
        raise PlanError("both --concurrency and --rate were given; expected one of them")
    if rate is not None:
        return tuple(Open(each) for each in parse_sweep("--rate", rate))
    if concurrency is None:
        return tuple(Closed(each) for each in DEFAULT_CONCURRENCIES)
    callers = parse_sweep("--concurrency", concurrency)
    if broken := [each for each in callers if each != int(each)]:
        raise PlanError(f"--concurrency {concurrency}: {broken[0]:g} is not a whole number")
    return tuple(Closed(int(each)) for each in callers)


def parse_sweep(option: str, text: str) -> tuple[float, ...]:
    """The numbers of a sweep: a list (`1,2,8`), or a range: `1:32` doubles, `100:500:100` adds.

    The end of a range is in it. Raises `PlanError`, naming the option.
    """
    values: list[float] = []
    for part in text.split(","):
        values += _range(option, text, part) if ":" in part else [_number(option, text, part)]
        if len(values) > MOST_STEPS:
            raise PlanError(f"{option} {text}: these are more than {MOST_STEPS} steps")
    return tuple(values)


def default_timeout(duration: float) -> float:
    """How long a request may take where nobody said: a step's length, within reason."""
    return min(duration, _LONGEST_TIMEOUT)


def processes_of(text: str) -> int | None:
    """The number of client processes; None for `auto`."""
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit():
        raise PlanError(f"--processes {text}: expected a number or auto")
    return int(text)


def _range(option: str, text: str, part: str) -> list[float]:
    numbers = [_number(option, text, each) for each in part.split(":")]
    if len(numbers) > 3 or numbers[0] > numbers[1]:
        raise PlanError(
            f"{option} {text}: {part!r} is no range; expected START:END, which doubles, or "
            "START:END:STEP, such as 1:32 or 100:500:100"
        )
    start, end, *step = numbers
    values = [start]
    while len(values) <= MOST_STEPS:
        # From the start each time: adding up would let the last one slip past the end.
        following = start + len(values) * step[0] if step else values[-1] * 2
        if following > end * (1 + 1e-9):
            break
        values.append(following)
    if values[-1] < end * (1 - 1e-9):
        values.append(end)
    return values


def _number(option: str, text: str, part: str) -> float:
    try:
        number = float(part)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise PlanError(
            f"{option} {text}: {part.strip()!r} is no number above 0; expected a list such as "
            "1,2,8 or a range such as 1:32"
        )
    return number


def _more_than_zero(option: str, seconds: float) -> None:
    if not 0 < seconds < float("inf"):
        raise PlanError(f"{option} {seconds:g}: expected more than 0 seconds")
