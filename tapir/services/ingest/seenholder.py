"""The one place where the store of seen names is, for who writes to it and for who takes events from it."""

from pathlib import Path

from tapir.store.errors import StoreFull
from tapir.store.quarantine import quarantine
from tapir.store.seen import Retention, SeenStore

_FOLDER_MODE = 0o750


class SeenHolder:
    """Made once in a process, and closed by who made it, after all who use it. What it does blocks: for a worker.

    The novelty keeper alone opens and replaces the store; its incarnations use the same one.
    """

    def __init__(self) -> None:
        self.store: SeenStore | None = None
        """None as long as there is none that can be used; one that was closed answers with StoreErrors"""

    def open(self, path: Path, retention: Retention) -> SeenStore:
        """The store, opened at `path` unless it is. Raises as `SeenStore.open`."""
        if self.store is None:
            try:
                path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            except OSError as exc:
                raise StoreFull(path=path.parent, reason=exc.strerror or str(exc)) from exc
            self.store = SeenStore.open(path, retention)
        return self.store

    def begin_anew(self, path: Path, retention: Retention, now: int) -> str:
        """Move the store at `path` aside and open a new one; where the old one is, in words.

        `now` is microseconds since the epoch. Raises StoreError.
        """
        self.close()
        aside = quarantine(path, now)
        self.open(path, retention)
        return f"it is kept as {aside}" if aside.exists() else "nothing of it is left"

    def close(self) -> None:
        """Close it; closing twice is fine."""
        store, self.store = self.store, None
        if store is not None:
            store.close()
