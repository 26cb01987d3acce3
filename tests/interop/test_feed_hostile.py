"""Primaries that lie, stall and flood: what we have of the feed stays, its troubles are counted, SOA is answered.

Each story starts with a feed that is well, does one bad thing, and ends with the feed well again: nothing that a
primary does may keep a later, honest answer from being taken.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import hostile
import pytest
from benching import anonymous_memory
from feeds import Asker, FeedPop
from hostile import FEED, Hostile
from peers import wait_until

pytestmark = pytest.mark.interop

NAMES: Final = [f"n{number}.{'x' * 30}.example" for number in range(400)]
STORM_SECONDS: Final = 3
STORM_RATE: Final = 10_000
MEMORY: Final = 96 << 20
"""what a primary may make us hold for a while, at most"""
PATIENCE: Final = 1.0
"""seconds for an answer to SOA, whatever a primary does, on a machine that does a lot else"""

STORM: Final = """
import socket, sys, time
wire, port, rate, seconds = bytes.fromhex(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
senders = []
for host in sys.argv[5:]:
    senders.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    senders[-1].bind((host, 0))
begun, sent = time.perf_counter(), 0
while (elapsed := time.perf_counter() - begun) < seconds:
    while sent < elapsed * rate:
        senders[sent % len(senders)].sendto(wire, ("127.0.0.1", port))
        sent += 1
    time.sleep(0.001)
print(sent)
"""


def dropped(port: int) -> int:
    """How many datagrams for `port` of 127.0.0.1 the kernel had no room for."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1] == f"0100007F:{port:04X}")


@attrs.define(kw_only=True)
class Story:
    """A product that lives off a primary of ours."""

    pop: FeedPop
    primary: Hostile

    def serves(self, names: list[str]) -> bool:
        """Whether our zone blocks `names` and nothing else."""
        return set(self.pop.axfr()[1]) == {f"{name}." for name in names}

    def memory(self) -> int:
        """Octets that the product holds."""
        assert self.pop.daemon is not None
        return anonymous_memory(self.pop.daemon.process.pid)

    def tell(self, **keys: Any) -> None:
        """The primary has something new to say, and says so."""
        self.primary.serial += 1
        self.primary.notify(self.pop.port, **keys)

    def fails(self, counter: str, *, seconds: float = 60, hint: bool = True) -> None:
        """The primary says something new; it fails and is counted, and all that we have stays."""
        serial, before = self.pop.serial(), self.pop.counters_of("feed").get(counter, 0)
        held = self.pop.serial_of("feed")
        memory = self.memory()
        names = list(self.primary.names)
        with Asker(self.pop.port) as asker:
            self.tell(hint=hint)
            wait_until(
                lambda: self.pop.counters_of("feed").get(counter, 0) > before,
                what=f"{counter} to be counted",
                seconds=seconds,
            )
        assert asker.lost == 0
        assert max(asker.took) < PATIENCE
        assert self.memory() - memory < MEMORY
        assert self.pop.serial() == serial
        assert self.pop.serial_of("feed") == held
        assert self.serves(names)

    def recovers(self) -> None:
        """An honest answer is taken again."""
        primary = self.primary
        primary.script, primary.rcode, primary.shown = None, 0, None
        primary.names = [*primary.names, f"more{primary.serial}.example"]
        self.tell()
        wait_until(lambda: self.serves(primary.names), what="the feed to be well again", seconds=30)


@pytest.fixture
def make_story(make_pop: Callable[..., Any]) -> Iterator[Callable[..., Story]]:
    """Makes products that have what their primary says."""
    with contextlib.ExitStack() as stack:

        def make(names: list[str] = NAMES, **keys: Any) -> Story:
            primary = stack.enter_context(Hostile(names=list(names)))
            pop: FeedPop = make_pop(kind=FeedPop)
            pop.loosen()
            pop.add_plain_feed("feed", "denylist", FEED, primary.port, **keys)
            pop.start()
            story = Story(pop=pop, primary=primary)
            wait_until(lambda: story.serves(names), what="the feed", seconds=30)
            return story

        yield make


@pytest.fixture
def story(make_story: Callable[..., Story]) -> Story:
    """A product that has what its primary says."""
    return make_story()


@pytest.mark.parametrize(
    ("script", "counter"),
    [
        (hostile.half, "failures.cut-off"),
        (hostile.backwards, "failures.rollback"),
        (hostile.garbage, "failures.formerr"),
        (hostile.storm, "failures.protocol"),
        (hostile.hang_up, "failures.no-answer"),
    ],
)
def test_a_transfer_that_goes_wrong_changes_nothing(story: Story, script: hostile.Script, counter: str) -> None:
    story.primary.script = script
    story.fails(counter)
    story.recovers()


def test_a_zone_without_end_ends_at_its_limit(make_story: Callable[..., Story]) -> None:
    story = make_story(**{"max-records": 100_000})
    story.primary.script = hostile.endless
    story.fails("failures.too-large")
    wait_until(lambda: story.primary.hung_up, what="us to hang up")
    story.recovers()


@pytest.mark.parametrize(("script", "counter"), [(hostile.drip, "failures.slow"), (hostile.silence, "failures.idle")])
def test_a_primary_that_takes_for_ever_is_given_up(
    make_story: Callable[..., Story], script: hostile.Script, counter: str, campaign: Any
) -> None:
    # By itself that takes half a minute, which is left to campaigns.
    story = make_story(**({} if campaign.full else {"transfer-timeout": 3}))
    story.primary.script = script
    story.fails(counter if campaign.full else "failures.overall", seconds=90)
    story.recovers()


@pytest.mark.parametrize("rcode", [2, 5, 9])
def test_errors_of_the_primary_are_counted(story: Story, rcode: int) -> None:
    story.primary.rcode = rcode
    story.fails("failures.refused")
    story.recovers()


def test_an_older_serial_is_not_gone_back_to(story: Story) -> None:
    story.primary.serial = 1000
    story.recovers()
    story.primary.shown = 7
    # With an older serial in it, a NOTIFY is nothing new.
    story.fails("failures.rollback", hint=False)
    story.recovers()


def test_a_primary_that_does_not_sign_is_not_believed(make_pop: Callable[..., Any]) -> None:
    with Hostile(names=list(NAMES)) as primary:
        pop: FeedPop = make_pop(kind=FeedPop)
        pop.add_plain_feed("feed", "denylist", FEED, primary.port, **{"tsig-key": pop.make_key()})
        pop.start(wait=False)
        wait_until(pop.answers, what="the console")
        wait_until(lambda: pop.counters_of("feed").get("failures.tsig", 0), what="the wrong key to be counted")
        assert pop.serial_of("feed") is None
        refused = dict(pop.status()["server"]["refusals"]).get("notify-key", 0)
        primary.notify(pop.port)
        wait_until(
            lambda: dict(pop.status()["server"]["refusals"]).get("notify-key", 0) == refused + 1,
            what="the unsigned NOTIFY to be refused",
        )


def test_a_storm_of_notifies_leaves_us_answering(story: Story) -> None:
    pop, primary = story.pop, story.primary
    serial = pop.serial()
    memory = story.memory()
    asked = sum(primary.asked.values())
    words = [primary.notice().hex(), str(pop.port), str(STORM_RATE), str(STORM_SECONDS), "127.0.0.1", "127.0.0.2"]
    with Asker(pop.port) as asker:
        done = subprocess.run([sys.executable, "-c", STORM, *words], capture_output=True, timeout=60, check=True)
    sent = int(done.stdout)
    assert sent >= 0.5 * STORM_RATE * STORM_SECONDS, "this machine is too slow for a storm"
    assert max(asker.took) < PATIENCE
    assert asker.lost <= dropped(pop.port), "what we saw and did not answer"
    assert story.memory() - memory < MEMORY
    server = pop.status()["server"]
    counters, refusals = dict(server["counters"]), dict(server["refusals"])
    # What the kernel had no room for we never saw.
    assert counters["NOTIFY"] + refusals["notify-from"] > 0.2 * sent
    assert counters["notify_told"] <= 25 * (STORM_SECONDS + 5)
    # Each of them says a serial that we have: hardly a question to the primary comes of it.
    assert sum(primary.asked.values()) - asked <= 25 * (STORM_SECONDS + 5)
    assert pop.serial() == serial
    story.recovers()


def test_a_feed_that_expires_is_withdrawn_and_comes_back(story: Story, campaign: Any) -> None:
    if not campaign.full:
        pytest.skip("no feed expires within ten minutes")
    story.primary.timers = (30, 15, 60)
    story.recovers()
    story.primary.rcode = 2
    wait_until(lambda: story.pop.feed("feed")["state"] == "expired", what="the feed to expire", seconds=900, pause=5)
    wait_until(lambda: story.serves([]), what="its names to leave")
    assert story.pop.serial() is not None
    story.primary.rcode = 0
    story.primary.notify(story.pop.port)
    wait_until(lambda: story.serves(story.primary.names), what="the feed to be taken again", seconds=60)
    assert story.pop.feed("feed")["state"] == "current"


def test_killed_during_transfers_it_loses_nothing_and_no_serial_goes_back(
    make_story: Callable[..., Story], campaign: Any
) -> None:
    story = make_story([f"k{number}.{'y' * 40}.example" for number in range(20_000)])
    pop, primary = story.pop, story.primary
    rng = campaign.random()
    ours, theirs = pop.serial(), pop.serial_of("feed")
    assert ours is not None
    assert theirs is not None
    for number in range(20 if campaign.full else 2):
        primary.names = [*primary.names[50:], *(f"k{number}-{new}.example" for new in range(50))]
        primary.script = hostile.slowly
        primary.asked.clear()
        story.tell()
        wait_until(lambda: primary.asked["tcp IXFR"] + primary.asked["tcp AXFR"], what="a transfer to begin")
        primary.pause(rng.uniform(0, 0.7))
        pop.kill()
        if rng.random() < 0.5:
            primary.script = None
        pop.start()
        serial, feed = pop.serial(), pop.serial_of("feed")
        assert serial is not None
        assert serial >= ours
        assert feed is not None
        assert feed >= theirs
        primary.script = None
        wait_until(lambda: story.serves(primary.names), what=f"all of the feed after kill {number}", seconds=60)
        ours, theirs = pop.serial(), pop.serial_of("feed")
        assert ours is not None
        assert theirs == primary.serial
