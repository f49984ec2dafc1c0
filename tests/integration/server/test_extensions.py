"""Triton's extensions, asked for by tritonclient, unmodified, of real workers."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from support.repository import write_code
from support.server import Server

DOUBLE = """
class Double(Model):
    def predict(self, x):
        return x * 2
"""

SUMS = """
class Sums(Model):
    def predict(self, x, sequence):
        total = sequence.state.get("total", 0) + x
        sequence.state["total"] = total
        return total
"""

TRUST = ("--trust", "double", "--trust", "sums")

ON = {"INFERD_CLIENT_SHARED_MEMORY": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of small models of own code."""
    folder = tmp_path_factory.mktemp("extensions")
    write_code(folder / "models" / "double", DOUBLE, 'max_batch_size = 4\nlabels.y = "labels.txt"')
    (folder / "models" / "double" / "labels.txt").write_text("ape\nbee\ncat\n")
    write_code(folder / "models" / "sums", SUMS, "[sequences]\nidle_timeout = 30.0")
    with Server(folder, [folder / "models"], *TRUST, environment=ON) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """A client of it."""
    with triton.InferenceServerClient(server.address) as connected:
        yield connected


def tensor(values: object) -> triton.InferInput:
    """The input `x` of FP32."""
    array = np.array(values, np.float32)
    given = triton.InferInput("x", array.shape, "FP32")
    given.set_data_from_numpy(array)
    return given


def test_classes_with_their_labels(client: triton.InferenceServerClient) -> None:
    """The three largest of each row, named by the file that the model ships."""
    outputs = [triton.InferRequestedOutput("y", class_count=3)]
    answer = client.infer("double", [tensor([[1, 4, 3, 2], [4, 3, 2, 1]])], outputs=outputs)
    assert answer.as_numpy("y").tolist() == [
        [b"8.000000:1:bee", b"6.000000:2:cat", b"4.000000:3"],
        [b"8.000000:0:ape", b"6.000000:1:bee", b"4.000000:2:cat"],
    ]
    assert "classification" in client.get_server_metadata().extensions


@contextmanager
def memory(nbytes: int) -> Iterator[tuple[shm.SharedMemoryRegion, str]]:
    """Shared memory as tritonclient makes it, and its key."""
    key = f"inferd-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region("r", key, nbytes, create_only=True)
    try:
        yield handle, key
    finally:
        shm.destroy_shared_memory_region(handle)


def in_place(client: triton.InferenceServerClient, handle: shm.SharedMemoryRegion) -> list[float]:
    """Have four numbers doubled from one end of the region `r` to the other."""
    given = triton.InferInput("x", [1, 4], "FP32")
    given.set_shared_memory("r", 16)
    output = triton.InferRequestedOutput("y")
    output.set_shared_memory("r", 16, offset=16)
    answer = client.infer("double", [given], outputs=[output])
    found = answer.get_output("y")
    numbers: list[float] = shm.get_contents_as_numpy(
        handle, np.float32, list(found.shape), offset=16
    )[0].tolist()
    return numbers


def test_tensors_in_shared_memory(client: triton.InferenceServerClient) -> None:
    """Register, use, look, unregister: the way of tritonclient's own examples."""
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    with memory(32) as (handle, key):
        client.register_system_shared_memory("r", key, 32)
        with pytest.raises(InferenceServerException) as caught:
            client.register_system_shared_memory("r", key, 32)
        assert caught.value.status() == "StatusCode.ALREADY_EXISTS"
        shm.set_shared_memory_region(handle, [np.array([1, 2, 3, 4], np.float32)])
        assert in_place(client, handle) == [2, 4, 6, 8]
        status = client.get_system_shared_memory_status().regions
        assert (status["r"].key, status["r"].byte_size) == (key, 32)
        client.unregister_system_shared_memory("r")
        with pytest.raises(InferenceServerException, match="unable to find"):
            in_place(client, handle)
    assert not client.get_system_shared_memory_status().regions
    assert not client.get_cuda_shared_memory_status().regions


def test_every_gateway_knows_what_one_was_told(tmp_path: Path) -> None:
    """One that comes in the place of a killed one, too; sequences are refused with several."""
    write_code(tmp_path / "models" / "double", DOUBLE, "max_batch_size = 4")
    write_code(tmp_path / "models" / "sums", SUMS, "[sequences]")
    options = (*TRUST, "--gateways", "2")
    serving = Server(tmp_path, [tmp_path / "models"], *options, environment=ON, lasting=True)
    with serving as server, memory(32) as (handle, key):
        shm.set_shared_memory_region(handle, [np.array([1, 2, 3, 4], np.float32)])
        assert "sums version 1 is not served: its [sequences] need one gateway" in server.terminal
        with connected(server) as first:
            first.register_system_shared_memory("r", key, 32)
        for _ in range(8):  # the kernel deals connections out: one of each is likely
            with connected(server) as client:
                assert in_place(client, handle) == [2, 4, 6, 8]
        for gateway in server.gateways():
            gateway.kill()
            gateway.wait(10)
        for _ in range(4):
            with connected(server) as client:
                assert in_place(client, handle) == [2, 4, 6, 8]


@contextmanager
def connected(server: Server) -> Iterator[triton.InferenceServerClient]:
    """A client on a connection of its own that waits for a server."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with triton.InferenceServerClient(server.address, channel_args=options) as client:
        grpc.channel_ready_future(client._channel).result(60)
        yield client


def added(
    client: triton.InferenceServerClient, value: float, name: object, flags: str = ""
) -> float:
    """The running total of a sequence after one more number."""
    answer = client.infer(
        "sums",
        [tensor([[value] * 4])],
        sequence_id=name,
        sequence_start="s" in flags,
        sequence_end="e" in flags,
    )
    return float(answer.as_numpy("y")[0, 0])


def test_sequences_keep_their_state(client: triton.InferenceServerClient) -> None:
    """Each its own, by number or by text, from its start to its end."""
    assert added(client, 1, 7, "s") == 1
    assert added(client, 10, "seven", "s") == 10
    assert added(client, 2, 7) == 3
    assert added(client, 20, "seven", "e") == 30
    assert added(client, 3, 7, "s") == 3
    assert added(client, 4, 7, "e") == 7
    with pytest.raises(InferenceServerException, match="must specify the START flag") as caught:
        added(client, 5, 7)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    with pytest.raises(InferenceServerException, match="correlation ID"):
        client.infer("sums", [tensor([[1] * 4])])
    with pytest.raises(InferenceServerException, match="'double' has no sequences"):
        client.infer("double", [tensor([[1] * 4])], sequence_id=1, sequence_start=True)
    config = client.get_model_config("sums").config
    assert config.sequence_batching.max_sequence_idle_microseconds == 30_000_000
    assert not config.HasField("dynamic_batching")
    assert "sequence" in client.get_server_metadata().extensions


def test_sequences_on_a_stream(client: triton.InferenceServerClient) -> None:
    """Many sent at once, executed in their order, two sequences interleaved."""
    answers: queue.SimpleQueue[tuple[triton.InferResult | None, Exception | None]]
    answers = queue.SimpleQueue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for step in range(20):
        for name in (1, 2):
            client.async_stream_infer(
                "sums",
                [tensor([[float(name)] * 4])],
                sequence_id=name,
                sequence_start=step == 0,
                sequence_end=step == 19,
            )
    found = []
    for _ in range(40):
        result, error = answers.get(timeout=30)
        assert result is not None, error
        found.append(float(result.as_numpy("y")[0, 0]))
    client.stop_stream()
    assert found[::2] == [float(step) for step in range(1, 21)]
    assert found[1::2] == [2.0 * step for step in range(1, 21)]


def test_a_sequence_is_lost_with_its_worker(tmp_path: Path) -> None:
    """It is told so, for sending the request again would be of no use."""
    write_code(tmp_path / "models" / "sums", SUMS, "[sequences]")
    with (
        Server(tmp_path, [tmp_path / "models"], "--trust", "sums") as server,
        connected(server) as client,
    ):
        assert added(client, 1, 7, "s") == 1
        (worker,) = server.workers()
        worker.kill()
        while client.is_model_ready("sums"):  # the gateway has still to hear of it
            pass
        with pytest.raises(InferenceServerException) as caught:
            added(client, 1, 7)
        assert caught.value.status() == "StatusCode.FAILED_PRECONDITION", caught.value
