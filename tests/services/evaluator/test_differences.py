"""Sources that say what changed rather than everything."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.testing import crash_on_nth
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.lists import (
    AcceptSource,
    GetLists,
    ListsChanged,
    ListsSnapshot,
    RefreshSource,
    Refusal,
    SourceChanged,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.model.names import format_name, parse_name
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.roster import SourceSettings
from tapir.services.evaluator.saving import Saving

FEED = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
TIGHT = BrakeSettings(shrink=0.5, grow=2.0, minimum=2)


def block(*names: str, tags: int = 0) -> ListBlock:
    return ListBlock.of((parse_name(name), tags) for name in names)


def said(digest: str, *names: str) -> SourceLoaded:
    return SourceLoaded(source="feed", content=block(*names), digest=digest, refusals=(), loaded_at=1)


def change(base: str, digest: str, *, out: str = "", come: str = "", tags: int = 0, **fields: Any) -> SourceChanged:
    return SourceChanged(
        source="feed",
        base=base,
        digest=digest,
        removed=NameBlock.of(map(parse_name, out.split())),
        upserted=block(*come.split(), tags=tags),
        refusals=fields.get("refusals", ()),
        loaded_at=fields.get("at", 2),
    )


def told(message: Any) -> tuple[list[str], list[tuple[str, int]]]:
    assert isinstance(message, ListsChanged)
    (only,) = message.changes
    return (
        [format_name(name) for name in only.removed],
        [(format_name(name), tags) for name, tags in only.upserted],
    )


async def held(rig: Any) -> list[tuple[str, int]]:
    snapshot: ListsSnapshot = await rig.lists.ask(GetLists())
    (only,) = snapshot.lists
    return [(format_name(name), tags) for name, tags in only.content]


async def begin(rig: Any, *names: str) -> None:
    await rig.lists.tell(said("1", *names))
    while True:
        message = await rig.policy.next()
        if message.changes:
            return


async def test_a_difference_is_told_as_what_it_changes(run_keeper: Any, autojump_clock: MockClock) -> None:
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example", "b.example")
        await rig.lists.tell(change("1", "2", out="a.example never.example", come="c.example b.example"))
        assert told(await rig.policy.next()) == (["a.example."], [("c.example.", 0)])
        await rig.lists.tell(change("2", "3", come="b.example", tags=5))
        assert told(await rig.policy.next()) == ([], [("b.example.", 5)])
        assert await held(rig) == [("b.example.", 5), ("c.example.", 0)]
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names, feed.loaded_at) == ("fresh", 2, 2)


async def test_everything_after_differences_is_compared_with_these(run_keeper: Any, autojump_clock: MockClock) -> None:
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example")
        await rig.lists.tell(change("1", "2", come="b.example c.example"))
        await rig.policy.next()
        await rig.lists.tell(said("3", "a.example", "c.example", "d.example"))
        assert told(await rig.policy.next()) == (["b.example."], [("d.example.", 0)])


async def test_another_digest_alone_is_kept_and_no_news(run_keeper: Any, autojump_clock: MockClock) -> None:
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example")
        await rig.lists.tell(change("1", "2"))
        await rig.lists.tell(change("2", "3", come="b.example"))
        assert told(await rig.policy.next()) == ([], [("b.example.", 0)])
        await rig.lists.tell(change("3", "4", out="never.example"))
        await rig.sources()
        assert len(rig.policy.messages) == 2
    async with run_keeper(FEED) as rig:
        await rig.lists.tell(SourceUnchanged(source="feed", at=9, digest="4"))
        assert (await rig.words()) == {"feed": "fresh"}
        assert rig.source.messages == []
        assert [name for name, _ in await held(rig)] == ["a.example.", "b.example."]


async def test_differences_are_stored_as_such(
    run_keeper: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example")
        monkeypatch.setattr("tapir.store.lists.ListTransaction.replace", None)
        for number in range(1, 40):
            await rig.lists.tell(change(str(number), str(number + 1), come=f"n{number}.example"))
            await rig.policy.next()
    async with run_keeper(FEED) as rig:
        assert len(await held(rig)) == 40
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names) == ("restored", 40)


async def test_a_difference_to_something_else_is_not_made_and_everything_asked_for_once(
    run_keeper: Any, autojump_clock: MockClock
) -> None:
    async with run_keeper(FEED) as rig:
        await rig.lists.tell(change("0", "1", come="x.example"))  # nothing is held at all
        assert await rig.source.next() == RefreshSource()
        await begin(rig, "a.example")
        await rig.lists.tell(change("7", "8", come="x.example"))
        await rig.lists.tell(change("8", "9", come="y.example"))
        assert await rig.source.next() == RefreshSource()
        assert await held(rig) == [("a.example.", 0)]
        assert len(rig.source.messages) == 2
        await trio.sleep(10)  # whoever did not hear it is asked again
        await rig.lists.tell(change("9", "10", come="z.example"))
        assert await rig.source.next() == RefreshSource()
        await rig.lists.tell(said("9", "a.example", "y.example"))
        assert told(await rig.policy.next()) == ([], [("y.example.", 0)])


async def test_a_difference_that_was_made_already_is_not_made_again(run_keeper: Any, autojump_clock: MockClock) -> None:
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example")
        for _ in range(2):
            await rig.lists.tell(change("1", "2", come="b.example"))
        await rig.policy.next()
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names, len(rig.source.messages), len(rig.policy.messages)) == ("fresh", 2, 0, 2)


async def test_what_nobody_configured_or_is_switched_off_changes_nothing(
    run_keeper: Any, autojump_clock: MockClock
) -> None:
    async with run_keeper(SourceSettings(id="feed", name="feed", kind=ListKind.DENY, active=False)) as rig:
        await rig.lists.tell(change("1", "2", come="b.example"))
        assert (await rig.words()) == {"feed": "inactive"}
        assert rig.source.messages == []


async def test_a_difference_too_large_holds_the_whole_and_more_of_them_change_what_is_held(
    run_keeper: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    saved: list[str] = []
    save_pending = Saving.save_pending

    async def counted(self: Saving, *args: Any) -> Any:
        saved.append("once")
        return await save_pending(self, *args)

    monkeypatch.setattr(Saving, "save_pending", counted)
    async with run_keeper(FEED, brake=TIGHT) as rig:
        await begin(rig, "a.example", "b.example", "c.example", "d.example")
        await rig.lists.tell(change("1", "2", out="a.example b.example c.example"))
        await rig.lists.tell(change("2", "3", come="e.example", out="d.example"))
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names, feed.pending_names) == ("held", 4, 1)
        assert sum("is held" in record.getMessage() for record in caplog.records) == 1
        assert len(saved) == 1
        await rig.lists.ask(AcceptSource(source="feed"))
        assert told(await rig.policy.next()) == (
            ["a.example.", "b.example.", "c.example.", "d.example."],
            [("e.example.", 0)],
        )
        await rig.lists.tell(change("3", "4", come="f.example"))
        assert told(await rig.policy.next()) == ([], [("f.example.", 0)])
    async with run_keeper(FEED, brake=TIGHT) as rig:
        assert [name for name, _ in await held(rig)] == ["e.example.", "f.example."]


async def test_what_is_held_comes_into_effect_when_differences_bring_it_back_within_limits(
    run_keeper: Any, autojump_clock: MockClock
) -> None:
    async with run_keeper(FEED, brake=TIGHT) as rig:
        await begin(rig, "a.example", "b.example", "c.example", "d.example")
        await rig.lists.tell(change("1", "2", out="a.example b.example c.example"))
        assert (await rig.words()) == {"feed": "held"}
        await rig.lists.tell(change("2", "3", come="b.example c.example"))
        assert told(await rig.policy.next()) == (["a.example."], [])
        assert (await rig.words()) == {"feed": "fresh"}


async def test_a_restart_while_something_is_held_asks_for_what_came_since(
    run_keeper: Any, autojump_clock: MockClock
) -> None:
    async with run_keeper(FEED, brake=TIGHT) as rig:
        await begin(rig, "a.example", "b.example", "c.example", "d.example")
        await rig.lists.tell(change("1", "2", out="a.example b.example c.example"))
        await rig.lists.tell(change("2", "3", come="e.example", out="d.example"))
        await rig.sources()
    async with run_keeper(FEED, brake=TIGHT) as rig:
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names, feed.pending_names) == ("held", 4, 1)
        await rig.lists.tell(SourceUnchanged(source="feed", at=9, digest="3"))
        assert await rig.source.next() == RefreshSource()


async def test_what_a_source_takes_back_is_not_held(run_keeper: Any, autojump_clock: MockClock) -> None:
    async with run_keeper(FEED, brake=TIGHT) as rig:
        await begin(rig, "a.example", "b.example", "c.example", "d.example")
        nothing = SourceLoaded(source="feed", content=block(), digest="gone", refusals=(), loaded_at=2, withdrawn=True)
        await rig.lists.tell(nothing)
        assert told(await rig.policy.next())[1] == []
        (feed,) = (await rig.sources()).sources
        assert (feed.state, feed.names) == ("fresh", 0)


async def test_a_difference_that_crashes_the_keeper_is_followed_by_everything(
    run_keeper: Any, autojump_clock: MockClock
) -> None:
    def wrap(factory: Any) -> Any:
        return crash_on_nth(factory, 2)

    async with run_keeper(FEED, wrap=wrap) as rig:
        await begin(rig, "a.example")
        await rig.lists.tell(change("1", "2", come="b.example"))
        await rig.lists.tell(change("2", "3", come="c.example"))
        assert await rig.source.next() == RefreshSource()


async def test_small_differences_are_not_worth_a_line_and_new_refusals_are(
    run_keeper: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = (Refusal(reason="too broad", count=1, lines=(1,)),)
    more = (Refusal(reason="too broad", count=2, lines=(1, 2)),)
    async with run_keeper(FEED) as rig:
        await begin(rig, "a.example")
        caplog.clear()
        await rig.lists.tell(change("1", "2", come="b.example", refusals=one))
        await rig.lists.tell(change("2", "3", come="c.example", refusals=more))
        (feed,) = (await rig.sources()).sources
        assert feed.refusals == more
        assert [record.getMessage() for record in caplog.records] == [
            "source feed: 1 lines refused as too broad: 1",
        ]
