"""The names that sources hold, page by page, for people and other programs to look at. Blocking: for a worker."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tapir.codec.columns import name_of, offsets_of, scratch
from tapir.codec.entries import find, put_in_order, take_entries
from tapir.kernels.entries import select
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import MOST_NAMES, GetListNames, ListedNames, ListNamesPage, SourceStatus
from tapir.model.names import Name, parse_name
from tapir.services.evaluator.roster import SourceContent

_NOTHING: Final = ListBlock(names=EMPTY_NAMES)


class ListNamesError(TapirError):
    """There is no such source, or no such place in a list to go on from."""


def select_sources(statuses: Sequence[SourceStatus], source: str) -> tuple[SourceStatus, ...]:
    """The source of that id, or all where it is empty. Raises ListNamesError."""
    if not source:
        return tuple(statuses)
    found = tuple(each for each in statuses if each.id == source)
    if not found:
        known = ", ".join(sorted(each.id for each in statuses)) or "there are none"
        raise ListNamesError(f"there is no source {source!r}; known are: {known}")
    return found


def page_of(sources: Sequence[tuple[SourceStatus, SourceContent | None]], asked: GetListNames) -> ListNamesPage:
    """The page that is `asked` for, of these sources. Raises ListNamesError or NameSyntaxError."""
    room = max(1, min(asked.limit, MOST_NAMES))
    suffix = b"" if asked.suffix in ("", ".") else parse_name(asked.suffix)
    part = asked.containing.lower().encode()
    place, after = _place_of(asked.cursor, [status.id for status, _ in sources])
    parts: list[ListedNames] = []
    following = ""
    for status, content in sources[place:]:
        block = content.whole() if content is not None else _NOTHING
        if isinstance(block, LookupList):
            continue
        if not room:
            following = f"{status.id}/"
            break
        found, ended = _select(put_in_order(block), after, suffix, part, room)
        after = None
        if len(found):
            parts.append(ListedNames(source=status.id, entries=found))
            room -= len(found)
        if not ended:
            following = f"{status.id}/{name_of(found.names, len(found) - 1).hex()}"
            break
    return ListNamesPage(
        parts=tuple(parts),
        next=following,
        sources=tuple(status for status, _ in sources),
        unlisted=tuple(
            status.id for status, content in sources if content is not None and isinstance(content.block, LookupList)
        ),
    )


def _place_of(cursor: str, known: list[str]) -> tuple[int, Name | None]:
    """Which source to go on with, and behind which of its names, None for from its first."""
    if not cursor:
        return 0, None
    source, _, name = cursor.rpartition("/")
    try:
        return known.index(source), Name(bytes.fromhex(name)) if name else None
    except ValueError:
        raise ListNamesError("there is no such place to go on from; begin anew") from None


def _select(block: ListBlock, after: Name | None, suffix: bytes, part: bytes, room: int) -> tuple[ListBlock, bool]:
    """At most `room` entries behind `after` that are looked for, and whether there are no more of them."""
    first = 0
    if after is not None:
        places, same = find(block.names, NameBlock.of([after]))
        first = int(places[0]) + int(same[0])
    out = np.empty(room, np.uint32)
    count, reached = select(block.names.data, offsets_of(block.names), first, suffix, part, scratch(), out.data)
    return take_entries(block, out[:count]), reached == len(block)
