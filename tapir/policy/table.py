"""The name table: every name that a list speaks of, and the names above it, as dense numbers.

Each name is a *node* of the tree of names, with the root as node 0. A node has two *slots*: an exact one
(`2 * node`), for entries and records of the name itself, and a star one (`2 * node + 1`), for those of the
wildcard `*.name`. So a wildcard has no node of its own, and what covers a name is found by going up from parent
to parent. Numbers of released nodes are used again. The table knows no policy.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tapir.codec.columns import filled, octets_of
from tapir.kernels.tree import KEYS, NODES_SPARE, OCTETS_SPARE, Tree
from tapir.kernels.walk import BLOCK, affected, by_depth, squeeze, write_names
from tapir.model.blocks import NameBlock
from tapir.model.errors import TapirError
from tapir.model.names import MAX_NAME, Name
from tapir.policy.storage import Store, lazy_zeros

ROOT_NODE: Final = 0
STAR_OF_ROOT: Final = 1
"""The last slot that can hold nothing: an entry for the root or for `*.` would be the whole of the DNS."""

Nodes = npt.NDArray[np.int32]
"""Numbers of nodes."""
Slots = npt.NDArray[np.int32]
"""Numbers of slots."""
Flags = npt.NDArray[np.bool_]

KEY_SIZE: Final = 16
"""How many octets a key should have."""

CHUNK: Final = 1 << 16
"""So many names at a time, where what is made for each of them on the way would add up."""

# What int32 slots and uint32 offsets can number.
_MOST_NODES: Final = (1 << 30) - 1
_MOST_OCTETS: Final = (1 << 32) - 1
# Less garbage than this is not worth moving labels for.
_GARBAGE: Final = 1 << 16


class TableFullError(TapirError):
    """The lists hold more names than can be numbered; the table is good for nothing any more."""

    def __init__(self) -> None:
        super().__init__(f"the lists hold more than {_MOST_NODES} names, or more than {_MOST_OCTETS} octets of labels")


class NameTable:
    """Names by number and numbers by name.

    `key` is a secret that keeps strangers from choosing names that are slow to find. The columns are views of what
    the table holds now: drop them before the next call of `slots_of`, `release`, `watch` or `affected`.
    """

    def __init__(self, *, key: bytes = b"") -> None:
        self._labels = Store(np.uint8, 2 * OCTETS_SPARE)
        self._offsets = Store(np.uint32)
        self._parents = Store(np.int32)
        self._lengths = Store(np.uint8)
        self._depths = Store(np.uint8)
        self._children = Store(np.int32)
        self._index = Store(np.uint32)
        self._links: Store[np.int32] = Store(np.int32)
        self._log: Store[np.int32] = Store(np.int32)
        self._linked = False
        keys = array("Q", hashlib.shake_128(key).digest(8 * KEYS))
        self._tree = Tree(memoryview(keys), memoryview(bytearray(MAX_NAME + 1)))
        self._make_room(1)

    def __len__(self) -> int:
        """How many nodes are in use, the root among them."""
        return int(self._tree.extent - self._tree.free)

    @property
    def extent(self) -> int:
        """One more than the highest node ever in use: the length of a column."""
        return int(self._tree.extent)

    @property
    def parents(self) -> Nodes:
        """The parent of each node; the root's and a free node's is the root."""
        return self._parents.view[: self.extent]

    @property
    def depths(self) -> npt.NDArray[np.uint8]:
        """How many labels each node's name has."""
        return self._depths.view[: self.extent]

    @property
    def lengths(self) -> npt.NDArray[np.uint8]:
        """How many octets each node's name has; 0 where the node is free."""
        return self._lengths.view[: self.extent]

    @property
    def octets(self) -> int:
        """How much memory the table takes, all of it ever written to."""
        nodes = self._tree.extent * (4 + 4 + 1 + 1 + 4 + (12 if self._linked else 0))
        return int(nodes + 4 * len(self._index) + self._tree.used + 4 * self._tree.logged)

    # Entering and finding

    def slots_of(self, names: NameBlock) -> Slots:
        """The slots of `names`, one each, entering those that are new. Raises ValueError for what is no name."""
        return self.slots_between(names, 0, len(names))

    def slots_between(self, names: NameBlock, first: int, last: int) -> Slots:
        """The slots of names `first` to `last` of `names`, as `slots_of` does it."""
        slots = np.empty(last - first, np.int32)
        offsets = memoryview(names.offsets).cast("I")
        before = len(self)
        done = 0
        while True:
            done += self._tree.enter(names.data, offsets, first + done, slots.data[done:])
            if done == len(slots):
                return slots
            # So many nodes are to come if the rest of the block is like what there was of it.
            coming = (len(names) - first - done) * max(len(self) - before, 1) // max(done, 1)
            self._make_room(coming if done else 1)

    def known_slots_of(self, names: NameBlock) -> Slots:
        """The slots of those of `names` that have a node."""
        slots = np.empty(len(names), np.int32)
        self._tree.find(names.data, memoryview(names.offsets).cast("I"), 0, slots.data)
        return slots[slots >= 0]

    def governing_slot(self, name: Name) -> int:
        """The slot whose entries and wildcards decide `name`, whether or not `name` itself is in the table.

        A name without a node is answered like any other name below the lowest node above it.
        Raises ValueError for what is no name.
        """
        slot: int = self._tree.governing(name)
        if slot < 0:
            raise ValueError("that is no name in wire form")
        return slot

    def watch(self) -> None:
        """From now on, tell by `entered` which nodes are new."""
        self._tree.watch(True)
        self._make_room(0)

    def entered(self) -> Nodes:
        """The nodes that were entered since the last call, or since `watch`, in that order.

        Names above those asked for are among them. One that was released since is there all the same, and its number
        may be there twice, as that of another name: whoever looks at `lengths` sees what lives.
        """
        nodes = self._log.view[: self._tree.logged].copy()
        self._tree.watch(self._tree.watched)
        self._tree.detach()
        self._log = Store(np.int32)
        self._make_room(0)
        return nodes

    def _make_room(self, coming: int) -> None:
        """Have room for the next name, at least; better for the `coming` nodes."""
        tree = self._tree
        tree.detach()
        self._squeeze()
        live = max(len(self), 1)
        nodes = live + NODES_SPARE
        octets = tree.used + 2 * OCTETS_SPARE
        if nodes > _MOST_NODES or octets > _MOST_OCTETS:
            raise TableFullError
        for store in (self._offsets, self._parents, self._lengths, self._depths, self._children):
            store.grow(nodes + NODES_SPARE)
        self._labels.grow(octets)
        if self._linked:
            self._links.grow(3 * len(self._parents))
        if tree.watched:
            self._log.grow(tree.logged + 2 * NODES_SPARE)
        rehash = len(self._index) // 4 * 3 <= nodes
        if rehash:
            # A table of three quarters: not made larger than the names that come are likely to fill.
            wanted = live + max(live // 4, min(coming, 4 * live)) + 4 * NODES_SPARE
            self._index.resize(-(-wanted * 4 // 3) + 4)
        tree.attach(
            self._labels.view.data,
            self._offsets.view.data,
            self._parents.view.data,
            self._lengths.view.data,
            self._depths.view.data,
            self._children.view.data,
            self._index.view.data,
            self._links.view.data,
            self._log.view.data,
        )
        if rehash:
            tree.rehash()

    # Names and paths

    def name_of(self, slot: int) -> Name:
        """The name that `slot` is for."""
        return Name(self.names_of(np.array([slot], np.int32)).data)

    def names_of(self, slots: Slots) -> NameBlock:
        """The names that `slots` are for, in their order."""
        offsets = np.zeros(len(slots) + 1, np.uint32)
        np.cumsum(self.lengths[slots >> 1] + np.uint32(2) * (slots & 1).astype(np.uint32), out=offsets[1:])

        def fill(out: memoryview) -> None:
            for start in range(0, len(slots), CHUNK):
                part = np.ascontiguousarray(slots[start : start + CHUNK])
                write_names(
                    part.data,
                    self._labels.view.data,
                    self._offsets.view.data,
                    self._parents.view.data,
                    out[int(offsets[start]) : int(offsets[start + len(part)])],
                )

        return NameBlock(data=filled(int(offsets[-1]), fill), offsets=octets_of(offsets))

    def path(self, slot: int) -> Iterator[int]:
        """`slot`, then the star slots of the nodes above it, nearest first and without the root's."""
        yield slot
        node = slot >> 1
        while node := int(self._parents.view[node]):
            yield 2 * node + 1

    def affected(self, slots: Slots) -> Nodes:
        """The nodes that entries at `slots` bear on: their own, all below wildcards, and all above any of them.

        Parents come before their children, the root is left out. From the first call on, the table keeps links
        between siblings, 12 octets a node, until `forget_links`.
        """
        if not self._linked:
            self._linked = True
            self._make_room(0)
            self._tree.link(True)
        room = 4 * len(slots) + 4096
        touched = np.ascontiguousarray(slots).data
        while True:
            found = np.empty(room, np.int32)
            count = affected(
                touched,
                self._parents.view.data,
                self._links.view.data,
                lazy_zeros(self.extent).data,
                found.data,
            )
            if count <= room:
                return self.parents_first(found[:count])
            room = count

    def parents_first(self, nodes: Nodes) -> Nodes:
        """`nodes` in another order: parents before their children."""
        ordered = np.empty(len(nodes), np.int32)
        by_depth(
            nodes.data,
            self._depths.view.data,
            memoryview(array("I", bytes(4 * 129))),
            ordered.data,
        )
        return ordered

    def forget_links(self) -> None:
        """Give the memory of the links back, until the next call of `affected`."""
        if self._linked:
            self._linked = False
            self._tree.link(False)
            self._tree.detach()
            self._links = Store(np.int32)
            self._make_room(0)

    # Releasing

    def release(
        self, candidates: Nodes, in_use: Callable[[Nodes], Flags], *, forget: Callable[[Nodes], None] | None = None
    ) -> None:
        """Free those of `candidates`, and of the nodes above, that are not `in_use` and have nothing below them.

        Columns kept beside the table must hold nothing there any more, or let go of what they hold in `forget`.
        """
        while len(candidates):
            idle = np.ascontiguousarray(candidates[~in_use(candidates)])
            freed = np.empty(len(idle), np.int32)
            above = np.empty(len(idle), np.int32)
            count = self._tree.release(idle.data, freed.data, above.data)
            if forget is not None:
                forget(freed[:count])
            candidates = above[:count]
        if self._garbage_is_due():
            self._make_room(0)

    def _garbage_is_due(self) -> bool:
        return bool(self._tree.garbage > _GARBAGE + self._tree.used // 5)

    def _squeeze(self) -> None:
        if not self._garbage_is_due():
            return
        blocks = self._tree.used // BLOCK + 1
        used = squeeze(
            self._labels.view.data,
            self._tree.used,
            self._offsets.view.data,
            self._lengths.view.data,
            self._tree.extent,
            np.empty(blocks, np.uint32).data,
            np.empty(blocks, np.uint8).data,
        )
        self._tree.squeezed(used)
        self._labels.resize(used + used // 16 + 2 * OCTETS_SPARE)
