"""HOST:PORT, as settings name places to listen."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Self

BACKLOG = 2048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 for a free one. As text `HOST:PORT`, IPv6 hosts in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """The address in `HOST:PORT`. Raises `ValueError` for anything else."""
        host, colon, port = str(text).rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(
                "expected HOST:PORT such as 127.0.0.1:8001, with port 0 for a free one"
            )
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif ":" in host:
            raise ValueError("expected brackets around an IPv6 host, such as [::1]:8001")
        elif not re.fullmatch(r"[A-Za-z0-9.-]+", host):
            raise ValueError("expected a host before the port, such as 127.0.0.1, 0.0.0.0 or [::]")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def listener(self, *, share_port: bool = False) -> socket.socket:
        """A socket that listens here; `getsockname` has the port. With `share_port` others may, too.

        Raises `OSError`.
        """
        family, _, _, _, place = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # By its number: asyncio sends small answers at once only on sockets that say TCP.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share_port:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found.bind(place)
            found.listen(BACKLOG)
        except OSError:
            found.close()
            raise
        return found

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
