"""A server's status made by a test, and an operations port that tells it."""

from __future__ import annotations

import socket
import threading
from collections import deque
from types import TracebackType
from typing import Self

import msgspec
from msgspec.structs import replace

from inferd.core.telemetry.metrics import SECONDS
from inferd.core.telemetry.status import (
    Addresses,
    Consumption,
    Figures,
    GatewayStatus,
    GpuStatus,
    ProcessUse,
    ServerStatus,
    Status,
    Totals,
    VersionStatus,
    WorkerStatus,
)


def version(name: str = "digits", *, cpu_seconds: float = 1.0, answered: int = 0) -> VersionStatus:
    """A version that is well: one worker, process 81."""
    buckets = (0, 0, 0, answered, *(0 for _ in SECONDS[3:]))
    return VersionStatus(
        model=name,
        version=1,
        state="READY",
        reason="",
        up=1,
        instances=1,
        devices=("cpu",),
        restarts={},
        queued=0,
        queue_age=0.0,
        in_flight=0,
        figures=Figures(),
        consumption=Consumption(),
        totals=Totals(answered=answered, seconds=answered * 0.002, buckets=buckets),
        workers=(
            WorkerStatus(
                instance=0,
                device="cpu",
                up=True,
                phase="attached",
                use=ProcessUse(pid=81, cpu_seconds=cpu_seconds),
            ),
        ),
    )


def status(*models: VersionStatus, uptime: float = 100.0, started: float = 1.8e9) -> Status:
    """The status of a server that is well, with one gateway."""
    return Status(
        window=60.0,
        read_at=uptime,
        bounds=SECONDS,
        server=ServerStatus(
            version="0.1.0",
            started=started,
            uptime=uptime,
            ready=True,
            reason="",
            addresses=Addresses(grpc="127.0.0.1:8001", http="127.0.0.1:8000", ops="127.0.0.1:8002"),
            supervisor=ProcessUse(pid=42, cpu_seconds=1.0, cpu=0.004, memory_bytes=61_000_000),
        ),
        gateways=(
            GatewayStatus(
                name="gateway",
                up=True,
                restarts=0,
                lag_seconds=0.0004,
                use=ProcessUse(pid=43, cpu_seconds=9.0, cpu=0.31, memory_bytes=88_200_000),
            ),
        ),
        models=models,
        gpus=(),
    )


def eventful() -> Status:
    """A server on which much is going on, and some of it wrong."""
    busy = Figures(
        requests_per_second=12_345.6, errors_per_second=1.0, rows_per_second=98_765.0,
        error_share=0.0123, mean_seconds=0.0021, p50_seconds=0.00187, p99_seconds=0.0234,
        batch_rows=28.4, speed=476.0,
    )  # fmt: skip
    used = Consumption(
        cpu=3.87, memory_bytes=1_400_000_000, gpu_memory_bytes=7_900_000_000, watts=212
    )
    models = (
        replace(
            version("breast-cancer"),
            instances=2,
            restarts={"signal": 2, "exit": 1},
            devices=("cuda:0", "cuda:1"),
            queued=1000,
            queue_age=12.34,
            figures=busy,
            consumption=used,
        ),
        version("a-model-with-a-name-that-takes-more-than-a-line-of-80-columns-has-room-for"),
        replace(
            version("broken"), state="UNAVAILABLE", reason="bad file\x1b[2J", up=0, instances=0,
            devices=(), workers=(),
        ),
        replace(version("away"), state="UNAVAILABLE", reason="unloaded", up=0, instances=0, workers=()),
    )  # fmt: skip
    gpu = GpuStatus(
        index=0, uuid="GPU-1", name="NVIDIA H100 80GB HBM3", memory_used=8_100_000_000,
        memory_total=85_000_000_000, utilization=0.87, power_watts=412.4, temperature=61,
    )  # fmt: skip
    found = status(*models, uptime=11_530)
    return replace(found, gpus=(gpu,), server=replace(found.server, unmatched=1234))


class OpsPort:
    """Answers one connection after the other with the next of `answers`; the last one again and again.

    An answer is bytes as they are, a status, or None: the connection is closed without a word.
    """

    def __init__(self, *answers: bytes | Status | None) -> None:
        self._answers = deque(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                answer = self._answers[0]
                if len(self._answers) > 1:
                    self._answers.popleft()
                if isinstance(answer, Status):
                    answer = http_answer(msgspec.json.encode(answer))
                if answer:
                    connection.sendall(answer)


def http_answer(body: bytes, line: str = "200 OK") -> bytes:
    """An answer over HTTP/1.1."""
    head = f"HTTP/1.1 {line}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
