"""The state folder: made, locked, and refused in words that say what to do."""

import os
from pathlib import Path

import pytest

from tapir.store.errors import StateLocked, StateUnusable
from tapir.store.state import StateDirectory, console_path


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "tapir"
    state = StateDirectory.open(folder)
    assert folder.stat().st_mode & 0o777 == 0o750
    assert (folder / "FORMAT").read_text() == "1\n"
    assert int((folder / "lock").read_text()) == os.getpid()
    assert state.lists == folder / "lists.db"
    assert state.console == folder / "console.sock" == console_path(folder)
    state.close()
    state.close()


def test_the_folder_has_one_holder(tmp_path: Path) -> None:
    state = StateDirectory.open(tmp_path)
    with pytest.raises(StateLocked, match=f"process {os.getpid()}") as caught:
        StateDirectory.open(tmp_path)
    assert caught.value.pid == os.getpid()
    state.close()
    again = StateDirectory.open(tmp_path)
    # A holder that could not write its id (a full disk) holds the lock all the same.
    (tmp_path / "lock").write_text("")
    with pytest.raises(StateLocked, match="another process") as caught:
        StateDirectory.open(tmp_path)
    assert caught.value.pid is None
    again.close()


def test_a_longer_line_of_an_earlier_holder_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("9" * 60)
    state = StateDirectory.open(tmp_path)
    with pytest.raises(StateLocked, match=f"process {os.getpid()}$"):
        StateDirectory.open(tmp_path)
    state.close()


@pytest.mark.parametrize("text", ["2\n", "", "one"])
def test_a_format_of_another_tapir_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "FORMAT").write_text(text)
    with pytest.raises(StateUnusable, match="this tapir knows 1"):
        StateDirectory.open(tmp_path)
    (tmp_path / "FORMAT").unlink()
    StateDirectory.open(tmp_path).close()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for folder in (tmp_path / "state", tmp_path / "state" / "below"):
        with pytest.raises(StateUnusable, match="cannot be used"):
            StateDirectory.open(folder)


@pytest.mark.parametrize(
    ("zone", "folder"),
    [
        ("rpz.example.", "rpz.example"),
        ("RPZ.example", "rpz.example"),
        ("dnstapir.", "dnstapir"),
        (".", "%2e"),
        ("..", "%2e"),
        ("../../etc.", "%2e.%2f..%2fetc"),
        ("a/b.", "a%2fb"),
        ("a\\.b.", "a%5c.b"),
        ("a%2fb.", "a%252fb"),
        ("å.", "%c3%a5"),
    ],
)
def test_a_zone_has_a_folder_that_is_no_path(tmp_path: Path, zone: str, folder: str) -> None:
    state = StateDirectory.open(tmp_path)
    assert state.zone(zone) == tmp_path / "zones" / folder / "zone.db"
    assert (tmp_path / "zones" / folder).is_dir()
    state.close()


def test_long_zone_names_keep_apart(tmp_path: Path) -> None:
    state = StateDirectory.open(tmp_path)
    paths = {state.zone("\\255" * 60 + f".{index}.example.") for index in range(3)}
    assert len(paths) == 3
    assert max(len(path.parent.name) for path in paths) < 200
    state.close()
