"""Train and export the example models that are absent."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parent
VERSION = "1"
ARTEFACTS = ("model.pt2", "weights.safetensors")
"""An exported program, or what the own code beside it loads."""

SCORES = ("accuracy", "auc")
EXAMPLES = """\
examples:
  python models/build.py                    build what is absent
  python models/build.py digits             this one, if it is absent
  python models/build.py --force recommend  train it again
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the models named (all by default) and print one line for each; 0 when all are there."""
    parser = argparse.ArgumentParser(
        prog="models/build.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = trainable(REPOSITORY)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(known)}")
    parser.add_argument("--force", action="store_true", help="build those that are present, too")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(
            f"no model to build is called '{unknown[0]}'; expected one of: {', '.join(known)}"
        )
    for name in options.names or known:
        print(build(REPOSITORY / name, force=options.force), flush=True)
    return 0


def trainable(repository: Path) -> list[str]:
    """The names of the models that have a training script, in alphabetical order."""
    return sorted(script.parent.name for script in repository.glob("*/train.py"))


def build(folder: Path, *, force: bool = False) -> str:
    """Train and write one model unless it is present; the line that tells what came of it."""
    version = folder / VERSION
    if any((version / each).exists() for each in ARTEFACTS) and not force:
        return f"{folder.name:<14} present             {_recorded_score(version)}"
    # Only now: a look at what is present must not cost the seconds that torch takes to import.
    import torch

    from artefact import TrainedWeights, write_version, write_weights

    started = time.perf_counter()
    # One thread: the models are small, the result is the same everywhere, and the machine stays usable.
    torch.set_num_threads(1)
    trained = training_script(folder).train()
    if isinstance(trained, TrainedWeights):
        write_weights(trained, version)
    else:
        write_version(trained, version)
    seconds = time.perf_counter() - started
    return f"{folder.name:<14} built in {seconds:6.1f} s   {_recorded_score(version)}"


def training_script(folder: Path) -> ModuleType:
    """The `train.py` of a model as a module of its own.

    Found by path: a model's name (breast-cancer) need not be one that Python can import.
    """
    spec = importlib.util.spec_from_file_location(f"train_{folder.name}", folder / "train.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder / 'train.py'} is not a Python file")
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look their module up here
    spec.loader.exec_module(script)
    return script


def _recorded_score(version: Path) -> str:
    facts = json.loads((version / "metrics.json").read_text())
    return ", ".join(f"{name} {facts[name]:.4f} held out" for name in SCORES if name in facts)


if __name__ == "__main__":
    sys.exit(main())
