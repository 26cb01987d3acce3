"""Allowlists that are looked up: the list keeper has a reference, keeps its copy, and never the names."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapir.codec.dawg import encode_dawg
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, LookupList
from tapir.model.messages.lists import (
    AcceptSource,
    GetLists,
    ListsChanged,
    ListsSnapshot,
    RefreshSource,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.model.names import format_name
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.roster import SourceSettings
from tapir.store.staging import receive


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., LookupList]:
    """`copied("a.example.", …)`: a DAWG of these words in the folder of copies."""

    def copy(*words: str) -> LookupList:
        data = encode_dawg(sorted(words))
        digest = hashlib.sha256(data).hexdigest()
        with receive(tmp_path / "staging") as incoming:
            incoming.write(data)
            path = incoming.keep(digest)
        return LookupList(path=str(path), digest=digest, words=len(words), size=len(data))

    return copy


def says(content: LookupList, at: int = 1) -> SourceLoaded:
    return SourceLoaded(source="good", content=content, digest=content.digest, refusals=(), loaded_at=at)


def remove(content: LookupList) -> None:
    Path(content.path).unlink()


def flip(content: LookupList) -> None:
    path = Path(content.path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


GOOD = SourceSettings(id="good", name="good", kind=ListKind.ALLOW)


async def lists_of(rig: Any) -> Any:
    snapshot = await rig.lists.ask(GetLists())
    assert isinstance(snapshot, ListsSnapshot)
    return snapshot.lists[0].content


async def test_a_reference_is_kept_told_and_restored(run_keeper: Any, copied: Any, tmp_path: Path) -> None:
    async with run_keeper(GOOD) as rig:
        one, other = copied("a.example."), copied("a.example.", "b.example.")
        await rig.lists.tell(says(one))
        told = await rig.policy.next()
        assert isinstance(told, ListsChanged)
        assert [(change.lookup, len(change.removed), len(change.upserted)) for change in told.changes] == [(one, 0, 0)]
        await rig.lists.tell(says(other))
        told = await rig.policy.next()
        assert [change.lookup for change in told.changes] == [other]
        (status,) = (await rig.sources()).sources
        assert (status.state, status.names) == ("fresh", 2)
    assert [path.name for path in (tmp_path / "staging").iterdir()] == [Path(other.path).name]
    async with run_keeper(GOOD) as rig:
        assert await lists_of(rig) == other
        assert (await rig.words()) == {"good": "restored"}


async def test_a_list_may_become_one_that_is_looked_up_and_back(run_keeper: Any, copied: Any, loaded: Any) -> None:
    async with run_keeper(GOOD) as rig:
        one = copied("a.example.")
        await rig.lists.tell(loaded("good", "a.example", "b.example"))
        await rig.policy.next()
        await rig.lists.tell(says(one))
        (change,) = (await rig.policy.next()).changes
        assert sorted(map(format_name, change.removed)) == ["a.example.", "b.example."]
        assert change.lookup == one
        await rig.lists.tell(loaded("good", "a.example"))
        (change,) = (await rig.policy.next()).changes
        assert (list(change.removed), change.lookup) == ([], None)
        assert [format_name(name) for name, _ in change.upserted] == ["a.example."]
    async with run_keeper(GOOD) as rig:
        assert isinstance(await lists_of(rig), ListBlock)


async def test_the_brake_counts_words_and_what_it_holds_keeps_its_copy(
    run_keeper: Any, copied: Any, tmp_path: Path
) -> None:
    async with run_keeper(GOOD, brake=BrakeSettings(minimum=10)) as rig:
        many, few = copied(*(f"n{number}.example." for number in range(40))), copied("a.example.")
        await rig.lists.tell(says(many))
        await rig.lists.tell(says(few))
        assert await lists_of(rig) == many
        (status,) = (await rig.sources()).sources
        assert (status.state, status.names, status.pending_names) == ("held", 40, 1)
        assert len(list((tmp_path / "staging").iterdir())) == 2
    async with run_keeper(GOOD, brake=BrakeSettings(minimum=10)) as rig:
        await rig.lists.ask(AcceptSource(source="good"))
        assert await lists_of(rig) == few
        assert (await rig.policy.next()).changes[0].lookup == few
    assert [path.name for path in (tmp_path / "staging").iterdir()] == [Path(few.path).name]


async def test_a_copy_that_is_gone_is_asked_for(run_keeper: Any, copied: Any) -> None:
    async with run_keeper(GOOD) as rig:
        one, other = copied("a.example."), copied("b.example.")
        remove(one)
        await rig.lists.tell(says(one))
        assert await rig.source.next() == RefreshSource()
        assert (await rig.words()) == {"good": "waiting"}
        await rig.lists.tell(says(other))
        await rig.policy.next()
        remove(other)
        assert await lists_of(rig) == other
        assert await rig.source.next() == RefreshSource()
        await rig.lists.tell(says(copied("b.example.")))
        await rig.lists.ask(GetLists())
        await rig.lists.tell(SourceUnchanged(source="good", at=3, digest=other.digest))
        assert (await rig.words()) == {"good": "fresh"}


@pytest.mark.parametrize("damage", ["gone", "flipped"])
async def test_a_copy_that_did_not_survive_is_no_content(
    run_keeper: Any, copied: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_keeper(GOOD) as rig:
        one = copied("a.example.")
        await rig.lists.tell(says(one))
        await rig.policy.next()
    if damage == "gone":
        remove(one)
    else:
        flip(one)
    async with run_keeper(GOOD) as rig:
        assert (await rig.words()) == {"good": "waiting"}
        assert "the copy of source good is gone or damaged" in caplog.text
        await rig.lists.tell(says(copied("a.example.")))
        assert await lists_of(rig) == one
