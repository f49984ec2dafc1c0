"""Model repositories made by a test: exported programs and own code."""

from __future__ import annotations

import textwrap
from pathlib import Path

import torch
from torch.export import Dim, export, save


class Scale(torch.nn.Module):
    """Multiplies by a constant that tells versions apart."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [batch, 4] times the factor."""
        return x * self.factor


def write_scale(folder: Path, version: int, factor: float) -> None:
    """Version `version` of a model that multiplies rows of four numbers by `factor`."""
    target = folder / str(version)
    target.mkdir(parents=True)
    batch = Dim("batch", min=1, max=16)
    program = export(Scale(factor), (torch.ones(2, 4),), dynamic_shapes={"x": {0: batch}})
    save(program, target / "model.pt2")


def write_code(folder: Path, code: str, toml: str = "") -> None:
    """An own-code model; `toml` is added to a model.toml with one FP32 input and output."""
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(
        "from inferd.worker.model import Model\n" + textwrap.dedent(code)
    )
    tensors = "".join(
        f'\n[[{kind}]]\nname = "{name}"\ndatatype = "FP32"\nshape = [-1, 4]\n'
        for kind, name in (("input", "x"), ("output", "y"))
    )
    (folder / "model.toml").write_text(textwrap.dedent(toml) + tensors)
