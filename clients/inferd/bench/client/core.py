"""grpcio's C core as a client: private to grpcio, imported here alone and checked before use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import grpc

from inferd.client.channel import channel_options
from inferd.client.target import target_of

cygrpc: Any = import_module("grpc._cython.cygrpc")
"""The core as grpcio's own synchronous client sees it."""

NO_FLAGS = 0

_NEEDED = {
    "Channel": ("integrated_call", "next_call_event", "close"),
    "IntegratedCall": ("operate", "cancel"),
    "SendInitialMetadataOperation": (),
    "SendMessageOperation": (),
    "SendCloseFromClientOperation": (),
    "ReceiveInitialMetadataOperation": (),
    "ReceiveMessageOperation": ("message",),
    "ReceiveStatusOnClientOperation": ("code", "details"),
    "BatchOperationEvent": ("batch_operations", "tag"),
    "CompletionType": ("queue_timeout",),
    "StatusCode": ("cancelled",),
}

_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
"""Without it, channels with equal options share one connection."""


class CoreUnknown(Exception):
    """grpcio's core has not the shape that the client was written for; says what is missing."""


def check_core() -> None:
    """Raise `CoreUnknown` unless grpcio's core has everything that the client uses."""
    for name, members in _NEEDED.items():
        kind = getattr(cygrpc, name, None)
        missing = [each for each in members if not hasattr(kind, each)]
        if kind is None or missing:
            raise CoreUnknown(
                f"grpcio {grpc.__version__} has no {name} with {', '.join(members) or 'its name'}"
            )


def open_channel(address: str) -> Any:
    """A connection of its own to the server, not encrypted; a channel of the core."""
    arguments = tuple(
        (key.encode(), value.encode() if isinstance(value, str) else value)
        for key, value in _options()
    )
    return cygrpc.Channel(target_of(address).name.encode(), arguments, None)


def open_aio_channel(address: str) -> grpc.aio.Channel:
    """The same as a channel of `grpc.aio`."""
    return grpc.aio.insecure_channel(target_of(address).name, _options())


def next_event(channel: Any) -> Any:
    """The next event of any call on the channel, however long that takes."""
    while True:
        event = channel.next_call_event()
        # Under gevent the core looks up now and then; elsewhere it waits.
        if event.completion_type != _TIMEOUT:
            return event


_TIMEOUT = getattr(getattr(cygrpc, "CompletionType", None), "queue_timeout", None)


def _options() -> list[tuple[str, int | str]]:
    return [*channel_options(retries=False), _OWN_CONNECTION]
