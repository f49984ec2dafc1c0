"""Programs of torch.export, made short to call."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule
from torch.fx.graph import CodeGen
from torch.utils import _pytree as pytree

from inferd.core.link.messages import ModelSource
from inferd.core.telemetry import logs
from inferd.wire.errors import LoadFailed
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.faults import brief
from inferd.worker.loader.batch_axis import axes_of, with_batch, with_minimum
from inferd.worker.loader.convolutions import fold, quickest
from inferd.worker.loader.loaded import Execute, LoadedModel, Parameters
from inferd.worker.loader.signature import ProgramSignature, signature_of
from inferd.worker.model import Value
from inferd.worker.runner.outputs import OutputCheck
from inferd.worker.warming.samples import sample_inputs

_log = logs.get_logger(__name__)

_Flat = Callable[..., Sequence[object]]


def load_exported(source: ModelSource, device: torch.device) -> LoadedModel:
    """Load a .pt2 file and read its signature. Raises `LoadFailed`."""
    program = _read(source)
    found = signature_of(program)
    sizes = _usual_sizes(program, found)
    if device.type != "cpu":
        program = move_to_device_pass(program, str(device))
    execute = _execute(program, found)
    signature = _from_one(source.name, found.signature, execute, sizes, device)
    _check_declared(source, signature)
    model = LoadedModel(
        name=source.name,
        platform="pytorch_export",
        signature=with_batch(signature, source.max_batch_size, guarded=not found.self_evident),
        takes_parameters=False,
        execute=execute,
        usual_sizes=sizes,
    )
    if device.type != "cpu":
        return model
    return quickest(model, functools.partial(_folded, program, found))


def _read(source: ModelSource) -> ExportedProgram:
    file = Path(source.path)
    # Without this torch falls back to running pickled code when a safe load fails.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        with warnings.catch_warnings():
            # As torch 2.11 says of the file's own bytes, which nothing writes to. The filter is the whole
            # process's, which does nothing else meanwhile.
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            return torch.export.load(file)
    except Exception as error:
        _log.exception("the exported program could not be read", model=source.name)
        raise LoadFailed(
            f"{file.name} could not be read as a program of torch.export "
            f"(this is torch {torch.__version__}): {brief(error)}"
        ) from error


def _folded(program: ExportedProgram, found: ProgramSignature) -> Execute | None:
    """The program with its convolutions made quicker; None where it has none."""
    module = program.module(check_guards=not found.self_evident)
    return _execute(program, found, module) if fold(module) else None


def _execute(
    program: ExportedProgram, found: ProgramSignature, module: GraphModule | None = None
) -> Execute:
    """The program as a function of the signature's inputs, in the signature's order.

    `module` is one made of the program, where it is not to be made anew.
    """
    if module is None:
        module = program.module(check_guards=not found.self_evident)
    call = _bare_forward(module) if found.self_evident else _guarded_forward(program, module)
    constants = found.constants
    arguments = len(found.signature.inputs) + len(constants)

    def plain(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        return call(*inputs)  # type: ignore[return-value] # every result is a tensor

    def picked(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        given = iter(inputs)
        flat = [constants[i] if i in constants else next(given) for i in range(arguments)]
        results = call(*flat)
        return [results[i] for i in found.results]  # type: ignore[misc] # these are tensors

    returned = sum(1 for _ in pytree.tree_iter(_leaf_numbers(program.call_spec.out_spec)))
    return plain if not constants and len(found.results) == returned else picked


def _bare_forward(module: GraphModule) -> _Flat:
    """The program's graph as one function: flat tensors in, flat tensors out, nothing checked.

    `ExportedProgram.module()` spends most of its time around a small model: it walks nested
    containers, checks what the gateway has checked, and looks every weight up by name.
    [16 to 16 linear layer, 64 rows: 155 µs so called, 22 µs flat, 14 µs with weights bound.]
    """
    graph = module.graph
    graph.set_codegen(CodeGen())
    weights: list[torch.Tensor] = []
    first = next(iter(graph.find_nodes(op="placeholder")), None) or graph.output_node()
    for node in graph.find_nodes(op="get_attr"):
        weight = _attribute(module, str(node.target))
        # Other attributes are subgraphs of control flow, which stay where they are.
        if isinstance(weight, torch.Tensor):
            with graph.inserting_before(first):
                bound = graph.placeholder(f"bound_{len(weights)}")
            node.replace_all_uses_with(bound)
            graph.erase_node(node)
            weights.append(weight)
    graph.lint()
    module.recompile()
    return functools.partial(module.forward, *weights)


def _guarded_forward(program: ExportedProgram, module: GraphModule) -> _Flat:
    """The program with all of torch's own checks of its inputs."""
    structure = program.call_spec.in_spec
    assert structure is not None

    def call(*flat: object) -> Sequence[object]:
        args, kwargs = pytree.tree_unflatten(flat, structure)
        return pytree.tree_leaves(module(*args, **kwargs))

    return call


def _attribute(module: torch.nn.Module, path: str) -> object:
    return functools.reduce(getattr, path.split("."), module)


def _leaf_numbers(spec: pytree.TreeSpec | None) -> object:
    assert spec is not None
    return pytree.tree_unflatten(range(spec.num_leaves), spec)


def _from_one(
    model: str,
    signature: Signature,
    execute: Execute,
    sizes: Mapping[str, int],
    device: torch.device,
) -> Signature:
    """The signature with true minimums.

    torch.export writes 2 where it means "any size": it never takes 0 or 1 for a variable, and
    checks no minimum below 3. So whether 1 works is found out by trying.
    """
    for symbol in {axis.symbol for axis in axes_of(signature.inputs) if axis.min == 2}:
        lowered = with_minimum(signature, symbol, 1)
        inputs = sample_inputs(lowered, {**sizes, symbol: 1}, device)
        if inputs is None:
            continue
        shapes = tuple(tuple(value.shape) for value in inputs)
        try:
            with torch.inference_mode():
                OutputCheck(model, lowered).check(execute(inputs, None), shapes)
        except Exception as error:
            _log.debug("a size of 1 does not work", model=model, symbol=symbol, why=brief(error))
        else:
            signature = lowered
    return signature


def _usual_sizes(program: ExportedProgram, found: ProgramSignature) -> dict[str, int]:
    """The sizes of free dimensions in the example that the program was exported with."""
    if program.example_inputs is None:
        return {}
    leaves = pytree.tree_leaves(program.example_inputs)
    examples = [leaf for i, leaf in enumerate(leaves) if i not in found.constants]
    return {
        dim.symbol: size
        for spec, example in zip(found.signature.inputs, examples, strict=False)
        if isinstance(example, torch.Tensor)
        for dim, size in zip(spec.dims or (), example.shape, strict=False)
        if isinstance(dim, Axis)
    }


def _check_declared(source: ModelSource, signature: Signature) -> None:
    """What model.toml says about an exported program must be true; it is not needed."""
    for kind, declared, found in (
        ("input", source.inputs, signature.inputs),
        ("output", source.outputs, signature.outputs),
    ):
        if declared and {s.name: _told(s) for s in declared} != {s.name: _told(s) for s in found}:
            raise LoadFailed(
                f"model.toml declares the {kind}s {', '.join(map(_told, declared))}; the program has "
                f"{', '.join(map(_told, found))}: correct or delete [[{kind}]] in model.toml"
            )


def _told(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.datatype} {list(spec.shape)}"
