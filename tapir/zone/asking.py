"""Asking a primary which version of a zone it has: the question, signed where there is a key, and what it answers."""

import attrs

from tapir.codec.dnswire import AA, WireError, read_header, read_name, read_question, read_record, read_soa_serial
from tapir.codec.rpz import CLASS_IN
from tapir.codec.tsig import TsigKey
from tapir.model.names import Name
from tapir.zone.faults import RCODES, Fault, TransferError
from tapir.zone.notify import answers_soa_query, encode_soa_query
from tapir.zone.query import TYPE_SOA
from tapir.zone.signing import SignedRequest


@attrs.frozen(repr=False)
class SoaQuestion:
    """The question for the SOA of `zone` under `id`, which should be chance; `now` is microseconds since the epoch."""

    zone: Name
    id: int
    _signed: SignedRequest

    @classmethod
    def of(cls, zone: Name, *, id_: int, key: TsigKey | None, now: int) -> "SoaQuestion":
        """The question, signed by `key`; None is unsigned."""
        return cls(zone, id_, SignedRequest.of(encode_soa_query(zone, id_=id_), key, now=now))

    @property
    def wire(self) -> bytes:
        """The message to send."""
        return self._signed.wire

    def is_answered_by(self, wire: bytes, *, now: int) -> bool:
        """Whether `wire` is an answer that can only be the primary's: over UDP anybody may send another."""
        return self.is_meant_by(wire) and not self._signed.fault(wire, now=now)

    def is_meant_by(self, wire: bytes) -> bool:
        """Whether `wire` is an answer, well signed or not: over a stream of our own only the primary can send one."""
        return answers_soa_query(wire, apex=self.zone, id_=self.id)

    def serial_of(self, wire: bytes, *, now: int) -> int:
        """The serial that the answer `wire` tells. Raises TransferError for one that is none, or not good enough."""
        if fault := self._signed.fault(wire, now=now):
            raise self._error(Fault.TSIG, fault)
        try:
            header = read_header(wire)
            if header.rcode:
                raise self._error(Fault.REFUSED, f"it says {RCODES.get(header.rcode, f'rcode {header.rcode}')}")
            if not header.flags & AA:
                raise self._error(Fault.REFUSED, "it is no authority for the zone")
            _, position = read_question(wire)
            for _ in range(header.counts[1]):
                record = read_record(wire, position)
                owner, _ = read_name(wire, record.start)
                if (owner, record.rdtype, record.rdclass) == (self.zone, TYPE_SOA, CLASS_IN):
                    return read_soa_serial(wire, record)
                position = record.end
        except WireError as exc:
            raise self._error(Fault.FORMERR, str(exc)) from exc
        raise self._error(Fault.PROTOCOL, "its answer has no SOA of the zone")

    def _error(self, fault: Fault, detail: str) -> TransferError:
        return TransferError(zone=self.zone, fault=fault, detail=detail)
