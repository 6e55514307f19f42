"""Failpoints: off by default, armed by a text that is checked, and final where they are hit."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import pytest

from casebook.kit import failpoints

DIE = """
import sys
from casebook.kit.failpoints import arm, reach
arm(sys.argv[1])
for number in range(5):
    reach("after-promotion")
    reach("after-commit")
    print(number, flush=True)
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def run(text: str) -> "subprocess.CompletedProcess[str]":
    """Pass two failpoints in a process of its own, five times."""
    return subprocess.run(
        [sys.executable, "-c", DIE, text], capture_output=True, text=True, check=False
    )


def test_nothing_happens_where_nothing_is_armed() -> None:
    for name in get_args(failpoints.AfterCommit):
        failpoints.reach(name)
    assert run("").stdout.split() == ["0", "1", "2", "3", "4"]
    assert run("between-send-and-delete=kill").returncode == 0


@pytest.mark.parametrize(
    ("text", "passed"), [("after-commit=kill", []), ("after-commit=kill@3", ["0", "1"])]
)
def test_a_process_dies_at_the_passing_it_was_armed_for(text: str, passed: list[str]) -> None:
    done = run(text)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == passed
    assert done.stderr == '{"event": "failpoint.hit", "failpoint": "after-commit"}\n'


def test_a_process_can_be_frozen_instead() -> None:
    words = [sys.executable, "-c", DIE, "after-commit=stop@2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "0\n"
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            assert os.WSTOPSIG(status) == signal.SIGSTOP
            child.send_signal(signal.SIGCONT)
            assert child.stdout.read().split() == ["1", "2", "3", "4"]
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere=kill", "unknown failpoint 'nowhere': there are after-commit, between"),
        ("after-commit=explode", "unknown action 'explode': there are kill, stop"),
        ("after-commit", "unknown action ''"),
        ("after-commit=kill@0", "'0' is no passing; the first is 1"),
        ("after-commit=kill@0.02", "'0.02' is no passing"),
        ("after-commit=kill,after-promotion=kill@x", "after-promotion: 'x' is no passing"),
    ],
)
def test_what_cannot_be_armed_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|no passing") as refused:
        failpoints.arm(text)
    assert reason in str(refused.value)


def test_every_name_is_listed() -> None:
    assert len(failpoints.NAMES) == len(set(failpoints.NAMES)) == 6
