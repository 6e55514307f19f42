"""Runs commands one after the other in one process: most of a command's time is its start.

One JSON list of words a line comes in, and what came of it goes out: ``status``, ``out``, ``err``,
and as ``trace`` what a person would have seen as a traceback.
"""

import json
import signal
import sys
import traceback

from typer.testing import CliRunner

from casebook.console.cli import app

SECONDS_MAX = 120


class TookTooLong(Exception):
    """A command did not come to an end."""


def _too_long(*_: object) -> None:
    raise TookTooLong(f"no end after {SECONDS_MAX} s")


def main() -> None:
    """Run every command that comes in."""
    runner = CliRunner()
    signal.signal(signal.SIGALRM, _too_long)
    for line in sys.stdin:
        signal.alarm(SECONDS_MAX)
        done = runner.invoke(app, json.loads(line))
        signal.alarm(0)
        error = done.exception
        trace = None
        if error is not None and not isinstance(error, SystemExit):
            trace = "".join(traceback.format_exception(error))
        found = {"status": done.exit_code, "out": done.stdout, "err": done.stderr, "trace": trace}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
