"""The operations port of a real server: figures that add up over gateways, and across deaths."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import grpc
import pytest

from inferd.protos import oip_pb2 as oip
from inferd.server.supervisor.gateways.doors import COUNTS_BOUND
from support.calls import Begun, begin
from support.gate import Gate
from support.observation import OPENMETRICS, Series, one, parse
from support.repository import write_scale
from support.server import Server, refused

PATIENCE = 120.0
PAUSE = 0.05
SCALE = {"model": "scale", "version": "1"}
GATED = {"model": "gated", "version": "1"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Holds batches of `gated`."""
    folder = tmp_path_factory.mktemp("metrics")
    write_scale(folder / "models" / "scale", 1, 2.0)
    with Gate(folder, folder / "models") as gate:
        yield gate


@pytest.fixture(scope="module")
def server(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways before a worker of `scale` and one of `gated`."""
    models = next(tmp_path_factory.getbasetemp().glob("metrics*")) / "models"
    options = ("--trust", "gated", "--gateways", "2")
    with Server(models.parent, [models], *options, lasting=True) as server:
        yield server


@pytest.fixture
def channels(server: Server) -> Iterator[list[grpc.Channel]]:
    """Connections enough that each gateway has some of them, most likely."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    opened = [grpc.insecure_channel(server.address, options) for _ in range(8)]
    yield opened
    for channel in opened:
        channel.close()


def get(server: Server, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    """Status, content type and body of an answer of the operations port."""
    connection = http.client.HTTPConnection(server.ops, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read().decode()
    finally:
        connection.close()


def scrape(server: Server) -> Series:
    """All series as they are now."""
    return parse(get(server, "/metrics", OPENMETRICS)[2])


def until(server: Server, holds: Callable[[Series], bool]) -> Series:
    """Scrape until this holds."""
    end = time.monotonic() + PATIENCE
    while not holds(found := scrape(server)):
        assert time.monotonic() < end, found
        Event().wait(PAUSE)  # nothing would tell, and who loads a model needs the processor more
    return found


def infer(channel: grpc.Channel, model: str = "scale", *, rows: int = 1, name: str = "x") -> Begun:
    """A call under way."""
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name=name, datatype="FP32", shape=[rows, 4])
    message.raw_input_contents.append(b"\0\0\x80\x3f" * 4 * rows)
    return begin(channel, message.SerializeToString())


def test_every_request_is_counted_once_over_all_gateways(
    server: Server, channels: list[grpc.Channel]
) -> None:
    """Whoever has got the answer finds it counted: outcomes, rows, bytes, stages and calls."""
    before = scrape(server)
    good = [infer(channels[n % 8], rows=1 + n % 3) for n in range(60)]
    bad = [infer(channel, name="z") for channel in channels]
    nowhere = [infer(channel, "absent") for channel in channels]
    assert all(each.outcome().code is grpc.StatusCode.OK for each in good)
    assert all(each.outcome().code is grpc.StatusCode.INVALID_ARGUMENT for each in bad)
    assert all(each.outcome().code is grpc.StatusCode.NOT_FOUND for each in nowhere)
    after = scrape(server)

    def more(name: str, **labels: str) -> float:
        try:
            known = one(before, name, **labels)
        except ValueError:
            known = 0  # nothing of the kind had been counted
        return one(after, name, **labels) - known

    assert more("inferd_requests_total", **SCALE, outcome="ok") == 60
    assert more("inferd_requests_total", **SCALE, outcome="invalid") == 8
    assert more("inferd_requests_total", model="", outcome="invalid") == 8
    assert more("inferd_rows_total", **SCALE) == 120
    assert more("inferd_received_bytes_total", **SCALE) == 120 * 16
    assert more("inferd_sent_bytes_total", **SCALE) == 120 * 16
    assert more("inferd_batch_rows_sum", **SCALE) == 120
    assert more("inferd_request_duration_seconds_count", **SCALE) == 60
    for stage in ("queue", "input", "compute", "output"):
        assert more("inferd_request_stage_seconds_count", **SCALE, stage=stage) == 60
    calls = {"rpc_method": "inference.GRPCInferenceService/ModelInfer"}
    codes = {"OK": 60, "INVALID_ARGUMENT": 8, "NOT_FOUND": 8}
    for code, count in codes.items():
        name = "rpc_server_call_duration_seconds_count"
        assert more(name, **calls, rpc_response_status_code=code) == count


def test_what_waits_and_what_runs_is_shown(
    server: Server, gate: Gate, channels: list[grpc.Channel]
) -> None:
    """While a batch is held: one in flight, others waiting, and for how long; a leaver is counted."""
    channel = channels[0]
    first = infer(channel, "gated")
    gate.wait()
    others = [infer(channel, "gated") for _ in range(3)]
    held = until(server, lambda now: one(now, "inferd_queue_requests", **GATED) == 3)
    assert one(held, "inferd_requests_in_flight", **GATED) == 1
    assert one(held, "inferd_queue_age_seconds", **GATED) > 0
    others.pop().cancel()
    until(server, lambda now: one(now, "inferd_requests_total", **GATED, outcome="cancelled") == 1)
    gate.let_go(3)
    assert all(each.outcome().code is grpc.StatusCode.OK for each in (first, *others))
    idle = scrape(server)
    assert one(idle, "inferd_queue_requests", **GATED) == 0
    assert one(idle, "inferd_requests_in_flight", **GATED) == 0
    assert one(idle, "inferd_queue_age_seconds", **GATED) == 0


def test_promtool_finds_nothing_to_say(server: Server) -> None:
    """Names, types and help are as Prometheus wants them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    _, content_type, text = get(server, "/metrics", "text/plain")
    assert content_type.startswith("text/plain; version=0.0.4")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_probes(server: Server) -> None:
    """It lives, it is ready, and a path that is not there is said to be missing."""
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/readyz")[::2] == (200, '{"status":"ready"}')
    assert "/metrics" in get(server, "/")[2]
    assert get(server, "/nothing")[0] == 404


def test_a_gateway_that_hangs_costs_a_scrape_a_second_and_is_counted(server: Server) -> None:
    """Its last counts stand; the probes do not wait for it."""
    known = one(scrape(server), "inferd_requests_total", **SCALE, outcome="ok")
    hanging = server.gateways()[1]
    hanging.send_signal(signal.SIGSTOP)
    try:
        assert get(server, "/healthz")[0] == 200
        found = scrape(server)
    finally:
        hanging.send_signal(signal.SIGCONT)
    assert one(found, "inferd_requests_total", **SCALE, outcome="ok") == known
    assert COUNTS_BOUND <= one(found, "inferd_scrape_seconds") < COUNTS_BOUND + 1
    assert one(found, "inferd_scrape_unanswered_total", process="gateway-2") == 1


def test_a_killed_worker_is_seen_to_go_and_come_back(server: Server) -> None:
    """Down, restarted by cause, and up again."""
    before = scrape(server)
    assert one(before, "inferd_worker_up", **SCALE, instance="0", device="cpu") == 1
    for worker in server.workers():
        worker.kill()
    restarted = "inferd_worker_restarts_total"
    until(server, lambda now: one(now, restarted, **SCALE, cause="signal") == 1)
    after = until(server, lambda now: one(now, "inferd_worker_up", **SCALE) == 1)
    assert one(after, restarted, **SCALE, cause="signal") == 1
    assert one(after, "inferd_model_state", **SCALE, state="READY") == 1


def test_counts_outlive_the_gateway_that_counted(
    server: Server, channels: list[grpc.Channel]
) -> None:
    """A scrape has seen them: they never go back, or rates would jump."""
    assert all(infer(channel).outcome().code is grpc.StatusCode.OK for channel in channels)
    name = "rpc_server_call_duration_seconds_count"
    calls = {
        "rpc_method": "inference.GRPCInferenceService/ModelInfer",
        "rpc_response_status_code": "OK",
    }
    before = scrape(server)
    for gateway in server.gateways():
        gateway.kill()
    after = until(
        server,
        lambda now: all(
            one(now, "inferd_gateway_restarts_total", gateway=f"gateway-{n}")
            and one(now, "inferd_gateway_up", gateway=f"gateway-{n}")
            for n in (1, 2)
        ),
    )
    for n in (1, 2):
        assert one(after, "inferd_gateway_restarts_total", gateway=f"gateway-{n}") == 1
    assert one(after, name, **calls) == one(before, name, **calls)
    for each in ("inferd_rows_total", "inferd_request_duration_seconds_count"):
        assert one(after, each, **SCALE) == one(before, each, **SCALE)


def test_a_port_in_use_is_refused(server: Server, tmp_path: Path) -> None:
    """A second server says which port and what to do."""
    told = refused(tmp_path, "--grpc", "127.0.0.1:0", "--http", "off", "--ops", server.ops)
    assert f"cannot listen on {server.ops}" in told
    assert "--ops off" in told
