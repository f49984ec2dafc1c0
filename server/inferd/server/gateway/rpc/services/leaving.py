"""Requests of a stream whose caller may leave before they are answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from inferd.server.gateway.rpc.faults import unexpected


class Aside:
    """A thread for what whoever asks for it cannot do itself: it holds locks. Safe from any thread.

    It starts when it is first needed, which is seldom.
    """

    def __init__(self, name: str, method: str) -> None:
        """`method` is what failures are logged with."""
        self._method = method
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def later(self, act: Callable[[], None]) -> None:
        """Have something done, after all that was asked for before."""
        self._thread.submit(self._perform, act)

    def _perform(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # or a future that nobody looks at would swallow it
            unexpected(error, self._method)


class Leaving(ABC):
    """One request of a stream, whose caller is asked after late or never."""

    __slots__ = ("_gone", "_on_cancel")

    def __init__(self) -> None:
        self._gone = False
        self._on_cancel: Callable[[], None] | None = None

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Have `on_cancel` called when the caller leaves, or has left, this request unanswered.

        Never before this returns, for it may take a lock that is held here.
        """
        self._on_cancel = on_cancel
        # Looked at after it is set: whichever thread comes second, here or in `forget`, sees both.
        if self._gone:
            self._forget_late()

    def forget(self) -> None:
        """The caller is gone. Takes the dispatcher's lock."""
        self._gone = True
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None:
            on_cancel()

    @abstractmethod
    def _forget_late(self) -> None:
        """Have `forget` called when whoever calls this has let go of its locks."""
