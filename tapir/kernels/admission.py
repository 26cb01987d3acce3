"""Judges which names of a list may be kept, a million at a time: too long, too broad, a trigger, or malformed.

Names are in lower case wire form, back to back, with uint32 offsets.
"""

import cython


@cython.final
@cython.cclass
class SuffixRules:
    """The names of which the rules on public suffixes speak, in a table that finds one by its octets.

    Each has an octet of flags: 1 for a public suffix, 2 for one below which any label makes another; 0 for a name that
    is none although a rule would say so. `slots` are zeros, a power of two and more than the names.
    """

    data: cython.const[cython.uchar][::1]
    offsets: cython.const[cython.uint][::1]
    flags: cython.const[cython.uchar][::1]
    slots: cython.uint[::1]
    mask: cython.Py_ssize_t
    longest: cython.Py_ssize_t

    def __init__(self, data: bytes, offsets: memoryview, flags: bytes, slots: memoryview) -> None:
        self.data = data
        self.offsets = offsets
        self.flags = flags
        self.slots = slots
        self.mask = len(slots) - 1
        self.longest = 0
        if len(slots) <= len(flags) or len(slots) & (len(slots) - 1):
            raise ValueError("the table has no room, or an odd size")
        i: cython.Py_ssize_t
        slot: cython.Py_ssize_t
        first: cython.Py_ssize_t
        last: cython.Py_ssize_t
        for i in range(len(flags)):
            first = self.offsets[i]
            last = self.offsets[i + 1]
            slot = _hash(self.data, first, last) & self.mask
            while self.slots[slot] != 0:
                slot = (slot + 1) & self.mask
            self.slots[slot] = cython.cast(cython.uint, i + 1)
            self.longest = max(self.longest, last - first)

    def is_public(self, name: bytes) -> bool:
        """Whether `name` is a public suffix; a top-level domain is one whether or not a rule speaks of it."""
        return self._is_public(name, 0, len(name))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _is_public(
        self, data: cython.const[cython.uchar][::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t
    ) -> cython.bint:
        parent: cython.Py_ssize_t = first + 1 + data[first]
        flags: cython.int
        if data[first] == 0:
            return False
        if data[parent] == 0:
            return True
        flags = self._find(data, first, last)
        if flags >= 0:
            return (flags & 1) != 0
        flags = self._find(data, parent, last)
        return flags >= 0 and (flags & 2) != 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _find(
        self, data: cython.const[cython.uchar][::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t
    ) -> cython.int:
        """The flags of the name, -1 when it is not here."""
        slot: cython.Py_ssize_t
        rule: cython.Py_ssize_t
        start: cython.Py_ssize_t
        i: cython.Py_ssize_t
        width: cython.Py_ssize_t = last - first
        if width > self.longest:
            return -1
        slot = _hash(data, first, last) & self.mask
        while self.slots[slot] != 0:
            rule = self.slots[slot] - 1
            start = self.offsets[rule]
            if self.offsets[rule + 1] - start == width:
                i = 0
                while i < width and self.data[start + i] == data[first + i]:
                    i += 1
                if i == width:
                    return self.flags[rule]
            slot = (slot + 1) & self.mask
        return -1


def judge(
    data: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    triggers: cython.const[cython.uchar][::1],
    rules: SuffixRules,
    verdicts: cython.uchar[::1],
    *,
    longest: cython.Py_ssize_t,
    guarded: cython.bint,
) -> None:
    """Give a verdict on each name: 0 it may stay, 1 too long, 2 too broad, 3 malformed, 4 a trigger.

    `triggers` are labels in wire form, of which none may come last. `guarded` names must not be public suffixes.
    """
    i: cython.Py_ssize_t
    with cython.nogil:
        for i in range(len(verdicts)):
            verdicts[i] = _judge(data, offsets[i], offsets[i + 1], triggers, rules, longest, guarded)


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _judge(
    data: cython.const[cython.uchar][::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    triggers: cython.const[cython.uchar][::1],
    rules: SuffixRules,
    longest: cython.Py_ssize_t,
    guarded: cython.bint,
) -> cython.int:
    at: cython.Py_ssize_t
    label: cython.Py_ssize_t
    if last - first > longest:
        return 1
    if data[first] == 1 and data[first + 1] == 42:
        first += 2
    if data[first] == 0:
        return 2
    at = label = first
    while data[at] != 0:
        # A label `*` further down: its parent would exist in the zone as a wildcard without a record and hide the one
        # above (RFC 4592 §4.2).
        if data[at] == 1 and data[at + 1] == 42:
            return 3
        label = at
        at += 1 + data[at]
    if _is_any_of(data, label, triggers):
        return 4
    if guarded and rules._is_public(data, first, last):
        return 2
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _is_any_of(
    data: cython.const[cython.uchar][::1], label: cython.Py_ssize_t, labels: cython.const[cython.uchar][::1]
) -> cython.bint:
    at: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    width: cython.Py_ssize_t = 1 + data[label]
    while at < len(labels):
        if labels[at] == data[label]:
            i = 1
            while i < width and labels[at + i] == data[label + i]:
                i += 1
            if i == width:
                return True
        at += 1 + labels[at]
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _hash(
    data: cython.const[cython.uchar][::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """As FNV-1a. Nobody outside chooses what is in the table, so nobody can fill one of its places with many."""
    value: cython.Py_ssize_t = 0x011C9DC5
    i: cython.Py_ssize_t
    for i in range(first, last):
        value = ((value ^ data[i]) * 0x01000193) & 0x7FFFFFFF
    return value
