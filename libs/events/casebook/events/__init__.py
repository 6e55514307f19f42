"""Casebook's event contracts: what another system installs to publish or read its facts."""

from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.values import Label, Sealed, SecretText

__all__ = ["Envelope", "Event", "Label", "Sealed", "SecretText"]
