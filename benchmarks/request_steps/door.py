"""What gRPC costs: a gateway's door that answers each call with the call's own bytes."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path

import psutil

_METHOD = "/cost.Door/Echo"
_FRAME = struct.Struct(">BI")
_CALIBRATION = 200


def door_cost(h2load: str, row: tuple[int, ...], callers: int, seconds: float) -> float:
    """Microseconds of CPU per call of a tensor like `row`, in a process that is a door alone.

    Raises `RuntimeError` where not every call was answered.
    """
    with (
        tempfile.TemporaryDirectory(prefix="inferd-cost-") as folder,
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("door_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            address = server.stdout.readline().strip()
            frame = Path(folder) / "frame"
            message = os.urandom(4 * prod(row))
            frame.write_bytes(_FRAME.pack(0, len(message)) + message)
            rate = _load(h2load, address, frame, callers, max(callers, _CALIBRATION // 10))
            requests = max(_CALIBRATION, callers, int(rate * seconds))
            process = psutil.Process(server.pid)
            before = process.cpu_times()
            _load(h2load, address, frame, callers, requests)
            after = process.cpu_times()
        finally:
            server.stdin.close()
            server.wait()
    spent = after.user + after.system - before.user - before.system
    return spent / requests * 1e6


def _load(h2load: str, address: str, frame: Path, callers: int, requests: int) -> float:
    """Requests per second."""
    command = [
        h2load,
        f"--requests={requests}",
        "--clients=1",
        f"--max-concurrent-streams={callers}",
        "--max-frame-size=1M",
        f"--data={frame}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"http://{address}{_METHOD}",
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered = re.search(r"status codes: (\d+) 2xx", output)
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", output)
    if answered is None or rate is None or int(answered[1]) != requests:
        raise RuntimeError(f"h2load got no answer to some of {requests} calls: {output[-500:]}")
    return float(rate[1])
