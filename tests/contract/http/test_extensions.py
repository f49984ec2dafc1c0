"""Extensions of the protocol over HTTP: classes, shared memory, sequences, models that yield."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferd.core.link.messages import AddRegion, SequenceTerms
from support.calls import ROWS
from support.gateway import GatewayUnderTest
from support.http import ask
from support.link_worker import LinkWorker

INFER = "/v2/models/m/infer"
Start = Callable[..., GatewayUnderTest]


def row(*data: float, **more: Any) -> dict[str, Any]:
    """A request of one FP32 row in JSON."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(data)], "data": data}
    return {"inputs": [tensor], **more}


@pytest.fixture
def region(start: Start, tmp_path: Path) -> tuple[GatewayUnderTest, Path]:
    """A gateway that knows a file of sixteen numbers as `r`, and the model `m`."""
    gateway = start(client_shared_memory=True)
    path = tmp_path / "object"
    path.write_bytes(np.arange(16, dtype=np.float32).tobytes())
    fd = os.open(path, os.O_RDWR)
    gateway.control.send(AddRegion("r", path.name, 0, 64), [fd])
    os.close(fd)
    gateway.settle()
    gateway.deploy("m", ROWS, [LinkWorker()])
    return gateway, path


def place(offset: int, nbytes: int) -> dict[str, Any]:
    """The parameters of a tensor there."""
    return {
        "shared_memory_region": "r",
        "shared_memory_offset": offset,
        "shared_memory_byte_size": nbytes,
    }


def test_tensors_lie_in_shared_memory(region: tuple[GatewayUnderTest, Path]) -> None:
    """An input is read there, an output written there and told with its size; no data in the JSON."""
    gateway, path = region
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": place(4, 8)}
    outcome = ask(gateway.http, INFER, {"inputs": [tensor]})
    assert outcome.document["outputs"][0]["data"] == [1, 2]
    wanted = [{"name": "y", "parameters": place(32, 16)}]
    outcome = ask(gateway.http, INFER, {"inputs": [tensor], "outputs": wanted})
    assert outcome.status == 200, outcome
    (output,) = outcome.document["outputs"]
    assert output == {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": place(32, 8)}
    assert np.frombuffer(path.read_bytes(), "<f4")[8:11].tolist() == [1, 2, 10]


def test_data_comes_once(region: tuple[GatewayUnderTest, Path]) -> None:
    """Beside the place of an input there is none in the request."""
    gateway, _ = region
    sent = row(1, 2)
    sent["inputs"][0]["parameters"] = place(0, 8)
    outcome = ask(gateway.http, INFER, sent)
    assert outcome.status == 400, outcome


def test_shared_memory_is_off_unless_the_operator_says(gateway: GatewayUnderTest) -> None:
    """As over gRPC."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": place(0, 8)}
    assert ask(gateway.http, INFER, {"inputs": [tensor]}).status == 403


def test_classes_come_as_text(gateway: GatewayUnderTest) -> None:
    """With their labels."""
    gateway.deploy("m", ROWS, [LinkWorker()], labels={"y": ("low", "high")})
    wanted = [{"name": "y", "parameters": {"classification": 1}}]
    outcome = ask(gateway.http, INFER, row(0.25, 0.75, outputs=wanted))
    (output,) = outcome.document["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 1])
    assert output["data"] == ["0.750000:1:high"]


def test_sequences_begin_with_a_start(gateway: GatewayUnderTest) -> None:
    """The worker is told of each step; what lacks its start is refused."""
    worker = LinkWorker()
    gateway.deploy("m", ROWS, [worker], sequences=SequenceTerms(60.0, 8))
    first = {"sequence_id": 7, "sequence_start": True}
    assert ask(gateway.http, INFER, row(1, parameters=first)).status == 200
    assert ask(gateway.http, INFER, row(2, parameters={"sequence_id": 7})).status == 200
    assert [(each.start, each.end) for each in worker.steps if each] == [
        (True, False),
        (False, False),
    ]
    outcome = ask(gateway.http, INFER, row(1, parameters={"sequence_id": 8}))
    assert outcome.status == 400
    assert "must specify the START flag" in outcome.document["error"]


def test_models_that_yield_need_a_stream(gateway: GatewayUnderTest) -> None:
    """One request has one answer here."""
    gateway.deploy("m", ROWS, [LinkWorker()], decoupled=True)
    outcome = ask(gateway.http, INFER, row(1))
    assert outcome.status == 501
    assert "decoupled transaction policy" in outcome.document["error"]
