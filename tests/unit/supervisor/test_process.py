"""A child process: messages, death, signals, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import psutil
import pytest

from inferd.core.link.messages import FromWorker, LoadingFailed, OpenLink, StopWorker, ToWorker
from inferd.server.supervisor.replicas.process import (
    KEEP_MEMORY,
    ChildProcess,
    Exit,
    python,
)
from support.descriptors import descriptors

BOUND = 60.0

PRELUDE = """
import os, signal, subprocess, sys, time
from inferd.core.link.messages import *
from inferd.core.link.sockets import MessageSocket, adopt
fd = int(sys.argv[sys.argv.index("--control-fd") + 1])
control = MessageSocket(adopt(fd), ToWorker)
def say(text): control.send(LoadingFailed(str(text)))
"""


class Child:
    """A child that runs some lines, and what it said."""

    def __init__(self, lines: str) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.ended: list[Exit] = []
        self.process: ChildProcess[ToWorker, FromWorker] = ChildProcess.spawn(
            [sys.executable, "-c", PRELUDE + lines],
            FromWorker,
            on_message=self._hear,
            on_exit=self._end,
        )

    def _hear(self, message: FromWorker) -> None:
        assert isinstance(message, LoadingFailed)
        self.said.put_nowait(message.reason)

    def _end(self, exit_: Exit) -> None:
        self.ended.append(exit_)
        self.said.put_nowait(f"it ended: {exit_}")  # for who waits for what it did not say

    async def hear(self) -> str:
        """The next thing it says, or how it ended."""
        async with asyncio.timeout(BOUND):
            return await self.said.get()

    async def end(self) -> Exit:
        """How it ends."""
        async with asyncio.timeout(BOUND):
            return await asyncio.shield(self.process.exit)


@pytest.fixture(autouse=True)
def _nothing_left() -> object:
    """No process and no descriptor is left by a child that has ended."""
    fds, children = descriptors(), psutil.Process().children()
    yield
    assert set(psutil.Process().children()) <= set(children)
    assert descriptors().items() <= fds.items()


async def test_it_hears_and_is_heard() -> None:
    """Messages go both ways, and what it said before it ended arrives before the end."""
    child = Child("assert control.receive() == StopWorker(); say('one'); say('two')")
    child.process.send(StopWorker())
    assert await child.end() == Exit(code=0)
    assert [child.said.get_nowait() for _ in range(2)] == ["one", "two"]
    assert child.ended == [Exit(code=0)]
    assert not child.process.alive


async def test_it_is_told_its_parent_and_has_its_own_group() -> None:
    """Ctrl-C in the terminal goes to the parent's group alone; it inherits nothing to read."""
    child = Child(
        "say(sys.argv[sys.argv.index('--parent') + 1]); say(os.getpgid(0) == os.getpid());"
        "say(repr(sys.stdin.read()))"
    )
    assert [await child.hear() for _ in range(3)] == [str(os.getpid()), "True", "''"]
    await child.end()


async def test_it_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets malloc's variables, of which what the operator set has the last word."""
    own, ours = KEEP_MEMORY
    monkeypatch.setenv(own, "12345")
    monkeypatch.delenv(ours, raising=False)
    child = Child(f"say(os.environ[{own!r}]); say(os.environ[{ours!r}])")
    assert [await child.hear() for _ in range(2)] == ["12345", KEEP_MEMORY[ours]]
    assert ours not in os.environ
    await child.end()


async def test_descriptors_cross() -> None:
    """A descriptor sent arrives; ours may be closed at once."""
    child = Child("message, fds = control.receive_with_fds(); os.write(fds[0], b'hello')")
    reading, writing = os.pipe()
    child.process.send(OpenLink(), [writing])
    os.close(writing)
    await child.end()
    assert os.read(reading, 10) == b"hello"
    os.close(reading)


async def test_a_slow_reader_loses_nothing() -> None:
    """More than the socket holds is sent when the child reads, in order, descriptors too."""
    child = Child(
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); say('up')\n"
        "signal.sigwait({signal.SIGUSR1}); n = 0\n"
        "while not isinstance(control.receive_with_fds()[0], StopWorker): n += 1\n"
        "say(n)"
    )
    assert await child.hear() == "up"
    reading, writing = os.pipe()
    for number in range(3000):
        child.process.send(OpenLink(), [writing] if number % 100 == 0 else [])
    child.process.send(StopWorker())
    os.close(writing)
    os.close(reading)
    os.kill(child.process.pid, signal.SIGUSR1)
    assert await child.hear() == "3000"
    await child.end()


@pytest.mark.parametrize(
    ("lines", "expected", "text"),
    [
        ("sys.exit(3)", Exit(code=3), "exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", Exit(signal=9), "signal 9"),
    ],
)
async def test_how_it_ended_is_known(lines: str, expected: Exit, text: str) -> None:
    """An exit code or a signal."""
    child = Child(lines)
    ended = await child.end()
    assert ended == expected
    assert str(ended) == text


async def test_sending_to_the_dead_is_no_error() -> None:
    """Its exit tells all there is to tell."""
    child = Child("")
    await child.end()
    child.process.send(StopWorker())
    child.process.terminate()
    child.process.kill()
    assert child.ended == [Exit(code=0)]


async def test_stopping_asks_first() -> None:
    """A child that follows SIGTERM is not killed."""
    child = Child("signal.signal(15, lambda *_: sys.exit(4)); say('up'); time.sleep(600)")
    await child.hear()
    async with asyncio.timeout(BOUND):
        assert await child.process.stop(BOUND) == Exit(code=4)


async def test_stopping_kills_who_does_not_follow() -> None:
    """After the grace it is ended."""
    child = Child("signal.signal(15, signal.SIG_IGN); say('up'); time.sleep(600)")
    await child.hear()
    async with asyncio.timeout(BOUND):
        assert await child.process.stop(0.01) == Exit(signal=9)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "by itself"])
async def test_what_it_started_ends_with_it(*, killed: bool) -> None:
    """A grandchild in its group is not left behind, however it ends."""
    # It ends when it is told to: by then its grandchild is known by more than a number.
    lines = "child = subprocess.Popen(['sleep', '600']); say(child.pid); control.receive()"
    child = Child(lines)
    grandchild = os.pidfd_open(int(await child.hear()))
    if killed:
        child.process.kill()
    else:
        child.process.send(StopWorker())
    await child.end()
    async with asyncio.timeout(BOUND):
        await _readable(grandchild)
    os.close(grandchild)


async def test_nonsense_ends_it() -> None:
    """Who sends what no message is cannot be trusted with more."""
    child = Child("os.write(fd, b'nonsense'); time.sleep(600)")
    assert await child.end() == Exit(signal=9)


async def test_closing_its_socket_does_not_keep_it_from_being_seen_to_die() -> None:
    """End of file alone is not death; death is."""
    child = Child("control.close(); sys.exit(5)")
    assert await child.end() == Exit(code=5)


async def test_a_command_that_is_not_there_is_told() -> None:
    """And leaves no descriptor."""
    with pytest.raises(FileNotFoundError):
        ChildProcess.spawn(["/absent"], FromWorker, on_message=print, on_exit=print)


def test_modules_run_with_our_python() -> None:
    """Not with whatever `python` the path finds."""
    assert python("a.b", "--c") == [sys.executable, "-m", "a.b", "--c"]


async def _readable(descriptor: int) -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    await event.wait()
    loop.remove_reader(descriptor)
