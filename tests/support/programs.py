"""Small modules, exported as their authors would export them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

BATCH = Dim("batch", min=1, max=64)
WIDTH = 4


def rows(count: int = 2, width: int = WIDTH) -> torch.Tensor:
    """`count` different rows, the same ones every time."""
    return torch.arange(count * width, dtype=torch.float32).reshape(count, width) / 10


class Linear(nn.Module):
    """A linear layer with weights that are the same every time."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        with torch.no_grad():
            self.layer.weight.copy_(rows(width, width) - 0.5)
            self.layer.bias.fill_(0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` [batch, width] through the layer."""
        answer: torch.Tensor = self.layer(x)
        return answer


class Summary(nn.Module):
    """Two outputs in a dictionary."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """The masked ids [batch, sequence], and their sums [batch]."""
        return {"masked": ids * mask, "sum": (ids * mask).sum(1)}


class Pair(nn.Module):
    """Two outputs in a tuple."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`x`, and which elements are above zero."""
        return x + 1, x > 0


def linear(dim: object = BATCH, width: int = WIDTH) -> ExportedProgram:
    """The linear layer with this first dimension."""
    return export(Linear(width).eval(), (rows(width=width),), dynamic_shapes={"x": {0: dim}})


def summary(batch: object = BATCH, sequence: object = None) -> ExportedProgram:
    """The dictionary model: a batch and a sequence that both inputs share."""
    sequence = Dim("sequence", min=1, max=128) if sequence is None else sequence
    shape = {0: batch, 1: sequence}
    inputs = (torch.ones(2, 5, dtype=torch.int64), rows(2, 5))
    return export(Summary(), inputs, dynamic_shapes={"ids": shape, "mask": shape})


def pair() -> ExportedProgram:
    """The tuple model."""
    return export(Pair(), (rows(),), dynamic_shapes={"x": {0: BATCH}})


def saved(program: ExportedProgram, folder: Path) -> Path:
    """The program as a file, as a repository has it."""
    file = folder / "model.pt2"
    torch.export.save(program, file)
    return file


def code(folder: Path, text: str, files: Mapping[str, str] | None = None) -> Path:
    """A version folder with this `model.py` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"model.py": text, **(files or {})}.items():
        (folder / name).write_text(content)
    return folder
