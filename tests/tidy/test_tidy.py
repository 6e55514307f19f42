"""The repository keeps its style, and each check of it can fail."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.tidy import CHECKS, Repository, sizes

Check = Callable[[Repository], Iterator[str]]
THIS = Repository(Path(__file__).parents[2])

SHORT_FUNCTION = '"""M."""\n\n\ndef f():\n' + "    x = 1\n" * 49
LONG_FUNCTION = SHORT_FUNCTION + "    x = 1\n"
SHORT_FILE = '"""M."""\n' + "x = 1\n" * 399
LONG_FILE = SHORT_FILE + "x = 1\n"
DOMAIN = "services/intake/casebook/intake/domain/request.py"
EVENT = (
    '"""M."""\n\n\nclass RequestSubmitted(Event):\n    """E."""\n\n'
    '    type: ClassVar[str] = "casebook.request.submitted.v1"\n'
)
TABLE = "| a |\n|--:|\n| b |\n"
REFUSAL = '"""Rules (handbook 2.1)."""\n\nraise Refused("not-yet", "no")\n'

# Check, then a file that it dislikes and a neighbour of it that it likes.
PLANTED = [
    ("short_files", "tools/x.py", LONG_FILE, SHORT_FILE),
    ("short_functions", "tools/x.py", LONG_FUNCTION, SHORT_FUNCTION),
    ("short_functions", "tests/x.py", LONG_FUNCTION.replace("def", "async def"), "x = 1\n"),
    ("short_lines", "tools/x.sql", "-" * 101, "-" * 100),
    ("short_lines", "Makefile", "é" * 101, "é" * 100),
    ("no_places", "requirements/dev.txt", "--" + "index-url x\n", "--hash=sha256:0\n"),
    ("no_places", "package-lock.json", '{"resolved": ' + '"https://x/y.tgz"}', '{"resolved": 1}'),
    ("no_places", "docs/a.md", "from pypi" + ".org", "from the package index"),
    ("no_places", "docs/a.md", "see /" + "work/main/x", "see docs/work/main or /work-orders/"),
    ("no_skipped_tests", "tests/x.py", "import pytest\n@pytest.mark.skip\ndef f(): ...\n", "x = 1"),
    ("no_skipped_tests", "tests/x.py", "import pytest\npytest.skip('x')\n", "skip = 1\n"),
    ("no_skipped_tests", "tests/x.py", "from pytest import skip\n", "from pytest import raises\n"),
    ("nothing_unfinished", "tools/x.py", "# TO" + "DO later\n", "# done\n"),
    ("nothing_unfinished", "tools/x.py", "raise NotImplementedError\n", "raise ValueError\n"),
    ("docstrings", "libs/kit/x.py", '"""M."""\ndef f(): ...\n', '"""M."""\ndef _f(): ...\n'),
    ("docstrings", "libs/kit/x.py", "x = 1\n", '"""M."""\nx = 1\n'),
    ("docstrings", "services/x.py", '"""M."""\nclass C:\n    """C."""\n    def f(self): ...\n', ""),
    ("events_have_examples", "libs/events/x.py", EVENT, EVENT.replace("type:", "other:")),
    ("rules_cite", DOMAIN, '"""Rules."""\n', '"""Rules (handbook 2.1)."""\n'),
    ("rules_cite", DOMAIN, '"""See handbook 9."""\n', '"""Rules. Assumption: ours."""\n'),
    ("refusals_are_tested", DOMAIN, REFUSAL, '"""Rules (handbook 2.1)."""\n'),
    ("rules_are_pure", DOMAIN, "import time\n", "import datetime\n"),
    ("rules_are_pure", DOMAIN, "from casebook.kit import store\n", "import casebook.events.x\n"),
    ("rules_are_pure", DOMAIN, "from sqlalchemy import select\n",
     "from casebook.intake.domain.priority import level\n"),
    ("dependencies_are_explained", "requirements/dev.in", "ruff\n", "# ruff\n-r x.in\n"),
    ("whole_tables", "docs/a.md", TABLE + "XX\n| c |\n", TABLE + "| c |\n\nXX\n\n" + TABLE),
    ("whole_tables", "docs/a.md", TABLE + "\n| c |\n", TABLE + "\n```\n| c |\n```\n"),
]  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., Repository]:
    """A repository of its own with just these files in it."""

    def plant(**files: str) -> Repository:
        if not (tmp_path / ".git").exists():
            subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return Repository(tmp_path)

    return plant


def check_named(name: str) -> Check:
    return next(check for check in CHECKS if check.__name__ == name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_repository_is_tidy(check: Check) -> None:
    assert list(check(THIS)) == [], check.__doc__


@pytest.mark.parametrize(("name", "path", "bad", "good"), PLANTED)
def test_a_check_sees_what_it_is_for(
    planted: Callable[..., Repository], name: str, path: str, bad: str, good: str
) -> None:
    found = list(check_named(name)(planted(**{path: bad})))
    assert len(found) == 1
    assert found[0].startswith(f"{path}:")
    assert list(check_named(name)(planted(**{path: good}))) == []


def test_a_file_in_the_namespace_is_seen(planted: Callable[..., Repository]) -> None:
    repository = planted(**{"libs/kit/casebook/__init__.py": ""})
    assert len(list(check_named("one_namespace")(repository))) == 1


def test_a_lock_that_names_hosts_is_seen(planted: Callable[..., Repository]) -> None:
    assert len(list(check_named("no_places")(planted(**{"uv.lock": ""})))) == 1


def test_an_example_a_test_and_a_reason_satisfy(planted: Callable[..., Repository]) -> None:
    repository = planted(
        **{
            "libs/events/x.py": EVENT,
            "libs/events/examples/casebook.request.submitted.v1.json": "{}",
            DOMAIN: REFUSAL,
            "tests/x.py": 'assert code == "not-yet"\n',
            "requirements/dev.in": "ruff; sys_platform != 'x'\n",
            "docs/dependencies.md": "| `ruff` | lint |\n",
        }
    )
    assert list(check_named("events_have_examples")(repository)) == []
    assert list(check_named("refusals_are_tested")(repository)) == []
    assert list(check_named("dependencies_are_explained")(repository)) == []


def test_a_module_that_no_readme_names_is_seen(planted: Callable[..., Repository]) -> None:
    readme, here = "services/intake/README.md", "services/intake/casebook/intake"
    there = {f"{here}/app.py": "", f"{here}/api/views.py": "", f"{here}/api/__init__.py": ""}
    repository = planted(**{DOMAIN: "", readme: "| `domain/source.py`, `app.py` |"}, **there)
    (found,) = check_named("readmes_are_maps")(repository)
    assert found.startswith(f"{DOMAIN}:")
    repository = planted(**{readme: "| `domain/request.py`, `app.py` |"})
    assert list(check_named("readmes_are_maps")(repository)) == []


@pytest.mark.parametrize(("name", "bad"), [row[0:3:2] for row in PLANTED[:2]])
def test_a_size_is_excused_by_a_reason_only(
    planted: Callable[..., Repository], name: str, bad: str
) -> None:
    mark = "# tidy: whole because"
    excused = bad.replace("def", f"{mark} it is one table\ndef").replace(
        "x = 1", f"{mark} it is one table\nx = 1", 1 if name == "short_files" else 0
    )
    assert list(check_named(name)(planted(**{"tools/x.py": excused}))) == []
    without = excused.replace(" it is one table", "")
    assert len(list(check_named(name)(planted(**{"tools/x.py": without})))) == 1


def test_every_check_has_been_seen_to_fail() -> None:
    others = {"one_namespace", "readmes_are_maps"}
    assert {row[0] for row in PLANTED} | others == {c.__name__ for c in CHECKS}


def test_sizes_are_reported(record_property: Callable[[str, object], None]) -> None:
    report = list(sizes(THIS))
    record_property("sizes", report)
    assert [line.split(":")[0] for line in report] == ["product", "tests"]
