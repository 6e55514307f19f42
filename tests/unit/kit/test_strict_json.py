import json
import time

import pytest

from casebook.kit.strict_json import PROBLEMS, BadBody, loads
from tests.support.nasties import NASTIES, Nasty

REFUSED = [nasty for nasty in NASTIES if nasty.code is not None]
ACCEPTED = [nasty for nasty in NASTIES if nasty.code is None]
SECRET = "canary-7f3a"
BODY_BYTES = 5 * 1024 * 1024


@pytest.mark.parametrize("nasty", REFUSED, ids=lambda nasty: nasty.name)
def test_a_nasty_body_is_refused_with_its_code(nasty: Nasty) -> None:
    with pytest.raises(BadBody) as refusal:
        loads(nasty.body)
    assert refusal.value.code == nasty.code
    assert refusal.value.status in (400, 422)


@pytest.mark.parametrize("nasty", ACCEPTED, ids=lambda nasty: nasty.name)
def test_an_unusual_but_good_body_is_read_as_the_standard_library_reads_it(nasty: Nasty) -> None:
    assert loads(nasty.body) == json.loads(nasty.body)


def test_the_corpus_shows_every_code() -> None:
    assert {nasty.code for nasty in REFUSED} == set(PROBLEMS)


def test_a_problem_never_repeats_the_input() -> None:
    for tail in ('"\\u0000"', "NaN", "1e400", '{"a":1,"a":2}', "9" * 30, "[" * 40 + "]" * 40):
        with pytest.raises(BadBody) as refusal:
            loads(f'["{SECRET}", {tail}]'.encode())
        assert SECRET not in str(refusal.value)
        assert refusal.value.__cause__ is None
        assert refusal.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ('{"a": 1', "line 1, column 8"),
        ('{"a": 1,\n "b": }', "line 2, column 7"),
        ('["请求",\n\n x]', "line 3, column 2"),
        ('{"NaN": "\\"NaN",\n "b": [1, NaN, NaN]}', "line 2, column 11"),
        ("[-Infinity]", "line 1, column 2"),
    ],
)
def test_malformed_json_is_told_where_it_stops_being_json(text: str, place: str) -> None:
    with pytest.raises(BadBody) as refusal:
        loads(text.encode())
    assert refusal.value.code == "malformed-json"
    assert refusal.value.detail == f"the body is not valid JSON: {place}"


def test_five_mebibytes_of_events_are_read_quickly() -> None:
    event = {"id": "1", "title": "请求标题", "data": {"a": 1.5, "b": None, "c": ["x", "y"]}}
    body = json.dumps([event] * (BODY_BYTES // 90), ensure_ascii=False).encode()
    started = time.process_time()  # of our own, whoever else is at work
    loads(body)
    assert time.process_time() - started < 2  # 0.2 s on an idle core
