"""Chaos before trust: the reader's proof of decisions 3.12, on the real code and real Kafka."""

import secrets
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from casebook.kit.bookkeeping import checkpoints
from casebook.kit.log.event_log import PARTITIONS
from tests.component.kit.chaos import judge, run
from tests.support.figures import Tell
from tests.support.kafka import create_topic, kafka_for_tests
from tests.support.service import Bench, open_bench
from tests.support.toy import dispatch, intake

SEED = 20260302
ROUNDS_MAX = 10
# Members are cut off in the middle of what the Kafka client does; it leaves connections behind.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncGenerator[Bench]:
    topic = f"test.{secrets.token_hex(6)}"
    await create_topic(kafka_for_tests(), topic, PARTITIONS)
    settings: dict[str, Any] = {"kafka_bootstrap": kafka_for_tests(), "kafka_topic": topic}
    async with open_bench(tmp_path, intake(), dispatch(), **settings) as prepared:
        yield prepared


async def test_every_effect_happens_once_whatever_happens_to_the_readers(
    kafka: Bench, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    started = time.monotonic()
    chaos, written = await run(kafka, monkeypatch, seed=SEED, cases=330, rejoins=12)
    await judge(chaos, written)
    seconds = time.monotonic() - started
    done = ", ".join(f"{number} {what}" for what, number in sorted(chaos.counts.items()))
    tell(f"chaos, seed {SEED}: {written} events written, {done}, {seconds:.1f} s")
    counts = chaos.counts
    assert written >= 6_000
    assert counts["partitions"] >= 6
    assert counts["leaves and rejoins"] >= 10
    for what in ("zombies", "rollbacks", "relay crashes", "redeliveries", "handler errors"):
        assert counts[what] > 0, f"no {what}: nothing was proved"


async def test_without_the_lock_it_goes_wrong(
    kafka: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof can fail: without the lock on the checkpoints, double work is done and caught."""
    unlocked = checkpoints._LOCK.replace("FOR UPDATE", "")  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(checkpoints, "_LOCK", unlocked)
    written = 0
    with pytest.raises(AssertionError):  # noqa: PT012 - wrong, or halted
        for seed in range(SEED, SEED + ROUNDS_MAX):  # two have to meet, which takes some luck
            written += await _round(kafka, monkeypatch, seed, written)


async def _round(bench: Bench, patch: pytest.MonkeyPatch, seed: int, before: int) -> int:
    """Run some cases with zombies at work and judge everything; return how much was written."""
    chaos, written = await run(
        bench, patch, seed=seed, cases=60, rejoins=1,
        zombie_share=0.5, within_share=1.0,
    )  # fmt: skip
    await judge(chaos, before + written)
    return written
