"""Being told that somebody finished writing a file, rather than finding out.

Linux tells of a folder whose file was closed after writing, or got its name by a rename. That is all a source needs to
read at once, where polling has to see the file twice before it believes that nobody writes any more. What is not told
(a network file system, too many watches, a link to another folder) polling finds as before, so nothing here is an
error: without a watch, lists are merely seen later.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio
from inotify_simple import INotify, flags, parse_events

from actors.clock import is_virtual
from tapir.services.sources.worker import Worker

_FINISHED: Final = flags.CLOSE_WRITE | flags.MOVED_TO
_GONE: Final = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED
_PAUSE: Final = 0.02
"""Seconds in which events are collected: ten thousand writes a second wake us fifty times."""
_AGAIN: Final = 5.0
"""Seconds until a folder that cannot be watched is tried again."""
_READ: Final = 1 << 16


class Watcher(Protocol):
    """Tells of finished writers."""

    async def watch(self, path: Path, finished: Callable[[], None]) -> None:
        """Call `finished` whenever the file at `path` may be complete, until cancelled."""
        ...


class Unwatched:
    """For where nobody tells, as under a virtual clock."""

    async def watch(self, path: Path, finished: Callable[[], None]) -> None:
        """Never call `finished`."""
        await trio.sleep_forever()


class FolderWatcher:
    """Watches the folder of one file. `worker` runs what may hang with the file system."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def watch(self, path: Path, finished: Callable[[], None]) -> None:
        """Call `finished` after each writer; also when the folder came back or events were lost."""
        try:
            await self._worker.run(_load)
        except OSError:
            await trio.sleep_forever()  # a system without inotify, or all instances are taken
        known = True
        while True:
            try:
                with INotify(nonblocking=True) as notices:
                    await self._worker.run(
                        notices.add_watch, path.parent, _FINISHED | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
                    )
                    if not known:
                        finished()
                    known = True
                    await _follow(notices, path.name, finished)
                    # The folder is another one by now, or none.
                    finished()
                pause = _PAUSE
            except OSError:
                pause = _AGAIN  # no folder, or no watch to be had
            known = False
            await trio.sleep(pause)


def watcher_for(worker: Worker) -> Watcher:
    """What watches in this process: nobody where time is virtual."""
    return Unwatched() if is_virtual() else FolderWatcher(worker)


async def _follow(notices: INotify, name: str, finished: Callable[[], None]) -> None:
    """Tell of `name` until the folder is gone. Raises OSError."""
    while True:
        await trio.lowlevel.wait_readable(notices.fileno())
        told = gone = False
        for event in parse_events(os.read(notices.fileno(), _READ)):
            told = told or bool(event.mask & flags.Q_OVERFLOW or (event.name == name and event.mask & _FINISHED))
            gone = gone or bool(event.mask & _GONE)
        if told:
            finished()
        if gone:
            return
        await trio.sleep(_PAUSE)


def _load() -> None:
    """Load the C library, for which a first use may start a process."""
    INotify().close()
