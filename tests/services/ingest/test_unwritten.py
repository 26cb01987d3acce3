"""A file and its spool on a disk that has no room for both."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sightings import MAY

from tapir.codec.columns import Buffer
from tapir.services.ingest.unwritten import HISTOGRAM, Unwritten
from tapir.store.errors import StoreFull
from tapir.store.parquetfiles import ParquetFiles
from tapir.store.spool import SpoolFolder


class SmallDisk(ParquetFiles):
    """Takes a file only once nothing is at `spool`."""

    def __init__(self, folder: Path, spool: Path) -> None:
        super().__init__(folder)
        self._spool = spool

    def write_histogram(self, parts: Sequence[Buffer], *, start: int, stop: int) -> Path:
        if self._spool.exists():
            raise StoreFull(path=self._spool, reason="No space left on device")
        return super().write_histogram(parts, start=start, stop=stop)


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
