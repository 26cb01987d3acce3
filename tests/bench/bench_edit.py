"""From the edit of a list to a resolver that blocks: unbound behind us, and unbound behind Knot.

Both sides edit a text file of all names and rename it into place; Knot is told with `knotc zone-reload`, we notice by
ourselves. What Knot needs where the edit is one of its own transactions is printed beside it.
"""

import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from benching import NAMES, Knot, Ratios, make_names
from peers import ZONE, Daemon, Pop, free_port, wait_until

REACH = 1.0
EDITS = 30


class Resolver:
    """An unbound that blocks by the zone of one primary."""

    def __init__(self, program: str, primary: int, *, port: int, internet: int, directory: Path) -> None:
        self.port = port
        directory.mkdir()
        (directory / "unbound.conf").write_text(
            "server:\n"
            f'    directory: "{directory}"\n    chroot: ""\n    username: ""\n    pidfile: ""\n'
            '    use-syslog: no\n    num-threads: 1\n    module-config: "respip iterator"\n'
            f"    interface: 127.0.0.1@{port}\n    access-control: 127.0.0.0/8 allow\n"
            "    do-not-query-localhost: no\n    cache-max-ttl: 0\n"
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{internet}\n'
            f"rpz:\n    name: {ZONE}.\n    primary: 127.0.0.1@{primary}\n    allow-notify: 127.0.0.1\n"
        )
        self.daemon = Daemon.start(f"unbound{port}", [program, "-d", "-p", "-c", "unbound.conf"], directory=directory)

    def blocks(self, name: str) -> bool:
        """Whether `name` does not exist for its clients."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.5)
            asker.connect(("127.0.0.1", self.port))
            try:
                asker.send(dns.message.make_query(name, "A").to_wire())
                reply = asker.recv(4096)
            except OSError:
                return False
        return bool(struct.unpack("!H", reply[2:4])[0] & 0xF == dns.rcode.NXDOMAIN)

    def wait_for(self, name: str) -> float:
        """Seconds until `name` is blocked."""
        begun = time.perf_counter()
        wait_until(lambda: self.blocks(name), what=f"{name} to be blocked", seconds=120, pause=0.001)
        return time.perf_counter() - begun


def rename_into_place(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


@pytest.mark.parametrize("count", [NAMES])
def test_an_edit_reaches_the_resolver_before_knots(
    make_pop: Callable[..., Pop],
    make_knot: Callable[..., Knot],
    require_peer: Callable[[str], str],
    daemons: list[Daemon],
    internet: int,
    tmp_path: Path,
    count: int,
) -> None:
    names = make_names(count)
    unbound, knotc = require_peer("unbound"), require_peer("knotc")
    port, knot_port = free_port(), free_port()
    knot = make_knot(downstream=knot_port)
    knot.write_zone(names)
    knot.start()
    pop = make_pop(downstreams=[port])
    listed = pop.add_source("blocked", "denylist", names)
    pop.start()
    ours = Resolver(unbound, pop.port, port=port, internet=internet, directory=tmp_path / "behind-us")
    theirs = Resolver(unbound, knot.port, port=knot_port, internet=internet, directory=tmp_path / "behind-knot")
    daemons += [ours.daemon, theirs.daemon]
    for resolver in (ours, theirs):
        resolver.wait_for(names[-1])
    list_text, zone_text = listed.read_text(), knot.zone_file.read_text()

    def tell_knot(*words: str) -> None:
        command = [knotc, "-s", str(knot.directory / "knot.sock"), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    edits = Ratios(f"an edit of {count} names to its effect in unbound")
    transactions: list[float] = []
    for number in range(EDITS):
        new = f"new-{number}.example"
        list_text += f"{new}\n"
        rename_into_place(listed, list_text)
        took = ours.wait_for(f"{new}.")
        zone_text += f"{new} CNAME .\n"
        rename_into_place(knot.zone_file, zone_text)
        begun = time.perf_counter()
        tell_knot("zone-reload", ZONE)
        theirs.wait_for(f"{new}.")
        edits.add(took, time.perf_counter() - begun)
    for number in range(EDITS // 3):
        new = f"set-{number}.example."
        begun = time.perf_counter()
        tell_knot("zone-begin", ZONE)
        tell_knot("zone-set", ZONE, f"{new}{ZONE}.", "60", "CNAME", ".")
        tell_knot("zone-commit", ZONE)
        theirs.wait_for(new)
        transactions.append(time.perf_counter() - begun)
    edits.show("s", reach=f"{REACH}, aim 0.5")
    # Thirty edits have no 99th of a hundred; the slowest of each side is more than that.
    slowest = max(edits.ours) / max(edits.peers)
    print(f"slowest ÷ slowest {slowest:.3g}; Knot's own transaction at most {max(transactions):.3g} s")
    assert slowest <= REACH
