"""docs/refusals.md: every code by which a rule says no, from ``Refused("code", "detail")``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.pages.markdown import document, table
from tools.pages.python import files

CODE = ("services/*/casebook/*/**/*.py", "libs/kit/casebook/kit/**/*.py")
INTRODUCTION = (
    "# Refusals",
    "",
    "What a rule answers when it says no. Over HTTP a refusal is a problem (RFC 9457) with status",
    "409, this code, and a detail for people; an event of a live source that a rule refuses goes",
    "to the quarantine under the same code. Codes are stable; details are not.",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A place where a rule refuses."""

    code: str
    detail: str
    path: str
    function: str


def page(root: Path) -> str:
    """Return the page."""
    by_code: dict[str, list[Refusal]] = {}
    for path in files(root, *CODE):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for refusal in _refusals(tree, path.relative_to(root).as_posix(), ""):
            by_code.setdefault(refusal.code, []).append(refusal)
    rows = (_row(code, refusals) for code, refusals in sorted(by_code.items()))
    return document([*INTRODUCTION, "", *table(("Code", "Says", "Refused by"), rows)])


def _row(code: str, refusals: list[Refusal]) -> tuple[str, str, str]:
    """Return the row of a code."""
    details = dict.fromkeys(refusal.detail for refusal in refusals)
    places = dict.fromkeys(
        f"[{_module(refusal.path)}.{refusal.function}](../{refusal.path})" for refusal in refusals
    )
    return f"`{code}`", "; ".join(details), ", ".join(places)


def _refusals(node: ast.AST, path: str, function: str) -> Iterator[Refusal]:
    """Yield the refusals below a node, with the function they stand in."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{child.name}".lstrip(".")
        match child:
            case ast.Call(
                func=ast.Name(id="Refused"),
                args=[ast.Constant(value=str(code)), *details],
                keywords=keywords,
            ):
                detail = [*details, *(item.value for item in keywords if item.arg == "detail")]
                yield Refusal(code, _text(detail[0]) if detail else "", path, inside)
            case _:
                pass
        yield from _refusals(child, path, inside)


def _text(node: ast.expr) -> str:
    """Return a detail as text; what is filled in later stands in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case _:
            return f"{{{ast.unparse(node)}}}"


def _module(path: str) -> str:
    """Return a module's name below the namespace."""
    return path.partition("casebook/")[2].removesuffix(".py").replace("/", ".")
