"""ModelStatistics counts exactly, and has counted every answer that was given."""

from __future__ import annotations

import grpc

from inferd.core.link.messages import ParameterValue
from inferd.protos import oip_pb2 as oip
from inferd.server.gateway.scheduling.waiting.unanswered import UNANSWERED
from support.calls import ROWS, begin, call, request, rows
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker, RawTensor


def statistics(
    channel: grpc.Channel, name: str = "m", version: str = ""
) -> list[oip.ModelStatistics]:
    """The counts of the models asked for."""
    payload = oip.ModelStatisticsRequest(name=name, version=version).SerializeToString()
    outcome = call(channel, payload, "ModelStatistics")
    assert outcome.code is grpc.StatusCode.OK, outcome
    return list(oip.ModelStatisticsResponse.FromString(outcome.payload).model_stats)


def counts(stats: oip.ModelStatistics) -> dict[str, tuple[int, ...]]:
    """Counts and the times that the test's worker makes up: 1, 2 and 3 µs per execution."""
    of = stats.inference_stats
    return {
        "inferences, executions": (stats.inference_count, stats.execution_count),
        "success, fail, queue": (of.success.count, of.fail.count, of.queue.count),
        "input": (of.compute_input.count, of.compute_input.ns),
        "infer": (of.compute_infer.count, of.compute_infer.ns),
        "output": (of.compute_output.count, of.compute_output.ns),
    }


def fails_on_ones(
    inputs: list[RawTensor | None], parameters: dict[str, ParameterValue] | None
) -> list[RawTensor]:
    """Gives back its rows, but not those of a single one."""
    (x,) = inputs
    assert x is not None
    if x.shape[1] == 1:
        raise ValueError("one is not enough")
    return [x]


def test_a_known_mix_is_counted_exactly(gateway: GatewayUnderTest, channel: grpc.Channel) -> None:
    """Successes, failures of every kind, a split request and cancelled ones."""
    worker = LinkWorker(fails_on_ones)
    gateway.deploy("m", ROWS, [worker])
    assert counts(statistics(channel)[0])["inferences, executions"] == (0, 0)

    for _ in range(3):
        assert call(channel, rows([[1, 2]])).code is grpc.StatusCode.OK  # 3 x 1 row
    assert call(channel, rows([[1, 2]] * 10)).code is grpc.StatusCode.OK  # 4 + 4 + 2 rows
    assert call(channel, rows([[1]])).code is grpc.StatusCode.INTERNAL  # the model's error
    assert call(channel, rows([1, 2])).code is grpc.StatusCode.INVALID_ARGUMENT
    assert call(channel, b"\xff").code is grpc.StatusCode.INVALID_ARGUMENT  # nobody's
    assert call(channel, rows([[1]], model="n")).code is grpc.StatusCode.NOT_FOUND  # nobody's
    expired = request("m", ("x", "FP32", (1, 2)), raw=[bytes(8)])
    # Callers are asked after once they have waited for some milliseconds: this one waits longer.
    expired.parameters["timeout"].int64_param = int(3e6 * UNANSWERED)

    while worker.arrived.acquire(blocking=False):
        pass
    worker.go.clear()
    held = begin(channel, rows([[5, 5]]))
    assert worker.arrived.acquire(timeout=10)
    gone = begin(channel, rows([[6, 6]]))
    assert call(channel, expired.SerializeToString()).code is grpc.StatusCode.DEADLINE_EXCEEDED
    gone.cancel()
    held.cancel()  # while it is executed: its execution counts, its success does not
    call(channel, b"", "ServerLive")
    worker.go.set()
    assert call(channel, rows([[7, 7]])).code is grpc.StatusCode.OK

    (stats,) = statistics(channel)
    assert counts(stats) == {
        "inferences, executions": (3 + 10 + 1 + 1, 3 + 3 + 1 + 1),
        "success, fail, queue": (5, 3, 5),
        "input": (5, (3 + 3 + 1) * 1_000),
        "infer": (5, (3 + 3 + 1) * 2_000),
        "output": (5, (3 + 3 + 1) * 3_000),
    }
    batches = {each.batch_size: each.compute_infer.count for each in stats.batch_stats}
    assert batches == {1: 5, 2: 1, 4: 2}
    assert stats.inference_stats.success.ns >= stats.inference_stats.queue.ns
    assert stats.last_inference > 1_700_000_000_000


def test_a_deadline_that_passes_is_a_failure_and_a_caller_that_leaves_is_none(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Whoever tells first that the call is over: slowness must not pass for callers' whims."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    held = begin(channel, rows([[1, 1]]))
    assert worker.arrived.acquire(timeout=10)
    waited = 20 * UNANSWERED
    late = [begin(channel, rows([[n, n]]), timeout=waited) for n in range(8)]
    assert {each.outcome().code for each in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    left = [begin(channel, rows([[n, n]])) for n in range(4)]
    call(channel, b"", "ServerLive")
    for each in left:
        each.cancel()
    call(channel, b"", "ServerLive")
    worker.go.set()
    held.outcome()
    (stats,) = statistics(channel)
    assert counts(stats)["success, fail, queue"] == (1, 8, 1)


def test_requests_of_one_batch_bear_its_whole_time(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Three requests in one execution: one execution, three times its duration, as in Triton."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    begun = [begin(channel, rows([[0]]))]
    assert worker.arrived.acquire(timeout=10)
    for _ in range(3):
        begun.append(begin(channel, rows([[0]])))
        call(channel, b"", "ServerLive")
    worker.go.set()
    assert {each.outcome().code for each in begun} == {grpc.StatusCode.OK}
    found = counts(statistics(channel)[0])
    assert found["inferences, executions"] == (4, 2)
    assert found["infer"] == (4, 4 * 2_000)


def test_a_request_that_joins_the_rest_of_a_split_one_waits_its_own_time(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Queue times are never negative, whoever arrived when."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker])
    worker.go.clear()
    split = begin(channel, rows([[0]] * 5))
    assert worker.arrived.acquire(timeout=10)
    for _ in range(3):
        call(channel, b"", "ServerLive")
    joins = begin(channel, rows([[0]]))
    call(channel, b"", "ServerLive")
    worker.go.set()
    assert (split.outcome().code.name, joins.outcome().code.name) == ("OK", "OK")
    assert worker.batches == [4, 2]
    (stats,) = statistics(channel)
    assert stats.inference_stats.queue.count == 2


def test_counts_are_there_as_soon_as_the_answer_is(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """Whoever asks after an answer finds it counted."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    for n in range(1, 100):
        assert call(channel, rows([[0]] if n % 2 else [0])).code is not grpc.StatusCode.UNKNOWN
        of = statistics(channel)[0].inference_stats
        assert (of.success.count, of.fail.count) == ((n + 1) // 2, n // 2)


def test_counts_outlive_deployments_and_are_listed_by_name_and_version(
    gateway: GatewayUnderTest, channel: grpc.Channel
) -> None:
    """A reload starts no new count; without a name all versions of all models are listed."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    gateway.deploy("other", ROWS, [LinkWorker()])
    assert call(channel, rows([[0]])).code is grpc.StatusCode.OK
    gateway.deploy("m", ROWS, [LinkWorker()])
    assert call(channel, rows([[0]])).code is grpc.StatusCode.OK
    assert statistics(channel)[0].inference_stats.success.count == 2
    assert [(each.name, each.version) for each in statistics(channel, "")] == [
        ("m", "1"),
        ("other", "1"),
    ]
    assert [each.name for each in statistics(channel, "m", "1")] == ["m"]
    payload = oip.ModelStatisticsRequest(version="1").SerializeToString()
    outcome = call(channel, payload, "ModelStatistics")
    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
