"""Checks requests for one deployment against its signature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import prod

from inferd.server.gateway.admission.classification import (
    ClassifyingPlan,
    Labels,
    check_classes,
)
from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.scheduling.lane import Lane, LaneInput
from inferd.wire.dtypes import ANY, DATATYPES
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import InferMessage, InputHead, Parameter
from inferd.wire.signature import Axis, Signature, TensorSpec, byte_size
from inferd.wire.suggestion import did_you_mean

_MAX_PLANS = 1024
"""Forms of request remembered per deployment; callers choose them, so there is a bound."""

_MAX_ID = 128

_MAX_PIECES = 4096
"""Batches that one request may be split into: rows without elements cost no bytes but memory."""


class Admission:
    """Turns requests into plans, in the order: counts, names, datatypes, shapes, outputs.

    So the cost of a bad request is bounded before its contents are touched.
    """

    def __init__(
        self,
        model: str,
        version: int,
        signature: Signature,
        *,
        max_tensor_bytes: int,
        preferred_batch_size: int = 0,
        labels: Labels | None = None,
    ) -> None:
        """`max_tensor_bytes` is the most that a declared shape may amount to.

        Requests are put together up to `preferred_batch_size` rows; 0 stands for the signature's
        largest batch. `labels` name classes, by output.
        """
        self._model = model
        self._version = version
        self._signature = signature
        self._max_tensor_bytes = max_tensor_bytes
        self._joined_rows = preferred_batch_size
        self._labels = labels or {}
        self._inputs = {spec.name: index for index, spec in enumerate(signature.inputs)}
        self._outputs = {spec.name: index for index, spec in enumerate(signature.outputs)}
        self._plans: dict[tuple[tuple[InputHead, ...], tuple[str, ...], tuple[int, ...]], Plan] = {}
        self._lanes: dict[object, Lane] = {}

    def plan(self, message: InferMessage, classes: tuple[int, ...] = (), nbytes: int = 0) -> Plan:
        """The plan for a request of this form, which came in `nbytes`. Raises `InvalidRequest`.

        `classes` has a number for each output it asks for, 0 for one that comes as it is; it is
        empty where all of them do.
        """
        key = (message.inputs, message.outputs, classes)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make_plan(message.inputs, message.outputs, classes, nbytes)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        name = message.id
        if name and (len(name) > _MAX_ID or not (name.isascii() and name.isprintable())):
            raise InvalidRequest(
                f"id has {len(name)} characters; it takes up to {_MAX_ID} printable ASCII ones",
                field="id",
            )
        return plan

    def lane_with(self, lane: Lane, parameters: dict[str, Parameter]) -> Lane:
        """The lane of requests that also share these parameters."""
        # Not by value: 1, 1.0 and True are equal, and so are 0.0 and -0.0.
        key = (lane, tuple([(name, repr(value)) for name, value in parameters.items()]))
        found = self._lanes.get(key)
        if found is None:
            found = lane.with_parameters(parameters)
            self._remember_lane(key, found)
        return found

    def _make_plan(
        self,
        heads: tuple[InputHead, ...],
        outputs: tuple[str, ...],
        classes: tuple[int, ...],
        arrived_bytes: int,
    ) -> Plan:
        # What arrived in parts may be larger than a message.
        most = max(self._max_tensor_bytes, arrived_bytes)
        order = self._match_names(heads)
        sizes: dict[str, int] = {}
        given = [heads[source] for source in order if source is not None]
        for spec, source in zip(self._signature.inputs, order, strict=True):
            if source is not None:
                _, datatype, shape = heads[source]
                self._check_datatype(spec, datatype, source)
                self._check_shape(spec, datatype, shape, source, sizes, most)
        # Inputs of any rank may be scalars, which have no rows; without inputs there are none.
        shapes = [shape for _, _, shape in given]
        batches = self._signature.max_batch_size > 0 and bool(shapes) and all(shapes)
        lane_inputs = tuple(
            [
                None if source is None else _lane_input(heads[source], batches=batches)
                for source in order
            ]
        )
        lane = self._lane(lane_inputs, batches=batches, sizes=sizes)
        rows = self._rows(given) if batches else 1
        selected = self._select(outputs)
        make: Callable[..., Plan] = Plan
        if classes:
            specs = [self._signature.outputs[index] for index in selected or ()]
            check_classes(classes, specs, rows=rows, batches=batches)
            make = partial(ClassifyingPlan, classes=classes, labels=self._labels)
        return make(
            model=self._model,
            version=self._version,
            lane=lane,
            rows=rows,
            order=order,
            names=tuple(spec.name for spec in self._signature.inputs),
            output_names=tuple(spec.name for spec in self._signature.outputs),
            selected=selected,
        )

    def _match_names(self, heads: tuple[InputHead, ...]) -> tuple[int | None, ...]:
        given: dict[str, int] = {}
        for position, (name, _, _) in enumerate(heads):
            if name in given:
                raise InvalidRequest(
                    f"input '{name[:64]}' already exists in request", field=f"inputs[{position}]"
                )
            if name not in self._inputs:
                raise InvalidRequest(
                    f"unexpected inference input '{name[:64]}' for model '{self._model}'; "
                    f"it takes {_listed(self._inputs)}{did_you_mean(name, self._inputs)}",
                    field=f"inputs[{position}].name",
                )
            given[name] = position
        missing = [s.name for s in self._signature.inputs if not s.optional and s.name not in given]
        if missing:
            raise InvalidRequest(
                f"expected {len(self._signature.inputs)} inputs but got {len(heads)} inputs for "
                f"model '{self._model}'; missing: {_listed(missing)}",
                field="inputs",
            )
        return tuple(given.get(spec.name) for spec in self._signature.inputs)

    def _check_datatype(self, spec: TensorSpec, datatype: str, position: int) -> None:
        field = f"inputs[{position}].datatype"
        if datatype not in DATATYPES:
            raise InvalidRequest(
                f"input '{spec.name}' has data-type '{datatype[:64]}', which is none of "
                f"{_listed(DATATYPES)}",
                field=field,
            )
        if spec.datatype not in (ANY, datatype):
            raise InvalidRequest(
                f"input '{spec.name}' data-type is '{datatype}', but model '{self._model}' "
                f"expects '{spec.datatype}'",
                field=field,
            )

    def _check_shape(  # noqa: PLR0917  # six things that belong to one tensor
        self,
        spec: TensorSpec,
        datatype: str,
        shape: tuple[int, ...],
        position: int,
        sizes: dict[str, int],
        most: int,
    ) -> None:
        field = f"inputs[{position}].shape"
        if any(dim < 0 for dim in shape):
            raise InvalidRequest(
                f"input '{spec.name}' has shape {_short(shape)}: All input dimensions should be "
                "specified, and none negative",
                field=field,
            )
        nbytes = 4 * prod(shape) if datatype == "BYTES" else byte_size(datatype, shape)
        if nbytes > most:
            raise InvalidRequest(
                f"input '{spec.name}' with shape {_short(shape)} exceeds maximum size: "
                f"{nbytes} bytes of at most {most}",
                reason="TENSOR_TOO_LARGE",
                field=field,
            )
        if spec.dims is None:
            return
        if len(shape) != len(spec.dims):
            raise self._unexpected_shape(spec, shape, field)
        for axis, (dim, size) in enumerate(zip(spec.dims, shape, strict=True)):
            problem = None
            if isinstance(dim, Axis):
                # A request larger than a batch is split, so the batch has no upper bound here.
                is_batch = axis == 0 and self._signature.max_batch_size > 0
                problem = _axis_problem(dim, size, sizes, bounded=not is_batch)
            elif dim != size:
                raise self._unexpected_shape(spec, shape, f"{field}[{axis}]")
            if problem is not None:
                raise InvalidRequest(
                    f"input '{spec.name}' has shape {_short(shape)}: dimension {axis} is {size}, "
                    f"{problem}",
                    field=f"{field}[{axis}]",
                )

    def _unexpected_shape(
        self, spec: TensorSpec, shape: tuple[int, ...], field: str
    ) -> InvalidRequest:
        hint = ""
        if len(shape) + 1 == len(spec.shape) and self._signature.max_batch_size > 0:
            hint = f"; the first dimension is the batch: send {_short((1, *shape))} for one row"
        return InvalidRequest(
            f"unexpected shape for input '{spec.name}' of model '{self._model}': expected "
            f"{_short(spec.shape)}, got {_short(shape)}{hint}",
            field=field,
        )

    def _rows(self, given: list[InputHead]) -> int:
        rows = {name: shape[0] for name, _, shape in given}
        count = next(iter(rows.values()))
        if any(each != count for each in rows.values()):
            raise InvalidRequest(
                f"the inputs have different batch sizes: {rows}; the first dimension of all is "
                "the batch",
                field="inputs",
            )
        limit = _MAX_PIECES * self._signature.max_batch_size
        if count > limit:
            raise InvalidRequest(
                f"the request has {count} rows, model '{self._model}' takes up to {limit} at "
                f"once, {self._signature.max_batch_size} in each batch; send it in parts",
                reason="TENSOR_TOO_LARGE",
                field="inputs",
            )
        return count

    def _lane(
        self, inputs: tuple[LaneInput | None, ...], *, batches: bool, sizes: dict[str, int]
    ) -> Lane:
        key = (inputs, batches)
        lane = self._lanes.get(key)
        if lane is None:
            max_rows = self._signature.max_batch_size if batches else 0
            outputs, joined = self._signature.outputs, self._joined_rows
            lane = Lane(inputs, max_rows, outputs, sizes, joined_rows=joined)
            self._remember_lane(key, lane)
        return lane

    def _remember_lane(self, key: object, lane: Lane) -> None:
        if len(self._lanes) >= _MAX_PLANS:
            self._lanes.clear()
        self._lanes[key] = lane

    def _select(self, outputs: tuple[str, ...]) -> tuple[int, ...] | None:
        if not outputs:
            return None
        selected = []
        for position, name in enumerate(outputs):
            if name not in self._outputs:
                raise InvalidRequest(
                    f"unexpected inference output '{name[:64]}' for model '{self._model}'; "
                    f"it gives {_listed(self._outputs)}{did_you_mean(name, self._outputs)}",
                    field=f"outputs[{position}].name",
                )
            if self._outputs[name] in selected:
                raise InvalidRequest(
                    f"output '{name}' already exists in request",
                    field=f"outputs[{position}].name",
                )
            selected.append(self._outputs[name])
        return tuple(selected)


def _lane_input(head: InputHead, *, batches: bool) -> LaneInput:
    _, datatype, shape = head
    row_shape = shape[1:] if batches else shape
    return LaneInput(datatype, row_shape, byte_size(datatype, row_shape))


def _axis_problem(dim: Axis, size: int, sizes: dict[str, int], *, bounded: bool) -> str | None:
    """What is wrong with this size of a free dimension; `sizes` remembers those seen, by symbol."""
    if size < dim.min or (bounded and dim.max is not None and size > dim.max):
        free = dim.max is None or not bounded
        bound = f"at least {dim.min}" if free else f"{dim.min} to {dim.max}"
        return f"the model takes {bound}"
    known = sizes.setdefault(dim.symbol, size)
    if known != size:
        return f"but the same dimension is {known} elsewhere in the request; they must be equal"
    return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:16])


def _short(shape: tuple[int, ...]) -> str:
    """The shape as text, bounded: it comes from the caller."""
    text = "[" + ",".join(str(dim) for dim in shape[:16]) + ("]" if len(shape) <= 16 else ",…]")
    return text[:160]
