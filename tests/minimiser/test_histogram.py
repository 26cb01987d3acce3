"""Counters, labels and clients of an interval are what counting one response after the other gives."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from dnstap_frames import dns_message, frame, opt, question
from hypothesis import given
from hypothesis import strategies as st

import tapir.kernels.counting
from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.dnstap import decode
from tapir.codec.edmfiles import COUNTERS, HISTOGRAM, LABELS, Numbers, Rows, Strings
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.wellknown import WellKnownNames, index_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import parse_name

SECRET = bytes(range(16))
START = 1_780_000_000_123_456
WORDS = sorted([".", ".example.net.", "example.com.", "www.example.com."])


def names_of(*words: str) -> WellKnownNames:
    return index_names(parse_dawg(encode_dawg(sorted(words))), SECRET)


def histogram_of(names: WellKnownNames, threshold: int = 20) -> Histogram:
    return Histogram(names, start=START, threshold=threshold, seed=SECRET)


def add(histogram: Histogram, frames: list[bytes]) -> int:
    block = decode(FrameBlock.of(frames), SECRET)
    counted = histogram.add(block, histogram.names.rows_of(block, block.outcome))
    assert repr(counted) == f"<Counted: {len(counted)} responses>"
    return len(counted)


def answered(name: str, qtype: int, qclass: int, rcode: int, client: bytes | None = None) -> bytes:
    message = dns_message(
        [question(parse_name(name), qtype, qclass)], additionals=[opt(rcode)], flags=0x8180 | rcode & 15
    )
    return frame(query_address=client, response_message=message)


def rows_by_label(rows: Rows) -> list[dict[str, Any]]:
    table: dict[str, list[Any]] = {}
    for column in rows.layout.columns:
        values = rows.columns[column.name]
        valid = [True] * len(rows) if values.valid is None else values.valid.tolist()
        if isinstance(values, Strings):
            ends = values.offsets.tolist()
            cells = [values.data.tobytes()[ends[row] : ends[row + 1]] for row in range(len(rows))]
        else:
            cells = values.values.tolist()
        table[column.name] = [cell if there else None for cell, there in zip(cells, valid, strict=True)]
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


@pytest.mark.parametrize(
    ("rcode", "qclass", "qtype", "counted"),
    [
        (3, 1, 15, {"nx_count", "mx_count"}),
        (2, 1, 28, {"fail_count", "aaaa_count"}),
        (5, 1, 2, {"other_rcode_count", "ns_count"}),
        (0, 1, 33, {"ok_count", "other_type_count"}),
        (0, 3, 1, {"ok_count", "non_in_count"}),
        (16, 1, 1, {"other_rcode_count", "a_count"}),
        (0x103, 255, 28, {"other_rcode_count", "non_in_count"}),
    ],
)
def test_what_is_counted(rcode: int, qclass: int, qtype: int, counted: set[str]) -> None:
    histogram = histogram_of(names_of(*WORDS))
    assert add(histogram, [answered("example.com", qtype, qclass, rcode)]) == 1
    rows = histogram.columns()
    assert rows is not None
    (row,) = rows_by_label(rows)
    assert {name for name in COUNTERS if row[name]} == counted
    assert (row["start_time"], row["edm_status_bits"]) == (START, 1)
    assert [row[label] for label in LABELS] == [b"com", b"example", *[None] * 8]


def test_an_address_that_is_none_is_no_client() -> None:
    histogram = histogram_of(names_of(*WORDS), threshold=2)
    clients = [b"\1\2\3", None, b"", bytes(15), bytes(4), bytes(16), b"\0\0\0\1"]
    add(histogram, [answered("example.com", 1, 1, 0, client) for client in clients])
    rows = histogram.columns()
    assert rows is not None
    (row,) = rows_by_label(rows)
    assert (row["ok_count"], row["v4client_count"], row["v6client_count"]) == (7, 2, 1)
    assert (row["v4client_count_hll"], row["v6client_count_hll"]) == (None, None)


def test_an_interval_without_a_name_has_no_rows() -> None:
    histogram = histogram_of(names_of(*WORDS))
    assert histogram.columns() is None
    assert add(histogram, [answered("other.example", 1, 1, 0)]) == 0
    assert histogram.columns() is None
    assert (len(histogram), histogram.responses) == (0, 0)


def test_wildcards_are_labelled_with_the_entry() -> None:
    histogram = histogram_of(names_of(*WORDS))
    add(histogram, [answered(name, 1, 1, 0) for name in ("a.example.net", "b.c.example.net", ".", "www.example.com")])
    rows = histogram.columns()
    assert rows is not None
    found = {tuple(row[label] for label in LABELS[:3]): row for row in rows_by_label(rows)}
    assert {key: (row["a_count"], row["edm_status_bits"]) for key, row in found.items()} == {
        (b"net", b"example", b""): (2, 2),
        (None, None, None): (1, 1),
        (b"com", b"example", b"www"): (1, 1),
    }
    assert set(rows.columns) == {column.name for column in HISTOGRAM.columns}
    assert all(isinstance(rows.columns[name], Numbers) for name in COUNTERS)


CASES = st.lists(
    st.tuples(
        st.integers(-1, 6),
        st.sampled_from([1, 2, 15, 28, 0, 29, 255, 65535]),
        st.sampled_from([1, 0, 3, 255, 32769]),
        st.sampled_from([0, 1, 2, 3, 5, 16, 4095]),
    ),
    max_size=60,
)


@given(st.lists(CASES, max_size=4))
def test_counting_agrees_with_one_after_the_other(blocks: list[list[tuple[int, int, int, int]]]) -> None:
    columns = {1: 0, 28: 1, 15: 2, 2: 3}
    expected: dict[int, Counter[int]] = {}
    numbers, met = np.zeros(7, np.uint32), np.zeros(7, np.uint32)
    counters = np.zeros(70, np.uint64)
    known = 0
    for block in blocks:
        table = np.array(block, np.int64).reshape(-1, 4)
        rows, types, classes, rcodes = (table[:, n].astype(kind) for n, kind in enumerate("iHHH"))
        places = np.full(len(block), 99, np.int32)
        known = tapir.kernels.counting.count(
            rows.data,
            types.data,
            classes.data,
            rcodes.data,
            numbers.data,
            met.data,
            known,
            counters.data,
            places.data,
        )
        for place, (row, qtype, qclass, rcode) in zip(places.tolist(), block, strict=True):
            if row < 0:
                assert place == -1
                continue
            counts = expected.setdefault(row, Counter())
            counts[columns.get(qtype, 4) if qclass == 1 else 5] += 1
            counts[{0: 6, 3: 7, 2: 8}.get(rcode, 9)] += 1
            assert met[place] == row
    assert met[:known].tolist() == list(expected)
    lines = counters.reshape(-1, 10)
    assert [Counter({at: n for at, n in enumerate(line) if n}) for line in lines[:known].tolist()] == [
        *expected.values()
    ]


def test_a_row_past_the_list_is_refused() -> None:
    one = np.zeros(1, np.uint16).data
    with pytest.raises(IndexError):
        tapir.kernels.counting.count(
            np.array([7], np.int32).data,
            one,
            one,
            one,
            np.zeros(7, np.uint32).data,
            np.zeros(7, np.uint32).data,
            0,
            np.zeros(70, np.uint64).data,
            np.zeros(1, np.int32).data,
        )


def test_many_names_and_blocks() -> None:
    """More names than there is room for at first, in blocks, against a dictionary."""
    rng = random.Random(7)
    words = [f"n{number}.example." for number in range(3000)]
    names = names_of(*words)
    histogram = histogram_of(names, threshold=2)
    counts: Counter[str] = Counter()
    clients: dict[str, set[bytes]] = {}
    for _ in range(6):
        frames = []
        for _ in range(1500):
            word, client = rng.choice(words), rng.randbytes(1) * 4
            frames.append(answered(word, 1, 1, 0, client))
            counts[word] += 1
            clients.setdefault(word, set()).add(client)
        assert add(histogram, frames) == 1500
    assert (len(histogram), histogram.responses) == (len(counts), 9000)
    rows = histogram.columns()
    assert rows is not None
    table = rows_by_label(rows)
    assert {f"{row['label1'].decode()}.example.": row["ok_count"] for row in table} == counts
    for row in table:
        distinct = len(clients[f"{row['label1'].decode()}.example."])
        assert (row["v4client_count_hll"] is None) == (distinct <= 2)
        assert distinct > 2 or row["v4client_count"] == distinct
