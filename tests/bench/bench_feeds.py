"""A feed of a million rules comes in whole: how long until our zone has them, and what those who ask meanwhile feel.

BIND takes the same transfer from the same knotd as a secondary, in turns with us, and is asked as often meanwhile. It
is done when it serves the feed; we are when our own zone, decided, committed and published, serves what follows of it.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.opcode
import pytest
from benching import (
    IDLE_SECONDS,
    NAMES,
    ROUNDS,
    Knot,
    Prober,
    Ratios,
    ask_soa,
    count_transfer,
    make_names,
    wait_for_zone,
)
from feeds import FeedPop
from peers import ZONE, Daemon, free_port, wait_until

FEED = "feed.example"
FEW = 10
REACH = 0.8
REACH_WAITING = 5.0


@pytest.fixture
def named(tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]) -> Callable[[Knot], int]:
    """Starts BIND as a secondary of the feed; gives its port."""
    program = require_peer("named")

    def start(knot: Knot) -> int:
        folder, port = tmp_path / "named", free_port()
        folder.mkdir()
        (folder / "named.conf").write_text(
            "options {\n"
            f'    directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
            f"    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n"
            "    recursion no; dnssec-validation no; empty-zones-enable no;\n};\ncontrols { };\n"
            f'zone "{FEED}" {{ type secondary; primaries port {knot.port} {{ 127.0.0.1; }}; file "feed.zone";\n'
            "    notify no; request-ixfr no; check-names ignore; allow-notify { 127.0.0.1; }; };\n"
        )
        daemon = Daemon.start("named", [program, "-g", "-c", "named.conf"], directory=folder)
        daemons.append(daemon)
        wait_for_zone(port, daemon, zone=FEED)
        return port

    return start


def notify(port: int) -> None:
    message = dns.message.make_query(f"{FEED}.", "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.to_wire(), ("127.0.0.1", port))


def stand_aside(pid: int) -> None:
    """Let a process have the processors last. The primary stands for another machine, which takes none of ours."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)


def timed(port: int, zone: str, before: int | None) -> float:
    """Seconds from a NOTIFY to the server at `port` until its `zone` has another serial than `before`."""

    def moved() -> bool:
        serial = ask_soa(port, timeout=5, zone=zone)
        return serial not in {before, None}

    begun = time.perf_counter()
    notify(port)
    wait_until(moved, what=f"another {zone}", seconds=300, pause=0.005)
    return time.perf_counter() - begun


def test_a_feed_comes_in_whole_while_others_ask(
    make_pop: Callable[..., FeedPop], make_knot: Callable[..., Knot], named: Callable[[Knot], int]
) -> None:
    names = make_names(NAMES)
    knot = make_knot(zone=FEED, whole=True)
    knot.write_zone(names[:FEW])
    knot.start()
    assert knot.daemon is not None
    stand_aside(knot.daemon.process.pid)
    bind = named(knot)
    pop = make_pop(kind=FeedPop)
    pop.add_plain_feed("feed", "denylist", FEED, knot.port, brake={"minimum": 1_000_000_000})
    pop.loosen()
    pop.start()
    wait_until(lambda: len(pop.axfr()[1]) == FEW, what="the first rules")

    def says(serial: int, count: int) -> None:
        assert knot.daemon is not None
        knot.write_zone(names[:count], serial=serial)
        knot.reload()
        wait_for_zone(knot.port, knot.daemon, serial=serial, zone=FEED)

    took = Ratios("a feed comes in whole, us to the zone, BIND as its secondary")
    waiting = Ratios("SOA p99 while a feed comes in, over idle")
    longest: list[float] = []
    serial = 1
    for _ in range(ROUNDS):
        for count in (NAMES, FEW):
            serial += 1
            says(serial, count)
            ours = ask_soa(pop.port, timeout=5)
            with Prober(bind, FEED):
                theirs = timed(bind, FEED, serial - 1)
            with Prober(pop.port) as idle:
                threading.Event().wait(IDLE_SECONDS)
            with Prober(pop.port) as busy:
                mine = timed(pop.port, ZONE, ours)
            if count == NAMES:
                took.add(mine, theirs)
                waiting.add(busy.percentile(0.99) * 1e3, idle.percentile(0.99) * 1e3)
                longest.append(max(busy.took))
                count_transfer(pop.port, records=NAMES)
    took.show("s", reach=f"{REACH}, aim 0.5")
    waiting.show("ms", reach=f"{REACH_WAITING}")
    print(f"the longest wait of each: {', '.join([f'{wait * 1e3:.1f}' for wait in longest])} ms")
    assert took.median <= REACH
    assert waiting.median <= REACH_WAITING
