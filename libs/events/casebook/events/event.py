"""The base of every event: frozen data, with its type, family and audience declared once.

An event is what happened, in the past tense. Producers validate it closed (unknown fields are
refused), readers open (unknown fields are ignored), so that services of different versions can
share one log for ever (ADR 0005).
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from casebook.events.values import Secret

Audience = Literal["customer", "staff", "restricted"]


class Event(BaseModel):
    """Data of one fact; the envelope around it says when, where and by whom."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    type: ClassVar[str] = ""
    family: ClassVar[str] = ""
    audience: ClassVar[Audience] = "staff"
    secret_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Find the fields that hold secret text, once per class."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.secret_fields = tuple(
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(item, Secret) for item in _metadata(field.annotation, field.metadata))
        )

    @classmethod
    def closed(cls, data: object) -> Self:
        """Return the event that ``data`` describes; unknown fields are refused.

        :raises pydantic.ValidationError: when the data is not of this type.
        """
        return cls.model_validate(data, extra="forbid")

    @classmethod
    def tolerant(cls, data: object) -> Self:
        """Return the event that ``data`` describes, ignoring fields of a later revision.

        :raises pydantic.ValidationError: when the data is not of this type.
        """
        return cls.model_validate(data)

    def payload(self) -> dict[str, Any]:
        """Return the data as JSON values, without the fields that are not set."""
        return self.model_dump(mode="json", exclude_none=True)


def _metadata(annotation: Any, metadata: list[Any]) -> list[Any]:
    """Return a field's metadata, looking through ``… | None`` too."""
    found = list(metadata)
    pending = [annotation]
    while pending:
        part = pending.pop()
        found.extend(getattr(part, "__metadata__", ()))
        pending.extend(getattr(part, "__args__", ()))
    return found
