"""Observation tags: the bits of a tag mask and their names (pop.md's `TagMask`, one unsigned 32-bit word)."""

from collections.abc import Iterable
from typing import Final

from tapir.model.errors import TapirError

MAX_MASK: Final = 0xFFFF_FFFF

TAGS: Final[dict[str, int]] = {
    "newname": 1 << 0,
    "highvolume": 1 << 1,
    "badip": 1 << 2,
    "cdntracker": 1 << 3,
    "likelymalware": 1 << 4,
    "likelybotnetcc": 1 << 5,
    "foo": 1 << 6,
    "bar": 1 << 7,
    "baz": 1 << 8,
    "gazonk": 1 << 9,
    "frotz": 1 << 10,
}
"""The named bits, lowest first. Bits 11 to 31 have no name, but count as tags all the same."""

ALIASES: Final[dict[str, int]] = {
    "globally_new": 1 << 0,
    "newly_registered": 1 << 2,
    "registry_investigation": 1 << 3,
    "looptest": 1 << 10,
}
"""What Core's analysts call four of the bits; accepted where tags are read, never written."""

_NAMED: Final = tuple((bit, name) for name, bit in TAGS.items())


class UnknownTagError(TapirError):
    """The word is not the name of a tag."""

    def __init__(self, *, tag: str) -> None:
        super().__init__(f"{tag!r} is not a tag; tags are {', '.join((*TAGS, *ALIASES))}")
        self.tag = tag


def parse_tags(names: Iterable[str]) -> int:
    """The mask with the bits of all `names`, in any case. Raises UnknownTagError on the first unknown one."""
    mask = 0
    for name in names:
        folded = name.lower()
        bit = TAGS.get(folded) or ALIASES.get(folded)
        if bit is None:
            raise UnknownTagError(tag=name)
        mask |= bit
    return mask


def tag_names(mask: int) -> tuple[str, ...]:
    """The tags in `mask`, lowest bit first; an unnamed bit n is shown as `bit-n`."""
    if not 0 <= mask <= MAX_MASK:
        raise ValueError(f"a tag mask has 32 bits, {mask} does not fit")
    named = tuple(name for bit, name in _NAMED if mask & bit)
    unnamed = tuple(f"bit-{bit}" for bit in range(len(_NAMED), 32) if mask >> bit & 1)
    return named + unnamed


def format_tags(mask: int) -> str:
    """`mask` as comma-separated names, or `-` when it is empty."""
    return ",".join(tag_names(mask)) or "-"
