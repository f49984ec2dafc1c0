"""Requests that may share a batch: the same datatypes, row shapes and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from inferd.core.link.arena import aligned
from inferd.core.link.messages import ParameterValue
from inferd.server.gateway.scheduling.sequences.active import SequenceAsk, Step
from inferd.wire.signature import TensorSpec, byte_size

if TYPE_CHECKING:
    from inferd.server.gateway.scheduling.observation.request import Observation
    from inferd.server.gateway.scheduling.pending import Piece

_STRETCH_NS = 8_000_000
"""So long may the executions last that are asked for at once: nobody else gets a turn meanwhile."""

_MOST_PARTS = 16

_OUTPUT_MARGIN = 4096
"""Bytes added to a guess of the outputs' size, so that small answers fit at the first try."""


@dataclass(frozen=True, slots=True)
class LaneInput:
    """One input of a lane. `row_shape` lacks the batch dimension where the lane batches.

    `row_nbytes` is 0 for BYTES, whose rows differ in size.
    """

    datatype: str
    row_shape: tuple[int, ...]
    row_nbytes: int

    @property
    def row_elements(self) -> int:
        """Elements in one row."""
        return prod(self.row_shape)


class Lane:
    """What the requests of one shape have in common.

    `max_rows` is how many rows one execution takes, 0 where each request is executed alone;
    larger requests are split. `joined_rows` is up to how many rows requests are put together.
    `inputs` follow the signature; None stands for an optional input that was left out.
    """

    def __init__(
        self,
        inputs: tuple[LaneInput | None, ...],
        max_rows: int,
        outputs: tuple[TensorSpec, ...] = (),
        sizes: Mapping[str, int] | None = None,
        parameters: dict[str, ParameterValue] | None = None,
        *,
        joined_rows: int = 0,
        background: bool = False,
    ) -> None:
        """`joined_rows` 0 stands for `max_rows`. `sizes` are the sizes of free dimensions, by symbol, as the request's inputs have them."""
        self.inputs = inputs
        self.max_rows = max_rows
        self.joined_rows = min(joined_rows, max_rows) or max_rows
        self.parameters = parameters
        self.background = background
        """Whether these requests run only when no others wait."""
        self._twin: Lane | None = None
        self._outputs = outputs
        self._sizes = dict(sizes or {})
        self._row_nbytes = self._exact_row_nbytes()
        self._seen_row_nbytes = 0.0
        self.parts = 1
        """Parts of one request that was split that may go to a worker together."""
        self.asked: SequenceAsk | None = None
        self.sequence: Step | None = None
        """Set for the one request of a lane that belongs to a sequence."""
        self.observed: dict[Piece, Observation] = {}
        """Requests that are traced or billed, from before they are queued until they are over."""

    @property
    def batches(self) -> bool:
        """Whether the first dimension of every tensor is the batch."""
        return self.max_rows > 0

    def with_parameters(self, parameters: dict[str, ParameterValue]) -> Lane:
        """The lane of requests that differ from these in their parameters only."""
        return Lane(
            self.inputs,
            self.max_rows,
            self._outputs,
            self._sizes,
            parameters,
            joined_rows=self.joined_rows,
        )

    def in_background(self) -> Lane:
        """The lane of the same requests as background work; always the same one."""
        if self._twin is None:
            self._twin = Lane(
                self.inputs,
                self.max_rows,
                self._outputs,
                self._sizes,
                self.parameters,
                joined_rows=self.joined_rows,
                background=True,
            )
        return self._twin

    def in_sequence(self, asked: SequenceAsk) -> Lane:
        """A lane for one request alone."""
        lane = copy(self)
        lane.asked = asked
        return lane

    def output_nbytes(self, rows: int, input_nbytes: int) -> int:
        """Room for the outputs of `rows` rows: exact where the shapes tell it, else a guess."""
        if self._row_nbytes is not None:
            return sum(aligned(rows * each) for each in self._row_nbytes)
        guess = max(input_nbytes, int(1.25 * self._seen_row_nbytes * max(1, rows)))
        return aligned(guess + _OUTPUT_MARGIN)

    def observe_time(self, rows: int, executions: int, ns: int) -> None:
        """Learn how many parts may go together, from what so many executions took.

        Only full ones tell it, and only where the room for outputs is known beforehand: together
        they need more of it than each would.
        """
        if self._row_nbytes is not None and rows >= self.max_rows > 0:
            self.parts = max(1, min(_MOST_PARTS, _STRETCH_NS * executions // max(1, ns)))

    def together(self, wanted: int, rows: int, nbytes: int) -> int:
        """How many of `wanted` executions of `rows` rows have outputs of `nbytes` bytes together.

        One, where it shows only when they have run how large their outputs are.
        """
        if self._row_nbytes is None:
            return 1
        return max(1, min(wanted, nbytes // max(1, self.output_nbytes(rows, 0))))

    def observe_output(self, rows: int, nbytes: int) -> None:
        """Learn from outputs of this size, for the next guess."""
        self._seen_row_nbytes = max(self._seen_row_nbytes, nbytes / max(1, rows))

    def _exact_row_nbytes(self) -> tuple[int, ...] | None:
        found = []
        for spec in self._outputs:
            if spec.datatype == "BYTES" or spec.dims is None:
                return None
            dims = spec.dims[1:] if self.batches else spec.dims
            shape = TensorSpec(spec.name, spec.datatype, dims).bound_shape(self._sizes)
            if shape is None:
                return None
            found.append(byte_size(spec.datatype, shape))
        return tuple(found)
