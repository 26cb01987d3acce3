"""tapir-msg-v1: what Core sends, what Go's decoder forgives, and what is refused."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.observations import (
    MAX_NAMES,
    MAX_TEXT,
    SHOWN,
    Observations,
    ObservationsRefused,
    Reason,
    RefusedName,
    deadline_of,
    encode_observations,
    parse_observations,
    ttl_of,
)
from tapir.codec.rfc3339 import LAST, YEAR_ONE, parse_time
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock, WithdrawalBlock
from tapir.model.names import Name, parse_name

# pop.md's own example, and what Core's integration test sends.
EXAMPLE = (
    b'{"src_name":"dns-tapir","creator":"observation-encoder","msg_type":"observation","list_type":"doubtlist",\n'
    b' "added":[{"name":"bad.example.","time_added":"2025-03-01T12:00:00.5Z","ttl":3607,"tag_mask":17,'
    b'"extended_tags":[]}],\n'
    b' "removed":[],"msg":"","timestamp":"2025-03-01T12:00:00.5Z","time_str":""}'
)
NOON = 1_740_830_400_500_000
BAD = parse_name("bad.example")


def message(*added, removed=(), **members):
    base = {"src_name": "dns-tapir", "msg_type": "observation", "list_type": "doubtlist"}
    return json.dumps({**base, "added": added, "removed": removed, **members}).encode()


def entry(name="bad.example.", **members):
    return {"name": name, "time_added": "2025-03-01T12:00:00.5Z", "ttl": 10, "tag_mask": 1, **members}


def refusal(data, **options):
    with pytest.raises(ObservationsRefused) as caught:
        parse_observations(data, **options)
    return caught.value


def test_what_core_sends():
    found = parse_observations(EXAMPLE)
    assert (found.source, found.creator, found.kind) == ("dns-tapir", "observation-encoder", ListKind.DOUBT)
    assert list(found.added) == [(BAD, 17, NOON, NOON + 3607_000_000)]
    assert (list(found.removed), found.timestamp, found.refused) == ([], NOON, 0)
    assert encode_observations(found) == EXAMPLE.replace(b"\n ", b"")
    assert b'"name":"bad.example"' in encode_observations(found, trailing_dot=False)


def test_both_spellings_either_dot_and_any_case():
    go = {"Name": "WWW.Bad.Example", "Time_Added": "2025-03-01T13:00:00.5+01:00", "TTL": 1, "Tag_Mask": 2}
    found = parse_observations(message(go, removed=[{"Name": "other.example"}]))
    assert list(found.added) == [(parse_name("www.bad.example."), 2, NOON, NOON + 1_000_000)]
    assert list(found.removed) == [(parse_name("other.example"), YEAR_ONE)]


def test_null_and_what_is_unknown_are_nothing():
    everything = {"added": None, "removed": None, "msg": None, "timestamp": None, "message_id": 17, "Creator": None}
    found = parse_observations(message(**everything))
    assert (len(found.added), len(found.removed), found.text, found.timestamp, found.creator) == (0, 0, "", None, "")
    found = parse_observations(message({"name": "a.example", "ttl": None, "extended_tags": ["x", None], "more": {}}))
    assert list(found.added) == [(parse_name("a.example"), 0, YEAR_ONE, YEAR_ONE)], "it ends before it begins"
    assert parse_observations(message(None, {})).refused == 2


def test_the_last_of_a_name_counts_and_removals_come_last():
    found = parse_observations(
        message(
            entry(ttl=1),
            entry("b.example"),
            entry("BAD.example", ttl=2),
            entry("c.example"),
            removed=[entry("b.example.")],
        )
    )
    assert [(name, deadline - NOON) for name, _, _, deadline in found.added] == [
        (BAD, 2_000_000),
        (parse_name("c.example"), 10_000_000),
    ]
    assert list(found.removed) == [(parse_name("b.example"), NOON)]


def test_a_name_that_is_none_is_refused_by_itself():
    found = parse_observations(message(entry("a..b"), entry(), entry(""), removed=[entry("x y")] * 20))
    assert len(found.added) == 1
    assert found.refused == 22
    assert len(found.refusals) == SHOWN
    assert found.refusals[:2] == (
        RefusedName(member="added", position=1, reason="it has an empty label"),
        RefusedName(member="added", position=3, reason="it is empty"),
    )


def test_long_texts_are_cut():
    assert len(parse_observations(message(msg="x" * 5000, creator="y" * 5000)).text) == MAX_TEXT


@pytest.mark.parametrize(
    ("data", "reason", "told"),
    [
        (b"", Reason.NOT_JSON, "no JSON"),
        (b"[]", Reason.NOT_JSON, "an array, not an object"),
        (b"\xff{}", Reason.NOT_JSON, "UTF-8"),
        (b'{"a":1,"a":2}', Reason.NOT_JSON, "twice"),
        (b'{"msg":"","Msg":""}', Reason.MALFORMED, "two spellings"),
        (message(entry(Name="x")), Reason.MALFORMED, "added[1] has a member in two spellings"),
        (b"{}", Reason.UNKNOWN_MESSAGE_TYPE, "msg_type"),
        (message(msg_type="Observation"), Reason.UNKNOWN_MESSAGE_TYPE, "msg_type"),
        (message(list_type="greylist"), Reason.UNKNOWN_LIST_TYPE, "list_type"),
        (message(msg_type=None), Reason.UNKNOWN_MESSAGE_TYPE, "msg_type"),
        (message(src_name=1), Reason.MALFORMED, "`src_name` is a number, not a string"),
        (message(time_str=[]), Reason.MALFORMED, "`time_str` is an array"),
        (message(timestamp=""), Reason.MALFORMED, "`timestamp`: it is no time"),
        (message(timestamp=1), Reason.MALFORMED, "`timestamp` is a number"),
        (message(added={}), Reason.MALFORMED, "`added` is an object, not an array"),
        (message(1), Reason.MALFORMED, "added[1] is a number, not an object"),
        (message(entry(), entry(5)), Reason.MALFORMED, "`added[2].name` is a number"),
        (message(entry(ttl=1.0)), Reason.MALFORMED, "`added[1].ttl` is another number, not an integer"),
        (message(entry(ttl="1")), Reason.MALFORMED, "`added[1].ttl` is a string"),
        (message(entry(ttl=True)), Reason.MALFORMED, "`added[1].ttl` is a boolean"),
        (message(entry(ttl=1 << 63)), Reason.MALFORMED, "`added[1].ttl` is not between"),
        (message(entry(tag_mask=-1)), Reason.MALFORMED, "`added[1].tag_mask` is not between"),
        (message(entry(tag_mask=1 << 32)), Reason.MALFORMED, "`added[1].tag_mask` is not between"),
        (message(entry(time_added="")), Reason.MALFORMED, "`added[1].time_added`: it is no time"),
        (message(entry(time_added="2025-02-30T00:00:00Z")), Reason.MALFORMED, "time_added"),
        (message(removed=[entry(extended_tags=[1])]), Reason.MALFORMED, "`removed[1].extended_tags`"),
        (message(*[None] * 3, removed=[None] * (MAX_NAMES - 2)), Reason.TOO_LARGE, "100001 names"),
        (b" " * (5 << 20), Reason.TOO_LARGE, "octets"),
    ],
)
def test_one_thing_of_a_wrong_type_refuses_all(data, reason, told):
    error = refusal(data)
    assert error.reason is reason
    assert told in str(error)


def test_the_sizes_are_the_callers_to_bound():
    assert refusal(EXAMPLE, max_size=len(EXAMPLE) - 1).reason is Reason.TOO_LARGE
    assert refusal(EXAMPLE, max_names=0).reason is Reason.TOO_LARGE
    assert len(parse_observations(EXAMPLE, max_size=len(EXAMPLE), max_names=1).added) == 1


def test_a_time_to_live_that_no_column_holds():
    assert deadline_of(NOON, (1 << 63) - 1) == (1 << 63) - 1
    assert deadline_of(NOON, -(1 << 63)) == YEAR_ONE
    assert deadline_of(NOON, -1) == NOON - 1_000_000
    for ttl in ((1 << 63) - 1, -(1 << 63), 0, 5, -5):
        deadline = deadline_of(NOON, ttl)
        assert deadline_of(NOON, ttl_of(NOON, deadline)) == deadline
    assert ttl_of(NOON, NOON + 1) == 1, "nothing ends early by being told on"


def test_blocks_do_not_show_names():
    found = parse_observations(message(entry(), removed=[entry("b.example")]))
    assert "example" not in repr(found)
    assert repr(found.added) == "<ObservationBlock of 1 names>"
    assert repr(found.removed) == "<WithdrawalBlock of 1 names>"


LABELS = st.binary(min_size=1, max_size=6).map(lambda label: bytes((len(label),)) + label.lower())
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: Name(b"".join(labels) + b"\0"))
TIMES = st.integers(YEAR_ONE, LAST)
ENTRIES = st.tuples(NAMES, st.integers(0, 2**32 - 1), TIMES, st.integers(-(2**63), 2**63 - 1))


@given(
    st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry[0]),
    st.dictionaries(NAMES, TIMES, max_size=3),
    st.builds(
        Observations,
        source=st.text(max_size=10),
        kind=st.sampled_from(ListKind),
        added=st.just(ObservationBlock.of(())),
        removed=st.just(WithdrawalBlock.of(())),
        creator=st.text(max_size=10),
        message_type=st.sampled_from(["observation", "intel-update"]),
        text=st.text(max_size=10),
        timestamp=st.none() | TIMES.filter(lambda time: time != YEAR_ONE),
    ),
    st.booleans(),
)
def test_what_is_written_is_read(entries, removed, base, dot):
    added = [
        (name, mask, observed, deadline_of(observed, ttl))
        for name, mask, observed, ttl in entries
        if name not in removed
    ]
    said = attrs.evolve(base, added=ObservationBlock.of(added), removed=WithdrawalBlock.of(removed.items()))
    found = parse_observations(encode_observations(said, trailing_dot=dot))
    assert list(found.added) == added
    assert list(found.removed) == list(removed.items())
    for member in ("source", "kind", "creator", "message_type", "text", "timestamp", "refused"):
        assert getattr(found, member) == getattr(said, member)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("2025-03-01T12:00:00Z"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "Name", "time_added", "ttl", "tag_mask", "extended_tags"]), inner)
    ),
    max_leaves=8,
)
MEMBERS = ["src_name", "creator", "added", "removed", "Added", "msg", "timestamp", "time_str"]


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.sampled_from(MEMBERS), VALUES).map(lambda members: message(**members))
    | st.lists(VALUES, max_size=3).map(lambda values: message(*values))
)
def test_any_octets_are_observations_or_refused(data):
    try:
        found = parse_observations(data)
    except ObservationsRefused:
        return
    assert len({name for name, *_ in found.added} | {name for name, _ in found.removed}) == len(found.added) + len(
        found.removed
    )


def test_times_of_core_have_nanoseconds():
    found = parse_observations(message(entry(time_added="2025-08-05T00:06:21.347168698+02:00", ttl=3600, tag_mask=666)))
    ((_, mask, observed, deadline),) = found.added
    assert observed == parse_time("2025-08-04T22:06:21.347168Z")
    assert (mask, deadline - observed) == (666, 3600_000_000)
