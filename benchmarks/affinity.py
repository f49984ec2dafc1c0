"""The cores: which one a child process is started on, and whether two are threads of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Children started inside stay on core `cpu`, and so do theirs; None leaves them free."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def two_cores() -> tuple[int, int] | None:
    """A core for the servers and one for the load; None where only one may be used."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def siblings(one: int, other: int, topology: Path = _TOPOLOGY) -> bool | None:
    """Whether two cores are hardware threads of one physical core; None where nobody says."""
    try:
        text = (topology / f"cpu{one}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return None
    return any(other in _range(each) for each in text.strip().split(",") if each)


def _range(text: str) -> range:
    """`3` or `0-3` as the kernel writes it."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
