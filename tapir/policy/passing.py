"""What feeds say and POP does not evaluate: which of it may stand in the zone beside what the policy says.

Local data rewrites answers for a name, so it takes part only where the policy has nothing to say of that name:

    allowlisted   an allowlist holds the name; of a wildcard: a name that it would be found for
    ruled         the policy has a record there, or a wildcard of it applies
    conflict      a feed before this one, by id, has other records at the owner
    surplus       the zone passes through no more

Owners below `rpz-ip` and the like are no names: they are passed on unjudged, and no allowlist protects from them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from typing import Final

import numpy as np

from tapir.codec.passed import MOST_OCTETS, MOST_RECORDS, between, owner_of, type_of
from tapir.model.blocks import NOTHING_PASSED, NameBlock, PassedDelta
from tapir.model.messages.policy import PassedFact
from tapir.model.names import ROOT, Name, format_name, is_wildcard, parent_of, split_labels
from tapir.policy.columns import Columns
from tapir.policy.lookups import Lookups
from tapir.policy.rules import decide_rows
from tapir.policy.settings import PolicySettings
from tapir.policy.storage import SlotColumn
from tapir.policy.table import NameTable

ALLOWLISTED: Final = "allowlisted"
RULED: Final = "ruled"
CONFLICT: Final = "conflict"
SURPLUS: Final = "surplus"
TRIGGERS: Final = frozenset({b"rpz-ip", b"rpz-client-ip", b"rpz-nsip", b"rpz-nsdname"})

_CHUNK: Final = 4096
_STAR: Final = b"\x01*"

Records = tuple[bytes, ...]


class Judge:
    """The policy's say on names that are none of its own; made anew for each round."""

    def __init__(
        self,
        *,
        settings: PolicySettings,
        table: NameTable,
        columns: Columns,
        emitted: SlotColumn[np.uint8],
        lookups: Lookups,
    ) -> None:
        self._settings = settings
        self._table = table
        self._columns = columns
        self._emitted = emitted
        self._lookups = lookups

    def reasons(self, owners: Sequence[Name]) -> list[str]:
        """Why each of `owners` may not be spoken of by a feed; empty where it may."""
        found: list[str] = []
        for start in range(0, len(owners), _CHUNK):
            part = owners[start : start + _CHUNK]
            slots = np.array([self._table.governing_slot(owner) for owner in part], np.int32)
            seen = self._columns.gather(slots)
            # Where nothing is decided there may be a record all the same: PASSTHRU, under a wildcard.
            ruled = ((decide_rows(self._settings, seen) != 0) | (self._emitted[slots] != 0)).tolist()
            for owner, allowed, decided in zip(part, seen.allowed.tolist(), ruled, strict=True):
                if allowed or self._is_looked_up(owner):
                    found.append(ALLOWLISTED)
                elif decided:
                    found.append(RULED)
                else:
                    found.append(ALLOWLISTED if is_wildcard(owner) and self._allows_below(parent_of(owner)) else "")
        return found

    def _is_looked_up(self, name: Name) -> bool:
        return bool(self._lookups) and any(True for _ in self._lookups.hits(name))

    def _allows_below(self, base: Name) -> bool:
        """Whether an allowlist holds a name below `base`; below the root it is taken for granted."""
        if base == ROOT:
            return True
        known = self._table.known_slots_of(NameBlock.of([base]))
        if len(known):
            nodes = self._table.affected(known | 1)
            above = [node >> 1 for node in self._table.path(int(known[0]))]
            below = nodes[~np.isin(nodes, np.array(above, np.int32))]
            if not self._columns.stars:
                self._table.forget_links()
            for slots in (2 * below, 2 * below + 1):
                if bool(self._columns.gather(slots).allowed.any()):
                    return True
        return self._lookups.has_below(base)


class Passing:
    """What each feed wants to pass through, and what of it does, at most so much. Mutable; one task at a time."""

    def __init__(self, *, most_records: int = MOST_RECORDS, most_octets: int = MOST_OCTETS) -> None:
        self._most = (most_records, most_octets)
        self._feeds: dict[str, dict[Name, Records]] = {}
        self._passes: dict[Name, Records] = {}
        self._reasons: dict[Name, str] = {}
        """why nothing passes at an owner that a feed has"""
        self._count = 0
        self._octets = 0
        self._by_labels: list[tuple[bytes, Name]] = []
        """the owners that are names, those below one behind it"""
        self._surplus: set[Name] = set()

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def records(self) -> Records:
        """All that passes."""
        return tuple(record for records in self._passes.values() for record in records)

    def take(self, source: str, records: Iterable[bytes]) -> set[Name]:
        """The feed wants to pass exactly `records`; returns the owners that are to be judged."""
        owners: dict[Name, list[bytes]] = {}
        for record in records:
            owners.setdefault(owner_of(record), []).append(record)
        new = {owner: tuple(held) for owner, held in owners.items()}
        old = self._feeds.pop(source, {})
        if new:
            self._feeds[source] = new
        touched = {owner for owner, held in new.items() if old.get(owner) != held}
        touched |= {owner for owner in old if owner not in new}
        self._note_owners(touched)
        return touched | self._surplus

    def sources(self) -> tuple[str, ...]:
        """The feeds that have records, in the order in which they count."""
        return tuple(sorted(self._feeds))

    def _note_owners(self, touched: set[Name]) -> None:
        kept = [entry for entry in self._by_labels if entry[1] not in touched]
        new = [owner for owner in touched if self._is_known(owner) and not is_trigger(owner)]
        # A few at a time: many at once would hold the interpreter.
        runs = [
            sorted((_subtree_key(owner), owner) for owner in new[start : start + _CHUNK])
            for start in range(0, len(new), _CHUNK)
        ]
        self._by_labels = list(merge(kept, *runs)) if runs else kept

    def names(self) -> set[Name]:
        """All owners that are names."""
        return {owner for _, owner in self._by_labels}

    def names_touched(self, changed: Iterable[Name]) -> set[Name]:
        """The owners on which entries for `changed` bear."""
        touched: set[Name] = set()
        if not self._by_labels:
            return touched
        for name in changed:
            base = parent_of(name) if is_wildcard(name) else name
            key = _subtree_key(base)
            place = bisect_left(self._by_labels, (key, Name(b"")))
            while place < len(self._by_labels) and self._by_labels[place][0].startswith(key):
                touched.add(self._by_labels[place][1])
                place += 1
            while base != ROOT:
                base = parent_of(base)
                if self._is_known(star := Name(_STAR + base)):
                    touched.add(star)
        return touched

    def _is_known(self, owner: Name) -> bool:
        return any(owner in feed for feed in self._feeds.values())

    def judge(self, owners: Iterable[Name], judge: Judge) -> PassedDelta:
        """Decide on `owners` again, each of them once; returns what becomes of what passes."""
        owners = tuple(owners)
        wanted = [owner for owner in owners if self._is_known(owner)]
        names = [owner for owner in wanted if not is_trigger(owner)]
        said = dict(zip(names, judge.reasons(names), strict=True))
        removed: list[bytes] = []
        added: list[bytes] = []
        gone = [owner for owner in owners if not self._is_known(owner)]
        feeds = [self._feeds[source] for source in self.sources()]
        # What goes makes room for what comes.
        for owner in (*gone, *(owner for owner in wanted if said.get(owner))):
            removed += self._drop(owner)
            self._reasons.pop(owner, None)
            if reason := said.get(owner):
                self._reasons[owner] = reason
        for owner in wanted:
            if not said.get(owner):
                change = between(self._drop(owner), self._let(owner, feeds))
                removed += change.removed
                added += change.added
        return PassedDelta(removed=tuple(removed), added=tuple(added)) if removed or added else NOTHING_PASSED

    def _drop(self, owner: Name) -> Records:
        records = self._passes.pop(owner, ())
        self._count -= len(records)
        self._octets -= sum(map(len, records))
        self._surplus.discard(owner)
        return records

    def _let(self, owner: Name, feeds: Sequence[Mapping[Name, Records]]) -> Records:
        """What passes at `owner` from now on, which the policy leaves to `feeds`."""
        records = next(feed[owner] for feed in feeds if owner in feed)
        octets = sum(map(len, records))
        if self._count + len(records) > self._most[0] or self._octets + octets > self._most[1]:
            self._reasons[owner] = SURPLUS
            self._surplus.add(owner)
            return ()
        self._reasons.pop(owner, None)
        self._passes[owner] = records
        self._count += len(records)
        self._octets += octets
        return records

    # What others see

    def counts(self, source: str) -> Mapping[str, int]:
        """How many records of the feed pass, under the empty name, and how many do not, by reason."""
        found: dict[str, int] = {}
        for owner, records in self._feeds.get(source, {}).items():
            reason = self._reasons.get(owner, "")
            passes = frozenset(self._passes.get(owner, ()))
            for record in records:
                key = reason or ("" if record in passes else CONFLICT)
                found[key] = found.get(key, 0) + 1
        return found

    def facts(self, name: Name) -> tuple[PassedFact, ...]:
        """What feeds would pass through for `name`: at itself, or by the nearest wildcard above it."""
        asked = [name]
        while name != ROOT:
            name = parent_of(name)
            asked.append(Name(_STAR + name))
        for owner in asked:
            if facts := tuple(self._facts_at(owner)):
                return facts
        return ()

    def _facts_at(self, owner: Name) -> Iterable[PassedFact]:
        for source in self.sources():
            records = self._feeds[source].get(owner, ())
            passes = frozenset(self._passes.get(owner, ()))
            if records:
                reason = self._reasons.get(owner, "")
                refused = reason or ("" if all(record in passes for record in records) else CONFLICT)
                types = tuple(sorted({type_of(record) for record in records}))
                yield PassedFact(owner=format_name(owner), source=source, types=types, refused=refused)


def is_trigger(owner: Name) -> bool:
    """Whether an owner is a trigger other than a name."""
    return split_labels(owner)[-1] in TRIGGERS


def _subtree_key(owner: Name) -> bytes:
    """A key with which exactly those of the names below `owner`, and its own, begin."""
    labels = split_labels(owner)
    labels.reverse()
    return b"".join([bytes((len(label),)) + label for label in labels])
