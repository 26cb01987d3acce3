"""TSIG around requests and replies: what a signature proves, and the reply that fits what it proves.

Everything else in this package answers as if there were no signatures.
"""

from types import MappingProxyType
from typing import Final, TypeVar

import attrs

from tapir.codec.dnswire import TC, WireError, encode_header
from tapir.codec.tsig import (
    Keys,
    Rejected,
    Signer,
    TsigError,
    TsigKey,
    Verified,
    check,
    check_request,
    encode_rejection,
    find_tsig,
    seal,
    signed,
)
from tapir.model.names import format_name
from tapir.zone.query import Malformed, Query, Rcode
from tapir.zone.replies import Refusal, Reply, TransferReply, encode_opt, reply_flags

Proof = Verified | Rejected | None
"""What a request's signature proves; None where it has none."""

NO_KEYS: Final[Keys] = MappingProxyType({})

_REFUSALS: Final = {
    TsigError.BADSIG: Refusal.TSIG_BADSIG,
    TsigError.BADKEY: Refusal.TSIG_BADKEY,
    TsigError.BADTIME: Refusal.TSIG_BADTIME,
    TsigError.BADTRUNC: Refusal.TSIG_BADTRUNC,
}

_UNSIGNED_ERRORS: Final = frozenset({TsigError.BADKEY, TsigError.BADSIG})
_TIME_ERRORS: Final = frozenset({TsigError.BADTIME, TsigError.BADTRUNC})

Answered = TypeVar("Answered", Reply, TransferReply, Reply | TransferReply)


def authenticate(query: Query | Malformed, wire: bytes, keys: Keys, *, now: int) -> tuple[Query | Malformed, Proof]:
    """What the signature of `query`, read from `wire`, proves; one of an impossible length makes it Malformed."""
    if query.tsig is None:
        return query, None
    try:
        return query, check_request(wire, query.tsig, keys, now=now)
    except WireError as exc:
        malformed = Malformed(
            header=query.header, question=query.question, edns=query.edns, rcode=Rcode.FORMERR, reason=str(exc)
        )
        return malformed, None


def reject(query: Query | Malformed, rejected: Rejected, *, room: int, now: int) -> Reply:
    """NOTAUTH with the TSIG record that says why (RFC 8945 §5.2, §5.3.2).

    Where the names of a strange key leave no room for it, there is none, and TC says so.
    """
    question = query.question.octets if query.question is not None else b""
    opt = encode_opt(query.edns)
    flags = reply_flags(query.header, rcode=Rcode.NOTAUTH)
    wire = encode_header(query.header.id, flags, (1 if question else 0, 0, 0, 1 if opt else 0)) + question + opt
    if rejected.key is None:
        record = encode_rejection(rejected)
    else:
        record = Signer(rejected.key, request_mac=rejected.record.mac).sign_rejection(wire, rejected, now=now)
    if len(wire) + len(record) > room:
        sealed = encode_header(query.header.id, flags | TC, (1 if question else 0, 0, 0, 1 if opt else 0)) + wire[12:]
    else:
        sealed = seal(wire, record)
    return Reply(
        wire=sealed,
        query=query if isinstance(query, Query) else None,
        refusal=_REFUSALS[rejected.error],
    )


def sign_reply(reply: Answered, proof: Verified | None, *, now: int) -> Answered:
    """`reply` signed by the key that its request was signed by; room for the signature must have been left."""
    if proof is None:
        return reply
    if isinstance(reply, TransferReply):
        return attrs.evolve(reply, verified=proof, made_at=now)
    return attrs.evolve(reply, wire=signed(reply.wire, Signer(proof.key, request_mac=proof.mac), now=now))


@attrs.frozen(repr=False)
class SignedRequest:
    """A request of ours, signed where there is a key, and what its answer is held against."""

    wire: bytes
    key: TsigKey | None = None
    mac: bytes = b""

    @classmethod
    def of(cls, wire: bytes, key: TsigKey | None, *, now: int) -> "SignedRequest":
        """The request `wire`, signed by `key`; None is unsigned."""
        if key is None:
            return cls(wire)
        signer = Signer(key)
        return cls(signed(wire, signer, now=now), key, signer.mac)

    def fault(self, answer: bytes, *, now: int) -> str:
        """Why `answer` need not be the peer's; empty where its signature is as it should be. Never raises.

        An error about our key is not signed, so anybody may have said it (RFC 8945 §5.4): it is worth a word, and
        the answer is still waited for.
        """
        key = self.key
        if key is None:
            return ""
        try:
            record = find_tsig(answer)
            if record is None:
                return "its answer is not signed"
            if record.error in _UNSIGNED_ERRORS and not record.mac:
                return f"it says {TsigError(record.error).name} of our key {format_name(key.name)}"
            if record.key != key.name or record.algorithm != key.algorithm_name:
                return "its answer is signed by another key"
            error = check(answer, record, key, now=now, request_mac=self.mac)
        except WireError as exc:
            return f"its answer cannot be checked: {exc}"
        if error is not None:
            return f"the signature of its answer is {error.name}"
        return f"it says {TsigError(record.error).name}" if record.error in _TIME_ERRORS else ""
