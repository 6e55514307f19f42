"""``python -m casebook.console`` is the ``casebook`` command."""

from casebook.console.cli import app

app()
