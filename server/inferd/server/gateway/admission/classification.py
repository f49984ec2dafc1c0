"""The classification extension: an output's largest values as texts `value:index[:label]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.wire.answers import OutputHead, answer_head, assemble_answer
from inferd.wire.dtypes import DATATYPES
from inferd.wire.errors import InvalidRequest, OutputInvalid
from inferd.wire.signature import Axis, TensorSpec
from inferd.wire.tensors import Buffer, encode_bytes

MOST_CLASSES = 1 << 16
"""Texts in one answer: they are made on the thread that answers all callers, about 1 µs each."""

Labels = Mapping[str, Sequence[str]]
"""Names of the classes by output; an index beyond them has no label."""

_DTYPES = {
    name: np.dtype("<u2" if name == "BF16" else each)
    for name, each in {
        "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
        "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
        "FP16": "<f2", "BF16": "", "FP32": "<f4", "FP64": "<f8",
    }.items()
}  # fmt: skip
assert _DTYPES.keys() <= DATATYPES.keys()


class ClassifyingPlan(Plan):
    """A plan whose answers have classes in place of some of the outputs."""

    def __init__(self, *, classes: Sequence[int], labels: Labels, **plan: Any) -> None:
        """`classes` has a number for each output asked for, 0 for one that comes as it is."""
        super().__init__(**plan)
        self._classes = classes
        self._labels = labels

    def answer(self, layout: OutputLayout, outputs: Sequence[Buffer], request_id: str) -> bytes:
        """The serialised answer to a request. Raises `OutputInvalid`."""
        self.check_layout(layout)
        heads: list[OutputHead] = []
        raw: list[Buffer] = []
        for index, count in zip(self.selected or (), self._classes, strict=True):
            name, (datatype, row_shape) = self._output_names[index], layout[index]
            if count:
                texts = self._texts(name, datatype, outputs[index], count)
                shape = texts.shape if self.lane.batches else texts.shape[1:]
                heads.append((name, "BYTES", shape))
                raw.append(encode_bytes(texts.ravel().tolist()))
            else:
                shape = (self.rows, *row_shape) if self.lane.batches else row_shape
                heads.append((name, datatype, shape))
                raw.append(outputs[index])
        return assemble_answer(answer_head(self._model, self._version, heads), request_id, raw)

    def _texts(
        self, name: str, datatype: str, output: Buffer, count: int
    ) -> npt.NDArray[np.object_]:
        if datatype not in _DTYPES:
            raise OutputInvalid(f"classes were asked of output '{name}', and it came as {datatype}")
        values = np.frombuffer(output, _DTYPES[datatype])
        if datatype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        rows = values.reshape(self.rows, -1) if self.rows else values.reshape(0, 0)
        return classify(rows, count, self._labels.get(name, ()))


def classify(
    rows: npt.NDArray[Any], count: int, labels: Sequence[str] = ()
) -> npt.NDArray[np.object_]:
    """The `count` largest values of each row, or all of fewer, as UTF-8 `value:index[:label]`.

    `rows` is [rows, values]; the answer is [rows, classes]. Largest first, equal ones in the order
    of their indices, what is no number last. Floating-point values have six decimals, as C++'s
    `std::to_string` writes them.
    """
    order = _descending(rows)[:, :count]
    form = "%f" if rows.dtype.kind == "f" else "%d"
    texts = np.empty(order.shape, np.object_)
    for row, indices in enumerate(order.tolist()):
        for place, (index, value) in enumerate(
            zip(indices, rows[row, indices].tolist(), strict=True)
        ):
            text = f"{form % value}:{index}"
            if index < len(labels):
                text = f"{text}:{labels[index]}"
            texts[row, place] = text.encode()
    return texts


def check_classes(
    classes: Sequence[int], specs: Sequence[TensorSpec], *, rows: int, batches: bool
) -> None:
    """Whether classes can be told of these outputs, one `count` each. Raises `InvalidRequest`."""
    total = 0
    for position, (count, spec) in enumerate(zip(classes, specs, strict=True)):
        field = f"outputs[{position}].parameters[classification]"
        if count and spec.datatype not in _DTYPES:
            raise InvalidRequest(
                f"class result not available for output '{spec.name}' due to unsupported type "
                f"'{spec.datatype}'; expected one of {', '.join(_DTYPES)}",
                field=field,
            )
        total += min(count, _row_values(spec, batches=batches) or count) * rows
        if total > MOST_CLASSES:
            raise InvalidRequest(
                f"{count} classes of {rows} rows are too many: one answer has up to "
                f"{MOST_CLASSES}; ask for fewer, send the rows in parts, or take the values",
                field=field,
            )


def _row_values(spec: TensorSpec, *, batches: bool) -> int | None:
    """Values in one row of an output; None where the signature does not tell."""
    if spec.dims is None:
        return None
    values = 1
    for dim in spec.dims[1:] if batches else spec.dims:
        if isinstance(dim, Axis):
            return None
        values *= dim
    return values


def _descending(rows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), -np.inf, rows)
    # Turned round twice: a stable sort of the mirrored row keeps equal values in their order.
    last = rows.shape[1] - 1
    order: npt.NDArray[np.intp] = np.argsort(rows[:, ::-1], axis=1, kind="stable")[:, ::-1]
    np.subtract(last, order, out=order)
    return order
