"""The status between two looks: what a server did since somebody looked last."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from inferd.core.telemetry.figures import figures
from inferd.core.telemetry.sample import Sample, cpu_of, watts_of
from inferd.core.telemetry.status import ProcessUse, Status, Totals, VersionStatus


class Poller:
    """Asks again and again."""

    def __init__(self, ask: Callable[[], Status]) -> None:
        self._ask = ask
        self._last: Status | None = None

    def poll(self) -> Status:
        """The status now, its rates and times over the time since the last poll.

        The first one's, and those of a server that was started meanwhile, are over the server's own
        window. Raises what asking raises.
        """
        earlier, latest = self._last, self._ask()
        self._last = latest
        if earlier is None or not _same(earlier, latest):
            return latest
        return between(earlier, latest)


def between(earlier: Status, later: Status) -> Status:
    """The later status, its rates and times over the time between both."""
    before, now = _sample(earlier), _sample(later)

    def use(found: ProcessUse | None) -> ProcessUse | None:
        return found and replace(found, cpu=cpu_of((found.pid,), before, now))

    def version(found: VersionStatus) -> VersionStatus:
        key = found.model, found.version
        totals = before.totals.get(key, Totals())
        workers = tuple(replace(each, use=use(each.use)) for each in found.workers)
        pids = {each.use.pid for each in found.workers if each.use is not None}
        own = (each.uuid for each in later.gpus if each.pids and pids.issuperset(each.pids))
        watts = [watts for uuid in own if (watts := watts_of(uuid, before, now)) is not None]
        return replace(
            found,
            figures=figures(totals, found.totals, now.at - before.at, later.bounds),
            consumption=replace(
                found.consumption,
                cpu=cpu_of(pids, before, now),
                watts=sum(watts) if watts else None,
            ),
            workers=workers,
        )

    return replace(
        later,
        window=now.at - before.at,
        server=replace(later.server, supervisor=use(later.server.supervisor)),
        gateways=tuple(replace(each, use=use(each.use)) for each in later.gateways),
        models=tuple(map(version, later.models)),
    )


def _same(earlier: Status, later: Status) -> bool:
    """Whether it is the same server, and time has passed."""
    one, other = earlier.server, later.server
    born = (one.started, one.supervisor.pid) == (other.started, other.supervisor.pid)
    return born and other.uptime > one.uptime and earlier.bounds == later.bounds


def _sample(status: Status) -> Sample:
    return Sample(
        status.server.uptime,
        {(each.model, each.version): each.totals for each in status.models},
        {each.pid: each.cpu_seconds for each in _uses(status) if each.cpu_seconds is not None},
        {each.uuid: each.energy_joules for each in status.gpus if each.energy_joules is not None},
        status.read_at,
    )


def _uses(status: Status) -> Iterator[ProcessUse]:
    yield status.server.supervisor
    for gateway in status.gateways:
        if gateway.use is not None:
            yield gateway.use
    for version in status.models:
        for worker in version.workers:
            if worker.use is not None:
                yield worker.use
