"""Triton's extensions, asked for by tritonclient, unmodified, of real workers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton

from support.repository import write_code
from support.server import Server

DOUBLE = """
class Double(Model):
    def predict(self, x):
        return x * 2
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of small models of own code."""
    folder = tmp_path_factory.mktemp("extensions")
    write_code(folder / "models" / "double", DOUBLE, 'max_batch_size = 4\nlabels.y = "labels.txt"')
    (folder / "models" / "double" / "labels.txt").write_text("ape\nbee\ncat\n")
    with Server(folder, [folder / "models"], "--trust", "double") as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """A client of it."""
    with triton.InferenceServerClient(server.address) as connected:
        yield connected


def tensor(values: object) -> triton.InferInput:
    """The input `x` of FP32."""
    array = np.array(values, np.float32)
    given = triton.InferInput("x", array.shape, "FP32")
    given.set_data_from_numpy(array)
    return given


def test_classes_with_their_labels(client: triton.InferenceServerClient) -> None:
    """The three largest of each row, named by the file that the model ships."""
    outputs = [triton.InferRequestedOutput("y", class_count=3)]
    answer = client.infer("double", [tensor([[1, 4, 3, 2], [4, 3, 2, 1]])], outputs=outputs)
    assert answer.as_numpy("y").tolist() == [
        [b"8.000000:1:bee", b"6.000000:2:cat", b"4.000000:3"],
        [b"8.000000:0:ape", b"6.000000:1:bee", b"4.000000:2:cat"],
    ]
    assert "classification" in client.get_server_metadata().extensions
