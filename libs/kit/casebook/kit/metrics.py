"""Every metric of Casebook, in one place: names and labels that dashboards and alerts rely on.

Base units, ``_total`` for counters, and ``service`` as the first label, because five services
may share a process. Labels never hold an id of a request, a person, an organisation or free
text, so that a service stays below 2,000 series.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.025, 0.1, 0.3, 1.0, 2.5, 10.0)
_LATENESS_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 3600.0)

disable_created_metrics()

# --- HTTP -----------------------------------------------------------------------------------

HTTP_DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Time from the first byte of a request to the last of its response.",
    ("service", "route", "method", "http_response_status_code"),
    buckets=_SECONDS,
)
HTTP_ACTIVE = Gauge(
    "http_server_active_requests", "Requests that are being answered.", ("service",)
)
AUTHZ_DENIED = Counter(
    "casebook_authz_denied_total",
    "Operations refused by the policy, hidden ones too.",
    ("service", "operation"),
)

# --- the way of a fact to the log -----------------------------------------------------------

OUTBOX_PENDING = Gauge(
    "casebook_outbox_pending", "Events that are stored and not yet in the log.", ("service",)
)
OUTBOX_OLDEST_AGE = Gauge(
    "casebook_outbox_oldest_age_seconds",
    "Age of the oldest event that is not yet in the log; 0 when there is none.",
    ("service",),
)
RELAY_PUBLISHED = Counter(
    "casebook_relay_published_total",
    "Events that the relay published (ok), and rounds that it had to repeat (failed).",
    ("service", "result"),
)

# --- the way of a fact from the log ---------------------------------------------------------

CONSUMER_LAG = Gauge(
    "casebook_consumer_lag_records",
    "Records of a partition that the reader has not applied.",
    ("service", "topic", "partition"),
)
PROJECTION_LAG = Gauge(
    "casebook_projection_lag_seconds",
    "Now less the moment up to which the whole log was applied; 0 at its head.",
    ("service", "projection"),
)
PROJECTION_POSITION = Gauge(
    "casebook_projection_position",
    "Sum of the positions that a projection has applied, over all partitions.",
    ("service", "projection"),
)
REBUILD_PROGRESS = Gauge(
    "casebook_projection_rebuild_progress_ratio",
    "How far the last rebuild has come, 0 to 1.",
    ("service", "projection"),
)
EVENTS_APPLIED = Counter(
    "casebook_events_applied_total",
    "Events read; result is applied, duplicate, parked, or skipped where no handler wants it.",
    ("service", "type", "result"),
)
PARKED_PENDING = Gauge(
    "casebook_parked_pending", "Events parked behind a handler error.", ("service",)
)
CHECKPOINT_AGE = Gauge(
    "casebook_checkpoint_age_seconds",
    "Time since the reader last moved on, or saw that there was nothing to read.",
    ("service",),
)
FORKS = Counter(
    "casebook_forks_total",
    "Repeated versions with a later recorded time: a restored backup; the reader halts.",
    ("service",),
)

# --- ingress --------------------------------------------------------------------------------

INBOX_PENDING = Gauge(
    "casebook_inbox_pending", "Published events that wait for their promotion.", ("service",)
)
INGRESS_RESULTS = Counter(
    "casebook_ingress_events_total",
    "Events of other systems; result is accepted or duplicate at the door, promoted or skipped "
    "when its turn came, and quarantined at either.",
    ("service", "result"),
)
QUARANTINE_PENDING = Gauge(
    "casebook_quarantine_pending", "Published events that wait for a person.", ("service",)
)

# --- timers ---------------------------------------------------------------------------------

TIMERS_PENDING = Gauge("casebook_timers_pending", "Timers that are set.", ("service",))
TIMERS_OVERDUE = Gauge(
    "casebook_timers_overdue", "Timers that are due and have not fired.", ("service",)
)
TIMERS_FAILED = Gauge(
    "casebook_timers_failed",
    "Timers that this version of the code failed on; tried again at the next start.",
    ("service",),
)
TIMER_LATENESS = Histogram(
    "casebook_timer_lateness_seconds",
    "Time from due to fired.",
    ("service",),
    buckets=_LATENESS_SECONDS,
)

# --- the process ----------------------------------------------------------------------------

DATABASE_POOL_IN_USE = Gauge(
    "casebook_db_pool_in_use", "Connections of a pool that are in use.", ("service", "pool")
)
DATABASE_POOL_WAITERS = Gauge(
    "casebook_db_pool_waiters", "Callers that wait for a connection.", ("service", "pool")
)
BUILD_INFO = Gauge(
    "casebook_build_info", "Always 1; the version is a label.", ("service", "version")
)

METRICS = (
    HTTP_DURATION,
    HTTP_ACTIVE,
    AUTHZ_DENIED,
    OUTBOX_PENDING,
    OUTBOX_OLDEST_AGE,
    RELAY_PUBLISHED,
    CONSUMER_LAG,
    PROJECTION_LAG,
    PROJECTION_POSITION,
    REBUILD_PROGRESS,
    EVENTS_APPLIED,
    PARKED_PENDING,
    CHECKPOINT_AGE,
    FORKS,
    INBOX_PENDING,
    INGRESS_RESULTS,
    QUARANTINE_PENDING,
    TIMERS_PENDING,
    TIMERS_OVERDUE,
    TIMERS_FAILED,
    TIMER_LATENESS,
    DATABASE_POOL_IN_USE,
    DATABASE_POOL_WAITERS,
    BUILD_INFO,
)
"""All of them; each has ``service`` as its first label."""


def announce(service: str) -> None:
    """Say which version of the service runs, and that what may never happen has not happened."""
    FORKS.labels(service)
    TIMER_LATENESS.labels(service)
    try:
        release = version("casebook-kit")
    except PackageNotFoundError:
        release = "unknown"
    BUILD_INFO.labels(service, release).set(1)


def count(counter: Counter, service: str, amounts: Mapping[str, int]) -> None:
    """Add to a counter whose second label is the key of ``amounts``."""
    for label, amount in amounts.items():
        counter.labels(service, label).inc(amount)


def exposition() -> bytes:
    """Return all metrics of the process in the text format that Prometheus scrapes."""
    return generate_latest()
