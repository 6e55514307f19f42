"""What a service is made of; the runtime and the documentation are derived from it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.sql import ClauseElement

from casebook.events.catalog import FAMILIES, family_of
from casebook.events.event import Event
from casebook.kit.access.policy import Policy, Scope
from casebook.kit.access.standard_policy import with_standard
from casebook.kit.decider import Fact, Reaction, StreamFamily
from casebook.kit.postgres.database import Connection
from casebook.kit.read_models.projections import Projection

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Appended:
    """One appended fact with the stream's state before and after it."""

    fact: Fact
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class InlineTable:
    """A table that ``on_append`` keeps, and the fold that gives the same rows.

    The first of ``columns`` is the key; ``json`` are those that hold JSON. ``fold`` changes the
    rows by key; the result must not depend on the order of facts of different streams.
    """

    name: str
    columns: tuple[str, ...]
    json: frozenset[str]
    fold: Callable[[dict[Any, dict[str, Any]], Appended], None]


@dataclass(frozen=True, slots=True)
class Belonging:
    """What read models know of whose a stream is, beside its state and its case.

    ``statement`` gives a row for a stream, whose columns are fields of ``Access``. It is asked for
    when one of ``scopes`` decides.
    """

    scopes: frozenset[Scope]
    statement: Callable[[str], ClauseElement]


AppendHook = Callable[[Connection, Sequence[Appended]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Worker:
    """What a service does in the background, for as long as it runs.

    ``on`` are the facts after which it has something to do, for the documentation: a worker is
    woken whenever facts were applied, and finds in read models what waits for it.
    """

    on: tuple[type[Event], ...]
    run: Callable[["Runtime"], Awaitable[None]]


@dataclass(frozen=True)
class Service:
    """One service: its streams, what it does about facts, what it shows, who may do what.

    ``tables`` and ``indexes`` are SQL statements of its own read models; ``on_append`` keeps
    them inside the append transaction, and ``inline`` says what they must hold. ``workers`` run
    for as long as the service does. ``found_at`` is the ``module:attribute`` that holds this
    service, for the processes that rebuild its projections; without it they are rebuilt on the
    event loop. ``belongings`` are by the name of a family.
    """

    name: str
    families: tuple[StreamFamily[Any], ...]
    policy: Policy
    reactions: tuple[Reaction, ...] = ()
    projections: tuple[Projection, ...] = ()
    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    on_append: AppendHook | None = None
    inline: tuple[InlineTable, ...] = ()
    workers: tuple[Worker, ...] = ()
    found_at: str | None = None
    belongings: Mapping[str, Belonging] = field(default_factory=dict[str, Belonging])
    by_family: Mapping[str, StreamFamily[Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the families and check that this service owns them.

        :raises ValueError: for a family that another service writes.
        """
        for family in self.families:
            if FAMILIES[family.name].owner != self.name:
                raise ValueError(f"{family.name} is not written by {self.name}")
        object.__setattr__(self, "policy", with_standard(self.policy))
        object.__setattr__(self, "by_family", {family.name: family for family in self.families})

    def family(self, stream: str) -> StreamFamily[Any]:
        """Return the family of one of this service's streams.

        :raises KeyError: when the stream is another service's.
        """
        return self.by_family[family_of(stream)]
