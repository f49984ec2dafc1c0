"""How requests end, in the few words that metrics and objectives are made of."""

from __future__ import annotations

from collections import Counter

from inferd.core.link.messages import VersionCounts
from inferd.wire import errors

OTHER = "OTHER"
"""Stands for reasons that are not the server's own, so that nobody can make up series."""

SERVERS_OWN = ("overload", "expired", "unavailable", "failed")
"""The outcomes that are the server's fault and not the caller's."""

_KNOWN = errors.error_types()

_OUTCOMES: tuple[tuple[type[errors.ServingError], str], ...] = (
    # A message that no retry makes smaller is the caller's mistake.
    (errors.MessageTooLarge, "invalid"),
    (errors.ModelOutOfMemory, "failed"),
    (errors.Exhausted, "overload"),
    (errors.DeadlineExceeded, "expired"),
    (errors.Cancelled, "cancelled"),
    (errors.Unavailable, "unavailable"),
    (errors.Internal, "failed"),
    (errors.InvalidRequest, "invalid"),
    (errors.NotFound, "invalid"),
    (errors.AlreadyExists, "invalid"),
    (errors.SequenceLost, "invalid"),
    (errors.Unimplemented, "invalid"),
    (errors.Forbidden, "invalid"),
)


def known(reason: str) -> str:
    """The reason of an error, or `OTHER` for one that only its raiser knows."""
    return reason if reason in _KNOWN else OTHER


def outcome_of(reason: str) -> str:
    """Which of `metrics.OUTCOMES` an error of this reason is; `failed` for one not known."""
    kind = _KNOWN.get(reason, errors.ServingError)
    return next((outcome for base, outcome in _OUTCOMES if issubclass(kind, base)), "failed")


def outcomes_of(counts: VersionCounts) -> Counter[str]:
    """How many requests ended how, by `metrics.OUTCOMES`."""
    outcomes = Counter(ok=counts.success.count, cancelled=counts.cancelled)
    for reason, count in counts.errors.items():
        outcomes[outcome_of(reason)] += count
    return outcomes
