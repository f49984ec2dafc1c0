"""Requests recognised by their bytes are the same requests."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inferd.server.gateway.admission.forms import Forms
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import InferMessage
from support.calls import request


def payload_of(*sizes: int, fill: int = 0, name: str = "x") -> bytes:
    """A request with raw tensors of these sizes."""
    heads = [(f"{name}{n}", "UINT8", [size]) for n, size in enumerate(sizes)]
    raw = [bytes([fill]) * size for size in sizes]
    return request("m", *heads, raw=raw).SerializeToString()


def found(forms: Forms[str], payload: bytes) -> tuple[str, list[bytes]] | None:
    """What is remembered, and the tensors as bytes."""
    known = forms.find(payload)
    return None if known is None else (known[0], [bytes(each) for each in known[1]])


def test_a_form_is_known_whatever_its_data() -> None:
    """The tensors come out of the new request, not of the one that was remembered."""
    forms: Forms[str] = Forms()
    for sizes in [(5,), (5, 7), (0, 300)]:
        forms.remember(payload_of(*sizes, fill=1), str(sizes))
        tensors = [b"\2" * size for size in sizes]
        assert found(forms, payload_of(*sizes, fill=2)) == (str(sizes), tensors)


def test_other_forms_of_the_same_length_are_other_forms() -> None:
    """Another name, other sizes: not found, until they are remembered too."""
    forms: Forms[str] = Forms()
    forms.remember(payload_of(4, 8), "a")
    assert found(forms, payload_of(8, 4)) is None
    assert found(forms, payload_of(4, 8, name="z")) is None
    forms.remember(payload_of(8, 4), "b")
    assert found(forms, payload_of(4, 8)) == ("a", [bytes(4), bytes(8)])
    assert found(forms, payload_of(8, 4)) == ("b", [bytes(8), bytes(4)])


def test_bytes_that_are_no_request_are_not_taken_for_one() -> None:
    """A prefix that is known with another length, or cut at another place, is not found."""
    forms: Forms[str] = Forms()
    first, longer = payload_of(4), payload_of(5)
    forms.remember(first, "four")
    forms.remember(longer, "five")
    broken = first[:-4] + bytes(5)  # says four bytes, has five
    assert len(broken) == len(longer)
    assert found(forms, broken) is None
    forms.remember(payload_of(4, 8), "a")
    forms.remember(payload_of(8, 4), "b")
    # The first one's bytes with the second one's places: cut there, all but the data is known.
    head = payload_of(4, 8)[: -(2 + 4 + 2 + 8)]
    crossed = head + b"\x3a\x04" + bytes(8) + b"\x3a\x08" + bytes(4)
    assert found(forms, crossed) is None


def test_endless_forms_do_not_grow_the_memory() -> None:
    """The number of forms and their size are bounded."""
    forms: Forms[str] = Forms()
    for n in range(1200):
        forms.remember(payload_of(3, name=f"n{n}"), "x")
    assert len(forms._known) <= 1024
    assert sum(len(each) for each in forms._layouts.values()) <= 1024
    forms.remember(payload_of(3, name="n" * 2000), "long")
    assert found(forms, payload_of(3, name="n" * 2000)) is None
    forms.clear()
    assert found(forms, payload_of(3, name="n1199")) is None


_SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=3)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(_SIZES, st.data())
def test_what_is_found_is_what_parsing_gives(sizes: list[int], data: st.DataObject) -> None:
    """For requests with damaged bytes, too: the same tensors, or nothing found, or no request."""
    forms: Forms[str] = Forms()
    forms.remember(payload_of(*sizes), "known")
    forms.remember(payload_of(*reversed(sizes)), "reversed")
    payload = bytearray(payload_of(*sizes, fill=1))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.sampled_from([0, 1, 4, 0x2A, 0x3A]))
    known = found(forms, bytes(payload))
    if known is None:
        return
    try:
        message = InferMessage(bytes(payload))
    except InvalidRequest as error:
        raise AssertionError("bytes that are no request were recognised as one") from error
    assert [bytes(each) for each in message.buffers()] == known[1]
    shapes = [shape for _, _, shape in message.inputs]
    assert shapes == [(size,) for size in (sizes if known[0] == "known" else reversed(sizes))]
