"""Several connections that look like one: calls go over them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

Method = TypeVar("Method", bound=Callable[..., Any])


class ChannelPool:
    """Channels to the same servers, safe to share between threads; a call stays on its channel."""

    def __init__(self, channels: Sequence[grpc.Channel]) -> None:
        self._channels = channels

    def unary_unary(
        self, path: str, request_serializer: None, response_deserializer: None
    ) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        """What calls the method at `path` with bytes: the next call goes over the next channel."""
        return _in_turn([each.unary_unary(path, None, None) for each in self._channels])

    def stream_stream(
        self, path: str, request_serializer: None, response_deserializer: None
    ) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
        """The same for a method with streams."""
        return _in_turn([each.stream_stream(path, None, None) for each in self._channels])

    def close(self) -> None:
        """End all connections and the calls on them."""
        for each in self._channels:
            each.close()


class AsyncChannelPool:
    """As `ChannelPool`, for the tasks of one event loop."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self._channels = channels

    def unary_unary(
        self, path: str, request_serializer: None, response_deserializer: None
    ) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        """What calls the method at `path` with bytes: the next call goes over the next channel."""
        return _in_turn([each.unary_unary(path, None, None) for each in self._channels])

    def stream_stream(
        self, path: str, request_serializer: None, response_deserializer: None
    ) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
        """The same for a method with streams."""
        return _in_turn([each.stream_stream(path, None, None) for each in self._channels])

    async def close(self, grace: float | None) -> None:
        """End all connections; calls on them may take another `grace` seconds."""
        for each in self._channels:
            await each.close(grace)


def _in_turn(methods: Sequence[Method]) -> Method:
    if len(methods) == 1:
        return methods[0]
    turns = cycle(methods)

    def call(*arguments: object, **named: object) -> object:
        return next(turns)(*arguments, **named)  # atomic: no two threads get the same turn

    return cast("Method", call)
