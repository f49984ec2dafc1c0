"""Why a caller is no longer there: it went away, or its deadline passed."""

from __future__ import annotations

from inferd.wire.errors import Cancelled, DeadlineExceeded

SLACK = 0.01
"""Seconds before its deadline that a call may end for it: clients' clocks and gRPC's round."""


def leaving(deadline: float, now: float) -> DeadlineExceeded | Cancelled:
    """The error of a call that ends unanswered at `now`; both in monotonic seconds."""
    if now >= deadline - SLACK:
        return DeadlineExceeded("the caller's deadline passed")
    return Cancelled("the caller went away")
