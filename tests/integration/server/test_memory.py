"""What a real server says of the memory that its models take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, TypeVar

import grpc
import pytest

from inferd.protos import oip_pb2 as oip
from inferd.server.supervisor.resources.nvml import Nvml, NvmlUnavailable
from support.calls import call
from support.http import ask
from support.repository import write_code
from support.server import Server

Usage = TypeVar("Usage")

LEAST = 50_000_000
"""A process with torch takes more than that many bytes by itself."""

ECHO = """
class Echo(Model):
    def predict(self, x):
        return x
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model with two workers."""
    folder = tmp_path_factory.mktemp("memory")
    write_code(folder / "models" / "echo", ECHO, 'devices = ["cpu", "cpu"]\n')
    with Server(folder, [folder / "models"], "--trust", "echo") as server:
        yield server


def first_known(usage: Callable[[], Sequence[Usage]]) -> Sequence[Usage]:
    """What is told once anything is: on a machine that is very busy a reading may come too late."""
    return next(found for found in (usage() for _ in range(20)) if found)


def over_grpc(server: Server) -> Sequence[oip.MemoryUsage]:
    """What statistics say of the model's memory."""
    payload = oip.ModelStatisticsRequest(name="echo").SerializeToString()
    with grpc.insecure_channel(server.address) as channel:
        outcome = call(channel, payload, "ModelStatistics")
    assert outcome.code is grpc.StatusCode.OK, outcome
    (found,) = oip.ModelStatisticsResponse.FromString(outcome.payload).model_stats
    return found.memory_usage


def over_http(server: Server) -> Sequence[dict[str, Any]]:
    """The same in JSON."""
    (found,) = ask(server.http, "/v2/models/echo/stats").document["model_stats"]
    usage: Sequence[dict[str, Any]] = found["memory_usage"]
    return usage


def test_statistics_name_the_memory_of_a_model(server: Server) -> None:
    """On the host, all of its workers together: no page twice that they share."""
    workers = server.workers()
    assert len(workers) == 2
    told: list[tuple[int, int]] = []
    end = monotonic() + 20
    # Their share changes as other programs with torch come and go, and is read every 5 s at most.
    while not told or told[-1][0] != pytest.approx(told[-1][1], rel=0.2):
        assert monotonic() < end, told
        (usage,) = first_known(lambda: over_grpc(server))
        assert (usage.type, usage.id) == ("CPU", 0)
        assert 2 * LEAST < usage.byte_size < sum(each.memory_info().rss for each in workers)
        told.append((usage.byte_size, sum(each.memory_full_info().pss for each in workers)))


def test_rest_says_the_same(server: Server) -> None:
    """Under the protocol's own names, as numbers."""
    (usage,) = first_known(lambda: over_http(server))
    assert set(usage) == {"type", "id", "byte_size"}
    assert (usage["type"], usage["id"]) == ("CPU", 0)
    assert usage["byte_size"] > 2 * LEAST


def test_the_log_says_once_that_gpus_are_not_watched(server: Server) -> None:
    """Only where there is no NVML; where there is, nothing of the kind."""
    lines = server.log.read_text().count("GPUs are not watched")
    assert lines == (0 if _has_nvml() else 1)


def _has_nvml() -> bool:
    try:
        Nvml().close()
    except NvmlUnavailable:
        return False
    return True
