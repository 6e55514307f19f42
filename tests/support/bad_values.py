"""Values that nobody should take: moments, ids, cursors, tokens."""

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any

from joserfc import jws
from joserfc.jwk import OKPKey

from casebook.kit.access.jwks import jws_registry
from casebook.platform.home import Home

BAD_MOMENTS = (
    "2026-01-05T08:00:00", "2026-02-30T00:00:00Z", "2026-01-05", "now", "", "0", "1767600000",
    "1767600000000", "NaN", "1e400", "infinity", "-infinity", "+292277-01-01T00:00:00Z",
    "2026-01-05T08:00:00+99:99", "\uff12026-01-05T08:00:00Z", "2026-13-01T00:00:00Z",
    "2026-01-05T25:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
    "1999-12-31T23:59:59Z", "2100-01-01T00:00:01Z", "9999-12-31T23:59:59-23:59",
)  # fmt: skip
BAD_IDS = (
    str(uuid.uuid4()), str(uuid.UUID(int=0)), "nonsense", "0", "-1", "%00", "%0a", "..%2f..",
    "%ed%a0%80", "%ff", "x" * 300, "%E6%9C%8D%E5%8A%A1%E5%8F%B0", "a@1", "a%2Fb", "'%20OR%201=1",
    "%F0%9F%98%80", "null", "*", "%25",
)  # fmt: skip
BAD_VALUES = (
    "", "x", "-1", "0", str(2**31), str(2**63), "1e9", "NaN", "true", "null", "%00", "' OR 1=1--",
    "服务台", "x" * 3000, "\u202e", "[]", "1.5", "\u0661", "\U0001d7d9",
)  # fmt: skip


def cursor(*values: object) -> str:
    """Return a cursor as a list would write it."""
    text = json.dumps(values, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


BAD_CURSORS = (
    "x", "====", "%", "e30", cursor(), cursor(1), cursor("x"), cursor(1, "x"), cursor("x", "y"),
    cursor(2**31, "x"), cursor(2**63 - 1, "x"), cursor(2**63, "x"), cursor(-(2**63) - 1),
    cursor(2**64), cursor(True, "x"), cursor(None, None), cursor(1.5), cursor("x\x00"),
    cursor("2026-01-05T08:00:00+00:00", "not-an-id"), cursor("0001-01-01T00:00:00+23:59", "x"),
    cursor("9999-12-31T23:59:59-23:59", str(uuid.uuid4())), cursor("2026-01-05T08:00:00", "x"),
    cursor([["x"]]), cursor(*range(50)), base64.urlsafe_b64encode(b"[1e400]").decode(),
    base64.urlsafe_b64encode(b'["\\ud800"]').decode(), base64.urlsafe_b64encode(b"\xff").decode(),
    cursor("2026-01-05T08:00:00+00:00", "1", "2", "3"), cursor(1, 1, "x"), cursor(9, "x", "y"),
)  # fmt: skip


def bad_authorisations(home: Home, good: str) -> list[str]:
    """Return values of the header that prove nothing; ``good`` is a token that does."""
    header, claims, signature = good.split(".")
    private = json.loads(home.signing_key.read_text())
    public = json.loads(home.jwks.read_text())["keys"][0]
    kid, body = private["kid"], json.loads(_decoded(claims))
    forged = _segment(body | {"sub": "admin"})
    return [
        f"Bearer {token}"
        for token in (
            "x", "null", ".", "..", "a.b.c", good[:-2], good + "x", f"{good}.x", good * 40,
            f"{header}.{claims}.", f"{header}.{forged}.{signature}", "é",
            f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{forged}.",
            f"{_segment({'alg': 'none', 'kid': kid})}.{forged}.{signature}",
            f"{_segment({'alg': 'EdDSA', 'kid': '../../etc/passwd'})}.{claims}.{signature}",
            f"{_segment({'alg': 'EdDSA', 'kid': kid, 'crit': ['x']})}.{claims}.{signature}",
            f"{_segment({'alg': 'EdDSA', 'jwk': public})}.{claims}.{signature}",
            _hmac_signed({"alg": "HS256", "kid": kid}, body, public["x"]),
            *(
                _signed(private, body | change)
                for change in (
                    {"iss": "https://elsewhere"}, {"aud": "other"}, {"aud": []}, {"exp": 1},
                    {"exp": "later"}, {"iat": 2**40}, {"nbf": 2**40}, {"sub": ""}, {"sub": None},
                    {"sub": "a\nb"}, {"roles": ["emperor"]}, {"roles": "admin"},
                    {"roles": [["admin"]]}, {"sources": ["x"] * 500}, {"organisation": 1},
                )
            ),
            *(
                _signed_text(private, json.dumps(body)[:-1] + end)
                for end in (
                    ', "sub": "admin"}', ', "roles": ["admin"]}', ', "exp": NaN}', "",
                    ', "x": ' + "[" * 2000 + "]" * 2000 + "}", ', "organisation": "\\ud800"}',
                )
            ),
        )
    ]  # fmt: skip


def _signed(key: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a token of ours that says something else."""
    return _signed_text(key, json.dumps(claims))


def _signed_text(key: dict[str, Any], text: str) -> str:
    """Return a token of ours around a text, whether that is JSON or not."""
    header = {"alg": "EdDSA", "kid": key["kid"]}
    content = text.encode()
    return jws.serialize_compact(header, content, OKPKey.import_key(key), registry=jws_registry())


def _hmac_signed(header: dict[str, str], claims: dict[str, Any], secret: str) -> str:
    """Return a token signed with a public key as if it were a secret."""
    content = f"{_segment(header)}.{_segment(claims)}"
    digest = hmac.new(secret.encode(), content.encode(), hashlib.sha256).digest()
    return f"{content}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
