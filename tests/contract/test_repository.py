"""The repository's index, and loading and unloading, which the supervisor performs."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from inferd.core.link.messages import CommandAnswer, Fault, RepositoryCommand, VersionState
from inferd.protos import oip_pb2 as oip
from support.calls import ROWS, begin, call
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def index(channel: grpc.Channel, *, ready: bool = False) -> list[tuple[str, str, str, str]]:
    """Name, version, state and reason of everything listed."""
    payload = oip.RepositoryIndexRequest(ready=ready).SerializeToString()
    answer = oip.RepositoryIndexResponse.FromString(
        call(channel, payload, "RepositoryIndex").payload
    )
    return [(each.name, each.version, each.state, each.reason) for each in answer.models]


def load(model: str) -> bytes:
    """A request to load this model."""
    return oip.RepositoryModelLoadRequest(model_name=model).SerializeToString()


def unload(model: str) -> bytes:
    """A request to unload it."""
    return oip.RepositoryModelUnloadRequest(model_name=model).SerializeToString()


def test_the_index_lists_every_state(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """As published, with reasons; only what would be executed counts as ready."""
    number = gateway.deploy("m", ROWS, [LinkWorker()], publish=False)
    gateway.publish(
        "m",
        VersionState(1, "READY", "", number),
        VersionState(2, "UNAVAILABLE", "no model.pt2", None),
        VersionState(3, "LOADING", "", None),
    )
    gateway.publish("a", VersionState(0, "UNAVAILABLE", "the folder has no version", None))
    gateway.deploy("restarting", ROWS, [])
    assert index(channel) == [
        ("a", "", "UNAVAILABLE", "the folder has no version"),
        ("m", "1", "READY", ""),
        ("m", "2", "UNAVAILABLE", "no model.pt2"),
        ("m", "3", "LOADING", ""),
        ("restarting", "1", "READY", ""),
    ]
    assert index(channel, ready=True) == [("m", "1", "READY", "")]
    gateway.publish("m")
    assert [name for name, *_ in index(channel)] == ["a", "restarting"]


@pytest.mark.parametrize(
    ("verb", "method", "payload"),
    [("load", "RepositoryModelLoad", load), ("unload", "RepositoryModelUnload", unload)],
)
def test_commands_are_answered_when_the_supervisor_has_done_them(
    gateway: GatewayUnderTest,
    channel: grpc.Channel,
    verb: str,
    method: str,
    payload: Callable[[str], bytes],
) -> None:
    """Two at a time get their own outcomes, in whatever order these come."""
    first = begin(channel, payload("one"), method)
    asked = gateway.expect(RepositoryCommand)
    second = begin(channel, payload("two"), method)
    also = gateway.expect(RepositoryCommand)
    assert [(each.verb, each.model) for each in (asked, also)] == [(verb, "one"), (verb, "two")]
    assert not first.future.done()
    gateway.control.send(CommandAnswer(also.command, Fault("LOAD_FAILED", "it is broken")))
    gateway.control.send(CommandAnswer(also.command, None))  # a second answer is ignored
    outcome = second.outcome()
    assert (outcome.code.name, outcome.reason) == ("INVALID_ARGUMENT", "LOAD_FAILED")
    assert outcome.message == "it is broken"
    gateway.control.send(CommandAnswer(asked.command, None))
    assert first.outcome().code is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("MODEL_NOT_FOUND", "NOT_FOUND"),
        ("UNAVAILABLE", "UNAVAILABLE"),
        ("INTERNAL", "INTERNAL"),
        ("NEVER_HEARD_OF", "INVALID_ARGUMENT"),
    ],
)
def test_faults_keep_their_kind(
    gateway: GatewayUnderTest, channel: grpc.Channel, reason: str, code: str
) -> None:
    """The supervisor's reason decides the code; an unknown one is a failed load."""
    begun = begin(channel, load("m"), "RepositoryModelLoad")
    asked = gateway.expect(RepositoryCommand)
    gateway.control.send(CommandAnswer(asked.command, Fault(reason, "why", 2.0)))
    outcome = begun.outcome()
    assert (outcome.code.name, outcome.message, outcome.retry_after) == (code, "why", 2.0)


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\0b", "m" * 100_000])
def test_names_that_no_model_has_never_reach_the_supervisor(
    gateway: GatewayUnderTest, channel: grpc.Channel, method: str, name: str
) -> None:
    """They are refused before anyone could make a path of them (M24)."""
    payload = load(name) if method == "RepositoryModelLoad" else unload(name)
    outcome = call(channel, payload, method)
    assert (outcome.code.name, outcome.field) == ("INVALID_ARGUMENT", "model_name")
    gateway.settle()
    assert not gateway._early


def test_what_clients_may_not_decide_is_refused(channel: grpc.Channel) -> None:
    """Files and settings in a request, and repositories by name."""
    message = oip.RepositoryModelLoadRequest(model_name="m")
    message.parameters["config"].string_param = "{}"
    outcome = call(channel, message.SerializeToString(), "RepositoryModelLoad")
    assert outcome.code is grpc.StatusCode.UNIMPLEMENTED
    other = oip.RepositoryIndexRequest(repository_name="other").SerializeToString()
    assert call(channel, other, "RepositoryIndex").code is grpc.StatusCode.INVALID_ARGUMENT


def test_control_switched_off_is_forbidden(
    start: Callable[..., tuple[GatewayUnderTest, grpc.Channel]],
) -> None:
    """Loading and unloading are; the index is not."""
    _, channel = start(repository_control=False)
    for method, payload in (
        ("RepositoryModelLoad", load("m")),
        ("RepositoryModelUnload", unload("m")),
    ):
        outcome = call(channel, payload, method)
        assert (outcome.code.name, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN")
    assert index(channel) == []
