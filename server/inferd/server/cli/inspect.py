"""`inferd inspect`: what a model file, a folder of models or a running server is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from inferd.client import InferenceError, ModelStatistics
from inferd.server.cli.models.loading import Examined, examine
from inferd.server.cli.models.remote import ServerReport, ask_server
from inferd.server.cli.output import FAILED, MISUSED, complain, show, show_json
from inferd.server.cli.tables import signature_lines
from inferd.server.supervisor.repository.scan import CODE, EXPORTED, Scan, ScanError, scan
from inferd.wire.signature import Signature, TensorSpec

_SERVER = re.compile(r"(?P<address>(?:grpc://)?[^/]+:\d+)(?:/(?P<model>[^/]+))?/?")


def inspect(
    target: str,
    /,
    *,
    trust: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    timeout: float = 120.0,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> int:
    """Show what a model file, a folder or a running server is: versions, signatures, states.

    For example

    - inferd inspect model.pt2
    - inferd inspect models
    - inferd inspect models/echo --trust
    - inferd inspect localhost:8001
    - inferd inspect localhost:8001/digits

    Args:
        target: A .pt2 file, a model's folder, a folder of models, or HOST:PORT or HOST:PORT/MODEL
            of a running server.
        trust: Run the code that models on disk bring along (model.py, refused .pt2 files) to load
            them.
        timeout: Seconds to wait for a model to load, or for the server to answer.
        json: Print one line of JSON.
    """
    path, server = Path(target), _SERVER.fullmatch(target)
    if not path.exists() and server is None:
        message = f"{target} is neither a file nor a folder here, nor HOST:PORT of a server"
        return complain("inspect", message, MISUSED)
    if not timeout > 0:
        message = f"--timeout {timeout:g}: expected more than 0 seconds"
        return complain("inspect", message, MISUSED)
    try:
        if path.exists():
            return _inspect_path(path, trust=trust, timeout=timeout, as_json=json)
        assert server is not None
        report = ask_server(server["address"], server["model"], timeout)
    except (InferenceError, ScanError, OSError) as error:
        return complain("inspect", str(error), FAILED)
    except ValueError as error:  # no address
        return complain("inspect", str(error), MISUSED)
    if json:
        show_json(_server_document(report))
    else:
        show(_server_lines(report))
    return 0


def _inspect_path(path: Path, *, trust: bool, timeout: float, as_json: bool) -> int:
    found = scan([path])
    examined = asyncio.run(examine(found.models, trust=trust, limit=timeout))
    if not trust and any(each.found.kind == CODE for each in examined):
        found = replace(found, notes=(*found.notes, "own code is loaded here only with --trust"))
    if as_json:
        show_json(_disk_document(found, examined))
    else:
        show(_disk_lines(found, examined))
    broken = any(each.problem for each in examined) or any(each.problem for each in found.models)
    return FAILED if broken else 0


def _disk_lines(found: Scan, examined: Sequence[Examined]) -> Iterator[str]:
    for at, model in enumerate(found.models):
        if at:
            yield ""
        yield f"{model.name}  ({model.path})"
        if model.problem is not None and not model.versions:
            yield f"  cannot be served: {model.problem}"
        for each in examined:
            if each.model is model:
                yield from _version_lines(each)
    yield from (f"note: {note}" for note in found.notes)


def _version_lines(each: Examined) -> Iterator[str]:
    program = each.found.kind == EXPORTED
    what = f"exported program, {each.found.path.name}" if program else "own code, model.py"
    yield f"  version {each.found.version}: {what}"
    if each.loaded is None:
        yield f"    cannot be served: {each.problem}"
        return
    yield from (f"    {line}" for line in signature_lines(each.loaded.signature))
    yield f"    loaded in {each.loaded.seconds:.1f} s on the CPU, as {each.loaded.platform}"


def _disk_document(found: Scan, examined: Sequence[Examined]) -> dict[str, Any]:
    return {
        "models": [
            {
                "name": model.name,
                "path": str(model.path),
                "problem": model.problem,
                "versions": [
                    {
                        "version": each.found.version,
                        "kind": each.found.kind,
                        "path": str(each.found.path),
                        "problem": each.problem,
                        **({} if each.loaded is None else _loaded_document(each)),
                    }
                    for each in examined
                    if each.model is model
                ],
            }
            for model in found.models
        ],
        "notes": list(found.notes),
    }


def _loaded_document(each: Examined) -> dict[str, Any]:
    assert each.loaded is not None
    return {
        "platform": each.loaded.platform,
        "takes_parameters": each.loaded.takes_parameters,
        "decoupled": each.loaded.decoupled,
        **_signature_document(each.loaded.signature),
    }


def _signature_document(signature: Signature) -> dict[str, Any]:
    return {
        "max_batch_size": signature.max_batch_size,
        "inputs": [_tensor_document(spec) for spec in signature.inputs],
        "outputs": [_tensor_document(spec) for spec in signature.outputs],
    }


def _tensor_document(spec: TensorSpec) -> dict[str, Any]:
    shape = None if spec.dims is None else spec.shape
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": shape,
        "optional": spec.optional,
    }


def _server_lines(report: ServerReport) -> Iterable[str]:
    server = report.server
    yield (
        f"{server.name} {server.version} at {report.address}, "
        f"{'ready' if report.ready else 'not ready'}"
    )
    yield f"extensions: {', '.join(server.extensions) or 'none'}"
    for model in report.models:
        yield ""
        reason = f": {model.state.reason}" if model.state.reason else ""
        version = f" version {model.state.version}" if model.state.version else ""
        yield f"{model.state.name}{version}  {model.state.state}{reason}"
        if model.metadata is not None:
            yield from (f"  {line}" for line in signature_lines(model.metadata.signature))
        if model.statistics is not None:
            yield f"  {_statistics_text(model.statistics)}"


def _statistics_text(counts: ModelStatistics) -> str:
    if counts.success.count + counts.fail.count == 0:
        return "no requests yet"
    return (
        f"requests answered: {counts.success.count}, failed: {counts.fail.count}; "
        f"rows: {counts.inference_count}, in {counts.execution_count} runs; "
        f"{counts.success.mean * 1e3:.2f} ms per request, of it "
        f"{counts.queue.mean * 1e3:.2f} queued, {counts.compute_infer.mean * 1e3:.2f} computing"
    )


def _server_document(report: ServerReport) -> dict[str, Any]:
    return {
        "address": report.address,
        "name": report.server.name,
        "version": report.server.version,
        "ready": report.ready,
        "extensions": list(report.server.extensions),
        "models": [
            {
                "name": model.state.name,
                "version": model.state.version,
                "state": model.state.state,
                "reason": model.state.reason,
                **(
                    {}
                    if model.metadata is None
                    else {
                        "platform": model.metadata.platform,
                        **_signature_document(model.metadata.signature),
                    }
                ),
                "statistics": model.statistics,
            }
            for model in report.models
        ],
    }
