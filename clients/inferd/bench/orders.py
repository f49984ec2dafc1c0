"""What the bench and its client processes tell each other: one JSON object per line."""

from __future__ import annotations

from typing import Literal

import msgspec

from inferd.bench.plan import ArrivalKind, Transport


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is"):
    """A line on the standard input or output of a client process."""


class Connect(Message, frozen=True, tag="connect"):
    """Connect to the server; the request's bytes are in the file `payload`."""

    address: str
    payload: str
    connections: int
    stream: bool
    transport: Transport


class Load(Message, frozen=True, tag="load"):
    """Make load from `begin` to `end` by the monotonic clock; from `measure` on it counts.

    `callers` keeps that many requests in flight; else requests arrive at `rate` per second, which
    this process shares with all `parts`, being the `part`-th. Samples go to `file`.
    """

    begin: float
    measure: float
    end: float
    timeout: float
    file: str
    callers: int = 0
    rate: float = 0.0
    arrivals: ArrivalKind = "poisson"
    seed: tuple[int, int] = (0, 0)
    part: int = 0
    parts: int = 1


class Stop(Message, frozen=True, tag="stop"):
    """Send nothing more, give up what is unanswered, report."""


class Connected(Message, frozen=True, tag="connected"):
    """The server answers; `transport` is what drives the calls."""

    transport: Literal["core", "aio"]


class Failed(Message, frozen=True, tag="failed"):
    """The client process cannot go on, and why."""

    message: str


class Progress(Message, frozen=True, tag="progress"):
    """Requests answered and failed since the load began."""

    answered: int
    failed: int


class Done(Message, frozen=True, tag="done"):
    """The load has ended and its samples are in their file.

    `cores` is CPU time per second of the measured window. `unsent` requests were due while too many
    were unanswered. `texts` are the first error messages by gRPC code. `ended` is when load
    ceased, earlier than ordered where it was stopped or nothing succeeded.
    """

    cores: float
    unsent: int
    ended: float
    texts: dict[int, str]


ToClient = Connect | Load | Stop
FromClient = Connected | Failed | Progress | Done

_ENCODER = msgspec.json.Encoder()
TO_CLIENT = msgspec.json.Decoder(ToClient)
FROM_CLIENT = msgspec.json.Decoder(FromClient)


def line(message: Message) -> bytes:
    """The message as it is sent."""
    return _ENCODER.encode(message) + b"\n"
