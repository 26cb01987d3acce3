"""Looking at a list file and reading it. Blocking: for a worker that may hang with the file system."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tapir.codec.csvlist import ListShapeError, parse_csv
from tapir.codec.lists import ListTooLongError, ParsedList, parse_domains
from tapir.model.actions import ListKind
from tapir.model.errors import TapirError
from tapir.model.names import Name
from tapir.policy.admission import Admitted, admit
from tapir.services.sources.looking import FileSign, refuse_kind
from tapir.services.sources.suffixes import load_suffix_test

FORMATS: Final = ("domains", "csv", "dawg")
"""The formats that a list file can have."""
MATCHES: Final = ("exact", "subtree")
"""What a plain `name` in a list can stand for: that name, or that name and everything below it."""

_BLOCK: Final = 1 << 20

# One list is parsed at a time: two would take twice the memory, and both cores from the event loop. Whoever waits for
# the file system does not hold it.
_PARSING: Final = threading.Lock()


class ListUnreadableError(TapirError):
    """A list file cannot be read; what it said before stays in effect."""

    def __init__(self, *, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ListUnusableError(ListUnreadableError):
    """What the file says is no list, so reading it again changes nothing until it says something else."""


class ListTornError(TapirError):
    """A list file changed while it was read, so what was read is of no state of it; it is to be looked at again."""


@attrs.define
class Progress:
    """How far a reading thread is, for whoever watches it: all octets are `read` when only computing is left.

    Setting `abandoned` lets it end at its next block.
    """

    octets: int = 0
    read: bool = False
    abandoned: bool = False


@attrs.frozen(kw_only=True)
class ReadingSettings:
    """How a list file is read, and for which zone."""

    path: Path
    kind: ListKind
    zone: Name
    broad: bool
    size_limit: int
    format: str = attrs.field(default="domains", validator=attrs.validators.in_(FORMATS))
    column: str | None = None
    """which column of a csv file holds the names, by the title in its header; None for the second"""
    match: str = attrs.field(default="exact", validator=attrs.validators.in_(MATCHES))
    """what a plain `name` stands for: `exact`ly that name, or its `subtree`"""
    staging: Path | None = None
    """where copies of DAWG files go"""


def look_at(path: Path) -> FileSign:
    """What `stat` says of the file at `path`. Raises ListUnreadableError, also for what can be no list."""
    try:
        status = path.stat()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if reason := refuse_kind(status.st_mode):
        raise ListUnreadableError(path=path, reason=reason)
    return FileSign.of(status)


def read_list(settings: ReadingSettings, sign: FileSign, progress: Progress) -> Admitted:
    """The names in the file, which still looks like `sign` before, during and after.

    Raises ListTornError when it does not or nobody waits any more, ListUnreadableError when it cannot be read,
    ListUnusableError when it holds too much, or no header where one is needed, or lines and not one entry: a web
    server's error page or a damaged file in the place of an allowlist must not take its names out.
    """
    path = settings.path
    if sign.size > settings.size_limit:
        reason = f"is {sign.size} octets long, {settings.size_limit} are allowed"
        raise ListUnusableError(path=path, reason=reason)
    suffixes = load_suffix_test()
    try:
        # Not to wait for a writer, should the file be a pipe by now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _check_sign(sign, FileSign.of(os.fstat(descriptor)))
            with _PARSING:
                parsed = _parse(settings, _blocks(descriptor, sign.size, progress))
            _check_sign(sign, FileSign.of(os.fstat(descriptor)))
        finally:
            os.close(descriptor)
        _check_sign(sign, FileSign.of(path.stat()))
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    except (ListTooLongError, ListShapeError) as exc:
        raise ListUnusableError(path=path, reason=str(exc)) from exc
    progress.read = True
    if parsed.refusals and not len(parsed):
        lines = sum(refusal.count for refusal in parsed.refusals)
        raise ListUnusableError(path=path, reason=f"is no list: not one of its {lines} lines is an entry")
    with _PARSING:
        return admit(parsed, kind=settings.kind, zone=settings.zone, is_public_suffix=suffixes, broad=settings.broad)


def _parse(settings: ReadingSettings, blocks: Iterator[bytes]) -> ParsedList:
    subtree = settings.match == "subtree"
    if settings.format == "csv":
        return parse_csv(blocks, column=settings.column, subtree=subtree)
    return parse_domains(blocks, subtree=subtree)


def _blocks(descriptor: int, size: int, progress: Progress) -> Iterator[bytes]:
    """The file in blocks, up to the size that it has; the lock on parsing is not held while it is read."""
    left = size
    while left > 0:
        _PARSING.release()
        try:
            block = os.read(descriptor, min(_BLOCK, left))
        finally:
            _PARSING.acquire()
        if progress.abandoned:
            raise ListTornError("nobody waits for this list any more")
        if not block:
            raise ListTornError("the file got shorter while it was read")
        left -= len(block)
        progress.octets += len(block)
        yield block


def _check_sign(expected: FileSign, found: FileSign) -> None:
    if found != expected:
        raise ListTornError("the file changed while it was read")


def _unreadable(path: Path, exc: OSError) -> ListUnreadableError:
    return ListUnreadableError(path=path, reason=exc.strerror or str(exc))
