"""The caller's trace, sent along: the W3C context of the span that is active, if there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Metadata = tuple[tuple[str, str], ...]

_propagator: TraceContextTextMapPropagator | None = None


def traced(metadata: Metadata = ()) -> Metadata:
    """`metadata` and the context of the active span; only where OpenTelemetry is in use.

    It is no dependency: who has a span has imported it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return metadata
    global _propagator  # noqa: PLW0603  # made once, when it is known to be there
    if _propagator is None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        _propagator = TraceContextTextMapPropagator()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return (*metadata, *carrier.items()) if carrier else metadata
