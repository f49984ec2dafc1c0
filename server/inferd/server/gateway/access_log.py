"""The access log: one line for each sampled inference request, written on a thread of its own."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic, time
from urllib.parse import unquote

from inferd.core.telemetry.logs import get_logger, info_each
from inferd.core.telemetry.sampling import Turns, gaps
from inferd.core.telemetry.writer_thread import WriterThread
from inferd.server.gateway.routing.table import RoutingTable
from inferd.wire.errors import ServingError
from inferd.wire.requests import names_in
from inferd.wire.status import code_of, http_status_of

MOST_WAITING = 10_000
"""Lines that wait to be written; more are counted, not kept: whoever answers never waits."""

PERIOD = 1.0
"""Seconds that a line waits for others."""

_LOGGER = "inferd.access"
_AT_ONCE = 256
_CLOSE_BOUND = 5.0
_MOST_CHARACTERS = 128
_MOST_KEPT = 4096
"""Bytes of a request that may wait to be read with its line; a longer one is read at once."""

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_log = get_logger(_LOGGER)
_PEER = re.compile(r"(?:ipv[46]:)?\[?([0-9a-fA-F.:]+?)\]?:(\d+)")


@dataclass(slots=True)
class Entry:
    """One request on its way to its line. `peer` is as gRPC or a socket has it."""

    protocol: str
    method: str
    model: str
    version: str
    request_id: str
    bytes_in: int
    peer: str
    trace_id: str | None
    arrived: float
    bytes_out: int = 0
    seconds: float = 0.0
    answered: float = 0.0
    """In seconds since the epoch."""
    error: ServingError | None = None
    span_id: str | None = None
    unread: bytes | None = field(default=None, repr=False)
    """A serialised request that is still to be looked into."""

    def traced(self, trace_id: str, span_id: str) -> None:
        """The server traces it, under these ids in hex."""
        self.trace_id, self.span_id = trace_id, span_id

    def read(self) -> None:
        """Look for model, version and id in what has not been looked into."""
        if (payload := self.unread) is not None:
            self.unread = None
            self.model, self.version, self.request_id = named_in(payload)


class AccessLog:
    """Says which requests are logged, and logs them. Safe from any thread; nothing here waits."""

    def __init__(
        self, share: float, table: RoutingTable, *, chance: Callable[[], float] = random.random
    ) -> None:
        """`share`, more than 0 and at most 1, is how many are logged; `table` knows versions."""
        self._table = table
        self.gap = gaps(share, chance)
        """From one request that is logged to the next, for who counts itself."""
        self.samples = Turns(self.gap).comes
        """Whether the next request is logged."""
        # Whoever asks for it wants it, whatever else is silenced.
        logging.getLogger(_LOGGER).setLevel(logging.INFO)
        self._told = 0
        self._thread = WriterThread(
            "access-log",
            self._write,
            most_waiting=MOST_WAITING,
            at_once=_AT_ONCE,
            period=PERIOD,
        )
        self._thread.start()

    def begin(
        self,
        method: str,
        payload: bytes,
        peer: str,
        metadata: Iterable[tuple[str | bytes, str | bytes]],
    ) -> Entry:
        """The entry of a gRPC request that has just come with a serialised ModelInferRequest."""
        trace_id = None
        for key, value in metadata:
            if key == "traceparent":
                trace_id = trace_id_of(value)
                break
        entry = Entry("grpc", method, "", "", "", len(payload), peer, trace_id, monotonic())
        entry.unread = payload
        if len(payload) > _MOST_KEPT:
            entry.read()
        return entry

    def end(self, entry: Entry, error: ServingError | None = None) -> None:
        """The request is answered, well or with this error: have its line written."""
        entry.seconds = monotonic() - entry.arrived
        entry.answered = time()
        entry.error = error
        self._thread.put(entry)

    def close(self) -> None:
        """Write what waits, for some seconds at most, and end."""
        self._thread.close(_CLOSE_BOUND)

    def _write(self, entries: list[Entry]) -> None:
        info_each(_LOGGER, "request", self._lines(entries))
        dropped = self._thread.dropped
        if dropped > self._told:
            _log.warning("lines of the access log were dropped", dropped=dropped - self._told)
            self._told = dropped

    def _lines(self, entries: list[Entry]) -> Iterator[tuple[float, dict[str, object]]]:
        for each in entries:
            try:
                yield each.answered, self._line(each)
            except Exception:  # the last resort: the others want their lines, too
                _log.exception("a line of the access log cannot be written")

    def _line(self, entry: Entry) -> dict[str, object]:
        entry.read()
        error = entry.error
        line: dict[str, object] = {
            "dataset": _LOGGER,
            "protocol": entry.protocol,
            "method": entry.method,
            "model": entry.model[:_MOST_CHARACTERS],
            "version": self._version(entry),
            "status": "OK" if error is None else code_of(error).name,
            "outcome": "success" if error is None else "failure",
            "duration_ms": round(entry.seconds * 1000, 3),
            "bytes_in": entry.bytes_in,
            "bytes_out": entry.bytes_out,
        }
        if entry.request_id:
            line["request_id"] = entry.request_id[:_MOST_CHARACTERS]
        if entry.trace_id is not None:
            line["trace_id"] = entry.trace_id
        if entry.span_id is not None:
            line["span_id"] = entry.span_id
        line |= _client(entry.peer)
        if entry.protocol == "http":
            line["http_status"] = 200 if error is None else http_status_of(error)
        if error is not None:
            line["error_code"] = error.reason
        return line

    def _version(self, entry: Entry) -> str:
        """The version that is served where none was asked for."""
        try:
            return str(self._table.resolve(entry.model, entry.version).info.version)
        except ServingError:
            return entry.version[:_MOST_CHARACTERS]


def named_in(payload: bytes) -> tuple[str, str, str]:
    """Model, version and id of a ModelInferRequest; empty where it is none."""
    try:
        return names_in(payload)
    except ServingError:
        return "", "", ""


@lru_cache(256)
def _client(peer: str) -> dict[str, str | int]:
    """Who called, as its line has it."""
    peer = unquote(peer)  # gRPC writes the brackets of IPv6 as %5B
    if (found := _PEER.fullmatch(peer)) is not None:
        return {"peer": found[1], "peer_ip": found[1], "peer_port": int(found[2])}
    return {"peer": peer[:_MOST_CHARACTERS]} if peer else {}


def trace_id_of(header: str | bytes | None) -> str | None:
    """The trace id of a `traceparent`, if it is one."""
    found = _TRACE_PARENT.fullmatch(header) if isinstance(header, str) else None
    return found[1] if found is not None else None
