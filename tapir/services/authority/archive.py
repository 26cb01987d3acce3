"""The stored versions of the zone and the serialcache beside them. Blocking: for a worker, one call at a time.

Memory is the truth once the zone has been read: a store that turns out corrupt is moved aside and begun anew from
the version at hand, one that takes nothing keeps what it has until it takes something again.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from tapir.services.authority.steering import UNKNOWN_HOLD, Steering
from tapir.services.authority.steps import ENCODING, Step
from tapir.store.errors import StoreCorrupt, StoreError, StoreOutOfStep
from tapir.store.quarantine import quarantine
from tapir.store.serialcache import read_serialcache, write_serialcache
from tapir.store.zones import StoredZone, ZoneStore
from tapir.zone.serial import is_newer
from tapir.zone.view import ZoneView

_PRUNE_AT_LEAST: Final = 64


@attrs.frozen(kw_only=True, eq=False)
class Opened:
    """What is known of the zone from the disk.

    `lost` says that there was a store, and that it could not be read; `trouble` is for the log.
    """

    stored: StoredZone | None
    steering: Steering
    cached: int | None
    no_serial: str
    """why serialcache says none, if there is one configured and it does not"""
    lost: bool
    trouble: tuple[str, ...]


class ZoneArchive:
    """Where the versions of one zone survive a crash.

    Methods raise StoreFull when nothing can be written: nothing was, and the same call may succeed later.
    """

    def __init__(
        self, path: Path, serial_cache: Path | None, *, open_store: Callable[[Path], ZoneStore] = ZoneStore.open
    ) -> None:
        self._path = path
        self._cache = serial_cache
        self._beside = path.with_name("serial")
        self._open_store = open_store
        self._store: ZoneStore | None = None
        self._steering = Steering()
        """as it is stored, or would be in a new store"""
        self._stored_steps = 0

    def open(self, now: int) -> Opened:
        """Read what is stored; what cannot be trusted is moved aside, and a new store begun."""
        trouble: list[str] = []
        try:
            stored = self._read(trouble)
        except StoreCorrupt as exc:
            trouble.append(self._move_aside(exc, now))
            stored = self._read(trouble)
        cached, why = self._read_serial()
        self._stored_steps = len(stored.deltas) if stored is not None else 0
        return Opened(
            stored=stored,
            steering=self._steering,
            cached=cached,
            no_serial=why,
            # A store that was moved aside shows, also when its successor could not be begun before the next start.
            lost=stored is None and any(self._path.parent.glob(f"{self._path.name}.corrupt-*")),
            trouble=tuple(trouble),
        )

    def commit(self, step: Step, steering: Steering, now: int) -> tuple[str, ...]:
        """`step` and `steering` survive whatever happens from now on; returns what went wrong beside, for the log."""
        trouble: list[str] = []
        try:
            self._commit(step, steering, now)
        except StoreOutOfStep as exc:
            trouble.append(f"the store was out of step and is written anew: {exc}")
            self._rewrite(step.view, steering, now)
        except StoreCorrupt as exc:
            trouble.append(self._move_aside(exc, now))
            self._rewrite(step.view, steering, now)
        # After the store, before anybody sees the serial: whichever of the two is read later, none is behind.
        self._remember_serial(step.view.serial if steering.pause is None else steering.pause.serial, trouble)
        return tuple(trouble)

    def tidy(self, view: ZoneView) -> tuple[str, ...]:
        """Give up what `view` has no use for, and order what is stored; what went wrong, for the log.

        Nothing depends on it, so it is for when the version has been announced.
        """
        trouble: list[str] = []
        with _told(trouble):
            self._prune(view)
            if self._store is not None:
                self._store.tidy()
        return tuple(trouble)

    def _remember_serial(self, serial: int, trouble: list[str]) -> None:
        """Keep the serial where it survives the store: in serialcache for the old daemon, and beside the store.

        Twice, since serialcache may be missing, or not ours to write: what it said long ago must not count then.
        """
        for path in (self._cache, self._beside):
            if path is not None:
                with _told(trouble, "the file of the serial is behind, and who goes on from it begins too low: "):
                    write_serialcache(path, serial)

    def _read_serial(self) -> tuple[int | None, str]:
        """The later one of the serials in serialcache and beside the store; why serialcache says none."""
        beside = read_serialcache(self._beside).serial
        if self._cache is None:
            return beside, ""
        cached = read_serialcache(self._cache)
        why = f"{self._cache} says no serial: {cached.reason}" if cached.reason else ""
        if cached.serial is None or (beside is not None and is_newer(beside, than=cached.serial)):
            return beside, why
        return cached.serial, why

    def remember(self, steering: Steering, view: ZoneView | None, now: int) -> tuple[str, ...]:
        """What the operator wants of the zone, of which `view` is the content, survives a restart; as `commit`."""
        trouble: list[str] = []
        if self._store is not None:
            try:
                self._store.set_held(steering.held, steering=steering.pack())
            except StoreCorrupt as exc:
                trouble.append(self._move_aside(exc, now))
        if self._store is None:
            if view is not None:
                self._rewrite(view, steering, now)
            else:
                self._store = self._open_store(self._path)
                self._store.set_held(steering.held, steering=steering.pack())
        self._steering = steering
        if steering.pause is not None:
            self._remember_serial(steering.pause.serial, trouble)
        return tuple(trouble)

    def close(self) -> None:
        """Give the files back."""
        store, self._store = self._store, None
        if store is not None:
            # A store that fails to close has nothing left to lose: each commit was durable by itself.
            with contextlib.suppress(StoreError):
                store.close()

    def _read(self, trouble: list[str]) -> StoredZone | None:
        self.close()
        self._store = self._open_store(self._path)
        try:
            held = self._store.held()
            try:
                self._steering = Steering.unpack(self._store.steering(), held=held)
            except ValueError as exc:
                trouble.append(f"what is stored of the operator's wishes is forgotten, but for a hold: {exc}")
                self._steering = Steering(hold=UNKNOWN_HOLD if held else None)
            return self._store.load()
        except StoreError:
            self.close()
            raise

    def _commit(self, step: Step, steering: Steering, now: int) -> None:
        if self._store is None or step.delta is None:
            self._rewrite(step.view, steering, now)
        elif steering == self._steering:
            self._store.commit(step.delta)
            self._stored_steps += 1
        else:
            self._store.commit(step.delta, held=steering.held, steering=steering.pack())
            self._steering = steering
            self._stored_steps += 1

    def _rewrite(self, view: ZoneView, steering: Steering, now: int) -> None:
        """Write the whole zone as it is in `view`, into a new store if there is none."""
        if self._store is None:
            self._store = self._open_store(self._path)
        self._store.reset(
            view.serial,
            view.version.records(),
            now,
            passed=view.version.passed.records,
            deltas=view.journal.steps,
            extra={ENCODING: view.version.encoding.digest},
            held=steering.held,
            steering=steering.pack(),
        )
        self._steering = steering
        self._stored_steps = len(view.journal)

    def _move_aside(self, exc: StoreCorrupt, now: int) -> str:
        self.close()
        aside = quarantine(self._path, now)
        kept = f"it is kept as {aside}" if aside.exists() else "nothing of it is left"
        return f"the store could not be trusted ({exc.reason}); {kept}, and a new one begun"

    def _prune(self, view: ZoneView) -> None:
        """Let the store forget what the journal has forgotten; not at each commit, since it reads the whole journal."""
        kept = len(view.journal)
        if self._store is None or self._stored_steps - kept < max(_PRUNE_AT_LEAST, kept // 8):
            return
        oldest = view.journal.from_serial
        self._store.prune(view.serial if oldest is None else oldest)
        self._stored_steps = kept


@contextlib.contextmanager
def _told(trouble: list[str], what: str = "") -> Iterator[None]:
    """What fails within is told after `what`, and does not undo the commit, which has succeeded."""
    try:
        yield
    except StoreError as exc:
        trouble.append(f"{what}{exc}")
