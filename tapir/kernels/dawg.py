"""DAWG files, bit by bit: is it one, which names does it hold, and what are they all.

The octets are hostile until `check` has passed: every bit that is read was compared with their length before. What
passed is read the same way, so that even octets that change under us lead nowhere else. Words become wire names and
the other way round here: a word is a name's text with the dot at its end, and begins with a dot where all names
strictly below are meant, which is the wildcard in wire form.

A character that is not plain in text has two spellings: ours, with an escape wherever one may be needed, and that of
the tools in Go. Each is found, and nothing else is taken for a name.
"""

import cython

# What `check` finds; `Nodes.bit` says where, `Nodes.found` and `Nodes.also` what.
OK = cython.declare(cython.int, 0)
ENDS = cython.declare(cython.int, 1)
LONG_NUMBER = cython.declare(cython.int, 2)
COUNTS_ONE = cython.declare(cython.int, 3)
UNORDERED_EDGES = cython.declare(cython.int, 4)
NO_CHARACTER = cython.declare(cython.int, 5)
NEEDLESS_ADDRESS = cython.declare(cython.int, 6)
TRAILING = cython.declare(cython.int, 7)
WRONG_CBITS = cython.declare(cython.int, 8)
WRONG_ABITS = cython.declare(cython.int, 9)
NO_NODE = cython.declare(cython.int, 10)
ENDLESS = cython.declare(cython.int, 11)
UNORDERED_NODES = cython.declare(cython.int, 12)
WRONG_SKIP = cython.declare(cython.int, 13)
TOO_MANY = cython.declare(cython.int, 14)
NO_WORD = cython.declare(cython.int, 15)
WRONG_NSKIP = cython.declare(cython.int, 16)
UNREACHED = cython.declare(cython.int, 17)
WRONG_COUNTS = cython.declare(cython.int, 18)
LONG_WORD = cython.declare(cython.int, 19)


@cython.cclass
class Nodes:
    """The nodes of one file, decoded where they lie, one at a time; not for two threads at once."""

    data: cython.const[cython.uchar][::1]
    length: cython.longlong
    root: cython.longlong
    cbits: cython.int
    abits: cython.int
    nskip_width: cython.int
    # The node at hand.
    final: cython.int
    counted: cython.int
    edges: cython.longlong
    nskip: cython.int
    width: cython.int
    """bits of an address, 0 when its only edge leads to the next record"""
    first: cython.longlong
    stride: cython.longlong
    end: cython.longlong
    behind: cython.longlong
    # What is wrong.
    bit: cython.longlong
    found: cython.longlong
    also: cython.longlong

    def __init__(
        self,
        data: cython.const[cython.uchar][::1],
        root: cython.longlong,
        cbits: cython.int,
        abits: cython.int,
        nskip_width: cython.int,
    ):
        self.data = data
        self.length = 8 * len(data)
        self.root = root
        self.cbits = cbits
        self.abits = abits
        self.nskip_width = nskip_width
        self.bit = self.found = self.also = -1
        self.behind = root

    def trouble(self) -> tuple[int, int, int]:
        """What `check` found: (at which bit, or -1, and two figures that depend on the code)."""
        return self.bit, self.found, self.also

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _take(self, start: cython.longlong, width: cython.int) -> cython.longlong:
        """`width` bits from `start`, at most 56; -1 when they are not all there."""
        end: cython.longlong = start + width
        if start < 0 or end > self.length:
            return -1
        at: cython.Py_ssize_t = start >> 3
        last: cython.Py_ssize_t = (end + 7) >> 3
        value: cython.longlong = 0
        while at < last - 1:
            value = value << 8 | self.data[at]
            at += 1
        # The last octet by itself: 63 bits are enough for 56 that begin anywhere.
        rest: cython.int = 8 - (-end & 7)
        if at < last:
            value = value << rest | self.data[at] >> (8 - rest)
        mask: cython.longlong = 1
        return value & ((mask << width) - 1)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _take_count(self, start: cython.longlong) -> cython.longlong:
        """The 7code at `start`, and `behind` it; -1 when there is none, `bit` and `found` saying why."""
        value: cython.longlong = 0
        limit: cython.longlong = 1
        group: cython.int
        octet: cython.longlong
        for group in range(5):
            octet = self._take(start + 8 * group, 8)
            if octet < 0:
                self.bit = start + 8 * group
                self.found = ENDS
                return -1
            value = value << 7 | octet & 0x7F
            if octet < 0x80:
                # As long as it must be: a value whose bits are all set takes a group more.
                if value >= (limit << (7 * (group + 1))) - 1 or (group > 0 and value < (limit << (7 * group)) - 1):
                    break
                self.behind = start + 8 * group + 8
                return value
        self.bit = start
        self.found = LONG_NUMBER
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _load(self, start: cython.longlong) -> cython.int:
        """Have the node at `start` at hand; what is wrong with its head, but not whether its edges are all there."""
        head: cython.longlong = self._take(start, 2)
        if head < 0:
            self.bit = start if start >= self.length else start + 1
            return ENDS
        self.final = head >> 1
        self.edges = 1
        self.counted = 0
        self.nskip = 0
        self.width = self.abits
        if head & 1:
            self.width = 0
            self.first = start + 2
        else:
            head = self._take(start + 2, 1)
            if head < 0:
                self.bit = start + 2
                return ENDS
            self.first = start + 3
            if head == 0:
                self.counted = 1
                self.edges = self._take_count(start + 3)
                if self.edges < 0:
                    return self.found
                head = self._take(self.behind, self.nskip_width)
                if head < 0:
                    self.bit = self.behind
                    return ENDS
                self.nskip = head
                self.first = self.behind + self.nskip_width
        self.stride = self.cbits + self.nskip + self.width
        self.end = self.first
        if self.edges:
            self.end += self.edges * self.stride - self.nskip
        return OK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _character(self, number: cython.longlong) -> cython.longlong:
        return self._take(self.first + number * self.stride - (self.nskip if number else 0), self.cbits)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _skip(self, number: cython.longlong) -> cython.longlong:
        if number == 0:
            return self.final
        return self._take(self.first + number * self.stride - self.nskip + self.cbits, self.nskip)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _target(self, number: cython.longlong) -> cython.longlong:
        if self.width == 0:
            return self.end
        return self._take(self.first + number * self.stride + self.cbits, self.width)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _step(self, character: cython.int) -> cython.int:
        """Have the node at hand that `character` leads to; 0 when there is none."""
        low: cython.longlong = 0
        high: cython.longlong = self.edges
        middle: cython.longlong
        found: cython.longlong
        while high - low > 1:
            middle = (low + high) >> 1
            if self._character(middle) <= character:
                low = middle
            else:
                high = middle
        if high == 0 or self._character(low) != character:
            return 0
        found = self._target(low)
        return 1 if self._load(found) == OK and self.end <= self.length else 0

    # Checking

    def check(
        self,
        nodes: cython.longlong,
        words: cython.longlong,
        prefixes: cython.longlong,
        marks: cython.uint[::1],
        ranks: cython.uint[::1],
        counts: cython.uint[::1],
        belows: cython.uint[::1],
        states: cython.uchar[::1],
        path: cython.longlong[::1],
        edges: cython.longlong[::1],
    ) -> cython.int:
        """Look at every bit behind the header; one of the codes above.

        `marks` is zero, with a bit for each bit of the file; `ranks` as long; the others have an element a node that
        the file has room for, `states` zero. `path` and `edges` may have fewer: then a word that makes a path as long
        as they are is refused. `words` and `prefixes` are below 2**31.
        """
        code: cython.int
        with cython.nogil:
            code = self._scan(nodes, marks)
            if code == OK:
                code = self._check_targets(nodes, marks)
            if code == OK:
                _rank(marks, ranks)
                code = self._walk(nodes, words, prefixes, marks, ranks, counts, belows, states, path, edges)
        return code

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _scan(self, nodes: cython.longlong, marks: cython.uint[::1]) -> cython.int:
        """All records, one behind the other up to the end; where they begin is marked."""
        position: cython.longlong = self.root
        highest: cython.longlong = 0
        addresses: cython.longlong = 0
        _: cython.longlong
        edge: cython.longlong
        character: cython.longlong
        last: cython.longlong
        code: cython.int
        for _ in range(nodes):
            code = self._load(position)
            if code != OK:
                return code
            self.bit = position
            if self.end > self.length:
                return ENDS
            if self.edges == 1 and self.counted:
                return COUNTS_ONE
            last = -1
            for edge in range(self.edges):
                character = self._character(edge)
                if character <= last:
                    return UNORDERED_EDGES
                if character > 0x10FFFF or 0xD800 <= character < 0xE000:
                    self.found = character
                    return NO_CHARACTER
                last = character
            if self.edges == 1 and self.width and self._target(0) == self.end:
                return NEEDLESS_ADDRESS
            if last > highest:
                highest = last
            if self.width:
                addresses += self.edges
            marks[position >> 5] |= cython.cast(cython.uint, 1) << (position & 31)
            position = self.end
        self.bit = position
        if self.length - position > 7 or self._take(position, self.length - position) != 0:
            return TRAILING
        self.bit = -1
        self.found = _bit_length(highest)
        if self.cbits != self.found:
            return WRONG_CBITS
        self.found = 1
        while _bit_length(position - addresses * self.abits + addresses * self.found) > self.found:
            self.found = _bit_length(position - addresses * self.abits + addresses * self.found)
        return OK if self.abits == self.found else WRONG_ABITS

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _check_targets(self, nodes: cython.longlong, marks: cython.uint[::1]) -> cython.int:
        """Whether each edge leads to where a record begins."""
        position: cython.longlong = self.root
        _: cython.longlong
        edge: cython.longlong
        target: cython.longlong
        for _ in range(nodes):
            if self._load(position) != OK:
                return ENDS
            for edge in range(self.edges):
                target = self._target(edge)
                if target < 0 or target >= self.length or not marks[target >> 5] >> (target & 31) & 1:
                    self.bit = target
                    return NO_NODE
            position = self.end
        return OK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _walk(
        self,
        nodes: cython.longlong,
        words: cython.longlong,
        prefixes: cython.longlong,
        marks: cython.uint[::1],
        ranks: cython.uint[::1],
        counts: cython.uint[::1],
        belows: cython.uint[::1],
        states: cython.uchar[::1],
        path: cython.longlong[::1],
        edges: cython.longlong[::1],
    ) -> cython.int:
        """Follow each edge once, depth first: nodes come in this order, none is behind itself, and counts are right."""
        depth: cython.Py_ssize_t = 0
        seen: cython.longlong = 1
        number: cython.Py_ssize_t
        target: cython.longlong
        code: cython.int
        _: cython.longlong
        path[0] = self.root
        edges[0] = 0
        states[0] = 1
        while depth >= 0:
            if self._load(path[depth]) != OK:
                return ENDS
            if edges[depth] < self.edges:
                target = self._target(edges[depth])
                edges[depth] += 1
                number = _number(marks, ranks, target)
                if states[number] == 1:
                    self.bit = target
                    return ENDLESS
                if states[number] == 0:
                    if number != seen:
                        self.bit = target
                        return UNORDERED_NODES
                    if depth + 1 >= len(path):
                        self.bit = target
                        return LONG_WORD
                    seen += 1
                    states[number] = 1
                    depth += 1
                    path[depth] = target
                    edges[depth] = 0
                continue
            number = _number(marks, ranks, path[depth])
            states[number] = 2
            code = self._count(path[depth], number, words, prefixes, marks, ranks, counts, belows)
            if code != OK:
                return code
            depth -= 1
        if seen != nodes:
            self.bit = self.root
            for _ in range(seen):
                if self._load(self.bit) != OK:
                    return ENDS
                self.bit = self.end
            return UNREACHED
        self.bit = -1
        self.found = counts[0]
        self.also = belows[0]
        return OK if self.found == words and self.also == prefixes else WRONG_COUNTS

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _count(
        self,
        start: cython.longlong,
        number: cython.Py_ssize_t,
        words: cython.longlong,
        prefixes: cython.longlong,
        marks: cython.uint[::1],
        ranks: cython.uint[::1],
        counts: cython.uint[::1],
        belows: cython.uint[::1],
    ) -> cython.int:
        """How many words and prefixes the node at hand leads to, whose targets are counted; it must say the same."""
        count: cython.longlong = self.final
        below: cython.longlong = 0
        edge: cython.longlong
        target: cython.Py_ssize_t
        self.bit = start
        for edge in range(self.edges):
            if self._skip(edge) != count:
                return WRONG_SKIP
            target = _number(marks, ranks, self._target(edge))
            count += counts[target]
            below += 1 + belows[target]
            if count > words or below > prefixes:
                # Said before numbers get out of hand: they can double with every node.
                return TOO_MANY
        if count == 0 and number:
            return NO_WORD
        if self.counted and self.nskip != _bit_length(count):
            return WRONG_NSKIP
        counts[number] = count
        belows[number] = below
        return OK

    # Looking names up

    def find(
        self,
        names: cython.const[cython.uchar][::1],
        offsets: cython.const[cython.uint][::1],
        first: cython.Py_ssize_t,
        last: cython.Py_ssize_t,
        flags: cython.uchar[::1],
    ) -> cython.longlong:
        """Whether names first..last-1 of a block are words: 1 or 0 into `flags`; how many are.

        A wildcard name asks for the word that stands for all below.
        """
        at: cython.Py_ssize_t
        hits: cython.longlong = 0
        hit: cython.int
        with cython.nogil:
            for at in range(first, last):
                hit = self._find(names, offsets[at], offsets[at + 1], 0)
                if hit == 2:
                    hit = self._find(names, offsets[at], offsets[at + 1], 1)
                flags[at - first] = hit & 1
                hits += hit & 1
        return hits

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _find(
        self,
        names: cython.const[cython.uchar][::1],
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        spelling: cython.int,
    ) -> cython.int:
        """1 when the name is a word, 0 when not, 2 when not but another spelling may be."""
        left: cython.int = 0
        octet: cython.int
        size: cython.int
        missed: cython.int = 0
        if end > len(names) or at >= end or self._load(self.root) != OK:
            return 0
        if end - at >= 3 and names[at] == 1 and names[at + 1] == 42:
            at += 2
            if names[at] == 0 or not self._step(46):
                return 0
        elif names[at] == 0:
            return 0
        left = names[at]
        at += 1
        while at < end:
            octet = names[at]
            at += 1
            if left == 0:
                return 0
            size = _spelling(octet, spelling)
            if size > 1:
                missed = 2
            if size == 1:
                if not self._step(octet):
                    return missed
            elif size == 2:
                if not self._step(92) or not self._step(octet):
                    return missed
            elif (
                not self._step(92)
                or not self._step(48 + octet // 100)
                or not self._step(48 + octet // 10 % 10)
                or not self._step(48 + octet % 10)
            ):
                return missed
            left -= 1
            if left == 0:
                if at >= end or not self._step(46):
                    return missed
                left = names[at]
                at += 1
                if left == 0:
                    return 1 if self.final else missed
        return 0


@cython.cclass
class Words:
    """Goes through the words of a file in order, a block at a time, and gives those that are names."""

    nodes: Nodes
    path: cython.longlong[::1]
    edges: cython.longlong[::1]
    text: cython.uchar[::1]
    subtree: cython.bint
    """whether a name that is no wildcard is written twice, the second time as the wildcard for all below it"""
    depth: cython.Py_ssize_t
    done: cython.int
    """whether there are no more"""
    index: cython.longlong
    """how many words were met"""
    octets: cython.longlong
    """how many characters they have"""
    refused: cython.longlong
    """how many of them are no names"""

    def __init__(
        self,
        nodes: Nodes,
        path: cython.longlong[::1],
        edges: cython.longlong[::1],
        text: cython.uchar[::1],
        subtree: cython.bint,
    ):
        """`path` and `edges` have an element a node at least, `text` as many as the longest word that is a name."""
        self.nodes = nodes
        self.path = path
        self.edges = edges
        self.text = text
        self.subtree = subtree
        self.depth = -1
        self.done = 0
        self.index = 0
        self.octets = 0
        self.refused = 0

    def progress(self) -> tuple[bool, int, int, int]:
        """(whether all is done, words met, their characters, how many are no names)."""
        return bool(self.done), self.index, self.octets, self.refused

    def fill(
        self,
        data: cython.uchar[::1],
        offsets: cython.uint[::1],
        numbers: cython.uint[::1],
        bad: cython.uint[::1],
        steps: cython.longlong,
        wanted: cython.const[cython.uchar][::1],
        wanted_offsets: cython.const[cython.uint][::1],
        table: cython.const[cython.int][::1],
    ) -> cython.Py_ssize_t:
        """Go on for `steps` steps or until `data` or `numbers` is full; how many names were written.

        Name i goes to data[offsets[i]:offsets[i + 1]], its place among the words, from 1, to numbers[i]; the places of
        the first words that are no names go to `bad`. With a `table` (see `tabulate`) only names strictly below one of
        `wanted` are written.
        """
        nodes: Nodes = self.nodes
        count: cython.Py_ssize_t
        with cython.nogil:
            count = self._fill(nodes, data, offsets, numbers, bad, steps, wanted, wanted_offsets, table)
        return count

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _fill(
        self,
        nodes: Nodes,
        data: cython.uchar[::1],
        offsets: cython.uint[::1],
        numbers: cython.uint[::1],
        bad: cython.uint[::1],
        steps: cython.longlong,
        wanted: cython.const[cython.uchar][::1],
        wanted_offsets: cython.const[cython.uint][::1],
        table: cython.const[cython.int][::1],
    ) -> cython.Py_ssize_t:
        count: cython.Py_ssize_t = 0
        room: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        edge: cython.longlong
        character: cython.longlong
        start: cython.longlong
        i: cython.Py_ssize_t
        offsets[0] = 0
        if self.depth < 0 and not self.done:
            start = nodes.root
            if nodes._load(start) != 0 or nodes.end > nodes.length:
                self.done = 1
                return count
            self.path[0] = start
            self.edges[0] = 0
            self.depth = 0
            if nodes.final:
                self._refuse(bad)
        while not self.done and steps > 0 and count + 1 < len(numbers) and room - at >= 512:
            steps -= 1
            if nodes._load(self.path[self.depth]) != 0 or nodes.end > nodes.length:
                self.done = 1
                break
            edge = self.edges[self.depth]
            if edge >= nodes.edges:
                self.depth -= 1
                if self.depth < 0:
                    self.done = 1
                continue
            self.edges[self.depth] += 1
            character = nodes._character(edge)
            start = nodes._target(edge)
            if self.depth < len(self.text):
                self.text[self.depth] = character if 0 <= character < 0x7F else 0xFF
            self.depth += 1
            if self.depth >= len(self.path) or nodes._load(start) != 0 or nodes.end > nodes.length:
                self.done = 1
                break
            self.path[self.depth] = start
            self.edges[self.depth] = 0
            if not nodes.final:
                continue
            size = 0
            if self.depth <= len(self.text):
                size = _parse(self.text, self.depth, data, at)
            if size == 0:
                self._refuse(bad)
                continue
            self.index += 1
            self.octets += self.depth
            if len(table) and not _is_below(data, at, size, wanted, wanted_offsets, table):
                continue
            numbers[count] = self.index
            at += size
            count += 1
            offsets[count] = at
            if self.subtree and size <= 253 and (data[at - size] != 1 or data[at - size + 1] != 42):
                numbers[count] = self.index
                data[at] = 1
                data[at + 1] = 42
                for i in range(size):
                    data[at + 2 + i] = data[at - size + i]
                at += size + 2
                count += 1
                offsets[count] = at
        return count

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-2)
    def _refuse(self, bad: cython.uint[::1]) -> cython.int:
        self.index += 1
        self.octets += self.depth
        if self.refused < len(bad):
            bad[self.refused] = self.index
        self.refused += 1
        return 0


def tabulate(
    names: cython.const[cython.uchar][::1],
    offsets: cython.const[cython.uint][::1],
    table: cython.int[::1],
) -> cython.int:
    """Enter the names of a block into `table`, zero and at least twice as long and a power of two, for `Words.fill`."""
    mask: cython.longlong = len(table) - 1
    number: cython.Py_ssize_t
    slot: cython.longlong
    with cython.nogil:
        for number in range(len(offsets) - 1):
            slot = _hash(names, offsets[number], offsets[number + 1]) & mask
            while table[slot]:
                slot = (slot + 1) & mask
            table[slot] = number + 1
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _hash(octets: cython.const[cython.uchar][::1], at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    value: cython.longlong = 5381
    while at < end:
        value = (value * 33 ^ octets[at]) & 0x7FFFFFFF
        at += 1
    return value ^ value >> 15


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _is_below(
    octets: cython.const[cython.uchar][::1],
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    wanted: cython.const[cython.uchar][::1],
    wanted_offsets: cython.const[cython.uint][::1],
    table: cython.const[cython.int][::1],
) -> cython.int:
    """Whether the name, or of a wildcard what it stands below of, is strictly below one of `wanted`."""
    end: cython.Py_ssize_t = at + size
    mask: cython.longlong = len(table) - 1
    slot: cython.longlong
    number: cython.Py_ssize_t
    one: cython.Py_ssize_t
    other: cython.Py_ssize_t
    if size > 2 and octets[at] == 1 and octets[at + 1] == 42:
        at += 2
    while octets[at]:
        at += 1 + octets[at]
        slot = _hash(octets, at, end) & mask
        while table[slot]:
            number = table[slot] - 1
            one = at
            other = wanted_offsets[number]
            if wanted_offsets[number + 1] - other == end - at:
                while one < end and octets[one] == wanted[other]:
                    one += 1
                    other += 1
                if one == end:
                    return 1
            slot = (slot + 1) & mask
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _parse(
    text: cython.uchar[::1], length: cython.Py_ssize_t, out: cython.uchar[::1], start: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """The word in `text` as a wire name from out[start], which has room for 256 octets; its length, 0 if it is none."""
    i: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t = start
    label: cython.Py_ssize_t
    plain: cython.int = 1
    octet: cython.int
    if length == 0:
        return 0
    if text[0] == 46:
        i = 1
        if length > 1:
            out[at] = 1
            out[at + 1] = 42
            at += 2
    label = at
    at += 1
    while i < length:
        octet = text[i]
        i += 1
        if octet == 46:
            if at == label + 1:
                return 0
            out[label] = at - label - 1
            label = at
            at += 1
            continue
        if not _is_plain(octet):
            plain = 0
            if octet == 92:
                if i >= length:
                    return 0
                octet = text[i]
                i += 1
                if 48 <= octet <= 57:
                    if i + 1 >= length or not (48 <= text[i] <= 57 and 48 <= text[i + 1] <= 57):
                        return 0
                    octet = (octet - 48) * 100 + (text[i] - 48) * 10 + text[i + 1] - 48
                    i += 2
                    if octet > 255:
                        return 0
            if 65 <= octet <= 90:
                return 0
        out[at] = octet
        at += 1
        # 255 octets with the root, of which the place is taken already.
        if at - label > 64 or at - start > 254:
            return 0
    if at != label + 1:
        return 0  # the last label has no dot behind it
    out[label] = 0
    if not plain and not _is_spelt(text, length, out, start, at, 0) and not _is_spelt(text, length, out, start, at, 1):
        return 0
    if text[0] != 46 and at > start + 2 and out[start] == 1 and out[start + 1] == 42:
        return 0  # the star itself, which is no name that a query has
    return at - start


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _is_spelt(
    text: cython.uchar[::1],
    length: cython.Py_ssize_t,
    name: cython.uchar[::1],
    at: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    spelling: cython.int,
) -> cython.int:
    """Whether `text` is the name in this spelling."""
    i: cython.Py_ssize_t = 0
    left: cython.int
    octet: cython.int
    size: cython.int
    if text[0] == 46:
        at += 2
        i = 1
    while at < end and name[at]:
        left = name[at]
        at += 1
        while left:
            octet = name[at]
            at += 1
            left -= 1
            size = _spelling(octet, spelling)
            if i + size >= length:
                return 0
            if size == 1:
                if text[i] != octet:
                    return 0
            elif text[i] != 92:
                return 0
            elif size == 2:
                if text[i + 1] != octet:
                    return 0
            elif (
                text[i + 1] != 48 + octet // 100
                or text[i + 2] != 48 + octet // 10 % 10
                or text[i + 3] != 48 + octet % 10
            ):
                return 0
            i += size
        if text[i] != 46:
            return 0
        i += 1
    return 1 if i == length else 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _is_plain(octet: cython.int) -> cython.int:
    return 97 <= octet <= 122 or 48 <= octet <= 57 or octet == 45 or octet == 95


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _spelling(octet: cython.int, spelling: cython.int) -> cython.int:
    """How many characters spell `octet`: 1 itself, 2 with a backslash, 4 in digits."""
    if _is_plain(octet):
        return 1
    if octet < 33 or octet > 126:
        return 2 if spelling and octet == 32 else 4
    if spelling == 0:
        return 2
    if octet == 46 or octet == 39 or octet == 64 or octet == 59 or octet == 40 or octet == 41:
        return 2
    return 2 if octet == 34 or octet == 92 else 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _bit_length(value: cython.longlong) -> cython.int:
    width: cython.int = 0
    while value > 0:
        value >>= 1
        width += 1
    return width


@cython.cfunc
@cython.nogil
@cython.exceptval(-2)
def _rank(marks: cython.uint[::1], ranks: cython.uint[::1]) -> cython.int:
    """How many marks there are before each word of `marks`."""
    count: cython.uint = 0
    at: cython.Py_ssize_t
    for at in range(len(marks)):
        ranks[at] = count
        count += _ones(marks[at])
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _ones(word: cython.uint) -> cython.int:
    word = word - (word >> 1 & 0x55555555)
    word = (word & 0x33333333) + (word >> 2 & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    word = word + (word >> 8)
    return (word + (word >> 16)) & 0x3F


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(-2)
def _number(marks: cython.uint[::1], ranks: cython.uint[::1], position: cython.longlong) -> cython.Py_ssize_t:
    """The number of the node that begins at `position`."""
    word: cython.uint = marks[position >> 5]
    one: cython.uint = 1
    return ranks[position >> 5] + _ones(word & ((one << (position & 31)) - 1))
