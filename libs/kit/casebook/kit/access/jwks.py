"""The public keys of the issuer (JWKS, RFC 7517): from a file, or from a URL with a cache.

An issuer that cannot be reached for a while must not lock everybody out, and a token with an
invented key id must not make us ask the issuer again and again.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from casebook.kit import strict_json
from casebook.kit.clock import Clock
from casebook.kit.logging import get_logger
from casebook.kit.strict_json import Json

ALGORITHMS = frozenset({"EdDSA", "ES256", "RS256"})
"""The algorithms that are accepted; which one a key takes follows from the key, not the token."""

TTL = timedelta(minutes=10)
STALE_MAX = timedelta(hours=24)
REFETCH_AFTER = timedelta(seconds=30)
RETRY_AFTER = timedelta(seconds=1)
FETCH_SECONDS_MAX = 3.0
KEY_SET_BYTES_MAX = 256 * 1024
RSA_BITS_MIN = 2048

SigningAlgorithmKey = OKPKey | ECKey | RSAKey
Keys = Mapping[str, "VerifyingKey"]
_log = get_logger("kit")


class KeysUnavailable(Exception):
    """No key set could be read, or the last one is too old to be trusted."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its id and the one algorithm that it takes."""

    kid: str
    algorithm: str
    key: SigningAlgorithmKey


class KeySource(Protocol):
    """Where keys come from."""

    async def generation(self) -> int:
        """Return a number that changes whenever the keys do.

        :raises KeysUnavailable: when there are none.
        """
        ...

    async def lookup(self, kid: str) -> VerifyingKey | None:
        """Return the key of this id; ``None`` when the issuer has none.

        :raises KeysUnavailable: when there are no keys at all.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class FileKeys:
    """A key set in a file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._keys: Keys | None = None
        self._generation = 0

    async def generation(self) -> int:
        """Return a number that changes whenever the file does."""
        self._current()
        return self._generation

    async def lookup(self, kid: str) -> VerifyingKey | None:
        """Return the key of this id."""
        return self._current().get(kid)

    async def aclose(self) -> None:
        """Do nothing: a file is read at once."""

    def _current(self) -> Keys:
        """Return the keys, from memory while the file stands as it did."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._keys = parse_key_set(self._path.read_bytes())
                self._stamp = stamp
                self._generation += 1
        except (OSError, ValueError) as error:
            _log.warning("jwks.unreadable", exc_info=error)
        if self._keys is None:
            raise KeysUnavailable("the key set cannot be read")
        return self._keys


class RemoteKeys:
    """A key set behind a URL, kept for a while and, while the issuer is away, for a day."""

    def __init__(self, url: str, clock: Clock, client: httpx.AsyncClient | None = None) -> None:
        self._url = url
        self._clock = clock
        self._client = client or httpx.AsyncClient(timeout=FETCH_SECONDS_MAX)
        self._lock = asyncio.Lock()
        self._keys: Keys | None = None
        self._body = b""
        self._generation = 0
        self._fetched: datetime | None = None
        self._attempted: datetime | None = None

    async def generation(self) -> int:
        """Return a number that changes whenever the keys do."""
        await self._current()
        return self._generation

    async def lookup(self, kid: str) -> VerifyingKey | None:
        """Return the key of this id, asking the issuer for one that is new."""
        keys = await self._current()
        if kid not in keys:
            await self._fetch_once()
            keys = await self._current()
        return keys.get(kid)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _current(self) -> Keys:
        """Return the keys, fetched at most :data:`TTL` ago where the issuer answers."""
        if self._keys is None or (self._older(TTL) and not self._lock.locked()):
            await self._fetch_once()
        if self._keys is None or self._older(STALE_MAX):
            raise KeysUnavailable("the issuer's key set cannot be read")
        return self._keys

    def _older(self, age: timedelta) -> bool:
        """Say whether the keys are older than ``age``."""
        return self._fetched is None or self._clock.now() - self._fetched > age

    async def _fetch_once(self) -> None:
        """Fetch the keys, one caller at a time and not again for a while."""
        async with self._lock:
            now = self._clock.now()
            pause = RETRY_AFTER if self._keys is None else REFETCH_AFTER
            if self._attempted is not None and now - self._attempted < pause:
                return
            self._attempted = now
            try:
                body = await self._download()
                if body != self._body:
                    self._keys, self._body = parse_key_set(body), body
                    self._generation += 1
                self._fetched = now
            except (httpx.HTTPError, ValueError) as error:
                _log.warning("jwks.unreachable", exc_info=error)

    async def _download(self) -> bytes:
        """Return the body of the key set, up to a size."""
        body = b""
        async with self._client.stream("GET", self._url, follow_redirects=False) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > KEY_SET_BYTES_MAX:
                    raise ValueError("the key set is too large")
        return body


def key_source(jwks: str, clock: Clock) -> KeySource:
    """Return the source that ``jwks`` names: a URL, or the path of a file.

    :raises ValueError: for a URL that is neither http nor https.
    """
    if "://" not in jwks:
        return FileKeys(Path(jwks))
    if not jwks.startswith(("https://", "http://")):
        raise ValueError("a key set comes from a file, or by http or https")
    return RemoteKeys(jwks, clock)


def parse_key_set(body: bytes) -> Keys:
    """Return the keys of a key set by id, leaving out those that cannot verify for us.

    :raises ValueError: when the body is not a key set.
    """
    document = strict_json.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a key set")
    keys: dict[str, VerifyingKey] = {}
    for entry in entries:
        key = verifying_key(entry)
        if key is not None:
            keys.setdefault(key.kid, key)
    return keys


def verifying_key(entry: Json) -> VerifyingKey | None:
    """Return the public key that a JWK describes; ``None`` when it cannot verify for us."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, kind, curve = entry.get("kid"), entry.get("kty"), entry.get("crv")
    found = _KINDS.get((str(kind), str(curve) if kind != "RSA" else ""))
    if not isinstance(kid, str) or found is None:
        return None
    algorithm, key_class = found
    if entry.get("alg", algorithm) != algorithm:
        return None
    if kind == "RSA" and not _is_strong(entry.get("n")):
        return None
    public = {name: value for name, value in entry.items() if name not in _PRIVATE}
    try:
        key = key_class.import_key(cast("dict[str, Any]", public))
    except (JoseError, ValueError, TypeError):
        return None
    return VerifyingKey(kid=kid, algorithm=algorithm, key=key)


def _is_strong(modulus: Json) -> bool:
    """Say whether an RSA modulus is long enough to be trusted."""
    try:
        return isinstance(modulus, str) and len(decode_segment(modulus)) * 8 >= RSA_BITS_MIN
    except ValueError:
        return False


def decode_segment(segment: str) -> bytes:
    """Return the bytes of a base64url segment without padding.

    :raises ValueError: when it is not one.
    """
    padded = segment + "=" * (-len(segment) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


class _Registry(JWSRegistry):
    """Holds exactly our algorithms; joserfc warns about EdDSA's name, which issuers still use."""

    def get_alg(self, name: str) -> Any:
        """Return an algorithm of the allow-list."""
        return self.algorithms[name]


def jws_registry() -> JWSRegistry:
    """Return the registry that tokens are signed and verified with."""
    return _Registry(algorithms=sorted(ALGORITHMS))


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS: dict[tuple[str, str], tuple[str, type[SigningAlgorithmKey]]] = {
    ("OKP", "Ed25519"): ("EdDSA", OKPKey),
    ("EC", "P-256"): ("ES256", ECKey),
    ("RSA", ""): ("RS256", RSAKey),
}
