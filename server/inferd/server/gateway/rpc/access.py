"""Calls of gRPC that are sampled for the access log: the same call, with an ear on its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any

from inferd.core.telemetry.sampling import never
from inferd.server.gateway.access_log import AccessLog, Entry
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.decoupled import DecoupledCall
from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.rpc.call import StreamCall, UnaryCall
from inferd.server.gateway.rpc.faults import unexpected
from inferd.server.gateway.scheduling.waiting.leaving import leaving
from inferd.wire.errors import ServingError

Infer = Callable[[InferCall], None]


def unary_logged(dataplane: Dataplane, log: AccessLog | None) -> Callable[[UnaryCall], None]:
    """The dataplane for calls of ModelInfer, which come on the door's one thread."""
    if log is None:
        return dataplane.sampled(never, dataplane.infer)

    def handle(call: UnaryCall) -> None:
        entry = log.begin("ModelInfer", call.payload, call.peer(), call.metadata)
        _attend(dataplane.infer, _LoggedCall(call, entry, log))

    return dataplane.sampled(log.gap, handle)


def streams_logged(infer: Infer, log: AccessLog | None) -> Callable[[StreamCall], Infer]:
    """`infer` for the requests of a ModelStreamInfer, by the stream; as `logged_on`."""
    return lambda stream: logged_on(stream, "ModelStreamInfer", infer, log)


def logged_on(stream: StreamCall, method: str, infer: Infer, log: AccessLog | None) -> Infer:
    """`infer` for the requests of this stream, logged as calls of `method`; without a log itself."""
    if log is None:
        return infer
    peer, metadata = stream.peer(), stream.metadata

    def handle(call: InferCall) -> None:
        if not log.samples():
            infer(call)
            return
        entry = log.begin(method, call.payload, peer, metadata)
        # Only who can be answered many times may look like it.
        many = isinstance(call, DecoupledCall)
        _attend(infer, (_LoggedTurn if many else _LoggedCall)(call, entry, log))

    return handle


class _LoggedCall:
    """Answers as the call does; the first answer or the caller's leaving ends the entry."""

    __slots__ = ("_call", "_entry", "_log")

    def __init__(self, call: Any, entry: Entry, log: AccessLog) -> None:
        self._call = call
        self._entry: Entry | None = entry
        self._log = log

    @property
    def payload(self) -> bytes:
        payload: bytes = self._call.payload
        return payload

    @property
    def deadline(self) -> float:
        deadline: float = self._call.deadline
        return deadline

    @property
    def method(self) -> str:
        method: str = self._call.method
        return method

    @property
    def metadata(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        metadata: Iterable[tuple[str | bytes, str | bytes]] = self._call.metadata
        return metadata

    def watch(self, on_cancel: Callable[[], None]) -> None:
        self._call.watch(partial(self._left, on_cancel))

    def reply(self, payload: bytes) -> None:
        self._end(len(payload), None)  # first: lines of a caller are in the order of its calls
        self._call.reply(payload)

    def fail(self, error: ServingError) -> None:
        self._end(0, error)
        self._call.fail(error)

    def traced(self, trace_id: str, span_id: str) -> None:
        if (entry := self._entry) is not None:
            entry.traced(trace_id, span_id)

    def _left(self, on_cancel: Callable[[], None]) -> None:
        on_cancel()
        self._end(0, leaving(self.deadline, monotonic()))

    def _end(self, nbytes: int, error: ServingError | None) -> None:
        # Taken before it is looked at: whichever thread ends it first has it.
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.bytes_out += nbytes
            self._log.end(entry, error)


class _LoggedTurn(_LoggedCall, DecoupledCall):
    """A request of a stream, which may be answered many times."""

    __slots__ = ()

    def begin(self, proceed: Callable[[], None]) -> None:
        self._call.begin(proceed)

    def answer(self, payload: bytes) -> bool:
        if (entry := self._entry) is not None:
            entry.bytes_out += len(payload)
        goes_on: bool = self._call.answer(payload)
        return goes_on

    def end(self, payload: bytes | None) -> None:
        self._end(0 if payload is None else len(payload), None)
        self._call.end(payload)


def _attend(infer: Infer, call: Any) -> None:
    try:
        infer(call)
    except ServingError as error:
        call.fail(error)
    except Exception as error:  # the last resort, as at the door: the entry must end, too
        call.fail(unexpected(error, call.method))
