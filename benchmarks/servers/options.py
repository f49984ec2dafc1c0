"""What every server of this folder is told."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from inferd.core.process import die_with_parent


@dataclass(frozen=True, slots=True)
class Options:
    """`model` is a name of `workload_models`, or `echo` for none."""

    model: str
    max_batch: int
    port: int


def read_options(description: str | None) -> Options:
    """Read the command line, and see to it that this process ends with the one that started it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    die_with_parent(given.parent)
    return Options(given.model, given.max_batch, given.port)
