"""Whether an address is free before several gateways share it."""

from __future__ import annotations

import asyncio
import errno
import socket

from inferd.core.address import Address


async def is_free(address: Address) -> bool:
    """Whether nobody listens there; True too for what cannot be found out: binding will tell.

    Sockets with SO_REUSEPORT join whoever listens with it already, without a word: a second server
    on the same port would get half of the first one's calls. So the port is bound without that
    option first, which the kernel refuses while anyone listens, and let go again.

    In the moment between that and the first gateway's own binding, another process of the same user
    could still take the port with SO_REUSEPORT, and both would share it. Keeping this socket would
    prevent that, and the gateways' own binding as well: the kernel lets nobody in whose option
    differs.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return True
    return not any(_taken(family, place) for family, _, _, _, place in found)


def _taken(family: int, place: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections that a server which has just ended left behind are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
