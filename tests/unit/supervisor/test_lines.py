"""What a model prints as lines: whole, bounded in length and number."""

from __future__ import annotations

import pytest

from inferd.server.supervisor.replicas.lines import (
    MOST_AT_ONCE,
    MOST_BYTES,
    MOST_PER_SECOND,
    Allowance,
    Lines,
)

MANY = 1 << 20


def fed(*chunks: bytes) -> list[str]:
    """The lines of some chunks, to the end."""
    lines = Lines()
    return [line for chunk in chunks for line in lines.feed(chunk, MANY)[0]] + lines.end()


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\nt", b"wo"], ["one", "two"]),
        ([b"one\r", b"\ntwo\r\n"], ["one", "two"]),
        ([b"\n  \n\none\n"], ["one"]),
        ([b"  indented \n"], ["  indented"]),
        ([b""], []),
        ([b" 1%\r 2%", b"\r 3%\n"], [" 3%"]),
        ([b" 1%\r", b" 2%\r", b" 3%\r"], [" 3%"]),
        (["größer\n".encode()], ["größer"]),
        ([b"\xff\n"], ["\\xff"]),
    ],
)
def test_lines_are_what_a_terminal_would_show(chunks: list[bytes], expected: list[str]) -> None:
    """However the bytes come; blank lines are left out, and what a carriage return overwrites."""
    assert fed(*chunks) == expected


def test_a_long_line_is_cut_and_says_so() -> None:
    """No more than the bound is held, in one chunk or in many; the next line is whole."""
    expected = ["x" * MOST_BYTES + " [cut: 10 more bytes]", "next"]
    assert fed(b"x" * (MOST_BYTES + 10) + b"\nnext\n") == expected
    assert fed(*[b"x"] * (MOST_BYTES + 10), b"\nnext\n") == expected
    assert fed(b"y" * MOST_BYTES + b"\n") == ["y" * MOST_BYTES]


def test_a_line_without_an_end_is_bounded() -> None:
    """A gigabyte of it would be counted, not kept."""
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"z" * 4096, MANY) == ([], 0)
    assert len(lines._kept) == MOST_BYTES


def test_lines_beyond_the_most_are_counted() -> None:
    """Those within are told, and what follows the last end is the beginning of the next line."""
    lines = Lines()
    assert lines.feed(b"1\n2\n3\n4\nre", 2) == (["1", "2"], 2)
    assert lines.feed(b"st\n", 1) == (["rest"], 0)
    assert lines.feed(b"half", 0) == ([], 0)
    assert lines.feed(b" lost\nnew", 0) == ([], 1)
    assert lines.end() == ["new"]


def test_the_allowance_comes_back_with_time() -> None:
    """A burst at once, a rate from then on, never more than a burst saved."""
    allowance = Allowance(0.0)
    assert allowance.left(0.0) == MOST_AT_ONCE
    allowance.use(MOST_AT_ONCE)
    assert allowance.left(0.0) == 0
    assert allowance.left(0.5) == MOST_PER_SECOND // 2
    assert allowance.left(1000.0) == MOST_AT_ONCE
