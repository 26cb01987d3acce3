"""Labels stand in their columns from the right, spelt as the field's tools in Go spell them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapir.kernels.labels
from tapir.codec.edmfiles import LABELS, Strings
from tapir.minimiser.labels import split_labels

LABEL = st.binary(min_size=1, max_size=12) | st.sampled_from([b"a", b"a.b", b"\\", b"\x7f", b"~", b"\x00" * 63])


def wire_of(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def texts(column: Strings) -> list[str | None]:
    data = column.data.tobytes()
    ends = column.offsets.tolist()
    assert column.valid is not None
    return [
        data[ends[row] : ends[row + 1]].decode("ascii") if valid else None
        for row, valid in enumerate(column.valid.tolist())
    ]


def split(names: list[bytes], wild: list[bool]) -> list[list[str | None]]:
    offsets = np.cumsum([0, *map(len, names)]).astype(np.uint32)
    columns = split_labels(np.frombuffer(b"".join(names), np.uint8), offsets, np.array(wild, np.uint8))
    assert list(columns) == list(LABELS)
    return [list(row) for row in zip(*(texts(column) for column in columns.values()), strict=True)]


def spelt(label: bytes) -> str:
    out = ""
    for octet in label:
        if chr(octet) in ". '@;()\"\\":
            out += "\\" + chr(octet)
        else:
            out += chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
    return out


def oracle(name: bytes, wild: bool) -> list[str | None]:
    """edm.md §7.3: at most ten, the rest joined in the last; a wildcard's first label is empty."""
    labels, at = [], 0
    while at < len(name) and name[at]:
        labels.append(spelt(name[at + 1 : at + 1 + name[at]]))
        at += 1 + name[at]
    if wild:
        labels[0] = ""
    labels.reverse()
    if len(labels) > 10:
        labels[9:] = [".".join(labels[9:])]
    return [*labels, *[None] * (10 - len(labels))]


@given(st.lists(st.tuples(st.lists(LABEL, max_size=14), st.booleans()), max_size=8))
def test_agrees_with_the_rule(cases: list[tuple[list[bytes], bool]]) -> None:
    names = [wire_of([b"*", *labels] if wild else labels) for labels, wild in cases]
    wild = [wild for _, wild in cases]
    assert split(names, wild) == [oracle(name, star) for name, star in zip(names, wild, strict=True)]


def text_to_wire(text: str) -> bytes:
    return wire_of([label.encode() for label in text.split(".") if label])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".".join(f"label{n}" for n in range(9, -1, -1)) + ".", [f"label{n}" for n in range(10)]),
        (
            ".".join(f"label{n}" for n in range(12, -1, -1)) + ".",
            [*(f"label{n}" for n in range(9)), "label9.label10.label11.label12"],
        ),
        (".", [None] * 10),
        ("a.b.c.", ["c", "b", "a", *[None] * 7]),
        ("wWw.Example.COM.", ["COM", "Example", "wWw", *[None] * 7]),
    ],
)
def test_labels_of_the_existing_edm(text: str, expected: list[str | None]) -> None:
    assert split([text_to_wire(text)], [False]) == [expected]


def test_a_wildcard_has_an_empty_label() -> None:
    assert split([b"\x01*\x07example\x03net\0"], [True]) == [["net", "example", "", *[None] * 7]]
    # Of eleven labels the empty one is joined, too: a dot with nothing behind it.
    assert split([b"\x01*" + b"\x01a" * 10 + b"\0"], [True])[0][9] == "a."
    assert split([b"\x01*" + b"\x01a" * 9 + b"\0"], [True])[0][9] == ""


def test_the_longest_name_of_all() -> None:
    name = b"\x01\xff" * 127 + b"\0"
    assert split([name], [False]) == [oracle(name, wild=False)]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_octets_that_are_no_names_are_read_as_far_as_they_go(names: list[bytes]) -> None:
    rows = split(names, [False] * len(names))
    for name, row in zip(names, rows, strict=True):
        labels, at = 0, 0
        while at < len(name) and name[at] and at + 1 + name[at] <= len(name):
            labels += 1
            at += 1 + name[at]
        assert sum(label is not None for label in row) == min(labels, 10)


def test_a_column_that_would_be_too_long_is_noticed() -> None:
    """Without two gigabytes of names: one that repeats, as offsets allow."""
    name = np.frombuffer(b"\x3f" + b"\xff" * 63 + b"\0", np.uint8)
    count = 3
    offsets = np.array([0, 65, 65, 65], np.uint32)
    ends = np.zeros(10 * (count + 1), np.int32)
    valid = np.zeros(10 * count, np.uint8)
    wild = np.zeros(count, np.uint8)
    assert tapir.kernels.labels.measure(name.data, offsets.data, wild.data, ends.data, valid.data) == count
    assert ends[1] == 252


@given(st.binary(max_size=50), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))
def test_gathering_is_slicing(data: bytes, slices: list[tuple[int, int]]) -> None:
    inside = [(start, min(length, len(data) - start)) for start, length in slices if start <= len(data)]
    starts = np.array([start for start, _ in inside], np.uint32)
    lengths = np.array([length for _, length in inside], np.uint32)
    out = np.zeros(3 + int(lengths.sum()), np.uint8)
    end = tapir.kernels.labels.gather(data, starts.data, lengths.data, out.data, 3)
    assert end == len(out)
    assert out[3:].tobytes() == b"".join(data[start : start + length] for start, length in inside)


def test_gathering_what_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError):
        tapir.kernels.labels.gather(
            b"abc", np.array([2], np.uint32).data, np.array([2], np.uint32).data, np.zeros(9, np.uint8).data, 0
        )
