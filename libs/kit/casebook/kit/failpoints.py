"""Named places at which a process under test dies or freezes; off by default, and then free.

``CASEBOOK_FAILPOINTS`` arms them, and only together with ``CASEBOOK_TESTING``, as a list such as
``after-commit=kill@40,between-send-and-delete=stop``: at the 40th passing since the start of the
process, at the first. Counting passings, and not throwing dice, lets a seed repeat a run.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

AfterCommit = Literal["after-commit"]
"""A command is committed, and its answer not given: the client cannot know."""
BetweenSendAndDelete = Literal["between-send-and-delete"]
"""The log acknowledged a batch that the outbox still holds: it will be sent again."""
InsideReaderTransaction = Literal["inside-reader-transaction"]
"""A batch is folded and its reactions appended, and nothing of it committed."""
AfterCommitBeforeHint = Literal["after-commit-before-hint"]
"""A batch is committed, and the consumer group not told: it is delivered again."""
InsideTimerTransaction = Literal["inside-timer-transaction"]
"""Timers are marked as fired and their events appended, and nothing of it committed."""
AfterPromotion = Literal["after-promotion"]
"""Published events are promoted and committed, and nobody is told."""

Name = (
    AfterCommit
    | BetweenSendAndDelete
    | InsideReaderTransaction
    | AfterCommitBeforeHint
    | InsideTimerTransaction
    | AfterPromotion
)
NAMES: tuple[str, ...] = tuple(name for kind in get_args(Name) for name in get_args(kind))
SIGNALS: Mapping[str, signal.Signals] = MappingProxyType(
    {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
)


@dataclass(slots=True)
class _Armed:
    """What happens at a failpoint, and after how many more passings."""

    action: str
    left: int


_armed: dict[str, _Armed] = {}


def arm(text: str) -> None:
    """Arm what ``text`` names, and nothing else.

    :raises ValueError: for an unknown name or action, or a passing that is not 1 or more.
    """
    armed = dict(map(_parsed, filter(None, text.split(","))))
    _armed.clear()
    _armed.update(armed)


def reach(name: Name) -> None:
    """Pass a failpoint; the end of this process, if it is armed and due."""
    if _armed:
        _pass(name)


def _parsed(text: str) -> tuple[str, _Armed]:
    name, _, what = text.strip().partition("=")
    action, _, passing = what.partition("@")
    if name not in NAMES:
        raise ValueError(f"unknown failpoint {name!r}: there are {', '.join(NAMES)}")
    if action not in SIGNALS:
        raise ValueError(f"{name}: unknown action {action!r}: there are {', '.join(SIGNALS)}")
    if not (passing or "1").isdecimal() or int(passing or "1") < 1:
        raise ValueError(f"{name}: {passing!r} is no passing; the first is 1")
    return name, _Armed(action, int(passing or "1"))


def _pass(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.left -= 1
    if armed.left == 0:
        # Past all buffers: nothing of this process runs after the signal.
        os.write(2, f'{{"event": "failpoint.hit", "failpoint": "{name}"}}\n'.encode())
        os.kill(os.getpid(), SIGNALS[armed.action])
