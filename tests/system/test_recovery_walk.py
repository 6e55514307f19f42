"""The walk of docs/how-to/recover-by-hand.md, word by word (:mod:`tests.support.walk`).

It has a Kafka and a PostgreSQL of its own, which the test takes away and gives back.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from casebook.kit.postgres import embedded as embedded_postgres
from casebook.kit.postgres.embedded_host import find_programs
from tests.support.kafka import KafkaServer
from tests.support.postgres import DatabaseServer
from tests.support.production import new_production
from tests.support.walk import Walk, page, script, sections, walked

WALK_SECONDS_MAX = 1_200.0
PAGE = "recover-by-hand.md"
WELL = re.findall(r"^[┃│] .* [┃│]$", page(PAGE), re.MULTILINE)
"""What `casebook verify` shows of a platform that is well: head and row."""
SEEN = (
    *map(re.escape, WELL),
    r"casebook_quarantine_pending.* 1\.0",
    r"malformed-json.*casebook\.ingress\.shop-monitor-\w+/\d+/0: ",
    "status 1",
    '"outcome":"accepted"',
    "type-not-allowed",
    "accepted",
    "predecessor-missing",
    '"outcome":"accepted"',
    r"casebook_quarantine_pending.* 0\.0",
    "not-an-event.*log",
    "True",
    "nothing",
    r"casebook_parked_pending.* [1-9]",
    "dispatch.*CheckViolationError",
    "status 1",
    "team_queue +│ 2",
    "applied",
    "nothing",
    "False",
    "monitoring.*kpi_facts.*number.*differs from the fold of the log",
    "status 1",
    "kpi_facts +│ 2",
    "^casebook.request.submitted.v1$",
    "True",
    r'"degraded":\["log"\]',
    r"casebook_outbox_pending.* [1-9]",
    "status 2",
    r'"degraded":\[\]',
    '"agent":"wang"',
    r'"failed":\["database"\]',
    "^503$",
    '"status":"ready"',
    r'"number":"REQ\d+"',
    "False",
    "intake.*events.*the row is missing, the log has it",
    "status 1",
    '"failed":.*"history"',
    '"event":"history.forked".* a restored backup',
    '"code":"history-forked"',
    "True",
    '"status":"ready"',
    "UnknownMajor",
    "log .*records.*no event has this hash",
    "status 1",
    "discarded",
    "nothing",
    "log .*records.*no event has this hash",
    "status 1",
)
AT_REST = """
```bash
at_rest() {
  CASEBOOK_TOKEN=$ADMIN casebook lag -o json > lag.json
  [ "$(grep -oE '"(records|outbox)": 0' lag.json | wc -l)" = 10 ]
}
until at_rest; do sleep 0.3; done
```
"""
BEFORE = """
asked() { touch "asked/$1"; until [ -e "asked/$1.done" ]; do sleep 0.1; done; rm "asked/$1.done"; }
kafka-stops() { asked kafka-stops; }
kafka-starts() { asked kafka-starts; }
postgres-stops() { asked postgres-stops; }
postgres-starts() { asked postgres-starts; }
export PATH=POSTGRES:$PATH CASEBOOK_PREDECESSOR_SECONDS_MAX=2
"""


@contextlib.contextmanager
def answered(folder: Path, actions: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Do what a script asks for, by a file of that name, while the block runs."""
    folder.mkdir()
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            for name, action in actions.items():
                if (folder / name).exists():
                    action()
                    (folder / name).rename(folder / f"{name}.done")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("recovery")
    with (
        KafkaServer() as kafka,
        embedded_postgres.start(tmp_path_factory.mktemp("postgres")) as postgres,
        new_production(folder, server=DatabaseServer(postgres.dsn)) as production,
        answered(
            folder / "asked",
            {
                "kafka-stops": kafka.stop,
                "kafka-starts": kafka.start,
                "postgres-stops": postgres.kill,
                "postgres-starts": postgres.launch,
            },
        ),
    ):
        production.bootstrap, production.topic = kafka.bootstrap, "casebook.events"
        first = page("run-in-production.md")
        text = sections(first, 1, 2, 3, 4) + AT_REST + page(PAGE) + sections(first, 8)
        programs = find_programs(None, postgres.data).folder
        commands = script(text, production, BEFORE.replace("POSTGRES", str(programs)))
        yield walked(commands, production.folder, seconds_max=WALK_SECONDS_MAX)


def test_every_command_of_the_page_works(walk: Walk) -> None:
    assert walk.status == 0, (walk.outputs[-1:], walk.errors[-3000:])


def test_the_page_shows_a_platform_that_is_well() -> None:
    assert len(WELL) == 2


def test_the_walk_saw_what_the_page_says(walk: Walk) -> None:
    """In this order: what each section shows, what its decisions answer, and that it is over."""
    seen = iter("\n".join(walk.outputs).splitlines())
    for what in SEEN:
        assert any(re.search(what, line) for line in seen), what
