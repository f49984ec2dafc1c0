"""grpcio's C core: an interface private to grpcio, imported here alone and checked before use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import grpc

from inferd.server.gateway.rpc.faults import DoorError

cygrpc: Any = import_module("grpc._cython.cygrpc")
"""The core as grpcio's own synchronous server sees it."""

_NEEDED = {
    "CompletionQueue": ("poll", "shutdown"),
    "Server": (
        "register_completion_queue",
        "add_http2_port",
        "start",
        "request_call",
        "shutdown",
        "cancel_all_calls",
    ),
    "Call": ("start_server_batch", "peer"),
    "ReceiveMessageOperation": ("message",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "SendInitialMetadataOperation": (),
    "SendMessageOperation": (),
    "SendStatusFromServerOperation": (),
    "CompletionType": ("queue_shutdown", "queue_timeout"),
    "StatusCode": ("ok",),
}


def check_core() -> None:
    """Raise `DoorError` unless grpcio's core has everything that the door uses."""
    for name, members in _NEEDED.items():
        kind = getattr(cygrpc, name, None)
        missing = [each for each in members if not hasattr(kind, each)]
        if kind is None or missing:
            raise DoorError(
                f"grpcio {grpc.__version__} has no {name} with {', '.join(members) or 'its name'} "
                "in its C core; install the version that constraints.txt names"
            )
