"""A new deployment takes over from an old one, and no request is lost."""

from __future__ import annotations

import threading

import grpc

from inferd.core.link.messages import (
    AddInstance,
    DeploymentDrained,
    ParameterValue,
    VersionState,
)
from support.calls import ROWS, Outcome, begin, call, rows, values_of
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker, RawTensor


def negated(
    inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
) -> list[RawTensor]:
    """Flips the sign of every value."""
    (x,) = inputs
    assert x is not None
    raw = bytearray(x.raw)
    for at in range(3, len(raw), 4):
        raw[at] ^= 0x80
    return [RawTensor(x.datatype, x.shape, bytes(raw))]


def test_the_old_deployment_finishes_what_it_has(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """It drains once its last request is answered, and says so once; new ones go to the new."""
    old, new = LinkWorker(), LinkWorker(negated)
    first = gateway.deploy("m", ROWS, [old])
    old.go.clear()
    begun = [begin(channel, rows([[float(n)]] * 3)) for n in range(1, 4)]
    assert old.arrived.acquire(timeout=10)
    for _ in range(3):
        call(channel, b"", "ServerLive")
    gateway.deploy("m", ROWS, [new])
    assert values_of(call(channel, rows([[5]]))) == [[-5]]
    gateway.settle()
    assert not gateway._early, "it drained with requests in it"
    old.go.set()
    assert [values_of(each.outcome()) for each in begun] == [[[float(n)]] * 3 for n in (1, 2, 3)]
    assert gateway.expect(DeploymentDrained).deployment == first
    old.die()
    gateway.settle()
    assert not gateway._early, "it drained twice"
    assert values_of(call(channel, rows([[6]]))) == [[-6]]


def test_a_deployment_whose_callers_leave_drains(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Nobody waits for a queue of requests that nobody waits for."""
    old = LinkWorker()
    first = gateway.deploy("m", ROWS, [old])
    old.go.clear()
    begun = [begin(channel, rows([[0]])) for _ in range(3)]
    assert old.arrived.acquire(timeout=10)
    gateway.publish("m")
    assert call(channel, rows([[0]])).reason == "MODEL_NOT_FOUND"
    for each in begun:
        each.cancel()
    old.go.set()
    assert gateway.expect(DeploymentDrained).deployment == first


def test_a_draining_deployment_that_loses_its_worker_drains(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Its calls are told, and its end is reported."""
    old = LinkWorker()
    first = gateway.deploy("m", ROWS, [old])
    old.go.clear()
    held = begin(channel, rows([[0]]))
    assert old.arrived.acquire(timeout=10)
    gateway.publish("m", VersionState(1, "UNLOADING", "", None))
    outcome = call(channel, rows([[0]]))
    assert (outcome.code.name, outcome.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")
    old.die()
    assert held.outcome().reason == "WORKER_LOST"
    assert gateway.expect(DeploymentDrained).deployment == first


def test_a_worker_for_a_drained_deployment_is_turned_away(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A restart that crosses an unload is no error: its link is closed, the gateway lives on."""
    first = gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.publish("m")
    assert gateway.expect(DeploymentDrained).deployment == first
    late = LinkWorker()
    gateway.control.send(AddInstance(first, 99, "cpu"), [late.gateway_end.fileno()])
    late.gateway_end.close()
    late._thread.join(10)
    assert not late._thread.is_alive()
    gateway.settle()
    assert not gateway._early
    assert call(channel, b"", "ServerLive").code is grpc.StatusCode.OK


def test_no_request_is_lost_while_deployments_change(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Callers without a pause through ten swaps: every answer is right, old or new."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    done = threading.Event()
    wrong: list[Outcome] = []
    answered = [0, 0]

    def calls(which: int) -> None:
        while not done.is_set():
            outcome = call(channel, rows([[3] * (which + 1)] * 3))
            if outcome.code is not grpc.StatusCode.OK or values_of(outcome)[0][0] not in (3, -3):
                wrong.append(outcome)
            answered[which] += 1

    callers = [threading.Thread(target=calls, args=(which,)) for which in range(2)]
    for each in callers:
        each.start()
    drained = []
    for n in range(10):
        gateway.deploy(
            "m", ROWS, [LinkWorker(negated if n % 2 else lambda i, _: [x for x in i if x])]
        )
        drained.append(gateway.expect(DeploymentDrained).deployment)
        before = list(answered)
        while not wrong and any(a < b + 3 for a, b in zip(answered, before, strict=True)):
            done.wait(0.001)
    done.set()
    for each in callers:
        each.join()
    assert not wrong
    assert len(set(drained)) == 10
