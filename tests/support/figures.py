"""What a test measures or counts, for people; `tests/conftest.py` shows it at the end."""

from collections.abc import Callable

FIGURE = "figure"
Tell = Callable[[str], None]
