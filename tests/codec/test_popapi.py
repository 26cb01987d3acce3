import json

import pytest
from go_client import unmarshal
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.bootstrap import TopicData
from tapir.codec.popapi import (
    CommandPost,
    CommandResponse,
    DebugPost,
    DebugResponse,
    ListHead,
    PingPost,
    encode_command_response,
    encode_debug_around,
    encode_debug_response,
    encode_denied_names,
    encode_list_around,
    encode_names,
    encode_observed_names,
    encode_output,
    encode_pong,
    encode_text,
    go_time,
    parse_command,
    parse_debug,
    parse_ping,
)
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, ObservationBlock, RecordBlock
from tapir.model.messages.telemetry import ComponentState, ComponentStatus, FunctionStatus
from tapir.model.names import parse_name

# As Go writes upstream's empty struct, member for member (pop.md §7.3).
EMPTY_COMMAND = (
    b'{"Time":"0001-01-01T00:00:00Z","Status":"","Zone":"","Serial":0,"Data":null,"Msg":"","TapirFunctionStatus":'
    b'{"Function":"","FunctionID":"","ComponentStatus":null,"NumFailures":0,"LastFailure":"0001-01-01T00:00:00Z"},'
    b'"Error":false,"ErrorMsg":""}\n'
)
EMPTY_DEBUG = (
    b'{"Time":"0001-01-01T00:00:00Z","Status":"ok","Zone":"","OwnerIndex":null,"RRset":{"RRs":null},"Lists":null,'
    b'"Allowlists":null,"Denylists":null,"Doubtlists":null,"DenylistedNames":null,"DoubtlistedNames":null,'
    b'"RpzOutput":null,"MqttStats":{"MsgCounters":null,"MsgTimeStamps":null},"TopicData":null,"ReaperStats":null,'
    b'"Msg":"","Error":false,"ErrorMsg":""}\n'
)
# pop.md §8.2
STATUS = json.loads(
    """{"Function":"tapir-pop","FunctionID":"random-popper","ComponentStatus":{"main-boot":{"Component":"","Status":2,
    "ErrorMsg":"","WarningMsg":"","Msg":"started","NumFails":0,"NumWarnings":0,"LastFail":"0001-01-01T00:00:00Z",
    "LastWarn":"0001-01-01T00:00:00Z","LastSuccess":"2025-03-01T12:00:00Z"}},"NumFailures":0,
    "LastFailure":"0001-01-01T00:00:00Z"}"""
)


def test_empty_answers_are_those_of_go():
    assert encode_command_response(CommandResponse()) == EMPTY_COMMAND
    assert encode_debug_response(DebugResponse()) == EMPTY_DEBUG


def test_the_function_status_is_that_of_the_reference():
    component = ComponentStatus(state=ComponentState.OK, message="started", succeeded_at=1_740_830_400_000_000)
    status = FunctionStatus(function="tapir-pop", id="random-popper", components=(("main-boot", component),))
    answer = unmarshal("CommandResponse", encode_command_response(CommandResponse(function_status=status)))
    assert answer["TapirFunctionStatus"] == STATUS


def test_a_pong():
    body = encode_pong(time=1_500_000, boot_time=0, client="[::1]:5", msg="pong", pings=2, pongs=1)
    assert body == (
        b'{"Time":"1970-01-01T00:00:01.5Z","BootTime":"1970-01-01T00:00:00Z","Daemon":"","ServerHost":"","Version":"",'
        b'"Client":"[::1]:5","Msg":"pong","Pings":2,"Pongs":1}\n'
    )


def test_requests_are_read_in_any_case_and_what_is_unknown_is_ignored():
    body = b'{"command":"rpz-add","NAME":"a.","listType":"denylist","Policy":null,"rpzsource":"r","X":{}}\n'
    assert parse_command(body) == CommandPost(command="rpz-add", name="a.", list_type="denylist", rpz_source="r")
    body = b'{"Command":"rrset","Zone":"z.","Qname":"q.","Qtype":65535,"Component":"c","Status":255}'
    expected = DebugPost(command="rrset", zone="z.", qname="q.", qtype=65535, component="c", status=255)
    assert parse_debug(body) == expected
    assert parse_ping(b'{"Msg":"m","Pings":-3}') == PingPost(msg="m", pings=-3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"1",
        b"[1]",
        b'{"Qtype":65536}',
        b'{"Qtype":"1"}',
        b'{"Pings":1.5}',
        b'{"Command":1}',
        b"{" * 100_000,
        b"\xff",
    ],
)
def test_what_cannot_be_read_is_an_empty_request(body: bytes):
    assert parse_command(body) == CommandPost()
    assert parse_debug(body) == DebugPost()
    assert parse_ping(body) == PingPost()


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_request_raises(body: bytes):
    parse_command(body)
    parse_debug(body)
    parse_ping(body)


def test_what_is_decided_has_the_bits_of_the_reference_and_no_record():
    actions = [each for each in Action if each is not Action.NONE]
    records = RecordBlock.of((parse_name(f"{each.value}.example"), each) for each in actions)
    document = {**json.loads(EMPTY_DEBUG), "RpzOutput": json.loads(b"[" + encode_output(records, 0, 100) + b"]")}
    answer = unmarshal("DebugResponse", json.dumps(document).encode())
    assert [each["Name"] for each in answer["RpzOutput"]] == [f"{each.value}.example." for each in actions]
    # PASSTHRU, REDIRECT, NODATA, NXDOMAIN, DROP, and TCP-ONLY, which upstream does not know
    assert [each["Action"] for each in answer["RpzOutput"]] == [32, 8, 2, 1, 4, 64]
    assert json.loads(encode_output(records, 1, 2)) == {"Name": "2.example.", "RR": None, "Action": 8}


def test_observed_names_have_their_times():
    observed = ObservationBlock.of(
        [(parse_name("a.example"), 1024, 1_500_000, 3_600_000_000), (parse_name("b.example"), 0, 5, 1)]
    )
    found = json.loads(b"{" + encode_observed_names(observed, 0, 5) + b"}")
    assert (found["a.example."]["TimeAdded"], found["a.example."]["TTL"]) == ("1970-01-01T00:00:01.5Z", 3598500000000)
    # what ended before it was observed lasts for no time, not for less
    assert (found["b.example."]["TagMask"], found["b.example."]["TTL"]) == (0, 0)
    assert [*json.loads(b"{" + encode_observed_names(observed, 1, 2) + b"}")] == ["b.example."]


def test_lists_are_written_around_their_names():
    entries = ListBlock.of([(parse_name("a.example"), 1024), (parse_name(r"b\034\092.example"), 0)])
    start, end = encode_debug_around(DebugResponse(msg="m"), "Lists")
    before, after = encode_list_around(ListHead(name='n"', kind=ListKind.DOUBT, source_format="tapir-msg-v1"))
    text = start + b'{"doubtlist":{' + encode_text('n"') + b":" + before + b"{" + encode_names(entries) + b"}" + after
    answer = unmarshal("DebugResponse", text + b"}}" + end)
    (found,) = answer["Lists"]["doubtlist"].values()
    assert (found["Name"], found["Type"], found["SrcFormat"], found["Format"]) == (
        'n"',
        "doubtlist",
        "tapir-msg-v1",
        "map",
    )
    assert {key: (name["Name"], name["TagMask"]) for key, name in found["Names"].items()} == {
        "a.example.": ("a.example.", 1024),
        r"b\"\\.example.": (r"b\"\\.example.", 0),
    }


def test_pieces_without_names_are_still_json():
    start, between, end = encode_debug_around(DebugResponse(), "DenylistedNames", "DoubtlistedNames")
    nothing = ListBlock.of([])
    body = start + b"{" + encode_denied_names(nothing) + b"}" + between + b"{" + encode_names(nothing) + b"}" + end
    assert unmarshal("DebugResponse", body)["DenylistedNames"] == {}
    with pytest.raises(ValueError, match="Nothing"):
        encode_debug_around(DebugResponse(), "Nothing")


def test_topics_and_what_goes_when():
    answer = unmarshal(
        "DebugResponse",
        encode_debug_response(
            DebugResponse(
                topics=(TopicData(topic="t", messages=5, latest=0),), reaper={"l": {60_000_000: ("a.", "b.")}}
            )
        ),
    )
    assert answer["MqttStats"] == {"MsgCounters": {"t": 5}, "MsgTimeStamps": {"t": "1970-01-01T00:00:00Z"}}
    assert answer["TopicData"]["t"]["SubscriberCh"] is None
    assert answer["ReaperStats"] == {"l": {"1970-01-01T00:01:00Z": ["a.", "b."]}}


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (None, "0001-01-01T00:00:00Z"),
        (-(10**20), "0001-01-01T00:00:00Z"),
        (10**20, "9999-12-31T23:59:59.999999Z"),
        (1_000_001, "1970-01-01T00:00:01.000001Z"),
    ],
)
def test_times_are_gos(time: int | None, text: str):
    assert go_time(time) == text
