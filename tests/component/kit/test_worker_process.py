"""The worker process: it computes elsewhere, is kept, is replaced, and ends with its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from casebook.kit.worker_process import in_process

STARTED = """
import asyncio, os, signal, time
from casebook.kit.worker_process import in_process
if __name__ == "__main__":
    print(asyncio.run(in_process(os.getpid)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_one_process_computes_for_all_calls() -> None:
    found = await asyncio.gather(*(in_process(os.getpid) for _ in range(3)))
    assert len(set(found)) == 1
    assert found[0] != os.getpid()


async def test_an_error_of_the_work_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_process(divmod, 1, 0)


async def test_a_process_that_was_killed_is_started_again() -> None:
    before = await in_process(os.getpid)
    os.kill(before, signal.SIGKILL)
    assert await in_process(os.getpid) != before


def test_it_ends_with_a_parent_that_is_killed(tmp_path: pytest.TempPathFactory) -> None:
    script = f"{tmp_path}/parent.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(STARTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = int(done.stdout)
    until = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < until, "the worker process outlived its parent"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
