"""Several sources feed one list: what feeds say by the way counts once, whoever says it."""

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.messages.feeds import CATCH_ALLS, derived_source
from tapir.model.messages.lists import SourceChanged, SourceLoaded
from tapir.model.messages.policy import Explain, Explanation
from tapir.model.names import parse_name
from tapir.services.evaluator.roster import SourceSettings


def feed(id_: str, kind: ListKind) -> list[SourceSettings]:
    """A feed with its parts in the lists that feeds share."""
    parts = [
        SourceSettings(id=derived_source(id_, each), name=name, kind=each, required=False, internal=True, derived=True)
        for each, name in CATCH_ALLS.items()
    ]
    return [SourceSettings(id=id_, name=id_, kind=kind, required=False), *parts]


def said(source: str, *names: str) -> SourceLoaded:
    block = ListBlock.of((parse_name(name), 0) for name in sorted(names))
    return SourceLoaded(source=source, content=block, digest=f"{source}:1", refusals=(), loaded_at=1)


def changed(source: str, *, out: tuple[str, ...] = (), come: tuple[str, ...] = ()) -> SourceChanged:
    return SourceChanged(
        source=source,
        base=f"{source}:1",
        digest=f"{source}:2",
        removed=NameBlock.of(map(parse_name, out)),
        upserted=ListBlock.of((parse_name(name), 0) for name in come),
        refusals=(),
        loaded_at=2,
    )


@pytest.fixture
def sources() -> list[SourceSettings]:
    ours = SourceSettings(id="ours", name="ours", kind=ListKind.DOUBT)
    return [*feed("one", ListKind.ALLOW), *feed("two", ListKind.ALLOW), *feed("bad", ListKind.DENY), ours]


async def test_two_feeds_doubt_a_name_once(
    run_evaluator: Any, sources: list[SourceSettings], autojump_clock: MockClock
) -> None:
    async with run_evaluator(*sources) as rig:

        async def explain(name: str) -> Explanation:
            found: Explanation = await rig.policy.ask(Explain(name=name))
            return found

        for source in ("one:doubt", "two:doubt"):
            await rig.lists.tell(said(source, "x.example"))
        for source in ("one", "two", "bad"):
            await rig.lists.tell(said(source))
        await rig.lists.tell(said("ours", "y.example"))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {}
        both = await explain("x.example")
        assert [(hit.list_name, hit.source) for hit in both.hits] == [
            ("doubt_catchall", "one:doubt"),
            ("doubt_catchall", "two:doubt"),
        ]
        assert next(rule for rule in both.rules if rule.rule == "numsources").found == 1

        await rig.lists.tell(changed("ours", come=("x.example",)))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {"x.example.": "NXDOMAIN"}
        assert next(rule for rule in (await explain("x.example")).rules if rule.rule == "numsources").found == 2
        # It stays doubted for as long as one of the two says so.
        await rig.lists.tell(changed("one:doubt", out=("x.example",)))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {"x.example.": "NXDOMAIN"}
        await rig.lists.tell(changed("two:doubt", out=("x.example",)))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {}


async def test_what_a_denylist_feed_lets_pass_is_allowed_whoever_else_blocks_it(
    run_evaluator: Any, sources: list[SourceSettings], autojump_clock: MockClock
) -> None:
    async with run_evaluator(*sources) as rig:
        await rig.lists.tell(said("bad:allow", "good.example"))
        await rig.lists.tell(said("bad", "evil.example", "good.example"))
        for source in ("one", "two", "ours"):
            await rig.lists.tell(said(source))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {"evil.example.": "NODATA"}
        await rig.lists.tell(changed("bad:allow", out=("good.example",)))
        await wait_all_tasks_blocked(0.1)
        assert rig.zone.records == {"evil.example.": "NODATA", "good.example.": "NODATA"}
