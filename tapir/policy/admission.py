"""Which of a list's names it may hold: what would block too much, break the zone, or is no name to block.

It is asked of every source, whatever its format, before anything of it is kept.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from tapir.codec.lists import MALFORMED, ParsedList, RefusalTally, merge_refusals
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import MAX_NAME, ROOT, Name, is_wildcard, parent_of, split_labels

TOO_BROAD: Final = "too_broad"
RPZ_TRIGGER: Final = "rpz_trigger"
TOO_LONG: Final = "too_long"

# A rule in a policy zone that ends so is no rule for a query's name (draft-vixie-dnsop-dns-rpz-00 §4).
_TRIGGERS: Final = frozenset({b"rpz-ip", b"rpz-client-ip", b"rpz-nsip", b"rpz-nsdname"})
_TRIGGER_ENDS: Final = tuple(bytes((len(label),)) + label + ROOT for label in _TRIGGERS)
_STAR_LABEL: Final = b"\x01*"
_BUCKET: Final = 8192


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
    is_public_suffix: Callable[[Name], bool],
    broad: bool = False,
) -> Admitted:
    """Sort out what a list of `kind` for `zone` may hold; `broad` lets it hold top-level domains and the like."""
    tally = RefusalTally()
    buckets: dict[bytes, set[Name]] = {}
    guarded = is_public_suffix if kind is not ListKind.ALLOW and not broad else None
    longest = MAX_NAME - len(zone) + 1
    for name, line in zip(parsed.names, memoryview(parsed.lines).cast("I"), strict=True):
        reason = _refusal(name, longest, guarded)
        if reason is not None:
            tally.add(reason, line)
            continue
        bucket = buckets.get(name[:4])
        if bucket is None:
            bucket = buckets[name[:4]] = set()
        bucket.add(name)
    content = _ordered_block(buckets)
    return Admitted(
        content=content,
        refusals=merge_refusals(parsed.refusals, tally.refusals()),
        digest=content_digest(content),
    )


def content_digest(content: ListBlock) -> str:
    """The SHA-256 of a list's content, as hexadecimal digits."""
    digest = hashlib.sha256(content.names.data)  # names end themselves: no two contents have the same octets
    digest.update(content.tags)
    return digest.hexdigest()


def _refusal(name: Name, longest: int, is_public_suffix: Callable[[Name], bool] | None) -> str | None:
    if len(name) > longest:
        return TOO_LONG
    base = parent_of(name) if is_wildcard(name) else name
    if base == ROOT:
        return TOO_BROAD
    if base.find(_STAR_LABEL) >= 0 and b"*" in split_labels(base):
        # Its parent would exist in the zone as a wildcard without a record and hide the one above (RFC 4592 §4.2).
        return MALFORMED
    if base.endswith(_TRIGGER_ENDS) and split_labels(base)[-1] in _TRIGGERS:
        return RPZ_TRIGGER
    if is_public_suffix is not None and (base[base[0] + 1] == 0 or is_public_suffix(base)):
        return TOO_BROAD
    return None


def _ordered_block(buckets: dict[bytes, set[Name]]) -> ListBlock:
    data = bytearray()
    offsets = array("I", (0,))
    for name in _in_order(buckets, 4):
        data += name
        offsets.append(len(data))
    return ListBlock(names=NameBlock(data=bytes(data), offsets=offsets.tobytes()))


def _in_order(buckets: dict[bytes, set[Name]], width: int) -> Iterator[Name]:
    """The names of `buckets` (by their first `width` octets) in order, sorting no large set in one call.

    A sort holds the interpreter until it is done, and the event loop serves DNS meanwhile. Names that differ
    do so within 255 octets, so the splitting ends.
    """
    for prefix in sorted(buckets):
        bucket = buckets.pop(prefix)
        if len(bucket) <= _BUCKET:
            yield from sorted(bucket)
            continue
        finer: dict[bytes, set[Name]] = {}
        for name in bucket:
            finer.setdefault(name[: width + 4], set()).add(name)
        bucket.clear()
        yield from _in_order(finer, width + 4)
