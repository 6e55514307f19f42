"""The committed schemas: today's beside the revisions before it, which stay for ever.

``schemas/<type>.json`` and ``<type>.ingress.json`` are current. ``schemas/history/`` holds the
earlier revisions, ``<type>.1.json`` and ``<type>.1.ingress.json`` first. Another wording is not
a revision. A type that the catalogue no longer has keeps its files.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from casebook.events.catalog import EVENTS
from casebook.events.compatibility import gate, same_shape
from casebook.events.event import Event
from casebook.events.schemas import Schema, Side, schema

SIDES: tuple[Side, Side] = ("log", "ingress")
SUFFIX = {"log": "", "ingress": ".ingress"}


class Breaking(Exception):
    """A schema cannot follow its revisions."""

    def __init__(self, problems: list[str]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            "catalog: these changes break readers or history, so they need a new major version\n"
            "of the event with an upcaster (or --unreleased, if nobody has used the schema yet):\n"
            f"{lines}"
        )
        self.problems = problems


class Schemas:
    """The schema files of a repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "libs" / "events" / "schemas"

    def current(self, type_: str, side: Side) -> Path:
        """Return where the current schema is."""
        return self.folder / f"{type_}{SUFFIX[side]}.json"

    def history(self, type_: str, side: Side) -> list[Path]:
        """Return the earlier revisions, the oldest first."""
        count = len(list((self.folder / "history").glob(f"{type_}.*{SUFFIX[side]}.json")))
        paths = (self._archived(type_, side, number) for number in range(1, count + 1))
        return [path for path in paths if path.exists()]

    def problems(self) -> list[str]:
        """Return every break between today's models and the committed revisions."""
        return [
            f"{event.type} ({side}): {problem}"
            for event, side in _every()
            for problem in gate(
                [*map(_load, self.history(event.type, side)), *self._present(event.type, side)],
                schema(event, side),
            )
        ]

    def stale(self) -> list[str]:
        """Return the current schema files that are not as the models say, and the breaks."""
        found: list[str] = []
        for event, side in _every():
            path = self.current(event.type, side)
            if not path.exists() or path.read_text(encoding="utf-8") != _text(schema(event, side)):
                found.append(f"{path.relative_to(self.root)}: stale")
        return found + self.problems()

    def write(self, *, unreleased: bool) -> list[str]:
        """Write stale schemas; keep those they replace unless they are unreleased.

        :raises Breaking: when a schema cannot follow its revisions; then nothing is written.
        """
        problems = self._history_problems() if unreleased else self.problems()
        if problems:
            raise Breaking(problems)
        changed = {event for event, side in _every() if not unreleased and self._new(event, side)}
        for event in changed:
            self._archive(event.type)
        written: list[str] = []
        for event, side in _every():
            path, text = self.current(event.type, side), _text(schema(event, side))
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                written.append(str(path.relative_to(self.root)))
        return written

    def _history_problems(self) -> list[str]:
        """Return the breaks with what is in the history, leaving out the current files."""
        return [
            f"{event.type} ({side}): {problem}"
            for event, side in _every()
            for problem in gate(
                [_load(path) for path in self.history(event.type, side)], schema(event, side)
            )
        ]

    def _present(self, type_: str, side: Side) -> list[Schema]:
        """Return the current schema, if there is one."""
        path = self.current(type_, side)
        return [_load(path)] if path.exists() else []

    def _new(self, event: type[Event], side: Side) -> bool:
        """Say whether an event's schema is another revision than the current file."""
        return any(
            not same_shape(present, schema(event, side))
            for present in self._present(event.type, side)
        )

    def _archive(self, type_: str) -> None:
        """Move the current schemas of a type to its history, both sides under one number."""
        number = 1 + max(len(self.history(type_, side)) for side in SIDES)
        for side in SIDES:
            target = self._archived(type_, side, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.current(type_, side).rename(target)

    def _archived(self, type_: str, side: Side, number: int) -> Path:
        """Return where a revision of the past is."""
        return self.folder / "history" / f"{type_}.{number}{SUFFIX[side]}.json"


def _every() -> Iterator[tuple[type[Event], Side]]:
    """Yield every event with both sides."""
    for event in EVENTS.values():
        for side in SIDES:
            yield event, side


def _text(value: Schema) -> str:
    """Return a schema as it is committed."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _load(path: Path) -> Schema:
    """Return a committed schema."""
    return json.loads(path.read_text(encoding="utf-8"))
