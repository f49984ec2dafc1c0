"""`inferd stubs`: write a client to begin with, in another language or typed for a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Literal

from cyclopts import Parameter

from inferd.client import Client, InferenceError, connect
from inferd.client.inputs import UsageError
from inferd.server.cli.output import FAILED, MISUSED, complain, show, write_files
from inferd.stubs.python_module import module_name, python_module
from inferd.stubs.sample import sample_files

Language = Literal["node", "go", "java", "cpp", "python"]


def stubs(
    model: str | None = None,
    /,
    *,
    lang: Language,
    output: Path | None = None,
    address: str = "127.0.0.1:8001",
    timeout: float = 30.0,
    force: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> int:
    """Write a client to begin with: a sample in another language, or a typed Python module.

    For example

    - inferd stubs --lang node --output client
    - inferd stubs --lang python digits
    - inferd stubs --lang python --output typed --address localhost:8001

    For node, go, java and cpp: the .proto files, a sample that asks any server for health, metadata
    and one inference, and how to build it (README.md). For python: a module per model with its
    inputs and outputs as typed arguments and fields, from the metadata that a running server tells.

    Args:
        model: Name of the model, for python; without it, every model that the server has ready.
        lang: The language.
        output: Folder to write to; without it, inferd-LANG here, and for python this folder.
        address: HOST:PORT of the server, for python.
        timeout: Seconds to wait for the server.
        force: Replace files that are there and differ.
    """
    try:
        if lang == "python":
            files = _modules(address, model, timeout)
        elif model is not None:
            raise UsageError(
                f"'{model}': the sample for {lang} takes the model when it runs; leave it out here"
            )
        else:
            files = sample_files(lang)
        folder = output or Path("." if lang == "python" else f"inferd-{lang}")
        written = write_files(folder, files, force=force)
    except InferenceError as error:
        return complain("stubs", error.message, FAILED)
    except OSError as error:
        return complain("stubs", f"{error.filename}: {error.strerror}", FAILED)
    except ValueError as error:  # a bad address or model, or a file in the way
        return complain("stubs", str(error), MISUSED)
    show(f"wrote {path}" for path in written)
    if lang != "python":
        show([f"how to build and run it: {folder / 'README.md'}"])
    return 0


def _modules(address: str, model: str | None, timeout: float) -> Mapping[PurePath, str]:
    """The module of the model, or of each one that is ready, by its file's name."""
    if not timeout > 0:
        raise UsageError(f"--timeout {timeout:g}: expected more than 0 seconds")
    files: dict[PurePath, str] = {}
    with connect(address, timeout=timeout) as client:
        for name in [model] if model is not None else _ready(client, address):
            file = PurePath(f"{module_name(name)}.py")
            if file in files:
                raise UsageError(f"two models would be written to {file}; name one of them")
            files[file] = python_module(client.model(name).metadata())
    return files


def _ready(client: Client, address: str) -> list[str]:
    names = sorted({each.name for each in client.models(ready=True)})
    if not names:
        raise UsageError(f"the server at {address} has no model that is ready")
    return names
