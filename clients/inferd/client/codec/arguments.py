"""A call's arguments matched with a model's inputs, every mistake named before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from inferd.client.codec.values import Value, is_torch, read_value
from inferd.client.errors import InvalidInput, invalid
from inferd.wire.dtypes import DATATYPES
from inferd.wire.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Arguments:
    """The inputs of one request in the signature's order; `as_torch`: one of them was torch's."""

    values: Mapping[str, Value]
    as_torch: bool


def read_arguments(
    model: str, signature: Signature, positional: Sequence[object], named: Mapping[str, object]
) -> Arguments:
    """The arguments as tensors that fit `signature`.

    A single mapping given as the only positional argument holds inputs by name. Raises
    `InvalidInput` for a name, datatype or shape that does not fit.
    """
    given = _by_name(model, signature, positional, named)
    values = {
        spec.name: _read(signature, spec, given[spec.name])
        for spec in signature.inputs
        if spec.name in given
    }
    _check_rows(signature, values)
    return Arguments(values, as_torch=any(is_torch(each) for each in given.values()))


def nearest(name: str, known: Iterable[str], kind: str) -> str:
    """A hint at the end of a message: the name that was probably meant, or all there are."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    listed = ", ".join(f"'{each}'" for each in names)
    return f"its {kind} {'is' if len(names) == 1 else 'are'} {listed or 'none'}"


def _by_name(
    model: str, signature: Signature, positional: Sequence[object], named: Mapping[str, object]
) -> dict[str, object]:
    if len(positional) == 1 and isinstance(positional[0], Mapping):
        named = {**positional[0], **named}
        positional = ()
    names = [spec.name for spec in signature.inputs]
    if len(positional) > len(names):
        raise invalid(
            f"{len(positional)} inputs were given, model '{model}' takes {len(names)}: "
            f"{_listed(signature.inputs)}"
        )
    given: dict[str, object] = dict(zip(names, positional, strict=False))
    for name, value in named.items():
        if name not in names:
            hint = nearest(str(name), names, "inputs" if len(names) > 1 else "input")
            raise invalid(f"model '{model}' has no input '{name}'; {hint}", str(name))
        if name in given:
            raise invalid(f"input '{name}' was given twice: by position and by name", name)
        given[name] = value
    for spec in signature.inputs:
        if spec.name not in given and not spec.optional:
            raise invalid(
                f"input '{spec.name}' is missing; model '{model}' takes "
                f"{_listed(signature.inputs)}",
                spec.name,
            )
    return given


def _read(signature: Signature, spec: TensorSpec, given: object) -> Value:
    value = read_value(spec.name, spec.datatype if spec.datatype in DATATYPES else None, given)
    problem = _shape_problem(signature, spec, value.shape)
    if problem is not None:
        raise problem
    return value


def _shape_problem(
    signature: Signature, spec: TensorSpec, shape: tuple[int, ...]
) -> InvalidInput | None:
    if spec.dims is None or _fits(shape, spec.shape):
        return None
    if signature.max_batch_size > 0 and _fits(shape, spec.shape[1:]):
        return invalid(
            f"input '{spec.name}' has shape {list(shape)}, the model takes batches of shape "
            f"{_shape_text(spec)}: add a batch dimension: array[None]",
            spec.name,
            reason="SHAPE_MISMATCH",
        )
    return invalid(
        f"input '{spec.name}' has shape {list(shape)}, the model takes {_shape_text(spec)}"
        f"{' (-1: any size)' if -1 in spec.shape else ''}",
        spec.name,
        reason="SHAPE_MISMATCH",
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        expected in (-1, size) for size, expected in zip(shape, wanted, strict=True)
    )


def _check_rows(signature: Signature, values: Mapping[str, Value]) -> None:
    """All inputs of a model that batches have equally many rows."""
    if signature.max_batch_size == 0:
        return
    rows = {name: value.shape[0] for name, value in values.items() if value.shape}
    if len(set(rows.values())) > 1:
        counted = ", ".join(f"'{name}' has {count}" for name, count in rows.items())
        raise invalid(
            f"the inputs must have equally many rows (their first dimension): {counted}",
            next(iter(rows)),
            reason="SHAPE_MISMATCH",
        )


def _listed(inputs: Sequence[TensorSpec]) -> str:
    return ", ".join(
        f"'{spec.name}' ({spec.datatype} {_shape_text(spec)}{', optional' * spec.optional})"
        for spec in inputs
    )


def _shape_text(spec: TensorSpec) -> str:
    return "of any shape" if spec.dims is None else str(list(spec.shape))
