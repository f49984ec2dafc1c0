"""The prototype's worker: torch copies each batch from a slot's input half to its output half."""

from __future__ import annotations

import socket
import sys

import torch

from inferd.core.process import die_with_parent
from servers.prototype.slots import HANDLE, INPUT_BYTES, SLOT_BYTES, SLOTS, map_slots


def work(link: socket.socket, slots_fd: int) -> None:
    """Serve batches until the gateway is gone."""
    torch.set_num_threads(1)
    memory = torch.frombuffer(map_slots(slots_fd), dtype=torch.uint8)
    halves = [
        memory[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES].split(INPUT_BYTES)
        for slot in range(SLOTS)
    ]
    with torch.inference_mode():
        link.send(b"ready")
        while handle := link.recv(HANDLE.size):
            slot, nbytes = HANDLE.unpack(handle)
            inputs, outputs = halves[slot]
            outputs[:nbytes].copy_(inputs[:nbytes])
            link.send(handle)


if __name__ == "__main__":
    link_fd, slots_fd, parent = (int(each) for each in sys.argv[1:])
    die_with_parent(parent)
    work(socket.socket(fileno=link_fd), slots_fd)
