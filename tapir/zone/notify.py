"""NOTIFY (RFC 1996): telling a secondary that the zone has a new version, and reading what it says to that.

And the SOA query that tells which version it has: one that is ahead of us takes nothing, and says nothing by itself.
"""

import enum

import attrs

from tapir.codec.dnswire import (
    AA,
    WireError,
    encode_header,
    read_header,
    read_name,
    read_question,
    read_record,
    read_soa_serial,
)
from tapir.codec.rpz import CLASS_IN
from tapir.model.names import Name
from tapir.zone.query import OPCODE_NOTIFY, OPCODE_QUERY, TYPE_SOA
from tapir.zone.version import ZoneVersion

_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}


class NotifyOutcome(enum.Enum):
    """What became of a NOTIFY."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """the secondary answered with an error: repeating it now is of no use"""
    UNRELATED = "unrelated"
    """the message is not the answer: keep waiting for it"""


@attrs.frozen
class NotifyAnswer:
    """What a received message says about a NOTIFY; `reason` is empty for an acknowledgement."""

    outcome: NotifyOutcome
    reason: str = ""


def encode_notify(version: ZoneVersion, *, id_: int) -> bytes:
    """The NOTIFY of `version`: AA, the zone's SOA asked for and, as a hint, answered (RFC 1996 §3.7)."""
    question = version.apex + TYPE_SOA.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
    return encode_header(id_, OPCODE_NOTIFY << 11 | AA, (1, 1, 0, 0)) + question + version.soa()


def judge_notify_answer(wire: bytes, *, version: ZoneVersion, id_: int) -> NotifyAnswer:
    """Whether `wire` answers the NOTIFY with `id_`, and how. Never raises.

    Some secondaries leave the question out of an error; where there is one it must be the one asked.
    """
    try:
        header = read_header(wire)
        if not header.is_response or header.id != id_ or header.opcode != OPCODE_NOTIFY:
            return NotifyAnswer(NotifyOutcome.UNRELATED, "not a response to this NOTIFY")
        if header.counts[0]:
            question, _ = read_question(wire)
            if (question.name, question.rdtype, question.rdclass) != (version.apex, TYPE_SOA, CLASS_IN):
                return NotifyAnswer(NotifyOutcome.UNRELATED, "it answers another question")
    except WireError as exc:
        return NotifyAnswer(NotifyOutcome.UNRELATED, str(exc))
    if header.rcode:
        return NotifyAnswer(NotifyOutcome.REFUSED, _RCODES.get(header.rcode, f"rcode {header.rcode}"))
    return NotifyAnswer(NotifyOutcome.ACKNOWLEDGED)


def encode_soa_query(apex: Name, *, id_: int) -> bytes:
    """The question which version of the zone `apex` a server has; without RD, so that nobody else is asked."""
    question = apex + TYPE_SOA.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
    return encode_header(id_, OPCODE_QUERY << 11, (1, 0, 0, 0)) + question


def answers_soa_query(wire: bytes, *, apex: Name, id_: int) -> bool:
    """Whether `wire` answers the SOA query with `id_`, in whatever way. Never raises."""
    try:
        header = read_header(wire)
        question, _ = read_question(wire)
    except WireError:
        return False
    if not header.is_response or header.id != id_ or header.opcode != OPCODE_QUERY:
        return False
    return (question.name, question.rdtype, question.rdclass) == (apex, TYPE_SOA, CLASS_IN)


def read_soa_answer(wire: bytes, *, apex: Name) -> int | None:
    """The serial that an answer to the SOA query says, None where it is not an authority's. Never raises."""
    try:
        header = read_header(wire)
        if header.rcode or not header.flags & AA:
            return None
        _, position = read_question(wire)
        for _ in range(header.counts[1]):
            record = read_record(wire, position)
            owner, _ = read_name(wire, record.start)
            if (owner, record.rdtype, record.rdclass) == (apex, TYPE_SOA, CLASS_IN):
                return read_soa_serial(wire, record)
            position = record.end
    except WireError:
        return None
    return None
