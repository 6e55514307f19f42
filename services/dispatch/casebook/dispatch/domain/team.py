"""Teams: where requests are routed to (handbook 2.2)."""

from dataclasses import dataclass

from casebook.events.envelope import Envelope
from casebook.events.workforce import TeamCreated, TeamEvent
from casebook.kit.decider import Access, Refused


@dataclass(frozen=True, slots=True)
class Team:
    """A team as its facts tell it; without a name it does not exist yet."""

    team: str | None = None
    name: str = ""


def access(team: Team) -> Access:
    """Return whose team it is: its own."""
    return Access(team=team.team)


def create(team: Team, *, team_id: str, name: str) -> list[TeamEvent]:
    """Set up a team.

    :raises Refused: ``team-exists`` under another name.
    """
    if team.team is None:
        return [TeamCreated(team=team_id, name=name)]
    if team.name != name:
        raise Refused("team-exists", "a team with this id has another name")
    return []


def guard(team: Team, event: TeamEvent) -> None:
    """Refuse a published team that exists already.

    :raises Refused: ``team-exists``.
    """
    if team.team is not None:
        raise Refused("team-exists", "a team with this id was created before")


def evolve(team: Team, event: TeamEvent, envelope: Envelope) -> Team:
    """Return the team after ``event``; total, and never refuses."""
    return Team(team=event.team, name=event.name)
