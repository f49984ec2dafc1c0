"""What an exported program takes and gives, read from the program itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
    TensorArgument,
)
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import bound_sympy

from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader.batch_axis import axes_of
from inferd.worker.tensors import DATATYPE_NAMES

ONLY_OUTPUT = "output"
"""The name of a single output, unless the model returns a dictionary."""

_SIZE = r"L\['\w+'\](?:\[[^\]]+\])*\.size\(\)\[\d+\]"
_SAME_SIZE = re.compile(f"{_SIZE} == {_SIZE}")


@dataclass(frozen=True, slots=True)
class ProgramSignature:
    """The signature of an exported program, and where its tensors stand among all it takes and gives.

    `signature` has no batch yet (`max_batch_size` 0). `constants` are the flat arguments that were
    baked in, by position; `results` the flat positions of the outputs that are tensors.
    `self_evident` means that a call which fits the signature fits the program: no dimension is
    derived from another, no further guard has to be asked.
    """

    signature: Signature
    constants: Mapping[int, object]
    results: tuple[int, ...]
    self_evident: bool


def signature_of(program: ExportedProgram) -> ProgramSignature:
    """The signature of a program. Raises `LoadFailed` for one that takes or gives more than tensors."""
    axes = _Axes(program)
    inputs, constants = _inputs(program, axes)
    outputs, results = _outputs(program, axes)
    for kind, specs in (("inputs", inputs), ("outputs", outputs)):
        names = [spec.name for spec in specs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise LoadFailed(f"two {kind} would be called '{twice[0]}'; rename one in the model")
    if not outputs:
        raise LoadFailed("the program returns no tensor")
    # An attribute of torch's own: where it is gone, ask the guarded module every time.
    guards: Iterable[str] = getattr(program, "_guards_code", ("unknown",)) or ()
    return ProgramSignature(
        signature=Signature(tuple(inputs), tuple(outputs)),
        constants=constants,
        results=tuple(results),
        self_evident=_lone_symbols(inputs) and all(map(_SAME_SIZE.fullmatch, guards)),
    )


class _Axes:
    """Dimensions of the program's fake tensors in our terms."""

    def __init__(self, program: ExportedProgram) -> None:
        self._ranges = program.range_constraints

    def spec(self, name: str, kind: str, fake: torch.Tensor) -> TensorSpec:
        datatype = DATATYPE_NAMES.get(fake.dtype)
        if datatype is None:
            raise LoadFailed(
                f"{kind} '{name}' has dtype {str(fake.dtype).removeprefix('torch.')}, which the "
                f"protocol does not have"
            )
        return TensorSpec(name, datatype, tuple(map(self._dim, fake.shape)))

    def _dim(self, size: int | torch.SymInt) -> int | Axis:
        if not isinstance(size, torch.SymInt):
            return size
        expression = size.node.expr
        if expression.is_number:
            return int(expression)
        bounds = self._ranges.get(expression) or bound_sympy(expression, self._ranges)
        most = _finite(bounds.upper)
        return Axis(
            str(expression),
            max(0, _finite(bounds.lower) or 0),
            None if most is None or most >= sys.maxsize - 1 else most,
        )


def _inputs(program: ExportedProgram, axes: _Axes) -> tuple[list[TensorSpec], dict[int, object]]:
    fakes = {node.name: node.meta.get("val") for node in program.graph.find_nodes(op="placeholder")}
    given = [s.arg for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
    names = _input_names(program, [arg.name for arg in given])
    specs: list[TensorSpec] = []
    constants: dict[int, object] = {}
    for position, (arg, name) in enumerate(zip(given, names, strict=True)):
        if isinstance(arg, ConstantArgument):
            constants[position] = arg.value
        elif isinstance(arg, TensorArgument):
            specs.append(axes.spec(name, "input", fakes[arg.name]))
        else:
            raise LoadFailed(
                f"input '{name}' is a number, not a tensor; export the model with a tensor there, or "
                f"with the number as a constant"
            )
    return specs, constants


def _outputs(program: ExportedProgram, axes: _Axes) -> tuple[list[TensorSpec], list[int]]:
    given = [
        (spec.arg, node)
        for spec, node in zip(program.graph_signature.output_specs, _returned(program), strict=True)
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    paths = _paths(program.call_spec.out_spec, len(given))
    tensors: list[tuple[int, Sequence[object], torch.Tensor]] = []
    for position, (arg, node) in enumerate(given):
        if isinstance(arg, TensorArgument) and isinstance(node, torch.fx.Node):
            tensors.append((position, paths[position], node.meta["val"]))
        elif not (isinstance(arg, ConstantArgument) and arg.value is None):
            where = _output_name(paths[position], alone=False)
            raise LoadFailed(f"'{where}' is not a tensor; return tensors only")
    alone = len(tensors) == 1
    specs = [
        axes.spec(_output_name(path, alone=alone), "output", fake) for _, path, fake in tensors
    ]
    return specs, [position for position, _, _ in tensors]


def _returned(program: ExportedProgram) -> Sequence[object]:
    returned: Sequence[object] = program.graph.output_node().args[0]
    return returned


def _input_names(program: ExportedProgram, placeholders: list[str]) -> list[str]:
    """As the model's parameters are called, not as the graph had to rename them."""
    entry = program.module_call_graph[0].signature
    parameters = (entry.forward_arg_names if entry is not None else None) or []
    names = []
    for path, placeholder in zip(
        _paths(program.call_spec.in_spec, len(placeholders)), placeholders, strict=True
    ):
        # (0, i, …) is a positional argument, (1, name, …) one by keyword.
        kind, which, *rest = path
        if kind == 1:
            first = str(which)
        elif isinstance(which, int) and which < len(parameters):
            first = parameters[which]
        else:
            names.append(placeholder)
            continue
        names.append("_".join([first, *map(str, rest)]))
    return names


def _output_name(path: Sequence[object], *, alone: bool) -> str:
    by_name = any(isinstance(key, str) for key in path)
    if alone and not by_name:
        return ONLY_OUTPUT
    name = "_".join(map(str, path))
    return name if path and isinstance(path[0], str) else f"{ONLY_OUTPUT}_{name}"


def _paths(spec: pytree.TreeSpec | None, leaves: int) -> list[list[object]]:
    """The keys and indexes that lead to each leaf."""
    assert spec is not None
    found, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(leaves)), spec))
    return [[_key(entry) for entry in path] for path, _ in found]


def _key(entry: object) -> object:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            key = getattr(entry, attribute)
            return key if isinstance(key, int) else str(key)
    return str(entry)


def _finite(bound: Any) -> int | None:
    """A sympy number as an integer, None for infinity."""
    return int(bound) if bound.is_Integer else None


def _lone_symbols(inputs: Iterable[TensorSpec]) -> bool:
    return all(axis.symbol.isidentifier() for axis in axes_of(inputs))
