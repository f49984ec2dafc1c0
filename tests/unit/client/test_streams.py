"""Models that answer many times, through the synchronous and the asyncio client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from inferd.client import (
    Client,
    ClientClosed,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Unsupported,
    WorkerLost,
    connect_async,
)
from inferd.client.codec import infer
from inferd.wire.errors import WorkerLost as WorkerLostThere
from support.oip_server import OipServer

X = np.ones(1, np.float32)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_answers_come_one_by_one(client: Client, times: int) -> None:
    """As many as the model gives, none too; each like a call's."""
    answers = list(client.model("counts").stream(X, parameters={"times": times}))
    assert [each.tolist() for each in answers] == [[1.0]] * times


def test_what_a_model_is_tells_its_metadata(client: Client) -> None:
    """One that answers many times cannot be called; one that can be called can be streamed, too."""
    assert client.model("counts").metadata().decoupled
    assert not client.model("plain").metadata().decoupled
    with pytest.raises(Unsupported):
        client.model("counts")(X)
    (only,) = client.model("identity-fp32").stream(np.ones((1, 2), np.float32))
    assert only.tolist() == [[1.0, 1.0]]


def test_arguments_are_checked_before_anything_is_sent(client: Client, server: OipServer) -> None:
    """When `stream` is called; the request goes out with the first answer that is asked for."""
    with pytest.raises(InvalidInput):
        client.model("counts").stream(np.ones(2, np.float32))
    with pytest.raises(ModelNotFound):
        client.model("nobody").stream(X)
    answers = client.model("counts").stream(X, parameters={"times": 1})
    assert server.calls["ModelStreamInfer"] == 0
    answers.close()
    assert server.calls["ModelStreamInfer"] == 0


def test_leaving_the_loop_ends_the_request(client: Client, server: OipServer) -> None:
    """The server hears of it; the client goes on."""
    for each in client.model("counts").stream(X, parameters={"times": 10**6}):
        assert each.tolist() == [1.0]
        break
    assert server.left.acquire(timeout=10)
    assert len(list(client.model("counts").stream(X, parameters={"times": 2}))) == 2


def test_an_error_comes_after_the_answers_before_it(client: Client, server: OipServer) -> None:
    """With its cause, reason and advice, as that of a call has."""
    server.faults.append(WorkerLostThere("it died", retry_after=1.0))
    answers = client.model("counts").stream(X, parameters={"times": 3})
    assert next(answers).tolist() == [1.0]
    with pytest.raises(WorkerLost) as lost:
        next(answers)
    assert (lost.value.reason, lost.value.retry_after) == ("WORKER_LOST", 1.0)


def test_an_error_in_band_is_an_error_all_the_same(
    client: Client, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that does not know the other way: its text is all there is."""
    monkeypatch.setattr("inferd.client.client.STREAM_METADATA", ())
    assert infer.STREAM_METADATA
    server.faults.append(WorkerLostThere("it died"))
    with pytest.raises(Exception, match="it died"):
        list(client.model("counts").stream(X, parameters={"times": 3}))


def test_the_timeout_is_for_all_answers(client: Client) -> None:
    """A stream that lasts longer is ended."""
    with pytest.raises(DeadlineExceeded):
        list(client.model("counts").stream(X, parameters={"times": 10**9}, timeout=0.2))


def test_a_closed_client_streams_no_more(client: Client) -> None:
    """As it calls no more."""
    answers = client.model("counts").stream(X, parameters={"times": 1})
    client.close()
    with pytest.raises(ClientClosed):
        next(answers)


async def test_the_asyncio_client_streams_as_well(server: OipServer) -> None:
    """For `async for`; `aclose` ends the request."""
    async with connect_async(server.address, timeout=10) as client:
        model = client.model("counts")
        answers = [each.tolist() async for each in model.stream(X, parameters={"times": 4})]
        assert answers == [[1.0]] * 4
        assert await asyncio.to_thread(server.left.acquire, timeout=10)
        async with aclosing(model.stream(X, parameters={"times": 10**6})) as endless:
            assert (await anext(endless)).tolist() == [1.0]
        assert await asyncio.to_thread(server.left.acquire, timeout=10)
        server.faults.append(WorkerLostThere("it died"))
        with pytest.raises(WorkerLost):
            [each async for each in model.stream(X, parameters={"times": 3})]
        with pytest.raises(DeadlineExceeded):
            [each async for each in model.stream(X, parameters={"times": 10**9}, timeout=0.2)]
    with pytest.raises(ClientClosed):
        [each async for each in model.stream(X, parameters={"times": 1})]
