"""Medical: tells malignant from benign tumours by 30 measurements of their cell nuclei.

Data: the Breast Cancer Wisconsin (Diagnostic) set, 569 patients, as it ships in scikit-learn. An example,
not a medical device.
Served as: `features` FP32 [batch, 30], in the dataset's own units and order (the standardisation is inside
the model) -> `output` FP32 [batch, 2], the probabilities of malignant and benign.

Run by `python models/build.py breast-cancer`.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

from artefact import OUTPUT, Array, Outputs, TrainedModel

SEED = 7
STEPS = 300


class BreastCancer(nn.Module):
    """A small network on standardised features; mean and scale are buffers and travel with it."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.layers = nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 2))

    def standardise_by(self, rows: torch.Tensor) -> None:
        """Take mean and scale from these rows; only ever those trained on."""
        self.mean = rows.mean(dim=0)
        self.scale = rows.std(dim=0)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Unnormalised scores, [batch, 2]; what the loss is computed on."""
        scores: torch.Tensor = self.layers((features - self.mean) / self.scale)
        return scores

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities of malignant and benign, [batch, 2]."""
        return torch.softmax(self.logits(features), dim=-1)


def train() -> TrainedModel:
    """Train on three quarters of the patients and hold out one quarter, both classes in both alike."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    data = load_breast_cancer()
    seen, held_out, seen_labels, held_out_labels = train_test_split(
        data.data.astype(np.float32),
        data.target.astype(np.int64),
        test_size=0.25,
        random_state=SEED,
        stratify=data.target,
    )
    model = BreastCancer(seen.shape[1])
    _fit(model, torch.from_numpy(seen), torch.from_numpy(seen_labels))
    return TrainedModel(
        module=model.eval(),
        dataset="Breast Cancer Wisconsin, Diagnostic (sklearn.datasets.load_breast_cancer)",
        seed=SEED,
        rows_trained=len(seen),
        training_seconds=time.perf_counter() - started,
        holdout={"features": held_out},
        expected=held_out_labels,
        metric="accuracy",
        score=score,
        labels=tuple(str(name) for name in data.target_names),
        notes={"features": [str(name) for name in data.feature_names]},
    )


def _fit(model: BreastCancer, rows: torch.Tensor, labels: torch.Tensor) -> None:
    model.standardise_by(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-1)
    for _ in range(STEPS):  # all rows at once: there are few of them
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.logits(rows), labels).backward()
        optimizer.step()


def score(outputs: Outputs, expected: Array) -> float:
    """The share of tumours told right."""
    return float(np.mean(outputs[OUTPUT].argmax(dim=-1).numpy() == expected))
