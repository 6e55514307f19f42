"""How far the log was read, in time: all that it held at a moment is applied (decisions 3.11).

A deadline may fire once the log was read past it. Under load the end of the log is never
reached, because it moves on; so the end is asked for, remembered with the moment of the
question, and reached a little later. Positions are those of the checkpoint rows: what is true
of them is true for every process of the service.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from casebook.kit.log.event_log import PARTITIONS

_SHORT_MAX = 3


class Horizon:
    """The moments that each partition was read past."""

    def __init__(self) -> None:
        self.until: dict[int, datetime] = {}
        """Per partition: what the log held at this moment is applied."""
        self.behind = 0
        """Records of the log that were not applied at the last look."""
        self._asked: dict[int, tuple[datetime, int]] = {}
        self._positions: Mapping[int, int] = {}
        self._short: Counter[int] = Counter()

    @property
    def caught_up_at(self) -> datetime | None:
        """Return the moment that the whole log was read past; ``None`` before the first time."""
        return min(self.until.values()) if len(self.until) == PARTITIONS else None

    def look(
        self, asked_at: datetime, heads: Mapping[int, int], positions: Mapping[int, int]
    ) -> None:
        """Take the end of the log at ``asked_at``, and the checkpoints read after it."""
        for partition, head in heads.items():
            position = positions.get(partition, 0)
            self._reach(partition, position)
            self._asked.setdefault(partition, (asked_at, head))
            self._reach(partition, position)
            short = head < self._positions.get(partition, 0)
            self._short[partition] = self._short[partition] + 1 if short else 0
        self._positions = dict(positions)
        self.behind = sum(max(0, head - positions.get(p, 0)) for p, head in heads.items())

    def lost(self) -> frozenset[int]:
        """Return the partitions that end before what was applied, again and again."""
        return frozenset(p for p, times in self._short.items() if times >= _SHORT_MAX)

    def _reach(self, partition: int, position: int) -> None:
        """Move on in time when the end that was asked for is applied."""
        asked = self._asked.get(partition)
        if asked is not None and position >= asked[1]:
            self.until[partition] = asked[0]
            del self._asked[partition]
