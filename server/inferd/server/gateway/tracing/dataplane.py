"""The dataplane of a gateway that traces."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.infer_request import InferCall, RefusedCall
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
        self._infer = super().infer  # looked up once: most requests are not traced
        self._unexpected = unexpected

    def infer(
        self, call: InferCall, seen: Observation | None = None, *, background: bool = False
    ) -> None:
        """As `Dataplane.infer`."""
        trace = self._decide(call.metadata)
        if trace is not None:
            self._trace(call, trace, background=background)
        elif background:
            self._infer(call, background=True)
        else:  # nearly always, so without a keyword, which has its price
            self._infer(call)

    def refused(self, call: RefusedCall, model: str, version: str, error: ServingError) -> None:
        """As `Dataplane.refused`."""
        trace = self._decide(call.metadata)
        if trace is None:
            return
        if (tell := call.traced) is not None:
            tell(*_ids(trace).values())
        seen = Observation(call.method, call.began, trace)
        seen.read(model, version, "")
        seen.end(error)

    def _trace(self, call: InferCall, trace: Trace, *, background: bool) -> None:
        # A request over HTTP has been read for some time when it comes here.
        seen = Observation(call.method, getattr(call, "began", None) or monotonic(), trace)
        if (tell := getattr(call, "traced", None)) is not None:  # it is logged, too
            tell(**_ids(trace))
        call = observed(call, seen)
        try:
            self._infer(call, seen, background=background)
        except Exception as error:  # the last resort, here where its trace is known
            call.fail(self._unexpected(error, call.method, **_ids(trace)))


def _ids(trace: Trace) -> dict[str, str]:
    """What a log calls it."""
    return {"trace_id": f"{trace.trace_id:032x}", "span_id": f"{trace.span_id:016x}"}
