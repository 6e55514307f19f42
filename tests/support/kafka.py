"""Real Apache Kafka for tests: ``CASEBOOK_TEST_KAFKA``, else a container, else jars by Maven.

A container engine counts only if it answers and has the image or can pull it. No broker is a
failure, never a reason to skip. ``python -m tests.support.kafka`` fetches what is needed ahead.
"""

import asyncio
import atexit
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.java import DEPENDENCY_PLUGIN, MissingTool, fetched, find_java, maven
from tests.support.ports import free_port
from tests.support.watchdog import Watchdog

POM = Path(__file__).parent / "kafka" / "pom.xml"
CLUSTER_ID = "Y2FzZWJvb2stdGVzdHMtMQ"  # 16 bytes in base64url, the same for every test cluster
JVM_OPTIONS = ("-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)
START_SECONDS_MAX = 240.0
STOP_SECONDS_MAX = 20.0
TOPIC_SECONDS_MAX = 20.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Node:
    """One member of a cluster, on loopback; clients come by ``door``, the port of a proxy."""

    id: int
    port: int
    controller_port: int
    door: int | None = None


def new_nodes(count: int) -> list[Node]:
    """Return ``count`` members of a new cluster, on ports that are free now."""
    return [
        Node(id=id_, port=free_port(), controller_port=free_port()) for id_ in range(1, count + 1)
    ]


def broker_properties(node: Node, nodes: Sequence[Node], data: str) -> dict[str, str]:
    """Return the configuration of ``node`` in the cluster of ``nodes``."""
    replicas = str(min(3, len(nodes)))
    in_sync = str(min(2, len(nodes)))
    listeners = f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}"
    voters = ",".join(f"{member.id}@127.0.0.1:{member.controller_port}" for member in nodes)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.door or node.port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "3",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        # A broker that was killed may register again only when its old session is over.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "log.retention.ms": "-1",  # events of tests carry the times of years ago
        "log.cleaner.dedupe.buffer.size": "4194304",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


class _Broker(Protocol):
    """How a broker is run."""

    def launch(self) -> None: ...
    def alive(self) -> bool: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def signal(self, name: str) -> None: ...
    def remove(self) -> None: ...
    def log(self) -> str: ...


class KafkaServer:
    """A broker on a port of its own, which keeps its data over ``stop``, ``kill`` and ``start``.

    ``close`` removes everything, and happens at the latest when this process ends.
    """

    def __init__(self, node: Node | None = None, nodes: Sequence[Node] = ()) -> None:
        node = node or new_nodes(1)[0]
        image = _container_image()
        self.port = node.port
        self.bootstrap = f"127.0.0.1:{node.port}"
        self._broker: _Broker = (
            _Container(image, node, nodes or [node]) if image else _Jars(node, nodes or [node])
        )
        atexit.register(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, *, wait: bool = True) -> None:
        """Start the broker, again after it was stopped or killed, and wait until it answers.

        The first members of a larger cluster are started with ``wait=False``: none of them
        answers before there is a majority.
        """
        self._broker.launch()
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the broker answers."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(self.port):
            if not self._broker.alive() or time.monotonic() > deadline:
                log = self._broker.log()
                self._broker.kill()
                raise RuntimeError(f"Kafka did not start:\n{log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop the broker in good order."""
        self._broker.stop()

    def kill(self) -> None:
        """End the broker at once, as a crash would."""
        self._broker.kill()

    def pause(self) -> None:
        """Let the broker hang: its connections stay, and nothing answers."""
        self._broker.signal("STOP")

    def resume(self) -> None:
        """Let a broker that hangs go on."""
        self._broker.signal("CONT")

    def close(self) -> None:
        """End the broker and remove its data."""
        self._broker.kill()
        self._broker.remove()
        atexit.unregister(self.close)


class _Jars:
    """A broker as a child process."""

    def __init__(self, node: Node, nodes: Sequence[Node]) -> None:
        jars = fetched(_jars_name(), _fetch_jars)
        self._java = [find_java(), *JVM_OPTIONS, *LOG_OPTIONS, "-cp", f"{jars}/*"]
        self._folder = Path(tempfile.mkdtemp(prefix="casebook-kafka-"))
        self._settings = self._folder / "server.properties"
        properties = broker_properties(node, nodes, str(self._folder / "data"))
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None

    def launch(self) -> None:
        with self._log.open("ab") as log:
            if not (self._folder / "data").is_dir():
                format_ = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]
                subprocess.run(
                    [*self._java, *format_, "-c", self._settings],
                    check=True,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", self._settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests alone
            )
        end = 'kill -9 "$0"; rm -rf -- "$1"'
        self._watchdog = Watchdog("sh", "-c", end, str(self._process.pid), str(self._folder))

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS_MAX)
        self.kill()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._watchdog:
            self._watchdog.cancel()
        self._process = self._watchdog = None

    def signal(self, name: str) -> None:
        if self._process:
            self._process.send_signal(signal.Signals[f"SIG{name}"])

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])


class _Container:
    """A broker as a container on the network of the host; its image formats its data itself."""

    def __init__(self, image: str, node: Node, nodes: Sequence[Node]) -> None:
        self._name = f"casebook-kafka-{secrets.token_hex(6)}"
        # `docker rm` at the end of this process also covers the time before the first start.
        self._watchdog = Watchdog("docker", "rm", "--force", "--volumes", self._name)
        properties = broker_properties(node, nodes, "/tmp/casebook-kafka")  # noqa: S108 - its own
        variables = {"CLUSTER_ID": CLUSTER_ID, "KAFKA_HEAP_OPTS": "-Xmx400m"} | {
            f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in properties.items()
        }
        options = [f"--env={name}={value}" for name, value in variables.items()]
        _docker("create", f"--name={self._name}", "--network=host", *options, image)

    def launch(self) -> None:
        _docker("start", self._name)

    def alive(self) -> bool:
        state = _docker("inspect", "--format={{.State.Running}}", self._name, check=False)
        return state.strip() == "true"

    def stop(self) -> None:
        _docker("stop", f"--time={STOP_SECONDS_MAX:.0f}", self._name, check=False)

    def kill(self) -> None:
        _docker("kill", self._name, check=False)

    def signal(self, name: str) -> None:
        _docker("kill", f"--signal={name}", self._name)

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self._name, check=False)
        self._watchdog.cancel()

    def log(self) -> str:
        return _docker("logs", "--tail=30", self._name, check=False)


@cache
def kafka_for_tests() -> str:
    """Return the bootstrap address of the session's Kafka, started at the first call."""
    given = os.environ.get("CASEBOOK_TEST_KAFKA")
    if given:
        return given
    server = KafkaServer()
    server.start()
    return server.bootstrap


async def create_topic(
    bootstrap: str,
    name: str,
    partitions: int,
    *,
    replicas: int = 1,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Create a topic and wait until every partition of it has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topic = NewTopic(name, partitions, replicas, topic_configs=dict(settings or {}))
        answer = await admin.create_topics([topic])
        for refusal in answer.to_object()["topic_errors"]:
            if refusal["error_code"]:
                raise RuntimeError(f"topic {name} was refused: {refusal}")
        async with asyncio.timeout(TOPIC_SECONDS_MAX):
            while not await _has_leaders(admin, name, partitions):  # noqa: ASYNC110 - remote
                await asyncio.sleep(POLL_SECONDS)
    finally:
        await admin.close()


async def _has_leaders(admin: AIOKafkaAdminClient, name: str, partitions: int) -> bool:
    (topic,) = await admin.describe_topics([name])
    led = [entry for entry in topic["partitions"] if entry["leader"] >= 0]
    return len(led) == partitions


def _answers(port: int) -> bool:
    """Say whether a broker answers the question for its versions, the first that clients ask."""
    request = struct.pack(">hhih", 18, 0, 1, -1)  # ApiVersions, version 0, correlation 1, no name
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def _jars_name() -> str:
    return f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def _fetch_jars(folder: Path) -> None:
    maven(
        f"--file={POM}",
        f"{DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
    )


@cache
def _container_image() -> str | None:
    """Return the image to run, or ``None`` without an engine that answers and can get it."""
    if sys.platform != "linux" or shutil.which("docker") is None:
        return None
    version = re.search(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    image = f"apache/kafka:{version[1] if version else 'latest'}"
    for question in (["info"], ["image", "inspect", image], ["pull", "--quiet", image]):
        answered = subprocess.run(["docker", *question], capture_output=True, check=False)
        if question == ["info"]:
            if answered.returncode != 0:
                return None
        elif answered.returncode == 0:
            return image
    return None


def _docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {arguments[0]} failed: {done.stderr}")
    return done.stdout + done.stderr


def main() -> int:
    """Fetch what a broker needs; one line says what is missing."""
    try:
        if not os.environ.get("CASEBOOK_TEST_KAFKA") and _container_image() is None:
            find_java()
            fetched(_jars_name(), _fetch_jars)
    except MissingTool as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
