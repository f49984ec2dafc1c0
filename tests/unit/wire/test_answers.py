"""Answers put together from a kept head and raw outputs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inferd.protos.oip_pb2 import ModelInferResponse
from inferd.wire.answers import answer_head, assemble_answer

_OUTPUTS = st.lists(
    st.tuples(
        st.text(max_size=5),
        st.sampled_from(["FP32", "BYTES"]),
        st.lists(st.integers(0, 2**62), max_size=3).map(tuple),
    ),
    max_size=3,
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    _OUTPUTS,
    st.text(max_size=200),
    st.lists(st.binary(max_size=300), max_size=4),
    st.integers(1, 2**31),
)
def test_the_pieces_are_one_message(
    outputs: list[tuple[str, str, tuple[int, ...]]],
    request_id: str,
    raw: list[bytes],
    version: int,
) -> None:
    """Protobuf reads back exactly what went in, from bytes and from views."""
    head = answer_head("m", version, outputs)
    for tensors in (raw, [memoryview(each) for each in raw]):
        answer = ModelInferResponse.FromString(assemble_answer(head, request_id, tensors))
        assert (answer.model_name, answer.model_version) == ("m", str(version))
        assert answer.id == request_id
        assert [(o.name, o.datatype, tuple(o.shape)) for o in answer.outputs] == outputs
        assert list(answer.raw_output_contents) == raw


def test_sizes_at_the_borders_of_a_varint() -> None:
    """Lengths of one, two, three and four bytes are all encoded as protobuf does."""
    sizes = [0, 1, 127, 128, 16383, 16384, 2097151, 2097152]
    head = answer_head("m", 1, [])
    answer = assemble_answer(head, "", [bytes(size) for size in sizes])
    assert (
        answer
        == head
        + ModelInferResponse(
            raw_output_contents=[bytes(size) for size in sizes]
        ).SerializeToString()
    )
