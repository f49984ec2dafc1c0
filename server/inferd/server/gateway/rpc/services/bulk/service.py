"""inferd.v1.BulkInference: jobs of many chunks, executed when nothing else waits."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from inferd.protos.services import BULK_METHODS
from inferd.protos.v1.bulk_pb2 import Open
from inferd.server.gateway.access_log import AccessLog
from inferd.server.gateway.dataplane import Dataplane
from inferd.server.gateway.rpc.call import Method, Stream, StreamCall
from inferd.server.gateway.rpc.services.bulk.job import Job
from inferd.server.gateway.rpc.services.bulk.large import LargeChunks
from inferd.server.gateway.rpc.services.bulk.stream import BulkStream
from inferd.server.gateway.rpc.services.leaving import Aside
from inferd.wire.errors import Draining, InvalidRequest, Unavailable, Unimplemented

MOST_STREAMS = 32
"""Streams open at once on one gateway: with each one's credit this bounds what they fill."""

MOST_LARGE = 2
"""Chunks beyond a stream's credit that a gateway has at once: one is received while one is executed."""

_TOKEN = re.compile(r"(?P<id>[0-9a-f]{32})\.(?P<model>[A-Za-z0-9._-]{1,128})\.(?P<version>[0-9]+)")


class BulkService:
    """Every bulk stream under way. Safe from any thread."""

    def __init__(self, dataplane: Dataplane, access: AccessLog | None = None) -> None:
        """Chunks become background requests of the dataplane; `access` logs them."""
        self._dataplane = dataplane
        self._access = access
        self._lock = threading.Lock()
        self._open: set[BulkStream] = set()
        self._closed = False
        self._large = LargeChunks(MOST_LARGE)
        self._aside = Aside("left-bulk-streams", "BulkInference")

    def methods(self) -> Mapping[str, Method]:
        """The service's methods by path."""
        return {BULK_METHODS["Infer"].path: Stream(self._handle)}

    def close(self) -> None:
        """Read no more chunks, and end each stream after the answers that it is owed."""
        with self._lock:
            self._closed = True
            streams = list(self._open)
        for each in streams:
            each.end(_draining())

    def _handle(self, call: StreamCall) -> None:
        stream = BulkStream(
            call,
            infer=partial(self._dataplane.infer, background=True),
            access=self._access,
            begin=self._begin,
            left=self._leave,
            later=self._aside.later,
            large=self._large,
            max_chunk_bytes=self._dataplane.max_chunk_bytes,
        )
        with self._lock:
            closed, full = self._closed, len(self._open) >= MOST_STREAMS
            if not closed and not full:
                self._open.add(stream)
        if closed:
            call.fail(_draining())
        elif full:
            call.fail(
                Unavailable(
                    f"{MOST_STREAMS} bulk streams are open already; try again when one has ended",
                    reason="TOO_MANY_STREAMS",
                    retry_after=1.0,
                )
            )
        else:
            stream.start()

    def _begin(self, opening: Open) -> Job:
        """The job that a stream is opened for. Raises `ServingError`."""
        version, token = opening.model_version, opening.resume_token
        if token:
            found = _TOKEN.fullmatch(token)
            if found is None:
                raise InvalidRequest(
                    "resume_token is none that this service gives", field="open.resume_token"
                )
            same = version in ("", found["version"])
            if found["model"] != opening.model_name or not same:
                raise InvalidRequest(
                    f"the job of resume_token is one for '{found['model']}' version "
                    f"{found['version']}, the stream was opened for '{opening.model_name[:64]}'"
                    f"{f' version {version[:32]}' if version else ''}",
                    reason="OTHER_JOB",
                    field="open.resume_token",
                )
            version = found["version"]
        elif opening.position:
            raise InvalidRequest(
                f"position is {opening.position} without a resume_token; a new job begins at 0",
                field="open.position",
            )
        info = self._dataplane.table.resolve(opening.model_name, version).info
        if info.decoupled:
            raise Unimplemented(
                f"'{info.model}' answers a request many times; bulk jobs have one answer for each"
            )
        if info.sequences is not None:
            raise Unimplemented(
                f"'{info.model}' keeps state between the requests of a sequence; bulk jobs have none"
            )
        token = token or f"{uuid4().hex}.{info.model}.{info.version}"
        return Job(info.model, str(info.version), token, opening.position, opening.order)

    def _leave(self, stream: BulkStream) -> None:
        with self._lock:
            self._open.discard(stream)


def _draining() -> Draining:
    return Draining("the server is shutting down; go on at another one with the resume token")
