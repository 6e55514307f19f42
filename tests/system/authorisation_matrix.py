"""Who may do what, written down from reliability 1.3 and decisions §8: what the product must do.

Nothing here is computed from the policies of the services: a row that is widened there is not
widened here. Each cell says how far a role reaches with an operation:

- ``all``; ``team``: what lies with one's team; ``held``: what lies with oneself;
- ``org``: what oneself or somebody of one's organisation asked for; ``own``: what oneself asked
  for, reported, or (a publisher) speaks for; ``linked``: what is evidence of a risk; ``-``:
  nothing.

The last column names the operation that shows the thing at all; ``*`` where there is no thing to
hide, because the caller names it. What may be seen and not done so is 403, what may not be seen is
404, and where a role reaches nothing it is 403 for anything.

Of reliability 1.3 that is all that the product offers an operation for. A risk is of the team of
whoever answers for it.
"""

from typing import Literal

Relation = Literal["own", "same", "foreign"]
"""Of a case to who asks: theirs; of their organisation or team; of another one's."""

Verdict = Literal["allowed", "forbidden", "hidden", "unauthenticated"]

RELATIONS: tuple[Relation, ...] = ("own", "same", "foreign")
ANONYMOUS, NOTHING_HIDDEN = "anonymous", "*"
ROLES = (
    "requester", "agent", "lead", "auditor", "risk-manager", "admin", "publisher", "operator",
)  # fmt: skip
ACTORS = (ANONYMOUS, *ROLES)

_TABLE = """
operation                    requester agent lead auditor risk admin publisher operator shown-by
intake.submitRequest               own   all  all       -    -     -         -        - *
intake.listRequests                org  team team     all linked  all       own        - -
intake.getRequest                  org  team team     all linked  all       own        - -
intake.listRequestTimeline         org  team team     all linked  all       own        - -
intake.classifyRequest               -  team team       -    -     -         -        - getRequest
intake.prioritiseRequest             -  team team       -    -     -         -        - getRequest
intake.commentRequest              own  team team       -    -     -         -        - getRequest
intake.commentRequestInternally        -  team team       -    -     -         -        - getRequest
intake.confirmResolution           own     -    -       -    -     -         -        - getRequest
intake.reopenRequest               own     -    -       -    -     -         -        - getRequest
intake.cancelRequest               own  team team       -    -     -         -        - getRequest
intake.closeRequest                  -     - team       -    -     -         -        - getRequest
intake.registerSource                -     -    -       -    -   all         -        - -
intake.listSources                   -     -    -     all    -   all         -      all -
intake.getSource                     -     -    -     all    -   all         -      all -
dispatch.getWorkOrder                -  team team     all    -   all         -        - -
dispatch.getTeamQueue                -  team team     all  all   all         -        - -
dispatch.getAgentLoad                -  held team     all    -   all         -        - -
dispatch.acceptWorkOrder             -  team team       -    -     -         -        - getWorkOrder
dispatch.startWorkOrder              -  held team       -    -     -         -        - getWorkOrder
dispatch.waitWithWorkOrder           -  held team       -    -     -         -        - getWorkOrder
dispatch.resumeWorkOrder             -  held team       -    -     -         -        - getWorkOrder
dispatch.releaseWorkOrder            -  held team       -    -     -         -        - getWorkOrder
dispatch.resolveWorkOrder            -  held team       -    -     -         -        - getWorkOrder
dispatch.noteOnWorkOrder             -  team team       -    -     -         -        - getWorkOrder
dispatch.reassignWorkOrder           -     - team       -    -   all         -        - getWorkOrder
dispatch.listTeams                   -   all  all     all    -   all         -        - -
dispatch.createTeam                  -     -    -       -    -   all         -        - -
dispatch.listAgents                  -  team team     all    -   all         -        - -
dispatch.getAgent                    -  team team     all    -   all         -        - -
dispatch.registerAgent               -     -    -       -    -   all         -        - -
dispatch.grantSkill                  -     -    -       -    -   all         -        - -
dispatch.changeCapacity              -     -    -       -    -   all         -        - -
dispatch.changeTeam                  -     -    -       -    -   all         -        - -
dispatch.changeAvailability          -     -    -       -    -   all         -        - -
monitoring.listServiceLevels       own  team team     all  all   all         -        - -
monitoring.getServiceLevel         own  team team     all  all   all         -        - -
monitoring.listKpis                  -  team team     all  all   all         -      all -
monitoring.listDefinitions         all   all  all     all  all   all         -      all -
quality.getSurveyResults             -  team team     all  all   all         -      all -
quality.getSurvey                  own  team team     all    -   all         -        - -
quality.answerSurvey               own     -    -       -    -     -         -        - getSurvey
quality.listControls                 -     - team     all  all   all         -        - -
quality.listControlFindings          -     - team     all  all   all         -        - -
quality.listNonconformities          -     - team     all  all   all         -        - -
quality.getNonconformity             -     - team     all  all   all         -        - -
quality.getRequestLinks              -  team team     all    -   all         -        - -
risk.listRisks                       -   own team     all  all     -         -        - -
risk.registerRisk                    -   all  all       -  all     -       all        - -
risk.getRisk                         -   own team     all  all     -         -        - -
risk.getRiskHeatMap                  -     -    -     all  all     -         -        - -
risk.getRiskEvidence                 -     -    -     all  all     -         -        - getRisk
risk.assessRisk                      -     -    -       -  all     -         -        - getRisk
risk.planRiskTreatment               -     -    -       -  all     -         -        - getRisk
risk.completeRiskTreatment           -     -    -       -  all     -         -        - getRisk
risk.closeRisk                       -     -    -       -  all     -         -        - getRisk
*.publishEvents                      -     -    -       -    -     -       own        - *
*.getIngressStatus                   -     -    -       -    -   all       own      all *
*.listEvents                         -     -    -     all    -   all         -        - -
*.getLag                             -     -    -       -    -   all         -      all -
*.listParkedCases                    -     -    -       -    -   all         -      all -
*.retryParkedCase                    -     -    -       -    -   all         -      all -
*.discardParkedCase                  -     -    -       -    -   all         -      all -
*.listQuarantine                     -     -    -       -    -   all         -      all -
*.retryQuarantined                   -     -    -       -    -   all         -      all -
*.discardQuarantined                 -     -    -       -    -   all         -      all -
*.rebuildProjection                  -     -    -       -    -   all         -      all -
*.readKeys                           -     -    -       -    -     -         -        - -
"""

AUDIENCES = {
    "requester": {"customer"},
    "agent": {"customer", "staff"},
    "lead": {"customer", "staff"},
    "admin": {"customer", "staff"},
    "risk-manager": {"customer", "staff"},
    "auditor": {"customer", "staff", "restricted"},
}
"""The facts in the timeline of a request that a role reads, where it reads the request."""

_COVERED: dict[str, frozenset[Relation]] = {
    "all": frozenset(RELATIONS),
    "team": frozenset({"own", "same"}),
    "org": frozenset({"own", "same"}),
    "own": frozenset({"own"}),
    "held": frozenset({"own"}),
    "linked": frozenset({"own"}),
    "-": frozenset(),
}


def _rows() -> dict[str, tuple[dict[str, str], str]]:
    """Return of each operation how far every role reaches, and what shows it."""
    found: dict[str, tuple[dict[str, str], str]] = {}
    for line in _TABLE.strip().splitlines()[1:]:
        name, *reaches, shown_by = line.split()
        services = ("intake", "dispatch", "monitoring", "quality", "risk")
        service, _, operation = name.partition(".")
        for owner in services if service == "*" else (service,):
            seen = operation if shown_by == "-" else shown_by
            found[f"{owner}.{operation}"] = (
                dict(zip(ROLES, reaches, strict=True)),
                seen if seen == NOTHING_HIDDEN else f"{owner}.{seen}",
            )
    return found


ROWS = _rows()


def reaches(operation: str, actor: str, relation: Relation) -> bool:
    """Say whether an actor may use an operation on a case that stands so to them."""
    return actor != ANONYMOUS and relation in _COVERED[ROWS[operation][0][actor]]


def verdict(operation: str, actor: str, relation: Relation) -> Verdict:
    """Return what an actor must be told about a case that stands so to them."""
    if actor == ANONYMOUS:
        return "unauthenticated"
    if reaches(operation, actor, relation):
        return "allowed"
    reach, shown_by = ROWS[operation]
    shown = shown_by == NOTHING_HIDDEN or reaches(shown_by, actor, relation)
    if reach[actor] == "-" or shown:
        return "forbidden"
    return "hidden"
