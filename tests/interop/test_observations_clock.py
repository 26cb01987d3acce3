"""The wall clock of a POP is set while it runs: nothing leaves by a wrong date, and what is right is the operator's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from mosquitto import Broker
from observed_pop import configure, core, microseconds, mqtt, observed, publish_all, status, until
from peers import Pop

# Imported by every Python of this test before anything else: its wall clock is off by what the file says.
_SET_CLOCK = """
import time
_real = time.time_ns
def time_ns():
    with open({path!r}) as file:
        return _real() + int(file.read() or 0) * 1_000_000_000
time.time_ns = time_ns
time.time = lambda: time_ns() / 1e9
"""
DAY = 86_400


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock of processes that are started from now on, so many seconds off."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SET_CLOCK.format(path=str(offset)))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")

    def step(seconds: int) -> None:
        new = offset.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(offset)

    return step


def events(pop: Pop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pop.status()["events"]
    return [event for event in found if event["kind"] == "clock-step" and event["cleared_at"] is None]


async def test_a_clock_that_is_set_holds_expiry_until_it_is_accepted(
    make_broker: Callable[..., Broker], pop: Pop, set_clock: Callable[[int], None]
) -> None:
    broker = make_broker()
    await broker.start()
    configure(pop, f"mqtt://127.0.0.1:{broker.port}")
    pop.extra["services"] = {
        "rpz": {"zonename": "dnstapir.", "serialcache": str(pop.directory / "rpz-serial.yaml")},
        "reaper": {"interval": 1},
        "refreshengine": {"active": True},
    }
    await trio.to_thread.run_sync(pop.start)
    await until(lambda: mqtt(pop)["state"] == "connected", "the session")
    async with core(broker.port) as client:
        at = microseconds()
        messages = [observed("long.example", at, seconds=7 * DAY), observed("hour.example", at, seconds=3600)]
        await publish_all(client, messages)
        both = {"long.example.", "hour.example."}
        await until(lambda: set(pop.axfr()[1]) == both, "the zone")
        set_clock(DAY)
        await until(lambda: status(pop)["held"], "expiry to be held")
        (event,) = events(pop)
        assert event["id"] in pop.daemon.output()
        # What comes meanwhile is taken, and nothing leaves.
        await publish_all(client, [observed("more.example", microseconds(), seconds=3600)])
        await until(lambda: "more.example." in pop.axfr()[1], "what came meanwhile")
        await trio.sleep(3)
        assert set(pop.axfr()[1]) == {*both, "more.example."}
        # Also not by a restart.
        await trio.to_thread.run_sync(pop.kill)
        await trio.to_thread.run_sync(pop.start)
        await until(lambda: mqtt(pop)["state"] == "connected", "the session")
        await trio.sleep(3)
        assert set(pop.axfr()[1]) == {*both, "more.example."}
        assert status(pop)["held"]
        # Set right again: that is a step, too.
        set_clock(0)
        await until(lambda: "back" in json.dumps(events(pop)), "the other step")
        assert "clock is right" in pop.command("accept", "clock").stdout
        await until(lambda: not status(pop)["held"], "expiry to go on")
        await trio.sleep(2)
        assert set(pop.axfr()[1]) == {*both, "more.example."}
        assert not events(pop)
        # And a day later for good.
        set_clock(DAY)
        await until(lambda: status(pop)["held"], "expiry to be held")
        pop.command("accept", "clock")
        await until(lambda: set(pop.axfr()[1]) == {"long.example."}, "what is over to leave", 10)
    assert await trio.to_thread.run_sync(pop.stop) == 0
