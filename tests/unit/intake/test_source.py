from casebook.events.request import SourceRegistered
from casebook.intake.domain.families import SOURCE
from casebook.intake.domain.source import Source, guard, register
from tests.unit.intake.given import fact, refusal

TYPES = ("casebook.request.submitted.v1", "casebook.request.closed.v1")


def registered(source: Source, **changes: object) -> list[SourceRegistered]:
    values = {
        "name": "uci498",
        "types": TYPES,
        "organisation": "青岛分公司",
        "mode": "observed",
        "publisher": "importer",
    } | changes
    return register(source, **values)  # pyright: ignore[reportArgumentType]


def after(*events: SourceRegistered) -> Source:
    source = SOURCE.initial
    for event in events:
        source = SOURCE.evolve(source, event, fact(event).envelope)
    return source


def test_a_source_is_registered_with_what_it_may_publish() -> None:
    assert registered(Source()) == [
        SourceRegistered(
            source="uci498",
            types=tuple(sorted(TYPES)),
            organisation="青岛分公司",
            mode="observed",
            publisher="importer",
        )
    ]


def test_the_same_registration_adds_nothing_whatever_the_order_of_its_types() -> None:
    source = after(*registered(Source()))
    assert registered(source, types=(*reversed(TYPES), TYPES[0])) == []


def test_a_registration_can_be_changed() -> None:
    source = after(*registered(Source()))
    [changed] = registered(source, publisher="another")
    assert after(changed).publisher == "another"


def test_a_mode_that_does_not_exist_is_refused() -> None:
    assert refusal(lambda: registered(Source(), mode="dreamt")) == "unknown-mode"


def test_a_type_that_does_not_exist_is_refused() -> None:
    types = (*TYPES, "casebook.request.forgotten.v1")
    assert refusal(lambda: registered(Source(), types=types)) == "unknown-type"


def test_a_published_registration_follows_the_same_rules() -> None:
    event = SourceRegistered(source="a", types=("nothing",), mode="live", publisher="a")
    assert refusal(lambda: guard(Source(), event)) == "unknown-type"
