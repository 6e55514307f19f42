"""Minting tokens for people and machines from the command line (``casebook token``)."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from casebook.kit.access.tokens import Signer
from casebook.kit.settings import Settings
from casebook.platform.home import Home, HomeNotFound


def mint(
    home: Path,
    roles: Sequence[str],
    subject: str | None,
    organisation: str | None,
    *,
    sources: tuple[str, ...],
    ttl: str,
) -> str:
    """Return a token of the home, or one signed with ``CASEBOOK_SIGNING_KEY``.

    The subject of a publisher is its source, if none is given; else it is the first role's name.

    :raises ValueError: for an unknown role, a bad name or a bad duration.
    :raises LookupError: when there is no signing key.
    """
    name = subject or next(iter(sources), roles[0])
    return _signer(home).mint(name, roles, organisation, sources, duration(ttl))


def _signer(home: Path) -> Signer:
    """Return the signer that the environment or the home provides.

    :raises LookupError: when there is none.
    """
    settings = Settings()
    if os.environ.get("CASEBOOK_SIGNING_KEY") and settings.signing_key is not None:
        return Signer(settings.signing_key, settings.jwt_issuer, settings.jwt_audience)
    try:
        Home(home).check()
    except HomeNotFound as error:
        raise LookupError(str(error)) from error
    return Home(home).signer()


def duration(text: str) -> timedelta:
    """Return a duration such as ``90s``, ``30m``, ``1h`` or ``7d``.

    :raises ValueError: for anything else.
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.isdigit():
        raise ValueError("a duration is a number and s, m, h or d, such as 1h")
    try:
        return timedelta(**{units[unit]: int(number)})
    except OverflowError:
        raise ValueError("that is too long") from None
