import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.quality.domain.wilson import interval


# Newcombe 1998, Table I, method 3; the others worked out by hand from the formula.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (9, 10, 0.5958, 0.9821),
        (1, 1, 0.2065, 1.0000),
    ],
)
def test_the_reference_cases(successes: int, n: int, low: float, high: float) -> None:
    found = interval(successes, n)
    assert found is not None
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_no_answers_give_no_interval() -> None:
    assert interval(0, 0) is None


def test_the_ends_are_exact() -> None:
    none, every = interval(0, 7), interval(7, 7)
    assert none is not None
    assert every is not None
    assert (none.low, every.high) == (0.0, 1.0)
    assert (none.high, every.low) == (
        pytest.approx(0.3543, abs=5e-5),
        pytest.approx(0.6457, abs=5e-5),
    )


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_an_error(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        interval(successes, n)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_share_lies_inside_and_the_complement_mirrors(counts: tuple[int, int]) -> None:
    successes, n = counts
    found, mirrored = interval(successes, n), interval(n - successes, n)
    assert found is not None
    assert mirrored is not None
    assert 0 <= found.low <= successes / n <= found.high <= 1
    assert math.isclose(found.low, 1 - mirrored.high, abs_tol=1e-9)
