"""The names that sources hold, page by page, for people and other programs to look at."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from actors import Context
from tapir.codec.columns import name_of, offsets_of, scratch
from tapir.codec.entries import find, put_in_order, take_entries
from tapir.kernels.entries import select
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import MOST_NAMES, GetListNames, ListedNames, ListNamesPage, SourceStatus
from tapir.model.names import Name, parse_name
from tapir.services.evaluator.roster import SourceContent, SourceState

_NOTHING: Final = ListBlock(names=EMPTY_NAMES)
_MOST: Final = 4
"""so many are answered at once"""


class ListNamesError(TapirError):
    """There is no such source, or no such place in a list to go on from."""


class NameDesk:
    """Looks for names in the background of the list keeper: lists change meanwhile, and an answer is of one moment."""

    def __init__(self) -> None:
        self._answering = 0

    def answer(
        self,
        ctx: Context[Any],
        message: GetListNames,
        statuses: Sequence[SourceStatus],
        states: Mapping[str, SourceState],
    ) -> None:
        """Answer `message` by these states, or say at once why not."""
        reply = ctx.defer_reply()
        try:
            if self._answering >= _MOST:
                raise ListNamesError("names are looked for by too many at once; ask again in a moment")
            sources = select_sources(statuses, message.source)
        except ListNamesError as exc:
            reply.fail(exc)
            return
        asked = tuple((status, states[status.id].content) for status in sources)
        self._answering += 1

        async def look() -> None:
            try:
                reply.send(await ctx.run_blocking(page_of, asked, message))
            except TapirError as exc:
                reply.fail(exc)
            finally:
                self._answering -= 1

        ctx.start_soon(look, name="list names")


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
    """The page that is `asked` for, of these sources; for a worker. Raises ListNamesError or NameSyntaxError."""
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
