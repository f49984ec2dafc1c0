"""What a bulk job holds on both sides, however much goes through: by the kernel's high-water mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from inferd.client import connect
from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.protos.services import BULK_METHODS
from inferd.protos.v1.bulk_pb2 import BulkRequest, BulkResponse, Open
from inferd.wire.bulk import whole_chunk
from support.gate import Gate
from support.server import Server

MIB = 1 << 20
CHUNK, CHUNKS = 4 * MIB, 144
CREDIT = 32 * MIB
"""Of requests and answers of a stream, as the protocol's page says."""

MOST = CHUNK * CHUNKS // 2
"""Growth that is forgiven, for credit, arenas, copies under way and freed memory that is kept."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the gate and the server."""
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module")
def gate(folder: Path) -> Iterator[Gate]:
    """The model `gated`, which gives its input back and does not batch."""
    with Gate(folder, folder / "repository") as made:
        yield made


@pytest.fixture(scope="module")
def server(gate: Gate, folder: Path) -> Iterator[Server]:
    """A server of it."""
    with Server(folder, [folder / "repository"], "--trust", "gated") as started:
        yield started
        gate.let_go(1000)


class Peak:
    """How much a process grows from here on."""

    def __init__(self, pid: int | str) -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text("5")  # the peak is what it has now
        self._before = self._read("VmRSS")

    @property
    def growth(self) -> int:
        """Bytes at most, so far."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        (found,) = [line for line in lines if line.startswith(f"{name}:")]
        return 1024 * int(found.split()[1])


def rows(number: int) -> npt.NDArray[np.float32]:
    """A chunk's tensor, which tells its number."""
    return np.full((CHUNK // 16, 4), number + 1, np.float32)


def test_a_gateway_holds_no_more_than_credit(server: Server, gate: Gate) -> None:
    """Of a caller that sends three times a credit and more without reading, and reads slowly then."""
    last_sent = -1

    def steps() -> Iterator[bytes]:
        nonlocal last_sent
        yield BulkRequest(open=Open(model_name="gated")).SerializeToString()
        for number in range(CHUNKS):
            request = ModelInferRequest(raw_input_contents=[rows(number).tobytes()])
            request.inputs.add(name="x", datatype="FP32", shape=[CHUNK // 16, 4])
            yield whole_chunk(number, request.SerializeToString())
            last_sent = number

    peak = Peak(server.gateway().pid)
    sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, sizes) as channel, connect(server.address) as client:
        method = channel.stream_stream(BULK_METHODS["Infer"].path, None, None)
        call = method(steps())
        gate.wait()  # the first chunk is being executed
        while last_sent < CREDIT // CHUNK:
            client.server_live()
        for _ in range(300):  # time enough to read all of it, were it read
            client.server_live()
        held = last_sent
        gate.let_go(CHUNKS)
        answers = iter(call)
        assert BulkResponse.FromString(next(answers)).HasField("opened")
        answered, nbytes = [], 0
        for payload in answers:
            answer = BulkResponse.FromString(payload).answer
            nbytes += len(payload)
            if answer.HasField("credit"):
                answered.append(answer.sequence)
            client.server_live()
    assert answered == list(range(CHUNKS))
    assert nbytes > CHUNK * CHUNKS
    # Beside its credit what the connection itself takes on both sides lies between.
    assert held * CHUNK < CHUNK * CHUNKS // 2
    assert peak.growth < MOST


def test_a_client_holds_no_more_than_it_may_have_in_flight(server: Server, gate: Gate) -> None:
    """While it takes one answer after another."""
    gate.forget()
    gate.let_go(CHUNKS)
    last_drawn = -1

    def items() -> Iterator[npt.NDArray[np.float32]]:
        nonlocal last_drawn
        for number in range(CHUNKS):
            last_drawn = number
            yield rows(number)

    with connect(server.address) as client:
        peak = Peak("self")
        for number, answer in enumerate(client.model("gated").map(items(), in_flight=4)):
            assert (answer.shape, answer[0, 0]) == ((CHUNK // 16, 4), number + 1)
            assert last_drawn <= number + 4
    assert number == CHUNKS - 1
    assert peak.growth < MOST
