"""The synchronous client against a real gRPC server."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from inferd.client import (
    Answer,
    AnswerInvalid,
    Client,
    ClientClosed,
    Duration,
    InvalidInput,
    MemoryUsage,
    ModelNotFound,
    ModelState,
    ResponseStatistics,
    ServerUnavailable,
    connect,
)
from inferd.client.codec.statistics import read_statistics
from inferd.protos import oip_pb2 as oip
from support.oip_server import OipServer


def test_a_single_output_is_the_array_itself(client: Client) -> None:
    """A model with one input and one output is called like a function of arrays."""
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    answer = client.model("identity-fp32")(array)
    np.testing.assert_array_equal(answer, array)
    assert answer.dtype == np.float32


def test_an_answer_belongs_to_the_caller(client: Client) -> None:
    """Outputs can be written to."""
    answer = client.model("identity-fp32")(np.zeros((1, 2), np.float32))
    answer[0, 0] = 5
    assert answer[0, 0] == 5


def test_inputs_go_by_position_name_or_mapping(client: Client, server: OipServer) -> None:
    """All three ways make the same request."""
    left, right = np.ones((2, 3), np.float32), np.ones((2, 1), np.int64)
    model = client.model("pair")
    model(left, right)
    model(right=right, left=left)
    model({"right": right, "left": left})
    first, *others = server.requests
    assert [each.name for each in first.inputs] == ["left", "right"]
    assert others == [first, first]


def test_several_outputs_come_by_name(client: Client) -> None:
    """A model with several outputs answers a mapping in the model's order."""
    answer = client.model("pair")(np.ones((2, 3), np.float32), [[1], [2]], [["ab"], [b"\0"]])
    assert isinstance(answer, Answer)
    assert list(answer) == ["first", "second", "third"]
    assert answer["third"].tolist() == [[b"ab"], [b"\0"]]
    with pytest.raises(KeyError, match="did you mean 'second'"):
        answer["secnd"]


def test_infer_tells_what_came_beside_the_outputs(client: Client, server: OipServer) -> None:
    """Version, id, parameters and timings are in the prediction; `outputs` limits the answer."""
    prediction = client.model("pair", version=7).infer(
        np.ones((1, 3), np.float32),
        [[1]],
        outputs=["second"],
        parameters={"flag": True, "count": 3, "ratio": 0.5, "mode": "fast"},
        request_id="abc",
    )
    assert (prediction.model, prediction.version, prediction.id) == ("pair", "7", "abc")
    assert prediction.parameters == {"flag": True, "count": 3, "ratio": 0.5, "mode": "fast"}
    assert prediction.datatypes == {"second": "INT64"}
    assert prediction.value.tolist() == [[1]]
    assert prediction.timings.call > 0
    assert server.requests[0].parameters["flag"].WhichOneof("parameter_choice") == "bool_param"


def test_contents_are_raw(client: Client, server: OipServer) -> None:
    """Requests carry raw contents only, as the protocol lays them out."""
    client.model("identity-int16")([[1, -2]])
    request = server.requests[0]
    assert list(request.raw_input_contents) == [b"\x01\x00\xfe\xff"]
    assert not request.inputs[0].HasField("contents")


def test_the_signature_is_fetched_once(client: Client, server: OipServer) -> None:
    """Threads that use a model at once share one fetch, and calls add none."""
    barrier = threading.Barrier(8)

    def call(row: int) -> float:
        barrier.wait()
        answer = client.model("identity-fp32")(np.full((1, 2), row, np.float32))
        return float(answer[0, 0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == list(range(8))
    assert server.calls["ModelMetadata"] == server.calls["ModelConfig"] == 1
    assert server.calls["ModelInfer"] == 8


def test_refresh_takes_the_new_signature(client: Client, server: OipServer) -> None:
    """A model that was replaced on the server is checked against what it is now."""
    model = client.model("plain")
    assert model.metadata().signature.max_batch_size == 0
    server.signatures["plain"] = server.signatures["pair"]
    assert model.refresh().signature.max_batch_size == 8
    assert [spec.name for spec in model.metadata().inputs] == ["left", "right", "note"]


def test_a_server_without_model_config_is_served_as_well(client: Client, server: OipServer) -> None:
    """ModelConfig is an extension: without it, a model counts as one that does not batch."""
    server.without.add("ModelConfig")
    array = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(client.model("identity-fp32")(array), array)
    assert client.model("identity-fp32").metadata().signature.max_batch_size == 0


def test_the_server_describes_itself(client: Client) -> None:
    """Liveness, readiness, metadata, index and statistics arrive as Python values."""
    assert client.server_live()
    assert client.server_ready()
    assert client.metadata().extensions == ("statistics",)
    broken = ModelState("broken", "2", "UNAVAILABLE", "bad file")
    assert client.models() == (ModelState("echo", "1", "READY", ""), broken)
    assert not broken.ready
    assert [each.name for each in client.models(ready=True)] == ["echo"]
    assert client.model("echo").ready()
    assert not client.model("nobody").ready()


def test_statistics_are_in_seconds(client: Client) -> None:
    """Milliseconds and nanoseconds of the protocol become seconds."""
    (statistics,) = client.model("echo").statistics()
    assert statistics.last_inference == 1.5
    assert (statistics.inference_count, statistics.execution_count) == (6, 2)
    assert statistics.success == Duration(3, 0.006)
    assert statistics.success.mean == pytest.approx(0.002)
    assert statistics.batches[0].batch_size == 4
    assert client.statistics()[0].name == "echo"


def test_statistics_tell_memory_and_answers(client: Client) -> None:
    """Each memory with its kind and device; answers by their index, as numbers go."""
    (statistics,) = client.model("echo").statistics()
    assert statistics.memory == (MemoryUsage("CPU", 0, 3 << 30), MemoryUsage("GPU", 1, 512))
    assert [each.index for each in statistics.responses] == list(range(11))
    assert statistics.responses[10] == ResponseStatistics(
        index=10,
        compute_infer=Duration(100, 1e-9),
        compute_output=Duration(101, 2e-9),
        success=Duration(102, 3e-9),
        fail=Duration(103, 4e-9),
        empty_response=Duration(104, 5e-9),
        cancel=Duration(105, 6e-9),
    )


def test_answers_without_an_index_are_none_of_this_protocol() -> None:
    """Told as such, not left out."""
    message = oip.ModelStatisticsResponse()
    message.model_stats.add().response_stats["first"].success.count = 1
    with pytest.raises(AnswerInvalid, match="'first'"):
        read_statistics(message)


def test_models_are_loaded_and_unloaded_by_name(client: Client, server: OipServer) -> None:
    """The repository's RPCs are sent, and their errors come back by cause."""
    client.load("echo")
    client.unload("echo")
    assert server.calls["RepositoryModelLoad"] == server.calls["RepositoryModelUnload"] == 1
    with pytest.raises(ModelNotFound, match="nobody"):
        client.load("nobody")


def test_a_closed_client_says_so(server: OipServer) -> None:
    """Calls after `close` raise ClientClosed; closing twice is fine."""
    with connect(server.address) as client:
        assert client.server_live()
    client.close()
    with pytest.raises(ClientClosed, match="closed"):
        client.server_live()


def test_large_tensors_pass(client: Client) -> None:
    """Messages above gRPC's default limit of 4 MB go both ways."""
    array = np.random.default_rng(0).random((1500, 1000)).astype(np.float32)
    np.testing.assert_array_equal(client.model("echo")(array), array)


def test_a_client_connects_with_credentials() -> None:
    """With channel credentials the connection is a secure one."""
    server = OipServer(credentials=grpc.local_server_credentials())
    with server, connect(server.address, credentials=grpc.local_channel_credentials()) as client:
        assert client.server_live()


def test_nobody_at_the_address_is_server_unavailable() -> None:
    """An address without a server is an error that names it."""
    with OipServer() as gone:
        address = gone.address
    with (
        connect(address, timeout=5, retries=False) as client,
        pytest.raises(ServerUnavailable, match=f"no answer from {address}"),
    ):
        client.server_live()


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", ":8001", "http://x:1", "x:0", "::1", "h:99999"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """An address that cannot work is a ValueError at once."""
    with pytest.raises(ValueError, match="give HOST:PORT"):
        connect(address)


def test_addresses_may_have_a_scheme(server: OipServer) -> None:
    """`grpc://HOST:PORT` is the same as HOST:PORT."""
    with connect(f"grpc://{server.address}") as client:
        assert client.server_live()


def test_an_input_named_like_an_option_goes_in_a_mapping(client: Client, server: OipServer) -> None:
    """`timeout` and the like can be names of inputs."""
    plain = server.signatures["plain"]
    server.signatures["odd"] = type(plain)(
        (type(plain.inputs[0])("timeout", "FP32", (2,)),), plain.outputs
    )
    assert client.model("odd")({"timeout": [1.0, 2.0]}).tolist() == [1.0, 2.0]


def test_torch_is_not_imported_for_numpy(client: Client) -> None:
    """The client alone never loads torch."""
    import subprocess

    code = (
        "import sys, inferd.client, inferd.client.codec.values as v\n"
        "v.read_value('x', 'FP32', [1.0])\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_answers_that_do_not_fit_are_reported(client: Client, server: OipServer) -> None:
    """Bytes that do not fit the shape, or are missing, raise AnswerInvalid naming the output."""
    from inferd.client import AnswerInvalid

    short = oip.ModelInferResponse(model_name="echo", raw_output_contents=[b"123"])
    short.outputs.add(name="output", datatype="FP32", shape=[1])
    missing = oip.ModelInferResponse(model_name="echo")
    missing.outputs.add(name="output", datatype="FP32", shape=[1])
    unknown = oip.ModelInferResponse(model_name="echo", raw_output_contents=[b"1"])
    unknown.outputs.add(name="output", datatype="FP8", shape=[1])
    server.faults.extend([short, missing, unknown])
    model = client.model("echo")
    for text in ("'output' cannot be read: 3 bytes came", "raw contents for 0", "FP8"):
        with pytest.raises(AnswerInvalid, match=text):
            model([1.0])


def test_unknown_names_get_a_hint(client: Client) -> None:
    """A misspelt output or a parameter of no wire type is refused before sending."""
    model = client.model("pair")
    with pytest.raises(InvalidInput, match="did you mean 'first'"):
        model.infer(np.ones((1, 3), np.float32), [[1]], outputs=["firts"])
    with pytest.raises(InvalidInput, match="parameter 'k' is list"):
        model(np.ones((1, 3), np.float32), [[1]], parameters={"k": [1]})  # type: ignore[dict-item] # on purpose
