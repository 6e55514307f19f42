"""Values that events share: safe text, sealed text, identifiers (CloudEvents 1.0, RFC 8259).

Text is normalised to NFC and may not hold what PostgreSQL, JSON or a terminal refuses: NUL and
other C0 controls (but line feed and tab), lone surrogates, noncharacters. Labels also refuse
line breaks and bidirectional overrides, because they are shown inside other text.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

LABEL_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 20_000
COUNT_MAX = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Every moment is from ``EARLIEST`` on and before ``LATEST``."""

MOMENT_EXPECTED = "an RFC 3339 timestamp with a zone, such as 2016-03-31T00:00:00Z"
PLUS_EXPECTED = "; in an address, + is written %2B"
_PLUS_LOST = re.compile(r"[Tt][0-9:.]+ [0-9]{2}:?[0-9]{2}$")
"""An offset whose plus sign an address has made a space."""

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17)
)
UNSAFE_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff{_NONCHARACTERS}]")
UNSAFE_LABEL = re.compile("[\n\t\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def safe_text(value: str) -> str:
    """Return ``value`` in NFC; raise ``ValueError`` for characters that cannot be stored."""
    if not value.isprintable() and UNSAFE_TEXT.search(value):  # the first half is 20 times as fast
        raise PydanticCustomError("unsafe_text", "text holds a character that is not allowed")
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def _short(value: str, length_max: int) -> str:
    """Return ``value``; normalising may have made it longer than it was when first measured."""
    if len(value) > length_max:
        raise PydanticCustomError("too_long", "text is too long once it is normalised")
    return value


def safe_label(value: str) -> str:
    """Return ``value`` as a one-line label; raise ``ValueError`` for anything that is not one."""
    value = _short(safe_text(value), LABEL_LENGTH_MAX)
    if not value.isprintable() and UNSAFE_LABEL.search(value):
        raise PydanticCustomError("unsafe_label", "a label is one line without direction marks")
    if not value.strip():
        raise PydanticCustomError("blank_label", "a label holds at least one visible character")
    return value


Label = Annotated[str, Field(min_length=1, max_length=LABEL_LENGTH_MAX), AfterValidator(safe_label)]
"""One visible line of at most 200 characters: a name, a code, a foreign identifier."""


def _moment(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    """Return ``value`` as a moment; a number is none: it could be seconds or milliseconds.

    :raises PydanticCustomError: ``not_a_moment``, which says what is expected.
    """
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value.upper()):
        try:
            return parse(value)
        except ValidationError:
            pass  # the library's words change with its releases
    lost = isinstance(value, str) and _PLUS_LOST.search(value) is not None
    expected = {"expected": MOMENT_EXPECTED + (PLUS_EXPECTED if lost else "")}
    raise PydanticCustomError("not_a_moment", "a moment is {expected}", expected)


def _in_range(value: datetime) -> datetime:
    """Return ``value`` unless it is outside of what databases and languages can hold."""
    if not EARLIEST <= value < LATEST:
        raise PydanticCustomError("moment_out_of_range", "a moment is in 2000 to 2099")
    return value


# Strict: a boolean is no number, and neither is text.
Score = Annotated[int, Field(strict=True, ge=1, le=5)]
Level = Annotated[int, Field(strict=True, ge=1, le=3)]
Priority = Annotated[int, Field(strict=True, ge=1, le=4)]
Count = Annotated[int, Field(strict=True, ge=0, le=COUNT_MAX)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=10**10)]
Millionths = Annotated[int, Field(strict=True, ge=0, le=10**6)]
Flag = Annotated[bool, Field(strict=True)]
Moment = Annotated[AwareDatetime, WrapValidator(_moment), AfterValidator(_in_range)]


class Sealed(BaseModel):
    """Encrypted text as it stands in the log: the id of its data key, and the ciphertext.

    ``ciphertext`` is base64url of nonce, AES-256-GCM ciphertext and tag; the associated data is
    the event id and the field's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: Annotated[str, Field(min_length=1, max_length=LABEL_LENGTH_MAX)]
    ciphertext: Annotated[str, Field(min_length=1, max_length=8 * TEXT_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a field as personal or free text: plain at the edge, sealed in every store.

    The JSON Schema of the ingress side (pydantic's validation mode) is a string, that of the
    log (serialization mode) is the sealed object.
    """

    length_max: int = TEXT_LENGTH_MAX

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Accept safe text or a sealed value."""
        length_max = self.length_max
        plain = core_schema.no_info_after_validator_function(
            lambda value: _short(safe_text(value), length_max),
            core_schema.str_schema(min_length=1, max_length=length_max),
        )
        return core_schema.union_schema([plain, handler.generate_schema(Sealed)])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the plain side or the sealed side, by the mode asked for."""
        plain, sealed = cast("core_schema.UnionSchema", schema)["choices"]
        return handler(cast("CoreSchema", plain if handler.mode == "validation" else sealed))


SecretText = Annotated[str | Sealed, Secret()]
SecretTitle = Annotated[str | Sealed, Secret(length_max=LABEL_LENGTH_MAX)]


class DefinitionReference(BaseModel):
    """The approved definition that a decision was taken under."""

    model_config = ConfigDict(frozen=True)
    id: Label
    version: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]
