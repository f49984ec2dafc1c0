"""One real call before the timing: a fast wrong answer is worth nothing."""

from __future__ import annotations

import http.client

import grpc
import numpy as np
import numpy.typing as npt

from wires.exchange import Exchange

_DEADLINE = 60.0
_TOLERANCE = 1e-4
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Floats = npt.NDArray[np.float32]


class CallFailed(RuntimeError):
    """The server cannot be reached or answers with an error; the text says which."""


class WrongAnswer(RuntimeError):
    """A contender's answer is not that of the bare model; the text says what it answered."""


def check_answer(address: str, exchange: Exchange, expected: Floats) -> int:
    """Call once and compare the answer with `expected`; returns the answer's size in bytes.

    Raises `CallFailed` or `WrongAnswer`.
    """
    body = call(address, exchange)
    try:
        answer = np.frombuffer(exchange.decode(body), "<f4")
    except (ValueError, KeyError) as error:
        raise WrongAnswer(f"the answer cannot be read: {error}: {body[:200]!r}") from error
    if answer.size != expected.size:
        raise WrongAnswer(f"answered {answer.size} numbers, expected {expected.size}")
    if not np.allclose(answer, expected.ravel(), rtol=_TOLERANCE, atol=_TOLERANCE):
        worst = float(np.max(np.abs(answer - expected.ravel())))
        raise WrongAnswer(f"the numbers differ from the bare model's by up to {worst:g}")
    return len(body)


def call(address: str, exchange: Exchange) -> bytes:
    """The message or content of one answer. Raises `CallFailed`."""
    return (_grpc if exchange.transport == "grpc" else _http)(address, exchange)


def _grpc(address: str, exchange: Exchange) -> bytes:
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        infer = channel.unary_unary(exchange.path, _unchanged, _unchanged)
        try:
            answer: bytes = infer(exchange.body, timeout=_DEADLINE, metadata=exchange.headers)
        except grpc.RpcError as error:
            raise CallFailed(f"{error.code().name}: {error.details()}") from error
    return answer


def _http(address: str, exchange: Exchange) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=_DEADLINE)
    try:
        connection.request("POST", exchange.path, exchange.body, dict(exchange.headers))
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if response.status // 100 != 2:
        raise CallFailed(f"HTTP status {response.status}: {body[:500]!r}")
    return body


def _unchanged(message: bytes) -> bytes:
    return message
