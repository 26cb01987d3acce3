"""The tree as a machine: it stops in one order, shows what is stuck, restarts what crashes, and gives up loudly."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import ActorCrashed, GaveUp, RestartLimitReached, RestartScheduled
from actors.statistics import Status
from actors.testing import assert_tree, stall
from tapir.model.messages.lists import GetSources, ListsChanged
from tapir.model.messages.zone import GetZone

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}
STOPPED = [
    "sources/south",
    "sources/north",
    "sources/deny",
    "sources/allow",
    "sources/tapir:local",
    "supervisor sources",
    "uplink/telemetry",
    "supervisor uplink",
    "evaluator/policy",
    "evaluator/lists",
    "supervisor evaluator",
    "control/api",
    "control/health",
    "control/certificates",
    "control/clock",
    "control/events",
    "supervisor control",
    "authority/server",
    "authority/notifier",
    "authority/keeper",
    "supervisor authority",
    "supervisor (root)",
]


def stops(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What stopped, in the order of the log."""
    words = [record.getMessage().split() for record in caplog.records if record.name == "actors"]
    return [" ".join(word[1:-1]) for word in words if word[0] == "stopped"]


async def test_the_order_of_a_stop_is_the_same_every_time(
    four: Any, rng: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    for _ in range(20):
        caplog.clear()
        async with four.run() as life:
            assert_tree(
                life.system,
                """
                authority running (rest_for_one)
                  keeper running
                  notifier running
                  server running
                control running (one_for_one)
                  events running
                  clock running
                  certificates running
                  health running
                  api running
                evaluator running (rest_for_one)
                  lists running
                  policy running
                uplink running (one_for_one)
                  telemetry running
                sources running (one_for_one)
                  tapir:local running
                  allow running
                  deny running
                  north running
                  south running
                """,
            )
            # Amid its work: edits wait to be read, decided, committed.
            four.say("deny", "denied.example", "allowed.example", f"n{rng.randrange(1000)}.example")
            await trio.sleep(rng.choice([0, 1, 2, 1.5]))
            began = trio.current_time()
            life.stop()
        assert stops(caplog) == STOPPED
        assert trio.current_time() == began, "nothing waits for anything"


async def test_a_stuck_actor_is_shown_while_everything_else_is_served(
    four: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    def slow_policy(factory: Any) -> Any:
        return stall(factory, 100, ListsChanged)

    async with four.run() as life:
        await life.until(2)
        life.stop()
    async with four.run(wrap={"evaluator/policy": slow_policy}) as life:
        await life.until(0.5)
        four.say("deny", "denied.example", "new.example", "allowed.example")
        await life.until(10.9)
        assert life.system.statistics().find("evaluator/policy").status is Status.RUNNING
        await life.until(11.5)
        stuck = life.system.statistics().find("evaluator/policy")
        assert (stuck.status, stuck.current, stuck.current_seconds) == (Status.STUCK, "ListsChanged", 10.5)
        others = [
            node
            for node in life.system.statistics().root.walk()
            if node.mailbox is not None and node.path != "evaluator/policy"
        ]
        assert {node.status for node in others} == {Status.RUNNING}
        assert (await life.zone()).state == "serving"
        assert (await life.sources()).publishing
        assert (await life.health()).ready
        assert "evaluator/policy is stuck: it has handled ListsChanged" in caplog.text
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (101, COMPLETE | {"new.example.": "NXDOMAIN"})
        assert life.system.statistics().find("evaluator/policy").status is Status.RUNNING
        assert "evaluator/policy is no longer stuck" in caplog.text


async def test_a_keeper_that_is_stuck_is_shown_and_its_askers_do_not_wait_for_ever(
    four: Any, autojump_clock: MockClock
) -> None:
    async with four.run(wrap={"authority/keeper": lambda factory: stall(factory, 50, GetZone)}) as life:
        await life.until(1)
        health = await life.health()
        assert not health.ready
        assert health.reasons == ("the zone keeper does not answer",)
        await life.until(20)
        assert life.system.statistics().find("authority/keeper").status is Status.STUCK
        assert life.system.statistics().find("sources/deny").status is Status.RUNNING


async def test_a_stuck_actor_holds_a_stop_up_for_its_deadline_only(
    four: Any, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    wrap = {"evaluator/lists": lambda factory: stall(factory, 1000, GetSources)}
    async with four.run(wrap=wrap) as life:
        await life.until(6)
        caplog.clear()
        life.stop()
        began = trio.current_time()
    assert 0 < trio.current_time() - began <= 30
    assert stops(caplog) == STOPPED


async def test_a_crashing_actor_restarts_with_back_off(four: Any, trouble: Any, autojump_clock: MockClock) -> None:
    four.secondary.may_miss = True
    async with four.run(trouble=trouble) as life, life.system.subscribe(1000) as events:
        await life.until(0.5)
        for _ in range(4):
            trouble.arm("sources/deny", "before")
        await life.until(60)
        source = life.system.statistics().find("sources/deny")
        assert (source.status, source.restarts) == (Status.RUNNING, 4)
        assert source.last_error is not None
        assert "InjectedFault" in source.last_error
        life.stop()
        happened = [event async for event in events]
    delays = [event.delay for event in happened if isinstance(event, RestartScheduled)]
    assert len(delays) == 4
    assert delays == sorted(delays)
    assert delays[-1] > 3 * delays[0]
    assert {event.path for event in happened if isinstance(event, ActorCrashed)} == {"sources/deny"}


@pytest.mark.parametrize("path", ["authority/keeper", "evaluator/lists", "evaluator/policy"])
async def test_an_actor_that_goes_on_crashing_ends_the_process_loudly_and_in_order(
    four: Any, trouble: Any, path: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    four.secondary.may_miss = True
    async with four.run() as life:
        await life.secondary.wait_versions(1)
    caplog.clear()
    number = -1

    async def edit_until_it_gives_up() -> None:
        nonlocal number
        async with four.run(trouble=trouble) as life:
            await life.until(0.5)
            for number in range(1000):
                trouble.arm(path, "before")
                four.say("deny", "denied.example", f"n{number}.example", "allowed.example")
                await trio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        await edit_until_it_gives_up()
    assert caught.group_contains(RestartLimitReached)
    loud = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert any(text.startswith(f"supervisor {path.split('/')[0]} gives up: {path} needed more than") for text in loud)
    assert any(text.startswith("supervisor (root) gives up") for text in loud)
    # The rest stops in order: sources before the evaluator before the authority.
    groups = [stopped for stopped in stops(caplog) if stopped.startswith("supervisor ")][-4:]
    mine = {f"supervisor {path.split('/')[0]}", "supervisor (root)"}
    assert groups == [group for group in STOPPED if group.startswith("supervisor ") and group not in mine]
    trouble.disarm()
    async with four.run() as life:
        await life.until(5)
        assert (await life.zone()).state == "serving"
        assert four.secondary.rules == {
            "doubted.example.": "NODATA",
            "denied.example.": "NXDOMAIN",
            f"n{number}.example.": "NXDOMAIN",
        }


async def test_giving_up_is_an_event(four: Any, trouble: Any, autojump_clock: MockClock) -> None:
    four.secondary.may_miss = True
    happened: list[Any] = []

    async def look_on() -> None:
        async with four.run(trouble=trouble) as life, life.system.subscribe(10_000) as events:
            trouble.arm("evaluator/lists", *["before"] * 1000)
            happened.extend([event async for event in events])

    with pytest.raises(ExceptionGroup):
        await look_on()
    gave_up = [event for event in happened if isinstance(event, GaveUp)]
    assert gave_up
    assert gave_up[0].path == "evaluator"
    assert gave_up[-1].path == ""
