"""Requests recognised by their bytes: what was parsed and checked once is not parsed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from inferd.wire.requests import Span, raw_spans, skeleton
from inferd.wire.tensors import Buffer

Known = TypeVar("Known")

_MAX_FORMS = 1024
_MAX_SKELETON = 1024
"""Together with the count of forms this bounds the memory that callers can fill, to about 1 MiB."""

_MAX_LAYOUTS = 4
"""Layouts tried per request length; more would cost more than parsing."""


_SMALL = 4096


class Forms(Generic[Known]):
    """Remembers something for every form of request: all bytes but the raw tensors' data.

    Two requests of the same length whose raw tensors lie at the same places and whose other
    bytes, tags and lengths of the tensors among them, are equal parse to the same message but
    for those tensors' data. Callers that repeat themselves, as most do, are so served without
    protobuf.
    """

    def __init__(self) -> None:
        self._layouts: dict[int, tuple[tuple[Span, ...], ...]] = {}
        self._known: dict[bytes, tuple[tuple[Span, ...], Known]] = {}

    def find(self, payload: bytes) -> tuple[Known, Sequence[Buffer]] | None:
        """What is remembered for this form, and the raw tensors in the request's order."""
        for spans in self._layouts.get(len(payload), ()):
            if len(spans) == 1 and spans[0][2] == len(payload):
                _, start, _ = spans[0]  # by far the most frequent: one tensor, at the end
                known = self._known.get(payload[:start])
                if known is not None and known[0] == spans:
                    # Of a small one a copy is quicker than a view.
                    small = len(payload) - start <= _SMALL
                    tensor = payload[start:] if small else memoryview(payload)[start:]
                    return known[1], (tensor,)
                continue
            known = self._known.get(skeleton(payload, spans, with_tags=True))
            # Cut at other places, bytes that are no request may look like one that is.
            if known is not None and known[0] == spans:
                view = memoryview(payload)
                return known[1], [view[start:end] for _, start, end in spans]
        return None

    def remember(self, payload: bytes, known: Known) -> None:
        """Remember `known` for a request that parsed well and has raw tensors."""
        spans = tuple(raw_spans(payload))
        key = skeleton(payload, spans, with_tags=True)
        if not spans or len(key) > _MAX_SKELETON:
            return
        if len(self._known) >= _MAX_FORMS:
            self.clear()
        self._known[key] = (spans, known)
        layouts = self._layouts.get(len(payload), ())
        if spans not in layouts:
            self._layouts[len(payload)] = (spans, *layouts[: _MAX_LAYOUTS - 1])

    def clear(self) -> None:
        """Forget everything: what was known may not hold any more."""
        self._known.clear()
        self._layouts.clear()
