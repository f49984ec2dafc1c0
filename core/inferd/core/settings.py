"""Settings of the server: options over INFERD_* variables over inferd.toml over defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from inferd.core.address import Address

ENV_PREFIX = "INFERD_"
FILE_NAME = "inferd.toml"

# What Kubernetes puts into every pod of a namespace that has a service called `inferd`.
_SERVICE_LINK = re.compile(r"INFERD_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
_SIZE = re.compile(r"\s*(\d+)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)
_PLAIN = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "string_type": "expected text",
    "path_type": "expected text",
    "model_type": "expected a table",
    "dict_type": "expected a table",
    "bool_parsing": "expected true or false",
    "int_parsing": "expected a whole number",
    "float_parsing": "expected a number",
}
_BOUNDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
_UNITS = {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"": 1, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}

_OPTIONS = {"models": "the list of paths", "devices": "option --device"}
"""Options that are not called like their key."""

MOST_GATEWAYS = 64
"""More would only share out the same cores."""

_GRPC_LIMIT = (1 << 31) - 1
"""gRPC counts a message's bytes in 32 bits."""


class SettingsError(ValueError):
    """Settings that the server cannot start with; the message has one line per mistake."""


def _size(value: object) -> object:
    """Bytes from text such as `64MiB`; other things are left to pydantic."""
    if not isinstance(value, str):
        return value
    if (found := _SIZE.fullmatch(value)) is None:
        raise ValueError("expected a size such as 67108864, 64MiB or 64MB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _listed(value: object) -> object:
    """A list from comma-separated text, as variables carry it."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _versions(value: object) -> object:
    if value in ("latest", "all") or value is None:
        return value
    if isinstance(value, list | tuple) and value and all(type(v) is int and v > 0 for v in value):
        return tuple(value)
    raise ValueError('expected "latest", "all" or a list of version numbers such as [1, 3]')


def _gateways(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is int and 1 <= value <= MOST_GATEWAYS:
        return value
    raise ValueError(f"expected auto or a number of processes from 1 to {MOST_GATEWAYS}")


def _address(value: object) -> object:
    return value if isinstance(value, Address) else Address.parse(value)


def _address_or_off(value: object) -> object:
    return None if value == "off" else _address(value)


Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Versions = Literal["latest", "all"] | tuple[int, ...]
VersionsField = Annotated[Versions, BeforeValidator(_versions)]


class ModelOverride(BaseModel):
    """`[model.NAME]` in inferd.toml: the operator's word on one model, over its model.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trust: bool = False
    """Whether code that comes with this model may run."""
    devices: Names | None = None
    instances: Annotated[int, Field(ge=1, le=256)] | None = None
    """Workers per device."""
    threads: Annotated[int, Field(ge=1)] | None = None
    versions: VersionsField | None = None
    max_batch_size: Annotated[int, Field(ge=0)] | None = None
    max_queue_delay_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_queue_size: Annotated[int, Field(ge=1)] | None = None
    """Requests waiting in one gateway before it refuses new ones."""
    max_streams: Annotated[int, Field(ge=1, le=128)] | None = None
    """Generators of one gateway that a worker runs side by side."""


class Settings(BaseModel):
    """What `inferd serve` was told. Times in seconds, sizes in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Paths = ()
    """Model files, model folders and folders of models."""
    grpc: Annotated[Address, BeforeValidator(_address)] = Address("127.0.0.1", 8001)
    http: Annotated[Address | None, BeforeValidator(_address_or_off)] = Address("127.0.0.1", 8000)
    """Where it listens for HTTP; None, as text `off`: nowhere."""
    gateways: Annotated[int | Literal["auto"], BeforeValidator(_gateways)] = 1
    """Processes that share the port; each has queues and links to workers of its own."""
    insecure: bool = False
    """Whether other machines may call without encryption and without showing who they are."""
    max_message_bytes: Annotated[Bytes, Field(le=_GRPC_LIMIT)] = 64 << 20
    max_request_time: Annotated[Seconds, Field(gt=0)] = 60.0
    """The longest that a request without a deadline of its own may take."""
    max_arena_bytes: Bytes = 1 << 30
    """The most memory that one gateway and one worker share."""
    repository_control: bool | None = None
    """Whether clients may load and unload models; None: on a loopback address only."""
    grace: Seconds = 30.0
    """How long requests in flight may take to finish once the server is told to stop."""
    load_timeout: Annotated[Seconds, Field(gt=0)] = 300.0
    parallel_loads: Annotated[int, Field(ge=1)] = 2
    """How many workers load a model at the same time while the server starts."""
    door: Literal["auto", "completion_queue", "grpc_aio"] = "auto"
    """What carries gRPC; auto: grpcio's completion queue where it is as expected, else grpc.aio."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    devices: Names = ("auto",)
    """Where models run whose own settings do not say."""
    ready_file: Path | None = None
    trust: Names = ()
    """Models whose own code may run."""
    model: dict[str, ModelOverride] = Field(default_factory=dict)

    @field_validator("devices")
    @classmethod
    def _some_device(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        if devices:
            return devices
        raise ValueError("expected at least one device, such as auto, cpu or cuda:0")

    @property
    def may_control_repository(self) -> bool:
        """Whether clients may load and unload models."""
        if self.repository_control is None:
            return self.grpc.is_loopback and (self.http is None or self.http.is_loopback)
        return self.repository_control

    def override(self, model: str) -> ModelOverride:
        """The operator's word on `model`, `trust` lists included."""
        found = self.model.get(model, ModelOverride())
        return found.model_copy(update={"trust": True}) if model in self.trust else found


def read(
    options: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings from the options given, the environment and the file, in this order.

    Options that are None were not given. Without `config`, ./inferd.toml is read if it is there.
    Paths in the file are relative to its folder. Raises `SettingsError`.
    """
    found = _in_file(config)
    found |= _in_environment(os.environ if environment is None else environment)
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
    for key, address in (("grpc", settings.grpc), ("http", settings.http)):
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


def expectation(message: str, kind: str) -> str:
    """What pydantic expected, given its message and kind of error, in a person's words."""
    text = message.removeprefix("Value error, ").replace("Input should be", "expected", 1)
    for theirs, ours in _BOUNDS.items():
        text = text.replace(theirs, ours)
    return _PLAIN.get(kind, text)


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
