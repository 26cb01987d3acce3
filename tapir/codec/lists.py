"""Lists of names as text: format `domains`, one entry a line, from operators' own files and public blocklists.

    # comment            ; comment             blank lines, CRLF and a UTF-8 byte order mark are fine
    name                 that name, exactly; in a list of subtrees the same as ||name^
    *.name   .name       everything strictly below it, kept as the wildcard name `*.name` (RFC 4592)
    ||name^              the name and everything below it, kept as two names
    0.0.0.0 name name    a line of a hosts file: each of its names, exactly

A comment may also follow an entry after white space. What is not understood is refused with its line number,
and the rest is used. The parser takes blocks of octets and holds no more of a line than `MAX_LINE`.
"""

import io
import re
import sys
from collections.abc import Iterable
from typing import Final

import attrs
import numpy as np

from tapir.codec.lines import Lines, largest_chunk
from tapir.kernels.lists import LineReader
from tapir.model.blocks import NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import Refusal
from tapir.model.names import MAX_NAME, ROOT, Name, NameSyntaxError, is_wildcard, parse_name

MAX_LINE: Final = 4096
"""Octets of a line; no entry needs more, and a longer line is refused without being held."""
MAX_NAMES: Final = 20_000_000
MAX_OCTETS: Final = (1 << 32) - 1
"""Octets of all names in wire form: what the offsets of a block can tell."""
SHOWN_LINES: Final = 10
"""How many line numbers a refusal names."""

MALFORMED: Final = "malformed"


_SINKS: Final = frozenset(
    {b"0.0.0.0", b"127.0.0.1", b"::", b"::1", b"0", b"::0", b"0:0:0:0:0:0:0:0", b"0:0:0:0:0:0:0:1"}
)
_ADDRESS: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_WILDCARD: Final = b"\x01*"


class ListTooLongError(TapirError):
    """A list holds more names than are allowed; nothing of it is used."""

    def __init__(self, *, limit: int, unit: str = "names") -> None:
        super().__init__(f"the list holds more than {limit} {unit}")
        self.limit = limit


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ParsedList:
    """What a list says, in its order, before anybody asked whether it may say so.

    `lines` holds one native uint32 a name: the line that it came from.
    """

    names: NameBlock
    lines: bytes
    refusals: tuple[Refusal, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<ParsedList of {len(self)} names, {sum(refusal.count for refusal in self.refusals)} refused>"


class RefusalTally:
    """Counts refused lines by reason and keeps the first few numbers of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lines: dict[str, list[int]] = {}
        self._latest: dict[str, int] = {}

    def add(self, reason: str, line: int) -> None:
        """Count `line` as refused for `reason`, once; lines come in ascending order."""
        if self._latest.get(reason) == line:
            return
        self._latest[reason] = line
        self._counts[reason] = self._counts.get(reason, 0) + 1
        lines = self._lines.setdefault(reason, [])
        if len(lines) < SHOWN_LINES:
            lines.append(line)

    def refusals(self) -> tuple[Refusal, ...]:
        """What was counted, by reason in alphabetical order."""
        return tuple(
            Refusal(reason=reason, count=self._counts[reason], lines=tuple(self._lines[reason]))
            for reason in sorted(self._counts)
        )


def merge_refusals(first: Iterable[Refusal], second: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """What two looks at the same list refused, as one, by reason in alphabetical order."""
    merged: dict[str, Refusal] = {}
    for refusal in (*first, *second):
        known = merged.get(refusal.reason)
        if known is not None:
            lines = sorted({*known.lines, *refusal.lines})[:SHOWN_LINES]
            refusal = Refusal(reason=refusal.reason, count=known.count + refusal.count, lines=tuple(lines))
        merged[refusal.reason] = refusal
    return tuple(merged[reason] for reason in sorted(merged))


def parse_domains(data: bytes | Iterable[bytes], *, subtree: bool = False, max_names: int = MAX_NAMES) -> ParsedList:
    """Read a list in format `domains`, whole or in blocks of any size; see `parse_entry` for `subtree`.

    Whatever the octets, what is no entry is counted as refused and nothing is raised, but ListTooLongError when
    there are more than `max_names` names. An error of the iterable passes through.
    """
    found = FoundNames(longest=MAX_LINE, subtree=subtree, max_names=max_names)
    tally = RefusalTally()
    lines = Lines(data, longest=MAX_LINE, skip=found.read_lines)
    for number, line in lines:
        words = _words(line)
        if words is None:
            tally.add(MALFORMED, number)
            continue
        for word in words:
            try:
                found.add(parse_entry(word.decode(), subtree=subtree), number)
            except (NameSyntaxError, UnicodeDecodeError):
                tally.add(MALFORMED, number)
    return found.parsed(tally)


class FoundNames:
    """Collects the names of a list, in its order: those that the kernel finds, and others one by one.

    Raises ListTooLongError as soon as it is known.
    """

    def __init__(self, *, longest: int, subtree: bool, max_names: int) -> None:
        largest = largest_chunk(longest)
        self._buffers = (
            memoryview(bytearray(4 * largest + 1024)),
            memoryview(bytearray(largest + 2)),
            memoryview(bytearray(4 * (largest + 2))),
        )
        names, widths, lines = self._buffers
        self._reader = LineReader(names, widths, lines.cast("I"), longest=longest, subtree=subtree)
        # Grown in place, and what they grew to is handed out without being copied.
        self._names, self._widths, self._lines = io.BytesIO(), io.BytesIO(), io.BytesIO()
        self._max_names = max_names
        self._count = 0

    def read_lines(self, chunk: bytes, position: int, number: int) -> tuple[int, int]:
        """Take the plain lines from the `number`th at `position` on: where it stopped, and at which line."""
        position, number, size, count = self._reader.read_lines(chunk, position, number)
        self._take(size, count)
        return position, number

    def read_rows(self, width: int, column: int, chunk: bytes, position: int, number: int) -> tuple[int, int]:
        """The same with csv records of `width` fields and the entry in field `column`."""
        position, number, size, count = self._reader.read_rows(chunk, position, number, width=width, column=column)
        self._take(size, count)
        return position, number

    def add(self, names: Iterable[Name], line: int) -> None:
        """Take the names that were found in `line` in another way."""
        for name in names:
            self._names.write(name)
            self._widths.write(bytes((len(name),)))
            self._lines.write(line.to_bytes(4, sys.byteorder))
            self._count += 1
        self._check()

    def parsed(self, tally: RefusalTally) -> ParsedList:
        """All of it."""
        widths = np.frombuffer(self._widths.getvalue(), np.uint8)
        offsets = np.zeros(len(widths) + 1, np.uint32)
        np.cumsum(widths, out=offsets[1:])
        return ParsedList(
            names=NameBlock(data=self._names.getvalue(), offsets=offsets.tobytes()),
            lines=self._lines.getvalue(),
            refusals=tally.refusals(),
        )

    def _take(self, size: int, count: int) -> None:
        if count:
            names, widths, lines = self._buffers
            self._names.write(names[:size])
            self._widths.write(widths[:count])
            self._lines.write(lines[: 4 * count])
            self._count += count
            self._check()

    def _check(self) -> None:
        if self._count > self._max_names:
            raise ListTooLongError(limit=self._max_names)
        if self._names.tell() > MAX_OCTETS:
            raise ListTooLongError(limit=MAX_OCTETS, unit="octets of names")


def _words(line: bytes | None) -> list[bytes] | None:
    """The words of `line` that should be entries; none for a comment, None when it is no line of a list."""
    if line is None:
        return None
    words = line.split()
    for position, word in enumerate(words):
        if word[0] in b"#;":
            del words[position:]
            break
    if len(words) > 1:
        return words[1:] if words[0] in _SINKS else None
    return words


def parse_entry(text: str, *, subtree: bool = False) -> tuple[Name, ...]:
    """The names that `name`, `*.name`, `.name` or `||name^` stands for; with `subtree` a plain `name` as `||name^`.

    Raises NameSyntaxError.
    """
    if not text:
        raise NameSyntaxError(text=text, reason="it is empty")
    if text[0] == "." and text != ".":
        name = _parse_base(text, text[1:])
        if not _has_room_below(name) or name == ROOT:
            raise NameSyntaxError(
                text=text, reason="it has an empty label" if name == ROOT else "no name fits below it"
            )
        return (Name(_WILDCARD + name),)
    if text[0] == "|":
        if not (text.startswith("||") and text.endswith("^")):
            raise NameSyntaxError(text=text, reason="`||` wants a `^` at its end and nothing after it")
        return _with_below(_parse_base(text, text[2:-1]))
    if text[-1].isdigit() and _ADDRESS.fullmatch(text):
        raise NameSyntaxError(text=text, reason="it is an address")
    name = parse_name(text)
    return _with_below(name) if subtree and not is_wildcard(name) else (name,)


def _with_below(name: Name) -> tuple[Name, ...]:
    return (name, Name(_WILDCARD + name)) if _has_room_below(name) else (name,)


def _parse_base(text: str, base: str) -> Name:
    name = parse_name(base)
    if is_wildcard(name):
        raise NameSyntaxError(text=text, reason="a wildcard cannot stand below a wildcard")
    return name


def _has_room_below(name: Name) -> bool:
    return len(name) + len(_WILDCARD) <= MAX_NAME
