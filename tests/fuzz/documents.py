"""Schemathesis over the five OpenAPI documents, against the running platform.

All of its phases and checks: examples, boundaries of every schema, random requests, and chains of
operations along the links that it finds between them.
"""

import warnings
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.fuzz.ground import Ground
from tests.fuzz.outcome import Outcome
from tests.support.interface import SERVICES

KIND = "requests by schemathesis"
REFUSALS = ["2xx", "400", "403", "404", "409", "412", "413", "414", "415", "422", "428", "429"]
"""What a request that the schema allows may get: rules of text and of state are in no schema."""

REJECTIONS = [
    "400", "401", "403", "404", "405", "406", "409", "412", "413", "414", "415", "422", "428",
    "429",
]  # fmt: skip
"""What a request that the schema forbids may get. Beyond what the check expects by itself: 412, for
a version that never was, 413, for a batch of too many events, and 414, for an address that grew too
long with what it holds; but no failure (5xx)."""

ACCEPTED = 202


def fuzz(ground: Ground, number: int, examples: int, *, boundaries: bool) -> Outcome:
    """Run the engine over every service; ``boundaries`` adds the phase with the most cases."""
    outcome = Outcome()
    for service in SERVICES:
        _run(ground, service, number, examples, outcome, boundaries=boundaries)
    return outcome


def _run(
    ground: Ground, service: str, number: int, examples: int, outcome: Outcome, *, boundaries: bool
) -> None:
    """Run the engine over one document; what all services have is tried at one of them."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": number,
            "base-url": ground.url,
            "headers": ground.everybody,
            "generation": {"max-examples": examples, "database": "none"},
            "phases": {"coverage": {"enabled": boundaries}},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": REFUSALS},
                "negative_data_rejection": {"expected-statuses": REJECTIONS},
            },
        }
    )
    schema: Any = schemathesis.openapi.from_dict(ground.cast.documents[service], config=config)
    schema.location = f"{ground.url}/{service}/openapi.json"
    if service != "risk" and not boundaries:
        schema = schema.exclude(tag="operations")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                _note(event, outcome)
            elif isinstance(event, events.Interrupted):
                raise KeyboardInterrupt  # the engine keeps Ctrl-C to itself
            elif isinstance(event, events.FatalError):
                outcome.fail(f"{service}: {event.exception!r}")


def _note(event: events.ScenarioFinished, outcome: Outcome) -> None:
    """Count the requests of a scenario, and keep what its checks found."""
    recorder: Any = event.recorder
    for interaction in recorder.interactions.values():
        outcome.cases[KIND] += 1
        if interaction.response is not None:
            outcome.answers[str(interaction.response.status_code)] += 1
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None and not (
                check.name == "negative_data_rejection"
                and _is_rejected_in_a_batch(recorder.interactions[case].response)
            ):
                failure = check.failure_info
                outcome.fail(
                    f"{recorder.label}: {check.name}: {failure.failure.message}\n"
                    f"{failure.code_sample}"
                )


def _is_rejected_in_a_batch(response: Any) -> bool:
    """Say whether the answer to a batch, whose events are judged one by one, rejects one."""
    if response is None or response.status_code != ACCEPTED:
        return False
    outcomes = {result["outcome"] for result in response.json()["results"]}
    return bool(outcomes & {"malformed", "refused", "quarantined"})
