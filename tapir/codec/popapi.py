"""The management API version 1 on the wire (pop.md §7): what Go writes for upstream's structs, and reads into them.

Members have the names of Go's fields, in Go's order, and all of them are always there; nothing is null, no time the
beginning of year 1. Requests are read with members in any case; what cannot be read is an empty request, as upstream
has it. Times are microseconds since the epoch, None for no time.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import attrs

from tapir.codec.bootstrap import TopicData, describe_topic
from tapir.codec.functionstatus import encode_function_status
from tapir.codec.gojson import FieldError, Fields
from tapir.codec.rfc3339 import LAST, YEAR_ONE, format_time
from tapir.codec.strictjson import JsonError, load_object
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, NameBlock, ObservationBlock, RecordBlock
from tapir.model.messages.telemetry import FunctionStatus
from tapir.model.names import Name, format_name

PUBLISHED_KEY: Final = "be-nice-to-a-bad-tempered-tapir"
"""The key that every enrolment writes, and that everybody knows"""

_MOST: Final = (1 << 63) - 2
# pop.md §4; what has no bit upstream is 64, unknown.
_ACTIONS: Final = {
    Action.NXDOMAIN: 1,
    Action.NODATA: 2,
    Action.DROP: 4,
    Action.REDIRECT: 8,
    Action.PASSTHRU: 32,
    Action.TCP_ONLY: 64,
}
_HOLE: Final = "\ue000names are written here\ue000"


@attrs.frozen(kw_only=True)
class PingPost:
    """Is anybody there?"""

    msg: str = ""
    pings: int = 0


@attrs.frozen(kw_only=True)
class CommandPost:
    """What `/command` is asked."""

    command: str = ""
    zone: str = ""
    name: str = ""
    list_type: str = ""
    list_name: str = ""
    policy: str = ""
    action: str = ""
    rpz_source: str = ""


@attrs.frozen(kw_only=True)
class DebugPost:
    """What `/debug` is asked."""

    command: str = ""
    zone: str = ""
    qname: str = ""
    qtype: int = 0
    component: str = ""
    status: int = 0


def parse_ping(body: bytes) -> PingPost:
    """The ping that `body` is; an empty one for whatever it is else."""
    try:
        fields = Fields(load_object(body))
        return PingPost(msg=fields.text("Msg"), pings=fields.integer("Pings", -_MOST, _MOST))
    except (JsonError, FieldError):
        return PingPost()


def parse_command(body: bytes) -> CommandPost:
    """The command that `body` is; an empty one for whatever it is else."""
    try:
        fields = Fields(load_object(body))
        return CommandPost(
            command=fields.text("Command"),
            zone=fields.text("Zone"),
            name=fields.text("Name"),
            list_type=fields.text("ListType"),
            list_name=fields.text("ListName"),
            policy=fields.text("Policy"),
            action=fields.text("Action"),
            rpz_source=fields.text("RpzSource"),
        )
    except (JsonError, FieldError):
        return CommandPost()


def parse_debug(body: bytes) -> DebugPost:
    """The question that `body` is; an empty one for whatever it is else."""
    try:
        fields = Fields(load_object(body))
        return DebugPost(
            command=fields.text("Command"),
            zone=fields.text("Zone"),
            qname=fields.text("Qname"),
            qtype=fields.integer("Qtype", 0, 65535),
            component=fields.text("Component"),
            status=fields.integer("Status", 0, 255),
        )
    except (JsonError, FieldError):
        return DebugPost()


def encode_pong(*, time: int, boot_time: int, client: str, msg: str, pings: int, pongs: int) -> bytes:
    """The answer to a ping; what upstream leaves empty is empty."""
    return _encode(
        {
            "Time": go_time(time),
            "BootTime": go_time(boot_time),
            "Daemon": "",
            "ServerHost": "",
            "Version": "",
            "Client": client,
            "Msg": msg,
            "Pings": pings,
            "Pongs": pongs,
        }
    )


@attrs.frozen(kw_only=True)
class CommandResponse:
    """What became of a command."""

    status: str = ""
    msg: str = ""
    function_status: FunctionStatus | None = None
    error: bool = False
    error_msg: str = ""


def encode_command_response(response: CommandResponse) -> bytes:
    """The body of the answer to `/command`."""
    status = response.function_status
    function: dict[str, Any] = (
        json.loads(encode_function_status(status, additions=False))
        if status is not None
        else {
            "Function": "",
            "FunctionID": "",
            "ComponentStatus": None,
            "NumFailures": 0,
            "LastFailure": go_time(None),
        }
    )
    return _encode(
        {
            "Time": go_time(None),
            "Status": response.status,
            "Zone": "",
            "Serial": 0,
            "Data": None,
            "Msg": response.msg,
            "TapirFunctionStatus": function,
            "Error": response.error,
            "ErrorMsg": response.error_msg,
        }
    )


@attrs.frozen(kw_only=True)
class DebugResponse:
    """What `/debug` found; `topics` are of `mqtt-stats`, `reaper` has the names that go, by list and time."""

    time: int | None = None
    status: str = "ok"
    zone: str = ""
    msg: str = ""
    topics: tuple[TopicData, ...] | None = None
    reaper: Mapping[str, Mapping[int, tuple[str, ...]]] | None = None
    error: bool = False
    error_msg: str = ""


def encode_debug_response(response: DebugResponse) -> bytes:
    """The body of the answer to `/debug`."""
    return _encode(_debug(response))


def encode_debug_around(response: DebugResponse, *members: str) -> list[bytes]:
    """The body in pieces, between which the values of `members` are to be written, which must be in Go's order."""
    document = _debug(response)
    for member in members:
        if member not in document:
            raise ValueError(f"{member} is no member of this answer")
        document[member] = _HOLE
    return _encode(document).split(json.dumps(_HOLE).encode())


def _debug(response: DebugResponse) -> dict[str, Any]:
    topics = response.topics
    counters: dict[str, int] | None = None
    stamps: dict[str, str] | None = None
    if topics is not None:
        counters = {topic.topic: topic.messages for topic in topics}
        stamps = {topic.topic: go_time(topic.latest) for topic in topics}
    return {
        "Time": go_time(response.time),
        "Status": response.status,
        "Zone": response.zone,
        "OwnerIndex": None,
        # Go's reader has no way to read a record, so upstream's own form of them makes it give up.
        "RRset": {"RRs": None},
        "Lists": None,
        "Allowlists": None,
        "Denylists": None,
        "Doubtlists": None,
        "DenylistedNames": None,
        "DoubtlistedNames": None,
        "RpzOutput": None,
        "MqttStats": {"MsgCounters": counters, "MsgTimeStamps": stamps},
        "TopicData": None if topics is None else {topic.topic: describe_topic(topic) for topic in topics},
        "ReaperStats": None
        if response.reaper is None
        else {
            name: {go_time(time): list(names) for time, names in slots.items()}
            for name, slots in response.reaper.items()
        },
        "Msg": response.msg,
        "Error": response.error,
        "ErrorMsg": response.error_msg,
    }


@attrs.frozen(kw_only=True)
class ListHead:
    """A list without its names, as `filterlists` tells of it."""

    name: str
    kind: ListKind
    description: str = ""
    source_format: str = ""
    format: str = "map"
    """how upstream would keep it: `map` or `dawg`"""
    file: str = ""
    zone: str = "."
    serial: int = 0
    """of a feed"""


def encode_list_around(head: ListHead) -> tuple[bytes, bytes]:
    """The object of a list, up to the value of its `Names` and from there on."""
    document = {
        "Name": head.name,
        "Description": head.description,
        "Type": head.kind.value,
        "Immutable": False,
        "SrcFormat": head.source_format,
        "Format": head.format,
        "Datasource": "",
        "Filename": head.file,
        "Upstream": "",
        "Dawgf": None,
        "MqttDetails": None,
        "RpzZoneName": head.zone,
        "RpzUpstream": "",
        "RpzSerial": head.serial,
        "Names": _HOLE,
        "ReaperData": None,
    }
    before, after = _plain(document).split(json.dumps(_HOLE).encode())
    return before, after


def encode_names(entries: ListBlock) -> bytes:
    """The members that `Names` of a list has for `entries`, without the braces around all of them.

    Some microseconds a name: for a worker, and in pages.
    """
    year_one = go_time(None)
    return b",".join(
        _plain(name)
        + b':{"Name":'
        + _plain(name)
        + f',"TimeAdded":"{year_one}","TTL":0,"TagMask":{tags},"NumTags":0,"Action":0}}'.encode()
        for name, tags in _texts(entries)
    )


def encode_observed_names(observed: ObservationBlock, start: int, end: int) -> bytes:
    """The same for the rows of `observed` from `start` up to `end`, with when it was observed, and for how long."""
    rows = zip(
        _texts_from(observed.names, start, end),
        memoryview(observed.tags).cast("I")[start:end],
        memoryview(observed.observed).cast("q")[start:end],
        memoryview(observed.deadlines).cast("q")[start:end],
        strict=True,
    )
    return b",".join(
        _plain(name)
        + b':{"Name":'
        + _plain(name)
        + f',"TimeAdded":"{go_time(time)}","TTL":{1000 * max(0, deadline - time)},"TagMask":{tags},'.encode()
        + b'"NumTags":0,"Action":0}'
        for name, tags, time, deadline in rows
    )


def encode_text(text: str) -> bytes:
    """`text` as a string of JSON."""
    return _plain(text)


def encode_output(records: RecordBlock, start: int, end: int) -> bytes:
    """The items that `RpzOutput` has for the rows of `records` from `start` up to `end`.

    Their records are null: Go's reader has no way to read one.
    """
    names = _texts_from(records.names, start, end)
    return b",".join(
        b'{"Name":' + _plain(name) + f',"RR":null,"Action":{_ACTIONS[Action(action)]}}}'.encode()
        for name, action in zip(names, records.actions[start:end], strict=True)
    )


def encode_denied_names(entries: ListBlock) -> bytes:
    """The members that `DenylistedNames` has for `entries`."""
    return b",".join(_plain(name) + b":true" for name, _ in _texts(entries))


def _texts(entries: ListBlock) -> Iterator[tuple[str, int]]:
    return ((format_name(name), tags) for name, tags in entries)


def _texts_from(names: NameBlock, start: int, end: int) -> Iterator[str]:
    offsets = memoryview(names.offsets).cast("I")[start : end + 1]
    return (format_name(Name(names.data[first:last])) for first, last in pairwise(offsets))


def go_time(microseconds: int | None) -> str:
    """A time as Go writes it, which for no time is the beginning of year 1."""
    return format_time(YEAR_ONE if microseconds is None else min(max(microseconds, YEAR_ONE), LAST))


def _plain(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(document: Mapping[str, Any]) -> bytes:
    # Go ends what its encoder writes with a newline.
    return _plain(document) + b"\n"
