"""The access log: who is drawn, what a line has, and that nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import inf
from typing import Any

import pytest
from structlog.testing import capture_logs

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.server.gateway import access_log
from inferd.server.gateway.access_log import MOST_WAITING, AccessLog, trace_id_of
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.decoupled import DecoupledCall
from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.routing.table import RoutingTable
from inferd.server.gateway.rpc.access import streams_logged, unary_logged
from inferd.server.gateway.rpc.call import Metadata
from inferd.server.gateway.scheduling.observation.request import Observation
from inferd.wire.errors import ModelNotFound, ServingError

PAYLOAD = ModelInferRequest(model_name="m", model_version="3", id="r").SerializeToString()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class _Call:
    """A call that remembers how it was answered."""

    method = "/x/ModelInfer"
    metadata: Metadata = (
        ("authorization", "Bearer SECRET"),
        ("traceparent", f"00-{TRACE}-{'0' * 16}-01"),
    )
    payload = PAYLOAD
    deadline = inf

    def __init__(self) -> None:
        self.answers: list[bytes | ServingError] = []
        self.leave: Callable[[], None] = lambda: None

    def peer(self) -> str:
        return "ipv6:%5B::1%5D:4321"

    def watch(self, on_cancel: Callable[[], None]) -> None:
        self.leave = on_cancel

    def reply(self, payload: bytes) -> None:
        self.answers.append(payload)

    def fail(self, error: ServingError) -> None:
        self.answers.append(error)


class _Many(_Call, DecoupledCall):
    """One that takes many answers."""

    def begin(self, proceed: Callable[[], None]) -> None:
        proceed()

    def answer(self, payload: bytes) -> bool:
        self.answers.append(payload)
        return True

    def end(self, payload: bytes | None) -> None:
        if payload is not None:
            self.answers.append(payload)


class _Taken(Dataplane):
    """Calls go to a function, not to models."""

    def __init__(self, infer: Callable[[Any], None]) -> None:
        self._take = infer

    def infer(
        self, call: InferCall, seen: Observation | None = None, *, background: bool = False
    ) -> None:
        """Hand it on."""
        self._take(call)


class Scene:
    """An access log, closed to see its lines."""

    def __init__(self, share: float = 1.0, chance: Callable[[], float] = lambda: 0.5) -> None:
        self._capture = capture_logs()
        self._lines = self._capture.__enter__()
        self.log = AccessLog(share, RoutingTable(), chance=chance)

    def lines(self) -> list[dict[str, Any]]:
        """All that were written."""
        self.log.close()
        self._capture.__exit__(None, None, None)
        return [dict(each) for each in self._lines]


def test_a_line_tells_what_happened_and_nothing_secret() -> None:
    """Method, model, version, id, status, sizes, peer and the caller's trace."""
    scene, call = Scene(), _Call()
    unary_logged(_Taken(lambda each: each.reply(b"12345")), scene.log)(call)
    (line,) = scene.lines()
    assert call.answers == [b"12345"]
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "dataset": "inferd.access",
        "protocol": "grpc",
        "method": "ModelInfer",
        "model": "m",
        "version": "3",
        "request_id": "r",
        "status": "OK",
        "outcome": "success",
        "bytes_in": len(PAYLOAD),
        "bytes_out": 5,
        "trace_id": TRACE,
        "peer": "::1",
        "peer_ip": "::1",
        "peer_port": 4321,
    }


def test_the_first_of_two_traces_is_told() -> None:
    """As it is the first that decides whether the request is traced."""
    scene, call = Scene(), _Call()
    call.metadata = (*call.metadata, ("traceparent", f"00-{'1' * 32}-{'1' * 16}-01"))
    unary_logged(_Taken(lambda each: each.reply(b"")), scene.log)(call)
    (line,) = scene.lines()
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize("nbytes", [0, 5000])
def test_no_header_waits_with_a_line(nbytes: int) -> None:
    """A line may wait for long; only its trace is kept of what has credentials in it."""
    scene, call = Scene(), _Call()
    payload = ModelInferRequest(model_name="m", raw_input_contents=[bytes(nbytes)])
    entry = scene.log.begin("M", payload.SerializeToString(), call.peer(), call.metadata)
    assert "SECRET" not in str(asdict(entry))
    assert entry.trace_id == TRACE
    assert (entry.unread is None) == (nbytes > 4096)
    scene.lines()


def test_without_a_log_nothing_is_between() -> None:
    """Off, the dataplane's own function is what the door calls."""

    def infer(call: InferCall) -> None:
        """Do nothing."""

    assert unary_logged(dataplane := _Taken(infer), None) == dataplane.infer
    assert streams_logged(infer, None)(_Call()) is infer  # type: ignore[arg-type]  # not looked at


def test_the_share_is_drawn() -> None:
    """Who is not drawn is handed on as it is."""
    draws = iter([0.0, 0.0, 0.6, 0.0])  # the first, then the second from there; one counts for HTTP
    scene, seen = Scene(0.5, lambda: next(draws)), list[InferCall]()

    def infer(call: InferCall) -> None:
        seen.append(call)
        call.reply(b"")

    calls = [_Call() for _ in range(3)]
    handle = unary_logged(_Taken(infer), scene.log)
    for each in calls:
        handle(each)
    assert len(scene.lines()) == 2
    assert [mine is theirs for mine, theirs in zip(calls, seen, strict=True)] == [
        False,
        True,
        False,
    ]


def _fails(call: InferCall) -> None:
    call.fail(ModelNotFound("none"))


def _raises(call: InferCall) -> None:
    raise ModelNotFound("none")


def _breaks(call: InferCall) -> None:
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize(
    ("infer", "status", "code"),
    [
        (_fails, "NOT_FOUND", "MODEL_NOT_FOUND"),
        (_raises, "NOT_FOUND", "MODEL_NOT_FOUND"),
        (_breaks, "INTERNAL", "INTERNAL_ERROR"),
    ],
)
def test_errors_have_their_status(infer: Callable[[Any], None], status: str, code: str) -> None:
    """However they come to the call; it is answered once."""
    scene, call = Scene(), _Call()
    unary_logged(_Taken(infer), scene.log)(call)
    (line,) = [each for each in scene.lines() if each["event"] == "request"]
    assert (line["status"], line["error_code"], line["outcome"]) == (status, code, "failure")
    assert len(call.answers) == 1


@pytest.mark.parametrize("ends", ["reply", "fail"])
def test_a_line_is_on_its_way_before_the_answer_is(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that lines of a caller who asks one thing after the other are in that order."""
    scene, call = Scene(), _Call()
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(call, ends, lambda _: lines.extend(scene.lines()))
    infer: Callable[[InferCall], None] = _fails if ends == "fail" else lambda each: each.reply(b"")
    unary_logged(_Taken(infer), scene.log)(call)
    assert [each["status"] for each in lines] == ["NOT_FOUND" if ends == "fail" else "OK"]


def test_a_caller_that_leaves_is_told_of_once() -> None:
    """As cancelled, and whoever waits for that hears it; an answer that comes later is no line."""
    scene, call, heard = Scene(), _Call(), list[str]()
    taken: list[InferCall] = []

    def infer(each: InferCall) -> None:
        taken.append(each)
        each.watch(lambda: heard.append("left"))

    unary_logged(_Taken(infer), scene.log)(call)
    call.leave()
    taken[0].reply(b"late")
    (line,) = scene.lines()
    assert (line["status"], heard) == ("CANCELLED", ["left"])


def test_many_answers_are_one_line() -> None:
    """With the size of all of them; a call with one answer does not look like one with many."""
    scene, many, one = Scene(), _Many(), _Call()

    def infer(call: InferCall) -> None:
        if isinstance(call, DecoupledCall):
            call.begin(lambda: None)
            assert call.answer(b"123")
            call.end(b"45")
        else:
            call.reply(b"1")

    handle = streams_logged(infer, scene.log)(_Call())  # type: ignore[arg-type]  # peer, metadata
    handle(many)
    handle(one)
    assert [(each["method"], each["bytes_out"]) for each in scene.lines()] == [
        ("ModelStreamInfer", 5),
        ("ModelStreamInfer", 1),
    ]
    assert (many.answers, one.answers) == ([b"123", b"45"], [b"1"])


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lines cannot be written until this is set."""
    event = threading.Event()
    write = AccessLog._line
    monkeypatch.setattr(AccessLog, "_line", lambda *each: event.wait(20) and write(*each))
    yield event
    event.set()


def test_a_stuck_writer_holds_nobody_up(
    stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines beyond the bound are dropped and counted; those within come later."""
    monkeypatch.setattr(access_log, "_CLOSE_BOUND", 60.0)  # on a busy machine 10,000 take seconds
    scene = Scene()
    handle = unary_logged(_Taken(lambda each: each.reply(b"")), scene.log)
    for _ in range(MOST_WAITING + 1000):  # some are with the writer already
        handle(_Call())
    stuck.set()
    lines = scene.lines()
    written = [each for each in lines if each["event"] == "request"]
    dropped = [each["dropped"] for each in lines if "dropped" in each]
    assert len(written) + sum(dropped) == MOST_WAITING + 1000
    assert len(written) >= MOST_WAITING
    assert sum(dropped) > 0


@pytest.mark.parametrize("header", [None, b"x", "", "00-zz", f"00-{TRACE}-1-01", f"x\n{TRACE}"])
def test_what_is_no_traceparent_is_no_trace(header: str | bytes | None) -> None:
    """Nothing a caller makes up goes under trace.id."""
    assert trace_id_of(header) is None
