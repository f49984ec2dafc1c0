"""A client on grpcio's completion queue: `queue_client.py ADDRESS REQUEST RESULT REQUESTS CALLERS`.

Keeps CALLERS calls of ModelInfer in flight until REQUESTS are answered, all with the bytes of
the file REQUEST, and writes what it saw to the file RESULT as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from inferd.protos.services import INFERENCE_METHODS

cygrpc: Any = import_module("grpc._cython.cygrpc")

_PATH = INFERENCE_METHODS["ModelInfer"].path.encode()
_NO_FLAGS = 0
_MESSAGE, _STATUS = 4, 5  # places of the receiving operations in a call's batch


class QueueClientLoop:
    """One thread, one connection, no object per call but grpcio's own."""

    def __init__(self, address: str, payload: bytes) -> None:
        options = ((b"grpc.max_receive_message_length", -1), (b"grpc.max_send_message_length", -1))
        self._channel = cygrpc.Channel(address.encode(), options, None)
        self._payload = payload
        self.answered = 0
        self.bytes = 0
        self.latencies: list[int] = []

    def run(self, requests: int, callers: int) -> float:
        """Make the calls; returns seconds from the first request to the last answer."""
        started = perf_counter_ns()
        for _ in range(min(requests, callers)):
            self._send()
        to_send = requests - min(requests, callers)
        for _ in range(requests):
            event = self._channel.next_call_event()
            self._take(event)
            if to_send:
                to_send -= 1
                self._send()
        return (perf_counter_ns() - started) / 1e9

    def _send(self) -> None:
        operations = (  # fresh objects each time: they own memory of the C core
            cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
            cygrpc.SendMessageOperation(self._payload, _NO_FLAGS),
            cygrpc.SendCloseFromClientOperation(_NO_FLAGS),
            cygrpc.ReceiveInitialMetadataOperation(_NO_FLAGS),
            cygrpc.ReceiveMessageOperation(_NO_FLAGS),
            cygrpc.ReceiveStatusOnClientOperation(_NO_FLAGS),
        )
        self._channel.integrated_call(
            _NO_FLAGS, _PATH, None, None, (), None, ((operations, perf_counter_ns()),), None
        )

    def _take(self, event: Any) -> None:
        """Count an answer; the tag is when its request was sent."""
        self.latencies.append((perf_counter_ns() - event.tag) // 1000)
        message = event.batch_operations[_MESSAGE].message()
        if event.batch_operations[_STATUS].code() == 0 and message is not None:
            self.answered += 1
            self.bytes += len(message)


def main() -> int:
    """Make the calls and write the result."""
    address, request, result, requests, callers = sys.argv[1:]
    client = QueueClientLoop(address, Path(request).read_bytes())
    gc.freeze()
    seconds = client.run(int(requests), int(callers))
    outcome = {
        "seconds": seconds,
        "answered": client.answered,
        "bytes": client.bytes,
        "latencies_us": client.latencies,
    }
    Path(result).write_text(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
