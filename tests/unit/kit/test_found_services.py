"""Every service is found by the processes that rebuild its read models."""

from importlib import import_module

import pytest

from casebook.events.catalog import SERVICES
from casebook.kit.rebuild_worker import load


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_found_where_it_says(name: str) -> None:
    service = import_module(f"casebook.{name}.service").SERVICE
    assert service.found_at is not None
    assert load(service.found_at) is service
