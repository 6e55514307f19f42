# pyright: reportMissingImports=false
"""Appends events with ``eventsourcing``: aggregates saved by an application, as its guide does."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate


class Request(Aggregate):
    """A request that was classified: one event each."""

    def __init__(self, problem_type: str, category: str, subcategory: str) -> None:
        self.problem_type = problem_type
        self.category = category
        self.subcategory = subcategory


class Intake(Application):
    """The application whose recorder writes the events."""


def environment(dsn: str, connections: int) -> dict[str, str]:
    """Return where the application keeps its events."""
    address = urlsplit(dsn)
    query = parse_qs(address.query)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": address.path.lstrip("/"),
        "POSTGRES_HOST": query["host"][0],
        "POSTGRES_PORT": query["port"][0],
        "POSTGRES_USER": address.username or "",
        "POSTGRES_PASSWORD": address.password or "",
        "POSTGRES_POOL_SIZE": str(connections),
        "POSTGRES_SCHEMA": "eventsourcing",
    }


def append(application: Intake, transactions: int, size: int) -> None:
    """Save so many aggregates together, so many times."""
    for _ in range(transactions):
        application.save(*(Request("software-fault", "打印", "三楼") for _ in range(size)))


def main() -> None:
    """Append by threads, after each has connected; print how long that took."""
    task = json.loads(sys.argv[1])
    writers, transactions, size = task["writers"], task["transactions"], task["size"]
    application = Intake(environment(task["dsn"], writers))
    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(lambda _: append(application, 1, size), range(writers)))
        started = time.perf_counter()
        list(threads.map(lambda _: append(application, transactions, size), range(writers)))
        seconds = time.perf_counter() - started
    application.close()
    print(json.dumps({"events": writers * transactions * size, "seconds": seconds}))


if __name__ == "__main__":
    main()
