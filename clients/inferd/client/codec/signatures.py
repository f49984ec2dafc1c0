"""A model's signature, read from its metadata and its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inferd.client.metadata import ModelMetadata
from inferd.protos.model_config_pb2 import ModelConfig, ModelInput, ModelOutput
from inferd.protos.oip_pb2 import ModelMetadataResponse
from inferd.wire.dtypes import ANY, DATATYPES
from inferd.wire.signature import Axis, Signature, TensorSpec

_Tensor = ModelMetadataResponse.TensorMetadata


def model_metadata(message: ModelMetadataResponse, config: ModelConfig | None) -> ModelMetadata:
    """The metadata and signature of one model; `config` None where the server has no ModelConfig.

    Without it the model counts as one that does not batch, and no input as optional.
    """
    max_batch_size = config.max_batch_size if config is not None else 0
    inputs = {each.name: each for each in config.input} if config is not None else {}
    outputs = {each.name: each for each in config.output} if config is not None else {}
    signature = Signature(
        inputs=_specs(message.inputs, inputs, max_batch_size),
        outputs=_specs(message.outputs, outputs, max_batch_size),
        max_batch_size=max_batch_size,
    )
    decoupled = config is not None and config.model_transaction_policy.decoupled
    return ModelMetadata(
        message.name, tuple(message.versions), message.platform, signature, decoupled
    )


def _specs(
    tensors: Iterable[_Tensor],
    config: Mapping[str, ModelInput] | Mapping[str, ModelOutput],
    max_batch_size: int,
) -> tuple[TensorSpec, ...]:
    return tuple(_spec(each, config.get(each.name), max_batch_size) for each in tensors)


def _spec(
    tensor: _Tensor, config: ModelInput | ModelOutput | None, max_batch_size: int
) -> TensorSpec:
    return TensorSpec(
        name=tensor.name,
        datatype=tensor.datatype if tensor.datatype in DATATYPES else ANY,
        dims=_dims(tensor, config, max_batch_size),
        optional=isinstance(config, ModelInput) and config.optional,
    )


def _dims(
    tensor: _Tensor, config: ModelInput | ModelOutput | None, max_batch_size: int
) -> tuple[int | Axis, ...] | None:
    # [-1] is also how a tensor of any rank is described. Where the model batches, its
    # configuration (without the batch) tells one from the other; elsewhere the server has to.
    batch_of_scalars = max_batch_size > 0 and config is not None and not config.dims
    if list(tensor.shape) == [-1] and not batch_of_scalars:
        return None
    dims: list[int | Axis] = []
    for at, size in enumerate(tensor.shape):
        symbol = "batch" if at == 0 and max_batch_size > 0 else f"{tensor.name}.{at}"
        dims.append(size if size >= 0 else Axis(symbol))
    return tuple(dims)
