"""Processes that die: every call ends, models come back, nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import psutil

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.protos.services import INFERENCE_METHODS
from support.calls import call
from support.server import MODELS, Server, memfds, wait_for_end

INFER = INFERENCE_METHODS["ModelInfer"].path
HEALTH = "/grpc.health.v1.Health/Watch"


def request() -> bytes:
    """One row for echo."""
    message = ModelInferRequest(model_name="echo")
    message.inputs.add(name="input", datatype="FP32", shape=[1, 1000])
    message.raw_input_contents.append(np.arange(1000, dtype=np.float32).tobytes())
    return message.SerializeToString()


def method(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """ModelInfer on bytes."""
    return channel.unary_unary(INFER, request_serializer=bytes, response_deserializer=bytes)


def shared_files(pid: int) -> list[str]:
    """What a process has of /dev/shm: in its memory, or open. Other programs use that folder too."""
    process = Path("/proc") / str(pid)
    mapped = [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
    opened = [str(each.readlink()) for each in (process / "fd").iterdir()]
    return [each for each in (*mapped, *opened) if each.startswith("/dev/shm")]


def threads(pid: int) -> int:
    """How many threads a process has, but for those of gRPC's core, which come and go as it likes.

    Those have names of their own.
    """
    names = [(each / "comm").read_text() for each in Path(f"/proc/{pid}/task").iterdir()]
    return names.count(Path(f"/proc/{pid}/comm").read_text())


async def kill_and_wait(channel: grpc.aio.Channel, worker: psutil.Process) -> None:
    """Kill the only worker of echo; back when its health has told that it was gone and is ready.

    A gateway may hear of the death later than others: what it says of health then is still old.
    """
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    watch = channel.unary_stream(
        HEALTH,
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )(HealthCheckRequest(service="model/echo"), timeout=120)
    wanted = [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING] * 2
    async for response in watch:
        if response.status == wanted[0]:
            if len(wanted) == 4:
                worker.send_signal(signal.SIGKILL)
            wanted.pop(0)
        if len(wanted) == 1:
            watch.cancel()
            return
    raise AssertionError("the health of echo is not told any more")


async def call_again_and_again(
    channel: grpc.aio.Channel,
    stop: asyncio.Event,
    answered: asyncio.Event,
    codes: Counter[grpc.StatusCode],
    unhinted: set[str],
) -> None:
    """One caller without retries; every outcome is counted."""
    infer = method(channel)
    payload = request()
    while not stop.is_set():
        try:
            await infer(payload, timeout=20)
            codes[grpc.StatusCode.OK] += 1
            answered.set()
        except grpc.aio.AioRpcError as error:
            codes[error.code()] += 1
            trailers = cast("Iterable[tuple[str, str]]", error.trailing_metadata())
            unhinted.update({"grpc-retry-pushback-ms"} - {key for key, _ in trailers})
            await asyncio.sleep(0)


async def test_a_killed_worker_costs_its_calls_and_nothing_else(tmp_path: Path) -> None:
    """Under 50 callers, SIGKILL of the only worker: each call is answered or UNAVAILABLE.

    The model is ready again by itself, and the gateway holds no more memory or descriptors than
    before.
    """
    with Server(tmp_path, [MODELS / "echo"], "--trust", "echo") as server:
        options = [("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(server.address, options=options) as channel:
            await method(channel)(request())
            gateway = server.gateway()
            before = (memfds(gateway.pid), gateway.num_fds(), threads(gateway.pid))
            tree_before = sorted(each.name() for each in server.tree())
            codes: Counter[grpc.StatusCode] = Counter()
            unhinted: set[str] = set()
            answered = asyncio.Event()
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as callers:
                for _ in range(50):
                    callers.create_task(
                        call_again_and_again(channel, stop, answered, codes, unhinted)
                    )
                for _ in range(2):
                    answered.clear()
                    await answered.wait()
                    (worker,) = server.workers()
                    await kill_and_wait(channel, worker)
                await method(channel)(request())
                stop.set()
            assert not unhinted, "an error said nothing of when to try again"
            assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
            assert codes[grpc.StatusCode.UNAVAILABLE] > 0
            after = (memfds(gateway.pid), gateway.num_fds(), threads(gateway.pid))
            assert after[2] > 1
            assert after[0] == before[0]
            assert abs(after[1] - before[1]) <= 2
            assert after[2] == before[2]
            assert sorted(each.name() for each in server.tree()) == tree_before


async def test_a_killed_gateway_is_replaced_and_models_stay_loaded(tmp_path: Path) -> None:
    """After SIGKILL of the gateway the same address answers, from the same workers."""
    with Server(tmp_path, [MODELS / "echo"], "--trust", "echo", lasting=True) as server:
        workers = [each.pid for each in server.workers()]
        gateway = server.gateway()
        gateway.kill()
        psutil.wait_procs([gateway], timeout=10)
        async with grpc.aio.insecure_channel(server.address) as channel:
            await method(channel)(request(), timeout=120, wait_for_ready=True)
        assert [each.pid for each in server.workers()] == workers


def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    """After SIGKILL of the supervisor every process is gone within two seconds."""
    with Server(tmp_path, [MODELS / "echo"], "--trust", "echo") as server:
        tree = server.tree()
        assert len(tree) == 3
        server.kill_supervisor()
        server.process.wait(10)
        assert wait_for_end(tree[1:], 2.0) == []
        host, _, port = server.address.rpartition(":")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((host, int(port)))


def test_a_stopped_server_leaves_nothing(tmp_path: Path) -> None:
    """After Ctrl-C no process and no ready file is left, and nothing was ever in /dev/shm."""
    with Server(tmp_path, [MODELS / "echo"], "--trust", "echo") as server:
        with grpc.insecure_channel(server.address) as channel:
            assert call(channel, request()).code is grpc.StatusCode.OK
        tree = server.tree()
        assert {each.pid: shared_files(each.pid) for each in tree} == {
            each.pid: [] for each in tree
        }
    assert wait_for_end(tree, 0.0) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["server.log"]
