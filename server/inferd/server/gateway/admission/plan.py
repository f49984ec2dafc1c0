"""What is known of a request from its names, datatypes and shapes alone."""

from __future__ import annotations

from collections.abc import Sequence

from inferd.server.gateway.scheduling.lane import Lane
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.wire.answers import OutputHead, answer_head, assemble_answer
from inferd.wire.errors import InvalidRequest, OutputInvalid
from inferd.wire.tensors import Buffer, element_offsets


class Plan:
    """How requests with one set of names, datatypes and shapes are checked and answered.

    Made once and kept: a request of known form costs a lookup. `order` says for each input of the
    signature which tensor of the request it is, None for an optional one left out.
    """

    def __init__(
        self,
        *,
        model: str,
        version: int,
        lane: Lane,
        rows: int,
        order: tuple[int | None, ...],
        names: tuple[str, ...],
        output_names: tuple[str, ...],
        selected: tuple[int, ...] | None,
    ) -> None:
        """`names` are the inputs' names; `selected` are the outputs asked for, None for all."""
        self.lane = lane
        self.rows = rows
        self.selected = selected
        self._model = model
        self._version = version
        self._order = order
        self._names = names
        self._output_names = output_names
        self._heads: dict[OutputLayout, bytes] = {}
        self._layout: OutputLayout | None = None
        self._head = b""
        self._nbytes = [
            None if spec is None or spec.datatype == "BYTES" else spec.row_nbytes * rows
            for spec in lane.inputs
        ]
        # BOOL and BYTES alone have byte patterns that are no values.
        self._patterned = [
            index
            for index, spec in enumerate(lane.inputs)
            if spec is not None and spec.datatype in ("BOOL", "BYTES")
        ]

    def arrange(self, buffers: Sequence[Buffer]) -> tuple[Sequence[Buffer | None], int]:
        """The request's raw tensors in the signature's order, checked, and their size in bytes.

        Raises `InvalidRequest` where a size or a pattern is wrong.
        """
        arranged: list[Buffer | None] = []
        nbytes = 0
        for index, source in enumerate(self._order):
            if source is None:
                arranged.append(None)
                continue
            buffer = buffers[source]
            expected = self._nbytes[index]
            size = len(buffer)
            if expected is not None and size != expected:
                raise self._wrong_size(index, source, size, expected)
            arranged.append(buffer)
            nbytes += size
        for index in self._patterned:
            value = arranged[index]
            if value is not None:
                self._check_pattern(index, value)
        return arranged, nbytes

    def answer(self, layout: OutputLayout, outputs: Sequence[Buffer], request_id: str) -> bytes:
        """The serialised answer to a request. Raises `OutputInvalid`."""
        # The requests of one batch come one after another with the very same layout.
        if layout is not self._layout:
            self._head = self._find_head(layout)
            self._layout = layout
        if self.selected is not None:
            outputs = [outputs[index] for index in self.selected]
        return assemble_answer(self._head, request_id, outputs)

    def _find_head(self, layout: OutputLayout) -> bytes:
        head = self._heads.get(layout)
        if head is None:
            head = self._heads[layout] = self._make_head(layout)
            if len(self._heads) > _MAX_HEADS:
                self._heads.clear()
        return head

    def check_layout(self, layout: OutputLayout) -> None:
        """Raise `OutputInvalid` unless there are as many outputs as the model declares."""
        if len(layout) != len(self._output_names):
            raise OutputInvalid(
                f"the model gave {len(layout)} outputs, it declares {len(self._output_names)}"
            )

    def _make_head(self, layout: OutputLayout) -> bytes:
        self.check_layout(layout)
        heads: list[OutputHead] = []
        for index in range(len(layout)) if self.selected is None else self.selected:
            datatype, row_shape = layout[index]
            shape = (self.rows, *row_shape) if self.lane.batches else row_shape
            heads.append((self._output_names[index], datatype, shape))
        return answer_head(self._model, self._version, heads)

    def _wrong_size(self, index: int, source: int, got: int, expected: int) -> InvalidRequest:
        spec = self.lane.inputs[index]
        shape = [] if spec is None else list(spec.row_shape)
        if self.lane.batches:
            shape = [self.rows, *shape]
        return InvalidRequest(
            f"input '{self._names[index]}' has {got} bytes, "
            f"{'' if spec is None else spec.datatype} {shape} has {expected}: byte size mismatch",
            field=f"raw_input_contents[{source}]",
        )

    def _check_pattern(self, index: int, value: Buffer) -> None:
        spec = self.lane.inputs[index]
        if spec is None:
            return
        if spec.datatype == "BOOL":
            # Deleting the two valid bytes leaves what is wrong, at C speed.
            wrong = bytes(value).translate(None, b"\x00\x01")
            if wrong:
                raise InvalidRequest(
                    f"input '{self._names[index]}' is BOOL and has a byte {wrong[0]}; "
                    "each byte is 0 or 1",
                    reason="VALUE_OUT_OF_RANGE",
                    field=f"raw_input_contents[{self._order[index]}]",
                )
            return
        try:
            element_offsets(value, spec.row_elements * self.rows)
        except ValueError as error:
            raise InvalidRequest(
                f"input '{self._names[index]}' is BYTES, each element a 4-byte little-endian "
                f"length and its bytes; {error}",
                field=f"raw_input_contents[{self._order[index]}]",
            ) from error


_MAX_HEADS = 256
