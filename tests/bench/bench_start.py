"""From nothing, and from a stored zone, to the first answer; and what a million names weigh then. Next to knotd."""

import shutil
import time
from collections.abc import Callable

from benching import (
    NAMES,
    ROUNDS,
    Knot,
    Ratios,
    anonymous_memory,
    ask_soa,
    make_names,
    read_messages,
    rules_in,
    wait_for_zone,
)
from peers import Pop, wait_until

REACH_LISTS = 1.0
REACH_STORED = 1.0
REACH_MEMORY = 0.6


def begin(pop: Pop) -> float:
    """Start `pop`; returns the seconds to its first answer for the zone."""
    begun = time.perf_counter()
    pop.start(wait=False)
    assert pop.daemon is not None
    wait_for_zone(pop.port, pop.daemon)
    return time.perf_counter() - begun


def weigh(pop: Pop) -> float:
    """Octets of anonymous memory when everything has been read and decided."""
    daemon = pop.daemon
    assert daemon is not None
    wait_until(
        lambda: all(source["state"] == "fresh" for source in pop.status()["sources"]["sources"]),
        what="the lists to be read",
    )
    return anonymous_memory(daemon.process.pid)


def test_start_and_memory_with_a_million_names(make_pop: Callable[..., Pop], make_knot: Callable[..., Knot]) -> None:
    names = make_names(NAMES)
    knot = make_knot()
    knot.write_zone(names)
    pop = make_pop()
    # Two lists, neither of which holds the other's names.
    pop.add_source("some", "denylist", names[: NAMES // 3])
    pop.add_source("most", "denylist", names[NAMES // 3 :])

    first = Ratios("a list file of a million names to all of the zone served")
    again = Ratios("a stored zone of a million names to the first SOA")
    memory = Ratios("anonymous memory with a million names in two lists")
    for number in range(ROUNDS):
        shutil.rmtree(pop.state_dir, ignore_errors=True)
        (pop.directory / "rpz-serial.yaml").unlink(missing_ok=True)
        ours = begin(pop)
        assert ask_soa(pop.port) == 1  # its first version, which is all of the zone
        if not number:
            found = rules_in(read_messages(pop.port, records=NAMES)[1])
            assert {owner for owner, _ in found} == {_wire(name) for name in names}
        assert pop.stop() == 0
        peer = knot.start()
        first.add(ours, peer)
        knot.stop()

        ours = begin(pop)
        weight = weigh(pop)
        assert pop.stop() == 0
        peer = knot.start()
        assert knot.daemon is not None
        again.add(ours, peer)
        memory.add(weight / 2**20, anonymous_memory(knot.daemon.process.pid) / 2**20)
        knot.stop()
    first.show("s", reach=f"{REACH_LISTS}, aim 0.5")
    again.show("s", reach=f"{REACH_STORED}, aim 0.3")
    memory.show("MiB", reach=f"{REACH_MEMORY}, aim 0.35")
    assert first.median <= REACH_LISTS
    assert again.median <= REACH_STORED
    assert memory.median <= REACH_MEMORY


def _wire(name: str) -> bytes:
    labels = [*name.split("."), "dnstapir"]
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"
