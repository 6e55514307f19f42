"""One deployment for the tests of this folder: first in peace, to record what is clean."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.deployment import new_deployment
from tests.chaos.history import History
from tests.chaos.kills.campaign import Campaign
from tests.chaos.snapshot import Snapshot

SEED = 20261128
ENOUGH = {
    "submit": 15, "comment": 10, "accept": 8, "start": 4, "read_own": 10, "timeline": 6,
    "list_requests": 5, "list_queue": 4, "publish_intake": 4, "publish_dispatch": 3,
}  # fmt: skip


class Site:
    """A campaign, and the loop that its clients live in."""

    def __init__(self, campaign: Campaign, runner: asyncio.Runner) -> None:
        self.campaign = campaign
        self.run = runner.run


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Run five processes on a PostgreSQL and a Kafka of their own, with people at work."""
    with new_deployment() as deployment, asyncio.Runner() as runner:
        campaign = Campaign.of(deployment, SEED)
        runner.run(campaign.workload.prepare())
        yield Site(campaign, runner)
        runner.run(campaign.workload.close())


@pytest.fixture(scope="module")
def recorded(site: Site) -> tuple[Snapshot, History]:
    """Return what a deployment holds and what its clients were told, without any fault."""
    assert not site.campaign.total, "this must be recorded before anything is killed"
    site.run(site.campaign.calm(**ENOUGH))
    return site.run(site.campaign.rest()), site.campaign.workload.history
