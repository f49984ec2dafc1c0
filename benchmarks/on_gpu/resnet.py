"""ResNet-50 as it is served on a GPU: bfloat16, channels last, from images as they come off the wire."""

from __future__ import annotations

import hashlib
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from export_models import REPOSITORY
from torch import nn

CLASSES = 1000
MAX_BATCH = 64
DATATYPES = {"uint8": ("UINT8", torch.uint8), "fp32": ("FP32", torch.float32)}
"""What images may come as: the name on the wire, and torch's."""

_SEED = 20_240_501
_CHANNELS = 3
_EXPANSION = 4
_MEAN, _DEVIATION = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
"""Of ImageNet's pictures, as numbers from 0 to 255."""


@dataclass(frozen=True, slots=True)
class Task:
    """A model to be measured: blocks in each of the four stages, pixels on a side, what images come as."""

    depth: tuple[int, ...] = (3, 4, 6, 3)
    image: int = 224
    input: str = "uint8"

    @property
    def name(self) -> str:
        """What the model is called."""
        layers = "-".join(map(str, self.depth))
        return f"resnet-{layers}-{self.image}-{self.input}"

    @property
    def row(self) -> tuple[int, int, int]:
        """The shape of one image."""
        return (_CHANNELS, self.image, self.image)

    def values(self, rows: int) -> bytes:
        """The raw bytes of so many random images: the same in every run."""
        pixels = np.random.default_rng(_SEED).integers(
            0, 256, rows * math.prod(self.row), dtype=np.uint8
        )
        return (pixels if self.input == "uint8" else pixels.astype("<f4")).tobytes()


class Bottleneck(nn.Module):
    """A narrow 3x3 convolution between two of 1x1, beside a shortcut."""

    def __init__(self, channels: int, narrow: int, stride: int) -> None:
        super().__init__()
        wide = narrow * _EXPANSION
        self.body = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, narrow, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != wide:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[batch, channels, height, width] -> [batch, 4 narrow, height / stride, width / stride]."""
        return torch.relu_(self.body(image) + self.shortcut(image))


class ResNet(nn.Module):
    """Bottleneck blocks in four stages; (3, 4, 6, 3) of them make ResNet-50, with 25.6 million weights."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, depth: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(_CHANNELS, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(_CHANNELS, 1, 1))
        channels, narrow = 64, 64
        blocks: list[nn.Module] = []
        for stage, count in enumerate(depth):
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(Bottleneck(channels, narrow, stride))
                channels = narrow * _EXPANSION
            narrow *= 2
        self.layers = nn.Sequential(
            nn.Conv2d(_CHANNELS, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, CLASSES),
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as on the wire
        """[batch, 3, side, side], from 0 to 255 -> [batch, 1000], float32."""
        # Laid out anew while a number still has one byte, where it comes as such.
        image = input.contiguous(memory_format=torch.channels_last).to(self.mean.dtype)
        answer: torch.Tensor = self.layers((image - self.mean) / self.deviation)
        return answer.float()


def build(task: Task) -> nn.Module:
    """The model, ready to answer, on the CPU: the same weights in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        module = ResNet(task.depth)
        for each in module.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(each, Bottleneck):
                # As if it were trained: what blocks add must not double the numbers with each of them.
                last = each.body[-1]
                assert isinstance(last, nn.BatchNorm2d)
                nn.init.constant_(last.weight, 0.25)
    laid_out: nn.Module = module.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out.eval().requires_grad_(False)  # noqa: FBT003 - torch's own signature


def exported(task: Task) -> Path:
    """A folder that `inferd serve` takes, with the program in it; made unless it is up to date."""
    folder = REPOSITORY / task.name
    artefact, stamp = folder / "1" / "model.pt2", folder / "made-from"
    made_from = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != made_from:
        shutil.rmtree(folder, ignore_errors=True)
        artefact.parent.mkdir(parents=True)
        with warnings.catch_warnings():
            # torch finds no tensor whole that is laid out channels last, and saves it all the same.
            warnings.filterwarnings("ignore", "No complete tensor found")
            torch.export.save(_export(task), artefact)
        stamp.write_text(made_from)
    return folder


def _export(task: Task) -> torch.export.ExportedProgram:
    _, dtype = DATATYPES[task.input]
    shapes = {"input": {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}}
    with torch.no_grad():
        return torch.export.export(
            build(task), (torch.zeros(2, *task.row, dtype=dtype),), dynamic_shapes=shapes
        )
