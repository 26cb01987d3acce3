"""What a transfer brings, as it comes: rules in blocks, and what POP does not evaluate record by record."""

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.codec.columns import NO_CHANGES, joined_records, name_of, net_of, order_of, taken
from tapir.codec.transfer import Batch, RecordKind
from tapir.model.blocks import NameBlock, RecordBlock, RecordDelta
from tapir.model.names import Name, format_name
from tapir.zone.faults import TransferLimits


@attrs.frozen(kw_only=True)
class OpaqueRecord:
    """A record that POP does not evaluate; `owner` is relative to the zone, rdata without compression."""

    kind: RecordKind
    owner: Name
    rdtype: int
    ttl: int
    rdata: bytes


@attrs.frozen(kw_only=True)
class OpaqueDelta:
    """What becomes of the records that POP does not evaluate; what changes only its TTL is in both."""

    removed: tuple[OpaqueRecord, ...] = ()
    added: tuple[OpaqueRecord, ...] = ()

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)


_Key = tuple[bytes, int, bytes]


class Collected:
    """The records of a transfer so far."""

    def __init__(self, limits: TransferLimits, *, keep: bool) -> None:
        self.is_whole = True
        self.is_current = False
        self._keep = keep
        self._gained = np.zeros(max(RecordKind) + 1, np.int64)
        self._limits = limits
        self._blocks: list[RecordBlock] = []
        self._adds: list[bytes] = []
        self._octets = 0
        self._opaque_octets = 0
        self.left_out = 0
        """how many records that POP does not evaluate were too many"""
        self._removed: dict[_Key, OpaqueRecord] = {}
        self._added: dict[_Key, OpaqueRecord] = {}

    def take(self, batch: Batch, adds: NDArray[np.bool_]) -> None:
        """Keep the records of `batch`, each as added or as removed. Raises OverflowError past the limits."""
        rules = np.flatnonzero(batch.kinds == RecordKind.RULE).astype(np.uint32)
        if len(rules):
            offsets = batch.offsets
            data = batch.names[offsets[0] : offsets[-1]].tobytes()
            names = NameBlock(data=data, offsets=offsets.tobytes())
            if len(rules) < len(batch):
                names = taken(names, rules)
            self._octets += len(names.data)
            if self._octets > self._limits.octets:
                raise OverflowError(f"its names have more than {self._limits.octets} octets")
            self._blocks.append(RecordBlock(names=names, actions=batch.actions[rules].tobytes()))
            if not self.is_whole:
                self._adds.append(adds[rules].tobytes())
        others = batch.kinds >= RecordKind.LOCAL_DATA
        if not others.any():
            return
        self._gained += np.bincount(batch.kinds[others & adds], minlength=len(self._gained))
        self._gained -= np.bincount(batch.kinds[others & ~adds], minlength=len(self._gained))
        if self._keep:
            for index in np.flatnonzero(others).tolist():
                self._take_opaque(batch, index, adds=bool(adds[index]))

    def _take_opaque(self, batch: Batch, index: int, *, adds: bool) -> None:
        record = OpaqueRecord(
            kind=RecordKind(int(batch.kinds[index])),
            owner=batch.owner(index),
            rdtype=int(batch.types[index]),
            ttl=int(batch.ttls[index]),
            rdata=batch.rdata_of(index),
        )
        key = (record.owner, record.rdtype, record.rdata)
        if not adds:
            if self._added.pop(key, None) is None:
                self._removed[key] = record
        elif self._removed.get(key) == record:
            del self._removed[key]
        elif key in self._added:
            self._added[key] = record
        elif len(self._added) < self._limits.opaque and self._opaque_octets < self._limits.opaque_octets:
            self._added[key] = record
            self._opaque_octets += len(record.owner) + len(record.rdata)
        else:
            self.left_out += 1
        # Without one that goes, the others would be wrong.
        if len(self._removed) > self._limits.opaque:
            raise OverflowError(f"more than {self._limits.opaque} records that are no rules are removed")

    @property
    def gained(self) -> dict[RecordKind, int]:
        """How many records of each kind that POP does not evaluate came in, less those that went."""
        return {kind: int(self._gained[kind]) for kind in RecordKind if self._gained[kind]}

    def blocks(self) -> tuple[RecordBlock, ...]:
        """All rules, in the order in which they came."""
        return tuple(self._blocks)

    def net(self) -> RecordDelta:
        """What all differences come to. Raises ValueError for those that contradict each other."""
        if not self._blocks:
            return NO_CHANGES.delta()
        steps = joined_records(self._blocks)
        changes, misfit = net_of(steps.names, b"".join(self._adds), steps.actions, order_of(steps.names))
        if misfit is not None:
            raise ValueError(
                f"a difference does not fit the one before it at {format_name(name_of(steps.names, misfit))}"
            )
        return changes.delta()

    def opaque(self) -> OpaqueDelta:
        """What becomes of the records that POP does not evaluate."""
        return OpaqueDelta(removed=tuple(self._removed.values()), added=tuple(self._added.values()))
