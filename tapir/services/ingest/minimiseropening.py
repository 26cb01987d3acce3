"""What minimising begins with: the folders, what a crash has left there, and the thread's work. Blocking."""

from pathlib import Path
from typing import Final

import attrs

from tapir.minimiser.novelty import RecentNames
from tapir.minimiser.pipeline import Pipeline, PipelineSettings
from tapir.minimiser.wellknown import WellKnownNames
from tapir.services.ingest.debugging import DebugDump
from tapir.services.ingest.minimisersettings import MinimiserSettings
from tapir.services.ingest.rotation import IntervalClock
from tapir.services.ingest.work import PipelineWork
from tapir.store.errors import StoreError
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFolder, marked_name

_SPOOL_OCTETS: Final = 2 << 30
"""of a minute: some 160 million responses, so a minute of two million a second"""


def spool_folder(data_dir: Path) -> SpoolFolder:
    """Where spools are."""
    return SpoolFolder(data_dir / "spool", limit=_SPOOL_OCTETS)


@attrs.frozen(kw_only=True)
class Prepared:
    """What was found at the start."""

    left: tuple[Path, ...] = ()
    """spools of intervals that have no file"""
    trouble: str = ""


def prepare(files: ParquetFiles, spools: SpoolFolder) -> Prepared:
    """Make the folders, and remove what is unfinished. What the disk does not do is said, and stops nobody."""
    troubles: list[str] = []
    try:
        files.prepare()
    except StoreError as exc:
        troubles.append(f"{exc}; what an earlier run left unfinished may still be there")
    left: tuple[Path, ...] = ()
    try:
        left = tuple(path for path in spools.left() if not _is_done(path, files, spools))
    except StoreError as exc:
        troubles.append(f"{exc}; what an earlier run left there is not counted again")
    return Prepared(left=left, trouble="; ".join(troubles))


def _is_done(path: Path, files: ParquetFiles, spools: SpoolFolder) -> bool:
    """Whether the interval of a spool has its file: then the spool, which a crash has left beside it, is removed."""
    name = marked_name(path)
    if not name or not files.has(name):
        return False
    spools.remove(path)
    return True


def begin_work(
    begun: MinimiserSettings,
    settings: PipelineSettings,
    *,
    names: WellKnownNames,
    recent: RecentNames,
    secret: bytes,
    spools: SpoolFolder,
    spool_key: bytes,
    now: int,
    tick: int,
) -> PipelineWork:
    """The work of the thread, which calls this; the first interval begins at `now`."""
    return PipelineWork(
        Pipeline(secret=secret, recent=recent, settings=settings, names=names, start=now),
        clock=IntervalClock(start=now, tick=tick),
        spools=spools,
        spool_key=spool_key if begun.durable else None,
        dump=None if begun.debug_dnstap is None else DebugDump(begun.debug_dnstap),
    )
