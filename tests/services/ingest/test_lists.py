"""Lists are in effect whole, or as they were; a list that nobody could ever read closes the door."""

import os
from pathlib import Path

import attrs
import pytest

import tapir.services.ingest.lists
from tapir.codec.dawg import DawgError, encode_dawg
from tapir.services.ingest.lists import ListPaths, load_lists
from tapir.store.files import FileIdentity

SECRET = bytes(range(16))
NOW = 1_800_000_000_000_000
OLD = 1_790_000_000


@pytest.fixture
def paths(tmp_path: Path) -> ListPaths:
    found = ListPaths(
        well_known=tmp_path / "known.dawg",
        ignored_clients=tmp_path / "clients",
        ignored_names=tmp_path / "names.dawg",
        data_dir=tmp_path / "data" / "edm",
    )
    put(found.well_known, encode_dawg([".example.net.", "example.com."]))
    put(tmp_path / "clients", b"# ours\n192.0.2.0/24\n2001:db8::/32\n")
    put(tmp_path / "names.dawg", encode_dawg(["secret.example."]))
    return found


def put(path: Path, content: bytes, *, at: int = OLD) -> None:
    path.write_bytes(content)
    os.utime(path, (at, at))


def test_everything_is_read(paths: ListPaths) -> None:
    loaded = load_lists(paths, secret=SECRET, now=NOW)
    assert (loaded.troubles, loaded.closed) == ((), False)
    assert loaded.well_known.value.find(b"\7example\3com\0") == 1
    assert loaded.ignored_clients.value.networks == 2
    assert loaded.names_to_ignore is loaded.ignored_names.value
    file = loaded.well_known.file()
    assert (file.path, file.entries, file.loaded_at, file.trouble) == (str(paths.well_known), 2, NOW, "")
    staging = paths.data_dir / "dawg-staging"
    assert list(staging.iterdir()) == []
    assert staging.stat().st_mode & 0o777 == 0o700


def test_lists_that_are_not_configured_hide_nothing(paths: ListPaths) -> None:
    loaded = load_lists(attrs.evolve(paths, ignored_clients=None, ignored_names=None), secret=SECRET, now=NOW)
    assert (loaded.troubles, loaded.closed, loaded.names_to_ignore) == ((), False, None)
    assert loaded.ignored_clients.value.networks == 0
    assert loaded.ignored_clients.file().path == ""
    again = load_lists(
        attrs.evolve(paths, ignored_clients=None, ignored_names=None), secret=SECRET, now=NOW, before=loaded
    )
    assert again.ignored_clients is loaded.ignored_clients


@pytest.mark.parametrize("content", [b"", encode_dawg([])])
def test_an_empty_list_of_names_to_ignore_is_none(paths: ListPaths, content: bytes) -> None:
    assert paths.ignored_names is not None
    put(paths.ignored_names, content)
    loaded = load_lists(paths, secret=SECRET, now=NOW)
    assert (loaded.troubles, loaded.closed, loaded.names_to_ignore) == ((), False, None)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("known.dawg", None, "No such file or directory"),
        ("known.dawg", b"", "is empty"),
        ("known.dawg", b"nothing of the kind", "is no DAWG"),
        ("clients", None, "No such file or directory"),
        ("clients", b"10.0.0.0/8\n198.51.100.77\n", "line 2 is an address without a length"),
        ("names.dawg", None, "No such file or directory"),
        ("names.dawg", encode_dawg(["example.com."])[:-1], "is no DAWG"),
    ],
)
def test_what_cannot_be_read_closes_the_door_at_the_start_and_changes_nothing_later(
    paths: ListPaths, tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    path = tmp_path / name
    good = path.read_bytes()
    before = load_lists(paths, secret=SECRET, now=NOW)
    if content is None:
        path.unlink()
    else:
        put(path, content)
    first = load_lists(paths, secret=SECRET, now=NOW)
    assert first.closed
    (trouble,) = first.troubles
    assert trouble.startswith(f"{path}: ")
    assert why in trouble
    assert trouble.endswith("; no frame is minimised until this list can be read")
    assert "198.51.100.77" not in trouble

    later = load_lists(paths, secret=SECRET, now=NOW + 1, before=before)
    assert not later.closed
    (trouble,) = later.troubles
    assert why in trouble
    assert trouble.endswith("; the former one is in effect")
    for kept, former in (
        (later.well_known, before.well_known),
        (later.ignored_clients, before.ignored_clients),
        (later.ignored_names, before.ignored_names),
    ):
        assert kept.value is former.value
        assert kept.loaded_at == former.loaded_at

    put(path, good)
    for broken in (first, later):
        mended = load_lists(paths, secret=SECRET, now=NOW + 2, before=broken)
        assert (mended.troubles, mended.closed) == ((), False)


def test_a_list_that_is_new_and_broken_at_a_reload_is_not_in_effect(paths: ListPaths) -> None:
    before = load_lists(attrs.evolve(paths, ignored_clients=None), secret=SECRET, now=NOW)
    assert paths.ignored_clients is not None
    put(paths.ignored_clients, b"10.0.0.1\n")
    later = load_lists(paths, secret=SECRET, now=NOW, before=before)
    assert not later.closed
    assert later.troubles[0].endswith("; there was none before, so none is in effect")
    put(paths.ignored_clients, b"10.0.0.0/8\n")
    assert load_lists(paths, secret=SECRET, now=NOW, before=later).ignored_clients.value.networks == 1


def test_a_list_that_is_taken_away_is_not_in_effect_any_more(paths: ListPaths) -> None:
    before = load_lists(paths, secret=SECRET, now=NOW)
    later = load_lists(
        attrs.evolve(paths, ignored_clients=None, ignored_names=None), secret=SECRET, now=1, before=before
    )
    assert (later.ignored_clients.value.networks, later.names_to_ignore, later.closed) == (0, None, False)


def test_what_did_not_change_is_not_read_again(paths: ListPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_lists(paths, secret=SECRET, now=NOW)

    def read(*args: object, **kwargs: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(tapir.services.ingest.lists, "read_name_list", read)
    monkeypatch.setattr(tapir.services.ingest.lists, "parse_ignored_clients", read)
    again = load_lists(paths, secret=SECRET, now=NOW + 1, before=before)
    assert again.well_known is before.well_known
    assert again.ignored_clients is before.ignored_clients
    assert again.ignored_names is before.ignored_names


def test_what_may_have_changed_within_a_tick_is_read_again_and_is_the_same(paths: ListPaths) -> None:
    now = paths.well_known.stat().st_ctime_ns // 1000
    before = load_lists(paths, secret=SECRET, now=now)
    assert before.well_known.identity is None
    again = load_lists(paths, secret=SECRET, now=now + 3_000_000, before=before)
    assert again.well_known.value is before.well_known.value
    assert again.ignored_clients.value is before.ignored_clients.value
    assert again.well_known.loaded_at == now
    assert again.well_known.identity is not None


def test_a_new_path_is_honoured(paths: ListPaths, tmp_path: Path) -> None:
    before = load_lists(paths, secret=SECRET, now=NOW)
    put(tmp_path / "other.dawg", encode_dawg(["other.example."]))
    later = load_lists(attrs.evolve(paths, well_known=tmp_path / "other.dawg"), secret=SECRET, now=NOW, before=before)
    assert later.well_known.value.find(b"\5other\7example\0") == 0
    assert later.ignored_names is before.ignored_names


def test_clients_are_read_from_files_of_some_size_that_stay_as_they_are(
    paths: ListPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.ignored_clients is not None
    module = tapir.services.ingest.lists
    with monkeypatch.context() as patch:
        patch.setattr(module, "CLIENTS_LIMIT", 7)
        assert "octets, 7 are allowed" in load_lists(paths, secret=SECRET, now=NOW).troubles[0]
    with monkeypatch.context() as patch:
        stats = iter(range(10))
        of = FileIdentity.of
        patch.setattr(FileIdentity, "of", lambda status: attrs.evolve(of(status), changed_ns=next(stats)))
        assert "clients: changed while it was read" in load_lists(paths, secret=SECRET, now=NOW).troubles[0]
    paths.ignored_clients.unlink()
    os.mkfifo(paths.ignored_clients)
    assert "clients: is no file" in load_lists(paths, secret=SECRET, now=NOW).troubles[0]


def test_more_names_than_can_be_looked_up(paths: ListPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DawgError("too many")

    monkeypatch.setattr(tapir.services.ingest.lists, "index_names", refuse)
    loaded = load_lists(paths, secret=SECRET, now=NOW)
    assert loaded.closed
    assert loaded.well_known.trouble == (
        f"{paths.well_known}: too many; no frame is minimised until this list can be read"
    )


def test_what_an_earlier_process_left_in_the_staging_folder_is_removed(
    paths: ListPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = paths.data_dir / "dawg-staging" / "b4a77ef175716c95-well-known-domains.dawg"
    left.parent.mkdir(parents=True)
    left.touch()
    before = load_lists(paths, secret=SECRET, now=NOW)
    assert not left.exists()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(left))

    monkeypatch.setattr(tapir.services.ingest.lists, "sweep", refuse)
    assert load_lists(paths, secret=SECRET, now=NOW, before=before).troubles == ()
    loaded = load_lists(paths, secret=SECRET, now=NOW)
    assert not loaded.closed
    assert loaded.troubles == (f"{left.parent}: Permission denied; old copies of lists stay there, and are not used",)
    assert load_lists(paths, secret=SECRET, now=NOW, before=loaded).troubles == loaded.troubles


def test_a_data_folder_that_cannot_be_made(paths: ListPaths, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    loaded = load_lists(paths, secret=SECRET, now=NOW)
    assert loaded.closed
    assert loaded.ignored_clients.known
    assert "Not a directory" in loaded.well_known.trouble
