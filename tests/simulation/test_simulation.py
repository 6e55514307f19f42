"""A thousand schedules of the real code hold every invariant; the planted bugs do not."""

from collections.abc import Iterator

import pytest

from tests.simulation.planted import PLANTED, plant
from tests.simulation.run import outcomes_of
from tests.simulation.simulation import STEPS_MIN, run_seed
from tests.simulation.stage import Stage, staged
from tests.support.figures import Tell

SEEDS = 1_000
GROUPS = 20
PLANTED_SEEDS_MAX = 200


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Prepare what every seed begins with, once."""
    with staged() as prepared:
        yield prepared


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_schedule_holds_the_invariants(stage: Stage, group: int) -> None:
    for seed in range(group + 1, SEEDS + 1, GROUPS):
        outcome = run_seed(seed, stage)
        replay = f"make simulate SEEDS={seed}..{seed} TRACE=1"
        assert outcome.failure is None, f"seed {seed}: {outcome.failure}; {replay}"
        assert outcome.steps >= STEPS_MIN, f"seed {seed} has {outcome.steps} steps only"


def test_a_seed_is_one_schedule(stage: Stage) -> None:
    first, second = run_seed(7, stage, tracing=True), run_seed(7, stage, tracing=True)
    assert first.digest == second.digest
    assert first.traces == second.traces


def test_processes_run_the_schedules_that_one_runs(stage: Stage) -> None:
    """``--jobs`` changes who runs a seed, not what happens in it."""
    seeds = [range(2750, 2756), range(2756, 2762)]
    aside = [outcome for outcomes in outcomes_of(seeds, jobs=2) for outcome in outcomes]
    here = [run_seed(outcome.seed, stage) for outcome in aside]
    assert [(one.seed, one.failure, one.digest) for one in aside] == [
        (one.seed, None, one.digest) for one in here
    ]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(stage: Stage, name: str, tell: Tell) -> None:
    with plant(name):
        for seed in range(1, PLANTED_SEEDS_MAX + 1):
            outcome = run_seed(seed, stage)
            if outcome.failure is not None:
                tell(f"{name}: seed {seed}: {outcome.failure[:100]}")
                return
    pytest.fail(f"{name} was not found within {PLANTED_SEEDS_MAX} seeds")
