"""A file and its spool: on a disk that has no room for both, and after a crash between the two."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sightings import MAY

from tapir.codec.columns import Buffer
from tapir.services.ingest.minimiseropening import prepare
from tapir.services.ingest.unwritten import HISTOGRAM, Unwritten
from tapir.store.errors import StoreFull
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFolder


class SmallDisk(ParquetFiles):
    """Takes a file only once nothing is at `spool`."""

    def __init__(self, folder: Path, spool: Path) -> None:
        super().__init__(folder)
        self._spool = spool

    def write_histogram(
        self, parts: Sequence[Buffer], *, start: int, stop: int, naming: Callable[[str], None] | None = None
    ) -> Path:
        if self._spool.exists():
            raise StoreFull(path=self._spool, reason="No space left on device")
        return super().write_histogram(parts, start=start, stop=stop, naming=naming)


def unwritten(spools: SpoolFolder, *, whole: bool) -> tuple[Unwritten, Path]:
    file = spools.begin(MAY)
    file.append(b"what there was room for")
    file.close()
    return (
        Unwritten(kind=HISTOGRAM, start=MAY, stop=MAY + 1, spool=file.path, spool_key=bytes(32), whole=whole, rows=1),
        file.path,
    )


def test_a_spool_that_lacks_a_part_makes_room_for_the_file(tmp_path: Path) -> None:
    spools = SpoolFolder(tmp_path / "spool", limit=1000)
    made, spool = unwritten(spools, whole=False)
    made._parts = [b"the file"]
    made.write(SmallDisk(tmp_path / "parquet", spool), spools, bytes(16))
    assert made.path is not None
    assert made.path.read_bytes() == b"the file"
    assert not spool.exists()


def test_a_spool_that_has_it_all_stays_until_the_file_is_there(tmp_path: Path) -> None:
    spools = SpoolFolder(tmp_path / "spool", limit=1000)
    made, spool = unwritten(spools, whole=True)
    made._parts = [b"the file"]
    with pytest.raises(StoreFull):
        made.write(SmallDisk(tmp_path / "parquet", spool), spools, bytes(16))
    assert spool.exists()
    made.write(ParquetFiles(tmp_path / "parquet"), spools, bytes(16))
    assert made.path is not None
    assert not spool.exists()


class LastMoment(SpoolFolder):
    """Where a process ends before it removes a spool."""

    def remove(self, path: Path) -> None:
        raise StoreFull(path=path, reason="the process was killed")


def test_a_spool_that_was_left_beside_its_file_is_not_counted_again(tmp_path: Path) -> None:
    files = ParquetFiles(tmp_path / "parquet")
    made, _ = unwritten(LastMoment(tmp_path / "spool", limit=1000), whole=True)
    made._parts = [b"the file"]
    with pytest.raises(StoreFull, match="killed"):
        made.write(files, LastMoment(tmp_path / "spool", limit=1000), bytes(16))
    assert made.path is not None
    files.mark_sent(made.path)
    spools = SpoolFolder(tmp_path / "spool", limit=1000)
    assert len(spools.left()) == 1
    assert prepare(files, spools).left == ()
    assert not spools.left()


def test_a_spool_whose_file_did_not_get_its_name_is_counted_again(tmp_path: Path) -> None:
    files = ParquetFiles(tmp_path / "parquet")
    spools = SpoolFolder(tmp_path / "spool", limit=1000)
    made, _ = unwritten(spools, whole=True)
    made._parts = [b"the file"]
    files.prepare()
    blocked = files.outbox / "dns_histogram-2026-05-28T12-34-00Z_2026-05-28T12-34-00Z.parquet"
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(StoreFull):
            made.write(files, spools, bytes(16))
    assert not blocked.exists()
    (left,) = prepare(files, spools).left
    assert left == made.spool
    assert bytes(spools.octets(left)) == b"what there was room for"
    made.write(files, spools, bytes(16))
    assert made.path is not None
    assert not spools.left()
