"""Who says what of which name: a bit a list, a word a slot, and tags where a list has them.

Bits make the common questions one operation a slot: is it on any allowlist, on which doubtlists, and what do
all wildcards above it add.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
Ranks = npt.NDArray[np.uint8]
"""`Action.rank` a row."""
Masks = tuple[tuple[int, np.uint64], ...]
"""Some lists: the words that have their bits, and which bits."""
Groups = tuple[tuple[int, Masks], ...]
"""Some lists by a number that they have, the least first."""

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
        self.stars = 0
        """how many wildcards are on some list"""

    def _masks(self, lists: Iterable[ListDescription]) -> Masks:
        masks: dict[int, np.uint64] = {}
        for description in lists:
            place = self._places[description.source]
            masks[place.word] = masks.get(place.word, _NOTHING) | place.mask
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

    def holds(self, source: str, slot: int) -> bool:
        """Whether the list of `source` has `slot` as an entry."""
        place = self._places[source]
        return bool(self._words[place.word][slot] & place.mask)

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
                total += np.multiply(np.bitwise_count(words[word] & mask), weight, dtype=np.int64)
        for groups in self._shared_weights:
            total += _greatest(words, groups, np.int64)
        return total

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


def _any(words: list[Words], masks: Masks) -> Flags:
    hit: Flags = np.zeros(len(words[0]), np.bool_)
    for word, mask in masks:
        hit |= (words[word] & mask) != 0
    return hit


def _greatest(words: list[Words], groups: Groups, dtype: type[T]) -> npt.NDArray[T]:
    """The greatest of the groups' values whose lists hold it, a row each; 0 where none does."""
    values = np.zeros(len(words[0]), dtype)
    for value, masks in groups:
        values[_any(words, masks)] = value
    return values


def grown(column: npt.NDArray[T], want: int) -> npt.NDArray[T]:
    """`column` with room for `want` values and half as many again, the new ones 0."""
    larger = np.zeros(want + want // 2, column.dtype)
    larger[: len(column)] = column
    return larger
