"""Convolutional programs, folded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, export
from torch.fx import GraphModule

from inferd.core.link.messages import ModelSource
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.worker.loader import exported, load_model
from inferd.worker.loader.convolutions import fold, quickest
from inferd.worker.loader.loaded import Execute, LoadedModel, Parameters
from inferd.worker.model import Value
from support import programs

SHAPE = (2, 3, 8, 8)


def network(*, bias: bool = True, last: nn.Module | None = None) -> nn.Module:
    """Two convolutions with batch norms that have seen data."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=bias),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2),
        nn.BatchNorm2d(8, affine=False),
        last or nn.Flatten(),
    )
    for _ in range(3):
        layers(torch.randn(SHAPE) * 3 + 1)
    return layers.eval()


def graph(module: nn.Module) -> GraphModule:
    """The module as it is served."""
    program = export(module, (torch.randn(SHAPE),), dynamic_shapes=({0: Dim("b", max=9)},))
    return program.module(check_guards=False)


def targets(module: GraphModule) -> list[str]:
    """What it calls."""
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norms_go_into_the_convolutions_before_them(*, bias: bool) -> None:
    """The program computes the same with fewer steps, and on weights laid out channels last."""
    module = network(bias=bias)
    folded = graph(module)
    assert fold(folded)
    assert targets(folded) == [
        "aten.conv2d.default",
        "aten.relu.default",
        "aten.conv2d.default",
        "aten.flatten.using_ints",
    ]
    x = torch.randn(5, *SHAPE[1:])
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), module(x), rtol=1e-5, atol=1e-5)
    weights = [each for each in (*folded.buffers(), *folded.parameters()) if each.dim() == 4]
    assert len(weights) == 2, "those that others were made of are not kept"
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights)


class Shared(nn.Module):
    """A convolution whose result goes elsewhere too, and one whose norm looks at the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.batchwise = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [batch, 3, 8, 8] normed in two ways."""
        y = self.convolution(x)
        answer: torch.Tensor = self.norm(y) + y + self.batchwise(self.convolution(x * 2))
        return answer


def test_what_cannot_be_folded_stays() -> None:
    """A result that is needed unnormed, and statistics that are the batch's own."""
    module = Shared().eval()
    folded = graph(module)
    fold(folded)
    assert targets(folded).count("aten.batch_norm.default") == 2
    x = torch.randn(SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), module(x), rtol=1e-5, atol=1e-5)


class Labelled(nn.Module):
    """A norm whose gain is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)
        self.gain = nn.Parameter(torch.tensor([[1.0, 1, 1], [5, 5, 5]]))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("variance", torch.ones(3))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """`x` [batch, 3, 8, 8] normed with the gain of the label [1]."""
        gain = self.gain[label].reshape(-1)
        return nn.functional.batch_norm(
            self.convolution(x), self.get_buffer("mean"), self.get_buffer("variance"), gain
        )


def test_what_is_computed_is_not_taken_for_absent() -> None:
    """A gain that depends on the request stays a part of the program."""
    module, x = Labelled().eval(), torch.randn(SHAPE)
    one = torch.tensor([1])
    folded = export(module, (x, torch.tensor([0]))).module(check_guards=False)
    fold(folded)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x, one), module(x, one), rtol=1e-5, atol=1e-5)


class Branches(nn.Module):
    """Looks at memory in another shape, on a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [2, 3, 8, 8] through one of two branches."""
        y = self.convolution(x)
        answer: torch.Tensor = torch.cond(
            x.sum() > 0, lambda y: y.view(2, -1) * 2, lambda y: y.flatten(1) * 3, (y,)
        )
        return answer


def test_programs_with_branches_are_left_alone() -> None:
    """What a branch does to memory shows only when it is taken."""
    with torch.no_grad():
        module = export(Branches().eval(), (torch.ones(SHAPE),)).module(check_guards=False)
    assert not fold(module)


class View(nn.Module):
    """Looks at memory in another shape, which needs it to lie in order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [batch, ...] as [batch, n]."""
        return x.view(x.shape[0], -1)


def test_memory_that_the_program_looks_at_keeps_its_order() -> None:
    """`view` fails on tensors that lie channels last; norms are folded all the same."""
    module = network(last=View())
    folded = graph(module)
    assert fold(folded)
    assert "aten.batch_norm.default" not in targets(folded)
    x = torch.randn(SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_program_without_convolutions_is_left_alone() -> None:
    """There is nothing to try at load."""
    module = programs.linear().module(check_guards=False)
    before = targets(module)
    assert not fold(module)
    assert targets(module) == before


def model(execute: Execute) -> LoadedModel:
    """A model of this function."""
    dims = (Axis("batch", 1, 4), 2)
    signature = Signature((TensorSpec("x", "FP32", dims),), (TensorSpec("y", "FP32", dims),), 4)
    return LoadedModel("m", "test", signature, takes_parameters=False, execute=execute)


def times(factor: float) -> Execute:
    """Multiplies by a number."""

    def execute(inputs: Sequence[Value | None], _: Parameters) -> Sequence[Value]:
        (x,) = inputs
        assert isinstance(x, torch.Tensor)
        return [x * factor]

    return execute


def clock(*spent: float) -> Callable[[], float]:
    """Tells that runs take these times in turn."""
    ticks = count()

    def now() -> float:
        tick = next(ticks)
        return 100.0 * tick + (spent[tick // 2 % 2] - 100.0 if tick % 2 else 0.0)

    return now


def _given(execute: Execute) -> Execute:
    return execute


def test_what_is_folded_is_served_unless_it_is_slower() -> None:
    """Decided by the times of both on the same inputs; a little is noise."""
    plain, other = times(2.0), times(2.0)
    assert quickest(model(plain), lambda: other, clock(2.0, 1.0)).execute is other
    assert quickest(model(plain), lambda: other, clock(1.0, 1.05)).execute is other
    assert quickest(model(plain), lambda: other, clock(1.0, 1.2)).execute is plain


def test_what_answers_otherwise_is_not_served() -> None:
    """However quick it is; and nothing that goes wrong with it concerns the model."""

    def broken(_: Sequence[Value | None], __: Parameters) -> Sequence[Value]:
        raise RuntimeError("no such kernel")

    plain = times(2.0)
    others: list[Execute] = [times(2.001), broken]
    for other in others:
        assert quickest(model(plain), partial(_given, other), clock(2, 1)).execute is plain
    assert quickest(model(plain), lambda: None).execute is plain


def test_a_loaded_network_answers_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file to the answer, folded."""

    def take(model: LoadedModel, folded: Callable[[], Execute | None]) -> LoadedModel:
        execute = folded()
        assert execute is not None
        return replace(model, execute=execute)

    monkeypatch.setattr(exported, "quickest", take)
    module = network()
    program = export(module, (torch.randn(SHAPE),), dynamic_shapes=({0: Dim("b", max=9)},))
    source = ModelSource("m", 1, "exported", str(programs.saved(program, tmp_path)))
    loaded = load_model(source, torch.device("cpu"))
    x = torch.randn(SHAPE)
    with torch.inference_mode():
        (answer,) = loaded.execute([x], None)
        assert isinstance(answer, torch.Tensor)
        torch.testing.assert_close(answer, module(x), rtol=1e-5, atol=1e-5)
