"""What every source said last: content, where it is from, what was refused, and what the brake holds back.

Per source there is one snapshot and a log of the changes since; when the log outweighs the snapshot, it is
folded into it. No list has a row per name. Of a list that changes often, the log has many small entries, which
take long to read: so each sixteen of a size become one, and sixteen of these one again.

    log    256 changes   16  16  16   1 1 1 1 1        the oldest first; its tiers are (5, 3, 1)

Several sources change in one transaction:

    with store.transaction() as change:
        change.change("feed-a", removed=…, upserted=…, digest=…, loaded_at=…)
        change.replace("feed-b", content=…, digest=…, loaded_at=…)
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from tapir.model.blocks import ListBlock, LookupList, NameBlock
from tapir.model.messages.lists import Refusal
from tapir.store.blobs import BlobKind
from tapir.store.database import STATE, Database
from tapir.store.fold import fold_list, merge_list_changes
from tapir.store.listed import ListEntry, ListsState, StoredList, StoredPending
from tapir.store.packing import pack_list, pack_list_change, unpack_list, unpack_list_change

_APPLICATION_ID: Final = 0x5450524C  # "TPRL"
_SMALL: Final = 64 * 1024
_MERGED: Final = 16


class ListStore:
    """The stored lists of all sources. Synchronous, one call at a time, from any thread.

    Every method raises StoreFull when nothing can be written (and nothing was) and StoreCorrupt when what
    is stored cannot be trusted. A source that is not stored, or lacks what is asked for, is a KeyError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "ListStore":
        """The store at `path`, made when there is none; its folder must exist."""
        database = Database.open(path, application_id=_APPLICATION_ID, state=ListsState().pack())
        try:
            with database.reading():
                _read_state(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def open_reading(cls, path: Path) -> "ListStore":
        """The store at `path`, which is there, to be looked into only; see Database.open_reading."""
        return cls(Database.open_reading(path, application_id=_APPLICATION_ID))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    def close(self) -> None:
        """Give the file back; closing twice is fine."""
        self._database.close()

    def load_all(self) -> tuple[StoredList, ...]:
        """All that is known of all sources, but for their content."""
        with self._database.reading():
            return tuple(entry.stored for entry in _read_state(self._database).entries.values())

    def load(self, source: str) -> ListBlock | LookupList:
        """The content of `source`."""
        with self._database.reading():
            entry = _read_state(self._database).entries[source]
            if entry.stored.digest is None:
                raise KeyError(source)
            if entry.stored.lookup is not None:
                return entry.stored.lookup
            return _read_content(self._database, entry)

    def load_pending(self, source: str) -> ListBlock | LookupList:
        """What the brake holds back for `source`."""
        with self._database.reading():
            entry = _read_state(self._database).entries[source]
            if entry.stored.pending is None:
                raise KeyError(source)
            if entry.stored.pending.lookup is not None:
                return entry.stored.pending.lookup
            return unpack_list(self._database.get(BlobKind.LIST, _pending_key(entry)))

    @contextlib.contextmanager
    def transaction(self) -> Iterator["ListTransaction"]:
        """All changes made within are durable when the block ends, or none is made when it raises.

        A step that fails has failed the whole transaction: what it raises is to leave the block, and only outside is it
        a StoreError.
        """
        with self._database.writing():
            transaction = ListTransaction(self._database, _read_state(self._database))
            yield transaction
            transaction.finish()

    def replace(
        self,
        source: str,
        *,
        content: ListBlock | LookupList,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        """`source` says exactly `content`; see ListTransaction.replace."""
        with self.transaction() as transaction:
            transaction.replace(source, content=content, digest=digest, loaded_at=loaded_at, refusals=refusals)

    def change(
        self,
        source: str,
        *,
        removed: NameBlock,
        upserted: ListBlock,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
        whole: Callable[[], ListBlock] | None = None,
    ) -> None:
        """`source` lost `removed`, then gained or changed `upserted`; see ListTransaction.change."""
        with self.transaction() as transaction:
            transaction.change(
                source,
                removed=removed,
                upserted=upserted,
                digest=digest,
                loaded_at=loaded_at,
                refusals=refusals,
                whole=whole,
            )

    def set_pending(
        self,
        source: str,
        *,
        content: ListBlock | LookupList,
        reason: str,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        """The brake holds `content` back; see ListTransaction.set_pending."""
        with self.transaction() as transaction:
            transaction.set_pending(
                source, content=content, reason=reason, digest=digest, loaded_at=loaded_at, refusals=refusals
            )

    def clear_pending(self, source: str) -> None:
        """Nothing is held back for `source` any more."""
        with self.transaction() as transaction:
            transaction.clear_pending(source)

    def accept_pending(self, source: str) -> None:
        """What was held back is the content of `source` now."""
        with self.transaction() as transaction:
            transaction.accept_pending(source)

    def forget(self, source: str) -> None:
        """`source` is no more."""
        with self.transaction() as transaction:
            transaction.forget(source)


class ListTransaction:
    """Changes of several sources that become durable together; made by `ListStore.transaction` only."""

    def __init__(self, database: Database, state: ListsState) -> None:
        self._database = database
        self._next_series = state.next_series
        self._entries = dict(state.entries)

    def replace(
        self,
        source: str,
        *,
        content: ListBlock | LookupList,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        """`source` says exactly `content`, and nothing is held back for it any more."""
        lookup = content if isinstance(content, LookupList) else None
        packed = b"" if isinstance(content, LookupList) else pack_list(content)
        entry = self._without_pending(self._entry(source))
        self._database.drop_log(entry.series)
        octets = 0
        if lookup is None:
            octets = self._database.put(BlobKind.LIST, _content_key(entry), packed)
        else:
            self._database.drop(_content_key(entry))
        stored = attrs.evolve(entry.stored, digest=digest, loaded_at=loaded_at, refusals=refusals, lookup=lookup)
        self._entries[source] = ListEntry(stored=stored, series=entry.series, base_octets=octets)

    def change(
        self,
        source: str,
        *,
        removed: NameBlock,
        upserted: ListBlock,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
        whole: Callable[[], ListBlock] | None = None,
    ) -> None:
        """`source` lost `removed`, then gained or changed `upserted`, and nothing is held back for it any more.

        Takes time in the size of the change, except where the log is folded into the snapshot (amortised): then `whole`
        makes what the source says now, if it is given, and else that is read back. Where nothing was lost or gained,
        there is another `digest` and no more.
        Raises KeyError when `source` has no content to change, or content that is looked up elsewhere.
        """
        packed = pack_list_change(removed, upserted)
        entry = self._entries[source]
        if entry.stored.digest is None or entry.stored.lookup is not None:
            raise KeyError(source)
        entry = self._without_pending(entry)
        stored = attrs.evolve(entry.stored, digest=digest, loaded_at=loaded_at, refusals=refusals)
        entry = attrs.evolve(entry, stored=stored)
        most = max(entry.base_octets, _SMALL)
        heavy = entry.log_octets + len(packed) > most
        # What goes into the snapshot at once need not go into the log before.
        if (len(removed) or len(upserted)) and not (heavy and whole is not None):
            entry = self._merged(self._appended(entry, packed))
            heavy = entry.log_octets > most
        self._entries[source] = self._folded(entry, whole) if heavy else entry

    def set_pending(
        self,
        source: str,
        *,
        content: ListBlock | LookupList,
        reason: str,
        digest: str,
        loaded_at: int,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        """The brake holds `content` back for `reason`, in place of what it held back before."""
        lookup = content if isinstance(content, LookupList) else None
        packed = b"" if isinstance(content, LookupList) else pack_list(content)
        entry = self._entry(source)
        if lookup is None:
            self._database.put(BlobKind.LIST, _pending_key(entry), packed)
        else:
            self._database.drop(_pending_key(entry))
        pending = StoredPending(reason=reason, digest=digest, loaded_at=loaded_at, refusals=refusals, lookup=lookup)
        self._entries[source] = attrs.evolve(entry, stored=attrs.evolve(entry.stored, pending=pending))

    def clear_pending(self, source: str) -> None:
        """Nothing is held back for `source` any more; what it said before stays. Raises KeyError."""
        self._entries[source] = self._without_pending(self._entries[source])

    def accept_pending(self, source: str) -> None:
        """What was held back is the content of `source` now. Raises KeyError when there is nothing."""
        entry = self._entries[source]
        pending = entry.stored.pending
        if pending is None:
            raise KeyError(source)
        content: ListBlock | LookupList
        if pending.lookup is not None:
            content = pending.lookup
        else:
            content = unpack_list(self._database.get(BlobKind.LIST, _pending_key(entry)))
        self.replace(
            source,
            content=content,
            digest=pending.digest,
            loaded_at=pending.loaded_at,
            refusals=pending.refusals,
        )

    def forget(self, source: str) -> None:
        """`source` is no more; forgetting one that is not stored is fine."""
        entry = self._entries.pop(source, None)
        if entry is not None:
            self._database.drop_log(entry.series)
            self._database.drop(_content_key(entry))
            self._database.drop(_pending_key(entry))

    def finish(self) -> None:
        """Write down what the changes amount to; `ListStore.transaction` calls this."""
        self._database.put(
            BlobKind.STATE, STATE, ListsState(next_series=self._next_series, entries=self._entries).pack()
        )

    def _entry(self, source: str) -> ListEntry:
        entry = self._entries.get(source)
        if entry is None:
            entry = ListEntry(stored=StoredList(source=source), series=self._next_series)
            self._next_series += 1
        return entry

    def _without_pending(self, entry: ListEntry) -> ListEntry:
        self._database.drop(_pending_key(entry))
        return attrs.evolve(entry, stored=attrs.evolve(entry.stored, pending=None))

    def _appended(self, entry: ListEntry, packed: bytes) -> ListEntry:
        octets = self._database.append(BlobKind.LIST_CHANGE, entry.series, entry.last + 1, packed)
        single = entry.tiers[0] + 1 if entry.tiers else 1
        return attrs.evolve(
            entry, last=entry.last + 1, log_octets=entry.log_octets + octets, tiers=(single, *entry.tiers[1:])
        )

    def _merged(self, entry: ListEntry) -> ListEntry:
        """The log with no more than a few entries of each size."""
        tier = 0
        while entry.tiers[tier] >= _MERGED:
            # The tiers below have no entries left, so those of this one are the last of the log.
            first = entry.last - entry.tiers[tier] + 1
            parts = self._database.entries(BlobKind.LIST_CHANGE, entry.series, first=first, last=entry.last)
            packed = pack_list_change(*merge_list_changes([unpack_list_change(part) for part in parts]))
            freed = self._database.cut(entry.series, first=first)
            octets = self._database.append(BlobKind.LIST_CHANGE, entry.series, first, packed)
            above = entry.tiers[tier + 1] if tier + 1 < len(entry.tiers) else 0
            entry = attrs.evolve(
                entry,
                last=first,
                log_octets=entry.log_octets + octets - freed,
                tiers=(*entry.tiers[:tier], 0, above + 1, *entry.tiers[tier + 2 :]),
            )
            tier += 1
        return entry

    def _folded(self, entry: ListEntry, whole: Callable[[], ListBlock] | None) -> ListEntry:
        packed = pack_list(whole() if whole is not None else _read_content(self._database, entry))
        octets = self._database.put(BlobKind.LIST, _content_key(entry), packed)
        self._database.drop_log(entry.series)
        return attrs.evolve(entry, first=entry.last + 1, base_octets=octets, log_octets=0, tiers=())


def _content_key(entry: ListEntry) -> str:
    return f"content/{entry.series}"


def _pending_key(entry: ListEntry) -> str:
    return f"pending/{entry.series}"


def _read_state(database: Database) -> ListsState:
    return ListsState.unpack(database.get(BlobKind.STATE, STATE))


def _read_content(database: Database, entry: ListEntry) -> ListBlock:
    base = unpack_list(database.get(BlobKind.LIST, _content_key(entry)))
    log = database.entries(BlobKind.LIST_CHANGE, entry.series, first=entry.first, last=entry.last)
    return fold_list(base, [unpack_list_change(change) for change in log]) if log else base
