"""What the five OpenAPI documents offer: every operation, and bodies made from its example."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Place = tuple[str | int, ...]
"""Where a value stands in a body."""

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
PUBLISHING = "publishEvents"
_MARK = "\x00here\x00"


@dataclass(frozen=True)
class Operation:
    """One operation of one service, as its document describes it."""

    service: str
    method: str
    template: str
    described: Json
    document: Json

    @property
    def name(self) -> str:
        """Return the operation's id, with its service."""
        return f"{self.service}.{self.described['operationId']}"

    @property
    def row(self) -> str | None:
        """Return the row of the policy table."""
        return self.described.get("x-casebook-operation")

    @property
    def is_common(self) -> bool:
        """Say whether every service has it."""
        return bool({"operations", "events"} & set(self.described["tags"]))

    def parameters(self, where: str) -> list[Json]:
        """Return the parameters in the path, the query or the headers."""
        return [p for p in self.described.get("parameters", []) if p["in"] == where]

    def path(self, values: Mapping[str, str]) -> str:
        """Return the path to a resource."""
        return re.sub(r"{(\w+)}", lambda match: values[match[1]], self.template)

    @property
    def schema(self) -> Json | None:
        """Return the schema of the JSON body; none for operations without one, or with events."""
        content = self.described.get("requestBody", {}).get("content", {})
        if self.described["operationId"] == PUBLISHING or "application/json" not in content:
            return None
        return self._resolved(content["application/json"]["schema"])

    def example(self) -> Json:
        """Return a body that is taken."""
        schema = self.schema or {}
        found = schema.get("example") or schema.get("examples", [None])[0]
        if found is None:
            found = {name: self._plain(schema["properties"][name]) for name in schema["required"]}
        return copy.deepcopy(found)

    def texts(self) -> Iterator[Place]:
        """Yield every place in the body where a text may stand."""
        if self.schema is not None:
            yield from self._texts(self.schema, ())

    def _texts(self, schema: Json, place: Place) -> Iterator[Place]:
        schema = self._resolved(schema)
        for choice in schema.get("anyOf", [schema]):
            resolved = self._resolved(choice)
            if resolved.get("type") == "string" or "enum" in resolved:
                yield place
            elif resolved.get("type") == "array":
                yield from self._texts(resolved["items"], (*place, 0))
            else:
                for name, inner in resolved.get("properties", {}).items():
                    yield from self._texts(inner, (*place, name))

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _plain(self, schema: Json) -> Any:
        """Return a value of a schema that has no example."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return self._plain(schema["anyOf"][0])
        plain: Json = {"string": "测试", "integer": 1, "boolean": True, "array": [], "object": {}}
        return plain[schema["type"]]


def operations(documents: Mapping[str, Json]) -> list[Operation]:
    """Return every operation of the documents, by service."""
    return [
        Operation(service, method.upper(), path, described, document)
        for service, document in documents.items()
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def spliced(body: Json, place: Place, raw: bytes) -> bytes:
    """Return a body as text, with ``raw`` where a value stood, whether that is JSON or not."""
    changed = copy.deepcopy(body)
    inner: Any = changed
    for step in place[:-1]:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
    if isinstance(inner, list) and not inner:
        inner.append(None)
    last: Any = place[-1]
    inner[last] = _MARK
    return json.dumps(changed, ensure_ascii=False).encode().replace(json.dumps(_MARK).encode(), raw)
