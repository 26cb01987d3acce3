"""NOTIFY (RFC 1996): telling a secondary that the zone has a new version, and reading what it says to that."""

import enum

import attrs

from tapir.codec.dnswire import AA, WireError, encode_header, read_header, read_question
from tapir.codec.rpz import CLASS_IN
from tapir.zone.query import OPCODE_NOTIFY, TYPE_SOA
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
