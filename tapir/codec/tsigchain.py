"""TSIG on the client's side: checking the messages of an answer, which may be many (RFC 8945 §5.3.1).

What a request of ours is signed by is `tapir.codec.tsig.Signer`. dnspython is the oracle.
"""

import hmac
from typing import Final

from tapir.codec.dnswire import HEADER_OCTETS, WireError, read_record
from tapir.codec.tsig import (
    _COUNTS,
    _LEAST_MAC,
    _SECOND,
    Buffer,
    TsigError,
    TsigKey,
    TsigRecord,
    _mac_field,
    _timers,
    _variables,
    read_tsig,
)

MOST_UNSIGNED: Final = 99
"""messages of a transfer that may follow each other without a signature"""

_NAMES: Final = {error.value: error.name for error in TsigError}


class AnswerChecker:
    """Checks the messages that answer our request, whose MAC was `request_mac`, in the order in which they come.

    The first and the last message of a transfer must be signed; between two that are there may be 99 that are not, of
    which the next signature speaks, too (RFC 8945 §5.3.1). Nothing counts before a signature has spoken of it.
    """

    def __init__(self, key: TsigKey, *, request_mac: bytes) -> None:
        self.key = key
        self._state = key.begin()
        self._state.update(_mac_field(request_mac))
        self._first = True
        self._unsigned = 0

    @property
    def settled(self) -> bool:
        """Whether a signature has spoken of all messages, and there was one."""
        return not self._first and not self._unsigned

    def take(self, wire: Buffer, tsig: int, *, now: int) -> str:
        """Why the message `wire`, whose TSIG record begins at `tsig` (0: it has none), breaks the chain; empty if not.

        After a fault the chain is of no more use. Never raises.
        """
        if not tsig:
            return self._take_unsigned(wire)
        try:
            octets = bytes(wire)
            record = read_tsig(octets, read_record(octets, tsig))
        except WireError as exc:
            return f"malformed: {exc}"
        return self._take_signed(octets, record, now=now)

    def _take_unsigned(self, wire: Buffer) -> str:
        if self._first:
            return "the first message is not signed"
        if self._unsigned == MOST_UNSIGNED:
            return f"more than {MOST_UNSIGNED} messages in a row are not signed"
        self._unsigned += 1
        self._state.update(wire)
        return ""

    def _take_signed(self, wire: bytes, record: TsigRecord, *, now: int) -> str:
        key = self.key
        if record.key != key.name or record.algorithm != key.algorithm_name:
            return "signed by another key"
        if not record.mac and record.error:
            return _NAMES.get(record.error, f"the peer says {record.error}")
        (count,) = _COUNTS.unpack_from(wire, 10)
        self._state.update(record.original_id + wire[2:10] + _COUNTS.pack(count - 1 & 0xFFFF))
        self._state.update(memoryview(wire)[HEADER_OCTETS : record.start])
        self._state.update(
            _variables(key, record.signed, record.fudge, record.error, record.other)
            if self._first
            else _timers(record.signed, record.fudge)
        )
        made = self._state.digest()
        if not hmac.compare_digest(made, record.mac):
            cut = len(record.mac) >= _LEAST_MAC and hmac.compare_digest(made[: len(record.mac)], record.mac)
            return TsigError.BADTRUNC.name if cut else TsigError.BADSIG.name
        if abs(now // _SECOND - record.signed) > record.fudge or record.error == TsigError.BADTIME:
            return TsigError.BADTIME.name
        self._state = key.begin()
        self._state.update(_mac_field(record.mac))
        self._first = False
        self._unsigned = 0
        return ""
