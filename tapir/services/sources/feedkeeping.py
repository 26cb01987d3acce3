"""The hand of a feed's source on its store. Blocking: for a worker, one call at a time."""

import contextlib
from pathlib import Path
from typing import Final

import attrs

from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.store.errors import StoreCorrupt, StoreError, StoreFull, StoreOutOfStep
from tapir.store.feeds import FeedStanding, FeedStore, StoredFeed
from tapir.store.quarantine import quarantine

_FEW: Final = 10_000


@attrs.frozen(kw_only=True, eq=False)
class OpenedFeed:
    """What is stored, and what was wrong with it, for the log."""

    stored: StoredFeed | None
    trouble: str = ""


class FeedArchive:
    """Where a feed survives a restart. There is no file before there is something to keep.

    Methods raise StoreError when nothing can be read or written now; the same call may succeed later, and the next
    `save` then writes all that the store lacks. Once the store was read, memory is the truth: one that cannot be
    trusted any more is moved aside, and begun anew from that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: FeedStore | None = None
        self._saved: int | None = None
        """the serial that is stored, None when what is stored does not count"""

    def open(self, now: int) -> OpenedFeed:
        """What is stored; what cannot be trusted is moved aside."""
        self.close()
        if not self._path.exists():
            return OpenedFeed(stored=None)
        try:
            self._store = FeedStore.open(self._path)
            stored = self._store.load()
        except StoreCorrupt as exc:
            return OpenedFeed(stored=None, trouble=self._move_aside(exc, now))
        except StoreError:
            self.close()
            raise
        self._saved = stored.standing.serial if stored is not None else None
        return OpenedFeed(stored=stored)

    def save(
        self,
        standing: FeedStanding,
        parts: tuple[RecordBlock, ...],
        passed: tuple[bytes, ...] = (),
        *,
        delta: RecordDelta | None,
        base: int,
        now: int,
    ) -> str:
        """Make durable that the feed is `parts` and `passed`; `delta` leads there from `base`, None from anywhere.

        Returns what was put aside for it, for the log.
        """
        trouble = ""
        try:
            if self._store is not None and delta is not None and self._saved == base and _is_small(delta, parts):
                self._change(self._store, standing, delta, base)
                self._saved = standing.serial
                return ""
        except StoreOutOfStep:
            pass  # it is written anew
        except StoreCorrupt as exc:
            trouble = self._move_aside(exc, now)
        self._saved = None
        try:
            self._replace(standing, parts, passed)
        except StoreCorrupt as exc:
            trouble = self._move_aside(exc, now)
            self._replace(standing, parts, passed)
        self._saved = standing.serial
        return trouble

    def close(self) -> None:
        """Give the file back."""
        store, self._store = self._store, None
        self._saved = None
        if store is not None:
            with contextlib.suppress(StoreError):
                store.close()

    def _change(self, store: FeedStore, standing: FeedStanding, delta: RecordDelta, base: int) -> None:
        if standing.serial == base:
            store.note(standing)
        else:
            store.commit(base, standing, delta)

    def _replace(self, standing: FeedStanding, parts: tuple[RecordBlock, ...], passed: tuple[bytes, ...]) -> None:
        if self._store is None:
            try:
                self._path.parent.mkdir(mode=0o750, exist_ok=True)
            except OSError as exc:
                raise StoreFull(path=self._path.parent, reason=exc.strerror or str(exc)) from exc
            self._store = FeedStore.open(self._path)
        self._store.replace(standing, parts, passed)

    def _move_aside(self, exc: StoreCorrupt, now: int) -> str:
        self.close()
        if not self._path.exists():
            return str(exc)
        return f"{exc}; it was moved to {quarantine(self._path, now)}"


def _is_small(delta: RecordDelta, parts: tuple[RecordBlock, ...]) -> bool:
    """Whether to write the difference is less than to write all; after a large one the store would do both."""
    return 2 * (len(delta.removed) + len(delta.added)) <= max(_FEW, sum([len(part) for part in parts]))
