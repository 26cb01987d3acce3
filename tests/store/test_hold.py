"""One process at a time in a folder."""

from pathlib import Path

import pytest

from tapir.store.errors import FolderInUse
from tapir.store.hold import FolderHold


def test_a_folder_is_held_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    held = FolderHold.take(path)
    assert path.is_dir()
    with pytest.raises(FolderInUse, match="in use by another process"):
        FolderHold.take(path)
    held.close()
    held.close()
    FolderHold.take(path).close()


def test_what_cannot_be_opened_is_not_held(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    FolderHold.take(file).close()
    FolderHold.take(file / "below").close()
