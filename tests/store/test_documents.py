from pathlib import Path

import pytest

from tapir.store.documents import read_document, write_document
from tapir.store.errors import StoreCorrupt, StoreFull


def test_what_is_written_is_read(tmp_path: Path):
    path = tmp_path / "a.json"
    assert read_document(path) is None
    write_document(path, {"events": [1, "ä"]})
    write_document(path, {"events": [2]})
    assert read_document(path) == {"events": [2]}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("octets", [b"", b"[]", b"{", b'{"format":2}', b"{}", b"[" * 200_000, b" " * ((4 << 20) + 1)])
def test_what_is_not_ours_is_corrupt(tmp_path: Path, octets: bytes):
    path = tmp_path / "a.json"
    path.write_bytes(octets)
    with pytest.raises(StoreCorrupt):
        read_document(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(StoreFull, match="No such file"):
        write_document(tmp_path / "none" / "a.json", {})
