"""The answers of a model that gives many, shown as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inferd.client import Model, ModelMetadata, ParameterValue
from inferd.client.prediction import Answer
from inferd.core.telemetry.logs import escape
from inferd.server.cli.output import show, show_json
from inferd.server.cli.tables import output_lines


@dataclass(frozen=True, slots=True)
class Answered:
    """One of many answers."""

    outputs: Mapping[str, npt.NDArray[Any]]
    datatypes: Mapping[str, str]

    @property
    def text(self) -> str | None:
        """Its text, if it is a piece of one: a single BYTES element."""
        for array in self.outputs.values():
            if len(self.outputs) == 1 and array.dtype.kind == "O" and array.size == 1:
                return str(array.reshape(-1)[0].decode("utf-8", "backslashreplace"))
        return None

    def show(self, *, json: bool) -> None:
        """Print it: text as it is, so that pieces make one; anything else in lines of its own."""
        if json:
            outputs = self.outputs.items()
            show_json({name: tensor_document(self.datatypes[name], a) for name, a in outputs})
        elif self.text is not None:
            # What a server put in it cannot drive the terminal, but it may have lines.
            sys.stdout.write("\n".join(escape(line) for line in self.text.split("\n")))
            sys.stdout.flush()
        else:
            for name, array in self.outputs.items():
                show(output_lines(name, self.datatypes[name], array))


def answered(
    model: Model,
    metadata: ModelMetadata,
    inputs: Mapping[str, object],
    parameters: Mapping[str, ParameterValue],
) -> Iterator[Answered]:
    """The answers to one request, as they come. Raises `InferenceError`."""
    datatypes = {spec.name: spec.datatype for spec in metadata.outputs}
    only = next(iter(datatypes), "")
    for value in model.stream(inputs, parameters=parameters):
        yield Answered(value if isinstance(value, Answer) else {only: value}, datatypes)


def tensor_document(datatype: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    """A tensor for JSON."""
    return {"datatype": datatype, "shape": list(array.shape), "data": _data(array)}


def _data(array: Any) -> Any:
    if array.dtype.kind == "O":  # JSON has no bytes
        array = np.frompyfunc(lambda each: each.decode("utf-8", "backslashreplace"), 1, 1)(array)
        return array.tolist() if isinstance(array, np.ndarray) else array
    return array.tolist()
