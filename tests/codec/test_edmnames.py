"""Names of files say their interval, as their readers take it from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.edmnames import FileName, parse_file_name, until_next_minute

SECOND = 1_000_000
NOON = 1_779_962_400 * SECOND  # 2026-05-28T10:00:00Z


def test_a_name_as_the_existing_edm_writes_it() -> None:
    name = FileName(kind="dns_histogram", start=NOON + 123, stop=NOON + 60 * SECOND + 999_999)
    assert str(name) == "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet"
    assert parse_file_name(str(name)) == FileName(kind="dns_histogram", start=NOON, stop=NOON + 60 * SECOND)


@given(st.sampled_from(["dns_histogram", "dns_session_block"]), *[st.integers(0, 253402300799)] * 2)
def test_what_is_written_is_read(kind: str, start: int, stop: int) -> None:
    name = FileName(kind=kind, start=start * SECOND, stop=stop * SECOND)
    assert parse_file_name(str(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "dns_histogram.parquet",
        "dns_histogram-2026-05-28T10-00-00Z.parquet",
        "dns_histogram-bad_2026-05-28T10-00-00Z.parquet",
        "dns_histogram-2026-05-28T10-00-00Z_bad.parquet",
        "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet.tmp",
        "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T25-01-00Z.parquet",
        "dns_histogram-2026-13-28T10-00-00Z_2026-05-28T10-01-00Z.parquet",
        "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-0\u0661Z.parquet",
        "/dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet",
        "dns_histogram-2026-05-28T10-00-00Z_2026-05-28T10-01-00Z.parquet\n",
    ],
)
def test_what_is_no_name(name: str) -> None:
    assert parse_file_name(name) is None


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_is_none(text: str) -> None:
    name = parse_file_name(text)
    assert name is None or str(name) == text


@pytest.mark.parametrize(("seconds", "left"), [(0, 60), (0.5, 59.5), (59.999, 0.001)])
def test_the_next_minute(seconds: float, left: float) -> None:
    half_past = NOON + 150 * 60 * SECOND
    assert until_next_minute(half_past + round(seconds * SECOND)) == round(left * SECOND)
