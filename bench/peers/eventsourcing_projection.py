# pyright: reportMissingImports=false
"""Fills a table with ``eventsourcing``: a projection of an application, as its guide does.

The events are appended first, which is not part of the time.
"""

import json
import sys
import time
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from eventsourcing_append import environment
from psycopg.sql import SQL
from work_fold import fold

STEPS = (
    ("assigned-to-team", {"team": "service-desk"}),
    ("assigned-to-agent", {"agent": "wang.wei"}),
    ("accepted", {"agent": "wang.wei"}),
    ("started", {}),
    ("waiting-started", {"reason": "customer"}),
    ("waiting-ended", {}),
    ("waiting-started", {"reason": "supplier"}),
    ("waiting-ended", {}),
    ("resolved", {}),
)
ORDERS_A_TRANSACTION = 100


class WorkOrder(Aggregate):
    """The effort on a request: one event when it is opened, one for each step."""

    @event("Opened")
    def __init__(self) -> None:
        pass

    @event("Moved")
    def move(self, kind: str, data: dict[str, Any]) -> None:
        """Do the next step."""


class Dispatch(Application):
    """The application whose events are projected."""


class WorkTable(PostgresTrackingRecorder):
    """The table, written in one transaction with how far it has come."""

    def __init__(self, datastore: PostgresDatastore, **options: Any) -> None:
        super().__init__(datastore, **options)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS eventsourcing.work"
                " (request uuid PRIMARY KEY, row jsonb)"
            )
        )

    def apply(self, tracking: Tracking, request: Any, kind: str, data: Any, at: str) -> None:
        """Fold one event into its row."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute("SELECT row FROM eventsourcing.work WHERE request = %s", (request,))
            found = cursor.fetchone()
            row = fold(None if found is None else found["row"], kind, data, at)
            cursor.execute(
                "INSERT INTO eventsourcing.work VALUES (%s, %s)"
                " ON CONFLICT (request) DO UPDATE SET row = excluded.row",
                (request, json.dumps(row)),
            )


class Work(Projection[WorkTable]):
    """Keeps the table."""

    topics = (get_topic(WorkOrder.Opened), get_topic(WorkOrder.Moved))

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Process one event."""
        kind, data = getattr(domain_event, "kind", "opened"), getattr(domain_event, "data", {})
        at = domain_event.timestamp.isoformat()
        self.view.apply(tracking, domain_event.originator_id, kind, data, at)


def append(application: Dispatch, orders: int) -> int:
    """Append the events of so many work orders; return the position of the last."""
    last = 0
    for first in range(0, orders, ORDERS_A_TRANSACTION):
        made = [WorkOrder() for _ in range(min(ORDERS_A_TRANSACTION, orders - first))]
        for kind, data in STEPS:
            for order in made:
                order.move(kind, data)
        last = application.save(*made)[-1].notification.id
    return last


def main() -> None:
    """Append, then project; print how long the second took."""
    task = json.loads(sys.argv[1])
    where = environment(task["dsn"], 4)
    last = append(Dispatch(where), task["requests"])
    started = time.perf_counter()
    with ProjectionRunner(
        application_class=Dispatch, projection_class=Work, view_class=WorkTable, env=where
    ) as runner:
        runner.wait(last, timeout=task["seconds_max"])
        seconds = time.perf_counter() - started
    events = task["requests"] * (len(STEPS) + 1)
    print(json.dumps({"events": events, "seconds": seconds}))


main()
