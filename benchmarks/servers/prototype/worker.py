"""The prototype's worker: runs the model on each batch of a slot: `worker.py MODEL MAX_BATCH LINK PARENT`."""

from __future__ import annotations

import socket
import sys
from math import prod

import torch
from workload_models import MODELS, build

from inferd.core.process import die_with_parent
from servers.prototype.slots import HANDLE, SLOTS, Geometry, map_slots


def work(link: socket.socket, name: str, max_batch: int) -> None:
    """Serve batches until the gateway is gone."""
    torch.set_num_threads(1)
    facts = MODELS[name]
    model = build(name)
    geometry = Geometry(
        4 * prod(facts.row), 4 * prod(facts.answer_row), facts.answer_row, max_batch
    )
    link.send(geometry.write())
    _, (slots_fd,), _, _ = socket.recv_fds(link, 16, 1)
    memory = torch.frombuffer(map_slots(slots_fd, geometry), dtype=torch.float32)
    slots = memory.split(geometry.slot_nbytes // 4)
    inputs = [
        each[: max_batch * geometry.row_nbytes // 4].view(max_batch, *facts.row) for each in slots
    ]
    outputs = [
        each[geometry.input_nbytes // 4 :][: max_batch * geometry.answer_nbytes // 4].view(
            max_batch, *facts.answer_row
        )
        for each in slots
    ]
    assert len(inputs) == SLOTS
    with torch.inference_mode():
        model(inputs[0].clone())
        link.send(b"ready")
        while handle := link.recv(HANDLE.size):
            slot, rows = HANDLE.unpack(handle)
            outputs[slot][:rows].copy_(model(inputs[slot][:rows]))
            link.send(handle)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[4]))
    work(socket.socket(fileno=int(sys.argv[3])), sys.argv[1], int(sys.argv[2]))
