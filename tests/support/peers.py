"""Real peers on 127.0.0.1, in real time, each with a hard limit: a plugin of fixtures for interop tests and benches.

`pop` is the product as a user starts it: a process of its own, a configuration directory, list files. The peers are
the servers that operators run. Nothing here imports the product: what is tested is what comes over the wire.
"""

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest

ZONE: Final = "dnstapir"
EXAMPLES: Final = Path(__file__).parents[2] / "deploy" / "examples"
TARGETS: Final = {
    ".": "NXDOMAIN",
    "*.": "NODATA",
    "rpz-drop.": "DROP",
    "rpz-passthru.": "PASSTHRU",
    "rpz-tcp-only.": "TCP-ONLY",
}

# Ports from here on the kernel gives to clients.
_FIRST_OF_THE_KERNEL: Final = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_reservations: list[socket.socket] = []


@pytest.fixture(scope="session", autouse=True)
def _give_ports_back() -> Iterator[None]:
    yield
    for reservation in _reservations:
        reservation.close()


def wait_until(condition: Callable[[], Any], *, what: str, seconds: float = 120.0, pause: float = 0.02) -> Any:
    """What `condition` returns as soon as it is true; fails the test after `seconds`, which only a failure takes.

    Other processes give no event to wait on, so this looks every `pause` seconds; the wait ends with the condition.
    """
    deadline = time.monotonic() + seconds
    pausing = threading.Event()
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        pausing.wait(pause)
    return result


def free_port() -> int:
    """A port that is free for UDP and TCP on 127.0.0.1, and that nobody gets who asks the kernel for just any.

    Between here and the server that is to listen on it, the kernel may give a port of its own range to any client on
    this machine; hence one below that range. Other runs of these tests keep off it until this one ends.
    """
    for port in random.SystemRandom().sample(range(10_000, _FIRST_OF_THE_KERNEL), 200):
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            reservation.bind(f"\0tapir-tests-port-{port}")
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as trial:
                    trial.bind(("0.0.0.0", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise AssertionError("no port is free for both UDP and TCP")


@attrs.define(kw_only=True)
class Daemon:
    """A server as a child process; its output goes to a file, shown when a test fails."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, command: list[str], *, directory: Path, env: Mapping[str, str] | None = None) -> "Daemon":
        log = directory / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
            )
        return cls(name=name, process=process, log=log)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, *, signum: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        if self.alive():
            self.process.send_signal(signum)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.name} did not stop within {seconds:.0f} s:\n{self.output()[-4000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@attrs.define(kw_only=True)
class Pop:
    """A tapir process with its configuration, its lists and its state, in a directory of its own."""

    directory: Path
    port: int
    downstreams: list[int] = attrs.field(factory=list)
    sources: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    policy: dict[str, Any] = attrs.field(factory=dict)
    engine: dict[str, Any] = attrs.field(factory=dict)
    """more keys of `dnsengine`"""
    extra: dict[str, Any] = attrs.field(factory=dict)
    daemon: Daemon | None = None

    @property
    def config_dir(self) -> Path:
        return self.directory / "config"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    def add_source(self, source: str, kind: str, names: list[str] | None = None, **keys: Any) -> Path:
        """A list file source; with `names` None the file does not exist."""
        path = self.directory / f"{source}.txt"
        self.sources[source] = {
            "active": True,
            "name": source,
            "description": source,
            "type": kind,
            "source": "file",
            "format": "domains",
            "filename": str(path),
            "poll-interval": 1,
            **keys,
        }
        if names is not None:
            self.write_list(source, names)
        return path

    def write_list(self, source: str, names: list[str]) -> None:
        """Replace the list by renaming, as a careful tool does."""
        path = Path(self.sources[source]["filename"])
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(f"{name}\n" for name in names))
        temporary.rename(path)

    def write_config(self) -> None:
        self.config_dir.mkdir(parents=True, exist_ok=True)
        action = {"denylist": "NXDOMAIN", "numsources": "NODATA", **self.policy}
        main = {
            "log": {"file": "/dev/null", "verbose": False, "debug": False},
            "services": {
                "rpz": {"zonename": f"{ZONE}.", "serialcache": str(self.directory / "rpz-serial.yaml")},
                "reaper": {"interval": 60},
                "refreshengine": {"active": True},
            },
            "apiserver": {"active": False, "name": "api", "key": "k", "addresses": [], "tlsaddresses": []},
            "bootstrapserver": {"active": False, "name": "boot", "addresses": [], "tlsaddresses": []},
            "dnsengine": {
                "active": True,
                "name": "dns",
                "addresses": [f"127.0.0.1:{self.port}"],
                "logfile": "/dev/null",
                **self.engine,
            },
            **self.extra,
        }
        outputs = {
            f"out{port}": {"active": True, "name": f"out{port}", "format": "rpz", "downstream": f"127.0.0.1:{port}"}
            for port in self.downstreams
        }
        policy = {
            "logfile": "",
            "allowlist": {"action": "PASSTHRU"},
            "denylist": {"action": action["denylist"]},
            "doubtlist": {
                "numsources": {"limit": 2, "action": action["numsources"]},
                "numtapirtags": {"limit": 3, "action": "NXDOMAIN"},
                "denytapir": {"tags": [], "action": "REDIRECT"},
            },
        }
        # JSON is YAML: no second library that could agree with our parser by being the same.
        for file, document in (
            ("dnstapir-pop.yaml", main),
            ("pop-sources.yaml", {"sources": self.sources}),
            ("pop-outputs.yaml", {"outputs": outputs}),
            ("pop-policy.yaml", {"policy": policy}),
        ):
            (self.config_dir / file).write_text(json.dumps(document, indent=2))

    def start(self, *, wait: bool = True) -> None:
        self.write_config()
        command = [sys.executable, "-m", "tapir", "run"]
        command += ["--config-dir", str(self.config_dir), "--state-dir", str(self.state_dir)]
        before = len(self.daemon.output()) if self.daemon is not None else 0
        self.daemon = Daemon.start("tapir", command, directory=self.directory)
        if wait:
            daemon = self.daemon

            def ready() -> bool:
                # A zone from the store is served before everybody who may be asked has started.
                said = daemon.output()[before:]
                return (" ready zone=" in said and " tapir: started\n" in said) or not daemon.alive()

            wait_until(ready, what="tapir to be ready")
            assert daemon.alive(), daemon.output()

    def stop(self) -> int:
        assert self.daemon is not None
        return self.daemon.stop()

    def kill(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()

    def reload(self) -> None:
        assert self.daemon is not None
        self.daemon.process.send_signal(signal.SIGHUP)

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A `tapir` command against this process."""
        command = [sys.executable, "-m", "tapir", *words, "--state-dir", str(self.state_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check)

    def status(self) -> dict[str, Any]:
        """How all parts stand. A part that is late to say so, as on a busy machine it may be, is asked again."""

        def whole() -> dict[str, Any] | None:
            document: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
            late = [part for part in document.values() if isinstance(part, dict) and "error" in part]
            return document if not late else None

        document: dict[str, Any] = wait_until(whole, what="every part to say how it stands")
        return document

    def ask(self, name: str, rdtype: str = "SOA", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", port=self.port, timeout=30)

    def serial(self) -> int | None:
        """The serial that the zone shows, or None while it has none or does not answer."""
        try:
            answer = self.ask(f"{ZONE}.")
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rcode() != dns.rcode.NOERROR:
            return None
        serial: int = answer.answer[0][0].serial
        return serial

    def axfr(self) -> tuple[int, dict[str, str]]:
        return transfer(self.port)


def transfer(port: int, *, zone: str = ZONE) -> tuple[int, dict[str, str]]:
    """The serial and the RPZ rules (name → action) of a full transfer, read by dnspython."""
    messages = dns.query.xfr("127.0.0.1", f"{zone}.", port=port, timeout=30, lifetime=60, relativize=False)
    return rules_of(dns.zone.from_xfr(messages, relativize=False), zone=zone)


def rules_of(content: dns.zone.Zone | None, *, zone: str = ZONE) -> tuple[int, dict[str, str]]:
    """The serial and the RPZ rules (name → action) in a zone."""
    assert content is not None
    rules: dict[str, str] = {}
    serial = -1
    suffix = f"{zone}."
    rdata: Any
    for name, _, rdata in content.iterate_rdatas():
        owner = str(name).lower()
        if rdata.rdtype == dns.rdatatype.SOA:
            serial = rdata.serial
        elif rdata.rdtype == dns.rdatatype.CNAME:
            rules[owner.removesuffix(suffix)] = TARGETS[str(rdata.target)]
    return serial, rules


@attrs.define(kw_only=True)
class Resolver:
    """A resolver that pulls the zone and blocks by it."""

    daemon: Daemon
    port: int
    read_zone: Callable[[], tuple[int, dict[str, str]] | None]

    def ask(self, name: str, rdtype: str = "A") -> dns.message.Message:
        """A client's question. SERVFAIL is an internet that was late to answer the resolver: it is asked again."""
        query = dns.message.make_query(name, rdtype)
        query.flags |= dns.flags.RD

        def answer() -> dns.message.Message | None:
            with contextlib.suppress(dns.exception.Timeout):
                answered = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=5)
                return answered if answered.rcode() != dns.rcode.SERVFAIL else None
            return None

        found: dns.message.Message = wait_until(answer, what=f"{self.daemon.name} to answer {name} {rdtype}")
        return found

    def answers(self) -> bool:
        query = dns.message.make_query("unlisted.example.", "A")
        try:
            return dns.query.udp(query, "127.0.0.1", port=self.port, timeout=1).rcode() == dns.rcode.NOERROR
        except (OSError, dns.exception.DNSException):
            return False

    def zone(self) -> tuple[int, dict[str, str]] | None:
        """The serial and rules that it has now, or None when it has none."""
        return self.read_zone()


@pytest.fixture
def daemons(request: pytest.FixtureRequest) -> Iterator[list[Daemon]]:
    """Daemons that end with the test, last started first; their logs are shown when it fails."""
    started: list[Daemon] = []
    yield started
    for daemon in reversed(started):
        if daemon.alive():
            daemon.kill()
        print(f"--- {daemon.name} ---\n{daemon.output()[-6000:]}")


@pytest.fixture
def make_pop(tmp_path: Path) -> Iterator[Callable[..., Pop]]:
    """Makes products, not yet started, of a `kind` of Pop; those that run end with the test."""
    made: list[Pop] = []

    def make(*, kind: type[Pop] = Pop, **keys: Any) -> Pop:
        directory = tmp_path / f"pop{len(made)}"
        directory.mkdir()
        made.append(kind(directory=directory, port=free_port(), **keys))
        return made[-1]

    yield make
    for pop in made:
        if pop.daemon is not None:
            if pop.daemon.alive():
                pop.daemon.kill()
            print(f"--- tapir ---\n{pop.daemon.output()[-8000:]}")


@pytest.fixture
def pop(make_pop: Callable[..., Pop]) -> Pop:
    """One product, not yet started."""
    return make_pop()


@pytest.fixture
def internet(tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]) -> int:
    """The port of an authoritative server that says 192.0.2.1 for every A in the world (knotd)."""
    knotd = require_peer("knotd")
    directory = tmp_path / "internet"
    directory.mkdir()
    port = free_port()
    (directory / "root.zone").write_text(
        ". 60 IN SOA a. b. 1 60 60 600 1\n. 60 IN NS ns.\nns. 60 IN A 127.0.0.1\n*. 1 IN A 192.0.2.1\n"
    )
    (directory / "knot.conf").write_text(
        f"server:\n    rundir: {directory}\n    listen: 127.0.0.1@{port}\n"
        f"database:\n    storage: {directory}\n"
        "log:\n  - target: stderr\n    any: info\n"
        f"zone:\n  - domain: .\n    storage: {directory}\n    file: root.zone\n"
    )
    daemon = Daemon.start("knotd", [knotd, "-c", "knot.conf"], directory=directory)
    daemons.append(daemon)
    wait_until(lambda: _answers(port, "example."), what="knotd to answer")
    return port


def _answers(port: int, name: str) -> bool:
    try:
        dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=port, timeout=0.5)
    except (OSError, dns.exception.DNSException):
        return False
    return True


@pytest.fixture
def start_unbound(
    tmp_path: Path, daemons: list[Daemon], internet: int, require_peer: Callable[[str], str]
) -> Callable[..., Resolver]:
    """Starts unbound with the sample configuration of deploy/examples, its ports and paths replaced."""
    unbound = require_peer("unbound")

    def start(pop: Pop, *, port: int | None = None) -> Resolver:
        port = port or free_port()
        directory = tmp_path / f"unbound{port}"
        directory.mkdir()
        zonefile = directory / "dnstapir.zone"
        # The sample that operators copy, with nothing but its port and its file replaced.
        sample = (EXAMPLES / "unbound" / "dnstapir.conf").read_text()
        ours = sample.replace("127.0.0.1@5359", f"127.0.0.1@{pop.port}")
        ours = ours.replace("/var/lib/unbound/dnstapir.zone", str(zonefile))
        assert ours.count(str(pop.port)) == 1
        assert ours.count(str(zonefile)) == 1
        (directory / "dnstapir.conf").write_text(ours)
        (directory / "unbound.conf").write_text(
            "server:\n"
            f'    directory: "{directory}"\n    chroot: ""\n    username: ""\n    pidfile: ""\n'
            "    use-syslog: no\n    verbosity: 2\n    num-threads: 1\n"
            f"    interface: 127.0.0.1@{port}\n    access-control: 127.0.0.0/8 allow\n"
            "    do-not-query-localhost: no\n"
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{internet}\n'
            f'include: "{directory}/dnstapir.conf"\n'
        )
        daemon = Daemon.start("unbound", [unbound, "-d", "-p", "-c", "unbound.conf"], directory=directory)
        daemons.append(daemon)

        def read_zone() -> tuple[int, dict[str, str]] | None:
            try:
                return rules_of(
                    dns.zone.from_file(str(zonefile), origin=f"{ZONE}.", relativize=False, check_origin=False)
                )
            except (OSError, dns.exception.DNSException):
                return None  # not there yet, or half written: the caller looks again

        resolver = Resolver(daemon=daemon, port=port, read_zone=read_zone)
        wait_until(resolver.answers, what="unbound to answer")
        return resolver

    return start


@pytest.fixture
def start_bind(
    tmp_path: Path, daemons: list[Daemon], internet: int, require_peer: Callable[[str], str]
) -> Callable[..., Resolver]:
    """Starts BIND with `response-policy` on the zone."""
    named = require_peer("named")

    def start(pop: Pop, *, port: int | None = None) -> Resolver:
        port = port or free_port()
        directory = tmp_path / f"named{port}"
        directory.mkdir()
        (directory / "named.conf").write_text(
            "options {\n"
            f'    directory "{directory}"; pid-file none; session-keyfile none; lock-file none;\n'
            f"    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n"
            f"    recursion yes; allow-query {{ any; }}; forwarders port {internet} {{ 127.0.0.1; }}; forward only;\n"
            "    dnssec-validation no; empty-zones-enable no; minimal-responses yes;\n"
            f'    response-policy {{ zone "{ZONE}" min-update-interval 1; }} qname-wait-recurse no;\n'
            "};\ncontrols { };\n"
            f'zone "{ZONE}" {{ type secondary; primaries port {pop.port} {{ 127.0.0.1; }};\n'
            '    file "dnstapir.zone"; masterfile-format text; notify no;\n'
            "    allow-transfer { 127.0.0.1; }; allow-notify { 127.0.0.1; }; };\n"
        )
        command = [named, "-g", "-c", "named.conf", "-n", "1", "-U", "1"]
        daemon = Daemon.start("named", command, directory=directory)
        daemons.append(daemon)

        def read_zone() -> tuple[int, dict[str, str]] | None:
            try:
                return transfer(port)
            except (OSError, dns.exception.DNSException):
                return None  # BIND has no zone to give yet

        resolver = Resolver(daemon=daemon, port=port, read_zone=read_zone)
        wait_until(resolver.answers, what="named to answer")
        return resolver

    return start


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture(name="free_port")
def _free_port() -> Callable[[], int]:
    return free_port
