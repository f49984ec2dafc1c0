"""The tables of `inferd status` and `inferd top`."""

from __future__ import annotations

from io import StringIO

import pytest
from msgspec.structs import replace
from rich.console import Console

from inferd.core.telemetry.status import Status
from inferd.server.cli.watching import words
from inferd.server.cli.watching.problems import problems
from inferd.server.cli.watching.view import Order, picture
from support.status import eventful, status, version

GOLDEN = """\
inferd 0.1.0, ready, up 3 h 12 min, pid 42
gRPC at 127.0.0.1:8001, HTTP at 127.0.0.1:8000, operations at 127.0.0.1:8002
1,234 requests for models or versions that are not here
! breast-cancer/1: 1 of 2 workers are up (restarted 3 times)
! broken/1 is UNAVAILABLE: bad file\\x1b[2J

model            state       req/s  errors  p50 ms  p99 ms  queue     age  batch
a-model…m-for/1  ready 1/1       0       -       -       -      0       -      -
away/1           unloaded        0       -       -       -      0       -      -
breast-cancer/1  ready 1/2  12,346    1.2%    1.87    23.4   1000  12.3 s   28.4
broken/1         down            0       -       -       -      0       -      -

model                    devices    restarts  speed   CPU  memory  on GPU  power
a-model-wit…-room-for/1  cpu               0      -     -       -       -      -
away/1                   cpu               0      -     -       -       -      -
breast-cancer/1          cuda:0 +1         3    476  387%  1.4 GB  7.9 GB  212 W
broken/1                 -                 0      -     -       -       -      -

process     state  restarts  lag ms  CPU  memory
supervisor  up            -       -   0%   61 MB
gateway     up            0    0.40  31%   88 MB

GPU                      busy  memory     of  power  temperature
0 NVIDIA H100 80GB HBM3   87%  8.1 GB  85 GB  412 W        61 °C

over the last 1 min; p50 and p99 are estimated from a histogram's buckets
"""


def lines(
    found: Status, width: int = 80, order: Order = "name", most: int | None = None
) -> list[str]:
    """What is printed on a terminal that is so wide."""
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(
        picture(found, width, order=order, most=most)
    )
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_all_is_readable_in_80_columns() -> None:
    """The whole picture, as it was looked at and found good."""
    assert lines(eventful()) == GOLDEN.splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_cell_is_wrapped(width: int) -> None:
    """Each model has one line in each table, each figure stands whole, no line is too long."""
    found = lines(eventful(), width)
    assert max(map(len, found)) <= width
    for figure in ("12,346", "1.2%", "1.87", "23.4", "1000", "12.3 s", "28.4", "387%", "1.4 GB"):
        assert sum(figure in line for line in found) == 1, figure
    assert sum("digits" in line for line in lines(status(version()), width)) == 2


def test_a_wide_terminal_shows_whole_names() -> None:
    """Names are cut only where there is no room, and in the middle: their ends tell them apart."""
    name = "a-model-with-a-name-that-takes-more-than-a-line-of-80-columns-has-room-for/1"
    assert sum(name in line for line in lines(eventful(), 160)) == 2
    assert sum("a-model" in line and "r/1" in line for line in lines(eventful())) == 2


def test_models_are_sorted_and_the_rest_counted() -> None:
    """By name for reading, by what matters for watching; those without room are told of."""
    quiet, busy = version("a"), version("b")
    busy = replace(busy, figures=replace(busy.figures, requests_per_second=5.0), queued=0)
    waiting = replace(version("c"), queued=3)
    found = status(waiting, busy, quiet)

    def first(order: Order) -> str:
        shown = lines(found, order=order)
        return shown[next(at for at, line in enumerate(shown) if line.startswith("model")) + 1][:3]

    assert [first(order) for order in ("name", "rate", "queue")] == ["a/1", "b/1", "c/1"]
    shown = lines(found, order="rate", most=1)
    assert not any(line.startswith(("a/1", "c/1")) for line in shown)
    assert "… and 2 more" in shown


def test_a_server_without_models_says_so() -> None:
    """Rather than show a table of nothing."""
    assert "no models" in lines(status())


def test_what_a_server_says_cannot_drive_the_terminal() -> None:
    """Reasons and names are text from elsewhere."""
    found = status(version("m\x1b[31m"))
    assert "\x1b" not in "\n".join(lines(found) + lines(eventful()))


def test_a_server_that_is_well_has_no_problems() -> None:
    """Models that load, and those unloaded on purpose, are no problem."""
    loading = replace(version("l"), state="LOADING", up=0)
    gone = replace(version("g"), state="UNAVAILABLE", reason="unloaded", up=0, instances=0)
    growing = replace(version("n"), instances=2)
    assert list(problems(status(version(), loading, gone, growing))) == []


def test_each_problem_is_told() -> None:
    """What is down, why, and how often it was started again."""
    found = eventful()
    (gateway,), (gpu,) = found.gateways, found.gpus
    found = replace(
        found,
        server=replace(found.server, ready=False, reason="no gateway listens"),
        gateways=(replace(gateway, up=False, restarts=1),),
        gpus=(replace(gpu, lost=True),),
    )
    assert list(problems(found)) == [
        "not ready: no gateway listens",
        "gateway takes no calls (restarted once)",
        "GPU 0 (NVIDIA H100 80GB HBM3) is lost: it does not answer its driver any more",
        "breast-cancer/1: 1 of 2 workers are up (restarted 3 times)",
        "broken/1 is UNAVAILABLE: bad file\x1b[2J",
    ]


def test_words_fit_their_columns() -> None:
    """A few characters each, and nothing rounded away that matters."""
    assert [words.rate(each) for each in (0, 0.01, 1.25, 9.96, 1234.5, 123_456)] == [
        "0", "<0.1", "1.2", "10", "1,234", "123k",
    ]  # fmt: skip
    assert [words.share(each) for each in (None, 0, 0.0001, 0.0123, 0.5)] == [
        "-", "0%", "<0.1%", "1.2%", "50%",
    ]  # fmt: skip
    assert [words.milliseconds(each) for each in (None, 0.00012, 0.0123, 1.5, 60)] == [
        "-", "0.12", "12.3", "1,500", "60,000",
    ]  # fmt: skip
    assert [words.age(each) for each in (0.001, 0.06, 59.96)] == ["<0.1 s", "0.1 s", "60.0 s"]
    assert [words.size(each) for each in (None, 0, 999, 1500, 61_000_000, 999_600_000)] == [
        "-", "0 B", "999 B", "1.5 kB", "61 MB", "1.0 GB",
    ]  # fmt: skip
    assert [words.duration(each) for each in (0.4, 59, 60, 3600, 3725, 90_000)] == [
        "0 s", "59 s", "1 min", "1 h", "1 h 2 min", "1 d 1 h",
    ]  # fmt: skip
    assert [words.shortened("abcdefgh", width) for width in (8, 7, 4)] == [
        "abcdefgh",
        "abc…fgh",
        "ab…h",
    ]
