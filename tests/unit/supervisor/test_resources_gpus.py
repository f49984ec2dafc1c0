"""What is read of GPUs, against an NVML that the test makes up."""

from __future__ import annotations

import sys
from dataclasses import fields

import pynvml
import pytest
from structlog.testing import capture_logs

from inferd.server.supervisor.replicas.devices import survey
from inferd.server.supervisor.resources.gpus import THROTTLE_REASONS, GpuReading, Gpus
from support.fake_nvml import FakeGpu, FakeNvml

XID = pynvml.nvmlEventTypeXidCriticalError


def plain(uuid: str = "GPU-plain") -> FakeGpu:
    """A GPU of the cheaper kind: neither power, energy nor ECC."""
    return FakeGpu(uuid, milliwatts=None, millijoules=None, ecc=None, has_events=False)


def test_every_figure_is_read_in_its_unit() -> None:
    """Watts, joules, hertz and shares, though NVML has thousandths, millions and percent."""
    gpu = FakeGpu("GPU-a", processes=[(41, 5 << 20), (42, 6 << 20)])
    (reading,) = Gpus(FakeNvml(gpu)).read()
    assert reading == GpuReading(
        index=0,
        uuid="GPU-a",
        name="NVIDIA Fake",
        utilization=0.5,
        memory_used=1 << 30,
        memory_total=80 << 30,
        power_watts=250.0,
        energy_joules=7000.5,
        temperature=61.0,
        sm_clock_hertz=1.98e9,
        memory_clock_hertz=2.619e9,
        throttle=frozenset(),
        xid_errors={},
        ecc_corrected=3,
        ecc_uncorrected=1,
        processes={41: 5 << 20, 42: 6 << 20},
    )


def test_what_a_device_does_not_support_is_none() -> None:
    """Beside a GPU that has it all; no figure missing costs another one."""
    one, other = Gpus(FakeNvml(FakeGpu("GPU-a"), plain())).read()
    assert one.power_watts == 250.0
    assert (other.power_watts, other.energy_joules) == (None, None)
    assert (other.ecc_corrected, other.ecc_uncorrected) == (None, None)
    assert (other.index, other.utilization, other.temperature) == (1, 0.5, 61.0)


def test_a_device_that_supports_nothing_is_still_there() -> None:
    """As on a MIG parent or under a hypervisor: nothing but its name."""
    bare = FakeGpu("GPU-b", has_events=False)
    for each in fields(bare):
        if str(each.type).endswith("| None"):
            setattr(bare, each.name, None)
    (reading,) = Gpus(FakeNvml(bare)).read()
    assert reading == GpuReading(0, "GPU-b", "NVIDIA Fake")
    assert not reading.lost


def test_an_older_driver_is_asked_the_older_way() -> None:
    """Functions that it does not have yet cost no figure."""
    gpu = FakeGpu("GPU-a", processes=[(41, 7)], throttle=pynvml.nvmlClocksEventReasonSwPowerCap)
    (reading,) = Gpus(FakeNvml(gpu, old=True)).read()
    (newer,) = Gpus(FakeNvml(gpu)).read()
    assert reading == newer
    assert reading.throttle == {"power_cap"}


def test_processes_without_an_id_or_a_figure_are_left_out() -> None:
    """Those of other namespaces have 0, those under WSL no memory; MIG lists one more than once."""
    gpu = FakeGpu("GPU-a", processes=[(0, 99), (41, None), (42, 5), (42, 6)])
    (reading,) = Gpus(FakeNvml(gpu)).read()
    assert reading.processes == {42: 11}


def test_throttling_is_told_by_names_of_a_closed_set() -> None:
    """Every bit but idleness has a name; bits that nobody knows yet are ignored."""
    gpu = FakeGpu("GPU-a", throttle=pynvml.nvmlClocksEventReasonAll | 1 << 40)
    gpus = Gpus(FakeNvml(gpu))
    assert gpus.read()[0].throttle == set(THROTTLE_REASONS)
    gpu.throttle = pynvml.nvmlClocksEventReasonGpuIdle
    assert gpus.read()[0].throttle == set()
    gpu.throttle = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    assert gpus.read()[0].throttle == {"thermal_hardware"}


def test_xid_errors_are_counted_once_and_stay() -> None:
    """All that have queued up since the last reading, by number; other events are nothing to us."""
    gpu = FakeGpu("GPU-a")
    gpus = Gpus(FakeNvml(gpu, FakeGpu("GPU-b")))
    assert gpus.read()[0].xid_errors == {}
    gpu.events.extend([(XID, 31), (pynvml.nvmlEventTypeClock, 5), (XID, 31), (XID, 79)])
    first, other = gpus.read()
    assert (first.xid_errors, other.xid_errors) == ({31: 2, 79: 1}, {})
    assert gpus.read()[0].xid_errors == {31: 2, 79: 1}
    gpu.events.append((XID, 31))
    assert gpus.read()[0].xid_errors == {31: 3, 79: 1}
    assert first.xid_errors == {31: 2, 79: 1}, "a reading changed afterwards"


def test_a_storm_of_events_does_not_hold_a_reading_up() -> None:
    """What is left over is read the next time."""
    gpu = FakeGpu("GPU-a")
    gpus = Gpus(FakeNvml(gpu))
    gpu.events.extend([(XID, 13)] * 100)
    assert gpus.read()[0].xid_errors == {13: 64}
    assert gpus.read()[0].xid_errors == {13: 100}


def test_a_lost_gpu_is_told_once_and_the_others_go_on() -> None:
    """It stays in readings as lost, with the XID errors that were seen; so does its way back."""
    gpu, other = FakeGpu("GPU-a"), plain()
    gpus = Gpus(FakeNvml(gpu, other))
    gpu.events.append((XID, 79))
    gpus.read()
    gpu.lost = True
    with capture_logs() as logs:
        for _ in range(3):
            lost, well = gpus.read()
    assert lost == GpuReading(0, "GPU-a", "NVIDIA Fake", xid_errors={79: 1}, lost=True)
    assert (well.uuid, well.utilization, well.lost) == ("GPU-plain", 0.5, False)
    assert [(each["event"], each["gpu"]) for each in logs] == [("a GPU is lost", 0)]
    gpu.lost = False
    assert not gpus.read()[0].lost
    gpu.lost = True
    with capture_logs() as logs:
        gpus.read()
    assert len(logs) == 1


def test_a_gpu_that_is_lost_at_the_start_is_left_out() -> None:
    """It has no name to be called by; the others keep their numbers."""
    gone = FakeGpu("GPU-a", lost=True)
    with capture_logs() as logs:
        gpus = Gpus(FakeNvml(gone, FakeGpu("GPU-b")))
    assert [(each.index, each.uuid) for each in gpus.read()] == [(1, "GPU-b")]
    assert [each["gpu"] for each in logs] == [0]


def test_without_a_driver_there_is_one_line_and_no_gpu() -> None:
    """The line says what is missing, and is no warning: many servers have no GPU."""
    with capture_logs() as logs:
        gpus = Gpus(FakeNvml(driver=False))
        assert gpus.read() == gpus.read() == ()
        gpus.close()
    (line,) = logs
    assert (line["log_level"], line["reason"]) == ("info", "NVML Shared Library Not Found")


def test_without_the_binding_there_is_one_line_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the package."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with capture_logs() as logs:
        assert Gpus().read() == ()
    assert "nvidia-ml-py" in logs[0]["reason"]


def test_closing_gives_everything_back() -> None:
    """Event sets and the library; a reading afterwards has no GPU, a second closing no effect."""
    library = FakeNvml(FakeGpu("GPU-a"), plain())
    gpus = Gpus(library)
    assert (library.openings, library.event_sets) == (1, 1)
    gpus.close()
    gpus.close()
    assert (library.openings, library.event_sets) == (0, 0)
    assert gpus.read() == ()


def test_the_survey_counts_through_the_same_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts the GPUs, and gives the library back."""
    library = FakeNvml(FakeGpu("GPU-a"), plain())
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert survey({}).gpus == 2
    assert survey({"CUDA_VISIBLE_DEVICES": "1"}).gpus == 1
    assert library.openings == 0
    library.driver = False
    assert survey({}).gpus == 0
