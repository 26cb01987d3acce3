"""A list is read whole and checked, or not at all; nothing that happens to its file later matters."""

import os
from pathlib import Path

import pytest

import tapir.store.namelists
from tapir.codec.dawg import encode_dawg
from tapir.store.namelists import NameListUnusable, read_name_list

CONTENT = encode_dawg([".example.net.", "example.com."])


def test_a_list_is_read_and_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "names.dawg"
    path.write_bytes(CONTENT)
    found = read_name_list(path, staging=tmp_path / "staging")
    path.write_bytes(b"")
    assert found is not None
    assert list(found.dawg) == [".example.net.", "example.com."]
    other = tmp_path / "other.dawg"
    other.write_bytes(CONTENT)
    again = read_name_list(other, staging=tmp_path / "staging")
    assert again is not None
    assert again.digest == found.digest
    assert list((tmp_path / "staging").iterdir()) == []
    assert (tmp_path / "staging").stat().st_mode & 0o777 == 0o700


def test_an_empty_file_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "names.dawg"
    path.touch()
    assert read_name_list(path, staging=tmp_path / "staging") is None


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\0", b"nothing of the kind", b"\0"])
def test_what_is_cut_or_made_up_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "names.dawg"
    path.write_bytes(content)
    with pytest.raises(NameListUnusable, match="is no DAWG") as caught:
        read_name_list(path, staging=tmp_path / "staging")
    assert caught.value.path == path
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "names.dawg"
    with pytest.raises(NameListUnusable, match=r"No such file or directory$"):
        read_name_list(path, staging=tmp_path / "staging")
    path.write_bytes(CONTENT)
    monkeypatch.setattr(tapir.store.namelists, "SIZE_LIMIT", len(CONTENT) - 1)
    with pytest.raises(NameListUnusable, match="are allowed"):
        read_name_list(path, staging=tmp_path / "staging")


def test_a_folder_for_copies_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    path = tmp_path / "names.dawg"
    path.write_bytes(CONTENT)
    with pytest.raises(NameListUnusable, match="nowhere/staging"):
        read_name_list(path, staging=tmp_path / "nowhere" / "staging")


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "names.dawg"
    path.write_bytes(CONTENT)
    read = os.read

    def cut(descriptor: int, size: int) -> bytes:
        octets = read(descriptor, min(size, 10))
        os.truncate(path, 10)
        return octets

    monkeypatch.setattr(os, "read", cut)
    with pytest.raises(NameListUnusable, match="changed while it was read"):
        read_name_list(path, staging=tmp_path / "staging")
