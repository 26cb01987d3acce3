"""What is said around a list when one POP bootstraps from another: `/ping` and `/bootstrap` of the API version 1.

The members have the names that Go gives them, all of them are always there, and they are read in any case. Texts of
the other side are kept to `MAX_TEXT` characters, without anything that a terminal would act on.
"""

import json
from typing import Any, Final

import attrs

from tapir.codec.gojson import FieldError, Fields
from tapir.codec.rfc3339 import YEAR_ONE, format_time
from tapir.codec.strictjson import JsonError, load_object
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError

STATUS: Final = "doubtlist-status"
EXPORTS: Final = {f"export-{kind.value}": kind for kind in ListKind}
"""The commands; upstream has `export-doubtlist` alone, since it keeps all that comes by MQTT as doubtlists."""
GOB: Final = "gob"
JSON_LINES: Final = "jsonl"
"""The encodings; to anything but gob an existing POP answers with an error."""
EXPORT_TYPE: Final = "application/jsonl"
"""The content type of a plain export, by which it is told from such an error."""

MAX_TEXT: Final = 300
_COUNT: Final = 0xFFFF_FFFF
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


class BodyError(TapirError):
    """The octets are not the object that was expected; the text shows no value."""


@attrs.frozen(kw_only=True)
class BootstrapPost:
    """Do `command` with the list `list_name`, in `encoding`."""

    command: str
    list_name: str
    encoding: str = ""


@attrs.frozen(kw_only=True)
class TopicData:
    """One subscription as upstream tells of it; the key and the channel of its own struct are null here."""

    topic: str
    messages: int = 0
    """that came"""
    latest: int = YEAR_ONE
    validate: bool = True


@attrs.frozen(kw_only=True)
class BootstrapResponse:
    """What became of the request; times are microseconds since the epoch."""

    time: int = YEAR_ONE
    status: str = ""
    msg: str = ""
    topics: tuple[TopicData, ...] | None = None
    """None is Go's nil map"""
    error: bool = False
    error_msg: str = ""


@attrs.frozen(kw_only=True)
class PingResponse:
    """Somebody is there, knows the key, and is called `msg`."""

    msg: str
    pings: int
    pongs: int


def encode_post(post: BootstrapPost) -> bytes:
    """The body of a request."""
    return _encode({"Command": post.command, "ListName": post.list_name, "Encoding": post.encoding})


def parse_post(data: bytes) -> BootstrapPost:
    """The request that `data` is. Raises BodyError, and nothing else whatever the octets."""
    fields = _fields(data)
    try:
        return BootstrapPost(
            command=fields.text("Command"), list_name=fields.text("ListName"), encoding=fields.text("Encoding")
        )
    except FieldError as exc:
        raise BodyError(str(exc)) from None


def encode_ping(msg: str, pings: int = 0) -> bytes:
    """The body of a ping."""
    return _encode({"Msg": msg, "Pings": pings})


def parse_pong(data: bytes) -> PingResponse:
    """The answer to a ping. Raises BodyError, and nothing else whatever the octets."""
    fields = _fields(data)
    try:
        return PingResponse(
            msg=shown(fields.text("Msg")),
            pings=fields.integer("Pings", _LOWEST, _HIGHEST),
            pongs=fields.integer("Pongs", _LOWEST, _HIGHEST),
        )
    except FieldError as exc:
        raise BodyError(str(exc)) from None


def encode_response(response: BootstrapResponse) -> bytes:
    """The body of an answer, or what follows the list in one; readable for Go, in whose struct each member is."""
    topics = response.topics
    return _encode(
        {
            "Time": format_time(response.time),
            "Status": response.status,
            "Msg": response.msg,
            "TopicData": None if topics is None else {topic.topic: describe_topic(topic) for topic in topics},
            "Error": response.error,
            "ErrorMsg": response.error_msg,
        }
    )


def describe_topic(topic: TopicData) -> dict[str, Any]:
    """The members of a subscription; what Go cannot encode upstream is null, which its reader takes."""
    return {
        "Topic": topic.topic,
        "SigningKey": None,
        "Sign": False,
        "Validate": topic.validate,
        "PubMode": "",
        "SubMode": "raw",
        "SubscriberCh": None,
        "PubMsgs": 0,
        "SubMsgs": min(topic.messages, _COUNT),
        "LatestPub": format_time(YEAR_ONE),
        "LatestSub": format_time(topic.latest),
    }


def parse_response(data: bytes) -> BootstrapResponse:
    """The answer that `data` is, without its topics. Raises BodyError, and nothing else whatever the octets."""
    fields = _fields(data)
    try:
        return BootstrapResponse(
            time=fields.time("Time"),
            status=shown(fields.text("Status")),
            msg=shown(fields.text("Msg")),
            error=fields.boolean("Error"),
            error_msg=shown(fields.text("ErrorMsg")),
        )
    except FieldError as exc:
        raise BodyError(str(exc)) from None


def shown(text: str) -> str:
    """A text of the other side as a log may show it."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])


def _fields(data: bytes) -> Fields:
    try:
        return Fields(load_object(data))
    except (JsonError, FieldError) as exc:
        raise BodyError(str(exc)) from None


def _encode(members: dict[str, Any]) -> bytes:
    # Go ends what its encoder writes with a newline.
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"
