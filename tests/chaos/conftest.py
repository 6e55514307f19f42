"""One walled deployment for the faults of this folder that leave it whole again."""

from collections.abc import Iterator

import pytest

from tests.chaos.deployment import new_deployment
from tests.chaos.ground import Ground


@pytest.fixture(scope="package")
def ground() -> Iterator[Ground]:
    """Run five services whose doors to PostgreSQL and Kafka can be shut."""
    with new_deployment(doors=True) as deployment:
        yield Ground(deployment)
