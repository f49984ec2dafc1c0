"""The request that is sent: from given values, or made up from what the model says it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferd.bench.plan import PlanError
from inferd.client import Model
from inferd.client.codec.infer import Options, infer
from inferd.client.inputs import name_values, random_values, read_values
from inferd.client.metadata import ModelMetadata
from inferd.protos import oip_pb2 as oip
from inferd.wire.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Payload:
    """A serialised ModelInferRequest; `rows` are in it."""

    request: bytes
    rows: int
    inputs: tuple[str, ...]
    """Name, datatype and shape of each input, for people."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: `texts` as `inferd predict --input` takes them, or random values."""

    texts: tuple[str, ...] = ()
    rows: int | None = None
    shapes: tuple[str, ...] = ()
    seed: int = 0


def payload_of(model: Model, wanted: Wanted) -> Payload:
    """The request for `model`, whose metadata this fetches.

    Raises `PlanError` or `UsageError` for what cannot be understood, `InvalidInput` for values that
    the model does not take, other `InferenceError`s where the server does not tell about it.
    """
    shapes = parse_shapes(wanted.shapes)
    if wanted.rows is not None and wanted.rows < 1:
        raise PlanError(f"--rows {wanted.rows}: expected 1 row or more")
    if wanted.texts and (shapes or wanted.rows is not None):
        raise PlanError("--input was given; --rows and --shape are for random values only")
    given = read_values(wanted.texts)
    metadata = model.metadata()
    if wanted.texts:
        values = name_values(given, metadata.name, metadata.signature)
    else:
        values = _random(metadata, wanted, shapes)
    return _payload(metadata, model.version, values)


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by input from texts such as `tokens=1,128`; raises `PlanError`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        try:
            shape = tuple(int(each) for each in sizes.split(","))
        except ValueError:
            shape = (-1,)
        if not name or min(shape) < 0:
            raise PlanError(f"--shape {text}: expected NAME=SIZE,SIZE such as tokens=1,128")
        shapes[name] = shape
    return shapes


def _random(
    metadata: ModelMetadata, wanted: Wanted, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, object]:
    signature = metadata.signature
    known = [spec.name for spec in signature.inputs]
    if unknown := [name for name in shapes if name not in known]:
        raise PlanError(
            f"--shape {unknown[0]}: model '{metadata.name}' has no such input; it takes "
            f"{', '.join(known) or 'none'}"
        )
    if wanted.rows is not None and wanted.rows > 1 and not _rows_free(signature):
        raise PlanError(f"--rows {wanted.rows}: model '{metadata.name}' does not batch")
    rows = 1 if wanted.rows is None else wanted.rows
    full = {spec.name: _shape(spec, rows) for spec in signature.inputs if not spec.optional}
    return random_values(signature, rows, seed=wanted.seed, shapes={**full, **shapes})


def _rows_free(signature: Signature) -> bool:
    """Whether every input has a free first dimension: the rows, even if no configuration says so."""
    return all(spec.dims is None or spec.shape[:1] == (-1,) for spec in signature.inputs)


def _shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    """The smallest shape that fits, with so many rows where the first dimension is free."""
    if spec.dims is None:
        return (rows, 1)
    sizes = [1 if size < 0 else size for size in spec.shape]
    if sizes and spec.shape[0] < 0:
        sizes[0] = rows
    return tuple(sizes)


def _payload(metadata: ModelMetadata, version: str, values: Mapping[str, object]) -> Payload:
    call = infer(metadata, version, (), values, Options())
    request = oip.ModelInferRequest.FromString(call.request)
    shapes = [tuple(tensor.shape) for tensor in request.inputs]
    first = {shape[0] for shape in shapes if shape}
    counted = _rows_free(metadata.signature) and len(first) == 1
    return Payload(
        request=call.request,
        rows=first.pop() if counted else 1,
        inputs=tuple(
            f"{tensor.name} {tensor.datatype} {list(tensor.shape)}" for tensor in request.inputs
        ),
    )
