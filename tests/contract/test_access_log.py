"""What is logged of requests that come with others."""

from __future__ import annotations

import grpc
from structlog.testing import capture_logs

from inferd.core.link.messages import DoorChoice
from inferd.protos.oip_pb2 import ModelInferRequest
from support.bulk import BulkConversation
from support.calls import ROWS, rows
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker


def test_each_chunk_has_a_line_in_the_access_log(door: DoorChoice) -> None:
    """Like any request: with its id, the job's model and version, sizes, and how it ended."""
    with capture_logs() as lines:
        with (
            GatewayUnderTest(door=door, access_log=1.0) as gateway,
            grpc.insecure_channel(gateway.address) as channel,
        ):
            gateway.deploy("m", ROWS, [LinkWorker()])
            bulk = BulkConversation(channel)
            bulk.opened()
            bulk.send(0, request := rows([[1], [2]], model="", id="well"))
            bulk.send(1, rows([1], id="misshapen"))
            bulk.send(2, rows([[2]], model="n", id="other"))
            bulk.half_close()
            answers = bulk.rest()
        logged = {each["request_id"]: each for each in lines if each.get("dataset")}
    assert {key: each.get("error_code") for key, each in logged.items()} == {
        "well": None,
        "misshapen": answers[1].error.reason,
        "other": "OTHER_JOB",
    }
    assert {each["method"] for each in logged.values()} == {"inferd.v1.BulkInference/Infer"}
    well = logged["well"]
    assert (well["model"], well["version"], well["outcome"]) == ("m", "1", "success")
    assert well["bytes_out"] == answers[0].response.ByteSize()
    names = ModelInferRequest(model_name="m", model_version="1").SerializeToString()
    assert well["bytes_in"] == len(names) + len(request)
    assert well["peer_ip"] == "127.0.0.1"
