"""The dataplane of a gateway that traces."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.infer_request import InferCall
from inferd.server.gateway.observed_call import observed
from inferd.server.gateway.scheduling.observation.request import Observation, Trace
from inferd.server.gateway.tracing.tracer import Tracer
from inferd.wire.errors import ServingError


class TracedDataplane(Dataplane):
    """Notes what becomes of the requests that are traced; others only pay for the decision."""

    def __init__(
        self, tracer: Tracer, unexpected: Callable[..., ServingError], **given: Any
    ) -> None:
        """`unexpected` logs an error that nobody foresaw; `given` is the dataplane's."""
        super().__init__(**given)
        self._decide = tracer.decide
        self._unexpected = unexpected

    def infer(self, call: InferCall, seen: Observation | None = None) -> None:
        """As `Dataplane.infer`."""
        trace = self._decide(call.metadata)
        if trace is None:
            super().infer(call)
        else:
            self._trace(super().infer, call, trace)

    def infer_in_background(self, call: InferCall, seen: Observation | None = None) -> None:
        """As `Dataplane.infer_in_background`."""
        trace = self._decide(call.metadata)
        if trace is None:
            super().infer_in_background(call)
        else:
            self._trace(super().infer_in_background, call, trace)

    def _trace(
        self, infer: Callable[[InferCall, Observation], None], call: InferCall, trace: Trace
    ) -> None:
        # A request over HTTP has been read for some time when it comes here.
        seen = Observation(call.method, getattr(call, "began", None) or monotonic(), trace)
        ids = {"trace_id": f"{trace.trace_id:032x}", "span_id": f"{trace.span_id:016x}"}
        if (tell := getattr(call, "traced", None)) is not None:  # it is logged, too
            tell(**ids)
        call = observed(call, seen)
        try:
            infer(call, seen)
        except Exception as error:  # the last resort, here where its trace is known
            call.fail(self._unexpected(error, call.method, **ids))
