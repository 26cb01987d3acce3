"""A new configuration while the process runs: what changed takes effect, what is wrong changes nothing."""

from ipaddress import ip_network
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tapir.app.config import Setup, load
from tapir.model.messages.policy import Explain
from tapir.model.messages.zone import GetSecondaries
from tapir.model.names import parse_name

COMPLETE = {"denied.example.": "NXDOMAIN", "doubted.example.": "NODATA"}


async def test_a_new_list_takes_part_as_soon_as_it_has_spoken(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.add("more", "denylist", "more.example")
        assert await life.reload() == ()
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial) == (10.5, 2)
        assert second.rules == COMPLETE | {"more.example.": "NXDOMAIN"}
        await life.until(20.2)
        four.say("more", "other.example")
        third = await life.secondary.wait_versions(3)
        # Its own looks began with it, half a second after the others'.
        assert (life.now, third.rules) == (20.5, COMPLETE | {"other.example.": "NXDOMAIN"})
    assert four.secondary.whole_transfers == 0


async def test_a_new_list_that_is_missing_holds_edits_back_until_the_deadline(
    four: Any, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.add("more", "denylist", missing=True)
        assert await life.reload() == ()
        four.say("deny", "denied.example", "new.example", "allowed.example")
        await life.until(70)
        assert len(four.secondary.seen) == 1
        assert (await life.sources()).waiting_for == ("more",)
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (70.5, COMPLETE | {"new.example.": "NXDOMAIN"})


async def test_a_new_allowlist_that_is_missing_holds_edits_back_until_it_is_there(
    four: Any, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.add("more", "allowlist", missing=True)
        assert await life.reload() == ()
        four.say("deny", "denied.example", "new.example", "allowed.example")
        four.secondary.never.add("new.example.")
        await life.until(300)
        assert len(four.secondary.seen) == 1
        assert not (await life.health()).ready
        four.say("more", "new.example", "doubted.example")
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (300.5, {"denied.example.": "NXDOMAIN"})


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ("deny", {"doubted.example.": "NODATA"}),
        ("north", {"denied.example.": "NXDOMAIN"}),
        ("allow", COMPLETE | {"allowed.example.": "NXDOMAIN"}),
    ],
)
@pytest.mark.parametrize("how", ["removed", "inactive"])
async def test_a_list_that_is_gone_takes_its_names_along(
    four: Any, source: str, rules: dict[str, str], how: str, autojump_clock: MockClock
) -> None:
    four.secondary.never.clear()
    async with four.run() as life:
        await life.until(10.5)
        entry = four.sources.pop(source)
        if how == "inactive":
            four.sources[source] = entry | {"active": False}
        assert await life.reload() == ()
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial, second.rules) == (10.5, 2, rules)
        assert life.system.supervisor("sources").children() == tuple(
            name for name in ("tapir:local", "allow", "deny", "north", "south") if name != source
        )
        await life.until(100.5)
        four.sources[source] = entry
        assert await life.reload() == ()
        third = await life.secondary.wait_versions(3)
        assert (life.now, third.serial, third.rules) == (100.5, 3, COMPLETE)
    assert len(four.secondary.seen) == 3


async def test_a_list_of_another_kind_is_another_list(four: Any, autojump_clock: MockClock) -> None:
    """A denylist that becomes an allowlist stops blocking, and never blocks under its new kind."""
    four.sources["deny"]["broad"] = True
    async with four.run() as life:
        await life.until(10.5)
        four.secondary.never.add("denied.example.")
        four.sources["deny"]["type"] = "allowlist"
        assert await life.reload() == ()
        await life.until(12)
        assert four.secondary.rules == {"doubted.example.": "NODATA"}
        four.secondary.never.remove("denied.example.")
        four.sources["deny"]["type"] = "denylist"
        assert await life.reload() == ()
        await life.until(13)
        assert four.secondary.rules == COMPLETE
        four.sources["north"]["type"] = "denylist"
        assert await life.reload() == ()
        await life.until(15)
        assert four.secondary.rules == COMPLETE | {
            "doubted.example.": "NXDOMAIN",
            "northern.example.": "NXDOMAIN",
        }


async def test_a_list_in_another_place_stays_the_same_list(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.sources["deny"]["filename"] = str(four.path("moved"))
        assert await life.reload() == ()
        await life.until(100)
        assert four.secondary.rules == COMPLETE, "what it said last stays until the new file speaks"
        assert (await life.source("deny")).state == "stale"
        four.say("moved", "moved.example")
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.rules) == (100.5, {"moved.example.": "NXDOMAIN", "doubted.example.": "NODATA"})


async def test_another_policy_is_one_version(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.policy["denylist"] = {"action": "drop"}
        four.policy["doubtlist"] = {
            "numsources": {"limit": 1, "action": "nxdomain"},
            "numtapirtags": {"limit": 3, "action": "nxdomain"},
            "denytapir": {"tags": [], "action": "drop"},
        }
        assert await life.reload() == ()
        second = await life.secondary.wait_versions(2)
        assert (life.now, second.serial) == (10.5, 2)
        assert second.rules == {
            "denied.example.": "DROP",
            **{f"{name}.example.": "NXDOMAIN" for name in ("doubted", "northern", "southern")},
        }
        explanation = await life.ask("evaluator/policy", Explain(name="northern.example"))
        assert explanation.action.label == "NXDOMAIN"
        await life.until(20)
        assert len(four.secondary.seen) == 2


async def test_what_was_reloaded_outlives_crashes(four: Any, trouble: Any, autojump_clock: MockClock) -> None:
    four.secondary.may_miss = True
    async with four.run(trouble=trouble) as life:
        await life.until(10.5)
        four.policy["denylist"] = {"action": "drop"}
        four.add("more", "denylist", "more.example")
        assert await life.reload() == ()
        await life.until(12.5)
        rules = COMPLETE | {"denied.example.": "DROP", "more.example.": "DROP"}
        assert four.secondary.rules == rules
        for path in ("evaluator/policy", "evaluator/lists", "authority/keeper"):
            trouble.arm(path, "before")
            four.say("more", "more.example", f"{path.replace('/', '-')}.example")
            await trio.sleep(30)
            rules = {name: action for name, action in rules.items() if "evaluator" not in name}
            rules |= {f"{path.replace('/', '-')}.example.": "DROP"}
            assert four.secondary.rules == rules
        assert trouble.crashes == 3


async def test_what_takes_a_restart_stays_over_several_reloads(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        await life.until(5)
        looks = life.system.statistics().find("sources/deny").processed
        four.rpz["zonename"] = "other."
        four.top["dnsengine"] = {"active": True, "addresses": ["127.0.0.1:5360"]}
        for _ in range(3):
            assert await life.reload() == ()
            assert life.secondary.configured is not None
            assert life.secondary.configured.zone.name == parse_name("dnstapir.")
            assert life.secondary.configured.addresses == (("127.0.0.1", 5359),)
        assert life.system.statistics().find("sources/deny").processed >= looks, "its actor is the same one"
        await life.until(100)
        assert (await life.zone()).zone == "dnstapir."
    assert len(four.secondary.seen) == 1


async def test_who_may_ask_after_a_reload_may_ask_after_a_crash(four: Any, autojump_clock: MockClock) -> None:
    async with four.run() as life:
        before = load(four.config_dir, four.state_dir)
        four.top["dnsengine"] = {"active": True, "addresses": ["127.0.0.1:5359"], "allow-transfer": ["192.0.2.0/24"]}
        assert await life.reload() == ()
        reloaded = life.secondary.configured
        assert reloaded.allow == (ip_network("192.0.2.0/24"),)
        # The secondary stands where the server would, so the next incarnation is made here.
        setup = Setup(config_dir=before.config_dir, state_dir=before.state_dir, pop=before, edm=None)
        (*_, server) = life.tree.specify(setup).children[0].children
        assert server.name == "server"
        assert server.factory()._settings == reloaded


async def test_reloaded_outputs_outlive_crashes(pop: Any, trouble: Any, autojump_clock: MockClock) -> None:
    # An allowlist that is missing: without a version there is nothing to tell, and no socket is opened.
    pop.add("allow", "allowlist", missing=True)
    async with pop.run(trouble=trouble, real_notifier=True) as life:
        assert await life.ask("authority/notifier", GetSecondaries()) == ()
        pop.outputs["resolver"] = {"active": True, "name": "resolver", "format": "rpz", "downstream": "192.0.2.53:53"}
        assert await life.reload() == ()
        for _ in range(2):
            (secondary,) = await life.ask("authority/notifier", GetSecondaries())
            assert secondary.configured
            trouble.arm("authority/keeper", "before")
            await life.until(life.now + 10)
        assert trouble.crashes > 0


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda pop: pop.sources["deny"].update(type="greylist"), "sources.deny.type: 'greylist' is not allowed"),
        (lambda pop: pop.sources["allow"].pop("filename"), "sources.allow.filename: missing"),
        (lambda pop: pop.policy.update(denylist={"action": "explode"}), "policy.denylist.action"),
        (lambda pop: pop.top.update({"start-deadline": "soon"}), "start-deadline"),
    ],
)
async def test_a_broken_configuration_keeps_the_old_one_and_all_that_runs(
    four: Any, spoil: Any, text: str, autojump_clock: MockClock
) -> None:
    async with four.run() as life:
        await life.until(10.5)
        four.add("more", "denylist", "more.example")
        spoil(four)
        (line,) = await life.reload()
        assert text in line
        await life.until(100)
        assert len(four.secondary.seen) == 1
        assert life.system.supervisor("sources").children() == ("tapir:local", "allow", "deny", "north", "south")
        four.say("deny", "denied.example", "new.example", "allowed.example")
        second = await life.secondary.wait_versions(2)
        assert second.rules == COMPLETE | {"new.example.": "NXDOMAIN"}


async def test_a_hundred_random_reloads_come_to_what_the_last_one_says(
    four: Any, rng: Any, resolve: Any, autojump_clock: MockClock
) -> None:
    four.secondary.never.clear()
    entries = dict(four.sources)
    says = {
        "allow": {"allowed"},
        "deny": {"denied", "allowed"},
        "north": {"doubted", "allowed", "northern"},
        "south": {"doubted", "allowed", "southern"},
    }
    kinds = ["allowlist", "denylist", "doubtlist"]
    async with four.run() as life:
        await life.until(0.5)
        for _ in range(100):
            chosen = rng.sample(sorted(entries), rng.randrange(5))
            four.sources = {
                name: entries[name] | ({"type": rng.choice(kinds)} if rng.random() < 0.5 else {}) for name in chosen
            }
            assert await life.reload() == ()
            if rng.random() < 0.5:
                continue
            await trio.sleep(2)
            on: dict[str, list[str]] = {}
            for name, source in four.sources.items():
                for listed in says[name]:
                    on.setdefault(f"{listed}.example.", []).append(source["type"])
            expected = {
                name: "NXDOMAIN" if "denylist" in kinds else "NODATA"
                for name, kinds in on.items()
                if "allowlist" not in kinds and ("denylist" in kinds or kinds.count("doubtlist") > 1)
            }
            assert four.secondary.rules == expected
    assert four.secondary.whole_transfers == 0
