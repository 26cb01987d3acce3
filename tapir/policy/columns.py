"""Who says what of which name: a bit a list, a word a slot, and tags where a list has them.

Bits make the common questions one operation a slot: is it on any allowlist, on which doubtlists, and what do
all wildcards above it add.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import ListDescription
from tapir.policy.table import STAR_OF_ROOT, Flags, NameTable, Nodes, Slots

TAPIR_LIST: Final = "dns-tapir"
"""The doubtlist whose tags the tag rules look at, and no other's (pop.md §5)."""

Words = npt.NDArray[np.uint64]
Tags = npt.NDArray[np.uint32]

T = TypeVar("T", bound=np.generic)

_WIDTH: Final = 64
_ONE: Final = np.uint64(1)
_NOTHING: Final = np.uint64(0)


class UnknownListError(TapirError):
    """A change speaks of a list that was never described; nothing was changed."""

    def __init__(self, *, source: str) -> None:
        super().__init__(f"no list is fed by source {source!r}")
        self.source = source


@attrs.frozen(kw_only=True, eq=False)
class Evidence:
    """What the rules look at, a row a slot."""

    allowed: Flags
    denied: Flags
    doubts: npt.NDArray[np.int32]
    """how many doubtlists hold it"""
    tags: Tags
    """what the doubtlist `dns-tapir` says of it"""


@attrs.frozen(kw_only=True)
class Place:
    """Where a list's bit is."""

    word: int
    bit: int

    @property
    def mask(self) -> np.uint64:
        """The bit, in its word."""
        return _ONE << np.uint64(self.bit)


class Columns:
    """The membership of all slots in all lists."""

    def __init__(self, lists: Sequence[ListDescription], table: NameTable) -> None:
        self.lists = tuple(lists)
        self._table = table
        self._places = {
            description.source: Place(word=index // _WIDTH, bit=index % _WIDTH)
            for index, description in enumerate(lists)
        }
        self._words: list[Words] = [np.zeros(0, np.uint64) for _ in range(-(-len(lists) // _WIDTH) or 1)]
        self._tags: dict[str, Tags] = {}
        self._allow = self._masks(ListKind.ALLOW)
        self._deny = self._masks(ListKind.DENY)
        # Two sources may feed one list, which then counts once.
        names = sorted({each.name for each in lists if each.kind is ListKind.DOUBT})
        self._doubts = [self._masks(ListKind.DOUBT, name) for name in names]
        self.stars = 0
        """how many wildcards are on some list"""

    def _masks(self, kind: ListKind, name: str | None = None) -> tuple[np.uint64, ...]:
        masks = [_NOTHING] * len(self._words)
        for description in self.lists:
            if description.kind is kind and name in (None, description.name):
                place = self._places[description.source]
                masks[place.word] |= place.mask
        return tuple(masks)

    def place_of(self, source: str) -> Place:
        """Where the bit of the list that `source` feeds is. Raises UnknownListError."""
        try:
            return self._places[source]
        except KeyError:
            raise UnknownListError(source=source) from None

    def grow(self) -> None:
        """Make room for every slot of the table."""
        want = 2 * self._table.extent
        if want > len(self._words[0]):
            self._words = [grown(words, want) for words in self._words]
        for source, tags in self._tags.items():
            if want > len(tags):
                self._tags[source] = grown(tags, want)

    def put(self, source: str, content: ListBlock) -> Slots:
        """The list of `source` holds `content`, of which the root and `*.` are left out; returns its slots."""
        slots = self._table.slots_of(content.names)
        tags = np.frombuffer(content.tags, np.uint32) if content.tags else np.zeros(len(slots), np.uint32)
        proper = slots > STAR_OF_ROOT
        slots, tags = slots[proper], tags[proper]
        if content.tags and source not in self._tags:
            self._tags[source] = np.zeros(0, np.uint32)
        self.grow()
        place = self._places[source]
        self._words[place.word][slots] |= place.mask
        self._count_stars(slots)
        if source in self._tags:
            self._tags[source][slots] = tags
        return slots

    def take(self, source: str, names: NameBlock) -> Slots:
        """The list of `source` does not hold `names` any more; returns the slots of those that anything is known of."""
        slots = self._table.known_slots_of(names)
        slots = slots[slots > STAR_OF_ROOT]
        place = self._places[source]
        self._words[place.word][slots] &= ~place.mask
        self._count_stars(slots)
        if source in self._tags:
            self._tags[source][slots] = 0
        return slots

    def _count_stars(self, changed: Slots) -> None:
        if (changed & 1).any():
            self.stars = int(np.count_nonzero(self.all_held()[1::2]))

    def all_held(self) -> Flags:
        """Whether any list has it as an entry, for each slot of the table."""
        self.grow()
        extent = 2 * self._table.extent
        held: Flags = self._words[0][:extent] != 0
        for words in self._words[1:]:
            held |= words[:extent] != 0
        return held

    def gather(self, slots: Slots) -> Evidence:
        """What the lists say of `slots`: by their own entry, and by every wildcard above them."""
        words = [column[slots] for column in self._words]
        told = [
            _Told(place=self._places[each.source], tags=self._tags[each.source], slots=slots, words=words)
            for each in self.lists
            if each.kind is ListKind.DOUBT and each.name == TAPIR_LIST and each.source in self._tags
        ]
        if self.stars:
            parents = self._table.parents
            above: Nodes = parents[slots >> 1]
            while above.any():
                stars = 2 * above + 1
                over = [column[stars] for column in self._words]
                for each in told:
                    each.ask(stars, over)
                for index, column in enumerate(over):
                    words[index] |= column
                above = parents[above]
        tags = np.zeros(len(slots), np.uint32)
        for each in told:
            tags |= each.answer
        doubts = np.zeros(len(slots), np.int32)
        for masks in self._doubts:
            doubts += _any(words, masks)
        return Evidence(allowed=_any(words, self._allow), denied=_any(words, self._deny), doubts=doubts, tags=tags)

    def entries(self, slot: int) -> Iterable[tuple[ListDescription, int, int]]:
        """Each list that holds `slot`, by which slot (its own, else the nearest star above), and with which tags."""
        path = tuple(self._table.path(slot))
        for description in self.lists:
            place = self._places[description.source]
            column = self._words[place.word]
            for at in path:
                if column[at] & place.mask:
                    tags = self._tags.get(description.source)
                    yield description, at, 0 if tags is None else int(tags[at])
                    break


class _Told:
    """What one list's tags are: those of a slot's own entry, else of the nearest wildcard above it."""

    def __init__(self, *, place: Place, tags: Tags, slots: Slots, words: list[Words]) -> None:
        self._word = place.word
        self._mask = place.mask
        self._tags = tags
        held = (words[place.word] & place.mask) != 0
        self.answer: Tags = np.where(held, tags[slots], np.uint32(0))
        self._open = ~held

    def ask(self, stars: Slots, words: list[Words]) -> None:
        found = self._open & ((words[self._word] & self._mask) != 0)
        self.answer = np.where(found, self._tags[stars], self.answer)
        self._open &= ~found


def _any(words: list[Words], masks: tuple[np.uint64, ...]) -> Flags:
    hit: Flags = (words[0] & masks[0]) != 0
    for column, mask in zip(words[1:], masks[1:], strict=True):
        hit |= (column & mask) != 0
    return hit


def grown(column: npt.NDArray[T], want: int) -> npt.NDArray[T]:
    """`column` with room for `want` values and half as many again, the new ones 0."""
    larger = np.zeros(want + want // 2, column.dtype)
    larger[: len(column)] = column
    return larger
