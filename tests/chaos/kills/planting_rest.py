"""More faults to plant: in what people read (I5, I6), and in what is left to do (I7)."""

import uuid
from dataclasses import replace
from datetime import timedelta

from tests.chaos.history import History
from tests.chaos.kills.planting import command, plant, read
from tests.chaos.snapshot import Snapshot
from tests.chaos.workload import AGENTS, REQUESTERS, SOURCE

# --- I5: real time --------------------------------------------------------------------------------


@plant("I5")
def a_read_shows_less_than_was_acknowledged(snapshot: Snapshot, history: History) -> None:
    op = next(op for op in history.reads() if op.name == "read-own" and op.version > 1)
    op.version -= 1


@plant("I5")
def a_read_shows_what_never_was(snapshot: Snapshot, history: History) -> None:
    read(history, "get-request").version = 10**6


@plant("I5")
def a_write_came_before_one_that_had_ended(snapshot: Snapshot, history: History) -> None:
    accepted = command(history, "accept")
    done = accepted.ok
    later = replace(done, key=str(uuid.uuid4()), version=done.version + 1, seen=None, name="x")
    for attempt in accepted.attempts:
        attempt.started, attempt.ended = attempt.started + 10**6, attempt.ended + 10**6
    history.ops.append(later)


@plant("I5")
def a_minimum_version_was_not_waited_for(snapshot: Snapshot, history: History) -> None:
    read(history, "timeline").rows.clear()


# --- I6: scope ------------------------------------------------------------------------------------


def _foreign(snapshot: Snapshot, requester: str) -> str:
    rows = snapshot.tables["intake"]["streams"]
    return next(
        row["case_key"] for row in rows
        if row["stream"].startswith("request/") and row["state"]["requester"] == requester
    )  # fmt: skip


@plant("I6")
def a_list_shows_a_request_of_another_organisation(snapshot: Snapshot, history: History) -> None:
    op = next(
        op for op in history.reads()
        if op.name == "list-requests" and op.person.organisation == "acme"
    )  # fmt: skip
    op.rows.append(_foreign(snapshot, REQUESTERS[2].subject))


@plant("I6")
def a_queue_shows_the_work_of_another_team(snapshot: Snapshot, history: History) -> None:
    op = read(history, "list-queue")
    others = {agent.subject for agent in AGENTS if agent.teams != op.person.teams}
    rows = snapshot.tables["dispatch"]["streams"]
    op.rows += [
        row["case_key"] for row in rows
        if row["stream"].startswith("work-order/") and row["state"]["agent"] in others
    ]  # fmt: skip


@plant("I6")
def a_requester_reads_what_is_for_staff(snapshot: Snapshot, history: History) -> None:
    op = read(history, "timeline", rows=1)
    op.person = REQUESTERS[0]
    key = op.stream.rpartition("/")[2]
    op.rows += [
        str(row["id"]) for _, row in snapshot.rows("events")
        if row["case_key"] == key and '"audience":"staff"' in row["record"]
    ]  # fmt: skip


@plant("I6")
def a_timeline_shows_a_fact_of_another_case(snapshot: Snapshot, history: History) -> None:
    op = read(history, "timeline")
    key = op.stream.rpartition("/")[2]
    op.rows.append(
        next(str(row["id"]) for _, row in snapshot.rows("events") if row["case_key"] != key)
    )


# --- I7: rest -------------------------------------------------------------------------------------


@plant("I7")
def an_event_is_left_in_the_outbox(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["dispatch"]["outbox"].append({"position": 1, "partition": 1})


@plant("I7")
def an_event_waits_in_the_inbox(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["intake"]["inbox"].append({"source": SOURCE})


@plant("I7")
def a_case_is_parked(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["risk"]["parked"].append({"key": "x"})


@plant("I7")
def a_reader_is_behind(snapshot: Snapshot, history: History) -> None:
    rows = snapshot.tables["quality"]["checkpoints"]
    next(row for row in rows if row["next_offset"])["next_offset"] -= 1


@plant("I7")
def a_timer_is_overdue(snapshot: Snapshot, history: History) -> None:
    rows = snapshot.tables["monitoring"]["timers"]
    row = next(row for row in rows if row["status"] == "pending")
    row["due_at"] = snapshot.now - timedelta(seconds=1)


@plant("I7")
def a_timer_failed(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["monitoring"]["timers"][0]["status"] = "failed"


@plant("I7")
def something_lies_in_quarantine(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["dispatch"]["quarantine"].append({"source": SOURCE, "source_event": "x"})


@plant("I7")
def a_key_has_no_answer(snapshot: Snapshot, history: History) -> None:
    snapshot.tables["intake"]["idempotency"][0]["status"] = None
