"""Lists of names as text: format `domains`, one entry a line, from operators' own files and public blocklists.

    # comment            ; comment             blank lines, CRLF and a UTF-8 byte order mark are fine
    name                 that name, exactly
    *.name   .name       everything strictly below it, kept as the wildcard name `*.name` (RFC 4592)
    ||name^              the name and everything below it, kept as two names
    0.0.0.0 name name    a line of a hosts file: each of its names, exactly

A comment may also follow an entry after white space. What is not understood is refused with its line number,
and the rest is used. The parser takes blocks of octets and holds no more of a line than `MAX_LINE`.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from tapir.model.blocks import NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import Refusal
from tapir.model.names import MAX_NAME, ROOT, Name, NameSyntaxError, is_wildcard, parse_name

MAX_LINE: Final = 4096
"""Octets of a line; no entry needs more, and a longer line is refused without being held."""
MAX_NAMES: Final = 20_000_000
SHOWN_LINES: Final = 10
"""How many line numbers a refusal names."""

MALFORMED: Final = "malformed"

_BLOCK: Final = 1 << 16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SINKS: Final = frozenset(
    {b"0.0.0.0", b"127.0.0.1", b"::", b"::1", b"0", b"::0", b"0:0:0:0:0:0:0:0", b"0:0:0:0:0:0:0:1"}
)
_ADDRESS: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_WILDCARD: Final = b"\x01*"


class ListTooLongError(TapirError):
    """A list holds more names than are allowed; nothing of it is used."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"the list holds more than {limit} names")
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


def parse_domains(data: bytes | Iterable[bytes], *, max_names: int = MAX_NAMES) -> ParsedList:
    """Read a list in format `domains`, whole or in blocks of any size.

    Whatever the octets, what is no entry is counted as refused and nothing is raised, but ListTooLongError when
    there are more than `max_names` names. An error of the iterable passes through.
    """
    blocks = (data,) if isinstance(data, bytes) else data
    names = bytearray()
    offsets = array("I", (0,))
    lines = array("I")
    tally = RefusalTally()
    for number, line in numbered_lines(blocks, longest=MAX_LINE):
        words = _words(line)
        if words is None:
            tally.add(MALFORMED, number)
            continue
        for word in words:
            try:
                entry = parse_entry(word.decode())
            except (NameSyntaxError, UnicodeDecodeError):
                tally.add(MALFORMED, number)
                continue
            for name in entry:
                names += name
                offsets.append(len(names))
                lines.append(number)
        if len(lines) > max_names:
            raise ListTooLongError(limit=max_names)
    return ParsedList(
        names=NameBlock(data=bytes(names), offsets=offsets.tobytes()),
        lines=lines.tobytes(),
        refusals=tally.refusals(),
    )


def numbered_lines(blocks: Iterable[bytes], *, longest: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number from 1; None stands for one of more than `longest` octets, which is not held.

    Lines end in LF, which is taken off, a CR before it is not; a UTF-8 byte order mark at the very beginning is.
    """
    number = 1
    rest = b""
    too_long = False
    marked = True
    for part in _parts(blocks):
        lines = (rest + part).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if marked:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                marked = False
            yield number, None if too_long or len(line) > longest else line
            too_long = False
            number += 1
        if len(rest) > longest + (len(_BYTE_ORDER_MARK) if marked and rest.startswith(_BYTE_ORDER_MARK) else 0):
            too_long = True
        if too_long:
            rest = b""
    if too_long or rest:
        yield number, None if too_long else rest.removeprefix(_BYTE_ORDER_MARK) if marked else rest


def _parts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """`blocks` in parts that one call may split without keeping other threads waiting."""
    for block in blocks:
        if len(block) <= _BLOCK:
            yield block
        else:
            for start in range(0, len(block), _BLOCK):
                yield block[start : start + _BLOCK]


def _words(line: bytes | None) -> list[bytes] | None:
    """The words of `line` that should be entries; none for a comment, None when it is no line of a list."""
    if line is None:
        return None
    words = line.split()
    if len(words) > 1:
        for position, word in enumerate(words):
            if word[0] in b"#;":
                del words[position:]
                break
        if len(words) > 1:
            return words[1:] if words[0] in _SINKS else None
    elif words and words[0][0] in b"#;":
        return []
    return words


def parse_entry(text: str) -> tuple[Name, ...]:
    """The names that `name`, `*.name`, `.name` or `||name^` stands for. Raises NameSyntaxError."""
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
        name = _parse_base(text, text[2:-1])
        return (name, Name(_WILDCARD + name)) if _has_room_below(name) else (name,)
    if text[-1].isdigit() and _ADDRESS.fullmatch(text):
        raise NameSyntaxError(text=text, reason="it is an address")
    return (parse_name(text),)


def _parse_base(text: str, base: str) -> Name:
    name = parse_name(base)
    if is_wildcard(name):
        raise NameSyntaxError(text=text, reason="a wildcard cannot stand below a wildcard")
    return name


def _has_room_below(name: Name) -> bool:
    return len(name) + len(_WILDCARD) <= MAX_NAME
