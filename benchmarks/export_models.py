"""Export the workloads' models as a repository that `inferd serve` can read: `.models/NAME/1/model.pt2`."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from workload_models import MODELS, build

REPOSITORY = Path(__file__).resolve().parent / ".models"

_ARTEFACT = Path("1") / "model.pt2"
_STAMP = "made-from"


def repository(names: Sequence[str] = tuple(MODELS)) -> Path:
    """The repository, with these models exported unless they are there and up to date."""
    REPOSITORY.mkdir(exist_ok=True)
    source = (
        Path(__file__).with_name("workload_models.py").read_bytes() + Path(__file__).read_bytes()
    )
    made_from = hashlib.sha256(source + torch.__version__.encode()).hexdigest()
    for name in names:
        folder = REPOSITORY / name
        stamp = folder / _STAMP
        if stamp.exists() and stamp.read_text() == made_from:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        (folder / _ARTEFACT).parent.mkdir(parents=True)
        torch.export.save(export(name), folder / _ARTEFACT)
        stamp.write_text(made_from)
    return REPOSITORY


def export(name: str) -> torch.export.ExportedProgram:
    """The model as a program with a dynamic first dimension, from one row to its largest batch.

    A model whose largest batch is one row is exported for exactly that.
    """
    model = MODELS[name]
    rows = 1 if model.max_batch == 1 else 2  # torch.export takes a size of one for a constant
    shapes = None
    if model.max_batch > 1:
        shapes = {"input": {0: torch.export.Dim("batch", min=1, max=model.max_batch)}}
    with torch.no_grad():
        return torch.export.export(
            build(name), (torch.zeros(rows, *model.row),), dynamic_shapes=shapes
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Export what is not there and tell where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}")
    names = parser.parse_args(arguments).names or list(MODELS)
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; known are {', '.join(MODELS)}")
    print(repository(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
