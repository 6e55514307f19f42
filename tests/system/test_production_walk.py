"""The walk of docs/how-to/run-in-production.md, word by word (:mod:`tests.support.walk`)."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator

import pytest

from tests.support.conformance import assert_message, assert_published
from tests.support.production import SERVICES, Production, execute, new_production
from tests.support.published_log import read_topic
from tests.support.walk import Walk, page, programs, script, walked

PAGE = "run-in-production.md"
WALK_SECONDS_MAX = 300.0
LINES_MAX = 30


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with new_production(tmp_path_factory.mktemp("walk")) as made:
        yield made


@pytest.fixture(scope="module")
def walk(production: Production) -> Walk:
    commands = script(page(PAGE), production)
    return walked(commands, production.folder, seconds_max=WALK_SECONDS_MAX)


def test_every_command_of_the_page_works(walk: Walk) -> None:
    assert walk.status == 0, (walk.outputs[-1:], walk.errors[-3000:])


def test_the_walk_went_where_the_page_says(walk: Walk, production: Production) -> None:
    keys = walk.output("signing.jwk")
    assert len(re.findall(r"^-rw------- .*\.(?:url|key|jwk)$", keys, re.MULTILINE)) == 7
    assert walk.output('"status":"ready"').count('"status":"ready"') == 6
    timeline = walk.output('"type":"casebook.request.submitted.v1"')
    assert timeline.count('"type":"casebook.request.closed.v1"') == 1
    events = walk.output(" casebook.request.closed.v1 {").splitlines()
    types = [line.split()[1] for line in events[1:-1]]
    assert types[0] == "casebook.request.submitted.v1"
    assert {"casebook.work-order.resolved.v1", "casebook.service-level.opened.v1"} <= set(types)
    assert events[-1] == "1"
    assert "The printer jams" not in events[1]
    assert '"accepted":2' in walk.output('"results"')
    published = walk.output('"number":"ALERT-4711"')
    assert '"number":"ALERT-4712"' in published
    quarantined = " UNION ALL ".join(f"SELECT * FROM {name}.quarantine" for name in SERVICES)
    assert execute(production.dsn, quarantined) == []


@pytest.mark.usefixtures("walk")
def test_all_that_the_walk_left_on_the_topics_is_as_published(production: Production) -> None:
    """What the services wrote, and what the page's program sent."""
    bootstrap, topic = production.bootstrap, production.topic
    log = asyncio.run(read_topic(bootstrap, topic))
    types = [
        assert_message(headers, value, key) for part in log.values() for key, headers, value in part
    ]
    assert types.count("casebook.request.submitted.v1") == 3
    sent = asyncio.run(read_topic(bootstrap, f"casebook.ingress.{production.publisher}"))
    for key, headers, value in itertools.chain(*sent.values()):
        attributes = {name: raw.decode() for name, raw in headers}
        assert_published(attributes, json.loads(value))
        assert key.decode() == attributes["ce_subject"]
    assert sum(map(len, sent.values())) == 2


def test_the_programs_of_the_page_are_short_and_know_nothing_of_casebook() -> None:
    found = programs(page(PAGE))
    assert len(found) == 2
    for program in found:
        assert "import casebook" not in program
        assert "from casebook" not in program
        assert len([line for line in program.splitlines() if line]) <= LINES_MAX
