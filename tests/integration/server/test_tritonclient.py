"""tritonclient, unmodified, sync and asyncio, against trained models in real workers."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from support.server import MODELS, Server

DATATYPES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "UINT64": np.array([[2**64 - 1, 0]], np.uint64),
    "FP16": np.array([[1.5, -0.0]], np.float16),
    "FP64": np.array([[np.nan, np.inf]], np.float64),
    "BYTES": np.array([[b"", b"a\0b"], ["ü".encode(), b"\xff"]], np.object_),
}


def asked(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    """An input as tritonclient's users make it."""
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor


@pytest.mark.parametrize("datatype", DATATYPES)
def test_echo_gives_back_every_datatype(examples: Server, datatype: str) -> None:
    """What comes out of a real worker is bit for bit what went in."""
    array = DATATYPES[datatype]
    with triton.InferenceServerClient(examples.address) as client:
        answer = client.infer("echo", [asked("input", array, datatype)], request_id="42")
    assert answer.get_response().id == "42"
    np.testing.assert_array_equal(answer.as_numpy("output"), array)


@pytest.mark.parametrize("name", ["digits", "breast-cancer"])
def test_the_sample_is_predicted_as_its_metadata_says(examples: Server, name: str) -> None:
    """A client that knows the model from its metadata alone gets an answer of that form."""
    with triton.InferenceServerClient(examples.address) as client:
        metadata = client.get_model_metadata(name)
        config = client.get_model_config(name).config
        (given,) = metadata.inputs
        held_out = np.load(MODELS / name / "1" / "holdout.npz")
        rows = held_out[given.name][:5]
        answer = client.infer(name, [asked(given.name, rows, given.datatype)])
        assert config.max_batch_size == 64
        assert [-1, *config.input[0].dims] == list(given.shape)
        for output in metadata.outputs:
            value = answer.as_numpy(output.name)
            assert value.shape == (5, *output.shape[1:])


async def test_asyncio_clients_are_served_side_by_side(examples: Server) -> None:
    """Twenty concurrent calls of the asyncio client each get their own rows."""
    import asyncio

    async with triton_aio.InferenceServerClient(examples.address) as client:

        async def call(number: int) -> None:
            array = np.full((number % 3 + 1, 4), number, np.float32)
            answer = await client.infer("echo", [asked("input", array, "FP32")])
            np.testing.assert_array_equal(answer.as_numpy("output"), array)

        await asyncio.gather(*(call(number) for number in range(20)))


def test_errors_have_the_codes_that_clients_match(examples: Server) -> None:
    """Unknown model, unknown version, wrong shape: the status is precise, the text says what to do."""
    rows = np.zeros((1, 30), np.float32)
    with triton.InferenceServerClient(examples.address) as client:
        with pytest.raises(InferenceServerException) as unknown:
            client.infer("breast-cancr", [asked("features", rows, "FP32")])
        with pytest.raises(InferenceServerException) as version:
            client.infer("breast-cancer", [asked("features", rows, "FP32")], model_version="9")
        with pytest.raises(InferenceServerException) as shape:
            client.infer("breast-cancer", [asked("features", rows[:, :7], "FP32")])
    assert unknown.value.status() == "StatusCode.NOT_FOUND"
    assert "did you mean 'breast-cancer'" in unknown.value.message()
    assert version.value.status() == "StatusCode.NOT_FOUND"
    assert shape.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "expected [-1,30], got [1,7]" in shape.value.message()


def test_statistics_count_exactly(examples: Server) -> None:
    """Three calls of 1, 2 and 130 rows add 3 successes and 133 rows, in batches of at most 64."""
    with triton.InferenceServerClient(examples.address) as client:

        def counts() -> tuple[int, int, int]:
            stats = client.get_inference_statistics("recommend").model_stats[0]
            executed = sum(each.compute_infer.count for each in stats.batch_stats)
            assert executed == stats.execution_count
            return stats.inference_stats.success.count, stats.inference_count, executed

        before = counts()
        for rows in (1, 2, 130):
            ids = np.arange(rows, dtype=np.int64)
            client.infer("recommend", [asked("user", ids, "INT64"), asked("item", ids, "INT64")])
        after = counts()
    assert [b - a for a, b in zip(before, after, strict=True)] == [3, 133, 5]


def test_readiness_and_index_are_truthful(examples: Server) -> None:
    """The server and its five models are ready, and nothing else is."""
    with triton.InferenceServerClient(examples.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        index = client.get_model_repository_index().models
        assert {(each.name, each.version, each.state) for each in index} == {
            (name, "1", "READY")
            for name in ("breast-cancer", "digits", "echo", "recommend", "textgen")
        }
        assert client.is_model_ready("digits", "1")
        assert not client.is_model_ready("nothing")
