"""A transfer into us (RFC 5936, RFC 1995), as a machine that is fed octets: no socket, no clock.

    question  answer                                    outcome
    AXFR      SOA(n) records SOA(n)                     WHOLE
    IXFR      SOA(n), n being what is held              CURRENT
    IXFR      SOA(n) SOA(h) removed SOA(i) added
              SOA(i) removed SOA(n) added SOA(n)        INCREMENTAL, each difference possibly empty
    IXFR      SOA(n) records SOA(n)                     WHOLE

n must be newer than the serial h that is held, else the transfer is refused; and with a key, nothing counts before a
signature has spoken of all of it. What is had goes to memory as it comes, within limits, and is handed out whole or not
at all: after a TransferError what was held still holds.
"""

import enum
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs
import numpy as np

from tapir.codec.dnswire import encode_header, encode_record
from tapir.codec.rpz import CLASS_IN
from tapir.codec.transfer import Batch, MessageFault, RecordKind, TransferMessageError, TransferReader
from tapir.codec.tsig import Buffer, TsigKey
from tapir.codec.tsigchain import AnswerChecker
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.errors import TapirError
from tapir.model.names import Name, format_name
from tapir.zone.collecting import Collected, OpaqueDelta
from tapir.zone.faults import RCODES, Fault, TransferError, TransferLimits
from tapir.zone.query import TYPE_AXFR, TYPE_IXFR, TYPE_SOA
from tapir.zone.schedule import Timers
from tapir.zone.serial import is_newer
from tapir.zone.signing import SignedRequest

_NOTAUTH: Final = 9


class _Phase(enum.Enum):
    """What comes next: the rows of the table above, from left to right."""

    FIRST = enum.auto()
    SECOND = enum.auto()
    """only the first SOA has come, in answer to IXFR"""
    WHOLE = enum.auto()
    REMOVING = enum.auto()
    ADDING = enum.auto()
    DONE = enum.auto()


@attrs.frozen(kw_only=True, eq=False)
class Transferred:
    """What a transfer came to: the zone at `serial`.

    Of `content` and `delta` one is there, or none when what is held is current. Names in `content` are in the order in
    which they came, and one may be there twice, where the primary's zone is wrong: the last counts. `delta` is net and
    in canonical order, and leads from `held` here.
    """

    serial: int
    timers: Timers
    held: int | None
    content: tuple[RecordBlock, ...] | None = None
    delta: RecordDelta | None = None
    opaque: OpaqueDelta
    """what POP does not evaluate, if it was asked for; of a whole transfer all is added"""
    left_out: int = 0
    """how many records more there were of that than the limits allow"""
    counts: Mapping[RecordKind, int]
    """records of each kind that came, removals too"""
    unevaluated: Mapping[RecordKind, int]
    """by how many records of each kind that POP does not evaluate the zone is larger now; of a whole transfer, all"""
    octets: int

    @property
    def is_current(self) -> bool:
        """Whether nothing has changed."""
        return self.content is None and self.delta is None

    def __repr__(self) -> str:
        what = "current" if self.is_current else "whole" if self.content is not None else "incremental"
        return f"<Transferred {self.held}→{self.serial}, {what}, {self.octets} octets>"


class Inbound:
    """One transfer of `zone`: the question to send, and what becomes of the answer.

    `held` is the serial that we have; None for none, and then it is AXFR, as it is with `whole`. With `keep`, what POP
    does not evaluate is handed out as it is. `id_` should be chance.
    """

    def __init__(
        self,
        zone: Name,
        *,
        held: int | None,
        id_: int,
        key: TsigKey | None = None,
        now: int,
        whole: bool = False,
        keep: bool = False,
        limits: TransferLimits | None = None,
    ) -> None:
        self.zone = zone
        self.held = held
        self.incremental = held is not None and not whole
        """whether the question is IXFR"""
        self._limits = limits if limits is not None else TransferLimits()
        self._id = id_
        self._key = key
        self._keep = keep
        rdtype = TYPE_IXFR if self.incremental else TYPE_AXFR
        question = _question(zone, rdtype, id_, held if self.incremental else None)
        signed = SignedRequest.of(question, key, now=now)
        self.request: Final = signed.wire
        """the message to send, without its length"""
        self._checker = AnswerChecker(key, request_mac=signed.mac) if key is not None else None
        # Of differences it must be seen whether a record comes or goes, if only to count it.
        self._reader = TransferReader(zone, id_=id_, rdtype=rdtype, keep=keep or self.incremental)
        self._collected = Collected(self._limits, keep=keep)
        self._phase = _Phase.FIRST
        self._serial = 0
        self._reached = 0
        self._steps = 0
        self._octets = 0
        self._timers = Timers(refresh=0, retry=0, expire=0, minimum=0)

    @property
    def octets(self) -> int:
        """How many octets came."""
        return self._octets

    @property
    def counts(self) -> Mapping[RecordKind, int]:
        """How many records of each kind came."""
        return self._reader.counts

    @property
    def is_done(self) -> bool:
        """Whether the transfer is complete."""
        return self._phase == _Phase.DONE and (self._checker is None or self._checker.settled)

    def feed(self, octets: Buffer, *, now: int) -> bool:
        """Take what the stream said next; whether that completes the transfer. Raises TransferError.

        A megabyte takes some ten milliseconds, with the interpreter's lock free, and more where it is signed.
        """
        self._octets += len(octets)
        if self._octets > self._limits.octets:
            raise self._error(Fault.TOO_LARGE, f"more than {self._limits.octets} octets")
        try:
            for batch in self._reader.feed(octets):
                self._verify(batch, now)
                self._take(batch)
                if self.is_done:
                    break
        except TransferMessageError as exc:
            # What is complete is complete, whatever follows.
            if not self.is_done:
                raise self._message_error(exc, now) from exc
        return self.is_done

    def end(self) -> None:
        """The stream ended. Raises TransferError if the transfer is not complete."""
        if not self.is_done:
            fault = Fault.CUT_OFF if self._octets else Fault.NO_ANSWER
            raise self._error(fault, f"the stream ended after {self._octets} octets")

    def result(self) -> Transferred:
        """What the transfer came to, once it is complete. Raises TransferError for differences that contradict.

        Netting a hundred thousand changes takes some tens of milliseconds.
        """
        if not self.is_done:
            raise self._error(Fault.CUT_OFF, "it is not complete")
        whole = self._collected.is_whole
        try:
            delta = None if whole or self._collected.is_current else self._collected.net()
        except ValueError as exc:
            raise self._error(Fault.CONTRADICTION, str(exc)) from exc
        return Transferred(
            serial=self._serial,
            timers=self._timers,
            held=self.held,
            content=self._collected.blocks() if whole else None,
            delta=delta,
            opaque=self._collected.opaque(),
            left_out=self._collected.left_out,
            counts=MappingProxyType(dict(self._reader.counts)),
            unevaluated=MappingProxyType(self._unevaluated(whole=whole)),
            octets=self._octets,
        )

    def instead(self, error: TapirError, *, now: int) -> "Inbound | None":
        """The AXFR to try after an IXFR failed with `error`; None where that would be of no use."""
        # A newer SOA and then silence is how some say that they know no differences.
        helps = error.fault.whole_may_help if isinstance(error, TransferError) else self._phase == _Phase.SECOND
        if not self.incremental or not helps:
            return None
        return Inbound(
            self.zone,
            held=self.held,
            id_=self._id,
            key=self._key,
            now=now,
            whole=True,
            keep=self._keep,
            limits=self._limits,
        )

    def _unevaluated(self, *, whole: bool) -> dict[RecordKind, int]:
        kinds = [kind for kind in RecordKind if RecordKind.LOCAL_DATA <= kind <= RecordKind.RPZ_NSDNAME]
        found = self._reader.counts if whole else self._collected.gained
        return {kind: count for kind in kinds if (count := found.get(kind, 0))}

    # -- one batch

    def _verify(self, batch: Batch, now: int) -> None:
        checker = self._checker
        if checker is None:
            return  # a signature that we did not ask for proves nothing to us
        for message in batch.messages():
            tsig = message.tsig - message.start if message.tsig else 0
            fault = checker.take(batch.wire[message.start : message.end], tsig, now=now)
            if fault:
                raise self._error(Fault.TSIG, fault)

    def _take(self, batch: Batch) -> None:
        if self._phase == _Phase.DONE and self._reader.after_soa:
            raise self._error(Fault.PROTOCOL, "records follow the last SOA")
        adds = np.full(len(batch), self._phase != _Phase.REMOVING)
        for index in np.flatnonzero(batch.kinds == RecordKind.SOA).tolist():
            self._take_soa(batch, index)
            if self._phase == _Phase.DONE:
                if self._collected.is_current:
                    return
                if index + 1 != len(batch):
                    raise self._error(Fault.PROTOCOL, "records follow the last SOA")
            adds[index + 1 :] = self._phase != _Phase.REMOVING
        if self._phase == _Phase.FIRST and self._reader.after_soa:
            raise self._error(Fault.PROTOCOL, "the first record is no SOA")
        if self._phase == _Phase.SECOND and self._reader.after_soa:
            self._phase = _Phase.WHOLE
        if self._phase == _Phase.DONE and self._reader.after_soa:
            raise self._error(Fault.PROTOCOL, "records follow the last SOA")
        try:
            self._collected.take(batch, adds)
        except OverflowError as exc:
            raise self._error(Fault.TOO_LARGE, str(exc)) from exc
        records = sum(self._reader.counts.values())
        if records > self._limits.records:
            raise self._error(Fault.TOO_LARGE, f"more than {self._limits.records} records")

    def _take_soa(self, batch: Batch, index: int) -> None:
        """One step through the table at the head of this module."""
        serial, *timers = struct.unpack("!5I", batch.rdata_of(index)[-20:])
        at_once = batch.actions[index] == 1
        match self._phase:
            case _Phase.FIRST:
                if not at_once:
                    raise self._error(Fault.PROTOCOL, "the first record is no SOA")
                self._serial = serial
                self._timers = Timers(refresh=timers[0], retry=timers[1], expire=timers[2], minimum=timers[3])
                self._phase = self._begin(serial)
            case _Phase.SECOND if at_once and serial == self.held:
                self._phase = self._remove()
                self._collected.is_whole = False
                self._reached = serial
            case _Phase.SECOND | _Phase.WHOLE:
                # Two SOAs and nothing else need not be a zone without even its NS: AXFR tells.
                if serial != self._serial or (at_once and self._phase is _Phase.SECOND):
                    raise self._error(Fault.PROTOCOL, f"serial {serial} in a transfer of {self._serial}")
                self._phase = _Phase.DONE
            case _Phase.REMOVING:
                self._reached = serial
                self._phase = _Phase.ADDING
            case _ if serial != self._reached:
                raise self._error(Fault.PROTOCOL, f"a difference from {serial} where one from {self._reached} is due")
            case _:
                self._phase = _Phase.DONE if serial == self._serial else self._remove()

    def _begin(self, serial: int) -> _Phase:
        if self.held is None:
            return _Phase.WHOLE
        if serial == self.held and self.incremental:
            self._collected.is_current = True
            self._collected.is_whole = False
            return _Phase.DONE
        if serial != self.held and not is_newer(serial, self.held):
            raise self._error(Fault.ROLLBACK, f"it has serial {serial}, and {self.held} is held")
        return _Phase.SECOND if self.incremental else _Phase.WHOLE

    def _remove(self) -> _Phase:
        self._steps += 1
        if self._steps > self._limits.steps:
            raise self._error(Fault.TOO_LARGE, f"more than {self._limits.steps} differences")
        return _Phase.REMOVING

    # -- errors

    def _error(self, fault: Fault, detail: str) -> TransferError:
        return TransferError(zone=self.zone, fault=fault, detail=detail)

    def _message_error(self, exc: TransferMessageError, now: int) -> TransferError:
        if exc.fault is MessageFault.OTHER_ID or exc.fault is MessageFault.NO_ANSWER:
            return self._error(Fault.OTHER_ANSWER, str(exc))
        if exc.fault is not MessageFault.RCODE:
            return self._error(Fault.FORMERR, str(exc))
        rcode = exc.wire[3] & 15
        said = RCODES.get(rcode, f"rcode {rcode}")
        if self._key is not None and rcode == _NOTAUTH:
            return self._error(Fault.TSIG, f"it says {said} of our key {format_name(self._key.name)}")
        return self._error(Fault.REFUSED, f"it says {said}")


def _question(zone: Name, rdtype: int, id_: int, serial: int | None) -> bytes:
    """The question, for IXFR with the SOA that says what is held (RFC 1995 §3)."""
    question = zone + struct.pack("!HH", rdtype, CLASS_IN)
    if serial is None:
        return encode_header(id_, 0, (1, 0, 0, 0)) + question
    soa = encode_record(b"\xc0\x0c", TYPE_SOA, CLASS_IN, 0, b"\0\0" + struct.pack("!5I", serial, 0, 0, 0, 0))
    return encode_header(id_, 0, (1, 0, 1, 0)) + question + soa
