"""One real call before the timing: a fast wrong answer is worth nothing."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from scenarios import DATATYPE, OUTPUT, Scenario

from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.protos.services import INFERENCE_METHODS

_DEADLINE = 30.0


class WrongAnswer(RuntimeError):
    """A contender does not answer the identity; the text says what it answered."""


def check_answer(address: str, scenario: Scenario) -> int:
    """Call once, compare the answer with the input; returns the answer's size in bytes.

    Raises `WrongAnswer`.
    """
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        infer = channel.unary_unary(INFERENCE_METHODS["ModelInfer"].path, bytes, bytes)
        try:
            payload: bytes = infer(scenario.request(), timeout=_DEADLINE)
            answer = ModelInferResponse.FromString(payload)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
            raise WrongAnswer(f"the call failed: {code}: {details}") from error
        except DecodeError as error:
            raise WrongAnswer("the answer is no ModelInferResponse") from error
    heads = [(each.name, each.datatype, tuple(each.shape)) for each in answer.outputs]
    expected = [(OUTPUT, DATATYPE, scenario.shape)]
    if heads != expected:
        raise WrongAnswer(f"answered {heads}, expected {expected}")
    if list(answer.raw_output_contents) != [scenario.values()]:
        raise WrongAnswer("the numbers answered are not those sent")
    return len(payload)
