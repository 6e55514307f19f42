"""Writes or checks what is generated: event schemas and the pages of docs.

``write`` puts the schemas of ``libs/events/schemas`` and the generated pages in order; a changed
schema becomes the next revision, and the one before goes to ``schemas/history``. A change that
breaks a revision is refused: it needs a new major version of the event. ``check`` changes nothing
and exits 1 when something is stale.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __package__ in (None, ""):  # run as a program: make `tools` importable, as it is in tests
    sys.path.insert(0, str(ROOT))

from tools.pages import asyncapi, events, handbook, openapi, refusals  # noqa: E402
from tools.revisions import Breaking, Schemas  # noqa: E402


def pages(root: Path) -> Mapping[str, str]:
    """Return the generated pages, path → text."""
    return {
        asyncapi.PATH: asyncapi.page(root),
        **dict(openapi.pages()),
        "docs/events.md": events.page(),
        "docs/handbook.md": handbook.page(root),
        "docs/refusals.md": refusals.page(root),
    }


def stale(root: Path) -> list[str]:
    """Return the generated files that are not as they should be, and why."""
    found = Schemas(root).stale()
    for path, text in pages(root).items():
        file = root / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            found.append(f"{path}: stale")
    return found


def write(root: Path, *, unreleased: bool) -> list[str]:
    """Write what is stale; return what was written.

    :raises Breaking: when a schema cannot follow its revisions; then nothing is written.
    """
    written = Schemas(root).write(unreleased=unreleased)
    for path, text in pages(root).items():
        file = root / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def main() -> None:
    """Run the command line; exit status 1 when something is stale or refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is stale")
    writing = commands.add_parser("write", help="write what is stale")
    writing.add_argument(
        "--unreleased",
        action="store_true",
        help="replace current schemas that nobody has used yet; their history is still binding",
    )
    arguments = parser.parse_args()
    if arguments.command == "check":
        found = stale(ROOT)
        print("\n".join([*found, "run: make docs"]) if found else "catalog: everything is fresh")
        sys.exit(1 if found else 0)
    try:
        for path in write(ROOT, unreleased=arguments.unreleased):
            print(f"wrote {path}")
    except Breaking as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
