"""Other people's clients, unmodified, against trained models in real workers.

Each is in an environment of its own, which scripts/foreign_clients.py makes; the ones that are not
there are skipped. tritonclient's unary calls are in test_tritonclient.py, grpc-js is in
test_samples.py.
"""

from __future__ import annotations

import csv
import json
import os
import queue
import runpy
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from inferd.client import connect
from support.server import Server

HOUSE = Path(__file__).parents[3]
PROGRAMS = HOUSE / "tests" / "support" / "foreign"
SETUP = runpy.run_path(str(HOUSE / "scripts" / "foreign_clients.py"))
ROW = np.arange(30, dtype=np.float32)[None] / np.float32(10)

pytestmark = pytest.mark.timeout(300)


def test_kserve_s_client_predicts(examples: Server) -> None:
    """InferenceGRPCClient: health, an inference with its id, and a refusal in our words."""
    told = _json([_python("kserve"), PROGRAMS / "kserve_client.py", examples.address])
    assert (told["live"], told["ready"], told["model_ready"]) == (True, True, True)
    assert told["id"] == "of kserve"
    assert "NOT_FOUND" in told["unknown"]
    assert "'nothing' is not found" in told["unknown"]
    _compare(told["outputs"], examples)


@pytest.mark.parametrize("contents", ["raw", "typed"])
def test_mlserver_s_stubs_predict(examples: Server, contents: str) -> None:
    """Its converters read what comes back, whichever form of contents they sent."""
    told = _json([_python("mlserver"), PROGRAMS / "mlserver_client.py", examples.address, contents])
    assert (told["live"], told["ready"], told["model_ready"]) == (True, True, True)
    assert told["raw"] == (1 if contents == "raw" else 0)
    assert told["inputs"] == [["features", "FP32"]]
    assert told["id"] == "of mlserver"
    _compare(told["outputs"], examples)


def test_buf_curl_needs_no_proto_files(examples: Server) -> None:
    """Through reflection it lists the methods, and its JSON request is answered with JSON."""
    buf = _environment("buf") / "node_modules" / ".bin" / "buf"
    service = f"http://{examples.address}/inference.GRPCInferenceService"
    call = [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
    methods = _run([*call, "--list-methods", f"http://{examples.address}"]).stdout.splitlines()
    assert "inference.GRPCInferenceService/ModelInfer" in methods
    tensor = {"name": "features", "datatype": "FP32", "shape": ["1", "30"]}
    request = {
        "model_name": "breast-cancer",
        "inputs": [{**tensor, "contents": {"fp32_contents": ROW[0].tolist()}}],
    }
    told = _json([*call, "--data", json.dumps(request), f"{service}/ModelInfer"])
    assert told["modelName"] == "breast-cancer"
    assert [each["datatype"] for each in told["outputs"]] == ["FP32"]
    refused = _run([*call, "--data", '{"name": "nothing"}', f"{service}/ModelMetadata"], fails=True)
    assert '"code": "not_found"' in refused.stderr


@pytest.mark.parametrize("sending", [(), ("--streaming", "--async")], ids=["unary", "streaming"])
def test_perf_analyzer_measures(examples: Server, tmp_path: Path, sending: Sequence[str]) -> None:
    """It reads configuration and statistics, sends for a while, and nothing fails."""
    folder = _environment("perf_analyzer")
    (program,) = folder.glob("*.data/data/bin/perf_analyzer")
    report = tmp_path / "report.csv"
    target = ("-m", "breast-cancer", "-i", "grpc", "-u", examples.address)
    windows = ("--measurement-mode", "count_windows", "--measurement-request-count", "100")
    brief = (*windows, "--stability-percentage", "999", "--concurrency-range", "4")
    _run(
        [program, *target, *sending, *brief, "-f", report],
        {"LD_LIBRARY_PATH": str(folder / "lib")},
    )
    with report.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["Inferences/Second"]) > 0
    assert float(row["Server Compute Infer"]) > 0, "it has no figures of the server's"


def test_tritonclient_streams_answers_in_order(examples: Server) -> None:
    """Twenty requests on one stream, an unknown model among them: answers and error in place."""
    answers: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    with triton.InferenceServerClient(examples.address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(20):
            model = "nothing" if number == 7 else "breast-cancer"
            client.async_stream_infer(model, [_asked(triton, ROW)], request_id=str(number))
        arrived = [answers.get(timeout=30) for _ in range(20)]
        client.stop_stream()
    for number, (result, error) in enumerate(arrived):
        if number == 7:
            assert error is not None
            assert "'nothing' is not found" in error.message()
        else:
            assert error is None
            assert result.get_response().id == str(number)


async def test_tritonclient_streams_in_asyncio(examples: Server) -> None:
    """`stream_infer` of its asyncio client yields an answer for each request."""

    async def requests() -> Any:
        for number in range(5):
            yield {
                "model_name": "breast-cancer",
                "inputs": [_asked(triton_aio, ROW)],
                "request_id": str(number),
            }

    async with triton_aio.InferenceServerClient(examples.address) as client:
        arrived = [each async for each in client.stream_infer(requests())]
    assert [error for _, error in arrived] == [None] * 5
    assert [result.get_response().id for result, _ in arrived] == list("01234")


def _asked(module: Any, row: np.ndarray) -> Any:
    tensor = module.InferInput("features", row.shape, "FP32")
    tensor.set_data_from_numpy(row)
    return tensor


def _environment(name: str) -> Path:
    """Where the client is; the test is skipped where it is not."""
    missing: str | None = SETUP["missing"](name)
    if missing is not None:
        pytest.skip(f"{name} is {missing}")
    folder: Path = SETUP["ENVIRONMENTS"] / name
    return folder


def _python(name: str) -> Path:
    return _environment(name) / "bin" / "python"


def _compare(outputs: dict[str, Any], server: Server) -> None:
    """They are what our own client gets for the same row."""
    with connect(server.address) as client:
        expected = client.model("breast-cancer").infer(ROW).outputs
    assert outputs.keys() == expected.keys()
    for name, value in outputs.items():
        array = expected[name]
        np.testing.assert_allclose(np.reshape(value, array.shape), array, rtol=1e-5)


def _json(command: Sequence[object]) -> Any:
    return json.loads(_run(command).stdout)


def _run(
    command: Sequence[object], more: dict[str, str] | None = None, *, fails: bool = False
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(each) for each in command],
        # PYTHONPATH and the like are this interpreter's, not the other one's.
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | (more or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is fails, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done
