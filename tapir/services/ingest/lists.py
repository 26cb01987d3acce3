"""The lists that frames are held against, from their files: well-known names, clients and names to ignore.

Each is taken whole or not at all, and stands by itself: what is wrong with one leaves the others alone. What a file
held before stays in effect until it holds something that can be used. Blocking: for a worker.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import attrs

from tapir.codec.dawg import DawgError
from tapir.minimiser.ignoring import IgnoredClients, IgnoredClientsError, parse_ignored_clients
from tapir.minimiser.wellknown import WellKnownNames, index_names, no_names
from tapir.model.errors import TapirError
from tapir.model.messages.edm import ListFile
from tapir.store.files import FileIdentity
from tapir.store.namelists import NameListUnusable, read_name_list
from tapir.store.staging import sweep

STAGING: Final = "dawg-staging"
CLIENTS_LIMIT: Final = 1 << 26
"""octets of a list of clients to ignore: some millions of networks"""

_YOUNG: Final = 2_000_000_000
"""nanoseconds within which a file may change again, and look as if it had not"""

T = TypeVar("T", IgnoredClients, WellKnownNames)


class ListUnusable(TapirError):
    """A list cannot be used; the text says which file, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@attrs.frozen(kw_only=True)
class ListPaths:
    """Where the lists are; None where there is none."""

    well_known: Path
    ignored_clients: Path | None
    ignored_names: Path | None
    data_dir: Path
    """copies of DAWG files are made below"""


@attrs.frozen(kw_only=True, eq=False)
class LoadedList(Generic[T]):
    """A list as it is in effect.

    `value` is the same object for as long as the content is the same. Where the list is not `known`, which is so as
    long as it could never be read, `value` is an empty one, and nobody knows what should be in it.
    """

    path: Path | None
    value: T
    known: bool
    loaded_at: int | None = None
    """when that content was first read; microseconds since the epoch"""
    trouble: str = ""
    """why what the file holds now is not used, and what still holds"""
    identity: FileIdentity | None = None
    digest: str = ""

    @property
    def entries(self) -> int:
        return len(self.value)

    def file(self) -> ListFile:
        """How it stands, for those who look."""
        return ListFile(
            path="" if self.path is None else str(self.path),
            entries=self.entries,
            loaded_at=self.loaded_at,
            trouble=self.trouble,
        )


@attrs.frozen(kw_only=True, eq=False)
class Loaded:
    """All lists as they are in effect."""

    well_known: LoadedList[WellKnownNames]
    ignored_clients: LoadedList[IgnoredClients]
    ignored_names: LoadedList[WellKnownNames]
    staging_trouble: str = ""
    """why what an earlier process left in the staging folder is still there; nothing depends on it"""

    @property
    def closed(self) -> bool:
        """Whether no frame may be minimised, since some list was never read.

        Whoever was to be ignored would not be; and without the well-known names each of them would be reported as new.
        """
        return not (self.well_known.known and self.ignored_clients.known and self.ignored_names.known)

    @property
    def names_to_ignore(self) -> WellKnownNames | None:
        """As PipelineSettings wants them: none are as good as no list."""
        return self.ignored_names.value if self.ignored_names.entries else None

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong, a sentence each; the same for as long as the same is wrong."""
        lists = (self.well_known.trouble, self.ignored_clients.trouble, self.ignored_names.trouble)
        return tuple(trouble for trouble in (*lists, self.staging_trouble) if trouble)


def load_lists(paths: ListPaths, *, secret: bytes, now: int, before: Loaded | None = None) -> Loaded:
    """The lists that are in the files now, and where one cannot be used the one of `before`.

    A file that is as it was is not read again; nothing is raised for what a file is, holds or lacks. `now` is
    microseconds since the epoch; `secret` is the one that blocks are decoded with. Without `before`, which is at the
    start of the process, what an earlier one left in the staging folder is removed.
    """
    staging = paths.data_dir / STAGING
    staging_trouble = _cleared(staging, now) if before is None else before.staging_trouble

    def names(path: Path) -> tuple[WellKnownNames | None, str]:
        return _read_names(path, staging, secret)

    def needed(path: Path) -> tuple[WellKnownNames, str]:
        found, digest = names(path)
        if found is None:
            raise ListUnusable(path, "is empty")
        return found, digest

    def wanted(path: Path) -> tuple[WellKnownNames, str]:
        found, digest = names(path)
        return no_names(secret) if found is None else found, digest

    nothing = no_names(secret)
    if before is None:
        well_known = ignored_names = LoadedList(path=None, value=nothing, known=False)
        clients = LoadedList(path=None, value=IgnoredClients(), known=False)
    else:
        well_known, clients, ignored_names = before.well_known, before.ignored_clients, before.ignored_names
    return Loaded(
        well_known=_load(paths.well_known, needed, nothing, now, well_known),
        ignored_clients=_load(paths.ignored_clients, _read_clients, IgnoredClients(), now, clients),
        ignored_names=_load(paths.ignored_names, wanted, nothing, now, ignored_names),
        staging_trouble=staging_trouble,
    )


def _load(
    path: Path | None, read: Callable[[Path], tuple[T, str]], nothing: T, now: int, before: LoadedList[T]
) -> LoadedList[T]:
    if path is None:
        off = before.known and before.path is None
        return before if off else LoadedList(path=None, value=nothing, known=True)
    try:
        identity = FileIdentity.of(path.stat())
        if before.path == path and before.identity == identity:
            return before
        value, digest = read(path)
    except (OSError, TapirError) as exc:
        reason = f"{path}: {exc.strerror or exc}" if isinstance(exc, OSError) else str(exc)
        return _kept(path, reason, before)
    # A file that changed just now may do so again within the same tick of its clock: it is read once more.
    young = now * 1000 - max(identity.modified_ns, identity.changed_ns) < _YOUNG
    same = before.loaded_at is not None and before.digest == digest
    return LoadedList(
        path=path,
        value=before.value if same else value,
        known=True,
        loaded_at=before.loaded_at if same else now,
        identity=None if young else identity,
        digest=digest,
    )


def _kept(path: Path, reason: str, before: LoadedList[T]) -> LoadedList[T]:
    """What there was, with why it is still that; without an identity, so that the file is read the next time."""
    if not before.known:
        held = "no frame is minimised until this list can be read"
    elif before.loaded_at is None:
        held = "there was none before, so none is in effect"
    else:
        held = "the former one is in effect"
    return attrs.evolve(before, path=path, identity=None, trouble=f"{reason}; {held}")


def _read_names(path: Path, staging: Path, secret: bytes) -> tuple[WellKnownNames | None, str]:
    """The names in a DAWG file, None for an empty file, and the digest. Raises OSError, TapirError."""
    staging.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    try:
        found = read_name_list(path, staging=staging)
        return (None, "") if found is None else (index_names(found.dawg, secret), found.digest)
    except NameListUnusable as exc:
        raise ListUnusable(exc.path, exc.reason) from exc
    except DawgError as exc:
        raise ListUnusable(path, str(exc)) from exc


def _read_clients(path: Path) -> tuple[IgnoredClients, str]:
    """The clients in a file, and its digest. Raises OSError, ListUnusable."""
    # Not to wait for a writer, should the file be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ListUnusable(path, "is no file")
        if before.st_size > CLIENTS_LIMIT:
            raise ListUnusable(path, f"has {before.st_size} octets, {CLIENTS_LIMIT} are allowed")
        octets = file.read(CLIENTS_LIMIT + 1)
        after = os.fstat(descriptor)
    if len(octets) != before.st_size or FileIdentity.of(before) != FileIdentity.of(after):
        raise ListUnusable(path, "changed while it was read")
    try:
        return parse_ignored_clients(octets), hashlib.sha256(octets).hexdigest()
    except IgnoredClientsError as exc:
        raise ListUnusable(path, f"line {exc.line} is {exc.reason}") from exc


def _cleared(staging: Path, now: int) -> str:
    try:
        sweep(staging, keep=(), now=now / 1e6)
    except OSError as exc:
        return f"{staging}: {exc.strerror or exc}; old copies of lists stay there, and are not used"
    return ""
