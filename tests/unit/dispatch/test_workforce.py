import pytest

from casebook.dispatch.domain import agent as agents
from casebook.dispatch.domain import team as teams
from casebook.dispatch.domain.agent import Agent
from casebook.dispatch.domain.team import Team
from casebook.events.workforce import (
    AgentAvailabilityChanged,
    AgentCapacityChanged,
    AgentEvent,
    AgentRegistered,
    AgentSkillGranted,
    AgentTeamChanged,
    TeamCreated,
)
from tests.unit.dispatch.given import fact, given_agent, refusal

REGISTERED = AgentRegistered(agent="li.na", name="李娜", team="network", capacity=4)
SKILLED = AgentSkillGranted(skill="networking", level=3)
LI_NA = given_agent(REGISTERED, SKILLED)
CREATED = TeamCreated(team="network", name="网络组")


def network() -> Team:
    created = fact(CREATED)
    return teams.evolve(Team(), CREATED, created.envelope)


def test_a_team_is_created_once() -> None:
    assert teams.create(Team(), team_id="network", name="网络组") == [CREATED]
    assert teams.create(network(), team_id="network", name="网络组") == []
    assert teams.access(network()).team == "network"


def test_a_team_keeps_its_name() -> None:
    assert refusal(lambda: teams.create(network(), team_id="network", name="x")) == "team-exists"
    assert refusal(lambda: teams.guard(network(), CREATED)) == "team-exists"
    teams.guard(Team(), CREATED)


def register(agent: Agent, capacity: int = 4) -> list[AgentEvent]:
    return agents.register(
        agent,
        agent_id="li.na",
        name="李娜",
        team="network",
        capacity=capacity,
        skills={"networking": 3},
    )


def test_an_agent_is_registered_with_skills() -> None:
    assert register(Agent()) == [REGISTERED, SKILLED]
    assert LI_NA.skills == {"networking": 3}
    assert LI_NA.available
    assert LI_NA.name is not None
    assert (agents.access(LI_NA).team, agents.access(LI_NA).assignee) == ("network", "li.na")


def test_a_lead_may_be_registered_without_being_available() -> None:
    events = agents.register(
        Agent(), agent_id="he.jun", team="network", capacity=1, skills={}, available=False
    )
    assert events[-1] == AgentAvailabilityChanged(available=False)
    assert not given_agent(*events).available


def test_the_same_registration_adds_nothing() -> None:
    assert register(LI_NA) == []


def test_another_registration_is_refused() -> None:
    assert refusal(lambda: register(LI_NA, capacity=5)) == "agent-exists"


def test_properties_change_one_by_one_and_once() -> None:
    assert agents.grant_skill(LI_NA, skill="sql", level=2) == [
        AgentSkillGranted(skill="sql", level=2)
    ]
    assert agents.grant_skill(LI_NA, skill="networking", level=3) == []
    assert agents.change_capacity(LI_NA, capacity=1) == [AgentCapacityChanged(capacity=1)]
    assert agents.change_capacity(LI_NA, capacity=4) == []
    assert agents.change_team(LI_NA, team="security") == [AgentTeamChanged(team="security")]
    assert agents.change_team(LI_NA, team="network") == []
    assert agents.change_availability(LI_NA, available=False) == [
        AgentAvailabilityChanged(available=False)
    ]
    assert agents.change_availability(LI_NA, available=True) == []


def test_changes_are_remembered() -> None:
    agent = given_agent(
        REGISTERED,
        SKILLED,
        AgentSkillGranted(skill="networking", level=5),
        AgentCapacityChanged(capacity=1),
        AgentTeamChanged(team="security"),
        AgentAvailabilityChanged(available=False),
    )
    assert agent.skills == {"networking": 5}
    assert (agent.capacity, agent.team, agent.available) == (1, "security", False)


def test_nobody_unknown_changes() -> None:
    for command in (
        lambda: agents.grant_skill(Agent(), skill="sql", level=1),
        lambda: agents.change_capacity(Agent(), capacity=1),
        lambda: agents.change_team(Agent(), team="a"),
        lambda: agents.change_availability(Agent(), available=True),
        lambda: agents.guard(Agent(), SKILLED),
    ):
        assert refusal(command) == "agent-unknown"


@pytest.mark.parametrize("event", [SKILLED, AgentCapacityChanged(capacity=2)])
def test_published_changes_of_a_known_agent_pass(event: AgentEvent) -> None:
    agents.guard(LI_NA, event)
    agents.guard(Agent(), REGISTERED)
    assert refusal(lambda: agents.guard(LI_NA, REGISTERED)) == "agent-exists"
