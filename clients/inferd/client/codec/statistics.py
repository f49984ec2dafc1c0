"""A server's statistics, in seconds."""

from __future__ import annotations

from inferd.client.errors import AnswerInvalid
from inferd.client.metadata import (
    BatchStatistics,
    Duration,
    MemoryUsage,
    ModelStatistics,
    ResponseStatistics,
)
from inferd.protos import oip_pb2 as oip


def read_statistics(message: oip.ModelStatisticsResponse) -> tuple[ModelStatistics, ...]:
    """One entry per model version, in the server's order. Raises `AnswerInvalid`."""
    return tuple(_model(each) for each in message.model_stats)


def _model(message: oip.ModelStatistics) -> ModelStatistics:
    inference = message.inference_stats
    return ModelStatistics(
        name=message.name,
        version=message.version,
        last_inference=message.last_inference / 1000 if message.last_inference else None,
        inference_count=message.inference_count,
        execution_count=message.execution_count,
        success=_duration(inference.success),
        fail=_duration(inference.fail),
        queue=_duration(inference.queue),
        compute_input=_duration(inference.compute_input),
        compute_infer=_duration(inference.compute_infer),
        compute_output=_duration(inference.compute_output),
        batches=tuple(_batch(each) for each in message.batch_stats),
        memory=tuple(
            MemoryUsage(each.type, each.id, each.byte_size) for each in message.memory_usage
        ),
        responses=tuple(
            _response(index, message.response_stats[key])
            for index, key in sorted((_index(key), key) for key in message.response_stats)
        ),
    )


def _index(key: str) -> int:
    if key.isascii() and key.isdigit():
        return int(key)
    raise AnswerInvalid(f"response_stats has the key '{key[:64]}', expected an answer's index")


def _response(index: int, message: oip.InferResponseStatistics) -> ResponseStatistics:
    return ResponseStatistics(
        index=index,
        compute_infer=_duration(message.compute_infer),
        compute_output=_duration(message.compute_output),
        success=_duration(message.success),
        fail=_duration(message.fail),
        empty_response=_duration(message.empty_response),
        cancel=_duration(message.cancel),
    )


def _batch(message: oip.InferBatchStatistics) -> BatchStatistics:
    return BatchStatistics(
        batch_size=message.batch_size,
        compute_input=_duration(message.compute_input),
        compute_infer=_duration(message.compute_infer),
        compute_output=_duration(message.compute_output),
    )


def _duration(message: oip.StatisticDuration) -> Duration:
    return Duration(message.count, message.ns / 1e9)
