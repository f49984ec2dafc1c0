"""What went wrong, in words for callers and operators; the whole story goes to the log."""

from __future__ import annotations

import re
import secrets

import torch

from inferd.core.link.messages import Fault
from inferd.core.telemetry import logs
from inferd.wire import errors
from inferd.worker.runner.trace import current

_log = logs.get_logger(__name__)

_BRIEF_LIMIT = 300
_PATH = re.compile(r"(?:/[^\s/:'\"()]+)+/([^\s/:'\"()]+)")
# CUDA errors after which "the process must be terminated and relaunched": illegal addresses and
# instructions, failed assertions, launch failures and the like.
_CONTEXT_LOST = frozenset({700, 702, 709, 710, *range(714, 720)})
_CPU_OUT_OF_MEMORY = "DefaultCPUAllocator"


def model_fault(error: BaseException, model: str) -> Fault:
    """The fault of a batch in which the model raised `error`.

    Callers get no text of the model's own: it may carry paths, or another caller's data.
    """
    if isinstance(error, errors.OutputInvalid):
        _log.error("the model's answer does not fit its signature", model=model, why=error.message)
        return Fault(error.reason, error.message)
    if is_out_of_memory(error):
        _log.error("the model ran out of memory", model=model, exc_info=error)
        return Fault(
            errors.ModelOutOfMemory.reason,
            f"model '{model}' ran out of memory on this batch; send fewer or smaller rows",
        )
    mark = secrets.token_hex(4)
    traceparent = current.traceparent
    traced = {} if traceparent is None else {"traceparent": traceparent}
    _log.error("the model failed", model=model, error_id=mark, exc_info=error, **traced)
    return Fault(
        errors.ModelFailed.reason,
        f"model '{model}' failed on this batch; the server's log tells why under error id {mark}",
    )


def own_fault(error: BaseException, doing: str) -> Fault:
    """The fault of a batch that failed outside the model, hence through us."""
    mark = secrets.token_hex(4)
    _log.error("a batch failed", doing=doing, error_id=mark, exc_info=error)
    return Fault(
        errors.Unexpected.reason,
        f"the server failed while {doing}; its log tells why under error id {mark}",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host or the device had no memory left. The process is none the worse for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_OUT_OF_MEMORY in str(error)


def is_device_lost(error: BaseException) -> bool:
    """Whether the CUDA context is broken for good; only a new process gets a sound one."""
    if not isinstance(error, torch.AcceleratorError):
        return False
    code = getattr(error, "error_code", None)
    return code is None or code in _CONTEXT_LOST


def brief(error: BaseException) -> str:
    """The first line of an error's own text, folders cut off: for a one-line reason."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "it tried to end the process"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "it gave no reason"
    text = _PATH.sub(r"\1", lines[0]).rstrip(".")
    return text if len(text) <= _BRIEF_LIMIT else text[: _BRIEF_LIMIT - 1] + "…"
