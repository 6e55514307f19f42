from casebook.kit.bookkeeping.checkpoints import Fresh, fresh
from casebook.kit.log.event_log import LogRecord


def records(number: int, *offsets: int) -> list[LogRecord]:
    return [LogRecord(number, offset, "k", "t", "{}", b"") for offset in offsets]


def offsets(found: Fresh) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in found.records]


def test_a_batch_that_continues_is_taken_whole_in_partition_order() -> None:
    found = fresh({5: records(5, 2, 3), 1: records(1, 0)}, {1: 0, 5: 2})
    assert offsets(found) == [(1, 0), (5, 2), (5, 3)]
    assert (found.reached, found.seeks, found.gaps) == ({1: 1, 5: 4}, {}, frozenset())


def test_what_was_applied_is_dropped() -> None:
    found = fresh({0: records(0, 4, 5, 6)}, {0: 6})
    assert offsets(found) == [(0, 6)]
    assert found.reached == {0: 7}


def test_a_batch_that_was_applied_by_another_is_dropped_and_read_on_from_there() -> None:
    found = fresh({0: records(0, 4, 5)}, {0: 9})
    assert (found.records, found.reached) == ([], {})
    assert (found.seeks, found.gaps) == ({0: 9}, frozenset())


def test_a_batch_after_a_gap_is_not_taken_and_read_again() -> None:
    found = fresh({0: records(0, 7, 8), 1: records(1, 3)}, {0: 5, 1: 3})
    assert offsets(found) == [(1, 3)]
    assert (found.reached, found.seeks, found.gaps) == ({1: 4}, {0: 5}, frozenset({0}))
