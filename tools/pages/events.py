"""docs/events.md: every event with its owner, its data and who reacts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from casebook.events.catalog import COMMON, FAMILIES, INGRESS_ONLY, Family
from casebook.events.event import Event
from casebook.events.upcasting import UPCASTERS
from casebook.kit.read_models.standard import STANDARD_TABLES
from tools.pages.markdown import document, first_line, services, table

INTRODUCTION = (
    "# Events",
    "",
    "Every fact that Casebook records. One service owns a family and is the only one to write it;",
    "all others read it from the log. A type is `casebook.<family>.<what happened>.v<major>`.",
    "",
    "- **Audience**: who may read it: `customer` (the requester's side too), `staff`, or",
    "  `restricted`.",
    "- **Sealed** fields hold personal data or free text. In the log they are ciphertext; another",
    "  system publishes them as plain strings, by the schema marked *ingress*.",
    "- Schemas are closed for writers; readers ignore fields they do not know. How they may",
    "  change: [ADR 0005](decisions/0005-event-versioning.md); revisions before today's are in",
    "  `libs/events/schemas/history`.",
    "- Who reacts is a reaction, inside the transaction that reads the fact, or a worker, which is",
    "  woken by it and decides over many (`run_…`, `keep_…`).",
    "- An example of each is in `libs/events/examples`.",
)


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a service does with an event: a reaction or a worker, or a read model."""

    service: str
    does: str
    reacts: bool


Consumers = Mapping[str, list[Consumer]]


def page() -> str:
    """Return the page."""
    consumers = _consumers()
    lines = [*INTRODUCTION, "", *_summary(), ""]
    for family in FAMILIES.values():
        lines += [f"## {family.name}", "", *_about(family), ""]
        lines += [*_graph(family, consumers), *_table(family.events, consumers), ""]
    lines += [
        "## Written by every service",
        "",
        "Streams `ingress-<service>/<request id>`, log key the request id.",
        "",
        *_table(COMMON, consumers),
        "",
        "## Accepted, never in the log",
        "",
        "Intake takes these and puts them into its quarantine.",
        "",
        *_table(INGRESS_ONLY, consumers),
        "",
        "## Older forms",
        "",
        "Data of these is read as the version after it; what is stored never changes.",
        "",
        *table(
            ("Type", "Read as", "How"),
            (
                (f"`{name}.v{major}`", f"`{name}.v{to}`", first_line(step.__doc__))
                for (name, major), (to, step) in sorted(UPCASTERS.items())
            ),
        ),
    ]
    return document(lines)


def _summary() -> Iterator[str]:
    """Yield a table of the families."""
    rows = (
        (f"[{family.name}](#{_anchor(family.name)})", family.owner, str(len(family.events)))
        for family in FAMILIES.values()
    )
    yield from table(("Family", "Owner", "Events"), rows)


def _about(family: Family) -> Iterator[str]:
    """Yield who writes a family, and under which key."""
    name = "<request id>" if family.keyed_by_request else "<id>"
    key = "the request id" if family.keyed_by_request else "the id of the stream"
    if family.name == "nonconformity":
        key = "the request id where it is about a request"
    yield f"Owner **{family.owner}**, streams `{family.name}/{name}`, log key {key}."


def _table(events: tuple[type[Event], ...], consumers: Consumers) -> list[str]:
    """Return the table of a family's events."""
    head = ("Event", "Audience", "What happened", "Sealed", "Schema", "Who reacts", "Who shows it")
    return table(head, (_event(event, consumers.get(event.type, [])) for event in events))


def _event(event: type[Event], consumers: list[Consumer]) -> tuple[str, ...]:
    """Return the row of an event."""
    schema = f"../libs/events/schemas/{event.type}"
    return (
        f"`{event.type}`",
        event.audience,
        first_line(event.__doc__),
        ", ".join(f"`{name}`" for name in event.secret_fields),
        f"[log]({schema}.json), [ingress]({schema}.ingress.json)",
        _does(consumer for consumer in consumers if consumer.reacts),
        _does(consumer for consumer in consumers if not consumer.reacts),
    )


def _does(consumers: Iterator[Consumer]) -> str:
    """Return what consumers do, by service."""
    by_service: dict[str, list[str]] = {}
    for consumer in consumers:
        by_service.setdefault(consumer.service, []).append(f"`{consumer.does}`")
    return "; ".join(
        f"{service}: {', '.join(dict.fromkeys(does))}" for service, does in by_service.items()
    )


def _graph(family: Family, consumers: Consumers) -> list[str]:
    """Return a graph owner → event → the services that react; none if nobody does."""
    edges: list[str] = []
    for number, event in enumerate(family.events):
        reacting = {item.service: None for item in consumers.get(event.type, []) if item.reacts}
        if reacting:
            name = event.type.split(".")[2]
            edges.append(f"    owner --> e{number}([{name}])")
            edges += [f"    e{number} --> {service}_[{service}]" for service in reacting]
    if not edges:
        return []
    return ["```mermaid", "flowchart LR", f"    owner[{family.owner}]", *edges, "```", ""]


def _consumers() -> dict[str, list[Consumer]]:
    """Return who does what with each type, from the registries of the services."""
    found: dict[str, list[Consumer]] = {}
    for name, service in services().items():
        handlers = [(item.on, _function(item.decide), True) for item in service.reactions]
        handlers += [(item.on, _function(item.run), True) for item in service.workers]
        handlers += [(item.handles, item.name, False) for item in service.projections]
        for types, does, reacts in handlers:
            for type_ in sorted({event.type for event in types}):
                found.setdefault(type_, []).append(Consumer(name, does, reacts))
    for type_, name in STANDARD_TABLES.items():
        found.setdefault(type_, []).append(Consumer("every service", name, False))
    return found


def _function(decide: Any) -> str:
    """Return the name of a function, of a partial one too."""
    return getattr(decide, "func", decide).__name__


def _anchor(name: str) -> str:
    """Return how a heading is linked to."""
    return name.replace("/", "")
