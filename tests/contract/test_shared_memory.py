"""Tensors in shared memory of clients, and what becomes of those who play tricks with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from inferd.core.link.messages import (
    AddRegion,
    CommandAnswer,
    Fault,
    RegisterRegion,
    RemoveRegion,
    UnregisterRegion,
)
from inferd.protos import oip_pb2 as oip
from inferd.protos.oip_pb2 import ModelInferRequest
from support.calls import ANYTHING, ROWS, Outcome, begin, call, request, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

Start = Callable[..., tuple[GatewayUnderTest, grpc.Channel]]
Shared = tuple[GatewayUnderTest, grpc.Channel, Path]


@pytest.fixture
def shared(start: Start, tmp_path: Path) -> Shared:
    """A gateway that knows 64 bytes from byte 8 of a file as `r`, and the model `m`."""
    gateway, channel = start(client_shared_memory=True)
    path = tmp_path / "object"
    path.write_bytes(bytes(8) + np.arange(16, dtype=np.float32).tobytes())
    share(gateway, path, "r", 8, 64)
    gateway.deploy("m", ROWS, [LinkWorker()])
    return gateway, channel, path


def share(gateway: GatewayUnderTest, path: Path, name: str, offset: int, nbytes: int) -> None:
    """Make a file known as shared memory."""
    fd = os.open(path, os.O_RDWR)
    gateway.control.send(AddRegion(name, path.name, offset, nbytes), [fd])
    os.close(fd)
    gateway.settle()


def placed(tensor: object, region: str, offset: int, nbytes: int) -> None:
    """Say where a tensor of a request lies."""
    parameters = tensor.parameters  # type: ignore[attr-defined]  # inputs and outputs alike
    parameters["shared_memory_region"].string_param = region
    parameters["shared_memory_byte_size"].int64_param = nbytes
    if offset:
        parameters["shared_memory_offset"].int64_param = offset


def wanted(count: int = 2, *, offset: int = 0, region: str = "r") -> ModelInferRequest:
    """A request whose one row of `count` numbers lies in shared memory."""
    sent = request("m", ("x", "FP32", (1, count)))
    placed(sent.inputs[0], region, offset, 4 * count)
    return sent


def ask(channel: grpc.Channel, sent: ModelInferRequest) -> Outcome:
    """Send it."""
    return call(channel, sent.SerializeToString())


def test_inputs_are_read_where_they_lie(shared: Shared) -> None:
    """Each time anew, and other requests of the same model come by message."""
    _, channel, path = shared
    assert values_of(ask(channel, wanted(3, offset=4))) == [[1, 2, 3]]
    with path.open("r+b") as file:
        file.seek(12)
        file.write(np.float32(42).tobytes())
    assert values_of(ask(channel, wanted(3, offset=4))) == [[42, 2, 3]]
    assert values_of(call(channel, rows([[7, 8]]))) == [[7, 8]]


def test_outputs_are_written_where_they_are_to_lie(shared: Shared) -> None:
    """The answer says where and how many bytes, and carries none of them."""
    _, channel, path = shared
    for value in (5.0, 6.0):
        sent = request("m", ("x", "FP32", (1, 2)), raw=[np.full(2, value, "<f4").tobytes()])
        placed(sent.outputs.add(name="y"), "r", 40, 24)
        response = ask(channel, sent).response
        (output,) = response.outputs
        assert (output.datatype, list(output.shape)) == ("FP32", [1, 2])
        assert output.parameters["shared_memory_region"].string_param == "r"
        assert output.parameters["shared_memory_byte_size"].int64_param == 8
        assert output.parameters["shared_memory_offset"].int64_param == 40
        assert list(response.raw_output_contents) == [b""]
        stored = np.frombuffer(path.read_bytes()[8:], "<f4")
        assert stored[9:13].tolist() == [9, value, value, 12]


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (wanted(16, offset=4), "INVALID_ARGUMENT", "beyond the 64 registered"),
        (wanted(1, offset=64), "INVALID_ARGUMENT", "beyond the 64 registered"),
        (wanted(1, offset=2**62), "INVALID_ARGUMENT", "beyond the 64 registered"),
        (wanted(region="q"), "NOT_FOUND", "register it first"),
    ],
)
def test_places_beyond_a_region_are_refused(
    shared: Shared, sent: ModelInferRequest, code: str, said: str
) -> None:
    """For inputs before anything is read, for outputs before anything is executed."""
    _, channel, _ = shared
    outcome = ask(channel, sent)
    assert (outcome.code.name, said in outcome.message) == (code, True), outcome
    to = request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)])
    parameters = to.outputs.add(name="y").parameters
    for key, value in sent.inputs[0].parameters.items():
        parameters[key].CopyFrom(value)
    assert ask(channel, to).code.name == code


def test_data_given_twice_or_of_another_size_is_refused(shared: Shared) -> None:
    """A place must have the tensor's size; with a place there is no raw tensor and no contents."""
    _, channel, _ = shared
    twice = wanted()
    twice.raw_input_contents.append(bytes(8))
    assert "raw_input_contents has 1 entries" in ask(channel, twice).message
    typed = wanted()
    typed.inputs[0].contents.fp32_contents.extend([1, 2])
    assert ask(channel, typed).field == "inputs[0].contents"
    small = request("m", ("x", "FP32", (1, 3)))
    placed(small.inputs[0], "r", 0, 8)
    assert "byte size mismatch" in ask(channel, small).message


def test_an_output_that_does_not_fit_is_told_how_large_it_is(shared: Shared) -> None:
    """Nothing of it is written, and the others of its batch get theirs."""
    _, channel, path = shared
    before = path.read_bytes()
    sent = wanted(4)
    placed(sent.outputs.add(name="y"), "r", 32, 12)
    outcome = ask(channel, sent)
    assert outcome.code.name == "INVALID_ARGUMENT"
    assert "at least 16 bytes" in outcome.message
    assert path.read_bytes() == before
    assert values_of(call(channel, rows([[1]]))) == [[1]]


def test_memory_that_shrinks_costs_its_owner_alone(shared: Shared) -> None:
    """Before reading and before writing; the gateway lives, and does not make it larger again."""
    gateway, channel, path = shared
    worker = LinkWorker()
    gateway.deploy("held", ROWS, [worker])
    worker.go.clear()
    sent = request("held", ("x", "FP32", (1, 2)), raw=[bytes(8)])
    placed(sent.outputs.add(name="y"), "r", 0, 8)
    held = begin(channel, sent.SerializeToString())
    assert worker.arrived.acquire(timeout=10)
    os.truncate(path, 0)
    worker.go.set()
    for outcome in (held.outcome(), ask(channel, wanted())):
        assert outcome.code.name == "INVALID_ARGUMENT"
        assert "made it smaller" in outcome.message
    assert path.stat().st_size == 0
    assert values_of(call(channel, rows([[1]]))) == [[1]]


def test_a_region_that_is_unregistered_serves_calls_under_way(shared: Shared) -> None:
    """Then it is closed; whoever names it later does not find it."""
    gateway, channel, path = shared
    worker = LinkWorker()
    gateway.deploy("held", ROWS, [worker])
    worker.go.clear()
    sent = request("held", ("x", "FP32", (1, 1)), raw=[np.float32(77).tobytes()])
    placed(sent.outputs.add(name="y"), "r", 0, 4)
    held = begin(channel, sent.SerializeToString())
    assert worker.arrived.acquire(timeout=10)
    gateway.control.send(RemoveRegion("r"))
    gateway.settle()
    assert ask(channel, wanted()).reason == "REGION_NOT_FOUND"
    worker.go.set()
    assert held.outcome().code is grpc.StatusCode.OK
    assert np.frombuffer(path.read_bytes()[8:12], "<f4") == 77


def test_what_is_read_at_once_is_bounded(start: Start, tmp_path: Path) -> None:
    """As large as a message, however large the region."""
    gateway, channel = start(client_shared_memory=True, max_message_bytes=1 << 20)
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 40)
    share(gateway, path, "r", 0, 1 << 40)
    gateway.deploy("m", ANYTHING, [LinkWorker()])
    sent = request("m", ("x", "UINT8", (1 << 20,)))
    placed(sent.inputs[0], "r", 0, (1 << 20) + 1)
    assert ask(channel, sent).reason == "TENSOR_TOO_LARGE"


def test_regions_are_registered_by_way_of_the_supervisor(shared: Shared) -> None:
    """Its answer is the caller's, refusals included; the status is what this gateway knows."""
    gateway, channel, _ = shared
    wants = oip.SystemSharedMemoryRegisterRequest(name="s", key="/k", offset=1, byte_size=2)
    begun = begin(channel, wants.SerializeToString(), "SystemSharedMemoryRegister")
    told = gateway.expect(RegisterRegion)
    assert (told.name, told.key, told.offset, told.nbytes) == ("s", "/k", 1, 2)
    gateway.control.send(CommandAnswer(told.command, Fault("ALREADY_EXISTS", "taken")))
    outcome = begun.outcome()
    assert (outcome.code.name, outcome.message) == ("ALREADY_EXISTS", "taken")
    begun = begin(channel, b"", "SystemSharedMemoryUnregister")
    gone = gateway.expect(UnregisterRegion)
    assert gone.name == ""
    gateway.control.send(CommandAnswer(gone.command, None))
    assert begun.outcome().code is grpc.StatusCode.OK
    found = call(channel, b"", "SystemSharedMemoryStatus")
    status = oip.SystemSharedMemoryStatusResponse.FromString(found.payload)
    (region,) = status.regions.values()
    assert (region.name, region.key, region.offset, region.byte_size) == ("r", "object", 8, 64)
    one = oip.SystemSharedMemoryStatusRequest(name="q").SerializeToString()
    assert call(channel, one, "SystemSharedMemoryStatus").code.name == "NOT_FOUND"
    metadata = oip.ServerMetadataResponse.FromString(call(channel, b"", "ServerMetadata").payload)
    assert "system_shared_memory" in metadata.extensions


def test_it_is_off_unless_the_operator_allows_it(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Whoever asks is told the setting; unregistering everything, which is nothing, works."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    wants = oip.SystemSharedMemoryRegisterRequest(name="s", key="/k", byte_size=2)
    gone = oip.SystemSharedMemoryUnregisterRequest(name="s")
    for outcome in (
        ask(channel, wanted()),
        call(channel, wants.SerializeToString(), "SystemSharedMemoryRegister"),
        call(channel, gone.SerializeToString(), "SystemSharedMemoryUnregister"),
    ):
        assert (outcome.code.name, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN")
        assert "client_shared_memory = true" in outcome.message
    assert call(channel, b"", "SystemSharedMemoryUnregister").code is grpc.StatusCode.OK
    assert call(channel, b"", "SystemSharedMemoryStatus").payload == b""
