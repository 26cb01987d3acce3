import contextlib
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.functionstatus import (
    MAX_COMPONENTS,
    MAX_COUNTERS,
    MAX_EVENTS,
    MAX_PAYLOAD,
    FunctionStatusError,
    encode_function_status,
    parse_function_status,
)
from tapir.codec.rfc3339 import LAST, YEAR_ONE
from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.telemetry import ComponentState, ComponentStatus, FunctionStatus

# The document of pop.md §8.2, as upstream writes it.
UPSTREAM = (
    b'{"Function":"tapir-pop","FunctionID":"random-popper","ComponentStatus":{"main-boot":{"Component":"","Status":2,'
    b'"ErrorMsg":"","WarningMsg":"","Msg":"started","NumFails":0,"NumWarnings":0,"LastFail":"0001-01-01T00:00:00Z",'
    b'"LastWarn":"0001-01-01T00:00:00Z","LastSuccess":"2025-03-01T12:00:00Z"}},"NumFailures":0,'
    b'"LastFailure":"0001-01-01T00:00:00Z"}'
)
STARTED = FunctionStatus(
    function="tapir-pop",
    id="random-popper",
    components=(
        ("main-boot", ComponentStatus(state=ComponentState.OK, message="started", succeeded_at=1_740_830_400_000_000)),
    ),
)


def test_what_upstream_writes():
    assert parse_function_status(UPSTREAM) == STARTED
    assert encode_function_status(STARTED, additions=False) == UPSTREAM


def test_what_we_add_stands_behind():
    event = ExceptionalEvent(id="i", kind=EventKind.CLOCK_STEP, subject="clock", text="<back>", at=0)
    status = attrs.evolve(STARTED, version="1.0", at=1, counters=(("b", 2), ("a", 1)), events=(event,))
    encoded = encode_function_status(status)
    assert encoded.startswith(UPSTREAM[:-1] + b",")
    assert encoded[len(UPSTREAM) - 1 :] == (
        b',"Version":"1.0","Time":"1970-01-01T00:00:00.000001Z","Counters":{"a":1,"b":2},"Events":[{"Id":"i",'
        b'"Kind":"clock-step","Subject":"clock","Text":"\\u003cback\\u003e","At":"1970-01-01T00:00:00Z",'
        b'"ClearedAt":"0001-01-01T00:00:00Z"}]}'
    )


times = st.none() | st.integers(YEAR_ONE + 1, LAST)
counts = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
components = st.builds(
    ComponentStatus,
    state=st.sampled_from(ComponentState),
    message=texts,
    error=texts,
    warning=texts,
    failures=counts,
    warnings=counts,
    failed_at=times,
    warned_at=times,
    succeeded_at=times,
)
events = st.builds(
    ExceptionalEvent,
    id=texts,
    kind=st.sampled_from(EventKind),
    subject=texts,
    text=texts,
    at=st.integers(YEAR_ONE + 1, LAST),
    cleared_at=times,
)
statuses = st.builds(
    FunctionStatus,
    function=texts,
    id=texts,
    components=st.dictionaries(texts, components, max_size=3).map(lambda each: tuple(sorted(each.items()))),
    failures=counts,
    failed_at=times,
    version=texts,
    at=times,
    counters=st.dictionaries(texts, counts, max_size=3).map(lambda each: tuple(sorted(each.items()))),
    events=st.lists(events, max_size=3).map(tuple),
)


@given(statuses)
def test_round_trip(status: FunctionStatus):
    encoded = encode_function_status(status)
    assert parse_function_status(encoded) == status
    assert not set(encoded) & set(b"<>&\n")


@given(st.binary(max_size=200) | st.binary(max_size=30).map(lambda part: UPSTREAM[:200] + part + UPSTREAM[210:]))
def test_any_octets_are_a_status_or_refused(payload: bytes):
    with contextlib.suppress(FunctionStatusError):
        parse_function_status(payload)


def test_times_that_no_calendar_has_are_cut():
    status = attrs.evolve(STARTED, at=LAST + 10**18)
    assert parse_function_status(encode_function_status(status)).at == LAST


def test_half_a_surrogate_pair_is_replaced():
    encoded = encode_function_status(attrs.evolve(STARTED, id="\ud800"))
    assert parse_function_status(encoded).id == "?"


def test_members_in_any_case_and_a_kind_of_later():
    document: Any = {
        "function": "f",
        "EVENTS": [{"kind": "of-later"}, {"kind": "zone-held", "id": "1"}],
        "unknown": [],
        "componentstatus": None,
    }
    status = parse_function_status(json.dumps(document).encode())
    assert status.function == "f"
    assert [event.id for event in status.events] == ["1"]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "not an object"),
        ({"Function": 3}, "`Function` is a number"),
        ({"ComponentStatus": []}, "`ComponentStatus` is an array"),
        ({"ComponentStatus": {"rpz": 3}}, "rpz is a number"),
        ({"ComponentStatus": {"rpz": {"Status": 3}}}, "`rpz.Status` is not between 0 and 2"),
        ({"ComponentStatus": {"rpz": {"LastFail": "yesterday"}}}, "`rpz.LastFail`"),
        ({"ComponentStatus": {str(n): {} for n in range(MAX_COMPONENTS + 1)}}, "members"),
        ({"Counters": {str(n): n for n in range(MAX_COUNTERS + 1)}}, "members"),
        ({"Counters": {"x": -1}}, "the counter `x` is no count"),
        ({"Counters": {"x": True}}, "no count"),
        ({"Events": [{}] * (MAX_EVENTS + 1)}, "entries"),
        ({"Events": [3]}, "Events[0] is a number"),
    ],
)
def test_what_is_no_status_is_refused(document: object, text: str):
    with pytest.raises(FunctionStatusError) as refused:
        parse_function_status(json.dumps(document).encode())
    assert text in str(refused.value)


def test_what_is_too_long_is_refused():
    with pytest.raises(FunctionStatusError, match="octets"):
        parse_function_status(b" " * (MAX_PAYLOAD + 1))
