from datetime import UTC, datetime, timedelta

from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.reading.horizon import Horizon

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HEADS = dict.fromkeys(range(PARTITIONS), 10)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def test_what_is_applied_to_the_end_was_read_past_the_moment_of_the_question() -> None:
    horizon = Horizon()
    assert horizon.caught_up_at is None
    horizon.look(at(1), HEADS, HEADS)
    assert horizon.caught_up_at == at(1)
    assert horizon.behind == 0


def test_an_end_that_moved_on_is_reached_later_and_for_its_own_moment() -> None:
    horizon = Horizon()
    horizon.look(at(1), HEADS, HEADS | {3: 9})
    assert horizon.caught_up_at is None
    assert horizon.behind == 1
    horizon.look(at(2), HEADS | {3: 15}, HEADS | {3: 11})
    assert horizon.until[3] == at(1)
    assert horizon.until[4] == at(2)
    assert horizon.caught_up_at == at(1)


def test_a_partition_that_nobody_reads_does_not_hold_up_the_others() -> None:
    horizon = Horizon()
    for minute in (1, 2, 3):
        horizon.look(at(minute), HEADS, {p: 10 for p in HEADS if p != 7})
    assert horizon.until == {p: at(3) for p in HEADS if p != 7}
    assert horizon.caught_up_at is None


def test_a_moment_is_never_taken_back() -> None:
    horizon = Horizon()
    horizon.look(at(5), HEADS, HEADS)
    horizon.look(at(6), dict.fromkeys(HEADS, 20), HEADS)
    assert horizon.caught_up_at == at(5)
    horizon.look(at(7), dict.fromkeys(HEADS, 30), dict.fromkeys(HEADS, 20))
    assert horizon.caught_up_at == at(6)


def test_an_end_before_what_was_applied_is_believed_the_third_time() -> None:
    horizon = Horizon()
    horizon.look(at(1), HEADS, HEADS)
    for minute in (2, 3):
        horizon.look(at(minute), HEADS | {0: 4}, HEADS)
        assert horizon.lost() == frozenset()
    horizon.look(at(4), HEADS, HEADS)
    for minute in (5, 6, 7):
        assert horizon.lost() == frozenset()
        horizon.look(at(minute), HEADS | {0: 4}, HEADS)
    assert horizon.lost() == {0}


def test_positions_of_others_that_are_ahead_of_an_old_answer_are_no_loss() -> None:
    horizon = Horizon()
    for minute in range(1, 9):
        heads = dict.fromkeys(HEADS, minute)
        horizon.look(at(minute), heads, dict.fromkeys(HEADS, minute + 1))
    assert horizon.lost() == frozenset()
