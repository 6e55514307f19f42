"""Records as they were stored, byte for byte, read by today's code for ever."""

from pathlib import Path
from uuid import UUID

from casebook.events.decoding import decode
from casebook.events.envelope import GENESIS, Envelope, chain
from casebook.events.request import RequestPrioritised

GOLDEN = Path(__file__).parent / "golden"
PILOT = "casebook.request.prioritised.v0"
HASH = "48d1529391dc6f27d9bfd512b527b6e761ccac54c9d736e990812c460ffd035c"


def test_a_record_of_the_pilot_is_read_as_todays_event() -> None:
    envelope = Envelope.from_record((GOLDEN / f"{PILOT}.json").read_bytes())
    assert (envelope.type, envelope.streamversion) == (PILOT, 1)
    assert envelope.id == UUID("0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")
    assert envelope.data["priority"] == "3 - Moderate"
    assert decode(envelope) == RequestPrioritised(impact=2, urgency=2, priority=3)


def test_reading_it_changes_nothing_that_is_stored() -> None:
    stored = (GOLDEN / f"{PILOT}.json").read_text(encoding="utf-8")
    envelope = Envelope.from_record(stored)
    decode(envelope)
    assert envelope.record() == stored
    assert chain(GENESIS, stored).hex() == HASH
