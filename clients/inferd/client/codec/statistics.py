"""A server's statistics, in seconds."""

from __future__ import annotations

from inferd.client.metadata import BatchStatistics, Duration, ModelStatistics
from inferd.protos import oip_pb2 as oip


def read_statistics(message: oip.ModelStatisticsResponse) -> tuple[ModelStatistics, ...]:
    """One entry per model version, in the server's order."""
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
