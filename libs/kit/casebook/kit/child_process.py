"""Habits of a process that another one of ours has started."""

import gc
import os
import sys
import threading
from collections.abc import Callable

GARBAGE_ALLOCATIONS = 50_000
"""How many more objects there are when cycles among them are looked for; the default is 700."""


def collect_garbage_rarely() -> None:
    """Spare what will never be garbage, and look for cycles less often.

    Batches of thousands of events live for a moment and have no cycles. With the defaults of the
    interpreter, searching them again and again was a quarter of the time of an import.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_ALLOCATIONS, 20, 50)


def when_parent_ends(then: Callable[[], None]) -> None:
    """Call ``then``, in a thread, when standard input ends: the starter has gone, however."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):  # a buffered read would lock the exit
            pass
        then()

    # A daemon, so that its endless read never holds up the end of this process.
    threading.Thread(target=watch, name="parent", daemon=True).start()
