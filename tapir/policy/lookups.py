"""Lists that are looked up: how an allowlist of any size bears on the few names that others would block.

Such a list is never entered into the table. It is asked for the nodes that the table has, for names and wildcards, and
what it holds of these becomes its bits in the columns, like those of any list. One thing that does not find: a word of
it below a wildcard of a deny- or doubtlist is a name that must be let through although no list but this one speaks of
it. So when there are such wildcards, the words are gone through, and those below are entered. All others have no effect
on the zone, for nothing would block them.

What is entered and marked for this alone goes again with what it was entered and marked for.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, LookupList, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import ListDescription
from tapir.model.names import Name, is_wildcard, parent_of
from tapir.policy.columns import Columns
from tapir.policy.table import CHUNK, Flags, NameTable, Nodes, Slots


class LookupGoneError(TapirError):
    """The file that a list is looked up in cannot be used; nothing was changed. A newer one may be in effect."""

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class Lookup(Protocol):
    """A list that answers questions."""

    def holds(self, names: NameBlock) -> npt.NDArray[np.bool_]:
        """Which of `names` it has as entries; a wildcard name stands for all below."""
        ...

    def names(self, *, below: NameBlock | None = None) -> Iterable[tuple[NameBlock, object]]:
        """Its entries strictly below one of `below`, some at a time."""
        ...


OpenLookup = Callable[[LookupList], Lookup]
"""Opens what a list is looked up in. Raises LookupGoneError."""


def refuse_lookup(content: LookupList) -> Lookup:
    """For where no list is looked up."""
    raise LookupGoneError(path=content.path, reason="no list is looked up here")


@attrs.frozen(kw_only=True, eq=False)
class Asked:
    """One list that is looked up; of a `subtree` list an entry that is no wildcard stands for all below it, too."""

    lookup: Lookup
    subtree: bool

    def entry_for(self, name: Name) -> tuple[Name, str] | None:
        """The entry by which the list holds `name`, itself or the nearest wildcard above, and how it matches."""
        asked = [name]
        above = name
        while above[0]:
            above = parent_of(above)
            asked += [above, Name(b"\x01*" + above)]
        held = dict(zip(asked, self.lookup.holds(NameBlock.of(asked)).tolist(), strict=True))
        if held[name]:
            return name, "exact"
        for above, star in zip(asked[1::2], asked[2::2], strict=True):
            if held[star] or (self.subtree and held[above] and not is_wildcard(above)):
                return star, "exact" if star == name else "subtree" if held[above] else "wildcard"
        return None


class Lookups:
    """The lists among those of `columns` that are looked up, and what of them the columns know."""

    def __init__(self, table: NameTable, columns: Columns) -> None:
        self._table = table
        self._columns = columns
        self._asked: dict[str, Asked] = {}
        self._allowing = tuple(each.source for each in columns.lists if each.kind is ListKind.ALLOW)

    def __contains__(self, source: object) -> bool:
        return source in self._asked

    def __bool__(self) -> bool:
        return bool(self._asked)

    def hits(self, name: Name) -> Iterator[tuple[ListDescription, Name, str]]:
        """The lists that hold `name`, by which entry and how, whether or not anything else speaks of it."""
        for description in self._columns.lists:
            asked = self._asked.get(description.source)
            found = None if asked is None else asked.entry_for(name)
            if found is not None:
                yield description, *found

    def has_below(self, base: Name) -> bool:
        """Whether one of the lists has an entry strictly below `base`."""
        below = NameBlock.of([base])
        return any(len(names) for asked in self._asked.values() for names, _ in asked.lookup.names(below=below))

    def replace(self, source: str, asked: Asked | None) -> Slots:
        """The list of `source` is looked up there from now on, or not any more; returns the slots that this bears on.

        What other lists hold must be in the columns already.
        """
        cleared = np.empty(0, np.int32)
        if self._asked.pop(source, None) is not None:
            cleared = self._columns.slots_of(source)
            self._columns.mark(source, cleared, held=False)
        if asked is None:
            return cleared
        self._asked[source] = asked
        touched = [cleared, *(self._ask(source, asked, slots >> 1) for slots in self._columns.parts(stars=False))]
        stars = [slots[self._blocks(slots)] for slots in self._star_parts()]
        touched.append(self._enter_below(source, asked, np.concatenate([np.empty(0, np.int32), *stars])))
        return np.concatenate(touched)

    def follow(self, entered: Nodes, touched: Slots) -> Slots:
        """Ask for nodes that are new, and for what is below wildcards at `touched`; returns the slots this bears on."""
        marked: list[Slots] = [np.empty(0, np.int32)]
        live = np.unique(entered[self._table.lengths[entered] > 0]).astype(np.int32)
        stars = np.unique(touched[(touched & 1) == 1]).astype(np.int32)
        stars = stars[self._blocks(stars)]
        for source, asked in self._asked.items():
            marked.append(self._ask(source, asked, live))
        for source, asked in self._asked.items():
            marked.append(self._enter_below(source, asked, stars))
        return np.concatenate(marked)

    def in_use(self, nodes: Nodes) -> Flags:
        """Which of `nodes` the table must keep: for their own entries, or for a wildcard that would block them."""
        if not self._asked:
            return self._columns.held_nodes(nodes)
        used = self._columns.held_besides(2 * nodes, self._asked)
        if self._columns.stars:
            used |= self._columns.held_besides(2 * nodes + 1, self._asked)
            rest = np.flatnonzero(~used)
            rest = rest[self._columns.held_nodes(nodes[rest])]
            used[rest] = self._is_below_block(nodes[rest])
        return used

    def forget(self, freed: Nodes) -> None:
        """The table freed these nodes."""
        if len(freed):
            slots = np.concatenate((2 * freed, 2 * freed + 1))
            for source in self._asked:
                self._columns.mark(source, slots, held=False)

    def freed_by(self, taken: Slots) -> Nodes:
        """The nodes that may be kept for nothing now that entries at `taken` are gone."""
        stars = taken[(taken & 1) == 1]
        return self._table.affected(stars) if self._asked and len(stars) else np.empty(0, np.int32)

    def _ask(self, source: str, asked: Asked, nodes: Nodes) -> Slots:
        """Mark what the list holds of `nodes`; returns these slots."""
        found: list[Slots] = [np.empty(0, np.int32)]
        nodes = nodes[self._table.lengths[nodes] > 1]
        for first in range(0, len(nodes), CHUNK):
            part = nodes[first : first + CHUNK]
            exact = 2 * part[asked.lookup.holds(self._table.names_of(2 * part))]
            found.append(exact)
            found.append(exact + 1 if asked.subtree else exact[:0])
            found.append(2 * part[asked.lookup.holds(self._table.names_of(2 * part + 1))] + 1)
        slots = np.concatenate(found)
        self._columns.mark(source, slots, held=True)
        return slots

    def _enter_below(self, source: str, asked: Asked, stars: Slots) -> Slots:
        """Enter what the list holds strictly below the wildcards at `stars`."""
        if not len(stars):
            return stars
        entered: list[Slots] = [np.empty(0, np.int32)]
        for names, _ in asked.lookup.names(below=self._table.names_of(stars - 1)):
            if len(names):
                entered.append(self._columns.put(source, ListBlock(names=names)))
        slots = np.concatenate(entered)
        if asked.subtree:
            exact = slots[(slots & 1) == 0]
            self._columns.mark(source, exact + 1, held=True)
            slots = np.concatenate((slots, exact + 1))
        return slots

    def _star_parts(self) -> Iterator[Slots]:
        if self._columns.stars:
            for slots in self._columns.parts(stars=False):
                yield slots + 1

    def _blocks(self, stars: Slots) -> Flags:
        """Whether a deny- or doubtlist has the wildcards at `stars`."""
        if not self._columns.stars:
            return np.zeros(len(stars), np.bool_)
        return self._columns.held_besides(stars, self._allowing)

    def _is_below_block(self, nodes: Nodes) -> Flags:
        """Whether a deny- or doubtlist has a wildcard above, for each of `nodes`."""
        parents = self._table.parents
        above: Nodes = parents[nodes]
        below = np.zeros(len(nodes), np.bool_)
        while above.any():
            below |= self._blocks(2 * above + 1) & (above != 0)
            above = parents[above]
        return below
