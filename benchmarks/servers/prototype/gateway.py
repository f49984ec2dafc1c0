"""The prototype's gateway: grpcio's completion queue on one side, a worker's slots on the other."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from importlib import import_module
from typing import Any, NoReturn

from inferd.server.gateway.rpc.completion_queue.polling import read_sockets_in_the_loop
from servers.options import Options, read_options
from servers.prototype.requests import answer_head, raw_input
from servers.prototype.slots import HANDLE, SLOTS, Geometry, map_slots

read_sockets_in_the_loop()  # as inferd's gateway does, before grpc is imported
cygrpc: Any = import_module("grpc._cython.cygrpc")

_OUTSTANDING = 1
"""Batches that the worker holds: on a CPU a second one only makes batches smaller."""

_WAITING_CALLS = 128
_NO_FLAGS = 0
_NEW_CALL, _FINISHED = object(), object()


class _Received:
    """Tag of the event that brings a call's message."""

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call


class Prototype:
    """Two threads: the one that runs `serve` takes calls, another sends the answers."""

    def __init__(self, model: str, max_batch: int) -> None:
        """Start the worker and wait until it has the model."""
        self._link = _start_worker(model, max_batch)
        self._geometry = geometry = Geometry.read(self._link.recv(4096) or _no_worker())
        slots_fd = os.memfd_create("slots")
        os.ftruncate(slots_fd, SLOTS * geometry.slot_nbytes)
        self._cells = memoryview(map_slots(slots_fd, geometry))
        socket.send_fds(self._link, [b"slots"], [slots_fd])
        if not self._link.recv(16):
            _no_worker()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, memoryview, bytes]] = deque()
        self._free = list(range(SLOTS))
        self._running: dict[int, list[tuple[Any, int, bytes]]] = {}
        self._heads: dict[bytes, bytes] = {}

    def serve(self, port: int) -> None:
        """Listen until killed."""
        queue = cygrpc.CompletionQueue()
        server = cygrpc.Server(((b"grpc.max_receive_message_length", -1),), False)  # noqa: FBT003
        server.register_completion_queue(queue)
        server.add_http2_port(f"127.0.0.1:{port}".encode())
        server.start()
        threading.Thread(target=self._answer, daemon=True).start()
        for _ in range(_WAITING_CALLS):
            server.request_call(queue, queue, _NEW_CALL)
        gc.freeze()
        while True:
            event = queue.poll()  # waits; never poll with a zero timeout
            if event.tag is _FINISHED:
                continue
            if event.tag is _NEW_CALL:
                server.request_call(queue, queue, _NEW_CALL)
                call = event.call
                call.start_server_batch(
                    (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), _Received(call)
                )
                call.start_server_batch(
                    (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), _FINISHED
                )
                continue
            message = event.batch_operations[0].message()
            if message is not None:
                self._take(event.tag.call, message)

    def _take(self, call: Any, message: bytes) -> None:
        start, row = raw_input(message)
        form = message[:start]  # all but the numbers: equal for requests of one shape
        head = self._heads.get(form)
        if head is None:
            geometry = self._geometry
            rows = len(row) // geometry.row_nbytes
            if not 0 < rows <= geometry.max_batch:
                raise SystemExit(f"{rows} rows do not fit into a batch of {geometry.max_batch}")
            shape = (rows, *geometry.answer_row)
            head = self._heads[form] = answer_head(message, shape, rows * geometry.answer_nbytes)
        with self._lock:
            self._waiting.append((call, row, head))
            self._dispatch()

    def _dispatch(self) -> None:
        """With the lock held: a free worker takes what waits, as one batch, at once."""
        waiting, geometry = self._waiting, self._geometry
        while waiting and self._free and len(self._running) < _OUTSTANDING:
            slot = self._free.pop()
            first = at = slot * geometry.slot_nbytes
            end = first + geometry.max_batch * geometry.row_nbytes
            calls: list[tuple[Any, int, bytes]] = []
            while waiting and at + len(waiting[0][1]) <= end:
                call, row, head = waiting.popleft()
                size = len(row)
                self._cells[at : at + size] = row
                at += size
                calls.append((call, size // geometry.row_nbytes * geometry.answer_nbytes, head))
            self._running[slot] = calls
            self._link.send(HANDLE.pack(slot, (at - first) // geometry.row_nbytes))

    def _answer(self) -> None:
        geometry = self._geometry
        while handle := self._link.recv(HANDLE.size):
            slot, _ = HANDLE.unpack(handle)
            at = slot * geometry.slot_nbytes + geometry.input_nbytes
            for call, size, head in self._running[slot]:
                answer = b"".join((head, self._cells[at : at + size]))
                at += size
                call.start_server_batch(
                    (  # fresh operation objects each time: they own memory of the C core
                        cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
                        cygrpc.SendMessageOperation(answer, _NO_FLAGS),
                        cygrpc.SendStatusFromServerOperation(
                            (), cygrpc.StatusCode.ok, b"", _NO_FLAGS
                        ),
                    ),
                    _FINISHED,
                )
            with self._lock:
                del self._running[slot]
                self._free.append(slot)
                self._dispatch()
        os._exit(1)  # the worker is gone; this thread is not the one that could say so


def _start_worker(model: str, max_batch: int) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [model, str(max_batch), str(theirs.fileno()), str(os.getpid())]
    command = [sys.executable, "-m", "servers.prototype.worker", *arguments]
    subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    return ours


def _no_worker() -> NoReturn:
    raise SystemExit("the prototype's worker did not start; its own message is above")


def main(options: Options) -> None:
    """Serve until killed."""
    Prototype(options.model, options.max_batch).serve(options.port)


if __name__ == "__main__":
    main(read_options(__doc__))
