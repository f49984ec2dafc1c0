"""Tensors in shared memory of clients: read before a request is checked, written at its answer.

Never mapped. A client may shrink its memory at any time, and touching a page that is gone would kill
the process by SIGBUS, with everybody's calls; `pread` and `pwrite` report it as a count or an error.
They copy, too: what was checked cannot be changed behind the back of the model.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence

from inferd.core.link.messages import AddRegion
from inferd.server.gateway.admission.plan import Plan
from inferd.server.gateway.scheduling.pending import OutputLayout
from inferd.wire.answers import with_places
from inferd.wire.errors import InvalidRequest, RegionNotFound
from inferd.wire.tensor_parameters import Place
from inferd.wire.tensors import Buffer

NO_SHARED_MEMORY = (
    "shared memory of clients is switched off here; the operator allows it with "
    "client_shared_memory = true; send tensors in the message"
)


class Region:
    """Registered memory; its file is closed when the last request that uses it is done."""

    def __init__(self, what: AddRegion, fd: int) -> None:
        """`fd` becomes the region's."""
        self.what = what
        self._fd = fd
        weakref.finalize(self, os.close, fd)

    def check(self, place: Place) -> None:
        """Raise `InvalidRequest` unless the place lies within what was registered."""
        if place.offset + place.nbytes > self.what.nbytes:
            raise InvalidRequest(
                f"invalid offset + byte size for shared memory region '{place.region}': "
                f"{place.offset} + {place.nbytes} is beyond the {self.what.nbytes} registered"
            )

    def read(self, place: Place) -> bytes:
        """A copy of what lies there. Raises `InvalidRequest` where it is not there any more."""
        self.check(place)
        try:
            found = os.pread(self._fd, place.nbytes, self.what.offset + place.offset)
        except OSError as error:
            raise _unusable(place, error.strerror) from None
        if len(found) != place.nbytes:
            raise _unusable(place, "its owner has made it smaller since it was registered")
        return found

    def write(self, place: Place, tensor: Buffer) -> None:
        """Put a tensor there, which is no longer than the place. Raises `InvalidRequest`."""
        self.check(place)
        at = self.what.offset + place.offset
        try:
            # Writing would make it larger again: only what its owner has left is written to.
            if os.fstat(self._fd).st_size < at + len(tensor):
                raise _unusable(place, "its owner has made it smaller since it was registered")
            view = memoryview(tensor)
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            raise _unusable(place, error.strerror) from None


class Regions:
    """Registered memory by name. Safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[str, Region] = {}

    def add(self, what: AddRegion, fd: int) -> None:
        """Know one more; `fd` becomes the region's."""
        self._known[what.name] = Region(what, fd)

    def remove(self, name: str) -> None:
        """Forget one; requests under way use it to their end."""
        self._known.pop(name, None)

    def all(self) -> list[AddRegion]:
        """Those that are registered, by name."""
        return [region.what for _, region in sorted(self._known.copy().items())]

    def find(self, name: str) -> Region:
        """The region of this name. Raises `RegionNotFound`."""
        region = self._known.get(name)
        if region is None:
            raise RegionNotFound(
                f"unable to find shared memory region: '{name[:64]}'; register it first"
            )
        return region

    def read(self, places: Mapping[int, Place], limit: int) -> dict[int, bytes]:
        """What lies at each place. Raises `InvalidRequest`, also for more than `limit` bytes."""
        total = sum(place.nbytes for place in places.values())
        if total > limit:
            raise InvalidRequest(
                f"the tensors in shared memory have {total} bytes, at most {limit} are taken",
                reason="TENSOR_TOO_LARGE",
            )
        return {index: self.find(place.region).read(place) for index, place in places.items()}


class Targets:
    """Where the outputs of one request go, by their position among those it asked for."""

    def __init__(self, places: Mapping[int, Place], regions: Regions) -> None:
        """Raises `RegionNotFound` and `InvalidRequest`, before anything is executed."""
        self._targets = {at: (place, regions.find(place.region)) for at, place in places.items()}
        for place, region in self._targets.values():
            region.check(place)

    def answer(
        self, plan: Plan, layout: OutputLayout, outputs: Sequence[Buffer], request_id: str
    ) -> bytes:
        """Write what goes to shared memory; the serialised answer has the rest.

        Raises `OutputInvalid`, and `InvalidRequest` where an output does not fit in its place.
        """
        plan.check_layout(layout)
        rest = list(outputs)
        placed: dict[int, tuple[Place, int]] = {}
        for position, (place, region) in self._targets.items():
            index = (plan.selected or ())[position]
            tensor = outputs[index]
            if len(tensor) > place.nbytes:
                raise InvalidRequest(
                    f"shared memory size specified with the request for output {position} should be "
                    f"at least {len(tensor)} bytes to hold the results, it is {place.nbytes}",
                    field=f"outputs[{position}].parameters[shared_memory_byte_size]",
                )
            region.write(place, tensor)
            placed[position] = (place, len(tensor))
            rest[index] = b""
        return with_places(plan.answer(layout, rest, request_id), placed)


def _unusable(place: Place, why: str | None) -> InvalidRequest:
    return InvalidRequest(f"shared memory region '{place.region}' cannot be used: {why}")
