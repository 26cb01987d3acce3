"""The plain export of a list: whole or not at all, in blocks of any size."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.listexport import MAX_LINE, ListExportError, encode_export, parse_export
from tapir.codec.rfc3339 import LAST, YEAR_ONE, parse_time
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name, parse_name

NOON = parse_time("2025-03-01T12:00:00Z")
BAD = parse_name("bad.example")
EXAMPLE = (
    b'{"format":"tapir-list","version":1,"source":"dns-tapir","list_type":"doubtlist","timestamp":"2025-03-01T12:00:00Z"}\n'
    b'{"name":"bad.example.","time_added":"2025-03-01T11:59:00.5Z","ttl":3607,"tag_mask":17}\n'
    b'{"end":1}\n'
)
OBSERVED = parse_time("2025-03-01T11:59:00.5Z")
HEAD, ENTRY, END = EXAMPLE.splitlines()


def written(*entries, at=NOON):
    block = ObservationBlock.of(entries)
    return b"".join(encode_export(block, source="dns-tapir", kind=ListKind.DOUBT, timestamp=at))


def lines(*rest, head=HEAD):
    return b"\n".join((head, *rest))


def test_the_example_of_the_documentation():
    found = parse_export(EXAMPLE)
    assert (found.source, found.kind, found.timestamp) == ("dns-tapir", ListKind.DOUBT, NOON)
    assert list(found.observations) == [(BAD, 17, OBSERVED, OBSERVED + 3607_000_000)]
    assert written(*found.observations) == EXAMPLE


def test_what_has_ended_is_left_out():
    assert written((BAD, 1, OBSERVED, NOON)) == HEAD + b'\n{"end":0}\n'


def test_what_was_observed_last_counts_and_what_is_no_name_is_counted():
    def entry(name, time, mask):
        return json.dumps({"Name": name, "time_added": time, "tag_mask": mask, "more": None}).encode()

    found = parse_export(
        lines(
            entry("BAD.example", "2025-01-02T00:00:00Z", 2),
            entry("bad.example.", "2025-01-01T00:00:00Z", 1),
            entry("a..b", "2025-01-01T00:00:00Z", 1),
            entry("", "2025-01-01T00:00:00Z", 1),
            b'{"end":4,"more":1}',
        )
    )
    assert [entry[:2] for entry in found.observations] == [(BAD, 2)]
    assert (found.refused, found.reason) == (2, "it has an empty label")


@pytest.mark.parametrize(
    ("data", "line", "told"),
    [
        (b"", None, "it is empty"),
        (HEAD, None, "ends before"),
        (lines(ENTRY), None, "ends before"),
        (EXAMPLE[: -len(END) - 1], None, "ends before"),
        (lines(END), 2, "`end` does not count 0 entries"),
        (lines(ENTRY, ENTRY, END), 4, "`end` does not count 2 entries"),
        (EXAMPLE + END, 4, "behind the end"),
        (lines(ENTRY[:-1], END), 2, "no JSON"),
        (lines(b"[]", END), 2, "not an object"),
        (lines(b"", END), 2, "no JSON"),
        (lines(b'{"name":1}', END), 2, "`name` is a number"),
        (lines(b'{"tag_mask":-1}', END), 2, "`tag_mask` is not between"),
        (lines(b'{"ttl":1.5}', END), 2, "`ttl` is another number"),
        (lines(b'{"end":"1"}'), 2, "`end` is a string"),
        (lines(b" " * (MAX_LINE + 1), END), 2, "more than 8192 octets"),
        (b" " * (MAX_LINE + 1), 1, "more than 8192 octets"),
        (lines(END, head=b'{"Error":true}'), 1, "`format` is not tapir-list"),
        (lines(END, head=HEAD.replace(b":1,", b":2,")), 1, "`version` is not 1"),
        (lines(END, head=HEAD.replace(b"doubt", b"grey")), 1, "`list_type` is none of"),
        (lines(END, head=HEAD.replace(b"03-01", b"02-30")), 1, "`timestamp`"),
    ],
)
def test_what_is_no_whole_export_is_none(data, line, told):
    with pytest.raises(ListExportError) as caught:
        parse_export(data)
    assert caught.value.line == line
    assert told in caught.value.reason
    assert caught.value.reason in str(caught.value)


def test_the_number_of_names_is_the_callers_to_bound():
    with pytest.raises(ListExportError, match="more than 0 names"):
        parse_export(EXAMPLE, max_names=0)
    assert len(parse_export(EXAMPLE, max_names=1).observations) == 1


def test_a_long_list_comes_in_blocks():
    entries = [(parse_name(f"n{number}.example"), number, NOON, NOON + 10**6) for number in range(2000)]
    blocks = list(encode_export(ObservationBlock.of(entries), source="s", kind=ListKind.DENY, timestamp=NOON))
    assert len(blocks) > 1
    assert max(map(len, blocks)) < 1 << 17
    assert list(parse_export(blocks).observations) == entries


ENTRIES = st.tuples(
    st.binary(min_size=1, max_size=8).map(lambda label: Name(bytes((len(label),)) + label.lower() + b"\0")),
    st.integers(0, 2**32 - 1),
    st.integers(YEAR_ONE, LAST),
    st.integers(1, 10**10),
).map(lambda entry: (entry[0], entry[1], entry[2], entry[2] + entry[3] * 10**6))


@given(st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry[0]), st.text(max_size=9), st.data())
def test_any_list_comes_back_in_any_blocks(entries, source, data):
    block = ObservationBlock.of(entries)
    octets = b"".join(encode_export(block, source=source, kind=ListKind.ALLOW, timestamp=YEAR_ONE))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=5)))
    parts = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    found = parse_export(parts)
    assert (found.source, found.kind, found.refused) == (source, ListKind.ALLOW, 0)
    assert list(found.observations) == entries
    with pytest.raises(ListExportError):
        parse_export(octets[: data.draw(st.integers(0, len(octets) - 2))])


@given(st.binary(max_size=80) | st.lists(st.sampled_from([HEAD, ENTRY, END, b"{}", b"\0", b""])).map(b"\n".join))
def test_any_octets_are_an_export_or_refused(data):
    with contextlib.suppress(ListExportError):
        parse_export(data)
