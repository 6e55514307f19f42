"""One process of a service: the product's own runtime, on the world's log, tables and clock."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from tests.simulation.database import MemoryDatabase
from tests.simulation.tables import Schema, Transaction

if TYPE_CHECKING:
    from tests.simulation.world import World


_PROMOTING = frozenset({"intake", "dispatch"})
"""The services whose types the publishers of a seed send."""


AT_ONCE_SHARE = 0.75

own_faults: ContextVar["set[str] | None"] = ContextVar("own_faults", default=None)
"""What goes wrong where the call under way touches the outside; none in the loops of a process."""


class Killed(BaseException):
    """The process is dead; nothing it does has an effect any more."""


class Process:
    """A member of a service. It can be killed, and it can stand still without knowing."""

    def __init__(
        self, world: "World", service: Service, settings: Settings, schema: Schema
    ) -> None:
        self.world = world
        self.service = service
        self.number = world.next_process()
        self.dead = False
        self.still_until = 0.0
        self.transactions: dict[Transaction, None] = {}
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.runtime = Runtime(
            service,
            settings,
            clock=world.clock,
            log=world.log_of(self),
            database=MemoryDatabase(self, schema),
        )
        world.trace("start", self.name)
        self.ready = False
        self.spawn(self._start())

    async def _start(self) -> None:
        """Start as the runtime does: the history first, then the background loops."""
        await self.runtime._prove()
        self.ready = True
        for name, loop in self._loops():
            self.spawn(self.runtime._supervise(name, loop))

    @property
    def name(self) -> str:
        """Return what a trace calls it."""
        return f"{self.service.name}#{self.number}"

    def _loops(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return the background loops that the runtime starts, less housekeeping and rebuilds."""
        runtime = self.runtime
        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("reader", runtime.reader.run),
            ("relay", runtime.relay.run),
            ("promoter", runtime.promoter.run),
            ("timers", runtime.timers.run),
        ]
        if not self.world.ingress or self.service.name not in _PROMOTING:
            del loops[2]
        if self.service.name != "risk":  # its worker measures by statements of SQLAlchemy
            loops += [("worker", partial(worker.run, runtime)) for worker in self.service.workers]
        return loops

    def spawn(self, work: Any) -> "asyncio.Task[Any]":
        """Run something inside this process."""
        task: asyncio.Task[Any] = self.world.loop.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))
        return task

    async def touch(self, kind: str, what: str) -> str | None:
        """Touch the outside: wait for one's turn, and learn what becomes of it.

        After the faults most statements go on at once: what could overtake them, has.

        :raises Killed: when the process died meanwhile.
        """
        if self.dead:
            raise Killed
        world = self.world
        if kind == "statement" and world.faults is None and world.rng.random() < AT_ONCE_SHARE:
            return None
        future: asyncio.Future[str | None] = asyncio.Future(loop=world.loop)
        world.touches.append((future, self, kind, what, own_faults.get()))
        verdict = await future
        if self.dead:
            raise Killed
        return verdict

    def begin(self, schema: Schema) -> Transaction:
        """Begin a transaction on the server."""
        if self.dead:
            raise Killed
        transaction = Transaction(schema, self.now())
        self.transactions[transaction] = None
        return transaction

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        """End a transaction on the server."""
        self.transactions.pop(transaction, None)
        journal = self.world.journal
        if journal is not None and not transaction.over:
            journal.control(transaction, "COMMIT" if commit else "ROLLBACK")
        if commit:
            transaction.commit()
        else:
            transaction.rollback()

    def now(self) -> datetime:
        """Return the time that the database tells."""
        return self.world.clock.now()

    def cut(self) -> None:
        """Let the server end this process's sessions, as it does with a member declared dead."""
        for transaction in list(self.transactions):
            self.end(transaction, commit=False)

    def kill(self) -> None:
        """End the process at this very step: what it held in memory is gone."""
        if self.dead:
            return
        self.dead = True
        self.world.trace("kill", self.name)
        self.cut()
        for task in list(self.tasks):
            task.cancel()
