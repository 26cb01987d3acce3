"""The hand of an observation source on its book, its store and its keystore. Blocking, one call at a time.

What is done is in the book first and in the store right after. If the store takes nothing the book stays ahead of it,
under a digest that no stored content ever has, until `save` succeeds; whoever sent the messages is not told that they
are durable before.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from tapir.codec.jose import KeyDocumentError
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock, ObservationBlock
from tapir.model.errors import TapirError
from tapir.model.observed import RememberedStep
from tapir.policy.observed import BookChange, ObservationBook, Tally
from tapir.policy.observed_digests import MOST, Digests
from tapir.services.sources.observations_reading import Read, Reader, ReadingSettings
from tapir.store.errors import StoreCorrupt, StoreError
from tapir.store.keystore import KeystoreFile
from tapir.store.observations import ObservationStore
from tapir.store.quarantine import quarantine

_NOTHING = BookChange()


class KeysMissing(TapirError):
    """The keystore cannot be read now, so nobody can say whether messages are genuine; nothing was read."""


@attrs.frozen(kw_only=True, eq=False)
class Outcome:
    """What came of something: the list is what it was under digest `base`, without `removed` and with `upserted`.

    `trouble` says why that is not durable yet, and is empty when it is; `put_aside` what was moved out of the way.
    """

    base: str
    digest: str
    removed: NameBlock = EMPTY_NAMES
    upserted: ListBlock = ListBlock(names=EMPTY_NAMES)
    tally: Tally = Tally()
    trouble: str = ""
    put_aside: str = ""


@attrs.frozen(kw_only=True, eq=False)
class Result:
    """What came of messages; `outcome` is None where some of it would have ended on arrival, if the clock is right."""

    read: Read
    outcome: Outcome | None


class ObservationDesk:
    """One source's memory, in the process and on disk."""

    def __init__(self, *, store_path: Path, keystore: Path, reading: ReadingSettings) -> None:
        self._path = store_path
        self._keystore = KeystoreFile(keystore)
        self._reader = Reader(reading)
        self._store: ObservationStore | None = None
        self._digests = Digests()
        self._new_digests: list[bytes] = []
        self._unsaved: list[RememberedStep] = []
        self._list_unsaved = False
        self.book = ObservationBook()
        self.digest = ""
        """names what the list holds now"""

    @property
    def unsaved(self) -> bool:
        """Whether the book is ahead of the store."""
        return bool(self._unsaved)

    # Opening and closing

    def open(self, now: int) -> str:
        """Restore what is stored; returns what was lost, for the log. Raises StoreError when none can be said."""
        self.close()
        lost = ""
        try:
            store, steps = self._open()
        except StoreCorrupt as exc:
            lost = self._move_aside(exc, now)
            store, steps = self._open()
        book = ObservationBook(key=os.urandom(16))
        book.restore(steps, now=now)
        for step in steps:
            self._digests.restore(step.digests)
        self._store, self.book, self.digest = store, book, store.digest
        return lost

    def _open(self) -> tuple[ObservationStore, Sequence[RememberedStep]]:
        self._path.parent.mkdir(mode=0o750, exist_ok=True)
        store = ObservationStore.open(self._path)
        try:
            return store, store.load()
        except BaseException:
            with contextlib.suppress(StoreError):
                store.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(StoreError):
                store.close()

    # Messages

    def take(self, messages: Sequence[bytes], *, now: int, due: int) -> Result:
        """Read `messages` and do what they say, unless some of it is over by `due`: then `do` it, once that is certain.

        Raises KeysMissing.
        """
        try:
            read = self._reader.read(
                messages, keystore=self._keystore.current, known=self._digests.__contains__, now=now
            )
        except (StoreError, KeyDocumentError) as exc:
            raise KeysMissing(str(exc)) from exc
        earliest = read.earliest
        certain = earliest is None or earliest > due
        return Result(read=read, outcome=self.do(read, now=now, due=due) if certain else None)

    def do(self, read: Read, *, now: int, due: int) -> Outcome:
        """What was read is in the book and in the store; what has a deadline up to `due` is over."""
        change = self.book.apply(read.reports, now=due) if read.reports else _NOTHING
        for digest in read.digests:
            self._digests.add(digest)
        self._new_digests += read.digests
        # What is all stale writes nothing; only the last ones are remembered anyway.
        del self._new_digests[:-MOST]
        return self._keep(change, RememberedStep(entries=change.remembered), now)

    def merge(self, snapshot: ObservationBlock, *, now: int, due: int) -> Outcome:
        """What another POP holds is in the book and in the store, where it is newer and such a list may hold it."""
        change = self.book.merge(self._reader.admitted(snapshot), now=due)
        return self._keep(change, RememberedStep(entries=change.remembered), now)

    def expire(self, now: int) -> Outcome:
        """What is over by `now` is off the list, also while the store takes nothing."""
        change = self.book.expire(now)
        return self._keep(change, RememberedStep(ended_by=now if len(change.removed) else None), now)

    def count_keys(self) -> int | None:
        """How many keys the keystore has; None when it cannot be read."""
        try:
            return len(self._keystore.current())
        except (StoreError, KeyDocumentError):
            return None

    def save(self, now: int) -> Outcome:
        """Make durable what is not."""
        return self._keep(_NOTHING, RememberedStep(), now)

    def _keep(self, change: BookChange, step: RememberedStep, now: int) -> Outcome:
        base = self.digest
        if len(step.entries) or step.ended_by is not None:
            # Of several ends in a row the last is all; so a disk that is full for weeks costs nothing here.
            if self._unsaved and not len(step.entries) and not len(self._unsaved[-1].entries):
                self._unsaved.pop()
            self._unsaved.append(step)
        if change.changes_list:
            self._list_unsaved = True
        trouble, put_aside = "", ""
        if self._unsaved:
            try:
                put_aside = self._write(now)
            except StoreError as exc:
                trouble = str(exc)
                if change.changes_list:
                    self.digest = f"unsaved:{os.urandom(8).hex()}"
        return Outcome(
            base=base,
            digest=self.digest,
            removed=change.removed,
            upserted=change.upserted,
            tally=change.tally,
            trouble=trouble,
            put_aside=put_aside,
        )

    def _write(self, now: int) -> str:
        """Write what is unsaved; returns what was moved aside for it."""
        put_aside = ""
        try:
            if self._store is not None:
                steps = [*self._unsaved[:-1], attrs.evolve(self._unsaved[-1], digests=b"".join(self._new_digests))]
                self._store.append(steps, changes_list=self._list_unsaved)
                self._saved(self._store)
                return ""
        except StoreCorrupt as exc:
            put_aside = self._move_aside(exc, now)
        store = ObservationStore.open(self._path)
        try:
            store.replace(self.book.snapshot(), self._digests.pack(), changes_list=True)
        except StoreError:
            store.close()
            raise
        self._store = store
        self._saved(store)
        return put_aside

    def _saved(self, store: ObservationStore) -> None:
        self._unsaved, self._new_digests, self._list_unsaved = [], [], False
        self.digest = store.digest

    def fold(self) -> str:
        """Store a snapshot in place of a log that outweighs the last one; returns why that is not possible now."""
        if self._store is None or self._unsaved or not self._store.outweighed:
            return ""
        try:
            self._store.replace(self.book.snapshot(), self._digests.pack())
        except StoreError as exc:
            return str(exc)
        return ""

    def _move_aside(self, exc: StoreCorrupt, now: int) -> str:
        self.close()
        if not self._path.exists():
            return str(exc)
        return f"{exc}; it was moved to {quarantine(self._path, now)}"
