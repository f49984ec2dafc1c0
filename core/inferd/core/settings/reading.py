"""Reading settings: options over INFERD_* variables over inferd.toml over defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inferd.core.settings import opentelemetry
from inferd.core.settings.fields import expectation
from inferd.core.settings.settings import ModelOverride, Settings

ENV_PREFIX = "INFERD_"
FILE_NAME = "inferd.toml"

# What Kubernetes puts into every pod of a namespace that has a service called `inferd`.
_SERVICE_LINK = re.compile(r"INFERD_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")

_OPTIONS = {"models": "the list of paths", "devices": "option --device"}
"""Options that are not called like their key."""


class SettingsError(ValueError):
    """Settings that the server cannot start with; the message has one line per mistake."""


def read(
    options: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings from the options given, the environment and the file, in this order.

    Options that are None were not given. Without `config`, ./inferd.toml is read if it is there.
    Paths in the file are relative to its folder. OTEL_* variables are for OpenTelemetry's SDK to
    read; those that it could not are told, too. Raises `SettingsError`.
    """
    environment = os.environ if environment is None else environment
    found = _in_file(config)
    found |= _in_environment(environment)
    for key, value in (options or {}).items():
        if value is not None:
            found[key] = (value, _OPTIONS.get(key, f"option --{key.replace('_', '-')}"))
    try:
        settings = Settings.model_validate({key: value for key, (value, _) in found.items()})
    except ValidationError as invalid:
        lines = [
            _line(error["loc"], error["msg"], error["input"], found, error["type"])
            for error in invalid.errors()
        ]
        raise SettingsError("\n".join(lines)) from None
    if lines := list(opentelemetry.mistakes(settings.tracing, environment)):
        raise SettingsError("\n".join(lines))
    for key, address in (("grpc", settings.grpc), ("http", settings.http), ("ops", settings.ops)):
        if address is not None and not address.is_loopback and not settings.insecure:
            raise SettingsError(
                f"{_origin(key, found)} is {address}, which other machines can reach, and this server "
                "neither encrypts nor asks callers who they are; expected a loopback address such as "
                f"{Settings.model_fields[key].default}, or --insecure (insecure = true) where the network is trusted"
            )
    return settings


Found = dict[str, tuple[object, str]]
"""Values by field name, each with where it was found."""


def _in_file(config: Path | None) -> Found:
    path = Path(FILE_NAME) if config is None else config
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config is None:
            return {}
        raise SettingsError(f"option --config names {config}, and there is no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from None
    for key in ("models", "ready_file"):
        if key in table:
            table[key] = _below(path.parent, table[key])
    return {key: (value, f"key {key} in {path}") for key, value in table.items()}


def _below(folder: Path, value: Any) -> Any:
    if isinstance(value, str):
        return str(folder / value)
    return [_below(folder, part) for part in value] if isinstance(value, list) else value


def _in_environment(environment: Mapping[str, str]) -> Found:
    known = {ENV_PREFIX + name.upper(): name for name in Settings.model_fields if name != "model"}
    found: Found = {}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(ENV_PREFIX) or _SERVICE_LINK.fullmatch(variable):
            continue
        if variable not in known:
            raise SettingsError(f"variable {variable} is not a setting{_nearest(variable, known)}")
        if value:
            found[known[variable]] = (value, f"variable {variable}")
    return found


def _line(where: Sequence[int | str], message: str, value: object, found: Found, kind: str) -> str:
    """One mistake: where it stands, what arrived, what was expected."""
    origin = _origin(str(where[0]), found)
    if len(where) > 1:
        origin += ", " + ".".join(str(part) for part in where[1:] if _is_key(part))
    if kind == "extra_forbidden":
        fields = ModelOverride.model_fields if where[0] == "model" else Settings.model_fields
        return f"{origin}: there is no such setting{_nearest(str(where[-1]), fields)}"
    return f"{origin} is {value!r}: {expectation(message, kind)}"


def _is_key(part: int | str) -> bool:
    # Pydantic adds the branch of a union to the path; it says nothing to a person.
    return isinstance(part, int) or re.fullmatch(r"[\w.-]+", part) is not None


def _origin(key: str, found: Found) -> str:
    return found[key][1] if key in found else f"the default of {key}"


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; expected one of: {', '.join(known)}"
