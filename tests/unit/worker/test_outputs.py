"""Answers against signatures, and their places in a slot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inferd.core.link.arena import Arena
from inferd.core.link.messages import SlotTensor
from inferd.wire.dtypes import ANY
from inferd.wire.errors import OutputInvalid
from inferd.wire.signature import Axis, Signature, TensorSpec
from inferd.wire.tensors import decode_bytes
from inferd.worker.model import Value
from inferd.worker.runner.cpu import write
from inferd.worker.runner.outputs import OutputCheck, laid_out
from inferd.worker.tensors import SlotMemory

BATCH, SEQUENCE = Axis("batch", 1, 64), Axis("s", 0, 16)

BATCHED = Signature(
    inputs=(TensorSpec("x", "FP32", (BATCH, SEQUENCE)),),
    outputs=(TensorSpec("y", "FP32", (BATCH, SEQUENCE)), TensorSpec("n", "INT64", (BATCH,))),
    max_batch_size=64,
)
FREE = Signature(
    inputs=(TensorSpec("input", ANY, None),), outputs=(TensorSpec("output", ANY, None),)
)
FREE_BATCHED = Signature(FREE.inputs, FREE.outputs, 8)
FOUND = Signature(
    inputs=(TensorSpec("x", "FP32", (4,)),), outputs=(TensorSpec("y", "FP32", (Axis("u0", 1, 3),)),)
)


def text(*elements: bytes) -> Value:
    """A BYTES tensor."""
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array


@pytest.mark.parametrize(
    ("signature", "values", "inputs"),
    [
        (BATCHED, [torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64)], ((3, 5),)),
        (FREE, [torch.zeros(2, 1, dtype=torch.bfloat16)], ((7,),)),
        (FREE, [text(b"a")], ((7,),)),
        (FREE_BATCHED, [torch.zeros(7, 2)], ((7, 3, 3),)),
        (FOUND, [torch.zeros(3)], ((4,),)),
    ],
    ids=["batched", "any", "any-bytes", "any-rows", "found-out-when-run"],
)
def test_what_fits_passes(
    signature: Signature, values: list[Value], inputs: tuple[tuple[int, ...], ...]
) -> None:
    """An answer as declared is accepted, the second time too, when the shapes are known."""
    check = OutputCheck("m", signature)
    check.check(values, inputs)
    check.check(values, inputs)


INT64 = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("signature", "values", "inputs", "told"),
    [
        (BATCHED, [torch.zeros(3, 5)], ((3, 5),), "returned 1 outputs; it declares 2"),
        (BATCHED, [torch.zeros(2, 5), INT64], ((3, 5),), "'y' as FP32 \\[2, 5\\].*3 rows"),
        (BATCHED, [torch.zeros(3, 6), INT64], ((3, 5),), "FP32 \\[batch, s\\]"),
        (BATCHED, [torch.zeros(3), INT64], ((3, 5),), "'y' as FP32 \\[3\\]"),
        (BATCHED, [torch.zeros(3, 5), torch.zeros(3)], ((3, 5),), "'n' as FP32.*says INT64"),
        (BATCHED, [torch.zeros(3, 5), text(b"", b"", b"")], ((3, 5),), "'n' as BYTES"),
        (FREE, [torch.zeros(2, dtype=torch.complex64)], ((2,),), "complex64"),
        (FREE_BATCHED, [torch.zeros(6, 2)], ((7, 3),), "the batch has 7 rows"),
        (FREE_BATCHED, [torch.zeros(())], ((7, 3),), "the batch has 7 rows"),
        (FOUND, [torch.zeros(4)], ((4,),), "FP32 \\[u0\\]"),
    ],
    ids=[
        "count",
        "rows",
        "axis",
        "rank",
        "datatype",
        "bytes",
        "no-datatype",
        "any-rows",
        "no-rows",
        "range",
    ],
)
def test_what_does_not_fit_is_told(
    signature: Signature, values: list[Value], inputs: tuple[tuple[int, ...], ...], told: str
) -> None:
    """The message names the output, what it was and what the signature says."""
    with pytest.raises(OutputInvalid, match=told):
        OutputCheck("m", signature).check(values, inputs)


def test_parts_are_aligned_and_do_not_overlap() -> None:
    """Each output begins at a multiple of 64 bytes, behind the one before it."""
    parts, nbytes = laid_out([torch.zeros(3, 5), text(b"ab", b""), torch.zeros(0), INT64])
    assert [(p.datatype, p.shape, p.offset, p.nbytes) for p in parts] == [
        ("FP32", (3, 5), 0, 60),
        ("BYTES", (2,), 64, 10),
        ("FP32", (0,), 128, 0),
        ("INT64", (3,), 128, 24),
    ]
    assert nbytes == 152
    assert parts[0].slot(4096) == SlotTensor("FP32", (3, 5), 4096, 60)


def test_writing_touches_its_own_bytes_only() -> None:
    """Outputs are written in full, row-major, whatever their strides; bytes around them stay."""
    with Arena(4096) as arena:
        memory = SlotMemory(arena.fd, 4096)
        arena.cells[:] = b"\xee" * 4096
        transposed = torch.arange(6, dtype=torch.int16).reshape(2, 3).T
        expanded = torch.tensor([float("nan")]).expand(3)
        parts, nbytes = laid_out([transposed, expanded, text(b"xyz")])
        write(parts, memory, 256)
        memory.close()
        seen = bytes(arena.cells)
    assert np.frombuffer(seen, "<i2", 6, 256).tolist() == [0, 3, 1, 4, 2, 5]
    assert np.isnan(np.frombuffer(seen, "<f4", 3, 320)).all()
    assert decode_bytes(seen[384 : 384 + 7], 1) == [b"xyz"]
    assert nbytes == 135
    untouched = seen[:256] + seen[268:320] + seen[332:384] + seen[391:]
    assert set(untouched) == {0xEE}
