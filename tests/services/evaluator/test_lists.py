"""The list keeper: restore, brake, gate, reload, and a store that fails."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import AskFailed
from actors.testing import crash_on_nth
from tapir.model.actions import ListKind
from tapir.model.messages.lists import (
    AcceptSource,
    GetLists,
    ListsChanged,
    ListsSnapshot,
    RefreshSource,
    Refusal,
    SourceFailed,
    SourceLoaded,
    SourceUnchanged,
)
from tapir.model.names import format_name
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.lists import AcceptError, ConfigureLists, ListKeeperSettings
from tapir.services.evaluator.roster import SourceSettings
from tapir.store.errors import StoreCorrupt, StoreFull
from tapir.store.lists import ListStore

SMALL_BRAKE = BrakeSettings(minimum=4)
Loaded = Callable[..., SourceLoaded]
Source = Callable[..., SourceSettings]


def told(message: ListsChanged) -> list[tuple[str, list[str], list[str]]]:
    return [
        (
            change.source,
            sorted(format_name(name) for name in change.removed),
            sorted(format_name(name) for name, _ in change.upserted),
        )
        for change in message.changes
    ]


def held(snapshot: ListsSnapshot) -> dict[str, list[str]]:
    return {each.description.source: sorted(format_name(name) for name, _ in each.content) for each in snapshot.lists}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def count_quarantined(folder: Path) -> int:
    return len(list(folder.glob("lists.db.corrupt-*")))


async def test_differences_are_told_in_order(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a"), source("b")) as rig:
        before = await rig.lists.ask(GetLists())
        assert (held(before), before.publish, before.waiting_for) == ({"a": [], "b": []}, False, ("a", "b"))
        await rig.lists.tell(loaded("a", "x.example", "y.example"))
        first = await rig.policy.next()
        assert told(first) == [("a", [], ["x.example.", "y.example."])]
        assert (first.publish, first.waiting_for) == (False, ("b",))
        assert first.position.follows(before.position)
        await rig.lists.tell(loaded("b"))
        second = await rig.policy.next()
        assert (told(second), second.publish, second.waiting_for) == ([], True, ())
        assert second.position.follows(first.position)
        await rig.lists.tell(loaded("a", "y.example", "z.example"))
        third = await rig.policy.next()
        assert told(third) == [("a", ["x.example."], ["z.example."])]
        assert third.position.follows(second.position)
        after = await rig.lists.ask(GetLists())
        assert after.position == third.position
        assert held(after) == {"a": ["y.example.", "z.example."], "b": []}


async def test_what_is_no_news_is_not_told(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a")) as rig:
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.policy.next()
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.lists.tell(loaded("unknown", "x.example"))
        await rig.lists.tell(SourceUnchanged(source="unknown", at=1, digest="?"))
        await rig.lists.tell(SourceFailed(source="unknown", reason="gone", at=1))
        await wait_all_tasks_blocked()
        assert len(rig.policy.messages) == 1


async def test_status(run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock) -> None:
    refusals = (Refusal(reason="too_broad", count=2, lines=(4, 9)),)
    async with run_keeper(source("a", origin="/etc/a"), source("b", supported=False), source("c", active=False)) as rig:
        assert await rig.words() == {"a": "waiting", "b": "unsupported", "c": "inactive"}
        await rig.lists.tell(SourceFailed(source="a", reason="/etc/a: gone", at=5))
        status = (await rig.sources()).sources[0]
        assert (status.state, status.error, status.checked_at, status.origin) == (
            "waiting",
            "/etc/a: gone",
            5,
            "/etc/a",
        )
        message = loaded("a", "x.example", refusals=refusals, at=7)
        await rig.lists.tell(message)
        await rig.lists.tell(SourceUnchanged(source="a", at=9, digest=message.digest))
        found = await rig.sources()
        assert (found.publishing, found.waiting_for) == (True, ())
        status = found.sources[0]
        assert (status.state, status.names, status.loaded_at, status.checked_at) == ("fresh", 1, 7, 9)
        assert (status.error, status.refusals) == ("", refusals)
        await rig.lists.tell(SourceFailed(source="a", reason="/etc/a: gone", at=11))
        status = (await rig.sources()).sources[0]
        assert (status.state, status.names) == ("stale", 1), "its last good content stays"
        await rig.lists.tell(SourceUnchanged(source="a", at=13, digest=message.digest))
        status = (await rig.sources()).sources[0]
        assert (status.state, status.error, status.checked_at) == ("fresh", "", 13)


async def test_what_an_inactive_source_says_is_dropped(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Its actor may have said it just before a reload."""
    async with run_keeper(source("a", active=False)) as rig:
        before = await rig.sources()
        await rig.lists.tell(SourceFailed(source="a", reason="/etc/a: gone", at=5))
        await rig.lists.tell(SourceUnchanged(source="a", at=6, digest="other"))
        await rig.lists.tell(loaded("a", "x.example"))
        assert await rig.sources() == before
        assert rig.source.messages == []
        assert warnings_of(caplog) == []


async def test_accepting_for_an_inactive_source_is_no_news_for_the_policy(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a"), source("b"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("a", *many(10)))
        await rig.lists.tell(loaded("b", *many(10)))
        await rig.lists.tell(loaded("a"))
        await rig.lists.ask(configure(tmp_path, source("a", active=False), source("b"), brake=SMALL_BRAKE))
        told = len(rig.policy.messages)
        await rig.lists.ask(AcceptSource(source="a"))
        await wait_all_tasks_blocked()
        assert rig.policy.messages[told:] == []


async def test_refusals_are_logged_once_a_change(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    refusals = (Refusal(reason="too_broad", count=12, lines=(4, 9)),)
    async with run_keeper(source("a")) as rig:
        for _ in range(3):
            await rig.lists.tell(loaded("a", "x.example", refusals=refusals))
        await rig.sources()
        assert warnings_of(caplog) == ["source a: 12 lines refused as too_broad: 4, 9, …"]


# The gate


async def test_nothing_is_published_before_the_deadline_or_the_last_source(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a"), source("b"), start_deadline=60) as rig:
        await rig.lists.tell(loaded("a", "x.example"))
        assert not (await rig.policy.next()).publish
        opened = await rig.policy.next(100)
        assert (trio.current_time(), opened.publish, opened.waiting_for) == (60.0, True, ("b",))
        assert warnings_of(caplog) == ["changes are published without the sources that did not deliver in time: b"]
        await rig.lists.tell(loaded("b", "y.example"))
        assert (await rig.policy.next()).waiting_for == ()


async def test_without_a_required_allowlist_nothing_is_published_ever(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("deny"), source("allow", ListKind.ALLOW)) as rig:
        await rig.lists.tell(loaded("deny", "x.example"))
        await trio.sleep(1000)
        assert [message.publish for message in rig.policy.messages] == [False, False]
        assert warnings_of(caplog) == [
            "nothing new is published: no content for allow, and a zone made without would do harm"
            " (for an allowlist `required: false` waives that)"
        ]
        found = await rig.sources()
        assert (found.publishing, found.waiting_for) == (False, ("allow",))
        await rig.lists.tell(loaded("allow"))
        await rig.sources()
        assert rig.policy.messages[-1].publish, "an empty allowlist is content"


async def test_an_allowlist_that_is_not_required_is_waited_for_like_any_source(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("allow", ListKind.ALLOW, required=False)) as rig:
        assert not (await rig.sources()).publishing
        await trio.sleep(61)
        assert (await rig.sources()).publishing


async def test_a_restored_source_needs_not_deliver(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    sources = (source("deny"), source("allow", ListKind.ALLOW))
    async with run_keeper(*sources) as rig:
        await rig.lists.tell(loaded("deny", "x.example"))
        await rig.lists.tell(loaded("allow", "y.example"))
        await rig.policy.wait_count(2)
    async with run_keeper(*sources) as rig:
        snapshot = await rig.lists.ask(GetLists())
        assert (held(snapshot), snapshot.publish) == ({"deny": ["x.example."], "allow": ["y.example."]}, True)
        assert await rig.words() == {"deny": "restored", "allow": "restored"}
        await rig.lists.tell(loaded("deny", "x.example"))
        assert await rig.words() == {"deny": "fresh", "allow": "restored"}
        assert rig.policy.messages == [], "the same again is no change"


# The brake


def many(count: int) -> list[str]:
    return [f"n{number}.example" for number in range(count)]


async def test_a_change_too_large_is_held_until_it_is_accepted(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed", *many(10)))
        await rig.policy.next()
        for _ in range(2):
            await rig.lists.tell(loaded("feed", *many(2)))
        status = (await rig.sources()).sources[0]
        assert (status.state, status.names, status.pending_names) == ("held", 10, 2)
        assert status.error == "shrinks from 10 to 2 names, by more than 50%"
        # The exceptional event is what warns.
        assert warnings_of(caplog) == []
        assert caplog.text.count("source feed is held: it shrinks from 10 to 2 names, by more than 50%") == 1
        assert len(rig.policy.messages) == 1
        answer = await rig.lists.ask(AcceptSource(source="feed"))
        assert answer == "source feed: accepted, 2 names are in effect"
        change = await rig.policy.next()
        assert len(change.changes[0].removed) == 8
        assert await rig.words() == {"feed": "fresh"}


async def test_what_is_held_back_outlives_a_restart(
    run_keeper: Any, loaded: Loaded, source: Source, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed", *many(10)))
        await rig.lists.tell(loaded("feed", *many(100)))
        await rig.sources()
    caplog.clear()
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        assert await rig.words() == {"feed": "held"}
        await rig.lists.tell(loaded("feed", *many(100)))
        assert await rig.words() == {"feed": "held"}
        assert caplog.text.count("source feed is held: it grows") == 1, "noted once in the log of this process"
        await rig.lists.ask(AcceptSource(source="feed"))
        assert len((await rig.policy.next()).changes[0].upserted) == 90
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        status = (await rig.sources()).sources[0]
        assert (status.state, status.names) == ("restored", 100)


async def test_the_first_delivery_after_a_restart_is_held_against_what_was_restored(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed", *many(10)))
        await rig.sources()
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed"))
        assert await rig.words() == {"feed": "held"}


async def test_a_delivery_within_limits_replaces_what_is_held_back(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed", *many(10)))
        for last in (many(10), many(9)):
            await rig.lists.tell(loaded("feed", *many(1)))
            await rig.lists.tell(loaded("feed", *last))
            status = (await rig.sources()).sources[0]
            assert (status.state, status.names, status.pending_names) == ("fresh", len(last), None)
    async with run_keeper(source("feed"), brake=SMALL_BRAKE) as rig:
        assert await rig.words() == {"feed": "restored"}


async def test_a_source_can_have_its_own_brake(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("feed", brake=BrakeSettings(shrink=1.0)), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("feed", *many(10)))
        await rig.lists.tell(loaded("feed"))
        assert await rig.words() == {"feed": "fresh"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("feed", "nothing is held back for source feed"), ("x", "there is no source 'x'; known are: feed")],
)
async def test_accepting_nothing_fails_with_a_sentence(
    run_keeper: Any, source: Source, name: str, said: str, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("feed")) as rig:
        with pytest.raises(AskFailed) as failed:
            await rig.lists.ask(AcceptSource(source=name))
        assert isinstance(failed.value.__cause__, AcceptError)
        assert str(failed.value.__cause__) == said


# Reload


def configure(path: Path, *sources: SourceSettings, **settings: Any) -> ConfigureLists:
    return ConfigureLists(settings=ListKeeperSettings(store_path=path, sources=sources, **settings))


async def test_a_reload_begins_an_epoch_and_waits_for_new_sources(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("gone"), source("stays"), source("turns"), start_deadline=60) as rig:
        for name in ("gone", "stays", "turns"):
            await rig.lists.tell(loaded(name, f"{name}.example"))
        await rig.policy.wait_count(3)
        before = rig.policy.messages[-1]
        await rig.lists.tell(
            configure(
                tmp_path / "lists.db",
                source("stays"),
                source("turns", ListKind.ALLOW),
                source("new"),
                start_deadline=60,
            )
        )
        await rig.policy.wait_count(4)
        announced = rig.policy.messages[-1]
        assert announced.position.epoch != before.position.epoch
        assert (announced.changes, announced.publish, announced.waiting_for) == ((), False, ("turns", "new"))
        snapshot = await rig.lists.ask(GetLists())
        assert held(snapshot) == {"stays": ["stays.example."], "turns": [], "new": []}
        await rig.lists.tell(loaded("turns", "other.example"))
        await trio.sleep(61)
        assert rig.policy.messages[-1].publish
        assert rig.policy.messages[-1].waiting_for == ("new",)
    async with run_keeper(source("gone"), source("stays"), source("turns", ListKind.ALLOW)) as rig:
        assert await rig.words() == {"gone": "waiting", "stays": "restored", "turns": "restored"}


async def test_a_reload_that_changes_no_list_is_no_news(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a"), brake=SMALL_BRAKE) as rig:
        await rig.lists.tell(loaded("a", *many(10)))
        await rig.policy.next()
        await rig.lists.tell(configure(tmp_path / "lists.db", source("a"), brake=BrakeSettings()))
        await rig.lists.tell(loaded("a"))
        assert await rig.words() == {"a": "fresh"}, "the brake is the new one"
        assert len(rig.policy.messages) == 2


async def test_a_reload_does_not_wait_again_for_who_had_his_time(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("late"), start_deadline=60) as rig:
        await trio.sleep(61)
        await rig.lists.tell(configure(tmp_path / "lists.db", source("late"), source("new"), start_deadline=60))
        assert not (await rig.sources()).publishing
        await rig.lists.tell(loaded("new"))
        assert (await rig.sources()).publishing


@pytest.mark.parametrize("answer", ["same", "unchanged", "fails", "late"])
async def test_a_reload_waits_for_an_allowlist_that_is_read_in_another_way(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, answer: str, autojump_clock: MockClock
) -> None:
    allow, deny = source("allow", ListKind.ALLOW), source("deny")
    async with run_keeper(allow, deny, start_deadline=60) as rig:
        said = loaded("allow", "good.example")
        await rig.lists.tell(said)
        await rig.lists.tell(loaded("deny", "bad.example"))
        read_anew = attrs.evolve(allow, reading=("subtree",))
        await rig.lists.tell(configure(tmp_path / "lists.db", read_anew, deny, start_deadline=60))
        await rig.lists.tell(loaded("deny", "worse.example"))
        sources = await rig.sources()
        assert (sources.publishing, sources.waiting_for) == (False, ("allow",))
        match answer:
            case "same":
                await rig.lists.tell(said)
            case "unchanged":
                await rig.lists.tell(SourceUnchanged(source="allow", at=9, digest=said.digest))
            case "fails":
                await rig.lists.tell(SourceFailed(source="allow", reason="gone", at=9))
            case _:
                await trio.sleep(61)
        assert (await rig.sources()).publishing
        assert rig.policy.messages[-1].publish


async def test_an_inactive_source_leaves_and_comes_back(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a")) as rig:
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.lists.tell(configure(tmp_path / "lists.db", source("a", active=False)))
        assert held(await rig.lists.ask(GetLists())) == {}
        await rig.lists.tell(loaded("a", "y.example"))
        await rig.lists.tell(configure(tmp_path / "lists.db", source("a")))
        assert held(await rig.lists.ask(GetLists())) == {"a": ["x.example."]}


# What was lost on the way


async def test_content_that_never_got_here_is_asked_for(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("a")) as rig:
        await rig.lists.tell(SourceUnchanged(source="a", at=1, digest="something"))
        assert isinstance(await rig.source.next(), RefreshSource)
        message = loaded("a", "x.example")
        await rig.lists.tell(message)
        await rig.lists.tell(SourceUnchanged(source="a", at=1, digest=message.digest))
        await wait_all_tasks_blocked()
        assert len(rig.source.messages) == 1


async def test_a_source_that_crashes_the_keeper_twice_is_not_listened_to_until_it_says_something_else(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    def wrap(factory: Any) -> Any:
        return crash_on_nth(factory, 2, 3)

    async with run_keeper(source("bad"), source("good"), wrap=wrap) as rig:
        await rig.lists.tell(loaded("good", "x.example"))
        for _ in range(3):
            await rig.lists.tell(loaded("bad", "poison.example"))
            await trio.sleep(1)
        assert await rig.words() == {"bad": "waiting", "good": "restored"}
        assert "failed twice" in (await rig.sources()).sources[0].error
        poison = loaded("bad", "poison.example")
        for _ in range(2):
            await rig.lists.tell(SourceUnchanged(source="bad", at=1, digest=poison.digest))
        await wait_all_tasks_blocked()
        assert rig.source.messages == []
        cured = loaded("bad", "y.example")
        await rig.lists.tell(SourceUnchanged(source="bad", at=1, digest=cured.digest))
        assert isinstance(await rig.source.next(), RefreshSource)
        await rig.lists.tell(cured)
        assert await rig.words() == {"bad": "fresh", "good": "restored"}


async def test_the_operator_can_have_a_suspended_source_listened_to(
    run_keeper: Any, loaded: Loaded, source: Source, autojump_clock: MockClock
) -> None:
    async with run_keeper(source("bad"), wrap=lambda factory: crash_on_nth(factory, 1, 2)) as rig:
        for _ in range(3):
            await rig.lists.tell(loaded("bad", "x.example"))
            await trio.sleep(1)
        assert await rig.lists.ask(AcceptSource(source="bad")) == "source bad is listened to again"
        assert isinstance(await rig.source.next(), RefreshSource)


# A store that fails


@pytest.fixture
def failing_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """`failing_store["error"] = …` makes every transaction raise it."""
    switch: dict[str, Any] = {"error": None}
    transaction = ListStore.transaction

    def checked(store: ListStore) -> Any:
        if switch["error"] is not None:
            raise switch["error"]
        return transaction(store)

    monkeypatch.setattr(ListStore, "transaction", checked)
    yield switch
    switch["error"] = None


async def test_a_full_store_does_not_keep_a_change_from_the_zone(
    run_keeper: Any,
    loaded: Loaded,
    source: Source,
    failing_store: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    async with run_keeper(source("a"), source("b")) as rig:
        failing_store["error"] = StoreFull(path=Path("lists.db"), reason="disk full")
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.lists.tell(loaded("b", "y.example"))
        await rig.policy.wait_count(2)
        status = (await rig.sources()).sources[0]
        assert (status.state, status.names) == ("fresh", 1)
        assert status.error == "in effect, but not saved: lists.db: disk full"
        await trio.sleep(10)
        assert warnings_of(caplog) == [
            "stored lists: lists.db: disk full; what the sources say is in effect all the same"
        ]
        failing_store["error"] = None
        await trio.sleep(20)
        assert [status.error for status in (await rig.sources()).sources] == ["", ""]
    async with run_keeper(source("a"), source("b")) as rig:
        assert held(await rig.lists.ask(GetLists())) == {"a": ["x.example."], "b": ["y.example."]}


async def test_a_store_that_turns_out_corrupt_is_replaced_and_filled_anew(
    run_keeper: Any,
    loaded: Loaded,
    source: Source,
    failing_store: dict[str, Any],
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    async with run_keeper(source("a"), source("b")) as rig:
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.policy.next()
        failing_store["error"] = StoreCorrupt(path=Path("lists.db"), reason="rotten")
        await rig.lists.tell(loaded("b", "y.example"))
        await rig.policy.next()
        failing_store["error"] = None
        await trio.sleep(5)
        assert [status.error for status in (await rig.sources()).sources] == ["", ""]
    assert count_quarantined(tmp_path) == 1
    async with run_keeper(source("a"), source("b")) as rig:
        assert held(await rig.lists.ask(GetLists())) == {"a": ["x.example."], "b": ["y.example."]}


async def test_a_corrupt_store_at_the_start_is_reported_and_gone_without(
    run_keeper: Any, loaded: Loaded, source: Source, tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "lists.db").write_bytes(b"rubbish")
    async with run_keeper(source("a")) as rig:
        assert await rig.words() == {"a": "waiting"}
        await rig.lists.tell(loaded("a", "x.example"))
        await rig.policy.next()
    async with run_keeper(source("a")) as rig:
        assert await rig.words() == {"a": "restored"}
