"""A client that costs little: requests made beforehand, sent over connections that stay open.

A client with comforts would need more of the machine than the servers that it measures. Servers
that close a connection after an answer get a new one, and the time for it counts.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.measuring import BadBench

HOST = "127.0.0.1"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Driven:
    """What a load took: in all, and each request, seconds."""

    seconds: float
    latencies: Sequence[float]


def request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    kind: str = "application/json",
) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One connection to a server, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes) -> Answer:
        """Send a request and return its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        closes = _CLOSES.search(head) is not None
        body = await reader.readexactly(int(length[1])) if length else b""
        if closes or length is None:
            body += await reader.read() if length is None else b""
            await self.close()
        return Answer(int(head.split(b" ", 2)[1]), head, body)

    async def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def drive(port: int, contents: Sequence[bytes], *, connections: int, status: int) -> Driven:
    """Send all requests over so many connections, each after the answer to the one before.

    :raises BadBench: for another status than the expected one.
    """
    latencies: list[float] = []
    pending = iter(contents)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_ask_all(Connection(port), pending, status, latencies))
    return Driven(time.perf_counter() - started, latencies)


async def _ask_all(
    connection: Connection, pending: Iterator[bytes], status: int, latencies: list[float]
) -> None:
    """Send what is pending, one after the other."""
    try:
        for content in pending:
            started = time.perf_counter()
            answer = await connection.ask(content)
            latencies.append(time.perf_counter() - started)
            if answer.status != status:
                raise BadBench(f"{answer.status} instead of {status}: {answer.body[:500]!r}")
    finally:
        await connection.close()
