"""Shared memory that clients have registered: opened once, and known to every gateway."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from inferd.core.link.messages import AddRegion, RegisterRegion, RemoveRegion
from inferd.server.supervisor.replicas.links import Gateway, Gateways
from inferd.wire.errors import AlreadyExists, Exhausted, InvalidRequest, RegionNotFound

MOST_REGIONS = 256
"""Each is an open file here and in every gateway."""

_FOLDER = Path("/dev/shm")  # noqa: S108  # where POSIX shared memory lies on Linux
_KEY = re.compile(r"/?([A-Za-z0-9_-][A-Za-z0-9._-]{0,249})")
_NAME = re.compile(r"[\x20-\x7e]{1,128}")


class Regions:
    """Opens what clients register and hands it to the gateways, those to come included.

    Every gateway gets the same open file: a name may stand for another object a moment later.
    """

    def __init__(self, gateways: Gateways, *, folder: Path = _FOLDER) -> None:
        """`folder` is where shared memory lies by its POSIX name."""
        self._gateways = gateways
        self._folder = folder
        self._known: dict[str, tuple[AddRegion, int]] = {}

    def register(self, asked: RegisterRegion) -> None:
        """Open the memory and tell every gateway.

        Raises `InvalidRequest` for a name, an object or a size that cannot be, `AlreadyExists`,
        `RegionNotFound` where there is no such object, and `Exhausted`.
        """
        if _NAME.fullmatch(asked.name) is None:
            raise InvalidRequest(
                f"the region's name has {len(asked.name)} characters; expected 1 to 128 printable "
                "ASCII ones",
                field="name",
            )
        if asked.name in self._known:
            raise AlreadyExists(
                f"shared memory region '{asked.name}' already in manager: unregister it first"
            )
        if len(self._known) >= MOST_REGIONS:
            raise Exhausted(
                f"{MOST_REGIONS} regions of shared memory are registered already; unregister some"
            )
        fd = self._open(asked)
        region = AddRegion(asked.name, asked.key, asked.offset, asked.nbytes)
        self._known[asked.name] = (region, fd)
        for gateway in self._gateways.up:
            gateway.send(region, [fd])

    def unregister(self, name: str) -> None:
        """Forget a region, or all of them where the name is empty; one that is not known, too."""
        for each in [name] if name else list(self._known):
            if (known := self._known.pop(each, None)) is not None:
                os.close(known[1])
                self._gateways.send(RemoveRegion(each))

    def gateway_up(self, gateway: Gateway) -> None:
        """Tell a gateway that knows nothing yet."""
        for region, fd in self._known.values():
            gateway.send(region, [fd])

    def close(self) -> None:
        """Let go of all of it."""
        for _, fd in self._known.values():
            os.close(fd)
        self._known.clear()

    def _open(self, asked: RegisterRegion) -> int:
        found = _KEY.fullmatch(asked.key)
        if found is None:
            raise InvalidRequest(
                "the key is no name of POSIX shared memory; expected letters, digits, '.', '_' and "
                "'-', not '.' first, 250 at most, and no '/' but the first",
                field="key",
            )
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = os.open(self._folder / found[1], flags)
        except FileNotFoundError:
            raise RegionNotFound(
                f"unable to open shared memory region '{asked.name}': there is no '{asked.key}' on "
                "the server's machine; clients share memory on the same machine alone"
            ) from None
        except OSError as error:
            raise InvalidRequest(
                f"unable to open shared memory region '{asked.name}': {error.strerror}",
                field="key",
            ) from None
        try:
            _check(asked, os.fstat(fd))
        except InvalidRequest:
            os.close(fd)
            raise
        return fd


def _check(asked: RegisterRegion, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(f"'{asked.key}' is no shared memory but a special file", field="key")
    if asked.nbytes < 1 or asked.offset < 0:
        raise InvalidRequest(
            f"region '{asked.name}' has {asked.nbytes} bytes from {asked.offset} on; expected at "
            "least one byte",
            field="byte_size",
        )
    if asked.offset + asked.nbytes > status.st_size:
        raise InvalidRequest(
            f"region '{asked.name}' is to end at byte {asked.offset + asked.nbytes}, and "
            f"'{asked.key}' has {status.st_size} bytes",
            field="byte_size",
        )
