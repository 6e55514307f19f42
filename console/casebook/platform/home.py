"""A home: the folder of one embedded platform, with its database, keys and admin token."""

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from casebook.kit.access.tokens import Signer, new_key_file, public_jwks
from casebook.kit.postgres.embedded import dsn_of
from casebook.kit.secret_files import write_secret
from casebook.kit.settings import Settings

ISSUER = AUDIENCE = "casebook"
ADMIN = "admin"
ADMIN_TOKEN_TTL = timedelta(days=365)
_OWNER_ONLY = 0o700


class HomeNotFound(Exception):
    """The folder is not a home yet; ``casebook init`` or ``casebook up`` makes one."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of a home."""

    path: Path

    @property
    def signing_key(self) -> Path:
        """Return the private key that tokens are signed with."""
        return self.path / "signing.jwk"

    @property
    def jwks(self) -> Path:
        """Return the public keys that tokens are verified with."""
        return self.path / "jwks.json"

    @property
    def master_key(self) -> Path:
        """Return the key that wraps all data keys."""
        return self.path / "master.key"

    @property
    def admin_token(self) -> Path:
        """Return the file with the administrator's token."""
        return self.path / "admin.token"

    @property
    def address(self) -> Path:
        """Return the file that says where the running platform listens."""
        return self.path / "address.json"

    @property
    def log(self) -> Path:
        """Return the file for what a platform logs that a command started."""
        return self.path / "platform.log"

    def prepare(self) -> None:
        """Create what is missing; a key that is there is never replaced."""
        self.path.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        if not self.signing_key.exists():
            new_key_file(self.signing_key)
        if not self.jwks.exists():
            self.jwks.write_text(json.dumps(public_jwks(self.signing_key)), encoding="utf-8")
        if not self.master_key.exists():
            from casebook.kit.keys import new_master_key  # noqa: PLC0415 - slow to import

            new_master_key(self.master_key)
        if not self.admin_token.exists():
            token = self.signer().mint(ADMIN, [ADMIN], ttl=ADMIN_TOKEN_TTL)
            write_secret(self.admin_token, token.encode())

    def check(self) -> None:
        """Check that this is a home.

        :raises HomeNotFound: when it was never prepared.
        """
        if not self.signing_key.exists():
            raise HomeNotFound(f"{self.path} is not a Casebook home; run: casebook up")

    def signer(self) -> Signer:
        """Return the signer of this home's tokens."""
        return Signer(self.signing_key, ISSUER, AUDIENCE)

    def settings(self, dsn: str, url: str) -> Settings:
        """Return the settings of the five services on this home."""
        services = ("intake", "dispatch", "monitoring", "quality", "risk")
        return Settings.model_validate(
            {
                "database_url": dsn,
                "kafka_bootstrap": "",
                "jwks": str(self.jwks),
                "jwt_issuer": ISSUER,
                "jwt_audience": AUDIENCE,
                "signing_key": self.signing_key,
                "master_key_file": self.master_key,
                # Whoever writes here wakes who has to know; to look is for what was missed.
                "poll_seconds": 2.0,
                **{f"{service}_url": url for service in services},
            }
        )

    def announce(self, url: str) -> None:
        """Say where the platform listens."""
        draft = self.address.with_suffix(".draft")
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
        draft.replace(self.address)

    def retract(self) -> None:
        """Say that no platform listens any more."""
        self.address.unlink(missing_ok=True)

    def running_url(self) -> str | None:
        """Return where the platform of this home listens; ``None`` when none runs."""
        if dsn_of(self.path) is None:
            return None
        try:
            found = json.loads(self.address.read_text(encoding="utf-8"))
            os.kill(found["pid"], 0)
        except (OSError, ValueError, KeyError):
            return None
        return str(found["url"])
