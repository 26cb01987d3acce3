"""What of a feed may be passed through, as far as the feed alone says it. Blocking: for a worker.

    kind             an allowlist only lets through: of it, what says so of an address or a name server
    type, rdata      none that secondaries take as local data
    unknown_trigger  below a label of RPZ that nobody knows yet
    other_data       a CNAME stands alone at its owner (RFC 1034 §3.6.2)
    too_many         more records of one owner and type than secondaries take
    too_long, …      owners that no list may hold either

What the policy says of the names is for the policy evaluator.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from tapir.codec.localdata import CNAME, is_known, is_well_formed
from tapir.codec.passed import MOST_OCTETS, MOST_RECORDS, amended, make, parts_of
from tapir.codec.rpz import target_of
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import NOTHING_PASSED, NameBlock, PassedDelta
from tapir.model.names import MAX_NAME, Name
from tapir.policy.admission import TOO_BROAD, TOO_LONG, VERDICTS, verdicts_on
from tapir.policy.feeds import FeedRules
from tapir.policy.passing import TRIGGERS
from tapir.zone.collecting import OpaqueDelta, OpaqueRecord

MOST_OF_A_TYPE: Final = 100
"""records at one owner; BIND refuses a zone with more (max-records-per-type)"""

_MOST_TTL: Final = 2**31 - 1  # RFC 2181 §8
_TOP_WILDCARD: Final = Name(b"\x01*\0")
_PASSTHRU: Final = target_of(Action.PASSTHRU)
_REASONS: Final = {number: reason for reason, number in VERDICTS.items()}


@attrs.frozen(kw_only=True, eq=False)
class Offer:
    """What a feed offers to be passed through; `digest` names these records and no others."""

    records: tuple[bytes, ...] = ()
    refused: Mapping[str, int] = attrs.field(factory=dict)
    digest: str = "nothing"


def offer_of(records: Iterable[bytes], rules: FeedRules) -> Offer:
    """What the feed by whose `rules` lists are made offers, when it has exactly `records`."""
    refused: Counter[str] = Counter()
    owners: dict[Name, list[tuple[int, int, bytes]]] = {}
    for record in records:
        owner, rdtype, ttl, rdata = parts_of(record)
        reason = _reason(owner, rdtype, rdata, rules)
        if reason:
            refused[reason] += 1
        else:
            owners.setdefault(owner, []).append((rdtype, ttl if ttl <= _MOST_TTL else 0, rdata))
    for owner, reason in _refused_names([owner for owner in owners if _trigger(owner) is None], rules):
        refused[reason] += len(owners.pop(owner))
    admitted: list[bytes] = []
    for owner, said in owners.items():
        admitted += _consistent(owner, said, refused)
    digest = hashlib.sha256()
    for each in admitted:
        digest.update(each)
    name = digest.hexdigest() if admitted else "nothing"
    return Offer(records=tuple(admitted), refused=dict(+refused), digest=name)


def _trigger(owner: Name) -> bytes | None:
    """The label that makes an owner a trigger of its own, also one that nobody knows; None for a name."""
    at = 0
    while owner[(after := at + 1 + owner[at])]:
        at = after
    label = owner[at + 1 : after]
    return bytes(label) if label.startswith(b"rpz-") else None


def _reason(owner: Name, rdtype: int, rdata: bytes, rules: FeedRules) -> str:
    """Why a record is refused by itself, or empty."""
    trigger = _trigger(owner)
    if rules.kind is ListKind.ALLOW and (trigger is None or rdtype != CNAME or rdata != _PASSTHRU):
        return "kind"
    if not is_known(rdtype):
        return "type"
    if not is_well_formed(rdtype, rdata):
        return "rdata"
    if trigger is not None and trigger not in TRIGGERS:
        return "unknown_trigger"
    if trigger is not None and len(owner) + len(rules.zone) - 1 > MAX_NAME:
        return TOO_LONG
    return ""


def _refused_names(owners: Sequence[Name], rules: FeedRules) -> Iterable[tuple[Name, str]]:
    """Those of `owners`, all of them names, that no list may hold."""
    verdicts = verdicts_on(
        NameBlock.of(owners),
        kind=rules.kind,
        zone=rules.zone,
        is_public_suffix=rules.is_public_suffix,
        broad=rules.broad,
    )
    for owner, verdict in zip(owners, verdicts.tolist(), strict=True):
        if verdict or owner == _TOP_WILDCARD:
            yield owner, _REASONS[verdict] if verdict else TOO_BROAD


def _consistent(owner: Name, said: Sequence[tuple[int, int, bytes]], refused: Counter[str]) -> Iterable[bytes]:
    """The records at `owner` that can stand together; those of one type with one TTL (RFC 2181 §5.2)."""
    types: dict[int, list[tuple[int, bytes]]] = {}
    for rdtype, ttl, rdata in said:
        types.setdefault(rdtype, []).append((ttl, rdata))
    if CNAME in types:
        target = min(rdata for _, rdata in types[CNAME])
        refused["other_data"] += len(said) - 1
        types = {CNAME: [(ttl, rdata) for ttl, rdata in types[CNAME] if rdata == target][:1]}
    for rdtype, held in types.items():
        if len(held) > MOST_OF_A_TYPE:
            refused["too_many"] += len(held)
            continue
        ttl = min(ttl for ttl, _ in held)
        for rdata in sorted({rdata for _, rdata in held}):
            yield make(owner, rdtype, ttl, rdata)


# What is held of a feed, whether or not it may be passed through


def held_whole(opaque: OpaqueDelta) -> tuple[tuple[bytes, ...], bool]:
    """What to hold of a whole transfer, and whether that is all."""
    return _within(tuple(map(_record, opaque.added)), 0, 0)


def held_after(
    held: tuple[bytes, ...], opaque: OpaqueDelta, *, complete: bool
) -> tuple[tuple[bytes, ...], PassedDelta, bool]:
    """What to hold after a difference, how that differs, and whether that is all.

    Raises ValueError when it does not fit what is held, which is not `complete`ly what there was.
    """
    removed = tuple(map(_record, opaque.removed))
    added = tuple(map(_record, opaque.added))
    if not removed and not added:
        return held, NOTHING_PASSED, complete
    if not complete:
        known: set[bytes] = set()
        for record in held:
            known.add(record)
        removed = tuple(record for record in removed if record in known)
    octets = sum(map(len, held)) - sum(map(len, removed))
    added, all_taken = _within(added, len(held) - len(removed), octets)
    delta = PassedDelta(removed=removed, added=added)
    return amended(held, delta), delta, complete and all_taken


def has_room(held: Sequence[bytes]) -> bool:
    """Whether so much more could be held that it is worth asking for."""
    return len(held) < MOST_RECORDS * 9 // 10 and sum(map(len, held)) < MOST_OCTETS * 9 // 10


def _within(records: tuple[bytes, ...], count: int, octets: int) -> tuple[tuple[bytes, ...], bool]:
    """As many of `records` as may be held beside `count` of so many octets, and whether these are all."""
    for place, record in enumerate(records):
        octets += len(record)
        if count + place >= MOST_RECORDS or octets > MOST_OCTETS:
            return records[:place], False
    return records, True


def _record(record: OpaqueRecord) -> bytes:
    return make(record.owner, record.rdtype, record.ttl, record.rdata)
