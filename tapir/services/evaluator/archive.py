"""What the list keeper stores of the sources, and what it does when the store fails. Blocking: for a worker.

The lists in memory are in effect whether or not they could be saved. A store that takes nothing (disk full) keeps what
it has; one that cannot be trusted is moved aside and begun anew, and then everything is to be saved again.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from tapir.model.blocks import ListBlock, LookupList
from tapir.policy.difference import ListDifference
from tapir.services.evaluator.roster import SourceContent, SourceSettings, SourceState
from tapir.store.errors import StoreCorrupt, StoreError, StoreFull
from tapir.store.listed import StoredList
from tapir.store.lists import ListStore, ListTransaction
from tapir.store.quarantine import quarantine
from tapir.store.staging import has_copy, sweep
from tapir.store.state import staging_path


@attrs.frozen(kw_only=True, eq=False)
class Restored:
    """The sources as they are known from the store, and what went wrong there, for the log."""

    states: tuple[SourceState, ...]
    trouble: tuple[str, ...]


class ListArchive:
    """The stored lists; one call at a time, from any thread.

    The methods that write raise StoreFull or StoreCorrupt; after the latter nothing is stored of any source until
    `save_all`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staging = staging_path(path.parent)
        self._store: ListStore | None = None
        self._distrusted = False

    def restore(self, sources: Iterable[SourceSettings], now: int) -> Restored:
        """What is stored of `sources`; what is stored of others is forgotten. Never raises a StoreError.

        Lists that were read before damage was found are good, since each is checked by itself: they are kept, marked as
        not saved.
        """
        trouble: list[str] = []
        states = {stored_key(settings): SourceState(settings=settings) for settings in sources}
        try:
            store = self._open()
            known = {stored.source: stored for stored in store.load_all()}
            for key, state in states.items():
                if key in known and state.settings.supported:
                    found, lost = self._with_copies(load_state(store, key, known[key], state))
                    states[key] = found
                    trouble += lost
            if foreign := known.keys() - states.keys():
                with store.transaction() as transaction:
                    for key in foreign:
                        transaction.forget(key)
        except StoreCorrupt as exc:
            trouble.append(str(exc))
            trouble += self._replace_corrupt(now)
            states = {key: attrs.evolve(state, saved=state.content is None) for key, state in states.items()}
        except StoreFull as exc:
            trouble.append(str(exc))
        return Restored(states=tuple(states.values()), trouble=tuple(trouble))

    def save_content(self, state: SourceState, difference: ListDifference | None) -> None:
        """Store what `state` holds; `difference` is what changed since the last save, None when that is not known."""

        def write(transaction: ListTransaction) -> None:
            content = state.content
            if content is None or difference is None or isinstance(content.block, LookupList):
                _write(transaction, state)
                return
            key = stored_key(state.settings)
            try:
                transaction.change(
                    key,
                    removed=difference.removed,
                    upserted=difference.upserted,
                    digest=content.digest,
                    loaded_at=content.loaded_at,
                    refusals=content.refusals,
                    whole=lambda: _listed(content),
                )
            except KeyError:
                _write(transaction, state)

        self._transact(write)

    def save_pending(self, state: SourceState) -> None:
        """Store what the brake holds back for a source, or that it holds back nothing any more."""

        def write(transaction: ListTransaction) -> None:
            try:
                _write_pending(transaction, state)
            except KeyError:
                _write(transaction, state)

        self._transact(write)

    def save_all(self, states: Iterable[SourceState], now: int) -> str:
        """Store all of `states`, in a store begun anew if need be; returns what was put aside, for the log."""
        trouble: list[str] = []
        try:
            if not self._distrusted:
                self._open()
        except StoreCorrupt as exc:
            self._distrusted = True
            trouble.append(str(exc))
        if self._distrusted:
            trouble += self._replace_corrupt(now)

        def write(transaction: ListTransaction) -> None:
            for state in states:
                _write(transaction, state)

        self._transact(write)
        return "; ".join(trouble)

    def forget(self, sources: Iterable[SourceSettings]) -> None:
        """Nothing is stored of `sources` any more."""

        def write(transaction: ListTransaction) -> None:
            for settings in sources:
                transaction.forget(stored_key(settings))

        self._transact(write)

    def sweep(self, states: Iterable[SourceState], now: int) -> None:
        """Remove the copies of lists that none of `states`, which are all saved, is looked up in. Raises StoreFull."""
        contents = [content for state in states for content in (state.content, state.pending) if content is not None]
        keep = [Path(content.block.path) for content in contents if isinstance(content.block, LookupList)]
        try:
            sweep(self._staging, keep=keep, now=now / 1_000_000)
        except OSError as exc:
            raise StoreFull(path=self._staging, reason=exc.strerror or str(exc)) from exc

    def lost(self, states: Iterable[SourceState]) -> tuple[str, ...]:
        """The sources that are looked up in a copy that is not there."""
        return tuple(
            state.settings.id for state in states if state.content is not None and not _is_whole(state.content)
        )

    def close(self) -> None:
        """Give the file back."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _with_copies(self, state: SourceState) -> tuple[SourceState, list[str]]:
        """`state` as looked up in the copies of this folder, without what is gone or damaged, and what that is."""
        kept: list[SourceContent | None] = []
        lost: list[str] = []
        for content in (state.content, state.pending):
            if content is not None and isinstance(content.block, LookupList):
                path = self._staging / Path(content.block.path).name
                if not has_copy(path, digest=content.block.digest):
                    lost.append(f"{path}: the copy of source {state.settings.id} is gone or damaged")
                    kept.append(None)
                    continue
                content = attrs.evolve(content, block=attrs.evolve(content.block, path=str(path)))
            kept.append(content)
        content, pending = kept
        if content is None or pending is None:
            # What is held back is held because of what is in effect.
            return attrs.evolve(state, content=content, pending=None, held_because=""), lost
        return attrs.evolve(state, content=content, pending=pending), lost

    def _transact(self, write: Callable[[ListTransaction], None]) -> None:
        if self._store is None:
            raise StoreFull(path=self._path, reason="the store is not open")
        try:
            with self._store.transaction() as transaction:
                write(transaction)
        except StoreCorrupt:
            self._distrusted = True
            raise

    def _open(self) -> ListStore:
        if self._store is None:
            self._store = ListStore.open(self._path)
        return self._store

    def _replace_corrupt(self, now: int) -> list[str]:
        """Move the database aside and begin a new one; returns what there is to say about it."""
        self.close()
        try:
            aside = quarantine(self._path, now)
            self._open()
        except StoreError as exc:
            self._distrusted = True
            return [str(exc)]
        self._distrusted = False
        return [f"the damaged database was moved to {aside}"]


def is_there(block: ListBlock | LookupList) -> bool:
    """Whether a list can be looked up, if that is what is done with it."""
    return isinstance(block, ListBlock) or Path(block.path).is_file()


def _is_whole(content: SourceContent) -> bool:
    return not isinstance(content.block, LookupList) or is_there(content.block)


def _listed(content: SourceContent) -> ListBlock:
    block = content.whole()
    if isinstance(block, LookupList):
        raise AssertionError("what is looked up has no names to store")  # and never comes as a difference
    return block


def stored_key(settings: SourceSettings) -> str:
    """The name of a source in the store.

    It has the kind in it: what was let into an allowlist was never asked whether it is too broad for a denylist.
    """
    return f"{settings.kind.value}/{settings.id}"


def load_state(store: ListStore, key: str, stored: StoredList, state: SourceState) -> SourceState:
    """`state` with what is stored under `key`. Raises StoreError."""
    if stored.digest is not None and stored.loaded_at is not None:
        content = SourceContent(
            block=store.load(key), digest=stored.digest, refusals=stored.refusals, loaded_at=stored.loaded_at
        )
        state = attrs.evolve(state, content=content)
    if stored.pending is not None:
        pending = SourceContent(
            block=store.load_pending(key),
            digest=stored.pending.digest,
            refusals=stored.pending.refusals,
            loaded_at=stored.pending.loaded_at,
        )
        state = attrs.evolve(state, pending=pending, held_because=stored.pending.reason)
    return state


def _write(transaction: ListTransaction, state: SourceState) -> None:
    key = stored_key(state.settings)
    if state.content is None:
        transaction.forget(key)
        return
    transaction.replace(
        key,
        content=state.content.whole(),
        digest=state.content.digest,
        loaded_at=state.content.loaded_at,
        refusals=state.content.refusals,
    )
    if state.pending is not None:
        _write_pending(transaction, state)


def _write_pending(transaction: ListTransaction, state: SourceState) -> None:
    key = stored_key(state.settings)
    if state.pending is None:
        transaction.clear_pending(key)
        return
    transaction.set_pending(
        key,
        content=state.pending.whole(),
        reason=state.held_because,
        digest=state.pending.digest,
        loaded_at=state.pending.loaded_at,
        refusals=state.pending.refusals,
    )
