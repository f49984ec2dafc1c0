"""Text: a small recurrent network that writes on in the style of the Python documentation.

Data: the language reference as `help()` shows it, which ships with Python (`pydoc_data.topics`).
Served as: `prompt` BYTES [1] -> `text` BYTES [1], one character after another on one stream.

Run by `python models/build.py textgen`.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics
from types import ModuleType

import torch
from torch.nn.functional import cross_entropy

from artefact import TrainedWeights

SEED = 7
STEPS = 240
BATCH = 32
LENGTH = 64
HELD_OUT = 20_000
"""Characters at the end of the text that are not trained on."""


def train() -> TrainedWeights:
    """Train on random pieces of the text; the score is of the part held out."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    code = _model_code()
    text: torch.Tensor = code.encode("\n".join(topics[name] for name in sorted(topics)))
    known, held_out = text[:-HELD_OUT], text[-HELD_OUT:]
    network = code.Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=8e-3, total_steps=STEPS)
    for _ in range(STEPS):
        starts = torch.randint(len(known) - LENGTH - 1, (BATCH, 1))
        pieces = known[starts + torch.arange(LENGTH + 1)]
        scores, _ = network(pieces[:, :-1])
        loss = cross_entropy(scores.flatten(0, 1), pieces[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return TrainedWeights(
        tensors=network.state_dict(),
        dataset="the language reference in pydoc_data.topics",
        seed=SEED,
        rows_trained=len(known),
        training_seconds=time.perf_counter() - started,
        accuracy=_accuracy(network, held_out),
        rows_held_out=len(held_out),
        notes={"rows": "characters", "accuracy_of": "the next character, guessed"},
    )


def _accuracy(network: torch.nn.Module, text: torch.Tensor) -> float:
    """How often the likeliest next character is the right one."""
    with torch.inference_mode():
        scores, _ = network.eval()(text[None, :-1])
    return float((scores[0].argmax(dim=-1) == text[1:]).float().mean())


def _model_code() -> ModuleType:
    """The served `model.py`, which has the network: one definition for both."""
    file = Path(__file__).parent / "1" / "model.py"
    spec = importlib.util.spec_from_file_location("textgen_model", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
