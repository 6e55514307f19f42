"""Whether two revisions of a schema can share one log: FULL, and against all of them (ADR 0005).

Five services deploy in any order and all read history for ever. So inside a major version old
readers must take new data and new readers old data: an optional field may be added or removed,
and words may change. Everything else is refused and needs a new major version with an upcaster.
Readers are tolerant, so a field they do not know is no break; schemas are closed, so that a name
which is new was not used before.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

Schema = Mapping[str, Any]

_WORDS = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "deprecated"}
    | {"default", "x-audience", "x-classification", "x-secret", "x-family"}
)
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_STRUCTURE = frozenset(
    {"$ref", "type", "anyOf", "oneOf", "enum", "const", "properties", "required", "items"}
    | {"additionalProperties", "propertyNames", *_LOWER, *_UPPER}
)


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return why ``new`` cannot follow ``old`` directly; nothing if it can."""
    return list(dict.fromkeys((*_both_ways(old, new), *_renames(_Root(old), _Root(new)))))


def gate(revisions: Sequence[Schema], new: Schema) -> list[str]:
    """Return why ``new`` cannot follow ``revisions``, the oldest first; it must fit them all."""
    found: list[str] = []
    for number, revision in enumerate(revisions, 1):
        latest = number == len(revisions)
        problems = breaks(revision, new) if latest else list(_both_ways(revision, new))
        found.extend(f"revision {number}: {problem}" for problem in problems)
    return found


def same_shape(one: Schema, other: Schema) -> bool:
    """Say whether two schemas differ in words only."""
    return _shape(_Root(one)) == _shape(_Root(other))


class _Root:
    """A part of a schema, with the document in which its references are looked up."""

    def __init__(self, schema: Schema, document: Schema | None = None) -> None:
        self.document = schema if document is None else document
        self.schema = self._resolved(schema)

    def __getitem__(self, name: str) -> Any:
        return self.schema.get(name)

    def part(self, schema: Schema) -> "_Root":
        """Return a part of the same document."""
        return _Root(schema, self.document)

    @property
    def properties(self) -> Mapping[str, Any]:
        """The named fields of an object."""
        return self.schema.get("properties", {})

    @property
    def required(self) -> frozenset[str]:
        """The fields that an object always has."""
        return frozenset(self.schema.get("required", ()))

    @property
    def branches(self) -> "list[_Root]":
        """The alternatives of a union; a schema without any is its only one."""
        union = self.schema.get("anyOf") or self.schema.get("oneOf")
        return [self.part(item) for item in union] if union else [self]

    @property
    def values(self) -> list[Any] | None:
        """The only values, if they are listed."""
        return [self.schema["const"]] if "const" in self.schema else self.schema.get("enum")

    def _resolved(self, schema: Schema) -> Schema:
        """Return a schema with its reference looked up."""
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found = self.document["$defs"][reference.removeprefix("#/$defs/")]
        return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}


def _both_ways(old: Schema, new: Schema) -> Iterator[str]:
    """Yield what old readers cannot take of new data, and new readers of old."""
    if old.get("x-family") != new.get("x-family"):
        yield "data: belongs to another stream family"
    seen: set[str] = set()
    for who, writer, reader in (("old readers", new, old), ("new readers", old, new)):
        for problem in _unreadable(_Root(writer), _Root(reader), "data"):
            if problem not in seen:
                seen.add(problem)
                yield f"{problem} ({who})"


def _unreadable(writer: _Root, reader: _Root, path: str) -> Iterator[str]:
    """Yield what a tolerant reader by one schema cannot take of what another one allows."""
    if writer["default"] != reader["default"] and _is_field(path):
        yield f"{path}: another default"
    for branch in writer.branches:
        attempts = [list(_branch(branch, other, path)) for other in reader.branches]
        if all(attempts):
            kinds = [other["type"] for other in reader.branches]
            same = [a for a, kind in zip(attempts, kinds, strict=True) if kind == branch["type"]]
            yield from (same or [[f"{path}: {_kind(branch)} is not read as {_kinds(reader)}"]])[0]


def _branch(writer: _Root, reader: _Root, path: str) -> Iterator[str]:
    """Yield what stands between two alternatives without unions."""
    if writer["type"] != reader["type"]:
        yield f"{path}: {_kind(writer)} is not read as {_kind(reader)}"
        return
    yield from _values(writer, reader, path)
    yield from _bounds(writer, reader, path)
    for name in sorted((writer.schema.keys() | reader.schema.keys()) - _STRUCTURE - _WORDS):
        if writer[name] != reader[name]:
            yield f"{path}: another {name}"
    for name in ("items", "propertyNames"):
        if writer[name] is not None and reader[name] is not None:
            yield from _unreadable(
                writer.part(writer[name]), reader.part(reader[name]), f"{path}[]"
            )
        elif writer[name] != reader[name]:
            yield f"{path}: another {name}"
    if writer["type"] == "object":
        yield from _fields(writer, reader, path)


def _fields(writer: _Root, reader: _Root, path: str) -> Iterator[str]:
    """Yield what stands between two objects, or two maps."""
    written, read = writer["additionalProperties"], reader["additionalProperties"]
    if isinstance(written, dict) and isinstance(read, dict):
        one, other = cast("Schema", written), cast("Schema", read)
        yield from _unreadable(writer.part(one), reader.part(other), f"{path}{{}}")
    elif written != read:
        yield f"{path}: open and closed content differ"
    for name in sorted(reader.required - writer.required):
        yield f"{path}.{name}: may be missing where readers need it"
    for name in sorted(writer.properties.keys() & reader.properties.keys()):
        yield from _unreadable(
            writer.part(writer.properties[name]),
            reader.part(reader.properties[name]),
            f"{path}.{name}",
        )


def _values(writer: _Root, reader: _Root, path: str) -> Iterator[str]:
    """Yield the listed values that a reader does not list."""
    if reader.values is None:
        return
    if writer.values is None:
        yield f"{path}: readers know listed values only"
        return
    for value in writer.values:
        if value not in reader.values:
            yield f"{path}: readers do not know the value {value!r}"


def _bounds(writer: _Root, reader: _Root, path: str) -> Iterator[str]:
    """Yield the bounds that are tighter for the reader."""
    for names, sign, none in ((_LOWER, 1, -math.inf), (_UPPER, -1, math.inf)):
        for name in names:
            written = none if writer[name] is None else writer[name]
            read = none if reader[name] is None else reader[name]
            if sign * written < sign * read:
                yield f"{path}: {name} {written} is beyond {read}"


def _renames(old: _Root, new: _Root, path: str = "data") -> Iterator[str]:
    """Yield pairs of an optional field gone and one of the same shape come, which is a rename.

    Whoever means two unrelated changes makes two revisions.
    """
    gone = sorted(old.properties.keys() - new.properties.keys())
    come = sorted(new.properties.keys() - old.properties.keys())
    for before in gone:
        shape = _shape(old.part(old.properties[before]))
        for after in come:
            if _shape(new.part(new.properties[after])) == shape:
                yield f"{path}.{before}: looks renamed to {after}"
    for name in sorted(old.properties.keys() & new.properties.keys()):
        for one in old.part(old.properties[name]).branches:
            for other in new.part(new.properties[name]).branches:
                yield from _renames(one, other, f"{path}.{name}")


def _shape(part: _Root) -> str:
    """Return a schema without its words, as a text that can be compared."""
    return json.dumps(_bare(part, part.schema), sort_keys=True)


def _bare(part: _Root, value: Any) -> Any:
    """Return a value of a schema with references looked up and words left out."""
    if isinstance(value, list):
        return [_bare(part, item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = part.part(cast("Schema", value)).schema
    found = {name: _bare(part, inner) for name, inner in schema.items() if name not in _WORDS}
    if "properties" in schema:  # a field may be named like a word
        found["properties"] = {k: _bare(part, v) for k, v in schema["properties"].items()}
        found["required"] = sorted(schema.get("required", ()))
    return found


def _is_field(path: str) -> bool:
    """Say whether a path names a field: only fields have defaults that change what is read."""
    return not path.endswith(("]", "}"))


def _kind(part: _Root) -> str:
    """Return what to call a schema's values."""
    return str(part["type"] or "anything")


def _kinds(part: _Root) -> str:
    """Return what to call the values of a union."""
    return " or ".join(_kind(branch) for branch in part.branches)
