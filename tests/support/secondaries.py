"""Five servers as secondaries of one product, each with an address, a key and a way of its own.

Knot, NSD, BIND and the PowerDNS recursor sign; NSD, BIND and unbound come over TLS. Each asks from its own address on
the loopback network, so the product's rules and its counters of refusals tell them apart.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.zone
from certificates import Authority
from peers import ZONE, Daemon, Pop, Resolver, free_port, rules_of, wait_until

Content = tuple[int, dict[str, str]]

# Where each asks from, and where it listens. unbound connects from no address in particular, and named listens on those
# that an interface has, which of 127.0.0.0/8 is one.
ADDRESSES: Final = {
    "knot": "127.0.53.1",
    "nsd": "127.0.53.2",
    "bind": "127.0.53.3",
    "pdns": "127.0.53.4",
    "unbound": "127.0.0.1",
}
LISTENS: Final = {**ADDRESSES, "bind": "127.0.0.1"}
OURS: Final = "127.0.53.53"
SIGNS: Final = {"knot": "hmac-sha512", "nsd": "hmac-sha384", "bind": "hmac-sha256", "pdns": "hmac-sha256"}
OVER_TLS: Final = frozenset({"nsd", "bind", "unbound"})
NOTIFIED: Final = frozenset({"knot", "nsd", "bind", "unbound"})
KEYED: Final = frozenset({"knot", "nsd"})
"""told of news by a signed NOTIFY, and answered by the rule of their output alone; the others by `dnsengine.access`"""
SERVER_NAME: Final = "pop.example"


def key_name(tool: str) -> str:
    """What both sides call the key of `tool`."""
    return f"{tool}.key.example"


def secret(seed: str) -> str:
    """A secret in base64; another one for another `seed`, which is the tool's name for the right one."""
    return base64.b64encode(hashlib.sha512(seed.encode()).digest()).decode()


@attrs.define(kw_only=True)
class SecurePop(Pop):
    """A product that gives the zone to each secondary of `ports` as it is secured, and to us."""

    tls_port: int
    ports: dict[str, int]
    authority: Authority
    algorithms: dict[str, str] = attrs.field(factory=lambda: dict(SIGNS))
    demands: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """of a tool: what else than usual its rule says"""
    own_transfers: int = 0

    @classmethod
    def make(cls, directory: Path, tools: tuple[str, ...]) -> "SecurePop":
        """A product in `directory`, not yet started, for the secondaries `tools`."""
        directory.mkdir()
        pop = cls(
            directory=directory,
            port=free_port(),
            tls_port=free_port(),
            ports={tool: free_port() for tool in tools},
            authority=Authority(directory),
        )
        pair = pop.authority.issue(SERVER_NAME)
        for tool in SIGNS:
            pop.write_key(tool, secret(tool))
        pop.extra = {
            "dnsengine": {
                "addresses": [f"127.0.0.1:{pop.port}"],
                "tls": {
                    "addresses": [f"127.0.0.1:{pop.tls_port}"],
                    "certificate": str(pair.certificate),
                    "key": str(pair.key),
                    "require-alpn": False,  # unbound names none
                },
            },
        }
        return pop

    def rules(self, tool: str) -> list[dict[str, Any]]:
        """What `tool` may ask, if no output says it."""
        rule = {"from": ADDRESSES[tool], **self.wanted(tool)}
        if tool in SIGNS:
            return [rule]
        # Whether there is news, unbound asks in clear.
        return [rule, {"from": ADDRESSES[tool], "allow": "soa"}]

    def wanted(self, tool: str) -> dict[str, Any]:
        """How `tool` must ask."""
        wanted: dict[str, Any] = {"tls": tool in OVER_TLS}
        if tool in SIGNS:
            wanted["key"] = key_name(tool)
        return {**wanted, **self.demands.get(tool, {})}

    def key_file(self, tool: str) -> Path:
        """Where our side of the key of `tool` is."""
        return self.directory / f"{tool}.key"

    def write_key(self, tool: str, text: str) -> None:
        """Our side of the key of `tool`; counts from the next start or reload."""
        path = self.key_file(tool)
        path.write_text(text)
        path.chmod(0o600)

    def write_config(self) -> None:
        """As `Pop`, with an output for each secondary that listens to NOTIFY."""
        self.extra["keys"] = {
            key_name(tool): {"algorithm": self.algorithms[tool], "secret-file": str(self.key_file(tool))}
            for tool in SIGNS
        }
        rules = [rule for tool in self.ports if tool not in KEYED for rule in self.rules(tool)]
        self.extra["dnsengine"]["access"] = [{"from": OURS}, *rules]
        super().write_config()
        outputs = {
            tool: {
                "active": True,
                "name": tool,
                "format": "rpz",
                "downstream": f"{LISTENS[tool]}:{port}",
                **(self.wanted(tool) if tool in KEYED else {}),
            }
            for tool, port in self.ports.items()
            if tool in NOTIFIED
        }
        (self.config_dir / "pop-outputs.yaml").write_text(json.dumps({"outputs": outputs}))

    def ask(self, name: str, rdtype: str = "SOA", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", port=self.port, timeout=30, source=OURS)

    def axfr(self) -> Content:
        self.own_transfers += 1
        content = transferred("127.0.0.1", self.port)
        assert content is not None
        return content


@attrs.define(kw_only=True)
class Secondary(Resolver):
    """One of the five, running."""

    tool: str
    address: str

    def has(self, content: Content) -> bool:
        """Whether its zone is `content`; fails the test when it has ended."""
        assert self.daemon.alive(), f"{self.tool} has ended"
        return self.zone() == content

    def ask(self, name: str, rdtype: str = "A") -> dns.message.Message:
        """A client's question; SERVFAIL or silence is asked again."""
        query = dns.message.make_query(name, rdtype)

        def answer() -> dns.message.Message | None:
            with contextlib.suppress(dns.exception.Timeout):
                answered = dns.query.udp(query, self.address, port=self.port, timeout=5)
                return answered if answered.rcode() != dns.rcode.SERVFAIL else None
            return None

        found: dns.message.Message = wait_until(answer, what=f"{self.tool} to answer {name} {rdtype}")
        return found


class Starter:
    """Starts secondaries of `pop`, each in a folder of its own below `folder`."""

    def __init__(
        self, folder: Path, daemons: list[Daemon], program: Callable[[str], str], *, internet: int | None
    ) -> None:
        self._folder = folder
        self._daemons = daemons
        self._program = program
        self._internet = internet

    def start(self, pop: SecurePop, tool: str) -> Secondary:
        """The secondary `tool`."""
        folder = self._folder / tool
        folder.mkdir()
        starts = {
            "knot": self._knot,
            "nsd": self._nsd,
            "bind": self._bind,
            "pdns": self._pdns,
            "unbound": self._unbound,
        }
        return starts[tool](pop, folder)

    def _run(
        self, tool: str, folder: Path, command: list[str], port: int, read_zone: Callable[[], Content | None]
    ) -> Secondary:
        daemon = Daemon.start(tool, command, directory=folder)
        self._daemons.append(daemon)
        return Secondary(daemon=daemon, port=port, read_zone=read_zone, tool=tool, address=LISTENS[tool])

    def _knot(self, pop: SecurePop, folder: Path) -> Secondary:
        address, port, key = ADDRESSES["knot"], pop.ports["knot"], key_name("knot")
        (folder / "knot.conf").write_text(
            f'server:\n    rundir: {folder}\n    listen: {address}@{port}\n    identity: ""\n'
            f"    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
            f"control:\n    listen: {folder}/knot.sock\n"
            f"database:\n    storage: {folder}\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"key:\n  - id: {key}\n    algorithm: {SIGNS['knot']}\n    secret: {secret('knot')}\n"
            f"remote:\n  - id: pop\n    address: 127.0.0.1@{pop.port}\n    via: {address}\n    key: {key}\n"
            f"acl:\n  - id: pop\n    address: 127.0.0.1\n    key: {key}\n    action: notify\n"
            "  - id: test\n    address: 127.0.0.0/8\n    action: transfer\n"
            f"zone:\n  - domain: {ZONE}.\n    storage: {folder}\n    master: pop\n    acl: [pop, test]\n"
        )
        command = [self._program("knot"), "-c", "knot.conf"]
        return self._run("knot", folder, command, port, lambda: transferred(address, port))

    def _nsd(self, pop: SecurePop, folder: Path) -> Secondary:
        address, port, key = ADDRESSES["nsd"], pop.ports["nsd"], key_name("nsd")
        (folder / "nsd.conf").write_text(
            f'server:\n    ip-address: {address}@{port}\n    server-count: 1\n    username: ""\n    chroot: ""\n'
            f'    database: ""\n    zonesdir: {folder}\n    pidfile: {folder}/nsd.pid\n    verbosity: 3\n'
            f"    xfrdfile: {folder}/xfrd.state\n    xfrdir: {folder}\n    zonelistfile: {folder}/zone.list\n"
            f"    xfrd-reload-timeout: 0\n    tls-cert-bundle: {pop.authority.ca}\n"
            "remote-control:\n    control-enable: no\n"  # Debian's is on, at a port that all would share
            f"key:\n    name: {key}\n    algorithm: {SIGNS['nsd']}\n    secret: {secret('nsd')}\n"
            f"tls-auth:\n    name: pop\n    auth-domain-name: {SERVER_NAME}\n"
            f"zone:\n    name: {ZONE}\n    zonefile: {ZONE}.zone\n"
            f"    request-xfr: 127.0.0.1@{pop.tls_port} {key} pop\n    allow-notify: 127.0.0.1 {key}\n"
            f"    outgoing-interface: {address}\n    provide-xfr: 127.0.0.0/8 NOKEY\n"
        )
        command = [self._program("nsd"), "-d", "-c", "nsd.conf"]
        return self._run("nsd", folder, command, port, lambda: transferred(address, port))

    def _bind(self, pop: SecurePop, folder: Path) -> Secondary:
        address, port, key = LISTENS["bind"], pop.ports["bind"], key_name("bind")
        (folder / "named.conf").write_text(
            f'key "{key}" {{ algorithm {SIGNS["bind"]}; secret "{secret("bind")}"; }};\n'
            f'tls pop {{ ca-file "{pop.authority.ca}"; remote-hostname "{SERVER_NAME}"; }};\n'
            "options {\n"
            f'    directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
            f"    listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};\n"
            f"    recursion yes; allow-query {{ any; }}; forwarders port {self._internet} {{ 127.0.0.1; }};\n"
            "    forward only; dnssec-validation no; empty-zones-enable no; minimal-responses yes;\n"
            f'    response-policy {{ zone "{ZONE}" min-update-interval 1; }} qname-wait-recurse no;\n'
            "};\ncontrols { };\n"
            f'zone "{ZONE}" {{ type secondary; file "dnstapir.zone"; masterfile-format text; notify no;\n'
            f'    primaries {{ 127.0.0.1 port {pop.tls_port} key "{key}" tls pop; }};\n'
            f"    transfer-source {ADDRESSES['bind']}; use-alt-transfer-source no;\n"
            # As the SOA says; by itself BIND asks every 300 s, and after a failure 500 s later, at the most.
            "    min-refresh-time 1; min-retry-time 1;\n"
            "    allow-transfer { 127.0.0.0/8; }; allow-notify { 127.0.0.1; }; };\n"
        )
        command = [self._program("bind"), "-g", "-c", "named.conf", "-n", "1", "-U", "1"]
        return self._run("bind", folder, command, port, lambda: transferred(address, port))

    def _unbound(self, pop: SecurePop, folder: Path) -> Secondary:
        address, port, zonefile = ADDRESSES["unbound"], pop.ports["unbound"], folder / "dnstapir.zone"
        (folder / "unbound.conf").write_text(
            f'server:\n    directory: "{folder}"\n    chroot: ""\n    username: ""\n    pidfile: ""\n'
            "    use-syslog: no\n    verbosity: 2\n    num-threads: 1\n    do-not-query-localhost: no\n"
            f"    interface: {address}@{port}\n"
            # What comes over TLS is asked for in clear first, at `port` when the primary's is `tls-port`.
            f"    port: {pop.port}\n    tls-port: {pop.tls_port}\n    tls-cert-bundle: {pop.authority.ca}\n"
            '    access-control: 127.0.0.0/8 allow\n    module-config: "respip validator iterator"\n'
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{self._internet}\n'
            f"rpz:\n    name: {ZONE}\n    primary: 127.0.0.1@{pop.tls_port}#{SERVER_NAME}\n"
            f"    allow-notify: 127.0.0.1\n    zonefile: {zonefile}\n"
        )
        command = [self._program("unbound"), "-d", "-p", "-c", "unbound.conf"]
        return self._run("unbound", folder, command, port, lambda: from_file(zonefile))

    def _pdns(self, pop: SecurePop, folder: Path) -> Secondary:
        address, port, dump = ADDRESSES["pdns"], pop.ports["pdns"], folder / "dnstapir.zone"
        (folder / "rpz.lua").write_text(
            f'rpzPrimary("127.0.0.1:{pop.port}", "{ZONE}", {{ refresh = 1, localAddress = "{address}",\n'
            f'    tsigname = "{key_name("pdns")}", tsigalgo = "{SIGNS["pdns"]}", tsigsecret = "{secret("pdns")}",\n'
            f'    dumpFile = "{dump}" }})\n'
        )
        settings = {
            "config-dir": folder, "socket-dir": folder, "lua-config-file": folder / "rpz.lua", "write-pid": "no",
            "local-address": address, "local-port": port, "allow-from": "127.0.0.0/8", "dont-query": "",
            "forward-zones-recurse": f".=127.0.0.1:{self._internet}", "dnssec": "off", "threads": 1,
            "distributor-threads": 0,
            "packetcache-ttl": 0, "disable-packetcache": "yes", "security-poll-suffix": "", "daemon": "no",
            "disable-syslog": "yes", "loglevel": 6, "hint-file": "no", "max-cache-ttl": 15,
        }  # fmt: skip
        command = [self._program("pdns-recursor"), *(f"--{key}={value}" for key, value in settings.items())]
        return self._run("pdns", folder, command, port, lambda: from_file(dump))


def transferred(address: str, port: int) -> Content | None:
    """What the server at `address` gives in a full transfer, or None while it gives nothing."""
    try:
        messages = dns.query.xfr(address, f"{ZONE}.", port=port, timeout=30, lifetime=60, relativize=False, source=OURS)
        return rules_of(dns.zone.from_xfr(messages, relativize=False))
    except (OSError, dns.exception.DNSException):
        return None


def from_file(path: Path) -> Content | None:
    """What a zone file holds, or None while there is none, or half of one."""
    try:
        return rules_of(dns.zone.from_file(str(path), origin=f"{ZONE}.", relativize=False, check_origin=False))
    except (OSError, dns.exception.DNSException):
        return None
