"""From a version found on disk to what a worker is told to load, once it may be loaded at all."""

from __future__ import annotations

from inferd.core.link.messages import ModelSource
from inferd.core.settings import ModelOverride
from inferd.server.supervisor.repository import preflight
from inferd.server.supervisor.repository.model_toml import Declaration
from inferd.server.supervisor.repository.scan import CODE, FoundModel, FoundVersion


class SourceRefused(ValueError):
    """The version may not or cannot be loaded; the message says why and what to do."""


def source_of(
    model: FoundModel, version: FoundVersion, declaration: Declaration, override: ModelOverride
) -> ModelSource:
    """What a worker is told to load. Reads the file, as the pre-flight does. Raises `SourceRefused`.

    `declaration` is the model's own under `override`.
    """
    if version.problem is not None:
        raise SourceRefused(version.problem)
    if version.kind == CODE and not override.trust:
        raise SourceRefused(
            f"{version.path.name}/model.py is code, which runs only if the operator trusts it: "
            + _how_to_trust(model.name)
        )
    if version.kind != CODE and not override.trust:
        try:
            preflight.check(version.path)
        except preflight.PreflightRefused as refused:
            raise SourceRefused(
                f"{refused}. Export it anew with torch.export.save, or, if you trust its author, "
                f"say so: {_how_to_trust(model.name)}"
            ) from None
        except OSError as error:
            raise SourceRefused(f"{version.path.name} cannot be read: {error.strerror}") from None
    if version.kind != CODE and declaration.sequences is not None:
        raise SourceRefused(
            "[sequences] in model.toml is for own code, which can keep state; an exported program "
            "cannot: remove it, or write a model.py"
        )
    return ModelSource(
        name=model.name,
        version=version.version,
        kind=version.kind,
        # Workers have the supervisor's working directory, but need not keep it.
        path=str(version.path.absolute()),
        inputs=declaration.inputs,
        outputs=declaration.outputs,
        max_batch_size=declaration.max_batch_size,
        sequences=declaration.sequences is not None,
    )


def _how_to_trust(model: str) -> str:
    return f"trust = true under [model.{model}] in inferd.toml, or inferd serve --trust {model}"
