"""Who is asking: the principal, and how a token proves it (JWT, RFC 7519, RFC 8725).

A token is accepted when a key of the key set signed it, the issuer and audience are ours, it is
in force, and every claim keeps the text rules. Every other token is refused in the same way, so
that a caller learns nothing from the difference.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, Protocol, cast

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, deserialize_compact

from casebook.kit import strict_json
from casebook.kit.access.jwks import (
    ALGORITHMS,
    KeySource,
    VerifyingKey,
    decode_segment,
    jws_registry,
    key_source,
)
from casebook.kit.clock import Clock, SystemClock
from casebook.kit.strict_json import Json
from casebook.kit.text import is_label

Role = str
ROLES: frozenset[Role] = frozenset(
    {
        "requester",
        "agent",
        "lead",
        "auditor",
        "risk-manager",
        "admin",
        "publisher",
        "operator",
        "service",
    }
)
"""The closed set of roles; ``service`` is how services speak to each other."""

TTL_MAX = timedelta(days=366)
"""A token that is in force for longer proves nothing, whoever signed it."""
TOKEN_BYTES_MAX = 8 * 1024
LEEWAY_SECONDS = 30
SOURCES_MAX = 100
VERIFIED_TOKENS_MAX = 4096
_SEGMENTS = 3
_TYPES = frozenset({"jwt", "at+jwt"})
_SERVICE = frozenset({"service"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, as far as the token says; teams come from the log."""

    subject: str
    roles: frozenset[Role] = frozenset()
    organisation: str | None = None
    sources: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()


class Unauthenticated(Exception):
    """The token proves nothing; ``reason`` is for the log, never for the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Verifier(Protocol):
    """Turns a bearer token into a principal."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of ``token``.

        :raises Unauthenticated: when the token proves nothing.
        :raises casebook.kit.access.jwks.KeysUnavailable: when no key set could ever be read.
        """
        ...


class TokenVerifier:
    """Verifies tokens of one issuer for one audience.

    ``jwks`` is the path or the URL of the issuer's key set, or a key source. ``service_key`` is
    the public half of the key that services sign their calls to each other with: it is trusted
    for the role ``service`` and for nothing else.
    """

    def __init__(
        self,
        jwks: str | KeySource,
        issuer: str,
        audience: str,
        *,
        service_key: VerifyingKey | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._keys = key_source(jwks, self._clock) if isinstance(jwks, str) else jwks
        self._issuer = issuer
        self._audience = audience
        self._service_key = service_key
        self._verified: OrderedDict[bytes, tuple[int, int, Principal]] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Return the principal of ``token``.

        :raises Unauthenticated: when the token proves nothing.
        :raises casebook.kit.access.jwks.KeysUnavailable: when no key set could ever be read.
        """
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthenticated("size")
        now = int(self._clock.now().timestamp())
        generation = await self._keys.generation()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and known[0] == generation and now < known[1] + LEEWAY_SECONDS:
            self._verified.move_to_end(digest)
            return known[2]
        self._verified.pop(digest, None)
        expires, principal = await self._check(token, now)
        self._verified[digest] = (await self._keys.generation(), expires, principal)
        while len(self._verified) > VERIFIED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return principal

    async def aclose(self) -> None:
        """Let go of the connection to the issuer."""
        await self._keys.aclose()

    async def _check(self, token: str, now: int) -> tuple[int, Principal]:
        """Return when the token expires, and its principal."""
        key, service_only = await self._key_of(token)
        claims = _claims(token, key)
        expires = self._in_force(claims, now)
        principal = _principal(claims)
        if service_only and principal.roles != _SERVICE:
            raise Unauthenticated("the service key speaks for services only")
        return expires, principal

    async def _key_of(self, token: str) -> tuple[VerifyingKey, bool]:
        """Return the key that must have signed, and whether it is for services only."""
        header = _header(token)
        kid = header.get("kid")
        if not is_label(kid):
            raise Unauthenticated("kid")
        key = await self._keys.lookup(cast("str", kid))
        service_only = False
        if key is None and self._service_key is not None and self._service_key.kid == kid:
            key, service_only = self._service_key, True
        if key is None:
            raise Unauthenticated("unknown key")
        if header.get("alg") != key.algorithm or key.algorithm not in ALGORITHMS:
            raise Unauthenticated("algorithm")
        return key, service_only

    def _in_force(self, claims: dict[str, Json], now: int) -> int:
        """Return when the token expires, refusing one that is not ours or not in force."""
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._issuer or self._audience not in audiences:
            raise Unauthenticated("issuer or audience")
        expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
        not_before = _moment(claims, "nbf") if "nbf" in claims else issued
        if expires + LEEWAY_SECONDS <= now:
            raise Unauthenticated("expired")
        if expires - issued > TTL_MAX.total_seconds():
            raise Unauthenticated("in force for too long")
        if max(issued, not_before) > now + LEEWAY_SECONDS:
            raise Unauthenticated("not yet in force")
        return expires


def _header(token: str) -> dict[str, Json]:
    """Return the header of a compact JWS, whose shape is checked before its signature."""
    segments = token.split(".")
    if len(segments) != _SEGMENTS or not all(segments):
        raise Unauthenticated("not a signed token")
    try:
        header = strict_json.loads(decode_segment(segments[0]))
    except ValueError:
        _refuse("header")
    if not isinstance(header, dict) or "crit" in header or "b64" in header:
        raise Unauthenticated("header")
    kind = header.get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Unauthenticated("type")
    return header


def _claims(token: str, key: VerifyingKey) -> dict[str, Json]:
    """Return the claims that ``key`` signed."""
    try:
        signed = deserialize_compact(token, key.key, algorithms=[key.algorithm], registry=_REGISTRY)
        claims = strict_json.loads(signed.payload)
    except (JoseError, ValueError, TypeError):
        _refuse("signature or claims")
    if not isinstance(claims, dict):
        raise Unauthenticated("claims")
    return claims


def _principal(claims: dict[str, Json]) -> Principal:
    """Return the principal that the claims describe."""
    subject, organisation = claims.get("sub"), claims.get("organisation")
    if not is_label(subject) or not (organisation is None or is_label(organisation)):
        raise Unauthenticated("subject or organisation")
    roles = _names(claims, "roles")
    if not roles <= ROLES:
        raise Unauthenticated("unknown role")
    return Principal(
        subject=cast("str", subject),
        roles=roles,
        organisation=cast("str | None", organisation),
        sources=_names(claims, "sources"),
    )


def _names(claims: dict[str, Json], claim: str) -> frozenset[str]:
    """Return a claim that is a list of labels; a missing one is empty."""
    names = claims.get(claim)
    if names is None:
        return frozenset()
    if not isinstance(names, list) or len(names) > SOURCES_MAX or not all(map(is_label, names)):
        raise Unauthenticated(claim)
    return frozenset(cast("list[str]", names))


def _moment(claims: dict[str, Json], claim: str) -> int:
    """Return a claim that is a time in seconds; it is required."""
    moment = claims.get(claim)
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise Unauthenticated(claim)
    return int(moment)


def _refuse(reason: str) -> NoReturn:
    """Refuse without the cause, which could hold parts of the token."""
    raise Unauthenticated(reason) from None


_REGISTRY: JWSRegistry = jws_registry()
