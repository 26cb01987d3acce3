"""Which of a list's names it may hold: what would block too much, break the zone, or is no name to block.

It is asked of every source, whatever its format, before anything of it is kept.
"""

import hashlib
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.lists import MALFORMED, SHOWN_LINES, ParsedList, merge_refusals
from tapir.codec.ordering import in_order, take_names
from tapir.codec.suffixes import SuffixTest
from tapir.kernels.admission import judge
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import MAX_NAME, Name

TOO_BROAD: Final = "too_broad"
RPZ_TRIGGER: Final = "rpz_trigger"
TOO_LONG: Final = "too_long"

VERDICTS: Final = {TOO_LONG: 1, TOO_BROAD: 2, MALFORMED: 3, RPZ_TRIGGER: 4}
"""What the kernel says of a name that may not stay."""

# A rule in a policy zone that ends so is no rule for a query's name (draft-vixie-dnsop-dns-rpz-00 §4).
_TRIGGERS: Final = b"\x06rpz-ip\x0drpz-client-ip\x08rpz-nsip\x0brpz-nsdname"


@attrs.frozen(kw_only=True, eq=False)
class Admitted:
    """What a source may say: `content` in order of wire octets, each name once, and what was refused.

    `digest` is the SHA-256 of the content, so equal content has an equal digest however it was written down.
    """

    content: ListBlock
    refusals: tuple[Refusal, ...]
    digest: str


def admit(
    parsed: ParsedList,
    *,
    kind: ListKind,
    zone: Name,
    is_public_suffix: SuffixTest,
    broad: bool = False,
) -> Admitted:
    """Sort out what a list of `kind` for `zone` may hold; `broad` lets it hold top-level domains and the like."""
    verdicts = verdicts_on(parsed.names, kind=kind, zone=zone, is_public_suffix=is_public_suffix, broad=broad)
    kept = in_order(parsed.names, np.flatnonzero(verdicts == 0).astype(np.uint32))
    content = ListBlock(names=take_names(parsed.names, kept))
    return Admitted(
        content=content,
        refusals=merge_refusals(parsed.refusals, _refusals(verdicts, np.frombuffer(parsed.lines, np.uint32))),
        digest=content_digest(content),
    )


def verdicts_on(
    names: NameBlock, *, kind: ListKind, zone: Name, is_public_suffix: SuffixTest, broad: bool
) -> npt.NDArray[np.uint8]:
    """Of each name 0 if such a list may hold it, else why not, by `VERDICTS`."""
    verdicts = np.zeros(len(names), np.uint8)
    judge(
        names.data,
        np.frombuffer(names.offsets, np.uint32),
        _TRIGGERS,
        is_public_suffix.rules,
        verdicts,
        longest=MAX_NAME - len(zone) + 1,
        guarded=kind is not ListKind.ALLOW and not broad,
    )
    return verdicts


def content_digest(content: ListBlock) -> str:
    """The SHA-256 of a list's content, as hexadecimal digits."""
    digest = hashlib.sha256(content.names.data)  # names end themselves: no two contents have the same octets
    digest.update(content.tags)
    return digest.hexdigest()


def _refusals(verdicts: npt.NDArray[np.uint8], lines: npt.NDArray[np.uint32]) -> tuple[Refusal, ...]:
    """The lines refused, each once a reason, by reason in alphabetical order."""
    found: list[Refusal] = []
    for reason in sorted(VERDICTS):
        refused = np.unique(lines[verdicts == VERDICTS[reason]])
        if len(refused):
            shown = tuple(refused[:SHOWN_LINES].tolist())
            found.append(Refusal(reason=reason, count=len(refused), lines=shown))
    return tuple(found)
