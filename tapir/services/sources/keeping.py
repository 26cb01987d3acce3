"""The hand of the local source on its store. Blocking: for a worker, one call at a time."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import attrs

from tapir.model.messages.local import Override
from tapir.store.errors import StoreCorrupt, StoreError
from tapir.store.overrides import OverrideStore
from tapir.store.quarantine import quarantine


@attrs.frozen(kw_only=True)
class Opened:
    """What is stored, and what was wrong with it, for the log; `lost` says that it cannot be known any more."""

    overrides: tuple[Override, ...]
    lost: str = ""


class OverrideArchive:
    """Where overrides survive a restart. There is no file before there is something to keep.

    Methods raise StoreError when nothing can be read or written now; the same call may succeed later. Once the store
    was read, memory is the truth: one that cannot be trusted any more is moved aside, and begun anew from that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: OverrideStore | None = None

    def open(self, now: int) -> Opened:
        """What is stored; what cannot be trusted is moved aside."""
        self.close()
        if not self._path.exists():
            return Opened(overrides=())
        try:
            self._store = OverrideStore.open(self._path)
            return Opened(overrides=self._store.load())
        except StoreCorrupt as exc:
            return Opened(overrides=(), lost=self._move_aside(exc, now))
        except StoreError:
            self.close()
            raise

    def change(
        self, *, upserted: tuple[Override, ...], removed: tuple[str, ...], all_after: Iterable[Override], now: int
    ) -> str:
        """Make a change durable that leads to `all_after`; returns what was put aside for it, for the log."""
        trouble = ""
        try:
            if self._store is not None:
                self._store.change(upserted=upserted, removed=removed)
                return ""
        except StoreCorrupt as exc:
            trouble = self._move_aside(exc, now)
        self._store = OverrideStore.open(self._path)
        try:
            self._store.replace(all_after)
        except StoreError:
            self.close()  # begun and empty: what is stored next is all of it again
            raise
        return trouble

    def close(self) -> None:
        """Give the file back."""
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(StoreError):
                store.close()

    def _move_aside(self, exc: StoreCorrupt, now: int) -> str:
        self.close()
        if not self._path.exists():
            return str(exc)
        return f"{exc}; it was moved to {quarantine(self._path, now)}"
