"""Memory shared by one gateway and one worker: a sealed memfd without a name."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

ALIGNMENT = 64
"""Every tensor begins at a multiple of this many bytes: a cache line, and enough for any dtype."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment."""
    return (nbytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1)


class ArenaMapping:
    """A mapped arena, as both sides see it: `cells` is its bytes, writable."""

    def __init__(self, fd: int, nbytes: int) -> None:
        """Map `nbytes` of the memfd `fd`, which stays the caller's to close.

        Raises `ValueError` if the memory could still shrink: touching it could then kill us.
        """
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise ValueError("the arena is not sealed against shrinking")
        if os.fstat(fd).st_size < nbytes:
            raise ValueError(f"the arena has {os.fstat(fd).st_size} bytes, {nbytes} were announced")
        self.nbytes = nbytes
        # Populated now: faulting 16 MiB in page by page costs a request milliseconds.
        self._memory = mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.cells = memoryview(self._memory)

    def close(self) -> None:
        """Unmap. Views of `cells` that live on keep the memory until they go."""
        try:
            self.cells.release()
            self._memory.close()
        except BufferError:
            # A tensor or an answer still looks at it; the last view to go unmaps it.
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Arena(ArenaMapping):
    """The owner's side: creates the memory and hands out slots of it, first fit.

    Slots are few (batches outstanding on one worker) and large, so a sorted list suffices, and
    first fit keeps returning to the same warm pages.
    """

    def __init__(self, nbytes: int) -> None:
        """Create an arena of `nbytes`, committed now: running out later would be a SIGBUS.

        Raises `MemoryError` when the system does not have the memory.
        """
        available = available_memory()
        if nbytes > available:
            # The kernel would not refuse: it would look for a process to kill.
            raise MemoryError(f"an arena of {nbytes} bytes, with {available} available")
        self.fd = os.memfd_create("inferd-arena", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.posix_fallocate(self.fd, 0, nbytes)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            super().__init__(self.fd, nbytes)
        except OSError as error:
            os.close(self.fd)
            raise MemoryError(f"no {nbytes} bytes for an arena: {error}") from error
        self._taken: list[tuple[int, int]] = []

    def allocate(self, nbytes: int) -> int | None:
        """Offset of a free slot of `nbytes`, or None if there is no such gap."""
        nbytes = max(ALIGNMENT, aligned(nbytes))
        start = 0
        for index, (taken, end) in enumerate(self._taken):
            if taken - start >= nbytes:
                self._taken.insert(index, (start, start + nbytes))
                return start
            start = end
        if self.nbytes - start < nbytes:
            return None
        self._taken.append((start, start + nbytes))
        return start

    def free(self, offset: int) -> None:
        """Give back the slot at `offset`. Raises `KeyError` if there is none."""
        for index, (taken, _) in enumerate(self._taken):
            if taken == offset:
                del self._taken[index]
                return
        raise KeyError(offset)

    @property
    def idle(self) -> bool:
        """Whether no slot is taken."""
        return not self._taken

    def close(self) -> None:
        """Unmap and close the memfd."""
        super().close()
        os.close(self.fd)


def available_memory() -> int:
    """Bytes that can be committed without swapping, within this process's control group."""
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    available = int(meminfo.partition("MemAvailable:")[2].split(maxsplit=1)[0]) * 1024
    group = Path("/sys/fs/cgroup")  # the own one inside a container; the root one has no limit
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, int(limit) - used)
