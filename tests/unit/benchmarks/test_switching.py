"""What watching costs, from the phases of a gateway that was switched."""

from __future__ import annotations

import pytest
from switching.costs import Phase, costs


def phase(state: str, gateway_us: float, worker_us: float = 10.0, afterwards: float = 0.0) -> Phase:
    """A thousand requests in 40 batches, at so many µs each; `afterwards` is in seconds."""
    seconds = 1000 / 1e6
    return Phase(state, 1000, 1000, 40, gateway_us * seconds, worker_us * seconds, afterwards)


def test_what_is_watched_bears_what_comes_later() -> None:
    """Each round is compared within itself; what was left for later is divided among watched requests."""
    found = costs(
        [
            phase("off", 80), phase("on", 85, 11, afterwards=0.001), phase("again", 82),
            phase("again", 160), phase("off", 162, afterwards=0.002), phase("on", 164, 10),
        ]
    )  # fmt: skip
    assert found.unwatched == pytest.approx((81 + 161) / 2 + 10)
    assert (found.gateway.mean, found.gateway.error) == pytest.approx((3.5, 0.5))
    assert (found.worker.mean, found.worker.error) == pytest.approx((0.5, 0.5))
    assert found.afterwards == pytest.approx(1.5)
    assert (found.noise.mean, found.noise.error) == pytest.approx((0.0, 2.0))
    assert found.added.mean == pytest.approx(5.5)
    assert found.ratio.mean == pytest.approx(131 / 136.5)
    assert (found.rows_off, found.rows_on) == (25, 25)


@pytest.mark.parametrize("states", [[], ["off", "again"], ["off", "on", "on"]])
def test_only_whole_rounds_count(states: list[str]) -> None:
    """A round has each state once."""
    with pytest.raises(ValueError, match="expected rounds of off, again, on; got"):
        costs([phase(each, 80) for each in states])
