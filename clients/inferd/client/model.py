"""A model of a server: call it, stream from it, map over it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from inferd.client.bulk.answers import BulkAnswers
from inferd.client.bulk.handing import Errors
from inferd.client.bulk.job import BulkPosition
from inferd.client.codec import calls
from inferd.client.codec.infer import Options, infer, stream
from inferd.client.codec.signatures import model_metadata
from inferd.client.codec.split import join, message_limit, split
from inferd.client.deadline import Deadline
from inferd.client.errors import (
    DeadlineExceeded,
    Overloaded,
    Unsupported,
)
from inferd.client.metadata import ModelMetadata, ModelStatistics
from inferd.client.prediction import ParameterValue, Prediction

if TYPE_CHECKING:
    from inferd.client.client import Client


class Model:
    """One model of a server; call it like a function. Made by `Client.model`.

    Its signature is fetched once, when it is first needed, and every argument is checked against it
    before anything is sent. Safe to share between threads.
    """

    def __init__(self, client: Client, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self._client = client
        self._metadata: ModelMetadata | None = None
        self._fetching = threading.Lock()

    def __call__(
        self,
        /,
        *values: object,
        timeout: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        **named: object,
    ) -> Any:
        """The model's answer: its output's array, or an `Answer` by name where it has several.

        Inputs go by position in the signature's order, by name, or as one mapping. numpy arrays (and
        numbers, strings and lists of them) are answered with numpy arrays, torch tensors with torch
        tensors on the CPU. Raises `InvalidInput` for what does not fit, before sending it.
        """
        return self._infer(values, named, Options(parameters=parameters), timeout).value

    def infer(
        self,
        /,
        *values: object,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        request_id: str = "",
        timings: bool = False,
        timeout: float | None = None,
        **named: object,
    ) -> Prediction:
        """Like a call, with what came beside the outputs; `outputs` limits which are computed.

        With `timings` the server says what the request took: `prediction.timings.server`.
        An input that is named like one of the options here goes by position or in a mapping.
        """
        options = Options(tuple(outputs), parameters, request_id, timings)
        return self._infer(values, named, options, timeout)

    def stream(
        self,
        /,
        *values: object,
        timeout: float | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        **named: object,
    ) -> Generator[Any, None, None]:
        """The answers of a model that gives many, each like a call's, as they come.

        Arguments are checked now, the request is sent when the first answer is asked for; the last
        one comes within `timeout`. Closing the generator, as leaving the loop does, ends the request.
        A model that gives one answer gives it here, too.
        """
        deadline = self._client.deadline(timeout)
        metadata = self._fetched(deadline)
        call = stream(metadata, self.version, values, named, Options(parameters=parameters))
        return _values(self._client.perform_stream(call, deadline))

    def map(
        self,
        items: Any,
        *,
        in_flight: int = 16,
        ordered: bool = True,
        errors: Errors = "raise",
        rows: int | None = None,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        resume: BulkPosition | None = None,
        patience: float = 300.0,
        progress: bool = False,
    ) -> BulkAnswers:
        """The answers to many inputs, one for each item: what a call with it would answer.

        An item is what one call takes: an array of rows, a tuple of inputs or a mapping of them. An
        array, or a mapping of arrays, in the place of `items` is cut into chunks of `rows` rows. At most
        `in_flight` items are drawn ahead of the answers taken. Without `ordered` answers come as they
        finish, as pairs of the item's number and the answer. `errors` of items are raised, which ends
        the job, or returned in place. Other requests go first on the server. A broken connection is
        opened again and the job goes on; after `patience` seconds without any answer it ends with
        an error. `resume` continues a job from an earlier `position`: `items` begin with its index.
        """
        return BulkAnswers(
            self._client,
            self.metadata(),
            self.version,
            items,
            options=Options(tuple(outputs), parameters),
            in_flight=in_flight,
            ordered=ordered,
            errors=errors,
            rows=rows,
            resume=resume,
            patience=patience,
            progress=progress,
        )

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether the model takes requests; False for one that the server does not know."""
        call = calls.model_ready(self.name, self.version)
        return self._client.perform(call, self._client.deadline(timeout))

    def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """The model's versions, inputs and outputs, fetched once."""
        return self._fetched(self._client.deadline(timeout))

    def refresh(self, *, timeout: float | None = None) -> ModelMetadata:
        """The metadata fetched anew: for when the server has loaded another version meanwhile."""
        self._metadata = None
        return self.metadata(timeout=timeout)

    def statistics(self, *, timeout: float | None = None) -> tuple[ModelStatistics, ...]:
        """Counts and times of this version, or of all versions where none was named."""
        call = calls.statistics(self.name, self.version)
        return self._client.perform(call, self._client.deadline(timeout))

    def _infer(
        self,
        values: Sequence[object],
        named: Mapping[str, object],
        options: Options,
        timeout: float | None,
    ) -> Prediction:
        deadline = self._client.deadline(timeout)
        metadata = self._fetched(deadline)
        call = infer(metadata, self.version, values, named, options)
        limit = self._client.message_limit
        if limit is None or len(call.request) <= limit:
            try:
                return self._client.perform(call, deadline)
            except Overloaded as error:
                limit = message_limit(error)
                if limit is None:
                    raise
                self._client.message_limit = limit
        size = len(call.request)
        del call  # a copy of all inputs
        parts = split(metadata, self.version, values, named, options, size=size, limit=limit)
        return join([self._client.perform(part, deadline) for part in parts])

    def _fetched(self, deadline: Deadline) -> ModelMetadata:
        if self._metadata is not None:
            return self._metadata
        if not self._fetching.acquire(timeout=deadline.left()):
            raise DeadlineExceeded(
                f"the signature of '{self.name}' did not come within {deadline.seconds:g} s"
            )
        try:
            if self._metadata is None:
                self._metadata = self._fetch(deadline)
            return self._metadata
        finally:
            self._fetching.release()

    def _fetch(self, deadline: Deadline) -> ModelMetadata:
        described = self._client.perform(calls.model_metadata(self.name, self.version), deadline)
        call = calls.model_config(self.name, self.version)
        try:
            config = self._client.perform(call, deadline).config
        except Unsupported:
            config = None
        return model_metadata(described, config)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, version={self.version or None!r})"


def _values(predictions: Generator[Prediction, None, None]) -> Generator[Any, None, None]:
    with closing(predictions):
        for each in predictions:
            yield each.value
