"""The dataplane of a gateway that traces."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from inferd.server.gateway.dataplane import Call, Dataplane
from inferd.server.gateway.infer_request import InferCall, RefusedCall
from inferd.server.gateway.observed_call import observed
from inferd.server.gateway.scheduling.observation.request import Observation, Trace
from inferd.server.gateway.tracing.tracer import CONTEXT, CONTEXT_LENGTH, Tracer
from inferd.wire.errors import ServingError


class TracedDataplane(Dataplane):
    """Notes what becomes of the requests that are traced; others only pay for the decision."""

    def __init__(
        self, tracer: Tracer, unexpected: Callable[..., ServingError], **given: Any
    ) -> None:
        """`unexpected` logs an error that nobody foresaw; `given` is the dataplane's."""
        super().__init__(**given)
        self._tracer = tracer
        self._infer = super().infer  # looked up once: most requests are not traced
        self._unexpected = unexpected

    def sampled(
        self, gap: Callable[[], int], rarely: Callable[[Call], None]
    ) -> Callable[[Call], None]:
        """As `Dataplane.sampled`, for one thread, too; requests to be traced are counted along.

        All requests of a door come through here, nearly all of them in vain, and among a server's other
        code this takes twice what it takes in a loop: what is done for those is written out in one function.
        """
        infer, next_turn, decide = (
            self._infer,
            self._tracer.gap_between_others,
            self._tracer.decide_counted,
        )
        to_line, to_turn = gap(), next_turn()
        left = step = min(to_line, to_turn)

        def handle(call: Call) -> None:
            nonlocal left, step, to_line, to_turn
            left -= 1
            if left:
                for each in call.metadata:
                    if len(each[0]) == CONTEXT_LENGTH and each[0] in CONTEXT:
                        break
                else:
                    infer(call)
                    return
                self._follow(call, decide(call.metadata, turn=False))
                return
            to_line -= step
            to_turn -= step
            has_line, its_turn = not to_line, not to_turn
            if has_line:
                to_line = gap()
            if its_turn:
                to_turn = next_turn()
            left = step = min(to_line, to_turn)
            if has_line:  # and comes back to `infer`, where those with a line have their own turns
                rarely(call)
            else:
                self._follow(call, decide(call.metadata, turn=True))

        return handle

    def infer(
        self, call: InferCall, seen: Observation | None = None, *, background: bool = False
    ) -> None:
        """As `Dataplane.infer`."""
        trace = self._tracer.decide(call.metadata, has_line=_told(call) is not None)
        self._follow(call, trace, background=background)

    def refused(self, call: RefusedCall, model: str, version: str, error: ServingError) -> None:
        """As `Dataplane.refused`."""
        tell = _told(call)
        trace = self._tracer.decide(call.metadata, has_line=tell is not None)
        if trace is None:
            return
        if tell is not None:
            tell(*_ids(trace).values())
        seen = Observation(call.method, call.began, trace)
        seen.read(model, version, "")
        seen.end(error)

    def _follow(self, call: InferCall, trace: Trace | None, *, background: bool = False) -> None:
        """Infer; where there is a trace, what becomes of the request is noted."""
        if trace is None:
            self._infer(call, background=background)
            return
        # A request over HTTP has been read for some time when it comes here.
        seen = Observation(call.method, getattr(call, "began", None) or monotonic(), trace)
        if (tell := _told(call)) is not None:
            tell(*_ids(trace).values())
        call = observed(call, seen)
        try:
            self._infer(call, seen, background=background)
        except Exception as error:  # the last resort, here where its trace is known
            call.fail(self._unexpected(error, call.method, **_ids(trace)))


def _told(call: object) -> Callable[[str, str], None] | None:
    """What is told the ids of a trace: the line that the access log has for this request; None without one."""
    told: Callable[[str, str], None] | None = getattr(call, "traced", None)
    return told


def _ids(trace: Trace) -> dict[str, str]:
    """What a log calls it."""
    return {"trace_id": f"{trace.trace_id:032x}", "span_id": f"{trace.span_id:016x}"}
