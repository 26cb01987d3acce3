"""Reads the plain lines of a list of names, and leaves every other line to whoever called.

Plain is what nearly all lines are: ASCII letters, digits, hyphens, underscores and dots, as `name`, `*.name`, `.name`
or `||name^`, alone, before a comment, behind the address of a hosts file, or in a field of a csv record. Such a line
becomes names in wire form without an object for any of them. Nothing is refused here: a line that is not plain, be it
wrong or only rare, stops the reading, so that one reader alone decides what is an entry.
"""

from typing import Final

import cython

_KINDS: Final = {1: ".", 2: " \t\r\x0b\x0c", 3: "\n", 4: "#;", 5: ",", 6: '"'}


def _kinds() -> bytes:
    """What each octet is: an octet of a name as its lower case, one of those that mean something as above, else 0."""
    kinds = bytearray(256)
    for octet in range(128):
        if chr(octet).isalnum() or chr(octet) in "-_":
            kinds[octet] = ord(chr(octet).lower())
    for kind, characters in _KINDS.items():
        for character in characters:
            kinds[ord(character)] = kind
    return bytes(kinds)


@cython.final
@cython.cclass
class LineReader:
    """Reads lines of format `domains` and rows of format `csv` into buffers of its own.

    `largest` octets may be given to one call. After a call `names` begins with the names found, back to back in lower
    case wire form, `widths` with the octets of each, `lines` with the line of each. With `subtree` a plain `name`
    stands for everything below it, too. A line of more than `longest` octets is never plain.
    """

    names: cython.uchar[::1]
    widths: cython.uchar[::1]
    lines: cython.uint[::1]
    kinds: cython.const[cython.uchar][::1]
    largest: cython.Py_ssize_t
    longest: cython.Py_ssize_t
    subtree: cython.bint
    # how much of the buffers is used
    size: cython.Py_ssize_t
    count: cython.Py_ssize_t
    number: cython.Py_ssize_t

    def __init__(
        self, names: memoryview, widths: memoryview, lines: memoryview, *, longest: int, subtree: bool = False
    ) -> None:
        self.names = names
        self.widths = widths
        self.lines = lines
        self.kinds = _kinds()
        # "a\n" may stand for `a.` and `*.a.`, eight octets; and one name more may be begun before it turns out as none.
        self.largest = min((len(names) - 1024) // 4, len(widths) - 2, len(lines) - 2)
        self.longest = longest
        self.subtree = subtree
        self.size = 0
        self.count = 0
        self.number = 0

    def read_lines(
        self, data: cython.const[cython.uchar][::1], position: cython.Py_ssize_t, number: cython.Py_ssize_t
    ) -> tuple[int, int, int, int]:
        """Read `data`, which ends in LF, from the line at `position`, the `number`th, up to one that is not plain.

        Gives the position and the number of that line, or of the end; and how many octets and names were found.
        """
        self._begin(data, number)
        with cython.nogil:
            position = self._read_lines(data, self.names, self.kinds, position)
        return position, self.number, self.size, self.count

    def read_rows(
        self,
        data: cython.const[cython.uchar][::1],
        position: cython.Py_ssize_t,
        number: cython.Py_ssize_t,
        *,
        width: cython.Py_ssize_t,
        column: cython.Py_ssize_t,
    ) -> tuple[int, int, int, int]:
        """Like `read_lines`, of records with `width` fields on one line each; names are in field `column`, from 0."""
        self._begin(data, number)
        with cython.nogil:
            position = self._read_rows(data, self.names, self.kinds, position, width, column)
        return position, self.number, self.size, self.count

    @cython.cfunc
    @cython.exceptval(-1)
    def _begin(self, data: cython.const[cython.uchar][::1], number: cython.Py_ssize_t) -> cython.int:
        if len(data) > self.largest or (len(data) > 0 and data[len(data) - 1] != 10):
            raise ValueError("no whole lines, or too many at once")
        self.size = 0
        self.count = 0
        self.number = number
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _read_lines(
        self,
        data: cython.const[cython.uchar][::1],
        names: cython.uchar[::1],
        kinds: cython.const[cython.uchar][::1],
        position: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        end: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t = position
        begin: cython.Py_ssize_t
        size: cython.Py_ssize_t
        count: cython.Py_ssize_t
        word: cython.Py_ssize_t
        words: cython.Py_ssize_t
        kind: cython.int
        hosts: cython.bint
        while at < end:
            begin = at
            size = self.size
            count = self.count
            words = 0
            hosts = False
            while True:
                kind = kinds[data[at]]
                while kind == 2:
                    at += 1
                    kind = kinds[data[at]]
                if kind == 4:
                    while data[at] != 10:
                        at += 1
                elif kind != 3:
                    word = at
                    while kind != 2 and kind != 3:
                        at += 1
                        kind = kinds[data[at]]
                    words += 1
                    if words == 1 and _is_sink(data, word, at):
                        hosts = True
                        continue
                    if (words == 1 or hosts) and self._read_entry(data, names, kinds, word, at):
                        continue
                    words = -1
                break
            # Stopped at the line's end, or behind a word that is no plain entry, or one too many.
            if words < 0 or (hosts and words == 1) or at - begin > self.longest:
                self.size = size
                self.count = count
                return begin
            at += 1
            self.number += 1
        return at

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _read_rows(
        self,
        data: cython.const[cython.uchar][::1],
        names: cython.uchar[::1],
        kinds: cython.const[cython.uchar][::1],
        position: cython.Py_ssize_t,
        width: cython.Py_ssize_t,
        column: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        end: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t = position
        begin: cython.Py_ssize_t
        first: cython.Py_ssize_t
        last: cython.Py_ssize_t
        left: cython.Py_ssize_t
        right: cython.Py_ssize_t
        fields: cython.Py_ssize_t
        octet: cython.int
        plain: cython.bint
        while at < end:
            begin = at
            fields = 0
            left = right = 0
            plain = True
            if data[at] == 13 and data[at + 1] == 10:
                at += 1
            while data[at] != 10 or fields > 0:
                if data[at] == 34:
                    at += 1
                    first = at
                    while data[at] != 34 and data[at] != 10:
                        at += 1
                    last = at
                    if data[at] == 34:
                        at += 1
                    else:
                        plain = False  # its end is on another line, or nowhere
                    if data[at] == 13 and data[at + 1] == 10:
                        at += 1
                else:
                    first = at
                    while kinds[data[at]] != 5 and data[at] != 10 and data[at] != 34:
                        at += 1
                    last = at
                if fields == column:
                    left = first
                    right = last
                fields += 1
                octet = data[at]
                if octet != 44:
                    break
                at += 1
            if data[at] != 10 or not plain:
                return begin
            if fields > 0:
                while left < right and kinds[data[left]] == 2:
                    left += 1
                while left < right and kinds[data[right - 1]] == 2:
                    right -= 1
                if (
                    fields != width
                    or at - begin > self.longest
                    or left == right
                    or not self._read_entry(data, names, kinds, left, right)
                ):
                    return begin
            at += 1
            self.number += 1
        return at

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(-1)
    def _read_entry(
        self,
        data: cython.const[cython.uchar][::1],
        names: cython.uchar[::1],
        kinds: cython.const[cython.uchar][::1],
        first: cython.Py_ssize_t,
        last: cython.Py_ssize_t,
    ) -> cython.bint:
        """Keep the names that an entry stands for; false, and nothing is kept, when it is not plain."""
        at: cython.Py_ssize_t = self.size
        width: cython.Py_ssize_t
        i: cython.Py_ssize_t
        exact: cython.bint = True
        below: cython.bint = self.subtree
        if data[first] == 46:
            first += 1
            exact = False
        elif data[first] == 42 and last - first > 1 and data[first + 1] == 46:
            first += 2
            exact = False
        elif data[first] == 124 and last - first > 3 and data[first + 1] == 124 and data[last - 1] == 94:
            first += 2
            last -= 1
            below = True
        if not exact:
            names[at] = 1
            names[at + 1] = 42
            width = _read_name(data, names, kinds, first, last, at + 2)
            if width == 0 or width + 2 > 255:
                return False
            self._keep(width + 2)
            return True
        width = _read_name(data, names, kinds, first, last, at)
        if width == 0:
            return False
        self._keep(width)
        if below and width + 2 <= 255:
            names[at + width] = 1
            names[at + width + 1] = 42
            for i in range(width):
                names[at + width + 2 + i] = names[at + i]
            self._keep(width + 2)
        return True

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(-1)
    def _keep(self, width: cython.Py_ssize_t) -> cython.int:
        self.widths[self.count] = cython.cast(cython.uchar, width)
        self.lines[self.count] = cython.cast(cython.uint, self.number)
        self.count += 1
        self.size += width
        return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _read_name(
    data: cython.const[cython.uchar][::1],
    names: cython.uchar[::1],
    kinds: cython.const[cython.uchar][::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    at: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Put the wire form of a plain name at `at`; its octets, or 0. All of digits is not plain: it may be an address."""
    label: cython.Py_ssize_t = at
    end: cython.Py_ssize_t = at + 1
    i: cython.Py_ssize_t
    kind: cython.int
    digits: cython.bint = True
    if last - first > 255:
        return 0
    for i in range(first, last):
        kind = kinds[data[i]]
        if kind > 6:
            names[end] = cython.cast(cython.uchar, kind)
            end += 1
            if kind < 48 or kind > 57:
                digits = False
        elif kind == 1:
            if end - label == 1 or end - label > 64:
                return 0
            names[label] = cython.cast(cython.uchar, end - label - 1)
            label = end
            end += 1
        else:
            return 0
    if end - label > 1:
        if end - label > 64:
            return 0
        names[label] = cython.cast(cython.uchar, end - label - 1)
        label = end
        end += 1
    names[label] = 0
    if digits or end - at > 255:
        return 0
    return end - at


@cython.cfunc
@cython.nogil
@cython.exceptval(-1)
def _is_sink(data: cython.const[cython.uchar][::1], first: cython.Py_ssize_t, last: cython.Py_ssize_t) -> cython.bint:
    """Whether the word is 0.0.0.0, 127.0.0.1, :: or ::1; what else may begin a line of a hosts file is rare."""
    i: cython.Py_ssize_t
    tail: cython.Py_ssize_t = last - 6
    if last - first == 2 or last - first == 3:
        return data[first] == 58 and data[first + 1] == 58 and (last - first == 2 or data[first + 2] == 49)
    if last - first == 7:
        if data[first] != 48 or data[last - 1] != 48:
            return False
    elif last - first == 9:
        if data[first] != 49 or data[first + 1] != 50 or data[first + 2] != 55 or data[last - 1] != 49:
            return False
    else:
        return False
    for i in range(3):
        if data[tail + 2 * i] != 46:
            return False
    return data[tail + 1] == 48 and data[tail + 3] == 48
