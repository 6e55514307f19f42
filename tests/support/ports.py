"""Ports for servers that tests start: nobody else gets one before its server listens."""

import secrets
import socket

# Below the range from which the system draws the ports of outgoing connections.
PORT_MIN, PORT_COUNT = 20_000, 12_000
_HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that is this process's for as long as it lives.

    A deployment names its ports long before it uses them. So a socket that does not listen stays
    bound to each: a server, which binds with SO_REUSEADDR, may join it; who probes may not.
    """
    while True:
        port = PORT_MIN + secrets.randbelow(PORT_COUNT)
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _HELD.append(probe)
        return port
