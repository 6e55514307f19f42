"""What clients did and were told: the one side of the comparison, recorded outside the product.

An operation is one exchange: invoked at ``started``, and ``ok``, ``fail`` or ``info`` (nobody
knows) at ``ended``, both in seconds of this machine's monotonic clock. Attempts with the same
idempotency key are one command.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["command", "publish", "read"]
Outcome = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who uses the APIs."""

    subject: str
    role: str
    organisation: str | None = None
    teams: tuple[str, ...] = ()


@dataclass(slots=True)
class Op:
    """One exchange with a service.

    Of a command: ``key`` is its Idempotency-Key, ``trace`` the trace id that its events carry,
    ``seen`` the version in If-Match, ``version`` the one in the answer. Of a publication: ``items``
    are (source, id, outcome). Of a read: ``version`` is that of the answer, ``minimum`` what
    Casebook-Min-Version asked for, ``rows`` the ids of the requests or facts in the answer.
    """

    process: int
    kind: Kind
    name: str
    person: Person
    started: float
    key: str = ""
    trace: str = ""
    stream: str = ""
    seen: int | None = None
    outcome: Outcome = "info"
    ended: float = 0.0
    status: int = 0
    code: str = ""
    version: int = 0
    minimum: str = ""
    rows: list[str] = field(default_factory=list[str])
    items: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


@dataclass(slots=True)
class Command:
    """All attempts with one idempotency key, and what is known in the end."""

    attempts: list[Op]

    @property
    def outcome(self) -> Outcome:
        """Return ``ok`` if any attempt was told so, ``fail`` if all were told no."""
        outcomes = {attempt.outcome for attempt in self.attempts}
        return "ok" if "ok" in outcomes else "info" if "info" in outcomes else "fail"

    @property
    def first(self) -> Op:
        """Return the first attempt."""
        return self.attempts[0]

    @property
    def ok(self) -> Op:
        """Return the first attempt that was told ok."""
        return next(attempt for attempt in self.attempts if attempt.outcome == "ok")


@dataclass(slots=True)
class History:
    """Everything that clients did; ``planted`` are (source, id) that must be in quarantine."""

    ops: list[Op] = field(default_factory=list[Op])
    planted: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def commands(self) -> list[Command]:
        """Return the commands, in the order of their first attempts."""
        attempts: dict[str, list[Op]] = defaultdict(list)
        for op in self.ops:
            if op.kind == "command":
                attempts[op.key].append(op)
        return [Command(found) for found in attempts.values()]

    def reads(self) -> Iterable[Op]:
        """Return the reads that were answered."""
        return (op for op in self.ops if op.kind == "read" and op.outcome == "ok")

    def publications(self) -> Iterable[Op]:
        """Return what was published, whatever became of it."""
        return (op for op in self.ops if op.kind == "publish")

    def counts(self) -> Counter[str]:
        """Return how many commands ended how, how many were sent again, reads and publications."""
        commands = self.commands()
        counts = Counter(f"commands {command.outcome}" for command in commands)
        counts["commands sent again"] = sum(len(command.attempts) > 1 for command in commands)
        counts["reads"] = sum(1 for _ in self.reads())
        counts["events published"] = sum(
            outcome == "accepted" for op in self.publications() for _, _, outcome in op.items
        )
        return counts

    def done(self) -> Counter[str]:
        """Return how often each operation went well, by its name with ``_`` for other signs."""
        return Counter(op.name.replace("-", "_") for op in self.ops if op.outcome == "ok")

    def write(self, path: Path) -> None:
        """Write what was planted and then one JSON line per operation, for whoever looks why."""
        with path.open("w") as file:
            file.write(json.dumps(sorted(self.planted)) + "\n")
            for op in self.ops:
                file.write(json.dumps(asdict(op)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read what :meth:`write` wrote."""
        planted, *ops = map(json.loads, path.read_text().splitlines())
        return cls([_op(op) for op in ops], {(source, id_) for source, id_ in planted})


def _op(line: dict[str, Any]) -> Op:
    person = line.pop("person")
    person["teams"] = tuple(person["teams"])
    items = [tuple(item) for item in line.pop("items")]
    return Op(person=Person(**person), items=items, **line)
