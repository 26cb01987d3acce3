"""Times of RFC 3339, held to datetime and to what Go refuses."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.rfc3339 import LAST, YEAR_ONE, format_time, parse_time

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-03-01T12:00:00.5Z", 1_740_830_400_500_000),
        ("2025-08-05T00:06:21.347168698+02:00", 1_754_345_181_347_168),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("2024-02-29T23:59:59-23:59", 1_709_337_539_000_000),
        ("0001-01-01T00:00:00Z", YEAR_ONE),
        ("9999-12-31T23:59:59.999999999Z", LAST),
    ],
)
def test_times(text, time):
    assert parse_time(text) == time
    assert parse_time(format_time(time)) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-03-01",
        "2025-03-01T12:00:00",
        "2025-03-01 12:00:00Z",
        "2025-03-01t12:00:00z",
        "2025-03-01T12:00:00,5Z",
        "2025-03-01T12:00:00.Z",
        "2025-03-01T24:00:00Z",
        "2025-03-01T23:59:60Z",
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-03-01T12:00:00+24:00",
        "2025-03-01T12:00:00Z\n",
        "٢025-03-01T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_no_times(text):
    with pytest.raises(ValueError, match=r"no time|years|out of range|month|year"):
        parse_time(text)


def test_times_that_cannot_be_written():
    for time in (YEAR_ONE - 1, LAST + 1):
        with pytest.raises(OverflowError):
            format_time(time)


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_as_datetime_has_it(moment):
    time = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert parse_time(moment.isoformat()) == time
    assert parse_time(format_time(time)) == time


@given(st.text(max_size=40) | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z"))
def test_any_text_is_a_time_or_none(text):
    with contextlib.suppress(ValueError):
        assert YEAR_ONE <= parse_time(text) <= LAST
