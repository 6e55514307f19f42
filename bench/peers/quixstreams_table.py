# pyright: reportMissingImports=false
"""Folds the topic into a table of Quix Streams: state by key in RocksDB, with a changelog topic."""

import json
import sys
import tempfile
import time
from typing import Any

from quixstreams import Application, State
from work_fold import fold, kind_of

task = json.loads(sys.argv[1])
seen = {"events": 0}


def update(
    value: dict[str, Any], key: str, timestamp: int, headers: Any, state: State
) -> dict[str, Any]:
    """Fold one event into the row of its key."""
    told = dict(headers)
    kind, time_ = kind_of(told["ce_type"]), told["ce_time"].decode()
    state.set("row", fold(state.get("row"), kind, value, time_))
    seen["events"] += 1
    return value


def main() -> None:
    """Read to the end; print how long that took."""
    with tempfile.TemporaryDirectory(prefix="casebook-bench-") as folder:
        application = Application(
            task["bootstrap"], consumer_group=task["group"], auto_offset_reset="earliest",
            state_dir=folder, loglevel="WARNING",
        )  # fmt: skip
        topic = application.topic(task["topic"], key_deserializer="str", value_deserializer="json")
        application.dataframe(topic).apply(update, stateful=True, metadata=True)
        started = time.perf_counter()
        application.run(count=task["events"], timeout=60, collect=False)
        print(json.dumps({"events": seen["events"], "seconds": time.perf_counter() - started}))


main()
