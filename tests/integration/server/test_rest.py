"""REST from a real server: documented commands, tritonclient's HTTP client, several gateways."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from support.http import ask
from support.repository import write_scale
from support.server import MODELS, Server, refused

PAGE = Path(__file__).parents[3] / "docs" / "rest.md"

MOST_RSS = 120 << 20
"""Bytes that a gateway may take, as the design says."""

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def test_the_documented_commands_work(examples: Server, tmp_path: Path) -> None:
    """Each prints what the page shows, and those without a shown answer succeed."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 6
    shown = [each for block in blocks for each in _commands(block)]
    for command, expected in shown:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            env={**os.environ, "HOST": examples.http},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        pattern = re.escape(expected).replace(re.escape("..."), ".*")
        printed = re.sub(r"\n$", "", done.stdout)
        assert re.fullmatch(pattern if expected else r"(?!\{\"error).*", printed), (
            command,
            printed,
        )
    assert len(shown) == 14


def test_the_documented_python_works(examples: Server) -> None:
    """As it stands, but for the address."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = code.replace("127.0.0.1:8000", examples.http)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[\d\]\n", done.stdout)


def test_the_terminal_says_where(examples: Server) -> None:
    """Beside the address for gRPC."""
    assert f"gRPC at {examples.address}, HTTP at {examples.http}, metrics" in examples.terminal


def test_a_gateway_with_http_stays_small(tmp_path: Path) -> None:
    """After requests in JSON of some size, in a server that has answered no others."""
    data = list(range(100_000))
    tensor = {"name": "input", "datatype": "FP32", "shape": [len(data)], "data": data}
    with Server(tmp_path, [MODELS / "echo"], "--trust", "echo") as server:
        for _ in range(3):
            assert ask(server.http, "/v2/models/echo/infer", {"inputs": [tensor]}).status == 200
        assert server.gateway().memory_info().rss < MOST_RSS


@pytest.mark.parametrize("binary", ["in", "out", "both", "neither"])
def test_tritonclient_predicts(examples: Server, binary: str) -> None:
    """With tensors in JSON or behind it, as its users choose."""
    with triton.InferenceServerClient(examples.http) as client:
        held_out = np.load(MODELS / "digits" / "1" / "holdout.npz")
        rows = held_out["image"][:5]
        image = triton.InferInput("image", rows.shape, "FP32")
        image.set_data_from_numpy(rows, binary_data=binary in {"in", "both"})
        wanted = [
            triton.InferRequestedOutput(name, binary_data=binary in {"out", "both"})
            for name in ("label", "probabilities")
        ]
        answer = client.infer("digits", [image], outputs=wanted, request_id="7")
        assert answer.get_response()["id"] == "7"
        label, probabilities = answer.as_numpy("label"), answer.as_numpy("probabilities")
    assert probabilities.shape == (5, 10)
    np.testing.assert_array_equal(label, probabilities.argmax(1))


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("datatype", ["BOOL", "UINT64", "FP16", "BYTES"])
def test_tritonclient_gets_back_what_it_sent(
    examples: Server, datatype: str, algorithm: str | None
) -> None:
    """Bit for bit, packed or not."""
    array = {
        "BOOL": np.array([[True, False], [False, True]]),
        "UINT64": np.array([[2**64 - 1, 0]], np.uint64),
        "FP16": np.array([[1.5, -0.0]], np.float16),
        "BYTES": np.array([[b"", b"a\0b"], ["ü".encode(), b"\xff"]], np.object_),
    }[datatype]
    with triton.InferenceServerClient(examples.http) as client:
        tensor = triton.InferInput("input", array.shape, datatype)
        tensor.set_data_from_numpy(array)
        answer = client.infer("echo", [tensor], request_compression_algorithm=algorithm)
    np.testing.assert_array_equal(answer.as_numpy("output"), array)


def test_tritonclient_finds_its_way(examples: Server) -> None:
    """Health, metadata, configuration, statistics and index, in the forms that it expects."""
    with triton.InferenceServerClient(examples.http) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits")
        assert not client.is_model_ready("digits", "7")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert client.get_model_metadata("digits")["inputs"][0]["name"] == "image"
        assert client.get_model_config("digits", "1")["max_batch_size"] == 64
        (counts,) = client.get_inference_statistics("digits")["model_stats"]
        assert counts["inference_stats"]["fail"]["count"] >= 0
        names = {each["name"] for each in client.get_model_repository_index()}
        assert {"digits", "echo"} <= names
        with pytest.raises(InferenceServerException, match="did you mean 'digits'") as caught:
            client.get_model_metadata("digts")
        assert caught.value.status() == "404"


def test_several_gateways_share_the_port(tmp_path: Path) -> None:
    """Each listens; counts, loading and unloading are the same for all of them."""
    write_scale(tmp_path / "models" / "scale", 1, 2.0)
    with (
        Server(tmp_path, [tmp_path / "models"], "--gateways", "2") as server,
        triton.InferenceServerClient(server.http) as client,
    ):
        for gateway in server.gateways():
            listens = [
                f"{each.laddr.ip}:{each.laddr.port}"
                for each in gateway.net_connections("tcp")
                if each.status == "LISTEN"
            ]
            assert server.http in listens
        for _ in range(20):
            outcome = ask(server.http, "/v2/models/scale/infer", ROW)
            assert outcome.document["outputs"][0]["data"] == [2, 4, 6, 8]
        (counts,) = ask(server.http, "/v2/models/scale/stats").document["model_stats"]
        assert counts["inference_count"] == 20
        client.unload_model("scale")
        for _ in range(8):
            assert ask(server.http, "/v2/models/scale/ready").status == 503
        client.load_model("scale")
        for _ in range(8):
            assert ask(server.http, "/v2/models/scale/ready").status == 200
        with pytest.raises(InferenceServerException, match="no such model"):
            client.load_model("unknown")


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_a_port_in_use_is_refused(examples: Server, tmp_path: Path, gateways: str) -> None:
    """A second server with another port for gRPC says what to do about HTTP."""
    options = ("--grpc", "127.0.0.1:0", "--http", examples.http, "--ops", "off")
    told = refused(tmp_path, *options, "--gateways", gateways)
    assert f"cannot listen on {examples.http}" in told
    assert "--http HOST:PORT" in told
    assert "or --http off" in told


def _commands(block: str) -> list[tuple[str, str]]:
    """Commands of a console block, lines beginning with `>` included, and what it shows."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> "):
            found[-1] = (found[-1][0] + "\n" + line[2:], "")
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found
