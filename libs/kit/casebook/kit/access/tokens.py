"""Minting tokens: for people by ``casebook token``, and for calls between services.

The signing key is an Ed25519 JWK in a file of mode 0600; its public half stands in the key set
that verifiers read.
"""

import base64
import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import orjson
from joserfc import jwt
from joserfc.jwk import OKPKey

from casebook.kit.access.identity import ROLES, TTL_MAX
from casebook.kit.access.jwks import VerifyingKey, jws_registry
from casebook.kit.clock import Clock, SystemClock
from casebook.kit.ids import new_id
from casebook.kit.secret_files import write_secret
from casebook.kit.text import is_label

ALGORITHM = "EdDSA"
SERVICE_TTL = timedelta(minutes=5)
SERVICE_RENEW_BEFORE = timedelta(minutes=1)


class Signer:
    """Signs tokens with the private key in ``path``.

    :raises ValueError: when the file holds no private Ed25519 key.
    """

    def __init__(self, path: Path, issuer: str, audience: str, clock: Clock | None = None) -> None:
        self._key = _read_key(path)
        self._issuer = issuer
        self._audience = audience
        self._clock = clock or SystemClock()

    @property
    def kid(self) -> str:
        """Return the id of the key."""
        return str(self._key.kid)

    @property
    def verifying_key(self) -> VerifyingKey:
        """Return the public half."""
        public = OKPKey.import_key(cast("dict[str, Any]", self._key.as_dict(private=False)))
        return VerifyingKey(kid=self.kid, algorithm=ALGORITHM, key=public)

    def mint(
        self,
        subject: str,
        roles: Collection[str],
        organisation: str | None = None,
        sources: Collection[str] = (),
        ttl: timedelta = timedelta(hours=1),
    ) -> str:
        """Return a token that proves this principal for ``ttl`` from now.

        :raises ValueError: for an unknown role, a name that is no label, or a time beyond a year.
        """
        names = [subject, *sources, *(() if organisation is None else (organisation,))]
        if not set(roles) <= ROLES or not roles:
            raise ValueError(f"the roles are {', '.join(sorted(ROLES))}")
        if not all(map(is_label, names)):
            raise ValueError("a name is one visible line of at most 200 characters")
        if not timedelta(0) < ttl <= TTL_MAX:
            raise ValueError("a token is valid for more than nothing and at most a year")
        now = self._clock.now()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": int(now.timestamp()),
            "exp": int((now + ttl).timestamp()),
            "jti": str(new_id()),
            "roles": sorted(set(roles)),
            "sources": sorted(set(sources)),
        }
        if organisation is not None:
            claims["organisation"] = organisation
        header = {"alg": ALGORITHM, "kid": self.kid}
        return jwt.encode(
            header, claims, self._key, algorithms=[ALGORITHM], registry=jws_registry()
        )


class ServiceTokens:
    """Tokens of role ``service``, short-lived and minted anew shortly before they expire."""

    def __init__(self, signer: Signer, service: str, clock: Clock | None = None) -> None:
        self._signer = signer
        self._subject = f"service:{service}"
        self._clock = clock or SystemClock()
        self._token = ""
        self._renew: datetime | None = None

    def current(self) -> str:
        """Return a token that is valid for at least a minute."""
        now = self._clock.now()
        if self._renew is None or now >= self._renew:
            self._token = self._signer.mint(self._subject, ("service",), ttl=SERVICE_TTL)
            self._renew = now + SERVICE_TTL - SERVICE_RENEW_BEFORE
        return self._token

    def headers(self) -> dict[str, str]:
        """Return the header that carries the token."""
        return {"Authorization": f"Bearer {self.current()}"}


def new_key_file(path: Path) -> None:
    """Write a new private key to ``path``, readable by its owner only.

    :raises FileExistsError: when the file exists: a key is never replaced by accident.
    """
    key = OKPKey.generate_key("Ed25519")
    parameters = {**key.as_dict(private=True), "kid": _thumbprint(key), "use": "sig"}
    write_secret(path, orjson.dumps({**parameters, "alg": ALGORITHM}, option=orjson.OPT_INDENT_2))


def public_jwks(*paths: Path) -> dict[str, Any]:
    """Return the key set of the public halves of the private keys in ``paths``."""
    return {"keys": [_read_key(path).as_dict(private=False) for path in paths]}


def _read_key(path: Path) -> OKPKey:
    """Return the private key in a file.

    :raises ValueError: when the file holds no private Ed25519 key.
    """
    try:
        document = orjson.loads(path.read_bytes())
        key = OKPKey.import_key(document)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path.name} holds no private key: {type(error).__name__}") from None
    if not key.is_private or key.curve_name != "Ed25519":
        raise ValueError(f"{path.name} holds no private Ed25519 key")
    if key.kid is None:
        key = OKPKey.import_key({**document, "kid": _thumbprint(key)})
    return key


def _thumbprint(key: OKPKey) -> str:
    """Return the key's id: its RFC 7638 thumbprint."""
    members = {name: key.as_dict()[name] for name in ("crv", "kty", "x")}
    digest = hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
