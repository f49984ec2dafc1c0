"""A bulk stream in the hands of a test."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import suppress

import grpc
import numpy as np

from inferd.protos.oip_pb2 import ModelInferRequest, ModelInferResponse
from inferd.protos.services import BULK_METHODS
from inferd.protos.v1.bulk_pb2 import Answer, BulkRequest, BulkResponse, Chunk, Open, Opened, Part


class BulkConversation:
    """A stream under way, opened for the model `m` unless another opening is given."""

    def __init__(
        self,
        channel: grpc.Channel,
        opening: Open | None = None,
        *,
        timeout: float | None = 20,
    ) -> None:
        self._requests: queue.SimpleQueue[BulkRequest | None] = queue.SimpleQueue()
        method = channel.stream_stream(
            BULK_METHODS["Infer"].path,
            request_serializer=BulkRequest.SerializeToString,
            response_deserializer=BulkResponse.FromString,
        )
        self.call = method(iter(self._requests.get, None), timeout=timeout)
        self._answers: Iterator[BulkResponse] = iter(self.call)
        self._requests.put(BulkRequest(open=opening or Open(model_name="m")))

    def opened(self) -> Opened:
        """The answer to the opening."""
        return next(self._answers).opened

    def send(self, sequence: int, request: bytes) -> None:
        """Send a chunk with a serialised request."""
        chunk = Chunk(sequence=sequence, request=ModelInferRequest.FromString(request))
        self._requests.put(BulkRequest(chunk=chunk))

    def send_parts(self, sequence: int, request: bytes, size: int, *, last: bool = True) -> None:
        """Send a chunk in parts of this many bytes; without `last` more of them follow."""
        for at in range(0, len(request), size):
            part = Part(data=request[at : at + size], last=last and at + size >= len(request))
            self._requests.put(BulkRequest(chunk=Chunk(sequence=sequence, part=part)))

    def put(self, message: BulkRequest) -> None:
        """Send any message."""
        self._requests.put(message)

    def half_close(self) -> None:
        """Send no more."""
        self._requests.put(None)

    def next(self) -> Answer:
        """The next message that is, or is part of, an answer."""
        return next(self._answers).answer

    def rest(self) -> list[Answer]:
        """All answers to come."""
        return [each.answer for each in self._answers]

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


def values(answer: Answer) -> list[list[float]]:
    """The rows of an answer."""
    assert answer.WhichOneof("content") == "response", answer
    return rows_of(answer.response)


def rows_of(response: ModelInferResponse) -> list[list[float]]:
    """The rows of a response."""
    array = np.frombuffer(response.raw_output_contents[0], np.float32)
    found: list[list[float]] = array.reshape(tuple(response.outputs[0].shape)).tolist()
    return found
