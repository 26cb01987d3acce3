"""From decisions to records: what the zone must hold so that a resolver finds what the rules decide.

Without wildcards a name's record is its decision. With them, a lookup that does not find the name takes the
wildcard below the *closest encloser*, the lowest name above it that exists (RFC 4592 §3.3.1). So a record
below a wildcard makes names exist that hide the wildcard from everything below them:

    *.x    NXDOMAIN         denied: all below x
    b.a.x  PASSTHRU         allowed: b.a.x; but now q.a.x and q.b.a.x find no wildcard, for a.x and b.a.x exist

A node is *covered* when a wildcard above it is emitted. What a covered node would be answered without records
of its own is the decision for names below its parent. It is *needed* when that is not what is decided for it
or for the names below it, or when a node below it is needed. A covered node that is needed gets both records,
its own and its wildcard's, PASSTHRU standing for "nothing"; one that is not needed gets none. Resolvers differ
on names that exist only because of names below them; here there are none of those in a covered region.

    *.x  NXDOMAIN    a.x  NXDOMAIN    *.a.x  NXDOMAIN    b.a.x  PASSTHRU    *.b.a.x  NXDOMAIN

A record whose owner would pass 255 octets is left out. Only a node's wildcard can be so long, and then no name
that could be looked up in the zone is below that node.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from tapir.kernels.walk import settle
from tapir.model.actions import Action
from tapir.model.names import MAX_NAME, Name
from tapir.policy.columns import Columns
from tapir.policy.rules import Actions, decide_rows
from tapir.policy.settings import PolicySettings
from tapir.policy.storage import SlotColumn, Store, lazy_zeros
from tapir.policy.table import CHUNK, Flags, NameTable, Nodes, Slots

_PASSTHRU: Final = np.uint8(Action.PASSTHRU)
_NONE: Final = np.uint8(Action.NONE)

Change = tuple[Slots, Actions]
"""Slots whose record changed, and what it was."""


class Emission:
    """Which records stand for what is decided; that itself is kept nowhere."""

    def __init__(self, table: NameTable, zone: Name) -> None:
        self._table = table
        self._longest = MAX_NAME - len(zone) + 1
        self.emitted: SlotColumn[np.uint8] = SlotColumn(np.uint8)
        """an `Action` a slot"""
        self._needing: Store[np.int32] = Store(np.int32)
        """while there are wildcards, by node: twice how many children are needed, plus 1 where it is itself"""
        self._wild = False
        """whether wildcards may have left a trace in the columns"""

    @property
    def octets(self) -> int:
        """How much memory the columns take, at most."""
        extent = self._table.extent
        return self.emitted.octets(extent) + min(len(self._needing), extent) * 4 * self._wild

    def update(self, touched: Slots, columns: Columns, settings: PolicySettings) -> Change:
        """Decide again what entries at `touched` bear on; returns the slots whose record changed, and what it was."""
        self._wild = self._wild or columns.stars > 0
        if self._wild:
            nodes = self._table.affected(touched)
            return self._settled(_joined(self._decide_wild(nodes, columns, settings)), columns)
        return _joined(self._decide(_chunks(_distinct(touched >> 1, self._table.extent)), columns, settings))

    def update_all(self, columns: Columns, settings: PolicySettings) -> Change:
        """Decide everything again, as `update` does."""
        self._wild = self._wild or columns.stars > 0
        if self._wild:
            nodes = self._table.parents_first(np.arange(1, self._table.extent, dtype=np.int32))
            return self._settled(_joined(self._decide_wild(nodes, columns, settings)), columns)
        return _joined(self._decide((slots >> 1 for slots in columns.parts(stars=False)), columns, settings))

    def _settled(self, change: Change, columns: Columns) -> Change:
        if not columns.stars:
            self._wild = False
            self._needing = Store(np.int32)
            self._table.forget_links()
            self.emitted.drop_stars()
        return change

    def _decide(self, parts: Iterable[Nodes], columns: Columns, settings: PolicySettings) -> Iterator[Change]:
        self.emitted.grow(self._table.extent)
        for part in parts:
            yield self._emit(2 * part, decide_rows(settings, columns.gather(2 * part)))

    def _decide_wild(self, nodes: Nodes, columns: Columns, settings: PolicySettings) -> Iterator[Change]:
        """`nodes` come parents first, and with each all above it."""
        extent = self._table.extent
        self.emitted.grow(extent)
        self._needing.grow(extent)
        decided, below, covered = (lazy_zeros(extent) for _ in range(3))
        for part in _chunks(nodes):
            decided[part] = decide_rows(settings, columns.gather(2 * part))
            below[part] = decide_rows(settings, columns.gather(2 * part + 1))
        settle(
            nodes.data,
            self._table.parents.data,
            decided.data,
            below.data,
            self._needing.view.data,
            covered.data,
        )
        for part in _chunks(nodes):
            hidden = covered[part] != 0
            needed = (self._needing.view[part] & 1) != 0
            for slots, verdict in ((2 * part, decided[part]), (2 * part + 1, below[part])):
                yield self._emit(
                    slots, np.where(hidden, np.where(needed, np.maximum(verdict, _PASSTHRU), _NONE), verdict)
                )

    def _emit(self, slots: Slots, wanted: Actions) -> Change:
        room = self._longest - 2 * (slots & 1)
        wanted = np.where(self._table.lengths[slots >> 1] > room, _NONE, wanted)
        was = self.emitted[slots]
        differs = was != wanted
        changed = slots[differs]
        if len(changed):
            self.emitted[changed] = wanted[differs]
        return changed, was[differs]


def _chunks(nodes: Nodes) -> Iterator[Nodes]:
    return (nodes[start : start + CHUNK] for start in range(0, len(nodes), CHUNK))


def _joined(parts: Iterable[Change]) -> Change:
    changed: list[Slots] = [np.empty(0, np.int32)]
    before: list[Actions] = [np.empty(0, np.uint8)]
    for slots, was in parts:
        changed.append(slots)
        before.append(was)
    return np.concatenate(changed), np.concatenate(before)


def _distinct(nodes: Nodes, extent: int) -> Nodes:
    """`nodes` in order, each once, without a sort of many."""
    if len(nodes) < extent >> 8:
        return np.unique(nodes)
    marked: Flags = np.zeros(extent, np.bool_)
    marked[nodes] = True
    return np.flatnonzero(marked).astype(np.int32)
