"""Sessions hold what the frames say, address by address as the rules have it, and nothing else of the client."""

import io
import ipaddress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dnstap_frames import dns_message, frame, question, response
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.cryptopan import derive
from tapir.codec.dnstap import DecodedBlock, decode
from tapir.codec.edmfiles import LABELS
from tapir.codec.parquet import encode_parquet
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.columns import accepted
from tapir.minimiser.pseudonyms import Pseudonymiser
from tapir.minimiser.sessions import Sessions
from tapir.model.blocks import FrameBlock

SECRET = bytes(range(16))
V4, V4_SERVER = (ipaddress.ip_address(f"198.51.100.{last}").packed for last in (20, 53))
V6, V6_SERVER = (ipaddress.ip_address(f"2001:db8::{last}").packed for last in (20, 53))
MAPPED = bytes(10) + b"\xff\xff" + V4
LONG = ipaddress.ip_address("2001:db8:1122:3344:5566:7788:99aa:bbcc").packed
WIRE = response(b"\x03wWw\x07Example\x03com\0")


def decoded(*frames: bytes) -> DecodedBlock:
    return decode(FrameBlock.of(frames), SECRET)


def add(sessions: Sessions, block: DecodedBlock, pseudonymiser: Pseudonymiser | None = None) -> None:
    """All rows that are OK, under their own addresses unless there is one to replace them."""
    rows = accepted(block)
    columns = [
        AddressColumn.gathered(block.frames.data, starts[rows], lengths[rows])
        for starts, lengths in (
            (block.query_address_at, block.query_address_length),
            (block.response_address_at, block.response_address_length),
        )
    ]
    if pseudonymiser is not None:
        columns = [pseudonymiser.pseudonymise(column) for column in columns]
    sessions.add(block, rows, *columns)


def rows_of(sessions: Sessions) -> list[dict[str, Any]]:
    """What a reader sees in the file."""
    columns = sessions.columns()
    assert columns is not None
    table = pq.read_table(io.BytesIO(b"".join(encode_parquet(columns))))
    place = table.schema.get_field_index("response_time")
    table = table.set_column(place, "response_time", table.column(place).cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def row_of(pseudonymiser: Pseudonymiser | None = None, **fields: Any) -> dict[str, Any]:
    sessions = Sessions()
    add(sessions, decoded(frame(**({"response_message": WIRE} | fields))), pseudonymiser)
    (row,) = rows_of(sessions)
    return row


def addresses(row: dict[str, Any], side: str = "source") -> tuple[int | None, int | None, int | None]:
    return row[f"{side}_ipv4"], row[f"{side}_ipv6_network"], row[f"{side}_ipv6_host"]


def test_a_session_of_the_existing_edm_over_ipv4() -> None:
    row = row_of(
        identity=b"server-1",
        query_address=V4,
        response_address=V4_SERVER,
        query_port=12345,
        response_port=53,
        query_time=(1700000000, 123),
        response_time=(1700000001, 456),
    )
    labels = dict.fromkeys(LABELS) | {"label0": "com", "label1": "Example", "label2": "wWw"}
    assert row == labels | {
        "dest_ipv4": 3325256757,
        "dest_ipv6_host": None,
        "dest_ipv6_network": None,
        "dest_port": 53,
        "dns_protocol": 1,
        "query_message": None,
        "query_time": None,
        "response_message": WIRE,
        "response_time": 1700000001000000,
        "server_id": b"server-1",
        "source_ipv4": 3325256724,
        "source_ipv6_host": None,
        "source_ipv6_network": None,
        "source_port": 12345,
    }


def test_a_session_of_the_existing_edm_over_ipv6() -> None:
    row = row_of(query_address=V6, response_address=V6_SERVER)
    assert addresses(row) == (None, 2306139568115548160, 32)
    assert addresses(row, "dest") == (None, 2306139568115548160, 83)


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (1, V4, (3325256724, None, None)),
        (None, b"\1\2\3\4", (0x01020304, None, None)),
        (1, MAPPED, (3325256724, None, None)),
        (0, V4, (3325256724, None, None)),
        (2, V4, (None, 0, 0xFFFF << 32 | 3325256724)),
        (2, MAPPED, (None, 0, 0xFFFF << 32 | 3325256724)),
        (2, LONG, (None, 0x20010DB811223344, 0x5566778899AABBCC)),
        (1, LONG, (None, None, None)),
        (1, b"\1\2\3", (None, None, None)),
        (2, b"\1\2\3", (None, None, None)),
        (2, bytes(17), (None, None, None)),
        (99, V4, (None, None, None)),
        (99, V6, (None, None, None)),
        (1, None, (None, None, None)),
        (2, None, (None, None, None)),
    ],
)
def test_the_family_says_which_columns_are_filled(
    family: int | None, address: bytes | None, expected: tuple[int | None, ...]
) -> None:
    row = row_of(family=family, query_address=address, response_address=address)
    assert addresses(row) == expected
    assert addresses(row, "dest") == expected


@pytest.mark.parametrize(
    ("port", "stored"), [(None, None), (0, 0), (65535, 65535), (65536, None), (2**31, None), (2**32 - 1, None)]
)
def test_a_port_is_one_or_is_none(port: int | None, stored: int | None) -> None:
    row = row_of(query_port=port, response_port=port)
    assert (row["source_port"], row["dest_port"]) == (stored, stored)


@pytest.mark.parametrize(("protocol", "stored"), [(None, None), (1, 1), (7, 7), (255, None), (4711, None)])
def test_a_protocol_is_one_or_is_none(protocol: int | None, stored: int | None) -> None:
    assert row_of(protocol=protocol)["dns_protocol"] == stored


@pytest.mark.parametrize("identity", [None, b""])
def test_a_server_without_identity(identity: bytes | None) -> None:
    assert row_of(identity=identity)["server_id"] is None


def test_a_response_without_time_is_of_the_epoch() -> None:
    assert row_of(response_time=None)["response_time"] == 0


def test_labels_keep_their_case_and_escapes() -> None:
    name = b"\x04a.B\xff" + b"\x01c" * 11 + b"\0"
    row = row_of(response_message=dns_message([question(name)]))
    assert row["label9"] == "c.c.a\\.B\\255"
    assert row_of(response_message=dns_message([question(b"\0")]))["label0"] is None


def test_pseudonyms_of_the_published_vectors() -> None:
    pseudonymiser = Pseudonymiser(derive("key1", "aabbccddeeffgghh"), octets=0, seed=SECRET)
    for address in (V4, MAPPED):
        row = row_of(pseudonymiser, family=1, query_address=address)
        assert ipaddress.ip_address(row["source_ipv4"]) == ipaddress.ip_address("58.92.11.53")
    row = row_of(pseudonymiser, query_address=LONG)
    network, host = row["source_ipv6_network"], row["source_ipv6_host"]
    expected = ipaddress.ip_address("b780:8dc8:6ed9:cbc5:4d61:a6bb:6255:5a03")
    assert ipaddress.ip_address(network << 64 | host) == expected
    assert addresses(row_of(pseudonymiser, family=1, query_address=b"\1\2\3")) == (None, None, None)


def test_nothing_was_seen() -> None:
    sessions = Sessions()
    assert sessions.columns() is None
    add(sessions, decoded(frame(response_message=b"no message")))
    assert (len(sessions), sessions.octets, sessions.columns()) == (0, 0, None)


FRAMES = st.builds(
    frame,
    identity=st.none() | st.binary(max_size=4),
    family=st.sampled_from([None, 1, 2, 3]),
    query_address=st.sampled_from([None, V4, V6, MAPPED, b"\1"]),
    response_address=st.sampled_from([None, V4_SERVER, V6_SERVER]),
    query_port=st.none() | st.integers(0, 70000),
    response_message=st.sampled_from([WIRE, b"", b"x", response(b"\x01a\0"), response(b"\0", answers=30)]),
)


@given(st.lists(st.lists(FRAMES, max_size=6), max_size=4))
def test_rows_are_what_each_would_be_alone(blocks: list[list[bytes]]) -> None:
    together = Sessions()
    expected = []
    for frames in blocks:
        add(together, decoded(*frames))
        for one in frames:
            alone = Sessions()
            add(alone, decoded(one))
            expected += rows_of(alone) if len(alone) else []
    assert len(together) == len(expected)
    assert (rows_of(together) if expected else []) == expected


def test_more_rows_than_there_is_room_for_at_first() -> None:
    sessions = Sessions()
    names = [b"\x05%05d\x07example\0" % number for number in range(9000)]
    for first in range(0, 9000, 1000):
        frames = [frame(query_address=V4, response_message=response(name)) for name in names[first : first + 1000]]
        add(sessions, decoded(*frames))
    rows = rows_of(sessions)
    assert [row["label1"] for row in rows] == [f"{number:05d}" for number in range(9000)]
    assert [row["response_message"] for row in rows] == [response(name) for name in names]
    assert sessions.octets > 9000 * len(WIRE)
    assert repr(sessions).startswith("<Sessions: 9000 rows, ")


def test_a_column_of_octets_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapir.minimiser.sessions._MOST", 100)
    sessions = Sessions()
    add(sessions, decoded(frame(response_message=WIRE)))
    with pytest.raises(OverflowError, match="2 GiB"):
        add(sessions, decoded(frame(response_message=WIRE)))
    assert len(rows_of(sessions)) == 1
    assert np.all([row["response_message"] == WIRE for row in rows_of(sessions)])
