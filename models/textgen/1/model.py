"""Continues a text, character by character, on ModelStreamInfer.

Request parameters: `length` in characters (200; at most 2000), `temperature` (0.7; 0 takes the likeliest
character each time) and `seed` (another text each time without it).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np
import torch
from torch import nn

from inferd.worker.model import Array, Model

ALPHABET = "\n" + "".join(chr(code) for code in range(ord(" "), ord("~") + 1))
"""The characters known; others are taken for spaces."""

MOST = 2000
_START = "\n"


class Network(nn.Module):
    """Characters in, scores of what follows each of them out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), 32)
        self.memory = nn.GRU(32, 192, batch_first=True)
        self.scores = nn.Linear(192, len(ALPHABET))

    def forward(
        self, characters: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [batch, length, alphabet] for characters [batch, length], and the state after."""
        seen, state = self.memory(self.embedding(characters), state)
        return self.scores(seen), state


def encode(text: str) -> torch.Tensor:
    """The places of the text's characters in the alphabet, [length]."""
    known = {character: place for place, character in enumerate(ALPHABET)}
    return torch.tensor([known.get(character, known[" "]) for character in text])


class TextGen(Model):
    """Many texts side by side: what belongs to one lives in its generator."""

    def load(self, device: torch.device) -> None:
        """Take the trained weights."""
        self.network = Network().to(device).eval()
        self.network.load_state_dict(self.weights())

    def predict(
        self, prompt: Array, *, parameters: Mapping[str, object]
    ) -> Generator[Array, None, Array]:
        """One character at a time; the last one is returned, and so marked as the last."""
        length = int(max(1, min(MOST, _number(parameters, "length", 200))))
        temperature = max(0.0, _number(parameters, "temperature", 0.7))
        random = torch.Generator()
        if "seed" in parameters:
            random.manual_seed(int(_number(parameters, "seed", 0)))
        else:
            random.seed()
        seen = encode(_START + prompt[0].decode(errors="replace")).to(self.device)
        scores, state = self.network(seen[None])
        for _ in range(length - 1):
            place = _draw(scores[0, -1].cpu(), temperature, random)
            yield np.array([ALPHABET[place]], np.object_)
            scores, state = self.network(torch.tensor([[place]], device=self.device), state)
        return np.array([ALPHABET[_draw(scores[0, -1].cpu(), temperature, random)]], np.object_)


def _draw(scores: torch.Tensor, temperature: float, random: torch.Generator) -> int:
    if temperature < 0.01:
        return int(scores.argmax())
    chances = torch.softmax(scores.float() / temperature, dim=-1)
    return int(torch.multinomial(chances, 1, generator=random))


def _number(parameters: Mapping[str, object], name: str, otherwise: float) -> float:
    """A parameter that is a number, else its default."""
    value = parameters.get(name, otherwise)
    return value if isinstance(value, int | float) else otherwise
