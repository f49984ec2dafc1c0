"""Every model and version and what state it is in, as clients get to see it."""

from __future__ import annotations

from collections.abc import Iterator

from inferd.core.link.messages import PublishModel, VersionState


class Catalogue:
    """States go in, messages to publish come out: None where nothing changed."""

    def __init__(self) -> None:
        self._models: dict[str, dict[int, VersionState]] = {}

    def set(self, model: str, *states: VersionState) -> PublishModel | None:
        """These versions of the model are now in these states; other versions stay as they are."""
        versions = self._models.setdefault(model, {})
        changed = [state for state in states if versions.get(state.version) != state]
        versions.update((state.version, state) for state in changed)
        return self._published(model) if changed else None

    def replace(self, model: str, *states: VersionState) -> PublishModel | None:
        """The model has these versions now, and no others."""
        versions = {state.version: state for state in states}
        if self._models.get(model) == versions:
            return None
        self._models[model] = versions
        return self._published(model)

    def get(self, model: str, version: int) -> VersionState | None:
        """What is known of one version."""
        return self._models.get(model, {}).get(version)

    def versions(self, model: str) -> tuple[VersionState, ...]:
        """What is known of the versions of one model, in ascending order."""
        known = self._models.get(model, {})
        return tuple(known[version] for version in sorted(known))

    def models(self) -> tuple[str, ...]:
        """The names of all models, in alphabetical order."""
        return tuple(sorted(self._models))

    def everything(self) -> Iterator[PublishModel]:
        """What a gateway that knows nothing has to be told."""
        for model in self.models():
            yield self._published(model)

    def _published(self, model: str) -> PublishModel:
        return PublishModel(model, self.versions(model))
