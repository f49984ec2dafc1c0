"""Where a client connects to: one address, or several servers alike."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from inferd.client.errors import ServerUnavailable

_SCHEMES = ("unix:", "dns:", "ipv4:", "ipv6:")
_BALANCED = ("dns:", "ipv4:", "ipv6:")
_FAMILIES = ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6"))


@dataclass(frozen=True, slots=True)
class Target:
    """An address as people write it (`address`), and as gRPC does (`name`).

    `several`: calls are dealt out among all that the name stands for. `authority` is the host that
    calls name, None where gRPC takes it from the name.
    """

    address: str
    name: str
    several: bool = False
    authority: str | None = None


def target_of(address: str | Sequence[str], *, secure: bool = False) -> Target:
    """The target for `HOST:PORT`, `grpc://HOST:PORT`, `[IPV6]:PORT`, `unix:PATH` or `dns:NAME:PORT`.

    Several of the form HOST:PORT, in a list or with commas between, become one target; their names
    are looked up. Raises `ValueError` for anything else, saying what an address looks like, and
    `ServerUnavailable` for a name that cannot be looked up.
    """
    given = [address] if isinstance(address, str) else list(address)
    if len(given) == 1 and given[0].startswith(_SCHEMES):
        return Target(given[0], given[0].rstrip("/"), several=given[0].startswith(_BALANCED))
    single = [each.strip() for text in given for each in text.split(",")]
    names = [_host_and_port(each) for each in single] if single else [_host_and_port("")]
    if len(names) == 1:
        return Target(single[0], ":".join(names[0]))
    hosts = {host for host, _ in names}
    if secure and len(hosts) > 1:
        raise ValueError(
            f"{', '.join(sorted(hosts))}: with credentials, several addresses have one host, whose "
            "certificate they all show; connect to others one by one, or give dns:NAME:PORT"
        )
    # gRPC would name all of them in each call.
    authority = names[0][0] if secure else ":".join(names[0])
    return Target(",".join(single), _looked_up(names), several=True, authority=authority)


def _host_and_port(address: str) -> tuple[str, str]:
    host, colon, port = address.removeprefix("grpc://").rstrip("/").rpartition(":")
    plain = colon and host and "/" not in host and (":" not in host or host.startswith("["))
    if not plain or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address; give HOST:PORT, such as 'localhost:8001'")
    return host, port


def _looked_up(names: Sequence[tuple[str, str]]) -> str:
    """One target with the addresses of all names, of the family that all of them have."""
    found = [_addresses(host, int(port)) for host, port in names]
    for family, scheme in _FAMILIES:
        if all(family in each for each in found):
            addresses = dict.fromkeys(address for each in found for address in each[family])
            return f"{scheme}:{','.join(addresses)}"
    raise ValueError(
        f"{', '.join(host for host, _ in names)}: some have IPv4 addresses only, some IPv6; several "
        "addresses must be of one kind"
    )


def _addresses(host: str, port: int) -> dict[int, list[str]]:
    try:
        entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailable(f"'{host}' cannot be looked up: {error.strerror}") from error
    found: dict[int, list[str]] = {}
    for family, _, _, _, place in entries:
        number = f"[{place[0]!s}]" if family == socket.AF_INET6 else f"{place[0]!s}"
        found.setdefault(family, []).append(f"{number}:{port}")
    return found
