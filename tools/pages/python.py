"""What the generated pages read from the source, without importing it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SECTIONS = re.compile(
    r"handbook (?:sections? )?([1-8](?:\.[1-4])?(?!\.?\d)"
    r"(?:[^.;:()]*?(?:\([^)]*\))?(?:,| and|–|-| to) ?[1-8]\.[1-4])*)",
    re.IGNORECASE,
)
_SECTION = re.compile(r"(?P<first>[1-8]\.[1-4])(?: ?(?:–|-|to) ?(?P<last>[1-8]\.[1-4]))?")


@dataclass(frozen=True, slots=True)
class Text:
    """Documentation in a file: a docstring, or the string after an assignment."""

    path: str
    name: str | None
    text: str


def files(root: Path, *patterns: str) -> Iterator[Path]:
    """Yield the Python files that match, sorted."""
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return (path for path in sorted(found) if "__pycache__" not in path.parts)


def texts(root: Path, path: Path) -> Iterator[Text]:
    """Yield the documentation of a file: of the module, its classes, functions and constants."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    relative = path.relative_to(root).as_posix()
    yield from _texts(tree, relative, None)


def _texts(node: ast.AST, path: str, name: str | None) -> Iterator[Text]:
    body: list[ast.stmt] = getattr(node, "body", [])
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield Text(path, name, text)
    before: ast.stmt | None = None
    for item in body:
        if isinstance(item, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _texts(item, path, f"{name}.{item.name}" if name else item.name)
        match item, before:
            case ast.Expr(value=ast.Constant(value=str(text))), (
                ast.Assign(targets=[ast.Name(id=constant)])
                | ast.AnnAssign(target=ast.Name(id=constant))
            ):
                yield Text(path, f"{name}.{constant}" if name else constant, text)
            case _:
                pass
        before = item


def imports(tree: ast.Module) -> set[str]:
    """Return the dotted names that a module imports: modules, and what it takes from them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                found |= {module, *(f"{module}.{alias.name}" for alias in names)}
            case _:
                pass
    return found


def sections(text: str) -> list[str]:
    """Return the handbook sections that a text cites, such as ``2.1``; ranges are spelled out."""
    found: dict[str, None] = {}
    for marker in _SECTIONS.finditer(" ".join(text.split())):
        for match in _SECTION.finditer(marker[1]):
            first, last = match["first"], match["last"] or match["first"]
            chapter = first[0]
            found.update(
                (f"{chapter}.{number}", None) for number in range(int(first[2]), int(last[2]) + 1)
            )
    return list(found)
