"""Calls of observed requests: what happens to them is noted, and they carry the bill asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.server.gateway.admission.parameters import TIMINGS
from inferd.server.gateway.decoupled import DecoupledCall
from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.scheduling.observation.request import Bill, Observation
from inferd.server.gateway.scheduling.waiting.leaving import leaving
from inferd.wire.errors import ServingError
from inferd.wire.requests import InferMessage


class ObservedCall:
    """A call with one answer, and the observation that ends with it."""

    def __init__(self, call: InferCall, seen: Observation) -> None:
        self._call = call
        self._seen = seen

    @property
    def payload(self) -> bytes:
        """The serialised request."""
        return self._call.payload

    @property
    def deadline(self) -> float:
        """In monotonic seconds, infinite for none."""
        return self._call.deadline

    @property
    def method(self) -> str:
        """A gRPC path, or an HTTP method and route."""
        return self._call.method

    @property
    def metadata(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        """What the caller sent beside the request."""
        return self._call.metadata

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller goes away unanswered."""
        self._call.watch(partial(self._left, on_cancel))

    def reply(self, payload: bytes) -> None:
        """Answer with a serialised ModelInferResponse."""
        if self._seen.billed:
            payload += _serialised(self._seen.bill())
        self._call.reply(payload)
        self._seen.end()

    def fail(self, error: ServingError) -> None:
        """Answer with an error."""
        self._call.fail(error)
        self._seen.end(error)

    def _left(self, on_cancel: Callable[[], None]) -> None:
        self._seen.end(leaving(self._call.deadline, monotonic()))
        on_cancel()


class ObservedDecoupledCall(ObservedCall, DecoupledCall):
    """The same for a call that can take many answers."""

    def __init__(self, call: InferCall, many: DecoupledCall, seen: Observation) -> None:
        """`call` and `many` are the same."""
        super().__init__(call, seen)
        self._many = many

    def begin(self, proceed: Callable[[], None]) -> None:
        """Be ready for many answers."""
        self._many.begin(proceed)

    def answer(self, payload: bytes) -> bool:
        """Send one answer that others follow."""
        goes_on = self._many.answer(payload)
        self._seen.answered()
        return goes_on

    def end(self, payload: bytes | None) -> None:
        """Send the last answer, or none. A bill goes with it."""
        if payload is not None:
            if self._seen.billed:
                payload += _serialised(self._seen.bill())
            self._seen.answered()
        self._many.end(payload)
        self._seen.end()


def observed(call: InferCall, seen: Observation) -> InferCall:
    """The call, as the request that it brings is observed."""
    if isinstance(call, DecoupledCall):
        return ObservedDecoupledCall(call, call, seen)
    return ObservedCall(call, seen)


def observing(
    call: InferCall, seen: Observation | None, message: InferMessage
) -> tuple[InferCall, Observation | None]:
    """The call and its observation, now that it is known what it says: its caller may want the bill."""
    if seen is not None:
        seen.read(message.model, message.version, message.id)
    if not message.asks_for(TIMINGS):
        return call, seen
    if seen is not None:
        seen.billed = True
        return call, seen
    seen = Observation(call.method, monotonic(), billed=True)
    return observed(call, seen), seen


def _serialised(bill: Bill | None) -> bytes:
    """Parameters of an answer: appended to it, for protobuf lets fields come in any order."""
    if bill is None:
        return b""
    response = ModelInferResponse()
    parameters = response.parameters
    parameters["inferd_queue_us"].int64_param = bill.queue_us
    parameters["inferd_input_us"].int64_param = bill.input_us
    parameters["inferd_compute_us"].int64_param = bill.compute_us
    parameters["inferd_output_us"].int64_param = bill.output_us
    parameters["inferd_batch_size"].int64_param = bill.batch_size
    parameters["inferd_instance"].int64_param = bill.instance
    parameters["inferd_device"].string_param = bill.device
    return response.SerializeToString()
