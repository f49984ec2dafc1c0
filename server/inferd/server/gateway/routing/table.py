"""The models of this server, their versions, and where a name and a version lead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from inferd.core.link.messages import PublishModel, VersionState
from inferd.server.gateway.scheduling.deployment import Deployment
from inferd.server.gateway.scheduling.deployment_info import RESTART_HINT
from inferd.wire.errors import InvalidRequest, ModelNotFound, ModelNotReady, VersionNotFound
from inferd.wire.suggestion import did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Version:
    """One version as published, and its deployment while it is routed to."""

    state: VersionState
    deployment: Deployment | None


class RoutingTable:
    """Replaced model by model; a lookup never sees half of a change.

    Reading needs no lock: every change builds new dictionaries and swaps them in.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[int, Version]] = {}
        self._routes: dict[tuple[str, str], Deployment] = {}

    def publish(self, message: PublishModel, deployments: Mapping[int, Deployment]) -> None:
        """Take over what the supervisor says of one model; no versions: the model is gone."""
        versions = {
            each.version: Version(
                each, None if each.deployment is None else deployments[each.deployment]
            )
            for each in message.versions
        }
        models = {**self._models, message.model: versions}
        if not versions:
            del models[message.model]
        routes = {key: to for key, to in self._routes.items() if key[0] != message.model}
        for number in sorted(versions):  # the highest, coming last, is the default
            deployment = versions[number].deployment
            if deployment is not None:
                routes[message.model, str(number)] = deployment
                routes[message.model, ""] = deployment
        self._models, self._routes = models, routes

    def resolve(self, model: str, version: str) -> Deployment:
        """The deployment for a request; an empty version means the highest one served.

        Raises `InvalidRequest`, `ModelNotFound`, `VersionNotFound` or `ModelNotReady`.
        """
        deployment = self._routes.get((model, version))
        if deployment is None:
            return self._explain(model, version)
        return deployment

    def models(self) -> Mapping[str, Mapping[int, Version]]:
        """Every model and version, as published."""
        return self._models

    def is_ready(self, model: str, version: str = "") -> bool:
        """Whether a request sent now would be executed; False for what is not known.

        Raises `InvalidRequest` for a version that is no number.
        """
        try:
            return self.resolve(model, version).ready
        except (ModelNotFound, VersionNotFound, ModelNotReady):
            return False

    def _explain(self, model: str, version: str) -> Deployment:
        """A deployment under another spelling of the version, or why there is none."""
        check_name(model)
        versions = self._models.get(model)
        if versions is None:
            raise ModelNotFound(
                f"Request for unknown model: '{model}' is not found{did_you_mean(model, self._models)}",
                metadata={"model": model},
            )
        if not version:
            raise self._not_ready(model, versions)
        if not _VERSION.fullmatch(version) or int(version) == 0:
            raise InvalidRequest(
                f"model_version is '{version[:64]}', expected an integral value > 0, or none "
                "for the latest",
                field="model_version",
            )
        found = versions.get(int(version))
        if found is None:
            known = ", ".join(str(each) for each in sorted(versions))
            raise VersionNotFound(
                f"Request for unknown model: '{model}' version {int(version)} is not found; "
                f"it has {known or 'no versions'}",
                metadata={"model": model, "version": version},
            )
        if found.deployment is None:
            raise self._not_ready(model, {int(version): found})
        return found.deployment

    @staticmethod
    def _not_ready(model: str, versions: Mapping[int, Version]) -> ModelNotReady:
        number = max(versions, default=0)
        state = versions[number].state if versions else None
        loading = state is not None and state.state == "LOADING"
        reason = f": {state.reason}" if state is not None and state.reason else ""
        return ModelNotReady(
            f"'{model}' version {number} is not at ready state"
            f" ({state.state if state else 'UNAVAILABLE'}{reason})",
            retry_after=RESTART_HINT if loading else None,
            metadata={"model": model, "version": str(number)},
        )


def check_name(model: str) -> None:
    """Raise `InvalidRequest` for what cannot be the name of a model."""
    if not model:
        raise InvalidRequest("model_name is missing", field="model_name")
    if not _NAME.fullmatch(model):
        raise InvalidRequest(
            "model_name has characters that no model's name has; it takes up to 128 letters, "
            "digits, '.', '_' and '-'",
            field="model_name",
        )
