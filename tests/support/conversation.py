"""A ModelStreamInfer call in the hands of a test."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import suppress

import grpc
import numpy as np

from inferd.protos.oip_pb2 import ModelStreamInferResponse
from support.calls import SERVICE, call


class Conversation:
    """A stream under way."""

    def __init__(
        self,
        channel: grpc.Channel,
        timeout: float | None = 20,
        metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        method = channel.stream_stream(
            SERVICE + "ModelStreamInfer",
            request_serializer=bytes,
            response_deserializer=ModelStreamInferResponse.FromString,
        )
        self.call = method(iter(self._requests.get, None), timeout=timeout, metadata=metadata)
        self._answers: Iterator[ModelStreamInferResponse] = iter(self.call)

    def send(self, *payloads: bytes) -> None:
        """Send requests."""
        for each in payloads:
            self._requests.put(each)

    def half_close(self) -> None:
        """Send no more."""
        self._requests.put(None)

    def next(self) -> ModelStreamInferResponse:
        """The next answer."""
        return next(self._answers)

    def rest(self) -> list[ModelStreamInferResponse]:
        """All answers to come."""
        return list(self._answers)

    def leave(self) -> None:
        """Give it up."""
        self.call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        self.half_close()  # ends the thread that sends

    def code(self) -> grpc.StatusCode:
        """How it ended, once it has."""
        with suppress(grpc.RpcError):
            self.rest()
        self.half_close()
        code: grpc.StatusCode = self.call.code()
        return code


def read(answer: ModelStreamInferResponse) -> list[list[float]]:
    """The rows of an answer."""
    assert not answer.error_message, answer
    response = answer.infer_response
    array = np.frombuffer(response.raw_output_contents[0], np.float32)
    found: list[list[float]] = array.reshape(tuple(response.outputs[0].shape)).tolist()
    return found


def reach(channel: grpc.Channel) -> None:
    """Return when what was sent on this channel before has very likely been read."""
    for _ in range(5):
        call(channel, b"", "ServerLive")
