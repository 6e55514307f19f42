"""Servers that tests start must not outlive the tests, however these end."""

import subprocess


class Watchdog:
    """Runs a command when this process ends without having called :meth:`cancel`.

    A pipe tells the end of this process even after kill -9; unlike a parent-death signal it does
    not depend on the thread that started the server.
    """

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", 'read -r _; exec "$@"', "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )

    def cancel(self) -> None:
        """Let the command be: the server has been stopped."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
