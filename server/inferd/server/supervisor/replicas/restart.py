"""When a process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Waits double from `first` to `longest`, and begin anew after `stable` seconds of life.

    `limit` deaths within `window` make a crash loop. A random part of each wait, up to `spread`
    of it, is taken off, so that workers that died together do not come back together. In seconds.
    """

    first: float = 0.1
    longest: float = 60.0
    stable: float = 60.0
    window: float = 60.0
    limit: int = 5
    spread: float = 0.2


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of a process's deaths: when the last ones were, how many in a row."""

    deaths: tuple[float, ...] = ()
    streak: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again at the time `at`, `delay` seconds from now."""

    at: float
    delay: float
    crash_looping: bool


def after_death(
    history: History, *, now: float, lived: float, chance: float, policy: RestartPolicy
) -> tuple[History, Restart]:
    """What follows a death at `now`, after `lived` seconds in service (0 if it never was).

    `chance` is a random number from 0 to 1.
    """
    streak = 1 if lived >= policy.stable else history.streak + 1
    recent = (*(death for death in history.deaths if now - death < policy.window), now)
    # The exponent is bounded: 2.0**1024 overflows.
    delay = min(policy.longest, policy.first * 2.0 ** min(streak - 1, 64))
    delay *= 1 - policy.spread * chance
    looping = len(recent) >= policy.limit
    return History(recent[-policy.limit :], streak), Restart(now + delay, delay, looping)
