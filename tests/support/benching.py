"""What the benches share: names, a knotd with the same zone, readers that cost little, and ratios that are printed.

A figure of a shared machine says little by itself. Each is taken next to a peer's, in turns within one run, and only
the median of the ratios gates. `TAPIR_BENCH_NAMES` makes the zone smaller while one works on a bench; what is promised
is promised at a million.
"""

import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs
import dns.message
import dns.query
import dns.rdatatype
import dns.tsig
import pytest
from peers import ZONE, Daemon, free_port, wait_until

NAMES: Final = int(os.environ.get("TAPIR_BENCH_NAMES", "1000000"))
ROUNDS: Final = int(os.environ.get("TAPIR_BENCH_ROUNDS", "5"))
IDLE_SECONDS: Final = 5.0
"""for which the peace is measured that a Prober's other figures are held against"""
APEX_RECORDS: Final = 4
"""SOA twice and two NS, around the rules of a transfer"""


def make_names(count: int, *, seed: int = 5359) -> list[str]:
    """So many different names, about twenty octets each on the wire, in no order."""
    rng = random.Random(seed)
    tops = ("com", "net", "org", "info", "xyz", "example")
    numbers = list(range(count))
    rng.shuffle(numbers)
    return [f"{number * 2654435761 % 2**32:08x}-{number % 997}.{tops[number % 6]}" for number in numbers]


@attrs.frozen(kw_only=True)
class Key:
    """A TSIG key, as all sides are told of it."""

    name: str = "transfer.example."
    algorithm: str = "hmac-sha256"
    secret: str = "c2VjcmV0IG9mIHRoZSBiZW5jaCwgMzIgb2N0ZXRzLi4="


@attrs.define(kw_only=True)
class Knot:
    """A knotd that is primary of our zone, or of another, from a zone file."""

    directory: Path
    port: int
    program: str
    zone: str = ZONE
    whole: bool = False
    """it keeps no differences, so every transfer is one of all of the zone"""
    key: Key | None = None
    downstream: int | None = None
    daemon: Daemon | None = None

    @property
    def zone_file(self) -> Path:
        return self.directory / "zone"

    def write_zone(self, names: Iterable[str], *, serial: int = 1) -> None:
        """NXDOMAIN for each of `names`."""
        with self.zone_file.open("w") as out:
            out.write(f"$ORIGIN {self.zone}.\n$TTL 3600\n")
            out.write(f"@ SOA mname. hostmaster.dnstapir.se. {serial} 60 60 86400 60\n")
            out.write(f"@ NS ns1.{self.zone}.\n@ NS ns2.{self.zone}.\n")
            out.writelines(f"{name} CNAME .\n" for name in names)

    def write_config(self) -> None:
        key = self.key
        parts = [
            f"server:\n    rundir: {self.directory}\n    listen: 127.0.0.1@{self.port}\n",
            f"database:\n    storage: {self.directory}\n",
            "log:\n  - target: stderr\n    any: info\n",
            f"control:\n    listen: {self.directory}/knot.sock\n",
        ]
        if key is not None:
            parts.append(f"key:\n  - id: {key.name}\n    algorithm: {key.algorithm}\n    secret: {key.secret}\n")
        if self.downstream is not None:
            parts.append(f"remote:\n  - id: down\n    address: 127.0.0.1@{self.downstream}\n")
        parts.append("acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n")
        if key is not None:
            parts.append(f"    key: {key.name}\n")
        parts.append(
            f"zone:\n  - domain: {self.zone}.\n    storage: {self.directory}\n    file: zone\n    acl: all\n"
            "    zonefile-sync: -1\n"
        )
        if self.whole:
            parts.append("    zonefile-load: whole\n    journal-content: none\n")
        else:
            # As we do: what differs in the file counts, whatever serial is written there.
            parts.append("    zonefile-load: difference-no-serial\n    journal-content: all\n")
            parts.append("    serial-policy: increment\n")
        if self.downstream is not None:
            parts.append("    notify: down\n")
        (self.directory / "knot.conf").write_text("".join(parts))

    def start(self) -> float:
        """Start it; returns the seconds until it answers for the zone."""
        self.write_config()
        begun = time.perf_counter()
        self.daemon = Daemon.start("knotd", [self.program, "-c", "knot.conf"], directory=self.directory)
        wait_for_zone(self.port, self.daemon, zone=self.zone)
        return time.perf_counter() - begun

    def reload(self) -> None:
        """Let it read the zone file again."""
        assert self.daemon is not None
        self.daemon.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        assert self.daemon is not None
        self.daemon.stop()
        for folder in ("journal", "timers", "keys", "catalog"):  # the next start is to read the file
            for path in (self.directory / folder).glob("*"):
                path.unlink()


@pytest.fixture
def make_knot(
    tmp_path: Path, require_peer: Callable[[str], str], daemons: list[Daemon]
) -> Iterator[Callable[..., Knot]]:
    """Makes knotds, not yet started; those that run end with the test."""
    program = require_peer("knotd")
    made: list[Knot] = []

    def make(**keys: object) -> Knot:
        directory = tmp_path / f"knot{len(made)}"
        directory.mkdir()
        made.append(Knot(directory=directory, port=free_port(), program=program, **keys))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for knot in made:
        if knot.daemon is not None and knot.daemon.alive():
            knot.daemon.kill()


# -- readers


def ask_soa(port: int, *, timeout: float = 0.5, zone: str = ZONE) -> int | None:
    """The serial that the server at `port` answers with; None for no answer, or one without the zone."""
    query = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + _question("SOA", zone)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout)
        asker.connect(("127.0.0.1", port))
        try:
            asker.send(query)
            reply = asker.recv(4096)
        except OSError:
            return None
    if reply[3] & 0xF or struct.unpack("!H", reply[6:8])[0] != 1:
        return None
    return dns.message.from_wire(reply).answer[0][0].serial  # type: ignore[no-any-return]


def wait_for_zone(
    port: int, daemon: Daemon, *, serial: int | None = None, seconds: float = 300, zone: str = ZONE
) -> None:
    """Wait until the zone is answered for, under `serial` if that is given."""

    def served() -> bool:
        assert daemon.alive(), daemon.output()
        found = ask_soa(port, zone=zone)
        return found is not None and serial in (None, found)

    wait_until(served, what=f"{daemon.name} to serve", seconds=seconds, pause=0.002)


def _question(rdtype: str, zone: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in zone.split("."))
    return labels + b"\0" + struct.pack("!2H", dns.rdatatype.from_text(rdtype), 1)


def transfer_request(key: Key | None) -> tuple[bytes, bytes]:
    """An AXFR request with its length before it, and its MAC."""
    query = dns.message.make_query(f"{ZONE}.", "AXFR")
    if key is not None:
        keyring = dns.tsig.Key(key.name, key.secret, key.algorithm)
        query.use_tsig(keyring)
    wire = query.to_wire()
    return struct.pack("!H", len(wire)) + wire, query.mac or b""


def count_transfer(port: int, *, records: int, key: Key | None = None) -> float:
    """Seconds of a whole transfer to a reader that looks at nothing but lengths and counts.

    It ends with the record that makes `records` and the apex complete.
    """
    request, _ = transfer_request(key)
    expected = records + APEX_RECORDS
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(request)
        filled = found = 0
        while found < expected:
            got = stream.recv_into(view[filled:])
            assert got, f"the transfer ended after {found} of {expected} records"
            filled += got
            start = 0
            while start + 2 <= filled:
                end = start + 2 + (buffer[start] << 8 | buffer[start + 1])
                if end > filled:
                    break
                assert not buffer[start + 5] & 0xF, "the transfer was refused"
                found += buffer[start + 8] << 8 | buffer[start + 9]
                start = end
            view[: filled - start] = bytes(view[start:filled])
            filled -= start
        assert found == expected
        return time.perf_counter() - begun


def read_messages(port: int, *, records: int, key: Key | None = None) -> tuple[bytes, list[bytes]]:
    """The MAC of an AXFR request, and the messages that answer it."""
    request, mac = transfer_request(key)
    messages: list[bytes] = []
    found = 0
    with socket.create_connection(("127.0.0.1", port)) as stream, stream.makefile("rb") as lines:
        stream.sendall(request)
        while found < records + APEX_RECORDS:
            message = lines.read(int.from_bytes(lines.read(2), "big"))
            assert message, f"the transfer ended after {found} records"
            assert not message[3] & 0xF, "the transfer was refused"
            messages.append(message)
            found += int.from_bytes(message[6:8], "big")
    return mac, messages


# -- who asks meanwhile

_PROBER: Final = """
import json, socket, sys, threading, time
query, port = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
stop, took = threading.Event(), []
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.connect(("127.0.0.1", port))
    asker.settimeout(10)
    while not stop.wait(0.001):
        begun = time.perf_counter()
        asker.send(query)
        asker.recv(4096)
        took.append(time.perf_counter() - begun)
print(json.dumps(took))
"""


class Prober:
    """Asks for the SOA once a millisecond, in a process of its own, and notes how long each answer took."""

    def __init__(self, port: int, zone: str = ZONE) -> None:
        query = dns.message.make_query(f"{zone}.", "SOA").to_wire()
        self._command = [sys.executable, "-c", _PROBER, query.hex(), str(port)]
        self.took: list[float] = []

    def __enter__(self) -> "Prober":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self.took = json.loads(self._process.communicate(timeout=60)[0])

    def percentile(self, share: float) -> float:
        """The time within which `share` of the answers came."""
        return sorted(self.took)[int(share * (len(self.took) - 1))]


# -- figures


@attrs.define
class Ratios:
    """What two sides took in turns; the median of the ratios gates."""

    what: str
    ours: list[float] = attrs.field(factory=list)
    peers: list[float] = attrs.field(factory=list)

    def add(self, ours: float, peer: float) -> None:
        self.ours.append(ours)
        self.peers.append(peer)

    @property
    def median(self) -> float:
        """The median of ours ÷ the peer's."""
        return statistics.median(one / other for one, other in zip(self.ours, self.peers, strict=True))

    def show(self, unit: str, *, reach: str) -> None:
        ours = statistics.median(self.ours)
        peer = statistics.median(self.peers)
        print(
            f"\n{self.what}: ours {ours:.4g} {unit} ({min(self.ours):.4g}-{max(self.ours):.4g}), "
            f"peer {peer:.4g} {unit} ({min(self.peers):.4g}-{max(self.peers):.4g}), "
            f"ratio {self.median:.3g} (reach {reach})"
        )


def anonymous_memory(pid: int) -> int:
    """Octets of anonymous memory that are resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say RssAnon")


def rules_in(messages: Iterable[bytes]) -> set[tuple[bytes, bytes]]:
    """(owner, target) of every CNAME in the answers of `messages`, names in wire form and lower case."""
    rules: set[tuple[bytes, bytes]] = set()
    for message in messages:
        answers = int.from_bytes(message[6:8], "big")
        known: dict[int, bytes] = {}
        position = 12
        for _ in range(int.from_bytes(message[4:6], "big")):
            position = _read_name(message, position, known)[1] + 4
        for _ in range(answers):
            owner, position = _read_name(message, position, known)
            rdtype = int.from_bytes(message[position : position + 2], "big")
            position += 10
            length = int.from_bytes(message[position - 2 : position], "big")
            if rdtype == dns.rdatatype.CNAME:
                rules.add((owner, _read_name(message, position, known)[0]))
            position += length
    return rules


def _read_name(message: bytes, position: int, known: dict[int, bytes]) -> tuple[bytes, int]:
    """The name at `position`, and where it ends; `known` remembers names that pointers lead to."""
    labels: list[bytes] = []
    while (length := message[position]) and length < 0xC0:
        labels.append(message[position : position + 1 + length])
        position += 1 + length
    if length:
        target = int.from_bytes(message[position : position + 2], "big") & 0x3FFF
        if target not in known:
            known[target] = _read_name(message, target, known)[0]
        return b"".join(labels).lower() + known[target], position + 2
    return b"".join(labels).lower() + b"\0", position + 1
