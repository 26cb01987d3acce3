"""The name table: every name that a list speaks of, and the names above it, as dense numbers.

Each name is a *node* of the tree of names, with the root as node 0. A node has two *slots*: an exact one
(`2 * node`), for entries and records of the name itself, and a star one (`2 * node + 1`), for those of the
wildcard `*.name`. So a wildcard has no node of its own, and what covers a name is found by going up from parent
to parent. Numbers of released nodes are used again. The table knows no policy.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.model.names import MAX_NAME, ROOT, Name, is_wildcard

ROOT_NODE: Final = 0
STAR_OF_ROOT: Final = 1
"""The last slot that can hold nothing: an entry for the root or for `*.` would be the whole of the DNS."""

_NO_NAME: Final = Name(b"")

Nodes = npt.NDArray[np.int32]
"""Numbers of nodes."""
Slots = npt.NDArray[np.int32]
"""Numbers of slots."""
Flags = npt.NDArray[np.bool_]


def wildcard_of(name: Name) -> Name:
    """The wildcard name directly below `name`; it may exceed 255 octets."""
    return Name(b"\x01*" + name)


class NameTable:
    """Names by number and numbers by name.

    The columns are views of what the table holds now: drop them before the next call of `slots_of`.
    """

    def __init__(self) -> None:
        # By length of name: growing one dictionary of a million entries would hold the interpreter for too long.
        self._nodes: tuple[dict[Name, int], ...] = tuple({} for _ in range(MAX_NAME + 1))
        self._nodes[len(ROOT)][ROOT] = ROOT_NODE
        self._names: list[Name] = [ROOT]
        self._parents = array("i", (ROOT_NODE,))
        self._depths = array("B", (0,))
        self._lengths = array("B", (len(ROOT),))
        self._children = array("i", (0,))
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many nodes are in use, the root among them."""
        return len(self._names) - len(self._free)

    @property
    def extent(self) -> int:
        """One more than the highest node ever in use: the length of a column."""
        return len(self._names)

    @property
    def parents(self) -> Nodes:
        """The parent of each node; the root's and a free node's is the root."""
        return np.frombuffer(self._parents, np.int32)

    @property
    def depths(self) -> npt.NDArray[np.uint8]:
        """How many labels each node's name has."""
        return np.frombuffer(self._depths, np.uint8)

    @property
    def lengths(self) -> npt.NDArray[np.uint8]:
        """How many octets each node's name has."""
        return np.frombuffer(self._lengths, np.uint8)

    def slots_of(self, names: Iterable[Name]) -> Slots:
        """The slots of `names`, one each, entering those that are new."""
        slots = array("i")
        known = self._nodes
        for name in names:
            star = is_wildcard(name)
            base = Name(name[2:]) if star else name
            node = known[len(base)].get(base)
            if node is None:
                node = self._enter(base)
            slots.append(2 * node + star)
        return np.array(slots, np.int32)

    def known_slots_of(self, names: Iterable[Name]) -> Slots:
        """The slots of those of `names` that have a node."""
        slots = array("i")
        known = self._nodes
        for name in names:
            star = is_wildcard(name)
            base = Name(name[2:]) if star else name
            node = known[len(base)].get(base)
            if node is not None:
                slots.append(2 * node + star)
        return np.array(slots, np.int32)

    def governing_slot(self, name: Name) -> int:
        """The slot whose entries and wildcards decide `name`, whether or not `name` itself is in the table.

        A name without a node is answered like any other name below the lowest node above it.
        """
        star = is_wildcard(name)
        base = Name(name[2:]) if star else name
        node = self._nodes[len(base)].get(base)
        if node is not None:
            return 2 * node + star
        while node is None:
            base = Name(base[1 + base[0] :])
            node = self._nodes[len(base)].get(base)
        return 2 * node + 1

    def name_of(self, slot: int) -> Name:
        """The name that `slot` is for."""
        name = self._names[slot >> 1]
        return wildcard_of(name) if slot & 1 else name

    def path(self, slot: int) -> Iterator[int]:
        """`slot`, then the star slots of the nodes above it, nearest first and without the root's."""
        yield slot
        node = slot >> 1
        while node := self._parents[node]:
            yield 2 * node + 1

    def _enter(self, name: Name) -> int:
        missing = [name]
        node = None
        while node is None:
            name = Name(name[1 + name[0] :])
            node = self._nodes[len(name)].get(name)
            if node is None:
                missing.append(name)
        for name in reversed(missing):
            node = self._add(name, node)
        return node

    def _add(self, name: Name, parent: int) -> int:
        depth = self._depths[parent] + 1
        if self._free:
            node = self._free.pop()
            self._names[node] = name
            self._parents[node] = parent
            self._depths[node] = depth
            self._lengths[node] = len(name)
        else:
            node = len(self._names)
            self._names.append(name)
            self._parents.append(parent)
            self._depths.append(depth)
            self._lengths.append(len(name))
            self._children.append(0)
        self._children[parent] += 1
        self._nodes[len(name)][name] = node
        return node

    def release(self, candidates: Nodes, in_use: Flags) -> Nodes:
        """Free those of `candidates`, and of the nodes above, that are not `in_use` and have nothing below them.

        Returns what was freed. Columns kept beside the table must hold nothing there any more.
        """
        freed = array("i")
        for node in array("i", candidates.tobytes()):
            while node and self._names[node] and not self._children[node] and not in_use[node]:
                parent = self._parents[node]
                name = self._names[node]
                del self._nodes[len(name)][name]
                self._names[node] = _NO_NAME
                self._parents[node] = ROOT_NODE
                self._children[parent] -= 1
                self._free.append(node)
                freed.append(node)
                node = parent
        return np.array(freed, np.int32)
