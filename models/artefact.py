"""A trained example model, and how it becomes a version folder that inferd serves."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

Array = npt.NDArray[np.generic]
Outputs = Mapping[str, torch.Tensor]

MAX_BATCH = 64
WEIGHTS = "weights.safetensors"
SAMPLE_ROWS = 4
OUTPUT = (
    "output"  # the name under which inferd serves the output of a model that returns no dictionary
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """What a training script hands over: the module, and the facts that are written beside it.

    Every array in `holdout`, and `expected`, has its rows in the first dimension; the module's
    parameters are called like the keys of `holdout`, in the same order.
    """

    module: torch.nn.Module
    dataset: str
    seed: int
    rows_trained: int
    training_seconds: float
    holdout: Mapping[str, Array]
    expected: Array
    metric: str
    score: Callable[[Outputs, Array], float]
    labels: tuple[str, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWeights:
    """What the training script of a model in own code hands over: what its `model.py` is to load.

    `rows_trained` and `rows_held_out` count what `accuracy` is the share of.
    """

    tensors: Mapping[str, torch.Tensor]
    dataset: str
    seed: int
    rows_trained: int
    training_seconds: float
    accuracy: float
    rows_held_out: int
    notes: Mapping[str, object] = field(default_factory=dict)


def write_weights(weights: TrainedWeights, folder: Path) -> None:
    """Write the weights beside the `model.py` in `folder`; they are there whole or not at all."""
    facts = {
        "dataset": weights.dataset,
        "accuracy": round(weights.accuracy, 6),
        "rows_trained": weights.rows_trained,
        "rows_held_out": weights.rows_held_out,
        "seed": weights.seed,
        "training_seconds": round(weights.training_seconds, 3),
        "torch": torch.__version__,
        **weights.notes,
    }
    (folder / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")
    building = folder / ".weights.building"
    save_file({name: each.contiguous() for name, each in weights.tensors.items()}, building)
    building.rename(folder / WEIGHTS)


def export(module: torch.nn.Module, examples: Mapping[str, Array]) -> torch.export.ExportedProgram:
    """The module as a program whose first dimension is dynamic, from 1 to `MAX_BATCH` rows.

    `examples` holds at least two rows per input: torch.export takes a size of one for a constant.
    """
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    inputs = {name: torch.from_numpy(array[:2]) for name, array in examples.items()}
    with torch.no_grad():
        return torch.export.export(
            module.eval(),
            tuple(inputs.values()),
            dynamic_shapes={name: {0: batch} for name in inputs},
        )


def answer(module: torch.nn.Module, inputs: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """The module's outputs by name for any number of rows, `MAX_BATCH` at a time."""
    rows = len(next(iter(inputs.values())))
    parts: list[dict[str, torch.Tensor]] = []
    with torch.inference_mode():
        for start in range(0, rows, MAX_BATCH):
            chunk = [torch.from_numpy(a[start : start + MAX_BATCH]) for a in inputs.values()]
            result = module(*chunk)
            parts.append(dict(result) if isinstance(result, Mapping) else {OUTPUT: result})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def write_version(model: TrainedModel, folder: Path) -> float:
    """Write the model as the version folder `folder` and return its measured held-out score.

    The score is that of the saved file, loaded back. The folder appears complete or not at all,
    and replaces one that is there.

    Raises:
        RuntimeError: the saved program answers differently from the trained module.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the last step is a rename; no version starts with a dot.
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as name:
        building = Path(name) / folder.name
        building.mkdir()
        torch.export.save(export(model.module, model.holdout), building / "model.pt2")
        saved = torch.export.load(building / "model.pt2").module()
        _check_same(model.module, saved, model.holdout)
        score = model.score(answer(saved, model.holdout), model.expected)
        _write_facts(model, score, building)
        if folder.exists():
            shutil.rmtree(folder)
        building.rename(folder)
    return score


def _check_same(
    trained: torch.nn.Module, saved: torch.nn.Module, inputs: Mapping[str, Array]
) -> None:
    rows = len(next(iter(inputs.values())))
    for size in sorted({1, 3, MAX_BATCH, rows}):
        some = {name: array[:size] for name, array in inputs.items()}
        ours, theirs = answer(trained, some), answer(saved, some)
        for name in ours:
            if not torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5):
                raise RuntimeError(
                    f"output '{name}' of the exported program differs from the trained module's "
                    f"for {size} rows; this pair of model and torch {torch.__version__} cannot be "
                    f"exported faithfully"
                )


def _write_facts(model: TrainedModel, score: float, folder: Path) -> None:
    sample = {name: array[:SAMPLE_ROWS].tolist() for name, array in model.holdout.items()}
    (folder / "sample.json").write_text(json.dumps(sample) + "\n")
    np.savez(folder / "holdout.npz", allow_pickle=False, expected=model.expected, **model.holdout)
    if model.labels:
        (folder / "labels.txt").write_text("\n".join(model.labels) + "\n")
    facts = {
        "dataset": model.dataset,
        model.metric: round(score, 6),
        "rows_trained": model.rows_trained,
        "rows_held_out": len(model.expected),
        "seed": model.seed,
        "training_seconds": round(model.training_seconds, 3),
        "torch": torch.__version__,
        **model.notes,
    }
    (folder / "metrics.json").write_text(json.dumps(facts, indent=2) + "\n")
