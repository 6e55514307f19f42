"""What quality does about the facts of others (handbook 1.3, 3.4).

``REACTIONS`` act inside the reader's transaction on one fact; ``WORKERS`` act on what a read
model has found over many.
"""

from casebook.events.quality import SurveyEvent
from casebook.events.request import RequestClosed
from casebook.kit.decider import Fact, Reaction
from casebook.kit.service import Worker
from casebook.quality.domain import survey
from casebook.quality.domain.survey import Survey
from casebook.quality.reactions.nonconformities import keep_raising


def send_survey(state: Survey, fact: Fact) -> list[SurveyEvent]:
    """Ask the requester when the request was closed; a cancelled one is never closed."""
    return survey.send(state, closure=fact.envelope.id)


REACTIONS = (Reaction(on=(RequestClosed,), family=survey.FAMILY.name, decide=send_survey),)
WORKERS = (Worker(on=(RequestClosed,), run=keep_raising),)
