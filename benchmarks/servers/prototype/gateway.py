"""The prototype's gateway: grpcio's completion queue on one side, a worker's slots on the other."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from importlib import import_module
from pathlib import Path
from typing import Any

from inferd.core.process import die_with_parent
from servers.prototype.requests import answer_head, raw_input
from servers.prototype.slots import (
    HANDLE,
    INPUT_BYTES,
    MAX_BATCH,
    SLOT_BYTES,
    SLOTS,
    map_slots,
    output_offset,
)
from servers.ready_file import write_ready_file

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

    def __init__(self) -> None:
        """Start the worker and wait until it has torch."""
        self._slots_fd = os.memfd_create("slots")
        os.ftruncate(self._slots_fd, SLOTS * SLOT_BYTES)
        self._cells = memoryview(map_slots(self._slots_fd))
        self._link = self._start_worker()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, memoryview, bytes]] = deque()
        self._free = list(range(SLOTS))
        self._running: dict[int, list[tuple[Any, int, bytes]]] = {}
        self._heads: dict[bytes, bytes] = {}

    def serve(self, ready_file: Path) -> None:
        """Listen on a free port until killed."""
        queue = cygrpc.CompletionQueue()
        server = cygrpc.Server(((b"grpc.max_receive_message_length", -1),), False)  # noqa: FBT003
        server.register_completion_queue(queue)
        port = server.add_http2_port(b"127.0.0.1:0")
        server.start()
        threading.Thread(target=self._answer, daemon=True).start()
        for _ in range(_WAITING_CALLS):
            server.request_call(queue, queue, _NEW_CALL)
        gc.freeze()
        write_ready_file(ready_file, f"127.0.0.1:{port}")
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
        if len(row) > INPUT_BYTES:
            raise SystemExit(f"{len(row)} bytes do not fit into a slot of {INPUT_BYTES}")
        form = message[:start]  # all but the numbers: equal for requests of one shape
        head = self._heads.get(form)
        if head is None:
            head = self._heads[form] = answer_head(message, len(row))
        with self._lock:
            self._waiting.append((call, row, head))
            self._dispatch()

    def _dispatch(self) -> None:
        """With the lock held: a free worker takes what waits, as one batch, at once."""
        waiting = self._waiting
        while waiting and self._free and len(self._running) < _OUTSTANDING:
            slot = self._free.pop()
            first = at = slot * SLOT_BYTES
            end = first + INPUT_BYTES
            calls: list[tuple[Any, int, bytes]] = []
            while waiting and len(calls) < MAX_BATCH and at + len(waiting[0][1]) <= end:
                call, row, head = waiting.popleft()
                size = len(row)
                self._cells[at : at + size] = row
                at += size
                calls.append((call, size, head))
            self._running[slot] = calls
            self._link.send(HANDLE.pack(slot, at - first))

    def _answer(self) -> None:
        while handle := self._link.recv(HANDLE.size):
            slot, _ = HANDLE.unpack(handle)
            at = output_offset(slot)
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

    def _start_worker(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = (theirs.fileno(), self._slots_fd)
        command = [sys.executable, "-m", "servers.prototype.worker", *map(str, fds)]
        subprocess.Popen([*command, str(os.getpid())], pass_fds=fds)
        theirs.close()
        if not ours.recv(16):
            raise SystemExit("the prototype's worker did not start; its own message is above")
        return ours


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    Prototype().serve(arguments.ready_file)
