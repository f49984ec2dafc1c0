"""Several gateways on one port: each connection finds the same server, whichever one it reaches."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from inferd.protos import oip_pb2 as oip
from support.calls import Begun, begin, call
from support.gate import Gate
from support.repository import write_scale
from support.server import Server, refused

ROW = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways before one worker of `scale`."""
    folder = tmp_path_factory.mktemp("gateways")
    write_scale(folder / "models" / "scale", 1, 1.0)
    with Server(folder, [folder / "models"], "--gateways", "2") as server:
        yield server


@pytest.fixture
def channels(server: Server) -> Iterator[list[grpc.Channel]]:
    """Connections to the first gateway and as many to the second, in turn."""
    with connections(server, *range(2), *range(2), *range(2)) as opened:
        yield opened


@contextmanager
def connections(server: Server, *wanted: int) -> Iterator[list[grpc.Channel]]:
    """A channel of one connection to each gateway wanted, by number.

    Which one a connection reaches is the kernel's choice: those that reach another are closed.
    """
    gateways = server.gateways()
    with ExitStack() as stack:
        opened: list[grpc.Channel] = []
        while len(opened) < len(wanted):
            gateway = gateways[wanted[len(opened)]]
            before = connected(gateway)
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            channel = grpc.insecure_channel(server.address, options)
            grpc.channel_ready_future(channel).result(timeout=20)
            if connected(gateway) > before:
                opened.append(stack.enter_context(channel))
            else:
                channel.close()
        yield opened


def connected(gateway: psutil.Process) -> int:
    """The connections that a gateway has from clients."""
    return sum(
        each.status == psutil.CONN_ESTABLISHED for each in gateway.net_connections(kind="tcp")
    )


def infer(channel: grpc.Channel, model: str = "scale") -> Begun:
    """A call with one row under way."""
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=ROW.shape)
    message.raw_input_contents.append(ROW.tobytes())
    return begin(channel, message.SerializeToString())


def factor(begun: Begun) -> float:
    """What the row was multiplied by."""
    raw = begun.outcome().response.raw_output_contents[0]
    return float((np.frombuffer(raw, np.float32) / ROW[0]).max())


def succeeded(channel: grpc.Channel) -> int:
    """The requests answered so far, as this connection hears it."""
    payload = oip.ModelStatisticsRequest(name="scale").SerializeToString()
    outcome = call(channel, payload, "ModelStatistics")
    assert outcome.code is grpc.StatusCode.OK, outcome
    (found,) = oip.ModelStatisticsResponse.FromString(outcome.payload).model_stats
    assert found.inference_count == found.inference_stats.success.count
    return int(found.inference_count)


def ready(channel: grpc.Channel) -> tuple[bool, bool, bool]:
    """ServerReady, ModelReady and the model's health."""
    server = oip.ServerReadyResponse.FromString(call(channel, b"", "ServerReady").payload)
    asked = oip.ModelReadyRequest(name="scale").SerializeToString()
    model = oip.ModelReadyResponse.FromString(call(channel, asked, "ModelReady").payload)
    check = HealthCheckRequest(service="model/scale").SerializeToString()
    payload = call(channel, check, "/grpc.health.v1.Health/Check").payload
    serving = HealthCheckResponse.FromString(payload).status == HealthCheckResponse.SERVING
    return server.ready, model.ready, serving


def command(channel: grpc.Channel, verb: str) -> None:
    """Load or unload `scale`."""
    kind = getattr(oip, f"RepositoryModel{verb}Request")
    outcome = call(
        channel, kind(model_name="scale").SerializeToString(), f"RepositoryModel{verb}", timeout=120
    )
    assert outcome.code is grpc.StatusCode.OK, outcome


def test_the_terminal_tells_how_many(server: Server) -> None:
    """The operator sees that there are two."""
    where = (
        f"gRPC at {server.address}, HTTP at {server.http}, metrics at http://{server.ops}/metrics"
    )
    assert f"{where}, 2 gateways." in server.terminal
    assert len(server.gateways()) == 2
    assert len(server.workers()) == 1


def test_counts_are_those_of_all(server: Server, channels: list[grpc.Channel]) -> None:
    """Whoever got N answers, over any connections, is told N over any connection."""
    before = succeeded(channels[0])
    for n in range(1, 13):
        assert factor(infer(channels[n % len(channels)])) > 0
        assert succeeded(channels[(n * 5 + 1) % len(channels)]) == before + n
    burst = [infer(channel) for channel in channels for _ in range(10)]
    assert all(factor(each) > 0 for each in burst)
    with ThreadPoolExecutor(len(channels)) as pool:  # all at once: one asks while another is asked
        heard = set(pool.map(succeeded, channels))
    assert heard == {before + 12 + len(burst)}


def test_every_connection_finds_the_same_server(channels: list[grpc.Channel]) -> None:
    """Readiness, health, the index and metadata do not depend on the gateway."""
    assert {ready(channel) for channel in channels} == {(True, True, True)}
    metadata = oip.ModelMetadataRequest(name="scale").SerializeToString()
    for method, payload in (
        ("RepositoryIndex", b""),
        ("ModelMetadata", metadata),
        ("ModelConfig", metadata),
    ):
        assert len({call(channel, payload, method).payload for channel in channels}) == 1


def test_loading_and_unloading_reach_every_connection_before_the_answer(
    server: Server, channels: list[grpc.Channel], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A call made after the answer finds what it says, on any connection."""
    models = Path(server.log).parent / "models" / "scale"
    for version in (2, 3):
        write_scale(models, version, float(version))
        command(channels[version % 2], "Load")
        assert [factor(each) for each in map(infer, channels)] == [version] * len(channels)
    command(channels[1], "Unload")
    codes = {infer(channel).outcome().code for channel in channels}
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert {ready(channel) for channel in channels} == {(True, False, False)}
    assert server.workers() == []
    command(channels[0], "Load")
    assert {ready(channel) for channel in channels} == {(True, True, True)}
    assert len(server.workers()) == 1


def test_a_worker_that_dies_is_replaced_once(server: Server, channels: list[grpc.Channel]) -> None:
    """Both gateways see it end and say so; there is one new one, and both reach it."""
    (worker,) = server.workers()
    worker.kill()
    for channel in channels:
        while infer(channel).outcome().code is not grpc.StatusCode.OK:
            pass
    assert len(server.workers()) == 1
    log = server.log.read_text()
    told = [line for line in log.splitlines() if '"worker lost"' in line]
    assert sum('"gateway-1"' in line for line in told) == 1
    assert sum('"gateway-2"' in line for line in told) == 1
    assert sum('"supervisor"' in line for line in told) == 1


def test_a_port_in_use_is_refused(server: Server, tmp_path: Path) -> None:
    """A second server with gateways of its own would get half of the first one's calls."""
    options = ("--grpc", server.address, "--http", "off", "--ops", "off", "--gateways", "2")
    told = refused(tmp_path, *options)
    assert f"cannot listen on {server.address}: the port is taken" in told
    assert "name another address with --grpc HOST:PORT" in told


class Callers:
    """One caller per channel, each calling again and again; codes by channel."""

    def __init__(self, channels: list[grpc.Channel]) -> None:
        self.codes: list[Counter[grpc.StatusCode]] = [Counter() for _ in channels]
        self.unready: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=each, daemon=True)
            for each in zip(channels, self.codes, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every call end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _call(self, channel: grpc.Channel, codes: Counter[grpc.StatusCode]) -> None:
        while not self._stop.is_set():
            codes[infer(channel).outcome().code] += 1
            asked = oip.ModelReadyRequest(name="scale").SerializeToString()
            for method, payload in (("ServerReady", b""), ("ModelReady", asked)):
                outcome = call(channel, payload, method)
                if outcome.code is grpc.StatusCode.OK and outcome.payload != b"\x08\x01":
                    self.unready.append(method)


def test_a_killed_gateway_costs_its_own_calls_only(tmp_path: Path) -> None:
    """Under load: no other call fails, nobody hears `not ready`, it comes back, counts go on."""
    write_scale(tmp_path / "models" / "scale", 1, 1.0)
    with (
        Server(tmp_path, [tmp_path / "models"], "--gateways", "2") as server,
        connections(server, 0, 1, 0, 1) as channels,
    ):
        (workers, killed) = (server.workers(), server.gateways()[0])
        callers = Callers(channels)
        while min(codes[grpc.StatusCode.OK] for codes in callers.codes) < 5:
            pass
        told = max(succeeded(channels[1]), succeeded(channels[0]))  # the last by who is killed
        killed.kill()
        while len(gateways := server.gateways()) < 2 or killed in gateways:
            assert succeeded(channels[1]) >= told, "counts went back behind what was told"
        with connections(server, 0) as fresh:  # under load still: it is told everything and serves
            assert factor(infer(fresh[0])) == 1.0
            assert ready(fresh[0]) == (True, True, True)
        callers.stop()
        ok, gone = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
        for codes in callers.codes[1::2]:
            assert set(codes) == {ok}, "a call on the other gateway failed"
        for codes in callers.codes[::2]:
            assert set(codes) <= {ok, gone}
        assert callers.unready == []
        assert server.workers() == workers

        before = succeeded(channels[1])
        assert before >= told
        with connections(server, 0, 1) as fresh:
            for n, channel in enumerate(fresh, start=1):
                assert factor(infer(channel)) == 1.0
                assert {succeeded(each) for each in (*fresh, channels[1])} == {before + n}


def test_calls_in_flight_at_every_gateway_are_answered_when_the_server_stops(
    tmp_path: Path,
) -> None:
    """SIGTERM while one gateway's batch computes and another's call waits for the worker."""
    options = ("--trust", "gated", "--gateways", "2")
    with (
        Gate(tmp_path, tmp_path / "models") as gate,
        Server(tmp_path, [tmp_path / "models"], *options) as server,
    ):
        with connections(server, 0, 1) as channels:
            begun = [infer(channel, "gated") for channel in channels]
            for channel in channels:  # what is asked later on a connection is also heard later
                assert call(channel, b"", "ServerReady").code is grpc.StatusCode.OK
            gate.wait()
            server.process.send_signal(signal.SIGTERM)
            gate.let_go(2)
            assert [factor(each) for each in begun] == [1.0, 1.0]
            assert server.process.wait(60) == 0
        server.ended_well = True
