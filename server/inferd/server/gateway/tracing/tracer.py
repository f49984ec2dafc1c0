"""Which requests are traced: as their callers have decided, else a share of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import lru_cache

from opentelemetry.context import Context
from opentelemetry.trace import (
    SpanContext,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inferd.core.telemetry.sampling import Turns, gaps
from inferd.server.gateway.scheduling.observation.batch import ObservedBatch
from inferd.server.gateway.scheduling.observation.request import Observation, Trace, new_id

Headers = Iterable[tuple[str | bytes, str | bytes]]
"""gRPC metadata or HTTP headers; names are lower-case."""

CONTEXT = frozenset({"traceparent", b"traceparent"})
"""The name of the header that a caller's context comes in."""

CONTEXT_LENGTH = len("traceparent")
"""Names of that length are rare: who looks at each request's need not hash the others."""

_STATE = frozenset({"tracestate", b"tracestate"})

_MOST_PARENT, _MOST_STATE = 256, 1024
"""Characters; a longer context is taken for none, a longer state is left away, as W3C allows."""

_KNOWN = 256
"""Contexts that are remembered: a stream has one for all its requests."""

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracer:
    """Decides, and hands what is over to whoever writes spans. Safe from any thread."""

    def __init__(
        self,
        share: float,
        put: Callable[[Observation | ObservedBatch], None],
        *,
        logged: float = 0.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Traced is `share` of the requests that come without a context; `put` must not block.

        Those are the requests that the access log has a line for, which are the share `logged` of all,
        as far as `share` goes: from a line one comes to a trace. Others are traced if more are wanted.
        """
        self._put = put
        more = (share - logged) / (1.0 - logged) if share > logged else 0.0
        self.gap_between_others = gaps(more, chance)
        """Of those without a line, from one whose turn it is to the next, for who counts them itself."""
        self._others = Turns(self.gap_between_others)
        self._with_line = Turns(gaps(share / logged if share < logged else 1.0, chance))

    def decide(self, headers: Headers, *, has_line: bool = False) -> Trace | None:
        """The trace of a request that came with these; None for one that is not traced.

        `has_line`: the access log has one for it.
        """
        if (parent := _parent(headers)) is not None:
            return self._trace(parent) if parent.trace_flags.sampled else None
        turns = self._with_line if has_line else self._others
        return self._trace(None) if turns.comes() else None

    def decide_counted(self, headers: Headers, *, turn: bool) -> Trace | None:
        """As `decide` for one without a line, for who counts itself: `turn` is whether it is this one's."""
        parent = _parent(headers)
        wanted = turn if parent is None else parent.trace_flags.sampled
        return self._trace(parent) if wanted else None

    def _trace(self, parent: SpanContext | None) -> Trace:
        trace_id = new_id(128) if parent is None else parent.trace_id
        return Trace(trace_id, new_id(64), parent, self._put)


def _parent(headers: Headers) -> SpanContext | None:
    for each in headers:
        if len(each[0]) == CONTEXT_LENGTH and each[0] in CONTEXT:
            return _context(_text(each[1]), _state(headers))
    return None


@lru_cache(_KNOWN)
def _context(parent: str, state: tuple[str, ...]) -> SpanContext | None:
    """The caller's context; None where it is none."""
    if len(parent) > _MOST_PARENT:
        return None
    carrier = {"traceparent": [parent], "tracestate": list(state)}
    context = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    return context if context.is_valid else None


def _state(headers: Headers) -> tuple[str, ...]:
    found = tuple(_text(value) for key, value in headers if key in _STATE)
    return found if sum(map(len, found)) <= _MOST_STATE else ()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
