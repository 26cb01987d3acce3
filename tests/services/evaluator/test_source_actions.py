"""A reload that gives a source another action or weight: one least difference, and nobody starts anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import GetLists, ListDescription, ListsChanged, SourceLoaded, StreamPosition
from tapir.model.messages.policy import Explain
from tapir.services.evaluator.lists import ConfigureLists, ListKeeperSettings
from tapir.services.evaluator.roster import SourceSettings


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "not looked at"


async def test_the_zone_follows_actions_and_weights(
    run_evaluator: Any, loaded: Callable[..., SourceLoaded], store: Path, autojump_clock: MockClock
) -> None:
    feed = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
    other = SourceSettings(id="other", name="other", kind=ListKind.DENY)
    doubt = SourceSettings(id="doubt", name="doubt", kind=ListKind.DOUBT)
    async with run_evaluator(feed, other, doubt) as rig:

        async def reload(*sources: SourceSettings) -> dict[str, str]:
            settings = ListKeeperSettings(store_path=store, sources=sources)
            await rig.lists.ask(ConfigureLists(settings=settings))
            await wait_all_tasks_blocked(0.1)
            assert rig.zone.records is not None
            return dict(rig.zone.records)

        await rig.lists.tell(loaded("feed", "a.example", "both.example"))
        await rig.lists.tell(loaded("other", "b.example", "both.example"))
        await rig.lists.tell(loaded("doubt", "d.example"))
        await wait_all_tasks_blocked(0.1)
        begun = {"a.example.": "NODATA", "b.example.": "NODATA", "both.example.": "NODATA"}
        assert rig.zone.records == begun

        versions, position = len(rig.zone.published), rig.zone.position
        mild = attrs.evolve(feed, action=Action.TCP_ONLY)
        assert await reload(mild, other, doubt) == begun | {"a.example.": "TCP-ONLY"}
        explained = await rig.policy.ask(Explain(name="a.example"))
        assert (explained.action, explained.action_source) == (Action.TCP_ONLY, "feed")

        heavy = attrs.evolve(doubt, weight=2, action=Action.REDIRECT)
        after = begun | {"a.example.": "TCP-ONLY", "d.example.": "REDIRECT"}
        assert await reload(mild, other, heavy) == after
        assert await reload(mild, other, heavy) == after, "the same again changes nothing"
        assert await reload(feed, other, doubt) == begun

        # The stand-in takes differences that fit only; a stream begun anew would have another epoch.
        assert len(rig.zone.published) == versions + 3
        assert rig.zone.position.epoch == position.epoch
        assert rig.zone.position.sequence == position.sequence + 3


async def test_other_actions_of_the_same_lists_are_told_without_their_content(
    run_keeper: Any, loaded: Callable[..., SourceLoaded], store: Path, autojump_clock: MockClock
) -> None:
    feed = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
    other = SourceSettings(id="other", name="other", kind=ListKind.DENY)
    async with run_keeper(feed, other) as rig:

        async def reload(*sources: SourceSettings) -> list[ListsChanged]:
            known = len(rig.policy.messages)
            await rig.lists.ask(ConfigureLists(settings=ListKeeperSettings(store_path=store, sources=sources)))
            await wait_all_tasks_blocked(0.1)
            return list(rig.policy.messages[known:])

        await rig.lists.tell(loaded("feed", "a.example"))
        await rig.lists.tell(loaded("other", "b.example"))
        await wait_all_tasks_blocked(0.1)
        last = rig.policy.messages[-1]

        sterner = attrs.evolve(feed, action=Action.DROP)
        (told,) = await reload(sterner, other)
        assert told.position.follows(last.position)
        assert (told.changes, set(told.described)) == ((), {sterner.description, other.description})
        assert told.publish
        assert await reload(other, sterner) == [], "the order of sources means nothing"

        # Another list is another stream, whatever else there is to say.
        (told,) = await reload(feed, attrs.evolve(other, name="renamed"))
        assert told.position.epoch != last.position.epoch
        assert told.described == ()


async def test_descriptions_of_lists_that_are_not_known_make_the_evaluator_ask(
    run_evaluator: Any, loaded: Callable[..., SourceLoaded], autojump_clock: MockClock
) -> None:
    feed = SourceSettings(id="feed", name="feed", kind=ListKind.DENY)
    async with run_evaluator(feed) as rig:
        await rig.lists.tell(loaded("feed", "a.example"))
        await wait_all_tasks_blocked(0.1)
        position = (await rig.lists.ask(GetLists())).position
        foreign = ListDescription(source="foreign", name="foreign", kind=ListKind.DENY, action=Action.DROP)
        following = StreamPosition(epoch=position.epoch, sequence=position.sequence + 1)
        await rig.policy.tell(ListsChanged(position=following, changes=(), publish=True, described=(foreign,)))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {"a.example.": "NODATA"}
        assert (await rig.policy.ask(Explain(name="a.example"))).action is Action.NODATA
