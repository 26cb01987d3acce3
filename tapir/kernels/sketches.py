"""Sketches of clients, a great many at a time: hashes while they are few, registers from then on.

What each comes to is as `tapir.codec.hll` has it; here is where the hashes of a minute go. A key is one sketch. Its
hashes are chained entries, found by a table over all of them; with one hash more than the threshold they become 1024
registers of 4 bits, and their entries are free again. Nothing here allocates: `add` says where it ran out of room.

Strangers choose the hashes, so the table hashes them, and the key, again, under a secret.
"""

import cython

SLOT = 512
"""octets of the registers of a sketch"""


@cython.final
@cython.cclass
class Sketches:
    """The sketches, over buffers that `attach` hands in.

    `heads` (int32) and `counts` (uint32) have an item a key: 0 for no hash, the number of the first entry plus 1, or
    -1 - n for the registers number n; how many hashes it has, more than the threshold once it has had too many.
    `hashes` (uint64), `nexts` and `owners` (uint32) have an item an entry. `index` (uint32) is the table, of zeroes,
    and `registers` has SLOT octets for each sketch that needs them, zeroes where none has come yet.
    """

    _heads: cython.int[::1]
    _counts: cython.uint[::1]
    _hashes: cython.ulonglong[::1]
    _nexts: cython.uint[::1]
    _owners: cython.uint[::1]
    _index: cython.uint[::1]
    _registers: cython.uchar[::1]
    _secret: cython.ulonglong
    _odd: cython.ulonglong
    _all_ones: cython.ulonglong
    _size: cython.ulonglong
    _free: cython.Py_ssize_t
    _reached: cython.Py_ssize_t
    _slots: cython.Py_ssize_t
    _threshold: cython.uint
    entries = cython.declare(cython.Py_ssize_t, visibility="readonly")
    slots = cython.declare(cython.Py_ssize_t, visibility="readonly")

    def __init__(self, threshold: cython.uint, secret: cython.ulonglong, odd: cython.ulonglong) -> None:
        """`secret` and `odd` are random."""
        self._threshold = threshold
        self._secret = secret
        self._odd = odd | 1
        self._all_ones = 0xFFFFFFFFFFFFFFFF
        self._free = 0  # the first of the entries given back, plus 1
        self._reached = 0  # no entry from here on was ever used
        self.entries = 0
        self.slots = 0

    def attach(
        self,
        heads: cython.int[::1],
        counts: cython.uint[::1],
        hashes: cython.ulonglong[::1],
        nexts: cython.uint[::1],
        owners: cython.uint[::1],
        index: cython.uint[::1],
        registers: cython.uchar[::1],
    ) -> None:
        """Work on these, which hold what the ones before held, and more room. After another `index` call `rehash`."""
        if len(counts) != len(heads) or len(nexts) != len(hashes) or len(owners) != len(hashes):
            raise ValueError("the buffers of sketches do not fit each other")
        if len(index) < 2 * len(hashes) + 1:
            raise ValueError("the table of the sketches is too small")
        self._heads = heads
        self._counts = counts
        self._hashes = hashes
        self._nexts = nexts
        self._owners = owners
        self._index = index
        self._registers = registers
        self._size = len(index)
        self._slots = len(registers) // SLOT

    def rehash(self) -> None:
        """Put every hash that a key has into `index`, which is of zeroes."""
        key: cython.Py_ssize_t
        entry: cython.Py_ssize_t
        with cython.nogil:
            for key in range(len(self._heads)):
                entry = self._heads[key]
                while entry > 0:
                    self._index[self._place(self._hashes[entry - 1], key)] = cython.cast(cython.uint, entry)
                    entry = self._nexts[entry - 1]

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _home(self, value: cython.ulonglong, key: cython.ulonglong) -> cython.Py_ssize_t:
        value = ((value ^ self._secret) * self._odd) & self._all_ones
        value ^= value >> 32
        value = ((value + key) * self._odd) & self._all_ones
        value ^= value >> 29
        value = ((value ^ self._secret) * self._odd) & self._all_ones
        return cython.cast(cython.Py_ssize_t, ((value >> 32) * self._size) >> 32)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _place(self, value: cython.ulonglong, key: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where in the table this hash of this key is, or would be."""
        place: cython.Py_ssize_t = self._home(value, key)
        entry: cython.Py_ssize_t = self._index[place]
        while entry and not (self._hashes[entry - 1] == value and self._owners[entry - 1] == key):
            place += 1
            if place == len(self._index):
                place = 0
            entry = self._index[place]
        return place

    def add(
        self,
        keys: cython.const[cython.uint][::1],
        hashes: cython.const[cython.ulonglong][::1],
        number: cython.Py_ssize_t,
        spill: cython.bint,
    ) -> int:
        """Count each hash for its key, from `number` on; returns where there was no room for one more.

        Where there is no room for entries, and they are to `spill`, a key's hashes become registers before their time;
        its count stays below the threshold, which tells it from those whose time had come. Raises IndexError for a key
        that is none.
        """
        key: cython.Py_ssize_t
        place: cython.Py_ssize_t
        value: cython.ulonglong
        full: cython.bint
        with cython.nogil:
            while number < len(keys):
                key = keys[number]
                value = hashes[number]
                if value and self._heads[key] < 0:
                    self._set(-1 - cython.cast(cython.Py_ssize_t, self._heads[key]), value)
                elif value:
                    place = self._place(value, key)
                    if self._index[place] == 0:
                        full = self._free == 0 and self._reached == len(self._hashes)
                        if self._counts[key] == self._threshold or (full and spill):
                            if self.slots == self._slots:
                                break
                            self._promote(key, value)
                        elif full:
                            break
                        else:
                            self._append(key, value, place)
                number += 1
        return number

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _append(self, key: cython.Py_ssize_t, value: cython.ulonglong, place: cython.Py_ssize_t) -> cython.int:
        entry: cython.Py_ssize_t
        if self._free:
            entry = self._free - 1
            self._free = self._nexts[entry]
        else:
            entry = self._reached
            self._reached += 1
        self._hashes[entry] = value
        self._owners[entry] = cython.cast(cython.uint, key)
        self._nexts[entry] = self._heads[key]
        self._heads[key] = cython.cast(cython.int, entry + 1)
        self._counts[key] += 1
        self._index[place] = cython.cast(cython.uint, entry + 1)
        self.entries += 1
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _promote(self, key: cython.Py_ssize_t, value: cython.ulonglong) -> cython.int:
        """Make registers of the key's hashes and of one more, and free their entries."""
        slot: cython.Py_ssize_t = self.slots
        entry: cython.Py_ssize_t = self._heads[key]
        following: cython.Py_ssize_t
        self.slots += 1
        self._set(slot, value)
        while entry:
            self._set(slot, self._hashes[entry - 1])
            self._remove(self._place(self._hashes[entry - 1], key))
            following = self._nexts[entry - 1]
            self._nexts[entry - 1] = cython.cast(cython.uint, self._free)
            self._free = entry
            self.entries -= 1
            entry = following
        self._heads[key] = cython.cast(cython.int, -1 - slot)
        if self._counts[key] == self._threshold:
            self._counts[key] += 1
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _remove(self, place: cython.Py_ssize_t) -> cython.int:
        """Empty this place of the table; what was put further on for its sake moves up."""
        size: cython.Py_ssize_t = len(self._index)
        other: cython.Py_ssize_t = place
        entry: cython.Py_ssize_t
        home: cython.Py_ssize_t
        while True:
            self._index[place] = 0
            while True:
                other += 1
                if other == size:
                    other = 0
                entry = self._index[other]
                if entry == 0:
                    return 0
                home = self._home(self._hashes[entry - 1], self._owners[entry - 1])
                # It may move where its home is not between the gap and it, going round.
                if (home <= place or home > other) if place < other else (other < home <= place):
                    break
            self._index[place] = cython.cast(cython.uint, entry)
            place = other

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(-1)
    def _set(self, slot: cython.Py_ssize_t, value: cython.ulonglong) -> cython.int:
        at: cython.Py_ssize_t = slot * 512 + ((cython.cast(cython.Py_ssize_t, value & 0x3FF)) >> 1)
        low: cython.bint = value & 1  # the even register of a pair is the high half
        rest: cython.ulonglong = value >> 10
        found: cython.uint = 1
        pair: cython.uint = self._registers[at]
        if rest == 0:
            return 0
        while found < 15 and (rest & 1) == 0:
            rest >>= 1
            found += 1
        if low:
            if found > (pair & 15):
                self._registers[at] = cython.cast(cython.uchar, (pair & 0xF0) | found)
        elif found > (pair >> 4):
            self._registers[at] = cython.cast(cython.uchar, (found << 4) | (pair & 15))
        return 0

    def measure(
        self,
        keys: cython.const[cython.uint][::1],
        counts: cython.uint[::1],
        indicators: cython.uint[::1],
        zeroes: cython.ushort[::1],
        sizes: cython.ushort[::1],
    ) -> None:
        """What to say of each key: its count if that is exact, else 0 and what an estimate is made of.

        `indicators` takes the sums of 2^(15 - register), `zeroes` how many registers are 0. `sizes` takes the octets
        of the registers as they are stored, with three of header; 0 where they are not to be told: they stand for no
        more hashes than the threshold, or nobody knows.
        """
        index: cython.Py_ssize_t
        key: cython.Py_ssize_t
        at: cython.Py_ssize_t
        place: cython.Py_ssize_t
        total: cython.uint
        empty: cython.uint
        one: cython.uint = 1
        pair: cython.uint
        with cython.nogil:
            for index in range(len(keys)):
                key = keys[index]
                counts[index] = 0
                indicators[index] = 0
                zeroes[index] = 0
                sizes[index] = 0
                if self._heads[key] >= 0:
                    counts[index] = self._counts[key]
                    continue
                at = (-1 - cython.cast(cython.Py_ssize_t, self._heads[key])) * 512
                total = 0
                empty = 0
                for place in range(at, at + 512):
                    pair = self._registers[place]
                    total += (one << (15 - (pair >> 4))) + (one << (15 - (pair & 15)))
                    empty += (pair < 16) + ((pair & 15) == 0)
                indicators[index] = total
                zeroes[index] = cython.cast(cython.ushort, empty)
                if self._counts[key] > self._threshold:
                    sizes[index] = cython.cast(
                        cython.ushort, 515 if empty < 768 else 3 + ((1024 - empty) * 14 + 7) // 8
                    )

    def write(
        self,
        keys: cython.const[cython.uint][::1],
        starts: cython.const[cython.longlong][::1],
        shape: cython.uchar,
        cutoff: cython.uchar,
        out: cython.uchar[::1],
    ) -> None:
        """Store each key that has something to tell in `out`, from where `starts` says to where the next one starts."""
        index: cython.Py_ssize_t
        at: cython.Py_ssize_t
        to: cython.Py_ssize_t
        size: cython.Py_ssize_t
        place: cython.Py_ssize_t
        half: cython.Py_ssize_t
        value: cython.uint
        bits: cython.uint
        held: cython.uint
        with cython.nogil:
            for index in range(len(keys)):
                to = starts[index]
                size = starts[index + 1] - starts[index]
                if size == 0:
                    continue
                at = (-1 - cython.cast(cython.Py_ssize_t, self._heads[keys[index]])) * 512
                out[to] = 0x14 if size == 515 else 0x13
                out[to + 1] = shape
                out[to + 2] = cutoff
                to += 3
                if size == 515:
                    for place in range(512):
                        out[to + place] = self._registers[at + place]
                    continue
                bits = 0
                held = 0  # `bits` of them are still to be written
                for place in range(512):
                    for half in range(2):
                        value = (self._registers[at + place] >> (4 - 4 * half)) & 15
                        if value:
                            held = (held << 14) | (cython.cast(cython.uint, 2 * place + half) << 4) | value
                            bits += 14
                            while bits >= 8:
                                bits -= 8
                                out[to] = cython.cast(cython.uchar, (held >> bits) & 0xFF)
                                to += 1
                            held &= 0xFF
                if bits:
                    out[to] = cython.cast(cython.uchar, (held << (8 - bits)) & 0xFF)
