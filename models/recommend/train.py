"""E-commerce: scores items for users from their clicks, by two towers of embeddings.

Data: SYNTHETIC. No package ships click logs, so 400 users and 300 items get hidden tastes drawn from a
seed, and every shown pair is clicked with the probability that the tastes imply. The model sees
the clicks only.
Served as: `user` INT64 [batch] and `item` INT64 [batch] -> `score` FP32 [batch], the probability of a click,
and `user_embedding` FP32 [batch, 16].
An id that was not trained on (negative, or too large) gets the mean embedding of all users or items: an
unknown user is shown what is popular.

Run by `python models/build.py recommend`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from artefact import Array, Outputs, TrainedModel

SEED = 7
USERS = 400
ITEMS = 300
SHOWN = 60_000
HELD_OUT = 6_000
TASTES = 6
EMBEDDING = 16
EPOCHS = 12
BATCH = 512


class Tower(nn.Module):
    """Embedding and popularity of each id, with one row more for the ids it does not know."""

    def __init__(self, ids: int) -> None:
        super().__init__()
        self.unknown = ids
        self.embedding = nn.Embedding(ids + 1, EMBEDDING)
        self.popularity = nn.Embedding(ids + 1, 1)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.zeros_(self.popularity.weight)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [batch, EMBEDDING] and popularities [batch] of the ids [batch]."""
        known = (ids >= 0) & (ids < self.unknown)
        rows = torch.where(known, ids, self.unknown)
        return self.embedding(rows), self.popularity(rows).squeeze(-1)

    @torch.no_grad()
    def settle_unknown(self) -> None:
        """Give the unknown row the mean of all others; training never touches it."""
        for table in (self.embedding, self.popularity):
            table.weight[self.unknown] = table.weight[: self.unknown].mean(dim=0)


class Recommend(nn.Module):
    """The probability that a user clicks an item, and the user's embedding for a nearest-item search."""

    def __init__(self) -> None:
        super().__init__()
        self.users = Tower(USERS)
        self.items = Tower(ITEMS)

    def logits(self, user: torch.Tensor, item: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unnormalised scores [batch], and the users' embeddings [batch, EMBEDDING]."""
        taste, activity = self.users(user)
        traits, popularity = self.items(item)
        return (taste * traits).sum(dim=-1) + activity + popularity, taste

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores [batch] and user embeddings [batch, EMBEDDING] of pairs of ids [batch]."""
        logits, taste = self.logits(user, item)
        return {"score": torch.sigmoid(logits), "user_embedding": taste}


@dataclass(frozen=True, slots=True)
class Clicks:
    """Pairs that were shown, whether they were clicked, and the probability behind it."""

    user: Array
    item: Array
    clicked: Array
    probability: Array

    @classmethod
    def drawn(cls, seed: int) -> Clicks:
        """`SHOWN` pairs, the same ones for the same seed."""
        random = np.random.default_rng(seed)
        tastes, traits = random.normal(size=(USERS, TASTES)), random.normal(size=(ITEMS, TASTES))
        popularity = random.normal(size=ITEMS) - 1.0
        user = random.integers(USERS, size=SHOWN, dtype=np.int64)
        item = random.integers(ITEMS, size=SHOWN, dtype=np.int64)
        logits = (tastes[user] * traits[item]).sum(axis=1) + popularity[item]
        probability = 1.0 / (1.0 + np.exp(-logits))
        clicked = (random.random(SHOWN) < probability).astype(np.int64)
        return cls(user, item, clicked, probability)

    def part(self, rows: slice) -> Clicks:
        """These rows only."""
        return Clicks(self.user[rows], self.item[rows], self.clicked[rows], self.probability[rows])


def train() -> TrainedModel:
    """Train on nine tenths of the synthetic clicks and hold out one tenth."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    clicks = Clicks.drawn(SEED)
    held_out, seen = clicks.part(slice(HELD_OUT)), clicks.part(slice(HELD_OUT, None))
    model = Recommend()
    _fit(model, seen)
    return TrainedModel(
        module=model.eval(),
        dataset=f"synthetic clicks of {USERS} users on {ITEMS} items, drawn from hidden tastes",
        seed=SEED,
        rows_trained=len(seen.user),
        training_seconds=time.perf_counter() - started,
        holdout={"user": held_out.user, "item": held_out.item},
        expected=held_out.clicked,
        metric="auc",
        score=score,
        notes={
            "synthetic": True,
            # Clicks are drawn by chance: even who knows all tastes cannot rank them perfectly.
            "auc_of_the_hidden_tastes": round(_rank(held_out.probability, held_out.clicked), 6),
            "users": USERS,
            "items": ITEMS,
        },
    )


def _fit(model: Recommend, clicks: Clicks) -> None:
    user, item = torch.from_numpy(clicks.user), torch.from_numpy(clicks.item)
    clicked = torch.from_numpy(clicks.clicked).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(user)).split(BATCH):
            optimizer.zero_grad()
            logits, _taste = model.logits(user[rows], item[rows])
            nn.functional.binary_cross_entropy_with_logits(logits, clicked[rows]).backward()
            optimizer.step()
    model.users.settle_unknown()
    model.items.settle_unknown()


def score(outputs: Outputs, expected: Array) -> float:
    """The chance that a clicked pair scores above one that was not clicked."""
    return _rank(outputs["score"].numpy(), expected)


def _rank(scores: Array, clicked: Array) -> float:
    return float(roc_auc_score(clicked, scores))
