"""Numbers that a person reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.app.cli.figures import count, octets, rate


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (1_234_567, "1.23 M"),
        (9_996_000, "10.0 M"),
        (99_960_000, "100 M"),
        (12_345_678_901, "12.3 G"),
        (10**21, "1000 E"),
    ],
)
def test_how_many(number: int, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0"), (0.04, "0.04"), (0.96, "1"), (12.3, "12"), (999.4, "999"), (51_234, "51.2 k")],
)
def test_how_many_a_second(number: float | None, text: str) -> None:
    assert rate(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (3.4e9, "3.40 GB")]
)
def test_how_large(number: float | None, text: str) -> None:
    assert octets(number) == text


@given(st.integers(min_value=0, max_value=10**18))
def test_a_figure_is_short_and_near(number: int) -> None:
    text = count(number)
    assert len(text) <= 6
    digits, _, prefix = text.replace(",", "").partition(" ")
    value = float(digits) * 1000 ** " kMGTPE".index(prefix or " ")
    assert abs(value - number) <= 0.005 * number
