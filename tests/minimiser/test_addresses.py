"""Address columns hold what frames say, and clients count as the published sketches have them."""

import ipaddress

import mmh3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.minimiser.addresses import AddressColumn

ANYTHING = st.binary(max_size=20) | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
MAPPED = st.binary(min_size=4, max_size=4).map(lambda octets: bytes(10) + b"\xff\xff" + octets)


def gathered(parts: list[bytes]) -> AddressColumn:
    lengths = np.array([len(part) for part in parts], np.uint16)
    starts = np.cumsum(lengths, dtype=np.uint32) - lengths
    return AddressColumn.gathered(b"".join(parts), starts, lengths)


@given(st.lists(ANYTHING | MAPPED))
def test_a_column_holds_what_lay_in_the_data(parts: list[bytes]) -> None:
    column = gathered(parts)
    assert len(column) == len(parts)
    for row, part in enumerate(parts):
        kept = part if len(part) <= 16 else b""
        assert column.octets[row].tobytes() == kept.ljust(16, b"\0")
        assert column.sizes[row] == (len(part) if len(part) <= 16 else 255)


@given(st.lists(ANYTHING | MAPPED))
def test_a_client_counts_by_its_octets_and_family(parts: list[bytes]) -> None:
    hashes, families = gathered(parts).clients()
    for part, value, family in zip(parts, hashes.tolist(), families.tolist(), strict=True):
        if len(part) in {4, 16}:
            address = ipaddress.ip_address(part)
            mapped = address.version == 6 and address.ipv4_mapped is not None
            assert family == (4 if mapped else address.version)
            assert value == mmh3.hash64(part, seed=0, x64arch=True, signed=False)[0]
        else:
            assert (value, family) == (0, 0)


def test_rows_are_taken_and_never_shown() -> None:
    column = gathered([b"abcd", b"", b"efgh"])
    taken = column.taken(np.array([2, 0]))
    assert taken.octets[:, :4].tobytes() == b"efghabcd"
    assert repr(taken) == "<AddressColumn of 2>"


def test_an_address_past_the_data_is_refused() -> None:
    with pytest.raises(IndexError):
        AddressColumn.gathered(b"abc", np.array([0], np.uint32), np.array([4], np.uint8))
