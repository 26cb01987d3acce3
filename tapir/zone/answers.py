"""What to answer to a DNS message: the whole decision, without a socket.

In the order in which it is taken: TSIG, unreadable, EDNS version, access, NOTIFY, class, zone, whether there is
a zone yet, transfer, lookup. Where upstream and the RFCs part we follow the RFCs: a name with a CNAME answers
every type with it (RFC 1034 §4.3.2; upstream: NOERROR with the SOA), names compare without case, an IXFR of a
current secondary gets one SOA.

Nothing here raises on what a peer sends. An IXFR over a long journal takes as long as netting it does
(`ZoneView.difference_from` remembers the last few); everything else takes microseconds.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import assert_never

import attrs

from tapir.codec.dnswire import TC, encode_header, read_header
from tapir.codec.rpz import CLASS_IN
from tapir.codec.tsig import Keys, Rejected
from tapir.model.names import Name, is_below
from tapir.zone.lookup import look_up
from tapir.zone.passed import answers_in
from tapir.zone.query import (
    TYPE_ANY,
    TYPE_MAILA,
    TYPE_MAILB,
    TYPE_NS,
    TYPE_OPT,
    TYPE_SOA,
    Malformed,
    NoReply,
    Query,
    QueryKind,
    Rcode,
    read_query,
)
from tapir.zone.replies import (
    Ede,
    Refusal,
    Reply,
    TransferReply,
    Transport,
    compose,
    encode_opt,
    pack,
    pointer_to_apex,
    reply_flags,
)
from tapir.zone.serial import compare
from tapir.zone.settings import ZoneSettings
from tapir.zone.signing import NO_KEYS, Proof, authenticate, reject, sign_reply
from tapir.zone.version import Body, ZoneVersion
from tapir.zone.view import ZoneView

Answer = Reply | TransferReply | NoReply

_FIRST_META_TYPE = 128  # RFC 6895 §3.1


def answer(
    wire: bytes,
    *,
    settings: ZoneSettings,
    view: ZoneView | None,
    transport: Transport,
    allowed: Callable[[QueryKind], bool],
    keys: Keys = NO_KEYS,
    now: int = 0,
) -> Answer:
    """What to answer to the message `wire` about the zone of `settings`, of which `view` is the present state.

    `view` is None until a first complete version exists. `allowed` is asked of the query's kind, and of AXFR where
    only the whole zone answers an IXFR. Signatures must be by one of `keys`.
    """
    query = read_query(wire)
    if isinstance(query, NoReply):
        return query
    query, proof = authenticate(query, wire, keys, now=now)
    match query:
        case Query():
            return answer_query(
                query, settings=settings, view=view, transport=transport, allowed=allowed, proof=proof, now=now
            )
        case Malformed():
            return answer_malformed(query, transport=transport, proof=proof, now=now)
        case _:
            assert_never(query)


def answer_malformed(malformed: Malformed, *, transport: Transport, proof: Proof = None, now: int = 0) -> Reply:
    """The error for a request that cannot be understood: its header, and of question and OPT what could be read."""
    if isinstance(proof, Rejected):
        return reject(malformed, proof, room=transport.room(malformed.edns), now=now)
    question = malformed.question.octets if malformed.question is not None else b""
    flags = reply_flags(malformed.header, rcode=malformed.rcode)
    opt = encode_opt(malformed.edns)
    wire = encode_header(malformed.header.id, flags, (1 if question else 0, 0, 0, 1 if opt else 0)) + question + opt
    refusal = Refusal.NOTIMP if malformed.rcode is Rcode.NOTIMP else Refusal.FORMERR
    return sign_reply(Reply(wire=wire, query=None, refusal=refusal), proof, now=now)


def answer_query(
    query: Query,
    *,
    settings: ZoneSettings,
    view: ZoneView | None,
    transport: Transport,
    allowed: Callable[[QueryKind], bool],
    proof: Proof = None,
    now: int = 0,
) -> Reply | TransferReply:
    """What to answer to `query`, signed as its `proof` says; `allowed` is what access control says of its sender."""
    if isinstance(proof, Rejected):
        return reject(query, proof, room=transport.room(query.edns), now=now)
    room = transport.room(query.edns) - (proof.key.record_octets if proof is not None else 0)
    return sign_reply(_answer(query, settings, view, transport, allowed, room), proof, now=now)


def answer_notify(
    query: Query, *, refusal: Refusal | None, transport: Transport, proof: Proof = None, now: int = 0
) -> Reply:
    """What to answer to a NOTIFY of a zone that is transferred in: NOERROR and AA (RFC 1996 §4.7), unless refused."""
    if isinstance(proof, Rejected):
        return reject(query, proof, room=transport.room(query.edns), now=now)
    room = transport.room(query.edns) - (proof.key.record_octets if proof is not None else 0)
    if query.edns is not None and query.edns.version > 0:
        reply = _refuse(query, room, Refusal.BADVERS, Rcode.BADVERS)
    elif refusal is not None:
        reply = _refuse(query, room, refusal, Rcode.REFUSED, Ede.PROHIBITED)
    else:
        reply = Reply(wire=compose(query, room=room, authoritative=True), query=query)
    return sign_reply(reply, proof, now=now)


def _answer(
    query: Query,
    settings: ZoneSettings,
    view: ZoneView | None,
    transport: Transport,
    allowed: Callable[[QueryKind], bool],
    room: int,
) -> Reply | TransferReply:
    refuse = partial(_refuse, query, room)
    if query.edns is not None and query.edns.version > 0:
        return refuse(Refusal.BADVERS, Rcode.BADVERS)
    if not allowed(query.kind):
        return refuse(Refusal.ACL, Rcode.REFUSED, Ede.PROHIBITED)
    inside = query.question.rdclass == CLASS_IN and (query.name == settings.apex or is_below(query.name, settings.apex))
    if query.kind is QueryKind.NOTIFY:
        # We are the primary, and take our zone from nobody; those that we do take `answer_notify` is about.
        return refuse(Refusal.NOTIFY, Rcode.REFUSED if query.name == settings.apex and inside else Rcode.NOTAUTH)
    if query.kind in {QueryKind.AXFR, QueryKind.IXFR} and query.name != settings.apex:
        return refuse(Refusal.OUTSIDE, Rcode.NOTAUTH, Ede.NOT_AUTHORITATIVE)  # RFC 5936 §2.2.1
    if not inside:
        return refuse(Refusal.OUTSIDE, Rcode.REFUSED, Ede.NOT_AUTHORITATIVE)
    if view is None:
        return refuse(Refusal.NOT_READY, Rcode.SERVFAIL, Ede.NOT_READY)
    if query.kind is QueryKind.AXFR:
        if not transport.stream:
            # RFC 5936 §4.2 leaves AXFR over UDP undefined; BIND says FORMERR.
            return refuse(Refusal.AXFR_OVER_UDP, Rcode.FORMERR)
        return _whole_zone(query, view.version)
    if query.kind is QueryKind.IXFR:
        return _answer_ixfr(query, view, transport, room, allowed)
    return _answer_lookup(query, view.version, room)


def _refuse(query: Query, room: int, refusal: Refusal, rcode: Rcode, ede: Ede | None = None) -> Reply:
    return Reply(wire=compose(query, room=room, rcode=rcode, ede=ede), query=query, refusal=refusal)


# -- transfers


@attrs.frozen
class _Bodies:
    """The records of a version, to be iterated as often as wanted."""

    version: ZoneVersion

    def __iter__(self) -> Iterator[Body]:
        return self.version.bodies()


def _whole_zone(query: Query, version: ZoneVersion) -> TransferReply:
    return TransferReply(
        query=query, incremental=False, serial=version.serial, octets=version.octets, bodies=_Bodies(version)
    )


def _answer_ixfr(
    query: Query, view: ZoneView, transport: Transport, room: int, allowed: Callable[[QueryKind], bool]
) -> Reply | TransferReply:
    version = view.version
    serial = query.client_serial
    if serial is None:
        return _refuse(query, room, Refusal.FORMERR, Rcode.FORMERR)  # RFC 1995 §3: the SOA is what it asks with
    current: Body = (1, version.soa())
    order = compare(serial, version.serial)
    if order is not None and order >= 0:
        return Reply(wire=compose(query, room=room, authoritative=True, answer=current), query=query)
    difference = view.difference_from(serial)
    if not transport.stream:
        # RFC 1995 §4: one SOA tells the secondary to come over TCP.
        if difference is not None and difference.octets <= room:
            whole = next(pack(difference.bodies, room))
            wire = compose(query, room=room, authoritative=True, answer=whole)
            if not read_header(wire).flags & TC:
                return Reply(wire=wire, query=query)
        return Reply(wire=compose(query, room=room, authoritative=True, answer=current), query=query)
    if difference is None or (difference.octets > version.octets and allowed(QueryKind.AXFR)):
        if not allowed(QueryKind.AXFR):
            return _refuse(query, room, Refusal.ACL, Rcode.REFUSED, Ede.PROHIBITED)
        return _whole_zone(query, version)
    return TransferReply(
        query=query, incremental=True, serial=version.serial, octets=difference.octets, bodies=difference.bodies
    )


# -- lookups


def _answer_lookup(query: Query, version: ZoneVersion, room: int) -> Reply:
    rdtype = query.question.rdtype
    if rdtype in {TYPE_MAILA, TYPE_MAILB}:
        return _refuse(query, room, Refusal.NOTIMP, Rcode.NOTIMP)
    if rdtype == TYPE_OPT or (rdtype >= _FIRST_META_TYPE and rdtype < TYPE_ANY):
        return _refuse(query, room, Refusal.FORMERR, Rcode.FORMERR)
    encoding = version.encoding
    if query.name == version.apex:
        answer_count, records = 0, b""
        if rdtype in {TYPE_SOA, TYPE_ANY}:
            answer_count, records = 1, version.soa()
        if rdtype in {TYPE_NS, TYPE_ANY}:
            answer_count, records = answer_count + len(version.settings.ns), records + encoding.ns
        if records:
            wire = compose(query, room=room, authoritative=True, answer=(answer_count, records))
            return Reply(wire=wire, query=query)
        exists = True
    else:
        found = look_up(version, Name(query.name[: len(query.name) - len(version.apex)] + b"\0"))
        if found.action:
            # The owner is the name in the question, where the tail's pointer leads; a wildcard's too (RFC 4592).
            wire = compose(query, room=room, authoritative=True, answer=(1, encoding.tails[found.action]))
            return Reply(wire=wire, query=query)
        if found.records:
            answer = answers_in(found.records, rdtype, TYPE_ANY)
            if answer[0]:
                wire = compose(query, room=room, authoritative=True, answer=answer)
                return Reply(wire=wire, query=query)
        exists = found.exists
    soa = encoding.soa(version.serial, owner=pointer_to_apex(query, version.apex), negative=True)
    rcode = Rcode.NOERROR if exists else Rcode.NXDOMAIN
    return Reply(wire=compose(query, room=room, rcode=rcode, authoritative=True, authority=(1, soa)), query=query)
