"""The tour by curl of README.md, word by word, on ``casebook up`` (:mod:`tests.support.walk`).

People type more slowly than services react; a script has to wait where they look first.
"""

import re
from collections.abc import Iterator

import pytest

from tests.support.command import CommandLine
from tests.support.walk import Walk, marked, page, walked

WALK_SECONDS_MAX = 300.0
TOUR = page("../../README.md").partition("## Five minutes with curl\n")[2].partition("\n## ")[0]
AT_REST = """until [ "$(casebook lag -o json | grep -oE '"(records|outbox)": 0' | wc -l)" = 10 ]
do sleep 0.3; done
"""
CHANGES = {
    "curl -sS ": "curl -sS --fail-with-body ",
    "ID=01a20aa7-fb44-7252-907b-18e45f60db85 ": (
        'ID=$(call $LI GET /intake/v1/requests | sed -E \'s/.*"id":"([^"]+)".*/\\1/\') '
    ),
    "call $WANG GET $W\n": (
        'until call $WANG GET $W | grep \'"agent":"wang.wei"\'; do sleep 0.2; done\n'
    ),
    "call $LI PUT $R/confirmation": (
        'until call $LI GET $R | grep -q \'"status":"resolved"\'; do sleep 0.2; done\n'
        "call $LI PUT $R/confirmation"
    ),
    "call $LI GET $R/timeline\n": f"{AT_REST}call $LI GET $R/timeline\n",
    "2026-11-23T23:05:11Z": "$(date -u +%FT%T.%6NZ)",
}


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("tour")
    with CommandLine(folder / "home").up() as running:
        commands = marked(TOUR)
        for old, new in {**CHANGES, "http://127.0.0.1:8080": running.url}.items():
            assert commands.count(old) == 1, old
            commands = commands.replace(old, new)
        home = str(running.command.home)
        yield walked(commands, folder, seconds_max=WALK_SECONDS_MAX, CASEBOOK_HOME=home)


def test_every_command_of_the_tour_works(walk: Walk) -> None:
    assert walk.status == 0, (walk.outputs[-1:], walk.errors[-3000:])


def test_the_tour_sees_what_the_page_shows(walk: Walk) -> None:
    """Fields in the order of the page, but for ids; the last line as it is."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", TOUR, re.MULTILINE | re.DOTALL)
    created, assigned, verified = (text for language, text in fences if not language)
    for text, output in ((created, walk.outputs[2]), (assigned, walk.outputs[3])):
        for part in re.split(r"\s*\n\s*|…|[0-9a-f]{8}-[0-9a-f-]*", text):
            assert part in output, (part, output)
    assert walk.outputs[-1].splitlines()[-1] == verified.strip()
    assert '"casebook.request.closed.v1"' in walk.outputs[-1]
