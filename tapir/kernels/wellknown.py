"""Finds the names of a block among those of a list: the name itself, or the longest name above it that has a wildcard.

The list is known beforehand and the questions are not: whatever names are asked, no chain of slots is longer than the
list makes it, and hashes are keyed, which keeps lists from being made against the table. What a hash finds is compared
octet by octet. Whole names come with their hashes, those above them are hashed here. Names are in lower-case wire form.
"""

import cython

EXACT = cython.declare(cython.int, 1)
WILDCARD = cython.declare(cython.int, 2)


@cython.final
@cython.cclass
class NameIndex:
    """The names of a list by their octets; finds rows, which are places in that list.

    Row i is `data[offsets[i]:offsets[i + 1]]`; `kinds` has 1 for a name that stands for itself, 2 for one that stands
    for all strictly below it, whose first label is a star that is left out of the comparison, and 0 for no name at all.
    Of equal ones the first counts. `slots` are zeros, a power of two and more than the names.
    """

    data: cython.const[cython.uchar][::1]
    offsets: cython.const[cython.uint][::1]
    kinds: cython.const[cython.uchar][::1]
    slots: cython.ulonglong[::1]
    depths: cython.uchar[::1]
    mask: cython.ulonglong
    key: cython.ulonglong
    wild: cython.bint

    def __init__(
        self,
        data: cython.const[cython.uchar][::1],
        offsets: cython.const[cython.uint][::1],
        kinds: cython.const[cython.uchar][::1],
        hashes: cython.const[cython.ulonglong][::1],
        slots: cython.ulonglong[::1],
        depths: cython.uchar[::1],
        key: cython.ulonglong,
    ):
        """`hashes` are those of the names, of which only a wildcard's is not used; `depths` is 128 zeros."""
        row: cython.Py_ssize_t
        start: cython.Py_ssize_t
        value: cython.ulonglong
        size: cython.ulonglong = len(slots)
        if (
            size <= len(kinds)
            or size & (size - 1)
            or size > 1 << 31
            or len(offsets) != len(kinds) + 1
            or len(hashes) != len(kinds)
        ):
            raise ValueError("the table has no room, or an odd size")
        if len(depths) != 128:
            raise ValueError("a name has 127 labels at most")
        self.data = data
        self.offsets = offsets
        self.kinds = kinds
        self.slots = slots
        self.depths = depths
        self.mask = size - 1
        self.key = key
        self.wild = False
        with cython.nogil:
            for row in range(len(kinds)):
                if kinds[row] == 0:
                    continue
                start = offsets[row]
                value = hashes[row]
                if kinds[row] == WILDCARD:
                    start += 2
                    value = _hash(data, start, offsets[row + 1], key)
                    self.wild = True
                    self.depths[_count_labels(data, start, offsets[row + 1]) & 127] = 1
                self._enter(row, start, offsets[row + 1], kinds[row], value)

    def lookup(
        self,
        names: cython.const[cython.uchar][::1],
        starts: cython.const[cython.uint][::1],
        lengths: cython.const[cython.uint][::1],
        hashes: cython.const[cython.ulonglong][::1],
        outcomes: cython.const[cython.uchar][::1],
        rows: cython.int[::1],
    ) -> cython.Py_ssize_t:
        """Write the row of each name, -1 where there is none or its outcome is not 0; how many were found.

        Name i is `names[starts[i]:starts[i] + lengths[i]]`; what lies outside of `names` is not found.
        """
        found: cython.Py_ssize_t = 0
        i: cython.Py_ssize_t
        row: cython.int
        with cython.nogil:
            for i in range(len(rows)):
                row = -1
                if outcomes[i] == 0:
                    row = self._find(
                        names, starts[i], cython.cast(cython.Py_ssize_t, starts[i]) + lengths[i], hashes[i]
                    )
                    if row >= 0:
                        found += 1
                rows[i] = row
        return found

    def find(self, name: cython.const[cython.uchar][::1], value: cython.ulonglong) -> int:
        """The row of one name with this hash, -1 when there is none."""
        return self._find(name, 0, len(name), value)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _find(
        self,
        names: cython.const[cython.uchar][::1],
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        value: cython.ulonglong,
    ) -> cython.int:
        row: cython.int
        left: cython.int
        if start >= end or end > len(names):
            return -1
        row = self._probe(names, start, end, EXACT, value)
        if row >= 0 or not self.wild:
            return row
        # Longest first, only as deep as there are wildcards: a name of 127 labels costs no more than another.
        left = _count_labels(names, start, end) - 1
        while left > 0:
            start += 1 + names[start]
            if self.depths[left & 127]:
                row = self._probe(names, start, end, WILDCARD, _hash(names, start, end, self.key))
                if row >= 0:
                    return row
            left -= 1
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _probe(
        self,
        names: cython.const[cython.uchar][::1],
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        kind: cython.int,
        value: cython.ulonglong,
    ) -> cython.int:
        tag: cython.ulonglong = value >> 32
        slot: cython.ulonglong = value & self.mask
        row: cython.Py_ssize_t
        at: cython.Py_ssize_t
        first: cython.Py_ssize_t
        low: cython.ulonglong = 0xFFFFFFFF
        held: cython.ulonglong = self.slots[slot]
        while held:
            if held >> 32 == tag:
                row = cython.cast(cython.Py_ssize_t, (held & low) - 1)
                first = self.offsets[row]
                if kind == WILDCARD:
                    first += 2
                if self.kinds[row] == kind and self.offsets[row + 1] - first == end - start:
                    at = start
                    while at < end and names[at] == self.data[first + at - start]:
                        at += 1
                    if at == end:
                        return cython.cast(cython.int, row)
            slot = (slot + 1) & self.mask
            held = self.slots[slot]
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _enter(
        self,
        row: cython.Py_ssize_t,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        kind: cython.int,
        value: cython.ulonglong,
    ) -> cython.int:
        slot: cython.ulonglong
        if self._probe(self.data, start, end, kind, value) >= 0:
            return 0
        slot = value & self.mask
        while self.slots[slot]:
            slot = (slot + 1) & self.mask
        self.slots[slot] = (value >> 32) << 32 | cython.cast(cython.ulonglong, row + 1)
        return 1


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _count_labels(names: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """How many labels the name has, the root's not counted; those that do not end within it are none."""
    count: cython.int = 0
    while at < end and names[at]:
        at += 1 + names[at]
        if at >= end:
            break
        count += 1
    return count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _hash(
    names: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t, key: cython.ulonglong
) -> cython.ulonglong:
    """63 bits of a name."""
    value: cython.ulonglong = key
    # As variables: a constant that is wider than a C int would be an object of Python's.
    bits: cython.ulonglong = 0x7FFFFFFFFFFFFFFF
    prime: cython.ulonglong = 0x100000001B3
    odd: cython.ulonglong = 0x1B03738712FAD5C9
    while at < end:
        value = ((value ^ names[at]) * prime) & bits
        at += 1
    value = ((value ^ value >> 32) * odd) & bits
    return value ^ value >> 29
