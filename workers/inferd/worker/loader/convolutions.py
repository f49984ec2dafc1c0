"""Convolutional programs made quicker on a CPU, without a change of what they compute."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import cast

import torch
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from inferd.core.telemetry import logs
from inferd.worker.faults import brief
from inferd.worker.loader.loaded import Execute, LoadedModel
from inferd.worker.model import Value
from inferd.worker.warming.samples import sample_inputs

_log = logs.get_logger(__name__)

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default, _aten.conv3d.default)
_TIED_TO_STRIDES = (_aten.view.default, _aten.as_strided.default, _aten.stride.int)
"""What fails, or computes something else, once tensors lie in memory in another order."""

_ROWS = 4
_RUNS = 3
_TOLERATED = 1.1
"""There is less to compute: what seems a little slower is the machine's noise."""
_CLOSE = 1e-4
"""Of the largest value: float32 sums in another order differ by less."""


def fold(module: GraphModule) -> bool:
    """Fold batch norms into the convolutions before them, and lay weights out channels last.

    Changes `module`; False, and nothing is changed, where there is no convolution to gain by, or
    where parts of the program run on a condition: what those do to memory is not seen here.
    """
    graph = module.graph
    if any(isinstance(each, GraphModule) for each in module.children()):
        return False
    norms = graph.find_nodes(op="call_function", target=_aten.batch_norm.default)
    folded = [norm for norm in norms if _fold_norm(module, norm)]
    laid_out = _lay_out_channels_last(module)
    if not folded and not laid_out:
        return False
    graph.eliminate_dead_code()
    _drop_unused(module)
    graph.lint()
    module.recompile()
    return True


def quickest(
    model: LoadedModel,
    folded: Callable[[], Execute | None],
    now: Callable[[], float] = perf_counter,
) -> LoadedModel:
    """The model, or the model with what `folded` makes of it if that is no different and no slower.

    Both are tried on the same made-up inputs; `now` is in seconds. Nothing that `folded` raises, or what it made, is
    held against the model.
    """
    inputs = _inputs(model)
    if inputs is None:
        return model
    try:
        other = folded()
        if other is None:
            return model
        with torch.inference_mode():
            if not _agree(model.execute(inputs, None), other(inputs, None)):
                _log.info("not folded: the results would differ", model=model.name)
                return model
            before, after = _seconds((model.execute, other), inputs, now)
    except Exception as error:
        _log.info("not folded", model=model.name, why=brief(error))
        return model
    kept = after < _TOLERATED * before
    _log.info("convolutions folded", model=model.name, kept=kept, ratio=round(after / before, 2))
    return replace(model, execute=other) if kept else model


def _drop_unused(module: GraphModule) -> None:
    """Let go of the weights that others were made of."""
    used = {str(node.target) for node in module.graph.find_nodes(op="get_attr")}
    held = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    for name in held:
        if name not in used:
            path, _, last = name.rpartition(".")
            delattr(module.get_submodule(path), last)


def _fold_norm(module: GraphModule, norm: Node) -> bool:
    convolution, *numbers, training, _, epsilon, _ = norm.args
    if training or not isinstance(convolution, Node) or convolution.target not in _CONVOLUTIONS:
        return False
    if len(convolution.users) > 1 or convolution.kwargs or norm.kwargs:
        return False
    gain, shift, mean, variance = (_tensor(module, each) for each in numbers)
    _, weights, *more = convolution.args
    weight = _tensor(module, weights)
    bias = _tensor(module, more[0]) if more else None
    if mean is None or variance is None or weight is None or weight.dtype != torch.float32:
        return False
    # None stands for what is absent, and for what is computed anew for each batch.
    for node, found in zip((*numbers[:2], *more[:1]), (gain, shift, bias), strict=False):
        if node is not None and found is None:
            return False
    # In double precision, so that the only rounding is that of the weights.
    fused = fuse_conv_bn_weights(
        weight.double(),
        None if bias is None else bias.double(),
        mean.double(),
        variance.double(),
        cast("float", epsilon),
        None if gain is None else gain.double(),
        None if shift is None else shift.double(),
    )
    graph = module.graph
    with graph.inserting_before(convolution):
        nodes = [
            _constant(module, f"_folded_{norm.name}_{kind}", each.detach().float())
            for kind, each in zip(("weight", "bias"), fused, strict=True)
        ]
    convolution.args = (convolution.args[0], *nodes, *more[1:])
    norm.replace_all_uses_with(convolution)
    graph.erase_node(norm)
    return True


def _lay_out_channels_last(module: GraphModule) -> bool:
    """The order that oneDNN computes in: else it turns each batch and each weight to it and back."""
    graph = module.graph
    if any(node.target in _TIED_TO_STRIDES for node in graph.nodes):
        return False
    found = False
    for node in graph.find_nodes(op="call_function", target=_aten.conv2d.default):
        weight = _tensor(module, node.args[1])
        if weight is None or weight.dtype != torch.float32:
            continue
        with graph.inserting_before(node):
            laid_out = weight.detach().contiguous(memory_format=torch.channels_last)
            constant = _constant(module, f"_laid_out_{node.name}", laid_out)
        node.args = (node.args[0], constant, *node.args[2:])
        found = True
    return found


def _tensor(module: GraphModule, node: object) -> torch.Tensor | None:
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    start: object = module
    found = functools.reduce(getattr, str(node.target).split("."), start)
    return found if isinstance(found, torch.Tensor) else None


def _constant(module: GraphModule, name: str, value: torch.Tensor) -> Node:
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def _inputs(model: LoadedModel) -> list[Value] | None:
    signature = model.signature
    rows = min(_ROWS, signature.max_batch_size) or 1
    made = sample_inputs(signature, model.usual_sizes, torch.device("cpu"), rows)
    if made is None:
        return None
    chance = torch.Generator().manual_seed(0)
    return [
        torch.randn(value.shape, generator=chance, dtype=value.dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for value in made
    ]


def _agree(one: Sequence[Value], other: Sequence[Value]) -> bool:
    for a, b in zip(one, other, strict=True):
        assert isinstance(a, torch.Tensor)
        assert isinstance(b, torch.Tensor)
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return False
        elif a.numel() and not torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE * _largest(a)):
            return False
    return True


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max())


def _seconds(
    both: tuple[Execute, Execute], inputs: Sequence[Value], now: Callable[[], float]
) -> tuple[float, float]:
    """Of the quickest of a few runs of each, in turn: what slows the machine down meets both."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(_RUNS):
        for execute, times in zip(both, spent, strict=True):
            begun = now()
            execute(inputs, None)
            times.append(now() - begun)
    return min(spent[0]), min(spent[1])
