"""A worker without a model: its file says, in words, how it behaves.

`fail REASON`, `hang`, `die`, `linger` (loads, ignores StopWorker), `outputs NAME` (loads, with
another signature), `memory BYTES` (loads, and says that torch has allocated them), or nothing: loads
at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from inferd.core.link.messages import (
    FromWorker,
    Loaded,
    LoadingFailed,
    LoadModel,
    MemoryReport,
    StopWorker,
    ToWorker,
)
from inferd.core.link.sockets import MessageSocket, PeerGone, adopt
from inferd.core.process import die_with_parent
from inferd.wire.signature import Signature, TensorSpec


def main() -> int:
    """Behave as the model's file says; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--log-fd", type=int)
    options = parser.parse_args()
    die_with_parent(options.parent)
    control: MessageSocket[FromWorker, ToWorker]
    control = MessageSocket(adopt(options.control_fd), ToWorker)
    order = control.receive()
    assert isinstance(order, LoadModel)
    words = (Path(order.source.path) / "model.py").read_text().split(" ", 1)
    verb, rest = words[0], words[1] if len(words) > 1 else ""
    if verb == "fail":
        control.send(LoadingFailed(rest))
        return 1
    if verb == "hang":
        time.sleep(600)
    if verb == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if verb == "memory":
        control.send(MemoryReport(int(rest), 2 * int(rest), 3 * int(rest)))
    output = TensorSpec(rest if verb == "outputs" else "y", "FP32", (1,))
    signature = Signature((TensorSpec("x", "FP32", (1,)),), (output,))
    control.send(Loaded(signature, "pytorch_code", takes_parameters=False, seconds=0.0))
    try:
        while True:
            message, fds = control.receive_with_fds()
            if isinstance(message, StopWorker) and verb != "linger":
                return 0
            # Links stay open until we end, as a real worker's do.
            assert isinstance(message, StopWorker) == (not fds)
    except PeerGone:
        return 0


if __name__ == "__main__":
    sys.exit(main())
