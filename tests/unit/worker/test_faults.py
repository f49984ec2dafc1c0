"""Errors in words."""

from __future__ import annotations

import pytest
import torch

from inferd.wire.errors import OutputInvalid
from inferd.worker.faults import brief, is_device_lost, model_fault, own_fault


def too_much() -> RuntimeError:
    """What torch raises when the host has no memory."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("/home/someone/model.py: secret"), "MODEL_ERROR"),
        (SystemExit(3), "MODEL_ERROR"),
        (KeyboardInterrupt(), "MODEL_ERROR"),
        (MemoryError(), "MODEL_OOM"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"), "MODEL_OOM"),
        (too_much(), "MODEL_OOM"),
        (OutputInvalid("output 'y' is wrong"), "MODEL_OUTPUT_INVALID"),
    ],
    ids=["raises", "exits", "interrupts", "memory", "cuda-memory", "cpu-memory", "output"],
)
def test_what_a_model_raises_has_a_reason(error: BaseException, reason: str) -> None:
    """Each kind of failure has its own; nothing of the model's own text reaches a caller."""
    fault = model_fault(error, "digits")
    assert fault.reason == reason
    assert type(error).__name__ not in fault.message
    assert "secret" not in fault.message
    assert "/" not in fault.message


def test_each_failure_has_its_own_mark() -> None:
    """The id in the message finds the one traceback in the log."""
    messages = {model_fault(ValueError(), "m").message for _ in range(20)}
    assert len(messages) == 20


def test_our_own_faults_are_told_apart() -> None:
    """The model is not blamed for what the server did."""
    fault = own_fault(ValueError("offset 7"), "reading a batch")
    assert fault.reason == "INTERNAL_ERROR"
    assert "offset 7" not in fault.message


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError(), "it gave no reason"),
        (
            FileNotFoundError(2, "No such file", "/a/b c/w.bin"),
            "[Errno 2] No such file: 'b c/w.bin'",
        ),
        (ValueError("see /opt/models/x/model.py:3"), "see model.py:3"),
        (SystemExit("gone"), "it tried to end the process"),
        (ValueError("x" * 400), "x" * 299 + "…"),
    ],
    ids=["lines", "empty", "space", "path", "exit", "long"],
)
def test_brief_is_one_line_without_folders(error: BaseException, line: str) -> None:
    """Reasons are read in lists, by people who must not learn where files lie."""
    assert brief(error) == line


def test_only_a_broken_context_loses_the_device() -> None:
    """Running out of memory or a wrong argument leaves the GPU sound."""
    assert not is_device_lost(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_device_lost(RuntimeError("CUDA error"))
    lost = torch.AcceleratorError("an illegal memory access was encountered")
    assert is_device_lost(lost)
