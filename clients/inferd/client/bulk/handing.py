"""What both clients do alike with what comes of a bulk job."""

from __future__ import annotations

from typing import Any, Literal, Protocol, cast

import grpc

from inferd.client.bulk.progress import Progress
from inferd.client.codec.status import FailedCall, error_of
from inferd.client.errors import InferenceError, ServerUnavailable
from inferd.client.prediction import Prediction

Errors = Literal["raise", "return"]


class Handing:
    """Hands answers on in the form that the job's caller wants."""

    def __init__(self, *, ordered: bool, errors: Errors, progress: Progress) -> None:
        self._ordered = ordered
        self._errors = errors
        self._progress = progress

    def hand_on(self, index: int, result: object) -> Any:
        """The answer to an item; with its number where they come as they finish.

        Raises the item's error, unless errors are to stand in the place of answers.
        """
        self._progress.advance()
        if isinstance(result, InferenceError):
            if self._errors == "raise":
                raise result
            value: Any = result
        else:
            value = cast("Prediction", result).value
        return value if self._ordered else (index, value)

    def close(self) -> None:
        """The job has ended."""
        self._progress.close()


class Caller(Protocol):
    """A client, as far as its streams' ends are concerned."""

    @property
    def address(self) -> str:
        """Where it calls."""

    def refuse_closed(self) -> None:
        """Raise `ClientClosed` where it is."""


def fault_of(client: Caller, event: grpc.RpcError | None) -> InferenceError:
    """What it means that a stream has ended, with an error or without. Raises `ClientClosed`."""
    address = client.address
    client.refuse_closed()
    if event is None:
        return ServerUnavailable(f"{address} ended the stream before all was answered")
    return error_of(cast("FailedCall", event), address=address, timeout=None)
