"""Zone transfers as they come over a stream (RFC 5936 §2.2, RFC 1995 §4), in columns; dnspython is the oracle.

The octets may be split anywhere. What no record can be, and all that is no message of this transfer, ends it; what is
wrong in one record alone is counted. The work is done by `tapir.kernels.transfer`, with the interpreter's lock free.
"""

import enum
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.transfer as kernel
from tapir.codec.rpz import action_of, target_of
from tapir.codec.tsig import Buffer
from tapir.model.actions import Action
from tapir.model.errors import TapirError
from tapir.model.names import Name

_RECORDS: Final = 1 << 15
_OCTETS: Final = 1 << 23
_MESSAGES: Final = 1 << 12

_SAID: Final = tuple(action for action in Action if action not in {Action.NONE, Action.REDIRECT})
_TARGETS: Final = b"".join(target_of(action) for action in _SAID)
_TRIGGERS: Final = b"\x06rpz-ip\x0drpz-client-ip\x08rpz-nsip\x0brpz-nsdname"


class RecordKind(enum.IntEnum):
    """What a record of a policy zone is to POP; the values are those of the kernel's column."""

    RULE = kernel.RULE
    """a CNAME that says an action for a name"""
    SOA = kernel.SOA
    APEX = kernel.APEX
    """any other record of the zone itself"""
    NO_POLICY = kernel.NO_POLICY
    """delegations and DNSSEC, of which RPZ makes nothing"""
    LOCAL_DATA = kernel.LOCAL_DATA
    OTHER_TARGET = kernel.OTHER_TARGET
    """a CNAME to a name that says no action: local data, too, or an action of a newer RPZ"""
    RPZ_IP = kernel.TRIGGER
    RPZ_CLIENT_IP = kernel.TRIGGER + 1
    RPZ_NSIP = kernel.TRIGGER + 2
    RPZ_NSDNAME = kernel.TRIGGER + 3
    OUT_OF_ZONE = kernel.OUT_OF_ZONE
    MALFORMED = kernel.MALFORMED
    OTHER_CLASS = kernel.OTHER_CLASS

    @property
    def label(self) -> str:
        """The name of its counter."""
        return self.name.lower()


class MessageFault(enum.IntEnum):
    """Why a message cannot be one of the transfer; the values are the kernel's."""

    SHORT = kernel.SHORT
    OTHER_ID = kernel.OTHER_ID
    NO_ANSWER = kernel.NO_ANSWER
    TRUNCATED = kernel.TRUNCATED
    RCODE = kernel.RCODE
    QUESTION = kernel.QUESTION
    CUT = kernel.CUT
    BAD_SOA = kernel.BAD_SOA
    BAD_TSIG = kernel.BAD_TSIG


class TransferMessageError(TapirError):
    """A message ends the transfer; `wire` are its octets."""

    def __init__(self, fault: MessageFault, wire: bytes) -> None:
        super().__init__(f"a message of the transfer is wrong: {fault.name.lower().replace('_', ' ')}")
        self.fault = fault
        self.wire = wire


@attrs.frozen
class MessageBounds:
    """Where a message lies in its batch's `wire`, where its TSIG record is (0: none), and its first record."""

    start: int
    end: int
    tsig: int
    first: int


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """The records of some whole messages, in columns that are overwritten by the next batch.

    Owners are relative to the zone. `rdata` is empty for rules; its names are decompressed and in lower case. The
    action of an SOA is 1 where no record, of whatever kind, stands between it and the last one, or the beginning.
    """

    names: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    kinds: NDArray[np.uint8]
    actions: NDArray[np.uint8]
    types: NDArray[np.uint16]
    ttls: NDArray[np.uint32]
    rdata: NDArray[np.uint8]
    rdata_offsets: NDArray[np.uint32]
    wire: memoryview
    _messages: NDArray[np.int64]
    signed: bool
    """whether any of the messages has a TSIG record"""

    def __len__(self) -> int:
        return len(self.kinds)

    def messages(self) -> Iterator[MessageBounds]:
        """The messages, in their order."""
        for start, end, tsig, first in self._messages.tolist():
            yield MessageBounds(start, end, tsig, first)

    def owner(self, index: int) -> Name:
        """The owner of record `index`."""
        return Name(self.names[self.offsets[index] : self.offsets[index + 1]].tobytes())

    def rdata_of(self, index: int) -> bytes:
        """The rdata of record `index`."""
        return self.rdata[self.rdata_offsets[index] : self.rdata_offsets[index + 1]].tobytes()


class TransferReader:
    """Reads one transfer of the zone `apex`: the answer to the question for `rdtype` that was asked under `id_`.

    With `keep`, what POP does not evaluate is in the columns, too; it is counted in any case.
    """

    def __init__(self, apex: Name, *, id_: int, rdtype: int, keep: bool = False) -> None:
        self._apex = apex
        self._expected = np.array((id_, rdtype, keep), np.int64)
        self._rest = bytearray()
        self._names = np.empty(_OCTETS, np.uint8)
        self._offsets = np.zeros(_RECORDS + 1, np.uint32)
        self._kinds = np.empty(_RECORDS, np.uint8)
        self._actions = np.empty(_RECORDS, np.uint8)
        self._types = np.empty(_RECORDS, np.uint16)
        self._ttls = np.empty(_RECORDS, np.uint32)
        self._rdata = np.empty(_OCTETS, np.uint8)
        self._rdata_offsets = np.zeros(_RECORDS + 1, np.uint32)
        self._messages = np.empty((_MESSAGES, 4), np.int64)
        self._counts = np.zeros(kernel.KINDS, np.int64)
        self._state = np.zeros(5, np.int64)
        self._marks = np.zeros(4, np.int64)
        self._scratch = np.empty(512, np.uint8)
        self._actions_said = bytes(action_of(target_of(action)) for action in _SAID)

    @property
    def counts(self) -> Mapping[RecordKind, int]:
        """How many records of each kind were met; none for those never met."""
        return MappingProxyType({kind: int(self._counts[kind]) for kind in RecordKind if self._counts[kind]})

    @property
    def after_soa(self) -> int:
        """How many records, of whatever kind, have come since the last SOA."""
        return int(self._state[4])

    @property
    def pending(self) -> int:
        """Octets of a message that is not whole yet."""
        return len(self._rest)

    def feed(self, octets: Buffer) -> Iterator[Batch]:
        """The records of all messages that are whole now; to be iterated to its end before the next call.

        Raises TransferMessageError, after what comes before the faulty message.
        """
        view = memoryview(octets)
        position = self._complete(view)
        if position:
            if not self._is_whole():
                return
            whole = memoryview(bytes(self._rest))
            self._rest.clear()
            yield from self._read(whole, 0)
        yield from self._read(view, position)
        self._rest += view[int(self._state[0]) :]

    def _complete(self, view: memoryview) -> int:
        """Move so much of `view` behind the rest as completes its message; returns how many octets that are."""
        if not self._rest:
            return 0
        taken = min(max(0, 2 - len(self._rest)), len(view))
        self._rest += view[:taken]
        if len(self._rest) >= 2:
            missing = 2 + int.from_bytes(self._rest[:2], "big") - len(self._rest)
            more = min(missing, len(view) - taken)
            self._rest += view[taken : taken + more]
            taken += more
        return taken

    def _is_whole(self) -> bool:
        return len(self._rest) >= 2 and len(self._rest) == 2 + int.from_bytes(self._rest[:2], "big")

    def _read(self, view: memoryview, position: int) -> Iterator[Batch]:
        end = kernel.FULL
        while end == kernel.FULL:
            end = kernel.read(
                view,
                position,
                self._apex,
                _TARGETS,
                self._actions_said,
                _TRIGGERS,
                self._expected.data,
                self._names.data,
                self._offsets.data,
                self._kinds.data,
                self._actions.data,
                self._types.data,
                self._ttls.data,
                self._rdata.data,
                self._rdata_offsets.data,
                self._messages.reshape(-1).data,
                self._counts.data,
                self._state.data,
                self._marks.data,
                self._scratch.data,
            )
            position, records, messages, fault, _ = self._state.tolist()
            if messages:
                yield self._batch(view, records, messages)
            if end == kernel.BROKEN:
                length = int.from_bytes(view[position : position + 2], "big")
                raise TransferMessageError(MessageFault(fault), bytes(view[position + 2 : position + 2 + length]))

    def _batch(self, view: memoryview, records: int, messages: int) -> Batch:
        bounds = self._messages[:messages]
        return Batch(
            names=self._names,
            offsets=self._offsets[: records + 1],
            kinds=self._kinds[:records],
            actions=self._actions[:records],
            types=self._types[:records],
            ttls=self._ttls[:records],
            rdata=self._rdata,
            rdata_offsets=self._rdata_offsets[: records + 1],
            wire=view,
            messages=bounds,
            signed=bool(bounds[:, 2].any()),
        )
