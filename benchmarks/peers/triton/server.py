"""Triton's own server, out of the nvidia-pytriton wheel, with one Python-backend model.

It becomes `tritonserver`: this script only lays the model repository and the backend out in the
working directory. Batching is dynamic without a delay, so a free model takes what waits at once;
with one caller there is nothing to batch and it is off. HTTP, metrics and info logging are off:
they would cost and nobody asks.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from workload_models import MODELS

CONFIG = """\
backend: "python"
max_batch_size: {max_batch}
input [{{ name: "input" data_type: TYPE_FP32 dims: [{row}] }}]
output [{{ name: "output" data_type: TYPE_FP32 dims: [{answer_row}] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
parameters: {{ key: "site" value: {{ string_value: "{site}" }} }}
{batching}
"""


def lay_out(folder: Path, name: str, max_batch: int, callers: int) -> None:
    """Write the model repository `folder`: one model, version 1."""
    model = MODELS[name]
    version = folder / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").symlink_to(Path(__file__).with_name("model.py"))
    config = CONFIG.format(
        max_batch=max_batch,
        row=", ".join(map(str, model.row)),
        answer_row=", ".join(map(str, model.answer_row)),
        site=next(each for each in sys.path if each.endswith("site-packages")),
        batching="dynamic_batching { }" if callers > 1 else "",
    )
    (folder / name / "config.pbtxt").write_text(config)


def main() -> None:
    """Lay out and become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    scratch = Path.cwd()
    lay_out(scratch / "models", given.model, given.max_batch, given.callers)
    package = importlib.util.find_spec("pytriton")
    assert package is not None
    assert package.origin is not None
    triton = Path(package.origin).parent / "tritonserver"
    backend = scratch / "backends" / "python"
    backend.mkdir(parents=True)
    for each in (triton / "backends" / "python").iterdir():
        (backend / each.name).symlink_to(each)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    stub.chmod(0o755)
    (backend / stub.name).symlink_to(stub)
    # The stub finds the base Python's packages, of which the working directory comes first. It is
    # built for numpy 1: with numpy 2 it takes every tensor of the model's for an empty one.
    for each in triton.parent.parent.glob("numpy*"):
        (scratch / each.name).symlink_to(each)
    server = triton / "bin" / "tritonserver"
    server.chmod(0o755)
    options = {
        "model-repository": scratch / "models",
        "backend-directory": scratch / "backends",
        "grpc-address": "127.0.0.1",
        "grpc-port": given.port,
        "allow-http": "false",
        "allow-metrics": "false",
        "log-info": "false",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    os.execv(server, [str(server), *arguments])  # noqa: S606 - it is to take this process's place


if __name__ == "__main__":
    main()
