"""What a door is, and which of the two is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import grpc

from inferd.core.link.messages import DoorChoice
from inferd.core.telemetry.logs import get_logger
from inferd.server.gateway.rpc.call import Method
from inferd.server.gateway.rpc.faults import DoorError
from inferd.server.gateway.scheduling.waiting.lull import Lull

_log = get_logger(__name__)


class Door(Protocol):
    """Accepts gRPC calls at an address and hands each to its method, on one thread of its own."""

    def bind(self, address: str) -> str:
        """Bind HOST:PORT and return it with the port bound. Raises `DoorError`."""

    def start(self) -> None:
        """Accept calls."""

    def drain(self, grace: float) -> None:
        """Stop accepting; return when all calls have ended, cancelling them after `grace` s."""

    def close(self) -> None:
        """End the thread of a door that is drained, once nobody is left to answer its calls."""


def make_door(
    choice: DoorChoice,
    methods: Mapping[str, Method],
    *,
    max_message_bytes: int,
    share_port: bool = False,
    lull: Lull | None = None,
) -> Door:
    """The door of this choice; `methods` by path, such as `/package.Service/Method`.

    `auto` is the completion queue where grpcio's core is of the known shape, else grpc.aio. With
    `share_port` other gateways may listen at the same address. `lull` is told when nothing that has
    arrived is left to read.

    Raises `DoorError` where the completion queue is insisted on and grpcio's core is another one.
    """
    make = _grpc_aio() if choice == "grpc_aio" else None
    if make is None:
        try:
            make = _completion_queue()
        except DoorError as error:
            if choice == "completion_queue":
                raise
            _log.warning(
                "serving through grpc.aio, which takes several times the CPU per call: "
                "grpcio's C core is not of the shape that the faster door needs",
                found=str(error),
            )
            make = _grpc_aio()
    return make(methods, max_message_bytes=max_message_bytes, share_port=share_port, lull=lull)


class _Maker(Protocol):
    def __call__(
        self,
        methods: Mapping[str, Method],
        /,
        *,
        max_message_bytes: int,
        share_port: bool,
        lull: Lull | None,
    ) -> Door: ...


def _completion_queue() -> _Maker:
    # Modules that use the core may not even be imported before it is known to be the right one.
    try:
        from inferd.server.gateway.rpc.completion_queue.core import check_core  # noqa: PLC0415
    except ImportError as error:
        raise DoorError(
            f"grpcio {grpc.__version__} has no C core where it is looked for ({error}); "
            "install the version that constraints.txt names"
        ) from error
    check_core()
    from inferd.server.gateway.rpc.completion_queue.door import (  # noqa: PLC0415
        CompletionQueueDoor,
    )

    return CompletionQueueDoor


def _grpc_aio() -> _Maker:
    from inferd.server.gateway.rpc.aio.door import AioDoor  # noqa: PLC0415  # one door is enough

    return AioDoor
