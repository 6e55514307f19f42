"""kill -9 of services, PostgreSQL and Kafka under load: nothing is lost, nothing happens twice."""

from collections import Counter
from pathlib import Path

from tests.chaos.kills.campaign import FAILPOINTS
from tests.chaos.kills.conftest import Site
from tests.support.figures import Tell
from tests.support.production import SERVICES

KILLS = 22


def test_whatever_is_killed_nothing_is_lost_and_nothing_happens_twice(
    site: Site, tmp_path: Path, tell: Tell
) -> None:
    campaign = site.campaign
    history = campaign.workload.history
    site.run(campaign.strike(KILLS))
    site.run(campaign.cover())
    violations = site.run(campaign.judge())
    history.write(tmp_path / "history.jsonl")
    assert [str(violation) for violation in violations] == [], tmp_path / "history.jsonl"
    kills = ", ".join(f"{name} {count}" for name, count in sorted(campaign.kills.items()))
    hits = ", ".join(f"{name} {campaign.deployment.hits[name]}" for name in FAILPOINTS)
    tell(f"kills: {kills}; failpoints: {hits}; commands: {dict(history.counts())}")
    assert campaign.total >= KILLS
    assert campaign.kills.keys() >= {*SERVICES, "postgres", "kafka"}
    assert campaign.deployment.hits.keys() >= FAILPOINTS.keys()
    assert history.counts()["commands ok"] >= 100
    statuses = Counter(op.status for op in history.ops)
    assert statuses[500] == 0, [op for op in history.ops if op.status == 500][:5]
