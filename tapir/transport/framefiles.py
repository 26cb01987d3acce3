"""Frame Streams from a file or standard input, as `fstrm_capture -w` writes them: blocks of frames, and how far it is.

Blocks: this is for a thread, or a command that does nothing else.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import attrs

from tapir.codec.framestream import Ending, Phase, Receiver
from tapir.model.blocks import FrameBlock
from tapir.model.errors import TapirError
from tapir.transport.framestream import FrameStreamSettings

STANDARD_INPUT: Final = Path("-")


class FrameFileError(TapirError):
    """A file cannot be read; what was delivered of it so far is good."""


class Readable(Protocol):
    """What is read: an unbuffered file, a pipe."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Put the next octets into `buffer`; how many, 0 at the end."""
        ...


@attrs.frozen(kw_only=True)
class FileSummary:
    """What was in a file, exactly; frames that are whole were delivered however it ended."""

    ending: Ending
    frames: int
    octets: int
    """read, of the whole file unless more followed STOP"""
    unread: int
    """octets at the end that are no whole frame, or that follow STOP"""


class FrameFile:
    """Iterates over the blocks of a stream of frames; `done` of `total` octets are read, None for nobody knows.

    Raises FrameStreamError when the octets are not what they should be, after all that was, and OSError.
    """

    def __init__(self, file: Readable, settings: FrameStreamSettings, *, total: int | None = None) -> None:
        self.total = total
        self._file = file
        self._receiver = Receiver(settings.pool(), content_type=settings.content_type)

    @property
    def done(self) -> int:
        """Octets read so far."""
        return self._receiver.octets

    def __iter__(self) -> Iterator[FrameBlock]:
        receiver = self._receiver
        while True:
            receiver.advance()
            if receiver.due:
                yield receiver.take()
                continue
            if receiver.phase is Phase.STOPPED:
                return
            count = self._file.readinto(receiver.room())
            if count is None:
                raise BlockingIOError(errno.EAGAIN, "the descriptor does not block, so it cannot be waited for")
            if not count:
                break
            receiver.filled(count)
        if receiver.ready:
            yield receiver.take()

    def summary(self) -> FileSummary:
        """What was read so far, and how it would end here."""
        receiver = self._receiver
        return FileSummary(
            ending=receiver.ending, frames=receiver.frames, octets=receiver.octets, unread=receiver.pending
        )


@contextmanager
def open_frames(path: Path, settings: FrameStreamSettings) -> Iterator[FrameFile]:
    """The stream in the file `path`, or on standard input if it is `-`. Raises FrameFileError."""
    try:
        with _open(path) as file:
            yield FrameFile(file, settings, total=_size(file.fileno()))
    except OSError as exc:
        raise FrameFileError(f"{path}: {exc.strerror or exc}") from exc


def _open(path: Path) -> io.FileIO:
    if path != STANDARD_INPUT:
        return io.FileIO(path)
    if sys.stdin is None:  # `<&-`
        raise FrameFileError("-: standard input is closed")
    if sys.stdin.isatty():
        raise FrameFileError("-: standard input is a terminal, where nobody types frames")
    return io.FileIO(sys.stdin.fileno(), closefd=False)


def _size(descriptor: int) -> int | None:
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
