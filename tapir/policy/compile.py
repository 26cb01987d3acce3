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

from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.model.actions import Action
from tapir.model.names import MAX_NAME, Name
from tapir.policy.columns import Columns, grown
from tapir.policy.rules import Actions, decide_rows
from tapir.policy.settings import PolicySettings
from tapir.policy.table import ROOT_NODE, Flags, NameTable, Nodes, Slots

_CHUNK: Final = 1 << 17
_PASSTHRU: Final = np.uint8(Action.PASSTHRU)
_NONE: Final = np.uint8(Action.NONE)


class Emission:
    """What is decided for each slot, and which records stand for it."""

    def __init__(self, table: NameTable, zone: Name) -> None:
        self._table = table
        self._longest = MAX_NAME - len(zone) + 1
        self._decided: Actions = np.zeros(0, np.uint8)
        self._covered: Flags = np.zeros(0, np.bool_)
        self._needed: npt.NDArray[np.int8] = np.zeros(0, np.int8)
        self._needing: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        """how many children are needed, by node"""
        self.emitted: Actions = np.zeros(0, np.uint8)
        self._wild = False
        """whether wildcards may have left a trace in the columns"""

    def grow(self) -> None:
        """Make room for every slot of the table."""
        extent = self._table.extent
        if 2 * extent > len(self._decided):
            self._decided = grown(self._decided, 2 * extent)
            self.emitted = grown(self.emitted, 2 * extent)
        if extent > len(self._covered):
            self._covered = grown(self._covered, extent)
            self._needed = grown(self._needed, extent)
            self._needing = grown(self._needing, extent)

    def update(self, touched: Slots, columns: Columns, settings: PolicySettings) -> tuple[Slots, Actions]:
        """Decide again what entries at `touched` bear on; returns the slots whose record changed, and what it was."""
        self.grow()
        wild = self._wild or columns.stars > 0
        nodes = self._affected(touched) if wild else _distinct(touched >> 1, self._table.extent)
        changed = self._decide(nodes, columns, settings, wild=wild)
        self._wild = columns.stars > 0
        return changed

    def update_all(self, columns: Columns, settings: PolicySettings) -> tuple[Slots, Actions]:
        """Decide everything again, as `update` does."""
        self.grow()
        wild = self._wild or columns.stars > 0
        changed = self._decide(np.arange(1, self._table.extent, dtype=np.int32), columns, settings, wild=wild)
        self._wild = columns.stars > 0
        return changed

    def forget(self, freed: Nodes) -> None:
        """The table freed these nodes, which are on no list and for which nothing is emitted any more."""
        self._covered[freed] = False

    def _affected(self, touched: Slots) -> Nodes:
        """The nodes that `touched` bears on: themselves, all below a wildcard, and all above any of them."""
        parents = self._table.parents
        marked = np.zeros(self._table.extent, np.bool_)
        marked[touched[(touched & 1) == 1] >> 1] = True
        count = -1
        while count != (count := int(np.count_nonzero(marked))):
            marked |= marked[parents]
        rising: Nodes = touched >> 1
        while rising.any():
            marked[rising] = True
            rising = parents[rising]
        marked[ROOT_NODE] = False
        return np.flatnonzero(marked).astype(np.int32)

    def _decide(self, nodes: Nodes, columns: Columns, settings: PolicySettings, *, wild: bool) -> tuple[Slots, Actions]:
        stars = (0, 1) if wild else (0,)
        for part in _chunks(nodes):
            for star in stars:
                slots = 2 * part + star
                self._decided[slots] = decide_rows(settings, columns.gather(slots))
        if wild:
            self._find_needed(nodes)
        changed: list[Slots] = []
        before: list[Actions] = []
        lengths = self._table.lengths
        for part in _chunks(nodes):
            covered = self._covered[part]
            needed = self._needed[part] != 0
            for star in stars:
                slots = 2 * part + star
                wanted = self._decided[slots]
                wanted = np.where(covered, np.where(needed, np.maximum(wanted, _PASSTHRU), _NONE), wanted)
                wanted = np.where(lengths[part] > self._longest - 2 * star, _NONE, wanted)
                was = self.emitted[slots]
                differs = was != wanted
                changed.append(slots[differs])
                before.append(was[differs])
                self.emitted[slots] = wanted
        if not changed:
            return np.empty(0, np.int32), np.empty(0, np.uint8)
        return np.concatenate(changed), np.concatenate(before)

    def _find_needed(self, nodes: Nodes) -> None:
        """Settle covered and needed for `nodes`, which with each node holds all above it."""
        parents = self._table.parents
        depths = self._table.depths[nodes]
        order = np.argsort(depths, kind="stable")
        levels = np.split(nodes[order], np.flatnonzero(np.diff(depths[order])) + 1)
        for level in levels:
            above = parents[level]
            self._covered[level] = self._covered[above] | (self._decided[2 * above + 1] != _NONE)
        for level in reversed(levels):
            above = parents[level]
            inherited = self._decided[2 * above + 1]
            own = self._decided[2 * level]
            below = self._decided[2 * level + 1]
            needed = (own != inherited) | (below != inherited) | (self._needing[level] > 0)
            needed = (needed & self._covered[level]).astype(np.int8)
            np.add.at(self._needing, above, needed.astype(np.int32) - self._needed[level])
            self._needed[level] = needed


def _chunks(nodes: Nodes) -> list[Nodes]:
    return [nodes[start : start + _CHUNK] for start in range(0, len(nodes), _CHUNK)]


def _distinct(nodes: Nodes, extent: int) -> Nodes:
    """`nodes` in order, each once, without a sort."""
    if len(nodes) < extent >> 8:
        return np.unique(nodes)
    marked = np.zeros(extent, np.bool_)
    marked[nodes] = True
    return np.flatnonzero(marked).astype(np.int32)
