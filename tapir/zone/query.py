"""Reading a request: what it asks, and which of its parts decide the answer.

Everything that a peer may send becomes a value: a Query; the Malformed that says why it is answered with an
error at once; or the NoReply that says why it is not answered at all.
"""

import enum
from typing import Final

import attrs

from tapir.codec.dnswire import (
    HEADER_OCTETS,
    TC,
    Header,
    Question,
    Record,
    WireError,
    read_header,
    read_name,
    read_question,
    read_record,
    read_soa_serial,
)
from tapir.codec.rpz import CLASS_IN
from tapir.codec.tsig import TYPE_TSIG, TsigRecord, find_tsig, read_tsig
from tapir.model.names import Name

MOST_RECORDS: Final = 16
"""a request has one question, and perhaps an SOA, an OPT and a TSIG; 64 KiB full of records take long to read"""

OPCODE_QUERY: Final = 0
OPCODE_NOTIFY: Final = 4
_OPCODES: Final = frozenset({OPCODE_QUERY, OPCODE_NOTIFY})

TYPE_NS: Final = 2
TYPE_CNAME: Final = 5
TYPE_SOA: Final = 6
TYPE_OPT: Final = 41
TYPE_IXFR: Final = 251
TYPE_AXFR: Final = 252
TYPE_MAILB: Final = 253
TYPE_MAILA: Final = 254
TYPE_ANY: Final = 255


class QueryKind(enum.Enum):
    """What a request wants, as far as access control and counters tell it apart."""

    SOA = "SOA"
    AXFR = "AXFR"
    IXFR = "IXFR"
    LOOKUP = "lookup"
    NOTIFY = "NOTIFY"


class Rcode(enum.IntEnum):
    """Response codes, as far as we give them."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    NOTAUTH = 9
    BADVERS = 16


@attrs.frozen
class Edns:
    """The requester's OPT record (RFC 6891)."""

    payload: int
    version: int
    dnssec_ok: bool


@attrs.frozen(kw_only=True)
class Query:
    """A request that can be understood."""

    header: Header
    question: Question
    kind: QueryKind
    edns: Edns | None
    tsig: TsigRecord | None
    """its signature, not checked"""
    client_serial: int | None
    """of IXFR: the serial that the secondary has; None where it forgot to say"""
    hint: int | None = None
    """of NOTIFY: the serial that the primary says it has now (RFC 1996 §3.7); None where it does not say"""

    @property
    def name(self) -> Name:
        """The name asked for, in lower case."""
        return self.question.name


@attrs.frozen(kw_only=True)
class Malformed:
    """A request that is answered with `rcode` whatever the zone holds."""

    header: Header
    question: Question | None
    edns: Edns | None
    """its OPT record where that could be read all the same"""
    tsig: TsigRecord | None = None
    """its signature, not checked, where that could be read all the same"""
    rcode: Rcode
    reason: str


@attrs.frozen
class NoReply:
    """A message that must not be answered."""

    reason: str


def read_query(wire: bytes) -> Query | Malformed | NoReply:
    """What the octets ask. Never raises.

    A response is never answered, lest two servers talk for ever, nor what has no whole header.
    """
    try:
        header = read_header(wire)
    except WireError:
        return NoReply("short")
    if header.is_response:
        return NoReply("response")
    if sum(header.counts) > MOST_RECORDS:
        # Whoever may ask nothing may say this, too: it is not worth more than a look at the header.
        rcode = Rcode.FORMERR if header.opcode in _OPCODES else Rcode.NOTIMP
        reason = f"it has {sum(header.counts)} questions and records"
        return Malformed(header=header, question=None, edns=None, rcode=rcode, reason=reason)
    if header.opcode not in _OPCODES:
        reason = f"opcode {header.opcode}"
        return Malformed(
            header=header,
            question=None,
            edns=_find_edns(wire, header),
            tsig=_find_tsig(wire),
            rcode=Rcode.NOTIMP,
            reason=reason,
        )
    question: Question | None = None
    try:
        if header.counts[0] != 1:
            # RFC 9619: the one question is what a QUERY is about; zero would be cookies only, which we do not do.
            raise WireError(f"it has {header.counts[0]} questions")
        if header.flags & TC:
            raise WireError("it is truncated")
        question, position = read_question(wire)
        return _read_rest(wire, header, question, position)
    except WireError as exc:
        return Malformed(
            header=header,
            question=question,
            edns=_find_edns(wire, header),
            tsig=_find_tsig(wire),
            rcode=Rcode.FORMERR,
            reason=str(exc),
        )


def _find_edns(wire: bytes, header: Header) -> Edns | None:
    """The OPT record of a request that is wrong elsewhere, so that its error has one, too (RFC 6891 §7).

    What comes after a whole OPT record does not matter; where the record itself is wrong there is none.
    """
    position = HEADER_OCTETS
    try:
        for _ in range(header.counts[0]):
            _, position = read_question(wire, position)
        for _ in range(header.counts[1] + header.counts[2]):
            position = read_record(wire, position).end
        for _ in range(header.counts[3]):
            record = read_record(wire, position)
            if record.rdtype == TYPE_OPT:
                return _read_edns(wire, [record])
            position = record.end
    except WireError:
        pass
    return None


def _find_tsig(wire: bytes) -> TsigRecord | None:
    """The signature of a request that is wrong elsewhere, so that its error is signed, too (RFC 8945 §5.3)."""
    try:
        return find_tsig(wire)
    except WireError:
        return None


def _read_rest(wire: bytes, header: Header, question: Question, position: int) -> Query:
    sections: list[list[Record]] = []
    for count in header.counts[1:]:
        records: list[Record] = []
        for _ in range(count):
            record = read_record(wire, position)
            position = record.end
            records.append(record)
        sections.append(records)
    if position != len(wire):
        raise WireError(f"{len(wire) - position} octets follow the message")
    answer, authority, additional = sections
    if any(record.rdtype in {TYPE_OPT, TYPE_TSIG} for record in (*answer, *authority)):
        raise WireError("an OPT or TSIG record is outside of the additional section")
    kind = _kind_of(header, question)
    if kind is QueryKind.NOTIFY and question.rdtype != TYPE_SOA:
        # RFC 1996 §3.3 leaves room for other types, and nobody has ever said what those would mean.
        raise WireError(f"it notifies of type {question.rdtype}")
    return Query(
        header=header,
        question=question,
        kind=kind,
        edns=_read_edns(wire, additional),
        tsig=_read_tsig(wire, additional),
        client_serial=_read_serial(wire, question, authority) if kind is QueryKind.IXFR else None,
        hint=_read_serial(wire, question, answer) if kind is QueryKind.NOTIFY else None,
    )


def _kind_of(header: Header, question: Question) -> QueryKind:
    if header.opcode == OPCODE_NOTIFY:
        return QueryKind.NOTIFY
    if question.rdclass != CLASS_IN:
        return QueryKind.LOOKUP
    return {TYPE_SOA: QueryKind.SOA, TYPE_AXFR: QueryKind.AXFR, TYPE_IXFR: QueryKind.IXFR}.get(
        question.rdtype, QueryKind.LOOKUP
    )


def _read_edns(wire: bytes, additional: list[Record]) -> Edns | None:
    found = [record for record in additional if record.rdtype == TYPE_OPT]
    if not found:
        return None
    if len(found) > 1 or wire[found[0].start] != 0:
        raise WireError("it has several OPT records, or one that is not the root's")  # RFC 6891 §6.1.1, §6.1.2
    opt = found[0]
    position = opt.rdata
    while position < opt.end:
        if position + 4 > opt.end:
            raise WireError("an EDNS option is cut short")
        position += 4 + int.from_bytes(wire[position + 2 : position + 4], "big")
    if position != opt.end:
        raise WireError("an EDNS option is cut short")
    return Edns(payload=opt.rdclass, version=opt.ttl >> 16 & 0xFF, dnssec_ok=bool(opt.ttl & 0x8000))


def _read_tsig(wire: bytes, additional: list[Record]) -> TsigRecord | None:
    found = [record for record in additional if record.rdtype == TYPE_TSIG]
    if not found:
        return None
    if len(found) > 1 or found[0] is not additional[-1]:
        raise WireError("it has several TSIG records, or one that is not the last")  # RFC 8945 §5.1
    return read_tsig(wire, found[0])


def _read_serial(wire: bytes, question: Question, section: list[Record]) -> int | None:
    """The serial of the zone's SOA that an IXFR carries in its authority section (RFC 1995 §3), a NOTIFY as answer."""
    for record in section:
        if record.rdtype == TYPE_SOA and record.rdclass == CLASS_IN:
            owner, _ = read_name(wire, record.start)
            if owner == question.name:
                return read_soa_serial(wire, record)
    return None
