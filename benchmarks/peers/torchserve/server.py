"""TorchServe with one model and one worker; lays out its files in the working directory and becomes it.

A worker takes what waits up to the model's largest batch. `maxBatchDelay` is 1 ms: TorchServe
stops collecting once the delay is used up, so with 0 it never makes batches of more than two. One
caller gets batches of one, which never wait. Requests and responses may have 64 MiB. What it logs
per request at level INFO would cost, so it logs from WARN.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path

LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration><Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def archive(store: Path, name: str) -> None:
    """Write the model archive; the model itself is built by the handler."""
    manifest = {
        "runtime": "python",
        "model": {"modelName": name, "handler": "handler.py", "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(store / f"{name}.mar", "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.write(Path(__file__).with_name("handler.py"), "handler.py")


def properties(name: str, batch: int, port: int, more: list[int]) -> str:
    """The content of config.properties."""
    settings = {
        "defaultVersion": True,
        "marName": f"{name}.mar",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": batch,
        "maxBatchDelay": 1,
        "responseTimeout": 120,
    }
    lines = {
        "inference_address": f"http://127.0.0.1:{more[0]}",
        "management_address": f"http://127.0.0.1:{more[1]}",
        "metrics_address": f"http://127.0.0.1:{more[2]}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": port,
        "grpc_management_port": more[3],
        "load_models": f"{name}.mar",
        "models": json.dumps({name: {"1.0": settings}}),
        "max_request_size": 64 << 20,
        "max_response_size": 64 << 20,
        "job_queue_size": 1000,
        "disable_system_metrics": "true",
        "disable_token_authorization": "true",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def main() -> None:
    """Lay out and become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-batch", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True, help="in each request")
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--more-ports", type=int, nargs=4, required=True)
    given = parser.parse_args()
    scratch = Path.cwd()
    store = scratch / "store"
    store.mkdir()
    archive(store, given.model)
    # TorchServe counts requests, not rows.
    batch = given.max_batch // given.rows if given.callers > 1 else 1
    config = scratch / "config.properties"
    config.write_text(properties(given.model, batch, given.port, given.more_ports))
    logging = scratch / "log4j2.xml"
    logging.write_text(LOGGING)
    program = str(Path(sys.executable).with_name("torchserve"))
    options = [f"--model-store={store}", f"--ts-config={config}", f"--log-config={logging}"]
    arguments = [program, "--start", "--foreground", "--ncs", *options]
    os.environ["TEMP"] = str(scratch)
    os.execv(program, arguments)  # noqa: S606 - it is to take this process's place


if __name__ == "__main__":
    main()
