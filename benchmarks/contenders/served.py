"""The turn of a contender that is a server: load goes to it, its answers are checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from expected import expected_answer
from load import Calls, Load, LoadError, LoadResult, warm_up
from scenarios import Scenario
from wires.call import CallFailed, Floats, check_answer
from wires.exchange import Exchange

from contenders.contender import Conditions, ContenderError, Sample, percentile
from contenders.server import Launch, Server
from contenders.slices import SlicedRun

_LOOK_INTERVAL = 0.1
_FRESHEN = 0.15
"""Share of a sample's requests sent uncounted before it: a paused server's caches are cold."""

LaunchFor = Callable[[Server], Launch]
"""The command, given the ports and the scratch folder of this start."""


class ServedTurn:
    """A `Turn`: the server is started once and paused between samples.

    With `pause` false it does not survive that, and is started anew for each sample.
    """

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        exchange: Exchange,
        launch: LaunchFor,
        conditions: Conditions,
        *,
        warm: float = 0.0,
        start_limit: float = 60.0,
        pause: bool = True,
        echo: bool = False,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        """`echo`: the right answer is the input, there is no model; `roles` as in `ProcessTree`."""
        self.name = name
        self._scenario = scenario
        self._exchange = exchange
        self._launch = launch
        self._conditions = conditions
        self._warm = warm
        self._start_limit = start_limit
        self._pause = pause
        self._roles = roles
        self._expected: Floats = expected_answer(scenario, echo=echo)
        self._server: Server | None = None
        self._answer = 0
        self._requests = 0

    def prepare(self) -> None:
        """See `Turn`."""
        try:
            self._start()
            self._idle()
        except BaseException:
            self.close()
            raise

    def sample(self) -> Sample:
        """See `Turn`."""
        if self._server is None:
            self._start()
        else:
            self._server.tree.resume()
        assert self._server is not None
        tree = self._server.tree
        try:
            self._run(max(self._scenario.callers, int(self._requests * _FRESHEN)))
            before, before_of = tree.cpu_seconds(), tree.role_cpu_seconds()
            result = self._run(self._requests)
            spent, spent_of = tree.cpu_seconds() - before, tree.role_cpu_seconds()
        except LoadError as error:
            end = self._server.ended()
            raise ContenderError(f"{error}; the server {end}" if end else str(error)) from error
        peak, proportional = tree.memory_mb()
        peaks = tree.role_peaks_mb()
        self._idle()
        return Sample(
            requests=result.requests,
            requests_per_second=result.requests_per_second,
            rows_per_second=result.requests_per_second * self._scenario.rows,
            p50_us=percentile(result.latencies, 50),
            p99_us=percentile(result.latencies, 99),
            server_cpu_us=spent / result.requests * 1e6,
            peak_rss_mb=peak,
            pss_mb=proportional,
            load_busy=result.busy,
            role_cpu_us={
                role: (seconds - before_of[role]) / result.requests * 1e6
                for role, seconds in spent_of.items()
            },
            role_peak_rss_mb=peaks,
        )

    def sliced(self, seconds: float) -> SlicedRun:
        """Requests for about `seconds`, a slice of time after another; begins paused."""
        assert self._server is not None
        requests = int(self._requests * seconds / self._conditions.seconds)
        return SlicedRun(self._server.tree, requests, partial(self.begin, requests))

    def begin(self, requests: int) -> Load:
        """Send so many requests, without waiting for the end."""
        return self._conditions.load.begin(self._calls(requests))

    @contextmanager
    def awake(self) -> Iterator[str]:
        """Not paused while the context lasts: its address."""
        assert self._server is not None
        self._server.tree.resume()
        try:
            yield self._server.address
        finally:
            self._server.tree.pause()

    def close(self) -> None:
        """See `Turn`."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _start(self) -> None:
        """Start, wait for the right answer, warm up."""
        self._server = Server(self.name, self._roles)
        self._server.start(self._launch(self._server), self._conditions.server_cpu)
        self._answer = self._first_answer(self._server)
        warm = (
            self._warm if self._conditions.warm is None or not self._warm else self._conditions.warm
        )
        if warm:
            give_up = time.monotonic() + warm
            requests = self._scenario.callers * 8
            while time.monotonic() < give_up:
                requests = int(self._run(requests).requests_per_second) or 1
        rate = warm_up(self._run, self._scenario.callers, self._conditions.seconds)
        few = max(self._scenario.callers, int(rate * self._conditions.seconds))
        self._requests = self._scenario.requests or few

    def _first_answer(self, server: Server) -> int:
        """Wait until the server answers; returns the answer's size. Raises `ContenderError`."""
        give_up = time.monotonic() + self._start_limit
        while True:
            try:
                return check_answer(server.address, self._exchange, self._expected)
            except CallFailed as error:
                end = server.ended()
                if end is not None:
                    raise ContenderError(f"the server {end}") from error
                if time.monotonic() > give_up:
                    raise ContenderError(
                        f"no answer after {self._start_limit:.0f} s: {error}; the server's last "
                        f"words: {server.last_words()}"
                    ) from error
            time.sleep(_LOOK_INTERVAL)

    def _idle(self) -> None:
        if not self._pause:
            self.close()
        elif self._server is not None:
            self._server.tree.pause()

    def _calls(self, requests: int) -> Calls:
        assert self._server is not None
        return Calls(
            self._server.address,
            self._scenario,
            self._exchange,
            requests,
            self._answer,
            self._conditions.load_cpu,
        )

    def _run(self, requests: int) -> LoadResult:
        return self._conditions.load.run(self._calls(requests))
