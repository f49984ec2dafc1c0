"""`Model.map`: the answers of a bulk job, one after another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import grpc

from inferd.client.bulk.handing import Errors, Handing, fault_of
from inferd.client.bulk.items import items_of, request_of
from inferd.client.bulk.job import BulkJob, BulkPosition
from inferd.client.bulk.progress import Progress, open_progress
from inferd.client.codec.infer import Options
from inferd.client.errors import DeadlineExceeded
from inferd.client.metadata import ModelMetadata
from inferd.protos.services import BULK_METHODS

if TYPE_CHECKING:
    from inferd.client.client import Client

PATH = BULK_METHODS["Infer"].path

_Event = bytes | grpc.RpcError | None


class BulkAnswers(Iterator[Any]):
    """Answers as they are asked for; made by `Model.map`.

    Nothing is sent before the first one is asked for, and no more than `in_flight` items ahead of
    it. Close it to give the job up; going out of scope does the same.
    """

    def __init__(
        self,
        client: Client,
        metadata: ModelMetadata,
        version: str,
        given: Any,
        *,
        options: Options,
        in_flight: int,
        ordered: bool,
        errors: Errors,
        rows: int | None,
        resume: BulkPosition | None,
        patience: float,
        progress: bool,
    ) -> None:
        self._client = client
        self._items: Iterable[Any] = items_of(given, rows)
        self._metadata = metadata
        self._version = version
        self._options = options
        self._job = BulkJob(
            metadata.name,
            version,
            ordered=ordered,
            in_flight=in_flight,
            patience=patience,
            resume=resume,
            now=monotonic(),
        )
        self._stream: _Stream | None = None
        self._handing = Handing(
            ordered=ordered,
            errors=errors,
            progress=open_progress(metadata.name, given) if progress else Progress(),
        )
        self._answers = self._run()

    @property
    def position(self) -> BulkPosition:
        """For `resume`, in this process or another: where the job goes on after the last answer.

        Its token is empty before the first answer.
        """
        return self._job.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._answers)

    def close(self) -> None:
        """Give up what is not answered yet."""
        self._answers.close()
        self._hang_up()

    def _run(self) -> Generator[Any, None, None]:
        source = iter(self._items)
        job, exhausted = self._job, False
        try:
            while True:
                for index, result in job.due():
                    yield self._handing.hand_on(index, result)
                    job.rest(monotonic())
                if exhausted and job.idle:
                    self._finish()
                    return
                stream = self._stream or self._open()
                while job.wants and not exhausted:
                    try:
                        item = next(source)
                    except StopIteration:
                        exhausted = True
                        break
                    job.rest(monotonic())
                    job.add(request_of(self._metadata, self._version, item, self._options))
                    stream.send(job.outgoing(monotonic()))
                    if stream.has_come:
                        break
                stream.send(job.outgoing(monotonic()))
                if job.awaits:
                    self._listen(stream)
        finally:
            self._hang_up()
            self._handing.close()

    def _listen(self, stream: _Stream) -> None:
        """Take what has come; wait for it where nothing else can be done."""
        job = self._job
        event = stream.next(job.next_event(monotonic()))
        now = monotonic()
        if isinstance(event, bytes):
            job.received(event, now)
        elif isinstance(event, _Nothing):
            if job.overdue(now):
                raise DeadlineExceeded(f"no answer from {self._client.address} for too long")
        else:
            wait = job.broken(fault_of(self._client, event), now)
            self._hang_up()
            threading.Event().wait(wait)

    def _open(self) -> _Stream:
        stream = self._stream = _Stream(self._client)
        stream.send([self._job.opening()])
        return stream

    def _finish(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.finish()

    def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Nothing:
    """Nothing came in time."""


class _Stream:
    """One stream and the thread that reads it. As much comes as was sent against credit."""

    def __init__(self, client: Client) -> None:
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._call: Any = client.open_stream(PATH, iter(self._outbox.get, None))
        threading.Thread(target=self._read, name="bulk-answers", daemon=True).start()

    @property
    def has_come(self) -> bool:
        """Whether something may be taken without waiting."""
        return not self._inbox.empty()

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send messages."""
        for each in payloads:
            self._outbox.put(each)

    def next(self, seconds: float) -> _Event | _Nothing:
        """What comes next: a message, the error that ended the stream, or None for its good end."""
        try:
            return self._inbox.get(timeout=seconds)
        except queue.Empty:
            return _Nothing()

    def finish(self) -> None:
        """End it well: all has been answered."""
        self._outbox.put(None)

    def close(self) -> None:
        """End it, whatever is under way."""
        self._call.cancel()
        self._outbox.put(None)

    def _read(self) -> None:
        try:
            for payload in self._call:
                self._inbox.put(payload)
        except grpc.RpcError as error:
            self._inbox.put(error)
        else:
            self._inbox.put(None)
