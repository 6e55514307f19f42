import base64
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag

from casebook.events.values import Sealed
from casebook.kit.decider import SealedText
from casebook.kit.keys import (
    DataKey,
    MissingMasterKey,
    digest,
    new_master_key,
    open_,
    open_bytes,
    read_master_key,
    seal,
    seal_bytes,
    service_of,
)

KEY = DataKey("intake.0199a0f3-5d5a-7c3e-8c3e-2f6d1b1c9a10", bytes(range(32)))
OTHER = DataKey("intake.other", bytes(32))
EVENT = UUID("0199a0f3-5d5a-7c3e-8c3e-2f6d1b1c9a11")
TEXT = "打印机又坏了 😀\n第二行"


def kept(sealed: Sealed, event_id: UUID = EVENT, name: str = "title") -> SealedText:
    return SealedText(sealed.key, sealed.ciphertext, event_id, name)


def test_sealed_text_is_opened() -> None:
    sealed = seal(KEY, EVENT, "title", TEXT)
    assert sealed.key == KEY.key_id
    assert TEXT not in sealed.ciphertext
    assert open_(KEY, kept(sealed)) == TEXT
    assert service_of(sealed.key) == "intake"


def test_sealing_is_the_same_every_time_and_differs_by_place_and_text() -> None:
    sealed = seal(KEY, EVENT, "title", TEXT)
    assert seal(KEY, EVENT, "title", TEXT) == sealed
    others = [
        seal(KEY, EVENT, "description", TEXT),
        seal(KEY, uuid4(), "title", TEXT),
        seal(KEY, EVENT, "title", TEXT + "!"),
        seal(OTHER, EVENT, "title", TEXT),
    ]
    nonces = {base64.urlsafe_b64decode(one.ciphertext[:16]) for one in (sealed, *others)}
    assert len(nonces) == 5


def test_text_that_was_moved_or_changed_is_not_opened() -> None:
    sealed = seal(KEY, EVENT, "title", TEXT)
    assert open_(KEY, kept(sealed, name="description")) is None
    assert open_(KEY, kept(sealed, event_id=uuid4())) is None
    assert open_(OTHER, kept(sealed)) is None
    good = kept(sealed)
    for broken in ("", "A", "!", "é", good.ciphertext[:-4], "A" + good.ciphertext[1:]):
        assert open_(KEY, replace(good, ciphertext=broken)) is None


def test_the_wire_format_is_nonce_ciphertext_tag_in_base64url() -> None:
    ciphertext = seal(KEY, EVENT, "title", "x").ciphertext
    assert not set(ciphertext) & set("+/=")
    assert len(base64.urlsafe_b64decode(ciphertext + "=" * (-len(ciphertext) % 4))) == 12 + 1 + 16


def test_bytes_are_bound_to_their_row() -> None:
    sealed = seal_bytes(KEY, EVENT, b"{}")
    assert open_bytes(KEY, EVENT, sealed) == b"{}"
    for row, content in ((uuid4(), sealed), (EVENT, sealed[:-1]), (EVENT, b"")):
        with pytest.raises(InvalidTag):
            open_bytes(KEY, row, content)


def test_a_digest_of_secrets_needs_the_key() -> None:
    assert digest(None, b"x") == digest(None, b"x")
    assert len({digest(None, b"x"), digest(KEY, b"x"), digest(OTHER, b"x"), digest(KEY, b"y")}) == 4
    assert len(digest(KEY, b"x")) >= 22


def test_a_data_key_never_shows_itself() -> None:
    assert "secret" not in repr(KEY)


def test_a_master_key_is_the_owners_only_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    new_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_master_key(path)) == 32
    with pytest.raises(FileExistsError):
        new_master_key(path)


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(bytes(31)), b"\xff" * 44])
def test_a_file_without_a_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(MissingMasterKey):
        read_master_key(path)
    with pytest.raises(MissingMasterKey):
        read_master_key(tmp_path / "none")
