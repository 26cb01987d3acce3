"""Who says what of which name: a bit a list, a word a slot, and tags where a list has them.

Bits make the common questions one operation a slot: is it on any allowlist, on which doubtlists, and what do
all wildcards above it add.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import ListDescription
from tapir.policy.storage import SlotColumn
from tapir.policy.table import CHUNK, STAR_OF_ROOT, Flags, NameTable, Nodes, Slots

TAPIR_LIST: Final = "dns-tapir"
"""The doubtlist whose tags the tag rules look at, and no other's (pop.md §5)."""

Words = npt.NDArray[np.unsignedinteger[Any]]
"""Bits of lists, a row a slot; as wide as there are lists, up to 64, and several where there are more."""
Tags = npt.NDArray[np.uint32]
Ranks = npt.NDArray[np.uint8]
"""`Action.rank` a row."""
Masks = tuple[tuple[int, np.unsignedinteger[Any]], ...]
"""Some lists: the words that have their bits, and which bits."""
Groups = tuple[tuple[int, Masks], ...]
"""Some lists by a number that they have, the least first."""

T = TypeVar("T", bound=np.generic)

_WIDTH: Final = 64
_NARROW: Final = ((8, np.uint8), (16, np.uint16), (32, np.uint32))


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
    """whether a denylist holds it"""
    denied_by_default: Flags
    """whether one without an action of its own does"""
    denied_rank: Ranks
    """the rank of the most restrictive action that a denylist holding it has of its own; 0 where none has one"""
    doubted: Flags
    """whether a doubtlist holds it"""
    doubts: npt.NDArray[np.int64]
    """the weights of the doubtlists that hold it, summed"""
    doubted_rank: Ranks
    """as `denied_rank`, of doubtlists"""
    tags: Tags
    """what the doubtlist `dns-tapir` says of it"""


@attrs.frozen(kw_only=True)
class Place:
    """Where a list's bit is."""

    word: int
    mask: np.unsignedinteger[Any]


class Columns:
    """The membership of all slots in all lists."""

    def __init__(self, lists: Sequence[ListDescription], table: NameTable) -> None:
        self._table = table
        dtype: type[np.unsignedinteger[Any]] = next((each for bits, each in _NARROW if len(lists) <= bits), np.uint64)
        self._places = {
            description.source: Place(word=index // _WIDTH, mask=dtype(1 << index % _WIDTH))
            for index, description in enumerate(lists)
        }
        self._words = [SlotColumn(dtype) for _ in range(-(-len(lists) // _WIDTH) or 1)]
        self._tags: dict[str, SlotColumn[np.uint32]] = {}
        self.stars = 0
        """how many wildcards are on some list"""
        self.describe(lists)

    def describe(self, lists: Sequence[ListDescription]) -> None:
        """The lists are the same, with these actions and weights. Raises UnknownListError when they are not."""
        for source in {each.source for each in lists} ^ self._places.keys():
            raise UnknownListError(source=source)
        self.lists = tuple(lists)
        self._allow = self._masks(each for each in lists if each.kind is ListKind.ALLOW)
        denying = [each for each in lists if each.kind is ListKind.DENY]
        self._deny_by_default = self._masks(each for each in denying if each.action is None)
        self._deny_ranks = self._by_rank(denying)
        doubting = [each for each in lists if each.kind is ListKind.DOUBT]
        self._doubt = self._masks(doubting)
        self._doubt_ranks = self._by_rank(doubting)
        # Two sources may feed one list, which then counts once.
        feeds = Counter(each.name for each in doubting)
        self._weights = self._grouped((each for each in doubting if feeds[each.name] == 1), lambda each: each.weight)
        self._shared_weights = tuple(
            self._grouped((each for each in doubting if each.name == name), lambda each: each.weight)
            for name, count in feeds.items()
            if count > 1
        )

    def _masks(self, lists: Iterable[ListDescription]) -> Masks:
        masks: dict[int, np.unsignedinteger[Any]] = {}
        for description in lists:
            place = self._places[description.source]
            masks[place.word] = masks[place.word] | place.mask if place.word in masks else place.mask
        return tuple(masks.items())

    def _grouped(self, lists: Iterable[ListDescription], key: Callable[[ListDescription], int]) -> Groups:
        groups: dict[int, list[ListDescription]] = {}
        for each in lists:
            groups.setdefault(key(each), []).append(each)
        return tuple((value, self._masks(groups[value])) for value in sorted(groups))

    def _by_rank(self, lists: Iterable[ListDescription]) -> Groups:
        """Those of `lists` that have an action of their own, by its rank."""
        return self._grouped(
            (each for each in lists if each.action), lambda each: each.action.rank if each.action else 0
        )

    def place_of(self, source: str) -> Place:
        """Where the bit of the list that `source` feeds is. Raises UnknownListError."""
        try:
            return self._places[source]
        except KeyError:
            raise UnknownListError(source=source) from None

    def grow(self) -> None:
        """Make room for every slot of the table."""
        for column in (*self._words, *self._tags.values()):
            column.grow(self._table.extent)

    def put(self, source: str, content: ListBlock) -> Slots:
        """The list of `source` holds `content`, of which the root and `*.` are left out; returns its slots."""
        parts = list(self.putting(source, content))
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    @property
    def octets(self) -> int:
        """How much memory the columns take, at most."""
        return sum(column.octets(self._table.extent) for column in (*self._words, *self._tags.values()))

    def putting(self, source: str, content: ListBlock) -> Iterator[Slots]:
        """Does what `put` does, part by part; each part's slots as it is done."""
        place = self._places[source]
        if content.tags and source not in self._tags:
            self._tags[source] = SlotColumn(np.uint32)
        all_tags = np.frombuffer(content.tags, np.uint32) if content.tags else np.zeros(0, np.uint32)
        for first in range(0, len(content), CHUNK):
            last = min(first + CHUNK, len(content))
            slots = self._table.slots_between(content.names, first, last)
            proper = slots > STAR_OF_ROOT
            slots = slots[proper]
            self.grow()
            self._set(place, slots, held=True)
            if source in self._tags:
                self._tags[source][slots] = all_tags[first:last][proper] if len(all_tags) else np.uint32(0)
            yield slots

    def take(self, source: str, names: NameBlock) -> Slots:
        """The list of `source` does not hold `names` any more; returns the slots of those that anything is known of."""
        slots = self._table.known_slots_of(names)
        slots = slots[slots > STAR_OF_ROOT]
        self.grow()
        if source in self._tags:
            self._tags[source][slots] = np.uint32(0)
        self._set(self._places[source], slots, held=False)
        return slots

    def mark(self, source: str, slots: Slots, *, held: bool) -> None:
        """The list of `source`, which has no tags, has the entries at `slots`, or has them no more."""
        self.grow()
        slots = slots[slots > STAR_OF_ROOT]
        if not held and not self.stars:
            slots = slots[(slots & 1) == 0]
        self._set(self._places[source], slots, held=held)

    def slots_of(self, source: str) -> Slots:
        """The slots that the list of `source` has as entries."""
        place = self._places[source]
        column = self._words[place.word]
        self.grow()
        parts = [slots[(column[slots] & place.mask) != 0] for slots in self.parts(stars=self.stars > 0)]
        return np.concatenate([np.empty(0, np.int32), *parts])

    def _set(self, place: Place, slots: Slots, *, held: bool) -> None:
        stars = np.unique(slots[(slots & 1) != 0])
        before = np.count_nonzero(self.held(stars))
        column = self._words[place.word]
        column[slots] = column[slots] | place.mask if held else column[slots] & ~place.mask
        self.stars += int(np.count_nonzero(self.held(stars)) - before)
        if not self.stars and len(stars):
            for each in (*self._words, *self._tags.values()):
                each.drop_stars()

    def held(self, slots: Slots) -> Flags:
        """Whether any list has it as an entry, for each of `slots`."""
        held: Flags = self._words[0][slots] != 0
        for column in self._words[1:]:
            held |= column[slots] != 0
        return held

    def held_besides(self, slots: Slots, sources: Iterable[str]) -> Flags:
        """Whether any list but those of `sources` has it as an entry, for each of `slots`."""
        left = dict(self._masks(each for each in self.lists if each.source not in set(sources)))
        held = np.zeros(len(slots), np.bool_)
        for word, mask in left.items():
            held |= (self._words[word][slots] & mask) != 0
        return held

    def held_nodes(self, nodes: Nodes) -> Flags:
        """Whether any list has the name or the wildcard as an entry, for each of `nodes`."""
        held = self.held(2 * nodes)
        return held | self.held(2 * nodes + 1) if self.stars else held

    def parts(self, *, stars: bool) -> Iterator[Slots]:
        """All slots of the table in order, the star slots left out where they are not wanted, some at a time."""
        extent = self._table.extent
        for first in range(1, extent, CHUNK):
            last = min(first + CHUNK, extent)
            yield np.arange(2 * first, 2 * last, 1 if stars else 2, dtype=np.int32)

    def entry_parts(self) -> Iterator[Slots]:
        """The slots that any list has as an entry, in order, some at a time."""
        self.grow()
        for slots in self.parts(stars=self.stars > 0):
            yield slots[self.held(slots)]

    def holds(self, source: str, slot: int) -> bool:
        """Whether the list of `source` has `slot` as an entry."""
        place = self._places[source]
        return self._words[place.word].at(slot) & int(place.mask) != 0

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
        denied_by_default = _any(words, self._deny_by_default)
        denied_rank = _greatest(words, self._deny_ranks, np.uint8)
        return Evidence(
            allowed=_any(words, self._allow),
            denied=denied_by_default | (denied_rank != 0),
            denied_by_default=denied_by_default,
            denied_rank=denied_rank,
            doubted=_any(words, self._doubt),
            doubts=self._weigh(words),
            doubted_rank=_greatest(words, self._doubt_ranks, np.uint8),
            tags=tags,
        )

    def _weigh(self, words: list[Words]) -> npt.NDArray[np.int64]:
        """The weights of the doubtlists that hold it, summed; of a list's sources that hold it the greatest."""
        total = np.zeros(len(words[0]), np.int64)
        for weight, masks in self._weights:
            for word, mask in masks:
                count = np.bitwise_count(words[word] & mask)
                total += count if weight == 1 else np.multiply(count, weight, dtype=np.int64)
        for groups in self._shared_weights:
            total += _greatest(words, groups, np.int64)
        return total

    def entries(self, slot: int) -> Iterable[tuple[ListDescription, int, int]]:
        """Each list that holds `slot`, by which slot (its own, else the nearest star above), and with which tags."""
        path = tuple(self._table.path(slot))
        for description in self.lists:
            place = self._places[description.source]
            for at in path:
                if self._words[place.word].at(at) & int(place.mask):
                    tags = self._tags.get(description.source)
                    yield description, at, 0 if tags is None else tags.at(at)
                    break


class _Told:
    """What one list's tags are: those of a slot's own entry, else of the nearest wildcard above it."""

    def __init__(self, *, place: Place, tags: SlotColumn[np.uint32], slots: Slots, words: list[Words]) -> None:
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


def _any(words: list[Words], masks: Masks) -> Flags:
    hit: Flags = np.zeros(len(words[0]), np.bool_)
    for word, mask in masks:
        hit |= (words[word] & mask) != 0
    return hit


def _greatest(words: list[Words], groups: Groups, dtype: type[T]) -> npt.NDArray[T]:
    """The greatest of the groups' values whose lists hold it, a row each; 0 where none does."""
    values = np.zeros(len(words[0]), dtype)
    for value, masks in groups:
        np.maximum(values, np.multiply(_any(words, masks), value, dtype=dtype), out=values)
    return values
