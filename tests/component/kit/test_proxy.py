"""The proxy that faults are made with does what its faults are called."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.support.proxy import KINDS, Kind, Proxy, schedule, to_port


class Echo(socketserver.BaseRequestHandler):
    """Answers every byte with itself."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := self.request.recv(100):
                self.request.sendall(data)


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """Run a server, and return its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def heard(connection: socket.socket, seconds: float = 0.3) -> bytes:
    """Return what comes in a moment."""
    connection.settimeout(seconds)
    try:
        return connection.recv(100)
    except TimeoutError:
        return b"silence"


@pytest.mark.parametrize("kind", ["silence", "silence-up", "silence-down"])
def test_silence_keeps_the_connection_and_loses_nothing(kind: Kind) -> None:
    with (
        echo() as port,
        Proxy(to_port(port)).running() as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as connection,
    ):
        connection.sendall(b"one")
        assert heard(connection, 10) == b"one"
        with proxy.broken(kind):
            connection.sendall(b"two")
            assert heard(connection) == b"silence"
        assert heard(connection, 10) == b"two"


def test_refusing_ends_connections_and_takes_none_until_it_is_healed() -> None:
    with echo() as port, Proxy(to_port(port)).running() as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"one")
            assert heard(connection, 10) == b"one"
            with proxy.broken("refuse"):
                with pytest.raises(ConnectionResetError):
                    heard(connection, 10)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", proxy.port))
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"two")
            assert heard(connection, 10) == b"two"


def test_a_cut_resets_what_is_open_and_takes_what_comes() -> None:
    with echo() as port, Proxy(to_port(port)).running() as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"one")
            assert heard(connection, 10) == b"one"
            proxy.apply("cut")
            with pytest.raises(ConnectionResetError):
                heard(connection, 10)
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"two")
            assert heard(connection, 10) == b"two"


def test_a_schedule_has_every_kind_and_is_that_of_its_seed() -> None:
    assert schedule(7, 12) == schedule(7, 12) != schedule(8, 12)
    assert {fault.kind for fault in schedule(7, len(KINDS))} == set(KINDS)
