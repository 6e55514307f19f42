"""What an operator sets, read once from ``CASEBOOK_*`` (decisions §5); every limit has its unit."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one service process."""

    model_config = SettingsConfigDict(env_prefix="CASEBOOK_", frozen=True, extra="ignore")

    database_url: str = ""
    """PostgreSQL 15 or newer, as ``postgresql://…``."""
    kafka_bootstrap: str = ""
    """Kafka brokers; empty for the log table of the embedded mode."""
    kafka_topic: str = "casebook.events"
    """Topic of the shared log."""
    jwks: str = ""
    """Public keys that tokens are verified with: a file or a URL."""
    jwt_issuer: str = "casebook"
    jwt_audience: str = "casebook"
    signing_key: Path | None = None
    """Private JWK file with which services sign calls to each other."""
    master_key_file: Path | None = None
    """Key that wraps the data keys of secret text."""
    database_roles: Path | None = None
    """Folder in which ``casebook init`` keeps ``<service>.url``, the address that each service
    connects with; ``roles`` in the home if not set."""

    intake_url: str = "http://127.0.0.1:8001"
    dispatch_url: str = "http://127.0.0.1:8002"
    monitoring_url: str = "http://127.0.0.1:8003"
    quality_url: str = "http://127.0.0.1:8004"
    risk_url: str = "http://127.0.0.1:8005"

    http_connections: int = 4
    """Pool connections for requests."""
    background_connections: int = 3
    """Pool connections for the relay, the reader and the promoter."""
    poll_seconds: float = 1.0
    """How often background work looks when nothing wakes it."""
    batch_records_max: int = 2_000
    """Records of the log that one reader transaction takes."""
    relay_events_max: int = 2_000
    """Events that one relay round publishes."""
    promote_events_max: int = 2_000
    """Published events that one promotion transaction takes."""
    inbox_events_max: int = 20_000
    """Accepted but not promoted events; beyond, publishing answers 429."""
    outbox_events_max: int = 20_000
    """Appended but not published events; beyond, promotion pauses."""
    lag_records_max: int = 20_000
    """Records of the log that a service has not applied; beyond, its promotion pauses."""
    predecessor_seconds_max: float = 600.0
    """How long a published event waits for its predecessor without progress."""
    minimum_version_seconds_max: float = 2.0
    """How long a read waits for the version that the client has already seen."""

    drain_seconds: float = 1.0
    """How long a process that was told to stop is unready and still answers."""

    testing: bool = False
    """Allows what only tests may do."""
    clock_file: Path | None = None
    """For tests: a file with the seconds by which this process's clock is ahead."""
    failpoints: str = ""
    """For tests: where this process dies or freezes, as :mod:`casebook.kit.failpoints` reads it."""

    def service_url(self, service: str) -> str:
        """Return the base address of a service."""
        return str(getattr(self, f"{service}_url"))
