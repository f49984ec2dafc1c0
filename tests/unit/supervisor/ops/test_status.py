"""The status document: made of observations, counts and readings, over the last minute."""

from __future__ import annotations

import msgspec
import pytest

from inferd.core.clock import ManualClock
from inferd.core.link.messages import Sorted, Spent, VersionCounts, VersionLoad, VersionState
from inferd.core.telemetry.metrics import SECONDS
from inferd.core.telemetry.sample import Sample
from inferd.core.telemetry.status import Addresses, Status, VersionStatus
from inferd.server.supervisor.incidents import Incidents
from inferd.server.supervisor.ops.observation import (
    NOTHING_READ,
    GatewayView,
    Observation,
    Observer,
    WorkerView,
)
from inferd.server.supervisor.ops.status.look import Look, totals_of
from inferd.server.supervisor.ops.status.tally import Tally
from inferd.server.supervisor.ops.status.window import Window
from inferd.server.supervisor.replicas.instance import Phase
from inferd.server.supervisor.resources.gpus import GpuReading
from inferd.server.supervisor.resources.processes import ProcessReading
from inferd.server.supervisor.resources.resources import Reading

GATEWAY, WORKER = 71, 81


def process(
    pid: int, cpu_seconds: float, resident: int = 300, proportional: int | None = 200
) -> ProcessReading:
    """A reading of one process."""
    return ProcessReading(pid, cpu_seconds, resident, proportional, threads=1, open_files=3)


def gpu(energy: float, **processes: int) -> GpuReading:
    """A reading of one GPU; `processes` are `pid_N` and their bytes."""
    held = {int(name.removeprefix("pid_")): nbytes for name, nbytes in processes.items()}
    return GpuReading(
        0, "GPU-1", "a GPU", utilization=0.5, memory_used=10, memory_total=100, power_watts=70.0,
        energy_joules=energy, temperature=40.0, processes=held,
    )  # fmt: skip


def reading(*processes: ProcessReading, gpus: tuple[GpuReading, ...] = ()) -> Reading:
    """What was read of these."""
    return Reading(gpus, {each.pid: each for each in processes})


class Seen(Observer):
    """An observer that sees what the test says."""

    def __init__(self, *counts: VersionCounts, read: Reading = NOTHING_READ) -> None:
        self.counts = counts
        self.read = read
        self.gateways = (GatewayView("gateway", up=True, pid=GATEWAY, lag=0.01),)
        self.workers = (
            WorkerView("m", 1, 0, "cpu", up=True, phase=Phase.ATTACHED, pid=WORKER),
            WorkerView("m", 1, 1, "cpu", up=False, phase=Phase.WAITING, pid=None),
        )

    async def observe(self) -> Observation:
        """What the test says."""
        return Observation(
            counts=self.counts,
            loads=(VersionLoad("m", 1, 3, 0.5, 2),),
            calls=(),
            states=(("m", VersionState(1, "READY", "", 1)), ("n", VersionState(2, "LOADING", "", None))),
            workers=self.workers,
            gateways=self.gateways,
            lag=0.0,
            seconds=0.001,
            reading=self.read,
        )  # fmt: skip

    async def reading(self) -> Reading:
        """What the test says."""
        return self.read

    def addresses(self) -> dict[str, str | None]:
        """HTTP is off."""
        return {"grpc": "127.0.0.1:1", "http": None}


def counts(answered: int, model: str = "m", version: int = 1) -> VersionCounts:
    """So many requests of 2 rows and 5 ms each, and some that went wrong in each way."""
    buckets = [0] * (len(SECONDS) + 1)
    buckets[SECONDS.index(0.005)] = answered
    return VersionCounts(
        model,
        version,
        inference_count=2 * answered,
        execution_count=answered,
        success=Spent(answered, answered * 5_000_000),
        cancelled=1,
        errors={"QUEUE_FULL": 2, "MODEL_NOT_FOUND": 4, "DEADLINE_EXCEEDED": 3},
        buckets=Sorted(total=tuple(buckets)),
    )


def look(seen: Seen, clock: ManualClock) -> Look:
    """Somebody who looks at a server that is ready."""
    tally = Tally(Incidents())
    return Look(seen, tally, not_ready=lambda: "", ops="127.0.0.1:2", clock=clock)


def only(status: Status, model: str = "m") -> VersionStatus:
    """The one version of a model."""
    (found,) = [each for each in status.models if each.model == model]
    return found


def test_a_window_is_the_last_minute() -> None:
    """Or the time since the start if that is shorter; samples that are older are forgotten."""
    window = Window(Sample(0.0))
    assert window.before(0.0).at == 0.0
    for at in range(5, 301, 5):
        window.note(Sample(float(at)))
        assert window.before(float(at)).at == max(0, at - 60)
        assert window.before(at + 4.9).at == max(0, at - 55 if at > 55 else 0)
    assert len(window._samples) < 20


def test_a_window_without_recent_samples_is_longer() -> None:
    """Where nobody came round to noting one, the latest is compared with, however old."""
    window = Window(Sample(0.0))
    window.note(Sample(5.0))
    assert window.before(500.0).at == 5.0


async def test_figures_are_over_the_window() -> None:
    """What was counted since the start, then what was counted since the sample of a minute ago."""
    clock, seen = ManualClock(100.0), Seen(counts(50))
    looking = look(seen, clock)
    clock.advance(10.0)
    found = await looking.status()
    assert (found.window, found.server.uptime) == (10.0, 10.0)
    assert only(found).figures.requests_per_second == pytest.approx(6.0)
    assert only(found).figures.mean_seconds == pytest.approx(0.005)
    assert only(found).figures.p50_seconds == pytest.approx(0.00375)
    assert only(found, "n").figures.requests_per_second == 0.0
    looking._window.note(looking._sample(seen.counts, NOTHING_READ))
    clock.advance(60.0)
    seen.counts = (counts(110),)
    found = await looking.status()
    assert (found.window, found.server.uptime) == (60.0, 70.0)
    assert only(found).figures.requests_per_second == pytest.approx(1.0)
    assert only(found).totals.answered == 110


def test_outcomes_are_told_apart() -> None:
    """What is the server's own fault is an error; what is the caller's is not."""
    key, totals = totals_of(counts(7))
    assert key == ("m", 1)
    assert (totals.answered, totals.errors, totals.invalid, totals.cancelled) == (7, 5, 4, 1)
    assert (totals.requests, totals.rows, totals.batches) == (17, 14, 7)


async def test_a_version_is_described() -> None:
    """State, workers up and of how many, devices, queue, restarts by cause."""
    looking = look(Seen(), ManualClock())
    looking._tally.worker_restarted("m", 1, "signal")
    looking._tally.worker_restarted("m", 1, "signal")
    looking._tally.worker_restarted("m", 2, "exit")
    looking._tally.gateway_restarted("gateway")
    status = await looking.status()
    found = only(status)
    assert (found.state, found.up, found.instances, found.devices) == ("READY", 1, 2, ("cpu",))
    assert (found.queued, found.queue_age, found.in_flight) == (3, 0.5, 2)
    assert found.restarts == {"signal": 2}
    assert [each.phase for each in found.workers] == ["attached", "waiting"]
    assert found.accuracy is None
    assert [each.restarts for each in status.gateways] == [1]
    assert status.server.addresses == Addresses(grpc="127.0.0.1:1", http=None, ops="127.0.0.1:2")


async def test_without_a_reading_nothing_is_made_up() -> None:
    """CPU, memory and power are unknown, not zero."""
    clock = ManualClock()
    looking = look(Seen(counts(5)), clock)
    clock.advance(5.0)
    found = await looking.status()
    use = found.gateways[0].use
    assert use is not None
    assert (use.pid, use.cpu, use.memory_bytes) == (GATEWAY, None, None)
    used = only(found).consumption
    assert (used.cpu, used.memory_bytes, used.gpu_memory_bytes, used.watts) == (None,) * 4


async def test_consumption_is_of_a_version_s_own_workers() -> None:
    """CPU since the window began, shared memory divided, power of a GPU that nobody else is on."""
    clock = ManualClock()
    seen = Seen(
        read=reading(
            process(WORKER, 1.0), process(GATEWAY, 2.0, 300, None), gpus=(gpu(1000.0, pid_81=64),)
        )
    )
    looking = look(seen, clock)
    looking._window = Window(looking._sample((), seen.read))
    later = process(WORKER, 3.0), process(GATEWAY, 2.5, 300, None)
    seen.read = reading(*later, gpus=(gpu(1500.0, pid_81=64),))
    clock.advance(4.0)
    found = await looking.status()
    used = only(found).consumption
    assert (used.cpu, used.memory_bytes, used.gpu_memory_bytes) == (0.5, 200, 64)
    assert used.watts == pytest.approx(125.0)
    assert found.gateways[0].use is not None
    assert (found.gateways[0].use.cpu, found.gateways[0].use.memory_bytes) == (0.125, 300)
    (shown,) = found.gpus
    assert (shown.utilization, shown.power_watts, shown.pids) == (0.5, 70.0, (WORKER,))
    seen.read = reading(*later, gpus=(gpu(1500.0, pid_81=64, pid_82=1),))
    assert only(await looking.status()).consumption.watts is None


async def test_requests_that_reached_no_model_are_counted() -> None:
    """They belong to no version, and are the first sign of a client with a wrong name."""
    looking = look(Seen(counts(0, model="", version=0)), ManualClock())
    assert (await looking.status()).server.unmatched == 10


async def test_the_document_can_be_read_back() -> None:
    """It is what it was, by way of JSON, and says which schema it follows."""
    status = await look(Seen(counts(5)), ManualClock()).status()
    text = msgspec.json.encode(status)
    assert text.startswith(b'{"schema":1,')
    assert msgspec.json.decode(text, type=Status) == status


def test_a_tally_passes_on_what_it_hears() -> None:
    """Metrics count the same incidents."""

    class Heard(Incidents):
        def __init__(self) -> None:
            self.words: list[object] = []

        def worker_restarted(self, model: str, version: int, cause: str) -> None:
            self.words.append((model, version, cause))

        def model_loaded(self, model: str, version: int, seconds: float) -> None:
            self.words.append((model, version, seconds))

        def load_failed(self, model: str, version: int) -> None:
            self.words.append((model, version))

        def gateway_restarted(self, gateway: str) -> None:
            self.words.append(gateway)

        def unanswered(self, process: str) -> None:
            self.words.append(process)

    heard = Heard()
    tally = Tally(heard)
    tally.worker_restarted("m", 1, "exit")
    tally.model_loaded("m", 1, 2.5)
    tally.load_failed("m", 2)
    tally.gateway_restarted("gateway")
    tally.unanswered("gateway-2")
    assert heard.words == [("m", 1, "exit"), ("m", 1, 2.5), ("m", 2), "gateway", "gateway-2"]
