"""Nasty values in every text of every body, by HTTP to the applications in this process."""

import uuid
from collections.abc import Iterator
from itertools import groupby, islice

import httpx

from tests.fuzz.ground import Ground
from tests.fuzz.outcome import Outcome
from tests.support.cast import BUSY, all_of
from tests.support.deeds import Deed, body, prepare
from tests.support.interface import Operation, Place, spliced
from tests.support.judging import check
from tests.support.nasties import NASTIES, Nasty

KIND = "nasty values by HTTP"
ACTOR = "admin"
SHARED = 8
"""How many nasties in a row are sent about one case: most leave it as it was."""

MANY = 1_000
"""What the agent may hold at a time: as many cases as anybody can."""

OWN = {"reopenRequest", "answerSurvey"}
"""What only somebody may do whose request it is."""

REFUSED = {"rebuildProjection"}
"""What is asked of something that there is not: each rebuild takes a process of its own."""

NAMES_ONLY = {"changeTeam"}
"""What takes no text but the name of something that there is."""

Case = tuple[Operation, Place, Nasty]


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
    shares = [list(share) for _, share in groupby(cases, lambda case: case[0].name)]
    parts = [share[at : at + SHARED] for share in shares for at in range(0, len(share), SHARED)]
    deeds = [Deed(part[0][0], ACTOR) for part in parts]
    agent = f"/dispatch/v1/agents/{ground.cast.cases['own'].agent}/capacity"
    root = ground.cast.person("root", "admin")
    await ground.cast.done(root, "PUT", agent, {"capacity": MANY})
    await prepare(ground.cast, [deed for deed in deeds if deed.id not in REFUSED])

    async def some(deed: Deed, part: list[Case]) -> None:
        for _, place, nasty in part:
            try:
                answer = await _sent(ground, deed, place, nasty)
                check(answer, *(() if nasty.code is None else (400, 422)))
            except AssertionError as error:
                outcome.fail(f"{deed.operation.name} {place} {nasty.name}: {error}")
            else:
                outcome.answers[str(answer.status_code)] += 1
                outcome.done[deed.id] += answer.is_success

    await all_of(some(deed, part) for deed, part in zip(deeds, parts, strict=True))
    outcome.cases[KIND] = len(cases)
    return outcome


async def _sent(ground: Ground, deed: Deed, place: Place, nasty: Nasty) -> httpx.Response:
    """Send one body, whatever the version of the case; again while the machine is busy."""
    cast, operation = ground.cast, deed.operation
    values = dict(cast.values("own", operation)) | deed.values
    who = cast.actor("requester") if deed.id in OWN else ground.everybody
    headers = who | {
        "Content-Type": "application/json",
        "Idempotency-Key": uuid.uuid4().hex,
        "If-Match": "*",
    }
    sound = body(cast, deed)
    assert sound is not None
    content = spliced(sound, place, nasty.body)
    while True:
        answer = await cast.client.request(
            operation.method, operation.path(values), content=content, headers=headers
        )
        if answer.status_code != 503 or answer.json()["code"] not in BUSY:
            return answer
