"""Failures of the server and the network as callers see them."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from inferd import client as sdk
from inferd.client import (
    Client,
    DeadlineExceeded,
    InferenceError,
    ModelNotFound,
    Overloaded,
    WorkerLost,
    connect,
)
from inferd.client.channel import channel_options
from inferd.client.codec.status import error_of
from inferd.wire import errors
from inferd.wire.errors import error_types
from support.oip_server import OipServer

EXPECTED: dict[type[errors.ServingError], type[InferenceError]] = {
    errors.InvalidRequest: sdk.InvalidInput,
    errors.MethodNotAllowed: sdk.InvalidInput,
    errors.EncodingUnknown: sdk.InvalidInput,
    errors.NotFound: sdk.NotFound,
    errors.PathNotFound: sdk.NotFound,
    errors.ModelNotFound: sdk.ModelNotFound,
    errors.VersionNotFound: sdk.VersionNotFound,
    errors.Exhausted: Overloaded,
    errors.MessageTooLarge: Overloaded,
    errors.QueueFull: Overloaded,
    errors.ArenaFull: Overloaded,
    errors.ModelOutOfMemory: Overloaded,
    errors.Unavailable: sdk.ServerUnavailable,
    errors.ModelNotReady: sdk.ModelNotReady,
    errors.WorkerLost: sdk.WorkerLost,
    errors.Draining: sdk.ServerUnavailable,
    errors.DeadlineExceeded: sdk.DeadlineExceeded,
    errors.Cancelled: sdk.Cancelled,
    errors.Unimplemented: sdk.Unsupported,
    errors.Forbidden: sdk.AccessDenied,
    errors.LoadFailed: sdk.LoadFailed,
    errors.Internal: sdk.ServerFault,
    errors.ModelFailed: sdk.ModelFailed,
    errors.OutputInvalid: sdk.ModelFailed,
    errors.Unexpected: sdk.ServerFault,
    errors.ServingError: sdk.ServerFault,
}


def test_every_error_of_the_server_has_one_of_the_client() -> None:
    """No error type of the server is forgotten in this table."""
    assert set(EXPECTED) == set(error_types().values())


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_errors_keep_cause_reason_and_text(
    server: OipServer, kind: type[errors.ServingError]
) -> None:
    """Each of the server's errors arrives as its twin, with everything the server said."""
    server.faults.append(kind("as it is", metadata={"model": "echo"}))
    with (
        connect(server.address, retries=False) as client,
        pytest.raises(InferenceError) as caught,
    ):
        client.model("echo")([1.0])
    error = caught.value
    assert type(error) is EXPECTED[kind]
    assert (error.message, str(error), error.reason) == ("as it is", "as it is", kind.reason)
    assert error.metadata == {"model": "echo"}
    assert isinstance(error.__cause__, grpc.RpcError)


def test_details_name_the_argument(client: Client, server: OipServer) -> None:
    """A field path in the server's details becomes the name of the caller's argument."""
    server.faults.append(errors.InvalidRequest("bad", reason="ODD", field="inputs[1].shape[0]"))
    with pytest.raises(sdk.InvalidInput) as caught:
        client.model("pair")([[1.0, 2.0, 3.0]], [[1]])
    assert caught.value.argument == "right"
    assert caught.value.field == "inputs[1].shape[0]"
    assert caught.value.reason == "ODD"
    assert caught.value.code == "INVALID_ARGUMENT"


def test_an_unknown_model_is_named(client: Client) -> None:
    """A model that does not exist shows at its first use."""
    with pytest.raises(ModelNotFound, match="'nobody' is not found"):
        client.model("nobody")([1.0])


def test_a_request_that_is_too_large_says_what_to_do() -> None:
    """GRPC refuses it before the server's own words; the client adds them."""

    class Refused:
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self) -> str:
            return "SERVER: Received message larger than max (71303200 vs. 67108864)"

        def trailing_metadata(self) -> None:
            return None

    error = error_of(Refused(), address="a:1", timeout=None)
    assert isinstance(error, Overloaded)
    assert "(71303200 vs. 67108864); send fewer rows" in error.message
    assert "max_message_bytes" in error.message


def test_errors_can_be_pickled() -> None:
    """Errors travel between a caller's processes whole, and keep their builtin bases."""
    error = DeadlineExceeded("late", code="DEADLINE_EXCEEDED", retry_after=0.5)
    copy = pickle.loads(pickle.dumps(error))
    assert issubclass(type(copy), TimeoutError)
    assert (copy.message, copy.code, copy.retry_after) == ("late", "DEADLINE_EXCEEDED", 0.5)


def test_unavailable_is_retried(client: Client, server: OipServer) -> None:
    """Two lost workers in a row are hidden from the caller; the third attempt's answer counts."""
    lost = errors.WorkerLost("gone", retry_after=0.01)
    server.faults.extend([lost, lost])
    assert client.model("echo")([1.0]).tolist() == [1.0]
    assert server.calls["ModelInfer"] == 3


def test_three_attempts_are_the_most(client: Client, server: OipServer) -> None:
    """After three attempts the error is the caller's, with the server's advice."""
    server.faults.extend([errors.WorkerLost("gone", retry_after=0.01)] * 5)
    with pytest.raises(WorkerLost) as caught:
        client.model("echo")([1.0])
    assert server.calls["ModelInfer"] == 3
    assert caught.value.retry_after == pytest.approx(0.01)


def test_large_requests_are_retried_as_well(client: Client, server: OipServer) -> None:
    """The limit that gRPC sets of 256 KB on retried requests is lifted."""
    server.faults.append(errors.WorkerLost("gone", retry_after=0.01))
    assert client.model("echo")([[0.0] * 100_000]).shape == (1, 100_000)
    assert server.calls["ModelInfer"] == 2


@pytest.mark.parametrize(
    "fault", [errors.QueueFull("full"), errors.InvalidRequest("bad"), errors.ModelFailed("boom")]
)
def test_nothing_else_is_retried(
    client: Client, server: OipServer, fault: errors.ServingError
) -> None:
    """Overload above all is not fed with retries."""
    server.faults.append(fault)
    with pytest.raises(InferenceError):
        client.model("echo")([1.0])
    assert server.calls["ModelInfer"] == 1


def test_retries_can_be_turned_off(server: OipServer) -> None:
    """With `retries=False` the first error is the caller's."""
    server.faults.append(errors.WorkerLost("gone", retry_after=0.01))
    with connect(server.address, retries=False) as client, pytest.raises(WorkerLost):
        client.model("echo")([1.0])
    assert server.calls["ModelInfer"] == 1


def test_the_retry_policy_is_the_shipped_one() -> None:
    """Attempts, back-off, codes and throttling are what the documentation promises."""
    import json

    config = json.loads(str(dict(channel_options(retries=True))["grpc.service_config"]))
    assert config == {
        "methodConfig": [
            {
                "name": [{"service": "inference.GRPCInferenceService"}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }


def test_a_call_ends_at_its_timeout(client: Client, server: OipServer) -> None:
    """The call's own timeout goes before the client's, and says where nothing came from."""
    model = client.model("echo")
    model.metadata()
    with server.holding():
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=f"{server.address} within 0.2 s"):
            model([1.0], timeout=0.2)
        assert 0.15 < time.monotonic() - begin < 5


def test_the_clients_timeout_is_the_default(server: OipServer) -> None:
    """Without a timeout of its own a call has the client's."""
    with (
        connect(server.address, timeout=0.2) as client,
        server.holding(),
        pytest.raises(DeadlineExceeded) as caught,
    ):
        client.model("echo")([1.0], timeout=None)
    assert isinstance(caught.value, TimeoutError)


def test_closing_ends_calls_in_flight(server: OipServer) -> None:
    """A call that waits when the client is closed ends with an error of the SDK."""
    client = connect(server.address)
    client.model("echo").metadata()
    with ThreadPoolExecutor(1) as pool, server.holding():
        call = pool.submit(client.model("echo"), [1.0])
        assert server.held.acquire(timeout=5)
        client.close()
        with pytest.raises(sdk.Cancelled):
            call.result(5)


def test_a_restarted_server_is_found_again() -> None:
    """A client outlives its server: calls fail while it is away, then work again."""
    with OipServer() as first:
        client = connect(first.address, retries=False)
        assert client.server_live()
    with pytest.raises(sdk.ServerUnavailable):
        client.server_live()
    with OipServer(port=int(first.address.rpartition(":")[2])):
        deadline = time.monotonic() + 10
        while True:
            try:
                assert client.server_live()
                break
            except sdk.ServerUnavailable:
                assert time.monotonic() < deadline
    client.close()
