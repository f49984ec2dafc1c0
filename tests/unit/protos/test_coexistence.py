"""Our messages beside another package's messages of the same names, in one process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

IMPORT_OURS = "from inferd.protos import model_config_pb2, oip_pb2, services"
IMPORT_PEER = "import tritonclient.grpc; from tritonclient.grpc import service_pb2 as peer_pb2"

ROUND_TRIP = """
def fill(request):
    request.model_name, request.model_version, request.id = "digits", "3", "call-1"
    request.parameters["priority"].uint64_param = 2**64 - 1
    request.parameters["timeout"].int64_param = -1
    request.parameters["temperature"].double_param = 0.5
    request.parameters["sequence_start"].bool_param = True
    request.parameters["sequence_id"].string_param = "s"
    raw = request.inputs.add(name="image", datatype="FP16", shape=[1, 2])
    raw.parameters["shared_memory_offset"].int64_param = 64
    typed = request.inputs.add(name="ids", datatype="INT64", shape=[-1, 3])
    typed.contents.bool_contents.extend([True, False])
    typed.contents.int_contents.extend([-128, 127])
    typed.contents.int64_contents.extend([-(2**63), 2**63 - 1])
    typed.contents.uint_contents.append(2**32 - 1)
    typed.contents.uint64_contents.append(2**64 - 1)
    typed.contents.fp32_contents.extend([1.5, -0.0])
    typed.contents.fp64_contents.append(1e300)
    typed.contents.bytes_contents.extend([b"", bytes(range(256))])
    request.outputs.add(name="scores").parameters["classification"].int64_param = 5
    request.raw_input_contents.extend([b"\\x00\\x01\\xff\\x7f", b""])
    return request

def wire(message):
    return message.SerializeToString(deterministic=True)

ours = fill(oip_pb2.ModelInferRequest())
peer = fill(peer_pb2.ModelInferRequest())
assert type(ours) is not type(peer)
assert wire(ours) == wire(peer)
assert oip_pb2.ModelInferRequest.FromString(wire(peer)) == ours
assert peer_pb2.ModelInferRequest.FromString(wire(ours)) == peer

config = model_config_pb2.ModelConfig(name="digits", max_batch_size=8)
config.dynamic_batching.priority_queue_policy[1].max_queue_size = 4
config.input.add(name="image", data_type=model_config_pb2.TYPE_BF16, dims=[-1, 28])
answer = oip_pb2.ModelConfigResponse(config=config)
back = peer_pb2.ModelConfigResponse.FromString(wire(answer))
assert back.config.input[0].data_type == model_config_pb2.DataType.Value("TYPE_BF16")
assert oip_pb2.ModelConfigResponse.FromString(wire(back)) == answer
print("round trip done")
"""


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param([IMPORT_OURS, IMPORT_PEER], id="ours first"),
        pytest.param([IMPORT_PEER, IMPORT_OURS], id="tritonclient first"),
    ],
)
def test_both_import_in_one_process_and_read_each_other(imports: list[str]) -> None:
    """Either order of import works, and both sides read each other's bytes without loss."""
    finished = _run_python("\n".join([*imports, ROUND_TRIP]))
    assert (finished.returncode, finished.stdout) == (0, "round trip done\n"), finished.stderr


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
