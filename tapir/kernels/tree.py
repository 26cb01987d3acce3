"""Names as a tree of labels: nodes by number, found by a keyed hash on (parent, label), in buffers of the caller.

A node is its parent's number and one label, stored as in wire form: the length octet, then the octets. A name is
never stored whole. Node 0 is the root. A node has two slots, `2 * node` for the name and `2 * node + 1` for the
wildcard below it.

Strangers choose the labels, so where one hashes to depends on a key: a multilinear hash (Lemire and Kaser, "Strongly
universal string hashing is fast"), then mixed. A hit is a hit only when parent and octets are the same.
"""

import cython

KEYS = 20
"""How many 64-bit words the key has."""
NODES_SPARE = 128
"""A name has no more labels than that: this much room must be left for it to be entered."""
OCTETS_SPARE = 512


@cython.final
@cython.cclass
class Tree:
    """The tree, over buffers that `attach` hands in; nothing here allocates.

    Buffers, an item a node where nothing else is said: `labels` (octets), `offsets` (uint32, where in `labels`),
    `parents` (int32), `lengths` (uint8, octets of the name, 0 for a free node), `depths` (uint8, labels of the name),
    `children` (int32), `index` (uint32, the hash table). Where it is `linked`, `links` has three int32 a node: its
    first child, its next and its previous sibling, 0 for none. Where it is `watched`, `log` (int32) takes the numbers
    of nodes as they are entered.
    """

    _keys: cython.ulonglong[::1]
    _labels: cython.uchar[::1]
    _offsets: cython.uint[::1]
    _parents: cython.int[::1]
    _lengths: cython.uchar[::1]
    _depths: cython.uchar[::1]
    _children: cython.int[::1]
    _index: cython.uint[::1]
    _links: cython.int[::1]
    _log: cython.int[::1]
    _starts: cython.uchar[::1]
    _input: cython.const[cython.uchar][::1]
    _all_ones: cython.ulonglong
    _first_factor: cython.ulonglong
    _second_factor: cython.ulonglong
    _id_bits: cython.uint
    _id_mask: cython.uint
    _tag_mask: cython.uint
    _tag: cython.uint
    _capacity: cython.ulonglong
    _place: cython.Py_ssize_t
    _room: cython.Py_ssize_t
    _limit: cython.Py_ssize_t
    _first_free: cython.Py_ssize_t
    _reached: cython.Py_ssize_t
    extent = cython.declare(cython.Py_ssize_t, visibility="readonly")
    used = cython.declare(cython.Py_ssize_t, visibility="readonly")
    garbage = cython.declare(cython.Py_ssize_t, visibility="readonly")
    free = cython.declare(cython.Py_ssize_t, visibility="readonly")
    logged = cython.declare(cython.Py_ssize_t, visibility="readonly")
    linked = cython.declare(cython.bint, visibility="readonly")
    watched = cython.declare(cython.bint, visibility="readonly")

    def __init__(self, keys: cython.ulonglong[::1], starts: cython.uchar[::1]) -> None:
        """`keys` are KEYS random words, `starts` 256 octets to work in."""
        self._keys = keys
        self._starts = starts
        self._all_ones = 0xFFFFFFFFFFFFFFFF
        self._first_factor = 0x3C79AC492BA7B653  # moremur, by Pelle Evensen
        self._second_factor = 0x1C69B3F74AC4AE35
        self.extent = 0
        self.used = 0
        self.garbage = 0
        self.free = 0
        self.logged = 0
        self.linked = False
        self.watched = False
        self._first_free = 0
        self._id_bits = 0
        self._id_mask = 0
        self._tag_mask = 0
        self._tag = 0
        self._capacity = 0
        self._place = 0
        self._limit = 0
        self._reached = 0
        self._room = 0
        self._input = None
        self.detach()

    def detach(self) -> None:
        """Let go of the buffers, so that they can be resized."""
        self._labels = None
        self._offsets = None
        self._parents = None
        self._lengths = None
        self._depths = None
        self._children = None
        self._index = None
        self._links = None
        self._log = None

    def attach(
        self,
        labels: cython.uchar[::1],
        offsets: cython.uint[::1],
        parents: cython.int[::1],
        lengths: cython.uchar[::1],
        depths: cython.uchar[::1],
        children: cython.int[::1],
        index: cython.uint[::1],
        links: cython.int[::1],
        log: cython.int[::1],
    ) -> None:
        """Work on these, which hold what the ones before held, and more room. After a new `index`, call `rehash`."""
        self._labels = labels
        self._offsets = offsets
        self._parents = parents
        self._lengths = lengths
        self._depths = depths
        self._children = children
        self._index = index
        self._links = links
        self._log = log
        self._room = len(parents)
        if self.extent == 0:
            self.extent = 1
            lengths[0] = 1

    # The hash table: an entry is the node's number under the low bits of its hash, 0 is none.

    def rehash(self) -> None:
        """Enter all nodes into `index`, whose size or contents changed."""
        node: cython.Py_ssize_t
        place: cython.Py_ssize_t
        size: cython.Py_ssize_t = len(self._index)
        self._capacity = size
        self._limit = size // 4 * 3
        self._id_bits = 1
        while (1 << self._id_bits) <= max(self._limit, self.extent):
            self._id_bits += 1
        self._id_mask = (1 << self._id_bits) - 1
        self._tag_mask = (1 << (32 - self._id_bits)) - 1
        with cython.nogil:
            for place in range(size):
                self._index[place] = 0
            for node in range(1, self.extent):
                if self._lengths[node]:
                    place = self._home(self._offsets[node], self._parents[node])
                    while self._index[place]:
                        place += 1
                        if place == size:
                            place = 0
                    self._index[place] = (self._tag << self._id_bits) | cython.cast(cython.uint, node)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _home(self, at: cython.Py_ssize_t, parent: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the label at `at` would be, below `parent`, if nothing were in its way; `_tag` is what tells it."""
        length: cython.Py_ssize_t = self._labels[at]
        value: cython.ulonglong = self._keys[0] + self._keys[1] * cython.cast(cython.ulonglong, parent)
        word: cython.ulonglong = length
        i: cython.Py_ssize_t
        for i in range(1, length + 1):
            word = (word << 8) | self._labels[at + i]
            if (i & 3) == 3:
                value += self._keys[2 + (i >> 2)] * word
                word = 0
        value += self._keys[2 + ((length + 1) >> 2)] * word
        value &= self._all_ones
        value ^= value >> 27
        value = (value * self._first_factor) & self._all_ones
        value ^= value >> 33
        value = (value * self._second_factor) & self._all_ones
        value ^= value >> 27
        self._tag = cython.cast(cython.uint, value & self._tag_mask)
        return cython.cast(cython.Py_ssize_t, ((value >> 32) * self._capacity) >> 32)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _child(self, parent: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The child of `parent` with the label that lies at the end of the labels, or -1: then `_place` is free."""
        place: cython.Py_ssize_t = self._home(self.used, parent)
        size: cython.Py_ssize_t = self._capacity
        entry: cython.uint = self._index[place]
        node: cython.Py_ssize_t
        at: cython.Py_ssize_t
        i: cython.Py_ssize_t
        last: cython.Py_ssize_t = self._labels[self.used]
        while entry:
            if (entry >> self._id_bits) == self._tag:
                node = entry & self._id_mask
                if self._parents[node] == parent:
                    at = self._offsets[node]
                    i = 0
                    while i <= last and self._labels[at + i] == self._labels[self.used + i]:
                        i += 1
                    if i > last:
                        return node
            place += 1
            if place == size:
                place = 0
            entry = self._index[place]
        self._place = place
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _add(self, parent: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A new child of `parent`, with the label at the end of the labels, after `_child` found none."""
        node: cython.Py_ssize_t = self._first_free
        size: cython.Py_ssize_t = 1 + self._labels[self.used]
        if node:
            self._first_free = self._offsets[node]
            self.free -= 1
        else:
            node = self.extent
            self.extent += 1
        self._offsets[node] = cython.cast(cython.uint, self.used)
        self.used += size
        self._parents[node] = cython.cast(cython.int, parent)
        self._lengths[node] = cython.cast(cython.uchar, self._lengths[parent] + size)
        self._depths[node] = cython.cast(cython.uchar, self._depths[parent] + 1)
        self._children[node] = 0
        self._children[parent] += 1
        self._index[self._place] = (self._tag << self._id_bits) | cython.cast(cython.uint, node)
        if self.linked:
            self._links[3 * node] = 0
            self._link(node, parent)
        if self.watched:
            self._log[self.logged] = cython.cast(cython.int, node)
            self.logged += 1
        return node

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _descend(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t, enter: cython.bint) -> cython.Py_ssize_t:
        """The slot of the name at `start` of the input, entered if need be; -1 where it has no node, -2 for no name.

        `_reached` is the last node on the way.
        """
        count: cython.Py_ssize_t = 0
        at: cython.Py_ssize_t = start
        node: cython.Py_ssize_t = 0
        child: cython.Py_ssize_t
        i: cython.Py_ssize_t
        star: cython.Py_ssize_t
        size: cython.Py_ssize_t
        if start < 0 or end > len(self._input) or end <= start or end - start > 255:
            return -2
        while at < end and self._input[at]:
            if self._input[at] > 63:
                return -2
            self._starts[count] = cython.cast(cython.uchar, at - start)
            count += 1
            at += 1 + self._input[at]
        if at != end - 1:
            return -2
        star = 1 if count and self._input[start] == 1 and self._input[start + 1] == 42 else 0
        while count > star:
            count -= 1
            at = start + self._starts[count]
            size = 1 + self._input[at]
            for i in range(size):
                self._labels[self.used + i] = self._input[at + i]
            child = self._child(node)
            if child < 0:
                if not enter:
                    self._reached = node
                    return -1
                child = self._add(node)
            node = child
        self._reached = node
        return 2 * node + star

    def enter(
        self,
        data: cython.const[cython.uchar][::1],
        offsets: cython.const[cython.uint][::1],
        first: cython.Py_ssize_t,
        slots: cython.int[::1],
    ) -> int:
        """Enter names `first` to `first + len(slots)` of a block, and write their slots.

        Returns how many were done: fewer when more room is needed. Raises ValueError for what is no name.
        """
        done: cython.Py_ssize_t = 0
        slot: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = len(slots)
        octets: cython.Py_ssize_t = len(self._labels) - OCTETS_SPARE
        nodes: cython.Py_ssize_t = min(self._room, self._limit) - NODES_SPARE
        noted: cython.Py_ssize_t = len(self._log) - NODES_SPARE
        self._input = data
        with cython.nogil:
            while (
                done < count
                and self.used < octets
                and self.extent - self.free < nodes
                and (not self.watched or self.logged < noted)
            ):
                slot = self._descend(offsets[first + done], offsets[first + done + 1], True)
                if slot < 0:
                    break
                slots[done] = cython.cast(cython.int, slot)
                done += 1
        self._input = None
        if slot < 0:
            raise ValueError(f"name {first + done} of the block is no name in wire form")
        return done

    def find(
        self,
        data: cython.const[cython.uchar][::1],
        offsets: cython.const[cython.uint][::1],
        first: cython.Py_ssize_t,
        slots: cython.int[::1],
    ) -> None:
        """Write the slots of names `first` to `first + len(slots)` of a block, -1 for those without a node."""
        i: cython.Py_ssize_t
        slot: cython.Py_ssize_t
        self._input = data
        with cython.nogil:
            for i in range(len(slots)):
                slot = self._descend(offsets[first + i], offsets[first + i + 1], False)
                slots[i] = cython.cast(cython.int, slot if slot >= 0 else -1)
        self._input = None

    def governing(self, name: cython.const[cython.uchar][::1]) -> int:
        """The slot of `name`, else the star slot of the lowest node above it; -1 for what is no name."""
        slot: cython.Py_ssize_t
        self._input = name
        slot = self._descend(0, len(name), False)
        self._input = None
        return slot if slot >= 0 else 2 * self._reached + 1 if slot == -1 else -1

    # Links between children, for those who walk down.

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _link(self, node: cython.Py_ssize_t, parent: cython.Py_ssize_t) -> cython.Py_ssize_t:
        sibling: cython.int = self._links[3 * parent]
        self._links[3 * node + 1] = sibling
        self._links[3 * node + 2] = 0
        if sibling:
            self._links[3 * sibling + 2] = cython.cast(cython.int, node)
        self._links[3 * parent] = cython.cast(cython.int, node)
        return node

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _unlink(self, node: cython.Py_ssize_t, parent: cython.Py_ssize_t) -> cython.Py_ssize_t:
        following: cython.Py_ssize_t = self._links[3 * node + 1]
        before: cython.Py_ssize_t = self._links[3 * node + 2]
        if before:
            self._links[3 * before + 1] = cython.cast(cython.int, following)
        else:
            self._links[3 * parent] = cython.cast(cython.int, following)
        if following:
            self._links[3 * following + 2] = cython.cast(cython.int, before)
        return node

    def link(self, wanted: cython.bint) -> None:
        """Keep links from now on, in `links`, which is all zeros; or do so no more."""
        node: cython.Py_ssize_t
        self.linked = wanted
        if wanted:
            with cython.nogil:
                for node in range(1, self.extent):
                    if self._lengths[node]:
                        self._link(node, self._parents[node])

    def watch(self, wanted: cython.bint) -> None:
        """Write the number of each node that is entered from now on to `log`, from its start; or do so no more."""
        self.watched = wanted
        self.logged = 0

    # What is gone.

    def release(
        self,
        nodes: cython.const[cython.int][::1],
        freed: cython.int[::1],
        above: cython.int[::1],
    ) -> int:
        """Free those of `nodes` that have no children; write them to `freed`, and the parent of each to `above`.

        Returns how many there are. The root stays.
        """
        count: cython.Py_ssize_t = 0
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t
        node: cython.Py_ssize_t
        parent: cython.Py_ssize_t
        with cython.nogil:
            for i in range(len(nodes)):
                node = nodes[i]
                if not node or not self._lengths[node] or self._children[node]:
                    continue
                parent = self._parents[node]
                self._remove(node)
                if self.linked:
                    self._unlink(node, parent)
                at = self._offsets[node]
                self.garbage += 1 + self._labels[at]
                self._labels[at] |= 128
                self._parents[node] = 0
                self._lengths[node] = 0
                self._depths[node] = 0
                self._children[parent] -= 1
                self._offsets[node] = cython.cast(cython.uint, self._first_free)
                self._first_free = node
                self.free += 1
                freed[count] = cython.cast(cython.int, node)
                above[count] = cython.cast(cython.int, parent)
                count += 1
        return count

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-9)
    def _remove(self, node: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take `node` out of the hash table, and close the gap: what is behind it moves up where it may."""
        size: cython.Py_ssize_t = self._capacity
        gap: cython.Py_ssize_t = self._home(self._offsets[node], self._parents[node])
        place: cython.Py_ssize_t
        home: cython.Py_ssize_t
        other: cython.Py_ssize_t
        while (self._index[gap] & self._id_mask) != node:
            gap += 1
            if gap == size:
                gap = 0
        place = gap
        while True:
            place += 1
            if place == size:
                place = 0
            if not self._index[place]:
                break
            other = self._index[place] & self._id_mask
            home = self._home(self._offsets[other], self._parents[other])
            if (place - home + size) % size >= (place - gap + size) % size:
                self._index[gap] = self._index[place]
                gap = place
        self._index[gap] = 0
        return gap

    def squeezed(self, used: cython.Py_ssize_t) -> None:
        """The labels were moved together, and are `used` octets now."""
        self.used = used
        self.garbage = 0
