"""Links between gateways and workers: offered, taken, lost; one for each pair of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inferd.core.link.messages import AddInstance, ToGateway
from inferd.core.link.sockets import socket_pair
from inferd.server.supervisor.replicas.replica import Replica


class Gateway(Protocol):
    """Where messages for one gateway go; lost while there is no process."""

    def send(self, message: ToGateway, fds: Sequence[int] = ()) -> None:
        """Tell the gateway."""


class Gateways(Protocol):
    """All gateways."""

    @property
    def up(self) -> Sequence[Gateway]:
        """Those that listen."""

    def send(self, message: ToGateway) -> None:
        """Tell all that listen."""

    async def settled(self) -> None:
        """Wait until each has done what it was told, or is gone; whoever hangs is replaced."""


class Links:
    """Brings workers and gateways together; every link has a number of its own.

    A worker is reached once every gateway that was offered a link has taken it. From then on it
    stays reached, whatever gateways come later, until it is given up or no gateway is left.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._links: dict[int, _Link] = {}

    def offer(self, deployment: int, replica: Replica, gateway: Gateway) -> None:
        """A new link between a gateway and a worker of a deployment."""
        number = next(self._numbers)
        self._links[number] = _Link(gateway, replica)
        workers_end, gateways_end = socket_pair()
        with workers_end, gateways_end:
            replica.open_link(workers_end.fileno())
            message = AddInstance(deployment, number, replica.pinning.device, replica.index)
            gateway.send(message, [gateways_end.fileno()])

    def forget(self, replica: Replica) -> None:
        """The links to a process that is no more. What gateways still say of them is ignored."""
        for number in [key for key, each in self._links.items() if each.replica is replica]:
            del self._links[number]

    def taken(self, number: int) -> None:
        """A gateway has this link."""
        if (link := self._links.get(number)) is not None:
            link.taken = True
            self._look_at(link.replica)

    def lost(self, number: int) -> None:
        """A gateway has closed this link: the worker is dead, or is to be replaced.

        The other gateways' links to it end with it, and what they say of that comes too late.
        """
        if (link := self._links.get(number)) is not None:
            self.forget(link.replica)
            link.replica.link_lost()

    def drop(self, gateway: Gateway) -> None:
        """A gateway is gone, and its links."""
        numbers = [key for key, each in self._links.items() if each.gateway is gateway]
        replicas = dict.fromkeys(self._links.pop(number).replica for number in numbers)
        for replica in replicas:
            self._look_at(replica)

    def _look_at(self, replica: Replica) -> None:
        links = [each for each in self._links.values() if each.replica is replica]
        if not links:
            replica.link_down()
        elif all(each.taken for each in links):
            replica.link_up()


@dataclass(slots=True)
class _Link:
    gateway: Gateway
    replica: Replica
    taken: bool = False
