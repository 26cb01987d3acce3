from pathlib import Path

import attrs
import pytest

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import Refusal
from tapir.model.names import parse_name
from tapir.policy.difference import difference
from tapir.services.evaluator.archive import ListArchive
from tapir.services.evaluator.roster import SourceContent, SourceSettings, SourceState
from tapir.store.errors import StoreFull

FEED = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
OTHER = SourceSettings(id="other", name="other", kind=ListKind.ALLOW)
NOW = 1_700_000_000_000_000


def content(*names: str) -> SourceContent:
    return SourceContent(
        block=ListBlock.of((parse_name(name), 0) for name in names),
        digest="/".join(names),
        refusals=(Refusal(reason="malformed", count=1, lines=(3,)),),
        loaded_at=7,
    )


def names_of(found: SourceContent | None) -> list[bytes] | None:
    return None if found is None else sorted(name for name, _ in found.block)


def restored(path: Path, *sources: SourceSettings) -> dict[str, SourceState]:
    archive = ListArchive(path)
    found = archive.restore(sources, NOW)
    assert found.trouble == ()
    archive.close()
    return {state.settings.id: state for state in found.states}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def archive(path: Path) -> ListArchive:
    archive = ListArchive(path)
    archive.restore((FEED, OTHER), NOW)
    return archive


def test_what_was_saved_is_restored(path: Path, archive: ListArchive) -> None:
    first = SourceState(settings=FEED, content=content("a.example", "b.example"))
    archive.save_content(first, None)
    assert first.content is not None
    second = attrs.evolve(first, content=content("b.example", "c.example"))
    assert second.content is not None
    before, after = first.content.block, second.content.block
    assert isinstance(before, ListBlock)
    assert isinstance(after, ListBlock)
    archive.save_content(second, difference(before, after))
    held = attrs.evolve(second, pending=content("z.example"), held_because="shrinks")
    archive.save_pending(held)
    archive.close()
    state = restored(path, FEED, OTHER)["feed"]
    assert names_of(state.content) == [parse_name("b.example"), parse_name("c.example")]
    assert state.content is not None
    assert (state.content.digest, state.content.loaded_at) == ("b.example/c.example", 7)
    assert state.content.refusals == (Refusal(reason="malformed", count=1, lines=(3,)),)
    assert names_of(state.pending) == [parse_name("z.example")]
    assert (state.held_because, state.confirmed, state.saved) == ("shrinks", False, True)


def test_a_source_that_is_no_longer_configured_is_forgotten(path: Path, archive: ListArchive) -> None:
    archive.save_content(SourceState(settings=FEED, content=content("a.example")), None)
    archive.close()
    restored(path, OTHER)
    assert restored(path, FEED)["feed"].content is None


def test_a_source_of_another_kind_is_not_restored(path: Path, archive: ListArchive) -> None:
    archive.save_content(SourceState(settings=FEED, content=content("com")), None)
    archive.close()
    assert restored(path, attrs.evolve(FEED, kind=ListKind.ALLOW))["feed"].content is None


def test_a_source_that_nothing_reads_any_more_is_not_restored_and_not_forgotten(
    path: Path, archive: ListArchive
) -> None:
    archive.save_content(SourceState(settings=FEED, content=content("a.example")), None)
    archive.close()
    assert restored(path, attrs.evolve(FEED, supported=False))["feed"].content is None
    assert restored(path, attrs.evolve(FEED, active=False))["feed"].content is not None


def test_a_corrupt_database_is_moved_aside(path: Path, archive: ListArchive) -> None:
    archive.save_content(SourceState(settings=FEED, content=content("a.example")), None)
    archive.close()
    path.write_bytes(b"rubbish" * 1000)
    archive = ListArchive(path)
    found = archive.restore((FEED,), NOW)
    assert [state.content for state in found.states] == [None]
    assert "moved to" in found.trouble[-1]
    assert [aside.read_bytes()[:7] for aside in path.parent.glob("lists.db.corrupt-*")] == [b"rubbish"]
    state = SourceState(settings=FEED, content=content("b.example"))
    archive.save_content(state, None)
    archive.close()
    assert names_of(restored(path, FEED)["feed"].content) == [parse_name("b.example")]


def test_a_store_that_does_not_open_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "lists.db"
    archive = ListArchive(path)
    assert archive.restore((FEED,), NOW).trouble
    state = SourceState(settings=FEED, content=content("a.example"))
    with pytest.raises(StoreFull):
        archive.save_content(state, None)
    with pytest.raises(StoreFull):
        archive.save_all((state,), NOW)
    path.parent.mkdir()
    archive.save_all((state,), NOW)
    archive.close()
    assert names_of(restored(path, FEED)["feed"].content) == [parse_name("a.example")]


def test_save_all_keeps_what_is_held_back(path: Path, archive: ListArchive) -> None:
    state = SourceState(settings=FEED, content=content("a.example"), pending=content("b.example"), held_because="grows")
    archive.save_all((state, SourceState(settings=OTHER)), NOW)
    archive.close()
    found = restored(path, FEED, OTHER)
    assert names_of(found["feed"].pending) == [parse_name("b.example")]
    assert found["other"].content is None


def test_clearing_what_was_never_stored_is_fine(path: Path, archive: ListArchive) -> None:
    archive.save_pending(SourceState(settings=FEED, content=content("a.example")))
    archive.forget((OTHER,))
    archive.close()
    assert names_of(restored(path, FEED)["feed"].content) == [parse_name("a.example")]
