"""Which door is opened, and what is said where it is not the first one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest
from structlog.testing import capture_logs

from inferd.server.gateway.rpc.aio.door import AioDoor
from inferd.server.gateway.rpc.call import Unary, UnaryCall
from inferd.server.gateway.rpc.completion_queue import core
from inferd.server.gateway.rpc.completion_queue.door import CompletionQueueDoor
from inferd.server.gateway.rpc.door import Door, make_door
from inferd.server.gateway.rpc.faults import DoorError
from inferd.server.gateway.scheduling.waiting.lull import Lull

_CORE = "inferd.server.gateway.rpc.completion_queue.core"


def made(choice: str) -> Door:
    """A door without methods, bound and drained so that nothing of it is left."""
    door = make_door(choice, {}, max_message_bytes=1 << 20)  # type: ignore[arg-type]  # one of them
    door.bind("127.0.0.1:0")
    door.start()
    door.drain(10)
    door.close()
    return door


@pytest.fixture(params=["a member", "a type", "the module"])
def other_core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A grpcio that lacks something of the C core, and the word that must be told of it."""
    if request.param == "the module":
        monkeypatch.setitem(sys.modules, _CORE, None)
        yield "no C core"
        return
    lacking = SimpleNamespace(**{name: getattr(core.cygrpc, name) for name in core._NEEDED})
    if request.param == "a type":
        del lacking.CompletionQueue
    else:
        lacking.CompletionQueue = SimpleNamespace(shutdown=None)
    monkeypatch.setattr(core, "cygrpc", lacking)
    yield "CompletionQueue"


def test_the_completion_queue_is_the_first_choice() -> None:
    """Without a word about it."""
    with capture_logs() as lines:
        assert isinstance(made("auto"), CompletionQueueDoor)
        assert isinstance(made("completion_queue"), CompletionQueueDoor)
    assert lines == []


def test_grpc_aio_can_be_insisted_on() -> None:
    """Without a word either: the operator knows."""
    with capture_logs() as lines:
        assert isinstance(made("grpc_aio"), AioDoor)
    assert lines == []


def test_another_core_is_told_once_and_served_around(other_core: str) -> None:
    """One warning: what is missing, that it is slower, what to install."""
    with capture_logs() as lines:
        assert isinstance(made("auto"), AioDoor)
    assert [line["log_level"] for line in lines] == ["warning"]
    text = f"{lines[0]['event']} {lines[0]['found']}"
    for part in (other_core, grpc.__version__, "grpc.aio", "CPU", "install the version"):
        assert part in text


def test_another_core_is_an_error_for_who_insists(other_core: str) -> None:
    """It names what is missing and what to install."""
    with pytest.raises(DoorError, match=other_core) as caught:
        make_door("completion_queue", {}, max_message_bytes=1 << 20)
    assert "constraints.txt" in str(caught.value)


@pytest.mark.parametrize("choice", ["completion_queue", "grpc_aio"])
def test_an_address_that_is_taken_is_an_error(choice: str) -> None:
    """It names the address; nothing of the second door is left behind."""
    door = make_door(choice, {}, max_message_bytes=1 << 20)  # type: ignore[arg-type]  # one of them
    address = door.bind("127.0.0.1:0")
    door.start()
    second = make_door(choice, {}, max_message_bytes=1 << 20)  # type: ignore[arg-type]  # one of them
    with pytest.raises(DoorError, match=address):
        second.bind(address)
    door.drain(10)
    door.close()


@pytest.mark.parametrize("choice", ["completion_queue", "grpc_aio"])
def test_a_port_can_be_shared(choice: str) -> None:
    """By doors that were both told so, and by no others."""
    doors = [
        make_door(choice, {}, max_message_bytes=1 << 20, share_port=True)  # type: ignore[arg-type]  # one of them
        for _ in range(2)
    ]
    address = doors[0].bind("127.0.0.1:0")
    assert doors[1].bind(address) == address
    for door in doors:
        door.start()
        door.drain(10)
        door.close()


def test_the_door_tells_when_it_has_read_all_whom_its_own_thread_asked_for() -> None:
    """A call that is answered only then is answered."""
    waits: list[UnaryCall] = []

    def reached() -> None:
        waits.pop().reply(b"read")

    lull = Lull(reached)

    def handle(call: UnaryCall) -> None:
        waits.append(call)
        assert lull.ask()

    methods = {"/a/b": Unary(handle)}
    door = make_door("completion_queue", methods, max_message_bytes=1 << 20, lull=lull)
    address = door.bind("127.0.0.1:0")
    door.start()
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/a/b", None, None)
        assert call(b"", timeout=10) == b"read"
    door.drain(10)
    door.close()
