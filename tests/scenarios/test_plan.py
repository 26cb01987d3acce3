"""What a plan says before a reload is what the reload then does."""

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from tapir.app.config import load
from tapir.app.plan import Plan, make_plan
from tapir.model.actions import Action, ListKind
from tapir.model.messages.local import SetOverride

NOW = 1_700_000_000_000_000
NAMES = [f"{name}.example" for name in ("a", "b", "c", "x.a", "y.x.a", "allowed", "denied", "doubted")]
ENTRIES = NAMES + [f"*.{name}" for name in NAMES] + [f"||{name}^" for name in NAMES[:4]]


def plan(pop: Any, life: Any = None, *, now: int = NOW, most: int | None = None) -> Plan:
    pop.write_configuration()
    running = life._state["config"] if life is not None else None
    config = load(pop.config_dir, pop.state_dir)
    return make_plan(config, running=running, state_dir=pop.state_dir, now=now, most=most)


def rules_after(before: dict[str, str], planned: Plan) -> dict[str, str]:
    """The rules after what is planned, which fits them."""
    after = dict(before)
    for change in (*planned.removed.first, *planned.added.first, *planned.changed.first):
        assert after.pop(change.name, "NONE") == change.before.label
        if change.after is not Action.NONE:
            after[change.name] = change.after.label
    assert len(after) == planned.records
    return after


def listing(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(each): (each.stat().st_size, each.stat().st_mtime_ns, each.read_bytes())
        for each in folder.rglob("*")
        # SQLite shares the index of its log among the connections of one process, and here the daemon is in ours.
        if each.is_file() and not each.name.endswith("-shm")
    }


async def test_nothing_changed_is_nothing_planned_and_nothing_is_written(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
        before = listing(four.state_dir)
        planned = plan(four, life)
        assert not planned.changes
        assert (planned.records, planned.serial, planned.held) == (2, 1, ())
        assert listing(four.state_dir) == before
    before = listing(four.state_dir)
    planned = plan(four)
    assert not planned.changes
    assert not planned.running
    assert listing(four.state_dir) == before


def test_without_a_state_folder_everything_would_be_added(four: Any) -> None:
    planned = plan(four)
    assert (planned.serial, planned.added.count, planned.removed.count) == (None, 2, 0)
    assert {source.id: source.change for source in planned.sources} == dict.fromkeys(four.sources, "added")
    assert not four.state_dir.exists()
    assert [change.name for change in plan(four, most=1).added.first] == ["denied.example."]


async def test_random_edits_do_what_the_plan_said(four: Any, rng: random.Random, autojump_clock: MockClock) -> None:
    four.secondary.never = set()
    four.secondary.may_miss = True
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        for step in range(25):
            await life.until(100 * (step + 1) + 0.5)
            edit(four, rng)
            if rng.random() < 0.3:
                order = SetOverride(
                    entry=rng.choice(ENTRIES), kind=rng.choice(list(ListKind)), seconds=None, reason="", user=""
                )
                await life.ask("sources/tapir:local", order)
                await life.until(life.now + 0.25)
            planned = plan(four, life)
            wanted = rules_after(life.secondary.rules if life.secondary.seen else {}, planned)
            assert await life.reload() == ()
            await life.until(100 * (step + 1) + 70)
            assert life.secondary.rules == wanted, f"step {step}"
            assert planned.held == () or all("would be waited for" in reason for reason in planned.held)


def edit(pop: Any, rng: random.Random) -> None:
    """Change one to three things in the configuration or in list files."""
    for _ in range(rng.randint(1, 3)):
        source = rng.choice(["allow", "deny", "north", "south", "fifth"])
        match rng.randrange(7):
            case 0 | 1 | 2 if source in pop.sources:
                pop.say(source, *rng.sample(ENTRIES, rng.randint(1, 6)))
            case 3 if source in pop.sources:
                pop.sources[source]["active"] = not pop.sources[source]["active"]
            case 4 if source in pop.sources and pop.sources[source]["type"] != "allowlist":
                pop.sources[source]["match"] = rng.choice(["exact", "subtree"])
                pop.sources[source]["action"] = rng.choice(["drop", "nodata", "passthru"])
            case 5:
                pop.rpz["canary"] = rng.choice(NAMES)
                pop.policy["denylist"] = {"action": rng.choice(["nxdomain", "drop", "nodata"])}
            case 6 if "fifth" not in pop.sources:
                pop.add("fifth", rng.choice(["denylist", "doubtlist"]), *rng.sample(ENTRIES, 3))
            case 6:
                del pop.sources["fifth"]


async def test_a_list_that_cannot_be_read_counts_as_it_was(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
        four.ruin("deny", "absent")
        planned = plan(four, life)
        assert not planned.changes
        (source,) = planned.sources
        assert (source.id, source.change) == ("deny", "same")
        assert "No such file or directory; the 2 names that it said last count" in source.note
        four.add("more", "allowlist", missing=True)
        assert plan(four, life).held == ("nothing new is published without content for more",)


async def test_the_brakes_are_told(four: Any, autojump_clock: MockClock) -> None:
    four.rpz["brake"] = {"change": "50%", "minimum": 1}
    four.top["brake"] = {"minimum": 2, "shrink": "40%"}
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
        four.policy["denylist"] = {"action": "drop"}
        four.policy["doubtlist"] = {
            "numsources": {"limit": 2, "action": "drop"},
            "numtapirtags": {"limit": 3, "action": "nxdomain"},
            "denytapir": {"tags": [], "action": "drop"},
        }
        planned = plan(four, life)
        assert planned.held == ("the zone's brake would hold it: tapir accept zone",)
        assert planned.changed.count == 2
        assert planned.settings == ("policy: denylist-action", "policy: numsources-action")
        assert await life.reload() == ()
        await life.until(10)
        assert (await life.zone()).state == "braked"
        four.say("deny", "denied.example")
        (source,) = plan(four, life).sources
        assert source.note.startswith("held by the brake: it shrinks from 2 to 1 names")


async def test_what_takes_a_restart_is_told_and_not_planned(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
        four.rpz |= {"ttl": 60, "redirect": "garden.example"}
        four.policy["denylist"] = {"action": "redirect"}
        planned = plan(four, life)
        assert planned.needs_restart == ("services.rpz.ttl", "services.rpz.redirect", "policy")
        assert planned.changed.count == 0
        assert planned.changes
    planned = plan(four)
    assert [(change.before, change.after) for change in planned.changed.first] == [(Action.NXDOMAIN, Action.REDIRECT)]


@pytest.mark.parametrize("key", ["path", "kind", "weight"])
async def test_sources_tell_what_changed_in_them(four: Any, key: str, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.secondary.wait_versions(1)
        await life.until(5)
        with contextlib.suppress(KeyError):
            del four.sources["south"]
        four.add("new", "denylist", "new.example")
        match key:
            case "path":
                four.sources["north"]["filename"] = str(four.path("deny"))
            case "kind":
                four.sources["north"]["type"] = "denylist"
            case "weight":
                four.sources["north"]["weight"] = 2
        planned = plan(four, life)
        assert [(source.id, source.change) for source in planned.sources] == [
            ("south", "removed"),
            ("north", "changed"),
            ("new", "added"),
        ]
        (keys,) = [source.keys for source in planned.sources if source.keys]
        assert keys == ({"path": "filename", "kind": "type", "weight": "weight"}[key],)
