"""The asyncio client: the same surface and the same answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch

from inferd.client import (
    AsyncClient,
    AsyncModel,
    Client,
    ClientClosed,
    DeadlineExceeded,
    InvalidInput,
    Model,
    ModelNotFound,
    ServerUnavailable,
    WorkerLost,
    connect,
    connect_async,
)
from inferd.wire import errors
from support.oip_server import OipServer


@pytest.fixture
async def aclient(server: OipServer) -> AsyncIterator[AsyncClient]:
    """An asyncio client of `server`."""
    async with connect_async(server.address, timeout=10) as connected:
        yield connected


@pytest.mark.parametrize(
    ("one", "other"), [(Client, AsyncClient), (Model, AsyncModel)], ids=["client", "model"]
)
def test_both_clients_have_the_same_surface(one: type, other: type) -> None:
    """Every public method exists on both sides with the same parameters."""

    def surface(kind: type) -> dict[str, list[tuple[str, object, object]]]:
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
            for name, f in inspect.getmembers(kind, inspect.isfunction)
            if name == "__call__" or not name.startswith("_")
        }

    assert surface(one) == surface(other)
    assert inspect.signature(connect).parameters == inspect.signature(connect_async).parameters


async def test_models_are_called_with_await(aclient: AsyncClient, server: OipServer) -> None:
    """What comes in goes out: numpy or torch; by position, name or mapping."""
    array = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(await aclient.model("identity-fp32")(array), array)
    assert torch.equal(await aclient.model("echo")(torch.ones(1, 2)), torch.ones(1, 2))
    prediction = await aclient.model("pair").infer(
        {"left": [[1.0, 2, 3]]}, right=[[4]], outputs=["second"], request_id="r"
    )
    assert (prediction.value.tolist(), prediction.id) == ([[4]], "r")


async def test_requests_are_those_of_the_synchronous_client(
    aclient: AsyncClient, client: Client, server: OipServer
) -> None:
    """The same call makes the same bytes."""
    await aclient.model("pair")([[1.0, 2, 3]], [[4]], parameters={"k": 1})
    await asyncio.to_thread(lambda: client.model("pair")([[1.0, 2, 3]], [[4]], parameters={"k": 1}))
    assert server.requests[0] == server.requests[1]


async def test_tasks_share_one_fetch_of_the_signature(
    aclient: AsyncClient, server: OipServer
) -> None:
    """Tasks that use a model at once fetch its signature once."""
    answers = await asyncio.gather(
        *(aclient.model("echo")(np.full((1, 1), row)) for row in range(20))
    )
    assert [int(answer[0, 0]) for answer in answers] == list(range(20))
    assert server.calls["ModelMetadata"] == 1


async def test_the_server_describes_itself(aclient: AsyncClient, server: OipServer) -> None:
    """Readiness, metadata, index, statistics, load and unload."""
    assert await aclient.server_live()
    assert await aclient.server_ready()
    assert (await aclient.metadata()).name == "oip-server"
    assert [each.name for each in await aclient.models(ready=True)] == ["echo"]
    assert (await aclient.statistics())[0].inference_count == 6
    (statistics,) = await aclient.model("echo").statistics()
    assert (statistics.name, len(statistics.memory), len(statistics.responses)) == ("echo", 2, 11)
    assert await aclient.model("echo").ready()
    await aclient.load("echo")
    await aclient.unload("echo")
    server.signatures["plain"] = server.signatures["pair"]
    assert (await aclient.model("plain").refresh()).signature.max_batch_size == 8


async def test_a_server_without_model_config_is_served_as_well(
    aclient: AsyncClient, server: OipServer
) -> None:
    """ModelConfig is an extension: a model counts as one that does not batch."""
    server.without.add("ModelConfig")
    assert (await aclient.model("pair").metadata()).signature.max_batch_size == 0


async def test_errors_are_those_of_the_synchronous_client(
    aclient: AsyncClient, server: OipServer
) -> None:
    """Local checks, server's errors and retries work as in the synchronous client."""
    with pytest.raises(InvalidInput, match="add a batch dimension"):
        await aclient.model("identity-fp32")([1.0, 2.0])
    with pytest.raises(ModelNotFound, match="nobody"):
        await aclient.model("nobody")([1.0])
    server.faults.extend([errors.WorkerLost("gone", retry_after=0.01)] * 5)
    with pytest.raises(WorkerLost) as caught:
        await aclient.model("echo")([1.0])
    assert server.calls["ModelInfer"] == 3
    assert caught.value.reason == "WORKER_LOST"


async def test_a_call_ends_at_its_timeout(aclient: AsyncClient, server: OipServer) -> None:
    """The timeout is a gRPC deadline here as well."""
    await aclient.model("echo").metadata()
    with server.holding(), pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
        await aclient.model("echo")([1.0], timeout=0.2)


async def test_a_cancelled_task_is_cancelled(aclient: AsyncClient, server: OipServer) -> None:
    """Cancelling a task is not turned into an error of the SDK."""
    model = aclient.model("echo")
    await model.metadata()
    with server.holding():
        task = asyncio.ensure_future(model([1.0]))
        assert await asyncio.to_thread(server.held.acquire, timeout=5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_ends_calls_in_flight(server: OipServer) -> None:
    """A call that waits when the client is closed ends with ClientClosed, as do later ones."""
    client = connect_async(server.address)
    await client.model("echo").metadata()
    with server.holding():
        task = asyncio.ensure_future(client.model("echo")([1.0]))
        assert await asyncio.to_thread(server.held.acquire, timeout=5)
        await client.close()
        with pytest.raises(ClientClosed):
            await task
    with pytest.raises(ClientClosed):
        await client.server_live()


async def test_nobody_at_the_address_is_server_unavailable() -> None:
    """An address without a server is an error that names it."""
    with OipServer() as gone:
        address = gone.address
    async with connect_async(address, retries=False) as client:
        with pytest.raises(ServerUnavailable, match=f"no answer from {address}"):
            await client.server_live()


def test_without_a_loop_there_is_no_async_client() -> None:
    """Outside a coroutine the mistake shows at once."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        connect_async("localhost:8001")
