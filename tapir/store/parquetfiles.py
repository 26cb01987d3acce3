"""EDM's files on disk: histograms on their way out, those that were sent, and sessions.

    parquet/histograms/outbox/   waiting to be sent, the oldest first by name
    parquet/histograms/sent/     kept for a while
    parquet/sessions/            kept for a while, and never sent

A file has its name only when it is whole and durable; until then `.tmp` stands behind it. A name says an interval to
the second, so that two intervals within a second would have one name: the later one is then said to end a second later,
rather than take the earlier one's place. Blocking: for a worker, one at a time for each folder.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.columns import Buffer
from tapir.codec.edmnames import HISTOGRAM_FILE, PARTIAL, SECOND, SESSION_FILE, SUFFIX, FileName, parse_file_name
from tapir.store.errors import StoreFull
from tapir.store.files import sync_folder

_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_BLOCK: Final = 1 << 20


@attrs.frozen(kw_only=True)
class StoredFile:
    """A whole file; `modified` is seconds since the epoch."""

    path: Path
    name: FileName
    size: int
    modified: float


@attrs.frozen(kw_only=True)
class Retention:
    """How long files are kept, in seconds, and how many octets they may take; None for no bound."""

    seconds: float | None = None
    octets: int | None = None


@attrs.frozen(kw_only=True)
class Removed:
    """What was removed, for being too old or because the folder was too large."""

    files: int = 0
    octets: int = 0


class ParquetFiles:
    """The folders below `root`, `<data-dir>/parquet`. Every method raises StoreFull when the disk does not take it."""

    def __init__(self, root: Path) -> None:
        self.outbox = root / "histograms" / "outbox"
        self.sent = root / "histograms" / "sent"
        self.sessions = root / "sessions"

    def prepare(self) -> int:
        """Make what folders there are not, and remove files that a crash left unfinished; how many there were."""
        removed = 0
        for folder in (self.outbox, self.sent, self.sessions):
            with _told(folder):
                _make_folder(folder)
                for path in folder.iterdir():
                    whole = parse_file_name(path.name.removesuffix(PARTIAL))
                    if path.name.endswith(SUFFIX + PARTIAL) and whole is not None and path.is_file():
                        path.unlink()
                        removed += 1
        return removed

    def write_histogram(
        self, parts: Sequence[Buffer], *, start: int, stop: int, naming: Callable[[str], None] | None = None
    ) -> Path:
        """Put a histogram of this interval, microseconds since the epoch, into the outbox.

        `naming` is called with the name that the file, which is whole and durable then, is about to get.
        """
        return self._write(self.outbox, (self.sent,), HISTOGRAM_FILE, parts, start, stop, naming)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name: sessions, or a histogram, sent or not."""
        with _told(self.outbox):
            # In this order: a histogram goes from the outbox to those that were sent.
            return any((folder / name).exists() for folder in (self.outbox, self.sent, self.sessions))

    def write_sessions(
        self, parts: Sequence[Buffer], *, start: int, stop: int, naming: Callable[[str], None] | None = None
    ) -> Path:
        """Put sessions of this interval, microseconds since the epoch, where sessions are; `naming` as above."""
        return self._write(self.sessions, (), SESSION_FILE, parts, start, stop, naming)

    def waiting(self) -> list[StoredFile]:
        """The histograms in the outbox, the oldest first by name."""
        return sorted(self._files(self.outbox, HISTOGRAM_FILE), key=lambda file: file.path.name)

    def mark_sent(self, path: Path) -> Path:
        """Move a histogram from the outbox to those that were sent; where it is now."""
        to = self.sent / path.name
        with _told(self.sent):
            _make_folder(self.sent)
            path.replace(to)
            sync_folder(self.sent)
            sync_folder(self.outbox)
        return to

    def count_sent(self) -> int:
        """How many histograms are kept that were sent."""
        return len(self._files(self.sent, HISTOGRAM_FILE))

    def clean_sent(self, retention: Retention, *, now: float) -> Removed:
        """Remove sent histograms, the oldest first, until `retention` is kept; `now` is seconds since the epoch."""
        return _clean(self._files(self.sent, HISTOGRAM_FILE), retention, now)

    def clean_sessions(self, retention: Retention, *, now: float) -> Removed:
        """Remove sessions likewise."""
        return _clean(self._files(self.sessions, SESSION_FILE), retention, now)

    def _write(
        self,
        folder: Path,
        also: Iterable[Path],
        kind: str,
        parts: Sequence[Buffer],
        start: int,
        stop: int,
        naming: Callable[[str], None] | None,
    ) -> Path:
        with _told(folder):
            _make_folder(folder)
            name = FileName(kind=kind, start=start, stop=max(start, stop))
            while any((place / str(name)).exists() for place in (folder, *also)):
                name = attrs.evolve(name, stop=name.stop + SECOND)
            path = folder / str(name)
            _write_whole(path, parts, naming)
        return path

    @staticmethod
    def _files(folder: Path, kind: str) -> list[StoredFile]:
        files = []
        with _told(folder), contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                name = parse_file_name(entry.name)
                if name is None or name.kind != kind or not entry.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):  # sent or removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    files.append(
                        StoredFile(
                            path=Path(entry.path), name=name, size=status.st_size, modified=status.st_mtime_ns / 1e9
                        )
                    )
        return files


def _clean(files: list[StoredFile], retention: Retention, now: float) -> Removed:
    removed = octets = 0
    left = sum([file.size for file in files])
    for file in sorted(files, key=lambda file: (file.modified, file.path.name)):
        old = retention.seconds is not None and now - file.modified > retention.seconds
        if not old and (retention.octets is None or left <= retention.octets):
            break
        with _told(file.path.parent):
            file.path.unlink(missing_ok=True)
        left -= file.size
        octets += file.size
        removed += 1
    return Removed(files=removed, octets=octets)


def _make_folder(folder: Path) -> None:
    """Make `folder`, and those above it that are not there; what is there keeps its rights."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def _write_whole(path: Path, parts: Sequence[Buffer], naming: Callable[[str], None] | None) -> None:
    """Write `path` aside, make it durable, and give it its name. Raises OSError, and leaves nothing then.

    So it does when `naming` raises, which is called before the last of that.
    """
    partial = path.with_name(path.name + PARTIAL)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        try:
            for part in parts:
                remaining = memoryview(part)
                while remaining:
                    remaining = remaining[os.write(descriptor, remaining[:_BLOCK]) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if naming is not None:
            naming(path.name)
        partial.rename(path)
    except (OSError, StoreFull):
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreFull(path=folder, reason=exc.strerror or str(exc)) from exc
