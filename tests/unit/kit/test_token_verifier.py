import hashlib
import hmac
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from casebook.kit.access.identity import TOKEN_BYTES_MAX, Principal, TokenVerifier, Unauthenticated
from casebook.kit.access.jwks import KeysUnavailable, RemoteKeys, jws_registry, key_source
from casebook.kit.access.tokens import Signer, new_key_file, public_jwks
from tests.support.tokens import (
    AUDIENCE,
    ISSUER,
    NOW,
    TestClock,
    new_signer,
    segment,
    write_jwks,
)

EPOCH = int(NOW.timestamp())
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ann",
    "iat": EPOCH,
    "exp": EPOCH + 3600,
    "roles": ["agent", "lead"],
    "organisation": "华东制造",
    "sources": ["uci498"],
}


class Issuer:
    """An issuer with one Ed25519 key, its key set in a file, and a verifier that trusts it."""

    def __init__(self, folder: Path) -> None:
        self.clock = TestClock()
        self.folder = folder
        self.signer = new_signer(folder, self.clock)
        self.jwks = folder / "jwks.json"
        write_jwks(self.jwks, folder / "key.json")
        self.key = OKPKey.import_key(json.loads((folder / "key.json").read_text()))
        self.verifier = TokenVerifier(str(self.jwks), ISSUER, AUDIENCE, clock=self.clock)

    def token(self, claims: Any = None, **header: Any) -> str:
        content = claims if isinstance(claims, bytes) else json.dumps(claims or CLAIMS).encode()
        protected = {"alg": "EdDSA", "kid": self.signer.kid, "typ": "JWT", **header}
        return jws.serialize_compact(protected, content, self.key, registry=jws_registry())


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


async def refused(issuer: Issuer, token: str) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        await issuer.verifier.verify(token)
    return refusal.value.reason


async def test_a_good_token_gives_its_principal(issuer: Issuer) -> None:
    assert await issuer.verifier.verify(issuer.token()) == Principal(
        subject="ann",
        roles=frozenset({"agent", "lead"}),
        organisation="华东制造",
        sources=frozenset({"uci498"}),
    )


async def test_a_minted_token_gives_its_principal(issuer: Issuer) -> None:
    token = issuer.signer.mint("bob", ["requester"], organisation="acme")
    principal = await issuer.verifier.verify(token)
    assert principal == Principal("bob", frozenset({"requester"}), "acme")


def altered(**changes: Any) -> dict[str, Any]:
    claims = {**CLAIMS, **changes}
    return {name: value for name, value in claims.items() if value is not ...}


BAD_CLAIMS = {
    "another issuer": altered(iss="https://evil.test"),
    "no issuer": altered(iss=...),
    "another audience": altered(aud="other"),
    "no audience": altered(aud=...),
    "audiences without ours": altered(aud=["a", "b"]),
    "audience of another type": altered(aud={"casebook": 1}),
    "expired": altered(exp=EPOCH - 31),
    "no expiry": altered(exp=...),
    "expiry as text": altered(exp="9999999999"),
    "expiry as truth": altered(exp=True),
    "issued in the future": altered(iat=EPOCH + 31),
    "no issue time": altered(iat=...),
    "not before the future": altered(nbf=EPOCH + 31),
    "not before as text": altered(nbf="0"),
    "no subject": altered(sub=...),
    "empty subject": altered(sub=""),
    "blank subject": altered(sub="  "),
    "subject of two lines": altered(sub="a\nb"),
    "subject with NUL": altered(sub="a\0"),
    "subject with a surrogate": altered(sub="\ud800"),
    "subject with a bidi override": altered(sub="a\u202eb"),
    "subject not in NFC": altered(sub="e\u0301"),
    "subject too long": altered(sub="x" * 201),
    "subject as a number": altered(sub=1),
    "unknown role": altered(roles=["root"]),
    "role as text": altered(roles="admin"),
    "roles as an object": altered(roles={"admin": True}),
    "role of another type": altered(roles=[1]),
    "empty organisation": altered(organisation=""),
    "organisation as a list": altered(organisation=["a"]),
    "too many sources": altered(sources=[f"s{i}" for i in range(101)]),
    "source with NUL": altered(sources=["a\0"]),
    "duplicate claim": b'{"roles":["requester"],' + json.dumps(CLAIMS).encode()[1:],
    "claims that are no object": b'["admin"]',
    "claims that are no JSON": b"admin",
    "claims with NaN": json.dumps(altered(x=float("nan"))).encode(),
    "claims nested deep": b'{"x":' + b"[" * 40 + b"]" * 40 + b"," + json.dumps(CLAIMS).encode()[1:],
    "expiry beyond all bounds": json.dumps(CLAIMS).replace(str(EPOCH + 3600), "1e400").encode(),
}


@pytest.mark.parametrize("claims", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_bad_claims_are_refused_although_signed(issuer: Issuer, claims: Any) -> None:
    await refused(issuer, issuer.token(claims))


@pytest.mark.parametrize(
    "claims",
    [
        altered(exp=EPOCH - 29),
        altered(iat=EPOCH + 29),
        altered(nbf=EPOCH + 30),
        altered(aud=["other", AUDIENCE]),
        altered(organisation=None, roles=..., sources=...),
        altered(exp=EPOCH + 0.5),
    ],
    ids=["leeway of exp", "leeway of iat", "leeway of nbf", "two audiences", "no rights", "float"],
)
async def test_what_is_still_good_is_accepted(issuer: Issuer, claims: dict[str, Any]) -> None:
    assert (await issuer.verifier.verify(issuer.token(claims))).subject == "ann"


async def test_no_algorithm_is_refused(issuer: Issuer) -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        header = segment({"alg": name, "kid": issuer.signer.kid})
        await refused(issuer, f"{header}.{segment(CLAIMS)}.")
        await refused(issuer, f"{header}.{segment(CLAIMS)}.{segment(b'x')}")


async def test_the_public_key_is_no_hmac_secret(issuer: Issuer) -> None:
    public = issuer.key.as_dict(private=False)
    pem = issuer.key.as_pem(private=False)
    for secret in (pem, json.dumps(public).encode(), str(public["x"]).encode()):
        signing = f"{segment({'alg': 'HS256', 'kid': issuer.signer.kid})}.{segment(CLAIMS)}"
        signature = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
        assert await refused(issuer, f"{signing}.{segment(signature)}") == "algorithm"


async def test_a_key_in_the_header_is_not_trusted(issuer: Issuer) -> None:
    other = OKPKey.generate_key("Ed25519")
    header = {"alg": "EdDSA", "kid": "mine", "jwk": other.as_dict(private=False)}
    token = jws.serialize_compact(
        header, json.dumps(CLAIMS).encode(), other, registry=jws_registry()
    )
    assert await refused(issuer, token) == "unknown key"


@pytest.mark.parametrize(
    "kid",
    ["../../key.json", "/dev/null", "' OR 1=1 --", "http://evil.test/jwks", "", "a\0", 7, None],
)
async def test_a_strange_key_id_finds_nothing(issuer: Issuer, kid: object) -> None:
    header = segment({"alg": "EdDSA", "kid": kid})
    reason = await refused(issuer, f"{header}.{segment(CLAIMS)}.{segment(b'x' * 64)}")
    assert reason in {"header", "kid", "unknown key"}


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": False}, {"typ": "JWE"}, {"typ": 1}, {"alg": "ES256"}]
)
async def test_a_strange_header_is_refused(issuer: Issuer, header: dict[str, Any]) -> None:
    protected = {"alg": "EdDSA", "kid": issuer.signer.kid, **header}
    await refused(issuer, f"{segment(protected)}.{segment(CLAIMS)}.{segment(b'x' * 64)}")


async def test_a_changed_token_is_refused(issuer: Issuer) -> None:
    header, claims, signature = issuer.token().split(".")
    forged = segment({**CLAIMS, "roles": ["admin"]})
    await refused(issuer, f"{header}.{forged}.{signature}")
    await refused(issuer, f"{header}.{claims}.{signature[:-4]}AAAA")
    await refused(issuer, f"{header}.{claims}.")
    duplicate = (
        b'{"alg":"none",' + json.dumps({"alg": "EdDSA", "kid": issuer.signer.kid}).encode()[1:]
    )
    await refused(issuer, f"{segment(duplicate)}.{claims}.{signature}")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "\0", "{}", "Bearer x", "=.=.="],
)
async def test_garbage_is_refused(issuer: Issuer, token: str) -> None:
    await refused(issuer, token)


async def test_a_token_of_more_than_eight_kibibytes_is_not_even_read(issuer: Issuer) -> None:
    token = issuer.token(altered(padding="x" * TOKEN_BYTES_MAX))
    assert await refused(issuer, token) == "size"


async def test_a_verified_token_expires_although_it_is_remembered(issuer: Issuer) -> None:
    token = issuer.token()
    await issuer.verifier.verify(token)
    issuer.clock.pass_(timedelta(seconds=3629))
    await issuer.verifier.verify(token)
    issuer.clock.pass_(timedelta(seconds=1))
    assert await refused(issuer, token) == "expired"


async def test_keys_are_rotated_by_writing_the_file(issuer: Issuer) -> None:
    old = issuer.token()
    await issuer.verifier.verify(old)
    second = new_signer(issuer.folder, issuer.clock, "second.json")
    assert await refused(issuer, second.mint("ann", ["agent"])) == "unknown key"
    write_jwks(issuer.jwks, issuer.folder / "key.json", issuer.folder / "second.json")
    await issuer.verifier.verify(second.mint("ann", ["agent"]))
    await issuer.verifier.verify(old)
    write_jwks(issuer.jwks, issuer.folder / "second.json")
    assert await refused(issuer, old) == "unknown key"  # the memory of tokens was dropped too


async def test_a_broken_key_file_leaves_the_old_keys(issuer: Issuer) -> None:
    await issuer.verifier.verify(issuer.token())
    issuer.jwks.write_text("{")
    await issuer.verifier.verify(issuer.token())


async def test_without_any_keys_nobody_is_called_unauthenticated(tmp_path: Path) -> None:
    verifier = TokenVerifier(str(tmp_path / "none.json"), ISSUER, AUDIENCE)
    with pytest.raises(KeysUnavailable):
        await verifier.verify("a.b.c")


async def test_other_algorithms_of_the_list_verify(issuer: Issuer) -> None:
    keys: dict[str, ECKey | RSAKey] = {
        "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
        "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    }
    public = [key.as_dict(private=False) for key in keys.values()]
    issuer.jwks.write_text(json.dumps({"keys": public}))
    for algorithm, key in keys.items():
        token = jws.serialize_compact(
            {"alg": algorithm, "kid": key.kid}, json.dumps(CLAIMS).encode(), key
        )
        assert (await issuer.verifier.verify(token)).subject == "ann"


async def test_keys_that_cannot_verify_are_left_out(issuer: Issuer) -> None:
    with pytest.warns(SecurityWarning):
        small = RSAKey.generate_key(1024, {"kid": "small"}).as_dict(private=False)
    good = issuer.key.as_dict(private=False)
    strange: list[Any] = [
        7,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "alg", "alg": "none"},
        {**good, "kid": "broken", "x": "?"},
        {"kty": "OKP", "crv": "X25519", "kid": "x", "x": good["x"]},
        small,
    ]
    issuer.jwks.write_text(json.dumps({"keys": [*strange, good]}))
    for kid in ("secret", "enc", "alg", "broken", "x", "small"):
        header = segment({"alg": "EdDSA", "kid": kid})
        token = f"{header}.{segment(CLAIMS)}.{segment(b'x' * 64)}"
        assert await refused(issuer, token) == "unknown key"
    await issuer.verifier.verify(issuer.token())


async def test_the_service_key_speaks_for_services_only(issuer: Issuer) -> None:
    own = new_signer(issuer.folder, issuer.clock, "service.json")
    verifier = TokenVerifier(
        str(issuer.jwks), ISSUER, AUDIENCE, service_key=own.verifying_key, clock=issuer.clock
    )
    principal = await verifier.verify(own.mint("service:intake", ["service"]))
    assert principal.roles == {"service"}
    for roles in (["admin"], ["service", "admin"]):
        with pytest.raises(Unauthenticated):
            await verifier.verify(own.mint("ann", roles))


class Remote:
    """An issuer behind a URL, that counts and can be away."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.requests = 0
        self.away = False
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        keys = RemoteKeys("https://issuer.test/jwks", issuer.clock, client)
        self.verifier = TokenVerifier(keys, ISSUER, AUDIENCE, clock=issuer.clock)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(503) if self.away else httpx.Response(200, content=self._body())

    def _body(self) -> bytes:
        return self.issuer.jwks.read_bytes()


async def test_remote_keys_are_fetched_once_in_ten_minutes(issuer: Issuer) -> None:
    remote = Remote(issuer)
    for _ in range(5):
        await remote.verifier.verify(issuer.token())
    assert remote.requests == 1
    issuer.clock.pass_(timedelta(minutes=10, seconds=1))
    await remote.verifier.verify(issuer.token())
    assert remote.requests == 2
    await remote.verifier.aclose()


async def test_an_issuer_that_is_away_is_trusted_for_a_day(issuer: Issuer) -> None:
    remote = Remote(issuer)
    token = issuer.token(altered(exp=EPOCH + 10**6))
    await remote.verifier.verify(token)
    remote.away = True
    issuer.clock.pass_(timedelta(hours=23))
    await remote.verifier.verify(token)
    issuer.clock.pass_(timedelta(hours=2))
    with pytest.raises(KeysUnavailable):
        await remote.verifier.verify(token)
    remote.away = False
    issuer.clock.pass_(timedelta(seconds=31))
    await remote.verifier.verify(token)
    await remote.verifier.aclose()


async def test_an_unknown_key_id_asks_again_at_most_twice_a_minute(issuer: Issuer) -> None:
    remote = Remote(issuer)
    await remote.verifier.verify(issuer.token())
    second = new_signer(issuer.folder, issuer.clock, "second.json")
    write_jwks(issuer.jwks, issuer.folder / "key.json", issuer.folder / "second.json")
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await remote.verifier.verify(second.mint("ann", ["agent"]))
    assert remote.requests == 1
    issuer.clock.pass_(timedelta(seconds=30))
    await remote.verifier.verify(second.mint("ann", ["agent"]))
    assert remote.requests == 2
    await remote.verifier.aclose()


def test_a_key_set_comes_from_a_file_or_by_http() -> None:
    with pytest.raises(ValueError, match="http"):
        key_source("ftp://issuer.test/jwks", TestClock())


def test_a_key_file_is_the_owners_only_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    new_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        new_key_file(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["key.json"]
    assert "d" not in public_jwks(path)["keys"][0]


def test_minting_refuses_what_a_verifier_would_refuse(issuer: Issuer) -> None:
    mint = issuer.signer.mint
    for bad in (
        lambda: mint("", ["agent"]),
        lambda: mint("ann", ["root"]),
        lambda: mint("ann", []),
        lambda: mint("ann", ["agent"], organisation=""),
        lambda: mint("ann", ["agent"], sources=["a\0"]),
        lambda: mint("ann", ["agent"], ttl=timedelta(0)),
        lambda: mint("ann", ["agent"], ttl=timedelta(days=367)),
    ):
        with pytest.raises(ValueError, match=r"label|role|line|year"):
            bad()


def test_a_file_without_a_private_key_signs_nothing(issuer: Issuer, tmp_path: Path) -> None:
    public = tmp_path / "public.json"
    public.write_text(json.dumps(issuer.key.as_dict(private=False)))
    for path in (public, tmp_path / "missing.json"):
        with pytest.raises(ValueError, match="no private"):
            Signer(path, ISSUER, AUDIENCE)
