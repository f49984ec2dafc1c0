"""From a model source to something that runs."""

from __future__ import annotations

import torch

from inferd.core.link.messages import ModelSource
from inferd.worker.loader.code import load_code
from inferd.worker.loader.loaded import LoadedModel


def load_model(source: ModelSource, device: torch.device) -> LoadedModel:
    """Load the model on the device. Raises `LoadFailed` with a line for the operator."""
    if source.kind == "exported":
        # A third of a second and sympy, which workers with own code do without.
        from inferd.worker.loader.exported import load_exported

        return load_exported(source, device)
    if source.kind == "code":
        return load_code(source, device)
    raise ValueError(f"model kind '{source.kind}' is not known; expected 'exported' or 'code'")
