"""Toy services that other processes find by name; a row tells which process folded it."""

import os
import sys
import time

from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Row
from tests.support.toy import Tally, intake

MADE_BY = "SELECT DISTINCT mark::int FROM tally"
MAKING = "tally_v1_2"
"""The table of the first rebuild."""
IS_WORKER = sys.argv[0].endswith("rebuild_worker.py")


class TallyByProcess(Tally):
    """Counts facts, a millisecond each; ``mark`` is the process that did it last."""

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Count one more."""
        time.sleep(0.001)
        return super().fold(row, fact) | {"mark": str(os.getpid())}


class BrokenElsewhere(Tally):
    """Folds in the process that imported it first, and fails in a rebuild."""

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Count one more, unless this is a worker."""
        if IS_WORKER:
            raise ValueError("planted by a test")
        return super().fold(row, fact)


SERVICE = intake(TallyByProcess(), found_at=f"{__name__}:SERVICE")
BROKEN = intake(BrokenElsewhere(), found_at=f"{__name__}:BROKEN")
