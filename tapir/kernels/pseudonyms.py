"""What was pseudonymised before: a table from addresses to pseudonyms, of bounded size, in buffers of the caller.

Addresses are two 64-bit words each, as their 16 octets lie in memory. An address has its place in one set of eight,
found by a keyed hash, for strangers choose addresses; a full set gives up an entry that was not asked for of late (a
clock for each set). A new address enters with its pseudonym and is at first the next to go.
"""

import cython

WAYS = 8
"""How many entries a set has."""


@cython.final
@cython.cclass
class Cache:
    """The table; nothing here allocates.

    `entries` has four words an entry: address, pseudonym. `marks` has an octet each: 0 for a free one, else 1, with 2
    if it was asked for since the clock last came by, and above those six bits of the hash, which spare most looks at
    entries that are not the one. `hands` has an octet a set.
    """

    _entries: cython.ulonglong[::1]
    _marks: cython.uchar[::1]
    _hands: cython.uchar[::1]
    _first: cython.ulonglong
    _second: cython.ulonglong
    _all_ones: cython.ulonglong
    _factor: cython.ulonglong
    _sets: cython.ulonglong
    used = cython.declare(cython.Py_ssize_t, visibility="readonly")
    evicted = cython.declare(cython.Py_ssize_t, visibility="readonly")

    def __init__(
        self,
        first: cython.ulonglong,
        second: cython.ulonglong,
        entries: cython.ulonglong[::1],
        marks: cython.uchar[::1],
        hands: cython.uchar[::1],
    ) -> None:
        """`first` and `second` are random; the buffers are all zeroes."""
        if len(hands) < 1 or len(marks) != WAYS * len(hands) or len(entries) != 4 * len(marks):
            raise ValueError("the buffers of a cache do not fit each other")
        self._entries = entries
        self._marks = marks
        self._hands = hands
        self._first = first
        self._second = second | 1
        self._factor = 0x3C79AC492BA7B653  # moremur, by Pelle Evensen
        self._all_ones = 0xFFFFFFFFFFFFFFFF
        self._sets = len(hands)
        self.used = 0
        self.evicted = 0

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _hash(self, high: cython.ulonglong, low: cython.ulonglong) -> cython.ulonglong:
        value: cython.ulonglong = ((high ^ self._first) * self._second) & self._all_ones
        value ^= value >> 32
        value = ((value + low) * self._second) & self._all_ones
        value ^= value >> 29
        return ((value ^ self._first) * self._factor) & self._all_ones

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(-2)
    def _find(self, hashed: cython.ulonglong, high: cython.ulonglong, low: cython.ulonglong) -> cython.Py_ssize_t:
        """The entry of this address, or -1."""
        place: cython.ulonglong = ((hashed >> 32) * self._sets) >> 32
        entry: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, place) * 8
        mark: cython.uint = self._mark(hashed)
        way: cython.Py_ssize_t
        for way in range(entry, entry + 8):
            if (self._marks[way] | 2) == mark and self._entries[4 * way + 1] == low and self._entries[4 * way] == high:
                return way
        return -1

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _mark(self, hashed: cython.ulonglong) -> cython.uint:
        """The mark of an entry of this hash that was asked for."""
        return cython.cast(cython.uint, ((hashed >> 26) & 0x3F) << 2) | 3

    def look(
        self,
        addresses: cython.const[cython.ulonglong][::1],
        sizes: cython.const[cython.uchar][::1],
        out: cython.ulonglong[::1],
        missing: cython.uint[::1],
        numbers: cython.uint[::1],
        fresh: cython.uint[::1],
        scratch: cython.uint[::1],
    ) -> tuple[int, int, int]:
        """Write the pseudonyms that are known into `out`, at the places of the addresses of size 4 and 16.

        Returns how many were known, how many were not, and how many different ones those are. The places of the unknown
        ones go into `missing`, and beside them into `numbers` which of the different ones each is; `fresh` takes the
        place of one of each. `scratch` is zeroes, more than twice as many as there are addresses.
        """
        index: cython.Py_ssize_t
        entry: cython.Py_ssize_t
        place: cython.Py_ssize_t
        other: cython.Py_ssize_t
        high: cython.ulonglong
        low: cython.ulonglong
        hashed: cython.ulonglong
        size: cython.ulonglong = len(scratch)
        hits: cython.Py_ssize_t = 0
        misses: cython.Py_ssize_t = 0
        different: cython.Py_ssize_t = 0
        if len(scratch) < 2 * len(sizes) + 1:
            raise ValueError("the scratch is too small")
        with cython.nogil:
            for index in range(len(sizes)):
                if sizes[index] != 4 and sizes[index] != 16:
                    continue
                high = addresses[2 * index]
                low = addresses[2 * index + 1]
                hashed = self._hash(high, low)
                entry = self._find(hashed, high, low)
                if entry >= 0:
                    self._marks[entry] |= 2
                    out[2 * index] = self._entries[4 * entry + 2]
                    out[2 * index + 1] = self._entries[4 * entry + 3]
                    hits += 1
                    continue
                place = cython.cast(cython.Py_ssize_t, ((hashed >> 32) * size) >> 32)
                while scratch[place]:
                    other = fresh[scratch[place] - 1]
                    if addresses[2 * other] == high and addresses[2 * other + 1] == low:
                        break
                    place += 1
                    if place == len(scratch):
                        place = 0
                if scratch[place] == 0:
                    fresh[different] = cython.cast(cython.uint, index)
                    different += 1
                    scratch[place] = cython.cast(cython.uint, different)
                missing[misses] = cython.cast(cython.uint, index)
                numbers[misses] = scratch[place] - 1
                misses += 1
        return hits, misses, different

    def enter(
        self, addresses: cython.const[cython.ulonglong][::1], pseudonyms: cython.const[cython.ulonglong][::1]
    ) -> None:
        """Keep the pseudonyms of addresses of which none is there yet."""
        index: cython.Py_ssize_t
        with cython.nogil:
            for index in range(len(addresses) // 2):
                self._put(
                    addresses[2 * index],
                    addresses[2 * index + 1],
                    pseudonyms[2 * index],
                    pseudonyms[2 * index + 1],
                    0,
                )

    def move(self, entries: cython.const[cython.ulonglong][::1], marks: cython.const[cython.uchar][::1]) -> None:
        """Take over what another table held."""
        entry: cython.Py_ssize_t
        with cython.nogil:
            for entry in range(len(marks)):
                if marks[entry]:
                    self._put(
                        entries[4 * entry],
                        entries[4 * entry + 1],
                        entries[4 * entry + 2],
                        entries[4 * entry + 3],
                        marks[entry] & 2,
                    )

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _put(
        self,
        high: cython.ulonglong,
        low: cython.ulonglong,
        first: cython.ulonglong,
        second: cython.ulonglong,
        asked: cython.uint,
    ) -> cython.int:
        hashed: cython.ulonglong = self._hash(high, low)
        place: cython.ulonglong = ((hashed >> 32) * self._sets) >> 32
        chosen: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, place)
        entry: cython.Py_ssize_t = chosen * 8
        hand: cython.uint
        way: cython.Py_ssize_t
        for way in range(entry, entry + 8):
            if self._marks[way] == 0:
                self.used += 1
                break
        else:
            hand = self._hands[chosen]
            while self._marks[entry + hand] & 2:
                self._marks[entry + hand] ^= 2
                hand = (hand + 1) & 7
            way = entry + hand
            self._hands[chosen] = cython.cast(cython.uchar, (hand + 1) & 7)
            self.evicted += 1
        self._marks[way] = cython.cast(cython.uchar, (self._mark(hashed) ^ 2) | asked)
        self._entries[4 * way] = high
        self._entries[4 * way + 1] = low
        self._entries[4 * way + 2] = first
        self._entries[4 * way + 3] = second
        return 0
