"""Requests to models that yield, and what is read off their answers, in the fewest words."""

from __future__ import annotations

import grpc

from inferd.core.link.messages import ParameterValue
from inferd.protos.oip_pb2 import ModelInferRequest, ModelStreamInferResponse
from support.calls import ANYTHING, rows
from support.conversation import Conversation
from support.gateway import GatewayUnderTest
from support.link_worker import LinkWorker

TRUE_ERRORS = (("triton_grpc_error", "true"),)


def asked(id: str = "", *, model: str = "g", size: int = 1, **parameters: ParameterValue) -> bytes:  # noqa: A002  # the protocol's word
    """A request of one FP32 tensor, with parameters."""
    message = ModelInferRequest.FromString(rows([[7.0] * size], model=model, id=id))
    for key, value in parameters.items():
        if isinstance(value, bool):
            message.parameters[key].bool_param = value
        elif isinstance(value, int):
            message.parameters[key].int64_param = value
    return message.SerializeToString()


def finals(answers: list[ModelStreamInferResponse]) -> list[bool | None]:
    """What each answer says of being the last one; None where it says nothing."""
    return [
        each.infer_response.parameters["triton_final_response"].bool_param
        if "triton_final_response" in each.infer_response.parameters
        else None
        for each in answers
    ]


def deploy(gateway: GatewayUnderTest, worker: LinkWorker, **settings: int) -> None:
    """Serve `worker` as the model `g`, which yields."""
    gateway.deploy("g", ANYTHING, [worker], decoupled=True, takes_parameters=True, **settings)  # type: ignore[arg-type]  # as given


def ask(channel: grpc.Channel, *payloads: bytes) -> list[ModelStreamInferResponse]:
    """The answers to these requests on a stream that ends well."""
    stream = Conversation(channel)
    stream.send(*payloads)
    stream.half_close()
    answers = stream.rest()
    assert stream.code() is grpc.StatusCode.OK
    return answers
