"""Places for large chunks: few, and whoever came first has the next one."""

from __future__ import annotations

from inferd.server.gateway.rpc.services.bulk.large import LargeChunks


def test_places_are_given_in_the_order_of_asking() -> None:
    """One that comes free goes to whoever waits longest; who has left the queue is passed over."""
    places, told = LargeChunks(2), list[str]()

    def enter(who: str) -> bool:
        return places.enter(who, lambda: told.append(who))

    assert [enter(who) for who in "abcdef"] == [True, True, False, False, False, False]
    places.leave("d")
    places.leave("b")
    assert told == ["c"]
    places.leave("a")
    places.leave("a")  # it has none any more
    assert told == ["c", "e"]
    for who in "cefx":
        places.leave(who)
    assert told == ["c", "e", "f"]
    assert [enter(who) for who in "ghi"] == [True, True, False]
