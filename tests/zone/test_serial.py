import dns.serial
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.zone.errors import ZoneError
from tapir.zone.serial import add, check_serial, compare, is_newer, next_serial

SERIALS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1]))
TOP = 2**32 - 1


# RFC 1982 §5.2, for 32 bits
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 0, 1),
        (0, 1, -1),
        (7, 7, 0),
        (0, TOP, 1),
        (TOP, 0, -1),
        (2**31 - 1, 0, 1),
        (2**31, 0, None),
        (0, 2**31, None),
        (2**31 + 1, 0, -1),
        (100, 2**31 + 100, None),
    ],
)
def test_comparison(left, right, expected):
    assert compare(left, right) == expected
    assert is_newer(left, than=right) == (expected == 1)


@given(left=SERIALS, right=SERIALS)
def test_comparison_is_dnspythons_and_antisymmetric(left, right):
    order = compare(left, right)
    ours, theirs = dns.serial.Serial(left), dns.serial.Serial(right)
    assert (order == 1, order == -1, order == 0) == (ours > theirs, ours < theirs, ours == theirs)
    mirrored = compare(right, left)
    assert mirrored == (None if order is None else -order)


@given(serial=SERIALS, increment=st.integers(1, 2**31 - 1))
def test_what_was_added_to_is_newer(serial, increment):
    assert is_newer(add(serial, increment), than=serial)


@pytest.mark.parametrize("increment", [-1, 2**31])
def test_undefined_additions_are_refused(increment):
    with pytest.raises(ZoneError, match="undefined"):
        add(1, increment)


@pytest.mark.parametrize("serial", [-1, 2**32])
def test_what_is_no_serial_is_refused(serial):
    with pytest.raises(ZoneError, match="not a serial"):
        check_serial(serial)


@pytest.mark.parametrize(("serial", "following"), [(0, 1), (1, 2), (2**31 - 1, 2**31), (TOP - 1, TOP), (TOP, 1)])
def test_the_next_serial_passes_over_zero(serial, following):
    assert next_serial(serial) == following
    assert is_newer(following, than=serial)
