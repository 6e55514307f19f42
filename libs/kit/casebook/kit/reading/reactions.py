"""Runs the reactions of a service over a batch of facts, in the reader's transaction."""

from collections.abc import Sequence

from casebook.kit.decider import Fact
from casebook.kit.postgres.database import Connection
from casebook.kit.store.store import Cause, Store


async def react(store: Store, connection: Connection, facts: Sequence[Fact]) -> bool:
    """Append what the service decides about the live facts among ``facts``; say if it was any.

    They come in log order; observed history leads to nothing (decisions 3.7). The ids of the new
    events derive from their causes, so deciding again after a restored backup cannot act twice.
    """
    due = [
        (fact, reaction, stream)
        for fact in facts
        if fact.live
        for reaction in store.service.reactions
        if isinstance(fact.event, reaction.on)
        if (stream := reaction.target(fact)) is not None
    ]
    if not due:
        return False
    work = store.begin(connection)
    await work.lock({stream for _, _, stream in due})
    for fact, reaction, stream in due:
        events = reaction.decide(work.head(stream).state, fact)
        if events:
            label = f"{store.service.name}:{reaction.decide.__qualname__}:{stream}"
            cause = Cause.of(fact, actor=f"service:{store.service.name}", label=label)
            await work.append(stream, fact.case, events, cause)
    await work.flush()
    return bool(work.appended)
