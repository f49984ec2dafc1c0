"""What the protocol says of a model: metadata, configuration, statistics."""

from __future__ import annotations

from collections.abc import Iterable

from inferd.core.link.messages import (
    MemoryUsage,
    Pinning,
    ResponseCounts,
    Spent,
    VersionCounts,
)
from inferd.protos.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup
from inferd.protos.oip_pb2 import (
    InferBatchStatistics,
    InferResponseStatistics,
    ModelMetadataResponse,
    ModelStatistics,
    StatisticDuration,
)
from inferd.server.gateway.scheduling.deployment_info import DeploymentInfo
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import TensorSpec


def metadata_of(info: DeploymentInfo, versions: Iterable[int]) -> ModelMetadataResponse:
    """The model's metadata; free dimensions, the batch among them, are -1."""
    metadata = ModelMetadataResponse(
        name=info.model, versions=[str(each) for each in versions], platform=info.platform
    )
    for specs, listed in (
        (info.signature.inputs, metadata.inputs),
        (info.signature.outputs, metadata.outputs),
    ):
        for spec in specs:
            listed.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return metadata


def config_of(info: DeploymentInfo) -> ModelConfig:
    """The model's configuration in Triton's terms: `dims` without the batch dimension."""
    signature = info.signature
    config = ModelConfig(
        name=info.model,
        platform=info.platform,
        backend="inferd",
        max_batch_size=signature.max_batch_size,
    )
    config.version_policy.specific.versions.append(info.version)
    for spec in signature.inputs:
        config.input.add(
            name=spec.name,
            data_type=_data_type(spec),
            dims=_dims(spec, signature.max_batch_size),
            optional=spec.optional,
        )
    for spec in signature.outputs:
        config.output.add(
            name=spec.name, data_type=_data_type(spec), dims=_dims(spec, signature.max_batch_size)
        )
    if info.sequences is not None:
        sequences = config.sequence_batching
        sequences.max_sequence_idle_microseconds = int(info.sequences.idle_timeout * 1e6)
        sequences.oldest.max_candidate_sequences = info.sequences.max_active
    elif signature.max_batch_size:
        batching = config.dynamic_batching
        if info.preferred_batch_size:
            batching.preferred_batch_size.append(info.preferred_batch_size)
        batching.max_queue_delay_microseconds = int(info.max_queue_delay * 1e6)
        batching.default_queue_policy.max_queue_size = info.max_queue_size
    config.model_transaction_policy.decoupled = info.decoupled
    for device, count in _count_devices(info.instances).items():
        group = config.instance_group.add(name=f"{info.model}_{device}", count=count)
        if device.startswith("cuda:"):
            group.kind = ModelInstanceGroup.KIND_GPU
            group.gpus.append(int(device.partition(":")[2]))
        else:
            group.kind = ModelInstanceGroup.KIND_CPU
    return config


def statistics_of(counts: VersionCounts, memory: Iterable[MemoryUsage] = ()) -> ModelStatistics:
    """The counts of one version, durations in nanoseconds, and the memory that it takes."""
    report = ModelStatistics(
        name=counts.model,
        version=str(counts.version),
        last_inference=counts.last_inference,
        inference_count=counts.inference_count,
        execution_count=counts.execution_count,
    )
    stats = report.inference_stats
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        getattr(stats, name).CopyFrom(_duration(getattr(counts, name)))
    for size, batch in sorted(counts.batches.items()):
        report.batch_stats.append(
            InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
        )
    for usage in memory:
        report.memory_usage.add(type=usage.kind, id=usage.device, byte_size=usage.nbytes)
    for index, response in enumerate(counts.responses):
        report.response_stats[str(index)].CopyFrom(_response(response))
    return report


def _response(counts: ResponseCounts) -> InferResponseStatistics:
    return InferResponseStatistics(
        compute_infer=_duration(counts.compute_infer),
        compute_output=_duration(counts.compute_output),
        success=_duration(counts.success),
        fail=_duration(counts.fail),
        empty_response=_duration(counts.empty_response),
        cancel=_duration(counts.cancel),
    )


def _duration(spent: Spent) -> StatisticDuration:
    return StatisticDuration(count=spent.count, ns=spent.ns)


def _data_type(spec: TensorSpec) -> int:
    datatype = DATATYPES.get(spec.datatype)
    return DataType.Value("TYPE_INVALID" if datatype is None else datatype.config_name)


def _dims(spec: TensorSpec, max_batch_size: int) -> tuple[int, ...]:
    batched = max_batch_size > 0 and spec.dims is not None
    return spec.shape[1:] if batched else spec.shape


def _count_devices(pinnings: Iterable[Pinning]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pinning in pinnings:
        counts[pinning.device] = counts.get(pinning.device, 0) + 1
    return counts
