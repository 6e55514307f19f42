import pytest

from casebook.kit.text import is_label, is_safe_address, is_safe_header


@pytest.mark.parametrize("value", ["a", "王芳", "service:intake", "x" * 200, "a b", "é"])
def test_a_label_is_one_visible_line(value: str) -> None:
    assert is_label(value)


@pytest.mark.parametrize(
    "value",
    ["", " ", "a\nb", "a\tb", "a\0", "\ud800", "\ufffe", "\u202e", "\u2028", "e\u0301", "x" * 201,
     None, 7, True, ["a"], b"a"],
)  # fmt: skip
def test_everything_else_is_none(value: object) -> None:
    assert not is_label(value)


def test_addresses_are_judged_by_what_they_decode_to() -> None:
    assert is_safe_address(b"/a/%E4%B8%AD?b=%0A")
    for bad in (b"%00", b"%1b", b"%7F", b"%ff", b"%ED%A0%80", b"%EF%BF%BE", b"\xff"):
        assert not is_safe_address(bad)


def test_headers_hold_no_control_characters() -> None:
    assert is_safe_header("text; q=1\té".encode())
    for bad in (b"a\r\nb", b"\0", b"\x7f"):
        assert not is_safe_header(bad)
