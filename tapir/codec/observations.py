"""Observations as Core sends them: the payload `tapir-msg-v1`, JSON in, columns out, and back.

    {"src_name":"dns-tapir","creator":"observation-encoder","msg_type":"observation","list_type":"doubtlist",
     "added":[{"name":"bad.example.","time_added":"2025-03-01T12:00:00.5Z","ttl":3607,"tag_mask":17,
               "extended_tags":[]}],
     "removed":[],"msg":"","timestamp":"2025-03-01T12:00:00.5Z","time_str":""}

Read as Go's decoder reads it upstream: members in any case (`Name`), unknown ones ignored, null for nothing, and one
member of a wrong type refuses the whole message. A name that is none is refused by itself, and the rest is used. Names
may have the trailing dot or not, and any case. Of a name that is added twice the last counts, and `removed` comes after
`added`: a block has a name once, and no name is in both.

Nothing here knows what time it is: an entry without `time_added` is of year 1, so its deadline has passed.
"""

import enum
import json
from typing import Any, Final

import attrs

from tapir.codec.gojson import FieldError, Fields
from tapir.codec.rfc3339 import SECOND, YEAR_ONE, format_time
from tapir.codec.strictjson import JsonError, load_object
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock, WithdrawalBlock
from tapir.model.errors import TapirError
from tapir.model.names import Name, NameSyntaxError, format_name, parse_name
from tapir.model.tags import MAX_MASK

MAX_PAYLOAD: Final = 4 << 20
MAX_NAMES: Final = 100_000
MAX_TEXT: Final = 1024
"""Characters of a text that is kept; of a longer one the beginning is."""
SHOWN: Final = 10
"""How many refused names are told of in full."""

MESSAGE_TYPES: Final = ("observation", "intel-update")

_KINDS: Final = {kind.value: kind for kind in ListKind}
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


class Reason(enum.Enum):
    """Why a payload is refused as a whole; the value is the word for counters."""

    TOO_LARGE = "too-large"
    NOT_JSON = "not-json"
    MALFORMED = "malformed"
    """a member is not of its type, or out of its range"""
    UNKNOWN_MESSAGE_TYPE = "unknown-message-type"
    UNKNOWN_LIST_TYPE = "unknown-list-type"


class ObservationsRefused(TapirError):
    """The payload is no tapir-msg-v1; nothing of it is used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@attrs.frozen(kw_only=True)
class RefusedName:
    """An entry whose name is none: the `position`th (from 1) of `member`."""

    member: str
    position: int
    reason: str


@attrs.frozen(kw_only=True, eq=False)
class Observations:
    """One message: for the list `source` of kind `kind`.

    `refused` counts the entries whose name is none, `refusals` tells of the first of them. `timestamp` is when the
    message was made, None where it does not say; a withdrawal, too, need not have a time of its own (`YEAR_ONE` then).
    """

    source: str
    kind: ListKind
    added: ObservationBlock
    removed: WithdrawalBlock
    creator: str = ""
    message_type: str = MESSAGE_TYPES[0]
    text: str = ""
    timestamp: int | None = None
    refused: int = 0
    refusals: tuple[RefusedName, ...] = ()


def parse_observations(data: bytes, *, max_size: int = MAX_PAYLOAD, max_names: int = MAX_NAMES) -> Observations:
    """What the payload `data` says. Raises ObservationsRefused, and nothing else whatever the octets."""
    if len(data) > max_size:
        raise ObservationsRefused(Reason.TOO_LARGE, f"it has {len(data)} octets, {max_size} are allowed")
    try:
        message = Fields(load_object(data))
        return _parse(message, max_names)
    except JsonError as exc:
        raise ObservationsRefused(Reason.NOT_JSON, str(exc)) from None
    except FieldError as exc:
        raise ObservationsRefused(Reason.MALFORMED, str(exc)) from None


def _parse(message: Fields, max_names: int) -> Observations:
    message_type, kind = message.text("msg_type"), _KINDS.get(message.text("list_type"))
    added, removed = message.array("added"), message.array("removed")
    timestamp = message.time("timestamp")
    source, creator, text = message.text("src_name"), message.text("creator"), message.text("msg")
    message.text("time_str")
    if message_type not in MESSAGE_TYPES:
        raise ObservationsRefused(Reason.UNKNOWN_MESSAGE_TYPE, f"`msg_type` is none of {', '.join(MESSAGE_TYPES)}")
    if kind is None:
        raise ObservationsRefused(Reason.UNKNOWN_LIST_TYPE, f"`list_type` is none of {', '.join(_KINDS)}")
    if len(added) + len(removed) > max_names:
        raise ObservationsRefused(
            Reason.TOO_LARGE, f"it has {len(added) + len(removed)} names, {max_names} are allowed"
        )
    entries = _Entries()
    observations: dict[Name, tuple[Name, int, int, int]] = {}
    for entry in entries.read("added", added):
        observations[entry[0]] = entry
    withdrawals: dict[Name, int] = {}
    for name, _, observed, _ in entries.read("removed", removed):
        observations.pop(name, None)
        withdrawals[name] = observed
    return Observations(
        source=source,
        kind=kind,
        added=ObservationBlock.of(observations.values()),
        removed=WithdrawalBlock.of(withdrawals.items()),
        creator=creator[:MAX_TEXT],
        message_type=message_type,
        text=text[:MAX_TEXT],
        timestamp=None if timestamp == YEAR_ONE else timestamp,
        refused=entries.refused,
        refusals=tuple(entries.refusals),
    )


class _Entries:
    """Reads the entries of a message, and counts what it refuses of them."""

    def __init__(self) -> None:
        self.refused = 0
        self.refusals: list[RefusedName] = []

    def read(self, member: str, values: list[Any]) -> list[tuple[Name, int, int, int]]:
        found = []
        for position, value in enumerate(values, 1):
            fields = Fields(value, f"{member}[{position}]")
            text = fields.text("name")
            observed = fields.time("time_added")
            ttl = fields.integer("ttl", _LOWEST, _HIGHEST)
            mask = fields.integer("tag_mask", 0, MAX_MASK)
            fields.texts("extended_tags")
            try:
                name = parse_name(text)
            except NameSyntaxError as exc:
                self.refused += 1
                if len(self.refusals) < SHOWN:
                    self.refusals.append(RefusedName(member=member, position=position, reason=exc.reason))
                continue
            found.append((name, mask, observed, deadline_of(observed, ttl)))
        return found


def deadline_of(observed: int, ttl: int) -> int:
    """When an observation ends that holds for `ttl` seconds; what no column holds is as late, or early, as one can."""
    return min(max(observed + ttl * SECOND, YEAR_ONE), _HIGHEST)


def ttl_of(observed: int, deadline: int) -> int:
    """For how many whole seconds an observation holds; a part of one counts as a whole."""
    span = deadline - observed
    return -(-span // SECOND) if span >= 0 else span // SECOND


def encode_observations(observations: Observations, *, trailing_dot: bool = True) -> bytes:
    """The payload that says `observations`, in the order and with all the members of Core's schema.

    Core's own encoder leaves the trailing dot out; the existing POP takes such names in and never finds them again.
    """

    def text_of(name: Name) -> str:
        text = format_name(name)
        return text if trailing_dot or text == "." else text[:-1]

    added = [
        {
            "name": text_of(name),
            "time_added": format_time(observed),
            "ttl": ttl_of(observed, deadline),
            "tag_mask": mask,
            "extended_tags": [],
        }
        for name, mask, observed, deadline in observations.added
    ]
    removed = [
        {"name": text_of(name), "time_added": format_time(observed), "ttl": 0, "tag_mask": 0, "extended_tags": []}
        for name, observed in observations.removed
    ]
    message = {
        "src_name": observations.source,
        "creator": observations.creator,
        "msg_type": observations.message_type,
        "list_type": observations.kind.value,
        "added": added,
        "removed": removed,
        "msg": observations.text,
        "timestamp": format_time(YEAR_ONE if observations.timestamp is None else observations.timestamp),
        "time_str": "",
    }
    return json.dumps(message, separators=(",", ":")).encode()
