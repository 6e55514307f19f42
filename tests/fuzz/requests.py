"""Nasty values in every text of every body, by HTTP to the applications in this process."""

import uuid
from collections.abc import Iterator
from itertools import islice

import httpx

from tests.fuzz.ground import Ground
from tests.fuzz.outcome import Outcome
from tests.support.cast import BUSY, all_of
from tests.support.interface import Operation, Place, spliced
from tests.support.judging import check
from tests.support.nasties import NASTIES, Nasty

KIND = "nasty values by HTTP"
Case = tuple[Operation, Place, Nasty]
HARMLESS = {"registerAgent", "registerSource", "createTeam"}
"""Commands without a version, whose path is that of something new each time."""


def all_cases(ground: Ground) -> Iterator[Case]:
    """Yield every nasty in every field of every body; what all services have, of one of them."""
    for operation in ground.cast.operations:
        if operation.schema is None or (operation.is_common and operation.service != "risk"):
            continue
        for place in operation.texts():
            for nasty in NASTIES:
                if nasty.body.strip() or not isinstance(place[-1], int):
                    yield operation, place, nasty  # else a list without items, which is sound


def some_cases(ground: Ground, step: int, start: int) -> list[Case]:
    """Return every ``step``-th case from ``start`` on: each field, and each nasty in many."""
    return list(islice(all_cases(ground), start % step, None, step))


def fuzz(ground: Ground, cases: list[Case]) -> Outcome:
    """Send the cases; every answer must be a documented one that is no failure."""
    return ground.do(_fuzz(ground, cases))


async def _fuzz(ground: Ground, cases: list[Case]) -> Outcome:
    outcome = Outcome()

    async def one(case: Case) -> None:
        operation, place, nasty = case
        try:
            answer = await _sent(ground, operation, place, nasty)
            check(answer, *(() if nasty.code is None else (400, 422)))
        except AssertionError as error:
            outcome.fail(f"{operation.name} {place} {nasty.name}: {error}")
        else:
            outcome.answers[str(answer.status_code)] += 1

    await all_of(one(case) for case in cases)
    outcome.cases[KIND] = len(cases)
    return outcome


async def _sent(ground: Ground, operation: Operation, place: Place, nasty: Nasty) -> httpx.Response:
    """Send one body, again while the machine is busy."""
    cast = ground.cast
    values = dict(cast.values("own", operation))
    if operation.described["operationId"] in HARMLESS:
        values |= {"agent": f"a{uuid.uuid4().hex}", "team": f"t{uuid.uuid4().hex}"}
        values["name"] = f"s{uuid.uuid4().hex}"
    # What changes a state names a version that there never was: the case stays as it is.
    headers = ground.everybody | {
        "Content-Type": "application/json",
        "Idempotency-Key": uuid.uuid4().hex,
        "If-Match": '"0"',
    }
    content = spliced(operation.example(), place, nasty.body)
    while True:
        answer = await cast.client.request(
            operation.method, operation.path(values), content=content, headers=headers
        )
        if answer.status_code != 503 or answer.json()["code"] not in BUSY:
            return answer
