"""A TCP proxy that breaks what goes through it: on demand, or by a schedule that a seed gives.

It runs in a thread of its own, so that a test that blocks does not hold it up. A connection that
is silent stays open and loses nothing: what waits is delivered when the proxy is healed.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.ports import free_port

Way: TypeAlias = Literal["up", "down"]
"""From the client to the server, or back."""

Kind: TypeAlias = Literal["cut", "refuse", "silence", "silence-up", "silence-down"]
KINDS: tuple[Kind, ...] = ("cut", "refuse", "silence", "silence-up", "silence-down")
WAYS: dict[Kind, tuple[Way, ...]] = {
    "silence": ("up", "down"),
    "silence-up": ("up",),
    "silence-down": ("down",),
}
CALL_SECONDS_MAX = 10.0
_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time, which sends a reset
Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect: TypeAlias = Callable[[], Awaitable[Streams]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, for how long, and how long all is well afterwards."""

    kind: Kind
    seconds: float
    calm_seconds: float


def schedule(seed: int, count: int, *, seconds_max: float = 3.0) -> list[Fault]:
    """Return the faults that a seed stands for: each kind in turn, in an order of the dice."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated
    faults: list[Fault] = []
    while len(faults) < count:
        for kind in dice.sample(KINDS, len(KINDS)):
            seconds, calm = dice.uniform(0.5, seconds_max), dice.uniform(0.2, 1.5)
            faults.append(Fault(kind, seconds, calm))
    return faults[:count]


class Proxy:
    """Leads each connection to a port of its own on to one server."""

    def __init__(self, connect: Connect, port: int | None = None) -> None:
        self.port = port or free_port()
        self._connect = connect
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._flow: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def apply(self, kind: Kind) -> None:
        """Begin a fault, which lasts until :meth:`heal`; a cut is over at once."""
        match kind:
            case "cut":
                self._call(self._cut())
            case "refuse":
                self._call(self._refuse())
            case _:
                self._call(self._silence(WAYS[kind]))

    def heal(self) -> None:
        """Let everything through again."""
        self._call(self._heal())

    @contextlib.contextmanager
    def broken(self, kind: Kind) -> Iterator[None]:
        """Break it for the duration of the block."""
        self.apply(kind)
        try:
            yield
        finally:
            self.heal()

    def play(self, faults: Sequence[Fault]) -> None:
        """Let the faults of a schedule happen, one after the other."""
        for fault in faults:
            with self.broken(fault.kind):
                time.sleep(fault.seconds)
            time.sleep(fault.calm_seconds)

    @contextlib.contextmanager
    def running(self, *, whole: bool = True) -> Iterator["Proxy"]:
        """Run it for the duration of the block; it refuses at first unless it is ``whole``."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            if whole:
                self.heal()
            yield self
        finally:
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the thread of the proxy, and wait for its end."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS_MAX)

    async def _heal(self) -> None:
        for flow in self._flow.values():
            flow.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _silence(self, ways: Sequence[Way]) -> None:
        for way in ways:
            self._flow[way].clear()

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._cut()

    async def _cut(self) -> None:
        """Reset every connection, at both ends."""
        for writer in self._writers:
            connection: socket.socket | None = writer.get_extra_info("socket")
            if connection is not None and connection.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _close(self) -> None:
        await self._refuse()
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead a new connection on, in a task that can be cancelled."""
        task = self._loop.create_task(self._lead(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lead(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        """Carry bytes both ways until one end closes."""
        self._writers.add(near_out)
        ends = [near_out]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_in, far_out = await self._connect()
            self._writers.add(far_out)
            ends.append(far_out)
            carrying = {
                asyncio.ensure_future(self._carry("up", near_in, far_out)),
                asyncio.ensure_future(self._carry("down", far_in, near_out)),
            }
            try:
                await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in carrying:
                    one.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)
        for writer in ends:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _carry(
        self, way: Way, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        """Carry bytes one way, and wait while it is silent."""
        while data := await source.read(_CHUNK):
            await self._flow[way].wait()
            target.write(data)
            await target.drain()


def to_port(port: int) -> Connect:
    """Lead to a server on loopback."""
    return lambda: asyncio.open_connection("127.0.0.1", port)


def to_database(dsn: str) -> Connect:
    """Lead to the PostgreSQL of an address, which may be that of a socket."""
    parts = urlsplit(dsn)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host, port = query.get("host", parts.hostname or ""), query.get("port", parts.port or 5432)
    if host.startswith("/"):
        return lambda: asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return lambda: asyncio.open_connection(host or "127.0.0.1", int(port))


def through(proxy: Proxy, dsn: str) -> str:
    """Return a database address that goes through the proxy."""
    parts = urlsplit(dsn)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}", query="").geturl()
