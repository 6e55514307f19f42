"""Schemas and generated pages are what the code says today."""

from pathlib import Path

import pytest

from casebook.events.catalog import EVENTS
from casebook.events.schemas import schema
from tools.catalog import pages, stale, write
from tools.pages.handbook import SECTIONS, page, untested
from tools.pages.python import sections
from tools.pages.routes import callers
from tools.revisions import Schemas

ROOT = Path(__file__).parents[2]


def test_the_schemas_are_fresh() -> None:
    assert Schemas(ROOT).stale() == [], "run: make docs"


def test_the_pages_are_fresh() -> None:
    stale = [
        path
        for path, text in pages(ROOT).items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: make docs"


def test_what_is_written_is_fresh(tmp_path: Path) -> None:
    assert {path.split(":")[0] for path in stale(tmp_path)} == set(
        write(tmp_path, unreleased=False)
    )
    assert stale(tmp_path) == []
    (tmp_path / "docs" / "refusals.md").write_text("older")
    assert stale(tmp_path) == ["docs/refusals.md: stale"]
    assert write(tmp_path, unreleased=False) == ["docs/refusals.md"]


def test_every_event_is_on_the_page_with_its_schemas() -> None:
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for type_, event in EVENTS.items():
        assert f"| `{type_}` | {event.audience} |" in text
        for side in ("log", "ingress"):
            path = Schemas(ROOT).current(type_, side)
            assert path.name in text
            assert schema(event, side)["$id"].startswith(f"urn:casebook:schema:{type_}")


def test_every_section_of_the_handbook_is_on_its_page() -> None:
    text = (ROOT / "docs" / "handbook.md").read_text(encoding="utf-8")
    for section, names in SECTIONS.items():
        assert f"### {section} {' '.join(names)}\n" in text


def test_every_rule_right_and_definition_on_the_page_has_a_test() -> None:
    assert untested(ROOT) == []


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("(handbook 5.1–5.3)", ["5.1", "5.2", "5.3"]),
        ("handbook 2.1 (final confirmation), 3.4", ["2.1", "3.4"]),
        ("handbook 1.3,\n    3.3 and 3.4", ["1.3", "3.3", "3.4"]),
        ("Handbook 2.1 gives 24 hours, and 2.2 a set time", ["2.1", "2.2"]),
        ("decisions 7.3; handbook 2.1 says more", ["2.1"]),
        ("(handbook 2.1; decisions 7.2 and 6.1)", ["2.1"]),
        ("handbook 2.1. Then 3.4", ["2.1"]),
        ("handbook 3", []),
        ("handbook 9.1", []),
    ],
)
def test_a_citation_is_read(text: str, cited: list[str]) -> None:
    assert sections(text) == cited


def test_a_rule_is_shown_with_its_code_and_its_tests(tmp_path: Path) -> None:
    domain = tmp_path / "services" / "intake" / "casebook" / "intake" / "domain"
    domain.mkdir(parents=True)
    docstring = '"""Close (handbook 2.4).\n\n    Assumption: x.\n    """'
    rules = f'"""Rules."""\n\n\ndef close():\n    {docstring}\n'
    (domain / "closing.py").write_text(rules)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_close.py").write_text(
        "from casebook.intake.domain.closing import close\n"
    )
    (tmp_path / "tests" / "test_other.py").write_text("from casebook.intake.domain import other\n")
    text = page(tmp_path)
    assert (
        "| Close (handbook 2.4). *(with an assumption)* "
        "| [intake.domain.closing.close](../services/intake/casebook/intake/domain/closing.py) "
        "| [test_close.py](../tests/test_close.py) |"
    ) in text
    assert "### 2.3 Execution and monitoring 服务执行与监控\n\nNot yet.\n" in text


def test_a_rule_without_a_test_is_named(tmp_path: Path) -> None:
    domain = tmp_path / "services" / "intake" / "casebook" / "intake" / "domain"
    domain.mkdir(parents=True)
    (domain / "closing.py").write_text('"""Closing (handbook 2.4)."""\n')
    assert untested(tmp_path) == ["intake.domain.closing"]


def test_an_operation_is_shown_with_the_component_tests_that_call_it(tmp_path: Path) -> None:
    """Directly, by a helper of theirs, after the address of a thing, or one name of several."""
    api = tmp_path / "services" / "risk" / "casebook" / "risk" / "api"
    tests = tmp_path / "tests" / "component" / "risk"
    for folder in (api, tests):
        folder.mkdir(parents=True)
    (api / "risks.py").write_text(
        "@router.get('/risks/{id}')\ndef get_risk(): ...\n"
        "@router.put('/risks/{id}/closure')\ndef close_risk(body: Reason): ...\n"
        "@router.get('/risks/heatmap')\ndef get_heat_map(): ...\n"
    )
    (tests / "desk.py").write_text(
        "RISKS = '/risk/v1/risks'\ndef send(client, name): client.put(f'/risks/{id}/{name}')\n"
    )
    called = {
        "test_read.py": "get(f'{RISKS}/{id}')",
        "test_helper.py": "send(client, 'closure')",
        "test_after.py": "put(f'{path}/closure')",
        "test_names.py": "for name in ('closure', 'x'): put(f'/risks/{id}/{name}')",
        "test_map.py": "get(f'{RISKS}/heatmap')",
        "test_other.py": "closure = '/risk/v1/events'",
    }
    for name, source in called.items():
        (tests / name).write_text(source)
    found = {
        route.function: [path.rpartition("/")[2] for path in paths]
        for route, paths in callers(tmp_path, "risk").items()
    }
    assert found == {
        "get_risk": ["test_read.py"],
        "close_risk": ["test_after.py", "test_helper.py", "test_names.py"],
        "get_heat_map": ["test_map.py"],
    }
