"""Which component tests call which operation of a service: by the addresses that they ask for.

Operations that share an address, as listing and adding do, are not told apart.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tools.pages.python import files

_METHODS = {"get", "post", "put", "patch", "delete"}


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: where it is coded, its address below ``/{service}/v1``, all names it uses."""

    path: str
    function: str
    address: tuple[str, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Helper:
    """A function of the tests, with its parameters and the addresses that it asks for."""

    parameters: Sequence[str]
    addresses: Sequence[str]


def routes(root: Path, service: str) -> list[Route]:
    """Return all operations of a service."""
    return [
        Route(path.relative_to(root).as_posix(), node.name, _segments(address), _names(node))
        for path in files(root, f"services/{service}/casebook/{service}/api/*.py")
        for node in _functions(path)
        for address in _decorated(node)
    ]


def callers(root: Path, service: str) -> dict[Route, list[str]]:
    """Return the component tests of a service that ask for each of its operations."""
    found: dict[Route, list[str]] = {route: [] for route in routes(root, service)}
    sources = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in files(root, f"tests/component/{service}/*.py")
    }
    constants = {key: text for tree in sources.values() for key, text in _constants(tree)}
    helpers = {
        node.name: _Helper(_parameters(node), list(_addresses(node, constants)))
        for tree in sources.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for path, tree in sources.items():
        if path.name.startswith("test_"):
            asked = {*_addresses(tree, constants), *_by_helpers(tree, helpers, constants)}
            words = {text for text in _texts(tree) if text.isidentifier()}
            for route, tests in found.items():
                if any(route in _asked_for(each, service, words, list(found)) for each in asked):
                    tests.append(path.relative_to(root).as_posix())
    return found


def _asked_for(address: str, service: str, words: Set[str], known: Sequence[Route]) -> list[Route]:
    """Return the operations of an address: of those that fit, the ones with fewest variables.

    What it begins with may be a variable that stands for the address of a thing; what it ends with
    may be one of the ``words`` of the test.
    """
    segments = _segments(address)
    if segments[:2] == (service, "v1"):
        segments = segments[2:]
    fitting = [route for route in known if _fits(route.address, segments, words)]
    least = min((_variables(route.address) for route in fitting), default=0)
    return [route for route in fitting if _variables(route.address) == least]


def _fits(own: Sequence[str], asked: Sequence[str], words: Set[str]) -> bool:
    if asked and _is_variable(asked[0]) and 1 < len(asked) < len(own):
        own = own[-len(asked) :]
    return len(own) == len(asked) and all(
        _is_variable(one) or one == other or (last and _is_variable(other) and one in words)
        for one, other, last in zip(own, asked, [*[False] * (len(own) - 1), True], strict=True)
    )


def _variables(address: Iterable[str]) -> int:
    return sum(map(_is_variable, address))


def _is_variable(segment: str) -> bool:
    return segment.startswith("{")


def _segments(address: str) -> tuple[str, ...]:
    return tuple(address.partition("?")[0].strip("/").split("/"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _decorated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(attr=method), args=[ast.Constant(value=str(address)), *_]
            ) if method in _METHODS:
                yield address
            case _:
                pass


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [each.arg for each in node.args.args if each.arg != "self"]


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case _:
                pass


def _addresses(tree: ast.AST, constants: Mapping[str, str]) -> Iterator[str]:
    """Yield every text of the source that may be an address; what varies is a name in braces."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in node.values}  # fmt: skip
    for node in ast.walk(tree):
        text = None if id(node) in inner else _text(node, constants)
        if text is not None and (text.startswith("/") or (text.startswith("{") and "}/" in text)):
            yield text


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _text(node: ast.AST, constants: Mapping[str, str]) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return constants.get(name)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) or "{}" for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)):
            return constants.get(name, f"{{{name}}}")
        case _:
            return None


def _by_helpers(
    tree: ast.AST, helpers: Mapping[str, _Helper], constants: Mapping[str, str]
) -> Iterator[str]:
    """Yield the addresses that the functions ask for which a test calls, with what it gives."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in helpers:
                helper = helpers[name]
                given = dict(zip(helper.parameters, node.args, strict=False))
                given |= {each.arg: each.value for each in node.keywords if each.arg}
                texts = {
                    each: text
                    for each, value in given.items()
                    if (text := _text(value, constants)) is not None
                }
                for address in helper.addresses:
                    yield address.format_map(_Given(texts)) if "{}" not in address else address
            case _:
                pass


class _Given(dict[str, str]):
    """What a call gives for the parameters; what it does not say in the source stays a name."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"
