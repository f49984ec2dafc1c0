"""When a dead process is started again."""

from __future__ import annotations

import pytest

from inferd.server.supervisor.replicas.restart import History, RestartPolicy, after_death

POLICY = RestartPolicy(first=0.1, longest=60, stable=60, window=60, limit=5, spread=0.2)


def _delays(times: list[float], lived: float = 0.0, chance: float = 0.0) -> list[float]:
    history, delays = History(), []
    for now in times:
        history, restart = after_death(history, now=now, lived=lived, chance=chance, policy=POLICY)
        delays.append(restart.delay)
    return delays


def test_waits_double_up_to_a_bound() -> None:
    """0.1 s first, then twice as long each time, a minute at most; never an overflow."""
    delays = _delays([float(now) for now in range(2000)])
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[9] == 51.2
    assert set(delays[10:]) == {60.0}


def test_a_long_life_begins_anew() -> None:
    """Who stayed up for a while is started at once again."""
    assert _delays([0, 100, 200], lived=60.0) == [0.1, 0.1, 0.1]
    assert _delays([0, 59], lived=59.0) == [0.1, 0.2]


def test_chance_shortens_within_bounds() -> None:
    """Workers that died together come back apart, at most a fifth earlier."""
    assert _delays([0.0], chance=1.0) == pytest.approx([0.08])
    assert _delays([0.0], chance=0.5) == pytest.approx([0.09])


def test_many_deaths_in_a_short_time_are_a_crash_loop() -> None:
    """Five within a minute; older ones do not count."""
    history = History()
    for now, looping in [(0, False), (1, False), (2, False), (3, False), (4, True), (65, False)]:
        history, restart = after_death(history, now=now, lived=0, chance=0, policy=POLICY)
        assert restart.crash_looping is looping, now
    assert len(history.deaths) <= POLICY.limit


def test_restart_says_when() -> None:
    """The time of the restart is that of the death and the wait."""
    _, restart = after_death(History(), now=5.0, lived=0, chance=0, policy=POLICY)
    assert restart.at == 5.1
