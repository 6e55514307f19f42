"""The style of the repository that no linter knows, as checks that a test runs too.

Each check takes the repository and returns what it dislikes, one line each, beginning with
``path:line``. Each is also run on a bad example by ``tests/tidy``, so that none can rust shut.
The one escape is for size, beside the thing that is long: ``# tidy: whole because <reason>``.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
LINE_LENGTH_MAX = 100
ESCAPE = re.compile(r"# tidy: whole because \w+\W+\w+")
CODE = {".py", ".sql", ".sh", ".yaml", ".yml"}
BINARY = {".gz", ".png", ".ico", ".woff2", ".mo"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """One file of the repository, read once."""

    root: Path
    path: str

    @cached_property
    def text(self) -> str:
        """The whole file; what is not text is empty here."""
        if Path(self.path).suffix in BINARY:
            return ""
        return (self.root / self.path).read_text(encoding="utf-8", errors="replace")

    @cached_property
    def lines(self) -> list[str]:
        """The file by lines, without their ends."""
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        """The file as Python reads it."""
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every function and class of the file, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Definition)]

    def at(self, line: int) -> str:
        """The place of a finding."""
        return f"{self.path}:{line}"


@dataclass(frozen=True)
class Repository:
    """The files that are, or would be, committed."""

    root: Path

    @cached_property
    def files(self) -> list[Source]:
        """Everything that git keeps or would keep."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=self.root, capture_output=True, check=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        paths = sorted({path for path in listed if path and (self.root / path).is_file()})
        return [Source(self.root, path) for path in paths]

    def matching(self, pattern: str) -> Iterator[Source]:
        """Files whose path matches from the beginning to the end."""
        whole = re.compile(pattern)
        return (source for source in self.files if whole.fullmatch(source.path))

    def python(self, *folders: str) -> Iterator[Source]:
        """Python files, of these folders if any are named."""
        return self.matching(rf"(?:{'|'.join(folders)})/.*\.py" if folders else r".*\.py")


DOMAIN = r"services/[^/]+/casebook/[^/]+/domain(?:\.py|/(?:.*/)?(?!__init__)[^/]+\.py)"


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# --- sizes ------------------------------------------------------------------------------------


def short_files(repository: Repository) -> Iterator[str]:
    """A file over 400 lines is split by meaning, or says above its first definition why not."""
    for source in repository.python():
        if len(source.lines) > FILE_LINES_MAX:
            first = min((node.lineno for node in source.definitions), default=None)
            if not any(ESCAPE.match(line) for line in source.lines[:first]):
                yield f"{source.at(1)} {len(source.lines)} lines, at most {FILE_LINES_MAX}"


def short_functions(repository: Repository) -> Iterator[str]:
    """A function over 50 lines is split, or says above or on its first line why not."""
    for source in repository.python():
        for node in source.definitions:
            if isinstance(node, ast.ClassDef) or _length(node) <= FUNCTION_LINES_MAX:
                continue
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            beside = source.lines[max(first - 2, 0) : node.body[0].lineno]
            if not any(ESCAPE.search(line) for line in beside):
                length = f"{_length(node)} lines, at most {FUNCTION_LINES_MAX}"
                yield f"{source.at(node.lineno)} {node.name}: {length}"


def short_lines(repository: Repository) -> Iterator[str]:
    """Code is read side by side with other code: 100 columns."""
    for source in repository.files:
        if Path(source.path).suffix in CODE or Path(source.path).name == "Makefile":
            for number, line in enumerate(source.lines, 1):
                if len(line) > LINE_LENGTH_MAX:
                    yield f"{source.at(number)} {len(line)} columns, at most {LINE_LENGTH_MAX}"


# --- what must not be there -------------------------------------------------------------------

HOSTS = re.compile(
    r"\b(?:pypi\.org|files\.pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com"
    r"|repo1?\.maven(?:\.apache)?\.org|(?:static\.|index\.)?crates\.io|proxy\.golang\.org"
    r"|deb\.debian\.org|registry-1\.docker\.io|quay\.io|ghcr\.io)\b"
    r'|--(?:extra-)?index-url|--find-link[s]|"resolved"\s*:\s*"http|registry\s*=\s*http'
)
WORKPLACES = re.compile(r"(?<![\w.)\]}-])/(?:work|farm|root|home/\w+)/")
UNFINISHED = re.compile(r"#\s*(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")


def one_namespace(repository: Repository) -> Iterator[str]:
    """``casebook`` is shared by eight distributions; a file in it would hide seven of them."""
    for source in repository.matching(r"(?:.*/)?casebook/__init__\.pyi?"):
        yield f"{source.at(1)} the namespace package has no __init__"


def no_places(repository: Repository) -> Iterator[str]:
    """Where packages come from, and where a checkout lies, is the machine's to say."""
    for source in repository.files:
        if Path(source.path).name == "uv.lock":
            yield f"{source.at(1)} locks are requirements/*.txt; this one names hosts"
        for number, line in enumerate(source.lines, 1):
            for found in (HOSTS.search(line), WORKPLACES.search(line)):
                if found:
                    yield f"{source.at(number)} names a place: {found.group()}"


def no_skipped_tests(repository: Repository) -> Iterator[str]:
    """A test that does not run proves nothing: it runs, or it goes."""
    banned = {"skip", "skipif", "xfail", "importorskip", "skipTest", "skipUnless", "skipIf"}
    for source in repository.python("tests"):
        for node in ast.walk(source.tree):
            name = node.attr if isinstance(node, ast.Attribute) else None
            if name in banned or (
                isinstance(node, ast.ImportFrom)
                and node.module in ("pytest", "unittest")
                and banned & {alias.name for alias in node.names}
            ):
                yield f"{source.at(getattr(node, 'lineno', 1))} a test may not be skipped"


def nothing_unfinished(repository: Repository) -> Iterator[str]:
    """What is left to do is an issue, and what is not there is not called."""
    for source in repository.python():
        for number, line in enumerate(source.lines, 1):
            if UNFINISHED.search(line):
                yield f"{source.at(number)} a note to oneself"
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                yield f"{source.at(node.lineno)} a stub"


# --- what must be there -----------------------------------------------------------------------


def docstrings(repository: Repository) -> Iterator[str]:
    """Every public module, class and function of libs and services says what it is for."""
    for source in repository.python("libs", "services"):
        if source.text.strip() and not ast.get_docstring(source.tree):
            yield f"{source.at(1)} module without docstring"
        for node in _public(source.tree):
            if not ast.get_docstring(node):
                yield f"{source.at(node.lineno)} {node.name}: no docstring"


def _public(parent: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    for node in parent.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def events_have_examples(repository: Repository) -> Iterator[str]:
    """Examples are the corpus that later versions must still read, so each event has one."""
    examples = {Path(source.path).name for source in repository.matching(r".*/examples/.*\.json")}
    for source in repository.python("libs/events"):
        for node in source.definitions:
            name = _event_type(node)
            if name and f"{name}.json" not in examples:
                yield f"{source.at(node.lineno)} {node.name}: no examples/{name}.json"


def _event_type(node: Definition) -> str | None:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id="type"), value=ast.Constant(value=str(name))):
                return name if isinstance(node, ast.ClassDef) else None
    return None


def rules_cite(repository: Repository) -> Iterator[str]:
    """A rule comes from a handbook section, or is an assumption of ours and says so."""
    for source in repository.matching(DOMAIN):
        text = ast.get_docstring(source.tree) or ""
        if not re.search(r"handbook (?:section )?[1-8](?:\.[1-4])?\b|Assumption:", text):
            yield f"{source.at(1)} cites no handbook section and states no assumption"


def refusals_are_tested(repository: Repository) -> Iterator[str]:
    """Each refusal code is part of the interface, so a test sees it."""
    tests = "\n".join(source.text for source in repository.python("tests"))
    for source in repository.matching(DOMAIN):
        for node in ast.walk(source.tree):
            match node:
                case ast.Call(
                    func=ast.Name(id="Refused"), args=[ast.Constant(value=str(code)), *_]
                ):
                    if f'"{code}"' not in tests:
                        yield f"{source.at(node.lineno)} no test names the refusal {code}"


def dependencies_are_explained(repository: Repository) -> Iterator[str]:
    """Each package that we name ourselves has its reason on one page."""
    pages = "\n".join(source.text for source in repository.matching(r"docs/dependencies\.md"))
    for source in repository.matching(r"requirements/.*\.in"):
        for number, line in enumerate(source.lines, 1):
            name = re.match(r"[A-Za-z][\w.-]*", line)
            if name and f"| `{name.group()}` |" not in pages:
                yield f"{source.at(number)} docs/dependencies.md gives no reason for {name.group()}"


ROW, DELIMITER = re.compile(r"\s*\|"), re.compile(r"\s*\|(?:\s*:?-+:?\s*\|)+\s*")


def whole_tables(repository: Repository) -> Iterator[str]:
    """Rows of a table follow its head: no stray line between them is read as a row, or ends it."""
    for source in repository.matching(r".*\.md"):
        before, fenced = "", False
        for number, line in enumerate(source.lines, 1):
            fenced ^= line.lstrip().startswith("```")
            first = ROW.match(line) and not fenced and not ROW.match(before)
            if first and not DELIMITER.fullmatch("".join(source.lines[number : number + 1])):
                yield f"{source.at(number)} a row without a head: a stray line before it?"
            before = line


def readmes_are_maps(repository: Repository) -> Iterator[str]:
    """The README of a service names each module of it; routes are the business of its API docs."""
    modules = r"services/[^/]+/casebook/[^/]+/(?!api/)(?:[^/]+/)*(?!__init__)[^/]+\.py"
    for source in repository.matching(modules):
        service, module = source.path.split("/")[1], source.path.split("/", 4)[4]
        for readme in repository.matching(f"services/{service}/README\\.md"):
            if f"`{module}`" not in readme.text:
                yield f"{source.at(1)} {readme.path} does not name {module}"


PURE = {
    "__future__", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re",
    "statistics", "string", "typing", "unicodedata", "uuid", "zoneinfo",
    "pydantic", "casebook.events", "casebook.kit.decider",
}  # fmt: skip


def rules_are_pure(repository: Repository) -> Iterator[str]:
    """What a rule may import is a short list; import-linter holds the rest from the other side."""
    for source in repository.matching(DOMAIN):
        own = ".".join(Path(source.path).with_suffix("").parts[2:5])
        for node in ast.walk(source.tree):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            for module in modules:
                if not any(f"{module}.".startswith(f"{pure}.") for pure in {*PURE, own}):
                    yield f"{source.at(node.lineno)} a rule may not import {module}"


# --- running ----------------------------------------------------------------------------------

CHECKS: tuple[Callable[[Repository], Iterator[str]], ...] = (
    short_files,
    short_functions,
    short_lines,
    one_namespace,
    no_places,
    no_skipped_tests,
    nothing_unfinished,
    docstrings,
    events_have_examples,
    rules_cite,
    refusals_are_tested,
    rules_are_pure,
    dependencies_are_explained,
    whole_tables,
    readmes_are_maps,
)


def sizes(repository: Repository) -> Iterator[str]:
    """How large things are: the numbers that the limits are ratcheted by."""
    product = list(repository.python("libs", "services", "console"))
    tests = list(repository.python("tests"))
    for name, sources in (("product", product), ("tests", tests)):
        files = sorted(len(source.lines) for source in sources)
        functions = sorted(
            _length(node)
            for source in sources
            for node in source.definitions
            if not isinstance(node, ast.ClassDef)
        )
        spans = [f"{_spread(part)} lines per {what}" for what, part in
                 (("file", files), ("function", functions)) if part]  # fmt: skip
        yield f"{name}: {len(files)} files, {sum(files)} lines; " + "; ".join(spans)


def _spread(lengths: list[int]) -> str:
    high = lengths[-(-len(lengths) * 95 // 100) - 1]
    return f"median {median(lengths):g}, p95 {high}, max {lengths[-1]}"


def main() -> None:
    """Run every check on this repository; exit status 1 if one has a finding."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    repository = Repository(Path(__file__).parents[1])
    findings = [f"{line} ({check.__name__})" for check in CHECKS for line in check(repository)]
    for line in [*findings, *(f"tidy: {line}" for line in sizes(repository))]:
        print(line)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
