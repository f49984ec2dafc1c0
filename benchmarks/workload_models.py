"""The models that every contender serves, with the same seeded weights. Needs torch and nothing else.

Each takes `input`, float32 with the rows in its first dimension, and returns one float32 tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

SEED = 20_240_501
IDENTITY_FLOATS = 4 << 20
"""16 MiB of float32."""


@dataclass(frozen=True, slots=True)
class WorkloadModel:
    """A model: the shape of one row without the batch axis, the answer's, and the largest batch."""

    name: str
    row: tuple[int, ...]
    answer_row: tuple[int, ...]
    max_batch: int
    make: Callable[[], nn.Module]


class Linear(nn.Module):
    """16 floats in, 16 out: the model costs next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - named as on the wire
        """[batch, 16] -> [batch, 16]."""
        answer: torch.Tensor = self.layer(input)
        return answer


class Mlp(nn.Module):
    """Three linear layers with ReLU between: a row costs far less in a batch than alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - see Linear
        """[batch, 256] -> [batch, 10]."""
        answer: torch.Tensor = self.layers(input)
        return answer


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, as in ResNet-18."""

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
            nn.Conv2d(wider, wider, 3, padding=1, bias=False),
            nn.BatchNorm2d(wider),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != wider:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, wider, 1, stride=stride, bias=False), nn.BatchNorm2d(wider)
            )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[batch, channels, height, width] -> [batch, wider, height / stride, width / stride]."""
        return torch.relu(self.body(image) + self.shortcut(image))


class Cnn(nn.Module):
    """ResNet-18: 11.7 million weights, 1.8 billion multiplications a row."""

    def __init__(self) -> None:
        super().__init__()
        stages = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        stages += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            *(Block(*each) for each in stages),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, 1000),
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - see Linear
        """[batch, 3, 224, 224] -> [batch, 1000]."""
        answer: torch.Tensor = self.layers(input)
        return answer


class Identity(nn.Module):
    """A copy of its input: nothing but carrying."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - see Linear
        """[batch, floats] -> the same."""
        return input.clone()


MODELS = {
    each.name: each
    for each in (
        WorkloadModel("linear", (16,), (16,), 64, Linear),
        WorkloadModel("mlp", (256,), (10,), 32, Mlp),
        WorkloadModel("cnn", (3, 224, 224), (1000,), 8, Cnn),
        WorkloadModel("identity", (IDENTITY_FLOATS,), (IDENTITY_FLOATS,), 1, Identity),
    )
}


def build(name: str) -> nn.Module:
    """The model of that name, ready to answer: float32, on the CPU, in evaluation mode.

    The weights are the same in every process and on every call. Raises `KeyError`.
    """
    model = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = model.make()
    return module.eval().requires_grad_(False)  # noqa: FBT003 - torch's own signature
