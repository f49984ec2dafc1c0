"""What a door hands to the services: calls, free of the library that carries them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from inferd.server.gateway.rpc.record import CallRecord
from inferd.wire.errors import ServingError

Metadata = tuple[tuple[str, str | bytes], ...]


class UnaryCall(Protocol):
    """One request, to be answered once. `deadline` is in monotonic seconds, infinite for none.

    Answering a call that is gone does nothing.
    """

    method: str
    payload: bytes
    deadline: float

    @property
    def metadata(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        """GRPC metadata; of a call that came over HTTP its headers, in bytes."""

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away, or its deadline passes, unanswered.

        Watched again, a call has the last `on_cancel` only. Watching has its price: it is for calls
        that are not answered at once.
        """

    def peer(self) -> str:
        """Who calls, as gRPC has it: `ipv4:127.0.0.1:51234`."""

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised message."""

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""


class StreamCall(Protocol):
    """A call with a stream in at least one direction. Nothing here blocks.

    `on_cancel` is called, if set, when the caller goes away or its deadline passes before the end;
    `on_sent`, if set, on the door's thread each time a message has left.
    """

    method: str
    metadata: Metadata
    deadline: float
    on_cancel: Callable[[], None] | None
    on_sent: Callable[[], None] | None

    def peer(self) -> str:
        """Who calls, as gRPC has it: `ipv4:127.0.0.1:51234`."""

    def receive(self, on_message: Callable[[bytes | None], None]) -> None:
        """Ask for the caller's next message; None says that it has sent its last."""

    def send(self, payload: bytes) -> None:
        """Send a message after those sent before."""

    def finish(self) -> None:
        """End the call well, after everything sent."""

    def fail(self, error: ServingError) -> None:
        """End the call with an error, after everything sent."""


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one request and one response; the door records how its calls end."""

    handle: Callable[[UnaryCall], None]
    record: CallRecord = field(default_factory=CallRecord)


@dataclass(frozen=True, slots=True)
class Stream:
    """A method with a stream of requests, of responses or of both, recorded likewise."""

    handle: Callable[[StreamCall], None]
    record: CallRecord = field(default_factory=CallRecord)


Method = Unary | Stream
