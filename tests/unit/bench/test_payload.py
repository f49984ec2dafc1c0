"""Requests made from what a server tells about its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inferd.bench.payload import Payload, Wanted, parse_shapes, payload_of
from inferd.bench.plan import PlanError
from inferd.client import Client, InvalidInput, connect
from inferd.client.inputs import UsageError
from inferd.protos import oip_pb2 as oip
from support.oip_server import OipServer


@pytest.fixture
def client() -> Iterator[Client]:
    """Of a real server."""
    with OipServer() as server, connect(server.address) as connected:
        yield connected


def request(payload: Payload) -> oip.ModelInferRequest:
    """It as a message."""
    return oip.ModelInferRequest.FromString(payload.request)


def shapes(payload: Payload) -> dict[str, list[int]]:
    """Its inputs' shapes."""
    return {each.name: list(each.shape) for each in request(payload).inputs}


def test_random_requests_fit_and_repeat(client: Client) -> None:
    """The same seed gives the same bytes; rows fill the batch, optional inputs are left out."""
    model = client.model("pair")
    found = payload_of(model, Wanted(rows=3, seed=5))
    assert shapes(found) == {"left": [3, 3], "right": [3, 1]}
    assert found.rows == 3
    assert found == payload_of(model, Wanted(rows=3, seed=5))
    assert found != payload_of(model, Wanted(rows=3, seed=6))


def test_text_is_made_up_too(client: Client) -> None:
    """BYTES inputs get words."""
    (raw,) = request(payload_of(client.model("identity-bytes"), Wanted())).raw_input_contents
    assert b"red" in raw or b"green" in raw or b"blue" in raw


def test_free_dimensions_are_one_unless_given(client: Client) -> None:
    """--shape gives an input's whole shape."""
    assert shapes(payload_of(client.model("plain"), Wanted())) == {"x": [2, 1]}
    wide = payload_of(client.model("plain"), Wanted(shapes=("x=2,7",)))
    assert shapes(wide) == {"x": [2, 7]}
    assert shapes(payload_of(client.model("echo"), Wanted(shapes=("input=5",)))) == {"input": [5]}


def test_given_values_are_sent(client: Client) -> None:
    """As `inferd predict` reads them; rows are counted."""
    found = payload_of(client.model("ids"), Wanted(texts=("[4, 5]",)))
    assert (shapes(found), found.rows) == ({"id": [2]}, 2)
    assert found.inputs == ("id INT64 [2]",)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(rows=0), "expected 1 row or more"),
        (Wanted(texts=("1",), rows=2), "--input was given"),
        (Wanted(shapes=("y=1",)), "no such input; it takes x"),
        (Wanted(rows=2), "does not batch"),
    ],
)
def test_what_does_not_go_together_is_refused(client: Client, wanted: Wanted, told: str) -> None:
    """In words that name the option."""
    with pytest.raises(PlanError, match=told):
        payload_of(client.model("plain"), wanted)


def test_values_that_do_not_fit_are_refused(client: Client) -> None:
    """Before any load, in the client's words."""
    with pytest.raises(InvalidInput, match="shape"):
        payload_of(client.model("plain"), Wanted(shapes=("x=3,1",)))
    with pytest.raises(UsageError, match="not JSON"):
        payload_of(client.model("plain"), Wanted(texts=("[1",)))


def test_shapes_are_names_and_sizes() -> None:
    """Once per input."""
    assert parse_shapes(("a=1,128", "b=2")) == {"a": (1, 128), "b": (2,)}
    for text in ("a", "=1", "a=", "a=1,x", "a=-1"):
        with pytest.raises(PlanError, match="expected NAME=SIZE"):
            parse_shapes((text,))
