"""The one loop of a worker: it serves gateways until the supervisor says stop, or is gone."""

from __future__ import annotations

import os
import select
from collections import deque

import msgspec

from inferd.core.link.messages import (
    AdvanceBatch,
    CloseArena,
    FromWorker,
    OpenLink,
    RunBatch,
    StopWorker,
    ToWorker,
)
from inferd.core.link.sockets import MessageSocket, PeerGone
from inferd.core.telemetry import logs
from inferd.worker.link import Link
from inferd.worker.runner.execution import Execution, Runner

_log = logs.get_logger(__name__)


class Loop:
    """Waits on the supervisor's socket and on every link, in the thread that runs the model."""

    def __init__(self, control: MessageSocket[FromWorker, ToWorker], runner: Runner) -> None:
        self._control = control
        self._runner = runner
        self._links: dict[int, Link] = {}
        self._under_way: deque[tuple[Link, Execution]] = deque()
        self._epoll = select.epoll()
        self._epoll.register(control.fileno(), select.EPOLLIN)
        self._running = True

    def run(self) -> None:
        """Serve until told to stop; what is under way is finished first.

        Raises `PeerGone` when the supervisor is gone.
        """
        poll, control = self._epoll.poll, self._control.fileno()
        while self._running:
            # With a batch under way: take what is already waiting, or else finish that batch.
            # Of generators each takes one step in its turn, so that all get on alike.
            ready = poll(0) if self._under_way else poll()
            if not ready:
                self._finish_oldest()
            for fd, _ in ready:
                if fd == control:
                    self._obey()
                elif (link := self._links.get(fd)) is not None:
                    self._serve(link)
        self._finish_all()
        for link in list(self._links.values()):
            self._forget(link)

    def _obey(self) -> None:
        message, fds = self._control.receive_with_fds()
        if isinstance(message, OpenLink) and len(fds) == 1:
            link = Link(fds[0], self._runner)
            self._links[link.fileno()] = link
            self._epoll.register(link.fileno(), select.EPOLLIN)
            return
        for fd in fds:
            os.close(fd)
        if isinstance(message, StopWorker):
            self._running = False
        else:
            _log.error(
                "the supervisor sent something out of turn", message_type=type(message).__name__
            )

    def _serve(self, link: Link) -> None:
        try:
            message, fds = link.receive()
            if isinstance(message, RunBatch):
                self._under_way.append((link, link.launch(message)))
                while len(self._under_way) > self._runner.depth:
                    self._finish_oldest()
                return
            if isinstance(message, AdvanceBatch):
                if (generation := link.advance(message)) is not None:
                    self._under_way.append((link, generation))
                return
            if isinstance(message, CloseArena):
                self._finish_all()
            link.settle(message, fds)
        except PeerGone:
            self._forget(link)
        except (msgspec.DecodeError, ValueError, RuntimeError, OSError) as error:
            # Its gateway sees the end of file and stops counting on us.
            _log.error("a link is given up", exc_info=error)
            self._forget(link)

    def _finish_oldest(self) -> None:
        link, execution = self._under_way.popleft()
        try:
            link.finish(execution)
        except PeerGone:
            self._forget(link)

    def _finish_all(self) -> None:
        """Wait for what is on its way on a device; a generator that is not asked stands still."""
        while self._under_way and not self._runner.generates:
            self._finish_oldest()

    def _forget(self, link: Link) -> None:
        """Close a link; what it has under way must be over before its memory goes."""
        if self._links.pop(link.fileno(), None) is None:
            return  # it came to an end while its own batches were being finished
        self._finish_all()
        self._under_way = deque([each for each in self._under_way if each[0] is not link])
        self._epoll.unregister(link.fileno())
        link.close()
