"""A feed's store that breaks while it is used is moved aside, and memory is written anew."""

from pathlib import Path

import pytest

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import parse_name
from tapir.services.sources import feedkeeping
from tapir.services.sources.feedkeeping import FeedArchive
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.feeds import FeedStanding, FeedStore

NOW = 1_700_000_000_000_000
RULE = RecordBlock.of([(parse_name("a.example"), Action.DROP)])
MORE = RecordBlock.of([(parse_name("b.example"), Action.DROP)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feeds" / "feed.db"


def standing(serial: int) -> FeedStanding:
    return FeedStanding(
        zone="feed.example.",
        serial=serial,
        timers=(1, 2, 3, 4),
        refreshed_at=serial,
        changed_at=1,
        primary="p",
        epoch="e",
        digests=(),
    )


def save(archive: FeedArchive, serial: int, *parts: RecordBlock, base: int, delta: RecordDelta | None = None) -> str:
    return archive.save(standing(serial), parts, delta=delta, base=base, now=NOW)


def stored(path: Path) -> tuple[int, set[bytes]]:
    archive = FeedArchive(path)
    found = archive.open(NOW).stored
    archive.close()
    assert found is not None
    return found.standing.serial, {name for part in found.parts for name, _ in part}


def test_there_is_no_file_before_there_is_something_to_keep(path: Path) -> None:
    archive = FeedArchive(path)
    assert archive.open(NOW).stored is None
    assert not path.parent.exists()
    assert save(archive, 1, RULE, base=1) == ""
    assert save(archive, 2, RULE, MORE, base=1, delta=RecordDelta(added=MORE)) == ""
    archive.close()
    assert stored(path) == (2, {parse_name("a.example"), parse_name("b.example")})


def test_a_difference_from_what_is_not_stored_is_written_as_a_whole(path: Path) -> None:
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    save(archive, 9, MORE, base=8, delta=RecordDelta(removed=RULE))
    archive.close()
    assert stored(path) == (9, {parse_name("b.example")})


def test_a_store_that_is_out_of_step_is_written_anew(path: Path) -> None:
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    other = FeedStore.open(path)
    other.replace(standing(7), (RULE,))
    other.close()
    assert save(archive, 2, RULE, MORE, base=1, delta=RecordDelta(added=MORE)) == ""
    archive.close()
    assert stored(path) == (2, {parse_name("a.example"), parse_name("b.example")})


def test_a_file_that_is_removed_while_it_is_used_is_begun_anew(path: Path) -> None:
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    path.unlink()
    assert "was removed" in save(archive, 1, RULE, base=1, delta=RecordDelta())
    archive.close()
    assert stored(path) == (1, {parse_name("a.example")})


def test_a_store_that_breaks_while_it_is_written_as_a_whole_is_moved_aside(path: Path, monkeypatch) -> None:
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    real = FeedStore.replace
    broken = [True]

    def replace(store: FeedStore, *args: object) -> None:
        if broken.pop() if broken else False:
            raise StoreCorrupt(path=path, reason="a bit flipped")
        real(store, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FeedStore, "replace", replace)
    trouble = save(archive, 2, MORE, base=1)
    assert "a bit flipped; it was moved to" in trouble
    archive.close()
    assert stored(path) == (2, {parse_name("b.example")})
    assert len(list(path.parent.glob("feed.db.corrupt-*"))) == 1


def test_a_disk_that_gives_nothing_is_no_damage(path: Path, monkeypatch) -> None:
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    archive.close()

    def full(where: Path) -> FeedStore:
        raise StoreFull(path=where, reason="I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(FeedStore, "open", full)
        with pytest.raises(StoreFull):
            archive.open(NOW)
    opened = archive.open(NOW)
    assert opened.stored is not None
    assert opened.trouble == ""
    archive.close()


def test_what_changes_most_of_a_feed_is_written_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*_: object) -> None:
        raise AssertionError("the difference is larger than what it leads to")

    monkeypatch.setattr(feedkeeping, "_FEW", 0)
    archive = FeedArchive(path)
    save(archive, 1, RULE, base=1)
    monkeypatch.setattr(FeedStore, "commit", commit)
    save(archive, 2, MORE, base=1, delta=RecordDelta(removed=RULE, added=MORE))
    archive.close()
    assert stored(path) == (2, {parse_name("b.example")})
