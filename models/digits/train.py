"""Perception: a small convolutional network that reads handwritten digits.

Data: the UCI digits, 1797 images of 8 x 8 pixels from 0 to 16, as they ship in scikit-learn.
Served as: `image` FP32 [batch, 1, 8, 8], pixels as in the dataset (the scaling is inside the model)
-> `probabilities` FP32 [batch, 10] and `label` INT64 [batch].

Run by `python models/build.py digits`.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from artefact import Array, Outputs, TrainedModel

SEED = 7
EPOCHS = 20
BATCH = 32
BRIGHTEST = 16.0


class Digits(nn.Module):
    """Two convolutions and two linear layers; pixels in, probabilities and the likeliest digit out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, 10),
        )

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Unnormalised scores, [batch, 10]; what the loss is computed on."""
        scores: torch.Tensor = self.layers(image / BRIGHTEST)
        return scores

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Probabilities [batch, 10] and labels [batch] of images [batch, 1, 8, 8]."""
        probabilities = torch.softmax(self.logits(image), dim=-1)
        return {"probabilities": probabilities, "label": probabilities.argmax(dim=-1)}


def train() -> TrainedModel:
    """Train on four fifths of the digits and hold out one fifth, every digit in both alike."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype(np.float32)
    seen, held_out, seen_labels, held_out_labels = train_test_split(
        images, labels.astype(np.int64), test_size=0.2, random_state=SEED, stratify=labels
    )
    model = Digits()
    _fit(model, torch.from_numpy(seen), torch.from_numpy(seen_labels))
    return TrainedModel(
        module=model.eval(),
        dataset="UCI handwritten digits (sklearn.datasets.load_digits)",
        seed=SEED,
        rows_trained=len(seen),
        training_seconds=time.perf_counter() - started,
        holdout={"image": held_out},
        expected=held_out_labels,
        metric="accuracy",
        score=score,
        labels=tuple("0123456789"),
    )


def _fit(model: Digits, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.logits(images[rows]), labels[rows]).backward()
            optimizer.step()
        schedule.step()


def score(outputs: Outputs, expected: Array) -> float:
    """The share of digits read right."""
    return float(np.mean(outputs["label"].numpy() == expected))
