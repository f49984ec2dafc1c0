"""Links on offer: each worker's socket to the gateway, until the gateway says that it has it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from inferd.core.link.messages import AddInstance, ToGateway
from inferd.core.link.sockets import socket_pair
from inferd.server.supervisor.replicas.replica import Replica


class Gateways(Protocol):
    """Where messages for the gateway go; lost while there is none."""

    def send(self, message: ToGateway, fds: Sequence[int] = ()) -> None:
        """Tell the gateway."""


class Links:
    """Brings workers and the gateway together; every link has a number of its own."""

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways
        self._numbers = itertools.count(1)
        self._offered: dict[int, Replica] = {}
        self._taken: dict[int, Replica] = {}

    def offer(self, deployment: int, replica: Replica) -> None:
        """A new link between the gateway and a worker of a deployment."""
        number = next(self._numbers)
        for known in (self._offered, self._taken):
            for old in [key for key, each in known.items() if each is replica]:
                del known[old]
        self._offered[number] = replica
        workers_end, gateways_end = socket_pair()
        with workers_end, gateways_end:
            replica.open_link(workers_end.fileno())
            message = AddInstance(deployment, number, replica.pinning.device)
            self._gateways.send(message, [gateways_end.fileno()])

    def taken(self, number: int) -> None:
        """The gateway has this link. An old one's number is of no consequence."""
        if (replica := self._offered.pop(number, None)) is not None:
            self._taken[number] = replica
            replica.link_up()

    def lost(self, number: int) -> None:
        """The gateway has closed this link: the worker is dead, or is to be replaced."""
        if (replica := self._taken.pop(number, None)) is not None:
            replica.link_lost()

    def drop(self) -> None:
        """The gateway is gone, and what was offered to it."""
        self._offered.clear()
        self._taken.clear()
