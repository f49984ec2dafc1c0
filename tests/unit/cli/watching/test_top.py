"""`inferd top`, on a terminal and off one."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from inferd.core.telemetry.status import GpuStatus, Status
from inferd.server.cli.main import main
from inferd.server.cli.watching.between import Poller, between
from inferd.server.cli.watching.top import top
from support.status import OpsPort, status, version

INFERD = str(Path(sys.executable).with_name("inferd"))
SHOWN, HIDDEN = b"\x1b[?1049h", b"\x1b[?1049l"


def poller(*answers: Status) -> Poller:
    """Somebody who is told these, one after the other."""
    left = iter(answers)
    return Poller(lambda: next(left))


def test_a_poll_is_over_the_time_since_the_last() -> None:
    """Counts and CPU seconds are subtracted; the first poll shows the server's own window."""
    early = status(version(answered=100, cpu_seconds=5.0), uptime=50.0)
    late = status(version(answered=140, cpu_seconds=6.0), uptime=54.0)
    polls = poller(early, late)
    assert polls.poll() is early
    found = polls.poll()
    (model,) = found.models
    assert found.window == pytest.approx(4.0)
    assert model.figures.requests_per_second == pytest.approx(10.0)
    assert model.figures.mean_seconds == pytest.approx(0.002)
    assert model.figures.p50_seconds == pytest.approx(0.00175)
    assert model.consumption.cpu == pytest.approx(0.25)
    assert model.totals.answered == 140


def test_a_server_that_was_restarted_begins_anew() -> None:
    """Its counts are not compared with another one's, even where they are larger."""
    early = status(version(answered=100), uptime=50.0)
    late = status(version(answered=900), uptime=60.0, started=1.9e9)
    later = status(version(answered=910), uptime=61.0, started=1.9e9)
    polls = poller(early, late, later)
    polls.poll()
    assert polls.poll() is late
    assert polls.poll().models[0].figures.requests_per_second == pytest.approx(10.0)


def test_a_version_that_is_new_is_counted_whole() -> None:
    """It had no request before it was there."""
    early, late = status(uptime=50.0), status(version(answered=8), uptime=54.0)
    assert between(early, late).models[0].figures.requests_per_second == pytest.approx(2.0)


def test_power_is_over_the_interval_too() -> None:
    """Of a GPU that only this version's worker is on."""
    cases: tuple[tuple[tuple[int, ...], float | None], ...] = (((81,), 250.0), ((81, 99), None))
    for pids, expected in cases:
        early, late = (
            replace(status(version(), uptime=at), gpus=(_gpu(joules, pids),))
            for at, joules in ((50.0, 1000.0), (54.0, 2000.0))
        )
        assert between(early, late).models[0].consumption.watts == expected


def test_off_a_terminal_it_prints_one_picture_per_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As many as were asked for, busiest model first; no escape sequence."""
    early = status(version("a"), version("b", answered=1), uptime=50.0)
    late = status(version("a"), version("b", answered=11), uptime=60.0)
    with OpsPort(early, late) as port:
        assert top(ops=port.address, interval=0.1, count=2) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    first, second = told.split("inferd 0.1.0, ready")[1:]
    assert "over the last 1 min;" in first
    assert "over the last 10 s;" in second
    assert second.index("b/1") < second.index("a/1")


def test_a_server_that_is_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, goes on, and shows the new one when it is there; the code tells how it was last."""
    here, again = status(version()), status(version(), uptime=1.0, started=1.9e9)
    with OpsPort(here, None, again) as port:
        assert top(ops=port.address, interval=0.1, count=3) == 0
    told = capsys.readouterr().out
    assert told.count("inferd 0.1.0, ready") == 2
    assert told.count("not reachable, trying again: what listens at ") == 1
    with OpsPort(here, None) as port:
        assert top(ops=port.address, interval=0.1, count=2) == 3


def test_a_server_that_never_was_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An address that was mistyped is not waited for."""
    with OpsPort(None) as port:
        address = port.address
    assert top(ops=address) == 3
    assert f"inferd top: nothing listens at {address};" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ops", "nowhere"), "--ops nowhere: expected HOST:PORT"),
        (("--interval", "0"), "--interval 0: expected 0.1 seconds or more"),
        (("--interval", "nan"), "--interval nan: expected 0.1 seconds or more"),
        (("--count", "0"), "--count 0: expected 1 or more"),
    ],
)
def test_mistakes_are_told(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["top", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def _gpu(joules: float, pids: tuple[int, ...]) -> GpuStatus:
    return GpuStatus(
        index=0, uuid="GPU-1", name="a GPU", memory_used=1, memory_total=2, energy_joules=joules,
        pids=pids,
    )  # fmt: skip


class Terminal:
    """`inferd top` on a terminal of 24 lines and 80 columns."""

    def __init__(self, address: str) -> None:
        self._own, self._its = pty.openpty()
        termios.tcsetwinsize(self._its, (24, 80))
        self.before = termios.tcgetattr(self._its)
        self.shown = b""
        self.process = subprocess.Popen(
            [INFERD, "top", "--ops", address, "--interval", "0.2"],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )

    @property
    def now(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self._its)

    def see(self, *texts: str) -> None:
        """Wait until all of these have been shown since what was last waited for."""
        wanted = [text.encode() for text in texts]
        while not all(text in self.shown for text in wanted):
            self.shown += os.read(self._own, 65536)
        # What came behind them in the same breath counts for the next call.
        self.shown = self.shown[max(self.shown.index(text) + len(text) for text in wanted) :]

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._own, keys.encode())

    def close(self) -> None:
        """Whatever became of it, it is gone afterwards."""
        self.process.kill()
        self.process.wait()
        os.close(self._own)
        os.close(self._its)


@pytest.fixture
def terminal() -> Iterator[Callable[[str], Terminal]]:
    """Makes terminals, and takes them away."""
    made: list[Terminal] = []

    def make(address: str) -> Terminal:
        made.append(Terminal(address))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_keys_sort_and_quit(terminal: Callable[[str], Terminal]) -> None:
    """S goes on to the next order, q ends, and the terminal is as it was."""
    with OpsPort(status(version())) as port:
        top = terminal(port.address)
        top.see(SHOWN.decode(), "digits/1", "sorted by rate; s: by p99, q: quit")
        assert not top.now[3] & (termios.ICANON | termios.ECHO)
        top.press("s")
        top.see("sorted by p99")
        top.press("\x1a")  # Ctrl-Z: the shell would find the terminal as it is now
        top.press("s")
        top.see("sorted by queue")
        top.press("q")
        top.see(HIDDEN.decode())
        assert top.process.wait(10) == 0
        assert top.now == top.before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_leave_the_terminal_as_it_was(
    number: signal.Signals, code: int, terminal: Callable[[str], Terminal]
) -> None:
    """Whoever ends it gets a terminal that echoes."""
    with OpsPort(status(version())) as port:
        top = terminal(port.address)
        top.see("digits/1", "q: quit")
        top.process.send_signal(number)
        top.see(HIDDEN.decode())
        assert top.process.wait(10) == code
        assert top.now == top.before


def test_a_restart_is_survived_on_a_terminal(terminal: Callable[[str], Terminal]) -> None:
    """The picture gives way to a line, and comes back."""
    with OpsPort(status(version()), None, status(version("other"))) as port:
        top = terminal(port.address)
        top.see("digits/1")
        top.see("not reachable, trying again")
        top.see("other/1")


def test_a_small_terminal_shows_what_fits(terminal: Callable[[str], Terminal]) -> None:
    """The rest is counted, and the keys are still told."""
    with OpsPort(status(*(version(f"m{number:02}") for number in range(40)))) as port:
        top = terminal(port.address)
        top.see("m00/1", "m03/1", "more", "q: quit")
