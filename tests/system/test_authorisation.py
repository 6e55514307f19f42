"""The doors of the platform: what is served is what is described, and each has a row of a policy.

What every role may do through them, cell by cell, is ``test_authorisation_matrix``.
"""

from collections.abc import Iterator, Mapping

import pytest

from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.platform.runner import create_apps
from tests.support.interface import Operation, operations
from tests.support.judging import check
from tests.support.stage import Stage, stage

APPS = create_apps(Settings(database_url=""))
SERVICES: Mapping[str, Service] = {name: app.state.runtime.service for name, app in APPS.items()}
OPERATIONS = operations({name: app.openapi() for name, app in APPS.items()})
INSIDE = {"request.read-staff", "request.read-restricted", "request.submit-on-behalf"}
"""Rows that decide what a reader sees, or a submitter may say, inside of another operation."""

OPEN = {"/livez", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("doors")) as found:
        yield found


def without_row(found: list[Operation]) -> list[str]:
    """Return the operations that the policy of their service does not know."""
    return [o.name for o in found if o.row not in SERVICES[o.service].policy.operations]


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    assert len(OPERATIONS) > 100
    assert without_row(OPERATIONS) == []
    for name, service in SERVICES.items():
        used = {operation.row for operation in OPERATIONS if operation.service == name}
        assert used | (INSIDE if name == "intake" else set()) == set(service.policy.operations)


@pytest.mark.parametrize("row", [None, "request.forgotten"])
def test_an_operation_without_a_row_is_noticed(row: str | None) -> None:
    described = OPERATIONS[0].described | {"x-casebook-operation": row}
    planted = Operation("intake", "GET", "/intake/v1/planted", described, OPERATIONS[0].document)
    assert without_row([*OPERATIONS, planted]) == [planted.name]


def test_what_is_served_is_what_is_described(platform: Stage) -> None:
    """No door beside the documented ones: the running platform publishes the same operations."""
    served = {(o.name, o.method, o.template, o.row) for o in platform.operations}
    assert served == {(o.name, o.method, o.template, o.row) for o in OPERATIONS}
    for service in SERVICES:
        for path in ("admin", "debug", "internal", "v1", "v2/requests", "v1/", "../intake/v1/lag"):
            answer = platform.client.get(f"/{service}/{path}")
            assert check(answer, 401, 404, what=path) in {"unauthenticated", "not-found"}


def test_what_is_open_without_a_token_tells_nothing_of_anybody(platform: Stage) -> None:
    for path in OPEN:
        answer = platform.client.get(path)
        assert answer.status_code == 200
        for secret in (platform.values["request_id"], "wang", "服务台"):
            assert secret not in answer.text
