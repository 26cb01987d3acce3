"""Lists of names as comma-separated values: format `csv`, one entry a record (RFC 4180).

    rank,name,note               the header: skipped, but for the names of its columns
    1,evil.example,"so ""they"" say,
    on two lines"                a quoted field holds commas, line ends and doubled quotes
    2,.worse.example,            the entry may be any of format `domains`: name, *.name, .name, ||name^

The entry is in the second column, or in the one that the header calls by a given name. Blank lines are skipped,
lines end in LF or CRLF, there are no comments. Each record has as many fields as the header.

A record that is broken, or longer than `MAX_RECORD`, is refused with the number of its first line, and reading goes
on with the very next line: a quote that nobody closes must not swallow the names below it.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Final

from tapir.codec.lines import Lines
from tapir.codec.lists import MALFORMED, MAX_NAMES, FoundNames, ParsedList, RefusalTally, parse_entry
from tapir.model.errors import TapirError
from tapir.model.names import NameSyntaxError

MAX_RECORD: Final = 1 << 16
"""Octets of a record with the line ends inside it; a longer one is refused, and not held."""

_SECOND: Final = 1
_QUOTE: Final = b'"'
_TRIMMED: Final = 4096
"""How many lines that are done may pile up before those that were given back."""
# Possessive: what is not matched at once is never tried in another way, so a record takes time as its length.
_FIELD: Final = re.compile(rb'(?:"((?:[^"]++|"")*+)"|([^",]*+))(,|\Z)')


class ListShapeError(TapirError):
    """The header is missing or lacks the column with the names, so nothing of the list can be used."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"is no list in format csv: {reason}")
        self.reason = reason


def parse_csv(
    data: bytes | Iterable[bytes], *, column: str | None = None, subtree: bool = False, max_names: int = MAX_NAMES
) -> ParsedList:
    """Read a list in format `csv`, whole or in blocks of any size; entries come from `column`, else from the second.

    Whatever the octets, what is no entry is counted as refused and nothing is raised, but ListShapeError when the
    header does not say where the names are and ListTooLongError when there are more than `max_names`. An error of the
    iterable passes through. See `parse_entry` for `subtree`.
    """
    lines = Lines(data, longest=MAX_RECORD)
    records = _records(lines)
    header = next(records, None)
    if header is None:
        raise ListShapeError(reason="it is empty, and not even a header tells that it should be")
    width, position = _find_column(header[1], column)
    found = FoundNames(longest=MAX_RECORD, subtree=subtree, max_names=max_names)
    tally = RefusalTally()
    lines.skip = functools.partial(found.read_rows, width, position)
    for number, fields in records:
        try:
            if fields is None or len(fields) != width:
                tally.add(MALFORMED, number)
                continue
            found.add(parse_entry(fields[position].strip().decode(), subtree=subtree), number)
        except (NameSyntaxError, UnicodeDecodeError):
            tally.add(MALFORMED, number)
    return found.parsed(tally)


def _find_column(header: list[bytes] | None, column: str | None) -> tuple[int, int]:
    """How many fields a record has, and which of them is the entry. Raises ListShapeError."""
    if header is None:
        raise ListShapeError(reason="its header is broken, or too long")
    if column is None:
        if len(header) <= _SECOND:
            raise ListShapeError(reason="it has one column, and the second is read unless `column` names another")
        return len(header), _SECOND
    titles = [field.decode(errors="replace").strip() for field in header]
    wanted = column.strip()
    found = [place for place, title in enumerate(titles) if title == wanted] or [
        place for place, title in enumerate(titles) if title.casefold() == wanted.casefold()
    ]
    if len(found) != 1:
        shown = ", ".join(map(repr, titles[:10])) + (", ..." if len(titles) > 10 else "")
        raise ListShapeError(
            reason=f"{len(found) or 'none'} of its columns are called {wanted!r}; they are {shown[:400]}"
        )
    return len(header), found[0]


def _records(lines: Lines) -> Iterator[tuple[int, list[bytes] | None]]:
    """Each record that the kernel leaves, with the number of its first line; None for one broken or too long.

    A record ends where a line ends and its quotes are even in number; whether they also stand where they may is
    looked at then. A line is held twice at most: what follows a broken record up to the next odd line is all even.
    """
    ahead: list[tuple[int, bytes | None]] = []  # lines that were taken for a record and given back
    position = 0
    while True:
        if position == len(ahead) or position > _TRIMMED:
            del ahead[:position]
            position = 0
        if ahead:
            number, line = ahead[position]
            position += 1
        else:
            following = next(lines, None)
            if following is None:
                return
            number, line = following
        if line is None:
            yield number, None
            continue
        line = line.removesuffix(b"\r")
        if _QUOTE not in line:
            if line:
                yield number, line.split(b",")
            continue
        parts = [line]
        size = len(line)
        odd = line.count(_QUOTE) % 2 == 1
        end = position
        while odd:
            if end == len(ahead):
                following = lines.following()
                if following is None:
                    break
                ahead.append(following)
            more = ahead[end][1]
            if more is None or size + 1 + len(more) > MAX_RECORD:
                break
            end += 1
            size += 1 + len(more)
            parts.append(more.removesuffix(b"\r"))
            odd = more.count(_QUOTE) % 2 == 0
        fields = None if odd else _split(b"\n".join(parts))
        if fields is not None:
            position = end
        yield number, fields


def _split(record: bytes) -> list[bytes] | None:
    """The fields of a record, without their quotes; None when a quote stands where none may."""
    fields: list[bytes] = []
    position = 0
    while match := _FIELD.match(record, position):
        quoted, plain, comma = match.groups()
        fields.append(plain if quoted is None else quoted.replace(b'""', _QUOTE))
        if not comma:
            return fields
        position = match.end()
    return None
