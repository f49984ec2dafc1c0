"""Which worker runs where: device names and counts become one pinning per worker."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inferd.core.link.messages import Pinning
from inferd.server.supervisor.replicas.devices import Machine

_CPU_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_EXPECTED = "expected auto, cpu, cpu:0-3 (cores), cuda or cuda:1"


class PlacementError(ValueError):
    """The machine does not have what was asked for, or it was asked for in no known form."""


def place(
    devices: Sequence[str], *, instances: int, threads: int | None, machine: Machine
) -> tuple[Pinning, ...]:
    """The workers of one model: `instances` on each of `devices`.

    `auto` is every GPU, or the CPU where there is none. Without `threads`, the workers share
    the cores of the machine, and those on `cpu:0-3` the cores named; one thread each at least.
    Raises `PlacementError`.
    """
    places = [found for device in devices for found in _places(device, machine)]
    if not places:
        raise PlacementError(f"no device; {_EXPECTED}")
    workers = len(places) * instances
    pinnings: list[Pinning] = []
    for device, cpus in places:
        share = len(cpus) // instances if cpus else machine.cores // workers
        pinning = Pinning(device=device, cpus=cpus, threads=threads or max(1, share))
        pinnings.extend([pinning] * instances)
    return tuple(pinnings)


def _places(device: str, machine: Machine) -> list[tuple[str, tuple[int, ...]]]:
    kind, colon, rest = device.strip().partition(":")
    if kind == "auto" and not colon:
        return _every_gpu(machine) or [("cpu", ())]
    if kind == "cpu":
        return [("cpu", _cores(device, rest, machine) if colon else ())]
    if kind == "cuda" and not colon:
        return _every_gpu(machine) or [_no_gpu(device, machine)]
    if kind == "cuda" and rest.isascii() and rest.isdigit():
        if int(rest) >= machine.gpus:
            _no_gpu(device, machine)
        return [(f"cuda:{int(rest)}", ())]
    raise PlacementError(f"device '{device}' is unknown; {_EXPECTED}")


def _every_gpu(machine: Machine) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"cuda:{index}", ()) for index in range(machine.gpus)]


def _no_gpu(device: str, machine: Machine) -> tuple[str, tuple[int, ...]]:
    there = (
        "no GPU that NVIDIA's driver shows"
        if not machine.gpus
        else (
            f"{machine.gpus} GPU{'s' if machine.gpus > 1 else ''}, cuda:0"
            + (f" to cuda:{machine.gpus - 1}" if machine.gpus > 1 else "")
        )
    )
    raise PlacementError(f"device '{device}' is asked for; this machine has {there}")


def _cores(device: str, text: str, machine: Machine) -> tuple[int, ...]:
    cores: set[int] = set()
    for part in text.split(","):
        found = _CPU_RANGE.fullmatch(part.strip())
        if found is None:
            raise PlacementError(f"device '{device}' is unknown; {_EXPECTED}")
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last or last > 1 << 16:
            raise PlacementError(f"device '{device}' names cores backwards or beyond any machine's")
        cores.update(range(first, last + 1))
    if missing := sorted(cores.difference(machine.cpus)):
        raise PlacementError(
            f"device '{device}' names core {missing[0]}; this process may run on "
            f"{', '.join(str(cpu) for cpu in machine.cpus)}"
        )
    return tuple(sorted(cores))
