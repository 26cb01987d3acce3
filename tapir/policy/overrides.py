"""The operator's own lists: which name is on which of them, by whom, and until when. Pure.

A name is on at most one of the three. `||name^` is two names, of which each goes its own way afterwards.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from tapir.codec.lists import MALFORMED, ParsedList, parse_entry
from tapir.codec.suffixes import SuffixTest
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.local import Override, OverrideChange
from tapir.model.names import Name, format_name, parse_name
from tapir.policy.admission import RPZ_TRIGGER, TOO_BROAD, TOO_LONG, admit

MOST: Final = 100_000
"""names on local lists, all three together; more is a list, and wants a file"""
MAX_REASON: Final = 1000
"""characters"""

_WHY: Final = {
    MALFORMED: "it is no name that a list can hold",
    TOO_BROAD: "it is too broad: nothing would be left of a top-level domain or public suffix",
    RPZ_TRIGGER: "its end makes it an RPZ trigger of another kind, not a name",
    TOO_LONG: "with the zone's name behind it it is longer than a name can be",
}
_ORDER: Final = tuple(ListKind)


class OverrideError(TapirError):
    """The override is not possible; nothing was changed."""


def admitted_names(text: str, kind: ListKind, *, zone: Name, is_public_suffix: SuffixTest) -> NameBlock:
    """The names that `text` stands for in a list of `kind`, in order of wire octets.

    Raises NameSyntaxError for what is no entry of a list, OverrideError for what such a list may not hold.
    """
    names = parse_entry(text)
    parsed = ParsedList(names=NameBlock.of(names), lines=bytes(4 * len(names)))
    admitted = admit(parsed, kind=kind, zone=zone, is_public_suffix=is_public_suffix)
    for refusal in admitted.refusals:
        raise OverrideError(f"{text!r} cannot be on the local {kind.value}: {_WHY.get(refusal.reason, refusal.reason)}")
    return admitted.content.names


class OverrideBook:
    """The overrides in force. Mutable, and owned by one actor.

    A change is worked out first, then made durable, then taken.
    """

    def __init__(self, overrides: Iterable[Override] = (), *, most: int = MOST) -> None:
        self._by_entry = {override.entry: override for override in overrides}
        self._most = most

    def __len__(self) -> int:
        return len(self._by_entry)

    def __iter__(self) -> Iterator[Override]:
        return iter(self._by_entry.values())

    def setting(
        self, names: NameBlock, *, kind: ListKind, user: str, at: int, until: int | None, reason: str
    ) -> OverrideChange:
        """What setting `names` would change. Raises OverrideError for too many, and for a reason that is no line."""
        if len(reason) > MAX_REASON or not reason.isprintable():
            raise OverrideError(f"the reason is one line of at most {MAX_REASON} printable characters")
        now = tuple(
            Override(entry=format_name(name), kind=kind, user=user, at=at, until=until, reason=reason) for name in names
        )
        before = self._known(override.entry for override in now)
        if len(self) + len(now) - len(before) > self._most:
            raise OverrideError(f"local lists hold at most {self._most} names: put them into a list file")
        return OverrideChange(now=now, before=before)

    def removing(self, names: NameBlock, *, kind: ListKind, text: str) -> OverrideChange:
        """What taking `names` off the list of `kind` would change. Raises OverrideError when none of them is on it."""
        known = self._known(format_name(name) for name in names)
        before = tuple(override for override in known if override.kind is kind)
        if not before:
            others = " and ".join(sorted({f"on the local {override.kind.value}" for override in known}))
            raise OverrideError(f"{text!r} is not on the local {kind.value}" + (f", but {others}" if others else ""))
        return OverrideChange(now=(), before=before)

    def expiring(self, now: int) -> OverrideChange:
        """What has ended by `now`."""
        return OverrideChange(
            now=(), before=tuple(each for each in self if each.until is not None and each.until <= now)
        )

    def next_end(self) -> int | None:
        """When the next override ends, None when none does."""
        return min((override.until for override in self if override.until is not None), default=None)

    def take(self, change: OverrideChange) -> None:
        """`change` is in force from now on."""
        for override in change.before:
            self._by_entry.pop(override.entry, None)
        for override in change.now:
            self._by_entry[override.entry] = override

    def ordered(self) -> tuple[Override, ...]:
        """All of them, by kind and then by name."""
        return tuple(sorted(self, key=lambda override: (_ORDER.index(override.kind), override.entry)))

    def content(self, kind: ListKind) -> ListBlock:
        """What the local list of `kind` holds, in order of wire octets."""
        return content_of(self, kind)

    def _known(self, entries: Iterable[str]) -> tuple[Override, ...]:
        return tuple(self._by_entry[entry] for entry in entries if entry in self._by_entry)


def content_of(overrides: Iterable[Override], kind: ListKind) -> ListBlock:
    """What the local list of `kind` holds, in order of wire octets."""
    names = sorted(parse_name(override.entry) for override in overrides if override.kind is kind)
    return ListBlock(names=NameBlock.of(names))


def is_in_force(override: Override, now: int) -> bool:
    """Whether it has not ended by `now`."""
    return override.until is None or override.until > now


def difference_of(change: OverrideChange) -> tuple[tuple[Override, ...], tuple[str, ...]]:
    """What to store for `change`: the overrides that are set, and the names that are on no local list any more."""
    kept = {override.entry for override in change.now}
    return change.now, tuple(override.entry for override in change.before if override.entry not in kept)
