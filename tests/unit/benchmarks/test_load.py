"""A run of the load generator counts only if every request got the right answer's bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from load import LoadError, Summary, check_answers, read_log, read_summary

REPORT = """\
finished in 20.23ms, 4941.89 req/s, 421.06KB/s
requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 8.52KB (8725) total, 1.12KB (1150) headers (space savings 90.08%), 5.37KB (5500) data
"""


def test_the_report_is_read() -> None:
    """Rate, answered requests and content bytes are those that h2load 1.52 prints."""
    assert read_summary(REPORT) == Summary(100, 4941.89, 5500)


def test_an_unknown_report_is_refused() -> None:
    """A report of another form must not become a figure."""
    with pytest.raises(LoadError, match=r"1\.52"):
        read_summary("finished in 20.23ms")


@pytest.mark.parametrize("wrong", [Summary(99, 1.0, 5500), Summary(100, 1.0, 5499)])
def test_missing_answers_and_missing_bytes_are_found(wrong: Summary) -> None:
    """A gRPC error is a 200 without a message: only the bytes tell."""
    with pytest.raises(LoadError, match="counts for nothing"):
        check_answers(100, wrong, 5500, about=False)


def test_numbers_as_text_may_differ_in_length() -> None:
    """JSON writes the last digits of a float, and those depend on the batch."""
    check_answers(100, Summary(100, 1.0, 5400), 5500, about=True)
    with pytest.raises(LoadError):
        check_answers(100, Summary(100, 1.0, 4000), 5500, about=True)


def test_latencies_come_ascending_without_failures(tmp_path: Path) -> None:
    """Percentiles are taken by position."""
    log = tmp_path / "log"
    log.write_text("1\t200\t30\n2\t503\t5\n3\t200\t10\n")
    assert read_log(log) == [10, 30]
