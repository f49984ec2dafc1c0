"""What is decided before torch is imported."""

from __future__ import annotations

import os
import sys

import pytest

from inferd.core.link.messages import Pinning
from inferd.worker.bootstrap import _stay_on, _visible_device, pin


@pytest.mark.parametrize(
    ("given", "device", "visible"),
    [
        (None, "cpu", ""),
        ("0,1", "cpu", ""),
        (None, "cuda:3", "3"),
        ("5, GPU-abc", "cuda:1", "GPU-abc"),
    ],
)
def test_a_worker_sees_its_own_gpu_only(
    monkeypatch: pytest.MonkeyPatch, given: str | None, device: str, visible: str
) -> None:
    """The index counts among the GPUs that the operator left visible."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert _visible_device(device) == visible


@pytest.mark.parametrize(("given", "device"), [("0", "cuda:1"), ("", "cuda:0"), (None, "tpu:0")])
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str | None, device: str
) -> None:
    """The message names the device as the operator wrote it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        _visible_device(device)


def test_cores_that_are_not_there_are_refused() -> None:
    """The message says which cores could be had instead."""
    offered = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(ValueError, match=rf"cores 4095 are not.*may use {offered}"):
        _stay_on((4095,))


def test_pinning_after_torch_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has read its threads by then; pinning would change nothing and say nothing."""
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch"))
    with pytest.raises(RuntimeError, match="already imported"):
        pin(Pinning("cpu"))
