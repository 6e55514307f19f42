"""docs/handbook.md: section → rule → code → test, from the sections that the code cites."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from casebook.events.catalog import SERVICES
from tools.pages.markdown import document, first_line, table
from tools.pages.python import Text, files, imports, sections, texts
from tools.pages.routes import Route, callers

CHAPTERS = {
    "1": ("Overview", "信息技术服务概述"),
    "2": ("Service process", "服务流程管理"),
    "3": ("Quality management and control", "质量管理与控制"),
    "4": ("Delivery and support", "服务交付与支持"),
    "5": ("Risk management", "服务风险管理"),
    "6": ("Performance", "服务绩效评估"),
    "7": ("Continual improvement", "服务持续改进"),
    "8": ("Appendix", "附录与参考文献"),
}
SECTIONS = {
    "1.1": ("Definition and classification", "定义与分类"),
    "1.2": ("Process framework", "流程框架"),
    "1.3": ("Quality management principles", "服务质量管理原则"),
    "1.4": ("Service life cycle", "服务生命周期"),
    "2.1": ("Request process", "服务请求流程"),
    "2.2": ("Assignment and handling", "服务分配与处理"),
    "2.3": ("Execution and monitoring", "服务执行与监控"),
    "2.4": ("Closure and archiving", "服务关闭与归档"),
    "3.1": ("Quality management system", "质量管理体系建设"),
    "3.2": ("Indicators and evaluation", "质量指标与评估"),
    "3.3": ("Improvement and optimisation", "质量改进与优化"),
    "3.4": ("Audit and compliance checks", "质量审计与合规性检查"),
    "4.1": ("Delivery process", "服务交付流程"),
    "4.2": ("Support and response", "服务支持与响应"),
    "4.3": ("Documents and knowledge", "服务文档与知识管理"),
    "4.4": ("Training and capability", "服务培训与能力提升"),
    "5.1": ("Identification and assessment", "风险识别与评估"),
    "5.2": ("Response strategies", "风险应对策略"),
    "5.3": ("Monitoring and control", "风险监控与控制"),
    "5.4": ("Reporting and communication", "风险报告与沟通"),
    "6.1": ("Indicator system", "服务绩效指标体系"),
    "6.2": ("Analysis and reports", "服务绩效分析与报告"),
    "6.3": ("Improvement measures", "服务绩效改进措施"),
    "6.4": ("Appraisal and incentives", "服务绩效考核与激励"),
    "7.1": ("Mechanism", "持续改进机制建立"),
    "7.2": ("Process and methods", "持续改进流程与方法"),
    "7.3": ("Evaluation of results", "持续改进成果评估"),
    "7.4": ("Culture", "持续改进文化培育"),
    "8.1": ("Terms", "术语解释与定义"),
    "8.2": ("Process and other diagrams", "服务流程图与示意图"),
    "8.3": ("References and standards", "参考文献与规范标准"),
}

INTRODUCTION = (
    "# The handbook, and where it is implemented",
    "",
    "Casebook implements 信息技术服务流程与质量管理手册, the handbook of IT service processes and",
    "quality management. Of it only the table of contents and the text of 1.1–1.4, 2.1 and the",
    "opening of 2.2 are known. Every rule below cites its section; what the handbook does not say",
    "is marked as an assumption of ours.",
)
CODE = ("services/*/casebook/*/**/*.py", "libs/events/casebook/events/*definitions.py")
TESTS = ("tests/**/test_*.py",)
RULES = re.compile(r"/domain/|/policy\.py$|definitions\.py$")


@dataclass(frozen=True, slots=True)
class Test:
    """A test file: its path, what it imports, and its source."""

    path: str
    imports: frozenset[str]
    source: str

    def covers(self, text: Text) -> bool:
        """Say whether the tests import the module of a rule, and name the rule if it has one."""
        module = f"casebook.{_module(text.path)}"
        name = (text.name or "").rpartition(".")[2]
        return module in self.imports and name in self.source


@dataclass(frozen=True, slots=True)
class Tests:
    """All test files, and which of them call which operation of a service."""

    files: Sequence[Test]
    callers: Mapping[str, Mapping[Route, Sequence[str]]]

    @classmethod
    def of(cls, root: Path) -> "Tests":
        """Read them."""
        found = [_test(root, path) for path in files(root, *TESTS)]
        return cls(found, {name: callers(root, name) for name in SERVICES})

    def of_rule(self, text: Text) -> list[str]:
        """Return the test files that cover a rule: they import it, or call its operations."""
        return sorted(
            {test.path for test in self.files if test.covers(text)} | set(self._calling(text))
        )

    def _calling(self, text: Text) -> Iterator[str]:
        """Yield the component tests that call an operation of this rule, module or service."""
        folder, name = text.path.removesuffix("__init__.py"), text.name
        for route, tests in self.callers.get(text.path.split("/")[1], {}).items():
            if name is None:
                its = route.path.startswith(folder)
            else:
                its = route.path.startswith(f"{_api(text.path)}/") and name in (
                    route.function, *route.names,
                )  # fmt: skip
            if its:
                yield from tests


def page(root: Path) -> str:
    """Return the page."""
    code, cited = _by_section(root, CODE), _by_section(root, TESTS)
    tests = Tests.of(root)
    lines = [*INTRODUCTION, ""]
    for chapter, (title, chinese) in CHAPTERS.items():
        lines += [f"## {chapter} {title} {chinese}", ""]
        for section, names in SECTIONS.items():
            if section.startswith(chapter):
                lines += [f"### {section} {names[0]} {names[1]}", ""]
                rules = [(text, tests.of_rule(text)) for text in code.get(section, [])]
                lines += [*_section(rules, cited.get(section, [])), ""]
    return document(lines)


def untested(root: Path) -> list[str]:
    """Return the places of rules, rights and definitions on the page that no test covers."""
    tests = Tests.of(root)
    return sorted(
        {
            _label(text)
            for rules in _by_section(root, CODE).values()
            for text in rules
            if RULES.search(text.path) and not tests.of_rule(text)
        }
    )


def _section(rules: list[tuple[Text, list[str]]], cited: list[Text]) -> Iterator[str]:
    """Yield what is known about one section."""
    if not rules:
        yield "Not yet."
        return
    rows = ((_rule(text), _place(text), _links(tests)) for text, tests in rules)
    yield from table(("Rule", "Code", "Tests"), rows)
    if cited:
        yield ""
        yield f"Tests of the section: {_links(text.path for text in cited)}."


def _test(root: Path, path: Path) -> Test:
    """Return a test file."""
    source = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    return Test(name, frozenset(imports(ast.parse(source))), source)


def _links(paths: Iterable[str]) -> str:
    """Return links to test files."""
    unique = dict.fromkeys(paths)
    return ", ".join(f"[{path.removeprefix('tests/')}](../{path})" for path in unique)


def _rule(text: Text) -> str:
    """Return what a text says, in a line."""
    assumed = "Assumption:" in text.text and not text.text.startswith("Assumption:")
    return first_line(text.text) + (" *(with an assumption)*" if assumed else "")


def _place(text: Text) -> str:
    """Return a link to the code."""
    return f"[{_label(text)}](../{text.path})"


def _label(text: Text) -> str:
    """Return the dotted name of a rule below the namespace."""
    module = _module(text.path)
    return f"{module}.{text.name}" if text.name else module


def _api(path: str) -> str:
    """Return the folder of a service's operations, if the path is in it."""
    folder = path.rpartition("/")[0]
    return folder if folder.endswith("/api") else "no operations"


def _module(path: str) -> str:
    """Return a module's name below the namespace."""
    name = path.partition("casebook/")[2].removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def _by_section(root: Path, patterns: tuple[str, ...]) -> dict[str, list[Text]]:
    """Return the texts that cite each section."""
    found: dict[str, list[Text]] = {}
    for path in files(root, *patterns):
        for text in texts(root, path):
            for section in sections(text.text):
                found.setdefault(section, []).append(text)
    return found
