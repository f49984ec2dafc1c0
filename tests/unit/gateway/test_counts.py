"""What the supervisor hears of a gateway's counts: all of it, once, and what the others counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inferd.core.link.messages import (
    AskCounts,
    CountsReport,
    Exemplar,
    MemoryUsage,
    OtherCounts,
    Spent,
    VersionCounts,
    VersionMemory,
)
from inferd.core.link.sockets import PeerGone
from inferd.core.telemetry.counts import Counts
from inferd.server.gateway.counts import CountsReporter, counts_of
from inferd.server.gateway.others import Memory, OtherGateways
from inferd.server.gateway.scheduling.statistics import Statistics

TIMES = (1, 2, 3)


class Counting:
    """Statistics of a gateway, its reporter, and the supervisor's picture of them."""

    def __init__(self) -> None:
        self.statistics: dict[tuple[str, int], Statistics] = {("m", 1): Statistics()}
        self.told: list[CountsReport] = []
        self.picture = Counts()
        self.reporter = CountsReporter(self._read, self._send)

    def execute(self, rows: int, model: str = "m") -> None:
        """One batch of one request."""
        counted = self.statistics.setdefault((model, 1), Statistics())
        counted.executed(rows, TIMES, 1000)
        counted.succeeded(1, 10, 5, TIMES)

    def report(self) -> list[VersionCounts]:
        """Everything told by one more report."""
        self.told.clear()
        self.reporter.report()
        return [each for message in self.told for each in message.counts]

    def _read(self, look: Callable[[Mapping[tuple[str, int], Statistics]], None]) -> None:
        look(self.statistics)

    def _send(self, message: CountsReport) -> None:
        self.told.append(message)
        self.picture.update(message.counts)


def test_the_picture_is_exact_after_each_report() -> None:
    """However batches, sizes and failures follow each other."""
    counting = Counting()
    for rows in (1, 4, 4, 2, 1):
        counting.execute(rows)
        counting.statistics["m", 1].failed(7, "QUEUE_FULL")
        counting.report()
        assert counting.picture.of("m", 1) == counts_of("m", 1, counting.statistics["m", 1])
    assert counting.picture.of("m", 1).execution_count == 5
    assert counting.picture.of("m", 1).fail.count == 5
    assert sorted(counting.picture.of("m", 1).batches) == [1, 2, 4]


def test_only_what_has_changed_is_told() -> None:
    """Versions and batch sizes that stood still cost nothing; an idle gateway says nothing."""
    counting = Counting()
    counting.execute(1)
    counting.execute(8, model="n")
    assert len(counting.report()) == 2
    assert counting.report() == []
    assert counting.told == []
    counting.execute(4)
    (told,) = counting.report()
    assert (told.model, list(told.batches)) == ("m", [4])
    counting.statistics["n", 1].failed(3, "QUEUE_FULL")
    (told,) = counting.report()
    assert (told.model, told.fail.count, told.batches) == ("n", 1, {})


def test_answers_of_a_generator_that_goes_on_are_told() -> None:
    """Nothing else may have been counted for as long as it lasts."""
    counting = Counting()
    counting.execute(1)
    counting.report()
    counting.statistics["m", 1].response(0).succeeded(5, 2)
    (told,) = counting.report()
    assert [each.success for each in told.responses] == [Spent(1, 7)]
    assert counting.report() == []
    assert counting.picture.of("m", 1) == counts_of("m", 1, counting.statistics["m", 1])


def test_the_last_traced_request_is_told_with_all_digits_of_its_trace() -> None:
    """As W3C Trace Context writes it: 32 of them, with leading zeros."""
    statistics = Statistics()
    assert counts_of("m", 1, statistics).exemplar is None
    statistics.exemplar = (0xABC, 0.5, 1000.0)
    assert counts_of("m", 1, statistics).exemplar == Exemplar(f"{'0' * 29}abc", 0.5, 1000.0)


def test_a_last_report_is_sent_at_the_end() -> None:
    """What was counted while the gateway drained is not lost."""
    counting = Counting()
    counting.reporter.start()
    counting.execute(1)
    counting.reporter.close()
    assert counting.picture.of("m", 1).execution_count == 1


def test_a_supervisor_that_is_gone_is_no_error() -> None:
    """This process is about to end, and nobody is left who would want its counts."""

    def gone(_: CountsReport) -> None:
        raise PeerGone("end of file")

    statistics = {("m", 1): Statistics()}
    reporter = CountsReporter(lambda look: look(statistics), gone)
    reporter.start()
    reporter.report()
    reporter.close()


def version(executions: int, model: str = "m") -> VersionCounts:
    """Counts with this many executions."""
    return VersionCounts(model, 1, execution_count=executions)


def test_an_answer_in_parts_is_told_when_it_is_whole() -> None:
    """Each asker once, with its own answer; answers to nobody are ignored."""
    asked: list[AskCounts] = []
    told: list[tuple[str, int, int]] = []
    others = OtherGateways(asked.append)

    def tell(who: str) -> None:
        others.counts(
            lambda counts, _: told.append(
                (who, counts.of("m", 1).execution_count, counts.of("n", 1).execution_count)
            )
        )

    tell("first")
    tell("second")
    one, two = (each.ask for each in asked)
    others.answered(OtherCounts(one, (version(1),), last=False))
    others.answered(OtherCounts(two, (version(2),), last=True))
    assert told == [("second", 2, 0)]
    others.answered(OtherCounts(one, (version(3, "n"),), last=True))
    others.answered(OtherCounts(one, (version(9),), last=True))
    assert told == [("second", 2, 0), ("first", 1, 3)]


def test_without_a_supervisor_there_are_no_others() -> None:
    """The asker hears it at once."""

    def gone(_: AskCounts) -> None:
        raise PeerGone("end of file")

    told: list[tuple[Counts, Memory]] = []
    OtherGateways(gone).counts(lambda counts, memory: told.append((counts, memory)))
    assert [(list(counts), memory) for counts, memory in told] == [([], {})]


def test_memory_comes_with_the_counts() -> None:
    """In whichever part of the answer, by model and version."""
    asked: list[AskCounts] = []
    told: list[Memory] = []
    others = OtherGateways(asked.append)
    others.counts(lambda _, memory: told.append(memory))
    one, other = (MemoryUsage("CPU", 0, 5),), (MemoryUsage("CPU", 0, 6), MemoryUsage("GPU", 1, 7))
    parts = (VersionMemory("m", 1, one),), (VersionMemory("m", 2, other),)
    others.answered(OtherCounts(asked[0].ask, (), last=False, memory=parts[0]))
    others.answered(OtherCounts(asked[0].ask, (), last=True, memory=parts[1]))
    assert told == [{("m", 1): one, ("m", 2): other}]
